/* neural/kernel_avx2.c -- kernels for AVX2 and FMA: vectors of 8 floats, 16 registers.
 *
 * float32 tiles are 6 rows by 16 channels. int8 has no signed dot product here. VPMADDUBSW multiplies unsigned by signed and
 * adds pairs in 16 bits, saturating; with |a| as the unsigned and w with a's sign as the signed side, within 128 and 127, a
 * pair is at most 2 * 128 * 127 = 32512, so it never saturates and the sums are exact. AVX-VNNI, where the CPU has it, does
 * the same in one step. */
#include "neural/kernel_set.h"

#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>
#include <math.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

#define WIDTH 8
#define ROWS_F32 6
#define ROWS_PACKED 4
#define INT8_MIN_DIGIT -128

typedef float vec __attribute__((vector_size(32)));

static inline vec vec_set(float f)
{
    return _mm256_set1_ps(f);
}

static inline vec vec_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

static inline void vec_store(float *p, vec v)
{
    _mm256_storeu_ps(p, v);
}

static inline __m256i first(size_t n)
{
    static const int32_t mask[16] = { -1, -1, -1, -1, -1, -1, -1, -1 };
    return _mm256_loadu_si256((const __m256i *)(const void *)(mask + 8 - (n < 8 ? n : 8)));
}

static inline vec vec_load_n(const float *p, size_t n)
{
    return _mm256_maskload_ps(p, first(n));
}

static inline void vec_store_n(float *p, vec v, size_t n)
{
    _mm256_maskstore_ps(p, first(n), v);
}

static inline vec vec_int(const float *p)
{
    return _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

static inline vec vec_fma(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

static inline vec vec_max(vec a, vec b)
{
    return _mm256_max_ps(a, b);
}

static inline vec vec_min(vec a, vec b)
{
    return _mm256_min_ps(a, b);
}

static inline vec vec_abs(vec v)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v);
}

static inline vec vec_round(vec v)
{
    return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline float vec_sum(vec v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

static inline float vec_top(vec v)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

/* x * 2^n for n >= -126; in two factors, so that 2^128 may become infinity. */
static inline vec vec_ldexp(vec x, vec n)
{
    __m256i whole = _mm256_cvtps_epi32(_mm256_min_ps(vec_set(129), n)), half = _mm256_srai_epi32(whole, 1);
    const __m256i bias = _mm256_set1_epi32(127);
    vec a = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
    vec b = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(whole, half), bias), 23));
    return x * a * b;
}

static inline vec vec_even(const float *p)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p), 16));
}

static inline vec vec_odd(const float *p)
{
    return _mm256_and_ps(vec_load(p), _mm256_castsi256_ps(_mm256_set1_epi32((int)0xFFFF0000)));
}

static inline __m256i rounded(const float *x, vec by)
{
    return _mm256_cvtps_epi32(vec_load(x) * by);
}

static inline void prepare_step(unsigned format, const float *x, float by, float zero, uint8_t *out)
{
    if (format == PRECISION_BF16) {
        for (int i = 0; i < 32; i++)
            ((uint16_t *)(void *)out)[i] = bf16_of(x[i]);
        return;
    }
    const vec inverse = vec_set(by);
    const __m256i shift = _mm256_set1_epi16((short)zero);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);    /* undoes the lanes of the packs */
    for (int i = 0; i < 64; i += 32) {
        __m256i low = _mm256_adds_epi16(_mm256_packs_epi32(rounded(x + i, inverse), rounded(x + i + 8, inverse)), shift);
        __m256i high = _mm256_adds_epi16(_mm256_packs_epi32(rounded(x + i + 16, inverse), rounded(x + i + 24, inverse)), shift);
        __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
        _mm256_storeu_si256((__m256i *)(void *)(out + i), bytes);
    }
}

#include "neural/kernel_loops.h"

static bool has_vnni;

static inline __attribute__((always_inline)) __m256i dot4(__m256i sum, __m256i a_size, __m256i a, __m256i w, bool vnni)
{
    __m256i signed_w = _mm256_sign_epi8(w, a);
    if (vnni) {
        __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(a_size), "x"(signed_w));
        return sum;
    }
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a_size, signed_w), _mm256_set1_epi16(1)));
}

