/* select/tally.c -- a table of what each model did on each kind of query, shrunken where little is known.
 *
 * A cell's quality is (sum + n0 . prior) / (n + n0). Its prior is the model's mean over all kinds plus what the kind adds for
 * every model (hard kinds are hard for all), and a model's mean is shrunken towards the mean of all models. So a cell nobody has
 * seen, and a model nobody has tried, have a sensible figure, and the figure gives way to evidence at a known rate.
 * Cost is a line over the length of the query, within the kind where there are outcomes to say so: dear models go to short
 * queries. Tokens and seconds are log-normal, which their tails need and which two sums describe. */
#include "select/tally.h"

#include <math.h>

/* outcomes that a model's slope over all kinds is worth within one kind */
enum { OTHERS = 4, WORTH_MAX = 2000, SLOPE_WORTH = 20 };
#define LITTLE 1e-3                     /* outcomes: what taking back may leave of a sum by rounding */
#define KIND_FLOOR 0.004f               /* less likely kinds have no say: most of a hundred kinds cost nothing */

bool tally_size(struct tally *c, uint32_t n_models, uint32_t n_kinds)
{
    size_t width = n_kinds + 1;
    if (c->cell && c->n_kinds != n_kinds)
        tally_clear(c);
    if (n_models > c->cap_models) {
        uint32_t cap = n_models < 16 ? 16 : n_models + n_models / 2;
        struct tally_cell *grown = realloc(c->cell, cap * width * sizeof *grown);
        if (!grown)
            return false;
        memset(grown + c->cap_models * width, 0, (cap - c->cap_models) * width * sizeof *grown);
        c->cell = grown;
        double *worth = realloc(c->worth, cap * sizeof *worth);
        c->worth = worth ? worth : c->worth;
        double *counted = realloc(c->counted, cap * sizeof *counted);
        c->counted = counted ? counted : c->counted;
        if (!worth || !counted)
            return false;
        for (uint32_t m = c->cap_models; m < cap; m++)
            worth[m] = counted[m] = 0;
        c->cap_models = cap;
    }
    c->n_models = n_models;
    c->n_kinds = n_kinds;
    return true;
}

void tally_clear(struct tally *c)
{
    free(c->cell);
    free(c->worth);
    free(c->counted);
    *c = (struct tally){ 0 };
}

static void cell_add(struct tally_cell *c, const struct outcome *o, double w)
{
    if (isfinite(o->quality)) {
        c->n += w;
        c->quality += w * (double)o->quality;
        c->quality_squared += w * (double)(o->quality * o->quality);
    }
    if (isfinite(o->cost_usd) && o->cost_usd >= 0) {
        double bytes = o->x->bytes, cost = (double)o->cost_usd;
        c->costs += w;
        c->cost += w * cost;
        c->bytes += w * bytes;
        c->bytes_squared += w * bytes * bytes;
        c->cost_bytes += w * cost * bytes;
    }
    if (isfinite(o->out_tokens) && o->out_tokens >= 0) {
        double l = log1p((double)o->out_tokens);
        c->tokens += w;
        c->log_tokens += w * l;
        c->log_tokens_squared += w * l * l;
    }
    if (isfinite(o->latency_s) && o->latency_s > 0) {
        double l = log((double)o->latency_s);
        c->times += w;
        c->log_time += w * l;
        c->log_time_squared += w * l * l;
    }
}

void tally_add(struct tally *c, const struct learner_spec *spec, const struct outcome *o, const float *kind_share, double weight)
{
    if (o->model >= c->n_models)
        return;
    struct tally_cell *row = c->cell + (size_t)o->model * (c->n_kinds + 1);
    for (uint32_t t = 0; t < c->n_kinds; t++)
        if (kind_share[t] >= KIND_FLOOR)
            cell_add(&row[t], o, weight * (double)kind_share[t]);
    cell_add(&row[c->n_kinds], o, weight);
    if (c->counted[o->model] > 0 && fabs(row[c->n_kinds].n - c->counted[o->model]) > 0.25 * c->counted[o->model])
        tally_weigh(c, spec);
}

double tally_record(struct tally *c, const struct learner_spec *spec, const struct recorded *r)
{
    double sum = 0, n = 0;
    for (uint32_t i = 0; i < recorded_n(r); i++)
        for (uint32_t m = 0; m < r->n_models; m++) {
            struct outcome o = recorded_outcome(r, recorded_row(r, i), m);
            tally_add(c, spec, &o, NULL, 1);
            if (!isnan(o.quality))
                sum += (double)o.quality, n++;
        }
    return n > 0 ? sum / n : 0.5;
}

