/* dialect/openai_responses_stream.c -- the events of a response, read and written.
 *
 * The wire says everything twice: in pieces, and whole when a part, an item, the response is done. The reader counts the bytes it
 * has seen of each text and takes what is missing from the whole, so servers that send only the `.done` events, or only the last
 * one, read the same. The writer collects what it sends, because every `.done` repeats it and the last event holds all items. */
#include <stdio.h>

#include "base/put.h"
#include "dialect/anthropic_parts.h"
#include "dialect/openai_responses.h"

/* ---- reading ---- */

enum {
    SLOTS_MAX = 4096,                   /* blocks of one answer; beyond: not a stream of ours */
    NO_PART = -1,
};

enum source { SOURCE_NONE, SOURCE_SUMMARY, SOURCE_CONTENT };        /* of a reasoning text: the first that speaks is heard */

struct slot {                           /* a block of ours: a message's part or an item. Its number is the block's index */
    uint32_t output;
    int32_t part;
    enum block_kind kind;
    bool is_open, is_closed, has_citation;
    uint64_t seen;                      /* bytes of the present text that have been passed on */
    int64_t section;                    /* of reasoning: summary_index or content_index */
    enum source source;
};

struct reader {
    struct arena *a;
    struct slot *slots; uint32_t n;
    bool *is_done; uint32_t n_done;     /* items by output_index */
    uint32_t last_output;
    struct members message; uint32_t message_output;    /* of a message none of whose blocks is open yet */
    bool is_started, is_over, has_calls;
};

struct event {                          /* one event and where its deltas go */
    struct reader *r;
    struct arena *a;
    const struct json *j;
    const struct delta_sink *to;
};

bool responses_event_is_routine(str name)
{
    return str_ends(name, S(".delta"));
}

void *responses_reader_new(struct arena *a)
{
    struct reader *r = ARENA_NEW(a, struct reader);
    r->a = a;
    return r;
}

static void emit(const struct event *e, struct delta d)
{
    e->to->take(e->to->arg, &d);
}

static str text_at(const struct event *e, jref object, str key)
{
    return json_str(e->j, json_get(e->j, object, key), e->a);
}

static int64_t int_at(const struct event *e, jref object, str key, int64_t otherwise)
{
    int64_t v;
    return json_int(e->j, json_get(e->j, object, key), &v) && v >= 0 && v < SLOTS_MAX ? v : otherwise;
}

static uint32_t output_of(const struct event *e)
{
    e->r->last_output = (uint32_t)int_at(e, 0, S("output_index"), e->r->last_output);
    return e->r->last_output;
}

static void start(const struct event *e, jref response)
{
    struct delta d = { .kind = DELTA_START };
    double created;
    if (e->r->is_started)
        return;
    e->r->is_started = true;
    if (json_is(e->j, response, JSON_OBJECT)) {
        responses_rest(e->a, e->j, response, &d.rest);
        d.id = text_at(e, response, S("id"));
        d.model = text_at(e, response, S("model"));
        d.service_tier = text_at(e, response, S("service_tier"));
        if (json_double(e->j, json_get(e->j, response, S("created_at")), &created) && created > 0 && created < 1e12)
            d.created = (int64_t)created;
    }
    emit(e, d);
}

/* NULL: too many. */
static struct slot *slot_of(const struct event *e, uint32_t output, int32_t part, enum block_kind kind)
{
    struct reader *r = e->r;
    for (uint32_t i = r->n; i-- > 0; )
        if (r->slots[i].output == output && r->slots[i].part == part)
            return &r->slots[i];
    if (r->n == SLOTS_MAX)
        return NULL;
    struct slot *s = PUSH(r->a, r->slots, r->n);
    *s = (struct slot){ .output = output, .part = part, .kind = kind, .section = -1 };
    return s;
}

static uint32_t index_of(const struct event *e, const struct slot *s)
{
    return (uint32_t)(s - e->r->slots);
}

static void slot_open(const struct event *e, struct slot *s, const struct block *b)
{
    if (s->is_open)
        return;
    start(e, JSON_NONE);
    s->is_open = true;
    s->kind = b->kind;
    struct block head = *b;             /* texts come as pieces */
    head.origin = str_of(dialect_openai_responses.name);
    head.text = head.arguments = head.signature = head.citations = head.summary = S("");
    e->r->has_calls |= b->kind == BLOCK_TOOL_CALL;
    if (s->part >= 0 && s->output == e->r->message_output) {
        for (size_t i = 0; i < e->r->message.n; i++)
            members_add(&head.rest, e->a, e->r->message.items[i].key, e->r->message.items[i].raw);
        e->r->message.n = 0;
    }
    emit(e, (struct delta){ .kind = DELTA_BLOCK, .index = index_of(e, s), .block = &head });
}

