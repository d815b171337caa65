/* config/tables.c -- the keys of a document outside `global` (spec 01 1.3, 1.4, 3, 4; spec 02 0.1).
 *
 * Signals, algorithms and plugins own their keys. Their tables are put together here once, from
 * the families' lists, so that printers and checks see one tree of tables. */
#include "config/tables.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/keys.h"
#include "plugin/plugin.h"
#include "select/select.h"
#include "signal/signal.h"

#define OURS .flags = FIELD_EXTENSION
#define REQUIRED .flags = FIELD_REQUIRED
#define UNBUILT .flags = FIELD_NOT_BUILT
#define AT(type_) F(FIELD_VALUE, type_, at, FIELD_KEY_PLACE, NONE, NULL)
#define COUNTED(type_, items_, n_) \
    static_assert(offsetof(type_, n_) == offsetof(type_, items_) + sizeof(void *), \
                  "a list is a pointer and then its count")

COUNTED(struct config, listeners, n_listeners);
COUNTED(struct config, models, n_models);
COUNTED(struct config, entrypoints, n_entrypoints);
COUNTED(struct model_conf, backends, n_backends);
COUNTED(struct pricing_conf, periods, n_periods);
COUNTED(struct card_conf, loras, n_loras);
COUNTED(struct management_conf, tokens, n_tokens);
COUNTED(struct decision_conf, refs, n_refs);
COUNTED(struct score_conf, inputs, n_inputs);
COUNTED(struct mapping_conf, outputs, n_outputs);

const char *const config_mmlu_categories[] = {
    "biology", "business", "chemistry", "computer science", "economics", "engineering", "health",
    "history", "law", "math", "other", "philosophy", "physics", "psychology", NULL,
};

/* ---- listeners, providers ---- */

TABLE(tls, struct tls_files,
    F(FIELD_STR, struct tls_files, certificate, "certificate", NONE, "PEM file with the chain"),
    F(FIELD_STR, struct tls_files, key, "key", NONE, "PEM file with its key"),
    F(FIELD_STR, struct tls_files, ca, "ca", NONE, "PEM file with the authorities to trust"),
    F(FIELD_BOOL, struct tls_files, require_client_certificate, "require_client_certificate",
      "false", "refuse clients without a certificate of `ca`"),
    AT(struct tls_files));

TABLE(listener, struct listener_conf,
    F(FIELD_STR, struct listener_conf, name, "name", "default", "for logs"),
    F(FIELD_STR, struct listener_conf, address, "address", "127.0.0.1", "address to listen on"),
    F(FIELD_INT, struct listener_conf, port, "port", "8899", "0: any free port", PORT),
    F(FIELD_DURATION, struct listener_conf, timeout_ns, "timeout", "1200s",
      "longest life of one request", NOT_NEGATIVE),
    F(FIELD_STRINGS, struct listener_conf, api_keys, "api_keys", NONE,
      "bearer keys that callers need; empty: none"),
    F(FIELD_STRUCT, struct listener_conf, tls, "tls", NONE, "serve HTTPS", .sub = &tls,
      .flags = FIELD_EXTENSION | FIELD_OPTIONAL),
    AT(struct listener_conf));

WORDS(protocols, "http", "https");
WORDS(providers_known, "openai", "anthropic", "azure-openai", "bedrock", "gemini", "vertex-ai",
      "minimax", "vllm", "ollama", "llamacpp", "sglang", "encoder", "explain", "openai-responses",
      "azure-openai-responses", "google-gemini", "google-vertex", "vertex-anthropic", "aws-bedrock", "aws-bedrock-invoke",
      "nim", "groq", "deepseek", "together", "mistral", "openrouter", "xai", "fireworks");
