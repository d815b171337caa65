/* Metrics: what is added comes out once, in a form that a scraper reads. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "observe/metrics.h"

/* The value behind `series` ("name{a=\"b\"}") in an exposition; NAN: absent. */
static double value_in(const struct buf *page, const char *series)
{
    size_t n = strlen(series);
    for (str rest = buf_view(page); rest.len; ) {
        str line = str_cut(&rest, '\n');
        if (line.len > n && memcmp(line.ptr, series, n) == 0 && line.ptr[n] == ' ') {
            char text[64];
            snprintf(text, sizeof text, STR_FMT, STR_ARG(str_from(line, n + 1)));
            return strtod(text, NULL);
        }
    }
    return (double)NAN;
}

static struct buf scrape(bool openmetrics)
{
    struct buf page = { 0 };
    metrics_write(&page, openmetrics);
    assert_false(page.is_failed);
    return page;
}

static void near(double a, double b)
{
    if (!(fabs(a - b) < 1e-9))
        fail_msg("%.17g is not %.17g", a, b);
}

static void counters_add_up_and_are_shown(void **state)
{
    (void)state;
    metric c = metric_cell(METRIC_MODEL_REQUESTS, (str[]){ S("m1") });
    metric_add(c, 3);
    metric_add(c, 4);
    metric money = metric_cell(METRIC_MODEL_COST, (str[]){ S("m1"), S("USD") });
    metric_add_double(money, 0.25);
    metric_add_double(money, 0.5);
    metric_add_double(money, -1);               /* a counter does not fall */
    metric_add_double(money, (double)NAN);
    struct buf page = scrape(false);
    near(value_in(&page, "llm_model_requests_total{model=\"m1\"}"), 7);
    near(value_in(&page, "llm_model_cost_total{model=\"m1\",currency=\"USD\"}"), 0.75);
    near(metric_value(c), 7);
    buf_free(&page);
}

static void the_same_labels_are_the_same_cell(void **state)
{
    (void)state;
    metric a = metric_cell(METRIC_RETRIES, (str[]){ S("m"), S("timeout") });
    assert_int_not_equal(a, 0);
    assert_int_equal(a, metric_cell(METRIC_RETRIES, (str[]){ S("m"), S("timeout") }));
    assert_int_not_equal(a, metric_cell(METRIC_RETRIES, (str[]){ S("mt"), S("imeout") }));
    assert_int_not_equal(a, metric_cell(METRIC_FAILOVERS, (str[]){ S("m"), S("timeout") }));
}

static void the_zero_cell_swallows_everything(void **state)
{
    (void)state;
    metric_add(0, 1);
    metric_add_double(0, 1);
    metric_set(0, 1);
    metric_observe(0, 1);
    near(metric_value(0), 0);
}

static void gauges_are_set_or_moved(void **state)
{
    (void)state;
    metric up = metric_cell(METRIC_BACKEND_UP, (str[]){ S("m"), S("b") });
    metric_set(up, 1);
    metric_set(up, 0);
    metric flying = metric_cell(METRIC_MODEL_INFLIGHT, (str[]){ S("m") });
    metric_add_double(flying, 1);
    metric_add_double(flying, 1);
    metric_add_double(flying, -1);
    near(metric_value(up), 0);
    near(metric_value(flying), 1);
}

static void histograms_are_cumulative(void **state)
{
    (void)state;
    metric h = metric_cell(METRIC_MODEL_TTFT, (str[]){ S("m1") });
    const double seen[] = { 0.005, 0.0051, 0.3, 2.5, 1000, (double)NAN, 0 };
    for (size_t i = 0; i < COUNT_OF(seen); i++)
        metric_observe(h, seen[i]);
    struct buf page = scrape(false);
    static const struct { const char *le; double n; } expected[] = {
        { "0.005", 2 },                         /* a bound belongs to its bucket */
        { "0.01", 3 }, { "0.25", 3 }, { "0.5", 4 }, { "1", 4 }, { "2.5", 5 }, { "300", 5 }, { "+Inf", 6 },
    };
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        char series[128];
        snprintf(series, sizeof series, "llm_model_ttft_seconds_bucket{model=\"m1\",le=\"%s\"}", expected[i].le);
        near(value_in(&page, series), expected[i].n);
    }
    near(value_in(&page, "llm_model_ttft_seconds_count{model=\"m1\"}"), 6);
    near(value_in(&page, "llm_model_ttft_seconds_sum{model=\"m1\"}"), 0.005 + 0.0051 + 0.3 + 2.5 + 1000);
    near(metric_value(h), 6);
    buf_free(&page);
}

