/* select/newcomer.c -- a model of which few outcomes are known, by linear regression on the outcomes of others.
 *
 * outcome(i) = expected_i + place_i . w + doubt_i u_kind(i) + noise. `expected` is the mean of the best third of the other models;
 * place_i[0] is doubt_i, so that w[0] shifts all rows alike where there is anything to differ about; the rest are the row's
 * principal components. What is believed of (w, u) are a mean and a covariance, and one outcome changes them by one step of a Kalman
 * filter: dim squared operations. */
#include "select/newcomer.h"

#include <math.h>
#include <stdlib.h>

#include "select/kinds.h"

enum { PRIOR_ROWS = 2000, PLAYERS = 16, TURNS = 2, SWEEPS = 30 };
/* Before anything is learned of the others' variation; it counts as much as WORTH other models. The shift stays: how good a newcomer
 * is overall says nobody else, and a few outcomes do. */
static const struct newcomer_prior unlearned = { .shift = 0.0625, .direction = 1, .kind = 0.01, .noise = 0.02, .noise_doubt = 0.5 };
#define WORTH 6
#define NOISE_MIN 0.03
#define EXPECTED_SHARE 3                /* 1 / share of the other models that are looked up to; at least so many, too */
#define DIRECTION_MIN 0.02              /* of a direction that is all noise */

/* ---- the other models ---- */

struct others { uint32_t model[NEWCOMER_OTHERS], n, n_top; double mean[NEWCOMER_OTHERS]; };       /* best first */

static double mean_quality(const struct recorded *r, uint32_t model)
{
    double sum = 0, n = 0;
    for (uint32_t i = 0; i < recorded_n(r); i++) {
        float q = r->quality[(size_t)recorded_row(r, i) * r->n_models + model];
        if (!isnan(q))
            sum += (double)q, n++;
    }
    return n > 0 ? sum / n : -1;
}

static struct others others_find(const struct recorded *r, const bool *is_hidden)
{
    struct others o = { .n = 0 };
    for (uint32_t m = 0; m < r->n_models; m++) {
        double mean = is_hidden[m] ? -1 : mean_quality(r, m);
        uint32_t at = o.n;
        while (at > 0 && o.mean[at - 1] < mean)
            at--;
        if (mean < 0 || at == NEWCOMER_OTHERS)
            continue;
        o.n += o.n < NEWCOMER_OTHERS;
        for (uint32_t j = o.n - 1; j > at; j--)
            o.mean[j] = o.mean[j - 1], o.model[j] = o.model[j - 1];
        o.mean[at] = mean;
        o.model[at] = m;
    }
    o.n_top = (o.n + EXPECTED_SHARE - 1) / EXPECTED_SHARE;
    o.n_top = o.n_top < EXPECTED_SHARE ? (o.n < EXPECTED_SHARE ? o.n : EXPECTED_SHARE) : o.n_top;
    return o;
}

/* ---- directions: eigenvectors of a small symmetric matrix, by Jacobi's rotations ---- */

static void rotate(double *g, uint32_t n, uint32_t p, uint32_t q, double c, double s, bool of_rows)
{
    for (uint32_t i = 0; i < n; i++) {
        double *x = of_rows ? &g[p * n + i] : &g[i * n + p], *y = of_rows ? &g[q * n + i] : &g[i * n + q], was = *x;
        *x = c * was - s * *y;
        *y = s * was + c * *y;
    }
}

/* g[n][n] becomes diagonal; the columns of v are its eigenvectors. */
static void diagonalise(double *g, double *v, uint32_t n)
{
    double trace = 0;
    for (uint32_t i = 0; i < n * n; i++)
        v[i] = i % (n + 1) == 0;
    for (uint32_t i = 0; i < n; i++)
        trace += g[i * (n + 1)];
    for (uint32_t sweep = 0; sweep < SWEEPS; sweep++)
        for (uint32_t p = 0; p < n; p++)
            for (uint32_t q = p + 1; q < n; q++) {
                if (fabs(g[p * n + q]) <= 1e-12 * trace)
                    continue;
                double angle = (g[q * (n + 1)] - g[p * (n + 1)]) / (2 * g[p * n + q]);
                double t = (angle >= 0 ? 1 : -1) / (fabs(angle) + sqrt(angle * angle + 1)), c = 1 / sqrt(t * t + 1);
                rotate(g, n, p, q, c, t * c, false);
                rotate(g, n, p, q, c, t * c, true);
                rotate(v, n, p, q, c, t * c, false);
            }
}

