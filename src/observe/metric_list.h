/* observe/metric_list.h -- every metric family, one line each.
 *
 * No include guard: whoever includes this defines M(id, type, buckets, name, help, labels...)
 * first. A label name here is a label everywhere: values are given in this order. Names that begin
 * with llm_ are VSR's, with its labels, so that its dashboards work. A new family is a new line,
 * nothing else.
 *
 * Labels come from configuration (models, decisions, signals) or from short fixed lists (reasons,
 * phases). Nothing that a client chooses may become a label value. */

/* models and money */
M(MODEL_REQUESTS, COUNTER, NONE, "llm_model_requests_total", "Requests routed to the model.", "model")
M(REQUEST_ERRORS, COUNTER, NONE, "llm_request_errors_total", "Requests that failed, by reason.", "model", "reason")
M(MODEL_TOKENS, COUNTER, NONE, "llm_model_tokens_total", "Prompt and completion tokens.", "model")
M(MODEL_PROMPT_TOKENS, COUNTER, NONE, "llm_model_prompt_tokens_total", "Prompt tokens.", "model")
M(MODEL_COMPLETION_TOKENS, COUNTER, NONE, "llm_model_completion_tokens_total", "Completion tokens.", "model")
M(PROMPT_TOKENS, HISTOGRAM, TOKENS, "llm_prompt_tokens_per_request", "Prompt tokens of one request.", "model")
M(COMPLETION_TOKENS, HISTOGRAM, TOKENS, "llm_completion_tokens_per_request", "Completion tokens of one request.", "model")
M(MODEL_COST, COUNTER, NONE, "llm_model_cost_total", "Money spent, by the configured prices.", "model", "currency")
M(MODEL_COMPLETION_LATENCY, HISTOGRAM, SECONDS, "llm_model_completion_latency_seconds", "From sending the request to the end of the answer.", "model")
M(MODEL_TTFT, HISTOGRAM, SECONDS, "llm_model_ttft_seconds", "Time to the first token.", "model")
M(MODEL_TPOT, HISTOGRAM, FINE, "llm_model_tpot_seconds", "Completion time per completion token.", "model")
M(MODEL_INFLIGHT, GAUGE, NONE, "llm_model_inflight_requests", "Requests now with the model.", "model")
M(MODEL_ROUTING_LATENCY, HISTOGRAM, FINE, "llm_model_routing_latency_seconds", "From the whole request to the chosen model.")
M(MODEL_ROUTING_MODIFICATIONS, COUNTER, NONE, "llm_model_routing_modifications_total", "Requests whose model was changed.", "source_model", "target_model")
M(ROUTING_REASON_CODES, COUNTER, NONE, "llm_routing_reason_codes_total", "Routing outcomes, by reason code.", "reason_code", "model")
M(CONTEXT_TOKENS, HISTOGRAM, TOKENS, "llm_context_token_count", "Estimated tokens of the request.", "model", "context_level")
M(TRANSLATION_LOSSY, COUNTER, NONE, "llm_translation_lossy_total", "Fields that another wire format cannot carry.", "from", "to", "severity", "reason")

/* sessions */
M(SESSION_TURN_PROMPT_TOKENS, HISTOGRAM, TOKENS, "llm_session_turn_prompt_tokens", "Prompt tokens of one turn.", "model", "domain")
M(SESSION_TURN_COMPLETION_TOKENS, HISTOGRAM, TOKENS, "llm_session_turn_completion_tokens", "Completion tokens of one turn.", "model", "domain")
M(SESSION_TURN_COST, HISTOGRAM, MONEY, "llm_session_turn_cost", "Money spent on one turn.", "model", "domain", "currency")
M(SESSION_MODEL_TRANSITIONS, COUNTER, NONE, "llm_session_model_transitions_total", "Sessions that changed their model.", "from_model", "to_model")
M(CACHE_WARMTH, HISTOGRAM, SHARE, "llm_cache_warmth_estimate", "Estimated share of the prompt in the provider's cache.", "model")

/* figures of the last minutes and hours, computed at each scrape (window.h) */
M(WINDOW_LATENCY, GAUGE, NONE, "llm_model_latency_windowed_seconds", "Mean completion latency in the window.", "model", "time_window")
M(WINDOW_LATENCY_P50, GAUGE, NONE, "llm_model_latency_p50_windowed_seconds", "Median completion latency in the window.", "model", "time_window")
M(WINDOW_LATENCY_P95, GAUGE, NONE, "llm_model_latency_p95_windowed_seconds", "95th percentile of completion latency in the window.", "model", "time_window")
M(WINDOW_LATENCY_P99, GAUGE, NONE, "llm_model_latency_p99_windowed_seconds", "99th percentile of completion latency in the window.", "model", "time_window")
M(WINDOW_REQUESTS, GAUGE, NONE, "llm_model_requests_windowed_total", "Requests ended in the window, failed ones too.", "model", "time_window")
M(WINDOW_TOKENS, GAUGE, NONE, "llm_model_tokens_windowed_total", "Tokens in the window.", "model", "token_type", "time_window")
M(WINDOW_ERROR_RATE, GAUGE, NONE, "llm_model_error_rate_windowed", "Share of the window's requests that failed.", "model", "time_window")

