/* Limits: rates by sliding and fixed windows, requests at once, who is counted together, and what clients are told. */
#include "tenancy_world.h"

#include <pthread.h>

#include "base/hash.h"

/* ---- meters ---- */

static struct take tokens_at(uint64_t ms, int64_t n)
{
    return (struct take){ .tokens = { 1, n, 0, n }, .now = 1000000 * NS_PER_S + ms * NS_PER_MS, .wall = 1000000 };
}

static bool takes(const struct limit_rule *rule, uint64_t ms, int64_t n, struct meter_view *view)
{
    struct hold h;
    struct take t = tokens_at(ms, n);
    int64_t start;
    enum verdict v = meter_take(rule, S("x"), &t, &h, view);
    if (v == TAKE_OK)
        meter_settle(&h, &t, &start);
    return v == TAKE_OK;
}

static void no_minute_ever_has_more_than_the_limit(void **state)
{
    (void)state;
    const struct limit_rule rule = { .name = S("r"), .most = { [GAUGE_REQUESTS] = 10 }, .window_ns = 60 * NS_PER_S };
    static uint64_t went[100000];
    struct meter_view view;
    size_t n = 0, from = 0;
    uint64_t seed = 7;
    for (uint64_t ms = 0; ms < 600000; ms += hash_mix(seed++) % 900)
        if (takes(&rule, ms, 0, &view))
            went[n++] = ms;
    assert_true(n >= 90);                       /* ten minutes, ten each; the coarse edge of the window costs little */
    for (size_t i = 0; i < n; i++) {
        while (went[i] - went[from] >= 60000)
            from++;
        assert_true(i - from + 1 <= 10);
    }
    meters_forget();
}

static void the_told_wait_is_enough_and_not_much_more(void **state)
{
    (void)state;
    const struct limit_rule rule = { .name = S("r"), .most = { [GAUGE_INPUT] = 1000 }, .window_ns = 60 * NS_PER_S };
    struct meter_view view;
    assert_true(takes(&rule, 0, 600, &view));
    assert_true(takes(&rule, 20000, 300, &view));
    assert_int_equal(view.gauges[GAUGE_INPUT].left, 100);
    assert_false(takes(&rule, 30000, 500, &view));
    uint64_t wait = view.wait_ns / NS_PER_MS;
    assert_in_range(wait, 29000, 34001);        /* until the first 600 leave */
    assert_false(takes(&rule, 30000 + wait - 5, 500, &view));
    assert_true(takes(&rule, 30000 + wait + 5, 500, &view));
    assert_false(takes(&rule, 99000, 2000, &view));
    assert_true(view.wait_ns == UINT64_MAX);    /* more than the whole window */
    meters_forget();
}

static void fixed_windows_begin_anew_at_their_edge(void **state)
{
    (void)state;
    const struct limit_rule rule = { .name = S("r"), .most = { [GAUGE_REQUESTS] = 3 }, .window_ns = 3600 * NS_PER_S, .is_fixed = true };
    struct meter_view view;
    uint64_t edge = (3600 - 1000000 % 3600) * 1000;
    for (int i = 0; i < 3; i++)
        assert_true(takes(&rule, edge - 2, 0, &view));
    assert_false(takes(&rule, edge - 1, 0, &view));
    assert_int_equal(view.wait_ns, NS_PER_MS);
    assert_true(takes(&rule, edge, 0, &view));
    meters_forget();
}

static void the_truth_takes_the_estimates_place(void **state)
{
    (void)state;
    const struct limit_rule rule = { .name = S("r"), .most = { [GAUGE_TOKENS] = 1000 }, .window_ns = 60 * NS_PER_S };
    struct hold h;
    struct meter_view view;
    int64_t start;
    struct take guess = tokens_at(0, 800), truth = tokens_at(5000, 100);
    assert_int_equal(meter_take(&rule, S("x"), &guess, &h, &view), TAKE_OK);
    assert_false(takes(&rule, 100, 300, &view));
    meter_settle(&h, &truth, &start);
    assert_true(takes(&rule, 5100, 900, &view));
    assert_false(takes(&rule, 5200, 1, &view));
    guess = tokens_at(200000, 100);
    assert_int_equal(meter_take(&rule, S("x"), &guess, &h, &view), TAKE_OK);
    truth = tokens_at(205000, 5000);            /* it was far more: others wait */
    meter_settle(&h, &truth, &start);
    assert_false(takes(&rule, 206000, 1, &view));
    /* A correction downwards of what has left the window long ago gives nothing to the present. */
    guess = tokens_at(400000, 1000);
    assert_int_equal(meter_take(&rule, S("y"), &guess, &h, &view), TAKE_OK);
    truth = tokens_at(500000, 0);
    meter_settle(&h, &truth, &start);
    guess = tokens_at(500000, 1001);
    assert_int_equal(meter_take(&rule, S("y"), &guess, &h, &view), TAKE_TOKENS);
    meters_forget();
}

