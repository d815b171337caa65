/* signal/bank.c -- examples, clusters, medoids, scores.
 *
 * Clusters are greedy: the example with the most neighbours takes them all, then the next of what is left. The table of
 * similarities is computed once; neighbour counts are kept up to date while clusters leave, so the whole is quadratic. */
#include "signal/bank.h"

#include <stdlib.h>

#include "base/map.h"
#include "base/vector.h"
#include "signal/models.h"

static const struct field bank_table[] = {
    F(FIELD_BOOL, struct bank_conf, enabled, "enabled", "true", "cluster the examples and score against the clusters"),
    F(FIELD_FLOAT, struct bank_conf, cluster_similarity_threshold, "cluster_similarity_threshold", "0.9",
      "similarity at which examples share a cluster", .min = 0, .max = 1),
    F(FIELD_INT, struct bank_conf, max_prototypes, "max_prototypes", "8", "clusters kept for a rule", .min = 1, .max = 1e9),
    F(FIELD_FLOAT, struct bank_conf, best_weight, "best_weight", "0.75", "weight of the best prototype against the mean of top_m",
      .min = 0, .max = 1),
    F(FIELD_INT, struct bank_conf, top_m, "top_m", "2", "prototypes in the mean", .min = 1, .max = 1e9),
    F(FIELD_FLOAT, struct bank_conf, margin_threshold, "margin_threshold", "0", "least lead over the second rule",
      .min = -1, .max = 1),
};
const struct fields bank_fields = FIELDS(struct bank_conf, bank_table);

/* ---- examples ---- */

void examples_start(struct examples *e, const struct need_source *source)
{
    *e = (struct examples){ .source = source, .a = arena_new() };
    if (!e->a)
        return;                                 /* examples_embed will say no */
    e->by_text = ARENA_NEW(e->a, struct map);
    e->by_text->a = e->a;
}

void examples_add(struct examples *e, str text)
{
    if (!e->a || str_trim(text).len == 0 || map_has(e->by_text, text))
        return;
    *PUSH(e->a, e->texts, e->n) = text;
    map_put(e->by_text, text, (void *)(uintptr_t)e->n);     /* index + 1 */
}

void examples_add_all(struct examples *e, struct strings texts)
{
    for (size_t i = 0; i < texts.n; i++)
        examples_add(e, texts.items[i]);
}

bool examples_embed(struct examples *e, const struct signal_models *models)
{
    if (!e->a || e->source->dim == 0)
        return false;
    if (e->n == 0)
        return true;
    e->vectors = arena_try(e->a, e->n * e->source->dim * sizeof *e->vectors);
    if (!e->vectors || !models->embed(models->arg, e->source, e->texts, e->n, e->vectors))
        return false;
    for (size_t i = 0; i < e->n; i++) {                     /* a remote model may not normalise */
        if (!vector_unit(&e->vectors[i * e->source->dim], e->source->dim))
            return false;
    }
    return true;
}

const float *examples_find(const struct examples *e, str text)
{
    uintptr_t found = (uintptr_t)map_get(e->by_text, text);
    return found ? &e->vectors[(found - 1) * e->source->dim] : NULL;
}

void examples_drop(struct examples *e)
{
    arena_free(e->a);
    *e = (struct examples){ 0 };
}

/* ---- clusters ---- */

struct example { str text; const float *vector; };
struct cluster { uint32_t medoid, size; double mean; str text; };

struct clustering {
    const struct example *items; uint32_t n;
    const float *similarity;            /* [n][n] */
    double threshold;
    uint32_t *neighbours;               /* [n] among those left */
    bool *is_gone;
    struct cluster *clusters; uint32_t n_clusters;
};

static bool is_near(const struct clustering *c, uint32_t i, uint32_t k)
{
    return (double)c->similarity[i * c->n + k] >= c->threshold;
}

/* The one with the most neighbours left; ties: the text that sorts first. */
static uint32_t seed_next(const struct clustering *c)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < c->n; i++) {
        if (c->is_gone[i])
            continue;
        if (best == UINT32_MAX || c->neighbours[i] > c->neighbours[best] ||
            (c->neighbours[i] == c->neighbours[best] && str_cmp(c->items[i].text, c->items[best].text) < 0))
            best = i;
    }
    return best;
}

/* Of the members the one most like all of them, itself included; ties: the text that sorts first. */
static struct cluster cluster_of(const struct clustering *c, const uint32_t *members, uint32_t n)
{
    struct cluster best = { .size = 0 };
    for (uint32_t i = 0; i < n; i++) {
        double sum = 0;
        for (uint32_t k = 0; k < n; k++)
            sum += (double)c->similarity[members[i] * c->n + members[k]];
        str text = c->items[members[i]].text;
        if (best.size == 0 || sum / n > best.mean || (sum / n == best.mean && str_cmp(text, best.text) < 0))
            best = (struct cluster){ members[i], n, sum / n, text };
    }
    return best;
}

