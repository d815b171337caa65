/* tests/unit/base/json_oracle.h -- yyjson as judge of base/json, and documents nobody would write.
 *
 * For the programs of this folder and fuzz/fuzz_json.c. yyjson is compiled right here, so that the
 * product never links it. */
#ifndef JSON_ORACLE_H
#define JSON_ORACLE_H

#include "base/json.h"
#include "base/rand.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wunused-function"
#include "../../../build/deps/yyjson/yyjson.c"
#pragma GCC diagnostic pop

/* yyjson refuses an unpaired \u surrogate, which the grammar of RFC 8259 allows and we read as U+FFFD. */
static inline bool oracle_minds_surrogates(const yyjson_read_err *e)
{
    return e->msg && strstr(e->msg, "surrogate") != NULL;
}

static inline yyjson_doc *oracle_read(str text, yyjson_read_err *e)
{
    return yyjson_read_opts((char *)(uintptr_t)text.ptr, text.len, YYJSON_READ_NUMBER_AS_RAW, NULL, e);
}

/* NULL: the tape says the same as yyjson about this value and all below it. Else what differs. */
static inline const char *oracle_differs(const struct json *j, jref n, yyjson_val *v, struct arena *a)
{
    if (n >= j->n)
        return "the tape is shorter";
    switch (json_kind(j, n)) {
    case JSON_NULL:   return yyjson_is_null(v) ? NULL : "null";
    case JSON_FALSE:  return yyjson_is_false(v) ? NULL : "false";
    case JSON_TRUE:   return yyjson_is_true(v) ? NULL : "true";
    case JSON_NUMBER:
        return yyjson_is_raw(v) && str_eq(json_raw(j, n), (str){ yyjson_get_raw(v), yyjson_get_len(v) })
               ? NULL : "a number's spelling";
    case JSON_STRING: {
        if (!yyjson_is_str(v))
            return "a string";
        str want = { yyjson_get_str(v), yyjson_get_len(v) };
        if (!str_eq(json_str(j, n, a), want))
            return "a string's text";
        return json_str_bytes(j, n) == want.len ? NULL : "a string's length";
    }
    case JSON_ARRAY: {
        yyjson_arr_iter it;
        if (!yyjson_arr_iter_init(v, &it))
            return "an array";
        if (json_count(j, n) != yyjson_arr_size(v))
            return "an array's length";
        JSON_EACH_ITEM(j, n, item) {
            const char *why = oracle_differs(j, item, yyjson_arr_iter_next(&it), a);
            if (why)
                return why;
        }
        return NULL;
    }
    case JSON_OBJECT: {
        yyjson_obj_iter it;
        if (!yyjson_obj_iter_init(v, &it))
            return "an object";
        if (json_count(j, n) != yyjson_obj_size(v))
            return "an object's length";
        JSON_EACH_PAIR(j, n, k, value) {
            yyjson_val *key = yyjson_obj_iter_next(&it);
            const char *why = oracle_differs(j, k, key, a);
            why = why ? why : oracle_differs(j, value, yyjson_obj_iter_get_val(key), a);
            if (why)
                return why;
        }
        return NULL;
    }
    }
    return "an unknown kind";
}

/* NULL: spans nest, follow each other in order, begin and end with the right bytes, and `next` skips
 * exactly the children. */
static inline const char *tape_broken(const struct json *j, jref n, uint32_t from, uint32_t to)
{
    const struct json_node *node = &j->nodes[n];
    if (n >= j->n || node->next <= n || node->next > j->n)
        return "next leaves the tape";
    if (node->at < from || node->len == 0 || node->at + node->len > to)
        return "a span is not inside its parent's";
    str raw = json_raw(j, n);
    char first = raw.ptr[0], last = raw.ptr[raw.len - 1];
    switch (json_kind(j, n)) {
    case JSON_NULL:   return node->next == n + 1 && str_eq(raw, S("null")) ? NULL : "null's span";
    case JSON_TRUE:   return node->next == n + 1 && str_eq(raw, S("true")) ? NULL : "true's span";
    case JSON_FALSE:  return node->next == n + 1 && str_eq(raw, S("false")) ? NULL : "false's span";
    case JSON_NUMBER:
        return node->next == n + 1 && (first == '-' || (first >= '0' && first <= '9')) && last >= '0' && last <= '9'
               ? NULL : "a number's span";
    case JSON_STRING:
        if ((node->has_escape != 0) != (str_chr(raw, '\\') >= 0))
            return "has_escape";
        return node->next == n + 1 && raw.len >= 2 && first == '"' && last == '"' ? NULL : "a string's span";
    case JSON_ARRAY: case JSON_OBJECT:
        break;
    }
    bool is_object = json_kind(j, n) == JSON_OBJECT;
    if (first != (is_object ? '{' : '[') || last != (is_object ? '}' : ']'))
        return "a container's span";
    uint32_t at = node->at + 1, end = node->at + node->len - 1;
    unsigned children = 0;
    for (jref child = n + 1; child < node->next; child = j->nodes[child].next, children++) {
        const char *why = tape_broken(j, child, at, end);
        if (why)
            return why;
        if (is_object && children % 2 == 0 && json_kind(j, child) != JSON_STRING)
            return "a key that is no string";
        at = j->nodes[child].at + j->nodes[child].len;
    }
    return is_object && children % 2 ? "a key without a value" : NULL;
}

