/* signal/jailbreak.c -- attempts to talk a model out of its rules (spec 2.4.14).
 *
 * Two methods, a unit each, so that a rule of one does not cost a model of the other: a classifier's probability of its
 * positive labels, and how much nearer a passage is to known attacks than to harmless look-alikes. Both read every window of
 * a text (a head may add single sentences, neural/passages.h), and the worst one counts: an attack buried in a long document is
 * an attack. */
#include "signal/neural.h"

#include <math.h>

struct jailbreak_conf {
    str description, method;
    double threshold;
    bool include_history, include_tool_results;
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
    F(FIELD_BOOL, struct jailbreak_conf, include_tool_results, "include_tool_results", "false",
      "look at what tools brought since the assistant last spoke; with include_history at all they brought"),
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

struct guard_settings {                 /* modules.prompt_guard */
    struct neural_module module;
    struct strings positive_labels;
    str on_error;
};

static const char *const guard_errors[] = { "allow", "block", NULL };
static const struct field settings_table[] = {
    F(FIELD_BOOL, struct guard_settings, module.enabled, "enabled", "true", "look for jailbreaks"),
    F(FIELD_STR, struct guard_settings, module.model_ref, "model_ref", "prompt_guard", "key of model_catalog.system"),
    F(FIELD_STR, struct guard_settings, module.model_id, "model_id", NULL, "directory; wins over model_ref"),
    F(FIELD_STRINGS, struct guard_settings, positive_labels, "positive_labels", "[jailbreak]", "labels that add up to the risk"),
    F(FIELD_ENUM, struct guard_settings, on_error, "on_error", "allow", "when there is no answer", .names = guard_errors),
};
static const struct fields settings_fields = FIELDS(struct guard_settings, settings_table);

#define CONTRASTIVE_DEFAULT 0.1         /* threshold of contrastive rules without one */

struct rule_code {
    uint32_t slot;
    double threshold;
    unsigned reads;                     /* READS_... */
    struct bank attacks, harmless;      /* contrastive */
};

struct jailbreak {
    const struct need_source *source;
    bool is_contrastive;
    bool *is_positive;                  /* [n_labels] classifier */
    bool blocks_on_error;
    const char *why;                    /* NULL, or why nothing can be asked */
    struct rule_code *rules; size_t n;
    bool is_read[READS_N];              /* by a rule */
};

static void jailbreak_ask(const void *state, const struct facts *f, const uint64_t *wanted, struct needs *needs)
{
    (void)wanted;
    const struct jailbreak *j = state;
    if (j->why)
        return;
    for (unsigned reads = 0; reads < READS_N; reads++) {
        struct contents contents = j->is_read[reads] ? neural_contents(f, reads, needs->a) : (struct contents){ 0 };
        for (size_t i = 0; i < contents.n; i++)
            need_ask(needs, j->source, contents.items[i].text);
    }
}

/* Of one window: the probability of an attack, or by how much it is nearer to attacks. */
static double window_risk(const struct jailbreak *j, const struct rule_code *r, const float *values)
{
    double risk = 0;
    if (j->is_contrastive) {
        risk = bank_score(&r->attacks, values).best;
        return r->harmless.n ? risk - bank_score(&r->harmless, values).best : risk;
    }
    for (uint32_t i = 0; i < j->source->n_labels; i++)
        risk += j->is_positive[i] ? (double)values[i] : 0;
    return risk;
}

/* The worst window of all contents, and in which tool's result it is; *why when one of them has no answer. -INFINITY: nothing was
 * read. */
static double rule_risk(const struct jailbreak *j, const struct rule_code *r, const struct facts *f, struct contents contents,
                        uint32_t *result, const char **why)
{
    uint32_t width = j->is_contrastive ? j->source->dim : j->source->n_labels;
    double worst = -(double)INFINITY;
    *why = j->why;
    *result = 0;
    for (size_t i = 0; i < contents.n && !j->why; i++) {
        const struct need *n = neural_answer(f, j->source, contents.items[i].text, why);
        for (uint32_t w = 0; n && w < n->n_windows; w++) {
            double risk = window_risk(j, r, &n->values[(size_t)w * width]);
            if (!isfinite(risk)) {
                *why = "bad-answer";
            } else if (risk > worst) {
                worst = risk;
                *result = contents.items[i].result;
            }
        }
        if (n && n->n_windows == 0)
            *why = "no-answer";
    }
    return worst;
}

static void jailbreak_run(const void *state, const struct facts *f, const uint64_t *wanted, struct arena *request,
                          struct sigset *out)
{
    (void)wanted;
    const struct jailbreak *j = state;
    struct contents read[READS_N] = { 0 };
    for (unsigned reads = 0; reads < READS_N; reads++) {
        if (j->is_read[reads])
            read[reads] = neural_contents(f, reads, request);
    }
    for (size_t i = 0; i < j->n; i++) {
        const struct rule_code *r = &j->rules[i];
        struct contents contents = read[r->reads];
        const char *why = NULL;
        uint32_t result = 0;
        double risk = contents.n ? rule_risk(j, r, f, contents, &result, &why) : 0;
        /* Threshold 0 of a classifier means any risk at all. */
        bool matched = risk >= r->threshold && (j->is_contrastive || risk > 0);
        if (contents.n && !matched && why) {
            if (j->blocks_on_error) {
                rule_says(out, r->slot, true, 1, (double)NAN);
                out->detail[r->slot] = arena_printf(request, "on_error: block, %s", why);
            } else {
                neural_unknown(out, r->slot, why);
            }
            continue;
        }
        matched &= contents.n > 0;
        rule_says(out, r->slot, matched, matched ? risk : (double)NAN, (double)NAN);
        if (contents.n && isfinite(risk))       /* of a rule that does not match, too: whoever asks why wants to know */
            out->detail[r->slot] = arena_printf(request, "risk %.2f" STR_FMT, risk, STR_ARG(neural_place(f, result, request)));
    }
}

static bool is_contrastive(const struct signal_rule *rule)
{
    return str_eq(((const struct jailbreak_conf *)rule->conf)->method, S("contrastive"));
}

static bool *positives(struct arena *a, const struct need_source *s, struct strings names)
{
    bool *is = ARENA_ARRAY(a, bool, s->n_labels), any = false;
    for (uint32_t i = 0; i < s->n_labels; i++) {
        for (size_t k = 0; k < names.n; k++)
            is[i] |= neural_label_is(s->labels[i], names.items[k]);
        any |= is[i];
    }
    return any ? is : NULL;
}

/* Patterns are not clustered: the nearest one counts, however many are like it. */
static const char *patterns_build(struct signal_build *b, struct jailbreak *j, const struct jailbreak_conf *const *confs)
{
    static const struct bank_conf all = { .enabled = false, .best_weight = 1, .top_m = 1 };
    const char *why = NULL;
    struct examples examples;
    examples_start(&examples, j->source);
    for (size_t i = 0; i < j->n; i++) {
        examples_add_all(&examples, confs[i]->jailbreak_patterns);
        examples_add_all(&examples, confs[i]->benign_patterns);
    }
    if (!examples_embed(&examples, b->models))
        why = "no-examples";
    for (size_t i = 0; i < j->n && !why; i++) {
        bank_build(&j->rules[i].attacks, b->a, &all, &examples, confs[i]->jailbreak_patterns);
        bank_build(&j->rules[i].harmless, b->a, &all, &examples, confs[i]->benign_patterns);
    }
    examples_drop(&examples);
    return why;
}

/* The unit of the rules of one method. */
static void method_make(struct signal_build *b, const struct guard_settings *s, const struct value *module,
                        const struct signal_rule *const *rules, size_t n, bool contrastive)
{
    struct jailbreak *j = ARENA_NEW(b->a, struct jailbreak);
    *j = (struct jailbreak){ .is_contrastive = contrastive, .blocks_on_error = str_eq(s->on_error, S("block")) };
    j->source = contrastive ? neural_embedding_source(b)
                            : neural_module_source(b, NEED_LABELS, "jailbreak", &s->module, module);
    j->rules = ARENA_ARRAY(b->a, struct rule_code, n);
    struct signal_unit *u = neural_unit(b, "jailbreak", j->source, 1);
    const struct jailbreak_conf **confs = ARENA_ARRAY(b->a, const struct jailbreak_conf *, n);
    for (size_t i = 0; i < n; i++) {
        const struct jailbreak_conf *c = rules[i]->conf;
        if (is_contrastive(rules[i]) != contrastive)
            continue;
        bool has_threshold = c->set >> KEY_THRESHOLD & 1;
        confs[j->n] = c;
        j->rules[j->n++] = (struct rule_code){
            .slot = rule_slot(b, u, S("jailbreak"), rules[i]->name),
            .reads = neural_reads(c->include_history, c->include_tool_results),
            .threshold = contrastive && !has_threshold ? CONTRASTIVE_DEFAULT : c->threshold };
        j->is_read[j->rules[j->n - 1].reads] = true;
    }
    j->why = s->module.enabled ? neural_why_absent(j->source) : "off";
    if (!j->why && contrastive)
        j->why = patterns_build(b, j, confs);
    else if (!j->why && !(j->is_positive = positives(b->a, j->source, s->positive_labels)))
        j->why = "bad-labels";
    if (j->why && (!s->module.enabled || !j->blocks_on_error)) {
        neural_absent(b, u, j->why);
        return;
    }
    u->state = j;
    u->ask = j->why ? NULL : jailbreak_ask;
    u->run = jailbreak_run;
}

static void jailbreak_make(struct signal_build *b, const struct signal_rule *const *rules, size_t n)
{
    struct guard_settings s;
    const struct value *module = neural_settings(b, "modules.prompt_guard", &settings_fields, &s);
    size_t n_contrastive = 0;
    for (size_t i = 0; i < n; i++)
        n_contrastive += is_contrastive(rules[i]);
    if (n_contrastive < n)
        method_make(b, &s, module, rules, n, false);
    if (n_contrastive)
        method_make(b, &s, module, rules, n, true);
}

const struct signal_ops signal_jailbreak = {
    .type = "jailbreak",
    .collection = "jailbreak",
    .response_key = "jailbreak",
    .header = "x-vsr-matched-jailbreak",
    .fields = FIELDS(struct jailbreak_conf, jailbreak_table),
    .check = jailbreak_check,
    .make = jailbreak_make,
};
