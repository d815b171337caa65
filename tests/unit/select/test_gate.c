/* Bounds hold as often as they say, also for those who look after every request. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rand.h"
#include "select/gate.h"

static void bounds_are_those_of_the_tables(void **state)
{
    (void)state;
    /* Clopper-Pearson, two-sided 95 %: 0 of 10 -> .3085; 5 of 10 -> .1871, .8129; 3 of 100 -> .0062, .0852 */
    assert_true(fabs(gate_upper(0, 10, .025) - .3085) < 1e-4);
    assert_true(fabs(gate_lower(5, 10, .025) - .1871) < 1e-4 && fabs(gate_upper(5, 10, .025) - .8129) < 1e-4);
    assert_true(fabs(gate_lower(3, 100, .025) - .0062) < 1e-4 && fabs(gate_upper(3, 100, .025) - .0852) < 1e-4);
    assert_true(gate_upper(7, 7, .05) == 1 && gate_lower(0, 7, .05) == 0 && gate_upper(0, 0, .05) == 1);
    assert_true(fabs(gate_upper(100000, 1000000, .05) - .1005) < 1e-4);
    assert_true(fabs(beta_quantile(beta_below(.3, 2.5, 7), 2.5, 7) - .3) < 1e-9);
}

static void the_bet_is_rarely_lost_however_often_one_looks(void **state)
{
    (void)state;
    unsigned opened = 0;
    for (uint64_t run = 0; run < 1000; run++) {         /* the new policy is just too bad: alpha itself */
        struct gate g;
        uint64_t seed = run;
        gate_start(&g, .1, .05);
        enum gate_verdict v = GATE_CLOSED;
        for (int t = 0; t < 2000 && v != GATE_OPEN; t++)
            v = gate_observe(&g, rand_unit(&seed) < .1) == GATE_OPEN ? GATE_OPEN : v;
        opened += v == GATE_OPEN;
    }
    assert_true(opened <= 65);                          /* 5 % and two standard errors */
}

static void a_good_policy_is_let_through_and_a_bad_one_shut_out(void **state)
{
    (void)state;
    unsigned opened = 0, shut = 0, wrong = 0;
    for (uint64_t run = 0; run < 100; run++) {
        struct gate g, h;
        uint64_t seed = run;
        gate_start(&g, .1, .05);
        gate_start(&h, .1, .05);
        enum gate_verdict a = GATE_CLOSED, b = GATE_CLOSED;
        for (int t = 0; t < 1000; t++) {
            a = a ? a : gate_observe(&g, rand_unit(&seed) < .04);
            b = b ? b : gate_observe(&h, rand_unit(&seed) < .2);
        }
        opened += a == GATE_OPEN, shut += b == GATE_SHUT, wrong += (a == GATE_SHUT) + (b == GATE_OPEN);
    }
    assert_true(opened >= 90 && shut >= 90 && wrong <= 2);
}

static void the_running_bound_covers_at_all_times(void **state)
{
    (void)state;
    unsigned missed = 0;
    for (uint64_t run = 0; run < 100; run++) {
        struct gate g;
        uint64_t seed = run;
        gate_start(&g, .5, .05);
        bool covers = true;
        for (int t = 0; t < 300; t++) {
            gate_observe(&g, rand_unit(&seed) < .2);
            covers = covers && gate_bound(&g) >= .2;
        }
        missed += !covers;
    }
    assert_true(missed <= 5);
}

static void a_sequence_stops_at_the_first_that_fails(void **state)
{
    (void)state;
    const uint64_t k[] = { 0, 1, 30, 0 }, n[] = { 200, 300, 320, 1000 };
    assert_int_equal(gate_sequence(k, n, 4, .05, .05), 1);
    const uint64_t bad[] = { 50 }, few[] = { 100 };
    assert_int_equal(gate_sequence(bad, few, 1, .05, .05), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_are_those_of_the_tables),
        cmocka_unit_test(the_bet_is_rarely_lost_however_often_one_looks),
        cmocka_unit_test(a_good_policy_is_let_through_and_a_bad_one_shut_out),
        cmocka_unit_test(the_running_bound_covers_at_all_times),
        cmocka_unit_test(a_sequence_stops_at_the_first_that_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
