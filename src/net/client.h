/* net/client.h -- connections to providers: a pool per loop and origin.
 *
 * An origin is (host, port, TLS context). Idle connections are kept last in, first out, watched for
 * the peer's close, and dropped after a while. A fiber borrows one, sends, reads, and puts it back or
 * drops it. Where the peer speaks HTTP/2, what is borrowed is a stream of a connection that many share. */
#ifndef SBX_CLIENT_H
#define SBX_CLIENT_H

#include "net/h1.h"
#include "net/h2.h"
#include "net/tls.h"

enum http2 { HTTP2_NEVER, HTTP2_OFFERED /* by ALPN */, HTTP2_KNOWN /* without asking, plain or TLS */ };

struct origin {                     /* in the snapshot; read-only */
    str host; uint16_t port;
    struct ssl_ctx_st *tls;         /* NULL: plain */
    uint64_t key;                   /* equal keys share connections across snapshots */
    enum http2 http2;
};

uint64_t origin_key(str host, uint16_t port, str tls_identity);

enum {
    CLIENT_IDLE_MAX = 256,          /* per loop and origin; beyond: closed when put back */
    CLIENT_IDLE_S = 55,             /* below the usual 60 s of servers */
    CLIENT_DIALS_MAX = 2,           /* at once towards an origin that speaks HTTP/2; others wait for their streams */
};

struct upstream {
    struct conn conn;
    struct h1 in;
    uint64_t key;
    bool is_reused;
    bool is_half_sent;              /* it answered before the whole request was written */
    struct upstream *next, **prev;  /* idle list */
    struct timer idle;
};

/* Borrows an idle connection or dials. `fresh`: never an idle one. 0 or a negative code; *why a phase
 * name ("dns", "connect", "tls") and, for TLS, a sentence in *detail. */
WAITS int client_get(struct loop *l, const struct origin *o, bool fresh, uint64_t deadline,
                     struct upstream **out, const char **why, const char **detail);
/* The whole request: v[0] begins with its head and holds all of it. 0, CONN_INPUT (it answers before it has taken
 * everything), or a code. The array is used up. */
WAITS int client_send(struct upstream *u, struct iovec *v, int n, uint64_t deadline);
void client_put(struct upstream *u);        /* the exchange is complete and the peer keeps the connection */
void client_drop(struct upstream *u);       /* closes; in the middle of an exchange this cancels it */
void client_close_idle(struct loop *l);     /* at the loop's end */

#endif
