/* generateContent, both directions. */
#include "translation_kit.h"

#include "dialect/gemini.h"

#define OWN "gemini"

/* ---- requests ---- */

static void its_own_requests_come_back_whole(void **state)
{
    static const char *const bodies[] = {
        "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"look\"},{\"inlineData\":{\"mimeType\":\"image/png\","
        "\"data\":\"iVBORw0KGgo=\","
        "\"displayName\":\"a.png\"},\"mediaResolution\":{\"level\":\"LOW\"}},{\"fileData\":{\"mimeType\":\"video/mp4\","
        "\"fileUri\":\"gs://b/x\"},"
        "\"videoMetadata\":{\"fps\":1}},{\"fileData\":{"
        "\"fileUri\":\"https://generativelanguage.googleapis.com/v1beta/files/abc\"}}]},"
        "{\"role\":\"model\",\"parts\":[{\"text\":\"hm\",\"thought\":true,\"thoughtSignature\":\"QQ==\"},"
        "{\"functionCall\":{\"id\":\"c1\",\"name\":\"f\","
        "\"args\":{\"a\":1.50}},\"thoughtSignature\":\"QUJD\"},{\"functionCall\":{\"name\":\"g\",\"args\":{}}},{\"text\":\"\","
        "\"thoughtSignature\":\"REVG\"},"
        "{\"executableCode\":{\"language\":\"PYTHON\",\"code\":\"1\"}}]},{\"role\":\"user\","
        "\"parts\":[{\"functionResponse\":{\"id\":\"c1\",\"name\":\"f\","
        "\"response\":{\"output\":\"ok\"},\"scheduling\":\"SILENT\"}},{\"functionResponse\":{\"name\":\"g\","
        "\"response\":{\"result\":[1]},\"parts\":["
        "{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"AA==\"}}]}},{\"functionResponse\":{\"name\":\"h\","
        "\"response\":{\"error\":\"boom\"}}}]}]}",
        "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"q\"}]}],\"systemInstruction\":{\"parts\":[{\"text\":\"a\"},"
        "{\"text\":\"b\"}]},"
        "\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\",\"description\":\"d\",\"parameters\":{\"type\":\"OBJECT\","
        "\"properties\":{\"x\":{"
        "\"type\":\"STRING\",\"nullable\":true}}},\"behavior\":\"BLOCKING\"},{\"name\":\"g\","
        "\"parametersJsonSchema\":{\"type\":\"object\"}}]},"
        "{\"googleSearch\":{}},{\"urlContext\":{\"a\":1}}],\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"ANY\","
        "\"allowedFunctionNames\":["
        "\"f\",\"g\"]},\"retrievalConfig\":{\"languageCode\":\"en\"}},\"safetySettings\":[{\"category\":\"C\","
        "\"threshold\":\"OFF\"}],"
        "\"cachedContent\":\"cachedContents/1\",\"labels\":{\"team\":\"x\"},\"newMember\":{\"a\":[null]}}",
        "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"q\"}]}],\"toolConfig\":{"
        "\"functionCallingConfig\":{\"mode\":\"VALIDATED\"}},"
        "\"generationConfig\":{\"temperature\":0.5,\"topP\":0.9,\"topK\":40,\"candidateCount\":2,\"maxOutputTokens\":100,"
        "\"stopSequences\":[\"a\",\"b\"],"
        "\"seed\":-7,\"presencePenalty\":0.1,\"frequencyPenalty\":-0.1,\"responseLogprobs\":true,\"logprobs\":3,"
        "\"responseMimeType\":"
        "\"application/json\",\"responseJsonSchema\":{\"type\":\"object\"},\"thinkingConfig\":{\"thinkingBudget\":-1,"
        "\"includeThoughts\":false,"
        "\"new\":1},\"responseModalities\":[\"TEXT\"],\"speechConfig\":{\"voice\":\"x\"}}}",
        "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"q\"}]}],\"generationConfig\":{"
        "\"thinkingConfig\":{\"thinkingLevel\":\"HIGH\","
        "\"includeThoughts\":true},\"responseMimeType\":\"text/plain\"}}",
        "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"q\"}]}],\"generationConfig\":{"
        "\"thinkingConfig\":{\"thinkingBudget\":0}}}",
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct kit_request k = kit_request(OWN, OWN, str_of(bodies[i]), "gemini-3-pro", false);
        if (k.rc < 0)
            print_message("%s\n", k.err.text);
        assert_int_equal(k.rc, 0);
        assert_json(k.body, bodies[i]);
    }
}

