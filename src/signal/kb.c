/* signal/kb.c -- nearness to labels or groups of a knowledge base (spec 2.4.16).
 *
 * A knowledge base is a file of labels with exemplars. A label scores by its prototypes and matches from its threshold on; a
 * group scores like its best label and matches with any of them. Rules ask whether a label or group matches, or is the best
 * of those that do; metrics are the numbers behind that, for projections. All bases of a profile are one unit: they share
 * one vector of the text. */
#include "signal/neural.h"

#include <math.h>

#include "base/json.h"

struct kb_target { str kind, value; };
struct kb_conf { str description, kb, match; struct kb_target target; };

static const char *const kinds[] = { "label", "group", NULL };
static const char *const matches[] = { "threshold", "best", "", NULL };

static const struct field target_table[] = {
    F(FIELD_ENUM, struct kb_target, kind, "kind", NULL, "label or group", .names = kinds,
      .flags = FIELD_REQUIRED),
    F(FIELD_STR, struct kb_target, value, "value", NULL, "its name in the knowledge base",
      .flags = FIELD_REQUIRED),
};
static const struct fields target_fields = FIELDS(struct kb_target, target_table);

static const struct field kb_table[] = {
    F(FIELD_STR, struct kb_conf, kb, "kb", NULL, "name in global.model_catalog.kbs",
      .flags = FIELD_REQUIRED),
    F(FIELD_STRUCT, struct kb_conf, target, "target", NULL, "what to look for",
      .sub = &target_fields),
    F(FIELD_ENUM, struct kb_conf, match, "match", "threshold",
      "threshold: the score suffices; best: no other scores higher", .names = matches),
    F(FIELD_STR, struct kb_conf, description, "description", NULL, "for people",
      .flags = FIELD_EXTENSION),
};

/* ---- global.model_catalog.kbs ---- */

struct source_conf { str path, manifest; };
struct metric_conf { str name, type, positive_group, negative_group; };
struct base_conf {
    str name;
    struct source_conf source;
    double threshold;
    const struct value *label_thresholds, *groups;
    struct list metrics;
    struct bank_conf scoring;
};

static const struct field source_table[] = {
    F(FIELD_STR, struct source_conf, path, "path", NULL, "directory"),
    F(FIELD_STR, struct source_conf, manifest, "manifest", "labels.json", "file in it"),
};
static const struct fields source_fields = FIELDS(struct source_conf, source_table);

static const struct field metric_table[] = {
    F(FIELD_STR, struct metric_conf, name, "name", NULL, "name of the metric"),
    F(FIELD_STR, struct metric_conf, type, "type", NULL, "group_margin"),
    F(FIELD_STR, struct metric_conf, positive_group, "positive_group", NULL, "counts for"),
    F(FIELD_STR, struct metric_conf, negative_group, "negative_group", NULL, "counts against"),
};
static const struct fields metric_fields = FIELDS(struct metric_conf, metric_table);

static const struct field base_table[] = {
    F(FIELD_STR, struct base_conf, name, "name", NULL, "by which rules refer to it"),
    F(FIELD_STRUCT, struct base_conf, source, "source", NULL, "its exemplars", .sub = &source_fields),
    F(FIELD_FLOAT, struct base_conf, threshold, "threshold", NULL, "from which a label matches", .min = 0, .max = 1),
    F(FIELD_VALUE, struct base_conf, label_thresholds, "label_thresholds", NULL, "label -> threshold"),
    F(FIELD_VALUE, struct base_conf, groups, "groups", NULL, "group -> list of labels"),
    F(FIELD_LIST, struct base_conf, metrics, "metrics", NULL, "numbers for projections", .sub = &metric_fields),
    F(FIELD_STRUCT, struct base_conf, scoring, "prototype_scoring", NULL, "how labels score", .sub = &bank_fields),
};
static const struct fields base_fields = FIELDS(struct base_conf, base_table);

/* ---- compiled ---- */

enum { NO_TARGET = UINT32_MAX };

struct label { double threshold; struct strings exemplars; struct bank bank; };
struct group { uint32_t *labels, n; };
struct metric { uint32_t slot, positive, negative; };           /* groups; NO_TARGET: scores 0 */

struct base {
    str name;
    const char *why;                    /* NULL, or why it could not be read */
    struct bank_conf scoring;
    struct label *labels; str *label_names; uint32_t n_labels;
    struct group *groups; str *group_names; uint32_t n_groups;
    struct metric *metrics; uint32_t n_metrics;
    uint32_t best_score, best_matched_score;                    /* slots */
};

