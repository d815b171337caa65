/* signal/complexity.c -- is a request nearer to hard or to easy examples (spec 2.4.11)?
 *
 * Every rule has three outcomes, so three slots: NAME:hard, NAME:easy, NAME:medium. Exactly one of them is reported; by how
 * much the hard examples lead is the value of all three. Examples of images are read and not used: no model of images is
 * served. */
#include "signal/neural.h"

#include <math.h>

struct complexity_side { struct strings candidates, image_candidates; };

struct complexity_conf {
    str description;
    double threshold;
    struct complexity_side hard, easy;
    const struct value *composer;       /* a rule tree, as written */
};

static const struct field side_table[] = {
    F(FIELD_STRINGS, struct complexity_side, candidates, "candidates", NULL, "example sentences"),
    F(FIELD_STRINGS, struct complexity_side, image_candidates, "image_candidates", NULL,
      "sentences that describe images"),
};
static const struct fields side_fields = FIELDS(struct complexity_side, side_table);

static const struct field complexity_table[] = {
    F(FIELD_STR, struct complexity_conf, description, "description", NULL, "for people"),
    F(FIELD_FLOAT, struct complexity_conf, threshold, "threshold", "0",
      "margin between the banks beyond which a request is hard or easy", .min = 0, .max = 2),
    F(FIELD_STRUCT, struct complexity_conf, hard, "hard", NULL, "examples of hard requests",
      .sub = &side_fields),
    F(FIELD_STRUCT, struct complexity_conf, easy, "easy", NULL, "examples of easy requests",
      .sub = &side_fields),
    F(FIELD_VALUE, struct complexity_conf, composer, "composer", NULL,
      "rule tree that must hold for the level to count"),
};

enum level { LEVEL_HARD, LEVEL_EASY, LEVEL_MEDIUM, LEVEL_N };
static const char *const levels[LEVEL_N] = { "hard", "easy", "medium" };

static void complexity_check(const struct signal_rule *rule, const struct profile *p,
                             struct findings *out)
{
    (void)p;
    if (str_chr(rule->name, ':') >= 0)
        rule_finding(rule, out, "bad-name", SEVERITY_ERROR, S("rename the rule"),
                     "the name of a complexity rule has a colon, which separates the level");
    const struct complexity_conf *c = rule->conf;
    if (c->hard.image_candidates.n || c->easy.image_candidates.n)
        rule_finding(rule, out, "no-image-model", SEVERITY_WARNING, S("keep the examples of texts; images do not count"),
                     "image_candidates are read and not used: no model of images is served");
}

struct complexity_settings { struct bank_conf scoring; };
static const struct field settings_table[] = {
    F(FIELD_STRUCT, struct complexity_settings, scoring, "prototype_scoring", NULL, "how rules score", .sub = &bank_fields),
};
static const struct fields settings_fields = FIELDS(struct complexity_settings, settings_table);

struct rule_code { uint32_t slots[LEVEL_N]; double threshold; struct bank hard, easy; };
struct complexity { const struct need_source *source; struct rule_code *rules; size_t n; };

static void rule_run(const struct rule_code *r, const float *query, struct arena *request, struct sigset *out)
{
    double hard = bank_score(&r->hard, query).score, easy = bank_score(&r->easy, query).score, margin = hard - easy;
    enum level level = margin > r->threshold ? LEVEL_HARD : margin < -r->threshold ? LEVEL_EASY : LEVEL_MEDIUM;
    for (size_t k = 0; k < LEVEL_N; k++)
        rule_says(out, r->slots[k], k == level, k == level ? fabs(margin) : (double)NAN, margin);
    out->detail[r->slots[level]] = arena_printf(request, "hard %.2f, easy %.2f", hard, easy);
}

static void complexity_run(const void *state, const struct facts *f, const uint64_t *wanted, struct arena *request,
                           struct sigset *out)
{
    (void)wanted;
    const struct complexity *c = state;
    const char *why = NULL;
    const float *query = neural_vector(f, c->source, f->evaluation_text, request, &why);
    for (size_t i = 0; i < c->n; i++) {
        if (query) {
            rule_run(&c->rules[i], query, request, out);
            continue;
        }
        for (size_t k = 0; k < LEVEL_N; k++)
            neural_silent(out, c->rules[i].slots[k], why);      /* without text no level */
    }
}

static void complexity_make(struct signal_build *b, const struct signal_rule *const *rules, size_t n)
{
    struct complexity_settings s;
    neural_settings(b, "modules.complexity", &settings_fields, &s);
    struct complexity *state = ARENA_NEW(b->a, struct complexity);
    *state = (struct complexity){ neural_embedding_source(b), ARENA_ARRAY(b->a, struct rule_code, n), n };
    struct signal_unit *u = neural_unit(b, "complexity", state->source, 1);
    struct examples examples;
    examples_start(&examples, state->source);
    for (size_t i = 0; i < n; i++) {
        const struct complexity_conf *c = rules[i]->conf;
        state->rules[i].threshold = c->threshold;
        for (size_t k = 0; k < LEVEL_N; k++) {
            str name = arena_printf(b->a, STR_FMT ":%s", STR_ARG(rules[i]->name), levels[k]);
            state->rules[i].slots[k] = rule_slot(b, u, S("complexity"), name);
            if (c->composer)
                policy_compose(b->policy, state->rules[i].slots[k], c->composer);
        }
        examples_add_all(&examples, c->hard.candidates);
        examples_add_all(&examples, c->easy.candidates);
    }
    if (neural_embed(b, u, &examples)) {
        for (size_t i = 0; i < n; i++) {
            const struct complexity_conf *c = rules[i]->conf;
            bank_build(&state->rules[i].hard, b->a, &s.scoring, &examples, c->hard.candidates);
            bank_build(&state->rules[i].easy, b->a, &s.scoring, &examples, c->easy.candidates);
        }
        u->state = state;
        u->ask = neural_ask_text;
        u->run = complexity_run;
    }
    examples_drop(&examples);
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
