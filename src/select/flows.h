/* select/flows.h -- the settings of the multi-model flows, as their blocks state them.
 *
 * A flow asks several models, so it is no selector; but it is named in the same place,
 * algorithm.type, and its block is decoded by the same table. flow/ will read these structs. */
#ifndef SBX_SELECT_FLOWS_H
#define SBX_SELECT_FLOWS_H

#include "select/select.h"

struct hybrid_weights { double logprob, margin; };

struct confidence_conf {
    str confidence_method, on_error, escalation_order, token_filter, verifier_server_url;
    double threshold;                   /* 0: the method's own default */
    struct hybrid_weights hybrid_weights;
    double cost_quality_tradeoff, verifier_timeout_seconds;
};

struct ratings_conf { int64_t max_concurrent; str on_error; };

struct remom_conf {
    struct strings breadth_schedule;    /* integers, each at least 1 */
    str model_distribution, compaction_strategy, synthesis_template, synthesis_model, on_error;
    double temperature, round_timeout_seconds;
    bool include_reasoning, include_intermediate_responses;
    int64_t compaction_tokens, max_concurrent, max_completion_tokens, min_successful_responses;
    int64_t shuffle_seed, max_responses_per_round;
};

struct fusion_override { str model; double temperature; int64_t max_completion_tokens; };

struct fusion_grounding {
    bool enabled;
    str reference, policy, on_error;
    double min_score, nli_contradiction_penalty;
    int64_t min_keep;
};

struct fusion_conf {
    str model;                          /* the judge */
    struct strings analysis_models;
    struct list analysis_overrides;     /* struct fusion_override */
    int64_t max_concurrent, max_completion_tokens, min_successful_responses;
    double round_timeout_seconds, temperature;
    bool include_analysis, include_intermediate_responses;
    str on_error, analysis_template, synthesis_template, judge_prompt_version;
    struct fusion_grounding grounding;
};

struct workflow_role { str name, prompt; struct strings models, access_list; };
struct workflow_final { str model, prompt; };
struct workflow_planner { str model; int64_t max_completion_tokens; };

struct workflows_conf {
    str mode, template_name, on_error;
    struct list roles;                  /* struct workflow_role */
    struct workflow_final final;
    struct workflow_planner planner;
    int64_t max_steps, max_parallel, max_completion_tokens, min_successful_responses;
    double round_timeout_seconds, temperature;
    bool include_intermediate_responses;
};

#endif
