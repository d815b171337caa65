/* tests/unit/select/test_prompt.c -- what a helper is asked, and which of its answers are an answer. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "select/prompt.h"
#include "select/select.h"

static struct arena *a;
static const str names[] = { S("small"), S("big"), S("gpt-4"), S("gpt-4o"), S("org/model-7b:free"), S("m") };

static void an_answer_chooses_one_or_says_why_not(void **state)
{
    (void)state;
    static const struct { const char *answer, *name, *why; } rows[] = {
        { "big", "big", NULL }, { "  big\n", "big", NULL }, { "`big`", "big", NULL }, { "**big**.", "big", NULL },
        { "<think>small? no.</think>big", "big", NULL },
        { "{\"selected_model\":\"big\",\"rationale\":\"small is too weak\"}", "big", NULL },
        { "```json\n{\"selected_model\": \"big\"}\n```", "big", NULL },
        { "Sure: {\"selected_model\": \"gpt-4o\", \"rationale\": \"not gpt-4\"} Anything else?", "gpt-4o", NULL },
        { "{\"rationale\":\"x\",\"selected_model\":\" big \"}", "big", NULL },
        { "I would take gpt-4.", "gpt-4", NULL }, { "gpt-4, for its price", "gpt-4", NULL },
        { "gpt-4o", "gpt-4o", NULL }, { "use gpt-4o.", "gpt-4o", NULL },
        { "org/model-7b:free it is", "org/model-7b:free", NULL },
        { "big big big", "big", NULL }, { "model: m", "m", NULL },

        { "", NULL, "empty" }, { "<think>big", NULL, "empty" },
        { "Big", NULL, "unclear" },                     /* names are exact */
        { "bigger", NULL, "unclear" }, { "too-big", NULL, "unclear" }, { "big\xc3\xa9", NULL, "unclear" },
        { "gpt-4.1", NULL, "unclear" }, { "gpt-4-turbo", NULL, "unclear" }, { "gpt-4:free", NULL, "unclear" },
        { "none of them", NULL, "unclear" }, { "m7", NULL, "unclear" },
        { "big or small", NULL, "ambiguous" }, { "not small but big", NULL, "ambiguous" },
        { "{\"selected_model\":\"huge\",\"rationale\":\"big is a good one\"}", NULL, "unknown-model" },
        { "{\"selected_model\":\"BIG\"}", NULL, "unknown-model" },
        { "{\"selected_model\":[\"big\"]}", NULL, "unknown-model" },
        { "{\"selected_model\":null}", NULL, "unknown-model" }, { "{\"model\":\"big\"}", NULL, "unknown-model" },
        { "{\"selected_model\":\"big\",\"selected_model\":\"small\"}", NULL, "unknown-model" },  /* readers differ on which counts */
        { "{\"selected_model\":\"big\"", "big", NULL },         /* cut short behind the name: a mention all the same */
        { "{} big", NULL, "unknown-model" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *why = "unset";
        uint32_t k = prompt_read(a, str_of(rows[i].answer), names, COUNT_OF(names), &why);
        if (rows[i].name ? k >= COUNT_OF(names) || !str_eq(names[k], str_of(rows[i].name)) || why
                         : k != COUNT_OF(names) || !why || strcmp(why, rows[i].why) != 0)
            fail_msg("'%s': %.*s, %s", rows[i].answer, k < COUNT_OF(names) ? (int)names[k].len : 4,
                     k < COUNT_OF(names) ? names[k].ptr : "none", why ? why : "no reason");
    }
    const str twins[] = { S("a"), S("b"), S("a") };
    const char *why;
    assert_int_equal(prompt_read(a, S("a"), twins, 3, &why), 3);
    assert_string_equal(why, "equal-names");
}

static const void *conf(const char *yaml)
{
    const struct select_ops *ops = select_by_name(S("prompt"));
    struct findings f = { .a = a };
    struct err e = { 0 };
    struct value *v = yaml_parse(a, str_of(yaml), "test", &e);
    void *out = arena_alloc(a, ops->fields.struct_size);
    assert_true(field_decode(a, &ops->fields, v, S("prompt"), out, &f));
    return out;
}

static struct candidate candidate(const char *model)
{
    return (struct candidate){ .model = str_of(model), .quality = (double)NAN, .prompt_price = (double)NAN,
                               .completion_price = (double)NAN, .is_healthy = true };
}

static struct pick run(struct select_in *in, const struct heard *heard)
{
    const char *method;
    struct pick p;
    in->heard = heard;
    select_run(select_by_name(S("prompt")), in, a, &p, &method);
    assert_string_equal(method, "prompt");
    return p;
}

