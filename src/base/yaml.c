/* base/yaml.c -- from YAML (or JSON) text to a value tree with places.
 *
 * libyaml does the grammar and hands out events; this file turns them into nodes. Scalars stay
 * text. An alias copies the anchored node, so later changes to one use never leak into another;
 * the copy counts against the same bound of nodes as everything else, which is what disarms
 * alias bombs. Keys must be scalars and unique; `<<` merges, explicit keys win. */
#include "base/value.h"

#include <stdlib.h>
#include <yaml.h>

#include "base/hex.h"
#include "base/map.h"

enum {
    NODES_MAX = 1000 * 1000,        /* ~100 MB of nodes; no honest configuration comes near */
    DEPTH_MAX = 128,                /* bounds the C stack of every recursive reader */
    KEY_BYTES_MAX = 200,            /* escaped it still fits the 1024 characters that YAML gives a simple key */
    LINEAR_MAX = 16,                /* maps larger than this look for duplicates by hash */
};

struct reader {
    struct arena *a;
    const char *file;
    struct err *e;
    yaml_parser_t parser;
    struct map anchors;             /* name -> struct value * */
    size_t n_nodes;
};

static struct place place_of(const struct reader *r, yaml_mark_t mark)
{
    return (struct place){ r->file, (uint32_t)mark.line + 1, (uint32_t)mark.column + 1 };
}

/* Fetches the next event; the caller deletes it. False with *r->e on a syntax error. */
static bool event_next(struct reader *r, yaml_event_t *event)
{
    if (yaml_parser_parse(&r->parser, event))
        return true;
    const yaml_parser_t *p = &r->parser;
    struct place at = place_of(r, p->error == YAML_READER_ERROR ? p->mark : p->problem_mark);
    const char *what = p->problem ? p->problem : "not readable as YAML";
    if (p->error == YAML_MEMORY_ERROR)
        err_at(r->e, at, "out of memory while reading YAML");
    else if (p->context && p->context_mark.line)
        err_at(r->e, at, "YAML: %s, %s that starts in line %zu", what, p->context,
               p->context_mark.line + 1);
    else if (p->context)
        err_at(r->e, at, "YAML: %s, %s", what, p->context);
    else
        err_at(r->e, at, "YAML: %s", what);
    return false;
}

static struct value *node_new(struct reader *r, enum value_kind kind, struct place at)
{
    if (r->n_nodes >= NODES_MAX) {
        err_at(r->e, at, "YAML: more than %d values (aliases count each time they are used)",
               NODES_MAX);
        return NULL;
    }
    r->n_nodes++;
    struct value *v = ARENA_NEW(r->a, struct value);
    v->kind = kind;
    v->at = at;
    return v;
}

/* Room as PUSH would have made it for n elements, so that a copy can grow like the original. */
static size_t push_room(size_t n)
{
    size_t room = 4;
    while (room < n)
        room *= 2;
    return room;
}

static struct value *node_copy(struct reader *r, const struct value *from, unsigned depth)
{
    if (depth > DEPTH_MAX) {
        err_at(r->e, from->at, "YAML: nested deeper than %d levels through aliases", DEPTH_MAX);
        return NULL;
    }
    struct value *v = node_new(r, from->kind, from->at);
    if (!v)
        return NULL;
    *v = *from;
    if (from->n_items)
        v->items = ARENA_ARRAY(r->a, struct value *, push_room(from->n_items));
    if (from->n_pairs)
        v->pairs = ARENA_ARRAY(r->a, struct value_pair, push_room(from->n_pairs));
    for (size_t i = 0; i < from->n_items; i++)
        if (!(v->items[i] = node_copy(r, from->items[i], depth + 1)))
            return NULL;
    for (size_t i = 0; i < from->n_pairs; i++) {
        v->pairs[i] = from->pairs[i];
        if (!(v->pairs[i].value = node_copy(r, from->pairs[i].value, depth + 1)))
            return NULL;
    }
    return v;
}

static bool is_null_text(str s)
{
    return s.len == 0 || str_eq(s, S("~")) || str_eq(s, S("null")) || str_eq(s, S("Null")) ||
           str_eq(s, S("NULL"));
}

static struct value *node_scalar(struct reader *r, const yaml_event_t *event)
{
    const char *bytes = (const char *)event->data.scalar.value;
    str text = { bytes, event->data.scalar.length };
    const char *tag = (const char *)event->data.scalar.tag;
    bool is_quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    if (tag)
        is_quoted = !strcmp(tag, YAML_STR_TAG) ||
                    (is_quoted && strncmp(tag, "tag:yaml.org,2002:", 18) != 0);
    bool is_null = !is_quoted && is_null_text(text);
    struct value *v = node_new(r, is_null ? VALUE_NULL : VALUE_SCALAR,
                               place_of(r, event->start_mark));
    if (!v)
        return NULL;
    v->is_quoted = is_quoted;
    v->text = arena_str(r->a, text);
    return v;
}

