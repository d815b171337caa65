/* config/normalise.c -- old spellings become today's, removed ones get a targeted message, and
 * variables of the environment are put in (spec 01 1.2 and 1.6).
 *
 * Works on the tree, before any table sees it. Removed keys are taken out once reported, so that
 * they are not reported again as unknown. VSR looks for them in the top-level `routing` only; in
 * recipes it silently ignores them, here they give a warning. */
#include <ctype.h>

#include "base/buf.h"
#include "config/tables.h"

/* ---- where we are, for findings ---- */

struct crumb { const struct crumb *up; str key; size_t index; };

static str crumb_text(struct arena *a, const struct crumb *c)
{
    if (!c)
        return S("");
    str up = crumb_text(a, c->up);
    if (c->key.len == 0)
        return arena_printf(a, STR_FMT "[%zu]", STR_ARG(up), c->index);
    return up.len ? arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(up), STR_ARG(c->key)) : c->key;
}

/* ---- removed keys ---- */

#define LEARNING "the replacement is global.router.learning"

static const struct { const char *name, *instead; } removed_algorithms[] = {
    { "elo", LEARNING }, { "rl_driven", LEARNING }, { "gmtrouter", LEARNING },
    { "session_aware", "the replacement is global.router.learning.protection" },
    { "bandit", LEARNING }, { "personalization", LEARNING },
    { "lookup_tables", LEARNING }, { "model_switch_gate", LEARNING },
};

const char *config_removed_algorithm(str name)
{
    for (size_t i = 0; i < COUNT_OF(removed_algorithms); i++)
        if (str_eq(name, str_of(removed_algorithms[i].name)))
            return removed_algorithms[i].instead;
    return NULL;
}

struct removal { const char *path, *instead; };

#define CARD "it belongs to the model's card in routing.modelCards"
#define BACKEND "write backend_refs of the model instead"

static const struct removal document_removals[] = {
    { "providers.model_targets", "write providers.models[].backend_refs instead" },
    { "providers.backends", "write providers.models[].backend_refs instead" },
    { "providers.auth_profiles", "write api_key or api_key_env of a backend_ref instead" },
    { "providers.default_model", "write providers.defaults.default_model instead" },
    { "providers.reasoning_families", "write providers.defaults.reasoning_families instead" },
    { "providers.default_reasoning_effort",
      "write providers.defaults.default_reasoning_effort instead" },
    { "providers.models[].access", BACKEND },
    { "providers.models[].endpoints", BACKEND },
    { "providers.models[].access_key", "write api_key or api_key_env of a backend_ref instead" },
    { "providers.models[].param_size", CARD },
    { "providers.models[].context_window_size", CARD },
    { "providers.models[].description", CARD },
    { "providers.models[].capabilities", CARD },
    { "providers.models[].loras", CARD },
    { "providers.models[].quality_score", CARD },
    { "providers.models[].modality", CARD },
    { "providers.models[].tags", CARD },
    { "global.modules", "write global.model_catalog.modules instead" },
    { "global.embeddings.bert", "write global.model_catalog.embeddings.semantic instead" },
    { "global.model_catalog.embeddings.bert",
      "write bert_model_path in model_catalog.embeddings.semantic instead" },
    { "global.model_catalog.classifiers", "write global.model_catalog.modules instead" },
    { "global.router.model_selection.session_aware",
      "the replacement is global.router.learning.protection" },
    { "global.router.model_selection.model_switch_gate", LEARNING },
    { "global.router.model_selection.lookup_tables", LEARNING },
    { "global.router.model_selection.elo", LEARNING },
    { "global.router.model_selection.rl_driven", LEARNING },
    { "global.router.model_selection.gmtrouter", LEARNING },
    { "global.router.model_selection.bandit", LEARNING },
    { "global.router.model_selection.personalization", LEARNING },
};

static const struct removal routing_removals[] = {      /* below routing or recipes[].routing */
    { "models", "write providers.models and routing.modelCards instead" },
    { "decisions[].modelSelectionAlgorithm", "write `algorithm` instead" },
    { "decisions[].tool_scope", "use the plugin `tools` instead" },
    { "decisions[].allow_tools", "use the plugin `tools` with mode filtered instead" },
    { "decisions[].block_tools", "use the plugin `tools` with mode filtered instead" },
    { "decisions[].algorithm.session_aware", LEARNING },
    { "decisions[].algorithm.model_switch_gate", LEARNING },
    { "decisions[].algorithm.lookup_tables", LEARNING },
    { "decisions[].algorithm.elo", LEARNING },
    { "decisions[].algorithm.rl_driven", LEARNING },
    { "decisions[].algorithm.gmtrouter", LEARNING },
    { "decisions[].algorithm.bandit", LEARNING },
    { "decisions[].algorithm.personalization", LEARNING },
    { "signals.structure[].feature.normalize_by", "write feature type `density` instead" },
    { "signals.category_kb", "write signals.kb instead" },
    { "signals.taxonomy", "write signals.kb instead" },
};

