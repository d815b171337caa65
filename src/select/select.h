/* select/select.h -- which of a decision's candidates answers: one file and one line in list.h each.
 *
 * Pure over what `struct select_in` carries: prices, quality, live latencies, load, seed. One that wants another model's word says
 * so first (`ask`); somebody who may wait has it answered, and `pick` finds the answer in `heard`. */
#ifndef SBX_SELECT_H
#define SBX_SELECT_H

#include "decide/decide.h"

struct candidate {
    str model;                          /* logical name */
    const struct model_ref *ref;
    double quality;                     /* quality_score of the card; NAN: unknown */
    double prompt_price;                /* USD per 1 M prompt tokens; NAN: unknown */
    double completion_price;
    uint32_t in_flight;
    double failures;                    /* share of the last attempts that failed */
    bool is_healthy;                    /* some backend is neither ejected nor down */
    const struct latency_view *latency; /* live figures; NULL: none */
    double energy;                      /* per token or whatever unit the price vector has; NAN: unknown */
    const float *card;                  /* embedding of the model card's text, of select_in's dim; NULL: none */
    str about; const struct strings *capabilities;      /* of the card; "", NULL: none */
};

struct features;

struct select_question {                       /* to a model of the configuration */
    str model, system, text;
    int64_t tokens;                     /* of the answer, at most */
    uint64_t timeout_ns;                /* 0: the model's own */
    bool wants_json;
};

struct heard { str text; const char *why; };    /* why: NULL, or why there is no answer ("timeout", ...; literal) */

struct latency_view {                   /* percentiles asked from pipeline/health */
    double (*ttft_s)(const struct latency_view *v, double percentile);  /* NAN: no data */
    double (*tpot_s)(const struct latency_view *v, double percentile);
    const void *state;
};

struct select_in {
    const struct candidate *candidates; uint32_t n;
    const struct facts *facts;
    const void *conf;                   /* decoded by the selector's own table; NULL: none */
    const void *trained;                /* what the selector's `load` made of its file; NULL: none */
    const float *embedding; uint32_t dim;       /* of the query, length 1; NULL: none was asked for */
    const struct heard *heard;          /* the answer to the selector's question; NULL: nobody was asked */
    str category;                       /* the first matched domain rule; "": none */
    uint64_t seed;
};

struct pick {
    uint32_t *order;                    /* [n] candidate indices, best first; in the arena */
    float *scores;                      /* [n] by candidate; NAN: not scored */
    double confidence;
    double propensity;                  /* probability with which order[0] was chosen */
    const char *reason;                 /* short, stable: "first", "weighted", "best_score", "no_data" */
    const char *fallback;               /* NULL, or why the algorithm could not decide */
    const struct features *features;    /* of the evaluation text, for whoever comes next; NULL: it did not read any */
};

struct select_ops {
    const char *name;
    const char *block;                  /* YAML block name under `algorithm`; NULL: none */
    struct fields fields;
    bool is_built;                      /* false: falls back to the first candidate, finding not-built */
    bool is_flow;                       /* confidence, ratings, remom, fusion, workflows */
    /* Checks across keys; `path` is the algorithm's in the file. NULL: none. */
    void (*check)(const void *conf, const struct decision_conf *d, str path, struct findings *out);
    void (*pick)(const struct select_in *in, struct arena *a, struct pick *out);
    bool (*ask)(const struct select_in *in, struct arena *a, struct select_question *out);     /* false: no need. NULL: it never asks */
    /* Selectors that are trained: from the bytes of their file to what pick finds in in->trained, in the arena (the snapshot's).
     * NULL and *e. `file_key` is where the configuration says which file. */
    const void *(*load)(struct arena *a, str bytes, struct err *e);
    const char *file_key;               /* "algorithm.learned.table"; NULL: no file */
    /* Whether pick wants in->embedding, with what `load` made. NULL: never */
    bool (*reads_embedding)(const void *trained);
};

extern const struct select_ops *const select_all[];     /* NULL-terminated */
const struct select_ops *select_by_name(str name);
bool select_always(const void *trained);                /* for reads_embedding: true */

/* What ops wants to ask before it picks among these; false: nothing. `in->n` may be 0. */
bool select_asks(const struct select_ops *ops, const struct select_in *in, struct arena *a, struct select_question *out);

/* learned.c: what a table's predictions all[n] for a query say of a candidate that it does not know, by the candidate's price. */
struct prediction;
struct prediction select_stranger(const struct prediction *all, uint32_t n, const struct candidate *c, const struct facts *f);

/* Runs ops->pick with the rules around it: one candidate -> method "single"; unknown type ->
 * static; unhealthy candidates last. `*method` gets the name to report. */
void select_run(const struct select_ops *ops, const struct select_in *in, struct arena *a,
                struct pick *out, const char **method);

#endif
