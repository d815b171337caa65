/* pipeline/attempt.c */
#include "pipeline/attempt.h"
#include "pipeline/body.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/rand.h"
#include "observe/metrics.h"
#include "observe/latency.h"
#include "pipeline/translate.h"

enum {
    RETRIES_MAX = 5,
    ERROR_BODY_MAX = 256 * 1024,    /* of an upstream's error; beyond: cut */
    HEAD_MAX = 64 * 1024,
    INTERIM_MAX = 8,                /* 1xx responses before the answer; beyond: a protocol error */
    EJECT_MAX_S = 300,
    WAIT_MAX_MS = 1000,             /* longest we sit on a request because of retry-after; beyond: tell the client */
    BACKOFF_MS = 25,                /* doubled at each retry, with jitter */
};

/* ---- the retry budget: a share of recent requests, so that an outage is not multiplied ---- */

static atomic_llong budget_milli = 10000;       /* tokens x 1000; a retry costs 1000 */

static void budget_earn(double share)
{
    long long cap = 100 * 1000;
    if (atomic_load_explicit(&budget_milli, memory_order_relaxed) < cap)
        atomic_fetch_add_explicit(&budget_milli, (long long)(share * 1000), memory_order_relaxed);
}

static bool budget_spend(void)
{
    if (atomic_fetch_sub(&budget_milli, 1000) >= 1000)
        return true;
    atomic_fetch_add(&budget_milli, 1000);
    return false;
}

void attempt_retry_conf(const struct reliability_conf *r, int *count, unsigned *reasons)
{
    static const struct { str name; unsigned bits; } names[] = {
        { { "connect-failure", 15 }, RETRY_CONNECT }, { { "refused-stream", 14 }, RETRY_CONNECT },
        { { "reset", 5 }, RETRY_RESET }, { { "gateway-error", 13 }, RETRY_GATEWAY },
        { { "5xx", 3 }, RETRY_5XX | RETRY_GATEWAY | RETRY_RESET | RETRY_CONNECT | RETRY_TIMEOUT },
        { { "retriable-4xx", 13 }, RETRY_429 }, { { "retriable-status-codes", 22 }, RETRY_429 },
        { { "429", 3 }, RETRY_429 }, { { "timeout", 7 }, RETRY_TIMEOUT },
    };
    *count = (int)r->retry_count;
    *reasons = 0;
    str rest = r->retry_on;
    while (rest.len) {
        str one = str_trim(str_cut(&rest, ','));
        for (size_t i = 0; i < COUNT_OF(names); i++)
            if (str_ieq(one, names[i].name))
                *reasons |= names[i].bits;
    }
    if (*count > RETRIES_MAX)
        *count = RETRIES_MAX;
}

/* ---- health, as seen from traffic ---- */

bool backend_is_usable(const struct backend *b, uint64_t now)
{
    struct backend_state *s = b->state;
    if (atomic_load_explicit(&s->is_down, memory_order_relaxed))
        return false;
    uint64_t until = atomic_load_explicit(&s->ejected_until, memory_order_relaxed);
    if (until == 0)
        return true;
    return now >= until && !atomic_load_explicit(&s->is_probing, memory_order_relaxed);
}

static unsigned ejected_share(const struct model *m, uint64_t now)     /* per cent */
{
    unsigned n = 0;
    for (unsigned i = 0; i < m->n_backends; i++)
        n += atomic_load_explicit(&m->backends[i].state->ejected_until, memory_order_relaxed) > now;
    return m->n_backends ? 100 * n / m->n_backends : 0;
}

void backend_failed(const struct backend *b, uint64_t now)
{
    const struct reliability_conf *c = &b->model->conf->reliability;
    struct backend_state *s = b->state;
    int limit = c->consecutive_5xx > 0 ? (int)c->consecutive_5xx : INT_MAX;
    bool was_probe = atomic_exchange(&s->is_probing, false);
    latency_tried(b->model->state->latency, true);
    if (atomic_fetch_add(&s->failures, 1) + 1 < limit && !was_probe)
        return;
    if (b->model->n_backends < 2)               /* nowhere else to go: failing at once would help nobody */
        return;
    unsigned most = (unsigned)c->max_ejection_percent;
    if (!was_probe && ejected_share(b->model, now) + 100 / b->model->n_backends > most)
        return;
    uint64_t base = c->base_ejection_ns;
    int times = atomic_fetch_add(&s->ejections, 1) + 1;
    uint64_t span = base * (uint64_t)(times < 10 ? times : 10);
    if (span > EJECT_MAX_S * NS_PER_S && span > base)
        span = base > EJECT_MAX_S * NS_PER_S ? base : EJECT_MAX_S * NS_PER_S;
    atomic_store(&s->ejected_until, now + span);
    atomic_store(&s->failures, 0);
    metric_add(s->cell_ejections, 1);
    metric_set(s->cell_up, 0);
}