static void pair_drop(struct value *map, size_t at)
{
    for (size_t i = at; i + 1 < map->n_pairs; i++)
        map->pairs[i] = map->pairs[i + 1];
    map->n_pairs--;
}

static void removed_find(struct loading *l, struct value *v, str rest, const struct crumb *up,
                         const char *instead, enum severity severity)
{
    if (v->kind != VALUE_MAP)
        return;
    str key = str_cut(&rest, '.');
    bool is_list = str_ends(key, S("[]"));
    if (is_list)
        key.len -= 2;
    for (size_t i = 0; i < v->n_pairs; i++) {
        if (!str_eq(v->pairs[i].key, key))
            continue;
        struct crumb here = { up, key, 0 };
        struct value *one = v->pairs[i].value;
        if (rest.len == 0) {
            finding_add(l->out, "removed-key", severity, v->pairs[i].key_at,
                        crumb_text(l->a, &here), str_of(instead),
                        "`" STR_FMT "` is no longer a key of v0.3", STR_ARG(key));
            pair_drop(v, i);
            return;
        }
        if (!is_list)
            removed_find(l, one, rest, &here, instead, severity);
        for (size_t k = 0; is_list && one->kind == VALUE_LIST && k < one->n_items; k++) {
            struct crumb item = { &here, S(""), k };
            removed_find(l, one->items[k], rest, &item, instead, severity);
        }
    }
}

/* ---- aliases ---- */

/* stores.semantic_cache was response_cache's name. */
static void cache_rename(struct loading *l, struct value *root)
{
    struct value *stores = value_path(root, "global.stores");
    for (size_t i = 0; stores && stores->kind == VALUE_MAP && i < stores->n_pairs; i++) {
        struct value_pair *pair = &stores->pairs[i];
        if (!str_eq(pair->key, S("semantic_cache")))
            continue;
        finding_add(l->out, "deprecated-key", SEVERITY_WARNING, pair->key_at,
                    S("global.stores.semantic_cache"), S("write `response_cache`"),
                    "`semantic_cache` is an old name");
        if (value_get(stores, S("response_cache")))
            pair_drop(stores, i);
        else
            pair->key = S("response_cache");
        return;
    }
}

static void profile_rename(struct arena *a, struct value *root)
{
    struct value *profile =
        value_path(root, "global.model_catalog.modules.prompt_compression.profile");
    if (!profile || profile->kind != VALUE_SCALAR)
        return;
    char *text = arena_cstr(a, profile->text);
    for (char *p = text; *p; p++)
        if (*p == '-')
            *p = '_';
    profile->text.ptr = text;
}

/* VSR's own samples have keyword rules with `method: fuzzy`, which its classifier refuses to
 * build. What they mean is the literal method with fuzzy matching. */
static void keywords_fix(struct loading *l, struct value *routing, const struct crumb *up)
{
    struct value *signals = value_get(routing, S("signals"));
    struct value *rules = value_get(signals, S("keywords"));
    struct crumb at_signals = { up, S("signals"), 0 };
    struct crumb at_rules = { &at_signals, S("keywords"), 0 };
    for (size_t i = 0; rules && rules->kind == VALUE_LIST && i < rules->n_items; i++) {
        struct value *method = value_get(rules->items[i], S("method"));
        if (!method || method->kind != VALUE_SCALAR || !str_eq(method->text, S("fuzzy")))
            continue;
        struct crumb item = { &at_rules, S(""), i };
        struct crumb key = { &item, S("method"), 0 };
        finding_add(l->out, "bad-value", SEVERITY_WARNING, method->at, crumb_text(l->a, &key),
                    S("leave `method` out and write `fuzzy_match: true`"),
                    "`method: fuzzy` does not exist; it acts as literal keywords with fuzzy_match");
        struct value *yes = value_scalar(l->a, S("true"));
        yes->at = method->at;
        method->text = S("");
        method->is_quoted = true;
        value_set(l->a, rules->items[i], S("fuzzy_match"), yes);
    }
}

static void routing_normalise(struct loading *l, struct value *routing, const struct crumb *up,
                              enum severity severity)
{
    if (!routing)
        return;
    for (size_t i = 0; i < COUNT_OF(routing_removals); i++)
        removed_find(l, routing, str_of(routing_removals[i].path), up,
                     routing_removals[i].instead, severity);
    keywords_fix(l, routing, up);
}

