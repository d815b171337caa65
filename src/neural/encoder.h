/* neural/encoder.h -- a transformer encoder: from token numbers to hidden states.
 *
 * An encoder is loaded once, packed for the chosen precision and instruction set, and then only read: any number of threads run
 * forwards at once, each with its own scratch. A batch is *packed*: the tokens of all texts one after the other, no padding;
 * attention stays inside each text. One architecture is one file and one line in encoder_list.h. */
#ifndef SBX_ENCODER_H
#define SBX_ENCODER_H

#include "neural/gang.h"
#include "neural/kernel.h"
#include "neural/weights.h"

struct json;

enum pooling { POOLING_MEAN, POOLING_CLS, POOLING_LAST };

struct encoder_shape {                              /* of config.json, checked */
    const char *architecture;                       /* "bert", "xlm-roberta", "modernbert", "deberta-v2" */
    uint32_t layers, hidden, heads, intermediate, vocabulary;
    uint32_t positions;                             /* longest text in tokens, special ones included */
    uint32_t exit_layer;                            /* layers that are run; = layers unless early exit is asked for */
    float norm_epsilon;
    int32_t pad_id;
    enum pooling pooling;                           /* from 1_Pooling/config.json or the classifier's own kind */
    uint32_t n_labels; str *labels;                 /* of a classification head; 0: none */
    bool is_token_head;                             /* labels are per token */
};

struct encoder {
    const struct encoder_ops *ops;
    struct encoder_shape shape;
    enum precision precision;
    struct arena *a;                                /* owns what the architecture allocates */
    struct weights *weights;                        /* stays mapped: embeddings are read from the file */
    size_t bytes_packed;
    struct adapter *adapter;                        /* LoRA; NULL: none */
    str wrapper;                                    /* what an exporter put before all names ("0.auto_model."); "": nothing */
    str architecture_class;                         /* config.json's architectures[0], "BertForTokenClassification"; "": none */
    void *state;                                    /* the architecture's */
};

struct encoder_options {
    enum precision precision;
    uint32_t exit_layer;                            /* 0: all */
    uint32_t positions_max;                         /* 0: as config.json says */
    const char *adapter;                            /* folder of a PEFT LoRA adapter to merge at load; NULL */
};

/* From a Hugging Face model folder (config.json and weights). NULL and *e: which file, which tensor, what is wrong.
 * Weights with NaN or infinity are refused. */
struct encoder *encoder_open(const char *folder, const struct encoder_options *o, struct err *e);
void encoder_close(struct encoder *e);

struct encoder_batch {
    const int32_t *ids;                             /* [n_tokens], each in 0 .. vocabulary */
    const uint8_t *types;                           /* token types; NULL: all 0 */
    const uint32_t *starts;                         /* [n_texts + 1]; text i is starts[i] .. starts[i + 1] */
    uint32_t n_texts;
    uint32_t middle_layer;                          /* whose states are wanted too, counted as exit_layer is; 0: none */
    float *middle;                                  /* [n_tokens][hidden] for them */
};

/* One a thread. Grows to the largest batch it has seen, up to ENCODER_TOKENS_MAX tokens, then allocates no more. */
enum { ENCODER_TOKENS_MAX = 32768 };
struct encoder_scratch;
struct encoder_scratch *encoder_scratch_new(void);
void encoder_scratch_free(struct encoder_scratch *s);

/* Runs the trunk. Returns [n_tokens][hidden] in the scratch, valid until its next forward; NULL: no memory, or `*stop` became
 * true between two layers (stop may be NULL). g may be NULL. */
const float *encoder_forward(const struct encoder *e, const struct encoder_batch *b, struct encoder_scratch *s, struct gang *g,
                             const volatile bool *stop);

/* Pools text `i` of a batch: out[hidden]. */
void encoder_pool(const struct encoder_shape *shape, enum pooling how, const float *hidden, const struct encoder_batch *b,
                  uint32_t i, float *out);
/* The model's own classification head on text i: n_labels logits, or [tokens of i][n_labels] for a token head. */
void encoder_classify(const struct encoder *e, const float *hidden, const struct encoder_batch *b, uint32_t i, float *logits);

/* ---- for the architectures ---- */

struct encoder_ops {
    const char *model_type;                         /* config.json's */
    int  (*load)(struct encoder *e, const struct json *config, const struct encoder_options *o, struct err *err);
    int  (*forward)(const struct encoder *e, const struct encoder_batch *b, struct encoder_scratch *s, struct gang *g,
                    const volatile bool *stop, float *hidden);  /* -1: no memory or stopped */
    void (*classify)(const struct encoder *e, const float *hidden, uint32_t n_tokens, float *logits);   /* NULL: no head */
    void (*close)(struct encoder *e);               /* matrices and what the arena does not own */
};

