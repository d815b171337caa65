#!/usr/bin/env python3
"""Providers that misbehave: by malice, by mistake, or by dying in the middle.

A provider of raw sockets plays scripts: each request names one ("play:NAME"), which is a generator of the bytes that go out,
of pauses (a float), and of HOLD (keep the connection until the peer leaves). So everything below is what the wire really
carries, HTTP/2 included, whose frames are made by hand. One gateway answers all of them, and for each it must

  - give the client an answer or an error in the client's dialect, read by the strict readers of test_translation, in time;
  - stay below a bound of memory (the kernel's high-water mark, /proc/PID/status);
  - go on: the next question to a good provider is answered.

Where client and provider speak the same dialect the bytes pass through, so that the garbage is the provider's own; there the
stream must end with its last bytes or with the client's error event, and a whole answer may end with the connection."""
import gzip, http.client, itertools, json, os, re, socket, struct, sys, threading, time, zlib
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "mock"))
import provider
import test_translation as wire
from harness import *

TESTS.clear()                       # those of test_translation
HOLD = object()
FIRST_BYTE, IDLE, TOTAL = 2, 1.5, 4     # seconds a provider has in this file
SLACK = 5                               # more until a client has its answer, on a machine with other work: a hang is longer
MEMORY = 384 << 20                  # more than at rest; one answer is at most 64 MB, read, parsed and written again
KINDS = list(wire.models(0))
SAME = {"chat": ("to-chat",), "responses": ("to-responses",), "messages": ("to-anthropic", "to-vertex"), "gemini": ("to-gemini",)}
FRAMED = ("to-converse", "to-invoke")
FORMATS = {"to-chat": provider.Chat, "to-responses": provider.Responses, "to-anthropic": provider.Messages, "to-vertex": provider.Vertex,
           "to-gemini": provider.Gemini, "to-converse": provider.Converse, "to-invoke": provider.Invoke}
FEW = provider.Answer("Grüße 🌍!", [("get_weather", {"city": "Zürich"})], usage={"input": 7, "output": 5})


def is_same(client, kind):
    return kind in SAME[client.name]


def as_bytes(x):
    return x if isinstance(x, bytes) else x.encode()


def recorded(kind, answer=FEW):
    """The events of a good stream."""
    return [as_bytes(e) for e in FORMATS[kind].stream(answer, "m", "seed", {"stream_options": {"include_usage": True}})]


def whole(kind, answer=FEW):
    return FORMATS[kind].whole(answer, "m", "seed", {})


def stream_head(kind, more=""):
    return ("HTTP/1.1 200 OK\r\ncontent-type: %s\r\n%s\r\n" % ("application/vnd.amazon.eventstream" if kind in FRAMED else "text/event-stream", more)).encode()


def json_head(length, more="", status="200 OK", kind="application/json"):
    return ("HTTP/1.1 %s\r\ncontent-type: %s\r\n%s%s\r\n" % (status, kind, "content-length: %s\r\n" % length if length is not None else "", more)).encode()


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def good(ask):
    if ask.stream:
        return [stream_head(ask.kind), b"".join(recorded(ask.kind))]
    body = json.dumps(whole(ask.kind)).encode()
    return [json_head(len(body)), body]


# ---- the provider -----------------------------------------------------------------------------


class Ask:
    def __init__(self, path, body):
        text = body.decode("utf-8", "replace")
        found = re.search(r"play:([A-Za-z0-9_-]+)", text)
        self.play = found.group(1) if found else "good"
        self.kind = next((k for k, f in FORMATS.items() if f is next((f for p, f in provider.ROUTES if re.search(p, path.split("?")[0])), None)), None)
        self.stream = "stream" in path.lower() if self.kind not in ("to-chat", "to-responses", "to-anthropic") else bool(json.loads(body).get("stream"))


class Hostile:
    def __init__(self):
        self.plays = {"good": good}
        self.h2_opening = None          # called with a new HTTP/2 connection
        self.h2 = []                    # its connections
        self.left = {}                  # play -> how many peers left before its end
        self.tls = None                 # what answers a TLS hello
        self.s = socket.socket()
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.s.bind(("127.0.0.1", 0))
        self.s.listen(512)
        self.port = self.s.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                c, _ = self.s.accept()
            except OSError:
                return
            c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            c.settimeout(30 * SLOW)
            threading.Thread(target=self.serve, args=(c,), daemon=True).start()

    def serve(self, c):
        try:
            got = c.recv(65536)
            if got[:1] == b"\x16":
                self.run(c, "tls", self.tls())
            elif got[:3] == b"PRI":
                Peer(c, got, self).serve()
            else:
                while b"\r\n\r\n" not in got:
                    piece = c.recv(65536)
                    if not piece:
                        return
                    got += piece
                head, _, body = got.partition(b"\r\n\r\n")
                length = int(re.search(rb"(?i)content-length: *(\d+)", head).group(1))
                while len(body) < length:
                    piece = c.recv(1 << 20)
                    if not piece:
                        return
                    body += piece
                ask = Ask(head.split(b" ")[1].decode(), body)
                self.run(c, ask.play, self.plays[ask.play](ask))
        except OSError:
            pass
        finally:
            c.close()

    def run(self, c, name, steps, hold=60):
        try:
            for step in steps:
                if step is HOLD:
                    c.settimeout(hold)
                    while c.recv(65536):
                        pass
                elif isinstance(step, float):
                    time.sleep(step)
                elif step:
                    c.sendall(step)
            c.shutdown(socket.SHUT_WR)              # what was not read here must not become a reset
            c.settimeout(1)
            while c.recv(65536):
                pass
        except OSError:
            self.left[name] = self.left.get(name, 0) + 1

    def h2_close(self):
        while self.h2:
            c = self.h2.pop()
            try:
                c.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop(self):
        self.s.close()


def h2_frame(kind, flags, stream, data=b""):
    return struct.pack(">I", len(data))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + data


DATA, HEADERS, RST, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 4, 5, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def literal(name, value):
    """One line of a header block, no table, no Huffman; lengths up to 16 KB + 127."""
    def string(s):
        if len(s) < 127:
            return bytes([len(s)]) + s
        n, out = len(s) - 127, b"\x7f"
        while n >= 128:
            out += bytes([n % 128 + 128])
            n //= 128
        return out + bytes([n]) + s
    return b"\0" + string(name) + string(value)


class Peer:
    """One HTTP/2 connection: requests are read, answers are scripts of frames."""

    def __init__(self, c, got, owner):
        self.c, self.got, self.owner, self.bodies = c, got, owner, {}
        owner.h2.append(c)

    def need(self, n):
        while len(self.got) < n:
            piece = self.c.recv(65536)
            if not piece:
                raise ConnectionError("left")
            self.got += piece

    def serve(self):
        self.need(24)
        self.got = self.got[24:]
        opening, self.owner.h2_opening = self.owner.h2_opening, None
        self.c.sendall(h2_frame(SETTINGS, 0, 0))
        if opening:
            self.owner.run(self.c, "opening", opening(self))
            return
        while True:
            self.need(9)
            n = int.from_bytes(self.got[:3], "big")
            kind, flags, stream = self.got[3], self.got[4], int.from_bytes(self.got[5:9], "big")
            self.need(9 + n)
            data, self.got = self.got[9:9 + n], self.got[9 + n:]
            if kind == SETTINGS and not flags & ACK:
                self.c.sendall(h2_frame(SETTINGS, ACK, 0))
            elif kind == PING and not flags & ACK:
                self.c.sendall(h2_frame(PING, ACK, 0, data))
            elif kind == DATA:
                self.bodies[stream] = self.bodies.get(stream, b"") + data
                if flags & END_STREAM:
                    body = self.bodies.pop(stream)
                    ask = Ask("/v1/chat/completions", body)
                    ask.id = stream
                    play = self.owner.plays[ask.play]
                    if ask.play == "good":
                        self.c.sendall(h2_answer(ask))
                    else:
                        self.owner.run(self.c, ask.play, play(ask), 0.1 * SLOW)     # the connection is shared: others wait on it
                        return


def h2_head(ask, more=b"", flags=END_HEADERS):
    return h2_frame(HEADERS, flags, ask.id, b"\x88" + literal(b"content-type", b"text/event-stream" if ask.stream else b"application/json") + more)


def h2_body(ask):
    return b"".join(good(ask)[1:])


def h2_answer(ask):
    return h2_head(ask) + h2_frame(DATA, END_STREAM, ask.id, h2_body(ask))