/* Every bound of every set of bounds, and its two neighbours among the doubles. */
static void values_next_to_a_bound_fall_on_the_right_side(void **state)
{
    (void)state;
    static const struct { enum metric_id id; const char *name; } sets[] = {
        { METRIC_MODEL_TTFT, "llm_model_ttft_seconds" },
        { METRIC_MODEL_TPOT, "llm_model_tpot_seconds" },
        { METRIC_PROMPT_TOKENS, "llm_prompt_tokens_per_request" },
        { METRIC_CACHE_WARMTH, "llm_cache_warmth_estimate" },
    };
    for (size_t i = 0; i < COUNT_OF(sets); i++) {
        char before[100], line[160];
        double bounds[64], cumulative;
        unsigned n = 0;
        metric h = metric_cell(sets[i].id, (str[]){ S("bounds") });
        snprintf(before, sizeof before, "%s_bucket{model=\"bounds\",le=\"", sets[i].name);
        for (int pass = 0; pass < 2; pass++) {
            struct buf page = scrape(false);
            unsigned k = 0;
            for (str rest = buf_view(&page); rest.len; ) {
                str one = str_cut(&rest, '\n');
                if (!str_starts(one, str_of(before)))
                    continue;
                snprintf(line, sizeof line, STR_FMT, STR_ARG(str_from(one, strlen(before))));
                assert_int_equal(sscanf(line, "%lf\"} %lf", &bounds[k], &cumulative), 2);
                if (pass == 1 && isfinite(bounds[k]) && cumulative != 3 * k + 2)
                    fail_msg("%s le=%g: %g", sets[i].name, bounds[k], cumulative);
                k++;
            }
            buf_free(&page);
            n = k - 1;                          /* without +Inf */
            for (k = 0; pass == 0 && k < n; k++) {
                metric_observe(h, nextafter(bounds[k], -1e300));
                metric_observe(h, bounds[k]);
                metric_observe(h, nextafter(bounds[k], 1e300));
            }
        }
        assert_true(n > 10);
        metric_observe(h, 1e300);
        metric_observe(h, (double)INFINITY);
        metric_observe(h, -(double)INFINITY);
        near(metric_value(h), 3 * n + 3);
    }
}

static void quantiles_are_linear_in_the_bucket(void **state)
{
    (void)state;
    metric h = metric_cell(METRIC_MODEL_COMPLETION_LATENCY, (str[]){ S("quantile") });
    assert_true(isnan(metric_quantile(h, 0.5)));
    for (int i = 0; i < 10; i++)
        metric_observe(h, 0.3);                 /* (0.25, 0.5] */
    near(metric_quantile(h, 0.5), 0.375);
    near(metric_quantile(h, 1), 0.5);
    metric_observe(h, 1e9);
    near(metric_quantile(h, 1), 300);           /* the highest finite bound */
}

static void labels_are_escaped_and_clean(void **state)
{
    (void)state;
    char long_name[300];
    memset(long_name, 'x', sizeof long_name);
    metric_add(metric_cell(METRIC_REFUSED, (str[]){ S("a\"b\\c\nd") }), 1);
    metric_add(metric_cell(METRIC_REFUSED, (str[]){ S("gr\xc3\xbc\xc3\x9f" "e\xff\xc3") }), 2);
    metric_add(metric_cell(METRIC_REFUSED, (str[]){ S("gr\xc3\xbc\xc3\x9f" "e\xff\xc3") }), 2);
    metric_add(metric_cell(METRIC_REFUSED, (str[]){ { long_name, sizeof long_name } }), 3);
    struct buf page = scrape(false);
    near(value_in(&page, "signalbox_refused_total{reason=\"a\\\"b\\\\c\\nd\"}"), 1);
    near(value_in(&page, "signalbox_refused_total{reason=\"gr\xc3\xbc\xc3\x9f" "e??\"}"), 4);
    long_name[METRIC_VALUE_MAX] = 0;
    char series[400];
    snprintf(series, sizeof series, "signalbox_refused_total{reason=\"%s\"}", long_name);
    near(value_in(&page, series), 3);
    buf_free(&page);
}