static void idle_meters_make_room_and_held_ones_stay(void **state)
{
    (void)state;
    const struct limit_rule rule = { .name = S("r"), .concurrent = 1, .most = { [GAUGE_REQUESTS] = 5 }, .window_ns = 60 * NS_PER_S };
    struct hold h[100], other;
    struct meter_view view;
    char subject[32];
    for (int i = 0; i < 100; i++) {
        snprintf(subject, sizeof subject, "held%d", i);
        struct take t = tokens_at(0, 0);
        assert_int_equal(meter_take(&rule, str_of(subject), &t, &h[i], &view), TAKE_OK);
    }
    size_t refused = 0;
    for (int i = 0; i < 3 * METERS_MAX / 2; i++) {     /* an attacker's made-up users, an hour long */
        snprintf(subject, sizeof subject, "user%d", i);
        struct take t = tokens_at((uint64_t)i * 20, 0);
        int64_t start;
        if (meter_take(&rule, str_of(subject), &t, &other, &view) == TAKE_OK)
            meter_settle(&other, &t, &start);
        else
            refused++;
    }
    assert_true(meters_count() <= METERS_MAX);
    assert_int_equal(refused, 0);
    for (int i = 0; i < 100; i++) {
        snprintf(subject, sizeof subject, "held%d", i);
        struct take t = tokens_at(4000000, 0);
        assert_int_equal(meter_take(&rule, str_of(subject), &t, &other, &view), TAKE_CONCURRENT);
        meter_undo(&h[i]);
        assert_int_equal(meter_take(&rule, str_of(subject), &t, &other, &view), TAKE_OK);
        meter_undo(&other);
    }
    meters_forget();
}

/* ---- requests ---- */

