/* decide/decide.c -- from signals to the winning decision, with as few signals as it takes.
 *
 * One routine, `settle`, brings everything between the signals and the rules up to date:
 * partitions, composers, top-k, scores, mappings. It works on whatever is known so far, with
 * ranges where something is missing; once all is known the ranges are points. Then every
 * decision has an outlook (no, maybe, certain; lowest and highest confidence), and the lazy loop
 * asks: is there a decision that certainly matches and ranks before every other that still may?
 * If not, it runs the cheapest unit that can change an outlook, and looks again. The eager mode
 * is the same with all units run first, so the two cannot disagree about what anything means.
 *
 * Ranking, snapshot (spec 01, section 4.3): if any matched decision has a tier, tier ascending
 * with an unset tier as 0, confidence, priority, name; else by the strategy, then the other key,
 * then the name.
 *
 * Ranking, later revision (section 0.2): tier ascending, an unset tier behind all set ones;
 * catch-alls last; the strategy's key, the other key, the name. Confidence counts only if every
 * matched decision of the same tier and class carries a real score and all are of one kind;
 * otherwise it is left out. A decision whose rules are unknown ranks as if it matched when its
 * on_unknown is `match` or `fail_request`; if one with `fail_request` wins, the request fails. */
#include <assert.h>
#include <math.h>

#include "decide/engine.h"

static bool bit_is(const uint64_t *set, uint32_t bit)
{
    return set[bit >> 6] >> (bit & 63) & 1;
}

static void bit_put(uint64_t *set, uint32_t bit, bool on)
{
    uint64_t mask = 1ull << (bit & 63);
    set[bit >> 6] = on ? set[bit >> 6] | mask : set[bit >> 6] & ~mask;
}

static void scratch_clear(struct decide_scratch *s);

/* ---- between signals and rules ---- */

bool number_holds(const struct number_predicate *p, double v)
{
    return isfinite(v) && (isnan(p->gt) || v > p->gt) && (isnan(p->gte) || v >= p->gte) &&
           (isnan(p->lt) || v < p->lt) && (isnan(p->lte) || v <= p->lte);
}

/* Stored confidences are taken within [0, 1], none counts as 1: so an OR with a plain match is
 * settled at 1 whatever its other branches might say. */
static double confidence_of(const struct decide_scratch *s, uint32_t slot)
{
    float c = s->out.confidence[slot];
    return isnan(c) || c > 1 ? 1 : c < 0 ? 0 : (double)c;
}

static double rank_of(const struct decide_scratch *s, uint32_t slot)
{
    float c = s->out.confidence[slot];
    return isnan(c) ? 0 : (double)c;            /* among competitors none counts as 0 */
}

static void slot_is(struct decide_scratch *s, uint32_t slot, bool is_yes, bool is_known)
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

/* ---- projections ---- */

/* What one input may contribute; *is_final: nothing still to come can narrow it. */
static struct range term_range(const struct decide_scratch *s, const struct term *t,
                               bool *is_final)
{
    if (t->score != NO_INDEX) {
        *is_final = s->is_score_final[t->score];
        return s->score[t->score];
    }
    bool is_set = bit_is(s->set, t->slot), is_known = bit_is(s->known, t->slot);
    bool is_yes = is_known && bit_is(s->yes, t->slot);
    *is_final = is_set;
    if (!is_set || (!is_known && s->p->is_ternary)) {
        switch (t->source) {
        case TERM_BINARY:
            return (struct range){ fmin(t->match, t->miss), fmax(t->match, t->miss) };
        case TERM_CONFIDENCE:
            return (struct range){ 0, 1 };
        default:
            return (struct range){ -(double)INFINITY, (double)INFINITY };
        }
    }
    double v = 0;
    if (t->source == TERM_BINARY) {
        v = is_yes ? t->match : t->miss;
    } else if (t->source == TERM_CONFIDENCE && is_yes) {
        if (!bit_is(s->exact, t->slot)) {
            *is_final = false;
            return (struct range){ 0, 1 };
        }
        v = confidence_of(s, t->slot);
        v = v > 0 ? v : 1;
    } else if (t->source == TERM_RAW) {
        v = s->raw.value[t->slot];
        v = isfinite(v) ? v : 0;
    }
    return (struct range){ v, v };
}

