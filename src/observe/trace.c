/* observe/trace.c -- trace identity, spans in fixed arrays, and the line to the collector.
 *
 * Three parts: W3C trace context (strict: what is invalid is ignored and a new trace begins), the
 * spans of a request, and a thread that posts what trace_end has written. A span is turned into
 * JSON once, on the thread of its request; from then on it is bytes and a count. */
#include "observe/trace.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hex.h"
#include "base/json.h"
#include "base/rand.h"
#include "net/h1.h"
#include "net/tls.h"
#include "observe/log.h"
#include "observe/metrics.h"

/* ---- W3C trace context ---- */

enum { FLAG_SAMPLED = 1, FLAG_RANDOM = 2 };     /* Level 2 defines both and no more */

static bool hex_at(str text, size_t at, uint8_t *to, size_t n)
{
    str digits = str_upto(str_from(text, at), 2 * n);
    for (size_t i = 0; i < digits.len; i++)
        if (digits.ptr[i] >= 'A' && digits.ptr[i] <= 'F')
            return false;                       /* section 3.2.2: lower case only */
    return hex_read(digits, to, n);
}

static bool all_zero(const uint8_t *bytes, size_t n)
{
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++)
        any |= bytes[i];
    return any == 0;
}

/* version "-" trace-id "-" parent-id "-" flags. A later version may append "-" and more; ff is no
 * version. */
bool trace_parent_parse(str text, struct trace_parent *out)
{
    uint8_t version, flags;
    if (text.len < TRACE_PARENT_LEN || !hex_at(text, 0, &version, 1) || version == 0xff)
        return false;
    if (text.len > TRACE_PARENT_LEN && (version == 0 || text.ptr[TRACE_PARENT_LEN] != '-'))
        return false;
    if (text.ptr[2] != '-' || text.ptr[35] != '-' || text.ptr[52] != '-')
        return false;
    if (!hex_at(text, 3, out->trace_id, 16) || !hex_at(text, 36, out->span_id, 8) || !hex_at(text, 53, &flags, 1))
        return false;
    out->flags = flags & (FLAG_SAMPLED | FLAG_RANDOM);
    return !all_zero(out->trace_id, 16) && !all_zero(out->span_id, 8);
}

