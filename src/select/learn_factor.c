/* select/learn_factor.c -- `factor`: a text becomes a few numbers, every model answers to each of them in its own way.
 *
 * quality(x, m) = mean_m + v_m . W phi(x), the form of EmbedLLM and of matrix factorisation with side information. phi are tf-idf
 * words, cues and, if the rows have one, an encoder's vector; a text that comes without one stands at the vectors' mean. `fit` finds in which directions the models' outcomes vary together (the first principal components of outcomes
 * minus means), and a ridge regression W from texts to positions along them (conjugate gradients, stopped early). After that W
 * stays, and a model's v_m is a ridge regression of its outcomes on W phi(x): sums of RANK + 1 by RANK numbers, so outcomes can
 * be taken back and a new model needs few of them. */
#include <math.h>

#include "base/hash.h"
#include "base/huge.h"
#include "base/rand.h"
#include "select/learner.h"
#include "select/pack.h"

enum { HALVES = 2, RANK = 8, TURNS = 12, STEPS = 8, COMMON = 8 };
#define RIDGE 8.0f                      /* of W, in rows: tf-idf rows have length 1 */
#define CUES_SHARE 0.3f
#define VECTOR_SHARE 1.0f
#define VECTOR_RIDGE 0.02               /* of v, in squared units of W phi */

struct fit_sums { double n, quality, z[RANK], zz[RANK * (RANK + 1) / 2], zy[RANK]; };   /* of one model */

struct factor {
    struct learner l;
    float *idf;                         /* [FEATURE_BUCKETS] 0: too common, or seen less than twice */
    uint32_t *column;                   /* [FEATURE_BUCKETS] where idf is not 0 */
    uint32_t n_columns;                 /* the cues are the last */
    float (*map)[RANK];                 /* [n_columns + vector_dim] */
    float *vector_mean;                 /* [vector_dim] */
    float intercept[RANK];
    float cue_mean[FEATURE_CUES], cue_scale[FEATURE_CUES];
    struct fit_sums *sums;              /* [cap] */
    double (*vector)[RANK];             /* [cap] v, solved from the sums whenever they change */
    uint32_t cap;
};

static void factor_release(struct learner *l)
{
    struct factor *f = (struct factor *)l;
    free(f->idf);
    free(f->column);
    free(f->map);
    free(f->vector_mean);
    free(f->sums);
    free(f->vector);
}

static bool factor_grow(struct learner *l)
{
    struct factor *f = (struct factor *)l;
    if (l->n_models <= f->cap)
        return true;
    uint32_t cap = l->n_models + l->n_models / 2 + 8;
    struct fit_sums *grown = realloc(f->sums, cap * sizeof *grown);
    if (!grown)
        return false;
    memset(grown + f->cap, 0, (cap - f->cap) * sizeof *grown);
    f->sums = grown;
    double (*vector)[RANK] = realloc(f->vector, cap * sizeof *vector);
    if (!vector)
        return false;
    memset(vector + f->cap, 0, (cap - f->cap) * sizeof *vector);
    f->vector = vector;
    f->cap = cap;
    return true;
}

static size_t phi_room(const struct factor *f, const struct features *x)
{
    return (size_t)x->n_words + FEATURE_CUES + f->l.vector_dim;
}

/* phi(x): column and value; out[phi_room]. */
static uint32_t phi(const struct factor *f, const struct features *x, struct gram *out)
{
    uint32_t n = 0;
    float length = 0;
    for (uint32_t g = 0; g < x->n_words; g++) {
        float v = x->grams[g].value * f->idf[x->grams[g].bucket];
        if (v != 0)
            out[n++] = (struct gram){ f->column[x->grams[g].bucket], v };
        length += v * v;
    }
    length = length > 0 ? 1 / sqrtf(length) : 0;
    for (uint32_t g = 0; g < n; g++)
        out[g].value *= length;
    for (uint32_t c = 0; c < FEATURE_CUES; c++)
        out[n++] = (struct gram){ f->n_columns - FEATURE_CUES + c, CUES_SHARE * fminf(fmaxf((x->cues[c] -
                f->cue_mean[c]) * f->cue_scale[c], -3), 3) };
    for (uint32_t d = 0; d < f->l.vector_dim && x->vector && x->dim == f->l.vector_dim; d++)
        out[n++] = (struct gram){ f->n_columns + d, VECTOR_SHARE * (x->vector[d] - f->vector_mean[d]) };
    return n;
}

