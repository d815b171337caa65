/* neural/service.h -- encoders at work: threads, batches, one flight per text, a cache, deadlines.
 *
 * A caller (fiber or plain thread) hands in what it wants of one text and waits. Encoder threads take what is waiting, at once, and
 * pack it into one batch bounded by tokens; with a shallow queue they gang up on one batch, with a deep one each takes its own. Two
 * callers that want the same (model, text) share one forward. Pooled vectors are kept in a cache bounded in bytes. A job whose
 * deadline has passed is dropped when it is taken; a queue beyond its bound refuses at once. */
#ifndef SBX_SERVICE_H
#define SBX_SERVICE_H

#include "neural/encoder.h"
#include "neural/head.h"
#include "neural/tokenizer.h"
#include "runtime/fiber.h"

enum {
    WINDOW_TOKENS = 256,                /* default window of a long text, special tokens included */
    WINDOW_OVERLAP = 32,
    WINDOWS_MAX = 64,                   /* of one text; beyond: first, last and evenly spaced ones between */
    BATCH_TOKENS = 2048,                /* a batch takes texts until it has so many tokens */
};

struct neural_options {
    unsigned threads;                   /* encoder threads; 0: as many as cores, below the loops in priority */
    size_t queue_tokens;                /* waiting tokens; beyond: -EAGAIN. 0: 262,144 */
    size_t cache_bytes;                 /* 0: 16 MB */
    unsigned loops;                     /* loop threads beside them; if that is more than cores: nice. 0: half the cores */
};

int  neural_start(const struct neural_options *o, struct err *e);      /* once a process; idempotent */
void neural_stop(void);                 /* refuses new work, ends what runs, joins */

/* A trunk with its tokenizer, shared by path and options; counted. */
struct neural_model;
struct neural_model_options {
    enum precision precision;           /* PRECISION_N: kernel_best_precision() */
    uint32_t window_tokens;             /* 0: WINDOW_TOKENS, at most the model's positions */
    uint32_t exit_layer, dim;           /* 0: all; dim: Matryoshka truncation of vectors */
    uint32_t middle_layer;              /* whose mean is kept beside the vector, for heads that read it; 0: none */
    const char *adapter;
};
struct neural_model *neural_model_open(const char *folder, const struct neural_model_options *o, struct err *e);
struct neural_model *neural_model_hold(struct neural_model *m);
void neural_model_release(struct neural_model *m);
const struct encoder_shape *neural_model_shape(const struct neural_model *m);
const struct tokenizer *neural_model_tokenizer(const struct neural_model *m);
uint32_t neural_model_dim(const struct neural_model *m);

/* A head that can be replaced while it is served: readers hold the one they started with. */
struct neural_head;
struct neural_head *neural_head_open(const char *path, struct err *e);
/* When the file has changed: 1. Else 0. -1 and *e: the old one stays; labels, kind and dimension must be the same. */
int  neural_head_reload(struct neural_head *h, struct err *e);
void neural_head_release(struct neural_head *h);
const struct head *neural_head_get(const struct neural_head *h);       /* labels, thresholds: valid until release */

enum neural_task {
    NEURAL_EMBED,                       /* values: [n_windows][dim], L2-normalised */
    NEURAL_MIDDLE,                      /* values: [n_windows][hidden], mean of the states of middle_layer, L2-normalised */
    NEURAL_LABELS,                      /* by `head`, or the model's own classification head: [n_windows][n_labels] */
    NEURAL_SPANS,                       /* by a token head (head, or the model's own), BIO joined into spans with byte offsets,
                                         * in text order; one list for the whole text */
};

/* Bytes of the text, end exclusive. `label` counts in the labels of the head or model: the first of the span's type, "B-NAME". */
struct neural_span { uint32_t from, to; uint32_t label; float score; };

struct neural_ask {
    enum neural_task task;
    struct neural_model *model;         /* NULL: words alone (head without trunk) */
    struct neural_head *head;           /* NULL: the model's own */
    str text;
    /* the answer; memory of `a` given to neural_run */
    int status;                         /* 0, -ETIMEDOUT, -EAGAIN (queue full), -ECANCELED, -ENOMEM, -EINVAL (head of another model) */
    uint32_t n_windows;
    float *values;
    struct neural_span *spans; uint32_t n_spans;        /* LABELS: the passages that are the last windows, when the head looks closer */
    uint32_t n_tokens;                  /* of the text's windows, special ones included */
};

/* Answers all asks; those of one (model, text) share a forward. Waits at most until `deadline` (monotonic ns). Returns how many have
 * status 0. Works on fibers and on plain threads; a cancelled fiber returns at once. */
WAITS size_t neural_run(struct neural_ask *asks, size_t n, uint64_t deadline, struct arena *a);

/* Counters for metrics; process life. */
struct neural_counts {
    uint64_t forwards, tokens, texts, cache_hits, cache_misses, shared, refused, expired, busy_ns;
    uint64_t queue_tokens, cache_bytes;
};
void neural_count(struct neural_counts *out);

#endif
