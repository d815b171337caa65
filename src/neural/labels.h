/* neural/labels.h -- inside of the service: a head's labels of one window.
 *
 * Counting n-grams costs some 100 us a KB, a head's sum over them a hundredth of that: they are counted once for all heads
 * in a row that count alike. */
#ifndef SBX_LABELS_H
#define SBX_LABELS_H

#include "neural/head.h"

struct word_counts {                    /* zero-initialise; for one series of calls without a wait in between */
    str text;
    struct ngram_spec spec;             /* buckets 0: nothing counted yet */
    uint32_t n;                         /* in the thread's buffer */
};

/* `vector`: read when the head has a dimension; `words`: the window's text, read when it has n-grams. out: [n_labels]. */
void labels_of(const struct head *h, const float *vector, str words, struct word_counts *counts, float *out);

#endif
