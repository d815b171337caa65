/* The propensity is what the die was thrown with; evidence adds, comes off and merges exactly; linear arms invert what they say
 * they invert. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "select/bandit.h"

static const struct bandit_rules thompson = { .scale = 1, .incumbent = UINT32_MAX };

static double sum(const double *v, uint32_t n)
{
    double s = 0;
    for (uint32_t i = 0; i < n; i++)
        s += v[i];
    return s;
}

static void chances_are_a_distribution(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (int round = 0; round < 200; round++) {
        struct arm arms[100];
        double chance[100];
        uint32_t n = 1 + (uint32_t)rand_below(&seed, 100);
        for (uint32_t i = 0; i < n; i++)
            arms[i] = (struct arm){ .mean = rand_unit(&seed), .deviation = rand_unit(&seed) * .2, .count = 10,
                                    .is_out = rand_below(&seed, 10) == 0 };
        struct bandit_rules rules = { .scale = 1, .floor = .02, .incumbent = UINT32_MAX };
        bandit_chances(&rules, arms, n, chance);
        uint32_t open = 0;
        for (uint32_t i = 0; i < n; i++) {
            assert_true(chance[i] >= 0 && chance[i] <= 1 + 1e-12);
            if (arms[i].is_out)
                assert_true(chance[i] == 0);
            else
                assert_true(chance[i] >= .02 / n - 1e-12);
            open += !arms[i].is_out;
        }
        assert_true(fabs(sum(chance, n) - (open ? 1 : 0)) < 1e-9);
    }
}

static void chances_agree_with_sampling(void **state)
{
    (void)state;
    struct arm arms[] = { { .mean = .60, .deviation = .10 }, { .mean = .55, .deviation = .10 }, { .mean = .50, .deviation = .02 },
                          { .mean = .40, .deviation = .20 } };
    double chance[4], seen[4] = { 0 };
    bandit_chances(&thompson, arms, 4, chance);
    uint64_t seed = 7;
    enum { DRAWS = 200000 };
    for (int d = 0; d < DRAWS; d++) {           /* Box and Muller */
        int best = 0;
        double top = -1e9;
        for (int i = 0; i < 4; i++) {
            double z = sqrt(-2 * log(1 - rand_unit(&seed))) * cos(2 * M_PI * rand_unit(&seed));
            double v = arms[i].mean + arms[i].deviation * z;
            if (v > top)
                top = v, best = i;
        }
        seen[best] += 1.0 / DRAWS;
    }
    for (int i = 0; i < 4; i++)
        assert_true(fabs(seen[i] - chance[i]) < .02);
}

static void the_die_lands_as_often_as_it_says(void **state)
{
    (void)state;
    double chance[] = { .5, 0, .3, .2 }, seen[4] = { 0 };
    for (uint64_t s = 0; s < 100000; s++) {
        uint32_t i = bandit_throw(chance, 4, s);
        assert_int_equal(i, bandit_throw(chance, 4, s));
        seen[i] += 1e-5;
    }
    for (int i = 0; i < 4; i++)
        assert_true(fabs(seen[i] - chance[i]) < .01);
    assert_true(seen[1] == 0);
    double none[] = { 0, 0 };
    assert_int_equal(bandit_throw(none, 2, 1), UINT32_MAX);
}

static void greed_takes_the_best_and_a_margin_protects_the_incumbent(void **state)
{
    (void)state;
    struct arm arms[] = { { .mean = .70 }, { .mean = .72 } };
    double chance[2];
    struct bandit_rules greed = { .scale = 0, .incumbent = UINT32_MAX };
    bandit_chances(&greed, arms, 2, chance);
    assert_true(chance[1] == 1);
    struct bandit_rules careful = { .scale = 0, .incumbent = 0, .margin = .05 };
    bandit_chances(&careful, arms, 2, chance);
    assert_true(chance[0] == 1);
}

static void pending_pulls_make_an_arm_less_tempting(void **state)
{
    (void)state;
    struct arm arms[] = { { .mean = .6, .deviation = .05, .count = 50 }, { .mean = .5, .deviation = .2, .count = 2 } };
    double before[2], after[2];
    bandit_chances(&thompson, arms, 2, before);
    arms[1].pending = 50;
    bandit_chances(&thompson, arms, 2, after);
    assert_true(after[1] < before[1] / 2);
}

static void an_unknown_value_is_no_value(void **state)
{
    (void)state;
    struct arm arms[] = { { .mean = NAN, .deviation = .1 }, { .mean = .1 } };
    double chance[2];
    bandit_chances(&thompson, arms, 2, chance);
    assert_true(chance[1] == 1);
    arms[1].mean = NAN;
    bandit_chances(&thompson, arms, 2, chance);     /* nothing is known of anybody: evenly */
    assert_true(chance[0] == .5 && chance[1] == .5);
}