static void asks_about_the_healthy_and_picks_among_them(void **state)
{
    (void)state;
    struct candidate c[] = { candidate("down"), candidate("small"), candidate("big") };
    struct facts f = { .evaluation_text = S("why?") };
    struct select_in in = { .candidates = c, .n = 3, .facts = &f, .conf = conf("{model: helper}") };
    struct select_question q;
    c[0].is_healthy = false;
    c[2].about = S("long proofs");
    assert_true(select_asks(select_by_name(S("prompt")), &in, a, &q));
    assert_true(str_eq(q.model, S("helper")));
    assert_true(q.timeout_ns == 5000000000);
    assert_true(str_find(q.system, S("- small:\n- big: long proofs\n")) > 0);
    assert_true(str_find(q.system, S("down")) < 0);
    assert_true(str_find(q.text, S("\nwhy?\n")) > 0);
    struct pick p = run(&in, &(struct heard){ .text = S("big") });
    assert_int_equal(p.order[0], 2);
    assert_int_equal(p.order[1], 1);
    assert_int_equal(p.order[2], 0);            /* unhealthy ones last */
    assert_string_equal(p.reason, "helper");
    assert_null(p.fallback);
    p = run(&in, &(struct heard){ .text = S("down") });         /* was not offered */
    assert_int_equal(p.order[0], 1);
    assert_string_equal(p.fallback, "unclear");
    p = run(&in, &(struct heard){ .why = "timeout" });
    assert_int_equal(p.order[0], 1);
    assert_string_equal(p.fallback, "timeout");
    p = run(&in, NULL);
    assert_string_equal(p.fallback, "not-asked");
}

static void asks_nothing_where_nothing_can_be_chosen(void **state)
{
    (void)state;
    struct candidate c[] = { candidate("small"), candidate("big") };
    struct facts f = { .evaluation_text = S("why?") };
    struct select_in in = { .candidates = c, .n = 1, .facts = &f, .conf = conf("{model: helper}") };
    struct select_question q;
    const struct select_ops *ops = select_by_name(S("prompt"));
    assert_false(select_asks(ops, &in, a, &q));
    in.n = 2;
    assert_false(select_asks(select_by_name(S("static")), &in, a, &q));
    c[0].is_healthy = false;
    assert_false(select_asks(ops, &in, a, &q));
    struct pick p = run(&in, NULL);
    assert_int_equal(p.order[0], 1);
    assert_null(p.fallback);
    c[1].is_healthy = false;                    /* all down: they are tried all the same, so one is chosen */
    assert_true(select_asks(ops, &in, a, &q));
    f.evaluation_text = S("");
    assert_false(select_asks(ops, &in, a, &q));
}

static void modes_of_one_model_are_told_apart(void **state)
{
    (void)state;
    const struct model_ref refs[] = { { .model = S("m") }, { .model = S("m"), .use_reasoning = true }, { .model = S("m"), .lora_name = S("law") } };
    struct candidate c[] = { candidate("m"), candidate("m"), candidate("m") };
    struct facts f = { .evaluation_text = S("why?") };
    struct select_in in = { .candidates = c, .n = 3, .facts = &f, .conf = conf("{model: helper}") };
    for (int i = 0; i < 3; i++)
        c[i].ref = &refs[i];
    static const char *const answers[] = { "m", "m+reasoning", "law" };
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(run(&in, &(struct heard){ .text = str_of(answers[i]) }).order[0], i);
}

static void the_prompt_is_bounded(void **state)
{
    (void)state;
    char *much = arena_alloc(a, 1 << 20);
    memset(much, 'x', 1 << 20);
    struct candidate c[] = { candidate("small"), candidate("big") };
    struct facts f = { .evaluation_text = (str){ much, 1 << 20 } };
    struct select_in in = { .candidates = c, .n = 2, .facts = &f, .conf = conf("{model: helper}") };
    struct select_question q;
    c[0].about = f.evaluation_text;
    assert_true(select_asks(select_by_name(S("prompt")), &in, a, &q));
    assert_in_range(q.text.len, 8000, 8500);
    assert_in_range(q.system.len, 700, 1800);
}

int main(void)
{
    a = arena_new();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_chooses_one_or_says_why_not),
        cmocka_unit_test(asks_about_the_healthy_and_picks_among_them),
        cmocka_unit_test(asks_nothing_where_nothing_can_be_chosen),
        cmocka_unit_test(modes_of_one_model_are_told_apart),
        cmocka_unit_test(the_prompt_is_bounded),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    arena_free(a);
    return rc;
}
