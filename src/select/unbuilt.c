/* select/unbuilt.c -- selectors of VSR that are known here but not built yet.
 *
 * Their keys are decoded and checked like any others (spec 02, sections 1.4 to 1.10), so that a
 * configuration loads and its typing errors are found; a request gets the first candidate and
 * says so in `fallback`. A selector that is built moves into a file of its own. */
#include "select/rank.h"

static void unbuilt_pick(const struct select_in *in, struct arena *a, struct pick *out)
{
    pick_declared(in, a, out);
    out->confidence = 0;
    out->fallback = "not-built";
}

struct router_dc_conf {
    double temperature, min_similarity;
    int64_t dimension_size;
    bool use_query_contrastive, use_model_contrastive, require_descriptions, use_capabilities;
};

static const struct field router_dc_fields[] = {
    F(FIELD_FLOAT, struct router_dc_conf, temperature, "temperature", "0.07",
      "divides the similarity before the sigmoid", .min = 0, .max = 100),
    F(FIELD_INT, struct router_dc_conf, dimension_size, "dimension_size", "768",
      "length of the embedding", .min = 1, .max = 65536, .flags = FIELD_IGNORED),
    F(FIELD_FLOAT, struct router_dc_conf, min_similarity, "min_similarity", "0.3",
      "below this best score the first candidate is taken", .min = -1, .max = 1),
    F(FIELD_BOOL, struct router_dc_conf, use_query_contrastive, "use_query_contrastive", "true",
      "no effect, as in VSR", .flags = FIELD_IGNORED),
    F(FIELD_BOOL, struct router_dc_conf, use_model_contrastive, "use_model_contrastive", "true",
      "no effect, as in VSR", .flags = FIELD_IGNORED),
    F(FIELD_BOOL, struct router_dc_conf, require_descriptions, "require_descriptions", "false",
      "every candidate's card must have a description"),
    F(FIELD_BOOL, struct router_dc_conf, use_capabilities, "use_capabilities", "false",
      "the card's capabilities are part of the compared text"),
};

const struct select_ops select_router_dc = {
    .name = "router_dc", .block = "router_dc",
    .fields = FIELDS(struct router_dc_conf, router_dc_fields), .pick = unbuilt_pick,
};

struct automix_conf {
    double verification_threshold, cost_quality_tradeoff, discount_factor;
    int64_t max_escalations;
    bool cost_aware_routing, use_logprob_verification;
};

static const struct field automix_fields[] = {
    F(FIELD_FLOAT, struct automix_conf, verification_threshold, "verification_threshold", "0.7",
      "self-verification at or above is trusted", .min = 0, .max = 1),
    F(FIELD_INT, struct automix_conf, max_escalations, "max_escalations", "2",
      "how often a larger model may be asked", .min = 0, .max = 100),
    F(FIELD_BOOL, struct automix_conf, cost_aware_routing, "cost_aware_routing", "true",
      "weigh the price against the quality"),
    F(FIELD_FLOAT, struct automix_conf, cost_quality_tradeoff, "cost_quality_tradeoff", "0.3",
      "weight of the cost", .min = 0, .max = 1),
    F(FIELD_FLOAT, struct automix_conf, discount_factor, "discount_factor", "0.95",
      "discount of later escalations", .min = 0, .max = 1),
    F(FIELD_BOOL, struct automix_conf, use_logprob_verification, "use_logprob_verification",
      "true", "verify by token log-probabilities"),
};

const struct select_ops select_automix = {
    .name = "automix", .block = "automix",
    .fields = FIELDS(struct automix_conf, automix_fields), .pick = unbuilt_pick,
};

struct hybrid_conf {
    double experience, router_dc, automix, cost, quality_gap_threshold;
    bool normalize_scores;
};

static const struct field hybrid_fields[] = {
    F(FIELD_FLOAT, struct hybrid_conf, experience, "experience_weight", "0.3",
      "weight of recorded comparisons", .min = 0, .max = 1000),
    F(FIELD_FLOAT, struct hybrid_conf, router_dc, "router_dc_weight", "0.3",
      "weight of the similarity to model cards", .min = 0, .max = 1000),
    F(FIELD_FLOAT, struct hybrid_conf, automix, "automix_weight", "0.2",
      "weight of the automix value", .min = 0, .max = 1000),
    F(FIELD_FLOAT, struct hybrid_conf, cost, "cost_weight", "0.2", "weight of the price",
      .min = 0, .max = 1000),
    F(FIELD_FLOAT, struct hybrid_conf, quality_gap_threshold, "quality_gap_threshold", "0.1",
      "no effect, as in VSR", .flags = FIELD_IGNORED),
    F(FIELD_BOOL, struct hybrid_conf, normalize_scores, "normalize_scores", "true",
      "scale every component to [0, 1] before adding"),
};

const struct select_ops select_hybrid = {
    .name = "hybrid", .block = "hybrid",
    .fields = FIELDS(struct hybrid_conf, hybrid_fields), .pick = unbuilt_pick,
};

struct prompt_conf { str model, instructions; double timeout_seconds; };

static const struct field prompt_fields[] = {
    F(FIELD_STR, struct prompt_conf, model, "model", NULL, "the model that chooses",
      .flags = FIELD_REQUIRED),
    F(FIELD_STR, struct prompt_conf, instructions, "instructions", NULL, "what it is told"),
    F(FIELD_FLOAT, struct prompt_conf, timeout_seconds, "timeout_seconds", "5",
      "beyond: the first candidate", .min = 0, .max = 3600),
};

const struct select_ops select_prompt = {
    .name = "prompt", .block = "prompt",
    .fields = FIELDS(struct prompt_conf, prompt_fields), .pick = unbuilt_pick,
};

/* Trained tables; their keys are global (global.router.model_selection.ml). */
const struct select_ops select_knn = {
    .name = "knn", .fields = FIELDS_NONE, .pick = unbuilt_pick,
};
const struct select_ops select_kmeans = {
    .name = "kmeans", .fields = FIELDS_NONE, .pick = unbuilt_pick,
};
const struct select_ops select_svm = {
    .name = "svm", .fields = FIELDS_NONE, .pick = unbuilt_pick,
};
const struct select_ops select_mlp = {
    .name = "mlp", .fields = FIELDS_NONE, .pick = unbuilt_pick,
};
