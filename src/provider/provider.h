/* provider/provider.h -- where and how to send: one line of a table for whoever speaks OpenAI's dialect. */
#ifndef SBX_PROVIDER_H
#define SBX_PROVIDER_H

#include "base/str.h"

enum endpoint_kind { ENDPOINT_CHAT, ENDPOINT_COMPLETIONS, ENDPOINT_EMBEDDINGS, ENDPOINT_N };

struct provider_ops {
    str name;                       /* as in backend_refs[].provider or .type */
    str auth_header, auth_prefix;   /* "authorization", "Bearer " */
    str paths[ENDPOINT_N];          /* behind the base path */
    bool keeps_version_path;        /* a bare host gets "/v1" before the path */
    bool wants_api_version;         /* ?api-version= */
    bool accepts_stream_options;    /* usage may be asked for */
};

const struct provider_ops *provider_by_name(str name);      /* unknown: NULL */
extern const struct provider_ops provider_vllm;             /* for backends that name none */
extern const struct provider_ops provider_encoder;          /* embeddings computed here: front/embeddings.h */
extern const struct provider_ops provider_explain;          /* the built-in model: front/explain.h */

#endif
