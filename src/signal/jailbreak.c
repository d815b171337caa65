/* signal/jailbreak.c -- attempts to talk a model out of its rules (spec 2.4.14). */
#include "signal/rule.h"

struct jailbreak_conf {
    str description, method;
    double threshold;
    bool include_history;
    struct strings jailbreak_patterns, benign_patterns;
    uint64_t set;
};

enum { KEY_THRESHOLD = 0 };

static const struct field jailbreak_table[] = {
    [KEY_THRESHOLD] = F(FIELD_FLOAT, struct jailbreak_conf, threshold, "threshold", NULL,
        "lowest risk of a match; contrastive rules default to 0.1", .min = 0, .max = 1),
    F(FIELD_STR, struct jailbreak_conf, method, "method", "",
      "classifier (default) or contrastive"),
    F(FIELD_BOOL, struct jailbreak_conf, include_history, "include_history", "false",
      "look at earlier messages too"),
    F(FIELD_STRINGS, struct jailbreak_conf, jailbreak_patterns, "jailbreak_patterns", NULL,
      "sentences of attacks, for the contrastive method"),
    F(FIELD_STRINGS, struct jailbreak_conf, benign_patterns, "benign_patterns", NULL,
      "harmless sentences that look alike, for the contrastive method"),
    F(FIELD_STR, struct jailbreak_conf, description, "description", NULL, "for people"),
    { .key = FIELD_KEY_SET, .offset = offsetof(struct jailbreak_conf, set) },
};

static void jailbreak_check(const struct signal_rule *rule, const struct profile *p,
                            struct findings *out)
{
    (void)p;
    const struct jailbreak_conf *c = rule->conf;
    bool is_contrastive = str_eq(c->method, S("contrastive"));
    if (c->method.len && !is_contrastive && !str_eq(c->method, S("classifier")))
        rule_finding(rule, out, "unknown-method", SEVERITY_WARNING,
                     S("the methods are classifier and contrastive"),
                     "method \"" STR_FMT "\" acts as classifier, and patterns are ignored",
                     STR_ARG(c->method));
    if (!is_contrastive && !(c->set >> KEY_THRESHOLD & 1))
        rule_finding(rule, out, "missing-threshold", SEVERITY_WARNING, S("0.7 is usual"),
                     "jailbreak rule without threshold matches any risk above 0");
}

const struct signal_ops signal_jailbreak = {
    .type = "jailbreak",
    .collection = "jailbreak",
    .response_key = "jailbreak",
    .header = "x-vsr-matched-jailbreak",
    .fields = FIELDS(struct jailbreak_conf, jailbreak_table),
    .check = jailbreak_check,
    .make = rule_slots,
};
