/* tests/unit/signal/test_scanner.c -- features, sets without memory, what a thread remembers. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/regex.h"
#include "signal/scanner.h"

static void the_same_question_is_one_feature(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct scanner *s = scanner_new(a);
    uint32_t one = scanner_word(s, S("json"), SCAN_WORD, true);
    assert_int_equal(scanner_word(s, S("JSON"), SCAN_WORD, true), one);
    assert_int_not_equal(scanner_word(s, S("json"), SCAN_ANYWHERE, true), one);
    assert_int_not_equal(scanner_word(s, S("json"), SCAN_WORD, false), one);
    assert_int_not_equal(scanner_word_count(s, S("json"), SCAN_WORD, true), one);
    uint32_t pattern = scanner_pattern(s, S("a.b"), true, NULL);
    assert_int_equal(scanner_pattern(s, S("a.b"), true, NULL), pattern);
    assert_int_not_equal(scanner_pattern(s, S("A.b"), true, NULL), pattern);
    struct err e = { 0 };
    assert_int_equal(scanner_pattern(s, S("(a"), true, &e), SCAN_NONE);
    assert_true(e.text[0]);
    assert_true(scanner_seal(s));
    assert_true(scan_has(scan_text(s, S("a Json")), one));
    arena_free(a);
}

/* A set that runs out of memory must not lose matches. */
static void patterns_match_with_and_without_memory(void **state)
{
    (void)state;
    static const char *const patterns[] = {
        "[^a]\\w{4}[^b]", "\\pL{3}\\pN", "^\\W", "\\s$", "[^x]{7}\\d.{3}", "\\PL{5}", ".{20}\\d\\b",
    };
    static const size_t memory[] = { 32 << 20, 100 << 10, 1 };
    char bytes[600];
    srand(21);
    for (int round = 0; round < 200; round++) {
        size_t len = (size_t)rand() % sizeof bytes;
        for (size_t i = 0; i < len; i++)
            bytes[i] = "ab1 .xyz\n-"[rand() % 10];
        str text = { bytes, len };
        for (size_t m = 0; m < COUNT_OF(memory); m++) {
            struct arena *a = arena_new();
            struct scanner *s = scanner_new(a);
            scanner_tune(s, memory[m], 4096);
            uint32_t features[COUNT_OF(patterns)];
            for (size_t i = 0; i < COUNT_OF(patterns); i++)
                features[i] = scanner_pattern(s, str_of(patterns[i]), true, NULL);
            assert_true(scanner_seal(s));
            const struct scan *r = scan_text(s, text);
            for (size_t i = 0; i < COUNT_OF(patterns); i++) {
                struct regex *re = regex_new(str_of(patterns[i]), true, NULL);
                if (scan_has(r, features[i]) != regex_has(re, text))
                    fail_msg("%s with %zu bytes", patterns[i], memory[m]);
                regex_free(re);
            }
            arena_free(a);
        }
    }
}

static void scans_are_remembered_by_what_was_scanned(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct scanner *s = scanner_new(a), *other = scanner_new(a);
    uint32_t x = scanner_word_count(s, S("x"), SCAN_WORD, true);
    uint32_t y = scanner_word(other, S("y"), SCAN_WORD, true);
    assert_true(scanner_seal(s) && scanner_seal(other));
    char text[] = "x x";
    const struct scan *first = scan_text(s, str_of(text));
    assert_int_equal(scan_count(first, x, str_of(text)), 2);
    assert_ptr_equal(scan_text(s, S("x x")), first);        /* same bytes elsewhere */
    text[2] = 'y';                                          /* same place, other bytes */
    assert_int_equal(scan_count(scan_text(s, str_of(text)), x, str_of(text)), 1);
    assert_int_equal(scan_count(scan_text(s, S("x x")), x, S("x x")), 2);
    assert_true(scan_has(scan_text(other, str_of(text)), y));
    assert_false(scan_has(scan_text(other, S("x x")), y));
    assert_int_equal(scan_count(scan_text(s, str_of(text)), x, str_of(text)), 1);
    arena_free(a);
    a = arena_new();                            /* perhaps at the same address */
    s = scanner_new(a);
    x = scanner_word_count(s, S("y"), SCAN_WORD, true);
    assert_true(scanner_seal(s));
    assert_int_equal(scan_count(scan_text(s, S("x x")), x, S("x x")), 0);
    arena_free(a);
}

static struct scanner *shared;
static uint32_t shared_word;

static void *scan_much(void *arg)
{
    uintptr_t wrong = 0;
    for (int i = 0; i < 2000; i++) {
        char text[64];
        bool expected = (i + *(int *)arg) % 3 == 0;
        snprintf(text, sizeof text, "%d \xC5\xBF %s", i, expected ? "needle" : "needles");
        wrong += scan_has(scan_text(shared, str_of(text)), shared_word) != expected;
    }
    return (void *)wrong;
}

static void threads_do_not_meet(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    shared = scanner_new(a);
    shared_word = scanner_word(shared, S("needle"), SCAN_WORD, true);
    assert_true(scanner_seal(shared));
    pthread_t threads[4];
    int numbers[4] = { 0, 1, 2, 3 };
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, scan_much, &numbers[i]), 0);
    for (int i = 0; i < 4; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_question_is_one_feature),
        cmocka_unit_test(patterns_match_with_and_without_memory),
        cmocka_unit_test(scans_are_remembered_by_what_was_scanned),
        cmocka_unit_test(threads_do_not_meet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
