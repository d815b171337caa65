/* tests/unit/signal/test_neural_pii.c -- the pii signal: recognisers and a model of names, joined (spec 2.4.15). */
#include "fake_models.h"

static const struct fake_role roles[] = { { "pii", { "O", "PER", "B-ORG", "PET", "B-GIVEN_NAME" } }, { NULL, { NULL } } };
static const struct fake_span spans[] = {
    { "ask Ann", 4, 7, 1, 0.9f }, { "ask Ann at a@b.org", 4, 7, 1, 0.9f }, { "ask Acme", 4, 8, 2, 0.6f },
    { "ask Rex", 4, 7, 3, 0.8f }, { "ask Bea", 4, 7, 4, 0.8f },
    { "nobody here", 0, 0, 0, 0 }, { "an O", 0, 2, 0, 1 }, { "ann@example.org", 0, 0, 0, 0 }, { NULL, 0, 0, 0, 0 },
};

static void recognisers_need_no_model(void **state)
{
    (void)state;
    struct fake m = { .roles = NULL };
    struct bench b = fake_bench(&m,
        "pii:\n"
        "- {name: any, threshold: 0.7}\n"
        "- {name: but mail, threshold: 0.7, pii_types_allowed: [EMAIL_ADDRESS]}\n"
        "- {name: but card, threshold: 0.7, pii_types_allowed: [credit_card]}\n", NULL);
    bench_text(&b, S("write to ann.miller@example.org"));
    assert_holds(&b, "pii", "any");
    assert_holds_not(&b, "pii", "but mail");
    assert_holds(&b, "pii", "but card");
    assert_true(isnan(bench_confidence(&b, "pii", "any")));
    str detail = b.signals->detail[bench_slot(&b, "pii", "any")];
    assert_true(str_find(detail, S("EMAIL_ADDRESS")) >= 0);
    assert_true(str_find(detail, S("ann")) < 0);            /* what was found is told nowhere */
    bench_text(&b, S("my card is 4532 0151 1283 0366"));
    assert_holds(&b, "pii", "any");
    assert_holds(&b, "pii", "but mail");
    assert_holds_not(&b, "pii", "but card");
    bench_text(&b, S("the weather is nice today"));
    assert_holds_not(&b, "pii", "any");
    bench_text(&b, S(""));
    assert_holds_not(&b, "pii", "any");
    assert_int_equal(m.n_asked, 0);
    bench_free(&b);
}

static void shorter_names_of_types_are_understood(void **state)
{
    (void)state;
    struct fake m = { .roles = NULL };
    struct bench b = fake_bench(&m, "pii: [{name: p, threshold: 0.7, pii_types_allowed: [email, Phone-Number]}]", NULL);
    bench_text(&b, S("write to ann.miller@example.org"));
    assert_holds_not(&b, "pii", "p");
    bench_free(&b);
}

/* Without a served model: the small one that is built in. */
static void full_names_in_english_need_no_model(void **state)
{
    (void)state;
    static const struct { const char *text; int matches; } cases[] = {
        { "What is the capital of France?", 0 },            /* a place, but nobody in particular */
        { "My name is John Smith and I live in Paris.", 1 },
        { "Der Hund spielt im Garten, und die Katze schläft auf dem Sofa.", 0 },   /* capitals are no names there */
        { "how do I sort a list", 0 },
    };
    struct fake m = { .roles = NULL };
    struct bench b = fake_bench(&m, "pii: [{name: p, threshold: 0.7}]", NULL);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        bench_text(&b, str_of(cases[i].text));
        if (bench_says(&b, "pii", "p") != cases[i].matches)
            fail_msg("\"%s\": %d, " STR_FMT, cases[i].text, bench_says(&b, "pii", "p"),
                     STR_ARG(b.signals->detail[bench_slot(&b, "pii", "p")]));
    }
    bench_free(&b);
}

static void names_come_from_a_model(void **state)
{
    (void)state;
    struct fake m = { .roles = roles, .spans = spans };
    struct bench b = fake_bench(&m,
        "pii:\n"
        "- {name: p, threshold: 0.7}\n"
        "- {name: but people, threshold: 0.5, pii_types_allowed: [PERSON]}\n"
        "- {name: but pets, threshold: 0.5, pii_types_allowed: [pet]}\n", NULL);
    bench_text(&b, S("ask Ann"));
    assert_holds(&b, "pii", "p");
    assert_holds_not(&b, "pii", "but people");
    bench_text(&b, S("ask Acme"));                          /* .6 */
    assert_holds_not(&b, "pii", "p");
    assert_holds(&b, "pii", "but people");
    bench_text(&b, S("ask Rex"));                           /* a type that only the model has */
    assert_holds(&b, "pii", "p");
    assert_holds_not(&b, "pii", "but pets");
    assert_true(str_find(b.signals->detail[bench_slot(&b, "pii", "p")], S("PET")) >= 0);
    bench_text(&b, S("ask Bea"));                           /* a model's own word for it */
    assert_holds(&b, "pii", "p");
    assert_holds_not(&b, "pii", "but people");
    bench_text(&b, S("an O"));                              /* outside of everything */
    assert_holds_not(&b, "pii", "p");
    bench_text(&b, S("late"));
    assert_unknown(&b, "pii", "p", "timeout");
    bench_free(&b);
}

