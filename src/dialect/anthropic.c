/* dialect/anthropic.c -- the Messages dialect: streams, errors, counts, models; requests and replies are in anthropic_read.c
 * and anthropic_write.c.
 *
 * A Messages stream is the canonical one spelled out: blocks that open, grow and close one after the other. So both state
 * machines are small. The reader forgives what bridges get wrong (no index, no start, input whole in the start event, no
 * event names); the writer opens a text or thinking block only when there is something in it, because agents send back
 * what they got and the API refuses empty texts. */
#include "base/put.h"
#include "dialect/anthropic.h"
#include "dialect/anthropic_parts.h"
#include "dialect/ripple.h"

#include <time.h>

/* ---- reading streams ---- */

enum { HELD_MAX = 1 << 20, PARTS_MAX = 4096 };  /* bytes kept of blocks' starts and inputs; blocks of an answer */

/* A block of the stream. Its number for the sink is its place in the list, since bridges number as they like. */
struct part {
    uint32_t index;                 /* the stream's */
    enum block_kind kind;
    bool is_open, has_pieces;
    /* What is told only when the block closes: the input of a tool's start event, which deltas may still replace; or a
     * block of another kind (server tools), whose input comes in pieces of JSON. */
    struct buf held, pieces;
};

struct stream_reader {
    struct arena *a;
    struct usage usage;
    struct part *parts; uint32_t n;
    size_t held_bytes;
    bool is_started, has_stopped, is_over;
    struct ripple ripple;
};

static void *stream_reader_new(struct arena *a)
{
    struct stream_reader *s = ARENA_NEW(a, struct stream_reader);
    s->a = a;
    return s;
}

static void stream_reader_free(void *reader)
{
    struct stream_reader *s = reader;
    for (uint32_t i = 0; i < s->n; i++) {
        buf_free(&s->parts[i].held);
        buf_free(&s->parts[i].pieces);
    }
    ripple_free(&s->ripple);
}

struct event { struct stream_reader *s; struct reading f; const struct delta_sink *to; };

static void tell(const struct event *v, struct delta d)
{
    v->to->take(v->to->arg, &d);
}

static void tell_text(const struct event *v, enum delta_kind kind, const struct part *p, str text)
{
    if (text.len)
        tell(v, (struct delta){ .kind = kind, .index = (uint32_t)(p - v->s->parts), .text = text });
}

static void start_once(const struct event *v, struct delta d)
{
    if (v->s->is_started)
        return;
    v->s->is_started = true;
    d.kind = DELTA_START;
    tell(v, d);
}

static int message_start(const struct event *v)
{
    const struct json *j = v->f.j;
    jref message = json_get(j, 0, S("message"));
    struct delta d = { .kind = DELTA_START };
    struct members usage_rest = { 0 };
    if (json_is(j, message, JSON_OBJECT)) {
        static const str names[] = { S("id"), S("type"), S("role"), S("model"), S("content"), S("stop_reason"),
                                     S("stop_sequence"), S("usage") };
        jref m[COUNT_OF(names)];
        fields_get(&v->f, message, names, COUNT_OF(names), m, &d.rest, S(""));
        d.id = m[0] == JSON_NONE ? S("") : json_str(j, m[0], v->f.a);
        d.model = m[3] == JSON_NONE ? S("") : json_str(j, m[3], v->f.a);
        if (json_is(j, m[7], JSON_OBJECT)) {
            anthropic_usage_read(&v->f, m[7], &v->s->usage, &d.service_tier, &usage_rest);
            d.usage = &v->s->usage;
        }
    }
    for (size_t i = 0; i < usage_rest.n; i++)
        members_add(&d.rest, v->f.a, usage_rest.items[i].key, usage_rest.items[i].raw);
    start_once(v, d);
    return 0;
}