static void project(const struct factor *f, const struct gram *p, uint32_t n, float z[RANK])
{
    for (uint32_t k = 0; k < RANK; k++)
        z[k] = f->intercept[k];
    for (uint32_t g = 0; g < n; g++)
        for (uint32_t k = 0; k < RANK; k++)
            z[k] += p[g].value * f->map[p[g].bucket][k];
}

/* Directions in which outcomes vary together: [n_models][RANK], orthonormal, by subspace iteration. residual: [n][n_models]. */
static void components(const float *residual, uint32_t n, uint32_t n_models, uint32_t rank, uint64_t seed, float (*v)[RANK],
                       double (*next)[RANK])
{
    for (uint32_t m = 0; m < n_models; m++)
        for (uint32_t k = 0; k < RANK; k++)
            v[m][k] = k < rank ? (float)rand_unit(&seed) - 0.5f : 0;
    for (uint32_t turn = 0; turn < TURNS; turn++) {
        memset(next, 0, n_models * sizeof *next);
        for (uint32_t i = 0; i < n; i++) {
            const float *r = residual + (size_t)i * n_models;
            float u[RANK] = { 0 };
            for (uint32_t m = 0; m < n_models; m++)
                for (uint32_t k = 0; k < RANK; k++)
                    u[k] += r[m] * v[m][k];
            for (uint32_t m = 0; m < n_models; m++)
                for (uint32_t k = 0; k < RANK; k++)
                    next[m][k] += (double)(r[m] * u[k]);
        }
        for (uint32_t k = 0; k < rank; k++) {           /* Gram-Schmidt */
            for (uint32_t j = 0; j < k; j++) {
                double dot = 0;
                for (uint32_t m = 0; m < n_models; m++)
                    dot += next[m][k] * next[m][j];
                for (uint32_t m = 0; m < n_models; m++)
                    next[m][k] -= dot * next[m][j];
            }
            double length = 0;
            for (uint32_t m = 0; m < n_models; m++)
                length += next[m][k] * next[m][k];
            length = length > 1e-12 ? 1 / sqrt(length) : 0;
            for (uint32_t m = 0; m < n_models; m++)
                v[m][k] = (float)(next[m][k] *= length);
        }
    }
}

struct design {                         /* rows of phi, without one part of the questions */
    const struct gram *grams; const uint32_t *start; uint32_t n;
    const struct recorded *r;
    uint32_t without;                   /* HALVES: none */
};

static bool is_in(const struct design *d, uint32_t i)
{
    uint32_t row = recorded_row(d->r, i);
    return d->without == HALVES || hash_mix(d->r->query ? d->r->query[row] : row) % HALVES != d->without;
}

/* out = X' X in + ridge * in, a column of RANK numbers at a time. */
static void normal_times(const struct design *d, const float (*in)[RANK], float (*out)[RANK], uint32_t columns)
{
    for (uint32_t c = 0; c < columns; c++)
        for (uint32_t k = 0; k < RANK; k++)
            out[c][k] = RIDGE * in[c][k];
    for (uint32_t i = 0; i < d->n; i++) {
        float u[RANK] = { 0 };
        if (!is_in(d, i))
            continue;
        for (uint32_t g = d->start[i]; g < d->start[i + 1]; g++)
            for (uint32_t k = 0; k < RANK; k++)
                u[k] += d->grams[g].value * in[d->grams[g].bucket][k];
        for (uint32_t g = d->start[i]; g < d->start[i + 1]; g++)
            for (uint32_t k = 0; k < RANK; k++)
                out[d->grams[g].bucket][k] += d->grams[g].value * u[k];
    }
}

static void dots(const float (*a)[RANK], const float (*b)[RANK], uint32_t columns, double out[RANK])
{
    for (uint32_t k = 0; k < RANK; k++)
        out[k] = 0;
    for (uint32_t c = 0; c < columns; c++)
        for (uint32_t k = 0; k < RANK; k++)
            out[k] += (double)(a[c][k] * b[c][k]);
}

