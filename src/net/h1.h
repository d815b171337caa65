/* net/h1.h -- HTTP/1.1 messages on a connection, strictly framed (RFC 9112).
 *
 * llhttp reads heads and chunks; what it lets through and a gateway must not (obs-fold, a
 * missing or double Host, foreign transfer codings, bare LF) is refused here. Bytes behind a
 * message stay in the reader for the next one. */
#ifndef SBX_H1_H
#define SBX_H1_H

#include <llhttp.h>

#include "net/conn.h"
#include "net/http.h"

struct h2_stream;

enum h1_side { H1_REQUESTS, H1_RESPONSES };

struct h1 {                         /* the reading half of one connection */
    struct conn *c;
    struct h2_stream *stream;       /* the messages are one of HTTP/2: all below is h2.c's, but for is_complete; NULL */
    enum h1_side side;
    str kept;                       /* bytes read and not used up; in the arena of the present message */
    llhttp_t parser;
    bool in_body;                   /* a body is being read through the parser */
    bool is_complete;               /* the message has ended */
    int64_t left;                   /* of a length body read directly; -1: through the parser */
    str *spans; unsigned n_spans, spans_max;        /* during h1_body_next */
    bool spans_full;
    size_t idle_bytes;              /* of chunk extensions and trailers since the last byte of body */
    /* why a head was refused */
    int status;                     /* 400, 431, 501, 505 */
    const char *why;
};

void h1_init(struct h1 *h, struct conn *c, enum h1_side side);

/* Reads one head of at most `limit` bytes. 1: *out is filled, in arena a. 0: the peer closed before the first
 * byte. -EBADMSG: malformed (h->status, h->why); -EPIPE: closed in the middle; else a wait's code.
 * `first_byte` (may be NULL) gets the time of the first byte. */
WAITS int h1_read_head(struct h1 *h, struct arena *a, size_t limit, struct http_head *out,
                       uint64_t deadline, bool answers_head_request);

/* The whole body, at most `limit` bytes, contiguous in arena a. 0, -EMSGSIZE, -ENOMEM, -EBADMSG, -EPIPE, or a
 * wait's code. */
WAITS int h1_read_body(struct h1 *h, struct arena *a, const struct http_head *head, size_t limit,
                       str *out, uint64_t deadline);

/* The next decoded pieces of the body: one read of at most `room` bytes into `to`. Returns the number of spans
 * (>= 1), 0 at the end of the message, or a negative code. Spans point into `to` or kept bytes. */
enum { H1_SPANS_MAX = 64 };
WAITS int h1_body_next(struct h1 *h, char *to, size_t room, str spans[H1_SPANS_MAX], uint64_t deadline);

bool h1_has_kept(const struct h1 *h);       /* bytes of the next message are already here */

#endif
