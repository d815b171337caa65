/* The Responses API, both directions: nothing is lost on the way round, and what goes elsewhere is said there. */
#include "translation_kit.h"

#include "dialect/openai_responses.h"

#define OWN "openai_responses"

/* ---- requests ---- */

static void its_own_requests_come_back_whole(void **state)
{
    static const char *const bodies[] = {
        "{\"model\":\"m\",\"input\":\"hello\",\"store\":false,\"truncation\":\"auto\",\"client_metadata\":{\"a\":[1,2]}}",
        "{\"model\":\"m\",\"input\":\"x\",\"instructions\":\"be brief\",\"temperature\":0.5,\"top_p\":1,\"max_output_tokens\":5,"
        "\"top_logprobs\":2,\"parallel_tool_calls\":false,\"metadata\":{\"k\":\"v\"},\"user\":\"u\",\"prompt_cache_key\":\"s\","
        "\"service_tier\":\"flex\",\"stream\":true,\"max_tool_calls\":3,\"previous_response_id\":\"resp_1\",\"background\":null}",
        "{\"model\":\"m\",\"input\":\"x\",\"include\":[\"reasoning.encrypted_content\",\"message.output_text.logprobs\","
        "\"file_search_call.results\"],\"reasoning\":{\"effort\":\"high\",\"summary\":\"auto\",\"context\":\"all_turns\"},"
        "\"text\":{\"verbosity\":\"low\",\"extra\":1,\"format\":{\"type\":\"json_schema\",\"name\":\"n\","
        "\"schema\":{\"type\":\"object\"},"
        "\"strict\":true,\"description\":\"d\",\"new\":{\"deep\":true}}}}",
        "{\"model\":\"m\",\"input\":[{\"type\":\"message\",\"role\":\"developer\",\"content\":\"rules\"},"
        "{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"look\"},"
        "{\"type\":\"input_image\",\"image_url\":\"data:image/png;base64,iVBORw0KGgo=\",\"detail\":\"high\"},"
        "{\"type\":\"input_image\",\"file_id\":\"file_1\"},"
        "{\"type\":\"input_file\",\"filename\":\"a.pdf\",\"file_data\":\"data:application/pdf;base64,JVBERi0=\"},"
        "{\"type\":\"input_file\",\"file_url\":\"https://x/y.pdf\"},"
        "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"AAAA\",\"format\":\"wav\"}},"
        "{\"type\":\"input_text\",\"text\":\"b\",\"prompt_cache_breakpoint\":{\"mode\":\"explicit\"}},"
        "{\"type\":\"input_hologram\",\"x\":1}]}]}",
        "{\"model\":\"m\",\"input\":[{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[{\"type\":\"summary_text\","
        "\"text\":\"t\"}],"
        "\"encrypted_content\":\"gAAAAB\"},{\"type\":\"reasoning\",\"id\":\"rs_2\",\"summary\":[],"
        "\"encrypted_content\":\"gAAAAC\"},"
        "{\"type\":\"reasoning\",\"id\":\"rs_3\",\"summary\":[],\"content\":[{\"type\":\"reasoning_text\",\"text\":\"raw\"}]},"
        "{\"type\":\"message\",\"id\":\"msg_1\",\"status\":\"completed\",\"role\":\"assistant\",\"phase\":\"commentary\","
        "\"content\":[{\"type\":\"output_text\",\"text\":\"a\",\"annotations\":[]},{\"type\":\"refusal\",\"refusal\":\"no\"}]},"
        "{\"type\":\"function_call\",\"id\":\"fc_1\",\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":\"{\\\"a\\\": 1.0}\"},"
        "{\"type\":\"custom_tool_call\",\"call_id\":\"c2\",\"name\":\"patch\",\"input\":\"*** x\"},"
        "{\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"ok\"},"
        "{\"type\":\"custom_tool_call_output\",\"call_id\":\"c2\",\"output\":[{\"type\":\"input_text\",\"text\":\"a\"},"
        "{\"type\":\"input_image\",\"image_url\":\"https://x/y.png\"}]},"
        "{\"type\":\"web_search_call\",\"id\":\"ws_1\",\"status\":\"completed\",\"action\":{\"type\":\"search\","
        "\"query\":\"q\"}},"
        "{\"type\":\"item_reference\",\"id\":\"msg_9\"},{\"type\":\"compaction\",\"encrypted_content\":\"zz\"}]}",
        "{\"model\":\"m\",\"input\":\"x\",\"tool_choice\":{\"type\":\"allowed_tools\",\"mode\":\"required\",\"tools\":["
        "{\"type\":\"function\",\"name\":\"f\"},{\"type\":\"custom\",\"name\":\"patch\"}]},\"tools\":[{\"type\":\"function\","
        "\"name\":\"f\","
        "\"description\":\"d\",\"parameters\":{\"type\":\"object\",\"$defs\":{}},\"strict\":true,\"defer_loading\":true},"
        "{\"type\":\"namespace\",\"name\":\"agents\",\"description\":\"ag\",\"tools\":[{\"type\":\"function\","
        "\"name\":\"spawn\"},"
        "{\"type\":\"custom\",\"name\":\"shout\"}]},{\"type\":\"custom\",\"name\":\"patch\",\"format\":{\"type\":\"grammar\","
        "\"syntax\":\"lark\",\"definition\":\"start: X\"}},{\"type\":\"web_search\",\"external_web_access\":false}]}",
        "{\"model\":\"m\",\"input\":[{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"spawn\",\"namespace\":\"agents\","
        "\"arguments\":\"\"},"
        "{\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":\"\"}],\"tool_choice\":{\"type\":\"mcp\","
        "\"server_label\":\"s\"}}",
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct kit_request k = kit_request(OWN, OWN, str_of(bodies[i]), "m", false);
        assert_int_equal(k.rc, 0);
        struct json j = *talk_json(str_of(bodies[i]));           /* null counts as absent */
        struct json_edits edits = { .a = a };
        struct buf without = { 0 };
        JSON_EACH_PAIR(&j, 0, key, value)
            if (json_kind(&j, value) == JSON_NULL)
                json_edit_remove(&edits, &j, 0, json_str(&j, key, a));
        json_edits_write(&edits, &j, &without);
        struct json got = *talk_json(k.body);
        edits = (struct json_edits){ .a = a };
        struct buf told = { 0 };
        JSON_EACH_PAIR(&got, 0, key, value)
            if (json_kind(&got, value) == JSON_NULL)
                json_edit_remove(&edits, &got, 0, json_str(&got, key, a));
        json_edits_write(&edits, &got, &told);
        assert_json(buf_to_arena(&told, a), arena_cstr(a, buf_to_arena(&without, a)));
    }
}

