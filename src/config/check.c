/* config/check.c -- what a profile says that it cannot mean.
 *
 * References that lead nowhere, decisions that can never win, bands that no score reaches: each
 * is a finding with a name of its own. Most of them VSR accepts in silence. A finding never
 * changes how anything is decided. Some are errors, the rest warnings; --strict makes those
 * errors too. */
#include <math.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/map.h"
#include "config/tables.h"
#include "plugin/plugin.h"
#include "signal/signal.h"

enum {
    ANNOTATIONS_MAX = 32, ANNOTATION_BYTES_MAX = 4096,          /* spec 01 1.7 */
    PAIRS_MAX = 10 * 1000 * 1000,       /* decisions compared pairwise; beyond: not looked at */
};

struct checking {
    const struct config *c;
    const struct profile *p;
    str path;                           /* of the profile */
    struct arena *a;
    struct findings *out;
    struct map rules;                   /* "type:name" -> struct signal_rule */
    struct map used;                    /* "type:name" of every signal some decision looks at */
    struct score_memo *memo;            /* [p->n_scores] */
};

struct range { double low, high; };
struct score_memo { bool is_open, is_done, is_cyclic; struct range range; };

str config_profile_path(struct arena *a, size_t i)
{
    return i == 0 ? S("routing") : arena_printf(a, "recipes[%zu].routing", i - 1);
}

static str path_item(const struct checking *k, const char *list, size_t i)
{
    return arena_printf(k->a, STR_FMT ".%s[%zu]", STR_ARG(k->path), list, i);
}

/* ---- what exists ---- */

static str signal_key(const struct checking *k, str type, str name)
{
    return arena_printf(k->a, STR_FMT ":" STR_FMT, STR_ARG(type), STR_ARG(name));
}

static void rules_index(struct checking *k)
{
    k->rules.a = k->a;
    for (size_t i = 0; i < k->p->n_signals; i++) {
        struct signal_rule *rule = &k->p->signals[i];
        str key = signal_key(k, str_of(rule->ops->type), rule->name);
        if (!map_has(&k->rules, key))
            map_put(&k->rules, key, rule);
    }
}

static const struct signal_rule *rule_find(const struct checking *k, str type, str name)
{
    return map_get(&k->rules, signal_key(k, type, name));
}

/* "routing.signals.keywords[3]"; rules of one type stand together, `n` is the number among them. */
static str rule_path(const struct checking *k, const struct signal_rule *rule, size_t n)
{
    return arena_printf(k->a, STR_FMT ".signals.%s[%zu]", STR_ARG(k->path), rule->ops->collection, n);
}

static bool is_category(str name)
{
    for (size_t i = 0; config_mmlu_categories[i]; i++)
        if (str_eq(name, str_of(config_mmlu_categories[i])))
            return true;
    return false;
}

/* Cuts ":hard", ":medium", ":easy" off; false when there is none of them. */
static bool level_cut(str *name)
{
    static const char *const levels[] = { ":hard", ":medium", ":easy" };
    for (size_t i = 0; i < COUNT_OF(levels); i++) {
        if (str_ends(*name, str_of(levels[i]))) {
            name->len -= strlen(levels[i]);
            return true;
        }
    }
    return false;
}

static str role_of(const struct signal_rule *rule)
{
    const str *role = field_get(&rule->ops->fields, rule->conf, "role", FIELD_STR);
    return role ? *role : S("");
}

static bool has_role(const struct checking *k, str role)
{
    for (size_t i = 0; i < k->p->n_signals; i++)
        if (!strcmp(k->p->signals[i].ops->type, "authz") &&
            str_eq(role_of(&k->p->signals[i]), role))
            return true;
    return false;
}

static const struct score_conf *score_find(const struct checking *k, str name)
{
    for (size_t i = 0; i < k->p->n_scores; i++)
        if (str_eq(k->p->scores[i].name, name))
            return &k->p->scores[i];
    return NULL;
}

static const struct mapping_conf *output_find(const struct checking *k, str name)
{
    for (size_t i = 0; i < k->p->n_mappings; i++)
        for (size_t o = 0; o < k->p->mappings[i].n_outputs; o++)
            if (str_eq(k->p->mappings[i].outputs[o].name, name))
                return &k->p->mappings[i];
    return NULL;
}

/* Does something answer to (type, name)? */
static bool is_defined(const struct checking *k, str type, str name)
{
    if (str_eq(type, S("projection")))
        return output_find(k, name) || score_find(k, name);
    if (str_eq(type, S("authz")))
        return has_role(k, name) || rule_find(k, type, name);
    if (str_eq(type, S("complexity")))
        return level_cut(&name) && rule_find(k, type, name);
    if (str_eq(type, S("domain")) && is_category(name))
        return true;
    return rule_find(k, type, name) != NULL;
}

static bool is_leaf_type(str type)
{
    return str_eq(type, S("projection")) || signal_by_type(type) != NULL;
}

