/* select/kinds.h -- which kind of query a text is: logistic regression over its hashed words and its cues. */
#ifndef SBX_SELECT_KINDS_H
#define SBX_SELECT_KINDS_H

#include "select/learner.h"
#include "select/pack.h"

enum { CUE_BINS = 16 };

struct kinds {
    uint32_t n;
    bool is_unit;                       /* the known words of a text are scaled to length 1 */
    uint32_t *row;                      /* [FEATURE_BUCKETS] row of the weights + 1; 0: no training text had it */
    uint32_t n_rows;
    float *idf;                         /* [n_rows] what a word weighs; above 0 */
    float *weight;                      /* [n_rows][n] */
    float *unseen;                      /* [n] what every word weighs besides, known or not; 0 but in tables of naive Bayes */
    float *prior;                       /* [n] */
    float edge[FEATURE_CUES][CUE_BINS - 1];
    float *cue;                         /* [FEATURE_CUES][CUE_BINS][n] */
};

/* Learns from rows; label[i] < n is the kind of row i, UINT32_MAX: not known, left out. False: no memory. */
bool kinds_fit(struct kinds *k, const struct recorded *r, const uint32_t *label, uint32_t n);
void kinds_clear(struct kinds *k);
void kinds_predict(const struct kinds *k, const struct features *x, float *p);     /* p[n]; sums to 1 */
double kinds_entropy(const float *p, uint32_t n);      /* of shares that sum to 1: 0 sure of one, 1 all alike */
void kinds_save(const struct kinds *k, struct buf *out);
bool kinds_load(struct kinds *k, struct unpack *u);     /* false: broken */

/* Kinds for rows without labels: spherical k-means over 256 hashed dimensions. label[n]. False: no memory. */
bool kinds_cluster(const struct recorded *r, uint32_t n_clusters, uint64_t seed, uint32_t *label);

/* Of which kind each row is (label[r->n]; UINT32_MAX: not known) and what the kinds are called (names[LEARNER_KINDS_MAX], in the
 * arena or the rows): by the rows' labels, or, if there are none or they are not to be heeded, by clusters. How many kinds;
 * UINT32_MAX: no memory. */
uint32_t kinds_name(const struct recorded *r, const struct learner_spec *spec, bool heeds_labels, uint32_t *label, str *names,
                    struct arena *a);

#endif
