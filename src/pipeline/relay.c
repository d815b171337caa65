/* pipeline/relay.c */
#include "pipeline/relay.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "dialect/openai_answer.h"
#include "front/server.h"
#include "net/sse.h"
#include "pipeline/judge.h"
#include "pipeline/translate.h"
#include "pipeline/wire.h"

enum {
    TEE_MAX = 256 * 1024,           /* of a whole answer, kept to read its usage; beyond: only relayed */
    WHOLE_MAX = 64 << 20,           /* a whole answer in which a name is put back */
    EVENT_MAX = 1024 * 1024,        /* an event held back until its end; beyond: relayed unread */
};

#define TRIM_AFTER_NS NS_PER_S              /* a stream that is silent this long gives its stack pages back */

/* ---- what an answer says about itself ---- */

static void usage_object(struct req *r, const struct json *j, jref usage)
{
    struct usage *u = &r->usage;
    if (!json_is(j, usage, JSON_OBJECT))
        return;
    u->is_known = true;
    JSON_EACH_PAIR(j, usage, key, v) {          /* one walk: every answer has one of these */
        if (json_key_is(j, key, S("prompt_tokens"))) {
            usage_count_read(j, v, &u->prompt_tokens);
        } else if (json_key_is(j, key, S("completion_tokens"))) {
            usage_count_read(j, v, &u->completion_tokens);
        } else if (json_key_is(j, key, S("prompt_tokens_details"))) {
            usage_count_read(j, json_get(j, v, S("cached_tokens")), &u->cached_tokens);
            usage_count_read(j, json_get(j, v, S("cache_write_tokens")), &u->cache_write_tokens);
        } else if (json_key_is(j, key, S("completion_tokens_details"))) {
            usage_count_read(j, json_get(j, v, S("reasoning_tokens")), &u->reasoning_tokens);
        }
    }
}

static void keep_text(struct req *r, str *slot, const struct json *j, jref n)
{
    str s = json_str(j, n, r->a);
    if (s.len && slot->len == 0)
        *slot = arena_str(r->a, str_upto(s, 128));
}

static void answer_look(struct req *r, const struct json *j)
{
    keep_text(r, &r->response_id, j, json_get(j, 0, S("id")));
    keep_text(r, &r->response_model, j, json_get(j, 0, S("model")));
    jref choices = json_get(j, 0, S("choices"));
    if (json_is(j, choices, JSON_ARRAY) && json_count(j, choices) > 0)
        keep_text(r, &r->finish_reason, j, json_get(j, choices + 1, S("finish_reason")));
    usage_object(r, j, json_get(j, 0, S("usage")));
}

/* The object behind the last `"usage":`, without reading the rest of the answer. Inside strings quotes are escaped, so the
 * key cannot be met there. False: not in the usual place, look properly. */
static bool usage_glance(struct req *r, str text)
{
    static const char key[] = "\"usage\":", finish[] = "\"finish_reason\":\"";
    if (text.len == 0)
        return true;                            /* an empty answer has no usage */
    const char *end = text.ptr + text.len, *at = NULL;
    size_t tail = text.len < 1024 ? text.len : 1024;
    const char *reason = memmem(end - tail, tail, finish, sizeof finish - 1);
    /* The usage stands behind the choices, as a rule. */
    for (const char *p = reason ? reason : end - tail; (p = memmem(p, (size_t)(end - p), key, sizeof key - 1)) != NULL; p += sizeof key - 1)
        at = p;
    if (!at)
        return false;
    at += sizeof key - 1;
    while (at < end && *at == ' ')
        at++;
    /* Its end: a string that holds a brace misleads this, and then the parser says so. */
    const char *close = at;
    for (int depth = 0; ; close++) {
        const char *from = close;
        close = memchr(from, '}', (size_t)(end - from));
        if (!close)
            return false;
        for (const char *p = from; (p = memchr(p, '{', (size_t)(close - p))) != NULL; p++)
            depth++;
        if (--depth == 0)
            break;
        if (depth < 0)
            return false;
    }
    struct json j;
    if (json_parse(r->a, (str){ at, (size_t)(close + 1 - at) }, &j, NULL) < 0)
        return false;
    usage_object(r, &j, 0);
    if (!reason)
        reason = memmem(text.ptr, text.len, finish, sizeof finish - 1);
    if (reason && r->finish_reason.len == 0) {
        str rest = { reason + sizeof finish - 1, (size_t)(end - reason) - (sizeof finish - 1) };
        str word = str_cut(&rest, '"');
        r->finish_reason = arena_str(r->a, str_upto(word, 64));
    }
    return true;
}

