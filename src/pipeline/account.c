/* pipeline/account.c */
#include "pipeline/account.h"

#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "front/server.h"
#include "observe/latency.h"
#include "observe/metrics.h"
#include "observe/window.h"
#include "pipeline/judge.h"
#include "pipeline/learning_request.h"
#include "pipeline/limit.h"
#include "pipeline/price.h"
#include "pipeline/session.h"

static void phase_cells(uint32_t cells[8])
{
    static const char *const names[8] = { "head", "body", "parse", "route", "connect", "first_byte", "relay", "total" };
    for (int i = 0; i < 8; i++) {
        str label = str_of(names[i]);
        cells[i] = metric_cell(METRIC_PHASE, &label);
    }
}

static double seconds(uint64_t from, uint64_t to)
{
    return from && to >= from ? (double)(to - from) / 1e9 : (double)NAN;
}

static void phases_observe(const struct req *r)
{
    static _Thread_local uint32_t cells[8];
    if (!cells[0])
        phase_cells(cells);
    const struct times *t = &r->t;
    metric_observe(cells[0], seconds(t->start, t->head));
    metric_observe(cells[1], seconds(t->head, t->body));
    metric_observe(cells[2], seconds(t->body, t->parsed));
    metric_observe(cells[3], seconds(t->parsed, t->routed));
    if (t->connect_ns)
        metric_observe(cells[4], (double)t->connect_ns / 1e9);
    metric_observe(cells[5], seconds(t->sent, t->first_byte));
    metric_observe(cells[6], seconds(t->first_byte, t->end));
    metric_observe(cells[7], seconds(t->start, t->end));
}

static const char *route_name(const struct req *r)
{
    static const char *const names[ENDPOINT_N + 1] = { "chat_completions", "completions", "embeddings", "other" };
    return names[r->endpoint <= ENDPOINT_N ? r->endpoint : ENDPOINT_N];
}

static void status_count(const struct req *r)
{
    static _Thread_local uint32_t ok[ENDPOINT_N + 1];
    if (r->status == 200) {
        uint32_t *cell = &ok[r->endpoint];
        if (!*cell)
            *cell = metric_cell(METRIC_HTTP_REQUESTS, (str[]){ str_of(route_name(r)), S("200") });
        metric_add(*cell, 1);
        return;
    }
    char text[12];
    int n = snprintf(text, sizeof text, "%d", r->is_client_gone && !r->status ? 499 : r->status);
    metric_add(metric_cell(METRIC_HTTP_REQUESTS, (str[]){ str_of(route_name(r)), { text, (size_t)n } }), 1);
}

static void model_observe(struct req *r, double cost)
{
    const struct model *m = r->model;
    const struct usage *u = &r->usage;
    const struct model_cells *c = &m->cells;
    metric_add(c->requests, 1);
    if (r->status >= 400 || r->fail.status || !r->status) {
        str reason = r->is_client_gone ? S("cancelled") : r->status == 504 ? S("timeout")
                   : r->status >= 500 || !r->status ? S("upstream_5xx") : S("upstream_4xx");
        metric_add(metric_cell(METRIC_REQUEST_ERRORS, (str[]){ m->name, reason }), 1);
    }
    if (u->prompt_tokens || u->completion_tokens) {
        metric_add(c->prompt_tokens, (uint64_t)u->prompt_tokens);
        metric_add(c->completion_tokens, (uint64_t)u->completion_tokens);
        metric_add(c->tokens, (uint64_t)(u->prompt_tokens + u->completion_tokens));
    }
    if (cost > 0)
        metric_add_double(c->cost, cost);
    bool is_error = r->status >= 500 || (r->fail.status >= 500 && !r->is_client_gone) || (!r->status && !r->is_client_gone);
    window_record(m->state->window, r->t.end, seconds(r->t.body, r->t.end), (uint64_t)u->prompt_tokens,
                  (uint64_t)u->completion_tokens, is_error);
    if (r->status != 200)
        return;
    double ttft = seconds(r->t.body, r->t.first_byte), whole = seconds(r->t.body, r->t.end);
    double tpot = u->completion_tokens > 0 ? whole / (double)u->completion_tokens : (double)NAN;
    metric_observe(c->ttft, ttft);
    metric_observe(c->completion_seconds, whole);
    metric_observe(c->tpot, tpot);
    latency_record(m->state->latency, ttft, tpot);
    if (r->recipe) {
        metric_observe(c->routing_seconds, seconds(r->t.parsed, r->t.routed));
        if (!str_eq(r->chat.model, m->name))
            metric_add(metric_cell(METRIC_MODEL_ROUTING_MODIFICATIONS, (str[]){ r->chat.model, m->name }), 1);
    }
}

