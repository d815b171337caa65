/* Converse as strict as Amazon has it, and Messages in Amazon's envelope. */
#include "talk.h"

#include "dialect/anthropic.h"
#include "dialect/bedrock_parts.h"
#include "dialect/fields.h"

extern const struct dialect_ops dialect_bedrock_invoke;

static const struct dialect_ops chat = { .name = "openai_chat" };

/* A Messages request as if it had come as Chat Completions. */
static struct prompt foreign(const char *body)
{
    struct prompt p = talk_prompt(&dialect_anthropic, body);
    p.dialect = &chat;
    return p;
}

#define CLAUDE S("anthropic.claude-sonnet-4-5-20250929-v1:0")

static struct talk converse(const struct prompt *p)
{
    return talk_write(&dialect_bedrock, p, (struct target){ .model = CLAUDE });
}

static str written(const struct prompt *p)
{
    struct talk out = converse(p);
    if (!out.body.len)
        fail_msg("%s", out.t->refusal.text);
    return out.body;
}

#define REQUEST(more) "{\"model\":\"m\",\"max_tokens\":100,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]" more "}"
#define TALK(messages) "{\"model\":\"m\",\"max_tokens\":100,\"messages\":[" messages "]}"

/* ---- same dialect ---- */

static void a_request_comes_back_as_it_was(void **state)
{
    static const char *const bodies[] = {
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":\"Hi\"}]}]}",
        "{\"system\":[{\"text\":\"a\"},{\"cachePoint\":{\"type\":\"default\"}},{\"guardContent\":{\"text\":{\"text\":\"g\"}}}],"
        "\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":\"a\"},{\"cachePoint\":{\"type\":\"default\",\"ttl\":\"1h\"}},"
        "{\"image\":{\"format\":\"png\",\"source\":{\"bytes\":\"iVBO\"}}},"
        "{\"document\":{\"format\":\"pdf\",\"name\":\"n\",\"context\":\"c\",\"source\":{\"bytes\":\"JVBE\"}}},"
        "{\"document\":{\"format\":\"txt\",\"name\":\"n2\",\"source\":{\"text\":\"x\"}}},"
        "{\"image\":{\"format\":\"webp\",\"source\":{\"s3Location\":{\"uri\":\"s3://b/k\"}}}},"
        "{\"image\":{\"format\":\"webp\",\"source\":{\"s3Location\":{\"uri\":\"s3://b/k\",\"bucketOwner\":\"1\"}}}},"
        "{\"audio\":{\"format\":\"wav\",\"source\":{\"bytes\":\"AAAA\"}}},"
        "{\"video\":{\"format\":\"mp4\",\"source\":{\"bytes\":\"AAAA\"}}}]},"
        "{\"role\":\"assistant\",\"content\":[{\"reasoningContent\":{\"reasoningText\":{\"text\":\"t\",\"signature\":\"s\"}}},"
        "{\"reasoningContent\":{\"redactedContent\":\"AAAA\"}},{\"reasoningContent\":{\"reasoningText\":{\"text\":\"t\"}}},"
        "{\"toolUse\":{\"toolUseId\":\"tooluse_1.a:b\",\"name\":\"f\",\"input\":{\"a\":1}}},"
        "{\"toolUse\":{\"toolUseId\":\"s\",\"name\":\"n\",\"input\":{},\"type\":\"server_tool_use\"}},"
        "{\"citationsContent\":{\"content\":[{\"text\":\"x\"}],\"citations\":[{\"title\":\"t\"}]}}],\"odd\":1},"
        "{\"role\":\"user\",\"content\":[{\"text\":\"first\"},{\"toolResult\":{\"toolUseId\":\"tooluse_1.a:b\",\"status\":"
        "\"error\","
        "\"content\":[{\"json\":{\"a\":[1]}},{\"text\":\"x\"}]}},{\"toolResult\":{\"toolUseId\":\"z\",\"status\":\"success\","
        "\"content\":[]}}]}],"
        "\"inferenceConfig\":{\"maxTokens\":5,\"temperature\":0.5,\"topP\":0.9,\"stopSequences\":[\"a\"],\"new\":1},"
        "\"toolConfig\":{\"tools\":[{\"toolSpec\":{\"name\":\"f\",\"description\":\"d\",\"inputSchema\":{\"json\":{\"type\":"
        "\"object\"}},"
        "\"strict\":true,\"new\":1}},{\"cachePoint\":{\"type\":\"default\"}},{\"systemTool\":{\"name\":\"nova_grounding\"}}],"
        "\"toolChoice\":{\"tool\":{\"name\":\"f\"}}},"
        "\"additionalModelRequestFields\":{\"top_k\":5},\"guardrailConfig\":{\"guardrailIdentifier\":\"g\","
        "\"guardrailVersion\":\"1\"},"
        "\"requestMetadata\":{\"a\":\"b\"},\"performanceConfig\":{\"latency\":\"optimized\"},\"serviceTier\":{\"type\":\"flex\"},"
        "\"outputConfig\":{\"textFormat\":{\"type\":\"json_schema\",\"structure\":{\"jsonSchema\":{\"schema\":\"{}\","
        "\"name\":\"n\"}}},"
        "\"effort\":\"high\"},\"promptVariables\":{}}",
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct prompt p = talk_prompt(&dialect_bedrock, bodies[i]);
        struct talk out = converse(&p);
        assert_json(out.body, bodies[i]);
        assert_int_equal(out.t->n_warnings, 0);
    }
}

