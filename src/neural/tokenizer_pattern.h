/* neural/tokenizer_pattern.h -- the regular expressions of tokenizer.json, compiled to one table. */
#ifndef SBX_TOKENIZER_PATTERN_H
#define SBX_TOKENIZER_PATTERN_H

#include "base/err.h"

struct pattern;

/* The compiled pattern, in the arena; NULL and *e: what it is made of that is not known here, or that it is too large. */
struct pattern *pattern_new(struct arena *a, str source, struct err *e);

/* The leftmost match that starts at or after `from`; false: none. Text is well-formed UTF-8, `from` the start of a character. */
bool pattern_find(const struct pattern *p, str text, size_t from, size_t *start, size_t *end);

#endif