/* ---- rows and kinds ---- */

/* Kinds as they are told apart here: the largest ones, and one for the rest and for rows of which no kind is known. */
static bool kinds_gather(struct newcomer *w, const struct recorded *r, const uint32_t *kind, uint32_t n_kinds, struct arena *a)
{
    uint32_t *count = arena_try(a, (n_kinds + 1) * sizeof *count), *to = arena_try(a, (n_kinds + 1) * sizeof *to);
    if (!count || !to)
        return false;
    memset(count, 0, (n_kinds + 1) * sizeof *count);
    for (uint32_t i = 0; i < w->n; i++)
        if (kind[recorded_row(r, i)] < n_kinds)
            count[kind[recorded_row(r, i)]]++;
    uint32_t own = n_kinds < NEWCOMER_KINDS ? n_kinds : NEWCOMER_KINDS;
    for (uint32_t h = 0; h < n_kinds; h++) {
        uint32_t larger = 0;
        for (uint32_t j = 0; j < n_kinds; j++)
            larger += count[j] > count[h] || (count[j] == count[h] && j < h);
        to[h] = n_kinds == own ? h : larger < own ? larger : own;       /* where all have room a kind keeps its number */
    }
    w->n_kinds = own + 1;
    for (uint32_t i = 0; i < w->n; i++) {
        uint32_t h = kind[recorded_row(r, i)];
        w->kind[i] = h < n_kinds ? to[h] : own;
    }
    return true;
}

static void kinds_sum(struct newcomer *w, const struct recorded *r, const bool *is_hidden)
{
    for (uint32_t i = 0; i < w->n; i++) {
        struct newcomer_kind *k = &w->of[w->kind[i]];
        k->share++;
        k->expected += (double)w->expected[i];
        k->doubt += (double)w->doubt[i];
        for (uint32_t j = 0; j < w->rank; j++)
            k->place[j] += (double)w->place[i][j];
    }
    for (uint32_t h = 0; h < w->n_kinds; h++) {
        struct newcomer_kind *k = &w->of[h];
        double n = fmax(k->share, 1);
        k->expected /= n;
        k->doubt /= n;
        for (uint32_t j = 0; j < w->rank; j++)
            k->place[j] /= n;
        k->share /= w->n;
    }
    double sum[NEWCOMER_KINDS + 1], n[NEWCOMER_KINDS + 1];
    for (uint32_t m = 0; m < r->n_models; m++) {
        memset(sum, 0, sizeof sum);
        memset(n, 0, sizeof n);
        for (uint32_t i = 0; i < w->n && !is_hidden[m]; i++) {
            float q = r->quality[(size_t)recorded_row(r, i) * r->n_models + m];
            if (!isnan(q))
                sum[w->kind[i]] += (double)q, n[w->kind[i]]++;
        }
        for (uint32_t h = 0; h < w->n_kinds; h++)
            w->of[h].best = n[h] > 0 ? fmax(w->of[h].best, sum[h] / n[h]) : w->of[h].best;
    }
}