static void snake_case_and_short_forms_are_read(void **state)
{
    struct kit_request k = kit_request(OWN, OWN, S("{\"contents\":{\"parts\":{\"text\":\"q\"}},"
        "\"system_instruction\":\"be brief\","
        "\"generation_config\":{\"max_output_tokens\":\"5\",\"top_p\":0.5,\"thinking_config\":{\"include_thoughts\":true}},"
        "\"tools\":[{\"function_declarations\":[{\"name\":\"f\",\"parameters_json_schema\":{}}]}],"
        "\"tool_config\":{\"function_calling_config\":{\"mode\":\"any\",\"allowed_function_names\":[\"f\"]}}}"), "m", false);
    (void)state;
    assert_int_equal(k.rc, 0);
    assert_int_equal(k.prompt.max_tokens, 5);
    assert_int_equal(k.prompt.choice, CHOICE_TOOL);
    assert_json(k.body, "{\"systemInstruction\":{\"parts\":[{\"text\":\"be brief\"}]},\"contents\":[{\"role\":\"user\","
        "\"parts\":[{\"text\":\"q\"}]}],"
        "\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\",\"parametersJsonSchema\":{}}]}],"
        "\"toolConfig\":{\"functionCallingConfig\":{"
        "\"mode\":\"ANY\",\"allowedFunctionNames\":[\"f\"]}},\"generationConfig\":{\"topP\":0.5,\"maxOutputTokens\":5,"
        "\"thinkingConfig\":{"
        "\"includeThoughts\":true}}}");
}

static void results_find_their_calls(void **state)
{
    struct kit_request k = kit_request(OWN, "anthropic", S("{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"q\"}]},"
        "{\"role\":\"model\",\"parts\":["
        "{\"functionCall\":{\"name\":\"w\",\"args\":{\"c\":1}}},{\"functionCall\":{\"name\":\"w\",\"args\":{\"c\":2}}},"
        "{\"functionCall\":{\"id\":\"x\","
        "\"name\":\"v\",\"args\":{}}}]},{\"role\":\"function\",\"parts\":[{\"functionResponse\":{\"name\":\"w\","
        "\"response\":{\"output\":\"one\"}}},"
        "{\"functionResponse\":{\"name\":\"w\",\"response\":{\"t\":2}}},{\"functionResponse\":{\"id\":\"x\","
        "\"response\":{\"error\":\"no\"}}}]}]}"), "m", false);
    (void)state;
    assert_int_equal(k.rc, 0);
    assert_text(talk_at(k.body, "messages.2.content"),
        "[{\"type\":\"tool_result\",\"tool_use_id\":\"call_gemini_0\",\"content\":\"one\"},{\"type\":\"tool_result\","
        "\"tool_use_id\":\"call_gemini_1\","
        "\"content\":\"{\\\"t\\\":2}\"},{\"type\":\"tool_result\",\"tool_use_id\":\"x\",\"content\":\"no\",\"is_error\":true}]");
    assert_text(k.prompt.turns[2].blocks[2].name, "v");
}