WORDS(http2_words, "auto", "never", "always");
TABLE(backend, struct backend_conf,
    F(FIELD_STR, struct backend_conf, name, "name", NONE, "name within the model"),
    F(FIELD_STR, struct backend_conf, endpoint, "endpoint", NONE, "host:port of a plain server"),
    F(FIELD_ENUM, struct backend_conf, protocol, "protocol", "http", "of `endpoint`",
      .names = protocols),
    F(FIELD_STR, struct backend_conf, type, "type", NONE,
      "kind of server; else `provider`, else vllm"),
    F(FIELD_STR, struct backend_conf, base_url, "base_url", NONE, "URL before the path of the API"),
    F(FIELD_ENUM, struct backend_conf, provider, "provider", NONE,
      "whose dialect, path and authorization", .names = providers_known, .flags = FIELD_OPEN),
    F(FIELD_STR, struct backend_conf, auth_header, "auth_header", NONE,
      "header that carries the key"),
    F(FIELD_STR, struct backend_conf, auth_prefix, "auth_prefix", NONE, "word before the key"),
    F(FIELD_STRING_MAP, struct backend_conf, extra_headers, "extra_headers", NONE,
      "sent with every request"),
    F(FIELD_STR, struct backend_conf, api_version, "api_version", NONE,
      "Azure: api-version; absent, v1 or preview: the API without versions"),
    F(FIELD_STR, struct backend_conf, chat_path, "chat_path", NONE, "path behind base_url"),
    F(FIELD_SECRET, struct backend_conf, api_key, "api_key", NONE, "the key itself"),
    F(FIELD_STR, struct backend_conf, api_key_env, "api_key_env", NONE,
      "environment variable with the key, read at load"),
    F(FIELD_INT, struct backend_conf, weight, "weight", "1", "share of the model's requests",
      NOT_NEGATIVE),
    F(FIELD_INT, struct backend_conf, max_in_flight, "max_in_flight", "0",
      "requests at once; 0: unbounded", NOT_NEGATIVE, OURS),
    F(FIELD_STRUCT, struct backend_conf, tls, "tls", NONE, "own authority, client certificate",
      .sub = &tls, .flags = FIELD_EXTENSION | FIELD_OPTIONAL),
    F(FIELD_BOOL, struct backend_conf, tls_insecure, "tls_skip_verify", "false",
      "accept any server certificate", OURS),
    F(FIELD_ENUM, struct backend_conf, http2, "http2", "auto",
      "auto: where TLS negotiates it; never; always: without asking, also in plain", OURS, .names = http2_words),
    F(FIELD_STR, struct backend_conf, region, "region", NONE,
      "AWS: region of the host; without one, the host's name says it, else AWS_REGION", OURS),
    F(FIELD_STR, struct backend_conf, aws_access_key_id_env, "aws_access_key_id_env", NONE,
      "environment variable with the key id; AWS_ACCESS_KEY_ID and its companions when absent", OURS),
    F(FIELD_STR, struct backend_conf, aws_secret_access_key_env, "aws_secret_access_key_env", NONE,
      "environment variable with the secret that belongs to it", OURS),
    F(FIELD_STR, struct backend_conf, aws_session_token_env, "aws_session_token_env", NONE,
      "environment variable with the token of temporary keys", OURS),
    F(FIELD_STR, struct backend_conf, project, "project", NONE, "Vertex AI: project id", OURS),
    F(FIELD_STR, struct backend_conf, location, "location", NONE, "Vertex AI: location, `global` or us-east5", OURS),
    F(FIELD_STR, struct backend_conf, service_account_file, "service_account_file", NONE,
      "Google: key file of a service account; GOOGLE_APPLICATION_CREDENTIALS when absent", OURS),
    F(FIELD_STR, struct backend_conf, tenant_id, "tenant_id", NONE, "Azure: tenant of the application that asks for tokens",
      OURS),
    F(FIELD_STR, struct backend_conf, client_id, "client_id", NONE, "Azure: id of that application; instead of a key", OURS),
    F(FIELD_STR, struct backend_conf, client_secret_env, "client_secret_env", NONE,
      "environment variable with its secret", OURS),
    F(FIELD_STR, struct backend_conf, token_url, "token_url", NONE, "address that hands out tokens, if not the usual one", OURS),
    F(FIELD_STR, struct backend_conf, token_scope, "token_scope", NONE, "what tokens are asked for, if not the usual", OURS),
    AT(struct backend_conf));

#define PRICE(member_, key_, help_, ...) \
    F(FIELD_FLOAT, struct pricing_conf, member_, key_, NONE, help_, NOT_NEGATIVE, __VA_ARGS__)
#define PRICES_OF_OURS \
    PRICE(cache_write_1h, "cache_write_1h_per_1m", "the same for an hour; absent: as cache_write_per_1m", OURS), \
    PRICE(reasoning, "reasoning_per_1m", "1 M reasoning tokens; absent: as completion_per_1m", OURS), \
    PRICE(audio_in, "audio_input_per_1m", "1 M audio tokens of the prompt; absent: as prompt_per_1m", OURS), \
    PRICE(audio_out, "audio_output_per_1m", "1 M audio tokens of the answer; absent: as completion_per_1m", OURS), \
    PRICE(image, "image_input_per_1m", "1 M image tokens of the prompt; absent: as prompt_per_1m", OURS)
