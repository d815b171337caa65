/* select/flows.c -- tables of the multi-model flows (spec 02, sections 2.2 to 2.6).
 *
 * While a flow is not built its decision answers with the first candidate, and says so. */
#include "select/flows.h"

#include "select/rank.h"

static void flow_pick(const struct select_in *in, struct arena *a, struct pick *out)
{
    pick_declared(in, a, out);
    out->confidence = 0;
    out->fallback = "not-built";
}

static const char *const on_error_names[] = { "skip", "fail", NULL };

#define MANY 1e6                                /* a bound for counts: typing errors, not policy */

/* ---- confidence: from small to large until an answer is sure enough ---- */

static const char *const method_names[] = {
    "avg_logprob", "margin", "hybrid", "self_verify", "automix_entailment", NULL,
};
static const char *const escalation_names[] = {
    "size", "small_to_large", "declared", "cost", "automix", NULL,
};
static const char *const filter_names[] = { "all", "tool_call_args", NULL };

static const struct field hybrid_weights_fields[] = {
    F(FIELD_FLOAT, struct hybrid_weights, logprob, "logprob_weight", "0.5",
      "share of the mean log-probability", .min = 0, .max = 1),
    F(FIELD_FLOAT, struct hybrid_weights, margin, "margin_weight", "0.5",
      "share of the margin; both add up to 1", .min = 0, .max = 1),
};
static const struct fields hybrid_weights_table =
    FIELDS(struct hybrid_weights, hybrid_weights_fields);

static const struct field confidence_fields[] = {
    F(FIELD_ENUM, struct confidence_conf, confidence_method, "confidence_method", "avg_logprob",
      "how sure an answer is", .names = method_names),
    F(FIELD_FLOAT, struct confidence_conf, threshold, "threshold", "0",
      "accept an answer from here on; 0: the method's default", .min = 0, .max = 1),
    F(FIELD_STRUCT, struct confidence_conf, hybrid_weights, "hybrid_weights", NULL,
      "for the method hybrid", .sub = &hybrid_weights_table),
    F(FIELD_ENUM, struct confidence_conf, on_error, "on_error", "skip",
      "a model that fails: ask the next, or fail", .names = on_error_names),
    F(FIELD_ENUM, struct confidence_conf, escalation_order, "escalation_order", "size",
      "who is asked first", .names = escalation_names),
    F(FIELD_FLOAT, struct confidence_conf, cost_quality_tradeoff, "cost_quality_tradeoff", "0.3",
      "for the order automix: weight of the cost", .min = 0, .max = 1),
    F(FIELD_ENUM, struct confidence_conf, token_filter, "token_filter", "all",
      "which tokens count", .names = filter_names),
    F(FIELD_STR, struct confidence_conf, verifier_server_url, "verifier_server_url", NULL,
      "for the method automix_entailment"),
    F(FIELD_FLOAT, struct confidence_conf, verifier_timeout_seconds, "verifier_timeout_seconds",
      "60", "for the method automix_entailment", .min = 0, .max = 3600),
};

const struct select_ops select_confidence = {
    .name = "confidence", .block = "confidence",
    .fields = FIELDS(struct confidence_conf, confidence_fields),
    .is_flow = true, .pick = flow_pick,
};

/* ---- ratings: every answer side by side ---- */

static const struct field ratings_fields[] = {
    F(FIELD_INT, struct ratings_conf, max_concurrent, "max_concurrent", "0",
      "calls at a time; 0: all", .min = 0, .max = MANY),
    F(FIELD_ENUM, struct ratings_conf, on_error, "on_error", "skip",
      "a model that fails: leave it out, or fail", .names = on_error_names),
};

const struct select_ops select_ratings = {
    .name = "ratings", .block = "ratings",
    .fields = FIELDS(struct ratings_conf, ratings_fields),
    .is_flow = true, .pick = flow_pick,
};

/* ---- remom: rounds of parallel reasoning, each fed with the last ---- */

static const char *const distribution_names[] = {
    "weighted", "equal", "round_robin", "first_only", NULL,
};
static const char *const compaction_names[] = { "full", "last_n_tokens", NULL };