/* 16 channels of one panel. */
static inline __attribute__((always_inline)) void multiply_int8(int rows, const uint8_t *a, const uint8_t *b, size_t steps,
                                                                float *tile, bool vnni)
{
    __m256i s0[ROWS_PACKED], s1[ROWS_PACKED];
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
        s0[r] = s1[r] = _mm256_setzero_si256();
    for (size_t step = 0; step < steps; step++, a += TILE_BYTES)
        for (int g = 0; g < TILE_ROW_BYTES; g += 4, b += TILE_ROW_BYTES) {
            __m256i w0 = _mm256_load_si256((const __m256i *)(const void *)b);
            __m256i w1 = _mm256_load_si256((const __m256i *)(const void *)(b + 32));
#pragma GCC unroll 4
            for (int r = 0; r < rows; r++) {
                __m256i x = _mm256_set1_epi32(*(const int32_t *)(const void *)(a + r * TILE_ROW_BYTES + g));
                __m256i size = _mm256_abs_epi8(x);
                s0[r] = dot4(s0[r], size, x, w0, vnni);
                s1[r] = dot4(s1[r], size, x, w1, vnni);
            }
        }
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
        _mm256_storeu_si256((__m256i *)(void *)(tile + r * PAIR), s0[r]);
        _mm256_storeu_si256((__m256i *)(void *)(tile + r * PAIR + WIDTH), s1[r]);
    }
}

/* float32 arithmetic on bf16 numbers. */
static inline __attribute__((always_inline)) void multiply_bf16(int rows, const uint8_t *a, const uint8_t *b, size_t steps,
                                                                float *tile)
{
    vec s0[ROWS_PACKED], s1[ROWS_PACKED];
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
        s0[r] = s1[r] = vec_set(0);
    for (size_t step = 0; step < steps; step++, a += TILE_BYTES)
        for (int g = 0; g < TILE_ROW_BYTES; g += 4, b += TILE_ROW_BYTES) {
            const float *w = (const float *)(const void *)b;
            vec even0 = vec_even(w), odd0 = vec_odd(w), even1 = vec_even(w + WIDTH), odd1 = vec_odd(w + WIDTH);
#pragma GCC unroll 4
            for (int r = 0; r < rows; r++) {
                const uint16_t *x = (const uint16_t *)(const void *)(a + r * TILE_ROW_BYTES + g);
                vec even = vec_set(float_of(x[0])), odd = vec_set(float_of(x[1]));
                s0[r] = vec_fma(odd, odd0, vec_fma(even, even0, s0[r]));
                s1[r] = vec_fma(odd, odd1, vec_fma(even, even1, s1[r]));
            }
        }
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
        vec_store(tile + r * PAIR, s0[r]);
        vec_store(tile + r * PAIR + WIDTH, s1[r]);
    }
}

static inline __attribute__((always_inline)) void multiply_panel(enum precision precision, int rows, const uint8_t *a,
                                                                 const uint8_t *b, size_t steps, float *tile)
{
    if (precision == PRECISION_BF16)
        multiply_bf16(rows, a, b, steps, tile);
    else if (has_vnni)
        multiply_int8(rows, a, b, steps, tile, true);
    else
        multiply_int8(rows, a, b, steps, tile, false);
}

static void multiply_packed(enum precision precision, size_t rows, const uint8_t *a, const uint8_t *b0, const uint8_t *b1,
                            size_t steps, float *tile)
{
    for (int panel = 0; panel < 2; panel++, b0 = b1, tile += PANEL)
        switch (rows) {
        case 1: multiply_panel(precision, 1, a, b0, steps, tile); break;
        case 2: multiply_panel(precision, 2, a, b0, steps, tile); break;
        case 3: multiply_panel(precision, 3, a, b0, steps, tile); break;
        case 4: multiply_panel(precision, 4, a, b0, steps, tile); break;
        }
}

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

static bool is_there(void)
{
    __builtin_cpu_init();
    unsigned a, b, c, d;
    has_vnni = __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");     /* they ask XCR0 too */
}

static const struct kernel_loops loops = KERNEL_LOOPS;

const struct kernel_set kernel_avx2 = {
    .isa = ISA_AVX2,
    .best = PRECISION_INT8,
    .is_there = is_there,
    .prepare = prepare,
    .product = product,
    .attention_bytes = loops_attention_bytes,
    .attention = loops_attention,
    .loops = &loops,
};
#endif
