/* neural/kernel_loops.h -- the kernels that differ between vector sets in nothing but the width.
 *
 * A template: kernel_avx2.c and kernel_avx512.c say what a vector is and include this. Before:
 *
 *   vec, WIDTH                           a vector of floats; 8 or 16
 *   vec_set, vec_load, vec_store         all elements; any alignment
 *   vec_load_n, vec_store_n              the first n; the others read as 0
 *   vec_int(p)                           int32 from memory, as floats
 *   vec_fma(a, b, c)                     a * b + c
 *   vec_max, vec_min                     of a NaN and a number: the second
 *   vec_abs, vec_round, vec_sum, vec_top     top: largest element
 *   vec_ldexp(x, n)                      x * 2^n, n whole, >= -126
 *   vec_even(p), vec_odd(p)              the bf16 numbers at even and odd places, as floats
 *   prepare_step(format, x, by, zero, out)   one row's step: 64 floats times `by`, plus `zero`, to int8; or 32 floats to bf16
 *   INT8_MIN_DIGIT                       see kernel_prepare.h
 *   ROWS_F32, ROWS_PACKED                rows of the register tiles
 *   multiply_packed                      forward: see product() */

#include "neural/kernel_math.h"

struct finish_constants { char none; };
#define finish_begin(kind) (struct finish_constants){ 0 }
#define finish_activate(precision, kind, constants, x) ((void)(constants), vec_activate(kind, x))
#include "neural/kernel_finish.h"
#include "neural/kernel_prepare.h"

/* ---- products ---- */

/* tile[rows][2 vectors] = a [rows][k] times b, two columns of vectors, rows PANEL apart. All sums stay in registers. */
static inline __attribute__((always_inline)) void multiply_rows(int rows, const float *a, size_t stride, const float *b0,
                                                                const float *b1, size_t k, float *t0, float *t1)
{
    vec s0[ROWS_F32], s1[ROWS_F32];
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
        s0[r] = s1[r] = vec_set(0);
    for (size_t j = 0; j < k; j++, b0 += PANEL, b1 += PANEL) {
        vec x0 = vec_load(b0), x1 = vec_load(b1);
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) {
            vec broadcast = vec_set(a[(size_t)r * stride + j]);
            s0[r] = vec_fma(broadcast, x0, s0[r]);
            s1[r] = vec_fma(broadcast, x1, s1[r]);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
        vec_store(t0 + r * PAIR, s0[r]);
        vec_store(t1 + r * PAIR, s1[r]);
    }
}

static void multiply_vectors(size_t rows, const float *a, size_t stride, const float *b0, const float *b1, size_t k, float *t0,
                             float *t1)
{
    switch (rows) {
    case 1:  multiply_rows(1, a, stride, b0, b1, k, t0, t1); break;
    case 2:  multiply_rows(2, a, stride, b0, b1, k, t0, t1); break;
    case 3:  multiply_rows(3, a, stride, b0, b1, k, t0, t1); break;
    case 4:  multiply_rows(4, a, stride, b0, b1, k, t0, t1); break;
    case 5:  multiply_rows(5, a, stride, b0, b1, k, t0, t1); break;
    case 6:  multiply_rows(6, a, stride, b0, b1, k, t0, t1); break;
#if ROWS_F32 > 6
    case 7:  multiply_rows(7, a, stride, b0, b1, k, t0, t1); break;
    case 8:  multiply_rows(8, a, stride, b0, b1, k, t0, t1); break;
    case 9:  multiply_rows(9, a, stride, b0, b1, k, t0, t1); break;
    case 10: multiply_rows(10, a, stride, b0, b1, k, t0, t1); break;
    case 11: multiply_rows(11, a, stride, b0, b1, k, t0, t1); break;
    case 12: multiply_rows(12, a, stride, b0, b1, k, t0, t1); break;
#endif
    }
}

/* tile[rows][PAIR] = a [rows][k] times the panels b0 and b1. */
static inline void multiply_f32(size_t rows, const float *a, size_t stride, const float *b0, const float *b1, size_t k,
                                float *tile)
{
#if WIDTH == 16                                     /* = PANEL */
    multiply_vectors(rows, a, stride, b0, b1, k, tile, tile + PANEL);
#else
    multiply_vectors(rows, a, stride, b0, b0 + WIDTH, k, tile, tile + WIDTH);
    multiply_vectors(rows, a, stride, b1, b1 + WIDTH, k, tile + PANEL, tile + PANEL + WIDTH);
#endif
}

