/* tests/unit/signal/test_bank.c -- prototype banks: clusters, medoids, order, scores (spec 2.3.4). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/vector.h"
#include "signal/bank.h"
#include "signal/models.h"

enum { DIM = 2 };

/* Texts are angles in degrees: "40" is the unit vector at 40 degrees, so that similarities are cosines of differences. */
static void angle(double degrees, float *out)
{
    out[0] = (float)cos(degrees * M_PI / 180);
    out[1] = (float)sin(degrees * M_PI / 180);
}

static unsigned n_calls;
static bool embed(void *arg, const struct need_source *s, const str *texts, size_t n, float *out)
{
    (void)arg, (void)s;
    n_calls++;
    for (size_t i = 0; i < n; i++)
        angle(atof(texts[i].ptr), &out[i * DIM]);
    return true;
}
static const struct signal_models models = { .embed = embed };
static const struct need_source source = { .kind = NEED_EMBEDDING, .dim = DIM };

static struct bank_conf conf_of(const char *yaml)
{
    struct arena *a = arena_new();
    struct bank_conf c;
    struct err e;
    assert_true(field_decode(a, &bank_fields, yaml ? yaml_parse(a, str_of(yaml), "c.yaml", &e) : NULL, S(""), &c, NULL));
    arena_free(a);
    return c;
}

static struct bank bank_of(struct arena *a, const struct bank_conf *c, const struct need_source *s, const char *const *texts)
{
    struct examples e;
    struct bank b;
    struct strings list = { ARENA_ARRAY(a, str, 64), 0 };
    for (; texts[list.n]; list.n++)
        list.items[list.n] = str_of(texts[list.n]);
    examples_start(&e, s);
    examples_add_all(&e, list);
    assert_true(examples_embed(&e, &models));
    bank_build(&b, a, c, &e, list);
    examples_drop(&e);
    return b;
}

static double degrees_of(const struct bank *b, uint32_t i)
{
    return atan2((double)b->vectors[i * DIM + 1], (double)b->vectors[i * DIM]) * 180 / M_PI;
}

static void assert_prototypes(const char *yaml, const struct need_source *s, const char *const *texts, const double *degrees,
                              uint32_t n)
{
    struct arena *a = arena_new();
    struct bank_conf c = conf_of(yaml);
    struct bank b = bank_of(a, &c, s, texts);
    assert_int_equal(b.n, n);
    for (uint32_t i = 0; i < n; i++) {
        if (fabs(degrees_of(&b, i) - degrees[i]) > 1e-3)
            fail_msg("prototype %u is at %.3f, not %.3f", i, degrees_of(&b, i), degrees[i]);
    }
    arena_free(a);
}
#define PROTOTYPES(yaml, s, texts, ...) \
    assert_prototypes(yaml, s, texts, (const double[]){ __VA_ARGS__ }, (uint32_t)COUNT_OF(((const double[]){ __VA_ARGS__ })))
#define TEXTS(...) (const char *const[]){ __VA_ARGS__, NULL }

static void defaults_are_those_of_v0_3(void **state)
{
    (void)state;
    struct bank_conf c = conf_of(NULL);
    assert_true(c.enabled);
    assert_true(c.cluster_similarity_threshold == 0.9 && c.best_weight == 0.75 && c.margin_threshold == 0);
    assert_int_equal(c.max_prototypes, 8);
    assert_int_equal(c.top_m, 2);
}

/* cos 25.8 degrees = .9: nearer is a neighbour. */
static void a_cluster_stands_for_itself_by_its_medoid(void **state)
{
    (void)state;
    PROTOTYPES(NULL, &source, TEXTS("0", "10", "20"), 10);
    PROTOTYPES(NULL, &source, TEXTS("0", "40", "80"), 0, 40, 80);
    PROTOTYPES(NULL, &source, TEXTS("40"), 40);
}

