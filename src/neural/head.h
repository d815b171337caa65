/* neural/head.h -- small classifiers on a shared trunk, and the words beside it.
 *
 * A head reads the trunk's pooled vector of a window (or each token's state) and, if it has them, hashed n-grams of the same text, and
 * gives one probability a label. One file a head: safetensors, whose metadata holds the card (signal, trunk, labels, data, licence,
 * metrics, thresholds). Trained by `signalbox train head` (train.h); evaluation needs no allocation. */
#ifndef SBX_HEAD_H
#define SBX_HEAD_H

#include "base/err.h"

enum head_kind { HEAD_LINEAR, HEAD_MLP, HEAD_TOKENS };

struct ngram_spec {                     /* of the hashed features; see ngram.h. buckets 0: none */
    uint32_t buckets;                   /* a power of two */
    uint8_t character_min, character_max;       /* lengths of character n-grams inside words; 0: none */
    uint8_t word_max;                   /* word n-grams up to this length; 0: none */
    bool is_normalised;                 /* look-alike letters, leet digits and inserted separators are folded first */
};

/* How places of a text that a head's words point at are seen by themselves (passages.h); heads of one label with trunk and words. */
struct head_passages {
    uint32_t most;                      /* of one text; 0: none */
    uint32_t bytes;                     /* of one passage at most */
    uint32_t from;                      /* texts of as many bytes on are looked into; a card without it: longer than a passage */
    float bar;                          /* least logit of the words (divided by the head's temperature): most harmless texts have none */
    float slope;                        /* a logit counts less by slope * ln of the number of sentences that it was chosen from */
    float temperature, offset;          /* ... then divided and moved: calibrated on whole texts */
};

enum { HEAD_LABELS_MAX = 256, HEAD_THRESHOLDS_MAX = 16, PASSAGES_MAX = 8 };

struct head_threshold { float false_alarm_rate, threshold, low, high; };    /* calibrated on held-out rows; low..high: 95 % interval of the rate */

struct head {
    enum head_kind kind;
    str signal;                         /* "jailbreak" */
    str trunk;                          /* name and SHA-256 prefix of the weights it was trained on; "": needs none */
    str *labels; uint32_t n_labels;     /* softmax over two or more; one label: sigmoid */
    uint32_t layer;                     /* of the trunk, whose states are pooled; 0: the last */
    uint32_t dim, hidden;               /* of the trunk vector (0: words alone); MLP: hidden units */
    const float *weight, *bias;         /* LINEAR, TOKENS: [n_labels][dim]; MLP: first layer [hidden][dim] */
    const float *weight2, *bias2;       /* MLP: [n_labels][hidden] */
    struct ngram_spec ngrams;
    const float *ngram_weight;          /* [buckets][n_labels] */
    float temperature;                  /* logits are divided by it (calibration) */
    float *offset;                      /* [n_labels], added to the calibrated logits; NULL: 0 */
    float window_share;                 /* long texts: score = share * max over windows + (1 - share) * mean */
    struct head_passages passages;
    struct head_threshold thresholds[HEAD_THRESHOLDS_MAX]; uint32_t n_thresholds;
    str card;                           /* JSON of the metadata, whole */
};

struct json_writer;
void head_thresholds_json(const struct head *h, struct json_writer *w);        /* [{false_alarm_rate, threshold, low, high}] */

struct head *head_open(const char *path, struct err *e);       /* NULL and *e */
void head_close(struct head *h);
int head_write(const struct head *h, const char *path, struct err *e);         /* atomically */

/* Probabilities of one text or window. `vector`: [dim], ignored when dim is 0. `ngram_logits`: [n_labels] from head_ngrams, or NULL. */
void head_run(const struct head *h, const float *vector, const float *ngram_logits, float *out);
void head_ngrams(const struct head *h, str text, float *logits);   /* the words' share of the logits; microseconds */
/* HEAD_TOKENS: out [n_tokens][n_labels]. */
void head_tokens(const struct head *h, const float *states, uint32_t n_tokens, float *out);

#endif