/* RANK ridge regressions at once: map becomes the solution for targets [n][RANK]. False: no memory. */
static bool regress(const struct design *d, const float (*target)[RANK], float (*map)[RANK], uint32_t columns)
{
    float (*rest)[RANK] = calloc(columns, sizeof *rest), (*way)[RANK] = malloc(columns * sizeof *way), (*image)[RANK] =
        malloc(columns * sizeof *image);
    bool is_fine = rest && way && image;
    if (is_fine) {
        double old[RANK], now[RANK];
        for (uint32_t i = 0; i < d->n; i++)
            for (uint32_t g = d->start[i]; is_in(d, i) && g < d->start[i + 1]; g++)
                for (uint32_t k = 0; k < RANK; k++)
                    rest[d->grams[g].bucket][k] += d->grams[g].value * target[i][k];
        memset(map, 0, columns * sizeof *map);
        memcpy(way, rest, columns * sizeof *way);
        dots((const float (*)[RANK])rest, (const float (*)[RANK])rest, columns, old);
        for (uint32_t step = 0; step < STEPS; step++) {
            normal_times(d, (const float (*)[RANK])way, image, columns);
            dots((const float (*)[RANK])way, (const float (*)[RANK])image, columns, now);
            float rate[RANK];
            for (uint32_t k = 0; k < RANK; k++)
                rate[k] = now[k] > 1e-20 ? (float)(old[k] / now[k]) : 0;
            for (uint32_t c = 0; c < columns; c++)
                for (uint32_t k = 0; k < RANK; k++) {
                    map[c][k] += rate[k] * way[c][k];
                    rest[c][k] -= rate[k] * image[c][k];
                }
            dots((const float (*)[RANK])rest, (const float (*)[RANK])rest, columns, now);
            for (uint32_t k = 0; k < RANK; k++) {
                rate[k] = old[k] > 1e-20 ? (float)(now[k] / old[k]) : 0;
                old[k] = now[k];
            }
            for (uint32_t c = 0; c < columns; c++)
                for (uint32_t k = 0; k < RANK; k++)
                    way[c][k] = rest[c][k] + rate[k] * way[c][k];
        }
    }
    free(rest);
    free(way);
    free(image);
    return is_fine;
}

static void columns_set(struct factor *f)
{
    f->n_columns = 0;
    for (uint32_t b = 0; b < FEATURE_BUCKETS; b++)
        if (f->idf[b] > 0)
            f->column[b] = f->n_columns++;
    f->n_columns += FEATURE_CUES;
}

static void scales_set(struct factor *f, const struct recorded *r, uint32_t n)
{
    uint32_t *df = calloc(FEATURE_BUCKETS, sizeof *df);
    double sum[FEATURE_CUES] = { 0 }, squares[FEATURE_CUES] = { 0 };
    for (uint32_t i = 0; i < n; i++) {
        const struct features *x = &r->x[recorded_row(r, i)];
        for (uint32_t g = 0; df && g < x->n_words; g++)
            df[x->grams[g].bucket]++;
        for (uint32_t c = 0; c < FEATURE_CUES; c++)
            sum[c] += (double)x->cues[c], squares[c] += (double)(x->cues[c] * x->cues[c]);
    }
    for (uint32_t b = 0; b < FEATURE_BUCKETS; b++)
        f->idf[b] = !df || df[b] < 2 || df[b] > n / COMMON ? 0 : (float)(log((1.0 + n) / (1.0 + df[b])) + 1);
    columns_set(f);
    for (uint32_t c = 0; c < FEATURE_CUES; c++) {
        double mean = n ? sum[c] / n : 0, variance = n ? squares[c] / n - mean * mean : 0;
        f->cue_mean[c] = (float)mean;
        f->cue_scale[c] = variance > 1e-9 ? (float)(1 / sqrt(variance)) : 0;
    }
    free(df);
}

/* Vectors count when every row has one of the same length. False: no memory. */
static bool vectors_set(struct factor *f, const struct recorded *r, uint32_t n)
{
    uint32_t dim = n ? r->x[recorded_row(r, 0)].dim : 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct features *x = &r->x[recorded_row(r, i)];
        dim = x->vector && x->dim == dim ? dim : 0;
    }
    free(f->vector_mean);
    f->vector_mean = calloc(dim + 1, sizeof *f->vector_mean);
    f->l.vector_dim = f->vector_mean ? dim : 0;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t d = 0; d < f->l.vector_dim; d++)
            f->vector_mean[d] += r->x[recorded_row(r, i)].vector[d] / (float)n;
    return f->vector_mean != NULL;
}

