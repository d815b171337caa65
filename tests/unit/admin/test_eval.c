/* The question and the answer of POST /api/v1/eval, field by field. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "admin/eval.h"

static struct arena *a;

static void assert_text(str got, const char *expected)
{
    assert_string_equal(arena_cstr(a, got), expected);
}

/* ---- the question ---- */

static struct eval_request ask(const char *body)
{
    struct eval_request q;
    struct err e = { 0 };
    if (eval_parse(a, str_of(body), &q, &e) < 0)
        fail_msg("%s", e.text);
    return q;
}

static void a_text_is_one_user_message(void **state)
{
    (void)state;
    struct eval_request q = ask("{\"text\":\"  hi there\\n\",\"model\":\"auto\",\"tools\":[{}]}");
    assert_true(q.is_text);
    assert_text(q.text, "hi there");
    assert_text(q.chat.model, "auto");
    assert_int_equal(q.chat.n_messages, 1);
    assert_int_equal(q.chat.messages[0].text_bytes, strlen("user" "hi there"));
    assert_int_equal(q.chat.n_tools, 1);
    struct facts f = { 0 };
    facts_build(&f, a, &q.chat);
    assert_text(f.current_user, "hi there");
    assert_text(f.current_user_raw, "  hi there\n");
}

static void messages_show_the_current_users_text(void **state)
{
    (void)state;
    struct eval_request q = ask("{\"text\":\"unused\",\"messages\":[{\"role\":\"user\",\"content\":\"one\"},"
                                "{\"role\":\"assistant\",\"content\":\"two\"},"
                                "{\"role\":\"user\",\"content\":\" three \"}]}");
    assert_false(q.is_text);
    assert_text(q.text, "three");
    assert_int_equal(q.chat.model.len, 0);
}

static void raw_json_is_measured_as_go_writes_it(void **state)
{
    (void)state;
    struct eval_request q = ask("{\"text\":\"x\",\"tools\": [ { \"a\" : \"<b>\" } ]}");
    assert_int_equal(q.chat.structured_bytes, strlen("[{\"a\":\"\\u003cb\\u003e\"}]"));
}