void config_normalise(struct loading *l, struct value *root)
{
    for (size_t i = 0; i < COUNT_OF(document_removals); i++)
        removed_find(l, root, str_of(document_removals[i].path), NULL,
                     document_removals[i].instead, SEVERITY_ERROR);
    cache_rename(l, root);
    profile_rename(l->a, root);
    struct crumb at_routing = { NULL, S("routing"), 0 };
    routing_normalise(l, value_get(root, S("routing")), &at_routing, SEVERITY_ERROR);
    struct value *recipes = value_get(root, S("recipes"));
    struct crumb at_recipes = { NULL, S("recipes"), 0 };
    for (size_t i = 0; recipes && recipes->kind == VALUE_LIST && i < recipes->n_items; i++) {
        struct crumb item = { &at_recipes, S(""), i };
        struct crumb routing = { &item, S("routing"), 0 };
        routing_normalise(l, value_get(recipes->items[i], S("routing")), &routing,
                          SEVERITY_WARNING);
    }
}

/* ---- the environment ---- */

static size_t name_length(str s)
{
    size_t n = 0;
    while (n < s.len && (isalpha((unsigned char)s.ptr[n]) || s.ptr[n] == '_' ||
                         (n && isdigit((unsigned char)s.ptr[n]))))
        n++;
    return n;
}

/* The value of a variable; "" and *missing when it is not set. */
static str variable(struct arena *a, str name, const char *(*env)(const char *), str *missing)
{
    const char *value = env(arena_cstr(a, name));
    if (!value && missing)
        *missing = name;
    return str_of(value);
}

/* `inner` stands between "${" and "}". False when it is no reference at all. */
static bool braced(struct arena *a, str inner, const char *(*env)(const char *), str *missing,
                   str *out)
{
    size_t n = name_length(inner);
    if (n == 0)
        return false;
    str name = str_upto(inner, n), rest = str_from(inner, n);
    if (rest.len == 0) {
        *out = variable(a, name, env, missing);
        return true;
    }
    bool is_if_empty = str_starts(rest, S(":-"));
    if (!is_if_empty && rest.ptr[0] != '-')
        return false;
    const char *value = env(arena_cstr(a, name));
    bool is_default = !value || (is_if_empty && !*value);
    *out = is_default ? str_from(rest, is_if_empty ? 2 : 1) : str_of(value);
    return true;
}

str config_expand_text(struct arena *a, str text, const char *(*env)(const char *name),
                       bool *is_changed, str *missing)
{
    *is_changed = false;
    if (str_chr(text, '$') < 0)
        return text;
    struct buf b = { 0 };
    for (size_t i = 0; i < text.len; ) {
        str rest = str_from(text, i + 1), value;
        long close = rest.len && rest.ptr[0] == '{' ? str_chr(rest, '}') : -1;
        size_t n = name_length(rest);
        if (text.ptr[i] != '$') {
            buf_char(&b, text.ptr[i++]);
        } else if (rest.len && rest.ptr[0] == '$') {
            buf_char(&b, '$');
            *is_changed = true;
            i += 2;
        } else if (n) {
            buf_str(&b, variable(a, str_upto(rest, n), env, missing));
            *is_changed = true;
            i += 1 + n;
        } else if (close > 0 && braced(a, str_upto(str_from(rest, 1), (size_t)close - 1), env,
                                       missing, &value)) {
            buf_str(&b, value);
            *is_changed = true;
            i += 2 + (size_t)close;
        } else {
            buf_char(&b, text.ptr[i++]);                /* `$)` of a pattern, an open `${` */
        }
    }
    str out = *is_changed ? arena_str(a, buf_view(&b)) : text;
    buf_free(&b);
    return out;
}

static void expand(struct loading *l, struct value *v, const struct crumb *here)
{
    if (v->kind == VALUE_SCALAR) {
        bool is_changed;
        str missing = { 0 };
        str text = config_expand_text(l->a, v->text, l->env, &is_changed, &missing);
        if (missing.len)
            finding_add(l->out, "unset-variable", SEVERITY_WARNING, v->at, crumb_text(l->a, here),
                        arena_printf(l->a, "set it, or write ${" STR_FMT ":-default}",
                                     STR_ARG(missing)),
                        "the environment variable " STR_FMT " is not set; it becomes empty",
                        STR_ARG(missing));
        if (is_changed) {
            v->text = text;
            v->is_quoted = false;       /* "${PORT}" may be a number */
        }
    }
    for (size_t i = 0; i < v->n_items; i++) {
        struct crumb item = { here, S(""), i };
        expand(l, v->items[i], &item);
    }
    for (size_t i = 0; i < v->n_pairs; i++) {
        struct crumb key = { here, v->pairs[i].key, 0 };
        expand(l, v->pairs[i].value, &key);
    }
}

void config_expand(struct loading *l, struct value *root)
{
    expand(l, root, NULL);
}
