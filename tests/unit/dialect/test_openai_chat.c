/* Chat Completions in and out: what is kept, what is mapped, what is refused, and streams of untidy servers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <math.h>

#include "decide/facts.h"
#include "dialect/openai_chat_parts.h"
#include "dialect/openai_chat_parse.h"

static struct arena *a;

static int begin(void **state)
{
    (void)state;
    a = arena_new();
    return 0;
}

static int finish(void **state)
{
    (void)state;
    arena_free(a);
    return 0;
}

static const struct json *parsed(str text)
{
    struct json *j = ARENA_NEW(a, struct json);
    struct json_error e;
    if (json_parse(a, text, j, &e) < 0)
        fail_msg("%s at %zu of %.*s", e.what, e.at, STR_ARG(text));
    return j;
}

static struct prompt prompt_of(const char *body)
{
    struct prompt p;
    struct err e = { 0 };
    if (openai_chat_request_read(a, parsed(str_of(body)), NULL, &p, &e) < 0)
        fail_msg("%s", e.text);
    return p;
}

/* Are two JSON values the same, whatever the order of members? */
static bool same(const struct json *x, jref i, const struct json *y, jref k)
{
    if (json_kind(x, i) != json_kind(y, k))
        return false;
    double u = 0, v = 0;
    switch (json_kind(x, i)) {
    case JSON_STRING:
        return str_eq(json_str(x, i, a), json_str(y, k, a));
    case JSON_NUMBER:
        json_double(x, i, &u);
        json_double(y, k, &v);
        return u >= v && u <= v;
    case JSON_ARRAY:
        if (json_count(x, i) != json_count(y, k))
            return false;
        jref other = k + 1;
        JSON_EACH_ITEM(x, i, item) {
            if (!same(x, item, y, other))
                return false;
            other = y->nodes[other].next;
        }
        return true;
    case JSON_OBJECT:
        if (json_count(x, i) != json_count(y, k))
            return false;
        JSON_EACH_PAIR(x, i, key, value) {
            jref there = json_get(y, k, json_str(x, key, a));
            if (there == JSON_NONE || !same(x, value, y, there))
                return false;
        }
        return true;
    default:
        return true;
    }
}

static str written(const struct prompt *p, const struct target *to, struct translation *t)
{
    struct buf out = { 0 };
    t->a = a;
    if (openai_chat_request_write(p, to, t, &out) < 0) {
        buf_free(&out);
        return S("");
    }
    return buf_to_arena(&out, a);
}

/* ---- requests ---- */