static const struct field remom_fields[] = {
    F(FIELD_STRINGS, struct remom_conf, breadth_schedule, "breadth_schedule", NULL,
      "calls in each round, each at least 1; a last round of one is added",
      .flags = FIELD_REQUIRED),
    F(FIELD_ENUM, struct remom_conf, model_distribution, "model_distribution", "weighted",
      "how calls are spread over the models", .names = distribution_names),
    F(FIELD_FLOAT, struct remom_conf, temperature, "temperature", "1", "of every call",
      .min = 0, .max = 2),
    F(FIELD_BOOL, struct remom_conf, include_reasoning, "include_reasoning", "false",
      "hand reasoning on to the next round"),
    F(FIELD_ENUM, struct remom_conf, compaction_strategy, "compaction_strategy", "full",
      "how answers are shortened for the next round", .names = compaction_names),
    F(FIELD_INT, struct remom_conf, compaction_tokens, "compaction_tokens", "1000",
      "for last_n_tokens", .min = 0, .max = 1e9),
    F(FIELD_STR, struct remom_conf, synthesis_template, "synthesis_template", NULL,
      "template of the next round's prompt"),
    F(FIELD_STR, struct remom_conf, synthesis_model, "synthesis_model", NULL,
      "answers the last round"),
    F(FIELD_INT, struct remom_conf, max_concurrent, "max_concurrent", "0",
      "calls at a time; 0: all", .min = 0, .max = MANY),
    F(FIELD_INT, struct remom_conf, max_completion_tokens, "max_completion_tokens", "0",
      "of every call; 0: the request's", .min = 0, .max = 1e9),
    F(FIELD_FLOAT, struct remom_conf, round_timeout_seconds, "round_timeout_seconds", "0",
      "of one round; 0: none of its own", .min = 0, .max = 86400),
    F(FIELD_INT, struct remom_conf, min_successful_responses, "min_successful_responses", "0",
      "so many answers end a round; 0: all", .min = 0, .max = MANY),
    F(FIELD_ENUM, struct remom_conf, on_error, "on_error", "skip",
      "a call that fails: go on, or fail", .names = on_error_names),
    F(FIELD_INT, struct remom_conf, shuffle_seed, "shuffle_seed", "0", "of the spread",
      .min = -1e15, .max = 1e15),
    F(FIELD_BOOL, struct remom_conf, include_intermediate_responses,
      "include_intermediate_responses", "false", "answer with every round"),
    F(FIELD_INT, struct remom_conf, max_responses_per_round, "max_responses_per_round", "0",
      "handed on to the next round; 0: all", .min = 0, .max = MANY),
};

const struct select_ops select_remom = {
    .name = "remom", .block = "remom",
    .fields = FIELDS(struct remom_conf, remom_fields),
    .is_flow = true, .pick = flow_pick,
};

/* ---- fusion: a panel, a judge's analysis, one answer ---- */

static const char *const reference_names[] = { "hybrid", "context", "panel", NULL };
static const char *const policy_names[] = { "weight", "annotate", "filter", NULL };
static const char *const grounding_error_names[] = { "skip", "fail", "", NULL };

static const struct field override_fields[] = {
    F(FIELD_STR, struct fusion_override, model, "model", NULL, "one of analysis_models",
      .flags = FIELD_REQUIRED),
    F(FIELD_FLOAT, struct fusion_override, temperature, "temperature", NULL,
      "instead of the panel's", .min = 0, .max = 2),
    F(FIELD_INT, struct fusion_override, max_completion_tokens, "max_completion_tokens", "0",
      "instead of the panel's; 0: the panel's", .min = 0, .max = 1e9),
};
static const struct fields override_table = FIELDS(struct fusion_override, override_fields);

static const struct field grounding_fields[] = {
    F(FIELD_BOOL, struct fusion_grounding, enabled, "enabled", "false",
      "score the panel's answers by their support"),
    F(FIELD_ENUM, struct fusion_grounding, reference, "reference", "hybrid",
      "what supports an answer", .names = reference_names),
    F(FIELD_ENUM, struct fusion_grounding, policy, "policy", "weight",
      "what a low score does", .names = policy_names),
    F(FIELD_FLOAT, struct fusion_grounding, min_score, "min_score", "0",
      "for filter: answers below are dropped", .min = 0, .max = 1),
    F(FIELD_INT, struct fusion_grounding, min_keep, "min_keep", "1",
      "for filter: so many stay", .min = 0, .max = MANY),
    F(FIELD_FLOAT, struct fusion_grounding, nli_contradiction_penalty,
      "nli_contradiction_penalty", "1", "weight of a contradiction", .min = 0, .max = 100),
    F(FIELD_ENUM, struct fusion_grounding, on_error, "on_error", NULL,
      "as fusion.on_error unless given", .names = grounding_error_names),
};
static const struct fields grounding_table = FIELDS(struct fusion_grounding, grounding_fields);

