/* Every instruction set that this machine has against the plain twin: odd sizes, strides, aliases, extreme values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "neural/kernel.h"

static uint32_t random_state;

static float noise(void)                            /* -1 .. 1 */
{
    random_state = random_state * 1664525u + 1013904223u;
    return (float)(int32_t)random_state / 2147483648.0f;
}

static __attribute__((noinline)) float *floats(size_t n, float size)
{
    float *x = calloc(n + 1, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = size * noise();
    return x;
}

static void *aligned(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 64) / 64 * 64);
    assert_non_null(p);
    memset(p, 0xA5, bytes);                         /* what is not written must not be read */
    return p;
}

static void use(enum isa i)
{
    struct err e = { 0 };
    assert_int_equal(kernel_use(i, &e), 0);
}

#define EACH_ISA(i) (enum isa i = ISA_AVX2; i < ISA_N; i++) if (isa_is_there(i))

static void expect_near(const float *got, const float *want, size_t n, double tolerance, const char *what, enum isa isa)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - (double)want[i]) <= tolerance * (1 + fabs((double)want[i])))) {
            fprintf(stderr, "%s, %s: element %zu is %.9g, not %.9g\n", isa_name(isa), what, i, (double)got[i], (double)want[i]);
            fail();
        }
}

/* ---- products ---- */

struct shape { size_t m, n, k; bool is_gated; };

static const struct shape shapes[] = {
    { 1, 1, 1, false },     { 1, 32, 64, false },   { 3, 33, 65, false },    { 5, 7, 3, false },       { 7, 100, 31, false },
    { 12, 64, 384, false }, { 13, 31, 129, false }, { 16, 48, 100, false },  { 17, 384, 384, false },  { 25, 95, 77, false },
    { 31, 16, 192, false }, { 33, 40, 1000, false }, { 48, 129, 33, false }, { 70, 50, 1537, false },  { 100, 64, 3072, false },
    { 1, 2, 5, true },      { 9, 64, 64, true },    { 16, 66, 40, true },    { 18, 190, 768, true },   { 35, 34, 129, true },
    { 130, 36, 20, true },  { 700, 40, 800, false },
};

struct source { const float *weight, *bias; };

static void product(enum isa isa, const struct source *from, enum precision p, const float *x, size_t stride,
                    const struct shape *s, float *y, size_t y_stride, const struct epilogue *e, size_t split)
{
    use(isa);
    void *scratch = aligned(rows_bytes(p, s->m, s->k));
    struct rows r;
    struct matrix w;
    assert_int_equal(matrix_pack(&w, p, from->weight, from->bias, (uint32_t)s->n, (uint32_t)s->k, s->is_gated), 0);
    size_t columns = s->is_gated ? s->n / 2 : s->n;
    rows_prepare(&r, p, x, stride, s->m, s->k, scratch);
    if (split < columns) {
        matrix_product(&w, &r, 0, split, y, y_stride, e);
        matrix_product(&w, &r, split, columns, y, y_stride, e);
    } else {
        matrix_product(&w, &r, 0, columns, y, y_stride, e);
    }
    free(scratch);
    matrix_free(&w);
}

