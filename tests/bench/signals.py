#!/usr/bin/env python3
"""The whole path with every neural signal computed on every request: `make bench-signals`.

signals.yaml has all of them: embedding, domain, fact_check, user_feedback, reask, preference, complexity, modality,
jailbreak (classifier and contrastive), pii, kb. Requests ask for `x-vsr-debug: true`, which computes what the decision
would not need. A request is a conversation of three turns; the last one has about 500 tokens. No text is sent twice: the
generator shuffles sentences of docs/*.md, and numbers in them are drawn anew. All cores carry the gateway, the fake provider and
the load generator alike; there are as many encoder threads as cores. From /metrics: that each signal ran on each request and had
an answer, how many tokens were read, and how many texts the cache knew.

    signals.py [--rounds N] [--seconds S] [--tokens N] [--encoder-threads N]
"""
import argparse, glob, json, random, re, time, urllib.request

import chart
from rig import *

TYPES = ("embedding", "domain", "fact_check", "user_feedback", "reask", "preference", "complexity", "modality", "jailbreak", "pii", "kb")
BARS = {"rps": (">=", 100), "p50": ("<=", 20), "slowdown": ("<=", 5), "memory": ("<=", 150), "ready": ("<=", 1)}
ALL_CORES = ",".join(str(c) for c in range(os.cpu_count() or 1))


class Prompts:
    """Conversations of natural English, seeded, never the same twice."""

    def __init__(self, seed, tokens):
        self.chance = random.Random(seed)
        self.tokens = tokens
        self.sentences = sorted({s for path in glob.glob(os.path.join(ROOT, "docs", "**", "*.md"), recursive=True)
                                 for s in self.cut(open(path, encoding="utf-8").read())})
        self.n = 0

    @staticmethod
    def cut(text):
        text = re.sub(r"```.*?```|^[|#].*?$", " ", text, flags=re.S | re.M)
        found = (re.sub(r"\s+", " ", re.sub(r"[`*\[\]]|\(http[^)]*\)", "", s)).strip() for s in re.split(r"(?<=[.?!])\s+|\n\n+", text))
        return [s for s in found if 6 <= len(s.split()) <= 40]

    def text(self, tokens):
        out, have = [], 0
        while have < tokens:
            s = re.sub(r"\d+", lambda m: str(self.chance.randrange(10 ** len(m.group()))), self.chance.choice(self.sentences))
            out.append(s)
            have += 1.39 * len(re.findall(r"\w+", s)) + .5 * len(re.findall(r"[^\w\s]", s))
        return " ".join(out)

    def body(self):
        self.n += 1
        return json.dumps({"model": "auto", "messages": [
            {"role": "user", "content": "%s (%d)" % (self.text(40), self.n)},
            {"role": "assistant", "content": self.text(40)},
            {"role": "user", "content": "%s Question %d." % (self.text(self.tokens), self.n)}]})

    def file(self, name, n):
        path = os.path.join(OUT, name + ".jsonl")
        with open(path, "w") as f:
            f.writelines(self.body() + "\n" for _ in range(n))
        return path


def load_all(port, body_list, n, connections):
    """Load from any core, with a body of its own for each question."""
    p = subprocess.run([LOADGEN, "--body-list", body_list, "-H", "x-vsr-debug: true", "-c", str(connections), "-n", str(n),
                        "127.0.0.1:%d%s" % (port, CHAT)], capture_output=True, text=True, timeout=900)
    if not p.stdout:
        raise SystemExit("loadgen: %s" % p.stderr.strip())
    got = json.loads(p.stdout)
    if got["errors"]:
        say("  ! %d errors of %d (status %d)" % (got["errors"], got["asked"], got["bad_status"]))
    return got


def metrics(admin):
    """name -> {first label's value or "": number}; series that share it are added."""
    out = {}
    with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % admin, timeout=10) as r:
        for line in r.read().decode().splitlines():
            found = re.match(r'(\w+)(?:\{\w+="([^"]*)".*\})? ([-+.\deEinfNa]+)$', line)
            if found:
                series = out.setdefault(found[1], {})
                series[found[2] or ""] = series.get(found[2] or "", 0) + float(found[3])
    return out


def gained(before, after, name):
    return {k: v - before.get(name, {}).get(k, 0) for k, v in after.get(name, {}).items()}


def ready_wait(p, port):
    while True:
        try:
            with urllib.request.urlopen("http://127.0.0.1:%d/ready" % p.admin, timeout=1) as r:
                if r.status == 200:
                    return time.monotonic() - p.begun
        except OSError:
            if p.poll() is not None or time.monotonic() - p.begun > 60:
                raise SystemExit("signalbox does not become ready; its log is in %s" % OUT)
            time.sleep(.002)


def starts(mock_port, text, prompts, rounds):
    """Seconds from exec until /ready, and until a first request has its answer: all signals, all models."""
    ready, first = [], []
    for _ in range(rounds):
        p, port = signalbox_start(mock_port, "signals", text, ALL_CORES)
        ready.append(ready_wait(p, port))
        load_all(port, prompts.file("signals-first", 1), 1, 1)
        first.append(time.monotonic() - p.begun)
        stop(p)
    result = {"ready_s": spread(ready), "first_answer_s": spread(first)}
    say("\nstart: ready after %.2f s (%.2f .. %.2f), first answer with all signals after %.2f s (%.2f .. %.2f)"
        % (result["ready_s"]["median"], min(ready), max(ready), result["first_answer_s"]["median"], min(first), max(first)))
    return result


