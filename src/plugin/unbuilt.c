/* plugin/unbuilt.c -- plugins whose keys are known and checked, and that do nothing yet.
 *
 * A plugin moves from here into a file of its own when it is built. */
#include "base/keys.h"
#include "plugin/plugin.h"

/* ---- response_cache (spec 02 3.2) ---- */

WORDS(cache_modes, "semantic", "exact", "exact_then_semantic");
WORDS(cache_scopes, "user", "team", "tenant", "global");
WORDS(cache_controls, "no-cache", "no-store", "bypass", "max-age", "ttl");
WORDS(personalized_modes, "disabled", "exact");
KEYS(cache_semantic,
    KEY_FLOAT("similarity_threshold", "0.8", SHARE, "cosine from which an answer is reused"));
KEYS(cache_requests,
    KEY_BOOL("enabled", "false", "let callers steer the cache"),
    KEY_TEXT("header", "x-vsr-cache-control", "by this header"),
    KEY_STRINGS("allowed", "[no-cache, no-store, bypass]", "what they may say",
                .names = cache_controls),
    KEY_INT("max_ttl_seconds", NONE, NOT_NEGATIVE, "longest life they may ask for"));
KEYS(cache_personalized,
    KEY_ENUM("mode", "disabled", personalized_modes, "cache behind RAG and memory"));
KEYS(cache_revision,
    KEY_TEXT("cache_epoch", NONE, "change it to forget everything"),
    KEY_TEXT("model_revision", NONE, "change it with the models"),
    KEY_TEXT("prompt_revision", NONE, "change it with the prompts"),
    KEY_TEXT("policy_revision", NONE, "change it with the policy"));
LINES(response_cache,
    KEY_BOOL("enabled", "false", "answer from the cache"),
    KEY_ENUM("mode", "semantic", cache_modes, "what counts as the same question"),
    KEY_ENUM("scope", "user", cache_scopes, "who shares answers"),
    KEY_MAP("semantic", cache_semantic, "of semantic hits"),
    KEY_FLOAT("similarity_threshold", NONE, SHARE, "older place of semantic.similarity_threshold"),
    KEY_INT("ttl_seconds", "-1", BOUNDS(-1, INFINITY), "-1: the store's; 0: keep nothing"),
    KEY_MAP("request_controls", cache_requests, "what callers may change"),
    KEY_BOOL("allow_request_controls", NONE, "older place of request_controls.enabled"),
    KEY_TEXT("control_header", NONE, "older place of request_controls.header"),
    KEY_MAP("personalized", cache_personalized, "behind RAG and memory"),
    KEY_MAP("revision", cache_revision, "parts of the key"));

/* ---- tool_selection (3.8) ---- */

WORDS(selection_modes, "add", "filter");
WORDS(advanced_strategies, "weighted", "hybrid_history");
KEYS(advanced_weights,
    KEY_FLOAT("embed", NONE, NOT_NEGATIVE, "similarity of meaning"),
    KEY_FLOAT("lexical", NONE, NOT_NEGATIVE, "shared words"),
    KEY_FLOAT("tag", NONE, NOT_NEGATIVE, "tags"),
    KEY_FLOAT("name", NONE, NOT_NEGATIVE, "name"),
    KEY_FLOAT("category", NONE, NOT_NEGATIVE, "category"));
KEYS(advanced_filtering,
    KEY_BOOL("enabled", "false", "rank by more than meaning"),
    KEY_ENUM("retrieval_strategy", NONE, advanced_strategies, "how"),
    KEY_INT("candidate_pool_size", NONE, NOT_NEGATIVE, "tools ranked"),
    KEY_INT("min_lexical_overlap", NONE, NOT_NEGATIVE, "words shared at least"),
    KEY_FLOAT("min_combined_score", NONE, NOT_NEGATIVE, "least score"),
    KEY_MAP("weights", advanced_weights, "of the parts"),
    KEY_BOOL("use_category_filter", NONE, "same category only"),
    KEY_FLOAT("category_confidence_threshold", NONE, SHARE, "from which the category counts"),
    KEY_STRINGS("allow_tools", NONE, "only these"),
    KEY_STRINGS("block_tools", NONE, "never these"),
    KEY_VALUE("hybrid_history", "what was called before"));