TABLE(price_period, struct pricing_conf,
    F(FIELD_STR, struct pricing_conf, from, "from", NONE, "date or time (UTC) from which these prices hold", REQUIRED),
    PRICE(prompt, "prompt_per_1m", "1 M prompt tokens"),
    PRICE(completion, "completion_per_1m", "1 M completion tokens"),
    PRICE(cached_input, "cached_input_per_1m", "1 M prompt tokens read from the provider's cache"),
    PRICE(cache_write, "cache_write_per_1m", "1 M prompt tokens written to it"),
    PRICES_OF_OURS);
TABLE(pricing, struct pricing_conf,
    F(FIELD_STR, struct pricing_conf, currency, "currency", "USD", "of the prices"),
    PRICE(prompt, "prompt_per_1m", "1 M prompt tokens"),
    PRICE(completion, "completion_per_1m", "1 M completion tokens"),
    PRICE(cached_input, "cached_input_per_1m", "1 M prompt tokens read from the provider's cache"),
    PRICE(cache_write, "cache_write_per_1m", "1 M prompt tokens written to it"),
    PRICES_OF_OURS,
    F(FIELD_LIST, struct pricing_conf, periods, "periods", NONE, "other prices from a date on", .sub = &price_period, OURS),
    F(FIELD_VALUE, struct pricing_conf, set, FIELD_KEY_SET, NONE, NULL));

WORDS(lb_policies, "round_robin", "least_request", "random", "weighted", "first");
#define RELIABLE(type_, member_, key_, default_, help_, ...) \
    F(type_, struct reliability_conf, member_, key_, default_, help_, __VA_ARGS__)
TABLE(reliability, struct reliability_conf,
    RELIABLE(FIELD_ENUM, lb_policy, "lb_policy", "round_robin", "which backend is next",
             .names = lb_policies, .flags = FIELD_OPEN),
    RELIABLE(FIELD_INT, retry_count, "retry_count", "2", "further attempts after the first; 0: none",
             BOUNDS(0, 5)),
    RELIABLE(FIELD_STR, retry_on, "retry_on", "connect-failure,reset,gateway-error,429",
             "5xx, gateway-error, connect-failure, refused-stream, reset, timeout, 429 or retriable-4xx,"
             " comma separated", .flags = 0),
    RELIABLE(FIELD_INT, consecutive_5xx, "consecutive_5xx", "5",
             "failures in a row that eject a backend of several; 0: never", NOT_NEGATIVE),
    RELIABLE(FIELD_DURATION, base_ejection_ns, "base_ejection_time", "30s",
             "first ejection; later ones last longer", NOT_NEGATIVE),
    RELIABLE(FIELD_INT, max_ejection_percent, "max_ejection_percent", "50",
             "of a model's backends at once", BOUNDS(0, 100)),
    RELIABLE(FIELD_STR, health_check_path, "health_check_path", NONE, "GET there; empty: no checks",
             .flags = 0),
    RELIABLE(FIELD_DURATION, health_check_interval_ns, "health_check_interval", "10s",
             "between checks", BOUNDS(0.01, 86400)),
    RELIABLE(FIELD_DURATION, health_check_timeout_ns, "health_check_timeout", "2s", "of one check",
             BOUNDS(0.001, 3600)),
    RELIABLE(FIELD_DURATION, connect_timeout_ns, "connect_timeout", "5s", "to connect", OURS,
             BOUNDS(0.001, 3600)),
    RELIABLE(FIELD_DURATION, first_byte_timeout_ns, "first_byte_timeout", "300s",
             "until the answer starts; 0: no bound but the request's", OURS, NOT_NEGATIVE),
    RELIABLE(FIELD_DURATION, idle_timeout_ns, "idle_timeout", "120s",
             "between two pieces of an answer; 0: no bound but the request's", OURS, NOT_NEGATIVE),
    RELIABLE(FIELD_DURATION, total_timeout_ns, "total_timeout", "0s",
             "of one attempt; 0: no bound but the request's", OURS, NOT_NEGATIVE),
    F(FIELD_VALUE, struct reliability_conf, set, FIELD_KEY_SET, NONE, NULL));

