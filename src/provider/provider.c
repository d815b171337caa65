/* provider/provider.c -- the table. Facts: spec 02, 4.9; spec 04, 4.8; the providers' own pages on their OpenAI-compatible APIs.
 *
 * `bedrock`, `gemini` and `vertex-ai` mean the OpenAI-compatible endpoints of these houses, as in VSR's files. Their own
 * formats have rows of their own (aws-bedrock, google-gemini, ...), which a model reaches by `api_format`, too. */
#include "provider/provider.h"

#include <pthread.h>

#include "net/http.h"

#define OPENAI_PATHS { S("/chat/completions"), S("/completions"), S("/embeddings") }
#define RESPONSES_PATHS { S("/responses"), S("/completions"), S("/embeddings") }
#define BEARER .auth_header = S("authorization"), .auth_prefix = S("Bearer ")
/* Servers that took over OpenAI's format some time ago and refuse what they do not know. */
#define COMPATIBLE \
    .max_tokens_is_old = true, .lacks_strict = true, .lacks_developer = true, .lacks_custom_tools = true, .is_plain = true
#define OPENAI_QUIRKS { .call_id_max = 40, .stops_max = 4, .knows_effort_by_name = true }
#define AZURE_QUIRKS { .call_id_max = 40, .stops_max = 4 }          /* deployments have names of their own */

static void azure_path(const struct provider_place *at, bool is_streaming, struct buf *out);
static void azure_responses_path(const struct provider_place *at, bool is_streaming, struct buf *out);
static void anthropic_path(const struct provider_place *at, bool is_streaming, struct buf *out);
static void gemini_path(const struct provider_place *at, bool is_streaming, struct buf *out);
static void vertex_path(const struct provider_place *at, bool is_streaming, struct buf *out);
static void vertex_openai_path(const struct provider_place *at, bool is_streaming, struct buf *out);
static void vertex_anthropic_path(const struct provider_place *at, bool is_streaming, struct buf *out);
static void converse_path(const struct provider_place *at, bool is_streaming, struct buf *out);
static void invoke_path(const struct provider_place *at, bool is_streaming, struct buf *out);

const struct provider_ops provider_vllm = {
    S("vllm"), BEARER, .paths = OPENAI_PATHS, .keeps_version_path = true, .accepts_stream_options = true,
    .quirks = { COMPATIBLE, .takes_top_k = true, .wants_reasoning_content = true },
};

const struct provider_ops provider_explain = { S("explain"), BEARER, .paths = OPENAI_PATHS };
const struct provider_ops provider_encoder = { S("encoder"), BEARER, .paths = OPENAI_PATHS };

#define OPENAI_LIKE BEARER, .paths = OPENAI_PATHS, .keeps_version_path = true, .accepts_stream_options = true

