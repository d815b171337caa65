/* select/prompt.h -- the reader of a helper's answer, for its tests. */
#ifndef SBX_SELECT_PROMPT_H
#define SBX_SELECT_PROMPT_H

#include "base/arena.h"

/* Which of the names the answer chooses: the index, or n and *why (literal). */
uint32_t prompt_read(struct arena *a, str answer, const str *names, uint32_t n, const char **why);

#endif
