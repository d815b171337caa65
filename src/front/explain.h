/* front/explain.h -- the built-in model `signalbox/explain`: not a language model, and it says so.
 *
 * It answers in the caller's form (chat or completion, whole or as a stream) with what the policy found and decided,
 * and with how to connect a model. Backends with `provider: explain` are answered by it. */
#ifndef SBX_EXPLAIN_H
#define SBX_EXPLAIN_H

#include "pipeline/req.h"

#define EXPLAIN_MODEL "signalbox/explain"

WAITS int explain_answer(struct req *r);        /* r has been routed; returns what relay_own does */

/* The sentences alone, for tests and for the curious. */
void explain_text(const struct req *r, struct buf *out);
/* "keyword `proof` and not language `en`": the leaves by which d's rule holds. d->conf must not be NULL. */
void explain_because(const struct policy *p, const struct decision *d, struct buf *out);

#endif
