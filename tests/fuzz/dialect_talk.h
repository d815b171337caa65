/* tests/fuzz/dialect_talk.h -- what the fuzz targets of dialects share. The first byte of the input chooses what the rest is: a
 * request, a reply, a stream (server-sent events), an error. Whatever is read must come out of every writer as JSON; a request
 * that goes back to its own dialect is read again and written the same. */
#ifndef DIALECT_TALK_H
#define DIALECT_TALK_H

#include <assert.h>
#include <stdint.h>

#include "decide/facts.h"
#include "dialect/dialect.h"

static void talk_is_json(struct arena *a, str text, const char *who)
{
    struct json j;
    struct json_error e;
    if (json_parse(a, text, &j, &e) < 0) {
        fprintf(stderr, "%s wrote no JSON: %s at %zu of " STR_FMT "\n", who, e.what, e.at, STR_ARG(text));
        abort();
    }
}

static bool talk_write(struct arena *a, const struct dialect_ops *to, const struct prompt *p, unsigned how, str *out)
{
    struct target target = { .model = S("model"), .drops_unsupported = how & 1, .is_legacy_reasoning = how & 2,
                             .lacks_json_schema = how & 4, .lacks_strict = how & 16, .is_plain = how & 16,
                             .lacks_custom_tools = how & 16, .wants_reasoning_content = how & 16,
                             .call_id_max = how & 16 ? 9 : 0, .anthropic_betas = S("x, effort-2025-11-24") };
    struct translation *t = ARENA_NEW(a, struct translation);
    struct buf b = { 0 };
    t->a = a;
    if (to->request_write(p, &target, t, &b) < 0) {
        assert(t->refusal.text[0]);
        buf_free(&b);
        return false;
    }
    *out = buf_to_arena(&b, a);
    talk_is_json(a, *out, to->name);
    return true;
}

static const struct prompt *talk_again(struct arena *a, const struct dialect_ops *d, str written, struct prompt *out)
{
    struct json *j = ARENA_NEW(a, struct json);
    struct err e = { 0 };
    const struct request_place place = { .model = S("model") };
    if (json_parse(a, written, j, NULL) < 0 || d->request_read(a, j, &place, out, &e) < 0) {
        fprintf(stderr, "%s does not read what it wrote: %s\n" STR_FMT "\n", d->name, e.text, STR_ARG(written));
        abort();
    }
    return out;
}

static void talk_request(struct arena *a, const struct dialect_ops *d, const struct json *j, unsigned how)
{
    const struct request_place place = { .model = S("model"), .is_streaming = how & 8 };
    struct prompt p, again;
    struct err e = { 0 };
    struct chat chat;
    struct facts facts = { 0 };
    str own, twice, other;
    if (d->request_read(a, j, &place, &p, &e) < 0) {
        assert(e.text[0]);
        return;
    }
    prompt_chat(a, &p, &chat);
    facts_build(&facts, a, &chat);
    assert(facts.n_new_results <= facts.n_role[ROLE_TOOL]);
    for (uint32_t i = 0; i < chat.n_messages; i++)
        message_text(&chat.messages[i], a);
    prompt_name_results(&p, a);
    if (talk_write(a, d, &p, how & ~22u, &own)) {
        assert(talk_write(a, d, talk_again(a, d, own, &again), how & ~22u, &own));   /* the first time it may tidy up */
        assert(talk_write(a, d, talk_again(a, d, own, &again), how & ~22u, &twice));
        if (!str_eq(own, twice)) {
            fprintf(stderr, "%s writes differently the second time:\n" STR_FMT "\n" STR_FMT "\n", d->name, STR_ARG(own),
                    STR_ARG(twice));
            abort();
        }
    }
    for (size_t i = 0; dialect_all[i]; i++)
        talk_write(a, dialect_all[i], &p, how, &other);
}

static void talk_context(struct arena *a, struct answer_context *c, const struct dialect_ops *from)
{
    struct prompt *p = ARENA_NEW(a, struct prompt);
    p->parallel_tool_calls = p->logprobs = p->schema_strict = -1;
    *c = (struct answer_context){ .a = a, .prompt = p, .from = from, .request_id = S("0123456789abcdef"), .model = S("model"),
                                  .now = 1700000000, .prompt_tokens = 3, .includes_usage = true };
}

static void talk_reply(struct arena *a, const struct dialect_ops *d, const struct json *j)
{
    struct reply r;
    struct err e = { 0 };
    struct answer_context c;
    if (d->reply_read(a, j, &r, &e) < 0) {
        assert(e.text[0]);
        return;
    }
    talk_context(a, &c, d);
    for (size_t i = 0; dialect_all[i]; i++) {
        struct buf b = { 0 };
        dialect_all[i]->reply_write(&r, &c, &b);
        talk_is_json(a, buf_to_arena(&b, a), dialect_all[i]->name);
    }
}

struct talk_writers { size_t n; void *state[16]; struct buf out[16]; struct collector *collector; };

static void talk_take(void *arg, const struct delta *d)
{
    struct talk_writers *w = arg;
    for (size_t i = 0; i < w->n; i++)
        dialect_all[i]->writer_delta(w->state[i], d, &w->out[i]);
    collector_take(w->collector, d);
}

/* Every line of data is JSON, or [DONE]. */
static void talk_check_events(struct arena *a, str text, const char *who)
{
    while (text.len) {
        str line = str_trim(str_cut(&text, '\n'));
        if (str_starts(line, S("data: ")) && !str_eq(line, S("data: [DONE]")))
            talk_is_json(a, str_from(line, 6), who);
    }
}

