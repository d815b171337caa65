/* What the official SDKs and agents stumbled over, each as they saw it. */
#include "translation_kit.h"

#include "dialect/fields.h"

static const char messages_reply[] =
    "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\","
    "\"content\":[{\"type\":\"text\",\"text\":\"Hi\"}],"
    "\"stop_reason\":\"end_turn\",\"stop_sequence\":null,\"usage\":{\"input_tokens\":3,\"output_tokens\":1,"
    "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,"
    "\"cache_creation\":{\"ephemeral_5m_input_tokens\":0,\"ephemeral_1h_input_tokens\":0},\"service_tier\":\"standard\"}}";

static const char messages_stream[] =
    "{\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\","
    "\"model\":\"m\",\"content\":[],"
    "\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":3,\"output_tokens\":1,"
    "\"cache_creation\":{\"ephemeral_5m_input_tokens\":0,\"ephemeral_1h_input_tokens\":0},\"service_tier\":\"standard\"}}}\n"
    "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n"
    "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n"
    "{\"type\":\"content_block_stop\",\"index\":0}\n"
    "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null,\"stop_details\":{\"a\":1}},"
    "\"usage\":{\"output_tokens\":1,\"service_tier\":\"standard\",\"server_tool_use\":{\"web_search_requests\":2}}}\n"
    "{\"type\":\"message_stop\"}\n";

/* The same events as Amazon wraps them. */
static str enveloped(str events)
{
    struct buf b = { 0 };
    while (events.len) {
        str event = str_trim(str_cut(&events, '\n'));
        if (event.len)
            buf_printf(&b, "event: chunk\ndata: {\"bytes\":\"" STR_FMT "\"}\n", STR_ARG(base64_write(a, event)));
    }
    return buf_to_arena(&b, a);
}

static void openai_clients_never_see_anthropics_word_for_a_tier(void **state)
{
    (void)state;
    static const char *const clients[] = { "openai_chat", "openai_responses" };
    static const char asked[] = "{\"model\":\"m\",\"input\":\"q\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]}";
    for (size_t i = 0; i < COUNT_OF(clients); i++) {
        str whole = kit_reply("anthropic", clients[i], str_of(messages_reply), asked);
        str stream = kit_stream("anthropic", clients[i], str_of(messages_stream), asked);
        kit_has(whole, "\"service_tier\":\"default\"");
        kit_has(stream, "\"service_tier\":\"default\"");
        kit_lacks(whole, "\"standard\"");
        kit_lacks(stream, "\"standard\"");
    }
    assert_true(str_eq(openai_service_tier(S("priority")), S("priority")));
    assert_int_equal(openai_service_tier(S("batch")).len, 0);
    assert_int_equal(openai_service_tier(S("on_demand")).len, 0);
}

static void invoke_loses_nothing_of_messages_usage(void **state)
{
    (void)state;
    static const char asked[] = "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]}";
    static const char split[] = "\"cache_creation\":{\"ephemeral_5m_input_tokens\":0,\"ephemeral_1h_input_tokens\":0}";
    str whole = kit_reply("bedrock_invoke", "anthropic", str_of(messages_reply), asked);
    kit_has(whole, split);
    kit_has(whole, "\"service_tier\":\"standard\"");
    str stream = kit_stream("bedrock_invoke", "anthropic", enveloped(str_of(messages_stream)), asked);
    str start = str_upto(stream, (size_t)str_find(stream, S("content_block_start")));
    str end = str_from(stream, (size_t)str_find(stream, S("message_delta")));
    kit_has(start, split);
    kit_has(start, "\"service_tier\":\"standard\"");
    kit_has(end, "\"service_tier\":\"standard\"");
    kit_has(end, "\"server_tool_use\":{\"web_search_requests\":2}");
    kit_has(end, "\"stop_details\":{\"a\":1}");
}

#define FIRST_CHUNK \
    "{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0," \
    "\"delta\":{\"role\":\"assistant\",\"content\":\"He\"},\"finish_reason\":null}]}\n"

static void a_broken_chat_stream_fails_a_response_in_words_of_its_schema(void **state)
{
    (void)state;
    str out = kit_stream("openai_chat", "openai_responses",
                         S(FIRST_CHUNK
                           "{\"error\":{\"message\":\"engine is gone\",\"type\":\"server_error\",\"code\":\"engine\"}}\n"), NULL);
    kit_has(out, "event: response.failed");
    kit_has(out, "\"error\":{\"code\":\"server_error\",\"message\":\"engine is gone\"}");
    kit_lacks(out, "\"code\":\"engine\"");
}

