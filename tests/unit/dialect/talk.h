/* What the tests of dialects share: JSON compared as values, requests and streams put through a pair of dialects. */
#ifndef TALK_H
#define TALK_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "decide/facts.h"
#include "dialect/dialect.h"

static struct arena *a;

__attribute__((unused)) static int talk_begin(void **state)
{
    (void)state;
    a = arena_new();
    return a ? 0 : -1;
}

__attribute__((unused)) static int talk_end(void **state)
{
    (void)state;
    arena_free(a);
    return 0;
}

static struct json *talk_json(str text)
{
    struct json *j = ARENA_NEW(a, struct json);
    struct json_error e;
    if (json_parse(a, text, j, &e) < 0)
        fail_msg("%s at %zu of " STR_FMT, e.what, e.at, STR_ARG(text));
    return j;
}

static bool talk_same(const struct json *x, jref m, const struct json *y, jref n)
{
    if (json_kind(x, m) != json_kind(y, n) || json_count(x, m) != json_count(y, n))
        return false;
    double v, w;
    switch (json_kind(x, m)) {
    case JSON_NUMBER: return json_double(x, m, &v) && json_double(y, n, &w) && v == w;
    case JSON_STRING: return str_eq(json_str(x, m, a), json_str(y, n, a));
    case JSON_ARRAY: {
        jref at = n + 1;
        JSON_EACH_ITEM(x, m, item) {
            if (!talk_same(x, item, y, at))
                return false;
            at = y->nodes[at].next;
        }
        return true;
    }
    case JSON_OBJECT:
        JSON_EACH_PAIR(x, m, key, value) {
            jref other = json_get(y, n, json_str(x, key, a));
            if (other == JSON_NONE || !talk_same(x, value, y, other))
                return false;
        }
        return true;
    default: return true;
    }
}

/* Equal as JSON values, whatever the order of members. */
__attribute__((unused)) static void assert_json(str got, const char *expected)
{
    if (!talk_same(talk_json(got), 0, talk_json(str_of(expected)), 0))
        fail_msg("\n     got " STR_FMT "\nexpected %s", STR_ARG(got), expected);
}

__attribute__((unused)) static void assert_text(str got, const char *expected)
{
    assert_string_equal(arena_cstr(a, got), expected);
}

/* One member of an answer, by its dotted path, raw; "" when it is absent. */
__attribute__((unused)) static str talk_at(str text, const char *path)
{
    const struct json *j = talk_json(text);
    jref n = json_path(j, path);
    return n == JSON_NONE ? S("") : json_raw(j, n);
}

__attribute__((unused)) static struct prompt talk_prompt(const struct dialect_ops *d, const char *body)
{
    struct prompt p;
    struct err e = { 0 };
    if (d->request_read(a, talk_json(str_of(body)), &(struct request_place){ 0 }, &p, &e) < 0)
        fail_msg("%s", e.text);
    return p;
}

/* What policy sees of the tools' results in a request, "text | text", those of them that are new behind a "*". */
__attribute__((unused)) static str talk_results(const struct dialect_ops *d, const char *body)
{
    struct prompt p = talk_prompt(d, body);
    struct facts f = { 0 };
    struct chat *chat = ARENA_NEW(a, struct chat);
    struct buf b = { 0 };
    prompt_chat(a, &p, chat);
    facts_build(&f, a, chat);
    uint32_t left = f.n_role[ROLE_TOOL];
    for (uint32_t i = 0; i < chat->n_messages; i++) {
        if (chat->messages[i].role != ROLE_TOOL)
            continue;
        str text = message_text(&chat->messages[i], a);
        buf_printf(&b, "%s%s" STR_FMT, b.len ? " | " : "", left-- <= f.n_new_results ? "*" : "", STR_ARG(text));
    }
    return buf_to_arena(&b, a);
}

/* The sentence with which a request is refused. */
__attribute__((unused)) static str talk_read_error(const struct dialect_ops *d, const char *body)
{
    struct prompt p;
    struct err e = { 0 };
    assert_int_equal(d->request_read(a, talk_json(str_of(body)), &(struct request_place){ 0 }, &p, &e), -1);
    return arena_str(a, str_of(e.text));
}

struct talk { str body; struct translation *t; };          /* body "" : refused */

__attribute__((unused)) static struct talk talk_write(const struct dialect_ops *d, const struct prompt *p, struct target to)
{
    struct talk out = { S(""), ARENA_NEW(a, struct translation) };
    struct buf b = { 0 };
    out.t->a = a;
    if (!to.model.len)
        to.model = S("up");
    if (d->request_write(p, &to, out.t, &b) == 0) {
        out.body = buf_to_arena(&b, a);
        talk_json(out.body);                    /* whatever is written is JSON */
    } else {
        assert_true(out.t->refusal.text[0]);
        buf_free(&b);
    }
    return out;
}