static const char *const requests[] = {
    "{\"model\":\"m\",\"messages\":[]}",
    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi \\\"you\\\"\\n\"}]}",
    "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"\"}]}",
    "{\"model\":\"m\",\"messages\":[{\"role\":\"developer\",\"content\":\"d\",\"name\":\"n\"},{\"role\":\"critic\",\"content\":\"x\"}]}",
    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\",\"x\":1}]}]}",
    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x/y.png\",\"detail\":\"high\"}}]}]}",
    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,AAAA\",\"z\":[1]},\"y\":2}]}]}",
    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"AAAA\",\"format\":\"wav\"}}]}]}",
    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"file\",\"file\":{\"file_id\":\"file-1\"}}]}]}",
    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"file\",\"file\":{\"file_data\":\"data:application/pdf;base64,JVBERi0=\",\"filename\":\"a.pdf\"}}]}]}",
    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"video_url\",\"video_url\":{\"url\":\"u\"}},{\"type\":\"text\",\"text\":\"?\"}]}]}",
    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\",\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"1h\"}}]}]}",
    "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":\"ok\",\"refusal\":\"no\",\"audio\":{\"id\":\"x\"}}]}",
    "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":[{\"type\":\"refusal\",\"refusal\":\"no\"},{\"type\":\"text\",\"text\":\"t\"}]}]}",
    "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"reasoning_content\":\"hm\",\"content\":\"ok\"}]}",
    "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\": [1, 2]}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"42\"}]}",
    "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\",\"x\":1},\"index\":0},{\"id\":\"c2\",\"type\":\"custom\",\"custom\":{\"name\":\"g\",\"input\":\"free text\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}]},{\"role\":\"tool\",\"tool_call_id\":\"c2\",\"content\":\"\",\"y\":true}]}",
    "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"},\"extra_content\":{\"google\":{\"thought_signature\":\"SIG\"}}}]}]}",
    "{\"model\":\"m\",\"messages\":[],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\",\"parameters\":{\"type\":\"object\",\"$defs\":{}},\"strict\":true}}],\"tool_choice\":\"required\",\"parallel_tool_calls\":false}",
    "{\"model\":\"m\",\"messages\":[],\"tools\":[{\"type\":\"custom\",\"custom\":{\"name\":\"g\",\"description\":\"d\",\"format\":{\"type\":\"text\"}}}],\"tool_choice\":{\"type\":\"custom\",\"custom\":{\"name\":\"g\"}}}",
    "{\"model\":\"m\",\"messages\":[],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}}",
    "{\"model\":\"m\",\"messages\":[],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}},{\"type\":\"function\",\"function\":{\"name\":\"g\"}}],\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"auto\",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]}}}",
    "{\"model\":\"m\",\"messages\":[],\"tools\":[{\"type\":\"web_search\",\"a\":1}],\"tool_choice\":\"auto\"}",
    "{\"model\":\"m\",\"messages\":[],\"response_format\":{\"type\":\"json_object\"}}",
    "{\"model\":\"m\",\"messages\":[],\"response_format\":{\"type\":\"text\"}}",
    "{\"model\":\"m\",\"messages\":[],\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"s\",\"description\":\"d\",\"schema\":{\"type\":\"object\"},\"strict\":false}}}",
    "{\"model\":\"m\",\"messages\":[],\"stream\":true,\"stream_options\":{\"include_usage\":true,\"include_obfuscation\":false}}",
    "{\"model\":\"m\",\"messages\":[],\"max_completion_tokens\":7,\"temperature\":0.1,\"top_p\":1,\"presence_penalty\":-1.5,\"frequency_penalty\":2,\"seed\":-3,\"n\":2,\"top_k\":5,\"logprobs\":true,\"top_logprobs\":0}",
    "{\"model\":\"m\",\"messages\":[],\"stop\":[\"a\",\"b\"],\"user\":\"u\",\"metadata\":{\"k\":\"v\"},\"verbosity\":\"low\",\"prompt_cache_key\":\"k\",\"service_tier\":\"flex\",\"reasoning_effort\":\"high\"}",
    "{\"model\":\"m\",\"messages\":[],\"logit_bias\":{\"1\":-100},\"prediction\":{\"type\":\"content\"},\"modalities\":[\"text\"],\"chat_template_kwargs\":{\"a\":{}},\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2000}}",
    "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":\"x\",\"annotations\":[{\"type\":\"url_citation\"}],\"prefix\":true}]}",
    "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"thinking_blocks\":[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"S\"},{\"type\":\"redacted_thinking\",\"data\":\"D\"}],\"content\":\"x\"}]}",
    "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"hm\",\"signature\":\"S\",\"format\":\"anthropic-claude-v1\",\"index\":0},{\"type\":\"reasoning.encrypted\",\"data\":\"D\",\"id\":\"rs_1\",\"format\":\"openai-responses-v1\"}],\"content\":\"x\"}]}",
    "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":\"hm\"}]},{\"type\":\"text\",\"text\":\"x\"}]}]}",
};

static void every_member_comes_back(void **state)
{
    (void)state;
    struct target to = { .model = S("m") };
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        struct prompt p = prompt_of(requests[i]);
        struct translation t = { 0 };
        str back = written(&p, &to, &t);
        const struct json *was = parsed(str_of(requests[i])), *is = parsed(back);
        if (!same(was, 0, is, 0))
            fail_msg("%s\nbecame\n%s", requests[i], arena_cstr(a, back));
        assert_int_equal(t.n_warnings, 0);
    }
}

static void policy_sees_the_same_as_before(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        struct prompt p = prompt_of(requests[i]);
        struct chat was, is;
        struct err e = { 0 };
        assert_int_equal(openai_chat_parse(a, parsed(str_of(requests[i])), SIZES_AS_SENT, &was, &e), 0);
        prompt_chat(a, &p, &is);
        assert_int_equal(was.n_messages, is.n_messages);
        assert_int_equal(was.n_tools, is.n_tools);
        assert_int_equal(was.output_reserve, is.output_reserve);
        assert_int_equal(was.is_streaming, is.is_streaming);
        assert_int_equal(was.has_response_format, is.has_response_format);
        assert_int_equal(was.n_metadata, is.n_metadata);
        assert_true(str_eq(was.model, is.model) && str_eq(was.user, is.user));
        if (was.structured_bytes != is.structured_bytes)
            fail_msg("%s: %zu, not %zu", requests[i], (size_t)is.structured_bytes, (size_t)was.structured_bytes);
        for (uint32_t k = 0; k < was.n_messages; k++) {
            const struct message *x = &was.messages[k], *y = &is.messages[k];
            bool is_known = !strstr(requests[i], "thinking") && !strstr(requests[i], "reasoning_details");
            assert_int_equal(x->role, y->role);
            assert_int_equal(x->n_texts, y->n_texts);
            assert_int_equal(x->n_images, y->n_images);
            assert_int_equal(x->n_tool_calls, y->n_tool_calls);
            if (is_known && (x->text_bytes != y->text_bytes || x->structured_bytes != y->structured_bytes))
                fail_msg("%s: message %u: %zu %zu, not %zu %zu", requests[i], k, (size_t)y->text_bytes,
                         (size_t)y->structured_bytes, (size_t)x->text_bytes, (size_t)x->structured_bytes);
            assert_true(str_eq(message_text(x, a), message_text(y, a)));
        }
    }
}

