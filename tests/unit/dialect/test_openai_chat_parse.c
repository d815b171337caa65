/* What a Chat Completions request says to the policy, and how it is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "decide/facts.h"
#include "dialect/openai_chat_parse.h"

static struct arena *a;

static int parse(str body, enum size_rule rule, struct chat *out, struct err *e)
{
    struct json *j = ARENA_NEW(a, struct json);
    struct json_error je;
    if (json_parse(a, body, j, &je) < 0)
        fail_msg("%s at %zu", je.what, je.at);
    return openai_chat_parse(a, j, rule, out, e);
}

static struct chat good(const char *body)
{
    struct chat c;
    struct err e = { 0 };
    if (parse(str_of(body), SIZES_AS_SENT, &c, &e) < 0)
        fail_msg("%s", e.text);
    return c;
}

static void assert_text(str got, const char *expected)
{
    assert_string_equal(arena_cstr(a, got), expected);
}

static void settings_are_read(void **state)
{
    (void)state;
    struct chat c = good("{\"model\":\"m\",\"messages\":[],\"stream\":true,\"user\":\"u\","
                         "\"max_tokens\":10,\"max_completion_tokens\":20,"
                         "\"response_format\":{\"type\":\"text\"},\"unknown\":{\"deep\":[1]}}");
    assert_text(c.model, "m");
    assert_text(c.user, "u");
    assert_true(c.is_streaming && c.has_response_format);
    assert_int_equal(c.output_reserve, 20);
    assert_int_equal(c.structured_bytes, strlen("{\"type\":\"text\"}"));
    assert_int_equal(good("{\"model\":\"m\",\"messages\":[],\"max_tokens\":10,"
                          "\"max_completion_tokens\":null}").output_reserve, 10);
}

static void the_last_of_duplicate_members_wins(void **state)
{
    (void)state;
    assert_text(good("{\"model\":\"a\",\"messages\":[],\"model\":\"b\"}").model, "b");
    assert_text(good("{\"m\\u006fdel\":\"escaped\",\"messages\":[]}").model, "escaped");
}

static void texts_are_used_where_they_lie(void **state)
{
    (void)state;
    const char *body = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"plain\"},"
                       "{\"role\":\"assistant\",\"content\":\"a\\nb\"}]}";
    struct chat c = good(body);
    assert_true(c.messages[0].texts[0].ptr > body &&
                c.messages[0].texts[0].ptr < body + strlen(body));
    assert_text(c.messages[1].texts[0], "a\nb");
    assert_int_equal(c.messages[1].text_bytes, strlen("assistant") + 3);
}

static void parts_are_told_apart(void **state)
{
    (void)state;
    const char *audio = "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"AA\"}}";
    const char *body = (const char *)arena_printf(a,
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":["
        "{\"type\":\"text\",\"text\":\"one\"},{\"type\":\"text\",\"text\":\"two\"},"
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:\"}},"
        "{\"type\":\"input_image\",\"image_url\":\"data:\"},"
        "{\"type\":\"refusal\",\"refusal\":\"no\"},%s]}]}", audio).ptr;
    struct message m = good(body).messages[0];
    assert_int_equal(m.n_texts, 2);
    assert_text(m.texts[1], "two");
    assert_int_equal(m.n_images, 2);
    assert_int_equal(m.text_bytes, 4 + 3 + 3 + 2);
    assert_int_equal(m.structured_bytes, strlen(audio));
}

static void tool_calls_and_results_are_measured_raw_and_results_kept(void **state)
{
    (void)state;
    struct chat c = good(
        "{\"model\":\"m\",\"tools\":[ {\"type\":\"function\"} ],\"functions\":[{}],"
        "\"tool_choice\":\"auto\",\"messages\":["
        "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\","
        "\"type\":\"function\",\"function\":{\"name\":\"fn\",\"arguments\":\"{\\\"x\\\": 1}\"}},"
        "{\"id\":\"c2\",\"type\":\"custom\",\"custom\":{\"name\":\"g\",\"input\":\"in\"}}]},"
        "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"a\\nb\"},"
        "{\"role\":\"function\",\"name\":\"old\",\"content\":[{\"type\":\"text\",\"text\":\"r\"}]}]}");
    assert_int_equal(c.n_tools, 2);
    assert_int_equal(c.structured_bytes, strlen("[ {\"type\":\"function\"} ]") + strlen("[{}]") +
                                             strlen("\"auto\""));
    assert_int_equal(c.messages[0].n_tool_calls, 2);
    assert_int_equal(c.messages[0].text_bytes, strlen("assistant" "c1" "function" "fn" "c2"
                                                      "custom" "g"));
    assert_int_equal(c.messages[0].structured_bytes, strlen("\"{\\\"x\\\": 1}\"" "\"in\""));
    assert_int_equal(c.messages[1].role, ROLE_TOOL);
    assert_true(c.messages[1].n_texts == 1 && str_eq(message_text(&c.messages[1], a), S("a\nb")));
    assert_int_equal(c.messages[1].structured_bytes, strlen("\"a\\nb\""));
    assert_int_equal(c.messages[1].text_bytes, strlen("tool" "c1"));
    assert_int_equal(c.messages[2].role, ROLE_TOOL);
    assert_int_equal(c.messages[2].structured_bytes, strlen("[{\"type\":\"text\",\"text\":\"r\"}]"));
    assert_true(c.messages[2].n_texts == 1 && str_eq(message_text(&c.messages[2], a), S("r")));
}

static void metadata_keeps_strings_within_bounds(void **state)
{
    (void)state;
    struct buf b = { 0 };
    buf_str(&b, S("{\"model\":\"m\",\"messages\":[],\"metadata\":{\"n\":1,\"ok\":\"yes\",\"long\":\""));
    for (int i = 0; i < METADATA_VALUE_MAX + 1; i++)
        buf_char(&b, 'x');
    buf_str(&b, S("\""));
    for (int i = 0; i < 40; i++)
        buf_printf(&b, ",\"k%d\":\"v\"", i);
    buf_str(&b, S("}}"));
    struct chat c;
    assert_int_equal(parse(buf_view(&b), SIZES_AS_SENT, &c, NULL), 0);
    assert_int_equal(c.n_metadata, METADATA_MAX);
    assert_text(c.metadata[0].key, "ok");
    assert_text(c.metadata[1].key, "k0");
    buf_free(&b);
}

static void sizes_are_those_that_go_would_write(void **state)
{
    (void)state;
    static const struct { const char *raw; unsigned size; } cases[] = {
        { "{ \"a\" : [ 1,\t2 ] }", 11 },
        { "\"a b\"", 5 },
        { "\"<>&\"", 20 },
        { "\"\\\"<\"", 10 },
        { "\"\xe2\x80\xa8\xe2\x80\xaa\"", 2 + 6 + 3 },
        { "\"\\\\\" ", 4 },
        { "1.50", 4 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(json_size(str_of(cases[i].raw), SIZES_AS_GO_MARSHALS), cases[i].size);
        assert_int_equal(json_size(str_of(cases[i].raw), SIZES_AS_SENT), strlen(cases[i].raw));
    }
}

static void a_wrong_type_is_told_with_its_path(void **state)
{
    (void)state;
#define WITH(message) "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\"}," message "]}"
    static const struct { const char *body, *text; } cases[] = {
        { "[]", "malformed JSON body: expected an object, got an array" },
        { "{\"model\":\"m\"}", "messages field is required" },
        { "{\"model\":\"m\",\"messages\":null}", "messages field is required" },
        { "{\"model\":\"m\",\"messages\":{}}", "messages field must be an array, got an object" },
        { "{\"messages\":[]}", "model field is required" },
        { "{\"model\":\" \",\"messages\":[]}", "model field is required" },
        { "{\"model\":7,\"messages\":[]}", "model: expected a string, got a number" },
        { WITH("1"), "messages[1]: expected an object, got a number" },
        { WITH("{}"), "messages[1].role: expected a string, but it is missing" },
        { WITH("{\"role\":1}"), "messages[1].role: expected a string, got a number" },
        { WITH("{\"role\":\"user\",\"content\":5}"),
          "messages[1].content: expected a string or an array, got a number" },
        { WITH("{\"role\":\"user\",\"content\":[\"x\"]}"),
          "messages[1].content[0]: expected an object, got a string" },
        { WITH("{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}"),
          "messages[1].content[0].text: expected a string, but it is missing" },
        { WITH("{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":1}]}"),
          "messages[1].content[0].image_url: expected an object or a string, got a number" },
        { WITH("{\"role\":\"user\",\"name\":[]}"),
          "messages[1].name: expected a string, got an array" },
        { WITH("{\"role\":\"assistant\",\"tool_calls\":{}}"),
          "messages[1].tool_calls: expected an array, got an object" },
        { WITH("{\"role\":\"assistant\",\"tool_calls\":[{\"id\":1}]}"),
          "messages[1].tool_calls[0].id: expected a string, got a number" },
        { WITH("{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"arguments\":1}}]}"),
          "messages[1].tool_calls[0].function.arguments: expected a string, got a number" },
        { WITH("{\"role\":\"assistant\",\"function_call\":\"f\"}"),
          "messages[1].function_call: expected an object, got a string" },
        { "{\"model\":\"m\",\"messages\":[],\"tools\":{}}",
          "tools: expected an array, got an object" },
        { "{\"model\":\"m\",\"messages\":[],\"tools\":[{},1]}",
          "tools[1]: expected an object, got a number" },
        { "{\"model\":\"m\",\"messages\":[],\"stream\":\"yes\"}",
          "stream: expected a boolean, got a string" },
        { "{\"model\":\"m\",\"messages\":[],\"max_tokens\":1.5}",
          "max_tokens: expected an integer, got a number" },
        { "{\"model\":\"m\",\"messages\":[],\"max_tokens\":-1}",
          "max_tokens: must not be negative" },
        { "{\"model\":\"m\",\"messages\":[],\"metadata\":[]}",
          "metadata: expected an object, got an array" },
        { "{\"model\":\"m\",\"messages\":[],\"response_format\":1}",
          "response_format: expected an object, got a number" },
        { "{\"model\":\"m\",\"messages\":[],\"tool_choice\":1}",
          "tool_choice: expected a string or an object, got a number" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct chat c;
        struct err e = { 0 };
        assert_int_equal(parse(str_of(cases[i].body), SIZES_AS_SENT, &c, &e), -1);
        assert_string_equal(e.text, cases[i].text);
    }
}

static void too_many_messages_are_refused(void **state)
{
    (void)state;
    struct buf b = { 0 };
    buf_str(&b, S("{\"model\":\"m\",\"messages\":[{}"));
    for (int i = 0; i < CHAT_MESSAGES_MAX; i++)
        buf_str(&b, S(",{}"));
    buf_str(&b, S("]}"));
    struct chat c;
    struct err e = { 0 };
    assert_int_equal(parse(buf_view(&b), SIZES_AS_SENT, &c, &e), -1);
    assert_string_equal(e.text, "messages: 65537 of them, at most 65536 are read");
    buf_free(&b);
}

/* 76 KB with 24 tools, as coding agents send: printed, not judged. */
static void an_agents_request_is_cheap(void **state)
{
    (void)state;
    struct buf b = { 0 };
    buf_str(&b, S("{\"model\":\"m\",\"stream\":true,\"tools\":["));
    for (int i = 0; i < 24; i++) {
        buf_printf(&b, "%s{\"type\":\"function\",\"function\":{\"name\":\"tool_%d\",\"parameters\":"
                       "{\"type\":\"object\",\"properties\":{", i ? "," : "", i);
        for (int k = 0; k < 20; k++)
            buf_printf(&b, "%s\"p%d\":{\"type\":\"string\",\"description\":\"What the parameter "
                           "is good for, in a few words of a manual that nobody reads.\"}",
                       k ? "," : "", k);
        buf_str(&b, S("}}}}"));
    }
    buf_str(&b, S("],\"messages\":[{\"role\":\"system\",\"content\":\"You are helpful.\"}"));
    for (int i = 0; i < 20; i++)
        buf_printf(&b, ",{\"role\":\"%s\",\"content\":\"Turn %d of a longer talk, with\\nlines.\"}",
                   i % 2 ? "assistant" : "user", i);
    buf_str(&b, S("]}"));
    struct json j;
    assert_int_equal(json_parse(a, buf_view(&b), &j, NULL), 0);
    uint64_t best = UINT64_MAX;
    for (int round = 0; round < 50; round++) {
        struct arena *one = arena_new();
        struct chat c;
        uint64_t start = clock_now();
        openai_chat_parse(one, &j, SIZES_AS_SENT, &c, NULL);
        uint64_t ns = clock_now() - start;
        best = ns < best ? ns : best;
        assert_int_equal(c.n_messages, 21);
        arena_free(one);
    }
    print_message("%zu bytes, 24 tools, 21 messages: %.1f us\n", b.len, (double)best / 1000);
    buf_free(&b);
}

static int open_arena(void **state)
{
    (void)state;
    a = arena_new();
    return 0;
}

static int close_arena(void **state)
{
    (void)state;
    arena_free(a);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_are_read),
        cmocka_unit_test(the_last_of_duplicate_members_wins),
        cmocka_unit_test(texts_are_used_where_they_lie),
        cmocka_unit_test(parts_are_told_apart),
        cmocka_unit_test(tool_calls_and_results_are_measured_raw_and_results_kept),
        cmocka_unit_test(metadata_keeps_strings_within_bounds),
        cmocka_unit_test(sizes_are_those_that_go_would_write),
        cmocka_unit_test(a_wrong_type_is_told_with_its_path),
        cmocka_unit_test(too_many_messages_are_refused),
        cmocka_unit_test(an_agents_request_is_cheap),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
