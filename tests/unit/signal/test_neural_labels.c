/* tests/unit/signal/test_neural_labels.c -- signals by a classifier's labels: domain, fact_check, user_feedback, modality,
 * jailbreak, classifier (spec 2.4.3, 2.4.4, 2.4.5, 2.4.12, 2.4.14, 2.4.20). */
#include "fake_models.h"

#include "signal/neural.h"

static struct bench bench_with(struct fake *m, const struct fake_role *roles, const struct fake_labels *labels,
                               const char *signals,
                               const char *global)
{
    *m = (struct fake){ .roles = roles, .labels = labels };
    return fake_bench(m, signals, global);
}

/* Everybody who asked has waited for the answers, which come for all at once; who asked nothing has not. */
static uint64_t fake_time;

static uint64_t time_now(void)
{
    return fake_time;
}

static void gather_slowly(void *arg, struct needs *needs)
{
    fake_time += 1000;
    fake_gather(arg, needs);
}

static void the_wait_for_models_is_a_units_time(void **state)
{
    (void)state;
    static const struct fake_role both[] = { { "domain", { "math", "law" } }, { "fact_check", { "no", "FACT_CHECK_NEEDED" } }, { NULL, { NULL } } };
    struct fake m;
    struct bench b = bench_with(&m, both, NULL,
        "domains: [{name: math}]\n"
        "fact_check: [{name: needs_fact_check}]\n"
        "user_feedbacks: [{name: satisfied}]\n"
        "keywords: [{name: k, operator: OR, keywords: [sum]}]\n", NULL);
    decide_gather(b.scratch, gather_slowly, &m);
    decide_clock(b.scratch, time_now);
    bench_text(&b, S("sum"));
    for (uint32_t i = 0; i < policy_n_units(b.policy); i++) {
        uint64_t ns;
        str type = policy_unit_at(b.policy, i)->type;
        decide_unit_fate(b.scratch, i, &ns);
        assert_int_equal(ns, str_eq(type, S("domain")) || str_eq(type, S("fact_check")) ? 1000 : 0);
    }
    assert_int_equal(fake_time, 1000);
    bench_free(&b);
}

/* ---- domain ---- */

static const struct fake_role domain_roles[] = { { "domain", { "math", "physics", "law", "other" } }, { NULL, { NULL } } };
static const struct fake_labels domain_labels[] = {
    { "domain", "sum", { 0.97f, 0.01f, 0.01f, 0.01f } },
    { "domain", "force", { 0.3f, 0.6f, 0.05f, 0.05f } },
    { "domain", "unclear", { 0.4f, 0.3f, 0.2f, 0.1f } },
    { "domain", "half", { 0.5f, 0.5f, 0, 0 } },
    { "domain", "contract", { 0, 0, 1, 0 } },
    { "domain", "long", { 0.9f, 0.1f, 0, 0 } }, { "domain", "long", { 0.2f, 0.8f, 0, 0 } },     /* two windows: .55, .45 */
    { "domain", "bad", { NAN, 0, 0, 1 } },
    { NULL, NULL, { 0 } },
};

static void a_label_becomes_a_domain_by_its_categories(void **state)
{
    (void)state;
    struct fake m;
    struct bench b = bench_with(&m, domain_roles, domain_labels,
        "domains:\n"
        "- {name: science, mmlu_categories: [math, physics]}\n"
        "- {name: law}\n"
        "- {name: sums, mmlu_categories: [math]}\n", NULL);
    bench_text(&b, S("force"));
    assert_holds(&b, "domain", "science");
    assert_near(bench_confidence(&b, "domain", "science"), 0.6);
    assert_holds_not(&b, "domain", "law");
    bench_text(&b, S("sum"));                               /* both claim math: the last declaration wins */
    assert_holds(&b, "domain", "sums");
    assert_holds_not(&b, "domain", "science");
    bench_text(&b, S("contract"));                          /* nobody claims it: its own name */
    assert_holds(&b, "domain", "law");
    bench_text(&b, S("never seen"));
    assert_unknown(&b, "domain", "law", "timeout");
    bench_text(&b, S("bad"));
    assert_unknown(&b, "domain", "law", "bad-answer");
    bench_free(&b);
}

static void a_reported_name_also_serves_domains_that_list_it(void **state)
{
    (void)state;
    struct fake m;
    struct bench b = bench_with(&m, domain_roles, domain_labels,
        "domains:\n"
        "- {name: exact, mmlu_categories: [math]}\n"
        "- {name: math, mmlu_categories: [math]}\n", NULL);
    bench_text(&b, S("sum"));                               /* reported as math, which exact lists */
    assert_holds(&b, "domain", "math");
    assert_holds(&b, "domain", "exact");
    bench_free(&b);
}

