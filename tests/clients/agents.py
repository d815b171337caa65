#!/usr/bin/env python3
"""Coding agents as judges: Claude Code, Codex and Gemini CLI each finish a task of five turns through signalbox, at every kind of
upstream.

The model behind is tests/mock/provider.py: "task:five" makes it call the agent's own shell tool four times, and each call is made
only if the result of the one before says what that command prints. So a finished task means that tools, ids, results, streams and
reasoning went right through two translations, ten times. An agent runs with a home and a folder of its own, and reaches nothing
but the gateway.

    tests/clients/agents.py [AGENT...] [to-UPSTREAM...]     all, or some agents (claude codex gemini) at some upstreams

Needs build/signalbox (or SIGNALBOX) and npm packages, pinned in tests/clients/agents/, which it installs below build/clients the
first time (about 750 MB); where they cannot be had it says so and skips."""
import contextlib, json, os, shutil, signal, subprocess, sys, tempfile, threading, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "e2e"), str(HERE)]
import run as installer
import test_translation as translation
from harness import Gateway

PINS, INSTALLED = HERE / "agents", installer.INSTALLED / "agents"
MODULES = INSTALLED / "node_modules"
PROMPT = "task:five Run the steps one by one and say when you are done."
DONE = "TASK DONE after 4 results."
KEY = "sk-client"
RUN_S, WORKERS = 60, 3
SIGNATURE = "c2lnLWZpdmU="      # what the provider signs its thought of the second step with


def claude(home, base, model):
    exe = next(iter(MODULES.glob("@anthropic-ai/claude-code-*/claude")), None)
    env = {"ANTHROPIC_BASE_URL": base, "ANTHROPIC_API_KEY": KEY, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "IS_SANDBOX": "1",
           "DISABLE_AUTOUPDATER": "1", "DISABLE_TELEMETRY": "1", "DISABLE_ERROR_REPORTING": "1"}
    return exe, ["-p", PROMPT, "--model", model, "--dangerously-skip-permissions", "--output-format", "json"], env


CODEX = """model = "%s"
model_provider = "signalbox"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.signalbox]
name = "signalbox"
base_url = "%s/v1"
wire_api = "responses"
env_key = "GATEWAY_KEY"
"""