static void vsr_rules_count_users_apart(void **state)
{
    (void)state;
    struct world *w = world_new(
        "  services:\n    ratelimit:\n      providers:\n        - type: local-limiter\n          rules:\n"
        "            - {name: free, match: {group: free}, requests_per_unit: 3, unit: minute}\n"
        "            - {name: premium, match: {group: premium}, requests_per_unit: 100, unit: minute}\n");
    const char *ann = "x-authz-user-id: ann\nx-authz-user-groups: free", *bob = "x-authz-user-id: bob\nx-authz-user-groups: free, x";
    const char *eve = "x-authz-user-id: eve\nx-authz-user-groups: premium";
    for (int i = 0; i < 3; i++)
        assert_int_equal(request_run(w, "cheap", ann, 10, 5, 5), 0);
    struct req *r = request_new(w, "cheap", ann, 10);
    key_admit(r);
    key_identity(r);
    assert_int_equal(limit_admit(r), -1);
    assert_int_equal(r->fail.status, 429);
    assert_string_equal(r->fail.type, "rate_limit_error");
    assert_string_equal(r->response_path, "rate_limited");
    assert_true(r->fail.retry_after_ns > 0 && r->fail.retry_after_ns <= 60 * NS_PER_S);
    struct buf out = { 0 };
    limit_headers(r, false, &out);
    buf_char(&out, 0);
    assert_non_null(strstr(out.ptr, "x-ratelimit-limit: 3\r\n"));
    assert_non_null(strstr(out.ptr, "x-ratelimit-remaining: 0\r\n"));
    assert_non_null(strstr(out.ptr, "x-ratelimit-limit-requests: 3\r\n"));
    buf_free(&out);
    request_end(r, 0, 0);
    assert_int_equal(request_run(w, "cheap", bob, 10, 5, 5), 0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(request_run(w, "cheap", eve, 10, 5, 5), 0);
    assert_int_equal(request_run(w, "cheap", "", 10, 5, 5), 0);     /* in no group: no rule */
    world_free(w);
}

static void a_later_rule_that_refuses_leaves_the_earlier_ones_uncharged(void **state)
{
    (void)state;
    struct world *w = world_new("  quotas:\n    - {name: wide, limits: {requests_per_minute: 3}}\n"
                                "    - {name: narrow, match: {model: dear}, limits: {requests_per_minute: 1}}\n");
    assert_int_equal(request_run(w, "dear", "", 10, 5, 5), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(request_run(w, "dear", "", 10, 5, 5), 429);
    assert_int_equal(request_run(w, "cheap", "", 10, 5, 5), 0);     /* two of three are left */
    assert_int_equal(request_run(w, "cheap", "", 10, 5, 5), 0);
    assert_int_equal(request_run(w, "cheap", "", 10, 5, 5), 429);
    world_free(w);
}

static void input_and_output_tokens_are_limited_apart(void **state)
{
    (void)state;
    struct world *w = world_new("  quotas:\n    - {name: in, match: {model: cheap}, limits: {input_tokens_per_minute: 2500}}\n"
                                "    - {name: out, match: {model: dear}, limits: {output_tokens_per_minute: 100}}\n");
    assert_int_equal(request_run(w, "cheap", "", 10, 1000, 5000), 0);
    assert_int_equal(request_run(w, "cheap", "", 10, 1000, 5000), 0);
    assert_int_equal(request_run(w, "cheap", "", 10, 1000, 5000), 429);
    assert_int_equal(request_run(w, "dear", "", 50, 1000000, 40), 0);
    assert_int_equal(request_run(w, "dear", "", 50, 1000000, 90), 0);
    assert_int_equal(request_run(w, "dear", "", 50, 1, 1), 429);
    /* An answer longer than a whole window is let in when nothing else is there, and pays. */
    struct world *v = world_new("  quotas:\n    - {name: out2, limits: {output_tokens_per_minute: 100}}\n");
    assert_int_equal(request_run(v, "cheap", "", 300, 10, 300), 0);
    assert_int_equal(request_run(v, "cheap", "", 1, 10, 1), 429);
    arena_free(v->a);
    world_free(w);
}

static void requests_at_once_are_counted_until_they_end(void **state)
{
    (void)state;
    struct world *w = world_new("  quotas:\n    - {name: few, per: [user], limits: {concurrent: 2}}\n");
    struct req *r[4];
    for (int i = 0; i < 4; i++) {
        r[i] = request_new(w, "cheap", "x-authz-user-id: ann", 10);
        key_admit(r[i]);
        key_identity(r[i]);
        limit_admit(r[i]);
    }
    assert_int_equal(r[1]->fail.status, 0);
    assert_int_equal(r[2]->fail.status, 429);
    assert_int_equal(request_run(w, "cheap", "x-authz-user-id: bob", 10, 1, 1), 0);
    request_end(r[0], 1, 1);
    assert_int_equal(request_run(w, "cheap", "x-authz-user-id: ann", 10, 1, 1), 0);
    arena_free(r[1]->a);                        /* dies without having been settled: nothing is left behind */
    assert_int_equal(request_run(w, "cheap", "x-authz-user-id: ann", 10, 1, 1), 0);
    r[0] = request_new(w, "cheap", "x-authz-user-id: ann", 10);
    key_identity(r[0]);
    assert_int_equal(limit_admit(r[0]), 0);
    request_end(r[0], 1, 1);
    request_end(r[2], 0, 0);
    request_end(r[3], 0, 0);
    world_free(w);
}

static void another_model_that_answered_pays_its_own_meter(void **state)
{
    (void)state;
    struct world *w = world_new("  quotas:\n    - {name: q, per: [model], limits: {tokens_per_minute: 3000}}\n");
    struct req *r = request_new(w, "dear cheap", "", 10);
    assert_int_equal(limit_admit(r), 0);
    r->order[0] = world_model(w, "cheap");      /* the first one failed */
    request_end(r, 2990, 5);
    assert_int_equal(request_run(w, "dear", "", 10, 1000, 5), 0);
    assert_int_equal(request_run(w, "cheap", "", 10, 1000, 5), 429);
    world_free(w);
}

static void headers_tell_the_tightest_limit(void **state)
{
    (void)state;
    struct world *w = world_new("  quotas:\n    - {name: a, limits: {requests_per_minute: 100, tokens_per_minute: 90000}}\n"
                                "    - {name: b, limits: {requests_per_minute: 10, input_tokens_per_minute: 5000}}\n");
    struct req *r = request_new(w, "cheap", "", 10);
    struct buf out = { 0 };
    assert_false(limit_has_headers(r));
    limit_headers(r, false, &out);
    assert_int_equal(out.len, 0);
    limit_admit(r);
    assert_true(limit_has_headers(r));
    limit_headers(r, false, &out);
    buf_char(&out, 0);
    assert_non_null(strstr(out.ptr, "x-ratelimit-limit-requests: 10\r\nx-ratelimit-remaining-requests: 9\r\nx-ratelimit-reset-requests: 1m"));
    assert_non_null(strstr(out.ptr, "x-ratelimit-limit-tokens: 90000\r\nx-ratelimit-remaining-tokens: 88990\r\n"));
    assert_null(strstr(out.ptr, "x-ratelimit-limit:"));
    out.len = 0;
    limit_headers(r, true, &out);
    buf_char(&out, 0);
    assert_non_null(strstr(out.ptr, "anthropic-ratelimit-requests-limit: 10\r\nanthropic-ratelimit-requests-remaining: 9\r\nanthropic-ratelimit-requests-reset: 20"));
    assert_non_null(strstr(out.ptr, "anthropic-ratelimit-input-tokens-remaining: 4000\r\n"));
    assert_non_null(strstr(out.ptr, "anthropic-ratelimit-tokens-limit: 90000\r\n"));
    buf_free(&out);
    request_end(r, 1, 1);
    world_free(w);
}

static void globs_match(void **state)
{
    (void)state;
    static const struct { const char *glob, *text; bool is; } cases[] = {
        { "", "", true }, { "*", "", true }, { "*", "abc", true }, { "gpt-*", "gpt-5", true }, { "gpt-*", "xgpt-5", false },
        { "*-mini", "gpt-5-mini", true }, { "*-mini", "gpt-5-mini-x", false }, { "a?c", "abc", true }, { "a?c", "ac", false },
        { "*a*b*c*", "xxaxxbxxcxx", true }, { "*a*b*c*", "xxaxxcxxbxx", false }, { "a", "", false }, { "**", "x", true },
        { "a*", "a", true }, { "*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        if (limit_glob(str_of(cases[i].glob), str_of(cases[i].text)) != cases[i].is)
            fail_msg("%s over %s", cases[i].glob, cases[i].text);
}

/* ---- the price of it ---- */

static double nanoseconds(struct world *w, int rounds)
{
    uint64_t spent = 0;
    struct usage u = { .prompt_tokens = 10, .completion_tokens = 5, .is_known = true };
    for (int i = 0; i < rounds; i++) {
        struct req *r = request_new(w, "cheap", "", 10);    /* its arena is as small as a real one's */
        r->model = r->order[0];
        uint64_t from = clock_now();
        for (int k = 0; k < 8; k++) {
            r->reservation = NULL;
            limit_admit(r);
            limit_settle(r, &u, 0.00001);
        }
        spent += clock_now() - from;
        arena_free(r->a);
    }
    return (double)spent / rounds / 8;
}

static void what_it_costs(void **state)
{
    (void)state;
    static const struct { const char *name, *yaml; } cases[] = {
        { "no rule", "  {}\n" },
        { "one rule", "  quotas:\n    - {name: a, per: [user], limits: {requests_per_minute: 1000000}}\n" },
        { "rate, tokens, budget", "  quotas:\n    - {name: a, per: [user], limits: {requests_per_minute: 1000000, concurrent: 100}}\n"
                                  "    - {name: b, per: [key], limits: {tokens_per_minute: 1000000000}}\n"
                                  "  budgets:\n    - {name: c, per: [team], amount_usd: 1000000}\n" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct world *w = world_new(cases[i].yaml);
        nanoseconds(w, 100);
        print_message("    admit and settle, %s: %.0f ns\n", cases[i].name, nanoseconds(w, 5000));
        world_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_minute_ever_has_more_than_the_limit),
        cmocka_unit_test(the_told_wait_is_enough_and_not_much_more),
        cmocka_unit_test(fixed_windows_begin_anew_at_their_edge),
        cmocka_unit_test(the_truth_takes_the_estimates_place),
        cmocka_unit_test(idle_meters_make_room_and_held_ones_stay),
        cmocka_unit_test(vsr_rules_count_users_apart),
        cmocka_unit_test(a_later_rule_that_refuses_leaves_the_earlier_ones_uncharged),
        cmocka_unit_test(input_and_output_tokens_are_limited_apart),
        cmocka_unit_test(requests_at_once_are_counted_until_they_end),
        cmocka_unit_test(another_model_that_answered_pays_its_own_meter),
        cmocka_unit_test(headers_tell_the_tightest_limit),
        cmocka_unit_test(globs_match),
        cmocka_unit_test(what_it_costs),
    };
    return cmocka_run_group_tests_name("pipeline/limit", tests, NULL, NULL);
}
