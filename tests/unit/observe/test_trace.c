/* Tracing: identities by the letter of W3C Trace Context, spans as a collector reads them. */
#include <arpa/inet.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/json.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "observe/trace.h"

#define ID "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"
#define SECOND NS_PER_S

static struct arena *arena;

static struct http_head head_of(struct header *headers, unsigned n)
{
    return (struct http_head){ .headers = headers, .n_headers = n };
}

static void traceparent_table(void **state)
{
    (void)state;
    static const struct { const char *text; bool is_valid; uint8_t flags; } table[] = {
        { "00-" ID "-" PARENT "-01", true, 1 },
        { "00-" ID "-" PARENT "-00", true, 0 },
        { "00-" ID "-" PARENT "-02", true, 2 },
        { "00-" ID "-" PARENT "-ff", true, 3 },         /* unknown flags are not handed on */
        { "01-" ID "-" PARENT "-01", true, 1 },
        { "cc-" ID "-" PARENT "-01-what-comes", true, 1 },
        { "cc-" ID "-" PARENT "-01-", true, 1 },
        { "cc-" ID "-" PARENT "-01.what", false, 0 },
        { "ff-" ID "-" PARENT "-01", false, 0 },        /* no version */
        { "00-" ID "-" PARENT "-01-extra", false, 0 },
        { "00-" ID "-" PARENT "-01-", false, 0 },
        { "00-" ID "-" PARENT "-1", false, 0 },
        { "00-" ID "-" PARENT "-", false, 0 },
        { "00-" ID "-" PARENT, false, 0 },
        { "00-" ID "-" PARENT "-0g", false, 0 },
        { "0-" ID "-" PARENT "-01", false, 0 },
        { "0x-" ID "-" PARENT "-01", false, 0 },
        { "00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01", false, 0 },      /* lower case only */
        { "00-" ID "-00F067AA0BA902B7-01", false, 0 },
        { "00-00000000000000000000000000000000-" PARENT "-01", false, 0 },
        { "00-" ID "-0000000000000000-01", false, 0 },
        { "00-" ID "_" PARENT "-01", false, 0 },
        { "00." ID "-" PARENT "-01", false, 0 },
        { "00-" ID "-" PARENT ".01", false, 0 },
        { "00-" ID "0-" PARENT "-01", false, 0 },
        { " 00-" ID "-" PARENT "-01", false, 0 },
        { "", false, 0 },
        { "00", false, 0 },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct trace_parent p;
        bool ok = trace_parent_parse(str_of(table[i].text), &p);
        if (ok != table[i].is_valid || (ok && p.flags != table[i].flags))
            fail_msg("%s", table[i].text);
        char text[TRACE_PARENT_LEN + 1];
        if (!ok)
            continue;
        trace_parent_format(&p, text);
        assert_memory_equal(text, "00-" ID "-" PARENT "-0", 54);
        assert_int_equal(strlen(text), TRACE_PARENT_LEN);
    }
}

