/* base/field.c -- one loop that turns a map of a configuration into a struct.
 *
 * The table says which keys there are and where they go; this file walks the map once, reads
 * each value as its field's type says, and fills the rest with defaults. Whatever does not fit
 * becomes a finding with its place and dotted path, and decoding goes on, so that one run
 * reports everything. Paths are kept as a chain on the stack and spelled out only for findings. */
#include "base/field.h"

#include <math.h>
#include <stdlib.h>

#include "base/buf.h"

struct path {                           /* a chain of keys up to the root */
    const struct path *up;
    str key;                            /* empty: a list item */
    size_t index;
};

struct decoding {
    struct arena *a;
    struct findings *out;
    bool is_ok;                         /* no error-severity finding so far */
    bool is_unbuilt;                    /* below a key already reported as not built */
};

/* ---- findings ---- */

static str path_text(struct arena *a, const struct path *p)
{
    if (!p)
        return S("");
    str up = path_text(a, p->up);
    if (p->key.len == 0)
        return !p->up && p->index == SIZE_MAX ? up      /* the empty path of the root */
             : arena_printf(a, STR_FMT "[%zu]", STR_ARG(up), p->index);
    return up.len ? arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(up), STR_ARG(p->key)) : p->key;
}

static void report(struct decoding *d, const char *name, enum severity severity, struct place at,
                   const struct path *path, str hint, const char *format, ...)
    __attribute__((format(printf, 7, 8)));

static void report(struct decoding *d, const char *name, enum severity severity, struct place at,
                   const struct path *path, str hint, const char *format, ...)
{
    if (severity == SEVERITY_ERROR)
        d->is_ok = false;
    if (!d->out)
        return;
    va_list args;
    va_start(args, format);
    str text = arena_vprintf(d->a, format, args);
    va_end(args);
    finding_add(d->out, name, severity, at, path_text(d->a, path), hint, STR_FMT, STR_ARG(text));
}

/* ---- scalars ---- */

bool duration_parse(str text, uint64_t *ns)
{
    static const struct { const char *unit; double ns; } units[] = {
        { "ns", 1 }, { "us", 1e3 }, { "\xc2\xb5s", 1e3 }, { "\xce\xbcs", 1e3 }, { "ms", 1e6 },
        { "s", 1e9 }, { "m", 60e9 }, { "h", 3600e9 },
    };
    const double ns_max = 9.2e18;                       /* int64, as in Go: 292 years */
    double total = 0, bare;
    if (str_double(text, &bare)) {                      /* seconds */
        if (bare < 0 || bare * 1e9 > ns_max)
            return false;
        *ns = (uint64_t)(bare * 1e9 + 0.5);
        return true;
    }
    if (text.len == 0)
        return false;
    if (text.ptr[0] == '+')
        text = str_from(text, 1);
    while (text.len) {
        size_t n = 0, u = 0;
        while (n < text.len && ((text.ptr[n] >= '0' && text.ptr[n] <= '9') || text.ptr[n] == '.'))
            n++;
        double number;
        if (!str_double(str_upto(text, n), &number))
            return false;
        text = str_from(text, n);
        while (u < text.len && !((text.ptr[u] >= '0' && text.ptr[u] <= '9') || text.ptr[u] == '.'))
            u++;
        size_t i = 0;
        while (i < COUNT_OF(units) && !str_eq(str_upto(text, u), str_of(units[i].unit)))
            i++;
        if (i == COUNT_OF(units))
            return false;
        total += number * units[i].ns;
        text = str_from(text, u);
    }
    if (total > ns_max)
        return false;
    *ns = (uint64_t)(total + 0.5);
    return true;
}

/* Splits "1.5M" into 1.5 and "M"; false when there is no number in front. */
static bool number_and_suffix(str text, double *number, str *suffix)
{
    size_t n = 0;
    while (n < text.len && ((text.ptr[n] >= '0' && text.ptr[n] <= '9') || text.ptr[n] == '.'))
        n++;
    *suffix = str_trim(str_from(text, n));
    return str_double(str_upto(text, n), number);
}

