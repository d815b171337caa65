/* tests/unit/base/test_regex.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/regex.h"

static void patterns_match_as_in_re2(void **state)
{
    (void)state;
    static const struct { const char *pattern; bool fold; const char *text; bool has, is; } cases[] = {
        { "a+b", false, "xaab", true, false },   { "a+b", false, "aab", true, true },
        { "A+b", true, "xaaB", true, false },    { "\\bfoo\\b", false, "foo_bar", false, false },
        { "\\bfoo\\b", false, "foo bar", true, false }, { "", false, "", true, true },
        { "^b", false, "a\nb", false, false },   { "(?m)^b", false, "a\nb", true, false },
        { "é", true, "É", true, true },          { ".", false, "é", true, true },
        { "\\x{212A}", true, "k", true, true },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct regex *r = regex_new(str_of(cases[i].pattern), cases[i].fold, NULL);
        assert_non_null(r);
        assert_int_equal(regex_has(r, str_of(cases[i].text)), cases[i].has);
        assert_int_equal(regex_is(r, str_of(cases[i].text)), cases[i].is);
        regex_free(r);
    }
}

static void bad_patterns_say_why(void **state)
{
    (void)state;
    static const char *const bad[] = { "(a", "a**", "(?=x)", "\\1", "[z-a]", "x{1001}", "\xFF" };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct err e = { 0 };
        assert_null(regex_new(str_of(bad[i]), false, &e));
        assert_true(strlen(e.text) > 10);
    }
}

static void groups_are_found(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct regex *r = regex_in(a, S("(\\w+)@(\\w+)(\\.org)?"), false, NULL);
    str g[4], text = S("to me@here or you@there.org");
    assert_int_equal(regex_groups(r), 3);
    assert_true(regex_find(r, text, 0, g, 4));
    assert_true(str_eq(g[0], S("me@here")));
    assert_true(str_eq(g[2], S("here")));
    assert_null(g[3].ptr);
    assert_true(regex_find(r, text, (size_t)(g[0].ptr - text.ptr) + g[0].len, g, 4));
    assert_true(str_eq(g[3], S(".org")));
    assert_false(regex_find(r, text, text.len + 1, g, 4));
    assert_true(regex_find(r, text, 0, NULL, 0));
    arena_free(a);
}

static void matches_are_counted_as_go_counts(void **state)
{
    (void)state;
    static const struct { const char *pattern, *text; uint64_t n; } cases[] = {
        { "[?？]", "a? b？ c?", 3 }, { "aa", "aaaaa", 2 }, { "a*", "baab", 3 },
        { "", "abc", 4 },           { "", "é", 2 },       { "x", "", 0 },
        { "(?m)^\\s*\\d+\\.\\s+", "1. a\n2. b\n 3.c\n 4. d", 3 },
        { "\\b", "ab cd", 4 },      { "a|ab", "abab", 2 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct regex *r = regex_new(str_of(cases[i].pattern), false, NULL);
        if (regex_count(r, str_of(cases[i].text)) != cases[i].n)
            fail_msg("%s in \"%s\": %d", cases[i].pattern, cases[i].text,
                     (int)regex_count(r, str_of(cases[i].text)));
        regex_free(r);
    }
}

static void a_set_tells_which(void **state)
{
    (void)state;
    struct regex_set *s = regex_set_new(8 << 20);
    assert_int_equal(regex_set_add(s, S("\\bfoo\\b"), true, NULL), 0);
    struct err e = { 0 };
    assert_int_equal(regex_set_add(s, S("(x"), true, &e), -1);
    assert_true(e.text[0]);
    assert_int_equal(regex_set_add(s, S("b.r"), false, NULL), 1);
    assert_int_equal(regex_set_add(s, S("^$"), false, NULL), 2);
    assert_true(regex_set_compile(s));
    uint64_t bits = 0;
    assert_int_equal(regex_set_match(s, S("a FOO"), &bits), 1);
    assert_int_equal(bits, 1);
    bits = 0;
    assert_int_equal(regex_set_match(s, S("BAR"), &bits), 0);
    assert_int_equal(bits, 0);
    assert_int_equal(regex_set_match(s, S("bar foo"), &bits), 1);
    assert_int_equal(bits, 3);
    bits = 0;
    assert_int_equal(regex_set_match(s, S(""), &bits), 1);
    assert_int_equal(bits, 4);
    regex_set_free(s);
}

static void a_set_without_memory_says_so(void **state)
{
    (void)state;
    struct regex_set *s = regex_set_new(40 << 10);
    bool is_in = true;
    for (int i = 0; i < 12; i++) {
        char pattern[64];
        snprintf(pattern, sizeof pattern, "a%d.{0,12}b[a-f]*%d", i, i);
        is_in &= regex_set_add(s, str_of(pattern), false, NULL) >= 0;
    }
    char text[8192];
    srand(3);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = "ab0123456789cdef"[rand() % 16];
    uint64_t bits = 0;
    if (is_in && regex_set_compile(s))
        assert_int_equal(regex_set_match(s, (str){ text, sizeof text }, &bits), -1);
    regex_set_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match_as_in_re2),
        cmocka_unit_test(bad_patterns_say_why),
        cmocka_unit_test(groups_are_found),
        cmocka_unit_test(matches_are_counted_as_go_counts),
        cmocka_unit_test(a_set_tells_which),
        cmocka_unit_test(a_set_without_memory_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
