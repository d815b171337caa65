/* select/kinds.c -- multinomial naive Bayes (smoothing 0.05) on the hashed words, a histogram for each cue.
 *
 * Words count by |1 + ln count|. Buckets that no training text had cost the same whatever the text, so a text's score is one sum
 * over its known grams and one product with what is left of its weight. Naive Bayes is too sure of itself, because words come
 * together: the sum is halved before it becomes a probability (TEMPERATURE), which leaves the ranking alone and lets neighbouring
 * kinds have a say. Among alternatives, tf-idf weights and complement counts were no better; see docs/internals/selection.md. */
#include "select/kinds.h"

#include <math.h>

#include "base/map.h"
#include "base/rand.h"
#include "base/vector.h"

#define SMOOTHING 0.05
#define TEMPERATURE 0.5f

static uint32_t rows_n(const struct recorded *r)
{
    return recorded_n(r);
}

static uint32_t cue_bin(const struct kinds *k, uint32_t c, float v)
{
    uint32_t b = 0;
    while (b < CUE_BINS - 1 && v > k->edge[c][b])
        b++;
    return b;
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static bool cues_fit(struct kinds *k, const struct recorded *r, const uint32_t *label)
{
    uint32_t n = rows_n(r);
    float *sorted = malloc((n ? n : 1) * sizeof *sorted);
    if (!sorted)
        return false;
    for (uint32_t c = 0; c < FEATURE_CUES; c++) {
        for (uint32_t i = 0; i < n; i++)
            sorted[i] = r->x[recorded_row(r, i)].cues[c];
        qsort(sorted, n, sizeof *sorted, by_value);
        for (uint32_t b = 0; b < CUE_BINS - 1; b++)
            k->edge[c][b] = n ? sorted[(size_t)n * (b + 1) / CUE_BINS] : 0;
        float *h = k->cue + (size_t)c * CUE_BINS * k->n;
        for (uint32_t i = 0; i < CUE_BINS * k->n; i++)
            h[i] = 0.5f;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t row = recorded_row(r, i);
            if (label[row] < k->n)
                h[(size_t)cue_bin(k, c, r->x[row].cues[c]) * k->n + label[row]] += 1;
        }
        for (uint32_t t = 0; t < k->n; t++) {
            float sum = 0;
            for (uint32_t b = 0; b < CUE_BINS; b++)
                sum += h[b * k->n + t];
            for (uint32_t b = 0; b < CUE_BINS; b++)
                h[b * k->n + t] = logf(h[b * k->n + t] / sum);
        }
    }
    free(sorted);
    return true;
}

static bool kinds_room(struct kinds *k, uint32_t n, uint32_t n_rows)
{
    k->n = n;
    k->n_rows = n_rows;
    if (!k->row)
        k->row = calloc(FEATURE_BUCKETS, sizeof *k->row);
    k->weight = calloc((size_t)(n_rows ? n_rows : 1) * n, sizeof *k->weight);
    k->unseen = calloc(n, sizeof *k->unseen);
    k->prior = calloc(n, sizeof *k->prior);
    k->cue = calloc((size_t)FEATURE_CUES * CUE_BINS * n, sizeof *k->cue);
    return k->row && k->weight && k->unseen && k->prior && k->cue;
}

bool kinds_fit(struct kinds *k, const struct recorded *r, const uint32_t *label, uint32_t n)
{
    *k = (struct kinds){ .row = calloc(FEATURE_BUCKETS, sizeof *k->row) };
    if (!k->row)
        return false;
    uint32_t n_rows = 0;
    for (uint32_t i = 0; i < rows_n(r); i++) {
        const struct features *x = &r->x[recorded_row(r, i)];
        for (uint32_t g = 0; g < x->n && label[recorded_row(r, i)] < n; g++)
            if (!k->row[x->grams[g].bucket])
                k->row[x->grams[g].bucket] = ++n_rows;
    }
    double *total = calloc(n, sizeof *total);
    if (!kinds_room(k, n, n_rows) || !total) {
        free(total);
        kinds_clear(k);
        return false;
    }
    double n_labelled = 0;
    for (uint32_t i = 0; i < rows_n(r); i++) {
        uint32_t row = recorded_row(r, i), t = label[row];
        const struct features *x = &r->x[row];
        if (t >= n)
            continue;
        for (uint32_t g = 0; g < x->n; g++) {
            float v = fabsf(x->grams[g].value);
            k->weight[(size_t)(k->row[x->grams[g].bucket] - 1) * n + t] += v;
            total[t] += (double)v;
        }
        k->prior[t] += 1;
        n_labelled++;
    }
    for (uint32_t t = 0; t < n; t++) {
        k->unseen[t] = (float)log(SMOOTHING / (total[t] + SMOOTHING * FEATURE_BUCKETS));
        k->prior[t] = (float)log(fmax((double)k->prior[t], 1e-9) / fmax(n_labelled, 1));
    }
    /* ln((count + a) / (total + a D)) - ln(a / (total + a D)) = ln(1 + count / a): it does not depend on the total. */
    for (size_t i = 0; i < (size_t)n_rows * n; i++)
        if (k->weight[i] > 0)
            k->weight[i] = logf(1 + k->weight[i] / (float)SMOOTHING);
    free(total);
    return cues_fit(k, r, label);
}

