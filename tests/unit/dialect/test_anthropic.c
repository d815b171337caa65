/* What the Messages dialect keeps, what it makes of other dialects' requests, and the exact bytes of its streams. */
#include "talk.h"

#include "dialect/anthropic.h"
#include "dialect/anthropic_parts.h"

/* A Messages request as if it had come as Chat Completions: the writer then owes it everything of spec 04, section 4.4. */
static const struct dialect_ops chat = { .name = "openai_chat" };
static const struct dialect_ops responses = { .name = "openai_responses" };
static const struct dialect_ops gemini = { .name = "gemini" };

static struct prompt foreign(const char *body)
{
    struct prompt p = talk_prompt(&dialect_anthropic, body);
    p.dialect = &chat;
    return p;
}

static str written(const struct prompt *p)
{
    struct talk out = talk_write(&dialect_anthropic, p, (struct target){ 0 });
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
        REQUEST(""),
        REQUEST(",\"system\":\"Be brief\",\"stream\":true,\"temperature\":0.7,\"top_p\":0.9,\"top_k\":5,"
                "\"stop_sequences\":[\"a\",\" \"],\"service_tier\":\"auto\",\"speed\":\"fast\",\"container\":{\"id\":\"c\"},"
                "\"context_management\":{\"edits\":[{\"type\":\"clear_thinking_20251015\"}]},\"future\":{\"x\":[1,2.50,null]},"
                "\"metadata\":{\"user_id\":\"u\",\"team\":\"t\"},\"mcp_servers\":[{\"url\":\"https://x\"}]"),
        REQUEST(",\"system\":[{\"type\":\"text\",\"text\":\"a\",\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"1h\"}},"
                "{\"type\":\"text\",\"text\":\"b\",\"odd\":1}],\"thinking\":{\"type\":\"adaptive\",\"display\":\"omitted\","
                "\"new\":1},"
                "\"output_config\":{\"effort\":\"high\",\"format\":{\"type\":\"json_schema\",\"schema\":{\"type\":"
                "\"object\"}},\"x\":2}"),
        REQUEST(",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":64},\"temperature\":0.5,"
                "\"tool_choice\":{\"type\":\"any\",\"disable_parallel_tool_use\":false,\"later\":true},"
                "\"tools\":[{\"name\":\"f\",\"description\":\"d\",\"input_schema\":{\"type\":\"object\",\"$defs\":{\"a\":{}}},"
                "\"strict\":false,\"input_examples\":[{}],\"defer_loading\":true},"
                "{\"type\":\"web_search_20250305\",\"name\":\"web_search\",\"max_uses\":3}]"),
        TALK("{\"role\":\"user\",\"content\":[{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\","
             "\"data\":\"iVBORw0KGgo=\",\"new\":1}},{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":"
             "\"https://x/y.png\"}},"
             "{\"type\":\"image\",\"source\":{\"type\":\"file\",\"file_id\":\"f1\"}},"
             "{\"type\":\"document\",\"title\":\"T\",\"context\":\"c\",\"citations\":{\"enabled\":true},"
             "\"source\":{\"type\":\"base64\",\"media_type\":\"application/pdf\",\"data\":\"JVBERi0=\"}},"
             "{\"type\":\"document\",\"source\":{\"type\":\"text\",\"media_type\":\"text/plain\",\"data\":\"plain\"}},"
             "{\"type\":\"document\",\"source\":{\"type\":\"content\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}},"
             "{\"type\":\"search_result\",\"source\":\"s\",\"title\":\"t\",\"content\":[]}]}"),
        TALK("{\"role\":\"user\",\"content\":\"q\"},"
             "{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"c2ln\"},"
             "{\"type\":\"redacted_thinking\",\"data\":\"ZGF0YQ==\"},"
             "{\"type\":\"text\",\"text\":\"see\",\"citations\":[{\"type\":\"char_location\",\"cited_text\":\"x\"}]},"
             "{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{\"a\":12345678901234567890},"
             "\"caller\":{\"type\":\"direct\"}},"
             "{\"type\":\"server_tool_use\",\"id\":\"srv\",\"name\":\"web_search\",\"input\":{\"query\":\"q\"}}],\"odd\":true},"
             "{\"role\":\"system\",\"content\":\"from now on\"},"
             "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"first\"},"
             "{\"type\":\"tool_result\",\"tool_use_id\":\"toolu_1\",\"is_error\":true,\"content\":[{\"type\":\"text\","
             "\"text\":\"a\"},"
             "{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"iVBO\"}}],"
             "\"cache_control\":{\"type\":\"ephemeral\"}}]},{\"role\":\"user\",\"content\":\"and\"}"),
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct prompt p = talk_prompt(&dialect_anthropic, bodies[i]);
        struct talk out = talk_write(&dialect_anthropic, &p, (struct target){ .model = S("m") });
        assert_json(out.body, bodies[i]);
        assert_int_equal(out.t->n_warnings, 0);
    }
}

static void a_request_that_only_fills_the_cache_stays_one(void **state)
{
    (void)state;
    struct prompt p = talk_prompt(&dialect_anthropic, "{\"model\":\"m\",\"max_tokens\":0,\"messages\":[]}");
    assert_json(written(&p), "{\"model\":\"up\",\"max_tokens\":0,\"messages\":[]}");
}

static void empty_texts_are_left_out(void **state)
{
    (void)state;
    struct prompt p = talk_prompt(&dialect_anthropic, TALK("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"\"},"
                                                           "{\"type\":\"text\",\"text\":\"x\"}]}"));
    assert_json(talk_at(written(&p), "messages"), "[{\"role\":\"user\",\"content\":\"x\"}]");
}

