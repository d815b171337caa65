"""The torture corpus of tokenizer_oracle.py: lines of bytes, the same for the same seed, Python and data.

Sentences of 75 languages come from the language data beside the repository (SIGNALBOX_SHARED); where it is absent, words are made up
from the alphabets of the same scripts. Code comes from Python's own library."""
import gzip
import json
import os
import pathlib
import random
import sysconfig
import unicodedata

ALPHABETS = ["abcdefghijklmnopqrstuvwxyz", "àáâãäåæçèéêëìíîïñòóôõöøùúûüýÿœšž", "ăâîșțđơưạảấầẩẫậắằẳẵặẹẻẽếềểễệ", "абвгдежзийклмнопрстуфхцчшщъыьэюяёіїєґ",
             "αβγδεζηθικλμνξοπρστυφχψωάέήίόύώ", "אבגדהוזחטיכלמנסעפצקרשת", "ابتثجحخدذرزسشصضطظعغفقكلمنهوي", "अआइईउऊएऐओऔकखगघचछजझटठडढणतथदधनपफबभमयरलवशषसह",
             "กขคงจฉชซญฐณดตถทธนบปผฝพฟภมยรลวศสหอฮ", "가각간갇갈감갑강개객거건걸검것게격견결경", "あいうえおかきくけこさしすせそアイウエオカキクケコ", "的一是不了人我在有他这为之大来以个中上们到说国和地也子时道出而要于就下得可你年生"]
SPACES = ["\t", "\n", "\x0b", "\x0c", "\r", "\r\n", " ", "  ", "   ", "    ", "\x85", "\xa0", "\u1680", "\u2000", "\u2003", "\u2009", "\u200a", "\u200b",
          "\u2028", "\u2029", "\u202f", "\u205f", "\u2060", "\u3000", "\ufeff", "\u180e", "\n\n", " \n ", "\t\t\t", " " * 24]
CONTROLS = [chr(c) for c in range(0x20)] + ["\x7f", "\x80", "\x8f", "\x9f", "\xad", "\u200c", "\u200d", "\u200e", "\u200f", "\u202a", "\u202b", "\u202c",
                                            "\u202d", "\u202e", "\u2066", "\u2069", "\ufff9", "\ufffd", "\ufffe", "\U000e0001", "\U000e0041", "\ue000"]
