#!/usr/bin/env python3
"""Compare DeBERTa v2 / v3 with transformers: hidden states, early exits and logits, on every instruction set and precision.

    deberta_oracle.py [--quick] [--time] [NAME...]     (as modernbert_oracle.py)"""
import sys

try:
    import numpy  # noqa: F401
    import torch  # noqa: F401
    import transformers
    from transformers import DebertaV2Config
except ImportError as e:
    print("skip: %s is not installed" % e.name)
    print("0 passed, 0 failed, 1 skipped")
    sys.exit(0)

from modernbert_oracle import Oracle

V3 = dict(relative_attention=True, position_buckets=64, norm_rel_ebd="layer_norm", share_att_key=True, pos_att_type="p2c|c2p",
          position_biased_input=False, type_vocab_size=0)


def deberta(hidden=64, heads=4, layers=3, inner=128, **more):
    about = dict(vocab_size=1000, pad_token_id=0, max_position_embeddings=512)
    about.update(more)
    return DebertaV2Config(hidden_size=hidden, num_attention_heads=heads, num_hidden_layers=layers, intermediate_size=inner,
                           **about)


def main():
    o = Oracle(__doc__)
    model = transformers.DebertaV2Model
    if o.args.time:
        base = deberta(768, 12, 12, 3072, vocab_size=20000, **dict(V3, position_buckets=256))
        o.time("deberta-v3-base's shape", model, base, [16, 128, 512], "eager")
        return
    text, token = transformers.DebertaV2ForSequenceClassification, transformers.DebertaV2ForTokenClassification
    lengths = [5, 1, 300, 129, 17, 64, 200, 2, 512]
    o.case("v3", model, deberta(layers=4, **V3), lengths, exits=(1, 3))
    o.case("v3 odd sizes, 256 buckets, text", text,
           deberta(60, 3, 3, 74, num_labels=3, **dict(V3, position_buckets=256)), lengths)
    o.case("own projections of places, tokens", token,
           deberta(64, 2, 3, 100, num_labels=7, **dict(V3, share_att_key=False, norm_rel_ebd="none")), lengths)
    o.case("content to position alone", model, deberta(**dict(V3, pos_att_type=["c2p"])), lengths)
    o.case("position to content alone", model, deberta(**dict(V3, pos_att_type=["p2c"], share_att_key=False)), lengths)
    o.case("convolution", model, deberta(96, conv_kernel_size=3, conv_act="gelu", **V3), lengths, exits=(1,))
    o.case("convolution in groups", model, deberta(96, conv_kernel_size=5, conv_act="tanh", conv_groups=4, **V3), lengths)
    o.case("positions, types, small embeddings", text,
           deberta(embedding_size=40, type_vocab_size=2, relative_attention=True, pos_att_type=["p2c", "c2p"], share_att_key=True,
                   num_labels=1, pooler_hidden_act="tanh"), lengths)
    o.case("no relative places", model, deberta(layers=2), lengths)
    o.done()


if __name__ == "__main__":
    main()