/* Both ends are summed in the same order, and rounding is monotone: the range holds. */
static void score_compute(struct decide_scratch *s, uint32_t index)
{
    const struct score *score = &s->p->scores[index];
    struct range sum = { 0, 0 };
    bool is_final = true;
    for (uint32_t i = 0; i < score->n_terms; i++) {
        const struct term *t = &score->terms[i];
        bool is_term_final;
        if (t->weight == 0)
            continue;
        struct range r = term_range(s, t, &is_term_final);
        sum.lo += t->weight * (t->weight > 0 ? r.lo : r.hi);
        sum.hi += t->weight * (t->weight > 0 ? r.hi : r.lo);
        is_final &= is_term_final;
    }
    s->score[index].lo = isnan(sum.lo) ? -(double)INFINITY : sum.lo;
    s->score[index].hi = isnan(sum.hi) ? (double)INFINITY : sum.hi;
    s->is_score_final[index] = is_final;
}

enum fit { FIT_NEVER, FIT_MAYBE, FIT_ALWAYS };

static bool is_within(const struct number_predicate *b, double v)
{
    return (isnan(b->gt) || v > b->gt) && (isnan(b->gte) || v >= b->gte) &&
           (isnan(b->lt) || v < b->lt) && (isnan(b->lte) || v <= b->lte);
}

static enum fit band_fit(const struct number_predicate *b, struct range r)
{
    if (is_within(b, r.lo) && is_within(b, r.hi))
        return FIT_ALWAYS;                      /* a band has no holes */
    if (r.lo == r.hi || r.hi <= b->gt || r.hi < b->gte || r.lo >= b->lt || r.lo > b->lte)
        return FIT_NEVER;
    return FIT_MAYBE;
}

static double band_confidence(const struct number_predicate *b, double slope, double v)
{
    const double bounds[] = { b->gt, b->gte, b->lt, b->lte };
    double distance = NAN;
    for (size_t i = 0; i < COUNT_OF(bounds); i++)
        distance = fmin(distance, fabs(v - bounds[i]));     /* fmin ignores NAN */
    return isnan(distance) ? 1 : 1 / (1 + exp(-slope * distance));
}

/* Whether output `at` is emitted for every, some or no score of the range, earlier outputs
 * considered. Membership only changes at bounds, so the bounds, their neighbours and the ends of
 * the range stand for all. Only asked where inputs are unknown for good. */
static enum fit output_fit(const struct mapping *m, size_t at, struct range r)
{
    bool any_yes = false, any_no = false;
    for (size_t i = 0; i <= at + 1; i++) {
        const struct number_predicate *b = &m->conf->outputs[i <= at ? i : 0].bounds;
        const double corners[] = { b->gt, b->gte, b->lt, b->lte };
        for (size_t k = 0; k < 3 * COUNT_OF(corners); k++) {
            double v = corners[k / 3];
            if (k % 3)
                v = nextafter(v, k % 3 == 1 ? -(double)INFINITY : (double)INFINITY);
            if (i > at)
                v = k % 2 ? r.lo : r.hi;
            if (isnan(v) || v < r.lo || v > r.hi)
                continue;
            bool is_mine = is_within(&m->conf->outputs[at].bounds, v);
            for (size_t e = 0; e < at && !m->is_multi; e++)
                is_mine &= !is_within(&m->conf->outputs[e].bounds, v);
            any_yes |= is_mine;
            any_no |= !is_mine;
        }
    }
    return !any_yes ? FIT_NEVER : any_no ? FIT_MAYBE : FIT_ALWAYS;
}

