/* tests/unit/signal/test_structure.c -- spec 2.4.10. */
#include "bench.h"

struct claim { const char *feature, *predicate, *text; int matches; double value; };

static void claims_hold(const struct claim *claims, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char yaml[1024];
        snprintf(yaml, sizeof yaml, "structure:\n- {name: s, feature: {%s}%s%s}\n",
                 claims[i].feature, claims[i].predicate ? ", predicate: " : "",
                 claims[i].predicate ? claims[i].predicate : "");
        struct bench b = bench_new(yaml, NULL);
        bench_text(&b, str_of(claims[i].text));
        if (bench_says(&b, "structure", "s") != claims[i].matches
            || fabs(bench_value(&b, "structure", "s") - claims[i].value) > 1e-9)
            fail_msg("{%s} on \"%s\": %d, value %g", claims[i].feature, claims[i].text,
                     bench_says(&b, "structure", "s"), bench_value(&b, "structure", "s"));
        bench_free(&b);
    }
}

static void patterns_are_counted(void **state)
{
    (void)state;
    static const struct claim claims[] = {
        { "type: count, source: {type: regex, pattern: '[?？]'}", "{gte: 3}", "a? b？ c?", 1, 3 },
        { "type: count, source: {type: regex, pattern: '[?？]'}", "{gte: 4}", "a? b？ c?", 0, 3 },
        { "type: count, source: {type: regex, pattern: '[?？]'}", "{lte: 1}", "none", 1, 0 },
        { "type: count, source: {type: regex, pattern: aa}", "{gt: 1}", "AAaaa", 1, 2 },
        { "type: count, source: {type: regex, pattern: 'a|ab'}", NULL, "abab", 1, 2 },
        { "type: count, source: {type: regex, pattern: aa, case_sensitive: true}", NULL,
          "AAA", 0, 0 },
        { "type: exists, source: {type: regex, pattern: '(?m)^\\s*\\d+\\.\\s+'}", NULL,
          "do:\n 1. this\n 2. that", 1, 1 },
        { "type: exists, source: {type: regex, pattern: '(?m)^\\s*\\d+\\.\\s+'}", NULL,
          "do 1. this", 0, 0 },
        { "type: density, source: {type: regex, pattern: '[?？]'}", "{lt: 0.3}",
          "one two? three 四", 1, 0.25 },
    };
    claims_hold(claims, COUNT_OF(claims));
}

static void words_of_a_set_stand_apart(void **state)
{
    (void)state;
    static const struct claim claims[] = {
        { "type: count, source: {type: keyword_set, keywords: [must, \"at least\"]}", NULL,
          "Must be at least 3, must!", 1, 3 },
        { "type: count, source: {type: keyword_set, keywords: [must]}", NULL,
          "mustard, mustache, 4must, must4", 0, 0 },
        { "type: count, source: {type: keyword_set, keywords: [must]}", NULL,
          "_must_ 必must须 \xC3\xA9must", 1, 2 },
        { "type: count, source: {type: keyword_set, keywords: [\"必须\"]}", NULL,
          "我必须你必须", 1, 2 },
        { "type: count, source: {type: keyword_set, keywords: [\"не\"]}", NULL,
          "НЕ надо, нет", 1, 1 },
        { "type: count, source: {type: keyword_set, keywords: [json, JSON]}", NULL,
          "json", 1, 1 },
        { "type: count, source: {type: keyword_set, keywords: [\"a a\"]}", NULL, "a a a a", 1, 2 },
        { "type: exists, source: {type: keyword_set, keywords: [x, y]}", NULL, "a y", 1, 1 },
        { "type: exists, source: {type: keyword_set, keywords: [X], case_sensitive: true}", NULL,
          "a x", 0, 0 },
        /* 6 words, 1 hit */
        { "type: density, source: {type: keyword_set, keywords: [under, within]}", "{gt: 0.08}",
          "it's under ten: a-b", 1, 1 / 6.0 },
        /* each Han character is a unit: 我 们 必 须 走 ok */
        { "type: density, source: {type: keyword_set, keywords: [\"必须\"]}", "{gt: 0.08}",
          "我们必须走ok", 1, 1 / 6.0 },
        { "type: density, source: {type: keyword_set, keywords: [x]}", NULL, "...", 0, 0 },
        { "type: density, source: {type: keyword_set, keywords: [x]}", NULL, "x éa б9", 1, 1 / 3.0 },
    };
    claims_hold(claims, COUNT_OF(claims));
}

