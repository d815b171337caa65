#!/usr/bin/env python3
"""Adds classes of words to the lists of names_data.py: word_clusters.py MODEL_DIR LISTS OUT

A class is a cluster (k-means, 255 of them) of the trunk's input embeddings (model.safetensors of all-MiniLM-L6-v2, Apache-2.0), so that
the tagger knows that a rare word is like others it has seen. Lines `BITS WORD` become `BITS CLASS WORD`; CLASS 0: none."""
import json
import pathlib
import sys

import numpy as np
from safetensors import safe_open

directory, lists, out = map(pathlib.Path, sys.argv[1:4])
vocabulary = json.loads((directory / "tokenizer.json").read_text())["model"]["vocab"]
with safe_open(directory / "model.safetensors", "np") as f:
    name = next(k for k in f.keys() if k.endswith("word_embeddings.weight"))
    table = f.get_tensor(name).astype(np.float32)
words = [w for w in vocabulary if w.isalpha() and len(w) > 1]
vectors = table[[vocabulary[w] for w in words]]
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
centres = vectors[np.random.default_rng(1).choice(len(vectors), 255, replace=False)]
for _ in range(12):                                     # spherical k-means
    classes = (vectors @ centres.T).argmax(1)
    for c in range(255):
        members = vectors[classes == c]
        if len(members):
            centres[c] = members.sum(0) / np.linalg.norm(members.sum(0))
classes = classes + 1
class_of = dict(zip(words, classes))
bits = {}
for line in lists.open():
    b, w = line.rstrip("\n").split(" ", 1)
    bits[w] = int(b)
with out.open("w") as f:
    for w in sorted(set(bits) | set(class_of)):
        f.write(f"{bits.get(w, 0)} {class_of.get(w, 0)} {w}\n")
print(len(class_of), "words in classes")