static void mapping_apply(struct decide_scratch *s, const struct mapping *m)
{
    struct range r = { 0, 0 };
    bool is_final = true, is_taken = m->score == NO_INDEX, may_be_taken = false;
    if (m->score != NO_INDEX) {
        r = s->score[m->score];
        is_final = s->is_score_final[m->score];
    }
    for (size_t i = 0; i < m->conf->n_outputs; i++) {
        const struct number_predicate *b = &m->conf->outputs[i].bounds;
        enum fit fit = is_taken ? FIT_NEVER : band_fit(b, r);
        uint32_t slot = m->slots[i];
        bool is_yes = fit == FIT_ALWAYS && !may_be_taken;
        if (is_final && fit != FIT_NEVER && !is_yes)
            is_yes = (fit = output_fit(m, i, r)) == FIT_ALWAYS;
        bit_put(s->exact, slot, true);
        s->out.confidence[slot] = NAN;
        if (is_yes || fit == FIT_NEVER)
            slot_is(s, slot, is_yes, true);
        else if (is_final)
            slot_is(s, slot, false, false);
        else
            bit_put(s->set, slot, false);
        if (is_yes) {
            /* Of a final but wide range (unknown inputs) the end nearer to a bound. */
            double c = band_confidence(b, m->slope, r.lo);
            if (r.lo != r.hi)
                c = fmin(c, band_confidence(b, m->slope, r.hi));
            s->out.confidence[slot] = (float)c;
            bit_put(s->exact, slot, r.lo == r.hi || is_final);
        }
        if (!m->is_multi) {
            is_taken |= fit == FIT_ALWAYS;
            may_be_taken |= fit == FIT_MAYBE;
        }
    }
}

/* ---- settle: the planes from what units said so far ---- */

static void settle(struct decide_scratch *s)
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

static void literals_fill(struct decide_scratch *s)
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

/* ---- rules ---- */

static bool program_run(const struct policy *p, int32_t at, const uint64_t *literals)
{
    while (at >= 0) {
        const struct step *step = &p->steps[at];
        uint64_t hit = literals[step->word] & step->mask;
        at = (step->is_all ? hit == step->mask : hit != 0) ? step->on_true : step->on_false;
    }
    return at == GO_TRUE;
}

static struct outlook leaf_outlook(const struct policy *p, const struct decide_scratch *s,
                                   const struct node *n)
{
    if (!bit_is(s->set, n->bit))
        return (struct outlook){ .lo = 0, .hi = 2,
                                 .confidence = { n->is_predicate ? 1 : 0, 1 } };
    bool is_known = bit_is(s->known, n->bit);
    uint8_t state = is_known && bit_is(s->yes, n->bit) ? 2 : is_known || !p->is_ternary ? 0 : 1;
    struct outlook o = { .lo = state, .hi = state, .confidence = { 1, 1 } };
    if (state == 2 && !n->is_predicate) {
        double c = confidence_of(s, n->slot);
        bool is_exact = bit_is(s->exact, n->slot);
        o.confidence = is_exact ? (struct range){ c, c } : (struct range){ 0, 1 };
    }
    return o;
}

/* Of an OR that holds: the most confident branch that holds. */
static void or_add(struct outlook *o, const struct outlook *child, bool *any_certain)
{
    o->lo = child->lo > o->lo ? child->lo : o->lo;
    o->hi = child->hi > o->hi ? child->hi : o->hi;
    if (child->hi < 2)
        return;
    if (child->lo == 2) {
        o->confidence.lo = *any_certain ? fmax(o->confidence.lo, child->confidence.lo)
                                        : child->confidence.lo;
        *any_certain = true;
    } else if (!*any_certain) {
        o->confidence.lo = fmin(o->confidence.lo, child->confidence.lo);
    }
    o->confidence.hi = fmax(o->confidence.hi, child->confidence.hi);
}

