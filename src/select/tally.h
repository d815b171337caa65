/* select/tally.h -- sums by (kind of query, model), and the shrunken figures that follow from them. */
#ifndef SBX_SELECT_TALLY_H
#define SBX_SELECT_TALLY_H

#include "select/learner.h"
#include "select/pack.h"

struct tally_cell {                           /* sums only, so that outcomes can be taken back and tables added up */
    double n, quality, quality_squared;
    double costs, cost, bytes, bytes_squared, cost_bytes;       /* cost against the length of the query */
    double tokens, log_tokens, log_tokens_squared;
    double times, log_time, log_time_squared;
};

struct tally {
    struct tally_cell *cell;                  /* [n_models][n_kinds + 1]; the last of a model is the sum over kinds */
    double *worth;                      /* [n_models] outcomes that the prior of a model's cells is worth */
    double *counted;                    /* [n_models] outcomes when that was worked out */
    uint32_t n_models, cap_models, n_kinds;
};

/* keeps what is there when n_kinds is the same; false: no memory */
bool tally_size(struct tally *c, uint32_t n_models, uint32_t n_kinds);
void tally_clear(struct tally *c);
/* kind_share[n_kinds]: how much of the outcome belongs to each kind. */
void tally_add(struct tally *c, const struct learner_spec *spec, const struct outcome *o, const float *kind_share, double weight);
/* All that is recorded, into a table without kinds. Returns the mean quality, 0.5 if none is known. */
double tally_record(struct tally *c, const struct learner_spec *spec, const struct recorded *r);
/* Works out anew how much a model's cells are to be shrunken; tally_add does it by itself as outcomes grow by a quarter. */
void tally_weigh(struct tally *c, const struct learner_spec *spec);
/* p[n_kinds]: how likely each kind is. out[n_models] */
void tally_predict(const struct tally *c, const struct learner_spec *spec, uint32_t bytes, const float *p,
                   struct prediction *out, struct arena *a);
/* A model's mean over all kinds, shrunken towards a prior that others' outcomes do not move. */
double tally_mean(const struct tally *c, const struct learner_spec *spec, uint32_t model, double prior);
void tally_forget(struct tally *c, uint32_t model, double keep);
void tally_merge(struct tally *c, const struct tally *other, const uint32_t *model_of,
                 double share);   /* model_of[other->n_models] */
void tally_save(const struct tally *c, struct buf *out);
bool tally_load(struct tally *c, struct unpack *u, uint32_t n_models, uint32_t n_kinds);

#endif