/* expected, doubt and noise of the rows; difference[n][others]: others' outcomes minus what is expected, 0 where one is missing. */
static void rows_read(struct newcomer *w, const struct recorded *r, const struct others *o, const struct newcomer_prior *prior,
                      float *difference)
{
    double everywhere = 0;
    for (uint32_t j = 0; j < o->n; j++)
        everywhere += o->mean[j] / o->n;
    everywhere = o->n ? everywhere : 0.5;
    for (uint32_t i = 0; i < w->n; i++) {
        const float *q = r->quality + (size_t)recorded_row(r, i) * r->n_models;
        double sum = 0, n = 0;
        for (uint32_t j = 0; j < o->n_top; j++)
            if (!isnan(q[o->model[j]]))
                sum += (double)q[o->model[j]], n++;
        double soft = fmin(fmax((sum + 2 * everywhere) / (n + 2), 0), 1);
        w->expected[i] = (float)(n > 0 ? sum / n : everywhere);
        w->doubt[i] = w->place[i][0] = (float)(2 * sqrt(soft * (1 - soft)));
        w->noise[i] = (float)(prior->noise + prior->noise_doubt * soft * (1 - soft));
        for (uint32_t j = 0; j < o->n; j++)
            difference[(size_t)i * o->n + j] = isnan(q[o->model[j]]) ? 0 : q[o->model[j]] - w->expected[i];
    }
}

/* The directions along which others differ most, the rows' places along them, and the prior of how far the newcomer goes. */
static void rows_place(struct newcomer *w, const struct others *o, const struct newcomer_prior *prior, const float *difference,
                       double *gram, double *vectors)
{
    memset(gram, 0, (size_t)o->n * o->n * sizeof *gram);
    for (uint32_t i = 0; i < w->n; i++) {
        const float *d = difference + (size_t)i * o->n;
        for (uint32_t p = 0; p < o->n; p++)
            for (uint32_t q = 0; q < o->n; q++)
                gram[p * o->n + q] += (double)(d[p] * d[q]);
    }
    diagonalise(gram, vectors, o->n);
    uint32_t order[NEWCOMER_OTHERS], useful = o->n > 1 ? o->n - (o->n_top == o->n) : 0;    /* of deviations from their own mean one is 0 */
    for (uint32_t j = 0; j < o->n; j++) {
        uint32_t at = j;
        for (; at > 0 && gram[order[at - 1] * (o->n + 1)] < gram[j * (o->n + 1)]; at--)
            order[at] = order[at - 1];
        order[at] = j;
    }
    uint32_t rank = useful < NEWCOMER_RANK - 1 ? useful : NEWCOMER_RANK - 1;
    double tail = rank ? gram[order[rank - 1] * (o->n + 1)] : 0;       /* what a direction has by chance alone, as in probabilistic PCA */
    for (uint32_t j = rank; j < useful; j++)
        tail = (j > rank ? tail : 0) + gram[order[j] * (o->n + 1)] / (useful - rank);
    w->rank = rank + 1;
    w->dim = w->rank + w->n_kinds;
    w->spread[0] = prior->shift;
    for (uint32_t j = 1; j < w->rank; j++) {
        double along = gram[order[j - 1] * (o->n + 1)], real = along > 0 ? fmax(1 - tail / along, DIRECTION_MIN) : DIRECTION_MIN;
        w->spread[j * (w->dim + 1)] = prior->direction * real / (o->n - 1);
        for (uint32_t i = 0; i < w->n; i++) {
            double place = 0;
            for (uint32_t m = 0; m < o->n; m++)
                place += (double)difference[(size_t)i * o->n + m] * vectors[m * o->n + order[j - 1]];
            w->place[i][j] = (float)place;
        }
    }
    for (uint32_t h = 0; h < w->n_kinds; h++)
        w->spread[(w->rank + h) * (w->dim + 1)] = prior->kind;
}