static const struct provider_ops table[] = {
    /* OpenAI and Azure */
    { S("openai"), OPENAI_LIKE, .default_host = S("api.openai.com"), .quirks = OPENAI_QUIRKS },
    { S("openai-responses"), BEARER, .dialect = "openai_responses", .paths = RESPONSES_PATHS, .keeps_version_path = true,
      .default_host = S("api.openai.com"), .quirks = OPENAI_QUIRKS },
    { S("azure-openai"), .auth_header = S("api-key"), .paths = OPENAI_PATHS, .wants_api_version = true,
      .accepts_stream_options = true, .auth = AUTH_ENTRA, .path_write = azure_path, .quirks = AZURE_QUIRKS },
    { S("azure-openai-responses"), .dialect = "openai_responses", .auth_header = S("api-key"), .paths = RESPONSES_PATHS,
      .wants_api_version = true, .auth = AUTH_ENTRA, .path_write = azure_responses_path, .quirks = AZURE_QUIRKS },

    /* houses with formats of their own */
    { S("anthropic"), .dialect = "anthropic", .auth_header = S("x-api-key"), .paths = { S("/v1/messages") },
      .path_write = anthropic_path, .default_host = S("api.anthropic.com"),
      .version_line = S("anthropic-version: 2023-06-01\r\n") },
    { S("google-gemini"), .dialect = "gemini", .auth_header = S("x-goog-api-key"), .paths = { S("/models") },
      .path_write = gemini_path, .default_host = S("generativelanguage.googleapis.com") },
    { S("google-vertex"), BEARER, .dialect = "gemini", .paths = { S("/models") }, .auth = AUTH_GOOGLE,
      .path_write = vertex_path, .default_host = S("{location}-aiplatform.googleapis.com") },
    { S("vertex-anthropic"), BEARER, .dialect = "anthropic", .paths = { S("/models") }, .auth = AUTH_GOOGLE,
      .path_write = vertex_anthropic_path, .default_host = S("{location}-aiplatform.googleapis.com"),
      .quirks = { .anthropic_version = S("vertex-2023-10-16") } },
    { S("aws-bedrock"), BEARER, .dialect = "bedrock", .paths = { S("/model") }, .auth = AUTH_SIGV4,
      .framing = FRAMING_EVENT_STREAM, .path_write = converse_path,
      .default_host = S("bedrock-runtime.{location}.amazonaws.com") },
    { S("aws-bedrock-invoke"), BEARER, .dialect = "bedrock_invoke", .paths = { S("/model") }, .auth = AUTH_SIGV4,
      .framing = FRAMING_EVENT_STREAM, .path_write = invoke_path,
      .default_host = S("bedrock-runtime.{location}.amazonaws.com"),
      .quirks = { .anthropic_version = S("bedrock-2023-05-31") } },

    /* their OpenAI-compatible endpoints */
    { S("bedrock"), BEARER, .paths = OPENAI_PATHS, .accepts_stream_options = true, .quirks = { COMPATIBLE } },
    { S("gemini"), BEARER, .paths = OPENAI_PATHS, .accepts_stream_options = true,
      .quirks = { COMPATIBLE, .keeps_google_signatures = true },
      .default_host = S("generativelanguage.googleapis.com"), .default_base = S("/v1beta/openai") },
    { S("vertex-ai"), BEARER, .paths = OPENAI_PATHS, .accepts_stream_options = true, .auth = AUTH_GOOGLE,
      .path_write = vertex_openai_path, .default_host = S("{location}-aiplatform.googleapis.com"),
      .quirks = { COMPATIBLE, .keeps_google_signatures = true } },

    /* servers one runs oneself */
    { S("sglang"), OPENAI_LIKE, .quirks = { COMPATIBLE, .takes_top_k = true, .wants_reasoning_content = true } },
    { S("ollama"), OPENAI_LIKE, .quirks = { COMPATIBLE, .lacks_parallel = true } },
    { S("llamacpp"), OPENAI_LIKE, .quirks = { COMPATIBLE, .takes_top_k = true, .wants_reasoning_content = true } },
    { S("nim"), OPENAI_LIKE, .default_host = S("integrate.api.nvidia.com"), .quirks = { COMPATIBLE } },

    /* houses that speak OpenAI's format only */
    { S("groq"), OPENAI_LIKE, .default_host = S("api.groq.com"), .default_base = S("/openai/v1"),
      .quirks = { COMPATIBLE, .stops_max = 4 } },
    { S("deepseek"), OPENAI_LIKE, .default_host = S("api.deepseek.com"),
      .quirks = { COMPATIBLE, .lacks_json_schema = true, .lacks_parallel = true, .wants_reasoning_content = true,
                  .stops_max = 16 } },
    { S("together"), OPENAI_LIKE, .default_host = S("api.together.xyz"), .quirks = { COMPATIBLE, .takes_top_k = true } },
    { S("mistral"), BEARER, .paths = OPENAI_PATHS, .keeps_version_path = true, .default_host = S("api.mistral.ai"),
      .quirks = { COMPATIBLE, .call_id_max = 9, .lacks_stream_options = true } },
    { S("openrouter"), OPENAI_LIKE, .default_host = S("openrouter.ai"), .default_base = S("/api/v1"),
      .quirks = { .max_tokens_is_old = true, .lacks_custom_tools = true, .is_plain = true, .takes_top_k = true,
                  .keeps_cache_control = true } },
    { S("xai"), OPENAI_LIKE, .default_host = S("api.x.ai"), .quirks = { COMPATIBLE } },
    { S("fireworks"), OPENAI_LIKE, .default_host = S("api.fireworks.ai"), .default_base = S("/inference/v1"),
      .quirks = { COMPATIBLE, .takes_top_k = true, .stops_max = 4 } },
    { S("minimax"), OPENAI_LIKE, .default_host = S("api.minimax.io"), .quirks = { COMPATIBLE, .lacks_json_schema = true } },
};

