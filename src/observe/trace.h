/* observe/trace.h -- where the time of one request went, for OpenTelemetry.
 *
 * A request carries a struct trace: its W3C identity and a handful of spans in fixed arrays.
 * Nothing is allocated and nothing happens when the trace is not sampled, except that the identity
 * is handed on. At trace_end sampled spans become OTLP JSON in a bounded queue; a background thread
 * posts them to <endpoint>/v1/traces. OTLP over gRPC is not spoken: port 4317 becomes 4318, with a
 * line in the log.
 *
 * Texts given to spans are borrowed until trace_end. */
#ifndef SBX_TRACE_H
#define SBX_TRACE_H

#include "base/err.h"
#include "net/http.h"

enum {
    TRACE_SPANS_MAX = 13,     /* the root and 12 below it; beyond: SPAN_NONE, counted on the root */
    TRACE_ATTRIBUTES_MAX = 96,      /* of all spans of a request; beyond: left out */
    TRACE_STATE_MAX = 512,          /* bytes of tracestate; beyond: not propagated */
    TRACE_QUEUE_MAX = 2048,       /* spans waiting for the collector; beyond: dropped and counted */
    TRACE_TEXT_MAX = 1024,          /* bytes of a text attribute; beyond: cut */
};

/* ---- identity: https://www.w3.org/TR/trace-context/ ---- */

struct trace_parent { uint8_t trace_id[16], span_id[8]; uint8_t flags; };

bool trace_parent_parse(str text, struct trace_parent *out); /* false: invalid, start a new trace */
enum { TRACE_PARENT_LEN = 55 };
void trace_parent_format(const struct trace_parent *p, char out[TRACE_PARENT_LEN + 1]);
bool trace_state_is_valid(str text);                          /* of one or several joined headers */

/* ---- spans ---- */

enum span_kind { SPAN_INTERNAL = 1, SPAN_SERVER = 2, SPAN_CLIENT = 3 };   /* OTLP numbers */
enum { SPAN_ROOT = 0, SPAN_NONE = 0xff };

struct span_attribute {
    const char *key;
    uint8_t span, type;
    union {
        str text;
        int64_t integer;
        double number;
        bool yes;
        struct { const str *items; size_t n; } list;
    } v;
};

struct span {
    uint8_t id[8];
    uint8_t parent, kind;           /* parent: index; the root's parent came from outside */
    bool is_open, is_error;
    str name;
    uint64_t from, to;              /* monotonic ns */
    str error;
};

struct trace {
    bool is_sampled, has_parent;
    uint8_t flags;
    uint8_t n_spans, n_lost;
    uint16_t n_attributes;
    uint8_t trace_id[16], parent_id[8];
    str state;                      /* tracestate, valid, to hand on */
    uint64_t wall, mono;            /* one instant on both clocks */
    struct span spans[TRACE_SPANS_MAX];
    struct span_attribute attributes[TRACE_ATTRIBUTES_MAX];
};

/* Begins the request's trace and its root span. `head` (may be NULL) is searched for traceparent
 * and tracestate; several tracestate headers are joined in arena `a`. Only counters are written, no
 * need to zero *t. `start` is monotonic, 0: now. */
void trace_begin(struct trace *t, const struct http_head *head, struct arena *a, str name,
                 uint64_t start);

/* A child of span `parent`, from now on. Returns its index; SPAN_NONE (accepted by all calls) when
 * the trace is not sampled or full. But see trace_parent_of: not sampled traces propagate, too. */
unsigned span_begin(struct trace *t, unsigned parent, enum span_kind kind, str name);
unsigned span_begin_at(struct trace *t, unsigned parent, enum span_kind kind, str name,
                       uint64_t start);
void span_end(struct trace *t, unsigned span);
void span_end_at(struct trace *t, unsigned span, uint64_t end);
void span_rename(struct trace *t, unsigned span, str name);     /* "chat gpt-5", once it is known */
void span_str(struct trace *t, unsigned span, const char *key, str v);      /* "" is left out */
void span_int(struct trace *t, unsigned span, const char *key, int64_t v);
void span_double(struct trace *t, unsigned span, const char *key, double v);   /* NAN is left out */
void span_bool(struct trace *t, unsigned span, const char *key, bool v);
void span_strs(struct trace *t, unsigned span, const char *key, const str *items, size_t n);
void span_error(struct trace *t, unsigned span, str type, str sentence);    /* and error.type */

/* The identity that the upstream call made inside `span` hands on, with t->state as its tracestate.
 * Not sampled: the root's. Tracing off: what the client sent, unchanged. */
void trace_parent_of(struct trace *t, unsigned span, char out[TRACE_PARENT_LEN + 1]);
void trace_id_text(const struct trace *t, char out[33]);        /* for logs and headers */

