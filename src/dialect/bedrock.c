/* dialect/bedrock.c -- the Converse dialect: streams and errors; requests and replies are in bedrock_read.c and
 * bedrock_write.c.
 *
 * A Converse stream is Messages' with other names and two turns: text blocks begin without a start event, and usage follows
 * the stop. Its events are binary frames on the wire (provider/event_stream.h); here an event is a type and JSON, whatever
 * framed it, and the writer spells frames as server-sent events, for whoever frames them. Exceptions come as events, too. */
#include "dialect/bedrock_parts.h"

#include "base/put.h"

/* ---- reading streams ---- */

enum { PARTS_MAX = 4096 };

struct part { uint32_t index; enum block_kind kind; bool is_open; };

struct stream_reader {
    struct arena *a;
    struct usage usage;
    struct part *parts; uint32_t n;             /* a block's number for the sink is its place */
    bool is_started, has_stopped, is_over;
};

static void *stream_reader_new(struct arena *a)
{
    struct stream_reader *s = ARENA_NEW(a, struct stream_reader);
    s->a = a;
    return s;
}

struct event { struct stream_reader *s; struct reading f; const struct delta_sink *to; };

static void tell(const struct event *v, struct delta d)
{
    v->to->take(v->to->arg, &d);
}

static void start_once(const struct event *v)
{
    if (!v->s->is_started)
        tell(v, (struct delta){ .kind = DELTA_START });
    v->s->is_started = true;
}

static void close_part(const struct event *v, uint32_t i)
{
    if (v->s->parts[i].is_open)
        tell(v, (struct delta){ .kind = DELTA_CLOSE, .index = i });
    v->s->parts[i].is_open = false;
}

static uint32_t index_of(const struct event *v)
{
    int64_t index;
    jref n = json_get(v->f.j, 0, S("contentBlockIndex"));
    if (n != JSON_NONE && json_int(v->f.j, n, &index) && index >= 0 && index < UINT32_MAX)
        return (uint32_t)index;
    return v->s->n ? v->s->parts[v->s->n - 1].index : 0;
}

/* The open part with this index; UINT32_MAX: none. */
static uint32_t part_of(const struct event *v, uint32_t index)
{
    for (uint32_t i = v->s->n; i-- > 0; )
        if (v->s->parts[i].is_open && v->s->parts[i].index == index)
            return i;
    return UINT32_MAX;
}

static int begin(const struct event *v, uint32_t index, const struct block *b)
{
    struct stream_reader *s = v->s;
    uint32_t old = part_of(v, index);
    start_once(v);
    if (old != UINT32_MAX)
        close_part(v, old);
    if (s->n == PARTS_MAX)
        return fields_fail(&v->f, NULL, "more blocks than an answer can have");
    *PUSH(s->a, s->parts, s->n) = (struct part){ index, b->kind, true };
    tell(v, (struct delta){ .kind = DELTA_BLOCK, .index = s->n - 1, .block = b });
    return 0;
}

static int message_start(const struct event *v)
{
    start_once(v);
    return 0;
}

static int block_start(const struct event *v)
{
    const struct json *j = v->f.j;
    jref start = json_get(j, 0, S("start"));
    if (!json_is(j, start, JSON_OBJECT))
        return 0;
    jref call = json_get(j, start, S("toolUse"));
    /* Others are a server's tool, its result, an image. */
    if (!json_is(j, call, JSON_OBJECT) || json_get(j, call, S("type")) != JSON_NONE)
        return begin(v, index_of(v), &(struct block){ .kind = BLOCK_OTHER, .raw = json_raw(j, start) });
    struct block b = { .kind = BLOCK_TOOL_CALL };
    const struct spot *at = AT(AT(NULL, "start"), "toolUse");
    if (fields_str(&v->f, AT(at, "toolUseId"), json_get(j, call, S("toolUseId")), &b.call_id) < 0 ||
        fields_need(&v->f, AT(at, "name"), json_get(j, call, S("name")), JSON_STRING) < 0)
        return -1;
    b.name = json_str(j, json_get(j, call, S("name")), v->f.a);
    return begin(v, index_of(v), &b);
}

