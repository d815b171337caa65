/* dialect/anthropic_parts.h -- what the files of the Messages dialect share: anthropic.c (streams, errors), anthropic_read.c,
 * anthropic_write.c, and bedrock_invoke.c, which wraps the same JSON. */
#ifndef SBX_DIALECT_ANTHROPIC_PARTS_H
#define SBX_DIALECT_ANTHROPIC_PARTS_H

#include "dialect/fields.h"

/* ---- reading ---- */

enum body_kind { BODY_MESSAGES, BODY_COUNT, BODY_INVOKE };      /* count: no max_tokens; Invoke: no model */
int anthropic_prompt_read(struct arena *a, const struct json *j, enum body_kind kind, struct prompt *out, struct err *e);
int anthropic_request_read(struct arena *a, const struct json *j, const struct request_place *at, struct prompt *out,
                           struct err *e);
int anthropic_reply_read(struct arena *a, const struct json *j, struct reply *out, struct err *e);
/* POST /v1/messages/count_tokens: a request without max_tokens. */
int anthropic_count_read(struct arena *a, const struct json *j, const struct request_place *at, struct prompt *out, struct err *e);
/* One block of a message's content, opaque strings as on the wire. 0 or -1. */
int anthropic_block_read(const struct reading *f, const struct spot *at, jref n, struct block *out);
/* Adds what this usage object says to *u (its members are sums, absent ones keep their value); unknown members to `rest`. */
void anthropic_usage_read(const struct reading *f, jref n, struct usage *u, str *service_tier, struct members *rest);
enum stop_reason anthropic_stop_read(str word);

/* ---- writing ---- */

enum envelope { ENVELOPE_MESSAGES, ENVELOPE_INVOKE };   /* Invoke: no `model`, no `stream`, betas in the body */
int anthropic_request_write_as(const struct prompt *p, const struct target *to, struct translation *t, enum envelope envelope,
                               struct buf *out);
void anthropic_reply_write(const struct reply *r, const struct answer_context *c, struct buf *out);
/* {"type":"text",...}: a block of an answer. With `is_start`: as content_block_start has it, texts and input empty. */
void anthropic_block_write(struct json_writer *w, const struct block *b, const struct answer_context *c,
                           const struct dialect_ops *from, bool is_start);
void anthropic_usage_write(struct json_writer *w, const struct usage *u, str service_tier, const struct members *rest);
str anthropic_stop_name(enum stop_reason stop);             /* "" for STOP_UNKNOWN */

struct thinking { const char *type; int64_t budget; str effort; };     /* type NULL: not sent; effort "" : not said */
/* What a Claude model is told of reasoning. is_own: the client speaks this dialect and is taken at its word. */
struct thinking anthropic_thinking(const struct prompt *p, const struct target *to, struct translation *t, bool is_own,
                                   int64_t max_tokens);
void anthropic_thinking_write(struct json_writer *w, const struct thinking *k, const struct prompt *p, bool is_own);
/* "anthropic_beta":[...] of those in to->anthropic_betas that Bedrock knows, for its bodies. */
void anthropic_betas_write(struct json_writer *w, const struct target *to, struct translation *t);

/* Is `d` a dialect whose signatures and redacted thinking are Anthropic's? */
bool anthropic_is_family(const struct dialect_ops *d);
/* The wire's opaque strings. Others' opaque data travels through a Messages client as "sbx1:DIALECT:ROLE:DATA" in the places
 * that clients must return untouched: a thinking block's signature, or the data of a redacted_thinking block. ROLE says what
 * it is: "sealed" (sealed reasoning), "thought" (signature of this thinking block), "next" and "last" (signature of
 * the block behind or before). */
str anthropic_wrap(struct arena *a, str origin, const char *role, str data);
bool anthropic_carries_wrap(str body);                     /* some JSON string of it begins as an envelope does */
bool anthropic_unwrap(str wire, str *origin, str *role, str *data);
/* Where b's opaque data came from, given the dialect of its prompt or reply; "" : Anthropic's own. */
str anthropic_origin(const struct block *b, const struct dialect_ops *d);

#endif