struct outlook node_outlook(const struct policy *p, const struct decide_scratch *s, uint32_t at)
{
    const struct node *n = &p->nodes[at];
    struct outlook o = { .lo = 2, .hi = 2, .confidence = { 0, 0 } };
    bool any_certain = false;
    switch ((enum node_kind)n->kind) {
    case NODE_LEAF:
        return leaf_outlook(p, s, n);
    case NODE_TRUE:
        return o;
    case NODE_FALSE:
        o.lo = o.hi = 0;
        return o;
    case NODE_NOT: {
        struct outlook child = node_outlook(p, s, at + 1);
        o.lo = 2 - child.hi;
        o.hi = 2 - child.lo;
        o.confidence = (struct range){ 1, 1 };
        return o;
    }
    case NODE_AND:
        for (uint32_t c = at + 1; c < n->next; c = p->nodes[c].next) {
            struct outlook child = node_outlook(p, s, c);
            o.lo = child.lo < o.lo ? child.lo : o.lo;
            o.hi = child.hi < o.hi ? child.hi : o.hi;
            o.confidence.lo += child.confidence.lo;
            o.confidence.hi += child.confidence.hi;
        }
        o.confidence.lo /= n->n_children;
        o.confidence.hi /= n->n_children;
        return o;
    case NODE_OR:
        o = (struct outlook){ .confidence = { 1, 0 } };
        for (uint32_t c = at + 1; c < n->next; c = p->nodes[c].next) {
            struct outlook child = node_outlook(p, s, c);
            or_add(&o, &child, &any_certain);
        }
        return o;
    }
    return o;
}

static void choice_truth(struct decide_scratch *s, uint32_t i, bool is_complete)
{
    const struct policy *p = s->p;
    const struct choice *c = &p->choices[i];
    struct outlook *o = &s->outlook[i];
    bool counts_unknown = p->is_ternary && c->conf->on_unknown != UNKNOWN_NO_MATCH;
    int32_t entry = c->tree.entry;
    o->is_weighed = false;
    o->lo = program_run(p, entry, s->must) ? 2 : 0;
    if (p->is_ternary && o->lo == 0)
        o->lo = program_run(p, entry, s->must_known);
    o->hi = o->lo;
    if (!is_complete && o->lo < 2) {
        o->hi = program_run(p, entry, s->may) ? 2 : 0;
        if (p->is_ternary && o->hi == 0)
            o->hi = program_run(p, entry, s->may_known);
    }
    o->is_certain = o->lo == 2 || (counts_unknown && o->lo == 1);
    o->is_possible = o->hi == 2 || (counts_unknown && o->hi == 1);
}

/* The confidence in case the decision matches; 0 if only because unknown counts as a match. */
static struct range choice_confidence(struct decide_scratch *s, uint32_t i)
{
    struct outlook *o = &s->outlook[i];
    if (!o->is_weighed) {
        o->confidence = o->hi == 2 ? node_outlook(s->p, s, s->p->choices[i].tree.root).confidence
                                   : (struct range){ 0, 0 };
        if (o->lo < 2 && s->p->is_ternary && s->p->choices[i].conf->on_unknown != UNKNOWN_NO_MATCH)
            o->confidence.lo = 0;
        o->is_weighed = true;
    }
    return o->confidence;
}

/* ---- ranking ---- */

enum place_of { BEHIND = -1, OPEN = 0, AHEAD = 1 };

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

static bool is_confidence_next(const struct policy *p, const struct choice *a,
                               const struct choice *b)
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
static int place_later(const struct policy *p, const struct choice *a, const struct choice *b)
{
    if (a->tier != b->tier)
        return a->tier < b->tier ? AHEAD : BEHIND;
    if (a->is_catch_all != b->is_catch_all)
        return a->is_catch_all ? BEHIND : AHEAD;
    bool may_compare = is_scored(a->score_kind) && a->score_kind == b->score_kind;
    return may_compare && is_confidence_next(p, a, b) ? OPEN : by_priority(a, b);
}

/* Whether the snapshot ranks by tier: some tiered decision matches. */
struct tiering { bool is_certain, is_possible; };

static struct tiering tiering_now(const struct decide_scratch *s)
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

static int place_now(struct decide_scratch *s, uint32_t i, uint32_t k, struct tiering t)
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

static uint32_t pick_final(struct decide_scratch *s)
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

/* ---- what is still needed ---- */

static void need_signal(struct decide_scratch *s, uint32_t slot)
{
    if (!bit_is(s->done, slot))
        bit_put(s->need, slot, true);
}

static void need_group(struct decide_scratch *s, const struct group *g)
{
    for (uint32_t i = 0; i < g->n; i++)
        need_signal(s, g->members[i]);
}

static void need_slot(struct decide_scratch *s, uint32_t slot);

