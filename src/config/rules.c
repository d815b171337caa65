/* config/rules.c -- from the draft of a profile to the profile: signals, rule trees, algorithms,
 * plugins.
 *
 * Each family reads its own keys by its own table; this file finds the family member, gives it
 * the map, and keeps what came out. */
#include "base/map.h"
#include "config/tables.h"
#include "plugin/plugin.h"
#include "select/select.h"
#include "signal/signal.h"

static const char *const loader_keys[] = { "name", "description", NULL };

static str lower(struct arena *a, str s)
{
    char *text = arena_cstr(a, s);
    for (size_t i = 0; i < s.len && text[i]; i++)
        if (text[i] >= 'A' && text[i] <= 'Z')
            text[i] = (char)(text[i] | 32);
    return (str){ text, s.len };
}

/* ---- signals ---- */

static void *conf_new(struct arena *a, const struct fields *f)
{
    return arena_alloc(a, f->struct_size ? f->struct_size : 1);
}

static void signal_read(struct loading *l, const struct signal_ops *ops, const struct value *v,
                        str path, struct map *names, struct profile *to)
{
    void *conf = conf_new(l->a, &ops->fields);
    bool is_ok = field_decode_except(l->a, &ops->fields, v, path, conf, l->out, loader_keys);
    if (v->kind != VALUE_MAP)
        return;
    const struct value *name = value_get(v, S("name"));
    if (!name || name->kind != VALUE_SCALAR || name->text.len == 0) {
        finding_add(l->out, "missing-key", SEVERITY_ERROR, v->at, path,
                    S("rules refer to a signal by its name"), "`name` is missing");
        return;
    }
    if (!map_put(names, name->text, conf))
        finding_add(l->out, "duplicate-name", SEVERITY_ERROR, name->at, path, S("rename one"),
                    "another rule of this list is called `" STR_FMT "`", STR_ARG(name->text));
    struct signal_rule *rule = PUSH(l->a, to->signals, to->n_signals);
    *rule = (struct signal_rule){ name->text, ops, conf, v->at };
    size_t before = l->out->n;
    if (is_ok && ops->check)                            /* it may rely on what was required */
        ops->check(rule, to, l->out);
    for (size_t i = before; i < l->out->n; i++)
        l->out->items[i].path = arena_str(l->out->a, path); /* the same form as all others */
}

static void signals_read(struct loading *l, const struct value *signals, str path,
                         struct profile *to)
{
    if (!signals || signals->kind == VALUE_NULL)
        return;
    if (signals->kind != VALUE_MAP) {
        field_decode(l->a, &signals_fields, signals, path, NULL, l->out);
        return;
    }
    for (size_t i = 0; i < signals->n_pairs; i++) {
        const struct value_pair *pair = &signals->pairs[i];
        const struct signal_ops *ops = signal_by_collection(pair->key);
        str here = arena_printf(l->a, STR_FMT "." STR_FMT, STR_ARG(path), STR_ARG(pair->key));
        if (!ops) {
            const char *near = field_nearest(&signals_fields, pair->key);
            finding_add(l->out, "unknown-key", SEVERITY_WARNING, pair->key_at, here,
                        near ? arena_printf(l->a, "did you mean `%s`?", near) : S(""),
                        "there are no signals called `" STR_FMT "`", STR_ARG(pair->key));
            continue;
        }
        if (pair->value->kind == VALUE_NULL)
            continue;
        if (pair->value->kind != VALUE_LIST) {
            finding_add(l->out, "wrong-type", SEVERITY_ERROR, pair->value->at, here, S(""),
                        "`%s` must be a list of maps, not %s", ops->collection,
                        value_kind_name(pair->value));
            continue;
        }
        struct map names = { .a = l->a };
        for (size_t k = 0; k < pair->value->n_items; k++)
            signal_read(l, ops, pair->value->items[k],
                        arena_printf(l->a, STR_FMT "[%zu]", STR_ARG(here), k), &names, to);
    }
}

