/* signal/user_feedback.c -- is the user content with the previous answer (spec 2.4.5)?
 *
 * The names are fixed by the classifier's labels; a rule under any other name never holds. Only asked when there is an
 * answer to be content with; an unsure classifier means that nobody has complained. */
#include "signal/neural.h"

struct user_feedback_conf { str description; };

static const struct field user_feedback_table[] = {
    F(FIELD_STR, struct user_feedback_conf, description, "description", NULL, "for people"),
};

enum mood { MOOD_SATISFIED, MOOD_UNCLEAR, MOOD_WRONG, MOOD_DIFFERENT, MOOD_N };
static const char *const moods[MOOD_N] = { "satisfied", "need_clarification", "wrong_answer", "want_different" };

/* How models call them: rules' own names, the v0.3 checkpoint, checkpoints without label names. */
static const struct neural_spelling spellings[] = {
    { "satisfied", MOOD_SATISFIED },       { "need_clarification", MOOD_UNCLEAR }, { "wrong_answer", MOOD_WRONG },
    { "want_different", MOOD_DIFFERENT },  { "sat", MOOD_SATISFIED },              { "satisfaction", MOOD_SATISFIED },
    { "clarification", MOOD_UNCLEAR },     { "wrong", MOOD_WRONG },                { "different", MOOD_DIFFERENT },
    { "label_0", MOOD_SATISFIED },         { "label_1", MOOD_UNCLEAR },            { "label_2", MOOD_WRONG },
    { "label_3", MOOD_DIFFERENT },
};

static int mood_of(str name)            /* -1: never reported */
{
    for (size_t i = 0; i < MOOD_N; i++) {
        if (str_eq(name, str_of(moods[i])))
            return (int)i;
    }
    return -1;
}

static void user_feedback_check(const struct signal_rule *rule, const struct profile *p, struct findings *out)
{
    (void)p;
    if (mood_of(rule->name) < 0)
        rule_finding(rule, out, "dead-rule", SEVERITY_WARNING,
                     S("the names are satisfied, need_clarification, wrong_answer, want_different"),
                     "user_feedback never reports \"" STR_FMT "\"", STR_ARG(rule->name));
}

struct rule_code { uint32_t slot; int mood; };
struct user_feedback {
    const struct need_source *source;
    const int *meaning;                 /* [n_labels] */
    struct rule_code *rules; size_t n;
    double threshold;
};

static const struct field settings_table[] = {
    F(FIELD_BOOL, struct neural_module, enabled, "enabled", "true", "read user feedback"),
    F(FIELD_STR, struct neural_module, model_ref, "model_ref", "feedback_detector", "key of model_catalog.system"),
    F(FIELD_STR, struct neural_module, model_id, "model_id", NULL, "directory; wins over model_ref"),
    F(FIELD_FLOAT, struct neural_module, threshold, "threshold", "0.7", "below, the user counts as satisfied", .min = 0,
      .max = 1),
};
static const struct fields settings_fields = FIELDS(struct neural_module, settings_table);

static bool is_asked(const struct facts *f)
{
    return f->has_assistant_reply && f->evaluation_text.len;
}

static void user_feedback_ask(const void *state, const struct facts *f, const uint64_t *wanted, struct needs *needs)
{
    (void)wanted;
    if (is_asked(f))
        need_ask(needs, ((const struct user_feedback *)state)->source, f->evaluation_text);
}

static void user_feedback_run(const void *state, const struct facts *f, const uint64_t *wanted, struct arena *request,
                              struct sigset *out)
{
    (void)wanted;
    const struct user_feedback *u = state;
    const char *why = NULL;
    const float *p = is_asked(f) ? neural_labels(f, u->source, f->evaluation_text, request, &why) : NULL;
    int mood = -1;
    double confidence = 0;
    str said = is_asked(f) ? (str){ 0 } : S("no earlier answer to judge");
    if (p) {
        uint32_t best = neural_best(p, u->source->n_labels);
        confidence = (double)p[best];
        mood = confidence < u->threshold ? MOOD_SATISFIED : u->meaning[best];
        said = arena_printf(request, STR_FMT ", probability %.2f%s", STR_ARG(u->source->labels[best]), confidence,
                            confidence < u->threshold ? ", unsure" : "");
    }
    for (size_t i = 0; i < u->n; i++) {
        const struct rule_code *r = &u->rules[i];
        neural_silent(out, r->slot, r->mood < 0 ? NULL : why);
        out->detail[r->slot] = said;
        if (mood >= 0 && r->mood == mood)
            sig_set(out, r->slot, true);
    }
}

static void user_feedback_make(struct signal_build *b, const struct signal_rule *const *rules, size_t n)
{
    struct neural_module m;
    const struct value *module = neural_settings(b, "modules.feedback_detector", &settings_fields, &m);
    struct user_feedback *state = ARENA_NEW(b->a, struct user_feedback);
    *state = (struct user_feedback){ .source = neural_module_source(b, NEED_LABELS, "user_feedback", &m, module),
                                     .rules = ARENA_ARRAY(b->a, struct rule_code, n), .n = n, .threshold = m.threshold };
    struct signal_unit *u = neural_unit(b, "user_feedback", state->source, 1);
    for (size_t i = 0; i < n; i++)
        state->rules[i] = (struct rule_code){ rule_slot(b, u, S("user_feedback"), rules[i]->name), mood_of(rules[i]->name) };
    const char *why = m.enabled ? neural_why_absent(state->source) : "off";
    if (!why && !(state->meaning = neural_meanings(b->a, state->source, spellings, COUNT_OF(spellings), 1ull << MOOD_SATISFIED)))
        why = "bad-labels";
    if (why) {
        neural_absent(b, u, why);
        return;
    }
    u->state = state;
    u->ask = user_feedback_ask;
    u->run = user_feedback_run;
}

const struct signal_ops signal_user_feedback = {
    .type = "user_feedback",
    .collection = "user_feedbacks",
    .response_key = "user_feedback",
    .header = "x-vsr-matched-user-feedback",
    .fields = FIELDS(struct user_feedback_conf, user_feedback_table),
    .check = user_feedback_check,
    .make = user_feedback_make,
};