static void need_score(struct decide_scratch *s, uint32_t index)
{
    if (index == NO_INDEX || s->has_score[index])
        return;
    s->has_score[index] = true;
    const struct score *score = &s->p->scores[index];
    for (uint32_t i = 0; i < score->n_terms; i++) {
        const struct term *t = &score->terms[i];
        if (t->weight == 0)
            continue;
        if (t->score != NO_INDEX)
            need_score(s, t->score);
        else
            need_slot(s, t->slot);
    }
}

static void need_slot(struct decide_scratch *s, uint32_t slot)
{
    const struct policy *p = s->p;
    if (bit_is(s->seen, slot))
        return;
    bit_put(s->seen, slot, true);
    if (p->mapping_of[slot] != NO_INDEX) {
        need_score(s, p->mappings[p->mapping_of[slot]].score);
        return;
    }
    need_signal(s, slot);
    if (p->group_of[slot] != NO_INDEX)
        need_group(s, &p->groups[p->group_of[slot]]);
    for (uint32_t i = 0; i < p->n_cuts; i++) {
        if (str_eq(p->type[slot], p->type[p->cuts[i].members[0]]))
            need_group(s, &p->cuts[i]);
    }
    /* A composer saw its leaves before top-k cut some of them, so the planes cannot tell which of
     * them it still depends on: all. */
    if (p->composer_of[slot] != NO_INDEX && !bit_is(s->set, slot)) {
        uint32_t root = p->composers[p->composer_of[slot]].root;
        for (uint32_t n = root; n < p->nodes[root].next; n++) {
            if (p->nodes[n].kind == NODE_LEAF)
                need_slot(s, p->nodes[n].slot);
        }
    }
}

/* The leaves on which the tree's truth still depends, and with `weigh` its confidence. */
static void need_tree(struct decide_scratch *s, uint32_t at, bool weigh)
{
    const struct policy *p = s->p;
    const struct node *n = &p->nodes[at];
    struct outlook o = node_outlook(p, s, at);
    bool is_exact = o.confidence.lo == o.confidence.hi;
    if (o.lo == o.hi && (o.hi < 2 || !weigh || is_exact))
        return;
    if (n->kind == NODE_LEAF) {
        need_slot(s, n->slot);
        return;
    }
    for (uint32_t c = at + 1; c < n->next; c = p->nodes[c].next) {
        if (n->kind == NODE_OR && o.lo == 2) {  /* only who might raise the maximum */
            struct outlook child = node_outlook(p, s, c);
            if (child.hi < 2 || child.confidence.hi <= o.confidence.lo)
                continue;
        }
        need_tree(s, c, weigh && n->kind != NODE_NOT);
    }
}

static void need_reach(struct decide_scratch *s, uint32_t i)
{
    for (uint32_t w = 0; w < s->p->slot_words; w++)
        s->need[w] |= s->p->choices[i].reach[w] & s->p->signals[w] & ~s->done[w];
}

static void want_reach(struct decide_scratch *s, uint32_t i)
{
    for (uint32_t w = 0; w < s->p->slot_words; w++)
        s->wanted[w] |= s->p->choices[i].reach[w];
}

/* ---- the lazy loop ---- */

enum { CONTENDERS_MAX = 64 };           /* compared pairwise; beyond: taken to be tied */

struct contest {
    enum decide_mode mode;
    struct tiering tiering;
    uint32_t leader;                    /* certain, and no certain one is ahead; NO_INDEX */
    uint32_t n;                         /* contenders: possible, and not behind the leader */
    uint32_t some[CONTENDERS_MAX];      /* the first of them */
};

static bool is_contender(struct decide_scratch *s, const struct contest *c, uint32_t i)
{
    return s->outlook[i].is_possible &&
           (c->leader == NO_INDEX || c->leader == i ||
            place_now(s, c->leader, i, c->tiering) != AHEAD);
}

