#!/usr/bin/env python3
"""The self test of tools/mockllm.c: starts it, talks to it over raw sockets, stops it.

Tests that lean on the mock are only worth as much as the mock, so this file checks what they
assume: that answers obey the rules when nothing else is asked, and break exactly the asked one.
Standard library only. MOCKLLM names the binary (build/mockllm)."""
import base64
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
import traceback

BINARY = os.environ.get("MOCKLLM", "build/mockllm")
CHAT = "/v1/chat/completions"
HELLO = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
TOOLS = [
    {"type": "function", "function": {"name": "weather", "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}}},
    {"type": "function", "function": {"name": "clock"}},
]


class Mock:
    """One running mockllm; `port` says where."""

    def __init__(self, *flags):
        self.process = subprocess.Popen([BINARY, "--listen", "127.0.0.1:0", *flags],
                                        stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line.startswith("listening 127.0.0.1:"), line
        self.port = int(line.rsplit(":", 1)[1])

    def stop(self):
        start = time.monotonic()
        os.kill(self.process.pid, signal.SIGTERM)
        code = self.process.wait(10)
        self.process.stdout.close()
        return code, time.monotonic() - start

    def connect(self, timeout=20):
        s = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def call(self, method, path, body=None, headers=()):
        """(status, headers, body) by a strict client."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
            c.request(method, path, data, dict(headers))
            r = c.getresponse()
            return r.status, {k.lower(): v for k, v in r.getheaders()}, r.read()
        finally:
            c.close()

    def chat(self, body=HELLO, **switches):
        headers = {"x-mock-" + k.replace("_", "-"): str(v) for k, v in switches.items()}
        return self.call("POST", CHAT, body, headers)

    def raw(self, body=HELLO, path=CHAT, **switches):
        """Everything the mock sends until it ends; the error that ended it, or None."""
        s = self.connect()
        try:
            s.sendall(request(body, path, **switches))
            got = b""
            while True:
                try:
                    part = s.recv(65536)
                except OSError as e:
                    return got, e
                if not part:
                    return got, None
                got += part
        finally:
            s.close()

    def stats(self):
        return json.loads(self.call("GET", "/mock/stats")[2])

    def last(self):
        return json.loads(self.call("GET", "/mock/last")[2])


def request(body=HELLO, path=CHAT, **switches):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "host: mock", f"content-length: {len(data)}"]
    lines += [f"x-mock-{k.replace('_', '-')}: {v}" for k, v in switches.items()]
    return "\r\n".join(lines + ["", ""]).encode() + data


def streamed(body=HELLO, **more):
    return {**body, "stream": True, **more}


def content(answer):
    return json.loads(answer[2])["choices"][0]["message"]["content"]


def events(body):
    """The data of each SSE event, by the letter of the standard."""
    text = body.decode().removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    out, data = [], []
    for line in text.split("\n"):
        if not line:
            if data:
                out.append("\n".join(data))
            data = []
        elif line.startswith("data:"):
            value = line[5:]
            data.append(value[1:] if value.startswith(" ") else value)
    return out


def joined(chunks, choice=0):
    return "".join(c["delta"].get("content") or "" for e in chunks for c in e["choices"]
                   if c["index"] == choice)


def wait_for(condition, seconds=5):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


CHECKS = []


def check(f):
    CHECKS.append(f)
    return f


@check
def chat_answer_has_the_whole_shape(m):
    status, headers, body = m.chat()
    a = json.loads(body)
    assert status == 200 and headers["content-type"] == "application/json"
    assert headers["x-request-id"].startswith("mock-") and "openai-processing-ms" in headers
    assert a["object"] == "chat.completion" and a["model"] == "m"
    assert a["id"].startswith("chatcmpl-")
    assert isinstance(a["created"], int) and a["system_fingerprint"].startswith("fp_")
    choice = a["choices"][0]
    assert choice["finish_reason"] == "stop" and choice["message"]["role"] == "assistant"
    u = a["usage"]
    assert u["total_tokens"] == u["prompt_tokens"] + u["completion_tokens"]
    assert u["prompt_tokens_details"]["cached_tokens"] == 0
    assert u["completion_tokens_details"]["reasoning_tokens"] == 0


@check
def stream_follows_the_chunk_rules(m):
    status, headers, body = m.chat(streamed(stream_options={"include_usage": True}))
    data = events(body)
    assert status == 200 and headers["content-type"].startswith("text/event-stream")
    assert headers["transfer-encoding"] == "chunked" and "content-length" not in headers
    assert data[-1] == "[DONE]"
    chunks = [json.loads(d) for d in data[:-1]]
    assert len({(c["id"], c["created"], c["model"], c["object"]) for c in chunks}) == 1
    assert chunks[0]["object"] == "chat.completion.chunk"
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert all("role" not in c["choices"][0]["delta"] for c in chunks[1:-1])
    assert all(c["usage"] is None for c in chunks[:-1])
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["completion_tokens"] > 0
    assert chunks[-2]["choices"][0] == {
        "index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    assert joined(chunks) == content(m.chat())


@check
def usage_is_never_sent_unasked(m):
    for d in events(m.chat(streamed())[2])[:-1]:
        assert "usage" not in json.loads(d)


@check
def n_choices_whole_and_streamed(m):
    a = json.loads(m.chat({**HELLO, "n": 3})[2])
    assert [c["index"] for c in a["choices"]] == [0, 1, 2]
    chunks = [json.loads(d) for d in events(m.chat(streamed(n=3))[2])[:-1]]
    assert joined(chunks, 0) == joined(chunks, 2) != ""
    assert sum(c["choices"][0]["finish_reason"] == "stop" for c in chunks) == 3


@check
def tokens_and_bytes_are_exact(m):
    chunks = [json.loads(d) for d in events(m.chat(streamed(), tokens=37)[2])[:-1]]
    assert len(chunks) == 37 + 2
    assert joined(chunks) == content(m.chat(tokens=37))
    assert len(content(m.chat(body_bytes=100001))) == 100001
    chunks = [json.loads(d) for d in events(m.chat(streamed(), body_bytes=5000, tokens=10)[2])[:-1]]
    assert len(joined(chunks)) == 5000 and len(chunks) == 12


@check
def small_max_tokens_end_by_length(m):
    for member in "max_tokens", "max_completion_tokens":
        a = json.loads(m.chat({**HELLO, member: 3})[2])
        assert a["choices"][0]["finish_reason"] == "length" and a["usage"]["completion_tokens"] == 3
        chunks = [json.loads(d) for d in events(m.chat(streamed(**{member: 3}))[2])[:-1]]
        assert joined(chunks) == a["choices"][0]["message"]["content"]
        assert chunks[-1]["choices"][0]["finish_reason"] == "length"


@check
def tool_calls_then_the_result_is_quoted(m):
    ask = {"model": "m", "tools": TOOLS, "messages": [{"role": "user", "content": "use a tool"}]}
    choice = json.loads(m.chat(ask)[2])["choices"][0]
    call = choice["message"]["tool_calls"][0]
    assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] is None
    assert call["type"] == "function" and call["function"]["name"] == "weather" and call["id"]
    assert json.loads(call["function"]["arguments"]) == {"city": "text", "days": 1}
    choice = json.loads(m.chat({**ask, "tool_choice": "none"})[2])["choices"][0]
    assert "tool_calls" not in choice["message"]
    ask["messages"] = [{"role": "user", "content": [{"type": "text", "text": "parallel Tools"}]}]
    calls = json.loads(m.chat(ask)[2])["choices"][0]["message"]["tool_calls"]
    assert [c["function"]["name"] for c in calls] == ["weather", "clock"]
    ask["messages"] += [{"role": "assistant", "content": None, "tool_calls": calls},
                        {"role": "tool", "tool_call_id": calls[0]["id"], "content": "it \"rains\" é"},
                        {"role": "tool", "tool_call_id": calls[1]["id"], "content": "noon"}]
    answer = json.loads(m.chat(ask)[2])["choices"][0]
    assert answer["finish_reason"] == "stop"
    assert 'it "rains" é' in answer["message"]["content"] and "noon" in answer["message"]["content"]


@check
def streamed_tool_calls_name_themselves_once(m):
    ask = streamed(tools=TOOLS, messages=[{"role": "user", "content": "parallel tool"}])
    chunks = [json.loads(d) for d in events(m.chat(ask)[2])[:-1]]
    calls = {}
    for c in chunks:
        for t in c["choices"][0]["delta"].get("tool_calls", []):
            if t["index"] in calls:
                assert "id" not in t and "type" not in t and "name" not in t["function"]
            else:
                assert t["id"] and t["type"] == "function" and t["function"]["name"]
            calls[t["index"]] = calls.get(t["index"], "") + t["function"]["arguments"]
    assert json.loads(calls[0]) == {"city": "text", "days": 1} and json.loads(calls[1]) == {}
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    forced = json.loads(m.chat(HELLO, tool_calls=3)[2])["choices"][0]["message"]["tool_calls"]
    assert len({c["id"] for c in forced}) == 3


@check
def json_formats_satisfy_their_schema(m):
    schema = {"type": "object", "properties": {
        "s": {"type": "string"}, "i": {"type": ["null", "integer"]}, "b": {"type": "boolean"},
        "e": {"enum": ["a \"quoted\" one", "x"]},
        "l": {"type": "array", "items": {"$ref": "#/$defs/d"}},
        "o": {"type": "object", "properties": {"n": {"type": "number", "minimum": 7}}}},
        "$defs": {"d": {"anyOf": [{"type": "boolean"}, {"type": "null"}]}}}
    want = {"s": "text", "i": 1, "b": True, "e": 'a "quoted" one', "l": [True], "o": {"n": 7}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    ask = {**HELLO, "response_format": wanted}
    assert json.loads(content(m.chat(ask))) == want
    chunks = [json.loads(d) for d in events(m.chat(streamed(ask))[2])[:-1]]
    assert json.loads(joined(chunks)) == want and len(chunks) > 4
    free = m.chat({**HELLO, "response_format": {"type": "json_object"}})
    assert isinstance(json.loads(content(free)), dict)


@check
def logprobs_when_asked(m):
    choice = json.loads(m.chat({**HELLO, "logprobs": True, "top_logprobs": 2})[2])["choices"][0]
    tokens = choice["logprobs"]["content"]
    assert "".join(t["token"] for t in tokens) == choice["message"]["content"]
    assert all(len(t["top_logprobs"]) == 2 for t in tokens)
    assert all(bytes(t["bytes"]).decode() == t["token"] for t in tokens)
    chunks = [json.loads(d) for d in events(m.chat(streamed(logprobs=True))[2])[:-1]]
    assert len(chunks[1]["choices"][0]["logprobs"]["content"]) == 1


@check
def old_completions(m):
    ask = {"model": "m", "prompt": ["a", "b"], "max_tokens": 2, "logprobs": 1}
    a = json.loads(m.call("POST", "/v1/completions", ask)[2])
    assert a["object"] == "text_completion" and len(a["choices"]) == 2
    assert a["choices"][1]["text"] == "".join(a["choices"][1]["logprobs"]["tokens"])
    data = events(m.call("POST", "/v1/completions", {**ask, "stream": True})[2])
    chunks = [json.loads(d) for d in data[:-1]]
    assert data[-1] == "[DONE]" and chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert "".join(c["choices"][0]["text"] for c in chunks if c["choices"][0]["index"] == 1) == \
        a["choices"][1]["text"]


@check
def embeddings_agree_in_both_encodings(m):
    def ask(**more):
        body = {"model": "e", "input": ["a", "b"], **more}
        return json.loads(m.call("POST", "/v1/embeddings", body)[2])
    floats, packed = ask(dimensions=64), ask(dimensions=64, encoding_format="base64")
    assert [d["index"] for d in floats["data"]] == [0, 1]
    for f, p in zip(floats["data"], packed["data"]):
        numbers = struct.unpack("<64f", base64.b64decode(p["embedding"]))
        assert all(abs(x - y) < 1e-7 for x, y in zip(numbers, f["embedding"]))
        assert abs(sum(x * x for x in numbers) - 1) < 1e-4
    assert floats["data"][0]["embedding"] != floats["data"][1]["embedding"]
    one = ask(input=[1, 2, 3])
    assert len(one["data"]) == 1 and len(one["data"][0]["embedding"]) == 1536


@check
def models_health_head_and_wrong_paths(m):
    assert "mock-small" in [d["id"] for d in json.loads(m.call("GET", "/v1/models")[2])["data"]]
    assert m.call("GET", "/health")[0] == 200
    status, headers, body = m.call("HEAD", "/v1/models")
    assert status == 200 and body == b"" and int(headers["content-length"]) > 10
    assert m.call("GET", "/v1/none")[0] == 404 and m.call("GET", CHAT)[0] == 405


@check
def wrong_requests_are_told_so(m):
    for body in (b"", b"[]", b'{"model":"m","messages":[{"role":"user"}],}',
                 b'{"model":"m","messages":[]}', b'{"messages":[{"role":"user","content":""}]}',
                 b'{"model":"\x01","messages":[{}]}', b"[" * 100000, b'{"a":' * 100000):
        status, _, answer = m.call("POST", CHAT, body)
        error = json.loads(answer)["error"]
        assert status == 400 and set(error) == {"message", "type", "param", "code"}, body[:40]
    assert m.chat(no_such_switch=1)[0] == 400 and m.chat(delay_ms="soon")[0] == 400
    post = b"POST / HTTP/1.1\r\n"
    for head, status in (
            (b"GET /\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
            (post + b"content-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
            (post + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
            (post + b"transfer-encoding: chunked\r\n\r\nxyz\r\n", 400),
            (post + b"content-length: 99999999999\r\n\r\n", 413),
            (b"GET / HTTP/1.1\r\nx: " + b"x" * 70000, 431)):
        s = m.connect()
        s.sendall(head)
        got = b""
        while part := s.recv(65536):
            got += part
        s.close()
        assert got.startswith(b"HTTP/1.1 %d " % status), (head[:60], got[:60])


@check
def bodies_arrive_however_they_are_sent(m):
    data = json.dumps({**HELLO, "pad": "é" * 70000}).encode()
    want = f"{hashlib.sha256(data).hexdigest()} {len(data)}"
    status, headers, body = m.call("POST", CHAT, data, {"x-mock-echo": "1"})
    assert content((status, headers, body)) == want
    assert headers["x-mock-body-sha256"] == want.split()[0]
    for size in 1, 7, 1000, 65536:      # chunked, in chunks of that size
        part = data if size > 1 else data[:0] + json.dumps(HELLO).encode()
        frame = b"".join(b"%x;a=b\r\n%s\r\n" % (len(part[i:i + size]), part[i:i + size])
                         for i in range(0, len(part), size)) + b"0\r\nx-trailer: 1\r\n\r\n"
        s = m.connect()
        s.sendall(f"POST {CHAT} HTTP/1.1\r\ntransfer-encoding: chunked\r\nx-mock-echo: 1\r\n"
                  "connection: close\r\n\r\n".encode())
        s.sendall(frame)
        got = b""
        while more := s.recv(65536):
            got += more
        s.close()
        assert f"{hashlib.sha256(part).hexdigest()} {len(part)}".encode() in got, size
    big = b'{"model":"m","messages":[{"role":"user","content":"' + b"x" * (24 << 20) + b'"}]}'
    assert content(m.call("POST", CHAT, big, {"x-mock-echo": "1"})).endswith(str(len(big)))


@check
def expect_continue_pipelining_and_http10(m):
    data = json.dumps(HELLO).encode()
    s = m.connect()
    s.sendall(f"POST {CHAT} HTTP/1.1\r\nexpect: 100-continue\r\n"
              f"content-length: {len(data)}\r\n\r\n".encode())
    assert s.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    s.sendall(data)
    assert s.recv(15) == b"HTTP/1.1 200 OK"
    s.close()
    s = m.connect()
    for byte in request(no_keepalive=1):    # a byte at a time
        s.sendall(bytes([byte]))
    assert s.recv(15) == b"HTTP/1.1 200 OK"
    s.close()
    s = m.connect()
    s.sendall(request() * 20 + request(no_keepalive=1))
    got = b""
    while part := s.recv(65536):
        got += part
    s.close()
    assert got.count(b"HTTP/1.1 200 OK") == 21 and got.count(b"connection: close") == 1
    s = m.connect()
    s.sendall(request(streamed()).replace(b"HTTP/1.1", b"HTTP/1.0"))
    got = b""
    while part := s.recv(65536):
        got += part
    s.close()
    assert b"transfer-encoding" not in got and got.endswith(b"data: [DONE]\n\n")


@check
def delays_come_where_asked(m):
    start = time.monotonic()
    m.chat(delay_ms=80)
    assert 0.08 <= time.monotonic() - start < 1
    s = m.connect()
    s.sendall(request(streamed(), first_byte_ms=100, gap_ms=10, tokens=20, no_keepalive=1))
    start = time.monotonic()
    head = s.recv(65536)
    at_head = time.monotonic() - start
    assert head.endswith(b"\r\n\r\n") and b"data:" not in head
    s.recv(65536)
    at_body = time.monotonic() - start
    while s.recv(65536):
        pass
    s.close()
    total = time.monotonic() - start
    assert at_head < at_body - 0.05 and at_body >= 0.095
    assert 0.095 + 22 * 0.01 <= total < 1.5, total


@check
def small_writes_stay_apart(m):
    s = m.connect()
    s.sendall(request(chunk_bytes=100, chunk_gap_ms=3, no_keepalive=1))
    sizes = []
    while part := s.recv(65536):
        sizes.append(len(part))
    s.close()
    assert len(sizes) > 5 and max(sizes) <= 300, sizes
    got, error = m.raw(chunk_bytes=1, no_keepalive=1)
    assert error is None and json.loads(got.split(b"\r\n\r\n", 1)[1])


@check
def errors_as_scripted(m):
    status, headers, body = m.chat(status=429, error_code="insufficient_quota",
                                   retry_after=7, retry_after_ms=70)
    assert status == 429 and headers["retry-after"] == "7" and headers["retry-after-ms"] == "70"
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == "insufficient_quota"
    for code in 400, 401, 404, 500, 503, 529:
        status, headers, body = m.chat(status=code)
        assert status == code and json.loads(body)["error"]["message"]
        assert "retry-after" not in headers
    assert m.chat(status=204)[0] == 204 and m.chat(status=200)[0] == 200


@check
def the_first_requests_of_a_key_fail(m):
    assert [m.chat(fail_first=2, key="a")[0] for _ in range(4)] == [503, 503, 200, 200]
    assert [m.chat(fail_first=1, key="b", status=500)[0] for _ in range(2)] == [500, 200]
    m.call("POST", "/mock/reset")
    assert m.chat(fail_first=2, key="a")[0] == 503


@check
def storms_hit_by_chance(m):
    hits = sum(m.chat(storm=50)[0] == 429 for _ in range(200))
    assert 50 < hits < 150 and m.chat(storm=100)[0] == 429 and m.chat(storm=0)[0] == 200


@check
def cuts_come_at_the_byte(m):
    got, error = m.raw(reset_at_byte=100)
    assert len(got) == 100 and isinstance(error, ConnectionResetError), (len(got), error)
    got, error = m.raw(reset_at_byte=0)
    assert got == b"" and isinstance(error, ConnectionResetError)
    got, error = m.raw(close_at_byte="b250", body=streamed())
    assert error is None and len(got.split(b"\r\n\r\n", 1)[1]) == 250
    got, error = m.raw(close_at_byte=0)
    assert got == b"" and error is None


@check
def hanging_and_clients_that_leave_are_counted(m):
    before = m.stats()
    for where in "1", "body", "mid", "b300":
        s = m.connect(timeout=0.3)
        s.sendall(request(streamed(), hang=where))
        got = b""
        try:
            while part := s.recv(65536):
                got += part
            raise AssertionError("ended")
        except socket.timeout:
            pass
        body = got.partition(b"\r\n\r\n")[2]
        assert (where == "1") == (got == b"") and (where in ("1", "body")) == (body == b""), where
        assert where != "b300" or len(body) == 300
        assert m.stats()["in_flight"] == 1
        s.close()
        assert wait_for(lambda: m.stats()["in_flight"] == 0)
    assert m.stats()["client_closed_mid_response"] == before["client_closed_mid_response"] + 4
    assert m.last()["aborted"] is True
    s = m.connect()
    s.sendall(request()[:-5])
    time.sleep(0.05)
    s.close()
    assert wait_for(lambda: m.stats()["aborted_uploads"] == before["aborted_uploads"] + 1)
    last = m.last()
    assert last["aborted"] is True and last["body_bytes"] == len(json.dumps(HELLO)) - 5


@check
def malformed_streams_break_one_rule(m):
    whole = events(m.chat(streamed())[2])

    def stream(kind):
        return m.chat(streamed(), malformed=kind)[2]

    def parses(data):
        try:
            return bool(json.loads(data))
        except ValueError:
            return False
    good = [parses(d) for d in events(stream("bad-json-event"))]
    assert good.count(False) == 2 and good[-1] is False and len(good) == len(whole)
    open_ended = events(stream("no-done"))
    assert "[DONE]" not in open_ended and len(open_ended) == len(whole) - 1
    cut = stream("truncated-event")
    assert not cut.endswith(b"\n") and len(events(cut)) == 2
    error = events(stream("error-event"))
    assert "error" in json.loads(error[-1]) and len(error) == 3
    for kind, sign in (("crlf", b"}\r\n\r\ndata: "), ("cr", b"}\r\rdata: "),
                       ("bom", b"\xef\xbb\xbfdata: "), ("comments", b"\n: keep-alive\n"),
                       ("ids", b"\nid: 1\n"), ("multiline-data", b",\ndata:\"choices\"")):
        body = stream(kind)
        chunks = [json.loads(d) for d in events(body)[:-1]]
        assert sign in body and len(chunks) == len(whole) - 1, kind
        assert joined(chunks) == joined([json.loads(d) for d in whole[:-1]])
    status, headers, body = m.chat(streamed(), malformed="not-sse")
    assert status == 200 and "html" in headers["content-type"] and b"<p>" in body


@check
def malformed_frames_break_one_rule(m):
    for body in HELLO, streamed():
        got, error = m.raw(body, malformed="bad-chunk")
        assert error is None and b"\r\nzz\r\n" in got and not got.endswith(b"0\r\n\r\n")
        got, _ = m.raw(body, malformed="bad-length")
        head, _, rest = got.partition(b"\r\n\r\n")
        assert int(head.split(b"content-length: ")[1].split(b"\r")[0]) > len(rest)
        assert b"chunked" not in head
        head = m.raw(body, malformed="two-lengths")[0].partition(b"\r\n\r\n")[0]
        assert head.count(b"content-length: ") == 2
        head = m.raw(body, malformed="huge-header", no_keepalive=1)[0].partition(b"\r\n\r\n")[0]
        assert len(head) > 128 << 10
        assert not m.raw(body, malformed="garbage-head")[0].startswith(b"HTTP")
    for kind in "bad-json-event", "truncated-event", "bom":
        try:
            json.loads(m.chat(malformed=kind)[2].decode())
            raise AssertionError(kind)
        except ValueError:
            pass
    assert "error" in json.loads(m.chat(malformed="error-event")[2])


@check
def a_slow_reader_holds_the_sender(m):
    data = {**HELLO, "pad": "x" * 120000}
    s = m.connect()
    start = time.monotonic()
    s.sendall(request(data, slow_read_bps=100000, echo=1))
    assert s.recv(15) == b"HTTP/1.1 200 OK"
    took = time.monotonic() - start
    s.close()
    assert 0.7 < took < 5, took


@check
def switches_come_from_query_body_and_default(m):
    assert m.call("POST", CHAT + "?x-mock-status=418", HELLO)[0] == 418
    assert m.chat({**HELLO, "metadata": {"x-mock-status": "502", "other": "1"}})[0] == 502
    body = {**HELLO, "metadata": {"x-mock-status": "502"}}
    assert m.call("POST", CHAT + "?x-mock-status=500", body)[0] == 500
    assert m.call("POST", CHAT + "?x-mock-status=500", body, {"X-Mock-Status": "503"})[0] == 503
    usage = json.loads(m.call("POST", CHAT + "?x-mock-usage=10%2C20,3,4", HELLO)[2])["usage"]
    assert usage["total_tokens"] == 30 and usage["prompt_tokens_details"]["cached_tokens"] == 3
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 4
    other = Mock("--default", "x-mock-status=404", "--default=gap-ms=1")
    try:
        assert other.chat()[0] == 404 and other.chat(status=200)[0] == 200
        assert other.call("GET", "/health")[0] == 200
    finally:
        other.stop()


@check
def the_books_remember_requests(m):
    m.call("POST", "/mock/reset")
    assert m.last() is None and m.stats()["requests"] == 0
    m.call("POST", CHAT + "?a=b", b'\x00\xff not json',
           {"X-Name": "  v\xe9 : w ", "authorization": "Bearer k"})
    last = m.last()
    assert last["method"] == "POST" and last["path"] == CHAT + "?a=b" and last["aborted"] is False
    assert base64.b64decode(last["body_base64"]) == b'\x00\xff not json'
    assert ["X-Name", "v\xe9 : w"] in last["headers"]
    assert ["authorization", "Bearer k"] in last["headers"]
    for i in range(300):
        m.call("GET", f"/v1/models?i={i}")
    listed = json.loads(m.call("GET", "/mock/requests?n=1000")[2])["requests"]
    assert len(listed) == 256 and listed[-1]["path"] == "/v1/models?i=299"
    assert len(json.loads(m.call("GET", "/mock/requests?n=3")[2])["requests"]) == 3
    stats = m.stats()
    assert stats["requests"] == 301 and stats["in_flight"] == 0
    assert stats["bytes_in"] and stats["bytes_out"]


@check
def many_connections_and_slow_streams_at_once(m):
    socks = [m.connect() for _ in range(400)]
    for s in socks:
        s.sendall(request(streamed(), gap_ms=5, tokens=20, no_keepalive=1))
    assert m.stats()["open_connections"] >= 400
    for s in socks:
        got = b""
        while part := s.recv(65536):
            got += part
        assert got.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        s.close()
    assert wait_for(lambda: m.stats()["open_connections"] == 1 and m.stats()["in_flight"] == 0)


@check
def a_client_that_does_not_read_loses_nothing(m):
    s = m.connect()
    s.sendall(request(body_bytes=20 << 20, no_keepalive=1))
    time.sleep(0.2)
    total = 0
    while part := s.recv(1 << 20):
        total += len(part)
    s.close()
    assert total > 20 << 20


@check
def deterministic_answers_depend_on_the_body_alone(m):
    one, two = Mock("--deterministic"), Mock("--deterministic")
    try:
        two.chat()
        for body in HELLO, streamed():
            assert one.chat(body)[2] == two.chat(body)[2]
        a = json.loads(one.chat()[2])
        b = json.loads(one.chat({**HELLO, "seed": 1})[2])
        assert a["id"] != b["id"] and a["system_fingerprint"] != b["system_fingerprint"]
        assert json.loads(m.chat()[2])["id"] != json.loads(m.chat()[2])["id"]
    finally:
        one.stop()
        two.stop()


@check
def tls_serves_the_same(m):
    if not shutil.which("openssl"):
        return
    with tempfile.TemporaryDirectory() as where:
        cert, key = os.path.join(where, "c.pem"), os.path.join(where, "k.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key,
                        "-out", cert, "-subj", "/CN=localhost", "-days", "2"],
                       check=True, capture_output=True)
        other = Mock("--tls-cert", cert, "--tls-key", key)
        try:
            trust = ssl.create_default_context(cafile=cert)
            trust.check_hostname = False
            trust.set_alpn_protocols(["h2", "http/1.1"])
            c = http.client.HTTPSConnection("127.0.0.1", other.port, context=trust, timeout=20)
            for pad in 0, 100000, 3 << 20:
                data = json.dumps({**HELLO, "pad": "x" * pad}).encode()
                c.request("POST", CHAT, data, {"x-mock-echo": "1"})
                assert hashlib.sha256(data).hexdigest().encode() in c.getresponse().read()
            assert c.sock.selected_alpn_protocol() == "http/1.1"
            c.request("POST", CHAT, json.dumps(streamed()), {"x-mock-body-bytes": str(1 << 20)})
            assert c.getresponse().read().endswith(b"[DONE]\n\n")
            c.close()
        finally:
            other.stop()


@check
def help_teaches_and_bad_flags_do_not_start(m):
    text = subprocess.run([BINARY, "--help"], capture_output=True, text=True, check=True).stdout
    for word in "--listen", "x-mock-delay-ms", "multiline-data", "/mock/stats":
        assert word in text
    for flags in (["--nonsense"], ["--default", "x-mock-nonsense=1"], ["--listen", "nowhere"]):
        assert subprocess.run([BINARY, *flags], capture_output=True).returncode == 2


def main():
    m = Mock()
    passed = failed = 0
    for f in CHECKS:
        name = f.__name__.replace("_", " ")
        try:
            f(m)
            passed += 1
            print("ok  ", name)
        except Exception:
            failed += 1
            print("FAIL", name)
            traceback.print_exc(file=sys.stdout)
            if m.process.poll() is not None:
                m = Mock()
    s = m.connect()
    s.sendall(request(streamed(), hang="mid"))
    s.recv(10)
    code, took = m.stop()
    s.close()
    if code == 0 and took < (3 if "asan" in BINARY else 0.5):
        passed += 1
        print("ok   stops at once, also with a request open")
    else:
        failed += 1
        print("FAIL stops at once:", code, took)
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
