/* tests/unit/config/test_print.c -- what is printed from the tables is true and reads back. */
#include "config_test.h"

#include "base/json.h"
#include "config/tables.h"

static const char rich[] =
    "listeners: [{name: main, port: 9001, api_keys: [caller-key], timeout: 5m}]\n"
    "providers:\n"
    "  defaults: {default_model: m, reasoning_families: {q: {type: reasoning_effort, parameter: p}}}\n"
    "  models:\n"
    "    - name: m\n"
    "      reasoning_family: q\n"
    "      pricing: {prompt_per_1m: 0.5}\n"
    "      reliability: {retry_count: 1, retry_on: 5xx}\n"
    "      backend_refs:\n"
    "        - {base_url: \"https://user:pw@host/v1\", api_key: sk-hidden, weight: 3,\n"
    "           extra_headers: {Authorization: Bearer-hidden, X-Team: blue}}\n"
    "routing:\n"
    "  signals:\n"
    "    keywords: [{name: money, operator: OR, method: regex, keywords: ['\\$\\$[0-9]+$$', \"a: b\"]}]\n"
    "    context: [{name: long, min_tokens: 32K, max_tokens: 1M}]\n"
    "  projections:\n"
    "    scores: [{name: s, inputs: [{type: keyword, name: money, weight: 0.5}]}]\n"
    "    mappings: [{name: b, source: s, outputs: [{name: lo, lt: 0.2}, {name: hi, gte: 0.2}]}]\n"
    "  decisions:\n"
    "    - name: d\n"
    "      tier: 1\n"
    "      rules: {operator: NOT, conditions: [{type: projection, name: hi}]}\n"
    "      modelRefs: [{model: m, use_reasoning: on}]\n"
    "      algorithm: {type: latency_aware, latency_aware: {ttft_percentile: 90}}\n"
    "      plugins:\n"
    "        - {type: rag, configuration: {enabled: true, backend: external_api,\n"
    "             backend_config: {api_key: rag-hidden, endpoint: 'http://x'}}}\n"
    "        - {type: header_mutation, configuration: {add: [{name: X-A, value: \"${SET}\"}]}}\n"
    "recipes: [{name: r, routing: {strategy: confidence}}]\n"
    "entrypoints: [{model_names: [go], recipe: r}]\n"
    "global:\n"
    "  limits: {in_flight: 12}\n"
    "  services: {router_replay: {redis: {password: redis-hidden}}}\n"
    "  model_catalog: {external: [{name: e, access_key: ext-hidden}]}\n";

static str dump(struct arena *a, const struct config *c)
{
    struct buf b = { 0 };
    config_dump_yaml(c, &b);
    assert_false(b.is_failed);
    str s = arena_str(a, buf_view(&b));
    buf_free(&b);
    return s;
}

static void the_dump_loads_as_the_same_configuration(void **state)
{
    (void)state;
    struct loaded l = load(rich);
    must_load(&l);
    str first = dump(l.a, l.config);
    struct loaded again = load(first.ptr);
    must_load(&again);
    str second = dump(again.a, again.config);
    if (!str_eq(first, second))
        fail_msg("first\n%s\nsecond\n%s", first.ptr, second.ptr);
    const struct config *x = l.config, *y = again.config;
    assert_int_equal(x->listeners[0].timeout_ns, y->listeners[0].timeout_ns);
    assert_int_equal(x->models[0].reliability.retry_count, y->models[0].reliability.retry_count);
    assert_true(x->models[0].pricing.prompt == y->models[0].pricing.prompt);
    assert_int_equal(y->limits.in_flight, 12);
    const struct signal_rule *k = &x->profiles[0].signals[0], *m = &y->profiles[0].signals[0];
    assert_true(str_eq(k->name, m->name));
    assert_int_equal(x->profiles[0].decisions[0].tier, y->profiles[0].decisions[0].tier);
    assert_int_equal(y->profiles[1].strategy, STRATEGY_CONFIDENCE);
    assert_non_null(strstr(first.ptr, "value: value"));         /* ${SET} */
    arena_free(l.a);
    arena_free(again.a);
}

static void the_dump_shows_no_secret(void **state)
{
    (void)state;
    struct loaded l = load(rich);
    must_load(&l);
    str text = dump(l.a, l.config);
    assert_null(strstr(text.ptr, "hidden"));
    assert_null(strstr(text.ptr, "caller-key"));
    assert_null(strstr(text.ptr, "user:pw"));
    assert_non_null(strstr(text.ptr, "https://***@host/v1"));
    assert_non_null(strstr(text.ptr, "X-Team: blue"));
    assert_non_null(strstr(text.ptr, "external_api"));
    arena_free(l.a);
}

