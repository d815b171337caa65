/* signal/domain.c -- the subject of a request, by an intent classifier (spec 2.4.3).
 *
 * The classifier's label becomes a declared domain by mmlu_categories; what no domain claims passes under its own name.
 * Usually the one most probable label counts; where the classifier is torn between several, every one of them that reaches
 * the threshold. */
#include "signal/neural.h"

#include <math.h>

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

enum { NO_RULE = -1 };

struct rule_code { uint32_t slot; str name; struct strings categories; };
struct domain {
    const struct need_source *source;
    struct rule_code *rules; size_t n;
    int *rule_of;                       /* [n_labels] the declared domain that a label is reported as; NO_RULE: its own name */
    double threshold;
};

#define ENTROPY_TORN 0.4                /* of the labels, as a share of the largest possible: from here on several count */

static const struct field settings_table[] = {
    F(FIELD_BOOL, struct neural_module, enabled, "enabled", "true", "false: never run"),
    F(FIELD_STR, struct neural_module, model_ref, "model_ref", "domain_classifier", "key of model_catalog.system"),
    F(FIELD_STR, struct neural_module, model_id, "model_id", NULL, "directory; wins over model_ref"),
    F(FIELD_FLOAT, struct neural_module, threshold, "threshold", "0.5", "from which a label counts", .min = 0, .max = 1),
};
static const struct fields settings_fields = FIELDS(struct neural_module, settings_table);

static bool claims(const struct rule_code *r, str label)
{
    for (size_t i = 0; i < r->categories.n; i++) {
        if (neural_label_is(r->categories.items[i], label))
            return true;
    }
    return false;
}

static double entropy_share(const float *p, uint32_t n)
{
    double sum = 0, h = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += (double)p[i];
    for (uint32_t i = 0; i < n; i++) {
        double share = (double)p[i] / sum;
        h -= share > 0 ? share * log(share) : 0;
    }
    return n > 1 && sum > 0 ? h / log(n) : 0;
}

/* A rule holds if its name was reported or what was reported is one of its categories. */
static void report(const struct domain *d, uint32_t label, double p, struct arena *request, struct sigset *out)
{
    str label_name = d->source->labels[label];
    str name = d->rule_of[label] == NO_RULE ? label_name : d->rules[d->rule_of[label]].name;
    for (size_t i = 0; i < d->n; i++) {
        const struct rule_code *r = &d->rules[i];
        if (!neural_label_is(r->name, name) && !claims(r, name))
            continue;
        if (sig_yes(out, r->slot) && (double)out->confidence[r->slot] >= p)
            continue;                           /* two labels of one domain: the more probable */
        rule_says(out, r->slot, true, p, (double)NAN);
        out->detail[r->slot] = arena_printf(request, STR_FMT ", probability %.2f", STR_ARG(label_name), p);
    }
}

static void domain_run(const void *state, const struct facts *f, const uint64_t *wanted, struct arena *request,
                       struct sigset *out)
{
    (void)wanted;
    const struct domain *d = state;
    const char *why = NULL;
    const float *p = neural_labels(f, d->source, f->evaluation_text, request, &why);
    for (size_t i = 0; i < d->n; i++)
        neural_silent(out, d->rules[i].slot, why);
    if (!p)
        return;
    uint32_t n = d->source->n_labels, best = neural_best(p, n);
    bool is_torn = entropy_share(p, n) >= ENTROPY_TORN;
    str said = arena_printf(request, "most like " STR_FMT ", probability %.2f", STR_ARG(d->source->labels[best]), (double)p[best]);
    for (size_t i = 0; i < d->n; i++)
        out->detail[d->rules[i].slot] = said;       /* of those that do not match, too: whoever asks why wants to know */
    for (uint32_t i = 0; i < n; i++) {
        if ((i == best || is_torn) && (double)p[i] >= d->threshold)
            report(d, i, (double)p[i], request, out);
    }
}

static void domain_make(struct signal_build *b, const struct signal_rule *const *rules, size_t n)
{
    struct neural_module m;
    const struct value *module = neural_settings(b, "modules.classifier.domain", &settings_fields, &m);
    struct domain *d = ARENA_NEW(b->a, struct domain);
    *d = (struct domain){ .n = n, .threshold = m.threshold };
    d->source = neural_module_source(b, NEED_LABELS, "domain", &m, module);
    d->rules = ARENA_ARRAY(b->a, struct rule_code, n);
    struct signal_unit *u = neural_unit(b, "domain", d->source, 1);
    for (size_t i = 0; i < n; i++)
        d->rules[i] = (struct rule_code){ rule_slot(b, u, S("domain"), rules[i]->name), rules[i]->name,
                                          ((const struct domain_conf *)rules[i]->conf)->mmlu_categories };
    const char *why = m.enabled ? neural_why_absent(d->source) : "off";
    if (why) {
        neural_absent(b, u, why);
        return;
    }
    d->rule_of = ARENA_ARRAY(b->a, int, d->source->n_labels);
    for (uint32_t label = 0; label < d->source->n_labels; label++) {
        d->rule_of[label] = NO_RULE;
        for (size_t i = 0; i < n; i++) {
            if (claims(&d->rules[i], d->source->labels[label]))
                d->rule_of[label] = (int)i;             /* the last one that claims it */
        }
    }
    u->state = d;
    u->ask = neural_ask_text;
    u->run = domain_run;
}

const struct signal_ops signal_domain = {
    .type = "domain",
    .collection = "domains",
    .response_key = "domains",
    .header = "x-vsr-matched-domains",
    .fields = FIELDS(struct domain_conf, domain_table),
    .check = domain_check,
    .make = domain_make,
};
