#!/usr/bin/env python3
"""Compares our tokenizer with Hugging Face `tokenizers` on the torture corpus: numbers, byte offsets, types, special flags.

Usage: tests/neural/tokenizer_oracle.py [--full | --lines N | --codes] [--seed S] [--only NAME] [--show N] [TOKENIZER.json ...]
Without files: the tokenizer.json of the default model if it is found, and ones trained here that have the parts of RoBERTa, ModernBERT,
Llama-3, XLM-R, DeBERTa-v3, Gemma, and mixtures of the rest. Prints `N identical, M different`; exit 1 if any is. Skips where the
Python package is absent. --codes: every code point instead of the corpus.
"""
import argparse
import base64
import codecs
import glob
import json
import os
import pathlib
import struct
import subprocess
import sys
import unicodedata

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build/oracle"
sys.path.insert(0, str(pathlib.Path(__file__).parent))

try:
    from tokenizers import (AddedToken, Regex, Tokenizer, __version__, decoders, models, normalizers, pre_tokenizers, processors, trainers)
except ImportError:
    print("tokenizer_oracle: skipped, the Python package `tokenizers` is not installed")
    sys.exit(0)
from programs import program  # noqa: E402
from tokenizer_corpus import codes, corpus, sentences  # noqa: E402

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CL100K = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def charsmap():
    """A character map as SentencePiece's nmt_nfkc has it, in its format: a double array and the texts it leads to."""
    pairs = {c.encode(): " " for c in "\t\n\x0c\r\u1680\u200b\u200e\u200f\u2028\u2029\u2581\ufeff\ufffd\x85"}
    pairs.update({chr(c).encode(): "" for c in [*range(1, 9), 0xB, *range(0xE, 0x20), 0x7F, 0x8F, 0x9F]})
    for c in range(0x80, 0x2FA1E):
        if not 0xD800 <= c < 0xE000:
            for text in {chr(c), unicodedata.normalize("NFD", chr(c))}:
                to = unicodedata.normalize("NFKC", text)
                if to != text:
                    pairs.setdefault(text.encode(), to)
    texts, at_text = bytearray(b"\0"), {"": 0}
    for to in pairs.values():
        if to not in at_text:
            at_text[to] = len(texts)
            texts += to.encode() + b"\0"
    trie = {}
    for key, to in pairs.items():
        node = trie
        for byte in key:
            node = node.setdefault(byte, {})
        node[0] = at_text[to]
    units, free = {0: 0}, 1
    queue = [(trie, 0)]
    while queue:
        node, at = queue.pop()
        base = (free + 256) & ~255
        while any(base ^ label in units for label in node):
            base += 1
        free = max(free, base - 1024)
        offset = at ^ base
        assert offset < 1 << 21
        units[at] |= offset << 10 | (256 if 0 in node else 0)
        for label, child in node.items():
            units[base ^ label] = 1 << 31 | child if label == 0 else label
            if label:
                queue.append((child, base ^ label))
    array = [0x80000000] * (max(units) + 256)
    for at, unit in units.items():
        array[at] = unit
    blob = struct.pack(f"<{len(array)}I", *array)
    return struct.pack("<I", len(blob)) + blob + bytes(texts)


