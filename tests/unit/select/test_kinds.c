/* Which kind of query a text is: what logistic regression learns from labelled rows, and tables that still hold naive Bayes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/rand.h"
#include "select/kinds.h"

enum { ROWS = 300, KINDS = 3, OWN = 20, COMMON = 10 };

struct texts { struct arena *a; struct features x[ROWS]; uint32_t label[ROWS]; struct recorded r; };

static struct features read_text(struct arena *a, str text)
{
    struct features x;
    features_read(&x, a, text);
    return x;
}

/* Two words in three are the kind's own ("b07"), the others are everybody's ("w03"). */
static struct texts *texts_make(void)
{
    struct arena *a = arena_new();
    struct texts *t = ARENA_NEW(a, struct texts);
    t->a = a;
    uint64_t seed = 4;
    for (uint32_t i = 0; i < ROWS; i++) {
        str text = S("");
        t->label[i] = i % KINDS;
        for (uint32_t w = 0; w < 9; w++) {
            bool is_own = w % 3 > 0;
            text = arena_printf(a, STR_FMT " %c%02u", STR_ARG(text), is_own ? 'a' + (int)t->label[i] : 'w',
                                (unsigned)rand_below(&seed, is_own ? OWN : COMMON));
        }
        t->x[i] = read_text(a, text);
    }
    t->r = (struct recorded){ .x = t->x, .n = ROWS };
    return t;
}

static void words_tell_the_kind(void **state)
{
    (void)state;
    struct texts *t = texts_make();
    struct kinds k, again;
    assert_true(kinds_fit(&k, &t->r, t->label, KINDS));
    assert_true(kinds_fit(&again, &t->r, t->label, KINDS));
    float p[KINDS], same[KINDS];
    for (uint32_t kind = 0; kind < KINDS; kind++) {
        struct features x = read_text(t->a, arena_printf(t->a, "w01 %c05 w09 %c11", 'a' + (int)kind, 'a' + (int)kind));
        kinds_predict(&k, &x, p);
        assert_true(p[kind] > 0.8f);
        assert_true(fabsf(p[0] + p[1] + p[2] - 1) < 1e-5f);
        kinds_predict(&again, &x, same);
        assert_memory_equal(p, same, sizeof p);         /* the same rows, the same bits */
    }
    struct features nothing = read_text(t->a, S("")), both = read_text(t->a, S("a05 b05"));
    kinds_predict(&k, &nothing, p);
    assert_true(p[0] < 0.6f && p[1] < 0.6f && p[2] < 0.6f);
    kinds_predict(&k, &both, p);
    assert_true(p[0] > 2 * p[2] && p[1] > 2 * p[2]);
    kinds_clear(&k);
    kinds_clear(&again);
    arena_free(t->a);
}

static void rows_without_a_label_teach_nothing(void **state)
{
    (void)state;
    struct texts *t = texts_make();
    struct kinds some, all;
    uint32_t label[ROWS], rows[ROWS], n = 0;
    for (uint32_t i = 0; i < ROWS; i++) {
        label[i] = i % 7 ? t->label[i] : UINT32_MAX;
        if (i % 7)
            rows[n++] = i;
    }
    struct recorded labelled = t->r;
    labelled.rows = rows;
    labelled.n_rows = n;
    assert_true(kinds_fit(&all, &t->r, label, KINDS) && kinds_fit(&some, &labelled, t->label, KINDS));
    assert_int_equal(all.n_rows, some.n_rows);
    assert_memory_equal(all.idf, some.idf, all.n_rows * sizeof *all.idf);
    kinds_clear(&some);
    kinds_clear(&all);
    arena_free(t->a);
}

static void few_rows_and_kinds_are_enough_not_to_fail(void **state)
{
    (void)state;
    struct texts *t = texts_make();
    for (uint32_t n = 0; n < 3; n++)
        for (uint32_t kinds = 1; kinds <= KINDS; kinds++) {
            struct kinds k;
            float p[KINDS], sum = 0;
            t->r.n = n;
            assert_true(kinds_fit(&k, &t->r, t->label, kinds));
            kinds_predict(&k, &t->x[5], p);
            for (uint32_t i = 0; i < kinds; i++)
                sum += p[i];
            assert_true(fabsf(sum - 1) < 1e-5f);
            kinds_clear(&k);
        }
    arena_free(t->a);
}

/* As version 1 wrote it: kinds, words, where they stand, weights, unseen, prior, edges, cues. */
static void naive_bayes_of_earlier_tables_is_still_what_it_was(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct features prime = read_text(a, S("sum")), court = read_text(a, S("law")), asked = read_text(a, S("sum"));
    assert_int_equal(prime.n, 1);
    const float weight[2][2] = { { 3, 0 }, { 0, 2 } }, unseen[2] = { -4, -5 }, prior[2] = { -0.5f, -0.9f }, cue[2] = { -1, -1.5f };
    struct buf bytes = { 0 }, saved = { 0 };
    pack_u32(&bytes, 2);
    pack_u32(&bytes, 2);
    pack_u32(&bytes, prime.grams[0].bucket), pack_u32(&bytes, 1);
    pack_u32(&bytes, court.grams[0].bucket), pack_u32(&bytes, 2);
    buf_add(&bytes, weight, sizeof weight);
    buf_add(&bytes, unseen, sizeof unseen);
    buf_add(&bytes, prior, sizeof prior);
    for (uint32_t i = 0; i < FEATURE_CUES * (CUE_BINS - 1); i++)
        buf_add(&bytes, &(float){ 0 }, sizeof(float));
    for (uint32_t i = 0; i < FEATURE_CUES * CUE_BINS; i++)
        buf_add(&bytes, cue, sizeof cue);

    struct kinds k, again;
    struct unpack u = { buf_view(&bytes), false };
    assert_true(kinds_load(&k, &u));
    assert_int_equal(u.rest.len, 0);
    float p[2], same[2];
    kinds_predict(&k, &asked, p);
    double one = 0.5 * (3 - 4 + FEATURE_CUES * -1.0) - 0.5, two = 0.5 * (0 - 5 + FEATURE_CUES * -1.5) - 0.9;
    assert_true(fabs((double)p[0] - 1 / (1 + exp(two - one))) < 1e-5);
    kinds_save(&k, &saved);                     /* in the present form, which is no other table */
    u = (struct unpack){ buf_view(&saved), false };
    assert_true(kinds_load(&again, &u));
    kinds_predict(&again, &asked, same);
    assert_memory_equal(p, same, sizeof p);

    for (size_t cut = 0; cut < saved.len; cut++) {
        struct kinds broken;
        u = (struct unpack){ { saved.ptr, cut }, false };
        assert_false(kinds_load(&broken, &u));
    }
    kinds_clear(&k);
    uint32_t many = LEARNER_KINDS_MAX + 1;
    memcpy(saved.ptr, &many, sizeof many);
    u = (struct unpack){ buf_view(&saved), false };
    assert_false(kinds_load(&k, &u) || !u.is_bad);
    kinds_clear(&again);
    buf_free(&bytes);
    buf_free(&saved);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_tell_the_kind),
        cmocka_unit_test(rows_without_a_label_teach_nothing),
        cmocka_unit_test(few_rows_and_kinds_are_enough_not_to_fail),
        cmocka_unit_test(naive_bayes_of_earlier_tables_is_still_what_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
