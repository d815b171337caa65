/* neural/kernel_amx_attention.c -- attention of one head at a time on AMX in bf16, float32 sums.
 *
 * 32 queries walk over all keys: scores in tiles of 32 x 32, e^score to bf16, times the values. The tiles take a third of the
 * time, the exponentials most of the rest, so these are what this file is about:
 *
 *   No running maximum. Softmax is the same whatever is subtracted, and |q| max|k| bounds a row's scores, known before the
 *   first product. e^-(bound - score) may be tiny, but bf16 has the exponents of a float: 180 binary orders of magnitude are
 *   free. Only if a row's sum nevertheless comes out near 0 are these 32 queries done again with their true maximum.
 *
 *   e^x in two instructions. With scores in units of 1/128 of a binary order, the integer next to one *is* a bf16 number's
 *   bits, but for the curve of 2^f between two powers: a permutation looks the 7 bits of the mantissa up (AVX-512 VBMI).
 *   Together with the rounding to bf16 this is exact to 0.5 %, and unbiased; sums are taken of the rounded numbers, so
 *   weights add up to 1.
 *
 * Packing two vectors of scores into one of bf16 interleaves keys by four; values are packed in that order, and nobody minds. */
#include "neural/kernel_tile.h"

#ifdef __x86_64__
#include <immintrin.h>
#include <math.h>

#include "neural/kernel_512.h"

enum {
    QUERIES = 2 * TILE_ROWS, KEYS = 32,             /* of a tile of scores */
    STRIP = 256,                                    /* keys between two products with the values */
    STEP = 32,                                      /* of d in a tile of queries or keys */
    AHEAD = 48,                                     /* rows: how far ahead they are fetched */
    LINES = 16,                                     /* of weights, fetched now and then */
};

#define UNITS 184.6649652f                          /* 128 / ln 2: units a nat */
#define TOP ((127 + 60) << 7)                       /* where the bound goes: 2^60, for room below; 2^75 is still a float */
#define SUM_MIN 0x1p-100f                           /* a row's sum below: too much may have been lost */

struct head {
    const float *q; size_t stride;
    const uint8_t *keys;                            /* [t / 16][steps] tiles: [16 pairs of d][16 keys] */
    const uint8_t *values;                          /* [columns][t / 32] tiles: [16 pairs of keys][16 of d] */
    float key_norm;                                 /* of the longest */
    size_t t, d, steps, columns, window;
    float scale;
    const float *bias;                              /* [t][t] or NULL */
    float *out; size_t out_stride;

    uint8_t *queries;                               /* [2][steps] tiles */
    float *scores;                                  /* [2][QUERIES][KEYS] */
    uint8_t *weights;                               /* [STRIP / KEYS][2] tiles: e^score */
    float *sums;                                    /* [QUERIES][16] partial sums of the weights */
    float *mixed;                                   /* [QUERIES][columns * 16] */
    _Alignas(64) float shift[QUERIES];              /* added to a score in units */
};

/* The mantissa of 2^(i / 128), 7 bits. */
static _Alignas(64) uint8_t mantissas[128];

void kernel_amx_attention_start(void)
{
    for (int i = 0; i < 128; i++) {
        long m = lrint(128 * (exp2(i / 128.0) - 1));
        mantissas[i] = (uint8_t)(m < 127 ? m : 127);
    }
}

/* ---- packing ---- */

