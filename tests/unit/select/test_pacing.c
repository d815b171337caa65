/* Whatever comes, no window is overspent; and the money is spent, not hoarded. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "select/pacing.h"

enum { N = 4000, FLIGHT = 16 };

static const double quality[3] = { .5, .7, .8 };
static const int64_t typical[3] = { 10, 100, 1000 };        /* most: three times that */

struct result { int64_t most_in_window, total; uint64_t refused; double quality; };

/* A stream with gusts, prices that jump, answers that cost up to their bound, sixteen requests in flight. */
static struct result run(bool sliding, uint64_t window, int64_t budget, uint64_t seed)
{
    struct pacing p;
    static int64_t cost[N];
    static uint64_t at[N];
    struct { int64_t most, cost; unsigned i; } flight[FLIGHT] = { { 0, 0, 0 } };
    struct result out = { 0 };
    pacing_start(&p, &(struct pacing_rules){ .budget = budget, .window = window, .is_sliding = sliding, .step = .01 }, 0);
    uint64_t now = 0;
    for (unsigned i = 0; i < N; i++) {
        now += i / 500 % 2 ? rand_below(&seed, 3) : rand_below(&seed, 30);
        at[i] = now;
        cost[i] = 0;
        unsigned slot = i % FLIGHT;
        if (flight[slot].most) {
            assert_true(pacing_settle(&p, flight[slot].most, flight[slot].cost, 15, now));
            cost[flight[slot].i] = flight[slot].cost;
            at[flight[slot].i] = now;               /* money is spent when it is known */
            flight[slot].most = 0;
        }
        unsigned best = 3;
        double top = -1e9;
        for (unsigned m = 0; m < 3; m++) {
            double v = quality[m] + .2 * rand_unit(&seed) - pacing_price(&p) * (double)typical[m] / 1e9;
            if (v > top && pacing_admits(&p, 3 * typical[m], 3 * typical[0], now))
                top = v, best = m;
        }
        if (best == 3 || !pacing_reserve(&p, 3 * typical[best], now)) {
            out.refused++;
            continue;
        }
        out.quality += quality[best] / N;
        flight[slot].most = 3 * typical[best];
        flight[slot].cost = (int64_t)rand_below(&seed, (uint64_t)(3 * typical[best] + 1));
        flight[slot].i = i;
    }
    for (unsigned i = 0; i < N; i++) {
        int64_t sum = 0;
        for (unsigned k = 0; k < N; k++)
            sum += (sliding ? at[k] >= at[i] && at[k] < at[i] + window : at[k] / window == at[i] / window) ? cost[k] : 0;
        out.most_in_window = sum > out.most_in_window ? sum : out.most_in_window;
        out.total += cost[i];
    }
    return out;
}

static void no_window_is_ever_overspent(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++)
        for (int sliding = 0; sliding < 2; sliding++) {
            int64_t budget = (int64_t)(5000 << seed % 4);
            struct result r = run(sliding, 3200, budget, seed);
            assert_true(r.most_in_window <= budget);
        }
}

static void the_money_is_spent_and_buys_quality(void **state)
{
    (void)state;
    struct result poor = run(false, 6400, 40000, 3), rich = run(false, 6400, 200000, 3);
    assert_true(rich.quality > poor.quality + .05);
    if (!(poor.quality > .5)) fail_msg("quality %.3f refused %llu most %lld", poor.quality, (unsigned long long)poor.refused,
                                       (long long)poor.most_in_window);
    assert_true((double)poor.most_in_window > .6 * 40000);
}

static void the_cheapest_is_served_to_the_last(void **state)
{
    (void)state;
    struct pacing p;
    pacing_start(&p, &(struct pacing_rules){ .budget = 1000, .window = 1000, .step = .01, .requests = 100 }, 0);
    unsigned served = 0;
    for (uint64_t now = 0; now < 1000; now += 10) {
        int64_t most = pacing_admits(&p, 500, 10, now) ? 500 : 10;      /* greedy for the dear one */
        if (pacing_reserve(&p, most, now)) {
            pacing_settle(&p, most, most == 500 ? 300 : 7, 7, now);
            served++;
        }
    }
    assert_int_equal(served, 100);
}

static void a_reservation_binds_those_who_come_later(void **state)
{
    (void)state;
    struct pacing p;
    pacing_start(&p, &(struct pacing_rules){ .budget = 100, .window = 1000, .step = .01 }, 0);
    assert_true(pacing_reserve(&p, 60, 1));
    assert_false(pacing_reserve(&p, 60, 2));
    assert_int_equal(p.refused, 1);
    assert_false(pacing_settle(&p, 60, 90, 1, 3));      /* the bound was wrong: told, and counted */
    assert_int_equal(pacing_left(&p, 4), 10);
    assert_int_equal(pacing_left(&p, 1000), 100);       /* a new window */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_window_is_ever_overspent),
        cmocka_unit_test(the_money_is_spent_and_buys_quality),
        cmocka_unit_test(the_cheapest_is_served_to_the_last),
        cmocka_unit_test(a_reservation_binds_those_who_come_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
