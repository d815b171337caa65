/* pipeline/translate.c */
#include "pipeline/translate.h"

#include <errno.h>

#include "base/clock.h"
#include "front/responses.h"
#include "front/server.h"
#include "net/sse.h"
#include "pipeline/body.h"
#include "pipeline/judge.h"
#include "pipeline/relay.h"
#include "pipeline/signatures.h"
#include "pipeline/wire.h"
#include "provider/event_stream.h"

enum {
    EVENT_MAX = 16 << 20,           /* one event of a stream that is translated (an image, say); beyond: the stream is broken */
    WHOLE_MAX = 64 << 20,           /* a whole answer; beyond: refused, it cannot be passed on unread */
    KEPT_MAX = 64 << 20,            /* what readers and writers keep of one stream; beyond: the stream is broken */
    WARNINGS_MAX = 4096,            /* bytes of the header, as in VSR */
};

/* ---- requests ---- */

bool translate_request_is_needed(const struct req *r, const struct backend *b)
{
    return r->endpoint == ENDPOINT_CHAT && r->dialect && (b->dialect != r->dialect || r->is_prompt_changed);
}

bool translate_answer_is_needed(const struct req *r, const struct backend *b)
{
    return r->endpoint == ENDPOINT_CHAT && r->dialect && b->dialect != r->dialect;
}

static int refused(struct req *r, str param, const char *text)
{
    req_fail(r, 400, "invalid_request_error", "unsupported_parameter", "translation", "%s", text);
    r->fail.param = param;
    return -1;
}

/* An OpenAI chat is read only when it has to be, and with the changes that plugins made to its bytes. */
static int chat_prompt(struct req *r, const struct backend *b)
{
    struct json_edits edits = body_edits(r, b);
    const struct json *j = &r->json;
    struct json edited;
    struct err e = { 0 };
    if (edits.n) {
        struct buf text = { 0 };
        json_edits_write(&edits, j, &text);
        str body = buf_to_arena(&text, r->a);
        if (json_parse(r->a, body, &edited, NULL) < 0)
            return req_fail(r, 500, "server_error", "internal", "translation", "the changed body could not be read again");
        j = &edited;
    }
    struct prompt *p = ARENA_NEW(r->a, struct prompt);
    if (r->dialect->request_read(r->a, j, &r->place, p, &e) < 0) {
        str path = str_of(e.text);
        return refused(r, arena_str(r->a, str_cut(&path, ':')), arena_cstr(r->a, str_of(e.text)));
    }
    if (r->out.adds_usage)                      /* that was our wish, not the client's */
        p->includes_usage = 0;
    r->prompt = p;
    return 0;
}

/* The decision's reasoning mode on a prompt: body.c does the same to OpenAI bodies. */
static void prompt_reasoning(const struct req *r, const struct backend *b, struct prompt *p)
{
    if (!r->ref || !b->model->family || r->dialect == &dialect_openai_chat)
        return;
    if (r->ref->use_reasoning) {
        if (p->reasoning == REASONING_UNSET || p->reasoning == REASONING_OFF)
            p->reasoning = REASONING_ON;
        p->reasoning_effort = r->ref->reasoning_effort.len ? r->ref->reasoning_effort
                            : r->snap->config->default_reasoning_effort.len ? r->snap->config->default_reasoning_effort
                            : p->reasoning_effort.len ? p->reasoning_effort : S("medium");
    } else if (p->reasoning == REASONING_UNSET && p->reasoning_effort.len == 0) {
        p->reasoning = REASONING_OFF;
    }
}

/* vLLM's switch lives in a member that no dialect but OpenAI's has. */
static void template_switch(struct req *r, const struct backend *b, struct buf *out)
{
    const struct reasoning_family *family = b->model->family;
    if (!r->ref || !family || b->dialect != &dialect_openai_chat || r->dialect == &dialect_openai_chat
        || !str_eq(family->type, S("chat_template_kwargs")))
        return;
    struct json j;
    struct buf old = *out;
    struct json_edits e = { .a = r->a };
    *out = (struct buf){ 0 };
    if (json_parse(r->a, buf_view(&old), &j, NULL) == 0) {
        str key = json_quoted(r->a, family->parameter);
        json_edit_set(&e, &j, 0, S("chat_template_kwargs"),
                      arena_printf(r->a, "{" STR_FMT ":%s}", STR_ARG(key), r->ref->use_reasoning ? "true" : "false"));
        json_edits_write(&e, &j, out);
    }
    buf_free(&old);
}

