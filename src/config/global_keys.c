/* config/global_keys.c -- the tree below `global`, key by key (spec 01 1.5, spec 02 3 to 7).
 *
 * Most of it configures parts that are not built yet. Their keys are known all the same, so
 * that a VSR configuration is checked in full and a typo in a section of tomorrow is found
 * today. What the gateway reads now has a place in struct draft; modules look up the rest in
 * the merged tree (config->global). */
#include "config/tables.h"

#include "base/keys.h"
#include "select/judge.h"

#define UNBUILT .flags = FIELD_NOT_BUILT
#define IGNORED .flags = FIELD_IGNORED
#define OURS .flags = FIELD_EXTENSION
#define OPTIONAL .flags = FIELD_OPTIONAL

/* ---- shared by several sections ---- */

KEYS(prototype_scoring,
    KEY_BOOL("enabled", "true", "cluster the examples and score against the clusters"),
    KEY_FLOAT("cluster_similarity_threshold", "0.9", SHARE,
              "cosine at which examples share a cluster"),
    KEY_INT("max_prototypes", "8", POSITIVE, "clusters kept for a rule"),
    KEY_FLOAT("best_weight", "0.75", SHARE, "weight of the best prototype against the mean of top_m"),
    KEY_INT("top_m", "2", POSITIVE, "prototypes in the mean"),
    KEY_FLOAT("margin_threshold", "0", BOUNDS(-1, 1), "least lead over the second rule"));

KEYS(redis_common,
    KEY_TEXT("address", NONE, "host:port"),
    KEY_INT("db", "0", NOT_NEGATIVE, "database number"),
    KEY_SECRET("password", "password"),
    KEY_BOOL("use_tls", "false", "connect with TLS"),
    KEY_BOOL("tls_skip_verify", "false", "do not verify the server certificate"),
    KEY_INT("max_retries", "3", NOT_NEGATIVE, "retries of one command"),
    KEY_INT("pool_size", "10", POSITIVE, "connections"),
    KEY_TEXT("key_prefix", NONE, "put before every key"));

KEYS(postgres,
    KEY_TEXT("host", NONE, "host"),
    KEY_INT("port", "5432", PORT, "port"),
    KEY_TEXT("database", NONE, "database"),
    KEY_TEXT("user", NONE, "user"),
    KEY_SECRET("password", "password"),
    KEY_TEXT("ssl_mode", NONE, "libpq sslmode: disable, require, verify-full"),
    KEY_INT("max_open_conns", NONE, NOT_NEGATIVE, "connections at most"),
    KEY_INT("max_idle_conns", NONE, NOT_NEGATIVE, "idle connections kept"),
    KEY_INT("conn_max_lifetime", NONE, NOT_NEGATIVE, "seconds after which a connection is renewed"),
    KEY_TEXT("table_name", NONE, "table"));

KEYS(tls_paths,
    KEY_BOOL("enabled", "false", "connect with TLS"),
    KEY_TEXT("cert_file", NONE, "client certificate, PEM"),
    KEY_TEXT("key_file", NONE, "its key, PEM"),
    KEY_TEXT("ca_file", NONE, "certificate authorities, PEM"));

KEYS(login,
    KEY_BOOL("enabled", "false", "log in"),
    KEY_TEXT("username", NONE, "user"),
    KEY_SECRET("password", "password"));

KEYS(milvus_connection,
    KEY_TEXT("host", NONE, "host"),
    KEY_INT("port", "19530", PORT, "port"),
    KEY_TEXT("database", NONE, "database"),
    KEY_INT("timeout", NONE, NOT_NEGATIVE, "seconds"),
    KEY_MAP("auth", login, "log in"),
    KEY_MAP("tls", tls_paths, "TLS"));

KEYS(vector_field,
    KEY_TEXT("name", NONE, "field with the vector"),
    KEY_INT("dimension", NONE, NOT_NEGATIVE, "length of the vector"),
    KEY_TEXT("metric_type", NONE, "COSINE, IP or L2"));

KEYS(hnsw_params,
    KEY_INT("M", "16", POSITIVE, "neighbours of a node"),
    KEY_INT("efConstruction", "200", POSITIVE, "candidates while building"));

KEYS(vector_index,
    KEY_TEXT("type", NONE, "HNSW, FLAT"),
    KEY_MAP("params", hnsw_params, "of the index"));

KEYS(milvus_collection,
    KEY_TEXT("name", NONE, "collection"),
    KEY_TEXT("description", NONE, "shown by Milvus"),
    KEY_MAP("vector_field", vector_field, "the vector"),
    KEY_MAP("index", vector_index, "its index"));

KEYS(search_params, KEY_INT("ef", NONE, NOT_NEGATIVE, "candidates while searching"));

KEYS(milvus_search,
    KEY_MAP("params", search_params, "of the search"),
    KEY_INT("topk", NONE, NOT_NEGATIVE, "results"),
    KEY_TEXT("consistency_level", NONE, "Strong, Bounded, Session, Eventually"));

KEYS(connection_pool,
    KEY_INT("max_connections", NONE, NOT_NEGATIVE, "connections at most"),
    KEY_INT("max_idle_connections", NONE, NOT_NEGATIVE, "idle connections kept"),
    KEY_INT("acquire_timeout", NONE, NOT_NEGATIVE, "seconds to wait for one"));

KEYS(insert_batch,
    KEY_INT("insert_batch_size", NONE, NOT_NEGATIVE, "rows in one insert"),
    KEY_INT("timeout", NONE, NOT_NEGATIVE, "seconds"));

KEYS(milvus_performance,
    KEY_MAP("connection_pool", connection_pool, "connections"),
    KEY_MAP("batch", insert_batch, "inserts"));

KEYS(milvus_ttl,
    KEY_BOOL("enabled", NONE, "delete old rows"),
    KEY_TEXT("timestamp_field", NONE, "field with the time of writing"),
    KEY_INT("cleanup_interval", NONE, NOT_NEGATIVE, "seconds"));

KEYS(milvus_compaction,
    KEY_BOOL("enabled", NONE, "compact"),
    KEY_INT("interval", NONE, NOT_NEGATIVE, "seconds"));

KEYS(milvus_data,
    KEY_MAP("ttl", milvus_ttl, "expiry"),
    KEY_MAP("compaction", milvus_compaction, "compaction"));

KEYS(store_logging,
    KEY_TEXT("level", NONE, "debug, info, warn, error"),
    KEY_BOOL("enable_query_log", NONE, "log queries"),
    KEY_BOOL("enable_metrics", NONE, "count"));

KEYS(store_development,
    KEY_BOOL("drop_collection_on_startup", NONE, "start empty"),
    KEY_BOOL("drop_index_on_startup", NONE, "build the index anew"),
    KEY_BOOL("auto_create_collection", NONE, "make the collection when it is missing"),
    KEY_BOOL("auto_create_index", NONE, "make the index when it is missing"),
    KEY_BOOL("verbose_errors", NONE, "say more"));

KEYS(milvus_full,
    KEY_MAP("connection", milvus_connection, "where Milvus is"),
    KEY_MAP("collection", milvus_collection, "what it holds"),
    KEY_MAP("search", milvus_search, "how it searches"),
    KEY_MAP("performance", milvus_performance, "pools and batches"),
    KEY_MAP("data_management", milvus_data, "expiry and compaction"),
    KEY_MAP("logging", store_logging, "logging"),
    KEY_MAP("development", store_development, "for development"));

/* ---- global.router ---- */

KEYS(streamed_body,
    KEY_BOOL("enabled", "false", "ext_proc: take the body in pieces"),
    KEY_INT("max_bytes", NONE, NOT_NEGATIVE, "of one body"),
    KEY_INT("timeout_sec", NONE, NOT_NEGATIVE, "for one body"));

KEYS(skip_processing, KEY_BOOL("enabled", "false", "honour the skip header"));

KEYS(selection_router_dc,
    KEY_FLOAT("temperature", NONE, NOT_NEGATIVE, "of the sigmoid"),
    KEY_INT("dimension_size", NONE, NOT_NEGATIVE, "read by nothing", IGNORED),
    KEY_FLOAT("min_similarity", NONE, BOUNDS(-1, 1), "below: the first candidate"),
    KEY_BOOL("use_query_contrastive", NONE, "read by nothing", IGNORED),
    KEY_BOOL("use_model_contrastive", NONE, "read by nothing", IGNORED),
    KEY_BOOL("require_descriptions", NONE, "complain about cards without a description"),
    KEY_BOOL("use_capabilities", NONE, "add the card's capabilities to its text"));

KEYS(selection_automix,
    KEY_FLOAT("verification_threshold", NONE, SHARE, "below: escalation counts"),
    KEY_INT("max_escalations", NONE, NOT_NEGATIVE, "at most"),
    KEY_BOOL("cost_aware_routing", NONE, "weigh cost"),
    KEY_FLOAT("cost_quality_tradeoff", NONE, SHARE, "weight of cost"),
    KEY_FLOAT("discount_factor", NONE, SHARE, "of later rewards"),
    KEY_BOOL("use_logprob_verification", NONE, "verify by log-probabilities"));

