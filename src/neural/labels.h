/* neural/labels.h -- inside of the service: a head's labels of one window.
 *
 * Counting n-grams costs some 100 us a KB, a head's sum over them a hundredth of that: they are counted once for all heads
 * that count alike, whatever their order. The bundled heads count in two ways (65,536 and 131,072 buckets), and take turns. */
#ifndef SBX_LABELS_H
#define SBX_LABELS_H

#include "neural/head.h"

enum { COUNTS_KEPT = 2 };               /* 128 KB a thread each; with more ways of counting, texts are counted again */

struct word_counts {                    /* zero-initialise; for one series of calls without a wait in between */
    struct word_count {
        str text;
        struct ngram_spec spec;
        uint32_t n;                     /* in the thread's buffer */
    } kept[COUNTS_KEPT];
    uint32_t n_kept, oldest;
};

/* `vector`: read when the head has a dimension; `words`: the window's text, read when it has n-grams. out: [n_labels]. */
void labels_of(const struct head *h, const float *vector, str words, struct word_counts *counts, float *out);

#endif