static const char *name_nearest(const struct checking *k, str type, str name)
{
    const char *best = NULL;
    unsigned least = 4;
    for (size_t i = 0; i < k->p->n_signals; i++) {
        str other = k->p->signals[i].name;
        unsigned n = str_distance(name, other, 3);
        if (str_eq(str_of(k->p->signals[i].ops->type), type) && n < least && n < name.len) {
            least = n;
            best = arena_cstr(k->a, other);
        }
    }
    for (size_t i = 0; i < k->p->n_mappings && str_eq(type, S("projection")); i++) {
        for (size_t o = 0; o < k->p->mappings[i].n_outputs; o++) {
            unsigned n = str_distance(name, k->p->mappings[i].outputs[o].name, 3);
            if (n < least && n < name.len) {
                least = n;
                best = arena_cstr(k->a, k->p->mappings[i].outputs[o].name);
            }
        }
    }
    return best;
}

/* As in VSR an undefined name is refused, once the profile declares anything at all; a fragment
 * without signals is only warned about, as models are without cards. */
static enum severity reference_severity(const struct checking *k)
{
    bool is_declared = k->p->n_mappings > 0;
    for (size_t i = 0; i < k->p->n_signals && !is_declared; i++) {
        struct place at = k->p->signals[i].at, made = k->p->at;     /* made: generated domains */
        is_declared = at.line != made.line || at.col != made.col;
    }
    return is_declared ? SEVERITY_ERROR : SEVERITY_WARNING;
}

static void reference_check(struct checking *k, str type, str name, struct place at, str path,
                            enum severity severity)
{
    if (type.len == 0 || name.len == 0)
        return;                                         /* reported as a missing key */
    if (!is_leaf_type(type)) {
        finding_add(k->out, "undefined-reference", severity, at, path, S(""),
                    "there is no signal type `" STR_FMT "`", STR_ARG(type));
        return;
    }
    str base = name;
    if (str_eq(type, S("complexity")) && !level_cut(&base)) {
        finding_add(k->out, "undefined-reference", severity, at, path,
                    arena_printf(k->a, "write `" STR_FMT ":hard`, :medium or :easy", STR_ARG(name)),
                    "a complexity leaf names a rule and a level, not `" STR_FMT "`", STR_ARG(name));
        return;
    }
    if (!is_defined(k, type, name)) {
        const char *near = name_nearest(k, type, base);
        finding_add(k->out, "undefined-reference", severity, at, path,
                    near ? arena_printf(k->a, "did you mean `%s`?", near) : S(""),
                    "there is no %.*s `" STR_FMT "` in this profile", STR_ARG(type), STR_ARG(name));
    } else if (str_eq(type, S("authz")) && !has_role(k, name)) {
        const struct signal_rule *rule = rule_find(k, type, name);
        finding_add(k->out, "dead-rule-name", SEVERITY_WARNING, at, path,
                    arena_printf(k->a, "write `" STR_FMT "`", STR_ARG(role_of(rule))),
                    "authz leaves name roles; `" STR_FMT "` is a binding and never matches",
                    STR_ARG(name));
    }
}

/* ---- uses ---- */

static bool use(struct checking *k, str type, str name)
{
    return map_put(&k->used, signal_key(k, type, name), k);
}

static void use_signal(struct checking *k, str type, str name);

static void use_score(struct checking *k, const struct score_conf *s)
{
    for (size_t i = 0; i < s->n_inputs; i++)
        use_signal(k, s->inputs[i].type, s->inputs[i].name);
}

static void use_composer(struct checking *k, const struct value *node)
{
    const struct value *type = value_get(node, S("type")), *name = value_get(node, S("name"));
    const struct value *conditions = value_get(node, S("conditions"));
    if (type && name && type->kind == VALUE_SCALAR && name->kind == VALUE_SCALAR)
        use_signal(k, type->text, name->text);
    for (size_t i = 0; conditions && i < conditions->n_items; i++)
        use_composer(k, conditions->items[i]);
}

/* Marks a signal and what it is made of. */
static void use_signal(struct checking *k, str type, str name)
{
    if (!use(k, type, name))
        return;
    if (str_eq(type, S("projection"))) {
        const struct mapping_conf *m = output_find(k, name);
        const struct score_conf *s = score_find(k, m ? m->source : name);
        if (s)
            use_score(k, s);
        return;
    }
    if (str_eq(type, S("complexity"))) {
        level_cut(&name);
        use(k, type, name);
        const struct signal_rule *rule = rule_find(k, type, name);
        const struct value *const *composer = !rule ? NULL
            : field_get(&rule->ops->fields, rule->conf, "composer", FIELD_VALUE);
        if (composer && *composer)
            use_composer(k, *composer);
    }
}

static bool is_used(const struct checking *k, const struct signal_rule *rule)
{
    str name = rule->name;
    if (!strcmp(rule->ops->type, "authz"))
        name = role_of(rule);
    return map_has(&k->used, signal_key(k, str_of(rule->ops->type), name));
}

static void unused_check(struct checking *k)
{
    size_t n = 0;
    for (size_t i = 0; i < k->p->n_signals; i++) {
        const struct signal_rule *rule = &k->p->signals[i];
        n = i && rule[-1].ops == rule->ops ? n + 1 : 0;
        if (!is_used(k, rule))
            finding_add(k->out, "unused-rule", SEVERITY_INFO, rule->at, rule_path(k, rule, n), S(""),
                        "no decision looks at %s `" STR_FMT "`", rule->ops->type,
                        STR_ARG(rule->name));
    }
}

/* ---- signals: names as promised, dead rules ---- */