/* Rows that share a pass over the weights: as many as keep a part of A in half of a 1 MB second-level cache. */
static size_t chunk_rows(const struct matrix *w)
{
    size_t bytes = padded_k(w->precision, w->k) * 4 / group_of(w->precision);
    size_t rows = (512 << 10) / (bytes ? bytes : 1) / 48 * 48;
    return rows < 48 ? 48 : rows;
}

/* Blocks of nearly the same size, none above `max`: a last block of one row would cost as much as a full one. */
static inline size_t block_rows(size_t rows, size_t max)
{
    size_t blocks = (rows + max - 1) / max;
    return (rows + blocks - 1) / blocks;
}

/* The packed precisions: [rows][PAIR] sums of a block that does not cross a tile's 16 rows. */
static void multiply_packed(enum precision precision, size_t rows, const uint8_t *a, const uint8_t *b0, const uint8_t *b1,
                            size_t steps, float *tile);

static void product_pair(const struct finish *f, size_t pair, size_t from, size_t to)
{
    _Alignas(64) float tile[TILE_ROWS * PAIR];
    const struct matrix *w = f->w;
    const size_t bytes = panel_bytes(w->precision, w->k);
    const uint8_t *b0 = (const uint8_t *)w->packed + 2 * pair * bytes, *b1 = b0 + bytes;
    if (w->precision == PRECISION_F32) {
        size_t block = block_rows(to - from, ROWS_F32);
        for (size_t i = from; i < to; i += block) {
            size_t rows = least(block, to - i);
            multiply_f32(rows, f->x->f32 + i * f->x->stride, f->x->stride, (const float *)(const void *)b0,
                         (const float *)(const void *)b1, w->k, tile);
            finish(f, tile, pair, i, rows);
        }
        return;
    }
    const size_t steps = padded_k(w->precision, w->k) / step_of(w->precision);
    for (size_t at = from; at < to; at += TILE_ROWS) {      /* chunks begin at multiples of 16 */
        const uint8_t *a = (const uint8_t *)f->x->packed + at / TILE_ROWS * steps * TILE_BYTES;
        size_t end = least(to, at + TILE_ROWS), block = block_rows(end - at, ROWS_PACKED);
        for (size_t i = at; i < end; i += block) {
            size_t rows = least(block, end - i);
            multiply_packed(w->precision, rows, a + i % TILE_ROWS * TILE_ROW_BYTES, b0, b1, steps, tile);
            finish(f, tile, pair, i, rows);
        }
    }
}

static void product(const struct matrix *w, const struct rows *x, size_t from, size_t to, float *y, size_t y_stride,
                    const struct epilogue *e)
{
    const struct finish f = { .w = w, .x = x, .e = e, .y = y, .y_stride = y_stride, .to = to };
    const size_t chunk = chunk_rows(w), columns = pair_columns(w);
    for (size_t i = 0; i < x->m; i += chunk)
        for (size_t pair = from / columns; pair * columns < to; pair++)
            product_pair(&f, pair, i, least(x->m, i + chunk));
}

/* ---- norms and the like ---- */

/* Each stage of a row waits for the sum of the one before. So a few rows go through the stages together, and wait in each
 * other's shadow. */
enum { NORM_GROUP = 4 };

/* The mean of x, or of x + residual, which is left in x. */
static inline __attribute__((always_inline)) float norm_mean(float *sum, const float *x, const float *residual, size_t n)
{
    const size_t whole = n / WIDTH * WIDTH, rest = n - whole;
    vec total = vec_set(0);
    for (size_t j = 0; j < whole; j += WIDTH) {
        vec v = vec_load(x + j);
        if (residual) {
            v = v + vec_load(residual + j);
            vec_store(sum + j, v);
        }
        total = total + v;
    }
    if (rest) {
        vec v = vec_load_n(x + whole, rest);
        if (residual) {
            v = v + vec_load_n(residual + whole, rest);
            vec_store_n(sum + whole, v, rest);
        }
        total = total + v;
    }
    return vec_sum(total) / (float)n;
}

