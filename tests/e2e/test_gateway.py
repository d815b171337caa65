#!/usr/bin/env python3
"""The data plane as a client and a provider see it."""
import base64, gzip, json, random, socket, struct, time, zlib

from harness import *

mock = Mock()
gate = Gateway(config(mock.port))


def last_body():
    return base64.b64decode(mock.last()["body_base64"])


def header(record, name):
    return [v for k, v in record["headers"] if k.lower() == name]


@test
def a_chat_is_answered_with_the_headers_that_say_why():
    r = gate.chat()
    assert r.status == 200, r.body
    assert json.loads(r.body)["choices"][0]["message"]["content"]
    assert r.getheader("x-vsr-selected-model") == "mock"
    assert r.getheader("x-vsr-selected-decision") == "all"
    assert r.getheader("x-vsr-schema-version") == "2"
    assert r.getheader("x-request-id") and r.getheader("server-timing")
    assert mock.last()["path"] == "/v1/chat/completions"


@test
def the_gateways_key_goes_up_and_the_clients_does_not():
    gate.chat(headers={"Authorization": "Bearer client-secret", "x-api-key": "other", "x-goog-api-key": "g"})
    record = mock.last()
    assert header(record, "authorization") == ["Bearer sk-upstream"], record["headers"]
    assert not header(record, "x-api-key") and not header(record, "x-goog-api-key")


@test
def bytes_are_kept_but_for_the_model():
    random.seed(int(time.time()))
    for n in range(60):
        odd = random.choice(['"a":1,"a":2', '"n":123456789012345678901234567890', '"e":"\\u00e9\\ud83d\\ude00\\/"',
                             '"f":1.10', '"x": [ 1 , 2 ]', '"z":{"a":{"b":[null,true]}}', '"k\\u0065y":0'])
        space = random.choice(["", " ", "\n  ", "\t"])
        text = json.dumps("".join(random.choice("abc \"\\\n\u00e9\u4e2d<>&") for _ in range(random.choice([3, 40, 4000]))),
                          ensure_ascii=random.random() < .5)
        parts = ['"model":%s"auto"' % space, '"messages":%s[{"role":"user",%s"content":%s}]' % (space, space, text), odd]
        random.shuffle(parts)
        body = ("{" + space + ("," + space).join(parts) + space + "}").encode()
        r = gate.request("POST", "/v1/chat/completions", body)
        assert r.status == 200, (r.status, r.body, body)
        assert last_body() == body.replace(b'"auto"', b'"mock"'), (body, last_body())


@test
def a_body_of_two_megabytes_passes_unchanged():
    body = json.dumps({"model": "mock", "messages": [{"role": "user", "content": "x" * 2_000_000}]}).encode()
    assert gate.request("POST", "/v1/chat/completions", body).status == 200
    assert last_body() == body


@test
def chunked_and_compressed_bodies_are_taken():
    body = json.dumps({"model": "mock", "messages": [{"role": "user", "content": "hi " * 500}]}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + 100]), body[i:i + 100]) for i in range(0, len(body), 100))
    assert b" 200 OK" in raw(gate.data, head + chunks + b"0\r\n\r\n")
    assert last_body() == body
    for name, data in (("gzip", gzip.compress(body)), ("deflate", zlib.compress(body))):
        r = gate.request("POST", "/v1/chat/completions", data, {"content-encoding": name})
        assert r.status == 200, r.body
        assert last_body() == body
    assert gate.request("POST", "/v1/chat/completions", b"x", {"content-encoding": "br"}).status == 415
    assert gate.request("POST", "/v1/chat/completions", b"not gzip", {"content-encoding": "gzip"}).status == 400


@test
def expect_100_continue_is_answered_first():
    body = b'{"model":"mock","messages":[{"role":"user","content":"x"}]}'
    s = socket.create_connection(("127.0.0.1", gate.data), timeout=5)
    s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(body))
    assert s.recv(100).startswith(b"HTTP/1.1 100 ")
    s.sendall(body)
    assert s.recv(4096).startswith(b"HTTP/1.1 200 ")
    s.close()


@test
def streams_arrive_event_by_event_and_hide_usage_nobody_asked_for():
    r = gate.chat(stream=True)
    events = sse(r.body)
    assert events[-1] == "[DONE]" and len(events) > 3
    assert all("usage" not in json.loads(e) for e in events[:-1])
    assert b'"include_usage":true' in last_body()
    r = gate.chat(stream=True, stream_options={"include_usage": True})
    assert json.loads(sse(r.body)[-2])["usage"]["total_tokens"] > 0
    r = gate.chat(stream=True, stream_options={"include_obfuscation": False})
    assert json.loads(last_body())["stream_options"] == {"include_obfuscation": False, "include_usage": True}