static void sums_add(struct fit_sums *s, const float z[RANK], double quality, double weight)
{
    s->n += weight;
    s->quality += weight * quality;
    for (uint32_t k = 0, at = 0; k < RANK; k++) {
        s->z[k] += weight * (double)z[k];
        s->zy[k] += weight * (double)z[k] * quality;
        for (uint32_t j = 0; j <= k; j++)
            s->zz[at++] += weight * (double)(z[k] * z[j]);
    }
}

/* v of one model: (Z'Z - means + ridge n) v = Z'y - means, by Cholesky. */
static void vector_solve(const struct fit_sums *s, double v[RANK])
{
    double a[RANK][RANK], n = s->n > 0 ? s->n : 0;
    for (uint32_t k = 0, at = 0; k < RANK; k++) {
        v[k] = n > 0 ? s->zy[k] - s->z[k] * s->quality / n : 0;
        for (uint32_t j = 0; j <= k; j++, at++)
            a[k][j] = (n > 0 ? s->zz[at] - s->z[k] * s->z[j] / n : 0) + (j == k ? VECTOR_RIDGE * 25 + 1e-9 : 0);
    }
    for (uint32_t k = 0; k < RANK; k++) {
        for (uint32_t j = 0; j < k; j++) {
            for (uint32_t i = 0; i < j; i++)
                a[k][j] -= a[k][i] * a[j][i];
            a[k][j] /= a[j][j];
            a[k][k] -= a[k][j] * a[k][j];
        }
        a[k][k] = sqrt(fmax(a[k][k], 1e-9));
    }
    for (uint32_t k = 0; k < RANK; k++) {
        for (uint32_t j = 0; j < k; j++)
            v[k] -= a[k][j] * v[j];
        v[k] /= a[k][k];
    }
    for (uint32_t k = RANK; k-- > 0;) {
        for (uint32_t j = k + 1; j < RANK; j++)
            v[k] -= a[j][k] * v[j];
        v[k] /= a[k][k];
    }
}

static void vectors_solve(struct factor *f, uint32_t from, uint32_t n)
{
    for (uint32_t m = from; m < from + n; m++)
        vector_solve(&f->sums[m], f->vector[m]);
}

static int factor_fit(struct learner *l, const struct recorded *r, struct err *e)
{
    struct factor *f = (struct factor *)l;
    uint32_t n = recorded_n(r), k_all = r->n_models;
    uint32_t rank = k_all < RANK ? k_all : RANK;
    size_t n_grams = 0;
    bool is_fine = vectors_set(f, r, n);
    for (uint32_t i = 0; i < n; i++)
        n_grams += phi_room(f, &r->x[recorded_row(r, i)]);
    f->idf = f->idf ? f->idf : calloc(FEATURE_BUCKETS, sizeof *f->idf);
    f->column = f->column ? f->column : calloc(FEATURE_BUCKETS, sizeof *f->column);
    free(f->map);
    f->map = huge_calloc(FEATURE_BUCKETS + FEATURE_CUES + l->vector_dim, sizeof *f->map);
    float *residual = malloc(((size_t)n * k_all + 1) * sizeof *residual), (*v)[RANK] = calloc(k_all, sizeof *v),
        (*target)[RANK] = calloc(n + 1, sizeof *target);
    double (*next)[RANK] = calloc(k_all, sizeof *next);
    struct gram *grams = malloc((n_grams + 1) * sizeof *grams);
    uint32_t *start = calloc(n + 1, sizeof *start);
    is_fine = is_fine && f->idf && f->column && f->map && residual && v && target && next && grams && start && n_grams < UINT32_MAX;
    if (is_fine) {
        scales_set(f, r, n);
        for (uint32_t m = 0; m < k_all; m++) {
            double sum = 0, of = 0;
            for (uint32_t i = 0; i < n; i++) {
                float q = r->quality[(size_t)recorded_row(r, i) * k_all + m];
                if (!isnan(q))
                    sum += (double)q, of++;
            }
            for (uint32_t i = 0; i < n; i++) {
                float q = r->quality[(size_t)recorded_row(r, i) * k_all + m];
                residual[(size_t)i * k_all + m] = isnan(q) || of == 0 ? 0 : q - (float)(sum / of);
            }
        }
        components(residual, n, k_all, rank, l->spec.seed, v, next);
        for (uint32_t i = 0; i < n; i++) {
            for (uint32_t m = 0; m < k_all; m++)
                for (uint32_t k = 0; k < RANK; k++)
                    target[i][k] += residual[(size_t)i * k_all + m] * v[m][k];
            start[i + 1] = start[i] + phi(f, &r->x[recorded_row(r, i)], grams + start[i]);
        }
        /* What a map says of its own rows flatters: the sums are of maps that have not seen the row. The last map is of all rows.
         * */
        memset(f->sums, 0, f->cap * sizeof *f->sums);
        for (uint32_t half = 0; half <= HALVES && is_fine; half++) {
            struct design d = { grams, start, n, r, half };
            is_fine = regress(&d, (const float (*)[RANK])target, f->map, f->n_columns + l->vector_dim);
            for (uint32_t i = 0; i < n && is_fine; i++) {
                float z[RANK];
                if (is_in(&d, i))
                    continue;
                project(f, grams + start[i], start[i + 1] - start[i], z);
                for (uint32_t m = 0; m < k_all; m++) {
                    float q = r->quality[(size_t)recorded_row(r, i) * k_all + m];
                    if (!isnan(q))
                        sums_add(&f->sums[m], z, (double)q, 1);
                }
            }
        }
    }
    if (is_fine)
        vectors_solve(f, 0, l->n_models);
    free(residual);
    free(v);
    free(target);
    free(next);
    free(grams);
    free(start);
    return is_fine ? 0 : err_set(e, "no memory for factors of %u rows", n);
}