static inline float norm_deviation(const float *x, size_t n, float mean, float epsilon)     /* one over it */
{
    vec square = vec_set(0);
    size_t j = 0;
    for (; j + WIDTH <= n; j += WIDTH) {
        vec v = vec_load(x + j) - vec_set(mean);
        square = vec_fma(v, v, square);
    }
    float squares = vec_sum(square);
    for (; j < n; j++)
        squares += (x[j] - mean) * (x[j] - mean);
    return 1 / sqrtf(squares / (float)n + epsilon);
}

static inline void norm_write(const float *x, size_t n, float mean, float by, const float *gain, const float *bias, float *y)
{
    const vec zero = vec_set(0), middle = vec_set(mean), scale = vec_set(by);
    size_t j = 0;
    for (; j + WIDTH <= n; j += WIDTH)
        vec_store(y + j, vec_fma((vec_load(x + j) - middle) * scale, vec_load(gain + j), bias ? vec_load(bias + j) : zero));
    if (j < n)
        vec_store_n(y + j, vec_fma((vec_load_n(x + j, n - j) - middle) * scale, vec_load_n(gain + j, n - j),
                                   bias ? vec_load_n(bias + j, n - j) : zero), n - j);
}

/* sum: x itself, with a residual; else NULL. */
static inline __attribute__((always_inline)) void norm_rows(float *sum, const float *x, const float *residual, size_t m, size_t n,
                                                            const float *gain, const float *bias, float epsilon, float *y)
{
    for (size_t from = 0; from < m; from += NORM_GROUP) {
        const size_t rows = least(NORM_GROUP, m - from), at = from * n;
        float mean[NORM_GROUP], by[NORM_GROUP];
        for (size_t r = 0; r < rows; r++)
            mean[r] = norm_mean(sum ? sum + at + r * n : NULL, x + at + r * n, residual ? residual + at + r * n : NULL, n);
        for (size_t r = 0; r < rows; r++)
            by[r] = norm_deviation(x + at + r * n, n, mean[r], epsilon), fetch_ahead(n / 64);
        for (size_t r = 0; r < rows; r++)
            norm_write(x + at + r * n, n, mean[r], by[r], gain, bias, y + at + r * n), fetch_ahead(n / 64);
    }
}

static void loops_layer_norm(const float *x, size_t m, size_t n, const float *gain, const float *bias, float epsilon, float *y)
{
    norm_rows(NULL, x, NULL, m, n, gain, bias, epsilon, y);
}

static void loops_layer_norm_add(float *x, const float *residual, size_t m, size_t n, const float *gain, const float *bias,
                                 float epsilon, float *y)
{
    norm_rows(x, x, residual, m, n, gain, bias, epsilon, y);
}

/* x = e^(x - max); returns the sum. */
static float exp_all(float *x, size_t n, float max)
{
    vec sum = vec_set(0);
    size_t j = 0;
    for (; j + WIDTH <= n; j += WIDTH) {
        vec v = vec_exp(vec_load(x + j) - vec_set(max));
        vec_store(x + j, v);
        sum = sum + v;
    }
    float total = vec_sum(sum);
    if (j < n) {
        vec_store_n(x + j, vec_exp(vec_load_n(x + j, n - j) - vec_set(max)), n - j);
        for (; j < n; j++)
            total += x[j];
    }
    return total;
}

static float top_of(const float *x, size_t n)
{
    vec top = vec_set(-INFINITY);
    size_t j = 0;
    for (; j + WIDTH <= n; j += WIDTH)
        top = vec_max(vec_load(x + j), top);
    float max = vec_top(top);
    for (; j < n; j++)
        max = x[j] > max ? x[j] : max;
    return max;
}

static void scale_all(float *x, size_t n, float by)
{
    size_t j = 0;
    for (; j + WIDTH <= n; j += WIDTH)
        vec_store(x + j, vec_load(x + j) * vec_set(by));
    for (; j < n; j++)
        x[j] *= by;
}

static void loops_softmax(float *x, size_t n)
{
    scale_all(x, n, 1 / exp_all(x, n, top_of(x, n)));
}

static float loops_dot(const float *a, const float *b, size_t n)
{
    vec s0 = vec_set(0), s1 = s0;
    size_t j = 0;
    for (; j + 2 * WIDTH <= n; j += 2 * WIDTH) {
        s0 = vec_fma(vec_load(a + j), vec_load(b + j), s0);
        s1 = vec_fma(vec_load(a + j + WIDTH), vec_load(b + j + WIDTH), s1);
    }
    float sum = vec_sum(s0 + s1);
    for (; j < n; j++)
        sum += a[j] * b[j];
    return sum;
}