@test
def a_stream_survives_any_split_of_its_bytes():
    whole = gate.chat(stream=True).body
    n = len(sse(whole))
    for size in (1, 2, 3, 7, 64):
        r = gate.chat(stream=True, headers={"x-mock-chunk-bytes": str(size), "x-mock-tokens": "5"})
        assert sse(r.body)[-1] == "[DONE]"
        assert all("usage" not in json.loads(e) for e in sse(r.body)[:-1])
    for kind in ("crlf", "bom", "comments"):
        r = gate.chat(stream=True, headers={"x-mock-malformed": kind})
        assert r.status == 200 and b"[DONE]" in r.body, (kind, r.body)


@test
def the_first_event_is_not_held_back():
    c = http.client.HTTPConnection("127.0.0.1", gate.data, timeout=10)
    c.request("POST", "/v1/chat/completions", json.dumps({"model": "auto", "stream": True, "messages": [{"role": "user", "content": "x"}]}),
              {"x-mock-gap-ms": "300", "x-mock-tokens": "4"})
    from_ = time.monotonic()
    r = c.getresponse()
    r.readline()
    assert time.monotonic() - from_ < 0.25 * max(1, SLOW)
    c.close()


@test
def broken_streams_end_in_an_error_event_and_not_in_silence():
    for kind in ("no-done", "truncated-event"):
        r = gate.chat(stream=True, headers={"x-mock-malformed": kind})
        assert '"error"' in sse(r.body)[-1], (kind, r.body[-300:])
    r = gate.chat(stream=True, headers={"x-mock-reset-at-byte": "b700"})
    assert "upstream_stream_broken" in sse(r.body)[-1], r.body[-300:]


@test
def errors_of_the_provider_keep_status_and_body():
    for status in (400, 404, 422, 429, 500, 503):
        r = gate.chat(headers={"x-mock-status": str(status), "x-mock-error-code": "some_code"})
        assert r.status == status, (status, r.status)
        assert json.loads(r.body)["error"]["code"] == "some_code", r.body
        assert r.getheader("x-upstream-request-id", "").startswith("mock-")
    for status in (401, 403):
        r = gate.chat(headers={"x-mock-status": str(status)})
        assert r.status == 502 and json.loads(r.body)["error"]["code"] == "upstream_auth", r.body
    r = gate.chat(headers={"x-mock-status": "429", "x-mock-retry-after": "7"})
    assert r.getheader("retry-after") == "7"


@test
def one_bad_answer_is_retried_and_bad_requests_are_not():
    key = str(time.time())
    r = gate.chat(headers={"x-mock-fail-first": "1", "x-mock-key": key})
    assert r.status == 200, r.body
    before = mock.stats()["requests"]
    assert gate.chat(headers={"x-mock-status": "400"}).status == 400
    assert mock.stats()["requests"] == before + 1


@test
def bad_json_is_told_with_its_place():
    for body, words in ((b'{"model":"auto","messages":[', "byte"), (b"", "byte"), (b"[1]", "object"),
                        (b'{"model":"auto"}', "messages"), (b'{"messages":[]}', "model"),
                        (b'{"model":"auto","messages":{}}', "messages"), (b"\xff\xfe", "byte"),
                        (b'{"model":"auto","messages":[{"role":"user","content":5}]}', "messages[0].content")):
        r = gate.request("POST", "/v1/chat/completions", body)
        error = json.loads(r.body)["error"]
        assert r.status in (400, 411) and (words in error["message"] or r.status == 411), (body, r.body)
        assert set(error) == {"message", "type", "param", "code"}
    r = gate.request("POST", "/v1/chat/completions", b'{"model":"auto","messages":' + b"[" * 100000)
    assert r.status == 400, r.body
    assert gate.request("POST", "/v1/chat/completions", {"model": "nobody", "messages": []}).status == 404
    assert gate.request("GET", "/v1/nothing").status == 404
    assert gate.request("GET", "/v1/chat/completions").status == 405