static void cluster_all(struct clustering *c, uint32_t *members)
{
    for (uint32_t seed; (seed = seed_next(c)) != UINT32_MAX; ) {
        uint32_t n = 0;
        for (uint32_t i = 0; i < c->n; i++) {
            if (!c->is_gone[i] && (i == seed || is_near(c, seed, i)))
                members[n++] = i;
        }
        for (uint32_t m = 0; m < n; m++) {
            c->is_gone[members[m]] = true;
            for (uint32_t i = 0; i < c->n; i++)
                c->neighbours[i] -= i != members[m] && is_near(c, members[m], i);
        }
        c->clusters[c->n_clusters++] = cluster_of(c, members, n);
    }
}

static int cluster_order(const void *x, const void *y)
{
    const struct cluster *a = x, *b = y;
    if (a->size != b->size)
        return a->size > b->size ? -1 : 1;
    if (a->mean != b->mean)
        return a->mean > b->mean ? -1 : 1;
    return str_cmp(a->text, b->text);
}

/* Fills `kept` with the indices of the prototypes. False: no memory, then all examples stay. */
static bool prototypes_choose(const struct bank_conf *conf, const struct need_source *source, const struct example *items,
                              uint32_t n, uint32_t *kept, uint32_t *n_kept)
{
    struct arena *a = arena_new();
    float *similarity = a ? arena_try(a, (size_t)n * n * sizeof *similarity) : NULL;
    if (!similarity) {
        arena_free(a);
        return false;
    }
    struct clustering c = {
        .items = items, .n = n, .similarity = similarity, .threshold = conf->cluster_similarity_threshold,
        .neighbours = ARENA_ARRAY(a, uint32_t, n), .is_gone = ARENA_ARRAY(a, bool, n),
        .clusters = ARENA_ARRAY(a, struct cluster, n),
    };
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k <= i; k++) {
            float cosine = k == i ? 1 : vector_inner(items[i].vector, items[k].vector, source->dim);
            similarity[i * n + k] = similarity[k * n + i] = need_similarity(source, cosine);
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < n; k++)
            c.neighbours[i] += k != i && is_near(&c, i, k);
    }
    cluster_all(&c, ARENA_ARRAY(a, uint32_t, n));
    qsort(c.clusters, c.n_clusters, sizeof *c.clusters, cluster_order);
    *n_kept = conf->max_prototypes < c.n_clusters ? (uint32_t)conf->max_prototypes : c.n_clusters;
    for (uint32_t i = 0; i < *n_kept; i++)
        kept[i] = c.clusters[i].medoid;
    arena_free(a);
    return true;
}

void bank_build(struct bank *b, struct arena *a, const struct bank_conf *c, const struct examples *e, struct strings texts)
{
    struct example *items = ARENA_ARRAY(e->a, struct example, texts.n);
    struct map seen = { .a = e->a };
    uint32_t n = 0;
    for (size_t i = 0; i < texts.n && n < BANK_EXAMPLES_MAX; i++) {
        const float *vector = examples_find(e, texts.items[i]);
        if (vector && map_put(&seen, texts.items[i], items))
            items[n++] = (struct example){ texts.items[i], vector };
    }
    uint32_t *kept = ARENA_ARRAY(e->a, uint32_t, n), n_kept = n;
    if (n == 0 || !c->enabled || !prototypes_choose(c, e->source, items, n, kept, &n_kept)) {
        for (uint32_t i = 0; i < n; i++)
            kept[i] = i;
    }
    size_t dim = e->source->dim;
    *b = (struct bank){ .source = e->source, .best_weight = c->best_weight,
                        .top_m = c->top_m > BANK_TOP_MAX ? BANK_TOP_MAX : c->top_m < 1 ? 1 : (uint32_t)c->top_m };
    b->vectors = arena_alloc(a, n_kept * dim * sizeof *b->vectors);
    for (; b->n < n_kept; b->n++)
        memcpy(&b->vectors[b->n * dim], items[kept[b->n]].vector, dim * sizeof *b->vectors);
}

/* ---- scores ---- */

struct bank_score bank_score(const struct bank *b, const float *query)
{
    float top[BANK_TOP_MAX];            /* descending */
    uint32_t n_top = 0;
    double sum = 0, sum_top = 0;
    if (b->n == 0)
        return (struct bank_score){ 0 };
    size_t dim = b->source->dim;
    for (uint32_t i = 0; i < b->n; i++) {
        float s = need_similarity(b->source, vector_inner(&b->vectors[i * dim], query, dim));
        sum += (double)s;
        uint32_t at = n_top;
        if (n_top < b->top_m)
            n_top++;
        else if (s > top[n_top - 1])
            at = n_top - 1;
        else
            continue;
        for (; at > 0 && top[at - 1] < s; at--)
            top[at] = top[at - 1];
        top[at] = s;
    }
    for (uint32_t i = 0; i < n_top; i++)
        sum_top += (double)top[i];
    struct bank_score r = { .best = (double)top[0], .support = sum_top / n_top, .mean = sum / b->n };
    r.score = b->best_weight * r.best + (1 - b->best_weight) * r.support;
    return r;
}
