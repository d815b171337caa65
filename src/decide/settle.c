/* decide/settle.c -- brings what lies between the signals and the rules up to date.
 *
 * The order is fixed (spec 01, section 2.2): partitions, composers, top-k, projections; numeric
 * predicates last. Every step works on what is known so far. Where something is still open its
 * results are open too, so that calling this after every unit that has run is enough, and calling
 * it once with everything known is the eager evaluation. */
#include <math.h>

#include "decide/engine.h"

bool number_holds(const struct number_predicate *p, double v)
{
    return isfinite(v) && (isnan(p->gt) || v > p->gt) && (isnan(p->gte) || v >= p->gte) &&
           (isnan(p->lt) || v < p->lt) && (isnan(p->lte) || v <= p->lte);
}

/* Stored confidences are taken within [0, 1], none counts as 1: so an OR with a plain match is
 * settled at 1 whatever its other branches might say. */
double confidence_of(const struct decide_scratch *s, uint32_t slot)
{
    float c = s->out.confidence[slot];
    return isnan(c) || c > 1 ? 1 : c < 0 ? 0 : (double)c;
}

static double rank_of(const struct decide_scratch *s, uint32_t slot)
{
    float c = s->out.confidence[slot];
    return isnan(c) ? 0 : (double)c;            /* among competitors none counts as 0 */
}

void slot_is(struct decide_scratch *s, uint32_t slot, bool is_yes, bool is_known)
{
    bit_put(s->set, slot, true);
    bit_put(s->yes, slot, is_yes);
    bit_put(s->known, slot, is_known);
}

/* False when some member is still open; then none of them is settled. */
static bool group_is_set(struct decide_scratch *s, const struct group *g)
{
    bool all = true;
    for (uint32_t i = 0; i < g->n && all; i++)
        all = bit_is(s->set, g->members[i]);
    for (uint32_t i = 0; i < g->n && !all; i++)
        bit_put(s->set, g->members[i], false);
    return all;
}

static void group_none_matched(struct decide_scratch *s, const struct group *g)
{
    bool any_unknown = false;
    for (uint32_t i = 0; i < g->n; i++)
        any_unknown |= !bit_is(s->known, g->members[i]);
    if (g->default_slot == NO_INDEX || (any_unknown && s->p->is_ternary))
        return;                                 /* who is unknown might have been the one */
    slot_is(s, g->default_slot, true, true);
    s->out.confidence[g->default_slot] = NAN;
}

static void group_partition(struct decide_scratch *s, const struct group *g)
{
    uint32_t winner = NO_INDEX;
    for (uint32_t i = 0; i < g->n; i++) {
        uint32_t m = g->members[i];
        if (bit_is(s->yes, m) && (winner == NO_INDEX || rank_of(s, m) > rank_of(s, winner)))
            winner = m;
    }
    if (winner == NO_INDEX) {
        group_none_matched(s, g);
        return;
    }
    double best = rank_of(s, winner), sum = 0;
    for (uint32_t i = 0; i < g->n; i++) {
        uint32_t m = g->members[i];
        if (bit_is(s->yes, m))
            sum += exp((rank_of(s, m) - best) / g->temperature);
        if (m != winner && (bit_is(s->yes, m) || s->p->is_ternary))
            slot_is(s, m, false, true);
    }
    if (g->kind == GROUP_SOFTMAX)
        s->out.confidence[winner] = (float)(1 / sum);
}

static bool ranks_before(const struct decide_scratch *s, uint32_t a, uint32_t b)
{
    double x = rank_of(s, a), y = rank_of(s, b);
    return x > y || (x == y && str_cmp(s->p->name[a], s->p->name[b]) < 0);
}

static void group_cut(struct decide_scratch *s, const struct group *g)
{
    memset(s->seen, 0, s->p->slot_words * sizeof *s->seen);
    for (uint32_t i = 0; i < g->n; i++) {
        uint32_t before = 0, m = g->members[i];
        for (uint32_t k = 0; k < g->n && bit_is(s->yes, m); k++)
            before += bit_is(s->yes, g->members[k]) && ranks_before(s, g->members[k], m);
        bit_put(s->seen, m, before >= g->k);
    }
    for (uint32_t i = 0; i < g->n; i++) {
        if (bit_is(s->seen, g->members[i])) {
            slot_is(s, g->members[i], false, true);
            s->out.confidence[g->members[i]] = NAN;
        }
    }
}

