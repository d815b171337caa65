#!/usr/bin/env python3
"""Compare our encoders with transformers and ONNX Runtime: hidden states, pooled vectors and logits, on every instruction set.

    encoder_oracle.py [--minilm FOLDER] [--quick] [NAME...]      (NAME: only cases whose name contains it)

Models are made here with random weights, several shapes of each architecture, wide enough that every part matters: norms with gains,
biases everywhere, attention that is not flat. FOLDER is a real all-MiniLM-L6-v2 (default: $SIGNALBOX_MINILM); without it, and without
transformers at all, those parts are skipped.

Bars: float32 differs by at most 1e-4; cosine of all hidden states, and of each pooled vector, at least .999 in bf16 and .99 in int8;
over the 200 real sentences the mean must reach that, and the least is printed."""
import argparse, glob, gzip, json, os, subprocess, sys, tempfile
from pathlib import Path

args = argparse.ArgumentParser()
args.add_argument("--minilm", default=os.environ.get("SIGNALBOX_MINILM"))
args.add_argument("--quick", action="store_true", help="the best instruction set only")
args.add_argument("names", nargs="*")
args = args.parse_args()
try:
    import numpy as np
    import torch
    import transformers
    from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoModelForTokenClassification
except ImportError as e:
    print("skip: %s is not installed" % e.name)
    print("0 passed, 0 failed, 1 skipped")
    sys.exit(0)
from programs import program

transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.manual_seed(1)
rng = np.random.default_rng(1)
temporary = tempfile.TemporaryDirectory()
here = Path(temporary.name)
passed = failed = skipped = 0


encode = program("encode")


def run(folder, texts, **options):
    """(description, hidden [texts] of [tokens, hidden], pooled [texts, hidden], logits [texts] or None)"""
    command = [encode, str(folder)] + [x for k, v in options.items() for x in ("--" + k, str(v))]
    p = subprocess.run(command, input="".join(" ".join(map(str, t)) + "\n" for t in texts).encode(), stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE)
    if p.returncode:
        raise RuntimeError(p.stderr.decode().strip())
    line, _, rest = p.stdout.partition(b"\n")
    about, floats = json.loads(line), np.frombuffer(rest, np.float32)
    width, n, labels = about["hidden"], sum(map(len, texts)), len(about["labels"])
    cuts = np.cumsum([len(t) for t in texts])[:-1]
    hidden, pooled = floats[:n * width].reshape(n, width), floats[n * width:(n + len(texts)) * width].reshape(-1, width)
    logits = floats[(n + len(texts)) * width:].reshape(-1, labels) if labels else None
    if labels:
        logits = np.split(logits, cuts if about["is_token_head"] else len(texts))
    return about, np.split(hidden, cuts), pooled, logits


