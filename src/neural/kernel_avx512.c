/* neural/kernel_avx512.c -- kernels for AVX-512 (F, BW, VL, DQ) with VNNI: vectors of 16 floats, 32 registers.
 *
 * float32 tiles are 12 rows by 32 channels. int8 goes through VPDPBUSD, unsigned activations by signed weights. bf16 uses
 * VDPBF16PS where the CPU has it and else float32 arithmetic.
 *
 * gcc 12 keeps the int8 sums on the stack, a third of the speed, unless they are named variables and the instruction is inline
 * assembly. That is why they are spelled out. */
#include "neural/kernel_set.h"

#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>
#include <math.h>

#include "neural/kernel_512.h"

#define ROWS_F32 12
#define ROWS_PACKED 8
#define INT8_MIN_DIGIT 0

static inline void prepare_step(unsigned format, const float *x, float by, float zero, uint8_t *out)
{
    if (format == PRECISION_INT8) {
        __m512i low, high;
        vec_digits(x, by, zero, &low, &high);
        _mm512_store_si512(out, vec_unlane(_mm512_packus_epi16(low, high)));
    } else {
        _mm512_store_si512(out, vec_bf16(vec_load(x), vec_load(x + 16)));
    }
}

#include "neural/kernel_loops.h"

static bool has_bf16;

#define EACH_ROW(do) do(0) do(1) do(2) do(3) do(4) do(5) do(6) do(7)

/* sum += u8 . s8, four at a time; "a" is unsigned. */
#define DOT4(sum, a, w) __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(w))
#define DOT2(sum, a, w) __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(w))

#define BEGIN_ROW(r) __m512i s0_##r = _mm512_setzero_si512(), s1_##r = s0_##r;
#define END_ROW(r) \
    if (rows > r) { \
        _mm512_store_si512(tile + r * PAIR, s0_##r); \
        _mm512_store_si512(tile + r * PAIR + PANEL, s1_##r); \
    }
#define DOT4_ROW(r) \
    if (rows > r) { \
        __m512i x = _mm512_set1_epi32(*(const int32_t *)(const void *)(a + r * TILE_ROW_BYTES + g)); \
        DOT4(s0_##r, x, w0); \
        DOT4(s1_##r, x, w1); \
    }
#define DOT2_ROW(r) \
    if (rows > r) { \
        __m512i x = _mm512_set1_epi32(*(const int32_t *)(const void *)(a + r * TILE_ROW_BYTES + g)); \
        DOT2(s0_##r, x, w0); \
        DOT2(s1_##r, x, w1); \
    }

/* tile[rows][PAIR] */
static inline __attribute__((always_inline)) void multiply_dot(bool is_int8, int rows, const uint8_t *a, const uint8_t *b0,
                                                               const uint8_t *b1, size_t steps, float *tile)
{
    EACH_ROW(BEGIN_ROW)
    for (size_t step = 0; step < steps; step++, a += TILE_BYTES)
        for (int g = 0; g < TILE_ROW_BYTES; g += 4, b0 += TILE_ROW_BYTES, b1 += TILE_ROW_BYTES) {
            __m512i w0 = _mm512_load_si512(b0), w1 = _mm512_load_si512(b1);
            if (is_int8) {
                EACH_ROW(DOT4_ROW)
            } else {
                EACH_ROW(DOT2_ROW)
            }
        }
    EACH_ROW(END_ROW)
}

/* Without VDPBF16PS. */
static inline __attribute__((always_inline)) void multiply_bf16(int rows, const uint8_t *a, const uint8_t *b0, const uint8_t *b1,
                                                                size_t steps, float *tile)
{
    vec s0[ROWS_PACKED], s1[ROWS_PACKED];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
        s0[r] = s1[r] = vec_set(0);
    for (size_t step = 0; step < steps; step++, a += TILE_BYTES)
        for (int g = 0; g < TILE_ROW_BYTES; g += 4, b0 += TILE_ROW_BYTES, b1 += TILE_ROW_BYTES) {
            vec even0 = vec_even(b0), odd0 = vec_odd(b0), even1 = vec_even(b1), odd1 = vec_odd(b1);
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) {
                const uint16_t *x = (const uint16_t *)(const void *)(a + r * TILE_ROW_BYTES + g);
                vec even = vec_set(float_of(x[0])), odd = vec_set(float_of(x[1]));
                s0[r] = vec_fma(odd, odd0, vec_fma(even, even0, s0[r]));
                s1[r] = vec_fma(odd, odd1, vec_fma(even, even1, s1[r]));
            }
        }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        vec_store(tile + r * PAIR, s0[r]);
        vec_store(tile + r * PAIR + PANEL, s1[r]);
    }
}

static inline __attribute__((always_inline)) void multiply_kind(enum precision precision, int rows, const uint8_t *a,
                                                                const uint8_t *b0, const uint8_t *b1, size_t steps,
                                                                float *tile)
{
    if (precision == PRECISION_INT8)
        multiply_dot(true, rows, a, b0, b1, steps, tile);
    else if (has_bf16)
        multiply_dot(false, rows, a, b0, b1, steps, tile);
    else
        multiply_bf16(rows, a, b0, b1, steps, tile);
}

static void multiply_packed(enum precision precision, size_t rows, const uint8_t *a, const uint8_t *b0, const uint8_t *b1,
                            size_t steps, float *tile)
{
    switch (rows) {
    case 1: multiply_kind(precision, 1, a, b0, b1, steps, tile); break;
    case 2: multiply_kind(precision, 2, a, b0, b1, steps, tile); break;
    case 3: multiply_kind(precision, 3, a, b0, b1, steps, tile); break;
    case 4: multiply_kind(precision, 4, a, b0, b1, steps, tile); break;
    case 5: multiply_kind(precision, 5, a, b0, b1, steps, tile); break;
    case 6: multiply_kind(precision, 6, a, b0, b1, steps, tile); break;
    case 7: multiply_kind(precision, 7, a, b0, b1, steps, tile); break;
    case 8: multiply_kind(precision, 8, a, b0, b1, steps, tile); break;
    }
}

#include "neural/kernel_512_end.h"

static bool is_there(void)
{
    __builtin_cpu_init();
    unsigned a, b, c, d;
    has_bf16 = __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1);
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
}

const struct kernel_loops kernel_loops_512 = KERNEL_LOOPS;

const struct kernel_set kernel_avx512 = {
    .isa = ISA_AVX512,
    .best = PRECISION_INT8,
    .is_there = is_there,
    .prepare = prepare,
    .product = product,
    .attention_bytes = loops_attention_bytes,
    .attention = loops_attention,
    .loops = &kernel_loops_512,
};
#endif
