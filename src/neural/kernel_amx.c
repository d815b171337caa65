/* neural/kernel_amx.c -- kernels for AMX: products of 16 x 64-byte tiles, int8 by int8 (signed on both sides) and bf16 by bf16.
 *
 * A register tile is 2 x 2: 32 rows by 32 channels in four accumulators, two tiles of A and two of B. Weights and activations
 * are packed in the order of the tiles, so every load is 1 KB in a row. The pair of panels stays in the first-level cache
 * while A streams past.
 *
 * The matrix unit is so fast that everything around it costs as much as the product. Hence the idea of this file: a tile's
 * epilogue is not run at its end but a few rows at a time between the products of the *next* tile, where the vector units
 * idle. In int8 and bf16, activations are tables (see struct bump), exact to 1e-4, below the rounding of the numbers they are
 * given.
 *
 * The system must be asked for the tile registers (arch_prctl), and hypervisors may hide CPUID leaf 0x1D while the
 * instructions work, or show them while they do not: so one product is tried before the set is offered. */
#include "neural/kernel_tile.h"

#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "neural/kernel_512.h"
#include "neural/kernel_math.h"

/* ---- activations by table ----
 *
 * GELU, its tanh form and SiLU are max(x, 0) minus a bump that is the same on both sides of 0 and dies away. The bump is a
 * parabola in each of 32 segments of |x|; a permutation looks its three coefficients up. Errors: GELU 4e-5, SiLU 1e-4. */

enum { SEGMENTS = 32 };
struct bump { _Alignas(64) float c0[SEGMENTS], c1[SEGMENTS], c2[SEGMENTS], width, inverse; };

static struct bump bumps[ACTIVATION_TANH + 1];

static double gelu_bump(double a)
{
    return a * erfc(a * M_SQRT1_2) / 2;
}

static double gelu_tanh_bump(double a)
{
    return a / (1 + exp(2 * 0.7978845608028654 * (a + 0.044715 * a * a * a)));
}

static double silu_bump(double a)
{
    return a / (1 + exp(a));
}

/* Segment i is around i * width; its parabola meets the bump in the three Chebyshev points. The last is 0. */
static void make_bump(struct bump *b, float width, double (*f)(double))
{
    b->width = width, b->inverse = 1 / width;
    for (int i = 0; i < SEGMENTS - 1; i++) {
        double middle = (double)width * i, h = (double)width * 0.4330127018922193;     /* half the width times cos 30 degrees */
        double low = f(fabs(middle - h)), mid = f(middle), high = f(middle + h);
        if (i == 0)                                 /* |x| begins at 0: half a segment, from 0 to width / 2 */
            middle = (double)width / 4, h /= 2, low = f(middle - h), mid = f(middle), high = f(middle + h);
        double slope = (high - low) / (2 * h), curve = (high - 2 * mid + low) / (2 * h * h);
        b->c2[i] = (float)curve;
        b->c1[i] = (float)(slope - 2 * curve * middle);
        b->c0[i] = (float)(mid - slope * middle + curve * middle * middle);
    }
}

struct finish_constants { vec end, inverse, c[3][SEGMENTS / WIDTH]; };     /* of one bump */

static inline __attribute__((always_inline)) bool has_bump(enum activation kind)
{
    return kind == ACTIVATION_GELU || kind == ACTIVATION_GELU_TANH || kind == ACTIVATION_SILU;
}

static inline __attribute__((always_inline)) struct finish_constants finish_begin(enum activation kind)
{
    struct finish_constants k = { 0 };
    if (!has_bump(kind))
        return k;
    const struct bump *b = &bumps[kind];
    k.end = vec_set(b->width * (SEGMENTS - 1));
    k.inverse = vec_set(b->inverse);
    for (int half = 0; half < SEGMENTS / WIDTH; half++) {
        k.c[0][half] = vec_load(b->c0 + half * WIDTH);
        k.c[1][half] = vec_load(b->c1 + half * WIDTH);
        k.c[2][half] = vec_load(b->c2 + half * WIDTH);
    }
    return k;
}