void backend_succeeded(const struct backend *b)
{
    struct backend_state *s = b->state;
    latency_tried(b->model->state->latency, false);
    if (atomic_load_explicit(&s->failures, memory_order_relaxed))
        atomic_store_explicit(&s->failures, 0, memory_order_relaxed);
    if (atomic_load_explicit(&s->ejected_until, memory_order_relaxed)) {
        atomic_store(&s->ejected_until, 0);
        atomic_store(&s->ejections, 0);
        atomic_store(&s->is_probing, false);
        metric_set(s->cell_up, 1);
    }
}

/* ---- choosing a backend ---- */

static bool has_room(const struct backend *b)
{
    return b->conf->max_in_flight <= 0 || atomic_load(&b->state->in_flight) < b->conf->max_in_flight;
}

static bool may_take(const struct backend *b, uint64_t tried, unsigned i, uint64_t now, bool desperate)
{
    if (tried >> i & 1 || !has_room(b))
        return false;
    return desperate || (backend_is_usable(b, now) && atomic_load(&b->state->retry_at) <= now);
}

/* Power of two choices over load per weight; VSR's least_request. */
static int least_request(const struct model *m, const unsigned *usable, unsigned n, uint64_t *seed)
{
    unsigned x = usable[rand_below(seed, n)], y = usable[rand_below(seed, n)];
    int64_t wx = m->backends[x].conf->weight > 0 ? m->backends[x].conf->weight : 1;
    int64_t wy = m->backends[y].conf->weight > 0 ? m->backends[y].conf->weight : 1;
    int64_t lx = atomic_load(&m->backends[x].state->in_flight) + 1, ly = atomic_load(&m->backends[y].state->in_flight) + 1;
    return (int)(lx * wy <= ly * wx ? x : y);
}

/* Index of the backend for the next attempt, -1: none has room or all were tried. */
static int choose_backend(struct req *r, const struct model *m, uint64_t tried)
{
    unsigned usable[BACKENDS_MAX], n = 0;
    uint64_t now = loop_now(r->loop);
    for (int desperate = 0; desperate <= 1 && n == 0; desperate++)     /* all ejected: try anyway rather than refuse */
        for (unsigned i = 0; i < m->n_backends; i++)
            if (may_take(&m->backends[i], tried, i, now, desperate))
                usable[n++] = i;
    if (n == 0)
        return -1;
    str policy = m->conf->reliability.lb_policy;
    int chosen = (int)usable[0];
    if (n == 1 || str_ieq(policy, S("first"))) {
        ;
    } else if (str_ieq(policy, S("least_request"))) {
        chosen = least_request(m, usable, n, &r->dice);
    } else if (str_ieq(policy, S("random"))) {
        chosen = (int)usable[rand_below(&r->dice, n)];
    } else {
        uint64_t turn = atomic_fetch_add_explicit(&m->state->turn, 1, memory_order_relaxed);
        for (unsigned k = 0; k < m->n_schedule; k++) {
            unsigned i = m->schedule[(turn + k) % m->n_schedule];
            bool ok = false;
            for (unsigned u = 0; u < n; u++)
                ok |= usable[u] == i;
            if (ok) {
                chosen = (int)i;
                break;
            }
        }
    }
    struct backend_state *s = m->backends[chosen].state;
    if (atomic_load(&s->ejected_until))         /* half-open: this request is the probe */
        atomic_store(&s->is_probing, true);
    return chosen;
}

/* ---- one attempt ---- */

enum outcome { GOT_ANSWER, FAILED_RETRYABLE, FAILED_FINAL, CLIENT_GONE };

static bool header_is_removed(const struct req *r, str name)
{
    for (size_t i = 0; i < r->out.removed_headers.n; i++)
        if (str_ieq(r->out.removed_headers.items[i], name))
            return true;
    return false;
}