const struct provider_ops *provider_by_name(str name)
{
    static const struct { str other, name; } aliases[] = {
        { S("lm-studio"), S("llamacpp") }, { S("llama.cpp"), S("llamacpp") }, { S("nvidia-nim"), S("nim") },
        { S("grok"), S("xai") }, { S("azure"), S("azure-openai") },
    };
    if (str_ieq(name, provider_vllm.name) || str_ieq(name, S("chat")) || name.len == 0)
        return &provider_vllm;
    if (str_ieq(name, provider_explain.name))
        return &provider_explain;
    if (str_ieq(name, provider_encoder.name))
        return &provider_encoder;
    for (size_t i = 0; i < COUNT_OF(aliases); i++)
        if (str_ieq(name, aliases[i].other))
            name = aliases[i].name;
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (str_ieq(name, table[i].name))
            return &table[i];
    return NULL;
}

/* A house that speaks another's format speaks it at its own address: nobody's key goes to the inventor. Made once. */
static struct provider_ops elsewhere[COUNT_OF(table)][2];       /* Responses, Messages */
static pthread_once_t elsewhere_once = PTHREAD_ONCE_INIT;

static void elsewhere_make(void)
{
    const struct provider_ops *inventors[] = { provider_by_name(S("openai-responses")), provider_by_name(S("anthropic")) };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        for (size_t k = 0; k < 2; k++) {
            elsewhere[i][k] = *inventors[k];
            elsewhere[i][k].name = table[i].name;
            elsewhere[i][k].default_host = table[i].default_host;
            elsewhere[i][k].default_base = table[i].default_base;
        }
}

static const struct provider_ops *inventor_or_elsewhere(const struct provider_ops *p, const char *dialect, str inventor)
{
    bool is_responses = strcmp(dialect, "openai_responses") == 0, is_messages = strcmp(dialect, "anthropic") == 0;
    if (p == &provider_vllm || p->default_host.len == 0 || (!is_responses && !is_messages))
        return p->default_host.len ? NULL : provider_by_name(inventor);
    if (is_responses && str_eq(p->name, S("openai")))
        return provider_by_name(inventor);
    pthread_once(&elsewhere_once, elsewhere_make);
    return &elsewhere[p - table][is_messages];
}

/* First the row of the same house, then, for whoever takes a key in a header, the row that invented the format: vLLM, Ollama
 * and gateways speak Messages and Responses at the inventor's paths. */