static void an_answer_is_one_turn(void **state)
{
    struct kit_request k = kit_request(OWN, OWN, S("{\"model\":\"m\",\"input\":[{\"role\":\"user\",\"content\":\"q\"},"
        "{\"type\":\"reasoning\",\"id\":\"r\",\"summary\":[]},{\"role\":\"assistant\",\"content\":\"a\"},"
        "{\"type\":\"function_call\",\"call_id\":\"1\",\"name\":\"f\",\"arguments\":\"{}\"},"
        "{\"type\":\"function_call\",\"call_id\":\"2\",\"name\":\"f\",\"arguments\":\"{}\"},"
        "{\"type\":\"function_call_output\",\"call_id\":\"1\",\"output\":\"x\"},{\"type\":\"function_call_output\","
        "\"call_id\":\"2\",\"output\":\"y\"},"
        "{\"role\":\"assistant\",\"content\":\"b\"},{\"role\":\"assistant\",\"content\":\"c\"}]}"), "m", false);
    (void)state;
    static const struct { enum role role; uint32_t n; } turns[] = {
        { ROLE_USER, 1 }, { ROLE_ASSISTANT, 4 }, { ROLE_TOOL, 2 }, { ROLE_ASSISTANT, 1 }, { ROLE_ASSISTANT, 1 },
    };
    assert_int_equal(k.prompt.n_turns, COUNT_OF(turns));
    for (size_t i = 0; i < COUNT_OF(turns); i++) {
        assert_int_equal(k.prompt.turns[i].role, turns[i].role);
        assert_int_equal(k.prompt.turns[i].n, turns[i].n);
    }
}

static void foreign_requests_become_items(void **state)
{
    static const struct { const char *from, *body, *expected; } cases[] = {
        { "openai_chat", "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"store\":true}",
          "{\"model\":\"up\",\"input\":\"hi\",\"store\":true}" },
        { "openai_chat", "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\","
            "\"content\":[{\"type\":\"text\","
          "\"text\":\"look\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x/a.png\"}}]}],\"max_tokens\":3}",
          "{\"model\":\"up\",\"input\":[{\"type\":\"message\",\"role\":\"system\",\"content\":\"s\"},{\"type\":\"message\","
          "\"role\":\"user\",\"content\":["
          "{\"type\":\"input_text\",\"text\":\"look\"},{\"type\":\"input_image\",\"image_url\":\"https://x/a.png\","
          "\"detail\":\"auto\"}]}],"
          "\"max_output_tokens\":16,\"store\":false}" },
        { "openai_chat", "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\","
            "\"content\":\"a\",\"tool_calls\":["
          "{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":1}\"}},"
          "{\"id\":\"c2\",\"type\":\"custom\",\"custom\":{\"name\":\"p\",\"input\":\"raw\"}}]},"
          "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"one\"},{\"role\":\"tool\",\"tool_call_id\":\"c2\","
          "\"content\":\"two\"}],"
          "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\"}}},"
          "{\"type\":\"custom\",\"custom\":{"
          "\"name\":\"p\",\"format\":{\"type\":\"grammar\",\"grammar\":{\"syntax\":\"lark\",\"definition\":\"d\"}}}}],"
          "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}},\"logprobs\":true,\"top_logprobs\":2,"
          "\"response_format\":{\"type\":\"json_object\"},\"verbosity\":\"low\"}",
          "{\"model\":\"up\",\"input\":[{\"type\":\"message\",\"role\":\"user\",\"content\":\"q\"},{\"type\":\"message\","
          "\"role\":\"assistant\","
          "\"content\":\"a\"},{\"type\":\"function_call\",\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":\"{\\\"x\\\":1}\"},"
          "{\"type\":\"custom_tool_call\",\"call_id\":\"c2\",\"name\":\"p\",\"input\":\"raw\"},"
          "{\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"one\"},"
          "{\"type\":\"custom_tool_call_output\",\"call_id\":\"c2\",\"output\":\"two\"}],"
          "\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"parameters\":{\"type\":\"object\"},\"strict\":false},"
          "{\"type\":\"custom\","
          "\"name\":\"p\",\"format\":{\"type\":\"grammar\",\"syntax\":\"lark\",\"definition\":\"d\"}}],"
          "\"tool_choice\":{\"type\":\"function\","
          "\"name\":\"f\"},\"top_logprobs\":2,\"text\":{\"format\":{\"type\":\"json_object\"},\"verbosity\":\"low\"},"
          "\"include\":[\"message.output_text.logprobs\"],\"store\":false}" },
        { "anthropic", "{\"model\":\"m\",\"max_tokens\":100,\"system\":[{\"type\":\"text\",\"text\":\"a\","
            "\"cache_control\":{\"type\":\"ephemeral\"}},"
          "{\"type\":\"text\",\"text\":\"b\"}],\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\","
          "\"content\":["
          "{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"EqAnthropic\"},{\"type\":\"tool_use\",\"id\":\"toolu_1\","
          "\"name\":\"f\","
          "\"input\":{\"a\":1}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"toolu_1\","
          "\"is_error\":true,"
          "\"content\":\"boom\"},{\"type\":\"text\",\"text\":\"go on\"}]}],\"thinking\":{\"type\":\"enabled\","
          "\"budget_tokens\":2000},"
          "\"tools\":[{\"name\":\"f\",\"input_schema\":{\"type\":\"object\"}},{\"type\":\"web_search_20250305\","
          "\"name\":\"web_search\"}],"
          "\"tool_choice\":{\"type\":\"any\",\"disable_parallel_tool_use\":true}}",
          "{\"model\":\"up\",\"instructions\":\"a\\n\\nb\",\"input\":[{\"type\":\"message\",\"role\":\"user\",\"content\":\"q\"},"
          "{\"type\":\"function_call\",\"call_id\":\"toolu_1\",\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"},"
          "{\"type\":\"function_call_output\",\"call_id\":\"toolu_1\",\"output\":\"Error: boom\"},"
          "{\"type\":\"message\",\"role\":\"user\",\"content\":\"go on\"}],\"tools\":[{\"type\":\"function\",\"name\":\"f\","
          "\"parameters\":{\"type\":\"object\"},\"strict\":false},{\"type\":\"web_search\"}],\"tool_choice\":\"required\","
          "\"parallel_tool_calls\":false,\"max_output_tokens\":100,\"reasoning\":{\"effort\":\"low\"},"
          "\"include\":[\"reasoning.encrypted_content\"],\"store\":false}" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct kit_request k = kit_request(cases[i].from, OWN, str_of(cases[i].body), "up", false);
        if (k.rc < 0)
            print_message("%s %s\n", k.err.text, k.t.refusal.text);
        assert_int_equal(k.rc, 0);
        assert_json(k.body, cases[i].expected);
    }
}