/* signals, decisions, plugins */
M(SIGNAL_EXTRACTION, COUNTER, NONE, "llm_signal_extraction_total", "Signals evaluated.", "signal_type", "signal_name")
M(SIGNAL_MATCH, COUNTER, NONE, "llm_signal_match_total", "Signals that matched.", "signal_type", "signal_name")
M(SIGNAL_LATENCY, HISTOGRAM, FINE, "llm_signal_extraction_latency_seconds", "Time to evaluate the signals of a type.", "signal_type")
M(DECISION_EVALUATION, COUNTER, NONE, "llm_decision_evaluation_total", "Evaluations of the decision engine.")
M(DECISION_LATENCY, HISTOGRAM, FINE, "llm_decision_evaluation_latency_seconds", "Time of the decision engine.")
M(DECISION_MATCH, COUNTER, NONE, "llm_decision_match_total", "Decisions that won.", "decision_name")
M(DECISION_CONFIDENCE, HISTOGRAM, SHARE, "llm_decision_confidence", "Confidence of the winning decision.", "decision_name")
M(PLUGIN_EXECUTION, COUNTER, NONE, "llm_plugin_execution_total", "Plugins run.", "plugin_type", "decision_name", "status")
M(PLUGIN_LATENCY, HISTOGRAM, FINE, "llm_plugin_execution_latency_seconds", "Time of a plugin.", "plugin_type")
M(PLUGIN_ERRORS, COUNTER, NONE, "llm_plugin_execution_errors_total", "Plugins that failed.", "plugin_type", "error_reason")

/* selection */
M(SELECTION, COUNTER, NONE, "llm_model_selection_total", "Models picked.", "method", "model", "decision", "tier")
M(SELECTION_DURATION, HISTOGRAM, FINE, "llm_model_selection_duration_seconds", "Time of a pick.", "method", "tier")
M(SELECTION_FALLBACK, COUNTER, NONE, "llm_model_selection_fallback_total", "Picks that the algorithm could not make.", "method", "decision", "reason")
M(SELECTION_SCORE, HISTOGRAM, SHARE, "llm_model_selection_score", "Score of the picked model.", "method", "model")
M(SELECTION_CONFIDENCE, HISTOGRAM, SHARE, "llm_model_selection_confidence", "Confidence of the pick.", "method", "tier")
M(SELECTION_DEPENDENCY, GAUGE, NONE, "llm_model_selection_dependency_health", "1: what the method needs is there.", "method", "dependency", "type")
M(SELECTION_HISTORY, COUNTER, NONE, "llm_model_selection_history", "Picks by method and decision.", "method", "decision")
M(HELPER, COUNTER, NONE, "signalbox_prompt_helper_total", "Questions of the selector prompt to its model.", "model", "result")
M(HELPER_SECONDS, HISTOGRAM, FINE, "signalbox_prompt_helper_seconds", "Time of such a question.", "model")
M(JUDGE, COUNTER, NONE, "signalbox_judge_total", "Sampled answers: judged, skipped, dropped or failed, and why.", "result", "reason")
M(JUDGE_SECONDS, HISTOGRAM, SECONDS, "signalbox_judge_seconds", "Time of a judgement.")

/* caches */
M(CACHE_DURATION, HISTOGRAM, FINE, "llm_cache_operation_duration_seconds", "Time of a cache operation.", "backend", "operation")
M(CACHE_OPERATIONS, COUNTER, NONE, "llm_cache_operations_total", "Cache operations.", "backend", "operation", "status")
M(CACHE_ENTRIES, GAUGE, NONE, "llm_cache_entries_total", "Entries now in the cache.", "backend")
M(CACHE_HITS, COUNTER, NONE, "llm_cache_plugin_hits_total", "Answers served from the cache.", "decision_name", "plugin_type")
M(CACHE_MISSES, COUNTER, NONE, "llm_cache_plugin_misses_total", "Look-ups without a usable answer.", "decision_name", "plugin_type")
M(CACHE_WRITE_SKIPPED, COUNTER, NONE, "llm_cache_write_skipped_total", "Answers that were not stored.", "reason")

