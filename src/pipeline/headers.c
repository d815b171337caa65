/* pipeline/headers.c */
#include "pipeline/headers.h"

#include <stdio.h>

#include "base/clock.h"
#include "front/server.h"
#include "pipeline/limit.h"
#include "pipeline/translate.h"
#include "signal/signal.h"

/* One reservation, three copies: a response has twenty of these. The value is known to hold no line break: it is
 * ours, or came in a header. */
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
    memcpy(to + value.len, "\r\n", 2);
    out->len += name.len + value.len + 4;
}

/* A name of the configuration, which may hold line breaks; headers must not. */
static void line_named(struct buf *out, str name, str value)
{
    line(out, name, value);
    if (out->is_failed)
        return;
    char *written = out->ptr + out->len - 2 - value.len;
    for (size_t i = 0; i < value.len; i++)
        if ((unsigned char)written[i] < 0x20 || written[i] == 0x7f)
            written[i] = ' ';
}

/* Headers of the provider that are not for the client. */
static bool is_dropped(str name)
{
    switch (name.len) {
    case 3:  return str_ieq(name, S("via"));
    case 4:  return str_ieq(name, S("date"));
    case 6:  return str_ieq(name, S("server")) || str_ieq(name, S("cf-ray")) || str_ieq(name, S("x-vsr-"));
    case 7:  if (str_ieq(name, S("alt-svc"))) return true; break;
    case 10: if (str_ieq(name, S("set-cookie"))) return true; break;
    case 12: if (str_ieq(name, S("content-type")) || str_ieq(name, S("x-request-id"))) return true; break;
    case 13: if (str_ieq(name, S("server-timing"))) return true; break;
    case 15: if (str_ieq(name, S("cf-cache-status"))) return true; break;
    case 25: if (str_ieq(name, S("strict-transport-security"))) return true; break;
    case 29: if (str_ieq(name, S("access-control-expose-headers"))) return true; break;
    default: break;
    }
    return http_is_hop_by_hop(name) || str_ieq(str_upto(name, 6), S("x-vsr-"));
}

static bool is_limit(str name)
{
    return str_ieq(str_upto(name, 12), S("x-ratelimit-")) || str_ieq(str_upto(name, 20), S("anthropic-ratelimit-"));
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
    uint64_t now = t->first_byte ? t->first_byte : clock_now();
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
            line_named(out, str_of(signal_all[k]->header), str_upto(buf_view(&names), 2048));
        buf_free(&names);
    }
}

/* "%.4f", which would cost more than all the rest of the head. */
static str share_text(char to[32], double v)
{
    if (!(v >= 0 && v < 1000))
        return (str){ to, (size_t)snprintf(to, 32, "%.4f", v) };
    unsigned scaled = (unsigned)(v * 10000 + 0.5);
    size_t n = 0;
    for (unsigned unit = scaled >= 1000000 ? 1000000 : scaled >= 100000 ? 100000 : 10000; unit; unit /= 10) {
        to[n++] = (char)('0' + scaled / unit % 10);
        if (unit == 10000)
            to[n++] = '.';
    }
    return (str){ to, n };
}

/* Who spoke what, when it was not the same, and what could not be said (spec 02, 4.7). */
static void protocol_headers(struct req *r, struct buf *out)
{
    if (!r->dialect || !r->backend)
        return;
    if (r->backend->dialect != r->dialect || r->wants_debug) {
        line(out, S("x-vsr-client-protocol"), str_of(r->dialect->label));
        line(out, S("x-vsr-upstream-protocol"), str_of(r->backend->dialect->label));
    }
    str warnings = translate_warnings(r);
    if (warnings.len)
        line_named(out, S("x-vsr-protocol-warnings"), warnings);
}

static void decision_headers(struct req *r, int status, struct buf *out)
{
    char text[32];
    buf_str(out, S("x-vsr-schema-version: 2\r\n"));
    line(out, S("x-vsr-response-path"), str_of(r->response_path ? r->response_path : status < 400 ? "local" : "error"));
    protocol_headers(r, out);
    if (status < 200 || status > 299)
        return;
    if (r->recipe) {
        line_named(out, S("x-vsr-selected-recipe"), r->recipe->profile->name);
        if (r->decision.conf) {
            line_named(out, S("x-vsr-selected-decision"), r->decision.conf->name);
            line(out, S("x-vsr-selected-confidence"), share_text(text, r->decision.confidence));
        }
        if (r->method)
            line(out, S("x-vsr-selected-algorithm"), str_of(r->method));
    }
    if (r->model)
        line_named(out, S("x-vsr-selected-model"), r->ref && r->ref->lora_name.len ? r->ref->lora_name : r->model->name);
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
    bool has_own_limits = from && limit_has_headers(r);
    for (unsigned i = 0; from && i < from->n_headers; i++)
        if (!is_dropped(from->headers[i].name) && !(has_own_limits && is_limit(from->headers[i].name)))
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
    limit_headers(r, r->dialect == &dialect_anthropic, out);
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