static void contest_open(struct decide_scratch *s, struct contest *c)
{
    c->tiering = tiering_now(s);
    c->leader = NO_INDEX;
    c->n = 0;
    /* Being ahead is no total order while things are open, so one round may stop at somebody
     * whom an earlier one beats. Every change is a step up: it ends. */
    for (uint32_t before = NO_INDEX - 1; before != c->leader; ) {
        before = c->leader;
        for (uint32_t i = 0; i < s->p->n_choices; i++) {
            if (s->outlook[i].is_certain &&
                (c->leader == NO_INDEX || place_now(s, i, c->leader, c->tiering) == AHEAD))
                c->leader = i;
        }
    }
    for (uint32_t i = 0; i < s->p->n_choices; i++) {
        if (!is_contender(s, c, i))
            continue;
        if (c->n < CONTENDERS_MAX)
            c->some[c->n] = i;
        c->n++;
    }
}

static bool is_settled(struct decide_scratch *s, const struct contest *c)
{
    if (c->n == 0)
        return true;                            /* nobody can match any more */
    if (c->n > 1 || c->leader == NO_INDEX)
        return false;
    const struct outlook *o = &s->outlook[c->leader];
    if (o->lo != o->hi && s->p->choices[c->leader].conf->on_unknown == UNKNOWN_FAIL_REQUEST)
        return false;                           /* matched or failed? */
    struct range r = choice_confidence(s, c->leader);
    return c->mode == DECIDE_WINNER || r.lo == r.hi;
}

/* Whether the confidence of contender i can matter against another contender. */
static bool is_tied(struct decide_scratch *s, const struct contest *c, uint32_t i)
{
    const struct policy *p = s->p;
    if (c->n > CONTENDERS_MAX)
        return true;
    for (uint32_t k = 0; k < c->n; k++) {
        const struct choice *a = &p->choices[i], *b = &p->choices[c->some[k]];
        if (a == b)
            continue;
        if (p->is_ternary ? place_later(p, a, b) == OPEN
                          : (c->tiering.is_possible && a->tier == b->tier) ||
                                (!c->tiering.is_certain && is_confidence_next(p, a, b)))
            return true;
    }
    return false;
}

static void needs_clear(struct decide_scratch *s)
{
    size_t bytes = s->p->slot_words * sizeof *s->need;
    memset(s->need, 0, bytes);
    memset(s->seen, 0, bytes);
    memset(s->wanted, 0, bytes);
    memset(s->has_score, 0, s->p->n_scores);
}

static void contest_needs_only(struct decide_scratch *s, uint32_t winner)
{
    needs_clear(s);
    want_reach(s, winner);
    need_tree(s, s->p->choices[winner].tree.root, true);
}

/* Signals that can still change the outcome, into s->need; and into s->wanted all that can
 * influence a decision that is still of interest, for units that can leave out the others. */
static void contest_needs(struct decide_scratch *s, const struct contest *c)
{
    const struct policy *p = s->p;
    needs_clear(s);
    bool is_tiering_open = !p->is_ternary && c->tiering.is_certain != c->tiering.is_possible;
    bool is_pool_open = false;
    for (uint32_t i = 0; i < p->n_choices; i++) {
        if (!is_contender(s, c, i))
            continue;
        bool tied = is_tied(s, c, i);
        is_pool_open |= tied && p->is_ternary;
        want_reach(s, i);
        need_tree(s, p->choices[i].tree.root, tied || (c->n == 1 && c->mode != DECIDE_WINNER));
        if (tied && p->is_ternary)
            need_reach(s, i);
    }
    /* Decisions that cannot win, but decide by what the others are ranked. */
    for (uint32_t i = 0; i < p->n_choices && (is_tiering_open || is_pool_open); i++) {
        const struct outlook *o = &s->outlook[i];
        if (!o->is_possible || (is_tiering_open && !p->choices[i].has_tier))
            continue;
        want_reach(s, i);
        if (is_pool_open)
            need_reach(s, i);
        else
            need_tree(s, p->choices[i].tree.root, false);
    }
}

static uint32_t unit_next(const struct decide_scratch *s)
{
    const struct policy *p = s->p;
    for (uint32_t u = 0; u < p->n_units; u++) {
        uint64_t hit = 0;
        for (uint32_t w = 0; w < p->slot_words && !s->has_run[u]; w++)
            hit |= p->unit_mask[u][w] & s->need[w];
        if (hit)
            return u;
    }
    return NO_INDEX;
}

