/* select/learner.h -- what learns from outcomes how good, dear, long and slow each model is for a query.
 *
 * A learner is fitted once on recorded rows (`fit`: which kinds of query there are, how experts are weighed) and goes on with
 * single outcomes (`observe`). All that `observe` keeps are sums, so an outcome can be taken back by the same call with weight
 * -1, learners of two instances add up (`merge`), and the past fades by a factor (`forget`). Choosing is not its business: see
 * objective.h.
 *
 * Pure: no clock, no chance, no I/O. Not locked: whoever shares a learner between threads guards it. Files are the caller's: a
 * learner goes to bytes and comes from bytes, which may be hostile. */
#ifndef SBX_SELECT_LEARNER_H
#define SBX_SELECT_LEARNER_H

#include "base/buf.h"
#include "base/err.h"
#include "select/feature.h"

enum { LEARNER_MODELS_MAX = 1024, LEARNER_KINDS_MAX = 1024, LEARNER_VECTOR_MAX = 8192 };

struct outcome {                        /* of one model for one query */
    const struct features *x;
    uint64_t query;                     /* hash of the query: outcomes of one query by several models belong together; 0: unknown
                                         * */
    uint32_t model;                     /* by learner_model */
    float quality;                      /* 0 .. 1; NAN: not judged (yet) */
    float cost_usd;                     /* of the answer; NAN: unknown, as the rest */
    float out_tokens;
    float latency_s;
};

struct prediction {                     /* of one model for one query */
    float quality;                      /* expected, 0 .. 1, calibrated: of answers said to be 0.7, seven in ten are right */
    float score;                        /* the same before calibration, which bends differences: compare models by this */
    float deviation;                    /* how unsure we are of that mean (one standard deviation of the belief, not of outcomes)
                                         * */
    float count;                        /* outcomes that speak for it, weighed by likeness; 0: priors alone */
    float cost_usd;                     /* expected; NAN: nothing known */
    float out_tokens, out_tokens_90;    /* expected, and what nine of ten stay under; NAN: nothing known */
    float latency_s, latency_90_s;
};

struct learner;

struct learner_spec {                   /* zeros: the defaults */
    double shrink_kind;                 /* outcomes that the model's mean over all kinds is worth in a cell; 0: 5 */
    double shrink_model;                /* outcomes that the mean of all models is worth for a model; 0: 2 */
    uint32_t neighbours;                /* of knn; 0: 100 */
    uint32_t n_clusters;                /* kinds to make up when no row has a label; 0: by the number of rows */
    uint32_t rows_max;                  /* stored queries of knn; beyond: the oldest go. 0: 20,000 */
    uint64_t seed;
};

/* Rows as they were recorded, quality[row * n_models + model] and so on; NAN: missing. NULL arrays: nothing known of that. */
struct recorded {
    const struct features *x; uint32_t n;
    const uint64_t *query;              /* group of a row: rows of one group are never split between learning and judging; NULL:
                                         * none */
    const str *models; uint32_t n_models;
    const float *quality, *cost_usd, *out_tokens, *latency_s;
    const uint32_t *rows; uint32_t n_rows;      /* which rows to learn from; NULL: all */
};

/* The rows to learn from: how many, and which the i-th is. */
static inline uint32_t recorded_n(const struct recorded *r)                     { return r->rows ? r->n_rows : r->n; }
static inline uint32_t recorded_row(const struct recorded *r, uint32_t i)       { return r->rows ? r->rows[i] : i; }
uint32_t recorded_longest(const struct recorded *r);    /* grams of the longest of them, at least 1 */
/* What is recorded of one model in one row, as an outcome. */
struct outcome recorded_outcome(const struct recorded *r, uint32_t row, uint32_t model);

