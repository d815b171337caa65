/* config/config.h -- a whole VSR v0.3 configuration, decoded.
 *
 * Read it like a table of contents: listeners, providers, profiles, entrypoints, global. Names
 * and defaults are those of spec 01 section 1 and spec 02 section 0.1; keys of our own are
 * marked FIELD_EXTENSION in the tables. */
#ifndef SBX_CONFIG_H
#define SBX_CONFIG_H

#include "config/tenancy.h"
#include "decide/policy.h"

struct tls_files { str certificate, key, ca; bool require_client_certificate; struct place at; };

struct listener_conf {
    str name, address; int64_t port;
    uint64_t timeout_ns;                /* whole request; 0: default 1200 s */
    struct strings api_keys;
    struct tls_files tls;               /* extension: certificate "" means plain */
    struct place at;
};

struct backend_conf {
    str name, endpoint, protocol, type, base_url, provider;
    str auth_header, auth_prefix, api_version, chat_path, api_key, api_key_env;
    struct string_pairs extra_headers;
    int64_t weight;
    int64_t max_in_flight;              /* extension; 0: unbounded */
    struct tls_files tls;               /* extension: ca, client certificate and key */
    bool tls_insecure;                  /* extension tls_skip_verify, with a finding */
    str http2;                          /* extension: auto (by ALPN; default), never, always */
    /* extensions: providers whose own formats are spoken (docs/providers.md). Secrets come from the environment or a file. */
    str region, project, location, service_account_file, tenant_id, client_id, token_url, token_scope;
    str aws_access_key_id_env, aws_secret_access_key_env, aws_session_token_env, client_secret_env;
    str access_key_id, secret_access_key, session_token, client_secret, service_account;    /* read at load */
    struct place at;
};

struct pricing_conf {                   /* USD (or currency) per 1 M tokens */
    str currency;
    double prompt, completion, cached_input, cache_write;
    double cache_write_1h, reasoning, audio_in, audio_out, image;   /* extensions; 0: like the tokens they are part of */
    str from; int64_t from_s;           /* of a period: in force from then on, seconds since 1970 */
    struct pricing_conf *periods; size_t n_periods;                 /* extension, oldest first */
    bool is_set;                        /* some price is given */
    uint64_t set;                       /* bit i: key i of the table was present */
};

struct reliability_conf {
    str lb_policy;                      /* round_robin (default), least_request, random, weighted, first */
    int64_t retry_count; str retry_on;
    int64_t consecutive_5xx; uint64_t base_ejection_ns; int64_t max_ejection_percent;
    str health_check_path; uint64_t health_check_interval_ns, health_check_timeout_ns;
    uint64_t connect_timeout_ns, first_byte_timeout_ns, idle_timeout_ns, total_timeout_ns; /* extensions */
    uint64_t set;
};

struct model_conf {                     /* providers.models[] */
    str name, reasoning_family, provider_model_id, api_format;
    struct string_pairs external_model_ids;
    struct pricing_conf pricing;
    struct reliability_conf reliability;
    struct backend_conf *backends; size_t n_backends;
    struct place at;
};

struct lora_conf { str name, description; struct place at; };

struct card_conf {                      /* routing.modelCards[] */
    str name, param_size, description, modality;
    int64_t context_window; double quality_score;
    struct strings capabilities, tags;
    struct lora_conf *loras; size_t n_loras;
    struct place at;
};

struct reasoning_family { str name, type, parameter; };

struct entrypoint_conf { struct strings model_names; str recipe; struct place at; };

struct limits_conf {                    /* global.limits: extension */
    uint64_t body_bytes;                /* one request; default 64 MiB */
    uint64_t decoded_body_bytes;        /* after gzip/zstd; default 64 MiB */
    uint64_t total_body_bytes;          /* all requests together; default 1 GiB */
    uint64_t head_bytes;                /* default 64 KiB */
    int64_t connections, in_flight;     /* default 16384, 4096 */
    double retry_budget;                /* share of requests that may be retries; default 0.2 */
    uint64_t drain_ns;                  /* SIGTERM: how long to wait for requests; default 30 s */
    uint64_t idle_client_ns;            /* keep-alive connection without a request; default 75 s */
    uint64_t head_timeout_ns;           /* slow-loris: a whole head must be in; default 10 s */
    int64_t loops;                      /* 0: half the cores, at least 1 */
    uint64_t signals_ns;                /* within which models must answer a request's signals; default 5 s */
    int64_t encoder_threads;            /* 0: as many as cores, and nice */
    int64_t encoder_queue_tokens;       /* waiting for them; beyond: signals are unknown; default 262144 */
    uint64_t encoder_cache_bytes;       /* vectors kept; default 16 MiB */
};

