/* Learners: what they learn, what they take back, that a restart changes nothing, that a damaged file is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/rand.h"
#include "select/frontier.h"
#include "select/learner.h"
#include "select/objective.h"
#include "select/pack.h"
#include "learners.h"

enum { ROWS = 600, MODELS = 4 };

static const char *const kinds[] = { "maths", "code", "law" };
static const char *const words[][6] = {
    { "solve", "equation", "integral", "number", "prime", "sum" }, { "python", "function", "loop", "compile", "array", "bug" },
    { "court", "contract", "judge", "tort", "statute", "appeal" },
};
static const char *const endings[] = { "", "s", "ed", "ing" };     /* so that no word is in every fourth text */
static const str model_names[] = { S("generalist"), S("mathematician"), S("coder"), S("cheap") };
static const double skill[][MODELS] = { { .6, .9, .3, .4 }, { .6, .3, .9, .4 }, { .6, .2, .2, .4 } };

struct rows { struct arena *a; struct recorded r; uint32_t *kind; };

static struct rows rows_make(uint64_t seed)
{
    struct rows s = { .a = arena_new() };
    struct features *x = ARENA_ARRAY(s.a, struct features, ROWS);
    size_t cells = (size_t)ROWS * MODELS;
    float *quality = ARENA_ARRAY(s.a, float, cells), *cost = ARENA_ARRAY(s.a, float, cells), *tokens =
        ARENA_ARRAY(s.a, float, cells);
    uint64_t *query = ARENA_ARRAY(s.a, uint64_t, ROWS);
    s.kind = ARENA_ARRAY(s.a, uint32_t, ROWS);
    for (uint32_t i = 0; i < ROWS; i++) {
        uint32_t k = s.kind[i] = i % 3;
        str text = S("");
        for (uint32_t w = 0; w < 5; w++)
            text = arena_printf(s.a, STR_FMT " %s%s w%u", STR_ARG(text), words[k][rand_below(&seed, 6)], endings[rand_below(&seed, 4)],
                                (unsigned)rand_below(&seed, 50));
        features_read(&x[i], s.a, text);
        x[i].kind = str_of(kinds[k]);
        query[i] = i + 1;
        for (uint32_t m = 0; m < MODELS; m++) {
            quality[i * MODELS + m] = rand_unit(&seed) < skill[k][m];
            cost[i * MODELS + m] = m == 3 ? 1e-5f : 1e-3f;
            tokens[i * MODELS + m] = (float)(100 + rand_below(&seed, 50));
        }
    }
    s.r = (struct recorded){ .x = x, .n = ROWS, .query = query, .models = model_names, .n_models = MODELS, .quality = quality,
                             .cost_usd = cost,
                             .out_tokens = tokens };
    return s;
}

static const char *const names[] = { "mean", "table", "knn", "factor", "blend", "pilots", "pilots_mean", "gates" };

static uint32_t best_of(const struct prediction *p, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        best = p[i].score > p[best].score ? i : best;
    return best;
}

static void specialists_are_found_by_the_words_alone(void **state)
{
    (void)state;
    struct rows s = rows_make(1);
    static const char *const finders[] = { "table", "knn", "factor", "blend" };        /* pilots give ties to the generalist, gates
                                                                                         * are shy: they have tests of their own */
    for (size_t i = 0; i < COUNT_OF(finders); i++) {
        struct learner *l = learner_fitted(finders[i], &s.r);
        struct prediction p[MODELS];
        ask(l, "a loop over the array in python has a bug", p);
        assert_int_equal(best_of(p, MODELS), 2);
        ask(l, "solve the equation with a prime number and an integral", p);
        assert_int_equal(best_of(p, MODELS), 1);
        assert_true(p[1].quality > 0 && p[1].quality <= 1 && p[1].deviation > 0);
        learner_free(l);
    }
    arena_free(s.a);
}

static void the_table_predicts_cost_and_tokens_too(void **state)
{
    (void)state;
    struct rows s = rows_make(2);
    struct learner *l = learner_fitted("blend", &s.r);
    struct prediction p[MODELS];
    ask(l, "the court and the contract", p);
    assert_float_equal(p[0].cost_usd, 1e-3f, 1e-4f);
    assert_float_equal(p[3].cost_usd, 1e-5f, 1e-6f);
    assert_true(p[0].out_tokens > 100 && p[0].out_tokens < 150);
    assert_true(p[0].out_tokens_90 > p[0].out_tokens && p[0].out_tokens_90 < 180);
    assert_true(isnan(p[0].latency_s));
    learner_free(l);
    arena_free(s.a);
}

