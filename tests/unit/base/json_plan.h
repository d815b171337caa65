/* tests/unit/base/json_plan.h -- random changes of a document, and a judge of what the splice editor made.
 *
 * A plan of changes is drawn for a document. While it is handed to the editor, the value that must result
 * is written in a canonical form and every source byte that may vanish is marked. Then the result is
 * parsed by yyjson and the pieces are looked at: no other byte may be missing or moved. */
#ifndef JSON_PLAN_H
#define JSON_PLAN_H

#include <stdlib.h>

#include "json_oracle.h"

/* ---- a canonical form: kind, length, bytes ---- */

static inline void canon_text(struct buf *to, char kind, str s)
{
    buf_char(to, kind);
    buf_u64(to, s.len);
    buf_char(to, ':');
    buf_str(to, s);
}

static inline void canon_value(struct buf *to, yyjson_val *v)
{
    yyjson_val *item, *key;
    size_t i, n;
    if (yyjson_is_str(v)) {
        canon_text(to, 's', (str){ yyjson_get_str(v), yyjson_get_len(v) });
    } else if (yyjson_is_raw(v)) {
        canon_text(to, 'n', (str){ yyjson_get_raw(v), yyjson_get_len(v) });
    } else if (yyjson_is_arr(v)) {
        buf_char(to, '[');
        yyjson_arr_foreach(v, i, n, item)
            canon_value(to, item);
        buf_char(to, ']');
    } else if (yyjson_is_obj(v)) {
        buf_char(to, '{');
        yyjson_obj_foreach(v, i, n, key, item) {
            canon_value(to, key);
            canon_value(to, item);
        }
        buf_char(to, '}');
    } else {
        buf_char(to, yyjson_is_null(v) ? '0' : yyjson_is_true(v) ? '+' : '-');
    }
}

static inline void canon_raw(struct buf *to, str raw)
{
    yyjson_doc *doc = oracle_read(raw, NULL);
    if (!doc)
        abort();
    canon_value(to, yyjson_doc_get_root(doc));
    yyjson_doc_free(doc);
}

/* ---- a random plan, told to the editor and to the judge at once ---- */

struct plan {
    struct arena *a;
    const struct json *j;
    struct json_edits edits;
    struct buf expected;
    bool *may_vanish;               /* [text.len] */
    uint64_t seed;
    unsigned percent;               /* of containers changed */
};

static inline void vanish(struct plan *p, uint32_t from, uint32_t to)
{
    memset(p->may_vanish + from, 1, to - from);
}

static inline uint32_t end_of(const struct plan *p, jref n)
{
    return p->j->nodes[n].at + p->j->nodes[n].len;
}

static inline str some_raw(struct plan *p)
{
    struct buf b = { 0 };
    random_value(&b, &p->seed, 1);
    str raw = arena_str(p->a, buf_view(&b));
    buf_free(&b);
    return raw;
}

static inline void plan_value(struct plan *p, jref n);

static const char *const change_keys[] = { "a", "b", "model", "", "a\"b", "new", "messages", "caf\xc3\xa9" };

static inline void plan_object(struct plan *p, jref n)
{
    const struct json *j = p->j;
    struct json_change changes[COUNT_OF(change_keys)];
    bool found[COUNT_OF(change_keys)] = { false };
    size_t n_changes = 0;
    if (rand_below(&p->seed, 100) < p->percent)
        for (size_t i = 0; i < COUNT_OF(change_keys); i++)
            if (rand_below(&p->seed, 3) == 0) {
                bool removes = rand_below(&p->seed, 2);
                changes[n_changes++] = (struct json_change){ str_of(change_keys[i]), removes ? S("") : some_raw(p), removes };
            }
    bool is_early = rand_below(&p->seed, 2);
    if (n_changes && is_early)
        json_edit_object(&p->edits, j, n, changes, n_changes);
    struct buf inside = p->expected, *to = &p->expected;
    p->expected = (struct buf){ 0 };
    uint32_t last_end = j->nodes[n].at + 1;
    bool last_gone = false;
    JSON_EACH_PAIR(j, n, k, v) {
        str name = json_str(j, k, p->a);
        size_t c = 0;
        while (c < n_changes && !str_eq(changes[c].key, name))
            c++;
        bool gone = c < n_changes && changes[c].removes;
        if (gone || last_gone)
            vanish(p, last_end, j->nodes[k].at);
        if (gone)
            vanish(p, j->nodes[k].at, end_of(p, v));
        last_gone = gone;
        last_end = end_of(p, v);
        if (c < n_changes)
            found[c] = true;
        if (gone)
            continue;
        canon_text(to, 's', name);
        if (c < n_changes) {
            vanish(p, j->nodes[v].at, end_of(p, v));
            canon_raw(to, changes[c].raw);
        } else {
            plan_value(p, v);
        }
    }
    if (last_gone)
        vanish(p, last_end, end_of(p, n) - 1);
    if (n_changes && !is_early)
        json_edit_object(&p->edits, j, n, changes, n_changes);
    struct buf kept = p->expected;
    p->expected = inside;
    buf_char(to, '{');
    for (size_t c = 0; c < n_changes; c++)      /* what is new stands in front, in order */
        if (!found[c] && !changes[c].removes) {
            canon_text(to, 's', changes[c].key);
            canon_raw(to, changes[c].raw);
        }
    buf_str(to, buf_view(&kept));
    buf_char(to, '}');
    buf_free(&kept);
}