bool count_parse(str text, double *out)
{
    double number;
    str suffix;
    text = str_trim(text);
    if (!number_and_suffix(text, &number, &suffix))
        return false;
    double times = suffix.len == 0 ? 1 : str_ieq(suffix, S("k")) ? 1e3
                 : str_ieq(suffix, S("m")) ? 1e6 : 0;
    *out = number * times;
    return times != 0;                                  /* an int64 of tokens is enough for all */
}

bool bytes_parse(str text, uint64_t *out)
{
    static const struct { const char *unit; double bytes; } units[] = {
        { "", 1 }, { "b", 1 }, { "k", 1e3 }, { "kb", 1e3 }, { "m", 1e6 }, { "mb", 1e6 },
        { "g", 1e9 }, { "gb", 1e9 }, { "t", 1e12 }, { "tb", 1e12 },
        { "ki", 1024 }, { "kib", 1024 }, { "mi", 1048576 }, { "mib", 1048576 },
        { "gi", 1073741824 }, { "gib", 1073741824 }, { "ti", 0x1p40 }, { "tib", 0x1p40 },
    };
    double number;
    str suffix;
    if (!number_and_suffix(str_trim(text), &number, &suffix))
        return false;
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        if (str_ieq(suffix, str_of(units[i].unit)) && number * units[i].bytes < 0x1p62) {
            *out = (uint64_t)(number * units[i].bytes + 0.5);
            return true;
        }
    }
    return false;
}

static bool bool_parse(str s, bool *out)
{
    static const struct { const char *text; bool is; } words[] = {
        { "true", true }, { "false", false }, { "yes", true }, { "no", false }, { "on", true },
        { "off", false }, { "y", true }, { "n", false },
    };
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (str_ieq(s, str_of(words[i].text))) {
            *out = words[i].is;
            return true;
        }
    }
    return false;
}

/* YAML 1.1 numbers: underscores between digits, 0x and 0o; decimals with an exponent. */
static bool number_parse(str s, double *out)
{
    char clean[64];
    size_t n = 0;
    if (s.len >= sizeof clean)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] != '_' || i == 0)
            clean[n++] = s.ptr[i];
    clean[n] = 0;
    if (n > 2 && clean[0] == '0' && strchr("xXoO", clean[1])) {
        char *end;
        unsigned long long v = strtoull(clean + 2, &end, (clean[1] | 32) == 'x' ? 16 : 8);
        *out = (double)v;
        return *end == 0 && clean[2] != '-' && clean[2] != '+' && clean[2] != ' ';
    }
    return str_double((str){ clean, n }, out);
}

static bool int_parse(str s, int64_t *out)
{
    double v;
    if (str_int(s, out))
        return true;
    if (!number_parse(s, &v) || v != floor(v) || fabs(v) > 0x1p62)
        return false;
    *out = (int64_t)v;
    return true;
}

enum outcome { READ_OK, READ_WRONG_TYPE, READ_OUT_OF_RANGE, READ_BAD_VALUE };

static const char *type_phrase(enum field_type type)
{
    static const char *const phrases[] = {
        [FIELD_STR] = "a text", [FIELD_BOOL] = "true or false", [FIELD_INT] = "a whole number",
        [FIELD_FLOAT] = "a number", [FIELD_DURATION] = "a duration like 300ms, 30s or 1m30s",
        [FIELD_BYTES] = "a size like 64MiB", [FIELD_COUNT] = "a count like 800, 32K or 1.5M",
        [FIELD_SECRET] = "a text", [FIELD_ENUM] = "a word", [FIELD_STRINGS] = "a list of texts",
        [FIELD_STRING_MAP] = "a map of texts", [FIELD_STRUCT] = "a map",
        [FIELD_LIST] = "a list of maps", [FIELD_MAP] = "a map of maps", [FIELD_VALUE] = "anything",
    };
    return phrases[type];
}

static str bound_text(struct arena *a, const struct field *f)
{
    if (isinf(f->max))
        return arena_printf(a, "at least %g", f->min);
    if (isinf(f->min))
        return arena_printf(a, "at most %g", f->max);
    return arena_printf(a, "from %g to %g", f->min, f->max);
}