static void what_is_observed_can_be_taken_back(void **state)
{
    (void)state;
    struct rows s = rows_make(3);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct learner *l = learner_fitted(names[i], &s.r);
        struct prediction before[MODELS], during[MODELS], after[MODELS];
        ask(l, "python function", before);
        struct arena *a = arena_new();
        struct features x;
        features_read(&x, a, S("python function array"));
        for (uint32_t k = 0; k < 60; k++) {
            struct outcome o = { .x = &x, .query = 1000 + k, .model = 3, .quality = 1, .cost_usd = 1e-5f, .out_tokens = NAN,
                                 .latency_s = NAN };
            learner_observe(l, &o, 1);
        }
        ask(l, "python function", during);
        assert_true(during[3].quality > before[3].quality + 0.01f);
        for (uint32_t k = 0; k < 60; k++) {
            struct outcome o = { .x = &x, .query = 1000 + k, .model = 3, .quality = 1, .cost_usd = 1e-5f, .out_tokens = NAN,
                                 .latency_s = NAN };
            learner_observe(l, &o, -1);
        }
        ask(l, "python function", after);
        assert_float_equal(after[3].quality, before[3].quality, 2e-3f);
        arena_free(a);
        learner_free(l);
    }
    arena_free(s.a);
}

static void a_new_model_starts_from_the_mean_and_is_unsure(void **state)
{
    (void)state;
    struct rows s = rows_make(4);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct learner *l = learner_fitted(names[i], &s.r);
        uint32_t m = learner_model(l, S("newcomer"));
        assert_int_equal(m, MODELS);
        struct prediction p[MODELS + 1];
        ask(l, "solve the integral", p);
        assert_true(p[m].quality > 0.2f && p[m].quality < 0.8f);
        assert_true(p[m].deviation > p[0].deviation);
        assert_true(best_of(p, MODELS + 1) != m);
        learner_free(l);
    }
    arena_free(s.a);
}

static void a_restart_changes_no_prediction_by_a_bit(void **state)
{
    (void)state;
    struct rows s = rows_make(5);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct learner *l = learner_fitted(names[i], &s.r);
        struct buf bytes = { 0 };
        struct err e = { 0 };
        learner_save(l, &bytes);
        struct learner *again = learner_load(buf_view(&bytes), &e);
        if (!again)
            fail_msg("%s: %s", names[i], e.text);
        struct prediction p[MODELS], q[MODELS];
        static const char *const texts[] = { "python", "court of appeal", "", "prime w1 w2 w3", "zzz" };
        for (size_t t = 0; t < COUNT_OF(texts); t++) {
            memset(p, 0, sizeof p);
            memset(q, 0, sizeof q);
            ask(l, texts[t], p);
            ask(again, texts[t], q);
            assert_memory_equal(p, q, sizeof p);
        }
        struct buf twice = { 0 };
        learner_save(again, &twice);
        assert_int_equal(twice.len, bytes.len);
        assert_memory_equal(twice.ptr, bytes.ptr, bytes.len);
        buf_free(&twice);
        buf_free(&bytes);
        learner_free(again);
        learner_free(l);
    }
    arena_free(s.a);
}

enum { DIM = 8 };

