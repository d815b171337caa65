/* front/server.c */
#include "front/server.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "observe/log.h"
#include "observe/metrics.h"

enum { ACCEPT_BURST = 64, ACCEPT_AGAIN_MS = 100, LISTENERS_MAX = 32, TLS_HANDSHAKE_S = 10,
       STREAM_LINGER_MS = 1000, STREAM_LINGER_BYTES = 1 << 20, STREAM_FINISH_S = 60 /* a client that opens no window for so long is gone */ };

struct server {                     /* one a loop */
    struct client *clients;
    unsigned n_clients;
    struct listener *listeners[LISTENERS_MAX];
    unsigned n_listeners;
};

static atomic_bool draining;
static atomic_llong connections_max = 16384;
static _Atomic uint64_t idle_ns = 75 * NS_PER_S;
static atomic_llong n_connections;

bool server_is_draining(void)
{
    return atomic_load_explicit(&draining, memory_order_relaxed);
}

void server_limits_set(const struct server_limits *limits)
{
    atomic_store(&connections_max, limits->connections);
    atomic_store(&idle_ns, limits->idle_ns);
}

static struct server *server_of(struct loop *l)
{
    struct server *s = loop_slot(l, LOOP_SLOT_SERVER);
    if (!s && (s = calloc(1, sizeof *s)) != NULL)
        loop_slot_set(l, LOOP_SLOT_SERVER, s);
    return s;
}

unsigned server_clients(struct loop *l)
{
    struct server *s = loop_slot(l, LOOP_SLOT_SERVER);
    return s ? s->n_clients : 0;
}

static void client_release(void *p)
{
    free(p);
}

static void client_close(struct client *c)
{
    struct server *s = server_of(c->conn.loop);
    timer_stop(&c->idle);
    *c->prev = c->next;
    if (c->next)
        c->next->prev = c->prev;
    s->n_clients--;
    atomic_fetch_sub(&n_connections, 1);
    arena_free(c->kept_arena);
    c->kept_arena = NULL;
    conn_close(&c->conn);
    loop_free_later(c->conn.loop, c, client_release);
}

static void client_idle(struct client *c);
static void client_fiber(void *arg);
static void session_expired(struct timer *t);

static void client_ready(struct io *io)         /* bytes, or the end, on an idle connection */
{
    struct client *c = (struct client *)(void *)io;
    timer_stop(&c->idle);
    io->on_ready = NULL;
    struct fiber *f = fiber_go(c->conn.loop, "client", client_fiber, c);
    if (!f) {
        str reason = S("no_fiber");
        metric_add(metric_cell(METRIC_REFUSED, &reason), 1);
        client_close(c);
    }
}

static void idle_expired(struct timer *t)
{
    client_close((struct client *)(void *)((char *)t - offsetof(struct client, idle)));
}

static void client_idle(struct client *c)
{
    c->is_serving = false;
    c->conn.io.victim = NULL;
    c->conn.io.on_ready = client_ready;
    c->idle.fire = idle_expired;
    timer_arm(c->conn.loop, &c->idle, loop_now(c->conn.loop) + atomic_load_explicit(&idle_ns, memory_order_relaxed));
}

static WAITS bool client_handshake(struct client *c)
{
    if (!c->is_tls || c->conn.ssl)
        return true;
    if (!c->listener->tls)                      /* a reload has made the listener plain meanwhile */
        return false;
    struct ssl_ctx_st *ctx = tls_context_ref(c->listener->tls);
    int rc = tls_accept(&c->conn, ctx, clock_now() + TLS_HANDSHAKE_S * NS_PER_S);
    tls_context_free(ctx);
    return rc == 0;
}

/* ---- HTTP/2: each stream is served like a connection with one request ---- */

/* A request that was answered before it was all there: the rest is read and dropped, so that it may end well. */
static WAITS void stream_linger(struct h2_stream *s)
{
    uint64_t until = clock_now() + STREAM_LINGER_MS * NS_PER_MS;
    size_t dropped = 0;
    str piece;
    while (dropped < STREAM_LINGER_BYTES && h2_body_next(s, &piece, until) > 0)
        dropped += piece.len;
}

