/* signal/modality.c -- does the request want text, an image, or both (spec 2.4.12)?
 *
 * By keywords of global.model_catalog.modules.modality_detector. Its classifier is not built, so
 * the methods classifier and hybrid fall back on the keywords, as VSR does when a classifier
 * fails. Exactly one of AR, DIFFUSION and BOTH is reported. */
#include "signal/rule.h"

#include <math.h>

#include "signal/scanner.h"

struct modality_conf { str description; };

static const struct field modality_table[] = {
    F(FIELD_STR, struct modality_conf, description, "description", NULL, "for people"),
};

struct modality_classifier { str model_path; bool use_cpu; };
struct modality_detector {
    bool enabled;
    str method;
    struct strings prompt_prefixes, keywords, both_keywords;
    struct modality_classifier classifier;
    double confidence_threshold, lower_threshold_ratio;
};

static const char *const methods[] = { "classifier", "keyword", "hybrid", "", NULL };

static const struct field classifier_table[] = {
    F(FIELD_STR, struct modality_classifier, model_path, "model_path", NULL, "its directory"),
    F(FIELD_BOOL, struct modality_classifier, use_cpu, "use_cpu", "true", "run it on the CPU"),
};
static const struct fields classifier_fields = FIELDS(struct modality_classifier, classifier_table);

static const struct field detector_table[] = {
    F(FIELD_BOOL, struct modality_detector, enabled, "enabled", "false", "whether to look at all"),
    F(FIELD_ENUM, struct modality_detector, method, "method", "",
      "classifier and hybrid act as keyword", .names = methods),
    F(FIELD_STRINGS, struct modality_detector, prompt_prefixes, "prompt_prefixes", NULL,
      "openings that are cut off before an image model sees the prompt"),
    F(FIELD_STRINGS, struct modality_detector, keywords, "keywords", NULL,
      "words of requests for an image"),
    F(FIELD_STRINGS, struct modality_detector, both_keywords, "both_keywords", NULL,
      "words of requests for text with an image"),
    F(FIELD_STRUCT, struct modality_detector, classifier, "classifier", NULL,
      "the model of the methods classifier and hybrid", .sub = &classifier_fields),
    F(FIELD_FLOAT, struct modality_detector, confidence_threshold, "confidence_threshold", "0",
      "lowest confidence of the classifier that counts", .min = 0, .max = 1),
    F(FIELD_FLOAT, struct modality_detector, lower_threshold_ratio, "lower_threshold_ratio", "0",
      "share of the threshold that still counts in hybrid mode", .min = 0, .max = 1),
};
static const struct fields detector_fields = FIELDS(struct modality_detector, detector_table);

enum outcome { OUTCOME_AR, OUTCOME_DIFFUSION, OUTCOME_BOTH, OUTCOME_N };

static const struct { const char *name; double confidence; } outcomes[OUTCOME_N] = {
    [OUTCOME_AR] = { "AR", 0.8 },
    [OUTCOME_DIFFUSION] = { "DIFFUSION", 0.8 },
    [OUTCOME_BOTH] = { "BOTH", 0.75 },
};

struct rule_code { uint32_t slot; enum outcome outcome; };  /* OUTCOME_N: never holds */
struct feature_of { uint32_t feature; str keyword; };
struct modality {
    const struct scanner *scanner;
    bool is_enabled;
    struct rule_code *rules; size_t n;
    struct feature_of *image, *both; size_t n_image, n_both;
};

static enum outcome outcome_of(str name)
{
    enum outcome o = OUTCOME_AR;
    while (o < OUTCOME_N && !str_eq(name, str_of(outcomes[o].name)))
        o++;
    return o;
}

static void modality_check(const struct signal_rule *rule, const struct profile *p,
                           struct findings *out)
{
    (void)p;
    if (outcome_of(rule->name) == OUTCOME_N)
        rule_finding(rule, out, "dead-rule", SEVERITY_WARNING,
                     S("the names are AR, DIFFUSION and BOTH"),
                     "modality never reports \"" STR_FMT "\"", STR_ARG(rule->name));
}

static const struct feature_of *first_in(const struct scan *scan, const struct feature_of *list,
                                         size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (scan_has(scan, list[i].feature))
            return &list[i];
    }
    return NULL;
}

static void modality_run(const void *state, const struct facts *f, const uint64_t *wanted,
                         struct arena *request, struct sigset *out)
{
    (void)wanted;
    const struct modality *m = state;
    enum outcome outcome = OUTCOME_N;
    const struct feature_of *because = NULL;
    if (m->is_enabled) {
        const struct scan *scan = scan_text(m->scanner, f->sampled_text);
        outcome = OUTCOME_AR;
        if ((because = first_in(scan, m->both, m->n_both)))
            outcome = OUTCOME_BOTH;
        else if ((because = first_in(scan, m->image, m->n_image)))
            outcome = OUTCOME_DIFFUSION;
    }
    for (size_t i = 0; i < m->n; i++) {
        const struct rule_code *r = &m->rules[i];
        bool matched = r->outcome != OUTCOME_N && r->outcome == outcome;
        sig_set(out, r->slot, matched);
        if (matched)
            out->detail[r->slot] = arena_printf(request, "confidence %.2f%s" STR_FMT,
                                                outcomes[outcome].confidence,
                                                because ? ", keyword " : "",
                                                STR_ARG(because ? because->keyword : S("")));
    }
}

static struct feature_of *modality_words(struct signal_build *b, struct strings words, size_t *n)
{
    struct feature_of *list = ARENA_ARRAY(b->a, struct feature_of, words.n);
    for (size_t i = 0; i < words.n; i++) {
        if (words.items[i].len)
            list[(*n)++] = (struct feature_of){
                scanner_word(b->scanner, words.items[i], SCAN_ANYWHERE, true), words.items[i] };
    }
    return list;
}

static void modality_make(struct signal_build *b, const struct signal_rule *const *rules, size_t n)
{
    struct modality_detector d;
    const struct value *conf = b->global
        ? value_path(b->global, "model_catalog.modules.modality_detector") : NULL;
    struct findings told = { .a = b->a };       /* the loader reports on `global` */
    field_decode(b->a, &detector_fields, conf, S("global.model_catalog.modules.modality_detector"),
                 &d, &told);
    struct modality *m = ARENA_NEW(b->a, struct modality);
    struct signal_unit *u = policy_unit(b->policy, S("modality"), 4200);
    *m = (struct modality){ .scanner = b->scanner, .is_enabled = d.enabled };
    m->rules = ARENA_ARRAY(b->a, struct rule_code, n);
    for (size_t i = 0; i < n; i++)
        m->rules[m->n++] = (struct rule_code){
            rule_slot(b, u, S("modality"), rules[i]->name), outcome_of(rules[i]->name) };
    if (d.enabled) {
        m->image = modality_words(b, d.keywords, &m->n_image);
        m->both = modality_words(b, d.both_keywords, &m->n_both);
    } else {
        rule_finding(rules[0], b->findings, "module-off", SEVERITY_WARNING,
                     S("set global.model_catalog.modules.modality_detector.enabled"),
                     "modality rules never match while the modality detector is off");
    }
    u->state = m;
    u->run = modality_run;
}

const struct signal_ops signal_modality = {
    .type = "modality",
    .collection = "modality",
    .response_key = "modality",
    .header = "x-vsr-matched-modality",
    .fields = FIELDS(struct modality_conf, modality_table),
    .is_built = true,
    .check = modality_check,
    .make = modality_make,
};