/* What a client's header must not do: reach the provider. Spec 04, 4.10. */
static bool header_stays_here(str name)
{
    static const str names[] = {
        { "host", 4 }, { "authorization", 13 }, { "x-api-key", 9 }, { "api-key", 7 }, { "x-goog-api-key", 14 },
        { "accept-encoding", 15 }, { "content-encoding", 16 }, { "expect", 6 }, { "cookie", 6 }, { "traceparent", 11 }, { "tracestate", 10 },
        { "forwarded", 9 }, { "x-request-id", 12 }, { "x-session-id", 12 }, { "x-conversation-id", 17 },
    };
    if (http_is_hop_by_hop(name))
        return true;
    if ((name.ptr[0] | 32) == 'x' && (str_ieq(str_upto(name, 6), S("x-vsr-")) || str_ieq(str_upto(name, 8), S("x-authz-"))
                                      || str_ieq(str_upto(name, 12), S("x-forwarded-"))
                                      || (str_ieq(str_upto(name, 7), S("x-user-")) && str_ends(name, S("-key")))))
        return true;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (str_ieq(name, names[i]))
            return true;
    return false;
}

/* Headers that only one family of providers understands; others refuse or misread some of them (spec 04, 4.10). */
static bool header_is_foreign(str name, const struct backend *b)
{
    static const struct { str prefix; const char *label; } families[] = {
        { { "anthropic-", 10 }, "anthropic" }, { { "openai-", 7 }, "openai" }, { { "x-goog-", 7 }, "gemini" },
        { { "x-amz", 5 }, "bedrock" }, { { "x-claude-", 9 }, "anthropic" },
    };
    for (size_t i = 0; i < COUNT_OF(families); i++)
        if (str_ieq(str_upto(name, families[i].prefix.len), families[i].prefix))
            return strcmp(families[i].label, b->dialect->label) != 0 || b->target.anthropic_version.len > 0;
    return false;
}

static str injected_key(const struct req *r, const struct backend *b)
{
    const struct config *c = r->snap->config;
    for (size_t i = 0; i < c->n_key_headers; i++)
        if (str_ieq(c->key_headers[i].provider, b->provider->name)) {
            str key = http_get(&r->head, c->key_headers[i].header);
            if (key.len)
                return key;
        }
    return S("");
}

/* The trace goes on: our own span when we trace, else the client's headers as they came. */
static void trace_headers(struct req *r, struct buf *out)
{
    char parent[TRACE_PARENT_LEN + 1];
    str given = http_get(&r->head, S("traceparent")), state = http_get(&r->head, S("tracestate"));
    if (r->trace) {
        trace_parent_of(r->trace, r->span, parent);
        given = (str){ parent, TRACE_PARENT_LEN };
        state = r->trace->state;
    }
    if (given.len)
        buf_printf(out, "traceparent: " STR_FMT "\r\n", STR_ARG(given));
    if (given.len && state.len)
        buf_printf(out, "tracestate: " STR_FMT "\r\n", STR_ARG(state));
}

static void attempt_span_begin(struct req *r, const struct backend *b)
{
    if (!r->trace)
        return;
    r->span = span_begin(r->trace, SPAN_ROOT, SPAN_CLIENT, S("upstream"));
    span_str(r->trace, r->span, SPAN_GENAI_OPERATION, S("chat"));
    span_str(r->trace, r->span, SPAN_GENAI_PROVIDER, b->provider->name);
    span_str(r->trace, r->span, SPAN_GENAI_REQUEST_MODEL, b->upstream_model);
    span_str(r->trace, r->span, SPAN_SERVER_ADDRESS, b->origin.host);
    span_int(r->trace, r->span, SPAN_SERVER_PORT, b->origin.port);
}

static void attempt_span_end(struct req *r, int status)
{
    if (!r->trace)
        return;
    if (status)
        span_int(r->trace, r->span, SPAN_HTTP_STATUS, status);
    if (r->fail.status)
        span_error(r->trace, r->span, str_of(r->fail.reason), r->fail.message);
    span_end(r->trace, r->span);
}

/* Without the gateway's own key, which some clients put there. */
static void query_write(str query, struct buf *out)
{
    char mark = '?';
    while (query.len) {
        str one = str_cut(&query, '&');
        if (one.len == 0 || str_starts(one, S("key=")))
            continue;
        buf_char(out, mark);
        buf_str(out, one);
        mark = '&';
    }
}

