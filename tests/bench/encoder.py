#!/usr/bin/env python3
"""The encoder side by side with ONNX Runtime, in one run: `make bench-encoder`.

Both read the same MiniLM weights. ONNX Runtime's graph is built here from the safetensors file with its own fused
operators (Attention, SkipLayerNormalization, BiasGelu), which is what its optimiser makes of an export; its int8 graph
is that graph through its own quantize_dynamic. That both graphs and signalbox compute the same is checked first. Then
they take turns, round after round: same tokens, same threads, same cores, one text. Mixed lengths: 16 texts of 16 to
256 tokens; signalbox packs them, ONNX Runtime gets them as one padded batch and one by one, and its better counts.

    encoder.py [--rounds N] [--seconds S] [--only check,f32,best,mixed,kernel,tokenizer]

PyPI's onnxruntime goes into build/bench/venv; BENCH_VENV names another environment that has it. BENCH_MODEL names
another folder of the same architecture (BERT, mean pooling).
"""
import argparse, json, os, statistics, subprocess, sys, time

PACKAGES = ["onnxruntime>=1.20", "onnx", "numpy", "safetensors", "tokenizers", "sympy"]
LENGTHS = (16, 128, 512)
MIXED = [16 * (i + 1) for i in range(16)]           # what `bench encoder --mixed --batch 16 --tokens 256` packs
TEXTS = ["The quick brown fox jumps over the lazy dog.",
         "Which of these two contracts makes the supplier liable for late delivery, and what does the second clause change about it?",
         "def area(r):\n    return 3.14159 * r ** 2\n\nWhy is this wrong for negative numbers? " * 6]

BARS = {"f32": (">=", 1.5), "best": (">=", 4), "mixed": (">=", 2), "kernel": (">=", .8), "tokenizer": ("<=", 100)}


# ---- ONNX Runtime's side: this file again, in its environment, answering one JSON line with another ----

def graph_build(model, path, has_mask):
    """The trunk as ONNX Runtime likes it best. ids [b][t] (and mask [b][t]) -> hidden [b][t][h]."""
    import numpy as np, onnx
    from onnx import TensorProto as T, helper as h, numpy_helper as nh
    from safetensors.numpy import load_file
    with open(os.path.join(model, "config.json")) as f:
        config = json.load(f)
    w = {k.removeprefix("bert."): v.astype(np.float32) for k, v in load_file(os.path.join(model, "model.safetensors")).items()
         if v.dtype.kind == "f"}
    width, epsilon = config["hidden_size"], config["layer_norm_eps"]
    nodes, data = [], []

    def put(name, array):
        data.append(nh.from_array(np.ascontiguousarray(array), name))
        return name

    def op(kind, inputs, outputs, domain="", **attributes):
        nodes.append(h.make_node(kind, inputs, outputs, domain=domain, **attributes))
        return outputs[0]

    op("Gather", [put("words", w["embeddings.word_embeddings.weight"]), "ids"], ["word"])
    op("Shape", ["ids"], ["length"], start=1, end=2)
    positions = w["embeddings.position_embeddings.weight"] + w["embeddings.token_type_embeddings.weight"][0]
    op("Slice", [put("positions", positions), put("zero", np.array([0], np.int64)), "length"], ["position"])
    op("Add", ["word", "position"], ["embedded"])
    x = op("LayerNormalization", ["embedded", put("eg", w["embeddings.LayerNorm.weight"]), put("eb", w["embeddings.LayerNorm.bias"])],
           ["x0"], epsilon=epsilon)
    for i in range(config["num_hidden_layers"]):
        def of(name):
            return w["encoder.layer.%d.%s" % (i, name)]
        def name(part):
            return "%s%d" % (part, i)
        qkv = [of("attention.self.%s.weight" % p).T for p in ("query", "key", "value")]
        bias = [of("attention.self.%s.bias" % p) for p in ("query", "key", "value")]
        op("Attention", [x, put(name("qkv"), np.concatenate(qkv, 1)), put(name("qkvb"), np.concatenate(bias))] + (["mask"] if has_mask else []),
           [name("context")], "com.microsoft", num_heads=config["num_attention_heads"])
        op("MatMul", [name("context"), put(name("o"), of("attention.output.dense.weight").T)], [name("out")])
        y = op("SkipLayerNormalization", [name("out"), x, put(name("og"), of("attention.output.LayerNorm.weight")),
                                          put(name("on"), of("attention.output.LayerNorm.bias")), put(name("ob"), of("attention.output.dense.bias"))],
               [name("y")], "com.microsoft", epsilon=epsilon)
        op("MatMul", [y, put(name("u"), of("intermediate.dense.weight").T)], [name("up")])
        op("BiasGelu", [name("up"), put(name("ub"), of("intermediate.dense.bias"))], [name("gelu")], "com.microsoft")
        op("MatMul", [name("gelu"), put(name("d"), of("output.dense.weight").T)], [name("down")])
        x = op("SkipLayerNormalization", [name("down"), y, put(name("dg"), of("output.LayerNorm.weight")), put(name("dn"), of("output.LayerNorm.bias")),
                                          put(name("db"), of("output.dense.bias"))], [name("z")], "com.microsoft", epsilon=epsilon)
    inputs = [h.make_tensor_value_info("ids", T.INT64, ["b", "t"])]
    if has_mask:
        inputs.append(h.make_tensor_value_info("mask", T.INT32, ["b", "t"]))
    graph = h.make_graph(nodes, "trunk", inputs, [h.make_tensor_value_info(x, T.FLOAT, ["b", "t", width])], data)
    made = h.make_model(graph, opset_imports=[h.make_opsetid("", 17), h.make_opsetid("com.microsoft", 1)], ir_version=9)
    onnx.save(made, path)


