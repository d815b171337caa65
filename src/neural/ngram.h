/* neural/ngram.h -- a text as hashed counts of its words and letters: microseconds, no model. */
#ifndef SBX_NGRAM_H
#define SBX_NGRAM_H

#include "neural/head.h"

struct ngram_feature { uint32_t bucket; float value; };

/* L2-normalised sublinear counts (1 + ln count), at most `max` distinct buckets, in order of first appearance. Text is case-folded; with
 * is_normalised also look-alikes, leet digits, zero-width characters and spacing between single letters are undone. Deterministic over
 * machines. Texts over NGRAM_TEXT_MAX bytes are cut. Returns how many. */
enum { NGRAM_TEXT_MAX = 1 << 16, NGRAM_FEATURES_MAX = 1 << 14 };
uint32_t ngram_features(const struct ngram_spec *spec, str text, struct ngram_feature *out, uint32_t max);

#endif