/* Reads a page as a scraper would; fails on the first line that breaks the format. Returns the
 * samples. */
static size_t page_check(str page, bool openmetrics)
{
    size_t n_samples = 0;
    str family = S(""), type = S("");
    char seen[64 * 1024] = "\n";
    bool is_ended = false;
    while (page.len) {
        assert_false(is_ended);
        str line = str_cut(&page, '\n');
        if (str_eq(line, S("# EOF"))) {
            is_ended = true;
            continue;
        }
        if (str_starts(line, S("# HELP "))) {
            str rest = str_from(line, 7);
            family = str_cut(&rest, ' ');
            assert_true(rest.len > 0);
            char key[200];
            snprintf(key, sizeof key, "\n" STR_FMT "\n", STR_ARG(family));
            assert_null(strstr(seen, key));     /* once */
            strcat(seen, key + 1);
            continue;
        }
        if (str_starts(line, S("# TYPE "))) {
            str rest = str_from(line, 7);
            assert_true(str_eq(str_cut(&rest, ' '), family));
            type = rest;
            continue;
        }
        assert_true(str_starts(line, family));
        str at = str_from(line, family.len);
        str suffix = at;
        suffix.len = 0;
        while (suffix.len < at.len && at.ptr[suffix.len] != '{' && at.ptr[suffix.len] != ' ')
            suffix.len++;
        bool is_histogram = str_eq(type, S("histogram"));
        assert_true(is_histogram ? str_eq(suffix, S("_bucket")) || str_eq(suffix, S("_sum"))
                                   || str_eq(suffix, S("_count"))
                    : openmetrics && str_eq(type, S("counter")) ? str_eq(suffix, S("_total"))
                    : suffix.len == 0);
        at = str_from(at, suffix.len);
        if (at.ptr[0] == '{') {
            bool in_text = false;
            size_t i = 1;
            for (; i < at.len && (in_text || at.ptr[i] != '}'); i++) {
                if (in_text && at.ptr[i] == '\\')
                    i++;
                else if (at.ptr[i] == '"')
                    in_text = !in_text;
            }
            assert_true(i < at.len);
            at = str_from(at, i + 1);
        }
        assert_true(at.len > 1 && at.ptr[0] == ' ');
        char text[64], *end;
        snprintf(text, sizeof text, STR_FMT, STR_ARG(str_from(at, 1)));
        strtod(text, &end);
        assert_true(*end == 0 && end != text);
        n_samples++;
    }
    assert_int_equal(is_ended, openmetrics);
    return n_samples;
}

static void every_line_is_well_formed(void **state)
{
    (void)state;
    struct buf page = scrape(false);
    assert_true(page_check(buf_view(&page), false) > 50);
    assert_true(value_in(&page, "process_resident_memory_bytes") > 1e5);
    assert_true(value_in(&page, "process_open_fds") >= 3);
    assert_true(value_in(&page, "process_start_time_seconds") > 1.6e9);
    near(value_in(&page, "llm_decision_evaluation_total"), 0);      /* without labels: shown from the start */
    buf_free(&page);
    page = scrape(true);
    assert_true(page_check(buf_view(&page), true) > 50);
    assert_true(str_find(buf_view(&page), S("# TYPE llm_model_requests counter\n")) >= 0);
    assert_true(str_find(buf_view(&page), S("le=\"1.0\"")) >= 0);
    buf_free(&page);
}

static void promtool_agrees(void **state)
{
    (void)state;
    if (system("command -v promtool >/dev/null 2>&1") != 0) {
        print_message("skipped: promtool is not installed (Debian: prometheus)\n");
        skip();
    }
    /* Lint complaints are exit code 3; VSR's names draw some ("_total" gauges). 1 is a parse
     * error. */
    FILE *to = popen("promtool check metrics >/dev/null 2>&1", "w");
    struct buf page = scrape(false);
    fwrite(page.ptr, 1, page.len, to);
    buf_free(&page);
    int rc = pclose(to);
    assert_true(WIFEXITED(rc) && WEXITSTATUS(rc) != 1);
}

