/* dialect/anthropic.h -- the Messages dialect beside its ops: token counts and the list of models. */
#ifndef SBX_DIALECT_ANTHROPIC_H
#define SBX_DIALECT_ANTHROPIC_H

#include "dialect/dialect.h"

extern const struct dialect_ops dialect_anthropic;

/* POST /v1/messages/count_tokens: a request without max_tokens. As request_read. */
int anthropic_count_read(struct arena *a, const struct json *j, struct prompt *out, struct err *e);
/* {"input_tokens":14} */
void anthropic_count_write(int64_t tokens, struct buf *out);

struct anthropic_model { str id, display_name; int64_t created; int64_t max_input_tokens, max_tokens; };   /* 0: unknown */
/* GET /v1/models of a client that sends anthropic-version; one page. */
void anthropic_models_write(const struct anthropic_model *models, size_t n, bool has_more, struct buf *out);
void anthropic_model_write(const struct anthropic_model *m, struct buf *out);      /* GET /v1/models/{id} */

/* Does this request hold opaque data of other families, which Anthropic would refuse? Then it must go through the
 * canonical form even where bytes could pass. A look at the bytes: cheap, may say yes in vain. */
bool anthropic_carries_foreign(str body);

#endif
