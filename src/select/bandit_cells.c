/* select/bandit_cells.c -- live evidence: how far outcomes stray from what was expected of them.
 *
 * A trained table says what to expect of a model for a query, and how sure it is of that. Live outcomes do not change the table:
 * they are summed up as residuals, by model and by (model, kind of query). So the table can be shared by all threads without a
 * lock and replaced by a better one while the evidence stays; an outcome can be taken back exactly; two instances add up. The
 * belief is the normal posterior of two offsets, the model's and the kind's, which share the expectation's own doubt between
 * them. Without a table the expectation is the model card's quality with a wide deviation, and the same code learns from
 * nothing. */
#include "select/bandit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

static const double noise_least = .04;      /* variance of one reward; p (1 - p) of an extreme p is no excuse for certainty */
/* at most so much does a model's strength differ between kinds, beyond what the table knows */
static const double kind_spread = .1;
static const float wide_after_change = .25f;

static uint64_t cell_key(uint32_t model, uint64_t kind)
{
    uint64_t v = hash_mix(kind * 0x9e3779b97f4a7c15u + model + 1);
    return v ? v : 1;
}

void cells_free(struct cells *c)
{
    free(c->slots);
    *c = (struct cells){ 0 };
}

static struct cell *find(const struct cells *c, uint64_t key)
{
    if (!c || !c->cap)
        return NULL;
    for (uint32_t i = (uint32_t)key & (c->cap - 1);; i = (i + 1) & (c->cap - 1))
        if (!c->slots[i].key || c->slots[i].key == key)
            return &c->slots[i];
}

static bool grow(struct cells *c)
{
    uint32_t cap = c->cap ? c->cap * 2 : 64;
    struct cells bigger = { calloc(cap, sizeof *c->slots), cap, c->used };
    if (!bigger.slots)
        return false;
    for (uint32_t i = 0; i < c->cap; i++)
        if (c->slots[i].key)
            *find(&bigger, c->slots[i].key) = c->slots[i];
    free(c->slots);
    *c = bigger;
    return true;
}

struct cell *cells_at(struct cells *c, uint32_t model, uint64_t kind)
{
    uint64_t key = cell_key(model, kind);
    struct cell *at = find(c, key);
    if (at && at->key)
        return at;
    if (c->used >= CELLS_MAX)
        return NULL;
    if (2 * (c->used + 1) > c->cap) {
        if (!grow(c))
            return NULL;
        at = find(c, key);
    }
    *at = (struct cell){ .key = key, .kind = kind, .model = model };
    c->used++;
    return at;
}

static void cell_add(struct cell *at, double rest, double w)
{
    if (!at)
        return;
    at->n += w;
    at->rest += w * rest;
    at->squares += w * rest * rest;
    if (at->n < 1e-9)                           /* all taken back: no rounding dust stays */
        at->n = at->rest = at->squares = 0;
}

void cells_add(struct cells *c, uint32_t model, uint64_t kind, double reward, double expected, double w)
{
    double rest = reward - expected;
    if (!isfinite(rest) || !isfinite(w))
        return;
    cell_add(cells_at(c, model, CELL_ALL), rest, w);
    if (kind != CELL_ALL)
        cell_add(cells_at(c, model, kind), rest, w);
}

double reward_noise(double expected)
{
    double p = fmin(1, fmax(0, expected));
    return fmax(noise_least, p * (1 - p));
}

static const struct cell none;

static const struct cell *cell_of(const struct cells *c, uint32_t model, uint64_t kind)
{
    const struct cell *at = find(c, cell_key(model, kind));
    return at ? at : &none;
}

double cells_doubt(const struct cells *c, uint32_t model, double deviation)
{
    return fmax((double)cell_of(c, model, CELL_ALL)->wide, deviation);
}

double kind_variance(double deviation)
{
    return fmin(kind_spread * kind_spread, deviation * deviation / 2);
}

struct belief cells_belief(const struct cells *c, uint32_t model, uint64_t kind, double expected, double deviation)
{
    const struct cell *all = cell_of(c, model, CELL_ALL), *here = cell_of(c, model, kind);
    double noise = reward_noise(expected), d = cells_doubt(c, model, deviation);
    double of_kind = kind == CELL_ALL ? 0 : kind_variance(d);
    double worth = noise / fmax(1e-9, d * d - of_kind), n = all->n;     /* the expectation counts like so many outcomes */
    double offset = all->rest / (n + worth), variance = noise / (n + worth);
    if (of_kind > 0) {
        double worth_kind = noise / of_kind, share = worth_kind / (here->n + worth_kind);
        offset += (here->rest - here->n * offset) / (here->n + worth_kind);
        variance = share * share * variance + noise / (here->n + worth_kind);
        n = here->n + n * share;
    }
    return (struct belief){ expected + offset, sqrt(variance), n };
}

void cells_reset(struct cells *c, uint32_t model)
{
    for (uint32_t i = 0; i < c->cap; i++)
        if (c->slots[i].key && c->slots[i].model == model)
            c->slots[i].n = c->slots[i].rest = c->slots[i].squares = 0;
    struct cell *all = cells_at(c, model, CELL_ALL);
    if (all)
        all->wide = wide_after_change;
}

void cells_fade(struct cells *c, double keep)
{
    for (uint32_t i = 0; i < c->cap; i++) {
        c->slots[i].n *= keep;
        c->slots[i].rest *= keep;
        c->slots[i].squares *= keep;
    }
}

bool cells_merge(struct cells *to, const struct cells *from)
{
    for (uint32_t i = 0; i < from->cap; i++) {
        const struct cell *f = &from->slots[i];
        if (!f->key)
            continue;
        struct cell *t = cells_at(to, f->model, f->kind);
        if (!t)
            return false;
        t->n += f->n;
        t->rest += f->rest;
        t->squares += f->squares;
        t->wide = t->wide > f->wide ? t->wide : f->wide;
    }
    return true;
}
