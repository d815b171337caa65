/* neural/kernel_plain.c -- every kernel in plain C: the twin that all others are compared with, and what runs where there is
 * nothing better. Written to be read: one loop a dimension, library functions for the mathematics, no blocking. */
#include "neural/kernel_set.h"

#include <math.h>

/* ---- products ---- */

static float activate(enum activation kind, float x)
{
    switch (kind) {
    case ACTIVATION_NONE:      return x;
    case ACTIVATION_GELU:      return 0.5f * x * (1 + erff(x * 0.70710678f));
    case ACTIVATION_GELU_TANH: return 0.5f * x * (1 + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
    case ACTIVATION_RELU:      return x < 0 ? 0 : x;
    case ACTIVATION_SILU:      return x / (1 + expf(-x));
    case ACTIVATION_TANH:      return tanhf(x);
    }
    return x;
}

/* Row i times packed channel c, without bias. */
static float channel_product(const struct matrix *w, const struct rows *x, size_t i, size_t c)
{
    const size_t group = group_of(w->precision), step = step_of(w->precision), k = w->k;
    const uint8_t *channel = (const uint8_t *)w->packed + c / PANEL * panel_bytes(w->precision, k) + c % PANEL * 4;
    const uint8_t *row = (const uint8_t *)x->packed;    /* of a packed precision */
    if (w->precision != PRECISION_F32)
        row += i / TILE_ROWS * block_bytes(w->precision, k) + i % TILE_ROWS * TILE_ROW_BYTES;

    float sum = 0;
    int32_t sum8 = 0;
    for (size_t j = 0; j < k; j++) {
        const uint8_t *b = channel + j / group * TILE_ROW_BYTES, *a = row ? row + j / step * TILE_BYTES : NULL;
        switch (w->precision) {
        case PRECISION_BF16:
            sum += float_of(((const uint16_t *)(const void *)a)[j % step]) *
                   float_of(((const uint16_t *)(const void *)b)[j % group]);
            break;
        case PRECISION_INT8:
            sum8 += (int8_t)a[j % step] * (int8_t)b[j % group];
            break;
        default:
            sum += x->f32[i * x->stride + j] * *(const float *)(const void *)b;
        }
    }
    return w->precision == PRECISION_INT8 ? ((float)sum8 - x->zero[i] * w->sum[c]) * (x->scale[i] * w->scale[c]) : sum;
}

static void product(const struct matrix *w, const struct rows *x, size_t from, size_t to, float *y, size_t y_stride,
                    const struct epilogue *e)
{
    for (size_t i = 0; i < x->m; i++)
        for (size_t j = from; j < to; j++) {
            size_t c = w->is_gated ? j / PANEL * PAIR + j % PANEL : j;
            float sum = activate(e->activation, channel_product(w, x, i, c) + w->bias[c]);
            if (w->is_gated)
                sum *= channel_product(w, x, i, c + PANEL) + w->bias[c + PANEL];
            if (e->residual)
                sum += e->residual[i * e->residual_stride + j];
            y[i * y_stride + j] = sum;
        }
}

static void prepare_row_bf16(struct rows *r, const float *x, uint8_t *out)
{
    for (size_t j = 0; j < padded_k(PRECISION_BF16, r->k); j++)
        ((uint16_t *)(void *)(out + j / 32 * TILE_BYTES))[j % 32] = j < r->k ? bf16_of(x[j]) : 0;
}

/* Row i: its least number (0 if all are above) becomes -128, its greatest 127. A row with a NaN or an infinity gets the scale
 * NaN, so that its products are NaN too. */
static void prepare_row_int8(struct rows *r, size_t i, const float *x, uint8_t *out)
{
    float max = 0, min = 0, wrong = 0;
    for (size_t j = 0; j < r->k; j++) {
        max = x[j] > max ? x[j] : max;
        min = x[j] < min ? x[j] : min;
        wrong += x[j] * 0;
    }
    float scale = max / 255 - min / 255, inverse = 1 / scale;
    if (!(inverse < INFINITY))                      /* only zeros and denormals: nothing to see */
        inverse = 0;
    float zero = inverse > 0 ? -128 - nearbyintf(min * inverse) : 0;
    r->scale[i] = scale + wrong;
    r->zero[i] = zero;
    for (size_t j = 0; j < padded_k(PRECISION_INT8, r->k); j++) {
        float digit = j < r->k && inverse > 0 && isfinite(x[j]) ? nearbyintf(x[j] * inverse) + zero : zero;
        out[j / 64 * TILE_BYTES + j % 64] = (uint8_t)(int8_t)(digit > 127 ? 127 : digit < -128 ? -128 : digit);
    }
}

static void prepare(struct rows *r)
{
    for (size_t i = 0; i < r->m; i++) {
        const float *x = r->f32 + i * r->stride;
        uint8_t *out = (uint8_t *)r->packed + i / TILE_ROWS * block_bytes(r->precision, r->k) + i % TILE_ROWS * TILE_ROW_BYTES;
        if (r->precision == PRECISION_BF16)
            prepare_row_bf16(r, x, out);
        else
            prepare_row_int8(r, i, x, out);
    }
}

/* ---- the loops around them ---- */

static void layer_norm_row(const float *x, size_t n, const float *gain, const float *bias, float epsilon, float *y)
{
    double mean = 0, variance = 0;
    for (size_t j = 0; j < n; j++)
        mean += (double)x[j];
    mean /= (double)n;
    for (size_t j = 0; j < n; j++)
        variance += ((double)x[j] - mean) * ((double)x[j] - mean);
    variance /= (double)n;
    double by = 1 / sqrt(variance + (double)epsilon);
    for (size_t j = 0; j < n; j++)
        y[j] = (float)(((double)x[j] - mean) * by) * gain[j] + (bias ? bias[j] : 0);
}

static void plain_layer_norm(const float *x, size_t m, size_t n, const float *gain, const float *bias, float epsilon, float *y)
{
    for (size_t i = 0; i < m; i++)
        layer_norm_row(x + i * n, n, gain, bias, epsilon, y + i * n);
}

static void plain_layer_norm_add(float *x, const float *residual, size_t m, size_t n, const float *gain, const float *bias,
                                 float epsilon, float *y)
{
    for (size_t j = 0; j < m * n; j++)
        x[j] += residual[j];
    plain_layer_norm(x, m, n, gain, bias, epsilon, y);
}

static void plain_softmax(float *x, size_t n)
{
    float max = -INFINITY, sum = 0;
    for (size_t j = 0; j < n; j++)
        max = x[j] > max ? x[j] : max;
    for (size_t j = 0; j < n; j++)
        sum += x[j] = expf(x[j] - max);
    for (size_t j = 0; j < n; j++)
        x[j] /= sum;
}

static float dot(const float *a, const float *b, size_t n)
{
    float sum = 0;
    for (size_t j = 0; j < n; j++)
        sum += a[j] * b[j];
    return sum;
}

static void scale_by(float *x, size_t n, float by)
{
    for (size_t j = 0; j < n; j++)
        x[j] *= by;
}

static void mean_of(const float *rows, size_t m, size_t n, size_t stride, float *out)
{
    for (size_t j = 0; j < n; j++) {
        double sum = 0;
        for (size_t i = 0; i < m; i++)
            sum += (double)rows[i * stride + j];
        out[j] = m ? (float)(sum / (double)m) : 0;
    }
}

static size_t plain_attention_bytes(size_t t, size_t d)
{
    (void)d;
    return round_up(t * sizeof(float), 64);         /* the scores of one row */
}

static void plain_attention(enum precision precision, const float *q, const float *k, const float *v, size_t stride, size_t t,
                            size_t d, size_t head_from, size_t head_to, float scale, size_t window, const float *bias, float *out,
                            size_t out_stride, void *scratch)
{
    (void)precision;
    float *score = scratch;
    for (size_t h = head_from; h < head_to; h++)
        for (size_t i = 0; i < t; i++) {
            size_t from = window && i > window ? i - window : 0, to = window ? least(t, i + window + 1) : t;
            for (size_t j = from; j < to; j++)
                score[j] = scale * dot(q + i * stride + h * d, k + j * stride + h * d, d) +
                           (bias ? bias[(h * t + i) * t + j] : 0);
            plain_softmax(score + from, to - from);
            float *o = out + i * out_stride + h * d;
            for (size_t c = 0; c < d; c++)
                o[c] = 0;
            for (size_t j = from; j < to; j++)
                for (size_t c = 0; c < d; c++)
                    o[c] += score[j] * v[j * stride + h * d + c];
        }
}

static void plain_rotate(float *x, size_t stride, size_t t, size_t heads, size_t d, const uint32_t *positions, const float *table)
{
    size_t half = d / 2;
    for (size_t i = 0; i < t; i++) {
        const float *cosine = table + positions[i] * d, *sine = cosine + half;
        for (size_t h = 0; h < heads; h++) {
            float *a = x + i * stride + h * d, *b = a + half;
            for (size_t c = 0; c < half; c++) {
                float left = a[c], right = b[c];
                a[c] = left * cosine[c] - right * sine[c];
                b[c] = right * cosine[c] + left * sine[c];
            }
        }
    }
}

static bool is_there(void)
{
    return true;
}

static const struct kernel_loops loops = {
    .layer_norm = plain_layer_norm,
    .layer_norm_add = plain_layer_norm_add,
    .softmax = plain_softmax,
    .dot = dot,
    .scale = scale_by,
    .mean = mean_of,
    .rotate = plain_rotate,
};

const struct kernel_set kernel_plain = {
    .isa = ISA_PLAIN,
    .best = PRECISION_F32,
    .is_there = is_there,
    .prepare = prepare,
    .product = product,
    .attention_bytes = plain_attention_bytes,
    .attention = plain_attention,
    .loops = &loops,
};
