/* dialect/openai_responses.h -- OpenAI's Responses API: what its four files share, and what the state store needs of it.
 *
 * The format is a list of items: messages, calls, outputs of calls, reasoning. A turn of ours holds what one answer of a model
 * would: reasoning, at most one message, then calls; so a bridge to message-shaped formats finds them together. */
#ifndef SBX_OPENAI_RESPONSES_H
#define SBX_OPENAI_RESPONSES_H

#include "dialect/dialect.h"

extern const struct dialect_ops dialect_openai_responses;

static inline bool responses_is_own(const struct dialect_ops *d)
{
    return d == &dialect_openai_responses;
}

enum {
    RESPONSES_ITEMS_MAX = 65536,        /* of one request or answer; beyond: refused */
    RESPONSES_ID_MAX = 48,
};

/* ---- openai_responses_read.c ---- */

int responses_request_read(struct arena *a, const struct json *j, const struct request_place *at, struct prompt *out,
                           struct err *e);
int responses_reply_read(struct arena *a, const struct json *j, struct reply *out, struct err *e);
bool responses_error_read(struct arena *a, const struct json *j, int status, struct failure *out);

/* Appends the turns of a JSON array of items; `where` is its name in errors. For stored history. */
int responses_items_read(struct arena *a, const struct json *j, jref items, const char *where, struct turn **turns,
                         uint32_t *n, struct err *e);
/* The block of an output item: reasoning, calls, hosted calls; BLOCK_KIND_N for a message, whose parts are blocks. Lenient. */
struct block responses_item_block(struct arena *a, const struct json *j, jref item);
struct block responses_part_block(struct arena *a, const struct json *j, jref part);   /* of a message */
/* Texts of a summary or of reasoning content, joined by an empty line. */
str  responses_parts_text(struct arena *a, const struct json *j, jref parts);
/* What a message item has besides its content (phase, ...), as "message.KEY": for the rest of its first block. */
void responses_message_rest(struct arena *a, const struct json *j, jref item, struct members *rest);
/* A response's members without a canonical field, those that repeat the request among them. */
void responses_rest(struct arena *a, const struct json *j, jref response, struct members *rest);
void responses_usage_read(const struct json *j, jref usage, struct usage *out);
enum stop_reason responses_stop(const struct json *j, jref response, bool has_calls, struct arena *a, str *word);
/* status 0: from the error's code. */
void responses_failure_read(struct arena *a, const struct json *j, jref error, int status, struct failure *out);
bool responses_is_item_type(str type);      /* of an item that a provider runs itself: web_search_call, ... */

/* ---- openai_responses_write.c ---- */

int  responses_request_write(const struct prompt *p, const struct target *to, struct translation *t, struct buf *out);
/* {"key":value} of what the client asked for, by the names that an answer repeats. */
void responses_told_write(const struct answer_context *c, struct json_writer *w);
void responses_rest_except(const struct members *rest, str except, str also, struct json_writer *w);
/* What a call of the answer is called by the client: namespace apart, custom tools known. */
struct responses_call { str name, space; bool is_custom; };
struct responses_call responses_call_of(const struct answer_context *c, const struct block *b, struct arena *a);

/* ---- openai_responses_answer.c ---- */

void responses_reply_write(const struct reply *r, const struct answer_context *c, struct buf *out);
void responses_error_write(const struct failure *f, struct buf *out);
void responses_count_write(int64_t tokens, struct buf *out);

str  responses_inside(str array);       /* a JSON array's text without its brackets */
/* An id: prefix (rs_, msg_, fc_, ctc_, ig_) and 32 digits made of the response's id, or the request's, and the item's place. */
str  responses_id(char out[RESPONSES_ID_MAX], const char *prefix, const struct answer_context *c, uint32_t at);
/* The response's own: the one it is stored under, the provider's, or one made. */
str  responses_response_id(const struct answer_context *c, str given, char out[RESPONSES_ID_MAX]);

struct responses_state {                /* of a response object that is written */
    str id, model, service_tier;
    int64_t created;
    const char *status;                 /* in_progress, completed, incomplete, failed */
    const char *incomplete_reason;      /* NULL: complete */
    const struct failure *failure;      /* NULL: none */
    str output;                         /* JSON items with commas between them */
    const struct usage *usage;          /* NULL: null */
};
/* The members that repeat the request, with commas between them, made once per answer. `r` may be NULL. */
void responses_echo_write(const struct answer_context *c, const struct reply *r, struct buf *out);
void responses_object_write(const struct responses_state *s, str echo, struct json_writer *w);
const char *responses_incomplete(enum stop_reason stop, bool has_refusal);     /* NULL: completed */

str  responses_call_id(const struct answer_context *c, const struct block *b, uint32_t at);
str  responses_unwrap(struct arena *a, str arguments);      /* {"input": "text"} of a custom tool that travelled as a function */
/* A block's opaque data as encrypted content; of another family than OpenAI's: in an envelope. "" : none. */
str  responses_sealed(struct arena *a, const struct block *b, const struct dialect_ops *from);
bool responses_shows(const struct block *b);                /* false: this dialect has no output item for it */

struct responses_item {                 /* an output item that is written: call, reasoning, image, hosted call */
    const struct block *block;
    struct responses_call call;
    str id, call_id, text;              /* text: arguments, input, reasoning */
    str signature;
    const char *status;
    const struct members *rest;         /* NULL: none */
};
void responses_item_write(const struct responses_item *i, struct json_writer *w);

struct responses_part {                 /* a message's part; annotations, logprobs: JSON items with commas between them */
    enum block_kind kind;
    str text, annotations, logprobs;
    const struct members *rest;         /* NULL: none */
};
void responses_part_write(const struct responses_part *p, struct json_writer *w);
/* One citation in this dialect's words; false: it has none. Its own and chat's pass, web results become url_citation. */
bool responses_citation_write(struct arena *a, str raw, int64_t text_bytes, struct json_writer *w);
str  responses_output_items(const struct reply *r, const struct answer_context *c);    /* JSON items with commas, in c->a */

/* ---- openai_responses_stream.c ---- */

void *responses_reader_new(struct arena *a);
int   responses_reader_event(void *reader, struct arena *scratch, const struct stream_event *e, const struct delta_sink *to);
bool  responses_event_is_routine(str name);
void *responses_writer_new(const struct answer_context *c);
void  responses_writer_delta(void *writer, const struct delta *d, struct buf *out);
void  responses_writer_free(void *writer);

#endif
