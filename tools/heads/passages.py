#!/usr/bin/env python3
"""Sets what a head's card says about passages (src/neural/passages.h): which places of a text it sees by themselves.

The weights stay as they are. docs/internals/heads.md tells how the numbers were chosen; they belong to one head's scale of logits, and are
measured again when it is trained anew.

    python3 tools/heads/passages.py HEAD [--most N] [--bytes N] [--from N] [--bar X] [--slope X] [--temperature X] [--offset X]
"""
import argparse
import json
import os
import struct

KEY = "signalbox.head"


def main():
    p = argparse.ArgumentParser(description="sets what a head's card says about passages")
    p.add_argument("head")
    p.add_argument("--most", type=int, default=2, help="passages of one text; 0: none (default 2)")
    p.add_argument("--bytes", type=int, default=240, help="of one passage at most (default 240)")
    p.add_argument("--from", type=int, default=60, help="texts of as many bytes on are looked into (default 60)")
    p.add_argument("--bar", type=float, default=2, help="least logit of the words (default 2)")
    p.add_argument("--slope", type=float, default=.5, help="times ln of the number of sentences is taken off a logit (default 0.5)")
    p.add_argument("--temperature", type=float, default=1, help="the rest is divided by it (default 1)")
    p.add_argument("--offset", type=float, default=0, help="... and moved by it (default 0)")
    a = p.parse_args()
    with open(a.head, "rb") as f:
        length, = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(length))
        weights = f.read()
    card = json.loads(header["__metadata__"][KEY])
    card["passages"] = {k: getattr(a, k) for k in ("most", "bytes", "from", "bar", "slope", "temperature", "offset")}
    header["__metadata__"][KEY] = json.dumps(card, ensure_ascii=False, separators=(",", ":"))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)                             # arrays begin at a multiple of eight
    with open(a.head + ".new", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + weights)
    os.replace(a.head + ".new", a.head)


if __name__ == "__main__":
    main()
