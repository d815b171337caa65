/* tests/unit/base/test_hex.c -- digits there and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/hex.h"

static void every_byte_comes_back(void **state)
{
    (void)state;
    unsigned char bytes[256], again[256];
    char text[513];
    for (unsigned i = 0; i < 256; i++)
        bytes[i] = (unsigned char)i;
    text[512] = '!';
    assert_ptr_equal(hex_write(text, bytes, sizeof bytes), text + 512);
    assert_int_equal(text[512], '!');
    assert_memory_equal(text, "00010203", 8);
    assert_memory_equal(text + 504, "fcfdfeff", 8);
    assert_true(hex_read((str){ text, 512 }, again, sizeof again));
    assert_memory_equal(bytes, again, sizeof bytes);
}

static void digits_are_read_in_either_case_and_nothing_else(void **state)
{
    (void)state;
    for (int c = -128; c < 128; c++) {
        const char *lower = "0123456789abcdef", *upper = "0123456789ABCDEF";
        int value = -1;
        for (int k = 0; k < 16; k++)
            if (c == lower[k] || c == upper[k])
                value = k;
        assert_int_equal(hex_digit((char)c), value);
    }
}

static void a_text_is_read_whole_or_not_at_all(void **state)
{
    (void)state;
    static const struct { str text; bool ok; } cases[] = {
        { S("0aFf"), true }, { S("0aF"), false }, { S("0aFf0"), false }, { S("0aFg"), false }, { S("g0aF"), false },
        { S(" 0aF"), false }, { S("0a\0f"), false }, { S(""), false },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        unsigned char two[2] = { 1, 1 };
        if (hex_read(cases[i].text, two, 2) != cases[i].ok || (cases[i].ok && (two[0] != 0x0a || two[1] != 0xff)))
            fail_msg(STR_FMT, STR_ARG(cases[i].text));
    }
}

static void numbers_have_one_to_sixteen_digits(void **state)
{
    (void)state;
    static const struct { str text; bool ok; uint64_t v; } cases[] = {
        { S("0"), true, 0 }, { S("f"), true, 15 }, { S("00ff"), true, 255 }, { S("DEAD"), true, 0xdead },
        { S("ffffffffffffffff"), true, UINT64_MAX }, { S("0ffffffffffffffff"), false, 0 }, { S(""), false, 0 },
        { S("0x1"), false, 0 }, { S("1 "), false, 0 }, { S("-1"), false, 0 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint64_t v = 7;
        if (hex_u64(cases[i].text, &v) != cases[i].ok || v != cases[i].v)
            fail_msg(STR_FMT, STR_ARG(cases[i].text));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_comes_back),
        cmocka_unit_test(digits_are_read_in_either_case_and_nothing_else),
        cmocka_unit_test(a_text_is_read_whole_or_not_at_all),
        cmocka_unit_test(numbers_have_one_to_sixteen_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
