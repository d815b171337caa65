/* neural/train.h -- a head from labelled rows, in seconds.
 *
 * Softmax (one label: logistic) regression over the trunk's vector and another over hashed words, trained apart and added: fitted together,
 * words explain the sources at hand and starve the trunk, which is what carries over to other sources (docs/internals/heads.md). By L-BFGS
 * (Liu and Nocedal 1989, two-loop recursion, backtracking to the Armijo condition): convex, no learning rate, the same answer every time.
 * Words are weighted by their inverse document frequency and vectors centred and scaled while training; the weights that are written have
 * that in them. An MLP on the trunk vector is trained by Adam (Kingma and Ba 2015) with early stopping on a tenth of the rows. */
#ifndef SBX_TRAIN_H
#define SBX_TRAIN_H

#include "neural/ngram.h"

struct train_rows {
    uint32_t n, n_labels;               /* n_labels 1: label is 0 or 1 */
    uint32_t dim;                       /* 0: words alone */
    const float *vectors;               /* [n][dim] */
    const struct ngram_feature *features; const uint64_t *starts;   /* [starts[n]], [n + 1]; NULL: no words */
    const uint32_t *label;              /* [n] */
    const float *weight;                /* [n] of each row; 0: not learned from */
};

struct train_options {
    enum head_kind kind;                /* HEAD_LINEAR or HEAD_MLP */
    struct ngram_spec ngrams;
    double c_vector, c_words;           /* inverse strength of the penalty: |w|^2 / 2 + c * sum of the rows' losses */
    uint32_t hidden;                    /* MLP */
    uint32_t steps_max;                 /* L-BFGS steps or epochs */
    uint64_t seed;
    void (*progress)(void *arg, uint32_t step, double loss); void *arg;     /* may be NULL */
};

struct train_options train_defaults(void);

enum train_part { TRAIN_VECTOR, TRAIN_WORDS };

/* One part. Fills kind, n_labels, dim, hidden, weights, bias, ngrams, ngram_weight of *out (arena a); labels, card and calibration are the
 * caller's. Returns the steps taken, or -1 and *e. */
int train_part(const struct train_rows *rows, enum train_part part, const struct train_options *o, struct arena *a, struct head *out,
               struct err *e);

/* The sum of two heads of the same labels, each divided by its share's standard deviation (of held-out logits); either may be NULL. */
void train_add(const struct head *vector, float vector_deviation, const struct head *words, float words_deviation, struct arena *a,
               struct head *out);

/* Logits of a trained head on row i: what head_run divides by the temperature. */
void train_logits(const struct head *h, const struct train_rows *rows, uint32_t i, float *out);

/* Temperature and offset (one label) that make sigmoid(logit / temperature + offset) probabilities (Platt 1999), by Newton steps on
 * held-out rows. */
void train_platt(const float *logits, const bool *is_positive, uint32_t n, float *temperature, float *offset);

/* Weights by which every class, and within a class every source, counts alike to the power `evenness` (0: rows count, 1: sources do). */
void train_balance(const uint32_t *label, const uint32_t *source, uint32_t n, double evenness, float *weight);

#endif