void trace_parent_format(const struct trace_parent *p, char out[TRACE_PARENT_LEN + 1])
{
    memcpy(out, "00-", 3);
    char *to = hex_write(out + 3, p->trace_id, 16);
    *to++ = '-';
    to = hex_write(to, p->span_id, 8);
    *to++ = '-';
    to = hex_write(to, &p->flags, 1);
    *to = 0;
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool key_part(str s, size_t longest, bool may_begin_with_digit)
{
    if (s.len == 0 || s.len > longest)
        return false;
    if (!is_lower(s.ptr[0]) && !(may_begin_with_digit && is_digit(s.ptr[0])))
        return false;
    for (size_t i = 1; i < s.len; i++)
        if (!is_lower(s.ptr[i]) && !is_digit(s.ptr[i]) && !memchr("_-*/", s.ptr[i], 4))
            return false;
    return true;
}

static bool state_key(str key)                  /* section 3.3.1.3.1: simple, or tenant@system */
{
    long at = str_chr(key, '@');
    if (at < 0)
        return key_part(key, 256, false);
    return key_part(str_upto(key, (size_t)at), 241, true)
        && key_part(str_from(key, (size_t)at + 1), 14, false);
}

static bool state_value(str v)                  /* printable but , and =; does not end in a blank */
{
    if (v.len == 0 || v.len > 256 || v.ptr[v.len - 1] == ' ')
        return false;
    for (size_t i = 0; i < v.len; i++)
        if (v.ptr[i] < 0x20 || v.ptr[i] > 0x7e || v.ptr[i] == ',' || v.ptr[i] == '=')
            return false;
    return true;
}

bool trace_state_is_valid(str text)
{
    unsigned n = 0;
    while (text.len) {
        str item = str_trim(str_cut(&text, ','));
        if (item.len == 0)                      /* empty members are allowed */
            continue;
        long equals = str_chr(item, '=');
        if (++n > 32 || equals < 0 || !state_key(str_upto(item, (size_t)equals))
            || !state_value(str_from(item, (size_t)equals + 1)))
            return false;
    }
    return n > 0;
}

/* ---- sampling ---- */

static _Atomic bool is_on;
static _Atomic uint64_t sample_below;        /* of 2^63: new traces whose id is below are sampled */

static uint64_t random_bits(void)
{
    static _Thread_local uint64_t state;
    if (!state)
        state = rand_system() | 1;
    return rand_next(&state);
}

static void random_id(uint8_t *id, size_t n)
{
    do
        for (size_t i = 0; i < n; i += 8) {
            uint64_t v = random_bits();
            memcpy(id + i, &v, 8);
        }
    while (all_zero(id, n));
}

/* As OpenTelemetry's TraceIdRatioBased: the low 63 bits of the id, so that all services agree. */
static bool id_is_sampled(const uint8_t id[16])
{
    uint64_t low = 0;
    for (unsigned i = 8; i < 16; i++)
        low = low << 8 | id[i];
    return low >> 1 < atomic_load_explicit(&sample_below, memory_order_relaxed);
}

bool trace_is_on(void)
{
    return atomic_load_explicit(&is_on, memory_order_relaxed);
}

/* ---- the spans of a request ---- */

static str state_of(const struct http_head *head, struct arena *a)
{
    str all = S("");
    for (unsigned i = 0; i < head->n_headers; i++) {
        if (!str_ieq(head->headers[i].name, S("tracestate")))
            continue;
        str one = str_trim(head->headers[i].value);
        if (all.len + one.len > TRACE_STATE_MAX)
            return S("");
        all = all.len && one.len ? arena_printf(a, STR_FMT "," STR_FMT, STR_ARG(all), STR_ARG(one))
                                 : all.len ? all : one;
    }
    return trace_state_is_valid(all) ? all : S("");
}

static bool parent_of(const struct http_head *head, struct trace_parent *out)
{
    unsigned n = 0;
    str text = S("");
    for (unsigned i = 0; head && i < head->n_headers; i++)
        if (str_ieq(head->headers[i].name, S("traceparent"))) {
            text = str_trim(head->headers[i].value);
            n++;
        }
    return n == 1 && trace_parent_parse(text, out);   /* of two we cannot know which one is meant */
}

void trace_begin(struct trace *t, const struct http_head *head, struct arena *a, str name,
                 uint64_t start)
{
    struct trace_parent parent;
    t->has_parent = parent_of(head, &parent);
    t->n_spans = t->n_lost = 0;
    t->n_attributes = 0;
    t->state = S("");
    if (t->has_parent) {
        memcpy(t->trace_id, parent.trace_id, 16);
        memcpy(t->parent_id, parent.span_id, 8);
        t->flags = parent.flags;
        t->state = state_of(head, a);
        t->is_sampled = trace_is_on() && (t->flags & FLAG_SAMPLED);
    } else {
        random_id(t->trace_id, 16);
        memset(t->parent_id, 0, 8);
        t->is_sampled = trace_is_on() && id_is_sampled(t->trace_id);
        t->flags = t->is_sampled ? FLAG_SAMPLED : 0;
    }
    random_id(t->spans[SPAN_ROOT].id, 8);
    if (!t->is_sampled)
        return;
    t->wall = clock_wall();
    t->mono = clock_now();
    span_begin_at(t, SPAN_NONE, SPAN_SERVER, name, start ? start : t->mono);
}

unsigned span_begin_at(struct trace *t, unsigned parent, enum span_kind kind, str name,
                       uint64_t start)
{
    if (!t->is_sampled)
        return SPAN_NONE;
    if (t->n_spans == TRACE_SPANS_MAX) {
        t->n_lost += t->n_lost < UINT8_MAX;
        return SPAN_NONE;
    }
    unsigned i = t->n_spans++;
    struct span *s = &t->spans[i];
    if (i != SPAN_ROOT)
        random_id(s->id, 8);
    s->parent = (uint8_t)(parent < i ? parent : SPAN_ROOT);     /* of one that was lost: the root */
    s->kind = (uint8_t)kind;
    s->is_open = true;
    s->is_error = false;
    s->name = name;
    s->from = start;
    s->to = start;
    s->error = S("");
    return i;
}

unsigned span_begin(struct trace *t, unsigned parent, enum span_kind kind, str name)
{
    return t->is_sampled ? span_begin_at(t, parent, kind, name, clock_now()) : SPAN_NONE;
}

static struct span *span_at(struct trace *t, unsigned i)
{
    return t->is_sampled && i < t->n_spans ? &t->spans[i] : NULL;
}

void span_end_at(struct trace *t, unsigned span, uint64_t end)
{
    struct span *s = span_at(t, span);
    if (!s || !s->is_open)
        return;
    s->is_open = false;
    s->to = end > s->from ? end : s->from;
}

void span_end(struct trace *t, unsigned span)
{
    if (span_at(t, span))
        span_end_at(t, span, clock_now());
}

void span_rename(struct trace *t, unsigned span, str name)
{
    struct span *s = span_at(t, span);
    if (s)
        s->name = name;
}

enum { IS_TEXT, IS_INTEGER, IS_NUMBER, IS_BOOL, IS_LIST };

static struct span_attribute *attribute(struct trace *t, unsigned span, const char *key,
                                        uint8_t type)
{
    if (!span_at(t, span) || t->n_attributes == TRACE_ATTRIBUTES_MAX)
        return NULL;
    struct span_attribute *one = &t->attributes[t->n_attributes++];
    one->key = key;
    one->span = (uint8_t)span;
    one->type = type;
    return one;
}

void span_str(struct trace *t, unsigned span, const char *key, str v)
{
    struct span_attribute *one = v.len ? attribute(t, span, key, IS_TEXT) : NULL;
    if (one)
        one->v.text = v;
}

void span_int(struct trace *t, unsigned span, const char *key, int64_t v)
{
    struct span_attribute *one = attribute(t, span, key, IS_INTEGER);
    if (one)
        one->v.integer = v;
}

void span_double(struct trace *t, unsigned span, const char *key, double v)
{
    struct span_attribute *one = isnan(v) ? NULL : attribute(t, span, key, IS_NUMBER);
    if (one)
        one->v.number = v;
}

void span_bool(struct trace *t, unsigned span, const char *key, bool v)
{
    struct span_attribute *one = attribute(t, span, key, IS_BOOL);
    if (one)
        one->v.yes = v;
}

void span_strs(struct trace *t, unsigned span, const char *key, const str *items, size_t n)
{
    struct span_attribute *one = n ? attribute(t, span, key, IS_LIST) : NULL;
    if (one) {
        one->v.list.items = items;
        one->v.list.n = n;
    }
}

void span_error(struct trace *t, unsigned span, str type, str sentence)
{
    struct span *s = span_at(t, span);
    if (!s)
        return;
    s->is_error = true;
    s->error = sentence;
    span_str(t, span, SPAN_ERROR_TYPE, type);
}

void trace_parent_of(struct trace *t, unsigned span, char out[TRACE_PARENT_LEN + 1])
{
    struct trace_parent p = { .flags = t->flags };
    const struct span *s = span_at(t, span);
    memcpy(p.trace_id, t->trace_id, 16);
    if (!s && t->has_parent && !trace_is_on())
        memcpy(p.span_id, t->parent_id, 8);
    else
        memcpy(p.span_id, s ? s->id : t->spans[SPAN_ROOT].id, 8);
    trace_parent_format(&p, out);
}

void trace_id_text(const struct trace *t, char out[33])
{
    *hex_write(out, t->trace_id, 16) = 0;
}

/* ---- a span as OTLP JSON (the JSON mapping of opentelemetry-proto trace/v1) ----
 *
 * Keys and structure are our own literals and go out as they are; what came from outside is
 * quoted. */

static void write_hex(struct buf *out, str before, const uint8_t *bytes, size_t n)
{
    char text[32];
    buf_str(out, before);
    buf_add(out, text, (size_t)(hex_write(text, bytes, n) - text));
}

static void write_u64(struct buf *out, str before, uint64_t v)
{
    buf_str(out, before);
    buf_u64(out, v);
}

static void write_text(struct buf *out, str before, str v)
{
    buf_str(out, before);
    json_quote(out, str_upto(v, TRACE_TEXT_MAX));
}

static void write_list(struct buf *out, const str *items, size_t n)
{
    enum { ITEMS_MAX = 64 };                    /* beyond: left out */
    buf_str(out, S("{\"arrayValue\":{\"values\":["));
    for (size_t i = 0; i < n && i < ITEMS_MAX; i++) {
        write_text(out, i ? S(",{\"stringValue\":") : S("{\"stringValue\":"), items[i]);
        buf_char(out, '}');
    }
    buf_str(out, S("]}}"));
}

static void write_double(struct buf *out, double v)
{
    struct json_writer w = { .out = out };
    buf_str(out, S("{\"doubleValue\":"));
    jw_double(&w, v);
    buf_char(out, '}');
}

static void write_attribute(struct buf *out, const struct span_attribute *one)
{
    buf_str(out, S("{\"key\":\""));
    buf_str(out, str_of(one->key));
    buf_str(out, S("\",\"value\":"));
    switch (one->type) {
    case IS_TEXT:
        write_text(out, S("{\"stringValue\":"), one->v.text);
        buf_char(out, '}');
        break;
    case IS_INTEGER:                            /* 64-bit integers are strings in proto3's JSON */
        buf_printf(out, "{\"intValue\":\"%lld\"}", (long long)one->v.integer);
        break;
    case IS_NUMBER:
        write_double(out, one->v.number);
        break;
    case IS_BOOL:
        buf_str(out, one->v.yes ? S("{\"boolValue\":true}") : S("{\"boolValue\":false}"));
        break;
    default:
        write_list(out, one->v.list.items, one->v.list.n);
    }
    buf_char(out, '}');
}

static void write_attributes(struct buf *out, const struct trace *t, unsigned span)
{
    bool is_first = true;
    buf_str(out, S(",\"attributes\":["));
    for (unsigned k = 0; k < t->n_attributes; k++) {
        if (t->attributes[k].span != span)
            continue;
        if (!is_first)
            buf_char(out, ',');
        is_first = false;
        write_attribute(out, &t->attributes[k]);
    }
    buf_char(out, ']');
}

static void write_status(struct buf *out, const struct span *s)
{
    if (!s->is_error) {
        buf_str(out, S(",\"status\":{}"));
        return;
    }
    buf_str(out, S(",\"status\":{\"code\":2"));
    if (s->error.len)
        write_text(out, S(",\"message\":"), s->error);
    buf_char(out, '}');
}

static void write_span(struct buf *out, const struct trace *t, unsigned i)
{
    const struct span *s = &t->spans[i];
    const uint8_t *parent = t->has_parent ? t->parent_id : NULL;
    if (i != SPAN_ROOT)
        parent = t->spans[s->parent].id;
    write_hex(out, S("{\"traceId\":\""), t->trace_id, 16);
    write_hex(out, S("\",\"spanId\":\""), s->id, 8);
    if (parent)
        write_hex(out, S("\",\"parentSpanId\":\""), parent, 8);
    if (t->state.len)
        write_text(out, S("\",\"traceState\":"), t->state);
    write_text(out, t->state.len ? S(",\"name\":") : S("\",\"name\":"), s->name);
    write_u64(out, S(",\"kind\":"), s->kind);
    uint64_t offset = t->wall - t->mono;        /* of the two clocks; wraps back if it wraps */
    write_u64(out, S(",\"startTimeUnixNano\":\""), s->from + offset);
    write_u64(out, S("\",\"endTimeUnixNano\":\""), s->to + offset);
    buf_char(out, '"');
    write_attributes(out, t, i);
    write_status(out, s);
    buf_char(out, '}');
}

/* ---- the queue ---- */

enum {
    BATCH = TRACE_QUEUE_MAX / 4,    /* spans; so many wake the exporter before its second is over */
    TICK_S = 1,
    POST_S = 5,                     /* one try, from the dial to the answer */
    BACKOFF_MAX_S = 30,
    KEEP_S = 120,                   /* a batch is tried so long; beyond: dropped and counted */
    CLOSE_S = 2,
    ANSWER_MAX = 64 * 1024,         /* bytes of a collector's answer; beyond: not read */
};

struct target {                     /* where spans go and who sends them; by value */
    bool to_stdout;
    char host[256], path[512];
    uint16_t port;
    struct ssl_ctx_st *tls;         /* NULL: plain */
    char service_name[128], service_version[64], environment[64];
};

static struct {
    pthread_mutex_t lock;           /* guards all below; never held during I/O */
    pthread_cond_t wake, done;
    bool is_running, is_stopping;
    uint64_t asked, answered;       /* flushes */
    struct buf spans;               /* comma-separated OTLP JSON */
    unsigned n;                     /* spans in it */
    unsigned n_sending;             /* spans that the exporter has taken and not yet got rid of */
    struct target target;
    pthread_t thread;
} queue = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void count_dropped(uint64_t spans)
{
    if (spans)
        metric_add(metric_cell(METRIC_TRACE_DROPPED, NULL), spans);
}

void trace_end(struct trace *t)
{
    if (!t->is_sampled || t->n_spans == 0)
        return;
    uint64_t now = clock_now();
    if (t->n_lost)
        span_int(t, SPAN_ROOT, "signalbox.spans_lost", t->n_lost);
    struct buf text = { 0 };
    buf_reserve(&text, 4096);
    for (unsigned i = 0; i < t->n_spans; i++) {
        span_end_at(t, i, now);
        if (i)
            buf_char(&text, ',');
        write_span(&text, t, i);
    }
    pthread_mutex_lock(&queue.lock);
    bool has_room = queue.is_running && !text.is_failed
        && queue.n + queue.n_sending + t->n_spans <= TRACE_QUEUE_MAX
        && buf_reserve(&queue.spans, text.len + 1);
    bool is_batch = has_room && queue.n < BATCH && queue.n + t->n_spans >= BATCH;
    if (has_room) {
        if (queue.n)
            buf_char(&queue.spans, ',');
        buf_str(&queue.spans, buf_view(&text));
        queue.n += t->n_spans;
    }
    queue.spans.is_failed = false;
    pthread_mutex_unlock(&queue.lock);
    if (!has_room)
        count_dropped(t->n_spans);
    else if (is_batch)
        pthread_cond_signal(&queue.wake);
    t->is_sampled = false;          /* a second trace_end does nothing */
    buf_free(&text);
}

/* ---- the exporter ---- */

struct exporter {                   /* its thread only */
    struct buf spans;               /* taken from the queue, tried until sent or too old */
    unsigned n;
    uint64_t taken_at;              /* monotonic ns */
    uint64_t retry_at, backoff;
};

static void write_request(struct buf *out, const struct target *to, str spans)
{
    const struct { const char *key, *value; } resource[] = {
        { "service.name", to->service_name },
        { "service.version", to->service_version },
        { "deployment.environment", to->environment },
        { "deployment.environment.name", to->environment },     /* its newer name */
    };
    buf_str(out, S("{\"resourceSpans\":[{\"resource\":{\"attributes\":["));
    for (size_t i = 0; i < COUNT_OF(resource); i++) {
        struct span_attribute one = { .key = resource[i].key, .type = IS_TEXT };
        one.v.text = str_of(resource[i].value);
        if (i && one.v.text.len)                /* the first, a service's name, is never empty */
            buf_char(out, ',');
        if (one.v.text.len)
            write_attribute(out, &one);
    }
    buf_str(out, S("]},\"scopeSpans\":[{\"scope\":{\"name\":\"signalbox\"},\"spans\":["));
    buf_str(out, spans);
    buf_str(out, S("]}]}]}"));
}

/* The collector took the request but not all spans. */
static void note_partial_success(struct arena *a, str body)
{
    struct json j;
    struct json_error bad;
    int64_t n = 0;
    if (body.len == 0 || json_parse(a, body, &j, &bad) < 0)
        return;
    jref rejected = json_path(&j, "partialSuccess.rejectedSpans");
    if (!json_int(&j, rejected, &n) && !str_int(json_str(&j, rejected, a), &n))
        return;
    if (n <= 0)
        return;
    str why = json_str(&j, json_path(&j, "partialSuccess.errorMessage"), a);
    count_dropped((uint64_t)n);
    log_warn("trace_export_rejected", "the trace collector rejected %lld spans: " STR_FMT,
             (long long)n, STR_ARG(why));
}

enum outcome { SENT, TRY_AGAIN, REFUSED };

static enum outcome outcome_of(int status)      /* OTLP/HTTP: these four are worth another try */
{
    if (status >= 200 && status < 300)
        return SENT;
    return status == 429 || status == 502 || status == 503 || status == 504 ? TRY_AGAIN : REFUSED;
}

static int dial(struct conn *c, const struct target *to, uint64_t deadline, const char **why)
{
    int rc = conn_dial(c, NULL, str_of(to->host), to->port, deadline);
    if (rc == 0 && to->tls)
        rc = tls_connect(c, to->tls, str_of(to->host), false, deadline, why);
    return rc;
}

static enum outcome post(const struct target *to, struct arena *a, str body, uint64_t *retry_after)
{
    uint64_t deadline = clock_now() + POST_S * NS_PER_S;
    struct conn c = { .io.fd = -1 };
    struct h1 in;
    struct http_head head;
    const char *why = NULL;
    enum outcome outcome = TRY_AGAIN;
    bool is_ipv6 = strchr(to->host, ':') != NULL;
    str line = arena_printf(a, "POST %s HTTP/1.1\r\nhost: %s%s%s:%u\r\n"
                            "content-type: application/json\r\ncontent-length: %zu\r\n"
                            "user-agent: signalbox\r\nconnection: close\r\n\r\n",
                            to->path, is_ipv6 ? "[" : "", to->host, is_ipv6 ? "]" : "", to->port,
                            body.len);
    struct iovec v[] = {
        { (void *)(uintptr_t)line.ptr, line.len }, { (void *)(uintptr_t)body.ptr, body.len },
    };
    int rc = dial(&c, to, deadline, &why);
    if (rc == 0)
        rc = conn_writev(&c, v, 2, deadline);
    if (rc == 0) {
        h1_init(&in, &c, H1_RESPONSES);
        rc = h1_read_head(&in, a, ANSWER_MAX, &head, deadline, false) == 1 ? 0 : -EPIPE;
    }
    if (rc == 0) {
        str answer = S("");
        outcome = outcome_of(head.status);
        *retry_after = http_retry_after_ns(&head);
        h1_read_body(&in, a, &head, ANSWER_MAX, &answer, deadline);
        if (outcome == SENT)
            note_partial_success(a, answer);
        else
            log_warn("trace_export_failed", "the trace collector at %s:%u answered %d %s: " STR_FMT,
                     to->host, to->port, head.status, http_reason(head.status),
                     STR_ARG(str_upto(answer, 200)));
    } else {
        log_warn("trace_export_failed", "cannot reach the trace collector at %s:%u: %s", to->host,
                 to->port, why ? why : strerror(-rc));
    }
    conn_close(&c);
    return outcome;
}

static enum outcome write_out(str body)
{
    struct buf line = { 0 };
    buf_str(&line, body);
    buf_char(&line, '\n');
    for (size_t at = 0; at < line.len; ) {
        ssize_t n = write(STDOUT_FILENO, line.ptr + at, line.len - at);
        if (n <= 0 && errno != EINTR)
            break;
        at += n > 0 ? (size_t)n : 0;
    }
    buf_free(&line);
    return SENT;
}

static enum outcome deliver(struct exporter *x, const struct target *to, uint64_t *retry_after)
{
    struct buf body = { 0 };
    struct arena *a = arena_new();
    enum outcome outcome = TRY_AGAIN;
    write_request(&body, to, buf_view(&x->spans));
    if (a && !body.is_failed && to->to_stdout)
        outcome = write_out(buf_view(&body));
    else if (a && !body.is_failed)
        outcome = post(to, a, buf_view(&body), retry_after);
    arena_free(a);
    buf_free(&body);
    return outcome;
}

static void forget(struct exporter *x, bool is_lost)
{
    if (is_lost)
        count_dropped(x->n);
    x->spans.len = 0;
    x->n = 0;
    x->backoff = 0;
    x->retry_at = 0;
}

static void export_now(struct exporter *x, const struct target *to, bool is_last)
{
    uint64_t retry_after = 0;
    enum outcome outcome = deliver(x, to, &retry_after);
    uint64_t now = clock_now();
    if (outcome != TRY_AGAIN || is_last || now - x->taken_at > KEEP_S * NS_PER_S) {
        forget(x, outcome != SENT);
        return;
    }
    x->backoff = x->backoff ? x->backoff * 2 : NS_PER_S;
    if (x->backoff > BACKOFF_MAX_S * NS_PER_S)
        x->backoff = BACKOFF_MAX_S * NS_PER_S;
    uint64_t wait = retry_after > x->backoff ? retry_after : x->backoff;
    /* Not all gateways at the same moment. */
    x->retry_at = now + wait / 2 + random_bits() % (wait / 2 + 1);
}

static void take(struct exporter *x)            /* lock held */
{
    if (x->n || !queue.n)
        return;
    struct buf empty = x->spans;
    x->spans = queue.spans;
    x->n = queue.n;
    x->taken_at = clock_now();
    queue.spans = empty;
    queue.n = 0;
}

static void await_tick(uint64_t until)          /* lock held */
{
    struct timespec at = { (time_t)(until / NS_PER_S), (long)(until % NS_PER_S) };
    pthread_cond_timedwait(&queue.wake, &queue.lock, &at);
}

static void *exporter_run(void *arg)
{
    struct exporter x = { 0 };
    (void)arg;
    pthread_mutex_lock(&queue.lock);
    for (bool is_last = false; !is_last; ) {
        if (!queue.is_stopping && queue.asked == queue.answered && queue.n < BATCH)
            await_tick(clock_now() + TICK_S * NS_PER_S);
        else if (!queue.is_stopping && queue.asked == queue.answered && x.retry_at > clock_now())
            await_tick(x.retry_at);
        bool is_urgent = queue.asked != queue.answered || queue.is_stopping;
        uint64_t flush = queue.asked;
        is_last = queue.is_stopping;
        do {                                    /* a flush or the end may find two batches */
            take(&x);
            queue.n_sending = x.n;
            struct target to = queue.target;
            to.tls = to.tls ? tls_context_ref(to.tls) : NULL;
            pthread_mutex_unlock(&queue.lock);
            if (x.n && (is_urgent || clock_now() >= x.retry_at))
                export_now(&x, &to, is_last);
            tls_context_free(to.tls);
            pthread_mutex_lock(&queue.lock);
            queue.n_sending = x.n;
        } while (is_urgent && x.n == 0 && queue.n > 0);
        queue.answered = flush;
        pthread_cond_broadcast(&queue.done);
    }
    pthread_mutex_unlock(&queue.lock);
    buf_free(&x.spans);
    return NULL;
}

/* ---- opening and closing ---- */

bool trace_sampling_parse(str name, enum trace_sampling *out)
{
    static const char *const names[] = { "always_on", "always_off", "probabilistic" };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (str_eq(name, str_of(names[i]))) {
            *out = (enum trace_sampling)i;
            return true;
        }
    return false;
}

static uint64_t threshold(const struct trace_conf *conf)
{
    const uint64_t all = 1ull << 63;
    if (conf->sampling == TRACE_ALWAYS_OFF)
        return 0;
    if (conf->sampling == TRACE_ALWAYS_ON || conf->rate >= 1)
        return all;
    return conf->rate > 0 ? (uint64_t)(conf->rate * (double)all) : 0;
}

static void text_copy(char *to, size_t room, str s)
{
    s = str_upto(s, room - 1);
    if (s.len)
        memcpy(to, s.ptr, s.len);
    to[s.len] = 0;
}

/* "[http[s]://]host[:port][/path]". Bare hosts have OTLP's port, URLs their scheme's. */
static int endpoint_read(const struct trace_conf *conf, struct target *to, bool *is_tls,
                         struct err *e)
{
    enum { OTLP_GRPC = 4317, OTLP_HTTP = 4318 };
    str rest = str_trim(conf->endpoint), path = S("");
    uint16_t port = OTLP_HTTP;
    *is_tls = conf->is_secure;
    if (str_starts(rest, S("http://")) || str_starts(rest, S("https://"))) {
        *is_tls = str_starts(rest, S("https://"));
        rest = str_from(rest, *is_tls ? 8 : 7);
        port = *is_tls ? 443 : 80;
    }
    long slash = str_chr(rest, '/');
    if (slash >= 0) {
        path = str_from(rest, (size_t)slash);
        rest = str_upto(rest, (size_t)slash);
    }
    struct endpoint at;
    for (size_t i = 0; i < path.len; i++)
        if (path.ptr[i] <= ' ' || path.ptr[i] > '~')
            rest.len = 0;
    if (!endpoint_parse(rest, port, &at) || at.port == 0 || at.host.len >= sizeof to->host
        || path.len + sizeof "/v1/traces" > sizeof to->path) {
        err_set(e, "tracing: the endpoint \"" STR_FMT "\" is not host:port or an http(s) URL",
                STR_ARG(conf->endpoint));
        return -EINVAL;
    }
    if (at.port == OTLP_GRPC) {
        at.port = OTLP_HTTP;
        log_info("trace_endpoint_grpc", "tracing: port 4317 is OTLP over gRPC, which is not spoken "
                 "here; spans go to " STR_FMT ":4318 as OTLP/HTTP", STR_ARG(at.host));
    }
    while (str_ends(path, S("/")))
        path.len--;
    text_copy(to->host, sizeof to->host, at.host);
    to->port = at.port;
    snprintf(to->path, sizeof to->path, STR_FMT "%s", STR_ARG(path),
             str_ends(path, S("/v1/traces")) ? "" : "/v1/traces");
    return 0;
}

static int target_read(const struct trace_conf *conf, struct target *to, struct err *e)
{
    *to = (struct target){ 0 };
    text_copy(to->service_name, sizeof to->service_name,
              conf->service_name.len ? conf->service_name : S("signalbox"));
    text_copy(to->service_version, sizeof to->service_version, conf->service_version);
    text_copy(to->environment, sizeof to->environment, conf->environment);
    if (str_eq(conf->exporter, S("stdout"))) {
        to->to_stdout = true;
        return 0;
    }
    if (conf->exporter.len && !str_eq(conf->exporter, S("otlp"))) {
        err_set(e, "tracing: the exporter \"" STR_FMT "\" is unknown; there are otlp and stdout",
                STR_ARG(conf->exporter));
        return -EINVAL;
    }
    bool is_tls;
    int rc = endpoint_read(conf, to, &is_tls, e);
    if (rc == 0 && is_tls && !(to->tls = tls_client_context(&(struct tls_paths){ 0 }, e)))
        return -EINVAL;
    return rc;
}

static void make_once(void)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&queue.wake, &attr);
    pthread_cond_init(&queue.done, &attr);
}