/* The signals report by their own names; these are the stable ones. */
static const struct { const char *type, *from, *to; } signal_names[] = {
    { "fact_check", "dead-rule", "dead-rule-name" },
    { "user_feedback", "dead-rule", "dead-rule-name" },
    { "language", "dead-rule", "dead-rule-name" },
    { "language", "bad-language", "dead-rule-name" },
    { "modality", "dead-rule", "dead-rule-name" },
};

static str place_key(const struct checking *k, struct place at)
{
    return arena_printf(k->a, "%u:%u", at.line, at.col);
}

static void names_settle(struct checking *k)
{
    struct map places = { .a = k->a };
    for (size_t i = 0; i < k->p->n_signals; i++)
        map_put(&places, place_key(k, k->p->signals[i].at), &k->p->signals[i]);
    for (size_t i = 0; i < k->out->n; i++) {
        struct finding *f = &k->out->items[i];
        if (strcmp(f->name, "dead-rule") && strcmp(f->name, "bad-language"))
            continue;
        const struct signal_rule *rule = map_get(&places, place_key(k, f->at));
        if (!rule)
            continue;
        const double *max = field_get(&rule->ops->fields, rule->conf, "max_tokens", FIELD_COUNT);
        if (max && *max <= 0)
            f->name = "missing-max-tokens";
        for (size_t n = 0; n < COUNT_OF(signal_names); n++)
            if (!strcmp(signal_names[n].type, rule->ops->type) &&
                !strcmp(signal_names[n].from, f->name)) {
                f->name = signal_names[n].to;
                break;
            }
    }
}

static bool is_fixed_name(const char *type, str name)
{
    static const struct { const char *type; const char *names[5]; } fixed[] = {
        { "fact_check", { "needs_fact_check", "no_fact_check_needed" } },
        { "user_feedback", { "satisfied", "need_clarification", "wrong_answer", "want_different" } },
        { "modality", { "AR", "DIFFUSION", "BOTH" } },
    };
    for (size_t i = 0; i < COUNT_OF(fixed); i++) {
        if (strcmp(type, fixed[i].type))
            continue;
        for (size_t n = 0; fixed[i].names[n]; n++)
            if (str_eq(name, str_of(fixed[i].names[n])))
                return true;
        return false;
    }
    return true;
}

/* Can (type, name) never match, whatever the request? */
static bool is_dead(const struct checking *k, str type, str name)
{
    if (str_eq(type, S("authz")))
        return true;                                    /* evaluated behind projections, spec 2.2 */
    if (!is_defined(k, type, name))
        return true;
    const struct signal_rule *rule = rule_find(k, type, name);
    const double *max = !rule ? NULL
        : field_get(&rule->ops->fields, rule->conf, "max_tokens", FIELD_COUNT);
    return (max && *max <= 0) || (rule && !is_fixed_name(rule->ops->type, name));
}

static void composer_check(struct checking *k, const struct value *node, str path)
{
    const struct value *type = value_get(node, S("type")), *name = value_get(node, S("name"));
    const struct value *conditions = value_get(node, S("conditions"));
    if (type && name && type->kind == VALUE_SCALAR && name->kind == VALUE_SCALAR)
        reference_check(k, type->text, name->text, node->at, path, SEVERITY_WARNING);
    for (size_t i = 0; conditions && i < conditions->n_items; i++)
        composer_check(k, conditions->items[i],
                       arena_printf(k->a, STR_FMT ".conditions[%zu]", STR_ARG(path), i));
}

static const struct value *kb_find(const struct checking *k, str name)
{
    const struct value *list = value_path(k->c->global, "model_catalog.kbs");
    for (size_t i = 0; list && i < list->n_items; i++) {
        const struct value *own = value_get(list->items[i], S("name"));
        if (own && str_eq(own->text, name))
            return list->items[i];
    }
    return NULL;
}

static void kb_check(struct checking *k, const struct signal_rule *rule, str path)
{
    const str *kb = field_get(&rule->ops->fields, rule->conf, "kb", FIELD_STR);
    if (kb && kb->len && !kb_find(k, *kb))
        finding_add(k->out, "undefined-reference", SEVERITY_ERROR, rule->at, path,
                    S("add it to global.model_catalog.kbs"),
                    "there is no knowledge base `" STR_FMT "`", STR_ARG(*kb));
}

static void signals_check(struct checking *k)
{
    size_t n = 0;
    names_settle(k);
    for (size_t i = 0; i < k->p->n_signals; i++) {
        const struct signal_rule *rule = &k->p->signals[i];
        n = i && rule[-1].ops == rule->ops ? n + 1 : 0;
        const struct value *const *composer =
            field_get(&rule->ops->fields, rule->conf, "composer", FIELD_VALUE);
        str path = rule_path(k, rule, n);
        if (composer && *composer)
            composer_check(k, *composer,
                           arena_printf(k->a, STR_FMT ".composer", STR_ARG(path)));
        if (!strcmp(rule->ops->type, "kb"))
            kb_check(k, rule, path);
    }
}

/* ---- scores: what they can sum up to ---- */

static struct range range_scaled(struct range r, double by)
{
    double a = by == 0 ? 0 : r.low * by, b = by == 0 ? 0 : r.high * by;
    return a < b ? (struct range){ a, b } : (struct range){ b, a };
}