static void composers_apply(struct decide_scratch *s)
{
    for (uint32_t i = 0; i < s->p->n_composers; i++) {
        const struct composer *c = &s->p->composers[i];
        bool is_yes = bit_is(s->yes, c->slot), is_known = bit_is(s->known, c->slot);
        if (!bit_is(s->set, c->slot) || (is_known && !is_yes))
            continue;
        struct outlook o = node_outlook(s->p, s, c->root);
        if (o.lo != o.hi)
            bit_put(s->set, c->slot, false);
        else if (o.lo < 2 && (is_yes || o.lo == 0))
            slot_is(s, c->slot, false, o.lo == 0);
    }
}

static void atoms_apply(struct decide_scratch *s)
{
    const struct policy *p = s->p;
    for (uint32_t i = 0; i < p->n_atoms; i++) {
        const struct atom *a = &p->atoms[i];
        uint32_t bit = p->n_slots + i;
        double v = s->raw.value[a->slot];
        bool is_output = p->mapping_of[a->slot] != NO_INDEX;
        if (!bit_is(s->set, a->slot) || (is_output && !bit_is(s->exact, a->slot))) {
            bit_put(s->set, bit, false);
            continue;
        }
        if (isnan(v) && !isnan(s->out.confidence[a->slot]))
            v = (double)s->out.confidence[a->slot];
        if (bit_is(s->known, a->slot) || !isnan(v))
            slot_is(s, bit, number_holds(&a->predicate, v), true);
        else
            slot_is(s, bit, a->matches_on_error, a->matches_on_error);
    }
}

/* ---- settle: the planes from what units said so far ---- */

void settle(struct decide_scratch *s)
{
    const struct policy *p = s->p;
    for (uint32_t w = 0; w < p->slot_words; w++) {
        s->known[w] = (s->raw.known[w] & s->done[w]) | p->undefined[w];
        s->yes[w] = s->raw.yes[w] & s->raw.known[w] & s->done[w];
        s->set[w] = s->done[w] | p->undefined[w];
    }
    for (uint32_t w = p->slot_words; w < p->n_words; w++)
        s->known[w] = s->yes[w] = s->set[w] = 0;
    memcpy(s->out.confidence, s->raw.confidence, p->n_slots * sizeof *s->out.confidence);

    for (uint32_t i = 0; i < p->n_groups; i++) {
        if (group_is_set(s, &p->groups[i]))
            group_partition(s, &p->groups[i]);
    }
    if (p->n_composers) {
        atoms_apply(s);
        composers_apply(s);
    }
    for (uint32_t i = 0; i < p->n_cuts; i++) {
        if (group_is_set(s, &p->cuts[i]))
            group_cut(s, &p->cuts[i]);
    }
    memcpy(s->exact, s->set, p->slot_words * sizeof *s->exact);
    for (uint32_t i = 0; i < p->n_order; i++) {
        if (p->order[i].is_mapping)
            mapping_apply(s, &p->mappings[p->order[i].index]);
        else
            score_compute(s, p->order[i].index);
    }
    atoms_apply(s);
}

void literals_fill(struct decide_scratch *s)
{
    uint32_t n = s->p->n_words;
    for (uint32_t w = 0; w < n; w++) {
        uint64_t set = s->set[w], yes = s->yes[w], unknown = ~s->known[w];
        uint64_t no = s->p->is_ternary ? ~(yes | unknown) : ~yes;
        s->must[w] = set & yes;
        s->must[n + w] = set & no;
        s->may[w] = ~set | yes;
        s->may[n + w] = ~set | no;
        if (s->p->is_ternary) {
            s->must_known[w] = set & (yes | unknown);
            s->must_known[n + w] = set & (no | unknown);
            s->may_known[w] = ~set | yes | unknown;
            s->may_known[n + w] = ~set | no | unknown;
        }
    }
}