LINES(tool_selection,
    KEY_BOOL("enabled", "false", "choose tools"),
    KEY_ENUM("mode", "add", selection_modes, "from a file, or among the client's"),
    KEY_TEXT("tools_db_path", NONE, "add: file with the tools"),
    KEY_INT("top_k", NONE, NOT_NEGATIVE, "add: tools chosen"),
    KEY_FLOAT("similarity_threshold", NONE, SHARE, "add: cosine from which a tool is chosen"),
    KEY_TEXT("strategy", "default", "add: how"),
    KEY_BOOL("fallback_to_empty", NONE, "add: on failure no tools"),
    KEY_MAP("advanced_filtering", advanced_filtering, "add: rank by more than meaning"),
    KEY_FLOAT("relevance_threshold", "0.25", SHARE, "filter: cosine from which a tool stays"),
    KEY_INT("preserve_count", NONE, NOT_NEGATIVE, "filter: tools that stay at least"));

/* ---- rag (3.9) ---- */

WORDS(rag_backends, "milvus", "qdrant", "external_api", "mcp", "openai", "vectorstore", "hybrid");
WORDS(rag_injections, "tool_role", "system_prompt");
WORDS(rag_failures, "skip", "block", "warn");
WORDS(rag_formats, "pinecone", "weaviate", "elasticsearch", "custom");
WORDS(rag_workflows, "direct_search", "tool_based");
WORDS(rag_strategies, "sequential", "parallel");
KEYS(rag_backend,
    KEY_TEXT("collection", NONE, "milvus, qdrant: collection"),
    KEY_BOOL("reuse_cache_connection", NONE, "milvus, qdrant: the cache's connection"),
    KEY_TEXT("content_field", "content", "milvus, qdrant: field with the text"),
    KEY_TEXT("metadata_field", NONE, "milvus: field with metadata"),
    KEY_TEXT("filter_expression", NONE, "milvus: which rows"),
    KEY_TEXT("endpoint", NONE, "external_api: URL"),
    KEY_SECRET("api_key", "external_api, openai: key"),
    KEY_TEXT("auth_header", NONE, "external_api: header with the key"),
    KEY_ENUM("request_format", NONE, rag_formats, "external_api: shape of the request"),
    KEY_TEXT("request_template", NONE, "external_api: body of a custom request"),
    KEY_INT("timeout_seconds", NONE, NOT_NEGATIVE, "of one retrieval"),
    KEY_TEXTS("headers", "external_api: added"),
    KEY_TEXT("server_name", NONE, "mcp: server"),
    KEY_TEXT("tool_name", NONE, "mcp: tool"),
    KEY_VALUE("tool_arguments", "mcp: its arguments"),
    KEY_TEXT("vector_store_id", NONE, "openai, vectorstore: which store"),
    KEY_TEXT("base_url", NONE, "openai: URL before the path"),
    KEY_INT("max_num_results", NONE, NOT_NEGATIVE, "openai: results"),
    KEY_STRINGS("file_ids", NONE, "openai, vectorstore: only these files"),
    KEY_VALUE("filter", "openai: which files"),
    KEY_ENUM("workflow_mode", NONE, rag_workflows, "openai: how"),
    KEY_ENUM("primary", NONE, rag_backends, "hybrid: first backend"),
    KEY_ENUM("fallback", NONE, rag_backends, "hybrid: second backend"),
    KEY_VALUE("primary_config", "hybrid: keys of the first"),
    KEY_VALUE("fallback_config", "hybrid: keys of the second"),
    KEY_ENUM("strategy", NONE, rag_strategies, "hybrid: one after the other, or both"));
LINES(rag,
    KEY_BOOL("enabled", "false", "add what was found to the request"),
    KEY_ENUM("backend", NONE, rag_backends, "where to look"),
    KEY_FLOAT("similarity_threshold", NONE, SHARE, "cosine from which a chunk is used"),
    KEY_INT("top_k", NONE, NOT_NEGATIVE, "chunks"),
    KEY_INT("max_context_length", "10000", NOT_NEGATIVE, "characters"),
    KEY_ENUM("injection_mode", "tool_role", rag_injections, "where it goes"),
    KEY_MAP("backend_config", rag_backend, "settings of the backend"),
    KEY_ENUM("on_failure", NONE, rag_failures, "when retrieval fails"),
    KEY_BOOL("cache_results", NONE, "keep results"),
    KEY_INT("cache_ttl_seconds", "3600", NOT_NEGATIVE, "how long"),
    KEY_FLOAT("min_confidence_threshold", NONE, SHARE, "of fact_check"));

/* ---- memory (3.10) ---- */

