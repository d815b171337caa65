/* signal/bank.h -- banks of prototypes: what a rule's example sentences have in common (spec 2.3.4).
 *
 * Examples that say nearly the same are one cluster and stand for themselves by one member, so a rule with forty examples
 * costs eight dot products a request, and a sentence written three times does not count three times. */
#ifndef SBX_SIGNAL_BANK_H
#define SBX_SIGNAL_BANK_H

#include "base/field.h"
#include "decide/need.h"

struct signal_models;

/* `prototype_scoring` of a module. */
struct bank_conf {
    bool enabled;                       /* false: every example is a prototype */
    double cluster_similarity_threshold, best_weight, margin_threshold;
    int64_t max_prototypes, top_m;
};
extern const struct fields bank_fields;

enum {
    BANK_EXAMPLES_MAX = 2048,           /* of one bank: clustering is quadratic, 1 s at this size. Beyond: the first ones */
    BANK_TOP_MAX = 32,                  /* top_m beyond is taken as this */
};

/* The example sentences of a set of rules, each once, and their vectors, made in one call of the model. Building time only. */
struct examples {
    const struct need_source *source;
    struct arena *a;                    /* its own; dies with examples_drop */
    struct map *by_text;
    str *texts; size_t n;
    float *vectors;                     /* [n][source->dim] */
};
void examples_start(struct examples *e, const struct need_source *source);
void examples_add(struct examples *e, str text);                /* blank ones are left out */
void examples_add_all(struct examples *e, struct strings texts);
bool examples_embed(struct examples *e, const struct signal_models *models);   /* false: the model failed, or gave no vectors */
const float *examples_find(const struct examples *e, str text); /* NULL: blank or never added */
void examples_drop(struct examples *e);

struct bank {
    const struct need_source *source;
    float *vectors;                     /* [n][source->dim] prototypes, the largest cluster first */
    uint32_t n, top_m;
    double best_weight;
};

/* From `texts`, all of which are in e; vectors in a. No usable text: an empty bank, which scores 0. */
void bank_build(struct bank *b, struct arena *a, const struct bank_conf *c, const struct examples *e, struct strings texts);

struct bank_score {                     /* similarities on the scale of thresholds (need_similarity) */
    double score;                       /* best_weight * best + (1 - best_weight) * support */
    double best, support, mean;         /* largest; mean of the top_m; mean of all */
};
struct bank_score bank_score(const struct bank *b, const float *query);

#endif
