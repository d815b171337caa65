#!/usr/bin/env python3
"""How many neural calls the lazy path avoids, and that it decides the same: `make bench-signals` runs this, too.

Each suite of the conformance kit, its providers replaced by the fake one, is asked its own probes and mixed traffic (texts of the
signal data sets). Three times the same requests: as ordinary requests of the data plane (lazy), with `x-vsr-debug: true` (every
signal computed; a process of its own, so that no vector is there already), and through /api/v1/eval. Decisions must be the same.
Counted from /metrics: neural signals run and avoided, and what the encoder read. A call is one signal of one request; user_feedback
without an answer before it, reask without an earlier turn and pii without a tagger ask no model and count neither way. For each signal
that is asked the table has how often it would have been enough to ask it with hindsight (decide_enough): what is asked beyond that a better
order of asking might avoid, the rest it cannot. Since signals of one trunk share a forward, two more figures are told: the encoder's tokens that the lazy path spares, and how many forwards the gateway makes of
those that one for each signal of each request would be.

    avoided.py [--mixed N] [--suites a,b]
"""
import argparse, gzip, http.client, itertools, json, random, sys, time
from concurrent.futures import ThreadPoolExecutor

try:
    import yaml
except ImportError:
    sys.exit("PyYAML is missing (Debian: python3-yaml); the conformance kit reads its probes with it")

import chart
from rig import *
from signals import ALL_CORES, TYPES, gained, metrics, ready_wait

SHARED = os.environ.get("SIGNALBOX_SHARED", os.path.join(ROOT, "..", "shared"))
NEURAL = tuple(t for t in TYPES if t != "pii") + ("classifier",)      # no suite serves a tagger: pii asks no model
BARS = {"probes": (">=", .5), "mixed": (">=", .5), "differences": ("<=", 0)}
SETS = ("jailbreak", "factcheck", "feedback", "modality", "pii", "domain", "complexity", "language")
TEXT_MAX = 4000                     # bytes of a mixed request's text; longer ones are left out


def configuration(suite, upstream):
    """The suite's own, but everything is asked of the fake provider and nothing is logged to the terminal."""
    with open(os.path.join(SHARED, "conformance/suites", suite, "config.yaml"), encoding="utf-8") as f:
        c = yaml.safe_load(f)
    for model in c["providers"]["models"]:
        model["backend_refs"] = [{"name": "mock", "base_url": "http://%s/v1" % upstream, "provider": "openai", "api_key": "sk-mock"}]
    c.pop("listeners", None)
    c.setdefault("global", {}).setdefault("services", {}).setdefault("observability", {})["access_log"] = "off"
    return c


def probes(kit, suite, config):
    """(name, body) of every probe, in the form of chat messages."""
    with open(os.path.join(SHARED, "conformance/suites", suite, "probes.yaml"), encoding="utf-8") as f:
        found = yaml.safe_load(f)
    images = ((found.get("fixtures") or {}).get("images")) or {}
    autos = itertools.cycle(kit.auto_names(config) or [None])
    out = []
    for group in found["decisions"]:
        for v in group["variants"]:
            body = {"model": group.get("model") or next(autos),
                    "messages": kit.messages_of(v, images) if "messages" in v else [{"role": "user", "content": kit.text_of(v)}]}
            if v.get("tools"):
                body["tools"] = v["tools"]
            out.append(("%s:%s" % (group.get("id") or group["expected_decision"], v["id"]), body))
    return out


def mixed_texts(n, chance):
    """n conversations drawn from the signal data sets, each set as often as the others."""
    out = []
    for name in SETS:
        with gzip.open(os.path.join(SHARED, "data/signals", name, "data.jsonl.gz"), "rt", encoding="utf-8") as f:
            rows = [json.loads(line) for line in f]
        take = 0
        for row in chance.sample(rows, len(rows)):
            messages = row.get("messages") or [{"role": "user", "content": row.get("text") or ""}]
            if any(not isinstance(m.get("content"), str) or not m["content"].strip() for m in messages) or \
                    sum(len(m["content"].encode()) for m in messages) > TEXT_MAX or messages[-1]["role"] != "user":
                continue
            out.append(("%s %s" % (name, row.get("id")), messages))
            take += 1
            if take * len(SETS) >= n:
                break
    chance.shuffle(out)
    return out