static void below_the_threshold_there_is_no_domain(void **state)
{
    (void)state;
    const char *rules =
        "domains:\n"
        "- {name: math}\n"
        "- {name: physics}\n"
        "- {name: law}\n";
    struct fake m;
    struct bench b = bench_with(&m, domain_roles, domain_labels, rules, NULL);
    bench_text(&b, S("unclear"));
    assert_holds_not(&b, "domain", "math");
    str detail = b.signals->detail[bench_slot(&b, "domain", "math")];
    assert_true(str_find(detail, S("most like ")) == 0 && str_find(detail, S("probability 0.")) > 0);
    bench_text(&b, S("half"));                              /* torn, and both reach .5 */
    assert_holds(&b, "domain", "math");
    assert_holds(&b, "domain", "physics");
    bench_free(&b);
    b = bench_with(&m, domain_roles, domain_labels, rules, "model_catalog: {modules: {classifier: {domain: {threshold: 0.25}}}}");
    bench_text(&b, S("unclear"));                           /* entropy .92 of the largest: all that reach the threshold */
    assert_holds(&b, "domain", "math");
    assert_holds(&b, "domain", "physics");
    assert_holds_not(&b, "domain", "law");
    bench_free(&b);
    b = bench_with(&m, domain_roles, domain_labels, rules, "model_catalog: {modules: {classifier: {domain: {threshold: 0.01}}}}");
    bench_text(&b, S("sum"));                               /* entropy .12: the best alone */
    assert_holds(&b, "domain", "math");
    assert_holds_not(&b, "domain", "physics");
    bench_free(&b);
}

static void long_texts_count_as_the_mean_of_their_windows(void **state)
{
    (void)state;
    struct fake m;
    struct bench b = bench_with(&m, domain_roles, domain_labels,
        "domains:\n"
        "- {name: math}\n"
        "- {name: physics}\n", NULL);
    bench_text(&b, S("long"));
    assert_holds(&b, "domain", "math");
    assert_near(bench_confidence(&b, "domain", "math"), 0.55);
    assert_holds_not(&b, "domain", "physics");
    bench_free(&b);
}

static void a_model_may_weigh_its_largest_window_more(void **state)
{
    (void)state;
    struct fake m = { .roles = domain_roles, .labels = domain_labels, .window_share = 0.5f };
    struct bench b = fake_bench(&m, "domains:\n- {name: math}\n- {name: physics}\n", NULL);
    bench_text(&b, S("long"));                              /* .5 * .9 + .5 * .55 */
    assert_near(bench_confidence(&b, "domain", "math"), 0.725);
    bench_text(&b, S("force"));                             /* one window: as it is */
    assert_near(bench_confidence(&b, "domain", "physics"), 0.6);
    bench_free(&b);
}