/* A whole answer in another dialect than OpenAI's, that passes through: read by its reader. */
static void foreign_read(struct req *r, str json_text)
{
    struct json j;
    struct reply reply = { 0 };
    struct err e = { 0 };
    if (json_text.len > TEE_MAX || json_parse(r->a, json_text, &j, NULL) < 0 || r->dialect->reply_read(r->a, &j, &reply, &e) < 0)
        return;
    struct delta note = { .kind = DELTA_STOP, .id = reply.id, .model = reply.model, .stop = reply.stop, .usage = &reply.usage };
    translate_note(r, &note);
    if (r->sample)
        sample_reply(r->sample, &reply);
    reply.raw = json_text;
    if (r->on_reply)
        r->on_reply(r, &reply);
}

void usage_read(struct req *r, str json_text)
{
    if (req_is_foreign(r)) {
        foreign_read(r, json_text);
        return;
    }
    if (r->sample)
        sample_chat(r, json_text);
    if (!r->trace && usage_glance(r, json_text))
        return;
    struct json j;
    if (json_text.len <= TEE_MAX && json_parse(r->a, json_text, &j, NULL) == 0 && json_is(&j, 0, JSON_OBJECT))
        answer_look(r, &j);
}

/* ---- relaying whole answers ---- */

/* The upstream broke off: told properly while nothing was sent, else by ending the connection, which is all that HTTP
 * leaves. */
static WAITS int body_broken(struct req *r, int code)
{
    backend_failed(r->backend, clock_now());
    r->client->keep_alive = r->client->keep_alive && !r->is_head_sent;
    req_fail(r, code == -ETIMEDOUT ? 504 : 502, code == -ETIMEDOUT ? "timeout_error" : "upstream_error",
             code == -ETIMEDOUT ? "upstream_timeout" : "upstream_broken", "upstream_broken",
             "the provider of model '" STR_FMT "' broke off in the middle of its answer", STR_ARG(r->model->name));
    return r->is_head_sent ? code : relay_fail(r);
}

static WAITS int relay_body(struct req *r, struct answer *a)
{
    struct h1 *in = &a->up->in;
    int64_t length = a->head.is_chunked ? -1 : a->head.content_length;
    bool chunked = length < 0 && wire_is_chunked(r) && !in->is_complete;
    str spans[H1_SPANS_MAX];
    struct buf tee = { 0 };
    struct kept kept = { 0 };
    char *scratch = loop_scratch(r->loop);
    bool is_first = true;
    str answer = { 0 };
    int n = 0, rc = 0;
    if (in->is_complete)
        length = 0;
    if (!chunked && length < 0)
        r->client->keep_alive = false;          /* HTTP/1.0 client: the end of the connection ends the body */
    for (;;) {
        uint64_t until = deadline_min(r->attempt_deadline, loop_now(r->loop), r->model->idle_ns);
        bool came_with_head = is_first && in->kept.len > 0;
        n = h1_body_next(in, scratch, LOOP_SCRATCH, spans, until);
        came_with_head = came_with_head && n > 0 && !wire_is_in_scratch(scratch, spans[0]);
        if (n < 0 || (n = kept_save(in, &kept) < 0 ? -ENOMEM : n) < 0)
            break;
        struct iovec v[H1_SPANS_MAX + 3];
        char size[24];
        size_t bytes = 0;
        int k = 0;
        for (int i = 0; i < n; i++)
            bytes += spans[i].len;
        bool ends = n == 0 || in->is_complete;
        bool is_whole = is_first && ends && came_with_head && n == 1;   /* in the arena, in one piece: read it there */
        if (chunked && n > 0)
            v[k++] = (struct iovec){ size, (size_t)wire_chunk_size(size, bytes) };
        for (int i = 0; i < n; i++) {
            v[k++] = (struct iovec){ (void *)(uintptr_t)spans[i].ptr, spans[i].len };
            if (!is_whole && tee.len + spans[i].len <= TEE_MAX)
                buf_str(&tee, spans[i]);
        }
        if (chunked && n > 0)
            v[k++] = (struct iovec){ (void *)(uintptr_t)"\r\n", 2 };
        if (is_whole)
            answer = spans[0];
        if (chunked && ends)
            v[k++] = (struct iovec){ (void *)(uintptr_t)"0\r\n\r\n", 5 };
        if (is_first)
            rc = wire_answer(r, a->head.status, http_get(&a->head, S("content-type")), chunked ? -1 : length < 0 ? -2 : length, &a->head, v, k,
                           !came_with_head);
        else if (k)
            rc = wire_send(r, v, k);
        is_first = false;
        if (rc < 0 || ends)
            break;
    }
    if (n < 0 && n != -ECANCELED)
        rc = body_broken(r, n);
    if (rc == 0 && n >= 0)
        usage_read(r, answer.len ? answer : buf_view(&tee));
    buf_free(&tee);
    kept_free(r, in, &kept);
    return rc < 0 || n != -ECANCELED ? rc : n;
}