int translate_request(struct req *r, const struct backend *b, struct buf *out)
{
    r->translation = (struct translation){ .a = r->a };
    if (r->dialect == &dialect_openai_chat && chat_prompt(r, b) < 0)
        return -1;
    struct prompt p = *r->prompt;
    prompt_reasoning(r, b, &p);
    if (p.is_streaming && b->dialect == &dialect_openai_chat)
        p.includes_usage = 1;                   /* an answer in another dialect ends with it */
    struct target t = b->target;
    t.model = r->ref && r->ref->lora_name.len ? r->ref->lora_name : b->upstream_model;
    t.anthropic_betas = http_get(&r->head, S("anthropic-beta"));
    if (b->dialect == &dialect_gemini && r->dialect != b->dialect)
        signatures_fill(responses_owner(r), &p, r->a);
    buf_reserve(out, r->body.len + r->body.len / 8 + 1024);     /* about as large as it came: one growth */
    if (b->dialect->request_write(&p, &t, &r->translation, out) < 0)
        return refused(r, r->translation.param, r->translation.refusal.text);
    template_switch(r, b, out);
    return 0;
}

str translate_warnings(struct req *r)
{
    const struct translation *t = &r->translation;
    if (t->n_warnings == 0)
        return S("");
    struct buf b = { 0 };
    bool *told = ARENA_ARRAY(r->a, bool, t->n_warnings);
    size_t left_out = 0;
    for (size_t i = 0; i < t->n_warnings; i++) {        /* one group a reason */
        if (told[i])
            continue;
        if (b.len)
            buf_char(&b, ' ');
        buf_printf(&b, "warning;%s;", t->warnings[i].reason);
        bool is_first = true;
        for (size_t k = i; k < t->n_warnings; k++) {
            if (told[k] || strcmp(t->warnings[k].reason, t->warnings[i].reason) != 0)
                continue;
            told[k] = true;
            if (b.len + t->warnings[k].field.len + 64 > WARNINGS_MAX) {
                left_out++;
                continue;
            }
            if (!is_first)
                buf_char(&b, ',');
            is_first = false;
            buf_str(&b, t->warnings[k].field);
        }
    }
    if (left_out)
        buf_printf(&b, " warning;warnings_truncated;count=%zu", left_out);
    return buf_to_arena(&b, r->a);
}

/* ---- what an answer says about itself ---- */

static str stop_name(enum stop_reason stop)
{
    switch (stop) {
    case STOP_UNKNOWN:   return S("");
    case STOP_LENGTH:
    case STOP_CONTEXT:   return S("length");
    case STOP_TOOLS:     return S("tool_calls");
    case STOP_FILTER:
    case STOP_REFUSAL:   return S("content_filter");
    case STOP_MALFORMED: return S("error");
    default:             return S("stop");
    }
}

static void keep(struct req *r, str *slot, str text)
{
    if (slot->len == 0 && text.len)
        *slot = arena_str(r->a, str_upto(text, 128));
}

void translate_note(void *req, const struct delta *d)
{
    struct req *r = req;
    keep(r, &r->response_id, d->id);
    keep(r, &r->response_model, d->model);
    if (d->usage && d->usage->is_known)
        r->usage = *d->usage;
    if (d->stop)
        r->finish_reason = stop_name(d->stop);
    if (d->kind == DELTA_PIECE)
        r->n_events++;
    if (d->kind == DELTA_ERROR && d->failure)
        r->fail = (struct fail){ .status = d->failure->status >= 400 ? d->failure->status : 502, .type = "upstream_error",
                                 .code = "upstream_stream_broken", .reason = "stream_broken",
                                 .message = arena_str(r->a, str_upto(d->failure->message, 512)) };
}

