/* config/print.c -- defaults and the effective configuration, from the key tables.
 *
 * Both are trees first: what the tables say where nothing is written, laid under what is. The
 * dump masks secrets and doubles `$`, so that it loads again as the same configuration. */
#include "base/buf.h"
#include "config/tables.h"
#include "plugin/plugin.h"

#define MASK "***"

static bool is_scalar(enum field_type type)
{
    return type <= FIELD_ENUM;
}

static bool is_textual(enum field_type type)
{
    return type == FIELD_STR || type == FIELD_SECRET || type == FIELD_ENUM;
}

static struct value *default_of(struct arena *a, const struct field *f)
{
    if (f->flags & FIELD_DEPRECATED || !field_is_key(f))
        return NULL;
    if (f->type == FIELD_STRUCT)
        return f->flags & FIELD_OPTIONAL ? NULL : config_defaults(a, f->sub);
    if (!f->default_text || str_eq(str_of(f->default_text), S("nan")))
        return NULL;
    if (!is_scalar(f->type)) {
        struct err e = { 0 };
        return yaml_parse(a, str_of(f->default_text), "default", &e);
    }
    struct value *v = value_scalar(a, str_of(f->default_text));
    v->is_quoted = is_textual(f->type);
    return v;
}

struct value *config_defaults(struct arena *a, const struct fields *f)
{
    struct value *map = value_map(a);
    for (size_t i = 0; i < f->n; i++) {
        struct value *v = default_of(a, &f->items[i]);
        if (v)
            value_set(a, map, str_of(f->items[i].key), v);
    }
    return map->n_pairs ? map : NULL;
}

/* value_set for a key that is surely new: maps may be long. */
static void pair_add(struct arena *a, struct value *map, str key, struct value *v)
{
    *PUSH(a, map->pairs, map->n_pairs) = (struct value_pair){ key, v->at, v };
}

struct value *config_overlay(struct arena *a, struct value *under, const struct value *over)
{
    if (!over || over->kind == VALUE_NULL)
        return under;
    if (over->kind != VALUE_MAP || !under || under->kind != VALUE_MAP) {
        struct value *v = ARENA_NEW(a, struct value);
        *v = *over;
        if (over->kind != VALUE_MAP)
            return v;
        under = value_map(a);
    }
    struct value *v = value_map(a);
    v->at = over->at;
    for (size_t i = 0; i < under->n_pairs; i++) {
        str key = under->pairs[i].key;
        pair_add(a, v, key, config_overlay(a, under->pairs[i].value, value_get(over, key)));
    }
    for (size_t i = 0; i < over->n_pairs; i++)
        if (!value_get(under, over->pairs[i].key))
            pair_add(a, v, over->pairs[i].key, over->pairs[i].value);
    return v;
}

/* ---- the effective document ---- */

static bool has_word(str s, str word)
{
    for (size_t i = 0; i + word.len <= s.len; i++)
        if (str_ieq((str){ s.ptr + i, word.len }, word))
            return true;
    return false;
}

/* Free-form maps have no table to say what is secret; their keys usually do. */
static bool is_secret_name(str key)
{
    static const char *const words[] = { "password", "secret", "api_key", "api-key", "apikey",
                                         "access_key", "auth_token", "authorization", "cookie" };
    if (str_ends(key, S("_env")) || str_ends(key, S("_header")) || str_ends(key, S("_prefix")))
        return false;
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (has_word(key, str_of(words[i])))
            return true;
    return false;
}

/* https://user:password@host/ */
static str userinfo_mask(struct arena *a, str s)
{
    long scheme = str_find(s, S("://"));
    if (scheme < 0)
        return s;
    str rest = str_from(s, (size_t)scheme + 3);
    long at = str_chr(rest, '@'), slash = str_chr(rest, '/');
    if (at < 0 || (slash >= 0 && slash < at))
        return s;
    return arena_printf(a, STR_FMT MASK STR_FMT, STR_ARG(str_upto(s, (size_t)scheme + 3)),
                        STR_ARG(str_from(rest, (size_t)at)));
}

static str dollars_double(struct arena *a, str s)
{
    if (str_chr(s, '$') < 0)
        return s;
    char *out = arena_try(a, 2 * s.len + 1);
    size_t n = 0;
    for (size_t i = 0; out && i < s.len; i++) {
        if (s.ptr[i] == '$')
            out[n++] = '$';
        out[n++] = s.ptr[i];
    }
    return out ? (str){ out, n } : S("");
}

