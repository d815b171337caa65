/* signal/domain.c -- the subject of a request, by an intent classifier (spec 2.4.3). */
#include "signal/rule.h"

struct domain_conf {
    str description;
    struct strings mmlu_categories;
    const struct value *model_scores;
};

static const struct field domain_table[] = {
    F(FIELD_STR, struct domain_conf, description, "description", NULL, "for people"),
    F(FIELD_STRINGS, struct domain_conf, mmlu_categories, "mmlu_categories", NULL,
      "labels of the classifier that mean this domain"),
    F(FIELD_VALUE, struct domain_conf, model_scores, "model_scores", NULL,
      "scores per model of older configurations", .flags = FIELD_IGNORED),
};

static const char *const categories[] = {
    "biology", "business", "chemistry", "computer science", "economics", "engineering", "health",
    "history", "law", "math", "other", "philosophy", "physics", "psychology",
};

static void domain_check(const struct signal_rule *rule, const struct profile *p,
                         struct findings *out)
{
    (void)p;
    const struct domain_conf *c = rule->conf;
    for (size_t i = 0; i < c->mmlu_categories.n; i++) {
        bool is_known = false;
        for (size_t k = 0; k < COUNT_OF(categories); k++)
            is_known |= str_eq(c->mmlu_categories.items[i], str_of(categories[k]));
        if (!is_known)
            rule_finding(rule, out, "unknown-category", SEVERITY_ERROR,
                         S("the 14 categories are those of MMLU-Pro"),
                         "no domain category is called \"" STR_FMT "\"",
                         STR_ARG(c->mmlu_categories.items[i]));
    }
}

const struct signal_ops signal_domain = {
    .type = "domain",
    .collection = "domains",
    .response_key = "domains",
    .header = "x-vsr-matched-domains",
    .fields = FIELDS(struct domain_conf, domain_table),
    .check = domain_check,
    .make = rule_slots,
};
