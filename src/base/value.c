/* base/value.c -- the tree behind configurations: looking into it, changing it, printing it.
 *
 * Lists and maps keep file order. Looking up is linear: maps of configurations are short, and
 * each is searched once or twice in its life. Printing decides by shape alone when a scalar
 * needs quotes, so whatever is printed reads back as the same tree. */
#include "base/value.h"

#include "base/buf.h"
#include "base/json.h"

struct value *value_get(const struct value *map, str key)
{
    if (!map || map->kind != VALUE_MAP)
        return NULL;
    for (size_t i = 0; i < map->n_pairs; i++)
        if (str_eq(map->pairs[i].key, key))
            return map->pairs[i].value;
    return NULL;
}

struct value *value_path(const struct value *root, const char *dotted)
{
    str rest = str_of(dotted);
    struct value *v = NULL;
    while (rest.len) {
        v = value_get(v ? v : root, str_cut(&rest, '.'));
        if (!v)
            return NULL;
    }
    return v;
}

const char *value_kind_name(const struct value *v)
{
    static const char *const names[] = { "nothing", "a scalar", "a list", "a map" };
    return v ? names[v->kind] : "nothing";
}

void value_set(struct arena *a, struct value *map, str key, struct value *v)
{
    for (size_t i = 0; i < map->n_pairs; i++) {
        if (str_eq(map->pairs[i].key, key)) {
            map->pairs[i].value = v;
            return;
        }
    }
    *PUSH(a, map->pairs, map->n_pairs) = (struct value_pair){ arena_str(a, key), v->at, v };
}

struct value *value_scalar(struct arena *a, str text)
{
    struct value *v = ARENA_NEW(a, struct value);
    v->kind = VALUE_SCALAR;
    v->text = arena_str(a, text);
    return v;
}

struct value *value_map(struct arena *a)
{
    struct value *v = ARENA_NEW(a, struct value);
    v->kind = VALUE_MAP;
    return v;
}

struct value *value_list(struct arena *a)
{
    struct value *v = ARENA_NEW(a, struct value);
    v->kind = VALUE_LIST;
    return v;
}

void value_append(struct arena *a, struct value *list, struct value *v)
{
    *PUSH(a, list->items, list->n_items) = v;
}

/* ---- what a plain scalar means in the YAML core schema ---- */

enum plain { PLAIN_TEXT, PLAIN_NULL, PLAIN_TRUE, PLAIN_FALSE, PLAIN_NUMBER };

static bool is_number(str s)
{
    double ignored;
    if (s.len && (s.ptr[0] == '+' || s.ptr[0] == '-'))
        s = str_from(s, 1);
    if (s.len == 0 || !((s.ptr[0] >= '0' && s.ptr[0] <= '9') || s.ptr[0] == '.'))
        return false;
    return str_double(s, &ignored);
}

static enum plain plain_meaning(str s)
{
    static const struct { const char *text; enum plain is; } words[] = {
        { "", PLAIN_NULL }, { "~", PLAIN_NULL }, { "null", PLAIN_NULL }, { "Null", PLAIN_NULL },
        { "NULL", PLAIN_NULL }, { "true", PLAIN_TRUE }, { "True", PLAIN_TRUE },
        { "TRUE", PLAIN_TRUE }, { "false", PLAIN_FALSE }, { "False", PLAIN_FALSE },
        { "FALSE", PLAIN_FALSE },
    };
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (str_eq(s, str_of(words[i].text)))
            return words[i].is;
    return is_number(s) ? PLAIN_NUMBER : PLAIN_TEXT;
}

/* RFC 8259 section 6; YAML also allows +1, .5, 1. and 007. */
static bool is_json_number(str s)
{
    size_t i = s.len && s.ptr[0] == '-';
    size_t digits = i;
    while (i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '9')
        i++;
    if (i == digits || (s.ptr[digits] == '0' && i > digits + 1))
        return false;
    if (i < s.len && s.ptr[i] == '.') {
        digits = ++i;
        while (i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '9')
            i++;
        if (i == digits)
            return false;
    }
    if (i < s.len && (s.ptr[i] == 'e' || s.ptr[i] == 'E')) {
        i++;
        if (i < s.len && (s.ptr[i] == '+' || s.ptr[i] == '-'))
            i++;
        digits = i;
        while (i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '9')
            i++;
        if (i == digits)
            return false;
    }
    return i == s.len;
}

/* ---- JSON ---- */

static void json_scalar(struct json_writer *w, const struct value *v)
{
    double number;
    switch (v->is_quoted ? PLAIN_TEXT : plain_meaning(v->text)) {
    case PLAIN_NULL:
        jw_null(w);
        return;
    case PLAIN_TRUE:
    case PLAIN_FALSE:
        jw_bool(w, v->text.ptr[0] == 't' || v->text.ptr[0] == 'T');
        return;
    case PLAIN_NUMBER:
        if (is_json_number(v->text)) {
            jw_raw(w, v->text);
            return;
        }
        if (str_double(v->text, &number)) {
            jw_double(w, number);
            return;
        }
        break;
    case PLAIN_TEXT:
        break;
    }
    jw_str(w, v->text);
}

static void json_value(struct json_writer *w, const struct value *v)
{
    switch (v->kind) {
    case VALUE_NULL:
        jw_null(w);
        break;
    case VALUE_SCALAR:
        json_scalar(w, v);
        break;
    case VALUE_LIST:
        jw_begin(w, '[');
        for (size_t i = 0; i < v->n_items; i++)
            json_value(w, v->items[i]);
        jw_end(w, ']');
        break;
    case VALUE_MAP:
        jw_begin(w, '{');
        for (size_t i = 0; i < v->n_pairs; i++) {
            jw_key(w, v->pairs[i].key);
            json_value(w, v->pairs[i].value);
        }
        jw_end(w, '}');
        break;
    }
}

