/* Latency percentiles and windows: the figures are those of a plain sort and a plain sum. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/rand.h"
#include "observe/latency.h"
#include "observe/metrics.h"
#include "observe/window.h"

static void near(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance))
        fail_msg("%.9g is not %.9g", a, b);
}

static void no_data_is_nan(void **state)
{
    (void)state;
    struct latency *l = latency_new();
    assert_true(isnan(latency_ttft(l, 50)));
    assert_true(isnan(latency_tpot(l, 50)));
    latency_record(l, (double)NAN, 0.02);
    assert_true(isnan(latency_ttft(l, 50)));
    near(latency_tpot(l, 99), 0.02, 1e-7);
    latency_record(l, -1, (double)INFINITY);
    assert_true(isnan(latency_ttft(l, 50)));
    assert_int_equal(latency_samples(l), 2);
    free(l);
}

static void fewer_than_three_give_the_average(void **state)
{
    (void)state;
    struct latency *l = latency_new();
    latency_record(l, 1, (double)NAN);
    near(latency_ttft(l, 95), 1, 1e-9);
    latency_record(l, 2, (double)NAN);
    near(latency_ttft(l, 95), 0.3 * 2 + 0.7 * 1, 1e-9);
    latency_record(l, 3, (double)NAN);
    near(latency_ttft(l, 50), 2, 1e-6);
    near(latency_ttft(l, 75), 2.5, 1e-6);       /* between neighbours: linear */
    near(latency_ttft(l, 0), 1, 1e-6);
    near(latency_ttft(l, 100), 3, 1e-6);
    near(latency_ttft(l, 1000), 3, 1e-6);
    near(latency_ttft_average(l), 0.3 * 3 + 0.7 * 1.3, 1e-9);
    free(l);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* After every sample, the percentile equals that of the last 1000 samples sorted anew. */
static void the_window_slides(void **state)
{
    (void)state;
    enum { N = 3500 };
    static double all[N], last[LATENCY_SAMPLES];
    uint64_t seed = 7;
    struct latency *l = latency_new();
    for (unsigned i = 0; i < N; i++) {
        all[i] = i % 3 == 0 ? 0.25 : (double)(float)(rand_unit(&seed) * (i % 700));     /* many equal ones */
        latency_record(l, all[i], all[i] / 10);
        if (i < 3 || (i % 17 && i < N - 5))
            continue;
        unsigned n = i + 1 < LATENCY_SAMPLES ? i + 1 : LATENCY_SAMPLES;
        memcpy(last, all + i + 1 - n, n * sizeof *last);
        qsort(last, n, sizeof *last, by_value);
        static const double percentiles[] = { 0, 1, 50, 90, 95, 99, 99.9, 100 };
        for (size_t k = 0; k < COUNT_OF(percentiles); k++) {
            double rank = percentiles[k] / 100 * (n - 1);
            unsigned below = (unsigned)rank, above = below + 1 < n ? below + 1 : below;
            double expected = last[below] + (last[above] - last[below]) * (rank - below);
            near(latency_ttft(l, percentiles[k]), expected, 1e-9);
            near(latency_tpot(l, percentiles[k]), expected / 10, 1e-5);
        }
    }
    free(l);
}

static void in_flight_counts(void **state)
{
    (void)state;
    struct latency *l = latency_of(S("model-a"));
    assert_ptr_equal(l, latency_of(S("model-a")));
    assert_ptr_not_equal(l, latency_of(S("model-b")));
    latency_begin(l);
    latency_begin(l);
    latency_end(l);
    assert_int_equal(latency_in_flight(l), 1);
    latency_end(l);
    latency_end(l);
    assert_int_equal(latency_in_flight(l), 0);
}

static void failures_are_a_share_that_fades(void **state)
{
    (void)state;
    struct latency *l = latency_of(S("model-f"));
    assert_true(latency_failures(l) == 0);
    latency_tried(l, false);
    assert_true(latency_failures(l) == 0);
    for (int i = 0; i < 200; i++)
        latency_tried(l, i % 2);
    assert_float_equal(latency_failures(l), .5, .05);
    for (int i = 0; i < 200; i++)
        latency_tried(l, true);
    assert_true(latency_failures(l) > .99 && latency_failures(l) <= 1);
    for (int i = 0; i < 400; i++)
        latency_tried(l, false);
    assert_true(latency_failures(l) < .001);
}

static double gauge(enum metric_id id, const char *window)
{
    return metric_value(metric_cell(id, (str[]){ S("wm"), str_of(window) }));
}

static void windows_forget(void **state)
{
    (void)state;
    uint64_t now = 1000000 * NS_PER_S;
    struct window *w = window_of(S("wm"));
    assert_ptr_equal(w, window_of(S("wm")));
    for (int i = 0; i < 100; i++)
        window_record(w, now, i < 90 ? 0.1 : 2.0, 10, 20, i % 4 == 0);
    windows_publish(now + 30 * NS_PER_S);
    near(gauge(METRIC_WINDOW_REQUESTS, "1m"), 100, 0);
    near(gauge(METRIC_WINDOW_ERROR_RATE, "1m"), 0.25, 1e-12);
    near(gauge(METRIC_WINDOW_LATENCY, "5m"), 0.29, 1e-9);
    near(gauge(METRIC_WINDOW_LATENCY_P50, "1m"), 0.1, 0.03);    /* buckets a factor of 1.41 wide */
    near(gauge(METRIC_WINDOW_LATENCY_P95, "1m"), 2.0, 0.5);
    near(metric_value(metric_cell(METRIC_WINDOW_TOKENS, (str[]){ S("wm"), S("completion"), S("24h") })), 2000, 0);

    windows_publish(now + 120 * NS_PER_S);
    near(gauge(METRIC_WINDOW_REQUESTS, "1m"), 0, 0);
    assert_true(isnan(gauge(METRIC_WINDOW_LATENCY, "1m")));
    assert_true(isnan(gauge(METRIC_WINDOW_ERROR_RATE, "1m")));
    near(gauge(METRIC_WINDOW_REQUESTS, "5m"), 100, 0);

    window_record(w, now + 7200 * NS_PER_S, 1, 0, 0, false);
    windows_publish(now + 7200 * NS_PER_S);
    near(gauge(METRIC_WINDOW_REQUESTS, "1h"), 1, 0);
    near(gauge(METRIC_WINDOW_REQUESTS, "24h"), 101, 0);

    windows_publish(now + 3 * 86400 * NS_PER_S);
    near(gauge(METRIC_WINDOW_REQUESTS, "24h"), 0, 0);
    window_record(NULL, now, 1, 1, 1, false);
}

static void windows_are_bounded(void **state)
{
    (void)state;
    unsigned n = 0;
    for (int i = 0; i < WINDOWS_MAX + 10; i++) {
        char name[2] = { (char)('A' + i / 26), (char)('a' + i % 26) };
        n += window_of((str){ name, 2 }) == NULL;
    }
    assert_int_equal(n, 11);                    /* one was there before */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_data_is_nan),
        cmocka_unit_test(fewer_than_three_give_the_average),
        cmocka_unit_test(the_window_slides),
        cmocka_unit_test(in_flight_counts),
        cmocka_unit_test(failures_are_a_share_that_fades),
        cmocka_unit_test(windows_forget),
        cmocka_unit_test(windows_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
