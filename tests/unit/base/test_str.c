/* tests/unit/base/test_str.c -- strings, buffers, chance and time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/rand.h"

static void integers_are_whole_texts_that_fit(void **state)
{
    (void)state;
    static const struct { str text; bool ok; int64_t v; } cases[] = {
        { { "0", 1 }, true, 0 }, { { "-7", 2 }, true, -7 }, { { "9223372036854775807", 19 }, true, INT64_MAX },
        { { "-9223372036854775808", 20 }, true, INT64_MIN }, { { "9223372036854775808", 19 }, false, 0 }, { { "", 0 }, false, 0 },
        { { " 1", 2 }, false, 0 }, { { "1 ", 2 }, false, 0 }, { { "1x", 2 }, false, 0 }, { { "-", 1 }, false, 0 },
        { { "1\0", 2 }, false, 0 }, { { "0x10", 4 }, false, 0 }, { { "1.0", 3 }, false, 0 },
        { { "00000000000000000000000000001", 29 }, false, 0 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t v = 0;
        if (str_int(cases[i].text, &v) != cases[i].ok || v != cases[i].v)
            fail_msg(STR_FMT, STR_ARG(cases[i].text));
    }
}

static void doubles_are_whole_finite_texts(void **state)
{
    (void)state;
    static const struct { const char *text; bool ok; double v; } cases[] = {
        { "0.5", true, 0.5 }, { "-1e3", true, -1000 }, { ".5", true, 0.5 }, { "1e400", false, 0 }, { "nan", false, 0 },
        { "inf", false, 0 }, { "0x1p3", false, 0 }, { "1 ", false, 0 }, { "", false, 0 }, { "1e", false, 0 }, { "--1", false, 0 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        double v = 0;
        if (str_double(str_of(cases[i].text), &v) != cases[i].ok || fabs(v - cases[i].v) > 0)
            fail_msg("%s", cases[i].text);
    }
}

static void pieces_are_cut_and_found(void **state)
{
    (void)state;
    str rest = S("a,,b");
    assert_true(str_eq(str_cut(&rest, ','), S("a")));
    assert_true(str_eq(str_cut(&rest, ','), S("")));
    assert_true(str_eq(str_cut(&rest, ','), S("b")));
    assert_int_equal(rest.len, 0);
    assert_int_equal(str_find(S("hello"), S("lo")), 3);
    assert_int_equal(str_find(S("hello"), S("x")), -1);
    assert_int_equal(str_find(S(""), S("")), 0);
    assert_int_equal(str_find((str){ 0 }, S("x")), -1);
    assert_true(str_eq(str_trim(S(" \t\r\nx y\v ")), S("x y")));
    assert_int_equal(str_trim(S("   ")).len, 0);
    assert_true(str_cmp(S("a"), S("ab")) < 0 && str_cmp(S("b"), S("ab")) > 0 && str_cmp(S("\xff"), S("a")) > 0);
    assert_true(str_starts(S("abc"), S("")) && str_ends(S("abc"), S("bc")) && !str_ends(S("c"), S("bc")));
    assert_int_equal(str_from(S("abc"), 7).len, 0);
    assert_true(str_ieq(S("Content-Type"), S("content-TYPE")) && !str_ieq(S("k"), S("\xe2\x84\xaa")));
}

static unsigned distance_slow(str a, str b)
{
    if (!a.len || !b.len)
        return (unsigned)(a.len + b.len);
    unsigned best = distance_slow(str_from(a, 1), str_from(b, 1)) + (a.ptr[0] != b.ptr[0]);
    unsigned x = distance_slow(str_from(a, 1), b) + 1, y = distance_slow(a, str_from(b, 1)) + 1;
    best = x < best ? x : best;
    return y < best ? y : best;
}

static void the_distance_is_levenshteins(void **state)
{
    (void)state;
    uint64_t seed = 9;
    for (int i = 0; i < 1000; i++) {
        char x[6], y[6];
        str a = { x, rand_below(&seed, 7) }, b = { y, rand_below(&seed, 7) };
        for (int k = 0; k < 6; k++) {
            x[k] = (char)('a' + rand_below(&seed, 3));
            y[k] = (char)('a' + rand_below(&seed, 3));
        }
        unsigned want = distance_slow(a, b);
        for (unsigned limit = 0; limit < 8; limit++)
            assert_int_equal(str_distance(a, b, limit), want > limit ? limit + 1 : want);
    }
}

static void a_buffer_holds_what_was_added(void **state)
{
    (void)state;
    struct buf b = { 0 };
    uint64_t seed = 10;
    char expected[100000];
    size_t n = 0;
    while (n < 90000) {
        int k = (int)rand_below(&seed, 400);
        memset(expected + n, 'a' + k % 26, (size_t)k);
        if (k % 2)
            buf_add(&b, expected + n, (size_t)k);
        else
            buf_printf(&b, "%.*s", k, expected + n);
        n += (size_t)k;
    }
    assert_true(str_eq(buf_view(&b), (str){ expected, n }));
    buf_drop(&b, 80000);
    assert_true(str_eq(buf_view(&b), (str){ expected + 80000, n - 80000 }));
    buf_drop(&b, 1000000);
    assert_int_equal(b.len, 0);
    buf_u64(&b, 0);
    buf_u64(&b, UINT64_MAX);
    assert_true(str_eq(buf_view(&b), S("018446744073709551615")));
    assert_false(buf_reserve(&b, SIZE_MAX / 2));        /* fails, is remembered, and what follows is dropped */
    buf_char(&b, 'x');
    buf_str(&b, S("x"));
    assert_true(b.is_failed && b.len == 21);
    buf_free(&b);
    assert_false(b.is_failed);
}

static void chance_is_even_and_repeats(void **state)
{
    (void)state;
    uint64_t one = 42, two = 42, counts[10] = { 0 };
    for (int i = 0; i < 100000; i++) {
        uint64_t v = rand_below(&one, 10);
        assert_int_equal(v, rand_below(&two, 10));
        counts[v]++;
    }
    for (int i = 0; i < 10; i++)
        assert_true(counts[i] > 9500 && counts[i] < 10500);
    for (int i = 0; i < 1000; i++) {
        double u = rand_unit(&one);
        assert_true(u >= 0 && u < 1);
    }
    assert_true(hash_stable(S("x"), 1) == hash_stable(S("x"), 1) && hash_stable(S("x"), 1) != hash_stable(S("x"), 2));
    assert_true(rand_system() != rand_system());
}

static void times_are_written_as_iso_8601(void **state)
{
    (void)state;
    static const struct { uint64_t ns; const char *text; } cases[] = {
        { 0, "1970-01-01T00:00:00.000Z" }, { 951782400123999999u, "2000-02-29T00:00:00.123Z" },
        { 1769860800999000000u, "2026-01-31T12:00:00.999Z" }, { 951782399999999999u, "2000-02-28T23:59:59.999Z" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[32];
        assert_int_equal(clock_iso(cases[i].ns, text), 24);
        assert_string_equal(text, cases[i].text);
    }
    uint64_t a = clock_now();
    assert_true(clock_now() >= a && clock_wall() > 1600000000 * NS_PER_S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_whole_texts_that_fit),
        cmocka_unit_test(doubles_are_whole_finite_texts),
        cmocka_unit_test(pieces_are_cut_and_found),
        cmocka_unit_test(the_distance_is_levenshteins),
        cmocka_unit_test(a_buffer_holds_what_was_added),
        cmocka_unit_test(chance_is_even_and_repeats),
        cmocka_unit_test(times_are_written_as_iso_8601),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