static inline __attribute__((always_inline)) vec activate_by_bump(const struct finish_constants *k, vec x)
{
    vec a = _mm512_min_ps(vec_abs(x), k->end), c[3];
    __m512i i = _mm512_castps_si512(vec_fma(a, k->inverse, vec_set(1 << 23)));      /* low bits: nearest whole number */
    for (int n = 0; n < 3; n++)
        c[n] = _mm512_permutex2var_ps(k->c[n][0], i, k->c[n][1]);
    return vec_max(vec_set(0), x) - vec_fma(vec_fma(c[2], a, c[1]), a, c[0]);
}

static inline __attribute__((always_inline)) vec finish_activate(enum precision precision, enum activation kind,
                                                                 const struct finish_constants *k, vec x)
{
    return precision != PRECISION_F32 && has_bump(kind) ? activate_by_bump(k, x) : vec_activate(kind, x);
}

#include "neural/kernel_finish.h"

#define INT8_MIN_DIGIT -128

static inline void prepare_step(unsigned format, const float *x, float by, float zero, uint8_t *out)
{
    if (format == PRECISION_INT8) {
        __m512i low, high;
        vec_digits(x, by, zero, &low, &high);
        _mm512_store_si512(out, vec_unlane(_mm512_packs_epi16(low, high)));
        return;
    }
    vec a = vec_load(x), b = vec_load(x + 16);
    __m512i high = vec_bf16_fast(a, b);
    _mm512_store_si512(out, high);
    if (format == FORMAT_SPLIT) {
        a = a - (vec)_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(high)), 16));
        b = b - (vec)_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(high, 1)), 16));
        _mm512_store_si512(out + TILE_BYTES, vec_bf16_fast(a, b));
    }
}

#include "neural/kernel_prepare.h"

/* ---- products ---- */

/* A tile whose epilogue has not been run to its end. */
struct pending {
    size_t pair, i, rows, done;
    _Alignas(64) float tile[2 * TILE_ROWS * PAIR];
};

static inline void finish_some(const struct finish *f, struct pending *p, size_t rows)
{
    if (p->done < p->rows) {
        rows = least(rows, p->rows - p->done);
        finish(f, p->tile + p->done * PAIR, p->pair, p->i + p->done, rows);
        p->done += rows;
    }
}

/* sums += the tiles of A in 0 and 1 times those of B in 2 and 3. */
static inline __attribute__((always_inline)) void multiply_row(unsigned format, bool is_second, int a)
{
    if (format == PRECISION_INT8) {
        if (is_second) {
            TILE_INT8(6, 1, 2);
            TILE_INT8(7, 1, 3);
        } else {
            TILE_INT8(4, 0, 2);
            TILE_INT8(5, 0, 3);
        }
    } else if (is_second && a == 0) {
        TILE_BF16(6, 0, 2);
        TILE_BF16(7, 0, 3);
    } else if (is_second) {
        TILE_BF16(6, 1, 2);
        TILE_BF16(7, 1, 3);
    } else if (a == 0) {
        TILE_BF16(4, 0, 2);
        TILE_BF16(5, 0, 3);
    } else {
        TILE_BF16(4, 1, 2);
        TILE_BF16(5, 1, 3);
    }
}

enum {
    ROWS_AT_ONCE = 16,                              /* of an epilogue: a call reads as many vectors of constants as a row of results */
    FEW_ROWS = 64,                                  /* up to here weights are what a product waits for */
    AHEAD_BYTES = 256 << 10,                        /* of the next matrix: what the loops before it have time to fetch */
};

