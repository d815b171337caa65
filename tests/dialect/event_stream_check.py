#!/usr/bin/env python3
"""Our event-stream frames against botocore's parser, both ways.

Frames that we write must come out of botocore's EventStreamBuffer as they went in; frames packed here to the format, with
headers of every type, must come out of our reader at any size of pieces; and where botocore sees damage, we must too.
Needs botocore (pip install botocore) and a C compiler; without botocore it says so and passes.
"""
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
from binascii import crc32

try:
    from botocore.eventstream import EventStreamBuffer, ParserError
except ImportError:
    print("skip: event_stream_check: botocore is not installed")
    sys.exit(0)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SOURCES = ["tests/dialect/event_stream_tool.c", "src/provider/event_stream.c"] + [
    f"src/base/{name}.c" for name in ("arena", "buf", "json", "str", "utf8")]


def build(folder):
    tool = os.path.join(folder, "event_stream_tool")
    subprocess.run([os.environ.get("CC", "cc"), "-std=c17", "-D_GNU_SOURCE", "-O1", "-Isrc", "-o", tool, *SOURCES,
                    "-lutf8proc", "-lz", "-lm"], cwd=ROOT, check=True)
    return tool


def pack(headers, payload):
    packed = b""
    for name, kind, value in headers:
        packed += bytes([len(name)]) + name.encode() + bytes([kind]) + value
    start = struct.pack("!II", 16 + len(packed) + len(payload), len(packed))
    frame = start + struct.pack("!I", crc32(start)) + packed + payload
    return frame + struct.pack("!I", crc32(frame))


def text(value):
    raw = value.encode()
    return struct.pack("!H", len(raw)) + raw


def random_text(rng, n):
    return "".join(rng.choice('ab{}":é漢😀 ') for _ in range(rng.randrange(n)))


def decode(tool, data, piece):
    out = subprocess.run([tool, "decode", str(piece)], input=data, stdout=subprocess.PIPE, check=True).stdout
    lines = out.decode().split("\n")
    return [json.loads(line) for line in lines[:-2]], lines[-2]


def theirs(data):
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    seen = []
    try:
        for event in buffer:
            kind = event.headers.get(":message-type")
            seen.append((event.headers.get(":event-type") or event.headers.get(":exception-type"), event.payload.decode(),
                         kind == "exception"))
    except ParserError:
        return seen, True
    return seen, False


def check(what, ok):
    if not ok:
        sys.exit(f"event_stream_check: {what}")


def main():
    rng = random.Random(5)
    checks = 0
    with tempfile.TemporaryDirectory() as folder:
        tool = build(folder)
        # ours -> botocore
        events = [(rng.choice(["chunk", "messageStop", "throttlingException"]), rng.random() < 0.2,
                   random_text(rng, 3000).replace("\t", " ")) for _ in range(300)]
        lines = "".join(f"{name}\t{int(exception)}\t{data}\n" for name, exception, data in events)
        frames = subprocess.run([tool, "encode"], input=lines.encode(), stdout=subprocess.PIPE, check=True).stdout
        seen, is_broken = theirs(frames)
        check("botocore reads our frames", not is_broken and seen == [(n, d, e) for n, e, d in events])
        checks += len(events)
        # botocore's format -> ours, every type of header, any size of pieces
        frames, expected = b"", []
        for _ in range(300):
            name, data, exception = rng.choice(["a", "metadata"]), random_text(rng, 2000), rng.random() < 0.2
            others = [("t", 0, b""), ("f", 1, b""), ("b", 2, b"\x05"), ("s", 3, b"\0\x01"), ("i", 4, b"abcd"),
                      ("l", 5, b"abcdefgh"), ("by", 6, text("xx")), ("st", 7, text("é")),
                      ("ts", 8, b"abcdefgh"), ("u", 9, b"0123456789abcdef")]
            headers = rng.sample(others, rng.randrange(len(others)))
            headers += [(":message-type", 7, text("exception" if exception else "event")),
                        (":exception-type" if exception else ":event-type", 7, text(name))]
            rng.shuffle(headers)
            frames += pack(headers, data.encode())
            expected.append({"name": name, "data": data, "exception": exception})
        check("botocore reads the frames packed here",
              theirs(frames) == ([(e["name"], e["data"], e["exception"]) for e in expected], False))
        for piece in (1, 2, 3, 7, 64, 1000, 1 << 20):
            check(f"we read frames in pieces of {piece}", decode(tool, frames, piece) == (expected, "end"))
            checks += len(expected)
        # damage: both see it, and agree on what came before
        small = frames[:3000]
        for _ in range(400):
            damaged = bytearray(small)
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
            ours, end = decode(tool, bytes(damaged), rng.choice((1, 100, 5000)))
            seen, is_broken = theirs(bytes(damaged))
            check("damage is seen by both", [(o["name"], o["data"], o["exception"]) for o in ours] == seen
                  and end.startswith("broken") >= is_broken)
            checks += 1
    print(f"event_stream_check: {checks} frames agree with botocore in both directions")
    print(f"{checks} passed, 0 failed")           # the first that fails ends it


if __name__ == "__main__":
    main()
