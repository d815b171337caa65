/* decide/builder.h -- a policy in the making.
 *
 * Shared by policy.c, tree.c, projection_build.c and reach.c, and gone when the policy is there. */
#ifndef SBX_DECIDE_BUILDER_H
#define SBX_DECIDE_BUILDER_H

#include "decide/engine.h"

struct composed { uint32_t slot; const struct rule *rule; };
struct cut_request { str type; uint32_t k; };

struct policy_builder {
    struct arena *a;
    const struct profile *profile;
    struct findings *findings;
    struct policy *p;
    struct map by_name;                 /* "type\x1fname" -> slot + 1 */
    str *type, *name;
    bool *is_declared, *is_hidden;
    uint32_t n_slots;
    bool is_declaring;
    struct signal_unit **units; uint32_t n_units;
    struct composed *composed; size_t n_composed;
    struct cut_request *cuts; size_t n_cuts;
    bool is_too_large;
};

static inline uint64_t *words(struct policy_builder *b, uint32_t n)
{
    return ARENA_ARRAY(b->a, uint64_t, n);
}

str text_lower(struct arena *a, str s);
str slot_key(struct arena *a, str type, str name);      /* of by_name */

/* tree.c: a rule as nodes, and its flat program once bits are numbered. */
uint32_t tree_add(struct policy_builder *b, const struct rule *r);      /* root */
int32_t tree_emit(struct policy_builder *b, uint32_t at, bool is_negated, int32_t on_true,
                  int32_t on_false);
struct rule *composer_rule(struct policy_builder *b, const struct value *v, unsigned depth);
enum score_kind tree_score_kind(const struct policy *p, uint32_t root);

/* projection_build.c: outputs become slots; inputs are resolved; dependencies come first. */
void mappings_declare(struct policy_builder *b);
void scores_compile(struct policy_builder *b);
void projections_order(struct policy_builder *b);

/* reach.c: what can influence what. `with_groups` also counts the members of a partition that
 * a slot competes with, which matters for when the slot is settled, not for whether it is used. */
struct reach {
    const struct policy *p;
    bool with_groups;
    uint64_t **score;                   /* [n_scores] finished in the order of projections */
};
struct reach reach_make(struct policy_builder *b, bool with_groups);
void reach_tree(const struct reach *r, uint32_t root, uint64_t *out);

#endif