EMOJI = ["😀", "👍", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🇯🇵🇺🇸", "1️⃣", "❤️", "☎", "🧑🏿‍🚀", "👩‍❤️‍💋‍👨", "©️", "®\u200d", "🫠", "🏴\U000e0067\U000e0062\U000e007f", "🀄", "↔️"]
SPECIAL = ["[CLS]", "[SEP]", "[MASK]", "[PAD]", "[UNK]", " [MASK] ", "<s>", "</s>", "<unk>", "<mask>", " <mask>", "<pad>", "<|endoftext|>", "<bos>", "<eos>",
           "<|begin_of_text|>", "▁", "▁▁", "Ġ", "Ċ", "##ing", "<0x0A>", "<0xFF>", "�", "word", "Word", "words", "Ding", "dingdong", "café", "CAFÉ", "[mask]", "<start_of_turn>"]
ODD = ["İstanbul", "ISPARTA ı", "Straße ẞ", "ﬁﬂﬃ", "ＡＢＣ１２３", "①②⑳", "ｶﾞｷﾞ", "㌔㍿", "ﷺ", "Å Å", "Ω Ω", "K K", "ſ", "ǅ ǆ", "ŉ", "½⅓ⅷⅨ", "x²y³", "ª º",
       "각", "각", "ᄒᆞᆫ글", "ﻻ", "豈更車", "\u0344\u0f73\u0f75", "क़ ख़", "ড়", "ଡ଼", "ਖ਼", "שּׁ", "𝐇𝐞𝐥𝐥𝐨", "𝄞", "𠀀𪜀", "ﾡ", "’s ‘s “q” „x“ – — …", "don't I'LL we've",
       "C++ C# F#", "a_b-c/d\\e", "1,234.56", "٣٤٥", "१२३", "1/2", "$100 €5 £3 ¥", "http://x.y/z?a=b&c=d#e", "me@example.org", "3.14e-10", "ΌΣΟΣ", "Ǆ", "ꙮ", "᳚", "㉿"]


def sentences():
    shared = os.environ.get("SIGNALBOX_SHARED", str(pathlib.Path(__file__).resolve().parents[3] / "shared"))
    path = pathlib.Path(shared) / "data/signals/language/data.jsonl.gz"
    if path.exists():
        with gzip.open(path, "rt", encoding="utf-8") as f:
            return [json.loads(line)["text"] for line in f]
    chance = random.Random(3)
    return [" ".join("".join(chance.choices(alphabet, k=chance.randint(1, 12))) for _ in range(chance.randint(3, 20)))
            for alphabet in ALPHABETS for _ in range(400)]


def code():
    out = []
    for name in ("argparse", "ast", "decimal", "inspect", "typing", "subprocess", "tarfile", "turtle", "_pydecimal", "ipaddress"):
        path = pathlib.Path(sysconfig.get_paths()["stdlib"]) / (name + ".py")
        if path.exists():
            out += path.read_text(encoding="utf-8").split("\n")
    return out


def corpus(n, seed=7):
    chance = random.Random(seed)
    texts, lines = sentences(), code()
    assigned = [chr(c) for c in range(0x20, 0x323B0) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]
    marks = [c for c in assigned if unicodedata.category(c).startswith("M")]

    def words(text):
        return text.split(" ") or [""]

    def sprinkle(text, what, most=6):
        out = list(text)
        for _ in range(chance.randint(1, most)):
            out.insert(chance.randint(0, len(out)), chance.choice(what))
        return "".join(out)

    def some(what, low, high, between=""):
        return between.join(chance.choice(what) for _ in range(chance.randint(low, high)))

    def text():
        return chance.choice(texts)

    def break_bytes(raw):
        raw = bytearray(raw)
        for _ in range(chance.randint(1, 6)):
            at = chance.randint(0, len(raw))
            how = chance.randint(0, 3)
            if how == 0:
                raw[at:at] = bytes(chance.choice([0x80, 0xBF, 0xC0, 0xC3, 0xE0, 0xE2, 0xED, 0xF0, 0xF4, 0xF5, 0xFF]) for _ in range(chance.randint(1, 4)))
            elif how == 1 and raw:
                del raw[at:at + 1]
            elif how == 2 and at < len(raw):
                raw[at] = chance.randrange(256)
            else:
                raw[at:at] = chance.choice(["é", "€", "😀", "ก"]).encode()[:chance.randint(1, 3)]
        return bytes(raw)

    kinds = [
        (20, lambda: text()),
        (6, lambda: " ".join(chance.choice(words(text())) for _ in range(chance.randint(1, 30)))),
        (4, lambda: "".join(chance.choice(words(text())) for _ in range(chance.randint(2, 6)))),
        (8, lambda: "\n".join(lines[i:i + chance.randint(1, 8)]) if (i := chance.randrange(len(lines))) >= 0 else ""),
        (6, lambda: sprinkle(text(), SPACES)),
        (4, lambda: some(SPACES, 1, 12)),
        (5, lambda: sprinkle(text(), CONTROLS)),
        (6, lambda: sprinkle(text(), EMOJI)),
        (2, lambda: some(EMOJI, 1, 12)),
        (6, lambda: sprinkle(text(), marks, 20)),
        (3, lambda: "".join(c + some(marks, 0, 12) for c in text()[:20])),
        (6, lambda: sprinkle(text(), SPECIAL)),
        (3, lambda: some(SPECIAL, 1, 10, chance.choice(["", " ", "  "]))),
        (6, lambda: sprinkle(text(), ODD)),
        (4, lambda: some(ODD + SPACES + SPECIAL + EMOJI, 1, 20)),
        (4, lambda: some(assigned, 1, 40)),
        (2, lambda: "".join(chr(c) for c in (chance.randrange(0x110000) for _ in range(chance.randint(1, 20))) if not 0xD800 <= c < 0xE000)),
        (2, lambda: some(chance.choice(ALPHABETS), 50, 400)),
        (1, lambda: some(chance.choice(ALPHABETS), 1, 3) * chance.randint(20, 300)),
        (3, lambda: some("0123456789", 1, 60) if chance.random() < .5 else sprinkle(text(), [str(chance.randrange(10 ** chance.randint(1, 12)))])),
        (3, lambda: text().upper()),
        (2, lambda: text().title()),
        (2, lambda: unicodedata.normalize(chance.choice(["NFD", "NFKD", "NFC"]), text() + chance.choice(ODD))),
        (2, lambda: some("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ ", 1, 60)),
        (2, lambda: "\u202e" + text() + "\u202c " + text()),
        (1, lambda: ""),
    ]
    weights = [k for k, _ in kinds]
    for _ in range(n):
        line = chance.choices(kinds, weights)[0][1]().encode("utf-8")
        yield break_bytes(line) if chance.random() < .06 else line


def codes():
    """Every code point that is or may be assigned, between letters, under an accent and behind one."""
    every = [c for c in [*range(0x32400), *range(0xE0000, 0xE0200), *range(0x10FFF0, 0x110000)] if not 0xD800 <= c < 0xE000]
    for start in range(0, len(every), 12):
        part = [chr(c) for c in every[start:start + 12]]
        yield "a".join(part).encode()
        yield (" ".join(c + "\u0301" for c in part) + "e\u0323\u0301".join(part)).encode()
