/* neural/block.h -- the transformer of BERT and its near relatives: embeddings summed and normalised, then layers that normalise
 * after each residual. Those relatives differ in what they call their tensors, in how they count positions and in their heads; so
 * each is a `struct trunk_kind`, a table of names. */
#ifndef SBX_BLOCK_H
#define SBX_BLOCK_H

#include "neural/encoder.h"

struct trunk_kind {
    const char *prefix;                 /* before the trunk's tensors in models with a head: "bert." */
    const char *types;                  /* "embeddings.token_type_embeddings.weight"; NULL: none */
    const char *layer;                  /* "encoder.layer.", then the number, then one of: */
    const char *query, *key, *value, *out, *out_norm, *up, *down, *down_norm;
    const char *activation_key;         /* of config.json */
    bool counts_from_pad;               /* positions begin behind pad_token_id and skip pads (RoBERTa) */
    struct { const char *dense; enum activation activation; const char *out; } text_head, token_head;
};

/* The functions of struct encoder_ops, but load, which names the kind. */
int  trunk_load(struct encoder *e, const struct json *config, const struct trunk_kind *kind, struct err *err);
int  trunk_forward(const struct encoder *e, const struct encoder_batch *b, struct encoder_scratch *s, struct gang *g,
                   const volatile bool *stop, float *hidden);
void trunk_classify(const struct encoder *e, const float *hidden, uint32_t n_tokens, float *logits);
void trunk_close(struct encoder *e);

#endif
