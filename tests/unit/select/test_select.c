/* Who is picked, by which rule, and how sure that is. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "select/select.h"

static struct arena *a;

struct timing { struct latency_view view; double ttft, tpot; };

static double ttft_s(const struct latency_view *v, double percentile)
{
    (void)percentile;
    return ((const struct timing *)(const void *)v)->ttft;
}

static double tpot_s(const struct latency_view *v, double percentile)
{
    (void)percentile;
    return ((const struct timing *)(const void *)v)->tpot;
}

static struct candidate candidate(const char *model, double quality, double price, uint32_t load)
{
    return (struct candidate){ .model = str_of(model), .quality = quality, .prompt_price = price,
                               .completion_price = NAN, .in_flight = load, .is_healthy = true };
}

static const struct latency_view *timing(double ttft, double tpot)
{
    struct timing *t = ARENA_NEW(a, struct timing);
    *t = (struct timing){ { ttft_s, tpot_s, NULL }, ttft, tpot };
    return &t->view;
}

/* The selector's block as a user writes it. */
static const void *conf(const char *type, const char *yaml)
{
    const struct select_ops *ops = select_by_name(str_of(type));
    struct findings f = { .a = a };
    struct err e = { 0 };
    struct value *v = yaml_parse(a, str_of(yaml), "test", &e);
    assert_non_null(v);
    void *out = arena_alloc(a, ops->fields.struct_size);
    assert_true(field_decode(a, &ops->fields, v, S("algorithm"), out, &f));
    return out;
}

static struct pick run(const char *type, const struct candidate *c, uint32_t n, const void *block,
                       uint64_t seed, const char **method)
{
    struct pick p;
    const char *ignored;
    struct select_in in = { .candidates = c, .n = n, .conf = block, .seed = seed };
    select_run(select_by_name(str_of(type)), &in, a, &p, method ? method : &ignored);
    bool seen[16] = { false };                  /* an order holds everybody once */
    for (uint32_t i = 0; i < n; i++) {
        assert_false(seen[p.order[i]]);
        seen[p.order[i]] = true;
    }
    return p;
}

static void every_type_of_the_catalogue_has_a_name(void **state)
{
    (void)state;
    static const char *const types[] = {
        "static", "router_dc", "hybrid", "latency_aware", "multi_factor", "automix", "knn",
        "kmeans", "svm", "mlp", "prompt", "confidence", "ratings", "remom", "fusion", "workflows",
        "weighted", "learned",
    };
    size_t n = 0;
    while (select_all[n])
        n++;
    assert_int_equal(n, COUNT_OF(types));
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        const struct select_ops *ops = select_by_name(str_of(types[i]));
        assert_non_null(ops);
        assert_non_null(ops->pick);
        assert_true(!ops->block || str_eq(str_of(ops->block), str_of(types[i])));
        if (ops->is_flow)
            assert_false(ops->is_built);
    }
    assert_null(select_by_name(S("elo")));
}

static void every_block_decodes_its_defaults(void **state)
{
    (void)state;
    for (size_t i = 0; select_all[i]; i++) {
        struct findings f = { .a = a };
        void *out = arena_alloc(a, select_all[i]->fields.struct_size + 1);
        field_decode(a, &select_all[i]->fields, NULL, S(""), out, &f);
        for (size_t k = 0; k < f.n; k++)        /* only that something required is missing */
            assert_non_null(strstr(f.items[k].name, "required"));
    }
}

static void one_candidate_needs_no_selector(void **state)
{
    (void)state;
    struct candidate c = candidate("m", .5, 1, 0);
    const char *method;
    struct pick p = run("multi_factor", &c, 1, NULL, 1, &method);
    assert_string_equal(method, "single");
    assert_int_equal(p.order[0], 0);
    assert_true(p.confidence == 1 && p.propensity == 1);
}

static void an_unknown_type_is_static(void **state)
{
    (void)state;
    struct candidate c[] = { candidate("a", 0, 9, 0), candidate("b", 1, 1, 0) };
    const char *method;
    struct pick p = run("no such type", c, 2, NULL, 1, &method);
    assert_string_equal(method, "static");
    assert_int_equal(p.order[0], 0);
    assert_null(p.fallback);
}

static void what_is_not_built_takes_the_first_and_says_so(void **state)
{
    (void)state;
    struct candidate c[] = { candidate("a", 0, 9, 0), candidate("b", 1, 1, 0) };
    const char *method;
    struct pick p = run("confidence", c, 2, NULL, 1, &method);
    assert_string_equal(method, "confidence");
    assert_int_equal(p.order[0], 0);
    assert_string_equal(p.fallback, "not-built");
}

