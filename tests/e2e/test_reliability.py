#!/usr/bin/env python3
"""Backends that die, answer late or lie; reloads; overload; TLS; the drain. Zero requests may end without an answer."""
import json, os, random, ssl, subprocess, urllib.request

from harness import *


def two_backends(a, b, extra=""):
    return ("[{name: a, base_url: \"http://127.0.0.1:%d/v1\", provider: openai%s}, "
            "{name: b, base_url: \"http://127.0.0.1:%d/v1\", provider: openai%s}]" % (a, extra, b, extra))


RELIABLE = "      reliability: {%s}"


@test
def a_dead_backend_is_passed_over_and_comes_back():
    a, b = Mock(), Mock()
    g = Gateway(config(0, backends=two_backends(a.port, b.port), extra_model=RELIABLE %
                       "consecutive_5xx: 2, base_ejection_time: 1s, retry_count: 2, retry_on: \"connect-failure,reset,5xx\""))
    port = a.port
    for _ in range(10):
        assert g.chat().status == 200
    assert a.stats()["requests"] > 2 and b.stats()["requests"] > 2          # round robin
    a.stop()
    for _ in range(20):
        r = g.chat()
        assert r.status == 200, r.body
    assert g.metric("signalbox_backend_ejections_total") >= 1
    states = {x["name"]: x["state"] for x in json.loads(g.request("GET", "/api/v1/models", port=g.admin).body)["models"][0]["backends"]}
    assert states == {"a": "ejected", "b": "up"}, states
    a = Mock(port)
    time.sleep(1.2)
    wait_for(lambda: g.chat().status == 200 and a.stats()["requests"] > 0, 5, "the backend to be used again")
    g.stop(), a.stop(), b.stop()


@test
def health_checks_take_a_backend_out_before_a_client_notices():
    a, b = Mock(), Mock()
    g = Gateway(config(0, backends=two_backends(a.port, b.port), extra_model=RELIABLE %
                       "health_check_path: /health, health_check_interval: 100ms, health_check_timeout: 1s"))
    a.stop()
    wait_for(lambda: g.metric("signalbox_backend_up", backend="a@127.0.0.1:%d" % a.port) == 0, 5, "the check to fail")
    before = g.metric("signalbox_retries_total")
    for _ in range(10):
        assert g.chat().status == 200
    assert g.metric("signalbox_retries_total") == before
    g.stop(), b.stop()


@test
def another_model_takes_over_when_the_first_has_failed():
    a, b = Mock(extra=["--default", "x-mock-status=503"]), Mock()
    text = """version: v0.3
providers:
  models:
    - {name: first, backend_refs: [{endpoint: "127.0.0.1:%d"}]}
    - {name: second, backend_refs: [{endpoint: "127.0.0.1:%d"}]}
routing:
  modelCards: [{name: first}, {name: second}]
  decisions: [{name: d, priority: 1, modelRefs: [{model: first}, {model: second}]}]
global: {services: {observability: {tracing: {enabled: false}, access_log: "off"}}}
""" % (a.port, b.port)
    g = Gateway(text)
    r = g.chat()
    assert r.status == 200 and r.getheader("x-vsr-selected-model") == "second", (r.status, r.body)
    assert json.loads(r.body)["model"] == "second"
    assert g.metric("signalbox_failovers_total") >= 1
    g.stop(), a.stop(), b.stop()


@test
def timeouts_are_kept_and_told():
    m = Mock()
    g = Gateway(config(m.port, extra_model=RELIABLE % "first_byte_timeout: 300ms, idle_timeout: 300ms, retry_count: 0, retry_on: reset"))
    from_ = time.monotonic()
    r = g.chat(headers={"x-mock-delay-ms": "5000"})
    assert r.status == 504 and json.loads(r.body)["error"]["code"] == "upstream_timeout", (r.status, r.body)
    assert time.monotonic() - from_ < 2 * SLOW
    r = g.chat(stream=True, headers={"x-mock-gap-ms": "3000"})
    assert "upstream_timeout" in sse(r.body)[-1], r.body
    r = g.request("POST", "/v1/chat/completions", {"model": "auto", "messages": [{"role": "user", "content": "x"}]},
                  {"x-mock-hang": "head"})
    assert r.status == 504
    wait_for(lambda: m.stats()["in_flight"] == 0, 2, "upstream connections to be closed")
    g.stop(), m.stop()


