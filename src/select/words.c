/* select/words.c -- folded buckets, inverse document frequencies, length 1. */
#include "select/words.h"

#include <math.h>

static uint32_t fold(uint32_t bucket)
{
    return bucket & (WORDS_DIMS - 1);
}

static bool words_room(struct words *w)
{
    words_clear(w);
    w->idf = calloc(WORDS_DIMS, sizeof *w->idf);
    w->texts = calloc(WORDS_DIMS, sizeof *w->texts);
    return w->idf && w->texts;
}

static void words_weigh(struct words *w)
{
    for (uint32_t d = 0; d < WORDS_DIMS; d++)
        w->idf[d] = logf((1.0f + (float)w->n) / (1.0f + (float)w->texts[d])) + 1;
}

bool words_fit(struct words *w, const struct recorded *r)
{
    if (!words_room(w))
        return false;
    w->n = recorded_n(r);
    for (uint32_t i = 0; i < recorded_n(r); i++) {
        const struct features *x = &r->x[recorded_row(r, i)];
        for (uint32_t g = 0; g < x->n; g++)
            w->texts[fold(x->grams[g].bucket)]++;
    }
    words_weigh(w);
    return true;
}

void words_clear(struct words *w)
{
    free(w->idf);
    free(w->texts);
    *w = (struct words){ 0 };
}

uint32_t words_read(const struct words *w, const struct features *x, struct gram *out)
{
    float length = 0;
    for (uint32_t g = 0; g < x->n && w->idf; g++) {
        uint32_t b = fold(x->grams[g].bucket);
        out[g] = (struct gram){ b, x->grams[g].value * w->idf[b] };
        length += out[g].value * out[g].value;
    }
    for (uint32_t g = 0; g < x->n && length > 0; g++)
        out[g].value /= sqrtf(length);
    return w->idf ? x->n : 0;
}

void words_save(const struct words *w, struct buf *out)
{
    pack_u32(out, w->idf != NULL);
    if (w->idf) {
        pack_double(out, w->n);
        pack_sparse(out, w->texts, WORDS_DIMS);
    }
}

bool words_load(struct words *w, struct unpack *u)
{
    words_clear(w);
    if (unpack_count(u, 1, sizeof(double)) == 0)
        return !u->is_bad;
    double n = unpack_double(u);
    if (!(n >= 0 && n <= UINT32_MAX) || !words_room(w) || !unpack_sparse(u, w->texts, WORDS_DIMS, 0, 1e12))
        return false;
    w->n = n;
    words_weigh(w);
    return true;
}