WORDS(api_formats, "openai", "anthropic", "responses", "gemini", "bedrock", "bedrock_invoke");   /* the last four are ours */
TABLE(model, struct model_conf,
    F(FIELD_STR, struct model_conf, name, "name", NONE, "by which decisions name it", REQUIRED),
    F(FIELD_STR, struct model_conf, reasoning_family, "reasoning_family", NONE,
      "key of providers.defaults.reasoning_families"),
    F(FIELD_STR, struct model_conf, provider_model_id, "provider_model_id", NONE,
      "its name at the provider"),
    F(FIELD_ENUM, struct model_conf, api_format, "api_format", "openai", "dialect of its backends",
      .names = api_formats),
    F(FIELD_STRING_MAP, struct model_conf, external_model_ids, "external_model_ids", NONE,
      "its name by type of backend"),
    F(FIELD_STRUCT, struct model_conf, pricing, "pricing", NONE, "what it costs", .sub = &pricing),
    F(FIELD_STRUCT, struct model_conf, reliability, "reliability", NONE,
      "balancing, retries, ejection, health checks, timeouts", .sub = &reliability),
    F(FIELD_LIST, struct model_conf, backends, "backend_refs", NONE, "where it runs",
      .sub = &backend),
    KEY_VALUE("image_gen_backend", "image generation", UNBUILT),
    AT(struct model_conf));

WORDS(family_types, "chat_template_kwargs", "reasoning_effort", "top_level_reasoning_effort");
TABLE(family, struct reasoning_family,
    F(FIELD_STR, struct reasoning_family, name, FIELD_KEY_NAME, NONE, NULL),
    F(FIELD_ENUM, struct reasoning_family, type, "type", NONE, "how reasoning is switched",
      .names = family_types, REQUIRED),
    F(FIELD_STR, struct reasoning_family, parameter, "parameter", NONE, "name of the switch"));

TABLE(provider_defaults, struct draft,
    F(FIELD_STR, struct draft, config.default_model, "default_model", NONE,
      "answers when no decision matches"),
    F(FIELD_STR, struct draft, config.default_reasoning_effort, "default_reasoning_effort", NONE,
      "low, medium or high"),
    F(FIELD_MAP, struct draft, families, "reasoning_families", NONE,
      "ways to switch reasoning on and off", .sub = &family));

TABLE(providers, struct draft,
    KEY_MAP("defaults", provider_defaults, "for all models"),
    F(FIELD_LIST, struct draft, config.models, "models", NONE, "the models", .sub = &model));

/* ---- routing ---- */

TABLE(lora, struct lora_conf,
    F(FIELD_STR, struct lora_conf, name, "name", NONE, "name of the adapter", REQUIRED),
    F(FIELD_STR, struct lora_conf, description, "description", NONE, "what it is good at"),
    AT(struct lora_conf));

WORDS(modalities, "", "ar", "diffusion", "omni", "text", "image", "multimodal");
TABLE(card, struct card_conf,
    F(FIELD_STR, struct card_conf, name, "name", NONE, "the model it describes", REQUIRED),
    F(FIELD_STR, struct card_conf, param_size, "param_size", NONE, "like 7B"),
    F(FIELD_INT, struct card_conf, context_window, "context_window_size", NONE, "tokens",
      NOT_NEGATIVE),
    F(FIELD_STR, struct card_conf, description, "description", NONE, "what it is good at"),
    F(FIELD_STRINGS, struct card_conf, capabilities, "capabilities", NONE, "words"),
    F(FIELD_LIST, struct card_conf, loras, "loras", NONE, "its adapters", .sub = &lora),
    F(FIELD_FLOAT, struct card_conf, quality_score, "quality_score", NONE, "0: unknown",
      NOT_NEGATIVE),
    F(FIELD_ENUM, struct card_conf, modality, "modality", NONE, "what it produces",
      .names = modalities, .flags = FIELD_OPEN),
    F(FIELD_STRINGS, struct card_conf, tags, "tags", NONE, "words"),
    AT(struct card_conf));