# ---- the client -------------------------------------------------------------------------------


class Reply:
    """status; type; body; how it ended: whole, broken (in the middle of its framing), late"""

    def __init__(self, port, path, body, seconds):
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds * SLOW)
        self.status, self.type, self.body, self.how = 0, "", b"", "whole"
        self.from_, pieces = time.monotonic(), []
        try:
            c.request("POST", path, body, {"content-type": "application/json", "authorization": "Bearer sk-client"})
            r = c.getresponse()
            self.status, self.type = r.status, r.getheader("content-type") or ""
            while True:
                piece = r.read1(1 << 20)
                if not piece:
                    break
                pieces.append(piece)
            if r.length:
                self.how = "broken"
        except http.client.IncompleteRead as e:
            self.how = "broken"
            pieces.append(e.partial)
        except (socket.timeout, TimeoutError):
            self.how = "late"
        except (http.client.HTTPException, ConnectionError) as e:
            self.how = "no answer: %r" % e
        finally:
            self.body = b"".join(pieces)
            self.seconds = time.monotonic() - self.from_
            c.close()


def ask_for(client, model, play, stream):
    path, body = client.ask(model, [("user", "play:%s" % play)], stream=stream, tools=[wire.WEATHER])
    return path, json.dumps(body)


def error_in(client, body):
    """The stream's last event is an error of the client's dialect."""
    eol = b"\r\n" if client is wire.Gemini else b"\n"
    last = body.rstrip(b"\r\n").split(eol + eol)[-1].split(b"data: ", 1)[-1]
    try:
        e = json.loads(last)
    except ValueError:
        return None
    if client is wire.Responses:
        return e if e.get("type") == "error" else e.get("response", {}).get("error") if e.get("type") == "response.failed" else None
    return e.get("error")


NO_USAGE = b'{"input_tokens":0,"input_tokens_details":{"cached_tokens":0},"output_tokens":0,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":0}'


def judge(client, kind, reply):
    """answer, error, or verbatim; raises when it is none of them"""
    same = is_same(client, kind)
    assert reply.how in ("whole", "broken"), reply.how
    if reply.status >= 400:
        assert reply.how == "whole" and reply.type == "application/json", reply.type
        e = json.loads(reply.body)
        assert same or client.whole(e)["error"], reply.body[:300]      # the provider's own words, when they are JSON
        return "error"
    if reply.type.startswith("text/event-stream"):
        assert reply.how == "whole", "a stream that ends in the middle of a chunk"
        if same:
            return "error" if error_in(client, reply.body) else "verbatim"
        body = reply.body
        if client is wire.Responses and b"response.failed" not in body[-65536:]:     # no usage came: null, which its reader does not expect
            body = body.replace(b'"usage":null', b'"usage":' + NO_USAGE)
        got = client.stream(body)
    elif same:
        return "verbatim"
    else:
        assert reply.status == 200 and reply.how == "whole", (reply.status, reply.how)
        got = client.whole(json.loads(reply.body.replace(b'"usage":null', b'"usage":' + NO_USAGE)))
    if got["error"]:
        return "error"
    for n in (got["usage"] or {}).values():
        assert 0 <= n <= 1 << 31, "usage %r" % got["usage"]
    reply.got = got
    return "answer"


class World:
    def __init__(self):
        self.hostile = Hostile()
        reliability = "reliability: {retry_count: 0, connect_timeout: %dms, first_byte_timeout: %dms, idle_timeout: %dms, total_timeout: %dms}" % (
            1000 * FIRST_BYTE * SLOW, 1000 * FIRST_BYTE * SLOW, 1000 * IDLE * SLOW, 1000 * TOTAL * SLOW)
        text = wire.configuration(self.hostile.port).replace("reliability: {retry_count: 0}", reliability)
        extra = ""
        for name, url, more in (("to-h2", "http", "http2: always"), ("to-tls", "https", "http2: auto")):
            extra += '    - name: %s\n      provider_model_id: m\n      %s\n      backend_refs: [{name: a, base_url: "%s://127.0.0.1:%d/v1", provider: openai, %s}]\n' % (
                name, reliability, url, self.hostile.port, more)
        text = text.replace("routing:\n", extra + "routing:\n").replace("modelCards: [", "modelCards: [{name: to-h2}, {name: to-tls}, ")
        self.gateway = Gateway(text, env=wire.ACCESS)
        for kind in KINDS + ["to-h2"]:
            assert self.ask(wire.CLIENTS[3], kind, "good", True).status == 200
        self.rest = self.memory("VmRSS")

    def ask(self, client, model, play, stream, seconds=3 * TOTAL):
        path, body = ask_for(client, model, play, stream)
        return Reply(self.gateway.data, path, body, seconds)

    def memory(self, what):
        with open("/proc/%d/status" % self.gateway.p.pid) as f:
            return int(re.search(what + r":\s+(\d+) kB", f.read()).group(1)) << 10

    def peak_reset(self):
        with open("/proc/%d/clear_refs" % self.gateway.p.pid, "w") as f:
            f.write("5")

    def peak(self):
        return self.memory("VmHWM") - self.rest

    def stop(self):
        rc = self.gateway.stop()
        self.hostile.stop()
        assert rc == 0, rc


world = None


def the_world():
    global world
    if not world:
        world = World()
    return world


class Plays:
    """Runs many exchanges at once and says in the end what was wrong."""

    def __init__(self, workers=12, bound=MEMORY):
        self.world, self.wrong, self.n, self.counts, self.bound = the_world(), [], 0, {}, bound
        self.pool = ThreadPoolExecutor(workers)
        self.jobs = []
        self.world.peak_reset()

    def one(self, client, kind, play, stream, expect, check):
        try:
            reply = self.world.ask(client, kind, play, stream)
            got = judge(client, kind, reply)
            self.counts[got] = self.counts.get(got, 0) + 1
            assert expect is None or got == expect or got == "verbatim", "%s instead of %s: %d %r" % (got, expect, reply.status, reply.body[-300:])
            assert reply.seconds < (TOTAL + SLACK) * SLOW, "%.1f s" % reply.seconds
            if check and got == "answer":
                check(client, reply.got)
        except Exception as e:
            self.wrong.append("%s: %s -> %s %s: %s: %s" % (play, client.name, kind, "stream" if stream else "json", type(e).__name__, str(e)[:400]))

    def put(self, client, kind, play, stream, expect=None, check=None):
        self.n += 1
        self.jobs.append(self.pool.submit(self.one, client, kind, play, stream, expect, check))

    def all(self, play, script, expect=None, kinds=KINDS, streams=(False, True), clients=None, check=None):
        """One play of each kind of provider, told to a client of the same dialect and to another, by turns."""
        self.world.hostile.plays[play] = script
        for i, kind in enumerate(kinds):
            for stream in streams:
                turn = (zlib.crc32(play.encode()) + i + stream) % 4
                chosen = clients or [c for c in wire.CLIENTS if is_same(c, kind)] + [wire.CLIENTS[(turn + k) % 4] for k in range(4)
                                                                                     if not is_same(wire.CLIENTS[(turn + k) % 4], kind)][:1]
                for c in chosen:
                    self.put(c, kind, play, stream, expect, check)

    def done(self):
        for j in self.jobs:
            j.result()
        self.pool.shutdown()
        peak = self.world.peak()
        print("     %d exchanges: %s; peak of memory %d MB above rest" % (self.n, ", ".join("%d %s" % (v, k) for k, v in sorted(self.counts.items())), peak >> 20))
        assert not self.wrong, "%d wrong:\n%s" % (len(self.wrong), "\n".join(self.wrong[:25]))
        assert SLOW > 1 or peak < self.bound, "%d MB" % (peak >> 20)
        assert self.world.gateway.p.poll() is None, self.world.gateway.output()[-3000:]
        for kind in KINDS:
            for stream in (False, True):
                client = wire.CLIENTS[(KINDS.index(kind) + stream) % 4]
                reply = self.world.ask(client, kind, "good", stream)
                assert judge(client, kind, reply) in ("answer", "verbatim") and reply.status == 200, (kind, reply.status, reply.body[:300])


def text_of(n):
    def check(client, got):
        assert len(got["text"]) == n, "%d characters" % len(got["text"])
    return check


def a_hundred(client, got):
    assert len(got["calls"]) == 100, "%d calls" % len(got["calls"])


def forever(piece, most=16 << 20):
    for _ in range(0, most, len(piece)):
        yield piece


