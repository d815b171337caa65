#!/usr/bin/env python3
"""Quality of the personal data recognisers, per type with 95 % intervals.

Usage: evaluate.py structured [--prompts FILE.jsonl] [--half 0|1] [--mistakes N]
       evaluate.py names [--source NAME]...
       evaluate.py alarms FILE...              (.jsonl.gz with "text", or plain files)
Needs build/pii_dump (PII_DUMP overrides):
       cc -O3 -Isrc -Wa,-Isrc -o build/pii_dump tools/pii/pii_dump.c src/signal/pii_*.c src/base/str.c src/base/utf8.c -lutf8proc -lm

`structured` scores all types of the scanner on ../shared/data/signals/pii (SIGNALBOX_SHARED overrides), own-synthetic in two halves of
its templates (half 1 was never looked at while rules were written), or on texts of generate.py. A span counts as found when a span of
its type covers it to at least half of their union; `exact` says how often the ends agree. Every span of a structured type that matches
nothing is a false one. `names` scores people, organisations and places by exact ends. Threshold 0.5."""
import argparse
import collections
import gzip
import hashlib
import json
import math
import os
import pathlib
import random
import re
import struct
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get("SIGNALBOX_SHARED", ROOT.parent / "shared")) / "data" / "signals"
DUMP = os.environ.get("PII_DUMP", str(ROOT / "build" / "pii_dump"))
THRESHOLD = 0.5
ACCEPTS = {"EMAIL": {"EMAIL_ADDRESS"}, "PHONE": {"PHONE_NUMBER"}, "ADDRESS": {"STREET_ADDRESS"}, "ZIP": {"ZIP_CODE", "STREET_ADDRESS"},
           "CREDIT_CARD": {"CREDIT_CARD"}, "IBAN": {"IBAN_CODE"}, "SSN": {"US_SSN", "NATIONAL_ID"}, "IP": {"IP_ADDRESS"},
           "DOB": {"DATE_OF_BIRTH"}, "PASSPORT": {"PASSPORT"}, "ACCOUNT": {"ACCOUNT_NUMBER"}, "API_KEY": {"API_KEY"},
           "USERNAME": {"USERNAME"}, "PASSWORD": {"PASSWORD"}, "MAC": {"MAC_ADDRESS"}, "CRYPTO": {"CRYPTO_ADDRESS"},
           "DRIVER_LICENSE": {"US_DRIVER_LICENSE"}}
GOLD = {ours: gold for gold, all_ours in ACCEPTS.items() for ours in all_ours if (gold, ours) != ("ZIP", "STREET_ADDRESS")}
NAMES = {"PERSON": "PERSON", "ORG": "ORGANIZATION", "LOCATION": "GPE"}
TITLES = {"mr", "mrs", "ms", "dr", "miss", "prof", "mr.", "mrs.", "ms.", "dr.", "prof."}


def dump(texts, mode="find"):
    data = b"".join(struct.pack("<I", len(t.encode())) + t.encode() for t in texts)
    lines = subprocess.run([DUMP, mode], input=data, capture_output=True, check=True).stdout.decode().split("\n")
    spans, at = [[] for _ in texts], 0
    for line in lines:
        if not line:
            at += 1
            continue
        start, end, score, kind = line.split()
        spans[at].append((int(start), int(end), float(score), kind))
    return spans


def wilson(hits, n):
    if n == 0:
        return 0.0, 1.0
    z, p = 1.96, hits / n
    centre, spread = p + z * z / 2 / n, z * math.sqrt(p * (1 - p) / n + z * z / 4 / n / n)
    return (centre - spread) / (1 + z * z / n), min(1.0, (centre + spread) / (1 + z * z / n))


def overlap(a, b):
    inner = min(a[1], b[1]) - max(a[0], b[0])
    return inner / (max(a[1], b[1]) - min(a[0], b[0])) if inner > 0 else 0


