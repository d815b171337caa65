/* base/value.h -- the tree that YAML and JSON configurations share.
 *
 * Scalars stay text, with their quoting and place, until a field table says what they are:
 * so `no` may be a language code, `1.10` a version and `5m` a duration. */
#ifndef SBX_VALUE_H
#define SBX_VALUE_H

#include "base/err.h"

enum value_kind { VALUE_NULL, VALUE_SCALAR, VALUE_LIST, VALUE_MAP };

struct value;
struct value_pair { str key; struct place key_at; struct value *value; };

struct value {
    enum value_kind kind;
    bool is_quoted;                     /* scalar written in quotes or as a block: always text */
    struct place at;
    str text;                           /* scalar, NUL-terminated behind the end */
    struct value **items; size_t n_items;          /* list */
    struct value_pair *pairs; size_t n_pairs;      /* map, in file order, keys unique */
};

/* YAML 1.1 core as VSR's loader reads it (anchors, aliases, merge keys; JSON is a subset).
 * NULL and *e with the place on error: syntax, duplicate keys, alias bombs (> 1 M nodes),
 * depth > 128. The tree lives in `a`; `file` is kept for places. */
struct value *yaml_parse(struct arena *a, str text, const char *file, struct err *e);

struct value *value_get(const struct value *map, str key);          /* NULL: absent or no map */
struct value *value_path(const struct value *root, const char *dotted); /* "a.b.c"; NULL: absent */
const char   *value_kind_name(const struct value *v);               /* "a list" ... for messages */
void value_set(struct arena *a, struct value *map, str key, struct value *v); /* add or replace */
struct value *value_scalar(struct arena *a, str text);
struct value *value_map(struct arena *a);
struct value *value_list(struct arena *a);
void value_append(struct arena *a, struct value *list, struct value *v);

struct buf;
void value_to_json(const struct value *v, struct buf *out);  /* plain scalars by YAML core schema */
void value_to_yaml(const struct value *v, struct buf *out, unsigned indent);

#endif