static void domain_collect(struct loading *l, const struct rule *r, struct map *names)
{
    if (r->kind == RULE_LEAF && str_eq(r->type, S("domain")) && r->name.len)
        map_put(names, r->name, l);
    for (size_t i = 0; i < r->n_children; i++)
        domain_collect(l, r->children[i], names);
}

/* Without declared domains, those that decisions name exist (spec 01 1.4). */
static void domains_make(struct loading *l, struct profile *to)
{
    const struct signal_ops *ops = signal_by_collection(S("domains"));
    struct map names = { .a = l->a };
    for (size_t i = 0; i < to->n_signals; i++)
        if (to->signals[i].ops == ops)
            return;
    for (size_t i = 0; i < to->n_decisions; i++)
        if (to->decisions[i].rules)
            domain_collect(l, to->decisions[i].rules, &names);
    if (!ops || names.n == 0)
        return;
    struct value *v = value_map(l->a), *categories = value_list(l->a);
    value_append(l->a, categories, value_scalar(l->a, S("other")));
    value_set(l->a, v, S("mmlu_categories"), categories);
    for (size_t i = 0; i < names.n; i++) {
        struct signal_rule *rule = PUSH(l->a, to->signals, to->n_signals);
        *rule = (struct signal_rule){ names.entries[i].key, ops, conf_new(l->a, &ops->fields),
                                      to->at };
        field_decode(l->a, &ops->fields, v, S(""), rule->conf, NULL);
    }
}

/* ---- rules ---- */

static enum rule_kind operator_kind(str operator)
{
    return str_ieq(operator, S("AND")) ? RULE_AND : str_ieq(operator, S("OR")) ? RULE_OR
         : str_ieq(operator, S("NOT")) ? RULE_NOT : RULE_UNKNOWN;
}

static bool is_given(const struct rule_draft *from, enum rule_key key)
{
    return from->set >> key & 1;
}

static struct rule *rule_make(struct loading *l, const struct rule_draft *from, str path)
{
    struct rule *r = ARENA_NEW(l->a, struct rule);
    bool is_composite = from->operator.len || from->n_conditions;
    bool is_leaf = from->type.len || (from->name.len && !is_composite);
    r->at = from->at;
    if (is_leaf && is_composite)
        finding_add(l->out, "mixed-rule", SEVERITY_WARNING, from->at, path,
                    S("write either type and name, or operator and conditions"),
                    "this node is a leaf and a composite at once; it acts as the leaf");
    if (is_leaf) {
        r->kind = RULE_LEAF;
        r->type = lower(l->a, from->type);
        r->name = from->name;
        r->label = from->label;
        r->has_predicate = is_given(from, RULE_KEY_PREDICATE);
        r->predicate = from->predicate;
        r->matches_on_error = str_eq(from->on_error, S("match"));
        if (from->type.len == 0 || from->name.len == 0)
            finding_add(l->out, "missing-key", SEVERITY_ERROR, from->at, path,
                        S("a leaf names a signal: {type: keyword, name: urgent}"),
                        "`%s` is missing", from->type.len ? "name" : "type");
        if (!str_eq(r->type, S("classifier")) &&
            (from->label.len || is_given(from, RULE_KEY_ON_ERROR)))
            finding_add(l->out, "bad-value", SEVERITY_ERROR, from->at, path, S("remove it"),
                        "`%s` is for leaves of type classifier",
                        from->label.len ? "label" : "on_error");
        return r;
    }
    r->kind = operator_kind(from->operator);
    if (r->kind == RULE_UNKNOWN && from->operator.len)
        finding_add(l->out, "bad-operator", SEVERITY_WARNING, from->at, path,
                    S("write AND, OR or NOT"), "`" STR_FMT "` is no operator; it acts as OR",
                    STR_ARG(from->operator));
    for (size_t i = 0; i < from->n_conditions; i++) {
        str here = arena_printf(l->a, STR_FMT ".conditions[%zu]", STR_ARG(path), i);
        *PUSH(l->a, r->children, r->n_children) = rule_make(l, &from->conditions[i], here);
    }
    return r;
}