static void factor_observe(struct learner *l, const struct outcome *o, double weight)
{
    struct factor *f = (struct factor *)l;
    if (!f->map || o->model >= l->n_models || isnan(o->quality))
        return;
    struct arena *a = arena_new();
    struct gram *p = ARENA_ARRAY(a, struct gram, phi_room(f, o->x));
    float z[RANK];
    project(f, p, phi(f, o->x, p), z);
    arena_free(a);
    sums_add(&f->sums[o->model], z, (double)o->quality, weight);
    vectors_solve(f, o->model, 1);
}

static void factor_predict(const struct learner *l, const struct features *x, struct prediction *out, struct arena *a)
{
    const struct factor *f = (const struct factor *)l;
    float z[RANK] = { 0 };
    if (f->map) {
        struct gram *p = ARENA_ARRAY(a, struct gram, phi_room(f, x));
        project(f, p, phi(f, x, p), z);
    }
    double sum = 0, n = 0;
    for (uint32_t m = 0; m < l->n_models; m++)
        if (f->sums[m].n > 0)
            sum += f->sums[m].quality / f->sums[m].n, n++;
    double everybody = n > 0 ? sum / n : 0.5;
    for (uint32_t m = 0; m < l->n_models; m++) {
        const struct fit_sums *s = &f->sums[m];
        double had = s->n > 0 ? s->n : 0, q = (s->quality + l->spec.shrink_model * everybody) / (had +
                l->spec.shrink_model);
        for (uint32_t k = 0; k < RANK && had > 0; k++)
            q += f->vector[m][k] * ((double)z[k] - s->z[k] / had);
        q = fmin(fmax(q, 0), 1);
        out[m] = (struct prediction){ .quality = (float)q, .deviation = (float)sqrt(fmax(q * (1 - q), 0.01) / (had + 1)),
                                      .count = (float)had,
                                      .cost_usd = NAN, .out_tokens = NAN, .out_tokens_90 = NAN, .latency_s = NAN, .latency_90_s =
                                          NAN };
    }
}

static void factor_forget(struct learner *l, uint32_t model, double keep)
{
    struct factor *f = (struct factor *)l;
    for (uint32_t m = 0; m < l->n_models; m++)
        for (size_t i = 0; (model == UINT32_MAX || m == model) && i < sizeof *f->sums / sizeof(double); i++)
            ((double *)&f->sums[m])[i] *= keep;
    vectors_solve(f, 0, l->n_models);
}

static bool factor_merge(struct learner *l, const struct learner *other, double share)
{
    struct factor *f = (struct factor *)l;
    const struct factor *o = (const struct factor *)other;
    if (other->ops != l->ops || other->fit_id != l->fit_id)
        return false;
    for (uint32_t m = 0; m < other->n_models; m++) {
        uint32_t at = learner_model(l, other->models[m]);
        if (at == UINT32_MAX)
            return false;
        for (size_t i = 0; i < sizeof *f->sums / sizeof(double); i++)
            ((double *)&f->sums[at])[i] += share * ((const double *)&o->sums[m])[i];
    }
    vectors_solve(f, 0, l->n_models);
    return true;
}