/* Texts that say nothing: the kind is in the vector alone. Good is what the vector says, the mean is what no vector gets. */
static void an_encoders_vector_counts_where_words_say_nothing(void **state)
{
    (void)state;
    struct rows s = rows_make(11);
    struct features *x = (struct features *)(uintptr_t)s.r.x;
    for (uint32_t i = 0; i < ROWS; i++) {
        float *v = ARENA_ARRAY(s.a, float, DIM);
        v[s.kind[i]] = 1;
        features_read(&x[i], s.a, arena_printf(s.a, "w%u", i % 7));
        x[i].vector = v;
        x[i].dim = DIM;
    }
    static const char *const readers[] = { "factor", "blend" };
    for (size_t i = 0; i < COUNT_OF(readers); i++) {
        struct learner *l = learner_fitted(readers[i], &s.r), *back;
        assert_int_equal(l->vector_dim, DIM);
        struct buf bytes = { 0 };
        struct err e = { 0 };
        learner_save(l, &bytes);
        back = learner_load(buf_view(&bytes), &e);
        assert_non_null(back);
        assert_int_equal(back->vector_dim, DIM);
        struct prediction p[MODELS], again[MODELS];
        for (uint32_t k = 0; k < 2; k++) {      /* a question for the coder, then for the mathematician */
            float v[DIM] = { 0 };
            v[k == 0 ? 1 : 0] = 1;
            struct features q;
            features_read(&q, s.a, S("w3"));
            q.vector = v;
            q.dim = DIM;
            learner_predict(l, &q, p, s.a);
            assert_int_equal(best_of(p, MODELS), k == 0 ? 2 : 1);
            learner_predict(back, &q, again, s.a);
            assert_memory_equal(p, again, sizeof p);
        }
        ask(l, "w3", p);
        assert_true(fabsf(p[1].score - p[2].score) < 0.15f);
        learner_free(l);
        learner_free(back);
        buf_free(&bytes);
    }
    arena_free(s.a);
}

/* Tables that were written before vectors, and before a blend could have more than three experts. */
static void tables_of_earlier_versions_are_read(void **state)
{
    (void)state;
    struct rows s = rows_make(12);
    struct learner *l = learner_fitted("factor", &s.r), *old = learner_new("factor", NULL);
    struct err e = { 0 };
    struct buf bytes = { 0 };
    struct prediction p[MODELS], again[MODELS];
    for (uint32_t m = 0; m < MODELS; m++)
        learner_model(old, model_names[m]);
    l->ops->save(l, &bytes);
    assert_int_equal(old->ops->load(old, str_upto(buf_view(&bytes), bytes.len - 4), &e), 0);
    ask(l, "python loop", p);
    ask(old, "python loop", again);
    assert_memory_equal(p, again, sizeof p);
    learner_free(l);
    learner_free(old);
    buf_free(&bytes);

    l = learner_fitted("blend", &s.r);
    old = learner_new("blend", NULL);
    for (uint32_t m = 0; m < MODELS; m++)
        learner_model(old, model_names[m]);
    struct buf before = { 0 };
    l->ops->save(l, &bytes);
    size_t experts = (size_t)bytes.ptr[0], at = 4, then = 3;
    assert_true(experts > then);
    for (int half = 0; half < 2; half++, at += experts * sizeof(double))
        buf_add(&before, bytes.ptr + at, then * sizeof(double));
    size_t knots = 4 + 20 * 8, from = at;       /* then the parts, each behind its length */
    at += knots;
    for (size_t part = 0; part < then; part++) {
        uint64_t n;
        memcpy(&n, bytes.ptr + at, sizeof n);
        at += 8 + n;
    }
    buf_add(&before, bytes.ptr + from, at - from);
    assert_int_equal(old->ops->load(old, buf_view(&before), &e), 0);
    ask(old, "python loop over an array", p);
    assert_int_equal(best_of(p, MODELS), 2);
    learner_free(l);
    learner_free(old);
    buf_free(&before);
    buf_free(&bytes);
    arena_free(s.a);
}

/* Version 1 says nothing of parts of words: who was fitted then does not see them, in later saves neither. */
static void tables_of_version_1_go_by_words_alone(void **state)
{
    (void)state;
    static const char *const single[] = { "mean", "table", "knn", "factor", "pilots", "gates" };
    struct rows s = rows_make(13);
    for (size_t i = 0; i < COUNT_OF(single); i++) {
        struct learner *l = learner_fitted(single[i], &s.r);
        struct buf now = { 0 }, then = { 0 }, again = { 0 };
        struct err e = { 0 };
        struct prediction p[MODELS], q[MODELS];
        size_t head = 8 + 4, flag = head + 4 + strlen(single[i]) + 2 * 8 + 3 * 4 + 8;
        learner_save(l, &now);
        buf_add(&then, now.ptr, 8);
        pack_u32(&then, 1);
        buf_add(&then, now.ptr + head, flag - head);
        buf_add(&then, now.ptr + flag + 4, now.len - 8 - flag - 4);
        pack_u64(&then, hash_stable(buf_view(&then), 1));
        struct learner *old = learner_load(buf_view(&then), &e);
        assert_non_null(old);
        assert_true(old->words_alone && !l->words_alone);
        learner_save(old, &again);
        struct learner *later = learner_load(buf_view(&again), &e);
        assert_non_null(later);

        struct features x, seen;
        features_read(&x, s.a, S("solving equations, looped functions"));
        seen = x;
        seen.n = x.n_words;
        assert_true(seen.n < x.n);
        memset(p, 0, sizeof p);
        memset(q, 0, sizeof q);
        learner_predict(l, &seen, p, s.a);
        learner_predict(old, &x, q, s.a);
        assert_memory_equal(p, q, sizeof p);
        learner_predict(later, &x, q, s.a);
        assert_memory_equal(p, q, sizeof p);
        learner_free(l);
        learner_free(old);
        learner_free(later);
        buf_free(&now);
        buf_free(&then);
        buf_free(&again);
    }
    arena_free(s.a);
}

