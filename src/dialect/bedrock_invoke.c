/* dialect/bedrock_invoke.c -- Claude on Bedrock by InvokeModel: Messages in Amazon's envelope.
 *
 * The body is a Messages request without `model` and `stream` (the URL says both), with anthropic_version and the betas in it;
 * the answer is a Messages reply; a stream's events are `chunk` frames whose payload is {"bytes": base64 of one Messages
 * event}. So everything is the Messages dialect's, and this file wraps and unwraps. Errors are Amazon's. */
#include "dialect/anthropic.h"
#include "dialect/anthropic_parts.h"
#include "dialect/bedrock_parts.h"

static const str invoke_version = S("bedrock-2023-05-31");

static int request_read(struct arena *a, const struct json *j, const struct request_place *at, struct prompt *out, struct err *e)
{
    if (anthropic_prompt_read(a, j, BODY_INVOKE, out, e) < 0)
        return -1;
    size_t kept = 0;
    for (size_t i = 0; i < out->rest.n; i++)    /* the envelope's own */
        if (!str_eq(out->rest.items[i].key, S("anthropic_version")) && !str_eq(out->rest.items[i].key, S("anthropic_beta")))
            out->rest.items[kept++] = out->rest.items[i];
    out->rest.n = kept;
    out->model = at->model;
    out->is_streaming = at->is_streaming;
    return 0;
}

static int request_write(const struct prompt *p, const struct target *to, struct translation *t, struct buf *out)
{
    struct target invoke = *to;
    if (!invoke.anthropic_version.len)
        invoke.anthropic_version = invoke_version;
    return anthropic_request_write_as(p, &invoke, t, ENVELOPE_INVOKE, out);
}

/* ---- reading streams ---- */

static void *stream_reader_new(struct arena *a)
{
    return dialect_anthropic.reader_new(a);
}

static void stream_reader_free(void *reader)
{
    dialect_anthropic.reader_free(reader);
}

static int stream_reader_event(void *reader, struct arena *scratch, const struct stream_event *e, const struct delta_sink *to)
{
    struct json j;
    str inner;
    if (e->is_exception || str_ends(e->name, S("Exception"))) {
        void *converse = dialect_bedrock.reader_new(scratch);   /* exceptions are the same in all of Bedrock's streams */
        return dialect_bedrock.reader_event(converse, scratch, e, to);
    }
    if (!str_eq(e->name, S("chunk")))
        return 0;
    if (json_parse(scratch, e->data, &j, NULL) < 0 || !json_is(&j, 0, JSON_OBJECT))
        return -1;
    jref bytes = json_get(&j, 0, S("bytes"));
    if (!json_is(&j, bytes, JSON_STRING) || !base64_read(scratch, json_str(&j, bytes, scratch), &inner))
        return -1;
    return dialect_anthropic.reader_event(reader, scratch, &(struct stream_event){ .data = inner }, to);
}

/* ---- writing streams ---- */

struct stream_writer { const struct answer_context *c; void *messages; struct buf events; };

static void *stream_writer_new(const struct answer_context *c)
{
    struct stream_writer *s = ARENA_NEW(c->a, struct stream_writer);
    s->c = c;
    s->messages = dialect_anthropic.writer_new(c);
    return s;
}

static void stream_writer_free(void *writer)
{
    buf_free(&((struct stream_writer *)writer)->events);
}

/* "event: NAME\ndata: JSON\n\n" becomes a chunk. base64 costs an arena of its own, since a stream may be long. */
static void wrap(str event, struct buf *out)
{
    long at = str_find(event, S("\ndata: "));
    struct arena *scratch = at < 0 ? NULL : arena_new();
    if (!scratch) {
        out->is_failed |= at >= 0;
        return;
    }
    buf_str(out, S("event: chunk\ndata: {\"bytes\":\""));
    buf_str(out, base64_write(scratch, str_from(event, (size_t)at + 7)));
    buf_str(out, S("\"}\n\n"));
    arena_free(scratch);
}

static void stream_writer_delta(void *writer, const struct delta *d, struct buf *out)
{
    struct stream_writer *s = writer;
    if (d->kind == DELTA_ERROR) {
        dialect_bedrock.writer_delta(dialect_bedrock.writer_new(s->c), d, out);
        return;
    }
    s->events.len = 0;
    dialect_anthropic.writer_delta(s->messages, d, &s->events);
    for (str rest = buf_view(&s->events); rest.len; ) {
        long end = str_find(rest, S("\n\n"));
        str event = end < 0 ? rest : str_upto(rest, (size_t)end);
        rest = str_from(rest, event.len + 2);
        wrap(event, out);
    }
}

/* ---- errors ---- */

static bool error_read(struct arena *a, const struct json *j, int status, struct failure *out)
{
    return dialect_bedrock.error_read(a, j, status, out);
}

static void error_write(const struct failure *f, struct buf *out)
{
    dialect_bedrock.error_write(f, out);
}

const struct dialect_ops dialect_bedrock_invoke = {
    .name = "bedrock_invoke", .label = "bedrock",
    .request_read = request_read, .request_write = request_write,
    .reply_read = anthropic_reply_read, .reply_write = anthropic_reply_write,
    .reader_new = stream_reader_new, .reader_event = stream_reader_event, .reader_free = stream_reader_free,
    .writer_new = stream_writer_new, .writer_delta = stream_writer_delta, .writer_free = stream_writer_free,
    .error_read = error_read, .error_write = error_write,
    .error_header = BEDROCK_ERROR_HEADER, .error_named = bedrock_error_named,
};
