/* tests/unit/net/wire.h -- bytes go in at one end of a socket pair, a digest of the messages comes out.
 *
 * The same reading code runs on a plain thread and on a fiber; the sender cuts the bytes where it is
 * told and waits until the reader has taken what is there. */
#ifndef WIRE_H
#define WIRE_H

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/h1.h"

enum { WIRE_HEAD_MAX = 8192, WIRE_BODY_MAX = 1 << 20 };

struct wire {
    enum h1_side side;
    bool answers_head;              /* the responses answer HEAD requests */
    bool in_pieces;                 /* bodies by h1_body_next with a small buffer instead of h1_read_body */
    bool on_fibers;
    size_t cuts[3]; unsigned n_cuts;
    bool stays_open;                /* the sender does not close at the end; the reader stops after the error */
};

struct wire_run {
    const struct wire *w;
    str bytes;
    int ends[2];                    /* [0] is read, [1] is written */
    struct conn c;
    struct buf digest;
    atomic_bool reader_left;
    struct loop *loop;
    unsigned n_running;
};

static inline void digest_head(struct buf *d, enum h1_side side, const struct http_head *h)
{
    if (side == H1_REQUESTS)
        buf_printf(d, STR_FMT " " STR_FMT "|" STR_FMT " 1.%u", STR_ARG(h->method), STR_ARG(h->path), STR_ARG(h->query), h->minor);
    else
        buf_printf(d, "%d " STR_FMT, h->status, STR_ARG(h->reason));
    for (unsigned i = 0; i < h->n_headers; i++)
        if (!str_ieq(h->headers[i].name, S("host")) && h->n_headers <= 16)
            buf_printf(d, " " STR_FMT "=" STR_FMT, STR_ARG(h->headers[i].name), STR_ARG(h->headers[i].value));
    buf_printf(d, "%s%s", h->keep_alive ? "" : " close", h->expects_continue ? " expects" : "");
}

static inline int digest_body(struct wire_run *r, struct h1 *h, struct arena *a, const struct http_head *head)
{
    if (!r->w->in_pieces) {
        str body;
        int rc = h1_read_body(h, a, head, WIRE_BODY_MAX, &body, NEVER);
        if (rc == 0 && body.len)
            buf_printf(&r->digest, " [" STR_FMT "]", STR_ARG(body));
        return rc;
    }
    struct buf body = { 0 };
    str spans[H1_SPANS_MAX];
    char to[7];
    int n;
    while ((n = h1_body_next(h, to, sizeof to, spans, NEVER)) > 0)
        for (int i = 0; i < n; i++)
            buf_str(&body, spans[i]);
    if (n == 0 && body.len)
        buf_printf(&r->digest, " [" STR_FMT "]", STR_ARG(buf_view(&body)));
    buf_free(&body);
    if (h->kept.len)
        h->kept = arena_str(a, h->kept);        /* it lies in `to` */
    return n;
}

static inline void wire_read(struct wire_run *r)
{
    struct h1 h;
    struct arena *before = NULL;
    h1_init(&h, &r->c, r->w->side);
    for (;;) {
        struct arena *a = arena_new();
        struct http_head head;
        int rc = h1_read_head(&h, a, WIRE_HEAD_MAX, &head, NEVER, r->w->answers_head);
        arena_free(before);                     /* the kept bytes have been copied by now */
        before = a;
        if (rc == 1) {
            digest_head(&r->digest, r->w->side, &head);
            rc = digest_body(r, &h, a, &head);
            if (rc == 0 && !h.is_complete)
                buf_printf(&r->digest, " incomplete");
            buf_printf(&r->digest, "; ");
            if (rc == 0)
                continue;
        }
        if (rc == -EBADMSG)
            buf_printf(&r->digest, "%d %s", h.status, h.why);
        else
            buf_printf(&r->digest, "%s", rc == 0 ? "end" : rc == -EPIPE ? "cut" : strerror(-rc));
        break;
    }
    arena_free(before);
    atomic_store(&r->reader_left, true);
}