static void damaged_tables_are_refused_with_a_sentence(void **state)
{
    (void)state;
    struct rows s = rows_make(6);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct learner *l = learner_fitted(names[i], &s.r);
        struct buf bytes = { 0 };
        learner_save(l, &bytes);
        for (size_t cut = 0; cut < bytes.len; cut += cut < 300 ? 1 : bytes.len / 37 + 1) {
            struct err e = { 0 };
            assert_null(learner_load((str){ bytes.ptr, cut }, &e));
            assert_true(e.text[0] != 0);
        }
        uint64_t seed = 9;
        for (uint32_t k = 0; k < 40; k++) {
            size_t at = rand_below(&seed, bytes.len);
            struct err e = { 0 };
            bytes.ptr[at] ^= 0x41;
            assert_null(learner_load(buf_view(&bytes), &e));
            bytes.ptr[at] ^= 0x41;
        }
        buf_free(&bytes);
        learner_free(l);
    }
    arena_free(s.a);
}

static void tables_of_two_instances_add_up(void **state)
{
    (void)state;
    struct rows s = rows_make(7);
    struct learner *one = learner_fitted("table", &s.r), *two = learner_fitted("table", &s.r), *both = learner_fitted("table", &s.r);
    struct prediction p[MODELS], q[MODELS];
    struct arena *a = arena_new();
    struct features x;
    features_read(&x, a, S("statute and tort"));
    two->ops->forget(two, UINT32_MAX, 0);
    struct outcome o = { .x = &x, .query = 0, .model = 3, .quality = 1, .cost_usd = NAN, .out_tokens = NAN, .latency_s = NAN };
    for (uint32_t k = 0; k < 20; k++) {
        learner_observe(two, &o, 1);
        learner_observe(both, &o, 1);
    }
    assert_true(one->ops->merge(one, two, 1));
    one->ops->merge(both, two, 0);              /* nothing, but both are weighed anew */
    ask(one, "statute", p);
    ask(both, "statute", q);
    assert_float_equal(p[3].quality, q[3].quality, 1e-6f);
    arena_free(a);
    learner_free(one);
    learner_free(two);
    learner_free(both);
    arena_free(s.a);
}

static void rows_without_labels_get_kinds_of_their_own(void **state)
{
    (void)state;
    struct rows s = rows_make(8);
    struct features *x = ARENA_ARRAY(s.a, struct features, ROWS);
    for (uint32_t i = 0; i < ROWS; i++) {
        x[i] = s.r.x[i];
        x[i].kind = S("");
    }
    s.r.x = x;
    struct learner *l = learner_fitted("table", &s.r);
    struct prediction p[MODELS];
    assert_true(l->n_kinds >= 2);
    ask(l, "solve the equation with a prime number and an integral", p);
    assert_int_equal(best_of(p, MODELS), 1);
    learner_free(l);
    arena_free(s.a);
}