static void tracestate_table(void **state)
{
    (void)state;
    static const struct { const char *text; bool is_valid; } table[] = {
        { "foo=1", true }, { "foo=1,bar=2", true }, { "foo=1 , bar=2", true }, { "foo=1,", true },
        { "foo=1,,bar=2", true }, { "foo-_*/bar=1", true }, { "0tenant@system=x", true }, { "a@b=1", true },
        { "foo= 1", true }, { "foo=!\"#$%&'()*+-./:;<>?@[\\]^_`{|}~", true },
        { "foo@=1,bar=2", false }, { "@foo=1", false }, { "foo@@bar=1", false }, { "foo@bar@baz=1", false },
        { "foo@0b=1", false }, { "FOO=1", false }, { "0foo=1", false }, { "foo =1", false }, { "foo.bar=1", false },
        { "foo", false }, { "foo=", false }, { "foo=bar=baz", false }, { "=1", false }, { "", false }, { ",", false },
        { "foo=a\tb", false }, { "foo=\xc3\xbc", false },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (trace_state_is_valid(str_of(table[i].text)) != table[i].is_valid)
            fail_msg("%s", table[i].text);
    struct buf many = { 0 };
    for (unsigned i = 0; i < 33; i++) {
        assert_int_equal(i == 0 || trace_state_is_valid(buf_view(&many)), 1);
        buf_printf(&many, "%sk%u=1", i ? "," : "", i);
    }
    assert_false(trace_state_is_valid(buf_view(&many)));        /* 33 members */
    buf_free(&many);
    char key[300];
    memset(key, 'k', sizeof key);
    memcpy(key + 256, "=1", 2);
    assert_true(trace_state_is_valid((str){ key, 258 }));
    memcpy(key + 256, "k=1", 3);
    assert_false(trace_state_is_valid((str){ key, 259 }));
}

static void off_means_hands_off(void **state)
{
    (void)state;
    struct header h[] = { { S("TraceParent"), S("00-" ID "-" PARENT "-01") }, { S("tracestate"), S("a=1") },
                          { S("Tracestate"), S("b=2") } };
    struct http_head head = head_of(h, 3);
    struct trace t;
    char text[TRACE_PARENT_LEN + 1];
    trace_begin(&t, &head, arena, S("request"), 0);
    assert_true(t.has_parent);
    assert_false(t.is_sampled);
    assert_int_equal(span_begin(&t, SPAN_ROOT, SPAN_CLIENT, S("x")), SPAN_NONE);
    span_str(&t, SPAN_NONE, SPAN_ERROR_TYPE, S("x"));
    trace_parent_of(&t, SPAN_NONE, text);
    assert_string_equal(text, "00-" ID "-" PARENT "-01");       /* as the client sent it */
    assert_true(str_eq(t.state, S("a=1,b=2")));
    trace_end(&t);
}

static void what_cannot_be_trusted_begins_anew(void **state)
{
    (void)state;
    struct header h[] = { { S("traceparent"), S("00-" ID "-" PARENT "-01") },
                          { S("traceparent"), S("00-" ID "-" PARENT "-01") }, { S("tracestate"), S("a=1") } };
    struct http_head two = head_of(h, 3), none = head_of(h, 0);
    struct http_head *heads[] = { &two, &none, NULL };
    char ids[3][33], text[TRACE_PARENT_LEN + 1];
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        struct trace t;
        struct trace_parent p;
        trace_begin(&t, heads[i], arena, S("request"), 0);
        assert_false(t.has_parent);
        assert_int_equal(t.state.len, 0);
        trace_id_text(&t, ids[i]);
        trace_parent_of(&t, SPAN_ROOT, text);
        assert_true(trace_parent_parse(str_of(text), &p));
        assert_memory_equal(text + 3, ids[i], 32);
    }
    assert_string_not_equal(ids[0], ids[1]);
    assert_string_not_equal(ids[1], ids[2]);
}

/* ---- a collector ---- */

static struct collector {
    int fd;
    uint16_t port;
    pthread_t thread;
    _Atomic bool is_ending, is_silent;
    _Atomic int next_status[8];         /* answers to come, then 200 */
    _Atomic unsigned n;
    const char *answer;
    pthread_mutex_t lock;
    struct buf heads[16], bodies[16];
} collector = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void collector_serve(int fd)
{
    struct buf got = { 0 };
    long at = -1;
    size_t want = SIZE_MAX;
    while (got.len < want) {
        char piece[4096];
        ssize_t n = read(fd, piece, sizeof piece);
        if (n <= 0)
            break;
        buf_add(&got, piece, (size_t)n);
        if (at < 0 && (at = str_find(buf_view(&got), S("\r\n\r\n"))) >= 0) {
            long length = str_find(buf_view(&got), S("content-length: "));
            want = (size_t)at + 4 + strtoul(got.ptr + length + 16, NULL, 10);
        }
    }
    unsigned i = collector.n;
    if (got.len == want && i < COUNT_OF(collector.bodies)) {
        pthread_mutex_lock(&collector.lock);
        buf_str(&collector.heads[i], str_upto(buf_view(&got), (size_t)at));
        buf_str(&collector.bodies[i], str_from(buf_view(&got), (size_t)at + 4));
        pthread_mutex_unlock(&collector.lock);
        int status = i < 8 && collector.next_status[i] ? collector.next_status[i] : 200;
        const char *body = collector.answer ? collector.answer : "{}";
        collector.n++;                      /* before the answer: the exporter may be quicker than we */
        if (!collector.is_silent)
            dprintf(fd, "HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s", status,
                    strlen(body), body);
    }
    buf_free(&got);
    close(fd);
}