/* reasoning and safety */
M(REASONING_DECISIONS, COUNTER, NONE, "llm_reasoning_decisions_total", "Reasoning mode set.", "category", "model", "enabled", "effort")
M(PII_VIOLATIONS, COUNTER, NONE, "llm_pii_violations_total", "Personal data against policy.", "model", "pii_type")

/* the gateway: ours */
M(PHASE, HISTOGRAM, FINE, "signalbox_phase_seconds", "Time of one phase of a request.", "phase")
M(HTTP_REQUESTS, COUNTER, NONE, "signalbox_http_requests_total", "Requests answered.", "route", "status")
M(REFUSED, COUNTER, NONE, "signalbox_refused_total", "Requests refused before a model was asked.", "reason")
M(CONNECTIONS, GAUGE, NONE, "signalbox_connections", "Client connections now open.", "state")
M(IN_FLIGHT, GAUGE, NONE, "signalbox_in_flight", "Requests now being handled.")
M(RETRIES, COUNTER, NONE, "signalbox_retries_total", "Attempts after the first with the same model.", "model", "reason")
M(FAILOVERS, COUNTER, NONE, "signalbox_failovers_total", "Requests moved to another model.", "from", "to")
M(BACKEND_UP, GAUGE, NONE, "signalbox_backend_up", "1: the backend takes requests; 0: ejected.", "model", "backend")
M(BACKEND_EJECTIONS, COUNTER, NONE, "signalbox_backend_ejections_total", "Backends taken out after failures.", "model", "backend")
M(UPSTREAM_CANCELLED, COUNTER, NONE, "signalbox_upstream_cancelled_total", "Calls ended because the client left.", "model", "phase")
M(UNITS_AVOIDED, COUNTER, NONE, "signalbox_units_avoided_total", "Signals not evaluated since they could not change the decision.", "signal_type")
M(UNITS_RUN, COUNTER, NONE, "signalbox_units_run_total", "Signals evaluated.", "signal_type")
M(PROMPTS_SHORTENED, COUNTER, NONE, "signalbox_prompts_shortened_total", "Requests whose signals read a part of the text (prompt_compression).")
M(CONFIG_RELOADS, COUNTER, NONE, "signalbox_config_reloads_total", "Configurations loaded while running.", "result")
M(LOG_DROPPED, COUNTER, NONE, "signalbox_log_dropped_total", "Access log lines lost: queue full or disk full.")
M(TRACE_DROPPED, COUNTER, NONE, "signalbox_trace_dropped_total", "Spans lost: queue full or collector away.")
M(LABELS_DROPPED, COUNTER, NONE, "signalbox_metric_labels_dropped_total", "Label sets counted as \"other\": the family was full.")
M(ENCODER_FORWARDS, COUNTER, NONE, "signalbox_encoder_forwards_total", "Forward passes of signal models.")
M(ENCODER_TOKENS, COUNTER, NONE, "signalbox_encoder_tokens_total", "Tokens that they read.")
M(ENCODER_SECONDS, COUNTER, NONE, "signalbox_encoder_busy_seconds_total", "Time that encoder threads were at work.")
M(ENCODER_TEXTS, COUNTER, NONE, "signalbox_encoder_texts_total", "Texts asked about, by where the answer came from.", "source")
M(ENCODER_LOST, COUNTER, NONE, "signalbox_encoder_lost_total", "Texts without an answer.", "reason")
M(ENCODER_QUEUE, GAUGE, NONE, "signalbox_encoder_queue_tokens", "Tokens that wait for an encoder thread.")
M(ENCODER_CACHE, GAUGE, NONE, "signalbox_encoder_cache_bytes", "Vectors kept.")
M(BUILD_INFO, GAUGE, NONE, "signalbox_build_info", "Always 1; the labels tell the build.", "version", "compiler")

/* the process, read from the system at each scrape */
M(PROCESS_RESIDENT, GAUGE, NONE, "process_resident_memory_bytes", "Resident memory.")
M(PROCESS_VIRTUAL, GAUGE, NONE, "process_virtual_memory_bytes", "Virtual memory.")
M(PROCESS_CPU, COUNTER, NONE, "process_cpu_seconds_total", "User and system time.")
M(PROCESS_FDS, GAUGE, NONE, "process_open_fds", "Open descriptors.")
M(PROCESS_FDS_MAX, GAUGE, NONE, "process_max_fds", "Limit of open descriptors.")
M(PROCESS_START, GAUGE, NONE, "process_start_time_seconds", "Start of the process since 1970.")
