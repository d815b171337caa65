/* select/newcomer.h -- what to think of a model of which few outcomes are known, on rows where those of other models are.
 *
 * A newcomer's outcome in a row is taken to be what strong models do there, plus a few numbers that are the newcomer's own: how much
 * better it is overall, how far it goes along each of the directions in which the others differ (principal components of their
 * outcomes in that very row, not of its text), and what it does differently on each kind of query. These numbers are believed with a
 * normal distribution: a linear regression by Bayes' rule, whose prior is what the other models would have needed (empirical Bayes).
 * So an outcome on one row says something of all rows, a kind nobody has asked has a sensible figure and an honest doubt, and with
 * many outcomes the newcomer's own decide. Like UniRoute's vector of errors by cluster and IRT's ability, in one.
 *
 * Pure. Rows are counted as in struct recorded: row i is recorded_row(r, i). */
#ifndef SBX_SELECT_NEWCOMER_H
#define SBX_SELECT_NEWCOMER_H

#include "select/learner.h"

enum {
    NEWCOMER_RANK = 6,                  /* the common shift, and five directions: 3 and 8 were no better */
    NEWCOMER_OTHERS = 64,               /* the best so many other models are looked at */
    NEWCOMER_KINDS = 64,                /* the largest so many kinds are told apart; one more holds all others */
};

/* Deviations by which the gain of a newcomer must be above 0, see newcomer_doubts. 2 loses half as much where there is nothing to gain, and
 * gains less where there is (docs/internals/learning.md). */
#define NEWCOMER_CAUTION 1.5

struct newcomer_prior {                 /* variances of the newcomer's own numbers, and of single outcomes */
    double shift, direction, kind;      /* direction: times what the other models' spread is */
    double noise, noise_doubt;          /* of a row: noise + noise_doubt . m (1 - m), where m is the others' mean */
};

struct newcomer_kind {                  /* of a kind of query: means over its rows */
    double share;                       /* of all rows */
    double expected, doubt, place[NEWCOMER_RANK];
    double best;                        /* mean of the best other model there */
};

struct newcomer {
    uint32_t n, n_kinds, rank, dim;     /* rows; kinds, the gathered ones included; directions; rank + n_kinds */
    uint32_t *kind;                     /* [n] */
    float *expected;                    /* [n] what strong models do there */
    float *doubt;                       /* [n] 2 sqrt(m (1 - m)): how much there is to differ about */
    float *noise;                       /* [n] */
    float (*place)[NEWCOMER_RANK];      /* [n] where the row lies along the directions */
    struct newcomer_kind *of;           /* [n_kinds] */
    double *belief, *spread;            /* [dim] means; [dim][dim] covariance */
    double *scratch;                    /* [2 dim] */
};

struct guess { double mean, deviation; };

/* From what the rows hold of others' variation; models with is_hidden[n_models] do not count. Defaults where there is nothing to
 * learn from, or no memory. kind[r->n]: as of kinds_name. */
struct newcomer_prior newcomer_prior(const struct recorded *r, const bool *is_hidden, const uint32_t *kind, uint32_t n_kinds);
/* Nothing is known of the newcomer yet. False: no memory. */
bool newcomer_make(struct newcomer *w, const struct recorded *r, const bool *is_hidden, const struct newcomer_prior *prior,
                   const uint32_t *kind, uint32_t n_kinds, struct arena *a);
/* All of that: kinds, prior, and the outcomes that the rows hold of the model; UINT32_MAX: it is not among them, so none. Says of which
 * rows there are some: is_known[recorded_n]. False: no memory. */
bool newcomer_read(struct newcomer *w, const struct recorded *r, uint32_t model, bool *is_known, struct arena *a);
void newcomer_tell(struct newcomer *w, uint32_t row, double quality);
double newcomer_row(const struct newcomer *w, uint32_t row);            /* expected quality there */
struct guess newcomer_kind(const struct newcomer *w, uint32_t kind);    /* mean over a kind's rows */
/* less[n_kinds]: what to take off the newcomer's figures, so that it is ahead of the best other model only on kinds where the
 * expected gain, summed over all of them, is above `caution` deviations of that sum. Kinds that are least sure are given up first. */
void newcomer_doubts(const struct newcomer *w, double caution, double *less);
/* quality[r->n * n_models]: the empty cells of the model's column become what is to be expected, less the doubts; what is known stays. */
void newcomer_fill(const struct newcomer *w, const struct recorded *r, uint32_t model, double caution, float *quality);

/* For probe.c: spread . x of a row's or a kind's vector, out[dim]; the product with such a vector; what an outcome does to a spread. */
void newcomer_reach(const struct newcomer *w, const double *spread, uint32_t row, double *out);
void newcomer_kind_reach(const struct newcomer *w, const double *spread, uint32_t kind, double *out);
double newcomer_along(const struct newcomer *w, uint32_t row, const double *v);
double newcomer_kind_along(const struct newcomer *w, uint32_t kind, const double *v);
double newcomer_narrow(const struct newcomer *w, double *spread, uint32_t row, double *reach);  /* returns the outcome's variance */

#endif