static void *collector_run(void *arg)
{
    (void)arg;
    while (!collector.is_ending) {
        struct pollfd p = { .fd = collector.fd, .events = POLLIN };
        if (poll(&p, 1, 50) == 1)
            collector_serve(accept(collector.fd, NULL, NULL));
    }
    return NULL;
}

static int collector_start(void **state)
{
    (void)state;
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof a;
    collector.fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(collector.fd, (struct sockaddr *)&a, n) < 0 || listen(collector.fd, 16) < 0)
        return -1;
    getsockname(collector.fd, (struct sockaddr *)&a, &n);
    collector.port = ntohs(a.sin_port);
    collector.is_ending = collector.is_silent = false;
    collector.n = 0;
    collector.answer = NULL;
    for (size_t i = 0; i < COUNT_OF(collector.next_status); i++)
        collector.next_status[i] = 0;
    return pthread_create(&collector.thread, NULL, collector_run, NULL);
}

static int collector_stop(void **state)
{
    (void)state;
    trace_close();
    collector.is_ending = true;
    pthread_join(collector.thread, NULL);
    close(collector.fd);
    for (size_t i = 0; i < COUNT_OF(collector.bodies); i++) {
        buf_free(&collector.heads[i]);
        buf_free(&collector.bodies[i]);
    }
    return 0;
}

static void open_tracing(enum trace_sampling sampling, double rate)
{
    struct err e = { 0 };
    struct trace_conf conf = {
        .is_enabled = true, .sampling = sampling, .rate = rate, .service_name = S("vllm-sr"),
        .service_version = S("v0.3.0"), .environment = S("test"),
        .endpoint = arena_printf(arena, "http://127.0.0.1:%u", collector.port),
    };
    if (trace_open(&conf, &e) < 0)
        fail_msg("%s", e.text);
}

static double dropped(void)
{
    return metric_value(metric_cell(METRIC_TRACE_DROPPED, NULL));
}

static struct json body(unsigned i)
{
    struct json j;
    struct json_error bad;
    pthread_mutex_lock(&collector.lock);
    str text = arena_str(arena, buf_view(&collector.bodies[i]));
    pthread_mutex_unlock(&collector.lock);
    if (json_parse(arena, text, &j, &bad) < 0)
        fail_msg("at %zu: %s", bad.at, bad.what);
    return j;
}

static str text_at(const struct json *j, jref object, const char *key)
{
    return json_str(j, json_get(j, object, str_of(key)), arena);
}

/* The raw JSON of one attribute's value in a span or resource. */
static str attribute(const struct json *j, jref owner, const char *key)
{
    jref list = json_get(j, owner, S("attributes"));
    JSON_EACH_ITEM(j, list, item)
        if (str_eq(text_at(j, item, "key"), str_of(key)))
            return json_raw(j, json_get(j, item, S("value")));
    return S("");
}

static void expect(str got, const char *expected)
{
    if (!str_eq(got, str_of(expected)))
        fail_msg(STR_FMT " is not %s", STR_ARG(got), expected);
}