static void missing_outcomes_are_no_outcomes(void **state)
{
    (void)state;
    struct rows s = rows_make(9);
    size_t cells = (size_t)ROWS * MODELS;
    float *quality = ARENA_ARRAY(s.a, float, cells);
    for (size_t i = 0; i < cells; i++)
        quality[i] = i % MODELS == (i / MODELS / 3) % MODELS ? s.r.quality[i] : NAN;   /* one model a query, as in a log */
    s.r.quality = quality;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct learner *l = learner_fitted(names[i], &s.r);
        struct prediction p[MODELS];
        ask(l, "python loop over the array", p);
        for (uint32_t m = 0; m < MODELS; m++)
            assert_true(p[m].quality >= 0 && p[m].quality <= 1);
        if (i == 1)
            assert_int_equal(best_of(p, MODELS), 2);
        learner_free(l);
    }
    arena_free(s.a);
}

static struct prediction said(float quality, float cost, float seconds)
{
    return (struct prediction){ .quality = quality, .score = quality, .deviation = .1f, .cost_usd = cost, .out_tokens = NAN,
                                .out_tokens_90 = NAN, .latency_s = seconds };
}

static void one_price_vector_decides(void **state)
{
    (void)state;
    const struct prediction p[] = { said(.90f, .010f, 5), said(.89f, .002f, 9), said(.60f, .0001f, 1) };
    double value[3];
    const struct { struct objective o; uint32_t best; } table[] = {
        { { .quality = 0 }, 0 }, { { .quality = 1, .cost = 5 }, 1 }, { { .quality = 1, .cost = 1000 }, 2 },
            { { .quality = 1, .latency = .02 }, 0 },
        { { .quality = 1, .latency = .1 }, 2 }, { { .tolerance = .02 }, 1 }, { { .tolerance = .5 }, 2 },
            { { .budget_usd = .005 }, 1 },
        { { .budget_usd = 1e-9 }, 2 },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        assert_int_equal(objective_best(&table[i].o, p, NULL, 3, value), table[i].best);
    float energy[] = { 10, 1, NAN };
    assert_int_equal(objective_best(&(struct objective){ .quality = 1, .energy = .01 }, p, energy, 3, value), 1);
}

static void caution_distrusts_what_is_hardly_known(void **state)
{
    (void)state;
    struct prediction p[] = { said(.8f, NAN, NAN), said(.85f, NAN, NAN) };
    double value[2];
    p[0].deviation = .01f;
    assert_int_equal(objective_best(&(struct objective){ .quality = 1 }, p, NULL, 2, value), 1);
    assert_int_equal(objective_best(&(struct objective){ .quality = 1, .caution = 1 }, p, NULL, 2, value), 0);
}

static void the_hull_is_what_mixing_can_reach(void **state)
{
    (void)state;
    struct point p[] = { { 3, .7 }, { 1, .2 }, { 2, .3 }, { 4, .65 }, { 2, .6 } };
    size_t n = frontier_hull(p, COUNT_OF(p));
    assert_int_equal(n, 3);                     /* (1, .2) (2, .6) (3, .7) */
    assert_true(fabs(frontier_area(p, n, 1, 4) - (.4 + .65 + .7) / 3) < 1e-12);
    assert_true(fabs(frontier_cost(p, n, .4) - 1.5) < 1e-12);
    assert_true(fabs(frontier_cost(p, n, .1) - 1) < 1e-12);
    assert_true(isnan(frontier_cost(p, n, .8)));
    assert_true(fabs(frontier_area(p, n, 2, 2.5) - .625) < 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(specialists_are_found_by_the_words_alone),
        cmocka_unit_test(the_table_predicts_cost_and_tokens_too),
        cmocka_unit_test(what_is_observed_can_be_taken_back),
        cmocka_unit_test(a_new_model_starts_from_the_mean_and_is_unsure),
        cmocka_unit_test(a_restart_changes_no_prediction_by_a_bit),
        cmocka_unit_test(an_encoders_vector_counts_where_words_say_nothing),
        cmocka_unit_test(tables_of_earlier_versions_are_read),
        cmocka_unit_test(tables_of_version_1_go_by_words_alone),
        cmocka_unit_test(damaged_tables_are_refused_with_a_sentence),
        cmocka_unit_test(tables_of_two_instances_add_up),
        cmocka_unit_test(rows_without_labels_get_kinds_of_their_own),
        cmocka_unit_test(missing_outcomes_are_no_outcomes),
        cmocka_unit_test(one_price_vector_decides),
        cmocka_unit_test(caution_distrusts_what_is_hardly_known),
        cmocka_unit_test(the_hull_is_what_mixing_can_reach),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
