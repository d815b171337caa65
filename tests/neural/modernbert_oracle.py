#!/usr/bin/env python3
"""Compare ModernBERT / mmBERT with transformers: hidden states, early exits and logits, on every instruction set and precision.

    modernbert_oracle.py [--quick] [--time] [NAME...]      (NAME: only cases whose name contains it)

Models are made here with random weights in which every part matters; several shapes, both
spellings of the configuration, YaRN, texts beyond the window and up to 12,000 tokens. --time measures a model of mmBERT-base's
shape instead, side by side with torch on one thread.

Bars: float32 differs by at most 1e-4 (times the largest value where that is above 1); the cosine of every text's states is at
least .999 in bf16 and .99 in int8."""
import argparse, json, subprocess, sys, tempfile, time
from pathlib import Path

try:
    import numpy as np
    import torch
    import transformers
    from transformers import ModernBertConfig
except ImportError as e:
    print("skip: %s is not installed" % e.name)
    print("0 passed, 0 failed, 1 skipped")
    sys.exit(0)

from programs import program

BARS = {"f32": None, "bf16": .999, "int8": .99}


class Oracle:
    def __init__(self, what):
        a = argparse.ArgumentParser(description=what)
        a.add_argument("--quick", action="store_true", help="the best instruction set only")
        a.add_argument("--time", action="store_true")
        a.add_argument("names", nargs="*")
        self.args = a.parse_args()
        self.program = program("encode")
        self.passed = self.failed = 0
        self.folder = tempfile.TemporaryDirectory()
        transformers.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        torch.manual_seed(1)
        torch.set_num_threads(1)

    def encode(self, folder, texts, **options):
        """What encode.c prints: its line, and all floats behind it."""
        command = [self.program, str(folder)] + [x for k, v in options.items() for x in ("--" + k, str(v))]
        lines = "".join(" ".join(map(str, t)) + "\n" for t in texts).encode()
        p = subprocess.run(command, input=lines, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if p.returncode:
            raise RuntimeError(p.stderr.decode().strip())
        line, _, rest = p.stdout.partition(b"\n")
        return json.loads(line), rest

    def sets(self):
        def there(isa):
            p = subprocess.run([self.program, "/nowhere", "--isa", isa], stderr=subprocess.PIPE)
            return b"/nowhere" in p.stderr
        names = [isa for isa in ["plain", "avx2", "avx512", "amx"] if there(isa)]
        return names[-1:] if self.args.quick else names

    def check(self, name, is_right, numbers):
        self.passed, self.failed = self.passed + bool(is_right), self.failed + (not is_right)
        print("%-4s %-40s %s" % ("ok" if is_right else "FAIL", name, numbers), flush=True)

    def compare(self, name, folder, texts, hidden, logits, **options):
        for isa in self.sets():
            for precision, least in BARS.items():
                what = "%s %s %s" % (name, isa, precision)
                try:
                    about, rest = self.encode(folder, texts, isa=isa, precision=precision, **options)
                except RuntimeError as e:
                    self.check(what, False, e)
                    continue
                width, n = about["hidden"], sum(map(len, texts))
                floats = np.frombuffer(rest, np.float32)
                ours = np.split(floats[:n * width].reshape(n, width), np.cumsum([len(t) for t in texts])[:-1])
                error = max(np.abs(o - h).max() for o, h in zip(ours, hidden))
                same = min(cosine(o, h) for o, h in zip(ours, hidden))
                numbers = "hidden: max %.1e, cosine %.6f" % (error, same)
                top = max(1, max(np.abs(h).max() for h in hidden))
                is_right = error <= 1e-4 * top if least is None else same >= least
                if logits is not None:
                    ours, theirs = floats[(n + len(texts)) * width:], np.concatenate([x.ravel() for x in logits])
                    error, same = np.abs(ours - theirs).max(), cosine(ours, theirs)
                    numbers += "; logits: max %.1e, cosine %.6f" % (error, same)
                    is_right &= error <= 1e-4 * max(1, np.abs(theirs).max()) if least is None else same >= least
                self.check(what, is_right, numbers)

    def case(self, name, kind, config, lengths, respell=None, exits=()):
        """One model. `respell` changes config.json before both sides read it; `exits`: early exits to compare as well."""
        if self.args.names and not any(n in name for n in self.args.names):
            return
        folder = Path(self.folder.name) / name.replace(" ", "-")
        matters(kind._from_config(config, attn_implementation="eager")).save_pretrained(folder)
        if respell:
            about = json.loads((folder / "config.json").read_text())
            respell(about)
            (folder / "config.json").write_text(json.dumps(about))
        model = kind.from_pretrained(folder, attn_implementation="eager").eval()
        rng = np.random.default_rng(1)
        texts = [rng.integers(3, config.vocab_size, n).tolist() for n in lengths]
        trunk, hidden, logits, layers = getattr(model, model.base_model_prefix, model), [], [], []
        with torch.no_grad():
            for t in texts:
                out = trunk(torch.tensor([t]), output_hidden_states=bool(exits))
                hidden.append(out.last_hidden_state[0].numpy())
                layers.append([h[0].numpy() for h in out.hidden_states or ()])
                if trunk is not model:
                    logits.append(model(torch.tensor([t])).logits[0].numpy())
        self.compare(name, folder, texts, hidden, logits or None)
        self.compare(name + " 3 threads", folder, texts, hidden, logits or None, threads=3)
        for n in exits:
            self.compare("%s exit %d" % (name, n), folder, texts, [l[n] for l in layers], None, exit=n)

    def time(self, name, kind, config, lengths, attention="sdpa", repeat=5):
        """Milliseconds a forward, the least of `repeat`: ours in each precision on the best set, torch in float32."""
        folder = Path(self.folder.name) / "timed"
        model = kind._from_config(config, attn_implementation=attention).eval()
        model.save_pretrained(folder)
        for n in lengths:
            text = np.random.default_rng(1).integers(3, config.vocab_size, n).tolist()
            row = {p: self.encode(folder, [text], precision=p, repeat=repeat)[0]["us_least"] / 1e3 for p in BARS}
            with torch.no_grad():
                ids, took = torch.tensor([text]), []
                for _ in range(repeat + 1):
                    start = time.perf_counter()
                    model(ids)
                    took.append((time.perf_counter() - start) * 1e3)
            ours = ", ".join("%s %.1f" % x for x in row.items())
            print("%s, %d tokens: %s ms; torch f32 %.1f ms" % (name, n, ours, min(took)), flush=True)

    def done(self):
        print("%d passed, %d failed, 0 skipped" % (self.passed, self.failed))
        sys.exit(self.failed != 0)


def cosine(a, b):
    a, b = np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def matters(model):
    """Weights that make attention sharp and gains and biases felt: a fresh model has small weights, ones and zeros."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1:
                p.copy_((1 if "norm" in name.lower() and name.endswith("weight") else 0) + .2 * torch.randn_like(p))
            else:
                p.copy_(torch.randn_like(p) * (1 if "embed" in name else (p[0].numel()) ** -.5))
    return model.eval()


def modernbert(hidden=64, heads=4, layers=5, inner=96, **more):
    about = dict(vocab_size=1000, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2,
                 max_position_embeddings=1024)
    about.update(more)
    return ModernBertConfig(hidden_size=hidden, num_attention_heads=heads, num_hidden_layers=layers, intermediate_size=inner,
                            **about)


def older(every=3, **keys):
    """config.json as transformers before 5 wrote it."""
    def respell(about):
        for key in ["layer_types", "rope_parameters"]:
            about.pop(key, None)
        about.update(global_attn_every_n_layers=every, **keys)
    return respell


def main():
    o = Oracle(__doc__)
    model = transformers.ModernBertModel
    if o.args.time:
        base = modernbert(768, 12, 22, 1152, vocab_size=20000, max_position_embeddings=8192)
        o.time("mmBERT-base's shape", model, base, [16, 128, 512, 2048])
        return
    text, token = transformers.ModernBertForSequenceClassification, transformers.ModernBertForTokenClassification
    lengths = [5, 1, 300, 129, 17, 64, 200, 2]
    biased = dict(norm_bias=True, attention_bias=True, mlp_bias=True, classifier_bias=True)
    yarn = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=256)
    local = dict(rope_type="default", rope_theta=10000.0)
    far = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=8192, rope_theta=160000.0)
    o.case("plain", model, modernbert(layers=7), lengths, exits=(1, 4))
    o.case("odd sizes, all biases, mean", text,
           modernbert(60, 3, 4, 74, num_labels=5, classifier_pooling="mean", local_attention=32, **biased), lengths)
    o.case("first token", text, modernbert(96, 2, 3, 130, num_labels=3, classifier_pooling="cls"), lengths)
    o.case("tokens", token, modernbert(64, 1, 3, 64, num_labels=9), lengths)
    o.case("wide", model, modernbert(256, 4, 4, 384), [512, 700, 31])
    o.case("older file", model, modernbert(), lengths, older(2, global_rope_theta=50000.0, local_rope_theta=20000.0))
    o.case("yarn", model, modernbert(128, 2, 4, 160, rope_parameters={
        "full_attention": dict(yarn, rope_theta=160000.0, beta_fast=16, beta_slow=2), "sliding_attention": local}), [900, 3, 500])
    o.case("older yarn", model, modernbert(128, 2, 4, 160), [900, 3, 500],
           older(3, global_rope_theta=160000.0, local_rope_theta=160000.0, rope_scaling=yarn))
    o.case("linear", model, modernbert(rope_parameters={
        "full_attention": dict(rope_type="linear", factor=2.0, rope_theta=160000.0), "sliding_attention": local}), [900, 3])
    if not o.args.quick:
        o.case("32K positions", model, modernbert(64, 1, 4, 96, max_position_embeddings=32768, rope_parameters={
            "full_attention": far, "sliding_attention": far}), [12000, 40])
    o.done()


if __name__ == "__main__":
    main()