/* ---- the little that is put right in an answer that passes through ---- */

static bool is_renamed(const struct req *r)
{
    return req_dialect(r)->names_model_as_asked && !str_eq(r->backend->upstream_model, r->chat.model);
}

/* What the client's response follows was told to the provider as its items: it knows nothing of the response before. */
static bool is_continued(const struct req *r)
{
    return r->endpoint == ENDPOINT_CHAT && r->dialect == &dialect_openai_responses && r->exchange && r->is_prompt_changed;
}

/* `answer`: the object that says what the answer is. False: nothing to put right. */
static bool answer_correct(struct req *r, struct json_edits *e, const struct json *j, jref answer)
{
    if (!json_is(j, answer, JSON_OBJECT))
        return false;
    if (is_renamed(r) && json_is(j, json_get(j, answer, S("model")), JSON_STRING))
        json_edit_set(e, j, answer, S("model"), json_quoted(r->a, r->chat.model));
    if (is_continued(r)) {
        const struct answer_context *c = translate_context(r);
        if (c->stored_previous_id.len)
            json_edit_set(e, j, answer, S("previous_response_id"), json_quoted(r->a, c->stored_previous_id));
        if (c->stored_conversation_id.len)
            json_edit_set(e, j, answer, S("conversation"),
                          arena_printf(r->a, "{\"id\":" STR_FMT "}", STR_ARG(json_quoted(r->a, c->stored_conversation_id))));
    }
    return e->n > 0;
}

static WAITS int relay_corrected(struct req *r, struct answer *a)
{
    str body;
    struct json j;
    int rc = h1_read_body(&a->up->in, r->a, &a->head, WHOLE_MAX, &body, deadline_min(r->attempt_deadline, loop_now(r->loop), r->model->idle_ns));
    if (rc < 0)
        return rc == -ECANCELED ? rc : body_broken(r, rc);
    a->body_is_read = true;
    str read = body;
    struct json_edits e = { .a = r->a };
    if (json_parse(r->a, body, &j, NULL) == 0 && answer_correct(r, &e, &j, 0)) {
        struct buf out = { 0 };
        json_edits_write(&e, &j, &out);
        body = buf_to_arena(&out, r->a);
    }
    usage_read(r, is_renamed(r) ? read : body);         /* the log has the provider's name, the store what was told */
    struct iovec v = { (void *)(uintptr_t)body.ptr, body.len };
    return wire_answer(r, a->head.status, http_get(&a->head, S("content-type")), (int64_t)body.len, &a->head, &v, 1, false);
}

/* ---- relaying streams ---- */

/* Frames of many KB, which must not lie under a stream that waits: its stack is kept as deep as it waits. */
#define STACK_APART __attribute__((noinline))

struct stream {
    struct req *r;
    struct buf head;                /* not sent yet: goes with the first events */
    struct sse splitter;
    struct buf partial;             /* the beginning of an event whose end has not come yet */
    struct buf joined;
    bool chunked;
    bool is_done;                   /* [DONE] seen */
    bool has_error;                 /* the upstream sent an error event */
    bool has_unread;                /* an event was too large to look at, the last perhaps: only the framing tells the end */
    struct buf out;                 /* pieces that had to be rewritten this turn */
    void *reader;                   /* of a dialect that is not OpenAI chat's; NULL */
    struct collector *collector;    /* somebody keeps the answer; NULL */
    str told;                       /* the whole answer in the last event of a response, for the same */
};

enum verdict { EVENT_AS_IS, EVENT_REWRITTEN, EVENT_DROPPED };

/* The event's bytes with `data` replaced by `edits` of it, or by `text`, appended to s->out. */
static enum verdict rewrite(struct stream *s, str event, str data, struct json_edits *edits, const struct json *j, str text)
{
    const char *behind = data.ptr + data.len;
    buf_add(&s->out, event.ptr, (size_t)(data.ptr - event.ptr));
    if (edits)
        json_edits_write(edits, j, &s->out);
    else
        buf_str(&s->out, text);
    buf_add(&s->out, behind, (size_t)(event.ptr + event.len - behind));
    return EVENT_REWRITTEN;
}

/* The events that say what the answer is, and the member in which they do. "" : another event. */
static str answer_member(const struct req *r, str name)
{
    static const str told[] = { S("response.created"), S("response.in_progress"), S("response.completed"),
                                S("response.incomplete"), S("response.failed") };
    if (is_renamed(r) && str_eq(name, S("message_start")))
        return S("message");
    for (size_t i = 0; is_continued(r) && i < COUNT_OF(told); i++)
        if (str_eq(name, told[i]))
            return S("response");
    return S("");
}