static void products_equal_the_plain_twin(void **state)
{
    (void)state;
    static const double tolerance[PRECISION_N] = { 1e-4, 2e-4, 2e-4 };
    for (size_t i = 0; i < COUNT_OF(shapes); i++)
        for (unsigned p = 0; p < PRECISION_N; p++) {
            const struct shape *s = &shapes[i];
            size_t columns = s->is_gated ? s->n / 2 : s->n, stride = s->k + 3, y_stride = columns + 5;
            random_state = (uint32_t)i + 1;
            float *weight = floats(s->n * s->k, 2 / sqrtf((float)s->k)), *bias = floats(s->n, 1), *x = floats(s->m * stride, 2);
            float *residual = floats(s->m * y_stride, 3);
            float *want = floats(s->m * y_stride, 1), *got = malloc(s->m * y_stride * sizeof *got);
            struct epilogue e = { .activation = (enum activation)(i % 6), .residual = i % 2 ? residual : NULL,
                                  .residual_stride = y_stride };
            const struct source w = { weight, i % 3 ? bias : NULL };
            memcpy(got, want, s->m * y_stride * sizeof *got);
            product(ISA_PLAIN, &w, (enum precision)p, x, stride, s, want, y_stride, &e, SIZE_MAX);
            float *before = malloc(s->m * y_stride * sizeof *got);
            memcpy(before, got, s->m * y_stride * sizeof *got);
            for EACH_ISA (isa) {
                memcpy(got, before, s->m * y_stride * sizeof *got);
                product(isa, &w, (enum precision)p, x, stride, s, got, y_stride, &e, SIZE_MAX);
                expect_near(got, want, s->m * y_stride, tolerance[p], precision_name((enum precision)p), isa);  /* gaps too */

                memcpy(got, before, s->m * y_stride * sizeof *got);
                product(isa, &w, (enum precision)p, x, stride, s, got, y_stride, &e, KERNEL_COLUMNS);
                expect_near(got, want, s->m * y_stride, tolerance[p], "in two parts", isa);

                if (e.residual) {                   /* y is its own residual */
                    memcpy(got, residual, s->m * y_stride * sizeof *got);
                    e.residual = got;
                    product(isa, &w, (enum precision)p, x, stride, s, got, y_stride, &e, SIZE_MAX);
                    for (size_t row = 0; row < s->m; row++)
                        expect_near(got + row * y_stride, want + row * y_stride, columns, tolerance[p], "in place", isa);
                    e.residual = residual;
                }
            }
            free(weight), free(bias), free(x), free(residual), free(want), free(got), free(before);
        }
}

/* y = activation(x) alone: the matrix is the identity. */
static void activations_keep_their_bounds(void **state)
{
    (void)state;
    enum { M = 256, N = 32 };
    static float identity[N * N], x[M * N], y[M * N];
    for (size_t i = 0; i < N; i++)
        identity[i * N + i] = 1;
    for (size_t i = 0; i < M * N; i++)
        x[i] = -14 + 28 * (float)i / (M * N);
    x[0] = -1e30f, x[1] = 1e30f, x[2] = -100, x[3] = 100, x[4] = -0.0f, x[5] = 1e-30f;
    const struct shape s = { M, N, N, false };
    for (unsigned p = 0; p < 2; p++) {
        const struct source w = { identity, NULL };
        for EACH_ISA (isa)
            for (unsigned a = ACTIVATION_GELU; a <= ACTIVATION_TANH; a++) {
                const struct epilogue e = { .activation = (enum activation)a };
                product(isa, &w, (enum precision)p, x, N, &s, y, N, &e, SIZE_MAX);
                for (size_t i = 0; i < M * N; i++) {
                    float rounded = x[i];
                    if (p == PRECISION_BF16) {
                        uint32_t bits;
                        memcpy(&bits, &rounded, 4);
                        bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000;
                        memcpy(&rounded, &bits, 4);
                    }
                    double v = (double)rounded, want = 0;
                    switch (a) {
                    case ACTIVATION_GELU:      want = v / 2 * erfc(-v * M_SQRT1_2); break;
                    case ACTIVATION_GELU_TANH: want = v / (1 + exp(-2 * 0.7978845608 * (v + 0.044715 * v * v * v))); break;
                    case ACTIVATION_RELU:      want = v > 0 ? v : 0; break;
                    case ACTIVATION_SILU:      want = v / (1 + exp(-v)); break;
                    default:                   want = tanh(v);
                    }
                    double bound = p == PRECISION_BF16 ? 1.2e-4 : isa == ISA_AMX ? 1e-5 : 1e-6;    /* AMX: x keeps 17 bits */
                    if (!(fabs((double)y[i] - want) <= bound * fmax(1, fabs(want)))) {
                        fprintf(stderr, "%s, activation %u of %.9g is %.9g, not %.9g\n", isa_name(isa), a, v, (double)y[i], want);
                        fail();
                    }
                }
            }
    }
}

