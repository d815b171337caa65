/* select/learn_blend.c -- `blend`: the experts' predictions, weighed by how well they predicted queries that they had not seen.
 *
 * `fit` cuts its rows into PARTS by question, fits every expert on the others and asks it about the part; these honest
 * predictions give the weights, and then the experts learn from all rows. A prediction has two halves that different experts are
 * good at and that matter differently: the level (how hard is the query for everybody) and the contrast (who does better than the
 * others); only the contrast can change a choice. So each half has weights of its own, found by non-negative least squares; what
 * they leave to 1 is the model's plain mean, so on data without a signal the blend falls back to the best single model. */
#include <math.h>
#include <stdlib.h>

#include "base/hash.h"
#include "select/frontier.h"
#include "select/learner.h"
#include "select/pack.h"

enum { PARTS = 3, ROUNDS = 200, HELD_MAX = 4000 };     /* rows beyond: every second is asked about, every third ... */
#define HEED_GAP 0.1                    /* quality */

enum { KNOTS = 20 };

/* `gates` joins where there are so few rows that the others mostly learn chance: it leaves the best single model only for words that
 * speak for another. `knn` is an expert of tables that were made when it was one; it brought nothing that was worth half a pick's time. */
static const char *const expert_names[] = { "mean", "table", "factor", "knn", "gates" };
enum { EXPERTS = COUNT_OF(expert_names), MEAN = 0, TABLE, FACTOR, KNN, GATES, ALWAYS = KNN /* those before it */,
       GATES_ROWS_MAX = 1500, GATES_MODELS_MAX = 64 };

struct knot { float said, was; };

struct blend {
    struct learner l;
    struct learner *experts[EXPERTS];           /* NULL: not asked */
    bool has_joined[EXPERTS];                   /* of those behind ALWAYS */
    double contrast[EXPERTS], level[EXPERTS];   /* [MEAN] is not used: it is the base */
    struct knot knots[KNOTS]; uint32_t n_knots; /* what predictions mean, by rising `said`; see calibrate */
};

static void blend_release(struct learner *l)
{
    struct blend *b = (struct blend *)l;
    for (uint32_t j = 0; j < EXPERTS; j++)
        learner_free(b->experts[j]);
}

static bool blend_grow(struct learner *l)
{
    struct blend *b = (struct blend *)l;
    for (uint32_t j = 0; j < EXPERTS; j++) {
        if (j >= ALWAYS && !b->has_joined[j])
            continue;
        if (!b->experts[j] && !(b->experts[j] = learner_new(expert_names[j], &l->spec)))
            return false;
        for (uint32_t m = 0; m < l->n_models; m++)
            if (learner_model(b->experts[j], l->models[m]) != m)
                return false;
    }
    return true;
}

/* ---- weights ---- */

struct held {                           /* what experts said of rows that they had not seen */
    uint32_t n, *row;                   /* rows as recorded */
    float *quality[EXPERTS];            /* [n][n_models] */
    float *cost;                        /* the table's */
};

struct normal { double a[EXPERTS][EXPERTS], b[EXPERTS]; };

static void normal_add(struct normal *n, const double *d, double target, double weight)
{
    for (uint32_t j = 1; j < EXPERTS; j++) {
        n->b[j] += weight * d[j] * target;
        for (uint32_t k = 1; k < EXPERTS; k++)
            n->a[j][k] += weight * d[j] * d[k];
    }
}

/* Non-negative least squares by cyclic descent: with four experts it is done in a few rounds. */
static void weights_solve(const struct normal *n, double w[EXPERTS])
{
    for (uint32_t j = 0; j < EXPERTS; j++)
        w[j] = 0;
    for (uint32_t round = 0; round < ROUNDS; round++)
        for (uint32_t j = 1; j < EXPERTS; j++) {
            double rest = n->b[j];
            for (uint32_t k = 1; k < EXPERTS; k++)
                rest -= k == j ? 0 : n->a[j][k] * w[k];
            w[j] = n->a[j][j] > 1e-12 ? fmax(rest / n->a[j][j], 0) : 0;
        }
}

/* Adds one held-out query by models that count `heed` (NULL: alike): the mean over models to one system, what is left to the
 * other. */
