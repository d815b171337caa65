/* dialect/gemini.h -- Google's generateContent: what its files share, and the small format around it: model lists.
 *
 * Everything is a part. Thoughts are text parts with a flag, calls and their results are parts, and an opaque `thoughtSignature`
 * may stand on any of them. Names may be spelled in camelCase or snake_case (proto JSON); we write camelCase. */
#ifndef SBX_GEMINI_H
#define SBX_GEMINI_H

#include "dialect/fields.h"

enum { GEMINI_PARTS_MAX = 65536 };      /* of one request or answer; beyond: refused */

/* ---- around it ---- */

struct gemini_model { str name, description; int64_t context_tokens, output_tokens; };      /* 0: unknown */
void gemini_models_write(const struct gemini_model *models, size_t n, struct buf *out);     /* GET /v1beta/models */
void gemini_model_write(const struct gemini_model *m, struct buf *out);                     /* GET /v1beta/models/{name} */

/* ---- gemini_read.c ---- */

int gemini_request_read(struct arena *a, const struct json *j, const struct request_place *at, struct prompt *out, struct err *e);
/* Body of :countTokens, plain contents or a whole generateContentRequest, as a prompt. */
int gemini_count_read(struct arena *a, const struct json *j, const struct request_place *at, struct prompt *out, struct err *e);
int gemini_reply_read(struct arena *a, const struct json *j, struct reply *out, struct err *e);
bool gemini_error_read(struct arena *a, const struct json *j, int status, struct failure *out);

/* fields_get for names in either spelling. */
void gemini_get(const struct reading *f, jref object, const str *names, size_t n, jref *out, struct members *rest, str prefix);
/* One part of an answer as a block; lenient. False: nothing in it. */
bool gemini_part_block(const struct reading *f, jref part, struct block *out);
enum stop_reason gemini_stop(str word, bool has_calls);
bool gemini_usage_read(const struct reading *f, jref n, struct usage *u);
str  gemini_logprobs(const struct reading *f, jref result);          /* as chat's array; "" none */
str  gemini_citations(const struct reading *f, jref grounding);      /* as an array of url_citation; "" none */
str  gemini_made_call_id(struct arena *a, str response_id, uint32_t at);   /* for calls that came without one */

/* ---- gemini_write.c ---- */

int  gemini_request_write(const struct prompt *p, const struct target *to, struct translation *t, struct buf *out);
void gemini_reply_write(const struct reply *r, const struct answer_context *c, struct buf *out);
void gemini_error_write(const struct failure *f, struct buf *out);

const char *gemini_finish(enum stop_reason stop);
void gemini_usage_write(const struct usage *u, struct json_writer *w);
/* A block of an answer as parts of their array. `from`: whose opaque data it is. */
void gemini_part_write(const struct block *b, const struct answer_context *c, const struct dialect_ops *from,
                       struct json_writer *w);
/* A block's signature as base64 that this dialect may carry: its own as it is, another's in an envelope. "" : none. */
str  gemini_signature(struct arena *a, const struct block *b, const struct dialect_ops *from);

extern const struct dialect_ops dialect_gemini;

#endif