KEYS(selection_hybrid,
    KEY_FLOAT("experience_weight", NONE, SHARE, "weight of experience"),
    KEY_FLOAT("router_dc_weight", NONE, SHARE, "weight of card similarity"),
    KEY_FLOAT("automix_weight", NONE, SHARE, "weight of the value estimate"),
    KEY_FLOAT("cost_weight", NONE, SHARE, "weight of cost"),
    KEY_FLOAT("quality_gap_threshold", NONE, SHARE, "read by nothing", IGNORED),
    KEY_BOOL("normalize_scores", NONE, "bring component scores to one scale"));

KEYS(momentum,
    KEY_BOOL("enabled", NONE, "smooth scores over time"),
    KEY_FLOAT("attack", NONE, SHARE, "upwards"),
    KEY_FLOAT("release", NONE, SHARE, "downwards"),
    KEY_FLOAT("threshold", NONE, SHARE, "least change"));

KEYS(ml_knn,
    KEY_INT("k", "5", POSITIVE, "neighbours"),
    KEY_TEXT("pretrained_path", NONE, "table of examples"));
KEYS(ml_kmeans,
    KEY_INT("num_clusters", "8", POSITIVE, "clusters"),
    KEY_FLOAT("efficiency_weight", "0.1", SHARE, "weight of cost"),
    KEY_TEXT("pretrained_path", NONE, "centroids"));
KEYS(ml_svm,
    KEY_TEXT("kernel", "rbf", "rbf or linear"),
    KEY_FLOAT("gamma", "1", NOT_NEGATIVE, "read by nothing", IGNORED),
    KEY_TEXT("pretrained_path", NONE, "support vectors"));
KEYS(ml_mlp,
    KEY_TEXT("device", "cpu", "read by nothing", IGNORED),
    KEY_TEXT("pretrained_path", NONE, "weights"));
KEYS(ml,
    KEY_TEXT("models_path", NONE, "read by nothing", IGNORED),
    KEY_INT("embedding_dim", NONE, NOT_NEGATIVE, "read by nothing", IGNORED),
    KEY_MAP("knn", ml_knn, "nearest neighbours"),
    KEY_MAP("kmeans", ml_kmeans, "clusters"),
    KEY_MAP("svm", ml_svm, "support vectors"),
    KEY_MAP("mlp", ml_mlp, "a small network"));

KEYS(model_selection,
    KEY_BOOL("enabled", "true", "choose among a decision's candidates"),
    KEY_TEXT("method", "knn", "without effect: each decision's algorithm decides", IGNORED),
    KEY_MAP("router_dc", selection_router_dc, "defaults of router_dc", UNBUILT),
    KEY_MAP("automix", selection_automix, "defaults of automix", UNBUILT),
    KEY_MAP("hybrid", selection_hybrid, "defaults of hybrid", UNBUILT),
    KEY_MAP("momentum", momentum, "smoothing", UNBUILT),
    KEY_MAP("ml", ml, "tables for knn, kmeans, svm, mlp"));

WORDS(candidate_sets, "decision", "tier", "global");
WORDS(learning_strategies, "thompson", "linucb", "fixed_share", "routing_sampling");
#define LEARNING(type_, member_, key_, default_, ...) F(type_, struct draft, config.learning.member_, key_, default_, __VA_ARGS__)
TABLE(learning_adaptation, struct draft,
    LEARNING(FIELD_BOOL, adapts, "enabled", "true", "let outcomes change the choice of model"),
    LEARNING(FIELD_ENUM, candidate_set, "candidate_set", "decision", "how far a choice may reach", .names = candidate_sets),
    LEARNING(FIELD_ENUM, strategy, "strategy", "thompson",
             "what outcomes speak of: the model and the kind of query; a context of two dozen numbers, with a prior that all models "
             "share; the model's standing just now. `routing_sampling` is VSR's name for thompson", .names = learning_strategies),
    LEARNING(FIELD_FLOAT, scale, "exploration", "0.3",
             "deviations of beliefs count so many times: 1 samples from them, 0 takes the best mean", NOT_NEGATIVE, OURS),
    LEARNING(FIELD_FLOAT, floor, "exploration_floor", "0.01",
             "share of choices spread evenly over all candidates, so that other policies can be judged from the log", SHARE, OURS),
    LEARNING(FIELD_INT, screen_top, "screen_top", "0",
             "with more candidates only so many, at most 16, are chosen from: the best by .50 expectation, .35 success, .15 load, latency "
             "and availability; the others keep the floor's share. 0: all", NOT_NEGATIVE, OURS),
    LEARNING(FIELD_FLOAT, rate, "rate", "0.1", "fixed_share: how far one outcome moves the weight of a model", SHARE, OURS),
    LEARNING(FIELD_FLOAT, share, "share", "0.005", "fixed_share: part of all weight that is dealt out evenly after every outcome",
             SHARE, OURS));
TABLE(learning_headers, struct draft,
    LEARNING(FIELD_STR, session_header, "session", "x-session-id", "header with the session"),
    LEARNING(FIELD_STR, conversation_header, "conversation", "x-conversation-id", "header with the conversation"));
TABLE(learning_identity, struct draft, KEY_MAP("headers", learning_headers, "which headers identify"));
TABLE(learning_tuning, struct draft,
    LEARNING(FIELD_INT, holds.idle_s, "idle_timeout_seconds", "300", "after which a session may switch", NOT_NEGATIVE),
    LEARNING(FIELD_INT, holds.turns_min, "min_turns_before_switch", "1", "turns on one model at least", NOT_NEGATIVE),
    LEARNING(FIELD_FLOAT, holds.margin, "switch_margin", "0.05", "lead that a switch needs", NOT_NEGATIVE),
    LEARNING(FIELD_FLOAT, holds.stability, "stability_weight", "1", "weight of staying", NOT_NEGATIVE));
WORDS(protection_scopes, "conversation", "session");
TABLE(learning_protection, struct draft,
    LEARNING(FIELD_BOOL, protects, "enabled", "true", "keep a conversation on its model"),
    LEARNING(FIELD_ENUM, scope, "scope", "conversation", "what is kept together", .names = protection_scopes),
    KEY_MAP("identity", learning_identity, "how sessions are recognised"),
    KEY_MAP("tuning", learning_tuning, "how hard it holds"));
#define AFFINITY(type_, member_, key_, default_, ...) \
    F(type_, struct draft, config.affinity.member_, key_, default_, __VA_ARGS__, OURS)
TABLE(session_affinity, struct draft,
    AFFINITY(FIELD_BOOL, is_enabled, "enabled", "true",
             "keep a conversation on its model while learning is off: a switch loses the provider's prompt cache"),
    AFFINITY(FIELD_INT, holds.idle_s, "idle_timeout_seconds", "300", "silence after which it may switch freely", NOT_NEGATIVE),
    AFFINITY(FIELD_INT, holds.turns_min, "min_turns_before_switch", "1", "turns on one model at least", NOT_NEGATIVE),
    AFFINITY(FIELD_FLOAT, holds.margin, "switch_margin", "0.05", "quality that a switch must gain", NOT_NEGATIVE),
    AFFINITY(FIELD_FLOAT, holds.stability, "stability_weight", "1", "weight of the warm cache", NOT_NEGATIVE));
KEYS(learning_redis,
    KEY_TEXT("address", NONE, "host:port"),
    KEY_SECRET("password", "password"),
    KEY_INT("database", "0", NOT_NEGATIVE, "database number"),
    KEY_TEXT("key_prefix", "vsr:router-session:v1:", "put before every key"));
WORDS(learning_backends, "local", "redis");
KEYS(learning_store,
    KEY_ENUM("backend", "local", learning_backends, "where sessions are kept; only `local` is built"),
    KEY_INT("ttl_seconds", "0", NOT_NEGATIVE, "0: no expiry"),
    KEY_INT("timeout_ms", "50", NOT_NEGATIVE, "of one operation"),
    KEY_MAP("redis", learning_redis, "the shared store", .flags = FIELD_OPTIONAL | FIELD_NOT_BUILT));
WORDS(payers, "all", "key", "user", "team", "project");
TABLE(learning_pacing, struct draft,
    LEARNING(FIELD_FLOAT, budget_usd, "budget_usd", "0",
             "what a window may cost, never more; its pace lowers the value of dear models; 0: no budget", NOT_NEGATIVE),
    LEARNING(FIELD_ENUM, budget_per, "per", "all", "who has a budget of that much: all together, or each key, user, team or project",
             .names = payers),
    LEARNING(FIELD_DURATION, window_ns, "window", "24h", "length of a window"),
    LEARNING(FIELD_BOOL, window_slides, "sliding", "false", "any time of that length is a window; else windows follow each other"),
    LEARNING(FIELD_INT, output_tokens, "max_output_tokens", "4096",
             "tokens reserved for the answer of a request that names no maximum", POSITIVE));
