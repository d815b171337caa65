/* base/asking.h -- putting a stranger's text into a question to a model, and taking its answer out of the wrapping.
 *
 * A text that is quoted in a prompt may try to end the quotation and go on as if it were the prompt. So it stands between two lines
 * with a mark that was drawn for this question and that none of the texts contains. Pure. */
#ifndef SBX_ASKING_H
#define SBX_ASKING_H

#include "base/arena.h"
#include "base/buf.h"

enum { ASKING_MARK = 16 };

/* A mark of the seed's that is in none of the texts. */
void asking_mark(uint64_t seed, const str *texts, size_t n, char mark[ASKING_MARK + 1]);

/* The first two thirds and the last third of a text of more than `most` bytes, whole characters, with a note of what is missing
 * between them. In a. */
str  asking_cut(struct arena *a, str text, size_t most);

/*  <<<question 1f0c...>>>
 *  ...
 *  <<<end of question 1f0c...>>> */
void asking_quote(struct buf *out, const char *what, const char *mark, str text);

/* The answer without white space, a leading <think>...</think> and one ``` fence around it. Empty when a thought never ends. */
str  asking_bare(str answer);

#endif