static struct value *masked(struct arena *a, const struct value *v, bool is_secret)
{
    struct value *out = ARENA_NEW(a, struct value);
    *out = *v;
    if (v->kind == VALUE_SCALAR) {
        out->text = is_secret && v->text.len ? S(MASK)
                  : dollars_double(a, userinfo_mask(a, v->text));
        out->is_quoted = v->is_quoted || (is_secret && v->text.len);
        return out;
    }
    if (v->n_items)
        out->items = ARENA_ARRAY(a, struct value *, v->n_items);
    if (v->n_pairs)
        out->pairs = ARENA_ARRAY(a, struct value_pair, v->n_pairs);
    for (size_t i = 0; i < v->n_items; i++)
        out->items[i] = masked(a, v->items[i], is_secret);
    for (size_t i = 0; i < v->n_pairs; i++) {
        out->pairs[i] = v->pairs[i];
        out->pairs[i].value = masked(a, v->pairs[i].value,
                                     is_secret || is_secret_name(v->pairs[i].key));
    }
    return out;
}

static struct value *effective_map(struct arena *a, const struct fields *f, const struct value *v);

static struct value *effective(struct arena *a, const struct field *f, const struct value *v)
{
    struct value *out;
    switch (f->type) {
    case FIELD_STRUCT:
        return effective_map(a, f->sub, v);
    case FIELD_LIST:
        if (v->kind != VALUE_LIST)
            break;
        out = value_list(a);
        for (size_t i = 0; i < v->n_items; i++)
            value_append(a, out, effective_map(a, f->sub, v->items[i]));
        return out;
    case FIELD_MAP:
        if (v->kind != VALUE_MAP)
            break;
        out = value_map(a);
        for (size_t i = 0; i < v->n_pairs; i++)
            pair_add(a, out, v->pairs[i].key, effective_map(a, f->sub, v->pairs[i].value));
        return out;
    case FIELD_VALUE:
        if (f->sub)
            return effective_map(a, f->sub, v);
        break;
    default:
        break;
    }
    return masked(a, v, f->type == FIELD_SECRET || is_secret_name(str_of(f->key)));
}

/* v in the order of the table, defaults of scalars put in, unknown keys last. */
static struct value *effective_map(struct arena *a, const struct fields *f, const struct value *v)
{
    if (v->kind != VALUE_MAP)
        return masked(a, v, false);
    struct value *out = value_map(a);
    for (size_t i = 0; i < f->n; i++) {
        const struct field *one = &f->items[i];
        str key = field_is_key(one) ? str_of(one->key) : S("");
        const struct value *given = key.len ? value_get(v, key) : NULL;
        struct value *shown = given ? effective(a, one, given)
                            : key.len && is_scalar(one->type) ? default_of(a, one) : NULL;
        if (shown)
            pair_add(a, out, key, shown);
    }
    for (size_t i = 0; i < v->n_pairs; i++)
        if (!field_find(f, v->pairs[i].key))
            pair_add(a, out, v->pairs[i].key,
                     masked(a, v->pairs[i].value, is_secret_name(v->pairs[i].key)));
    if (f == &plugin_use_fields) {                      /* its `configuration` has a table by type */
        const struct value *type = value_get(v, S("type"));
        const struct value *configuration = value_get(v, S("configuration"));
        const struct plugin_ops *ops = type ? plugin_by_type(type->text) : NULL;
        if (ops && configuration)
            value_set(a, out, S("configuration"), effective_map(a, &ops->fields, configuration));
        if (ops)
            value_set(a, out, S("type"), value_scalar(a, str_of(ops->type)));
    }
    return out;
}

void config_dump_yaml(const struct config *c, struct buf *out)
{
    struct arena *a = arena_new();
    if (!a) {
        out->is_failed = true;
        return;
    }
    config_tables();
    struct value *listeners = value_list(a), *under = value_map(a);
    value_append(a, listeners, value_map(a));           /* one, when none is written */
    value_set(a, under, S("listeners"), listeners);
    value_to_yaml(effective_map(a, &document_fields, config_overlay(a, under, c->root)), out, 0);
    arena_free(a);
}

void config_defaults_yaml(struct buf *out)
{
    struct arena *a = arena_new();
    if (!a) {
        out->is_failed = true;
        return;
    }
    config_tables();
    struct value *root = config_defaults(a, &document_fields);
    struct value *list = value_list(a);
    value_append(a, list, config_defaults(a, field_find(&document_fields, S("listeners"))->sub));
    value_set(a, root, S("listeners"), list);
    value_set(a, root, S("routing"), value_map(a));
    buf_str(out, S("# What holds where a configuration says nothing. Maps are merged with these, "
                   "lists replace them.\n"));
    value_to_yaml(root, out, 0);
    arena_free(a);
}