static void errors_name_the_place(void **state)
{
    static const struct { const char *body, *error; } cases[] = {
        { "{}", "model: expected a string, but it is missing" },
        { "{\"model\":\"m\",\"messages\":[]}", "max_tokens: expected an integer, but it is missing" },
        { "{\"model\":\"m\",\"max_tokens\":1}", "messages: expected an array, but it is missing" },
        { TALK("{\"role\":\"tool\",\"content\":\"\"}"),
          "messages[0].role: expected \"user\", \"assistant\" or \"system\"" },
        { TALK("{\"role\":\"user\"}"), "messages[0].content: expected a string or an array, but it is missing" },
        { TALK("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":5}]}"),
          "messages[0].content[0].text: expected a string, got a number" },
        { TALK("{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"x\",\"content\":[7]}]}"),
          "messages[0].content[0].content[0]: expected an object, got a number" },
        { REQUEST(",\"thinking\":{\"type\":\"maybe\"}"),
          "thinking.type: expected \"enabled\", \"adaptive\" or \"disabled\"" },
        { REQUEST(",\"tools\":[{\"input_schema\":{}}]"), "tools[0].name: expected a string, but it is missing" },
        { REQUEST(",\"temperature\":\"hot\""), "temperature: expected a number, got a string" },
        { "[]", "expected an object, got an array" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_text(talk_read_error(&dialect_anthropic, cases[i].body), cases[i].error);
}

static void a_count_needs_no_max_tokens(void **state)
{
    (void)state;
    struct prompt p;
    struct err e = { 0 };
    struct buf b = { 0 };
    assert_int_equal(dialect_anthropic.count_read(a, talk_json(S("{\"model\":\"m\",\"messages\":[]}")), NULL, &p, &e), 0);
    dialect_anthropic.count_write(14, &b);
    assert_text(buf_to_arena(&b, a), "{\"input_tokens\":14}");
}

/* ---- from other dialects ---- */

static void system_turns_move_to_the_top(void **state)
{
    (void)state;
    struct prompt p = foreign(TALK("{\"role\":\"system\",\"content\":\"one\"},{\"role\":\"user\",\"content\":\"a\"},"
                                   "{\"role\":\"system\",\"content\":\"two\"},{\"role\":\"user\",\"content\":\"b\"}"));
    str body = written(&p);
    assert_json(talk_at(body, "system"), "[{\"type\":\"text\",\"text\":\"one\"},{\"type\":\"text\",\"text\":\"two\"}]");
    assert_json(talk_at(body, "messages"), "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
                                           "{\"type\":\"text\",\"text\":\"b\"}]}]");
}

static void cache_marks_stay_on_their_part(void **state)
{
    (void)state;
    struct prompt p = foreign(TALK("{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"one\","
                                   "\"cache_control\":{\"type\":\"ephemeral\"}}]},{\"role\":\"user\",\"content\":\"a\"}"));
    assert_json(talk_at(written(&p), "system"),
                "[{\"type\":\"text\",\"text\":\"one\",\"cache_control\":{\"type\":\"ephemeral\"}}]");
}

static void what_tools_brought_reaches_policy(void **state)
{
    (void)state;
    assert_text(talk_results(&dialect_anthropic, TALK("{\"role\":\"user\",\"content\":\"q\"},"
        "{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"I look.\"},{\"type\":\"tool_use\",\"id\":\"a\","
        "\"name\":\"f\",\"input\":{}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":"
        "\"old\"}]},{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"Again.\"},{\"type\":\"tool_use\",\"id\":\"b\","
        "\"name\":\"f\",\"input\":{}},{\"type\":\"tool_use\",\"id\":\"c\",\"name\":\"f\",\"input\":{}},{\"type\":\"tool_use\","
        "\"id\":\"d\",\"name\":\"f\",\"input\":{}}]},{\"role\":\"user\",\"content\":["
        "{\"type\":\"tool_result\",\"tool_use_id\":\"b\",\"content\":[{\"type\":\"text\",\"text\":\"two\\nlines\"},"
        "{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":\"https://x/y\"}},{\"type\":\"text\",\"text\":\"more\"},"
        "{\"type\":\"document\",\"source\":{\"type\":\"text\",\"media_type\":\"text/plain\",\"data\":\"page\"}}]},"
        "{\"type\":\"tool_result\",\"tool_use_id\":\"c\",\"content\":[{\"type\":\"search_result\",\"title\":\"t\"}]},"
        "{\"type\":\"tool_result\",\"tool_use_id\":\"d\"},{\"type\":\"text\",\"text\":\"a reminder\"}]}")),
        "old | *two\nlines more page | *{\"type\":\"search_result\",\"title\":\"t\"} | *");
}