static void the_unhealthy_come_last(void **state)
{
    (void)state;
    struct candidate c[] = { candidate("best", .9, 1, 0), candidate("b", .5, 1, 0),
                             candidate("c", .7, 1, 0) };
    c[0].is_healthy = false;
    struct pick p = run("multi_factor", c, 3, conf("multi_factor", "weights: {quality: 1}"), 1,
                        NULL);
    assert_int_equal(p.order[0], 2);
    assert_int_equal(p.order[1], 1);
    assert_int_equal(p.order[2], 0);
    assert_true(isnan(p.scores[0]));
    for (int i = 0; i < 3; i++)
        c[i].is_healthy = false;                /* all down: nobody is last */
    assert_int_equal(run("static", c, 3, NULL, 1, NULL).order[0], 0);
}

/* Weights .5 .25 .25 0 over scaled figures, by hand: quality (0, 1, .5), cost inverted
 * (1, 0, .5), latency only b and c known: b 1, c 0, a missing 0. */
static void multi_factor_adds_scaled_figures(void **state)
{
    (void)state;
    struct candidate c[] = { candidate("a", .2, 1, 0), candidate("b", .8, 3, 0),
                             candidate("c", .5, 2, 0) };
    c[1].latency = timing(.1, .01);
    c[2].latency = timing(.1, .03);
    struct pick p = run("multi_factor", c, 3,
                        conf("multi_factor", "weights: {quality: 2, latency: 1, cost: 1}"), 1,
                        NULL);
    assert_float_equal(p.scores[0], .25, 1e-6);
    assert_float_equal(p.scores[1], .75, 1e-6);
    assert_float_equal(p.scores[2], .375, 1e-6);
    assert_int_equal(p.order[0], 1);
    assert_int_equal(p.order[1], 2);
    assert_float_equal(p.confidence, 1, 1e-9);  /* min(1, (.75 - .375) / .75 + .5) */
    assert_string_equal(p.reason, "best_score");
}

static void multi_factor_without_figures_keeps_the_order(void **state)
{
    (void)state;
    struct candidate c[] = { candidate("a", NAN, NAN, 0), candidate("b", NAN, NAN, 0) };
    struct pick p = run("multi_factor", c, 2, NULL, 1, NULL);
    assert_int_equal(p.order[0], 0);
    assert_float_equal(p.scores[0], .125f, 1e-6);  /* only the load is known, and equal */
    assert_float_equal(p.confidence, .5, 1e-9);
}

static void limits_drop_what_is_known_to_be_beyond(void **state)
{
    (void)state;
    struct candidate c[] = { candidate("dear", .9, 10, 0), candidate("busy", .8, 1, 60),
                             candidate("slow", .7, 1, 0), candidate("unknown", .1, NAN, 0) };
    c[2].latency = timing(NAN, .5);
    const void *block = conf("multi_factor",
                             "weights: {quality: 1}\n"
                             "slo: {max_tpot_ms: 200, max_cost_per_1m: 5, max_inflight: 50}");
    struct pick p = run("multi_factor", c, 4, block, 1, NULL);
    assert_int_equal(p.order[0], 3);
    assert_float_equal(p.confidence, 1, 1e-9);
    assert_true(isnan(p.scores[0]) && isnan(p.scores[1]) && isnan(p.scores[2]));
}

