/* dialect/canonical.h -- what can be said to a language model and what it can answer, whatever the wire format.
 *
 * The middle of every translation: a dialect's reader fills these structs, another's writer spells them. One
 * idea carries it: content is a list of blocks, each of one kind (Anthropic's shape, which nests least), and what has
 * no place here stays raw JSON in `rest`, which the writer of the same dialect puts back. So A -> canonical -> A keeps
 * unknown members, and A -> canonical -> B can name what it had to drop.
 *
 * Texts point into the message they were read from or into the arena. "" is absent unless said otherwise. */
#ifndef SBX_DIALECT_CANONICAL_H
#define SBX_DIALECT_CANONICAL_H

#include "base/arena.h"
#include "base/json.h"
#include "decide/chat.h"

struct dialect_ops;

/* A JSON member as it came. Its dialect is that of the prompt or reply it is part of. */
struct member { str key, raw; };
struct members { struct member *items; size_t n; };

/* ---- content ---- */

enum block_kind {
    BLOCK_TEXT,
    BLOCK_REFUSAL,
    BLOCK_IMAGE,
    BLOCK_AUDIO,
    BLOCK_FILE,                     /* a document: PDF, plain text, ... */
    BLOCK_TOOL_CALL,
    BLOCK_TOOL_RESULT,
    BLOCK_REASONING,                /* readable thought; `signature` proves it to its provider */
    BLOCK_SEALED_REASONING,         /* thought that only its provider can read: `sealed` */
    BLOCK_OTHER,                    /* what only its own dialect knows (server tools, ...): `raw` */
    BLOCK_KIND_N
};

struct media {                      /* image, audio, file: exactly one of data, url, file_id, text is set */
    str media_type;                 /* "image/png"; "" unknown */
    str data;                       /* base64 */
    str url;
    str file_id;                    /* an id of the provider that issued it */
    str text;                       /* a document given as plain text */
    str name;                       /* file name or title */
    str detail;                     /* image: low, high, auto, original */
    str format;                     /* audio: wav, mp3 */
};

struct block {
    enum block_kind kind;
    str text;                       /* text, refusal, reasoning */
    str spelled, spelled_text;      /* `text` as the JSON string it was read from; of which text. See block_spelled */
    struct media media;
    str call_id;                    /* tool call and tool result */
    str name;                       /* tool call: the tool. Tool result: the same, looked up by call_id; "" unknown */
    str arguments;                  /* tool call: JSON text of an object as the sender spelled it, or the input of a custom tool */
    bool is_custom;                 /* call of (result for) a tool with free-text input */
    struct block *content; uint32_t n_content;          /* tool result: TEXT, IMAGE, FILE, OTHER */
    bool is_error;                  /* tool result */
    str signature;                  /* reasoning, tool call, text: opaque, returned to the provider that made it */
    str sealed;                     /* sealed reasoning: opaque */
    str origin;                     /* whose signature or sealed this is: a dialect's name; "" : of the prompt's or reply's dialect */
    str summary;                    /* sealed or plain reasoning of Responses: raw JSON array of its summary parts */
    str item_id;                    /* Responses: the item's id */
    str cache_control;              /* raw JSON of the mark behind this block */
    str citations;                  /* raw JSON array, in the dialect's own terms: citations, annotations */
    str raw;                        /* BLOCK_OTHER: the value as it came */
    str raw_type;                   /* BLOCK_OTHER: its "type" or its member's name, for messages to people */
    struct members rest;
};

struct turn {                       /* one message. Consecutive ones may have the same role */
    enum role role;                 /* results may stand in USER (Anthropic, Gemini, Bedrock) or TOOL turns (OpenAI) */
    struct block *blocks; uint32_t n;
    str name;                       /* OpenAI's `name` */
    str item_id;                    /* Responses: id of a message item */
    struct members rest;
};

/* ---- what the client asks for ---- */

enum tool_kind { TOOL_FUNCTION, TOOL_CUSTOM, TOOL_HOSTED };     /* hosted: run by the provider (web search, ...): `raw` */

struct tool {
    enum tool_kind kind;
    str name, description;
    str parameters;                 /* raw JSON Schema; "" none */
    str format;                     /* custom: raw JSON of the input's format */
    int strict;                     /* -1: not said */
    str cache_control;              /* raw */
    str raw;                        /* hosted: the value as it came */
    str raw_type;                   /* hosted: its type */
    struct members rest;
};

enum tool_choice { CHOICE_UNSET, CHOICE_AUTO, CHOICE_NONE, CHOICE_REQUIRED, CHOICE_TOOL };

enum reasoning_mode { REASONING_UNSET, REASONING_OFF, REASONING_ON, REASONING_ADAPTIVE };

enum output_kind { OUTPUT_UNSET, OUTPUT_TEXT, OUTPUT_JSON_OBJECT, OUTPUT_JSON_SCHEMA };

