/* tests/unit/neural/random_model.h -- a model folder with random weights, for tests that compare an architecture with its formula
 * written down plainly, in doubles. */
#ifndef TEST_RANDOM_MODEL_H
#define TEST_RANDOM_MODEL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <math.h>

#include "neural/encoder.h"

enum { RANDOM_TENSORS_MAX = 256 };

struct random_model {
    char folder[64];
    struct tensor_out list[RANDOM_TENSORS_MAX];
    size_t n;
    uint64_t state;
    struct arena *a;
};

static inline struct random_model *model_new(void)
{
    struct random_model *m = calloc(1, sizeof *m);
    strcpy(m->folder, "/tmp/signalbox-model-XXXXXX");
    assert_non_null(mkdtemp(m->folder));
    m->a = arena_new();
    m->state = 88172645463325252u;
    return m;
}

static inline double model_random(struct random_model *m)      /* -1 .. 1, the same on every run */
{
    m->state ^= m->state << 13;
    m->state ^= m->state >> 7;
    m->state ^= m->state << 17;
    return (double)(m->state >> 11) * 0x1p-52 - 1;
}

/* Values around `mean`, at most `spread` away; rows and columns and depth 0: not a dimension. */
static inline void model_add(struct random_model *m, const char *name, size_t rows, size_t columns, size_t depth, double mean,
                             double spread)
{
    size_t n = rows * (columns ? columns : 1) * (depth ? depth : 1);
    float *data = arena_alloc(m->a, n * sizeof *data);
    for (size_t i = 0; i < n; i++)
        data[i] = (float)(mean + spread * model_random(m));
    assert_true(m->n < RANDOM_TENSORS_MAX);
    unsigned n_dims = depth ? 3 : columns ? 2 : 1;
    m->list[m->n++] = (struct tensor_out){ arena_str(m->a, str_of(name)), n_dims, { rows, columns, depth }, data };
}

static inline void model_norm(struct random_model *m, const char *name, size_t n, bool has_bias)
{
    model_add(m, arena_printf(m->a, "%s.weight", name).ptr, n, 0, 0, 1, 0.3);
    if (has_bias)
        model_add(m, arena_printf(m->a, "%s.bias", name).ptr, n, 0, 0, 0, 0.2);
}

static inline void model_linear(struct random_model *m, const char *name, size_t n, size_t k, bool has_bias)
{
    model_add(m, arena_printf(m->a, "%s.weight", name).ptr, n, k, 0, 0, sqrt(3.0 / (double)k));
    if (has_bias)
        model_add(m, arena_printf(m->a, "%s.bias", name).ptr, n, 0, 0, 0, 0.2);
}

static inline const float *model_find(const struct random_model *m, const char *name)     /* NULL: none */
{
    for (size_t i = 0; i < m->n; i++)
        if (str_eq(m->list[i].name, str_of(name)))
            return m->list[i].data;
    return NULL;
}

static inline void model_config(struct random_model *m, const char *config)
{
    FILE *f = fopen(arena_printf(m->a, "%s/config.json", m->folder).ptr, "w");
    assert_non_null(f);
    fputs(config, f);
    fclose(f);
}

static inline void model_write(struct random_model *m, const char *config)
{
    struct err e = { 0 };
    model_config(m, config);
    if (weights_write(arena_printf(m->a, "%s/model.safetensors", m->folder).ptr, m->list, m->n, NULL, &e) < 0)
        fail_msg("%s", e.text);
}

static inline void model_free(struct random_model *m)
{
    unlink(arena_printf(m->a, "%s/config.json", m->folder).ptr);
    unlink(arena_printf(m->a, "%s/model.safetensors", m->folder).ptr);
    rmdir(m->folder);
    arena_free(m->a);
    free(m);
}

static inline struct encoder *model_open(const struct random_model *m, struct encoder_options o)
{
    struct err e = { 0 };
    struct encoder *encoder = encoder_open(m->folder, &o, &e);
    if (!encoder)
        fail_msg("%s", e.text);
    return encoder;
}

/* The model must be refused with a sentence that contains `words`. */
static inline void model_refused(struct random_model *m, const char *config, const char *words)
{
    struct err e = { 0 };
    model_config(m, config);
    struct encoder *encoder = encoder_open(m->folder, &(struct encoder_options){ 0 }, &e);
    if (encoder)
        fail_msg("opened, though: %s", words);
    if (!strstr(e.text, words))
        fail_msg("\"%s\" does not say \"%s\"", e.text, words);
}

/* ---- layers, plainly: x is [t][n] ---- */

static inline void plain_linear(const struct random_model *m, const char *name, const double *x, size_t t, size_t n, size_t k,
                                double *y)
{
    const float *w = model_find(m, arena_printf(m->a, "%s.weight", name).ptr);
    const float *b = model_find(m, arena_printf(m->a, "%s.bias", name).ptr);
    assert_non_null(w);
    for (size_t i = 0; i < t; i++)
        for (size_t o = 0; o < n; o++) {
            double sum = b ? (double)b[o] : 0;
            for (size_t j = 0; j < k; j++)
                sum += (double)w[o * k + j] * x[i * k + j];
            y[i * n + o] = sum;
        }
}

static inline void plain_norm(const struct random_model *m, const char *name, const double *x, size_t t, size_t n, double epsilon,
                              double *y)
{
    const float *gain = model_find(m, arena_printf(m->a, "%s.weight", name).ptr);
    const float *b = model_find(m, arena_printf(m->a, "%s.bias", name).ptr);
    assert_non_null(gain);
    for (size_t i = 0; i < t; i++) {
        double mean = 0, var = 0;
        for (size_t j = 0; j < n; j++)
            mean += x[i * n + j] / (double)n;
        for (size_t j = 0; j < n; j++)
            var += (x[i * n + j] - mean) * (x[i * n + j] - mean) / (double)n;
        for (size_t j = 0; j < n; j++)
            y[i * n + j] = (x[i * n + j] - mean) / sqrt(var + epsilon) * (double)gain[j] + (b ? (double)b[j] : 0);
    }
}

static inline double plain_gelu(double x)
{
    return 0.5 * x * (1 + erf(x / sqrt(2)));
}

static inline void plain_softmax(double *x, size_t n)
{
    double top = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++)
        top = fmax(top, x[i]);
    for (size_t i = 0; i < n; i++)
        sum += x[i] = exp(x[i] - top);
    for (size_t i = 0; i < n; i++)
        x[i] /= sum;
}

static inline double largest_gap(const float *a, const double *b, size_t n)
{
    double gap = 0;
    for (size_t i = 0; i < n; i++)
        gap = fmax(gap, fabs((double)a[i] - b[i]));     /* a NaN in `a` is caught by the caller's cosine or by equality */
    return gap;
}

#endif