def honesty(before, after, n):
    """What /metrics says was done for n requests."""
    run = gained(before, after, "signalbox_units_run_total")
    known = gained(before, after, "llm_signal_extraction_total")
    texts = gained(before, after, "signalbox_encoder_texts_total")
    result = {"run": {t: run.get(t, 0) / n for t in TYPES}, "known": {t: known.get(t, 0) for t in TYPES},
              "tokens_a_request": sum(gained(before, after, "signalbox_encoder_tokens_total").values()) / n,
              "forwards_a_request": sum(gained(before, after, "signalbox_encoder_forwards_total").values()) / n,
              "texts": {k: v / n for k, v in texts.items()}}
    result["not_run"] = [t for t in TYPES if result["run"][t] < 1]
    result["unanswered"] = [t for t in TYPES if not result["known"][t]]
    say("\nper request: %.0f tokens read in %.2f forwards; texts: %s" % (result["tokens_a_request"], result["forwards_a_request"],
        ", ".join("%s %.2f" % (k, v) for k, v in sorted(result["texts"].items()))))
    for key, words in (("not_run", "did not run on every request"), ("unanswered", "had no answer: is its head missing?")):
        for t in result[key]:
            say("  ! %s %s" % (t, words))
    return result


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--seconds", type=float, default=5)
    ap.add_argument("--tokens", type=int, default=500)
    ap.add_argument("--encoder-threads", type=int, default=os.cpu_count(), help="default: all cores; 0: as signalbox does it unasked")
    args = ap.parse_args()
    out_prepare()
    results = {"machine": machine(), "arguments": vars(args)}
    say("machine: %(cpu)s, %(cores)d cores, Linux %(kernel)s, load average %(load_average).1f" % results["machine"])
    prompts = Prompts(1, args.tokens)
    with open(os.path.join(ROOT, "tests/bench/signals.yaml")) as f:
        text = f.read().replace("@THREADS@", str(args.encoder_threads))
    mock, mock_port = mock_start()
    try:
        results["start"] = starts(mock_port, text, prompts, max(args.rounds, 3))
        p, port = signalbox_start(mock_port, "signals", text, ALL_CORES)
        ready_wait(p, port)
        warm = load_all(port, prompts.file("signals-warm", 100), 100, 20)
        rate = max(warm["rps"], 10)
        before = metrics(p.admin)
        rows, n_all = {1: [], 20: []}, 0
        say("\n%-14s %12s %10s %10s %10s %12s" % ("connections", "requests/s", "p50 ms", "p99 ms", "CPU ms", "resident MB"))
        for turn in range(args.rounds):
            for connections in (1, 20) if turn % 2 == 0 else (20, 1):
                n = max(int(rate * args.seconds), 50)
                bodies = prompts.file("signals", n)
                cpu_before = sum(cpu(p.pid))
                got = load_all(port, bodies, n, connections)
                got["cpu_ms"] = (sum(cpu(p.pid)) - cpu_before) * 1000 / n
                got["mb"] = rss(p.pid) / 2**20
                rows[connections].append(got)
                n_all += n
                logs_empty()
        results["asked"] = honesty(before, metrics(p.admin), n_all)
        for connections, got in rows.items():
            r = {"rps": spread([g["rps"] for g in got]), "p50_ms": spread([g["total_us"]["p50"] / 1000 for g in got]),
                 "p99_ms": spread([g["total_us"]["p99"] / 1000 for g in got]), "cpu_ms": spread([g["cpu_ms"] for g in got]),
                 "mb": max(g["mb"] for g in got), "errors": sum(g["errors"] for g in got)}
            results["at_%d" % connections] = r
            say("%-14d %12.1f %10.2f %10.2f %10.2f %12.1f" % (connections, r["rps"]["median"], r["p50_ms"]["median"], r["p99_ms"]["median"],
                                                             r["cpu_ms"]["median"], r["mb"]))
    finally:
        stop_all()
    alone, crowd = results["at_1"], results["at_20"]
    results["slowdown"] = crowd["p50_ms"]["median"] / alone["p50_ms"]["median"]
    verdict([("requests/s, 20 connections", "rps", crowd["rps"]["median"]), ("p50 ms, one connection", "p50", alone["p50_ms"]["median"]),
             ("p50 of 20 connections / of one", "slowdown", results["slowdown"]), ("resident MB, at most", "memory", max(alone["mb"], crowd["mb"])),
             ("s until ready", "ready", results["start"]["ready_s"]["median"])], BARS)
    parts = [chart.bars("Requests a second, all neural signals on %d tokens" % args.tokens, "req/s",
                        [chart.spread_row("signalbox, %d connections" % c, results["at_%d" % c]["rps"]) for c in (1, 20)]),
             chart.bars("Time of a request", "ms", [chart.spread_row("%s, %d connections" % (q, c), results["at_%d" % c][q + "_ms"])
                                                   for c in (1, 20) for q in ("p50", "p99")])]
    finish("signals", results, parts)


if __name__ == "__main__":
    main()