/* A call whose name is not known yet cannot be opened: its text is taken from the whole item. */
static void slot_piece(const struct event *e, struct slot *s, str text)
{
    if (!s || s->is_closed || !text.len)
        return;
    if (!s->is_open && s->kind == BLOCK_TOOL_CALL)
        return;
    slot_open(e, s, &(struct block){ .kind = s->kind, .item_id = text_at(e, 0, S("item_id")) });
    s->seen += text.len;
    emit(e, (struct delta){ .kind = DELTA_PIECE, .index = index_of(e, s), .text = text });
}

static void slot_whole(const struct event *e, struct slot *s, str whole)
{
    if (s && whole.len > s->seen)
        slot_piece(e, s, str_from(whole, s->seen));
}

static void slot_close(const struct event *e, struct slot *s)
{
    if (!s->is_open || s->is_closed)
        return;
    s->is_closed = true;
    emit(e, (struct delta){ .kind = DELTA_CLOSE, .index = index_of(e, s) });
}

static void logprobs(const struct event *e, const struct slot *s, jref list)
{
    if (s && s->is_open && !s->is_closed && json_is(e->j, list, JSON_ARRAY) && json_count(e->j, list))
        emit(e, (struct delta){ .kind = DELTA_LOGPROBS, .index = index_of(e, s), .text = json_raw(e->j, list) });
}

static void citation(const struct event *e, struct slot *s, jref value)
{
    if (!s || s->is_closed || !json_is(e->j, value, JSON_OBJECT))
        return;
    slot_open(e, s, &(struct block){ .kind = s->kind, .item_id = text_at(e, 0, S("item_id")) });
    s->has_citation = true;
    emit(e, (struct delta){ .kind = DELTA_CITATION, .index = index_of(e, s), .text = json_raw(e->j, value) });
}

/* Texts of a summary's parts are joined by an empty line, as in a whole answer. */
static void reasoning_piece(const struct event *e, struct slot *s, enum source source, int64_t section, str text, bool is_whole)
{
    if (!s || (s->source != SOURCE_NONE && s->source != source))
        return;
    s->source = source;
    if (s->section != section) {
        if (s->section >= 0 && s->is_open && text.len)
            slot_piece(e, s, S("\n\n"));
        s->section = section;
        s->seen = 0;
    }
    is_whole ? slot_whole(e, s, text) : slot_piece(e, s, text);
}

static void reasoning_done(const struct event *e, struct slot *s, jref item)
{
    static const struct { str key; enum source source; } parts[] = {
        { S("content"), SOURCE_CONTENT }, { S("summary"), SOURCE_SUMMARY },
    };
    str sealed = text_at(e, item, S("encrypted_content"));
    struct block b = { .kind = BLOCK_SEALED_REASONING, .item_id = text_at(e, item, S("id")), .sealed = sealed };
    for (size_t i = 0; i < COUNT_OF(parts) && !s->is_closed; i++) {
        jref list = json_get(e->j, item, parts[i].key);
        int64_t at = 0;
        if (!json_is(e->j, list, JSON_ARRAY) || (s->source != SOURCE_NONE && s->source != parts[i].source))
            continue;
        JSON_EACH_ITEM(e->j, list, part) {
            if (json_is(e->j, part, JSON_OBJECT) && at >= s->section)
                reasoning_piece(e, s, parts[i].source, at, text_at(e, part, S("text")), true);
            at++;
        }
    }
    if (s->is_open && sealed.len && !s->is_closed)
        emit(e, (struct delta){ .kind = DELTA_SIGNATURE, .index = index_of(e, s), .text = sealed });
    if (sealed.len)
        slot_open(e, s, &b);
    slot_close(e, s);
}

/* A phase and its like, for the first block; what is longer is nobody's. */
static void message_note(const struct event *e, uint32_t output, jref item)
{
    enum { MEMBER_BYTES_MAX = 256, MEMBERS_MAX = 8 };
    struct members rest = { 0 };
    struct reader *r = e->r;
    responses_message_rest(e->a, e->j, item, &rest);
    r->message = (struct members){ 0 };
    r->message_output = output;
    for (size_t i = 0; i < rest.n && i < MEMBERS_MAX; i++)
        if (rest.items[i].key.len + rest.items[i].raw.len <= MEMBER_BYTES_MAX)
            members_add(&r->message, r->a, arena_str(r->a, rest.items[i].key), arena_str(r->a, rest.items[i].raw));
}

static int message_done(const struct event *e, uint32_t output, jref item)
{
    jref content = json_get(e->j, item, S("content"));
    int32_t at = 0;
    bool is_begun = false;
    for (uint32_t i = 0; i < e->r->n; i++)
        is_begun |= e->r->slots[i].output == output;
    if (!is_begun)
        message_note(e, output, item);
    if (json_is(e->j, content, JSON_ARRAY))
        JSON_EACH_ITEM(e->j, content, part) {
            struct block b = responses_part_block(e->a, e->j, part);
            struct slot *s = slot_of(e, output, at++, b.kind);
            if (!s)
                return -1;
            b.item_id = text_at(e, item, S("id"));
            if (s->is_closed)
                continue;
            bool is_new = !s->is_open;
            if (b.text.len || b.kind == BLOCK_OTHER)
                slot_open(e, s, &b);
            slot_whole(e, s, b.text);
            jref list = json_get(e->j, part, S("annotations"));
            if (!s->has_citation && json_is(e->j, list, JSON_ARRAY))
                JSON_EACH_ITEM(e->j, list, one)
                    citation(e, s, one);
            if (is_new)
                logprobs(e, s, json_get(e->j, part, S("logprobs")));
            slot_close(e, s);
        }
    return 0;
}