static void wrong_requests_are_refused_with_their_path(void **state)
{
    (void)state;
    static const struct { const char *body, *sentence; } table[] = {
        { "[]", "malformed JSON body: expected an object, got an array" },
        { "{\"model\":\"m\"}", "messages field is required" },
        { "{\"messages\":[]}", "model field is required" },
        { "{\"model\":\"m\",\"messages\":{}}", "messages field must be an array, got an object" },
        { "{\"model\":\"m\",\"messages\":[1]}", "messages[0]: expected an object, got a number" },
        { "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":5}]}",
          "messages[0].content: expected a string or an array, got a number" },
        { "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]}",
          "messages[0].content[0].text: expected a string, but it is missing" },
        { "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":1}}]}]}",
          "messages[0].tool_calls[0].function.name: expected a string, got a number" },
        { "{\"model\":\"m\",\"messages\":[],\"tools\":[{\"type\":\"function\",\"function\":{}}]}",
          "tools[0].function.name: expected a string, but it is missing" },
        { "{\"model\":\"m\",\"messages\":[],\"temperature\":\"hot\"}", "temperature: expected a number, got a string" },
        { "{\"model\":\"m\",\"messages\":[],\"n\":-1}", "n: must not be negative" },
        { "{\"model\":\"m\",\"messages\":[],\"stop\":[1]}", "stop[0]: expected a string, got a number" },
        { "{\"model\":\"m\",\"messages\":[],\"response_format\":{\"type\":\"json_schema\"}}",
          "response_format.json_schema: expected an object, but it is missing" },
        { "{\"model\":\"m\",\"messages\":[],\"tool_choice\":\"sometimes\"}",
          "tool_choice: expected auto, none, required or an object" },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct prompt p;
        struct err e = { 0 };
        assert_int_equal(openai_chat_request_read(a, parsed(str_of(table[i].body)), NULL, &p, &e), -1);
        assert_string_equal(e.text, table[i].sentence);
    }
}

static void the_older_form_is_read_as_the_newer_one(void **state)
{
    (void)state;
    struct prompt p = prompt_of("{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":null,\"function_call\":"
                                "{\"name\":\"f\",\"arguments\":\"{}\"}},{\"role\":\"function\",\"name\":\"f\",\"content\":\"42\"}],"
                                "\"functions\":[{\"name\":\"f\",\"parameters\":{\"type\":\"object\"}}],\"function_call\":{\"name\":\"f\"}}");
    struct translation t = { 0 };
    str out = written(&p, &(struct target){ .model = S("m") }, &t);
    assert_string_equal(out.ptr,
        "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"call_function_0\",\"type\":"
        "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"call_function_0\","
        "\"content\":\"42\"}],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\"}}}],"
        "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}}");
}

/* ---- foreign prompts ---- */

static struct prompt foreign(struct turn *turns, uint32_t n)
{
    static const struct dialect_ops other = { .name = "anthropic" };
    return (struct prompt){ .dialect = &other, .turns = turns, .n_turns = n, .includes_usage = 1, .parallel_tool_calls = -1,
                            .temperature = NAN, .top_p = NAN, .top_k = -1, .presence_penalty = NAN, .frequency_penalty = NAN,
                            .logprobs = -1, .top_logprobs = -1, .schema_strict = -1 };
}

static void results_stand_before_what_the_user_says(void **state)
{
    (void)state;
    struct block call = { .kind = BLOCK_TOOL_CALL, .call_id = S("c1"), .name = S("f") };
    struct block text = { .kind = BLOCK_TEXT, .text = S("42") };
    struct block shown[] = { text, { .kind = BLOCK_IMAGE, .media = { .data = S("iVBORw0K"), .media_type = S("image/png") } } };
    struct block said[] = {
        { .kind = BLOCK_TOOL_RESULT, .call_id = S("c1"), .content = shown, .n_content = 2 },
        { .kind = BLOCK_TOOL_RESULT, .call_id = S("c2"), .content = &text, .n_content = 1, .is_error = true },
        { .kind = BLOCK_TEXT, .text = S("go on") },
    };
    struct turn turns[] = { { .role = ROLE_ASSISTANT, .blocks = &call, .n = 1 }, { .role = ROLE_ASSISTANT, .blocks = &call, .n = 1 },
                            { .role = ROLE_USER, .blocks = said, .n = 3 } };
    struct prompt p = foreign(turns, 3);
    struct translation t = { 0 };
    p.max_tokens = 5;
    str out = written(&p, &(struct target){ .model = S("m"), .max_tokens_is_old = true }, &t);
    assert_string_equal(out.ptr,
        "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\","
        "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\","
        "\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"42\"},{\"role\":\"tool\",\"tool_call_id\":"
        "\"c2\",\"content\":\"Error: 42\"},{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":"
        "\"data:image/png;base64,iVBORw0K\"}},{\"type\":\"text\",\"text\":\"go on\"}]}],\"max_tokens\":5}");
}