/* Names that the configuration gives a meaning: keys of providers, identity. */
static bool is_configured_header(const struct config *c, str name)
{
    for (size_t i = 0; i < c->n_key_headers; i++)
        if (str_ieq(name, c->key_headers[i].header))
            return true;
    return str_ieq(name, c->user_id_header) || str_ieq(name, c->user_groups_header);
}

/* Path and query as they go on the wire. */
static void target_write(struct req *r, const struct backend *b, struct buf *out)
{
    const struct provider_ops *p = b->provider;
    if (p->path_write && r->endpoint == ENDPOINT_CHAT) {
        size_t from = out->len;
        p->path_write(&b->place, r->chat.is_streaming, out);
        if (b->dialect == r->dialect && !b->target.anthropic_version.len && !out->is_failed
            && !memchr(out->ptr + from, '?', out->len - from))
            query_write(r->head.query, out);
        return;
    }
    buf_str(out, b->base_path);
    buf_str(out, b->conf->chat_path.len && r->endpoint == ENDPOINT_CHAT ? b->conf->chat_path : p->paths[r->endpoint]);
    if (p->wants_api_version && b->conf->api_version.len) {
        buf_str(out, S("?api-version="));
        buf_str(out, b->conf->api_version);
    } else if (b->dialect == r->dialect || r->endpoint != ENDPOINT_CHAT) {
        query_write(r->head.query, out);
    }
}

static void client_headers_write(struct req *r, const struct backend *b, struct buf *out)
{
    bool is_translated = translate_request_is_needed(r, b);
    for (unsigned i = 0; i < r->head.n_headers; i++) {
        const struct header *h = &r->head.headers[i];
        if (header_stays_here(h->name) || header_is_removed(r, h->name) || header_is_foreign(h->name, b)
            || is_configured_header(r->snap->config, h->name) || http_is_named_in_connection(&r->head, h->name)
            || (is_translated && str_ieq(h->name, S("content-type"))))
            continue;
        buf_str(out, h->name);
        buf_str(out, S(": "));
        buf_str(out, h->value);
        buf_str(out, S("\r\n"));
    }
    if (is_translated)
        buf_str(out, S("content-type: application/json\r\n"));
    if (b->provider->version_line.len && !http_has(&r->head, S("anthropic-version")))
        buf_str(out, b->provider->version_line);
}

/* A signature or a token that was fetched; else the configured key, or the one that the client brought for this provider. */
static WAITS int proof_write(struct req *r, const struct backend *b, str target, str body, uint64_t deadline, struct buf *out)
{
    const struct provider_ops *p = b->provider;
    str key = injected_key(r, b);
    if (key.len) {
        buf_printf(out, STR_FMT ": " STR_FMT STR_FMT "\r\n", STR_ARG(p->auth_header), STR_ARG(p->auth_prefix), STR_ARG(key));
    } else if (b->credential) {
        struct err e = { 0 };
        str path = target, query = { 0 };
        ptrdiff_t mark = str_chr(target, '?');
        if (mark >= 0) {
            path = str_upto(target, (size_t)mark);
            query = str_from(target, (size_t)mark + 1);
        }
        struct signing s = { S("POST"), b->host_header, path, query, body, clock_wall() };
        int rc = credential_lines(b->credential, r->loop, &s, deadline, out, &e);
        if (rc < 0) {
            if (rc != -ECANCELED)
                req_fail(r, 502, "upstream_error", "upstream_auth", "upstream_auth",
                         "no credentials for the provider of model '" STR_FMT "': %s", STR_ARG(b->model->name),
                         e.text[0] ? e.text : strerror(-rc));
            return rc == -1 ? -EACCES : rc;
        }
    } else if (b->auth_line.len && !header_is_removed(r, str_upto(b->auth_line, (size_t)str_chr(b->auth_line, ':')))) {
        buf_str(out, b->auth_line);
    }
    return 0;
}

