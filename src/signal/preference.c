/* signal/preference.c -- which declared preference a request is closest to (spec 2.4.7).
 *
 * Only the best rule can match: by the prototypes of its description and examples, or, with use_contrastive: false, by the
 * word of an external model, which names one of the rules. */
#include "signal/neural.h"

#include <math.h>

struct preference_conf { str description; struct strings examples; double threshold; };

static const struct field preference_table[] = {
    F(FIELD_STR, struct preference_conf, description, "description", NULL,
      "what the user prefers; part of the bank of examples"),
    F(FIELD_STRINGS, struct preference_conf, examples, "examples", NULL,
      "sentences of users with this preference"),
    F(FIELD_FLOAT, struct preference_conf, threshold, "threshold", "0",
      "lowest similarity of a match; 0: none", .min = -1, .max = 1),
};

struct preference_settings { bool use_contrastive; str embedding_model; struct bank_conf scoring; };
static const struct field settings_table[] = {
    F(FIELD_BOOL, struct preference_settings, use_contrastive, "use_contrastive", "true",
      "by examples; false: ask an external model"),
    F(FIELD_STR, struct preference_settings, embedding_model, "embedding_model", NULL, "mmbert, qwen3, gemma, multimodal"),
    F(FIELD_STRUCT, struct preference_settings, scoring, "prototype_scoring", NULL, "how rules score", .sub = &bank_fields),
};
static const struct fields settings_fields = FIELDS(struct preference_settings, settings_table);

struct rule_code { uint32_t slot; str name; double threshold; struct bank bank; uint32_t label; };
struct preference {
    const struct need_source *source;
    struct rule_code *rules; size_t n;
    double margin;                      /* least lead over the second */
    bool is_external;
};

enum { NO_LABEL = UINT32_MAX };

/* Scores of all rules into scores[n]; false and *why: unknown. */
static bool preference_scores(const struct preference *p, const struct facts *f, struct arena *request, double *scores,
                              const char **why)
{
    const float *answer = p->is_external ? neural_labels(f, p->source, f->evaluation_text, request, why)
                                         : neural_vector(f, p->source, f->evaluation_text, request, why);
    for (size_t i = 0; i < p->n && answer; i++) {
        const struct rule_code *r = &p->rules[i];
        scores[i] = !p->is_external       ? bank_score(&r->bank, answer).score
                    : r->label < NO_LABEL ? (double)answer[r->label]
                                          : 0;
    }
    return answer;
}

static void preference_run(const void *state, const struct facts *f, const uint64_t *wanted, struct arena *request,
                           struct sigset *out)
{
    (void)wanted;
    const struct preference *p = state;
    double *scores = ARENA_ARRAY(request, double, p->n), second = -(double)INFINITY;
    const char *why = NULL;
    bool is_there = preference_scores(p, f, request, scores, &why);
    size_t best = 0;
    for (size_t i = 1; i < p->n && is_there; i++) {
        bool comes_first = str_cmp(p->rules[i].name, p->rules[best].name) < 0;      /* ties go by name */
        bool is_better = scores[i] > scores[best] || (scores[i] == scores[best] && comes_first);
        second = fmax(second, is_better ? scores[best] : scores[i]);
        best = is_better ? i : best;
    }
    for (size_t i = 0; i < p->n; i++)
        neural_silent(out, p->rules[i].slot, why);
    const struct rule_code *r = &p->rules[best];
    /* An external model that names none of the rules gives all of them 0. */
    bool is_named = !p->is_external || scores[best] > 0;
    bool is_below = r->threshold != 0 && scores[best] < r->threshold;       /* 0: none */
    if (!is_there || !is_named || is_below || (p->n > 1 && scores[best] - second < p->margin))
        return;
    rule_says(out, r->slot, true, scores[best], (double)NAN);
    out->detail[r->slot] = arena_printf(request, "score %.2f", scores[best]);
}