static double mean_of(double sum, double n, double prior, double worth)
{
    n = n > 0 ? n : 0;
    return n + worth > 0 ? (n > 0 ? sum + worth * prior : worth * prior) / (n + worth) : prior;
}

static double slope_of(const struct tally_cell *c, double prior, double worth, double spread)
{
    if (c->costs < 2)
        return prior;
    double xx = c->bytes_squared - c->bytes * c->bytes / c->costs, xy = c->cost_bytes - c->bytes * c->cost / c->costs;
    xx += worth * spread;
    return xx > 0 ? (xy + worth * spread * prior) / xx : prior;
}

/* Cost at a length by one cell's line; never below a fifth of its mean. */
static double line_at(const struct tally_cell *c, double slope, double bytes)
{
    double mean = c->cost / c->costs;
    return fmax(mean + slope * (bytes - c->bytes / c->costs), mean / 5);
}

static double cost_of(const struct tally_cell *cell, const struct tally_cell *all, double bytes, double worth)
{
    if (all->costs < 0.5)
        return (double)NAN;
    double spread = fmax(all->bytes_squared / all->costs - all->bytes / all->costs * (all->bytes / all->costs), 0);
    double slope = slope_of(all, 0, 2, spread), prior = line_at(all, slope, bytes);
    if (!cell || cell->costs < 0.5)
        return prior;
    double own = line_at(cell, slope_of(cell, slope, SLOPE_WORTH, spread), bytes);
    return (cell->costs * own + worth * prior) / (cell->costs + worth);
}

struct log_normal { double mean, variance; };   /* of the logarithm; mean NAN: nothing known */

static struct log_normal log_of(double n, double sum, double squares, struct log_normal prior, double worth)
{
    if (n < 0.5)
        return prior;
    if (isnan(prior.mean))
        prior.mean = sum / n, prior.variance = 0.5;
    double mean = (sum + worth * prior.mean) / (n + worth), variance = fmax(squares / n - sum / n * (sum / n), 0);
    return (struct log_normal){ mean, (n * variance + worth * prior.variance) / (n + worth) };
}

static void log_add(struct log_normal f, double share, float *mean, float *ninety)
{
    if (isnan(f.mean))
        return;
    double m = exp(fmin(f.mean + f.variance / 2, 60)), high = exp(fmin(f.mean + 1.2816 * sqrt(f.variance), 60));
    *mean = (isnan(*mean) ? 0 : *mean) + (float)(share * m);
    *ninety = (isnan(*ninety) ? 0 : *ninety) + (float)(share * high);
}

/* Means of models over all kinds, and everybody's. */
static double models_mean(const struct tally *c, const struct learner_spec *spec, double *model)
{
    size_t width = c->n_kinds + 1;
    double sum = 0, n = 0;              /* the mean over models of their means: a model with much traffic counts no more */
    for (uint32_t m = 0; m < c->n_models; m++) {
        const struct tally_cell *all = c->cell + m * width + c->n_kinds;
        double trust = all->n > LITTLE ? fmin(all->n, 20) : 0;
        sum += trust > 0 ? trust * all->quality / all->n : 0;
        n += trust;
    }
    double everybody = n > 0 ? sum / n : 0.5;
    for (uint32_t m = 0; m < c->n_models; m++) {
        const struct tally_cell *all = c->cell + m * width + c->n_kinds;
        model[m] = mean_of(all->quality, all->n, everybody, spec->shrink_model);
    }
    return everybody;
}

