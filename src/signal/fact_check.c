/* signal/fact_check.c -- does the request make claims that want evidence (spec 2.4.4)?
 *
 * The classifier answers with one of two names; a rule under any other name never holds. Without an answer neither name is
 * reported. */
#include "signal/neural.h"

struct fact_check_conf { str description; };

static const struct field fact_check_table[] = {
    F(FIELD_STR, struct fact_check_conf, description, "description", NULL, "for people"),
};

enum verdict { VERDICT_NO, VERDICT_YES };
static const char *const verdicts[] = { "no_fact_check_needed", "needs_fact_check" };

/* How models call them: the v0.3 checkpoint, heads trained here, checkpoints without label names. */
static const struct neural_spelling spellings[] = {
    { "no_fact_check_needed", VERDICT_NO }, { "fact_check_needed", VERDICT_YES }, { "needs_fact_check", VERDICT_YES },
    { "no_fact_check", VERDICT_NO },        { "fact_check", VERDICT_YES },        { "label_0", VERDICT_NO },
    { "label_1", VERDICT_YES },
};

static int verdict_of(str name)         /* -1: never reported */
{
    for (size_t i = 0; i < COUNT_OF(verdicts); i++) {
        if (str_eq(name, str_of(verdicts[i])))
            return (int)i;
    }
    return -1;
}

static void fact_check_check(const struct signal_rule *rule, const struct profile *p,
                             struct findings *out)
{
    (void)p;
    if (verdict_of(rule->name) < 0)
        rule_finding(rule, out, "dead-rule", SEVERITY_WARNING,
                     S("the names are needs_fact_check and no_fact_check_needed"),
                     "fact_check never reports \"" STR_FMT "\"", STR_ARG(rule->name));
}

struct rule_code { uint32_t slot; int verdict; };
struct fact_check {
    const struct need_source *source;
    const int *meaning;                 /* [n_labels] */
    struct rule_code *rules; size_t n;
    double threshold;
};

static const struct field settings_table[] = {
    F(FIELD_STR, struct neural_module, model_ref, "model_ref", "fact_check_classifier", "key of model_catalog.system"),
    F(FIELD_STR, struct neural_module, model_id, "model_id", NULL, "directory; wins over model_ref"),
    F(FIELD_FLOAT, struct neural_module, threshold, "threshold", "0.6", "from which a request needs facts", .min = 0, .max = 1),
};
static const struct fields settings_fields = FIELDS(struct neural_module, settings_table);

static void fact_check_run(const void *state, const struct facts *f, const uint64_t *wanted, struct arena *request,
                           struct sigset *out)
{
    (void)wanted;
    const struct fact_check *c = state;
    const char *why = NULL;
    const float *p = neural_labels(f, c->source, f->evaluation_text, request, &why);
    double needs = 0;
    for (uint32_t i = 0; i < c->source->n_labels && p; i++)
        needs += c->meaning[i] == VERDICT_YES ? (double)p[i] : 0;
    int verdict = !p ? -1 : needs >= c->threshold ? VERDICT_YES : VERDICT_NO;
    str said = p ? arena_printf(request, "needs facts: probability %.2f", needs) : (str){ 0 };
    for (size_t i = 0; i < c->n; i++) {
        const struct rule_code *r = &c->rules[i];
        neural_silent(out, r->slot, r->verdict < 0 ? NULL : why);
        out->detail[r->slot] = said;
        if (verdict >= 0 && r->verdict == verdict)
            sig_set(out, r->slot, true);
    }
}

static void fact_check_make(struct signal_build *b, const struct signal_rule *const *rules, size_t n)
{
    struct neural_module m;
    const struct value *module = neural_settings(b, "modules.hallucination_mitigation.fact_check", &settings_fields, &m);
    struct fact_check *c = ARENA_NEW(b->a, struct fact_check);
    *c = (struct fact_check){ .source = neural_module_source(b, NEED_LABELS, "fact_check", &m, module),
                              .rules = ARENA_ARRAY(b->a, struct rule_code, n), .n = n, .threshold = m.threshold };
    struct signal_unit *u = neural_unit(b, "fact_check", c->source, 1);
    for (size_t i = 0; i < n; i++)
        c->rules[i] = (struct rule_code){ rule_slot(b, u, S("fact_check"), rules[i]->name), verdict_of(rules[i]->name) };
    const char *why = neural_why_absent(c->source);
    if (!why && !(c->meaning = neural_meanings(b->a, c->source, spellings, COUNT_OF(spellings), 1ull << VERDICT_YES)))
        why = "bad-labels";
    if (why) {
        neural_absent(b, u, why);
        return;
    }
    u->state = c;
    u->ask = neural_ask_text;
    u->run = fact_check_run;
}

const struct signal_ops signal_fact_check = {
    .type = "fact_check",
    .collection = "fact_check",
    .response_key = "fact_check",
    .header = "x-vsr-matched-fact-check",
    .fields = FIELDS(struct fact_check_conf, fact_check_table),
    .check = fact_check_check,
    .make = fact_check_make,
};
