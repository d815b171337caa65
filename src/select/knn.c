/* select/knn.c -- votes of the nearest stored queries (spec 02, section 1.9; FusionFactory, arXiv:2507.10540). */
#include <math.h>

#include "select/trained.h"

struct knn_file { struct matrix points; struct strings labels; const float *vote; uint32_t k; };

enum { NEIGHBOURS_MAX = 256 };

static const void *knn_load(struct arena *a, str bytes, struct err *e)
{
    struct json j;
    struct knn_file *f = ARENA_NEW(a, struct knn_file);
    struct matrix quality, latency;
    int64_t k = 5;
    if (trained_open(a, bytes, "knn", &j, e) == JSON_NONE || trained_matrix(&j, 0, "embeddings", a, &f->points, e) < 0 ||
        trained_names(&j, 0, "labels", a, &f->labels, e) < 0 || trained_matrix(&j, 0, "qualities", a, &quality, e) < 0)
        return NULL;
    bool has_latency = json_is(&j, json_get(&j, 0, S("latencies")), JSON_ARRAY);
    if (has_latency && trained_matrix(&j, 0, "latencies", a, &latency, e) < 0)
        return NULL;
    uint32_t n = f->points.rows;
    json_int(&j, json_get(&j, 0, S("k")), &k);
    if (f->labels.n != n || quality.columns != n || (has_latency && latency.columns != n) || f->points.columns == 0) {
        err_set(e, "%u embeddings, %zu labels and %u qualities do not match", n, f->labels.n, quality.columns);
        return NULL;
    }
    float *vote = ARENA_ARRAY(a, float, n), slowest = 0;
    for (uint32_t i = 0; has_latency && i < n; i++)
        slowest = fmaxf(slowest, latency.v[i]);
    for (uint32_t i = 0; i < n; i++)
        vote[i] = 0.9f * fmaxf(quality.v[i], 0.01f) + 0.1f * (slowest > 0 ? 1 - fmaxf(latency.v[i], 0) / slowest : 1);
    f->vote = vote;
    f->k = k < 1 ? 1 : k > NEIGHBOURS_MAX ? NEIGHBOURS_MAX : (uint32_t)k;
    return f;
}

static void knn_pick(const struct select_in *in, struct arena *a, struct pick *out)
{
    const struct knn_file *f = in->trained;
    uint32_t n = 0, found = 0;
    float *x = trained_query(in, a, &n);
    if (!f || !x || n != f->points.columns) {
        trained_choose(in, a, out, S(""), !f ? "no-table" : !x ? "no-embedding" : "dimension-mismatch");
        return;
    }
    struct { float distance; uint32_t row; } near[NEIGHBOURS_MAX];
    for (uint32_t i = 0; i < f->points.rows; i++) {
        const float *p = f->points.v + (size_t)i * n;
        float d = 0;
        for (uint32_t c = 0; c < n; c++)
            d += (x[c] - p[c]) * (x[c] - p[c]);
        if (found == f->k && d >= near[found - 1].distance)
            continue;
        uint32_t at = found < f->k ? found++ : found - 1;
        for (; at > 0 && near[at - 1].distance > d; at--)
            near[at] = near[at - 1];
        near[at].distance = d;
        near[at].row = i;
    }
    str best = S("");
    float most = -1;
    for (uint32_t i = 0; i < found; i++) {
        float sum = 0;
        for (uint32_t k = 0; k < found; k++)
            sum += str_eq(f->labels.items[near[k].row], f->labels.items[near[i].row]) ? f->vote[near[k].row] : 0;
        if (sum > most)
            most = sum, best = f->labels.items[near[i].row];
    }
    trained_choose(in, a, out, best, NULL);
}

const struct select_ops select_knn = {
    .name = "knn", .fields = FIELDS_NONE, .is_built = true, .pick = knn_pick, .load = knn_load,
    .file_key = "global.router.model_selection.ml.knn.pretrained_path", .reads_embedding = select_always,
};