static void losses_are_told_or_refused(void **state)
{
    (void)state;
    struct block thought = { .kind = BLOCK_REASONING, .text = S("hm"), .signature = S("S") };
    struct turn turn = { .role = ROLE_ASSISTANT, .blocks = &thought, .n = 1 };
    struct prompt p = foreign(&turn, 1);
    struct translation t = { 0 };
    struct target to = { .model = S("m"), .stops_max = 1 };
    p.top_k = 3;
    assert_string_equal(written(&p, &to, &t).ptr,
                        "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":\"\"}]}");
    assert_int_equal(t.n_warnings, 3);              /* the thought, top_k, and that the assistant spoke last */
    p.n_stops = 2;
    p.stops = (str[]){ S("a"), S("b") };
    t = (struct translation){ 0 };
    assert_int_equal(written(&p, &to, &t).len, 0);
    assert_string_equal(arena_cstr(a, t.param), "stop_sequences");
    t = (struct translation){ 0 };
    to.drops_unsupported = true;
    to.wants_reasoning_content = true;
    assert_string_equal(written(&p, &to, &t).ptr, "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"reasoning_content\":"
                                                  "\"hm\",\"content\":\"\"}],\"stop\":[\"a\"]}");
}

static void a_forced_tool_must_exist(void **state)
{
    (void)state;
    struct prompt p = foreign(NULL, 0);
    struct tool f = { .name = S("f"), .strict = -1 };
    struct translation t = { 0 };
    p.tools = &f;
    p.n_tools = 1;
    p.choice = CHOICE_TOOL;
    p.chosen = (str[]){ S("g") };
    p.n_chosen = 1;
    assert_int_equal(written(&p, &(struct target){ .model = S("m") }, &t).len, 0);
    assert_string_equal(t.refusal.text, "tool_choice: there is no tool 'g'");
}

static void signatures_of_google_go_to_google_alone(void **state)
{
    (void)state;
    struct block call = { .kind = BLOCK_TOOL_CALL, .call_id = S("c"), .name = S("f"), .signature = S("SIG"), .origin = S("gemini") };
    struct turn turn = { .role = ROLE_ASSISTANT, .blocks = &call, .n = 1 };
    struct prompt p = foreign(&turn, 1);
    struct target to = { .model = S("m"), .keeps_google_signatures = true };
    struct translation t = { 0 };
    assert_true(str_find(written(&p, &to, &t), S("\"extra_content\":{\"google\":{\"thought_signature\":\"SIG\"}}")) > 0);
    call.origin = S("");                            /* the client's own, which is Anthropic's */
    t = (struct translation){ 0 };
    assert_int_equal(str_find(written(&p, &to, &t), S("SIG")), -1);
    assert_true(t.n_warnings > 0 && str_eq(t.warnings[0].field, S("thoughtSignature")));
}

static void openrouter_gets_its_own_signed_thoughts_back(void **state)
{
    (void)state;
    struct block thoughts[] = { { .kind = BLOCK_REASONING, .text = S("hm"), .signature = S("S"), .origin = S("openai_chat") },
                                { .kind = BLOCK_REASONING, .text = S("no"), .signature = S("A") } };
    struct turn turn = { .role = ROLE_ASSISTANT, .blocks = thoughts, .n = 2 };
    struct prompt p = foreign(&turn, 1);
    struct translation t = { 0 };
    assert_string_equal(written(&p, &(struct target){ .model = S("m"), .keeps_cache_control = true }, &t).ptr,
                        "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"reasoning_details\":[{\"type\":\"reasoning.text\","
                        "\"text\":\"hm\",\"signature\":\"S\"}],\"content\":\"\"}]}");
}

static void ids_and_names_are_changed_and_changed_back(void **state)
{
    (void)state;
    struct block calls[] = { { .kind = BLOCK_TOOL_CALL, .call_id = S("toolu_0123456789"), .name = S("mcp:read file"), .arguments = S("{}") } };
    struct turn turn = { .role = ROLE_ASSISTANT, .blocks = calls, .n = 1 };
    struct prompt p = foreign(&turn, 1);
    struct translation t = { 0 };
    str out = written(&p, &(struct target){ .model = S("m"), .call_id_max = 9 }, &t);
    const struct json *j = parsed(out);
    str id = json_str(j, json_path(j, "messages.0.tool_calls.0.id"), a);
    str name = json_str(j, json_path(j, "messages.0.tool_calls.0.function.name"), a);
    assert_int_equal(id.len, 9);
    assert_int_equal(str_chr(name, ':'), -1);
    assert_true(str_eq(translation_name_back(&t, id), S("toolu_0123456789")));
    assert_true(str_eq(translation_name_back(&t, name), S("mcp:read file")));
}