WORDS(semantics, "exclusive", "softmax_exclusive");
TABLE(partition, struct partition_conf,
    F(FIELD_STR, struct partition_conf, name, "name", NONE, "name", REQUIRED),
    F(FIELD_ENUM, struct partition_conf, semantics, "semantics", "exclusive",
      "how the winner's confidence is set", .names = semantics),
    F(FIELD_FLOAT, struct partition_conf, temperature, "temperature", NONE,
      "of softmax_exclusive", NOT_NEGATIVE),
    F(FIELD_STRINGS, struct partition_conf, members, "members", NONE,
      "all domains or all embeddings", REQUIRED),
    F(FIELD_STR, struct partition_conf, default_member, "default", NONE, "when none matches",
      REQUIRED),
    AT(struct partition_conf));

WORDS(value_sources, "binary", "confidence", "raw", "score");
TABLE(score_input, struct score_input,
    F(FIELD_STR, struct score_input, type, "type", NONE, "leaf type, `projection` or `kb_metric`",
      REQUIRED),
    F(FIELD_STR, struct score_input, name, "name", NONE, "name of the signal or projection"),
    F(FIELD_STR, struct score_input, kb, "kb", NONE, "kb_metric: knowledge base"),
    F(FIELD_STR, struct score_input, metric, "metric", NONE, "kb_metric: its metric"),
    F(FIELD_FLOAT, struct score_input, weight, "weight", "0", "any sign"),
    F(FIELD_ENUM, struct score_input, value_source, "value_source", "binary",
      "which number of the signal", .names = value_sources),
    F(FIELD_FLOAT, struct score_input, match, "match", "1", "binary: when it matches"),
    F(FIELD_FLOAT, struct score_input, miss, "miss", "0", "binary: when it does not"),
    AT(struct score_input));

WORDS(score_methods, "weighted_sum");
TABLE(score, struct score_conf,
    F(FIELD_STR, struct score_conf, name, "name", NONE, "name", REQUIRED),
    F(FIELD_ENUM, struct score_conf, method, "method", "weighted_sum", "the only one",
      .names = score_methods),
    F(FIELD_LIST, struct score_conf, inputs, "inputs", NONE, "what is summed up",
      .sub = &score_input),
    AT(struct score_conf));

#define BOUND(type_, member_, key_, help_) F(FIELD_FLOAT, type_, member_, key_, "nan", help_)
TABLE(mapping_output, struct mapping_output,
    F(FIELD_STR, struct mapping_output, name, "name", NONE, "name, unique in the profile",
      REQUIRED),
    BOUND(struct mapping_output, bounds.gt, "gt", "score above"),
    BOUND(struct mapping_output, bounds.gte, "gte", "score at least"),
    BOUND(struct mapping_output, bounds.lt, "lt", "score below"),
    BOUND(struct mapping_output, bounds.lte, "lte", "score at most"),
    AT(struct mapping_output));
WORDS(calibrations, "sigmoid_distance");
TABLE(calibration, struct mapping_conf,
    KEY_ENUM("method", "sigmoid_distance", calibrations, "the only one"),
    F(FIELD_FLOAT, struct mapping_conf, slope, "slope", "12",
      "confidence = sigmoid(slope * distance to the nearest bound)", NOT_NEGATIVE));
WORDS(mapping_methods, "threshold_bands", "multi_emit");
TABLE(mapping, struct mapping_conf,
    F(FIELD_STR, struct mapping_conf, name, "name", NONE, "name", REQUIRED),
    F(FIELD_STR, struct mapping_conf, source, "source", NONE, "a score", REQUIRED),
    F(FIELD_ENUM, struct mapping_conf, method, "method", "threshold_bands",
      "first band that holds, or all", .names = mapping_methods),
    KEY_MAP("calibration", calibration, "confidence of the bands"),
    F(FIELD_LIST, struct mapping_conf, outputs, "outputs", NONE, "the bands",
      .sub = &mapping_output),
    AT(struct mapping_conf));

TABLE(projections, struct routing_draft,
    F(FIELD_LIST, struct routing_draft, partitions, "partitions", NONE,
      "signals of which one at most may hold", .sub = &partition),
    F(FIELD_LIST, struct routing_draft, scores, "scores", NONE, "weighted sums", .sub = &score),
    F(FIELD_LIST, struct routing_draft, mappings, "mappings", NONE, "names for bands of scores",
      .sub = &mapping));

/* ---- decisions ---- */

