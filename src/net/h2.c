/* net/h2.c */
#include "net/h2.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

enum {
    READ_ROOM = 16 * 1024,          /* one read; a frame is as long */
    OUT_BURST = 64 * 1024,          /* frames gathered for one write */
    LINES_MAX = HEADERS_MAX + 4,
    OPENED_KEPT = 64,
    EAGER_MAX = 1 << 20,            /* bytes taken in a turn of the loop: a flood shall not stop the others */
};

#define SILENT_NS NS_PER_S          /* a connection that is mute while a stream waits as long is not trusted with another */

struct h2_stream {
    struct h2 *h;                   /* NULL: the connection is gone */
    int32_t id;                     /* -1: not sent yet */
    struct io *io;                  /* of the user */
    struct fiber *reader, *writer;  /* parked */
    struct buf head;                /* its lines, each struct line and bytes; empty once it is read: a stream may last */
    unsigned n_lines;
    size_t head_bytes;
    bool is_head_in, is_head_huge, is_interim;
    struct buf in, handed;          /* received and not read; what the reader has now */
    bool has_ended;                 /* the peer's side */
    struct buf out; size_t out_at;
    bool is_out_ended, is_out_idle; /* idle: nghttp2 was told that there is nothing now */
    bool is_out_sent;               /* nghttp2 has it all, the end included: it will not ask again */
    bool is_closed, is_reset;
    uint64_t opened;                /* by us */
    struct h2_stream *next, **prev;
};

struct line { uint32_t name, value; };          /* lengths */

struct h2 {
    struct conn *c;
    struct h2_owner owner;
    nghttp2_session *session;
    struct h2_stream *streams; unsigned n_streams;
    struct buf out; size_t out_at;
    bool is_server, is_draining, is_busy;      /* busy: inside nghttp2; writes wait for its end */
    bool is_broken;
    uint64_t resets_from; unsigned n_resets;
    uint64_t heard;                 /* when the peer last said anything */
    struct timer again;             /* more is there than one turn takes */
    int32_t opened[OPENED_KEPT], newest;        /* client's streams, by turns: which of the lower numbers were ever used */
};

static void flush(struct h2 *h);

/* ---- streams ---- */

static struct h2_stream *stream_new(struct h2 *h, int32_t id)
{
    struct h2_stream *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->h = h;
    s->id = id;
    s->next = h->streams;
    s->prev = &h->streams;
    if (s->next)
        s->next->prev = &s->next;
    h->streams = s;
    h->n_streams++;
    return s;
}

static void stream_wake(struct h2_stream *s)
{
    if (s->reader)
        fiber_wake(s->reader);
    if (s->writer)
        fiber_wake(s->writer);
}

/* The exchange is over for the peer. A user in the middle of it is cancelled, as when an HTTP/1 client hangs up. */
static void stream_over(struct h2_stream *s, bool is_reset)
{
    s->is_closed = true;
    s->is_reset |= is_reset;
    if (s->io) {
        s->io->ready |= IO_HUP;
        if (s->io->victim && is_reset && s->h && s->h->is_server)
            fiber_cancel(s->io->victim);
    }
    stream_wake(s);
}

static void stream_free(struct h2_stream *s)
{
    buf_free(&s->head);
    buf_free(&s->in);
    buf_free(&s->handed);
    buf_free(&s->out);
    free(s);
}

static void stream_unlink(struct h2_stream *s)
{
    *s->prev = s->next;
    if (s->next)
        s->next->prev = s->prev;
    s->h->n_streams--;
    s->h = NULL;
}

/* ---- what the peer sends ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2 *h = user;
    if (!h->is_server || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    h->newest = frame->hd.stream_id;
    h->opened[h->newest / 2 % OPENED_KEPT] = h->newest;
    struct h2_stream *s = h->is_draining ? NULL : stream_new(h, frame->hd.stream_id);
    if (!s)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    nghttp2_session_set_stream_user_data(session, s->id, s);
    return 0;
}

/* A stream's number must be higher than all before (RFC 9113 5.1.1). nghttp2 ignores a lower one, since it may be a late
 * frame of a stream that is over; one that was never used is a mistake. */