static void query_add(const struct held *h, size_t at, const float *q, const double *heed, uint32_t n, struct normal *level,
                      struct normal *contrast)
{
    double mean[EXPERTS] = { 0 }, truth = 0, of = 0;
    for (uint32_t m = 0; m < n; m++) {
        double w = isnan(q[m]) ? 0 : heed ? heed[m] : 1;
        if (w <= 0)
            continue;
        truth += w * (double)(q[m] - h->quality[MEAN][at + m]);
        for (uint32_t j = 1; j < EXPERTS; j++)
            mean[j] += w * (double)(h->quality[j][at + m] - h->quality[MEAN][at + m]);
        of += w;
    }
    if (of <= 0)
        return;
    for (uint32_t j = 1; j < EXPERTS; j++)
        mean[j] /= of;
    truth /= of;
    if (level)
        normal_add(level, mean, truth, 1);
    for (uint32_t m = 0; m < n && contrast; m++) {
        double d[EXPERTS] = { 0 }, w = isnan(q[m]) ? 0 : heed ? heed[m] : 1;
        if (w <= 0)
            continue;
        for (uint32_t j = 1; j < EXPERTS; j++)
            d[j] = (double)(h->quality[j][at + m] - h->quality[MEAN][at + m]) - mean[j];
        normal_add(contrast, d, (double)(q[m] - h->quality[MEAN][at + m]) - truth, w / of);
    }
}

/* ---- held-out predictions ---- */

static uint32_t part_of(const struct recorded *r, uint32_t row)
{
    return (uint32_t)(hash_mix((r->query ? r->query[row] : row) ^ 0x5bd1e995) % PARTS);
}

static int part_predict(struct blend *b, const struct recorded *r, uint32_t part, uint32_t *rows, struct held *h, struct err *e)
{
    struct recorded rest = *r;
    uint32_t n = recorded_n(r), k = r->n_models, every = n / HELD_MAX + 1;
    rest.rows = rows;
    rest.n_rows = 0;
    for (uint32_t i = 0; i < n; i++)
        if (part_of(r, recorded_row(r, i)) != part)
            rows[rest.n_rows++] = recorded_row(r, i);
    struct learner *l[EXPERTS] = { NULL };
    int rc = rest.n_rows ? 0 : err_set(e, "too few rows to weigh experts by");
    for (uint32_t j = 0; j < EXPERTS && rc == 0; j++) {
        if (!b->experts[j])
            continue;
        l[j] = learner_new(expert_names[j], &b->l.spec);
        rc = l[j] ? learner_fit(l[j], &rest, e) : err_set(e, "no memory");
    }
    struct prediction *p = malloc(k * sizeof *p);
    struct arena *a = NULL;
    for (uint32_t i = 0, since = 0; i < n && rc == 0 && p; i++) {
        struct features x = r->x[recorded_row(r, i)];
        if (part_of(r, recorded_row(r, i)) != part || i % every != 0)
            continue;
        if (since++ % 64 == 0) {
            arena_free(a);
            a = arena_new();
        }
        x.kind = x.n ? S("") : x.kind;  /* a text will come without its label */
        for (uint32_t j = 0; j < EXPERTS; j++) {
            learner_predict(l[j] ? l[j] : l[MEAN], &x, p, a);   /* who is not asked says what the mean says, and gets no weight */
            for (uint32_t m = 0; m < k; m++) {
                h->quality[j][(size_t)h->n * k + m] = p[m].quality;
                if (j == TABLE)
                    h->cost[(size_t)h->n * k + m] = p[m].cost_usd;
            }
        }
        h->row[h->n++] = recorded_row(r, i);
    }
    arena_free(a);
    free(p);
    for (uint32_t j = 0; j < EXPERTS; j++)
        learner_free(l[j]);
    return rc;
}

/* ---- how much to believe ---- */

enum { PRICES = 12 };

/* of models; cost NULL: not known */
struct pool { double *quality, *cost, *heed; double price[PRICES]; uint32_t n_prices; };

/* Means, the prices at which the hull of single models changes its mind, and how much each model is heeded: the further below
 * that hull, the less, since nobody would choose it. */