static bool is_bounded(const struct field *f)
{
    return f->min != 0 || f->max != 0;
}

static enum outcome number_check(struct arena *a, const struct field *f, double v, str *why)
{
    if (!is_bounded(f) || (v >= f->min && v <= f->max))
        return READ_OK;
    *why = arena_printf(a, "must be %.*s, not %.10g", STR_ARG(bound_text(a, f)), v);
    return READ_OUT_OF_RANGE;
}

static str enum_names(struct arena *a, const struct field *f)
{
    struct buf b = { 0 };
    for (size_t i = 0; f->names && f->names[i]; i++)
        buf_printf(&b, "%s%s", i ? ", " : "", f->names[i][0] ? f->names[i] : "\"\"");
    str s = arena_str(a, buf_view(&b));
    buf_free(&b);
    return s;
}

static const char *enum_nearest(const struct field *f, str s)
{
    const char *best = NULL;
    unsigned least = s.len < 6 ? 3 : 4;                 /* below: near enough */
    for (size_t i = 0; f->names && f->names[i]; i++) {
        unsigned n = str_distance(s, str_of(f->names[i]), 3);
        if (f->names[i][0] && n < least) {
            least = n;
            best = f->names[i];
        }
    }
    return best;
}

static enum outcome enum_read(struct arena *a, const struct field *f, str s, str *why, str *hint)
{
    for (size_t i = 0; f->names && f->names[i]; i++)
        if (str_eq(s, str_of(f->names[i])))
            return READ_OK;
    const char *near = enum_nearest(f, s);
    *why = arena_printf(a, "`" STR_FMT "` is not one of " STR_FMT, STR_ARG(s),
                        STR_ARG(enum_names(a, f)));
    if (near)
        *hint = arena_printf(a, "did you mean `%s`?", near);
    return READ_BAD_VALUE;
}

/* Reads one scalar; nothing but *dst is touched. *why is a clause for behind the key's name. */
static enum outcome scalar_read(struct arena *a, const struct field *f, const struct value *v,
                                void *dst, str *why, str *hint)
{
    str s = v->text;
    int64_t whole;
    double number;
    enum outcome rc = READ_OK;
    bool is_textual = f->type == FIELD_STR || f->type == FIELD_SECRET || f->type == FIELD_ENUM;
    if (v->kind != VALUE_SCALAR)
        goto wrong;
    if (is_textual) {
        if (f->type == FIELD_ENUM)
            rc = enum_read(a, f, s, why, hint);
        *(str *)dst = s;
        return rc;
    }
    switch (f->type) {
    case FIELD_BOOL:
        if (v->is_quoted || !bool_parse(s, dst))
            goto wrong;
        return READ_OK;
    case FIELD_INT:
        if (v->is_quoted || !int_parse(s, &whole))
            goto wrong;
        *(int64_t *)dst = whole;
        return number_check(a, f, (double)whole, why);
    case FIELD_FLOAT:
        if (v->is_quoted || !number_parse(s, &number))
            goto wrong;
        *(double *)dst = number;
        return number_check(a, f, number, why);
    case FIELD_DURATION:
        if (!duration_parse(s, dst))
            goto wrong;
        return number_check(a, f, (double)*(uint64_t *)dst / 1e9, why);
    case FIELD_BYTES:
        if (!bytes_parse(s, dst))
            goto wrong;
        return number_check(a, f, (double)*(uint64_t *)dst, why);
    case FIELD_COUNT:
        if (!count_parse(s, &number))
            goto wrong;
        *(double *)dst = number;
        return number_check(a, f, number, why);
    default:
        goto wrong;
    }
wrong:
    if (v->kind == VALUE_SCALAR && v->is_quoted) {
        *why = arena_printf(a, "must be %s, not the text \"" STR_FMT "\"", type_phrase(f->type),
                            STR_ARG(str_upto(s, 60)));
        *hint = S("remove the quotes");
    } else if (v->kind == VALUE_SCALAR) {
        *why = arena_printf(a, "must be %s, not `" STR_FMT "`", type_phrase(f->type),
                            STR_ARG(str_upto(s, 60)));
    } else {
        *why = arena_printf(a, "must be %s, not %s", type_phrase(f->type), value_kind_name(v));
    }
    return READ_WRONG_TYPE;
}

