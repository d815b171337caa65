#!/usr/bin/env python3
"""Providers that answer byte by byte, break off, lie or flood: what one client gets is never another's, and always something."""
import json

from harness import *

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def answer(body, status=b"200 OK", extra=b""):
    return b"HTTP/1.1 %s\r\ncontent-type: application/json\r\n%scontent-length: %d\r\n\r\n%s" % (status, extra, len(body), body)


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


class Fake:
    """handle(socket, number of the request, head, body) for each request; False ends the connection."""

    def __init__(self, handle):
        self.handle, self.count, self.connections, self.lock = handle, 0, 0, threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                c, _ = self.listener.accept()
                self.connections += 1
                threading.Thread(target=self.serve, args=(c,), daemon=True).start()

    def serve(self, c):
        data = b""
        with contextlib.suppress(OSError), c:
            c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                while b"\r\n\r\n" not in data:
                    piece = c.recv(65536)
                    if not piece:
                        return
                    data += piece
                head, data = data.split(b"\r\n\r\n", 1)
                length = int(re.search(rb"(?i)content-length: (\d+)", head).group(1))
                while len(data) < length:
                    piece = c.recv(65536)
                    if not piece:
                        return
                    data += piece
                body, data = data[:length], data[length:]
                with self.lock:
                    self.count += 1
                    n = self.count
                if self.handle(c, n, head, body) is False:
                    return


@contextlib.contextmanager
def served(handle, reliability="idle_timeout: 1s", **more):
    f = Fake(handle)
    g = Gateway(config(f.port, extra_model="      reliability: {%s}" % reliability, **more))
    try:
        yield g, f
    finally:
        f.listener.close()
        assert g.stop() == 0


def many(g, n, ask):
    results = [None] * n

    def run(i):
        results[i] = ask(i)
    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    [t.start() for t in threads]
    [t.join(30 * SLOW) for t in threads]
    return results


@test
def answers_in_crumbs_reach_the_one_who_asked():
    def handle(c, n, head, body):
        mark = json.loads(body)["messages"][0]["content"].encode()
        if json.loads(body).get("stream"):
            data = chunk(b'data: {"id":"x","choices":[{"delta":{"content":"%s"}}]}\n\n' % (mark * 200)) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
            c.sendall(STREAM + data[:1])
        else:
            data = chunk(b'{"mark":"%s"}' % (mark * 200)) + b"0\r\n\r\n"
            c.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n" + data[:1])
        time.sleep(0.003)
        c.sendall(data[1:])

    with served(handle) as (g, f):
        for stream in (False, True):
            for _ in range(6):
                got = many(g, 16, lambda i: g.chat("m%03d" % i, stream=stream).body)
                assert all(("m%03d" % i).encode() * 200 in got[i] for i in range(16)), [b[:60] for b in got]


@test
def a_half_read_answer_is_never_the_next_ones():
    def handle(c, n, head, body):
        if n == 1:
            c.sendall(answer(b'{"error":{}}', b"503 Busy"))
        elif n == 2:
            c.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 100000\r\n\r\ndata: {}\n\n")
        else:
            c.sendall(answer(b'{"mine":%d}' % n))

    with served(handle) as (g, f):
        assert b"upstream_timeout" in g.chat(stream=True).body
        assert json.loads(g.chat().body) == {"mine": 3} and f.connections == 2