static void schemas_become_json_schema(void **state)
{
    struct kit_request k = kit_request(OWN, "openai_chat", S("{\"contents\":[{\"parts\":[{\"text\":\"q\"}]}],"
        "\"tools\":[{\"functionDeclarations\":["
        "{\"name\":\"f\",\"parameters\":{\"type\":\"OBJECT\",\"properties\":{\"type\":{\"type\":\"STRING\",\"nullable\":true,"
        "\"example\":\"x\"},"
        "\"list\":{\"type\":\"ARRAY\",\"items\":{\"type\":\"INTEGER\"},\"maxItems\":\"3\"},"
        "\"any\":{\"anyOf\":[{\"type\":\"NUMBER\"}]}},"
        "\"required\":[\"type\"],\"propertyOrdering\":[\"type\"]}}]}]}"), "m", false);
    (void)state;
    assert_int_equal(k.rc, 0);
    assert_json(talk_at(k.body, "tools.0.function.parameters"),
        "{\"type\":\"object\",\"properties\":{\"type\":{\"type\":[\"string\",\"null\"],\"examples\":[\"x\"]},"
        "\"list\":{\"type\":\"array\","
        "\"items\":{\"type\":\"integer\"},\"maxItems\":3},\"any\":{\"anyOf\":[{\"type\":\"number\"}]}},\"required\":[\"type\"]}");
}

static void old_models_get_the_openapi_subset(void **state)
{
    str body = S("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"tools\":[{\"type\":\"function\","
        "\"function\":{\"name\":\"f\","
        "\"parameters\":{\"type\":\"object\",\"additionalProperties\":false,\"$defs\":{\"p\":{\"type\":\"object\","
        "\"properties\":{\"n\":{\"const\":1}}}},"
        "\"properties\":{\"a\":{\"$ref\":\"#/$defs/p\"},\"b\":{\"type\":[\"string\",\"null\"]},"
        "\"c\":{\"oneOf\":[{\"type\":\"string\"}]},"
        "\"d\":{\"type\":[\"string\",\"number\"]}}}}}]}");
    (void)state;
    struct kit_request k = kit_request("openai_chat", OWN, body, "gemini-2.0-flash", false);
    assert_int_equal(k.rc, 0);
    assert_json(talk_at(k.body, "tools.0.functionDeclarations.0.parameters"),
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"object\",\"properties\":{\"n\":{\"enum\":[1]}}},"
        "\"b\":{\"type\":\"string\","
        "\"nullable\":true},\"c\":{\"anyOf\":[{\"type\":\"string\"}]},\"d\":{\"anyOf\":[{\"type\":\"string\"},"
        "{\"type\":\"number\"}]}}}");
    k = kit_request("openai_chat", OWN, body, "gemini-2.5-pro", false);
    assert_true(talk_at(k.body, "tools.0.functionDeclarations.0.parametersJsonSchema.$defs").len > 0);
    k = kit_request("openai_chat", OWN, S("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],"
        "\"tools\":[{\"type\":\"function\",\"function\":{"
        "\"name\":\"f\",\"parameters\":{\"$ref\":\"#/properties/x\",\"properties\":{\"x\":{"
        "\"$ref\":\"#\"}}}}}]}"), "gemini-2.0-flash", false);
    assert_int_equal(k.rc, 0);                  /* a schema that refers to itself ends somewhere */
}

