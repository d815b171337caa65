/* pipeline/body.h -- what is changed of the client's body on its way out.
 *
 * Top-level members are changed by name, the last word wins; messages are changed as a list. Everything else is
 * forwarded as it came. */
#ifndef SBX_BODY_H
#define SBX_BODY_H

#include "pipeline/req.h"

void body_set(struct req *r, str key, str raw);         /* raw JSON, living as long as the request */
void body_set_text(struct req *r, str key, str text);   /* a string */
void body_remove(struct req *r, str key);
/* The member as it would go out: raw JSON; ptr NULL: absent. */
str  body_get(const struct req *r, str key);

/* Asks the provider for usage at the end of a stream when the client did not. */
void body_ask_usage(struct req *r);

/* The edits for one attempt: the collected ones, the model's name for this backend, the reasoning mode of its
 * family. In r->a. */
struct json_edits body_edits(struct req *r, const struct backend *b);

#endif
