/* select/kinds.c -- multinomial logistic regression on the hashed words and on which sixteenth of the rows each cue falls into.
 *
 * A word weighs |1 + ln count| times its inverse document frequency; a text's known words have length 1. Weights are learned by a few
 * passes of gradient descent over the rows in random order, after AdaGrad (Duchi, Hazan and Singer, JMLR 12, 2011) with one sum of
 * squares a word instead of one a weight: rare words learn at once, common ones settle. That needs no rate and no decay: a rate
 * from .35 to 1, two passes to ten, and a decay up to 1e-4 are all alike.
 *
 * Naive Bayes stood here before. It is the same sum of other weights, over texts whose length is not 1, so tables that hold it are
 * still read. What the change is worth: docs/internals/selection.md. */
#include "select/kinds.h"

#include <math.h>

#include "base/huge.h"
#include "base/map.h"
#include "base/rand.h"
#include "base/vector.h"

enum { PASSES = 2, SEEN_LEAST = 3 };    /* a word of one row or two teaches little about others, and most are such */
#define LEARNED 1e-3f                   /* a row with a smaller squared error is left alone in this pass */
#define CUE_WEIGHT 0.2f                 /* of a cue beside words of length 1; .05 and .5 are no worse */
#define BAYES_TEMPERATURE 0.5f          /* of tables that hold naive Bayes, which is too sure of itself: words come together */
#define HAS_IDF (1u << 31)              /* in a state, beside the number of kinds: what naive Bayes did not write comes behind */

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

static bool edges_fit(struct kinds *k, const struct recorded *r)
{
    uint32_t n = recorded_n(r);
    float *sorted = malloc((n ? n : 1) * sizeof *sorted);
    if (!sorted)
        return false;
    for (uint32_t c = 0; c < FEATURE_CUES; c++) {
        for (uint32_t i = 0; i < n; i++)
            sorted[i] = r->x[recorded_row(r, i)].cues[c];
        qsort(sorted, n, sizeof *sorted, by_value);
        for (uint32_t b = 0; b < CUE_BINS - 1; b++)
            k->edge[c][b] = n ? sorted[(size_t)n * (b + 1) / CUE_BINS] : 0;
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
    k->idf = calloc(n_rows ? n_rows : 1, sizeof *k->idf);
    k->weight = huge_calloc((size_t)(n_rows ? n_rows : 1) * n, sizeof *k->weight);
    k->unseen = calloc(n, sizeof *k->unseen);
    k->prior = calloc(n, sizeof *k->prior);
    k->cue = calloc((size_t)FEATURE_CUES * CUE_BINS * n, sizeof *k->cue);
    return k->row && k->idf && k->weight && k->unseen && k->prior && k->cue;
}

/* p[n] becomes the shares. */
static void softmax(float *p, uint32_t n)
{
    float most = -INFINITY, sum = 0;
    for (uint32_t t = 0; t < n; t++)
        most = p[t] > most ? p[t] : most;
    for (uint32_t t = 0; t < n; t++)
        sum += p[t] = expf(p[t] - most);
    for (uint32_t t = 0; t < n; t++)
        p[t] /= sum;
}

/* p[n] becomes the logits. By what the words were scaled. */
static float logits(const struct kinds *k, const struct features *x, float *p)
{
    uint32_t n = k->n;
    float all = 0, square = 0;
    memset(p, 0, n * sizeof *p);
    for (uint32_t g = 0; g < x->n; g++) {
        float v = fabsf(x->grams[g].value);
        uint32_t row = k->row[x->grams[g].bucket];
        all += v;
        if (!row)
            continue;
        v *= k->idf[row - 1];
        square += v * v;
        const float *w = k->weight + (size_t)(row - 1) * n;
        for (uint32_t t = 0; t < n; t++)
            p[t] += v * w[t];
    }
    float scale = k->is_unit && square > 0 ? 1 / sqrtf(square) : 1;
    for (uint32_t t = 0; t < n; t++)
        p[t] = scale * p[t] + all * k->unseen[t] + k->prior[t];
    for (uint32_t c = 0; c < FEATURE_CUES; c++)
        vector_add(p, k->cue + ((size_t)c * CUE_BINS + cue_bin(k, c, x->cues[c])) * n, n);
    return scale;
}

void kinds_predict(const struct kinds *k, const struct features *x, float *p)
{
    logits(k, x, p);
    softmax(p, k->n);
}

/* Squares of the gradients that each word, each bin of a cue and the prior have seen. */
struct squares { float *word, cue[FEATURE_CUES][CUE_BINS], prior; };

/* The weights w[n] of something that was there to the extent v go down the slope, as far as the squares so far allow. */
static void descend(float *w, const float *slope, uint32_t n, float rate, float v, float slopes, float *squares)
{
    *squares += v * v * slopes;
    float step = *squares > 0 ? rate * v / sqrtf(*squares) : 0;
    for (uint32_t t = 0; t < n; t++)
        w[t] -= step * slope[t];
}

static void row_learn(struct kinds *k, struct squares *s, const struct features *x, uint32_t label, float *slope)
{
    uint32_t n = k->n;
    float slopes = 0, scale = logits(k, x, slope);
    softmax(slope, n);
    slope[label] -= 1;
    for (uint32_t t = 0; t < n; t++)
        slopes += slope[t] * slope[t];
    if (slopes < LEARNED)
        return;
    for (uint32_t g = 0; g < x->n; g++) {
        uint32_t row = k->row[x->grams[g].bucket];
        if (row)
            descend(k->weight + (size_t)(row - 1) * n, slope, n, 1, scale * fabsf(x->grams[g].value) * k->idf[row - 1], slopes,
                    &s->word[row - 1]);
    }
    for (uint32_t c = 0; c < FEATURE_CUES; c++) {
        uint32_t bin = cue_bin(k, c, x->cues[c]);
        descend(k->cue + ((size_t)c * CUE_BINS + bin) * n, slope, n, CUE_WEIGHT, 1, slopes, &s->cue[c][bin]);
    }
    descend(k->prior, slope, n, 1, 1, slopes, &s->prior);
}

/* In how many labelled rows each bucket stands: seen[FEATURE_BUCKETS]. The rows themselves, as places in r->x, go to labelled[]; how
 * many. */
static uint32_t words_count(const struct recorded *r, const uint32_t *label, uint32_t n, uint32_t *labelled, uint32_t *seen)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < recorded_n(r); i++) {
        uint32_t row = recorded_row(r, i);
        if (label[row] >= n)
            continue;
        labelled[count++] = row;
        for (uint32_t g = 0; g < r->x[row].n; g++)
            seen[r->x[row].grams[g].bucket]++;
    }
    return count;
}

