/* dialect/openai_text_parse.h -- Completions and Embeddings requests as a canonical chat: their text is one
 * user message, so that policy can look at them, too. */
#ifndef SBX_DIALECT_OPENAI_TEXT_PARSE_H
#define SBX_DIALECT_OPENAI_TEXT_PARSE_H

#include "base/err.h"
#include "base/json.h"
#include "decide/chat.h"

/* 0, or -1 and a sentence that starts with the JSON path. */
int openai_completions_parse(struct arena *a, const struct json *j, struct chat *out, struct err *e);
int openai_embeddings_parse(struct arena *a, const struct json *j, struct chat *out, struct err *e);

#endif