/* What is missing of an item that is complete. */
static int item_done(const struct event *e, uint32_t output, jref item)
{
    struct reader *r = e->r;
    if (!json_is(e->j, item, JSON_OBJECT))
        return 0;
    while (r->n_done <= output) {
        if (r->n_done == SLOTS_MAX)
            return -1;
        *PUSH(r->a, r->is_done, r->n_done) = false;
    }
    if (r->is_done[output])
        return 0;
    r->is_done[output] = true;
    struct block b = responses_item_block(e->a, e->j, item);
    if (b.kind == BLOCK_KIND_N)
        return message_done(e, output, item);
    struct slot *s = slot_of(e, output, NO_PART, b.kind);
    if (!s)
        return -1;
    if (b.kind == BLOCK_REASONING || b.kind == BLOCK_SEALED_REASONING) {
        reasoning_done(e, s, item);
        return 0;
    }
    slot_open(e, s, &b);
    if (b.kind == BLOCK_TOOL_CALL)
        slot_whole(e, s, b.arguments);
    slot_close(e, s);
    return 0;
}

static int item_added(const struct event *e, uint32_t output, jref item)
{
    if (!json_is(e->j, item, JSON_OBJECT))
        return 0;
    struct block b = responses_item_block(e->a, e->j, item);
    if (b.kind == BLOCK_KIND_N)
        message_note(e, output, item);
    if (b.kind != BLOCK_TOOL_CALL)
        return 0;
    struct slot *s = slot_of(e, output, NO_PART, b.kind);
    if (!s)
        return -1;
    if (b.name.len && b.call_id.len)
        slot_open(e, s, &b);
    slot_whole(e, s, b.arguments);
    return 0;
}

static void fail(const struct event *e, jref error)
{
    struct failure f;
    responses_failure_read(e->a, e->j, error, 0, &f);
    e->r->is_over = true;
    emit(e, (struct delta){ .kind = DELTA_ERROR, .failure = &f });
}

static int response_done(const struct event *e, jref response)
{
    struct reader *r = e->r;
    if (!json_is(e->j, response, JSON_OBJECT))
        return -1;
    start(e, response);
    jref output = json_get(e->j, response, S("output"));
    uint32_t at = 0;
    if (json_is(e->j, output, JSON_ARRAY))
        JSON_EACH_ITEM(e->j, output, item)
            if (item_done(e, at++, item) < 0)
                return -1;
    for (uint32_t i = 0; i < r->n; i++)
        slot_close(e, &r->slots[i]);
    struct usage usage = { 0 };
    responses_usage_read(e->j, json_get(e->j, response, S("usage")), &usage);
    if (usage.is_known)
        emit(e, (struct delta){ .kind = DELTA_USAGE, .usage = &usage });
    struct delta stop = { .kind = DELTA_STOP };
    stop.stop = responses_stop(e->j, response, r->has_calls, e->a, &stop.stop_text);
    emit(e, stop);
    r->is_over = true;
    emit(e, (struct delta){ .kind = DELTA_END });
    return 0;
}

enum event_kind {
    EVENT_BEGIN, EVENT_DONE, EVENT_FAILED, EVENT_ERROR, EVENT_ITEM_ADDED, EVENT_ITEM_DONE, EVENT_TEXT, EVENT_TEXT_DONE,
    EVENT_REFUSAL,
    EVENT_REFUSAL_DONE, EVENT_ARGUMENTS, EVENT_ARGUMENTS_DONE, EVENT_INPUT_DONE, EVENT_SUMMARY, EVENT_SUMMARY_DONE, EVENT_THOUGHT,
    EVENT_THOUGHT_DONE, EVENT_ANNOTATION, EVENT_IGNORED,
};

