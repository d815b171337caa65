/* tests/unit/neural/test_tokenizer_pattern.c -- the regular expressions of tokenizer.json mean what they mean to Oniguruma. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "neural/tokenizer_pattern.h"

/* All matches, one behind the other, as "from-to ...". */
static void matches(const struct pattern *p, str text, struct buf *out)
{
    size_t from = 0, start, end;
    out->len = 0;
    while (from <= text.len && pattern_find(p, text, from, &start, &end)) {
        buf_printf(out, "%s%zu-%zu", out->len ? " " : "", start, end);
        from = end > start ? end : end + 1;
    }
    buf_char(out, 0);
}

static const char gpt2[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static void the_first_alternative_that_leads_to_a_match_wins(void **state)
{
    (void)state;
    static const struct { const char *pattern; const char *text; const char *expected; } cases[] = {
        { gpt2, "it's  a\n\n b  ", "0-2 2-4 4-5 5-7 7-9 9-11 11-13" },
        { gpt2, "    x", "0-3 3-5" },
        { gpt2, "é٣!?", "0-2 2-4 4-6" },
        { "a|ab", "ab", "0-1" },                    { "ab|a", "ab", "0-2" },
        { "(?:a|ab)(?:c|bcd)", "abcd", "0-4" },     { "(?:a|ab)(?:c|bcd)?", "abcd", "0-4" },
        { "(?:ab|a)(?:bcd)?", "abcd", "0-2" },      { "a+?", "aaa", "0-1 1-2 2-3" },
        { "a+?b", "aab", "0-3" },                   { "a{2}", "aaaaa", "0-2 2-4" },
        { "a{2,}", "aaaaa", "0-5" },                { "a{,2}b", "aaab", "1-4" },
        { "a{1,3}", "aaaaa", "0-3 3-5" },           { "a{1,3}?", "aa", "0-1 1-2" },
        { "a{x", "a{x", "0-3" },                    { "(?i:kS)", "Ks\u212A\u017F", "0-2 2-7" },
        { "(?i)a|b", "AB", "0-1 1-2" },             { "x(?=y)", "xyx", "0-1" },
        { "x(?!y)", "xyx", "2-3" },                 { "[^a-c]+", "abcdé", "3-6" },
        { "[]a]+", "a]b", "0-2" },                  { "[a-]+", "a-b", "0-2" },
        { "\\p{Lu}\\P{Lu}*", "AbÉd", "0-2 2-5" },   { "\\p{^L}+", "a12b", "1-3" },
        { "\\w+", "a_1²-b", "0-5 6-7" },            { "\\s\\S", "\u00a0x", "0-3" },
        { "\\x41\\u0042\\x{43}\\n", "ABC\n", "0-4" }, { "a*", "baac", "0-0 1-3 3-3 4-4" },
        { "[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+", "!ab", "0-3" },
        { " ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*", " !!\n", "0-4" },
        { "\\p{Han}+|.", "中文a", "0-6 6-7" },
    };
    struct arena *a = arena_new();
    struct buf out = { 0 };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err e = { 0 };
        struct pattern *p = pattern_new(a, str_of(cases[i].pattern), &e);
        if (!p)
            fail_msg("%s", e.text);
        matches(p, str_of(cases[i].text), &out);
        if (strcmp(out.ptr, cases[i].expected) != 0)
            fail_msg("%s on \"%s\": %s, not %s", cases[i].pattern, cases[i].text, out.ptr, cases[i].expected);
    }
    buf_free(&out);
    arena_free(a);
}

static void what_is_not_known_is_refused(void **state)
{
    (void)state;
    static const char *const patterns[] = {
        "(", ")", "a)", "[", "[a", "[z-a]", "[a[b]]", "[a&&b]", "\\", "\\p", "\\p{", "\\p{Nope}", "\\b", "\\1",
        "^a", "a$", "*a", "(?<n>a)", "(?<=a)b", "(?=ab)", "(?!a*)", "a++a", "(?:ab)++c", "a{2000}", "(?:(?:(?:a{100}){100}){100})", "(?i:é)",
        "\\x{110000}", "(?>a)", "(?:a?){200}(?:a{1,200}b?){50}",
    };
    struct arena *a = arena_new();
    for (size_t i = 0; i < COUNT_OF(patterns); i++) {
        struct err e = { 0 };
        if (pattern_new(a, str_of(patterns[i]), &e) || !strstr(e.text, "regular expression \""))
            fail_msg("%s: %s", patterns[i], e.text[0] ? e.text : "accepted");
    }
    struct buf deep = { 0 };
    for (int i = 0; i < 10000; i++)
        buf_char(&deep, '(');
    assert_null(pattern_new(a, buf_view(&deep), NULL));
    buf_free(&deep);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_alternative_that_leads_to_a_match_wins),
        cmocka_unit_test(what_is_not_known_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