def shared_rows():
    return [json.loads(line) for line in gzip.open(SHARED / "pii" / "data.jsonl.gz")]


def template_of(row):
    """own-synthetic says no template: the text with its spans (or, without any, its numbers) taken out."""
    text, out, at = row["text"].encode(), b"", 0
    for s in sorted(row["spans"], key=lambda s: s["start"]):
        out += text[at:s["start"]] + b"{" + s["type"].encode() + b"}"
        at = s["end"]
    out = (out + text[at:]).decode()
    if not row["spans"]:
        out = " ".join(re.sub(r"[A-Za-z0-9]*\d[\w.-]*", "#", w) for w in out.split())
    return re.sub(r"set \w+=", "set X=", out)


def own_half(row):
    return int(hashlib.sha256(template_of(row).encode()).hexdigest(), 16) & 1


def structured(name, rows, find=None, mistakes=0):
    found = (find or (lambda texts: dump(texts, "scan")))([r["text"] for r in rows])
    hits, exact, missed, false = (collections.Counter() for _ in range(4))
    clean = alarmed = 0
    bad = []
    for row, spans in zip(rows, found):
        gold = [s for s in row["spans"] if s["type"] in ACCEPTS]
        spans = [s for s in spans if s[2] >= THRESHOLD and s[3] in GOLD]
        used = set()
        for g in gold:
            matches = [i for i, s in enumerate(spans) if s[3] in ACCEPTS[g["type"]] and overlap((g["start"], g["end"]), s) >= .5]
            hits[g["type"]] += bool(matches)
            missed[g["type"]] += not matches
            exact[g["type"]] += any(spans[i][:2] == (g["start"], g["end"]) for i in matches)
            used.update(matches)
            if not matches:
                bad.append(("missed", g["type"], row["text"].encode()[g["start"]:g["end"]].decode(), row["text"][:150]))
        for i, s in enumerate(spans):
            if i not in used:
                false[GOLD[s[3]]] += 1
                bad.append(("false", s[3], row["text"].encode()[s[0]:s[1]].decode(errors="replace"), row["text"][:150]))
        if not row["spans"]:
            clean += 1
            alarmed += bool(spans)
    print(f"{name}: {len(rows)} texts")
    for kind in sorted(set(hits) | set(false)):
        report(kind, hits[kind], hits[kind] + missed[kind], false[kind], exact[kind])
    report("all", sum(hits.values()), sum(hits.values()) + sum(missed.values()), sum(false.values()), sum(exact.values()))
    print(f"  false alarms on texts without personal data: {alarmed} of {clean}")
    random.Random(0).shuffle(bad)
    for b in bad[:mistakes]:
        print("   ", b)


def report(kind, hits, n, false, exact):
    r, p = wilson(hits, n), wilson(hits, hits + false)
    print(f"  {kind:15} n {n:5}  recall {hits / max(n, 1):.3f} [{r[0]:.3f}, {r[1]:.3f}]  precision {hits / max(hits + false, 1):.3f} "
          f"[{p[0]:.3f}, {p[1]:.3f}]  exact {exact / max(n, 1):.3f}  false {false}")


def clean_names(row):
    """Names of a row, and what is not judged: handles of tweets (user names), titles alone, addresses."""
    text, gold, ignored = row["text"].encode(), [], []
    for s in row["spans"]:
        value, before = text[s["start"]:s["end"]].decode(), text[:s["start"]].rstrip()
        is_odd = value.startswith("@") or before.endswith(b"@") or value.lower() in TITLES
        if s["type"] == "ADDRESS" or (s["type"] in NAMES and is_odd):
            ignored.append((s["start"], s["end"]))
        elif s["type"] in NAMES:
            gold.append((s["start"], s["end"], NAMES[s["type"]]))
    return gold, ignored