static enum event_kind event_kind(str type)
{
    static const struct { str type; enum event_kind kind; } table[] = {
        { S("response.output_text.delta"), EVENT_TEXT }, { S("response.output_text.done"), EVENT_TEXT_DONE },
        { S("response.function_call_arguments.delta"), EVENT_ARGUMENTS },
        { S("response.function_call_arguments.done"), EVENT_ARGUMENTS_DONE },
        { S("response.custom_tool_call_input.delta"), EVENT_ARGUMENTS },
        { S("response.custom_tool_call_input.done"), EVENT_INPUT_DONE },
        { S("response.reasoning_summary_text.delta"), EVENT_SUMMARY },
        { S("response.reasoning_summary_text.done"), EVENT_SUMMARY_DONE },
        { S("response.reasoning_text.delta"), EVENT_THOUGHT }, { S("response.reasoning_text.done"), EVENT_THOUGHT_DONE },
        { S("response.refusal.delta"), EVENT_REFUSAL }, { S("response.refusal.done"), EVENT_REFUSAL_DONE },
        { S("response.output_text.annotation.added"), EVENT_ANNOTATION },
        { S("response.output_item.added"), EVENT_ITEM_ADDED }, { S("response.output_item.done"), EVENT_ITEM_DONE },
        { S("response.created"), EVENT_BEGIN }, { S("response.queued"), EVENT_BEGIN }, { S("response.in_progress"), EVENT_BEGIN },
        { S("response.completed"), EVENT_DONE }, { S("response.incomplete"), EVENT_DONE }, { S("response.done"), EVENT_DONE },
        { S("response.failed"), EVENT_FAILED }, { S("response.cancelled"), EVENT_FAILED }, { S("error"), EVENT_ERROR },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (str_eq(type, table[i].type))
            return table[i].kind;
    return EVENT_IGNORED;
}

static int event_read(const struct event *e, str type)
{
    jref response = json_get(e->j, 0, S("response")), item = json_get(e->j, 0, S("item")), error = json_get(e->j, 0, S("error"));
    str delta = text_at(e, 0, S("delta"));
    int32_t part = (int32_t)int_at(e, 0, S("content_index"), 0);
    struct slot *s = NULL;
    switch (event_kind(type)) {
    case EVENT_BEGIN:
        start(e, response);
        return 0;
    case EVENT_DONE:
        return response_done(e, response);
    case EVENT_FAILED:
        fail(e, json_is(e->j, response, JSON_OBJECT) ? json_get(e->j, response, S("error")) : JSON_NONE);
        return 0;
    case EVENT_ERROR:
        fail(e, json_is(e->j, error, JSON_OBJECT) ? error : 0);
        return 0;
    case EVENT_ITEM_ADDED:
        return item_added(e, output_of(e), item);
    case EVENT_ITEM_DONE:
        return item_done(e, output_of(e), item);
    case EVENT_TEXT:
        if (!(s = slot_of(e, output_of(e), part, BLOCK_TEXT)))
            return -1;
        slot_piece(e, s, delta);
        logprobs(e, s, json_get(e->j, 0, S("logprobs")));
        return 0;
    case EVENT_TEXT_DONE:
        s = slot_of(e, output_of(e), part, BLOCK_TEXT);
        slot_whole(e, s, text_at(e, 0, S("text")));
        return s ? 0 : -1;
    case EVENT_REFUSAL:
        s = slot_of(e, output_of(e), part, BLOCK_REFUSAL);
        slot_piece(e, s, delta);
        return s ? 0 : -1;
    case EVENT_REFUSAL_DONE:
        s = slot_of(e, output_of(e), part, BLOCK_REFUSAL);
        slot_whole(e, s, text_at(e, 0, S("refusal")));
        return s ? 0 : -1;
    case EVENT_ARGUMENTS:
        s = slot_of(e, output_of(e), NO_PART, BLOCK_TOOL_CALL);
        slot_piece(e, s, delta);
        return s ? 0 : -1;
    case EVENT_ARGUMENTS_DONE:
        s = slot_of(e, output_of(e), NO_PART, BLOCK_TOOL_CALL);
        slot_whole(e, s, text_at(e, 0, S("arguments")));
        return s ? 0 : -1;
    case EVENT_INPUT_DONE:
        s = slot_of(e, output_of(e), NO_PART, BLOCK_TOOL_CALL);
        slot_whole(e, s, text_at(e, 0, S("input")));
        return s ? 0 : -1;
    case EVENT_SUMMARY:
    case EVENT_SUMMARY_DONE:
        s = slot_of(e, output_of(e), NO_PART, BLOCK_REASONING);
        reasoning_piece(e, s, SOURCE_SUMMARY, int_at(e, 0, S("summary_index"), 0), delta.len ? delta : text_at(e, 0, S("text")),
                        !delta.len);
        return s ? 0 : -1;
    case EVENT_THOUGHT:
    case EVENT_THOUGHT_DONE:
        s = slot_of(e, output_of(e), NO_PART, BLOCK_REASONING);
        reasoning_piece(e, s, SOURCE_CONTENT, part, delta.len ? delta : text_at(e, 0, S("text")), !delta.len);
        return s ? 0 : -1;
    case EVENT_ANNOTATION:
        s = slot_of(e, output_of(e), part, BLOCK_TEXT);
        citation(e, s, json_get(e->j, 0, S("annotation")));
        return s ? 0 : -1;
    case EVENT_IGNORED:
        if (!type.len && json_is(e->j, error, JSON_OBJECT))
            fail(e, error);
        return 0;
    }
    return 0;
}

int responses_reader_event(void *reader, struct arena *scratch, const struct stream_event *event, const struct delta_sink *to)
{
    struct reader *r = reader;
    struct json j;
    if (r->is_over || !event->data.len || str_starts(event->data, S("[DONE]")))
        return 0;
    if (json_parse(scratch, event->data, &j, NULL) < 0 || !json_is(&j, 0, JSON_OBJECT))
        return -1;
    struct event e = { .r = r, .a = scratch, .j = &j, .to = to };
    str type = text_at(&e, 0, S("type"));
    return event_read(&e, type.len ? type : event->name);
}

/* ---- writing ---- */

enum { ANSWER_BYTES_MAX = 64 << 20 };   /* collected for the last event; beyond: the response fails */

struct writer {
    const struct answer_context *c;
    int64_t seq;
    uint32_t at;                        /* output_index of the next item */
    bool is_started, is_over, has_refusal;
    str id, model, tier;
    int64_t created;
    struct buf echo, items;             /* items: finished ones, with commas between them */