/* "type:name" */
static str joined(struct arena *a, str type, str name)
{
    size_t n = type.len + 1 + name.len;
    char *to = arena_try(a, n);
    if (!to)
        return name;
    memcpy(to, type.ptr, type.len);
    to[type.len] = ':';
    memcpy(to + type.len + 1, name.ptr, name.len);
    return (str){ to, n };
}

static size_t signals_list(const struct req *r, str *list, size_t max)
{
    size_t n = 0;
    if (!r->recipe || !r->decision.signals)
        return 0;
    const struct policy *p = r->recipe->policy;
    for (uint32_t w = 0; w < r->decision.signals->n_words; w++)
        for (uint64_t bits = r->decision.signals->yes[w]; bits && n < max; bits &= bits - 1) {
            uint32_t slot = w * 64 + (uint32_t)__builtin_ctzll(bits);
            if (slot < policy_n_slots(p))
                list[n++] = joined(r->a, policy_slot_type(p, slot), policy_slot_name(p, slot));
        }
    return n;
}

static size_t phases_list(const struct times *t, struct access_phase out[4])
{
    size_t n = 0;
    if (t->body > t->start)
        out[n++] = (struct access_phase){ "read", t->body - t->start };
    if (t->routed > t->body && t->body)
        out[n++] = (struct access_phase){ "route", t->routed - t->body };
    if (t->connect_ns)
        out[n++] = (struct access_phase){ "connect", t->connect_ns };
    if (t->first_byte > t->sent && t->sent)
        out[n++] = (struct access_phase){ "first_byte", t->first_byte - t->sent };
    return n;
}

/* Body and headers, for replay. */
static void capture(const struct req *r, struct access_record *a)
{
    struct access_header *h = ARENA_ARRAY(r->a, struct access_header, r->head.n_headers);
    for (unsigned i = 0; i < r->head.n_headers; i++)
        h[i] = (struct access_header){ r->head.headers[i].name, r->head.headers[i].value };
    a->headers = h;
    a->n_headers = r->head.n_headers;
    a->body = r->body;
    a->body_is_json = r->json.n > 0;
}

static void access_line(struct req *r, double cost)
{
    str signals[ACCESS_LIST_MAX];
    static const char *const dialects[] = { "openai_chat", "openai_completions", "openai_embeddings", "" };
    const struct times *t = &r->t;
    struct access_phase phases[4];
    struct access_record a = ACCESS_RECORD_EMPTY;
    a.ts = clock_wall() - (t->end - t->start);
    a.request_id = r->request_id;
    a.client = (str){ r->client->peer, r->client->peer_len };
    a.user = r->facts.user_id;
    a.session_id = session_id(r);
    a.method = r->head.method;
    a.path = r->head.path;
    a.dialect = str_of(dialects[r->endpoint]);
    a.status = r->is_client_gone && !r->status ? 499 : r->status;
    a.error = r->fail.reason ? str_of(r->fail.reason) : S("");
    a.error_reason = r->fail.message;
    a.is_stream = r->chat.is_streaming;
    a.is_cancelled = r->is_client_gone;
    a.bytes_in = (int64_t)r->body.len;
    a.bytes_out = (int64_t)r->relayed_bytes;
    a.model_requested = r->chat.model;
    a.model = r->model ? r->model->name : S("");
    a.upstream_request_id = r->upstream_request_id;
    a.attempts = r->n_attempts;
    if (r->recipe) {
        a.recipe = r->recipe->profile->name;
        a.units_run = r->decision.n_units_run;
        a.units_avoided = r->decision.n_units_avoided;
        a.algorithm = str_of(r->method ? r->method : "");
        a.reason = str_of(r->pick.reason ? r->pick.reason : "");
        if (r->pick.order)
            a.propensity = r->pick.propensity;
    }
    if (r->decision.conf) {
        a.decision = r->decision.conf->name;
        a.confidence = r->decision.confidence;
    }
    if (r->backend) {
        a.provider = r->backend->provider->name;
        a.backend = r->backend->name;
    }
    a.finish_reason = r->finish_reason;
    if (r->usage.prompt_tokens || r->usage.completion_tokens) {
        a.prompt_tokens = r->usage.prompt_tokens;
        a.completion_tokens = r->usage.completion_tokens;
        a.cached_tokens = r->usage.cached_tokens;
        a.reasoning_tokens = r->usage.reasoning_tokens;
    }
    a.cost = cost;
    a.selection = learning_log(r);
    if (cost == cost)
        a.currency = r->model->conf->pricing.currency.len ? r->model->conf->pricing.currency : S("USD");
    if (t->first_byte)
        a.ttft_ns = (int64_t)(t->first_byte - t->start);
    a.duration_ns = (int64_t)(t->end - t->start);
    a.phases = phases;
    a.n_phases = phases_list(t, phases);
    a.signals = signals;
    a.n_signals = signals_list(r, signals, COUNT_OF(signals));
    if (access_captures())
        capture(r, &a);
    char id[33];
    if (r->trace) {
        trace_id_text(r->trace, id);
        a.trace_id = (str){ id, 32 };
    }
    access_write(&a);
}