def post(port, path, body, headers={}):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        c.request("POST", path, json.dumps(body, ensure_ascii=False).encode(), {"content-type": "application/json", **headers})
        r = c.getresponse()
        return r.status, r.headers, r.read()
    finally:
        c.close()


def decided(port, body, headers={}):
    status, headers, _ = post(port, CHAT, body, headers)
    name = headers.get("x-vsr-selected-decision", "")
    return name if name or status == 200 else "status %d" % status


def evaluated(port, body, enough):
    """The decision; and which calls would have settled it with hindsight, added to `enough` by type."""
    status, _, answer = post(port, "/api/v1/eval?trace=true", body)
    if status != 200:
        return "status %d" % status
    got = json.loads(answer)
    for t in got["lazy"]["calls_that_settle"]:
        if t not in no_calls(body):
            enough.append(t)
    return got.get("routing_decision") or (got.get("decision_result") or {}).get("decision_name") or ""


def no_calls(body):
    """The types that ask no model about this request: there is nothing earlier to compare or to judge."""
    said = [m["role"] for m in body["messages"] if m.get("content")]
    return tuple(t for t, missing in (("user_feedback", "assistant" not in said), ("reask", said.count("user") < 2)) if missing)


def ask_all(admin, requests, one):
    """Answers of `one` to all requests, and what was counted. Requests alike in no_calls go together, so that those types are left out."""
    answers, total = [None] * len(requests), {"run": {}, "avoided": {}, "tokens": 0, "texts": 0}
    for group in sorted({no_calls(body) for _, body in requests}):
        members = [i for i, (_, body) in enumerate(requests) if no_calls(body) == group]
        before = metrics(admin)
        with ThreadPoolExecutor(8) as pool:
            for i, answer in zip(members, pool.map(lambda i: one(requests[i][1]), members)):
                answers[i] = answer
        after = metrics(admin)
        for key in ("run", "avoided"):
            for t, n in gained(before, after, "signalbox_units_%s_total" % key).items():
                if t in NEURAL and t not in group:
                    total[key][t] = total[key].get(t, 0) + n
        total["tokens"] += sum(gained(before, after, "signalbox_encoder_tokens_total").values())
        total["texts"] += gained(before, after, "signalbox_encoder_texts_total").get("encoder", 0)
    return answers, total


def share(run, avoided):
    return avoided / (run + avoided) if run + avoided else 1.0