/* Scratch memory of one forward, aligned to 64, not zeroed; NULL: no memory. Handed out from one block that is kept. */
void *encoder_take(struct encoder_scratch *s, size_t bytes);
size_t encoder_taken(const struct encoder_scratch *s);          /* a mark ... */
void encoder_give(struct encoder_scratch *s, size_t mark);      /* ... to go back to */

/* For architectures: rows from .. from + n of the states after `layer` layers, for whoever wants that layer. */
static inline void encoder_middle(const struct encoder_batch *b, uint32_t layer, const float *rows, size_t from, size_t n,
                                  size_t hidden)
{
    if (b->middle && layer == b->middle_layer)
        memcpy(b->middle + from * hidden, rows, n * hidden * sizeof *rows);
}

/* Finds e->wrapper: what stands before the table `name`, with one of the prefixes, in this file. An architecture calls it first. */
void encoder_unwrap(struct encoder *e, const char *const *prefixes, const char *name);

/* Helpers shared by the architectures (encoder.c): a named tensor of exactly this shape, as packed matrix, as floats in e->a.
 * `prefixes` are tried in turn ("bert.", ""), behind the wrapper and without it; NULL ends the list. For matrices `name` is the module's
 * ("encoder.layer.0.output.dense"; ".weight" and, with has_bias, ".bias" are put behind it); for floats and tables it is the
 * tensor's ("embeddings.LayerNorm.weight"). Errors name the tensor and both shapes. NaN and infinity are refused. LoRA deltas are
 * merged here. */
const struct tensor *encoder_find(const struct encoder *e, const char *const *prefixes, const char *name);  /* NULL: none */
int encoder_matrix(struct encoder *e, const char *const *prefixes, const char *name, uint32_t n, uint32_t k, bool has_bias,
                   bool is_gated, struct matrix *out, struct err *err);
/* Several tensors of the same k stacked into one matrix (query, key, value). */
int encoder_matrix_stack(struct encoder *e, const char *const *prefixes, const char *const *names, size_t n_names,
                         uint32_t n_each, uint32_t k, bool has_bias, struct matrix *out, struct err *err);
const float *encoder_floats(struct encoder *e, const char *const *prefixes, const char *name, size_t n, bool is_optional,
                            struct err *err);
const struct tensor *encoder_table(struct encoder *e, const char *const *prefixes, const char *name, size_t rows, size_t columns,
                                   struct err *err);            /* an embedding table, left in the file */
/* One product shared by the gang: columns are split. */
void encoder_product(struct gang *g, const struct matrix *w, const struct rows *x, float *y, size_t y_stride,
                     const struct epilogue *e);

/* What BERT's descendants put on the first token (or on each): a dense layer, perhaps a norm, then the labels. Always float32. */
struct classifier {
    const float *dense, *dense_bias;                /* [hidden][hidden]; NULL: straight to the labels; bias may be NULL */
    enum activation activation;
    const float *gain, *norm_bias;                  /* [hidden]; NULL: no norm; bias may be NULL */
    const float *out, *out_bias;                    /* [n_labels][hidden]; bias may be NULL */
};
/* Loads the last layer and, unless `dense` is NULL, the one before it ("classifier", "pooler.dense"); sets n_labels and labels of
 * the shape. A model without `out` has no head: 0 and shape.n_labels stays 0, unless config.json says that it is a classifier. */
int encoder_classifier(struct encoder *e, const char *const *prefixes, const char *dense, enum activation activation,
                       const char *out, struct classifier *c, struct err *err);
void classifier_run(const struct encoder *e, const struct classifier *c, const float *row, float *logits);  /* row: [hidden] */

/* config.json's name of an activation ("gelu", "gelu_new", "relu", ...); `key` is "hidden_act" or what the architecture calls it.
 * */
int encoder_activation(const struct json *config, const char *key, enum activation *out, struct err *err);
/* JSON file `name` of a folder, parsed; *out reads from memory of `a`. -1 and *err. */
int encoder_json(struct arena *a, const char *folder, const char *name, struct json *out, struct err *err);
/* A whole number of config.json within min .. max; absent: fallback. -1 and *err names the key. */
int encoder_integer(const struct json *config, const char *key, int64_t fallback, int64_t min, int64_t max, int64_t *out,
                    struct err *err);
int encoder_number(const struct json *config, const char *key, double fallback, double min, double max, double *out,
                   struct err *err);
/* Attention of all texts and heads, shared by the gang. qkv: [n_tokens] rows; k and v as in attention(). -1: no memory. */
int encoder_attention(const struct encoder *e, const struct encoder_batch *b, struct encoder_scratch *s, struct gang *g,
                      const float *q, const float *k, const float *v, size_t stride, float scale, size_t window, float *out,
                      size_t out_stride);

#endif
