/* signal/modality.c -- does the request want text, an image, or both (spec 2.4.12)?
 *
 * By keywords, by a classifier, or by both: global.model_catalog.modules.modality_detector says. Where the classifier gives
 * no answer the keywords speak; without keywords nothing is known. Else exactly one of AR, DIFFUSION and BOTH is reported. */
#include "signal/neural.h"

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
      "who is asked; empty: hybrid if there is a classifier, else keyword", .names = methods),
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

/* How models call them; the last ones are checkpoints without label names. */
static const struct neural_spelling spellings[] = {
    { "ar", OUTCOME_AR },       { "diffusion", OUTCOME_DIFFUSION }, { "both", OUTCOME_BOTH },
    { "text", OUTCOME_AR },     { "image", OUTCOME_DIFFUSION },     { "label_0", OUTCOME_AR },
    { "label_1", OUTCOME_DIFFUSION }, { "label_2", OUTCOME_BOTH },
};

enum method { METHOD_KEYWORD, METHOD_CLASSIFIER, METHOD_HYBRID };

struct rule_code { uint32_t slot; enum outcome outcome; };  /* OUTCOME_N: never holds */
struct feature_of { uint32_t feature; str keyword; };
struct modality {
    const struct scanner *scanner;
    bool is_enabled;
    struct rule_code *rules; size_t n;
    struct feature_of *image, *both; size_t n_image, n_both;
    enum method method;
    const struct need_source *source;   /* of the classifier */
    const int *meaning;                 /* [n_labels] */
    const char *why_absent;             /* NULL, or why the classifier cannot be asked */
    double threshold, lower_threshold;
};

struct finding_of { enum outcome outcome; double confidence; str because; };    /* OUTCOME_N: none */

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

static struct finding_of by_keywords(const struct modality *m, str text)
{
    const struct scan *scan = scan_text(m->scanner, text);
    const struct feature_of *word = first_in(scan, m->both, m->n_both);
    enum outcome o = word ? OUTCOME_BOTH : (word = first_in(scan, m->image, m->n_image)) ? OUTCOME_DIFFUSION : OUTCOME_AR;
    return (struct finding_of){ o, outcomes[o].confidence, word ? word->keyword : S("") };
}

static struct finding_of by_classifier(const struct modality *m, const struct facts *f, struct arena *request, const char **why)
{
    struct finding_of none = { .outcome = OUTCOME_N };
    const float *p = neural_labels(f, m->source, f->evaluation_text, request, why);
    if (!p)
        return none;
    uint32_t best = neural_best(p, m->source->n_labels);
    if (m->meaning[best] < 0)
        return none;
    return (struct finding_of){ (enum outcome)m->meaning[best], (double)p[best], S("") };
}

/* The classifier if it is sure, or moderately sure and alone; where both agree, the mean of their confidences. */
static struct finding_of weigh(const struct modality *m, struct finding_of model, struct finding_of words)
{
    if (m->method == METHOD_CLASSIFIER || model.confidence >= m->threshold)
        return model;
    if (model.outcome == words.outcome)
        return (struct finding_of){ model.outcome, (model.confidence + words.confidence) / 2, words.because };
    return model.confidence >= m->lower_threshold ? model : words;
}

static bool asks_model(const struct modality *m, const struct facts *f)
{
    return m->method != METHOD_KEYWORD && !m->why_absent && f->evaluation_text.len;
}

static void modality_ask(const void *state, const struct facts *f, const uint64_t *wanted, struct needs *needs)
{
    (void)wanted;
    const struct modality *m = state;
    if (asks_model(m, f))
        need_ask(needs, m->source, f->evaluation_text);
}

static void modality_run(const void *state, const struct facts *f, const uint64_t *wanted,
                         struct arena *request, struct sigset *out)
{
    (void)wanted;
    const struct modality *m = state;
    struct finding_of found = { .outcome = OUTCOME_N };
    const char *why = NULL;
    if (m->is_enabled) {
        struct finding_of words = by_keywords(m, f->sampled_text), model = found;
        why = m->method == METHOD_KEYWORD ? NULL : m->why_absent;
        if (asks_model(m, f))
            model = by_classifier(m, f, request, &why);
        found = model.outcome != OUTCOME_N ? weigh(m, model, words) : words;
        if (why && m->n_image + m->n_both == 0)
            found.outcome = OUTCOME_N;
        else
            why = NULL;
    }
    for (size_t i = 0; i < m->n; i++) {
        const struct rule_code *r = &m->rules[i];
        bool matched = r->outcome != OUTCOME_N && r->outcome == found.outcome;
        neural_silent(out, r->slot, r->outcome == OUTCOME_N ? NULL : why);
        if (!matched)
            continue;
        sig_set(out, r->slot, true);
        out->detail[r->slot] = arena_printf(request, "confidence %.2f%s" STR_FMT, found.confidence,
                                            found.because.len ? ", keyword " : "", STR_ARG(found.because));
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

static void classifier_find(struct signal_build *b, struct modality *m, const struct modality_detector *d,
                            const struct value *module)
{
    m->method = str_eq(d->method, S("keyword")) ? METHOD_KEYWORD
                : str_eq(d->method, S("classifier")) ? METHOD_CLASSIFIER : METHOD_HYBRID;
    if (m->method == METHOD_KEYWORD)
        return;
    m->source = neural_source(b, NEED_LABELS, "modality", d->classifier.model_path, module);
    m->why_absent = neural_why_absent(m->source);
    if (!m->why_absent)
        m->meaning = neural_meanings(b->a, m->source, spellings, COUNT_OF(spellings), 1ull << OUTCOME_DIFFUSION);
    if (!m->why_absent && !m->meaning)
        m->why_absent = "bad-labels";
    if (m->why_absent && d->method.len == 0)
        m->method = METHOD_KEYWORD;
    m->threshold = d->confidence_threshold;
    m->lower_threshold = d->confidence_threshold * d->lower_threshold_ratio;
}

static void modality_make(struct signal_build *b, const struct signal_rule *const *rules, size_t n)
{
    struct modality_detector d;
    const struct value *module = neural_settings(b, "modules.modality_detector", &detector_fields, &d);
    struct modality *m = ARENA_NEW(b->a, struct modality);
    struct signal_unit *u = policy_unit(b->policy, S("modality"), 300);
    *m = (struct modality){ .scanner = b->scanner, .is_enabled = d.enabled };
    m->rules = ARENA_ARRAY(b->a, struct rule_code, n);
    for (size_t i = 0; i < n; i++)
        m->rules[m->n++] = (struct rule_code){
            rule_slot(b, u, S("modality"), rules[i]->name), outcome_of(rules[i]->name) };
    if (d.enabled) {
        m->image = modality_words(b, d.keywords, &m->n_image);
        m->both = modality_words(b, d.both_keywords, &m->n_both);
        rule_scans(u, b->scanner);
        classifier_find(b, m, &d, module);
    } else {
        rule_finding(rules[0], b->findings, "module-off", SEVERITY_WARNING,
                     S("set global.model_catalog.modules.modality_detector.enabled"),
                     "modality rules never match while the modality detector is off");
    }
    if (d.enabled && m->method != METHOD_KEYWORD && !m->why_absent) {
        u->ask = modality_ask;
        u->cost_ns += m->source->cost_ns;
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
    .check = modality_check,
    .make = modality_make,
};