static size_t scalar_size(enum field_type type)
{
    switch (type) {
    case FIELD_STR: case FIELD_SECRET: case FIELD_ENUM:
        return sizeof(str);
    case FIELD_BOOL:
        return sizeof(bool);
    default:
        return 8;                       /* int64_t, double, uint64_t */
    }
}

static bool is_scalar_type(enum field_type type)
{
    return type <= FIELD_ENUM;
}

/* ---- maps ---- */

static void decode_map(struct decoding *d, const struct fields *f, const struct value *v,
                       const struct path *path, void *dst, const char *const *elsewhere);
static void decode_value(struct decoding *d, const struct field *f, const struct value *v,
                         const struct path *path, void *dst);

/* Where a field lies in dst; NULL when it is kept nowhere. */
static void *slot_of(const struct field *f, void *dst)
{
    return !dst || f->offset == FIELD_NO_STORE ? NULL : (char *)dst + f->offset;
}

static void wrong_type(struct decoding *d, const struct field *f, const struct value *v,
                       const struct path *path)
{
    report(d, "wrong-type", SEVERITY_ERROR, v->at, path, S(""), "`%s` must be %s, not %s", f->key,
           type_phrase(f->type), v->kind == VALUE_SCALAR ? "a single value" : value_kind_name(v));
}

static void decode_scalar(struct decoding *d, const struct field *f, const struct value *v,
                          const struct path *path, void *slot)
{
    static const char *const names[] = { "", "wrong-type", "out-of-range", "bad-value" };
    union { str s; uint64_t n; double f; bool b; } scratch = { 0 };
    str why = S(""), hint = S("");
    enum outcome rc = scalar_read(d->a, f, v, &scratch, &why, &hint);
    bool is_kept = rc == READ_OK || (rc == READ_BAD_VALUE && f->flags & FIELD_OPEN);
    if (is_kept && slot)
        memcpy(slot, &scratch, scalar_size(f->type));
    if (rc != READ_OK)
        report(d, names[rc], is_kept ? SEVERITY_WARNING : SEVERITY_ERROR, v->at, path, hint,
               "`%s` " STR_FMT, f->key, STR_ARG(why));
}

static void decode_strings(struct decoding *d, const struct field *f, const struct value *v,
                           const struct path *path, void *slot)
{
    if (v->kind != VALUE_LIST) {
        wrong_type(d, f, v, path);
        return;
    }
    struct strings list = { ARENA_ARRAY(d->a, str, v->n_items), 0 };
    for (size_t i = 0; i < v->n_items; i++) {
        const struct value *item = v->items[i];
        struct path at = { path, S(""), i };
        if (item->kind != VALUE_SCALAR) {
            report(d, "wrong-type", SEVERITY_ERROR, item->at, &at, S(""),
                   "`%s` is a list of texts; this item is %s", f->key, value_kind_name(item));
            continue;
        }
        str why = S(""), hint = S("");
        if (f->names && enum_read(d->a, f, item->text, &why, &hint) != READ_OK)
            report(d, "bad-value", f->flags & FIELD_OPEN ? SEVERITY_WARNING : SEVERITY_ERROR,
                   item->at, &at, hint, "`%s`: " STR_FMT, f->key, STR_ARG(why));
        list.items[list.n++] = item->text;
    }
    if (slot)
        memcpy(slot, &list, sizeof list);
}

