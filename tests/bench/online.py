#!/usr/bin/env python3
"""Learning while serving, judged on recorded outcomes: online learning, drift, delay, budgets, newcomers, off-policy estimates.

    tests/bench/online.py [--runs N] [--only online,strategies,budget,newcomer,policy] [--out FILE]

Runs `signalbox evaluate ...` over the sets of ../shared/data/routing (SIGNALBOX_SHARED) and prints one table a question, with standard errors
and the bar that each is held against. greenserv's uniformly logged rewards are turned into an access log; constant policies estimated from it
are compared with the published means of the runs that really followed them. Standard library only."""
import argparse, csv, gzip, json, os, subprocess, sys, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SIGNALBOX = os.environ.get("SIGNALBOX", os.path.join(ROOT, "build", "signalbox"))
DATA = os.path.join(os.environ.get("SIGNALBOX_SHARED", os.path.join(ROOT, "..", "shared")), "data", "routing")
SETS = ["zeroeval", "rbench", "llmrouter9", "mmlupro", "bfcl", "swebench", "routellm", "open7", "openllm2"]
WITH_COSTS = [s for s in SETS if s not in ("open7", "openllm2")]
# Constant policies of greenserv, published mean rewards of the runs that followed them (spec 05, 1.10).
PUBLISHED = {"gemma-3-27b": 0.5738, "yi-34b": 0.4860, "qwen2.5-0.5b": 0.6373}


def ask(*args):
    r = subprocess.run([SIGNALBOX, "evaluate", *args, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if r.returncode not in (0, 1):
        raise SystemExit("signalbox evaluate %s: %s" % (" ".join(args), r.stderr))
    return [json.loads(line) for line in r.stdout.splitlines()]


def figure(f):
    return "%+.4f +- %.4f (least %+.4f)" % (f["mean"], f["standard_error"], f["least"])


def online(runs):
    out = {}
    print("\nOnline: 500 queries known beforehand (half of a small set), %d random orders" % runs)
    print("bars: last quarter >= -.01; no run below epsilon-greedy; delay 200 costs <= .01; >= 90 % of a drift recovered in 200 queries")
    for s in SETS:
        folder, n = os.path.join(DATA, s), str(runs)
        plain, late, drift = (ask("online", folder, "--runs", n, *more)[0] for more in ((), ("--delay", "200"), ("--drift",)))
        cost = plain["whole_to_best_fixed"]["mean"] - late["whole_to_best_fixed"]["mean"]
        recovered = drift["recovered"]
        print("  %-11s last quarter %s   over greedy %s\n              delay costs %+.4f   drift recovered %s" % (
            s, figure(plain["last_quarter_to_best_fixed"]), figure(plain["whole_to_epsilon_greedy"]), cost,
            "%.3f +- %.3f" % (recovered["mean"], recovered["standard_error"]) if recovered["mean"] is not None else "- (stream too short)"))
        out[s] = {"plain": plain, "delay": late, "drift": drift}
    return out


def strategies(runs):
    out = {}
    print("\nStrategies: mean reward over all queries after the first 500, against thompson on the same streams, %d random orders" % runs)
    for s in SETS:
        for more in ((), ("--delay", "200"), ("--drift",), ("--newcomer",)):
            got = ask("online", os.path.join(DATA, s), "--runs", str(runs), "--strategy", "thompson,linucb,fixed_share", *more)
            out[" ".join((s,) + more)] = got
            print("  %-11s %-12s %s" % (s, " ".join(more), "  ".join("%s %+.4f +- %.4f" % (
                x["strategy"], x["whole_to_best_fixed_difference"]["mean"], x["whole_to_best_fixed_difference"]["standard_error"]) for x in got[1:])))
    return out


def budget(runs):
    out = {}
    print("\nBudget: shares of the best single model's cost, five folds; bar: most over <= 0 at the quality of pacing without a reserve")
    for s in WITH_COSTS:
        out[s] = ask("budget", os.path.join(DATA, s))
        for b in out[s]:
            print("  %-11s %.2f  quality %.4f  to pacing %+.4f +- %.4f  at equal money %+.4f +- %.4f  most over %+.2f %%  refused %.2f %%" % (
                s, b["budget"], b["quality"], b["difference"], b["standard_error"], b["difference_at_equal_money"],
                b["equal_money_standard_error"], 100 * b["most_over"], 100 * b["refused"]))
    return out


def newcomer(runs):
    out = {}
    print("\nNewcomer: the best model known on few rows; bar: never below without it, >= 90 % of its gain after 100")
    for s in SETS:
        out[s] = ask("newcomer", os.path.join(DATA, s))[0]
        gain = out[s][-1]["difference"]
        print("  %-11s %s" % (s, "  ".join("%s %+.4f +- %.4f (%.0f %%)" % (x["outcomes"] or "all", x["difference"], x["standard_error"],
                                                                         100 * x["difference"] / gain) for x in out[s][1:])))
    return out


def greenserv_log(folder):
    """The uniformly logged run as an access log and an outcomes file."""
    log, outcomes = os.path.join(folder, "access.jsonl"), os.path.join(folder, "outcomes.jsonl")
    with gzip.open(os.path.join(DATA, "greenserv", "log.csv.gz"), "rt") as f:
        rows = [r for r in csv.DictReader(f) if r["policy"] == "random"]
    models = sorted({r["model"] for r in rows})
    arms = [{"model": m, "mean": 0.5, "deviation": 0.1, "count": 0, "chance": 1 / len(models)} for m in models]
    with open(log, "w") as a, open(outcomes, "w") as o:
        for i, r in enumerate(rows):
            a.write(json.dumps({"request_id": "g%d" % i, "status": 200, "decision": r["task"], "model": r["model"],
                                "propensity": float(r["propensity"]), "selection": {"text_hash": r["qid"], "arms": arms}}) + "\n")
            o.write(json.dumps({"request_id": "g%d" % i, "reward": float(r["reward"])}) + "\n")
    return log, outcomes, models


def policy(runs):
    out = {}
    print("\nOff-policy: greenserv's uniform log, constant policies; bar: DR within .015 of the published mean")
    with tempfile.TemporaryDirectory() as folder:
        log, outcomes, models = greenserv_log(folder)
        for m in models:
            got = ask("policy", "--policy", "always:" + m, "--outcomes", outcomes, log)[0]["quality"]
            out[m] = got
            truth = PUBLISHED.get(m)
            print("  %-14s IPS %.4f  SNIPS %.4f  DR %.4f +- %.4f%s" % (m, got["ips"]["mean"], got["snips"]["mean"], got["dr"]["mean"],
                  got["dr"]["standard_error"], "  published %.4f, off by %+.4f" % (truth, got["dr"]["mean"] - truth) if truth else ""))
    return out


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--runs", type=int, default=10)
    p.add_argument("--only", default="online,strategies,budget,newcomer,policy")
    p.add_argument("--out")
    args = p.parse_args()
    if not os.path.isdir(DATA):
        print("no recorded sets at %s (SIGNALBOX_SHARED): nothing to measure" % DATA)
        return
    out = {name: globals()[name](args.runs) for name in args.only.split(",")}
    if args.out:
        with open(args.out, "w") as f:
            json.dump(out, f, indent=1)


if __name__ == "__main__":
    main()