static void tool_results_merge_and_come_first(void **state)
{
    (void)state;
    struct prompt p = foreign(TALK(
        "{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\" \"},"
        "{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\",\"input\":{}},{\"type\":\"tool_use\",\"id\":\"b\",\"name\":\"f\","
        "\"input\":{}}]},"
        "{\"role\":\"user\",\"content\":\"wait\"},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":\"1\"}]},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"b\"}]}"));
    assert_json(talk_at(written(&p), "messages"),
                "[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":["
                "{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\",\"input\":{}},{\"type\":\"tool_use\",\"id\":\"b\","
                "\"name\":\"f\","
                "\"input\":{}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":"
                "\"1\"},"
                "{\"type\":\"tool_result\",\"tool_use_id\":\"b\"},{\"type\":\"text\",\"text\":\"wait\"}]}]");
}

static void old_calls_without_definitions_get_some(void **state)
{
    (void)state;
    struct prompt p = foreign(TALK("{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":["
                                   "{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\",\"input\":{}}]},"
                                   "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\"}]}"));
    str body = written(&p);
    assert_json(talk_at(body, "tools"), "[{\"name\":\"f\",\"input_schema\":{\"type\":\"object\"}}]");
    assert_json(talk_at(body, "tool_choice"), "{\"type\":\"none\"}");
}

static void arguments_must_be_an_object(void **state)
{
    (void)state;
    struct prompt p = foreign(TALK("{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":["
                                   "{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\",\"input\":{}}]}"));
    p.turns[1].blocks[0].arguments = S("");
    assert_json(talk_at(written(&p), "messages.1.content.0.input"), "{}");
    p.turns[1].blocks[0].arguments = S("{\"a\":");
    struct talk out = talk_write(&dialect_anthropic, &p, (struct target){ 0 });
    assert_text(out.t->param, "messages[1].tool_calls[0].function.arguments");
    assert_string_equal(out.t->refusal.text, "messages[1].tool_calls[0].function.arguments: the arguments of the tool call are "
                                             "not a JSON object");
}

static void names_and_ids_are_renamed_and_come_back(void **state)
{
    (void)state;
    struct prompt p = foreign(TALK("{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":["
                                   "{\"type\":\"tool_use\",\"id\":\"functions.f:0\",\"name\":\"a.b\",\"input\":{}}]},"
                                   "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":"
                                   "\"functions.f:0\"}]}"));
    struct talk out = talk_write(&dialect_anthropic, &p, (struct target){ 0 });
    str id = talk_at(out.body, "messages.1.content.0.id"), name = talk_at(out.body, "messages.1.content.0.name");
    assert_true(str_starts(id, S("\"functions_f_0_")) && str_starts(name, S("\"a_b_")));
    assert_true(str_eq(id, talk_at(out.body, "messages.2.content.0.tool_use_id")));
    assert_text(translation_name_back(out.t, (str){ name.ptr + 1, name.len - 2 }), "a.b");
}

static void images_and_files_find_their_block(void **state)
{
    (void)state;
    struct prompt p = foreign(REQUEST(""));
    struct block media[] = {
        { .kind = BLOCK_IMAGE, .media = { .url = S("data:image/png;base64,iVBO") } },
        { .kind = BLOCK_IMAGE, .media = { .url = S("https://x/y.png"), .detail = S("high") } },
        { .kind = BLOCK_IMAGE, .media = { .url = S("data:application/pdf;base64,JVBERi0=") } },
        { .kind = BLOCK_FILE, .media = { .data = S("JVBERi0="), .name = S("a.pdf") } },
        { .kind = BLOCK_FILE, .media = { .data = S("aGVsbG8="), .media_type = S("text/plain") } },
        { .kind = BLOCK_IMAGE, .media = { .data = S("/9j/4AAQ") } },
    };
    p.turns[0].blocks = media;
    p.turns[0].n = COUNT_OF(media);
    struct talk out = talk_write(&dialect_anthropic, &p, (struct target){ 0 });
    assert_json(talk_at(out.body, "messages.0.content"),
                "[{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"iVBO\"}},"
                "{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":\"https://x/y.png\"}},"
                "{\"type\":\"document\",\"source\":{\"type\":\"base64\",\"media_type\":\"application/pdf\",\"data\":"
                "\"JVBERi0=\"}},"
                "{\"type\":\"document\",\"source\":{\"type\":\"base64\",\"media_type\":\"application/pdf\",\"data\":"
                "\"JVBERi0=\"},"
                "\"title\":\"a.pdf\"},"
                "{\"type\":\"document\",\"source\":{\"type\":\"text\",\"media_type\":\"text/plain\",\"data\":\"hello\"}},"
                "{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/jpeg\",\"data\":\"/9j/4AAQ\"}}]");
    assert_text(talk_warnings(out.t), "messages[0].content[1] approximated");
}

static void what_cannot_be_said_is_refused_or_dropped_by_name(void **state)
{
    struct block audio = { .kind = BLOCK_AUDIO, .media = { .data = S("AAAA"), .format = S("wav") } };
    static const str keys[] = {
        S("n"), S("seed"), S("logprobs"), S("top_logprobs"), S("presence_penalty"), S("frequency_penalty"), S("logit_bias"),
        S("modalities"), S("messages[0].content[0]"),
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        struct prompt p = foreign(REQUEST(""));
        if (i == 0) p.n_answers = 2;
        if (i == 1) p.has_seed = true;
        if (i == 2) p.logprobs = 1;
        if (i == 3) p.top_logprobs = 3;
        if (i == 4) p.presence_penalty = 0.5;
        if (i == 5) p.frequency_penalty = 0.5;
        if (i == 6) members_add(&p.rest, a, S("logit_bias"), S("{\"5\":1}"));
        if (i == 7) members_add(&p.rest, a, S("modalities"), S("[\"text\", \"audio\"]"));
        if (i == 8) p.turns[0].blocks = &audio;
        struct talk out = talk_write(&dialect_anthropic, &p, (struct target){ 0 });
        assert_int_equal(out.body.len, 0);
        assert_true(str_eq(out.t->param, keys[i]));
        if (i == 8)
            continue;                           /* nothing would be left to ask */
        out = talk_write(&dialect_anthropic, &p, (struct target){ .drops_unsupported = true });
        assert_true(out.body.len > 0);
        assert_true(str_eq(out.t->warnings[0].field, keys[i]));
    }
}

static void harmless_members_are_no_loss(void **state)
{
    (void)state;
    struct prompt p = foreign(REQUEST(""));
    p.n_answers = 1, p.logprobs = 0, p.presence_penalty = 0;
    members_add(&p.rest, a, S("modalities"), S("[\"text\"]"));
    members_add(&p.rest, a, S("store"), S("false"));
    struct talk out = talk_write(&dialect_anthropic, &p, (struct target){ 0 });
    assert_json(out.body, "{\"model\":\"up\",\"max_tokens\":100,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}");
    assert_text(talk_warnings(out.t), "store dropped");
}

static void tools_are_translated(void **state)
{
    (void)state;
    struct prompt p = foreign(REQUEST(",\"tools\":[{\"name\":\"f\",\"input_schema\":{\"properties\":{\"a\":{\"$ref\":"
        "\"#/$defs/x\"}},"
                                      "\"$defs\":{\"x\":{\"anyOf\":[{}]}}}},{\"name\":\"g\"}]"));
    p.tools[0].strict = 1, p.tools[1].strict = 0;
    p.parallel_tool_calls = 0;
    str body = written(&p);
    assert_json(talk_at(body, "tools"),
                "[{\"name\":\"f\",\"strict\":true,\"input_schema\":{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":"
                "\"#/$defs/x\"}},"
                "\"$defs\":{\"x\":{\"anyOf\":[{}]}}}},{\"name\":\"g\",\"input_schema\":{\"type\":\"object\"}}]");
    assert_json(talk_at(body, "tool_choice"), "{\"type\":\"auto\",\"disable_parallel_tool_use\":true}");
    p.choice = CHOICE_REQUIRED;
    p.chosen = &p.tools[1].name, p.n_chosen = 1;
    body = written(&p);
    assert_json(talk_at(body, "tools"), "[{\"name\":\"g\",\"input_schema\":{\"type\":\"object\"}}]");
    assert_json(talk_at(body, "tool_choice"), "{\"type\":\"any\",\"disable_parallel_tool_use\":true}");
    p.n_tools = 0;
    struct talk out = talk_write(&dialect_anthropic, &p, (struct target){ 0 });
    assert_text(out.t->param, "tool_choice");
}

static void a_custom_tool_becomes_a_function_of_its_input(void **state)
{
    (void)state;
    struct prompt p = foreign(TALK("{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":["
                                   "{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"patch\",\"input\":{}}]}"));
    struct tool tool = { .kind = TOOL_CUSTOM, .name = S("patch"), .strict = -1, .format = S("{\"type\": \"text\"}") };
    p.tools = &tool, p.n_tools = 1;
    p.turns[1].blocks[0].is_custom = true;
    p.turns[1].blocks[0].arguments = S("*** \"begin\"");
    struct talk out = talk_write(&dialect_anthropic, &p, (struct target){ 0 });
    assert_json(talk_at(out.body, "messages.1.content.0.input"), "{\"input\":\"*** \\\"begin\\\"\"}");
    assert_json(talk_at(out.body, "tools.0.description"), "\"Format of `input`: {\\\"type\\\":\\\"text\\\"}\"");
    assert_text(talk_warnings(out.t), "tools[0].format approximated");
}

static void thinking_follows_the_effort(void **state)
{
    static const struct { const char *effort; int64_t max_tokens; bool is_legacy; const char *thinking, *effort_out; } cases[] = {
        { "none", 100, false, "{\"type\":\"disabled\"}", "" },
        { "minimal", 100, false, "{\"type\":\"adaptive\"}", "\"low\"" },
        { "medium", 100, false, "{\"type\":\"adaptive\"}", "\"medium\"" },
        { "xhigh", 100, false, "{\"type\":\"adaptive\"}", "\"xhigh\"" },
        { "low", 64000, true, "{\"type\":\"enabled\",\"budget_tokens\":2048}", "" },
        { "high", 64000, true, "{\"type\":\"enabled\",\"budget_tokens\":16384}", "" },
        { "high", 8000, true, "{\"type\":\"enabled\",\"budget_tokens\":6000}", "" },
        { "high", 1100, true, "{\"type\":\"enabled\",\"budget_tokens\":1099}", "" },
        { "high", 1024, true, "", "" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct prompt p = foreign(REQUEST(""));
        p.reasoning_effort = str_of(cases[i].effort);
        p.max_tokens = cases[i].max_tokens;
        struct talk out = talk_write(&dialect_anthropic, &p, (struct target){ .is_legacy_reasoning = cases[i].is_legacy });
        assert_text(talk_at(out.body, "thinking"), cases[i].thinking);
        assert_text(talk_at(out.body, "output_config.effort"), cases[i].effort_out);
    }
}

static void a_thinking_model_gets_no_sampling_it_refuses(void **state)
{
    (void)state;
    struct prompt p = foreign(REQUEST(",\"temperature\":0.2,\"top_p\":0.5,\"top_k\":3,\"tools\":[{\"name\":\"f\"}]"));
    p.reasoning_effort = S("high");
    struct talk out = talk_write(&dialect_anthropic, &p, (struct target){ 0 });
    assert_text(talk_warnings(out.t), "temperature dropped, top_p dropped, top_k dropped");
    assert_int_equal(talk_at(out.body, "temperature").len + talk_at(out.body, "top_k").len, 0);
    p.choice = CHOICE_REQUIRED;                 /* a forced tool changes the answer more than thinking does */
    out = talk_write(&dialect_anthropic, &p, (struct target){ 0 });
    assert_text(talk_warnings(out.t), "reasoning_effort dropped");
    assert_text(talk_at(out.body, "temperature"), "0.2");
}

static void thoughts_need_a_signature_of_anthropic(void **state)
{
    (void)state;
    struct prompt p = foreign(TALK("{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":["
                                   "{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"s\"},{\"type\":\"text\","
                                   "\"text\":\"x\"}]}"));
    assert_json(talk_at(written(&p), "messages.1.content.0"), "{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"s\"}");
    p.turns[1].blocks[0].origin = S("gemini");
    struct talk out = talk_write(&dialect_anthropic, &p, (struct target){ 0 });
    assert_json(talk_at(out.body, "messages.1.content"), "[{\"type\":\"text\",\"text\":\"x\"}]");
    assert_text(talk_warnings(out.t), "messages[1].reasoning_content dropped");
    p.turns[1].blocks[0] = (struct block){ .kind = BLOCK_SEALED_REASONING, .sealed = S("gAAAAABx") };
    p.dialect = &responses;
    assert_text(talk_warnings(talk_write(&dialect_anthropic, &p, (struct target){ 0 }).t), "input dropped");
}

static void structured_output_closes_its_objects(void **state)
{
    (void)state;
    struct prompt p = foreign(REQUEST(""));
    p.output = OUTPUT_JSON_SCHEMA;
    p.schema = S("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"array\",\"items\":{\"type\":\"object\"}},"
                 "\"default\":{\"type\":\"object\",\"additionalProperties\":true}},\"default\":{\"type\":\"object\"}}");
    assert_json(talk_at(written(&p), "output_config.format.schema"),
                "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{\"a\":{\"type\":\"array\",\"items\":"
                "{\"type\":\"object\",\"additionalProperties\":false}},\"default\":{\"type\":\"object\","
                "\"additionalProperties\":true}},"
                "\"default\":{\"type\":\"object\"}}");
    p.output = OUTPUT_JSON_OBJECT;
    struct talk out = talk_write(&dialect_anthropic, &p, (struct target){ 0 });
    assert_true(str_find(talk_at(out.body, "system"), S("one JSON object")) > 0);
    assert_text(talk_warnings(out.t), "response_format approximated");
}

static void the_rest_is_clamped_or_mapped(void **state)
{
    (void)state;
    struct prompt p = foreign(REQUEST(",\"temperature\":1.5,\"stop_sequences\":[\"\\n\",\"END\"],\"metadata\":{\"user_id\":"
        "\"u\"}"));
    p.max_tokens = 0, p.service_tier = S("default"), p.verbosity = S("low");
    struct talk out = talk_write(&dialect_anthropic, &p, (struct target){ .default_max_tokens = 9 });
    assert_json(out.body, "{\"model\":\"up\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],"
        "\"temperature\":1,"
                          "\"stop_sequences\":[\"END\"],\"metadata\":{\"user_id\":\"u\"},\"service_tier\":\"standard_only\"}");
    assert_text(talk_warnings(out.t), "verbosity dropped, temperature clamped, stop dropped");
}

static void vertex_takes_the_version_for_the_model(void **state)
{
    (void)state;
    struct prompt p = talk_prompt(&dialect_anthropic, REQUEST(",\"stream\":true,\"speed\":\"fast\""));
    struct talk out = talk_write(&dialect_anthropic, &p, (struct target){ .anthropic_version = S("vertex-2023-10-16") });
    assert_json(out.body, "{\"anthropic_version\":\"vertex-2023-10-16\",\"max_tokens\":100,\"stream\":true,"
                          "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}");
    assert_text(talk_warnings(out.t), "speed dropped");
}

/* ---- replies ---- */

#define REPLY(content, stop) \
    "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude\",\"content\":[" content "]," \
    "\"stop_reason\":\"" stop "\",\"stop_sequence\":null,\"usage\":{\"input_tokens\":10,\"cache_creation_input_tokens\":3," \
    "\"cache_read_input_tokens\":20,\"cache_creation\":{\"ephemeral_5m_input_tokens\":1,\"ephemeral_1h_input_tokens\":2}," \
    "\"output_tokens\":5,\"output_tokens_details\":{\"thinking_tokens\":2},\"service_tier\":\"standard\"," \
    "\"server_tool_use\":{\"web_search_requests\":1}},\"container\":{\"id\":\"c\"}}"

static void a_reply_comes_back_as_it_was(void **state)
{
    static const char body[] = REPLY("{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"s\"},{\"type\":\"text\","
        "\"text\":\"x\"},"
                                     "{\"type\":\"tool_use\",\"id\":\"i\",\"name\":\"f\",\"input\":{\"a\":1}},"
                                     "{\"type\":\"server_tool_use\",\"id\":\"j\",\"name\":\"web_search\","
                                     "\"input\":{}}", "tool_use");
    (void)state;
    struct reply r = talk_reply(&dialect_anthropic, body);
    assert_json(talk_reply_write(&dialect_anthropic, &r), body);
    assert_int_equal(r.usage.prompt_tokens, 33);
    assert_int_equal(r.usage.cached_tokens, 20);
    assert_int_equal(r.usage.cache_write_tokens, 3);
    assert_int_equal(r.usage.cache_write_1h_tokens, 2);
    assert_int_equal(r.usage.reasoning_tokens, 2);
    assert_int_equal(r.stop, STOP_TOOLS);
}

static void stop_reasons_have_words(void **state)
{
    static const struct { enum stop_reason stop; enum block_kind kind; const char *word; } cases[] = {
        { STOP_END, BLOCK_TEXT, "\"end_turn\"" },       { STOP_UNKNOWN, BLOCK_TEXT, "\"end_turn\"" },
        { STOP_END, BLOCK_TOOL_CALL, "\"tool_use\"" },  { STOP_END, BLOCK_REFUSAL, "\"refusal\"" },
        { STOP_LENGTH, BLOCK_TOOL_CALL, "\"max_tokens\"" }, { STOP_FILTER, BLOCK_TEXT, "\"refusal\"" },
        { STOP_CONTEXT, BLOCK_TEXT, "\"model_context_window_exceeded\"" }, { STOP_PAUSE, BLOCK_TEXT, "\"pause_turn\"" },
        { STOP_SEQUENCE, BLOCK_TEXT, "\"stop_sequence\"" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct block b = { .kind = cases[i].kind, .text = S("x"), .name = S("f"), .call_id = S("c") };
        struct reply r = { .dialect = &chat, .blocks = &b, .n = 1, .stop = cases[i].stop };
        assert_text(talk_at(talk_reply_write(&dialect_anthropic, &r), "stop_reason"), cases[i].word);
    }
}

static void truncated_arguments_are_told_as_such(void **state)
{
    (void)state;
    struct block b = { .kind = BLOCK_TOOL_CALL, .name = S("f"), .call_id = S("c"), .arguments = S("{\"a\":\"b") };
    struct reply r = { .dialect = &chat, .blocks = &b, .n = 1, .stop = STOP_LENGTH };
    assert_json(talk_at(talk_reply_write(&dialect_anthropic, &r), "content.0.input"), "{\"raw_arguments\":\"{\\\"a\\\":\\\"b\"}");
}

static void foreign_opaque_data_makes_the_round_trip(void **state)
{
    (void)state;
    struct block blocks[] = {
        { .kind = BLOCK_REASONING, .text = S("t"), .signature = S("sig") },
        { .kind = BLOCK_TOOL_CALL, .name = S("f"), .call_id = S("c"), .signature = S("tool:sig") },
        { .kind = BLOCK_SEALED_REASONING, .sealed = S("sealed") },
    };
    struct reply r = { .dialect = &gemini, .blocks = blocks, .n = COUNT_OF(blocks), .stop = STOP_TOOLS };
    str content = talk_at(talk_reply_write(&dialect_anthropic, &r), "content");
    struct buf b = { 0 };
    buf_printf(&b, "{\"model\":\"m\",\"max_tokens\":1,\"messages\":[{\"role\":\"assistant\","
        "\"content\":%s}]}", arena_cstr(a, content));
    str body = buf_to_arena(&b, a);
    struct prompt p = talk_prompt(&dialect_anthropic, body.ptr);
    assert_true(dialect_anthropic.carries_foreign(body));
    assert_int_equal(p.turns[0].n, 3);
    assert_text(p.turns[0].blocks[0].signature, "sig");
    assert_text(p.turns[0].blocks[1].signature, "tool:sig");
    assert_text(p.turns[0].blocks[2].sealed, "sealed");
    for (int i = 0; i < 3; i++)
        assert_text(p.turns[0].blocks[i].origin, "gemini");
    str back = written(&p);                     /* to Anthropic itself: none of it */
    assert_json(talk_at(back, "messages.0.content"), "[{\"type\":\"tool_use\",\"id\":\"c\",\"name\":\"f\",\"input\":{}}]");
}

/* ---- streams ---- */

#define EVENT(name, members) "event: " name "\ndata: {\"type\":\"" name "\"" members "}\n\n"
#define START \
    EVENT("message_start", ",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude\"," \
        "\"content\":[]," \
          "\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":10,\"cache_creation_input_tokens\":0," \
          "\"cache_read_input_tokens\":4,\"output_tokens\":1}}")
#define BLOCK(index, block) EVENT("content_block_start", ",\"index\":" #index ",\"content_block\":" block)
#define DELTA(index, delta) EVENT("content_block_delta", ",\"index\":" #index ",\"delta\":" delta)
#define STOP(index) EVENT("content_block_stop", ",\"index\":" #index)
#define FINISH(reason) \
    EVENT("message_delta", ",\"delta\":{\"stop_reason\":\"" reason "\",\"stop_sequence\":null},\"usage\":{\"input_tokens\":10," \
          "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":4,\"output_tokens\":20}") \
    EVENT("message_stop", "")
#define TEXT(index, text) \
    BLOCK(index, "{\"type\":\"text\",\"text\":\"\"}") DELTA(index, "{\"type\":\"text_delta\",\"text\":\"" text "\"}") STOP(index)

static void a_stream_comes_back_byte_for_byte(void **state)
{
    static const char wire[] = START
        BLOCK(0, "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}")
        DELTA(0, "{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}") EVENT("ping", "")
        DELTA(0, "{\"type\":\"signature_delta\",\"signature\":\"c2ln\"}") STOP(0)
        BLOCK(1, "{\"type\":\"redacted_thinking\",\"data\":\"ZGF0YQ==\"}") STOP(1)
        BLOCK(2, "{\"type\":\"text\",\"text\":\"\"}") DELTA(2, "{\"type\":\"text_delta\",\"text\":\"Hel\"}")
        DELTA(2, "{\"type\":\"text_delta\",\"text\":\"lo \\\"\xc3\xa9\\\"\\n\"}")
        DELTA(2, "{\"type\":\"citations_delta\",\"citation\":{\"type\":\"char_location\",\"cited_text\":\"x\"}}") STOP(2)
        BLOCK(3, "{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{}}")
        DELTA(3, "{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"a\\\":\"}")
        DELTA(3, "{\"type\":\"input_json_delta\",\"partial_json\":\"1}\"}") STOP(3)
        BLOCK(4, "{\"type\":\"tool_use\",\"id\":\"toolu_2\",\"name\":\"g\",\"input\":{}}") STOP(4)
        FINISH("tool_use");
    (void)state;
    assert_text(talk_stream(&dialect_anthropic, &dialect_anthropic, wire), wire);
}

static void untidy_streams_come_out_tidy(void **state)
{
    static const struct { const char *in, *out; } cases[] = {
        /* no event names, no indices, no stop of the block */
        { "data: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"claude\",\"usage\":{\"input_tokens\":10,"
          "\"cache_read_input_tokens\":4,\"output_tokens\":1}}}\n\n"
          "data: {\"type\":\"content_block_start\",\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"
          "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"x\"}}\n\n"
          FINISH("end_turn"), START TEXT(0, "x") FINISH("end_turn") },
        /* no block start; text in the start event */
        { START DELTA(0, "{\"type\":\"text_delta\",\"text\":\"x\"}") STOP(0) FINISH("end_turn"),
          START TEXT(0, "x") FINISH("end_turn") },
        { START BLOCK(0, "{\"type\":\"text\",\"text\":\"x\"}") STOP(0) FINISH("end_turn"),
          START TEXT(0, "x") FINISH("end_turn") },
        /* an empty text block before the call, the input whole in its start */
        { START BLOCK(0, "{\"type\":\"text\",\"text\":\"\"}") STOP(0)
          BLOCK(1, "{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{\"a\": 1}}") STOP(1) FINISH("tool_use"),
          START BLOCK(0, "{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}}")
          DELTA(0, "{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"a\\\":1}\"}") STOP(0) FINISH("tool_use") },
        /* the input both in the start and in pieces: once */
        { START BLOCK(0, "{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{\"a\":1}}")
          DELTA(0, "{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"a\\\":1}\"}") STOP(0) FINISH("tool_use"),
          START BLOCK(0, "{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}}")
          DELTA(0, "{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"a\\\":1}\"}") STOP(0) FINISH("tool_use") },
        /* tools interleave: one after the other */
        { START BLOCK(0, "{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}}")
          BLOCK(1, "{\"type\":\"tool_use\",\"id\":\"u\",\"name\":\"g\",\"input\":{}}")
          DELTA(1, "{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}")
          DELTA(0, "{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}") STOP(0) STOP(1) FINISH("tool_use"),
          START BLOCK(0, "{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}}")
          DELTA(0, "{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}") STOP(0)
          BLOCK(1, "{\"type\":\"tool_use\",\"id\":\"u\",\"name\":\"g\",\"input\":{}}")
          DELTA(1, "{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}") STOP(1) FINISH("tool_use") },
        /* a thought inside the text block's index */
        { START BLOCK(0, "{\"type\":\"text\",\"text\":\"\"}") DELTA(0, "{\"type\":\"thinking_delta\",\"thinking\":\"h\"}")
          DELTA(0, "{\"type\":\"text_delta\",\"text\":\"x\"}") STOP(0) FINISH("end_turn"),
          START BLOCK(0, "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}")
          DELTA(0, "{\"type\":\"thinking_delta\",\"thinking\":\"h\"}") STOP(0) TEXT(1, "x") FINISH("end_turn") },
        /* the stream ends inside: an error, not an end */
        { START BLOCK(0, "{\"type\":\"text\",\"text\":\"\"}") DELTA(0, "{\"type\":\"text_delta\",\"text\":\"x\"}"), NULL },
        { START EVENT("error", ",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}"),
          START "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"},"
                "\"request_id\":null}\n\n" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        str got = talk_stream(&dialect_anthropic, &dialect_anthropic, cases[i].in);
        if (cases[i].out)
            assert_text(got, cases[i].out);
        else
            assert_true(str_find(got, S("event: error")) > 0 && str_find(got, S("message_stop")) < 0);
    }
}

static void a_server_tool_arrives_whole(void **state)
{
    (void)state;
    struct reply r;
    struct failure f;
    int rc = talk_collect(&dialect_anthropic, START
        BLOCK(0, "{\"type\":\"server_tool_use\",\"id\":\"s\",\"name\":\"web_search\",\"input\":{}}")
        DELTA(0, "{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"query\\\":\"}")
        DELTA(0, "{\"type\":\"input_json_delta\",\"partial_json\":\"\\\"q\\\"}"
            "\"}") STOP(0) TEXT(1, "x") FINISH("end_turn"), &r, &f);
    assert_int_equal(rc, 0);
    assert_int_equal(r.n, 2);
    assert_json(r.blocks[0].raw, "{\"type\":\"server_tool_use\",\"id\":\"s\",\"name\":\"web_search\",\"input\":{\"query\":"
        "\"q\"}}");
    assert_text(r.blocks[1].text, "x");
    assert_int_equal(r.usage.prompt_tokens, 14);
    assert_int_equal(r.usage.completion_tokens, 20);
}

static void usage_that_is_not_known_is_estimated_at_the_start(void **state)
{
    (void)state;
    struct buf b = { 0 };
    void *w = dialect_anthropic.writer_new(talk_context(&chat));
    dialect_anthropic.writer_delta(w, &(struct delta){ .kind = DELTA_START, .id = S("x") }, &b);
    assert_text(buf_to_arena(&b, a),
                "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"x\",\"type\":\"message\","
                "\"role\":\"assistant\","
                "\"model\":\"public\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":7,"
                "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":1}}}\n\n");
}

/* Gemini signs its calls, whole or afterwards; Messages has a place for that only in blocks of reasoning. */
static void a_foreign_signature_travels_beside_its_block(void **state)
{
    struct block call = { .kind = BLOCK_TOOL_CALL, .call_id = S("c"), .name = S("f"), .signature = S("s1") };
    struct buf b = { 0 };
    void *w = dialect_anthropic.writer_new(talk_context(&gemini));
    (void)state;
    dialect_anthropic.writer_delta(w, &(struct delta){ .kind = DELTA_START, .id = S("x") }, &b);
    b.len = 0;
    dialect_anthropic.writer_delta(w, &(struct delta){ .kind = DELTA_BLOCK, .block = &call }, &b);
    dialect_anthropic.writer_delta(w, &(struct delta){ .kind = DELTA_SIGNATURE, .text = S("s2") }, &b);
    dialect_anthropic.writer_delta(w, &(struct delta){ .kind = DELTA_CLOSE }, &b);
    assert_text(buf_to_arena(&b, a),
        BLOCK(0, "{\"type\":\"redacted_thinking\",\"data\":\"sbx1:gemini:next:s1\"}") STOP(0)
        BLOCK(1, "{\"type\":\"tool_use\",\"id\":\"c\",\"name\":\"f\",\"input\":{}}") STOP(1)
        BLOCK(2, "{\"type\":\"redacted_thinking\",\"data\":\"sbx1:gemini:last:s2\"}") STOP(2));
}

static void a_call_that_nobody_can_read_is_an_error(void **state)
{
    (void)state;
    struct buf b = { 0 };
    void *w = dialect_anthropic.writer_new(talk_context(&gemini));
    dialect_anthropic.writer_delta(w, &(struct delta){ .kind = DELTA_STOP, .stop = STOP_MALFORMED }, &b);
    dialect_anthropic.writer_delta(w, &(struct delta){ .kind = DELTA_END }, &b);
    str got = buf_to_arena(&b, a);
    assert_true(str_find(got, S("event: error")) > 0 && str_find(got, S("message_stop")) < 0);
}

static void broken_events_are_refused(void **state)
{
    static const char *const bad[] = {
        "data: {\n\n", "data: []\n\n", EVENT("content_block_start", ""), BLOCK(0, "{"
        "\"type\":5}"), EVENT("content_block_delta", ""),
        DELTA(0, "{\"type\":\"input_json_delta\",\"partial_json\":\"x\"}"), BLOCK(0, "{\"type\":\"tool_use\"}"),
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_true(str_ends(talk_stream(&dialect_anthropic, &dialect_anthropic, bad[i]), S("<bad>")));
}

/* ---- errors, models ---- */

static void errors_are_read_and_written(void **state)
{
    static const struct {
        const char *body; int status; enum failure_kind kind; int canonical, own; const char *type;
    } cases[] = {
        { "invalid_request_error", 400, FAILURE_INVALID, 400, 400, "invalid_request_error" },
        { "authentication_error", 401, FAILURE_AUTH, 401, 401, "authentication_error" },
        { "billing_error", 402, FAILURE_BILLING, 402, 402, "billing_error" },
        { "permission_error", 403, FAILURE_PERMISSION, 403, 403, "permission_error" },
        { "not_found_error", 404, FAILURE_NOT_FOUND, 404, 404, "not_found_error" },
        { "conflict_error", 409, FAILURE_CONFLICT, 409, 409, "conflict_error" },
        { "request_too_large", 413, FAILURE_TOO_LARGE, 413, 413, "request_too_large" },
        { "rate_limit_error", 429, FAILURE_RATE_LIMIT, 429, 429, "rate_limit_error" },
        { "api_error", 500, FAILURE_SERVER, 500, 500, "api_error" },
        { "api_error", 502, FAILURE_UPSTREAM, 502, 502, "api_error" },
        { "overloaded_error", 529, FAILURE_OVERLOADED, 503, 529, "overloaded_error" },
        { "overloaded_error", 0, FAILURE_OVERLOADED, 503, 529, "overloaded_error" },
        { "timeout_error", 504, FAILURE_TIMEOUT, 504, 504, "timeout_error" },
        { "precondition_failed_error", 412, FAILURE_INVALID, 412, 412, "invalid_request_error" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct failure f;
        struct buf b = { 0 };
        buf_printf(&b, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":\"m\",\"details\":{\"error_code\":"
            "\"tool_name_conflict\"}},"
                       "\"request_id\":\"req_9\"}", cases[i].body);
        assert_true(dialect_anthropic.error_read(a, talk_json(buf_to_arena(&b, a)), cases[i].status, &f));
        assert_int_equal(f.kind, cases[i].kind);
        assert_int_equal(f.status, cases[i].canonical);
        assert_int_equal(dialect_anthropic.error_status(&f), cases[i].own);
        dialect_anthropic.error_write(&f, &b);
        str body = buf_to_arena(&b, a);
        assert_true(str_eq(talk_at(body, "error.type"), arena_printf(a, "\"%s\"", cases[i].type)));
        assert_json(talk_at(body, "error.details"), "{\"error_code\":\"tool_name_conflict\"}");
        assert_text(talk_at(body, "request_id"), "\"req_9\"");
    }
    struct failure f;
    assert_false(dialect_anthropic.error_read(a, talk_json(S("{\"error\":\"no\"}")), 500, &f));
    assert_false(dialect_anthropic.error_read(a, talk_json(S("[]")), 500, &f));
}

static void models_are_listed(void **state)
{
    const struct anthropic_model models[] = { { .id = S("a"), .created = 1700000000, .max_tokens = 5 }, { .id = S("b") } };
    struct buf b = { 0 };
    (void)state;
    anthropic_models_write(models, 2, false, &b);
    assert_json(buf_to_arena(&b, a),
                "{\"data\":[{\"type\":\"model\",\"id\":\"a\",\"display_name\":\"a\",\"created_at\":\"2023-11-14T22:13:20Z\","
                "\"lifecycle\":\"active\",\"max_tokens\":5},{\"type\":\"model\",\"id\":\"b\",\"display_name\":\"b\","
                "\"created_at\":\"1970-01-01T00:00:00Z\",\"lifecycle\":\"active\"}],\"has_more\":false,\"first_id\":\"a\","
                "\"last_id\":\"b\"}");
}

#define CLAIM(f) cmocka_unit_test_setup_teardown(f, talk_begin, talk_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(a_request_comes_back_as_it_was), CLAIM(a_request_that_only_fills_the_cache_stays_one),
        CLAIM(empty_texts_are_left_out), CLAIM(errors_name_the_place), CLAIM(a_count_needs_no_max_tokens),
        CLAIM(system_turns_move_to_the_top), CLAIM(cache_marks_stay_on_their_part), CLAIM(what_tools_brought_reaches_policy), CLAIM(tool_results_merge_and_come_first),
        CLAIM(old_calls_without_definitions_get_some), CLAIM(arguments_must_be_an_object),
        CLAIM(names_and_ids_are_renamed_and_come_back), CLAIM(images_and_files_find_their_block),
        CLAIM(what_cannot_be_said_is_refused_or_dropped_by_name), CLAIM(harmless_members_are_no_loss),
        CLAIM(tools_are_translated), CLAIM(a_custom_tool_becomes_a_function_of_its_input),
        CLAIM(thinking_follows_the_effort), CLAIM(a_thinking_model_gets_no_sampling_it_refuses),
        CLAIM(thoughts_need_a_signature_of_anthropic), CLAIM(structured_output_closes_its_objects),
        CLAIM(the_rest_is_clamped_or_mapped), CLAIM(vertex_takes_the_version_for_the_model),
        CLAIM(a_reply_comes_back_as_it_was), CLAIM(stop_reasons_have_words), CLAIM(truncated_arguments_are_told_as_such),
        CLAIM(foreign_opaque_data_makes_the_round_trip), CLAIM(a_stream_comes_back_byte_for_byte),
        CLAIM(untidy_streams_come_out_tidy), CLAIM(a_server_tool_arrives_whole),
        CLAIM(usage_that_is_not_known_is_estimated_at_the_start), 
        CLAIM(a_foreign_signature_travels_beside_its_block), CLAIM(a_call_that_nobody_can_read_is_an_error),
        CLAIM(broken_events_are_refused), CLAIM(errors_are_read_and_written), CLAIM(models_are_listed),
    };
    return cmocka_run_group_tests_name("dialect/anthropic", tests, NULL, NULL);
}