bool newcomer_make(struct newcomer *w, const struct recorded *r, const bool *is_hidden, const struct newcomer_prior *prior,
                   const uint32_t *kind, uint32_t n_kinds, struct arena *a)
{
    struct others o = others_find(r, is_hidden);
    size_t dim_max = NEWCOMER_RANK + NEWCOMER_KINDS + 1, square = dim_max * dim_max, twice = 2 * dim_max;
    *w = (struct newcomer){ .n = recorded_n(r) };
    w->kind = arena_try(a, (w->n + 1) * sizeof *w->kind);
    w->expected = arena_try(a, (w->n + 1) * sizeof *w->expected);
    w->doubt = arena_try(a, (w->n + 1) * sizeof *w->doubt);
    w->noise = arena_try(a, (w->n + 1) * sizeof *w->noise);
    w->place = arena_try(a, (w->n + 1) * sizeof *w->place);
    float *difference = malloc(((size_t)w->n * o.n + 1) * sizeof *difference);
    double *gram = malloc(((size_t)2 * o.n * o.n + 1) * sizeof *gram);
    bool is_fine = w->kind && w->expected && w->doubt && w->noise && w->place && difference && gram &&
        kinds_gather(w, r, kind, n_kinds, a);
    if (is_fine) {
        w->of = ARENA_ARRAY(a, struct newcomer_kind, w->n_kinds);
        w->belief = ARENA_ARRAY(a, double, dim_max);
        w->spread = ARENA_ARRAY(a, double, square);
        w->scratch = ARENA_ARRAY(a, double, twice);
        memset(w->place, 0, (w->n + 1) * sizeof *w->place);
        rows_read(w, r, &o, prior, difference);
        rows_place(w, &o, prior, difference, gram, gram + (size_t)o.n * o.n);
        kinds_sum(w, r, is_hidden);
    }
    free(difference);
    free(gram);
    return is_fine;
}

/* ---- the arithmetic of beliefs ---- */

/* A row's vector and a kind's have the same shape: along the directions, and along one kind's own number. */
static void reach(const struct newcomer *w, const double *spread, uint32_t kind, double doubt, double *out)
{
    const double *own = spread + (size_t)(w->rank + kind) * w->dim;
    for (uint32_t c = 0; c < w->dim; c++)
        out[c] = doubt * own[c];
}

static void reach_add(const struct newcomer *w, const double *spread, uint32_t j, double place, double *out)
{
    const double *s = spread + (size_t)j * w->dim;
    for (uint32_t c = 0; c < w->dim; c++)
        out[c] += place * s[c];
}

void newcomer_reach(const struct newcomer *w, const double *spread, uint32_t row, double *out)
{
    reach(w, spread, w->kind[row], (double)w->doubt[row], out);
    for (uint32_t j = 0; j < w->rank; j++)
        reach_add(w, spread, j, (double)w->place[row][j], out);
}

void newcomer_kind_reach(const struct newcomer *w, const double *spread, uint32_t kind, double *out)
{
    reach(w, spread, kind, w->of[kind].doubt, out);
    for (uint32_t j = 0; j < w->rank; j++)
        reach_add(w, spread, j, w->of[kind].place[j], out);
}

double newcomer_along(const struct newcomer *w, uint32_t row, const double *v)
{
    double sum = (double)w->doubt[row] * v[w->rank + w->kind[row]];
    for (uint32_t j = 0; j < w->rank; j++)
        sum += (double)w->place[row][j] * v[j];
    return sum;
}

double newcomer_kind_along(const struct newcomer *w, uint32_t kind, const double *v)
{
    double sum = w->of[kind].doubt * v[w->rank + kind];
    for (uint32_t j = 0; j < w->rank; j++)
        sum += w->of[kind].place[j] * v[j];
    return sum;
}

double newcomer_narrow(const struct newcomer *w, double *spread, uint32_t row, double *to)
{
    newcomer_reach(w, spread, row, to);
    double variance = newcomer_along(w, row, to) + (double)w->noise[row];
    for (uint32_t p = 0; p < w->dim; p++)
        for (uint32_t c = 0; c < w->dim; c++)
            spread[(size_t)p * w->dim + c] -= to[p] * to[c] / variance;
    return variance;
}

double newcomer_row(const struct newcomer *w, uint32_t row)
{
    return (double)w->expected[row] + newcomer_along(w, row, w->belief);
}

void newcomer_tell(struct newcomer *w, uint32_t row, double quality)
{
    double miss = quality - newcomer_row(w, row), variance = newcomer_narrow(w, w->spread, row, w->scratch);
    for (uint32_t c = 0; c < w->dim; c++)
        w->belief[c] += w->scratch[c] * miss / variance;
}

