/* Pilots: a tie teaches nothing about the order of the table, and what one model learns is its own. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rand.h"
#include "select/learner.h"
#include "learners.h"

enum { ROWS = 400, MODELS = 3, KINDS = 2 };

static const char *const words[KINDS][8] = {
    { "solve", "equation", "integral", "number", "prime", "sum", "root", "series" },
    { "court", "contract", "judge", "tort", "statute", "appeal", "lease", "claim" },
};
static const char *const kinds[KINDS] = { "maths", "law" };
static const char *const texts[] = { "solve the equation", "the judge of appeal", "sum of a prime and the court", "zzz", "" };

struct rows { struct arena *a; struct recorded r; };

/* Qualities of each kind by model, alike for all rows: with equal ones every row is a tie. */
static struct rows rows_make(const double (*quality)[MODELS], const str *models, const float *cost)
{
    struct rows s = { .a = arena_new() };
    uint64_t seed = 3;
    struct features *x = ARENA_ARRAY(s.a, struct features, ROWS);
    float *q = ARENA_ARRAY(s.a, float, ROWS * MODELS), *c = ARENA_ARRAY(s.a, float, ROWS * MODELS);
    uint64_t *query = ARENA_ARRAY(s.a, uint64_t, ROWS);
    for (uint32_t i = 0; i < ROWS; i++) {
        str text = S("");
        for (uint32_t w = 0; w < 6; w++)
            text = arena_printf(s.a, STR_FMT " %s w%u", STR_ARG(text), words[i % KINDS][rand_below(&seed, 8)],
                                (unsigned)rand_below(&seed, 60));
        features_read(&x[i], s.a, text);
        x[i].kind = str_of(kinds[i % KINDS]);
        query[i] = i + 1;
        for (uint32_t m = 0; m < MODELS; m++) {
            q[i * MODELS + m] = (float)quality[i % KINDS][m];
            c[i * MODELS + m] = cost[m];
        }
    }
    s.r = (struct recorded){ .x = x, .n = ROWS, .query = query, .models = models, .n_models = MODELS, .quality = q, .cost_usd = c };
    return s;
}

static void teach(struct learner *l, uint32_t model, const char *text, uint32_t times)
{
    struct arena *a = arena_new();
    struct features x;
    features_read(&x, a, str_of(text));
    for (uint32_t i = 0; i < times; i++)
        learner_observe(l, &(struct outcome){ .x = &x, .model = model, .quality = 1, .cost_usd = NAN, .out_tokens = NAN,
                                              .latency_s = NAN }, 1);
    arena_free(a);
}

static void a_tie_goes_to_the_better_mean_and_not_to_the_first_in_the_table(void **state)
{
    (void)state;
    static const str models[] = { S("narrow"), S("poor"), S("broad") };
    static const double quality[KINDS][MODELS] = { { 1, 0, 1 }, { 0, 0, 1 } };        /* on maths, narrow and broad tie */
    struct rows s = rows_make(quality, models, (const float[]){ 1, 1, 1 });
    struct learner *l = learner_fitted("pilots", &s.r);
    struct prediction p[MODELS];
    ask(l, "solve the equation of a prime", p);
    assert_true(p[2].score > p[0].score && p[2].score > p[1].score);
    ask(l, "the judge and the statute", p);
    assert_true(p[2].score > p[0].score && p[2].score > p[1].score);
    learner_free(l);
    arena_free(s.a);
}

static void a_tie_of_means_goes_to_the_cheaper(void **state)
{
    (void)state;
    static const str models[] = { S("dear"), S("cheap"), S("dearest") };
    static const double quality[KINDS][MODELS] = { { 1, 1, 1 }, { 1, 1, 1 } };
    struct rows s = rows_make(quality, models, (const float[]){ 2, 1, 3 });
    struct learner *l = learner_fitted("pilots", &s.r);
    struct prediction p[MODELS];
    ask(l, "solve the equation of a prime", p);
    assert_true(p[1].score > p[0].score && p[1].score > p[2].score);
    learner_free(l);
    arena_free(s.a);
}