/* ---- from other dialects ---- */

static void everything_has_its_place(void **state)
{
    (void)state;
    struct prompt p = foreign(REQUEST(
        ",\"system\":[{\"type\":\"text\",\"text\":\"s\",\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"1h\"}}],"
        "\"temperature\":1.5,"
        "\"top_k\":7,\"stop_sequences\":[\"x\",\" \"],\"tools\":[{\"name\":\"a.b\",\"description\":\"\",\"cache_control\":{"
        "\"type\":"
        "\"ephemeral\"}}],\"tool_choice\":{\"type\":\"any\"}"));
    p.metadata = S("{\"k\":\"v\"}");
    p.service_tier = S("priority");
    struct talk out = converse(&p);
    str name = talk_at(out.body, "toolConfig.tools.0.toolSpec.name");
    assert_json(out.body, arena_cstr(a, arena_printf(a,
        "{\"system\":[{\"text\":\"s\"},{\"cachePoint\":{\"type\":\"default\",\"ttl\":\"1h\"}}],"
        "\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":\"Hi\"}]}],"
        "\"inferenceConfig\":{\"maxTokens\":100,\"temperature\":1,\"stopSequences\":[\"x\"]},"
        "\"toolConfig\":{\"tools\":[{\"toolSpec\":{\"name\":%s,\"inputSchema\":{\"json\":{\"type\":\"object\"}}}},"
        "{\"cachePoint\":{\"type\":\"default\"}}],\"toolChoice\":{\"any\":{}}},\"additionalModelRequestFields\":{\"top_k\":7},"
        "\"requestMetadata\":{\"k\":\"v\"},\"serviceTier\":{\"type\":\"priority\"}}", arena_cstr(a, name))));
    assert_text(talk_warnings(out.t), "temperature clamped, stop dropped");
    assert_text(translation_name_back(out.t, (str){ name.ptr + 1, name.len - 2 }), "a.b");
}

static void roles_alternate_and_results_come_first(void **state)
{
    (void)state;
    struct prompt p = foreign(TALK(
        "{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"user\",\"content\":\"r\"},"
        "{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\",\"input\":{}}]},"
        "{\"role\":\"assistant\",\"content\":\"\"},{\"role\":\"user\",\"content\":\"wait\"},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"is_error\":true}]}"));
    str body = written(&p);
    assert_json(talk_at(body, "messages"),
                "[{\"role\":\"user\",\"content\":[{\"text\":\"q\"},{\"text\":\"r\"}]},"
                "{\"role\":\"assistant\",\"content\":[{\"toolUse\":{\"toolUseId\":\"a\",\"name\":\"f\",\"input\":{}}}]},"
                "{\"role\":\"user\",\"content\":[{\"toolResult\":{\"toolUseId\":\"a\",\"content\":[{\"text\":\"(empty)\"}],"
                "\"status\":\"error\"}},{\"text\":\"wait\"}]}]");
    assert_json(talk_at(body, "system"), "[{\"text\":\"s\"}]");
    assert_json(talk_at(body, "toolConfig.tools.0.toolSpec.name"), "\"unavailable\"");
}