int trace_open(const struct trace_conf *conf, struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_once);
    if (!conf->is_enabled) {
        atomic_store(&is_on, false);
        return 0;
    }
    struct target to;
    int rc = target_read(conf, &to, e);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&queue.lock);
    struct ssl_ctx_st *old = queue.target.tls;
    if (!queue.is_running) {
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, &before);
        rc = -pthread_create(&queue.thread, NULL, exporter_run, NULL);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        queue.is_running = rc == 0;
    }
    if (rc == 0)
        queue.target = to;
    pthread_mutex_unlock(&queue.lock);
    if (rc < 0) {
        tls_context_free(to.tls);
        err_set(e, "tracing: cannot start the exporter: %s", strerror(-rc));
        return rc;
    }
    tls_context_free(old);
    atomic_store(&sample_below, threshold(conf));
    atomic_store(&is_on, true);
    return 0;
}

void trace_flush(uint64_t wait_ns)
{
    uint64_t until = clock_now() + wait_ns;
    struct timespec at = { (time_t)(until / NS_PER_S), (long)(until % NS_PER_S) };
    pthread_mutex_lock(&queue.lock);
    if (queue.is_running) {
        uint64_t mine = ++queue.asked;
        pthread_cond_signal(&queue.wake);
        while (queue.answered < mine
               && pthread_cond_timedwait(&queue.done, &queue.lock, &at) != ETIMEDOUT)
            ;
    }
    pthread_mutex_unlock(&queue.lock);
}

void trace_close(void)
{
    atomic_store(&is_on, false);
    pthread_mutex_lock(&queue.lock);
    bool was_running = queue.is_running;
    queue.is_stopping = true;
    queue.is_running = false;       /* spans that end from now on are dropped */
    if (was_running)
        pthread_cond_signal(&queue.wake);
    pthread_mutex_unlock(&queue.lock);
    if (was_running) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);  /* the clock of pthread_timedjoin_np */
        until.tv_sec += CLOSE_S;
        if (pthread_timedjoin_np(queue.thread, NULL, &until) != 0) {
            pthread_detach(queue.thread);       /* the collector is slow; the process ends anyway */
            return;
        }
    }
    pthread_mutex_lock(&queue.lock);
    queue.is_stopping = false;
    buf_free(&queue.spans);
    queue.n = 0;
    tls_context_free(queue.target.tls);
    queue.target.tls = NULL;
    pthread_mutex_unlock(&queue.lock);
}