static enum on_unknown unknown_policy(str rules, str decision)
{
    str s = rules.len ? rules : decision;
    return str_eq(s, S("match")) ? UNKNOWN_MATCH
         : str_eq(s, S("fail_request")) ? UNKNOWN_FAIL_REQUEST : UNKNOWN_NO_MATCH;
}

/* ---- algorithms ---- */

static void algorithm_blocks(struct loading *l, const struct value *v, const struct select_ops *ops,
                             str path)
{
    size_t n = 0;
    for (size_t i = 0; i < v->n_pairs; i++) {
        const struct value_pair *pair = &v->pairs[i];
        bool is_block = false;
        for (size_t k = 0; select_all[k]; k++)
            is_block |= select_all[k]->block && str_eq(pair->key, str_of(select_all[k]->block));
        if (!is_block || pair->value->kind == VALUE_NULL)
            continue;
        if (n++ == 0 && ops && ops->block && str_eq(pair->key, str_of(ops->block)))
            continue;
        finding_add(l->out, "block-mismatch", SEVERITY_ERROR, pair->key_at, path,
                    ops ? arena_printf(l->a, ops->block ? "only `%s` may stand here"
                                                        : "`%s` has no block",
                                       ops->block ? ops->block : ops->name) : S(""),
                    "the block `" STR_FMT "` does not belong to algorithm `%s`",
                    STR_ARG(pair->key), ops ? ops->name : "static");
    }
}

static void algorithm_read(struct loading *l, const struct value *v, str path,
                           struct algorithm *to)
{
    if (!v || v->kind == VALUE_NULL)
        return;
    /* removed names first: their message says more than "not one of" */
    const struct value *type = value_get(v, S("type"));
    bool has_type = type && type->kind == VALUE_SCALAR;
    const char *instead = has_type ? config_removed_algorithm(type->text) : NULL;
    if (instead) {
        finding_add(l->out, "removed-key", SEVERITY_ERROR, type->at, path, str_of(instead),
                    "the algorithm `" STR_FMT "` no longer exists", STR_ARG(type->text));
        return;
    }
    bool is_ok = field_decode(l->a, &algorithm_fields, v, path, NULL, l->out);
    if (v->kind != VALUE_MAP || !is_ok)
        return;
    to->at = v->at;
    to->type = has_type ? type->text : S("");
    const struct value *on_error = value_get(v, S("on_error"));
    to->on_error = on_error && on_error->kind == VALUE_SCALAR ? on_error->text : S("");
    const struct select_ops *ops = select_by_name(to->type.len ? to->type : S("static"));
    algorithm_blocks(l, v, ops, path);
    if (!ops)
        return;
    to->block = ops->block ? value_get(v, str_of(ops->block)) : NULL;
    if (ops->fields.n) {
        void *conf = conf_new(l->a, &ops->fields);
        field_decode(l->a, &ops->fields, to->block, path, conf, NULL);  /* reported above */
        to->conf = conf;
    }
    if (!ops->is_built)
        finding_add(l->out, "not-built", SEVERITY_WARNING, type ? type->at : v->at, path, S(""),
                    "the algorithm %s is not built yet: the first candidate answers", ops->name);
}

/* ---- plugins ---- */

