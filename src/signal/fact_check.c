/* signal/fact_check.c -- does the request make claims that want evidence (spec 2.4.4)?
 *
 * The classifier answers with one of two names; a rule under any other name never holds. */
#include "signal/rule.h"

struct fact_check_conf { str description; };

static const struct field fact_check_table[] = {
    F(FIELD_STR, struct fact_check_conf, description, "description", NULL, "for people"),
};

static void fact_check_check(const struct signal_rule *rule, const struct profile *p,
                             struct findings *out)
{
    (void)p;
    if (!str_eq(rule->name, S("needs_fact_check"))
        && !str_eq(rule->name, S("no_fact_check_needed")))
        rule_finding(rule, out, "dead-rule", SEVERITY_WARNING,
                     S("the names are needs_fact_check and no_fact_check_needed"),
                     "fact_check never reports \"" STR_FMT "\"", STR_ARG(rule->name));
}

const struct signal_ops signal_fact_check = {
    .type = "fact_check",
    .collection = "fact_check",
    .response_key = "fact_check",
    .header = "x-vsr-matched-fact-check",
    .fields = FIELDS(struct fact_check_conf, fact_check_table),
    .check = fact_check_check,
    .make = rule_slots,
};