/* Small whole numbers: no rounding anywhere, so int8 products are exact to the last bit. */
static void int8_is_exact_where_digits_suffice(void **state)
{
    (void)state;
    enum { M = 19, N = 37, K = 700 };
    static float weight[N * K], x[M * K], y[M * N];
    random_state = 9;
    for (size_t i = 0; i < N * K; i++)
        weight[i] = i % K ? rintf(64 * noise()) : 127;      /* the largest, so that scales are 1 */
    for (size_t i = 0; i < M * K; i++)
        x[i] = i % K > 1 ? rintf(127 * noise()) : i % K ? 128 : -127;   /* 255 apart, likewise */
    const struct source w = { weight, NULL };
    const struct shape s = { M, N, K, false };
    for (enum isa isa = ISA_PLAIN; isa < ISA_N; isa++) {
        if (!isa_is_there(isa))
            continue;
        product(isa, &w, PRECISION_INT8, x, K, &s, y, N, NULL, SIZE_MAX);
        for (size_t i = 0; i < M; i++)
            for (size_t j = 0; j < N; j++) {
                double sum = 0;
                for (size_t c = 0; c < K; c++)
                    sum += (double)x[i * K + c] * (double)weight[j * K + c];
                assert_true(fabs((double)y[i * N + j] - sum) <= 1e-6 * fabs(sum));
            }
    }
}

static void strange_rows_harm_nobody_else(void **state)
{
    (void)state;
    enum { M = 20, N = 40, K = 130 };
    random_state = 4;
    float *weight = floats(N * K, 1), *x = floats(M * K, 1), y[M * N], clean[M * N];
    memset(weight + 3 * K, 0, K * sizeof *weight);  /* a channel of zeros */
    const struct shape s = { M, N, K, false };
    for (unsigned p = 0; p < PRECISION_N; p++) {
        const struct source w = { weight, NULL };
        for (enum isa isa = ISA_PLAIN; isa < ISA_N; isa++) {
            if (!isa_is_there(isa))
                continue;
            float *odd = malloc(M * K * sizeof *odd);
            memcpy(odd, x, M * K * sizeof *odd);
            for (size_t j = 0; j < K; j++) {
                odd[2 * K + j] = 0;
                odd[7 * K + j] = 1e-41f;            /* denormals */
                odd[9 * K + j] = 3e38f * noise();
            }
            odd[4 * K + 5] = NAN;
            odd[5 * K + 128] = INFINITY;
            odd[6 * K + 129] = -NAN;
            product(isa, &w, (enum precision)p, x, K, &s, clean, N, NULL, SIZE_MAX);
            product(isa, &w, (enum precision)p, odd, K, &s, y, N, &(struct epilogue){ .activation = ACTIVATION_NONE }, SIZE_MAX);
            for (size_t i = 0; i < M; i++)
                for (size_t j = 0; j < N; j++) {
                    float got = y[i * N + j];
                    if (i == 2 || i == 7)
                        assert_true(fabsf(got) < 1e-30f);
                    else if (i == 4 || i == 6)
                        assert_true(got != got);
                    else if (i == 5)
                        assert_true(j == 3 || !(fabsf(got) < INFINITY));
                    else if (i != 9)
                        assert_true(got == clean[i * N + j]);
                }
            free(odd);
        }
    }
    free(weight), free(x);
}

static void int8_and_bf16_are_near_float32(void **state)
{
    (void)state;
    enum { M = 33, N = 96, K = 384 };
    random_state = 5;
    float *weight = floats(N * K, 0.1f), *x = floats(M * K, 3), y[PRECISION_N][M * N];
    const struct shape s = { M, N, K, false };
    for (enum isa isa = ISA_PLAIN; isa < ISA_N; isa++) {
        if (!isa_is_there(isa))
            continue;
        for (unsigned p = 0; p < PRECISION_N; p++) {
            const struct source w = { weight, NULL };
            product(isa, &w, (enum precision)p, x, K, &s, y[p], N, NULL, SIZE_MAX);
        }
        for (unsigned p = 1; p < PRECISION_N; p++) {
            double dot = 0, a = 0, b = 0;
            for (size_t i = 0; i < M * N; i++) {
                dot += (double)y[0][i] * (double)y[p][i];
                a += (double)y[0][i] * (double)y[0][i];
                b += (double)y[p][i] * (double)y[p][i];
            }
            assert_true(dot / sqrt(a * b) > (p == PRECISION_BF16 ? 0.99999 : 0.9998));
        }
    }
    free(weight), free(x);
}