static void two_scrapes_have_the_same_order(void **state)
{
    (void)state;
    struct buf pages[2] = { scrape(false), scrape(false) };
    str a = buf_view(&pages[0]), b = buf_view(&pages[1]);
    while (a.len && b.len) {
        str x = str_cut(&a, '\n'), y = str_cut(&b, '\n');
        assert_true(str_eq(str_cut(&x, ' '), str_cut(&y, ' ')));
    }
    assert_int_equal(a.len, 0);
    assert_int_equal(b.len, 0);
    buf_free(&pages[0]);
    buf_free(&pages[1]);
}

static void a_full_family_counts_as_other(void **state)
{
    (void)state;
    metric last = 0;
    for (int i = 0; i < METRIC_SETS_MAX + 50; i++) {
        char name[32];
        size_t n = (size_t)snprintf(name, sizeof name, "reason-%d", i);
        last = metric_cell(METRIC_ROUTING_REASON_CODES, (str[]){ { name, n }, S("m") });
        metric_add(last, 1);
    }
    assert_int_equal(last, metric_cell(METRIC_ROUTING_REASON_CODES, (str[]){ S("other"), S("other") }));
    near(metric_value(last), 50);
    near(metric_value(metric_cell(METRIC_LABELS_DROPPED, NULL)), 50);
    near(metric_value(metric_cell(METRIC_ROUTING_REASON_CODES, (str[]){ S("reason-7"), S("m") })), 1);
}

/* ---- threads ---- */

enum { THREADS = 4, ROUNDS = 20000 };

static struct { metric count, money, seconds, flying; } shared;
static _Atomic bool scrapes;

static void *update(void *arg)
{
    unsigned i = (unsigned)(uintptr_t)arg;
    if (i < 2)                                  /* the others share a shard */
        metrics_thread(i);
    for (int k = 0; k < ROUNDS; k++) {
        metric_add(shared.count, 1);
        metric_add_double(shared.money, 0.5);
        metric_observe(shared.seconds, 0.02);
        metric_add_double(shared.flying, k % 2 ? -1 : 1);
        if (k % 1000 == 0) {
            char name[32];
            size_t n = (size_t)snprintf(name, sizeof name, "t%d", k / 1000);
            metric_add(metric_cell(METRIC_SIGNAL_MATCH, (str[]){ S("keyword"), { name, n } }), 1);
        }
    }
    return NULL;
}

static void *scrape_often(void *arg)
{
    (void)arg;
    while (scrapes) {
        struct buf page = scrape(false);
        buf_free(&page);
    }
    return NULL;
}

static void threads_lose_nothing(void **state)
{
    (void)state;
    pthread_t threads[THREADS], scraper;
    shared.count = metric_cell(METRIC_MODEL_REQUESTS, (str[]){ S("threads") });
    shared.money = metric_cell(METRIC_MODEL_COST, (str[]){ S("threads"), S("USD") });
    shared.seconds = metric_cell(METRIC_PHASE, (str[]){ S("route") });
    shared.flying = metric_cell(METRIC_MODEL_INFLIGHT, (str[]){ S("threads") });
    scrapes = true;
    pthread_create(&scraper, NULL, scrape_often, NULL);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, update, (void *)(uintptr_t)i);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    scrapes = false;
    pthread_join(scraper, NULL);
    near(metric_value(shared.count), THREADS * ROUNDS);
    near(metric_value(shared.money), THREADS * ROUNDS * 0.5);
    near(metric_value(shared.seconds), THREADS * ROUNDS);
    near(metric_value(shared.flying), 0);
    near(metric_value(metric_cell(METRIC_SIGNAL_MATCH, (str[]){ S("keyword"), S("t3") })), THREADS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_add_up_and_are_shown),
        cmocka_unit_test(the_same_labels_are_the_same_cell),
        cmocka_unit_test(the_zero_cell_swallows_everything),
        cmocka_unit_test(gauges_are_set_or_moved),
        cmocka_unit_test(histograms_are_cumulative),
        cmocka_unit_test(values_next_to_a_bound_fall_on_the_right_side),
        cmocka_unit_test(quantiles_are_linear_in_the_bucket),
        cmocka_unit_test(labels_are_escaped_and_clean),
        cmocka_unit_test(every_line_is_well_formed),
        cmocka_unit_test(promtool_agrees),
        cmocka_unit_test(two_scrapes_have_the_same_order),
        cmocka_unit_test(threads_lose_nothing),
        cmocka_unit_test(a_full_family_counts_as_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