/* A block of another kind, with the input that came in pieces put into it. */
static void tell_other(const struct event *v, const struct part *p)
{
    struct json j;
    struct block b = { .kind = BLOCK_OTHER, .raw = buf_view(&p->held) };
    struct buf whole = { 0 };
    if (json_parse(v->f.a, b.raw, &j, NULL) == 0 && json_is(&j, 0, JSON_OBJECT)) {
        jref type = json_get(&j, 0, S("type"));
        b.raw_type = json_is(&j, type, JSON_STRING) ? json_str(&j, type, v->f.a) : S("");
        if (p->pieces.len && json_is_object_text(v->f.a, buf_view(&p->pieces))) {
            struct json_edits edits = { .a = v->f.a };
            json_edit_set(&edits, &j, 0, S("input"), buf_view(&p->pieces));
            json_edits_write(&edits, &j, &whole);
            b.raw = buf_view(&whole);
        }
    }
    tell(v, (struct delta){ .kind = DELTA_BLOCK, .index = (uint32_t)(p - v->s->parts), .block = &b });
    buf_free(&whole);
}

static void close_part(const struct event *v, struct part *p)
{
    if (!p->is_open)
        return;
    p->is_open = false;
    if (p->kind == BLOCK_OTHER)
        tell_other(v, p);
    else if (!p->has_pieces)
        tell_text(v, DELTA_PIECE, p, buf_view(&p->held));
    tell(v, (struct delta){ .kind = DELTA_CLOSE, .index = (uint32_t)(p - v->s->parts) });
    buf_free(&p->held);
    buf_free(&p->pieces);
}

static void close_all(const struct event *v)
{
    for (uint32_t i = 0; i < v->s->n; i++)
        close_part(v, &v->s->parts[i]);
}

/* The event's part: by its index or, when it has none, the last that began. NULL: none is open. */
static struct part *part_of(const struct event *v)
{
    struct stream_reader *s = v->s;
    int64_t index = -1;
    jref n = json_get(v->f.j, 0, S("index"));
    bool has_index = n != JSON_NONE && json_int(v->f.j, n, &index);
    for (uint32_t i = s->n; i-- > 0; )
        if (s->parts[i].is_open && (!has_index || s->parts[i].index == index))
            return &s->parts[i];
    return NULL;
}

static int keep(const struct event *v, struct buf *to, str text)
{
    if (text.len > HELD_MAX - v->s->held_bytes)
        return fields_fail(&v->f, NULL, "the input of a tool is too long");
    v->s->held_bytes += text.len;
    buf_str(to, text);
    return 0;
}

/* Blocks do not overlap in this API. A bridge that forgets to close a text has closed it when the next block begins; one
 * that interleaves tools may go on with the first. NULL: too many. */
static struct part *begin(const struct event *v, const struct block *b)
{
    struct stream_reader *s = v->s;
    int64_t index = s->n;
    jref n = json_get(v->f.j, 0, S("index"));
    if (n != JSON_NONE && !json_int(v->f.j, n, &index))
        index = s->n;
    start_once(v, (struct delta){ 0 });
    for (uint32_t i = 0; i < s->n; i++)
        if (s->parts[i].kind != BLOCK_TOOL_CALL || s->parts[i].index == index)
            close_part(v, &s->parts[i]);
    if (s->n == PARTS_MAX) {
        fields_fail(&v->f, NULL, "more blocks than an answer can have");
        return NULL;
    }
    struct part *p = PUSH(s->a, s->parts, s->n);
    *p = (struct part){ .index = (uint32_t)index, .kind = b->kind, .is_open = true };
    if (b->kind == BLOCK_OTHER)
        return keep(v, &p->held, b->raw) < 0 ? NULL : p;
    struct block first = *b;                    /* its texts come as pieces */
    first.text = first.arguments = first.citations = S("");
    first.signature = b->kind == BLOCK_REASONING ? S("") : b->signature;
    tell(v, (struct delta){ .kind = DELTA_BLOCK, .index = s->n - 1, .block = &first });
    tell_text(v, DELTA_PIECE, p, b->text);
    if (b->kind == BLOCK_REASONING)
        tell_text(v, DELTA_SIGNATURE, p, b->signature);
    bool has_input = b->kind == BLOCK_TOOL_CALL && !str_eq(b->arguments, S("{}"));
    return has_input && keep(v, &p->held, b->arguments) < 0 ? NULL : p;
}

static int block_start(const struct event *v)
{
    struct block b;
    jref n = json_get(v->f.j, 0, S("content_block"));
    if (n == JSON_NONE)
        return fields_wrong(&v->f, AT(NULL, "content_block"), JSON_NONE, "an object");
    if (anthropic_block_read(&v->f, AT(NULL, "content_block"), n, &b) < 0)
        return -1;
    return begin(v, &b) ? 0 : -1;
}

