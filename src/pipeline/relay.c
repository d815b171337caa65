/* pipeline/relay.c */
#include "pipeline/relay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "dialect/openai_answer.h"
#include "front/server.h"
#include "net/sse.h"
#include "pipeline/headers.h"

enum {
    TOKENS_MAX = 1000000000,        /* of one answer; beyond: the provider is mistaken, and counters would not forget it */
    TEE_MAX = 256 * 1024,           /* of a whole answer, kept to read its usage; beyond: only relayed */
    EVENT_MAX = 1024 * 1024,        /* an event held back until its end; beyond: relayed unread */
    COPY_MAX = 4096,                /* of a body that goes behind its head in one buffer */
};

#define SLOW_CLIENT_NS (60 * NS_PER_S)      /* a client that takes nothing for so long is gone */
#define TRIM_AFTER_NS NS_PER_S              /* a stream that is silent this long gives its stack pages back */

/* ---- what an answer says about itself ---- */

static void count_read(const struct json *j, jref v, int64_t *out)
{
    int64_t n;
    if (json_int(j, v, &n) && n >= 0 && n <= TOKENS_MAX)
        *out = n;
}

static void usage_object(struct req *r, const struct json *j, jref usage)
{
    struct usage *u = &r->usage;
    if (!json_is(j, usage, JSON_OBJECT))
        return;
    u->is_known = true;
    JSON_EACH_PAIR(j, usage, key, v) {          /* one walk: every answer has one of these */
        if (json_key_is(j, key, S("prompt_tokens"))) {
            count_read(j, v, &u->prompt_tokens);
        } else if (json_key_is(j, key, S("completion_tokens"))) {
            count_read(j, v, &u->completion_tokens);
        } else if (json_key_is(j, key, S("prompt_tokens_details"))) {
            count_read(j, json_get(j, v, S("cached_tokens")), &u->cached_tokens);
            count_read(j, json_get(j, v, S("cache_write_tokens")), &u->cache_write_tokens);
        } else if (json_key_is(j, key, S("completion_tokens_details"))) {
            count_read(j, json_get(j, v, S("reasoning_tokens")), &u->reasoning_tokens);
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

void usage_read(struct req *r, str json_text)
{
    if (!r->trace && usage_glance(r, json_text))
        return;
    struct json j;
    if (json_text.len <= TEE_MAX && json_parse(r->a, json_text, &j, NULL) == 0 && json_is(&j, 0, JSON_OBJECT))
        answer_look(r, &j);
}

/* ---- writing to the client ---- */

/* The pieces may lie in the loop's scratch, which others use while this fiber is parked: what the socket does not take
 * at once is copied before waiting. */
static WAITS int send_v(struct req *r, struct iovec *v, int n)
{
    size_t total = 0;
    for (int i = 0; i < n; i++)
        total += v[i].iov_len;
    r->relayed_bytes += total;
    ssize_t put = conn_write_some(&r->client->conn, v, n);
    int rc = put < 0 ? (int)put : 0;
    if (rc == 0 && (size_t)put < total) {
        char *rest = malloc(total - (size_t)put), *to = rest;
        if (rest) {
            size_t skip = (size_t)put;
            for (int i = 0; i < n; i++) {
                size_t from = skip < v[i].iov_len ? skip : v[i].iov_len;
                skip -= from;
                memcpy(to, (char *)v[i].iov_base + from, v[i].iov_len - from);
                to += v[i].iov_len - from;
            }
            uint64_t until = loop_now(r->loop) + SLOW_CLIENT_NS;
            rc = conn_write(&r->client->conn, (str){ rest, total - (size_t)put }, until < r->deadline ? until : r->deadline);
            free(rest);
        } else {
            rc = -ENOMEM;
        }
    }
    if (rc < 0)
        r->is_client_gone = true;               /* gone, or too slow for its time */
    return rc;
}

/* Bytes that the parser has kept lie in the scratch, too. The present spans may point into the last copy, so that one
 * stays until the next turn. */
struct kept { struct buf copies[2]; unsigned turn; };

static int kept_save(struct h1 *in, struct kept *k)
{
    if (in->kept.len == 0)
        return 0;
    struct buf *copy = &k->copies[++k->turn & 1];
    copy->len = 0;
    buf_str(copy, in->kept);
    in->kept = buf_view(copy);
    return copy->is_failed ? -ENOMEM : 0;
}

/* What is left behind the message goes with the request. */
static void kept_free(struct req *r, struct h1 *in, struct kept *k)
{
    if (in->kept.len)
        in->kept = arena_str(r->a, in->kept);
    buf_free(&k->copies[0]);
    buf_free(&k->copies[1]);
}

static void head_build(struct req *r, int status, str content_type, int64_t length, const struct http_head *from,
                       struct buf *out)
{
    r->status = status;
    r->is_head_sent = true;
    headers_write(r, status, content_type, length, from, out);
}

/* `is_scratch`: the body lies in the loop's scratch, so this fiber must not let others run. */
static WAITS int head_send(struct req *r, int status, str content_type, int64_t length, const struct http_head *from,
                           const struct iovec *body, int n_body, bool is_scratch)
{
    struct buf head = { 0 };
    head_build(r, status, content_type, length, from, &head);
    struct iovec v[H1_SPANS_MAX + 4];           /* the head, the spans, a chunk's size, its end, the end of chunks */
    int n = 1;
    size_t body_bytes = 0;
    for (int i = 0; i < n_body; i++)
        body_bytes += body[i].iov_len;
    if (body_bytes <= COPY_MAX)                 /* one piece is cheaper to send than two */
        for (int i = 0; i < n_body; i++)
            buf_add(&head, body[i].iov_base, body[i].iov_len);
    else
        for (int i = 0; i < n_body; i++)
            v[n++] = body[i];
    v[0] = (struct iovec){ head.ptr, head.len };
    if (!is_scratch)
        fiber_late();
    int rc = head.is_failed ? -ENOMEM : send_v(r, v, n);
    buf_free(&head);
    return rc;
}

/* Spans of one read lie all in kept bytes, which stay, or all in the loop's scratch, which others use as soon as this
 * fiber lets them run. */
static bool is_in_scratch(const char *scratch, str span)
{
    return span.ptr >= scratch && span.ptr < scratch + LOOP_SCRATCH;
}

static int chunk_size_text(char to[24], size_t n)
{
    static const char digits[] = "0123456789abcdef";
    char text[16];
    int len = 0, k = 0;
    do
        text[len++] = digits[n & 15];
    while (n >>= 4);
    while (len)
        to[k++] = text[--len];
    to[k++] = '\r';
    to[k++] = '\n';
    return k;
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
    bool chunked = length < 0 && r->head.minor >= 1 && !in->is_complete;
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
        came_with_head = came_with_head && n > 0 && !is_in_scratch(scratch, spans[0]);
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
            v[k++] = (struct iovec){ size, (size_t)chunk_size_text(size, bytes) };
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
            rc = head_send(r, a->head.status, http_get(&a->head, S("content-type")), chunked ? -1 : length < 0 ? -2 : length, &a->head, v, k,
                           !came_with_head);
        else if (k)
            rc = send_v(r, v, k);
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
    struct buf out;                 /* pieces that had to be rewritten this turn */
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

static enum verdict event_watch(struct stream *s, str event)
{
    static const char last[] = ",\"usage\":null}";     /* where every known provider puts it: closes the root object */
    const size_t n_last = sizeof last - 1;
    struct req *r = s->r;
    str data = sse_data(event, &s->joined, NULL);
    bool in_place = data.ptr >= event.ptr && data.ptr < event.ptr + event.len;
    if (data.len == 0)
        return EVENT_AS_IS;                     /* a comment or a blank: keep-alive, passes */
    r->n_events++;
    if (str_starts(data, S("[DONE]"))) {
        s->is_done = true;
        return EVENT_AS_IS;
    }
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
        v[k++] = (struct iovec){ size, (size_t)chunk_size_text(size, bytes) };
    for (int i = 0; i < o->n; i++) {
        const struct piece *p = &o->items[i];
        v[k++] = (struct iovec){ (void *)(uintptr_t)(p->ptr ? p->ptr : s->out.ptr + p->at), p->len };
    }
    if (s->chunked && bytes)
        v[k++] = (struct iovec){ (void *)(uintptr_t)"\r\n", 2 };
    if (s->chunked && ends)
        v[k++] = (struct iovec){ (void *)(uintptr_t)"0\r\n\r\n", 5 };
    int rc = s->head.is_failed ? -ENOMEM : k ? send_v(s->r, v, k) : 0;
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
    const char *text = code == -ETIMEDOUT ? "the provider stopped sending in the middle of its answer"
                                          : "the provider's stream broke off";
    struct buf event = { 0 };
    buf_printf(&event, "data: {\"error\":{\"message\":\"%s\",\"type\":\"upstream_error\",\"param\":null,\"code\":\"%s\"}}\n\n",
               text, code == -ETIMEDOUT ? "upstream_timeout" : "upstream_stream_broken");
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
    }
    if (may_go_late)
        fiber_late();
    int rc = s->out.is_failed || s->partial.is_failed ? -ENOMEM : stream_send(s, &o, ends && s->is_done);
    s->out.len = 0;
    if (s->partial.len == 0)                    /* most likely the next one comes whole, or late */
        buf_free(&s->partial);
    return rc;
}

static WAITS int relay_stream(struct req *r, struct answer *a)
{
    struct h1 *in = &a->up->in;
    struct stream s = { .r = r, .chunked = r->head.minor >= 1 };
    struct kept kept = { 0 };
    struct trim trim = { .timer.fire = trim_me, .f = fiber_self() };
    str spans[H1_SPANS_MAX];
    char *scratch = loop_scratch(r->loop);
    sse_init(&s.splitter);
    if (!s.chunked)
        r->client->keep_alive = false;
    head_build(r, a->head.status, http_get(&a->head, S("content-type")), s.chunked ? -1 : -2, &a->head, &s.head);
    int rc = in->kept.len ? 0 : stream_send_none(&s, false);    /* else it goes with the first events */
    int n = 0;
    while (rc == 0) {
        uint64_t now = loop_now(r->loop), until = deadline_min(r->attempt_deadline, now, r->model->idle_ns);
        bool came_with_head = s.head.len > 0;
        timer_arm(r->loop, &trim.timer, now + TRIM_AFTER_NS);
        n = h1_body_next(in, scratch, LOOP_SCRATCH, spans, until);
        timer_stop(&trim.timer);
        came_with_head = came_with_head && n > 0 && !is_in_scratch(scratch, spans[0]);
        if (n <= 0 || (n = kept_save(in, &kept) < 0 ? -ENOMEM : n) < 0)
            break;
        rc = stream_turn(&s, spans, n, in->is_complete, came_with_head);
        if (in->is_complete)
            break;
    }
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
    buf_free(&s.partial);
    buf_free(&s.joined);
    buf_free(&s.out);
    buf_free(&s.head);
    kept_free(r, in, &kept);
    return rc;
}

/* ---- errors of upstreams ---- */

static WAITS int relay_error(struct req *r, struct answer *a)
{
    int status = a->head.status;
    if (status == 401 || status == 402 || status == 403) {      /* the gateway's key is bad, not the client's */
        req_fail(r, 502, "upstream_error", "upstream_auth", "upstream_auth",
                 "the provider of model '" STR_FMT "' refused the gateway's credentials (status %d)",
                 STR_ARG(r->model->name), status);
        return relay_fail(r);
    }
    if (status == 529)
        status = 503;
    if (!a->body_is_read || a->error_body.len == 0) {
        req_fail(r, status, "upstream_error", NULL, "upstream_error", "the provider answered with status %d and no body", status);
        r->fail.retry_after_ns = http_retry_after_ns(&a->head);
        return relay_fail(r);
    }
    r->fail.reason = status == 429 ? "upstream_rate_limited" : status >= 500 ? "upstream_5xx" : "upstream_4xx";
    struct iovec body = { (void *)(uintptr_t)a->error_body.ptr, a->error_body.len };
    return head_send(r, status, http_get(&a->head, S("content-type")), (int64_t)a->error_body.len, &a->head, &body, 1, false);
}

WAITS int relay_run(struct req *r, struct answer *a)
{
    r->response_path = "upstream";
    str upstream_id = http_get(&a->head, S("x-request-id"));
    r->upstream_request_id = upstream_id;
    if (a->head.status >= 400)
        return relay_error(r, a);
    str type = http_get(&a->head, S("content-type"));
    if (str_ieq(str_upto(type, 17), S("text/event-stream")))
        return relay_stream(r, a);
    return relay_body(r, a);
}

/* ---- answers of our own ---- */

WAITS int relay_own(struct req *r, int status, str content_type, str body)
{
    struct iovec v = { (void *)(uintptr_t)body.ptr, body.len };
    bool is_head = str_eq(r->head.method, S("HEAD"));
    return head_send(r, status, content_type, (int64_t)body.len, NULL, &v, is_head ? 0 : 1, false);
}

static WAITS int own_stream(struct req *r, str events)
{
    bool chunked = r->head.minor >= 1;
    char size[24];
    struct iovec v[3] = {
        { size, (size_t)chunk_size_text(size, events.len) },
        { (void *)(uintptr_t)events.ptr, events.len },
        { (void *)(uintptr_t)"\r\n0\r\n\r\n", 7 },
    };
    if (!chunked)
        r->client->keep_alive = false;
    return head_send(r, 200, S("text/event-stream"), chunked ? -1 : -2, NULL, chunked ? v : v + 1, chunked ? 3 : 1,
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
    if (r->chat.is_streaming)
        openai_answer_write_stream(&a, &out);
    else
        openai_answer_write(&a, &out);
    int rc;
    if (out.is_failed || arena_exhausted(r->a)) {
        req_fail(r, 503, "overloaded_error", "overloaded", "memory", "out of memory; try again");
        rc = relay_fail(r);
    } else {
        rc = r->chat.is_streaming ? own_stream(r, buf_view(&out))
                                  : relay_own(r, 200, S("application/json"), buf_view(&out));
    }
    buf_free(&out);
    return rc;
}

WAITS int relay_fail(struct req *r)
{
    struct buf body = { 0 };
    struct json_writer w = { .out = &body };
    if (r->is_head_sent)
        return -EPIPE;
    jw_begin(&w, '{');
    jw_key(&w, S("error"));
    jw_begin(&w, '{');
    jw_key(&w, S("message"));
    jw_str(&w, r->fail.message);
    jw_key(&w, S("type"));
    jw_str(&w, str_of(r->fail.type ? r->fail.type : "server_error"));
    jw_key(&w, S("param"));
    if (r->fail.param.len)
        jw_str(&w, r->fail.param);
    else
        jw_null(&w);
    jw_key(&w, S("code"));
    if (r->fail.code)
        jw_str(&w, str_of(r->fail.code));
    else
        jw_null(&w);
    jw_end(&w, '}');
    jw_end(&w, '}');
    if (!r->response_path || r->fail.status)
        r->response_path = "error";
    int rc = body.is_failed ? -ENOMEM : relay_own(r, r->fail.status, S("application/json"), buf_view(&body));
    buf_free(&body);
    return rc;
}