struct rule_code { uint32_t slot; const struct base *base; bool is_group, is_best; uint32_t target; };

struct kb {
    const struct need_source *source;
    struct base **bases; size_t n_bases;
    struct rule_code *rules; size_t n;
};

/* ---- scoring ---- */

struct tally {                          /* of one base and one text */
    double *label, *group;              /* scores */
    bool *label_matches, *group_matches;
    uint32_t best_label, best_group;    /* of those that match; NO_TARGET: none does */
};

/* The best of those that match; ties: the name that sorts first. NO_TARGET: none matches. */
static uint32_t best_of(const double *score, const bool *is_match, const str *names, uint32_t n)
{
    uint32_t best = NO_TARGET;
    for (uint32_t i = 0; i < n; i++) {
        if (is_match[i] && (best == NO_TARGET || score[i] > score[best] ||
                            (score[i] == score[best] && str_cmp(names[i], names[best]) < 0)))
            best = i;
    }
    return best;
}

static struct tally base_tally(const struct base *b, const float *query, struct arena *a)
{
    struct tally t = {
        .label = ARENA_ARRAY(a, double, b->n_labels), .group = ARENA_ARRAY(a, double, b->n_groups),
        .label_matches = ARENA_ARRAY(a, bool, b->n_labels), .group_matches = ARENA_ARRAY(a, bool, b->n_groups),
    };
    for (uint32_t i = 0; i < b->n_labels; i++) {
        t.label[i] = bank_score(&b->labels[i].bank, query).score;
        t.label_matches[i] = b->labels[i].bank.n && t.label[i] >= b->labels[i].threshold;
    }
    for (uint32_t g = 0; g < b->n_groups; g++) {
        const struct group *group = &b->groups[g];
        for (uint32_t i = 0; i < group->n; i++) {
            double score = t.label[group->labels[i]];
            t.group[g] = i == 0 ? score : fmax(t.group[g], score);
            t.group_matches[g] |= t.label_matches[group->labels[i]];
        }
    }
    t.best_label = best_of(t.label, t.label_matches, b->label_names, b->n_labels);
    t.best_group = best_of(t.group, t.group_matches, b->group_names, b->n_groups);
    return t;
}

static void metrics_say(const struct base *b, const struct tally *t, struct sigset *out)
{
    double best = 0, best_matched = 0;
    for (uint32_t i = 0; i < b->n_labels; i++) {
        best = i == 0 ? t->label[i] : fmax(best, t->label[i]);
        best_matched = t->label_matches[i] ? fmax(best_matched, t->label[i]) : best_matched;
    }
    rule_value(out, b->best_score, best);
    rule_value(out, b->best_matched_score, best_matched);
    for (uint32_t i = 0; i < b->n_metrics; i++) {
        const struct metric *m = &b->metrics[i];
        rule_value(out, m->slot, (m->positive < NO_TARGET ? t->group[m->positive] : 0) -
                                 (m->negative < NO_TARGET ? t->group[m->negative] : 0));
    }
}

static void rule_run(const struct rule_code *r, const struct tally *t, struct arena *request, struct sigset *out)
{
    const struct base *b = r->base;
    if (r->target == NO_TARGET) {
        sig_set(out, r->slot, false);
        return;
    }
    double score = r->is_group ? t->group[r->target] : t->label[r->target];
    bool matched = r->is_group ? t->group_matches[r->target] : t->label_matches[r->target];
    if (r->is_best)
        matched = r->target == (r->is_group ? t->best_group : t->best_label);
    rule_says(out, r->slot, matched, matched ? score : (double)NAN, (double)NAN);
    if (matched)
        out->detail[r->slot] = arena_printf(request, "score %.2f, best label " STR_FMT, score,
                                            STR_ARG(b->label_names[t->best_label]));
}

static void base_silent(const struct kb *k, const struct base *b, const char *why, struct sigset *out)
{
    neural_silent(out, b->best_score, why);
    neural_silent(out, b->best_matched_score, why);
    for (uint32_t i = 0; i < b->n_metrics; i++)
        neural_silent(out, b->metrics[i].slot, why);
    for (size_t i = 0; i < k->n; i++) {
        if (k->rules[i].base == b)
            neural_silent(out, k->rules[i].slot, why);
    }
}