static void what_cannot_be_said_is_refused_by_name(void **state)
{
    static const struct { const char *from, *body, *param; } cases[] = {
        { "openai_chat", "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"n\":2}", "n" },
        { "openai_chat", "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"stop\":[\"x\"]}", "stop" },
        { "openai_chat", "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],"
            "\"logit_bias\":{\"1\":2}}", "logit_bias" },
        { "openai_chat", "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],"
            "\"presence_penalty\":1}", "presence_penalty" },
        { "anthropic", "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],"
            "\"stop_sequences\":[\"x\"]}",
          "stop_sequences" },
        { "anthropic", "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],"
            "\"tool_choice\":{\"type\":\"tool\","
          "\"name\":\"g\"},\"tools\":[{\"name\":\"f\",\"input_schema\":{\"type\":\"object\"}}]}", "tool_choice" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct kit_request k = kit_request(cases[i].from, OWN, str_of(cases[i].body), "up", false);
        assert_int_equal(k.rc, -2);
        assert_string_equal(arena_cstr(a, k.t.param), cases[i].param);
        assert_true(strlen(k.t.refusal.text) > 10);
        if (strcmp(cases[i].param, "tool_choice") != 0)
            assert_int_equal(kit_request(cases[i].from, OWN, str_of(cases[i].body), "up", true).rc, 0);
    }
}

static void mistakes_are_told_with_their_place(void **state)
{
    static const struct { const char *body, *sentence; } cases[] = {
        { "[]", "malformed JSON body: expected an object" },
        { "{\"input\":3}", "input: expected a string or an array, got a number" },
        { "{\"input\":[3]}", "input[0]: expected an object, got a number" },
        { "{\"input\":[{\"content\":\"x\"}]}", "input[0].type: expected a string, but it is missing" },
        { "{\"input\":[{\"role\":\"king\",\"content\":\"x\"}]}", "input[0].role: expected user" },
        { "{\"input\":[{\"role\":\"user\"}]}", "input[0].content: expected a string or an array, but it is missing" },
        { "{\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\"}]}]}", "input[0].content[0].text: "
            "expected a string, but" },
        { "{\"input\":[{\"role\":\"user\",\"content\":[{\"text\":\"x\"}]}]}", "input[0].content[0].type: "
            "expected a string, but" },
        { "{\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_image\"}]}]}", "input[0].content[0].image_url: "
            "expected a URL" },
        { "{\"input\":[{\"type\":\"function_call\",\"call_id\":\"c\"}]}", "input[0].name: expected a string, but it is missing" },
        { "{\"input\":[{\"type\":\"function_call_output\",\"output\":\"x\"}]}", "input[0].call_id: expected a string, but" },
        { "{\"input\":\"x\",\"tools\":{}}", "tools: expected an array" },
        { "{\"input\":\"x\",\"tools\":[{\"type\":\"function\"}]}", "tools[0].name: expected a string, but" },
        { "{\"input\":\"x\",\"tools\":[{\"type\":\"namespace\",\"name\":\"n\",\"tools\":[{\"type\":\"function\"}]}]}",
          "tools[0].tools[0].name: expected a string, but" },
        { "{\"input\":\"x\",\"tool_choice\":\"maybe\"}", "tool_choice: expected auto, none, required or an object" },
        { "{\"input\":\"x\",\"max_output_tokens\":-1}", "max_output_tokens: must not be negative" },
        { "{\"input\":\"x\",\"temperature\":\"hot\"}", "temperature: expected a number, got a string" },
        { "{\"input\":\"x\",\"text\":{\"format\":{\"type\":\"xml\"}}}", "text.format.type: "
            "expected text, json_object or json_schema" },
        { "{\"input\":\"x\",\"include\":[1]}", "include[0]: expected a string" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct kit_request k = kit_request(OWN, OWN, str_of(cases[i].body), "m", false);
        assert_int_equal(k.rc, -1);
        kit_has(str_of(k.err.text), cases[i].sentence);
    }
}

static void long_names_are_renamed_and_named_back(void **state)
{
    struct kit_request k = kit_request("gemini", OWN, S("{\"contents\":[{\"parts\":[{\"text\":\"q\"}]}],"
        "\"tools\":[{\"functionDeclarations\":["
        "{\"name\":\"a.b:c\"}]}]}"), "up", false);
    (void)state;
    assert_int_equal(k.rc, 0);
    assert_int_equal(k.t.n_renames, 1);
    kit_lacks(k.body, "a.b:c");
    assert_true(str_eq(translation_name_back(&k.t, k.t.renames[0].to), S("a.b:c")));
}

/* ---- answers ---- */

#define ECHO "\"background\":false,\"instructions\":null,\"max_output_tokens\":null,\"max_tool_calls\":null,\"metadata\":{}," \
             "\"parallel_tool_calls\":true,\"previous_response_id\":null,\"prompt_cache_key\":null," \
             "\"reasoning\":{\"effort\":null,\"summary\":null},\"safety_identifier\":null,\"store\":true,\"temperature\":null," \
             "\"text\":{\"format\":{\"type\":\"text\"}},\"tool_choice\":\"auto\",\"tools\":[],\"top_logprobs\":0," \
             "\"top_p\":null,\"truncation\":\"disabled\",\"user\":null}"

static void its_own_answers_come_back_whole(void **state)
{
    str body = S("{\"id\":\"resp_1\",\"object\":\"response\",\"created_at\":5,\"status\":\"completed\",\"error\":null,"
        "\"incomplete_details\":null,\"model\":\"m\",\"output\":[{\"type\":\"reasoning\",\"id\":\"rs_1\","
        "\"summary\":[{\"type\":\"summary_text\","
        "\"text\":\"a\"},{\"type\":\"summary_text\",\"text\":\"b\"}],\"encrypted_content\":\"gAAAA1\"},"
        "{\"type\":\"web_search_call\",\"id\":\"ws_1\",\"status\":\"completed\",\"action\":{\"type\":\"search\","
        "\"query\":\"q\"}},"
        "{\"type\":\"message\",\"id\":\"msg_1\",\"role\":\"assistant\",\"status\":\"completed\",\"phase\":\"final_answer\","
        "\"content\":["
        "{\"type\":\"output_text\",\"text\":\"hi\",\"annotations\":[{\"type\":\"url_citation\",\"url\":\"u\",\"title\":\"t\","
        "\"start_index\":0,"
        "\"end_index\":2}],\"logprobs\":[{\"token\":\"hi\",\"logprob\":-1,\"bytes\":[],\"top_logprobs\":[]}]}]},"
        "{\"type\":\"function_call\",\"id\":\"fc_1\",\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":\"{}\","
        "\"status\":\"completed\"}],"
        "\"usage\":{\"input_tokens\":9,\"input_tokens_details\":{\"cached_tokens\":4,\"cache_write_tokens\":1},"
        "\"output_tokens\":7,"
        "\"output_tokens_details\":{\"reasoning_tokens\":3},\"total_tokens\":16},\"service_tier\":\"default\","
        "\"new_member\":{\"x\":1}," ECHO);
    (void)state;
    assert_json(kit_reply(OWN, OWN, body, NULL), body.ptr);
}

static void stops_have_their_statuses(void **state)
{
    static const struct { const char *finish, *expected; } cases[] = {
        { "stop", "\"status\":\"completed\",\"error\":null,\"incomplete_details\":null" },
        { "tool_calls", "\"status\":\"completed\"" },
        { "length", "\"status\":\"incomplete\",\"error\":null,\"incomplete_details\":{\"reason\":\"max_output_tokens\"}" },
        { "content_filter", "\"status\":\"incomplete\",\"error\":null,\"incomplete_details\":{\"reason\":\"content_filter\"}" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        str reply = arena_printf(a, "{\"id\":\"x\",\"model\":\"m\",\"created\":1,\"choices\":[{\"index\":0,"
            "\"finish_reason\":\"%s\",\"message\":{"
                                 "\"role\":\"assistant\",\"content\":\"hi\"}}]}", cases[i].finish);
        kit_has(kit_reply("openai_chat", OWN, reply, NULL), cases[i].expected);
    }
    kit_has(kit_reply("openai_chat", OWN, S("{\"id\":\"x\",\"model\":\"m\",\"choices\":[{\"finish_reason\":\"stop\","
        "\"message\":{\"role\":"
            "\"assistant\",\"content\":null,\"refusal\":\"no\"}}]}"), NULL), "{\"type\":\"refusal\",\"refusal\":\"no\"}");
}

static void a_failed_answer_is_no_answer(void **state)
{
    (void)state;
    kit_has(kit_reply(OWN, OWN, S("{\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"boom\"},"
        "\"output\":[]}"), NULL),
            "!the response's status is failed: boom");
    kit_has(kit_reply(OWN, OWN, S("{\"status\":\"queued\",\"output\":[]}"), NULL), "!the response is not finished");
    kit_has(kit_reply(OWN, OWN, S("{\"id\":\"r\"}"), NULL), "!output: expected an array, but it is missing");
}

static const char asked_tools[] =
    "{\"model\":\"asked\",\"input\":\"q\",\"tools\":[{\"type\":\"custom\",\"name\":\"patch\"},{\"type\":\"namespace\","
    "\"name\":\"agents\","
    "\"description\":\"d\",\"tools\":[{\"type\":\"function\",\"name\":\"spawn\"}]}],\"temperature\":0.25,"
    "\"previous_response_id\":\"resp_0\","
    "\"conversation\":\"conv_1\",\"metadata\":{\"a\":\"b\"},\"instructions\":\"i\"}";

static void calls_are_told_as_the_client_knows_the_tools(void **state)
{
    str got = kit_reply("anthropic", OWN, S("{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\","
        "\"model\":\"claude\",\"content\":["
        "{\"type\":\"tool_use\",\"id\":\"t1\",\"name\":\"patch\",\"input\":{\"input\":\"*** x\\n\"}},"
        "{\"type\":\"tool_use\",\"id\":\"t2\",\"name\":\"agents__spawn\",\"input\":{}}],\"stop_reason\":\"tool_use\","
        "\"usage\":{\"input_tokens\":1,\"output_tokens\":2,\"cache_read_input_tokens\":3}}"), asked_tools);
    (void)state;
    kit_has(got, "\"call_id\":\"t1\",\"name\":\"patch\",\"input\":\"*** x\\n\"");
    kit_has(got, "\"call_id\":\"t2\",\"name\":\"spawn\",\"namespace\":\"agents\",\"arguments\":\"{}\"");
    kit_has(got, "\"usage\":{\"input_tokens\":4,\"input_tokens_details\":{\"cached_tokens\":3,\"cache_write_tokens\":0}");
    kit_has(got, "\"temperature\":0.25");
    kit_has(got, "\"previous_response_id\":\"resp_0\"");
    kit_has(got, "\"conversation\":{\"id\":\"conv_1\"}");
    kit_has(got, "\"metadata\":{\"a\":\"b\"}");
    kit_has(got, "\"instructions\":\"i\"");
    kit_has(got, "\"tools\":[{\"type\":\"custom\",\"name\":\"patch\"},{\"type\":\"namespace\",\"name\":\"agents\"");
}

static void foreign_opaque_data_goes_round(void **state)
{
    str got = kit_reply("anthropic", OWN, S("{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\","
        "\"model\":\"claude\",\"content\":["
        "{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"EqSig==\"},{\"type\":\"redacted_thinking\",\"data\":\"Red\"},"
        "{\"type\":\"text\",\"text\":\"a\"}],\"stop_reason\":\"end_turn\",\"usage\":{\"input_tokens\":1,"
        "\"output_tokens\":2}}"), NULL);
    struct json j = *talk_json(got);
    struct buf next = { 0 };
    (void)state;
    buf_str(&next, S("{\"model\":\"m\",\"input\":["));
    JSON_EACH_ITEM(&j, json_get(&j, 0, S("output")), item) {
        buf_str(&next, json_raw(&j, item));
        buf_char(&next, ',');
    }
    buf_str(&next, S("{\"role\":\"user\",\"content\":\"more\"}]}"));
    str body = buf_to_arena(&next, a);
    assert_true(dialect_openai_responses.carries_foreign(body));
    struct kit_request k = kit_request(OWN, "anthropic", body, "claude", false);
    assert_int_equal(k.rc, 0);
    kit_has(k.body, "\"thinking\":\"hm\",\"signature\":\"EqSig==\"");
    kit_has(k.body, "\"data\":\"Red\"");
    k = kit_request(OWN, OWN, body, "gpt", false);                      /* but OpenAI must not get it */
    kit_lacks(k.body, "EqSig");
    kit_lacks(k.body, "sbx1");
    assert_true(kit_warned(&k.t, "reasoning"));
}

/* ---- streams ---- */

static const char chat_stream[] =
    "{\"id\":\"c1\",\"created\":7,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","
    "\"content\":\"\"}}]}\n"
    "{\"id\":\"c1\",\"created\":7,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"}}]}\n"
    "{\"id\":\"c1\",\"created\":7,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo\"}}]}\n"
    "{\"id\":\"c1\",\"created\":7,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,"
    "\"id\":\"k1\",\"type\":\"function\","
    "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":\"}}]}}]}\n"
    "{\"id\":\"c1\",\"created\":7,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,"
    "\"function\":{\"arguments\":\"1}\"}}]}}]}\n"
    "{\"id\":\"c1\",\"created\":7,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n"
    "{\"id\":\"c1\",\"created\":7,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,"
    "\"total_tokens\":7}}\n"
    "[DONE]\n";