def trained():
    """name -> a function that trains it on lines of text."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    letters = pre_tokenizers.ByteLevel.alphabet()

    def bpe(t, lines, size=12000, specials=(), **more):
        t.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=size, special_tokens=list(specials), show_progress=False, **more))
        return t

    def roberta(lines):
        t = Tokenizer(models.BPE())
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bpe(t, lines, specials=special, initial_alphabet=letters)
        t.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
        t.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
        return t

    def modernbert(lines):
        t = Tokenizer(models.BPE())
        t.normalizer = normalizers.NFC()
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        bpe(t, lines, specials=["<|padding|>", "<|endoftext|>"], initial_alphabet=letters)
        t.add_tokens([AddedToken(" " * n, normalized=True) for n in range(24, 1, -1)])
        t.add_special_tokens(["[UNK]", "[CLS]", "[SEP]", "[PAD]", AddedToken("[MASK]", lstrip=True, normalized=False)])
        cls, sep = t.token_to_id("[CLS]"), t.token_to_id("[SEP]")
        t.post_processor = processors.TemplateProcessing(single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
                                                         special_tokens=[("[CLS]", cls), ("[SEP]", sep)])
        return t

    def llama(pattern, ignores):
        def make(lines):
            t = Tokenizer(models.BPE(ignore_merges=ignores))
            t.pre_tokenizer = pre_tokenizers.Sequence([
                pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
            bpe(t, lines, specials=["<|begin_of_text|>", "<|endoftext|>"], initial_alphabet=letters)
            t.post_processor = processors.Sequence([
                processors.ByteLevel(trim_offsets=True, add_prefix_space=True), processors.TemplateProcessing(
                    single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1", special_tokens=[("<|begin_of_text|>", 0)])])
            return t
        return make

    def unigram(normalizer, pre, **more):
        def make(lines):
            t = Tokenizer(models.Unigram())
            t.normalizer, t.pre_tokenizer = normalizer(), pre
            alphabet = [f"<0x{i:02X}>" for i in range(256)] if more else []
            t.train_from_iterator(sentences(), trainers.UnigramTrainer(vocab_size=12000, special_tokens=special + alphabet, unk_token="<unk>",
                                                                 show_progress=False))
            j = json.loads(t.to_str())
            j["model"].update(more)
            t = Tokenizer.from_str(json.dumps(j))
            t.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
            t.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>",
                                                             special_tokens=[("<s>", 0), ("</s>", 2)])
            return t
        return make

    def gemma(lines):
        t = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
        t.normalizer = normalizers.Replace(" ", "▁")
        t.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")       # for training: words; the file below has Gemma's own
        bytes_ = [f"<0x{i:02X}>" for i in range(256)]
        bpe(t, lines, 20000, ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"] + bytes_, max_token_length=16, limit_alphabet=2000)
        j = json.loads(t.to_str())
        j["added_tokens"] = [a for a in j["added_tokens"] if not a["content"].startswith("<0x")]
        j["pre_tokenizer"] = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
        for i, content in enumerate(["<start_of_turn>", "\n\n", "\n\n\n", "▁▁", "▁▁▁"]):
            j["added_tokens"].append({"id": 30000 + i, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
                                      "normalized": False, "special": content[0] == "<"})
        known = j["model"]["vocab"]
        for a in j["added_tokens"]:
            a["id"] = known.setdefault(a["content"], len(known))
        j["post_processor"] = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<bos>", "type_id": 0}}, {"Sequence": {
            "id": "A", "type_id": 0}}], "pair": [{"SpecialToken": {"id": "<bos>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "<bos>", "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<bos>": {"id": "<bos>", "ids": [2], "tokens": ["<bos>"]}}}
        return Tokenizer.from_str(json.dumps(j))

    def mixture(normalizer, pre, model, trainer, added=(), post=None):
        def make(lines):
            t = Tokenizer(model())
            t.normalizer, t.pre_tokenizer = normalizer, pre
            t.train_from_iterator(lines, trainer())
            t.add_tokens(list(added))
            if post:
                t.post_processor = post
            return t
        return make

    def quiet(kind, **more):
        return lambda: kind(show_progress=False, **more)

    nz, pt = normalizers, pre_tokenizers
    precompiled = lambda: nz.Precompiled(charsmap())  # noqa: E731
    odd = [AddedToken("word", single_word=True), AddedToken("café", normalized=True), AddedToken("[mask]", rstrip=True, lstrip=True),
           AddedToken("ing", single_word=True, normalized=False), AddedToken("  ", normalized=False), AddedToken("Ding", rstrip=True)]
    return {
        "roberta": roberta,
        "modernbert": modernbert,
        "llama3": llama(LLAMA3, True),
        "cl100k": llama(CL100K, False),
        "o200k": llama(O200K, False),
        "xlm-r": unigram(lambda: nz.Sequence([precompiled(), nz.Replace(Regex(" {2,}"), " ")]),
                         pt.Metaspace("▁", prepend_scheme="always")),
        "xlm-r-words": unigram(precompiled, pt.Sequence([pt.WhitespaceSplit(), pt.Metaspace("▁", prepend_scheme="always")])),
        "deberta-v3": unigram(lambda: nz.Sequence([nz.Strip(), precompiled(), nz.Replace(Regex(" {2,}"), " ")]),
                              pt.Sequence([pt.Metaspace("▁", prepend_scheme="first"), pt.Punctuation(), pt.Digits(individual_digits=True)])),
        "unigram-bytes": unigram(lambda: nz.Sequence([nz.Nmt(), nz.NFKC(), nz.Prepend("▁")]), pt.Metaspace("▁", prepend_scheme="never"),
                                 byte_fallback=True),
        "gemma": gemma,
        "mixture-1": mixture(nz.Sequence([nz.NFD(), nz.Lowercase(), nz.StripAccents()]), pt.Whitespace(),
                             lambda: models.BPE(unk_token="[UNK]", fuse_unk=True, continuing_subword_prefix="##", end_of_word_suffix="</w>"),
                             quiet(trainers.BpeTrainer, vocab_size=6000, special_tokens=["[UNK]"], limit_alphabet=300,
                                   continuing_subword_prefix="##", end_of_word_suffix="</w>"), odd,
                             processors.BertProcessing(("[UNK]", 0), ("[UNK]", 0))),
        "mixture-2": mixture(nz.Sequence([nz.NFKD(), nz.Strip(left=True, right=False), nz.Replace(Regex(r"\p{N}+"), "0"), nz.Replace("a", "bc")]),
                             pt.Sequence([pt.Digits(individual_digits=False), pt.Punctuation("contiguous"), pt.Split(" ", "merged_with_previous")]),
                             lambda: models.BPE(unk_token="[UNK]"), quiet(trainers.BpeTrainer, vocab_size=6000, special_tokens=["[UNK]"],
                                                                          limit_alphabet=300), odd),
        "mixture-3": mixture(nz.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=True),
                             pt.Sequence([pt.Split(Regex(r"\w+"), "merged_with_next"), pt.Split(Regex(r"[aeiou]"), "merged_with_previous")]),
                             lambda: models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20),
                             quiet(trainers.WordPieceTrainer, vocab_size=6000, special_tokens=["[UNK]"], limit_alphabet=800), odd,
                             processors.ByteLevel(trim_offsets=True, add_prefix_space=False)),
        "mixture-4": mixture(nz.Sequence([nz.ByteLevel()]), pt.Sequence([pt.Split(Regex(r"Ġ"), "removed"), pt.Split("e", "contiguous")]),
                             lambda: models.BPE(), quiet(trainers.BpeTrainer, vocab_size=3000, initial_alphabet=letters), odd),
        "mixture-5": mixture(nz.Sequence([nz.NFC(), nz.Lowercase(), nz.NFKC(), nz.Strip(left=False, right=True)]), pt.Sequence([
            pt.Split(Regex(r"\s+|\p{Han}|\w{1,4}?(?=\p{Ll})"), "removed", invert=True), pt.CharDelimiterSplit("x"), pt.ByteLevel(add_prefix_space=True)]),
                             lambda: models.BPE(), quiet(trainers.BpeTrainer, vocab_size=3000, initial_alphabet=letters), odd,
                             processors.ByteLevel(trim_offsets=True, add_prefix_space=True)),
    }


def decoded(line):
    """The text, and for each of its characters the byte of the line where it begins; at last, where the line ends."""
    starts, at, spans = [], 0, []

    def on_error(error):
        spans.append((error.start, error.end))
        return "\ufffd", error.end

    codecs.register_error("spans", on_error)
    text = line.decode("utf-8", "spans")
    assert text == line.decode("utf-8", "replace")
    broken = dict(spans)
    for c in text:
        starts.append(at)
        at = broken[at] if c == "\ufffd" and at in broken else at + len(c.encode())
    starts.append(at)
    assert at == len(line)
    return text, starts


def compare(name, path, lines, shows):
    dump = program("tokenizer_dump")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    identical = different = 0
    hexes = "".join(line.hex() + "\n" for line in lines).encode()
    for mode in ("", "pair", "bare"):
        some = lines if mode == "" else lines[:len(lines) // 20]
        feed = hexes if mode == "" else "".join(line.hex() + "\n" for line in some).encode()
        got = subprocess.run([dump, str(path)] + ([mode] if mode else []), input=feed, stdout=subprocess.PIPE, check=True)
        answers = got.stdout.decode().split("\n")
        assert len(answers) == len(some) + 1, f"{name}: {len(answers) - 1} answers to {len(some)} lines"
        for start in range(0, len(some), 1000):
            part = some[start:start + 1000]
            halves = [(line[:len(line) // 2], line[len(line) // 2:]) if mode == "pair" else (line, None) for line in part]
            texts = [(decoded(a), decoded(b) if b is not None else None) for a, b in halves]
            encodings = tokenizer.encode_batch([(a[0], b[0]) if b else a[0] for a, b in texts], add_special_tokens=mode != "bare")
            for i, e in enumerate(encodings):
                want = []
                for id_, (from_, to), type_, special, sequence in zip(e.ids, e.offsets, e.type_ids, e.special_tokens_mask, e.sequence_ids):
                    starts = texts[i][1 if sequence == 1 else 0][1]
                    want.append(f"{id_}:{starts[from_]}:{starts[to]}:{type_}:{special}" if not special else f"{id_}:0:0:{type_}:1")
                if " ".join(want) == answers[start + i]:
                    identical += 1
                    continue
                different += 1
                if different <= shows:
                    ours = answers[start + i].split(" ")
                    k = next((k for k, (x, y) in enumerate(zip(want, ours)) if x != y), min(len(want), len(ours)))
                    print(f"  {name} {mode} line {start + i}: {part[i][:120]!r}\n    token {k}: theirs {want[k:k + 5]} ours {ours[k:k + 5]}")
    print(f"{name}: {identical} identical, {different} different", flush=True)
    return identical, different


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--full", action="store_true")
    args.add_argument("--codes", action="store_true")
    args.add_argument("--lines", type=int, default=10_000)
    args.add_argument("--seed", type=int, default=7)
    args.add_argument("--only")
    args.add_argument("--show", type=int, default=1)
    args.add_argument("files", nargs="*")
    args = args.parse_args()
    lines = list(codes() if args.codes else corpus(100_000 if args.full else args.lines, args.seed))
    jobs = [(path, path) for path in args.files]
    if not args.files:
        for path in sorted(glob.glob(os.environ.get("SIGNALBOX_MODELS", str(ROOT / "build/deps")) + "/**/tokenizer.json", recursive=True)):
            jobs.append((str(pathlib.Path(path).parent.parent.name), path))
        for name, make in trained().items():
            path = BUILD / f"{name}-{__version__}.json"
            if args.only and args.only not in name:
                continue
            if not path.exists():
                BUILD.mkdir(parents=True, exist_ok=True)
                make([line.decode("utf-8", "replace") for line in corpus(8000, 1)]).save(str(path))
            jobs.append((name, path))
    total, wrong, done = [0, 0], 0, 0
    for name, path in jobs:
        if args.only and args.only not in name:
            continue
        one = compare(name, path, lines, args.show)
        total = [total[0] + one[0], total[1] + one[1]]
        done += 1
        wrong += one[1] > 0
    print(f"{total[0]} identical, {total[1]} different")
    print(f"{done - wrong} passed, {wrong} failed")   # tokenizers
    return total[1] > 0


sys.exit(main())