/* A slot is done when no unit is left that might fill it. */
static void done_update(struct decide_scratch *s)
{
    const struct policy *p = s->p;
    for (uint32_t w = 0; w < p->slot_words; w++) {
        uint64_t open = 0;
        for (uint32_t u = 0; u < p->n_units; u++)
            open |= s->has_run[u] ? 0 : p->unit_mask[u][w];
        s->done[w] = p->signals[w] & ~open;
    }
}

static void unit_run(struct decide_scratch *s, uint32_t u, const struct facts *f,
                     struct arena *a)
{
    const struct signal_unit *unit = s->p->units[u];
    uint64_t start = s->now ? s->now() : 0;
    for (uint32_t w = 0; w < s->p->slot_words; w++)
        s->wanted[w] &= s->p->unit_mask[u][w];
    unit->run(unit->state, f, s->wanted, a, &s->raw);
    s->has_run[u] = true;
    s->unit_ns[u] = s->now ? s->now() - start : 0;
}

static void look(struct decide_scratch *s, bool is_complete)
{
    settle(s);
    literals_fill(s);
    for (uint32_t i = 0; i < s->p->n_choices; i++)
        choice_truth(s, i, is_complete);
}

static struct decision decision_of(struct decide_scratch *s, uint32_t winner)
{
    struct decision d = { .index = winner, .signals = &s->out };
    if (winner == NO_INDEX)
        return d;
    const struct choice *c = &s->p->choices[winner];
    struct range r = choice_confidence(s, winner);
    d.conf = c->conf;
    d.confidence = r.lo;
    d.confidence_max = r.hi;
    d.is_failed = s->p->is_ternary && s->outlook[winner].lo == 1 &&
                  c->conf->on_unknown == UNKNOWN_FAIL_REQUEST;
    return d;
}

static uint32_t decide_lazily(struct decide_scratch *s, const struct facts *f, struct arena *a,
                              enum decide_mode mode)
{
    struct contest c = { .mode = mode };
    for (;;) {
        look(s, false);
        contest_open(s, &c);
        if (is_settled(s, &c))
            return c.n ? c.leader : NO_INDEX;
        contest_needs(s, &c);
        uint32_t u = unit_next(s);
        if (u == NO_INDEX) {
            /* All that decides is known; the winner's confidence may still be missing. */
            uint32_t winner = pick_final(s);
            if (winner == NO_INDEX || mode == DECIDE_WINNER)
                return winner;
            contest_needs_only(s, winner);
            u = unit_next(s);
            if (u == NO_INDEX)
                return winner;
        }
        unit_run(s, u, f, a);
        done_update(s);
    }
}

static bool is_skipped(str type, const char *const *skip_types)
{
    for (; skip_types && *skip_types; skip_types++) {
        if (str_eq(type, str_of(*skip_types)))
            return true;
    }
    return false;
}

struct decision decide_run(const struct policy *p, const struct facts *f,
                           struct decide_scratch *s, struct arena *a, enum decide_mode mode,
                           const char *const *skip_types)
{
    assert(s->p == p);
    scratch_clear(s);
    bool *skipped = s->is_skipped;
    for (uint32_t u = 0; u < p->n_units; u++) {
        s->unit_ns[u] = 0;
        skipped[u] = s->has_run[u] = is_skipped(p->units[u]->type, skip_types);
        for (uint32_t i = 0; i < p->units[u]->n_slots && skipped[u]; i++)
            s->raw.why_unknown[p->units[u]->slots[i]] = "skipped";
    }
    done_update(s);
    uint32_t winner;
    if (mode == DECIDE_EAGER) {
        for (uint32_t u = 0; u < p->n_units; u++) {
            if (skipped[u])
                continue;
            memset(s->wanted, 0xff, p->slot_words * sizeof *s->wanted);
            unit_run(s, u, f, a);
        }
        done_update(s);
        look(s, true);
        winner = pick_final(s);
    } else {
        winner = decide_lazily(s, f, a, mode);
    }
    struct decision d = decision_of(s, winner);
    for (uint32_t u = 0; u < p->n_units; u++) {
        d.n_units_run += s->has_run[u] && !skipped[u];
        d.n_units_avoided += !s->has_run[u];
    }
    return d;
}