static void markers_come_in_order(void **state)
{
    (void)state;
    static const char first_then[] =
        "type: sequence, source: {type: sequence, sequences: [[first, then], [\"先\", \"再\"]]}";
    static const struct claim claims[] = {
        { first_then, NULL, "First do this, THEN that", 1, 1 },
        { first_then, NULL, "then first", 0, 0 },
        { first_then, NULL, "firsthand and authentic", 1, 1 },      /* substrings */
        { first_then, NULL, "先做这个再做那个", 1, 1 },
        { first_then, NULL, "再做先", 0, 0 },
        { "type: sequence, source: {type: sequence, sequences: [[ab, ba]]}", NULL, "aba", 0, 0 },
        { "type: sequence, source: {type: sequence, sequences: [[ab, ba]]}", NULL, "abba", 1, 1 },
        { "type: sequence, source: {type: sequence, sequences: [[a, a, a]]}", NULL, "a a", 0, 0 },
        { "type: sequence, source: {type: sequence, sequences: [[a, a, a]]}", NULL, "aaa", 1, 1 },
        { "type: sequence, source: {type: sequence, case_sensitive: true, "
          "sequences: [[First, then]]}", NULL, "first then", 0, 0 },
    };
    claims_hold(claims, COUNT_OF(claims));
}

static void bytes_are_those_of_the_raw_text(void **state)
{
    (void)state;
    struct bench b = bench_new(
        "structure:\n"
        "- {name: s, feature: {type: count, source: {type: text_bytes}}, predicate: {gt: 3}}\n",
        NULL);
    struct facts f = { .current_user_raw = S("  é "), .evaluation_text = S("é") };
    bench_run(&b, &f);
    assert_int_equal(bench_says(&b, "structure", "s"), 1);
    assert_true(bench_value(&b, "structure", "s") == 5);
    bench_free(&b);
}

static void confidence_grows_with_the_distance(void **state)
{
    (void)state;
    struct bench b = bench_new(
        "structure:\n"
        "- {name: one, feature: {type: count, source: {type: regex, pattern: x}}, "
        "predicate: {gte: 1}}\n"
        "- {name: far, feature: {type: count, source: {type: regex, pattern: x}}, "
        "predicate: {lt: 5, gte: 0}}\n"
        "- {name: none, feature: {type: exists, source: {type: regex, pattern: x}}}\n"
        "- {name: no, feature: {type: exists, source: {type: regex, pattern: y}}}\n", NULL);
    bench_text(&b, S("x"));
    assert_true(fabs(bench_confidence(&b, "structure", "one") - 0.5) < 1e-6);
    assert_true(fabs(bench_confidence(&b, "structure", "far") - 1 / (1 + exp(-4))) < 1e-6);
    assert_true(fabs(bench_confidence(&b, "structure", "none") - 1) < 1e-6);
    assert_int_equal(bench_says(&b, "structure", "no"), 0);
    assert_true(isnan(bench_confidence(&b, "structure", "no")));
    assert_true(bench_value(&b, "structure", "no") == 0);
    bench_free(&b);
}

static void bad_features_are_refused(void **state)
{
    (void)state;
    static const struct { const char *feature, *predicate, *finding; } cases[] = {
        { "type: exists, source: {type: regex, pattern: x}", "{gt: 1}", "bad-predicate" },
        { "type: sequence, source: {type: regex, pattern: x}", NULL, "bad-source" },
        { "type: count, source: {type: sequence, sequences: [[a, b]]}", NULL, "bad-source" },
        { "type: sequence, source: {type: sequence, sequences: [[a]]}", NULL, "bad-sequence" },
        { "type: sequence, source: {type: sequence}", NULL, "bad-sequence" },
        { "type: density, source: {type: text_bytes}", NULL, "bad-source" },
        { "type: count, source: {type: regex}", NULL, "missing-key" },
        { "type: count, source: {type: keyword_set}", NULL, "missing-key" },
        { "type: count, source: {type: regex, pattern: '(x'}", NULL, "bad-pattern" },
        { "type: count, source: {type: regex, pattern: x}", "{}", "bad-predicate" },
        { "type: count, source: {type: regex, pattern: x}", "{gt: 1, gte: 1}", "bad-predicate" },
        { "type: count, source: {type: regex, pattern: x}", "{gt: 2, lt: 1}", "bad-predicate" },
        { "type: count, source: {type: regex, pattern: x}", "{gt: 1, lte: 1}", "bad-predicate" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char yaml[512];
        snprintf(yaml, sizeof yaml, "structure:\n- {name: s, feature: {%s}%s%s}\n",
                 cases[i].feature, cases[i].predicate ? ", predicate: " : "",
                 cases[i].predicate ? cases[i].predicate : "");
        struct bench b = bench_new(yaml, NULL);
        if (!bench_found(&b, cases[i].finding) || b.policy)
            fail_msg("{%s}: no finding %s", cases[i].feature, cases[i].finding);
        bench_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_are_counted),
        cmocka_unit_test(words_of_a_set_stand_apart),
        cmocka_unit_test(markers_come_in_order),
        cmocka_unit_test(bytes_are_those_of_the_raw_text),
        cmocka_unit_test(confidence_grows_with_the_distance),
        cmocka_unit_test(bad_features_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