const struct answer_context *translate_context(struct req *r)
{
    bool asked = r->prompt && r->prompt->includes_usage == 1;
    struct answer_context *c = ARENA_NEW(r->a, struct answer_context);
    *c = (struct answer_context){
        .a = r->a, .prompt = r->prompt, .from = r->backend ? r->backend->dialect : r->dialect, .request_id = r->request_id, .model = r->model ? r->model->name : r->chat.model,
        .now = (int64_t)(clock_wall() / NS_PER_S), .prompt_tokens = (int64_t)r->facts.prompt_tokens,
        .includes_usage = asked || (!r->prompt && r->json.n
                                    && json_bool(&r->json, json_path(&r->json, "stream_options.include_usage"), false)),
        .translation = &r->translation,
    };
    responses_context(r, c);
    return c;
}

struct failure translate_failure(const struct req *r)
{
    const struct fail *f = &r->fail;
    return (struct failure){
        .status = f->status, .kind = failure_kind_of_status(f->status), .type = str_of(f->type ? f->type : ""),
        .code = str_of(f->code ? f->code : ""), .param = f->param, .message = f->message, .request_id = r->request_id,
    };
}

void translate_stream_error(struct req *r, const struct failure *f, struct buf *out)
{
    const struct dialect_ops *d = req_dialect(r);
    void *writer = d->writer_new(translate_context(r));
    d->writer_delta(writer, &(struct delta){ .kind = DELTA_ERROR, .failure = f }, out);
    if (d->writer_free)
        d->writer_free(writer);
}

struct writing { const struct dialect_ops *dialect; void *writer; struct buf *out; };

static void writing_take(void *arg, const struct delta *d)
{
    struct writing *w = arg;
    w->dialect->writer_delta(w->writer, d, w->out);
}

static void reply_stream(struct req *r, const struct reply *reply, struct buf *out)
{
    struct writing w = { r->dialect, r->dialect->writer_new(translate_context(r)), out };
    struct delta_sink to = { writing_take, &w };
    reply_emit(reply, &to);
    if (r->dialect->writer_free)
        r->dialect->writer_free(w.writer);
}

void translate_own_answer(struct req *r, str model, str text, struct buf *out)
{
    struct block block = { .kind = BLOCK_TEXT, .text = text };
    struct reply reply = { .dialect = r->dialect, .model = model, .created = (int64_t)(clock_wall() / NS_PER_S), .blocks = &block,
                           .n = 1, .stop = STOP_END };
    reply.usage.prompt_tokens = r->usage.prompt_tokens;
    if (r->chat.is_streaming) {
        reply_stream(r, &reply, out);
    } else {
        r->dialect->reply_write(&reply, translate_context(r), out);
    }
    if (r->on_reply)
        r->on_reply(r, &reply);
}

/* ---- answers ---- */

/* From the provider's bytes to deltas in order, and on to whoever wants them. */
struct channel {
    struct req *r;
    const struct backend *from;
    struct order *order;
    void *reader, *writer;          /* writer NULL: the client wants a whole answer */
    struct collector *collector;    /* NULL: nobody needs a whole one */
    struct sse splitter;
    struct event_stream frames;
    struct buf partial, joined, out;
    struct arena *scratch;          /* of the events of one read */
    struct signature_watch watch;
    str head_id;                    /* of an answer that has none itself */
    size_t kept_from;               /* the arena's bytes when it began */
    bool is_told;                   /* r->on_reply has been called */
};

/* Converse's answers have no id: the request's is the only one that the provider will know. */
static str head_id(const struct req *r, const struct answer *a)
{
    return r->backend->dialect == &dialect_bedrock ? http_get(&a->head, S("x-amzn-requestid")) : S("");
}