static struct range score_range(const struct checking *k, const struct score_conf *s);

/* The raw number of a signal (spec 2.5, column "values"); 0 where there is none. */
static struct range raw_range(str type)
{
    if (str_eq(type, S("structure")) || str_eq(type, S("conversation")) || str_eq(type, S("reask")))
        return (struct range){ 0, (double)INFINITY };
    if (str_eq(type, S("embedding")) || str_eq(type, S("kb")))
        return (struct range){ -1, 1 };
    if (str_eq(type, S("complexity")))
        return (struct range){ -2, 2 };                 /* difference of two cosines */
    if (str_eq(type, S("projection")))
        return (struct range){ -(double)INFINITY, (double)INFINITY };
    return (struct range){ 0, 0 };
}

static struct range input_range(const struct checking *k, const struct score_input *in)
{
    if (str_eq(in->type, S("kb_metric")))
        return (struct range){ -1, 1 };                 /* best scores and their differences */
    bool is_projection = str_eq(in->type, S("projection"));
    const struct score_conf *upstream = is_projection ? score_find(k, in->name) : NULL;
    if (upstream && (str_eq(in->value_source, S("score")) || str_eq(in->value_source, S("raw"))))
        return score_range(k, upstream);
    bool is_never = !is_projection && is_dead(k, in->type, in->name);
    if (str_eq(in->value_source, S("raw")))
        return raw_range(in->type);
    if (str_eq(in->value_source, S("confidence"))) {
        bool is_margin = str_eq(in->type, S("complexity")) || str_eq(in->type, S("jailbreak"));
        return (struct range){ 0, is_never ? 0 : is_margin ? 2 : 1 };
    }
    if (is_never)
        return (struct range){ in->miss, in->miss };
    return (struct range){ fmin(in->match, in->miss), fmax(in->match, in->miss) };
}

/* Each score once, those it depends on first; coming back to one that is still open is a cycle. */
static struct range score_range(const struct checking *k, const struct score_conf *s)
{
    struct score_memo *memo = &k->memo[s - k->p->scores];
    struct range sum = { 0, 0 };
    if (memo->is_open)
        memo->is_cyclic = true;
    if (memo->is_open || memo->is_done)
        return memo->range;
    memo->is_open = true;
    memo->range = (struct range){ -(double)INFINITY, (double)INFINITY };
    for (size_t i = 0; i < s->n_inputs; i++) {
        const struct score_input *in = &s->inputs[i];
        const struct mapping_conf *m = !str_eq(in->type, S("projection")) ? NULL
                                                                          : output_find(k, in->name);
        const struct score_conf *behind = m ? score_find(k, m->source) : NULL;
        if (behind)
            score_range(k, behind);                     /* a name of a band depends on its score */
        struct range one = range_scaled(input_range(k, in), in->weight);
        sum.low += one.low;
        sum.high += one.high;
    }
    memo->is_open = false;
    memo->is_done = true;
    memo->range = sum;
    return sum;
}

static void input_check(struct checking *k, const struct score_input *in, str path)
{
    bool is_metric = str_eq(in->type, S("kb_metric"));
    bool is_score = str_eq(in->value_source, S("score"));
    if (str_eq(in->type, S("metadata")) || str_eq(in->type, S("classifier"))) {
        finding_add(k->out, "bad-value", SEVERITY_ERROR, in->at, path, S(""),
                    "signals of type " STR_FMT " cannot be inputs of a score", STR_ARG(in->type));
        return;
    }
    if (is_score && !is_metric && !str_eq(in->type, S("projection")))
        finding_add(k->out, "bad-value", SEVERITY_ERROR, in->at, path,
                    S("write binary, confidence or raw"),
                    "value_source score is for projection and kb_metric");
    if (!is_metric) {
        reference_check(k, in->type, in->name, in->at, path, reference_severity(k));
        if (in->name.len == 0)
            finding_add(k->out, "missing-key", SEVERITY_ERROR, in->at, path, S(""),
                        "`name` is missing");
        return;
    }
    const struct value *kb = kb_find(k, in->kb);
    const struct value *metrics = value_get(kb, S("metrics"));
    bool is_known = str_eq(in->metric, S("best_score")) ||
                    str_eq(in->metric, S("best_matched_score"));
    for (size_t i = 0; metrics && i < metrics->n_items; i++) {
        const struct value *name = value_get(metrics->items[i], S("name"));
        is_known |= name && str_eq(name->text, in->metric);
    }
    if (in->kb.len == 0 || in->metric.len == 0)
        finding_add(k->out, "missing-key", SEVERITY_ERROR, in->at, path, S(""),
                    "a kb_metric input needs `%s`", in->kb.len ? "metric" : "kb");
    else if (!kb || !is_known)
        finding_add(k->out, "undefined-reference", SEVERITY_ERROR, in->at, path, S(""),
                    kb ? "the knowledge base has no metric `" STR_FMT "`"
                       : "there is no knowledge base `" STR_FMT "`",
                    STR_ARG(kb ? in->metric : in->kb));
}