const struct provider_ops *provider_choose(str name, str api_format)
{
    static const struct { str format; const char *dialect; str row; } formats[] = {
        { S("anthropic"), "anthropic", S("anthropic") },
        { S("responses"), "openai_responses", S("openai-responses") },
        { S("gemini"), "gemini", S("google-gemini") },
        { S("bedrock"), "bedrock", S("aws-bedrock") },
        { S("bedrock_invoke"), "bedrock_invoke", S("aws-bedrock-invoke") },
    };
    static const struct { str name, format, row; } houses[] = {
        { S("azure-openai"), S("responses"), S("azure-openai-responses") },
        { S("gemini"), S("gemini"), S("google-gemini") },
        { S("vertex-ai"), S("gemini"), S("google-vertex") },
        { S("vertex-ai"), S("anthropic"), S("vertex-anthropic") },
        { S("google-vertex"), S("anthropic"), S("vertex-anthropic") },
        { S("bedrock"), S("anthropic"), S("aws-bedrock-invoke") },
        { S("aws-bedrock"), S("anthropic"), S("aws-bedrock-invoke") },
        { S("aws-bedrock"), S("bedrock_invoke"), S("aws-bedrock-invoke") },
        { S("aws-bedrock-invoke"), S("anthropic"), S("aws-bedrock-invoke") },
        { S("bedrock"), S("bedrock"), S("aws-bedrock") },
        { S("bedrock"), S("bedrock_invoke"), S("aws-bedrock-invoke") },
    };
    const struct provider_ops *p = provider_by_name(name);
    if (!p || api_format.len == 0 || str_eq(api_format, S("openai")))
        return p;
    size_t f = 0;
    while (f < COUNT_OF(formats) && !str_eq(formats[f].format, api_format))
        f++;
    if (f == COUNT_OF(formats) || p == &provider_encoder || p == &provider_explain)
        return NULL;
    if (p->dialect && strcmp(p->dialect, formats[f].dialect) == 0)
        return p;
    for (size_t i = 0; i < COUNT_OF(houses); i++)
        if (str_eq(houses[i].name, p->name) && str_eq(houses[i].format, api_format))
            return provider_by_name(houses[i].row);
    return p->dialect || p->auth != AUTH_HEADER ? NULL : inventor_or_elsewhere(p, formats[f].dialect, formats[f].row);
}

str provider_default_host(const struct provider_ops *p, str location, struct arena *a)
{
    static const str slot = S("{location}");
    long at = str_find(p->default_host, slot);
    if (at < 0)
        return p->default_host;
    str head = str_upto(p->default_host, (size_t)at), tail = str_from(p->default_host, (size_t)at + slot.len);
    if (!location.len)
        return S("");
    if (str_eq(location, S("global")) && tail.len && tail.ptr[0] == '-')
        return arena_printf(a, STR_FMT STR_FMT, STR_ARG(head), STR_ARG(str_from(tail, 1)));
    return arena_printf(a, STR_FMT STR_FMT STR_FMT, STR_ARG(head), STR_ARG(location), STR_ARG(tail));
}

/* ---- paths ---- */

static void query_version_write(str version, struct buf *out)
{
    if (!version.len)
        return;
    buf_str(out, S("?api-version="));
    http_path_encode(version, "", out);
}

/* Azure has two generations: /openai/deployments/NAME/... with a dated version, and /openai/v1/... that takes the
 * deployment as `model` and needs none. */
static bool is_azure_v1(const struct provider_place *at)
{
    return at->api_version.len == 0 || str_eq(at->api_version, S("v1")) || str_eq(at->api_version, S("preview")) ||
           str_ends(at->base_path, S("/v1"));
}

static void azure_v1_write(const struct provider_place *at, str path, struct buf *out)
{
    str base = at->base_path.len ? at->base_path : S("/openai");
    buf_str(out, base);
    if (!str_ends(base, S("/v1")))
        buf_str(out, S("/v1"));
    buf_str(out, path);
    if (str_eq(at->api_version, S("preview")))
        query_version_write(at->api_version, out);
}

static void azure_path(const struct provider_place *at, bool is_streaming, struct buf *out)
{
    str path = at->chat_path.len ? at->chat_path : S("/chat/completions");
    (void)is_streaming;
    if (str_find(at->base_path, S("/deployments/")) < 0 && !at->chat_path.len) {
        if (is_azure_v1(at)) {
            azure_v1_write(at, path, out);
            return;
        }
        buf_str(out, at->base_path.len ? at->base_path : S("/openai"));
        buf_str(out, S("/deployments/"));
        http_path_encode(at->model, "", out);
    } else {
        buf_str(out, at->base_path);    /* the configuration says it all */
    }
    buf_str(out, path);
    query_version_write(at->api_version, out);
}