/* "field reason, field reason" */
__attribute__((unused)) static str talk_warnings(const struct translation *t)
{
    struct buf b = { 0 };
    for (size_t i = 0; i < t->n_warnings; i++)
        buf_printf(&b, "%s" STR_FMT " %s", i ? ", " : "", STR_ARG(t->warnings[i].field), t->warnings[i].reason);
    return buf_to_arena(&b, a);
}

__attribute__((unused)) static struct reply talk_reply(const struct dialect_ops *d, const char *body)
{
    struct reply r;
    struct err e = { 0 };
    if (d->reply_read(a, talk_json(str_of(body)), &r, &e) < 0)
        fail_msg("%s", e.text);
    return r;
}

__attribute__((unused)) static struct answer_context *talk_context(const struct dialect_ops *from)
{
    struct answer_context *c = ARENA_NEW(a, struct answer_context);
    struct prompt *p = ARENA_NEW(a, struct prompt);
    p->includes_usage = 1;
    *c = (struct answer_context){
        .a = a, .prompt = p, .from = from, .request_id = S("req1"), .model = S("public"), .now = 1700000000,
        .prompt_tokens = 7, .includes_usage = true,
    };
    return c;
}

__attribute__((unused)) static str talk_reply_write(const struct dialect_ops *d, const struct reply *r)
{
    struct buf b = { 0 };
    d->reply_write(r, talk_context(r->dialect), &b);
    str out = buf_to_arena(&b, a);
    talk_json(out);
    return out;
}

/* ---- streams ---- */

struct talk_out { const struct dialect_ops *d; void *writer; struct buf *b; };

__attribute__((unused)) static void talk_take(void *arg, const struct delta *d)
{
    struct talk_out *o = arg;
    o->d->writer_delta(o->writer, d, o->b);
}

/* Server-sent events of one dialect as another writes them; lines end with \n. -1 of a reader becomes "<bad>". */
__attribute__((unused)) static str talk_stream(const struct dialect_ops *from, const struct dialect_ops *to, const char *sse)
{
    struct buf b = { 0 };
    struct talk_out out = { to, to->writer_new(talk_context(from)), &b };
    const struct delta_sink last = { talk_take, &out };
    struct order *o = order_new(a, 1, &last);
    const struct delta_sink first = { order_take, o };
    void *reader = from->reader_new(a);
    str rest = str_of(sse), name = S(""), data = S("");
    bool is_bad = false;
    while (rest.len && !is_bad) {
        str line = str_cut(&rest, '\n');
        if (str_starts(line, S("event: ")))
            name = str_from(line, 7);
        else if (str_starts(line, S("data: ")))
            data = str_from(line, 6);
        if (line.len || !data.len)
            continue;
        struct arena *scratch = arena_new();    /* texts live as long as the call, no longer */
        is_bad = from->reader_event(reader, scratch, &(struct stream_event){ name, data, false }, &first) < 0;
        arena_free(scratch);
        name = data = S("");
    }
    if (is_bad)
        buf_str(&b, S("<bad>"));
    else
        order_end(o, from->ends_without_word);
    order_free(o);
    if (from->reader_free)
        from->reader_free(reader);
    if (to->writer_free)
        to->writer_free(out.writer);
    return buf_to_arena(&b, a);
}

/* The same stream as one answer. */
__attribute__((unused)) static int talk_collect(const struct dialect_ops *from, const char *sse, struct reply *r,
                                                struct failure *f)
{
    struct collector *c = collector_new(a, from);
    const struct delta_sink last = { collector_take, c };
    struct order *o = order_new(a, 1, &last);
    const struct delta_sink first = { order_take, o };
    void *reader = from->reader_new(a);
    str rest = str_of(sse), name = S(""), data = S("");
    while (rest.len) {
        str line = str_cut(&rest, '\n');
        if (str_starts(line, S("event: ")))
            name = str_from(line, 7);
        else if (str_starts(line, S("data: ")))
            data = str_from(line, 6);
        if (line.len || !data.len)
            continue;
        struct arena *scratch = arena_new();
        if (from->reader_event(reader, scratch, &(struct stream_event){ name, data, false }, &first) < 0)
            fail_msg("event is not read: " STR_FMT, STR_ARG(data));
        arena_free(scratch);
        name = data = S("");
    }
    order_end(o, from->ends_without_word);
    order_free(o);
    if (from->reader_free)
        from->reader_free(reader);
    int rc = collector_reply(c, r, f);          /* its texts are in the arena */
    collector_free(c);
    return rc;
}

#endif