/* Ends what is open and queues the spans. The trace's texts are free afterwards. */
void trace_end(struct trace *t);

/* ---- export ---- */

enum trace_sampling { TRACE_ALWAYS_ON, TRACE_ALWAYS_OFF, TRACE_PROBABILISTIC };
bool trace_sampling_parse(str name, enum trace_sampling *out);  /* "always_on", ... */

struct trace_conf {
    bool is_enabled;
    str exporter;                   /* "otlp" (default) or "stdout" */
    str endpoint;                   /* "http://host:4318", "host:port", "https://host/v1/traces" */
    bool is_secure;                 /* a bare host:port means https, not http */
    enum trace_sampling sampling;  /* of traces that begin here; a sampled flag from outside wins */
    double rate;                    /* probabilistic: 0..1 */
    str service_name, service_version, environment;
};

/* Starts the exporter; again: switches (a reload). 0, or -EINVAL with *e: then nothing changes. */
int  trace_open(const struct trace_conf *conf, struct err *e);
bool trace_is_on(void);
void trace_flush(uint64_t wait_ns); /* until the queue is sent or dropped, or the time is over */
void trace_close(void);             /* flushes for at most 2 s, ends the thread */

/* Names of attributes that carry meaning, so that they are spelt in one place. The OpenTelemetry
 * GenAI conventions, then VSR's keys. */
#define SPAN_GENAI_OPERATION       "gen_ai.operation.name"
#define SPAN_GENAI_PROVIDER        "gen_ai.provider.name"
#define SPAN_GENAI_REQUEST_MODEL   "gen_ai.request.model"
#define SPAN_GENAI_REQUEST_STREAM  "gen_ai.request.stream"
#define SPAN_GENAI_MAX_TOKENS      "gen_ai.request.max_tokens"
#define SPAN_GENAI_TEMPERATURE     "gen_ai.request.temperature"
#define SPAN_GENAI_RESPONSE_MODEL  "gen_ai.response.model"
#define SPAN_GENAI_RESPONSE_ID     "gen_ai.response.id"
#define SPAN_GENAI_FINISH_REASONS  "gen_ai.response.finish_reasons"
#define SPAN_GENAI_INPUT_TOKENS    "gen_ai.usage.input_tokens"
#define SPAN_GENAI_OUTPUT_TOKENS   "gen_ai.usage.output_tokens"
#define SPAN_GENAI_CACHE_READ      "gen_ai.usage.cache_read.input_tokens"
#define SPAN_GENAI_CACHE_CREATION  "gen_ai.usage.cache_creation.input_tokens"
#define SPAN_ERROR_TYPE            "error.type"
#define SPAN_SERVER_ADDRESS        "server.address"
#define SPAN_SERVER_PORT           "server.port"
#define SPAN_HTTP_METHOD           "http.request.method"
#define SPAN_HTTP_STATUS           "http.response.status_code"
#define SPAN_URL_PATH              "url.path"
#define SPAN_VSR_REQUEST_ID        "request.id"
#define SPAN_VSR_USER_ID           "user.id"
#define SPAN_VSR_SESSION_ID        "session.id"
#define SPAN_VSR_HTTP_METHOD       "http.method"
#define SPAN_VSR_HTTP_PATH         "http.path"
#define SPAN_VSR_DECISION          "decision.name"
#define SPAN_VSR_CONFIDENCE        "decision.confidence"
#define SPAN_VSR_MATCHED_RULES     "decision.matched_rules"
#define SPAN_VSR_STRATEGY          "decision.strategy"
#define SPAN_VSR_ROUTING_STRATEGY  "routing.strategy"
#define SPAN_VSR_ROUTING_REASON    "routing.reason"
#define SPAN_VSR_ORIGINAL_MODEL    "routing.original_model"
#define SPAN_VSR_SELECTED_MODEL    "routing.selected_model"
#define SPAN_VSR_MODEL             "model.name"
#define SPAN_VSR_MODEL_PROVIDER    "model.provider"
#define SPAN_VSR_MODEL_ENDPOINT    "model.endpoint"
#define SPAN_VSR_REASONING         "model.reasoning_enabled"
#define SPAN_VSR_EFFORT            "model.reasoning_effort"
#define SPAN_VSR_PROMPT_TOKENS     "model.token_count_prompt"
#define SPAN_VSR_COMPLETION_TOKENS "model.token_count_completion"
#define SPAN_VSR_PLUGIN            "plugin.type"
#define SPAN_VSR_PLUGIN_STATUS     "plugin.status"
#define SPAN_VSR_CACHE_HIT         "cache.hit"
#define SPAN_VSR_CATEGORY          "category.name"

#endif
