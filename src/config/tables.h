/* config/tables.h -- the key tables of a whole document, and what they fill.
 *
 * Private to config/. A draft is a config plus what is still to be turned into one: rule trees
 * as written, settings that only the loader needs. */
#ifndef SBX_CONFIG_TABLES_H
#define SBX_CONFIG_TABLES_H

#include "config/config.h"

struct authz_provider { str type; struct string_pairs headers; struct place at; };

struct rule_draft {
    str operator, type, name, label, on_error, on_unknown;
    struct number_predicate predicate;
    struct rule_draft *conditions; size_t n_conditions;
    struct place at;
    uint64_t set;                               /* bits of enum rule_key */
};
/* The order of the lines in the rule tables. */
enum rule_key {
    RULE_KEY_OPERATOR, RULE_KEY_CONDITIONS, RULE_KEY_TYPE, RULE_KEY_NAME, RULE_KEY_LABEL,
    RULE_KEY_PREDICATE, RULE_KEY_ON_ERROR,
};

struct plugin_draft { str type; const struct value *configuration; struct place at; };

struct decision_draft {
    struct decision_conf conf;
    struct rule_draft rules;
    str on_unknown;
    const struct value *algorithm;              /* NULL: none */
    struct plugin_draft *plugins; size_t n_plugins;
};

struct routing_draft {                          /* routing, and recipes[].routing */
    str strategy;
    struct card_conf *cards; size_t n_cards;
    const struct value *signals;                /* NULL: none */
    struct partition_conf *partitions; size_t n_partitions;
    struct score_conf *scores; size_t n_scores;
    struct mapping_conf *mappings; size_t n_mappings;
    struct decision_draft *decisions; size_t n_decisions;
    struct place at;
};

struct recipe_draft { str name, description; struct routing_draft routing; struct place at; };

struct draft {
    struct config config;                       /* first: offsets of its members are its own */
    struct named_list families;                 /* of struct reasoning_family */
    str strategy, ranking, auto_model_name;
    struct strings auto_model_names;
    struct authz_provider *authz_providers; size_t n_authz_providers;
    struct routing_draft routing;
    struct recipe_draft *recipes; size_t n_recipes;
};

extern const struct fields document_fields;     /* struct draft */
extern const struct fields global_fields;       /* struct draft */
extern const struct fields identity_fields, state_fields, ratelimit_fields;     /* struct draft; tenancy.c */
extern const struct fields plugin_use_fields;   /* struct plugin_draft; printers look inside */
extern struct fields algorithm_fields;          /* no struct; ready after config_tables() */
extern struct fields signals_fields;            /* no struct; ready after config_tables() */
extern const struct fields rule_fields;         /* struct rule_draft */

/* Fills the tables that depend on the families of signals and selectors; idempotent. */
void config_tables(void);

/* The domains VSR's classifier knows; NULL-terminated. */
extern const char *const config_mmlu_categories[];

/* load.c gives, check.c and rules.c use: */
struct loading {
    struct arena *a;
    struct findings *out;
    struct draft *draft;
    const char *(*env)(const char *name);
};

/* normalise.c: aliases, renamed and removed keys, spellings that VSR reads as another. */
void config_normalise(struct loading *l, struct value *root);
/* normalise.c: $VAR in every scalar (spec 01 1.2). */
void config_expand(struct loading *l, struct value *root);
/* The text with its variables replaced; `*is_changed` when something was. Exposed for tests. */
str config_expand_text(struct arena *a, str text, const char *(*env)(const char *name),
                       bool *is_changed, str *missing);
/* rules.c: a profile from its draft. */
void config_profile(struct loading *l, const struct routing_draft *from, str path,
                    struct profile *to);
/* print.c: the defaults of a table as a tree; NULL when there are none. */
struct value *config_defaults(struct arena *a, const struct fields *f);
/* print.c: what `over` says, where it says nothing what `under` does; lists are not merged. */
struct value *config_overlay(struct arena *a, struct value *under, const struct value *over);
/* tenancy.c: secrets from the environment, dates, and the rules about keys, issuers, quotas, budgets and prices. */
void config_tenancy(struct loading *l);
/* validate.c: the rules of spec 01 1.7 about listeners, providers, recipes and entrypoints. */
void config_validate(struct loading *l);
/* "routing", "recipes[2].routing": where profile i of a config comes from. */
str config_profile_path(struct arena *a, size_t i);
/* Removed names of algorithms and settings; NULL: not one of them, else what to do instead. */
const char *config_removed_algorithm(str name);

#endif
