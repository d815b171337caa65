#!/usr/bin/env python3
"""Makes rows for `signalbox evaluate signals --signal jailbreak`: what tools bring back, with and without one sentence of an attack in it.

Attacks and carriers are of sources that the shipped heads have not learned from: short attacks of neuralchemy, sentences of the web pages and
transcripts of the groundedness data. Four forms: a search's six titles and snippets, a page with its address, three mails (all JSON), and
the page as plain text. A row with label 1 has the same carrier as one with label 0, so what differs is the attack.

    python3 tools/heads/tool_results.py DATA --as raw|strings|lines [--rows N] [--seed N] > rows.jsonl

DATA is the folder that holds jailbreak/ and groundedness/. --as says what a guard would be given of a JSON result: its text as it is, the
strings in it one a line, or the strings with their keys; src/signal/results.c does the last but for plain texts.
"""
import argparse
import gzip
import json
import os
import random
import re
import sys


def rows_of(path):
    with gzip.open(path, "rt", encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def attacks_of(folder):
    """One line of 9 to 39 words, each once."""
    seen = {}
    for r in rows_of(os.path.join(folder, "jailbreak", "data.jsonl.gz")):
        text = " ".join(r["text"].split())
        if r["source"] == "neuralchemy" and r["label"] == 1 and "\n" not in r["text"].strip() and 9 <= len(text.split()) <= 39:
            seen.setdefault(text.lower(), text)
    return list(seen.values())


def carriers_of(folder):
    """Documents as lists of sentences."""
    seen = {}
    for r in rows_of(os.path.join(folder, "groundedness", "data.jsonl.gz")):
        if r["source"].startswith(("wice", "summedits")):
            seen.setdefault(r["context"], [s for s in re.split(r"(?<=[.!?])\s+", r["context"].strip()) if s])
    return [s for s in seen.values() if len(s) >= 6]


def put(sentences, attack, rng):
    """The attack between two sentences, or where it was drawn to be when there is none."""
    at = rng.randint(1, len(sentences))
    return sentences[:at] + ([attack] if attack else []) + sentences[at:]


def prose(sentences, rng):
    return "".join(s + ("\n\n" if rng.random() < .2 else " ") for s in sentences).strip()


def search(docs, attack, rng):
    hit = rng.randrange(6)
    cut = [d[(at := rng.randrange(max(1, len(d) - 3))):at + 3] for d in docs]
    return {"query": " ".join(docs[0][0].split()[:5]), "results": [
        {"rank": i + 1, "title": " ".join(d[0].split()[:8]), "url": "https://example.org/%d" % rng.randrange(10**6),
         "snippet": " ".join(put(c, attack if i == hit else None, rng))} for i, (d, c) in enumerate(zip(docs, cut))]}


def page(docs, attack, rng):
    return {"url": "https://example.org/%d" % rng.randrange(10**6), "status": 200, "title": " ".join(docs[0][0].split()[:8]),
            "content": prose(put(docs[0][:40], attack, rng), rng)}


def mails(docs, attack, rng):
    hit = rng.randrange(3)
    return [{"id": "m%d" % rng.randrange(10**4), "from": "ann@example.org", "subject": " ".join(d[1].split()[:6]), "unread": i == 0,
             "body": "Hi,\n\n" + prose(put(d[2:10], attack if i == hit else None, rng), rng) + "\n\nBest,\nAnn"}
            for i, d in enumerate(docs[:3])]


def plain(docs, attack, rng):
    return prose(put(docs[0][:40], attack, rng), rng)


def strings(v, key=None, keys=False):
    if isinstance(v, dict):
        return [s for k, w in v.items() for s in strings(w, k, keys)]
    if isinstance(v, list):
        return [s for w in v for s in strings(w, key, keys)]
    if not isinstance(v, str) and not keys:
        return []
    text = v if isinstance(v, str) else json.dumps(v)
    return ["%s: %s" % (key, text) if keys and key else text]


def spelled(v, how, rng):
    if isinstance(v, str):
        return v
    if how == "raw":
        return json.dumps(v, ensure_ascii=False, indent=2 if rng.random() < .3 else None)
    return "\n".join(strings(v, keys=how == "lines"))


def main():
    p = argparse.ArgumentParser(description="what tools bring back, with and without an attack in it")
    p.add_argument("data")
    p.add_argument("--as", dest="how", choices=("raw", "strings", "lines"), default="lines")
    p.add_argument("--rows", type=int, default=400, help="of each form and label (default 400)")
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    attacks, carriers = attacks_of(a.data), carriers_of(a.data)
    rng = random.Random(a.seed)
    rng.shuffle(attacks)
    rng.shuffle(carriers)
    print("%d attacks, %d carriers" % (len(attacks), len(carriers)), file=sys.stderr)
    for form in (search, page, mails, plain):
        for i in range(a.rows):
            docs = [carriers[(i * 6 + k) % len(carriers)] for k in range(6)]
            for label in (1, 0):
                one = random.Random("%d %s %d" % (a.seed, form.__name__, i))    # the same carrier for both labels and for every --as
                text = spelled(form(docs, attacks[i % len(attacks)] if label else None, one), a.how, one)
                print(json.dumps({"text": text, "label": label, "source": form.__name__}, ensure_ascii=False))


if __name__ == "__main__":
    main()