static void azure_responses_path(const struct provider_place *at, bool is_streaming, struct buf *out)
{
    (void)is_streaming;
    if (at->chat_path.len) {
        buf_str(out, at->base_path);
        buf_str(out, at->chat_path);
    } else if (is_azure_v1(at)) {
        azure_v1_write(at, S("/responses"), out);
        return;
    } else {
        long deployment = str_find(at->base_path, S("/deployments/"));
        str base = deployment < 0 ? at->base_path : str_upto(at->base_path, (size_t)deployment);
        buf_str(out, base.len ? base : S("/openai"));
        buf_str(out, S("/responses"));
    }
    query_version_write(at->api_version, out);
}

static str without_end(str s, str end)
{
    return str_ends(s, end) ? str_upto(s, s.len - end.len) : s;
}

static void anthropic_path(const struct provider_place *at, bool is_streaming, struct buf *out)
{
    (void)is_streaming;
    buf_str(out, at->chat_path.len ? at->base_path : without_end(at->base_path, S("/v1")));
    buf_str(out, at->chat_path.len ? at->chat_path : S("/v1/messages"));
}

static void method_write(bool is_streaming, struct buf *out)
{
    buf_str(out, is_streaming ? S(":streamGenerateContent?alt=sse") : S(":generateContent"));
}

/* models/NAME or tunedModels/NAME; a bare name is a model's. */
static void gemini_path(const struct provider_place *at, bool is_streaming, struct buf *out)
{
    str base = without_end(at->base_path, S("/openai")), model = at->model;
    buf_str(out, base.len ? base : S("/v1beta"));
    bool is_tuned = str_starts(model, S("tunedModels/"));
    buf_str(out, is_tuned ? S("/tunedModels/") : S("/models/"));
    if (is_tuned || str_starts(model, S("models/")))
        model = str_from(model, is_tuned ? 12 : 7);
    http_path_encode(model, "", out);
    method_write(is_streaming, out);
}

static void vertex_place_write(const struct provider_place *at, struct buf *out)
{
    str base = at->base_path.len ? at->base_path : S("/v1");
    buf_str(out, base);
    if (str_find(base, S("/projects/")) >= 0)
        return;                         /* the configuration says it all */
    buf_str(out, S("/projects/"));
    http_path_encode(at->project, "", out);
    buf_str(out, S("/locations/"));
    http_path_encode(at->location.len ? at->location : S("global"), "", out);
}

static void vertex_path(const struct provider_place *at, bool is_streaming, struct buf *out)
{
    vertex_place_write(at, out);
    buf_str(out, S("/publishers/google/models/"));
    http_path_encode(at->model, "@", out);
    method_write(is_streaming, out);
}

static void vertex_anthropic_path(const struct provider_place *at, bool is_streaming, struct buf *out)
{
    vertex_place_write(at, out);
    buf_str(out, S("/publishers/anthropic/models/"));
    http_path_encode(at->model, "@", out);
    buf_str(out, is_streaming ? S(":streamRawPredict") : S(":rawPredict"));
}

static void vertex_openai_path(const struct provider_place *at, bool is_streaming, struct buf *out)
{
    (void)is_streaming;
    if (at->project.len && !at->base_path.len) {
        vertex_place_write(at, out);
        buf_str(out, S("/endpoints/openapi"));
    } else {
        buf_str(out, at->base_path);
    }
    buf_str(out, at->chat_path.len ? at->chat_path : S("/chat/completions"));
}

static void bedrock_write(const struct provider_place *at, str call, struct buf *out)
{
    buf_str(out, at->base_path);
    buf_str(out, S("/model/"));
    http_path_encode(at->model, "", out);
    buf_str(out, call);
}

static void converse_path(const struct provider_place *at, bool is_streaming, struct buf *out)
{
    bedrock_write(at, is_streaming ? S("/converse-stream") : S("/converse"), out);
}

static void invoke_path(const struct provider_place *at, bool is_streaming, struct buf *out)
{
    bedrock_write(at, is_streaming ? S("/invoke-with-response-stream") : S("/invoke"), out);
}
