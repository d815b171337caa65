/* select/cascade.c -- the best cascade in closed form: one sort, and one pass for every way to end.
 *
 * Model i is right with chance p and costs c; a judge of error e accepts it with chance a = p (1 - e) + (1 - p) e. Asking i and
 * going on to something worth V when it is refused is worth
 *
 *     p (1 - e) - w (c + judge) + (1 - a) V  =  a g + (1 - a) V        with the index g = (p (1 - e) - w (c + judge)) / a
 *
 * a mean of g and V. Three things follow. Swapping neighbours changes the worth by the sign of their indices alone, whatever comes
 * behind: the best order is by falling g. Asking i pays exactly when g > V. And since the mean of g and V lies below g, whoever has
 * a greater index pays as well: the cascade is all models above the worth of its end, no subset needs to be searched. An accepted
 * answer is worth more than its g, and so more than going on: stopping there is right.
 *
 * What is left is the end. Either a model that is not judged answers last, or one of those that were refused is taken after all:
 * with a poor judge a good model's refused answer is likelier right than a bad model's first one. All 2 n ends are tried: n² steps.
 * Independence is the assumption that does not hold (a hard query is hard for all); what it costs is measured in
 * docs/internals/selection.md. */
#include "select/cascade.h"

#include <math.h>
#include <stdlib.h>

/* Chances: accepted; right and accepted; right and refused. cost: with the judge's. */
struct step { double index, accepted, right, missed, cost; uint32_t model; };

static struct step step_of(const struct cascade_model *m, uint32_t i, const struct cascade_terms *t)
{
    double p = fmin(fmax(m[i].chance, 0), 1), e = t->judge_error;
    struct step s = { .accepted = p * (1 - e) + (1 - p) * e, .right = p * (1 - e), .missed = p * e,
                      .cost = m[i].cost + t->judge_cost, .model = i };
    double gain = s.right - t->price * s.cost;
    s.index = s.accepted > 0 ? gain / s.accepted : -HUGE_VAL;   /* never accepted: it costs and brings nothing */
    return s;
}

/* By falling index. Among equals (a sure judge at no price makes all alike) who costs less for an acceptance comes first. */
static int by_index(const void *a, const void *b)
{
    const struct step *x = a, *y = b;
    if (x->index != y->index)
        return x->index > y->index ? -1 : 1;
    double left = x->cost * y->accepted, right = y->cost * x->accepted;
    return left < right ? -1 : left > right ? 1 : x->model < y->model ? -1 : x->model > y->model;
}

struct end { double worth, quality, cost; uint32_t model; bool is_judged; };

/* A model that gives the last answer unjudged is not asked before. */
static bool is_asked(const struct step *s, const struct end *end)
{
    return s->index > end->worth && (end->is_judged || s->model != end->model);
}

/* The answer of model s in the end: unjudged, or taken although it was refused. */
static struct end end_of(const struct step *s, const struct cascade_model *m, const struct cascade_terms *t, bool is_judged)
{
    double p = s->right + s->missed;
    struct end e = { .quality = !is_judged ? p : s->accepted < 1 ? s->missed / (1 - s->accepted) : 0,
                     .cost = is_judged ? 0 : m[s->model].cost, .model = s->model, .is_judged = is_judged };
    e.worth = e.quality - t->price * e.cost;
    return e;
}

/* Value of the cascade with that end, from its back to its front. */
static struct end rolled_back(const struct step *s, uint32_t n, const struct end *end)
{
    struct end v = *end;
    for (uint32_t i = n; i-- > 0;) {
        if (!is_asked(&s[i], end))
            continue;
        v.worth = s[i].accepted * s[i].index + (1 - s[i].accepted) * v.worth;
        v.quality = s[i].right + (1 - s[i].accepted) * v.quality;
        v.cost = s[i].cost + (1 - s[i].accepted) * v.cost;
    }
    return v;
}

void cascade_plan(const struct cascade_model *m, uint32_t n, const struct cascade_terms *terms, struct cascade *out)
{
    static _Thread_local struct step s[CASCADE_MAX];
    n = n < CASCADE_MAX ? n : CASCADE_MAX;
    for (uint32_t i = 0; i < n; i++)
        s[i] = step_of(m, i, terms);
    qsort(s, n, sizeof *s, by_index);
    struct end best_end = { 0 };
    *out = (struct cascade){ .value = -HUGE_VAL };
    for (uint32_t k = 0; k < 2 * n; k++) {
        struct end end = end_of(&s[k / 2], m, terms, k % 2);
        if (end.is_judged && !is_asked(&s[k / 2], &end))
            continue;                   /* judged and taken in any case: the same unjudged costs no judge */
        struct end v = rolled_back(s, n, &end);
        if (v.worth > out->value) {
            out->value = v.worth, out->quality = v.quality, out->cost = v.cost;
            best_end = end;
        }
    }
    for (uint32_t i = 0; i < n; i++)
        if (is_asked(&s[i], &best_end))
            out->order[out->n++] = s[i].model;
    out->n_judged = out->n;
    out->last = best_end.model;
    if (!best_end.is_judged)
        out->order[out->n++] = best_end.model;
}
