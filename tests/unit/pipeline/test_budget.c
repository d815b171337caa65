/* Budgets hold: reserved before, settled after, never overrun, found again after a restart; cheaper models take over. */
#include "tenancy_world.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "base/rand.h"
#include "store/ledger.h"

/* ---- the calendar ---- */

static void periods_are_the_calendars(void **state)
{
    (void)state;
    static const struct { enum period p; const char *at, *start, *end; } cases[] = {
        { PERIOD_MINUTE, "2026-03-04T05:06:07Z", "2026-03-04T05:06:00Z", "2026-03-04T05:07:00Z" },
        { PERIOD_HOUR, "2026-03-04T05:06:07Z", "2026-03-04T05:00:00Z", "2026-03-04T06:00:00Z" },
        { PERIOD_DAY, "2026-03-04T23:59:59Z", "2026-03-04", "2026-03-05" },
        { PERIOD_WEEK, "2026-03-04T05:06:07Z", "2026-03-02", "2026-03-09" },
        { PERIOD_WEEK, "2026-03-02T00:00:00Z", "2026-03-02", "2026-03-09" },
        { PERIOD_WEEK, "2026-03-01T23:59:59Z", "2026-02-23", "2026-03-02" },
        { PERIOD_MONTH, "2026-01-31T23:59:59Z", "2026-01-01", "2026-02-01" },
        { PERIOD_MONTH, "2024-02-29T12:00:00Z", "2024-02-01", "2024-03-01" },
        { PERIOD_MONTH, "2026-12-31T12:00:00Z", "2026-12-01", "2027-01-01" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t at, start, end;
        date_parse(str_of(cases[i].at), &at);
        date_parse(str_of(cases[i].start), &start);
        date_parse(str_of(cases[i].end), &end);
        assert_int_equal(period_start(cases[i].p, at), start);
        assert_int_equal(period_end(cases[i].p, start), end);
    }
    assert_int_equal(period_start(PERIOD_TOTAL, 12345), 0);
}

static const struct limit_rule dollar_a_day = { .name = S("budget:day"), .has_money = true, .is_hard = true, .amount = 1000000,
                                                .period = PERIOD_DAY, .window_ns = 60 * NS_PER_S };

static bool spends(int64_t wall, int64_t micro)
{
    struct hold h;
    struct meter_view view;
    const struct take t = { .tokens = { 1 }, .money = micro, .wall = wall, .now = 1 };
    int64_t start;
    if (meter_take(&dollar_a_day, S(""), &t, &h, &view) != TAKE_OK)
        return false;
    meter_settle(&h, &t, &start);
    return true;
}

static void a_clock_that_jumps_gives_no_second_allowance(void **state)
{
    (void)state;
    const int64_t day = 86400, now = 20000 * day + 1000;
    assert_true(spends(now, 900000));
    assert_false(spends(now, 200000));
    assert_true(spends(now + day, 900000));         /* tomorrow */
    assert_false(spends(now, 200000));              /* back to today: both days' money stands here */
    assert_false(spends(now - day, 200000));        /* yesterday: no allowance that was never seen, either */
    assert_false(spends(now - day, 200000));
    assert_true(spends(now + 2 * day, 900000));     /* the day after is new */
    assert_false(spends(now + 2 * day, 200000));
    meters_forget();
}

/* ---- requests ---- */

static void a_hard_budget_refuses_what_may_not_fit(void **state)
{
    (void)state;
    struct world *w = world_new("  budgets:\n    - {name: small, amount_usd: 0.03}\n");
    /* 1000 prompt tokens and at most 1000 of the answer: 0.03 USD at most on `dear`. */
    assert_int_equal(request_run(w, "dear", "", 1000, 1000, 100), 0);       /* costs 0.012 */
    struct req *r = request_new(w, "dear", "", 1000);
    assert_int_equal(limit_admit(r), -1);
    assert_int_equal(r->fail.status, 429);
    assert_string_equal(r->fail.code, "budget_exceeded");
    assert_true(r->fail.no_retry);
    assert_int_equal(r->fail.retry_after_ns, 0);
    assert_non_null(strstr(arena_cstr(r->a, r->fail.message), "'small'"));
    request_end(r, 0, 0);
    assert_int_equal(request_run(w, "dear", "", 300, 1000, 100), 0);        /* 0.016 at most: fits */
    assert_int_equal(request_run(w, "cheap", "", 1000, 1000, 1000), 0);     /* 0.003 */
    assert_int_equal(request_run(w, "cheap", "", 2000, 1000, 1000), 429);   /* 0.027 are spent: 0.005 do not fit */
    assert_int_equal(request_run(w, "free", "", 1000, 1000, 1000), 0);      /* costs nothing: passes */
    world_free(w);
}

static void running_requests_hold_their_most(void **state)
{
    (void)state;
    struct world *w = world_new("  budgets:\n    - {name: b, amount_usd: 0.065}\n");
    struct req *r[3];
    for (int i = 0; i < 3; i++) {
        r[i] = request_new(w, "dear", "", 1000);
        limit_admit(r[i]);
    }
    assert_int_equal(r[1]->fail.status, 0);
    assert_int_equal(r[2]->fail.status, 429);
    request_end(r[2], 0, 0);
    request_end(r[0], 100, 10);                     /* far less than it held */
    assert_int_equal(request_run(w, "dear", "", 1000, 1000, 1), 0);
    arena_free(r[1]->a);                            /* dies unsettled: costs nothing */
    assert_int_equal(request_run(w, "dear", "", 1000, 1000, 1), 0);
    world_free(w);
}

static void rerouting_takes_the_cheapest_that_fits(void **state)
{
    (void)state;
    struct world *w = world_new("  budgets:\n    - {name: b, amount_usd: 0.035, on_budget: reroute, reroute_to: [free]}\n");
    assert_int_equal(request_run(w, "dear cheap", "", 1000, 1000, 1000), 0);    /* 0.03 */
    struct req *r = request_new(w, "dear cheap", "", 1000);
    assert_int_equal(limit_admit(r), 0);
    assert_ptr_equal(r->order[0], world_model(w, "free"));
    assert_ptr_equal(r->order[1], world_model(w, "cheap"));
    assert_int_equal(r->n_order, 2);                /* dear does not fit: not even as a second try */
    assert_string_equal(r->method, "budget");
    request_end(r, 1000, 1000);
    world_free(w);
    w = world_new("  budgets:\n    - {name: b, amount_usd: 0.035, on_budget: reroute}\n");
    assert_int_equal(request_run(w, "dear cheap", "", 1000, 1000, 1000), 0);
    r = request_new(w, "dear cheap", "", 1000);
    assert_int_equal(limit_admit(r), 0);
    assert_ptr_equal(r->order[0], world_model(w, "cheap"));
    assert_int_equal(r->n_order, 1);
    request_end(r, 1000, 1000);                     /* 0.033 */
    assert_int_equal(request_run(w, "dear cheap", "", 1000, 1000, 1000), 429);  /* nothing fits any more: it is hard */
    world_free(w);
}

static void a_soft_budget_never_refuses(void **state)
{
    (void)state;
    struct world *w = world_new("  budgets:\n    - {name: b, amount_usd: 0.01, hard: false}\n");
    for (int i = 0; i < 20; i++) {
        struct req *r = request_new(w, "dear cheap", "", 1000);
        assert_int_equal(limit_admit(r), 0);
        assert_ptr_equal(r->order[0], world_model(w, "cheap"));
        request_end(r, 1000, 1000);
    }
    world_free(w);
    w = world_new("  budgets:\n    - {name: soft, amount_usd: 0.01, hard: false}\n    - {name: hard, amount_usd: 0.02}\n");
    int n = 0;
    while (request_run(w, "dear cheap", "", 1000, 1000, 1000) == 0)
        n++;
    assert_int_equal(n, 6);                         /* the hard one stands: 6 times 0.003 */
    world_free(w);
}

static void a_second_try_that_would_not_fit_is_taken_out(void **state)
{
    (void)state;
    struct world *w = world_new("  budgets:\n    - {name: b, amount_usd: 0.02}\n");
    struct req *r = request_new(w, "cheap dear", "", 1000);
    assert_int_equal(limit_admit(r), 0);
    assert_int_equal(r->n_order, 1);                /* if cheap fails, dear could overrun it */
    request_end(r, 1000, 1000);
    r = request_new(w, "cheap dear", "", 100);
    assert_int_equal(limit_admit(r), 0);
    assert_int_equal(r->n_order, 2);
    r->order[0] = r->order[1];                      /* cheap failed, dear answered: 0.012 */
    request_end(r, 1000, 100);
    assert_int_equal(request_run(w, "cheap", "", 2000, 1000, 100), 0);   /* 0.003 + 0.012 + 0.005 */
    assert_int_equal(request_run(w, "cheap", "", 2000, 1000, 100), 429);
    world_free(w);
}

static void budgets_of_keys_teams_and_models_are_apart(void **state)
{
    (void)state;
    struct world *w = world_new(
        "  identity:\n    keys:\n      - {id: ann, secret: a1, owner: ann, team: red, budget: {amount_usd: 0.05, period: day}}\n"
        "      - {id: bob, secret: b1, owner: bob, team: red}\n      - {id: eve, secret: e1, owner: eve, team: blue}\n"
        "  budgets:\n    - {name: teams, per: [team], amount_usd: 0.1, match: {team: \"*\"}}\n"
        "    - {name: model, match: {model: dear}, amount_usd: 0.15}\n");
    const char *ann = "authorization: Bearer sbx-ann-a1", *bob = "x-api-key: sbx-bob-b1", *eve = "x-goog-api-key: sbx-eve-e1";
    assert_int_equal(request_run(w, "dear", ann, 1000, 1000, 1000), 0);     /* ann .03 red .03 dear .03 */
    assert_int_equal(request_run(w, "dear", ann, 1000, 1000, 1000), 429);   /* ann's own */
    assert_int_equal(request_run(w, "dear", bob, 1000, 1000, 1000), 0);
    assert_int_equal(request_run(w, "dear", bob, 1000, 1000, 1000), 0);     /* red .09 */
    assert_int_equal(request_run(w, "dear", bob, 1000, 1000, 1000), 429);   /* the team's */
    assert_int_equal(request_run(w, "dear", eve, 1000, 1000, 1000), 0);     /* blue .03 dear .12 */
    assert_int_equal(request_run(w, "dear", eve, 1000, 1000, 1000), 0);     /* dear .15 */
    assert_int_equal(request_run(w, "dear", eve, 1000, 1000, 1000), 429);   /* the model's */
    assert_int_equal(request_run(w, "cheap", eve, 1000, 1000, 1000), 0);
    world_free(w);
}

static void prices_in_euros_are_counted_in_dollars(void **state)
{
    (void)state;
    struct world *w = world_new("  exchange_rates: {EUR: 1.25}\n  budgets:\n    - {name: b, amount_usd: 0.0375}\n");
    const struct model *m = world_model(w, "dear");
    ((struct pricing_conf *)(uintptr_t)&m->conf->pricing)->currency = S("EUR");
    assert_int_equal(request_run(w, "dear", "", 1001, 1000, 1000), 429);    /* 0.0375 and a little */
    assert_int_equal(request_run(w, "dear", "", 1000, 1000, 1000), 0);
    assert_int_equal(request_run(w, "cheap", "", 1, 1, 1), 429);
    world_free(w);
}

/* ---- restarts ---- */

static char path[64];

static void file_new(void)
{
    snprintf(path, sizeof path, "/tmp/budget-XXXXXX");
    close(mkstemp(path));
    unlink(path);
}

static void file_drop(void)
{
    char more[80];
    static const char *const ends[] = { "", "-wal", "-shm" };
    for (size_t i = 0; i < 3; i++) {
        snprintf(more, sizeof more, "%s%s", path, ends[i]);
        unlink(more);
    }
}

static struct world *opened(const char *yaml)
{
    char text[2048];
    struct err e = { 0 };
    snprintf(text, sizeof text, "  state: {path: %s}\n%s", path, yaml);
    struct world *w = world_new(text);
    if (books_open(w->snap.config, &e) < 0)
        fail_msg("%s", e.text);
    return w;
}

static void closed(struct world *w)
{
    books_close();
    keys_forget();
    world_free(w);
}

static void what_was_spent_is_found_again(void **state)
{
    (void)state;
    const char *yaml = "  budgets:\n    - {name: b, per: [user], amount_usd: 0.1, period: month}\n    - {name: t, amount_usd: 1, period: total}\n";
    file_new();
    int n = 0;
    for (int run = 0; run < 5; run++) {
        struct world *w = opened(yaml);
        n += request_run(w, "dear", "x-authz-user-id: ann", 1000, 1000, 1000) == 0;
        closed(w);
    }
    assert_int_equal(n, 3);
    struct world *w = opened(yaml);
    assert_int_equal(request_run(w, "dear", "x-authz-user-id: bob", 1000, 1000, 1000), 0);
    struct buf out = { 0 };
    struct json_writer jw = { .out = &out };
    jw_begin(&jw, '[');
    assert_true(budgets_write(S(""), &w->snap, &jw));
    jw_end(&jw, ']');
    buf_char(&out, 0);
    assert_non_null(strstr(out.ptr, "{\"subject\":\"user=ann\",\"spent_usd\":0.09,\"reserved_usd\":0.0,\"left_usd\":0.01}") ? out.ptr
                    : strstr(out.ptr, "{\"subject\":\"user=ann\",\"spent_usd\":0.09,\"reserved_usd\":0,\"left_usd\":0.01}"));
    assert_non_null(strstr(out.ptr, "\"spent_usd\":0.12"));
    buf_free(&out);
    closed(w);
    file_drop();
}

static const struct value *body(struct arena *a, const char *text)
{
    return yaml_parse(a, str_of(text), "body", NULL);
}

static void budgets_can_be_made_changed_and_removed_while_running(void **state)
{
    (void)state;
    struct err e = { 0 };
    file_new();
    struct world *w = opened("");
    struct arena *a = w->a;
    assert_int_equal(budgets_put(S(""), body(a, "{name: x, amount_usd: 0.04, match: {model: dear}}"), true, &e), 0);
    assert_int_equal(budgets_put(S(""), body(a, "{name: x, amount_usd: 1}"), true, &e), -EEXIST);
    assert_int_equal(budgets_put(S("y"), body(a, "{name: y, amount_usd: 1}"), false, &e), -ENOENT);
    assert_int_equal(budgets_put(S(""), body(a, "{name: z, amount_usd: 1, perriod: day}"), true, &e), -1);
    assert_non_null(strstr(e.text, "perriod"));
    e = (struct err){ 0 };
    assert_int_equal(budgets_put(S(""), body(a, "{name: z, amount_usd: 1, per: [planet]}"), true, &e), -1);
    assert_int_equal(budgets_put(S(""), body(a, "[]"), true, &e), -1);
    assert_int_equal(request_run(w, "dear", "", 1000, 1000, 1000), 0);
    assert_int_equal(request_run(w, "dear", "", 1000, 1000, 1000), 429);
    closed(w);
    w = opened("");                           /* it and its spending are still there */
    a = w->a;
    assert_int_equal(request_run(w, "dear", "", 1000, 1000, 1000), 429);
    assert_int_equal(budgets_put(S("x"), body(a, "{name: x, amount_usd: 0.06, match: {model: dear}}"), false, &e), 0);
    assert_int_equal(request_run(w, "dear", "", 1000, 1000, 1000), 0);
    assert_int_equal(request_run(w, "dear", "", 1000, 1000, 1000), 429);
    assert_int_equal(budgets_delete(S("x"), &e), 0);
    assert_int_equal(budgets_delete(S("x"), &e), -ENOENT);
    assert_int_equal(request_run(w, "dear", "", 1000, 1000, 1000), 0);
    closed(w);
    w = opened("");
    assert_int_equal(request_run(w, "dear", "", 1000, 1000, 1000), 0);
    closed(w);
    file_drop();
}

static void spent_see(void *arg, const struct ledger_entry *e)
{
    *(int64_t *)arg += e->micro_usd;
}

/* ---- many at once ---- */

enum { THREADS = 8, ROUNDS = 4000 };
static struct world *shared;
static _Atomic int64_t settled, worst, admitted;

/* Random prices: what a request costs in the end is anything up to the most it could. */
static void *client(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg;
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t most = 1 + rand_below(&seed, 50);
        struct req *r = request_new(shared, i % 3 ? "cheap" : "dear", "", most);
        r->facts.prompt_tokens = 1 + rand_below(&seed, 50);
        if (limit_admit(r) == 0) {
            int64_t used = (int64_t)rand_below(&seed, most + 1), prompt = (int64_t)r->facts.prompt_tokens;
            struct usage u = { .prompt_tokens = prompt, .completion_tokens = used, .is_known = true };
            int64_t cost = micro_usd(price_of(r->order[0], &u, r->facts.now_ns), 1);
            admitted++;
            int64_t now = settled += cost;
            for (int64_t seen = worst; now > seen && !atomic_compare_exchange_weak(&worst, &seen, now); )
                ;
            r->model = r->order[0];
            if (i % 11)
                limit_settle(r, &u, price_of(r->order[0], &u, r->facts.now_ns));
            else
                settled -= cost;                    /* failed: given back with its arena */
        }
        arena_free(r->a);
    }
    return NULL;
}