/* The whole stream, byte for byte; %s: ids, the echo. */
static void a_stream_says_everything_in_order(void **state)
{
    struct answer_context c = kit_context("openai_chat", OWN, NULL);
    char r[48], m[48], f[48];
    str got = kit_stream("openai_chat", OWN, str_of(chat_stream), NULL);
    struct buf out = { 0 };
    (void)state;
    responses_id(r, "resp_", &c, ~0u);
    responses_id(m, "msg_", &c, 0);
    responses_id(f, "fc_", &c, 1);
    static const char head[] = "\"object\":\"response\",\"created_at\":7";
    buf_printf(&out, "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,"
        "\"response\":{\"id\":\"%s\",%s,"
               "\"status\":\"in_progress\",\"error\":null,\"incomplete_details\":null,\"model\":\"m\",\"output\":[],"
               "\"usage\":null," ECHO "}\n\n", r, head);
    buf_printf(&out, "event: response.in_progress\ndata: {\"type\":\"response.in_progress\",\"sequence_number\":1,"
        "\"response\":{\"id\":\"%s\",%s,"
               "\"status\":\"in_progress\",\"error\":null,\"incomplete_details\":null,\"model\":\"m\",\"output\":[],"
               "\"usage\":null," ECHO "}\n\n", r, head);
    buf_printf(&out, "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"sequence_number\":2,"
        "\"output_index\":0,"
               "\"item\":{\"type\":\"message\",\"id\":\"%s\",\"role\":\"assistant\",\"status\":\"in_progress\","
               "\"content\":[]}}\n\n", m);
    buf_printf(&out, "event: response.content_part.added\ndata: {\"type\":\"response.content_part.added\","
        "\"sequence_number\":3,\"item_id\":\"%s\","
               "\"output_index\":0,\"content_index\":0,\"part\":{\"type\":\"output_text\",\"text\":\"\",\"annotations\":[],"
               "\"logprobs\":[]}}\n\n", m);
    buf_printf(&out, "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":4,"
        "\"item_id\":\"%s\","
               "\"output_index\":0,\"content_index\":0,\"delta\":\"Hel\",\"logprobs\":[]}\n\n", m);
    buf_printf(&out, "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":5,"
        "\"item_id\":\"%s\","
               "\"output_index\":0,\"content_index\":0,\"delta\":\"lo\",\"logprobs\":[]}\n\n", m);
    buf_printf(&out, "event: response.output_text.done\ndata: {\"type\":\"response.output_text.done\",\"sequence_number\":6,"
        "\"item_id\":\"%s\","
               "\"output_index\":0,\"content_index\":0,\"text\":\"Hello\",\"logprobs\":[]}\n\n", m);
    buf_printf(&out, "event: response.content_part.done\ndata: {\"type\":\"response.content_part.done\",\"sequence_number\":7,"
        "\"item_id\":\"%s\","
               "\"output_index\":0,\"content_index\":0,\"part\":{\"type\":\"output_text\",\"text\":\"Hello\","
               "\"annotations\":[],\"logprobs\":[]}}\n\n", m);
    buf_printf(&out, "event: response.output_item.done\ndata: {\"type\":\"response.output_item.done\",\"sequence_number\":8,"
        "\"output_index\":0,"
               "\"item\":{\"type\":\"message\",\"id\":\"%s\",\"role\":\"assistant\",\"status\":\"completed\","
               "\"content\":[{\"type\":\"output_text\","
               "\"text\":\"Hello\",\"annotations\":[],\"logprobs\":[]}]}}\n\n", m);
    buf_printf(&out, "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"sequence_number\":9,"
        "\"output_index\":1,"
               "\"item\":{\"type\":\"function_call\",\"id\":\"%s\",\"call_id\":\"k1\",\"name\":\"f\",\"arguments\":\"\","
               "\"status\":\"in_progress\"}}\n\n", f);
    buf_printf(&out, "event: response.function_call_arguments.delta\ndata: {"
        "\"type\":\"response.function_call_arguments.delta\",\"sequence_number\":10,"
               "\"item_id\":\"%s\",\"output_index\":1,\"delta\":\"{\\\"a\\\":\"}\n\n", f);
    buf_printf(&out, "event: response.function_call_arguments.delta\ndata: {"
        "\"type\":\"response.function_call_arguments.delta\",\"sequence_number\":11,"
               "\"item_id\":\"%s\",\"output_index\":1,\"delta\":\"1}\"}\n\n", f);
    buf_printf(&out, "event: response.function_call_arguments.done\ndata: {\"type\":\"response.function_call_arguments.done\","
        "\"sequence_number\":12,"
               "\"item_id\":\"%s\",\"output_index\":1,\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}\n\n", f);
    buf_printf(&out, "event: response.output_item.done\ndata: {\"type\":\"response.output_item.done\",\"sequence_number\":13,"
        "\"output_index\":1,"
               "\"item\":{\"type\":\"function_call\",\"id\":\"%s\",\"call_id\":\"k1\",\"name\":\"f\","
               "\"arguments\":\"{\\\"a\\\":1}\",\"status\":\"completed\"}}\n\n", f);
    buf_printf(&out, "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":14,"
        "\"response\":{\"id\":\"%s\",%s,"
               "\"status\":\"completed\",\"error\":null,\"incomplete_details\":null,\"model\":\"m\","
               "\"output\":[{\"type\":\"message\",\"id\":\"%s\","
               "\"role\":\"assistant\",\"status\":\"completed\",\"content\":[{\"type\":\"output_text\",\"text\":\"Hello\","
               "\"annotations\":[],\"logprobs\":[]}]},"
               "{\"type\":\"function_call\",\"id\":\"%s\",\"call_id\":\"k1\",\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\","
               "\"status\":\"completed\"}],"
               "\"usage\":{\"input_tokens\":3,\"input_tokens_details\":{\"cached_tokens\":0,\"cache_write_tokens\":0},"
               "\"output_tokens\":4,"
               "\"output_tokens_details\":{\"reasoning_tokens\":0},\"total_tokens\":7}," ECHO "}\n\n", r, head, m, f);
    str expected = buf_to_arena(&out, a);
    if (!str_eq(got, expected)) {
        size_t at = 0;
        while (at < got.len && at < expected.len && got.ptr[at] == expected.ptr[at])
            at++;
        print_message("differ at %zu: got %.200s\nexpected %.200s\n", at, got.ptr + at, expected.ptr + at);
        fail();
    }
}