static void plugin_read(struct loading *l, const struct plugin_draft *from, str path,
                        struct decision_conf *d)
{
    const struct plugin_ops *ops = plugin_by_type(from->type);
    if (!ops && from->type.len) {
        bool is_signal = str_eq(from->type, S("jailbreak")) || str_eq(from->type, S("pii"));
        str names = S("");
        for (size_t i = 0; plugin_all[i]; i++)
            names = arena_printf(l->a, STR_FMT "%s%s", STR_ARG(names), i ? ", " : "",
                                 plugin_all[i]->type);
        finding_add(l->out, "bad-value", SEVERITY_ERROR, from->at, path,
                    is_signal ? S("it is a signal now: write a decision with fast_response")
                              : arena_printf(l->a, "there are " STR_FMT, STR_ARG(names)),
                    "there is no plugin `" STR_FMT "`", STR_ARG(from->type));
    }
    if (!ops)
        return;
    for (size_t i = 0; i < d->n_plugins; i++)
        if (str_eq(d->plugins[i].type, str_of(ops->type)))
            finding_add(l->out, "duplicate-name", SEVERITY_ERROR, from->at, path, S("join them"),
                        "this decision has the plugin %s twice", ops->type);
    str here = arena_printf(l->a, STR_FMT ".configuration", STR_ARG(path));
    void *conf = conf_new(l->a, &ops->fields);
    const struct value *configuration = from->configuration;
    if (configuration && configuration->kind == VALUE_NULL)
        configuration = NULL;
    bool is_ok = field_decode(l->a, &ops->fields, configuration, here, conf, l->out);
    struct plugin_use *use = PUSH(l->a, d->plugins, d->n_plugins);
    *use = (struct plugin_use){ .type = str_of(ops->type), .configuration = configuration,
                                .conf = ops->is_built ? conf : NULL, .at = from->at };
    const struct value *enabled = value_get(configuration, S("enabled"));
    bool is_off = enabled && enabled->kind == VALUE_SCALAR && str_ieq(enabled->text, S("false"));
    if (!ops->is_built && !is_off)
        finding_add(l->out, "not-built", SEVERITY_WARNING, from->at, path, S(""),
                    "the plugin %s is not built yet: it has no effect", ops->type);
    if (ops->is_built && is_ok && ops->check)
        ops->check(use, d, l->out);
}

/* ---- a profile ---- */

static void decision_make(struct loading *l, const struct decision_draft *from, str path,
                          struct decision_conf *to)
{
    *to = from->conf;
    const struct rule_draft *rules = &from->rules;
    to->on_unknown = unknown_policy(rules->on_unknown, from->on_unknown);
    if (rules->operator.len || rules->n_conditions || rules->type.len || rules->name.len)
        to->rules = rule_make(l, rules, arena_printf(l->a, STR_FMT ".rules", STR_ARG(path)));
    str algorithm = arena_printf(l->a, STR_FMT ".algorithm", STR_ARG(path));
    algorithm_read(l, from->algorithm, algorithm, &to->algorithm);
    const struct select_ops *ops = select_by_name(to->algorithm.type);
    if (ops && ops->check && to->algorithm.conf)
        ops->check(to->algorithm.conf, to, algorithm, l->out);
    for (size_t i = 0; i < from->n_plugins; i++)
        plugin_read(l, &from->plugins[i],
                    arena_printf(l->a, STR_FMT ".plugins[%zu]", STR_ARG(path), i), to);
}

void config_profile(struct loading *l, const struct routing_draft *from, str path,
                    struct profile *to)
{
    str strategy = from->strategy.len ? from->strategy : l->draft->strategy;
    to->strategy = str_eq(strategy, S("confidence")) ? STRATEGY_CONFIDENCE : STRATEGY_PRIORITY;
    to->revision = str_eq(l->draft->ranking, S("v0.3-2026-09")) ? REVISION_2026_09
                                                                : REVISION_2026_08;
    to->at = from->at;
    to->partitions = from->partitions;
    to->n_partitions = from->n_partitions;
    to->scores = from->scores;
    to->n_scores = from->n_scores;
    to->mappings = from->mappings;
    to->n_mappings = from->n_mappings;
    signals_read(l, from->signals, arena_printf(l->a, STR_FMT ".signals", STR_ARG(path)), to);
    to->n_decisions = from->n_decisions;
    to->decisions = ARENA_ARRAY(l->a, struct decision_conf, from->n_decisions);
    for (size_t i = 0; i < from->n_decisions; i++)
        decision_make(l, &from->decisions[i],
                      arena_printf(l->a, STR_FMT ".decisions[%zu]", STR_ARG(path), i),
                      &to->decisions[i]);
    domains_make(l, to);
}
