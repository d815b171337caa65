/* pipeline/translate.h -- a request and its answer when the client and the provider speak different dialects.
 *
 * The request goes client bytes -> prompt -> provider's bytes, the answer the other way, whole or piece by piece. Everything
 * about formats is in dialect/; here is only who is read from and who is written to. */
#ifndef SBX_TRANSLATE_H
#define SBX_TRANSLATE_H

#include "pipeline/attempt.h"

/* Whether the body must be written anew for this backend, and whether its answers must. */
bool translate_request_is_needed(const struct req *r, const struct backend *b);
bool translate_answer_is_needed(const struct req *r, const struct backend *b);

/* The body for this backend. 0; -1: r->fail, 400 with the field's name (another model may be able to say it). */
int translate_request(struct req *r, const struct backend *b, struct buf *out);

/* Relays the answer, whose head is in and < 400. 0: complete; negative: cut short, the client was told in its own way. */
WAITS int translate_answer(struct req *r, struct answer *a);

/* What the answer says about itself, noted in r: usage, stop reason, id, model, error. A delta_sink's take; arg: struct req. */
void translate_note(void *req, const struct delta *d);

/* How the client's dialect is told what it must know of the request. */
const struct answer_context *translate_context(struct req *r);   /* lives as long as the request */

/* The dialect's words for our own failure: a body, or the event that ends a stream. */
struct failure translate_failure(const struct req *r);
void translate_stream_error(struct req *r, const struct failure *f, struct buf *out);

/* A text of our own as the client's dialect says it, whole or as a stream. */
void translate_own_answer(struct req *r, str model, str text, struct buf *out);

/* "severity;reason;field,field" of everything that was lost, for x-vsr-protocol-warnings; "" none. */
str translate_warnings(struct req *r);

#endif