struct decision decide_given(const struct policy *p, struct decide_scratch *s)
{
    assert(s->p == p);
    memcpy(s->done, p->signals, p->slot_words * sizeof *s->done);
    look(s, true);
    return decision_of(s, pick_final(s));
}

struct sigset *decide_sigset(struct decide_scratch *s)
{
    return &s->raw;
}

/* ---- scratch ---- */

static void scratch_clear(struct decide_scratch *s)
{
    const struct policy *p = s->p;
    memset(s->raw.yes, 0, p->slot_words * sizeof *s->raw.yes);
    memset(s->raw.known, 0, p->slot_words * sizeof *s->raw.known);
    for (uint32_t i = 0; i < p->n_slots; i++) {
        s->raw.confidence[i] = NAN;
        s->raw.value[i] = NAN;
    }
    memcpy(s->raw.why_unknown, p->why_absent, p->n_slots * sizeof *s->raw.why_unknown);
    memset(s->raw.detail, 0, p->n_slots * sizeof *s->raw.detail);
}

struct decide_scratch *decide_scratch_new(struct arena *a, const struct policy *p)
{
    struct decide_scratch *s = ARENA_NEW(a, struct decide_scratch);
    uint32_t n = p->n_slots, n_literal_words = 2 * p->n_words;
    s->p = p;
    s->raw = (struct sigset){
        .yes = ARENA_ARRAY(a, uint64_t, p->slot_words),
        .known = ARENA_ARRAY(a, uint64_t, p->slot_words),
        .confidence = ARENA_ARRAY(a, float, n),
        .value = ARENA_ARRAY(a, double, n),
        .why_unknown = ARENA_ARRAY(a, const char *, n),
        .detail = ARENA_ARRAY(a, str, n),
        .n_slots = n,
        .n_words = p->slot_words,
    };
    s->done = ARENA_ARRAY(a, uint64_t, p->slot_words);
    s->set = ARENA_ARRAY(a, uint64_t, p->n_words);
    s->yes = ARENA_ARRAY(a, uint64_t, p->n_words);
    s->known = ARENA_ARRAY(a, uint64_t, p->n_words);
    s->exact = ARENA_ARRAY(a, uint64_t, p->slot_words);
    s->out = s->raw;
    s->out.yes = s->yes;
    s->out.known = s->known;
    s->out.confidence = ARENA_ARRAY(a, float, n);
    s->score = ARENA_ARRAY(a, struct range, p->n_scores);
    s->is_score_final = ARENA_ARRAY(a, bool, p->n_scores);
    s->must = ARENA_ARRAY(a, uint64_t, n_literal_words);
    s->may = ARENA_ARRAY(a, uint64_t, n_literal_words);
    s->must_known = ARENA_ARRAY(a, uint64_t, n_literal_words);
    s->may_known = ARENA_ARRAY(a, uint64_t, n_literal_words);
    s->outlook = ARENA_ARRAY(a, struct outlook, p->n_choices);
    s->has_run = ARENA_ARRAY(a, bool, p->n_units);
    s->is_skipped = ARENA_ARRAY(a, bool, p->n_units);
    s->unit_ns = ARENA_ARRAY(a, uint64_t, p->n_units);
    s->need = ARENA_ARRAY(a, uint64_t, p->slot_words);
    s->wanted = ARENA_ARRAY(a, uint64_t, p->slot_words);
    s->seen = ARENA_ARRAY(a, uint64_t, p->slot_words);
    s->has_score = ARENA_ARRAY(a, bool, p->n_scores);
    scratch_clear(s);
    return s;
}

void decide_clock(struct decide_scratch *s, uint64_t (*now)(void))
{
    s->now = now;
}

uint32_t policy_n_units(const struct policy *p)
{
    return p->n_units;
}

const struct signal_unit *policy_unit_at(const struct policy *p, uint32_t unit)
{
    return p->units[unit];
}

enum unit_fate decide_unit_fate(const struct decide_scratch *s, uint32_t unit, uint64_t *ns)
{
    if (ns)
        *ns = s->unit_ns[unit];
    return s->is_skipped[unit] ? UNIT_SKIPPED : s->has_run[unit] ? UNIT_RUN : UNIT_AVOIDED;
}
