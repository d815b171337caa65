#!/usr/bin/env python3
"""Official SDKs as judges of translation.

Every SDK plays its scenarios twice: straight at a provider that speaks its own dialect (tests/mock/provider.py), and through
signalbox at every kind of upstream. What it understood must be the same: text, thoughts, calls, stop, usage, errors. Where the
upstream speaks the SDK's dialect everything else that it parsed is compared too, member by member. What the provider meant is known,
so that two sides that are wrong alike do not pass; and the provider refuses what a real one would refuse.

AWS has no door here: its SDKs judge the other side, from what the provider received. botocore's model checks every Converse body, its
signer every signature, and its parser the frames that the provider sends (sdk_botocore.py); the SDK for JavaScript says the questions
once more, and must come to the same paths and bodies (sdk_aws.mjs).

    tests/clients/sdks.py [SDK...] [--only WORD...] [--models to-chat,...] [--keep]

Needs build/signalbox (or SIGNALBOX); the SDKs are pinned and installed as run.py does."""
import argparse, json, os, re, shutil, subprocess, sys, tempfile, threading, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "e2e"), str(HERE)]
import run as installer
import test_translation as translation
from harness import Gateway
from provider import CASES

KEY = "sk-client"
RUN_S, WORKERS = 240, 2
BEDROCK = "anthropic.claude-sonnet-4-5-20250929-v1:0"
LISTED = "  router: {include_config_models_in_list: true}\n"
ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0"

# name: what it needs, its script
SDKS = {
    "openai_python": ("py", "sdk_openai.py"), "anthropic_python": ("py", "sdk_anthropic.py"), "google_python": ("py", "sdk_google.py"),
    "openai_js": ("js", "sdk_openai.mjs"), "anthropic_js": ("js", "sdk_anthropic.mjs"), "google_js": ("js", "sdk_google.mjs"),
    "ai_sdk": ("js", "sdk_ai.mjs"), "langchain_js": ("js", "sdk_langchain.mjs"),
}

OPENAI, CLAUDE, GEMINI = {"to-chat", "to-responses"}, {"to-anthropic", "to-vertex", "to-invoke"}, {"to-gemini"}
SAME = {"chat": {"to-chat"}, "responses": {"to-responses"}, "messages": CLAUDE, "gemini": GEMINI}
SIGNED = {"responses": {"to-responses"}, "messages": CLAUDE | {"to-converse"}, "gemini": GEMINI}
COUNTS_THOUGHT = OPENAI | GEMINI                # upstreams that say how many tokens were thought
COUNTS_WRITTEN = CLAUDE | {"to-converse"}       # ... or written to a cache
IDS = re.compile(r"\b(chatcmpl|call|resp|msg|rs|fc|toolu|tooluse|req|gen)([-_])[0-9A-Za-z_-]+")
MASKED = {"model", "modelVersion", "model_version", "created", "created_at", "completed_at", "responseId", "response_id", "request_id", "_request_id", "id"}
# What must not reach an SDK from around it.
ENVIRONMENT = r"(?i)(.*_proxy$|openai_|anthropic_|google_|gemini_|aws_|langchain_|langsmith_|client_|python|node_)"


short = installer.short


def configuration(port):
    text = translation.configuration(port, LISTED).replace("m-to-converse", '"%s"' % ARN).replace("m-to-invoke", '"%s"' % BEDROCK)
    return text.replace("provider_model_id: m-", "provider_model_id: ")


# ---- Judging


def masked(value):
    """Ids by order of first sight, names of models and times left out."""
    seen = {}

    def walk(v, key=""):
        if key in MASKED and not isinstance(v, (dict, list)):
            return "*" if v else v
        if isinstance(v, dict):
            return {k: walk(x, k) for k, x in v.items()}
        if isinstance(v, list):
            return [walk(x) for x in v]
        if isinstance(v, str):
            return IDS.sub(lambda m: "%s%s#%d" % (m[1], m[2], seen.setdefault(m[0], len(seen))), v)
        return v
    return walk(value)


def meant(line):
    """What is wrong with an answer, given what the provider meant by the case."""
    a, f, is_direct = CASES[line["case"]], line["facts"], line["model"] == "direct"
    wrong = []

    def need(name, got, want):
        if got != want:
            wrong.append("%s is %s, meant was %s" % (name, short(got), short(want)))
    if a.refusal and not (is_direct and line["api"] in ("chat", "responses")):
        need("text and refusal", f["text"] + f["refusal"], a.refusal)
    else:
        need("text", f["text"], a.text)
        need("refusal", f["refusal"], a.refusal)
    need("thought", f["thought"], a.thought)
    need("calls", f["calls"], [[n, x] for n, x in a.calls])
    u = f["usage"]
    for k in ("input", "output", "cached"):
        if k in u:
            need("usage." + k, u[k], a.usage[k])
    if "thought" in u and (is_direct or line["model"] in COUNTS_THOUGHT):
        need("usage.thought", u["thought"], a.usage["thought"])
    if "written" in u and (is_direct or line["model"] in COUNTS_WRITTEN):
        need("usage.written", u["written"], a.usage["written"])
    return wrong