static void channel_take(void *arg, const struct delta *d)
{
    struct channel *c = arg;
    struct delta named;
    if (d->kind == DELTA_START && !d->id.len) {
        named = *d;
        named.id = c->head_id;
        d = &named;
    }
    translate_note(c->r, d);
    if (c->r->sample)
        sample_delta(c->r->sample, d);
    if (d->kind == DELTA_START && req_dialect(c->r)->names_model_as_asked) {
        named = *d;
        named.model = c->r->chat.model;
        d = &named;
    }
    if (c->from->dialect == &dialect_gemini && (d->kind == DELTA_BLOCK || d->kind == DELTA_SIGNATURE))
        signature_watch(&c->watch, responses_owner(c->r), d, S("gemini"));
    if (c->writer)
        c->r->dialect->writer_delta(c->writer, d, &c->out);
    if (c->collector)
        collector_take(c->collector, d);
}

static struct delta_sink to_order(struct channel *c)
{
    return (struct delta_sink){ order_take, c->order };
}

static void channel_fail(struct channel *c, const char *text)
{
    struct failure f = { .status = 502, .kind = FAILURE_UPSTREAM, .type = S("upstream_error"), .code = S("upstream_stream_broken"),
                         .message = str_of(text) };
    order_take(c->order, &(struct delta){ .kind = DELTA_ERROR, .failure = &f });
}

/* One arena serves all events of a read: the next one's memory is warm. */
static void channel_event(struct channel *c, const struct stream_event *e)
{
    if (!c->scratch && !(c->scratch = arena_new())) {
        channel_fail(c, "the gateway is out of memory");
        return;
    }
    struct delta_sink to = to_order(c);
    if (c->from->dialect->reader_event(c->reader, c->scratch, e, &to) < 0 && !order_is_over(c->order))
        channel_fail(c, "the provider sent an event that is not of its dialect");
}

/* While the provider is silent a stream holds as little as can be. */
static void channel_rest(struct channel *c)
{
    arena_free(c->scratch);
    c->scratch = NULL;
}

static void events_sse(struct channel *c, str bytes)
{
    while (bytes.len && !order_is_over(c->order)) {
        size_t n = sse_event_end(&c->splitter, bytes);
        if (n == 0) {
            buf_str(&c->partial, bytes);
            if (c->partial.len > EVENT_MAX)
                channel_fail(c, "the provider sent an event that is too large");
            return;
        }
        str event = str_upto(bytes, n), name = { 0 };
        bytes = str_from(bytes, n);
        if (c->partial.len) {
            buf_str(&c->partial, event);
            event = buf_view(&c->partial);
        }
        str data = sse_data(event, &c->joined, &name);
        if (data.len)
            channel_event(c, &(struct stream_event){ name, data, false });
        c->partial.len = 0;
    }
}

static void events_frames(struct channel *c, str bytes)
{
    struct stream_event e;
    int rc = 0;
    while (!order_is_over(c->order) && (rc = event_stream_next(&c->frames, &bytes, &e)) == 1)
        channel_event(c, &e);
    if (rc < 0)
        channel_fail(c, c->frames.why);
}

static int channel_open(struct channel *c, struct req *r, const struct backend *b, bool is_streaming)
{
    *c = (struct channel){ .r = r, .from = b, .kept_from = arena_bytes(r->a) };
    sse_init(&c->splitter);
    struct delta_sink to = { channel_take, c };
    c->order = order_new(r->a, r->facts.seed, &to);
    c->reader = b->dialect->reader_new(r->a);
    if (is_streaming)
        c->writer = r->dialect->writer_new(translate_context(r));
    if (!is_streaming || r->on_reply)
        c->collector = collector_new(r->a, b->dialect);
    return arena_exhausted(r->a) ? -ENOMEM : 0;
}

static void channel_close(struct channel *c)
{
    if (c->reader && c->from->dialect->reader_free)
        c->from->dialect->reader_free(c->reader);
    if (c->writer && c->r->dialect->writer_free)
        c->r->dialect->writer_free(c->writer);
    if (c->collector)
        collector_free(c->collector);
    if (c->order)
        order_free(c->order);
    arena_free(c->scratch);
    event_stream_free(&c->frames);
    buf_free(&c->partial);
    buf_free(&c->joined);
    buf_free(&c->out);
}