static void compatible_servers_get_what_they_know(void **state)
{
    (void)state;
    struct prompt p = foreign(NULL, 0);
    struct block mark = { .kind = BLOCK_TEXT, .text = S("be nice"), .cache_control = S("{\"type\":\"ephemeral\"}") };
    struct tool g = { .kind = TOOL_CUSTOM, .name = S("g"), .description = S("d"), .strict = -1 };
    struct target to = { .model = S("m"), .lacks_strict = true, .lacks_custom_tools = true, .is_plain = true, .lacks_parallel = true,
                         .lacks_json_schema = true, .max_tokens_is_old = true, .lacks_stream_options = true };
    struct translation t = { 0 };
    p.system = &mark;
    p.n_system = 1;
    p.tools = &g;
    p.n_tools = 1;
    p.parallel_tool_calls = 0;
    p.output = OUTPUT_JSON_SCHEMA;
    p.schema = S("{\"type\":\"object\"}");
    p.reasoning = REASONING_ON;
    p.reasoning_effort = S("max");
    p.is_streaming = true;
    const struct json *j = parsed(written(&p, &to, &t));
    assert_true(str_eq(json_raw(j, json_path(j, "response_format")), S("{\"type\":\"json_object\"}")));
    assert_true(str_eq(json_raw(j, json_path(j, "reasoning_effort")), S("\"high\"")));
    assert_true(str_eq(json_raw(j, json_path(j, "tools.0.type")), S("\"function\"")));
    assert_true(json_path(j, "stream_options") == JSON_NONE && json_path(j, "parallel_tool_calls") == JSON_NONE);
    assert_true(str_starts(json_str(j, json_path(j, "messages.0.content"), a), S("be nice\n\n")));
}

/* ---- answers ---- */

static struct answer_context context(const struct prompt *p)
{
    return (struct answer_context){ .a = a, .prompt = p, .request_id = S("r1"), .model = S("asked"), .now = 9, .includes_usage = true };
}

static struct reply reply_of(const char *body)
{
    struct reply r;
    struct err e = { 0 };
    if (openai_chat_reply_read(a, parsed(str_of(body)), &r, &e) < 0)
        fail_msg("%s", e.text);
    return r;
}

static str reply_written(const struct reply *r, const struct prompt *p)
{
    struct buf out = { 0 };
    struct answer_context c = context(p);
    dialect_openai_chat.reply_write(r, &c, &out);
    return buf_to_arena(&out, a);
}

static void an_answer_comes_back_as_it_was(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":5,\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":"
        "\"assistant\",\"content\":\"hi\",\"refusal\":null,\"annotations\":[{\"type\":\"url_citation\",\"url_citation\":{\"url\":\"u\"}}]},"
        "\"logprobs\":{\"content\":[{\"token\":\"hi\",\"logprob\":-0.5,\"bytes\":null,\"top_logprobs\":[]}],\"refusal\":null},"
        "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7,\"prompt_tokens_details\":"
        "{\"cached_tokens\":2,\"audio_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":1,\"audio_tokens\":0,"
        "\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}},\"service_tier\":\"default\",\"system_fingerprint\":\"fp\","
        "\"x\":{\"y\":1}}",
        "{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":5,\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":"
        "\"assistant\",\"content\":null,\"refusal\":null,\"reasoning_content\":\"hm\",\"thinking_blocks\":[{\"type\":\"thinking\","
        "\"thinking\":\"hm\",\"signature\":\"S\"}],\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\","
        "\"arguments\":\"{}\"},\"extra_content\":{\"google\":{\"thought_signature\":\"G\"}}},{\"id\":\"c2\",\"type\":\"custom\",\"custom\":"
        "{\"name\":\"g\",\"input\":\"x\"}}]},\"logprobs\":null,\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":0,"
        "\"completion_tokens\":0,\"total_tokens\":0,\"prompt_tokens_details\":{\"cached_tokens\":0,\"audio_tokens\":0},"
        "\"completion_tokens_details\":{\"reasoning_tokens\":0,\"audio_tokens\":0,\"accepted_prediction_tokens\":0,"
        "\"rejected_prediction_tokens\":0}}}",
    };
    struct prompt p = prompt_of("{\"model\":\"m\",\"messages\":[]}");
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        struct reply r = reply_of(answers[i]);
        str back = reply_written(&r, &p);
        if (!same(parsed(str_of(answers[i])), 0, parsed(back), 0))
            fail_msg("%s\nbecame\n%s", answers[i], arena_cstr(a, back));
    }
}

