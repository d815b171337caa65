/* select/evidence_shares.c -- `fixed_share`: a weight for every model of a decision, moved by each outcome, and never so small that
 * it could not come back.
 *
 * The bandit form of Hedge with fixed share (Herbster and Warmuth 1998; Exp3.S of Auer et al. 2002; with the biased estimate of
 * Neu 2015, which bounds what one rare choice may do). Only the chosen model's outcome is known, so its loss is divided by the
 * chance with which it was chosen; the loss is what was expected less what came, so a right expectation moves nothing. After every
 * outcome a part of all weight is dealt out evenly: that is what bounds the regret against a sequence of best models instead of one.
 *
 * What is kept is a product and not a sum: an outcome is taken back by dividing, exactly if nothing came in between, else but for
 * what was dealt out since. Instances multiply.
 *
 * The share has a side: it leads back to the expectation. Where a change was found the expectation is refuted, so it is moved, and
 * weights begin anew; without that a model that lost half of its right answers kept its traffic (docs/internals/learning.md). */
#include "base/hex.h"
#include "select/evidence.h"

#include <math.h>
#include <stdlib.h>

static const double temperature = .01;      /* a candidate whose value is less by this has 1/e times the chance */
static const double least = 1e-30, most = 1e30;       /* of a weight, however it came about */

static struct pot *pot_find(const struct pots *p, uint64_t decision)
{
    for (uint32_t i = 0; i < p->n; i++)
        if (p->of[i].decision == decision)
            return &p->of[i];
    return NULL;
}

static struct pot *pot_at(struct pots *p, uint64_t decision)
{
    struct pot *at = pot_find(p, decision);
    if (at || p->n == POTS_MAX)
        return at;
    if (p->n == p->cap) {
        uint32_t cap = p->cap ? 2 * p->cap : 8;
        struct pot *more = realloc(p->of, cap * sizeof *more);
        if (!more)
            return NULL;
        p->of = more;
        p->cap = cap;
    }
    p->of[p->n] = (struct pot){ .decision = decision, .others = 1 };
    return &p->of[p->n++];
}

static struct standing *standing_find(const struct pot *p, uint32_t model)
{
    for (uint32_t i = 0; i < p->n; i++)
        if (p->of[i].model == model)
            return &p->of[i];
    return NULL;
}

static struct standing *standing_at(struct pot *p, uint32_t model)
{
    struct standing *at = standing_find(p, model);
    if (at || p->n == POT_MODELS_MAX)
        return at;
    if (p->n == p->cap) {
        uint32_t cap = p->cap ? 2 * p->cap : 8;
        struct standing *more = realloc(p->of, cap * sizeof *more);
        if (!more)
            return NULL;
        p->of = more;
        p->cap = cap;
    }
    p->of[p->n] = (struct standing){ model, p->others, 0 };
    return &p->of[p->n++];
}

/* Every weight times `by` plus `plus`. */
static void weights_move(struct pot *p, double by, double plus)
{
    for (uint32_t i = 0; i < p->n; i++)
        p->of[i].weight = fmin(most, fmax(least, p->of[i].weight * by + plus));
    p->others = fmin(most, fmax(least, p->others * by + plus));
}

/* The mean over n_arms candidates is one again, and `share` of that is dealt out evenly. */
static void deal(struct pot *p, uint32_t n_arms, double share)
{
    uint32_t n = n_arms > p->n ? n_arms : p->n;
    double sum = p->others * (n - p->n);
    for (uint32_t i = 0; i < p->n; i++)
        sum += p->of[i].weight;
    if (sum > 0)
        weights_move(p, (1 - share) * n / sum, share);
}

static void add(struct evidence *e, const struct evidence_row *row, double weight, const struct evidence_tuning *t)
{
    struct pot *p = pot_at(&e->pots, row->decision);
    struct standing *s = p ? standing_at(p, row->model) : NULL;
    if (!s)
        return;
    double chance = row->propensity > 0 && row->propensity <= 1 ? row->propensity : 1;
    double loss = fmin(1, fmax(-1, row->expected + s->shift - row->reward)) / (chance + t->rate / 2);
    s->weight *= exp(-t->rate * weight * loss);
    deal(p, row->n_arms, weight > 0 ? t->share : 0);
}

/* A weight is worth so much value: the mean that people see, and that a change is noticed against, has it in. */
static double value_of(const struct pot *p, const struct evidence_question *q)
{
    const struct standing *s = p ? standing_find(p, q->model) : NULL;
    double weight = s ? s->weight : p ? p->others : 1;
    return q->expected + (s ? s->shift : 0) - q->penalty + temperature * log(weight);
}