static void a_conversation_starts_with_the_user(void **state)
{
    (void)state;
    struct prompt p = foreign(TALK("{\"role\":\"assistant\",\"content\":\"Hello\"},{\"role\":\"user\",\"content\":\"q\"}"));
    struct talk out = converse(&p);
    assert_string_equal(out.t->refusal.text, "messages: this model's conversations start with the user");
}

static void no_choice_means_no_tools(void **state)
{
    (void)state;
    struct prompt p = foreign(REQUEST(",\"tools\":[{\"name\":\"f\"}]"));
    p.choice = CHOICE_NONE;
    assert_int_equal(talk_at(written(&p), "toolConfig").len, 0);
    p.choice = CHOICE_TOOL;
    p.chosen = &S("g"), p.n_chosen = 1;
    assert_text(converse(&p).t->param, "tool_choice");
}

static void documents_get_names_that_differ(void **state)
{
    (void)state;
    struct prompt p = foreign(REQUEST(""));
    struct block media[] = {
        { .kind = BLOCK_FILE, .media = { .data = S("JVBERi0="), .name = S("my.report_1.pdf") } },
        { .kind = BLOCK_FILE, .media = { .data = S("JVBERi0="), .name = S("my.report_1.pdf") } },
        { .kind = BLOCK_FILE, .media = { .text = S("hello") } },
        { .kind = BLOCK_FILE, .media = { .data = S("YSxi"), .name = S("x.CSV") } },
        { .kind = BLOCK_IMAGE, .media = { .url = S("data:image/jpg;base64,/9j/") } },
        { .kind = BLOCK_AUDIO, .media = { .data = S("AAAA"), .format = S("mp3") } },
    };
    p.turns[0].blocks = media;
    p.turns[0].n = COUNT_OF(media);
    assert_json(talk_at(written(&p), "messages.0.content"),
                "[{\"document\":{\"format\":\"pdf\",\"name\":\"my report 1\",\"source\":{\"bytes\":\"JVBERi0=\"}}},"
                "{\"document\":{\"format\":\"pdf\",\"name\":\"my report 1 2\",\"source\":{\"bytes\":\"JVBERi0=\"}}},"
                "{\"document\":{\"format\":\"txt\",\"name\":\"document\",\"source\":{\"bytes\":\"aGVsbG8=\"}}},"
                "{\"document\":{\"format\":\"csv\",\"name\":\"x\",\"source\":{\"bytes\":\"YSxi\"}}},"
                "{\"image\":{\"format\":\"jpeg\",\"source\":{\"bytes\":\"/9j/\"}}},"
                "{\"audio\":{\"format\":\"mp3\",\"source\":{\"bytes\":\"AAAA\"}}}]");
    media[0] = (struct block){ .kind = BLOCK_IMAGE, .media = { .url = S("https://x/y.png") } };
    assert_text(converse(&p).t->param, "messages[0].content[0]");
}

static void each_maker_is_told_of_reasoning_in_its_way(void **state)
{
    static const struct { const char *model; bool is_legacy; const char *fields, *effort, *warnings; } cases[] = {
        { "anthropic.claude-x", false, "{\"thinking\":{\"type\":\"adaptive\"}}", "\"high\"", "" },
        { "us.anthropic.claude-x", true, "{\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":16384}}", "", "" },
        { "arn:aws:bedrock:x:1:application-inference-profile/q", false, "{\"thinking\":{\"type\":"
            "\"adaptive\"}}", "\"high\"", "" },
        { "amazon.nova-2-lite-v1:0", false, "{\"reasoningConfig\":{\"type\":\"enabled\",\"maxReasoningEffort\":"
            "\"high\"}}", "", "" },
        { "openai.gpt-oss-120b-1:0", false, "{\"reasoning_effort\":\"high\"}", "", "" },
        { "meta.llama3-3-70b-instruct-v1:0", false, "", "", "reasoning_effort dropped" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct prompt p = foreign(REQUEST(""));
        p.reasoning_effort = S("high");
        p.max_tokens = 64000;
        struct talk out = talk_write(&dialect_bedrock, &p, (struct target){ .model = str_of(cases[i].model),
                                                                             .is_legacy_reasoning = cases[i].is_legacy });
        assert_text(talk_at(out.body, "additionalModelRequestFields"), cases[i].fields);
        assert_text(talk_at(out.body, "outputConfig.effort"), cases[i].effort);
        assert_text(talk_warnings(out.t), cases[i].warnings);
    }
}