/* One register tile, and the epilogue of the one before. `tall`: more than 16 rows. */
static inline __attribute__((always_inline)) void multiply_tiles(const struct finish *f, struct pending *p, unsigned format,
                                                                 bool tall, const uint8_t *a, size_t a_bytes, const uint8_t *b,
                                                                 size_t b_bytes, size_t steps, size_t interval,
                                                                 size_t lines)
{
    const size_t step_bytes = (size_t)TILE_BYTES << (format == FORMAT_SPLIT);
    size_t since = 0;
    TILE_ZERO(4);
    TILE_ZERO(5);
    if (tall) {
        TILE_ZERO(6);
        TILE_ZERO(7);
    }
    for (size_t step = 0; step < steps; step++, a += step_bytes, b += step_bytes) {
        TILE_LOAD(0, a, TILE_ROW_BYTES);
        TILE_LOAD(2, b, TILE_ROW_BYTES);
        TILE_LOAD(3, b + b_bytes, TILE_ROW_BYTES);
        multiply_row(format, false, 0);
        if (format == FORMAT_SPLIT) {               /* high high, low high; then high low, low low */
            TILE_LOAD(1, a + TILE_BYTES, TILE_ROW_BYTES);
            multiply_row(format, false, 1);
            if (tall) {
                TILE_LOAD(0, a + a_bytes, TILE_ROW_BYTES);
                multiply_row(format, true, 0);
                TILE_LOAD(1, a + a_bytes + TILE_BYTES, TILE_ROW_BYTES);
                multiply_row(format, true, 1);
            }
            TILE_LOAD(2, b + TILE_BYTES, TILE_ROW_BYTES);
            TILE_LOAD(3, b + b_bytes + TILE_BYTES, TILE_ROW_BYTES);
            if (tall) {
                multiply_row(format, true, 0);
                multiply_row(format, true, 1);
                TILE_LOAD(0, a, TILE_ROW_BYTES);
                TILE_LOAD(1, a + TILE_BYTES, TILE_ROW_BYTES);
            }
            multiply_row(format, false, 0);
            multiply_row(format, false, 1);
        } else if (tall) {
            TILE_LOAD(1, a + a_bytes, TILE_ROW_BYTES);
            multiply_row(format, true, 1);
        }
        fetch_ahead(lines);
        if (++since == interval)
            finish_some(f, p, ROWS_AT_ONCE), since = 0;
    }
    finish_some(f, p, 2 * TILE_ROWS);
    TILE_STORE(4, p->tile, PAIR * 4);
    TILE_STORE(5, p->tile + PANEL, PAIR * 4);
    if (tall) {
        TILE_STORE(6, p->tile + TILE_ROWS * PAIR, PAIR * 4);
        TILE_STORE(7, p->tile + TILE_ROWS * PAIR + PANEL, PAIR * 4);
    }
}

static inline __attribute__((always_inline)) void product_of(unsigned format, const struct finish *f, size_t from,
                                                             struct pending *p)
{
    const struct matrix *w = f->w;
    const size_t a_bytes = block_bytes(format, w->k), b_bytes = panel_bytes(format, w->k), columns = pair_columns(w), m = f->x->m;
    const size_t steps = padded_k(format, w->k) / step_of(format);
    const size_t interval = (steps * ROWS_AT_ONCE + 2 * TILE_ROWS - 1) / (2 * TILE_ROWS);
    const size_t pairs = (f->to + columns - 1) / columns - from / columns;
    const size_t chunk = a_bytes ? round_up((768 << 10) / a_bytes * TILE_ROWS + 1, 2 * TILE_ROWS) : m;
    for (size_t start = 0; start < m; start += chunk) {
        bool is_last = start + chunk >= m;          /* to use these weights, which are not all fetched yet */
        kernel_ahead_in(w, from, f->to);
        const size_t tiles = (least(m - start, chunk) + 2 * TILE_ROWS - 1) / (2 * TILE_ROWS) * steps;
        const size_t missing = (kernel_ahead.end - kernel_ahead.at + 2 * b_bytes) / 64;
        const size_t lines = tiles ? (missing + tiles * pairs - 1) / (tiles * pairs) : 0;
        for (size_t pair = from / columns; pair * columns < f->to; pair++) {
            const uint8_t *b = (const uint8_t *)w->packed + 2 * pair * b_bytes;
            if (is_last && kernel_ahead.at >= kernel_ahead.end) {
                kernel_ahead_of(w, from, f->to, m <= FEW_ROWS ? AHEAD_BYTES : 2 * b_bytes);
                is_last = false;
            }
            for (size_t i = start, end = least(m, start + chunk); i < end; i += 2 * TILE_ROWS) {
                const uint8_t *a = (const uint8_t *)f->x->packed + i / TILE_ROWS * a_bytes;
                if (end - i > TILE_ROWS)
                    multiply_tiles(f, p, format, true, a, a_bytes, b, b_bytes, steps, interval, lines);
                else
                    multiply_tiles(f, p, format, false, a, a_bytes, b, b_bytes, steps, interval, lines);
                p->pair = pair;
                p->i = i;
                p->rows = least(2 * TILE_ROWS, end - i);
                p->done = 0;
            }
        }
    }
    finish_some(f, p, 2 * TILE_ROWS);
}