static void scores_check(struct checking *k)
{
    struct map names = { .a = k->a };
    for (size_t i = 0; i < k->p->n_scores; i++) {
        const struct score_conf *s = &k->p->scores[i];
        str path = path_item(k, "projections.scores", i);
        if (!map_put(&names, s->name, k))
            finding_add(k->out, "duplicate-name", SEVERITY_ERROR, s->at, path, S("rename one"),
                        "another score is called `" STR_FMT "`", STR_ARG(s->name));
        if (s->n_inputs == 0)
            finding_add(k->out, "empty-composite", SEVERITY_WARNING, s->at, path, S(""),
                        "the score `" STR_FMT "` has no inputs and is always 0", STR_ARG(s->name));
        score_range(k, s);
        if (k->memo[i].is_cyclic)
            finding_add(k->out, "projection-cycle", SEVERITY_ERROR, s->at, path, S(""),
                        "the score `" STR_FMT "` depends on itself", STR_ARG(s->name));
        for (size_t n = 0; n < s->n_inputs; n++)
            input_check(k, &s->inputs[n],
                        arena_printf(k->a, STR_FMT ".inputs[%zu]", STR_ARG(path), n));
    }
}

/* ---- mappings: bands ---- */

struct band { double low, high; bool is_low_open, is_high_open; const struct mapping_output *out; };

static struct band band_of(const struct mapping_output *o)
{
    const struct number_predicate *b = &o->bounds;
    return (struct band){
        .low = !isnan(b->gt) ? b->gt : !isnan(b->gte) ? b->gte : -(double)INFINITY,
        .high = !isnan(b->lt) ? b->lt : !isnan(b->lte) ? b->lte : (double)INFINITY,
        .is_low_open = !isnan(b->gt), .is_high_open = !isnan(b->lt), .out = o,
    };
}

/* The sentence about what is wrong with a predicate; NULL: nothing. */
static const char *predicate_fault(const struct number_predicate *b)
{
    if (isnan(b->gt) && isnan(b->gte) && isnan(b->lt) && isnan(b->lte))
        return "compares with nothing: give gt, gte, lt or lte";
    if (!isnan(b->gt) && !isnan(b->gte))
        return "has both gt and gte: keep one";
    if (!isnan(b->lt) && !isnan(b->lte))
        return "has both lt and lte: keep one";
    double low = !isnan(b->gt) ? b->gt : b->gte, high = !isnan(b->lt) ? b->lt : b->lte;
    bool is_open = !isnan(b->gt) || !isnan(b->lt);
    if (low > high || (low == high && is_open))
        return "is empty: its lower bound is not below its upper bound";
    return NULL;
}

static int band_order(const void *a, const void *b)
{
    const struct band *x = a, *y = b;
    if (x->low != y->low)
        return x->low < y->low ? -1 : 1;
    if (x->is_low_open != y->is_low_open)
        return x->is_low_open ? 1 : -1;
    return x->high < y->high ? -1 : x->high > y->high;
}

/* Does the band lie outside of what the score can reach? */
static bool is_outside(const struct band *b, struct range reach)
{
    const double slack = 1e-9;                          /* sums of decimals */
    return b->low > reach.high + slack || b->high < reach.low - slack ||
           (b->is_low_open && b->low >= reach.high) || (b->is_high_open && b->high <= reach.low);
}

static void bands_check(struct checking *k, const struct mapping_conf *m, struct range reach,
                        str path)
{
    struct band *bands = ARENA_ARRAY(k->a, struct band, m->n_outputs);
    size_t n = 0;
    for (size_t i = 0; i < m->n_outputs; i++) {
        const struct mapping_output *o = &m->outputs[i];
        const char *fault = predicate_fault(&o->bounds);
        if (fault) {
            finding_add(k->out, "bad-predicate", SEVERITY_ERROR, o->at, path, S(""),
                        "the band `" STR_FMT "` %s", STR_ARG(o->name), fault);
            continue;
        }
        bands[n] = band_of(o);
        if (is_outside(&bands[n], reach))
            finding_add(k->out, "vacuous-band", SEVERITY_WARNING, o->at, path,
                        S("move the bound, or change weights"),
                        "`" STR_FMT "` can never hold: the inputs of `" STR_FMT
                        "` sum up to %.6g ... %.6g", STR_ARG(o->name), STR_ARG(m->source),
                        reach.low, reach.high);
        n++;
    }
    if (str_eq(m->method, S("multi_emit")))
        return;                                         /* overlaps and gaps are what it is for */
    qsort(bands, n, sizeof *bands, band_order);
    for (size_t i = 0; i + 1 < n; i++) {
        const struct band *x = &bands[i], *y = &bands[i + 1];
        bool is_gap = x->high < y->low || (x->high == y->low && x->is_high_open && y->is_low_open);
        bool is_overlap = x->high > y->low ||
                          (x->high == y->low && !x->is_high_open && !y->is_low_open);
        if (is_gap)
            finding_add(k->out, "band-gap", SEVERITY_WARNING, y->out->at, path,
                        S("let one band start where the other ends"),
                        "no band has a score %s %.6g and %s %.6g", x->is_high_open ? "from" : "above",
                        x->high, y->is_low_open ? "up to" : "below", y->low);
        if (is_overlap)
            finding_add(k->out, "band-overlap", SEVERITY_WARNING, y->out->at, path,
                        S("the first in the list wins; let one start where the other ends"),
                        "the bands `" STR_FMT "` and `" STR_FMT "` overlap",
                        STR_ARG(x->out->name), STR_ARG(y->out->name));
    }
}