static void evidence_comes_off_as_it_went_on(void **state)
{
    (void)state;
    struct cells c = { 0 };
    cells_add(&c, 3, 77, 1, .5, 1);
    struct belief before = cells_belief(&c, 3, 77, .5, .2);
    for (int i = 0; i < 50; i++)
        cells_add(&c, 3, 77, i % 2, .7, 1);
    for (int i = 0; i < 50; i++)
        cells_add(&c, 3, 77, i % 2, .7, -1);
    struct belief after = cells_belief(&c, 3, 77, .5, .2);
    assert_true(fabs(after.mean - before.mean) < 1e-12 && fabs(after.deviation - before.deviation) < 1e-12);
    cells_free(&c);
}

static void evidence_moves_a_belief_and_narrows_it(void **state)
{
    (void)state;
    struct cells c = { 0 };
    struct belief b = cells_belief(&c, 0, 5, .5, .2);
    assert_true(b.mean == .5 && b.count == 0 && b.deviation >= .2);
    for (int i = 0; i < 200; i++)
        cells_add(&c, 0, 5, .9, .5, 1);
    b = cells_belief(&c, 0, 5, .5, .2);
    assert_true(b.mean > .85 && b.deviation < .05);
    b = cells_belief(&c, 0, 6, .5, .2);   /* another kind of query: the model's offset, less sure */
    assert_true(b.mean > .8 && b.deviation > .09);
    cells_reset(&c, 0);
    b = cells_belief(&c, 0, 5, .5, .01);
    assert_true(b.mean == .5 && b.deviation > .2);      /* what was sure is doubtful now */
    cells_free(&c);
}

static void two_instances_know_what_one_would(void **state)
{
    (void)state;
    struct cells one = { 0 }, a = { 0 }, b = { 0 }, both = { 0 };
    uint64_t seed = 3;
    for (int i = 0; i < 3000; i++) {
        uint32_t m = (uint32_t)rand_below(&seed, 20);
        uint64_t k = 1 + rand_below(&seed, 30);
        double r = rand_unit(&seed);
        cells_add(&one, m, k, r, .5, 1);
        cells_add(i % 2 ? &a : &b, m, k, r, .5, 1);
    }
    assert_true(cells_merge(&both, &a) && cells_merge(&both, &b));
    for (uint32_t m = 0; m < 20; m++)
        for (uint64_t k = 0; k < 31; k++) {
            struct belief x = cells_belief(&one, m, k, .5, .1), y = cells_belief(&both, m, k, .5, .1);
            assert_true(fabs(x.mean - y.mean) < 1e-9 && fabs(x.deviation - y.deviation) < 1e-9);
        }
    cells_free(&one), cells_free(&a), cells_free(&b), cells_free(&both);
}

static void a_linear_arm_learns_takes_back_and_inverts_what_it_says(void **state)
{
    (void)state;
    enum { D = 12, N = 5000 };
    static struct linear l, before;
    static double a[D][D];
    uint64_t seed = 11;
    double truth[D], x[D];
    for (int i = 0; i < D; i++)
        truth[i] = rand_unit(&seed) - .5;
    linear_start(&l, D, 1);
    for (int i = 0; i < D; i++)
        a[i][i] = 1;
    for (int t = 0; t < N; t++) {
        double y = .1 * (rand_unit(&seed) - .5);
        for (int i = 0; i < D; i++)
            y += truth[i] * (x[i] = rand_unit(&seed));
        for (int i = 0; i < D; i++)
            for (int k = 0; k < D; k++)
                a[i][k] += x[i] * x[k];
        linear_add(&l, x, y, 1);
    }
    double mean = 0;
    for (int i = 0; i < D; i++)
        mean += truth[i] * x[i];
    assert_true(fabs(linear_belief(&l, x, NULL).mean - mean) < .01);
    for (int i = 0; i < D; i++)                 /* A times its inverse is one */
        for (int k = 0; k < D; k++) {
            double v = 0;
            for (int j = 0; j < D; j++)
                v += a[i][j] * l.inverse[j * D + k];
            assert_true(fabs(v - (i == k)) < 1e-6);
        }
    before = l;
    linear_add(&l, x, 9, 1);
    assert_true(fabs(linear_belief(&l, x, NULL).mean - linear_belief(&before, x, NULL).mean) > 1e-3);
    linear_add(&l, x, 9, -1);
    assert_true(fabs(linear_belief(&l, x, NULL).mean - linear_belief(&before, x, NULL).mean) < 1e-9);
}

/* Three arms that all stray by .3 and one that has said nothing: it starts where the others are, and its own word then counts. */
static void a_new_arm_starts_with_what_all_have_in_common(void **state)
{
    (void)state;
    static struct linear arms[4], common;
    double x[1] = { 1 };
    uint64_t seed = 8;
    linear_start(&common, 1, .1);
    for (int m = 0; m < 4; m++)
        linear_start(&arms[m], 1, 20);
    for (int t = 0; t < 600; t++)
        linear_add(&arms[t % 3], x, .3 + .2 * (rand_unit(&seed) - .5), 1);
    for (int m = 0; m < 3; m++)
        linear_witness(&common, &arms[m]);
    const double *theta = linear_theta(&common);
    assert_true(fabs(theta[0] - .3) < .02);
    assert_true(fabs(linear_belief(&arms[3], x, theta).mean - .3) < .02);
    assert_true(linear_belief(&arms[3], x, NULL).mean == 0);
    for (int t = 0; t < 500; t++)
        linear_add(&arms[3], x, -.5, 1);
    assert_true(linear_belief(&arms[3], x, theta).mean < -.4);
}