/* A 16 x 16 matrix of 32-bit elements. Unrolled, or the compilers keep the rows in memory. */
static inline __attribute__((always_inline)) void transpose(__m512i r[16])
{
    __m512i s[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i += 2) {
        s[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        s[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(s[i], s[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(s[i], s[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(s[i + 1], s[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(s[i + 1], s[i + 3]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 4; i++) {
        s[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        s[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xDD);
        s[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        s[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xDD);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 8; i++) {
        r[i] = _mm512_shuffle_i32x4(s[i], s[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(s[i], s[i + 8], 0xDD);
    }
}

/* 32 elements of a row from column c on, 0 beyond d. */
static inline __m512i load_step(const float *row, size_t c, size_t d)
{
    size_t n = d - c;
    row += c;
    if (n >= STEP)
        return vec_bf16_fast(vec_load(row), vec_load(row + 16));
    return vec_bf16_fast(vec_load_n(row, n), n > 16 ? vec_load_n(row + 16, n - 16) : vec_set(0));
}

/* A head is a narrow column of a wide matrix: the hardware does not see what comes next. */
static inline void fetch_rows(const float *x, size_t stride, size_t from, size_t rows, size_t t, size_t d)
{
    for (size_t i = from; i < least(t, from + rows); i++)
        for (size_t c = 0; c < d; c += 16)
            __builtin_prefetch(x + i * stride + c);
}

/* sums[i] = the sum of v[i]. */
static inline vec sum_each(const vec v[16])
{
    __m512i r[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        r[i] = _mm512_castps_si512(v[i]);
    transpose(r);
    vec sum[4] = { vec_set(0), vec_set(0), vec_set(0), vec_set(0) };
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        sum[i % 4] = sum[i % 4] + (vec)_mm512_castsi512_ps(r[i]);
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* Returns the length of the longest key. */
static float pack_keys(const float *k, size_t stride, size_t t, size_t d, size_t steps, uint8_t *out)
{
    vec top = vec_set(0);
    for (size_t j = 0; j < round_up(t, KEYS); j += TILE_ROWS) {
        vec square = vec_set(0);
        fetch_rows(k, stride, j + AHEAD, TILE_ROWS, t, d);
        fetch_ahead(LINES);
        for (size_t step = 0; step < steps; step++, out += TILE_BYTES) {
            __m512i r[16];
            const float *rows = k + j * stride;
            if (j + 16 <= t && (step + 1) * STEP <= d) {
#pragma GCC unroll 16
                for (size_t i = 0; i < 16; i++, rows += stride)
                    r[i] = vec_bf16_fast(vec_load(rows + step * STEP), vec_load(rows + step * STEP + 16));
            } else {
#pragma GCC unroll 16
                for (size_t i = 0; i < 16; i++, rows += stride)
                    r[i] = j + i < t ? load_step(rows, step * STEP, d) : _mm512_setzero_si512();
            }
            transpose(r);
#pragma GCC unroll 16
            for (size_t i = 0; i < 16; i++) {
                square = vec_dot_bf16(square, r[i], r[i]);
                _mm512_store_si512(out + i * TILE_ROW_BYTES, r[i]);
            }
        }
        top = vec_max(top, square);
    }
    return sqrtf(vec_top(top));
}

static void pack_values(const float *v, size_t stride, size_t t, size_t d, size_t columns, uint8_t *out)
{
    const __m512i pairs = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,
                                           23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const size_t column_bytes = round_up(t, KEYS) / KEYS * TILE_BYTES;
    for (size_t j = 0; j < t; j += KEYS, out += TILE_BYTES) {
        fetch_rows(v, stride, j + AHEAD, KEYS, t, d);
        fetch_ahead(LINES);
        for (size_t i = 0; i < 16; i++) {
            size_t key = j + i / 4 * 4 + i % 2 * 2 + (i / 2 % 2 ? 16 : 0);     /* 0 1, 2 3, 16 17, 18 19, 4 5 ... */
            const float *row = v + key * stride;
            for (size_t c = 0; c < columns; c++) {
                size_t n = c * 16 < d ? d - c * 16 : 0;
                vec a = key < t ? vec_load_n(row + c * 16, n) : vec_set(0);
                vec b = key + 1 < t ? vec_load_n(row + stride + c * 16, n) : vec_set(0);
                _mm512_store_si512(out + c * column_bytes + i * TILE_ROW_BYTES,
                                   _mm512_permutexvar_epi16(pairs, vec_bf16_fast(a, b)));
            }
        }
    }
}

/* ---- 32 queries ---- */

/* Packs the queries and sets `shift` from the bound. */
static void begin_queries(struct head *h, size_t i, size_t rows)
{
    const float per_length = h->key_norm * fabsf(h->scale) * 1.001f;
    fetch_rows(h->q, h->stride, i + QUERIES, QUERIES, h->t, h->d);
    fetch_ahead(LINES);
    for (size_t half = 0; half * TILE_ROWS < rows; half++) {
        vec square[TILE_ROWS];
        for (size_t r = 0; r < TILE_ROWS; r++) {
            size_t row = half * TILE_ROWS + r;
            uint8_t *out = h->queries + half * h->steps * TILE_BYTES + r * TILE_ROW_BYTES;
            square[r] = vec_set(0);
            for (size_t step = 0; step < h->steps; step++, out += TILE_BYTES) {
                __m512i x = row < rows ? load_step(h->q + (i + row) * h->stride, step * STEP, h->d) : _mm512_setzero_si512();
                square[r] = vec_dot_bf16(square[r], x, x);
                _mm512_store_si512(out, x);
            }
        }
        vec bound = _mm512_sqrt_ps(sum_each(square)) * vec_set(per_length);
        vec_store(h->shift + half * TILE_ROWS, vec_fma(bound, vec_set(-UNITS), vec_set(TOP)));
    }
    if (h->bias)
        for (size_t r = 0; r < rows; r++) {
            const float *bias = h->bias + (i + r) * h->t;
            vec top = vec_set(-INFINITY);
            for (size_t j = 0; j < h->t; j += WIDTH)
                top = _mm512_mask_max_ps(top, first(h->t - j), top, vec_load_n(bias + j, h->t - j));
            h->shift[r] -= vec_top(top) * UNITS;
        }
}

/* Scores of 32 keys from j on. */
static inline void multiply_keys(const struct head *h, size_t j, bool tall)
{
    const uint8_t *q = h->queries, *k = h->keys + j / TILE_ROWS * h->steps * TILE_BYTES;
    const size_t other = h->steps * TILE_BYTES;
    TILE_ZERO(4);
    TILE_ZERO(5);
    if (tall) {
        TILE_ZERO(6);
        TILE_ZERO(7);
    }
    for (size_t step = 0; step < h->steps; step++, q += TILE_BYTES, k += TILE_BYTES) {
        TILE_LOAD(0, q, TILE_ROW_BYTES);
        TILE_LOAD(2, k, TILE_ROW_BYTES);
        TILE_LOAD(3, k + other, TILE_ROW_BYTES);
        TILE_BF16(4, 0, 2);
        TILE_BF16(5, 0, 3);
        if (tall) {
            TILE_LOAD(1, q + other, TILE_ROW_BYTES);
            TILE_BF16(6, 1, 2);
            TILE_BF16(7, 1, 3);
        }
    }
}

static inline void store_scores(float *to, bool tall)
{
    TILE_STORE(4, to, KEYS * 4);
    TILE_STORE(5, to + 16, KEYS * 4);
    if (tall) {
        TILE_STORE(6, to + TILE_ROWS * KEYS, KEYS * 4);
        TILE_STORE(7, to + TILE_ROWS * KEYS + 16, KEYS * 4);
    }
}

/* Which of the 32 keys from j on query i sees. */
static inline uint32_t seen(const struct head *h, size_t i, size_t j)
{
    size_t from = 0, to = h->t;
    if (h->window) {
        from = i > h->window ? i - h->window : 0;
        to = least(to, i + h->window + 1);
    }
    uint64_t below_to = to <= j ? 0 : (1ull << least(to - j, 32)) - 1;
    uint64_t below_from = from <= j ? 0 : (1ull << least(from - j, 32)) - 1;
    return (uint32_t)(below_to & ~below_from);
}

static inline bool all_seen(const struct head *h, size_t i, size_t rows, size_t j)
{
    return seen(h, i, j) == UINT32_MAX && seen(h, i + rows - 1, j) == UINT32_MAX;
}

/* Two vectors of scores in units, of query i with the keys from j on. */
static inline __attribute__((always_inline)) void score_units(const struct head *h, const float *score, vec unit, vec shift,
                                                              size_t i, size_t j, bool has_bias, vec *a, vec *b)
{
    *a = vec_fma(vec_load(score), unit, shift);
    *b = vec_fma(vec_load(score + 16), unit, shift);
    if (has_bias) {
        const float *bias = h->bias + i * h->t + j;
        size_t n = h->t - j;
        *a = vec_fma(vec_load_n(bias, n), vec_set(UNITS), *a);
        if (n > 16)
            *b = vec_fma(vec_load_n(bias + 16, n - 16), vec_set(UNITS), *b);
    }
}

/* e^score of 32 keys: a row of a tile of weights each query; their sums grow. */
static inline __attribute__((always_inline)) void exponentiate_rows(const struct head *h, const float *score, size_t i,
                                                                    size_t rows, size_t j, uint8_t *out, bool whole,
                                                                    bool has_bias)
{
    const __m512i low = _mm512_load_si512(mantissas), high = _mm512_load_si512(mantissas + 64);
    const __m512i exponent = _mm512_set1_epi16((short)0xFF80), ones = _mm512_set1_epi16(0x3F80);
    const vec unit = vec_set(h->scale * UNITS);
    const float *shift = h->shift;
    float *sums = h->sums;
    for (size_t r = 0; r < rows; r++, score += KEYS, out += TILE_ROW_BYTES, sums += 16) {
        vec a, b;
        score_units(h, score, unit, vec_set(shift[r]), i + r, j, has_bias, &a, &b);
        __m512i left = _mm512_cvtps_epi32(a), right = _mm512_cvtps_epi32(b);
        if (!whole) {
            uint32_t mask = seen(h, i + r, j);
            left = _mm512_maskz_mov_epi32((__mmask16)mask, left);
            right = _mm512_maskz_mov_epi32((__mmask16)(mask >> 16), right);
        }
        __m512i units = _mm512_packus_epi32(left, right), mantissa = units;     /* below 2^-126: 0 */
        __asm__("vpermi2b %2, %1, %0" : "+v"(mantissa) : "v"(low), "v"(high));
        __m512i weights = _mm512_ternarylogic_epi32(exponent, units, mantissa, 0xCA);   /* bits of exponent ? units : mantissa */
        _mm512_store_si512(out, weights);
        vec_store(sums, vec_dot_bf16(vec_load(sums), weights, ones));
    }
}

static void exponentiate(const struct head *h, const float *score, size_t i, size_t rows, size_t j, uint8_t *out)
{
    if (h->bias)
        exponentiate_rows(h, score, i, rows, j, out, false, true);
    else if (all_seen(h, i, rows, j))
        exponentiate_rows(h, score, i, rows, j, out, true, false);
    else
        exponentiate_rows(h, score, i, rows, j, out, false, false);
}

/* mixed += weights times values, of the keys from .. to. */
static void multiply_values(const struct head *h, size_t from, size_t to, bool tall)
{
    const size_t pitch = h->columns * 16, tiles = round_up(h->t, KEYS) / KEYS;
    for (size_t c = 0; c < h->columns; c += 2) {    /* columns are even */
        float *mixed = h->mixed + c * 16;
        const uint8_t *v = h->values + (c * tiles + from / KEYS) * TILE_BYTES, *w = h->weights;
        TILE_LOAD(4, mixed, pitch * 4);
        TILE_LOAD(5, mixed + 16, pitch * 4);
        if (tall) {
            TILE_LOAD(6, mixed + 16 * pitch, pitch * 4);
            TILE_LOAD(7, mixed + 16 * pitch + 16, pitch * 4);
        }
        for (size_t j = from; j < to; j += KEYS, v += TILE_BYTES, w += 2 * TILE_BYTES) {
            TILE_LOAD(0, w, TILE_ROW_BYTES);
            TILE_LOAD(2, v, TILE_ROW_BYTES);
            TILE_LOAD(3, v + tiles * TILE_BYTES, TILE_ROW_BYTES);
            TILE_BF16(4, 0, 2);
            TILE_BF16(5, 0, 3);
            if (tall) {
                TILE_LOAD(1, w + TILE_BYTES, TILE_ROW_BYTES);
                TILE_BF16(6, 1, 2);
                TILE_BF16(7, 1, 3);
            }
        }
        TILE_STORE(4, mixed, pitch * 4);
        TILE_STORE(5, mixed + 16, pitch * 4);
        if (tall) {
            TILE_STORE(6, mixed + 16 * pitch, pitch * 4);
            TILE_STORE(7, mixed + 16 * pitch + 16, pitch * 4);
        }
    }
}

/* The keys that some of the queries see: first multiple of 32, end. */
static void key_range(const struct head *h, size_t i, size_t rows, size_t *from, size_t *to)
{
    *from = h->window && i > h->window ? (i - h->window) / KEYS * KEYS : 0;
    *to = h->window ? least(h->t, i + rows + h->window) : h->t;
}

static void run_queries(const struct head *h, size_t i, size_t rows)
{
    const bool tall = rows > TILE_ROWS;
    size_t from, end;
    key_range(h, i, rows, &from, &end);
    fetch_ahead(LINES);
    memset(h->sums, 0, QUERIES * 16 * sizeof *h->sums);
    memset(h->mixed, 0, QUERIES * h->columns * 16 * sizeof *h->mixed);
    for (size_t to; from < end; from = to) {
        to = least(end, from + STRIP);
        multiply_keys(h, from, tall);
        store_scores(h->scores, tall);
        for (size_t j = from, n = 0; j < to; j += KEYS, n++) {  /* the next scores while these are exponentiated */
            const bool more = j + KEYS < to;
            if (more)
                multiply_keys(h, j + KEYS, tall);
            exponentiate(h, h->scores + n % 2 * QUERIES * KEYS, i, rows, j, h->weights + 2 * n * TILE_BYTES);
            if (more)
                store_scores(h->scores + (n + 1) % 2 * QUERIES * KEYS, tall);
        }
        multiply_values(h, from, to, tall);
    }
}

/* The true maximum of each row takes the place of the bound. */
static void find_maximum(struct head *h, size_t i, size_t rows)
{
    vec top[QUERIES];
    size_t from, end;
    key_range(h, i, rows, &from, &end);
    for (size_t r = 0; r < rows; r++)
        top[r] = vec_set(-INFINITY);
    for (size_t j = from; j < end; j += KEYS) {
        multiply_keys(h, j, rows > TILE_ROWS);
        store_scores(h->scores, rows > TILE_ROWS);
        for (size_t r = 0; r < rows; r++) {
            vec a, b;
            uint32_t mask = seen(h, i + r, j);
            score_units(h, h->scores + r * KEYS, vec_set(h->scale * UNITS), vec_set(0), i + r, j, h->bias != NULL, &a, &b);
            top[r] = _mm512_mask_max_ps(top[r], (__mmask16)mask, top[r], a);
            top[r] = _mm512_mask_max_ps(top[r], (__mmask16)(mask >> 16), top[r], b);
        }
    }
    for (size_t r = 0; r < rows; r++)
        h->shift[r] = TOP - vec_top(top[r]);
}

/* Divides by the sums and writes the result. False, when a sum is too small and `is_bound`: nothing is written. */
static bool end_queries(const struct head *h, size_t i, size_t rows, bool is_bound)
{
    _Alignas(64) float by[QUERIES];
    fetch_ahead(LINES);
    for (size_t r = 0; r < rows; r += 16) {
        vec sum = sum_each((const vec *)(const void *)(h->sums + r * 16));
        if (is_bound && (_mm512_cmp_ps_mask(sum, vec_set(SUM_MIN), _CMP_NGE_UQ) & first(rows - r)))
            return false;
        vec_store(by + r, vec_set(1) / sum);
    }
    for (size_t r = 0; r < rows; r++) {
        float *out = h->out + (i + r) * h->out_stride;
        const float *mixed = h->mixed + r * h->columns * 16;
        size_t c = 0;
        for (; c + 16 <= h->d; c += 16)
            vec_store(out + c, vec_load(mixed + c) * vec_set(by[r]));
        if (c < h->d)
            vec_store_n(out + c, vec_load(mixed + c) * vec_set(by[r]), h->d - c);
    }
    return true;
}

/* ---- the door ---- */

static size_t steps_of(size_t d)
{
    return round_up(d, STEP) / STEP;
}

size_t kernel_amx_attention_bytes(size_t t, size_t d)
{
    const size_t keys = round_up(t, KEYS), width = round_up(d, STEP);
    size_t bytes = 2 * keys * width * 2 + QUERIES * width * 2 + 2 * QUERIES * KEYS * 4 + QUERIES * STRIP * 2 + QUERIES * 16 * 4 +
                   QUERIES * width * 4;
    size_t f32 = kernel_avx512.attention_bytes(t, d);
    return bytes > f32 ? bytes : f32;
}

void kernel_amx_attention(enum precision precision, const float *q, const float *k, const float *v, size_t stride, size_t t,
                          size_t d, size_t head_from, size_t head_to, float scale, size_t window, const float *bias, float *out,
                          size_t out_stride, void *scratch)
{
    if (precision == PRECISION_F32) {
        kernel_avx512.attention(precision, q, k, v, stride, t, d, head_from, head_to, scale, window, bias, out, out_stride,
                                scratch);
        return;
    }
    const size_t width = round_up(d, STEP), packed = round_up(t, KEYS) * width * 2;
    uint8_t *keys = scratch, *values = keys + packed;
    struct head h = { .stride = stride, .keys = keys, .values = values, .t = t, .d = d, .steps = steps_of(d),
                      .columns = width / 16, .window = window, .scale = scale, .out_stride = out_stride };
    h.queries = values + packed;
    h.scores = (float *)(void *)(h.queries + QUERIES * width * 2);
    h.weights = (uint8_t *)(h.scores + 2 * QUERIES * KEYS);
    h.sums = (float *)(void *)(h.weights + QUERIES * STRIP * 2);
    h.mixed = h.sums + QUERIES * 16;

    TILES_BEGIN();
    for (size_t n = head_from; n < head_to; n++) {
        h.key_norm = pack_keys(k + n * d, stride, t, d, h.steps, keys);
        pack_values(v + n * d, stride, t, d, h.columns, values);
        h.q = q + n * d;
        h.out = out + n * d;
        h.bias = bias ? bias + n * t * t : NULL;
        for (size_t i = 0; i < t; i += QUERIES) {
            size_t rows = least(QUERIES, t - i);
            begin_queries(&h, i, rows);
            run_queries(&h, i, rows);
            if (!end_queries(&h, i, rows, true)) {
                find_maximum(&h, i, rows);
                run_queries(&h, i, rows);
                end_queries(&h, i, rows, false);
            }
        }
    }
    TILES_END();
}

#include "neural/kernel_512_end.h"
#endif
