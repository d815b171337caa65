/* tests/unit/signal/test_lower.c -- patterns taken for literals mean what RE2 means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/regex.h"
#include "signal/lower.h"
#include "signal/scanner.h"

static void known_patterns_are_lowered_as_expected(void **state)
{
    (void)state;
    static const struct { const char *pattern; enum lowered kind; size_t n; } cases[] = {
        { "step by step", LOWER_EXACT, 1 },
        { "\\bapi[_ -]?key\\b", LOWER_EXACT, 4 },
        { "\\bsocial security( number)?\\b", LOWER_EXACT, 2 },
        { "绕过(所有)?安全(限制|规则)", LOWER_EXACT, 4 },
        { "\\bbypass (every )?(safety|security) (rule|restriction)s?\\b", LOWER_EXACT, 16 },
        { "[?？]", LOWER_EXACT, 2 },
        { "(?i:a|b)", LOWER_EXACT, 2 },
        { "(?P<x>ab)c", LOWER_EXACT, 1 },
        { "a{2}b", LOWER_EXACT, 1 },
        { "a{,2}b", LOWER_EXACT, 1 },               /* braces for themselves */
        { "\\bbearer\\s+[A-Za-z0-9._~+/-]+=*\\b", LOWER_NEEDS, 1 },
        { "\\b(is|was|were)\\b.{0,80}\\b(accurate|true|correct)\\b", LOWER_NEEDS, 3 },
        { "\\b\\d{3}-\\d{2}-\\d{4}\\b", LOWER_NEEDS, 100 },
        { "foo.*", LOWER_NEEDS, 1 },
        { "(?m)^\\s*\\d+\\.\\s+", LOWER_NEEDS, 10 },     /* "0." to "9." */
        { "(ab|c)+d", LOWER_NEEDS, 2 },                 /* abd, cd */
        { "(foo|b.r)", LOWER_NEEDS, 2 },
        { "(foo|.)", LOWER_NONE, 0 },
        { "x*", LOWER_NONE, 0 },
        { "(a|)", LOWER_NONE, 0 },
        { "\\pL+", LOWER_NONE, 0 },
        { "[[:alpha:]]", LOWER_NONE, 0 },
        { "\\Qa.b\\E", LOWER_NONE, 0 },
        { "", LOWER_NONE, 0 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct arena *a = arena_new();
        struct literal *literals;
        size_t n = 0;
        bool fold = true;
        enum lowered kind = lower_pattern(a, str_of(cases[i].pattern), &fold, &literals, &n);
        if (kind != cases[i].kind || (kind != LOWER_NONE && n != cases[i].n))
            fail_msg("%s: kind %d, %zu literals", cases[i].pattern, kind, n);
        arena_free(a);
    }
}

/* Random patterns of the syntax that lower.c reads and some that it does not. */
static const char *const atoms[] = {
    "a", "b", "k", "s", " ", "_", "-", "\xC3\xA9", "\xE4\xB8\xAD", "\\b", "\\d", "1", "\\.", ".",
    "[ab]", "[a-c_]", "[^a]", "\\s", "\\w", "^", "$", "\\B", "\\x61", "[\\d-]", "(?:ab|k)",
    "(s|)", "(?i)", "\\-", "(?m)", "[ks]", "\xC5\xBF", "é|b", "(a|b)",
};
static const char *const repeats[] = { "?", "*", "+", "{2}", "{1,2}", "{0}", "??", "{3,}", "{," };

static void random_pattern(char *out, size_t parts)
{
    out[0] = '\0';
    for (size_t i = 0; i < parts; i++) {
        unsigned kind = (unsigned)rand() % 20;
        if (kind == 0)
            strcat(out, "|");
        if (kind == 1)
            strcat(out, "(");
        strcat(out, atoms[(size_t)rand() % COUNT_OF(atoms)]);
        if (kind == 2)
            strcat(out, ")");
        if (kind >= 15)
            strcat(out, repeats[(size_t)rand() % COUNT_OF(repeats)]);
    }
}

static str random_text(char *out, size_t parts)
{
    static const char *const letters[] = {
        "a", "b", "K", "S", "k", "s", "\xE2\x84\xAA", "\xC5\xBF", " ", "_", "-", "\xC3\xA9",
        "\xC3\x89", "\xE4\xB8\xAD", "1", "2", ".", "\n", "A", "\xC3", "\x84\xAA", "\xE4\xB8",
    };
    size_t len = 0;
    for (size_t i = 0; i < parts; i++) {
        const char *l = letters[(size_t)rand() % COUNT_OF(letters)];
        memcpy(out + len, l, strlen(l));
        len += strlen(l);
    }
    return (str){ out, len };
}

static void random_patterns_match_as_in_re2(void **state)
{
    (void)state;
    srand(11);
    size_t n_kinds[3] = { 0 };
    for (int round = 0; round < 20000; round++) {
        char pattern[256], bytes[256];
        random_pattern(pattern, 1 + (size_t)rand() % 5);
        bool fold = rand() % 2;
        struct regex *re = regex_new(str_of(pattern), fold, NULL);
        if (!re)
            continue;
        struct arena *a = arena_new();
        struct scanner *s = scanner_new(a);
        struct literal *literals;
        size_t n;
        bool with_fold = fold;
        n_kinds[lower_pattern(a, str_of(pattern), &with_fold, &literals, &n)]++;
        uint32_t has = scanner_pattern(s, str_of(pattern), fold, NULL);
        uint32_t count = scanner_pattern_count(s, str_of(pattern), fold, NULL);
        assert_true(scanner_seal(s));
        for (int i = 0; i < 12; i++) {
            str text = random_text(bytes, (size_t)rand() % 14);
            const struct scan *r = scan_text(s, text);
            if (scan_has(r, has) != regex_has(re, text))
                fail_msg("/%s/%s on \"" STR_FMT "\": not %d", pattern, fold ? "i" : "",
                         STR_ARG(text), scan_has(r, has));
            uint64_t counted = scan_count(r, count, text);
            if (counted != regex_count(re, text))
                fail_msg("/%s/%s on \"" STR_FMT "\": %d matches, RE2 has %d", pattern,
                         fold ? "i" : "", STR_ARG(text), (int)counted,
                         (int)regex_count(re, text));
        }
        regex_free(re);
        arena_free(a);
    }
    print_message("patterns: %zu as RE2, %zu exact, %zu gated\n", n_kinds[LOWER_NONE],
                  n_kinds[LOWER_EXACT], n_kinds[LOWER_NEEDS]);
    assert_true(n_kinds[LOWER_EXACT] > 1000 && n_kinds[LOWER_NEEDS] > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_patterns_are_lowered_as_expected),
        cmocka_unit_test(random_patterns_match_as_in_re2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