static void mappings_check(struct checking *k)
{
    struct map names = { .a = k->a }, outputs = { .a = k->a };
    for (size_t i = 0; i < k->p->n_mappings; i++) {
        const struct mapping_conf *m = &k->p->mappings[i];
        const struct score_conf *source = score_find(k, m->source);
        str path = path_item(k, "projections.mappings", i);
        struct range reach = { -(double)INFINITY, (double)INFINITY };
        if (!map_put(&names, m->name, k))
            finding_add(k->out, "duplicate-name", SEVERITY_ERROR, m->at, path, S("rename one"),
                        "another mapping is called `" STR_FMT "`", STR_ARG(m->name));
        if (source)
            reach = score_range(k, source);
        else if (m->source.len)
            finding_add(k->out, "undefined-reference", SEVERITY_ERROR, m->at, path, S(""),
                        "there is no score `" STR_FMT "`", STR_ARG(m->source));
        if (m->n_outputs == 0 || (m->n_outputs < 2 && str_eq(m->method, S("multi_emit"))))
            finding_add(k->out, "missing-key", SEVERITY_ERROR, m->at, path, S(""),
                        "a mapping of method " STR_FMT " needs %s", STR_ARG(m->method),
                        m->n_outputs ? "two outputs at least" : "outputs");
        for (size_t o = 0; o < m->n_outputs; o++)
            if (!map_put(&outputs, m->outputs[o].name, k))
                finding_add(k->out, "duplicate-name", SEVERITY_ERROR, m->outputs[o].at, path,
                            S("rename one"), "another band of this profile is called `" STR_FMT "`",
                            STR_ARG(m->outputs[o].name));
        bands_check(k, m, reach, path);
    }
}

static void partitions_check(struct checking *k)
{
    struct map names = { .a = k->a };
    for (size_t i = 0; i < k->p->n_partitions; i++) {
        const struct partition_conf *p = &k->p->partitions[i];
        str path = path_item(k, "projections.partitions", i);
        size_t n_domains = 0, n_embeddings = 0;
        bool has_default = false;
        if (!map_put(&names, p->name, k))
            finding_add(k->out, "duplicate-name", SEVERITY_ERROR, p->at, path, S("rename one"),
                        "another partition is called `" STR_FMT "`", STR_ARG(p->name));
        for (size_t m = 0; m < p->members.n; m++) {
            str name = p->members.items[m];
            bool is_domain = rule_find(k, S("domain"), name);
            bool is_embedding = rule_find(k, S("embedding"), name);
            n_domains += is_domain;
            n_embeddings += is_embedding && !is_domain;
            has_default |= str_eq(name, p->default_member);
            if (!is_domain && !is_embedding)
                finding_add(k->out, "undefined-reference", SEVERITY_ERROR, p->at, path, S(""),
                            "there is no domain or embedding `" STR_FMT "`", STR_ARG(name));
        }
        if (n_domains && n_embeddings)
            finding_add(k->out, "bad-value", SEVERITY_ERROR, p->at, path, S("make two partitions"),
                        "members must be all domains or all embeddings");
        if (!has_default && p->default_member.len)
            finding_add(k->out, "undefined-reference", SEVERITY_ERROR, p->at, path, S(""),
                        "the default `" STR_FMT "` is not among the members",
                        STR_ARG(p->default_member));
        if (str_eq(p->semantics, S("softmax_exclusive")) && p->temperature <= 0)
            finding_add(k->out, "missing-key", SEVERITY_ERROR, p->at, path, S("0.1 is usual"),
                        "softmax_exclusive needs a `temperature` above 0");
    }
}

/* ---- decisions ---- */

static void classifier_leaf_check(struct checking *k, const struct rule *r, str path)
{
    const struct signal_rule *rule = rule_find(k, S("classifier"), r->name);
    const struct strings *labels = !rule ? NULL
        : field_get(&rule->ops->fields, rule->conf, "labels", FIELD_STRINGS);
    const str *type = !rule ? NULL
        : field_get(&rule->ops->fields, rule->conf, "type", FIELD_ENUM);
    bool is_label = labels == NULL;
    for (size_t i = 0; labels && i < labels->n; i++)
        is_label |= str_eq(labels->items[i], r->label);
    if (r->label.len == 0 || !is_label)
        finding_add(k->out, r->label.len ? "undefined-reference" : "missing-key", SEVERITY_ERROR,
                    r->at, path, S(""), r->label.len ? "the classifier has no label `" STR_FMT "`"
                    : "a classifier leaf needs `label`" STR_FMT, STR_ARG(r->label));
    if (!r->has_predicate)
        finding_add(k->out, "missing-key", SEVERITY_ERROR, r->at, path, S("predicate: {gte: 0.5}"),
                    "a classifier leaf needs `predicate`");
    const struct number_predicate *b = &r->predicate;
    if (r->has_predicate && type && str_eq(*type, S("local")) &&
        !(b->gte >= 0.5 && isnan(b->gt) && isnan(b->lt) && isnan(b->lte)))
        finding_add(k->out, "bad-predicate", SEVERITY_ERROR, r->at, path, S("predicate: {gte: 0.5}"),
                    "a local classifier takes only `gte`, of 0.5 at least");
}

