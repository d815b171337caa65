/* neural/kernel_set.h -- what one instruction set offers, and the layout that all of them share.
 *
 * One layout for every set, so that packing is written once. The unit is a *tile* of 16 rows of 64 bytes, what an AMX tile
 * register holds:
 *
 *   weights      panels of 16 output channels; a panel is [groups][16 channels][4 bytes], where a group is what a dot-product
 *                instruction eats at once: 4 int8, 2 bf16 or 1 float along k. 16 groups are one tile. Panels come in pairs;
 *                in a gated matrix a pair is 16 activated channels and their 16 gates, so that both are at hand when the
 *                epilogue runs.
 *   activations  blocks of 16 rows; a block is [steps][16 rows][64 bytes], a step being 64 int8 or 32 bf16 along k. float32
 *                activations stay where they are.
 *
 * AMX multiplies no floats. There float32 is *split*: x = high + low, two bf16 numbers that keep 16 to 17 bits of its 24, and
 * a product is the sum of all four of theirs, in float32; what is lost is about 2e-6 of a result. Each step is then two tiles,
 * high and low, and takes as many bytes as before.
 *
 * k is padded with zeros to whole steps (float32: not at all). int8: weights are symmetric, -127 .. 127; an activation's digit
 * d stands for scale (d - zero), both of its row, so a product is scale (sum of d w - zero * sum of w), and the channels' sums
 * of weights are kept for it. Digits are signed, -128 .. 127, for AMX, AVX2 and plain C, and unsigned for AVX-512 VNNI, whose
 * zero is 128 higher. */
#ifndef SBX_KERNEL_SET_H
#define SBX_KERNEL_SET_H

#include "neural/kernel.h"

enum { TILE_ROWS = 16, TILE_ROW_BYTES = 64, TILE_BYTES = TILE_ROWS * TILE_ROW_BYTES };
enum { PANEL = 16, PAIR = 2 * PANEL };              /* channels */

static inline size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static inline size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How numbers lie in packed memory: as the precision says, but for split float32. */
enum { FORMAT_SPLIT = PRECISION_N };

static inline unsigned matrix_format(const struct matrix *w)
{
    return w->is_split ? (unsigned)FORMAT_SPLIT : (unsigned)w->precision;
}

static inline unsigned rows_format(const struct rows *r)
{
    return r->is_split ? (unsigned)FORMAT_SPLIT : (unsigned)r->precision;
}

/* Elements along k in a group, in a step, and k with its padding. */
static inline size_t group_of(unsigned format)
{
    return format == PRECISION_INT8 ? 4 : format == PRECISION_F32 ? 1 : 2;
}

static inline size_t step_of(unsigned format)
{
    return format == PRECISION_INT8 ? 64 : format == PRECISION_F32 ? 1 : 32;
}

static inline size_t padded_k(unsigned format, size_t k)
{
    return round_up(k, step_of(format));
}

static inline size_t panel_bytes(unsigned format, size_t k)
{
    return padded_k(format, k) / group_of(format) * TILE_ROW_BYTES << (format == FORMAT_SPLIT);
}

/* Bytes of one block of 16 rows of activations; none for float32. */
static inline size_t block_bytes(unsigned format, size_t k)
{
    return format == PRECISION_F32 ? 0 : padded_k(format, k) / step_of(format) * TILE_BYTES << (format == FORMAT_SPLIT);
}

/* Result columns of the matrix, and those that one pair of panels yields. */
static inline size_t result_columns(const struct matrix *w)
{
    return w->is_gated ? w->n / 2 : w->n;
}

static inline size_t pair_columns(const struct matrix *w)
{
    return w->is_gated ? PANEL : PAIR;
}

static inline uint16_t bf16_of(float f)             /* to the nearest, ties to even; NaN stays one */
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if ((bits & 0x7FFFFFFF) > 0x7F800000)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

static inline float float_of(uint16_t bf16)
{
    uint32_t bits = (uint32_t)bf16 << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* A model's weights are more than the second-level cache holds, and with few rows a forward is as fast as they arrive. So a
 * product fetches a pair of panels ahead, and the loops between products, which leave the memory idle, go on with the next
 * matrix. What this thread needs next is kept as addresses: it may be gone by then, and a prefetch does not mind. */
struct ahead { uintptr_t at, end; };
extern _Thread_local struct ahead kernel_ahead;

static inline void fetch_ahead(size_t lines)        /* of 64 bytes */
{
    uintptr_t at = kernel_ahead.at, to = at + 64 * lines < kernel_ahead.end ? at + 64 * lines : kernel_ahead.end;
    if (at >= to)
        return;
    for (; at < to; at += 64)
        __builtin_prefetch((const void *)at, 0, 2);
    kernel_ahead.at = at;
}

void kernel_ahead_in(const struct matrix *w, size_t from, size_t to);   /* a product of these columns begins */
/* Its own are fetched: on to those of w->next, at most so many bytes. */
void kernel_ahead_of(const struct matrix *w, size_t from, size_t to, size_t bytes_max);

/* What does not depend on how matrices are multiplied: AMX has those of AVX-512. */
struct kernel_loops {
    void (*layer_norm)(const float *x, size_t m, size_t n, const float *gain, const float *bias, float epsilon, float *y);
    void (*layer_norm_add)(float *x, const float *residual, size_t m, size_t n, const float *gain, const float *bias,
                           float epsilon, float *y);
    void (*softmax)(float *x, size_t n);
    float (*dot)(const float *a, const float *b, size_t n);
    void (*scale)(float *x, size_t n, float by);
    void (*mean)(const float *rows, size_t m, size_t n, size_t stride, float *out);
    void (*rotate)(float *x, size_t stride, size_t t, size_t heads, size_t d, const uint32_t *positions, const float *table);
};

struct kernel_set {
    enum isa isa;
    enum precision best;                            /* the fastest here */
    bool splits_f32;
    bool (*is_there)(void);                         /* asks the CPU and the system, makes tables; called once */
    void (*prepare)(struct rows *r);                /* f32 -> packed, scale; of a packed format */
    void (*product)(const struct matrix *w, const struct rows *x, size_t from, size_t to, float *y, size_t y_stride,
                    const struct epilogue *e);
    size_t (*attention_bytes)(size_t t, size_t d);
    void (*attention)(enum precision precision, const float *q, const float *k, const float *v, size_t stride, size_t t, size_t d,
                      size_t head_from, size_t head_to, float scale, size_t window, const float *bias, float *out,
                      size_t out_stride, void *scratch);
    const struct kernel_loops *loops;
};

extern const struct kernel_set kernel_plain;
#ifdef __x86_64__
extern const struct kernel_set kernel_avx2, kernel_avx512, kernel_amx;
extern const struct kernel_loops kernel_loops_512;
void kernel_amx_attention_start(void);              /* makes its table */
size_t kernel_amx_attention_bytes(size_t t, size_t d);
void kernel_amx_attention(enum precision precision, const float *q, const float *k, const float *v, size_t stride, size_t t,
                          size_t d, size_t head_from, size_t head_to, float scale, size_t window, const float *bias, float *out,
                          size_t out_stride, void *scratch);
#endif

#endif