static void untidy_answers_are_read(void **state)
{
    (void)state;
    struct reply r = reply_of("{\"choices\":[{\"finish_reason\":\"stop\",\"message\":{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\","
                              "\"thinking\":[{\"type\":\"text\",\"text\":\"hm\"}]},{\"type\":\"text\",\"text\":\"ok\"}],\"tool_calls\":[{"
                              "\"function\":{\"name\":\"f\",\"arguments\":{\"a\": 1}}}]}}],\"usage\":{\"prompt_tokens\":5,"
                              "\"completion_tokens\":1,\"prompt_cache_hit_tokens\":4}}");
    assert_int_equal(r.n, 3);
    assert_int_equal(r.blocks[0].kind, BLOCK_REASONING);
    assert_string_equal(arena_cstr(a, r.blocks[2].arguments), "{\"a\":1}");
    assert_int_equal(r.stop, STOP_TOOLS);
    assert_int_equal(r.usage.cached_tokens, 4);
    struct err e = { 0 };
    assert_int_equal(openai_chat_reply_read(a, parsed(S("{\"choices\":[]}")), &r, &e), -1);
    assert_string_equal(e.text, "choices: expected an array with one item at least");
    e = (struct err){ 0 };
    assert_int_equal(openai_chat_reply_read(a, parsed(S("{\"error\":{\"message\":\"busy\"}}")), &r, &e), -1);
    assert_string_equal(e.text, "the provider answered with an error: busy");
}

static void old_clients_are_answered_in_their_form(void **state)
{
    (void)state;
    struct prompt p = prompt_of("{\"model\":\"m\",\"messages\":[],\"functions\":[{\"name\":\"f\"}]}");
    struct block call = { .kind = BLOCK_TOOL_CALL, .call_id = S("c"), .name = S("f") };
    struct reply r = { .blocks = &call, .n = 1, .stop = STOP_TOOLS };
    const struct json *j = parsed(reply_written(&r, &p));
    assert_true(str_eq(json_raw(j, json_path(j, "choices.0.message.function_call")), S("{\"name\":\"f\",\"arguments\":\"{}\"}")));
    assert_true(str_eq(json_raw(j, json_path(j, "choices.0.finish_reason")), S("\"function_call\"")));
    assert_true(str_eq(json_raw(j, json_path(j, "id")), S("\"chatcmpl-r1\"")));
    assert_true(str_eq(json_raw(j, json_path(j, "created")), S("9")));
}

/* ---- streams ---- */

struct through { void *writer; struct buf out; };

static void write_delta(void *arg, const struct delta *d)
{
    struct through *x = arg;
    dialect_openai_chat.writer_delta(x->writer, d, &x->out);
}

/* Events in, events out; each element of `events` is the data of one. */
static str streamed(const char *const *events, size_t n, const struct prompt *p, bool wants_usage)
{
    struct answer_context c = context(p);
    c.includes_usage = wants_usage;
    struct through x = { .writer = dialect_openai_chat.writer_new(&c) };
    struct delta_sink to_writer = { write_delta, &x };
    struct order *o = order_new(a, 1, &to_writer);
    struct delta_sink to_order = { order_take, o };
    void *reader = dialect_openai_chat.reader_new(a);
    for (size_t i = 0; i < n; i++) {
        struct arena *scratch = arena_new();
        struct stream_event e = { .data = str_of(events[i]) };
        assert_int_equal(dialect_openai_chat.reader_event(reader, scratch, &e, &to_order), 0);
        arena_free(scratch);
    }
    order_end(o, dialect_openai_chat.ends_without_word);
    order_free(o);
    dialect_openai_chat.reader_free(reader);
    dialect_openai_chat.writer_free(x.writer);
    return buf_to_arena(&x.out, a);
}

#define STREAM(...) streamed((const char *const[]){ __VA_ARGS__ }, \
                             sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *), &p, false)
#define CHUNK(delta, finish) \
    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":5,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":" delta \
    ",\"logprobs\":null,\"finish_reason\":" finish "}]}\n\n"
#define FIRST "{\"id\":\"c\",\"created\":5,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}"
#define SAID(delta) "{\"choices\":[{\"delta\":" delta "}]}"
#define STOPPED(word) "{\"choices\":[{\"delta\":{},\"finish_reason\":\"" word "\"}]}"

static void a_stream_has_the_exact_sequence(void **state)
{
    (void)state;
    struct prompt p = prompt_of("{\"model\":\"m\",\"messages\":[]}");
    const char *const events[] = { FIRST, SAID("{\"content\":\"he\"}"), SAID("{\"content\":\"llo\"}"), STOPPED("stop"),
                                   "{\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}", "[DONE]" };
    str out = streamed(events, COUNT_OF(events), &p, true);
#define HEAD "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":5,\"model\":\"m\",\"choices\":["
    assert_string_equal(out.ptr,
        HEAD "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n"
        HEAD "{\"index\":0,\"delta\":{\"content\":\"he\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n"
        HEAD "{\"index\":0,\"delta\":{\"content\":\"llo\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n"
        HEAD "{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":null}\n\n"
        HEAD "],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5,\"prompt_tokens_details\":{\"cached_tokens\":0,"
        "\"audio_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":0,\"audio_tokens\":0,\"accepted_prediction_tokens\":0,"
        "\"rejected_prediction_tokens\":0}}}\n\ndata: [DONE]\n\n");
}