static void amx_product(const struct matrix *w, const struct rows *x, size_t from, size_t to, float *y, size_t y_stride,
                        const struct epilogue *e)
{
    const struct finish f = { .w = w, .x = x, .e = e, .y = y, .y_stride = y_stride, .to = to };
    struct pending p = { .rows = 0, .done = 0 };
    TILES_BEGIN();
    switch (matrix_format(w)) {
    case PRECISION_INT8: product_of(PRECISION_INT8, &f, from, &p); break;
    case PRECISION_BF16: product_of(PRECISION_BF16, &f, from, &p); break;
    default:             product_of(FORMAT_SPLIT, &f, from, &p); break;
    }
    TILES_END();
}

#include "neural/kernel_512_end.h"

/* ---- is it there? ---- */

static sigjmp_buf not_here;

static void on_illegal(int signal)
{
    (void)signal;
    siglongjmp(not_here, 1);
}

/* One product of ones, 64 a sum. */
static bool try_a_tile(void)
{
    static _Alignas(64) int8_t ones[TILE_BYTES];
    static _Alignas(64) int32_t sums[TILE_ROWS * PANEL];
    struct sigaction now = { .sa_handler = on_illegal }, before;
    sigemptyset(&now.sa_mask);
    if (sigaction(SIGILL, &now, &before) < 0)
        return false;
    volatile bool works = false;
    if (sigsetjmp(not_here, 1) == 0) {
        memset(ones, 1, sizeof ones);
        TILES_BEGIN();
        TILE_ZERO(4);
        TILE_LOAD(0, ones, TILE_ROW_BYTES);
        TILE_LOAD(2, ones, TILE_ROW_BYTES);
        TILE_INT8(4, 0, 2);
        TILE_STORE(4, sums, PANEL * 4);
        TILES_END();
        works = sums[0] == 64 && sums[TILE_ROWS * PANEL - 1] == 64;
    }
    sigaction(SIGILL, &before, NULL);
    return works;
}

static bool is_there(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_TILEDATA = 18, TILE_STATE = 3 << 17 };
    unsigned a, b, c, d, a1, low, high;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d >> 22 & 1) == 0 || (d >> 24 & 3) != 3)     /* bf16; tile, int8 */
        return false;
    if ((c >> 1 & 1) == 0 || !__get_cpuid_count(7, 1, &a1, &b, &c, &d) || (a1 >> 5 & 1) == 0)     /* AVX-512 VBMI, BF16 */
        return false;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));    /* OSXSAVE is there: AVX-512 was asked first */
    if ((low & TILE_STATE) != TILE_STATE || syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_TILEDATA) != 0)
        return false;
    make_bump(&bumps[ACTIVATION_GELU], 0.175f, gelu_bump);
    make_bump(&bumps[ACTIVATION_GELU_TANH], 0.175f, gelu_tanh_bump);
    make_bump(&bumps[ACTIVATION_SILU], 0.4f, silu_bump);
    kernel_amx_attention_start();
    return try_a_tile();
}

const struct kernel_set kernel_amx = {
    .isa = ISA_AMX,
    .best = PRECISION_INT8,
    .splits_f32 = true,
    .is_there = is_there,
    .prepare = prepare,
    .product = amx_product,
    .attention_bytes = kernel_amx_attention_bytes,
    .attention = kernel_amx_attention,
    .loops = &kernel_loops_512,
};
#endif