static void loops_mean(const float *rows, size_t m, size_t n, size_t stride, float *out)
{
    const float by = m ? 1 / (float)m : 0;
    for (size_t j = 0; j < n; j += WIDTH) {
        size_t width = least(WIDTH, n - j);
        vec s0 = vec_set(0), s1 = s0;
        size_t i = 0;
        for (; i + 2 <= m; i += 2) {
            const float *at = rows + i * stride + j;
            s0 = s0 + (width == WIDTH ? vec_load(at) : vec_load_n(at, width));
            s1 = s1 + (width == WIDTH ? vec_load(at + stride) : vec_load_n(at + stride, width));
        }
        if (i < m)
            s0 = s0 + vec_load_n(rows + i * stride + j, width);
        vec_store_n(out + j, (s0 + s1) * vec_set(by), width);
    }
}

static void loops_rotate(float *x, size_t stride, size_t t, size_t heads, size_t d, const uint32_t *positions, const float *table)
{
    const size_t half = d / 2;
    for (size_t i = 0; i < t; i++) {
        const float *cosine = table + positions[i] * d, *sine = cosine + half;
        for (size_t h = 0; h < heads; h++) {
            float *a = x + i * stride + h * d, *b = a + half;
            for (size_t j = 0; j < half; j += WIDTH) {
                size_t n = least(WIDTH, half - j);
                vec left = vec_load_n(a + j, n), right = vec_load_n(b + j, n);
                vec c = vec_load_n(cosine + j, n), s = vec_load_n(sine + j, n);
                vec_store_n(a + j, left * c - right * s, n);
                vec_store_n(b + j, right * c + left * s, n);
            }
        }
    }
}

/* ---- attention in float32 ----
 *
 * Keys of one head are packed like a weight matrix with t rows, values like one with d rows, so that both products are
 * multiply_f32. ROWS_F32 queries at a time walk over the keys in strips of KEYS, with the running maximum and sum of the
 * online softmax (Milakov and Gimelshein 2018; Dao et al. 2022): what was summed before is scaled when a strip raises the
 * maximum. */

enum { KEYS = 256 };

static size_t loops_attention_bytes(size_t t, size_t d)
{
    size_t keys = round_up(t, PAIR) * d, columns = round_up(d, PAIR);
    return (keys + t * columns + ROWS_F32 * (KEYS + columns)) * sizeof(float);
}

static void pack_keys(const float *k, size_t stride, size_t t, size_t d, float *out)
{
    for (size_t j = 0; j < round_up(t, PAIR); j++) {
        float *column = out + j / PANEL * d * PANEL + j % PANEL;
        for (size_t c = 0; c < d; c++)
            column[c * PANEL] = j < t ? k[j * stride + c] : 0;
    }
}

static void pack_values(const float *v, size_t stride, size_t t, size_t d, float *out)
{
    for (size_t c = 0; c < round_up(d, PAIR); c += PANEL)
        for (size_t j = 0; j < t; j++) {
            float *row = out + c / PANEL * t * PANEL + j * PANEL;
            size_t n = c < d ? least(PANEL, d - c) : 0;
            memcpy(row, v + j * stride + c, n * sizeof *row);
            memset(row + n, 0, (PANEL - n) * sizeof *row);
        }
}

struct attend {                                     /* one head */
    const float *q; size_t stride;
    const float *keys, *values;                     /* packed */
    float *score, *sum;                             /* [ROWS_F32][KEYS], [ROWS_F32][columns] */
    size_t t, d, window;
    float scale;
    const float *bias;                              /* [t][t] or NULL */
    float *out; size_t out_stride;
};

/* Scores of `rows` queries from i on with keys from .. to, scaled and biased. */
static void attend_scores(const struct attend *a, size_t i, size_t rows, size_t from, size_t to)
{
    _Alignas(64) float tile[ROWS_F32 * PAIR];
    for (size_t j = from; j < to; j += PAIR) {      /* from is a multiple of PAIR */
        const float *panel = a->keys + j * a->d;
        size_t n = least(PAIR, to - j);
        multiply_f32(rows, a->q + i * a->stride, a->stride, panel, panel + PANEL * a->d, a->d, tile);
        for (size_t r = 0; r < rows; r++) {
            float *s = a->score + r * KEYS + (j - from);
            const float *bias = a->bias ? a->bias + (i + r) * a->t + j : NULL;
            for (size_t c = 0; c < PAIR; c += WIDTH) {
                vec v = vec_load(tile + r * PAIR + c) * vec_set(a->scale);
                if (bias && c < n)
                    v = v + vec_load_n(bias + c, least(WIDTH, n - c));
                vec_store(s + c, v);
            }
        }
    }
}