/* The last event of a response is the whole of it: kept as the client is told it. */
static STACK_APART void told_keep(struct stream *s, str name, str data)
{
    struct json j;
    struct arena *a = NULL;
    struct buf out = { 0 };
    bool is_last = str_eq(name, S("response.completed")) || str_eq(name, S("response.incomplete"));
    if (!s->collector || !is_last || s->r->dialect != &dialect_openai_responses || !(a = arena_new()))
        return;
    if (json_parse(a, data, &j, NULL) == 0 && json_is(&j, 0, JSON_OBJECT)
        && json_is(&j, json_get(&j, 0, S("response")), JSON_OBJECT)
        && json_parse(a, json_raw(&j, json_get(&j, 0, S("response"))), &j, NULL) == 0) {
        struct json_edits edits = { .a = a };
        answer_correct(s->r, &edits, &j, 0);
        json_edits_write(&edits, &j, &out);
        s->told = buf_to_arena(&out, s->r->a);
    }
    arena_free(a);
}

static enum verdict correct_event(struct stream *s, str event, str data, str member)
{
    struct json j;
    struct arena *a = arena_new();
    enum verdict verdict = EVENT_AS_IS;
    struct json_edits edits = { .a = a };
    if (a && json_parse(a, data, &j, NULL) == 0 && json_is(&j, 0, JSON_OBJECT)
        && answer_correct(s->r, &edits, &j, json_get(&j, 0, member)))
        verdict = rewrite(s, event, data, &edits, &j, S(""));
    arena_free(a);
    return verdict;
}

static bool holds(str s, str what)
{
    return str_find(s, what) >= 0;
}

/* The JSON of an event that may matter: read it, and take out the usage that only we asked for. */
static enum verdict event_read(struct stream *s, str event, str data, bool in_place)
{
    struct req *r = s->r;
    struct json j;
    struct arena *a = arena_new();
    enum verdict verdict = EVENT_AS_IS;
    if (!a)
        return verdict;
    if (json_parse(a, data, &j, NULL) == 0 && json_is(&j, 0, JSON_OBJECT)) {
        answer_look(r, &j);
        s->has_error |= json_get(&j, 0, S("error")) != JSON_NONE;
        jref usage = json_get(&j, 0, S("usage")), choices = json_get(&j, 0, S("choices"));
        if (r->out.adds_usage && json_is(&j, usage, JSON_OBJECT) && json_is(&j, choices, JSON_ARRAY)
            && json_count(&j, choices) == 0) {
            verdict = EVENT_DROPPED;
        } else if (r->out.adds_usage && json_is(&j, usage, JSON_NULL) && in_place) {
            struct json_edits edits = { .a = a };
            json_edit_remove(&edits, &j, 0, S("usage"));
            verdict = rewrite(s, event, data, &edits, &j, S(""));
        }
    }
    arena_free(a);
    return verdict;
}

/* Pieces of a stream that passes through are looked at only for what they say of the whole. */
static void foreign_take(void *arg, const struct delta *d)
{
    struct stream *s = arg;
    int64_t n = (int64_t)s->r->n_events;
    translate_note(s->r, d);
    s->r->n_events = (uint64_t)n;               /* events are counted, not pieces */
    s->has_error |= d->kind == DELTA_ERROR;
    if (s->r->sample)
        sample_delta(s->r->sample, d);
    s->is_done |= d->kind == DELTA_END || (d->kind == DELTA_STOP && d->stop && s->r->dialect->ends_without_word);
    if (s->collector)
        collector_take(s->collector, d);
}

static STACK_APART void foreign_watch(struct stream *s, str name, str data)
{
    const struct dialect_ops *d = s->r->dialect;
    bool is_read = s->collector || s->r->sample || !d->event_is_routine || !d->event_is_routine(name);
    struct arena *scratch = is_read ? arena_new() : NULL;
    s->r->n_events++;
    if (!scratch)
        return;
    struct delta_sink to = { foreign_take, s };
    d->reader_event(s->reader, scratch, &(struct stream_event){ name, data, false }, &to);
    arena_free(scratch);
}