static void the_model_is_named_by_id_or_by_reference(void **state)
{
    (void)state;
    struct fake m;
    static const struct { const char *global, *model; } cases[] = {
        { "model_catalog: {modules: {classifier: {domain: {model_id: a/b}}}, system: {domain_classifier: c/d}}", "a/b" },
        { "model_catalog: {modules: {classifier: {domain: {model_ref: mine}}}, system: {domain_classifier: c/d, mine: e/f}}",
          "e/f" },
        { "model_catalog: {system: {domain_classifier: c/d}}", "c/d" },
        { "model_catalog: {}", "" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct bench b = bench_with(&m, domain_roles, domain_labels, "domains: [{name: math}]", cases[i].global);
        assert_string_equal(m.found_role[0], "domain");
        assert_true(str_eq(m.model[0], str_of(cases[i].model)));
        bench_free(&b);
    }
    struct bench b = bench_with(&m, domain_roles, domain_labels, "domains: [{name: math}]",
                                "model_catalog: {modules: {classifier: {domain: {enabled: false}}}}");
    bench_text(&b, S("sum"));
    assert_unknown(&b, "domain", "math", "off");
    assert_int_equal(m.n_asked, 0);
    bench_free(&b);
}

/* ---- fact_check ---- */

static const struct fake_labels fact_labels[] = {
    { "fact_check", "when", { 0.3f, 0.7f } }, { "fact_check", "maybe", { 0.45f, 0.55f } },
    { "fact_check", "poem", { 0.9f, 0.1f } },
    { NULL, NULL, { 0 } },
};

static void fact_check_reports_one_of_two_names(void **state)
{
    (void)state;
    static const struct fake_role roles[][2] = {
        { { "fact_check", { "NO_FACT_CHECK_NEEDED", "FACT_CHECK_NEEDED" } }, { NULL, { NULL } } },
        { { "fact_check", { "no_fact_check_needed", "needs_fact_check" } }, { NULL, { NULL } } },
        { { "fact_check", { "LABEL_0", "LABEL_1" } }, { NULL, { NULL } } },
    };
    static const struct { const char *text; int needs; } cases[] = { { "when", 1 }, { "maybe", 0 }, { "poem", 0 } };
    struct fake m;
    for (size_t r = 0; r < COUNT_OF(roles); r++) {
        struct bench b = bench_with(&m, roles[r], fact_labels,
            "fact_check:\n"
            "- {name: needs_fact_check}\n"
            "- {name: no_fact_check_needed}\n"
            "- {name: odd}\n", NULL);
        for (size_t i = 0; i < COUNT_OF(cases); i++) {
            bench_text(&b, str_of(cases[i].text));          /* from .6 on */
            assert_int_equal(bench_says(&b, "fact_check", "needs_fact_check"), cases[i].needs);
            assert_int_equal(bench_says(&b, "fact_check", "no_fact_check_needed"), !cases[i].needs);
            assert_true(str_find(b.signals->detail[bench_slot(&b, "fact_check", "needs_fact_check")], S("probability ")) > 0);
            assert_holds_not(&b, "fact_check", "odd");
            assert_true(isnan(bench_confidence(&b, "fact_check", "needs_fact_check")));
        }
        bench_text(&b, S("late"));                          /* neither of them */
        assert_unknown(&b, "fact_check", "needs_fact_check", "timeout");
        assert_unknown(&b, "fact_check", "no_fact_check_needed", "timeout");
        bench_free(&b);
    }
    struct bench b = bench_with(&m, roles[0], fact_labels, "fact_check: [{name: needs_fact_check}]",
                                "model_catalog: {modules: {hallucination_mitigation: {fact_check: {threshold: 0.5}}}}");
    bench_text(&b, S("maybe"));
    assert_holds(&b, "fact_check", "needs_fact_check");
    bench_free(&b);
}

static void a_model_whose_labels_mean_nothing_is_told(void **state)
{
    (void)state;
    static const struct fake_role roles[] = {
        { "fact_check", { "cat", "dog" } }, { "user_feedback", { "cat", "dog" } }, { "jailbreak", { "cat", "dog" } },
        { "modality", { "cat", "dog" } }, { NULL, { NULL } },
    };
    struct fake m;
    struct bench b = bench_with(&m, roles, fact_labels,
        "fact_check: [{name: needs_fact_check}]\n"
        "user_feedbacks: [{name: satisfied}]\n"
        "jailbreak: [{name: j, threshold: 0.5}]\n"
        "modality: [{name: AR}]\n", "model_catalog: {modules: {modality_detector: {enabled: true, method: classifier}}}");
    bench_text(&b, S("when"));
    assert_unknown(&b, "fact_check", "needs_fact_check", "bad-labels");
    assert_unknown(&b, "user_feedback", "satisfied", "bad-labels");
    assert_unknown(&b, "jailbreak", "j", "bad-labels");
    assert_unknown(&b, "modality", "AR", "bad-labels");
    assert_int_equal(m.n_asked, 0);
    bench_free(&b);
}

/* ---- user_feedback ---- */

static void run_reply(struct bench *b, const char *text, bool has_reply)
{
    static struct chat chat;
    struct facts f = { .chat = &chat, .current_user = str_of(text), .evaluation_text = str_of(text), .sampled_text = str_of(text),
                       .has_assistant_reply = has_reply };
    bench_run(b, &f);
}

static void feedback_is_about_an_answer(void **state)
{
    (void)state;
    static const struct fake_role roles[] = {
        { "user_feedback", { "SAT", "NEED_CLARIFICATION", "WRONG_ANSWER", "WANT_DIFFERENT" } }, { NULL, { NULL } } };
    static const struct fake_labels labels[] = {
        { "user_feedback", "thanks", { 0.9f, 0.1f, 0, 0 } }, { "user_feedback", "no!", { 0.1f, 0, 0.8f, 0.1f } },
        { "user_feedback", "what?", { 0, 1, 0, 0 } }, { "user_feedback", "else", { 0, 0, 0.2f, 0.8f } },
        { "user_feedback", "hm", { 0.1f, 0.2f, 0.6f, 0.1f } }, { NULL, NULL, { 0 } },
    };
    static const char *const names[] = { "satisfied", "need_clarification", "wrong_answer", "want_different" };
    static const struct { const char *text; const char *name; } cases[] = {
        { "thanks", "satisfied" }, { "no!", "wrong_answer" }, { "what?", "need_clarification" }, { "else", "want_different" },
        { "hm", "satisfied" },                              /* below .7: nobody has complained */
    };
    struct fake m;
    struct bench b = bench_with(&m, roles, labels,
        "user_feedbacks:\n"
        "- {name: satisfied}\n"
        "- {name: need_clarification}\n"
        "- {name: wrong_answer}\n"
        "- {name: want_different}\n"
        "- {name: odd}\n", NULL);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        run_reply(&b, cases[i].text, true);
        for (size_t k = 0; k < COUNT_OF(names); k++)
            assert_int_equal(bench_says(&b, "user_feedback", names[k]), !strcmp(names[k], cases[i].name));
        assert_holds_not(&b, "user_feedback", "odd");
    }
    unsigned asked = m.n_asked;
    run_reply(&b, "no!", false);                            /* there is nothing yet to be content with */
    for (size_t k = 0; k < COUNT_OF(names); k++)
        assert_holds_not(&b, "user_feedback", names[k]);
    assert_int_equal(m.n_asked, asked);
    run_reply(&b, "late", true);
    assert_unknown(&b, "user_feedback", "satisfied", "timeout");
    bench_free(&b);
    b = bench_with(&m, roles, labels, "user_feedbacks: [{name: wrong_answer}]",
                   "model_catalog: {modules: {feedback_detector: {threshold: 0.5}}}");
    run_reply(&b, "hm", true);
    assert_holds(&b, "user_feedback", "wrong_answer");
    bench_free(&b);
    b = bench_with(&m, roles, labels, "user_feedbacks: [{name: wrong_answer}]",
                   "model_catalog: {modules: {feedback_detector: {enabled: false}}}");
    run_reply(&b, "no!", true);
    assert_unknown(&b, "user_feedback", "wrong_answer", "off");
    bench_free(&b);
}

