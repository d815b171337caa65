/* Cascades: no sequence of models beats the plan, whatever is enumerated. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rand.h"
#include "base/str.h"
#include "select/cascade.h"

enum { MODELS = 5 };

struct play { double quality, cost; };

/* What a sequence is expected to bring: the first n_judged are judged, and `last` is what is given when none was accepted. */
static struct play play(const struct cascade_model *m, const struct cascade_terms *t, const uint32_t *order, uint32_t n_judged,
                        uint32_t last)
{
    struct play p = { 0, 0 };
    double reached = 1, e = t->judge_error, refused = -1;
    for (uint32_t i = 0; i < n_judged; i++) {
        double q = m[order[i]].chance, accepted = q * (1 - e) + (1 - q) * e;
        p.cost += reached * (m[order[i]].cost + t->judge_cost);
        p.quality += reached * q * (1 - e);
        if (order[i] == last)
            refused = accepted < 1 ? q * e / (1 - accepted) : 0;
        reached *= 1 - accepted;
    }
    p.quality += reached * (refused >= 0 ? refused : m[last].chance);
    p.cost += refused >= 0 ? 0 : reached * m[last].cost;
    return p;
}

/* The best value over all orders of all subsets and all ends. */
static double best_of_all(const struct cascade_model *m, uint32_t n, const struct cascade_terms *t, uint32_t *order, uint32_t at)
{
    double best = -INFINITY;
    for (uint32_t last = 0; last < n; last++) {
        struct play p = play(m, t, order, at, last);
        best = fmax(best, p.quality - t->price * p.cost);
    }
    for (uint32_t next = 0; next < n && at < MODELS; next++) {
        bool is_there = false;
        for (uint32_t i = 0; i < at; i++)
            is_there |= order[i] == next;
        if (is_there)
            continue;
        order[at] = next;
        best = fmax(best, best_of_all(m, n, t, order, at + 1));
    }
    return best;
}

static void no_sequence_beats_the_plan(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (uint32_t round = 0; round < 400; round++) {
        struct cascade_model m[MODELS];
        uint32_t n = 1 + (uint32_t)rand_below(&seed, MODELS), order[MODELS];
        for (uint32_t i = 0; i < n; i++)
            m[i] = (struct cascade_model){ rand_below(&seed, 8) ? rand_unit(&seed) : (double)rand_below(&seed, 2), rand_unit(&seed) };
        struct cascade_terms t = { .price = round % 4 ? 2 * rand_unit(&seed) : 0, .judge_error = round % 3 ? 0.5 * rand_unit(&seed) : 0,
                                   .judge_cost = round % 2 ? 0.2 * rand_unit(&seed) : 0 };
        struct cascade plan;
        cascade_plan(m, n, &t, &plan);
        struct play p = play(m, &t, plan.order, plan.n_judged, plan.last);
        assert_true(fabs(p.quality - plan.quality) < 1e-9 && fabs(p.cost - plan.cost) < 1e-9);
        assert_true(fabs(p.quality - t.price * p.cost - plan.value) < 1e-9);
        assert_true(plan.value > best_of_all(m, n, &t, order, 0) - 1e-9);
    }
}

static void a_sure_judge_tries_the_cheap_one_first(void **state)
{
    (void)state;
    const struct cascade_model m[] = { { .9, .010 }, { .6, .001 }, { .95, .1 } };
    struct cascade plan;
    cascade_plan(m, 3, &(struct cascade_terms){ .price = 20, .judge_cost = 1e-6 }, &plan);
    assert_int_equal(plan.n, 2);                /* the dear one costs two points a call and brings less than one */
    assert_int_equal(plan.order[0], 1);
    assert_int_equal(plan.order[1], 0);
    assert_int_equal(plan.n_judged, 1);
    assert_true(fabs(plan.quality - (.6 + .4 * .9)) < 1e-12);
    assert_true(fabs(plan.cost - (.001 + .4 * .010 + 1e-6)) < 1e-12);
}

static void a_judge_of_chance_is_not_asked(void **state)
{
    (void)state;
    const struct cascade_model m[] = { { .9, .010 }, { .6, .001 } };
    struct cascade plan;
    cascade_plan(m, 2, &(struct cascade_terms){ .price = 5, .judge_error = .5 }, &plan);
    assert_int_equal(plan.n, 1);
    assert_int_equal(plan.n_judged, 0);
    assert_int_equal(plan.order[0], 0);
}

static void a_dear_judge_ends_the_cascade(void **state)
{
    (void)state;
    const struct cascade_model m[] = { { .9, .010 }, { .6, .001 } };
    struct cascade plan;
    cascade_plan(m, 2, &(struct cascade_terms){ .price = 5, .judge_cost = .001 }, &plan);
    assert_int_equal(plan.n_judged, 1);
    cascade_plan(m, 2, &(struct cascade_terms){ .price = 5, .judge_cost = .1 }, &plan);
    assert_int_equal(plan.n_judged, 0);
}

static void a_good_models_refused_answer_is_taken_after_all(void **state)
{
    (void)state;
    const struct cascade_model m[] = { { .95, .001 }, { .05, .001 } };
    struct cascade plan;
    cascade_plan(m, 2, &(struct cascade_terms){ .judge_error = .1 }, &plan);
    assert_int_equal(plan.last, 0);             /* refused, it is right with .095 / .14 */
    assert_true(plan.quality >= .95);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_sequence_beats_the_plan),
        cmocka_unit_test(a_sure_judge_tries_the_cheap_one_first),
        cmocka_unit_test(a_judge_of_chance_is_not_asked),
        cmocka_unit_test(a_dear_judge_ends_the_cascade),
        cmocka_unit_test(a_good_models_refused_answer_is_taken_after_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