def worker(model, folder, threads):
    import logging
    import numpy as np, onnxruntime as ort
    from onnxruntime.quantization import QuantType, quantize_dynamic
    logging.getLogger().setLevel(logging.ERROR)
    ort.set_default_logger_severity(3)
    sessions = {}
    for mask in ("", "_mask"):
        files = {p: os.path.join(folder, "trunk_%s%s.onnx" % (p, mask)) for p in ("f32", "int8")}
        if not os.path.exists(files["int8"]):
            graph_build(model, files["f32"], bool(mask))
            quantize_dynamic(files["f32"], files["int8"], weight_type=QuantType.QInt8, extra_options={"DefaultTensorType": 1})
        for precision, file in files.items():
            options = ort.SessionOptions()
            options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
            sessions[precision + mask] = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    chance = np.random.default_rng(1)

    def inputs_of(lengths, is_padded):
        if not is_padded:
            return [{"ids": chance.integers(1000, 30000, (1, n))} for n in lengths]
        ids, mask = np.zeros((len(lengths), max(lengths)), np.int64), np.zeros((len(lengths), max(lengths)), np.int32)
        for i, n in enumerate(lengths):
            ids[i, :n], mask[i, :n] = chance.integers(1000, 30000, n), 1
        return [{"ids": ids, "mask": mask}]

    def timed(q):
        session = sessions[q["precision"] + ("_mask" if q["padded"] else "")]
        feeds = inputs_of(q["lengths"], q["padded"])
        times, end = [], None
        while end is None or len(times) < 5 or time.monotonic() < end:
            begun = time.perf_counter()
            for feed in feeds:
                session.run(None, feed)
            times.append((time.perf_counter() - begun) * 1e6)
            if end is None and len(times) == 2:             # the first two are for warming up
                times, end = [], time.monotonic() + q["seconds"]
        return {"median_us": statistics.median(times), "best_us": min(times), "forwards": len(times)}

    def vectors(q):
        from tokenizers import Tokenizer
        tokenizer = Tokenizer.from_file(os.path.join(model, "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        out = []
        for text in q["texts"]:
            hidden = sessions[q["precision"]].run(None, {"ids": np.array([tokenizer.encode(text).ids])})[0][0]
            pooled = hidden.mean(0)
            out.append((pooled / np.linalg.norm(pooled)).tolist())
        return {"vectors": out}

    print(json.dumps({"version": ort.__version__}), flush=True)
    for line in sys.stdin:
        q = json.loads(line)
        print(json.dumps(vectors(q) if "texts" in q else timed(q)), flush=True)


if __name__ == "__main__" and sys.argv[1:2] == ["--worker"]:
    worker(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    sys.exit()


# ---- the measuring side ----

import chart
from rig import *

VENV = os.environ.get("BENCH_VENV", os.path.join(OUT, "venv"))
MODEL = os.path.realpath(os.environ.get("BENCH_MODEL", os.path.join(ROOT, "build/deps/models/all-minilm-l6-v2")))


def cores(threads):
    return str(GATEWAY_CORE) if threads == 1 else ",".join(str(c) for c in range(threads))


def venv_make():
    python = os.path.join(VENV, "bin", "python")
    check = [python, "-c", "import onnxruntime, onnx, safetensors, tokenizers"]
    if not os.path.exists(python) or subprocess.run(check, capture_output=True).returncode:
        for args in ([sys.executable, "-m", "venv", VENV], [os.path.join(VENV, "bin", "pip"), "install", "-q", *PACKAGES]):
            say("  $ " + " ".join(args))
            if subprocess.run(args).returncode:
                raise SystemExit("no environment for ONNX Runtime (Debian: python3-venv); BENCH_VENV can name one that has it")
    return python


class Peer:
    def __init__(self, python, threads):
        folder = os.path.join(OUT, "onnx")
        os.makedirs(folder, exist_ok=True)
        log = open(os.path.join(OUT, "onnxruntime.log"), "ab")
        self.p = subprocess.Popen(["taskset", "-c", cores(threads), python, os.path.abspath(__file__), "--worker", MODEL, folder, str(threads)],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        running.append(self.p)
        self.version = self.read()["version"]

    def read(self):
        line = self.p.stdout.readline()
        if not line:
            raise SystemExit("ONNX Runtime's side has ended; its log is %s/onnxruntime.log" % OUT)
        return json.loads(line)

    def ask(self, **question):
        self.p.stdin.write(json.dumps(question) + "\n")
        self.p.stdin.flush()
        return self.read()


def ours(threads, *options, kind="encoder"):
    args = ["taskset", "-c", cores(threads), SIGNALBOX, "bench", kind, "--model", MODEL, *map(str, options), "--json"]
    p = subprocess.run(args, capture_output=True, text=True)
    if p.returncode:
        raise SystemExit("%s: %s" % (" ".join(args[3:]), p.stderr.strip()))
    return json.loads(p.stdout)


def turns(title, rounds, mine, theirs):
    """Rounds in turn over our and their functions, each giving microseconds; figures with the ratio."""
    rows = {"signalbox": [], "onnxruntime": []}
    for turn in range(rounds):
        for name, f in (("signalbox", mine), ("onnxruntime", theirs))[::1 if turn % 2 == 0 else -1]:
            rows[name].append(f())
    a, b = (spread(rows[name]) for name in rows)
    ratio = b["median"] / a["median"]
    say("  %-34s %10.0f (%8.0f .. %8.0f) %10.0f (%8.0f .. %8.0f) %7.2f"
        % (title, a["median"], a["min"], a["max"], b["median"], b["min"], b["max"], ratio))
    return {"signalbox": a, "onnxruntime": b, "ratio": ratio}


def header(title):
    say("\n%s\n  %-34s %32s %32s %7s" % (title, "us a forward, median of rounds", "signalbox", "ONNX Runtime", "ratio"))


def check(peer):
    """Cosine of our pooled vectors (the service's precision) and of their int8's with their float32's."""
    def cosine(x, y):
        return sum(a * b for a, b in zip(x, y)) / (sum(a * a for a in x) * sum(b * b for b in y)) ** .5
    p = subprocess.run([SIGNALBOX, "embed", "-"], input="".join(json.dumps({"text": t}) + "\n" for t in TEXTS), capture_output=True, text=True,
                       cwd=ROOT)
    if p.returncode:
        raise SystemExit("signalbox embed: %s" % p.stderr.strip())
    mine = [json.loads(l)["embedding"] for l in p.stdout.splitlines()]
    exact = peer.ask(texts=TEXTS, precision="f32")["vectors"]
    quantised = peer.ask(texts=TEXTS, precision="int8")["vectors"]
    result = {"signalbox": min(map(cosine, mine, exact)), "onnxruntime_int8": min(map(cosine, quantised, exact))}
    say("\nsame model: least cosine with ONNX Runtime's float32 vectors: signalbox as it serves %.5f, ONNX Runtime int8 %.5f"
        % (result["signalbox"], result["onnxruntime_int8"]))
    if result["signalbox"] < .99:
        raise SystemExit("they do not compute the same: nothing to compare")
    return result


def singles(peers, args, label):
    """One text, every length and number of threads."""
    header("%s against %s, one text" % (("float32", "float32") if label == "f32" else ("our fastest precision", "its int8")))
    result = {}
    for threads, peer in peers.items():
        for n in LENGTHS:
            options = ["--tokens", n, "--threads", threads] + (["--precision", "f32"] if label == "f32" else [])
            precision = "f32" if label == "f32" else "int8"
            result["%d tokens, %d thread%s" % (n, threads, "s" * (threads > 1))] = turns(
                "%d tokens, %d thread%s" % (n, threads, "s" * (threads > 1)), args.rounds,
                lambda: ours(threads, *options)["us_per_forward"],
                lambda: peer.ask(precision=precision, lengths=[n], padded=False, seconds=args.seconds)["median_us"])
    result["least"] = min(r["ratio"] for r in result.values())
    return result


def mixed(peers, args):
    header("16 texts of 16 to 256 tokens, all of them")
    result = {}
    for threads, peer in peers.items():
        for label, precision in (("f32", "f32"), ("fastest", "int8")):
            options = ["--tokens", max(MIXED), "--batch", len(MIXED), "--mixed", "--threads", threads]
            options += ["--precision", "f32"] if label == "f32" else []
            seen = []

            def theirs():
                both = [peer.ask(precision=precision, lengths=MIXED, padded=padded, seconds=args.seconds / 2)["median_us"]
                        for padded in (True, False)]
                seen.append(both)
                return min(both)
            name = "%s, %d thread%s" % (label, threads, "s" * (threads > 1))
            result[name] = turns(name, args.rounds, lambda: ours(threads, *options)["us_per_forward"], theirs)
            result[name]["padded_us"], result[name]["one_by_one_us"] = (statistics.median(s[i] for s in seen) for i in (0, 1))
            say("  %34s padded %.0f us, one by one %.0f us" % ("ONNX Runtime:", result[name]["padded_us"], result[name]["one_by_one_us"]))
    result["least"] = min(r["ratio"] for name, r in result.items() if name.startswith("fastest"))
    return result


def kernel(args):
    """What the products and attention of a forward need alone, as a share of the forward; best CPU time against best."""
    say("\nkernels alone (each product and attention by itself, warm, best of many) as a share of the best forward, 512 tokens, 1 thread")
    result = {}
    for precision in ("f32", "bf16", "int8"):
        rounds = [ours(1, "--tokens", 512, "--precision", precision, "--kernel") for _ in range(args.rounds)]
        forward = min(r["best_cpu_us"] for r in rounds)
        products, attention = (min(r[k] for r in rounds) for k in ("kernel_products_us", "kernel_attention_us"))
        result[precision] = {"forward_us": forward, "products_us": products, "attention_us": attention, "share": (products + attention) / forward}
        say("  %-5s forward %7.0f us, products alone %7.0f us, attention alone %7.0f us: %.2f"
            % (precision, forward, products, attention, result[precision]["share"]))
    result["fastest"] = ours(1, "--tokens", 16)["precision"]
    result["share"] = result[result["fastest"]]["share"]
    return result


def tokenizer(args):
    rounds = [ours(1, kind="tokenizer") for _ in range(args.rounds)]
    result = {"us": statistics.median(r["us_per_text"] for r in rounds), "cold_us": statistics.median(r["cold_us"] for r in rounds),
              "rounds": rounds}
    say("\ntokenizing %d tokens (%d bytes): %.1f us, %.1f with a scratch that has seen nothing"
        % (rounds[0]["tokens"], rounds[0]["bytes"], result["us"], result["cold_us"]))
    return result


def charts(results):
    parts = []
    for section, title in (("f32", "float32 against float32"), ("best", "fastest precision against int8"), ("mixed", "16 texts of mixed length")):
        rows = [chart.spread_row("%s, %s" % (name, who), r[who]) for name, r in results.get(section, {}).items() if isinstance(r, dict)
                for who in ("signalbox", "onnxruntime")]
        if rows:
            parts.append(chart.bars(title, "us", rows, "Microseconds for all texts of a forward; the line marks the lowest and the highest round."))
    return parts


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--seconds", type=float, default=1, help="of one round of ONNX Runtime; ours takes one")
    ap.add_argument("--threads", default="1,2")
    ap.add_argument("--only", default="check,f32,best,mixed,kernel,tokenizer")
    args = ap.parse_args()
    wanted = args.only.split(",")
    out_prepare()
    results = {"machine": machine(), "arguments": vars(args)}
    say("machine: %(cpu)s, %(cores)d cores, Linux %(kernel)s, load average %(load_average).1f" % results["machine"])
    python = venv_make()
    try:
        peers = {t: Peer(python, t) for t in map(int, args.threads.split(",")) if t <= (os.cpu_count() or 1)}
        first = next(iter(peers.values()))
        results["onnxruntime"] = first.version
        say("ONNX Runtime %s; signalbox with %s" % (first.version, ours(1, "--tokens", 16)["isa"]))
        if "check" in wanted:
            results["check"] = check(first)
        for label in ("f32", "best"):
            if label in wanted:
                results[label] = singles(peers, args, label)
        if "mixed" in wanted:
            results["mixed"] = mixed(peers, args)
    finally:
        stop_all()
    if "kernel" in wanted:
        results["kernel"] = kernel(args)
    if "tokenizer" in wanted:
        results["tokenizer"] = tokenizer(args)
    figures = [(name, section, results[section][key]) for name, section, key in (
        ("least ratio, float32", "f32", "least"), ("least ratio, fastest precision", "best", "least"), ("least ratio, mixed lengths", "mixed", "least"),
        ("kernels' share of the forward", "kernel", "share"), ("us to tokenize 500 tokens", "tokenizer", "us")) if section in results]
    verdict(figures, BARS)
    finish("encoder", results, charts(results))


if __name__ == "__main__":
    main()
