/* decide/chat.h -- one request to a language model, whatever dialect it came in.
 *
 * A dialect fills it from the client's bytes; texts point into those bytes or into the
 * request's arena. It holds what policy may look at, not what is forwarded: same-dialect
 * traffic is forwarded from the bytes themselves. Sizes are counted here once because the
 * context estimate (VSR's token floor) is defined on raw JSON lengths. */
#ifndef SBX_CHAT_H
#define SBX_CHAT_H

#include "base/arena.h"

enum role { ROLE_SYSTEM, ROLE_DEVELOPER, ROLE_USER, ROLE_ASSISTANT, ROLE_TOOL, ROLE_OTHER, ROLE_N };

struct message {
    enum role role;
    str *texts; uint32_t n_texts;       /* the content's text parts, decoded; a string is one part */
    bool is_spelled;                    /* the texts are JSON strings as they came, quotes included (facts.h) */
    uint32_t n_images;                  /* image_url and input_image parts */
    uint32_t n_tool_calls;
    uint64_t text_bytes;                /* decoded bytes of all text: content, role, name, tool_call_id,
                                           refusal, reasoning_content, tool calls' id/type/name */
    uint64_t structured_bytes;          /* raw JSON bytes: tool arguments, tool-result content, unknown parts */
};

struct chat {
    str model;                          /* as requested */
    struct message *messages; uint32_t n_messages;
    uint32_t n_tools;                   /* tools + functions */
    uint64_t structured_bytes;          /* raw JSON bytes of tools, functions, tool_choice,
                                           function_call, response_format */
    uint64_t output_reserve;            /* max_completion_tokens, else max_tokens; 0: not given */
    bool is_streaming;
    bool has_response_format;
    struct { str key, value; } *metadata; uint32_t n_metadata;  /* strings only, bounds of spec 2.1 */
    str user;                           /* the body's `user`, untrusted */
};

const char *role_name(enum role role);

#endif
