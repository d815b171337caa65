/* cli/ask.h -- a request that nobody sent: what `route` and `replay` put to route_request. */
#ifndef SBX_CLI_ASK_H
#define SBX_CLI_ASK_H

#include "pipeline/req.h"

/* A request under snapshot s, all in arena a. `body` is a chat, completions or embeddings body, or {"text": ...}; a
 * missing model becomes the first automatic name. NULL: *e says what is wrong with it. */
struct req *ask_new(struct arena *a, struct snap *s, str body, struct err *e);
void ask_header(struct req *r, str name, str value);
str ask_body_of_text(struct arena *a, str text);        /* {"messages":[{"role":"user","content":...}]} */

#endif