/* Bytes up to the next cut; the last time, all that is left. */
static inline str wire_next(struct wire_run *r, size_t *at, unsigned *i)
{
    size_t to = *i < r->w->n_cuts && r->w->cuts[*i] < r->bytes.len ? r->w->cuts[*i] : r->bytes.len;
    if (*i >= r->w->n_cuts)
        to = r->bytes.len;
    (*i)++;
    str piece = { r->bytes.ptr + *at, to > *at ? to - *at : 0 };
    *at += piece.len;
    return piece;
}

static inline bool wire_is_taken(const struct wire_run *r)
{
    int left = 0;
    return atomic_load(&r->reader_left) || ioctl(r->ends[1], SIOCOUTQ, &left) < 0 || left == 0;
}

static inline void *wire_send_thread(void *arg)
{
    struct wire_run *r = arg;
    size_t at = 0;
    for (unsigned i = 0; i <= r->w->n_cuts; ) {
        str piece = wire_next(r, &at, &i);
        while (piece.len && !atomic_load(&r->reader_left)) {
            ssize_t put = send(r->ends[1], piece.ptr, piece.len, MSG_NOSIGNAL);
            if (put <= 0)
                break;
            piece = str_from(piece, (size_t)put);
        }
        while (!wire_is_taken(r))
            sched_yield();
    }
    if (!r->w->stays_open)
        shutdown(r->ends[1], SHUT_WR);
    return NULL;
}

static inline void wire_wake(void *fiber)
{
    fiber_wake(fiber);
}

static inline void wire_yield(void)             /* a few turns of the loop */
{
    for (int i = 0; i < 3; i++) {
        loop_post(loop_self(), wire_wake, fiber_self());
        fiber_park(NEVER);
    }
}

static inline void wire_fiber_done(struct wire_run *r)
{
    if (--r->n_running == 0)
        loop_stop(r->loop);
}

static inline void wire_send_fiber(void *arg)
{
    struct wire_run *r = arg;
    size_t at = 0;
    for (unsigned i = 0; i <= r->w->n_cuts; ) {
        str piece = wire_next(r, &at, &i);
        while (piece.len && !atomic_load(&r->reader_left)) {
            ssize_t put = send(r->ends[1], piece.ptr, piece.len, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (put > 0)
                piece = str_from(piece, (size_t)put);
            else if (errno != EAGAIN)
                break;
            wire_yield();
        }
        wire_yield();
    }
    if (!r->w->stays_open)
        shutdown(r->ends[1], SHUT_WR);
    wire_fiber_done(r);
}

static inline void wire_read_fiber(void *arg)
{
    struct wire_run *r = arg;
    io_open(r->loop, &r->c.io, r->ends[0]);
    r->c.loop = r->loop;
    wire_read(r);
    io_close(&r->c.io);
    wire_fiber_done(r);
}

/* What a reader makes of `bytes`. The caller frees the text. */
static inline char *wire_digest(const struct wire *w, str bytes)
{
    struct wire_run r = { .w = w, .bytes = bytes };
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, r.ends) < 0)
        abort();
    fcntl(r.ends[0], F_SETFL, O_NONBLOCK);
    r.c.io.fd = r.ends[0];
    if (w->on_fibers) {
        r.loop = loop_new(0);
        r.n_running = 2;
        fiber_go(r.loop, "reader", wire_read_fiber, &r);
        fiber_go(r.loop, "sender", wire_send_fiber, &r);
        loop_run(r.loop);
        loop_free(r.loop);
    } else {
        pthread_t sender;
        pthread_create(&sender, NULL, wire_send_thread, &r);
        wire_read(&r);
        pthread_join(sender, NULL);
        close(r.ends[0]);
    }
    close(r.ends[1]);
    buf_char(&r.digest, 0);
    return r.digest.ptr;
}

#endif
