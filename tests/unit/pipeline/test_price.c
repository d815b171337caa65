/* What an answer costs: VSR's formula (spec 02, 7.3) and the prices it has no keys for. */
#include "tenancy_world.h"

static void near(double a, double b)
{
    if (!(fabs(a - b) <= 1e-12))
        fail_msg("%.12g is not %.12g", a, b);
}

static void vsr_formula_holds(void **state)
{
    (void)state;
    static const struct pricing_conf p = { .prompt = 10, .completion = 30, .cached_input = 1, .cache_write = 12.5, .is_set = true };
    static const struct { struct usage u; double cost; } cases[] = {
        { { .prompt_tokens = 1000, .completion_tokens = 100 }, (1000 * 10 + 100 * 30) / 1e6 },
        { { .prompt_tokens = 1000, .cached_tokens = 400 }, (600 * 10 + 400 * 1) / 1e6 },
        { { .prompt_tokens = 1000, .cached_tokens = 400, .cache_write_tokens = 100 }, (500 * 10 + 400 * 1 + 100 * 12.5) / 1e6 },
        { { .prompt_tokens = 1000, .cached_tokens = 5000 }, 1000 * 1 / 1e6 },                            /* R clamped to P */
        { { .prompt_tokens = 1000, .cached_tokens = 900, .cache_write_tokens = 900 }, (900 * 1 + 100 * 12.5) / 1e6 },
        { { .prompt_tokens = -5, .completion_tokens = -5, .cached_tokens = -1 }, 0 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        near(pricing_cost(&p, &cases[i].u), cases[i].cost);
    static const struct pricing_conf plain = { .prompt = 10, .is_set = true };
    near(pricing_cost(&plain, &(struct usage){ .prompt_tokens = 100, .cache_write_tokens = 100 }), 100 * 10 / 1e6);  /* write: as prompt */
    static const struct pricing_conf none;
    assert_true(isnan(pricing_cost(&none, &(struct usage){ .prompt_tokens = 1 })));
}

static void parts_with_a_price_of_their_own_leave_the_whole(void **state)
{
    (void)state;
    static const struct pricing_conf p = { .prompt = 1, .completion = 2, .cache_write = 3, .cache_write_1h = 6, .reasoning = 4,
                                           .audio_in = 100, .audio_out = 200, .image = 5, .is_set = true };
    near(pricing_cost(&p, &(struct usage){ .prompt_tokens = 100, .prompt_audio_tokens = 10, .prompt_image_tokens = 20 }),
         (70 * 1 + 10 * 100 + 20 * 5) / 1e6);
    near(pricing_cost(&p, &(struct usage){ .completion_tokens = 100, .reasoning_tokens = 60, .completion_audio_tokens = 10 }),
         (30 * 2 + 60 * 4 + 10 * 200) / 1e6);
    near(pricing_cost(&p, &(struct usage){ .prompt_tokens = 100, .cache_write_tokens = 50, .cache_write_1h_tokens = 20 }),
         (50 * 1 + 30 * 3 + 20 * 6) / 1e6);
    static const struct pricing_conf bare = { .prompt = 1, .completion = 2, .is_set = true };
    near(pricing_cost(&bare, &(struct usage){ .prompt_tokens = 100, .prompt_audio_tokens = 60, .completion_tokens = 10, .reasoning_tokens = 10 }),
         (100 * 1 + 10 * 2) / 1e6);
}

static void dates_decide_which_prices_hold(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct findings found = { .a = a };
    const char *text = "version: v0.3\nproviders:\n  models:\n    - name: m\n      backend_refs: [{endpoint: \"127.0.0.1:1\"}]\n"
                       "      pricing:\n        prompt_per_1m: 1\n        periods:\n          - {from: 2026-07-01, prompt_per_1m: 3}\n"
                       "          - {from: \"2026-05-01T12:00:00Z\", prompt_per_1m: 2}\nrouting: {decisions: []}\n";
    struct config *c = config_load(a, str_of(text), "t", NULL, false, &found);
    assert_non_null(c);
    const struct pricing_conf *p = &c->models[0].pricing;
    static const struct { const char *at; double price; } cases[] = {
        { "2026-01-01", 1 }, { "2026-05-01T11:59:59Z", 1 }, { "2026-05-01T12:00:00Z", 2 }, { "2026-06-30T23:59:59Z", 2 },
        { "2026-07-01", 3 }, { "2030-01-01", 3 }, { "2026-05-01T13:59:59+02:00", 1 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t s;
        assert_true(date_parse(str_of(cases[i].at), &s));
        near(pricing_at(p, (uint64_t)s * 1000000000)->prompt, cases[i].price);
    }
    arena_free(a);
}

static void dates_are_strict(void **state)
{
    (void)state;
    int64_t s;
    static const char *const bad[] = { "", "2026", "2026-13-01", "2026-02-29", "2026-04-31", "2026-01-01T25:00:00Z", "01.02.2026",
                                       "2026-01-01x", "2026-01-01T10", "2026-01-01T10:00:00+2", "1969-01-01" };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (date_parse(str_of(bad[i]), &s))
            fail_msg("%s was taken for a date", bad[i]);
    assert_true(date_parse(S("2024-02-29"), &s));
    assert_int_equal(s, 1709164800);
    assert_true(date_parse(S("2026-11-25T22:16:54.123Z"), &s));
    assert_int_equal(s, 1795645014);
}

static void a_started_micro_dollar_counts_a_whole_one_does_not_become_two(void **state)
{
    (void)state;
    assert_int_equal(micro_usd(0.000001, 1), 1);
    assert_int_equal(micro_usd(0.0000010001, 1), 2);
    assert_int_equal(micro_usd(0.3, 1), 300000);
    assert_int_equal(micro_usd(0.1 + 0.2, 1), 300000);
    assert_int_equal(micro_usd((double)NAN, 1), 0);
    assert_int_equal(micro_usd(-1, 1), 0);
    assert_int_equal(micro_usd(1e300, 1), (int64_t)9e15);
    assert_int_equal(micro_usd(2, 1.5), 3000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vsr_formula_holds),
        cmocka_unit_test(parts_with_a_price_of_their_own_leave_the_whole),
        cmocka_unit_test(dates_decide_which_prices_hold),
        cmocka_unit_test(dates_are_strict),
        cmocka_unit_test(a_started_micro_dollar_counts_a_whole_one_does_not_become_two),
    };
    return cmocka_run_group_tests_name("pipeline/price", tests, NULL, NULL);
}