static bool pool_set(struct pool *p, const struct recorded *r, struct arena *a)
{
    uint32_t n = recorded_n(r), k = r->n_models;
    p->quality = ARENA_ARRAY(a, double, k);
    p->heed = ARENA_ARRAY(a, double, k);
    p->cost = r->cost_usd ? ARENA_ARRAY(a, double, k) : NULL;
    struct point *hull = ARENA_ARRAY(a, struct point, k);
    for (uint32_t m = 0; m < k; m++) {
        double sum = 0, of = 0, cost = 0, costs = 0;
        for (uint32_t i = 0; i < n; i++) {
            size_t at = (size_t)recorded_row(r, i) * k + m;
            if (!isnan(r->quality[at]))
                sum += (double)r->quality[at], of++;
            if (p->cost && !isnan(r->cost_usd[at]))
                cost += (double)r->cost_usd[at], costs++;
        }
        p->quality[m] = of > 0 ? sum / of : 0;
        if (p->cost)
            p->cost[m] = costs > 0 ? cost / costs : 0;
        hull[m] = (struct point){ p->cost ? p->cost[m] : 0, p->quality[m] };
    }
    size_t n_hull = frontier_hull(hull, k);
    p->price[p->n_prices++] = 0;
    for (size_t i = n_hull; i-- > 1 && p->n_prices < PRICES;)
        p->price[p->n_prices++] = (hull[i].quality - hull[i - 1].quality) / (hull[i].cost - hull[i - 1].cost);
    for (uint32_t m = 0; m < k; m++) {
        double gap = INFINITY;          /* what the model is short of to be somebody's choice */
        for (uint32_t s = 0; s < p->n_prices; s++) {
            double best = -INFINITY, w = p->price[s];
            for (size_t i = 0; i < n_hull; i++)
                best = fmax(best, hull[i].quality - w * hull[i].cost);
            gap = fmin(gap, best - (p->quality[m] - w * (p->cost ? p->cost[m] : 0)));
        }
        p->heed[m] = fmax(exp(-gap / HEED_GAP), 0.02);
    }
    return !arena_exhausted(a);
}

/* What the choices on a held-out query are worth, over the prices of the hull, by the contrast[EXPERTS] given. */
static double worth_of(const struct recorded *r, const struct held *h, const struct pool *p, uint32_t i, const double *contrast)
{
    uint32_t k = r->n_models;
    size_t at = (size_t)i * k, real = (size_t)h->row[i] * k;
    double best[PRICES], worth = 0;
    uint32_t choice[PRICES];
    for (uint32_t s = 0; s < p->n_prices; s++)
        best[s] = -INFINITY, choice[s] = UINT32_MAX;
    for (uint32_t m = 0; m < k; m++) {
        if (isnan(r->quality[real + m]))
            continue;
        double value = (double)h->quality[MEAN][at + m];
        for (uint32_t j = 1; j < EXPERTS; j++)
            value += contrast[j] * (double)(h->quality[j][at + m] - h->quality[MEAN][at + m]);
        for (uint32_t s = 0; s < p->n_prices; s++) {
            double priced = value - (s > 0 ? p->price[s] * (double)h->cost[at + m] : 0);
            if (priced > best[s])
                best[s] = priced, choice[s] = m;
        }
    }
    for (uint32_t s = 0; s < p->n_prices; s++) {
        uint32_t m = choice[s];
        double cost = m != UINT32_MAX && s > 0 ? (double)r->cost_usd[real + m] : 0;
        if (m != UINT32_MAX)
            worth += ((double)r->quality[real + m] - p->price[s] * (isnan(cost) ? p->cost[m] : cost)) / p->n_prices;
    }
    return worth;
}

/* Least squares knows what is likely, the table makes up for what it shrinks too much: each has half of the contrast. (Choosing by
 * held-out worth among either alone, their mean and half of it is worse: that is mostly chance.) Where the plain mean's choices, or
 * those of the gates, were worth more on held-out queries, there is no contrast but theirs. */
static void contrast_settle(struct blend *b, const struct recorded *r, const struct held *h, const struct pool *p)
{
    enum { PLAIN, BOTH, OPEN, WAYS };
    double way[WAYS][EXPERTS] = { [OPEN] = { [GATES] = 1 } }, worth[WAYS] = { 0 };
    uint32_t n = b->has_joined[GATES] ? WAYS : OPEN, best = BOTH;
    for (uint32_t j = 1; j < EXPERTS; j++)
        way[BOTH][j] = (b->contrast[j] + (j == TABLE)) / 2;
    for (uint32_t i = 0; i < h->n; i++)
        for (uint32_t w = 0; w < n; w++)
            worth[w] += worth_of(r, h, p, i, way[w]);
    for (uint32_t w = 0; w < n; w++)
        best = worth[w] > worth[best] ? w : best;
    memcpy(b->contrast, way[best], sizeof b->contrast);
}

/* ---- what a prediction means ---- */

static double blended(const struct blend *b, double base, const double *level, const double *contrast)
{
    double q = base;
    for (uint32_t j = 1; j < EXPERTS; j++)
        q += b->level[j] * level[j] + b->contrast[j] * contrast[j];
    return fmin(fmax(q, 0), 1);
}