static void decode_string_map(struct decoding *d, const struct field *f, const struct value *v,
                              const struct path *path, void *slot)
{
    if (v->kind != VALUE_MAP) {
        wrong_type(d, f, v, path);
        return;
    }
    struct string_pairs map = { arena_alloc(d->a, sizeof(str[2]) * (v->n_pairs + 1)), 0 };
    for (size_t i = 0; i < v->n_pairs; i++) {
        const struct value *one = v->pairs[i].value;
        struct path at = { path, v->pairs[i].key, 0 };
        if (one->kind == VALUE_LIST || one->kind == VALUE_MAP) {
            report(d, "wrong-type", SEVERITY_ERROR, one->at, &at, S(""),
                   "`%s` is a map of texts; `" STR_FMT "` is %s", f->key,
                   STR_ARG(v->pairs[i].key), value_kind_name(one));
            continue;
        }
        map.items[map.n][0] = v->pairs[i].key;
        map.items[map.n++][1] = one->text;
    }
    if (slot)
        memcpy(slot, &map, sizeof map);
}

static void decode_list(struct decoding *d, const struct field *f, const struct value *v,
                        const struct path *path, void *slot)
{
    if (v->kind != VALUE_LIST) {
        wrong_type(d, f, v, path);
        return;
    }
    size_t size = f->sub->struct_size;
    struct list list = { slot ? arena_alloc(d->a, size * (v->n_items + 1)) : NULL, v->n_items };
    for (size_t i = 0; i < v->n_items; i++) {
        struct path at = { path, S(""), i };
        decode_map(d, f->sub, v->items[i], &at, slot ? (char *)list.items + i * size : NULL, NULL);
    }
    if (slot)
        memcpy(slot, &list, sizeof list);
}

static void put_name(const struct fields *f, void *dst, str name)
{
    const struct field *at = field_find(f, S(FIELD_KEY_NAME));
    if (dst && at)
        memcpy(slot_of(at, dst), &name, sizeof name);
}

static void decode_named(struct decoding *d, const struct field *f, const struct value *v,
                         const struct path *path, void *slot)
{
    if (v->kind != VALUE_MAP) {
        wrong_type(d, f, v, path);
        return;
    }
    size_t size = f->sub->struct_size;
    struct named_list list = { ARENA_ARRAY(d->a, str, v->n_pairs),
                               slot ? arena_alloc(d->a, size * (v->n_pairs + 1)) : NULL,
                               v->n_pairs };
    for (size_t i = 0; i < v->n_pairs; i++) {
        struct path at = { path, v->pairs[i].key, 0 };
        void *item = slot ? (char *)list.items + i * size : NULL;
        list.names[i] = v->pairs[i].key;
        decode_map(d, f->sub, v->pairs[i].value, &at, item, NULL);
        put_name(f->sub, item, v->pairs[i].key);
    }
    if (slot)
        memcpy(slot, &list, sizeof list);
}

static void decode_value(struct decoding *d, const struct field *f, const struct value *v,
                         const struct path *path, void *dst)
{
    void *slot = slot_of(f, dst);
    switch (f->type) {
    case FIELD_STRINGS:
        decode_strings(d, f, v, path, slot);
        break;
    case FIELD_STRING_MAP:
        decode_string_map(d, f, v, path, slot);
        break;
    case FIELD_STRUCT:
        decode_map(d, f->sub, v, path, slot, NULL);
        break;
    case FIELD_LIST:
        decode_list(d, f, v, path, slot);
        break;
    case FIELD_MAP:
        decode_named(d, f, v, path, slot);
        break;
    case FIELD_VALUE:
        if (slot)
            memcpy(slot, &v, sizeof v);
        break;
    default:
        decode_scalar(d, f, v, path, slot);
        break;
    }
}

static void put_default(struct decoding *d, const struct field *f, void *dst)
{
    void *slot = slot_of(f, dst);
    if (!slot)
        return;
    if (f->type == FIELD_STRUCT) {
        decode_map(d, f->sub, NULL, NULL, slot, NULL);
    } else if (f->default_text && f->type == FIELD_FLOAT &&
               (!strcmp(f->default_text, "nan") || !strcmp(f->default_text, ".nan"))) {
        *(double *)slot = (double)NAN;                  /* "not given" */
    } else if (f->default_text && is_scalar_type(f->type)) {
        struct value v = { .kind = VALUE_SCALAR, .text = str_of(f->default_text) };
        decode_scalar(d, f, &v, NULL, slot);
    } else if (f->default_text) {
        struct err e = { 0 };
        struct value *v = yaml_parse(d->a, str_of(f->default_text), "default", &e);
        if (v)
            decode_value(d, f, v, NULL, dst);
    }
}