static enum verdict event_watch(struct stream *s, str event)
{
    static const char last[] = ",\"usage\":null}";     /* where every known provider puts it: closes the root object */
    const size_t n_last = sizeof last - 1;
    struct req *r = s->r;
    str name = { 0 }, data = sse_data(event, &s->joined, &name);
    bool in_place = data.ptr >= event.ptr && data.ptr < event.ptr + event.len;
    if (data.len == 0)
        return EVENT_AS_IS;                     /* a comment or a blank: keep-alive, passes */
    if (s->reader) {
        str member = answer_member(r, name);
        foreign_watch(s, name, data);
        told_keep(s, name, data);
        return in_place && member.len ? correct_event(s, event, data, member) : EVENT_AS_IS;
    }
    r->n_events++;
    if (str_starts(data, S("[DONE]"))) {
        s->is_done = true;
        return EVENT_AS_IS;
    }
    if (r->sample)
        sample_chat_event(r, data);
    bool is_first = r->n_events == 1, is_last = holds(data, S("\"finish_reason\":\""));
    if (r->out.adds_usage && in_place && !is_first && !is_last && data.len > n_last
        && memcmp(data.ptr + data.len - n_last, last, n_last) == 0) {
        str kept = { data.ptr, data.len - n_last };
        rewrite(s, event, (str){ data.ptr + kept.len, n_last }, NULL, NULL, S("}"));
        return EVENT_REWRITTEN;
    }
    if (is_first || is_last || holds(data, S("\"usage\"")) || holds(data, S("\"error\"")))
        return event_read(s, event, data, in_place);
    return EVENT_AS_IS;
}

/* What goes to the client this turn: pieces of the read, and, for what was rewritten, spans of s->out, which may still
 * move. Neighbours are merged; beyond the last place everything is copied, which merges, too. */
enum { PIECES_PER_TURN = 250 };
struct piece { const char *ptr; size_t at, len; };     /* ptr NULL: bytes at..at+len of s->out */
struct outlist { struct piece items[PIECES_PER_TURN + 1]; int n; };

static void out_copied(struct outlist *o, struct stream *s, size_t from)
{
    struct piece *last = o->n ? &o->items[o->n - 1] : NULL;
    size_t len = s->out.len - from;
    if (last && !last->ptr && last->at + last->len == from)
        last->len += len;
    else if (len)
        o->items[o->n++] = (struct piece){ NULL, from, len };
}

static void out_as_is(struct outlist *o, struct stream *s, str bytes)
{
    struct piece *last = o->n ? &o->items[o->n - 1] : NULL;
    if (last && last->ptr && last->ptr + last->len == bytes.ptr) {
        last->len += bytes.len;
    } else if (o->n < PIECES_PER_TURN) {
        o->items[o->n++] = (struct piece){ bytes.ptr, 0, bytes.len };
    } else {
        size_t from = s->out.len;
        buf_str(&s->out, bytes);
        out_copied(o, s, from);
    }
}

static void event_out(struct stream *s, str event, bool is_kept, struct outlist *o)
{
    size_t from = s->out.len;
    enum verdict verdict = event_watch(s, event);
    if (verdict == EVENT_AS_IS && is_kept)
        out_as_is(o, s, event);
    else if (verdict == EVENT_AS_IS)            /* it lies in a buffer that is used again: copied */
        buf_str(&s->out, event);
    if (s->out.len > from)
        out_copied(o, s, from);
}

static void events_split(struct stream *s, str bytes, struct outlist *o)
{
    while (bytes.len) {
        size_t n = sse_event_end(&s->splitter, bytes);
        if (n == 0) {                           /* no end here: hold the piece back until it comes */
            buf_str(&s->partial, bytes);
            return;
        }
        str event = str_upto(bytes, n);
        bytes = str_from(bytes, n);
        if (s->partial.len) {
            buf_str(&s->partial, event);
            event_out(s, buf_view(&s->partial), false, o);
            s->partial.len = 0;
        } else {
            event_out(s, event, true, o);
        }
    }
}

static WAITS int stream_send(struct stream *s, struct outlist *o, bool ends)
{
    struct iovec v[PIECES_PER_TURN + 5];
    char size[24];
    size_t bytes = 0;
    int k = 0;
    for (int i = 0; i < o->n; i++)
        bytes += o->items[i].len;
    if (s->head.len)
        v[k++] = (struct iovec){ s->head.ptr, s->head.len };
    if (s->chunked && bytes)
        v[k++] = (struct iovec){ size, (size_t)wire_chunk_size(size, bytes) };
    for (int i = 0; i < o->n; i++) {
        const struct piece *p = &o->items[i];
        v[k++] = (struct iovec){ (void *)(uintptr_t)(p->ptr ? p->ptr : s->out.ptr + p->at), p->len };
    }
    if (s->chunked && bytes)
        v[k++] = (struct iovec){ (void *)(uintptr_t)"\r\n", 2 };
    if (s->chunked && ends)
        v[k++] = (struct iovec){ (void *)(uintptr_t)"0\r\n\r\n", 5 };
    int rc = s->head.is_failed ? -ENOMEM : k ? wire_send(s->r, v, k) : 0;
    buf_free(&s->head);
    return rc;
}