static int on_frame_begin(nghttp2_session *session, const nghttp2_frame_hd *hd, void *user)
{
    const struct h2 *h = user;
    if (h->is_server && hd->type == NGHTTP2_HEADERS && hd->stream_id < h->newest && hd->stream_id % 2
        && h->newest - hd->stream_id < 2 * OPENED_KEPT && h->opened[hd->stream_id / 2 % OPENED_KEPT] != hd->stream_id)
        nghttp2_session_terminate_session(session, NGHTTP2_PROTOCOL_ERROR);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t n_name, const uint8_t *value,
                     size_t n_value, uint8_t flags, void *user)
{
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    (void)user;
    (void)flags;
    if (!s || s->is_head_in)                    /* trailers are nobody's */
        return 0;
    s->head_bytes += n_name + n_value + 32;     /* as RFC 9113 6.5.2 counts */
    if (s->head_bytes > H2_HEAD_MAX || s->n_lines >= HEADERS_MAX - 1) {
        s->is_head_huge = true;
        return 0;
    }
    if (n_name == 7 && memcmp(name, ":status", 7) == 0)         /* 100, 103: the head proper is yet to come */
        s->is_interim = n_value == 3 && value[0] == '1';
    struct line line = { (uint32_t)n_name, (uint32_t)n_value };
    buf_add(&s->head, &line, sizeof line);
    buf_add(&s->head, name, n_name);
    buf_add(&s->head, value, n_value);
    s->n_lines++;
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2 *h = user;
    struct h2_stream *s = frame->hd.stream_id ? nghttp2_session_get_stream_user_data(session, frame->hd.stream_id) : NULL;
    if (frame->hd.type == NGHTTP2_RST_STREAM && h->is_server) {     /* a storm of resets costs us more than them */
        uint64_t now = clock_now();
        if (now - h->resets_from > NS_PER_S) {
            h->resets_from = now;
            h->n_resets = 0;
        }
        if (++h->n_resets > H2_RESETS_MAX)
            nghttp2_session_terminate_session(session, NGHTTP2_ENHANCE_YOUR_CALM);
    }
    if (frame->hd.type == NGHTTP2_GOAWAY)
        h->is_draining = true;
    if (!s)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && (frame->hd.flags & NGHTTP2_FLAG_END_HEADERS)) {
        bool is_first = !s->is_head_in && !s->is_interim;
        if (s->is_interim) {
            s->head.len = s->n_lines = 0;
            s->is_interim = false;
        } else {
            s->is_head_in = true;
        }
        if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
            s->has_ended = true;
        if (is_first && h->is_server)
            h->owner.on_request(h->owner.arg, s);
    } else if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM && frame->hd.type == NGHTTP2_DATA) {
        s->has_ended = true;
    }
    stream_wake(s);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t n, void *user)
{
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);
    (void)user;
    (void)flags;
    if (s) {
        buf_add(&s->in, data, n);               /* bounded by the window: it opens as the reader reads */
        stream_wake(s);
    } else {
        nghttp2_session_consume(session, id, n);
    }
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);
    (void)user;
    if (s) {
        nghttp2_session_set_stream_user_data(session, id, NULL);
        stream_over(s, code != NGHTTP2_NO_ERROR || !s->has_ended);
    }
    return 0;
}

/* ---- the connection ---- */

static void fail(struct h2 *h)
{
    if (h->is_broken)
        return;
    h->is_broken = true;
    timer_stop(&h->again);
    while (h->streams) {
        struct h2_stream *s = h->streams;
        stream_over(s, !s->has_ended || !s->is_out_ended);
        stream_unlink(s);
    }
    nghttp2_session_del(h->session);
    buf_free(&h->out);
    h->c->io.on_ready = NULL;
    h->c->h2 = NULL;
    struct h2_owner owner = h->owner;
    loop_free_later(h->c->loop, h, free);
    if (owner.on_gone)
        owner.on_gone(owner.arg);
}