/* One piece for a block of this kind, which begins here when it has not. */
static int piece(const struct event *v, enum block_kind kind, enum delta_kind what, str text)
{
    uint32_t index = index_of(v), i = part_of(v, index);
    if (i != UINT32_MAX && v->s->parts[i].kind == BLOCK_OTHER)
        return 0;
    if (i == UINT32_MAX || v->s->parts[i].kind != kind) {
        if (kind == BLOCK_TOOL_CALL)
            return fields_fail(&v->f, NULL, "toolUse input for a block that has not begun");
        if (begin(v, index, &(struct block){ .kind = kind }) < 0)
            return -1;
        i = v->s->n - 1;
    }
    if (text.len)
        tell(v, (struct delta){ .kind = what, .index = i, .text = text });
    return 0;
}

static str text_at(const struct event *v, jref object, str key)
{
    jref n = json_is(v->f.j, object, JSON_OBJECT) ? json_get(v->f.j, object, key) : JSON_NONE;
    return json_is(v->f.j, n, JSON_STRING) ? json_str(v->f.j, n, v->f.a) : S("");
}

static int block_delta(const struct event *v)
{
    const struct json *j = v->f.j;
    jref d = json_get(j, 0, S("delta"));
    if (!json_is(j, d, JSON_OBJECT))
        return 0;
    jref reasoning = json_get(j, d, S("reasoningContent")), call = json_get(j, d, S("toolUse"));
    jref citation = json_get(j, d, S("citation"));
    if (json_get(j, d, S("text")) != JSON_NONE)
        return piece(v, BLOCK_TEXT, DELTA_PIECE, text_at(v, d, S("text")));
    if (citation != JSON_NONE)
        return piece(v, BLOCK_TEXT, DELTA_CITATION, json_raw(j, citation));
    if (call != JSON_NONE)
        return piece(v, BLOCK_TOOL_CALL, DELTA_PIECE, text_at(v, call, S("input")));
    str text = text_at(v, reasoning, S("text")), signature = text_at(v, reasoning, S("signature"));
    str redacted = text_at(v, reasoning, S("redactedContent"));
    if (redacted.len) {
        struct block b = { .kind = BLOCK_SEALED_REASONING, .sealed = redacted };
        return begin(v, index_of(v), &b);
    }
    if (text.len && piece(v, BLOCK_REASONING, DELTA_PIECE, text) < 0)
        return -1;
    return signature.len ? piece(v, BLOCK_REASONING, DELTA_SIGNATURE, signature) : 0;
}

static int block_stop(const struct event *v)
{
    uint32_t i = part_of(v, index_of(v));
    if (i != UINT32_MAX)
        close_part(v, i);
    return 0;
}

static int message_stop(const struct event *v)
{
    struct delta stop = { .kind = DELTA_STOP };
    static const str names[] = { S("stopReason"), S("p") };     /* p: padding of the frames */
    jref m[2];
    start_once(v);
    for (uint32_t i = 0; i < v->s->n; i++)
        close_part(v, i);
    fields_get(&v->f, 0, names, 2, m, &stop.rest, S(""));
    if (m[0] != JSON_NONE && fields_str(&v->f, AT(NULL, "stopReason"), m[0], &stop.stop_text) < 0)
        return -1;
    stop.stop = bedrock_stop_read(stop.stop_text);
    v->s->has_stopped = true;
    tell(v, stop);
    return 0;
}

/* The last event there is. */
static int metadata(const struct event *v)
{
    bedrock_usage_read(&v->f, json_get(v->f.j, 0, S("usage")), &v->s->usage);
    start_once(v);
    if (v->s->usage.is_known)
        tell(v, (struct delta){ .kind = DELTA_USAGE, .usage = &v->s->usage });
    if (v->s->has_stopped) {
        v->s->is_over = true;
        tell(v, (struct delta){ .kind = DELTA_END });
    }
    return 0;
}