/* The head alone, or what ends the chunks. */
static STACK_APART WAITS int stream_send_none(struct stream *s, bool ends)
{
    struct outlist none;
    none.n = 0;
    return stream_send(s, &none, ends);
}

struct trim { struct timer timer; struct fiber *f; };

static void trim_me(struct timer *t)
{
    fiber_trim(((struct trim *)(void *)t)->f);
}

/* A stream that ends without [DONE], or breaks: told as an event, and not as a clean end. */
static STACK_APART WAITS int stream_broken(struct stream *s, int code)
{
    bool is_late = code == -ETIMEDOUT;
    struct failure f = {
        .status = is_late ? 504 : 502, .kind = is_late ? FAILURE_TIMEOUT : FAILURE_UPSTREAM, .type = S("upstream_error"),
        .code = is_late ? S("upstream_timeout") : S("upstream_stream_broken"), .request_id = s->r->request_id,
        .message = is_late ? S("the provider stopped sending in the middle of its answer") : S("the provider's stream broke off"),
    };
    struct buf event = { 0 };
    translate_stream_error(s->r, &f, &event);
    struct outlist o;
    o.n = 0;
    out_as_is(&o, s, buf_view(&event));
    int rc = stream_send(s, &o, true);
    buf_free(&event);
    return rc;
}

/* What came in one read goes out in one write. `may_go_late`: nothing of it lies in the loop's scratch. */
static STACK_APART WAITS int stream_turn(struct stream *s, const str *spans, int n, bool ends, bool may_go_late)
{
    struct outlist o;
    o.n = 0;
    for (int i = 0; i < n; i++)
        events_split(s, spans[i], &o);
    if (s->partial.len > EVENT_MAX) {           /* not an event we would change */
        size_t from = s->out.len;
        buf_str(&s->out, buf_view(&s->partial));
        out_copied(&o, s, from);
        s->partial.len = 0;
        s->has_unread = true;
    }
    s->is_done |= ends && s->has_unread && !s->has_error;
    if (may_go_late)
        fiber_late();
    int rc = s->out.is_failed || s->partial.is_failed ? -ENOMEM : stream_send(s, &o, ends && s->is_done);
    s->out.len = 0;
    if (s->partial.len == 0)                    /* most likely the next one comes whole, or late */
        buf_free(&s->partial);
    return rc;
}

static STACK_APART void foreign_end(struct stream *s, bool ok)
{
    struct reply reply;
    struct failure f;
    if (s->collector && ok && s->is_done && collector_reply(s->collector, &reply, &f) == 0) {
        reply.raw = s->told;
        s->r->on_reply(s->r, &reply);
    }
    if (s->collector)
        collector_free(s->collector);
    if (s->reader && s->r->dialect->reader_free)
        s->r->dialect->reader_free(s->reader);
}

static WAITS int relay_stream(struct req *r, struct answer *a)
{
    struct h1 *in = &a->up->in;
    struct stream s = { .r = r, .chunked = wire_is_chunked(r) };
    struct kept kept = { 0 };
    struct trim trim = { .timer.fire = trim_me, .f = fiber_self() };
    str spans[H1_SPANS_MAX];
    char *scratch = loop_scratch(r->loop);
    sse_init(&s.splitter);
    if (req_is_foreign(r)) {
        s.reader = r->dialect->reader_new(r->a);
        if (r->on_reply)
            s.collector = collector_new(r->a, r->dialect);
    }
    if (!s.chunked)
        r->client->keep_alive = false;
    wire_head(r, a->head.status, http_get(&a->head, S("content-type")), s.chunked ? -1 : -2, &a->head, &s.head);
    int rc = in->kept.len ? 0 : stream_send_none(&s, false);    /* else it goes with the first events */
    int n = 0;
    while (rc == 0) {
        uint64_t now = loop_now(r->loop), until = deadline_min(r->attempt_deadline, now, r->model->idle_ns);
        bool came_with_head = s.head.len > 0;
        timer_arm(r->loop, &trim.timer, now + TRIM_AFTER_NS);
        n = h1_body_next(in, scratch, LOOP_SCRATCH, spans, until);
        timer_stop(&trim.timer);
        came_with_head = came_with_head && n > 0 && !wire_is_in_scratch(scratch, spans[0]);
        if (n <= 0 || (n = kept_save(in, &kept) < 0 ? -ENOMEM : n) < 0)
            break;
        rc = stream_turn(&s, spans, n, in->is_complete, came_with_head);
        if (in->is_complete)
            break;
    }
    s.is_done |= n == 0 && s.has_unread && !s.has_error;
    if (rc == 0 && n <= 0 && n != -ECANCELED && s.is_done) {    /* the end came in a read of its own, or was lost behind it */
        rc = stream_send_none(&s, true);
    } else if (rc == 0 && !s.is_done && n != -ECANCELED) {
        if (s.has_error && n >= 0)              /* the upstream told it itself; its words have been relayed */
            rc = stream_send_none(&s, true);
        else
            rc = stream_broken(&s, n);
        if (n < 0)
            backend_failed(r->backend, clock_now());
        if (!r->is_client_gone)                 /* the client got a complete message all the same: its connection stays */
            r->fail = (struct fail){ .status = 502, .type = "upstream_error", .code = "upstream_stream_broken",
                                     .reason = "stream_broken", .message = S("the provider's stream broke off") };
    } else if (n == -ECANCELED) {
        rc = n;
    }
    foreign_end(&s, rc == 0);
    buf_free(&s.partial);
    buf_free(&s.joined);
    buf_free(&s.out);
    buf_free(&s.head);
    kept_free(r, in, &kept);
    return rc;
}