/* Before the client has the last word: it may come back at once and ask for what is kept here. */
static void replied(struct channel *c)
{
    struct reply reply;
    struct failure f;
    if (c->is_told || !c->r->on_reply || !c->collector || !order_is_over(c->order) || c->r->fail.status)
        return;
    c->is_told = true;
    if (collector_reply(c->collector, &reply, &f) == 0)
        c->r->on_reply(c->r, &reply);
}

static WAITS int whole_send(struct req *r, const struct reply *reply)
{
    struct buf body = { 0 };
    r->dialect->reply_write(reply, translate_context(r), &body);
    if (r->on_reply)
        r->on_reply(r, reply);
    int rc = body.is_failed || arena_exhausted(r->a) ? -ENOMEM : relay_own(r, 200, S("application/json"), buf_view(&body));
    buf_free(&body);
    return rc;
}

/* One write a read of the provider: head, chunk, end. */
static WAITS int out_send(struct channel *c, struct buf *head, bool chunked, bool ends)
{
    struct iovec v[5];
    char size[24];
    int n = 0;
    if (head->len)
        v[n++] = (struct iovec){ head->ptr, head->len };
    if (chunked && c->out.len)
        v[n++] = (struct iovec){ size, (size_t)wire_chunk_size(size, c->out.len) };
    if (c->out.len)
        v[n++] = (struct iovec){ c->out.ptr, c->out.len };
    if (chunked && c->out.len)
        v[n++] = (struct iovec){ (void *)(uintptr_t)"\r\n", 2 };
    if (chunked && ends)
        v[n++] = (struct iovec){ (void *)(uintptr_t)"0\r\n\r\n", 5 };
    int rc = head->is_failed || c->out.is_failed ? -ENOMEM : n ? wire_send(c->r, v, n) : 0;
    buf_free(head);
    c->out.len = 0;
    return rc;
}

/* The provider streams. For a client that does not, the pieces are collected. */
static WAITS int stream_relay(struct req *r, struct answer *a, bool is_framed)
{
    struct h1 *in = &a->up->in;
    struct channel c;
    struct buf head = { 0 };
    struct kept kept = { 0 };
    str spans[H1_SPANS_MAX];
    char *scratch = loop_scratch(r->loop);
    bool is_streaming = r->chat.is_streaming, chunked = is_streaming && wire_is_chunked(r);
    int rc = channel_open(&c, r, r->backend, is_streaming), n = 0;
    c.head_id = head_id(r, a);
    if (is_streaming) {
        if (!chunked)
            r->client->keep_alive = false;
        wire_head(r, 200, S("text/event-stream"), chunked ? -1 : -2, NULL, &head);
    }
    while (rc == 0 && !order_is_over(c.order)) {
        uint64_t until = deadline_min(r->attempt_deadline, loop_now(r->loop), r->model->idle_ns);
        n = h1_body_next(in, scratch, LOOP_SCRATCH, spans, until);
        if (n <= 0 || (n = kept_save(in, &kept) < 0 ? -ENOMEM : n) < 0)
            break;
        for (int i = 0; i < n; i++)
            if (is_framed)
                events_frames(&c, spans[i]);
            else
                events_sse(&c, spans[i]);
        channel_rest(&c);
        if (arena_bytes(r->a) - c.kept_from > KEPT_MAX)
            channel_fail(&c, "the provider's answer is too long");
        if (in->is_complete)
            break;
        replied(&c);
        if (is_streaming && (c.out.len || head.len))
            rc = out_send(&c, &head, chunked, false);
    }
    /* The provider has ended: what follows its last word (a connection's proper end) is read so that the connection stays. */
    for (int i = 0; rc == 0 && n > 0 && !in->is_complete && i < 4; i++) {
        n = h1_body_next(in, scratch, LOOP_SCRATCH, spans, deadline_min(r->attempt_deadline, loop_now(r->loop), NS_PER_S));
        if (n <= 0 || kept_save(in, &kept) < 0)
            break;
    }
    if (rc == 0 && n != -ECANCELED) {
        if (!order_is_over(c.order))
            order_end(c.order, r->backend->dialect->ends_without_word && n >= 0);
        bool ok = r->fail.status == 0;
        if (!ok)
            backend_failed(r->backend, clock_now());
        if (is_streaming) {
            replied(&c);
            rc = out_send(&c, &head, chunked, true);
        } else {
            struct reply reply;
            struct failure f = { 0 };
            if (collector_reply(c.collector, &reply, &f) < 0) {
                if (!r->fail.status)
                    req_fail(r, 502, "upstream_error", "upstream_stream_broken", "stream_broken", STR_FMT, STR_ARG(f.message));
                rc = relay_fail(r);
            } else {
                rc = whole_send(r, &reply);
            }
        }
    } else if (n == -ECANCELED) {
        rc = n;
    }
    buf_free(&head);
    channel_close(&c);
    kept_free(r, in, &kept);
    return rc;
}