/* What kind t adds for every model. */
static double kind_effect(const struct tally *c, const struct learner_spec *spec, const double *model, uint32_t t)
{
    double over = 0, of = 0;
    for (uint32_t m = 0; m < c->n_models && t < c->n_kinds; m++) {
        const struct tally_cell *cell = c->cell + m * (c->n_kinds + 1) + t;
        over += cell->quality - cell->n * model[m];
        of += cell->n;
    }
    return of > 0 ? over / (of + spec->shrink_kind) : 0;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* worth = variance of outcomes within a cell / variance of true cell means around their prior (moments, as DerSimonian and
 * Laird): a model that is the same everywhere is shrunken hard, a specialist hardly. With few kinds a model's own figure is
 * mostly chance, so the median of all models counts as OTHERS more kinds; not the mean, since a few models that fail on a format
 * would loosen all others. */
void tally_weigh(struct tally *c, const struct learner_spec *spec)
{
    size_t width = c->n_kinds + 1;
    double *model = malloc((c->n_models + width) * sizeof *model), *effect = model + c->n_models;
    double *between = malloc(4 * (c->n_models + 1) * sizeof *between), *within = between + c->n_models, *kinds = within +
        c->n_models;
    double *sorted = kinds + c->n_models;
    if (model && between && c->n_kinds) {
        uint32_t n_sorted = 0;
        models_mean(c, spec, model);
        for (uint32_t t = 0; t < c->n_kinds; t++)
            effect[t] = kind_effect(c, spec, model, t);
        for (uint32_t m = 0; m < c->n_models; m++) {
            const struct tally_cell *row = c->cell + m * width;
            double n = 0, squares = 0, spread = 0, inside = 0;
            kinds[m] = 0;
            for (uint32_t t = 0; t < c->n_kinds; t++) {
                if (!(row[t].n > 0.5))
                    continue;
                double mean = row[t].quality / row[t].n, d = mean - model[m] - effect[t];
                inside += fmax(row[t].quality_squared - row[t].quality * mean, 0);
                spread += row[t].n * d * d;
                n += row[t].n;
                squares += row[t].n * row[t].n;
                kinds[m]++;
            }
            within[m] = n > kinds[m] ? fmax(inside / (n - kinds[m]), 1e-3) : 0.2;
            between[m] = kinds[m] > 1 && n > 0 ? fmax(spread - (kinds[m] - 1) * within[m], 0) / (n - squares / n) : -1;
            if (between[m] >= 0)
                sorted[n_sorted++] = between[m];
        }
        qsort(sorted, n_sorted, sizeof *sorted, by_size);
        double median = n_sorted ? (sorted[n_sorted / 2] + sorted[(n_sorted - 1) / 2]) / 2 : 0;
        for (uint32_t m = 0; m < c->n_models; m++) {
            double own = kinds[m] > 1 ? kinds[m] - 1 : 0;
            double v = (own * fmax(between[m], 0) + OTHERS * median) / (own + OTHERS);
            c->worth[m] = n_sorted == 0 ? spec->shrink_kind : fmin(fmax(within[m] / fmax(v, 1e-9), spec->shrink_kind), WORTH_MAX);
            c->counted[m] = fmax(c->cell[m * width + c->n_kinds].n, 1);
        }
    }
    free(model);
    free(between);
}

void tally_predict(const struct tally *c, const struct learner_spec *spec, uint32_t bytes, const float *p,
                   struct prediction *out, struct arena *a)
{
    size_t width = c->n_kinds + 1;
    double *model = ARENA_ARRAY(a, double, c->n_models);
    models_mean(c, spec, model);
    for (uint32_t m = 0; m < c->n_models; m++)
        out[m] = (struct prediction){ .count = 0, .cost_usd = NAN, .out_tokens = NAN, .out_tokens_90 = NAN, .latency_s = NAN,
                                      .latency_90_s = NAN };
    /* The kinds that have a say, and what each adds for every model. */
    uint32_t *kind = ARENA_ARRAY(a, uint32_t, c->n_kinds + 1), n_kinds = 0;
    double *share = ARENA_ARRAY(a, double, c->n_kinds + 1), *effect = ARENA_ARRAY(a, double, c->n_kinds + 1), whole = 0;
    for (uint32_t t = 0; t < c->n_kinds; t++)
        if (p[t] >= KIND_FLOOR)
            kind[n_kinds] = t, share[n_kinds++] = (double)p[t], whole += (double)p[t];
    if (n_kinds == 0)
        kind[n_kinds] = c->n_kinds, share[n_kinds++] = whole = 1;
    for (uint32_t k = 0; k < n_kinds; k++) {
        effect[k] = kind_effect(c, spec, model, kind[k]);
        share[k] /= whole;
    }
    for (uint32_t m = 0; m < c->n_models; m++) {
        const struct tally_cell *row = c->cell + m * width, *all = row + c->n_kinds;
        struct prediction *o = &out[m];
        double quality = 0, variance = 0, cost = 0, count = 0;
        struct log_normal nothing = { (double)NAN, 0.5 };
        struct log_normal tokens = log_of(all->tokens, all->log_tokens, all->log_tokens_squared, nothing, 1);
        struct log_normal seconds = log_of(all->times, all->log_time, all->log_time_squared, nothing, 1);
        for (uint32_t k = 0; k < n_kinds; k++) {
            const struct tally_cell *cell = row + kind[k];
            double had = cell->n > 0 ? cell->n : 0;
            double prior = fmin(fmax(model[m] + effect[k], 0), 1);
            double worth = c->worth[m] > 0 ? c->worth[m] : spec->shrink_kind, q = mean_of(cell->quality, cell->n, prior, worth),
                s = share[k];
            /* What the cell rests on besides its own outcomes: as much of the model's others as the prior is worth. */
            double others = fmin(worth, all->n > had ? all->n - had : 0);
            quality += s * q;
            variance += s * s * fmax(q * (1 - q), 0.01) / (had + others + 1);
            count += s * had;
            cost += s * cost_of(kind[k] < c->n_kinds ? cell : NULL, all, (double)bytes, spec->shrink_kind);
            log_add(log_of(cell->tokens, cell->log_tokens, cell->log_tokens_squared, tokens, spec->shrink_kind), s,
                    &o->out_tokens, &o->out_tokens_90);
            log_add(log_of(cell->times, cell->log_time, cell->log_time_squared, seconds, spec->shrink_kind), s, &o->latency_s,
                    &o->latency_90_s);
        }
        o->quality = (float)quality;
        o->deviation = (float)sqrt(variance);
        o->count = (float)count;
        o->cost_usd = (float)cost;
    }
}

double tally_mean(const struct tally *c, const struct learner_spec *spec, uint32_t model, double prior)
{
    const struct tally_cell *all = c->cell + (size_t)model * (c->n_kinds + 1) + c->n_kinds;
    return mean_of(all->quality, all->n, prior, spec->shrink_model);
}

void tally_forget(struct tally *c, uint32_t model, double keep)
{
    size_t width = c->n_kinds + 1;
    for (uint32_t m = model == UINT32_MAX ? 0 : model; m < (model == UINT32_MAX ? c->n_models : model + 1); m++) {
        double *v = (double *)(c->cell + m * width);
        for (size_t i = 0; i < width * sizeof *c->cell / sizeof *v; i++)
            v[i] *= keep;
    }
}

void tally_merge(struct tally *c, const struct tally *other, const uint32_t *model_of, double share)
{
    size_t width = c->n_kinds + 1;
    for (uint32_t m = 0; m < other->n_models; m++) {
        double *to = (double *)(c->cell + model_of[m] * width);
        const double *from = (const double *)(other->cell + m * width);
        for (size_t i = 0; i < width * sizeof *c->cell / sizeof *to; i++)
            to[i] += share * from[i];
    }
}

void tally_save(const struct tally *c, struct buf *out)
{
    buf_add(out, c->cell, (size_t)c->n_models * (c->n_kinds + 1) * sizeof *c->cell);
    buf_add(out, c->worth, c->n_models * sizeof *c->worth);
    buf_add(out, c->counted, c->n_models * sizeof *c->counted);
}

/* worth is saved as well, so that a restart changes no decision. */
bool tally_load(struct tally *c, struct unpack *u, uint32_t n_models, uint32_t n_kinds)
{
    size_t n = (size_t)n_models * (n_kinds + 1);
    if (u->rest.len / sizeof *c->cell < n || !tally_size(c, n_models, n_kinds))
        return false;
    unpack_bytes(u, c->cell, n * sizeof *c->cell);
    unpack_bytes(u, c->worth, n_models * sizeof *c->worth);
    unpack_bytes(u, c->counted, n_models * sizeof *c->counted);
    for (uint32_t m = 0; m < n_models; m++)
        if ((c->worth[m] != 0 && !(c->worth[m] >= 1e-6 && c->worth[m] <= WORTH_MAX)) || !isfinite(c->counted[m]))
            return false;
    const double *v = (const double *)c->cell;
    for (size_t i = 0; i < n * sizeof *c->cell / sizeof *v; i++)
        if (!(fabs(v[i]) < 1e30))
            return false;
    for (size_t i = 0; i < n; i++)      /* means must be numbers that one can go on with */
        if (!(fabs(c->cell[i].quality) <= 1e6 * (fabs(c->cell[i].n) + LITTLE)))
            return false;
    return !u->is_bad;
}
