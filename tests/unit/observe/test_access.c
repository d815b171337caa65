/* The access log and the process log: whole lines of valid JSON, whatever they are given and
 * whatever the disk does. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/json.h"
#include "observe/access.h"
#include "observe/log.h"
#include "observe/metrics.h"

#define SECOND NS_PER_S

static struct arena *arena;
static char dir[64];

static str in_dir(const char *name)
{
    return arena_printf(arena, "%s/%s", dir, name);
}

static str file_read(str path)
{
    struct buf b = { 0 };
    char piece[65536];
    int fd = open(path.ptr, O_RDONLY);
    if (fd < 0)
        return S("");
    for (ssize_t n; (n = read(fd, piece, sizeof piece)) > 0; )
        buf_add(&b, piece, (size_t)n);
    close(fd);
    str all = arena_str(arena, buf_view(&b));
    buf_free(&b);
    return all;
}

static double dropped(void)
{
    return metric_value(metric_cell(METRIC_LOG_DROPPED, NULL));
}

static struct json parse(str line)
{
    struct json j;
    struct json_error bad;
    if (json_parse(arena, line, &j, &bad) < 0)
        fail_msg("at %zu: %s: " STR_FMT, bad.at, bad.what, STR_ARG(line));
    return j;
}

static void expect_text(const struct json *j, const char *key, str expected)
{
    str got = json_str(j, json_get(j, 0, str_of(key)), arena);
    if (!str_eq(got, expected))
        fail_msg("%s: \"" STR_FMT "\" is not \"" STR_FMT "\"", key, STR_ARG(got), STR_ARG(expected));
}

static void expect_raw(const struct json *j, const char *key, const char *expected)
{
    jref n = json_get(j, 0, str_of(key));
    if (n == JSON_NONE)
        fail_msg("%s is absent", key);
    if (!str_eq(json_raw(j, n), str_of(expected)))
        fail_msg("%s: " STR_FMT " is not %s", key, STR_ARG(json_raw(j, n)), expected);
}

static struct access_record full_record(void)
{
    static const struct access_phase phases[] = { { "parse", 12345 }, { "route", 41000 }, { "total", 1500000000 } };
    static str signals[] = { { "keyword:urgent", 14 }, { "domain:math", 11 } };
    struct access_record r = ACCESS_RECORD_EMPTY;
    r.ts = 1700000000123456789u;
    r.request_id = S("req-1");
    r.trace_id = S("4bf92f3577b34da6a3ce929d0e0e4736");
    r.client = S("127.0.0.1:5000");
    r.user = S("ann");
    r.session_id = S("s1");
    r.method = S("POST");
    r.path = S("/v1/chat/completions");
    r.dialect = S("openai_chat");
    r.status = 200;
    r.error = S("rate_limit_error");
    r.error_reason = S("too many");
    r.is_stream = true;
    r.bytes_in = 0;
    r.bytes_out = 123456;
    r.model_requested = S("auto");
    r.model = S("big");
    r.recipe = S("default");
    r.decision = S("math");
    r.algorithm = S("static");
    r.reason = S("first");
    r.confidence = 0.875;
    r.propensity = 1;
    r.provider = S("openai");
    r.backend = S("big/a");
    r.attempts = 2;
    r.finish_reason = S("stop");
    r.upstream_request_id = S("up-1");
    r.prompt_tokens = 11;
    r.completion_tokens = 22;
    r.cached_tokens = 0;
    r.reasoning_tokens = 5;
    r.cost = 0.000123456;
    r.currency = S("USD");
    r.ttft_ns = 250000000;
    r.duration_ns = 1500000499;
    r.phases = phases;
    r.n_phases = COUNT_OF(phases);
    r.signals = signals;
    r.n_signals = COUNT_OF(signals);
    r.units_run = 3;
    r.units_avoided = 4;
    return r;
}

static str format(const struct access_record *r, bool capture)
{
    struct buf line = { 0 };
    access_format(&line, r, capture);
    str copy = arena_str(arena, buf_view(&line));
    buf_free(&line);
    return copy;
}

static void every_field_is_in_the_line(void **state)
{
    (void)state;
    struct access_record r = full_record();
    struct json j = parse(format(&r, false));
    expect_text(&j, "ts", S("2023-11-14T22:13:20.123Z"));
    static const struct { const char *key, *text; } texts[] = {
        { "request_id", "req-1" }, { "trace_id", "4bf92f3577b34da6a3ce929d0e0e4736" },
        { "client", "127.0.0.1:5000" }, { "user", "ann" }, { "session_id", "s1" }, { "method", "POST" },
        { "path", "/v1/chat/completions" }, { "dialect", "openai_chat" }, { "error", "rate_limit_error" },
        { "error_reason", "too many" }, { "model_requested", "auto" }, { "model", "big" },
        { "recipe", "default" }, { "decision", "math" }, { "algorithm", "static" }, { "reason", "first" },
        { "provider", "openai" }, { "backend", "big/a" }, { "finish_reason", "stop" },
        { "upstream_request_id", "up-1" }, { "currency", "USD" },
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        expect_text(&j, texts[i].key, str_of(texts[i].text));
    static const struct { const char *key, *raw; } raws[] = {
        { "status", "200" }, { "stream", "true" }, { "bytes_in", "0" }, { "bytes_out", "123456" },
        { "confidence", "0.875" }, { "propensity", "1" }, { "attempts", "2" }, { "prompt_tokens", "11" },
        { "completion_tokens", "22" }, { "cached_tokens", "0" }, { "reasoning_tokens", "5" },
        { "cost", "0.000123456" }, { "ttft_ms", "250" }, { "duration_ms", "1500" }, { "units_run", "3" },
        { "units_avoided", "4" }, { "phases_ms", "{\"parse\":0.012,\"route\":0.041,\"total\":1500}" },
        { "signals", "[\"keyword:urgent\",\"domain:math\"]" },
    };
    for (size_t i = 0; i < COUNT_OF(raws); i++)
        expect_raw(&j, raws[i].key, raws[i].raw);
    assert_int_equal(json_count(&j, 0), COUNT_OF(texts) + COUNT_OF(raws) + 1);
}

static void what_is_unknown_is_left_out(void **state)
{
    (void)state;
    struct access_record r = ACCESS_RECORD_EMPTY;
    struct json j = parse(format(&r, true));
    assert_int_equal(json_count(&j, 0), 2);     /* ts and stream */
    r.is_cancelled = r.is_cache_hit = true;
    r.cost = -1e300;
    r.confidence = -0.5;
    j = parse(format(&r, false));
    expect_raw(&j, "cancelled", "true");
    expect_raw(&j, "cache_hit", "true");
    expect_raw(&j, "confidence", "-0.5");
    double v;
    assert_true(json_double(&j, json_get(&j, 0, S("cost")), &v) && v == -1e300);
}