static bool is_elsewhere(const char *const *elsewhere, str key)
{
    for (size_t i = 0; elsewhere && elsewhere[i]; i++)
        if (str_eq(key, str_of(elsewhere[i])))
            return true;
    return false;
}

/* A section that says `enabled: false` is not missed. */
static bool is_switched_off(const struct value *v)
{
    const struct value *enabled = value_get(v, S("enabled"));
    bool is_on;
    return enabled && enabled->kind == VALUE_SCALAR && bool_parse(enabled->text, &is_on) && !is_on;
}

static void decode_pair(struct decoding *d, const struct fields *f, const struct field *one,
                        const struct value *map, const struct value_pair *pair,
                        const struct path *path, void *dst)
{
    if (one->flags & FIELD_DEPRECATED) {
        const struct field *now = one->names ? field_find(f, str_of(one->names[0])) : NULL;
        report(d, "deprecated-key", SEVERITY_WARNING, pair->key_at, path,
               now ? arena_printf(d->a, "write `%s`", now->key) : S("remove it"),
               "`%s` is an old name", one->key);
        if (!now || value_get(map, str_of(now->key)))
            return;                                     /* the new name wins */
        one = now;
    }
    bool is_unbuilt = d->is_unbuilt;
    if (one->flags & FIELD_NOT_BUILT && !is_unbuilt && pair->value->kind != VALUE_NULL) {
        d->is_unbuilt = true;
        if (!is_switched_off(pair->value))
            report(d, "not-built", one->flags & FIELD_GUARD ? SEVERITY_WARNING : SEVERITY_INFO,
                   pair->key_at, path, S(""),
                   "`%s` is known and checked, but not built yet: it has no effect", one->key);
    }
    if (pair->value->kind == VALUE_NULL)
        put_default(d, one, dst);
    else
        decode_value(d, one, pair->value, path, dst);
    d->is_unbuilt = is_unbuilt;
}

static void put_markers(const struct fields *f, const struct value *v, uint64_t set, void *dst)
{
    for (size_t i = 0; dst && i < f->n; i++) {
        const struct field *one = &f->items[i];
        void *slot = slot_of(one, dst);
        if (!slot || field_is_key(one))
            continue;
        if (!strcmp(one->key, FIELD_KEY_PLACE) && v)
            memcpy(slot, &v->at, sizeof v->at);
        else if (!strcmp(one->key, FIELD_KEY_SET))
            memcpy(slot, &set, sizeof set);
        else if (!strcmp(one->key, FIELD_KEY_SELF) && v)
            memcpy(slot, &v, sizeof v);
    }
}

static void unknown_key(struct decoding *d, const struct fields *f, const struct value_pair *pair,
                        const struct path *path)
{
    const char *near = field_nearest(f, pair->key);
    report(d, "unknown-key", SEVERITY_WARNING, pair->key_at, path,
           near ? arena_printf(d->a, "did you mean `%s`?", near) : S(""),
           "`" STR_FMT "` is not a known key here and has no effect", STR_ARG(pair->key));
}

