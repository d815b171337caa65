/* config/schema.c -- the key tables as JSON Schema (draft 2020-12), for editors.
 *
 * A table that was printed once is referred to by its place from then on, which keeps recipes
 * short and makes rules, which contain rules, possible. Every scalar may also be a text with a
 * `$`, because variables are put in before types are looked at. */
#include <math.h>

#include "base/json.h"
#include "base/put.h"
#include "config/tables.h"
#include "plugin/plugin.h"

enum { TABLES_MAX = 1024 };                             /* distinct tables; there are some 300 */

struct printed { const struct fields *table; str pointer; };

struct schema {
    struct json_writer w;
    struct arena *a;
    struct printed printed[TABLES_MAX];
    size_t n;
};

static void table_print(struct schema *s, const struct fields *f, str pointer, const char *help,
                        unsigned flags);

static void text_put(struct schema *s, const char *key, const char *text)
{
    put_str(&s->w, str_of(key), str_of(text));
}

static void annotate(struct schema *s, const char *help, unsigned flags)
{
    if (help)
        text_put(s, "description", help);
    if (flags & FIELD_DEPRECATED)
        put_bool(&s->w, S("deprecated"), true);
    if (flags & FIELD_NOT_BUILT)
        put_bool(&s->w, S("x-not-built"), true);
    if (flags & FIELD_EXTENSION)
        put_bool(&s->w, S("x-signalbox"), true);
}

static void default_put(struct schema *s, const struct field *f)
{
    struct err e = { 0 };
    if (!f->default_text || !strcmp(f->default_text, "nan"))
        return;
    jw_key(&s->w, S("default"));
    double number;
    if (f->type == FIELD_BOOL) {
        jw_bool(&s->w, !strcmp(f->default_text, "true"));
    } else if ((f->type == FIELD_INT || f->type == FIELD_FLOAT) &&
               str_double(str_of(f->default_text), &number)) {
        jw_double(&s->w, number);
    } else if (f->type <= FIELD_ENUM) {
        jw_str(&s->w, str_of(f->default_text));
    } else {
        struct value *v = yaml_parse(s->a, str_of(f->default_text), "default", &e);
        struct buf b = { 0 };
        value_to_json(v ? v : value_map(s->a), &b);
        jw_raw(&s->w, buf_view(&b));
        buf_free(&b);
    }
}

/* {"type": "string", "pattern": "\\$"}: a variable instead of the value itself */
static void variable_put(struct schema *s)
{
    jw_begin(&s->w, '{');
    text_put(s, "type", "string");
    text_put(s, "pattern", "\\$");
    jw_end(&s->w, '}');
}

static void bounds_put(struct schema *s, const struct field *f)
{
    if (f->min == 0 && f->max == 0)
        return;
    if (!isinf(f->min))
        put_double(&s->w, S("minimum"), f->min);
    if (!isinf(f->max))
        put_double(&s->w, S("maximum"), f->max);
}

static void enum_put(struct schema *s, const struct field *f)
{
    put_open(&s->w, S("enum"), '[');
    for (size_t i = 0; f->names && f->names[i]; i++)
        jw_str(&s->w, str_of(f->names[i]));
    jw_end(&s->w, ']');
}

static void type_list(struct schema *s, const char *const *types)
{
    put_open(&s->w, S("type"), '[');
    for (size_t i = 0; types[i]; i++)
        jw_str(&s->w, str_of(types[i]));
    jw_end(&s->w, ']');
}

static void text_type(struct schema *s)         /* YAML reads 1.10 and 2025 as numbers */
{
    static const char *const types[] = { "string", "number", "boolean", NULL };
    type_list(s, types);
}