static void foreign_requests_become_contents(void **state)
{
    static const struct { const char *from, *model, *body, *expected; } cases[] = {
        { "openai_chat", "gemini-3-pro", "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},"
            "{\"role\":\"user\",\"content\":\"q\"},"
          "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\","
          "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":1}\"}},"
          "{\"id\":\"c2\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"\"}}]},{\"role\":\"tool\","
          "\"tool_call_id\":\"c1\",\"content\":\"one\"},"
          "{\"role\":\"tool\",\"tool_call_id\":\"c2\",\"content\":\"{\\\"a\\\":2}\"},{\"role\":\"user\",\"content\":\"more\"}],"
          "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\"}}}],"
          "\"tool_choice\":\"required\","
          "\"reasoning_effort\":\"low\",\"max_completion_tokens\":9,\"stop\":\"x\",\"seed\":1,"
          "\"response_format\":{\"type\":\"json_object\"}}",
          "{\"systemInstruction\":{\"parts\":[{\"text\":\"s\"}]},\"contents\":[{\"role\":\"user\","
          "\"parts\":[{\"text\":\"q\"}]},{\"role\":\"model\",\"parts\":["
          "{\"functionCall\":{\"id\":\"c1\",\"name\":\"f\",\"args\":{\"x\":1}},"
          "\"thoughtSignature\":\"skip_thought_signature_validator\"},"
          "{\"functionCall\":{\"id\":\"c2\",\"name\":\"g\",\"args\":{}}}]},{\"role\":\"user\","
          "\"parts\":[{\"functionResponse\":{\"id\":\"c1\",\"name\":\"f\","
          "\"response\":{\"output\":\"one\"}}},{\"functionResponse\":{\"id\":\"c2\",\"name\":\"g\",\"response\":{\"a\":2}}},"
          "{\"text\":\"more\"}]}],"
          "\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\",\"parametersJsonSchema\":{\"type\":\"object\"}}]}],"
          "\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"ANY\"}},\"generationConfig\":{\"maxOutputTokens\":9,"
          "\"stopSequences\":[\"x\"],\"seed\":1,"
          "\"responseMimeType\":\"application/json\",\"thinkingConfig\":{\"thinkingLevel\":\"LOW\",\"includeThoughts\":true}}}" },
        { "openai_chat", "gemini-2.5-flash", "{\"model\":\"m\",\"messages\":[{\"role\":\"user\","
            "\"content\":[{\"type\":\"text\",\"text\":\"q\"},{\"type\":\"image_url\","
          "\"image_url\":{\"url\":\"https://x/a.png?b\"}}]}],\"reasoning_effort\":\"high\"}",
          "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"q\"},{\"fileData\":{\"mimeType\":\"image/png\","
          "\"fileUri\":\"https://x/a.png?b\"}}]}],"
          "\"generationConfig\":{\"thinkingConfig\":{\"thinkingBudget\":24576,\"includeThoughts\":true}}}" },
        { "openai_responses", "gemini-3-flash", "{\"model\":\"m\",\"input\":\"q\",\"tools\":[{\"type\":\"custom\","
            "\"name\":\"p\",\"description\":\"d\"},"
          "{\"type\":\"web_search\"}],\"tool_choice\":{\"type\":\"allowed_tools\",\"mode\":\"auto\","
          "\"tools\":[{\"type\":\"custom\",\"name\":\"p\"}]},"
          "\"reasoning\":{\"effort\":\"none\"}}",
          "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"q\"}]}],\"tools\":[{"
          "\"functionDeclarations\":[{\"name\":\"p\",\"description\":\"d\","
          "\"parametersJsonSchema\":{\"type\":\"object\",\"properties\":{\"input\":{\"type\":\"string\"}},"
          "\"required\":[\"input\"],"
          "\"additionalProperties\":false}}]}],\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"VALIDATED\","
          "\"allowedFunctionNames\":[\"p\"]}},"
          "\"generationConfig\":{\"thinkingConfig\":{\"thinkingLevel\":\"MINIMAL\"}}}" },
        { "anthropic", "gemini-2.5-pro", "{\"model\":\"m\",\"max_tokens\":10,\"messages\":[{\"role\":\"user\","
            "\"content\":\"q\"},{\"role\":\"assistant\",\"content\":["
          "{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"Eq\"},{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\","
          "\"input\":{}}]},"
          "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"t\",\"content\":[{\"type\":\"text\","
          "\"text\":\"a\"},{\"type\":\"image\","
          "\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"AA==\"}}]}]}],\"top_k\":5}",
          "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"q\"}]},{\"role\":\"model\","
          "\"parts\":[{\"functionCall\":{\"id\":\"t\",\"name\":\"f\",\"args\":{}}}]},"
          "{\"role\":\"user\",\"parts\":[{\"functionResponse\":{\"id\":\"t\",\"name\":\"f\",\"response\":{\"output\":\"a\"}}},"
          "{\"inlineData\":{\"mimeType\":"
          "\"image/png\",\"data\":\"AA==\"}}]}],\"generationConfig\":{\"topK\":5,\"maxOutputTokens\":10}}" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct kit_request k = kit_request(cases[i].from, OWN, str_of(cases[i].body), cases[i].model, false);
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
        { "openai_chat", "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"stop\":[\"1\",\"2\",\"3\","
            "\"4\",\"5\",\"6\"]}", "stop" },
        { "openai_chat", "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\","
            "\"tool_calls\":[{\"id\":\"c\",\"type\":"
          "\"function\",\"function\":{\"name\":\"f\","
          "\"arguments\":\"{oops\"}}]}]}", "messages[1].tool_calls[0].function.arguments" },
        { "openai_chat", "{\"model\":\"m\",\"messages\":[{\"role\":\"tool\",\"tool_call_id\":\"lost\","
            "\"content\":\"x\"}]}", "messages[0].content" },
        { "openai_chat", "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],"
            "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],"
          "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"g\"}}}", "tool_choice" },
        { "anthropic", "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\","
            "\"source\":{\"type\":\"file\","
          "\"file_id\":\"f1\"}}]}]}", "messages[0].content[0]" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct kit_request k = kit_request(cases[i].from, OWN, str_of(cases[i].body), "gemini-2.5-pro", false);
        assert_int_equal(k.rc, -2);
        assert_text(k.t.param, cases[i].param);
    }
}

static void mistakes_are_told_with_their_place(void **state)
{
    static const struct { const char *body, *sentence; } cases[] = {
        { "{}", "contents: expected at least one content" },
        { "{\"contents\":[{\"role\":\"king\",\"parts\":[]}]}", "contents[0].role: expected user or model" },
        { "{\"contents\":[{\"parts\":[{\"functionCall\":{}}]}]}", "contents[0].parts[0].functionCall.name: "
            "expected a string, but it is missing" },
        { "{\"contents\":[{\"parts\":[{\"inlineData\":{\"mimeType\":\"a/b\"}}]}]}", "contents[0].parts[0].inlineData.data: "
            "expected a string" },
        { "{\"contents\":[{\"parts\":[7]}]}", "contents[0].parts[0]: expected an object, got a number" },
        { "{\"contents\":[{\"parts\":[{\"text\":\"q\"}]}],\"generationConfig\":{"
            "\"maxOutputTokens\":-1}}", "generationConfig.maxOutputTokens: must not" },
        { "{\"contents\":[{\"parts\":[{\"text\":\"q\"}]}],\"generationConfig\":{"
            "\"topP\":\"x\"}}", "generationConfig.topP: expected a number" },
        { "{\"contents\":[{\"parts\":[{\"text\":\"q\"}]}],\"tools\":[{"
            "\"functionDeclarations\":[{}]}]}", "tools[0].functionDeclarations[0].name: expected" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct kit_request k = kit_request(OWN, OWN, str_of(cases[i].body), "m", false);
        assert_int_equal(k.rc, -1);
        kit_has(str_of(k.err.text), cases[i].sentence);
    }
}

/* ---- answers ---- */

static void its_own_answers_come_back_whole(void **state)
{
    static const char *const bodies[] = {
        "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hm\",\"thought\":true},{\"text\":\"hi\","
        "\"thoughtSignature\":\"QUJD\"},{\"functionCall\":{\"id\":\"c\","
        "\"name\":\"f\",\"args\":{\"a\":1}}},{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"AA==\"}},"
        "{\"codeExecutionResult\":{\"outcome\":\"OK\"}}],"
        "\"role\":\"model\"},\"finishReason\":\"STOP\",\"index\":0,\"safetyRatings\":[{\"category\":\"C\"}],"
        "\"avgLogprobs\":-0.5}],\"usageMetadata\":{"
        "\"promptTokenCount\":8,\"candidatesTokenCount\":5,\"totalTokenCount\":16,\"cachedContentTokenCount\":2,"
        "\"thoughtsTokenCount\":3},"
        "\"modelVersion\":\"g\",\"responseId\":\"abc\",\"createTime\":\"now\"}",
        "{\"promptFeedback\":{\"blockReason\":\"SAFETY\"},\"usageMetadata\":{\"promptTokenCount\":8,\"candidatesTokenCount\":0,"
        "\"totalTokenCount\":8},"
        "\"modelVersion\":\"g\",\"responseId\":\"abc\"}",
        "{\"candidates\":[{\"content\":{\"parts\":[],\"role\":\"model\"},\"finishReason\":\"RECITATION\",\"index\":0}],"
        "\"modelVersion\":\"g\",\"responseId\":\"abc\"}",
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bodies); i++)
        assert_json(kit_reply(OWN, OWN, str_of(bodies[i]), NULL), bodies[i]);
}

static void finish_reasons_have_their_meaning(void **state)
{
    static const struct { const char *word; bool has_calls; enum stop_reason stop; } cases[] = {
        { "STOP", false, STOP_END }, { "STOP", true, STOP_TOOLS }, { "MAX_TOKENS", true, STOP_LENGTH },
            { "SAFETY", false, STOP_FILTER },
        { "PROHIBITED_CONTENT", false, STOP_FILTER }, { "MALFORMED_FUNCTION_CALL", false, STOP_MALFORMED },
            { "OTHER", false, STOP_MALFORMED },
        { "", false, STOP_UNKNOWN }, { "A_NEW_FILTER", false, STOP_FILTER },
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(gemini_stop(str_of(cases[i].word), cases[i].has_calls), cases[i].stop);
    kit_has(kit_reply(OWN, "openai_responses", S("{\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}"), NULL),
            "\"incomplete_details\":{\"reason\":\"content_filter\"}");
    kit_has(kit_reply(OWN, OWN, S("{\"usageMetadata\":{}}"), NULL), "!candidates: expected an array with a candidate");
}

static void log_probabilities_and_sources_are_carried(void **state)
{
    str got = kit_reply(OWN, "openai_responses", S("{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}],"
        "\"role\":\"model\"},\"finishReason\":\"STOP\","
        "\"logprobsResult\":{\"chosenCandidates\":[{\"token\":\"a\",\"logProbability\":-0.5}],"
        "\"topCandidates\":[{\"candidates\":[{\"token\":\"b\","
        "\"logProbability\":-1}]}]},\"groundingMetadata\":{\"groundingChunks\":[{\"web\":{\"uri\":\"u\",\"title\":\"t\"}}],"
        "\"groundingSupports\":[{"
        "\"segment\":{\"endIndex\":1},\"groundingChunkIndices\":[0,7]}]}}]}"), NULL);
    (void)state;
    kit_has(got, "\"logprobs\":[{\"token\":\"a\",\"bytes\":[97],\"logprob\":-0.5,\"top_logprobs\":[{\"token\":\"b\","
        "\"bytes\":[98],\"logprob\":-1}]}]");
    kit_has(got, "\"annotations\":[{\"type\":\"url_citation\",\"url\":\"u\",\"title\":\"t\",\"start_index\":0,\"end_index\":1}]");
}

static void foreign_opaque_data_goes_round_as_base64(void **state)
{
    str got = kit_reply("anthropic", OWN, S("{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"c\","
        "\"content\":[{\"type\":\"thinking\","
        "\"thinking\":\"hm\",\"signature\":\"EqSig\"},{\"type\":\"redacted_thinking\",\"data\":\"Red\"},{\"type\":\"text\","
        "\"text\":\"a\"}],"
        "\"stop_reason\":\"end_turn\",\"usage\":{\"input_tokens\":1,\"output_tokens\":2}}"), NULL);
    str parts = talk_at(got, "candidates.0.content");
    str next = arena_printf(a, "{\"contents\":[" STR_FMT ",{\"role\":\"user\",\"parts\":[{\"text\":\"q\"}]}]}", STR_ARG(parts));
    (void)state;
    assert_true(dialect_gemini.carries_foreign(next));
    struct kit_request k = kit_request(OWN, "anthropic", next, "claude", false);
    assert_int_equal(k.rc, 0);
    kit_has(k.body, "{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"EqSig\"}");
    kit_has(k.body, "{\"type\":\"redacted_thinking\",\"data\":\"Red\"}");
    k = kit_request(OWN, OWN, next, "gemini-3-pro", false);
    kit_lacks(k.body, "c2J4MT");
}

static void arguments_cut_short_are_told_as_they_are(void **state)
{
    str got = kit_reply("openai_chat", OWN, S("{\"id\":\"x\",\"model\":\"m\",\"choices\":[{\"finish_reason\":\"length\","
        "\"message\":{\"role\":\"assistant\","
        "\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\","
        "\"arguments\":\"{\\\"a\"}}]}}]}"), NULL);
    (void)state;
    kit_has(got, "\"functionCall\":{\"id\":\"c\",\"name\":\"f\",\"args\":{\"_raw_arguments\":\"{\\\"a\"}}");
    kit_has(got, "\"finishReason\":\"MAX_TOKENS\"");
}

/* ---- streams ---- */

static void a_stream_is_whole_responses_with_crlf(void **state)
{
    str got = kit_stream("openai_chat", OWN, S(
        "{\"id\":\"c1\",\"created\":7,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","
        "\"content\":\"\"}}]}\n"
        "{\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"}}]}\n"
        "{\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo\"}}]}\n"
        "{\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"k\","
        "\"function\":{\"name\":\"f\",\"arguments\":\"{\\n\"}}]}}]}\n"
        "{\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,"
        "\"function\":{\"arguments\":\"\\\"a\\\": 1}\"}}]}}]}\n"
        "{\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n"
        "{\"id\":\"c1\",\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,"
        "\"total_tokens\":7}}\n[DONE]\n"), NULL);
    (void)state;