static WAITS int whole_relay(struct req *r, struct answer *a)
{
    str body;
    struct json j;
    struct err e = { 0 };
    struct reply reply = { 0 };
    int rc = h1_read_body(&a->up->in, r->a, &a->head, WHOLE_MAX, &body, deadline_min(r->attempt_deadline, loop_now(r->loop), r->model->idle_ns));
    if (rc == -ECANCELED)
        return rc;
    if (rc < 0) {
        backend_failed(r->backend, clock_now());
        req_fail(r, rc == -ETIMEDOUT ? 504 : 502, rc == -ETIMEDOUT ? "timeout_error" : "upstream_error",
                 rc == -ETIMEDOUT ? "upstream_timeout" : "upstream_broken", "upstream_broken",
                 "the provider of model '" STR_FMT "' broke off in the middle of its answer", STR_ARG(r->model->name));
        return relay_fail(r);
    }
    a->body_is_read = true;
    if (json_parse(r->a, body, &j, NULL) < 0 || r->backend->dialect->reply_read(r->a, &j, &reply, &e) < 0) {
        req_fail(r, 502, "upstream_error", "upstream_malformed", "upstream_malformed",
                 "the provider of model '" STR_FMT "' answered with something that is not its dialect (%s)", STR_ARG(r->model->name),
                 e.text[0] ? e.text : "not JSON");
        return relay_fail(r);
    }
    if (!reply.id.len)
        reply.id = head_id(r, a);
    struct delta note = { .kind = DELTA_STOP, .id = reply.id, .model = reply.model, .stop = reply.stop, .usage = &reply.usage };
    translate_note(r, &note);
    if (r->sample)
        sample_reply(r->sample, &reply);
    if (reply.stop == STOP_MALFORMED) {         /* in a stream the writers say so */
        req_fail(r, 502, "upstream_error", "malformed_tool_call", "upstream_malformed",
                 "the model of '" STR_FMT "' made a tool call that cannot be read (" STR_FMT ")", STR_ARG(r->model->name),
                 STR_ARG(reply.stop_text));
        return relay_fail(r);
    }
    if (req_dialect(r)->names_model_as_asked)
        reply.model = r->chat.model;
    if (reply.dialect == &dialect_gemini)
        signatures_of_reply(responses_owner(r), &reply);
    if (!r->chat.is_streaming)
        return whole_send(r, &reply);
    struct buf events = { 0 };
    reply_stream(r, &reply, &events);
    if (r->on_reply)
        r->on_reply(r, &reply);
    rc = events.is_failed || arena_exhausted(r->a) ? -ENOMEM : relay_own_stream(r, buf_view(&events));
    buf_free(&events);
    return rc;
}

WAITS int translate_answer(struct req *r, struct answer *a)
{
    str type = http_get(&a->head, S("content-type"));
    if (str_ieq(str_upto(type, 17), S("text/event-stream")))
        return stream_relay(r, a, false);
    if (str_ieq(str_upto(type, 34), S("application/vnd.amazon.eventstream")))
        return stream_relay(r, a, true);
    return whole_relay(r, a);
}