def names(name, rows, kinds, find=None):
    found = (find or (lambda texts: dump(texts, "find")))([r["text"] for r in rows])
    counts = []
    for row, spans in zip(rows, found):
        gold, ignored = clean_names(row)
        spans = {(s[0], s[1], s[3]) for s in spans if s[2] >= THRESHOLD and s[3] in kinds and not any(overlap(s, i) for i in ignored)}
        one = {}
        for k in kinds:
            g, p = {x for x in gold if x[2] == k}, {x for x in spans if x[2] == k}
            one[k] = (len(g & p), len(g), len(p), sum(any(overlap(x, y) >= .5 for y in p) for x in g),
                      sum(any(overlap(x, y) >= .5 for y in g) for x in p))
        counts.append(one)

    def sums(sample, which):
        return [sum(c[k][i] for c in sample for k in which) for i in range(5)]

    def f1(hits, n, told, *_):
        return 2 * hits / max(n + told, 1)

    print(f"{name}: {len(rows)} texts")
    chance = random.Random(0)
    for which in [(k,) for k in kinds] + ([tuple(kinds)] if len(kinds) > 1 else []):
        v = sums(counts, which)
        spread = sorted(f1(*sums(chance.choices(counts, k=len(counts)), which)) for _ in range(200))
        over_r, over_p = v[3] / max(v[1], 1), v[4] / max(v[2], 1)
        print(f"  {'+'.join(which):25} n {v[1]:5}  F1 {f1(*v):.3f} [{spread[4]:.3f}, {spread[195]:.3f}]  precision {v[0] / max(v[2], 1):.3f}  "
              f"recall {v[0] / max(v[1], 1):.3f}  by half overlap {2 * over_r * over_p / max(over_r + over_p, 1e-9):.3f}")


def sets(half):
    rows = shared_rows()
    own = [r for r in rows if r["source"] == "own-synthetic"]
    yield "own-synthetic, templates of half 0", [r for r in own if own_half(r) == 0]
    yield "own-synthetic, templates of half 1 (held out)", [r for r in own if own_half(r) == 1]
    yield "presidio-generated", [r for r in rows if r["source"] == "presidio-generated"]


def alarms(files):
    counts, n, hit, size = collections.Counter(), 0, 0, 0
    for path in files:
        if path.endswith(".jsonl.gz"):
            texts = [json.loads(line) for line in gzip.open(path)]
            texts = [t for t in (r.get("text") or r.get("prompt") for r in texts) if isinstance(t, str)]
        else:
            texts = [pathlib.Path(path).read_text(errors="ignore")]
        for spans in dump(texts, "scan"):
            spans = [s for s in spans if s[2] >= THRESHOLD and s[3] in GOLD]
            hit += bool(spans)
            counts.update(s[3] for s in spans)
        n += len(texts)
        size += sum(map(len, texts))
    print(f"{n} texts, {size / 1e6:.1f} MB: {hit} with a span; {dict(counts)}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["structured", "names", "alarms"])
    parser.add_argument("files", nargs="*")
    parser.add_argument("--prompts")
    parser.add_argument("--half", type=int)
    parser.add_argument("--source", action="append")
    parser.add_argument("--mistakes", type=int, default=0)
    a = parser.parse_args()
    if a.what == "alarms":
        return alarms(a.files)
    if a.prompts:
        rows = [json.loads(line) for line in open(a.prompts)]
        rows = [r for r in rows if a.half is None or r["half"] == a.half]
        if a.what == "structured":
            return structured(a.prompts, rows, mistakes=a.mistakes)
        return names(a.prompts, rows, ["PERSON"])
    if not (SHARED / "pii").exists():
        return print(f"{SHARED}: no data there; skipped")
    if a.what == "structured":
        for name, rows in sets(a.half):
            structured(name, rows, mistakes=a.mistakes)
    else:
        for source in a.source or ["btc", "wikigold", "presidio-generated", "own-synthetic"]:
            names(source, [r for r in shared_rows() if r["source"] == source],
                  ["PERSON"] if source == "own-synthetic" else ["PERSON", "ORGANIZATION", "GPE"])


if __name__ == "__main__":
    main()