static void the_model_is_not_asked_when_the_recognisers_settle_every_rule(void **state)
{
    (void)state;
    struct fake m = { .roles = roles, .spans = spans };
    struct bench b = fake_bench(&m, "pii: [{name: p, threshold: 0.7}]", NULL);
    bench_text(&b, S("ann@example.org"));
    assert_holds(&b, "pii", "p");
    assert_int_equal(m.n_asked, 0);
    bench_free(&b);
    b = fake_bench(&m,
        "pii:\n"
        "- {name: p, threshold: 0.7}\n"
        "- {name: but mail, threshold: 0.7, pii_types_allowed: [EMAIL_ADDRESS]}\n", NULL);
    bench_text(&b, S("ann@example.org"));                   /* the second rule is still open */
    assert_holds(&b, "pii", "p");
    assert_holds_not(&b, "pii", "but mail");
    assert_int_equal(m.n_asked, 1);
    bench_free(&b);
}

static void history_is_read_where_a_rule_says_so(void **state)
{
    (void)state;
    struct fake m = { .roles = roles, .spans = spans };
    struct bench b = fake_bench(&m,
        "pii:\n"
        "- {name: now, threshold: 0.7}\n"
        "- {name: ever, threshold: 0.7, include_history: true}\n", NULL);
    static struct chat chat;
    str prior[] = { S("ask Ann") }, others[] = { S("nobody here") };
    struct facts f = { .chat = &chat, .current_user = S("nobody here"), .evaluation_text = S("nobody here"),
                       .sampled_text = S("nobody here"),
                       .prior_users = prior, .n_prior_users = 1, .non_users = others, .n_non_users = 1 };
    bench_run(&b, &f);
    assert_holds_not(&b, "pii", "now");
    assert_holds(&b, "pii", "ever");
    prior[0] = S("late");
    bench_run(&b, &f);
    assert_holds_not(&b, "pii", "now");
    assert_unknown(&b, "pii", "ever", "timeout");
    prior[0] = S("write to ann.miller@example.org");        /* settled by form: only the present text is asked about */
    m.n_asked = 0;
    bench_run(&b, &f);
    assert_holds(&b, "pii", "ever");
    assert_holds_not(&b, "pii", "now");
    assert_int_equal(m.n_asked, 1);
    bench_free(&b);
}

static void results_of_tools_are_read_where_a_rule_says_so(void **state)
{
    (void)state;
    struct fake m = { .roles = roles, .spans = spans };
    struct bench b = fake_bench(&m,
        "pii:\n"
        "- {name: now, threshold: 0.7}\n"
        "- {name: new, threshold: 0.7, include_tool_results: true}\n"
        "- {name: all, threshold: 0.7, include_tool_results: true, include_history: true}\n", NULL);
    str user = S("nobody here"), old = S("ask Ann"), said = S("nobody here"), fresh = S("{\"to\": \"ann.miller@example.org\"}");
    struct message talk[] = {
        { .role = ROLE_USER, .texts = &user, .n_texts = 1 }, { .role = ROLE_TOOL, .texts = &old, .n_texts = 1 },
        { .role = ROLE_ASSISTANT, .texts = &said, .n_texts = 1 }, { .role = ROLE_TOOL, .texts = &fresh, .n_texts = 1 },
    };
    struct arena *a = arena_new();
    struct chat chat = { .messages = talk, .n_messages = 4 };
    struct facts f = { 0 };
    facts_build(&f, a, &chat);
    bench_run(&b, &f);
    assert_holds_not(&b, "pii", "now");
    assert_holds(&b, "pii", "new");
    assert_holds(&b, "pii", "all");
    assert_int_equal(m.n_asked, 1);                         /* the form settles two rules: one text for the third */
    assert_string_equal(arena_cstr(b.request, b.signals->detail[bench_slot(&b, "pii", "new")]),
                        "EMAIL_ADDRESS 0.99 in tool result 2 of 2");
    fresh = S("nobody here");
    bench_run(&b, &f);
    assert_holds_not(&b, "pii", "new");
    assert_string_equal(arena_cstr(b.request, b.signals->detail[bench_slot(&b, "pii", "all")]), "PERSON 0.90 in tool result 1 of 2");
    arena_free(a);
    bench_free(&b);
}

static void a_module_that_is_off_says_so(void **state)
{
    (void)state;
    struct fake m = { .roles = NULL };
    struct bench b = fake_bench(&m, "pii: [{name: p, threshold: 0.7}]",
                                "model_catalog: {modules: {classifier: {pii: {enabled: false}}}}");
    bench_text(&b, S("ann.miller@example.org"));
    assert_unknown(&b, "pii", "p", "off");
    bench_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recognisers_need_no_model),
        cmocka_unit_test(shorter_names_of_types_are_understood),
        cmocka_unit_test(full_names_in_english_need_no_model),
        cmocka_unit_test(names_come_from_a_model),
        cmocka_unit_test(the_model_is_not_asked_when_the_recognisers_settle_every_rule),
        cmocka_unit_test(history_is_read_where_a_rule_says_so),
        cmocka_unit_test(results_of_tools_are_read_where_a_rule_says_so),
        cmocka_unit_test(a_module_that_is_off_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
