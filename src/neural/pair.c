/* neural/pair.c -- see pair.h. The tokenizer knows how its models want a pair framed, so no family of models needs to be known
 * here. */
#include "neural/pair.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "neural/model.h"

static uint32_t pair_fit(struct tokens *t, uint32_t n_first, uint32_t max);

int neural_pair(struct neural_model *m, str first, str second, float *out, bool *is_cut)
{
    const struct encoder *e = m->encoder;
    if (m->n_labels == 0)
        return -EINVAL;
    if (first.len > TOKENIZER_TEXT_MAX || second.len > TOKENIZER_TEXT_MAX)
        return -E2BIG;
    struct tokenizer_scratch *words = tokenizer_scratch_new();
    struct encoder_scratch *scratch = encoder_scratch_new();
    struct tokens t;
    int rc = -ENOMEM;
    uint32_t n_first;
    if (!words || !scratch || tokenizer_encode(m->tokenizer, first, (str){ NULL, 0 }, false, words, &t) < 0)
        goto done;
    n_first = t.n;
    if (tokenizer_encode(m->tokenizer, first, second, true, words, &t) < 0)
        goto done;
    uint32_t had = t.n, starts[2] = { 0, pair_fit(&t, n_first, e->shape.positions) };
    if (is_cut)
        *is_cut = starts[1] < had;
    struct encoder_batch b = { .ids = t.ids, .types = t.types, .starts = starts, .n_texts = 1 };
    const float *hidden = encoder_forward(e, &b, scratch, NULL, NULL);
    if (!hidden)
        goto done;
    encoder_classify(e, hidden, &b, 0, out);
    if (m->n_labels == 1)
        out[0] = 1 / (1 + expf(-out[0]));
    else
        softmax(out, m->n_labels);
    rc = 0;
done:
    tokenizer_scratch_free(words);
    encoder_scratch_free(scratch);
    return rc;
}

/* Takes tokens from the end of the longer text until `max` are left, as transformers' "longest_first" does; how many are left.
 * The first n_first tokens that are not special are the first text's. */
static uint32_t pair_fit(struct tokens *t, uint32_t n_first, uint32_t max)
{
    if (t->n <= max)
        return t->n;
    uint32_t n_text = 0, kept = 0;
    for (uint32_t i = 0; i < t->n; i++)
        n_text += !t->is_special[i];
    uint32_t frame = t->n - n_text, room = max > frame ? max - frame : 0, n_second = n_text - n_first;
    uint32_t first = n_first, second = n_second;
    if (n_second <= room / 2)
        first = room - n_second;
    else if (n_first <= room / 2)
        second = room - n_first;
    else
        first = room - room / 2, second = room / 2;
    for (uint32_t i = 0, at = 0; i < t->n; i++) {
        bool is_kept = t->is_special[i] || at < first || (at >= n_first && at < n_first + second);
        at += !t->is_special[i];
        if (!is_kept)
            continue;
        t->ids[kept] = t->ids[i];
        t->types[kept++] = t->types[i];
    }
    return kept;
}
