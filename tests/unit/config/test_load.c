/* tests/unit/config/test_load.c -- from text to a configuration. */
#include "config_test.h"

#include "config/tables.h"

/* The example of the specification, ten lines of which are policy. */
static const char minimal[] =
    "version: v0.3\n"
    "providers:\n"
    "  defaults: {default_model: small}\n"
    "  models:\n"
    "    - {name: small, backend_refs: [{endpoint: \"10.0.0.1:8000\"}]}\n"
    "    - {name: big,   backend_refs: [{base_url: \"https://api.example/v1\", api_key_env: KEY}]}\n"
    "routing:\n"
    "  modelCards: [{name: small}, {name: big}]\n"
    "  signals:\n"
    "    keywords: [{name: proof, operator: OR, keywords: [\"prove\", \"derive\"]}]\n"
    "    context:  [{name: long, min_tokens: \"32K\", max_tokens: \"1M\"}]\n"
    "  decisions:\n"
    "    - name: hard\n"
    "      priority: 100\n"
    "      rules: {operator: OR, conditions: [{type: keyword, name: proof}, {type: context, name: long}]}\n"
    "      modelRefs: [{model: big, use_reasoning: true}]\n"
    "    - {name: rest, priority: 1, modelRefs: [{model: small}]}\n";

static void the_minimal_example_loads(void **state)
{
    (void)state;
    struct loaded l = load(minimal);
    must_load(&l);
    const struct config *c = l.config;
    assert_int_equal(l.found.n, 0);
    assert_string_equal(c->version.ptr, "v0.3");
    assert_int_equal(c->hash.len, 64);
    assert_int_equal(c->n_listeners, 1);
    assert_int_equal(c->listeners[0].port, 8899);
    assert_string_equal(c->listeners[0].address.ptr, "127.0.0.1");
    assert_int_equal(c->n_models, 2);
    assert_string_equal(c->models[1].backends[0].api_key.ptr, "sk-secret");
    assert_int_equal(c->models[0].backends[0].weight, 1);
    assert_int_equal(c->n_profiles, 1);
    const struct profile *p = &c->profiles[0];
    assert_string_equal(p->name.ptr, "default");
    assert_int_equal(p->n_signals, 2);
    assert_int_equal(p->n_decisions, 2);
    assert_int_equal(p->decisions[0].rules->kind, RULE_OR);
    assert_int_equal(p->decisions[0].rules->n_children, 2);
    assert_string_equal(p->decisions[0].rules->children[0]->type.ptr, "keyword");
    assert_true(p->decisions[0].refs[0].use_reasoning);
    assert_null(p->decisions[1].rules);
    assert_int_equal(c->auto_names.n, 3);
    assert_string_equal(c->auto_names.items[2].ptr, "MoM");
    assert_string_equal(c->user_id_header.ptr, "x-authz-user-id");
    assert_int_equal(c->limits.body_bytes, 64 << 20);
    assert_int_equal(c->management.port, 8080);
    assert_true(c->observability.metrics_enabled);
    arena_free(l.a);
}

static void json_loads_too(void **state)
{
    (void)state;
    struct loaded l = load("{\"routing\": {\"decisions\": [{\"name\": \"all\", \"modelRefs\": "
                           "[{\"model\": \"m\"}]}]}, \"providers\": {\"models\": [{\"name\": \"m\", "
                           "\"backend_refs\": [{\"endpoint\": \"h:1\"}]}]}}");
    must_load(&l);
    assert_int_equal(l.config->n_cards, 1);             /* made from the model */
    arena_free(l.a);
}

