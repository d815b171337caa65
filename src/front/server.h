/* front/server.h -- listeners and client connections.
 *
 * A connection without a request is an epoll entry and a few hundred bytes; its first bytes start a
 * fiber, which serves requests until the connection is idle again. */
#ifndef SBX_SERVER_H
#define SBX_SERVER_H

#include "net/h1.h"
#include "net/h2.h"
#include "net/tls.h"

struct client {
    struct conn conn;               /* first: io's address is the client's */
    struct h1 in;
    struct listener *listener;
    struct timer idle;
    struct arena *kept_arena;       /* holds bytes of the next request while idle; NULL */
    struct client *next, **prev;    /* all of this loop */
    bool keep_alive;                /* after this answer */
    bool is_serving;
    bool is_tls;                    /* accepted by a listener that spoke TLS then */
    struct h2 *h2;                  /* requests are streams of this connection, each a client of its own; NULL */
    uint64_t n_requests;
    char peer[64]; uint8_t peer_len;
};

struct key_list { size_t n; str *items; };       /* one malloc; replaced as a whole on the listener's loop */

struct listener {
    struct io io;                   /* first */
    struct loop *loop;
    uint16_t port;
    struct ssl_ctx_st *tls;         /* this loop's reference; swapped at reload */
    struct key_list *keys;          /* who may use it; NULL: everybody. Swapped at reload, never held across a wait */
    struct timer again;             /* accepts once more after descriptors ran out */
    uint64_t timeout_ns;
    /* Serves one request whose first bytes are here. 0: the connection may be kept. Negative: it is closed. */
    WAITS int (*serve)(struct client *c);
};

/* At the end of a request: bytes of the next one, if any, move to a place of their own. False: no memory for them, the
 * connection cannot go on. */
bool client_keep_rest(struct client *c);

struct server_limits { int64_t connections; uint64_t idle_ns; };

/* Per-loop server. */
struct listener *server_listen(struct loop *l, int fd, struct ssl_ctx_st *tls, uint64_t timeout_ns,
                               WAITS int (*serve)(struct client *c));
void server_limits_set(const struct server_limits *limits);
void server_keys_set(struct listener *l, struct key_list *keys);    /* on its loop; takes them */
void server_tls_set(struct listener *l, struct ssl_ctx_st *tls);    /* on its loop; takes the reference */
void server_unlisten(struct listener *l);   /* on its loop; connections made through it stay */
void server_stop_accepting(struct loop *l);
void server_drain(struct loop *l);          /* closes idle connections; busy ones close after their answer */
unsigned server_clients(struct loop *l);
bool server_is_draining(void);

#endif
