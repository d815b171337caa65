/* front/embeddings.h -- POST /v1/embeddings answered by an encoder of this process.
 *
 * A model whose backend says `provider: encoder` embeds here: `provider_model_id` is a folder, or empty for the bundled encoder. The
 * answer has OpenAI's form: floats or base64, `dimensions` cuts vectors and makes them length 1 again. */
#ifndef SBX_EMBEDDINGS_H
#define SBX_EMBEDDINGS_H

#include "pipeline/req.h"

WAITS int embeddings_answer(struct req *r);     /* r has been routed; returns what relay_own does */

#endif