static int block_delta(const struct event *v)
{
    static const struct { str type, member; enum delta_kind kind; enum block_kind block; } types[] = {
        { S("text_delta"), S("text"), DELTA_PIECE, BLOCK_TEXT },
        { S("thinking_delta"), S("thinking"), DELTA_PIECE, BLOCK_REASONING },
        { S("signature_delta"), S("signature"), DELTA_SIGNATURE, BLOCK_REASONING },
        { S("input_json_delta"), S("partial_json"), DELTA_PIECE, BLOCK_TOOL_CALL },
        { S("citations_delta"), S("citation"), DELTA_CITATION, BLOCK_TEXT },
    };
    const struct json *j = v->f.j;
    jref d = json_get(j, 0, S("delta"));
    if (!json_is(j, d, JSON_OBJECT))
        return fields_wrong(&v->f, AT(NULL, "delta"), d, "an object");
    jref type = json_get(j, d, S("type"));
    str name = json_is(j, type, JSON_STRING) ? json_str(j, type, v->f.a) : S("");
    size_t k = 0;
    while (k < COUNT_OF(types) && !str_eq(types[k].type, name))
        k++;
    jref value = k < COUNT_OF(types) ? json_get(j, d, types[k].member) : JSON_NONE;
    if (value == JSON_NONE)
        return 0;                               /* next year's: it belongs to a kind of block we cannot tell anyway */
    struct part *p = part_of(v);
    /* No content_block_start, or another kind of delta in the same block: a block of its own. */
    if (!p || (p->kind != types[k].block && p->kind != BLOCK_OTHER)) {
        if (types[k].block == BLOCK_TOOL_CALL)
            return fields_fail(&v->f, NULL, "input_json_delta for a block that has not begun");
        p = begin(v, &(struct block){ .kind = types[k].block });
        if (!p)
            return -1;
    }
    if (p->kind == BLOCK_OTHER)
        return types[k].block == BLOCK_TOOL_CALL ? keep(v, &p->pieces, json_str(j, value, v->f.a)) : 0;
    str text = types[k].kind == DELTA_CITATION ? json_raw(j, value) : json_str(j, value, v->f.a);
    p->has_pieces |= text.len > 0;
    tell_text(v, types[k].kind, p, text);
    return 0;
}

static int message_delta(const struct event *v)
{
    static const str names[] = { S("stop_reason"), S("stop_sequence") };
    const struct json *j = v->f.j;
    jref d = json_get(j, 0, S("delta")), usage = json_get(j, 0, S("usage")), m[2] = { JSON_NONE, JSON_NONE };
    struct delta stop = { .kind = DELTA_STOP };
    struct members usage_rest = { 0 };
    close_all(v);
    start_once(v, (struct delta){ 0 });
    if (json_is(j, d, JSON_OBJECT))
        fields_get(&v->f, d, names, 2, m, &stop.rest, S(""));
    if (json_is(j, usage, JSON_OBJECT))
        anthropic_usage_read(&v->f, usage, &v->s->usage, NULL, &usage_rest);
    for (size_t i = 0; i < usage_rest.n; i++)
        members_add(&stop.rest, v->f.a, usage_rest.items[i].key, usage_rest.items[i].raw);
    if (json_is(j, m[0], JSON_STRING)) {
        stop.stop_text = json_str(j, m[0], v->f.a);
        stop.stop = anthropic_stop_read(stop.stop_text);
        stop.stop_sequence = json_is(j, m[1], JSON_STRING) ? json_str(j, m[1], v->f.a) : S("");
        v->s->has_stopped = true;
        tell(v, stop);
    }
    if (v->s->usage.is_known)
        tell(v, (struct delta){ .kind = DELTA_USAGE, .usage = &v->s->usage });
    return 0;
}

static int message_stop(const struct event *v)
{
    close_all(v);
    v->s->is_over = true;
    tell(v, (struct delta){ .kind = DELTA_END });
    return 0;
}

static bool error_read(struct arena *a, const struct json *j, int status, struct failure *out);