/* NULL: both parsers judge `text` alike and read the same from it. */
static inline const char *oracle_judges(str text)
{
    struct arena *a = arena_new();
    struct json j = { 0 };
    struct json_error e = { 0, NULL };
    yyjson_read_err ye = { 0 };
    int rc = json_parse(a, text, &j, &e);
    yyjson_doc *doc = oracle_read(text, &ye);
    const char *why = NULL;
    if (rc == 0)
        why = tape_broken(&j, 0, 0, (uint32_t)text.len);
    if (rc == 0 && !why && j.nodes[0].next != j.n)
        why = "nodes behind the document";
    if (why)
        ;
    else if (rc < 0)
        why = !e.what ? "an error without a reason" : e.at > text.len ? "an error behind the text"
            : doc && !strstr(e.what, "deep") ? "we refuse what yyjson takes" : NULL;
    else if (doc)
        why = oracle_differs(&j, 0, yyjson_doc_get_root(doc), a);
    else
        why = oracle_minds_surrogates(&ye) ? NULL : "we take what yyjson refuses";
    yyjson_doc_free(doc);
    arena_free(a);
    return why;
}

/* ---- random documents: duplicate keys, escaped keys, odd numbers, odd white space ---- */

static inline void random_space(struct buf *b, uint64_t *seed)
{
    static const char space[] = " \n\t\r";
    while (rand_below(seed, 3) == 0)
        buf_char(b, space[rand_below(seed, 4)]);
}

static const str oracle_keys[] = {
    { "\"a\"", 3 }, { "\"b\"", 3 }, { "\"\\u0061\"", 8 }, { "\"\"", 2 }, { "\"mo\\u0064el\"", 12 }, { "\"model\"", 7 },
    { "\"a\\\"b\"", 6 }, { "\"\\ud83d\\ude00\"", 14 }, { "\"\xf0\x9f\x98\x80\"", 6 }, { "\"messages\"", 10 },
    { "\"\\/\\b\\f\\n\\r\\t\\\\\"", 16 }, { "\"a\\u0000b\"", 10 },
};

static inline void random_string(struct buf *b, uint64_t *seed, size_t most)
{
    static const str bits[] = {
        { "plain text of some length, ", 27 }, { "x", 1 }, { "\\n", 2 }, { "\\\"", 2 }, { "\\\\", 2 }, { "\\u00e9", 6 },
        { "\\uD83D\\uDE00", 12 }, { "\xc3\xa9", 2 }, { "\xe2\x82\xac", 3 }, { "\xf0\x9f\x98\x80", 4 }, { "{[,:]}", 6 },
        { "\\/", 2 }, { "\x7f", 1 }, { "\\u0000", 6 },
    };
    size_t end = b->len + rand_below(seed, most + 1);
    buf_char(b, '"');
    while (b->len < end)
        buf_str(b, bits[rand_below(seed, rand_below(seed, 4) ? 2 : COUNT_OF(bits))]);
    buf_char(b, '"');
}

static inline void random_value(struct buf *b, uint64_t *seed, unsigned depth)
{
    static const str scalars[] = {
        { "null", 4 }, { "true", 4 }, { "false", 5 }, { "0", 1 }, { "-0", 2 }, { "1.10", 4 }, { "1E+2", 4 }, { "1e400", 5 },
        { "123456789012345678901234567890", 30 }, { "-0.000000000000000000000000001e-7", 33 }, { "12345678901234567890", 20 },
    };
    unsigned what = (unsigned)rand_below(seed, 10);
    if (depth > 0 && what < 6) {
        bool is_object = what < 3;
        unsigned n = (unsigned)rand_below(seed, 6);
        buf_char(b, is_object ? '{' : '[');
        for (unsigned i = 0; i < n; i++) {
            random_space(b, seed);
            if (i) {
                buf_char(b, ',');
                random_space(b, seed);
            }
            if (is_object) {
                buf_str(b, oracle_keys[rand_below(seed, COUNT_OF(oracle_keys))]);
                random_space(b, seed);
                buf_char(b, ':');
                random_space(b, seed);
            }
            random_value(b, seed, depth - 1);
        }
        random_space(b, seed);
        buf_char(b, is_object ? '}' : ']');
    } else if (what < 8) {
        random_string(b, seed, rand_below(seed, 8) ? 40 : 4000);
    } else {
        buf_str(b, scalars[rand_below(seed, COUNT_OF(scalars))]);
    }
}

static inline void random_document(struct buf *b, uint64_t *seed)
{
    b->len = 0;
    random_space(b, seed);
    random_value(b, seed, (unsigned)rand_below(seed, 7));
    random_space(b, seed);
}

#endif