TABLE(learning, struct draft,
    LEARNING(FIELD_BOOL, is_enabled, "enabled", "false", "learn from outcomes"),
    LEARNING(FIELD_STR, state_dir, "state_dir", NONE, "directory of the learned state and its journal; empty: in memory only", OURS),
    LEARNING(FIELD_STR, table, "table", NONE,
             "a table of `train selector` that says what to expect of a model; empty: the model cards do", OURS),
    LEARNING(FIELD_DURATION, checkpoint_ns, "checkpoint", "60s",
             "how often the state file is written; outcomes are in the journal at once", OURS),
    KEY_MAP("adaptation", learning_adaptation, "exploration"),
    KEY_MAP("protection", learning_protection, "stability of sessions"),
    KEY_MAP("state_store", learning_store, "where sessions are kept"),
    KEY_MAP("pacing", learning_pacing, "a budget that is spent evenly and never overspent, for all requests together or by who pays", OURS),
    K(FIELD_STRUCT, "judge", NONE, "a model that marks a share of the answers", .sub = &judge_fields,
      .flags = FIELD_EXTENSION | FIELD_OPTIONAL));

WORDS(config_sources, "file", "kubernetes");
WORDS(strategies, "", "priority", "confidence");
WORDS(rankings, "v0.3-2026-08", "v0.3-2026-09");

static const struct field router_keys[] = {
    KEY_ENUM("config_source", "file", config_sources, "only `file` is built"),
    F(FIELD_ENUM, struct draft, strategy, "strategy", "",
      "how decisions of profiles without a strategy rank; empty: priority", .names = strategies),
    F(FIELD_ENUM, struct draft, ranking, "ranking", "v0.3-2026-08",
      "revision of the ranking and of the logic", .names = rankings, OURS),
    F(FIELD_STR, struct draft, auto_model_name, "auto_model_name", "MoM",
      "a model name that means: route this"),
    F(FIELD_STRINGS, struct draft, auto_model_names, "auto_model_names", NONE,
      "all names that mean: route this; instead of vllm-sr/auto, auto and auto_model_name"),
    F(FIELD_BOOL, struct draft, config.include_config_models_in_list,
      "include_config_models_in_list", "false", "GET /v1/models also lists concrete models"),
    KEY_BOOL("clear_route_cache", "true", "Envoy only", IGNORED),
    KEY_MAP("streamed_body", streamed_body, "Envoy only", IGNORED),
    KEY_MAP("skip_processing", skip_processing, "let callers skip routing", UNBUILT),
    KEY_MAP("model_selection", model_selection, "defaults of the selection algorithms"),
    KEY_MAP("learning", learning, "router learning"),
    KEY_MAP("session_affinity", session_affinity, "conversations keep their model", OURS),
};
static const struct fields router = FIELDS(struct draft, router_keys);

/* ---- global.services ---- */

KEYS(batch_size_range,
    KEY_INT("min", NONE, NOT_NEGATIVE, "from"),
    KEY_INT("max", NONE, NOT_NEGATIVE, "to"),
    KEY_TEXT("label", NONE, "name of the range"));
KEYS(batch_metrics,
    KEY_BOOL("enabled", NONE, "count"),
    KEY_FLOAT("sample_rate", NONE, SHARE, "share that is counted"),
    KEY_LIST("batch_size_ranges", batch_size_range, "labels of batch sizes"),
    KEY_VALUE("duration_buckets", "histogram bounds, seconds"),
    KEY_VALUE("size_buckets", "histogram bounds, texts"),
    KEY_BOOL("detailed_goroutine_tracking", NONE, "read by nothing here", IGNORED),
    KEY_BOOL("high_resolution_timing", NONE, "read by nothing here", IGNORED));
KEYS(batch_classification,
    KEY_INT("max_batch_size", NONE, NOT_NEGATIVE, "texts in one call"),
    KEY_INT("concurrency_threshold", NONE, NOT_NEGATIVE, "texts from which work is spread"),
    KEY_INT("max_concurrency", NONE, NOT_NEGATIVE, "workers"),
    KEY_MAP("metrics", batch_metrics, "metrics of the batch API"));
KEYS(api, KEY_MAP("batch_classification", batch_classification, "the batch API", IGNORED));

WORDS(response_backends, "redis", "memory", "sqlite");
KEYS(response_redis,
    KEY_TEXT("address", NONE, "host:port"),
    KEY_SECRET("password", "password"),
    KEY_INT("db", "0", NOT_NEGATIVE, "database number"),
    KEY_TEXT("key_prefix", "sr:", "put before every key"),
    KEY_BOOL("cluster_mode", "false", "talk to a cluster"),
    KEY_STRINGS("cluster_addresses", NONE, "its nodes"),
    KEY_INT("pool_size", NONE, NOT_NEGATIVE, "connections"),
    KEY_INT("min_idle_conns", NONE, NOT_NEGATIVE, "idle connections kept"),
    KEY_INT("max_retries", NONE, NOT_NEGATIVE, "retries of one command"),
    KEY_INT("dial_timeout", NONE, NOT_NEGATIVE, "seconds"),
    KEY_INT("read_timeout", NONE, NOT_NEGATIVE, "seconds"),
    KEY_INT("write_timeout", NONE, NOT_NEGATIVE, "seconds"),
    KEY_BOOL("tls_enabled", "false", "connect with TLS"),
    KEY_TEXT("tls_cert_path", NONE, "client certificate, PEM"),
    KEY_TEXT("tls_key_path", NONE, "its key, PEM"),
    KEY_TEXT("tls_ca_path", NONE, "certificate authorities, PEM"),
    KEY_TEXT("config_path", NONE, "a file with these keys"));
#define RESPONSES(type_, member_, key_, default_, ...) \
    F(type_, struct draft, config.response_api.member_, key_, default_, __VA_ARGS__)
TABLE(response_api, struct draft,
    RESPONSES(FIELD_BOOL, is_enabled, "enabled", "true", "store responses, so that previous_response_id works"),
    RESPONSES(FIELD_ENUM, backend, "store_backend", "redis",
              "where; redis is not built: the state file (global.state.path) where there is one, else memory",
              .names = response_backends),
    RESPONSES(FIELD_INT, ttl_s, "ttl_seconds", "86400", "how long; 0: for ever", NOT_NEGATIVE),
    RESPONSES(FIELD_INT, max_responses, "max_responses", "1000", "the oldest make room; 0: no bound", NOT_NEGATIVE),
    RESPONSES(FIELD_BYTES, max_bytes, "max_bytes", "256MiB", "the same for their bytes", OURS),
    RESPONSES(FIELD_STR, path, "path", NONE, "sqlite: the file; empty: global.state.path", OURS),
    KEY_MAP("redis", response_redis, "the shared store", .flags = FIELD_OPTIONAL | FIELD_NOT_BUILT));

WORDS(replay_backends, "memory", "redis", "postgres", "milvus", "qdrant");
KEYS(replay_milvus,
    KEY_TEXT("address", NONE, "host:port"),
    KEY_TEXT("username", NONE, "user"),
    KEY_SECRET("password", "password"),
    KEY_TEXT("collection_name", NONE, "collection"),
    KEY_TEXT("consistency_level", NONE, "Strong, Bounded, Session, Eventually"),
    KEY_INT("shard_num", NONE, NOT_NEGATIVE, "shards"));
KEYS(replay_qdrant,
    KEY_TEXT("host", NONE, "host"),
    KEY_INT("port", "6334", PORT, "port"),
    KEY_SECRET("api_key", "key"),
    KEY_BOOL("use_tls", "false", "connect with TLS"),
    KEY_TEXT("collection_name", NONE, "collection"));
KEYS(router_replay,
    KEY_BOOL("enabled", "false", "record what was decided"),
    KEY_ENUM("store_backend", "memory", replay_backends, "where"),
    KEY_INT("ttl_seconds", "2592000", NOT_NEGATIVE, "how long"),
    KEY_BOOL("async_writes", "false", "write behind the request"),
    KEY_INT("max_records", NONE, NOT_NEGATIVE, "in memory"),
    KEY_BOOL("capture_request_body", NONE, "keep requests"),
    KEY_BOOL("capture_response_body", NONE, "keep answers"),
    KEY_INT("max_body_bytes", NONE, NOT_NEGATIVE, "of one kept body"),
    KEY_INT("max_tool_trace_bytes", NONE, NOT_NEGATIVE, "0: unlimited"),
    KEY_INT("max_tool_trace_steps", NONE, NOT_NEGATIVE, "0: unlimited"),
    KEY_MAP("redis", redis_common, "Redis", OPTIONAL),
    KEY_MAP("postgres", postgres, "PostgreSQL", OPTIONAL),
    KEY_MAP("milvus", replay_milvus, "Milvus", OPTIONAL),
    KEY_MAP("qdrant", replay_qdrant, "Qdrant", OPTIONAL));