static void scalar_print(struct schema *s, const struct field *f)
{
    static const char *const number_or_text[] = { "string", "number", NULL };
    switch (f->type) {
    case FIELD_BOOL: case FIELD_INT: case FIELD_FLOAT:
        put_open(&s->w, S("anyOf"), '[');
        jw_begin(&s->w, '{');
        text_put(s, "type", f->type == FIELD_BOOL ? "boolean"
                          : f->type == FIELD_INT ? "integer" : "number");
        bounds_put(s, f);
        jw_end(&s->w, '}');
        variable_put(s);
        jw_end(&s->w, ']');
        break;
    case FIELD_ENUM:
        put_open(&s->w, S("anyOf"), '[');
        jw_begin(&s->w, '{');
        enum_put(s, f);
        jw_end(&s->w, '}');
        if (f->flags & FIELD_OPEN) {
            jw_begin(&s->w, '{');
            text_put(s, "type", "string");
            jw_end(&s->w, '}');
        } else {
            variable_put(s);
        }
        jw_end(&s->w, ']');
        break;
    case FIELD_DURATION:
        type_list(s, number_or_text);
        text_put(s, "pattern", "\\$|^\\+?([0-9.]+(ns|us|\xc2\xb5s|ms|s|m|h))*$|^[0-9.]+$");
        break;
    case FIELD_BYTES:
        type_list(s, number_or_text);
        text_put(s, "pattern", "\\$|^[0-9.]+ *([kKmMgGtT]i?)?[bB]?$");
        break;
    case FIELD_COUNT:
        type_list(s, number_or_text);
        text_put(s, "pattern", "\\$|^[0-9.]+ *[kKmM]?$");
        break;
    default:
        text_type(s);
        break;
    }
}

static void strings_print(struct schema *s, const struct field *f)
{
    text_put(s, "type", "array");
    put_open(&s->w, S("items"), '{');
    if (f->names && !(f->flags & FIELD_OPEN))
        enum_put(s, f);
    else
        text_type(s);
    jw_end(&s->w, '}');
}

static str pointer_to(struct schema *s, str up, const char *what)
{
    return arena_printf(s->a, STR_FMT "/%s", STR_ARG(up), what);
}

static void field_print(struct schema *s, const struct field *f, str pointer)
{
    if (f->sub && (f->type == FIELD_STRUCT || f->type == FIELD_VALUE)) {
        table_print(s, f->sub, pointer, f->help, f->flags);
        return;
    }
    jw_begin(&s->w, '{');
    annotate(s, f->help, f->flags);
    switch (f->type) {
    case FIELD_STRINGS:
        strings_print(s, f);
        break;
    case FIELD_STRING_MAP:
        text_put(s, "type", "object");
        put_open(&s->w, S("additionalProperties"), '{');
        text_type(s);
        jw_end(&s->w, '}');
        break;
    case FIELD_LIST:
        text_put(s, "type", "array");
        jw_key(&s->w, S("items"));
        table_print(s, f->sub, pointer_to(s, pointer, "items"), NULL, 0);
        break;
    case FIELD_MAP:
        text_put(s, "type", "object");
        jw_key(&s->w, S("additionalProperties"));
        table_print(s, f->sub, pointer_to(s, pointer, "additionalProperties"), NULL, 0);
        break;
    case FIELD_VALUE: case FIELD_STRUCT:
        break;
    default:
        scalar_print(s, f);
        break;
    }
    default_put(s, f);
    jw_end(&s->w, '}');
}

