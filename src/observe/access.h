/* observe/access.h -- the access log: one JSON line per request.
 *
 * The caller's thread formats the line (~1 us) into a queue of its own; one writer thread carries
 * queues to the file every 64 KB or 100 ms. Nobody waits for the disk: when it is full, or slower
 * than we are, lines are dropped and counted (signalbox_log_dropped_total), stderr hears of it once
 * a minute, and writing goes on by itself when it can. A line is never torn.
 *
 * With `capture` a line also holds the request's body and headers (secrets masked), enough for
 * `signalbox replay` to decide it again. */
#ifndef SBX_ACCESS_H
#define SBX_ACCESS_H

#include <math.h>

#include "base/err.h"

enum {
    ACCESS_QUEUE_MAX = 1 << 20,     /* bytes waiting per loop; beyond: dropped and counted */
    ACCESS_BATCH = 64 * 1024,       /* wakes the writer before its 100 ms are over */
    ACCESS_TEXT_MAX = 1024,         /* bytes of one text field; beyond: cut */
    ACCESS_LIST_MAX = 64,           /* texts of a list field; beyond: left out */
    ACCESS_SELECTION_MAX = 128 * 1024, /* bytes of the selection; beyond: left out */
    ACCESS_CAPTURE_MAX = 64 * 1024, /* bytes of a captured body; beyond: only its size is told */
};

struct access_conf {
    str sink;                       /* a path, "stdout", "stderr", "off"; "": off */
    bool capture;
};

struct access_phase { const char *name; uint64_t ns; };
struct access_header { str name, value; };

/* Begin with ACCESS_RECORD_EMPTY. Empty texts, negative numbers and NAN are unknown and not
 * written. All is borrowed for the call only. */
struct access_record {
    uint64_t ts;                    /* wall ns when the request's first byte came */
    str request_id, trace_id, client, user, session_id;
    str method, path, dialect;      /* dialect: "openai_chat", ... */
    int64_t status;
    str error, error_reason;        /* type ("rate_limit_error") and a sentence */
    bool is_stream, is_cancelled, is_cache_hit;
    int64_t bytes_in, bytes_out;

    str model_requested, model;     /* as the client named it; as chosen */
    str recipe, decision, algorithm, reason;
    double confidence, propensity;
    str provider, backend;
    int64_t attempts;
    str finish_reason, upstream_request_id;

    int64_t prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens;
    double cost; str currency;

    int64_t ttft_ns, duration_ns;   /* written as ttft_ms, duration_ms */
    const struct access_phase *phases; size_t n_phases;    /* "phases_ms": {"route": 0.041, ...} */

    const str *signals; size_t n_signals;                   /* matched, "keyword:urgent" */
    int64_t units_run, units_avoided;
    str selection;                  /* a JSON object: candidates, chances, seed; "": none */

    /* capture only */
    str body; bool body_is_json;    /* is_json: somebody has parsed it, it can be put in as it is */
    const struct access_header *headers; size_t n_headers;
};

#define ACCESS_RECORD_EMPTY \
    (struct access_record){ \
        .status = -1, .bytes_in = -1, .bytes_out = -1, .attempts = -1, \
        .confidence = (double)NAN, .propensity = (double)NAN, .cost = (double)NAN, \
        .prompt_tokens = -1, .completion_tokens = -1, .cached_tokens = -1, .reasoning_tokens = -1, \
        .ttft_ns = -1, .duration_ns = -1, .units_run = -1, .units_avoided = -1, \
    }

/* Opens the sink and starts the writer; again: switches to another sink (a reload). 0, or -errno
 * with *e: then the sink in use stays. */
int  access_open(const struct access_conf *conf, struct err *e);
bool access_is_on(void);
bool access_captures(void);
void access_write(const struct access_record *r);           /* any thread; never waits for I/O */
void access_reopen(void);           /* after a rotation; safe in a signal handler */
/* Waits (blocks the thread) until what is queued now is written or dropped, or the time is over. */
void access_flush(uint64_t wait_ns);
void access_close(void);            /* flushes for at most 2 s, ends the writer */

/* The line alone, without the newline; for replay's tests and for those who have a sink of their
 * own. */
struct buf;
void access_format(struct buf *out, const struct access_record *r, bool capture);

#endif