/* Frames go out as the socket takes them; what it does not take waits here, and the window does the rest. */
static void flush(struct h2 *h)
{
    if (h->is_busy || h->is_broken)
        return;
    for (;;) {
        while (h->out.len - h->out_at < OUT_BURST) {
            const uint8_t *frame;
            h->is_busy = true;
            ssize_t n = nghttp2_session_mem_send(h->session, &frame);
            h->is_busy = false;
            if (n < 0 || h->out.is_failed) {
                fail(h);
                return;
            }
            if (n == 0)
                break;
            buf_add(&h->out, frame, (size_t)n);
        }
        if (h->out.len == h->out_at)
            break;
        struct iovec v = { h->out.ptr + h->out_at, h->out.len - h->out_at };
        ssize_t put = conn_write_some(h->c, &v, 1);
        if (put < 0) {
            fail(h);
            return;
        }
        h->out_at += (size_t)put;
        if (h->out_at < h->out.len)             /* the socket is full: its event brings us back */
            return;
        h->out.len = h->out_at = 0;
    }
    if (h->n_streams == 0)
        buf_free(&h->out);
    if ((h->is_draining && h->n_streams == 0)
        || (!nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session)))
        fail(h);
}

static bool take_in(struct h2 *h)
{
    uint8_t room[READ_ROOM];
    for (size_t taken = 0; taken < EAGER_MAX; ) {
        ssize_t got = conn_read_some(h->c, room, sizeof room);
        if (got == -EAGAIN)
            return true;
        if (got <= 0)
            return false;
        h->is_busy = true;
        ssize_t used = nghttp2_session_mem_recv(h->session, room, (size_t)got);
        h->is_busy = false;
        if (used < 0)
            return false;
        taken += (size_t)got;
        h->heard = loop_now(h->c->loop);
    }
    timer_arm(h->c->loop, &h->again, loop_now(h->c->loop));
    return true;
}

static void idle_check(struct h2 *h)
{
    if (h->n_streams == 0 && h->owner.on_idle && !h->is_broken)
        h->owner.on_idle(h->owner.arg);
}

static void h2_ready(struct io *io)
{
    struct conn *c = (struct conn *)(void *)io;
    struct h2 *h = c->h2;
    bool ok = take_in(h);
    flush(h);                                   /* a GOAWAY that says why may be among it */
    if (!ok && !h->is_broken)
        fail(h);
}

static void h2_again(struct timer *t)
{
    struct h2 *h = (struct h2 *)(void *)((char *)t - offsetof(struct h2, again));
    h2_ready(&h->c->io);
}

struct h2 *h2_new(struct conn *c, bool is_server, const struct h2_owner *owner)
{
    struct h2 *h = calloc(1, sizeof *h);
    nghttp2_session_callbacks *calls;
    nghttp2_option *option;
    if (!h || nghttp2_session_callbacks_new(&calls) != 0) {
        free(h);
        return NULL;
    }
    if (nghttp2_option_new(&option) != 0) {
        nghttp2_session_callbacks_del(calls);
        free(h);
        return NULL;
    }
    nghttp2_session_callbacks_set_on_begin_headers_callback(calls, on_begin_headers);
    nghttp2_session_callbacks_set_on_begin_frame_callback(calls, on_frame_begin);
    nghttp2_session_callbacks_set_on_header_callback(calls, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(calls, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(calls, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(calls, on_close);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_max_send_header_block_length(option, 4 * H2_HEAD_MAX);
    h->c = c;
    h->is_server = is_server;
    h->owner = *owner;
    h->again.fire = h2_again;
    int rc = is_server ? nghttp2_session_server_new2(&h->session, calls, h, option)
                       : nghttp2_session_client_new2(&h->session, calls, h, option);
    nghttp2_session_callbacks_del(calls);
    nghttp2_option_del(option);
    const nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, is_server ? H2_STREAMS_MAX : 0 },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_WINDOW },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_HEAD_MAX },
        { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
    };
    if (rc != 0 || nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, is_server ? 3 : 4) != 0
        || nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, 16 * H2_WINDOW) != 0) {
        if (rc == 0)
            nghttp2_session_del(h->session);
        free(h);
        return NULL;
    }
    c->h2 = h;
    c->io.on_ready = h2_ready;
    c->io.on_out = true;
    return h;
}