/* ---- attention ---- */

struct attention_case { size_t t, d, heads, window; bool has_bias; float size; };

static const struct attention_case attention_cases[] = {
    { 1, 32, 1, 0, false, 1 },   { 2, 32, 2, 0, true, 1 },     { 16, 32, 3, 0, false, 2 },   { 17, 64, 2, 0, false, 1 },
    { 31, 24, 2, 0, false, 1 },  { 32, 80, 1, 0, true, 1 },    { 33, 7, 2, 0, false, 1 },    { 100, 33, 2, 0, true, 1 },
    { 257, 64, 2, 0, false, 1 }, { 300, 32, 1, 0, true, 3 },   { 530, 16, 1, 0, false, 1 },  { 40, 32, 1, 1, false, 1 },
    { 200, 64, 2, 64, false, 1 }, { 700, 32, 1, 64, false, 2 }, { 300, 48, 1, 5, true, 1 },   { 65, 128, 1, 1000, false, 1 },
    { 64, 32, 2, 0, false, 40 }, { 300, 64, 1, 0, false, 60 }, { 300, 64, 1, 20, true, 60 },    /* scores of many thousands */
};

static void attention_equals_the_plain_twin(void **state)
{
    (void)state;
    for (size_t c = 0; c < COUNT_OF(attention_cases); c++) {
        const struct attention_case *a = &attention_cases[c];
        random_state = (uint32_t)c + 77;
        size_t hidden = a->heads * a->d, stride = 3 * hidden + 1, out_stride = hidden + 2;
        float *qkv = floats(a->t * stride, a->size), *bias = floats(a->heads * a->t * a->t, 2);
        float *want = floats(a->t * out_stride, 1), *got = malloc(a->t * out_stride * sizeof *got);
        memcpy(got, want, a->t * out_stride * sizeof *got);
        float scale = 1 / sqrtf((float)a->d);
        for (unsigned p = 0; p < PRECISION_N; p++) {
            use(ISA_PLAIN);
            void *scratch = aligned(attention_bytes(a->t, a->d));
            attention((enum precision)p, qkv, qkv + hidden, qkv + 2 * hidden, stride, a->t, a->d, 0, a->heads, scale, a->window,
                      a->has_bias ? bias : NULL, want, out_stride, scratch);
            free(scratch);
            for EACH_ISA (isa) {
                use(isa);
                scratch = aligned(attention_bytes(a->t, a->d));
                for (size_t h = 0; h < a->heads; h++)   /* as threads would split them */
                    attention((enum precision)p, qkv, qkv + hidden, qkv + 2 * hidden, stride, a->t, a->d, h, h + 1, scale,
                              a->window, a->has_bias ? bias : NULL, got, out_stride, scratch);
                const bool in_floats = p == PRECISION_F32 || isa != ISA_AMX;
                double tolerance = in_floats ? 1e-4 * (double)fmaxf(1, a->size / 10) : 2e-2 * (double)a->size;
                if (a->size < 10 || in_floats)
                    expect_near(got, want, a->t * out_stride, tolerance, "attention", isa);
                else                                /* a hard maximum, of scores rounded to bf16: some value, or between two */
                    for (size_t i = 0; i < a->t * out_stride; i++)
                        assert_true(fabsf(got[i]) <= a->size * 1.01f);
                free(scratch);
            }
        }
        free(qkv), free(bias), free(want), free(got);
    }
}

/* A key so long that the bound of all other rows' scores is useless: the true maximum must come to the rescue. */
static void attention_survives_a_giant_key(void **state)
{
    (void)state;
    enum { T = 70, D = 32 };
    random_state = 3;
    float *q = floats(T * D, 1), *k = floats(T * D, 1), *v = floats(T * D, 1), want[T * D], got[T * D];
    for (size_t i = 0; i < T; i++)
        for (size_t c = 0; c < D; c++) {
            q[i * D + c] = c ? q[i * D + c] : 8;
            k[5 * D + c] = c ? 0 : -400;            /* far away from every query */
        }
    use(ISA_PLAIN);
    void *scratch = aligned(attention_bytes(T, D));
    attention(PRECISION_BF16, q, k, v, D, T, D, 0, 1, 0.2f, 0, NULL, want, D, scratch);
    free(scratch);
    for EACH_ISA (isa) {
        use(isa);
        scratch = aligned(attention_bytes(T, D));
        attention(PRECISION_BF16, q, k, v, D, T, D, 0, 1, 0.2f, 0, NULL, got, D, scratch);
        expect_near(got, want, T * D, 2e-2, "giant key", isa);
        free(scratch);
    }
    free(q), free(k), free(v);
}

