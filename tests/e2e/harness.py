"""What the end-to-end tests share: the real binary and the fake provider as processes, raw sockets, counting.

Standard library only. Everything listens on loopback, every process is stopped by its pid, every wait is bounded."""
import contextlib, http.client, http.server, json, os, re, signal, socket, subprocess, sys, tempfile, threading, time, traceback, urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SIGNALBOX = os.path.abspath(os.environ.get("SIGNALBOX", os.path.join(ROOT, "build", "signalbox")))
MOCKLLM = os.path.abspath(os.environ.get("MOCKLLM", os.path.join(ROOT, "build", "mockllm")))
SLOW = float(os.environ.get("SLOW", "1"))       # sanitizers: multiply waits


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, seconds=10.0, message="condition"):
    end = time.monotonic() + seconds * SLOW
    while time.monotonic() < end:
        got = what()
        if got:
            return got
        time.sleep(0.02)
    raise AssertionError("waited %.1f s for %s" % (seconds * SLOW, message))


class Process:
    def __init__(self, args, env=None):
        self.log = tempfile.NamedTemporaryFile(prefix="e2e-", suffix=".log", delete=False)
        self.p = subprocess.Popen(args, stdout=self.log, stderr=self.log, env=dict(os.environ, **(env or {})))

    def output(self):
        with open(self.log.name, errors="replace") as f:
            return f.read()

    def stop(self, sig=signal.SIGTERM, seconds=15):
        if self.p.poll() is None:
            self.p.send_signal(sig)
            try:
                self.p.wait(seconds * SLOW)
            except subprocess.TimeoutExpired:
                self.p.kill()
                self.p.wait(5)
                raise AssertionError("did not stop: %s" % self.output()[-2000:])
        rc = self.p.returncode
        self.log.close()
        with contextlib.suppress(OSError):
            os.unlink(self.log.name)
        return rc


class Mock(Process):
    def __init__(self, port=0, extra=()):
        super().__init__([MOCKLLM, "--listen", "127.0.0.1:%d" % port, *extra])
        line = wait_for(lambda: re.search(r"listening 127\.0\.0\.1:(\d+)", self.output()), message="mockllm")
        self.port = int(line.group(1))

    def get(self, path):
        with urllib.request.urlopen("http://127.0.0.1:%d%s" % (self.port, path), timeout=5) as r:
            return json.load(r)

    def stats(self):
        return self.get("/mock/stats")

    def last(self):
        return self.get("/mock/last")


class Gateway(Process):
    """Starts with a configuration text; `data` and `admin` are its ports."""

    def __init__(self, config, args=(), env=None, wait=True):
        self.data, self.admin = free_port(), free_port()
        self.dir = tempfile.TemporaryDirectory(prefix="e2e-")
        self.path = os.path.join(self.dir.name, "config.yaml")
        self.write(config)
        super().__init__([SIGNALBOX, "serve", "-c", self.path, "--listen", "127.0.0.1:%d" % self.data,
                          "--admin", "127.0.0.1:%d" % self.admin, *args], env)
        if wait:
            wait_for(self.is_up, 20, "the gateway:\n" + self.output()[-2000:])

    def write(self, config):
        with open(self.path + ".new", "w") as f:
            f.write(config)
        os.rename(self.path + ".new", self.path)

    def is_up(self):
        if self.p.poll() is not None:
            raise AssertionError("the gateway ended (%s):\n%s" % (self.p.returncode, self.output()[-3000:]))
        try:
            return self.request("GET", "/health").status == 200
        except OSError:
            return False

    def request(self, method, path, body=None, headers=None, port=None, timeout=20):
        c = http.client.HTTPConnection("127.0.0.1", port or self.data, timeout=timeout * SLOW)
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        c.request(method, path, body, headers or {})
        r = c.getresponse()
        r.body = r.read()
        c.close()
        return r

    def chat(self, text="hello", headers=None, **more):
        body = {"model": "auto", "messages": [{"role": "user", "content": text}]}
        body.update(more)
        return self.request("POST", "/v1/chat/completions", body, headers)

    def metric(self, name, **labels):
        text = self.request("GET", "/metrics", port=self.admin).body.decode()
        total = 0.0
        for line in text.splitlines():
            if line.startswith(name + "{") or line.startswith(name + " "):
                if all('%s="%s"' % kv in line for kv in labels.items()):
                    total += float(line.rsplit(" ", 1)[1])
        return total

    def stop(self, sig=signal.SIGTERM, seconds=15):
        rc = super().stop(sig, seconds)
        self.dir.cleanup()
        return rc


class Scripted:
    """A provider of chat completions whose answers `answer(body)` gives: a text, or (status, text), or a number of seconds to say
    nothing and then hang up. Keeps the bodies it was sent."""

    def __init__(self, answer):
        scripted = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65536                    # head and body in one write: no 40 ms for an acknowledgement between them

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with scripted.lock:
                    scripted.bodies.append(body)
                told = scripted.answer(body)
                if isinstance(told, (int, float)):
                    scripted.stopped.wait(told)
                    self.close_connection = True
                    return
                status, text = told if isinstance(told, tuple) else (200, told)
                out = json.dumps({"id": "c1", "object": "chat.completion", "model": body.get("model"), "choices": [
                    {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
                    "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}}).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(out)))
                self.end_headers()
                self.wfile.write(out)

            def log_message(self, *a):
                pass

        self.answer, self.bodies, self.lock, self.stopped = answer, [], threading.Lock(), threading.Event()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *a: None      # whoever asked has left
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.stopped.set()
        self.server.shutdown()
        self.server.server_close()


def config(port, extra_global="", extra_model="", decisions=None, backends=None, limits=""):
    backends = backends or "[{name: a, base_url: \"http://127.0.0.1:%d/v1\", provider: openai, api_key: sk-upstream}]" % port
    decisions = decisions or "    - {name: all, priority: 1, modelRefs: [{model: mock}]}"
    return """version: v0.3
providers:
  defaults: {default_model: mock}
  models:
    - name: mock
      provider_model_id: mock
      backend_refs: %s
%s
routing:
  modelCards: [{name: mock}]
  decisions:
%s
global:
  services: {observability: {tracing: {enabled: false}, access_log: "off"}}
%s%s
""" % (backends, extra_model, decisions, "  limits: {%s}\n" % limits if limits else "", extra_global)


def raw(port, data, timeout=5, half_close=False, read_all=True):
    """Sends bytes, returns what comes back until the peer closes or is silent."""
    s = socket.create_connection(("127.0.0.1", port), timeout=timeout * SLOW)
    s.sendall(data)
    if half_close:
        s.shutdown(socket.SHUT_WR)
    out = b""
    s.settimeout(timeout * SLOW)
    try:
        while read_all:
            piece = s.recv(65536)
            if not piece:
                break
            out += piece
    except (socket.timeout, ConnectionError):
        pass
    s.close()
    return out


def sse(body):
    return [line[6:] for line in body.decode().split("\n") if line.startswith("data: ")]


TESTS = []


def test(f):
    TESTS.append(f)
    return f


def main():
    only = sys.argv[1:]
    passed = failed = 0
    for f in TESTS:
        if only and f.__name__ not in only:
            continue
        from_ = time.monotonic()
        try:
            f()
            passed += 1
            print("ok   %s (%.1f s)" % (f.__name__, time.monotonic() - from_), flush=True)
        except Exception:
            failed += 1
            print("FAIL %s\n%s" % (f.__name__, traceback.format_exc()), flush=True)
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(failed > 0)