def cosine(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def sets():
    """Instruction sets of this machine."""
    names = []
    for isa in ["plain", "avx2", "avx512", "amx"]:
        names += [isa] if b"no such" not in (p := subprocess.run([encode, "/nowhere", "--isa", isa], stderr=subprocess.PIPE).stderr) \
            and b"/nowhere" in p else []
    return names[-1:] if args.quick else names


def check(name, is_right, numbers):
    global passed, failed
    passed, failed = passed + bool(is_right), failed + (not is_right)
    print("%-4s %-44s %s" % ("ok" if is_right else "FAIL", name, numbers), flush=True)


def compare(name, folder, texts, reference, **options):
    """reference: (hidden, logits or None), lists over the texts."""
    wanted, wanted_logits = reference
    for isa in sets():
        for precision, least in [("f32", None), ("bf16", .999), ("int8", .99)]:
            try:
                about, hidden, pooled, logits = run(folder, texts, isa=isa, precision=precision, **options)
            except RuntimeError as e:
                check("%s %s %s" % (name, isa, precision), False, e)
                continue
            if (logits is None) != (wanted_logits is None):
                check("%s %s %s" % (name, isa, precision), False, "head or no head")
                continue
            error = max(np.abs(h - w).max() for h, w in zip(hidden, wanted))
            whole = cosine(np.concatenate(hidden).ravel(), np.concatenate(wanted).ravel())
            vectors = cosine(pooled, [w.mean(0) if about["pooling"] == 0 else w[0] for w in wanted])
            numbers = "max %.1e, cosine %.6f, pooled %.6f" % (error, whole, vectors.min())
            is_right = error <= 1e-4 if least is None else whole >= least and vectors.min() >= least
            if logits is not None:
                flat, wanted_flat = np.concatenate(logits).ravel(), np.concatenate([l.reshape(-1) for l in wanted_logits])
                difference = np.abs(flat - wanted_flat).max()
                numbers += ", logits %.1e %.6f" % (difference, cosine(flat, wanted_flat))
                is_right &= difference <= 1e-4 if least is None else cosine(flat, wanted_flat) >= least
            check("%s %s %s" % (name, isa, precision), is_right, numbers)


def roughen(model, amount=0.1):
    """Gains and biases that matter: a fresh model has ones and zeros there."""
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() == 1:
                p += amount * torch.randn_like(p)
    return model.eval()


def refer(model, texts):
    trunk, hidden, logits = getattr(model, model.base_model_prefix, model), [], []
    with torch.no_grad():
        for t in texts:
            ids = torch.tensor([t])
            out = model(ids, output_hidden_states=True)
            hidden.append((out.last_hidden_state if trunk is model else trunk(ids).last_hidden_state)[0].numpy())
            logits.append(None if trunk is model else out.logits[0].numpy())
    return hidden, None if trunk is model else logits


def random_texts(vocabulary, lengths):
    return [rng.integers(0, vocabulary, n).tolist() for n in lengths]        # pads too: RoBERTa gives them a position of their own


small = dict(vocab_size=500, hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=80, max_position_embeddings=130,
             initializer_range=.15)
middle = dict(vocab_size=1000, hidden_size=256, num_hidden_layers=4, num_attention_heads=8, intermediate_size=1000,
              max_position_embeddings=600, initializer_range=.05)
odd = dict(vocab_size=77, hidden_size=60, num_hidden_layers=2, num_attention_heads=3, intermediate_size=101, max_position_embeddings=64,
           initializer_range=.15)
bert, roberta = transformers.BertConfig, transformers.RobertaConfig
cases = [                               # name, kind of model, configuration, lengths of texts
    ("bert small", AutoModel, bert(**small), [1, 2, 17, 128]),
    ("bert middle", AutoModel, bert(**middle), [5, 64, 333]),
    ("bert odd", AutoModel, bert(**odd, hidden_act="gelu_new"), [3, 33, 64]),
    ("bert relu", AutoModel, bert(**small, hidden_act="relu"), [40]),
    ("bert silu", AutoModel, bert(**small, hidden_act="silu"), [40]),
    ("bert sequence", AutoModelForSequenceClassification, bert(**small, num_labels=5), [1, 9, 77]),
    ("bert tokens", AutoModelForTokenClassification, bert(**middle, num_labels=9), [12, 200]),
    ("distilbert", AutoModel, transformers.DistilBertConfig(vocab_size=400, dim=64, n_layers=3, n_heads=4, hidden_dim=130,
                                                            initializer_range=.15), [1, 20, 100]),
    ("distilbert sequence", AutoModelForSequenceClassification,
     transformers.DistilBertConfig(vocab_size=400, dim=64, n_layers=2, n_heads=4, hidden_dim=130, initializer_range=.15, num_labels=3),
     [7, 31]),
    ("roberta sequence", AutoModelForSequenceClassification, roberta(**small, num_labels=4, type_vocab_size=1, pad_token_id=1), [5, 90]),
    ("xlm-roberta", AutoModel, transformers.XLMRobertaConfig(**middle, type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5), [1, 90, 401]),
    ("xlm-roberta tokens", AutoModelForTokenClassification,
     transformers.XLMRobertaConfig(**small, num_labels=7, type_vocab_size=1, pad_token_id=1), [3, 60]),
    ("xlm-roberta sequence", AutoModelForSequenceClassification,
     transformers.XLMRobertaConfig(**small, num_labels=2, type_vocab_size=1, pad_token_id=1), [3, 60]),
    ("modernbert", AutoModel,
     transformers.ModernBertConfig(vocab_size=600, hidden_size=64, intermediate_size=96, num_hidden_layers=5, num_attention_heads=4,
                                   max_position_embeddings=600, local_attention=32, pad_token_id=0, bos_token_id=1, eos_token_id=2,
                                   cls_token_id=1, sep_token_id=2, initializer_range=.15), [1, 20, 300]),
    ("modernbert sequence", AutoModelForSequenceClassification,
     transformers.ModernBertConfig(vocab_size=600, hidden_size=64, intermediate_size=96, num_hidden_layers=4, num_attention_heads=4,
                                   max_position_embeddings=600, local_attention=32, pad_token_id=0, bos_token_id=1, eos_token_id=2,
                                   cls_token_id=1, sep_token_id=2, initializer_range=.15, num_labels=3), [5, 100]),
    ("deberta-v2", AutoModel,
     transformers.DebertaV2Config(vocab_size=600, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
                                  max_position_embeddings=300, relative_attention=True, position_buckets=32, norm_rel_ebd="layer_norm",
                                  share_att_key=True, pos_att_type=["p2c", "c2p"], position_biased_input=False, type_vocab_size=0,
                                  initializer_range=.15), [1, 20, 200]),
    ("deberta-v2 sequence", AutoModelForSequenceClassification,
     transformers.DebertaV2Config(vocab_size=600, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
                                  max_position_embeddings=300, relative_attention=True, position_buckets=32, norm_rel_ebd="layer_norm",
                                  share_att_key=True, pos_att_type=["p2c", "c2p"], position_biased_input=False, type_vocab_size=0,
                                  initializer_range=.15, num_labels=3, pooler_hidden_size=64), [5, 100]),
]


def architectures():
    for name, kind, config, lengths in cases:
        if wants(name):
            folder = here / name.replace(" ", "-")
            model = roughen(kind.from_config(config, attn_implementation="eager"))
            model.save_pretrained(folder)
            texts = random_texts(config.vocab_size, lengths)
            compare(name, folder, texts, refer(model, texts))


def storage():
    """Half precision and shards: the numbers of the file are the reference."""
    config = bert(**middle)
    for dtype in [torch.float16, torch.bfloat16]:
        name = "bert stored as %s" % str(dtype)[6:]
        if wants(name):
            model = roughen(AutoModel.from_config(config)).to(dtype)
            model.save_pretrained(here / "half", max_shard_size="500KB")
            assert len(list((here / "half").glob("*.safetensors"))) > 2
            texts = random_texts(1000, [9, 90])
            compare(name, here / "half", texts, refer(model.float(), texts))


def early_exit():
    if wants("bert early exit"):
        model = roughen(AutoModel.from_config(bert(**small)))
        model.save_pretrained(here / "exit")
        texts = random_texts(500, [4, 40])
        with torch.no_grad():
            hidden = [model(torch.tensor([t]), output_hidden_states=True).hidden_states[2][0].numpy() for t in texts]
        compare("bert early exit", here / "exit", texts, (hidden, None), exit=2)


def adapters():
    """LoRA as PEFT writes it: the merged weights, computed here in float64, are the reference."""
    from safetensors.torch import save_file
    for name, more in [("lora", {}), ("lora rank-stabilised", {"use_rslora": True}), ("lora dora", {"use_dora": True})]:
        if not wants(name):
            continue
        config = bert(**small, num_labels=4)
        base = roughen(AutoModel.from_config(config))
        model = roughen(AutoModelForSequenceClassification.from_config(config))
        model.bert.load_state_dict(base.state_dict(), strict=False)
        folder, to = here / "lora-base", here / "lora"
        base.save_pretrained(folder)
        to.mkdir(exist_ok=True)
        rank, alpha, tensors = 4, 12, {}
        scale = alpha / (rank ** .5 if more.get("use_rslora") else rank)
        with torch.no_grad():
            for path, module in model.bert.named_modules():
                if path.endswith(("query", "value", "output.dense")):
                    a, b = torch.randn(rank, module.in_features) * .1, torch.randn(module.out_features, rank) * .1
                    key = "base_model.model.bert.%s." % path
                    tensors[key + "lora_A.weight"], tensors[key + "lora_B.weight"] = a, b
                    module.weight += (scale * b.double() @ a.double()).float()
                    if more.get("use_dora"):
                        length = torch.rand(module.out_features) + .5
                        tensors[key + "lora_magnitude_vector"] = length
                        module.weight *= (length / module.weight.norm(dim=1))[:, None]
        for part in ["bert.pooler.dense", "classifier"]:
            for p in ["weight", "bias"]:
                tensors["base_model.model.%s.%s" % (part, p)] = model.get_parameter("%s.%s" % (part, p)).detach().clone()
        save_file(tensors, to / "adapter_model.safetensors")
        about = dict(peft_type="LORA", task_type="SEQ_CLS", r=rank, lora_alpha=alpha, target_modules=["query", "value", "dense"],
                     modules_to_save=["classifier", "pooler"], fan_in_fan_out=False, bias="none", **more)
        (to / "adapter_config.json").write_text(json.dumps(about))
        texts = random_texts(500, [6, 60])
        compare(name, folder, texts, refer(model, texts), adapter=to)


def exports():
    """ONNX files of torch's exporter, as they are and quantised by ONNX Runtime."""
    global skipped
    if not wants("onnx"):
        return
    try:
        import onnx, onnxruntime
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as e:
        print("skip: %s is not installed" % e.name)
        skipped += 1
        return
    config = bert(**middle, num_labels=3)
    model = roughen(AutoModelForSequenceClassification.from_config(config, attn_implementation="eager"))
    texts = random_texts(1000, [8, 80])
    plain = here / "onnx"
    plain.mkdir()
    example = torch.tensor([texts[0]])
    try:
        torch.onnx.export(model, (example, torch.ones_like(example)), str(plain / "model.onnx"), dynamo=False, opset_version=17,
                          input_names=["input_ids", "attention_mask"], dynamic_axes={"input_ids": {1: "n"}, "attention_mask": {1: "n"}})
    except Exception as e:
        print("skip: this torch cannot export: %s" % str(e).splitlines()[0])
        skipped += 1
        return
    model.config.save_pretrained(plain)
    compare("onnx float", plain, texts, refer(model, texts))
    graph = onnx.load(plain / "model.onnx")
    outside = here / "onnx-external"
    outside.mkdir()
    onnx.save(graph, outside / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=100)
    model.config.save_pretrained(outside)
    compare("onnx external", outside, texts, refer(model, texts))
    for per_channel in [False, True]:
        for kind in [QuantType.QInt8, QuantType.QUInt8]:
            folder = here / ("onnx-%s-%d" % (kind, per_channel))
            folder.mkdir()
            quantize_dynamic(str(plain / "model.onnx"), str(folder / "model.onnx"), weight_type=kind, per_channel=per_channel)
            model.config.save_pretrained(folder)
            session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
            _, _, _, logits = run(folder, texts)
            theirs = [session.run(None, {"input_ids": [t], "attention_mask": [[1] * len(t)]})[0] for t in texts]
            same = cosine(np.concatenate(logits), np.concatenate(theirs)).min()
            # Theirs rounds activations to eight bits, ours here does not.
            check("onnx dynamic %s%s" % (kind, " per channel" if per_channel else ""), same >= .99, "logits' cosine %.6f" % same)


def real():
    """MiniLM on sentences of the signals' data: hidden states, then what int8 does to embeddings."""
    global skipped
    if not wants("minilm"):
        return
    shared = os.environ.get("SIGNALBOX_SHARED", "../shared")
    files = sorted(glob.glob(shared + "/data/signals/**/*.jsonl*", recursive=True))
    if not args.minilm or not files:
        print("skip: no MiniLM (--minilm) or no sentences (%s/data/signals)" % shared)
        skipped += 1
        return
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(args.minilm + "/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    lines = []
    for f in files:
        with (gzip.open if f.endswith("gz") else open)(f, "rt") as text:
            lines += [t for t in (json.loads(next(text, "{}")).get("text") for _ in range(400)) if isinstance(t, str) and t.strip()]
    texts = [tokenizer.encode(lines[i]).ids for i in rng.choice(len(lines), 200, replace=False)]
    model = AutoModel.from_pretrained(args.minilm).eval()
    few = sorted(texts, key=len)[::25] + [max(texts, key=len)]
    compare("minilm", args.minilm, few, refer(model, few))
    wanted = [h.mean(0) for h in refer(model, texts)[0]]
    for isa in sets()[1:] or sets():    # plain C would take minutes, and has been compared above
        for precision, least in [("bf16", .999), ("int8", .99)]:
            parts = [run(args.minilm, texts[i:i + 50], isa=isa, precision=precision)[2] for i in range(0, 200, 50)]
            same = cosine(np.concatenate(parts), wanted)
            check("minilm 200 sentences %s %s" % (isa, precision), same.mean() >= least, "cosine of embeddings: mean %.6f, least %.6f" %
                  (same.mean(), same.min()))


def wants(name):
    return not args.names or any(n in name for n in args.names)


for part in [architectures, storage, early_exit, adapters, exports, real]:
    part()
print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
sys.exit(failed != 0)
