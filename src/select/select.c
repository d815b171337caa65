/* select/select.c -- the registry, and the rules around every selector (spec 02, section 1.1).
 *
 * A selector only ranks. That one candidate needs no selector, that candidates whose every
 * backend is down come last, and that a request always gets a model is settled here, so no
 * selector has to think of it. */
#include "select/rank.h"

#include <assert.h>
#include <math.h>

#define X(symbol) extern const struct select_ops select_##symbol;
#include "select/list.h"
#undef X

const struct select_ops *const select_all[] = {
#define X(symbol) &select_##symbol,
#include "select/list.h"
#undef X
    NULL,
};

bool select_always(const void *trained)
{
    (void)trained;
    return true;
}

const struct select_ops *select_by_name(str name)
{
    for (size_t i = 0; select_all[i]; i++) {
        if (str_eq(name, str_of(select_all[i]->name)))
            return select_all[i];
    }
    return NULL;
}

void pick_declared(const struct select_in *in, struct arena *a, struct pick *out)
{
    *out = (struct pick){
        .order = ARENA_ARRAY(a, uint32_t, in->n), .scores = ARENA_ARRAY(a, float, in->n),
        .confidence = 1.0, .propensity = 1.0, .reason = "first",
    };
    for (uint32_t i = 0; i < in->n; i++) {
        out->order[i] = i;
        out->scores[i] = NAN;
    }
}

void pick_sort(struct pick *p, const double *key, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {          /* stable: the earlier of equals stays ahead */
        uint32_t moving = p->order[i];
        uint32_t at = i;
        for (; at > 0 && key[p->order[at - 1]] > key[moving]; at--)
            p->order[at] = p->order[at - 1];
        p->order[at] = moving;
    }
}

void pick_first(struct pick *p, uint32_t k, uint32_t n)
{
    uint32_t at = 0;
    while (at + 1 < n && p->order[at] != k)
        at++;
    for (; at > 0; at--)
        p->order[at] = p->order[at - 1];
    p->order[0] = k;
}

static uint32_t count_healthy(const struct select_in *in)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < in->n; i++)
        n += in->candidates[i].is_healthy;
    return n;
}

/* The healthy candidates alone. index[k]: which one of `in` the k-th is. */
static struct select_in only_healthy(const struct select_in *in, uint32_t n_healthy, struct arena *a, uint32_t **index)
{
    struct candidate *healthy = ARENA_ARRAY(a, struct candidate, n_healthy);
    struct select_in some = *in;
    *index = ARENA_ARRAY(a, uint32_t, n_healthy);
    some.candidates = healthy;
    some.n = 0;
    for (uint32_t i = 0; i < in->n; i++) {
        if (in->candidates[i].is_healthy) {
            healthy[some.n] = in->candidates[i];
            (*index)[some.n++] = i;
        }
    }
    return some;
}

/* Ranks the healthy candidates and appends the others in their declared order. */
static void pick_healthy(const struct select_ops *ops, const struct select_in *in,
                         uint32_t n_healthy, struct arena *a, struct pick *out)
{
    uint32_t *index;
    struct select_in some = only_healthy(in, n_healthy, a, &index);
    uint32_t n = some.n;
    struct pick inner = { 0 };
    ops->pick(&some, a, &inner);
    pick_declared(in, a, out);
    out->confidence = inner.confidence;
    out->propensity = inner.propensity;
    out->reason = inner.reason;
    out->fallback = inner.fallback;
    out->features = inner.features;
    for (uint32_t i = 0; i < n; i++) {
        out->order[i] = index[inner.order[i]];
        out->scores[index[i]] = inner.scores[i];
    }
    for (uint32_t i = 0; i < in->n; i++) {
        if (!in->candidates[i].is_healthy)
            out->order[n++] = i;
    }
    assert(n == in->n);
}

bool select_asks(const struct select_ops *ops, const struct select_in *in, struct arena *a, struct select_question *out)
{
    uint32_t n_healthy = count_healthy(in), *index;
    if (!ops || !ops->ask || in->n < 2 || n_healthy == 1)       /* there is nothing to choose */
        return false;
    struct select_in some = n_healthy == 0 ? *in : only_healthy(in, n_healthy, a, &index);
    return ops->ask(&some, a, out);
}

void select_run(const struct select_ops *ops, const struct select_in *in, struct arena *a,
                struct pick *out, const char **method)
{
    assert(in->n > 0);
    if (!ops)
        ops = &select_static;
    *method = ops->name;
    if (in->n == 1) {
        pick_declared(in, a, out);
        out->reason = "single";
        *method = "single";
        return;
    }
    uint32_t n_healthy = count_healthy(in);
    if (n_healthy == 0 || n_healthy == in->n)   /* all down: ask them all the same */
        ops->pick(in, a, out);
    else
        pick_healthy(ops, in, n_healthy, a, out);
}