static int by_said(const void *a, const void *b)
{
    float x = ((const struct knot *)a)->said, y = ((const struct knot *)b)->said;
    return x < y ? -1 : x > y;
}

/* Isotonic regression of held-out outcomes on predictions, over KNOTS groups of equal size (pool adjacent violators), read as a
 * broken line. It bends the differences between models where it is flat, so choices are made before it (`score`) and told after
 * it (`quality`). */
static bool calibrate(struct blend *b, const struct recorded *r, const struct held *h)
{
    uint32_t k = r->n_models;
    size_t n = 0;
    struct knot *all = malloc(((size_t)h->n * k + 1) * sizeof *all);
    if (!all)
        return false;
    for (uint32_t i = 0; i < h->n; i++) {
        const float *q = r->quality + (size_t)h->row[i] * k;
        size_t at = (size_t)i * k;
        double mean[EXPERTS] = { 0 };
        for (uint32_t m = 0; m < k; m++)
            for (uint32_t j = 1; j < EXPERTS; j++)
                mean[j] += (double)(h->quality[j][at + m] - h->quality[MEAN][at + m]) / k;
        for (uint32_t m = 0; m < k; m++) {
            double rest[EXPERTS] = { 0 };
            if (isnan(q[m]))
                continue;
            for (uint32_t j = 1; j < EXPERTS; j++)
                rest[j] = (double)(h->quality[j][at + m] - h->quality[MEAN][at + m]) - mean[j];
            all[n++] = (struct knot){ (float)blended(b, (double)h->quality[MEAN][at + m], mean, rest), q[m] };
        }
    }
    qsort(all, n, sizeof *all, by_said);
    double said[KNOTS], was[KNOTS], weight[KNOTS];
    uint32_t kept = 0;
    for (uint32_t g = 0; g < KNOTS; g++) {
        double x = 0, y = 0, w = 0;
        for (size_t i = n * g / KNOTS; i < n * (g + 1) / KNOTS; i++)
            x += (double)all[i].said, y += (double)all[i].was, w++;
        if (w <= 0)
            continue;
        said[kept] = x / w, was[kept] = y / w, weight[kept++] = w;
        while (kept > 1 && (was[kept - 2] >= was[kept - 1] || said[kept - 2] >= said[kept - 1])) {
            double both = weight[kept - 2] + weight[kept - 1];
            said[kept - 2] = (said[kept - 2] * weight[kept - 2] + said[kept - 1] * weight[kept - 1]) / both;
            was[kept - 2] = (was[kept - 2] * weight[kept - 2] + was[kept - 1] * weight[kept - 1]) / both;
            weight[kept - 2] = both;
            kept--;
        }
    }
    for (uint32_t g = 0; g < kept; g++)
        b->knots[g] = (struct knot){ (float)said[g], (float)was[g] };
    b->n_knots = kept;
    free(all);
    return true;
}

static double meaning(const struct blend *b, double q)
{
    if (b->n_knots == 0)
        return q;
    const struct knot *first = &b->knots[0], *last = &b->knots[b->n_knots - 1];
    if (q <= (double)first->said || b->n_knots == 1)    /* beyond the ends: in proportion to what is left */
        return first->said > 0 ? fmin(q * (double)(first->was / first->said), (double)first->was) : (double)first->was;
    if (q >= (double)last->said)
        return last->said < 1 ? 1 - (1 - q) * (double)((1 - last->was) / (1 - last->said)) : (double)last->was;
    uint32_t g = 1;
    while (g + 1 < b->n_knots && q > (double)b->knots[g].said)
        g++;
    const struct knot *from = &b->knots[g - 1], *to = &b->knots[g];
    return (double)from->was + (q - (double)from->said) * (double)((to->was - from->was) / (to->said - from->said));
}