static str only(str events, const char *word, bool keeps)       /* events whose name has the word, or has it not */
{
    struct buf out = { 0 };
    while (events.len) {
        str event = str_upto(events, (size_t)str_find(events, S("\n\n")) + 2);
        events = str_from(events, event.len);
        str name = event;
        name = str_cut(&name, '\n');
        if ((str_find(name, str_of(word)) >= 0) == keeps)
            buf_str(&out, event);
    }
    return buf_to_arena(&out, a);
}

static const char thinking_stream[] =
    "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"mu\",\"thought\":true}],\"role\":\"model\"},\"index\":0}],"
    "\"modelVersion\":\"g\",\"responseId\":\"abc\"}\n"
    "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"ll\",\"thought\":true}],\"role\":\"model\"},\"index\":0}]}\n"
    "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"An\"}],\"role\":\"model\"},\"index\":0}]}\n"
    "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"swer\",\"thoughtSignature\":\"QUJD\"}],\"role\":\"model\"},"
    "\"index\":0,\"groundingMetadata\":{"
    "\"groundingChunks\":[{\"web\":{\"uri\":\"http://x\",\"title\":\"X\"}}],\"groundingSupports\":[{"
    "\"segment\":{\"endIndex\":2},\"groundingChunkIndices\":[0]}]}}]}\n"
    "{\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"patch\",\"args\":{\"input\":\"a\\nb\"}},"
    "\"thoughtSignature\":\"REVG\"}],\"role\":\"model\"},"
    "\"finishReason\":\"STOP\",\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":8,\"candidatesTokenCount\":5,"
    "\"thoughtsTokenCount\":3}}\n";