/* ---- errors ---- */

/* Exceptions of the API and of its streams, which spell them with a small first letter. The first of a kind is written. */
static const struct { str name; enum failure_kind kind; int status; } errors[] = {
    { S("ValidationException"), FAILURE_INVALID, 400 },
    { S("UnrecognizedClientException"), FAILURE_AUTH, 401 },
    { S("InvalidSignatureException"), FAILURE_AUTH, 401 },
    { S("ExpiredTokenException"), FAILURE_AUTH, 401 },
    { S("MissingAuthenticationTokenException"), FAILURE_AUTH, 401 },
    { S("AccessDeniedException"), FAILURE_PERMISSION, 403 },
    { S("ResourceNotFoundException"), FAILURE_NOT_FOUND, 404 },
    { S("ConflictException"), FAILURE_CONFLICT, 409 },
    { S("ThrottlingException"), FAILURE_RATE_LIMIT, 429 },
    { S("ServiceQuotaExceededException"), FAILURE_RATE_LIMIT, 429 },
    { S("InternalServerException"), FAILURE_SERVER, 500 },
    { S("ModelErrorException"), FAILURE_UPSTREAM, 502 },
    { S("ModelStreamErrorException"), FAILURE_UPSTREAM, 502 },
    { S("ServiceUnavailableException"), FAILURE_OVERLOADED, 503 },
    { S("ModelNotReadyException"), FAILURE_OVERLOADED, 503 },
    { S("ModelTimeoutException"), FAILURE_TIMEOUT, 504 },
};

static size_t error_row(str name)
{
    size_t i = 0;
    while (i < COUNT_OF(errors) && !str_ieq(errors[i].name, name))
        i++;
    return i;
}

static str message_of(struct arena *a, const struct json *j)
{
    static const str names[] = { S("message"), S("Message"), S("originalMessage") };
    for (size_t i = 0; i < COUNT_OF(names) && json_is(j, 0, JSON_OBJECT); i++) {
        jref n = json_get(j, 0, names[i]);
        if (json_is(j, n, JSON_STRING))
            return json_str(j, n, a);
    }
    return S("");
}

static void failure_of(str name, str message, int status, struct failure *out)
{
    size_t row = error_row(name);
    bool is_known = row < COUNT_OF(errors);
    *out = (struct failure){ .type = name, .message = message.len ? message : name };
    out->kind = is_known ? errors[row].kind : status ? failure_kind_of_status(status) : FAILURE_SERVER;
    out->status = is_known ? errors[row].status : status ? status : 500;
}

/* "prefix#Name", "Name:http://..." */
static str error_word(str word)
{
    long hash = str_chr(word, '#');
    word = hash < 0 ? word : str_from(word, (size_t)hash + 1);
    return str_trim(str_cut(&word, ':'));
}

void bedrock_error_named(str word, struct failure *out)
{
    word = error_word(word);
    if (word.len)
        failure_of(word, out->message, out->status, out);
}

/* The type stands in the header x-amzn-errortype, in some bodies also as "__type". */
static bool error_read(struct arena *a, const struct json *j, int status, struct failure *out)
{
    str message = message_of(a, j), name = S("");
    jref type = json_is(j, 0, JSON_OBJECT) ? json_get(j, 0, S("__type")) : JSON_NONE;
    if (json_is(j, type, JSON_STRING)) {
        name = error_word(json_str(j, type, a));
    }
    if (!message.len && !name.len)
        return false;
    failure_of(name, message, status, out);
    return true;
}

static str error_name(enum failure_kind kind)
{
    for (size_t i = 0; i < COUNT_OF(errors); i++)
        if (errors[i].kind == kind)
            return errors[i].name;
    return kind == FAILURE_TOO_LARGE ? S("ValidationException") : kind == FAILURE_BILLING ? S("AccessDeniedException")
                                                                                          : S("InternalServerException");
}

