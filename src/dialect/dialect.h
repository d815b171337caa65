/* dialect/dialect.h -- one wire format: reading and writing requests, answers, streams and errors. One file (or a
 * pair, *_read.c and *_write.c) and one line in list.h each. Pure: no I/O, no clock; ids come from a seed.
 *
 * Writers know what their format cannot say. `translation` collects it: a loss that only costs (cache marks, metadata)
 * becomes a warning that names the field and goes to the client in x-vsr-protocol-warnings; a loss that would change the
 * answer (n > 1, audio out, forced tool that does not exist) refuses with a sentence and the field's JSON path in the
 * client's own dialect, unless the configuration says `drop`. */
#ifndef SBX_DIALECT_H
#define SBX_DIALECT_H

#include "base/err.h"
#include "dialect/canonical.h"

/* What the URL says of a request: Gemini names model and streaming there. */
struct request_place { str model; bool is_streaming; };

/* Where a request goes: what the writer must know of it. */
struct target {
    str model;                      /* as the provider knows it */
    int64_t default_max_tokens;     /* for formats that require it; 0: 4096 */
    bool drops_unsupported;         /* configuration: drop with a warning instead of refusing */
    bool max_tokens_is_old;         /* OpenAI-compatible: max_tokens instead of max_completion_tokens */
    bool is_legacy_reasoning;       /* Anthropic: thinking{enabled,budget} instead of adaptive + output_config.effort */
    bool lacks_strict, lacks_parallel, lacks_developer, lacks_stream_options;  /* quirks of compatible servers (provider table) */
    bool lacks_json_schema;         /* response_format json_schema becomes json_object plus a line of instruction */
    bool lacks_custom_tools;        /* tools with free-text input become functions with one string */
    bool is_plain;                  /* refuses OpenAI's newer members: verbosity, prompt_cache_key, service_tier, ... */
    bool takes_top_k;               /* OpenAI-compatible with the member top_k */
    bool keeps_cache_control;       /* OpenAI-compatible with Anthropic's cache marks (OpenRouter) */
    bool keeps_google_signatures;   /* OpenAI-compatible with extra_content.google.thought_signature (Google's own) */
    bool knows_effort_by_name;      /* OpenAI: reasoning_effort only for models called o1..., o3..., o4..., gpt-5... */
    unsigned stops_max;             /* most stop sequences; 0: any number */
    bool wants_reasoning_content;   /* reasoning of earlier turns is sent back as reasoning_content (DeepSeek, vLLM) */
    unsigned call_id_max;           /* longest tool call id; 0: any. Longer ones are shortened, reversibly by the table in `translation` */
    str anthropic_version;          /* put into the body (Vertex, Bedrock Invoke) and `model` left out; Invoke has no `stream` either; "" : no */
    str anthropic_betas;            /* comma list from the client's header; Bedrock Invoke puts it into the body */
};

struct warning { str field; const char *reason; };      /* reason: "dropped", "clamped", "approximated" */
struct rename { str from, to; };                        /* tool names and call ids changed for the provider; undone in the answer */

struct translation {
    struct arena *a;
    struct warning *warnings; size_t n_warnings;
    struct rename *renames; size_t n_renames;
    struct err refusal;             /* text set: the request cannot be said there */
    str param;                      /* of the refusal, or of a read error: "messages[3].content" */
};
void translation_warn(struct translation *t, str field, const char *reason);
int  translation_refuse(struct translation *t, str param, const char *format, ...)
    __attribute__((format(printf, 3, 4)));              /* returns -1 */
/* Semantic loss: refuses (-1), or warns (0) when the target drops. */
int  translation_lose(struct translation *t, const struct target *to, str param, const char *what);
str  translation_name_back(const struct translation *t, str to);   /* the client's spelling of a renamed id or tool; itself if none */

