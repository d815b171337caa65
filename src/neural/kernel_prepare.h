/* neural/kernel_prepare.h -- rows of floats become int8 with a scale and a zero of their own, or bf16 (see kernel_loops.h for
 * what a vector is). INT8_MIN_DIGIT: the digit of the row's least number, -128 or, where digits are unsigned, 0. */

/* The scale of row i and its zero; returns what numbers are multiplied with. 0 keeps its place between least and greatest: a
 * digit of its own, and exact. A row with a NaN or an infinity gets the scale NaN, so that its products are NaN too. */
static inline float prepare_scale(struct rows *r, size_t i, const float *x)
{
    const size_t n = r->k;
    vec top = vec_set(0), low = top, wrong = top;   /* wrong: x * 0 of all */
    size_t j = 0;
    for (; j + WIDTH <= n; j += WIDTH) {
        vec v = vec_load(x + j);
        top = vec_max(v, top);
        low = vec_min(v, low);
        wrong = vec_fma(v, vec_set(0), wrong);
    }
    if (j < n) {
        vec v = vec_load_n(x + j, n - j);
        top = vec_max(v, top);
        low = vec_min(v, low);
        wrong = vec_fma(v, vec_set(0), wrong);
    }
    float max = vec_top(top), min = -vec_top(vec_set(0) - low), scale = max / 255 - min / 255, by = 1 / scale;
    if (!(by < INFINITY))                           /* only zeros and denormals: no digits */
        by = 0;
    r->scale[i] = scale + vec_sum(wrong);
    r->zero[i] = by > 0 ? INT8_MIN_DIGIT - nearbyintf(min * by) : 0;
    return by;
}

static inline void prepare_row(const struct rows *r, size_t i, float by)
{
    const unsigned format = rows_format(r);
    const size_t step = step_of(format), step_bytes = (size_t)TILE_BYTES << (format == FORMAT_SPLIT), n = r->k;
    const float *x = r->f32 + i * r->stride;
    const float zero = r->precision == PRECISION_INT8 ? r->zero[i] : 0;
    uint8_t *out = (uint8_t *)r->packed + i / TILE_ROWS * block_bytes(format, n) + i % TILE_ROWS * TILE_ROW_BYTES;
    size_t j = 0;
    for (; j + step <= n; j += step, out += step_bytes)
        prepare_step(format, x + j, by, zero, out);
    if (j < n) {
        float rest[64] = { 0 };
        memcpy(rest, x + j, (n - j) * sizeof *x);
        prepare_step(format, rest, by, zero, out);
    }
}

/* A row cannot be converted before its scale is known, and that takes a hundred cycles of waiting: so the scales of a few rows
 * are found in each other's shadow. */
static void prepare(struct rows *r)
{
    enum { GROUP = 4 };
    for (size_t from = 0; from < r->m; from += GROUP) {
        const size_t to = least(r->m, from + GROUP);
        float by[GROUP] = { 0 };
        if (r->precision == PRECISION_INT8)
            for (size_t i = from; i < to; i++)
                by[i - from] = prepare_scale(r, i, r->f32 + i * r->stride), fetch_ahead(r->k / 64);
        for (size_t i = from; i < to; i++)
            prepare_row(r, i, by[i - from]), fetch_ahead(r->k / 64);
    }
}
