/* provider/provider.h -- where and how to send: one line of a table for whoever speaks OpenAI's dialect, a path function and
 * a kind of credential for the others. */
#ifndef SBX_PROVIDER_H
#define SBX_PROVIDER_H

#include "dialect/dialect.h"

enum endpoint_kind { ENDPOINT_CHAT, ENDPOINT_COMPLETIONS, ENDPOINT_EMBEDDINGS, ENDPOINT_N };

enum auth_kind {
    AUTH_HEADER,                    /* a key in a header: authorization, x-api-key, api-key, x-goog-api-key */
    AUTH_SIGV4,                     /* AWS Signature Version 4, service bedrock (or a bearer API key when one is given) */
    AUTH_GOOGLE,                    /* OAuth token from a service account's JWT (or a bearer key when one is given) */
    AUTH_ENTRA,                     /* OAuth client credentials of Microsoft Entra when a client id is configured, else the api-key */
};

enum framing { FRAMING_SSE, FRAMING_EVENT_STREAM };     /* of streamed answers */

struct provider_place {             /* what a backend's configuration says, resolved when the snapshot is built */
    str base_path;                  /* path of base_url; "" none */
    str model;                      /* upstream model, deployment, or ARN */
    str api_version, chat_path, project, location;      /* location: also the region */
};

struct provider_ops {
    str name;                       /* as in backend_refs[].provider or .type */
    const char *dialect;            /* name of its dialect; NULL: openai_chat */
    str auth_header, auth_prefix;   /* "authorization", "Bearer " */
    str paths[ENDPOINT_N];          /* behind the base path; "" : this provider has no such endpoint */
    bool keeps_version_path;        /* a bare host gets "/v1" before the path */
    bool wants_api_version;         /* ?api-version= */
    bool accepts_stream_options;    /* usage may be asked for */
    enum auth_kind auth;
    enum framing framing;
    str default_host;               /* when the configuration names no endpoint: "api.anthropic.com"; may hold {location} */
    str default_base;               /* base path that goes with it; "" : as for a bare host */
    struct target quirks;           /* of its dialect; model and the client's part are filled in per request */
    /* Path and query of a chat request, escaped as they go on the wire. NULL: base_path + paths[]. */
    void (*path_write)(const struct provider_place *at, bool is_streaming, struct buf *out);
    str version_line;               /* "anthropic-version: 2023-06-01\r\n", unless the client sent its own */
};

const struct provider_ops *provider_by_name(str name);      /* unknown: NULL */
/* The row of a backend: its provider's, or, when the model's `api_format` names another dialect than that row speaks, the
 * row that speaks it ("anthropic" on a backend without provider: anthropic). `api_format` "" and "openai": as it is. NULL: no
 * such provider, or it does not speak that. */
const struct provider_ops *provider_choose(str name, str api_format);
/* Its host when the configuration names none, in arena a: {location} is filled in, and left out with its hyphen where it is
 * "global". "" : it has none, or needs a location. */
str provider_default_host(const struct provider_ops *p, str location, struct arena *a);
extern const struct provider_ops provider_vllm;             /* for backends that name none */
extern const struct provider_ops provider_encoder;          /* embeddings computed here: front/embeddings.h */
extern const struct provider_ops provider_explain;          /* the built-in model: front/explain.h */

#endif