bool kinds_fit(struct kinds *k, const struct recorded *r, const uint32_t *label, uint32_t n)
{
    *k = (struct kinds){ .is_unit = true, .row = calloc(FEATURE_BUCKETS, sizeof *k->row) };
    uint32_t *labelled = malloc((recorded_n(r) + 1) * sizeof *labelled), *seen = calloc(FEATURE_BUCKETS, sizeof *seen), n_words = 0;
    uint32_t count = seen && labelled ? words_count(r, label, n, labelled, seen) : 0;
    for (uint32_t b = 0; b < FEATURE_BUCKETS && seen; b++)
        n_words += seen[b] >= SEEN_LEAST;
    struct squares s = { .word = calloc(n_words + 1, sizeof *s.word) };
    float *slope = malloc((n ? n : 1) * sizeof *slope);
    bool is_fine = k->row && labelled && seen && s.word && slope && kinds_room(k, n, n_words) && edges_fit(k, r);
    for (uint32_t b = 0, row = 0; b < FEATURE_BUCKETS && is_fine; b++)
        if (seen[b] >= SEEN_LEAST) {
            k->idf[row] = (float)(log((1.0 + count) / (1.0 + seen[b])) + 1);
            k->row[b] = ++row;
        }
    uint64_t seed = 1;
    for (uint32_t pass = 0; pass < PASSES && is_fine; pass++) {
        rand_shuffle(&seed, labelled, count);
        for (uint32_t i = 0; i < count; i++)
            row_learn(k, &s, &r->x[labelled[i]], label[labelled[i]], slope);
    }
    free(labelled);
    free(seen);
    free(s.word);
    free(slope);
    if (!is_fine)
        kinds_clear(k);
    return is_fine;
}

void kinds_clear(struct kinds *k)
{
    free(k->row);
    free(k->idf);
    free(k->weight);
    free(k->unseen);
    free(k->prior);
    free(k->cue);
    *k = (struct kinds){ 0 };
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
    pack_u32(out, k->n ? k->n | HAS_IDF : 0);
    pack_u32(out, k->n_rows);
    if (!k->n)
        return;
    for (uint32_t b = 0; b < FEATURE_BUCKETS; b++)      /* the buckets by row */
        if (k->row[b])
            pack_u32(out, b), pack_u32(out, k->row[b]);
    pack_u32(out, k->is_unit);
    buf_add(out, k->idf, k->n_rows * sizeof *k->idf);
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

/* A table of naive Bayes as one of these: words weigh what they are, the temperature goes into the weights. */
static void bayes_adopt(struct kinds *k)
{
    k->is_unit = false;
    for (uint32_t i = 0; i < k->n_rows; i++)
        k->idf[i] = 1;
    for (size_t i = 0; i < (size_t)k->n_rows * k->n; i++)
        k->weight[i] *= BAYES_TEMPERATURE;
    for (uint32_t t = 0; t < k->n; t++)
        k->unseen[t] *= BAYES_TEMPERATURE;
    for (size_t i = 0; i < (size_t)FEATURE_CUES * CUE_BINS * k->n; i++)
        k->cue[i] *= BAYES_TEMPERATURE;
}

bool kinds_load(struct kinds *k, struct unpack *u)
{
    *k = (struct kinds){ 0 };
    uint32_t head = unpack_u32(u), n = head & ~HAS_IDF, n_rows = unpack_count(u, FEATURE_BUCKETS, 8);
    if (n > LEARNER_KINDS_MAX)
        u->is_bad = true;
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
    if (head & HAS_IDF) {
        k->is_unit = unpack_u32(u) != 0;
        unpack_bytes(u, k->idf, n_rows * sizeof *k->idf);
    }
    unpack_bytes(u, k->weight, (size_t)n_rows * n * sizeof *k->weight);
    unpack_bytes(u, k->unseen, n * sizeof *k->unseen);
    unpack_bytes(u, k->prior, n * sizeof *k->prior);
    unpack_bytes(u, k->edge, sizeof k->edge);
    unpack_bytes(u, k->cue, cues * sizeof *k->cue);
    if (!(head & HAS_IDF))
        bayes_adopt(k);
    if (u->is_bad || !is_finite(k->idf, n_rows) || !is_finite(k->weight, (size_t)n_rows * n) || !is_finite(k->unseen, n) || !is_finite(k->prior, n) ||
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
    uint32_t n = recorded_n(r);
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
    for (uint32_t i = 0; a && i < recorded_n(r); i++) {
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
    if (n > 0 || recorded_n(r) == 0)
        return n;
    n = clusters_n(spec, recorded_n(r));
    if (!kinds_cluster(r, n, spec->seed, label))
        return UINT32_MAX;
    for (uint32_t i = 0; i < n; i++)
        names[i] = arena_printf(a, "cluster %u", i + 1);
    return n;
}