static void a_reader_needs_only_what_is_said_last(void **state)
{
    str whole = kit_stream("gemini", OWN, str_of(thinking_stream), asked_tools);
    (void)state;
    kit_has(whole, "\"type\":\"custom_tool_call\"");
    kit_has(whole, "\"delta\":\"a\\nb\"");
    kit_has(whole, "sbx1:gemini:last:REVG");
    kit_has(whole, "response.output_text.annotation.added");
    assert_true(str_eq(kit_stream(OWN, OWN, whole, asked_tools), whole));       /* and the same again */
    str last = only(whole, "response.completed", true);
    static const struct { const char *word; bool keeps; } servers[] = {
        { "delta", false }, { "output_text", false }, { ".added", false }, { "output_item", false },
        { "response.completed", true },
    };
    for (size_t i = 0; i < COUNT_OF(servers); i++) {
        str got = kit_stream(OWN, OWN, only(whole, servers[i].word, servers[i].keeps), asked_tools);
        str end = only(got, "response.completed", true);
        str x = str_from(end, (size_t)str_find(end, S("\"output\":["))),
            y = str_from(last, (size_t)str_find(last, S("\"output\":[")));
        if (!str_eq(x, y))
            print_message("server without %s\n%.*s\n%.*s\n", servers[i].word, (int)x.len, x.ptr, (int)y.len, y.ptr);
        assert_true(str_eq(x, y));
    }
}

