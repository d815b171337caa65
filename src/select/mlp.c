/* select/mlp.c -- a small feed-forward network over the embedding (spec 02, section 1.9): layers linear, relu, batch_norm;
 * dropout does nothing. */
#include <math.h>

#include "base/vector.h"
#include "select/trained.h"

enum layer_kind { LINEAR, RELU, NORM, NOTHING };

struct layer { enum layer_kind kind; struct matrix weight, bias, mean, variance; double epsilon; };

struct mlp_file { struct strings models; struct layer *layers; uint32_t n, in, widest; };

static int layer_read(const struct json *j, jref at, struct arena *a, struct layer *l, uint32_t *width, struct err *e)
{
    str kind = json_str(j, json_get(j, at, S("type")), a);
    if (str_eq(kind, S("relu")) || str_eq(kind, S("dropout"))) {
        l->kind = str_eq(kind, S("relu")) ? RELU : NOTHING;
        return 0;
    }
    bool is_linear = str_eq(kind, S("linear"));
    if (!is_linear && !str_eq(kind, S("batch_norm")))
        return err_set(e, "a layer has the type '" STR_FMT "'; there is linear, relu, batch_norm, dropout", STR_ARG(kind));
    l->kind = is_linear ? LINEAR : NORM;
    l->epsilon = 1e-5;
    json_double(j, json_get(j, at, S("eps")), &l->epsilon);
    if (trained_matrix(j, at, "weight", a, &l->weight, e) < 0 || trained_matrix(j, at, "bias", a, &l->bias, e) < 0)
        return -1;
    if (!is_linear && (trained_matrix(j, at, "running_mean", a, &l->mean, e) < 0 ||
                       trained_matrix(j, at, "running_var", a, &l->variance, e) < 0))
        return -1;
    bool fits = is_linear ? l->weight.columns == *width && l->bias.columns == l->weight.rows
                          : l->weight.columns == *width && l->bias.columns == *width && l->mean.columns == *width &&
                              l->variance.columns == *width;
    if (!fits)
        return err_set(e, "a layer of %u by %u behind a width of %u", l->weight.rows, l->weight.columns, *width);
    *width = is_linear ? l->weight.rows : *width;
    return 0;
}

static const void *mlp_load(struct arena *a, str bytes, struct err *e)
{
    struct json j;
    struct mlp_file *f = ARENA_NEW(a, struct mlp_file);
    int64_t in = 0;
    if (trained_open(a, bytes, "mlp", &j, e) == JSON_NONE || trained_names(&j, 0, "model_names", a, &f->models, e) < 0)
        return NULL;
    jref list = json_get(&j, 0, S("layers"));
    if (!json_int(&j, json_get(&j, 0, S("feature_dim")), &in) || in < 1 || in > 1 << 20 || !json_is(&j, list, JSON_ARRAY)) {
        err_set(e, "feature_dim or layers are missing");
        return NULL;
    }
    uint32_t width = (uint32_t)in;
    f->in = f->widest = width;
    f->layers = ARENA_ARRAY(a, struct layer, json_count(&j, list));
    JSON_EACH_ITEM(&j, list, item) {
        if (!json_is(&j, item, JSON_OBJECT) || layer_read(&j, item, a, &f->layers[f->n++], &width, e) < 0) {
            err_set(e, "layer %u is no object", f->n);
            return NULL;
        }
        f->widest = width > f->widest ? width : f->widest;
    }
    if (width == f->models.n && width > 0)
        return f;
    err_set(e, "%u outputs and %zu models do not match", width, f->models.n);
    return NULL;
}

static void layer_run(const struct layer *l, const float *x, float *y, uint32_t *width)
{
    uint32_t n = l->kind == LINEAR ? l->weight.rows : *width;
    for (uint32_t i = 0; i < n; i++) {
        switch (l->kind) {
        case LINEAR: y[i] = vector_inner(l->weight.v + (size_t)i * *width, x, *width) + l->bias.v[i]; break;
        case RELU: y[i] = fmaxf(x[i], 0); break;
        case NORM: y[i] = (x[i] - l->mean.v[i]) / sqrtf(fmaxf(l->variance.v[i], 0) + (float)l->epsilon) * l->weight.v[i] +
            l->bias.v[i]; break;
        case NOTHING: y[i] = x[i]; break;
        }
    }
    *width = n;
}

static void mlp_pick(const struct select_in *in, struct arena *a, struct pick *out)
{
    const struct mlp_file *f = in->trained;
    uint32_t n = 0, best = 0;
    float *query = trained_query(in, a, &n);
    if (!f || !query || n != f->in) {
        trained_choose(in, a, out, S(""), !f ? "no-table" : !query ? "no-embedding" : "dimension-mismatch");
        return;
    }
    float *x = ARENA_ARRAY(a, float, f->widest), *y = ARENA_ARRAY(a, float, f->widest);
    memcpy(x, query, n * sizeof *x);
    for (uint32_t i = 0; i < f->n; i++) {
        layer_run(&f->layers[i], x, y, &n);
        float *swap = x;
        x = y;
        y = swap;
    }
    for (uint32_t i = 1; i < n; i++)
        best = x[i] > x[best] ? i : best;
    trained_choose(in, a, out, f->models.items[best], NULL);
}

const struct select_ops select_mlp = {
    .name = "mlp", .fields = FIELDS_NONE, .is_built = true, .pick = mlp_pick, .load = mlp_load,
    .file_key = "global.router.model_selection.ml.mlp.pretrained_path", .reads_embedding = select_always,
};