static void user_settings_lie_over_the_defaults(void **state)
{
    (void)state;
    struct loaded l = load("global:\n"
                           "  router: {auto_model_names: [mine], learning: {protection: {tuning: {switch_margin: 0.2}}}}\n"
                           "  limits: {in_flight: 7, drain: 5s}\n"
                           "  services: {observability: {tracing: {sampling: {type: always_off}}}, response_api: {enabled: no}}\n"
                           "  model_catalog: {embeddings: {semantic: {embedding_config: {top_k: 0}}}}\n");
    must_load(&l);
    const struct config *c = l.config;
    assert_int_equal(c->auto_names.n, 1);
    assert_int_equal(c->limits.in_flight, 7);
    assert_int_equal(c->limits.drain_ns, 5000000000);
    assert_int_equal(c->limits.connections, 16384);
    assert_string_equal(c->observability.trace_sampling.ptr, "always_off");
    assert_true(c->observability.tracing_enabled);
    assert_false(c->response_api.is_enabled);
    assert_int_equal(c->response_api.ttl_s, 86400);
    assert_float_equal(c->learning.holds.margin, 0.2, 1e-12);
    assert_int_equal(c->learning.holds.idle_s, 300);
    assert_float_equal(c->affinity.holds.margin, 0.05, 1e-12);
    const char *embedding = "model_catalog.embeddings.semantic.embedding_config";
    const struct value *v = value_path(c->global, embedding);
    assert_string_equal(value_get(v, S("top_k"))->text.ptr, "0");
    assert_string_equal(value_get(v, S("target_layer"))->text.ptr, "22");
    assert_int_equal(value_path(c->global, "model_catalog.kbs")->n_items, 2);
    arena_free(l.a);
}

static void lists_replace_defaults(void **state)
{
    (void)state;
    struct loaded l = load("global: {model_catalog: {kbs: [{name: mine}]}}");
    must_load(&l);
    assert_int_equal(value_path(l.config->global, "model_catalog.kbs")->n_items, 1);
    arena_free(l.a);
}

/* spec 01 1.2 */
static void the_environment_is_put_into_values(void **state)
{
    static const struct { const char *text, *is; } cases[] = {
        { "plain", "plain" }, { "$SET", "value" }, { "${SET}", "value" }, { "a${SET}b", "avalueb" },
        { "a$SET-b", "avalue-b" }, { "$UNSET", "" }, { "${UNSET}", "" }, { "${UNSET:-d}", "d" },
        { "${UNSET-d}", "d" }, { "${EMPTY:-d}", "d" }, { "${EMPTY-d}", "" }, { "${SET:-d}", "value" },
        { "$$SET", "$SET" }, { "$$", "$" }, { "$$$SET", "$value" }, { "${SET", "${SET" },
        { "^a$", "^a$" }, { "(a$)", "(a$)" }, { "$5", "$5" }, { "${}", "${}" }, { "${UNSET:-}", "" },
        { "$SET$SET", "valuevalue" }, { "$REF", "$SET" }, { "${UNSET:-a:b/c}", "a:b/c" },
        { "$SET_X", "" }, { "${SET?}", "${SET?}" },
    };
    struct arena *a = arena_new();
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        bool is_changed;
        str missing = { 0 };
        str s = config_expand_text(a, str_of(cases[i].text), test_env, &is_changed, &missing);
        if (!str_eq(s, str_of(cases[i].is)))
            fail_msg("%s -> %.*s, not %s", cases[i].text, STR_ARG(s), cases[i].is);
    }
    arena_free(a);
    struct loaded l = load("routing: {}\n"
                           "listeners: [{port: \"${PORT}\", name: $SET, address: \"${A:-0.0.0.0}\"}]");
    must_load(&l);
    assert_int_equal(l.config->listeners[0].port, 9000);
    assert_string_equal(l.config->listeners[0].name.ptr, "value");
    assert_string_equal(l.config->listeners[0].address.ptr, "0.0.0.0");
    arena_free(l.a);
    l = load("routing: {}\nlisteners: [{name: $NOBODY}]");
    must_load(&l);
    assert_int_equal(find(&l, "unset-variable")->at.line, 2);
    arena_free(l.a);
}

static void recipes_are_profiles_of_their_own(void **state)
{
    (void)state;
    struct loaded l = load(
        "routing: {signals: {keywords: [{name: k, operator: OR, keywords: [x]}]}}\n"
        "entrypoints: [{model_names: [fast], recipe: r}, {model_names: [plain], recipe: default}]\n"
        "recipes:\n"
        "  - name: r\n"
        "    routing:\n"
        "      strategy: confidence\n"
        "      signals: {keywords: [{name: k, operator: AND, keywords: [y]}]}\n"
        "      decisions: [{name: d, rules: {type: KEYWORD, name: k, on_unknown: match}}]\n"
        "global: {router: {ranking: v0.3-2026-09}}\n");
    must_load(&l);
    const struct profile *r = &l.config->profiles[1];
    assert_string_equal(r->name.ptr, "r");
    assert_int_equal(r->strategy, STRATEGY_CONFIDENCE);
    assert_int_equal(l.config->profiles[0].strategy, STRATEGY_PRIORITY);
    assert_int_equal(r->revision, REVISION_2026_09);
    assert_int_equal(r->decisions[0].rules->kind, RULE_LEAF);
    assert_string_equal(r->decisions[0].rules->type.ptr, "keyword");
    assert_int_equal(r->decisions[0].on_unknown, UNKNOWN_MATCH);
    arena_free(l.a);
}

