/* neural/kernel_finish.h -- the epilogue, for vectors of any width (see kernel_loops.h for what a vector is).
 *
 * A register tile's sums become result columns here: dequantised, biased, activated, gated, added to the residual, stored.
 * The includer says what finish_activate(precision, kind, &constants, x) is, vec_activate of kernel_math.h being the exact one, and
 * what `struct finish_constants` it wants made by finish_begin(kind) before the rows: results may lie anywhere for all that the
 * compiler knows, so what is not a local variable is read again for every row. */

/* What a product leaves for its epilogue: sums of `rows` rows, [rows][PAIR], float or int32. */
struct finish {
    const struct matrix *w;
    const struct rows *x;
    const struct epilogue *e;
    float *y; size_t y_stride;
    size_t to;                                      /* end of the columns */
};

static inline __attribute__((always_inline)) void finish_rows(const struct finish *f, const float *tile, size_t pair, size_t i,
                                                              size_t rows, enum activation kind, enum precision precision,
                                                              bool is_gated)
{
    enum { VECS = PAIR / WIDTH };
    const struct matrix *w = f->w;
    const bool is_int8 = precision == PRECISION_INT8;
    const int results = is_gated ? VECS / 2 : VECS;
    const size_t columns = is_gated ? PANEL : PAIR, j0 = pair * columns, n = least(columns, f->to - j0);
    const size_t residual_stride = f->e->residual_stride, y_stride = f->y_stride;
    const float *residual = f->e->residual ? f->e->residual + i * residual_stride + j0 : NULL;
    const float *row_scale = f->x->scale + i, *row_zero = f->x->zero + i;      /* int8 */
    const struct finish_constants constants = finish_begin(kind);
    float *y = f->y + i * y_stride + j0;
    vec bias[VECS], scale[VECS], weights[VECS];
    for (int v = 0; v < VECS; v++) {
        bias[v] = vec_load(w->bias + pair * PAIR + v * WIDTH);
        scale[v] = is_int8 ? vec_load(w->scale + pair * PAIR + v * WIDTH) : vec_set(1);
        weights[v] = is_int8 ? vec_load(w->sum + pair * PAIR + v * WIDTH) : vec_set(0);
    }
    for (size_t r = 0; r < rows; r++, tile += PAIR, y += y_stride) {
        vec sum[VECS];
        for (int v = 0; v < VECS; v++)
            sum[v] = is_int8 ? vec_fma(vec_fma(vec_set(-row_zero[r]), weights[v], vec_int(tile + v * WIDTH)) * scale[v],
                                       vec_set(row_scale[r]), bias[v])
                             : vec_load(tile + v * WIDTH) + bias[v];
        for (int v = 0; v < results; v++) {
            sum[v] = finish_activate(precision, kind, &constants, sum[v]);
            if (is_gated)
                sum[v] = sum[v] * sum[VECS / 2 + v];
        }
        const float *add = residual ? residual + r * residual_stride : NULL;
        if (n == columns) {
            for (int v = 0; v < results; v++)
                vec_store(y + v * WIDTH, add ? sum[v] + vec_load(add + v * WIDTH) : sum[v]);
            continue;
        }
        for (size_t v = 0; v * WIDTH < n; v++) {
            size_t rest = least(n - v * WIDTH, WIDTH);
            vec_store_n(y + v * WIDTH, add ? sum[v] + vec_load_n(add + v * WIDTH, rest) : sum[v], rest);
        }
    }
}

static inline __attribute__((always_inline)) void finish_kind(const struct finish *f, const float *tile, size_t pair, size_t i,
                                                              size_t rows, enum activation kind)
{
    const bool is_gated = f->w->is_gated;
    switch (f->w->precision) {
    case PRECISION_INT8:
        is_gated ? finish_rows(f, tile, pair, i, rows, kind, PRECISION_INT8, true)
                 : finish_rows(f, tile, pair, i, rows, kind, PRECISION_INT8, false);
        break;
    case PRECISION_BF16:
        is_gated ? finish_rows(f, tile, pair, i, rows, kind, PRECISION_BF16, true)
                 : finish_rows(f, tile, pair, i, rows, kind, PRECISION_BF16, false);
        break;
    default:
        is_gated ? finish_rows(f, tile, pair, i, rows, kind, PRECISION_F32, true)
                 : finish_rows(f, tile, pair, i, rows, kind, PRECISION_F32, false);
    }
}

static void finish(const struct finish *f, const float *tile, size_t pair, size_t i, size_t rows)
{
    switch (f->e->activation) {
    case ACTIVATION_NONE:      finish_kind(f, tile, pair, i, rows, ACTIVATION_NONE); break;
    case ACTIVATION_GELU:      finish_kind(f, tile, pair, i, rows, ACTIVATION_GELU); break;
    case ACTIVATION_GELU_TANH: finish_kind(f, tile, pair, i, rows, ACTIVATION_GELU_TANH); break;
    case ACTIVATION_RELU:      finish_kind(f, tile, pair, i, rows, ACTIVATION_RELU); break;
    case ACTIVATION_SILU:      finish_kind(f, tile, pair, i, rows, ACTIVATION_SILU); break;
    case ACTIVATION_TANH:      finish_kind(f, tile, pair, i, rows, ACTIVATION_TANH); break;
    }
}
