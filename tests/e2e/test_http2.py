#!/usr/bin/env python3
"""HTTP/2 to clients and towards providers: the same answers, the same limits, the same care when somebody leaves.

The client is curl; the provider that speaks HTTP/2 is a second signalbox in front of mockllm."""
import json, os, re, shutil, subprocess, sys, tempfile, threading, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *


def curl(*args, seconds=20):
    p = subprocess.run(["curl", "-sS", "--max-time", str(int(seconds * SLOW)), *args], capture_output=True, timeout=2 * seconds * SLOW)
    return p.returncode, p.stdout, p.stderr.decode("utf-8", "replace")


def post(url, body, *args, **more):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump(body, f)
        f.flush()
        return curl("--http2-prior-knowledge", "-H", "content-type: application/json", "--data-binary", "@" + f.name, *args, url, **more)


def chat_body(text="hello", **more):
    return dict({"model": "auto", "messages": [{"role": "user", "content": text}]}, **more)


def h2_upstream(port):
    return '[{name: a, base_url: "http://127.0.0.1:%d/v1", provider: openai, http2: always}]' % port


class Pair:
    """client -> gateway (HTTP/2 towards ->) middle -> mockllm"""

    def __init__(self, **limits):
        self.mock = Mock(extra=["--deterministic"])
        self.middle = Gateway(config(self.mock.port, **limits))
        self.gateway = Gateway(config(0, backends=h2_upstream(self.middle.data), **limits))

    def stop(self):
        for p in (self.gateway, self.middle, self.mock):
            p.stop()


@test
def answers_are_those_of_http1():
    mock = Mock(extra=["--deterministic"])
    g = Gateway(config(mock.port))
    try:
        url = "http://127.0.0.1:%d" % g.data
        for path, body in (("/v1/chat/completions", chat_body()), ("/v1/chat/completions", chat_body(stream=True)),
                           ("/v1/messages", {"model": "auto", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]})):
            rc, out, err = post(url + path, body, "-i")
            assert rc == 0, err
            head, _, text = out.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/2 200"), head
            one = g.request("POST", path, json.dumps(body), {"content-type": "application/json"})
            mask = lambda b: re.sub(rb"(chatcmpl-|req_|msg_)[0-9a-z_-]+", b"ID", b)
            assert mask(text) == mask(one.body), (text[-300:], one.body[-300:])
        rc, out, err = curl("--http2-prior-knowledge", "-i", url + "/nowhere")
        assert out.startswith(b"HTTP/2 404") and b"unknown_url" in out, out
        rc, out, err = curl("--http2-prior-knowledge", "-I", url + "/health")
        assert rc == 0 and out.startswith(b"HTTP/2 200"), (out, err)
    finally:
        g.stop()
        mock.stop()


@test
def bodies_larger_than_every_window_arrive_whole_both_ways():
    p = Pair()
    try:
        url = "http://127.0.0.1:%d/v1/chat/completions" % p.gateway.data
        text = "x" * (9 << 20)
        rc, out, err = post(url, chat_body(text), "-H", "x-mock-echo: 1")
        assert rc == 0, err
        assert str(len(json.dumps(chat_body(text)).replace('"auto"', '"mock"'))) in out.decode(), out[:300]
        rc, out, err = post(url, chat_body(), "-H", "x-mock-body-bytes: 6000000")
        assert rc == 0 and len(out) > 6000000, (rc, len(out), err)
        assert len(json.loads(out)["choices"][0]["message"]["content"]) >= 6000000
    finally:
        p.stop()


@test
def a_body_over_the_limit_is_refused_with_a_reason():
    p = Pair(limits="body_bytes: 100KiB")
    try:
        rc, out, err = post("http://127.0.0.1:%d/v1/chat/completions" % p.gateway.data, chat_body("x" * (3 << 20)), "-i")
        assert b"HTTP/2 413" in out and b"request_too_large" in out, (rc, out[:500], err)
    finally:
        p.stop()


@test
def many_streams_share_one_connection_towards_the_provider():
    p = Pair()
    try:
        url = "http://127.0.0.1:%d/v1/chat/completions" % p.gateway.data
        with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
            json.dump(chat_body(stream=True), f)
            f.flush()
            args = []
            for i in range(60):
                args += ["-H", "content-type: application/json", "-H", "x-mock-gap-ms: 20", "--data-binary", "@" + f.name, "-o", "/dev/null",
                         "-w", "%{http_version} %{http_code}\n", url, "--next"]
            rc, out, err = curl("--http2-prior-knowledge", "--parallel", "--parallel-max", "60", *args[:-1], seconds=60)
        lines = out.decode().split("\n")
        assert lines.count("2 200") == 60, (rc, lines[:5], err[:500])
        # the middle counts its clients' connections, its own log the requests: 60 requests must not have made 60 connections
        fds = [os.readlink("/proc/%d/fd/%s" % (p.gateway.p.pid, x)) for x in os.listdir("/proc/%d/fd" % p.gateway.p.pid)]
        assert sum(x.startswith("socket:") for x in fds) < 20, "%d sockets" % sum(x.startswith("socket:") for x in fds)
    finally:
        p.stop()


@test
def who_leaves_cancels_the_whole_way_down():
    p = Pair()
    try:
        url = "http://127.0.0.1:%d/v1/chat/completions" % p.gateway.data
        before = p.mock.stats()
        rc, out, err = post(url, chat_body(stream=True), "-N", "-H", "x-mock-gap-ms: 200", "-H", "x-mock-tokens: 200", "--max-time", "1")
        assert rc == 28 and out.startswith(b"data:"), (rc, out[:200])
        wait_for(lambda: p.mock.stats()["client_closed_mid_response"] > before["client_closed_mid_response"], 5, "the provider to see it")
        rc, out, err = post(url, chat_body())       # the shared connection still works
        assert rc == 0 and b"choices" in out, err
    finally:
        p.stop()