void kinds_clear(struct kinds *k)
{
    free(k->row);
    free(k->weight);
    free(k->unseen);
    free(k->prior);
    free(k->cue);
    *k = (struct kinds){ 0 };
}

void kinds_predict(const struct kinds *k, const struct features *x, float *p)
{
    uint32_t n = k->n;
    float known = 0;
    memset(p, 0, n * sizeof *p);
    for (uint32_t g = 0; g < x->n; g++) {
        float v = fabsf(x->grams[g].value);
        uint32_t row = k->row[x->grams[g].bucket];
        known += v;
        if (!row)
            continue;
        const float *w = k->weight + (size_t)(row - 1) * n;
        for (uint32_t t = 0; t < n; t++)
            p[t] += v * w[t];
    }
    for (uint32_t t = 0; t < n; t++)
        p[t] += known * k->unseen[t];
    for (uint32_t c = 0; c < FEATURE_CUES; c++) {
        const float *h = k->cue + ((size_t)c * CUE_BINS + cue_bin(k, c, x->cues[c])) * n;
        for (uint32_t t = 0; t < n; t++)
            p[t] += h[t];
    }
    float most = -INFINITY, sum = 0;
    for (uint32_t t = 0; t < n; t++) {
        p[t] = TEMPERATURE * p[t] + k->prior[t];
        most = p[t] > most ? p[t] : most;
    }
    for (uint32_t t = 0; t < n; t++)
        sum += p[t] = expf(p[t] - most);
    for (uint32_t t = 0; t < n; t++)
        p[t] /= sum;
}

double kinds_entropy(const float *p, uint32_t n)
{
    double h = 0;
    for (uint32_t t = 0; t < n; t++)
        h -= p[t] > 0 ? (double)p[t] * log((double)p[t]) : 0;
    return n > 1 ? h / log(n) : 0;
}

void kinds_save(const struct kinds *k, struct buf *out)
{
    pack_u32(out, k->n);
    pack_u32(out, k->n_rows);
    if (!k->n)
        return;
    for (uint32_t b = 0; b < FEATURE_BUCKETS; b++)      /* the buckets by row */
        if (k->row[b])
            pack_u32(out, b), pack_u32(out, k->row[b]);
    buf_add(out, k->weight, (size_t)k->n_rows * k->n * sizeof *k->weight);
    buf_add(out, k->unseen, k->n * sizeof *k->unseen);
    buf_add(out, k->prior, k->n * sizeof *k->prior);
    buf_add(out, k->edge, sizeof k->edge);
    buf_add(out, k->cue, (size_t)FEATURE_CUES * CUE_BINS * k->n * sizeof *k->cue);
}

static bool is_finite(const float *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(v[i]))
            return false;
    return true;
}

bool kinds_load(struct kinds *k, struct unpack *u)
{
    *k = (struct kinds){ 0 };
    uint32_t n = unpack_count(u, LEARNER_KINDS_MAX, 8), n_rows = unpack_count(u, FEATURE_BUCKETS, 8);
    if (u->is_bad || !n)
        return !u->is_bad;
    size_t cues = (size_t)FEATURE_CUES * CUE_BINS * n;
    if ((u->rest.len - 8ull * n_rows) / 4 < (size_t)n_rows * n + 2ull * n + cues || !kinds_room(k, n, n_rows)) {
        kinds_clear(k);
        return false;
    }
    for (uint32_t i = 0; i < n_rows; i++) {
        uint32_t bucket = unpack_u32(u), row = unpack_u32(u);
        if (bucket >= FEATURE_BUCKETS || !row || row > n_rows)
            u->is_bad = true;
        else
            k->row[bucket] = row;
    }
    unpack_bytes(u, k->weight, (size_t)n_rows * n * sizeof *k->weight);
    unpack_bytes(u, k->unseen, n * sizeof *k->unseen);
    unpack_bytes(u, k->prior, n * sizeof *k->prior);
    unpack_bytes(u, k->edge, sizeof k->edge);
    unpack_bytes(u, k->cue, cues * sizeof *k->cue);
    if (u->is_bad || !is_finite(k->weight, (size_t)n_rows * n) || !is_finite(k->unseen, n) || !is_finite(k->prior, n) ||
        !is_finite(k->cue, cues)) {
        kinds_clear(k);
        return false;
    }
    return true;
}