static void betas_are_filtered(void **state)
{
    (void)state;
    struct prompt p = talk_prompt(&dialect_anthropic, TALK("{\"role\":\"user\",\"content\":\"Hi\"},"
        "{\"role\":\"system\",\"content\":\"mid\"}],\"stream\":true,\"context_management\":{},\"x\":[1"));
    struct talk out = talk_write(&dialect_bedrock_invoke, &p, (struct target){
        .anthropic_betas = S("claude-code-20250219, interleaved-thinking-2025-05-14") });
    assert_json(out.body, "{\"anthropic_version\":\"bedrock-2023-05-31\",\"anthropic_beta\":["
        "\"interleaved-thinking-2025-05-14\"],"
                          "\"max_tokens\":100,\"system\":\"mid\",\"x\":[1],"
                          "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}");
    assert_text(talk_warnings(out.t), "anthropic-beta: claude-code-20250219 dropped, context_management dropped");
    struct prompt back = talk_prompt(&dialect_bedrock_invoke, arena_cstr(a, out.body));
    assert_int_equal(back.rest.n, 1);
    assert_int_equal(back.max_tokens, 100);
}

static void a_schema_travels_as_text(void **state)
{
    (void)state;
    struct prompt p = foreign(REQUEST(""));
    p.output = OUTPUT_JSON_SCHEMA;
    p.schema = S("{\"type\":\"object\"}");
    p.schema_name = S("n");
    assert_json(talk_at(written(&p), "outputConfig"),
                "{\"textFormat\":{\"type\":\"json_schema\",\"structure\":{\"jsonSchema\":{\"name\":\"n\","
                "\"schema\":\"{\\\"additionalProperties\\\":false,\\\"type\\\":\\\"object\\\"}\"}}}}");
}

/* ---- replies ---- */

static void a_reply_comes_back_as_it_was(void **state)
{
    static const char body[] =
        "{\"output\":{\"message\":{\"role\":\"assistant\",\"content\":[{\"reasoningContent\":{\"reasoningText\":{\"text\":\"t\","
        "\"signature\":\"s\"}}},{\"text\":\"x\"},{\"toolUse\":{\"toolUseId\":\"i\",\"name\":\"f\",\"input\":{\"a\":1}}}]}},"
        "\"stopReason\":\"tool_use\",\"usage\":{\"inputTokens\":10,\"outputTokens\":5,\"totalTokens\":38,"
        "\"cacheReadInputTokens\":20,"
        "\"cacheWriteInputTokens\":3},\"metrics\":{\"latencyMs\":7},\"trace\":{\"guardrail\":{}}}";
    (void)state;
    struct reply r = talk_reply(&dialect_bedrock, body);
    assert_json(talk_reply_write(&dialect_bedrock, &r), body);
    assert_int_equal(r.usage.prompt_tokens, 33);
    assert_int_equal(r.stop, STOP_TOOLS);
    str messages = talk_reply_write(&dialect_anthropic, &r);
    assert_json(talk_at(messages, "content"), "[{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"s\"},{\"type\":"
        "\"text\","
                "\"text\":\"x\"},{\"type\":\"tool_use\",\"id\":\"i\",\"name\":\"f\",\"input\":{\"a\":1}}]");
}

static void an_answer_without_output_is_empty(void **state)
{
    (void)state;
    assert_int_equal(talk_reply(&dialect_bedrock, "{\"stopReason\":\"end_turn\",\"usage\":{}}").n, 0);
    assert_int_equal(talk_reply(&dialect_bedrock, "{\"output\":{},\"stopReason\":\"malformed_tool_use\"}").stop, STOP_MALFORMED);
}

/* ---- streams ---- */