static int error_event(const struct event *v)
{
    struct failure failure;
    if (!error_read(v->f.a, v->f.j, 0, &failure))
        return fields_fail(&v->f, NULL, "an error event without an error");
    v->s->is_over = true;
    tell(v, (struct delta){ .kind = DELTA_ERROR, .failure = &failure });
    return 0;
}

static int ping(const struct event *v)
{
    tell(v, (struct delta){ .kind = DELTA_PING });
    return 0;
}

static int block_stop(const struct event *v)
{
    struct part *p = part_of(v);
    if (p)
        close_part(v, p);
    return 0;
}

static int event_read(struct stream_reader *s, struct arena *scratch, const struct stream_event *e, const struct delta_sink *to)
{
    static const struct { str name; int (*read)(const struct event *v); } events[] = {
        { S("content_block_delta"), block_delta }, { S("content_block_start"), block_start },
        { S("content_block_stop"), block_stop }, { S("message_start"), message_start },
        { S("message_delta"), message_delta }, { S("message_stop"), message_stop }, { S("ping"), ping },
        { S("error"), error_event },
    };
    struct json j;
    struct json_error je;
    struct err err = { 0 };
    struct event v = { s, { scratch, &j, &err }, to };
    if (v.s->is_over)
        return 0;
    if (str_starts(e->data, S("[DONE]")))       /* of no Messages API, but bridges send it */
        return v.s->has_stopped ? message_stop(&v) : 0;
    if (json_parse(scratch, e->data, &j, &je) < 0 || !json_is(&j, 0, JSON_OBJECT))
        return -1;
    jref type = json_get(&j, 0, S("type"));
    str name = json_is(&j, type, JSON_STRING) ? json_str(&j, type, scratch) : e->name;
    for (size_t i = 0; i < COUNT_OF(events); i++)
        if (str_eq(events[i].name, name))
            return events[i].read(&v);
    return json_get(&j, 0, S("error")) != JSON_NONE ? error_event(&v) : 0;     /* unknown events are next year's */
}

static int stream_reader_event(void *reader, struct arena *scratch, const struct stream_event *e, const struct delta_sink *to)
{
    struct stream_reader *s = reader;
    struct ripple_watch w;
    str text;
    if (ripple_next(&s->ripple, e, scratch, &text)) {
        to->take(to->arg, &(struct delta){ .kind = DELTA_PIECE, .index = s->ripple.index, .text = text });
        return 0;
    }
    int rc = event_read(s, scratch, e, ripple_watch(&w, to));
    ripple_learn(&s->ripple, e, &w);
    return rc;
}

/* ---- writing streams ---- */

struct stream_writer {
    const struct answer_context *c;
    uint32_t next;                  /* index of the next block */
    struct block block;             /* the open one, its texts left out */
    bool is_started, is_block, is_written, has_input, is_over, has_call, has_refusal;
    str pending;                    /* signature of a block that has no place for one: an envelope follows the block */
};

static void *stream_writer_new(const struct answer_context *c)
{
    struct stream_writer *s = ARENA_NEW(c->a, struct stream_writer);
    s->c = c;
    return s;
}

/* Whose deltas these are; NULL: nobody said. Invoke's are Messages' own. */
static const struct dialect_ops *stream_from(const struct stream_writer *s)
{
    bool is_invoke = s->c->from && strcmp(s->c->from->name, "bedrock_invoke") == 0;
    return is_invoke ? &dialect_anthropic : s->c->from;
}

static struct json_writer typed_event(str name, struct buf *out)       /* which repeats its name in `type` */
{
    struct json_writer w = event_begin(name, out);
    put_str(&w, S("type"), name);
    return w;
}