struct observability_conf {
    bool metrics_enabled;
    int64_t metrics_port;               /* extension: a port of its own for /metrics; 0: none */
    bool tracing_enabled; str trace_endpoint; str trace_sampling; double trace_rate; str service_name;
    str environment;
    str access_log;                     /* a path, "stdout", "stderr" (default) or "off" */
    bool access_log_capture;            /* with the bodies, for replay */
};

struct response_api_conf {              /* global.services.response_api */
    bool is_enabled;
    str backend, path;                  /* path "": that of global.state */
    int64_t ttl_s, max_responses;
    uint64_t max_bytes;
};

struct holding_conf {                   /* how hard a conversation holds on to its model */
    int64_t idle_s, turns_min;          /* silence after which it may switch freely; turns on one model at least */
    double margin, stability;
};

struct affinity_conf { bool is_enabled; struct holding_conf holds; };      /* global.router.session_affinity: extension */

struct router_learning_conf {           /* global.router.learning */
    bool is_enabled, adapts, protects;
    str state_dir, table;               /* "": none */
    uint64_t checkpoint_ns;
    str candidate_set, scope;
    str strategy;
    double scale, floor;                /* exploration */
    int64_t screen_top;                 /* 0: no screen */
    double rate, share;                 /* of fixed_share */
    str session_header, conversation_header;
    struct holding_conf holds;
    double budget_usd;                  /* a window; 0: none */
    uint64_t window_ns; bool window_slides;
    str budget_per;                     /* all | key | user | team | project */
    int64_t output_tokens;              /* most of an answer whose request does not say */
};

struct management_token { str env, role; };

struct management_conf {                /* global.services.management_api */
    str bind_address; int64_t port; bool remote_exposure;
    str auth_mode;                      /* disabled | bearer */
    struct management_token *tokens; size_t n_tokens;
    const struct value *roles;          /* role -> list of permissions; NULL: none given */
};

struct key_header { str provider, header; };

struct config {
    str version;
    str hash;                           /* hex SHA-256 of the raw bytes */
    str base_dir;                       /* of relative paths */
    struct listener_conf *listeners; size_t n_listeners;
    str default_model, default_reasoning_effort;
    struct reasoning_family *families; size_t n_families;
    struct model_conf *models; size_t n_models;
    struct card_conf *cards; size_t n_cards;
    struct profile *profiles; size_t n_profiles;        /* [0] is "default", then recipes */
    struct entrypoint_conf *entrypoints; size_t n_entrypoints;
    struct strings auto_names;          /* resolved: spec 01 section 1.4 */
    bool include_config_models_in_list;
    bool authz_fail_open; str user_id_header, user_groups_header;
    struct key_header *key_headers; size_t n_key_headers;   /* services.authz header-injection */
    struct limits_conf limits;
    str unsupported;                    /* extension translation.unsupported: refuse (default) | drop */
    struct observability_conf observability;
    struct management_conf management;
    struct tenancy_conf tenancy;
    struct response_api_conf response_api;
    struct router_learning_conf learning;
    struct affinity_conf affinity;
    const struct value *global;         /* merged with defaults, as a tree: for module settings */
    const struct value *root;           /* effective document after aliases and expansion */
};

/* The one place where a file becomes a configuration: parse -> aliases and rejections ->
 * environment -> decode -> normalise -> validate. NULL when there was an error-severity
 * finding; *out has all of them either way. `strict` turns warnings of spec 10.2 into errors.
 * getenv-like `env` (NULL: the process environment) makes it pure for tests. */
struct buf;
struct config *config_load(struct arena *a, str text, const char *file,
                           const char *(*env)(const char *name), bool strict,
                           struct findings *out);
/* What was written at `path` of a profile ("routing.decisions"); NULL: nothing. */
const struct value *config_profile_value(const struct config *c, size_t profile, const char *path);
struct config *config_load_file(struct arena *a, const char *path, bool strict,
                                struct findings *out);
/* The last step, once the policies could be compiled: findings that need slots (dead rules,
 * undefined references, shadowed decisions, band gaps). Called by config_load. */
void config_check(const struct config *c, struct findings *out);

/* Sorts findings by place, drops repeats, counts anew; strict turns warnings into errors, but for
 * facts about this build or machine (not-built, unset-variable). config_load has done it; whoever
 * adds more findings later does it again. */
void config_findings_settle(struct findings *out, bool strict);

/* A path that the configuration names, relative to its own folder. "" stays "". */
str config_relative(const struct config *c, struct arena *a, str path);

void config_schema_json(struct buf *out);           /* JSON Schema draft 2020-12 */
void config_defaults_yaml(struct buf *out);
void config_dump_yaml(const struct config *c, struct buf *out);  /* effective, secrets masked */
void config_reference_markdown(struct buf *out);    /* docs/reference/configuration.md */

#endif