static int blend_fit(struct learner *l, const struct recorded *r, struct err *e)
{
    struct blend *b = (struct blend *)l;
    struct held h = { .n = 0 };
    uint32_t n = recorded_n(r), *rows = malloc((n ? n : 1) * sizeof *rows);
    for (uint32_t j = ALWAYS; j < EXPERTS; j++) {
        learner_free(b->experts[j]);
        b->experts[j] = NULL;
        b->has_joined[j] = j == GATES && n <= GATES_ROWS_MAX && r->n_models <= GATES_MODELS_MAX;
    }
    size_t cells = ((size_t)n / (n / HELD_MAX + 1) + 1) * r->n_models;
    bool is_fine = rows && blend_grow(l) && (h.row = malloc((n + 1) * sizeof *h.row)) != NULL;
    for (uint32_t j = 0; j < EXPERTS; j++)
        is_fine &= (h.quality[j] = malloc((cells + 1) * sizeof(float))) != NULL;
    is_fine &= (h.cost = malloc((cells + 1) * sizeof(float))) != NULL;
    int rc = is_fine ? 0 : err_set(e, "no memory for held-out predictions");
    for (uint32_t part = 0; part < PARTS && rc == 0; part++)
        rc = part_predict(b, r, part, rows, &h, e);
    struct arena *a = arena_new();
    struct pool pool = { .n_prices = 0 };
    if (rc == 0 && (!a || !pool_set(&pool, r, a)))
        rc = err_set(e, "no memory for held-out predictions");
    if (rc == 0) {
        struct normal contrast = { 0 }, level = { 0 };
        for (uint32_t i = 0; i < h.n; i++) {
            const float *q = r->quality + (size_t)h.row[i] * r->n_models;
            query_add(&h, (size_t)i * r->n_models, q, NULL, r->n_models, &level, NULL);
            query_add(&h, (size_t)i * r->n_models, q, pool.heed, r->n_models, NULL, &contrast);
        }
        weights_solve(&contrast, b->contrast);
        weights_solve(&level, b->level);
        contrast_settle(b, r, &h, &pool);
        if (!calibrate(b, r, &h))
            rc = err_set(e, "no memory for held-out predictions");
    }
    arena_free(a);
    for (uint32_t j = 0; j < EXPERTS; j++)
        free(h.quality[j]);
    free(h.cost);
    free(h.row);
    free(rows);
    for (uint32_t j = ALWAYS; j < EXPERTS; j++)
        if (!(b->contrast[j] > 0 || b->level[j] > 0)) {
            learner_free(b->experts[j]);
            b->experts[j] = NULL;
            b->has_joined[j] = false;
        }
    for (uint32_t j = 0; j < EXPERTS && rc == 0; j++)
        rc = b->experts[j] ? learner_fit(b->experts[j], r, e) : 0;
    if (rc < 0)
        return rc;
    l->vector_dim = b->experts[FACTOR]->vector_dim;
    return learner_kinds_set(l, b->experts[TABLE]->kinds, b->experts[TABLE]->n_kinds) ? 0 : err_set(e, "no memory");
}

static void blend_observe(struct learner *l, const struct outcome *o, double weight)
{
    struct blend *b = (struct blend *)l;
    for (uint32_t j = 0; j < EXPERTS; j++)
        if (b->experts[j])
            learner_observe(b->experts[j], o, weight);
}

static void blend_predict(const struct learner *l, const struct features *x, struct prediction *out, struct arena *a)
{
    const struct blend *b = (const struct blend *)l;
    uint32_t n = l->n_models;
    struct prediction *p[EXPERTS] = { NULL };
    double mean[EXPERTS] = { 0 };
    for (uint32_t j = 0; j < EXPERTS; j++) {
        if (!b->experts[j] || (j > TABLE && b->contrast[j] <= 0 && b->level[j] <= 0))
            continue;
        p[j] = ARENA_ARRAY(a, struct prediction, n);
        learner_predict(b->experts[j], x, p[j], a);
        for (uint32_t m = 0; m < n; m++)
            mean[j] += (double)(p[j][m].quality - p[MEAN][m].quality) / n;
    }
    for (uint32_t m = 0; m < n; m++) {
        double rest[EXPERTS] = { 0 };
        for (uint32_t j = 1; j < EXPERTS; j++)
            rest[j] = p[j] ? (double)(p[j][m].quality - p[MEAN][m].quality) - mean[j] : 0;
        out[m] = p[TABLE][m];           /* cost, tokens and seconds are the table's */
        out[m].score = (float)blended(b, (double)p[MEAN][m].quality, mean, rest);
        out[m].quality = (float)meaning(b, (double)out[m].score);
    }
}

static void blend_forget(struct learner *l, uint32_t model, double keep)
{
    struct blend *b = (struct blend *)l;
    for (uint32_t j = 0; j < EXPERTS; j++)
        if (b->experts[j])
            b->experts[j]->ops->forget(b->experts[j], model, keep);
}