static void believe(struct evidence *e, const struct evidence_query *query, const struct evidence_question *q, uint32_t n,
                    struct arm *arms)
{
    const struct pot *p = pot_find(&e->pots, query->decision);
    double top = -HUGE_VAL;
    for (uint32_t i = 0; i < n; i++) {
        arms[i].mean = value_of(p, &q[i]);
        arms[i].deviation = q[i].deviation;
        arms[i].count = 0;
        if (!arms[i].is_out)
            top = fmax(top, arms[i].mean - q[i].handicap);
    }
    for (uint32_t i = 0; i < n; i++)
        arms[i].share = exp((arms[i].mean - q[i].handicap - top) / temperature);
}

/* The expectation is moved to where the outcomes since then are. Weights would run back to one and trust it again. */
static void change(struct evidence *e, uint32_t model, const struct evidence_row *since, uint32_t n,
                   const struct evidence_tuning *t)
{
    double shift = 0;
    (void)t;
    for (uint32_t i = 0; i < n; i++)
        shift += (since[i].reward - since[i].expected) / n;
    for (uint32_t i = 0; i < e->pots.n; i++) {
        struct standing *s = standing_at(&e->pots.of[i], model);
        if (s)
            *s = (struct standing){ model, 1, shift };
    }
}

/* Weights are odds, which multiply. A change that both have found is one change. */
static bool merge(struct evidence *to, const struct evidence *from)
{
    for (uint32_t i = 0; i < from->pots.n; i++) {
        const struct pot *f = &from->pots.of[i];
        struct pot *t = pot_at(&to->pots, f->decision);
        if (!t)
            return false;
        for (uint32_t k = 0; k < f->n; k++)
            if (!standing_at(t, f->of[k].model))
                return false;
        for (uint32_t k = 0; k < t->n; k++) {
            const struct standing *s = standing_find(f, t->of[k].model);
            t->of[k].weight *= s ? s->weight : f->others;
            t->of[k].shift = t->of[k].shift == 0 && s ? s->shift : t->of[k].shift;
        }
        t->others *= f->others;
        weights_move(t, 1, 0);
    }
    return true;
}

static void release(struct evidence *e)
{
    for (uint32_t i = 0; i < e->pots.n; i++)
        free(e->pots.of[i].of);
    free(e->pots.of);
    e->pots = (struct pots){ 0 };
}

/* [decision, weight of the others, [[model, weight, shift], ...]] */
static void write_pots(const struct evidence *e, struct json_writer *w)
{
    jw_begin(w, '[');
    for (uint32_t i = 0; i < e->pots.n; i++) {
        const struct pot *p = &e->pots.of[i];
        jw_begin(w, '[');
        jw_hex(w, p->decision);
        jw_double(w, p->others);
        jw_begin(w, '[');
        for (uint32_t k = 0; k < p->n; k++) {
            jw_begin(w, '[');
            jw_int(w, p->of[k].model);
            jw_double(w, p->of[k].weight);
            jw_double(w, p->of[k].shift);
            jw_end(w, ']');
        }
        jw_end(w, ']');
        jw_end(w, ']');
    }
    jw_end(w, ']');
}

static bool weight_read(const struct json *j, jref at, double *out)
{
    return json_double(j, at, out) && *out >= least && *out <= most;
}

static bool read_standings(struct pot *p, const struct json *j, jref list, const uint32_t *map, uint32_t n_map)
{
    JSON_EACH_ITEM(j, list, item) {
        struct standing s = { 0 };
        int64_t model;
        if (!json_is(j, item, JSON_ARRAY) || json_count(j, item) != 3 || !json_int(j, item + 1, &model) || model < 0
            || model >= n_map || !weight_read(j, item + 2, &s.weight) || !json_double(j, item + 3, &s.shift)
            || !(fabs(s.shift) <= 2))
            return false;
        s.model = map[model];
        struct standing *to = s.model == UINT32_MAX ? NULL : standing_at(p, s.model);
        if (to)
            *to = s;
    }
    return true;
}

static bool read_pots(struct evidence *e, const struct json *j, jref list, const uint32_t *map, uint32_t n_map, struct arena *a)
{
    JSON_EACH_ITEM(j, list, item) {
        double others;
        if (!json_is(j, item, JSON_ARRAY) || json_count(j, item) != 3 || !json_is(j, item + 1, JSON_STRING)
            || !weight_read(j, item + 2, &others) || !json_is(j, item + 3, JSON_ARRAY))
            return false;
        struct pot *p = pot_at(&e->pots, hex_or_zero(json_str(j, item + 1, a)));
        if (!p)
            continue;
        p->others = others;
        if (!read_standings(p, j, item + 3, map, n_map))
            return false;
    }
    return true;
}

const struct evidence_ops evidence_fixed_share = {
    .name = "fixed_share", .believe = believe, .add = add, .change = change, .merge = merge, .release = release,
    .key = "shares", .write = write_pots, .read = read_pots, .by_share = true,
};
