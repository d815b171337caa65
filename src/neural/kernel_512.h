/* neural/kernel_512.h -- a vector of 16 floats, for the sets that have AVX-512: what kernel_loops.h wants to be told of it. */
#ifndef SBX_KERNEL_512_H
#define SBX_KERNEL_512_H

#include <immintrin.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,prefer-vector-width=512")
#endif

#define WIDTH 16

typedef float vec __attribute__((vector_size(64)));

static inline vec vec_set(float f)
{
    return _mm512_set1_ps(f);
}

static inline vec vec_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline void vec_store(float *p, vec v)
{
    _mm512_storeu_ps(p, v);
}

static inline __mmask16 first(size_t n)
{
    return (__mmask16)((1u << (n < 16 ? n : 16)) - 1);
}

static inline vec vec_load_n(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps(first(n), p);
}

static inline void vec_store_n(float *p, vec v, size_t n)
{
    _mm512_mask_storeu_ps(p, first(n), v);
}

static inline vec vec_int(const float *p)
{
    return _mm512_cvtepi32_ps(_mm512_loadu_si512(p));
}

static inline vec vec_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline vec vec_max(vec a, vec b)
{
    return _mm512_max_ps(a, b);
}

static inline vec vec_min(vec a, vec b)
{
    return _mm512_min_ps(a, b);
}

static inline vec vec_abs(vec v)
{
    return _mm512_abs_ps(v);
}

static inline vec vec_round(vec v)
{
    return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline float vec_sum(vec v)
{
    return _mm512_reduce_add_ps(v);
}

static inline float vec_top(vec v)
{
    return _mm512_reduce_max_ps(v);
}

static inline vec vec_ldexp(vec x, vec n)
{
    return _mm512_scalef_ps(x, n);
}

static inline vec vec_even(const void *p)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16));
}

static inline vec vec_odd(const void *p)
{
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32((int)0xFFFF0000)));
}

/* 64 floats times `by`, to the nearest whole number, plus `zero`: 16 bits each, in the order of the lanes' packs. */
static inline __attribute__((always_inline)) void vec_digits(const float *x, float by, float zero, __m512i *low, __m512i *high)
{
    const __m512i shift = _mm512_set1_epi16((short)zero);
    const vec all = vec_set(by);
    __m512i a = _mm512_cvtps_epi32(vec_load(x) * all), b = _mm512_cvtps_epi32(vec_load(x + 16) * all);
    __m512i c = _mm512_cvtps_epi32(vec_load(x + 32) * all), d = _mm512_cvtps_epi32(vec_load(x + 48) * all);
    *low = _mm512_adds_epi16(_mm512_packs_epi32(a, b), shift);
    *high = _mm512_adds_epi16(_mm512_packs_epi32(c, d), shift);
}

/* Undoes what two packs do to the order of 64 bytes. */
static inline __m512i vec_unlane(__m512i bytes)
{
    return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), bytes);
}

/* The upper halves after rounding to the nearest, ties to even, in 32 bits each; a NaN stays one. */
static inline __m512i rounded_bf16(vec v)
{
    __m512i bits = _mm512_castps_si512(v), odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i up = _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF))), 16);
    return _mm512_mask_mov_epi32(up, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), _mm512_set1_epi32(0x7FC0));
}

static inline __m512i vec_bf16(vec low, vec high)
{
    __m256i a = _mm512_cvtepi32_epi16(rounded_bf16(low)), b = _mm512_cvtepi32_epi16(rounded_bf16(high));
    return _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1);
}

/* The same by AVX512_BF16; denormals become 0. */
static inline __m512i vec_bf16_fast(vec low, vec high)
{
    __m512i out;
    __asm__("vcvtne2ps2bf16 %1, %2, %0" : "=v"(out) : "v"(low), "v"(high));
    return out;
}

/* sum + the products of bf16 pairs. */
static inline vec vec_dot_bf16(vec sum, __m512i a, __m512i b)
{
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
}

#endif