@test
def caps_refuse_with_a_status_and_a_time_to_come_back():
    m = Mock()
    g = Gateway(config(m.port, limits="in_flight: 2, body_bytes: 10KiB, head_bytes: 4KiB"))
    slow = [threading.Thread(target=g.chat, kwargs={"headers": {"x-mock-delay-ms": "800"}}) for _ in range(2)]
    [t.start() for t in slow]
    wait_for(lambda: m.stats()["in_flight"] == 2, message="two in flight")
    r = g.chat()
    assert r.status == 503 and r.getheader("retry-after") and r.getheader("retry-after-ms"), (r.status, r.body)
    assert g.request("GET", "/health").status == 200
    [t.join() for t in slow]
    r = g.chat("x" * 20000)
    assert r.status == 413 and json.loads(r.body)["error"]["code"] == "request_too_large", r.body
    r = g.chat(headers={"x-big": "y" * 5000})
    assert r.status == 431, r.status
    assert g.metric("signalbox_refused_total", reason="in_flight") == 1
    g.stop(), m.stop()


@test
def a_backends_cap_is_kept():
    m = Mock()
    backends = "[{name: a, base_url: \"http://127.0.0.1:%d/v1\", provider: openai, max_in_flight: 1}]" % m.port
    g = Gateway(config(m.port, backends=backends))
    t = threading.Thread(target=g.chat, kwargs={"headers": {"x-mock-delay-ms": "600"}})
    t.start()
    wait_for(lambda: m.stats()["in_flight"] == 1)
    r = g.chat()
    assert r.status == 503 and m.stats()["in_flight"] == 1, (r.status, r.body)
    t.join()
    assert g.chat().status == 200
    g.stop(), m.stop()


@test
def a_bad_configuration_is_refused_and_the_old_one_stays():
    m = Mock()
    g = Gateway(config(m.port))
    g.write("version: v0.3\nrouting: {decisions: [{name: d, modelRefs: [{model: nobody}]}]\n")
    g.p.send_signal(signal.SIGHUP)
    wait_for(lambda: g.metric("signalbox_config_reloads_total", result="refused") >= 1, 5, "the refusal")
    assert g.chat().status == 200
    r = g.request("PUT", "/api/v1/config", "not: [yaml", port=g.admin)
    assert r.status == 422 and json.loads(r.body)["findings"][0]["line"] > 0, r.body
    assert g.chat().status == 200
    r = g.request("PUT", "/api/v1/config", config(m.port).replace("name: all", "name: renamed"), port=g.admin)
    assert r.status == 200, r.body
    assert g.chat().getheader("x-vsr-selected-decision") == "renamed"
    r = g.request("PUT", "/api/v1/config", config(m.port), {"host": "evil.example"}, port=g.admin)
    assert r.status == 403
    g.write(config(m.port).replace("name: all", "name: watched"))
    wait_for(lambda: g.chat().getheader("x-vsr-selected-decision") == "watched", 5, "the file watch")
    g.stop(), m.stop()