struct learner_ops {
    const char *name;                   /* "table" */
    const char *summary;
    bool has_score;                     /* predict fills `score`; else it is `quality` */
    size_t bytes;                       /* of the learner's struct, which begins with a struct learner; zeroed at the start */
    void (*release)(struct learner *l); /* what it holds, not itself */
    bool (*grow)(struct learner *l);    /* n_models has grown; false: no memory */
    /* forgets all and learns the rows. 0, or -1 and *e */
    int  (*fit)(struct learner *l, const struct recorded *r, struct err *e);
    /* weight: 1, or -1 to take it back; others: part of one */
    void (*observe)(struct learner *l, const struct outcome *o, double weight);
    /* out[0 .. n_models of the learner). Scratch is in `a`; nothing is kept. */
    void (*predict)(const struct learner *l, const struct features *x, struct prediction *out, struct arena *a);
    /* sums times `keep`; model UINT32_MAX: of all. 0: start afresh */
    void (*forget)(struct learner *l, uint32_t model, double keep);
    bool (*merge)(struct learner *l, const struct learner *other, double share);    /* adds other's sums; false: of another fit */
    void (*save)(const struct learner *l, struct buf *out);
    int  (*load)(struct learner *l, str bytes, struct err *e);          /* into a new one that knows its names. 0, or -1 and *e */
    /* NULL: it has no kinds */
    bool (*kinds)(const struct learner *l, const struct features *x, float *p, struct arena *a);
    /* NULL: it has no table */
    bool (*cell)(const struct learner *l, uint32_t kind, uint32_t model, struct prediction *out);
};

extern const struct learner_ops *const learner_all[];   /* NULL-terminated: mean, table, knn, factor, blend, and the field's
                                                         * (learner_list.h) */
const struct learner_ops *learner_by_name(str name);    /* NULL: none */

/* What every learner begins with; the rest of the struct is its own. */
struct learner {
    const struct learner_ops *ops;
    struct learner_spec spec;           /* with the defaults filled in */
    str *models; uint32_t n_models, cap_models; /* names; a model keeps its index for ever */
    str *kinds; uint32_t n_kinds;       /* kinds of query it tells apart; 0: none */
    bool words_alone;                   /* it was fitted when parts of words were no features: it does not see them */
    uint32_t vector_dim;                /* numbers of the encoder's vectors that it was fitted on; 0: it reads none */
    uint64_t fit_id;                    /* of what `fit` saw; learners of one fit can be merged. 0: never fitted */
};

struct learner *learner_new(const char *ops, const struct learner_spec *spec);  /* NULL: no memory or no such learner */
void learner_free(struct learner *l);                   /* NULL is fine */
/* adds the models of r that are new; 0, or -1 and *e */
int learner_fit(struct learner *l, const struct recorded *r, struct err *e);
/* Index of a model, added if it is new (then it starts from priors). UINT32_MAX: LEARNER_MODELS_MAX reached or no memory. */
uint32_t learner_model(struct learner *l, str name);
/* For merge: model_of[other->n_models] is where the other's models are here, added if they are new. False as learner_model. */
bool learner_models_of(struct learner *l, const struct learner *other, uint32_t *model_of);
bool learner_kinds_set(struct learner *l, const str *kinds, uint32_t n);       /* for fit; false: no memory */
uint32_t learner_find(const struct learner *l, str name);       /* UINT32_MAX: unknown */
uint32_t learner_kind(const struct learner *l, str name);       /* of a label; UINT32_MAX: unknown */
/* weight: 1, or -1 to take it back; others: part of one. */
void learner_observe(struct learner *l, const struct outcome *o, double weight);
void learner_predict(const struct learner *l, const struct features *x, struct prediction *out, struct arena *a);

/* What to expect of a model that the learner has never seen: what models of about its price do. p[n] are its predictions for the
 * query; cost_usd is what the stranger's answer would cost, NAN: not known. Strangers' mean quality over recorded sets is missed by
 * .067 instead of .110 (zeroeval, the mean of all models) and .085 instead of .108 (mmlupro); names' families add nothing to that. */
struct prediction learner_stranger(const struct prediction *p, uint32_t n, double cost_usd);

/* How likely x is of each kind: p[n_kinds], sums to 1. False: this learner has no kinds. For explanations, and for whoever keeps
 * sums by kind. */
bool learner_kinds(const struct learner *l, const struct features *x, float *p, struct arena *a);
/* A cell of its table: mean quality as recorded (not shrunken) and count. False: no table. */
bool learner_cell(const struct learner *l, uint32_t kind, uint32_t model, struct prediction *out);

/* Bytes with a header that names the learner, the version and a checksum. learner_load finds the ops by itself; NULL and *e. */
void learner_save(const struct learner *l, struct buf *out);
struct learner *learner_load(str bytes, struct err *e);

#endif