static void rule_check(struct checking *k, const struct rule *r, str path, bool is_root)
{
    if (r->kind == RULE_LEAF) {
        reference_check(k, r->type, r->name, r->at, path, reference_severity(k));
        use_signal(k, r->type, r->name);
        const char *fault = r->has_predicate ? predicate_fault(&r->predicate) : NULL;
        if (fault)
            finding_add(k->out, "bad-predicate", SEVERITY_ERROR, r->at, path, S(""),
                        "the predicate %s", fault);
        if (str_eq(r->type, S("classifier")))
            classifier_leaf_check(k, r, path);
        return;
    }
    if (r->kind == RULE_NOT && r->n_children != 1)
        finding_add(k->out, "not-arity", SEVERITY_WARNING, r->at, path,
                    S("wrap the conditions in one OR"),
                    "NOT takes exactly one condition; with %zu it never matches", r->n_children);
    if (r->kind != RULE_NOT && r->n_children == 0 && !(is_root && r->kind == RULE_AND))
        finding_add(k->out, "empty-composite", SEVERITY_WARNING, r->at, path, S(""),
                    r->kind == RULE_AND ? "an AND without conditions always matches"
                                        : "an OR without conditions never matches");
    for (size_t i = 0; i < r->n_children; i++)
        rule_check(k, r->children[i],
                   arena_printf(k->a, STR_FMT ".conditions[%zu]", STR_ARG(path), i), false);
}

static const struct card_conf *card_find(const struct config *c, str name)
{
    for (size_t i = 0; i < c->n_cards; i++)
        if (str_eq(c->cards[i].name, name))
            return &c->cards[i];
    return NULL;
}

static bool runs_somewhere(const struct config *c, str model)
{
    for (size_t i = 0; i < c->n_models; i++)
        if (str_eq(c->models[i].name, model))
            return true;
    return false;
}

static void refs_check(struct checking *k, const struct decision_conf *d, str path)
{
    for (size_t i = 0; i < d->n_refs; i++) {
        const struct model_ref *ref = &d->refs[i];
        const struct card_conf *card = card_find(k->c, ref->model);
        str here = arena_printf(k->a, STR_FMT ".modelRefs[%zu]", STR_ARG(path), i);
        if (!card && k->c->n_cards && ref->model.len)
            finding_add(k->out, "undefined-reference", SEVERITY_ERROR, ref->at, here,
                        S("add it to routing.modelCards and providers.models"),
                        "there is no model `" STR_FMT "`", STR_ARG(ref->model));
        else if (ref->model.len && k->c->n_models && !runs_somewhere(k->c, ref->model))
            finding_add(k->out, "no-backend", SEVERITY_WARNING, ref->at, here,
                        S("add it to providers.models"),
                        "the model `" STR_FMT "` has a card but runs nowhere", STR_ARG(ref->model));
        bool has_lora = ref->lora_name.len == 0 || !card;
        for (size_t n = 0; card && n < card->n_loras; n++)
            has_lora |= str_eq(card->loras[n].name, ref->lora_name);
        if (!has_lora)
            finding_add(k->out, "undefined-reference", SEVERITY_ERROR, ref->at, here,
                        S("add it to the card's loras"),
                        "the card of `" STR_FMT "` has no adapter `" STR_FMT "`",
                        STR_ARG(ref->model), STR_ARG(ref->lora_name));
    }
}

/* A decision for BOTH needs a model that makes both, or one of each (spec 01 1.7). */
static void both_check(struct checking *k, const struct decision_conf *d, str path)
{
    const struct rule *r = d->rules;
    bool is_both = false, has_omni = false, has_ar = false, has_diffusion = false;
    if (r && r->kind == RULE_LEAF)
        is_both = str_eq(r->type, S("modality")) && str_eq(r->name, S("BOTH"));
    for (size_t i = 0; r && i < r->n_children; i++)
        is_both |= r->children[i]->kind == RULE_LEAF && r->kind != RULE_NOT &&
                   str_eq(r->children[i]->type, S("modality")) &&
                   str_eq(r->children[i]->name, S("BOTH"));
    for (size_t i = 0; is_both && i < d->n_refs; i++) {
        const struct card_conf *card = card_find(k->c, d->refs[i].model);
        has_omni |= card && str_eq(card->modality, S("omni"));
        has_ar |= card && str_eq(card->modality, S("ar"));
        has_diffusion |= card && str_eq(card->modality, S("diffusion"));
    }
    if (is_both && k->c->n_cards && !has_omni && !(has_ar && has_diffusion))
        finding_add(k->out, "bad-value", SEVERITY_ERROR, d->at, path,
                    S("set `modality` in the cards"),
                    "modality BOTH needs an omni model, or an ar and a diffusion model");
}

static void annotations_check(struct checking *k, const struct decision_conf *d, str path)
{
    size_t bytes = 2;
    for (size_t i = 0; i < d->annotations.n; i++)
        bytes += d->annotations.items[i][0].len + d->annotations.items[i][1].len + 6;
    if (d->annotations.n > ANNOTATIONS_MAX || bytes > ANNOTATION_BYTES_MAX)
        finding_add(k->out, "out-of-range", SEVERITY_ERROR, d->at, path, S(""),
                    "annotations are %zu keys and %zu bytes; at most %d and %d may be",
                    d->annotations.n, bytes, ANNOTATIONS_MAX, ANNOTATION_BYTES_MAX);
}

