/* neural/kernel.h -- matrix products and the small loops around them, one instruction set a file.
 *
 * Weights are packed once, in the order in which the kernel reads them. A product ends in an *epilogue*: dequantisation, bias,
 * activation, gate and residual happen while the tile is still in registers. Every function has a plain-C twin (kernel_plain.c)
 * that the tests compare with; `kernel_use` picks the best set that this CPU runs, SBX_ISA overrides it.
 *
 * Shapes: activations are row-major [m][k] float32, weights as torch Linear keeps them, [n][k]; y = x W^T + b is [m][n]. */
#ifndef SBX_KERNEL_H
#define SBX_KERNEL_H

#include "base/err.h"

enum precision { PRECISION_F32, PRECISION_BF16, PRECISION_INT8, PRECISION_N };

/* AVX512 means F, BW, VL, VNNI; AMX means AVX512 plus tile, int8, bf16 (asked for by arch_prctl). */
enum isa { ISA_PLAIN, ISA_AVX2, ISA_AVX512, ISA_AMX, ISA_N };

const char *isa_name(enum isa i);                   /* "plain", "avx2", "avx512", "amx" */
const char *precision_name(enum precision p);       /* "f32", "bf16", "int8" */
bool precision_by_name(str name, enum precision *out);
bool isa_by_name(str name, enum isa *out);
bool isa_is_there(enum isa i);                      /* this CPU and this system run it */

/* Chooses for the whole process; before the first matrix is packed. ISA_N: the best there is, or SBX_ISA. 0; -1 and *e: not
 * there. */
int kernel_use(enum isa i, struct err *e);
enum isa kernel_isa(void);
/* Compares the chosen set with the plain twin on small random shapes; at start. -1 and *e: this machine computes wrongly. */
int kernel_self_check(struct err *e);
enum precision kernel_best_precision(void);         /* the fastest on the chosen set: int8 with VNNI or AMX, else f32 */

/* ---- products ---- */

enum activation {
    ACTIVATION_NONE, ACTIVATION_GELU /* erf */, ACTIVATION_GELU_TANH, ACTIVATION_RELU, ACTIVATION_SILU, ACTIVATION_TANH
};

struct matrix {                                     /* packed, immutable, shared by all threads */
    enum precision precision;
    uint32_t n, k;                                  /* n: rows of the weight as given */
    bool is_gated;                                  /* rows 0 .. n/2 are activated, n/2 .. n are the gate: y is [m][n/2] */
    void *packed; size_t bytes;                     /* aligned to 64 */
    bool is_split;                                  /* f32 as two bf16 halves: see kernel_set.h */
    float *scale;                                   /* int8: of each output channel, in packed order; else NULL */
    float *sum;                                     /* int8: of each channel's weights, in packed order; whole */
    float *bias;                                    /* in packed order; zeros where none was given */
    const struct matrix *next;                      /* multiplied after this one, to fetch it in time; NULL: not known */
};

/* Packs `weight` [n][k] and `bias` [n] (may be NULL), both copied. int8: symmetric, one scale an output channel.
 * -1: no memory. `matrix_free` releases what pack allocated. */
int matrix_pack(struct matrix *m, enum precision precision, const float *weight, const float *bias, uint32_t n, uint32_t k,
                bool is_gated);
void matrix_free(struct matrix *m);

/* Activations made ready for one or several products of the same precision: bf16 rounds, int8 gives each row its own scale and
 * its own zero, so that all 256 digits lie between the row's least and greatest number. */
struct rows {
    enum precision precision;
    uint32_t m, k;
    const float *f32; size_t stride;                /* in floats */
    void *packed;                                   /* in the caller's scratch */
    float *scale, *zero;                            /* [m] int8: x = scale * (digit - zero); zero is whole */
    bool is_split;
};
size_t rows_bytes(enum precision precision, size_t m, size_t k);    /* scratch that rows_prepare needs, multiple of 64 */
void rows_prepare(struct rows *r, enum precision precision, const float *x, size_t stride, size_t m, size_t k, void *scratch);

struct epilogue {
    enum activation activation;
    const float *residual; size_t residual_stride;  /* added last; NULL: none. May be y itself. */
};

/* y[:, from .. to) of the product, columns in units of the result; from and to multiples of KERNEL_COLUMNS (to may be n).
 * Splitting columns is how threads share one product. y: stride in floats. e may be NULL. */
enum { KERNEL_COLUMNS = 32 };
void matrix_product(const struct matrix *w, const struct rows *x, size_t from, size_t to, float *y, size_t y_stride,
                    const struct epilogue *e);

/* ---- the loops around them; all for float rows ---- */

/* y = (x - mean) / sqrt(var + epsilon) * gain + bias, row by row; bias may be NULL. x may be y. */
void layer_norm(const float *x, size_t m, size_t n, const float *gain, const float *bias, float epsilon, float *y);
/* x += residual, then the norm; the sum is left in x. */
void layer_norm_add(float *x, const float *residual, size_t m, size_t n, const float *gain, const float *bias, float epsilon,
                    float *y);
void softmax(float *x, size_t n);
float vector_dot(const float *a, const float *b, size_t n);
void vector_normalise(float *x, size_t n);          /* L2; zero stays zero */
void vector_mean(const float *rows, size_t m, size_t n, size_t stride, float *out);

/* Scaled dot-product attention of one segment and some of its heads. q, k, v: [t] rows with `stride` floats between rows,
 * head h at column h * d. out: same shape as q with out_stride. `window`: 0 = all; else row i sees |i - j| <= window
 * (ModernBERT: half of local_attention). `bias`: NULL, or [heads][t][t] added before the softmax (DeBERTa). Never forms a t x
 * t matrix when bias is NULL. `scratch`: attention_bytes(t, d). Products in `precision` where the set gains from it. */
size_t attention_bytes(size_t t, size_t d);
void attention(enum precision precision, const float *q, const float *k, const float *v, size_t stride, size_t t, size_t d,
               size_t head_from, size_t head_to, float scale, size_t window, const float *bias, float *out, size_t out_stride,
               void *scratch);

/* Rotates q or k in place (neox halves: pairs (i, i + d/2)); row i is at position positions[i]. table: [position][d] = cos
 * then sin halves. */
void rotate(float *x, size_t stride, size_t t, size_t heads, size_t d, const uint32_t *positions, const float *table);

#endif