static bool blend_merge(struct learner *l, const struct learner *other, double share)
{
    struct blend *b = (struct blend *)l;
    const struct blend *o = (const struct blend *)other;
    if (other->ops != l->ops || other->fit_id != l->fit_id)
        return false;
    for (uint32_t m = 0; m < other->n_models; m++)
        if (learner_model(l, other->models[m]) == UINT32_MAX)
            return false;
    for (uint32_t j = 0; j < EXPERTS; j++)
        if (b->experts[j] && o->experts[j] && !b->experts[j]->ops->merge(b->experts[j], o->experts[j], share))
            return false;
    return true;
}

static void blend_save(const struct learner *l, struct buf *out)
{
    const struct blend *b = (const struct blend *)l;
    pack_u32(out, EXPERTS);
    buf_add(out, b->contrast, sizeof b->contrast);
    buf_add(out, b->level, sizeof b->level);
    pack_u32(out, b->n_knots);
    buf_add(out, b->knots, sizeof b->knots);
    for (uint32_t j = 0; j < EXPERTS; j++) {
        struct buf part = { 0 };
        if (b->experts[j])
            learner_save(b->experts[j], &part);
        out->is_failed |= part.is_failed;
        pack_u64(out, part.len);
        buf_str(out, buf_view(&part));
        buf_free(&part);
    }
}

static int blend_load(struct learner *l, str bytes, struct err *e)
{
    struct blend *b = (struct blend *)l;
    struct unpack u = { bytes, false };
    /* Tables of before there was a fourth expert have no count; they begin with the mean's weight, which is 0. */
    uint32_t n_experts = bytes.len >= 4 && memcmp(bytes.ptr, "\0\0\0", 4) ? unpack_u32(&u) : ALWAYS;
    if (n_experts < ALWAYS || n_experts > EXPERTS)
        return err_set(e, "it has %u experts", n_experts);
    unpack_bytes(&u, b->contrast, n_experts * sizeof *b->contrast);
    unpack_bytes(&u, b->level, n_experts * sizeof *b->level);
    b->n_knots = unpack_count(&u, KNOTS, 8);
    unpack_bytes(&u, b->knots, sizeof b->knots);
    for (uint32_t g = 0; g < b->n_knots; g++) {
        bool is_sane = b->knots[g].said >= 0 && b->knots[g].said <= 1 && b->knots[g].was >= 0 && b->knots[g].was <= 1;
        if (!is_sane || (g && (b->knots[g].said <= b->knots[g - 1].said || b->knots[g].was < b->knots[g - 1].was)))
            return err_set(e, "its calibration makes no sense");
    }
    for (uint32_t j = 0; j < n_experts; j++) {
        uint64_t n = unpack_u64(&u);
        if (u.is_bad || n > u.rest.len || !(fabs(b->contrast[j]) < 100) || !(fabs(b->level[j]) < 100))
            return err_set(e, "its parts make no sense");
        str part = str_upto(u.rest, n);
        u.rest = str_from(u.rest, n);
        if (n == 0)
            continue;
        learner_free(b->experts[j]);
        b->experts[j] = learner_load(part, e);
        if (!b->experts[j])
            return -1;
        bool is_same = str_eq(str_of(b->experts[j]->ops->name), str_of(expert_names[j])) && b->experts[j]->n_models ==
            l->n_models;
        for (uint32_t m = 0; is_same && m < l->n_models; m++)
            is_same = str_eq(b->experts[j]->models[m], l->models[m]);
        if (!is_same)
            return err_set(e, "its parts do not fit each other");
        b->has_joined[j] = true;
    }
    l->vector_dim = b->experts[FACTOR] ? b->experts[FACTOR]->vector_dim : 0;
    return 0;
}

static bool blend_kinds(const struct learner *l, const struct features *x, float *p, struct arena *a)
{
    const struct blend *b = (const struct blend *)l;
    return b->experts[TABLE] && learner_kinds(b->experts[TABLE], x, p, a);
}

static bool blend_cell(const struct learner *l, uint32_t kind, uint32_t model, struct prediction *out)
{
    const struct blend *b = (const struct blend *)l;
    return b->experts[TABLE] && learner_cell(b->experts[TABLE], kind, model, out);
}

const struct learner_ops learner_blend = {
    .name = "blend", .summary = "table, factor and, with few rows, gates, weighed by how they predict held-out queries", .bytes = sizeof(struct blend),
        .has_score = true,
    .release = blend_release, .grow = blend_grow, .fit = blend_fit, .observe = blend_observe, .predict = blend_predict, .forget =
        blend_forget,
    .merge = blend_merge, .save = blend_save, .load = blend_load, .kinds = blend_kinds, .cell = blend_cell,
};
