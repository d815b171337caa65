/* select/words.h -- a text as a unit vector of weighted words, in fewer dimensions than there are buckets.
 *
 * Buckets are folded to WORDS_DIMS and weighed by how rare they are in the rows of a fit (tf-idf, length 1). What learns a vector
 * a model, and not a list of rows, reads texts like this. */
#ifndef SBX_SELECT_WORDS_H
#define SBX_SELECT_WORDS_H

#include "select/learner.h"
#include "select/pack.h"

enum { WORDS_DIMS = 4096 };             /* all 65,536: gates +.0045 on llmrouter9, no more than .001 elsewhere, 16 times the memory */

struct words {
    float *idf;                         /* [WORDS_DIMS]; NULL: never fitted */
    double *texts, n;                   /* [WORDS_DIMS] texts that have it, a text counting twice that has two words of one place; of n */
};

bool words_fit(struct words *w, const struct recorded *r);      /* false: no memory */
void words_clear(struct words *w);
/* out[x->n], bucket < WORDS_DIMS; one may come twice. Returns how many. */
uint32_t words_read(const struct words *w, const struct features *x, struct gram *out);
void words_save(const struct words *w, struct buf *out);
bool words_load(struct words *w, struct unpack *u);             /* false: broken */

#endif
