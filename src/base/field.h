/* base/field.h -- tables of configuration keys.
 *
 * One line of a table says everything about a key: its name, type, default, bounds, the
 * offset in the struct it fills, and a sentence of help. One loop decodes; others print the
 * JSON Schema, the defaults, the effective configuration and the reference page from the
 * same lines. The target type decides how a scalar is read. */
#ifndef SBX_FIELD_H
#define SBX_FIELD_H

#include "base/value.h"

enum field_type {
    FIELD_STR,          /* str */
    FIELD_BOOL,         /* bool; YAML 1.1 spellings: yes/no/on/off/true/false */
    FIELD_INT,          /* int64_t within [min, max] */
    FIELD_FLOAT,        /* double within [min, max] */
    FIELD_DURATION,     /* uint64_t ns; Go syntax "1m30s"; a bare number is seconds */
    FIELD_BYTES,        /* uint64_t; "64MiB", "10k"; a bare number is bytes */
    FIELD_COUNT,        /* double; "32K" = 32000, "1M", decimals allowed */
    FIELD_SECRET,       /* str; never shown by dump */
    FIELD_ENUM,         /* str, one of names[] (NULL-terminated), compared exactly */
    FIELD_STRINGS,      /* struct strings */
    FIELD_STRING_MAP,   /* struct string_pairs */
    FIELD_STRUCT,       /* a struct inline, described by `sub` */
    FIELD_LIST,         /* struct list of structs described by `sub` */
    FIELD_MAP,          /* struct named_list: name -> struct described by `sub` */
    FIELD_VALUE,        /* struct value *, kept as written: free-form or decoded by somebody else */
};

enum field_flags {
    FIELD_REQUIRED = 1 << 0,
    FIELD_NOT_BUILT = 1 << 1,       /* known and checked; using it gives the finding `not-built` */
    FIELD_DEPRECATED = 1 << 2,      /* accepted, with a finding; `names[0]` is the new name */
    FIELD_IGNORED = 1 << 3,         /* VSR knows it, it has no effect there or here; no finding */
    FIELD_EXTENSION = 1 << 4,       /* signalbox's own, VSR lacks it */
    FIELD_OPEN = 1 << 5,            /* enum: another spelling is kept, with a warning */
    FIELD_OPTIONAL = 1 << 7,        /* block: has no defaults unless it is written */
    FIELD_GUARD = 1 << 6,           /* with FIELD_NOT_BUILT: people rely on it, so a warning */
};

struct strings { str *items; size_t n; };
struct string_pairs { str (*items)[2]; size_t n; };
struct list { void *items; size_t n; };                    /* items: contiguous structs */
struct named_list { str *names; void *items; size_t n; };  /* items[i] belongs to names[i] */

struct field;
struct fields { const struct field *items; size_t n; size_t struct_size; };
#define FIELDS(type, table) { (table), COUNT_OF(table), sizeof(type) }
#define FIELDS_NONE { NULL, 0, 0 }

struct field {
    const char *key;
    enum field_type type;
    size_t offset;
    const char *default_text;       /* NULL: zero; read by the same parser as the value */
    double min, max;                /* numbers; both 0: unbounded */
    const char *const *names;       /* enum spellings */
    const struct fields *sub;
    unsigned flags;
    const char *help;
};

/* Every struct that wants to report later may hold `struct place at` and say where with
 * FIELD_PLACE: it is filled with the place of the map. And a `uint64_t set` bit mask:
 * bit i = key i of the table was present. */
#define FIELD_KEY_PLACE "@place"    /* key: offset of a struct place */
#define FIELD_KEY_SET   "@set"      /* key: offset of a uint64_t */
#define FIELD_KEY_SELF  "@value"    /* key: offset of a struct value *: the map itself */
#define FIELD_KEY_NAME  "@name"     /* key: offset of a str: the key under which a FIELD_MAP has it */

#define F(type_, T, member, key_, default_, help_, ...) \
    { .key = (key_), .type = (type_), .offset = offsetof(T, member), \
      .default_text = (default_), .help = (help_), __VA_ARGS__ }

/* A key that is known, checked and documented, but kept nowhere: dst is not touched. */
#define FIELD_NO_STORE ((size_t)-1)
#define K(type_, key_, default_, help_, ...) \
    { .key = (key_), .type = (type_), .offset = FIELD_NO_STORE, \
      .default_text = (default_), .help = (help_), __VA_ARGS__ }
/* A map whose keys fill the same struct as its parent's: `sub` has offsets into that. */
#define GROUP(key_, sub_, help_, ...) \
    { .key = (key_), .type = FIELD_STRUCT, .sub = (sub_), .help = (help_), __VA_ARGS__ }

/* Fills *dst (zeroed, then defaults) from `v` (NULL: defaults only). Problems become findings;
 * returns false when there was an error-severity one. `path` is the dotted path of v. */
bool field_decode(struct arena *a, const struct fields *f, const struct value *v, str path,
                  void *dst, struct findings *out);

/* The same for a map some of whose keys, `elsewhere` (NULL-terminated), others read. */
bool field_decode_except(struct arena *a, const struct fields *f, const struct value *v, str path,
                         void *dst, struct findings *out, const char *const *elsewhere);

const struct field *field_find(const struct fields *f, str key);    /* NULL: no such key */
/* Where `key` lies in a decoded struct; NULL when the table has no such key of that type. */
const void *field_get(const struct fields *f, const void *decoded, const char *key,
                      enum field_type type);
/* The known key nearest to a misspelt one (at most 3 edits, fewer for short keys); NULL: none. */
const char *field_nearest(const struct fields *f, str key);
static inline bool field_is_key(const struct field *f)      /* not one of the "@..." markers */
{
    return f->key && f->key[0] != '@';
}

/* Reads one scalar text as the field's type into *dst; for defaults, tests, command lines. */
bool field_parse(struct arena *a, const struct field *f, const struct value *v, void *dst,
                 struct err *e);

bool duration_parse(str text, uint64_t *ns);        /* Go syntax; false: not a duration */
bool count_parse(str text, double *out);            /* "32K", "1.5M" */
bool bytes_parse(str text, uint64_t *out);

#endif