static void error_write(const struct failure *f, struct buf *out)
{
    struct json_writer w = { .out = out };
    jw_begin(&w, '{');
    put_str(&w, S("__type"), error_name(f->kind));
    put_str(&w, S("message"), f->message);
    jw_end(&w, '}');
}

/* ---- events ---- */

static int stream_reader_event(void *reader, struct arena *scratch, const struct stream_event *e, const struct delta_sink *to)
{
    static const struct { str name; int (*read)(const struct event *v); } events[] = {
        { S("contentBlockDelta"), block_delta }, { S("contentBlockStart"), block_start }, { S("contentBlockStop"), block_stop },
        { S("messageStart"), message_start }, { S("messageStop"), message_stop }, { S("metadata"), metadata },
    };
    struct json j;
    struct err err = { 0 };
    struct event v = { reader, { scratch, &j, &err }, to };
    if (v.s->is_over)
        return 0;
    bool is_json = json_parse(scratch, e->data, &j, NULL) == 0 && json_is(&j, 0, JSON_OBJECT);
    if (e->is_exception || str_ends(e->name, S("Exception"))) {
        struct failure failure;
        failure_of(e->name, is_json ? message_of(scratch, &j) : S(""), 0, &failure);
        v.s->is_over = true;
        tell(&v, (struct delta){ .kind = DELTA_ERROR, .failure = &failure });
        return 0;
    }
    if (!is_json)
        return -1;
    for (size_t i = 0; i < COUNT_OF(events); i++)
        if (str_eq(events[i].name, e->name))
            return events[i].read(&v);
    return 0;                                   /* next year's */
}

/* ---- writing streams ---- */

struct stream_writer {
    const struct answer_context *c;
    uint32_t index;
    struct block block;
    bool is_started, is_block, is_written, has_input, is_over;
};

static void *stream_writer_new(const struct answer_context *c)
{
    struct stream_writer *s = ARENA_NEW(c->a, struct stream_writer);
    s->c = c;
    return s;
}

static void put_index(struct json_writer *w, const struct stream_writer *s)
{
    put_int(w, S("contentBlockIndex"), s->index);
}

static void write_start(struct stream_writer *s, struct buf *out)
{
    struct json_writer w;
    if (s->is_started)
        return;
    s->is_started = true;
    w = event_begin(S("messageStart"), out);
    put_str(&w, S("role"), S("assistant"));
    event_end(&w);
}

/* {"delta":{"text":"..."}}, or with a wrapper: {"delta":{"toolUse":{"input":"..."}}}. */
static void write_delta(struct stream_writer *s, str wrapper, str key, str text, struct buf *out)
{
    struct json_writer w;
    s->is_written = true;
    w = event_begin(S("contentBlockDelta"), out);
    put_index(&w, s);
    put_open(&w, S("delta"), '{');
    if (wrapper.len)
        put_open(&w, wrapper, '{');
    put_str(&w, key, text);
    if (wrapper.len)
        jw_end(&w, '}');
    jw_end(&w, '}');
    event_end(&w);
}

static void close_block(struct stream_writer *s, struct buf *out)
{
    struct json_writer w;
    if (s->is_block && s->is_written) {
        w = event_begin(S("contentBlockStop"), out);
        put_index(&w, s);
        event_end(&w);
        s->index++;
    }
    s->is_block = s->is_written = false;
}

static void open_block(struct stream_writer *s, const struct block *b, struct buf *out)
{
    struct json_writer w;
    close_block(s, out);
    s->is_block = true;
    s->block = (struct block){ .kind = b->kind, .is_custom = b->is_custom };
    if (b->kind == BLOCK_SEALED_REASONING)
        write_delta(s, S("reasoningContent"), S("redactedContent"), b->sealed, out);
    if (b->kind != BLOCK_TOOL_CALL)
        return;
    s->is_written = true;
    w = event_begin(S("contentBlockStart"), out);
    put_index(&w, s);
    put_open(&w, S("start"), '{');
    put_open(&w, S("toolUse"), '{');
    put_str(&w, S("toolUseId"), b->call_id);
    put_str(&w, S("name"), s->c->translation ? translation_name_back(s->c->translation, b->name) : b->name);
    jw_end(&w, '}');
    jw_end(&w, '}');
    event_end(&w);
}