static void a_collected_stream_has_the_phase_of_its_messages(void **state)
{
    struct reply r;
    struct failure f;
    (void)state;
#define MESSAGE(id, phase) "{\"type\":\"message\",\"id\":\"" id "\",\"role\":\"assistant\",\"phase\":\"" phase "\",\"content\":["
    assert_int_equal(talk_collect(&dialect_openai_responses,
        "data: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"odd\":1}}\n\n"
        "data: {\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":" MESSAGE("msg_1", "commentary") "]}}\n\n"
        "data: {\"type\":\"response.output_text.delta\",\"output_index\":0,\"item_id\":\"msg_1\",\"delta\":\"a\"}\n\n"
        "data: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"status\":\"completed\",\"output\":["
        MESSAGE("msg_1", "commentary") "{\"type\":\"output_text\",\"text\":\"a\",\"annotations\":[]}]},"
        MESSAGE("msg_2", "final_answer") "{\"type\":\"output_text\",\"text\":\"b\"}]}]}}\n\n", &r, &f), 0);
    str got = talk_reply_write(&dialect_openai_responses, &r);
    kit_has(got, "\"odd\":1");
    assert_text(talk_at(got, "output.0.phase"), "\"commentary\"");
    assert_text(talk_at(got, "output.0.content.0.text"), "\"a\"");
    assert_text(talk_at(got, "output.1.phase"), "\"final_answer\"");
}