static void whole_calls_without_index_are_told_in_pieces(void **state)
{
    (void)state;
    struct prompt p = prompt_of("{\"model\":\"m\",\"messages\":[]}");
    str out = STREAM(FIRST, SAID("{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"x\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}}]}"),
                     SAID("{\"tool_calls\":[{\"id\":\"y\",\"function\":{\"name\":\"g\",\"arguments\":{}}}]}"), STOPPED("stop"));
    assert_string_equal(out.ptr,
        CHUNK("{\"role\":\"assistant\",\"content\":\"\"}", "null")
        CHUNK("{\"tool_calls\":[{\"index\":0,\"id\":\"x\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}", "null")
        CHUNK("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\\\":1}\"}}]}", "null")
        CHUNK("{\"tool_calls\":[{\"index\":1,\"id\":\"y\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"\"}}]}", "null")
        CHUNK("{\"tool_calls\":[{\"index\":1,\"function\":{\"arguments\":\"{}\"}}]}", "null")
        CHUNK("{}", "\"tool_calls\"") "data: [DONE]\n\n");
}

static void a_call_without_arguments_has_an_empty_object(void **state)
{
    (void)state;
    struct prompt p = prompt_of("{\"model\":\"m\",\"messages\":[]}");
    str out = STREAM(FIRST, SAID("{\"tool_calls\":[{\"index\":0,\"id\":\"x\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}"),
                     STOPPED("tool_calls"));
    assert_true(str_find(out, S("{\"index\":0,\"function\":{\"arguments\":\"{}\"}}")) > 0);
}

static void the_same_index_with_another_id_is_another_call(void **state)
{
    (void)state;
    struct prompt p = prompt_of("{\"model\":\"m\",\"messages\":[]}");
    str out = STREAM(FIRST, SAID("{\"tool_calls\":[{\"index\":0,\"id\":\"x\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}"),
                     SAID("{\"tool_calls\":[{\"index\":0,\"id\":\"y\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]}"), STOPPED("tool_calls"));
    assert_true(str_find(out, S("\"index\":1,\"id\":\"y\"")) > 0);
}

static void a_name_that_comes_late_is_waited_for(void **state)
{
    (void)state;
    struct prompt p = prompt_of("{\"model\":\"m\",\"messages\":[]}");
    str out = STREAM(FIRST, SAID("{\"tool_calls\":[{\"index\":0,\"id\":\"x\",\"function\":{\"arguments\":\"{\"}}]}"),
                     SAID("{\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":\"}\"}}]}"), STOPPED("tool_calls"));
    assert_true(str_find(out, S("\"name\":\"f\",\"arguments\":\"\"")) > 0);
    assert_true(str_find(out, S("\"arguments\":\"{\"")) > 0 && str_find(out, S("\"arguments\":\"}\"")) > 0);
}

static void reasoning_keeps_its_signature_beside_it(void **state)
{
    (void)state;
    struct prompt p = prompt_of("{\"model\":\"m\",\"messages\":[]}");
    str out = STREAM(FIRST, SAID("{\"reasoning_content\":\"h\"}"), SAID("{\"reasoning_content\":\"m\"}"),
                     SAID("{\"thinking_blocks\":[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"S\"}]}"),
                     SAID("{\"content\":\"x\"}"), STOPPED("stop"), "[DONE]");
    assert_string_equal(out.ptr,
        CHUNK("{\"role\":\"assistant\",\"content\":\"\"}", "null")
        CHUNK("{\"reasoning_content\":\"h\"}", "null") CHUNK("{\"reasoning_content\":\"m\"}", "null")
        CHUNK("{\"thinking_blocks\":[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"S\"}]}", "null")
        CHUNK("{\"content\":\"x\"}", "null") CHUNK("{}", "\"stop\"") "data: [DONE]\n\n");
}

static void a_break_is_an_error_and_no_end(void **state)
{
    (void)state;
    struct prompt p = prompt_of("{\"model\":\"m\",\"messages\":[]}");
    str out = STREAM(FIRST, SAID("{\"content\":\"x\"}"));
    assert_int_equal(str_find(out, S("[DONE]")), -1);
    assert_true(str_ends(out, S("data: {\"error\":{\"message\":\"the provider's stream broke off\",\"type\":\"upstream_error\","
                                "\"param\":null,\"code\":\"upstream_stream_broken\"}}\n\n")));
    out = STREAM(FIRST, "{\"error\":{\"message\":\"busy\",\"type\":\"overloaded_error\",\"code\":null,\"param\":null}}", "[DONE]");
    assert_true(str_ends(out, S("data: {\"error\":{\"message\":\"busy\",\"type\":\"overloaded_error\",\"param\":null,\"code\":null}}\n\n")));
}

