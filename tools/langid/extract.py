#!/usr/bin/env python3
"""Turn three published n-gram packages into word samples for langid_train.

    extract.py LINGUA_WHEEL LANGIDENTIFY_FULL_WHEEL CJCLASSIFIER_WHEEL OUT_DIR [LANGUAGE...]

The wheels are zip files and are read in place; nothing but the standard library is used.
For every language that shares its script with another one, OUT_DIR/CODE.tsv is written with
lines of SOURCE, WORD, COUNT (tab separated):

  L  words drawn from lingua's models. The models hold exact counts of all letter runs of
     length 1..5 as nested relative frequencies, so the absolute counts come back by
     multiplying along the prefixes. What is missing in a longer count is what touched a word
     boundary: count(abcd) - sum count(abcdX) words ended in abcd. With that the models are a
     complete Markov chain of order four, which is sampled here with a fixed seed.
  T  the word frequency lists ("topwords") of langidentify, as they are; for Chinese and
     Japanese the single characters and pairs of cjclassifier.
"""
import bisect
import gzip
import io
import json
import math
import os
import random
import sys
import zipfile

LATIN = ("af az bs ca cs cy da de en eo es et eu fi fr ga hr hu id is it la lg lt lv mi ms nb nl "
         "nn pl pt ro sk sl sn so sq st sv sw tl tn tr ts vi xh yo zu").split()
OTHERS = "be bg kk mk mn ru sr uk ar fa ur hi mr ja zh".split()
ORDERS = ("uni", "bi", "tri", "quadri", "five")
SAMPLES = 250_000               # pseudo-words drawn per language
WORD_MAX = 24                   # letters; beyond: cut, only Han runs get there
TOPWORDS_MAX = 60_000           # the tail of a list is mostly names and typing errors
TOPWORDS_NAME = {"nb": "no"}
PAIRS = 4_000_000               # a pair of Han characters seen less than once in so many: left out


def load_counts(wheel, lang):
    """Absolute counts of letter n-grams: [{gram: count}] for n = 1..5."""
    tables = []
    for n, order in enumerate(ORDERS):
        name = f"lingua/language-models/{lang}/{order}grams.json.zip"
        if name not in wheel.namelist():                 # Chinese and Japanese
            tables.append({})
            continue
        with zipfile.ZipFile(io.BytesIO(wheel.read(name))) as inner:
            ratios = json.loads(inner.read(inner.namelist()[0]))["ngrams"]
        table = {}
        if n == 0:
            total = max(int(r.split("/")[1]) for r in ratios)
        for ratio, grams in ratios.items():
            above, below = map(int, ratio.split("/"))
            for gram in grams.split(" "):
                table[gram] = (total if n == 0 else tables[-1][gram[:-1]]) * above / below
        tables.append(table)
    return tables


def build_chain(counts):
    """{context: (letters, cumulative counts)}; '^' opens a word, '' as a letter closes it."""
    starts = []                 # counts at the beginning of a word, n = 1..4
    for n in range(4):
        start = dict(counts[n])
        for gram, count in counts[n + 1].items():
            start[gram[1:]] -= count
        starts.append(start)
    following = {}
    for n in range(4):
        for gram, count in starts[n].items():
            if count > 0.5:
                following.setdefault("^" + gram[:-1], []).append((gram[-1], count))
    for gram, count in counts[4].items():
        following.setdefault(gram[:-1], []).append((gram[-1], count))
    chain = {}
    for context, nexts in following.items():
        nexts.sort()
        if context == "^":
            whole = 0
        elif context[0] == "^":
            whole = starts[len(context) - 2][context[1:]]
        else:
            whole = counts[3][context]
        letters, sums, total = [], [], 0.0
        for letter, count in nexts:
            total += count
            letters.append(letter)
            sums.append(total)
        if whole - total > 0.5:
            letters.append("")
            sums.append(whole)
        chain[context] = (letters, sums)
    return chain


def draw(chain, rng):
    word = ""
    while len(word) < WORD_MAX:
        context = "^" + word if len(word) < 4 else word[-4:]
        if context not in chain:
            break
        letters, sums = chain[context]
        letter = letters[min(bisect.bisect(sums, rng.random() * sums[-1]), len(letters) - 1)]
        if not letter:
            break
        word += letter
    return word


def write_language(lingua, topwords, lang, out_dir):
    rng = random.Random(lang)
    chain = build_chain(load_counts(lingua, lang))
    drawn = {}
    for _ in range(SAMPLES):
        word = draw(chain, rng)
        drawn[word] = drawn.get(word, 0) + 1
    with open(os.path.join(out_dir, lang + ".tsv"), "w", encoding="utf-8") as out:
        for word, count in sorted(drawn.items()):
            out.write(f"L\t{word}\t{count}\n")
        name = f"langidentify_full_model/data/topwords-{TOPWORDS_NAME.get(lang, lang)}.txt.gz"
        if name not in topwords.namelist():
            return
        lines = gzip.decompress(topwords.read(name)).decode("utf-8").splitlines()
        total = int(lines[0].split()[2])                 # "# Count: N MinLogProb: ..."
        for line in lines[1:TOPWORDS_MAX + 1]:
            word, log_prob = line.split()[:2]
            out.write(f"T\t{word}\t{max(1, round(total * math.exp(float(log_prob))))}\n")


def write_han(cjclassifier, out_dir):
    """Lines are TEXT and one log probability each for simplified, traditional, Japanese."""
    lines = gzip.decompress(cjclassifier.read("cjclassifier/cjlogprobs.gz")).decode("utf-8")
    with (open(os.path.join(out_dir, "zh.tsv"), "a", encoding="utf-8") as chinese,
          open(os.path.join(out_dir, "ja.tsv"), "a", encoding="utf-8") as japanese):
        for line in lines.splitlines()[1:]:
            text, *logs = line.split()
            simple, classic, ja = (math.exp(float(x)) if float(x) else 0.0 for x in logs)
            for out, share in ((chinese, (simple + classic) / 2), (japanese, ja)):
                if share * PAIRS >= 1:
                    out.write(f"T\t{text}\t{round(share * PAIRS)}\n")


def main():
    lingua, topwords, cjclassifier = map(zipfile.ZipFile, sys.argv[1:4])
    for lang in sys.argv[5:] or LATIN + OTHERS:
        write_language(lingua, topwords, lang, sys.argv[4])
        print(lang, file=sys.stderr, flush=True)
    if not sys.argv[5:]:
        write_han(cjclassifier, sys.argv[4])


if __name__ == "__main__":
    main()