class Load:
    """Clients that count what they get; a request without an answer or a proper error is a loss."""

    def __init__(self, g, n=8, abort=0.0, extra=None):
        self.g, self.abort, self.extra = g, abort, extra or {}
        self.ok = self.errors = self.lost = self.aborted = self.double = 0
        self.wrong = []
        self.done = False
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(n)]
        [t.start() for t in self.threads]

    def one(self, c, rnd):
        stream = rnd.random() < 0.5
        mark = "m%d" % rnd.randrange(10 ** 9)
        body = json.dumps({"model": "auto", "stream": stream, "messages": [{"role": "user", "content": mark}]})
        c.request("POST", "/v1/chat/completions", body, dict(self.extra, **{"x-mock-tokens": "6", "x-mock-gap-ms": "2"}))
        if rnd.random() < self.abort:
            c.close()
            self.count("aborted")
            return
        r = c.getresponse()
        data = r.read()
        if r.status == 200 and stream:
            ends = data.count(b"[DONE]") + data.count(b'"error"')
            self.count("ok" if ends == 1 else "double" if ends > 1 else "lost")
        elif r.status == 200:
            ok = json.loads(data)["object"] == "chat.completion"
            self.count("ok" if ok else "lost")
        else:
            assert set(json.loads(data)["error"]) == {"message", "type", "param", "code"}, data
            self.count("errors")

    def count(self, what):
        with self.lock:
            setattr(self, what, getattr(self, what) + 1)

    def run(self, seed):
        rnd = random.Random(seed)
        c = http.client.HTTPConnection("127.0.0.1", self.g.data, timeout=30 * SLOW)
        while not self.done:
            try:
                self.one(c, rnd)
            except Exception as e:
                self.count("lost")
                self.wrong.append(repr(e))
                c.close()

    def stop(self):
        self.done = True
        [t.join(60) for t in self.threads]
        return self


@test
def a_hundred_reloads_under_load_lose_nothing():
    m = Mock()
    g = Gateway(config(m.port))
    load = Load(g, 8)
    for i in range(100):
        time.sleep(0.02)
        r = g.request("PUT", "/api/v1/config", config(m.port).replace("name: all", "name: all%d" % i), port=g.admin)
        assert r.status == 200, r.body
    load.stop()
    assert load.lost == load.double == load.errors == 0 and load.ok > 100, (vars(load))
    g.stop(), m.stop()


@test
def backends_killed_and_half_the_clients_leaving_lose_nothing():
    a, b = Mock(), Mock()
    g = Gateway(config(0, backends=two_backends(a.port, b.port)))
    load, polite = Load(g, 6, abort=0.5), Load(g, 4)
    port = a.port
    for _ in range(4):
        time.sleep(0.4)
        a.stop(signal.SIGKILL)
        time.sleep(0.3)
        a = Mock(port)
    load.stop(), polite.stop()
    assert polite.lost == polite.double == 0 and polite.ok > 50, vars(polite)
    assert load.double == 0, vars(load)
    wait_for(lambda: a.stats()["in_flight"] == 0 and b.stats()["in_flight"] == 0, 5, "upstream to be quiet")
    assert g.p.poll() is None
    g.stop(), a.stop(), b.stop()


@test
def a_drain_finishes_what_runs():
    m = Mock()
    g = Gateway(config(m.port))
    out = []
    t = threading.Thread(target=lambda: out.append(g.chat(stream=True, headers={"x-mock-gap-ms": "50", "x-mock-tokens": "20"})))
    t.start()
    wait_for(lambda: m.stats()["in_flight"] == 1)
    g.p.send_signal(signal.SIGTERM)
    t.join(20)
    assert out and sse(out[0].body)[-1] == "[DONE]", out
    g.p.wait(10)
    assert g.p.returncode == 0
    m.stop()


@test
def a_second_signal_ends_the_drain():
    m = Mock()
    g = Gateway(config(m.port))
    s = socket.create_connection(("127.0.0.1", g.data))
    body = b'{"model":"mock","messages":[{"role":"user","content":"x"}]}'
    s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-mock-hang: head\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    wait_for(lambda: m.stats()["in_flight"] == 1)
    g.p.send_signal(signal.SIGINT)
    time.sleep(0.3)
    g.p.send_signal(signal.SIGINT)
    g.p.wait(5)
    assert g.p.returncode == 0
    s.close(), m.stop()