static void attend_rows(const struct attend *a, size_t i, size_t rows)
{
    _Alignas(64) float tile[ROWS_F32 * PAIR];
    const size_t columns = round_up(a->d, PAIR);
    float *const score = a->score, *const sum = a->sum;
    float top[ROWS_F32], total[ROWS_F32];
    for (size_t r = 0; r < rows; r++) {
        top[r] = -INFINITY;
        total[r] = 0;
    }
    memset(sum, 0, rows * columns * sizeof *sum);

    size_t from = 0, end = a->t;
    if (a->window) {
        from = i > a->window ? (i - a->window) / PAIR * PAIR : 0;
        end = least(a->t, i + rows + a->window);
    }
    for (size_t to; from < end; from = to) {
        to = least(end, from + KEYS);
        attend_scores(a, i, rows, from, to);
        for (size_t r = 0; r < rows; r++) {
            float *s = score + r * KEYS;
            size_t low = 0, high = to - from;       /* what this row sees of the strip */
            if (a->window) {
                low = i + r > from + a->window ? least(high, i + r - a->window - from) : 0;
                high = i + r + a->window + 1 > from ? least(high, i + r + a->window + 1 - from) : 0;
                memset(s, 0, low * sizeof *s);
                memset(s + high, 0, (to - from - high) * sizeof *s);
            }
            if (low >= high)
                continue;
            float max = top_of(s + low, high - low);
            if (max > top[r]) {
                float by = expf(top[r] - max);      /* the first time 0 */
                scale_all(sum + r * columns, columns, by);
                total[r] *= by;
                top[r] = max;
            }
            total[r] += exp_all(s + low, high - low, top[r]);
        }
        for (size_t c = 0; c < columns; c += PAIR) {
            const float *panel = a->values + c * a->t + from * PANEL;
            multiply_f32(rows, score, KEYS, panel, panel + PANEL * a->t, to - from, tile);
            for (size_t r = 0; r < rows; r++)
                for (size_t v = 0; v < PAIR; v += WIDTH) {
                    float *at = sum + r * columns + c + v;
                    vec_store(at, vec_load(at) + vec_load(tile + r * PAIR + v));
                }
        }
    }
    for (size_t r = 0; r < rows; r++) {
        float *out = a->out + (i + r) * a->out_stride, by = 1 / total[r];
        for (size_t c = 0; c < a->d; c++)
            out[c] = sum[r * columns + c] * by;
    }
}

static void loops_attention(enum precision precision, const float *q, const float *k, const float *v, size_t stride, size_t t,
                            size_t d, size_t head_from, size_t head_to, float scale, size_t window, const float *bias, float *out,
                            size_t out_stride, void *scratch)
{
    (void)precision;
    float *keys = scratch, *values = keys + round_up(t, PAIR) * d, *score = values + t * round_up(d, PAIR);
    const size_t block = block_rows(t, ROWS_F32);
    for (size_t h = head_from; h < head_to; h++) {
        pack_keys(k + h * d, stride, t, d, keys);
        pack_values(v + h * d, stride, t, d, values);
        const struct attend a = { .q = q + h * d, .stride = stride, .keys = keys, .values = values, .score = score,
                                  .sum = score + ROWS_F32 * KEYS, .t = t, .d = d, .window = window, .scale = scale,
                                  .bias = bias ? bias + h * t * t : NULL, .out = out + h * d, .out_stride = out_stride };
        for (size_t i = 0; i < t; i += block)
            attend_rows(&a, i, least(block, t - i));
    }
}

#define KERNEL_LOOPS \
    { .layer_norm = loops_layer_norm, .layer_norm_add = loops_layer_norm_add, .softmax = loops_softmax, .dot = loops_dot, \
      .scale = scale_all, .mean = loops_mean, .rotate = loops_rotate }