struct prompt {
    const struct dialect_ops *dialect;      /* it came in; owner of every `rest` and `raw` in here */
    str model;
    bool is_streaming;
    int includes_usage;             /* of a stream: -1 not said (dialects that always tell: 1) */
    struct block *system; uint32_t n_system;        /* instructions outside the turns; SYSTEM and DEVELOPER turns stay turns */
    struct turn *turns; uint32_t n_turns;
    struct tool *tools; uint32_t n_tools;
    enum tool_choice choice;
    str *chosen; uint32_t n_chosen; /* CHOICE_TOOL: one name; CHOICE_REQUIRED, CHOICE_AUTO: allowed ones, 0: all */
    int parallel_tool_calls;        /* -1: not said */
    int64_t max_tokens;             /* 0: not given */
    int64_t n_answers;              /* 0: not given */
    double temperature, top_p;      /* NAN: not given */
    int64_t top_k;                  /* -1 */
    int64_t seed; bool has_seed;
    double presence_penalty, frequency_penalty;     /* NAN */
    str *stops; uint32_t n_stops;
    int logprobs;                   /* -1 */
    int64_t top_logprobs;           /* -1 */
    enum reasoning_mode reasoning;
    str reasoning_effort;           /* none, minimal, low, medium, high, xhigh, max */
    int64_t reasoning_budget;       /* tokens; 0: not given; -1: the model decides (Gemini) */
    str reasoning_summary;          /* auto, concise, detailed, none (Anthropic's display "omitted") */
    bool wants_sealed_reasoning;    /* Responses: include reasoning.encrypted_content */
    enum output_kind output;
    str schema_name, schema, schema_description;    /* schema: raw JSON */
    int schema_strict;              /* -1 */
    str verbosity;
    str user;                       /* end user's id */
    str cache_key;                  /* prompt_cache_key */
    str service_tier;
    str metadata;                   /* raw JSON object */
    struct members rest;            /* top-level members without a field here */
};

struct prompt prompt_new(const struct dialect_ops *d);      /* nothing given, and of the dialects that always tell the usage */

/* ---- what comes back ---- */

enum stop_reason {
    STOP_UNKNOWN,                   /* none given (yet) */
    STOP_END,                       /* the model had said all */
    STOP_SEQUENCE,
    STOP_LENGTH,                    /* max_tokens */
    STOP_CONTEXT,                   /* the model's context window is full */
    STOP_TOOLS,
    STOP_FILTER,                    /* provider's content filter */
    STOP_REFUSAL,
    STOP_PAUSE,                     /* Anthropic: go on with another request */
    STOP_MALFORMED,                 /* the model's tool call could not be read (Gemini, Bedrock): an error to others */
};

/* Token counts of one answer. prompt_tokens includes cached_tokens (read) and cache_write_tokens;
 * completion_tokens includes reasoning_tokens. */
struct usage {
    int64_t prompt_tokens, completion_tokens, cached_tokens, cache_write_tokens, reasoning_tokens;
    int64_t prompt_audio_tokens, completion_audio_tokens, prompt_image_tokens;
    int64_t cache_write_1h_tokens;  /* part of cache_write_tokens with the longer life */
    bool splits_cache_write;        /* the provider told the parts of cache_write_tokens, be they 0 */
    bool is_known;                  /* from the provider; else estimated from what was relayed */
};

/* Of one kind in one answer; beyond: the provider is mistaken, and sums would not forget it. */
enum { USAGE_TOKENS_MAX = 1 << 30 };

/* An integer from 0 to USAGE_TOKENS_MAX. Anything else leaves *out as it is: false. */
bool usage_count_read(const struct json *j, jref n, int64_t *out);

struct reply {
    const struct dialect_ops *dialect;      /* it was read from */
    str id, model;
    int64_t created;                /* seconds since 1970; 0 unknown */
    struct block *blocks; uint32_t n;
    enum stop_reason stop;
    str stop_text;                  /* the provider's own word */
    str stop_sequence;
    struct usage usage;
    str logprobs;                   /* raw JSON array of the chat API's token objects ("content"); "" none */
    str service_tier, system_fingerprint;
    struct members rest;
    str raw;                        /* JSON as the client was told it, where it passed through; "" : it has to be written */
};

/* ---- an error, in everybody's words ---- */

enum failure_kind {
    FAILURE_INVALID,                /* 400 */
    FAILURE_AUTH,                   /* 401 */
    FAILURE_BILLING,                /* 402, and insufficient_quota */
    FAILURE_PERMISSION,             /* 403 */
    FAILURE_NOT_FOUND,              /* 404 */
    FAILURE_CONFLICT,               /* 409 */
    FAILURE_TOO_LARGE,              /* 413 */
    FAILURE_RATE_LIMIT,             /* 429 */
    FAILURE_SERVER,                 /* 500 */
    FAILURE_UPSTREAM,               /* 502 */
    FAILURE_OVERLOADED,             /* 503, 529 */
    FAILURE_TIMEOUT,                /* 504 */
    FAILURE_KIND_N
};

