/* dialect/openai_chat_parse.h -- an OpenAI Chat Completions request as a canonical chat.
 *
 * Reads the tape of json_parse; texts without escapes stay where the client put them. */
#ifndef SBX_DIALECT_OPENAI_CHAT_PARSE_H
#define SBX_DIALECT_OPENAI_CHAT_PARSE_H

#include "base/err.h"
#include "base/json.h"
#include "decide/chat.h"

/* How raw JSON is measured for the token floor (spec 01, section 10, item 4): as the client sent
 * it, or as Go's json.Marshal would write it again: no white space between tokens, and the
 * characters < > & U+2028 U+2029 as six-byte escapes. */
enum size_rule { SIZES_AS_SENT, SIZES_AS_GO_MARSHALS };

enum {
    CHAT_MESSAGES_MAX = 65536,          /* beyond: refused; no model reads that many */
    CHAT_PARTS_MAX = 1 << 18,           /* of all messages together; beyond: refused */
    METADATA_MAX = 32, METADATA_KEY_MAX = 128, METADATA_VALUE_MAX = 1024,   /* beyond: not seen */
};

/* Fills *out in arena a; it points into j->text and a. Returns 0, or -1 and one sentence in e that
 * starts with the JSON path: "messages[3].content: expected a string or an array, got a number".
 * Unknown members are ignored, null counts as absent. */
int openai_chat_parse(struct arena *a, const struct json *j, enum size_rule rule,
                      struct chat *out, struct err *e);

/* The same for forms that may lack `model` or `messages` (the management API's). */
int openai_chat_parse_partial(struct arena *a, const struct json *j, enum size_rule rule,
                              struct chat *out, struct err *e);

/* Bytes of a value under a rule; raw is one JSON value as it stands in the source. */
uint64_t json_size(str raw, enum size_rule rule);

#endif