#define TAIL ",\"modelVersion\":\"m\",\"responseId\":\"c1\"}\r\n\r\n"
    assert_text(got,
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hel\"}],\"role\":\"model\"},\"index\":0}]" TAIL
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"lo\"}],\"role\":\"model\"},\"index\":0}]" TAIL
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"id\":\"k\",\"name\":\"f\",\"args\":{\"a\":1}}}],"
        "\"role\":\"model\"},\"index\":0}]" TAIL
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}],\"role\":\"model\"},\"finishReason\":\"STOP\","
        "\"index\":0}],"
        "\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":4,\"totalTokenCount\":7}" TAIL);
}

static void a_stream_ends_with_the_connection_and_a_reason(void **state)
{
    (void)state;
    kit_has(kit_stream(OWN, "openai_responses", S("{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\n"
            "{\"candidates\":[{\"finishReason\":\"STOP\"}],\"usageMetadata\":{"
            "\"promptTokenCount\":1}}\n"), NULL), "event: response.completed");
    kit_has(kit_stream(OWN, "openai_responses", S("{\"candidates\":[{\"content\":{\"parts\":[{"
        "\"text\":\"a\"}]}}]}\n"), NULL), "event: response.failed");
    kit_has(kit_stream(OWN, "openai_responses", S("{\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\n"), NULL), "event: "
        "response.incomplete");
    kit_has(kit_stream(OWN, OWN, S("{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\n[{\"error\":{\"code\":503,"
        "\"message\":\"busy\",\"status\":"
            "\"UNAVAILABLE\"}}]\n"), NULL), "data: {\"error\":{\"code\":503,\"message\":\"busy\","
            "\"status\":\"UNAVAILABLE\"}}\r\n\r\n");
}