/* `body`: all of it when something signs it. */
static WAITS int head_write(struct req *r, const struct backend *b, size_t body_bytes, str body, uint64_t deadline, struct buf *out)
{
    buf_str(out, S("POST "));
    size_t from = out->len;
    target_write(r, b, out);
    size_t n_target = out->len - from;
    buf_str(out, S(" HTTP/1.1\r\nhost: "));
    buf_str(out, b->host_header);
    buf_str(out, S("\r\n"));
    client_headers_write(r, b, out);
    str target = out->is_failed ? S("") : b->credential ? arena_str(r->a, (str){ out->ptr + from, n_target }) : S("");
    int rc = proof_write(r, b, target, body, deadline, out);
    buf_str(out, b->extra_lines);
    buf_str(out, buf_view(&r->out.headers));
    buf_str(out, S("x-request-id: "));
    buf_str(out, r->request_id);
    buf_str(out, S("\r\n"));
    trace_headers(r, out);
    buf_str(out, S("accept-encoding: identity\r\ncontent-length: "));
    buf_u64(out, body_bytes);
    buf_str(out, S("\r\n\r\n"));
    return rc;
}

enum {
    PIECES_MAX = 130,               /* head and 64 edits; beyond: the body is written into one buffer */
    LATE_MAX = 16 * 1024,           /* a larger body is sent while the cache still holds it */
    COPY_MAX = 4096,                /* a smaller body goes behind the head: one piece is cheaper to send than five */
};

struct pieces { struct iovec v[PIECES_MAX]; int n; };

static void piece_add(void *arg, str piece)
{
    struct pieces *p = arg;
    if (p->n < PIECES_MAX)
        p->v[p->n] = (struct iovec){ (void *)(uintptr_t)piece.ptr, piece.len };
    p->n++;
}

static WAITS int pieces_send(struct upstream *u, struct pieces *p, size_t body_bytes, uint64_t deadline)
{
    if (body_bytes <= LATE_MAX)
        fiber_late();
    int rc = client_send(u, p->v, p->n, deadline);
    u->is_half_sent = rc == CONN_INPUT;
    return rc < 0 ? rc : 0;
}

/* The client's bytes, with the spans that policy changes replaced. */
static WAITS int body_send(struct req *r, struct upstream *u, const struct backend *b, uint64_t deadline)
{
    struct json_edits edits = body_edits(r, b);
    struct buf head = { 0 }, whole = { 0 };
    buf_reserve(&head, 1024);
    size_t body_bytes = json_edits_size(&edits, &r->json);
    if (b->credential)                          /* it may sign the body */
        json_edits_write(&edits, &r->json, &whole);
    int rc = head_write(r, b, body_bytes, buf_view(&whole), deadline, &head);
    if (body_bytes <= COPY_MAX)
        json_edits_write(&edits, &r->json, &head);
    struct pieces p;
    p.n = 0;
    piece_add(&p, buf_view(&head));
    if (body_bytes > COPY_MAX)
        json_edits_pieces(&edits, &r->json, piece_add, &p);
    if (p.n > PIECES_MAX) {
        whole.len = 0;
        json_edits_write(&edits, &r->json, &whole);
        p.n = 1;
        piece_add(&p, buf_view(&whole));
    }
    if (rc == 0)
        rc = head.is_failed || whole.is_failed || arena_exhausted(r->a) ? -ENOMEM : pieces_send(u, &p, body_bytes, deadline);
    buf_free(&head);
    buf_free(&whole);
    return rc;
}

/* Another dialect: the body was written when the attempt began. */
static WAITS int translated_send(struct req *r, struct upstream *u, const struct backend *b, str body, uint64_t deadline)
{
    struct buf head = { 0 };
    int rc = head_write(r, b, body.len, body, deadline, &head);
    struct pieces p;
    p.n = 0;
    piece_add(&p, buf_view(&head));
    piece_add(&p, body);
    if (rc == 0)
        rc = head.is_failed || arena_exhausted(r->a) ? -ENOMEM : pieces_send(u, &p, body.len, deadline);
    buf_free(&head);
    return rc;
}

/* Writes head and body while watching for an early answer, which ends the sending. */
static WAITS int request_send(struct req *r, struct upstream *u, const struct backend *b, str translated, uint64_t deadline)
{
    return translated.ptr ? translated_send(r, u, b, translated, deadline) : body_send(r, u, b, deadline);
}

static void note_failure(struct req *r, const struct backend *b, int rc, const char *phase, const char *detail)
{
    if (rc == -ETIMEDOUT)
        req_fail(r, 504, "timeout_error", "upstream_timeout", "upstream_timeout",
                 "the provider of model '" STR_FMT "' did not answer in time (%s)", STR_ARG(b->model->name), phase);
    else
        req_fail(r, 502, "upstream_error", "upstream_unreachable", "upstream_unreachable",
                 "the provider of model '" STR_FMT "' could not be reached (%s: %s)", STR_ARG(b->model->name), phase,
                 detail ? detail : strerror(-rc));
}