    struct block item;                  /* the open item's first block; kind BLOCK_KIND_N: none */
    str item_id, call_id;
    struct responses_call call;
    bool is_wrapped;                    /* a custom call that travels as {"input": text}: told when it is whole */
    bool has_summary;
    struct buf parts;                   /* finished parts of an open message */
    uint32_t part;                      /* content_index of the next one */
    str *envelopes; uint32_t n_envelopes;   /* opaque data of the message's blocks, told behind it */

    bool is_open;                       /* a block is open */
    enum block_kind kind;
    struct buf text, citations, logprobs, fresh_logprobs;
    uint32_t n_citations;
    str signature;

    enum stop_reason stop;
    struct usage usage;
};

void *responses_writer_new(const struct answer_context *c)
{
    struct writer *w = ARENA_NEW(c->a, struct writer);
    w->c = c;
    w->item.kind = BLOCK_KIND_N;
    responses_echo_write(c, NULL, &w->echo);
    return w;
}

void responses_writer_free(void *writer)
{
    struct writer *w = writer;
    struct buf *bufs[] = { &w->echo, &w->items, &w->parts, &w->text, &w->citations, &w->logprobs, &w->fresh_logprobs };
    for (size_t i = 0; i < COUNT_OF(bufs); i++)
        buf_free(bufs[i]);
}

static struct json_writer numbered_event(struct writer *w, const char *type, struct buf *out)
{
    struct json_writer j = event_begin(str_of(type), out);
    put_str(&j, S("type"), str_of(type));
    put_int(&j, S("sequence_number"), w->seq++);
    return j;
}

static void item_place(const struct writer *w, struct json_writer *j)
{
    put_str(j, S("item_id"), w->item_id);
    put_int(j, S("output_index"), w->at);
}

static void response_event(struct writer *w, const char *type, struct responses_state s, struct buf *out)
{
    struct json_writer j = numbered_event(w, type, out);
    s.id = w->id;
    s.model = w->model;
    s.service_tier = w->tier;
    s.created = w->created;
    jw_key(&j, S("response"));
    responses_object_write(&s, buf_view(&w->echo), &j);
    event_end(&j);
}

/* Texts of a delta live until we return. */
static str keep(struct writer *w, str s)
{
    return s.len ? arena_str(w->c->a, s) : S("");
}

static void write_start(struct writer *w, const struct delta *d, struct buf *out)
{
    char id[RESPONSES_ID_MAX];
    if (w->is_started)
        return;
    w->is_started = true;
    w->id = keep(w, responses_response_id(w->c, d->id, id));
    w->model = d->model.len ? keep(w, d->model) : w->c->model;
    w->tier = keep(w, w->c->from == &dialect_openai_responses ? d->service_tier : openai_service_tier(d->service_tier));
    w->created = d->created ? d->created : w->c->now;
    if (d->usage)
        w->usage = *d->usage;
    response_event(w, "response.created", (struct responses_state){ .status = "in_progress" }, out);
    response_event(w, "response.in_progress", (struct responses_state){ .status = "in_progress" }, out);
}

/* ---- items ---- */

static bool is_message(enum block_kind k)
{
    return k == BLOCK_TEXT || k == BLOCK_REFUSAL;
}

static void message_write(const struct writer *w, const char *status, str parts, struct json_writer *j)
{
    jw_begin(j, '{');
    put_str(j, S("type"), S("message"));
    put_str(j, S("id"), w->item_id);
    put_str(j, S("role"), S("assistant"));
    put_str(j, S("status"), str_of(status));
    put_open(j, S("content"), '[');
    if (parts.len)
        jw_raw(j, parts);
    jw_end(j, ']');
    jw_end(j, '}');
}

static void item_write(const struct writer *w, const char *status, bool is_begin, struct json_writer *j)
{
    if (is_message(w->item.kind)) {
        message_write(w, status, is_begin ? S("") : buf_view(&w->parts), j);
        return;
    }
    struct block b = w->item;
    bool is_reasoning = b.kind == BLOCK_REASONING || b.kind == BLOCK_SEALED_REASONING;
    struct responses_item item = { .block = &b, .call = w->call, .id = w->item_id, .call_id = w->call_id, .status = status };
    if (!is_begin) {
        item.text = buf_view(&w->text);
        item.signature = is_reasoning ? w->signature : S("");
    } else if (b.kind == BLOCK_IMAGE) {
        b.media.data = S("");
    }
    responses_item_write(&item, j);
}

static void item_event(struct writer *w, const char *type, const char *status, bool is_begin, struct buf *out)
{
    struct json_writer j = numbered_event(w, type, out);
    put_int(&j, S("output_index"), w->at);
    jw_key(&j, S("item"));
    item_write(w, status, is_begin, &j);
    event_end(&j);
}

static void item_open(struct writer *w, const struct block *b, struct buf *out)
{
    char id[RESPONSES_ID_MAX];
    w->item = *b;
    w->item.raw = b->raw.len ? json_compact(w->c->a, b->raw) : S("");
    w->item.raw_type = keep(w, b->raw_type);
    w->item.origin = keep(w, b->origin);
    w->item.sealed = keep(w, b->sealed);
    w->item.name = keep(w, b->name);
    w->item.media.data = keep(w, b->media.data);
    w->item.call_id = w->item.item_id = w->item.text = w->item.summary = w->item.signature = S("");
    w->item.rest = (struct members){ 0 };
    w->signature = S("");
    const char *prefix = is_message(b->kind) ? "msg_" : b->kind == BLOCK_IMAGE ? "ig_" : "rs_";
    if (b->kind == BLOCK_TOOL_CALL) {
        w->call = responses_call_of(w->c, b, w->c->a);
        w->call.name = keep(w, w->call.name);
        w->call.space = keep(w, w->call.space);
        w->call_id = keep(w, responses_call_id(w->c, b, w->at));
        w->is_wrapped = w->call.is_custom && !b->is_custom;
        prefix = w->call.is_custom ? "ctc_" : "fc_";
    }
    w->item_id = keep(w, b->item_id.len ? b->item_id : responses_id(id, prefix, w->c, w->at));
    if (b->kind == BLOCK_SEALED_REASONING)
        w->signature = responses_sealed(w->c->a, &w->item, w->c->from);
    item_event(w, "response.output_item.added", "in_progress", true, out);
}

static void item_finish(struct writer *w, const char *status, struct buf *out)
{
    struct json_writer all = { .out = &w->items, .need_comma = w->items.len > 0 };
    item_event(w, "response.output_item.done", status, false, out);
    item_write(w, status, false, &all);
    w->at++;
    w->item.kind = BLOCK_KIND_N;
    w->text.len = w->parts.len = 0;
    w->part = 0;
    w->has_summary = false;
}

static void envelope(struct writer *w, str sealed, struct buf *out)
{
    item_open(w, &(struct block){ .kind = BLOCK_REASONING }, out);
    w->signature = sealed;
    item_finish(w, "completed", out);
}

/* Closes the open item and tells the opaque data of its blocks behind it. */
static void item_close(struct writer *w, const char *status, struct buf *out)
{
    if (w->item.kind == BLOCK_KIND_N)
        return;
    item_finish(w, status, out);
    uint32_t n = w->n_envelopes;
    w->n_envelopes = 0;
    for (uint32_t i = 0; i < n; i++)
        envelope(w, w->envelopes[i], out);
}

/* ---- blocks ---- */

static void part_event(struct writer *w, const char *type, const struct responses_part *part, struct buf *out)
{
    struct json_writer j = numbered_event(w, type, out);
    item_place(w, &j);
    put_int(&j, S("content_index"), w->part);
    jw_key(&j, S("part"));
    responses_part_write(part, &j);
    event_end(&j);
}

static void summary_part_event(struct writer *w, const char *type, str text, struct buf *out)
{
    struct json_writer j = numbered_event(w, type, out);
    item_place(w, &j);
    put_int(&j, S("summary_index"), 0);
    put_open(&j, S("part"), '{');
    put_str(&j, S("type"), S("summary_text"));
    put_str(&j, S("text"), text);
    jw_end(&j, '}');
    event_end(&j);
}

static void write_block(struct writer *w, const struct block *b, struct buf *out)
{
    bool joins = is_message(b->kind) && is_message(w->item.kind) &&
                 (!b->item_id.len || str_eq(b->item_id, w->item_id));
    if (!responses_shows(b))
        return;
    if (!joins) {
        item_close(w, "completed", out);
        item_open(w, b, out);
    }
    w->is_open = true;
    w->kind = b->kind;
    w->text.len = w->citations.len = w->logprobs.len = w->fresh_logprobs.len = 0;
    w->n_citations = 0;
    w->item.origin = keep(w, b->origin);
    if (is_message(b->kind))
        part_event(w, "response.content_part.added", &(struct responses_part){ .kind = b->kind }, out);
    w->has_refusal |= b->kind == BLOCK_REFUSAL;
}

static void delta_event(struct writer *w, const char *type, str text, struct buf *out)
{
    struct json_writer j = numbered_event(w, type, out);
    item_place(w, &j);
    if (is_message(w->kind))
        put_int(&j, S("content_index"), w->part);
    if (w->kind == BLOCK_REASONING)
        put_int(&j, S("summary_index"), 0);
    put_str(&j, S("delta"), text);
    if (w->kind == BLOCK_TEXT) {
        put_open(&j, S("logprobs"), '[');
        if (w->fresh_logprobs.len)
            jw_raw(&j, buf_view(&w->fresh_logprobs));
        jw_end(&j, ']');
        w->fresh_logprobs.len = 0;
    }
    event_end(&j);
}

static void write_piece(struct writer *w, str text, struct buf *out)
{
    if (!w->is_open || !text.len)
        return;
    buf_str(&w->text, text);
    switch (w->kind) {
    case BLOCK_TEXT:
        delta_event(w, "response.output_text.delta", text, out);
        break;
    case BLOCK_REFUSAL:
        delta_event(w, "response.refusal.delta", text, out);
        break;
    case BLOCK_REASONING:
        if (!w->has_summary)
            summary_part_event(w, "response.reasoning_summary_part.added", S(""), out);
        w->has_summary = true;
        delta_event(w, "response.reasoning_summary_text.delta", text, out);
        break;
    case BLOCK_TOOL_CALL:
        if (!w->is_wrapped)
            delta_event(w, w->call.is_custom ? "response.custom_tool_call_input.delta" : "response.function_call_arguments.delta",
                        text, out);
        break;
    default:
        break;
    }
}

static void close_message_part(struct writer *w, struct buf *out)
{
    struct responses_part part = { .kind = w->kind, .text = buf_view(&w->text), .annotations = buf_view(&w->citations),
                                   .logprobs = buf_view(&w->logprobs) };
    bool is_text = w->kind == BLOCK_TEXT;
    struct json_writer j = numbered_event(w, is_text ? "response.output_text.done" : "response.refusal.done", out);
    item_place(w, &j);
    put_int(&j, S("content_index"), w->part);
    put_str(&j, is_text ? S("text") : S("refusal"), part.text);
    if (is_text) {
        put_open(&j, S("logprobs"), '[');
        if (part.logprobs.len)
            jw_raw(&j, part.logprobs);
        jw_end(&j, ']');
    }
    event_end(&j);
    part_event(w, "response.content_part.done", &part, out);
    struct json_writer parts = { .out = &w->parts, .need_comma = w->parts.len > 0 };
    responses_part_write(&part, &parts);
    w->part++;
    w->text.len = 0;
}

static void close_call(struct writer *w, struct buf *out)
{
    bool is_custom = w->call.is_custom;
    if (w->is_wrapped) {
        str text = keep(w, responses_unwrap(w->c->a, keep(w, buf_view(&w->text))));
        w->is_wrapped = false;
        w->text.len = 0;
        write_piece(w, text, out);
    } else if (!is_custom && !w->text.len) {
        write_piece(w, S("{}"), out);
    }
    const char *type = is_custom ? "response.custom_tool_call_input.done" : "response.function_call_arguments.done";
    struct json_writer j = numbered_event(w, type, out);
    item_place(w, &j);
    if (!is_custom)
        put_str(&j, S("name"), w->call.name);
    put_str(&j, is_custom ? S("input") : S("arguments"), buf_view(&w->text));
    event_end(&j);
}

static void close_reasoning(struct writer *w, struct buf *out)
{
    if (!w->has_summary)
        return;
    struct json_writer j = numbered_event(w, "response.reasoning_summary_text.done", out);
    item_place(w, &j);
    put_int(&j, S("summary_index"), 0);
    put_str(&j, S("text"), buf_view(&w->text));
    event_end(&j);
    summary_part_event(w, "response.reasoning_summary_part.done", buf_view(&w->text), out);
}

static void write_close(struct writer *w, struct buf *out)
{
    if (!w->is_open)
        return;
    if (is_message(w->kind))
        close_message_part(w, out);
    else if (w->kind == BLOCK_TOOL_CALL)
        close_call(w, out);
    else if (w->kind == BLOCK_REASONING)
        close_reasoning(w, out);
    w->is_open = false;
}

static void write_signature(struct writer *w, str text)
{
    struct block b = { .kind = w->kind, .signature = text, .origin = w->item.origin };
    if (!w->is_open || !text.len)
        return;
    str sealed = keep(w, responses_sealed(w->c->a, &b, w->c->from));
    if (w->kind == BLOCK_REASONING)
        w->signature = sealed;
    else if (!str_eq(sealed, text))
        *PUSH(w->c->a, w->envelopes, w->n_envelopes) = sealed;
}

static void write_citation(struct writer *w, str raw, struct buf *out)
{
    size_t before = w->citations.len;
    struct json_writer all = { .out = &w->citations, .need_comma = before > 0 };
    if (!w->is_open || w->kind != BLOCK_TEXT || !responses_citation_write(w->c->a, raw, (int64_t)w->text.len, &all))
        return;
    struct json_writer j = numbered_event(w, "response.output_text.annotation.added", out);
    item_place(w, &j);
    put_int(&j, S("content_index"), w->part);
    put_int(&j, S("annotation_index"), w->n_citations++);
    put_raw(&j, S("annotation"), str_from(buf_view(&w->citations), before + (before > 0)));
    event_end(&j);
}

static void write_logprobs(struct writer *w, str array)
{
    str inside = responses_inside(json_compact(w->c->a, array));
    if (!w->is_open || w->kind != BLOCK_TEXT || !inside.len)
        return;
    struct buf *to[] = { &w->logprobs, &w->fresh_logprobs };
    for (size_t i = 0; i < COUNT_OF(to); i++) {
        if (to[i]->len)
            buf_char(to[i], ',');
        buf_str(to[i], inside);
    }
}

/* ---- the end ---- */

static void write_failure(struct writer *w, const struct failure *f, struct buf *out)
{
    w->is_over = true;
    if (!w->is_started) {
        struct json_writer j = numbered_event(w, "error", out);
        put_or_null(&j, S("code"), f->code);
        put_str(&j, S("message"), f->message);
        put_or_null(&j, S("param"), f->param);
        event_end(&j);
        return;
    }
    const struct usage *u = w->usage.is_known ? &w->usage : NULL;
    response_event(w, "response.failed", (struct responses_state){ .status = "failed", .failure = f, .usage = u,
                                                                   .output = buf_view(&w->items) }, out);
}

static void write_end(struct writer *w, struct buf *out)
{
    static const struct failure malformed = {
        .kind = FAILURE_SERVER, .message = S("the model's answer could not be read by its provider"),
    };
    const char *reason = responses_incomplete(w->stop, w->has_refusal);
    write_start(w, &(struct delta){ 0 }, out);
    write_close(w, out);
    item_close(w, reason ? "incomplete" : "completed", out);
    if (w->stop == STOP_MALFORMED) {
        write_failure(w, &malformed, out);
        return;
    }
    w->is_over = true;
    struct responses_state s = {
        .status = reason ? "incomplete" : "completed", .incomplete_reason = reason, .output = buf_view(&w->items),
        .usage = w->usage.is_known || w->usage.prompt_tokens || w->usage.completion_tokens ? &w->usage : NULL,
    };
    response_event(w, reason ? "response.incomplete" : "response.completed", s, out);
}

void responses_writer_delta(void *writer, const struct delta *d, struct buf *out)
{
    static const struct failure too_long = { .kind = FAILURE_UPSTREAM, .message = S("the provider's answer is too long") };
    struct writer *w = writer;
    if (w->is_over)
        return;
    if (d->kind != DELTA_ERROR && d->kind != DELTA_PING)
        write_start(w, d->kind == DELTA_START ? d : &(struct delta){ 0 }, out);
    switch (d->kind) {
    case DELTA_START:     break;
    case DELTA_BLOCK:     write_close(w, out); write_block(w, d->block, out); break;
    case DELTA_PIECE:     write_piece(w, d->text, out); break;
    case DELTA_SIGNATURE: write_signature(w, d->text); break;
    case DELTA_CITATION:  write_citation(w, d->text, out); break;
    case DELTA_LOGPROBS:  write_logprobs(w, d->text); break;
    case DELTA_CLOSE:     write_close(w, out); break;
    case DELTA_STOP:
        w->stop = d->stop;
        if (d->usage)
            w->usage = *d->usage;
        break;
    case DELTA_USAGE:
        if (d->usage)
            w->usage = *d->usage;
        break;
    case DELTA_PING:      buf_str(out, S(": ping\n\n")); break;
    case DELTA_ERROR:     write_failure(w, d->failure, out); break;
    case DELTA_END:       write_end(w, out); break;
    }
    if (!w->is_over && w->items.len + w->parts.len + w->text.len + w->citations.len + w->logprobs.len > ANSWER_BYTES_MAX)
        write_failure(w, &too_long, out);
}

const struct dialect_ops dialect_openai_responses = {
    .name = "openai_responses", .label = "openai_responses",
    .request_read = responses_request_read, .request_write = responses_request_write,
    .reply_read = responses_reply_read, .reply_write = responses_reply_write,
    .reader_new = responses_reader_new, .reader_event = responses_reader_event,
    .event_is_routine = responses_event_is_routine,
    .writer_new = responses_writer_new, .writer_delta = responses_writer_delta, .writer_free = responses_writer_free,
    .error_read = responses_error_read, .error_write = responses_error_write,
    .carries_foreign = anthropic_carries_wrap, .count_read = responses_request_read, .count_write = responses_count_write,
};