static void the_example_with_most_neighbours_takes_them_all(void **state)
{
    (void)state;
    /* 20 has four neighbours (0 10 30 40), the others fewer; 60 is left over. Largest first. */
    PROTOTYPES(NULL, &source, TEXTS("60", "0", "10", "20", "30", "40"), 20, 60);
    /* In the chain 0 20 40 60 both 20 and 40 have two neighbours: the text that sorts first is the seed, "20",
        which leaves 60. */
    PROTOTYPES(NULL, &source, TEXTS("60", "40", "20", "0"), 20, 60);
}

static void neighbours_are_counted_among_those_left(void **state)
{
    (void)state;
    /* 0 takes 336..24. Of 30 48 66 then 48 has both others; 30 had one more neighbour before 24 left, but has one less now. */
    PROTOTYPES(NULL, &source, TEXTS("0", "-24", "24", "-20", "20", "30", "48", "66"), 0, 48);
}

static void equal_clusters_come_in_order_of_closeness_then_of_text(void **state)
{
    (void)state;
    PROTOTYPES(NULL, &source, TEXTS("0", "20", "90", "95"), 90, 0);     /* the pair 5 degrees apart before the one 20 apart */
    PROTOTYPES(NULL, &source, TEXTS("70", "120", "10"), 10, 120, 70);   /* singles: by text */
}

static void at_most_max_prototypes_are_kept(void **state)
{
    (void)state;
    PROTOTYPES("{max_prototypes: 2}", &source, TEXTS("0", "40", "80", "85"), 80, 0);
    PROTOTYPES("{cluster_similarity_threshold: 0.5}", &source, TEXTS("0", "40", "80"), 40);
}

static void a_disabled_bank_keeps_every_example(void **state)
{
    (void)state;
    PROTOTYPES("{enabled: false, max_prototypes: 1}", &source, TEXTS("0", "1", "2"), 0, 1, 2);
}

static void the_same_sentence_counts_once(void **state)
{
    (void)state;
    PROTOTYPES("{enabled: false}", &source, TEXTS("5", "5", " ", "", "7"), 5, 7);
}

static void all_rules_are_embedded_in_one_call(void **state)
{
    (void)state;
    struct examples e;
    n_calls = 0;
    examples_start(&e, &source);
    examples_add(&e, S("1"));
    examples_add(&e, S("2"));
    examples_add(&e, S("1"));
    examples_add(&e, S("  "));
    assert_true(examples_embed(&e, &models));
    assert_int_equal(e.n, 2);
    assert_int_equal(n_calls, 1);
    assert_non_null(examples_find(&e, S("2")));
    assert_null(examples_find(&e, S("3")));
    examples_drop(&e);
    examples_start(&e, &source);
    assert_true(examples_embed(&e, &models));           /* nothing to embed: nobody is asked */
    assert_int_equal(n_calls, 1);
    examples_drop(&e);
}

static void the_score_weighs_the_best_against_the_top_m(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct bank_conf c = conf_of(NULL);
    struct bank b = bank_of(a, &c, &source, TEXTS("0", "60", "90", "120"));
    float query[DIM];
    angle(60, query);
    struct bank_score s = bank_score(&b, query);
    double near = cos(M_PI / 6), far = 0.5;             /* 30 and 60 degrees away: similarities 1, .866, .5, .5 */
    assert_true(fabs(s.best - 1) < 1e-6);
    assert_true(fabs(s.support - (1 + near) / 2) < 1e-6);
    assert_true(fabs(s.score - (0.75 + 0.25 * (1 + near) / 2)) < 1e-6);
    assert_true(fabs(s.mean - (1 + near + far + far) / 4) < 1e-6);
    c = conf_of("{top_m: 9, best_weight: 0.5}");        /* more than there are: all */
    b = bank_of(a, &c, &source, TEXTS("0", "60", "90", "120"));
    s = bank_score(&b, query);
    assert_true(fabs(s.support - s.mean) < 1e-6);
    assert_true(fabs(s.score - (0.5 + 0.5 * s.mean)) < 1e-6);
    c = conf_of("{top_m: 1, best_weight: 0}");
    b = bank_of(a, &c, &source, TEXTS("0", "90"));
    assert_true(fabs(bank_score(&b, query).score - near) < 1e-6);
    arena_free(a);
}