WORDS(hybrid_modes, "weighted", "rrf", "rerank");
KEYS(reflection,
    KEY_BOOL("enabled", "true", "filter what is injected"),
    KEY_TEXT("algorithm", NONE, "how memories rank"),
    KEY_INT("max_inject_tokens", "2048", NOT_NEGATIVE, "of memories in one request"),
    KEY_FLOAT("recency_decay_days", "30", NOT_NEGATIVE, "half-life"),
    KEY_FLOAT("dedup_threshold", "0.9", SHARE, "overlap from which one is dropped"),
    KEY_STRINGS("block_patterns", NONE, "never inject what matches"));
LINES(memory,
    KEY_BOOL("enabled", "false", "remember the user"),
    KEY_INT("retrieval_limit", NONE, NOT_NEGATIVE, "memories in one request"),
    KEY_FLOAT("similarity_threshold", NONE, SHARE, "cosine from which one is used"),
    KEY_BOOL("auto_store", NONE, "store turns without being asked"),
    KEY_BOOL("hybrid_search", NONE, "vectors and words"),
    KEY_ENUM("hybrid_mode", NONE, hybrid_modes, "how they are joined", .flags = FIELD_OPEN),
    KEY_MAP("reflection", reflection, "filtering"));

/* ---- hallucination, response_jailbreak, router_replay (3.11 to 3.13) ---- */

WORDS(warn_actions, "header", "body", "none");
LINES(hallucination,
    KEY_BOOL("enabled", "false", "check answers against their context"),
    KEY_BOOL("use_nli", NONE, "weigh spans by the explainer"),
    KEY_ENUM("hallucination_action", "header", warn_actions, "when spans are unsupported"),
    KEY_ENUM("unverified_factual_action", NONE, warn_actions, "when there is no context"),
    KEY_BOOL("include_hallucination_details", NONE, "name the spans"));

WORDS(jailbreak_actions, "header", "block", "none");
LINES(response_jailbreak,
    KEY_BOOL("enabled", "false", "check answers for jailbreaks"),
    KEY_FLOAT("threshold", NONE, SHARE, "from which an answer is one; 0: prompt_guard's"),
    KEY_ENUM("action", "header", jailbreak_actions, "what to do then"));

LINES(router_replay,
    KEY_BOOL("enabled", "false", "record requests of this decision"),
    KEY_INT("max_records", NONE, NOT_NEGATIVE, "in memory"),
    KEY_BOOL("capture_request_body", NONE, "keep requests"),
    KEY_BOOL("capture_response_body", NONE, "keep answers"),
    KEY_INT("max_body_bytes", NONE, NOT_NEGATIVE, "of one kept body"),
    KEY_INT("max_tool_trace_bytes", NONE, NOT_NEGATIVE, "0: unlimited"),
    KEY_INT("max_tool_trace_steps", NONE, NOT_NEGATIVE, "0: unlimited"));

/* ---- image_gen (3.14) ---- */

WORDS(image_backends, "vllm_omni", "openai");
KEYS(image_backend,
    KEY_TEXT("base_url", NONE, "URL before the path"),
    KEY_SECRET("api_key", "openai: key"),
    KEY_TEXT("model", NONE, "the image model"),
    KEY_INT("num_inference_steps", NONE, NOT_NEGATIVE, "vllm_omni: steps"),
    KEY_FLOAT("cfg_scale", NONE, NOT_NEGATIVE, "vllm_omni: guidance"),
    KEY_INT("seed", NONE, NOT_NEGATIVE, "vllm_omni: seed"),
    KEY_TEXT("quality", NONE, "openai: quality"),
    KEY_TEXT("style", NONE, "openai: style"));
WORDS(modality_methods, "classifier", "keyword", "hybrid");
KEYS(modality_classifier,
    KEY_TEXT("model_path", NONE, "directory of the model"),
    KEY_BOOL("use_cpu", NONE, "without a GPU"));
KEYS(modality_detection,
    KEY_BOOL("enabled", NONE, "tell text from image requests"),
    KEY_STRINGS("prompt_prefixes", NONE, "cut from image prompts"),
    KEY_ENUM("method", NONE, modality_methods, "how"),
    KEY_MAP("classifier", modality_classifier, "the model"),
    KEY_STRINGS("keywords", NONE, "words of image requests"),
    KEY_STRINGS("both_keywords", NONE, "words of requests for both"),
    KEY_FLOAT("confidence_threshold", NONE, SHARE, "from which the classifier counts"),
    KEY_FLOAT("lower_threshold_ratio", NONE, SHARE, "hybrid: share of it that still counts"));
