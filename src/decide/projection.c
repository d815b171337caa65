/* decide/projection.c -- scores and the names that mappings make of them (spec 01, section 3).
 *
 * A score is a range: from the least to the most that it can be while inputs are open. A band
 * that contains the whole range is taken, one outside it is not, and only between the two does
 * the mapping wait. Unknown inputs count as misses in the snapshot; in the later revision they
 * leave the range wide, and a band that cuts it unknown. */
#include <math.h>

#include "decide/engine.h"

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
void score_compute(struct decide_scratch *s, uint32_t index)
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

void mapping_apply(struct decide_scratch *s, const struct mapping *m)
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