static void a_thousand_at_once_never_overrun_it(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    file_new();
    shared = opened("  budgets:\n    - {name: one, amount_usd: 1}\n    - {name: models, per: [model], amount_usd: 0.7}\n");
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, client, (void *)(i + 1));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    print_message("    %lld admitted, %lld micro-USD settled, %lld at the worst moment\n", (long long)admitted, (long long)settled,
                  (long long)worst);
    assert_true(settled <= 1000000);
    assert_true(settled > 990000);                  /* and it was used up */
    int64_t kept = 0;
    ledger_sync(books());
    ledger_spend(books(), &(struct ledger_query){ 0 }, spent_see, &kept);
    assert_int_equal(kept, settled);                /* the books know every micro-dollar once */
    closed(shared);
    file_drop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(periods_are_the_calendars),
        cmocka_unit_test(a_clock_that_jumps_gives_no_second_allowance),
        cmocka_unit_test(a_hard_budget_refuses_what_may_not_fit),
        cmocka_unit_test(running_requests_hold_their_most),
        cmocka_unit_test(rerouting_takes_the_cheapest_that_fits),
        cmocka_unit_test(a_soft_budget_never_refuses),
        cmocka_unit_test(a_second_try_that_would_not_fit_is_taken_out),
        cmocka_unit_test(budgets_of_keys_teams_and_models_are_apart),
        cmocka_unit_test(prices_in_euros_are_counted_in_dollars),
        cmocka_unit_test(what_was_spent_is_found_again),
        cmocka_unit_test(budgets_can_be_made_changed_and_removed_while_running),
        cmocka_unit_test(a_thousand_at_once_never_overrun_it),
    };
    return cmocka_run_group_tests_name("pipeline/budget", tests, NULL, NULL);
}