static void a_stream_that_breaks_says_so(void **state)
{
    static const struct { const char *events, *expected; } cases[] = {
        { "{\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\"}}\n{\"type\":\"response.output_text.delta\","
            "\"delta\":\"x\"}\n",
          "event: response.failed" },
        { "{\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\"}}\n{\"type\":\"response.failed\","
            "\"response\":{\"error\":{\"code\":"
          "\"rate_limit_exceeded\",\"message\":\"slow\"}}}\n", "\"error\":{\"code\":\"rate_limit_exceeded\","
          "\"message\":\"slow\"}" },
        { "{\"type\":\"error\",\"code\":\"server_error\",\"message\":\"boom\",\"param\":null,\"sequence_number\":0}\n",
          "event: error\ndata: {\"type\":\"error\",\"sequence_number\":0,\"code\":\"server_error\",\"message\":\"boom\","
          "\"param\":null}" },
        { "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"bad\"}}\n", "\"message\":\"bad\"" },
        { "{\"error\":{\"message\":\"naked\"}}\n", "\"message\":\"naked\"" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        kit_has(kit_stream(OWN, OWN, str_of(cases[i].events), NULL), cases[i].expected);
}

static void an_answer_cut_short_has_an_incomplete_item(void **state)
{
    str got = kit_stream("openai_chat", OWN, S("{\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,"
        "\"delta\":{\"tool_calls\":[{\"id\":\"k\","
        "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\"}}]}}]}\n{\"choices\":[{\"index\":0,\"delta\":{},"
        "\"finish_reason\":\"length\"}]}\n[DONE]\n"), NULL);
    (void)state;
    kit_has(got, "event: response.incomplete");
    kit_has(got, "\"arguments\":\"{\\\"a\",\"status\":\"incomplete\"");
    kit_has(got, "\"incomplete_details\":{\"reason\":\"max_output_tokens\"}");
}

/* ---- errors ---- */

static void what_tools_brought_reaches_policy(void **state)
{
    (void)state;
    assert_text(talk_results(&dialect_openai_responses, "{\"model\":\"m\",\"input\":[{\"role\":\"user\",\"content\":\"q\"},"
        "{\"type\":\"function_call\",\"call_id\":\"a\",\"name\":\"f\",\"arguments\":\"{}\"},"
        "{\"type\":\"function_call_output\",\"call_id\":\"a\",\"output\":\"old\"},"
        "{\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"done\"}]},{\"role\":\"user\",\"content\":\"and?\"},"
        "{\"type\":\"function_call\",\"call_id\":\"b\",\"name\":\"f\",\"arguments\":\"{}\"},"
        "{\"type\":\"function_call_output\",\"call_id\":\"b\",\"output\":[{\"type\":\"input_text\",\"text\":\"two\\nlines\"},"
        "{\"type\":\"input_image\",\"image_url\":\"https://x/y\"},{\"type\":\"input_text\",\"text\":\"more\"}]},"
        "{\"type\":\"custom_tool_call\",\"call_id\":\"c\",\"name\":\"g\",\"input\":\"x\"},"
        "{\"type\":\"custom_tool_call_output\",\"call_id\":\"c\",\"output\":\"free\"},"
        "{\"type\":\"function_call\",\"call_id\":\"d\",\"name\":\"f\",\"arguments\":\"{}\"},"
        "{\"type\":\"function_call_output\",\"call_id\":\"d\",\"output\":{\"k\": \"v\"}}]}"),
        "old | *two\nlines more | *free | *{\"k\": \"v\"}");
}

static void errors_have_four_members(void **state)
{
    struct buf out = { 0 };
    struct json j;
    struct failure f;
    (void)state;
    dialect_openai_responses.error_write(&(struct failure){ .status = 429, .kind = FAILURE_RATE_LIMIT, .message = S("slow") },
                                         &out);
    str body = buf_to_arena(&out, a);
    assert_json(body, ("{\"error\":{\"message\":\"slow\",\"type\":\"rate_limit_error\",\"param\":null,"
        "\"code\":\"rate_limit_exceeded\"}}"));
    j = *talk_json(body);
    assert_true(dialect_openai_responses.error_read(a, &j, 429, &f));
    assert_int_equal(f.kind, FAILURE_RATE_LIMIT);
    j = *talk_json(S("{\"error\":{\"message\":\"m\",\"code\":\"insufficient_quota\"}}"));
    assert_true(dialect_openai_responses.error_read(a, &j, 429, &f));
    assert_int_equal(f.kind, FAILURE_BILLING);
    j = *talk_json(S("{\"detail\":\"x\"}"));
    assert_false(dialect_openai_responses.error_read(a, &j, 400, &f));
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, talk_begin, talk_end)
    const struct CMUnitTest tests[] = {
        CLAIM(its_own_requests_come_back_whole), CLAIM(an_answer_is_one_turn), CLAIM(foreign_requests_become_items),
        CLAIM(what_cannot_be_said_is_refused_by_name), CLAIM(mistakes_are_told_with_their_place),
        CLAIM(long_names_are_renamed_and_named_back), CLAIM(its_own_answers_come_back_whole), CLAIM(stops_have_their_statuses),
        CLAIM(a_failed_answer_is_no_answer), CLAIM(calls_are_told_as_the_client_knows_the_tools),
        CLAIM(foreign_opaque_data_goes_round), CLAIM(a_stream_says_everything_in_order),
        CLAIM(a_reader_needs_only_what_is_said_last), CLAIM(a_collected_stream_has_the_phase_of_its_messages),
        CLAIM(a_stream_that_breaks_says_so),
        CLAIM(an_answer_cut_short_has_an_incomplete_item), CLAIM(what_tools_brought_reaches_policy), CLAIM(errors_have_four_members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