static void attention_survives_nan(void **state)
{
    (void)state;
    enum { T = 40, D = 32 };
    random_state = 3;
    float *x = floats(T * D, 1), y[T * D];
    x[7 * D + 3] = NAN;
    for (enum isa isa = ISA_PLAIN; isa < ISA_N; isa++) {
        if (!isa_is_there(isa))
            continue;
        for (unsigned p = 0; p < PRECISION_N; p++) {
            use(isa);
            void *scratch = aligned(attention_bytes(T, D));
            attention((enum precision)p, x, x, x, D, T, D, 0, 1, 0.2f, 0, NULL, y, D, scratch);
            assert_true(y[7 * D + 3] != y[7 * D + 3]);
            free(scratch);
        }
    }
    free(x);
}

/* ---- the loops around them ---- */

static void loops_equal_the_plain_twin(void **state)
{
    (void)state;
    static const size_t widths[] = { 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 384, 385, 768, 1023 };
    enum { M = 5 };
    for (size_t c = 0; c < COUNT_OF(widths); c++) {
        size_t n = widths[c];
        random_state = (uint32_t)c + 5;
        float *x = floats(M * n, 2), *residual = floats(M * n, 2), *gain = floats(n, 1), *bias = floats(n, 1);
        float *want = floats(M * n, 1), *got = floats(M * n, 1), *sum_want = floats(M * n, 1), *sum_got = floats(M * n, 1);
        for (size_t j = 0; j < n; j++)
            x[n * (M - 1) + j] += 1000;             /* a mean that is large beside the variance */
        for EACH_ISA (isa)
            for (int has_bias = 0; has_bias < 2; has_bias++) {
                const float *b = has_bias ? bias : NULL;
                use(ISA_PLAIN);
                layer_norm(x, M, n, gain, b, 1e-5f, want);
                use(isa);
                layer_norm(x, M, n, gain, b, 1e-5f, got);
                expect_near(got, want, (M - 1) * n, 1e-5, "layer_norm", isa);
                expect_near(got, want, M * n, 1e-3, "layer_norm far from 0", isa);
                memcpy(got, x, M * n * sizeof *x);
                layer_norm(got, M, n, gain, b, 1e-5f, got);
                expect_near(got, want, (M - 1) * n, 1e-5, "layer_norm in place", isa);

                memcpy(sum_want, x, M * n * sizeof *x);
                memcpy(sum_got, x, M * n * sizeof *x);
                layer_norm_add(sum_got, residual, M, n, gain, b, 1e-5f, got);
                use(ISA_PLAIN);
                layer_norm_add(sum_want, residual, M, n, gain, b, 1e-5f, want);
                expect_near(sum_got, sum_want, M * n, 1e-6, "layer_norm_add's sum", isa);
                expect_near(got, want, (M - 1) * n, 1e-5, "layer_norm_add", isa);

                memcpy(want, x, n * sizeof *x);
                memcpy(got, x, n * sizeof *x);
                softmax(want, n);
                use(isa);
                softmax(got, n);
                expect_near(got, want, n, 1e-6, "softmax", isa);
                vector_normalise(got, n);
                float dot = vector_dot(got, got, n);
                assert_true(fabsf(dot - 1) < 1e-5f);
                memset(got, 0, n * sizeof *got);
                vector_normalise(got, n);
                assert_true(got[0] == 0);
                vector_mean(x, M - 1, n - n / 3, n, got);
                use(ISA_PLAIN);
                vector_mean(x, M - 1, n - n / 3, n, want);
                expect_near(got, want, n - n / 3, 1e-6, "vector_mean", isa);
            }
        free(x), free(residual), free(gain), free(bias), free(want), free(got), free(sum_want), free(sum_got);
    }
}