static void factor_save(const struct learner *l, struct buf *out)
{
    const struct factor *f = (const struct factor *)l;
    pack_u32(out, f->map ? RANK : 0);
    if (!f->map)
        return;
    buf_add(out, f->idf, FEATURE_BUCKETS * sizeof *f->idf);
    buf_add(out, f->map, f->n_columns * sizeof *f->map);
    buf_add(out, f->intercept, sizeof f->intercept);
    buf_add(out, f->cue_mean, sizeof f->cue_mean);
    buf_add(out, f->cue_scale, sizeof f->cue_scale);
    buf_add(out, f->sums, l->n_models * sizeof *f->sums);
    pack_u32(out, l->vector_dim);       /* tables of before there were vectors end here */
    buf_add(out, f->vector_mean, l->vector_dim * sizeof *f->vector_mean);
    buf_add(out, f->map + f->n_columns, l->vector_dim * sizeof *f->map);
}

static bool are_finite(const float *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(v[i]) < 1e6f))
            return false;
    return true;
}

static bool vectors_load(struct factor *f, struct unpack *u)
{
    uint32_t dim = u->rest.len ? unpack_count(u, LEARNER_VECTOR_MAX, sizeof *f->vector_mean + sizeof *f->map) : 0;
    float (*grown)[RANK] = u->is_bad ? NULL : realloc(f->map, (f->n_columns + dim) * sizeof *f->map);
    if (!grown)
        return false;
    f->map = grown;
    f->vector_mean = calloc(dim + 1, sizeof *f->vector_mean);
    if (!f->vector_mean)
        return false;
    unpack_bytes(u, f->vector_mean, dim * sizeof *f->vector_mean);
    unpack_bytes(u, f->map + f->n_columns, dim * sizeof *f->map);
    f->l.vector_dim = dim;
    return !u->is_bad && are_finite(f->vector_mean, dim);
}

static int factor_load(struct learner *l, str bytes, struct err *e)
{
    struct factor *f = (struct factor *)l;
    struct unpack u = { bytes, false };
    uint32_t rank = unpack_u32(&u);
    if (!u.is_bad && rank == 0)
        return 0;
    f->idf = unpack_array(&u, rank == RANK ? FEATURE_BUCKETS : 0, sizeof *f->idf);
    f->column = calloc(FEATURE_BUCKETS, sizeof *f->column);
    if (!f->idf || !f->column || !are_finite(f->idf, FEATURE_BUCKETS))
        return err_set(e, "its factors make no sense");
    columns_set(f);
    f->map = unpack_array(&u, f->n_columns, sizeof *f->map);
    if (!f->map)
        return err_set(e, "its factors make no sense");
    unpack_bytes(&u, f->intercept, sizeof f->intercept);
    unpack_bytes(&u, f->cue_mean, sizeof f->cue_mean);
    unpack_bytes(&u, f->cue_scale, sizeof f->cue_scale);
    unpack_bytes(&u, f->sums, l->n_models * sizeof *f->sums);
    if (!vectors_load(f, &u))
        return err_set(e, "its factors make no sense");
    bool is_sane = are_finite(f->map[0], (size_t)(f->n_columns + l->vector_dim) * RANK) && are_finite(f->intercept, RANK) &&
                   are_finite(f->cue_mean, FEATURE_CUES) && are_finite(f->cue_scale, FEATURE_CUES);
    for (size_t i = 0; i < l->n_models * sizeof *f->sums / sizeof(double); i++)
        is_sane &= isfinite(((const double *)f->sums)[i]) != 0;
    if (u.is_bad || !is_sane)
        return err_set(e, "its factors make no sense");
    vectors_solve(f, 0, l->n_models);
    return 0;
}

const struct learner_ops learner_factor = {
    .name = "factor", .summary = "a linear map of words to a few numbers, times a vector of each model", .bytes =
        sizeof(struct factor),
    .release = factor_release, .grow = factor_grow, .fit = factor_fit, .observe = factor_observe, .predict = factor_predict,
    .forget = factor_forget, .merge = factor_merge, .save = factor_save, .load = factor_load,
};
