/* neural/pair.h -- two texts before one classifier: does the second follow from the first?
 *
 * Pairs are asked for one at a time and seldom, by the management API; so they go past the service's queue and cache, on the
 * thread of the caller, who must be one that may compute for a while. Reads both texts at once, between the tokens that the
 * tokenizer's post-processor puts around a pair, with the types that it gives them. When both do not fit, the longer one loses
 * its end. */
#ifndef SBX_PAIR_H
#define SBX_PAIR_H

#include "neural/service.h"

/* out [n_labels of the model's own classification head], probabilities. 0; -EINVAL: the model has no such head; -E2BIG: a text
 * beyond TOKENIZER_TEXT_MAX; -ENOMEM. `is_cut`: not all of both texts was read; may be NULL. */
int neural_pair(struct neural_model *m, str first, str second, float *out, bool *is_cut);

#endif