static inline void plan_array(struct plan *p, jref n)
{
    const struct json *j = p->j;
    uint32_t count = json_count(j, n), i = 0;
    bool *gone = arena_alloc(p->a, count + 1), is_changed = rand_below(&p->seed, 100) < p->percent;
    str front = S("");
    buf_char(&p->expected, '[');
    if (is_changed) {
        for (uint32_t k = 0; k < count; k++)
            gone[k] = rand_below(&p->seed, 3) == 0;
        if (rand_below(&p->seed, 2)) {
            str one = some_raw(p), two = some_raw(p);
            struct buf b = { 0 };
            buf_str(&b, one);
            buf_str(&b, S(", "));
            buf_str(&b, two);
            front = arena_str(p->a, buf_view(&b));
            buf_free(&b);
            canon_raw(&p->expected, one);
            canon_raw(&p->expected, two);
        }
        json_edit_array(&p->edits, j, n, count ? gone : NULL, front);
    }
    uint32_t last_end = j->nodes[n].at + 1;
    bool last_gone = false;
    JSON_EACH_ITEM(j, n, item) {
        bool is_gone = gone[i++];
        if (is_gone || last_gone)
            vanish(p, last_end, j->nodes[item].at);
        if (is_gone)
            vanish(p, j->nodes[item].at, end_of(p, item));
        last_gone = is_gone;
        last_end = end_of(p, item);
        if (!is_gone)
            plan_value(p, item);
    }
    if (last_gone)
        vanish(p, last_end, end_of(p, n) - 1);
    buf_char(&p->expected, ']');
}

static inline void plan_value(struct plan *p, jref n)
{
    if (rand_below(&p->seed, 400) < p->percent) {
        str raw = some_raw(p);
        json_edit_replace(&p->edits, p->j, n, raw);
        vanish(p, p->j->nodes[n].at, end_of(p, n));
        canon_raw(&p->expected, raw);
    } else if (json_is(p->j, n, JSON_OBJECT)) {
        plan_object(p, n);
    } else if (json_is(p->j, n, JSON_ARRAY)) {
        plan_array(p, n);
    } else {
        canon_raw(&p->expected, json_raw(p->j, n));
    }
}

/* ---- the judge ---- */

struct seen { const struct plan *p; size_t at; const char *why; };

static inline void look_at_piece(void *arg, str piece)
{
    struct seen *s = arg;
    str text = s->p->j->text;
    if (piece.ptr < text.ptr || piece.ptr >= text.ptr + text.len)
        return;                                 /* a replacement */
    size_t from = (size_t)(piece.ptr - text.ptr);
    if (from < s->at)
        s->why = "pieces of the source are out of order";
    for (size_t i = s->at; i < from; i++)
        if (!s->p->may_vanish[i])
            s->why = "a byte that nobody changed is missing";
    s->at = from + piece.len;
}

/* NULL: all is well. The document is one that yyjson takes. */
static inline const char *plan_check(str text, uint64_t seed, unsigned percent)
{
    struct arena *a = arena_new();
    struct json j;
    if (json_parse(a, text, &j, NULL) < 0)
        abort();
    struct plan p = { .a = a, .j = &j, .edits.a = a, .seed = seed, .percent = percent };
    p.may_vanish = calloc(text.len + 1, 1);
    plan_value(&p, 0);

    struct seen s = { &p, 0, NULL };
    json_edits_pieces(&p.edits, &j, look_at_piece, &s);
    for (size_t i = s.at; i < text.len; i++)
        if (!p.may_vanish[i])
            s.why = "the end is missing";
    struct buf out = { 0 }, got = { 0 };
    json_edits_write(&p.edits, &j, &out);
    yyjson_doc *doc = oracle_read(buf_view(&out), NULL);
    if (doc)
        canon_value(&got, yyjson_doc_get_root(doc));
    if (!s.why && !doc)
        s.why = "the result is no JSON";
    if (!s.why && out.len != json_edits_size(&p.edits, &j))
        s.why = "the size was announced wrong";
    if (!s.why && !str_eq(buf_view(&got), buf_view(&p.expected)))
        s.why = "the result has another value";
    yyjson_doc_free(doc);
    buf_free(&out);
    buf_free(&got);
    buf_free(&p.expected);
    free(p.may_vanish);
    arena_free(a);
    return s.why;
}

#endif