/* ---- clusters ---- */

enum { DIM = 256, ROUNDS = 8 };

static void vector_of(const struct features *x, float *v)
{
    memset(v, 0, DIM * sizeof *v);
    for (uint32_t g = 0; g < x->n; g++)
        v[x->grams[g].bucket & (DIM - 1)] += x->grams[g].value;
    vector_unit(v, DIM);
}

bool kinds_cluster(const struct recorded *r, uint32_t n_clusters, uint64_t seed, uint32_t *label)
{
    uint32_t n = rows_n(r);
    float *v = malloc((size_t)(n ? n : 1) * DIM * sizeof *v), *centre = calloc((size_t)n_clusters * DIM, sizeof *centre);
    if (!v || !centre) {
        free(v);
        free(centre);
        return false;
    }
    for (uint32_t i = 0; i < n; i++)
        vector_of(&r->x[recorded_row(r, i)], v + (size_t)i * DIM);
    for (uint32_t c = 0; c < n_clusters && n; c++)
        memcpy(centre + (size_t)c * DIM, v + rand_below(&seed, n) * DIM, DIM * sizeof *v);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < n; i++) {
            float best = -2;
            for (uint32_t c = 0; c < n_clusters; c++) {
                float likeness = vector_inner(v + (size_t)i * DIM, centre + (size_t)c * DIM, DIM);
                if (likeness > best)
                    best = likeness, label[recorded_row(r, i)] = c;
            }
        }
        memset(centre, 0, (size_t)n_clusters * DIM * sizeof *centre);
        for (uint32_t i = 0; i < n; i++)
            vector_add(centre + (size_t)label[recorded_row(r, i)] * DIM, v + (size_t)i * DIM, DIM);
        for (uint32_t c = 0; c < n_clusters; c++)
            vector_unit(centre + (size_t)c * DIM, DIM);
    }
    free(v);
    free(centre);
    return true;
}

/* ---- names ---- */

/* Labels of rows as indices, and their names. Rows without one get UINT32_MAX. */
static uint32_t labels_read(const struct recorded *r, uint32_t *label, str *names)
{
    struct arena *a = arena_new();
    struct map seen = { .a = a };
    uint32_t n = 0;
    for (uint32_t i = 0; a && i < rows_n(r); i++) {
        uint32_t row = recorded_row(r, i);
        str kind = r->x[row].kind;
        uintptr_t at = kind.len ? (uintptr_t)map_get(&seen, kind) : 0;
        if (kind.len && !at && n < LEARNER_KINDS_MAX) {
            names[n] = kind;
            at = ++n;
            map_put(&seen, kind, (void *)at);
        }
        label[row] = at ? (uint32_t)(at - 1) : UINT32_MAX;
    }
    arena_free(a);
    return n;
}

static uint32_t clusters_n(const struct learner_spec *spec, uint32_t n)
{
    uint32_t c = spec->n_clusters ? spec->n_clusters : (uint32_t)(sqrt((double)n) / 3);
    return c < 2 ? 2 : c > 64 ? 64 : c;
}

uint32_t kinds_name(const struct recorded *r, const struct learner_spec *spec, bool heeds_labels, uint32_t *label, str *names,
                    struct arena *a)
{
    uint32_t n = heeds_labels ? labels_read(r, label, names) : 0;
    if (n > 0 || rows_n(r) == 0)
        return n;
    n = clusters_n(spec, rows_n(r));
    if (!kinds_cluster(r, n, spec->seed, label))
        return UINT32_MAX;
    for (uint32_t i = 0; i < n; i++)
        names[i] = arena_printf(a, "cluster %u", i + 1);
    return n;
}
