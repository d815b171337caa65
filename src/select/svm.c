/* select/svm.c -- one support vector machine a model, against all others (spec 02, section 1.9). */
#include <math.h>

#include "base/vector.h"
#include "select/trained.h"

struct machine { str model; struct matrix vectors, alpha; double rho, gamma; };    /* linear: vectors is one row, the weights */

struct svm_file { struct machine *machines; uint32_t n; bool is_linear; };

static int machine_read(const struct json *j, jref at, bool is_linear, double gamma, struct arena *a, struct machine *m,
                        struct err *e)
{
    m->model = arena_str(a, json_str(j, json_get(j, at, S("model_name")), a));
    m->gamma = gamma;
    json_double(j, json_get(j, at, S("gamma")), &m->gamma);
    if (!json_double(j, json_get(j, at, S("rho")), &m->rho) || !(fabs(m->rho) < 1e30) || !(m->gamma >= 0 && m->gamma < 1e9))
        return err_set(e, "the machine of '" STR_FMT "' has no sensible rho and gamma", STR_ARG(m->model));
    if (is_linear)
        return trained_matrix(j, at, "weights", a, &m->vectors, e);
    if (trained_matrix(j, at, "support_vectors", a, &m->vectors, e) < 0 || trained_matrix(j, at, "alpha", a, &m->alpha, e) < 0)
        return -1;
    return m->alpha.columns == m->vectors.rows
        ? 0 : err_set(e, "the machine of '" STR_FMT "' has %u support vectors and %u weights",
                                                             STR_ARG(m->model), m->vectors.rows, m->alpha.columns);
}

static const void *svm_load(struct arena *a, str bytes, struct err *e)
{
    struct json j;
    struct svm_file *f = ARENA_NEW(a, struct svm_file);
    double gamma = 1;
    if (trained_open(a, bytes, "svm", &j, e) == JSON_NONE)
        return NULL;
    f->is_linear = !str_ieq(json_str(&j, json_get(&j, 0, S("kernel_type")), a), S("rbf"));
    json_double(&j, json_get(&j, 0, S("gamma")), &gamma);
    jref list = json_get(&j, 0, f->is_linear ? S("linear_classifiers") : S("rbf_classifiers"));
    if (!json_is(&j, list, JSON_ARRAY) || json_count(&j, list) == 0) {
        err_set(e, "no classifiers for its kernel");
        return NULL;
    }
    f->machines = ARENA_ARRAY(a, struct machine, json_count(&j, list));
    JSON_EACH_ITEM(&j, list, item) {
        if (!json_is(&j, item, JSON_OBJECT) || machine_read(&j, item, f->is_linear, gamma, a, &f->machines[f->n], e) < 0) {
            err_set(e, "classifier %u is no object", f->n + 1);
            return NULL;
        }
        if (f->machines[f->n].vectors.columns != f->machines[0].vectors.columns) {
            err_set(e, "the classifiers differ in dimension");
            return NULL;
        }
        f->n++;
    }
    return f;
}

static double machine_score(const struct svm_file *f, const struct machine *m, const float *x, uint32_t n)
{
    if (f->is_linear)
        return (double)vector_inner(m->vectors.v, x, n) - m->rho;
    double sum = -m->rho;
    for (uint32_t i = 0; i < m->vectors.rows; i++) {
        float d = 0;
        for (uint32_t c = 0; c < n; c++)
            d += (x[c] - m->vectors.v[(size_t)i * n + c]) * (x[c] - m->vectors.v[(size_t)i * n + c]);
        sum += (double)m->alpha.v[i] * exp(-m->gamma * (double)d);
    }
    return sum;
}

static void svm_pick(const struct select_in *in, struct arena *a, struct pick *out)
{
    const struct svm_file *f = in->trained;
    uint32_t n = 0, best = 0;
    float *x = trained_query(in, a, &n);
    if (!f || !x || n != f->machines[0].vectors.columns) {
        trained_choose(in, a, out, S(""), !f ? "no-table" : !x ? "no-embedding" : "dimension-mismatch");
        return;
    }
    vector_unit(x, n);
    double most = -HUGE_VAL;
    for (uint32_t i = 0; i < f->n; i++) {
        double score = machine_score(f, &f->machines[i], x, n);
        if (score > most)
            most = score, best = i;
    }
    trained_choose(in, a, out, f->machines[best].model, NULL);
}

const struct select_ops select_svm = {
    .name = "svm", .fields = FIELDS_NONE, .is_built = true, .pick = svm_pick, .load = svm_load,
    .file_key = "global.router.model_selection.ml.svm.pretrained_path", .reads_embedding = select_always,
};
