/* select/kmeans.c -- the model of the nearest cluster (spec 02, section 1.9; Avengers-Pro, arXiv:2508.12631). */
#include <math.h>

#include "select/trained.h"

struct kmeans_file { struct matrix centres; struct strings models; };

static const void *kmeans_load(struct arena *a, str bytes, struct err *e)
{
    struct json j;
    struct kmeans_file *f = ARENA_NEW(a, struct kmeans_file);
    if (trained_open(a, bytes, "kmeans", &j, e) == JSON_NONE || trained_matrix(&j, 0, "centroids", a, &f->centres, e) < 0 ||
        trained_names(&j, 0, "cluster_models", a, &f->models, e) < 0)
        return NULL;
    if (f->models.n == f->centres.rows && f->centres.columns > 0)
        return f;
    err_set(e, "%u centroids and %zu models do not match", f->centres.rows, f->models.n);
    return NULL;
}

static void kmeans_pick(const struct select_in *in, struct arena *a, struct pick *out)
{
    const struct kmeans_file *f = in->trained;
    uint32_t n = 0, best = 0;
    float *x = trained_query(in, a, &n), least = INFINITY;
    if (!f || !x || n != f->centres.columns) {
        trained_choose(in, a, out, S(""), !f ? "no-table" : !x ? "no-embedding" : "dimension-mismatch");
        return;
    }
    for (uint32_t i = 0; i < f->centres.rows; i++) {
        float d = 0;
        for (uint32_t c = 0; c < n; c++)
            d += (x[c] - f->centres.v[(size_t)i * n + c]) * (x[c] - f->centres.v[(size_t)i * n + c]);
        if (d < least)
            least = d, best = i;
    }
    trained_choose(in, a, out, f->models.items[best], NULL);
}

const struct select_ops select_kmeans = {
    .name = "kmeans", .fields = FIELDS_NONE, .is_built = true, .pick = kmeans_pick, .load = kmeans_load,
    .file_key = "global.router.model_selection.ml.kmeans.pretrained_path", .reads_embedding = select_always,
};