/* What `configuration` may hold depends on `type`. */
static void plugin_types_print(struct schema *s, str pointer)
{
    put_open(&s->w, S("allOf"), '[');
    for (size_t i = 0; plugin_all[i]; i++) {
        const struct plugin_ops *ops = plugin_all[i];
        str rest = str_of(ops->aliases);
        jw_begin(&s->w, '{');
        put_open(&s->w, S("if"), '{');
        put_open(&s->w, S("properties"), '{');
        put_open(&s->w, S("type"), '{');
        put_open(&s->w, S("enum"), '[');
        jw_str(&s->w, str_of(ops->type));
        while (rest.len)
            jw_str(&s->w, str_cut(&rest, ' '));
        jw_end(&s->w, ']');
        jw_end(&s->w, '}');
        jw_end(&s->w, '}');
        jw_end(&s->w, '}');
        put_open(&s->w, S("then"), '{');
        put_open(&s->w, S("properties"), '{');
        jw_key(&s->w, S("configuration"));
        table_print(s, &ops->fields,
                    arena_printf(s->a, STR_FMT "/allOf/%zu/then/properties/configuration",
                                 STR_ARG(pointer), i),
                    ops->type, ops->is_built ? 0 : FIELD_NOT_BUILT);
        jw_end(&s->w, '}');
        jw_end(&s->w, '}');
        jw_end(&s->w, '}');
    }
    jw_end(&s->w, ']');
}

static bool refer(struct schema *s, const struct fields *f)
{
    for (size_t i = 0; i < s->n; i++) {
        if (s->printed[i].table->items == f->items) {
            jw_key(&s->w, S("$ref"));
            jw_str(&s->w, s->printed[i].pointer);
            return true;
        }
    }
    return false;
}

static void table_print(struct schema *s, const struct fields *f, str pointer, const char *help,
                        unsigned flags)
{
    jw_begin(&s->w, '{');
    annotate(s, help, flags);
    if (f->n && refer(s, f)) {
        jw_end(&s->w, '}');
        return;
    }
    if (f->n && s->n < TABLES_MAX)
        s->printed[s->n++] = (struct printed){ f, pointer };
    text_put(s, "type", "object");
    put_bool(&s->w, S("additionalProperties"), false);
    put_open(&s->w, S("properties"), '{');
    size_t n_required = 0;
    for (size_t i = 0; i < f->n; i++) {
        const struct field *one = &f->items[i];
        if (!field_is_key(one))
            continue;
        n_required += one->flags & FIELD_REQUIRED ? 1 : 0;
        jw_key(&s->w, str_of(one->key));
        field_print(s, one, arena_printf(s->a, STR_FMT "/properties/%s", STR_ARG(pointer), one->key));
    }
    jw_end(&s->w, '}');
    if (n_required) {
        put_open(&s->w, S("required"), '[');
        for (size_t i = 0; i < f->n; i++)
            if (field_is_key(&f->items[i]) && f->items[i].flags & FIELD_REQUIRED)
                jw_str(&s->w, str_of(f->items[i].key));
        jw_end(&s->w, ']');
    }
    if (f == &plugin_use_fields)
        plugin_types_print(s, pointer);
    jw_end(&s->w, '}');
}

void config_schema_json(struct buf *out)
{
    struct schema s = { .w = { .out = out }, .a = arena_new() };
    if (!s.a) {
        out->is_failed = true;
        return;
    }
    config_tables();
    jw_begin(&s.w, '{');
    text_put(&s, "$schema", "https://json-schema.org/draft/2020-12/schema");
    text_put(&s, "title", "signalbox configuration");
    text_put(&s, "description", "vLLM Semantic Router v0.3 configuration with signalbox's additions "
                                "(x-signalbox); x-not-built: known and checked, without effect yet");
    text_put(&s, "type", "object");
    jw_key(&s.w, S("anyOf"));                           /* a flat file from before v0.3 has neither */
    jw_raw(&s.w, S("[{\"required\":[\"routing\"]},{\"required\":[\"global\"]}]"));
    put_bool(&s.w, S("additionalProperties"), false);
    put_open(&s.w, S("properties"), '{');
    for (size_t i = 0; i < document_fields.n; i++) {
        const struct field *one = &document_fields.items[i];
        jw_key(&s.w, str_of(one->key));
        field_print(&s, one, arena_printf(s.a, "#/properties/%s", one->key));
    }
    jw_end(&s.w, '}');
    jw_end(&s.w, '}');
    buf_char(out, '\n');
    arena_free(s.a);
}