def differences(direct, line):
    """What the SDK understood otherwise through the gateway than straight; what one of the two dialects cannot say is left out."""
    a, b, api, model = dict(direct["facts"]), dict(line["facts"]), line["api"], line["model"]
    is_same = model in SAME[api] and not (model == "to-invoke" and line["how"] in ("stream", "broken"))     # framed: read and written anew
    if not is_same:
        if a.get("usage"):
            gone = {"thought": COUNTS_THOUGHT, "written": COUNTS_WRITTEN}
            a["usage"], b["usage"] = ({k: v for k, v in (u or {}).items() if model in gone.get(k, {model})} for u in (a["usage"], b["usage"]))
        unlike = set()
        if line["case"] == "refusal":               # a text, a block or a stop reason, by dialect: meant() has looked
            unlike |= {"text", "refusal", "stop", "done"}
        if line["how"].startswith("error"):         # finer words than the status
            unlike |= {"type"}
        if line["how"] == "broken":                 # a stream's error has a status in some dialects only
            unlike |= {"type", "status"}
        a, b = ({k: v for k, v in x.items() if k not in unlike} for x in (a, b))
    if model not in SIGNED.get(api, ()):
        a, b = ({k: v for k, v in x.items() if k not in ("signature", "signed")} for x in (a, b))
    yield from installer.differences(a, b, "facts")
    if is_same and "raw" in direct:
        yield from installer.differences(masked(direct["raw"]), masked(line.get("raw")), "raw")


# What the gateway's own doors must have said.
OWN = {
    "models": lambda f: f["listed"] is True,
    "count": lambda f: 4 <= f["tokens"] <= 20,
    "chain": lambda f: f["told"] == [True] * 4 and f["previous"] and f["kept"] == [True, True] and f["gone"] == "NotFoundError" and f["unknown"]
    and "message" in f["items"],
    "conversation": lambda f: f["told"] == [True] * 2 and f["gone"] == "NotFoundError" and f["items"].count("message") >= 4,
}


def judge(line, direct):
    f = line["facts"]
    if "died" in f:
        return [f["died"]]
    wrong = []
    if line["case"] == "own":
        if not OWN[line["how"]](f):
            wrong.append("facts are %s" % json.dumps({k: v for k, v in f.items() if k not in ("text", "thought", "calls", "usage")}))
        return wrong
    if "told" in f and not (all if line["how"] == "loop" else any)(f["told"]):
        wrong.append("the provider was not told: %s" % f["told"])
    if "signed" in f and line["model"] in SIGNED.get(line["api"], set()) | {"direct"} and not all(f["signed"]):
        wrong.append("the signature of the thought did not come back")
    if line["how"] == "abort" and not f["left"]:
        wrong.append("the provider did not see that the client had left")
    if (line["how"].startswith("error") or line["how"] == "broken") and not f["raised"]:
        wrong.append("no error was raised")
    if line["case"] in CASES and "usage" in f:
        wrong += meant(line)
    if direct is None:
        wrong.append("the direct side has no such line")
    else:
        without = [{**x, "facts": {k: v for k, v in x["facts"].items() if k != "told"}} for x in (direct, line)]
        wrong += ["%s: direct %s, through signalbox %s" % (path, short(x), short(y)) for path, x, y in differences(*without)]
    return wrong


# ---- Running


def play(command, base, mock, models, side, only, log):
    clean = {k: v for k, v in os.environ.items() if not re.match(ENVIRONMENT, k)}
    env = clean | {"CLIENT_BASE_URL": base, "CLIENT_MOCK_URL": "http://127.0.0.1:%d" % mock, "CLIENT_API_KEY": KEY, "CLIENT_MODELS": ",".join(models),
                   "CLIENT_SIDE": side, "NO_PROXY": "127.0.0.1", "LANGSMITH_TRACING": "false", "PYTHONDONTWRITEBYTECODE": "1"}
    p = subprocess.Popen([*command, *only], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=env)
    timer = threading.Timer(RUN_S, p.kill)
    timer.start()
    try:
        out = p.stdout.read()
        p.wait(10)
    finally:
        timer.cancel()
    lines = []
    for text in out.splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            log.write(text)
    return lines, p.returncode