static void domains_come_from_decisions_when_none_are_declared(void **state)
{
    (void)state;
    struct loaded l = load("routing: {decisions: [{name: d, rules: {type: domain, name: math}}]}");
    must_load(&l);
    assert_int_equal(l.config->profiles[0].n_signals, 1);
    assert_string_equal(l.config->profiles[0].signals[0].name.ptr, "math");
    arena_free(l.a);
}

static void what_is_no_configuration_says_what_to_do(void **state)
{
    static const struct { const char *text, *name, *says; } cases[] = {
        { "", "not-canonical", "a map" }, { "[1]", "not-canonical", "a list" },
        { "model_config: {}", "not-canonical", "vllm-sr config migrate" },
        { "routing: [", "syntax", "YAML" }, { "routing: {}\nrouting: {}", "syntax", "twice" },
        { "\xff\xfe\xfd", "syntax", "YAML" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct loaded l = load(cases[i].text);
        assert_null(l.config);
        const struct finding *f = find(&l, cases[i].name);
        if (!f || (!strstr(f->text.ptr, cases[i].says) && !strstr(f->hint.ptr, cases[i].says))) {
            show(&l);
            fail_msg("%s", cases[i].text);
        }
        assert_true(f->at.line > 0);
        arena_free(l.a);
    }
}

static void algorithms_and_plugins_are_decoded(void **state)
{
    (void)state;
    struct loaded l = load(
        "routing:\n"
        "  decisions:\n"
        "    - name: d\n"
        "      modelRefs: [{model: a}, {model: b}]\n"
        "      algorithm: {type: multi_factor, multi_factor: {weights: {cost: 1}}}\n"
        "      plugins:\n"
        "        - {type: system_prompt, configuration: {system_prompt: Hi, mode: insert}}\n"
        "        - {type: semantic-cache, configuration: {enabled: true}}\n");
    must_load(&l);
    const struct decision_conf *d = &l.config->profiles[0].decisions[0];
    assert_string_equal(d->algorithm.type.ptr, "multi_factor");
    assert_non_null(d->algorithm.conf);
    assert_int_equal(d->n_plugins, 2);
    assert_string_equal(d->plugins[0].type.ptr, "system_prompt");
    assert_non_null(d->plugins[0].conf);
    assert_string_equal(d->plugins[1].type.ptr, "response_cache");
    assert_null(d->plugins[1].conf);
    assert_non_null(find(&l, "not-built"));
    arena_free(l.a);
}

static void an_old_cache_key_means_the_new_one(void **state)
{
    (void)state;
    struct loaded l = load("global: {stores: {semantic_cache: {max_entries: 5}}}");
    must_load(&l);
    assert_non_null(find(&l, "deprecated-key"));
    assert_string_equal(value_path(l.config->global, "stores.response_cache.max_entries")->text.ptr,
                        "5");
    arena_free(l.a);
}

static void findings_outlive_the_configuration(void **state)
{
    (void)state;
    struct arena *a = arena_new(), *findings_arena = arena_new();
    struct findings found = { .a = findings_arena };
    char *file = arena_cstr(a, S("gone.yaml"));
    config_load(a, arena_str(a, S("routing: {decisionz: []}")), file, test_env, false, &found);
    arena_free(a);
    assert_string_equal(found.items[0].at.file, "gone.yaml");
    assert_string_equal(found.items[0].path.ptr, "routing.decisionz");
    arena_free(findings_arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_minimal_example_loads),
        cmocka_unit_test(json_loads_too),
        cmocka_unit_test(user_settings_lie_over_the_defaults),
        cmocka_unit_test(lists_replace_defaults),
        cmocka_unit_test(the_environment_is_put_into_values),
        cmocka_unit_test(recipes_are_profiles_of_their_own),
        cmocka_unit_test(domains_come_from_decisions_when_none_are_declared),
        cmocka_unit_test(what_is_no_configuration_says_what_to_do),
        cmocka_unit_test(algorithms_and_plugins_are_decoded),
        cmocka_unit_test(an_old_cache_key_means_the_new_one),
        cmocka_unit_test(findings_outlive_the_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