static void what_is_empty_or_wrong_is_refused(void **state)
{
    (void)state;
    static const struct { const char *body, *text; } cases[] = {
        { "", "the body is empty: send {\"text\": ...} or {\"messages\": [...]}" },
        { "{", "malformed JSON body: " },
        { "[]", "malformed JSON body: expected an object, got an array" },
        { "{}", "text or messages is required" },
        { "{\"text\":\" \\n\"}", "text: must not be empty" },
        { "{\"text\":7}", "text: expected a string, got a number" },
        { "{\"messages\":[]}", "text or messages is required" },
        { "{\"messages\":[{\"role\":\"user\",\"content\":\" \"}]}", "messages: none of them holds a text" },
        { "{\"messages\":[{\"role\":\"user\",\"content\":5}]}",
          "messages[0].content: expected a string or an array, got a number" },
        { "{\"text\":\"x\",\"model\":1}", "model: expected a string, got a number" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct eval_request q;
        struct err e = { 0 };
        assert_int_equal(eval_parse(a, str_of(cases[i].body), &q, &e), -1);
        if (!str_starts(str_of(e.text), str_of(cases[i].text)))
            fail_msg("%s: %s", cases[i].body, e.text);
    }
}

/* ---- the answer ---- */

static void words_find(const void *state, const struct facts *f, const uint64_t *wanted,
                       struct arena *request, struct sigset *out)
{
    (void)state, (void)wanted, (void)request;
    bool has = str_find(f->current_user, S("prove")) >= 0;
    sig_set(out, 0, has);
    sig_set(out, 1, false);
    out->value[1] = 2.5;
    if (has)
        out->confidence[0] = .9f;
}

static void guard_fails(const void *state, const struct facts *f, const uint64_t *wanted,
                        struct arena *request, struct sigset *out)
{
    (void)f, (void)wanted, (void)request;
    out->why_unknown[2] = state;
}

static int make(struct policy_builder *b, const struct profile *p, void *arg)
{
    (void)p;
    uint32_t proof = policy_slot(b, S("keyword"), S("proof"));
    uint32_t size = policy_slot(b, S("structure"), S("size"));
    uint32_t guard = policy_slot(b, S("jailbreak"), S("guard"));
    policy_slot(b, S("embedding"), S("deep"));              /* nobody fills it: not-built */
    struct signal_unit *u = policy_unit(b, S("keyword"), 10), *g = policy_unit(b, S("jailbreak"), 9999);
    unit_fills(b, u, proof);
    unit_fills(b, u, size);
    unit_fills(b, g, guard);
    u->run = words_find;
    g->run = guard_fails;
    g->state = arg;
    return 0;
}

static struct rule proof = { .kind = RULE_LEAF, .type = S("keyword"), .name = S("proof") };
static struct rule guard = { .kind = RULE_LEAF, .type = S("jailbreak"), .name = S("guard") };
static struct rule *both[] = { &proof, &guard };
static struct rule either = { .kind = RULE_OR, .children = both, .n_children = 2 };
static struct model_ref refs[] = { { .model = S("small") }, { .model = S("big"), .lora_name = S("lora") } };
static struct plugin_use plugins[] = { { .type = S("system_prompt") } };

static struct decision_conf *decisions(const char *algorithm)
{
    struct decision_conf *d = ARENA_ARRAY(a, struct decision_conf, 2);
    d[0] = (struct decision_conf){ .name = S("hard"), .priority = 5, .rules = &either, .refs = refs,
                                   .n_refs = 2, .plugins = plugins, .n_plugins = 1,
                                   .algorithm.type = str_of(algorithm) };
    d[1] = (struct decision_conf){ .name = S("rest"), .priority = 1 };
    return d;
}

static struct json answer(const char *algorithm, const char *text, const char *error, size_t n_decisions)
{
    struct profile *p = ARENA_NEW(a, struct profile);
    struct findings findings = { .a = a };
    *p = (struct profile){ .name = S("default"), .decisions = decisions(algorithm),
                           .n_decisions = n_decisions };
    const struct policy *policy = policy_build(a, p, make, (void *)(uintptr_t)error, &findings);
    assert_non_null(policy);
    struct eval_request q = ask(arena_printf(a, "{\"text\":\"%s\",\"model\":\"auto\"}", text).ptr);
    struct facts f = { .seed = 3 };
    facts_build(&f, a, &q.chat);
    struct decide_scratch *s = decide_scratch_new(a, policy), *s2 = decide_scratch_new(a, policy);
    struct decision lazy = decide_run(policy, &f, s2, a, DECIDE_LAZY, NULL);
    struct decision d = decide_run(policy, &f, s, a, DECIDE_EAGER, NULL);
    struct candidate candidates[] = {
        { .model = S("small"), .quality = .2, .is_healthy = true, .prompt_price = NAN },
        { .model = S("big"), .quality = .8, .is_healthy = true, .prompt_price = NAN },
    };
    const struct select_ops *ops = select_by_name(str_of(algorithm));
    struct pick pick;
    const char *method = NULL;
    struct select_in in = { .candidates = candidates, .n = 2, .facts = &f };
    if (d.conf && d.conf->n_refs)
        select_run(ops, &in, a, &pick, &method);
    struct eval_in e = {
        .original_text = q.text, .requested_model = q.chat.model, .policy = policy, .scratch = s,
        .decision = &d, .facts = &f, .selector = ops, .method = method, .default_model = S("fallback"),
        .pick = method ? &pick : NULL, .with_trace = true, .lazy = &lazy, .lazy_scratch = s2,
    };
    struct buf out = { 0 };
    eval_render(&e, &out);
    struct json j;
    struct json_error je;
    if (json_parse(a, arena_str(a, buf_view(&out)), &j, &je) < 0)
        fail_msg("%s at %zu", je.what, je.at);
    buf_free(&out);
    return j;
}

static void assert_json(const struct json *j, const char *path, const char *expected)
{
    jref n = json_path(j, path);
    if (!expected) {
        if (n != JSON_NONE)
            fail_msg("%s is there", path);
        return;
    }
    if (n == JSON_NONE)
        fail_msg("%s is missing in %.*s", path, (int)j->text.len, j->text.ptr);
    assert_text(json_raw(j, n), expected);
}

static void every_field_of_the_contract_is_there(void **state)
{
    (void)state;
    struct json j = answer("multi_factor", "prove it", NULL, 2);
    static const struct { const char *path, *raw; } fields[] = {
        { "original_text", "\"prove it\"" },
        { "requested_model", "\"auto\"" },
        { "recipe", "\"default\"" },
        { "routing_decision", "\"hard\"" },
        { "decision_result.decision_name", "\"hard\"" },
        { "decision_result.algorithm", "\"multi_factor\"" },
        { "decision_result.confidence", "0.9" },
        { "decision_result.plugins", "[\"system_prompt\"]" },
        { "decision_result.matched_signals", "{\"keywords\":[\"proof\"]}" },
        { "decision_result.unmatched_signals", "{\"structure\":[\"size\"]}" },
        { "decision_result.used_signals", "{\"keywords\":[\"proof\"],\"jailbreak\":[\"guard\"]}" },
        { "recommended_models", "[\"small\",\"lora\"]" },
        { "selection_status", "\"selected\"" },
        { "selection_method", "\"multi_factor\"" },
        { "selected_model", "\"lora\"" },
        { "selection_reason", "\"best_score\"" },
        { "eval_trace.0.decision_name", "\"hard\"" },
        { "eval_trace.1.matched", "true" },
        { "signal_confidences", "{\"keyword:proof\":0.9}" },
        { "signal_values", "{\"structure:size\":2.5}" },
        { "metrics.keyword.confidence", "0.9" },
        { "unknown_signals.1.type", "\"embedding\"" },
        { "unknown_signals.1.reason", "\"not-built\"" },
        { "facts.messages", "1" },
    };
    for (size_t i = 0; i < COUNT_OF(fields); i++)
        assert_json(&j, fields[i].path, fields[i].raw);
    assert_json(&j, "signal_errors", NULL);
    assert_true(json_path(&j, "metrics.keyword.execution_time_ms") != JSON_NONE);
}

static void what_failed_is_an_error_what_is_not_built_is_none(void **state)
{
    (void)state;
    struct json j = answer("static", "hello", "timeout", 2);
    assert_json(&j, "signal_errors", "{\"jailbreak:guard\":\"timeout\"}");
    assert_json(&j, "routing_decision", "\"rest\"");
}

static void a_decision_without_models_takes_the_default(void **state)
{
    (void)state;
    struct json j = answer("static", "hello", NULL, 2);
    assert_json(&j, "routing_decision", "\"rest\"");
    assert_json(&j, "recommended_models", "[\"fallback\"]");
    assert_json(&j, "selection_method", "\"default\"");
    assert_json(&j, "selected_model", "\"fallback\"");
    j = answer("static", "hello", NULL, 1);
    assert_json(&j, "routing_decision", "\"\"");
    assert_json(&j, "selected_model", "\"fallback\"");
    assert_json(&j, "selection_reason", "\"no decision matched\"");
}

static void a_flow_must_be_executed(void **state)
{
    (void)state;
    static const char *const flows[] = { "confidence", "ratings", "remom", "fusion", "workflows" };
    for (size_t i = 0; i < COUNT_OF(flows); i++) {
        struct json j = answer(flows[i], "prove it", NULL, 2);
        assert_json(&j, "selection_status", "\"execution_required\"");
        assert_json(&j, "selection_method", arena_printf(a, "\"%s\"", flows[i]).ptr);
        assert_json(&j, "selected_model", NULL);
    }
}

static void methods_are_called_by_the_algorithm(void **state)
{
    (void)state;
    static const struct { const char *type, *method, *model, *algorithm; } cases[] = {
        { "", "\"static\"", "\"small\"", "\"static\"" },
        { "static", "\"static\"", "\"small\"", "\"static\"" },
        { "knn", "\"knn\"", "\"small\"", "\"knn\"" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct json j = answer(cases[i].type, "prove it", NULL, 2);
        assert_json(&j, "selection_method", cases[i].method);
        assert_json(&j, "selected_model", cases[i].model);
        assert_json(&j, "decision_result.algorithm", cases[i].algorithm);
    }
    struct json j = answer("knn", "prove it", NULL, 2);
    assert_json(&j, "selection_fallback", "\"no-table\"");
}

static void what_the_data_plane_spares_is_named(void **state)
{
    (void)state;
    struct json j = answer("static", "prove it", NULL, 2);
    assert_json(&j, "lazy.units_run", "2");     /* the guard might be surer than 0.9 */
    assert_json(&j, "lazy.avoided_units", "[]");
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
        cmocka_unit_test(a_text_is_one_user_message),
        cmocka_unit_test(messages_show_the_current_users_text),
        cmocka_unit_test(raw_json_is_measured_as_go_writes_it),
        cmocka_unit_test(what_is_empty_or_wrong_is_refused),
        cmocka_unit_test(every_field_of_the_contract_is_there),
        cmocka_unit_test(what_failed_is_an_error_what_is_not_built_is_none),
        cmocka_unit_test(a_decision_without_models_takes_the_default),
        cmocka_unit_test(a_flow_must_be_executed),
        cmocka_unit_test(methods_are_called_by_the_algorithm),
        cmocka_unit_test(what_the_data_plane_spares_is_named),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
