/* A change is found soon and dated well, noise raises no alarm, an arm that breaks its form is out within twenty calls. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "select/change.h"

static void an_arm_that_loses_half_its_answers_is_found_within_a_hundred_outcomes(void **state)
{
    (void)state;
    static const double rates[] = { .5, .7, .88 };
    for (unsigned k = 0; k < 3; k++) {
        unsigned late = 0, most = 0;
        for (uint64_t run = 0; run < 200; run++) {
            struct change c = { 0 };
            uint64_t seed = run * 1000 + k;
            struct change_found f = { 0 };
            for (int t = 0; t < 300; t++)
                change_observe(&c, rand_unit(&seed) < rates[k], rates[k], .02, 1e-4);
            unsigned t = 0;
            while (t < 400 && !f.since) {
                f = change_observe(&c, rand_unit(&seed) < rates[k] / 2, rates[k], .02, 1e-4);
                t++;
            }
            late += t > 100;
            most = t > most ? t : most;
            if (f.since)
                assert_true(f.after < f.before);
        }
        static const unsigned may[] = { 120, 30, 4 };   /* of 200 runs; half of .5 is a small change */
        if (late > may[k] || most >= 400) fail_msg("rate %.2f: %u of 200 later than 100, the last after %u", rates[k], late,
                                                   most);
    }
}

static void noise_raises_no_alarm(void **state)
{
    (void)state;
    unsigned alarms = 0;
    for (uint64_t run = 0; run < 100; run++) {
        struct change c = { 0 };
        uint64_t seed = run;
        for (int t = 0; t < 2000; t++) {
            double p = .4 + .5 * rand_unit(&seed);      /* every query has its own expectation */
            alarms += change_observe(&c, rand_unit(&seed) < p, p, .03, 1e-4).since > 0;
        }
    }
    assert_true(alarms <= 10);                          /* in 200,000 outcomes */
}

static void an_unsure_prediction_is_no_change(void **state)
{
    (void)state;
    struct change c = { 0 };
    uint64_t seed = 9;
    unsigned alarms = 0;
    for (int t = 0; t < 100; t++)
        alarms += change_observe(&c, rand_unit(&seed) < .4, .7, .2, 1e-4).since > 0;
    assert_int_equal(alarms, 0);
    assert_int_equal(change_observe(&c, NAN, .5, 0, 1e-4).since, 0);
}

static void cusum_tells_worse_from_better(void **state)
{
    (void)state;
    struct cusum c = { 0 };
    uint64_t seed = 4;
    int found = 0, t;
    for (t = 0; t < 1000; t++)
        found += cusum_observe(&c, rand_unit(&seed) < .7, .7, .1, 6) != 0;
    assert_true(found <= 1);
    for (t = 0, found = 0; t < 200 && !found; t++)
        found = cusum_observe(&c, rand_unit(&seed) < .3, .7, .1, 6);
    assert_int_equal(found, -1);
    for (t = 0, found = 0; t < 200 && !found; t++)
        found = cusum_observe(&c, rand_unit(&seed) < .98, .5, .1, 6);
    assert_int_equal(found, 1);
}

static unsigned calls_until_out(double fails, uint64_t seed, unsigned most)
{
    struct breaker b = { 0 };
    unsigned n = 0;
    while (n < most && breaker_allows(&b, n)) {
        breaker_observe(&b, rand_unit(&seed) < fails, n, 1000000);
        n++;
    }
    return n;
}

static void a_broken_arm_is_dropped_within_twenty_calls(void **state)
{
    (void)state;
    unsigned over = 0, total = 0;
    for (uint64_t run = 0; run < 2000; run++) {
        unsigned n = calls_until_out(.86, run, 1000);   /* the worst prompt-mode variant of bfcl */
        over += n > 20;
        total += n;
    }
    assert_int_equal(over, 0);
    assert_true(total < 2000 * 8);
    unsigned dropped = 0;
    for (uint64_t run = 0; run < 200; run++)
        dropped += calls_until_out(.05, run, 1000) < 1000;
    assert_true(dropped <= 4);
}

static void a_dropped_arm_comes_back_by_a_trial(void **state)
{
    (void)state;
    struct breaker b = { 0 };
    for (int i = 0; i < 5; i++)
        breaker_observe(&b, true, 0, 100);
    assert_false(breaker_allows(&b, 99));
    assert_true(breaker_allows(&b, 100));
    assert_false(breaker_allows(&b, 101));              /* one trial at a time */
    breaker_observe(&b, true, 110, 100);
    assert_false(breaker_allows(&b, 309));              /* twice the wait */
    assert_true(breaker_allows(&b, 310));
    breaker_observe(&b, false, 320, 100);
    assert_true(breaker_allows(&b, 321));
    breaker_observe(&b, true, 330, 100);
    breaker_observe(&b, true, 331, 100);
    breaker_observe(&b, true, 332, 100);
    assert_false(breaker_allows(&b, 333));              /* on parole: three failures are enough */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_arm_that_loses_half_its_answers_is_found_within_a_hundred_outcomes),
        cmocka_unit_test(noise_raises_no_alarm),
        cmocka_unit_test(an_unsure_prediction_is_no_change),
        cmocka_unit_test(cusum_tells_worse_from_better),
        cmocka_unit_test(a_broken_arm_is_dropped_within_twenty_calls),
        cmocka_unit_test(a_dropped_arm_comes_back_by_a_trial),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
