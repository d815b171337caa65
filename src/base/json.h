/* base/json.h -- read JSON where it lies, change it where it must, write it when it is ours.
 *
 * Reading makes a tape: one node of 16 bytes per value or key, in document order, each with
 * the span of source bytes it came from. Nothing is copied; strings without escapes are used
 * in place. The span is what lets a gateway replace one value and forward every other byte as
 * it came (json_splice). The grammar is RFC 8259, strict, UTF-8 checked. */
#ifndef SBX_JSON_H
#define SBX_JSON_H

#include "base/arena.h"
#include "base/buf.h"

enum json_kind { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

enum {
    JSON_DEPTH_MAX = 256,           /* beyond: an error, not a stack overflow */
    JSON_NODES_MAX = 1 << 22,       /* 64 MB of tape; beyond: an error. No request has that many values */
};

struct json_node {
    uint32_t at, len;               /* source span; strings include their quotes */
    uint32_t next;                  /* index of the node behind this value (skips children) */
    uint8_t  kind;                  /* enum json_kind */
    uint8_t  has_escape;            /* string with a backslash */
    uint8_t  has_code;              /* string with a \u */
    uint8_t  pad;
};

struct json {                       /* node 0 is the document; object children alternate key, value */
    str text;                       /* the source; must outlive the tape */
    struct json_node *nodes;
    uint32_t n;
};

struct json_error { size_t at; const char *what; };  /* byte offset; a literal like "expected ','" */

/* Parses the whole of `text` (up to 4 GB - 1). Returns 0, or -1 with *e. */
int json_parse(struct arena *a, str text, struct json *out, struct json_error *e);

typedef uint32_t jref;              /* index of a node; JSON_NONE: absent */
#define JSON_NONE UINT32_MAX

static inline enum json_kind json_kind(const struct json *j, jref n)
{
    return (enum json_kind)j->nodes[n].kind;
}

static inline str json_raw(const struct json *j, jref n)    /* the source bytes of the value */
{
    return (str){ j->text.ptr + j->nodes[n].at, j->nodes[n].len };
}

jref json_get(const struct json *j, jref object, str key);  /* last of duplicate keys; JSON_NONE */
jref json_get_first(const struct json *j, jref object, str key);
jref json_path(const struct json *j, const char *dotted);   /* "a.b.0.c" from the root */
bool json_is(const struct json *j, jref n, enum json_kind kind);  /* false for JSON_NONE */
str  json_str(const struct json *j, jref n, struct arena *a);  /* decoded text; in place if it can; "" if no string */
/* A literal alone: the bytes of the one that `text` begins with, its quotes included (0: none, or a broken one), and the
 * decoded text of what is between them. */
size_t json_string_length(str text, bool *has_escape);
str  json_string_text(str inside, struct arena *a);
size_t json_str_bytes(const struct json *j, jref n);        /* length of the decoded text, no copy */
bool json_int(const struct json *j, jref n, int64_t *out);  /* integers only; 1e3 and 1.0 count */
bool json_double(const struct json *j, jref n, double *out);
bool json_bool(const struct json *j, jref n, bool fallback);
uint32_t json_count(const struct json *j, jref n);          /* items of an array, pairs of an object */
bool json_key_is(const struct json *j, jref key, str name); /* compares decoded text */
const char *json_kind_name(enum json_kind kind);            /* "a string" */
/* Loops:  JSON_EACH_ITEM(j, array, item) { ... }   JSON_EACH_PAIR(j, object, key, value) { ... } */
#define JSON_EACH_ITEM(j, array, item) \
    for (jref item = (array) + 1; item < (j)->nodes[array].next; item = (j)->nodes[item].next)
#define JSON_EACH_PAIR(j, object, key, value) \
    for (jref key = (object) + 1, value = key + 1; key < (j)->nodes[object].next; \
         key = (j)->nodes[value].next, value = key + 1)

/* The document with some spans replaced. Edits may come in any order and must not overlap; `raw` is JSON. */
struct json_edit { uint32_t at, len; str with; uint32_t order; };
struct json_edits { struct arena *a; struct json_edit *items; size_t n; };

void json_edit_replace(struct json_edits *e, const struct json *j, jref value, str raw);

/* Changes of the members of one object; at most one call an object. A key that is set and absent is inserted in front; a
 * duplicate key is changed wherever it stands, since receivers differ on which one counts. */
struct json_change { str key, raw; bool removes; };
void json_edit_object(struct json_edits *e, const struct json *j, jref object,
                      const struct json_change *changes, size_t n);
void json_edit_set(struct json_edits *e, const struct json *j, jref object, str key, str raw);
void json_edit_remove(struct json_edits *e, const struct json *j, jref object, str key);
/* Removes the items whose `gone` flag is set and puts `front` (raw JSON items with commas between them; may be empty)
 * before the first. At most one call an array. */
void json_edit_array(struct json_edits *e, const struct json *j, jref array, const bool *gone, str front);
size_t json_edits_size(const struct json_edits *e, const struct json *j);   /* bytes of the result */
/* Calls out(arg, piece) for the result's pieces in order: untouched spans and replacements. */
void json_edits_pieces(struct json_edits *e, const struct json *j,
                       void (*out)(void *arg, str piece), void *arg);
void json_edits_write(struct json_edits *e, const struct json *j, struct buf *out);

/* Writing. Commas are put by the writer. */
struct json_writer { struct buf *out; bool need_comma; bool escape_html; };
void jw_begin(struct json_writer *w, char bracket);         /* '{' or '[' */
void jw_end(struct json_writer *w, char bracket);           /* '}' or ']' */
void jw_key(struct json_writer *w, str key);
void jw_str(struct json_writer *w, str s);                  /* bad UTF-8 becomes U+FFFD */
void jw_int(struct json_writer *w, int64_t v);
void jw_hex(struct json_writer *w, uint64_t v);             /* a string of digits, without leading zeros; base/hex.h reads it */
void jw_double(struct json_writer *w, double v);            /* shortest that reads back; NaN: null */
void jw_float(struct json_writer *w, float v);              /* the same for a float */
void jw_bool(struct json_writer *w, bool v);
void jw_null(struct json_writer *w);
void jw_raw(struct json_writer *w, str raw);                /* already JSON */
void json_quote(struct buf *out, str s);                    /* a string literal alone */
str  json_quoted(struct arena *a, str s);                   /* the same in an arena */

#endif