static void the_defaults_load_and_change_nothing(void **state)
{
    (void)state;
    struct buf b = { 0 };
    config_defaults_yaml(&b);
    buf_char(&b, 0);
    struct loaded plain = load("routing: {}"), full = load(b.ptr);
    must_load(&plain);
    must_load(&full);
    assert_int_equal(full.found.n_by_severity[SEVERITY_ERROR], 0);
    assert_true(str_eq(dump(plain.a, plain.config), dump(plain.a, full.config)));
    assert_memory_equal(&plain.config->limits, &full.config->limits, sizeof plain.config->limits);
    arena_free(plain.a);
    arena_free(full.a);
    buf_free(&b);
}

/* Every $ref of the schema leads to a schema. */
static void refs_check(const struct json *j, jref n, size_t *count, struct arena *a)
{
    if (json_is(j, n, JSON_ARRAY))
        JSON_EACH_ITEM(j, n, item)
            refs_check(j, item, count, a);
    if (!json_is(j, n, JSON_OBJECT))
        return;
    JSON_EACH_PAIR(j, n, key, value) {
        if (json_key_is(j, key, S("$ref"))) {
            str rest = json_str(j, value, a);
            jref at = 0;
            assert_true(str_starts(rest, S("#/")));
            rest = str_from(rest, 2);
            while (rest.len) {
                str part = str_cut(&rest, '/');
                int64_t index;
                if (json_is(j, at, JSON_ARRAY) && str_int(part, &index)) {
                    jref found = JSON_NONE;
                    JSON_EACH_ITEM(j, at, item)
                        if (index-- == 0)
                            found = item;
                    at = found;
                } else {
                    at = json_get(j, at, part);
                }
                if (at == JSON_NONE)
                    fail_msg("dangling $ref at " STR_FMT, STR_ARG(part));
            }
            assert_true(json_is(j, json_get(j, at, S("properties")), JSON_OBJECT));
            ++*count;
        }
        refs_check(j, value, count, a);
    }
}

static void the_schema_is_json_and_refers_only_to_itself(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct buf b = { 0 };
    struct json j;
    struct json_error e;
    size_t n_refs = 0;
    config_schema_json(&b);
    assert_false(b.is_failed);
    assert_int_equal(json_parse(a, buf_view(&b), &j, &e), 0);
    assert_true(str_eq(json_str(&j, json_path(&j, "$schema"), a),
                       S("https://json-schema.org/draft/2020-12/schema")));
    assert_true(json_is(&j, json_path(&j, "properties.routing.properties.signals.properties.keywords"),
                        JSON_OBJECT));
    assert_true(json_is(&j, json_path(&j, "properties.global.properties.limits"), JSON_OBJECT));
    refs_check(&j, 0, &n_refs, a);
    assert_true(n_refs > 20);
    buf_free(&b);
    arena_free(a);
}

static void the_reference_names_every_key(void **state)
{
    static const char *const keys[] = { "`api_key_env`", "`on_unknown`", "`min_tokens`", "`ranking`",
                                        "`access_log`", "`max_in_flight`", "`system_prompt`",
                                        "`breadth_schedule`", "`vacuous-band`" };
    (void)state;
    struct buf b = { 0 };
    config_reference_markdown(&b);
    buf_char(&b, 0);
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        if (!strstr(b.ptr, keys[i]))
            fail_msg("%s is missing", keys[i]);
    buf_free(&b);
}

/* Wrong defaults would be found by nobody else: each must read as its own type and within bounds. */
static void tables_visit(struct arena *a, const struct fields *f, const struct fields **seen,
                         size_t *n)
{
    for (size_t i = 0; i < *n; i++)
        if (seen[i] == f)
            return;
    assert_true(*n < 1024);
    seen[(*n)++] = f;
    for (size_t i = 0; i < f->n; i++) {
        const struct field *one = &f->items[i];
        if (!field_is_key(one))
            continue;
        assert_non_null(one->help);
        if (one->type == FIELD_STRUCT || one->type == FIELD_LIST || one->type == FIELD_MAP)
            assert_non_null(one->sub);
        if (one->default_text && strcmp(one->default_text, "nan") && one->default_text[0]) {
            struct value plain = { .kind = VALUE_SCALAR, .text = str_of(one->default_text) };
            struct err e = { 0 };
            struct value *v = one->type <= FIELD_ENUM ? &plain
                                                      : yaml_parse(a, plain.text, "default", &e);
            char slot[64];
            if (!v || (one->type != FIELD_LIST && !field_parse(a, one, v, slot, &e)))
                fail_msg("default of %s: %s", one->key, e.text);
        }
        if (one->sub)
            tables_visit(a, one->sub, seen, n);
    }
}

static void every_default_fits_its_key(void **state)
{
    const struct fields *seen[1024];
    size_t n = 0;
    struct arena *a = arena_new();
    (void)state;
    config_tables();
    tables_visit(a, &document_fields, seen, &n);
    assert_true(n > 150);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_dump_loads_as_the_same_configuration),
        cmocka_unit_test(the_dump_shows_no_secret),
        cmocka_unit_test(the_defaults_load_and_change_nothing),
        cmocka_unit_test(the_schema_is_json_and_refers_only_to_itself),
        cmocka_unit_test(the_reference_names_every_key),
        cmocka_unit_test(every_default_fits_its_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
