/* decide/reach.c -- every slot that can influence a rule: through projections, composers, groups.
 *
 * Scores are finished in the order of projections, each from those before it, so a diamond of
 * dependencies costs no more than a chain. */
#include "decide/builder.h"

static void reach_slot(const struct reach *r, uint32_t slot, uint64_t *out);

static void reach_group(const struct reach *r, const struct group *g, uint64_t *out)
{
    for (uint32_t i = 0; i < g->n; i++)
        reach_slot(r, g->members[i], out);
}

void reach_tree(const struct reach *r, uint32_t root, uint64_t *out)
{
    for (uint32_t n = root; n < r->p->nodes[root].next; n++) {
        if (r->p->nodes[n].kind == NODE_LEAF)
            reach_slot(r, r->p->nodes[n].slot, out);
    }
}

static void reach_score(const struct reach *r, uint32_t score, uint64_t *out)
{
    for (uint32_t w = 0; w < r->p->slot_words; w++)
        out[w] |= r->score[score][w];
}

static void reach_slot(const struct reach *r, uint32_t slot, uint64_t *out)
{
    const struct policy *p = r->p;
    if (bit_is(out, slot))
        return;
    bit_put(out, slot, true);
    if (p->composer_of[slot] != NO_INDEX)
        reach_tree(r, p->composers[p->composer_of[slot]].root, out);
    for (uint32_t i = 0; r->with_groups && i < p->n_groups; i++) {
        if (group_has(&p->groups[i], slot))
            reach_group(r, &p->groups[i], out);
    }
    for (uint32_t i = 0; r->with_groups && i < p->n_cuts; i++) {
        if (group_has(&p->cuts[i], slot))
            reach_group(r, &p->cuts[i], out);
    }
    if (p->mapping_of[slot] != NO_INDEX && p->mappings[p->mapping_of[slot]].score != NO_INDEX)
        reach_score(r, p->mappings[p->mapping_of[slot]].score, out);
}

struct reach reach_make(struct policy_builder *b, bool with_groups)
{
    const struct policy *p = b->p;
    struct reach r = { p, with_groups, ARENA_ARRAY(b->a, uint64_t *, p->n_scores) };
    for (uint32_t i = 0; i < p->n_order; i++) {
        if (p->order[i].is_mapping)
            continue;
        const struct score *s = &p->scores[p->order[i].index];
        uint64_t *out = r.score[p->order[i].index] = words(b, p->slot_words);
        for (uint32_t k = 0; k < s->n_terms; k++) {
            if (s->terms[k].score != NO_INDEX)
                reach_score(&r, s->terms[k].score, out);
            else
                reach_slot(&r, s->terms[k].slot, out);
        }
    }
    return r;
}