/* ---- around it ---- */

static void what_tools_brought_reaches_policy(void **state)
{
    (void)state;
    assert_text(talk_results(&dialect_gemini, "{\"contents\":[{\"parts\":[{\"text\":\"q\"}]},"
        "{\"role\":\"model\",\"parts\":[{\"text\":\"I look.\"},{\"functionCall\":{\"name\":\"f\",\"args\":{}}}]},"
        "{\"role\":\"user\",\"parts\":[{\"functionResponse\":{\"name\":\"f\",\"response\":{\"output\":\"old\"}}}]},"
        "{\"role\":\"model\",\"parts\":[{\"text\":\"Again.\"},{\"functionCall\":{\"name\":\"f\",\"args\":{}}},"
        "{\"functionCall\":{\"name\":\"g\",\"args\":{}}}]},"
        "{\"role\":\"function\",\"parts\":[{\"functionResponse\":{\"name\":\"f\",\"response\":{\"k\": \"v\", \"n\": [1]}}},"
        "{\"functionResponse\":{\"name\":\"g\",\"response\":{\"error\":\"no\"}}}]}]}"),
        "old | *{\"k\":\"v\",\"n\":[1]} | *no");
}

static void errors_have_google_s_words(void **state)
{
    static const struct { const char *body; int status; enum failure_kind kind; } cases[] = {
        { "{\"error\":{\"code\":429,\"message\":\"m\",\"status\":\"RESOURCE_EXHAUSTED\"}}", 429, FAILURE_RATE_LIMIT },
        { "[{\"error\":{\"code\":404,\"message\":\"m\",\"status\":\"NOT_FOUND\"}}]", 404, FAILURE_NOT_FOUND },
        { "{\"error\":{\"code\":400,\"message\":\"m\",\"status\":\"INVALID_ARGUMENT\",\"details\":[{"
            "\"reason\":\"API_KEY_INVALID\"}]}}", 401, FAILURE_AUTH },
        { "{\"error\":{\"message\":\"m\"}}", 500, FAILURE_SERVER },
    };
    struct failure f;
    struct buf out = { 0 };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_true(dialect_gemini.error_read(a, talk_json(str_of(cases[i].body)), 0, &f));
        assert_int_equal(f.status, cases[i].status);
        assert_int_equal(f.kind, cases[i].kind);
    }
    assert_false(dialect_gemini.error_read(a, talk_json(S("{\"candidates\":[]}")), 400, &f));
    dialect_gemini.error_write(&(struct failure){ .status = 503, .kind = FAILURE_OVERLOADED, .message = S("m") }, &out);
    assert_text(buf_to_arena(&out, a), "{\"error\":{\"code\":503,\"message\":\"m\",\"status\":\"UNAVAILABLE\"}}");
}