/* ---- modality ---- */

static const struct fake_role modality_roles[] = { { "modality", { "AR", "DIFFUSION", "BOTH" } }, { NULL, { NULL } } };
static const struct fake_labels modality_labels[] = {
    { "modality", "draw surely", { 0, 0.9f, 0.1f } }, { "modality", "surely both", { 0, 0.1f, 0.9f } },
    { "modality", "draw, I think", { 0.3f, 0.6f, 0.1f } }, { "modality", "both, I think", { 0.3f, 0.1f, 0.6f } },
    { "modality", "draw, who knows", { 0.4f, 0.3f, 0.3f } }, { NULL, NULL, { 0 } },
};
static const char modality_rules[] =
        "modality:\n"
        "- {name: AR}\n"
        "- {name: DIFFUSION}\n"
        "- {name: BOTH}\n";
#define DETECTOR(rest) "model_catalog: {modules: {modality_detector: {enabled: true, " rest "}}}"

static void assert_modality(struct bench *b, const char *text, const char *name)
{
    static const char *const names[] = { "AR", "DIFFUSION", "BOTH" };
    bench_text(b, str_of(text));
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        int wanted = !name ? -1 : !strcmp(names[i], name);
        if (bench_says(b, "modality", names[i]) != wanted)
            fail_msg("\"%s\": %s is %d", text, names[i], bench_says(b, "modality", names[i]));
    }
}

static void the_classifier_method_goes_by_the_best_label(void **state)
{
    (void)state;
    struct fake m;
    struct bench b = bench_with(&m, modality_roles, modality_labels, modality_rules,
                                DETECTOR("method: classifier, confidence_threshold: 0.8"));
    assert_modality(&b, "draw surely", "DIFFUSION");
    assert_modality(&b, "both, I think", "BOTH");
    assert_modality(&b, "draw, who knows", "AR");
    assert_modality(&b, "late", NULL);                      /* no keywords to fall back on: unknown */
    bench_free(&b);
    b = bench_with(&m, modality_roles, modality_labels, modality_rules, DETECTOR("method: classifier, keywords: [late]"));
    assert_modality(&b, "late", "DIFFUSION");               /* the keywords speak */
    bench_free(&b);
}

static void the_hybrid_method_weighs_both(void **state)
{
    (void)state;
    struct fake m;
    struct bench b = bench_with(&m, modality_roles, modality_labels, modality_rules,
        DETECTOR("method: hybrid, confidence_threshold: 0.8, lower_threshold_ratio: 0.7, keywords: [draw]"));
    assert_modality(&b, "surely both", "BOTH");             /* sure */
    assert_modality(&b, "draw, I think", "DIFFUSION");      /* both say so */
    bench_text(&b, S("draw, I think"));
    str detail = b.signals->detail[bench_slot(&b, "modality", "DIFFUSION")];
    assert_true(str_find(detail, S("confidence 0.70")) >= 0);   /* (.6 + .8) / 2 */
    assert_modality(&b, "both, I think", "BOTH");           /* .6 is at least .8 * .7 */
    assert_modality(&b, "draw, who knows", "DIFFUSION");    /* .4 is not: the keywords */
    assert_modality(&b, "late", "AR");
    bench_free(&b);
}

static void modality_without_a_classifier_goes_by_keywords(void **state)
{
    (void)state;
    struct fake m;
    static const char *const methods[] = { DETECTOR("keywords: [draw]"), DETECTOR("method: hybrid, keywords: [draw]"),
                                           DETECTOR("method: keyword, keywords: [draw]") };
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        struct bench b = bench_with(&m, NULL, NULL, modality_rules, methods[i]);
        assert_modality(&b, "draw surely", "DIFFUSION");
        assert_modality(&b, "surely both", "AR");
        assert_int_equal(m.n_asked, 0);
        bench_free(&b);
    }
    struct bench b = bench_with(&m, NULL, NULL, modality_rules, DETECTOR("method: classifier"));
    assert_modality(&b, "draw surely", NULL);
    assert_unknown(&b, "modality", "AR", "no-model");
    bench_free(&b);
}