TABLE(predicate, struct number_predicate,
    BOUND(struct number_predicate, gt, "gt", "value above"),
    BOUND(struct number_predicate, gte, "gte", "value at least"),
    BOUND(struct number_predicate, lt, "lt", "value below"),
    BOUND(struct number_predicate, lte, "lte", "value at most"));

WORDS(on_error_names, "no_match", "match");
WORDS(on_unknown_names, "no_match", "match", "fail_request");
#define RULE_LINES /* in the order of enum rule_key */ \
    F(FIELD_STR, struct rule_draft, operator, "operator", NONE, \
      "AND, OR or NOT; anything else acts as OR"), \
    F(FIELD_LIST, struct rule_draft, conditions, "conditions", NONE, "what the operator joins", \
      .sub = &rule_fields), \
    F(FIELD_STR, struct rule_draft, type, "type", NONE, "leaf: type of the signal"), \
    F(FIELD_STR, struct rule_draft, name, "name", NONE, "leaf: its name"), \
    F(FIELD_STR, struct rule_draft, label, "label", NONE, "classifier leaf: its label"), \
    F(FIELD_STRUCT, struct rule_draft, predicate, "predicate", NONE, \
      "leaf: compares the signal's number instead", .sub = &predicate), \
    F(FIELD_ENUM, struct rule_draft, on_error, "on_error", NONE, \
      "classifier leaf: when the classifier fails; empty: no_match", .names = on_error_names), \
    F(FIELD_VALUE, struct rule_draft, set, FIELD_KEY_SET, NONE, NULL), \
    AT(struct rule_draft)

COUNTED(struct rule_draft, conditions, n_conditions);
static const struct field rule_keys[] = { RULE_LINES };
const struct fields rule_fields = FIELDS(struct rule_draft, rule_keys);
TABLE(root_rule, struct rule_draft,
    RULE_LINES,
    F(FIELD_ENUM, struct rule_draft, on_unknown, "on_unknown", NONE,
      "when a signal that matters is unknown", .names = on_unknown_names, OURS));

TABLE(model_ref, struct model_ref,
    F(FIELD_STR, struct model_ref, model, "model", NONE, "a model", REQUIRED),
    F(FIELD_STR, struct model_ref, lora_name, "lora_name", NONE, "one of its adapters"),
    F(FIELD_FLOAT, struct model_ref, weight, "weight", "0", "share, for algorithms that share",
      NOT_NEGATIVE),
    F(FIELD_BOOL, struct model_ref, use_reasoning, "use_reasoning", "false", "switch reasoning on"),
    F(FIELD_STR, struct model_ref, reasoning_effort, "reasoning_effort", NONE,
      "low, medium or high"),
    F(FIELD_STR, struct model_ref, reasoning_description, "reasoning_description", NONE,
      "for people"),
    AT(struct model_ref));

static const struct field plugin_use_keys[] = {
    F(FIELD_STR, struct plugin_draft, type, "type", NONE, "which plugin", REQUIRED),
    F(FIELD_VALUE, struct plugin_draft, configuration, "configuration", NONE, "its keys"),
    AT(struct plugin_draft),
};
const struct fields plugin_use_fields = FIELDS(struct plugin_draft, plugin_use_keys);

WORDS(adaptation_modes, "apply", "observe", "bypass");
WORDS(adaptation_sets, "decision", "tier", "global");
KEYS(adaptation,
    KEY_ENUM("mode", NONE, adaptation_modes, "whether it acts"),
    KEY_ENUM("candidate_set", NONE, adaptation_sets, "how far a choice may reach"));
KEYS(protection,
    KEY_ENUM("mode", NONE, adaptation_modes, "whether it acts"),
    KEY_FLOAT("stability_weight", NONE, NOT_NEGATIVE, "weight of staying"),
    KEY_FLOAT("switch_margin", NONE, NOT_NEGATIVE, "lead that a switch needs"));
KEYS(adaptations,
    KEY_ENUM("mode", NONE, adaptation_modes, "of both"),
    KEY_MAP("adaptation", adaptation, "exploration"),
    KEY_MAP("protection", protection, "stability of sessions"));

KEYS(iteration_output,
    KEY_TEXT("type", NONE, "model"),
    KEY_TEXT("value", NONE, "the variable"));
KEYS(candidate_iteration,
    KEY_TEXT("variable", NONE, "name"),
    KEY_TEXT("source", NONE, "models"),
    KEY_LIST("models", model_ref, "what it runs over"),
    KEY_LIST("outputs", iteration_output, "what each turn gives"));