@test
def hostile_framing_is_refused():
    ok = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
    body = b'{"model":"mock","messages":[{"role":"user","content":"x"}]}'
    n = str(len(body)).encode()
    bad = [ok + b"content-length: " + n + b"\r\ntransfer-encoding: chunked\r\n\r\n" + body,
           ok + b"content-length: " + n + b"\r\ncontent-length: 3\r\n\r\n" + body,
           ok + b"content-length: +3\r\n\r\n" + body, ok + b"transfer-encoding: xchunked\r\n\r\n" + body,
           ok + b"x: a\r\n b\r\ncontent-length: 0\r\n\r\n", b"POST / HTTP/1.1\nhost: x\n\n",
           ok.replace(b"host: x\r\n", b"") + b"content-length: 0\r\n\r\n", ok + b"host: y\r\n\r\n",
           b"GET /health HTTP/1.1\r\nhost : x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/3.0\r\nhost: x\r\n\r\n",
           ok + b"x: " + b"a" * 70000 + b"\r\n\r\n", ok + b"transfer-encoding: chunked\r\n\r\nzz\r\n"]
    for data in bad:
        got = raw(gate.data, data, timeout=3)
        status = got[9:12]
        assert status in (b"400", b"431", b"501", b"505"), (data[:80], got[:200])
    assert gate.chat().status == 200


@test
def pipelined_requests_are_answered_in_order():
    one = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"
    got = raw(gate.data, one * 5 + b"GET /nope HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert got.count(b"HTTP/1.1 200 OK") == 5 and got.count(b"HTTP/1.1 404") == 1 and got.rindex(b"404") > got.rindex(b"200 OK")


@test
def http_1_0_clients_get_a_body_without_chunks():
    body = b'{"model":"mock","stream":true,"messages":[{"role":"user","content":"x"}]}'
    got = raw(gate.data, b"POST /v1/chat/completions HTTP/1.0\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    assert b"transfer-encoding" not in got.lower() and got.rstrip().endswith(b"[DONE]"), got[-100:]


def gone(**headers):
    """A client that leaves; returns the mock's count of cancelled answers before."""
    before = mock.stats()["client_closed_mid_response"]
    s = socket.create_connection(("127.0.0.1", gate.data))
    body = json.dumps({"model": "auto", "stream": True, "messages": [{"role": "user", "content": "x"}]}).encode()
    lines = "".join("%s: %s\r\n" % (k.replace("_", "-"), v) for k, v in headers.items()).encode()
    s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n" + lines + b"content-length: %d\r\n\r\n" % len(body) + body)
    return s, before


@test
def a_client_that_leaves_cancels_upstream_before_the_first_byte():
    s, before = gone(x_mock_delay_ms=5000)
    wait_for(lambda: mock.stats()["in_flight"] == 1, message="the request upstream")
    s.close()
    wait_for(lambda: mock.stats()["in_flight"] == 0, 2, "upstream to be cancelled")


@test
def a_client_that_leaves_cancels_upstream_in_the_middle():
    s, before = gone(x_mock_gap_ms=100, x_mock_tokens=200)
    s.recv(1000)
    s.close()
    wait_for(lambda: mock.stats()["client_closed_mid_response"] == before + 1, 2, "upstream to be cancelled")
    wait_for(lambda: gate.metric("signalbox_upstream_cancelled_total") >= 1, 2)


@test
def a_client_that_resets_while_sending_does_no_harm():
    for _ in range(20):
        s = socket.create_connection(("127.0.0.1", gate.data))
        s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n{\"model\":")
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()
    assert gate.chat().status == 200


@test
def a_slow_reader_gets_everything():
    c = socket.create_connection(("127.0.0.1", gate.data))
    c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    body = b'{"model":"mock","messages":[{"role":"user","content":"x"}]}'
    c.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-mock-body-bytes: 3000000\r\n"
              b"content-length: %d\r\n\r\n" % len(body) + body)
    got, end = b"", time.monotonic() + 20 * SLOW
    while time.monotonic() < end:
        piece = c.recv(16384)
        if not piece:
            break
        got += piece
        if len(got) < 200000:
            time.sleep(0.01)
    head, _, content = got.partition(b"\r\n\r\n")
    assert b" 200 " in head and len(content) >= 3000000, (head, len(content))


@test
def completions_and_embeddings_pass():
    r = gate.request("POST", "/v1/completions", {"model": "auto", "prompt": "once"})
    assert r.status == 200 and json.loads(r.body)["object"] == "text_completion"
    r = gate.request("POST", "/v1/embeddings", {"model": "mock", "input": ["a", "b"]})
    assert r.status == 200 and len(json.loads(r.body)["data"]) == 2
    assert mock.last()["path"] == "/v1/embeddings"
    r = gate.request("GET", "/v1/models")
    assert "auto" in [m["id"] for m in json.loads(r.body)["data"]]
    assert gate.request("GET", "/v1/models/auto").status == 200
    assert gate.request("GET", "/v1/models/none").status == 404
    head = gate.request("HEAD", "/v1/models")
    assert head.status == 200 and head.body == b""


@test
def it_stops_cleanly():
    assert gate.stop() == 0
    assert mock.stop() in (0, -15)


if __name__ == "__main__":
    main()