static void the_order_of_the_table_means_nothing(void **state)
{
    (void)state;
    static const str one[] = { S("a"), S("b"), S("c") }, other[] = { S("c"), S("a"), S("b") };
    static const double quality[KINDS][MODELS] = { { 1, 1, .5 }, { .5, 1, 1 } }, turned[KINDS][MODELS] = { { .5, 1, 1 }, { 1, .5, 1 } };
    struct rows s = rows_make(quality, one, (const float[]){ 1, 2, 3 }), t = rows_make(turned, other, (const float[]){ 3, 1, 2 });
    for (uint32_t k = 0; k < 2; k++) {
        struct learner *l = learner_fitted(k ? "pilots_mean" : "pilots", &s.r), *m = learner_fitted(k ? "pilots_mean" : "pilots", &t.r);
        for (size_t i = 0; i < COUNT_OF(texts); i++) {
            struct prediction p[MODELS], q[MODELS];
            ask(l, texts[i], p);
            ask(m, texts[i], q);
            for (uint32_t at = 0; at < MODELS; at++)
                assert_float_equal(p[at].score, q[learner_find(m, one[at])].score, 1e-5f);
        }
        learner_free(l);
        learner_free(m);
    }
    arena_free(s.a);
    arena_free(t.a);
}

static void who_comes_or_goes_moves_nobody_elses_pilots(void **state)
{
    (void)state;
    static const str models[] = { S("a"), S("b"), S("c") };
    static const double quality[KINDS][MODELS] = { { 1, .5, .4 }, { .3, 1, .4 } };
    struct rows s = rows_make(quality, models, (const float[]){ 1, 2, 3 });
    for (uint32_t k = 0; k < 2; k++) {
        struct learner *l = learner_fitted(k ? "pilots_mean" : "pilots", &s.r);
        struct prediction before[COUNT_OF(texts)][MODELS], after[MODELS + 1];
        for (size_t i = 0; i < COUNT_OF(texts); i++)
            ask(l, texts[i], before[i]);
        uint32_t newcomer = learner_model(l, S("newcomer"));
        teach(l, newcomer, "solve the integral and the court of appeal", 50);
        ask(l, "solve the integral", after);
        assert_true(after[newcomer].score > before[3][0].score);        /* it does have one */
        for (uint32_t round = 0; round < 2; round++) {
            for (size_t i = 0; i < COUNT_OF(texts); i++) {
                ask(l, texts[i], after);
                for (uint32_t m = round; m < MODELS; m++)
                    assert_memory_equal(&after[m].score, &before[i][m].score, sizeof after[m].score);
            }
            l->ops->forget(l, newcomer, 0);
            l->ops->forget(l, 0, 0);    /* and one of the old ones goes */
        }
        learner_free(l);
    }
    arena_free(s.a);
}

static void the_nearest_pilot_and_the_average_differ(void **state)
{
    (void)state;
    static const str models[] = { S("both"), S("law only"), S("nobody") };
    static const double quality[KINDS][MODELS] = { { 1, 0, 0 }, { 1, 0, 0 } };
    struct rows s = rows_make(quality, models, (const float[]){ 1, 1, 1 });
    struct prediction near[MODELS], average[MODELS];
    for (uint32_t k = 0; k < 2; k++) {
        struct learner *l = learner_fitted(k ? "pilots_mean" : "pilots", &s.r);
        for (size_t w = 0; w < COUNT_OF(words[1]); w++)
            teach(l, 1, words[1][w], 4);        /* a smaller pilot on law, none far from it */
        ask(l, "the court, the judge, a tort, a lease, a claim", k ? average : near);
        learner_free(l);
    }
    assert_true(near[0].score > near[2].score && near[1].score > near[2].score);
    assert_true(average[1].score - average[0].score > near[1].score - near[0].score);
    arena_free(s.a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tie_goes_to_the_better_mean_and_not_to_the_first_in_the_table),
        cmocka_unit_test(a_tie_of_means_goes_to_the_cheaper),
        cmocka_unit_test(the_order_of_the_table_means_nothing),
        cmocka_unit_test(who_comes_or_goes_moves_nobody_elses_pilots),
        cmocka_unit_test(the_nearest_pilot_and_the_average_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