KEYS(retention,
    KEY_BOOL("drop", "false", "keep no answer in the cache"),
    KEY_INT("ttl_turns", NONE, NOT_NEGATIVE, "minutes an answer is kept"),
    KEY_BOOL("keep_current_model", "false", "stay on the model"),
    KEY_BOOL("prefer_prefix_retention", "false", "keep the prompt's prefix"));
WORDS(emit_kinds, "retention");
KEYS(emit,
    KEY_ENUM("kind", NONE, emit_kinds, "what is said"),
    KEY_MAP("retention", retention, "how long things are kept"));

static const struct field decision_keys[] = {
    F(FIELD_STR, struct decision_draft, conf.name, "name", NONE, "unique in the profile", REQUIRED),
    F(FIELD_STR, struct decision_draft, conf.description, "description", NONE, "for people"),
    F(FIELD_INT, struct decision_draft, conf.priority, "priority", "0", "higher wins"),
    F(FIELD_INT, struct decision_draft, conf.tier, "tier", "0",
      "lower wins, before anything else; unset is 0", NOT_NEGATIVE),
    F(FIELD_STRUCT, struct decision_draft, rules, "rules", NONE, "when it applies; absent: always",
      .sub = &root_rule),
    F(FIELD_ENUM, struct decision_draft, on_unknown, "on_unknown", NONE,
      "like rules.on_unknown", .names = on_unknown_names, OURS),
    F(FIELD_LIST, struct decision_draft, conf.refs, "modelRefs", NONE, "the candidates",
      .sub = &model_ref),
    F(FIELD_VALUE, struct decision_draft, algorithm, "algorithm", NONE,
      "how one is chosen; absent: the first", .sub = &algorithm_fields),
    F(FIELD_LIST, struct decision_draft, plugins, "plugins", NONE, "what is done to the request",
      .sub = &plugin_use_fields),
    F(FIELD_STRING_MAP, struct decision_draft, conf.annotations, "annotations", NONE,
      "at most 32 keys and 4096 bytes, for logs"),
    KEY_MAP("adaptations", adaptations, "router learning"),
    KEY_LIST("candidateIterations", candidate_iteration, "loops of the policy language", UNBUILT),
    KEY_LIST("emits", emit, "directives for later steps", UNBUILT),
    KEY_TEXT("output_contract", NONE, "what the answer must be", UNBUILT),
    KEY_VALUE("output_contract_spec", "the same, to be checked", UNBUILT),
    F(FIELD_VALUE, struct decision_draft, conf.at, FIELD_KEY_PLACE, NONE, NULL),
};
COUNTED(struct decision_draft, plugins, n_plugins);
static const struct fields decision = FIELDS(struct decision_draft, decision_keys);

COUNTED(struct routing_draft, cards, n_cards);
COUNTED(struct routing_draft, partitions, n_partitions);
COUNTED(struct routing_draft, scores, n_scores);
COUNTED(struct routing_draft, mappings, n_mappings);
COUNTED(struct routing_draft, decisions, n_decisions);
COUNTED(struct draft, recipes, n_recipes);
COUNTED(struct draft, authz_providers, n_authz_providers);

WORDS(strategies, "", "priority", "confidence");
#define ROUTING_LINES \
    F(FIELD_ENUM, struct routing_draft, strategy, "strategy", NONE, \
      "how decisions rank; empty: global.router.strategy", .names = strategies), \
    F(FIELD_VALUE, struct routing_draft, signals, "signals", NONE, "what is looked for", \
      .sub = &signals_fields), \
    KEY_MAP("projections", projections, "what is made of the signals"), \
    F(FIELD_LIST, struct routing_draft, decisions, "decisions", NONE, "what follows", \
      .sub = &decision), \
    AT(struct routing_draft)
TABLE(routing, struct routing_draft,
    F(FIELD_LIST, struct routing_draft, cards, "modelCards", NONE,
      "what is known about the models; absent: one for each of providers.models", .sub = &card),
    ROUTING_LINES);
TABLE(recipe_routing, struct routing_draft, ROUTING_LINES);