#define EVENT(name, data) "event: " name "\ndata: " data "\n\n"
#define DELTA(index, delta) EVENT("contentBlockDelta", "{\"contentBlockIndex\":" #index ",\"delta\":" delta "}")
#define STOP(index) EVENT("contentBlockStop", "{\"contentBlockIndex\":" #index "}")
#define USAGE \
    EVENT("metadata", "{\"usage\":{\"inputTokens\":10,\"outputTokens\":5,\"totalTokens\":19,\"cacheReadInputTokens\":4," \
          "\"cacheWriteInputTokens\":0},\"metrics\":{\"latencyMs\":0}}")

static const char stream[] =
    EVENT("messageStart", "{\"role\":\"assistant\"}")
    DELTA(0, "{\"reasoningContent\":{\"text\":\"hm\"}}") DELTA(0, "{\"reasoningContent\":{\"signature\":\"sig\"}}") STOP(0)
    DELTA(1, "{\"reasoningContent\":{\"redactedContent\":\"AAAA\"}}") STOP(1)
    DELTA(2, "{\"text\":\"Hel\"}") DELTA(2, "{\"text\":\"lo\"}") STOP(2)
    EVENT("contentBlockStart", "{\"contentBlockIndex\":3,\"start\":{\"toolUse\":{\"toolUseId\":\"t\",\"name\":\"f\"}}}")
    DELTA(3, "{\"toolUse\":{\"input\":\"{\\\"a\\\":\"}}") DELTA(3, "{\"toolUse\":{\"input\":\"1}\"}}") STOP(3)
    EVENT("messageStop", "{\"stopReason\":\"tool_use\"}") USAGE;

static void a_stream_comes_back_byte_for_byte(void **state)
{
    (void)state;
    assert_text(talk_stream(&dialect_bedrock, &dialect_bedrock, stream), stream);
}

static void a_messages_client_sees_blocks_that_begin_and_usage_with_the_stop(void **state)
{
    (void)state;
    assert_text(talk_stream(&dialect_bedrock, &dialect_anthropic,
                            EVENT("messageStart", "{\"role\":\"assistant\",\"p\":\"abc\"}") DELTA(0, "{\"text\":\"Hi\"}") STOP(0)
                            EVENT("messageStop", "{\"stopReason\":\"end_turn\"}") USAGE),
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_req1\",\"type\":\"message\","
        "\"role\":\"assistant\","
        "\"model\":\"public\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":7,"
        "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":1}}}\n\n"
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":"
        "\"text\",\"text\":\"\"}}\n\n"
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\","
        "\"text\":\"Hi\"}}\n\n"
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},"
        "\"usage\":{\"input_tokens\":10,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":4,\"output_tokens\":5}}\n\n"
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
}

static void a_stream_may_end_without_usage(void **state)
{
    (void)state;
    struct reply r;
    struct failure f;
    assert_int_equal(talk_collect(&dialect_bedrock, EVENT("messageStart", "{}") DELTA(0, "{\"text\":\"x\"}")
                                  EVENT("messageStop", "{\"stopReason\":\"max_tokens\"}"), &r, &f), 0);
    assert_int_equal(r.stop, STOP_LENGTH);
    assert_int_equal(talk_collect(&dialect_bedrock, EVENT("messageStart", "{}") DELTA(0, "{\"text\":\"x\"}"), &r, &f), -1);
}

static void what_tools_brought_reaches_policy(void **state)
{
    (void)state;
    assert_text(talk_results(&dialect_bedrock, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":\"q\"}]},"
        "{\"role\":\"assistant\",\"content\":[{\"toolUse\":{\"toolUseId\":\"a\",\"name\":\"f\",\"input\":{}}}]},"
        "{\"role\":\"user\",\"content\":[{\"toolResult\":{\"toolUseId\":\"a\",\"content\":[{\"json\":{\"k\": \"v\"}},"
        "{\"text\":\"x\"}]}}]}]}"), "*{\"k\":\"v\"} x");
}