/* ---- decisions against each other ---- */

static bool is_unconditional(const struct decision_conf *d)
{
    return !d->rules || (d->rules->kind == RULE_AND && d->rules->n_children == 0);
}

/* Both unconditional, confidence 0 each: does x come before y? */
static bool is_before(const struct decision_conf *x, const struct decision_conf *y)
{
    if (x->priority != y->priority)
        return x->priority > y->priority;
    return str_cmp(x->name, y->name) < 0;
}

/* Does u, which always matches, rank above d whenever d matches? (spec 01 4.3 and 0.2) */
static bool shadows(const struct checking *k, const struct decision_conf *u,
                    const struct decision_conf *d, bool are_tiers)
{
    bool both_open = is_unconditional(d);
    if (k->p->revision == REVISION_2026_09) {
        if (u->tier != d->tier)
            return u->tier < d->tier;
        return both_open && is_before(u, d);            /* catch-alls come last in their tier */
    }
    bool is_tiered = u->tier > 0 || d->tier > 0;        /* then the pool surely ranks by tier */
    if (is_tiered && u->tier != d->tier)
        return u->tier < d->tier;
    /* inside a tier, and with strategy confidence, 0 is the lowest confidence there is */
    if (is_tiered || are_tiers || k->p->strategy == STRATEGY_CONFIDENCE)
        return both_open && is_before(u, d);
    return u->priority > d->priority || (both_open && is_before(u, d));
}

static void ranking_check(struct checking *k)
{
    size_t n_tiered = 0;
    const struct decision_conf *untiered = NULL;
    for (size_t i = 0; i < k->p->n_decisions; i++) {
        n_tiered += k->p->decisions[i].tier > 0;
        if (!untiered && k->p->decisions[i].tier <= 0)
            untiered = &k->p->decisions[i];
    }
    if (n_tiered && untiered)
        finding_add(k->out, "tier-mixing", SEVERITY_WARNING, untiered->at,
                    path_item(k, "decisions", (size_t)(untiered - k->p->decisions)),
                    S("give every decision a tier, or none"),
                    "%zu of %zu decisions have a tier; without one, like `" STR_FMT
                    "`, the tier is 0 and outranks 1", n_tiered, k->p->n_decisions,
                    STR_ARG(untiered->name));
    if (k->p->n_decisions * k->p->n_decisions > PAIRS_MAX)
        return;
    for (size_t i = 0; i < k->p->n_decisions; i++) {
        const struct decision_conf *d = &k->p->decisions[i];
        for (size_t u = 0; u < k->p->n_decisions; u++) {
            const struct decision_conf *open = &k->p->decisions[u];
            if (u == i || !is_unconditional(open) || !shadows(k, open, d, n_tiered > 0))
                continue;
            finding_add(k->out, "shadowed-decision", SEVERITY_WARNING, d->at,
                        path_item(k, "decisions", i), S("give it a higher priority or a lower tier"),
                        "`" STR_FMT "` can never win: `" STR_FMT "` always matches and ranks above",
                        STR_ARG(d->name), STR_ARG(open->name));
            break;
        }
    }
}

static bool answers_itself(const struct decision_conf *d)
{
    for (size_t i = 0; i < d->n_plugins; i++)
        if (str_eq(d->plugins[i].type, S("fast_response")))
            return true;
    return false;
}

static void decisions_check(struct checking *k)
{
    struct map names = { .a = k->a };
    for (size_t i = 0; i < k->p->n_decisions; i++) {
        const struct decision_conf *d = &k->p->decisions[i];
        str path = path_item(k, "decisions", i);
        if (!map_put(&names, d->name, k))
            finding_add(k->out, "duplicate-name", SEVERITY_ERROR, d->at, path, S("rename one"),
                        "another decision is called `" STR_FMT "`", STR_ARG(d->name));
        if (d->rules)
            rule_check(k, d->rules, arena_printf(k->a, STR_FMT ".rules", STR_ARG(path)), true);
        refs_check(k, d, path);
        if (d->n_refs == 0 && k->c->default_model.len == 0 && !answers_itself(d))
            finding_add(k->out, "no-model", SEVERITY_WARNING, d->at, path,
                        S("add modelRefs, or providers.defaults.default_model"),
                        "nothing answers when `" STR_FMT "` wins", STR_ARG(d->name));
        both_check(k, d, path);
        annotations_check(k, d, path);
    }
    ranking_check(k);
}

void config_check(const struct config *c, struct findings *out)
{
    for (size_t i = 0; i < c->n_profiles; i++) {
        struct checking k = { .c = c, .p = &c->profiles[i], .a = out->a, .out = out,
                              .path = config_profile_path(out->a, i), .used = { .a = out->a } };
        k.memo = ARENA_ARRAY(out->a, struct score_memo, k.p->n_scores);
        rules_index(&k);
        signals_check(&k);
        partitions_check(&k);
        scores_check(&k);
        mappings_check(&k);
        decisions_check(&k);
        unused_check(&k);
    }
}
