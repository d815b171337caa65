/* translation_kit.h -- on top of talk.h: requests, answers and streams from one dialect to another, for a client whose request is
 * given. */
#ifndef TRANSLATION_KIT_H
#define TRANSLATION_KIT_H

#include "talk.h"

struct kit_request {                    /* what comes of a request */
    int rc;                             /* -1: not read, -2: refused */
    str body;
    struct err err;
    struct prompt prompt;
    struct translation t;
};

__attribute__((unused)) static struct kit_request kit_request(const char *from, const char *to, str body, const char *model,
                                                              bool drops)
{
    struct kit_request k = { .t = { .a = a } };
    const struct json *j = talk_json(body);
    struct request_place at = { .model = S("asked") };
    struct target target = { .model = str_of(model), .drops_unsupported = drops };
    struct buf out = { 0 };
    if (dialect_by_name(str_of(from))->request_read(a, j, &at, &k.prompt, &k.err) < 0) {
        k.rc = -1;
        return k;
    }
    if (dialect_by_name(str_of(to))->request_write(&k.prompt, &target, &k.t, &out) < 0) {
        buf_free(&out);
        k.rc = -2;
        return k;
    }
    k.body = buf_to_arena(&out, a);
    return k;
}

__attribute__((unused)) static bool kit_warned(const struct translation *t, const char *field)
{
    for (size_t i = 0; i < t->n_warnings; i++)
        if (str_eq(t->warnings[i].field, str_of(field)))
            return true;
    return false;
}

/* What a writer of answers is told; `asked`: the client's request in its dialect, NULL: one that says nothing. */
__attribute__((unused)) static struct answer_context kit_context(const char *from, const char *to, const char *asked)
{
    struct prompt *p = arena_alloc(a, sizeof *p);
    struct err e = { 0 };
    const char *empty = strcmp(to, "gemini") == 0 ? "{\"contents\":[{\"parts\":[{\"text\":\"q\"}]}]}"
        : "{\"model\":\"asked\",\"input\":\"q\"}";
    const struct json *j = talk_json(str_of(asked ? asked : empty));
    if (dialect_by_name(str_of(to))->request_read(a, j, &(struct request_place){ .model = S("asked") }, p, &e) < 0)
        fail_msg("%s", e.text);
    return (struct answer_context){ .a = a, .prompt = p, .from = dialect_by_name(str_of(from)), .request_id = S("req_1"),
                                    .model = S("asked"), .now = 1700000000, .includes_usage = true };
}

__attribute__((unused)) static str kit_reply(const char *from, const char *to, str body, const char *asked)
{
    const struct json *j = talk_json(body);
    struct reply r = { 0 };
    struct err e = { 0 };
    struct buf out = { 0 };
    struct answer_context c = kit_context(from, to, asked);
    if (dialect_by_name(str_of(from))->reply_read(a, j, &r, &e) < 0)
        return arena_printf(a, "!%s", e.text);
    dialect_by_name(str_of(to))->reply_write(&r, &c, &out);
    return buf_to_arena(&out, a);
}

struct kit_stream { const struct dialect_ops *to; void *writer; struct buf out; };

__attribute__((unused)) static void kit_take(void *arg, const struct delta *d)
{
    struct kit_stream *s = arg;
    s->to->writer_delta(s->writer, d, &s->out);
}

/* Events: "data: ..." lines or plain JSON, one a line; an "event: ..." line names the next. */
__attribute__((unused)) static str kit_stream(const char *from, const char *to, str events, const char *asked)
{
    const struct dialect_ops *f = dialect_by_name(str_of(from));
    struct answer_context c = kit_context(from, to, asked);
    struct kit_stream s = { .to = dialect_by_name(str_of(to)) };
    s.writer = s.to->writer_new(&c);
    struct order *o = order_new(a, 1, &(struct delta_sink){ kit_take, &s });
    struct delta_sink sink = { order_take, o };
    void *reader = f->reader_new(a);
    str name = { 0 };
    while (events.len) {
        str line = str_trim(str_cut(&events, '\n'));
        if (str_starts(line, S("event: "))) {
            name = str_from(line, 7);
            continue;
        }
        if (str_starts(line, S("data: ")))
            line = str_from(line, 6);
        if (!line.len)
            continue;
        struct arena *scratch = arena_new();
        char *copy = arena_cstr(scratch, line);         /* deltas live only during the call */
        f->reader_event(reader, scratch, &(struct stream_event){ name, { copy, line.len }, false }, &sink);
        arena_free(scratch);
        name = S("");
    }
    order_end(o, f->ends_without_word);
    order_free(o);
    if (f->reader_free)
        f->reader_free(reader);
    if (s.to->writer_free)
        s.to->writer_free(s.writer);
    return buf_to_arena(&s.out, a);
}

__attribute__((unused)) static void kit_has(str text, const char *part)
{
    if (str_find(text, str_of(part)) < 0) {
        print_message("%.*s\nlacks %s\n", (int)text.len, text.ptr, part);
        fail();
    }
}

__attribute__((unused)) static void kit_lacks(str text, const char *part)
{
    if (str_find(text, str_of(part)) >= 0) {
        print_message("%.*s\nhas %s\n", (int)text.len, text.ptr, part);
        fail();
    }
}

#endif