static void kb_run(const void *state, const struct facts *f, const uint64_t *wanted, struct arena *request, struct sigset *out)
{
    (void)wanted;
    const struct kb *k = state;
    const char *why = NULL;
    const float *query = neural_vector(f, k->source, f->evaluation_text, request, &why);
    for (size_t i = 0; i < k->n_bases; i++) {
        const struct base *b = k->bases[i];
        if (b->why || !query) {
            base_silent(k, b, b->why ? b->why : why, out);
            continue;
        }
        struct tally t = base_tally(b, query, request);
        metrics_say(b, &t, out);
        for (size_t r = 0; r < k->n; r++) {
            if (k->rules[r].base == b)
                rule_run(&k->rules[r], &t, request, out);
        }
    }
}

/* ---- building ---- */

static const struct value *base_find(const struct signal_build *b, str name)
{
    const struct value *list = b->global ? value_path(b->global, "model_catalog.kbs") : NULL;
    for (size_t i = 0; list && i < list->n_items; i++) {
        const struct value *own = value_get(list->items[i], S("name"));
        if (own && str_eq(own->text, name))
            return list->items[i];
    }
    return NULL;
}

static double label_threshold(const struct base_conf *c, str label)
{
    const struct value *own = value_get(c->label_thresholds, label);
    double v;
    return own && own->kind == VALUE_SCALAR && str_double(own->text, &v) ? v : c->threshold;
}

static struct strings strings_of(struct arena *a, const struct json *j, jref array)
{
    struct strings all = { 0 };
    if (!json_is(j, array, JSON_ARRAY))
        return all;
    JSON_EACH_ITEM(j, array, item) {
        if (json_is(j, item, JSON_STRING))
            *PUSH(a, all.items, all.n) = json_str(j, item, a);
    }
    return all;
}

static const char *unreadable(struct signal_build *b, str path, str what)
{
    finding_add(b->findings, "unreadable-kb", SEVERITY_WARNING, (struct place){ 0 }, S("global.model_catalog.kbs"), S(""),
                "knowledge base " STR_FMT ": " STR_FMT, STR_ARG(path), STR_ARG(what));
    return "unreadable-kb";
}

/* labels.json: {version, description, labels: {LABEL: {description, exemplars: []}}}. NULL, or why its rules are unknown. */
static const char *manifest_read(struct signal_build *b, const struct base_conf *c, struct base *base)
{
    bool has_slash = c->source.path.len == 0 || str_ends(c->source.path, S("/"));
    str path = arena_printf(b->a, STR_FMT "%s" STR_FMT, STR_ARG(c->source.path), has_slash ? "" : "/",
                            STR_ARG(c->source.manifest));
    str text;
    struct err why = { 0 };
    struct json j;
    struct json_error bad;
    if (!b->models->file(b->models->arg, path, &text, &why))
        return unreadable(b, path, str_of(why.text));
    if (json_parse(b->a, text, &j, &bad) < 0)
        return unreadable(b, path, arena_printf(b->a, "byte %zu: %s", bad.at, bad.what));
    jref labels = json_is(&j, 0, JSON_OBJECT) ? json_get(&j, 0, S("labels")) : JSON_NONE;
    if (!json_is(&j, labels, JSON_OBJECT))
        return unreadable(b, path, S("it has no map `labels`"));
    JSON_EACH_PAIR(&j, labels, key, value) {
        str name = json_str(&j, key, b->a);
        jref exemplars = json_is(&j, value, JSON_OBJECT) ? json_get(&j, value, S("exemplars")) : JSON_NONE;
        uint32_t n = base->n_labels;
        *PUSH(b->a, base->label_names, n) = name;
        *PUSH(b->a, base->labels, base->n_labels) = (struct label){
            .threshold = label_threshold(c, name), .exemplars = strings_of(b->a, &j, exemplars) };
    }
    return NULL;
}

static uint32_t name_find(const str *names, uint32_t n, str name)
{
    for (uint32_t i = 0; i < n; i++) {
        if (str_eq(names[i], name))
            return i;
    }
    return NO_TARGET;
}

static void groups_read(struct arena *a, const struct value *groups, struct base *b)
{
    for (size_t i = 0; groups && groups->kind == VALUE_MAP && i < groups->n_pairs; i++) {
        const struct value *members = groups->pairs[i].value;
        struct group g = { 0 };
        uint32_t n = b->n_groups;
        for (size_t k = 0; members && members->kind == VALUE_LIST && k < members->n_items; k++) {
            uint32_t label = name_find(b->label_names, b->n_labels, members->items[k]->text);
            if (label != NO_TARGET)
                *PUSH(a, g.labels, g.n) = label;
        }
        *PUSH(a, b->group_names, n) = groups->pairs[i].key;
        *PUSH(a, b->groups, b->n_groups) = g;
    }
}