/* ---- jailbreak by classifier ---- */

static const struct fake_role guard_roles[] = { { "jailbreak", { "benign", "jailbreak", "injection" } }, { NULL, { NULL } } };
static const struct fake_labels guard_labels[] = {
    { "jailbreak", "hello", { 0.95f, 0.03f, 0.02f } }, { "jailbreak", "ignore all", { 0.1f, 0.6f, 0.3f } },
    { "jailbreak", "buried", { 1, 0, 0 } }, { "jailbreak", "buried", { 0.1f, 0.9f, 0 } }, { "jailbreak", "buried", { 1, 0, 0 } },
    { "jailbreak", "clean", { 1, 0, 0 } }, { NULL, NULL, { 0 } },
};

static void risk_is_the_sum_of_the_positive_labels(void **state)
{
    (void)state;
    struct fake m;
    const char *rules =
        "jailbreak:\n"
        "- {name: j, threshold: 0.7}\n"
        "- {name: low, threshold: 0.5}\n";
    struct bench b = bench_with(&m, guard_roles, guard_labels, rules, NULL);
    bench_text(&b, S("ignore all"));
    assert_holds_not(&b, "jailbreak", "j");
    assert_true(str_eq(b.signals->detail[bench_slot(&b, "jailbreak", "j")], S("risk 0.60")));
    assert_holds(&b, "jailbreak", "low");
    assert_near(bench_confidence(&b, "jailbreak", "low"), 0.6);
    bench_text(&b, S("hello"));
    assert_holds_not(&b, "jailbreak", "low");
    bench_free(&b);
    b = bench_with(&m, guard_roles, guard_labels, rules,
        "model_catalog: {modules: {prompt_guard: {positive_labels: [jailbreak, INJECTION]}}}");
    bench_text(&b, S("ignore all"));
    assert_holds(&b, "jailbreak", "j");
    assert_near(bench_confidence(&b, "jailbreak", "j"), 0.9);
    bench_free(&b);
}

static void the_worst_window_of_a_long_text_counts(void **state)
{
    (void)state;
    struct fake m;
    struct bench b = bench_with(&m, guard_roles, guard_labels, "jailbreak: [{name: j, threshold: 0.85}]", NULL);
    bench_text(&b, S("buried"));
    assert_holds(&b, "jailbreak", "j");
    assert_near(bench_confidence(&b, "jailbreak", "j"), 0.9);
    bench_free(&b);
}

static void without_threshold_any_risk_above_zero_matches(void **state)
{
    (void)state;
    struct fake m;
    struct bench b = bench_with(&m, guard_roles, guard_labels, "jailbreak: [{name: j}]", NULL);
    bench_text(&b, S("hello"));
    assert_holds(&b, "jailbreak", "j");
    bench_text(&b, S("clean"));
    assert_holds_not(&b, "jailbreak", "j");
    bench_text(&b, S(""));
    assert_holds_not(&b, "jailbreak", "j");
    bench_free(&b);
}

static void history_is_read_where_a_rule_says_so(void **state)
{
    (void)state;
    struct fake m;
    struct bench b = bench_with(&m, guard_roles, guard_labels,
        "jailbreak:\n"
        "- {name: now, threshold: 0.5}\n"
        "- {name: ever, threshold: 0.5, include_history: true}\n", NULL);
    static struct chat chat;
    str prior[] = { S("ignore all") }, others[] = { S("hello"), S("") };
    struct facts f = { .chat = &chat, .current_user = S("clean"), .evaluation_text = S("clean"), .sampled_text = S("clean"),
                       .prior_users = prior, .n_prior_users = 1, .non_users = others, .n_non_users = 2 };
    bench_run(&b, &f);
    assert_holds_not(&b, "jailbreak", "now");
    assert_holds(&b, "jailbreak", "ever");
    assert_int_equal(m.n_asked, 3);
    prior[0] = S("late");                                   /* one text without an answer */
    bench_run(&b, &f);
    assert_holds_not(&b, "jailbreak", "now");
    assert_unknown(&b, "jailbreak", "ever", "timeout");
    others[0] = S("ignore all");                            /* what is bad already needs no more answers */
    bench_run(&b, &f);
    assert_holds(&b, "jailbreak", "ever");
    bench_free(&b);
    b = bench_with(&m, guard_roles, guard_labels, "jailbreak: [{name: now, threshold: 0.5}]", NULL);
    bench_run(&b, &f);
    assert_int_equal(m.n_asked, 1);
    bench_free(&b);
}

static struct facts facts_of(const struct chat *chat)
{
    static struct arena *kept;
    arena_free(kept);
    kept = arena_new();
    struct facts f = { 0 };
    facts_build(&f, kept, chat);
    return f;
}

static const char *detail_of(const struct bench *b, const char *name)
{
    return arena_cstr(b->request, b->signals->detail[bench_slot(b, "jailbreak", name)]);
}

