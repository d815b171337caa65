/* front/gateway.c -- one request from its first byte to its last.
 *
 * Read gateway_serve and answer_model: the rest is refusals. */
#include "front/gateway.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/hex.h"
#include "base/rand.h"
#include "dialect/openai_chat_parse.h"
#include "dialect/openai_text_parse.h"
#include "front/decode.h"
#include "front/embeddings.h"
#include "front/explain.h"
#include "front/models.h"
#include "front/responses.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "pipeline/account.h"
#include "pipeline/body.h"
#include "pipeline/count.h"
#include "pipeline/key.h"
#include "pipeline/relay.h"
#include "pipeline/route.h"

enum {
    TIMEOUT_DEFAULT_S = 1200,       /* VSR's listener timeout */
    BODY_TIMEOUT_S = 120,           /* a whole body; a silent upload must not hold the budget for the request's time */
    LINGER_BYTES = 1 << 20,         /* of a refused body, read and dropped so that the answer arrives */
    LINGER_MS = 1000,
};

static atomic_llong in_flight;
static atomic_llong body_bytes;     /* of all requests together */

int64_t gateway_in_flight(void)
{
    return atomic_load(&in_flight);
}

/* ---- identity of a request ---- */

static void request_id_make(struct req *r)
{
    str given = http_get(&r->head, S("x-request-id"));
    if (!given.len)
        given = http_get(&r->head, S("x-client-request-id"));
    if (given.len && given.len <= 128) {
        r->request_id = given;
        return;
    }
    static _Thread_local uint64_t state;
    if (!state)
        state = rand_system();
    uint64_t chance[] = { rand_next(&state), rand_next(&state) };
    memcpy(r->id_text, "req_", 4);
    hex_write(r->id_text + 4, chance, 12);
    r->request_id = (str){ r->id_text, 28 };
}

/* ---- refusals that leave the body unread ---- */

