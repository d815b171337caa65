/* select/evidence.h -- what live outcomes add to a frozen expectation, in one of several ways: the strategies.
 *
 * Whoever chooses has an expectation of every candidate (a trained table's, or the model card's) that no outcome moves. A strategy
 * keeps sums of how far outcomes strayed from it and turns them into arms for the one die (select/bandit.h). They differ in what
 * they think an outcome speaks of: *thompson* of the model and of (model, kind of query); *linucb* of a context of two dozen
 * numbers, with what all models have in common as the prior of each; *fixed_share* of nothing but the model's standing in this
 * decision just now. All of them hear every outcome, whichever chooses: another strategy in the configuration begins with all that
 * is known, and instances with different ones can exchange their sums.
 *
 * Everything kept is a sum, or is derived from sums: it is taken back by weight -1, adds up between instances, and is the same
 * bits after a restart. Pure; not locked. */
#ifndef SBX_SELECT_EVIDENCE_H
#define SBX_SELECT_EVIDENCE_H

#include "base/json.h"
#include "select/bandit.h"
#include "select/feature.h"

/* ---- the context of one candidate for one request ---- */

enum {
    CONTEXT_KINDS = 16,                 /* a table's kinds beyond share a place */
    CONTEXT_MODEL = 0,                  /* the model as such */
    CONTEXT_KIND,                       /* the table's likelihoods of kinds of query; without a table the decision has one place */
    CONTEXT_LENGTH = CONTEXT_KIND + CONTEXT_KINDS,
    CONTEXT_COMPLEXITY,
    CONTEXT_LOAD, CONTEXT_LATENCY,      /* of the candidate, now */
    CONTEXT_REPUTATION,                 /* its last outcomes against what was expected of them */
    CONTEXT_LIKENESS,                   /* its expectation against those of the other candidates */
    CONTEXT_DOUBT,                      /* how unsure the expectation is: where it is optimistic, all models teach that */
    CONTEXT_N,
};

struct query_context { float kinds[CONTEXT_KINDS], length, complexity; };      /* what all candidates share */
struct candidate_context { double expected, deviation, load, latency_s, reputation, likeness; };    /* load, 0 .. 1 */

/* Cues are scaled by the expectation's doubt: theta is then in deviations, and a ridge of one says what the doubt says (an
 * expectation with deviation .05 is worth eighty outcomes, one of .25 four, as in the cells). */
void query_context_read(struct query_context *q, const struct features *f);     /* the cues of a text; leaves kinds alone */
/* Where the kinds of a table stand in a context; a kind keeps its place when others come, as a rule. */
void context_places(const str *kinds, uint32_t n, uint8_t *place);
void context_fill(const struct query_context *q, const struct candidate_context *c, float x[CONTEXT_N]);

/* ---- sums ---- */

struct linear_arms {
    struct linear **of; uint32_t cap;   /* of[model]; NULL: no outcome of it */
    struct linear common; bool is_common;       /* derived: what all have in common */
};

/* Standing of models in one decision: weights whose mean over all its candidates is one. Candidates without an outcome have all
 * the same, `others`. */
struct standing { uint32_t model; double weight, shift; };      /* shift: of the expectation, by changes that were found */
struct pot { uint64_t decision; struct standing *of; uint32_t n, cap; double others; };
struct pots { struct pot *of; uint32_t n, cap; };

enum { POTS_MAX = 4096, POT_MODELS_MAX = 256 };         /* beyond: no standing is kept, all are equal */

struct evidence {                       /* zero-initialise */
    struct cells cells;
    struct linear_arms linear;
    struct pots pots;
};

struct evidence_tuning {                /* of fixed_share */
    double rate;                        /* how far one outcome moves a weight */
    double share;                       /* of all weight that is dealt out anew with every outcome: what a worse model comes back by */
};

struct evidence_row {                   /* one outcome */
    uint32_t model, n_arms;             /* n_arms: candidates there were */
    uint64_t kind, decision;
    double reward, expected, propensity;    /* NAN: not known */
    const float *x;                     /* [CONTEXT_N] */
};

struct evidence_query { uint64_t kind, decision; struct query_context context; };       /* what all candidates share */

struct evidence_question {              /* one candidate */
    uint32_t model;                     /* UINT32_MAX: nothing can be known of it */
    double expected, deviation;         /* context.deviation may be wider: a change may have refuted the expectation */
    double penalty;                     /* taken off the value */
    double handicap;                    /* and off what its share begins with: where no bar protects the incumbent */
    struct candidate_context context;
};

struct evidence_ops {
    const char *name;
    /* arms[n] come with all but mean, deviation, count and share filled in */
    void (*believe)(struct evidence *e, const struct evidence_query *query, const struct evidence_question *q, uint32_t n,
                    struct arm *arms);
    void (*add)(struct evidence *e, const struct evidence_row *row, double weight, const struct evidence_tuning *t);
    /* It has become another model; `since` are its outcomes from then on, which were added before. */
    void (*change)(struct evidence *e, uint32_t model, const struct evidence_row *since, uint32_t n,
                   const struct evidence_tuning *t);
    bool (*merge)(struct evidence *to, const struct evidence *from);    /* false: no memory */
    void (*release)(struct evidence *e);
    const char *key;                    /* of the state file */
    void (*write)(const struct evidence *e, struct json_writer *w);     /* one value */
    /* map[i] is our index of the writer's model i, UINT32_MAX: not kept. False: not as it must be. */
    bool (*read)(struct evidence *e, const struct json *j, jref value, const uint32_t *map, uint32_t n_map, struct arena *a);
    bool is_required;                   /* a state without the key is none */
    bool by_share;                      /* the die goes by arms' shares, not by beliefs */
};

extern const struct evidence_ops *const evidence_all[];     /* NULL-terminated; the first is the default */
const struct evidence_ops *evidence_by_name(str name);      /* NULL: none */

/* The same, of all strategies. */
void evidence_add(struct evidence *e, const struct evidence_row *row, double weight, const struct evidence_tuning *t);
void evidence_change(struct evidence *e, uint32_t model, const struct evidence_row *since, uint32_t n,
                     const struct evidence_tuning *t);
bool evidence_merge(struct evidence *to, const struct evidence *from);
void evidence_free(struct evidence *e);
void evidence_write(const struct evidence *e, struct json_writer *w);       /* members of the object that is open */
bool evidence_read(struct evidence *e, const struct json *j, jref object, const uint32_t *map, uint32_t n_map, struct arena *a);

#endif
