/* select/probe.c -- which prompts tell most of a new model: greedy V-optimal design of a Bayesian linear regression.
 *
 * In a linear regression by Bayes' rule (newcomer.h) the doubt that will be left does not depend on what the answers are, only on
 * which rows are asked (Chaloner and Verdinelli 1995, Bayesian experimental design: a review). So rows are chosen before anything is
 * asked: each time the one that lowers most the variance of the newcomer's means over the kinds of query, weighed by how much they
 * matter. A kind matters by its traffic, and by how open it is whether the newcomer is the best there: the slope of the expected loss
 * of choosing wrongly, which is the knowledge gradient (Frazier, Powell and Dayanik 2008) of a small step. When outcomes come, the same
 * call with what is now believed goes on from there.
 *
 * The rows that tell most lie at the ends of the line, where good models part, and never where all are right. So a model that guesses
 * looks good on them: right half of the time where that is rare, and nobody sees that it is wrong half of the time where nobody else
 * is. Rows drawn by chance in between show it. */
#include "select/probe.h"

#include <math.h>
#include <stdlib.h>

#include "base/rand.h"

void probe_weigh(const struct newcomer *w, double *weight)
{
    double all = 0;
    for (uint32_t h = 0; h < w->n_kinds; h++) {
        struct guess g = newcomer_kind(w, h);
        double apart = g.deviation > 0 ? (g.mean - w->of[h].best) / g.deviation : 0;
        weight[h] = w->of[h].share * exp(-fmin(apart * apart, 1000) / 2) / fmax(g.deviation, 1e-6);
        all += weight[h];
    }
    for (uint32_t h = 0; h < w->n_kinds; h++)
        weight[h] = all > 0 ? weight[h] / all : w->of[h].share;
}

struct chooser {
    const struct newcomer *w;
    double weight[NEWCOMER_KINDS + 1];
    double *spread, *of_kind, *reach;   /* [dim][dim] as it would be; [n_kinds][dim] spread . kind; [dim] */
};

static double variance_all(const struct chooser *c)
{
    double sum = 0;
    for (uint32_t h = 0; h < c->w->n_kinds; h++)
        sum += c->weight[h] * fmax(newcomer_kind_along(c->w, h, c->of_kind + (size_t)h * c->w->dim), 0);
    return sum;
}

static void kinds_reach(struct chooser *c)
{
    for (uint32_t h = 0; h < c->w->n_kinds; h++)
        newcomer_kind_reach(c->w, c->spread, h, c->of_kind + (size_t)h * c->w->dim);
}

/* The variance of an outcome of the row: x' spread x + noise, of which only the few places that x has are looked at. */
static double variance_of(const struct chooser *c, uint32_t row)
{
    const struct newcomer *w = c->w;
    const double *own = c->spread + (size_t)(w->rank + w->kind[row]) * w->dim;
    const float *place = w->place[row];
    double doubt = (double)w->doubt[row], sum = (double)w->noise[row] + doubt * doubt * own[w->rank + w->kind[row]];
    for (uint32_t j = 0; j < w->rank; j++) {
        double along = 2 * doubt * own[j];
        for (uint32_t l = 0; l < w->rank; l++)
            along += c->spread[(size_t)j * w->dim + l] * (double)place[l];
        sum += (double)place[j] * along;
    }
    return sum;
}

/* What an outcome of the row takes off the variance of the kinds' means. */
static double worth_of(const struct chooser *c, uint32_t row)
{
    double sum = 0;
    for (uint32_t h = 0; h < c->w->n_kinds; h++) {
        double common = c->weight[h] > 0 ? newcomer_along(c->w, row, c->of_kind + (size_t)h * c->w->dim) : 0;
        sum += c->weight[h] * common * common;
    }
    return sum / variance_of(c, row);
}

static uint32_t most_telling(const struct chooser *c, const uint32_t *rows, uint32_t n)
{
    uint32_t best = 0;
    double most = -1;
    for (uint32_t i = 0; i < n; i++) {
        double worth = worth_of(c, rows[i]);
        if (worth > most)
            most = worth, best = i;
    }
    return best;
}

static bool chooser_start(struct chooser *c, const struct newcomer *w)
{
    size_t square = (size_t)w->dim * w->dim;
    c->w = w;
    c->spread = malloc((square + (size_t)(w->n_kinds + 1) * w->dim) * sizeof *c->spread);
    if (!c->spread)
        return false;
    c->of_kind = c->spread + square;
    c->reach = c->of_kind + (size_t)w->n_kinds * w->dim;
    memcpy(c->spread, w->spread, square * sizeof *c->spread);
    probe_weigh(w, c->weight);
    kinds_reach(c);
    return true;
}

/* Rows to weigh, in the order of the rows: all that are not known, or a random part. */
static uint32_t candidates_list(const struct newcomer *w, const bool *is_known, uint64_t *seed, uint32_t *rows)
{
    uint32_t n = 0, left = 0, wanted = PROBE_CANDIDATES;
    for (uint32_t i = 0; i < w->n; i++)
        left += !is_known[i];
    for (uint32_t i = 0; i < w->n; i++) {
        if (is_known[i])
            continue;
        if (wanted >= left || rand_below(seed, left) < wanted)        /* every part of that size is as likely (Knuth's algorithm S) */
            rows[n++] = i, wanted -= wanted > 0;
        left--;
    }
    return n;
}

uint32_t probe_choose(const struct newcomer *w, const struct recorded *r, const bool *is_known, uint32_t count, uint32_t checks,
                      uint64_t seed, uint32_t *chosen, double *share)
{
    struct chooser c;
    uint32_t *rows = malloc((w->n + 1) * sizeof *rows), n_chosen = 0;
    if (!rows || !chooser_start(&c, w)) {
        free(rows);
        return UINT32_MAX;
    }
    uint32_t n = candidates_list(w, is_known, &seed, rows);
    double start = variance_all(&c), before = start;
    while (n_chosen < count && n > 0) {
        bool is_check = checks && (n_chosen + 1) % checks == 0;
        uint32_t best = rows[is_check ? rand_below(&seed, n) : most_telling(&c, rows, n)];
        newcomer_narrow(w, c.spread, best, c.reach);
        kinds_reach(&c);
        double after = variance_all(&c);
        if (share)
            share[n_chosen] = start > 0 ? (before - after) / start : 0;
        before = after;
        chosen[n_chosen++] = best;
        uint32_t kept = 0;
        for (uint32_t i = 0; i < n; i++)
            if (rows[i] != best && !(r->query && r->query[recorded_row(r, rows[i])] == r->query[recorded_row(r, best)]))
                rows[kept++] = rows[i];
        n = kept;
    }
    free(rows);
    free(c.spread);
    return n_chosen;
}

double probe_share(const struct newcomer *w, const uint32_t *rows, uint32_t n)
{
    struct chooser c;
    if (!chooser_start(&c, w))
        return 0;
    double before = variance_all(&c);
    for (uint32_t i = 0; i < n; i++)
        newcomer_narrow(w, c.spread, rows[i], c.reach);
    kinds_reach(&c);
    double after = variance_all(&c);
    free(c.spread);
    return before > 0 ? 1 - after / before : 0;
}
