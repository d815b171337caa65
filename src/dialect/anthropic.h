/* dialect/anthropic.h -- the Messages dialect beside its ops: the list of models. */
#ifndef SBX_DIALECT_ANTHROPIC_H
#define SBX_DIALECT_ANTHROPIC_H

#include "dialect/dialect.h"

extern const struct dialect_ops dialect_anthropic;

struct anthropic_model { str id, display_name; int64_t created; int64_t max_input_tokens, max_tokens; };   /* 0: unknown */
/* GET /v1/models of a client that sends anthropic-version; one page. */
void anthropic_models_write(const struct anthropic_model *models, size_t n, bool has_more, struct buf *out);
void anthropic_model_write(const struct anthropic_model *m, struct buf *out);      /* GET /v1/models/{id} */

#endif
