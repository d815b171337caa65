#!/usr/bin/env python3
"""The documents are true: their examples run, their links lead somewhere, their recipes decide as their probes say.

Fenced blocks are picked by their info string:

  ```yaml config            `signalbox check --strict` finds nothing
  ```yaml config lenient    ... finds no error
  ```sh run                 runs under `bash -e` in an empty directory and must exit 0; `# exit N` in the block: N
  ```sh run serve           the same while a gateway runs
  ```c check                compiles against src/ without a warning

In blocks that run, `signalbox` is the binary under test and 127.0.0.1:8899 and :8080 are the ports of the gateway that
this test has started (the embedded configuration, no key, so the built-in model explains). A `sh run` block may use
files that earlier `yaml config file=NAME` blocks of the same document have described. Standard library only."""
import glob, json, os, re, subprocess, sys, tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import ROOT, SIGNALBOX, Process, free_port, wait_for

passed = failed = 0
ENV = dict(os.environ, NO_COLOR="1", TEAM_KEY="t", OPENAI_API_KEY="o", ADMIN_TOKEN="a", CLOUD_KEY="c", MY_KEY="m")
CLEAN = {k: v for k, v in os.environ.items()
         if k not in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY") and not k.startswith("SIGNALBOX_")}


def check(name, ok, why=""):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print("FAIL %s\n    %s" % (name, why.strip().replace("\n", "\n    ")))


def documents():
    files = [p for p in glob.glob(os.path.join(ROOT, "*.md"))] + glob.glob(os.path.join(ROOT, "docs", "**", "*.md"), recursive=True)
    return sorted(files)


def blocks(text):
    """(line, info, body) of every fenced block."""
    for m in re.finditer(r"^```([^\n`]*)\n(.*?)^```", text, re.M | re.S):
        yield text.count("\n", 0, m.start()) + 1, m.group(1).strip(), m.group(2)


class Served:
    """The embedded gateway on free ports."""

    def __init__(self):
        self.data, self.admin = free_port(), free_port()
        self.dir = tempfile.TemporaryDirectory(prefix="docs-")
        # An empty variable counts as unset. A model server of this machine may answer instead of the built-in model; the
        # examples do not depend on who answers.
        self.p = Process(["env", "-C", self.dir.name, SIGNALBOX, "serve", "--listen", "127.0.0.1:%d" % self.data,
                          "--admin", "127.0.0.1:%d" % self.admin], env={"OPENAI_API_KEY": "", "OPENAI_BASE_URL": "", "ANTHROPIC_API_KEY": ""})
        wait_for(lambda: "management on" in self.p.output() or "listening on" in self.p.output(), message="the gateway")
        wait_for(self.ready, message="GET /ready")

    def ready(self):
        return subprocess.run(["curl", "-sf", "-o", os.devnull, "http://127.0.0.1:%d/ready" % self.data]).returncode == 0

    def stop(self):
        self.p.stop()
        self.dir.cleanup()


def run_block(name, body, folder, served):
    bin_dir = os.path.join(folder, ".bin")
    os.makedirs(bin_dir, exist_ok=True)
    link = os.path.join(bin_dir, "signalbox")
    if not os.path.islink(link):
        os.symlink(SIGNALBOX, link)
    if served:
        body = body.replace("127.0.0.1:8899", "127.0.0.1:%d" % served.data).replace("127.0.0.1:8080", "127.0.0.1:%d" % served.admin)
    wanted = re.search(r"# exit (\d+)", body)
    env = dict(CLEAN, PATH=bin_dir + os.pathsep + os.environ["PATH"], NO_COLOR="1", REPO=ROOT)
    r = subprocess.run(["bash", "-e", "-o", "pipefail", "-c", body], cwd=folder, env=env, capture_output=True, text=True, timeout=60)
    code = int(wanted.group(1)) if wanted else 0
    check(name, r.returncode == code, "exit %d, wanted %d\n%s%s" % (r.returncode, code, r.stdout[-1500:], r.stderr[-1500:]))


def test_document(path, served):
    name, text = os.path.relpath(path, ROOT), open(path).read()
    with tempfile.TemporaryDirectory(prefix="docs-") as folder:
        for line, info, body in blocks(text):
            words, where = info.split(), "%s:%d" % (name, line)
            if words[:2] == ["yaml", "config"]:
                file = next((w[5:] for w in words if w.startswith("file=")), "block.yaml")
                with open(os.path.join(folder, file), "w") as f:
                    f.write(body)
                args = [SIGNALBOX, "check", "-c", file] + ([] if "lenient" in words else ["--strict"])
                r = subprocess.run(args, cwd=folder, env=ENV, capture_output=True, text=True, timeout=60)
                check(where, r.returncode == 0, r.stdout + r.stderr)
            elif words[:2] == ["sh", "run"]:
                run_block(where, body, folder, served if "serve" in words else None)
            elif words[:2] == ["c", "check"]:
                args = ["cc", "-std=c17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I" + os.path.join(ROOT, "src"),
                        "-I" + os.path.join(ROOT, "build", "deps", "llhttp"), "-x", "c", "-"]
                r = subprocess.run(args, input=body, capture_output=True, text=True, timeout=60)
                check(where, r.returncode == 0, r.stderr)
            elif words[:1] == ["json"]:
                try:
                    json.loads(body)
                    check(where, True)
                except ValueError as e:
                    check(where, False, str(e))


def anchors(text):
    out = set()
    for title in re.findall(r"^#+ +(.*)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M):
        out.add(re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-"))
    return out


def test_links(path):
    name, text = os.path.relpath(path, ROOT), open(path).read()
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        to = os.path.normpath(os.path.join(os.path.dirname(path), file)) if file else path
        check("%s: link %s" % (name, target), os.path.exists(to), "no such file")
        if anchor and to.endswith(".md") and os.path.exists(to):
            check("%s: anchor %s" % (name, target), anchor in anchors(open(to).read()), "no such heading")


def test_names(path):
    """Paths of our sources that a document names exist."""
    name, text = os.path.relpath(path, ROOT), open(path).read()
    for at in sorted(set(re.findall(r"`((?:src|tests|tools|recipes|docs|completions|include)/[\w./-]+)`", text))):
        check("%s: %s" % (name, at), os.path.exists(os.path.join(ROOT, at)) or at == "docs/reference/configuration.md", "no such path")


def test_recipe(path):
    name = os.path.relpath(path, ROOT)
    r = subprocess.run([SIGNALBOX, "check", "--strict", "-c", path], env=ENV, capture_output=True, text=True, timeout=60)
    check(name, r.returncode == 0, r.stdout + r.stderr)
    probes = path.replace(".yaml", ".probes.jsonl")
    check(name + ": has probes", os.path.exists(probes), "write %s" % os.path.relpath(probes, ROOT))
    if os.path.exists(probes):
        r = subprocess.run([SIGNALBOX, "replay", "-c", path, "--json", probes], env=ENV, capture_output=True, text=True, timeout=60)
        check(name + ": probes", r.returncode == 0, r.stdout + r.stderr)
        got = json.loads(r.stdout or "{}")
        check(name + ": all probes were compared", got.get("compared") == got.get("lines"), r.stdout)


def test_explain(served):
    """The built-in model answers in the caller's form, says that it is none, and claims no token."""
    def ask(path, body):
        r = subprocess.run(["curl", "-s", "-w", "\n%{http_code} %header{x-vsr-response-path}", "http://127.0.0.1:%d%s" % (served.data, path),
                            "-d", json.dumps(body)], capture_output=True, text=True, timeout=30)
        text, _, last = r.stdout.rpartition("\n")
        return text, last.split(" ")[0], last.split(" ")[-1]

    model, question = "signalbox/explain", [{"role": "user", "content": "Prove that 2 is prime"}]
    text, status, path = ask("/v1/chat/completions", {"model": model, "messages": question})
    answer = json.loads(text)
    message = answer["choices"][0]["message"]
    check("explain: whole", status == "200" and path == "explain" and answer["object"] == "chat.completion" and answer["model"] == model, text)
    check("explain: says what it is", "not a language model" in message["content"] and message["role"] == "assistant", text)
    check("explain: says what was decided", "math_and_proof" in message["content"] and "proof_words" in message["content"], text)
    check("explain: honest usage", answer["usage"]["completion_tokens"] == 0 and answer["usage"]["prompt_tokens"] > 0, text)
    for wants_usage in (False, True):
        body = {"model": model, "messages": question, "stream": True}
        if wants_usage:
            body["stream_options"] = {"include_usage": True}
        text, status, path = ask("/v1/chat/completions", body)
        data = [e[len("data: "):] for e in text.strip().split("\n\n")]
        chunks = [json.loads(d) for d in data[:-1]]
        name = "explain: stream%s" % (", with usage" if wants_usage else "")
        check(name, status == "200" and data[-1] == "[DONE]" and len({c["id"] for c in chunks}) == 1, text)
        deltas = [c["choices"][0]["delta"] for c in chunks if c["choices"]]
        check(name + ": role first", deltas[0] == {"role": "assistant", "content": ""} and deltas[-1] == {}, text)
        check(name + ": the same text", "".join(d.get("content", "") for d in deltas) == message["content"], text)
        check(name + ": finish", [c["choices"][0]["finish_reason"] for c in chunks if c["choices"]].count("stop") == 1, text)
        check(name + ": usage", ("usage" in chunks[0]) == wants_usage and (chunks[-1]["choices"] == []) == wants_usage, text)
    text, status, path = ask("/v1/completions", {"model": model, "prompt": "hello"})
    check("explain: completions", json.loads(text)["object"] == "text_completion" and json.loads(text)["choices"][0]["text"], text)
    text, status, path = ask("/v1/embeddings", {"model": model, "input": "hello"})
    check("explain: embeddings", status == "400" and "no embedding model" in json.loads(text)["error"]["message"], text)


def command_names():
    text = subprocess.run([SIGNALBOX, "help"], capture_output=True, text=True).stdout
    return re.findall(r"^  (\w+) {2,}\S", text.split("Commands\n")[1].split("\n\n")[0], re.M)


def test_command_table():
    """help, man page, completions and the CLI guide know the same commands and options."""
    man = open(os.path.join(ROOT, "docs", "signalbox.1")).read()
    guide = open(os.path.join(ROOT, "docs", "cli.md")).read()
    names = command_names()
    check("help lists commands", len(names) >= 9, str(names))
    for c in names:
        r = subprocess.run([SIGNALBOX, c, "--help"], capture_output=True, text=True)
        check("%s --help" % c, r.returncode == 0 and "Examples" in r.stdout, r.stdout + r.stderr)
        check("man page: %s" % c, ".It Ic %s" % c in man, "docs/signalbox.1 does not describe it")
        check("guide: %s" % c, "## %s" % c in guide, "docs/cli.md does not describe it")
        for o in re.findall(r"--([a-z]+)", r.stdout.split("Options\n")[1].split("\n\n")[0]):
            if o not in ("help", "config", "json"):
                check("man page: %s --%s" % (c, o), re.search(r"Fl -%s\b" % o, man), "missing")
                check("guide: %s --%s" % (c, o), "--%s" % o in guide, "missing")
    want = subprocess.run([SIGNALBOX, "config", "reference"], capture_output=True, text=True).stdout
    with open(os.path.join(ROOT, "docs", "reference", "configuration.md")) as f:
        check("docs/reference/configuration.md is up to date", want == f.read(), "signalbox config reference > docs/reference/configuration.md")
    for shell, file in (("bash", "signalbox.bash"), ("zsh", "_signalbox"), ("fish", "signalbox.fish")):
        want = subprocess.run([SIGNALBOX, "completions", shell], capture_output=True, text=True).stdout
        have = open(os.path.join(ROOT, "completions", file)).read()
        check("completions/%s is up to date" % file, want == have, "signalbox completions %s > completions/%s" % (shell, file))


def main():
    served = Served()
    try:
        for path in documents():
            test_document(path, served)
            test_links(path)
            test_names(path)
        test_explain(served)
    finally:
        served.stop()
    for path in sorted(glob.glob(os.path.join(ROOT, "recipes", "*.yaml"))):
        test_recipe(path)
    test_command_table()
    print("%d passed, %d failed" % (passed, failed))
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
