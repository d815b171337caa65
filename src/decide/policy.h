/* decide/policy.h -- one routing profile as the configuration states it (spec 01, sections 1.4, 3, 4).
 *
 * Plain data, filled by the field tables of config/, read by policy_build. */
#ifndef SBX_POLICY_H
#define SBX_POLICY_H

#include "base/field.h"

struct signal_ops;

/* One entry of a collection under `signals`. */
struct signal_rule {
    str name;
    const struct signal_ops *ops;
    void *conf;                         /* ops->fields.struct_size bytes, decoded */
    struct place at;
};

struct number_predicate {               /* {gt, gte, lt, lte}; NAN: not given */
    double gt, gte, lt, lte;
};

enum rule_kind { RULE_LEAF, RULE_AND, RULE_OR, RULE_NOT, RULE_UNKNOWN };

/* What a rule makes of an unknown signal: VSR's later `rules.on_unknown`. */
enum on_unknown { UNKNOWN_NO_MATCH, UNKNOWN_MATCH, UNKNOWN_FAIL_REQUEST };

struct rule {
    enum rule_kind kind;                /* empty or misspelt operator: RULE_UNKNOWN, behaves as OR */
    str type, name, label;              /* leaf; type lower-cased */
    bool has_predicate;
    struct number_predicate predicate;
    bool matches_on_error;              /* on_error: match */
    struct rule **children; size_t n_children;
    struct place at;
};

struct model_ref {
    str model, lora_name;
    double weight;
    bool use_reasoning;
    str reasoning_effort, reasoning_description;
    struct place at;
};

struct plugin_use {                     /* one entry of decisions[].plugins */
    str type;                           /* alias-normalised: response_cache, ... */
    const struct value *configuration;  /* as written */
    const void *conf;                   /* decoded by the plugin's own table; NULL while not built */
    struct place at;
};

struct algorithm {
    str type;                           /* "" : static */
    str on_error;
    const struct value *block;          /* the block named like the type, as written */
    const void *conf;                   /* decoded by the selector's table */
    struct place at;
};

struct decision_conf {
    str name, description;
    int64_t priority, tier;
    struct rule *rules;                 /* NULL: unconditional */
    enum on_unknown on_unknown;
    struct model_ref *refs; size_t n_refs;
    struct algorithm algorithm;
    struct plugin_use *plugins; size_t n_plugins;
    struct string_pairs annotations;
    struct place at;
};

struct partition_conf { str name, semantics; double temperature; struct strings members; str default_member; struct place at; };

struct score_input { str type, name, kb, metric, value_source; double weight, match, miss; struct place at; };
struct score_conf { str name, method; struct score_input *inputs; size_t n_inputs; struct place at; };

struct mapping_output { str name; struct number_predicate bounds; struct place at; };
struct mapping_conf {
    str name, source, method;           /* threshold_bands (default) or multi_emit */
    double slope;                       /* sigmoid_distance; default 12 */
    struct mapping_output *outputs; size_t n_outputs;
    struct place at;
};

enum strategy { STRATEGY_PRIORITY, STRATEGY_CONFIDENCE };

/* Which revision of the ranking and of the logic (spec 01, sections 0.2 and 10.1). */
enum revision { REVISION_2026_08, REVISION_2026_09 };

struct profile {
    str name;                           /* "default" for the top-level routing */
    str description;
    enum strategy strategy;
    enum revision revision;
    struct signal_rule *signals; size_t n_signals;
    struct partition_conf *partitions; size_t n_partitions;
    struct score_conf *scores; size_t n_scores;
    struct mapping_conf *mappings; size_t n_mappings;
    struct decision_conf *decisions; size_t n_decisions;
    struct place at;
};

#endif
