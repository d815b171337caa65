/* Who comes in: listener keys, virtual keys, tokens, identity headers of a trusted proxy. */
#include "tenancy_world.h"

#include <errno.h>

#include "base/json.h"

static int admitted(struct world *w, const char *headers, struct req **out)
{
    struct req *r = request_new(w, "dear cheap", headers, 10);
    if (key_admit(r) == 0)
        key_identity(r);
    *out = r;
    return r->fail.status;
}

static int status_of(struct world *w, const char *headers)
{
    struct req *r;
    int status = admitted(w, headers, &r);
    arena_free(r->a);
    return status;
}

static void without_keys_everybody_may_come_in(void **state)
{
    (void)state;
    struct world *w = world_new("  {}\n");
    struct req *r;
    assert_int_equal(admitted(w, "authorization: Bearer sk-whatever", &r), 0);
    assert_int_equal(r->caller->kind, CALLER_ANONYMOUS);
    arena_free(r->a);
    assert_int_equal(status_of(w, ""), 0);
    assert_int_equal(status_of(w, "authorization: Bearer sbx-ann-secret"), 401);    /* a virtual key is never taken for nobody's */
    world_free(w);
}

static void listener_keys_work_as_before(void **state)
{
    (void)state;
    str items[] = { S("alpha"), S("beta") };
    struct key_list list = { 2, items };
    struct world *w = world_new("  {}\n");
    w->listener.keys = &list;
    static const struct { const char *headers; int status; } cases[] = {
        { "authorization: Bearer alpha", 0 }, { "authorization: bearer  beta", 0 }, { "x-api-key: beta", 0 }, { "api-key: alpha", 0 },
        { "x-goog-api-key: alpha", 0 }, { "", 401 }, { "authorization: Bearer alph", 401 }, { "authorization: Bearer alphaa", 401 },
        { "authorization: Basic alpha", 401 }, { "x-api-key: gamma", 401 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        if (status_of(w, cases[i].headers) != cases[i].status)
            fail_msg("%s", cases[i].headers);
    world_free(w);
}

#define KEYS \
    "  identity:\n    keys:\n" \
    "      - {id: ann, secret: sbx-ann-one, owner: ann@x, team: red, project: p, role: admin, groups: [a, b]}\n" \
    "      - {id: hash, secret_sha256: 3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3}\n" \
    "      - {id: old, secret: s, expires: 2020-01-01}\n      - {id: off, secret: s, disabled: true}\n" \
    "      - {id: turned, secret: new, previous_sha256: 3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3, previous_until: 2099-01-01}\n" \
    "      - {id: turned2, secret: new, previous_sha256: 3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3, previous_until: 2020-01-01}\n" \
    "      - {id: unset, secret_env: NO_SUCH_VARIABLE_ANYWHERE}\n"

static void virtual_keys_say_who_is_asking(void **state)
{
    (void)state;
    struct world *w = world_new(KEYS);
    struct req *r;
    assert_int_equal(admitted(w, "authorization: Bearer sbx-ann-one", &r), 0);
    assert_int_equal(r->caller->kind, CALLER_KEY);
    assert_true(str_eq(r->caller->key_id, S("ann")) && str_eq(r->facts.user_id, S("ann@x")) && str_eq(r->caller->team, S("red")));
    assert_int_equal(r->facts.n_groups, 3);                 /* and the role */
    assert_true(r->facts.has_identity);
    arena_free(r->a);
    static const struct { const char *headers; int status; } cases[] = {
        { "x-api-key: sbx-ann-one", 0 }, { "x-api-key: sbx-hash-secretword", 401 }, { "x-api-key: sbx-hash-one", 401 },
        { "x-api-key: sbx-ann-two", 401 }, { "x-api-key: sbx-ann-", 401 }, { "x-api-key: sbx-ann", 401 }, { "x-api-key: sbx--one", 401 },
        { "x-api-key: sbx-", 401 }, { "x-api-key: sbx-bob-one", 401 }, { "x-api-key: sbx-old-s", 401 }, { "x-api-key: sbx-off-s", 401 },
        { "x-api-key: sbx-turned-new", 0 }, { "x-api-key: sbx-turned2-new", 0 }, { "x-api-key: sbx-unset-", 401 },
        { "x-api-key: sbx-unset-x", 401 }, { "", 401 }, { "authorization: Bearer sk-other", 401 },
        { "x-api-key: sbx-hash-three", 401 }, { "x-api-key: sbx-turned-three", 401 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        if (status_of(w, cases[i].headers) != cases[i].status)
            fail_msg("%s: %d", cases[i].headers, status_of(w, cases[i].headers));
    world_free(w);
}

static void the_old_secret_is_good_for_the_grace_only(void **state)
{
    (void)state;                                            /* sha256("two") */
    struct world *w = world_new(
        "  identity:\n    keys:\n"
        "      - {id: a, secret: one, previous_sha256: 3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3, previous_until: 2099-01-01}\n"
        "      - {id: b, secret: one, previous_sha256: 3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3, previous_until: 2020-01-01}\n");
    assert_int_equal(status_of(w, "x-api-key: sbx-a-one"), 0);
    assert_int_equal(status_of(w, "x-api-key: sbx-a-two"), 0);
    assert_int_equal(status_of(w, "x-api-key: sbx-b-one"), 0);
    assert_int_equal(status_of(w, "x-api-key: sbx-b-two"), 401);
    world_free(w);
}

static void who_may_vouch_for_others(void **state)
{
    (void)state;
    const char *headers = "x-authz-user-id: eve\nx-authz-user-groups: g1, g2\nx-authz-team-id: blue";
    const char *with_key = "x-api-key: sbx-ann-one\nx-authz-user-id: eve";
    static const struct { const char *yaml; const char *peer; const char *user, *user_with_key; } cases[] = {
        /* nobody declared: headers are believed, but a key's owner is stronger than a header anybody may write */
        { KEYS "    require_key: never\n", "10.1.2.3:99", "eve", "ann@x" },
        { KEYS "    require_key: never\n    trusted_peers: [10.0.0.0/8]\n", "10.1.2.3:99", "eve", "eve" },
        { KEYS "    require_key: never\n    trusted_peers: [10.0.0.0/8]\n", "11.1.2.3:99", "", "ann@x" },
        { KEYS "    require_key: never\n    trusted_peers: [10.1.2.3, \"fd00::/8\"]\n", "10.1.2.4:99", "", "ann@x" },
        { KEYS "    require_key: never\n    trusted_peers: [10.1.2.3, \"fd00::/8\"]\n", "[fd12::1]:99", "eve", "eve" },
        { KEYS "    require_key: never\n    trusted_peers: [10.0.0.0/8]\n", "[::ffff:10.9.9.9]:99", "eve", "eve" },
        { KEYS "    require_key: never\n    trusted_peers: [10.0.0.0/8]\n", "", "", "ann@x" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct world *w = world_new(cases[i].yaml);
        for (int k = 0; k < 2; k++) {
            struct req *r = request_new(w, "cheap", k ? with_key : headers, 10);
            r->client->peer_len = (uint8_t)snprintf(r->client->peer, sizeof r->client->peer, "%s", cases[i].peer);
            assert_int_equal(key_admit(r), 0);
            key_identity(r);
            const char *expected = k ? cases[i].user_with_key : cases[i].user;
            if (!str_eq(r->facts.user_id, str_of(expected)))
                fail_msg("case %zu.%d: '" STR_FMT "'", i, k, STR_ARG(r->facts.user_id));
            if (!k) {
                assert_int_equal(r->facts.n_groups, *expected ? 2 : 0);
                assert_true(str_eq(r->caller->team, *expected ? S("blue") : S("")));
            }
            arena_free(r->a);
        }
        world_free(w);
    }
}

static void keys_may_be_bound_to_models_and_entrypoints(void **state)
{
    (void)state;
    struct world *w = world_new("  identity:\n    keys:\n      - {id: m, secret: s, models: [\"ch*\"]}\n"
                                "      - {id: e, secret: s, entrypoints: [auto]}\n      - {id: x, secret: s, entrypoints: [\"other*\"]}\n"
                                "      - {id: n, secret: s, models: [nothing]}\n      - {id: all, secret: s}\n");
    static const struct { const char *key; const char *asks; bool is_concrete; int status; unsigned n; } cases[] = {
        { "sbx-m-s", "auto", false, 0, 1 }, { "sbx-m-s", "dear", true, 403, 0 }, { "sbx-m-s", "cheap", true, 0, 1 },
        { "sbx-e-s", "auto", false, 0, 2 }, { "sbx-e-s", "cheap", true, 403, 0 }, { "sbx-x-s", "auto", false, 403, 0 },
        { "sbx-n-s", "auto", false, 403, 0 }, { "sbx-all-s", "auto", false, 0, 2 }, { "sbx-all-s", "dear", true, 0, 2 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char header[64];
        snprintf(header, sizeof header, "x-api-key: %s", cases[i].key);
        struct req *r = request_new(w, "dear cheap", header, 10);
        r->chat.model = str_of(cases[i].asks);
        if (cases[i].is_concrete)
            r->recipe = NULL;
        assert_int_equal(key_admit(r), 0);
        limit_admit(r);
        if (r->fail.status != cases[i].status || (!cases[i].status && r->n_order != cases[i].n))
            fail_msg("%s asks for %s: %d, %u models", cases[i].key, cases[i].asks, r->fail.status, r->n_order);
        arena_free(r->a);
    }
    world_free(w);
}

/* ---- run time ---- */

static const struct value *body(struct arena *a, const char *text)
{
    return yaml_parse(a, str_of(text), "body", NULL);
}

static int status_with(struct world *w, const char *key)
{
    char header[256];
    snprintf(header, sizeof header, "authorization: Bearer %s", key);
    return status_of(w, header);
}

static void keys_are_made_changed_rotated_and_removed(void **state)
{
    (void)state;
    struct world *w = world_new("  {}\n");
    struct err e = { 0 };
    struct key_secret secret, second, third;
    assert_int_equal(books_open(w->snap.config, &e), 0);
    assert_int_equal(keys_create(body(w->a, "{id: ann, owner: ann, team: red, limits: {requests_per_minute: 2}}"), &secret, &e), 0);
    assert_memory_equal(secret.text, "sbx-ann-", 8);
    assert_int_equal(strlen(secret.text), 8 + 43);
    assert_int_equal(status_with(w, secret.text), 0);
    assert_int_equal(keys_create(body(w->a, "{id: ann}"), &second, &e), -EEXIST);
    assert_int_equal(keys_create(body(w->a, "{}"), &second, &e), 0);
    assert_int_equal(status_with(w, second.text), 0);
    static const char *const bad[] = { "{id: a-b}", "{id: \"\", limts: {}}", "{secret: x}", "{secret_sha256: x}", "[]", "{expires: soon}",
                                       "{limits: {requests_per_minute: -1}}", "{budget: {amount_usd: 1, period: aeon}}" };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        e = (struct err){ 0 };
        if (keys_create(body(w->a, bad[i]), &third, &e) != -1 || !e.text[0])
            fail_msg("%s made a key", bad[i]);
    }
    /* its limits count */
    char header[256];
    snprintf(header, sizeof header, "authorization: Bearer %s", secret.text);
    assert_int_equal(request_run(w, "cheap", header, 10, 1, 1), 0);
    assert_int_equal(request_run(w, "cheap", header, 10, 1, 1), 0);
    assert_int_equal(request_run(w, "cheap", header, 10, 1, 1), 429);
    e = (struct err){ 0 };
    assert_int_equal(keys_change(S("ann"), body(w->a, "{limits: {requests_per_minute: 3}, team: null}"), &e), 0);
    assert_int_equal(request_run(w, "cheap", header, 10, 1, 1), 0);
    assert_int_equal(keys_change(S("ann"), body(w->a, "{id: eve}"), &e), -1);
    assert_int_equal(keys_change(S("ann"), body(w->a, "{secret: x}"), &e), -1);
    assert_int_equal(keys_change(S("nobody"), body(w->a, "{}"), &e), -ENOENT);
    struct buf out = { 0 };
    struct json_writer jw = { .out = &out };
    assert_true(keys_write(S("ann"), &w->snap, &jw));
    buf_char(&out, 0);
    assert_non_null(strstr(out.ptr, "\"owner\":\"ann\""));
    assert_null(strstr(out.ptr, "red"));
    assert_null(strstr(out.ptr, "sha256"));
    buf_free(&out);
    /* rotation */
    assert_int_equal(keys_rotate(S("ann"), 3600 * NS_PER_S, &third, &e), 0);
    assert_int_equal(status_with(w, third.text), 0);
    assert_int_equal(status_with(w, secret.text), 0);       /* an hour of grace */
    assert_int_equal(keys_rotate(S("ann"), 0, &second, &e), 0);
    assert_int_equal(status_with(w, second.text), 0);
    assert_int_equal(status_with(w, third.text), 401);
    assert_int_equal(status_with(w, secret.text), 401);
    /* a request that holds the key sees it to its end */
    struct req *r;
    snprintf(header, sizeof header, "authorization: Bearer %s", second.text);
    assert_int_equal(admitted(w, header, &r), 0);
    assert_int_equal(keys_change(S("ann"), body(w->a, "{disabled: true}"), &e), 0);
    assert_int_equal(status_with(w, second.text), 401);
    assert_int_equal(keys_delete(S("ann"), &e), 0);
    assert_int_equal(keys_delete(S("ann"), &e), -ENOENT);
    assert_true(str_eq(r->caller->key_id, S("ann")));
    arena_free(r->a);
    assert_int_equal(status_with(w, second.text), 401);
    books_close();
    keys_forget();
    world_free(w);
}

static void what_it_costs(void **state)
{
    (void)state;
    struct world *w = world_new(KEYS);
    static const char *const headers[] = { "content-type: application/json\nauthorization: Bearer sbx-ann-one" };
    struct req *r = request_new(w, "cheap", headers[0], 10);
    enum { ROUNDS = 20000 };
    uint64_t from = clock_now();
    for (int i = 0; i < ROUNDS; i++)
        key_admit(r);
    print_message("    a virtual key: %.0f ns\n", (double)(clock_now() - from) / ROUNDS);
    arena_free(r->a);
    world_free(w);
    w = world_new("  {}\n");
    r = request_new(w, "cheap", "content-type: application/json\nauthorization: Bearer sk-1", 10);
    from = clock_now();
    for (int i = 0; i < ROUNDS; i++)
        key_admit(r);
    print_message("    no keys configured: %.0f ns\n", (double)(clock_now() - from) / ROUNDS);
    arena_free(r->a);
    world_free(w);
}

static void bad_configurations_are_told(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "  identity: {keys: [{id: a}]}\n", "  identity: {keys: [{id: a-b, secret: x}]}\n", "  identity: {keys: [{secret: x}]}\n",
        "  identity: {keys: [{id: a, secret: x}, {id: a, secret: y}]}\n", "  identity: {keys: [{id: a, secret_sha256: abc}]}\n",
        "  identity: {keys: [{id: a, secret: x, expires: tomorrow}]}\n", "  identity: {trusted_peers: [10.0.0.0/33]}\n",
        "  identity: {trusted_peers: [host.example]}\n", "  identity: {issuers: [{issuer: x, audience: [y]}]}\n",
        "  identity: {issuers: [{issuer: x, jwks_url: \"http://h/k\"}]}\n",
        "  identity: {issuers: [{issuer: x, audience: [y], jwks: \"{}\"}]}\n",
        "  identity: {issuers: [{issuer: x, audience: [y], jwks_url: \"ftp://h\"}]}\n",
        "  identity: {issuers: [{issuer: x, audience: [y], jwks_file: /no/such/file}]}\n",
        "  identity: {pepper_file: /no/such/file}\n", "  quotas: [{limits: {concurrent: 1}}]\n",
        "  quotas: [{name: a, limits: {}}, {name: a, limits: {}}]\n", "  quotas: [{name: a, per: [planet], limits: {}}]\n",
        "  budgets: [{name: a}]\n", "  budgets: [{name: a, amount_usd: -1}]\n", "  budgets: [{name: a, amount_usd: 1, period: aeon}]\n",
        "  budgets: [{name: a, amount_usd: 1}, {name: a, amount_usd: 1}]\n", "  exchange_rates: {EUR: dear}\n",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        bool ok;
        struct world *w = world_try(bad[i], &ok);
        if (ok)
            fail_msg("taken: %s", bad[i]);
        world_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_keys_everybody_may_come_in),
        cmocka_unit_test(listener_keys_work_as_before),
        cmocka_unit_test(virtual_keys_say_who_is_asking),
        cmocka_unit_test(the_old_secret_is_good_for_the_grace_only),
        cmocka_unit_test(who_may_vouch_for_others),
        cmocka_unit_test(keys_may_be_bound_to_models_and_entrypoints),
        cmocka_unit_test(keys_are_made_changed_rotated_and_removed),
        cmocka_unit_test(bad_configurations_are_told),
        cmocka_unit_test(what_it_costs),
    };
    return cmocka_run_group_tests_name("pipeline/key", tests, NULL, NULL);
}