void h2_start(struct h2 *h)
{
    h2_ready(&h->c->io);
}

void h2_drain(struct h2 *h)
{
    if (h->is_broken)
        return;
    h->is_draining = true;
    nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h->session), NGHTTP2_NO_ERROR, NULL, 0);
    flush(h);
}

void h2_drop(struct h2 *h)
{
    fail(h);
}

bool h2_has_room(const struct h2 *h)
{
    return !h->is_broken && !h->is_draining
           && h->n_streams < nghttp2_session_get_remote_settings(h->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
           && nghttp2_session_check_request_allowed(h->session);
}

unsigned h2_n_streams(const struct h2 *h)
{
    return h->n_streams;
}

struct h2_stream *h2_open(struct h2 *h)
{
    struct h2_stream *s = h2_has_room(h) ? stream_new(h, -1) : NULL;
    if (s)
        s->opened = loop_now(h->c->loop);
    return s;
}

void h2_bind(struct h2_stream *s, struct io *io)
{
    s->io = io;
}

/* ---- reading ---- */

/* Parks until something happened to the stream; *who is its place for this waiter. */
static WAITS int stream_wait(struct fiber **who, uint64_t deadline)
{
    *who = fiber_self();
    int rc = fiber_park(deadline);
    *who = NULL;
    return rc;
}

static void head_take(struct http_head *out, str name, str value, str *authority)
{
    int64_t n;
    if (name.len == 0 || name.ptr[0] != ':') {
        if (str_eq(name, S("content-length")) && str_int(value, &n))
            out->content_length = n;
        out->headers[out->n_headers++] = (struct header){ name, value };
    } else if (str_eq(name, S(":method"))) {
        out->method = value;
    } else if (str_eq(name, S(":path"))) {
        out->target = out->query = value;
        out->path = str_cut(&out->query, '?');
    } else if (str_eq(name, S(":authority"))) {
        *authority = value;
    } else if (str_eq(name, S(":status")) && str_int(value, &n)) {
        out->status = (int)n;
    }
}

WAITS int h2_read_head(struct h2_stream *s, struct arena *a, struct http_head *out, uint64_t deadline)
{
    while (!s->is_head_in) {
        if (s->is_closed)
            return -ECONNRESET;
        int rc = stream_wait(&s->reader, deadline);
        if (rc < 0)
            return rc;
    }
    if (s->is_head_huge)
        return -EBADMSG;
    *out = (struct http_head){ .content_length = -1, .keep_alive = true, .minor = 2 };
    out->headers = ARENA_ARRAY(a, struct header, s->n_lines + 1);
    str all = arena_str(a, buf_view(&s->head)), authority = { 0 };
    bool is_failed = s->head.is_failed || arena_exhausted(a);
    buf_free(&s->head);
    if (is_failed)
        return -ENOMEM;
    while (all.len) {
        struct line line;
        memcpy(&line, all.ptr, sizeof line);
        str name = { all.ptr + sizeof line, line.name }, value = { name.ptr + line.name, line.value };
        all = str_from(all, sizeof line + line.name + line.value);
        head_take(out, name, value, &authority);
    }
    if (authority.len && !http_has(out, S("host")))
        out->headers[out->n_headers++] = (struct header){ S("host"), authority };
    bool is_empty = s->has_ended && s->in.len == 0;
    if (is_empty && out->content_length < 0)
        out->content_length = 0;
    out->is_chunked = out->content_length < 0;  /* a body of unknown length, as it is called in HTTP/1.1 */
    return 1;
}

WAITS int h2_body_next(struct h2_stream *s, str *piece, uint64_t deadline)
{
    if (s->handed.len && s->h) {                /* read: the peer may send as much again */
        if (!s->is_closed)
            nghttp2_session_consume(s->h->session, s->id, s->handed.len);
        else
            nghttp2_session_consume_connection(s->h->session, s->handed.len);
        flush(s->h);
    }
    s->handed.len = 0;
    while (s->in.len == 0) {
        if (s->has_ended)
            return 0;
        if (s->is_closed)
            return -ECONNRESET;
        buf_free(&s->in);                       /* a stream that waits holds nothing */
        buf_free(&s->handed);
        int rc = stream_wait(&s->reader, deadline);
        if (rc < 0)
            return rc;
    }
    if (s->in.is_failed)
        return -ENOMEM;
    struct buf given = s->handed;
    s->handed = s->in;
    s->in = given;
    *piece = buf_view(&s->handed);
    return 1;
}

bool h2_is_complete(const struct h2_stream *s)
{
    return s->has_ended && s->in.len == 0;
}

/* ---- writing ---- */

static ssize_t give_body(nghttp2_session *session, int32_t id, uint8_t *to, size_t room, uint32_t *flags, nghttp2_data_source *source,
                         void *user)
{
    struct h2_stream *s = source->ptr;
    (void)session;
    (void)id;
    (void)user;
    size_t n = s->out.len - s->out_at;
    if (n == 0 && !s->is_out_ended) {
        s->is_out_idle = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (n > room)
        n = room;
    if (n)
        memcpy(to, s->out.ptr + s->out_at, n);
    s->out_at += n;
    if (s->out_at == s->out.len) {
        buf_free(&s->out);
        s->out_at = 0;
        s->is_out_sent = s->is_out_ended;
        if (s->is_out_sent)
            *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    if (s->writer && s->out.len - s->out_at <= H2_OUT_MAX / 2)
        fiber_wake(s->writer);
    return (ssize_t)n;
}

/* Names that mean something to HTTP/1.1 connections only (RFC 9113 8.2.2). */
static bool is_connection_line(str name)
{
    static const str names[] = {
        { "connection", 10 }, { "transfer-encoding", 17 }, { "keep-alive", 10 }, { "upgrade", 7 }, { "proxy-connection", 16 }, { "host", 4 },
    };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (str_eq(name, names[i]))
            return true;
    return false;
}

static nghttp2_nv pair(str name, str value)
{
    return (nghttp2_nv){ (uint8_t *)(uintptr_t)name.ptr, (uint8_t *)(uintptr_t)value.ptr, name.len, value.len, NGHTTP2_NV_FLAG_NONE };
}

static str next_line(str *rest)
{
    str line = str_cut(rest, '\n');
    return line.len && line.ptr[line.len - 1] == '\r' ? str_upto(line, line.len - 1) : line;
}

/* The lines as pairs; `text` is a copy of them whose names become lower case. Returns how many. */
static size_t pairs_of(const struct h2 *h, str text, nghttp2_nv nv[LINES_MAX])
{
    size_t n = 0, n_pseudo = h->is_server ? 1 : 4;
    str first = next_line(&text);
    str version = str_cut(&first, ' ');
    if (h->is_server) {
        nv[0] = pair(S(":status"), str_upto(first, 3));
    } else {
        str path = str_cut(&first, ' ');
        nv[0] = pair(S(":method"), version);
        nv[1] = pair(S(":scheme"), h->c->ssl ? S("https") : S("http"));
        nv[2] = pair(S(":path"), path);
        nv[3] = pair(S(":authority"), S(""));
    }
    n = n_pseudo;
    while (text.len && n < LINES_MAX) {
        str value = next_line(&text);
        if (value.len == 0)
            break;
        str name = str_cut(&value, ':');
        for (size_t i = 0; i < name.len; i++)
            if (name.ptr[i] >= 'A' && name.ptr[i] <= 'Z')
                ((char *)(uintptr_t)name.ptr)[i] |= 32;
        value = str_trim(value);
        if (!h->is_server && str_eq(name, S("host")))
            nv[3] = pair(S(":authority"), value);
        if (!is_connection_line(name) && !(str_eq(name, S("te")) && !str_eq(value, S("trailers"))))
            nv[n++] = pair(name, value);
    }
    return n;
}

int h2_write_head(struct h2_stream *s, str lines, bool ends)
{
    struct h2 *h = s->h;
    if (!h || s->is_closed)
        return -ECONNRESET;
    nghttp2_nv nv[LINES_MAX];
    struct arena *a = arena_new();
    if (!a)
        return -ENOMEM;
    str copy = arena_str(a, lines);
    size_t n = pairs_of(h, copy, nv);
    nghttp2_data_provider body = { .source.ptr = s, .read_callback = give_body };
    s->is_out_ended = s->is_out_sent = ends;
    int rc;
    if (h->is_server) {
        rc = nghttp2_submit_response(h->session, s->id, nv, n, ends ? NULL : &body);
    } else {
        rc = nghttp2_submit_request(h->session, NULL, nv, n, ends ? NULL : &body, s);
        s->id = rc > 0 ? rc : -1;
    }
    arena_free(a);
    return rc < 0 ? rc == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO : 0;
}

static void body_goes_on(struct h2_stream *s)
{
    if (s->is_out_idle && s->h) {
        s->is_out_idle = false;
        nghttp2_session_resume_data(s->h->session, s->id);
    }
    if (s->h)
        flush(s->h);
}

WAITS int h2_write(struct h2_stream *s, const struct iovec *v, int n, uint64_t deadline)
{
    if (!s->h || s->is_closed)
        return -ECONNRESET;
    if (s->out_at) {
        buf_drop(&s->out, s->out_at);
        s->out_at = 0;
    }
    for (int i = 0; i < n; i++)
        buf_add(&s->out, v[i].iov_base, v[i].iov_len);
    if (s->out.is_failed)
        return -ENOMEM;
    body_goes_on(s);
    while (s->out.len - s->out_at > H2_OUT_MAX) {
        if (!s->h || s->is_closed)
            return -ECONNRESET;
        int rc = stream_wait(&s->writer, deadline);
        if (rc < 0)
            return rc;
    }
    return 0;
}

void h2_end(struct h2_stream *s)
{
    s->is_out_ended = true;
    if (s->h && !s->is_closed)
        body_goes_on(s);
}

WAITS void h2_finish(struct h2_stream *s, uint64_t deadline)
{
    h2_end(s);
    while (s->h && !s->is_closed && !s->is_out_sent && stream_wait(&s->writer, deadline) == 0)
        ;
}

/* Given up in vain: the peer has said nothing at all since. It may be gone without a word, so new requests dial. */
static bool is_in_doubt(const struct h2 *h, const struct h2_stream *s)
{
    return !h->is_server && !s->is_closed && h->heard < s->opened && loop_now(h->c->loop) - s->opened > SILENT_NS;
}

void h2_close(struct h2_stream *s)
{
    struct h2 *h = s->h;
    if (h) {
        h->is_draining |= is_in_doubt(h, s);
        if (s->id > 0) {
            nghttp2_session_set_stream_user_data(h->session, s->id, NULL);
            size_t unread = s->in.len + s->handed.len;
            if (unread)
                nghttp2_session_consume_connection(h->session, unread);
            if (!s->is_closed && !(s->has_ended && s->is_out_sent))     /* the reset goes out before any DATA could ask for s */
                nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, s->id,
                                          s->is_out_sent ? NGHTTP2_NO_ERROR : h->is_server ? NGHTTP2_INTERNAL_ERROR : NGHTTP2_CANCEL);
        }
        stream_unlink(s);
    }
    stream_free(s);
    if (!h)
        return;
    flush(h);
    idle_check(h);
}