struct talk_told { struct buf all; };

static void talk_note(void *arg, const struct delta *d)
{
    struct talk_told *t = arg;
    buf_printf(&t->all, "%d/%u/%d:", (int)d->kind, d->index, d->block ? (int)d->block->kind : -1);
    buf_str(&t->all, d->text);
    buf_str(&t->all, d->stop_text);
}

/* What the reader tells of the data lines. `is_slow`: a white space behind each second one keeps it from knowing an event by the
 * last one (dialect/ripple.h). */
static void talk_tell(const struct dialect_ops *d, str text, bool is_slow, struct talk_told *t)
{
    struct arena *a = arena_new();
    const struct delta_sink to = { talk_note, t };
    void *reader = d->reader_new(a);
    int rc = 0;
    for (unsigned i = 0; text.len && rc == 0; i++) {
        str line = str_cut(&text, '\n');
        if (!str_starts(line, S("data: ")))
            continue;
        struct arena *scratch = arena_new();
        line = arena_printf(scratch, "%.*s%s", (int)line.len - 6, line.ptr + 6, is_slow && i % 2 ? " " : "");
        rc = d->reader_event(reader, scratch, &(struct stream_event){ S(""), line, false }, &to);
        arena_free(scratch);
    }
    buf_printf(&t->all, "%d", rc);
    if (d->reader_free)
        d->reader_free(reader);
    arena_free(a);
}

static void talk_both_ways(const struct dialect_ops *d, str text)
{
    struct talk_told fast = { 0 }, slow = { 0 };
    talk_tell(d, text, false, &fast);
    talk_tell(d, text, true, &slow);
    if (!str_eq(buf_view(&fast.all), buf_view(&slow.all))) {
        fprintf(stderr, "%s: an event that is known is told differently:\n" STR_FMT "\n" STR_FMT "\n", d->name,
                STR_ARG(buf_view(&fast.all)), STR_ARG(buf_view(&slow.all)));
        abort();
    }
    buf_free(&fast.all);
    buf_free(&slow.all);
}

static void talk_stream(struct arena *a, const struct dialect_ops *d, str text)
{
    struct talk_writers w = { .collector = collector_new(a, d) };
    struct answer_context c;
    const struct delta_sink last = { talk_take, &w };
    struct order *o = order_new(a, 1, &last);
    const struct delta_sink first = { order_take, o };
    void *reader = d->reader_new(a);
    str name = S("");
    talk_context(a, &c, d);
    for (; dialect_all[w.n]; w.n++)
        w.state[w.n] = dialect_all[w.n]->writer_new(&c);
    while (text.len && !order_is_over(o)) {
        str line = str_cut(&text, '\n');
        if (str_starts(line, S("event: ")))
            name = str_from(line, 7);
        if (!str_starts(line, S("data: ")))
            continue;
        struct arena *scratch = arena_new();
        bool is_exception = str_ends(name, S("Exception"));
        int rc = d->reader_event(reader, scratch, &(struct stream_event){ name, str_from(line, 6), is_exception }, &first);
        arena_free(scratch);
        if (rc < 0)
            break;
    }
    order_end(o, d->ends_without_word);
    struct reply r;
    struct failure f;
    if (collector_reply(w.collector, &r, &f) == 0)
        for (size_t i = 0; i < w.n; i++) {
            struct buf b = { 0 };
            dialect_all[i]->reply_write(&r, &c, &b);
            talk_is_json(a, buf_to_arena(&b, a), dialect_all[i]->name);
        }
    for (size_t i = 0; i < w.n; i++) {
        talk_check_events(a, buf_view(&w.out[i]), dialect_all[i]->name);
        buf_free(&w.out[i]);
        if (dialect_all[i]->writer_free)
            dialect_all[i]->writer_free(w.state[i]);
    }
    if (d->reader_free)
        d->reader_free(reader);
    order_free(o);
    collector_free(w.collector);
}

static void talk_error(struct arena *a, const struct dialect_ops *d, const struct json *j, int status)
{
    struct failure f;
    if (!d->error_read(a, j, status, &f))
        return;
    for (size_t i = 0; dialect_all[i]; i++) {
        struct buf b = { 0 };
        dialect_all[i]->error_write(&f, &b);
        talk_is_json(a, buf_to_arena(&b, a), dialect_all[i]->name);
    }
}

static void talk_about(const struct dialect_ops *d, const uint8_t *data, size_t size)
{
    enum { REQUEST, REPLY, STREAM, ERROR };
    if (size < 2)
        return;
    struct arena *a = arena_new();
    str text = arena_str(a, (str){ (const char *)data + 1, size - 1 });
    struct json j;
    unsigned kind = data[0] & 3u, how = data[0] >> 2;
    if (kind == STREAM) {
        talk_stream(a, d, text);
        if (!str_starts(str_of(d->name), S("bedrock")))     /* its frames are no lines */
            talk_both_ways(d, text);
    } else if (json_parse(a, text, &j, NULL) == 0) {
        if (kind == REQUEST)
            talk_request(a, d, &j, how);
        else if (kind == REPLY)
            talk_reply(a, d, &j);
        else
            talk_error(a, d, &j, how & 1 ? 529 : how & 2 ? 400 : 0);
    }
    arena_free(a);
}

#endif