static void rotation_equals_the_plain_twin(void **state)
{
    (void)state;
    enum { T = 11, HEADS = 3, POSITIONS = 40 };
    static const size_t sizes[] = { 2, 16, 24, 32, 64, 66 };
    for (size_t c = 0; c < COUNT_OF(sizes); c++) {
        size_t d = sizes[c], stride = HEADS * d + 3;
        float *x = floats(T * stride, 1), *want = malloc(T * stride * sizeof *x), *got = malloc(T * stride * sizeof *x);
        float *table = floats(POSITIONS * d, 1);
        uint32_t positions[T];
        for (size_t i = 0; i < T; i++)
            positions[i] = (uint32_t)(i * 7 % POSITIONS);
        memcpy(want, x, T * stride * sizeof *x);
        use(ISA_PLAIN);
        rotate(want, stride, T, HEADS, d, positions, table);
        for EACH_ISA (isa) {
            memcpy(got, x, T * stride * sizeof *x);
            use(isa);
            rotate(got, stride, T, HEADS, d, positions, table);
            expect_near(got, want, T * stride, 1e-6, "rotate", isa);
        }
        free(x), free(want), free(got), free(table);
    }
}

/* ---- the choice ---- */

static void every_set_passes_its_self_check(void **state)
{
    (void)state;
    for (enum isa isa = ISA_PLAIN; isa < ISA_N; isa++) {
        struct err e = { 0 };
        if (!isa_is_there(isa)) {
            assert_int_equal(kernel_use(isa, &e), -1);
            assert_non_null(strstr(e.text, "not available"));
            continue;
        }
        use(isa);
        assert_int_equal(kernel_isa(), isa);
        if (kernel_self_check(&e) < 0)
            fail_msg("%s", e.text);
    }
}

static void environment_overrides_the_best(void **state)
{
    (void)state;
    struct err e = { 0 };
    char before[32] = "";
    const char *kept = getenv("SBX_ISA");
    if (kept)
        snprintf(before, sizeof before, "%s", kept);
    setenv("SBX_ISA", "plain", 1);
    assert_int_equal(kernel_use(ISA_N, &e), 0);
    assert_int_equal(kernel_isa(), ISA_PLAIN);
    assert_int_equal(kernel_best_precision(), PRECISION_F32);
    setenv("SBX_ISA", "sse9", 1);
    assert_int_equal(kernel_use(ISA_N, &e), -1);
    assert_non_null(strstr(e.text, "sse9"));
    unsetenv("SBX_ISA");
    assert_int_equal(kernel_use(ISA_N, &e), 0);
    if (*before)
        setenv("SBX_ISA", before, 1);
}

static void names_go_both_ways(void **state)
{
    (void)state;
    enum isa isa;
    enum precision p;
    for (unsigned i = 0; i < ISA_N; i++)
        assert_true(isa_by_name(str_of(isa_name((enum isa)i)), &isa) && isa == (enum isa)i);
    for (unsigned i = 0; i < PRECISION_N; i++)
        assert_true(precision_by_name(str_of(precision_name((enum precision)i)), &p) && p == (enum precision)i);
    assert_false(isa_by_name(S("mmx"), &isa));
    assert_false(precision_by_name(S("int4"), &p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_set_passes_its_self_check),
        cmocka_unit_test(environment_overrides_the_best),
        cmocka_unit_test(names_go_both_ways),
        cmocka_unit_test(products_equal_the_plain_twin),
        cmocka_unit_test(activations_keep_their_bounds),
        cmocka_unit_test(int8_is_exact_where_digits_suffice),
        cmocka_unit_test(strange_rows_harm_nobody_else),
        cmocka_unit_test(int8_and_bf16_are_near_float32),
        cmocka_unit_test(attention_equals_the_plain_twin),
        cmocka_unit_test(attention_survives_a_giant_key),
        cmocka_unit_test(attention_survives_nan),
        cmocka_unit_test(loops_equal_the_plain_twin),
        cmocka_unit_test(rotation_equals_the_plain_twin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