static void shares_are_chances_and_greed_takes_the_largest(void **state)
{
    (void)state;
    struct arm arms[] = { { .share = 3 }, { .share = 1 }, { .share = 4, .is_out = true }, { .share = 4, .is_screened = true } };
    struct bandit_rules rules = { .scale = .3, .floor = .03, .incumbent = UINT32_MAX, .by_share = true };
    double chance[4];
    bandit_chances(&rules, arms, 4, chance);
    assert_true(fabs(chance[0] - (.97 * .75 + .01)) < 1e-12 && fabs(chance[1] - (.97 * .25 + .01)) < 1e-12);
    assert_true(chance[2] == 0 && fabs(chance[3] - .01) < 1e-12);       /* what is screened can still be judged from the log */
    rules.scale = rules.floor = 0;
    bandit_chances(&rules, arms, 4, chance);
    assert_true(chance[0] == 1);
}

/* The condition of spec 05, 4.5: with width .1 and ridge .05 an untried arm is not worth a try, with width 1 and ridge 1 it
 * is. */
static void the_published_width_locks_on_to_a_mediocre_arm(void **state)
{
    (void)state;
    static struct linear arms[2];
    for (int wide = 0; wide < 2; wide++) {
        uint64_t seed = 5;
        double x[1] = { 1 };
        int good = 0;
        for (int m = 0; m < 2; m++)
            linear_start(&arms[m], 1, wide ? 1 : .05);
        for (int t = 0; t < 2000; t++) {
            double s[2];
            for (int m = 0; m < 2; m++) {
                struct belief b = linear_belief(&arms[m], x, NULL);
                s[m] = b.mean + (wide ? 1 : .1) * b.deviation;
            }
            int m = s[1] > s[0];                /* the mediocre arm is met first */
            linear_add(&arms[m], x, rand_unit(&seed) < (m ? .88 : .65), 1);
            good += t >= 1000 && m == 1;
        }
        assert_true(wide ? good > 800 : good < 200);
    }
}

static void the_screen_keeps_the_best_and_leaves_the_others_the_floor(void **state)
{
    (void)state;
    struct screened c[20];
    struct arm arms[20] = { 0 };
    double chance[20];
    for (int i = 0; i < 20; i++)
        c[i] = (struct screened){ .likeness = (i * 7 % 20) / 20.0, .success = .5, .load = 0, .is_available = true };
    arms[17].is_out = true;                     /* would be the best */
    bandit_screen(c, 20, 3, arms);
    for (int i = 0; i < 20; i++) {
        bool is_kept = c[i].likeness > .775 && i != 17;
        assert_true(arms[i].is_screened == !is_kept);
        arms[i].mean = arms[i].is_screened ? .9 : .5;
        arms[i].deviation = .1;
    }
    struct bandit_rules rules = { .scale = 1, .floor = .19, .incumbent = UINT32_MAX };
    bandit_chances(&rules, arms, 20, chance);
    for (int i = 0; i < 20; i++)
        assert_true(i == 17 ? chance[i] == 0 : arms[i].is_screened ? fabs(chance[i] - .01) < 1e-12 : chance[i] > .2);
    memset(arms, 0, sizeof arms);
    bandit_screen(c, 3, 3, arms);               /* no more than it keeps: all stay */
    assert_false(arms[0].is_screened || arms[1].is_screened || arms[2].is_screened);
    for (int i = 0; i < 20; i++)                /* success outweighs what a loaded candidate lacks of stability */
        c[i] = (struct screened){ .likeness = .5, .success = i == 4, .load = i == 4 ? 1 : 0, .latency_ms = 100 * i,
                                  .is_available = true };
    bandit_screen(c, 20, 2, arms);
    assert_false(arms[4].is_screened || arms[0].is_screened);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chances_are_a_distribution),
        cmocka_unit_test(chances_agree_with_sampling),
        cmocka_unit_test(the_die_lands_as_often_as_it_says),
        cmocka_unit_test(greed_takes_the_best_and_a_margin_protects_the_incumbent),
        cmocka_unit_test(pending_pulls_make_an_arm_less_tempting),
        cmocka_unit_test(an_unknown_value_is_no_value),
        cmocka_unit_test(evidence_comes_off_as_it_went_on),
        cmocka_unit_test(evidence_moves_a_belief_and_narrows_it),
        cmocka_unit_test(two_instances_know_what_one_would),
        cmocka_unit_test(a_linear_arm_learns_takes_back_and_inverts_what_it_says),
        cmocka_unit_test(a_new_arm_starts_with_what_all_have_in_common),
        cmocka_unit_test(shares_are_chances_and_greed_takes_the_largest),
        cmocka_unit_test(the_published_width_locks_on_to_a_mediocre_arm),
        cmocka_unit_test(the_screen_keeps_the_best_and_leaves_the_others_the_floor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