static void decode_map(struct decoding *d, const struct fields *f, const struct value *v,
                       const struct path *path, void *dst, const char *const *elsewhere)
{
    uint64_t set = 0;
    bool is_map = v && v->kind == VALUE_MAP;
    if (v && !is_map && v->kind != VALUE_NULL)
        report(d, "wrong-type", SEVERITY_ERROR, v->at, path, S(""), "expected a map, not %s",
               v->kind == VALUE_SCALAR ? "a single value" : value_kind_name(v));
    for (size_t i = 0; is_map && i < v->n_pairs; i++) {
        const struct value_pair *pair = &v->pairs[i];
        struct path at = { path, pair->key, 0 };
        const struct field *one = field_find(f, pair->key);
        if (one && field_is_key(one)) {
            size_t bit = (size_t)(one - f->items);
            if (bit < 64)
                set |= 1ull << bit;
            decode_pair(d, f, one, v, pair, &at, dst);
        } else if (!is_elsewhere(elsewhere, pair->key)) {
            unknown_key(d, f, pair, &at);
        }
    }
    for (size_t i = 0; i < f->n; i++) {
        const struct field *one = &f->items[i];
        if (!field_is_key(one) || one->flags & FIELD_DEPRECATED)
            continue;
        const struct value *given = is_map ? value_get(v, str_of(one->key)) : NULL;
        if (!given && is_map && one->flags & FIELD_REQUIRED) {
            struct path at = { path, str_of(one->key), 0 };
            report(d, "missing-key", SEVERITY_ERROR, v->at, &at, str_of(one->help),
                   "`%s` is missing", one->key);
        }
        bool is_renamed = false;                        /* given under an old name: already read */
        for (size_t k = 0; !given && is_map && k < f->n; k++)
            is_renamed = is_renamed ||
                (f->items[k].flags & FIELD_DEPRECATED && f->items[k].names &&
                 !strcmp(f->items[k].names[0], one->key) && value_get(v, str_of(f->items[k].key)));
        if (!given && !is_renamed)
            put_default(d, one, dst);
    }
    put_markers(f, v, set, dst);
}

/* ---- what others call ---- */

const struct field *field_find(const struct fields *f, str key)
{
    for (size_t i = 0; f && i < f->n; i++)
        if (str_eq(key, str_of(f->items[i].key)))
            return &f->items[i];
    return NULL;
}

const void *field_get(const struct fields *f, const void *decoded, const char *key,
                      enum field_type type)
{
    const struct field *one = field_find(f, str_of(key));
    if (!one || one->type != type || one->offset == FIELD_NO_STORE || !decoded)
        return NULL;
    return (const char *)decoded + one->offset;
}

const char *field_nearest(const struct fields *f, str key)
{
    const char *best = NULL;
    unsigned least = key.len <= 3 ? 2 : 4;              /* below: near enough */
    for (size_t i = 0; i < f->n; i++) {
        const struct field *one = &f->items[i];
        unsigned n = str_distance(key, str_of(one->key), 3);
        if (field_is_key(one) && !(one->flags & FIELD_DEPRECATED) && n < least && n < key.len) {
            least = n;
            best = one->key;
        }
    }
    return best;
}

bool field_decode_except(struct arena *a, const struct fields *f, const struct value *v, str path,
                         void *dst, struct findings *out, const char *const *elsewhere)
{
    struct decoding d = { .a = a, .out = out, .is_ok = true };
    struct path root = { NULL, path, SIZE_MAX };
    if (dst)
        memset(dst, 0, f->struct_size);
    decode_map(&d, f, v, &root, dst, elsewhere);
    return d.is_ok;
}

bool field_decode(struct arena *a, const struct fields *f, const struct value *v, str path,
                  void *dst, struct findings *out)
{
    return field_decode_except(a, f, v, path, dst, out, NULL);
}

bool field_parse(struct arena *a, const struct field *f, const struct value *v, void *dst,
                 struct err *e)
{
    if (is_scalar_type(f->type)) {
        str why = S(""), hint = S("");
        enum outcome rc = scalar_read(a, f, v, dst, &why, &hint);
        if (rc == READ_OK || (rc == READ_BAD_VALUE && f->flags & FIELD_OPEN))
            return true;
        err_at(e, v->at, "`%s` " STR_FMT, f->key, STR_ARG(why));
        return false;
    }
    struct field here = *f;                             /* dst is the slot itself */
    struct findings found = { .a = a };
    struct decoding d = { .a = a, .out = &found, .is_ok = true };
    here.offset = 0;
    decode_value(&d, &here, v, NULL, dst);
    for (size_t i = 0; i < found.n && !d.is_ok; i++)
        if (found.items[i].severity == SEVERITY_ERROR)
            err_at(e, found.items[i].at, STR_FMT, STR_ARG(found.items[i].text));
    return d.is_ok;
}