static void spans_reach_the_collector(void **state)
{
    (void)state;
    open_tracing(TRACE_ALWAYS_ON, 1);
    struct header h[] = { { S("traceparent"), S("00-" ID "-" PARENT "-01") }, { S("tracestate"), S("a=1") } };
    struct http_head head = head_of(h, 2);
    str reasons[] = { S("stop"), S("le\"ngth") };
    struct trace t;
    char upstream[TRACE_PARENT_LEN + 1];
    uint64_t before = clock_wall();
    trace_begin(&t, &head, arena, S("POST /v1/chat/completions"), clock_now() - 5 * NS_PER_MS);
    unsigned route = span_begin(&t, SPAN_ROOT, SPAN_INTERNAL, S("route"));
    span_str(&t, route, SPAN_VSR_DECISION, S("math"));
    span_double(&t, route, SPAN_VSR_CONFIDENCE, 0.5);
    span_end(&t, route);
    unsigned call = span_begin(&t, SPAN_ROOT, SPAN_CLIENT, S("chat"));
    span_rename(&t, call, S("chat gpt-5"));
    span_str(&t, call, SPAN_GENAI_OPERATION, S("chat"));
    span_int(&t, call, SPAN_GENAI_INPUT_TOKENS, 12);
    span_bool(&t, call, SPAN_GENAI_REQUEST_STREAM, true);
    span_strs(&t, call, SPAN_GENAI_FINISH_REASONS, reasons, 2);
    span_str(&t, call, SPAN_GENAI_RESPONSE_ID, S(""));          /* unknown: left out */
    span_double(&t, call, SPAN_GENAI_TEMPERATURE, (double)NAN);
    span_error(&t, call, S("timeout"), S("no first byte in 5 s"));
    trace_parent_of(&t, call, upstream);
    trace_end(&t);                                              /* ends the call, too */
    trace_end(&t);                                              /* once is enough */
    trace_flush(5 * SECOND);
    assert_int_equal(collector.n, 1);

    str http = buf_view(&collector.heads[0]);
    assert_true(str_starts(http, S("POST /v1/traces HTTP/1.1\r\n")));
    assert_true(str_find(http, S("content-type: application/json\r\n")) > 0);
    struct json j = body(0);
    jref resource = json_path(&j, "resourceSpans.0.resource");
    expect(attribute(&j, resource, "service.name"), "{\"stringValue\":\"vllm-sr\"}");
    expect(attribute(&j, resource, "service.version"), "{\"stringValue\":\"v0.3.0\"}");
    expect(attribute(&j, resource, "deployment.environment"), "{\"stringValue\":\"test\"}");
    jref spans = json_path(&j, "resourceSpans.0.scopeSpans.0.spans");
    assert_int_equal(json_count(&j, spans), 3);
    jref root = json_path(&j, "resourceSpans.0.scopeSpans.0.spans.0");
    jref routed = json_path(&j, "resourceSpans.0.scopeSpans.0.spans.1");
    jref called = json_path(&j, "resourceSpans.0.scopeSpans.0.spans.2");
    expect(text_at(&j, root, "name"), "POST /v1/chat/completions");
    expect(text_at(&j, root, "traceId"), ID);
    expect(text_at(&j, root, "parentSpanId"), PARENT);
    expect(text_at(&j, root, "traceState"), "a=1");
    assert_true(str_eq(text_at(&j, routed, "parentSpanId"), text_at(&j, root, "spanId")));
    assert_true(str_eq(text_at(&j, called, "parentSpanId"), text_at(&j, root, "spanId")));
    assert_memory_equal(upstream + 36, text_at(&j, called, "spanId").ptr, 16);
    expect(json_raw(&j, json_get(&j, root, S("kind"))), "2");
    expect(json_raw(&j, json_get(&j, called, S("kind"))), "3");
    expect(json_raw(&j, json_get(&j, root, S("status"))), "{}");
    expect(json_raw(&j, json_get(&j, called, S("status"))), "{\"code\":2,\"message\":\"no first byte in 5 s\"}");
    expect(text_at(&j, called, "name"), "chat gpt-5");
    expect(attribute(&j, routed, SPAN_VSR_DECISION), "{\"stringValue\":\"math\"}");
    expect(attribute(&j, routed, SPAN_VSR_CONFIDENCE), "{\"doubleValue\":0.5}");
    expect(attribute(&j, called, SPAN_GENAI_INPUT_TOKENS), "{\"intValue\":\"12\"}");
    expect(attribute(&j, called, SPAN_GENAI_REQUEST_STREAM), "{\"boolValue\":true}");
    expect(attribute(&j, called, SPAN_GENAI_FINISH_REASONS),
           "{\"arrayValue\":{\"values\":[{\"stringValue\":\"stop\"},{\"stringValue\":\"le\\\"ngth\"}]}}");
    expect(attribute(&j, called, SPAN_ERROR_TYPE), "{\"stringValue\":\"timeout\"}");
    assert_int_equal(json_count(&j, json_get(&j, called, S("attributes"))), 5);
    int64_t from, to;
    assert_true(str_int(text_at(&j, root, "startTimeUnixNano"), &from));
    assert_true(str_int(text_at(&j, root, "endTimeUnixNano"), &to));
    assert_true(from <= (int64_t)before && from > (int64_t)(before - SECOND));
    assert_true(to >= from + 5000000 && to < (int64_t)(before + 10 * SECOND));
}

