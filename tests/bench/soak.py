#!/usr/bin/env python3
"""Ten minutes of mixed load, and resident memory over time: `make bench-soak`.

Whole answers, streams, large bodies, clients that leave in the middle and refused requests take turns. Memory must
be flat: what the last third uses at most may not exceed what the second third used by more than 5 % and 2 MB.

    soak.py [--minutes M]
"""
import argparse, json, socket

from rig import *


def leave_in_the_middle(port, body, n):
    """Clients that ask for a stream and close after its first bytes."""
    text = open(body).read().encode()
    for _ in range(n):
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.sendall(b"POST %s HTTP/1.1\r\nhost: x\r\nx-mock-gap-ms: 50\r\nx-mock-tokens: 50\r\ncontent-type: application/json\r\n"
                      b"content-length: %d\r\n\r\n" % (CHAT.encode(), len(text)) + text)
            s.recv(1000)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--minutes", type=float, default=10)
    args = ap.parse_args()
    out_prepare()
    mock, mock_port = mock_start()
    p, port = signalbox_start(mock_port, "signalbox-soak")
    chat, agent = body_file("chat", body_chat()), body_file("agent", body_agent())
    stream, wrong = body_file("stream", body_chat(stream=True)), body_file("wrong", "{\"model\": \"auto\", ")
    points = []
    begun = time.monotonic()
    say("%8s %12s %14s" % ("s", "resident MB", "requests"))
    total = 0
    try:
        while (passed := time.monotonic() - begun) < args.minutes * 60:
            for options in (["-b", chat, "-c", 64], ["-b", stream, "-c", 64, "-H", "x-mock-tokens: 20"], ["-b", agent, "-c", 32],
                            ["-b", wrong, "-c", 8, "-n", 500], ["-b", stream, "-c", 256, "-H", "x-mock-gap-ms: 20", "-H", "x-mock-tokens: 10"]):
                total += load(port, "-d", 1.5, *options)["answered"]
            leave_in_the_middle(port, stream, 50)
            if p.poll() is not None:
                raise SystemExit("the gateway has ended: see %s/signalbox-soak.log" % OUT)
            logs_empty()
            points.append({"s": time.monotonic() - begun, "mb": rss(p.pid) / 2**20, "requests": total})
            say("%8.0f %12.2f %14d" % (points[-1]["s"], points[-1]["mb"], total))
    finally:
        stop_all()
    third = len(points) // 3
    middle, last = (max(x["mb"] for x in part) for part in (points[third:2 * third] or points, points[2 * third:] or points))
    is_flat = last <= middle * 1.05 + 2
    say("\nresident at most: %.1f MB in the second third, %.1f MB in the last: %s" % (middle, last, "flat" if is_flat else "GROWING"))
    with open(os.path.join(OUT, "soak.json"), "w") as f:
        json.dump({"machine": machine(), "points": points, "flat": is_flat}, f, indent=1)
    raise SystemExit(0 if is_flat else 1)


if __name__ == "__main__":
    main()