static void agents_still_learn_that_the_context_is_full(void **state)
{
    (void)state;
    str out = kit_stream("openai_chat", "openai_responses",
                         S(FIRST_CHUNK
                           "{\"error\":{\"message\":\"too long\",\"code\":\"context_length_exceeded\"}}\n"), NULL);
    kit_has(out, "\"error\":{\"code\":\"context_length_exceeded\"");
}

static void pythons_images_reach_others_as_plain_base64(void **state)
{
    (void)state;
    static const char body[] =
        "{\"contents\":[{\"parts\":[{\"inlineData\":{\"mime_type\":\"image/png\",\"data\":\"iVBORw0-_A\"}}]}]}";
    kit_has(kit_request("gemini", "bedrock", str_of(body), "m", false).body, "\"bytes\":\"iVBORw0+/A==\"");
    kit_has(kit_request("gemini", "anthropic", str_of(body), "m", false).body, "\"data\":\"iVBORw0+/A==\"");
    kit_has(kit_request("gemini", "openai_chat", str_of(body), "m", false).body, "data:image/png;base64,iVBORw0+/A==\"");
    kit_has(kit_request("gemini", "openai_responses", str_of(body), "m", false).body, "data:image/png;base64,iVBORw0+/A==\"");
}

static void base64_of_urls_is_read_like_the_other(void **state)
{
    (void)state;
    str one, other, plain = S("iVBORw0+/A==");
    assert_true(base64_read(a, S("iVBORw0-_A"), &one) && base64_read(a, plain, &other));
    assert_true(str_eq(one, other));
    assert_ptr_equal(base64_standard(a, plain).ptr, plain.ptr);
    assert_int_equal(base64_standard(a, S("")).len, 0);
}

static void bedrocks_header_says_what_went_wrong_whatever_the_status(void **state)
{
    (void)state;
    static const struct { const char *word; int given; enum failure_kind kind; int status; const char *type; } cases[] = {
        { "ThrottlingException:http://internal.amazon.com/coral/com.amazon.bedrock/", 400, FAILURE_RATE_LIMIT, 429,
          "ThrottlingException" },
        { "ValidationException", 500, FAILURE_INVALID, 400, "ValidationException" },
        { "com.amazon.coral.service#AccessDeniedException", 400, FAILURE_PERMISSION, 403, "AccessDeniedException" },
        { "ModelTimeoutException", 408, FAILURE_TIMEOUT, 504, "ModelTimeoutException" },
        { "NewException", 418, FAILURE_INVALID, 418, "NewException" },
    };
    const struct dialect_ops *ops[] = { dialect_by_name(S("bedrock")), dialect_by_name(S("bedrock_invoke")) };
    for (size_t i = 0; i < COUNT_OF(cases) * 2; i++) {
        const struct dialect_ops *d = ops[i % 2];
        struct failure f = { 0 };
        assert_string_equal(d->error_header, "x-amzn-errortype");
        assert_true(d->error_read(a, talk_json(S("{\"message\":\"no\"}")), cases[i / 2].given, &f));
        d->error_named(str_of(cases[i / 2].word), &f);
        assert_int_equal(f.kind, cases[i / 2].kind);
        assert_int_equal(f.status, cases[i / 2].status);
        assert_true(str_eq(f.type, str_of(cases[i / 2].type)));
        assert_true(str_eq(f.message, S("no")));
    }
    struct failure empty = { .status = 400 };       /* a body without a word */
    ops[0]->error_named(S("ThrottlingException"), &empty);
    assert_true(str_eq(empty.message, S("ThrottlingException")) && empty.status == 429);
}

#define CLAIM(f) cmocka_unit_test_setup_teardown(f, talk_begin, talk_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(openai_clients_never_see_anthropics_word_for_a_tier),
        CLAIM(invoke_loses_nothing_of_messages_usage),
        CLAIM(a_broken_chat_stream_fails_a_response_in_words_of_its_schema),
        CLAIM(agents_still_learn_that_the_context_is_full),
        CLAIM(pythons_images_reach_others_as_plain_base64),
        CLAIM(base64_of_urls_is_read_like_the_other),
        CLAIM(bedrocks_header_says_what_went_wrong_whatever_the_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
