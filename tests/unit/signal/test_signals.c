/* tests/unit/signal/test_signals.c -- the signals with one page of rules each: context,
 * conversation, metadata, authz, event, language, modality. */
#include "bench.h"

static void every_type_is_found_by_its_names(void **state)
{
    (void)state;
    size_t n = 0;
    for (; signal_all[n]; n++) {
        const struct signal_ops *o = signal_all[n];
        assert_ptr_equal(signal_by_type(str_of(o->type)), o);
        assert_ptr_equal(signal_by_collection(str_of(o->collection)), o);
        assert_non_null(o->make);
        assert_non_null(o->response_key);
        for (size_t k = 0; k < o->fields.n; k++)
            assert_true(o->fields.items[k].help || o->fields.items[k].key[0] == '@');
    }
    assert_int_equal(n, 20);
    assert_null(signal_by_type(S("keywords")));
    assert_null(signal_by_collection(S("keyword")));
}

static void context_is_a_closed_range(void **state)
{
    (void)state;
    struct bench b = bench_new(
        "context:\n"
        "- {name: mid, min_tokens: 1K, max_tokens: 2.5K}\n"
        "- {name: open, min_tokens: 10}\n", NULL);
    assert_true(bench_found(&b, "dead-rule"));
    static const struct { uint64_t tokens; int mid; } cases[] = {
        { 999, 0 }, { 1000, 1 }, { 2500, 1 }, { 2501, 0 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct facts f = { .context_tokens = cases[i].tokens };
        bench_run(&b, &f);
        assert_int_equal(bench_says(&b, "context", "mid"), cases[i].mid);
        assert_int_equal(bench_says(&b, "context", "open"), 0);
        assert_true(isnan(bench_confidence(&b, "context", "mid")));
    }
    bench_free(&b);
}

static void conversation_measures_turns_and_tools(void **state)
{
    (void)state;
    static const struct { const char *feature, *predicate; int matches; double value; } cases[] = {
        { "type: count, source: {type: message, role: user}", "{gte: 2}", 1, 2 },
        { "type: count, source: {type: message, role: user}", "{gte: 3}", 0, 2 },
        { "type: count, source: {type: message}", "{gt: 6}", 1, 7 },
        { "type: count, source: {type: message, role: non_user}", "{lte: 5}", 1, 5 },
        { "type: count, source: {type: message, role: tool}", "{gt: 0}", 1, 1 },
        { "type: exists, source: {type: message, role: developer}", NULL, 1, 1 },
        { "type: count, source: {type: message, role: developer}", "{gt: 1}", 0, 1 },
        { "type: exists, source: {type: message, role: assistant}", NULL, 0, 0 },
        { "type: count, source: {type: message, role: assistant}", NULL, 0, 0 },
        { "type: exists, source: {type: tool_definition}", NULL, 1, 3 },
        { "type: count, source: {type: assistant_tool_call}", "{gte: 2}", 1, 2 },
        { "type: count, source: {type: assistant_tool_cycle}", "{lt: 2}", 1, 1 },
        { "type: exists, source: {type: active_tool_loop}", NULL, 1, 1 },
        { "type: exists, source: {type: image_content}", NULL, 0, 0 },
    };
    struct chat chat = { .n_tools = 3 };
    struct facts f = {
        .chat = &chat, .n_tool_calls = 2, .has_developer = true, .is_tool_loop_active = true,
        .n_role = { [ROLE_USER] = 2, [ROLE_TOOL] = 1, [ROLE_DEVELOPER] = 2, [ROLE_SYSTEM] = 2 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char yaml[512];
        bool is_always = strstr(cases[i].feature, "count") && !cases[i].predicate;
        snprintf(yaml, sizeof yaml, "conversation:\n- {name: c, feature: {%s}%s%s}\n",
                 cases[i].feature, cases[i].predicate ? ", predicate: " : "",
                 cases[i].predicate ? cases[i].predicate : "");
        struct bench b = bench_new(yaml, NULL);
        bench_run(&b, &f);
        int matches = is_always ? 1 : cases[i].matches;     /* a count without predicate */
        if (bench_says(&b, "conversation", "c") != matches
            || bench_value(&b, "conversation", "c") != cases[i].value
            || bench_confidence(&b, "conversation", "c") != matches)
            fail_msg("{%s}: %d, value %g", cases[i].feature,
                     bench_says(&b, "conversation", "c"), bench_value(&b, "conversation", "c"));
        assert_int_equal(bench_found(&b, "always-true"), is_always);
        bench_free(&b);
    }
}

static void conversation_refuses_nonsense(void **state)
{
    (void)state;
    static const struct { const char *rule, *finding; } cases[] = {
        { "feature: {type: exists, source: {type: message}}, predicate: {gt: 1}",
          "bad-predicate" },
        { "feature: {type: exists, source: {type: image_content, role: user}}", "bad-source" },
        { "feature: {type: count, source: {type: message}}, predicate: {}", "bad-predicate" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char yaml[512];
        snprintf(yaml, sizeof yaml, "conversation:\n- {name: c, %s}\n", cases[i].rule);
        struct bench b = bench_new(yaml, NULL);
        assert_true(bench_found(&b, cases[i].finding));
        assert_null(b.policy);
        bench_free(&b);
    }
}

static void metadata_is_compared(void **state)
{
    (void)state;
    struct bench b = bench_new(
        "metadata:\n"
        "- {name: denied, key: consent, predicate: {equals: denied}}\n"
        "- {name: listed, key: tier, predicate: {in: [gold, silver]}}\n"
        "- {name: there, key: tier, predicate: {exists: true}}\n"
        "- {name: absent, key: other, predicate: {exists: false}}\n"
        "- {name: other, key: other, predicate: {equals: \"\"}}\n", NULL);
    struct facts f = { .chat = &(struct chat){ .n_metadata = 0 } };
    struct chat chat = { .n_metadata = 3 };
    chat.metadata = arena_alloc(b.a, 3 * sizeof *chat.metadata);
    chat.metadata[0].key = S("consent"), chat.metadata[0].value = S("given");
    chat.metadata[1].key = S("tier"), chat.metadata[1].value = S("silver");
    chat.metadata[2].key = S("consent"), chat.metadata[2].value = S("denied");
    static const struct { const char *name; int without, with; } cases[] = {
        { "denied", 0, 1 }, { "listed", 0, 1 }, { "there", 0, 1 }, { "absent", 1, 1 },
        { "other", 0, 0 },
    };
    bench_run(&b, &f);
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(bench_says(&b, "metadata", cases[i].name), cases[i].without);
    f.chat = &chat;
    bench_run(&b, &f);
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(bench_says(&b, "metadata", cases[i].name), cases[i].with);
    assert_true(bench_confidence(&b, "metadata", "denied") == 1);
    bench_free(&b);
    b = bench_new("metadata:\n- {name: m, key: k, predicate: {equals: a, exists: true}}\n", NULL);
    assert_true(bench_found(&b, "bad-predicate"));
    bench_free(&b);
    b = bench_new("metadata:\n- {name: m, key: k}\n", NULL);
    assert_true(bench_found(&b, "bad-predicate"));
    bench_free(&b);
}

static void authz_reports_roles(void **state)
{
    (void)state;
    struct bench b = bench_new(
        "role_bindings:\n"
        "- {name: b1, role: admin, subjects: [{kind: Group, name: staff}]}\n"
        "- {name: b2, role: admin, subjects: [{kind: User, name: ann}]}\n"
        "- {name: b3, role: guest, subjects: [{kind: User, name: bob}, {kind: Group, name: ann}]}\n",
        NULL);
    assert_int_equal(policy_slot_find(b.policy, S("authz"), S("b1")), -1);
    static const struct { const char *user, *group; int admin, guest; } cases[] = {
        { "ann", "x", 1, 0 }, { "bob", "staff", 1, 1 }, { "", "", 0, 0 }, { "eve", "ann", 0, 1 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        str groups[] = { str_of(cases[i].group) };
        struct facts f = {
            .user_id = str_of(cases[i].user), .groups = groups, .n_groups = 1,
            .has_identity = true };
        bench_run(&b, &f);
        assert_int_equal(bench_says(&b, "authz", "admin"), cases[i].admin);
        assert_int_equal(bench_says(&b, "authz", "guest"), cases[i].guest);
    }
    struct facts f = { .user_id = S("ann") };
    const char *const skip[] = { "authz", NULL };
    b.signals = decide_run(b.policy, &f, b.scratch, b.request, DECIDE_EAGER, skip).signals;
    assert_int_not_equal(bench_says(&b, "authz", "admin"), 1);
    bench_free(&b);
}

static void events_count_criteria(void **state)
{
    (void)state;
    struct bench b = bench_new(
        "events:\n"
        "- {name: pay, event_types: [payment_failed, declined], severities: [critical, HIGH, odd], "
        "action_codes: [TXN_DECLINE], temporal: true}\n"
        "- {name: odd, event_types: [x], severities: [odd]}\n", NULL);
    assert_true(bench_found(&b, "unknown-severity"));
    static const struct { const char *text; int matches; double confidence; } cases[] = {
        { "a Payment_Failed event", 1, 0.5 + 0.5 / 4 },
        { "declined payment_failed", 1, 0.5 + 0.5 / 4 },
        { "critical: payment_failed, txn_decline, asap", 1, 1 },
        { "high time", 1, 0.5 + 0.5 / 4 },
        { "this is time-sensitive", 1, 0.5 + 0.5 / 4 },
        { "the critical window", 1, 0.5 + 0.5 / 2 },
        { "know your urgently highs", 0, NAN },
        { "odd", 0, NAN },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        bench_text(&b, str_of(cases[i].text));
        double confidence = bench_confidence(&b, "event", "pay");
        if (bench_says(&b, "event", "pay") != cases[i].matches
            || (cases[i].matches ? fabs(confidence - cases[i].confidence) > 1e-6
                                 : !isnan(confidence)))
            fail_msg("%s: %d, %g", cases[i].text, bench_says(&b, "event", "pay"), confidence);
    }
    bench_text(&b, S("x"));
    assert_true(bench_confidence(&b, "event", "odd") == 1);     /* one criterion, met */
    bench_free(&b);
}

static void language_falls_back_on_english(void **state)
{
    (void)state;
    struct bench b = bench_new(
        "language:\n"
        "- {name: de, threshold: 0.5}\n"
        "- {name: en}\n"
        "- {name: fr, threshold: 0.5}\n"
        "- {name: zh}\n", NULL);
    static const struct { const char *text, *code; } cases[] = {
        { "Wie kann ich mein Passwort zurücksetzen, ohne den Kundendienst anzurufen?", "de" },
        { "How can I reset my password without calling customer service?", "en" },
        { "Comment puis-je réinitialiser mon mot de passe sans appeler le service client ?", "fr" },
        { "请问如何重置我的密码，而不需要联系客服？", "zh" },
        { "", "en" }, { "   ", "en" }, { "12345 67", "en" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        bench_text(&b, str_of(cases[i].text));
        static const char *const codes[] = { "de", "en", "fr", "zh" };
        for (size_t k = 0; k < COUNT_OF(codes); k++) {
            if (bench_says(&b, "language", codes[k]) != (strcmp(codes[k], cases[i].code) == 0))
                fail_msg("\"%s\": %s is %d", cases[i].text, codes[k],
                         bench_says(&b, "language", codes[k]));
        }
    }
    bench_free(&b);
    b = bench_new("language:\n- {name: en, threshold: 0.6}\n", NULL);
    bench_text(&b, S("123"));                       /* English with .5, below the threshold */
    assert_int_equal(bench_says(&b, "language", "en"), 0);
    bench_free(&b);
    b = bench_new("language:\n- {name: english}\n", NULL);
    assert_true(bench_found(&b, "bad-language"));
    bench_free(&b);
    b = bench_new("language:\n- {name: xx}\n", NULL);
    assert_true(bench_found(&b, "dead-rule"));
    bench_free(&b);
}

static void modality_goes_by_keywords(void **state)
{
    (void)state;
    static const char rules[] = "modality:\n- {name: AR}\n- {name: DIFFUSION}\n- {name: BOTH}\n";
    static const char global[] =
        "model_catalog:\n  modules:\n    modality_detector:\n      enabled: true\n"
        "      method: keyword\n      keywords: [draw, \"generate an image\"]\n"
        "      both_keywords: [\"with an illustration\"]\n";
    static const struct { const char *text; int ar, diffusion, both; } cases[] = {
        { "explain gravity", 1, 0, 0 }, { "DRAW a cat", 0, 1, 0 },
        { "explain and draw, with an Illustration", 0, 0, 1 }, { "", 1, 0, 0 },
        { "withdrawal", 0, 1, 0 },
    };
    struct bench b = bench_new(rules, global);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        bench_text(&b, str_of(cases[i].text));
        assert_int_equal(bench_says(&b, "modality", "AR"), cases[i].ar);
        assert_int_equal(bench_says(&b, "modality", "DIFFUSION"), cases[i].diffusion);
        assert_int_equal(bench_says(&b, "modality", "BOTH"), cases[i].both);
    }
    bench_free(&b);
    b = bench_new(rules, NULL);
    assert_true(bench_found(&b, "module-off"));
    bench_text(&b, S("explain"));
    assert_int_equal(bench_says(&b, "modality", "AR"), 0);
    bench_free(&b);
    b = bench_new("modality:\n- {name: ar}\n", global);
    assert_true(bench_found(&b, "dead-rule"));
    bench_free(&b);
}

static void what_needs_a_model_stays_unknown(void **state)
{
    (void)state;
    struct bench b = bench_new(
        "keywords:\n- {name: k, operator: OR, keywords: [anything]}\n"
        "embeddings:\n- {name: e, threshold: 0.7, candidates: [a]}\n"
        "domains:\n- {name: math, mmlu_categories: [math]}\n"
        "fact_check:\n- {name: needs_fact_check}\n"
        "user_feedbacks:\n- {name: wrong_answer}\n"
        "reasks:\n- {name: r, lookback_turns: 2}\n"
        "preferences:\n- {name: p, examples: [a]}\n"
        "complexity:\n- {name: c, threshold: 0.1, hard: {candidates: [a]}, easy: {candidates: [b]}, "
        "composer: {operator: AND, conditions: [{type: keyword, name: k}]}}\n"
        "jailbreak:\n- {name: j, threshold: 0.7}\n"
        "pii:\n- {name: pii, threshold: 0.8, pii_types_allowed: [EMAIL]}\n"
        "kb:\n- {name: kb, kb: privacy_kb, target: {kind: group, value: x}}\n"
        "classifiers:\n- {name: risk, type: llm, model: judge, labels: [SAFE, RISKY]}\n", NULL);
    static const char *const slots[][2] = {
        { "embedding", "e" }, { "domain", "math" }, { "fact_check", "needs_fact_check" },
        { "user_feedback", "wrong_answer" }, { "reask", "r" }, { "preference", "p" },
        { "complexity", "c:hard" }, { "complexity", "c:easy" }, { "complexity", "c:medium" },
        { "jailbreak", "j" }, { "kb", "kb" }, { "classifier", "risk:SAFE" }, { "classifier", "risk:RISKY" },
    };
    bench_text(&b, S("anything"));
    for (size_t i = 0; i < COUNT_OF(slots); i++) {
        assert_int_equal(bench_says(&b, slots[i][0], slots[i][1]), -1);
        assert_string_equal(b.signals->why_unknown[bench_slot(&b, slots[i][0], slots[i][1])], "no-model");
    }
    assert_int_equal(bench_says(&b, "pii", "pii"), 0);      /* its recognisers need none */
    bench_free(&b);
}

static void a_shortened_text_is_read_by_all_but_those_who_read_everything(void **state)
{
    (void)state;
    struct bench b = bench_new("keywords: [{name: middle, operator: OR, keywords: [needle]}, {name: end, operator: OR, keywords: [tail]}]\n"
                               "structure: [{name: s, feature: {type: exists, source: {type: regex, pattern: needle}}}]\n"
                               "events: [{name: e, event_types: [needle]}]\n", NULL);
    static struct chat no_chat;
    const str whole_types[] = { S("structure"), S("pii") };
    const struct shortened shortened = { S("head tail"), whole_types, COUNT_OF(whole_types) };
    struct facts f = {
        .chat = &no_chat, .current_user = S("head needle tail"), .current_user_raw = S("head needle tail"),
        .evaluation_text = S("head needle tail"), .sampled_text = S("head needle tail"), .shortened = &shortened,
    };
    bench_run(&b, &f);
    assert_int_equal(bench_says(&b, "keyword", "middle"), 0);
    assert_int_equal(bench_says(&b, "keyword", "end"), 1);
    assert_int_equal(bench_says(&b, "structure", "s"), 1);
    assert_int_equal(bench_says(&b, "event", "e"), 0);
    f.shortened = NULL;
    bench_run(&b, &f);                                  /* nothing is left of the run before */
    assert_int_equal(bench_says(&b, "keyword", "middle"), 1);
    assert_int_equal(bench_says(&b, "event", "e"), 1);
    bench_free(&b);
}

static void rules_that_cannot_work_are_told(void **state)
{
    (void)state;
    static const struct { const char *yaml, *finding; } cases[] = {
        { "fact_check: [{name: odd}]", "dead-rule" },
        { "user_feedbacks: [{name: odd}]", "dead-rule" },
        { "embeddings: [{name: e, candidates: [a]}]", "missing-threshold" },
        { "embeddings: [{name: e, threshold: 0.5}]", "no-candidates" },
        { "embeddings: [{name: e, threshold: 0.5, candidates: [a], query_modality: audio}]",
          "bad-modality" },
        { "domains: [{name: d, mmlu_categories: [cooking]}]", "unknown-category" },
        { "jailbreak: [{name: j}]", "missing-threshold" },
        { "jailbreak: [{name: j, threshold: 0.5, method: hybrid}]", "unknown-method" },
        { "pii: [{name: p}]", "missing-threshold" },
        { "complexity: [{name: \"a:b\"}]", "bad-name" },
        { "classifiers: [{name: c, type: local, model_path: m, labels: [a]}]", "bad-labels" },
        { "classifiers: [{name: c, type: llm, model: m, labels: [a, a]}]", "bad-labels" },
        { "classifiers: [{name: c, type: llm, labels: [a]}]", "missing-key" },
        { "events: [{name: e}]", "dead-rule" },
        { "role_bindings: [{name: r, role: x}]", "dead-rule" },
        { "context: [{name: c, min_tokens: 2K, max_tokens: 1K}]", "dead-rule" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct bench b = bench_new(cases[i].yaml, NULL);
        if (!bench_found(&b, cases[i].finding))
            fail_msg("%s: no finding %s", cases[i].yaml, cases[i].finding);
        bench_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_found_by_its_names),
        cmocka_unit_test(context_is_a_closed_range),
        cmocka_unit_test(conversation_measures_turns_and_tools),
        cmocka_unit_test(conversation_refuses_nonsense),
        cmocka_unit_test(metadata_is_compared),
        cmocka_unit_test(authz_reports_roles),
        cmocka_unit_test(events_count_criteria),
        cmocka_unit_test(language_falls_back_on_english),
        cmocka_unit_test(modality_goes_by_keywords),
        cmocka_unit_test(what_needs_a_model_stays_unknown),
        cmocka_unit_test(a_shortened_text_is_read_by_all_but_those_who_read_everything),
        cmocka_unit_test(rules_that_cannot_work_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