static void when_all_are_dropped_the_configuration_says_who(void **state)
{
    (void)state;
    struct candidate c[] = { candidate("a", .9, 9, 0), candidate("b", .8, NAN, 0),
                             candidate("c", .8, 7, 0) };
    for (int i = 0; i < 3; i++)
        c[i].in_flight = 9;
    static const struct { const char *what; uint32_t first; const char *fallback; } cases[] = {
        { "cheapest", 2, NULL }, { "first", 0, NULL },
        { "fail", 0, "selector_invocation_failed" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        str yaml = arena_printf(a, "slo: {max_inflight: 5}\non_no_candidates: %s", cases[i].what);
        struct pick p = run("multi_factor", c, 3, conf("multi_factor", yaml.ptr), 1, NULL);
        assert_int_equal(p.order[0], cases[i].first);
        assert_true(p.confidence == 0);
        if (cases[i].fallback)
            assert_string_equal(p.fallback, cases[i].fallback);
    }
}

static void latency_aware_takes_the_best_mean_ratio(void **state)
{
    (void)state;
    struct candidate c[] = { candidate("a", 0, 0, 0), candidate("b", 0, 0, 0),
                             candidate("new", 0, 0, 0) };
    c[0].latency = timing(.2, .010);            /* ratios 2, 1: 1.5 */
    c[1].latency = timing(.1, .015);            /* ratios 1, 1.5: 1.25 */
    const void *block = conf("latency_aware", "{tpot_percentile: 90, ttft_percentile: 95}");
    struct pick p = run("latency_aware", c, 3, block, 1, NULL);
    assert_int_equal(p.order[0], 1);
    assert_int_equal(p.order[1], 0);
    assert_int_equal(p.order[2], 2);            /* never tried, as in VSR */
    assert_float_equal(p.confidence, 1 / 6.0f, 1e-6);
    assert_true(p.propensity == 1);
}

static void latency_aware_without_figures_takes_the_first(void **state)
{
    (void)state;
    struct candidate c[] = { candidate("a", 0, 0, 0), candidate("b", 0, 0, 0) };
    struct pick p = run("latency_aware", c, 2, conf("latency_aware", "{tpot_percentile: 90}"), 1,
                        NULL);
    assert_int_equal(p.order[0], 0);
    assert_string_equal(p.reason, "no_data");
    assert_true(p.confidence == 0);
    assert_string_equal(run("latency_aware", c, 2, NULL, 1, NULL).fallback, "no_percentile");
}

static void explore_finds_the_unobserved_at_its_share(void **state)
{
    (void)state;
    struct candidate c[] = { candidate("known", 0, 0, 0), candidate("x", 0, 0, 0),
                             candidate("y", 0, 0, 0) };
    c[0].latency = timing(.1, .1);
    const void *block = conf("latency_aware", "{ttft_percentile: 50, explore: 0.2}");
    int n[3] = { 0 };
    for (uint64_t seed = 0; seed < 20000; seed++) {
        struct pick p = run("latency_aware", c, 3, block, seed, NULL);
        n[p.order[0]]++;
        assert_float_equal(p.propensity, p.order[0] ? .1 : .8, 1e-9);
    }
    assert_in_range(n[0], 15700, 16300);
    assert_in_range(n[1], 1800, 2200);
    assert_in_range(n[2], 1800, 2200);
}

static void weighted_gives_each_its_share(void **state)
{
    (void)state;
    struct model_ref refs[] = { { .weight = 1 }, { .weight = 3 }, { .weight = 0 },
                                { .weight = NAN } };
    struct candidate c[4];
    int n[4] = { 0 }, second[4] = { 0 };
    for (int i = 0; i < 4; i++) {
        c[i] = candidate("m", 0, 0, 0);
        c[i].ref = &refs[i];
    }
    for (uint64_t seed = 0; seed < 20000; seed++) {
        struct pick p = run("weighted", c, 4, NULL, seed, NULL);
        n[p.order[0]]++;
        second[p.order[1]]++;
        assert_float_equal(p.propensity, p.order[0] ? .75 : .25, 1e-6);
    }
    assert_in_range(n[0], 4700, 5300);
    assert_in_range(n[1], 14700, 15300);
    assert_int_equal(n[2] + n[3], 0);           /* last resort */
    assert_int_equal(second[2] + second[3], 0);
    for (int i = 0; i < 4; i++)
        refs[i].weight = 0;
    assert_float_equal(run("weighted", c, 4, NULL, 7, NULL).propensity, .25, 1e-6);
}

static void the_same_seed_picks_the_same(void **state)
{
    (void)state;
    struct candidate c[] = { candidate("a", 0, 0, 0), candidate("b", 0, 0, 0),
                             candidate("c", 0, 0, 0) };
    for (uint64_t seed = 0; seed < 50; seed++)
        assert_memory_equal(run("weighted", c, 3, NULL, seed, NULL).order,
                            run("weighted", c, 3, NULL, seed, NULL).order, 3 * sizeof(uint32_t));
}

static int open_arena(void **state)
{
    (void)state;
    a = arena_new();
    return 0;
}

static int close_arena(void **state)
{
    (void)state;
    arena_free(a);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_of_the_catalogue_has_a_name),
        cmocka_unit_test(every_block_decodes_its_defaults),
        cmocka_unit_test(one_candidate_needs_no_selector),
        cmocka_unit_test(an_unknown_type_is_static),
        cmocka_unit_test(what_is_not_built_takes_the_first_and_says_so),
        cmocka_unit_test(the_unhealthy_come_last),
        cmocka_unit_test(multi_factor_adds_scaled_figures),
        cmocka_unit_test(multi_factor_without_figures_keeps_the_order),
        cmocka_unit_test(limits_drop_what_is_known_to_be_beyond),
        cmocka_unit_test(when_all_are_dropped_the_configuration_says_who),
        cmocka_unit_test(latency_aware_takes_the_best_mean_ratio),
        cmocka_unit_test(latency_aware_without_figures_takes_the_first),
        cmocka_unit_test(explore_finds_the_unobserved_at_its_share),
        cmocka_unit_test(weighted_gives_each_its_share),
        cmocka_unit_test(the_same_seed_picks_the_same),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
