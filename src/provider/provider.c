/* provider/provider.c -- the table. Facts: spec 02, 4.9; anthropic and the signed ones come with their dialects. */
#include "provider/provider.h"

#define OPENAI_PATHS { S("/chat/completions"), S("/completions"), S("/embeddings") }
#define BEARER .auth_header = S("authorization"), .auth_prefix = S("Bearer ")

const struct provider_ops provider_vllm = {
    S("vllm"), BEARER, OPENAI_PATHS, .keeps_version_path = true, .accepts_stream_options = true,
};

const struct provider_ops provider_explain = { S("explain"), BEARER, OPENAI_PATHS };
const struct provider_ops provider_encoder = { S("encoder"), BEARER, OPENAI_PATHS };

const struct provider_ops *provider_by_name(str name)
{
    static const struct provider_ops table[] = {
        { S("openai"), BEARER, OPENAI_PATHS, .keeps_version_path = true, .accepts_stream_options = true },
        { S("azure-openai"), S("api-key"), S(""), OPENAI_PATHS, .wants_api_version = true,
          .accepts_stream_options = true },
        { S("bedrock"), BEARER, OPENAI_PATHS, .accepts_stream_options = true },
        { S("gemini"), BEARER, OPENAI_PATHS, .accepts_stream_options = true },
        { S("vertex-ai"), BEARER, OPENAI_PATHS, .accepts_stream_options = true },
        { S("minimax"), BEARER, OPENAI_PATHS, .keeps_version_path = true, .accepts_stream_options = true },
        { S("ollama"), BEARER, OPENAI_PATHS, .keeps_version_path = true, .accepts_stream_options = true },
        { S("llamacpp"), BEARER, OPENAI_PATHS, .keeps_version_path = true, .accepts_stream_options = true },
        { S("sglang"), BEARER, OPENAI_PATHS, .keeps_version_path = true, .accepts_stream_options = true },
    };
    if (str_ieq(name, provider_vllm.name) || str_ieq(name, S("chat")) || name.len == 0)
        return &provider_vllm;
    if (str_ieq(name, provider_explain.name))
        return &provider_explain;
    if (str_ieq(name, provider_encoder.name))
        return &provider_encoder;
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (str_ieq(name, table[i].name))
            return &table[i];
    return NULL;
}
