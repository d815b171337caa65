/* dialect/openai_answer.h -- an answer of our own in OpenAI's words, chat or completion, whole or as a stream.
 *
 * For texts that no model has made: refusals, explanations. So no token is claimed to have been generated. */
#ifndef SBX_DIALECT_OPENAI_ANSWER_H
#define SBX_DIALECT_OPENAI_ANSWER_H

#include "base/buf.h"

struct openai_answer {
    str id, model, text;
    int64_t created;                    /* seconds since 1970 */
    int64_t prompt_tokens;
    bool is_chat;                       /* else a text completion */
    bool includes_usage;                /* a stream's client asked for it */
};

void openai_answer_write(const struct openai_answer *v, struct buf *out);
void openai_answer_write_stream(const struct openai_answer *v, struct buf *out);    /* events, a line of text each */

#endif