@test
def what_is_not_http_is_a_502_and_nothing_worse():
    heads = [b"HTTP/1.1 503 X\r\ntransfer-encoding: gzip, chunked\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
             b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b"hello\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000]
    for head in heads:
        def handle(c, n, h, b):
            c.sendall(head)
            return False
        with served(handle, "retry_count: 0") as (g, f):
            assert g.chat().status == 502, head


@test
def a_break_before_the_first_byte_is_told():
    def handle(c, n, head, body):
        c.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n")
        return False
    with served(handle) as (g, f):
        r = g.chat()
        assert r.status == 502 and json.loads(r.body)["error"]["code"] == "upstream_broken", r.body


@test
def a_stream_that_loses_its_last_chunk_still_ends():
    def handle(c, n, head, body):
        c.sendall(STREAM + chunk(b"data: {}\n\n") + chunk(b"data: [DONE]\n\n"))
        return False
    with served(handle) as (g, f):
        c = http.client.HTTPConnection("127.0.0.1", g.data, timeout=10)
        for _ in range(3):                      # on one kept connection
            c.request("POST", "/v1/chat/completions", json.dumps({"model": "auto", "stream": True, "messages": [{"role": "user", "content": "x"}]}))
            assert c.getresponse().read().endswith(b"data: [DONE]\n\n")


@test
def an_early_refusal_is_heard_while_we_still_send():
    def handle(c, n, head, body):
        c.sendall(answer(b"{}"))

    f = socket.create_server(("127.0.0.1", 0))

    def refuse():
        c, _ = f.accept()
        c.recv(4096)
        c.sendall(answer(b'{"error":{"message":"too big","type":"x","param":null,"code":"big"}}', b"413 Too Large"))
        time.sleep(8)
    threading.Thread(target=refuse, daemon=True).start()
    g = Gateway(config(f.getsockname()[1]))
    from_ = time.monotonic()
    r = g.chat("x" * 20_000_000)
    assert r.status == 413 and time.monotonic() - from_ < 5 * SLOW, (r.status, time.monotonic() - from_)
    g.stop(), f.close()


@test
def lies_about_usage_do_not_reach_the_counters():
    def handle(c, n, head, body):
        c.sendall(answer(b'{"id":"x","choices":[],"usage":{"prompt_tokens":-5,"completion_tokens":9223372036854775807}}'))
    with served(handle) as (g, f):
        assert g.chat().status == 200
        assert 0 <= g.metric("llm_model_tokens_total") < 1e9


@test
def nothing_of_the_client_goes_up_that_is_for_the_gateway():
    seen = []

    def handle(c, n, head, body):
        seen.append(head.lower())
        c.sendall(answer(b"{}"))
    with served(handle) as (g, f):
        g.request("POST", "/v1/chat/completions?a=1&key=secret&b=2", {"model": "auto", "messages": [{"role": "user", "content": "x"}]},
                  {"x-hop": "secret", "connection": "x-hop", "x-authz-user-id": "secret", "cookie": "secret"})
        assert b"secret" not in seen[0] and b"?a=1&b=2 " in seen[0], seen


@test
def listener_keys_stay_whatever_a_reload_does():
    m = Mock()
    data = free_port()

    def text(name, other=""):
        return config(m.port).replace("providers:", "listeners:\n  - {name: %s, address: 127.0.0.1, port: %d, api_keys: [k]}\n%sproviders:" % (name, data, other), 1)
    path = tempfile.NamedTemporaryFile("w", suffix=".yaml")
    path.write(text("a"))
    path.flush()
    admin = free_port()
    p = Process([SIGNALBOX, "serve", "-c", path.name, "--admin", "127.0.0.1:%d" % admin])

    def ask(method, where, port, body=None):
        try:
            c = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            c.request(method, where, body)
            return c.getresponse().status
        except OSError:
            return 0
    wait_for(lambda: ask("GET", "/health", data) == 200, 10, "the gateway")
    assert ask("GET", "/v1/models", data) == 401
    assert ask("PUT", "/api/v1/config", admin, text("renamed" * 20)) == 200
    assert ask("GET", "/v1/models", data) == 401
    with socket.create_server(("127.0.0.1", 0)) as busy:
        fresh = free_port()
        more = ("  - {name: n, address: 127.0.0.1, port: %d, api_keys: [k]}\n  - {name: b, address: 127.0.0.1, port: %d}\n"
                % (fresh, busy.getsockname()[1]))
        assert ask("PUT", "/api/v1/config", admin, text("a", more)) == 422
        assert ask("GET", "/v1/models", fresh) == 0 and ask("GET", "/v1/models", data) == 401
    assert p.stop() == 0
    m.stop()


if __name__ == "__main__":
    main()