struct guess newcomer_kind(const struct newcomer *w, uint32_t kind)
{
    newcomer_kind_reach(w, w->spread, kind, w->scratch);
    return (struct guess){ w->of[kind].expected + newcomer_kind_along(w, kind, w->belief),
                           sqrt(fmax(newcomer_kind_along(w, kind, w->scratch), 0)) };
}

/* ---- the prior: every good model of the set plays the newcomer once, with all its outcomes known ---- */

struct learned { double direction, directions, kind, kinds, n, x, xx, y, xy; };        /* sums; x, y: a line of squared misses over m (1 - m) */

static bool player_learn(const struct recorded *r, const bool *is_hidden, uint32_t player, const struct newcomer_prior *prior,
                         const uint32_t *kind, uint32_t n_kinds, struct learned *s)
{
    struct arena *a = arena_new();
    struct newcomer w;
    if (!a || !newcomer_make(&w, r, is_hidden, prior, kind, n_kinds, a)) {
        arena_free(a);
        return false;
    }
    double before[NEWCOMER_RANK];
    for (uint32_t j = 0; j < w.rank; j++)
        before[j] = w.spread[j * (w.dim + 1)];
    for (int is_over = 0; is_over < 2; is_over++)
        for (uint32_t i = 0; i < w.n; i++) {
            float q = r->quality[(size_t)recorded_row(r, i) * r->n_models + player];
            if (isnan(q))
                continue;
            if (!is_over) {
                newcomer_tell(&w, i, (double)q);
                continue;
            }
            double miss = (double)q - newcomer_row(&w, i), x = (double)(w.doubt[i] * w.doubt[i]) / 4;
            s->n++, s->x += x, s->xx += x * x, s->y += miss * miss, s->xy += miss * miss * x;
        }
    for (uint32_t j = 1; j < w.rank; j++, s->directions++)
        s->direction += prior->direction * (w.belief[j] * w.belief[j] + w.spread[j * (w.dim + 1)]) / before[j];
    for (uint32_t h = 0; h < w.n_kinds; h++) {
        uint32_t j = w.rank + h;
        if (w.of[h].share > 0)
            s->kind += w.belief[j] * w.belief[j] + w.spread[j * (w.dim + 1)], s->kinds++;
    }
    arena_free(a);
    return true;
}

/* One step of expectation and maximisation. */
static struct newcomer_prior prior_of(const struct learned *s)
{
    struct newcomer_prior p = unlearned;
    double spread = s->n * s->xx - s->x * s->x;
    p.direction = (s->direction + WORTH * unlearned.direction) / (s->directions + WORTH);
    p.kind = (s->kind + WORTH * unlearned.kind) / (s->kinds + WORTH);
    if (s->n == 0 || s->xx <= 0)
        return p;
    p.noise_doubt = spread > 1e-9 ? fmax((s->n * s->xy - s->x * s->y) / spread, 0) : 0;
    p.noise = (s->y - p.noise_doubt * s->x) / s->n;
    if (p.noise < NOISE_MIN) {
        p.noise = NOISE_MIN;
        p.noise_doubt = fmax((s->xy - p.noise * s->x) / s->xx, 0.05);
    }
    return p;
}

struct newcomer_prior newcomer_prior(const struct recorded *r, const bool *is_hidden, const uint32_t *kind, uint32_t n_kinds)
{
    struct newcomer_prior p = unlearned;
    struct others o = others_find(r, is_hidden);
    uint32_t players = (o.n + 1) / 2 < PLAYERS ? (o.n + 1) / 2 : PLAYERS;       /* the better half: a newcomer is hoped to be like these */
    uint32_t n = recorded_n(r), step = n > PRIOR_ROWS ? n / PRIOR_ROWS : 1, *rows = malloc((n + 1) * sizeof *rows);
    bool *is_out = malloc(r->n_models * sizeof *is_out);
    struct recorded some = *r;
    some.rows = rows;
    for (some.n_rows = 0; rows && some.n_rows < n / step; some.n_rows++)
        rows[some.n_rows] = recorded_row(r, some.n_rows * step);
    for (uint32_t turn = 0; turn < TURNS && o.n > 2 && rows && is_out; turn++) {
        struct learned s = { .n = 0 };
        bool is_fine = true;
        for (uint32_t c = 0; c < players && is_fine; c++) {
            memcpy(is_out, is_hidden, r->n_models * sizeof *is_out);
            is_out[o.model[c]] = true;
            is_fine = player_learn(&some, is_out, o.model[c], &p, kind, n_kinds, &s);
        }
        if (is_fine)
            p = prior_of(&s);
    }
    free(rows);
    free(is_out);
    return p;
}

