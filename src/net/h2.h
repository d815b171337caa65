/* net/h2.h -- HTTP/2 on a connection, for listeners and towards providers (RFC 9113), on nghttp2.
 *
 * A connection has no fiber: it is driven by its socket's events. A stream looks to the rest of the program like one
 * HTTP/1.1 message on a connection of its own: h1_read_head and h1_body_next read from it (h1.h dispatches), and what is
 * written is a head in HTTP/1.1's text plus bytes of body. So nobody above net/ knows which protocol a request came by.
 * Everything here runs on the connection's loop. */
#ifndef SBX_H2_H
#define SBX_H2_H

#include "net/conn.h"
#include "net/http.h"

enum {
    H2_STREAMS_MAX = 1024,          /* of one client's connection at once; beyond: refused by the protocol */
    H2_HEAD_MAX = 64 * 1024,        /* bytes of names and values of one head; beyond: 431 */
    H2_OUT_MAX = 64 * 1024,         /* of one stream, waiting for the peer's window; beyond: the writer waits */
    H2_RESETS_MAX = 200,            /* streams that a client resets within a second; beyond: it is sent away */
    H2_WINDOW = 256 * 1024,         /* what a peer may send ahead on one stream; 16 times that on a connection */
};

struct h2;
struct h2_stream;

/* The first bytes of a client that speaks HTTP/2 without asking (RFC 9113 3.4); the first four tell it from HTTP/1. */
#define H2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

struct h2_owner {
    void *arg;
    void (*on_request)(void *arg, struct h2_stream *s);     /* server: a request's head is in; start a fiber, or h2_close it */
    void (*on_idle)(void *arg);     /* the last stream is gone */
    void (*on_gone)(void *arg);     /* the connection is closed and h freed; close the conn */
};

/* Takes over the conn's events. NULL: no memory. */
struct h2 *h2_new(struct conn *c, bool is_server, const struct h2_owner *owner);
void h2_start(struct h2 *h);        /* takes what the socket has already; h may be gone when it returns */
void h2_drain(struct h2 *h);        /* GOAWAY; closes when the last stream is gone */
void h2_drop(struct h2 *h);         /* closes now: every stream sees a reset */
bool h2_has_room(const struct h2 *h);   /* another stream may be opened: alive, not draining, below the peer's limit */
unsigned h2_n_streams(const struct h2 *h);

/* Client: a new stream. NULL: no room or no memory. */
struct h2_stream *h2_open(struct h2 *h);

/* What a stream's reader and writer are bound to: cancelled (io->victim) and marked IO_HUP when the stream is reset. */
void h2_bind(struct h2_stream *s, struct io *io);

/* The head of the message, in arena a. 1; 0: closed before; -EBADMSG: too large; or a wait's code. */
WAITS int h2_read_head(struct h2_stream *s, struct arena *a, struct http_head *out, uint64_t deadline);
/* Body bytes; the span lives until the next call. 1, 0 at the end, or a code: -ECONNRESET after a reset. */
WAITS int h2_body_next(struct h2_stream *s, str *piece, uint64_t deadline);
bool h2_is_complete(const struct h2_stream *s);     /* the peer's message has ended and is all read */

/* Sends a head: lines of HTTP/1.1 ("HTTP/1.1 200 OK\r\n..." or "POST /x HTTP/1.1\r\nhost: ..."), of which what belongs to
 * HTTP/1.1 alone is left out. `ends`: no body follows. */
int h2_write_head(struct h2_stream *s, str lines, bool ends);
/* Body; waits while the peer's window is shut. 0 or a code. */
WAITS int h2_write(struct h2_stream *s, const struct iovec *v, int n, uint64_t deadline);
/* Ends the sending side. */
void h2_end(struct h2_stream *s);
/* The same, and waits until the peer's window has let everything out. */
WAITS void h2_finish(struct h2_stream *s, uint64_t deadline);
/* The user lets go. An unfinished exchange is reset (RFC 9113 8.1: NO_ERROR after a complete answer). */
void h2_close(struct h2_stream *s);

#endif
