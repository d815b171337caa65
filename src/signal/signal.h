/* signal/signal.h -- the family of signals: one file and one line in list.h each.
 *
 * A signal type decodes its rules by its own field table and compiles all rules of one
 * profile at once into a unit (decide/decide.h). Literal keywords and patterns of all types
 * are collected in one `scanner` a profile: one automaton, one RE2 set, one pass over a text. */
#ifndef SBX_SIGNAL_H
#define SBX_SIGNAL_H

#include "decide/decide.h"

struct scanner;                         /* signal/scanner.h */
struct signal_models;                   /* signal/models.h */

struct signal_build {
    struct policy_builder *policy;
    struct arena *a;                    /* snapshot */
    struct scanner *scanner;
    const struct value *global;         /* the `global` map as written, for module settings; NULL */
    const struct signal_models *models; /* NULL: none are served, neural slots stay unknown ("no-model") */
    struct findings *findings;
};

struct signal_ops {
    const char *type;                   /* leaf type in rules: "keyword" */
    const char *collection;             /* YAML key under `signals`: "keywords" */
    const char *response_key;           /* key in matched_signals: "keywords" */
    const char *header;                 /* "x-vsr-matched-keywords"; NULL: none */
    struct fields fields;               /* of one rule, without `name`, which the loader reads */
    /* Cross-field checks of one rule; adds findings with rule->at. May be NULL. */
    void (*check)(const struct signal_rule *rule, const struct profile *p, struct findings *out);
    /* Compiles the n rules of this type; makes slots and a unit. */
    void (*make)(struct signal_build *b, const struct signal_rule *const *rules, size_t n);
};

extern const struct signal_ops *const signal_all[];  /* NULL-terminated, in list.h order */
const struct signal_ops *signal_by_collection(str key);
const struct signal_ops *signal_by_type(str type);

/* The make_signals callback of policy_build; arg: struct signal_make_arg, or NULL. The scanner
 * is one for this profile alone and is sealed here; NULL: one is made. `global` may be NULL. */
struct signal_make_arg { struct scanner *scanner; const struct value *global; const struct signal_models *models; };
int signal_make_all(struct policy_builder *b, const struct profile *p, void *arg);

#endif