WORDS(status_backends, "file", "redis");
KEYS(startup_status,
    KEY_ENUM("store_backend", "file", status_backends, "where the start-up status is shown"),
    KEY_MAP("redis", redis_common, "Redis", OPTIONAL));

WORDS(exporters, "otlp", "stdout");
WORDS(samplings, "always_on", "always_off", "probabilistic");
static const struct field exporter_keys[] = {
    KEY_ENUM("type", "otlp", exporters, "how spans leave", .flags = FIELD_OPEN),
    F(FIELD_STR, struct draft, config.observability.trace_endpoint, "endpoint",
      "vllm-sr-jaeger:4317", "host:port of the collector"),
    KEY_BOOL("insecure", "true", "without TLS"),
};
static const struct fields exporter = FIELDS(struct draft, exporter_keys);
static const struct field sampling_keys[] = {
    F(FIELD_ENUM, struct draft, config.observability.trace_sampling, "type", "always_on",
      "which requests are traced", .names = samplings, .flags = FIELD_OPEN),
    F(FIELD_FLOAT, struct draft, config.observability.trace_rate, "rate", "1",
      "share, for probabilistic", .min = 0, .max = 1),
};
static const struct fields sampling = FIELDS(struct draft, sampling_keys);
static const struct field resource_keys[] = {
    F(FIELD_STR, struct draft, config.observability.service_name, "service_name", "vllm-sr",
      "service.name"),
    KEY_TEXT("service_version", "v0.3.0", "service.version"),
    F(FIELD_STR, struct draft, config.observability.environment, "deployment_environment", NONE,
      "deployment.environment"),
};
static const struct fields resource = FIELDS(struct draft, resource_keys);
static const struct field tracing_keys[] = {
    F(FIELD_BOOL, struct draft, config.observability.tracing_enabled, "enabled", "true",
      "make spans"),
    KEY_TEXT("provider", "opentelemetry", "the only one"),
    KEY_MAP("exporter", exporter, "where spans go"),
    KEY_MAP("sampling", sampling, "how many"),
    KEY_MAP("resource", resource, "what they say about this process"),
};
static const struct fields tracing = FIELDS(struct draft, tracing_keys);
KEYS(windowed_metrics,
    KEY_BOOL("enabled", "false", "gauges over windows"),
    KEY_STRINGS("time_windows", NONE, "durations"),
    KEY_TEXT("update_interval", NONE, "duration"),
    KEY_BOOL("model_metrics", NONE, "by model"),
    KEY_BOOL("queue_depth_estimation", NONE, "estimate queues"),
    KEY_INT("max_models", NONE, NOT_NEGATIVE, "models followed"));
static const struct field metrics_keys[] = {
    F(FIELD_BOOL, struct draft, config.observability.metrics_enabled, "enabled", "true",
      "serve GET /metrics"),
    F(FIELD_INT, struct draft, config.observability.metrics_port, "port", "0",
      "a port of its own for /metrics, VSR's is 9190; 0: only the management port", .min = 0,
      .max = 65535, OURS),
    KEY_MAP("windowed_metrics", windowed_metrics, "windowed gauges: always there", IGNORED),
};
static const struct fields metrics = FIELDS(struct draft, metrics_keys);
static const struct field observability_keys[] = {
    KEY_MAP("tracing", tracing, "OpenTelemetry traces"),
    KEY_MAP("metrics", metrics, "Prometheus metrics"),
    F(FIELD_STR, struct draft, config.observability.access_log, "access_log", "stderr",
      "one line a request: a path, stdout, stderr or off", OURS),
    F(FIELD_BOOL, struct draft, config.observability.access_log_capture, "access_log_capture",
      "false", "put requests' bodies into the log, for `signalbox replay`", OURS),
};
static const struct fields observability = FIELDS(struct draft, observability_keys);

static const struct field identity_keys[] = {
    F(FIELD_STR, struct draft, config.user_id_header, "user_id_header", "x-authz-user-id",
      "header with the user, set by a trusted proxy"),
    F(FIELD_STR, struct draft, config.user_groups_header, "user_groups_header",
      "x-authz-user-groups", "header with the groups, comma separated"),
};
static const struct fields identity = FIELDS(struct draft, identity_keys);
WORDS(authz_providers, "header-injection", "static-config");
TABLE(authz_provider, struct authz_provider,
    F(FIELD_ENUM, struct authz_provider, type, "type", NONE, "where keys come from",
      .names = authz_providers, .flags = FIELD_REQUIRED),
    F(FIELD_STRING_MAP, struct authz_provider, headers, "headers", NONE,
      "header-injection: provider -> request header that carries its key"),
    F(FIELD_STRUCT, struct authz_provider, at, FIELD_KEY_PLACE, NONE, NULL));
static const struct field authz_keys[] = {
    F(FIELD_BOOL, struct draft, config.authz_fail_open, "fail_open", "false",
      "let requests without identity or key through"),
    KEY_MAP("identity", identity, "who is asking"),
    F(FIELD_LIST, struct draft, authz_providers, "providers", NONE,
      "chain of sources of upstream keys, first hit wins", .sub = &authz_provider),
};
static const struct fields authz = FIELDS(struct draft, authz_keys);

WORDS(auth_modes, "disabled", "bearer");
TABLE(auth_token, struct management_token,
    F(FIELD_STR, struct management_token, env, "env", NONE,
      "environment variable with the token", .flags = FIELD_REQUIRED),
    F(FIELD_STR, struct management_token, role, "role", NONE, "what its bearer may do"));
static const struct field management_auth_keys[] = {
    F(FIELD_ENUM, struct draft, config.management.auth_mode, "mode", "disabled",
      "disabled: everybody is admin", .names = auth_modes),
    F(FIELD_LIST, struct draft, config.management.tokens, "tokens", NONE, "known bearers",
      .sub = &auth_token),
    F(FIELD_VALUE, struct draft, config.management.roles, "roles", NONE,
      "role -> list of permissions"),
};
static const struct fields management_auth = FIELDS(struct draft, management_auth_keys);
static const struct field management_keys[] = {
    F(FIELD_STR, struct draft, config.management.bind_address, "bind_address", "127.0.0.1",
      "address of the management API"),
    F(FIELD_INT, struct draft, config.management.port, "port", "8080",
      "its port; 0: any free one", .min = 0, .max = 65535),
    F(FIELD_BOOL, struct draft, config.management.remote_exposure, "remote_exposure", "false",
      "VSR's leave to bind beyond loopback; here a token is what that takes", IGNORED),
    KEY_MAP("auth", management_auth, "who may use it"),
};
static const struct fields management = FIELDS(struct draft, management_keys);

KEYS(services,
    KEY_MAP("api", api, "classification API"),
    KEY_MAP("response_api", response_api, "stored responses"),
    KEY_MAP("observability", observability, "metrics, traces, access log"),
    KEY_MAP("authz", authz, "identity and upstream keys"),
    KEY_MAP("ratelimit", ratelimit_fields, "limits by user, group, model", OPTIONAL),
    KEY_MAP("management_api", management, "the management API"),
    KEY_MAP("router_replay", router_replay, "records of decisions", UNBUILT),
    KEY_MAP("startup_status", startup_status, "start-up status", IGNORED));

/* ---- global.stores ---- */

WORDS(cache_backends, "memory", "redis", "valkey", "milvus", "qdrant", "hybrid");
WORDS(evictions, "fifo", "lru", "lfu");
KEYS(cache_redis_connection,
    KEY_TEXT("host", NONE, "host"),
    KEY_INT("port", "6379", PORT, "port"),
    KEY_INT("database", "0", NOT_NEGATIVE, "database number"),
    KEY_SECRET("password", "password"),
    KEY_INT("timeout", NONE, NOT_NEGATIVE, "seconds"),
    KEY_MAP("tls", tls_paths, "TLS"));
KEYS(cache_redis_index,
    KEY_TEXT("name", NONE, "index"),
    KEY_TEXT("prefix", NONE, "put before every key"),
    KEY_MAP("vector_field", vector_field, "the vector"),
    KEY_TEXT("index_type", NONE, "HNSW or FLAT"),
    KEY_MAP("params", hnsw_params, "of the index"));
KEYS(cache_redis_search, KEY_INT("topk", NONE, NOT_NEGATIVE, "results"));
KEYS(cache_redis,
    KEY_MAP("connection", cache_redis_connection, "where it is"),
    KEY_MAP("index", cache_redis_index, "its index"),
    KEY_MAP("search", cache_redis_search, "how it searches"),
    KEY_MAP("logging", store_logging, "logging"),
    KEY_MAP("development", store_development, "for development"));
