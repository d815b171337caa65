/* select/compose.c -- a knapsack of models, whose worth is what the best of them brings on each kind of query.
 *
 * A model added to more models brings less, never more. So what all models that are still undecided would bring together, room or
 * not, bounds from above what any choice among them can: the search takes or leaves one model after another, the most useful first,
 * and turns back where that bound does not beat the best seen. Among many models, the one that brings most for its size is
 * taken as long as one brings anything; then a chosen one is dropped or exchanged for another while that helps. */
#include "select/compose.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NOTHING -1e30                   /* worth of no model at all: finite, so that a kind of frequency 0 stays 0 */
#define SAME 1e-12                      /* differences below are of rounding */

enum { EXCHANGES_MAX = 1000, EXCHANGE_MODELS_MAX = 128 };       /* among more models exchanges take minutes: greedily alone */

double compose_value(const struct compose *c, const bool *is_chosen)
{
    double sum = 0;
    for (uint32_t k = 0; k < c->n_kinds; k++) {
        uint32_t m = compose_best(c, is_chosen, k);
        sum += c->frequency[k] * (m == UINT32_MAX ? NOTHING : c->worth[(size_t)k * c->n_models + m]);
    }
    return sum;
}

double compose_size(const struct compose *c, const bool *is_chosen)
{
    double sum = 0;
    for (uint32_t m = 0; m < c->n_models; m++)
        sum += is_chosen[m] ? c->size[m] : 0;
    return sum;
}

uint32_t compose_best(const struct compose *c, const bool *is_chosen, uint32_t kind)
{
    const double *worth = c->worth + (size_t)kind * c->n_models;
    uint32_t best = UINT32_MAX;
    for (uint32_t m = 0; m < c->n_models; m++)
        if (is_chosen[m] && (best == UINT32_MAX || worth[m] > worth[best]))
            best = m;
    return best;
}

static uint32_t chosen_n(const struct compose *c, const bool *is_chosen)
{
    uint32_t n = 0;
    for (uint32_t m = 0; m < c->n_models; m++)
        n += is_chosen[m];
    return n;
}

/* ---- search ---- */

struct search {
    const struct compose *c;
    uint32_t *model, n;                 /* those that fit, the most useful alone first */
    double *rest;                       /* [n + 1][n_kinds] the best worth among model[at ..] */
    double *reached;                    /* [n + 1][n_kinds] the best among those taken before `at` */
    bool *is_taken, *best;              /* [n_models] */
    double value, size;                 /* of best */
};

static double bound(const struct search *s, uint32_t at)
{
    const double *reached = s->reached + (size_t)at * s->c->n_kinds, *rest = s->rest + (size_t)at * s->c->n_kinds;
    double sum = 0;
    for (uint32_t k = 0; k < s->c->n_kinds; k++)
        sum += s->c->frequency[k] * fmax(reached[k], rest[k]);
    return sum;
}

static void search_on(struct search *s, uint32_t at, uint32_t taken, double size)
{
    const struct compose *c = s->c;
    double *reached = s->reached + (size_t)at * c->n_kinds, value = 0;
    for (uint32_t k = 0; k < c->n_kinds; k++)
        value += c->frequency[k] * reached[k];
    if (taken && (value > s->value + SAME || (value > s->value - SAME && size < s->size))) {
        s->value = value;
        s->size = size;
        memcpy(s->best, s->is_taken, c->n_models * sizeof *s->best);
    }
    if (at == s->n || bound(s, at) < s->value - SAME)
        return;
    double *next = reached + c->n_kinds;
    uint32_t m = s->model[at];
    if (size + c->size[m] <= c->budget) {
        for (uint32_t k = 0; k < c->n_kinds; k++)
            next[k] = fmax(reached[k], c->worth[(size_t)k * c->n_models + m]);
        s->is_taken[m] = true;
        search_on(s, at + 1, taken + 1, size + c->size[m]);
        s->is_taken[m] = false;
    }
    memcpy(next, reached, c->n_kinds * sizeof *next);
    search_on(s, at + 1, taken, size);
}

static double alone(const struct compose *c, uint32_t m)
{
    double sum = 0;
    for (uint32_t k = 0; k < c->n_kinds; k++)
        sum += c->frequency[k] * c->worth[(size_t)k * c->n_models + m];
    return sum;
}

