/* signal/classifier.c -- labels of a classifier of the operator's own (spec 2.4.20).
 *
 * One slot a label, NAME:LABEL, whose score is read by predicate leaves; the slots themselves never match. Every rule is a
 * unit of its own, because every rule may be another model, or a language model asked over the network. */
#include "signal/neural.h"

struct classifier_conf {
    str description, type, model_path, model, instructions;
    struct strings labels;
    bool use_cpu;
    const struct value *written;        /* the whole rule, for whoever serves it */
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
    { .key = FIELD_KEY_SELF, .offset = offsetof(struct classifier_conf, written) },
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

struct classifier {
    const struct need_source *source;
    uint32_t *slots, *label;            /* [n] and which label of the source each is */
    uint32_t n;
};

static void classifier_run(const void *state, const struct facts *f, const uint64_t *wanted, struct arena *request,
                           struct sigset *out)
{
    (void)wanted;
    const struct classifier *c = state;
    const char *why = NULL;
    const float *p = neural_labels(f, c->source, f->evaluation_text, request, &why);
    for (uint32_t i = 0; i < c->n; i++) {
        if (p)
            rule_value(out, c->slots[i], (double)p[c->label[i]]);
        else
            neural_silent(out, c->slots[i], why);
    }
}

/* By name; a model whose labels have other names, but as many, in the order of the rule. False: neither. */
static bool labels_match(struct classifier *c, struct strings labels)
{
    const struct need_source *s = c->source;
    bool all = true;
    for (uint32_t i = 0; i < c->n; i++) {
        uint32_t k = 0;
        while (k < s->n_labels && !neural_label_is(s->labels[k], labels.items[i]))
            k++;
        c->label[i] = k;
        all &= k < s->n_labels;
    }
    for (uint32_t i = 0; i < c->n && !all; i++)
        c->label[i] = i;
    return all || c->n == s->n_labels;
}

static void rule_make(struct signal_build *b, const struct signal_rule *rule)
{
    const struct classifier_conf *conf = rule->conf;
    bool is_local = str_eq(conf->type, S("local"));
    struct classifier *c = ARENA_NEW(b->a, struct classifier);
    *c = (struct classifier){
        .source = neural_source(b, NEED_LABELS, "classifier", is_local ? conf->model_path : conf->model, conf->written),
        .slots = ARENA_ARRAY(b->a, uint32_t, conf->labels.n), .label = ARENA_ARRAY(b->a, uint32_t, conf->labels.n),
    };
    struct signal_unit *u = neural_unit(b, "classifier", c->source, 1);
    for (; c->n < conf->labels.n; c->n++) {
        str name = arena_printf(b->a, STR_FMT ":" STR_FMT, STR_ARG(rule->name), STR_ARG(conf->labels.items[c->n]));
        c->slots[c->n] = rule_slot(b, u, S("classifier"), name);
    }
    const char *why = neural_why_absent(c->source);
    if (!why && !labels_match(c, conf->labels))
        why = "bad-labels";
    if (why) {
        neural_absent(b, u, why);
        return;
    }
    u->state = c;
    u->ask = neural_ask_text;
    u->run = classifier_run;
}

static void classifier_make(struct signal_build *b, const struct signal_rule *const *rules, size_t n)
{
    for (size_t i = 0; i < n; i++)
        rule_make(b, rules[i]);
}

const struct signal_ops signal_classifier = {
    .type = "classifier",
    .collection = "classifiers",
    .response_key = "classifier",
    .fields = FIELDS(struct classifier_conf, classifier_table),
    .check = classifier_check,
    .make = classifier_make,
};
