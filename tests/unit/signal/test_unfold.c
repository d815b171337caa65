/* tests/unit/signal/test_unfold.c -- what tools brought back, as guards read it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "signal/unfold.h"

static void json_becomes_lines_and_the_rest_stays(void **state)
{
    (void)state;
    static const struct { const char *text, *expected; } cases[] = {
        { "{\"title\":\"One\",\"rank\":1,\"is_new\":true,\"by\":null}", "title: One\nrank: 1\nis_new: true\nby: null" },
        { " [\"a\", {\"b\": [\"c\", \"d\"], \"e\": {\"f\": \"g\"}}, -1.5e3] \n", "a\nb:\nc\nd\ne:\nf: g\n-1.5e3" },
        { "{\"body\":\"two\\nlines \\\"so\\\" \\u0069gnore\"}", "body: two\nlines \"so\" ignore" },
        { "{\"\\u006bey\" : \"v\", \":\" : \":\"}", "key: v\n:: :" },
        { "{\"content\":[{\"type\":\"text\",\"text\":\"{\\\"a\\\": [\\\"b\\\"]}\"}]}", "content:\ntype: text\ntext:\na:\nb" },
        { "{\"\":\"\",\"a\":\"\"}", ": \na: " },
        { "{}", "" }, { "[[],{}]", "" },
        { "[INFO] started, no error: 1", "[INFO] started, no error: 1" },              /* a log */
        { "{\"cut\":\"short", "{\"cut\":\"short" },
        { "\"a \\u0062\"", "\"a \\u0062\"" }, { "12", "12" }, { "", "" }, { "plain {\"a\":1}", "plain {\"a\":1}" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct arena *a = arena_new();
        assert_string_equal(arena_cstr(a, unfold(str_of(cases[i].text), a)), cases[i].expected);
        arena_free(a);
    }
}

/* Neither a stack nor a product of keys and values grows with what a tool's server sends. */
static void depth_and_length_of_keys_cost_nothing(void **state)
{
    (void)state;
    struct buf b = { 0 };
    struct arena *a = arena_new();
    for (int i = 0; i < 255; i++)
        buf_str(&b, S("["));
    buf_str(&b, S("\"x\""));
    for (int i = 0; i < 255; i++)
        buf_str(&b, S("]"));
    assert_string_equal(arena_cstr(a, unfold(buf_view(&b), a)), "x");
    b.len = 0;
    buf_str(&b, S("{\""));
    for (int i = 0; i < 100000; i++)
        buf_char(&b, 'k');
    buf_str(&b, S("\":[1"));
    for (int i = 0; i < 100000; i++)
        buf_str(&b, S(",1"));
    buf_str(&b, S("]}"));
    assert_true(unfold(buf_view(&b), a).len <= b.len);
    b.len = 0;
    buf_str(&b, S("{\"a\":\""));                            /* longer than is unfolded: read as it is */
    while (b.len <= 1 << 20)
        buf_str(&b, S("many words "));
    buf_str(&b, S("\"}"));
    assert_ptr_equal(unfold(buf_view(&b), a).ptr, b.ptr);
    buf_free(&b);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_becomes_lines_and_the_rest_stays),
        cmocka_unit_test(depth_and_length_of_keys_cost_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