static void write_piece(struct stream_writer *s, str text, struct buf *out)
{
    if (!s->is_block || !text.len)
        return;
    if (s->block.kind == BLOCK_TEXT || s->block.kind == BLOCK_REFUSAL)
        write_delta(s, S(""), S("text"), text, out);
    else if (s->block.kind == BLOCK_REASONING)
        write_delta(s, S("reasoningContent"), S("text"), text, out);
    else if (s->block.kind == BLOCK_TOOL_CALL)
        write_delta(s, S("toolUse"), S("input"), text, out);
}

static void write_stop(struct stream_writer *s, const struct delta *d, struct buf *out)
{
    struct usage estimate = { .prompt_tokens = s->c->prompt_tokens };
    struct json_writer w = event_begin(S("messageStop"), out);
    put_str(&w, S("stopReason"), s->c->from == &dialect_bedrock && d->stop_text.len ? d->stop_text : bedrock_stop_name(d->stop));
    event_end(&w);
    w = event_begin(S("metadata"), out);
    jw_key(&w, S("usage"));
    bedrock_usage_write(&w, d->usage ? d->usage : &estimate);
    put_raw(&w, S("metrics"), S("{\"latencyMs\":0}"));
    event_end(&w);
}

static void write_error(struct stream_writer *s, const struct failure *f, struct buf *out)
{
    char name[64];
    str type = error_name(f->kind);
    struct json_writer w;
    bool is_streamable = f->kind == FAILURE_INVALID || f->kind == FAILURE_RATE_LIMIT || f->kind == FAILURE_OVERLOADED ||
                         f->kind == FAILURE_SERVER;
    if (!is_streamable)
        type = S("modelStreamErrorException");  /* the only one left that a stream may have */
    memcpy(name, type.ptr, type.len);
    name[0] = (char)(name[0] | 0x20);
    w = event_begin((str){ name, type.len }, out);
    put_str(&w, S("message"), f->message);
    event_end(&w);
    s->is_over = true;
}

static void stream_writer_delta(void *writer, const struct delta *d, struct buf *out)
{
    struct stream_writer *s = writer;
    if (s->is_over || d->kind == DELTA_PING)
        return;
    if (d->kind == DELTA_ERROR) {
        write_error(s, d->failure, out);
        return;
    }
    write_start(s, out);
    switch (d->kind) {
    case DELTA_BLOCK: open_block(s, d->block, out); break;
    case DELTA_PIECE: write_piece(s, d->text, out); break;
    case DELTA_SIGNATURE:
        if (s->is_block && s->block.kind == BLOCK_REASONING)
            write_delta(s, S("reasoningContent"), S("signature"), d->text, out);
        break;
    case DELTA_CLOSE: close_block(s, out); break;
    case DELTA_STOP:
        close_block(s, out);
        write_stop(s, d, out);
        break;
    case DELTA_END: s->is_over = true; break;
    default: break;
    }
}

const struct dialect_ops dialect_bedrock = {
    .name = "bedrock", .label = "bedrock", .ends_without_word = true,
    .request_read = bedrock_request_read, .request_write = bedrock_request_write,
    .reply_read = bedrock_reply_read, .reply_write = bedrock_reply_write,
    .reader_new = stream_reader_new, .reader_event = stream_reader_event,
    .writer_new = stream_writer_new, .writer_delta = stream_writer_delta,
    .error_read = error_read, .error_write = error_write,
    .error_header = BEDROCK_ERROR_HEADER, .error_named = bedrock_error_named,
};