bool newcomer_read(struct newcomer *w, const struct recorded *r, uint32_t model, bool *is_known, struct arena *a)
{
    bool *is_hidden = ARENA_ARRAY(a, bool, r->n_models);
    uint32_t *kind = arena_try(a, (r->n + 1) * sizeof *kind);
    str *names = ARENA_ARRAY(a, str, LEARNER_KINDS_MAX);
    if (model != UINT32_MAX)
        is_hidden[model] = true;
    uint32_t n_kinds = kind ? kinds_name(r, &(struct learner_spec){ 0 }, true, kind, names, a) : UINT32_MAX;
    if (n_kinds == UINT32_MAX)
        return false;
    struct newcomer_prior prior = newcomer_prior(r, is_hidden, kind, n_kinds);
    if (!newcomer_make(w, r, is_hidden, &prior, kind, n_kinds, a))
        return false;
    for (uint32_t i = 0; i < w->n; i++) {
        float q = model == UINT32_MAX ? NAN : r->quality[(size_t)recorded_row(r, i) * r->n_models + model];
        is_known[i] = !isnan(q);
        if (is_known[i])
            newcomer_tell(w, i, (double)q);
    }
    return true;
}

/* ---- what it is to be trusted with ---- */

/* What the kinds that are left would bring together, in deviations of that; *least: the kind that is least sure. */
static double sureness(const struct newcomer *w, const bool *is_left, uint32_t *least)
{
    double *sum = w->scratch + w->dim, gain = 0, variance = 0, lowest = HUGE_VAL;
    memset(sum, 0, w->dim * sizeof *sum);
    *least = UINT32_MAX;
    for (uint32_t h = 0; h < w->n_kinds; h++) {
        if (!is_left[h])
            continue;
        const struct newcomer_kind *k = &w->of[h];
        struct guess g = newcomer_kind(w, h);
        double ahead = g.mean - k->best, sure = ahead / fmax(g.deviation, 1e-9);
        *least = sure < lowest ? h : *least;
        lowest = fmin(lowest, sure);
        gain += k->share * ahead;
        for (uint32_t j = 0; j < w->rank; j++)
            sum[j] += k->share * k->place[j];
        sum[w->rank + h] += k->share * k->doubt;
    }
    for (uint32_t p = 0; p < w->dim; p++)
        for (uint32_t c = 0; c < w->dim; c++)
            variance += sum[p] * w->spread[(size_t)p * w->dim + c] * sum[c];
    return gain / sqrt(fmax(variance, 1e-18));
}

void newcomer_doubts(const struct newcomer *w, double caution, double *less)
{
    bool is_left[NEWCOMER_KINDS + 1];
    uint32_t least;
    for (uint32_t h = 0; h < w->n_kinds; h++) {
        less[h] = 0;
        is_left[h] = w->of[h].share > 0 && newcomer_kind(w, h).mean > w->of[h].best;
    }
    while (sureness(w, is_left, &least) <= caution && least != UINT32_MAX) {
        struct guess g = newcomer_kind(w, least);
        is_left[least] = false;
        less[least] = g.mean - w->of[least].best + g.deviation / 2;
    }
}

void newcomer_fill(const struct newcomer *w, const struct recorded *r, uint32_t model, double caution, float *quality)
{
    double less[NEWCOMER_KINDS + 1];
    newcomer_doubts(w, caution, less);
    for (uint32_t i = 0; i < w->n; i++) {
        float *cell = quality + (size_t)recorded_row(r, i) * r->n_models + model;
        if (isnan(*cell))
            *cell = (float)(newcomer_row(w, i) - less[w->kind[i]]);
    }
}
