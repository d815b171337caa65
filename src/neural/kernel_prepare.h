/* neural/kernel_prepare.h -- rows of floats become int8 with a scale of their own, or bf16 (see kernel_loops.h for what a
 * vector is). */

static void prepare_row(struct rows *r, size_t i)
{
    const unsigned format = rows_format(r);
    const size_t step = step_of(format), step_bytes = (size_t)TILE_BYTES << (format == FORMAT_SPLIT), n = r->k;
    const float *x = r->f32 + i * r->stride;
    uint8_t *out = (uint8_t *)r->packed + i / TILE_ROWS * block_bytes(format, n) + i % TILE_ROWS * TILE_ROW_BYTES;
    float by = 1;
    if (r->precision == PRECISION_INT8) {
        vec top = vec_set(0);
        size_t j = 0;
        for (; j + WIDTH <= n; j += WIDTH)
            top = vec_bits_max(vec_load(x + j), top);
        if (j < n)
            top = vec_bits_max(vec_load_n(x + j, n - j), top);
        float max = vec_bits_top(top);
        by = 127 / max;
        if (!(by > 0 && by < INFINITY))             /* zero, denormal, infinite or NaN: no digits; the scale says the rest */
            by = 0;
        r->scale[i] = max / 127;
    }
    size_t j = 0;
    for (; j + step <= n; j += step, out += step_bytes)
        prepare_step(format, x + j, by, out);
    if (j < n) {
        float rest[64] = { 0 };
        memcpy(rest, x + j, (n - j) * sizeof *x);
        prepare_step(format, rest, by, out);
    }
}

static void prepare(struct rows *r)
{
    for (size_t i = 0; i < r->m; i++)
        prepare_row(r, i);
}