/* Reads an error's body so that the connection can be kept and the client gets it whole. */
static WAITS int error_body_read(struct req *r, struct answer *a, uint64_t deadline)
{
    int rc = h1_read_body(&a->up->in, r->a, &a->head, ERROR_BODY_MAX, &a->error_body, deadline);
    if (rc == 0)
        a->body_is_read = true;
    return rc;
}

int answer_status(const struct backend *b, const struct http_head *head)
{
    struct failure f = { .status = head->status };
    const struct dialect_ops *d = b->dialect;
    str word = head->status >= 400 && d && d->error_header ? http_get(head, str_of(d->error_header)) : S("");
    if (word.len)
        d->error_named(word, &f);
    return f.status;
}

static unsigned status_reason(int status)
{
    if (status == 429 || status == 409)
        return RETRY_429;
    if (status == 502 || status == 503 || status == 504 || status == 529)
        return RETRY_GATEWAY;
    return status >= 500 ? RETRY_5XX : 0;
}

static const char *reason_name(unsigned reason)
{
    switch (reason) {
    case RETRY_CONNECT: return "connect";
    case RETRY_RESET:   return "reset";
    case RETRY_GATEWAY: return "gateway_error";
    case RETRY_5XX:     return "5xx";
    case RETRY_429:     return "rate_limited";
    default:            return "timeout";
    }
}

struct try { unsigned reason; uint64_t wait_ns; };

static int body_translate(struct req *r, const struct backend *b, struct buf *out)
{
    if (out->len || !translate_request_is_needed(r, b))
        return 0;
    int rc = translate_request(r, b, out);
    if (out->is_failed)
        arena_fail(r->a);
    return rc;
}

/* The head of an answer; 100 Continue and other interim responses pass. 0, or what came instead. */
static WAITS int head_await(struct req *r, struct answer *a, uint64_t until)
{
    int n, n_interim = 0;
    do
        n = h1_read_head(&a->up->in, r->a, HEAD_MAX, &a->head, until, false);
    while (n == 1 && a->head.status < 200 && a->head.status != 101 && ++n_interim < INTERIM_MAX);
    if (n == 1)
        return a->head.status >= 200 ? 0 : -EBADMSG;
    return n == 0 ? -ECONNRESET : n == -EAGAIN ? -ETIMEDOUT : n;
}

static bool is_broken_connection(int rc)        /* rather than one of our own reasons, silence, or nonsense */
{
    return rc != -ENOMEM && rc != -ECANCELED && rc != -EACCES && rc != -ETIMEDOUT && rc != -EBADMSG;
}

/* No head came over a connection that stood; it is dropped by now. */
static enum outcome attempt_broken(struct req *r, const struct backend *b, struct try *t, int rc, const char *phase)
{
    if (rc == -ENOMEM) {
        atomic_store(&b->state->is_probing, false);
        req_fail(r, 503, "overloaded_error", "overloaded", "memory", "out of memory; try again");
        return FAILED_FINAL;
    }
    if (rc == -ECANCELED)
        return CLIENT_GONE;
    backend_failed(b, clock_now());
    t->reason = rc == -EACCES ? RETRY_CONNECT : rc == -ETIMEDOUT ? RETRY_TIMEOUT : RETRY_RESET;
    if (rc == -EBADMSG)
        req_fail(r, 502, "upstream_error", "upstream_protocol_error", "upstream_protocol",
                 "the provider of model '" STR_FMT "' sent something that is not HTTP", STR_ARG(b->model->name));
    else if (rc != -EACCES)                     /* without a token nothing was sent, and why is said already */
        note_failure(r, b, rc, phase, rc == -ECONNRESET || rc == -EPIPE ? "it closed the connection" : NULL);
    return FAILED_RETRYABLE;
}