static void hostile_texts_stay_inside_their_quotes(void **state)
{
    (void)state;
    static const struct { const char *bytes; size_t n; const char *decoded; size_t n_decoded; } table[] = {
        { "\",\"admin\":true,\"x\":\"", 19, "\",\"admin\":true,\"x\":\"", 19 },
        { "a\\", 2, "a\\", 2 },
        { "1234567\"", 8, "1234567\"", 8 },
        { "12345678\n{}", 11, "12345678\n{}", 11 },
        { "nul\0nul", 7, "nul\0nul", 7 },
        { "\x1b[31m\r\x7f", 7, "\x1b[31m\r\x7f", 7 },
        { "gr\xc3\xbc\xc3\x9f" "e", 7, "gr\xc3\xbc\xc3\x9f" "e", 7 },
        { "bad\xff\xc3", 5, "bad\xef\xbf\xbd\xef\xbf\xbd", 9 },
        { "\xed\xa0\x80", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", 9 },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct access_record r = full_record();
        r.path = r.model_requested = (str){ table[i].bytes, table[i].n };
        str signals[] = { r.path };
        r.signals = signals;
        r.n_signals = 1;
        str line = format(&r, false);
        assert_int_equal(str_chr(line, '\n'), -1);
        struct json j = parse(line);
        expect_text(&j, "path", (str){ table[i].decoded, table[i].n_decoded });
        expect_text(&j, "model_requested", (str){ table[i].decoded, table[i].n_decoded });
        expect_text(&j, "method", S("POST"));
    }
    for (unsigned c = 0; c < 256; c++)          /* each byte at each place of an eight-byte word */
        for (unsigned at = 0; at < 9; at++) {
            char text[9] = "aaaaaaaa";
            text[at % 8] = (char)c;
            struct access_record r = ACCESS_RECORD_EMPTY;
            r.path = (str){ text, at < 8 ? 8 : 5 };
            struct json j = parse(format(&r, false));
            if (c < 0x80)
                expect_text(&j, "path", r.path);
        }
}

static void long_texts_and_lists_are_cut(void **state)
{
    (void)state;
    static char path[5000];
    static str signals[200];
    memset(path, 1, sizeof path);               /* six bytes each: the worst case */
    struct access_record r = full_record();
    r.path = r.user = r.model = r.error_reason = (str){ path, sizeof path };
    for (size_t i = 0; i < COUNT_OF(signals); i++)
        signals[i] = r.path;
    r.signals = signals;
    r.n_signals = COUNT_OF(signals);
    struct json j = parse(format(&r, false));
    assert_int_equal(json_str_bytes(&j, json_get(&j, 0, S("path"))), ACCESS_TEXT_MAX);
    assert_int_equal(json_count(&j, json_get(&j, 0, S("signals"))), ACCESS_LIST_MAX);
    for (size_t i = 0; i + 1 < sizeof path; i += 2)
        memcpy(path + i, "\xc3\xbc", 2);
    r.path = (str){ path + 1, sizeof path - 1 };        /* the cut falls inside a sequence */
    parse(format(&r, false));
}

static void capture_holds_what_replay_needs(void **state)
{
    (void)state;
    static const struct access_header headers[] = {
        { S("X-Tenant"), S("a\"b") }, { S("Authorization"), S("Bearer sk-1") }, { S("x-api-key"), S("sk-2") },
        { S("Cookie"), S("c=1") }, { S("X-Goog-Api-Key"), S("sk-3") }, { S("x-session-token"), S("sk-4") },
    };
    struct access_record r = full_record();
    r.headers = headers;
    r.n_headers = COUNT_OF(headers);
    r.body = S("{\r\n  \"model\": \"auto\",\n  \"messages\": [\"a\\n\"], \"n\": 1.50\n}");
    r.body_is_json = true;
    str line = format(&r, true);
    struct json j = parse(line);
    expect_raw(&j, "request", "{    \"model\": \"auto\",   \"messages\": [\"a\\n\"], \"n\": 1.50 }");
    assert_int_equal(str_find(line, S("sk-")), -1);
    expect_raw(&j, "headers", "[[\"X-Tenant\",\"a\\\"b\"],[\"Authorization\",\"***\"],[\"x-api-key\",\"***\"],"
               "[\"Cookie\",\"***\"],[\"X-Goog-Api-Key\",\"***\"],[\"x-session-token\",\"***\"]]");

    r.body = S("{\"not\": json\n");
    r.body_is_json = false;
    j = parse(format(&r, true));
    expect_text(&j, "request_text", r.body);
    assert_true(json_get(&j, 0, S("request")) == JSON_NONE);

    static char big[ACCESS_CAPTURE_MAX + 1];
    memset(big, 2, sizeof big);
    r.body = (str){ big, sizeof big };
    j = parse(format(&r, true));
    expect_raw(&j, "request_omitted_bytes", "65537");
    r.body.len--;
    j = parse(format(&r, true));
    assert_int_equal(json_str_bytes(&j, json_get(&j, 0, S("request_text"))), ACCESS_CAPTURE_MAX);

    j = parse(format(&r, false));               /* not asked for: nothing of the content */
    assert_true(json_get(&j, 0, S("request_text")) == JSON_NONE);
    assert_true(json_get(&j, 0, S("headers")) == JSON_NONE);
}

/* ---- the file ---- */

static void open_log(str sink, bool capture)
{
    struct err e = { 0 };
    struct access_conf conf = { .sink = sink, .capture = capture };
    if (access_open(&conf, &e) < 0)
        fail_msg("%s", e.text);
}

static void write_numbered(unsigned from, unsigned n)
{
    for (unsigned i = from; i < from + n; i++) {
        struct access_record r = full_record();
        char id[32];
        r.request_id = (str){ id, (size_t)snprintf(id, sizeof id, "n-%u", i) };
        access_write(&r);
    }
}

/* Each line parses; returns how many there are. */
static unsigned lines_check(str text)
{
    unsigned n = 0;
    assert_true(text.len == 0 || text.ptr[text.len - 1] == '\n');
    while (text.len) {
        parse(str_cut(&text, '\n'));
        n++;
    }
    return n;
}

static void *write_from_thread(void *arg)
{
    write_numbered((unsigned)(uintptr_t)arg * 1000, 1000);
    return NULL;
}

static void lines_of_all_threads_arrive_whole(void **state)
{
    (void)state;
    pthread_t threads[4];
    str path = in_dir("threads.log");
    double before = dropped();
    open_log(path, false);
    assert_true(access_is_on());
    assert_false(access_captures());
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        pthread_create(&threads[i], NULL, write_from_thread, (void *)(uintptr_t)i);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
    access_close();
    assert_int_equal(lines_check(file_read(path)) + (unsigned)(dropped() - before), 4000);
    assert_false(access_is_on());
    write_numbered(0, 1);                       /* off: nothing happens */
}

static void rotation_loses_nothing(void **state)
{
    (void)state;
    str path = in_dir("rotate.log"), old = in_dir("rotate.log.1");
    open_log(path, false);
    write_numbered(0, 10);
    access_flush(2 * SECOND);
    assert_int_equal(rename(path.ptr, old.ptr), 0);
    write_numbered(10, 5);
    access_flush(2 * SECOND);                   /* before the signal the old file is written on */
    access_reopen();
    access_flush(2 * SECOND);
    write_numbered(15, 7);
    access_close();
    assert_int_equal(lines_check(file_read(old)), 15);
    assert_int_equal(lines_check(file_read(path)), 7);
}

static void a_reload_switches_the_sink(void **state)
{
    (void)state;
    str a = in_dir("a.log"), b = in_dir("b.log");
    struct err e = { 0 };
    open_log(a, false);
    write_numbered(0, 3);
    access_flush(2 * SECOND);
    struct access_conf bad = { .sink = in_dir("no/such/dir/x.log") };
    assert_int_equal(access_open(&bad, &e), -ENOENT);
    assert_non_null(strstr(e.text, "no/such/dir/x.log"));
    write_numbered(3, 1);                       /* the sink in use stays */
    access_flush(2 * SECOND);
    open_log(b, true);
    assert_true(access_captures());
    access_flush(2 * SECOND);
    write_numbered(4, 2);
    access_close();
    assert_int_equal(lines_check(file_read(a)), 4);
    assert_int_equal(lines_check(file_read(b)), 2);
}

static void a_full_disk_drops_counts_and_recovers(void **state)
{
    (void)state;
    if (access("/dev/full", W_OK) != 0)
        skip();
    str path = in_dir("full.log");
    assert_int_equal(symlink("/dev/full", path.ptr), 0);
    double before = dropped();
    open_log(path, false);
    write_numbered(0, 20);
    access_flush(2 * SECOND);
    assert_int_equal(dropped() - before, 20);
    assert_int_equal(unlink(path.ptr), 0);
    access_reopen();
    access_flush(2 * SECOND);
    write_numbered(20, 5);
    access_close();
    assert_int_equal(dropped() - before, 20);
    assert_int_equal(lines_check(file_read(path)), 5);
}

/* A file that may not grow: the disk fills in the middle of a line and is freed again, nobody
 * reopens. */
static void no_line_is_torn_when_space_runs_out(void **state)
{
    (void)state;
    str path = in_dir("limit.log");
    struct rlimit old, small;
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 5000;
    signal(SIGXFSZ, SIG_IGN);
    double before = dropped();
    open_log(path, false);
    setrlimit(RLIMIT_FSIZE, &small);
    write_numbered(0, 20);
    access_flush(2 * SECOND);
    assert_int_equal(file_read(path).len, 5000);
    write_numbered(20, 5);
    access_flush(2 * SECOND);
    setrlimit(RLIMIT_FSIZE, &old);
    write_numbered(25, 5);
    access_close();
    str text = file_read(path);
    unsigned n = lines_check(text);
    assert_true(n > 5 && n < 25);
    assert_int_equal(n + (unsigned)(dropped() - before), 30);
    assert_true(str_find(text, S("\"n-29\"")) > 0);
}

/* A sink that takes nothing: memory stays bounded, the close does not hang. */
static void a_stuck_reader_costs_one_queue(void **state)
{
    (void)state;
    str path = in_dir("fifo");
    assert_int_equal(mkfifo(path.ptr, 0600), 0);
    int reader = open(path.ptr, O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    double before = dropped();
    open_log(path, false);
    for (int i = 0; i < 20; i++)
        write_numbered(0, 500);                 /* about 8 MB */
    assert_true(dropped() > before);
    uint64_t start = clock_now();
    access_close();
    assert_true(clock_now() - start < 10 * SECOND);
    close(reader);
}

/* ---- the process log ---- */

static int saved_stderr;

static void catch_stderr(str path)
{
    fflush(stderr);
    saved_stderr = dup(STDERR_FILENO);
    int fd = open(path.ptr, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
    dup2(fd, STDERR_FILENO);
    close(fd);
}

static str caught_stderr(str path)
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    return file_read(path);
}

static void log_lines_are_json(void **state)
{
    (void)state;
    str path = in_dir("stderr");
    char big[3000];
    memset(big, '"', sizeof big);
    big[sizeof big - 1] = 0;
    catch_stderr(path);
    log_setup(LOG_INFO, LOG_JSON);
    log_debug("quiet", "nobody hears this");
    log_info("config_reloaded", "took %d ms from \"%s\"\n\xff", 12, "a\\b");
    log_warn("big", "%s", big);
    log_fields(LOG_INFO, "routing_decision", S("\"decision\":\"math\",\"n\":1"));
    log_fields(LOG_INFO, "empty", S(""));
    str text = caught_stderr(path);
    assert_int_equal(lines_check(text), 4);
    struct json j = parse(str_cut(&text, '\n'));
    expect_text(&j, "level", S("info"));
    expect_text(&j, "event", S("config_reloaded"));
    expect_text(&j, "msg", S("took 12 ms from \"a\\b\"\n\xef\xbf\xbd"));
    str_cut(&text, '\n');
    j = parse(str_cut(&text, '\n'));
    expect_text(&j, "decision", S("math"));
}

static void a_storm_of_one_event_is_held_back(void **state)
{
    (void)state;
    str path = in_dir("storm");
    catch_stderr(path);
    for (int i = 0; i < 1000; i++)
        log_warn("storm", "number %d", i);
    log_warn("other_event", "gets through");
    str text = caught_stderr(path);
    unsigned n = lines_check(text);
    assert_true(n >= LOG_BURST + 1 && n <= 2 * LOG_BURST + 1);      /* 2: when a new stretch began meanwhile */
    assert_true(str_find(text, S("other_event")) >= 0);
}

static void text_form_moves_no_cursor(void **state)
{
    (void)state;
    str path = in_dir("text");
    catch_stderr(path);
    log_setup(LOG_ERROR, LOG_TEXT);
    log_warn("unheard", "below the level");
    log_error("startup_failed", "cannot read \x1b[2J%s", "x.yaml\nfake line");
    log_setup(LOG_INFO, LOG_AUTO);
    str text = caught_stderr(path);
    assert_true(str_find(text, S(" error startup_failed: cannot read  [2Jx.yaml fake line\n")) > 0);
    assert_int_equal(str_find(text, S("unheard")), -1);
}

static void names_of_levels_and_formats(void **state)
{
    (void)state;
    enum log_level level;
    enum log_format form;
    assert_true(log_level_parse(S("WARNING"), &level) && level == LOG_WARN);
    assert_false(log_level_parse(S("loud"), &level));
    assert_true(log_format_parse(S("console"), &form) && form == LOG_TEXT);
    assert_false(log_format_parse(S("xml"), &form));
}

static int setup(void **state)
{
    (void)state;
    arena = arena_new();
    strcpy(dir, "/tmp/sbx-access-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    int rc = system(command);
    arena_free(arena);
    return rc;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_is_in_the_line),
        cmocka_unit_test(what_is_unknown_is_left_out),
        cmocka_unit_test(hostile_texts_stay_inside_their_quotes),
        cmocka_unit_test(long_texts_and_lists_are_cut),
        cmocka_unit_test(capture_holds_what_replay_needs),
        cmocka_unit_test(lines_of_all_threads_arrive_whole),
        cmocka_unit_test(rotation_loses_nothing),
        cmocka_unit_test(a_reload_switches_the_sink),
        cmocka_unit_test(a_full_disk_drops_counts_and_recovers),
        cmocka_unit_test(no_line_is_torn_when_space_runs_out),
        cmocka_unit_test(a_stuck_reader_costs_one_queue),
        cmocka_unit_test(log_lines_are_json),
        cmocka_unit_test(a_storm_of_one_event_is_held_back),
        cmocka_unit_test(text_form_moves_no_cursor),
        cmocka_unit_test(names_of_levels_and_formats),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
