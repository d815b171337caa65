/* Compositions of models: the search finds what trying every subset finds, and the greedy way comes near. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rand.h"
#include "select/compose.h"

enum { MODELS = 12, KINDS = 6, MANY = 22 };

struct instance { struct compose c; double worth[KINDS * MANY], frequency[KINDS], size[MANY]; };

static void instance_make(struct instance *i, uint32_t n, uint64_t *seed)
{
    i->c = (struct compose){ .n_models = n, .n_kinds = 1 + (uint32_t)rand_below(seed, KINDS), .worth = i->worth,
                             .frequency = i->frequency, .size = i->size };
    double sizes = 0;
    for (uint32_t k = 0; k < i->c.n_kinds; k++)
        i->frequency[k] = rand_below(seed, 6) ? rand_unit(seed) : 0;
    for (uint32_t m = 0; m < n; m++) {
        double skill = rand_unit(seed);
        sizes += i->size[m] = rand_below(seed, 8) ? 1 + 99 * rand_unit(seed) * skill : 0;      /* the good ones tend to be large */
        for (uint32_t k = 0; k < i->c.n_kinds; k++)     /* steps of a tenth, so that there are ties; and below 0, as with a price */
            i->worth[k * n + m] = round(10 * (0.6 * skill + 0.6 * rand_unit(seed) - 0.2)) / 10;
    }
    i->c.budget = sizes * rand_unit(seed);
}

/* The best value over all subsets, and the least size that has it. */
static double every_subset(const struct compose *c, double *size)
{
    double best = -HUGE_VAL;
    for (uint32_t set = 1; set < 1u << c->n_models; set++) {
        bool is_chosen[MODELS];
        for (uint32_t m = 0; m < c->n_models; m++)
            is_chosen[m] = set >> m & 1;
        double z = compose_size(c, is_chosen), value = z <= c->budget ? compose_value(c, is_chosen) : -HUGE_VAL;
        if (value > best + 1e-9 || (value > best - 1e-9 && z < *size))
            best = fmax(value, best), *size = z;
    }
    return best;
}

static void the_search_finds_what_every_subset_tried_finds(void **state)
{
    (void)state;
    uint64_t seed = 1;
    double apart = 0;
    uint32_t equal = 0, with = 0;
    for (uint32_t round = 0; round < 1000; round++) {
        struct instance i;
        bool is_chosen[MODELS];
        double size = 0, want;
        instance_make(&i, 1 + (uint32_t)rand_below(&seed, MODELS), &seed);
        want = every_subset(&i.c, &size);
        uint32_t n = compose_solve(&i.c, is_chosen);
        if (!isfinite(want)) {
            assert_int_equal(n, 0);             /* nothing fits */
            continue;
        }
        assert_true(n > 0 && compose_size(&i.c, is_chosen) <= i.c.budget);
        assert_true(fabs(compose_value(&i.c, is_chosen) - want) < 1e-9);
        assert_true(compose_size(&i.c, is_chosen) < size + 1e-6);
        assert_true(compose_greedy(&i.c, is_chosen) > 0 && compose_size(&i.c, is_chosen) <= i.c.budget);
        double short_by = want - compose_value(&i.c, is_chosen);
        assert_true(short_by > -1e-9);
        equal += short_by < 1e-9, with++;
        apart = fmax(apart, short_by);
    }
    print_message("greedy with exchanges: the best in %u of %u, at most %.3f short\n", equal, with, apart);
    assert_true(equal > 0.95 * with);
}

static void many_models_are_searched_too(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (uint32_t round = 0; round < 10; round++) {
        struct instance i;
        bool is_chosen[MANY];
        instance_make(&i, MANY, &seed);
        assert_true(compose_solve(&i.c, is_chosen) > 0);
        assert_true(compose_size(&i.c, is_chosen) <= i.c.budget);
        double greedy = compose_value(&i.c, is_chosen), short_by;
        compose_exact(&i.c, is_chosen);
        short_by = compose_value(&i.c, is_chosen) - greedy;
        assert_true(short_by > -1e-9 && short_by < 0.05);
    }
}

static void a_kind_goes_to_the_best_that_is_there(void **state)
{
    (void)state;
    static const double worth[] = { .9, .5, .6, /* code */ .4, .8, .7 }, frequency[] = { .5, .5 }, size[] = { 60, 60, 70 };
    struct compose c = { .n_models = 3, .n_kinds = 2, .worth = worth, .frequency = frequency, .size = size, .budget = 120 };
    bool is_chosen[3];
    assert_int_equal(compose_solve(&c, is_chosen), 2);
    assert_true(is_chosen[0] && is_chosen[1]);
    assert_int_equal(compose_best(&c, is_chosen, 0), 0);
    assert_int_equal(compose_best(&c, is_chosen, 1), 1);
    c.budget = 100;                             /* one alone: the broad one needs 70, and is no better than either */
    assert_int_equal(compose_solve(&c, is_chosen), 1);
    assert_false(is_chosen[2]);
    c.budget = 10;
    assert_int_equal(compose_solve(&c, is_chosen), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_search_finds_what_every_subset_tried_finds),
        cmocka_unit_test(many_models_are_searched_too),
        cmocka_unit_test(a_kind_goes_to_the_best_that_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