static const struct field fusion_fields[] = {
    F(FIELD_STR, struct fusion_conf, model, "model", NULL,
      "the judge; else the first of the panel"),
    F(FIELD_STRINGS, struct fusion_conf, analysis_models, "analysis_models", NULL,
      "the panel; else the decision's modelRefs"),
    F(FIELD_LIST, struct fusion_conf, analysis_overrides, "analysis_overrides", NULL,
      "settings of single panel models", .sub = &override_table),
    F(FIELD_INT, struct fusion_conf, max_concurrent, "max_concurrent", "0",
      "calls at a time; 0: all", .min = 0, .max = MANY),
    F(FIELD_INT, struct fusion_conf, max_completion_tokens, "max_completion_tokens", "0",
      "of every call; 0: the request's", .min = 0, .max = 1e9),
    F(FIELD_FLOAT, struct fusion_conf, round_timeout_seconds, "round_timeout_seconds", "0",
      "of one stage; 0: none of its own", .min = 0, .max = 86400),
    F(FIELD_INT, struct fusion_conf, min_successful_responses, "min_successful_responses", "0",
      "so many answers end the panel; 0: all", .min = 0, .max = MANY),
    F(FIELD_FLOAT, struct fusion_conf, temperature, "temperature", NULL, "of every call",
      .min = 0, .max = 2),
    F(FIELD_BOOL, struct fusion_conf, include_analysis, "include_analysis", "true",
      "answer with the judge's analysis"),
    F(FIELD_BOOL, struct fusion_conf, include_intermediate_responses,
      "include_intermediate_responses", "true", "answer with the panel's answers"),
    F(FIELD_ENUM, struct fusion_conf, on_error, "on_error", "skip",
      "a model that fails: leave it out, or fail", .names = on_error_names),
    F(FIELD_STR, struct fusion_conf, analysis_template, "analysis_template", NULL,
      "prompt of the analysis: {{original}}, {{responses}}"),
    F(FIELD_STR, struct fusion_conf, synthesis_template, "synthesis_template", NULL,
      "prompt of the answer: {{original}}, {{responses}}, {{analysis}}"),
    F(FIELD_STR, struct fusion_conf, judge_prompt_version, "judge_prompt_version", "fusion-v1",
      "which built-in prompts"),
    F(FIELD_STRUCT, struct fusion_conf, grounding, "grounding", NULL,
      "check the panel's answers against their sources", .sub = &grounding_table),
};

const struct select_ops select_fusion = {
    .name = "fusion", .block = "fusion",
    .fields = FIELDS(struct fusion_conf, fusion_fields),
    .is_flow = true, .pick = flow_pick,
};

/* ---- workflows: steps of roles, written down or planned ---- */

static const char *const mode_names[] = { "static", "dynamic", NULL };

static const struct field role_fields[] = {
    F(FIELD_STR, struct workflow_role, name, "name", NULL, "of the step",
      .flags = FIELD_REQUIRED),
    F(FIELD_STRINGS, struct workflow_role, models, "models", NULL, "who works on it"),
    F(FIELD_STR, struct workflow_role, prompt, "prompt", NULL, "what they are told"),
    F(FIELD_STRINGS, struct workflow_role, access_list, "access_list", NULL,
      "whose output they see; absent: all"),
};
static const struct fields role_table = FIELDS(struct workflow_role, role_fields);

static const struct field final_fields[] = {
    F(FIELD_STR, struct workflow_final, model, "model", NULL, "who writes the answer"),
    F(FIELD_STR, struct workflow_final, prompt, "prompt", NULL, "what it is told"),
};
static const struct fields final_table = FIELDS(struct workflow_final, final_fields);

static const struct field planner_fields[] = {
    F(FIELD_STR, struct workflow_planner, model, "model", NULL, "who writes the plan"),
    F(FIELD_INT, struct workflow_planner, max_completion_tokens, "max_completion_tokens",
      "2048", "of the plan", .min = 0, .max = 1e9),
};
static const struct fields planner_table = FIELDS(struct workflow_planner, planner_fields);

static const struct field workflows_fields[] = {
    F(FIELD_ENUM, struct workflows_conf, mode, "mode", "static",
      "steps from `roles`, or from a planner", .names = mode_names),
    F(FIELD_STR, struct workflows_conf, template_name, "template", "micro_agent",
      "which built-in prompts"),
    F(FIELD_LIST, struct workflows_conf, roles, "roles", NULL, "the steps of mode static",
      .sub = &role_table),
    F(FIELD_STRUCT, struct workflows_conf, final, "final", NULL, "the last step",
      .sub = &final_table),
    F(FIELD_STRUCT, struct workflows_conf, planner, "planner", NULL, "of mode dynamic",
      .sub = &planner_table),
    F(FIELD_INT, struct workflows_conf, max_steps, "max_steps", "3", "of a plan",
      .min = 0, .max = MANY),
    F(FIELD_INT, struct workflows_conf, max_parallel, "max_parallel", "2",
      "models at a time in a step", .min = 0, .max = MANY),
    F(FIELD_INT, struct workflows_conf, max_completion_tokens, "max_completion_tokens", "0",
      "of every call; 0: the request's", .min = 0, .max = 1e9),
    F(FIELD_FLOAT, struct workflows_conf, round_timeout_seconds, "round_timeout_seconds", "0",
      "of one step; 0: none of its own", .min = 0, .max = 86400),
    F(FIELD_INT, struct workflows_conf, min_successful_responses, "min_successful_responses",
      "0", "so many answers end a step; 0: all", .min = 0, .max = MANY),
    F(FIELD_FLOAT, struct workflows_conf, temperature, "temperature", NULL, "of every call",
      .min = 0, .max = 2),
    F(FIELD_BOOL, struct workflows_conf, include_intermediate_responses,
      "include_intermediate_responses", "true", "answer with every step"),
    F(FIELD_ENUM, struct workflows_conf, on_error, "on_error", "fail",
      "a step that fails: fail, or go on", .names = on_error_names),
};

const struct select_ops select_workflows = {
    .name = "workflows", .block = "workflows",
    .fields = FIELDS(struct workflows_conf, workflows_fields),
    .is_flow = true, .pick = flow_pick,
};