static void exceptions_inside_a_stream_are_errors(void **state)
{
    static const struct { const char *name; enum failure_kind kind; int status; } cases[] = {
        { "throttlingException", FAILURE_RATE_LIMIT, 429 }, { "modelStreamErrorException", FAILURE_UPSTREAM, 502 },
        { "internalServerException", FAILURE_SERVER, 500 }, { "validationException", FAILURE_INVALID, 400 },
        { "serviceUnavailableException", FAILURE_OVERLOADED, 503 }, { "nextYearsException", FAILURE_SERVER, 500 },
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct reply r;
        struct failure f;
        str sse = arena_printf(a, EVENT("messageStart", "{}") "event: %s\ndata: {\"message\":\"no\"}\n\n", cases[i].name);
        assert_int_equal(talk_collect(&dialect_bedrock, sse.ptr, &r, &f), -1);
        assert_int_equal(f.kind, cases[i].kind);
        assert_int_equal(f.status, cases[i].status);
        assert_text(f.message, "no");
        sse = arena_printf(a, "event: %s\ndata: {\"message\":\"no\"}\n\n", cases[i].name);
        assert_int_equal(talk_collect(&dialect_bedrock_invoke, sse.ptr, &r, &f), -1);
        assert_int_equal(f.kind, cases[i].kind);
    }
}

static void invoke_wraps_messages(void **state)
{
    static const char wire[] =
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"c\",\"usage\":{"
        "\"input_tokens\":1,"
        "\"output_tokens\":1}}}\n\n"
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\","
        "\"text\":\"Hi\"}}\n\n"
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{"
        "\"output_tokens\":5}}\n\n"
        "event: message_stop\ndata: {\"type\":\"message_stop\",\"amazon-bedrock-invocationMetrics\":{}}\n\n";
    (void)state;
    str wrapped = talk_stream(&dialect_anthropic, &dialect_bedrock_invoke, wire);
    assert_true(str_starts(wrapped, S("event: chunk\ndata: {\"bytes\":\"eyJ0eXBlIjoi")));
    str direct = talk_stream(&dialect_anthropic, &dialect_anthropic, wire);
    assert_true(str_eq(talk_stream(&dialect_bedrock_invoke, &dialect_anthropic, arena_cstr(a, wrapped)), direct));
    assert_true(str_ends(talk_stream(&dialect_bedrock_invoke, &dialect_anthropic, "event: chunk\ndata: {\"bytes\":"
        "\"*\"}\n\n"), S("<bad>")));
}

static void errors_are_read(void **state)
{
    static const struct { const char *body; int status; enum failure_kind kind; } cases[] = {
        { "{\"message\":\"m\"}", 429, FAILURE_RATE_LIMIT }, { "{\"Message\":\"m\"}", 403, FAILURE_PERMISSION },
        { "{\"__type\":\"com.amazon.coral.service#UnrecognizedClientException\",\"message\":\"m\"}", 403, FAILURE_AUTH },
        { "{\"__type\":\"ModelNotReadyException\",\"message\":\"m\"}", 429, FAILURE_OVERLOADED },
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct failure f;
        assert_true(dialect_bedrock.error_read(a, talk_json(str_of(cases[i].body)), cases[i].status, &f));
        assert_int_equal(f.kind, cases[i].kind);
        assert_text(f.message, "m");
    }
    struct failure f;
    assert_false(dialect_bedrock.error_read(a, talk_json(S("{}")), 500, &f));
    assert_false(dialect_bedrock.error_read(a, talk_json(S("[]")), 500, &f));
}

#define CLAIM(f) cmocka_unit_test_setup_teardown(f, talk_begin, talk_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(a_request_comes_back_as_it_was), CLAIM(everything_has_its_place), CLAIM(roles_alternate_and_results_come_first),
        CLAIM(a_conversation_starts_with_the_user), CLAIM(no_choice_means_no_tools), CLAIM(documents_get_names_that_differ),
        CLAIM(each_maker_is_told_of_reasoning_in_its_way), CLAIM(betas_are_filtered), CLAIM(a_schema_travels_as_text),
        CLAIM(a_reply_comes_back_as_it_was), CLAIM(an_answer_without_output_is_empty), CLAIM(a_stream_comes_back_byte_for_byte),
        CLAIM(a_messages_client_sees_blocks_that_begin_and_usage_with_the_stop), CLAIM(a_stream_may_end_without_usage),
        CLAIM(what_tools_brought_reaches_policy), CLAIM(exceptions_inside_a_stream_are_errors), CLAIM(invoke_wraps_messages), CLAIM(errors_are_read),
    };
    return cmocka_run_group_tests_name("dialect/bedrock", tests, NULL, NULL);
}