/* An answer that says no; its body is read at once, for the sake of the connection and of the client. */
static WAITS enum outcome attempt_refused(struct req *r, const struct backend *b, struct answer *a, struct try *t)
{
    int status = answer_status(b, &a->head);
    t->reason = status_reason(status);
    t->wait_ns = http_retry_after_ns(&a->head);
    if (t->reason == RETRY_429 || t->reason == RETRY_GATEWAY)
        if (t->wait_ns)
            atomic_store(&b->state->retry_at, clock_now() + t->wait_ns);
    if (status >= 500)
        backend_failed(b, clock_now());
    else
        backend_succeeded(b);
    int rc = error_body_read(r, a, deadline_min(r->attempt_deadline, r->t.first_byte, b->model->idle_ns));
    if (rc == -ECANCELED)
        return CLIENT_GONE;
    if (rc < 0) {
        client_drop(a->up);
        a->up = NULL;
        a->body_is_read = true;
    }
    return t->reason ? FAILED_RETRYABLE : FAILED_FINAL;
}

/* `translated`: the body in the provider's dialect, if it needs one. It is let go when it has been sent: the next request
 * writes into memory that is still warm, and a silent stream does not hold it. */
static WAITS enum outcome attempt_send(struct req *r, const struct backend *b, struct answer *a, struct try *t,
                                       struct buf *translated)
{
    const struct model *m = b->model;
    uint64_t begun = r->n_attempts == 0 ? r->t.routed : clock_now();        /* the first attempt follows at once */
    r->backend = b;
    r->attempt_deadline = deadline_min(r->deadline, begun, m->total_ns);
    r->n_attempts++;
    r->fail = (struct fail){ 0 };
    *t = (struct try){ 0 };
    const char *phase = "connect", *detail = NULL;
    if (r->endpoint != ENDPOINT_CHAT && b->provider->paths[r->endpoint].len == 0) {
        req_fail(r, 400, "invalid_request_error", "unsupported_endpoint", "translation",
                 "the provider of model '" STR_FMT "' (" STR_FMT ") has no such endpoint", STR_ARG(m->name), STR_ARG(b->provider->name));
        return FAILED_RETRYABLE;
    }
    for (int fresh = 0; ; fresh++) {
        if (body_translate(r, b, translated) < 0)
            return FAILED_RETRYABLE;            /* for no reason that a retry would cure: another model may be able to say it */
        uint64_t until = deadline_min(r->attempt_deadline, fresh ? clock_now() : begun, m->connect_ns);
        int rc = client_get(r->loop, &b->origin, fresh > 0, until, &a->up, &phase, &detail);
        if (rc < 0) {
            a->up = NULL;
            if (rc == -ECANCELED)
                return CLIENT_GONE;
            note_failure(r, b, rc, phase, detail);
            t->reason = RETRY_CONNECT;
            backend_failed(b, clock_now());
            return FAILED_RETRYABLE;
        }
        if (!a->up->is_reused)
            r->t.connect_ns += clock_now() - begun;
        r->t.sent = a->up->is_reused && fresh == 0 ? begun : clock_now();
        phase = "send";
        until = deadline_min(r->attempt_deadline, r->t.sent, m->first_byte_ns);
        rc = request_send(r, a->up, b, buf_view(translated), until);
        buf_free(translated);
        if (rc == 0 || rc == -EPIPE || rc == -ECONNRESET) {     /* an answer may be there even so */
            phase = "first byte";
            rc = head_await(r, a, until);
            if (rc == 0)
                break;
        }
        a->head = (struct http_head){ 0 };      /* what a refused head had said is nobody's answer */
        bool was_reused = a->up->is_reused;
        client_drop(a->up);
        a->up = NULL;
        /* A kept connection that died before a byte came was closed by the peer while idle: send it
         * again on a fresh one. This is not a retry in the sense of the budget. */
        if (!was_reused || fresh > 0 || !is_broken_connection(rc))
            return attempt_broken(r, b, t, rc, phase);
    }
    r->t.first_byte = clock_now();
    if (a->up->is_half_sent)                    /* it does not want the rest: nothing can follow on this connection */
        a->head.keep_alive = false;
    if (a->head.status >= 400)
        return attempt_refused(r, b, a, t);
    backend_succeeded(b);
    return GOT_ANSWER;
}

static WAITS enum outcome attempt_once(struct req *r, const struct backend *b, struct answer *a, struct try *t)
{
    struct buf translated = { 0 };
    enum outcome outcome = attempt_send(r, b, a, t, &translated);
    buf_free(&translated);
    return outcome;
}

static void in_flight(const struct backend *b, int by)
{
    atomic_fetch_add(&b->state->in_flight, by);
    if (by > 0)
        latency_begin(b->model->state->latency);
    else
        latency_end(b->model->state->latency);
    metric_add_double(b->model->cells.in_flight, by);
}