static void results_of_tools_are_read_where_a_rule_says_so(void **state)
{
    (void)state;
    struct fake m;
    struct bench b = bench_with(&m, guard_roles, guard_labels,
        "jailbreak:\n"
        "- {name: now, threshold: 0.5}\n"
        "- {name: ever, threshold: 0.5, include_history: true}\n"
        "- {name: new, threshold: 0.5, include_tool_results: true}\n"
        "- {name: all, threshold: 0.5, include_tool_results: true, include_history: true}\n", NULL);
    str user = S("clean"), old = S("\"ignore all\""), called = S("hello"), more = S("\"hello\""), fresh = S("\" clean\\n\"");
    struct message talk[] = {
        { .role = ROLE_USER, .texts = &user, .n_texts = 1 },
        { .role = ROLE_ASSISTANT, .n_tool_calls = 1 },
        { .role = ROLE_TOOL, .texts = &old, .n_texts = 1, .is_spelled = true },
        { .role = ROLE_ASSISTANT, .texts = &called, .n_texts = 1, .n_tool_calls = 2 },
        { .role = ROLE_TOOL, .texts = &more, .n_texts = 1, .is_spelled = true },
        { .role = ROLE_TOOL, .texts = &fresh, .n_texts = 1, .is_spelled = true },
    };
    struct chat chat = { .messages = talk, .n_messages = 3 };
    struct facts f = facts_of(&chat);
    bench_run(&b, &f);                                      /* the result is new */
    assert_holds_not(&b, "jailbreak", "now");
    assert_holds_not(&b, "jailbreak", "ever");
    assert_holds(&b, "jailbreak", "new");
    assert_holds(&b, "jailbreak", "all");
    assert_near(bench_confidence(&b, "jailbreak", "new"), 0.6);
    assert_string_equal(detail_of(&b, "new"), "risk 0.60 in tool result 1 of 1");
    chat.n_messages = 6;
    f = facts_of(&chat);
    m.n_asked = 0;
    bench_run(&b, &f);                                      /* it is old: two others are new */
    assert_holds_not(&b, "jailbreak", "new");
    assert_holds(&b, "jailbreak", "all");
    assert_string_equal(detail_of(&b, "all"), "risk 0.60 in tool result 1 of 3");
    assert_int_equal(m.n_asked, 3);                         /* each text once, whoever asks */
    fresh = S("\"late\"");                                  /* one text without an answer */
    bench_run(&b, &f);
    assert_holds_not(&b, "jailbreak", "ever");
    assert_unknown(&b, "jailbreak", "new", "timeout");
    assert_holds(&b, "jailbreak", "all");
    fresh = S("\"[{\\\"a\\\": \\\"ignore all\\\"}]\"");     /* JSON is read as people would */
    bench_run(&b, &f);
    assert_true(fake_was_asked(&m, "jailbreak", "a: ignore all"));
    user = S("ignore all");                                 /* who says it is told apart */
    f = facts_of(&chat);
    bench_run(&b, &f);
    assert_string_equal(detail_of(&b, "now"), "risk 0.60");
    assert_string_equal(detail_of(&b, "all"), "risk 0.60");
    bench_free(&b);
    b = bench_with(&m, guard_roles, guard_labels, "jailbreak: [{name: now, threshold: 0.5}]", NULL);
    bench_run(&b, &f);
    assert_int_equal(m.n_asked, 1);                         /* nobody reads results unasked */
    bench_free(&b);
}

static void the_latest_results_are_read(void **state)
{
    (void)state;
    enum { MORE = NEURAL_TURNS_MAX + 3 };
    struct fake m;
    struct bench b = bench_with(&m, guard_roles, guard_labels, "jailbreak: [{name: j, threshold: 0.5, include_tool_results: true}]", NULL);
    struct message talk[MORE];
    str texts[MORE];
    for (int i = 0; i < MORE; i++) {
        texts[i] = i < 3 ? S("ignore all") : S("hello");
        talk[i] = (struct message){ .role = ROLE_TOOL, .texts = &texts[i], .n_texts = 1 };
    }
    struct chat chat = { .messages = talk, .n_messages = MORE };
    struct facts f = facts_of(&chat);
    bench_run(&b, &f);
    assert_holds_not(&b, "jailbreak", "j");
    texts[3] = S("ignore all");
    bench_run(&b, &f);
    assert_holds(&b, "jailbreak", "j");
    assert_string_equal(detail_of(&b, "j"), "risk 0.60 in tool result 4 of 131");
    bench_free(&b);
}

