/* pipeline/headers.c */
#include "pipeline/headers.h"

#include <stdio.h>

#include "base/clock.h"
#include "front/server.h"
#include "signal/signal.h"

/* One reservation, three copies: a response has twenty of these. */
static void line(struct buf *out, str name, str value)
{
    if (!buf_reserve(out, name.len + value.len + 4))
        return;
    char *to = out->ptr + out->len;
    memcpy(to, name.ptr, name.len);
    to += name.len;
    *to++ = ':';
    *to++ = ' ';
    memcpy(to, value.ptr ? value.ptr : "", value.len);
    for (size_t i = 0; i < value.len; i++)      /* names of configurations may hold line breaks; headers must not */
        if ((unsigned char)to[i] < 0x20 || to[i] == 0x7f)
            to[i] = ' ';
    memcpy(to + value.len, "\r\n", 2);
    out->len += name.len + value.len + 4;
}

/* Headers of the provider that are not for the client. */
static bool is_dropped(str name)
{
    static const str names[] = {
        { "set-cookie", 10 }, { "server", 6 }, { "date", 4 }, { "content-type", 12 }, { "alt-svc", 7 },
        { "cf-ray", 6 }, { "cf-cache-status", 15 }, { "strict-transport-security", 25 }, { "x-request-id", 12 },
        { "server-timing", 13 }, { "via", 3 }, { "access-control-expose-headers", 29 },
    };
    if (http_is_hop_by_hop(name))
        return true;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (str_ieq(name, names[i]))
            return true;
    return str_ieq(str_upto(name, 6), S("x-vsr-"));
}

static void phase(struct buf *out, const char *name, uint64_t from, uint64_t to, bool *is_first)
{
    if (!from || to < from)
        return;
    buf_str(out, *is_first ? S("server-timing: ") : S(", "));
    *is_first = false;
    uint64_t us = (to - from) / 1000;
    buf_str(out, str_of(name));
    buf_str(out, S(";dur="));
    buf_u64(out, us / 1000);
    buf_char(out, '.');
    buf_char(out, (char)('0' + us / 100 % 10));
    buf_char(out, (char)('0' + us / 10 % 10));
    buf_char(out, (char)('0' + us % 10));
}

static void timing(const struct req *r, struct buf *out)
{
    const struct times *t = &r->t;
    uint64_t now = clock_now();
    bool is_first = true;
    phase(out, "read", t->start, t->body, &is_first);
    phase(out, "route", t->body, t->routed, &is_first);
    phase(out, "upstream", t->sent, t->first_byte, &is_first);
    phase(out, "total", t->start, now, &is_first);
    if (!is_first)
        buf_str(out, S("\r\n"));
}

static void debug_headers(const struct req *r, struct buf *out)
{
    const struct sigset *sig = r->decision.signals;
    const struct policy *p = r->recipe->policy;
    buf_str(out, S("x-vsr-context-token-count: "));
    buf_u64(out, r->facts.context_tokens);
    buf_str(out, S("\r\n"));
    if (r->ref)
        line(out, S("x-vsr-selected-reasoning"), r->ref->use_reasoning ? S("on") : S("off"));
    if (r->injected_system_prompt)
        line(out, S("x-vsr-injected-system-prompt"), S("true"));
    for (unsigned k = 0; signal_all[k]; k++) {
        if (!signal_all[k]->header)
            continue;
        struct buf names = { 0 };
        for (uint32_t slot = 0; slot < policy_n_slots(p); slot++) {
            if (!sig_yes(sig, slot) || !str_eq(policy_slot_type(p, slot), str_of(signal_all[k]->type)))
                continue;
            if (names.len)
                buf_char(&names, ',');
            buf_str(&names, policy_slot_name(p, slot));
        }
        if (names.len)
            line(out, str_of(signal_all[k]->header), str_upto(buf_view(&names), 2048));
        buf_free(&names);
    }
}

static void decision_headers(const struct req *r, int status, struct buf *out)
{
    char text[32];
    buf_str(out, S("x-vsr-schema-version: 2\r\n"));
    line(out, S("x-vsr-response-path"), str_of(r->response_path ? r->response_path : "error"));
    if (status < 200 || status > 299)
        return;
    if (r->recipe) {
        line(out, S("x-vsr-selected-recipe"), r->recipe->profile->name);
        if (r->decision.conf) {
            line(out, S("x-vsr-selected-decision"), r->decision.conf->name);
            int n = snprintf(text, sizeof text, "%.4f", r->decision.confidence);
            line(out, S("x-vsr-selected-confidence"), (str){ text, (size_t)n });
        }
        if (r->method)
            line(out, S("x-vsr-selected-algorithm"), str_of(r->method));
    }
    if (r->model)
        line(out, S("x-vsr-selected-model"), r->ref && r->ref->lora_name.len ? r->ref->lora_name : r->model->name);
    if (r->response_path && strcmp(r->response_path, "fast_response") == 0)
        buf_str(out, S("x-vsr-fast-response: true\r\n"));
    if (r->wants_debug && r->recipe && r->decision.signals)
        debug_headers(r, out);
}

void headers_write(struct req *r, int status, str content_type, int64_t length, const struct http_head *from,
                   struct buf *out)
{
    buf_reserve(out, 1024);
    buf_str(out, S("HTTP/1.1 "));
    buf_u64(out, (uint64_t)status);
    buf_char(out, ' ');
    buf_str(out, str_of(http_reason(status)));
    buf_str(out, S("\r\n"));
    if (content_type.len)
        line(out, S("content-type"), content_type);
    for (unsigned i = 0; from && i < from->n_headers; i++)
        if (!is_dropped(from->headers[i].name))
            line(out, from->headers[i].name, from->headers[i].value);
    line(out, S("x-request-id"), r->request_id);
    if (r->upstream_request_id.len)
        line(out, S("x-upstream-request-id"), r->upstream_request_id);
    decision_headers(r, status, out);
    if (r->fail.retry_after_ns && !from) {
        uint64_t ms = (r->fail.retry_after_ns + NS_PER_MS - 1) / NS_PER_MS;
        buf_str(out, S("retry-after: "));
        buf_u64(out, (ms + 999) / 1000);
        buf_str(out, S("\r\nretry-after-ms: "));
        buf_u64(out, ms);
        buf_str(out, S("\r\n"));
    }
    if (r->fail.no_retry)
        buf_str(out, S("x-should-retry: false\r\n"));
    if (str_starts(content_type, S("text/event-stream")))
        if (!from || !http_has(from, S("cache-control")))
            buf_str(out, S("cache-control: no-cache\r\nx-accel-buffering: no\r\n"));
    timing(r, out);
    line(out, S("date"), http_date());
    if (length >= 0) {
        buf_str(out, S("content-length: "));
        buf_u64(out, (uint64_t)length);
        buf_str(out, S("\r\n"));
    } else if (length == -1) {
        buf_str(out, S("transfer-encoding: chunked\r\n"));
    }
    if (!r->client->keep_alive || length == -2)
        buf_str(out, S("connection: close\r\n"));
    else if (r->head.minor == 0)
        buf_str(out, S("connection: keep-alive\r\n"));
    buf_str(out, S("\r\n"));
}
