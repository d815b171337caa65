/* tests/unit/base/test_utf8.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/regex.h"
#include "base/utf8.h"

static void every_code_point_survives_the_round_trip(void **state)
{
    (void)state;
    for (uint32_t code = 0; code <= 0x10FFFF; code++) {
        char bytes[UTF8_MAX];
        size_t n = utf8_put(bytes, code), at = 0;
        uint32_t back = utf8_next((str){ bytes, n }, &at);
        if (code - 0xD800 < 0x800) {
            assert_int_equal(back, UTF8_BAD);
            continue;
        }
        if (back != code || at != n || utf8_before((str){ bytes, n }, n) != code)
            fail_msg("U+%04X came back as U+%04X", code, back);
    }
}

static void broken_bytes_come_one_by_one(void **state)
{
    (void)state;
    static const struct { str text; size_t n; bool is_valid; } cases[] = {
        { { "a\xC3\xA9z", 4 }, 3, true },       { { "\xC3", 1 }, 1, false },
        { { "\xE2\x84", 2 }, 2, false },        { { "\xC0\x80", 2 }, 2, false },
        { { "\xE0\x81\xAB", 3 }, 3, false },    { { "\xED\xA0\x80", 3 }, 3, false },
        { { "\xF4\x90\x80\x80", 4 }, 4, false }, { { "\xF0\x9F\x98\x80", 4 }, 1, true },
        { { "\xFF\xFE", 2 }, 2, false },        { { "\xEF\xBF\xBD", 3 }, 1, true },
        { { "\xC3\xC3\xA9", 3 }, 2, false },    { { "", 0 }, 0, true },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(utf8_count(cases[i].text), cases[i].n);
        assert_int_equal(utf8_is_valid(cases[i].text), cases[i].is_valid);
    }
    assert_int_equal(utf8_before((str){ "a\x84\xAA", 3 }, 3), UTF8_BAD);
    assert_int_equal(utf8_before((str){ "\xC3\xA9x", 3 }, 3), 'x');
}

/* For each letter with cases, all letters that RE2's (?i) takes for it are those with the same
 * fold, and no others. */
static void folding_is_that_of_re2(void **state)
{
    (void)state;
    static uint32_t cased[8192];
    static uint32_t folds[8192];
    size_t n = 0;
    struct arena *a = arena_new();
    static bool is_seen[0x20000];
    for (uint32_t code = 1; code < 0x1F000; code++) {
        if (utf8_fold(code) != code) {
            is_seen[code] = is_seen[utf8_fold(code)] = true;
            assert_true(utf8_page_folds(code));
        }
    }
    is_seen[0x130] = is_seen[0x131] = is_seen[0xDF] = is_seen[0x149] = true;
    for (uint32_t code = 1; code < 0x1F000; code++) {
        if (is_seen[code] && n < COUNT_OF(cased)) {
            folds[n] = utf8_fold(code);
            cased[n++] = code;
        }
    }
    char *text = arena_alloc(a, n * UTF8_MAX);
    size_t len = 0;
    for (size_t i = 0; i < n; i++)
        len += utf8_put(text + len, cased[i]);
    for (size_t i = 0; i < n; i++) {
        char one[UTF8_MAX + 2] = "[";
        size_t one_len = 1 + utf8_put(one + 1, cased[i]);
        one[one_len++] = ']';
        struct regex *r = regex_new((str){ one, one_len }, true, NULL);
        assert_non_null(r);
        size_t same = 0;
        for (size_t k = 0; k < n; k++)
            same += folds[k] == folds[i];
        size_t from = 0, found = 0;
        str hit;
        while (regex_find(r, (str){ text, len }, from, &hit, 1)) {
            size_t at = 0;
            uint32_t code = utf8_next(hit, &at);
            if (utf8_fold(code) != folds[i])
                fail_msg("RE2 takes U+%04X for U+%04X", code, cased[i]);
            from = (size_t)(hit.ptr - text) + hit.len;
            found++;
        }
        if (found != same)
            fail_msg("U+%04X: RE2 knows %zu cases, we %zu", cased[i], found, same);
        regex_free(r);
    }
    /* and what we take for caseless is so for RE2: the class of all of it folds to itself */
    struct regex *r = regex_new(S("\\p{Lu}|\\p{Ll}|\\p{Lt}"), false, NULL);
    for (uint32_t code = 0x80; code < 0x1F000; code++) {
        char one[UTF8_MAX];
        size_t one_len = utf8_put(one, code);
        if (is_seen[code] || code - 0xD800 < 0x800 || !regex_has(r, (str){ one, one_len }))
            continue;
        struct regex *alone = regex_new((str){ one, one_len }, true, NULL);
        if (regex_has(alone, (str){ text, len }))
            fail_msg("U+%04X has cases in RE2", code);
        regex_free(alone);
    }
    regex_free(r);
    arena_free(a);
}

static void classes_know_the_scripts(void **state)
{
    (void)state;
    static const struct { uint32_t code; bool letter, alnum, han, cjk; } cases[] = {
        { 'a', true, true, false, false },      { '7', false, true, false, false },
        { '_', false, false, false, false },    { 0xE9, true, true, false, false },
        { 0x416, true, true, false, false },    { 0x665, false, true, false, false },
        { 0x4E2D, true, true, true, true },     { 0x3042, true, true, false, true },
        { 0x30AB, true, true, false, true },    { 0xAC00, true, true, false, true },
        { 0x3001, false, false, false, false }, { 0x2003, false, false, false, false },
        { 0x20000, true, true, true, true },    { 0x3005, true, true, true, true },
        { 0xFF21, true, true, false, false },   { 0x1F600, false, false, false, false },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint32_t code = cases[i].code;
        if (utf8_is_letter(code) != cases[i].letter || utf8_is_alnum(code) != cases[i].alnum
            || utf8_is_han(code) != cases[i].han || utf8_is_cjk(code) != cases[i].cjk)
            fail_msg("U+%04X", code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_survives_the_round_trip),
        cmocka_unit_test(broken_bytes_come_one_by_one),
        cmocka_unit_test(folding_is_that_of_re2),
        cmocka_unit_test(classes_know_the_scripts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