static void counting_and_listing(void **state)
{
    struct prompt p;
    struct err e = { 0 };
    struct buf out = { 0 };
    (void)state;
    assert_int_equal(gemini_count_read(a, talk_json(S("{\"contents\":[{\"parts\":[{\"text\":\"q\"}]}]}")), NULL, &p, &e), 0);
    assert_int_equal(p.n_turns, 1);
    assert_int_equal(gemini_count_read(a, talk_json(S("{\"generateContentRequest\":{\"model\":\"models/g\","
        "\"contents\":[{\"parts\":[{\"text\":\"q\"}]}],"
        "\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\"}]}]}}")), NULL, &p, &e), 0);
    assert_int_equal(p.n_tools, 1);
    assert_text(p.model, "g");
    dialect_gemini.count_write(31, &out);
    assert_text(buf_to_arena(&out, a), "{\"totalTokens\":31,\"promptTokensDetails\":[{\"modality\":\"TEXT\","
        "\"tokenCount\":31}]}");
    gemini_models_write((struct gemini_model[]){ { S("a\"b"), S("d"), 100, 0 } }, 1, &out);
    assert_text(buf_to_arena(&out, a), "{\"models\":[{\"name\":\"models/a\\\"b\",\"version\":\"001\","
        "\"displayName\":\"a\\\"b\",\"description\":\"d\","
        "\"inputTokenLimit\":100,\"supportedGenerationMethods\":[\"generateContent\",\"streamGenerateContent\","
        "\"countTokens\"]}]}");
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, talk_begin, talk_end)
    const struct CMUnitTest tests[] = {
        CLAIM(its_own_requests_come_back_whole), CLAIM(snake_case_and_short_forms_are_read), CLAIM(results_find_their_calls),
        CLAIM(schemas_become_json_schema), CLAIM(old_models_get_the_openapi_subset), CLAIM(foreign_requests_become_contents),
        CLAIM(what_cannot_be_said_is_refused_by_name), CLAIM(mistakes_are_told_with_their_place),
            CLAIM(its_own_answers_come_back_whole),
        CLAIM(finish_reasons_have_their_meaning), CLAIM(log_probabilities_and_sources_are_carried),
        CLAIM(foreign_opaque_data_goes_round_as_base64), CLAIM(arguments_cut_short_are_told_as_they_are),
        CLAIM(a_stream_is_whole_responses_with_crlf), CLAIM(a_stream_ends_with_the_connection_and_a_reason),
        CLAIM(what_tools_brought_reaches_policy), CLAIM(errors_have_google_s_words), CLAIM(counting_and_listing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
