"""Turns marked texts of a grammar into what an attacker would send: codes, carriers, and small disguises.

%B64%text%/B64% and its sisters are encoded, %CARRY%carrier%WITH%inner%END% puts inner where the carrier says %INJ%. `disguise` applies
one surface change (leet, look-alikes, spaced letters, invisible characters, case, typing errors); harmless texts get the same changes,
or a head would learn that disguise is guilt.
"""
import base64
import codecs
import re

MORSE = dict(zip("abcdefghijklmnopqrstuvwxyz0123456789",
                 ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --.. "
                 "----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----.".split()))
LEET = {"a": "4@", "e": "3", "i": "1!", "o": "0", "s": "5$", "t": "7", "l": "1|", "b": "8", "g": "9"}
ALIKE = {"a": "аɑα", "c": "сϲ", "e": "еε", "i": "іι", "o": "оοօ", "p": "рρ", "s": "ѕ", "x": "хχ", "y": "уγ", "h": "һ", "n": "ո", "d": "ԁ",
         "b": "Ь", "k": "κк", "m": "м", "t": "τт", "u": "υս", "v": "ν", "w": "ѡω"}


def leet(text, rng, share=.7):
    return "".join(rng.choice(LEET[c.lower()]) if c.lower() in LEET and rng.random() < share else c for c in text)


def alike(text, rng, share=.4):
    return "".join(rng.choice(ALIKE[c]) if c in ALIKE and rng.random() < share else c for c in text)


def spaced(text, rng):
    mark = rng.choice(" -._*")
    return ("   " if mark == " " else " ").join(mark.join(word) for word in text.split())


def invisible(text, rng):
    mark = rng.choice("\u200b\u200d\u2060\u00ad\ufeff")
    return "".join(c + mark if rng.random() < .3 else c for c in text)


def wide(text, rng):
    if rng.random() < .5:
        return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)
    base = rng.choice([0x1D41A, 0x1D44E, 0x1D5BA, 0x1D68A])
    return "".join(chr(base + ord(c) - 97) if "a" <= c <= "z" and (base != 0x1D44E or c != "h") else c for c in text)


def gaps(text, rng):
    return "".join("  " * rng.randint(1, 2) if c == " " and rng.random() < .4 else c for c in text)


def typing(text, rng):
    out = list(text)
    for i in range(1, len(out) - 1):
        if out[i].isalpha() and rng.random() < .04:
            kind = rng.randrange(3)
            if kind == 0:
                out[i], out[i - 1] = out[i - 1], out[i]
            elif kind == 1:
                out[i] = ""
            else:
                out[i] += out[i]
    return "".join(out)


SURFACE = [leet, alike, spaced, invisible, wide, gaps, typing, typing]


def disguise(text, rng):
    if rng.random() < .35:
        words = text.split(" ")                         # only some words: the usual hand-made disguise
        how = rng.choice([leet, alike, invisible, typing])
        return " ".join(how(w, rng) if rng.random() < .5 else w for w in words)
    return rng.choice(SURFACE)(text, rng)


def case(text, rng):
    kind = rng.random()
    if kind < .25:
        return text.lower()
    if kind < .32:
        return text.upper()
    if kind < .65:                                      # sentences begin with capitals
        return re.sub(r"(^|[.!?]\s+|\n)([a-z])", lambda m: m[1] + m[2].upper(), text)
    return text


def encode(text, rng):
    def one(kind, inner):
        if kind == "B64":
            return base64.b64encode(inner.encode()).decode()
        if kind == "ROT":
            return codecs.encode(inner, "rot13")
        if kind == "HEX":
            return inner.encode().hex(" " if rng.random() < .5 else "-") if rng.random() < .5 else inner.encode().hex()
        if kind == "REV":
            return inner[::-1]
        if kind == "MORSE":
            return " ".join(MORSE.get(c, "/") for c in inner.lower())
        if kind == "LEET":
            return leet(inner, rng)
        if kind == "SPACE":
            return spaced(inner, rng)
        return " ".join(format(b, "08b") for b in inner.encode())
    while True:
        text, n = re.subn(r"%([A-Z0-9]+)%((?:(?!%[A-Z0-9]+%).)*?)%/\1%", lambda m: one(m[1], m[2]), text, flags=re.S)
        if not n:
            break
    return text


def carry(text):
    return re.sub(r"%CARRY%(.*?)%WITH%(.*?)%END%", lambda m: m[1].replace("%INJ%", m[2]), text, flags=re.S)


def finish(text, rng, disguised=.12):
    """A drawn text, ready: carriers filled, codes applied, case and, for a share, a disguise."""
    coded = re.search(r"%[A-Z0-9]+%", text) and "%CARRY%" not in text
    text = encode(carry(text), rng)
    if coded:
        return text
    text = case(text, rng)
    return disguise(text, rng) if rng.random() < disguised else text