KEYS(cache_qdrant,
    KEY_TEXT("host", NONE, "host"),
    KEY_INT("port", "6334", PORT, "port"),
    KEY_SECRET("api_key", "key"),
    KEY_BOOL("use_tls", "false", "connect with TLS"),
    KEY_INT("connect_timeout", NONE, NOT_NEGATIVE, "seconds"),
    KEY_TEXT("collection", NONE, "collection"),
    KEY_TEXT("collection_name", NONE, "collection"),
    KEY_INT("dimension", NONE, NOT_NEGATIVE, "length of a vector"),
    KEY_INT("topk", NONE, NOT_NEGATIVE, "results"));
KEYS(response_cache,
    KEY_BOOL("enabled", "true", "keep answers"),
    KEY_ENUM("backend_type", "memory", cache_backends, "where"),
    KEY_FLOAT("similarity_threshold", NONE, SHARE, "cosine from which an answer is reused"),
    KEY_INT("max_entries", "1000", NOT_NEGATIVE, "in memory"),
    KEY_INT("ttl_seconds", "3600", NOT_NEGATIVE, "how long"),
    KEY_ENUM("eviction_policy", "fifo", evictions, "who goes first"),
    KEY_TEXT("embedding_model", NONE, "which embeds; empty: the best there is"),
    KEY_BOOL("use_hnsw", NONE, "search by graph", IGNORED),
    KEY_MAP("redis", cache_redis, "Redis", OPTIONAL),
    KEY_MAP("valkey", cache_redis, "Valkey", OPTIONAL),
    KEY_MAP("milvus", milvus_full, "Milvus", OPTIONAL),
    KEY_MAP("qdrant", cache_qdrant, "Qdrant", OPTIONAL));

WORDS(memory_backends, "milvus", "qdrant", "valkey");
WORDS(hybrid_modes, "weighted", "rrf", "rerank");
KEYS(memory_valkey,
    KEY_TEXT("host", NONE, "host"),
    KEY_INT("port", "6379", PORT, "port"),
    KEY_INT("database", "0", NOT_NEGATIVE, "database number"),
    KEY_SECRET("password", "password"),
    KEY_INT("timeout", "10", NOT_NEGATIVE, "seconds"),
    KEY_TEXT("collection_prefix", "mem:", "put before every key"),
    KEY_TEXT("index_name", "mem_idx", "index"),
    KEY_INT("dimension", "384", POSITIVE, "length of a vector"),
    KEY_TEXT("metric_type", "COSINE", "COSINE, IP or L2"),
    KEY_INT("index_m", "16", POSITIVE, "neighbours of a node"),
    KEY_INT("index_ef_construction", "256", POSITIVE, "candidates while building"),
    KEY_BOOL("tls_enabled", "false", "connect with TLS"),
    KEY_TEXT("tls_ca_path", NONE, "certificate authorities, PEM"),
    KEY_BOOL("tls_insecure_skip_verify", "false", "do not verify the server certificate"));
KEYS(memory_milvus,
    KEY_TEXT("address", NONE, "host:port"),
    KEY_TEXT("collection", "agentic_memory", "collection"),
    KEY_INT("dimension", "384", POSITIVE, "length of a vector"),
    KEY_INT("num_partitions", NONE, NOT_NEGATIVE, "partitions"));
KEYS(memory_cache,
    KEY_BOOL("enabled", "false", "keep retrievals"),
    KEY_TEXT("address", NONE, "host:port"),
    KEY_INT("ttl_seconds", "300", NOT_NEGATIVE, "how long"),
    KEY_INT("db", "0", NOT_NEGATIVE, "database number"),
    KEY_TEXT("key_prefix", "memory_cache:", "put before every key"),
    KEY_SECRET("password", "password"));
KEYS(quality_scoring,
    KEY_INT("initial_strength_days", NONE, NOT_NEGATIVE, "read by nothing", IGNORED),
    KEY_FLOAT("prune_threshold", NONE, SHARE, "read by nothing", IGNORED),
    KEY_INT("max_memories_per_user", NONE, NOT_NEGATIVE, "read by nothing", IGNORED));
KEYS(reflection,
    KEY_BOOL("enabled", "true", "filter what is injected"),
    KEY_TEXT("algorithm", NONE, "how memories rank"),
    KEY_INT("max_inject_tokens", "2048", NOT_NEGATIVE, "of memories in one request"),
    KEY_FLOAT("recency_decay_days", "30", NOT_NEGATIVE, "half-life"),
    KEY_FLOAT("dedup_threshold", "0.9", SHARE, "overlap from which one is dropped"),
    KEY_STRINGS("block_patterns", NONE, "never inject what matches"));
KEYS(memory,
    KEY_BOOL("enabled", "false", "remember users"),
    KEY_ENUM("backend", "milvus", memory_backends, "where"),
    KEY_BOOL("auto_store", "false", "store turns without being asked"),
    KEY_STRINGS("disabled_routes", NONE, "decisions without memory"),
    KEY_STRINGS("disabled_models", NONE, "models without memory"),
    KEY_MAP("valkey", memory_valkey, "Valkey", OPTIONAL),
    KEY_MAP("milvus", memory_milvus, "Milvus", OPTIONAL),
    KEY_MAP("qdrant", cache_qdrant, "Qdrant", OPTIONAL),
    KEY_MAP("redis_cache", memory_cache, "hot cache of retrievals", OPTIONAL),
    KEY_TEXT("embedding_model", NONE, "which embeds"),
    KEY_INT("extraction_batch_size", "10", NOT_NEGATIVE, "read by nothing", IGNORED),
    KEY_INT("default_retrieval_limit", "5", NOT_NEGATIVE, "memories in one request"),
    KEY_FLOAT("default_similarity_threshold", "0.7", SHARE, "cosine from which one is used"),
    KEY_BOOL("hybrid_search", "false", "vectors and words"),
    KEY_ENUM("hybrid_mode", NONE, hybrid_modes, "how they are joined", .flags = FIELD_OPEN),
    KEY_BOOL("adaptive_threshold", "false", "cut at the largest gap"),
    KEY_MAP("quality_scoring", quality_scoring, "forgetting"),
    KEY_MAP("reflection", reflection, "filtering"));

WORDS(vector_backends, "memory", "milvus", "llama_stack", "valkey", "qdrant");
WORDS(metadata_stores, "memory", "postgres");
WORDS(search_types, "vector", "hybrid");
KEYS(vector_memory, KEY_INT("max_entries_per_store", NONE, NOT_NEGATIVE, "chunks of one store"));
KEYS(llama_stack,
    KEY_TEXT("endpoint", NONE, "URL"),
    KEY_SECRET("auth_token", "token"),
    KEY_TEXT("embedding_model", NONE, "which embeds"),
    KEY_INT("request_timeout_seconds", NONE, NOT_NEGATIVE, "seconds"),
    KEY_ENUM("search_type", NONE, search_types, "how it searches"));
KEYS(vector_valkey,
    KEY_TEXT("host", NONE, "host"),
    KEY_INT("port", "6379", PORT, "port"),
    KEY_INT("database", "0", NOT_NEGATIVE, "database number"),
    KEY_SECRET("password", "password"),
    KEY_INT("connect_timeout", NONE, NOT_NEGATIVE, "seconds"),
    KEY_TEXT("collection_prefix", NONE, "put before every key"),
    KEY_TEXT("metric_type", NONE, "COSINE, IP or L2"),
    KEY_INT("index_m", NONE, NOT_NEGATIVE, "neighbours of a node"),
    KEY_INT("index_ef_construction", NONE, NOT_NEGATIVE, "candidates while building"));
KEYS(vector_qdrant,
    KEY_TEXT("host", NONE, "host"),
    KEY_INT("port", "6334", PORT, "port"),
    KEY_SECRET("api_key", "key"),
    KEY_BOOL("use_tls", "false", "connect with TLS"),
    KEY_INT("connect_timeout", NONE, NOT_NEGATIVE, "seconds"),
    KEY_TEXT("collection_prefix", NONE, "put before every collection"));
KEYS(vector_store,
    KEY_BOOL("enabled", "false", "files and vector stores"),
    KEY_ENUM("backend_type", NONE, vector_backends, "where"),
    KEY_TEXT("file_storage_dir", "/var/lib/vsr/data", "directory of uploaded files"),
    KEY_INT("max_file_size_mb", "50", POSITIVE, "of one file"),
    KEY_TEXT("embedding_model", "bert", "which embeds"),
    KEY_INT("embedding_dimension", NONE, NOT_NEGATIVE, "length of a vector"),
    KEY_INT("ingestion_workers", "2", POSITIVE, "threads"),
    KEY_INT("ingestion_drain_timeout_seconds", "30", NOT_NEGATIVE, "at shutdown"),
    KEY_STRINGS("supported_formats", "[.txt, .md, .json, .csv, .html]", "file names end so"),
    KEY_MAP("milvus", milvus_full, "Milvus", OPTIONAL),
    KEY_MAP("memory", vector_memory, "in this process"),
    KEY_MAP("llama_stack", llama_stack, "a Llama Stack server", OPTIONAL),
    KEY_MAP("valkey", vector_valkey, "Valkey", OPTIONAL),
    KEY_MAP("qdrant", vector_qdrant, "Qdrant", OPTIONAL),
    KEY_ENUM("metadata_store", "memory", metadata_stores, "where file records are"),
    KEY_MAP("metadata_postgres", postgres, "PostgreSQL", OPTIONAL));