static void a_contrastive_rule_reads_results_too(void **state)
{
    (void)state;
    static const struct fake_vector vectors[] = { { "x", { 1, 0, 0, 0 } }, { "like x", { 1, 0, 0, 0 } }, { "hello", { 0, 1, 0, 0 } },
                                                  { NULL, { 0 } } };
    struct fake m = { .vectors = vectors };
    struct bench b = fake_bench(&m,
        "jailbreak: [{name: j, method: contrastive, jailbreak_patterns: [x], include_tool_results: true}]", NULL);
    str texts[] = { S("hello"), S("like x") };
    struct message talk[] = { { .role = ROLE_USER, .texts = &texts[0], .n_texts = 1 }, { .role = ROLE_TOOL, .texts = &texts[1], .n_texts = 1 } };
    struct chat chat = { .messages = talk, .n_messages = 2 };
    struct facts f = facts_of(&chat);
    bench_run(&b, &f);
    assert_holds(&b, "jailbreak", "j");
    assert_string_equal(detail_of(&b, "j"), "risk 1.00 in tool result 1 of 1");
    bench_free(&b);
}

static void a_guard_that_fails_allows_or_blocks(void **state)
{
    (void)state;
    struct fake m;
    const char *rules =
        "jailbreak:\n"
        "- {name: j, threshold: 0.5}\n"
        "- {name: c, method: contrastive, jailbreak_patterns: [x]}\n";
    const char *block = "model_catalog: {modules: {prompt_guard: {on_error: block}}}";
    static const struct fake_vector vectors[] = { { "x", { 1, 0, 0, 0 } }, { NULL, { 0 } } };
    m = (struct fake){ .roles = guard_roles, .labels = guard_labels, .vectors = vectors };
    struct bench b = fake_bench(&m, rules, NULL);
    bench_text(&b, S("late"));
    assert_unknown(&b, "jailbreak", "j", "timeout");
    assert_unknown(&b, "jailbreak", "c", "timeout");
    bench_free(&b);
    m = (struct fake){ .roles = guard_roles, .labels = guard_labels, .has_no_embedding = true };
    b = fake_bench(&m, rules, block);
    bench_text(&b, S("late"));
    assert_holds(&b, "jailbreak", "j");
    assert_near(bench_confidence(&b, "jailbreak", "j"), 1);
    assert_holds(&b, "jailbreak", "c");                     /* no model at all: fails closed too */
    bench_text(&b, S("hello"));
    assert_holds_not(&b, "jailbreak", "j");
    bench_text(&b, S(""));                                  /* nothing was asked, so nothing failed */
    assert_holds_not(&b, "jailbreak", "j");
    assert_holds_not(&b, "jailbreak", "c");
    bench_free(&b);
    b = bench_with(&m, NULL, NULL, "jailbreak: [{name: j, threshold: 0.5}]", block);
    bench_text(&b, S("hello"));
    assert_holds(&b, "jailbreak", "j");
    assert_int_equal(m.n_asked, 0);
    bench_free(&b);
    b = bench_with(&m, guard_roles, guard_labels, "jailbreak: [{name: j, threshold: 0.5}]",
                   "model_catalog: {modules: {prompt_guard: {enabled: false, on_error: block}}}");
    bench_text(&b, S("ignore all"));                        /* switched off on purpose is no error */
    assert_unknown(&b, "jailbreak", "j", "off");
    bench_free(&b);
}

static void each_method_is_a_unit_of_its_own(void **state)
{
    (void)state;
    static const struct fake_vector vectors[] = { { "x", { 1, 0, 0, 0 } }, { "hello", { 1, 0, 0, 0 } }, { NULL, { 0 } } };
    struct fake m = { .roles = guard_roles, .labels = guard_labels, .vectors = vectors };
    struct bench b = fake_bench(&m,
        "jailbreak:\n"
        "- {name: j, threshold: 0.5}\n"
        "- {name: c, method: contrastive, jailbreak_patterns: [x]}\n"
        "- {name: h, method: hybrid, threshold: 0.01, jailbreak_patterns: [x]}\n", NULL);
    assert_int_equal(policy_n_units(b.policy), 2);
    bench_text(&b, S("hello"));
    assert_holds_not(&b, "jailbreak", "j");
    assert_holds(&b, "jailbreak", "c");
    assert_holds(&b, "jailbreak", "h");                     /* hybrid acts as classifier: .03 */
    assert_near(bench_confidence(&b, "jailbreak", "h"), 0.03);
    bench_free(&b);
}

/* ---- classifier ---- */

static const struct fake_role own_roles[] = { { "classifier", { "safe", "risky" } }, { NULL, { NULL } } };
static const struct fake_labels own_labels[] = { { "classifier", "text", { 0.2f, 0.8f } }, { NULL, NULL, { 0 } } };