static struct value *node_read(struct reader *r, const yaml_event_t *event, unsigned depth);

static void anchor_keep(struct reader *r, const yaml_char_t *name, struct value *v)
{
    if (name)
        map_put(&r->anchors, arena_str(r->a, str_of((const char *)name)), v);
}

static struct value *node_list(struct reader *r, const yaml_event_t *start, unsigned depth)
{
    struct value *v = node_new(r, VALUE_LIST, place_of(r, start->start_mark));
    for (;;) {
        yaml_event_t event;
        if (!v || !event_next(r, &event))
            return NULL;
        if (event.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&event);
            return v;
        }
        struct value *item = node_read(r, &event, depth + 1);
        yaml_event_delete(&event);
        if (!item)
            return NULL;
        value_append(r->a, v, item);
    }
}

/* Finds key among the pairs of v; `seen` is filled once the map is large. */
static const struct value_pair *pair_find(struct reader *r, const struct value *v, str key,
                                          struct map *seen)
{
    if (v->n_pairs <= LINEAR_MAX) {
        for (size_t i = 0; i < v->n_pairs; i++)
            if (str_eq(v->pairs[i].key, key))
                return &v->pairs[i];
        return NULL;
    }
    seen->a = r->a;
    for (size_t i = seen->n; i < v->n_pairs; i++)
        map_put(seen, v->pairs[i].key, (void *)(uintptr_t)(i + 1));
    uintptr_t at = (uintptr_t)map_get(seen, key);
    return at ? &v->pairs[at - 1] : NULL;
}

/* YAML 1.1 merge: keys of `from` (a map, or a list of maps, earlier first) that v lacks. */
static bool map_merge(struct reader *r, struct value *v, const struct value *from,
                      struct place at, struct map *seen)
{
    if (from->kind == VALUE_LIST) {
        for (size_t i = 0; i < from->n_items; i++) {
            if (from->items[i]->kind != VALUE_MAP) {
                err_at(r->e, from->items[i]->at, "YAML: `<<` merges maps, not %s",
                       value_kind_name(from->items[i]));
                return false;
            }
            if (!map_merge(r, v, from->items[i], at, seen))
                return false;
        }
        return true;
    }
    if (from->kind != VALUE_MAP) {
        err_at(r->e, at, "YAML: `<<` merges a map, not %s", value_kind_name(from));
        return false;
    }
    for (size_t i = 0; i < from->n_pairs; i++)
        if (!pair_find(r, v, from->pairs[i].key, seen))
            *PUSH(r->a, v->pairs, v->n_pairs) = from->pairs[i];
    return true;
}

static struct value *node_map(struct reader *r, const yaml_event_t *start, unsigned depth)
{
    struct value *v = node_new(r, VALUE_MAP, place_of(r, start->start_mark));
    struct map seen = { 0 };
    struct value *merged = NULL;    /* list of what `<<` names; applied at the end */
    struct place merged_at = { 0 };
    for (;;) {
        yaml_event_t event;
        if (!v || !event_next(r, &event))
            return NULL;
        if (event.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&event);
            return !merged || map_merge(r, v, merged, merged_at, &seen) ? v : NULL;
        }
        struct place at = place_of(r, event.start_mark);
        struct value *key = node_read(r, &event, depth + 1);
        yaml_event_delete(&event);
        if (!key)
            return NULL;
        if (key->kind == VALUE_LIST || key->kind == VALUE_MAP) {
            err_at(r->e, at, "YAML: a key must be a word, not %s", value_kind_name(key));
            return NULL;
        }
        if (key->text.len > KEY_BYTES_MAX) {
            err_at(r->e, at, "YAML: a key of %zu bytes; at most %d are understood", key->text.len, KEY_BYTES_MAX);
            return NULL;
        }
        const struct value_pair *twin = pair_find(r, v, key->text, &seen);
        bool is_merge = !key->is_quoted && str_eq(key->text, S("<<"));
        if (twin || (is_merge && merged)) {
            uint32_t line = twin ? twin->key_at.line : merged_at.line;
            err_at(r->e, at, "the key `" STR_FMT "` is here twice (first in line %u)",
                   STR_ARG(key->text), line);
            return NULL;
        }
        if (!event_next(r, &event))
            return NULL;
        struct value *value = node_read(r, &event, depth + 1);
        yaml_event_delete(&event);
        if (!value)
            return NULL;
        if (is_merge) {
            merged = value;
            merged_at = at;
        } else {
            *PUSH(r->a, v->pairs, v->n_pairs) = (struct value_pair){ key->text, at, value };
        }
    }
}