def codex(home, base, model):
    exe = next((f for f in MODULES.glob("@openai/codex-*/vendor/**/codex") if f.is_file()), None)
    (home / ".codex").mkdir()
    (home / ".codex/config.toml").write_text(CODEX % (model, base))
    return exe, ["exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "--json", PROMPT], {"GATEWAY_KEY": KEY}


def gemini(home, base, model):
    script = MODULES / "@google/gemini-cli/bundle/gemini.js"
    (home / ".gemini").mkdir()
    (home / ".gemini/settings.json").write_text(json.dumps({
        "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
        "privacy": {"usageStatisticsEnabled": False}, "general": {"disableAutoUpdate": True, "disableUpdateNag": True}}))
    env = {"GEMINI_CLI_TRUST_WORKSPACE": "true", "GEMINI_API_KEY": KEY, "GOOGLE_GEMINI_BASE_URL": base, "GEMINI_MODEL": model}
    node = installer.node_of(20)
    return script.exists() and node and Path(node), [str(script), "-p", PROMPT, "--yolo", "-m", model], env


AGENTS = {"claude": claude, "codex": codex, "gemini": gemini}
UPSTREAMS = list(translation.models(0))
# Where the thought's signature must come back to who signed it: the same family on both sides.
FAMILY = {"claude": ("to-anthropic", "to-vertex", "to-invoke"), "codex": ("to-responses",), "gemini": ("to-gemini",)}


def install():
    """None, or why there are no agents here."""
    if not shutil.which("npm"):
        return "no npm here"
    files = [PINS / "package.json", PINS / "package-lock.json"]

    def fetch():
        for f in files:
            shutil.copy(f, INSTALLED)
        return installer.call(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=INSTALLED)
    return installer.once(INSTALLED, installer.digest(*files), fetch)


def end(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)      # its own group: the agent and the commands it started
    process.wait(5)


def attempt(agent, base, model):
    """(exit status or "timeout", output, errors); None where the agent is not made for this machine."""
    with tempfile.TemporaryDirectory(prefix="agent-", ignore_cleanup_errors=True) as folder:
        home, work = Path(folder, "home"), Path(folder, "work")
        home.mkdir()
        work.mkdir()
        exe, arguments, more = AGENTS[agent](home, base, model)
        if not exe:
            return None
        away = "http://127.0.0.1:9"                 # nobody listens: what is not for the gateway fails at once
        env = {"PATH": os.environ["PATH"], "HOME": str(home), "TERM": "dumb", "LANG": "C.UTF-8", "TMPDIR": folder, "NO_PROXY": "127.0.0.1",
               "no_proxy": "127.0.0.1", "HTTPS_PROXY": away, "HTTP_PROXY": away, "https_proxy": away, "http_proxy": away, **more}
        with open(home / "out", "w+") as out, open(home / "err", "w+") as err:
            process = subprocess.Popen([str(exe), *arguments], cwd=work, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True)
            try:
                status = process.wait(RUN_S)
            except subprocess.TimeoutExpired:
                status = "timeout"
            finally:
                end(process)
            out.seek(0)
            err.seek(0)
            return status, out.read(), err.read()


def wrong(agent, model, seen, status, output, errors):
    """What was wrong with a run; an empty list is a pass."""
    found = []
    if status != 0 or DONE not in output:
        found.append("ended with %s: ...%s %s" % (status, output[-600:], errors[-400:]))
    task = [q for q in seen if "task:five" in q.get("raw", "")]
    found += ["%s refused: %s\n      %s" % (q["path"], q["problems"], q["raw"][:300]) for q in seen if q["problems"]]
    found += ["the provider saw the client's key: %s" % q["path"] for q in seen if KEY in json.dumps(q["headers"])]
    if len(task) < 5:
        found.append("only %d requests of the task arrived" % len(task))
    elif model in FAMILY[agent] and not any(SIGNATURE in q["raw"] for q in task):
        found.append("the signature of the thought did not come back")
    return found


def configuration(port):
    """Names that are the provider's own: Claude Code forgets its signed thoughts when another model answers than it asked for."""
    return translation.configuration(port).replace("provider_model_id: m-", "provider_model_id: ")


def worker(tasks, tally, lock):
    """Runs tasks until there are none left, with a gateway and a provider of its own."""
    mock = translation.Provider()
    gateway = Gateway(configuration(mock.port), env=translation.ACCESS)
    try:
        while True:
            with lock:
                if not tasks:
                    return
                agent, model = tasks.pop(0)
            mock.reset()
            begun = time.monotonic()
            try:
                outcome = attempt(agent, "http://127.0.0.1:%d" % gateway.data, model)
                problems = outcome and wrong(agent, model, mock.requests(), *outcome)
            except Exception as e:
                outcome, problems = True, ["%s: %s" % (type(e).__name__, e)]
            with lock:
                label = "%s -> %s" % (agent, model[3:])
                if outcome is None:
                    tally["skipped"] += 1
                    print("skip: %s: the package has no program for this machine" % label, flush=True)
                    continue
                tally["failed" if problems else "passed"] += 1
                print("%s %s (%.1f s)" % ("FAIL" if problems else "ok", label, time.monotonic() - begun), flush=True)
                for p in problems:
                    print("    " + p, flush=True)
    finally:
        gateway.stop()
        mock.stop()


def main():
    asked = sys.argv[1:]
    if set(asked) - set(AGENTS) - set(UPSTREAMS):
        sys.exit(__doc__)
    agents = [a for a in AGENTS if a in asked] or list(AGENTS)
    models = [m for m in UPSTREAMS if m in asked] or UPSTREAMS
    reason = install()
    if reason:
        print("skip: agents: %s" % reason)
        print("0 passed, 0 failed, %d skipped" % (len(agents) * len(models)))
        return 0
    tally, lock = {"passed": 0, "failed": 0, "skipped": 0}, threading.Lock()
    tasks = [(a, m) for a in reversed(agents) for m in models]          # the slowest first
    expected = len(tasks)
    threads = [threading.Thread(target=worker, args=(tasks, tally, lock)) for _ in range(min(WORKERS, expected))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    tally["failed"] += expected - sum(tally.values())                   # workers that died: their traces are above
    print("%(passed)d passed, %(failed)d failed" % tally + (", %(skipped)d skipped" % tally if tally["skipped"] else ""))
    return tally["failed"] > 0


if __name__ == "__main__":
    sys.exit(main())
