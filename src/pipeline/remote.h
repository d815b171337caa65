/* pipeline/remote.h -- signals that somebody else's server computes.
 *
 * Protocols (spec 01, sections 1.5, 2.4.7, 2.4.14, 2.4.20): http_classify (POST <endpoint>/classify {"inputs": text} -> [{label,
 * score}], a sum of 1 +- .02), http_chat (a guard or classifier asked as a chat model), external models of role guardrail,
 * classification, preference, and openai_compatible embeddings. Every failure has a kind: why strings "remote-timeout",
 * "remote-refused", "remote-status", "remote-answer". */
#ifndef SBX_REMOTE_H
#define SBX_REMOTE_H

#include "base/value.h"
#include "decide/need.h"
#include "runtime/fiber.h"

struct remote;

/* NULL: the configuration names none for this role (or it is faulty: a finding says so). In arena a. `options`: the rule's or module's
 * map; `global`: the merged tree. */
const struct remote *remote_classifier(struct arena *a, const char *role, str model, const struct value *options,
                                       const struct value *global, struct findings *out);
const struct remote *remote_embedding(struct arena *a, const struct value *endpoint, struct findings *out);
str remote_name(const struct remote *r);
uint32_t remote_dim(const struct remote *r);            /* embeddings: as configured; 0: unknown before the first answer */
str *remote_labels(const struct remote *r, uint32_t *n);

struct remote_ask { const struct remote *remote; struct need *need; };
struct remote_flight;
/* Starts all requests (each on a fiber of its own when called on one; else one after the other in remote_finish). The answers or
 * reasons are in the needs when remote_finish returns; it waits at most until the deadline. */
struct remote_flight *remote_begin(const struct remote_ask *asks, uint32_t n, uint64_t deadline, struct arena *a);
WAITS void remote_finish(struct remote_flight *f);

#endif