static void write_start(struct stream_writer *s, const struct delta *d, struct buf *out)
{
    static const str nested[] = { S("usage") };
    const struct answer_context *c = s->c;
    bool is_own = stream_from(s) == &dialect_anthropic && d;
    struct usage estimate = { .prompt_tokens = c->prompt_tokens, .completion_tokens = 1 };
    struct json_writer w;
    if (s->is_started)
        return;
    s->is_started = true;
    w = typed_event(S("message_start"), out);
    put_open(&w, S("message"), '{');
    put_str(&w, S("id"), d && d->id.len ? d->id : arena_printf(c->a, "msg_" STR_FMT, STR_ARG(c->request_id)));
    put_str(&w, S("type"), S("message"));
    put_str(&w, S("role"), S("assistant"));
    put_str(&w, S("model"), d && d->model.len ? d->model : c->model);
    put_raw(&w, S("content"), S("[]"));
    put_null(&w, S("stop_reason"));
    put_null(&w, S("stop_sequence"));
    jw_key(&w, S("usage"));
    anthropic_usage_write(&w, d && d->usage && d->usage->prompt_tokens > 0 ? d->usage : &estimate, d ? d->service_tier : S(""),
                          is_own ? &d->rest : NULL);
    if (is_own)
        rest_write(&w, &d->rest, S(""), nested, 1);
    jw_end(&w, '}');
    event_end(&w);
}

static void write_block_start(struct stream_writer *s, const struct block *b, struct buf *out)
{
    struct json_writer w = typed_event(S("content_block_start"), out);
    put_int(&w, S("index"), s->next);
    jw_key(&w, S("content_block"));
    anthropic_block_write(&w, b, s->c, stream_from(s), true);
    event_end(&w);
}