def certificates(folder, name="localhost"):
    run = lambda *a: subprocess.run(["openssl", *a], check=True, capture_output=True, cwd=folder)
    run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test ca")
    for who in ("server", "client"):
        run("req", "-newkey", "rsa:2048", "-nodes", "-keyout", who + ".key", "-out", who + ".csr", "-subj", "/CN=" + name)
        with open(os.path.join(folder, "ext"), "w") as f:
            f.write("subjectAltName=DNS:%s,IP:127.0.0.1\n" % name)
        run("x509", "-req", "-in", who + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", who + ".pem",
            "-days", "2", "-extfile", "ext")
    return {k: os.path.join(folder, k) for k in ("ca.pem", "server.pem", "server.key", "client.pem", "client.key")}


@test
def tls_works_on_both_sides_and_strangers_are_refused():
    with tempfile.TemporaryDirectory() as folder:
        c = certificates(folder)
        m = Mock(extra=["--tls-cert", c["server.pem"], "--tls-key", c["server.key"]])
        backends = ("[{name: a, base_url: \"https://127.0.0.1:%d/v1\", provider: openai, tls: {ca: %s}}]" % (m.port, c["ca.pem"]))
        text = config(0, backends=backends)
        listener = "listeners: [{name: https, address: 127.0.0.1, port: 1, tls: {certificate: %s, key: %s}}]\n" % (c["server.pem"], c["server.key"])
        g = Gateway(text.replace("providers:", listener + "providers:", 1), wait=False)
        context = ssl.create_default_context(cafile=c["ca.pem"])

        def chat(stream=False):
            body = json.dumps({"model": "auto", "stream": stream, "messages": [{"role": "user", "content": "x" * 100000}]})
            h = http.client.HTTPSConnection("127.0.0.1", g.data, timeout=10, context=context)
            h.request("POST", "/v1/chat/completions", body)
            r = h.getresponse()
            r.body = r.read()
            return r

        def up():
            try:
                return chat().status == 200
            except OSError:
                return False
        wait_for(up, 10, "TLS:\n" + g.output())
        assert sse(chat(True).body)[-1] == "[DONE]"
        try:                                    # an untrusted client context must fail in the handshake
            http.client.HTTPSConnection("127.0.0.1", g.data, timeout=5, context=ssl.create_default_context()).request("GET", "/health")
            raise AssertionError("an unknown CA was accepted")
        except ssl.SSLError:
            pass
        g.stop()
        plain = Gateway(config(0, backends=backends.replace("tls: {ca: %s}" % c["ca.pem"], "weight: 1")))
        r = plain.chat()                        # no CA file: the system's do not know this one
        assert r.status == 502 and "certificate" in json.loads(r.body)["error"]["message"].lower(), r.body
        plain.stop(), m.stop()


@test
def listener_keys_and_management_tokens_guard():
    m = Mock()
    text = config(m.port, extra_global="").replace("providers:", "listeners: [{name: http, address: 127.0.0.1, port: 1, api_keys: [k1, k2]}]\nproviders:", 1)
    g = Gateway(text)
    assert g.chat().status == 401
    assert g.chat(headers={"authorization": "Bearer nope"}).status == 401
    assert g.chat(headers={"authorization": "Bearer k2"}).status == 200
    assert g.chat(headers={"x-api-key": "k1"}).status == 200
    g.stop(), m.stop()


@test
def wrong_starts_are_told():
    p = Process([SIGNALBOX, "serve", "-c", "/nonexistent.yaml"])
    p.p.wait(10)
    assert p.p.returncode == 2 and "cannot read" in p.output(), p.output()
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
        f.write("providers: {}\n")
        f.flush()
        p = Process([SIGNALBOX, "serve", "-c", f.name])
        p.p.wait(10)
        assert p.p.returncode == 1, p.output()
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        m = Mock()
        g = Gateway(config(m.port), args=["--listen", "127.0.0.1:%d" % s.getsockname()[1]], wait=False)
        g.p.wait(10)
        assert g.p.returncode == 2 and "cannot listen" in g.output(), g.output()
        m.stop()


if __name__ == "__main__":
    main()