class Bench:
    """Two providers, one of them behind a gateway."""

    def __init__(self):
        self.direct, self.behind = translation.Provider(), translation.Provider()
        self.gateway = Gateway(configuration(self.behind.port), env=translation.ACCESS)

    def stop(self):
        self.gateway.stop()
        self.direct.stop()
        self.behind.stop()

    def run(self, name, options, log):
        """Both sides at once: they share nothing but the processor. Returns label -> what is wrong."""
        need, script = SDKS[name]
        command = [str(installer.PY / "bin/python"), str(HERE / script)] if need == "py" else [installer.node_of(20), str(installer.JS / script)]
        found = {}
        self.direct.reset()
        self.behind.reset()

        def side(which, port, mock, models):
            found[which] = play(command, "http://127.0.0.1:%d" % port, mock, models, which, options.only, log)
        threads = [threading.Thread(target=side, args=("direct", self.direct.port, self.direct.port, ["direct"])),
                   threading.Thread(target=side, args=("gateway", self.gateway.data, self.behind.port, options.models))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        results = {}
        direct = {(x["api"], x["how"], x["case"]): x for x in found["direct"][0]}
        for line in found["direct"][0] + found["gateway"][0]:
            key = (line["api"], line["how"], line["case"])
            results["%s %s %s %s" % (line["model"], *key)] = judge(line, direct.get(key))
        for which, (lines, status) in found.items():
            if status or not lines:
                results["the %s side" % which] = ["ended with status %s, %d lines" % (status, len(lines))]
        for which, mock in (("direct", self.direct), ("gateway", self.behind)):
            seen = mock.requests()
            wrong = ["%s %s: %s" % (q["path"], q["problems"], q["raw"][:300]) for q in seen if q["problems"]]
            wrong += ["%s tells the client's key" % q["path"] for q in seen if which == "gateway" and KEY in json.dumps([q["headers"], q["path"]])]
            results["what the provider received, %s" % which] = wrong
            if which == "gateway":
                self.seen = seen
        return results


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.lock = threading.Lock()

    def report(self, name, results, seconds):
        wrong = {k: v for k, v in results.items() if v}
        with self.lock:
            self.passed += len(results) - len(wrong)
            self.failed += len(wrong)
            print("%s %s: %d of %d (%.1f s)" % ("FAIL" if wrong else "ok", name, len(results) - len(wrong), len(results), seconds), flush=True)
            for label, lines in wrong.items():
                print("  FAIL %s" % label)
                for line in lines[:6]:
                    print("         " + line)
                if len(lines) > 6:
                    print("         ... and %d more" % (len(lines) - 6))
            sys.stdout.flush()


def aws(command, requests, log):
    """What an SDK of AWS says of the requests for Bedrock that signalbox sent, and of the frames that the provider sends."""
    mock = translation.Provider()
    try:
        env = dict(os.environ, **translation.ACCESS, CLIENT_MOCK_URL="http://127.0.0.1:%d" % mock.port, NO_PROXY="127.0.0.1", PYTHONDONTWRITEBYTECODE="1")
        p = subprocess.run(command, input=json.dumps(requests).encode(), stdout=subprocess.PIPE, stderr=log, env=env, timeout=RUN_S)
        results = {}
        for text in p.stdout.splitlines():
            line = json.loads(text)
            results.setdefault(line["label"], []).extend(line["wrong"])
        if p.returncode or not results:
            results["run"] = ["ended with status %d" % p.returncode]
        return results
    finally:
        mock.stop()


def worker(tasks, options, tally, recorded, log):
    bench = Bench()
    try:
        while True:
            with tally.lock:
                if not tasks:
                    return
                name = tasks.pop(0)
            begun = time.monotonic()
            results = bench.run(name, options, log)
            tally.report(name, results, time.monotonic() - begun)
            with tally.lock:
                recorded += [q for q in bench.seen if q["format"] in ("converse", "invoke")]
    finally:
        bench.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("sdk", nargs="*", choices=[*SDKS, []], help="only these: " + " ".join(SDKS))
    parser.add_argument("--only", action="append", default=[], help="only this API, way or case")
    parser.add_argument("--models", type=lambda s: s.split(","), default=list(translation.models(0)))
    parser.add_argument("--keep", action="store_true", help="keep the log, and say where")
    options = parser.parse_args()
    chosen = [s for s in SDKS if not options.sdk or s in options.sdk]
    problems = installer.install({SDKS[s][0] for s in chosen} | {"py"})
    tally, recorded = Tally(), []
    for s in list(chosen):
        if problems[SDKS[s][0]]:
            print("skip: %s: %s" % (s, problems[SDKS[s][0]]))
            tally.skipped += 1
            chosen.remove(s)
    tasks = list(chosen)
    log = tempfile.NamedTemporaryFile("wb", prefix="sdks-", suffix=".log", delete=False)
    threads = [threading.Thread(target=worker, args=(tasks, options, tally, recorded, log)) for _ in range(min(WORKERS, len(tasks)))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if tasks:
        tally.failed += len(tasks)
        print("FAIL not run: %s" % " ".join(tasks))
    if recorded:
        for name, need, command in (("botocore", "py", [str(installer.PY / "bin/python"), str(HERE / "sdk_botocore.py")]),
                                    ("aws_js", "js", [installer.node_of(20), str(installer.JS / "sdk_aws.mjs")])):
            if not problems.get(need, "not asked for"):
                begun = time.monotonic()
                tally.report(name, aws(command, recorded, log), time.monotonic() - begun)
    log.close()
    if options.keep:
        print("log: %s" % log.name)
    else:
        if tally.failed:
            print("".join("  | " + x for x in Path(log.name).read_text(errors="replace").splitlines(True)[-15:]))
        os.unlink(log.name)
    print("%d passed, %d failed" % (tally.passed, tally.failed) + (", %d skipped" % tally.skipped if tally.skipped else ""))
    return tally.failed > 0


if __name__ == "__main__":
    sys.exit(main())
