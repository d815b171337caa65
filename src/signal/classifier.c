/* signal/classifier.c -- labels of a classifier of the operator's own (spec 2.4.20).
 *
 * One slot a label, NAME:LABEL, whose score is read by predicate leaves. */
#include "signal/rule.h"

struct classifier_conf {
    str description, type, model_path, model, instructions;
    struct strings labels;
    bool use_cpu;
};

static const char *const types[] = { "local", "llm", NULL };

static const struct field classifier_table[] = {
    F(FIELD_ENUM, struct classifier_conf, type, "type", NULL,
      "local: a binary model served here; llm: an external model is asked", .names = types,
      .flags = FIELD_REQUIRED),
    F(FIELD_STRINGS, struct classifier_conf, labels, "labels", NULL, "what it may answer",
      .flags = FIELD_REQUIRED),
    F(FIELD_STR, struct classifier_conf, model_path, "model_path", NULL, "directory of the model"),
    F(FIELD_BOOL, struct classifier_conf, use_cpu, "use_cpu", "true", "run it on the CPU"),
    F(FIELD_STR, struct classifier_conf, model, "model", NULL,
      "entry of global.model_catalog.external with role classification"),
    F(FIELD_STR, struct classifier_conf, instructions, "instructions", NULL,
      "what the external model is told"),
    F(FIELD_STR, struct classifier_conf, description, "description", NULL, "for people"),
};

static void classifier_check(const struct signal_rule *rule, const struct profile *p,
                             struct findings *out)
{
    (void)p;
    const struct classifier_conf *c = rule->conf;
    bool is_local = str_eq(c->type, S("local"));
    if (is_local && c->labels.n != 2)
        rule_finding(rule, out, "bad-labels", SEVERITY_ERROR, S("name the two classes"),
                     "a local classifier has exactly two labels, not %zu", c->labels.n);
    if (is_local && c->model_path.len == 0)
        rule_finding(rule, out, "missing-key", SEVERITY_ERROR, S("give model_path"),
                     "a local classifier needs the directory of its model");
    if (!is_local && c->model.len == 0)
        rule_finding(rule, out, "missing-key", SEVERITY_ERROR, S("give model"),
                     "an llm classifier needs the name of an external model");
    for (size_t i = 0; i < c->labels.n; i++) {
        for (size_t k = 0; k < i; k++) {
            if (str_eq(c->labels.items[i], c->labels.items[k]))
                rule_finding(rule, out, "bad-labels", SEVERITY_ERROR, S("remove one"),
                             "label \"" STR_FMT "\" is given twice", STR_ARG(c->labels.items[i]));
        }
    }
}

static void classifier_make(struct signal_build *b, const struct signal_rule *const *rules,
                            size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct classifier_conf *c = rules[i]->conf;
        for (size_t k = 0; k < c->labels.n; k++)
            policy_slot(b->policy, S("classifier"),
                        arena_printf(b->a, STR_FMT ":" STR_FMT, STR_ARG(rules[i]->name),
                                     STR_ARG(c->labels.items[k])));
    }
}

const struct signal_ops signal_classifier = {
    .type = "classifier",
    .collection = "classifiers",
    .response_key = "classifier",
    .fields = FIELDS(struct classifier_conf, classifier_table),
    .check = classifier_check,
    .make = classifier_make,
};