static void answer_release(struct answer *a)
{
    if (a->up) {
        if (a->body_is_read && a->head.keep_alive)
            client_put(a->up);
        else
            client_drop(a->up);
    }
    a->up = NULL;
}

void attempt_finish(struct req *r, struct answer *a, bool ok)
{
    a->body_is_read = ok;
    answer_release(a);
    in_flight(r->backend, -1);
    attempt_span_end(r, a->head.status);
}

/* All attempts at one model. Returns an outcome; FAILED_* leave r->fail or an error answer in *a. */
static WAITS enum outcome model_run(struct req *r, const struct model *m, struct answer *a)
{
    uint64_t tried = 0;
    for (int retry = 0; ; retry++) {
        int i = choose_backend(r, m, tried);
        if (i < 0 && tried && retry <= m->retry_count)
            i = choose_backend(r, m, tried = 0);
        if (i < 0) {
            if (!r->fail.status && a->head.status < 400)
                req_fail(r, 503, "overloaded_error", "no_backend", "no_backend",
                         m->n_backends ? "every backend of model '" STR_FMT "' is at its limit of requests in flight"
                                       : "model '" STR_FMT "' has no backend in the configuration", STR_ARG(m->name));
            r->fail.retry_after_ns = NS_PER_S;
            return FAILED_RETRYABLE;
        }
        const struct backend *b = &m->backends[i];
        struct try t;
        answer_release(a);
        *a = (struct answer){ 0 };
        in_flight(b, 1);
        attempt_span_begin(r, b);
        enum outcome got = attempt_once(r, b, a, &t);
        if (got == GOT_ANSWER)                  /* the span ends with the relay */
            return got;
        attempt_span_end(r, a->head.status);
        in_flight(b, -1);
        if (got == CLIENT_GONE)
            atomic_store(&b->state->is_probing, false);         /* says nothing about the backend: the next one probes */
        if (got == CLIENT_GONE || got == FAILED_FINAL)
            return got;
        if (!(m->retry_on & t.reason) || retry >= m->retry_count || !budget_spend())
            return FAILED_RETRYABLE;
        str labels[2] = { m->name, str_of(reason_name(t.reason)) };
        metric_add(metric_cell(METRIC_RETRIES, labels), 1);
        tried |= 1ull << i;
        uint64_t now = clock_now(), wait = 0;
        bool elsewhere = false;
        for (unsigned k = 0; k < m->n_backends; k++)
            elsewhere |= may_take(&m->backends[k], tried, k, now, false);
        if (!elsewhere) {                       /* the same again: not before it said, and not for long */
            wait = (BACKOFF_MS << retry) * NS_PER_MS;
            wait += rand_below(&r->dice, wait);
            if (t.wait_ns > wait)
                wait = t.wait_ns;
            if (wait > WAIT_MAX_MS * NS_PER_MS || now + wait >= r->deadline)
                return FAILED_RETRYABLE;
            tried = 0;
            if (fiber_sleep(now + wait) < 0)
                return CLIENT_GONE;
        }
    }
}

WAITS int attempt_run(struct req *r, struct answer *out)
{
    *out = (struct answer){ 0 };
    r->dice = hash_mix(r->facts.seed);
    budget_earn(r->snap->config->limits.retry_budget);
    for (unsigned k = 0; k < r->n_order; k++) {
        const struct model *m = r->order[k];
        if (!m)
            continue;
        if (r->model && r->model != m) {
            str labels[2] = { r->model->name, m->name };
            metric_add(metric_cell(METRIC_FAILOVERS, labels), 1);
        }
        r->model = m;
        r->ref = r->refs ? r->refs[k] : NULL;
        enum outcome got = model_run(r, m, out);
        if (got == GOT_ANSWER)
            return 0;
        if (got == CLIENT_GONE) {
            answer_release(out);
            return -ECANCELED;
        }
        if (got == FAILED_FINAL)
            break;
    }
    if (out->head.status >= 400) {              /* the last upstream's own words are better than ours */
        r->fail = (struct fail){ 0 };
        in_flight(r->backend, 1);               /* attempt_finish takes it back */
        return 0;
    }
    if (!r->fail.status)
        req_fail(r, 503, "overloaded_error", "no_backend", "no_backend", "no model of this decision can be reached");
    return -1;
}