KEYS(stores,
    KEY_MAP("response_cache", response_cache, "answers to like questions", UNBUILT),
    KEY_MAP("memory", memory, "what users said before", UNBUILT),
    KEY_MAP("vector_store", vector_store, "uploaded documents", UNBUILT));

/* ---- global.integrations ---- */

KEYS(tool_weights,
    KEY_FLOAT("embed", NONE, NOT_NEGATIVE, "similarity of meaning"),
    KEY_FLOAT("lexical", NONE, NOT_NEGATIVE, "shared words"),
    KEY_FLOAT("tag", NONE, NOT_NEGATIVE, "tags"),
    KEY_FLOAT("name", NONE, NOT_NEGATIVE, "name"),
    KEY_FLOAT("category", NONE, NOT_NEGATIVE, "category"));
KEYS(tool_history,
    KEY_INT("history_horizon", "8", NOT_NEGATIVE, "calls looked back"),
    KEY_INT("min_history_steps", "1", NOT_NEGATIVE, "calls needed"),
    KEY_FLOAT("history_confidence_threshold", NONE, SHARE, "below: by meaning only"),
    KEY_FLOAT("weight_semantic", NONE, NOT_NEGATIVE, "meaning"),
    KEY_FLOAT("weight_history_transition", NONE, NOT_NEGATIVE, "what usually follows"),
    KEY_FLOAT("weight_decision_prior", NONE, NOT_NEGATIVE, "what this decision uses"),
    KEY_FLOAT("repetition_penalty_strength", NONE, NOT_NEGATIVE, "against repeats"));
WORDS(tool_strategies, "weighted", "hybrid_history");
static const struct field tool_filter_keys[] = {
    KEY_BOOL("enabled", NONE, "rank by more than meaning"),
    KEY_ENUM("retrieval_strategy", NONE, tool_strategies, "how"),
    KEY_INT("candidate_pool_size", NONE, NOT_NEGATIVE, "tools ranked"),
    KEY_INT("min_lexical_overlap", NONE, NOT_NEGATIVE, "words shared at least"),
    KEY_FLOAT("min_combined_score", NONE, NOT_NEGATIVE, "least score"),
    KEY_MAP("weights", tool_weights, "of the parts"),
    KEY_BOOL("use_category_filter", NONE, "same category only"),
    KEY_FLOAT("category_confidence_threshold", NONE, SHARE, "from which the category counts"),
    KEY_STRINGS("allow_tools", NONE, "only these"),
    KEY_STRINGS("block_tools", NONE, "never these"),
    KEY_MAP("hybrid_history", tool_history, "what was called before"),
};
static const struct fields tool_filter = { tool_filter_keys, COUNT_OF(tool_filter_keys), 0 };
KEYS(tools,
    KEY_BOOL("enabled", "false", "choose tools for a request"),
    KEY_INT("top_k", "3", NOT_NEGATIVE, "tools chosen"),
    KEY_FLOAT("similarity_threshold", NONE, SHARE, "cosine from which a tool is chosen"),
    KEY_TEXT("tools_db_path", "config/tools_db.json", "file with the tools"),
    KEY_BOOL("fallback_to_empty", "true", "on failure: no tools instead of an error"),
    KEY_MAP("advanced_filtering", tool_filter, "rank by more than meaning"));

KEYS(looper_names, KEY_STRINGS("model_names", NONE, "model names that mean this algorithm"));
WORDS(flow_backends, "file", "memory", "redis");
KEYS(flow_file, KEY_TEXT("directory", NONE, "directory"));
KEYS(flow_state,
    KEY_ENUM("store_backend", "file", flow_backends, "where paused workflows wait"),
    KEY_INT("ttl_seconds", "1800", NOT_NEGATIVE, "how long"),
    KEY_MAP("file", flow_file, "files", OPTIONAL),
    KEY_MAP("redis", redis_common, "Redis", OPTIONAL));
KEYS(looper_flow,
    KEY_STRINGS("model_names", NONE, "model names that mean this algorithm"),
    KEY_MAP("state", flow_state, "paused workflows"));
KEYS(looper,
    KEY_TEXT("endpoint", "http://localhost:8899/v1/chat/completions",
             "without effect here: flows call models directly"),
    KEY_INT("timeout_seconds", "1200", NOT_NEGATIVE, "of one model call"),
    KEY_INT("retry_count", NONE, NOT_NEGATIVE, "read by nothing", IGNORED),
    KEY_INT("max_response_bytes_mb", NONE, NOT_NEGATIVE, "0: 32"),
    KEY_INT("grpc_max_msg_size_mb", NONE, NOT_NEGATIVE, "Envoy only", IGNORED),
    KEY_TEXTS("headers", "added to each call"),
    KEY_MAP("remom", looper_names, "vllm-sr/remom"),
    KEY_MAP("fusion", looper_names, "vllm-sr/fusion"),
    KEY_MAP("flow", looper_flow, "vllm-sr/flow"));
KEYS(integrations,
    KEY_MAP("tools", tools, "tool retrieval", UNBUILT),
    KEY_MAP("looper", looper, "multi-model flows", UNBUILT));

/* ---- global.model_catalog ---- */

WORDS(embedding_backends, "candle", "openvino", "openai_compatible");
KEYS(embedding_config,
    KEY_ENUM("backend", NONE, embedding_backends, "who computes"),
    KEY_TEXT("model_type", "mmbert", "mmbert, qwen3, gemma, multimodal, bert, remote"),
    KEY_BOOL("preload_embeddings", "true", "embed candidates at start-up"),
    KEY_INT("target_dimension", "768", NOT_NEGATIVE, "length of a vector"),
    KEY_INT("target_layer", "22", NOT_NEGATIVE, "early exit; signals use all layers"),
    KEY_BOOL("enable_soft_matching", "true", "without a hard match, the near ones count"),
    KEY_INT("top_k", "1", NOT_NEGATIVE, "embedding rules that may hold at once; 0: all"),
    KEY_FLOAT("min_score_threshold", "0.5", BOUNDS(-1, 1), "from which a soft match counts"),
    KEY_MAP("prototype_scoring", prototype_scoring, "how rules score"));
KEYS(embedding_endpoint,
    KEY_TEXT("base_url", NONE, "of an OpenAI-compatible server"),
    KEY_TEXT("model", NONE, "its model"),
    KEY_TEXT("api_key_env", NONE, "environment variable with the key"),
    KEY_INT("timeout_seconds", NONE, NOT_NEGATIVE, "seconds"),
    KEY_INT("max_retries", NONE, NOT_NEGATIVE, "retries"),
    KEY_INT("dimensions", NONE, NOT_NEGATIVE, "length of a vector"));
KEYS(semantic,
    KEY_TEXT("qwen3_model_path", NONE, "directory of the model"),
    KEY_TEXT("gemma_model_path", NONE, "directory of the model"),
    KEY_TEXT("mmbert_model_path", "models/mmbert-embed-32k-2d-matryoshka", "directory of the model"),
    KEY_TEXT("multimodal_model_path", NONE, "directory of the model"),
    KEY_TEXT("bert_model_path", NONE, "directory of the model"),
    KEY_BOOL("use_cpu", "true", "without a GPU"),
    KEY_MAP("embedding_config", embedding_config, "how rules are scored"),
    KEY_MAP("endpoint", embedding_endpoint, "a remote model"));
KEYS(embeddings, KEY_MAP("semantic", semantic, "the embedding model"));
KEYS(system_models,
    KEY_TEXT("prompt_guard", NONE, "model for jailbreak"),
    KEY_TEXT("domain_classifier", NONE, "model for domain"),
    KEY_TEXT("pii_classifier", NONE, "model for pii"),
    KEY_TEXT("fact_check_classifier", NONE, "model for fact_check"),
    KEY_TEXT("hallucination_detector", NONE, "model that finds unsupported spans"),
    KEY_TEXT("hallucination_explainer", NONE, "model that weighs them"),
    KEY_TEXT("feedback_detector", NONE, "model for user_feedback"));
WORDS(external_roles, "guardrail", "classification", "scoring", "preference", "memory_rewrite",
      "memory_extraction");
KEYS(external_endpoint,
    KEY_TEXT("address", NONE, "host"),
    KEY_INT("port", NONE, PORT, "port"),
    KEY_TEXT("protocol", NONE, "http or https"),
    KEY_TEXT("name", NONE, "for logs"),
    KEY_BOOL("use_chat_template", NONE, "send a chat"),
    KEY_TEXT("prompt_template", NONE, "text around the prompt"));
