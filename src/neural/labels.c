/* neural/labels.c -- see labels.h. The counts lie in buffers of the thread, what is in them is known by the series at work. */
#include "neural/labels.h"

#include <assert.h>

#include "neural/ngram.h"

static _Thread_local struct ngram_feature features[COUNTS_KEPT][NGRAM_FEATURES_MAX];

static_assert(sizeof(struct ngram_spec) == 8, "no padding: specs are compared as bytes");

/* Which of the counts kept is this text's by this spec. */
static uint32_t count(struct word_counts *c, const struct ngram_spec *spec, str text)
{
    for (uint32_t i = 0; i < c->n_kept; i++)
        if (c->kept[i].text.ptr == text.ptr && c->kept[i].text.len == text.len && memcmp(&c->kept[i].spec, spec, sizeof *spec) == 0)
            return i;
    uint32_t i = c->n_kept < COUNTS_KEPT ? c->n_kept++ : c->oldest++ % COUNTS_KEPT;
    c->kept[i] = (struct word_count){ text, *spec, ngram_features(spec, text, features[i], NGRAM_FEATURES_MAX) };
    return i;
}

void labels_of(const struct head *h, const float *vector, str words, struct word_counts *counts, float *out)
{
    if (!h->ngrams.buckets) {
        head_run(h, vector, NULL, out);
        return;
    }
    float logits[HEAD_LABELS_MAX] = { 0 };
    uint32_t which = count(counts, &h->ngrams, words);
    const struct ngram_feature *found = features[which];
    for (uint32_t i = 0; i < counts->kept[which].n; i++) {
        const float *row = h->ngram_weight + (size_t)found[i].bucket * h->n_labels;
        for (uint32_t k = 0; k < h->n_labels; k++)
            logits[k] += found[i].value * row[k];
    }
    head_run(h, vector, logits, out);
}