void value_to_json(const struct value *v, struct buf *out)
{
    struct json_writer w = { .out = out };
    json_value(&w, v);
}

/* ---- YAML ---- */

/* True when the text may stand without quotes and comes back as itself: one line of printable
 * ASCII that no YAML indicator could split or start. */
static bool is_plain_safe(str s)
{
    if (s.len == 0 || s.ptr[0] == ' ' || s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == ':')
        return false;
    if (strchr(",[]{}#&*!|>'\"%@`=~?:<", s.ptr[0]))
        return false;
    if (s.ptr[0] == '-' && (s.len == 1 || s.ptr[1] == ' ' || s.ptr[1] == '-'))
        return false;
    if (str_starts(s, S("...")))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c < 0x20 || c >= 0x7f)
            return false;
        if (c == ':' && i + 1 < s.len && s.ptr[i + 1] == ' ')
            return false;
        if (c == '#' && i && s.ptr[i - 1] == ' ')
            return false;
    }
    return true;
}

/* Would a YAML 1.1 reader take this plain word for something other than text? */
static bool is_special_word(str s)
{
    static const char *const words[] = { "yes", "no", "on", "off", "y", "n", "true", "false",
                                         "null", "~", ".nan", ".inf", "-.inf", "+.inf" };
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (str_ieq(s, str_of(words[i])))
            return true;
    return s.len && strchr("0123456789+-.", s.ptr[0]);
}

static void yaml_quote(struct buf *out, str s)
{
    buf_char(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        unsigned char next = i + 1 < s.len ? (unsigned char)s.ptr[i + 1] : 0;
        unsigned char third = i + 2 < s.len ? (unsigned char)s.ptr[i + 2] : 0;
        if (c == '"' || c == '\\') {
            buf_char(out, '\\');
            buf_char(out, (char)c);
        } else if (c == '\n') {
            buf_str(out, S("\\n"));
        } else if (c == '\t') {
            buf_str(out, S("\\t"));
        } else if (c < 0x20 || c == 0x7f) {
            buf_printf(out, "\\x%02X", c);
        } else if (c == 0xc2 && next >= 0x80 && next < 0xa0) {  /* C1 controls */
            buf_printf(out, "\\x%02X", next);
            i++;
        } else if (c == 0xe2 && next == 0x80 && (third == 0xa8 || third == 0xa9)) {
            buf_printf(out, "\\u20%02X", third - 0x80);         /* line, paragraph separator */
            i += 2;
        } else if (c == 0xef && ((next == 0xbb && third == 0xbf) ||
                                 (next == 0xbf && third >= 0xbe))) {
            buf_str(out, next == 0xbb ? S("\\uFEFF") : third == 0xbe ? S("\\uFFFE") : S("\\uFFFF"));
            i += 2;
        } else {
            buf_char(out, (char)c);
        }
    }
    buf_char(out, '"');
}

static void yaml_text(struct buf *out, str s, bool is_quoted)
{
    if (is_plain_safe(s) && !(is_quoted && is_special_word(s)))
        buf_str(out, s);
    else
        yaml_quote(out, s);
}

static void yaml_indent(struct buf *out, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        buf_char(out, ' ');
}

static bool is_inline(const struct value *v)
{
    return v->kind == VALUE_NULL || v->kind == VALUE_SCALAR ||
           (v->kind == VALUE_LIST && v->n_items == 0) || (v->kind == VALUE_MAP && v->n_pairs == 0);
}

static void yaml_inline(struct buf *out, const struct value *v)
{
    if (v->kind == VALUE_SCALAR)
        yaml_text(out, v->text, v->is_quoted);
    else
        buf_str(out, v->kind == VALUE_NULL ? S("null") : v->kind == VALUE_LIST ? S("[]") : S("{}"));
}

/* `is_started`: the cursor already stands at column `indent` (behind "- "). */
static void yaml_block(struct buf *out, const struct value *v, unsigned indent, bool is_started)
{
    for (size_t i = 0; v->kind == VALUE_MAP && i < v->n_pairs; i++) {
        const struct value *one = v->pairs[i].value;
        if (!is_started)
            yaml_indent(out, indent);
        is_started = false;
        yaml_text(out, v->pairs[i].key, true);
        if (is_inline(one)) {
            buf_str(out, S(": "));
            yaml_inline(out, one);
            buf_char(out, '\n');
        } else {
            buf_str(out, S(":\n"));
            yaml_block(out, one, indent + 2, false);
        }
    }
    for (size_t i = 0; v->kind == VALUE_LIST && i < v->n_items; i++) {
        const struct value *one = v->items[i];
        if (!is_started)
            yaml_indent(out, indent);
        is_started = false;
        buf_str(out, S("- "));
        if (is_inline(one)) {
            yaml_inline(out, one);
            buf_char(out, '\n');
        } else {
            yaml_block(out, one, indent + 2, true);
        }
    }
}

void value_to_yaml(const struct value *v, struct buf *out, unsigned indent)
{
    if (is_inline(v)) {
        yaml_indent(out, indent);
        yaml_inline(out, v);
        buf_char(out, '\n');
    } else {
        yaml_block(out, v, indent, false);
    }
}
