/* net/conn.h -- a byte stream that waits politely: TCP, with or without TLS.
 *
 * All functions work on fibers (they park) and on plain threads (they poll). Codes are
 * negative errno: -ECANCELED and -ETIMEDOUT from the wait, -EPROTO for TLS trouble. */
#ifndef SBX_CONN_H
#define SBX_CONN_H

#include <sys/types.h>
#include <sys/uio.h>

#include "base/err.h"
#include "runtime/loop.h"

struct ssl_st;
struct h2;

struct conn {
    struct io io;
    struct loop *loop;
    struct ssl_st *ssl;             /* NULL: plain */
    struct h2 *h2;                  /* it speaks HTTP/2: h2.c has its events; NULL */
    uint64_t bytes_in, bytes_out;
    uint64_t eager_bytes;           /* read since others last had a turn */
};

/* Up to n bytes; 0: the peer has ended its stream. */
WAITS ssize_t conn_read(struct conn *c, void *to, size_t n, uint64_t deadline);
/* What is there now: bytes, 0 at the end, -EAGAIN, or a code. */
ssize_t conn_read_some(struct conn *c, void *to, size_t n);
/* All of it, or a negative code. The array is used up. */
WAITS int conn_writev(struct conn *c, struct iovec *v, int n, uint64_t deadline);
WAITS int conn_write(struct conn *c, str bytes, uint64_t deadline);
/* The same, but ends early with CONN_INPUT when the peer says something before it has taken everything. */
enum { CONN_INPUT = 1 };
WAITS int conn_send(struct conn *c, struct iovec *v, int n, uint64_t deadline);
/* What the socket takes now: bytes written, possibly fewer than asked (0: full), or a negative code. */
ssize_t conn_write_some(struct conn *c, const struct iovec *v, int n);
bool conn_has_pending(const struct conn *c);        /* TLS holds decrypted bytes */
bool conn_is_quiet(struct conn *c);                 /* open, and nothing there to read; never waits */
void conn_close(struct conn *c);                    /* TLS close_notify if it can be sent at once */

struct endpoint { str host; uint16_t port; };
bool endpoint_parse(str text, uint16_t default_port, struct endpoint *out); /* "host:port", "[::1]:80" */

/* Connects to host:port, trying each address in turn. Returns 0 or a negative code. */
WAITS int conn_dial(struct conn *c, struct loop *l, str host, uint16_t port, uint64_t deadline);

/* Listens. Returns the descriptor or -errno with *e. */
int sock_listen(str host, uint16_t port, bool reuse_port, struct err *e);
str sock_peer_text(int fd, char out[64]);           /* "127.0.0.1:5000" */
uint16_t sock_port(int fd);

#endif