static void sampling_follows_the_parent(void **state)
{
    (void)state;
    struct header yes[] = { { S("traceparent"), S("00-" ID "-" PARENT "-01") } };
    struct header no[] = { { S("traceparent"), S("00-" ID "-" PARENT "-00") } };
    struct http_head with = head_of(yes, 1), without = head_of(no, 1);
    struct trace t;
    static const enum trace_sampling samplings[] = { TRACE_ALWAYS_ON, TRACE_ALWAYS_OFF, TRACE_PROBABILISTIC };
    for (size_t i = 0; i < COUNT_OF(samplings); i++) {
        open_tracing(samplings[i], 0.25);
        trace_begin(&t, &with, arena, S("x"), 0);
        assert_true(t.is_sampled);
        trace_begin(&t, &without, arena, S("x"), 0);
        assert_false(t.is_sampled);
        char text[TRACE_PARENT_LEN + 1];
        trace_parent_of(&t, SPAN_NONE, text);
        assert_memory_equal(text, "00-" ID "-", 36);
        assert_memory_equal(text + 52, "-00", 3);
        unsigned n = 0;
        for (int k = 0; k < 4000; k++) {
            trace_begin(&t, NULL, arena, S("x"), 0);
            n += t.is_sampled;
            assert_int_equal(t.flags, t.is_sampled);
        }
        if (samplings[i] == TRACE_PROBABILISTIC)
            assert_in_range(n, 800, 1200);
        else
            assert_int_equal(n, samplings[i] == TRACE_ALWAYS_ON ? 4000 : 0);
    }
    enum trace_sampling s;
    assert_true(trace_sampling_parse(S("probabilistic"), &s) && s == TRACE_PROBABILISTIC);
    assert_false(trace_sampling_parse(S("sometimes"), &s));
}

static void send_one(void)
{
    struct trace t;
    trace_begin(&t, NULL, arena, S("x"), 0);
    trace_end(&t);
}

static void a_busy_collector_gets_it_later(void **state)
{
    (void)state;
    double before = dropped();
    collector.next_status[0] = 503;
    collector.next_status[1] = 429;
    open_tracing(TRACE_ALWAYS_ON, 1);
    send_one();
    for (int i = 0; i < 3; i++)
        trace_flush(5 * SECOND);                /* tries at once, whatever the back-off */
    assert_int_equal(collector.n, 3);
    assert_true(str_eq(buf_view(&collector.bodies[0]), buf_view(&collector.bodies[2])));
    assert_int_equal(dropped() - before, 0);
    trace_flush(5 * SECOND);
    assert_int_equal(collector.n, 3);
}

static void a_refusal_is_final(void **state)
{
    (void)state;
    double before = dropped();
    collector.next_status[0] = 400;
    open_tracing(TRACE_ALWAYS_ON, 1);
    send_one();
    trace_flush(5 * SECOND);
    trace_flush(5 * SECOND);
    assert_int_equal(collector.n, 1);
    assert_int_equal(dropped() - before, 1);
}

static void a_partial_success_is_counted(void **state)
{
    (void)state;
    double before = dropped();
    collector.answer = "{\"partialSuccess\":{\"rejectedSpans\":\"1\",\"errorMessage\":\"too old\"}}";
    open_tracing(TRACE_ALWAYS_ON, 1);
    send_one();
    send_one();
    trace_flush(5 * SECOND);
    assert_int_equal(dropped() - before, 1);
}