static void custom_tools_that_travelled_as_functions_are_unwrapped(void **state)
{
    (void)state;
    struct prompt p = prompt_of("{\"model\":\"m\",\"messages\":[],\"tools\":[{\"type\":\"custom\",\"custom\":{\"name\":\"g\"}}]}");
    str out = STREAM(FIRST, SAID("{\"tool_calls\":[{\"index\":0,\"id\":\"x\",\"function\":{\"name\":\"g\",\"arguments\":\"{\\\"inp\"}}]}"),
                     SAID("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"ut\\\":\\\"a b\\\"}\"}}]}"), STOPPED("tool_calls"));
    assert_true(str_find(out, S("{\"index\":0,\"id\":\"x\",\"type\":\"custom\",\"custom\":{\"name\":\"g\",\"input\":\"\"}}")) > 0);
    assert_true(str_find(out, S("{\"index\":0,\"custom\":{\"input\":\"a b\"}}")) > 0);
}

/* ---- errors ---- */

static void every_error_shape_is_read(void **state)
{
    (void)state;
    static const struct { const char *body; int status; const char *message, *code, *param; enum failure_kind kind; } table[] = {
        { "{\"error\":{\"message\":\"m\",\"type\":\"t\",\"code\":\"c\",\"param\":\"p\"}}", 400, "m", "c", "p", FAILURE_INVALID },
        { "{\"error\":\"text\"}", 404, "text", "", "", FAILURE_NOT_FOUND },
        { "{\"message\":\"m\",\"code\":40}", 400, "m", "40", "", FAILURE_INVALID },
        { "{\"object\":\"error\",\"message\":\"m\",\"type\":\"BadRequestError\",\"param\":null,\"code\":400}", 400, "m", "400", "", FAILURE_INVALID },
        { "{\"detail\":\"Not Found\"}", 404, "Not Found", "", "", FAILURE_NOT_FOUND },
        { "{\"detail\":[{\"loc\":[\"body\",\"messages\",0,\"role\"],\"msg\":\"field required\"}]}", 422, "field required", "",
          "messages[0].role", FAILURE_INVALID },
        { "[{\"error\":{\"code\":429,\"message\":\"m\",\"status\":\"RESOURCE_EXHAUSTED\"}}]", 429, "m", "429", "", FAILURE_RATE_LIMIT },
        { "{\"error\":{\"message\":\"m\",\"code\":\"insufficient_quota\"}}", 429, "m", "insufficient_quota", "", FAILURE_BILLING },
        { "{\"error\":{\"message\":\"m\",\"innererror\":{\"code\":\"ResponsibleAIPolicyViolation\"}}}", 400, "m",
          "ResponsibleAIPolicyViolation", "", FAILURE_INVALID },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct failure f;
        assert_true(dialect_openai_chat.error_read(a, parsed(str_of(table[i].body)), table[i].status, &f));
        assert_string_equal(arena_cstr(a, f.message), table[i].message);
        assert_string_equal(arena_cstr(a, f.code), table[i].code);
        assert_string_equal(arena_cstr(a, f.param), table[i].param);
        assert_int_equal(f.kind, table[i].kind);
    }
    struct failure f;
    assert_false(dialect_openai_chat.error_read(a, parsed(S("{\"x\":1}")), 500, &f));
    assert_false(dialect_openai_chat.error_read(a, parsed(S("\"x\"")), 500, &f));
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(every_member_comes_back), T(policy_sees_the_same_as_before), T(wrong_requests_are_refused_with_their_path),
        T(the_older_form_is_read_as_the_newer_one), T(results_stand_before_what_the_user_says), T(losses_are_told_or_refused),
        T(a_forced_tool_must_exist), T(signatures_of_google_go_to_google_alone),
        T(openrouter_gets_its_own_signed_thoughts_back), T(ids_and_names_are_changed_and_changed_back), T(compatible_servers_get_what_they_know),
        T(an_answer_comes_back_as_it_was), T(untidy_answers_are_read), T(old_clients_are_answered_in_their_form),
        T(a_stream_has_the_exact_sequence), T(whole_calls_without_index_are_told_in_pieces),
        T(a_call_without_arguments_has_an_empty_object),
        T(the_same_index_with_another_id_is_another_call), T(a_name_that_comes_late_is_waited_for),
        T(reasoning_keeps_its_signature_beside_it), T(a_break_is_an_error_and_no_end),
        T(custom_tools_that_travelled_as_functions_are_unwrapped), T(every_error_shape_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