/* Nearly all of a stream is this event: its frame is spelled, not built. */
static void write_block_delta(struct stream_writer *s, str type, str key, str value, bool is_raw, struct buf *out)
{
    buf_str(out, S("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":"));
    buf_u64(out, s->next);
    buf_str(out, S(",\"delta\":{\"type\":\""));
    buf_str(out, type);
    buf_str(out, S("\",\""));
    buf_str(out, key);
    buf_str(out, S("\":"));
    if (is_raw)
        buf_str(out, value);
    else
        json_quote(out, value);
    buf_str(out, S("}}\n\n"));
}

static void write_block_stop(struct stream_writer *s, struct buf *out)
{
    struct json_writer w = typed_event(S("content_block_stop"), out);
    put_int(&w, S("index"), s->next++);
    event_end(&w);
}

/* Of anthropic_parts.h: another family's signature as a block of its own. */
static void write_envelope(struct stream_writer *s, str wrapped, struct buf *out)
{
    struct block b = { .kind = BLOCK_SEALED_REASONING, .sealed = wrapped };
    struct json_writer w = typed_event(S("content_block_start"), out);
    put_int(&w, S("index"), s->next);
    jw_key(&w, S("content_block"));
    anthropic_block_write(&w, &b, s->c, &dialect_anthropic, true);
    event_end(&w);
    write_block_stop(s, out);
}

/* Texts wait for their first piece; everything else is told at once. */
static void open_block(struct stream_writer *s, const struct block *b, struct buf *out)
{
    str origin = anthropic_origin(b, stream_from(s));
    bool is_reasoning = b->kind == BLOCK_REASONING || b->kind == BLOCK_SEALED_REASONING;
    if (b->kind == BLOCK_OTHER && stream_from(s) != &dialect_anthropic)
        return;                                 /* the provider ran it; its result is in the text */
    if (b->signature.len && origin.len && !is_reasoning)
        write_envelope(s, anthropic_wrap(s->c->a, origin, "next", b->signature), out);
    s->is_block = true;
    s->is_written = s->has_input = false;
    s->pending = S("");
    s->block = *b;
    s->block.text = s->block.arguments = s->block.signature = S("");
    s->has_call |= b->kind == BLOCK_TOOL_CALL;
    s->has_refusal |= b->kind == BLOCK_REFUSAL;
    if (b->kind == BLOCK_TEXT || b->kind == BLOCK_REFUSAL || b->kind == BLOCK_REASONING)
        return;
    s->is_written = true;
    write_block_start(s, b, out);
    if (b->kind == BLOCK_IMAGE || b->kind == BLOCK_AUDIO || b->kind == BLOCK_FILE)
        write_block_delta(s, S("text_delta"), S("text"),
                          S("[media in the answer: the Messages API has no place for it]"), false, out);
}

static void ensure_written(struct stream_writer *s, struct buf *out)
{
    if (s->is_written)
        return;
    s->is_written = true;
    write_block_start(s, &s->block, out);
}

/* A custom tool's text becomes the string in {"input":"..."}; its pieces are complete characters, so each is quoted alone. */
static void write_input_piece(struct stream_writer *s, str text, struct buf *out)
{
    if (!s->block.is_custom) {
        write_block_delta(s, S("input_json_delta"), S("partial_json"), text, false, out);
        return;
    }
    struct buf quoted = { 0 };
    buf_str(&quoted, s->has_input ? S("") : S("{\"input\":"));
    size_t at = quoted.len;
    json_quote(&quoted, text);
    str view = str_upto(buf_view(&quoted), quoted.len ? quoted.len - 1 : 0);
    if (s->has_input)
        view = str_from(view, at + 1);
    write_block_delta(s, S("input_json_delta"), S("partial_json"), view, false, out);
    s->has_input = true;
    buf_free(&quoted);
}

static void write_piece(struct stream_writer *s, str text, struct buf *out)
{
    if (!s->is_block || !text.len || s->block.kind == BLOCK_OTHER)
        return;
    ensure_written(s, out);
    if (s->block.kind == BLOCK_TOOL_CALL)
        write_input_piece(s, text, out);
    else if (s->block.kind == BLOCK_REASONING)
        write_block_delta(s, S("thinking_delta"), S("thinking"), text, false, out);
    else if (s->block.kind == BLOCK_TEXT || s->block.kind == BLOCK_REFUSAL)
        write_block_delta(s, S("text_delta"), S("text"), text, false, out);
}

static void write_signature(struct stream_writer *s, str signature, struct buf *out)
{
    struct block b = s->block;
    b.signature = signature;
    str origin = anthropic_origin(&b, stream_from(s));
    if (!s->is_block || !signature.len)
        return;
    if (b.kind == BLOCK_REASONING) {
        ensure_written(s, out);
        write_block_delta(s, S("signature_delta"), S("signature"),
                          origin.len ? anthropic_wrap(s->c->a, origin, "thought", signature) : signature, false, out);
    } else if (origin.len) {
        s->pending = anthropic_wrap(s->c->a, origin, "last", signature);
    }
}

static void close_open_block(struct stream_writer *s, struct buf *out)
{
    if (s->is_block && s->is_written) {
        if (s->block.is_custom && s->block.kind == BLOCK_TOOL_CALL)
            write_block_delta(s, S("input_json_delta"), S("partial_json"),
                              s->has_input ? S("\"}") : S("{\"input\":\"\"}"), false, out);
        write_block_stop(s, out);
        if (s->pending.len)
            write_envelope(s, s->pending, out);
    }
    s->is_block = false;
    s->pending = S("");
}

static void write_error(struct stream_writer *s, const struct failure *f, struct buf *out)
{
    buf_str(out, S("event: error\ndata: "));
    dialect_anthropic.error_write(f, out);
    buf_str(out, S("\n\n"));
    s->is_over = true;
}

static void write_stop(struct stream_writer *s, const struct delta *d, struct buf *out)
{
    static const str nested[] = { S("usage") };
    bool is_own = stream_from(s) == &dialect_anthropic;
    struct usage estimate = { .prompt_tokens = s->c->prompt_tokens };
    struct json_writer w;
    if (d->stop == STOP_MALFORMED) {
        const struct failure f = { .kind = FAILURE_UPSTREAM, .message = S("the model's tool call could not be read") };
        write_error(s, &f, out);
        return;
    }
    bool is_end = d->stop == STOP_END || d->stop == STOP_UNKNOWN;
    str stop = anthropic_stop_name(d->stop);
    if (is_own && d->stop_text.len)
        stop = d->stop_text;
    else if (is_end && s->has_call)
        stop = S("tool_use");
    else if (is_end && s->has_refusal)
        stop = S("refusal");
    else if (!stop.len)
        stop = S("end_turn");
    w = typed_event(S("message_delta"), out);
    put_open(&w, S("delta"), '{');
    put_str(&w, S("stop_reason"), stop);
    jw_key(&w, S("stop_sequence"));
    if (d->stop_sequence.len)
        jw_str(&w, d->stop_sequence);
    else
        jw_null(&w);
    if (is_own)
        rest_write(&w, &d->rest, S(""), nested, 1);
    jw_end(&w, '}');
    jw_key(&w, S("usage"));
    anthropic_usage_write(&w, d->usage ? d->usage : &estimate, S(""), is_own ? &d->rest : NULL);
    event_end(&w);
}

static void stream_writer_delta(void *writer, const struct delta *d, struct buf *out)
{
    struct stream_writer *s = writer;
    struct json_writer w;
    if (s->is_over)
        return;
    if (d->kind == DELTA_START) {
        write_start(s, d, out);
        return;
    }
    if (d->kind != DELTA_PING && d->kind != DELTA_ERROR)
        write_start(s, NULL, out);
    switch (d->kind) {
    case DELTA_BLOCK:
        close_open_block(s, out);
        open_block(s, d->block, out);
        break;
    case DELTA_PIECE: write_piece(s, d->text, out); break;
    case DELTA_SIGNATURE: write_signature(s, d->text, out); break;
    case DELTA_CITATION:
        if (!s->is_block || stream_from(s) != &dialect_anthropic || s->block.kind != BLOCK_TEXT)
            break;
        ensure_written(s, out);
        write_block_delta(s, S("citations_delta"), S("citation"), d->text, true, out);
        break;
    case DELTA_CLOSE: close_open_block(s, out); break;
    case DELTA_STOP:
        close_open_block(s, out);
        write_stop(s, d, out);
        break;
    case DELTA_PING:
        w = typed_event(S("ping"), out);
        event_end(&w);
        break;
    case DELTA_ERROR: write_error(s, d->failure, out); break;
    case DELTA_END:
        w = typed_event(S("message_stop"), out);
        event_end(&w);
        s->is_over = true;
        break;
    default: break;                             /* usage is with the stop; log probabilities have no place */
    }
}

/* ---- errors ---- */

/* Spec 04, sections 4.3 and 4.11. The first line of a kind is how it is written. */
static const struct { str type; enum failure_kind kind; int status; } errors[] = {
    { S("invalid_request_error"), FAILURE_INVALID, 400 },
    { S("authentication_error"), FAILURE_AUTH, 401 },
    { S("billing_error"), FAILURE_BILLING, 402 },
    { S("permission_error"), FAILURE_PERMISSION, 403 },
    { S("not_found_error"), FAILURE_NOT_FOUND, 404 },
    { S("conflict_error"), FAILURE_CONFLICT, 409 },
    { S("request_too_large"), FAILURE_TOO_LARGE, 413 },
    { S("rate_limit_error"), FAILURE_RATE_LIMIT, 429 },
    { S("api_error"), FAILURE_SERVER, 500 },
    { S("api_error"), FAILURE_UPSTREAM, 502 },
    { S("overloaded_error"), FAILURE_OVERLOADED, 529 },
    { S("timeout_error"), FAILURE_TIMEOUT, 504 },
};

static bool error_read(struct arena *a, const struct json *j, int status, struct failure *out)
{
    *out = (struct failure){ .status = status };
    if (!json_is(j, 0, JSON_OBJECT))
        return false;
    jref error = json_get(j, 0, S("error"));
    if (!json_is(j, error, JSON_OBJECT))
        return false;
    jref type = json_get(j, error, S("type")), message = json_get(j, error, S("message")), id = json_get(j, 0, S("request_id"));
    jref details = json_get(j, error, S("details"));
    if (!json_is(j, type, JSON_STRING) && !json_is(j, message, JSON_STRING))
        return false;
    out->type = json_is(j, type, JSON_STRING) ? json_str(j, type, a) : S("");
    out->message = json_is(j, message, JSON_STRING) ? json_str(j, message, a) : S("");
    out->request_id = json_is(j, id, JSON_STRING) ? json_str(j, id, a) : S("");
    if (json_is(j, details, JSON_OBJECT)) {
        jref code = json_get(j, details, S("error_code"));
        out->code = json_is(j, code, JSON_STRING) ? json_str(j, code, a) : S("");
    }
    out->kind = status ? failure_kind_of_status(status == 529 ? 503 : status) : FAILURE_SERVER;
    for (size_t i = 0; i < COUNT_OF(errors); i++) {
        if (!str_eq(errors[i].type, out->type))
            continue;
        if (status < 500 || errors[i].kind != FAILURE_SERVER)   /* a 502 with api_error stays a 502 */
            out->kind = errors[i].kind;
        if (!out->status)
            out->status = errors[i].status;
        break;
    }
    if (!out->status)
        out->status = 500;
    if (out->kind == FAILURE_OVERLOADED)
        out->status = 503;                      /* 529 is Anthropic's own */
    return true;
}

static size_t error_row(enum failure_kind kind)
{
    size_t i = 0;
    while (i + 1 < COUNT_OF(errors) && errors[i].kind != kind)
        i++;
    return i;
}

static void error_write(const struct failure *f, struct buf *out)
{
    struct json_writer w = { .out = out };
    jw_begin(&w, '{');
    put_str(&w, S("type"), S("error"));
    put_open(&w, S("error"), '{');
    put_str(&w, S("type"), errors[error_row(f->kind)].type);
    put_str(&w, S("message"), f->message);
    if (f->code.len) {
        put_open(&w, S("details"), '{');
        put_str(&w, S("error_code"), f->code);
        jw_end(&w, '}');
    }
    jw_end(&w, '}');
    jw_key(&w, S("request_id"));
    if (f->request_id.len)
        jw_str(&w, f->request_id);
    else
        jw_null(&w);
    jw_end(&w, '}');
}

static int error_status(const struct failure *f)
{
    if (f->kind == FAILURE_OVERLOADED || f->status <= 0)
        return errors[error_row(f->kind)].status;
    return f->status;
}

/* ---- counts and models ---- */

/* {"input_tokens":14} */
static void count_write(int64_t tokens, struct buf *out)
{
    struct json_writer w = { .out = out };
    jw_begin(&w, '{');
    put_int(&w, S("input_tokens"), tokens);
    jw_end(&w, '}');
}

static void model_write(struct json_writer *w, const struct anthropic_model *m)
{
    time_t created = m->created > 0 ? (time_t)m->created : 0;  /* the epoch, as Anthropic says for "unknown" */
    struct tm parts;
    char text[32] = "1970-01-01T00:00:00Z";
    if (gmtime_r(&created, &parts))
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    jw_begin(w, '{');
    put_str(w, S("type"), S("model"));
    put_str(w, S("id"), m->id);
    put_str(w, S("display_name"), m->display_name.len ? m->display_name : m->id);
    put_str(w, S("created_at"), str_of(text));
    put_str(w, S("lifecycle"), S("active"));
    if (m->max_input_tokens > 0)
        put_int(w, S("max_input_tokens"), m->max_input_tokens);
    if (m->max_tokens > 0)
        put_int(w, S("max_tokens"), m->max_tokens);
    jw_end(w, '}');
}

void anthropic_model_write(const struct anthropic_model *m, struct buf *out)
{
    struct json_writer w = { .out = out };
    model_write(&w, m);
}

void anthropic_models_write(const struct anthropic_model *models, size_t n, bool has_more, struct buf *out)
{
    struct json_writer w = { .out = out };
    jw_begin(&w, '{');
    put_open(&w, S("data"), '[');
    for (size_t i = 0; i < n; i++)
        model_write(&w, &models[i]);
    jw_end(&w, ']');
    put_bool(&w, S("has_more"), has_more);
    put_or_null(&w, S("first_id"), n ? models[0].id : S(""));
    put_or_null(&w, S("last_id"), n ? models[n - 1].id : S(""));
    jw_end(&w, '}');
}

/* ---- the dialect ---- */

static int request_write(const struct prompt *p, const struct target *to, struct translation *t, struct buf *out)
{
    return anthropic_request_write_as(p, to, t, ENVELOPE_MESSAGES, out);
}

const struct dialect_ops dialect_anthropic = {
    .name = "anthropic", .label = "anthropic", .names_model_as_asked = true,
    .request_read = anthropic_request_read, .request_write = request_write,
    .reply_read = anthropic_reply_read, .reply_write = anthropic_reply_write,
    .reader_new = stream_reader_new, .reader_event = stream_reader_event, .reader_free = stream_reader_free,
    .writer_new = stream_writer_new, .writer_delta = stream_writer_delta,
    .error_read = error_read, .error_write = error_write, .error_status = error_status,
    .carries_foreign = anthropic_carries_wrap, .count_read = anthropic_count_read, .count_write = count_write,
};
