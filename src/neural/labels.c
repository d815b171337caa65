/* neural/labels.c -- see labels.h. The counts lie in a buffer of the thread, what is in it is known by the series at work. */
#include "neural/labels.h"

#include <assert.h>

#include "neural/ngram.h"

static _Thread_local struct ngram_feature features[NGRAM_FEATURES_MAX];

static_assert(sizeof(struct ngram_spec) == 8, "no padding: specs are compared as bytes");

static void count(struct word_counts *c, const struct ngram_spec *spec, str text)
{
    if (c->text.ptr == text.ptr && c->text.len == text.len && memcmp(&c->spec, spec, sizeof *spec) == 0)
        return;
    c->n = ngram_features(spec, text, features, NGRAM_FEATURES_MAX);
    c->text = text;
    c->spec = *spec;
}

void labels_of(const struct head *h, const float *vector, str words, struct word_counts *counts, float *out)
{
    if (!h->ngrams.buckets) {
        head_run(h, vector, NULL, out);
        return;
    }
    float logits[HEAD_LABELS_MAX] = { 0 };
    count(counts, &h->ngrams, words);
    for (uint32_t i = 0; i < counts->n; i++) {
        const float *row = h->ngram_weight + (size_t)features[i].bucket * h->n_labels;
        for (uint32_t k = 0; k < h->n_labels; k++)
            logits[k] += features[i].value * row[k];
    }
    head_run(h, vector, logits, out);
}