/* ---- errors of upstreams ---- */

static bool error_read(struct req *r, const struct answer *a, int status, struct failure *f)
{
    struct json j;
    const struct dialect_ops *d = r->backend->dialect;
    str word = d->error_header ? http_get(&a->head, str_of(d->error_header)) : S("");
    if (json_parse(r->a, a->error_body, &j, NULL) < 0 || !d->error_read(r->a, &j, status, f))
        *f = (struct failure){ .status = status };
    if (word.len)
        d->error_named(word, f);
    return f->message.len > 0;
}

/* False: not JSON (a proxy's page), or not an error of its dialect. It would break the client's reader. */
static bool error_is_readable(struct req *r, const struct answer *a, int status)
{
    struct failure f = { 0 };
    return r->endpoint != ENDPOINT_CHAT || !r->dialect || error_read(r, a, status, &f);
}

/* The provider's error in the client's words. */
static WAITS int error_translate(struct req *r, struct answer *a, int status)
{
    struct failure f = { 0 };
    bool ok = error_read(r, a, status, &f);
    req_fail(r, status, "upstream_error", NULL, status == 429 ? "upstream_rate_limited" : status >= 500 ? "upstream_5xx" : "upstream_4xx",
             "the provider answered with status %d%s" STR_FMT, status, ok ? ": " : "",
             STR_ARG(ok ? f.message : S("")));
    if (ok) {
        r->fail.message = f.message;
        r->fail.type = f.type.len ? arena_cstr(r->a, f.type) : r->fail.type;
        r->fail.code = f.code.len ? arena_cstr(r->a, f.code) : NULL;
        r->fail.param = f.param;
    }
    r->fail.retry_after_ns = http_retry_after_ns(&a->head);
    return relay_fail(r);
}

static WAITS int relay_error(struct req *r, struct answer *a)
{
    struct failure f = { 0 };
    bool is_translated = a->body_is_read && translate_answer_is_needed(r, r->backend);
    int status = is_translated && error_read(r, a, a->head.status, &f) ? f.status : a->head.status;
    if (status == 401 || status == 402 || status == 403) {      /* the gateway's key is bad, not the client's */
        req_fail(r, 502, "upstream_error", "upstream_auth", "upstream_auth",
                 "the provider of model '" STR_FMT "' refused the gateway's credentials (status %d)",
                 STR_ARG(r->model->name), status);
        return relay_fail(r);
    }
    if (status == 529 && r->dialect != &dialect_anthropic)      /* a number that only Anthropic's clients know */
        status = 503;
    if (is_translated || (a->body_is_read && a->error_body.len && !error_is_readable(r, a, status)))
        return error_translate(r, a, status);
    if (!a->body_is_read || a->error_body.len == 0) {
        req_fail(r, status, "upstream_error", NULL, "upstream_error", "the provider answered with status %d and no body", status);
        r->fail.retry_after_ns = http_retry_after_ns(&a->head);
        return relay_fail(r);
    }
    r->fail.reason = status == 429 ? "upstream_rate_limited" : status >= 500 ? "upstream_5xx" : "upstream_4xx";
    struct iovec body = { (void *)(uintptr_t)a->error_body.ptr, a->error_body.len };
    return wire_answer(r, status, http_get(&a->head, S("content-type")), (int64_t)a->error_body.len, &a->head, &body, 1, false);
}

/* A redirect, whose target would be given the client's key; nothing; a web page. None of them is an answer of a model. */
static bool is_no_answer(const struct req *r, const struct http_head *head)
{
    return head->status >= 300 || head->status == 204 || head->status == 205
           || (r->endpoint == ENDPOINT_CHAT && str_ieq(str_upto(http_get(head, S("content-type")), 9), S("text/html")));
}