TABLE(recipe, struct recipe_draft,
    F(FIELD_STR, struct recipe_draft, name, "name", NONE, "by which entrypoints name it", REQUIRED),
    F(FIELD_STR, struct recipe_draft, description, "description", NONE, "for people"),
    F(FIELD_STRUCT, struct recipe_draft, routing, "routing", NONE, "a profile of its own",
      .sub = &recipe_routing),
    AT(struct recipe_draft));

TABLE(entrypoint, struct entrypoint_conf,
    F(FIELD_STRINGS, struct entrypoint_conf, model_names, "model_names", NONE,
      "model names that mean this recipe", REQUIRED),
    F(FIELD_STR, struct entrypoint_conf, recipe, "recipe", NONE, "a recipe, or default", REQUIRED),
    AT(struct entrypoint_conf));

static const struct field document_keys[] = {
    F(FIELD_STR, struct draft, config.version, "version", "v0.3", "of the configuration format"),
    F(FIELD_LIST, struct draft, config.listeners, "listeners", NONE,
      "where to serve; absent: 127.0.0.1:8899", .sub = &listener),
    KEY_MAP("providers", providers, "models and where they run"),
    F(FIELD_STRUCT, struct draft, routing, "routing", NONE, "the default profile", .sub = &routing),
    F(FIELD_LIST, struct draft, config.entrypoints, "entrypoints", NONE,
      "model names that mean a recipe", .sub = &entrypoint),
    F(FIELD_LIST, struct draft, recipes, "recipes", NONE, "further profiles", .sub = &recipe),
    KEY_MAP("global", global_fields, "settings of the process"),
};
const struct fields document_fields = FIELDS(struct draft, document_keys);

/* ---- tables made from the families ---- */

enum { SIGNALS_MAX = 64, ALGORITHMS_MAX = 64 };

static struct field signal_lines[SIGNALS_MAX];
static struct fields signal_rules[SIGNALS_MAX];     /* one rule of each: name, description, its own */
static struct field algorithm_lines[ALGORITHMS_MAX];
static const char *algorithm_names[ALGORITHMS_MAX];
WORDS(algorithm_errors, "skip", "fallback", "fail");

struct fields signals_fields = { signal_lines, 0, 0 };
struct fields algorithm_fields = { algorithm_lines, 0, 0 };

static const struct field rule_common[] = {
    KEY_TEXT("name", NONE, "by which rules refer to it", REQUIRED),
    KEY_TEXT("description", NONE, "for people"),
};

/* The loader reads name and description; a type may still have them in its own table. */
static struct fields signal_rule_table(const struct fields *own)
{
    struct field *lines = calloc(own->n + COUNT_OF(rule_common), sizeof *lines);
    size_t n = 0;
    if (!lines)
        abort();                        /* some kilobytes at start-up */
    for (size_t i = 0; i < COUNT_OF(rule_common); i++)
        if (!field_find(own, str_of(rule_common[i].key)))
            lines[n++] = rule_common[i];
    for (size_t i = 0; i < own->n; i++)
        lines[n++] = own->items[i];
    return (struct fields){ lines, n, own->struct_size };
}

static void tables_make(void)
{
    size_t n = 0, n_names = 0;
    for (; signal_all[n]; n++) {
        assert(n < SIGNALS_MAX);
        signal_rules[n] = signal_rule_table(&signal_all[n]->fields);
        signal_lines[n] = (struct field){
            .key = signal_all[n]->collection, .type = FIELD_LIST, .offset = FIELD_NO_STORE,
            .sub = &signal_rules[n], .help = signal_all[n]->type,
        };
    }
    signals_fields.n = n;
    n = 0;
    algorithm_lines[n++] = (struct field)K(FIELD_ENUM, "type", "static", "which algorithm",
                                           .names = algorithm_names);
    algorithm_lines[n++] = (struct field)K(FIELD_ENUM, "on_error", NONE, "when it fails",
                                           .names = algorithm_errors, .flags = FIELD_OPEN);
    for (size_t i = 0; select_all[i]; i++) {
        assert(n < ALGORITHMS_MAX && n_names + 1 < ALGORITHMS_MAX);
        algorithm_names[n_names++] = select_all[i]->name;
        if (select_all[i]->block)
            algorithm_lines[n++] = (struct field){
                .key = select_all[i]->block, .type = FIELD_STRUCT, .offset = FIELD_NO_STORE,
                .sub = &select_all[i]->fields, .help = "settings of that algorithm",
            };
    }
    algorithm_fields.n = n;
}

void config_tables(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, tables_make);
}
