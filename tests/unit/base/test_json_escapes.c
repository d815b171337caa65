/* tests/unit/base/test_json_escapes.c -- escapes at every place of the blocks that the parser takes at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"

enum { FAR = 80 };                  /* more than two blocks of 32 */

/* Parses bytes that end where their memory does, so that reading too far is seen under ASan. */
static int parse(struct arena *a, const char *text, size_t n, struct json *j, struct json_error *e)
{
    char *copy = arena_try(a, n);
    char *exact = malloc(n);
    memcpy(exact, text, n);
    int rc = json_parse(a, (str){ exact, n }, j, e);
    memcpy(copy, exact, n);
    free(exact);
    j->text = (str){ copy, n };
    return rc;
}

static void a_string_ends_at_its_first_quote_that_is_not_escaped(void **state)
{
    (void)state;
    for (size_t before = 0; before < FAR; before++) {
        for (size_t slashes = 0; slashes <= 5; slashes++) {
            for (size_t behind = 0; behind < 40; behind += 3) {
                char text[256];
                size_t n = 0;
                text[n++] = '"';
                memset(text + n, 'x', before), n += before;
                memset(text + n, '\\', slashes), n += slashes;
                text[n++] = '"';
                size_t end = n;
                memset(text + n, 'y', behind), n += behind;
                text[n++] = '"';
                struct arena *a = arena_new();
                struct json j;
                struct json_error e;
                int rc = parse(a, text, n, &j, &e);
                if (slashes % 2) {              /* the quote belongs to the string */
                    assert_int_equal(rc, 0);
                    assert_int_equal(j.nodes[0].len, n);
                    str s = json_str(&j, 0, a);
                    assert_int_equal(s.len, before + slashes / 2 + 1 + behind);
                    assert_int_equal(json_str_bytes(&j, 0), s.len);
                } else {
                    assert_int_equal(rc, -1);   /* the string ended before */
                    assert_int_equal(e.at, end);
                }
                arena_free(a);
            }
        }
    }
}

static void a_bad_escape_is_found_at_its_place(void **state)
{
    (void)state;
    static const struct { const char *bytes, *what; } bad[] = {
        { "\\x", "unknown escape in a string" }, { "\\u12g4", "\\u needs four hexadecimal digits" },
        { "\n", "a control character in a string must be escaped" }, { "\xff", "invalid UTF-8 in a string" },
    };
    for (size_t k = 0; k < COUNT_OF(bad); k++) {
        for (size_t before = 0; before < FAR; before++) {
            char text[256] = "\"\\n";
            size_t n = 3;
            memset(text + n, 'x', before), n += before;
            size_t at = n;
            memcpy(text + n, bad[k].bytes, strlen(bad[k].bytes)), n += strlen(bad[k].bytes);
            memset(text + n, 'y', 50), n += 50;
            text[n++] = '"';
            struct arena *a = arena_new();
            struct json j;
            struct json_error e;
            assert_int_equal(parse(a, text, n, &j, &e), -1);
            assert_int_equal(e.at, at);
            assert_string_equal(e.what, bad[k].what);
            arena_free(a);
        }
    }
}

static void every_escape_is_decoded_wherever_it_stands(void **state)
{
    (void)state;
    static const char all[] = "\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\xc3\xa9";
    static const char meant[] = "\"\\/\b\f\n\r\t\xc3\xa9\xf0\x9f\x98\x80\xc3\xa9";
    for (size_t before = 0; before < FAR; before++) {
        char text[512], expected[512];
        size_t n = 0, m = before;
        text[n++] = '"';
        memset(text + n, 'x', before), n += before;
        memset(expected, 'x', before);
        for (int i = 0; i < 3; i++) {
            memcpy(text + n, all, sizeof all - 1), n += sizeof all - 1;
            memcpy(expected + m, meant, sizeof meant - 1), m += sizeof meant - 1;
        }
        text[n++] = '"';
        struct arena *a = arena_new();
        struct json j;
        assert_int_equal(parse(a, text, n, &j, NULL), 0);
        assert_true(j.nodes[0].has_escape);
        assert_true(str_eq(json_str(&j, 0, a), (str){ expected, m }));
        arena_free(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_string_ends_at_its_first_quote_that_is_not_escaped),
        cmocka_unit_test(a_bad_escape_is_found_at_its_place),
        cmocka_unit_test(every_escape_is_decoded_wherever_it_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