static void stream_fiber(void *arg)
{
    struct client *c = arg;
    struct h2_stream *s = c->in.stream;
    int rc = c->listener->serve(c);
    c->conn.io.victim = NULL;
    fiber_shield(true);
    if (rc == 0) {
        h2_finish(s, clock_now() + STREAM_FINISH_S * NS_PER_S);
        stream_linger(s);
    }
    h2_close(s);
    loop_free_later(c->conn.loop, c, client_release);
}

static void stream_begin(void *arg, struct h2_stream *s)
{
    const struct client *parent = arg;
    struct client *c = calloc(1, sizeof *c);
    if (c) {
        c->conn.loop = parent->conn.loop;
        c->conn.io.fd = -1;
        c->listener = parent->listener;
        memcpy(c->peer, parent->peer, sizeof c->peer);
        c->peer_len = parent->peer_len;
        h1_init(&c->in, &c->conn, H1_REQUESTS);
        c->in.stream = s;
        h2_bind(s, &c->conn.io);
    }
    if (!c || !fiber_go(c->conn.loop, "stream", stream_fiber, c)) {
        str reason = S("no_fiber");
        metric_add(metric_cell(METRIC_REFUSED, &reason), 1);
        h2_close(s);
        free(c);
    }
}

static void session_idle(void *arg)
{
    struct client *c = arg;
    c->idle.fire = session_expired;
    timer_arm(c->conn.loop, &c->idle, loop_now(c->conn.loop) + atomic_load_explicit(&idle_ns, memory_order_relaxed));
    if (server_is_draining())
        h2_drain(c->h2);
}

static void session_gone(void *arg)
{
    struct client *c = arg;
    c->h2 = NULL;
    client_close(c);
}

static void session_expired(struct timer *t)
{
    struct client *c = (struct client *)(void *)((char *)t - offsetof(struct client, idle));
    if (h2_n_streams(c->h2) == 0)
        h2_drain(c->h2);
}

/* By ALPN, or by the first bytes, which no HTTP/1 request begins with. Looked at once a connection. */
static WAITS bool client_speaks_h2(struct client *c)
{
    char first[4];
    if (c->conn.ssl)
        return tls_speaks_h2(&c->conn);
    ssize_t n = recv(c->conn.io.fd, first, sizeof first, MSG_PEEK | MSG_DONTWAIT);
    return n == sizeof first && memcmp(first, H2_PREFACE, sizeof first) == 0;
}

static bool session_begin(struct client *c)
{
    struct h2_owner owner = { c, stream_begin, session_idle, session_gone };
    c->conn.io.victim = NULL;
    c->h2 = h2_new(&c->conn, true, &owner);
    if (!c->h2)
        return false;
    c->idle.fire = session_expired;
    timer_arm(c->conn.loop, &c->idle, loop_now(c->conn.loop) + atomic_load_explicit(&idle_ns, memory_order_relaxed));
    h2_start(c->h2);
    return true;
}

static void client_fiber(void *arg)
{
    struct client *c = arg;
    c->is_serving = true;
    bool keep = client_handshake(c);
    if (keep && c->n_requests == 0 && client_speaks_h2(c)) {
        if (!session_begin(c))
            client_close(c);
        return;
    }
    while (keep) {
        keep = c->listener->serve(c) == 0;
        c->n_requests++;
        if (!keep || server_is_draining())
            break;
        if (!h1_has_kept(&c->in) && conn_is_quiet(&c->conn)) {
            client_idle(c);
            return;
        }
    }
    client_close(c);
}

bool client_keep_rest(struct client *c)
{
    if (!h1_has_kept(&c->in))
        return true;
    size_t len = c->in.kept.len;
    c->kept_arena = arena_new();
    c->in.kept = c->kept_arena ? arena_str(c->kept_arena, c->in.kept) : (str){ 0 };
    return c->in.kept.len == len;
}

static void client_new(struct listener *l, int fd)
{
    struct server *s = server_of(l->loop);
    struct client *c = s ? calloc(1, sizeof *c) : NULL;
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (!c || io_open(l->loop, &c->conn.io, fd) < 0) {
        close(fd);
        free(c);
        return;
    }
    c->conn.loop = l->loop;
    c->listener = l;
    c->is_tls = l->tls != NULL;
    str peer = sock_peer_text(fd, c->peer);
    c->peer_len = (uint8_t)peer.len;
    h1_init(&c->in, &c->conn, H1_REQUESTS);
    c->next = s->clients;
    c->prev = &s->clients;
    if (c->next)
        c->next->prev = &c->next;
    s->clients = c;
    s->n_clients++;
    atomic_fetch_add(&n_connections, 1);
    client_idle(c);
}