# ---- HTTP/1 -----------------------------------------------------------------------------------


@test
def heads_that_do_not_end_or_lie():
    p = Plays(workers=64)
    line = b"HTTP/1.1 200 OK\r\n"
    p.all("head-endless", lambda a: itertools.chain([line], forever(b"x-aaaaaaaaaaaaaaaaaaaaaaaaa: " + b"b" * 4000 + b"\r\n")), "error")
    p.all("head-many", lambda a: [line + b"".join(b"a%d: b\r\n" % i for i in range(5000)) + b"\r\n{}"], "error")
    p.all("head-one-huge", lambda a: itertools.chain([line + b"x: "], forever(b"b" * 65536)), "error")
    p.all("head-reason-huge", lambda a: itertools.chain([b"HTTP/1.1 200 "], forever(b"b" * 65536)), "error")
    p.all("head-1xx-endless", lambda a: forever(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 100), "error")
    p.all("head-100-and-bye", lambda a: [b"HTTP/1.1 100 Continue\r\n\r\n"], "error")
    p.all("head-101", lambda a: [b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n", HOLD], "error")
    p.all("head-half", lambda a: [line + b"content-ty"], "error")
    p.all("head-none", lambda a: [], "error")
    p.all("head-drips", lambda a: itertools.chain([line], (x for _ in range(200) for x in (b"a", 0.2))), "error")
    p.all("head-silent", lambda a: [HOLD], "error")
    for i, text in enumerate((b"\0\1\2\3" * 50, b"SSH-2.0-OpenSSH\r\n\r\n", b"<html>hello</html>\r\n\r\n", b"HTTP/1.1 999999 A\r\n\r\n", b"HTTP/1.1 -20 A\r\n\r\n",
                              b"HTTP/1.1 020 A\r\n\r\n", b"HTTP/9.1 200 OK\r\n\r\n", b"ICY 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\nx: y\n\n{}", b"\r\n\r\n\r\n\r\n",
                              b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n{}", b"HTTP/1.1 200 OK\r\nx y: a\r\n\r\n{}", b"HTTP/1.1 200 OK\r\n: a\r\n\r\n{}",
                              b"HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n{}", b"HTTP/1.1 200 OK\r\nx: a\rb\r\n\r\n{}")):
        p.all("head-garbage-%d" % i, lambda a, text=text: [text], "error")
    p.done()


@test
def lengths_that_lie():
    p = Plays()
    body = lambda a: json.dumps(whole(a.kind)).encode()
    both = lambda a: (b"".join(recorded(a.kind)) if a.stream else body(a))
    head = lambda a, more: stream_head(a.kind, more) if a.stream else json_head(None, more)
    p.all("length-short", lambda a: [head(a, "content-length: 10\r\n"), both(a)], None)
    p.all("length-long", lambda a: [head(a, "content-length: 50000\r\n"), both(a)])
    p.all("length-long-cut", lambda a: [head(a, "content-length: 50000\r\n"), both(a)[:-30]], "error")
    for name, lines in (("negative", "content-length: -1\r\n"), ("plus", "content-length: +5\r\n"), ("two", "content-length: 5\r\ncontent-length: 6\r\n"),
                        ("list", "content-length: 5, 5\r\n"), ("huge", "content-length: 99999999999999999999\r\n"), ("empty", "content-length: \r\n"),
                        ("both", "content-length: 5\r\ntransfer-encoding: chunked\r\n"), ("hex", "content-length: 0x10\r\n"),
                        ("coding", "transfer-encoding: gzip, chunked\r\n"), ("coding-twice", "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n")):
        p.all("length-" + name, lambda a, lines=lines: [head(a, lines), both(a)], "error")
    p.all("length-1-gb", lambda a: itertools.chain([json_head(1 << 30)], forever(b" " * 65536, 1 << 20)), "error")
    p.all("length-1-eb", lambda a: itertools.chain([json_head(10 ** 17)], forever(b" " * 65536, 1 << 20)), "error")
    chunked = "transfer-encoding: chunked\r\n"
    for name, size in (("overflow", b"ffffffffffffffffff"), ("16", b"ffffffffffffffff"), ("negative", b"-5"), ("huge", b"7fffffffffffffff"), ("word", b"zz"),
                       ("none", b""), ("spaces", b"   5")):
        p.all("chunk-" + name, lambda a, size=size: [head(a, chunked), size + b"\r\n", both(a)[:-30]], "error")
    p.all("chunk-no-end", lambda a: [head(a, chunked), chunk(both(a)[:40])], "error")
    p.all("chunk-no-crlf", lambda a: [head(a, chunked), b"5\r\nabcdefgh\r\n0\r\n\r\n"], "error")
    p.all("chunk-extension", lambda a: itertools.chain([head(a, chunked), b"5;a="], forever(b"b" * 65536)), "error")
    p.all("chunk-trailers", lambda a: itertools.chain([head(a, chunked), chunk(both(a)[:40]), b"0\r\n"], forever(b"x: y\r\n" * 5000)))
    p.all("chunk-of-1", lambda a: [head(a, chunked)] + [b"".join(chunk(bytes([b])) for b in both(a)) + b"0\r\n\r\n"], "answer")
    p.done()


@test
def bodies_that_are_no_answer():
    p = Plays()
    page = b"<!doctype html><title>Welcome to nginx!</title>"
    p.all("html", lambda a: [json_head(len(page), kind="text/html"), page], "error")
    p.all("html-as-json", lambda a: [json_head(len(page)), page], "error")
    p.all("html-as-events", lambda a: [stream_head(a.kind), page], "error")
    p.all("empty-200", lambda a: [json_head(0)], "error")
    p.all("empty-events", lambda a: [stream_head(a.kind, "content-length: 0\r\n")], "error")
    p.all("no-content", lambda a: [b"HTTP/1.1 204 No Content\r\n\r\n"], "error")
    p.all("not-modified", lambda a: [b"HTTP/1.1 304 Not Modified\r\n\r\n"], "error")
    for status in (301, 302, 303, 307, 308):
        p.all("redirect-%d" % status, lambda a, status=status: [json_head(0, "location: http://127.0.0.1:1/steal\r\n", "%d Go" % status)], "error")
    for i, text in enumerate((b"null", b"[]", b"{}", b"1e999", b'"x"', b'{"choices":{}}', b'{"error":null}', b'{"error":{}}', b'{"content":1}', b'{"output":{}}', b'{"candidates":1}',
                              b"[" * 10000, b'{"a":' * 10000, b"[" * 10000 + b"]" * 10000, b'{"id":"\\ud800"}', b"\xff\xfe{}", b"\xef\xbb\xbf{}", b'{"a":1}{"a":2}')):
        p.all("json-%d" % i, lambda a, text=text: [json_head(len(text)), text], streams=(False, True))
    for status in (400, 401, 403, 404, 408, 409, 413, 418, 422, 429, 500, 502, 503, 529, 599):
        for name, body in (("nothing", b""), ("html", page), ("json", b'{"error":{"message":{"a":[1]},"code":1e999,"type":null}}'), ("array", b'[{"error":{"message":"\\ud800\xff"}}]')):
            p.all("status-%d-%s" % (status, name), lambda a, status=status, body=body: [json_head(len(body), status="%d X" % status), body],
                  "error" if name == "nothing" else None, kinds=KINDS[status % 7:][:2], streams=(False,), clients=[c for c in wire.CLIENTS])
    bomb = gzip.compress(b" " * (64 << 20), 1)          # the gateway asks for identity
    p.all("bomb", lambda a: [json_head(len(bomb), "content-encoding: gzip\r\n"), bomb], "error")
    p.all("bomb-events", lambda a: [stream_head(a.kind, "content-encoding: gzip\r\n"), bomb], "error")
    p.done()


@test
def bodies_that_never_end():
    p = Plays(workers=56)
    def drip(a):
        yield stream_head(a.kind) if a.stream else json_head(None)
        first = recorded(a.kind)[0] if a.stream else b"{"
        yield first
        while True:
            yield 0.3
            yield b" " if not a.stream else b"\0" if a.kind in FRAMED else b": still here\n\n"
    p.all("drips", drip, "error")
    def drip_events(a):
        yield stream_head(a.kind)
        events = recorded(a.kind, provider.Answer("word " * 4000))
        for e in events:
            yield e
            yield 0.2
    p.all("drips-events", drip_events, "error", streams=(True,))
    p.all("stalls", lambda a: [stream_head(a.kind), b"".join(recorded(a.kind))[:150], HOLD], "error", streams=(True,))
    p.all("stalls-json", lambda a: [json_head(5000), b'{"id":', HOLD], "error", streams=(False,))
    p.done()


@test
def whole_answers_are_bounded():
    for stream in (False, True):
        p = Plays(workers=1)
        p.all("large-%d" % stream, lambda a: itertools.chain([json_head(None, "transfer-encoding: chunked\r\n"), chunk(b'{"a":"')], forever(chunk(b"b" * (1 << 20)), 80 << 20)),
              "error", kinds=["to-chat", "to-gemini"], streams=(stream,), clients=[wire.Messages])
        p.all("tape-%d" % stream, lambda a: itertools.chain([json_head(60 << 20), b'{"a":['], forever(b"0," * 65536, 60 << 20)),
              "error", kinds=["to-anthropic", "to-converse"], streams=(stream,), clients=[wire.Chat])
        def fits(a):
            answer = provider.Answer("x" * (20 << 20))
            body = json.dumps(whole(a.kind, answer)).encode()
            return [json_head(len(body)), body]
        p.all("fits-%d" % stream, fits, "answer", kinds=["to-chat", "to-invoke", "to-responses"], streams=(stream,), clients=[wire.Messages, wire.Gemini],
              check=text_of(20 << 20))
        p.done()


# ---- streams ----------------------------------------------------------------------------------


def text_piece(kind, text, i=0):
    """One event that adds text to an answer."""
    if kind == "to-chat":
        return "data: " + json.dumps({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}) + "\n\n"
    if kind == "to-responses":
        return "event: response.output_text.delta\ndata: " + json.dumps({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": text, "logprobs": [], "sequence_number": i}) + "\n\n"
    if kind == "to-gemini":
        return "data: " + json.dumps({"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}], "modelVersion": "m", "responseId": "r"}) + "\r\n\r\n"
    if kind == "to-converse":
        return provider.event_frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}})
    d = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    if kind == "to-invoke":
        return provider.event_frame("chunk", {"bytes": provider.base64.b64encode(json.dumps(d).encode()).decode()})
    return "event: content_block_delta\ndata: " + json.dumps(d) + "\n\n"


def around(kind):
    """The beginning and the end of a recorded stream of one piece of text."""
    events = recorded(kind, provider.Answer("Z"))
    at = next(i for i, e in enumerate(events) if b'"Z"' in base_of(kind, e))
    return events[:at], events[at + 1:]


def base_of(kind, event):
    found = re.search(rb'"bytes": ?"([^"]*)"', event)
    return provider.base64.b64decode(found.group(1)) if found else event


def with_pieces(a, pieces):
    before, after = around(a.kind)
    yield stream_head(a.kind) + b"".join(before)
    for x in pieces:
        yield as_bytes(x)
    if a.kind == "to-responses":                # its end repeats the text, which need not be what was said
        after = [e for e in after if b"response.completed" in e]
    yield b"".join(after)


@test
def events_of_every_size():
    p = Plays(workers=2)
    p.all("event-1-mb", lambda a: with_pieces(a, [text_piece(a.kind, "x" * (1 << 20))]), "answer", streams=(True,), check=text_of(1 << 20))
    p.all("event-10-mb", lambda a: with_pieces(a, [text_piece(a.kind, "x" * (10 << 20))]), streams=(True,))
    p.all("event-endless", lambda a: itertools.chain([stream_head(a.kind), b"data: {\""], forever(b"x" * 65536, 24 << 20)), "error", streams=(True,))
    p.all("event-lines", lambda a: itertools.chain([stream_head(a.kind)], forever(b"data: x\n" * 8192, 24 << 20)), "error", streams=(True,))
    p.all("events-tiny", lambda a: with_pieces(a, [as_bytes(text_piece(a.kind, "y")) * 5000] * 8), "answer", streams=(True,), check=text_of(40000))
    p.all("events-comments", lambda a: with_pieces(a, [b":\n\n" * 100000] * 10), "answer", kinds=[k for k in KINDS if k not in FRAMED], streams=(True,))
    p.all("events-million", lambda a: with_pieces(a, [b"data: {}\n\n" * 100000] * 10), kinds=["to-chat", "to-gemini", "to-anthropic"], streams=(True,))
    p.done()


def tool_pieces(kind, n_bytes, size, calls=1, index=lambda i: i):
    """A stream of tool calls whose arguments come in pieces, by turns."""
    filler = "x" * size
    if kind == "to-chat":
        one = lambda d: b"data: " + json.dumps({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"tool_calls": [d]}, "finish_reason": None}]}).encode() + b"\n\n"
        for i in range(calls):
            yield one({"index": index(i), "id": "call_%d" % i, "type": "function", "function": {"name": "f", "arguments": '{"a":"'}})
        for k in range(0, n_bytes, size):
            for i in range(calls):
                yield one({"index": index(i), "function": {"arguments": filler}})
        for i in range(calls):
            yield one({"index": index(i), "function": {"arguments": '"}'}})
        yield b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}\n\ndata: [DONE]\n\n'
    elif kind in ("to-anthropic", "to-vertex", "to-invoke"):
        def one(d):
            data = json.dumps(d).encode()
            return provider.event_frame("chunk", {"bytes": provider.base64.b64encode(data).decode()}) if kind == "to-invoke" else b"event: " + d["type"].encode() + b"\ndata: " + data + b"\n\n"
        yield one({"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "m", "usage": {"input_tokens": 1, "output_tokens": 1}}})
        for i in range(calls):
            yield one({"type": "content_block_start", "index": index(i), "content_block": {"type": "tool_use", "id": "toolu_%d" % i, "name": "f", "input": {}}})
        for t in ['{"a":"'] + [filler] * (n_bytes // size) + ['"}']:
            for i in range(calls):
                yield one({"type": "content_block_delta", "index": index(i), "delta": {"type": "input_json_delta", "partial_json": t}})
        for i in range(calls):
            yield one({"type": "content_block_stop", "index": index(i)})
        yield one({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": {"output_tokens": 3}})
        yield one({"type": "message_stop"})
    elif kind == "to-converse":
        f = provider.event_frame
        yield f("messageStart", {"role": "assistant"})
        for i in range(calls):
            yield f("contentBlockStart", {"contentBlockIndex": index(i), "start": {"toolUse": {"toolUseId": "t%d" % i, "name": "f"}}})
        for t in ['{"a":"'] + [filler] * (n_bytes // size) + ['"}']:
            for i in range(calls):
                yield f("contentBlockDelta", {"contentBlockIndex": index(i), "delta": {"toolUse": {"input": t}}})
        for i in range(calls):
            yield f("contentBlockStop", {"contentBlockIndex": index(i)})
        yield f("messageStop", {"stopReason": "tool_use"})
        yield f("metadata", {"usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}, "metrics": {"latencyMs": 1}})
    elif kind == "to-responses":
        def one(t, **d):
            return b"event: " + t.encode() + b"\ndata: " + json.dumps(dict(d, type=t, sequence_number=0)).encode() + b"\n\n"
        yield one("response.created", response={"id": "resp_1", "object": "response", "model": "m", "status": "in_progress", "output": []})
        for i in range(calls):
            yield one("response.output_item.added", output_index=index(i), item={"type": "function_call", "id": "fc_%d" % i, "call_id": "call_%d" % i, "name": "f", "arguments": ""})
        for t in ['{"a":"'] + [filler] * (n_bytes // size) + ['"}']:
            for i in range(calls):
                yield one("response.function_call_arguments.delta", output_index=index(i), item_id="fc_%d" % i, delta=t)
        yield one("response.completed", response={"id": "resp_1", "object": "response", "model": "m", "status": "completed", "output": []})
    else:
        parts = [{"functionCall": {"id": "c%d" % i, "name": "f", "args": {"a": filler * (n_bytes // size)}}} for i in range(calls)]
        for i in range(0, len(parts), 100):
            yield b"data: " + json.dumps({"candidates": [{"content": {"role": "model", "parts": parts[i:i + 100]}, "finishReason": "STOP" if i + 100 >= len(parts) else None, "index": 0}]}).encode() + b"\r\n\r\n"


def in_groups(events, n=100):
    events = iter(events)
    while True:
        group = b"".join(itertools.islice(events, n))
        if not group:
            return
        yield group


@test
def tool_calls_without_measure():
    p = Plays(workers=2)
    script = lambda *args, **more: lambda a: itertools.chain([stream_head(a.kind)], in_groups(tool_pieces(a.kind, *args, **more)))
    p.all("arguments-20-mb", script(20 << 20, 512 << 10), kinds=["to-chat", "to-anthropic", "to-converse"], streams=(True,), clients=[wire.Responses])
    p.all("arguments-2-mb", script(2 << 20, 64 << 10), "answer", streams=(True,))
    p.all("arguments-20-mb-each", script(10 << 20, 64 << 10, calls=2), kinds=[k for k in KINDS if k != "to-gemini"], streams=(True,), clients=[wire.Gemini])
    p.all("calls-10000", script(1, 1, calls=10000), streams=(True,))
    p.all("calls-100", script(100, 10, calls=100), "answer", streams=(True,), check=a_hundred)
    for i, n in enumerate((1 << 31, (1 << 32) - 1, 1 << 32, 1 << 63, 10 ** 30, -1, 1.5, "7", None, 1e300)):
        p.all("index-%d" % i, script(10, 1, index=lambda k, n=n: n), streams=(True,))
    p.done()


def bent(kind, how):
    """A recorded stream with its events changed."""
    return b"".join(how(recorded(kind)))


@test
def events_out_of_their_order():
    p = Plays()
    put = lambda name, how, expect=None, **more: p.all(name, lambda a: [stream_head(a.kind), bent(a.kind, how)], expect, streams=(True,), **more)
    put("order-reversed", lambda e: e[::-1])
    put("order-twice", lambda e: e + e)
    put("order-each-twice", lambda e: [x for x in e for _ in (0, 1)])
    put("order-no-first", lambda e: e[1:])
    put("order-no-last", lambda e: e[:-1])
    put("order-last-first", lambda e: e[-1:] + e[:-1])
    put("order-end-twice", lambda e: e + e[-1:], "answer")
    put("order-after-end", lambda e: e + e[2:4], "answer")
    put("order-first-twice", lambda e: e[:1] + e)
    put("order-first-late", lambda e: e[1:3] + e[:1] + e[3:])
    put("order-only-end", lambda e: e[-1:])
    for i in range(12):                         # one event is lost, one is a stranger
        put("order-lost-%d" % i, lambda e, i=i: e[:i] + e[i + 1:])
    put("order-stranger", lambda e: e[:2] + [b"event: from_next_year\ndata: {\"type\":\"from_next_year\",\"x\":[1]}\n\n"] + e[2:], kinds=[k for k in KINDS if k not in FRAMED])
    put("order-not-json", lambda e: e[:2] + [b"data: {\"a\":\n\n"] + e[2:], kinds=[k for k in KINDS if k not in FRAMED])
    p.done()


NUMBERS = ("1e999", "-1e999", "99999999999999999999", "-5", "1.5", "1e3", "9007199254740993", "2147483648", "null", "true", '"12"', "[]", "{}", "-0", "0." + "1" * 400)


@test
def numbers_and_texts_that_are_none():
    p = Plays()
    def replaced(a, of, by):
        if a.stream:
            events = [re.sub(of, by, e) if a.kind not in FRAMED else reframed(e, of, by) for e in recorded(a.kind)]
            return [stream_head(a.kind), b"".join(events)]
        body = re.sub(of, by, json.dumps(whole(a.kind)).encode())
        return [json_head(len(body)), body]

    def reframed(event, of, by):
        name = re.search(rb":event-type\x07\0.(\w+?)\r", event).group(1).decode()
        at = 12 + int.from_bytes(event[4:8], "big")
        payload = event[at:-4]
        if name == "chunk":
            inner = re.sub(of, by, provider.base64.b64decode(json.loads(payload)["bytes"]))
            payload = b'{"bytes":"' + provider.base64.b64encode(inner) + b'"}'
        else:
            payload = re.sub(of, by, payload)
        return provider.frame([(":event-type", name), (":content-type", "application/json"), (":message-type", "event")], payload)
    counts = rb'("(?:\w*_?tokens|\w*[tT]okens?|\w*TokenCount)": ?)\d+'
    for i, n in enumerate(NUMBERS):
        p.all("number-%d" % i, lambda a, n=n: replaced(a, counts, lambda m: m.group(1) + n.encode()), None if n[0] in "\"[{tn" else "answer")
        p.all("number-all-%d" % i, lambda a, n=n: replaced(a, rb'(": ?)\d+\b', lambda m: m.group(1) + n.encode()))
    for i, text in enumerate((b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe4\xb8", b"\\ud800", b"\\udc00\\ud800", b"\\ud83c", b"\\u0000", b"\\x41", b"\x01\x1f")):
        p.all("text-%d" % i, lambda a, text=text: replaced(a, rb"!|Gr", lambda m: text))
    p.all("keys-twice", lambda a: replaced(a, rb'^((?:event: \w+\n)?(?:data: )?)\{', lambda m: m.group(1) + b'{"id":7,"type":[],"choices":0,"usage":{},"usage":[],"delta":1,"output":3,"candidates":2,"content":"x","object":null,'))
    p.all("keys-twice-behind", lambda a: replaced(a, rb'\}(\s*)$', lambda m: b',"id":7,"id":"x","usage":{},"choices":0}' + m.group(1)))
    p.all("deep", lambda a: replaced(a, rb'"(!|Gr[^"]*)"', lambda m: b"[" * 10000 + b"]" * 10000))
    p.all("deep-ok", lambda a: replaced(a, rb'\}(\s*)$', lambda m: b',"zz":' + b"[" * 200 + b"]" * 200 + b"}" + m.group(1)))
    p.done()


@test
def server_sent_events_in_every_shape():
    def same_meaning(client, got):
        assert got["text"] == FEW.text and [n for n, a in got["calls"]] == ["get_weather"], got
    p = Plays()
    texts = [k for k in KINDS if k not in FRAMED]
    put = lambda name, how: p.all(name, lambda a: [stream_head(a.kind), how(b"".join(recorded(a.kind)))], "answer", kinds=texts, streams=(True,), check=same_meaning)
    put("sse-lf", lambda b: b.replace(b"\r\n", b"\n"))
    put("sse-crlf", lambda b: b.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    put("sse-cr", lambda b: b.replace(b"\r\n", b"\n").replace(b"\n", b"\r"))
    put("sse-mixed", lambda b: b.replace(b"\r\n", b"\n").replace(b"\n\n", b"\r\n\n"))
    put("sse-bom", lambda b: b"\xef\xbb\xbf" + b)
    put("sse-comments", lambda b: b": hello\n\n:\n" + re.sub(rb"(?m)^data: ", b": a comment: here\ndata: ", b))
    put("sse-ids", lambda b: re.sub(rb"(?m)^data: ", b"id: 7\nretry: 1\nfoo: bar\nbaz\ndata: ", b))
    put("sse-no-space", lambda b: re.sub(rb"(?m)^(data|event): ", rb"\1:", b))
    put("sse-blank-lines", lambda b: b"\n\n\n" + b.replace(b"\n\n", b"\n\n\n\n\n"))
    put("sse-data-lines", lambda b: re.sub(rb"(?m)^(data: \{)", b"\\1\ndata: ", b))
    put("sse-names-behind", lambda b: re.sub(rb"(?m)^(event: \S+)\n(data: .*)\n", b"\\2\n\\1\n", b))
    p.done()


@test
def binary_frames_that_lie():
    p = Plays()
    put = lambda name, how, expect="error": p.all(name, lambda a: [stream_head(a.kind), bent(a.kind, how)], expect, kinds=FRAMED, streams=(True,), clients=wire.CLIENTS)
    flip = lambda b, i: b[:i] + bytes([b[i] ^ 1]) + b[i + 1:]
    crc = lambda prelude: prelude + struct.pack(">I", zlib.crc32(prelude))
    sealed = lambda body: body + struct.pack(">I", zlib.crc32(body))
    put("frame-crc-head", lambda e: [e[0], flip(e[1], 8)] + e[2:])
    put("frame-crc-body", lambda e: [e[0], flip(e[1], len(e[1]) - 1)] + e[2:])
    put("frame-flipped", lambda e: [e[0], flip(e[1], len(e[1]) - 8)] + e[2:])
    put("frame-length-0", lambda e: [e[0], crc(struct.pack(">II", 0, 0))] + e[1:])
    put("frame-length-15", lambda e: [e[0], crc(struct.pack(">II", 15, 0)) + b"abc"] + e[1:])
    put("frame-length-16", lambda e: [e[0], sealed(crc(struct.pack(">II", 16, 0)))] + e[1:], None)
    put("frame-length-4-gb", lambda e: [e[0], crc(struct.pack(">II", 0xffffffff, 0))] + e[1:])
    put("frame-headers-4-gb", lambda e: [e[0], crc(struct.pack(">II", 100, 0xfffffff0))] + e[1:])
    put("frame-headers-longer", lambda e: [e[0], sealed(crc(struct.pack(">II", 20, 8)) + b"abcd")] + e[1:])
    put("frame-truncated", lambda e: e[:-1] + [e[-1][:-5]], None)
    put("frame-truncated-2", lambda e: e[:2] + [e[2][:-5]])
    put("frame-text", lambda e: [b"data: {}\n\n" * 10])
    put("frame-zeros", lambda e: [b"\0" * 1000])
    for t in range(16):                         # headers of every type, known or not, before those that matter
        value = {0: b"", 1: b"", 2: b"x", 3: b"xx", 4: b"xxxx", 5: b"x" * 8, 6: b"\0\3abc", 7: b"\0\3abc", 8: b"x" * 8, 9: b"x" * 16}.get(t, b"xx")
        def odd(e, t=t, value=value):
            n_headers = int.from_bytes(e[1][4:8], "big")
            headers = b"\1z" + bytes([t]) + value + e[1][12:12 + n_headers]
            payload = e[1][12 + n_headers:-4]
            return [e[0], sealed(crc(struct.pack(">II", 16 + len(headers) + len(payload), len(headers))) + headers + payload)] + e[2:]
        put("frame-type-%d" % t, odd, "answer" if t < 10 else "error")
    for i, name in enumerate(("throttlingException", "internalServerException", "modelStreamErrorException", "fromNextYear", "")):
        exception = provider.frame([(":exception-type", name), (":content-type", "application/json"), (":message-type", "exception")], b'{"message":"no"}')
        put("frame-exception-first-%d" % i, lambda e, x=exception: [x] + e)
        put("frame-exception-late-%d" % i, lambda e, x=exception: e[:3] + [x] + e[3:])
    put("frame-error", lambda e: [provider.frame([(":message-type", "error"), (":error-code", "x"), (":error-message", "\\\"")], b"")] + e)
    put("frame-not-json", lambda e: e[:1] + [provider.frame([(":event-type", "contentBlockDelta"), (":message-type", "event")], b"{")] + e[1:], None)
    put("frame-not-base64", lambda e: e[:1] + [provider.event_frame("chunk", {"bytes": "?? no"})] + e[1:], None)
    put("frame-64-mb", lambda e: [sealed(crc(struct.pack(">II", 64 << 20, 0)) + b"x" * 1000)])
    p.done()


def memory_script(name):
    """Streams without end whose every event could leave something behind in the gateway."""
    def anthropic(event):
        return b"event: %s\ndata: %s\n\n" % (event["type"].encode(), json.dumps(event).encode())
    start = anthropic({"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "m", "usage": {"input_tokens": 1, "output_tokens": 1}}})
    if name == "signatures":
        begin = anthropic({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}})
        piece = anthropic({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s" * 200000}})
        return "to-anthropic", start + begin, lambda i: piece
    if name == "names":
        return "to-anthropic", start, lambda i: (anthropic({"type": "content_block_start", "index": i, "content_block": {"type": "tool_use", "id": "t%d" % i, "name": "n" * 200000, "input": {}}}) +
                                                 anthropic({"type": "content_block_stop", "index": i}))
    if name == "citations":
        begin = anthropic({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
        piece = anthropic({"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": {
            "type": "web_search_result_location", "url": "http://a/", "title": "t" * 100000, "cited_text": "c" * 100000, "encrypted_index": "e"}}})
        return "to-anthropic", start + begin, lambda i: piece
    one = lambda choice: b"data: " + json.dumps({"id": "c", "model": "m", "choices": [dict({"index": 0, "finish_reason": None}, **choice)]}).encode() + b"\n\n"
    if name == "logprobs":
        token = {"token": "t" * 100, "logprob": -1.0, "bytes": [1], "top_logprobs": []}
        piece = one({"delta": {}, "logprobs": {"content": [token] * 1500}})
        return "to-chat", one({"delta": {"role": "assistant", "content": "x"}}), lambda i: piece
    if name == "thoughts":
        piece = one({"delta": {"reasoning_details": [{"type": "reasoning.encrypted", "data": "d" * 200000, "format": "x"}]}})
        return "to-chat", b"", lambda i: piece
    if name == "text":
        piece = one({"delta": {"content": "x" * 200000}})
        return "to-chat", b"", lambda i: piece
    if name == "nameless":
        return "to-chat", b"", lambda i: one({"delta": {"tool_calls": [{"index": i, "function": {"arguments": "a" * 200000}}]}})
    if name == "images":
        piece = one({"delta": {"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 200000}}]}})
        return "to-chat", b"", lambda i: piece
    if name == "stops":
        piece = one({"delta": {}, "finish_reason": "x" * 200000})
        return "to-chat", b"", lambda i: piece
    if name == "signed-parts":
        part = {"text": "x", "thoughtSignature": "s" * 200000}
        piece = b"data: " + json.dumps({"candidates": [{"content": {"role": "model", "parts": [part]}}]}).encode() + b"\r\n\r\n"
        return "to-gemini", b"", lambda i: piece
    if name == "calls":
        return "to-gemini", b"", lambda i: b"data: " + json.dumps({"candidates": [{"content": {"role": "model", "parts": [
            {"functionCall": {"id": "i%d" % i, "name": "f", "args": {"a": "b" * 200000}}, "thoughtSignature": "s" * 1000}]}}]}).encode() + b"\r\n\r\n"
    if name == "items":
        return "to-responses", b"", lambda i: b"event: response.output_item.done\ndata: " + json.dumps({"type": "response.output_item.done", "output_index": i, "item": {
            "type": "reasoning", "id": "rs_%d" % i, "summary": [], "encrypted_content": "e" * 200000}}).encode() + b"\n\n"
    raise KeyError(name)


@test
def what_a_stream_leaves_behind_is_bounded():
    """80 MB of events whose parts are kept until the end; nobody may keep them all."""
    failures = []
    for name in ("signatures", "names", "citations", "logprobs", "thoughts", "text", "nameless", "images", "stops", "signed-parts", "calls", "items"):
        kind, first, piece = memory_script(name)
        for stream, client in ((True, wire.Responses if kind != "to-responses" else wire.Chat), (False, wire.Gemini if kind != "to-gemini" else wire.Messages)):
            w = the_world()
            def script(a, piece=piece, first=first):
                yield stream_head(a.kind) + first
                for i in range(400):
                    yield piece(i)
            w.hostile.plays["leave-" + name] = script
            w.peak_reset()
            reply = w.ask(client, kind, "leave-" + name, stream)
            peak = w.peak()
            if peak > MEMORY or w.gateway.p.poll() is not None or reply.how not in ("whole", "broken"):
                failures.append("%s: %s -> %s %s: %d MB, %s" % (name, client.name, kind, stream, peak >> 20, reply.how))
    assert not failures or SLOW > 1, "\n".join(failures)
    p = Plays()
    p.done()


@test
def characters_cut_between_segments():
    """Every byte in a segment of its own."""
    def bytewise(a):
        yield stream_head(a.kind)
        for b in b"".join(recorded(a.kind)):
            yield bytes([b])
            yield 0.0001
    def same_meaning(client, got):
        assert got["text"] == FEW.text and [(n, json.loads(x)) for n, x in got["calls"]] == FEW.calls, got
    p = Plays(workers=14)
    p.all("bytewise", bytewise, "answer", streams=(True,), clients=wire.CLIENTS, check=same_meaning)
    def bytewise_json(a):
        body = json.dumps(whole(a.kind), ensure_ascii=False).encode()
        for b in json_head(len(body)) + body:
            yield bytes([b])
            yield 0.0001
    p.all("bytewise-json", bytewise_json, "answer", streams=(False,), check=same_meaning)
    p.done()


STOP_SAID = rb'"finish_reason": "|"finishReason"|"stop_reason": "|"stopReason"|response\.completed'


@test
def connections_cut_at_every_byte():
    """A recorded stream of every format, cut behind each of its bytes: never a silent half, always an end of the client's dialect."""
    p = Plays(workers=8)
    short = provider.Answer("é🌍", [("f", {})])
    step = int(os.environ.get("HOSTILE_STEP", "1"))
    for n, kind in enumerate(KINDS):
        if kind == "to-vertex":                 # the bytes of to-anthropic
            continue
        events = recorded(kind, short)
        data = b"".join(events)
        # What comes behind the reason to stop (usage, [DONE]) may be lost where the format does not need it.
        stop = sum(map(len, events[:1 + max(i for i, e in enumerate(events) if re.search(STOP_SAID, base_of(kind, e)))]))
        for at in range(0, len(data), step):
            name = "cut-%s-%d" % (kind, at)
            chunked = at % 2
            p.world.hostile.plays[name] = lambda a, at=at, data=data, chunked=chunked: [
                stream_head(a.kind, "transfer-encoding: chunked\r\n") + chunk(data[:at]) if chunked and at else stream_head(a.kind) + data[:at]]
            p.put(wire.CLIENTS[at % 4], kind, name, at % 8 < 6, "error" if at < stop - 1 else None)
    p.done()


@test
def who_leaves_is_noticed():
    w = the_world()
    def endless(a):
        yield stream_head(a.kind)
        before, _ = around(a.kind)
        yield b"".join(before)
        for _ in range(3000):
            yield as_bytes(text_piece(a.kind, "word "))
            yield 0.01
    for kind in KINDS:
        w.hostile.plays["endless-" + kind] = endless
        w.hostile.left.pop("endless-" + kind, None)
        client = wire.CLIENTS[KINDS.index(kind) % 4]
        path, body = ask_for(client, kind, "endless-" + kind, True)
        s = socket.create_connection(("127.0.0.1", w.gateway.data), timeout=10)
        s.sendall(("POST %s HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n%s" % (path, len(body), body)).encode())
        assert s.recv(100).startswith(b"HTTP/1.1 200"), kind
        s.close()
    for kind in KINDS:
        wait_for(lambda: w.hostile.left.get("endless-" + kind), 2, "the gateway to leave " + kind)
    Plays().done()


@test
def a_flood_neither_outlasts_its_time_nor_stops_others():
    w = the_world()
    comments = b": ping\n\n" * 8000
    def flood(a):
        yield stream_head(a.kind)
        while True:
            yield comments
    def flood_text(a):
        yield stream_head(a.kind)
        before, _ = around(a.kind)
        yield b"".join(before)
        some = as_bytes(text_piece(a.kind, "word ")) * 200
        while True:
            yield some
    w.hostile.plays.update(flood=flood, flood_text=flood_text)
    replies = []
    def run(client, kind, play):
        replies.append((play, client, kind, w.ask(client, kind, play, True)))
    threads = [threading.Thread(target=run, args=x) for x in ((wire.Messages, "to-chat", "flood"), (wire.Chat, "to-gemini", "flood"), (wire.Chat, "to-chat", "flood"),
                                                             (wire.Chat, "to-anthropic", "flood_text"))]
    for t in threads:
        t.start()
    slowest = 0
    end = time.monotonic() + 3
    while time.monotonic() < end:
        time.sleep(0.1)
        from_ = time.monotonic()
        assert w.gateway.request("GET", "/health").status == 200
        slowest = max(slowest, time.monotonic() - from_)
    for t in threads:
        t.join(4 * TOTAL * SLOW)
    for play, client, kind, reply in replies:
        assert reply.how == "whole" and reply.seconds < (TOTAL + SLACK) * SLOW, (play, client.name, kind, reply.how, reply.seconds)
    print("     slowest /health beside four floods: %.0f ms; the floods ended after %s s" % (1e3 * slowest, ", ".join("%.1f" % r[3].seconds for r in replies)))
    assert len(replies) == 4 and slowest < 2 * SLOW, slowest
    Plays().done()


# ---- HTTP/2 and TLS ---------------------------------------------------------------------------


@test
def http2_peers_that_misbehave():
    p = Plays(workers=1)
    w = p.world
    def put(name, script, expect="error", streams=(False, True), mute=False):
        w.hostile.plays["h2-" + name] = script
        for stream in streams:
            p.one(wire.Messages, "to-h2", "h2-" + name, stream, expect, None)
            p.n += 1
            if mute == "alive":                 # this peer can only say one thing at a time
                w.hostile.h2_close()
            elif mute:                          # nobody knows yet that the peer is gone: one more may find out
                w.ask(wire.Messages, "to-h2", "good", stream)
            reply = w.ask(wire.Messages, "to-h2", "good", stream)
            if judge(wire.Messages, "to-h2", reply) != "answer":
                p.wrong.append("after %s: %d %r" % (name, reply.status, reply.body[:200]))
    long = lambda a: b"".join(as_bytes(e) for e in recorded("to-chat", provider.Answer("word " * 3000)))
    put("fine", lambda a: [h2_answer(a)], "answer")
    put("bytewise", lambda a: [bytes([b]) for b in h2_answer(a)], "answer")
    put("padded", lambda a: [h2_frame(HEADERS, END_HEADERS | 8, a.id, b"\x10\x88" + literal(b"content-type", b"text/event-stream" if a.stream else b"application/json") + b"\0" * 16) +
                             h2_frame(DATA, END_STREAM | 8, a.id, b"\xff" + h2_body(a) + b"\0" * 255)], "answer")
    put("reset-at-once", lambda a: [h2_frame(RST, 0, a.id, struct.pack(">I", 2)), HOLD])
    put("reset-refused", lambda a: [h2_frame(RST, 0, a.id, struct.pack(">I", 7)), HOLD])
    put("reset-middle", lambda a: [h2_head(a) + h2_frame(DATA, 0, a.id, h2_body(a)[:200]) + h2_frame(RST, 0, a.id, struct.pack(">I", 2)), HOLD])
    put("reset-no-error", lambda a: [h2_head(a) + h2_frame(DATA, 0, a.id, h2_body(a)[:200]) + h2_frame(RST, 0, a.id, struct.pack(">I", 0)), HOLD])
    put("close-middle", lambda a: [h2_head(a) + h2_frame(DATA, 0, a.id, h2_body(a)[:200])])
    put("close-at-once", lambda a: [])
    put("goaway-lower", lambda a: [h2_frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0)), HOLD])
    put("goaway-then-answer", lambda a: [h2_frame(GOAWAY, 0, 0, struct.pack(">II", a.id, 0)), h2_answer(a), HOLD], "answer")
    put("goaway-error", lambda a: [h2_head(a) + h2_frame(GOAWAY, 0, 0, struct.pack(">II", 0, 11) + b"calm down" * 1000), HOLD])
    put("goaway-flood", lambda a: forever(h2_frame(GOAWAY, 0, 0, struct.pack(">II", a.id, 0)) * 1000, 1 << 20))
    put("data-after-end", lambda a: [h2_answer(a) + h2_frame(DATA, 0, a.id, b"more") * 100], None)
    put("data-before-head", lambda a: [h2_frame(DATA, 0, a.id, b"{}"), HOLD])
    put("data-on-zero", lambda a: [h2_frame(DATA, 0, 0, b"{}"), HOLD])
    put("data-on-idle", lambda a: [h2_frame(DATA, 0, 77, b"{}"), HOLD])
    put("head-on-idle", lambda a: [h2_frame(HEADERS, END_HEADERS, 78, b"\x88"), HOLD])
    put("push", lambda a: [h2_frame(PUSH_PROMISE, END_HEADERS, a.id, struct.pack(">I", 2) + b"\x82\x86\x84\x41\x01a"), HOLD])
    put("two-heads", lambda a: [h2_head(a) + h2_head(a) + h2_frame(DATA, END_STREAM, a.id, h2_body(a)), HOLD])
    put("no-status", lambda a: [h2_frame(HEADERS, END_HEADERS, a.id, literal(b"content-type", b"application/json")), HOLD])
    put("bad-status", lambda a: [h2_frame(HEADERS, END_HEADERS, a.id, literal(b":status", b"2e2")), HOLD])
    put("status-101", lambda a: [h2_frame(HEADERS, END_HEADERS, a.id, literal(b":status", b"101")), HOLD])
    put("status-99999", lambda a: [h2_frame(HEADERS, END_HEADERS | END_STREAM, a.id, literal(b":status", b"99999")), HOLD])
    put("interim-flood", lambda a: forever(h2_frame(HEADERS, END_HEADERS, a.id, literal(b":status", b"103") + literal(b"link", b"x" * 50)) * 100, 1 << 20))
    put("interim-then-answer", lambda a: [h2_frame(HEADERS, END_HEADERS, a.id, literal(b":status", b"103")), h2_answer(a)], "answer")
    put("head-bad-hpack", lambda a: [h2_frame(HEADERS, END_HEADERS, a.id, b"\xff\xff\xff\xff\xff\xff\xff"), HOLD])
    put("head-line-in-value", lambda a: [h2_head(a, literal(b"x-a", b"b\r\nx-injected: 1")), HOLD])
    put("head-upper", lambda a: [h2_head(a, literal(b"X-A", b"b")), HOLD])
    put("head-connection", lambda a: [h2_head(a, literal(b"connection", b"close")), HOLD])
    put("head-1-mb", lambda a: itertools.chain([h2_head(a, flags=0)], (h2_frame(CONTINUATION, END_HEADERS if i == 63 else 0, a.id, literal(b"x-a%d" % i, b"b" * 16000)) for i in range(64)), [HOLD]))
    put("head-indexed-bomb", lambda a: [h2_frame(HEADERS, END_HEADERS, a.id, b"\x88" + b"\x40\x03x-a\x7f\x81\x1d" + b"b" * 3840 + b"\xbe" * 10000), HOLD])
    put("continuation-flood", lambda a: itertools.chain([h2_head(a, flags=0)], forever(h2_frame(CONTINUATION, 0, a.id, b"") * 10000, 4 << 20), [HOLD]))
    put("continuation-alone", lambda a: [h2_frame(CONTINUATION, 0, a.id, b""), HOLD])
    put("continuation-missing", lambda a: [h2_head(a, flags=0) + h2_frame(DATA, END_STREAM, a.id, b"{}"), HOLD])
    put("length-lies", lambda a: [h2_head(a, literal(b"content-length", b"5")) + h2_frame(DATA, END_STREAM, a.id, h2_body(a)), HOLD])
    put("length-two", lambda a: [h2_head(a, literal(b"content-length", b"5") * 2) + h2_frame(DATA, END_STREAM, a.id, h2_body(a)), HOLD])
    put("length-1-gb", lambda a: [h2_head(a, literal(b"content-length", b"1073741824")) + h2_frame(DATA, 0, a.id, h2_body(a)[:200])])
    put("frame-huge", lambda a: [b"\xff\xff\xff" + bytes([DATA, 0]) + struct.pack(">I", a.id) + b"x" * 100000])
    put("frame-unknown-flood", lambda a: itertools.chain(forever(h2_frame(99, 255, a.id, b"z" * 16000), 64 << 20), [h2_answer(a)]), None)
    put("empty-data-flood", lambda a: itertools.chain([h2_head(a)], forever(h2_frame(DATA, 0, a.id) * 10000, 8 << 20)), None)
    put("window-overrun", lambda a: itertools.chain([h2_head(a)], forever(h2_frame(DATA, 0, a.id, b"x" * 16000), 64 << 20)), None)
    put("window-update-0", lambda a: [h2_frame(WINDOW, 0, a.id, b"\0\0\0\0"), HOLD])
    put("window-overflow", lambda a: [h2_frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff") * 2, HOLD])
    put("settings-flood", lambda a: forever(h2_frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 100)) * 10000, 8 << 20))
    put("settings-bad", lambda a: [h2_frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0xffffffff)), HOLD])
    put("settings-odd", lambda a: [h2_frame(SETTINGS, 0, 0, b"abc"), HOLD])
    put("ping-flood", lambda a: forever(h2_frame(PING, 0, 0, b"12345678") * 10000, 8 << 20))
    put("reset-flood", lambda a: forever(h2_frame(RST, 0, a.id, b"\0\0\0\2") * 10000, 8 << 20))
    put("priority-flood", lambda a: itertools.chain(forever(h2_frame(2, 0, a.id, b"\0\0\0\0\x10") * 10000, 8 << 20), [h2_answer(a)]), None)
    put("garbage", lambda a: [os.urandom(65536)])
    put("http1", lambda a: [b"HTTP/1.1 400 Bad Request\r\n\r\n"])
    put("stalls", lambda a: [h2_head(a) + h2_frame(DATA, 0, a.id, h2_body(a)[:200]), 60.0], streams=(True,), mute=True)
    put("silent", lambda a: [60.0], streams=(False,), mute=True)
    put("silent-but-alive", lambda a: (x for _ in range(50) for x in (h2_frame(PING, ACK, 0, b"12345678"), 0.1)), streams=(False,), mute="alive")
    def drips(a):
        yield h2_head(a)
        while True:
            yield h2_frame(DATA, 0, a.id, b": x\n\n")
            yield 0.3
    put("drips", drips, streams=(True,), mute="alive")
    # What a connection may begin with. The one that is shared is closed first.
    def opens(name, script, big=False):
        w.hostile.h2_close()
        w.hostile.h2_opening = script
        path, body = ask_for(wire.Messages, "to-h2", "x" * (1 << 20) if big else "good", False)
        reply = Reply(w.gateway.data, path, body, 3 * TOTAL)
        p.n += 1
        w.hostile.h2_opening = None
        w.hostile.h2_close()
        try:
            assert judge(wire.Messages, "to-h2", reply) == "error" and reply.seconds < (TOTAL + SLACK) * SLOW, (reply.status, reply.seconds)
            assert judge(wire.Messages, "to-h2", w.ask(wire.Messages, "to-h2", "good", False)) == "answer"
        except Exception as e:
            p.wrong.append("opening %s: %s %r" % (name, e, reply.body[:200]))
    opens("window-0", lambda peer: [h2_frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)), HOLD], big=True)
    opens("no-streams", lambda peer: [h2_frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 0)), HOLD])
    opens("settings-flood", lambda peer: forever(h2_frame(SETTINGS, 0, 0) * 10000, 4 << 20))
    opens("goaway", lambda peer: [h2_frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0)), HOLD])
    opens("garbage", lambda peer: [b"\xff" * 10000])
    opens("close", lambda peer: [])
    opens("tiny-frames", lambda peer: [h2_frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 1)), HOLD])
    opens("table-0", lambda peer: [h2_frame(SETTINGS, 0, 0, struct.pack(">HI", 1, 0) + struct.pack(">HI", 6, 0)), HOLD])
    p.done()


@test
def tls_that_is_none():
    p = Plays(workers=8)
    w = p.world
    record = lambda kind, data, length=None: bytes([kind, 3, 3]) + struct.pack(">H", len(data) if length is None else length) + data
    scripts = {
        "garbage": lambda: [b"\x80\xff garbage" * 500], "http": lambda: [b"HTTP/1.1 400 Bad Request\r\n\r\n"], "close": lambda: [],
        "alert": lambda: [record(21, b"\2\x28")], "huge": lambda: [record(22, b"x" * 100, 65535), HOLD], "records": lambda: forever(record(22, b""), 1 << 20),
        "hello-cut": lambda: [record(22, b"\2\0\0\x50" + b"\3\3" + b"r" * 32)], "alerts": lambda: forever(record(21, b"\1\0"), 1 << 20),
        "drips": lambda: (x for b in record(22, b"x" * 50) for x in (bytes([b]), 0.1)), "silent": lambda: [HOLD], "application": lambda: [record(23, b"x" * 500)],
    }
    for name, script in scripts.items():
        w.hostile.tls = script
        for client in wire.CLIENTS[:2] if name != "silent" else wire.CLIENTS[:1]:
            reply = w.ask(client, "to-tls", "good", True, seconds=8)
            p.n += 1
            try:
                assert judge(client, "to-tls", reply) == "error" and reply.status in (502, 504), (reply.status, reply.body[:200])
            except Exception as e:
                p.wrong.append("tls %s: %s %s" % (name, reply.how, e))
    p.done()


@test
def nothing_is_left_behind():
    """After all that: no descriptor, no fiber and little memory more than at the start."""
    w = the_world()
    time.sleep(0.5)
    def sockets():
        return sum(os.readlink("/proc/%d/fd/%s" % (w.gateway.p.pid, x)).startswith("socket:") for x in os.listdir("/proc/%d/fd" % w.gateway.p.pid))
    wait_for(lambda: sockets() < 30, 5, "sockets to be closed: %d" % sockets())
    used = w.memory("VmRSS") - w.rest
    print("     %d sockets, %d MB more than at the start" % (sockets(), used >> 20))
    assert SLOW > 1 or used < 256 << 20, used
    w.stop()


if __name__ == "__main__":
    try:
        main()
    finally:
        if world:
            try:
                world.gateway.stop()
            except AssertionError as e:
                print(e)
