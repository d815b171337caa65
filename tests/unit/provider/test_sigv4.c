/* Signature Version 4 against the values that AWS publishes (the test suite of its documentation, and the page on deriving keys).
 * tests/dialect/sigv4_check.py compares with botocore on random requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "provider/sigv4.h"

static const struct sigv4_keys keys = { { "AKIDEXAMPLE", 11 }, { "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", 40 }, { "", 0 } };
static const char date[] = "20150830T123600Z";

static void assert_signature(const struct sigv4_request *r, str service, const char *signature)
{
    struct buf out = { 0 };
    sigv4_authorization(&keys, date, S("us-east-1"), service, r, &out);
    buf_char(&out, 0);
    const char *at = strstr(out.ptr, "Signature=");
    assert_non_null(at);
    assert_string_equal(at + 10, signature);
    buf_free(&out);
}

static const struct sigv4_header plain[] = { { { "host", 4 }, { "example.amazonaws.com", 21 } },
                                             { { "x-amz-date", 10 }, { "20150830T123600Z", 16 } } };

static void the_published_requests_have_their_signatures(void **state)
{
    (void)state;
    static const struct { const char *method, *path, *query, *signature; } table[] = {
        { "GET", "/", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },            /* get-vanilla */
        { "POST", "/", "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b" },           /* post-vanilla */
        { "GET", "/", "Param2=value2&Param1=value1",                                    /* get-vanilla-query-order-key-case */
          "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500" },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct sigv4_request r = { str_of(table[i].method), str_of(table[i].path), str_of(table[i].query), plain, 2, S("") };
        assert_signature(&r, S("service"), table[i].signature);
    }
}

static void the_published_example_of_iam_is_signed_as_printed(void **state)
{
    (void)state;
    const struct sigv4_header headers[] = {
        { S("content-type"), S("application/x-www-form-urlencoded; charset=utf-8") }, { S("host"), S("iam.amazonaws.com") },
        { S("x-amz-date"), S("20150830T123600Z") },
    };
    struct sigv4_request r = { S("GET"), S("/"), S("Action=ListUsers&Version=2010-05-08"), headers, 3, S("") };
    struct buf canonical = { 0 };
    sigv4_canonical(&r, &canonical);
    buf_char(&canonical, 0);
    assert_string_equal(canonical.ptr,
        "GET\n/\nAction=ListUsers&Version=2010-05-08\ncontent-type:application/x-www-form-urlencoded; charset=utf-8\n"
        "host:iam.amazonaws.com\nx-amz-date:20150830T123600Z\n\ncontent-type;host;x-amz-date\n"
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    buf_free(&canonical);
    assert_signature(&r, S("iam"), "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7");
}

static void a_path_is_escaped_once_more(void **state)
{
    (void)state;
    struct sigv4_request r = { S("POST"), S("/model/anthropic.claude-v2%3A0/converse"), S(""), plain, 2, S("{}") };
    struct buf canonical = { 0 };
    sigv4_canonical(&r, &canonical);
    assert_true(str_starts(buf_view(&canonical), S("POST\n/model/anthropic.claude-v2%253A0/converse\n\nhost:")));
    buf_free(&canonical);
}

static void values_lose_needless_spaces(void **state)
{
    (void)state;
    const struct sigv4_header headers[] = { { S("a"), S("  x \t y  ") } };
    struct sigv4_request r = { S("GET"), S(""), S("b&a=2&a=1"), headers, 1, S("") };
    struct buf canonical = { 0 };
    sigv4_canonical(&r, &canonical);
    assert_true(str_starts(buf_view(&canonical), S("GET\n/\na=1&a=2&b=\na:x y\n\na\n")));
    buf_free(&canonical);
}

static void dates_are_written_in_utc(void **state)
{
    (void)state;
    char out[SIGV4_DATE + 1];
    sigv4_date(1440938160, out);
    assert_string_equal(out, "20150830T123600Z");
}

static void the_host_says_the_region(void **state)
{
    (void)state;
    static const struct { const char *host, *region; } table[] = {
        { "bedrock-runtime.eu-central-1.amazonaws.com", "eu-central-1" },
        { "bedrock-runtime.us-gov-west-1.amazonaws.com:443", "us-gov-west-1" },
        { "bedrock-runtime-fips.us-east-1.amazonaws.com", "us-east-1" },
        { "bedrock-runtime.cn-north-1.amazonaws.com.cn", "cn-north-1" },
        { "vpce-0123-abc1.bedrock-runtime.ap-southeast-2.vpce.amazonaws.com", "ap-southeast-2" },
        { "bedrock-runtime.us-east-1.api.aws", "us-east-1" },
        { "localhost:8080", "" }, { "bedrock.example.com", "" }, { "", "" },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        assert_true(str_eq(sigv4_region_of_host(str_of(table[i].host)), str_of(table[i].region)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_requests_have_their_signatures),
        cmocka_unit_test(the_published_example_of_iam_is_signed_as_printed),
        cmocka_unit_test(a_path_is_escaped_once_more), cmocka_unit_test(values_lose_needless_spaces),
        cmocka_unit_test(dates_are_written_in_utc), cmocka_unit_test(the_host_says_the_region),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