static void the_queue_is_bounded(void **state)
{
    (void)state;
    double before = dropped();
    collector.next_status[0] = 503;
    open_tracing(TRACE_ALWAYS_ON, 1);
    for (int i = 0; i < TRACE_QUEUE_MAX + 100; i++)
        send_one();
    /* What was taken for the first try still counts as queued. */
    assert_true(dropped() - before <= 100);
    trace_flush(5 * SECOND);
    trace_flush(5 * SECOND);
    unsigned n = 0;
    for (unsigned i = 0; i < collector.n; i++) {
        struct json j = body(i);
        if (i >= 8 || collector.next_status[i] == 0)
            n += json_count(&j, json_path(&j, "resourceSpans.0.scopeSpans.0.spans"));
    }
    assert_int_equal(n + (unsigned)(dropped() - before), TRACE_QUEUE_MAX + 100);
}

static void a_request_with_many_spans_keeps_the_first(void **state)
{
    (void)state;
    struct trace t;
    open_tracing(TRACE_ALWAYS_ON, 1);
    trace_begin(&t, NULL, arena, S("x"), 0);
    for (int i = 0; i < 20; i++) {
        unsigned s = span_begin(&t, SPAN_ROOT, SPAN_INTERNAL, S("child"));
        for (int k = 0; k < 20; k++)
            span_int(&t, s, "k", k);
        span_end(&t, s);
        assert_int_equal(s == SPAN_NONE, i >= TRACE_SPANS_MAX - 1);
    }
    trace_end(&t);
    trace_flush(5 * SECOND);
    struct json j = body(0);
    assert_int_equal(json_count(&j, json_path(&j, "resourceSpans.0.scopeSpans.0.spans")), TRACE_SPANS_MAX);
}

static void a_silent_collector_does_not_hold_the_exit(void **state)
{
    (void)state;
    collector.is_silent = true;
    open_tracing(TRACE_ALWAYS_ON, 1);
    send_one();
    uint64_t start = clock_now();
    trace_close();
    assert_true(clock_now() - start < 10 * SECOND);
}

static void endpoints(void **state)
{
    (void)state;
    static const struct { const char *text; bool is_valid; } table[] = {
        { "localhost:4318", true }, { "http://[::1]:4318/", true }, { "vllm-sr-jaeger:4317", true },
        { "https://otel.example.com/x/v1/traces", true }, { "", false }, { "http://", false },
        { "host:0", false }, { "host:99999", false }, { "http://h/a b", false }, { "h/\r\nx: y", false },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct err e = { 0 };
        struct trace_conf conf = { .is_enabled = true, .endpoint = str_of(table[i].text), .service_name = S("x") };
        int rc = trace_open(&conf, &e);
        if ((rc == 0) != table[i].is_valid)
            fail_msg("%s: %d %s", table[i].text, rc, e.text);
        assert_int_equal(e.text[0] != 0, !table[i].is_valid);
    }
    struct err e = { 0 };
    struct trace_conf conf = { .is_enabled = true, .exporter = S("carrier-pigeon"), .endpoint = S("h:1") };
    assert_true(trace_open(&conf, &e) < 0);
    conf.is_enabled = false;
    assert_int_equal(trace_open(&conf, &e), 0);
    assert_false(trace_is_on());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(traceparent_table),
        cmocka_unit_test(tracestate_table),
        cmocka_unit_test(off_means_hands_off),
        cmocka_unit_test(what_cannot_be_trusted_begins_anew),
        cmocka_unit_test_setup_teardown(spans_reach_the_collector, collector_start, collector_stop),
        cmocka_unit_test_setup_teardown(sampling_follows_the_parent, collector_start, collector_stop),
        cmocka_unit_test_setup_teardown(a_busy_collector_gets_it_later, collector_start, collector_stop),
        cmocka_unit_test_setup_teardown(a_refusal_is_final, collector_start, collector_stop),
        cmocka_unit_test_setup_teardown(a_partial_success_is_counted, collector_start, collector_stop),
        cmocka_unit_test_setup_teardown(the_queue_is_bounded, collector_start, collector_stop),
        cmocka_unit_test_setup_teardown(a_request_with_many_spans_keeps_the_first, collector_start, collector_stop),
        cmocka_unit_test_setup_teardown(a_silent_collector_does_not_hold_the_exit, collector_start, collector_stop),
        cmocka_unit_test_setup_teardown(endpoints, collector_start, collector_stop),
    };
    arena = arena_new();
    log_setup(LOG_OFF, LOG_AUTO);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    arena_free(arena);
    return rc;
}
