/* Which row serves a backend, and where its requests go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "provider/provider.h"

static void names_and_formats_choose_the_row(void **state)
{
    (void)state;
    static const struct { const char *name, *format, *row; } table[] = {
        { "", "", "vllm" }, { "chat", "openai", "vllm" }, { "OpenAI", "openai", "openai" }, { "nobody", "", NULL },
        { "anthropic", "openai", "anthropic" }, { "anthropic", "anthropic", "anthropic" },
        { "openai", "anthropic", "openai" }, { "", "anthropic", "anthropic" }, { "vllm", "anthropic", "anthropic" },
        { "openai", "responses", "openai-responses" }, { "vllm", "responses", "openai-responses" },
        { "azure-openai", "responses", "azure-openai-responses" }, { "azure-openai", "anthropic", NULL },
        { "gemini", "openai", "gemini" }, { "gemini", "gemini", "google-gemini" }, { "", "gemini", "google-gemini" },
        { "vertex-ai", "", "vertex-ai" }, { "vertex-ai", "gemini", "google-vertex" },
        { "vertex-ai", "anthropic", "vertex-anthropic" }, { "google-vertex", "anthropic", "vertex-anthropic" },
        { "google-vertex", "gemini", "google-vertex" }, { "google-vertex", "bedrock", NULL },
        { "bedrock", "openai", "bedrock" }, { "bedrock", "bedrock", "aws-bedrock" },
        { "bedrock", "bedrock_invoke", "aws-bedrock-invoke" }, { "aws-bedrock", "anthropic", "aws-bedrock-invoke" },
        { "encoder", "anthropic", NULL }, { "openai", "nonsense", NULL }, { "llama.cpp", "", "llamacpp" },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        const struct provider_ops *p = provider_choose(str_of(table[i].name), str_of(table[i].format));
        if (!p != !table[i].row || (p && !str_eq(p->name, str_of(table[i].row))))
            fail_msg("%s + %s", table[i].name, table[i].format);
    }
}

static void assert_path(const char *name, struct provider_place at, bool is_streaming, const char *expected)
{
    const struct provider_ops *p = provider_by_name(str_of(name));
    struct buf out = { 0 };
    assert_non_null(p);
    assert_non_null(p->path_write);
    p->path_write(&at, is_streaming, &out);
    buf_char(&out, 0);
    assert_string_equal(out.ptr, expected);
    buf_free(&out);
}

static void azure_has_two_generations_of_paths(void **state)
{
    (void)state;
    assert_path("azure-openai", (struct provider_place){ .model = S("gpt 4o"), .api_version = S("2024-10-21") }, false,
                "/openai/deployments/gpt%204o/chat/completions?api-version=2024-10-21");
    assert_path("azure-openai",
                (struct provider_place){ .base_path = S("/openai/deployments/d"), .api_version = S("2024-10-21") }, false,
                "/openai/deployments/d/chat/completions?api-version=2024-10-21");      /* as VSR's files write it */
    assert_path("azure-openai", (struct provider_place){ .model = S("d") }, false, "/openai/v1/chat/completions");
    assert_path("azure-openai", (struct provider_place){ .base_path = S("/openai/v1"), .api_version = S("preview") }, false,
                "/openai/v1/chat/completions?api-version=preview");
    assert_path("azure-openai-responses", (struct provider_place){ .api_version = S("2025-04-01-preview") }, true,
                "/openai/responses?api-version=2025-04-01-preview");
    assert_path("azure-openai-responses", (struct provider_place){ .api_version = S("v1") }, true, "/openai/v1/responses");
}

static void messages_stand_below_v1_once(void **state)
{
    (void)state;
    assert_path("anthropic", (struct provider_place){ 0 }, true, "/v1/messages");
    assert_path("anthropic", (struct provider_place){ .base_path = S("/v1") }, true, "/v1/messages");
    assert_path("anthropic", (struct provider_place){ .base_path = S("/proxy/anthropic") }, true, "/proxy/anthropic/v1/messages");
}