static void an_empty_bank_scores_nothing(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct bank_conf c = conf_of(NULL);
    struct bank b = bank_of(a, &c, &source, TEXTS("", " "));
    float query[DIM] = { 1, 0 };
    assert_int_equal(b.n, 0);
    assert_true(bank_score(&b, query).score == 0 && bank_score(&b, query).best == 0);
    arena_free(a);
}

static void similarities_are_on_the_scale_of_thresholds(void **state)
{
    (void)state;
    static const float from[] = { -1, 0, 1 }, to[] = { 0, 0.5f, 1 };
    struct need_source scaled = source;
    scaled.knot_from = from, scaled.knot_to = to, scaled.n_knots = 3;
    struct arena *a = arena_new();
    struct bank_conf c = conf_of("{enabled: false, top_m: 1}");
    struct bank b = bank_of(a, &c, &scaled, TEXTS("60"));
    float query[DIM] = { 1, 0 };
    assert_true(fabs(bank_score(&b, query).score - 0.75) < 1e-6);       /* cosine .5 */
    arena_free(a);
    /* cos 36 degrees = .81, .905 on that scale: neighbours now. */
    PROTOTYPES(NULL, &scaled, TEXTS("0", "36"), 0);
}

/* 1,000 examples at random angles: every example is near some prototype, and it takes no time. */
static void a_large_bank_covers_its_examples(void **state)
{
    (void)state;
    enum { N = 1000 };
    struct arena *a = arena_new();
    static char names[N][16];
    struct strings list = { ARENA_ARRAY(a, str, N), N };
    for (int i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "%.2f", fmod(i * 137.508, 360));
        list.items[i] = str_of(names[i]);
    }
    struct examples e;
    struct bank b;
    struct bank_conf c = conf_of("{max_prototypes: 1000}");
    examples_start(&e, &source);
    examples_add_all(&e, list);
    assert_true(examples_embed(&e, &models));
    bank_build(&b, a, &c, &e, list);
    assert_in_range(b.n, 7, 20);
    for (size_t i = 0; i < N; i++)
        assert_true(bank_score(&b, examples_find(&e, list.items[i])).best > 0.6);
    examples_drop(&e);
    arena_free(a);
}

static void sums_do_not_depend_on_the_tail(void **state)
{
    (void)state;
    float a[67], b[67];
    for (int i = 0; i < 67; i++) {
        a[i] = (float)(i % 7) - 3;
        b[i] = (float)(i % 5) - 2;
    }
    for (size_t n = 0; n <= 67; n++) {
        float plain = 0;
        for (size_t i = 0; i < n; i++)
            plain += a[i] * b[i];
        assert_true(vector_inner(a, b, n) == plain);    /* small integers: exact in any order */
    }
    float zero[3] = { 0 }, bad[2] = { NAN, 1 }, ok[2] = { 3, 4 };
    assert_false(vector_unit(zero, 3));
    assert_false(vector_unit(bad, 2));
    assert_true(vector_unit(ok, 2));
    assert_true(fabsf(ok[0] - 0.6f) < 1e-7f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_v0_3),
        cmocka_unit_test(a_cluster_stands_for_itself_by_its_medoid),
        cmocka_unit_test(the_example_with_most_neighbours_takes_them_all),
        cmocka_unit_test(neighbours_are_counted_among_those_left),
        cmocka_unit_test(equal_clusters_come_in_order_of_closeness_then_of_text),
        cmocka_unit_test(at_most_max_prototypes_are_kept),
        cmocka_unit_test(a_disabled_bank_keeps_every_example),
        cmocka_unit_test(the_same_sentence_counts_once),
        cmocka_unit_test(all_rules_are_embedded_in_one_call),
        cmocka_unit_test(the_score_weighs_the_best_against_the_top_m),
        cmocka_unit_test(an_empty_bank_scores_nothing),
        cmocka_unit_test(similarities_are_on_the_scale_of_thresholds),
        cmocka_unit_test(a_large_bank_covers_its_examples),
        cmocka_unit_test(sums_do_not_depend_on_the_tail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
