/* tests/unit/net/test_http.c -- the model of a head. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "net/http.h"

static void headers_are_found_in_any_case(void **state)
{
    (void)state;
    struct header all[] = { { S("Accept"), S("a") }, { S("X-Y"), S("") }, { S("accept"), S("b") } };
    struct http_head h = { .headers = all, .n_headers = 3 };
    assert_true(str_eq(http_get(&h, S("ACCEPT")), S("a")));
    assert_true(http_has(&h, S("x-y")) && http_get(&h, S("x-y")).ptr && !http_get(&h, S("z")).ptr);
    assert_true(http_token_in(S("a, Keep-Alive ,b"), S("keep-alive")) && !http_token_in(S("keep-alives"), S("keep-alive")));
    assert_true(http_is_hop_by_hop(S("TE")) && http_is_hop_by_hop(S("Content-Length")) && !http_is_hop_by_hop(S("etag")));
    assert_string_equal(http_reason(429), "Too Many Requests");
    assert_non_null(http_reason(799));
}

static void queries_are_decoded(void **state)
{
    (void)state;
    static const struct { const char *query, *value; } cases[] = {
        { "k=v", "v" }, { "a=1&k=v&b=2", "v" }, { "k=a%20b+c%2Bd", "a b c+d" }, { "k=%4", "%4" }, { "k=%zz", "%zz" }, { "k=%41", "A" },
        { "k", "" }, { "k=", "" }, { "kk=v", "" }, { "", "" }, { "k=1&k=2", "1" }, { "&&k=x&", "x" }, { "k=a=b", "a=b" },
    };
    struct arena *a = arena_new();
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        if (!str_eq(http_query_get(str_of(cases[i].query), S("k"), a), str_of(cases[i].value)))
            fail_msg("%s", cases[i].query);
    arena_free(a);
}

static uint64_t retry_after(const char *name, const char *value)
{
    struct header one = { str_of(name), str_of(value) };
    struct http_head h = { .headers = &one, .n_headers = 1 };
    return http_retry_after_ns(&h);
}

static void retry_after_is_read_in_all_its_forms(void **state)
{
    (void)state;
    assert_int_equal(retry_after("retry-after", "2"), 2 * NS_PER_S);
    assert_int_equal(retry_after("Retry-After", " 1.5 "), 3 * NS_PER_S / 2);
    assert_int_equal(retry_after("retry-after-ms", "250"), 250 * NS_PER_MS);
    assert_int_equal(retry_after("retry-after", "99999999999"), 86400 * NS_PER_S);
    static const char *const nonsense[] = { "-1", "0", "", "soon", "nan", "1e999", "Wed, 21 Oct 2015 07:28:00 GMT" };
    for (size_t i = 0; i < COUNT_OF(nonsense); i++)
        assert_int_equal(retry_after("retry-after", nonsense[i]), 0);
    time_t then = (time_t)(clock_wall() / NS_PER_S) + 60;
    struct tm tm;
    char text[64];
    gmtime_r(&then, &tm);
    strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    uint64_t ns = retry_after("retry-after", text);
    assert_true(ns >= 55 * NS_PER_S && ns <= 60 * NS_PER_S);
}

static void the_date_is_an_imf_fixdate(void **state)
{
    (void)state;
    str d = http_date();
    assert_int_equal(d.len, 29);
    assert_true(str_ends(d, S(" GMT")) && d.ptr[3] == ',');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_found_in_any_case),
        cmocka_unit_test(queries_are_decoded),
        cmocka_unit_test(retry_after_is_read_in_all_its_forms),
        cmocka_unit_test(the_date_is_an_imf_fixdate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