static void gemini_names_model_and_method_in_the_path(void **state)
{
    (void)state;
    assert_path("google-gemini", (struct provider_place){ .model = S("gemini-3-pro") }, false,
                "/v1beta/models/gemini-3-pro:generateContent");
    assert_path("google-gemini",
                (struct provider_place){ .model = S("models/gemini-3-pro"), .base_path = S("/v1beta/openai") }, true,
                "/v1beta/models/gemini-3-pro:streamGenerateContent?alt=sse");
    assert_path("google-gemini", (struct provider_place){ .model = S("tunedModels/a/../b"), .base_path = S("/v1") }, false,
                "/v1/tunedModels/a%2F..%2Fb:generateContent");
}

static void vertex_names_project_and_place(void **state)
{
    (void)state;
    struct provider_place at = { .model = S("claude-opus-4@20250514"), .project = S("p-1"), .location = S("us-east5") };
    assert_path("vertex-anthropic", at, false,
                "/v1/projects/p-1/locations/us-east5/publishers/anthropic/models/claude-opus-4@20250514:rawPredict");
    at.location = S("");
    assert_path("vertex-anthropic", at, true,
                "/v1/projects/p-1/locations/global/publishers/anthropic/models/claude-opus-4@20250514:streamRawPredict");
    at.model = S("gemini-2.5-pro");
    assert_path("google-vertex", at, true,
                "/v1/projects/p-1/locations/global/publishers/google/models/gemini-2.5-pro:streamGenerateContent?alt=sse");
    assert_path("vertex-ai", at, true, "/v1/projects/p-1/locations/global/endpoints/openapi/chat/completions");
    assert_path("vertex-ai", (struct provider_place){ .base_path = S("/x") }, true, "/x/chat/completions");
}

static void bedrock_escapes_the_model_once(void **state)
{
    (void)state;
    assert_path("aws-bedrock", (struct provider_place){ .model = S("anthropic.claude-v2:0") }, true,
                "/model/anthropic.claude-v2%3A0/converse-stream");
    assert_path("aws-bedrock-invoke",
                (struct provider_place){ .model = S("arn:aws:bedrock:us-east-1:1:inference-profile/us.x") }, false,
                "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.x/invoke");
}

static void a_key_never_goes_to_the_inventor_of_a_format(void **state)
{
    (void)state;
    static const struct { const char *name, *format, *dialect, *host; } table[] = {
        { "groq", "responses", "openai_responses", "api.groq.com" }, { "openrouter", "anthropic", "anthropic", "openrouter.ai" },
        { "openai", "anthropic", "anthropic", "api.openai.com" }, { "openai", "responses", "openai_responses", "api.openai.com" },
        { "gemini", "gemini", "gemini", "generativelanguage.googleapis.com" },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        const struct provider_ops *p = provider_choose(str_of(table[i].name), str_of(table[i].format));
        assert_non_null(p);
        assert_string_equal(p->dialect, table[i].dialect);
        assert_true(str_eq(p->default_host, str_of(table[i].host)));
    }
    assert_null(provider_choose(S("groq"), S("gemini")));       /* a house does not speak Google's format */
    assert_true(str_eq(provider_choose(S("ollama"), S("gemini"))->name, S("google-gemini")));    /* a server may */
}

static void hosts_are_known_by_name_and_place(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    static const struct { const char *name, *location, *host; } table[] = {
        { "openai", "", "api.openai.com" }, { "vllm", "", "" },
        { "google-vertex", "us-east5", "us-east5-aiplatform.googleapis.com" },
        { "google-vertex", "global", "aiplatform.googleapis.com" }, { "google-vertex", "", "" },
        { "aws-bedrock", "eu-central-1", "bedrock-runtime.eu-central-1.amazonaws.com" },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        str host = provider_default_host(provider_by_name(str_of(table[i].name)), str_of(table[i].location), a);
        assert_string_equal(arena_cstr(a, host), table[i].host);
    }
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_formats_choose_the_row), cmocka_unit_test(azure_has_two_generations_of_paths),
        cmocka_unit_test(messages_stand_below_v1_once), cmocka_unit_test(gemini_names_model_and_method_in_the_path),
        cmocka_unit_test(vertex_names_project_and_place), cmocka_unit_test(bedrock_escapes_the_model_once),
        cmocka_unit_test(a_key_never_goes_to_the_inventor_of_a_format), cmocka_unit_test(hosts_are_known_by_name_and_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