/* What a writer of answers must know of the request. */
struct answer_context {
    struct arena *a;
    const struct prompt *prompt;
    const struct dialect_ops *from; /* the provider's dialect: whose opaque data and words the answer holds; NULL: unknown */
    str request_id;                 /* ids that the provider gave none for are made of it */
    str model;                      /* told to the client when the provider named none */
    int64_t now;                    /* seconds since 1970 */
    int64_t prompt_tokens;          /* estimate, for formats that must tell before the provider has */
    bool includes_usage;            /* of a stream, OpenAI chat */
    const struct translation *translation;      /* renames to undo; NULL: none */
    str response_id;                /* Responses: the id under which it is stored; "" : made */
    str stored_previous_id, stored_conversation_id;
};

struct stream_event { str name, data; bool is_exception; };    /* SSE event; or a frame of an event stream with its type */

struct dialect_ops {
    const char *name;               /* openai_chat, openai_responses, anthropic, gemini, bedrock */
    const char *label;              /* for headers and people: "openai", "anthropic" */
    bool ends_without_word;         /* streams end by EOF after the stop reason (Gemini, Bedrock) */
    bool is_crlf;                   /* its SSE uses CRLF */
    /* Its clients return signed thought only to the model they asked for, by the name in the answer: an answer has the
     * client's name for the model even where policy has put another one into the request. */
    bool names_model_as_asked;

    /* 0; -1 and e starts with the JSON path: "messages[3].content: expected a string or an array, got a number".
     * Unknown members go to `rest`; null counts as absent. */
    int (*request_read)(struct arena *a, const struct json *j, const struct request_place *at, struct prompt *out, struct err *e);
    /* The body for a provider that speaks this dialect. 0; -1: t->refusal. */
    int (*request_write)(const struct prompt *p, const struct target *to, struct translation *t, struct buf *out);

    int (*reply_read)(struct arena *a, const struct json *j, struct reply *out, struct err *e);
    void (*reply_write)(const struct reply *r, const struct answer_context *c, struct buf *out);

    /* Streams. A reader gets one event at a time and emits deltas; texts in them live until it returns. 0; -1: not this
     * dialect's stream (told as DELTA_ERROR by the caller). Its memory: arena for what is small and bounded, `reader_free`
     * for the rest. */
    void *(*reader_new)(struct arena *a);
    int (*reader_event)(void *reader, struct arena *scratch, const struct stream_event *e, const struct delta_sink *to);
    void (*reader_free)(void *reader);                  /* may be NULL */
    /* Whether an event of that name only carries pieces of content: who merely passes the stream on need not read it. NULL: no
     * such events, or they cannot be told by name. */
    bool (*event_is_routine)(str name);
    /* A writer gets ordered deltas (canonical.h) and appends whole events, framing included. */
    void *(*writer_new)(const struct answer_context *c);
    void (*writer_delta)(void *writer, const struct delta *d, struct buf *out);
    void (*writer_free)(void *writer);                  /* may be NULL */

    /* A provider's error body. False: not of this shape. */
    bool (*error_read)(struct arena *a, const struct json *j, int status, struct failure *out);
    /* The header that names a provider's error, and what the word in it makes of *out. NULL: there is none. */
    const char *error_header;
    void (*error_named)(str word, struct failure *out);
    void (*error_write)(const struct failure *f, struct buf *out);
    int (*error_status)(const struct failure *f);       /* NULL: f->status */

    /* The rest is of dialects that clients speak to us; chat lacks it, whose requests are not read as a whole.
     * Does this request hold opaque data of other families, which this dialect's provider would refuse? Then it must go
     * through the canonical form even where bytes could pass. A look at the bytes: cheap, may say yes in vain. */
    bool (*carries_foreign)(str body);
    /* The tokens of a prompt, when a client asks for them alone. Reads as request_read, less what only an answer needs. */
    int (*count_read)(struct arena *a, const struct json *j, const struct request_place *at, struct prompt *out, struct err *e);
    void (*count_write)(int64_t tokens, struct buf *out);
};

#define X(symbol) extern const struct dialect_ops dialect_##symbol;
#include "dialect/list.h"
#undef X
extern const struct dialect_ops *const dialect_all[];   /* NULL-terminated */
const struct dialect_ops *dialect_by_name(str name);

#endif