static WAITS void linger(struct client *c)
{
    char drop[4096];
    size_t n = 0;
    uint64_t until = clock_now() + LINGER_MS * NS_PER_MS;
    if (!c->conn.ssl)
        shutdown(c->conn.io.fd, SHUT_WR);
    c->conn.io.victim = NULL;
    fiber_shield(true);
    while (n < LINGER_BYTES) {
        ssize_t got = conn_read(&c->conn, drop, sizeof drop, until);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
}

static WAITS int refuse(struct req *r)
{
    r->client->keep_alive = false;
    int rc = relay_fail(r);
    if (r->client->in.stream)                   /* its other half is reset when it is closed, which says it all */
        return rc;
    linger(r->client);
    return -1;
}

/* ---- the body ---- */

/* Takes part of the global budget of body bytes, given back at the request's end. */
static bool reserve_more(struct req *r, int64_t bytes)
{
    int64_t most = (int64_t)r->snap->config->limits.total_body_bytes;
    if (atomic_fetch_add(&body_bytes, bytes) + bytes > most) {
        atomic_fetch_sub(&body_bytes, bytes);
        return false;
    }
    r->reserved_bytes += bytes;
    return true;
}

static int no_room(struct req *r)
{
    req_fail(r, 503, "overloaded_error", "overloaded", "memory", "the gateway holds too many bytes of bodies; try again");
    r->fail.retry_after_ns = NS_PER_S;
    return -1;
}

/* A chunked body takes its part of the budget as it grows. */
static WAITS int chunks_receive(struct req *r, uint64_t most, uint64_t deadline)
{
    struct buf body = { 0 };
    str spans[H1_SPANS_MAX];
    char piece[4096];
    int n;
    while ((n = h1_body_next(&r->client->in, piece, sizeof piece, spans, deadline)) > 0) {
        int64_t bytes = 0;
        for (int i = 0; i < n; i++) {
            buf_str(&body, spans[i]);
            bytes += (int64_t)spans[i].len;
        }
        if (body.len > most)
            n = -EMSGSIZE;
        else if (body.is_failed)
            n = -ENOMEM;
        else if (!reserve_more(r, bytes))
            n = no_room(r);
        if (n < 0)
            break;
    }
    if (n == 0) {
        char *copy = arena_try(r->a, body.len + 1);
        r->body = (str){ copy, body.len };
        n = copy ? 0 : -ENOMEM;
        if (copy && body.len)
            memcpy(copy, body.ptr, body.len);
    }
    /* The next message may have begun in `piece`, which is on this stack. */
    r->client->in.kept = n == 0 ? arena_str(r->a, r->client->in.kept) : (str){ 0 };
    buf_free(&body);
    return n;
}

static int body_unpack(struct req *r, str coding, uint64_t limit)
{
    int64_t before = (int64_t)r->body.len;
    int rc = body_decode(r, coding, limit);
    if (rc == 0 && (int64_t)r->body.len > before && !reserve_more(r, (int64_t)r->body.len))
        rc = no_room(r);
    return rc;
}

static WAITS int body_receive(struct req *r)
{
    const struct limits_conf *limits = &r->snap->config->limits;
    uint64_t most = limits->body_bytes;
    int64_t length = r->head.content_length;
    if (!r->head.is_chunked && length < 0)
        return req_fail(r, 411, "invalid_request_error", "length_required", "length_required",
                        "the request has no body: send content-length or chunks");
    if (length > 0 && (uint64_t)length > most)
        return req_fail(r, 413, "invalid_request_error", "request_too_large", "body_too_large",
                        "the body has %lld bytes, the limit is %llu (global.limits.body_bytes)", (long long)length,
                        (unsigned long long)most);
    if (!reserve_more(r, length > 0 ? length : 0))
        return no_room(r);
    if (r->head.expects_continue) {
        int rc = conn_write(&r->client->conn, S("HTTP/1.1 100 Continue\r\n\r\n"), r->deadline);
        if (rc < 0)
            return rc;
    }
    uint64_t until = deadline_min(r->deadline, clock_now(), BODY_TIMEOUT_S * NS_PER_S);
    int rc = r->head.is_chunked ? chunks_receive(r, most, until)
                                : h1_read_body(&r->client->in, r->a, &r->head, most, &r->body, until);
    if (rc == -EMSGSIZE)
        return req_fail(r, 413, "invalid_request_error", "request_too_large", "body_too_large",
                        "the body has more than %llu bytes (global.limits.body_bytes)", (unsigned long long)most);
    if (rc == -EBADMSG)
        return req_fail(r, 400, "invalid_request_error", "bad_framing", "framing", "the body's chunks are malformed");
    if (rc == -ENOMEM)
        return req_fail(r, 503, "overloaded_error", "overloaded", "memory", "no memory for this body; try again");
    if (rc == -ETIMEDOUT)
        return req_fail(r, 408, "invalid_request_error", "request_timeout", "body_timeout", "the body did not arrive in time");
    if (rc < 0)
        return rc;
    str encoding = http_get(&r->head, S("content-encoding"));
    if (encoding.len && !str_ieq(encoding, S("identity")))
        return body_unpack(r, encoding, limits->decoded_body_bytes);
    return 0;
}

static int json_read(struct req *r)
{
    struct json_error je;
    if (json_parse(r->a, r->body, &r->json, &je) < 0) {
        bool memory = arena_exhausted(r->a);
        return memory ? req_fail(r, 503, "overloaded_error", "overloaded", "memory", "no memory for this body; try again")
                      : req_fail(r, 400, "invalid_request_error", "invalid_json", "json",
                                 "malformed JSON body: %s at byte %zu", je.what, je.at);
    }
    if (!json_is(&r->json, 0, JSON_OBJECT))
        return req_fail(r, 400, "invalid_request_error", "invalid_json", "json",
                        "the body must be a JSON object, got %s", json_kind_name(json_kind(&r->json, 0)));
    return 0;
}

/* The sentence begins with the JSON path. */
static int shape_refuse(struct req *r, const struct err *e)
{
    req_fail(r, 400, "invalid_request_error", "invalid_value", "shape", "%s", e->text);
    str path = str_of(e->text);
    path = str_cut(&path, ':');
    if (str_chr(path, ' ') < 0)
        r->fail.param = arena_str(r->a, path);
    return -1;
}

/* Another dialect than OpenAI's chat: read as a whole, and policy looks at what was read. */
static int foreign_parse(struct req *r, struct err *e)
{
    r->prompt = ARENA_NEW(r->a, struct prompt);
    if (r->dialect->request_read(r->a, &r->json, &r->place, r->prompt, e) < 0)
        return -1;
    r->is_prompt_changed = r->dialect->carries_foreign(r->body);
    prompt_chat(r->a, r->prompt, &r->chat);
    return 0;
}

static int body_parse(struct req *r)
{
    struct err e = { 0 };
    if (json_read(r) < 0)
        return -1;
    int rc = req_is_foreign(r) ? foreign_parse(r, &e)
           : r->endpoint == ENDPOINT_CHAT ? openai_chat_parse(r->a, &r->json, SIZES_AS_SENT, &r->chat, &e)
           : r->endpoint == ENDPOINT_COMPLETIONS ? openai_completions_parse(r->a, &r->json, &r->chat, &e)
           : openai_embeddings_parse(r->a, &r->json, &r->chat, &e);
    return rc < 0 ? shape_refuse(r, &e) : 0;
}

/* ---- a model's answer ---- */

static WAITS int step_run(struct req *r, const struct plugin_step *s, int (*hook)(struct req *r, const void *conf))
{
    if (!hook)
        return PLUGIN_PASS;
    uint64_t from = clock_now();
    int rc = hook(r, s->conf);
    count_plugin(r, s->ops->type, rc, clock_now() - from);
    return rc;
}

static WAITS int chain_run(struct req *r)
{
    for (unsigned i = 0; r->plan && i < r->plan->n_chain; i++) {
        int rc = step_run(r, &r->plan->chain[i], r->plan->chain[i].ops->on_request);
        if (rc != PLUGIN_PASS)
            return rc;
    }
    for (unsigned i = 0; r->plan && i < r->plan->n_chain; i++) {
        int rc = step_run(r, &r->plan->chain[i], r->plan->chain[i].ops->on_send);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static void cancelled_count(const struct req *r, const char *phase)
{
    if (r->model)
        metric_add(metric_cell(METRIC_UPSTREAM_CANCELLED, (str[]){ r->model->name, str_of(phase) }), 1);
}

static WAITS int answer_model(struct req *r)
{
    uint64_t bytes = r->client->conn.bytes_in;
    int rc = body_receive(r);
    r->t.body = r->client->conn.bytes_in == bytes ? r->t.head : clock_now();    /* it came with the head */
    if (rc < 0)
        return r->fail.status ? refuse(r) : -1;
    rc = body_parse(r);
    if (rc == 0 && r->dialect == &dialect_openai_responses)
        rc = responses_load(r);
    r->t.parsed = clock_now();
    if (rc < 0)
        return relay_fail(r);
    r->client->conn.io.victim = fiber_self();   /* from here on a client that leaves cancels us */
    if (r->client->conn.io.ready & IO_HUP) {
        r->is_client_gone = true;
        return -1;
    }
    rc = route_request(r);
    if (rc == 0)
        rc = limit_admit(r);
    r->t.routed = clock_now();
    if (rc < 0)
        return r->is_client_gone ? -1 : relay_fail(r);
    rc = chain_run(r);
    if (rc == PLUGIN_REPLY)
        return r->is_client_gone ? -1 : 0;
    if (rc < 0)
        return relay_fail(r);
    if (r->n_order == 0) {
        req_fail(r, 503, "server_error", "no_model", "no_model", "this decision has no model and answered nothing");
        return relay_fail(r);
    }
    if (r->order[0]->encoder)
        return embeddings_answer(r);
    if (r->order[0]->n_backends && r->order[0]->backends[0].provider == &provider_explain)
        return explain_answer(r);
    if (r->chat.is_streaming && r->endpoint != ENDPOINT_EMBEDDINGS && !req_is_foreign(r))
        body_ask_usage(r);
    if (arena_exhausted(r->a)) {
        req_fail(r, 503, "overloaded_error", "overloaded", "memory", "out of memory; try again");
        return relay_fail(r);
    }
    struct answer a;
    rc = attempt_run(r, &a);
    if (rc == -ECANCELED) {
        r->is_client_gone = true;
        cancelled_count(r, "first_byte");
        return -1;
    }
    if (rc < 0)
        return relay_fail(r);
    rc = relay_run(r, &a);
    bool complete = rc == 0 && (a.up ? a.up->in.is_complete : a.body_is_read);
    if (fiber_is_cancelled(fiber_self()))
        r->is_client_gone = true;
    if (r->is_client_gone && !complete)
        cancelled_count(r, "relay");
    attempt_finish(r, &a, complete);
    return rc;
}

/* ---- doors ---- */

WAITS bool gateway_json(struct req *r, int *rc)
{
    *rc = body_receive(r);
    if (*rc < 0) {
        *rc = r->fail.status ? refuse(r) : -1;
        return false;
    }
    if (json_read(r) == 0)
        return true;
    *rc = relay_fail(r);
    return false;
}

static WAITS int serve_chat(struct req *r)        { r->endpoint = ENDPOINT_CHAT; return answer_model(r); }
static WAITS int serve_completions(struct req *r) { r->endpoint = ENDPOINT_COMPLETIONS; return answer_model(r); }
static WAITS int serve_embeddings(struct req *r)  { r->endpoint = ENDPOINT_EMBEDDINGS; return answer_model(r); }

/* How many tokens a prompt has, as we estimate it: the provider's own count would cost a call, and there may be several. */
static WAITS int serve_count(struct req *r)
{
    struct err e = { 0 };
    r->endpoint = ENDPOINT_CHAT;
    int rc = body_receive(r);
    if (rc < 0)
        return r->fail.status ? refuse(r) : -1;
    r->prompt = ARENA_NEW(r->a, struct prompt);
    if (json_read(r) < 0 || (r->dialect->count_read(r->a, &r->json, &r->place, r->prompt, &e) < 0 && shape_refuse(r, &e) < 0))
        return relay_fail(r);
    prompt_chat(r->a, r->prompt, &r->chat);
    facts_build(&r->facts, r->a, &r->chat);
    struct buf out = { 0 };
    r->dialect->count_write((int64_t)r->facts.prompt_tokens, &out);
    rc = relay_own(r, 200, S("application/json"), buf_view(&out));
    buf_free(&out);
    return rc;
}

/* POST /v1beta/models/MODEL:generateContent | :streamGenerateContent | :countTokens */
static WAITS int serve_gemini(struct req *r)
{
    str path = r->head.path, verb = { 0 };
    path = str_from(path, (size_t)str_find(path, S("/models/")) + sizeof "/models/" - 1);
    for (size_t i = path.len; i-- > 0 && verb.len == 0; )
        if (path.ptr[i] == ':') {
            verb = str_from(path, i + 1);
            r->place.model = http_path_decode(str_upto(path, i), r->a);
        }
    r->place.is_streaming = str_eq(verb, S("streamGenerateContent"));
    if (str_eq(verb, S("countTokens")))
        return serve_count(r);
    bool has_body = r->head.is_chunked || r->head.content_length > 0;
    if (!r->place.is_streaming && !str_eq(verb, S("generateContent"))) {
        req_fail(r, 404, "invalid_request_error", "unknown_url", "path", "endpoint not found: :" STR_FMT " (there are generateContent, "
                 "streamGenerateContent, countTokens)", STR_ARG(verb));
        return has_body ? refuse(r) : relay_fail(r);
    }
    if (r->place.is_streaming && !str_eq(http_query_get(r->head.query, S("alt"), r->a), S("sse"))) {
        req_fail(r, 400, "invalid_request_error", "invalid_value", "path",
                 "alt: streams are sent as server-sent events only; add ?alt=sse");
        return has_body ? refuse(r) : relay_fail(r);
    }
    return serve_chat(r);
}

/* Agents look here before their first request. */
static WAITS int serve_root(struct req *r)
{
    return relay_own(r, 200, S("application/json"), S("{\"status\":\"ok\",\"service\":\"signalbox\"}\n"));
}

static WAITS int serve_health(struct req *r)
{
    return relay_own(r, 200, S("application/json"), S("{\"status\":\"ok\"}\n"));
}

static WAITS int serve_ready(struct req *r)
{
    if (server_is_draining())
        return relay_own(r, 503, S("application/json"), S("{\"status\":\"draining\"}\n"));
    return relay_own(r, 200, S("application/json"), S("{\"status\":\"ready\"}\n"));
}

static WAITS int models_list(struct req *r)
{
    struct buf out = { 0 };
    models_all(r->snap, r->a, r->dialect, &out);
    int rc = relay_own(r, 200, S("application/json"), buf_view(&out));
    buf_free(&out);
    return rc;
}

static WAITS int model_show(struct req *r, str name)
{
    struct buf out = { 0 };
    int rc;
    if (models_one(r->snap, name, r->dialect, &out)) {
        rc = relay_own(r, 200, S("application/json"), buf_view(&out));
    } else {
        req_fail(r, 404, "invalid_request_error", "model_not_found", "unknown_model", "model '" STR_FMT "' is not available",
                 STR_ARG(name));
        rc = relay_fail(r);
    }
    buf_free(&out);
    return rc;
}

/* Who asks for the list says by its headers which one it can read. */
static const struct dialect_ops *lister(const struct req *r)
{
    return http_has(&r->head, S("anthropic-version")) ? &dialect_anthropic
         : http_has(&r->head, S("x-goog-api-key")) || http_has(&r->head, S("x-goog-api-client")) ? &dialect_gemini : &dialect_openai_chat;
}

static WAITS int serve_models(struct req *r)
{
    r->dialect = lister(r);
    return models_list(r);
}

static WAITS int serve_model(struct req *r)
{
    r->dialect = lister(r);
    return model_show(r, http_path_decode(str_from(r->head.path, sizeof "/v1/models/" - 1), r->a));
}

static WAITS int serve_gemini_model(struct req *r)
{
    return model_show(r, http_path_decode(str_from(r->head.path, sizeof "/v1beta/models/" - 1), r->a));
}

#define DOOR(method_, path_) .method = { method_, sizeof method_ - 1 }, .path = { path_, sizeof path_ - 1 }
static const struct door {
    str method, path;
    bool is_prefix, is_free;        /* free: no key, no cap, not in the access log */
    const struct dialect_ops *dialect;          /* in whose words it refuses; NULL: OpenAI's */
    WAITS int (*serve)(struct req *r);
} doors[] = {
    { DOOR("POST", "/v1/chat/completions"), .dialect = &dialect_openai_chat, .serve = serve_chat },
    { DOOR("POST", "/v1/completions"), .serve = serve_completions },
    { DOOR("POST", "/v1/embeddings"), .serve = serve_embeddings },
    { DOOR("POST", "/v1/messages"), .dialect = &dialect_anthropic, .serve = serve_chat },
    { DOOR("POST", "/v1/messages/count_tokens"), .dialect = &dialect_anthropic, .serve = serve_count },
    { DOOR("POST", "/v1/responses"), .dialect = &dialect_openai_responses, .serve = serve_chat },
    { DOOR("POST", "/v1/responses/input_tokens"), .dialect = &dialect_openai_responses, .serve = serve_count },
    { DOOR("GET", "/v1/responses/"), .is_prefix = true, .dialect = &dialect_openai_responses, .serve = responses_serve_get },
    { DOOR("DELETE", "/v1/responses/"), .is_prefix = true, .dialect = &dialect_openai_responses, .serve = responses_serve_delete },
    { DOOR("POST", "/v1/responses/"), .is_prefix = true, .dialect = &dialect_openai_responses, .serve = responses_serve_post },
    { DOOR("POST", "/v1/conversations"), .dialect = &dialect_openai_responses, .serve = conversations_serve_create },
    { DOOR("GET", "/v1/conversations/"), .is_prefix = true, .dialect = &dialect_openai_responses, .serve = conversations_serve_get },
    { DOOR("POST", "/v1/conversations/"), .is_prefix = true, .dialect = &dialect_openai_responses, .serve = conversations_serve_post },
    { DOOR("DELETE", "/v1/conversations/"), .is_prefix = true, .dialect = &dialect_openai_responses, .serve = conversations_serve_delete },
    { DOOR("POST", "/v1beta/models/"), .is_prefix = true, .dialect = &dialect_gemini, .serve = serve_gemini },
    { DOOR("POST", "/v1/models/"), .is_prefix = true, .dialect = &dialect_gemini, .serve = serve_gemini },
    { DOOR("GET", "/v1/models"), .serve = serve_models },
    { DOOR("GET", "/v1/models/"), .is_prefix = true, .serve = serve_model },
    { DOOR("GET", "/v1beta/models"), .dialect = &dialect_gemini, .serve = models_list },
    { DOOR("GET", "/v1beta/models/"), .is_prefix = true, .dialect = &dialect_gemini, .serve = serve_gemini_model },
    { DOOR("GET", "/"), .is_free = true, .serve = serve_root },
    { DOOR("GET", "/health"), .is_free = true, .serve = serve_health },
    { DOOR("GET", "/ready"), .is_free = true, .serve = serve_ready },
};

static const struct door *door_find(struct req *r)
{
    const struct door *other = NULL;
    bool is_head = str_eq(r->head.method, S("HEAD"));
    for (size_t i = 0; i < COUNT_OF(doors); i++) {
        const struct door *d = &doors[i];
        if (d->is_prefix ? !str_starts(r->head.path, d->path) : !str_eq(r->head.path, d->path))
            continue;
        if (str_eq(r->head.method, d->method) || (is_head && str_eq(d->method, S("GET"))))
            return d;
        other = d;
    }
    if (other)
        req_fail(r, 405, "invalid_request_error", "method_not_allowed", "method",
                 "method not allowed: " STR_FMT " takes " STR_FMT, STR_ARG(r->head.path), STR_ARG(other->method));
    else
        req_fail(r, 404, "invalid_request_error", "unknown_url", "path",
                 "endpoint not found: " STR_FMT " " STR_FMT, STR_ARG(r->head.method), STR_ARG(r->head.path));
    return NULL;
}

static WAITS int dispatch(struct req *r)
{
    const struct door *d = door_find(r);
    bool has_body = r->head.is_chunked || r->head.content_length > 0;
    r->dialect = d ? d->dialect : NULL;
    if (!d || (!d->is_free && key_admit(r) < 0))
        return has_body ? refuse(r) : relay_fail(r);
    if (has_body && !str_eq(d->method, S("POST")))
        r->client->keep_alive = false;          /* nobody reads it */
    if (d->is_free)
        return d->serve(r);
    int64_t most = r->snap->config->limits.in_flight;
    int rc;
    if (atomic_fetch_add(&in_flight, 1) >= most) {
        req_fail(r, 503, "overloaded_error", "overloaded", "in_flight",
                 "the gateway is at its limit of %lld requests in flight; try again", (long long)most);
        r->fail.retry_after_ns = NS_PER_S;
        rc = has_body ? refuse(r) : relay_fail(r);
    } else {
        rc = d->serve(r);
    }
    atomic_fetch_sub(&in_flight, 1);
    if (r->reserved_bytes)
        atomic_fetch_sub(&body_bytes, r->reserved_bytes);
    r->t.end = clock_now();
    fiber_late();                               /* the books can wait until everybody has written */
    account_finish(r);
    return rc;
}

/* A head that is not HTTP as we speak it: say why, close. */
static WAITS int refuse_head(struct req *r, int rc)
{
    struct h1 *in = &r->client->in;
    if (rc == -EBADMSG)
        req_fail(r, in->status, "invalid_request_error", "bad_request", "framing", "%s", in->why);
    else if (rc == -ETIMEDOUT)
        req_fail(r, 408, "invalid_request_error", "request_timeout", "head_timeout", "the request's head did not arrive in time");
    else
        return -1;
    account_refused(r->fail.reason);
    r->head.minor = 1;
    return refuse(r);
}

static struct req *request_new(struct client *c)
{
    struct arena *a = arena_new();
    struct snap *s = a ? snap_enter(c->conn.loop) : NULL;
    if (!s) {
        arena_free(a);
        return NULL;
    }
    struct req *r = ARENA_NEW(a, struct req);
    r->a = a;
    r->snap = s;
    r->loop = c->conn.loop;
    r->client = c;
    r->endpoint = ENDPOINT_N;
    r->out.edits.a = a;
    return r;
}

/* False: the connection cannot go on. */
static bool request_free(struct req *r)
{
    struct client *c = r->client;
    c->conn.io.victim = NULL;
    buf_free(&r->out.headers);
    snap_leave(r->loop, r->snap);
    bool ok = client_keep_rest(c);              /* before the arena that holds it goes */
    arena_free(r->a);
    return ok;
}

WAITS int gateway_serve(struct client *c)
{
    struct req *r = request_new(c);
    if (!r)
        return -1;
    const struct limits_conf *limits = &r->snap->config->limits;
    c->keep_alive = true;
    r->t.start = clock_now();
    int rc = h1_read_head(&c->in, r->a, limits->head_bytes, &r->head, r->t.start + limits->head_timeout_ns, false);
    arena_free(c->kept_arena);
    c->kept_arena = NULL;
    r->t.head = clock_now();
    if (rc == 1) {
        uint64_t timeout = c->listener->timeout_ns ? c->listener->timeout_ns : TIMEOUT_DEFAULT_S * NS_PER_S;
        r->deadline = r->t.start + timeout;
        c->keep_alive = r->head.keep_alive && !server_is_draining();
        request_id_make(r);
        r->wants_debug = str_ieq(http_get(&r->head, S("x-vsr-debug")), S("true"));
        if (trace_is_on() && (r->trace = arena_try(r->a, sizeof *r->trace)) != NULL)
            trace_begin(r->trace, &r->head, r->a, S("signalbox"), r->t.start);
        rc = dispatch(r);
    } else {
        request_id_make(r);
        rc = rc == 0 ? -1 : refuse_head(r, rc);
    }
    bool keep = rc == 0 && !r->is_client_gone && !fiber_is_cancelled(fiber_self())
                && (c->in.stream || (c->keep_alive && c->in.is_complete));     /* of a stream: its answer is whole */
    return request_free(r) && keep ? 0 : -1;
}
