/* pipeline/attempt.h -- from an ordered list of models to an answer that has begun.
 *
 * The only place that retries, fails over and ejects. Nothing is retried once a byte of the
 * answer was relayed. */
#ifndef SBX_ATTEMPT_H
#define SBX_ATTEMPT_H

#include "pipeline/req.h"

enum retry_reason {                 /* bits of reliability.retry_on, after Envoy's names */
    RETRY_CONNECT = 1,              /* connect-failure, refused-stream */
    RETRY_RESET = 2,                /* reset: closed before the head was in */
    RETRY_GATEWAY = 4,              /* gateway-error: 502, 503, 504, 529 */
    RETRY_5XX = 8,                  /* 5xx */
    RETRY_429 = 16,                 /* retriable-status-codes, retriable-4xx: 429 (and 409) */
    RETRY_TIMEOUT = 32,             /* no first byte in time */
};

struct reliability_conf;
void attempt_retry_conf(const struct reliability_conf *r, int *count, unsigned *reasons);

struct answer {                     /* an upstream response whose head is in */
    struct upstream *up;
    struct http_head head;
    str error_body;                 /* status >= 400: the whole body, bounded */
    bool body_is_read;
};

/* The status of an answer, in OpenAI's numbering where the provider has a word in a header that says more. */
int answer_status(const struct backend *b, const struct http_head *head);

/* Tries r->order. 0: *out holds a response to relay (2xx, or the last error of an upstream). -1: r->fail says what to
 * answer. -ECANCELED: the client is gone. */
WAITS int attempt_run(struct req *r, struct answer *out);

/* Called when the exchange is over. `ok`: complete and healthy. */
void attempt_finish(struct req *r, struct answer *a, bool ok);

bool backend_is_usable(const struct backend *b, uint64_t now);  /* neither down nor ejected */
void backend_failed(const struct backend *b, uint64_t now);     /* counts; ejects at the limit */
void backend_succeeded(const struct backend *b);

#endif