LINES(image_gen,
    KEY_BOOL("enabled", "false", "make images"),
    KEY_ENUM("backend", NONE, image_backends, "who makes them"),
    KEY_MAP("backend_config", image_backend, "settings of the backend"),
    KEY_MAP("modality_detection", modality_detection, "when"),
    KEY_INT("default_width", "1024", POSITIVE, "pixels"),
    KEY_INT("default_height", "1024", POSITIVE, "pixels"),
    KEY_INT("max_inference_steps", NONE, NOT_NEGATIVE, "at most"),
    KEY_INT("timeout_seconds", NONE, NOT_NEGATIVE, "of one image"));

/* ---- context_compression (3.15) ---- */

WORDS(compression_modes, "auto", "always");
WORDS(target_modes, "preserve", "extractive", "recoverable");
WORDS(scoring_methods, "bm25", "embedding", "hybrid");
WORDS(compression_controls, "bypass", "target");
WORDS(failure_modes, "fail_open", "fail_closed");
KEYS(compression_budget,
    KEY_TEXT("trigger_tokens", "auto", "from which it acts: a number or auto"),
    KEY_TEXT("target_tokens", "auto", "what shall be left: a number or auto"),
    KEY_TEXT("reserve_output_tokens", "auto", "room for the answer: a number or auto"));
KEYS(compression_target,
    KEY_ENUM("mode", "preserve", target_modes, "what is done to it"),
    KEY_INT("min_tokens", "2000", NOT_NEGATIVE, "shorter ones stay"),
    KEY_INT("target_tokens", "1000", NOT_NEGATIVE, "what is left"));
KEYS(compression_targets,
    KEY_MAP("tool_outputs", compression_target, "results of tools"),
    KEY_MAP("history", compression_target, "earlier turns"),
    KEY_MAP("rag", compression_target, "what was retrieved"),
    KEY_MAP("memory", compression_target, "what was remembered"));
KEYS(compression_scoring,
    KEY_ENUM("method", "bm25", scoring_methods, "how chunks rank"),
    KEY_TEXT("embedding_model_ref", NONE, "which embeds"));
KEYS(compression_recovery,
    KEY_BOOL("enabled", "false", "let the model ask for what was cut"),
    KEY_TEXT("store", NONE, "where it waits"),
    KEY_INT("ttl_seconds", "900", NOT_NEGATIVE, "how long"),
    KEY_INT("max_bytes_per_request", "10485760", NOT_NEGATIVE, "of one request"),
    KEY_INT("max_total_bytes", "268435456", NOT_NEGATIVE, "of all"),
    KEY_INT("max_retrievals", "8", NOT_NEGATIVE, "in one request"));
KEYS(compression_requests,
    KEY_BOOL("enabled", "false", "let callers steer compression"),
    KEY_TEXT("header", "x-vsr-compression-control", "by this header"),
    KEY_STRINGS("allowed", "[bypass, target]", "what they may say", .names = compression_controls),
    KEY_INT("max_target_tokens", NONE, NOT_NEGATIVE, "largest target they may ask for"));
LINES(context_compression,
    KEY_BOOL("enabled", "false", "shorten what goes to the model"),
    KEY_ENUM("mode", "auto", compression_modes, "when it must, or always"),
    KEY_MAP("budget", compression_budget, "how much"),
    KEY_MAP("targets", compression_targets, "of what"),
    KEY_MAP("scoring", compression_scoring, "by what"),
    KEY_MAP("recovery", compression_recovery, "what was cut can come back"),
    KEY_MAP("request_controls", compression_requests, "what callers may change"),
    KEY_ENUM("failure_mode", "fail_open", failure_modes, "when it fails"));

#define PLUGIN(name_, aliases_) \
    const struct plugin_ops plugin_##name_ = { \
        .type = #name_, .aliases = aliases_, \
        .fields = { name_##_keys, COUNT_OF(name_##_keys), 0 }, \
    }

PLUGIN(response_cache, "semantic-cache semantic_cache response-cache");
PLUGIN(tool_selection, NULL);
PLUGIN(rag, NULL);
PLUGIN(memory, NULL);
PLUGIN(hallucination, NULL);
PLUGIN(response_jailbreak, NULL);
PLUGIN(router_replay, NULL);
PLUGIN(image_gen, NULL);
PLUGIN(context_compression, NULL);