static struct value *node_read(struct reader *r, const yaml_event_t *event, unsigned depth)
{
    struct value *v = NULL;
    struct place at = place_of(r, event->start_mark);
    if (depth > DEPTH_MAX) {
        err_at(r->e, at, "YAML: nested deeper than %d levels", DEPTH_MAX);
        return NULL;
    }
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        v = node_scalar(r, event);
        if (v)
            anchor_keep(r, event->data.scalar.anchor, v);
        return v;
    case YAML_SEQUENCE_START_EVENT:
        v = node_list(r, event, depth);
        if (v)
            anchor_keep(r, event->data.sequence_start.anchor, v);
        return v;
    case YAML_MAPPING_START_EVENT:
        v = node_map(r, event, depth);
        if (v)
            anchor_keep(r, event->data.mapping_start.anchor, v);
        return v;
    case YAML_ALIAS_EVENT:
        v = map_get(&r->anchors, str_of((const char *)event->data.alias.anchor));
        if (!v) {
            err_at(r->e, at, "YAML: the alias `*%s` has no anchor before it",
                   (const char *)event->data.alias.anchor);
            return NULL;
        }
        return node_copy(r, v, depth);
    default:
        err_at(r->e, at, "YAML: unexpected end");
        return NULL;
    }
}

static struct value *document_read(struct reader *r)
{
    yaml_event_t event;
    struct value *root = NULL;
    bool is_over = false;
    while (!is_over) {
        if (!event_next(r, &event))
            return NULL;
        yaml_event_type_t type = event.type;
        struct place at = place_of(r, event.start_mark);
        bool is_content = type == YAML_SCALAR_EVENT || type == YAML_SEQUENCE_START_EVENT ||
                          type == YAML_MAPPING_START_EVENT || type == YAML_ALIAS_EVENT;
        bool is_second = type == YAML_DOCUMENT_START_EVENT && root;
        if (is_content)
            root = node_read(r, &event, 1);
        yaml_event_delete(&event);
        if (is_second)
            err_at(r->e, at, "YAML: a second document starts here; one file holds one");
        if (is_second || (is_content && !root))
            return NULL;
        is_over = type == YAML_STREAM_END_EVENT;
    }
    if (!root)
        return node_new(r, VALUE_NULL, (struct place){ r->file, 1, 1 });
    return root;
}

/* ---- JSON in: surrogate pairs ---- */

static int hex4(const char *p)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(p[i]);
        if (digit < 0)
            return -1;
        v = v * 16 + digit;
    }
    return v;
}

/* JSON spells characters beyond the basic plane as two \u escapes (RFC 8259 section 7), which
 * YAML refuses. In a document that starts like JSON they become YAML's \U escape; columns behind
 * one are off by two then. */
static str surrogates_join(struct arena *a, str text)
{
    str head = str_trim(text);
    if (head.len == 0 || (head.ptr[0] != '{' && head.ptr[0] != '[') || str_find(text, S("\\u")) < 0)
        return text;
    char *out = arena_try(a, text.len + 1);
    if (!out)
        return text;
    size_t n = 0;
    for (size_t i = 0; i < text.len; ) {
        const char *p = text.ptr + i;
        size_t left = text.len - i;
        int high = -1, low = -1;
        if (left >= 12 && p[0] == '\\' && p[1] == 'u' && p[6] == '\\' && p[7] == 'u') {
            high = hex4(p + 2);
            low = hex4(p + 8);
        }
        if (high >= 0xd800 && high < 0xdc00 && low >= 0xdc00 && low < 0xe000) {
            static const char digits[] = "0123456789abcdef";
            unsigned code = 0x10000u + (((unsigned)high & 0x3ffu) << 10) + ((unsigned)low & 0x3ffu);
            out[n++] = '\\';
            out[n++] = 'U';
            for (int d = 7; d >= 0; d--)
                out[n++] = digits[code >> (4 * d) & 15];
            i += 12;
        } else {
            size_t step = p[0] == '\\' && left > 1 ? 2 : 1;      /* "\\\\u" is no escape of ours */
            memcpy(out + n, p, step);
            n += step;
            i += step;
        }
    }
    return (str){ out, n };
}

struct value *yaml_parse(struct arena *a, str text, const char *file, struct err *e)
{
    struct reader r = { .a = a, .file = file, .e = e, .anchors = { .a = a } };
    if (!yaml_parser_initialize(&r.parser)) {
        err_set(e, "out of memory while reading YAML");
        return NULL;
    }
    text = surrogates_join(a, text);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)(text.len ? text.ptr : ""),
                                 text.len);
    struct value *root = document_read(&r);
    yaml_parser_delete(&r.parser);
    return root;
}
