/* signal/complexity.c -- is a request nearer to hard or to easy examples (spec 2.4.11)?
 *
 * Every rule has three outcomes, so three slots: NAME:hard, NAME:easy, NAME:medium. */
#include "signal/rule.h"

struct complexity_bank { struct strings candidates, image_candidates; };

struct complexity_conf {
    str description;
    double threshold;
    struct complexity_bank hard, easy;
    const struct value *composer;       /* a rule tree, as written */
};

static const struct field bank_table[] = {
    F(FIELD_STRINGS, struct complexity_bank, candidates, "candidates", NULL, "example sentences"),
    F(FIELD_STRINGS, struct complexity_bank, image_candidates, "image_candidates", NULL,
      "sentences that describe images"),
};
static const struct fields bank_fields = FIELDS(struct complexity_bank, bank_table);

static const struct field complexity_table[] = {
    F(FIELD_STR, struct complexity_conf, description, "description", NULL, "for people"),
    F(FIELD_FLOAT, struct complexity_conf, threshold, "threshold", "0",
      "margin between the banks beyond which a request is hard or easy", .min = 0, .max = 2),
    F(FIELD_STRUCT, struct complexity_conf, hard, "hard", NULL, "examples of hard requests",
      .sub = &bank_fields),
    F(FIELD_STRUCT, struct complexity_conf, easy, "easy", NULL, "examples of easy requests",
      .sub = &bank_fields),
    F(FIELD_VALUE, struct complexity_conf, composer, "composer", NULL,
      "rule tree that must hold for the level to count"),
};

static const char *const levels[] = { "hard", "easy", "medium" };

static void complexity_check(const struct signal_rule *rule, const struct profile *p,
                             struct findings *out)
{
    (void)p;
    if (str_chr(rule->name, ':') >= 0)
        rule_finding(rule, out, "bad-name", SEVERITY_ERROR, S("rename the rule"),
                     "the name of a complexity rule has a colon, which separates the level");
}

static void complexity_make(struct signal_build *b, const struct signal_rule *const *rules,
                            size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct complexity_conf *c = rules[i]->conf;
        for (size_t k = 0; k < COUNT_OF(levels); k++) {
            str name = arena_printf(b->a, STR_FMT ":%s", STR_ARG(rules[i]->name), levels[k]);
            uint32_t slot = policy_slot(b->policy, S("complexity"), name);
            if (c->composer)
                policy_compose(b->policy, slot, c->composer);
        }
    }
}

const struct signal_ops signal_complexity = {
    .type = "complexity",
    .collection = "complexity",
    .response_key = "complexity",
    .header = "x-vsr-matched-complexity",
    .fields = FIELDS(struct complexity_conf, complexity_table),
    .check = complexity_check,
    .make = complexity_make,
};