KEYS(external,
    KEY_TEXT("name", NONE, "by which rules refer to it"),
    KEY_TEXT("llm_provider", NONE, "vllm, openai"),
    KEY_ENUM("model_role", NONE, external_roles, "what it is for"),
    KEY_MAP("llm_endpoint", external_endpoint, "where it is"),
    KEY_TEXT("llm_model_name", NONE, "its model"),
    KEY_INT("llm_timeout_seconds", NONE, NOT_NEGATIVE, "seconds"),
    KEY_TEXT("parser_type", NONE, "how its answer is read"),
    KEY_FLOAT("threshold", NONE, SHARE, "from which its score counts"),
    KEY_SECRET("access_key", "key"),
    KEY_INT("max_tokens", NONE, NOT_NEGATIVE, "of its answer"),
    KEY_FLOAT("temperature", NONE, BOUNDS(0, 2), "of its answer"));
KEYS(kb_source,
    KEY_TEXT("path", NONE, "directory"),
    KEY_TEXT("manifest", "labels.json", "file in it"));
WORDS(kb_metric_types, "group_margin");
KEYS(kb_metric,
    KEY_TEXT("name", NONE, "name of the metric"),
    KEY_ENUM("type", NONE, kb_metric_types, "best of one group less best of the other"),
    KEY_TEXT("positive_group", NONE, "counts for"),
    KEY_TEXT("negative_group", NONE, "counts against"));
KEYS(kb,
    KEY_TEXT("name", NONE, "by which rules refer to it", .flags = FIELD_REQUIRED),
    KEY_MAP("source", kb_source, "its exemplars"),
    KEY_FLOAT("threshold", NONE, SHARE, "from which a label matches"),
    KEY_VALUE("label_thresholds", "label -> threshold"),
    KEY_VALUE("groups", "group -> list of labels"),
    KEY_LIST("metrics", kb_metric, "numbers for projections"),
    KEY_MAP("prototype_scoring", prototype_scoring, "how labels score"));

#define PRIVATE_LABELS "prompt_injection, credential_exfiltration, jailbreak_role, " \
    "system_prompt_extraction, proprietary_code, internal_document, pii, business_strategy, " \
    "trade_secret_ip, operational_infrastructure, locality_directive, customer_data"
#define FRONTIER_LABELS "architecture_analysis, root_cause_analysis, multi_step_tradeoffs"
#define LOCAL_LABELS "generic_coding, simple_task, general_knowledge"
static const char kbs_default[] =
    "[{name: privacy_kb, source: {path: knowledge_bases/privacy/, manifest: labels.json},"
    " threshold: 0.55, label_thresholds: {prompt_injection: 0.7}, groups: {"
    "security_containment: [prompt_injection, credential_exfiltration, jailbreak_role,"
    " system_prompt_extraction], privacy_policy: [proprietary_code, internal_document, pii,"
    " business_strategy, trade_secret_ip, operational_infrastructure, locality_directive,"
    " customer_data], frontier_reasoning: [" FRONTIER_LABELS "], local_standard: [" LOCAL_LABELS "],"
    " private: [" PRIVATE_LABELS "], public: [" FRONTIER_LABELS ", " LOCAL_LABELS "]},"
    " metrics: [{name: private_vs_public, type: group_margin, positive_group: private,"
    " negative_group: public}]},"
    " {name: mmlu_kb, source: {path: knowledge_bases/mmlu/, manifest: labels.json},"
    " threshold: 0.25, groups: {escalate: [biology, business, computer science, economics,"
    " history, math, other, philosophy, psychology], keep: [chemistry, engineering, health, law,"
    " physics]}, metrics: [{name: escalate_vs_keep, type: group_margin,"
    " positive_group: escalate, negative_group: keep}]}]";

WORDS(compression_profiles, "default", "coding", "medical", "security", "multi_turn");
KEYS(prompt_compression,
    KEY_BOOL("enabled", "false", "signals read the best sentences of a long text instead of all of it"),
    KEY_ENUM("profile", "default", compression_profiles, "weights for a kind of text"),
    KEY_INT("max_tokens", NONE, NOT_NEGATIVE, "tokens that are kept of a longer text (1.3 a word, 1.5 a character without spaces); absent: 512"),
    KEY_INT("min_length", NONE, NOT_NEGATIVE, "bytes up to which a text stays as it is"),
    KEY_STRINGS("skip_signals", "[jailbreak, pii]", "signal types that read everything"),
    KEY_FLOAT("textrank_weight", NONE, SHARE, "likeness to the other sentences; absent: the profile's"),
    KEY_FLOAT("position_weight", NONE, SHARE, "place in the text; absent: the profile's"),
    KEY_FLOAT("tfidf_weight", NONE, SHARE, "rare words; absent: the profile's"),
    KEY_FLOAT("novelty_weight", NONE, SHARE, "difference from the text as a whole; absent: the profile's"),
    KEY_FLOAT("position_depth", NONE, SHARE, "how much less a place in the middle is worth; absent: the profile's"),
    KEY_INT("preserve_first_n", NONE, BOUNDS(0, 100), "sentences always kept at the start; absent: the profile's"),
    KEY_INT("preserve_last_n", NONE, BOUNDS(0, 100), "sentences always kept at the end; absent: the profile's"));
WORDS(guard_errors, "allow", "block");
KEYS(prompt_guard,
    KEY_BOOL("enabled", "true", "load the jailbreak classifier"),
    KEY_TEXT("model_ref", "prompt_guard", "key of model_catalog.system"),
    KEY_TEXT("model_id", NONE, "directory; wins over model_ref"),
    KEY_FLOAT("threshold", "0.7", SHARE, "of the classify API"),
    KEY_BOOL("use_cpu", "true", "without a GPU"),
    KEY_TEXT("variant", "mmbert32k", "kind of model"),
    KEY_TEXT("jailbreak_mapping_path", NONE, "file with label names"),
    KEY_STRINGS("positive_labels", "[jailbreak]", "labels that add up to the risk"),
    KEY_ENUM("on_error", "allow", guard_errors, "when the classifier fails"),
    KEY_TEXT("protocol", NONE, "http_chat or http_classify"),
    KEY_TEXT("endpoint", NONE, "URL of a remote guard"),
    KEY_BOOL("use_vllm", NONE, "ask an external model", IGNORED),
    KEY_BOOL("use_modernbert", NONE, "kind of model", IGNORED),
    KEY_BOOL("use_mmbert_32k", NONE, "kind of model", IGNORED));
#define CLASSIFIER_MODEL(ref_, threshold_) \
    KEY_TEXT("model_ref", ref_, "key of model_catalog.system"), \
    KEY_TEXT("model_id", NONE, "directory; wins over model_ref"), \
    KEY_FLOAT("threshold", threshold_, SHARE, "from which a label counts"), \
    KEY_BOOL("use_cpu", "true", "without a GPU"), \
    KEY_BOOL("use_modernbert", NONE, "kind of model"), \
    KEY_BOOL("use_mmbert_32k", "true", "kind of model")
KEYS(domain_module,
    CLASSIFIER_MODEL("domain_classifier", "0.5"),
    KEY_BOOL("enabled", NONE, "false: never run"),
    KEY_TEXT("category_mapping_path", NONE, "file with label names"),
    KEY_TEXT("fallback_category", NONE, "of the classify API"));
KEYS(pii_module,
    CLASSIFIER_MODEL("pii_classifier", "0.9"),
    KEY_BOOL("enabled", NONE, "false: never run"),
    KEY_TEXT("pii_mapping_path", NONE, "file with label names"));
WORDS(mcp_transports, "stdio", "streamable-http");
KEYS(mcp_module,
    KEY_BOOL("enabled", NONE, "ask an MCP server for the category"),
    KEY_ENUM("transport_type", NONE, mcp_transports, "how", .flags = FIELD_OPEN),
    KEY_TEXT("command", NONE, "stdio: program"),
    KEY_STRINGS("args", NONE, "stdio: arguments"),
    KEY_TEXTS("env", "stdio: environment"),
    KEY_TEXT("url", NONE, "streamable-http: URL"),
    KEY_TEXT("tool_name", NONE, "tool"),
    KEY_FLOAT("threshold", NONE, SHARE, "from which its label counts"),
    KEY_INT("timeout_seconds", NONE, NOT_NEGATIVE, "seconds"));
KEYS(preference_module,
    KEY_BOOL("use_contrastive", "true", "by examples; false: ask an external model"),
    KEY_TEXT("embedding_model", NONE, "mmbert, qwen3, gemma, multimodal"),
    KEY_MAP("prototype_scoring", prototype_scoring, "how rules score"));
KEYS(classifier_modules,
    KEY_MAP("domain", domain_module, "domain"),
    KEY_MAP("mcp", mcp_module, "category by MCP", OPTIONAL),
    KEY_MAP("pii", pii_module, "personal data"),
    KEY_MAP("preference", preference_module, "preferences"));
