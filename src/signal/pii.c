/* signal/pii.c -- personal data of kinds that a rule does not allow (spec 2.4.15). */
#include "signal/rule.h"

struct pii_conf {
    str description;
    double threshold;
    bool include_history;
    struct strings pii_types_allowed;
    uint64_t set;
};

enum { KEY_THRESHOLD = 0 };

static const struct field pii_table[] = {
    [KEY_THRESHOLD] = F(FIELD_FLOAT, struct pii_conf, threshold, "threshold", NULL,
        "lowest confidence of an entity that counts", .min = 0, .max = 1),
    F(FIELD_STRINGS, struct pii_conf, pii_types_allowed, "pii_types_allowed", NULL,
      "kinds of entities that may pass"),
    F(FIELD_BOOL, struct pii_conf, include_history, "include_history", "false",
      "look at earlier messages too"),
    F(FIELD_STR, struct pii_conf, description, "description", NULL, "for people"),
    { .key = FIELD_KEY_SET, .offset = offsetof(struct pii_conf, set) },
};

static void pii_check(const struct signal_rule *rule, const struct profile *p,
                      struct findings *out)
{
    (void)p;
    const struct pii_conf *c = rule->conf;
    if (!(c->set >> KEY_THRESHOLD & 1))
        rule_finding(rule, out, "missing-threshold", SEVERITY_WARNING, S("0.8 is usual"),
                     "pii rule without threshold matches every entity");
}

const struct signal_ops signal_pii = {
    .type = "pii",
    .collection = "pii",
    .response_key = "pii",
    .header = "x-vsr-matched-pii",
    .fields = FIELDS(struct pii_conf, pii_table),
    .check = pii_check,
    .make = rule_slots,
};
