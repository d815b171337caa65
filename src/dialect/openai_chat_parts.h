/* dialect/openai_chat_parts.h -- what the files of the Chat Completions dialect share: openai_chat_read.c and openai_chat_write.c
 * (requests), openai_chat.c (answers, errors), openai_chat_reader.c and openai_chat_writer.c (streams). */
#ifndef SBX_DIALECT_OPENAI_CHAT_PARTS_H
#define SBX_DIALECT_OPENAI_CHAT_PARTS_H

#include "dialect/fields.h"

#include "base/put.h"

extern const struct dialect_ops dialect_openai_chat;

/* ---- reading ---- */

int openai_chat_request_read(struct arena *a, const struct json *j, const struct request_place *at, struct prompt *out,
                             struct err *e);
int openai_chat_reply_read(struct arena *a, const struct json *j, struct reply *out, struct err *e);
/* One message, of a request or an answer, as a turn. Reasoning comes first, then content, then tool calls. */
int openai_message_read(const struct reading *r, const struct spot *at, jref n, struct turn *out);
void openai_usage_read(const struct json *j, jref usage, struct usage *out);
enum stop_reason openai_stop_read(str word);
/* extra_content.google.thought_signature of a tool call or a message; "" none. */
str openai_google_signature(const struct reading *r, jref extra_content);
/* An item of thinking_blocks or reasoning_details. False: nothing in it. */
bool openai_thought_read(const struct reading *r, jref item, bool is_detail, struct block *out);

/* ---- writing ---- */

int openai_chat_request_write(const struct prompt *p, const struct target *to, struct translation *t, struct buf *out);
/* The opaque parts of reasoning, in the members that gateways agreed on: thinking_blocks for Anthropic's family,
 * reasoning_details for the others. `from`: the dialect whose reader made the blocks. False: nothing to write. */
bool openai_thoughts_write(struct json_writer *w, const struct block *blocks, uint32_t n, const struct dialect_ops *from,
                           bool are_details);
bool openai_thought_is_detail(const struct block *b, const struct dialect_ops *from);
void openai_thought_write(struct json_writer *w, const struct block *b, const struct dialect_ops *from);
void openai_signature_write(struct json_writer *w, str signature);     /* the member extra_content */
void openai_image_write(struct json_writer *w, const struct media *m, struct arena *a);     /* {"type":"image_url",...} */

/* ---- answers ---- */

bool openai_speaks_old_form(const struct prompt *p);        /* clients that declare `functions` are answered in that form */
bool openai_is_custom_call(const struct answer_context *c, const struct block *b, str name);
str  openai_finish_name(enum stop_reason stop, bool is_old);
str  openai_answer_id(const struct answer_context *c, str id);
str  openai_call_id(const struct answer_context *c, const struct block *b, uint32_t at);
void openai_usage_write(struct json_writer *w, const struct usage *u);      /* the member usage */
/* The members of a call up to its name; the object of the function stays open for arguments or input. */
void openai_call_head_write(struct json_writer *w, str name, str id, bool is_custom);
/* One citation as {"type":"url_citation","url_citation":{...}}; offsets are characters of the message's text. False: it cites no
 * address, and this format cites nothing else. */
bool openai_citation_write(struct arena *a, str raw, int64_t from, int64_t to, struct json_writer *w);
size_t openai_count_characters(str s);
bool openai_error_read(struct arena *a, const struct json *j, int status, struct failure *out);
void openai_error_write(const struct failure *f, struct buf *out);

/* ---- streams ---- */

void *openai_reader_new(struct arena *a);
int   openai_reader_event(void *reader, struct arena *scratch, const struct stream_event *e, const struct delta_sink *to);
void  openai_reader_free(void *reader);
void *openai_writer_new(const struct answer_context *c);
void  openai_writer_delta(void *writer, const struct delta *d, struct buf *out);
void  openai_writer_free(void *writer);

#endif