uint32_t compose_exact(const struct compose *c, bool *is_chosen)
{
    struct search s = { .c = c, .best = is_chosen, .value = -HUGE_VAL };
    size_t cells = (size_t)(c->n_models + 1) * c->n_kinds;
    s.model = malloc(c->n_models * sizeof *s.model);
    s.rest = malloc(2 * cells * sizeof *s.rest);
    s.is_taken = calloc(c->n_models, sizeof *s.is_taken);
    memset(is_chosen, 0, c->n_models * sizeof *is_chosen);
    if (s.model && s.rest && s.is_taken) {
        s.reached = s.rest + cells;
        for (uint32_t m = 0; m < c->n_models; m++) {
            uint32_t at = s.n;
            if (c->size[m] > c->budget)
                continue;
            for (s.n++; at > 0 && alone(c, s.model[at - 1]) < alone(c, m); at--)
                s.model[at] = s.model[at - 1];
            s.model[at] = m;
        }
        for (uint32_t k = 0; k < c->n_kinds; k++)
            s.reached[k] = s.rest[(size_t)s.n * c->n_kinds + k] = NOTHING;
        for (uint32_t at = s.n; at-- > 0;)
            for (uint32_t k = 0; k < c->n_kinds; k++)
                s.rest[(size_t)at * c->n_kinds + k] = fmax(s.rest[(size_t)(at + 1) * c->n_kinds + k],
                                                           c->worth[(size_t)k * c->n_models + s.model[at]]);
        search_on(&s, 0, 0, 0);
    }
    free(s.model);
    free(s.rest);
    free(s.is_taken);
    return chosen_n(c, is_chosen);
}

/* ---- greedily ---- */

/* Adds what brings most for its size until nothing brings anything. */
static void fill(const struct compose *c, bool *is_chosen)
{
    for (;;) {
        double before = chosen_n(c, is_chosen) ? compose_value(c, is_chosen) : 0, size = compose_size(c, is_chosen), best = 0;
        uint32_t next = UINT32_MAX;
        for (uint32_t m = 0; m < c->n_models; m++) {
            if (is_chosen[m] || size + c->size[m] > c->budget)
                continue;
            is_chosen[m] = true;
            double gain = compose_value(c, is_chosen) - before;
            is_chosen[m] = false;
            if (gain > SAME && gain / (c->size[m] + 1e-9) > best)
                best = gain / (c->size[m] + 1e-9), next = m;
        }
        if (next == UINT32_MAX)
            return;
        is_chosen[next] = true;
    }
}

/* Drops one chosen model, takes another or none for it and fills up, if that is better. False: nothing is. */
static bool exchange(const struct compose *c, bool *is_chosen, bool *tried)
{
    double before = compose_value(c, is_chosen), size = compose_size(c, is_chosen);
    for (uint32_t out = 0; out < c->n_models; out++) {
        for (uint32_t in = 0; in <= c->n_models && is_chosen[out]; in++) {     /* n_models: none */
            bool is_none = in == c->n_models;
            if (!is_none && (is_chosen[in] || size - c->size[out] + c->size[in] > c->budget))
                continue;
            memcpy(tried, is_chosen, c->n_models * sizeof *tried);
            tried[out] = false;
            if (!is_none)
                tried[in] = true;
            fill(c, tried);
            double value = chosen_n(c, tried) ? compose_value(c, tried) : -HUGE_VAL;
            if (value > before + SAME || (value > before - SAME && compose_size(c, tried) < size - SAME)) {
                memcpy(is_chosen, tried, c->n_models * sizeof *tried);
                return true;
            }
        }
    }
    return false;
}

uint32_t compose_greedy(const struct compose *c, bool *is_chosen)
{
    bool *tried = calloc(2 * (size_t)c->n_models, sizeof *tried), *best = tried ? tried + c->n_models : NULL;
    uint32_t first = UINT32_MAX;
    memset(is_chosen, 0, c->n_models * sizeof *is_chosen);
    for (uint32_t m = 0; m < c->n_models; m++)
        if (c->size[m] <= c->budget && (first == UINT32_MAX || alone(c, m) > alone(c, first)))
            first = m;
    for (uint32_t start = 0; start < 2 && tried && first != UINT32_MAX; start++) {     /* from nothing, and from the best one alone */
        memset(is_chosen, 0, c->n_models * sizeof *is_chosen);
        is_chosen[first] = start == 1;
        fill(c, is_chosen);
        for (uint32_t turn = 0; turn < EXCHANGES_MAX && c->n_models <= EXCHANGE_MODELS_MAX && exchange(c, is_chosen, tried); turn++)
            ;
        if (start == 0 || chosen_n(c, best) == 0 || compose_value(c, best) < compose_value(c, is_chosen) - SAME)
            memcpy(best, is_chosen, c->n_models * sizeof *best);
    }
    if (tried && first != UINT32_MAX)
        memcpy(is_chosen, best, c->n_models * sizeof *best);
    free(tried);
    return chosen_n(c, is_chosen);
}

uint32_t compose_solve(const struct compose *c, bool *is_chosen)
{
    uint32_t fitting = 0;
    for (uint32_t m = 0; m < c->n_models; m++)
        fitting += c->size[m] <= c->budget;
    return fitting <= COMPOSE_EXACT_MAX ? compose_exact(c, is_chosen) : compose_greedy(c, is_chosen);
}
