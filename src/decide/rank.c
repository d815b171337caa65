/* decide/rank.c -- which of the decisions that match comes first.
 *
 * Snapshot (spec 01, section 4.3): if any matched decision has a tier, tier ascending with an
 * unset tier as 0, confidence, priority, name; else by the strategy, then the other key, then the
 * name.
 *
 * Later revision (section 0.2): tier ascending, an unset tier behind all set ones; catch-alls
 * last; the strategy's key, the other key, the name. Confidence counts only if every matched
 * decision of the same tier and class carries a real score and all are of one kind; otherwise it
 * is left out. A decision whose rules are unknown ranks as if it matched when its
 * on_unknown is `match` or `fail_request`; if one with `fail_request` wins, the request fails. */
#include <math.h>

#include "decide/engine.h"

static int by_name(const struct choice *a, const struct choice *b)
{
    return a->name_rank < b->name_rank ? AHEAD : BEHIND;
}

static int by_priority(const struct choice *a, const struct choice *b)
{
    return a->conf->priority != b->conf->priority
               ? (a->conf->priority > b->conf->priority ? AHEAD : BEHIND)
               : by_name(a, b);
}

/* Higher confidence first, then `rest`. OPEN while the ranges leave it open. */
static int by_confidence(struct range a, struct range b, int rest)
{
    if (a.lo > b.hi || (a.lo >= b.hi && rest == AHEAD))
        return AHEAD;
    if (a.hi < b.lo || (a.hi <= b.lo && rest == BEHIND))
        return BEHIND;
    return OPEN;
}

bool is_confidence_next(const struct policy *p, const struct choice *a, const struct choice *b)
{
    return p->profile->strategy == STRATEGY_CONFIDENCE ||
           a->conf->priority == b->conf->priority;
}

/* The place of choice i against k, both matching, in the snapshot's ranking. */
static int place_in_mode(struct decide_scratch *s, uint32_t i, uint32_t k, bool by_tier)
{
    const struct policy *p = s->p;
    const struct choice *a = &p->choices[i], *b = &p->choices[k];
    if (by_tier) {
        if (a->tier != b->tier)
            return a->tier < b->tier ? AHEAD : BEHIND;
        return by_confidence(choice_confidence(s, i), choice_confidence(s, k), by_priority(a, b));
    }
    if (!is_confidence_next(p, a, b))
        return by_priority(a, b);
    return by_confidence(choice_confidence(s, i), choice_confidence(s, k), by_priority(a, b));
}

static bool is_same_pool(const struct choice *a, const struct choice *b)
{
    return a->tier == b->tier && a->is_catch_all == b->is_catch_all;
}

static bool is_scored(enum score_kind kind)
{
    return kind == SCORE_SIMILARITY || kind == SCORE_PROBABILITY;
}

/* The later ranking, before it is known whether the pool can be compared by confidence. */
int place_later(const struct policy *p, const struct choice *a, const struct choice *b)
{
    if (a->tier != b->tier)
        return a->tier < b->tier ? AHEAD : BEHIND;
    if (a->is_catch_all != b->is_catch_all)
        return a->is_catch_all ? BEHIND : AHEAD;
    bool may_compare = is_scored(a->score_kind) && a->score_kind == b->score_kind;
    return may_compare && is_confidence_next(p, a, b) ? OPEN : by_priority(a, b);
}

struct tiering tiering_now(const struct decide_scratch *s)
{
    struct tiering t = { 0 };
    for (uint32_t i = 0; i < s->p->n_choices && s->p->any_tier; i++) {
        if (!s->p->choices[i].has_tier)
            continue;
        t.is_certain |= s->outlook[i].is_certain;
        t.is_possible |= s->outlook[i].is_possible;
    }
    return t;
}

int place_now(struct decide_scratch *s, uint32_t i, uint32_t k, struct tiering t)
{
    if (s->p->is_ternary)
        return place_later(s->p, &s->p->choices[i], &s->p->choices[k]);
    if (t.is_certain)
        return place_in_mode(s, i, k, true);
    int flat = place_in_mode(s, i, k, false);
    if (!t.is_possible || flat == OPEN)
        return flat;
    return place_in_mode(s, i, k, true) == flat ? flat : OPEN;
}

/* ---- the final pick, everything that matters known ---- */

/* The evidence of a tree that holds (later revision): only stored scores of leaves count. */
static bool node_evidence(const struct decide_scratch *s, uint32_t at, double *score)
{
    const struct policy *p = s->p;
    const struct node *n = &p->nodes[at];
    if (n->kind == NODE_LEAF) {
        *score = confidence_of(s, n->slot);
        return !n->is_predicate && is_scored(slot_score_kind(p, n->slot)) &&
               !isnan(s->out.confidence[n->slot]);
    }
    if (n->kind != NODE_AND && n->kind != NODE_OR)
        return false;
    double sum = 0, best = -1;
    uint32_t count = 0;
    for (uint32_t c = at + 1; c < n->next; c = p->nodes[c].next) {
        double one;
        if (node_outlook(p, s, c).lo < 2 || !node_evidence(s, c, &one))
            continue;
        sum += one;
        best = fmax(best, one);
        count++;
    }
    if (count)
        *score = n->kind == NODE_AND ? sum / count : best;
    return count > 0;
}

static uint32_t pick_later(struct decide_scratch *s)
{
    const struct policy *p = s->p;
    uint32_t best = NO_INDEX;
    for (uint32_t i = 0; i < p->n_choices; i++) {
        const struct choice *c = &p->choices[i], *b = &p->choices[best == NO_INDEX ? 0 : best];
        if (s->outlook[i].is_certain &&
            (best == NO_INDEX || (is_same_pool(c, b) ? by_priority(c, b) == AHEAD
                                                     : place_later(p, c, b) == AHEAD)))
            best = i;
    }
    if (best == NO_INDEX)
        return NO_INDEX;

    /* `best` is first without regard to confidence. Can the pool be compared by it? */
    const struct choice *first = &p->choices[best];
    bool is_comparable = is_scored(first->score_kind);
    uint32_t strongest = NO_INDEX;
    double highest = 0, score;
    for (uint32_t i = 0; i < p->n_choices && is_comparable; i++) {
        const struct choice *c = &p->choices[i];
        if (!s->outlook[i].is_certain || !is_same_pool(c, first))
            continue;
        is_comparable = c->score_kind == first->score_kind && s->outlook[i].lo == 2 &&
                        node_evidence(s, c->tree.root, &score);
        if (!is_comparable || !is_confidence_next(p, c, first))
            continue;
        if (strongest == NO_INDEX || score > highest ||
            (score == highest && by_priority(c, &p->choices[strongest]) == AHEAD)) {
            strongest = i;
            highest = score;
        }
    }
    return is_comparable ? strongest : best;
}

uint32_t pick_final(struct decide_scratch *s)
{
    if (s->p->is_ternary)
        return pick_later(s);
    bool by_tier = tiering_now(s).is_certain;
    uint32_t best = NO_INDEX;
    for (uint32_t i = 0; i < s->p->n_choices; i++) {
        if (s->outlook[i].is_certain &&
            (best == NO_INDEX || place_in_mode(s, i, best, by_tier) == AHEAD))
            best = i;
    }
    return best;
}