static void classifier_labels_are_values_not_matches(void **state)
{
    (void)state;
    struct fake m;
    struct bench b = bench_with(&m, own_roles, own_labels,
        "classifiers:\n"
        "- {name: local, type: local, model_path: m/x, labels: [RISKY, SAFE]}\n"
        "- {name: asked, type: llm, model: judge, labels: [RISKY, SAFE], instructions: \"Is it?\"}\n", NULL);
    assert_true(str_eq(m.model[0], S("m/x")) && str_eq(m.model[1], S("judge")));
    assert_true(str_eq(value_get(m.options[1], S("instructions"))->text, S("Is it?")));
    assert_int_equal(policy_n_units(b.policy), 2);          /* one may be dear, the other not */
    bench_text(&b, S("text"));
    assert_near(bench_value(&b, "classifier", "local:RISKY"), 0.8);
    assert_near(bench_value(&b, "classifier", "asked:SAFE"), 0.2);
    assert_holds_not(&b, "classifier", "local:RISKY");
    bench_text(&b, S("late"));
    assert_unknown(&b, "classifier", "local:SAFE", "timeout");
    bench_free(&b);
}

static void labels_with_other_names_go_by_their_order(void **state)
{
    (void)state;
    struct fake m;
    struct bench b = bench_with(&m, own_roles, own_labels,
        "classifiers:\n"
        "- {name: a, type: llm, model: judge, labels: [NO, YES]}\n"
        "- {name: b, type: llm, model: judge, labels: [NO, YES, WELL]}\n",
        NULL);
    bench_text(&b, S("text"));
    assert_near(bench_value(&b, "classifier", "a:YES"), 0.8);
    assert_unknown(&b, "classifier", "b:YES", "bad-labels");
    bench_free(&b);
}

static void leaves_with_predicates_read_the_values_and_match_on_error(void **state)
{
    (void)state;
    struct fake m;
    struct bench b = bench_with(&m, own_roles, own_labels,
        "classifiers: [{name: c, type: llm, model: judge, labels: [safe, risky]}]", NULL);
    struct number_predicate high = { .gt = NAN, .gte = 0.7, .lt = NAN, .lte = NAN };
    struct rule rules[] = {
        { .kind = RULE_LEAF, .type = S("classifier"), .name = S("c"), .label = S("risky"), .has_predicate = true,
          .predicate = high },
        { .kind = RULE_LEAF, .type = S("classifier"), .name = S("c"), .label = S("risky"), .has_predicate = true,
          .predicate = high,
          .matches_on_error = true },
    };
    struct decision_conf decisions[] = {
        { .name = S("closed"), .priority = 2, .rules = &rules[0] }, { .name = S("open"), .priority = 1, .rules = &rules[1] } };
    b.profile.decisions = decisions, b.profile.n_decisions = 2;
    struct signal_make_arg arg = { .models = &m.face };
    b.policy = policy_build(b.a, &b.profile, signal_make_all, &arg, &b.findings);
    b.scratch = decide_scratch_new(b.a, b.policy);
    decide_gather(b.scratch, fake_gather, &m);
    static struct chat chat;
    struct facts f = { .chat = &chat, .evaluation_text = S("text") };
    for (int mode = DECIDE_LAZY; mode <= DECIDE_EAGER; mode++) {
        f.evaluation_text = S("text");
        assert_int_equal(decide_run(b.policy, &f, b.scratch, b.request, mode, NULL).index, 0);
        f.evaluation_text = S("late");
        assert_int_equal(decide_run(b.policy, &f, b.scratch, b.request, mode, NULL).index, 1);
    }
    bench_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_wait_for_models_is_a_units_time),
        cmocka_unit_test(a_label_becomes_a_domain_by_its_categories),
        cmocka_unit_test(a_reported_name_also_serves_domains_that_list_it),
        cmocka_unit_test(below_the_threshold_there_is_no_domain),
        cmocka_unit_test(long_texts_count_as_the_mean_of_their_windows),
        cmocka_unit_test(a_model_may_weigh_its_largest_window_more),
        cmocka_unit_test(the_model_is_named_by_id_or_by_reference),
        cmocka_unit_test(fact_check_reports_one_of_two_names),
        cmocka_unit_test(a_model_whose_labels_mean_nothing_is_told),
        cmocka_unit_test(feedback_is_about_an_answer),
        cmocka_unit_test(the_classifier_method_goes_by_the_best_label),
        cmocka_unit_test(the_hybrid_method_weighs_both),
        cmocka_unit_test(modality_without_a_classifier_goes_by_keywords),
        cmocka_unit_test(risk_is_the_sum_of_the_positive_labels),
        cmocka_unit_test(the_worst_window_of_a_long_text_counts),
        cmocka_unit_test(without_threshold_any_risk_above_zero_matches),
        cmocka_unit_test(history_is_read_where_a_rule_says_so),
        cmocka_unit_test(results_of_tools_are_read_where_a_rule_says_so),
        cmocka_unit_test(the_latest_results_are_read),
        cmocka_unit_test(a_contrastive_rule_reads_results_too),
        cmocka_unit_test(a_guard_that_fails_allows_or_blocks),
        cmocka_unit_test(each_method_is_a_unit_of_its_own),
        cmocka_unit_test(classifier_labels_are_values_not_matches),
        cmocka_unit_test(labels_with_other_names_go_by_their_order),
        cmocka_unit_test(leaves_with_predicates_read_the_values_and_match_on_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