static void trace_finish(struct req *r, double cost)
{
    struct trace *t = r->trace;
    static const char *const operations[] = { "chat", "text_completion", "embeddings", "" };
    if (r->model)
        span_rename(t, SPAN_ROOT, arena_printf(r->a, "%s " STR_FMT, operations[r->endpoint], STR_ARG(r->model->name)));
    span_str(t, SPAN_ROOT, SPAN_GENAI_OPERATION, str_of(operations[r->endpoint]));
    span_str(t, SPAN_ROOT, SPAN_GENAI_REQUEST_MODEL, r->chat.model);
    span_str(t, SPAN_ROOT, SPAN_GENAI_RESPONSE_MODEL, r->response_model);
    span_str(t, SPAN_ROOT, SPAN_GENAI_RESPONSE_ID, r->response_id);
    if (r->finish_reason.len)
        span_strs(t, SPAN_ROOT, SPAN_GENAI_FINISH_REASONS, &r->finish_reason, 1);
    span_bool(t, SPAN_ROOT, SPAN_GENAI_REQUEST_STREAM, r->chat.is_streaming);
    if (r->usage.is_known) {
        span_int(t, SPAN_ROOT, SPAN_GENAI_INPUT_TOKENS, r->usage.prompt_tokens);
        span_int(t, SPAN_ROOT, SPAN_GENAI_OUTPUT_TOKENS, r->usage.completion_tokens);
        span_int(t, SPAN_ROOT, SPAN_GENAI_CACHE_READ, r->usage.cached_tokens);
    }
    span_int(t, SPAN_ROOT, SPAN_HTTP_STATUS, r->status);
    span_str(t, SPAN_ROOT, SPAN_HTTP_METHOD, r->head.method);
    span_str(t, SPAN_ROOT, SPAN_URL_PATH, r->head.path);
    span_str(t, SPAN_ROOT, SPAN_VSR_REQUEST_ID, r->request_id);
    if (r->decision.conf) {
        span_str(t, SPAN_ROOT, SPAN_VSR_DECISION, r->decision.conf->name);
        span_double(t, SPAN_ROOT, SPAN_VSR_CONFIDENCE, r->decision.confidence);
    }
    if (r->recipe) {
        span_str(t, SPAN_ROOT, SPAN_VSR_ROUTING_STRATEGY, str_of(r->method ? r->method : ""));
        span_str(t, SPAN_ROOT, SPAN_VSR_ORIGINAL_MODEL, r->chat.model);
        span_str(t, SPAN_ROOT, SPAN_VSR_SELECTED_MODEL, r->model ? r->model->name : S(""));
    }
    span_double(t, SPAN_ROOT, "signalbox.cost", cost);
    if (r->fail.status)
        span_error(t, SPAN_ROOT, str_of(r->fail.reason ? r->fail.reason : "error"), r->fail.message);
    if (r->t.routed) {
        unsigned s = span_begin_at(t, SPAN_ROOT, SPAN_INTERNAL, S("route"), r->t.parsed);
        span_end_at(t, s, r->t.routed);
    }
    trace_end(t);
}

double account_call(struct req *r)
{
    double cost = (double)NAN;
    if (r->model) {
        cost = price_of(r->model, &r->usage, r->facts.now_ns);
        model_observe(r, cost);
    }
    limit_settle(r, &r->usage, cost);
    return cost;
}

void account_finish(struct req *r)
{
    if (!r->usage.is_known && r->model && r->n_events > 1) {     /* cut short: what was relayed was billed */
        r->usage.completion_tokens = (int64_t)r->n_events - 1;
        r->usage.prompt_tokens = (int64_t)r->facts.prompt_tokens;
    }
    double cost = account_call(r);
    learning_observe(r, cost);
    judge_offer(r);
    phases_observe(r);
    status_count(r);
    if (r->plan)
        metric_add(r->plan->cell_match, 1);
    if (r->fail.reason && r->n_attempts == 0)
        account_refused(r->fail.reason);
    if (access_is_on())
        access_line(r, cost);
    if (r->trace)
        trace_finish(r, cost);
}

void account_refused(const char *reason)
{
    str label = str_of(reason);
    metric_add(metric_cell(METRIC_REFUSED, &label), 1);
}