static uint32_t metric_slot(struct signal_build *b, struct signal_unit *u, str base, str metric)
{
    str name = arena_printf(b->a, STR_FMT ":" STR_FMT, STR_ARG(base), STR_ARG(metric));
    uint32_t slot = rule_slot(b, u, S("kb_metric"), name);
    policy_hide(b->policy, slot);
    return slot;
}

static struct base *base_make(struct signal_build *b, struct signal_unit *u, str name)
{
    struct base *base = ARENA_NEW(b->a, struct base);
    const struct value *v = base_find(b, name);
    struct base_conf c;
    field_decode(b->a, &base_fields, v, S(""), &c, NULL);
    *base = (struct base){ .name = name, .scoring = c.scoring };
    base->why = !v ? "no-kb" : !b->models ? "no-model" : manifest_read(b, &c, base);
    groups_read(b->a, c.groups, base);
    base->best_score = metric_slot(b, u, name, S("best_score"));
    base->best_matched_score = metric_slot(b, u, name, S("best_matched_score"));
    const struct metric_conf *metrics = c.metrics.items;
    for (size_t i = 0; i < c.metrics.n; i++)
        *PUSH(b->a, base->metrics, base->n_metrics) = (struct metric){
            metric_slot(b, u, name, metrics[i].name), name_find(base->group_names, base->n_groups, metrics[i].positive_group),
            name_find(base->group_names, base->n_groups, metrics[i].negative_group) };
    return base;
}

static const struct base *base_of(struct signal_build *b, struct signal_unit *u, struct kb *k, str name)
{
    for (size_t i = 0; i < k->n_bases; i++) {
        if (str_eq(k->bases[i]->name, name))
            return k->bases[i];
    }
    struct base *base = base_make(b, u, name);
    *PUSH(b->a, k->bases, k->n_bases) = base;
    return base;
}

static void kb_make(struct signal_build *b, const struct signal_rule *const *rules, size_t n)
{
    struct kb *k = ARENA_NEW(b->a, struct kb);
    *k = (struct kb){ .source = neural_source(b, NEED_EMBEDDING, "kb", S(""), NULL), .n = n };
    k->rules = ARENA_ARRAY(b->a, struct rule_code, n);
    struct signal_unit *u = neural_unit(b, "kb", k->source, 1);
    for (size_t i = 0; i < n; i++) {
        const struct kb_conf *c = rules[i]->conf;
        struct rule_code *r = &k->rules[i];
        *r = (struct rule_code){ .slot = rule_slot(b, u, S("kb"), rules[i]->name), .base = base_of(b, u, k, c->kb),
                                 .is_group = str_eq(c->target.kind, S("group")), .is_best = str_eq(c->match, S("best")) };
        r->target = r->is_group ? name_find(r->base->group_names, r->base->n_groups, c->target.value)
                                : name_find(r->base->label_names, r->base->n_labels, c->target.value);
        if (r->target == NO_TARGET && !r->base->why)
            rule_finding(rules[i], b->findings, "dead-rule", SEVERITY_WARNING, S(""),
                         "knowledge base \"" STR_FMT "\" has no " STR_FMT
                         " \"" STR_FMT "\"", STR_ARG(c->kb), STR_ARG(c->target.kind), STR_ARG(c->target.value));
    }
    struct examples examples;
    examples_start(&examples, k->source);
    for (size_t i = 0; i < k->n_bases; i++) {
        for (uint32_t l = 0; l < k->bases[i]->n_labels; l++)
            examples_add_all(&examples, k->bases[i]->labels[l].exemplars);
    }
    if (neural_embed(b, u, &examples)) {
        for (size_t i = 0; i < k->n_bases; i++) {
            for (uint32_t l = 0; l < k->bases[i]->n_labels; l++) {
                struct label *label = &k->bases[i]->labels[l];
                bank_build(&label->bank, b->a, &k->bases[i]->scoring, &examples, label->exemplars);
            }
        }
        u->state = k;
        u->ask = neural_ask_text;
        u->run = kb_run;
    }
    examples_drop(&examples);
}

const struct signal_ops signal_kb = {
    .type = "kb",
    .collection = "kb",
    .response_key = "kb",
    .header = "x-vsr-matched-kb",
    .fields = FIELDS(struct kb_conf, kb_table),
    .make = kb_make,
};
