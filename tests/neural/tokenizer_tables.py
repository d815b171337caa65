#!/usr/bin/env python3
"""Writes src/neural/tokenizer_tables.h: the character classes of Hugging Face `tokenizers`, asked from the library itself.

The library is built of parts that know Unicode as of different years (its regular expressions 16.0, its punctuation 8.0, its
normaliser 9.0, its lower case the newest), so no single table of a Unicode library can equal it. Every code point is put to
it, one by one, and the answer kept as ranges. Usage: tests/neural/tokenizer_tables.py > src/neural/tokenizer_tables.h
"""
import ctypes
import struct
import sys
import textwrap

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

CODES = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
TEXT = "".join(map(chr, CODES))
CATEGORIES = "Cn Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co".split()


def matches(pattern):
    rest = set(map(ord, normalizers.Replace(Regex(pattern), "").normalize_str(TEXT)))
    return [c for c in CODES if c not in rest]


def removed(normalizer):
    return [c for c in CODES if normalizer.normalize_str(chr(c)) == ""]


def splits(pre_tokenizer):
    return [c for c in CODES if len(pre_tokenizer.pre_tokenize_str("a" + chr(c) + "a")) == 3]


def ranges(codes):
    out = []
    for c in sorted(codes):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def charsmap():
    """A Precompiled map that turns a into b: what hangs on an a in one grapheme of under six bytes vanishes with it."""
    units = [0] * 2048
    units[0], at, leaf = 256 << 10, 256 ^ 0x61, 1024
    units[at], units[leaf] = 0x61 | 1 << 8 | (at ^ leaf) << 10, 1 << 31
    blob = struct.pack("<2048I", *units)
    return normalizers.Precompiled(struct.pack("<I", len(blob)) + blob + b"b\0")


def table(name, comment, items):
    print(f"\n/* {comment} */\nstatic const {name}[] = {{")
    print(textwrap.fill(" ".join(item.replace(" ", "~") + "," for item in items), 130, initial_indent="    ",
                        subsequent_indent="    ").replace("~", " "))
    print("};")


def range_table(name, comment, codes):
    table(f"struct code_range {name}", comment, ["{0x%X, 0x%X}" % (a, b) for a, b in ranges(codes)])


def main():
    print(f"""/* neural/tokenizer_tables.h -- character classes as `tokenizers` {tokenizers.__version__} sees them.
 *
 * Made by tests/neural/tokenizer_tables.py, which says why they are what they are. Included by tokenizer_unicode.c alone. */
#ifndef SBX_TOKENIZER_TABLES_H
#define SBX_TOKENIZER_TABLES_H

#include "neural/tokenizer_unicode.h\"""")
    category = {}
    for number, name in enumerate(CATEGORIES[1:], 1):
        if name != "Cs":
            category.update((c, number) for c in matches(r"\p{%s}" % name))
    runs, last = [], None
    for c in range(0x110000):
        k = CATEGORIES.index("Cs") if 0xD800 <= c < 0xE000 else category.get(c, 0)
        if k != last:
            runs.append("0x%X" % (c << 5 | k))
            last = k
    table("uint32_t category_runs", "First code point of a run << 5 | enum category, for regular expressions.", runs)
    range_table("han_ranges", r"\p{Han}", matches(r"\p{Han}"))
    bert = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    range_table("control_ranges", "What clean_text removes.", removed(normalizers.BertNormalizer(**bert | {"clean_text": True})))
    range_table("nonspacing_ranges", "What strip_accents of BertNormalizer removes.",
                removed(normalizers.BertNormalizer(**bert | {"strip_accents": True})))
    combining = removed(normalizers.StripAccents())
    range_table("combining_ranges", "What StripAccents removes; nothing else has a combining class.", combining)
    range_table("punctuation_ranges", "What BertPreTokenizer and Punctuation isolate.", splits(pre_tokenizers.Punctuation()))
    range_table("numeric_ranges", "What Digits isolates.", splits(pre_tokenizers.Digits(individual_digits=True)))
    join = charsmap()
    extend = [c for c in CODES if join.normalize_str("a" + chr(c)) == "b"]
    range_table("extend_ranges", "Grapheme_Cluster_Break Extend, SpacingMark, ZWJ.", extend)
    known = set(extend)
    range_table("prepend_ranges", "Grapheme_Cluster_Break Prepend.", [
        c for c in CODES if c >= 0x80 and c not in known and join.normalize_str(chr(c) + "a\u20d0").endswith("\u20d0")])

    lower, runs = normalizers.Lowercase(), []
    for c in CODES:
        to = lower.normalize_str(chr(c))
        if to == chr(c) or len(to) > 1:
            continue
        by = ord(to) - c
        if runs and runs[-1][3] == by and (c - runs[-1][1] == runs[-1][2] or runs[-1][0] == runs[-1][1] and c - runs[-1][1] <= 2):
            runs[-1][2] = c - runs[-1][1]
            runs[-1][1] = c
        else:
            runs.append([c, c, 1, by])
    table("struct lower_run lower_runs", "Lower case: first, last, step, what to add. U+0130 alone becomes two, in the code.",
          ["{0x%X, 0x%X, %d, %d}" % tuple(r) for r in runs])
    whole = [c for c in CODES if decomposes_later(c)]
    range_table("whole_ranges", "Decompose in Unicode today, but not here.", whole)
    print("\n#endif")


def decomposes_later(c):
    """utf8proc decomposes it, which tokenizer_unicode.c asks, but not the library, whose normaliser is older."""
    out = (ctypes.c_int32 * 32)()
    for options, ours in FORMS:
        n = UTF8PROC.utf8proc_decompose_char(c, out, 32, options, None)
        if chr(c) == ours.normalize_str(chr(c)) and list(out[:n]) != [c]:
            return True
    return False


UTF8PROC = ctypes.CDLL("libutf8proc.so.2")
FORMS = [(1 << 4, normalizers.NFD()), (1 << 4 | 1 << 2, normalizers.NFKD())]     # UTF8PROC_DECOMPOSE, UTF8PROC_COMPAT
sys.exit(main())