/* What an external model needs to know to choose: {routes: [{name, description}]} over the module's own keys. */
static const struct value *routes_of(struct signal_build *b, const struct value *module, const struct signal_rule *const *rules,
                                     size_t n)
{
    struct value *options = value_map(b->a), *routes = value_list(b->a);
    for (size_t i = 0; module && module->kind == VALUE_MAP && i < module->n_pairs; i++)
        value_set(b->a, options, module->pairs[i].key, module->pairs[i].value);
    for (size_t i = 0; i < n; i++) {
        struct value *route = value_map(b->a);
        value_set(b->a, route, S("name"), value_scalar(b->a, rules[i]->name));
        const struct preference_conf *c = rules[i]->conf;
        value_set(b->a, route, S("description"), value_scalar(b->a, c->description));
        value_append(b->a, routes, route);
    }
    value_set(b->a, options, S("routes"), routes);
    return options;
}

static struct strings bank_texts(struct arena *a, const struct preference_conf *c)
{
    struct strings all = { ARENA_ARRAY(a, str, c->examples.n + 1), 0 };
    all.items[all.n++] = c->description;
    for (size_t i = 0; i < c->examples.n; i++)
        all.items[all.n++] = c->examples.items[i];
    return all;
}

static bool by_examples(struct signal_build *b, struct signal_unit *u, struct preference *p, const struct bank_conf *scoring,
                        const struct signal_rule *const *rules)
{
    struct examples examples;
    examples_start(&examples, p->source);
    for (size_t i = 0; i < p->n; i++)
        examples_add_all(&examples, bank_texts(b->a, rules[i]->conf));
    bool is_there = neural_embed(b, u, &examples);
    for (size_t i = 0; i < p->n && is_there; i++)
        bank_build(&p->rules[i].bank, b->a, scoring, &examples, bank_texts(b->a, rules[i]->conf));
    examples_drop(&examples);
    return is_there;
}

static bool by_labels(struct signal_build *b, struct signal_unit *u, struct preference *p)
{
    const char *why = neural_why_absent(p->source);
    for (size_t i = 0; i < p->n && !why; i++) {
        for (uint32_t k = 0; k < p->source->n_labels; k++) {
            if (str_eq(p->source->labels[k], p->rules[i].name))
                p->rules[i].label = k;
        }
    }
    if (why)
        neural_absent(b, u, why);
    return !why;
}

static void preference_make(struct signal_build *b, const struct signal_rule *const *rules, size_t n)
{
    struct preference_settings s;
    const struct value *module = neural_settings(b, "modules.classifier.preference", &settings_fields, &s);
    struct preference *p = ARENA_NEW(b->a, struct preference);
    *p = (struct preference){
        .source = s.use_contrastive ? neural_source(b, NEED_EMBEDDING, "preference", s.embedding_model, module)
                                    : neural_source(b, NEED_LABELS, "preference", S(""), routes_of(b, module, rules, n)),
        .rules = ARENA_ARRAY(b->a, struct rule_code, n), .n = n, .is_external = !s.use_contrastive,
        .margin = s.scoring.margin_threshold,
    };
    struct signal_unit *u = neural_unit(b, "preference", p->source, 1);
    for (size_t i = 0; i < n; i++)
        p->rules[i] = (struct rule_code){ .slot = rule_slot(b, u, S("preference"), rules[i]->name), .name = rules[i]->name,
                                          .threshold = ((const struct preference_conf *)rules[i]->conf)->threshold,
                                          .label = NO_LABEL };
    if (s.use_contrastive ? by_examples(b, u, p, &s.scoring, rules) : by_labels(b, u, p)) {
        u->state = p;
        u->ask = neural_ask_text;
        u->run = preference_run;
    }
}

const struct signal_ops signal_preference = {
    .type = "preference",
    .collection = "preferences",
    .response_key = "preferences",
    .header = "x-vsr-matched-preference",
    .fields = FIELDS(struct preference_conf, preference_table),
    .make = preference_make,
};