struct failure {
    int status;                     /* of HTTP, in OpenAI's numbering (overloaded: 503); a dialect's writer says its own */
    enum failure_kind kind;
    str type;                       /* the sender's own word; "" : from kind */
    str code, param, message;
    str request_id;
};

enum failure_kind failure_kind_of_status(int status);

/* ---- an answer in pieces ---- */

enum delta_kind {
    DELTA_START,                    /* id, model, created, service_tier; usage when the prompt's tokens are known already */
    DELTA_BLOCK,                    /* block `index` begins: block->kind, call_id, name, item_id, ... (texts in it come as pieces) */
    DELTA_PIECE,                    /* of block `index`: `text` of text, refusal or reasoning; JSON of arguments */
    DELTA_SIGNATURE,                /* of block `index`: `text` is the whole signature */
    DELTA_CITATION,                 /* of block `index`: `text` is the raw JSON of one citation */
    DELTA_LOGPROBS,                 /* of block `index`: `text` is a raw JSON array of token objects */
    DELTA_CLOSE,                    /* block `index` is complete */
    DELTA_STOP,                     /* stop, stop_text, stop_sequence */
    DELTA_USAGE,                    /* usage: the sums so far; the last one counts */
    DELTA_PING,
    DELTA_ERROR,                    /* failure; nothing follows */
    DELTA_END,                      /* the provider's own end of the stream; nothing follows */
};

struct delta {
    enum delta_kind kind;
    uint32_t index;                 /* the reader's number of a block: any, unique in the answer */
    const struct block *block;
    str text;
    str id, model; int64_t created; str service_tier, system_fingerprint;
    enum stop_reason stop; str stop_text, stop_sequence;
    const struct usage *usage;
    const struct failure *failure;
    struct members rest;
};

struct delta_sink { void (*take)(void *arg, const struct delta *d); void *arg; };

/* Readers may be untidy: blocks interleave, closes are missing, usage comes before or after the stop. This puts them in
 * order: START, (BLOCK, (PIECE | SIGNATURE | CITATION | LOGPROBS)*, CLOSE)*, then one STOP that carries stop, stop_text,
 * stop_sequence and usage together, END. At most one block is open; pieces of a second one wait (up to ORDER_BYTES_MAX,
 * beyond: DELTA_ERROR) until the first is closed: by the reader, by the next text or reasoning block, or at STOP. Missing
 * call ids are made from `seed`. ERROR and PING pass at once. `order_end` at the end of the upstream's bytes: a stream that
 * had no END (or, where `ends_without_word`, no STOP) becomes DELTA_ERROR "the provider's stream broke off". */
enum { ORDER_BYTES_MAX = 8 << 20 };
struct order;
struct order *order_new(struct arena *a, uint64_t seed, const struct delta_sink *to);
void order_take(void *order, const struct delta *d);        /* a delta_sink's take */
void order_end(struct order *o, bool ends_without_word);
void order_free(struct order *o);
bool order_is_over(const struct order *o);                  /* END or ERROR has passed */

/* A whole answer out of ordered deltas (for clients that did not ask for a stream, for stores). Owns buffers. */
struct collector;
struct collector *collector_new(struct arena *a, const struct dialect_ops *from);
void collector_take(void *collector, const struct delta *d);
/* Texts are in the collector's arena. 0, or -1 when the stream failed (*f says how). */
int collector_reply(struct collector *c, struct reply *out, struct failure *f);
void collector_free(struct collector *c);
/* The other way: a whole reply as ordered deltas. */
void reply_emit(const struct reply *r, const struct delta_sink *to);

/* ---- what policy looks at ---- */

/* The view of decide/ on a prompt. Raw JSON sizes count as the parts of OpenAI's form would (spec 01, section 10, item 4). */
void prompt_chat(struct arena *a, const struct prompt *p, struct chat *out);

/* The name of a call's tool for results that do not say it (Gemini needs it); fills block.name everywhere. */
void prompt_name_results(struct prompt *p, struct arena *a);

/* ---- small helpers shared by dialects ---- */

/* The text of a JSON string; what it looked like is kept, for a writer that has the same rules. Strings with \u are not: there
 * an unpaired surrogate may be, which nobody is sent. */
void block_text_read(struct block *b, const struct json *j, jref n, struct arena *a);
/* As it can stand in JSON, "" if that is not known (or the text is not any more what was read). */
static inline str block_spelled(const struct block *b)
{
    bool is_same = b->spelled_text.ptr == b->text.ptr && b->spelled_text.len == b->text.len;
    return is_same ? b->spelled : (str){ 0 };
}
void block_text_write(const struct block *b, struct json_writer *w);

void members_add(struct members *m, struct arena *a, str key, str raw);
void members_write(const struct members *m, struct json_writer *w);
/* "data:image/png;base64,AAAA" -> media_type, data. False: not a data URL. */
bool media_from_data_url(str url, struct media *out);
str  media_data_url(const struct media *m, struct arena *a);
str  json_compact(struct arena *a, str raw);                /* one JSON value without white space between tokens */
bool json_is_object_text(struct arena *a, str text);        /* the whole text is one JSON object */

#endif