/* Beyond the cap: a short answer that says so, best effort, and the door. */
static void refuse(int fd)
{
    static const char text[] =
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-type: application/json\r\n"
        "content-length: 124\r\n\r\n"
        "{\"error\":{\"message\":\"too many connections; try again\",\"type\":\"overloaded_error\",\"param\":null,"
        "\"code\":\"too_many_connections\"}}";
    (void)!send(fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    str reason = S("connections");
    metric_add(metric_cell(METRIC_REFUSED, &reason), 1);
    shutdown(fd, SHUT_WR);
    close(fd);
}

static void listener_ready(struct io *io)
{
    struct listener *l = (struct listener *)(void *)io;
    for (int i = 0; i < ACCEPT_BURST; i++) {
        int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE)
                log_warn("accept", "no file descriptor left (%s): raise `ulimit -n`", strerror(errno));
            if (errno == EINTR || errno == ECONNABORTED)
                continue;
            if (errno != EAGAIN && errno != EWOULDBLOCK)        /* the edge is used up: look again by ourselves */
                timer_arm(l->loop, &l->again, loop_now(l->loop) + ACCEPT_AGAIN_MS * NS_PER_MS);
            return;
        }
        if (atomic_load_explicit(&n_connections, memory_order_relaxed) >= atomic_load_explicit(&connections_max, memory_order_relaxed))
            refuse(fd);
        else
            client_new(l, fd);
    }
    loop_post(l->loop, (void (*)(void *))listener_ready, io);  /* the rest after others had their turn */
}

static void accept_again(struct timer *t)
{
    struct listener *l = (struct listener *)(void *)((char *)t - offsetof(struct listener, again));
    if (l->io.fd >= 0)
        listener_ready(&l->io);
}

struct listener *server_listen(struct loop *l, int fd, struct ssl_ctx_st *tls, uint64_t timeout_ns,
                               WAITS int (*serve)(struct client *c))
{
    struct server *s = server_of(l);
    struct listener *at = s && s->n_listeners < LISTENERS_MAX ? calloc(1, sizeof *at) : NULL;
    if (!at || io_open(l, &at->io, fd) < 0) {
        free(at);
        return NULL;
    }
    at->loop = l;
    at->port = sock_port(fd);
    at->tls = tls;
    at->timeout_ns = timeout_ns;
    at->serve = serve;
    at->io.on_ready = listener_ready;
    at->again.fire = accept_again;
    s->listeners[s->n_listeners++] = at;
    return at;
}

void server_tls_set(struct listener *l, struct ssl_ctx_st *tls)
{
    tls_context_free(l->tls);
    l->tls = tls;
}

void server_keys_set(struct listener *l, struct key_list *keys)
{
    free(l->keys);
    l->keys = keys;
}

void server_unlisten(struct listener *l)
{
    struct server *s = server_of(l->loop);
    unsigned n = 0;
    for (unsigned i = 0; i < s->n_listeners; i++)
        if (s->listeners[i] != l)
            s->listeners[n++] = s->listeners[i];
    s->n_listeners = n;
    timer_stop(&l->again);
    io_close(&l->io);                           /* the struct stays: clients point at it */
}

void server_stop_accepting(struct loop *l)
{
    struct server *s = loop_slot(l, LOOP_SLOT_SERVER);
    for (unsigned i = 0; s && i < s->n_listeners; i++) {
        listener_ready(&s->listeners[i]->io);   /* those who have connected already are served */
        io_close(&s->listeners[i]->io);
    }
}

void server_drain(struct loop *l)
{
    struct server *s = loop_slot(l, LOOP_SLOT_SERVER);
    atomic_store(&draining, true);
    for (struct client *c = s ? s->clients : NULL, *next; c; c = next) {
        next = c->next;
        if (c->h2)
            h2_drain(c->h2);
        else if (!c->is_serving && c->conn.io.on_ready && !(c->conn.io.ready & IO_IN))
            client_close(c);
    }
}