def suite_run(suite, text, kinds):
    """kinds: name -> requests. The lazy and the eager pass of a suite, each in a process of its own."""
    result = {kind: {"requests": len(requests)} for kind, requests in kinds.items()}
    answers = {}
    for mode, headers in (("lazy", {}), ("eager", {"x-vsr-debug": "true"})):
        p, port = signalbox_start(0, "avoided", text, ALL_CORES)
        ready_wait(p, port)
        for kind, requests in kinds.items():
            answers[kind, mode], result[kind][mode] = ask_all(p.admin, requests, lambda body: decided(port, body, headers))
        if mode == "lazy":
            for kind, requests in kinds.items():
                enough = []
                answers[kind, "eval"], _ = ask_all(p.admin, requests, lambda body: evaluated(p.admin, body, enough))
                result[kind]["enough"] = {t: enough.count(t) for t in sorted(set(enough))}
        stop(p)
    for kind, requests in kinds.items():
        r = result[kind]
        r["differences"] = [{"request": name, **{mode: answers[kind, mode][i] for mode in ("lazy", "eager", "eval")}}
                            for i, (name, _) in enumerate(requests)
                            if len({answers[kind, mode][i] for mode in ("lazy", "eager", "eval")}) > 1]
        r["decisions"] = len(set(answers[kind, "lazy"]))
        r["unanswered"] = sum(a.startswith("status ") for a in answers[kind, "lazy"])
        run, avoided = (sum(r["lazy"][k].values()) for k in ("run", "avoided"))
        r["share"] = share(run, avoided)
        r["tokens_spared"] = 1 - r["lazy"]["tokens"] / r["eager"]["tokens"] if r["eager"]["tokens"] else 0
        say("%-16s %-7s %9d %10d %12d %12d %9.1f %% %14.1f %% %12d"
            % (suite, kind, len(requests), r["decisions"], run, avoided, 100 * r["share"], 100 * r["tokens_spared"], len(r["differences"])))
        asked = {t: n for t, n in r["lazy"]["run"].items() if n}
        if asked:
            say("  asked, and enough with hindsight: " + ", ".join("%s %d/%d" % (t, n, r["enough"].get(t, 0)) for t, n in sorted(asked.items())))
        for d in r["differences"][:5]:
            say("  ! %(request)s: lazy %(lazy)r, eager %(eager)r, eval %(eval)r" % d)
        if r["unanswered"]:
            say("  ! %d were refused" % r["unanswered"])
    return result


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--mixed", type=int, default=240, help="mixed requests a suite")
    ap.add_argument("--suites", default="")
    args = ap.parse_args()
    if not os.path.isdir(os.path.join(SHARED, "conformance")):
        raise SystemExit("no conformance kit at %s: SIGNALBOX_SHARED names the folder that holds it" % SHARED)
    sys.path.insert(0, os.path.join(SHARED, "conformance"))
    import run as kit
    out_prepare()
    results = {"machine": machine(), "arguments": vars(args), "suites": {}}
    suites = args.suites.split(",") if args.suites else sorted(os.listdir(os.path.join(SHARED, "conformance/suites")))
    mock, mock_port = mock_start()
    texts = mixed_texts(args.mixed, random.Random(1))
    say("%-16s %-7s %9s %10s %12s %12s %11s %16s %12s" % ("suite", "what", "requests", "decisions", "calls made", "avoided", "share",
                                                       "tokens spared", "differences"))
    try:
        for suite in suites:
            config = configuration(suite, "127.0.0.1:%d" % mock_port)
            asked = probes(kit, suite, config)
            models = itertools.cycle(sorted({body["model"] for _, body in asked}))
            kinds = {"probes": asked, "mixed": [(name, {"model": next(models), "messages": messages}) for name, messages in texts]}
            results["suites"][suite] = suite_run(suite, yaml.safe_dump(config, allow_unicode=True, sort_keys=False), kinds)
    finally:
        stop_all()
    if not any(r["eager"]["tokens"] for suite in results["suites"].values() for r in suite.values()):
        raise SystemExit("no encoder was at work even on the eager path: nothing to compare (see the gateway's log in %s)" % OUT)
    totals = {}
    for kind in ("probes", "mixed"):
        rows = [r[kind] for r in results["suites"].values()]
        run, avoided = (sum(sum(r["lazy"][k].values()) for r in rows) for k in ("run", "avoided"))
        lazy, eager = (sum(r[mode]["tokens"] for r in rows) for mode in ("lazy", "eager"))
        texts, eager_run = sum(r["lazy"]["texts"] for r in rows), sum(sum(r["eager"]["run"].values()) for r in rows)
        enough = sum(sum(r["enough"].values()) for r in rows)
        totals[kind] = {"share_with_hindsight": share(enough, run + avoided - enough), "forwards_spared": 1 - texts / eager_run if eager_run else 0, "share": share(run, avoided), "tokens_spared": 1 - lazy / eager if eager else 0,
                        "differences": sum(len(r["differences"]) for r in rows), "requests": sum(r["requests"] for r in rows)}
        say("\n%s, all suites: %.1f %% of neural calls avoided, %.1f %% of the encoder's tokens spared; %d texts read for %d signals of the\n"
            "eager path: %.1f %% of one forward each spared" % (kind, 100 * totals[kind]["share"], 100 * totals[kind]["tokens_spared"], texts,
                                                             eager_run, 100 * totals[kind]["forwards_spared"]))
        say("  with hindsight %.1f %% could be avoided" % (100 * totals[kind]["share_with_hindsight"]))
        by_type = {t: [sum(r["lazy"][k].get(t, 0) for r in rows) for k in ("run", "avoided")] for t in NEURAL}
        say("  avoided by signal: " + ", ".join("%s %.0f %%" % (t, 100 * share(*v)) for t, v in by_type.items() if sum(v)))
    results["totals"] = totals
    verdict([("share of calls avoided, probes", "probes", totals["probes"]["share"]), ("share of calls avoided, mixed", "mixed", totals["mixed"]["share"]),
             ("requests decided differently", "differences", sum(t["differences"] for t in totals.values()))], BARS)
    parts = [chart.bars("Neural calls avoided, %s" % kind, "%", [("signalbox, " + suite, 100 * r[kind]["share"], None, None)
                                                               for suite, r in results["suites"].items()]) for kind in totals]
    finish("avoided", results, parts)


if __name__ == "__main__":
    main()