static WAITS int relay_no_answer(struct req *r, const struct answer *a)
{
    str type = http_get(&a->head, S("content-type"));
    backend_failed(r->backend, clock_now());
    req_fail(r, 502, "upstream_error", "upstream_malformed", "upstream_malformed",
             "the provider of model '" STR_FMT "' answered with status %d%s" STR_FMT
             ", which is no answer of a model; is its base_url right?", STR_ARG(r->model->name), a->head.status,
             type.len ? " and " : "", STR_ARG(str_upto(type, 64)));
    return relay_fail(r);
}

WAITS int relay_run(struct req *r, struct answer *a)
{
    r->response_path = "upstream";
    static const str ids[] = { { "x-request-id", 12 }, { "request-id", 10 }, { "x-amzn-requestid", 16 } };
    for (size_t i = 0; i < COUNT_OF(ids) && r->upstream_request_id.len == 0; i++)
        r->upstream_request_id = http_get(&a->head, ids[i]);
    if (a->head.status >= 400)
        return relay_error(r, a);
    if (is_no_answer(r, &a->head))
        return relay_no_answer(r, a);
    if (translate_answer_is_needed(r, r->backend))
        return translate_answer(r, a);
    str type = http_get(&a->head, S("content-type"));
    if (str_ieq(str_upto(type, 17), S("text/event-stream")))
        return relay_stream(r, a);
    return is_renamed(r) || is_continued(r) ? relay_corrected(r, a) : relay_body(r, a);
}

/* ---- answers of our own ---- */

WAITS int relay_own(struct req *r, int status, str content_type, str body)
{
    struct iovec v = { (void *)(uintptr_t)body.ptr, body.len };
    bool is_head = str_eq(r->head.method, S("HEAD"));
    return wire_answer(r, status, content_type, (int64_t)body.len, NULL, &v, is_head ? 0 : 1, false);
}

WAITS int relay_own_stream(struct req *r, str events)
{
    bool chunked = wire_is_chunked(r);
    char size[24];
    struct iovec v[3] = {
        { size, (size_t)wire_chunk_size(size, events.len) },
        { (void *)(uintptr_t)events.ptr, events.len },
        { (void *)(uintptr_t)"\r\n0\r\n\r\n", 7 },
    };
    if (!chunked)
        r->client->keep_alive = false;
    return wire_answer(r, 200, S("text/event-stream"), chunked ? -1 : -2, NULL, chunked ? v : v + 1, chunked ? 3 : 1,
                     false);
}

WAITS int relay_own_answer(struct req *r, str model, str text)
{
    struct openai_answer a = {
        .model = model, .text = text, .created = (int64_t)(clock_wall() / NS_PER_S),
        .prompt_tokens = r->usage.prompt_tokens, .is_chat = r->endpoint == ENDPOINT_CHAT,
        .includes_usage = json_bool(&r->json, json_path(&r->json, "stream_options.include_usage"), false),
    };
    a.id = arena_printf(r->a, "%s-" STR_FMT, a.is_chat ? "chatcmpl" : "cmpl", STR_ARG(r->request_id));
    r->response_id = a.id;
    r->finish_reason = S("stop");
    r->t.sent = r->t.first_byte = clock_now();
    struct buf out = { 0 };
    if (req_is_foreign(r))
        translate_own_answer(r, model, text, &out);
    else if (r->chat.is_streaming)
        openai_answer_write_stream(&a, &out);
    else
        openai_answer_write(&a, &out);
    int rc;
    if (out.is_failed || arena_exhausted(r->a)) {
        req_fail(r, 503, "overloaded_error", "overloaded", "memory", "out of memory; try again");
        rc = relay_fail(r);
    } else {
        rc = r->chat.is_streaming ? relay_own_stream(r, buf_view(&out))
                                  : relay_own(r, 200, S("application/json"), buf_view(&out));
    }
    buf_free(&out);
    return rc;
}

WAITS int relay_fail(struct req *r)
{
    const struct dialect_ops *d = req_dialect(r);
    struct failure f = translate_failure(r);
    struct buf body = { 0 };
    if (r->is_head_sent)
        return -EPIPE;
    d->error_write(&f, &body);
    if (!r->response_path || strcmp(r->response_path, "rate_limited") != 0)
        r->response_path = "error";
    int status = d->error_status ? d->error_status(&f) : f.status;
    int rc = body.is_failed ? -ENOMEM : relay_own(r, status, S("application/json"), buf_view(&body));
    buf_free(&body);
    return rc;
}