@test
def a_provider_that_goes_away_is_noticed_and_found_again():
    p = Pair()
    try:
        url = "http://127.0.0.1:%d/v1/chat/completions" % p.gateway.data
        assert post(url, chat_body())[0] == 0
        port, text = p.middle.data, open(p.middle.path).read()
        p.middle.stop()
        rc, out, err = post(url, chat_body(), "-i")
        assert b"HTTP/2 502" in out, out
        again = Gateway.__new__(Gateway)
        again.data, again.admin, again.dir = port, free_port(), tempfile.TemporaryDirectory(prefix="e2e-")
        again.path = os.path.join(again.dir.name, "config.yaml")
        again.write(text)
        Process.__init__(again, [SIGNALBOX, "serve", "-c", again.path, "--listen", "127.0.0.1:%d" % port, "--admin", "127.0.0.1:%d" % again.admin])
        wait_for(again.is_up, 20)
        p.middle = again
        rc, out, err = post(url, chat_body(), "-i")
        assert b"HTTP/2 200" in out, out
    finally:
        p.stop()


@test
def tls_negotiates_it_and_http1_stays():
    folder = tempfile.mkdtemp(prefix="e2e-tls-")
    cert, key = folder + "/cert.pem", folder + "/key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert,
                    "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    mock = Mock()
    port = free_port()
    g = Gateway(config(mock.port) + "listeners: [{name: tls, address: 127.0.0.1, port: %d, tls: {certificate: %s, key: %s}}]\n" % (port, cert, key), wait=False)
    g.stop()
    text = config(mock.port) + "listeners: [{name: tls, address: 127.0.0.1, port: %d, tls: {certificate: %s, key: %s}}]\n" % (port, cert, key)
    path = folder + "/config.yaml"
    with open(path, "w") as f:
        f.write(text)
    p = Process([SIGNALBOX, "serve", "-c", path, "--admin", "127.0.0.1:%d" % free_port()])
    upstream = None
    try:
        url = "https://127.0.0.1:%d/health" % port
        wait_for(lambda: curl("--cacert", cert, url)[0] == 0, 20, "the TLS listener")
        assert curl("--cacert", cert, "--http2", "-o", "/dev/null", "-w", "%{http_version}", url)[1] == b"2"
        assert curl("--cacert", cert, "--http1.1", "-o", "/dev/null", "-w", "%{http_version}", url)[1] == b"1.1"
        # towards a TLS provider it is negotiated, too
        upstream = Gateway(config(0, backends='[{name: a, base_url: "https://127.0.0.1:%d/v1", provider: openai, tls: {ca: %s}}]' % (port, cert)))
        for i in range(3):
            assert upstream.chat().status == 200
        h2spec = shutil.which("h2spec") or os.environ.get("H2SPEC")
        if h2spec:
            out = subprocess.run([h2spec, "-h", "127.0.0.1", "-p", str(port), "-t", "-k", "-P", "/health"], capture_output=True, text=True, timeout=300).stdout
            assert re.search(r"\b0 failed", out), out[-3000:]
        else:
            print("skip: h2spec is not here (go install github.com/summerwind/h2spec/cmd/h2spec)")
    finally:
        p.stop()
        if upstream:
            upstream.stop()
        mock.stop()
        shutil.rmtree(folder)


@test
def a_storm_of_resets_is_sent_away():
    """Rapid reset (CVE-2023-44487): opens and resets streams as fast as it can."""
    import socket, struct
    mock = Mock()
    g = Gateway(config(mock.port))
    try:
        s = socket.create_connection(("127.0.0.1", g.data), timeout=10)
        frame = lambda kind, flags, stream, data=b"": struct.pack(">I", len(data))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + data
        head = b"\x83\x86\x84\x41\x04host"          # POST, http, /, :authority host
        out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0)
        for i in range(1000):
            out += frame(1, 4, 2 * i + 1, head) + frame(3, 0, 2 * i + 1, struct.pack(">I", 8))
        try:
            s.sendall(out)
        except OSError:
            pass
        s.settimeout(10 * SLOW)
        got = b""
        try:
            while True:
                piece = s.recv(65536)
                if not piece:
                    break
                got += piece
        except OSError:
            pass
        goaway = [got[i + 9:i + 9 + struct.unpack(">I", b"\0" + got[i:i + 3])[0]] for i in frames_of(got) if got[i + 3] == 7]
        assert goaway and struct.unpack(">I", goaway[-1][4:8])[0] == 11, "ENHANCE_YOUR_CALM, not %r" % goaway
        assert g.chat().status == 200
    finally:
        g.stop()
        mock.stop()


def frames_of(b):
    at = 0
    while at + 9 <= len(b):
        yield at
        at += 9 + int.from_bytes(b[at:at + 3], "big")


@test
def draining_lets_streams_finish():
    mock = Mock()
    g = Gateway(config(mock.port))
    try:
        result = {}

        def run():
            result["r"] = post("http://127.0.0.1:%d/v1/chat/completions" % g.data, chat_body(stream=True), "-H", "x-mock-gap-ms: 100", "-H", "x-mock-tokens: 15")
        t = threading.Thread(target=run)
        t.start()
        wait_for(lambda: mock.stats()["in_flight"] == 1, 5, "the stream")
        g.p.terminate()
        t.join(20 * SLOW)
        rc, out, err = result["r"]
        assert rc == 0 and b"[DONE]" in out, (rc, out[-200:], err)
        assert g.p.wait(10 * SLOW) == 0
    finally:
        g.stop()
        mock.stop()


if __name__ == "__main__":
    main()
