/* tests/unit/base/test_json_edit.c -- the splice editor keeps every byte that it was not asked to change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "json_plan.h"

static void check_plan(str text, uint64_t seed, unsigned percent)
{
    const char *why = plan_check(text, seed, percent);
    if (why)
        fail_msg("seed %llu: %s in " STR_FMT, (unsigned long long)seed, why, STR_ARG(text));
}

static void bytes_that_no_change_names_are_kept(void **state)
{
    (void)state;
    uint64_t seed = 7;
    struct buf b = { 0 };
    for (int i = 0; i < 6000; i++) {
        random_document(&b, &seed);
        check_plan(buf_view(&b), rand_next(&seed), i % 5 == 0 ? 100 : 40);
    }
    buf_free(&b);
}

static void bodies_of_megabytes_are_changed_in_the_middle(void **state)
{
    (void)state;
    uint64_t seed = 8;
    struct buf b = { 0 };
    for (int i = 0; i < 4; i++) {
        b.len = 0;
        buf_str(&b, S("{\"model\":\"x\",\"messages\":["));
        while (b.len < (size_t)2 << 20) {
            random_value(&b, &seed, 6);
            buf_str(&b, S(" ,\n"));
        }
        buf_str(&b, S("0],\"a\":1.10}"));
        check_plan(buf_view(&b), rand_next(&seed), 10);
    }
    buf_free(&b);
}

static void edits_look_as_people_would_write_them(void **state)
{
    (void)state;
    enum what { SET, REMOVE, ITEMS };
    static const struct { const char *text; enum what what; const char *key, *raw, *result; } cases[] = {
        { "{}", SET, "a", "1", "{\"a\":1}" },
        { "{ }", SET, "a", "1", "{\"a\":1 }" },
        { "{\"b\":2}", SET, "a", "1", "{\"a\":1,\"b\":2}" },
        { "{\"a\" : 2 , \"b\":3}", SET, "a", "1", "{\"a\" : 1 , \"b\":3}" },
        { "{\"a\":2,\"\\u0061\":3}", SET, "a", "1", "{\"a\":1,\"\\u0061\":1}" },
        { "{\"a\":1}", REMOVE, "a", "", "{}" },
        { "{\"a\":1,\"b\":2}", REMOVE, "a", "", "{\"b\":2}" },
        { "{\"a\":1, \"b\":2}", REMOVE, "b", "", "{\"a\":1}" },
        { "{\"a\":1, \"b\":2, \"c\":3}", REMOVE, "b", "", "{\"a\":1, \"c\":3}" },
        { "{\"a\":1,\"a\":2,\"b\":3,\"a\":4}", REMOVE, "a", "", "{\"b\":3}" },
        { "{\"a\":1,\"a\":2}", REMOVE, "a", "", "{}" },
        { "{\"b\":1}", REMOVE, "a", "", "{\"b\":1}" },
        { "[1,2,3]", ITEMS, "x..", "", "[2,3]" },       { "[1, 2, 3]", ITEMS, ".x.", "", "[1, 3]" },
        { "[1,2,3]", ITEMS, "..x", "", "[1,2]" },       { "[1,2,3]", ITEMS, "xxx", "", "[]" },
        { "[1,2,3]", ITEMS, "xxx", "9", "[9]" },        { "[]", ITEMS, "", "9,8", "[9,8]" },
        { "[1,2,3]", ITEMS, "x.x", "9", "[9,2]" },      { "[1]", ITEMS, ".", "9", "[9,1]" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct arena *a = arena_new();
        struct json j;
        struct json_edits e = { .a = a };
        struct buf out = { 0 };
        bool gone[8] = { false };
        assert_int_equal(json_parse(a, str_of(cases[i].text), &j, NULL), 0);
        for (size_t k = 0; cases[i].what == ITEMS && cases[i].key[k]; k++)
            gone[k] = cases[i].key[k] == 'x';
        if (cases[i].what == SET)
            json_edit_set(&e, &j, 0, str_of(cases[i].key), str_of(cases[i].raw));
        else if (cases[i].what == REMOVE)
            json_edit_remove(&e, &j, 0, str_of(cases[i].key));
        else
            json_edit_array(&e, &j, 0, gone, str_of(cases[i].raw));
        json_edits_write(&e, &j, &out);
        buf_char(&out, 0);
        assert_string_equal(out.ptr, cases[i].result);
        buf_free(&out);
        arena_free(a);
    }
}

static void a_key_named_twice_in_one_change_is_inserted_once(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct json j;
    assert_int_equal(json_parse(a, S("{\"a\":1}"), &j, NULL), 0);
    const struct json_change changes[] = {
        { { "a", 1 }, { "2", 1 }, false }, { { "a", 1 }, { "3", 1 }, false },
        { { "b", 1 }, { "4", 1 }, false }, { { "b", 1 }, { "5", 1 }, false },
    };
    struct json_edits e = { .a = a };
    struct buf out = { 0 };
    json_edit_object(&e, &j, 0, changes, COUNT_OF(changes));
    json_edits_write(&e, &j, &out);
    assert_true(str_eq(buf_view(&out), S("{\"b\":4,\"a\":2}")));
    buf_free(&out);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edits_look_as_people_would_write_them),
        cmocka_unit_test(a_key_named_twice_in_one_change_is_inserted_once),
        cmocka_unit_test(bytes_that_no_change_names_are_kept),
        cmocka_unit_test(bodies_of_megabytes_are_changed_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
