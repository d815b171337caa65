/* Estimates are right with intervals that cover, and there is none where the log is blind. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rand.h"
#include "select/off_policy.h"

static const double rate[2][4] = { { .9, .5, .3, .6 }, { .2, .4, .8, .6 } };        /* by kind and arm */

/* A log of a policy that prefers arm 0; the new one takes arm 2 for kind 1 and arm 0 for kind 0: .85. */
static struct ope_report simulate(uint64_t seed, int n, double wrong_model, struct ope *o)
{
    static const double logged[4] = { .7, .1, .1, .1 };
    for (int i = 0; i < n; i++) {
        int kind = (int)rand_below(&seed, 2), arm = 0, want = kind ? 2 : 0;
        double u = rand_unit(&seed);
        while (arm < 3 && (u -= logged[arm]) >= 0)
            arm++;
        struct ope_event e = {
            .propensity = logged[arm], .target = arm == want, .reward = rand_unit(&seed) < rate[kind][arm],
            .predicted = rate[kind][arm] + wrong_model, .expected = rate[kind][want] + wrong_model,
        };
        ope_add(o, &e);
    }
    return ope_close(o);
}

static void intervals_cover_the_truth(void **state)
{
    (void)state;
    unsigned ips = 0, snips = 0, dr = 0, dr_wrong = 0;
    double narrow = 0;
    enum { RUNS = 300 };
    for (uint64_t run = 0; run < RUNS; run++) {
        struct ope o = { 0 }, w = { 0 };
        struct ope_report r = simulate(run, 2000, 0, &o), x = simulate(run, 2000, -.3, &w);
        assert_null(r.refused);
        ips += fabs(r.ips.mean - .85) < 1.96 * r.ips.error;
        snips += fabs(r.snips.mean - .85) < 1.96 * r.snips.error;
        dr += fabs(r.dr.mean - .85) < 1.96 * r.dr.error;
        dr_wrong += fabs(x.dr.mean - .85) < 1.96 * x.dr.error;
        narrow += r.dr.error / r.ips.error / RUNS;
    }
    assert_true(ips > RUNS * .91 && snips > RUNS * .91 && dr > RUNS * .91 && dr_wrong > RUNS * .91);
    assert_true(narrow < .7);                   /* a model of rewards takes noise away */
}

static void what_the_log_cannot_tell_is_refused(void **state)
{
    (void)state;
    struct ope o = { 0 };
    for (int i = 0; i < 100; i++)
        ope_add(&o, &(struct ope_event){ .propensity = NAN, .target = 1, .reward = 1, .predicted = NAN });
    assert_non_null(ope_close(&o).refused);     /* no propensity at all */
    o = (struct ope){ 0 };
    for (int i = 0; i < 1000; i++)              /* half of the new policy's choices are never logged */
        ope_add(&o, &(struct ope_event){ .propensity = 1, .target = i % 2, .reward = 1, .predicted = NAN });
    assert_non_null(ope_close(&o).refused);
    o = (struct ope){ 0 };
    for (int i = 0; i < 1000; i++)              /* the caller knows that it cannot be */
        ope_add(&o, &(struct ope_event){ .propensity = 1, .target = 1, .reward = 1, .predicted = NAN, .missing = .2 });
    assert_non_null(ope_close(&o).refused);
    o = (struct ope){ 0 };
    for (int i = 0; i < 1000; i++)              /* a single event counts for all */
        ope_add(&o, &(struct ope_event){ .propensity = i ? .99 : 1e-4, .target = i ? .1 : 1, .reward = 1, .predicted = NAN });
    assert_non_null(ope_close(&o).refused);
    o = (struct ope){ 0 };
    assert_non_null(ope_close(&o).refused);
}

static void sums_of_two_logs_are_the_sum_of_logs(void **state)
{
    (void)state;
    struct ope all = { 0 }, a = { 0 }, b = { 0 };
    simulate(1, 500, 0, &all), simulate(2, 700, 0, &all);
    simulate(1, 500, 0, &a), simulate(2, 700, 0, &b);
    ope_merge(&a, &b);
    struct ope_report x = ope_close(&all), y = ope_close(&a);
    assert_true(fabs(x.dr.mean - y.dr.mean) < 1e-12 && fabs(x.snips.error - y.snips.error) < 1e-12);
    assert_true(fabs(x.difference.mean - y.difference.mean) < 1e-12 && fabs(x.effective - y.effective) < 1e-6);
}

static void the_logged_policy_differs_from_itself_by_nothing(void **state)
{
    (void)state;
    struct ope o = { 0 };
    uint64_t seed = 1;
    for (int i = 0; i < 500; i++)
        ope_add(&o, &(struct ope_event){ .propensity = .3, .target = .3, .reward = rand_unit(&seed), .predicted = NAN });
    struct ope_report r = ope_close(&o);
    assert_null(r.refused);
    assert_true(fabs(r.difference.mean) < 1e-12 && fabs(r.ips.mean - r.logged.mean) < 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals_cover_the_truth),
        cmocka_unit_test(what_the_log_cannot_tell_is_refused),
        cmocka_unit_test(sums_of_two_logs_are_the_sum_of_logs),
        cmocka_unit_test(the_logged_policy_differs_from_itself_by_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