KEYS(complexity_module, KEY_MAP("prototype_scoring", prototype_scoring, "how rules score"));
KEYS(fact_check_module, CLASSIFIER_MODEL("fact_check_classifier", "0.6"));
KEYS(detector_module,
    KEY_TEXT("backend", NONE, "who computes"),
    KEY_TEXT("endpoint", NONE, "URL of a remote detector"),
    KEY_BOOL("include_explanation", NONE, "ask for reasons"),
    KEY_TEXT("model_ref", "hallucination_detector", "key of model_catalog.system"),
    KEY_TEXT("model_id", NONE, "directory; wins over model_ref"),
    KEY_FLOAT("threshold", "0.8", SHARE, "from which a token counts"),
    KEY_BOOL("use_cpu", "true", "without a GPU"),
    KEY_INT("min_span_length", "2", NOT_NEGATIVE, "words"),
    KEY_FLOAT("min_span_confidence", "0.6", SHARE, "of a span"),
    KEY_INT("context_window_size", "50", NOT_NEGATIVE, "words around a span"),
    KEY_BOOL("enable_nli_filtering", "true", "weigh spans by the explainer"),
    KEY_FLOAT("nli_entailment_threshold", "0.75", SHARE, "from which a span is supported"));
KEYS(explainer_module,
    KEY_TEXT("model_ref", "hallucination_explainer", "key of model_catalog.system"),
    KEY_TEXT("model_id", NONE, "directory; wins over model_ref"),
    KEY_FLOAT("threshold", "0.9", SHARE, "below: one severity less"),
    KEY_BOOL("use_cpu", "true", "without a GPU"));
KEYS(hallucination_module,
    KEY_BOOL("enabled", "false", "check answers against their context"),
    KEY_TEXT("on_hallucination_detected", NONE, "what to do"),
    KEY_MAP("fact_check", fact_check_module, "whether a request needs facts"),
    KEY_MAP("detector", detector_module, "finds unsupported spans", UNBUILT),
    KEY_MAP("explainer", explainer_module, "weighs them", UNBUILT));
KEYS(feedback_module,
    KEY_BOOL("enabled", "true", "read user feedback"),
    CLASSIFIER_MODEL("feedback_detector", "0.7"),
    KEY_TEXT("feedback_mapping_path", NONE, "file with label names"));
KEYS(modality_classifier,
    KEY_TEXT("model_path", NONE, "directory of the model"),
    KEY_BOOL("use_cpu", NONE, "without a GPU"));
WORDS(modality_methods, "classifier", "keyword", "hybrid");
static const struct field modality_keys[] = {
    KEY_BOOL("enabled", "false", "tell text from image requests"),
    KEY_STRINGS("prompt_prefixes", NONE, "cut from image prompts"),
    KEY_ENUM("method", NONE, modality_methods, "how"),
    KEY_MAP("classifier", modality_classifier, "the model"),
    KEY_STRINGS("keywords", NONE, "words of image requests"),
    KEY_STRINGS("both_keywords", NONE, "words of requests for both"),
    KEY_FLOAT("confidence_threshold", NONE, SHARE, "from which the classifier counts"),
    KEY_FLOAT("lower_threshold_ratio", NONE, SHARE, "hybrid: share of it that still counts"),
};
static const struct fields modality = { modality_keys, COUNT_OF(modality_keys), 0 };
KEYS(modules,
    KEY_MAP("prompt_compression", prompt_compression, "shorter texts for signals"),
    KEY_MAP("prompt_guard", prompt_guard, "jailbreak"),
    KEY_MAP("classifier", classifier_modules, "domain, pii, preference"),
    KEY_MAP("complexity", complexity_module, "complexity"),
    KEY_MAP("hallucination_mitigation", hallucination_module, "fact_check and HaluGate"),
    KEY_MAP("feedback_detector", feedback_module, "user_feedback"),
    KEY_MAP("modality_detector", modality, "modality"));
static const struct field catalog_keys[] = {
    KEY_MAP("embeddings", embeddings, "embedding models"),
    KEY_MAP("system", system_models, "paths of the built-in models"),
    KEY_LIST("external", external, "models asked over the network"),
    { .key = "kbs", .type = FIELD_LIST, .offset = FIELD_NO_STORE, .default_text = kbs_default,
      .sub = &kb, .help = "knowledge bases" },
    KEY_MAP("modules", modules, "settings of signal models"),
};
static const struct fields model_catalog = { catalog_keys, COUNT_OF(catalog_keys), 0 };

/* ---- global.limits ---- */

#define LIMIT(type_, member_, key_, default_, help_, ...) \
    F(type_, struct draft, config.limits.member_, key_, default_, help_, OURS, __VA_ARGS__)
static const struct field limits_keys[] = {
    LIMIT(FIELD_BYTES, body_bytes, "body_bytes", "64MiB", "one request body", .min = 1024,
          .max = 4e9),
    LIMIT(FIELD_BYTES, decoded_body_bytes, "decoded_body_bytes", "64MiB",
          "one body after gzip or zstd", .min = 1024, .max = 4e9),
    LIMIT(FIELD_BYTES, total_body_bytes, "total_body_bytes", "1GiB",
          "all bodies in memory together", .min = 1024, .max = INFINITY),
    LIMIT(FIELD_BYTES, head_bytes, "head_bytes", "64KiB", "one request head", .min = 1024,
          .max = 16777216),
    LIMIT(FIELD_INT, connections, "connections", "16384", "client connections", .min = 1,
          .max = 1e7),
    LIMIT(FIELD_INT, in_flight, "in_flight", "4096", "requests at once; beyond: 503", .min = 1,
          .max = 1e7),
    LIMIT(FIELD_FLOAT, retry_budget, "retry_budget", "0.2",
          "share of requests that may be retries", .min = 0, .max = 1),
    LIMIT(FIELD_DURATION, drain_ns, "drain", "30s",
          "after SIGTERM: how long running requests may take", .min = 0, .max = 86400),
    LIMIT(FIELD_DURATION, idle_client_ns, "idle_client", "75s",
          "keep-alive connection without a request", .min = 0, .max = 86400),
    LIMIT(FIELD_DURATION, head_timeout_ns, "head_timeout", "10s",
          "within which a whole request head must arrive", .min = 0.01, .max = 3600),
    LIMIT(FIELD_INT, loops, "loops", "0", "event loops; 0: half the cores", .min = 0, .max = 1024),
    LIMIT(FIELD_DURATION, signals_ns, "signals", "5s",
          "within which models must answer a request's signals; later ones are unknown", .min = 0.001, .max = 600),
    LIMIT(FIELD_INT, encoder_threads, "encoder_threads", "0",
          "threads that run signal models; 0: as many as cores, of lower priority than the loops", .min = 0, .max = 256),
    LIMIT(FIELD_INT, encoder_queue_tokens, "encoder_queue_tokens", "262144",
          "tokens that may wait for them; beyond: signals are unknown", .min = 1024, .max = 1e9),
    LIMIT(FIELD_BYTES, encoder_cache_bytes, "encoder_cache_bytes", "16MiB",
          "vectors of recent texts kept", .min = 0, .max = 1e11),
};
static const struct fields limits = FIELDS(struct draft, limits_keys);

/* ---- global.translation ---- */

static const char *const unsupported_words[] = { "refuse", "drop", NULL };
static const struct field translation_keys[] = {
    F(FIELD_ENUM, struct draft, config.unsupported, "unsupported", "refuse",
      "parameters that the provider's dialect cannot express: refuse with 400, or drop with a warning header", OURS,
      .names = unsupported_words),
};
static const struct fields translation = FIELDS(struct draft, translation_keys);

#define TENANCY(type_, member_, key_, help_, ...) \
    F(type_, struct draft, config.tenancy.member_, key_, NONE, help_, OURS, __VA_ARGS__)
static const struct field global_keys[] = {
    KEY_MAP("router", router, "routing in general"),
    KEY_MAP("services", services, "what the process offers"),
    KEY_MAP("stores", stores, "where state is kept"),
    KEY_MAP("integrations", integrations, "tools and flows"),
    KEY_MAP("model_catalog", model_catalog, "models that signals use"),
    KEY_MAP("limits", limits, "bounds of the gateway", OURS),
    KEY_MAP("translation", translation, "between wire formats", OURS),
    KEY_MAP("identity", identity_fields, "who may use the gateway", OURS),
    KEY_MAP("state", state_fields, "where keys, budgets and spending are kept", OURS),
    TENANCY(FIELD_LIST, quotas, "quotas", "requests and tokens per minute, requests at once", .sub = &quota_fields),
    TENANCY(FIELD_LIST, budgets, "budgets", "money by key, user, team, model and period", .sub = &budget_fields),
    TENANCY(FIELD_STRING_MAP, exchange_rates, "exchange_rates", "US dollars for one unit of a currency, e.g. EUR: 1.08"),
};
const struct fields global_fields = FIELDS(struct draft, global_keys);
