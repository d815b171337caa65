/* pipeline/req.h -- one client request: one fiber, one arena, everything known about it. */
#ifndef SBX_REQ_H
#define SBX_REQ_H

#include "base/json.h"
#include "dialect/dialect.h"
#include "net/http.h"
#include "observe/access.h"
#include "observe/trace.h"
#include "pipeline/snap.h"

struct ask_answer;                       /* pipeline/ask.h */
struct caller;
struct reservation;
struct sample;
struct learned;                     /* pipeline/learning_request.h */
struct client;                      /* front/server.h: the client's connection */

/* Time stamps of the steps, monotonic ns; 0: did not happen. */
struct times {
    uint64_t start, head, body, parsed, routed, sent, first_byte, end;
    uint64_t connect_ns;            /* spent dialling, all attempts */
};

struct fail {                       /* what the client is told when we answer ourselves */
    int status;                     /* 0: all is well */
    const char *type, *code;        /* of OpenAI's error object */
    str message, param;
    uint64_t retry_after_ns;        /* 0: none */
    bool no_retry;                  /* x-should-retry: false */
    const char *reason;             /* metric label */
};

/* Changes of the upstream body and head, collected by the pipeline and the plugins. */
struct outgoing {
    struct json_change *changes; size_t n_changes;  /* of top-level members: body.h */
    struct json_edits edits;        /* deeper ones */
    bool *gone_messages;            /* [chat.n_messages] dropped ones; NULL: none */
    str front_message;              /* raw JSON, put before the first; "" none */
    struct buf headers;             /* "name: value\r\n"...; freed with the request */
    struct strings removed_headers;
    bool adds_usage;                /* we asked for stream_options.include_usage, the client did not */
};

struct req {
    struct arena *a;
    struct snap *snap;
    struct loop *loop;
    struct client *client;
    struct http_head head;
    str body;
    enum endpoint_kind endpoint;
    const struct dialect_ops *dialect;          /* the client's; NULL: completions, embeddings */
    struct request_place place;                 /* what its URL said */
    struct json json;
    struct chat chat;
    struct prompt *prompt;          /* the canonical form; NULL: not needed so far (OpenAI chat that passes through) */
    bool is_prompt_changed;         /* by plugins: the body is written anew */
    struct translation translation; /* of the present attempt */
    struct exchange *exchange;      /* front/responses.h: what is stored of it; NULL: nothing */
    void (*on_reply)(struct req *r, const struct reply *reply);     /* the whole answer, when somebody keeps it; NULL */
    void (*on_context)(const struct req *r, struct answer_context *c);      /* whoever keeps it names it; NULL */
    struct facts facts;
    const struct recipe *recipe;    /* NULL: a concrete model passes through */
    struct decision decision;
    const struct plan *plan;        /* of the decision; NULL */
    struct pick pick;
    const char *method;             /* selection method, for the header */
    const struct model **order; const struct model_ref **refs; unsigned n_order;   /* to try, best first */
    const struct model *model;      /* present one */
    const struct model_ref *ref;
    const struct backend *backend;
    str request_id, upstream_request_id;
    char id_text[48];
    bool wants_debug;
    const char *response_path;      /* upstream, fast_response, error, explain */
    struct outgoing out;
    struct fail fail;
    struct times t;
    struct usage usage;
    uint32_t n_attempts;
    uint64_t dice;                  /* of the attempts: facts.seed is the decision's and stays what is logged */
    int status;                     /* sent to the client */
    bool is_head_sent, is_client_gone;
    bool is_inner;                  /* a call of ours for another request: its caller pays, and has made no request more */
    uint64_t relayed_bytes, n_events;
    str finish_reason, response_id, response_model;
    uint64_t deadline;
    uint64_t attempt_deadline;      /* of the present attempt; not behind `deadline` */
    int64_t reserved_bytes;         /* of the global body budget */
    struct trace *trace;            /* NULL: tracing is off */
    unsigned span;                  /* of the present attempt */
    struct caller *caller;          /* pipeline/key.h; NULL before key_admit */
    struct reservation *reservation;    /* pipeline/limit.c; NULL: no limit applies */
    str session_id; bool has_session_id;        /* pipeline/session.h */
    struct ask_answer *helper;           /* what the selector asked a model; NULL: nothing */
    struct sample *sample;          /* pipeline/judge.h: the answer's text is kept to be judged; NULL: as a rule */
    struct learned *learned;        /* what was learned did to it; NULL: learning is off or had no say */
    bool injected_system_prompt;
};

/* `from` + `span`, or `limit` when that comes first or the span is 0. */
static inline uint64_t deadline_min(uint64_t limit, uint64_t from, uint64_t span)
{
    return span && from + span < limit ? from + span : limit;
}

/* In whose words the client is answered. */
static inline const struct dialect_ops *req_dialect(const struct req *r)
{
    return r->dialect ? r->dialect : &dialect_openai_chat;
}

/* Another dialect than OpenAI's chat: read as a whole, so that there is a prompt. */
static inline bool req_is_foreign(const struct req *r)
{
    return req_dialect(r) != &dialect_openai_chat;
}

int req_fail(struct req *r, int status, const char *type, const char *code, const char *reason,
             const char *format, ...) __attribute__((format(printf, 6, 7)));    /* returns -1; the first failure stays */

#endif
