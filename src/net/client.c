/* net/client.c */
#include "net/client.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"

enum { BUCKETS = 256 };

/* A connection that streams share. */
struct shared {
    struct conn conn;               /* first: io's address is ours */
    struct h2 *h2;                  /* NULL: gone */
    struct timer idle;
    struct shared *next, **prev;
};

struct bucket {
    uint64_t key;
    struct upstream *idle; unsigned n;
    struct shared *shared;
    unsigned n_dialling;
    bool is_h2;                     /* the last peer that was asked spoke it */
    struct bucket *next;
};
struct pool { struct bucket *buckets[BUCKETS]; };

uint64_t origin_key(str host, uint16_t port, str tls_identity)
{
    return hash_mix(hash_str(host) ^ hash_mix(port) ^ hash_mix(hash_str(tls_identity) + 1));
}

static struct bucket *bucket_of(struct loop *l, uint64_t key, bool make)
{
    struct pool *p = loop_slot(l, LOOP_SLOT_CLIENT);
    if (!p) {
        if (!make || !(p = calloc(1, sizeof *p)))
            return NULL;
        loop_slot_set(l, LOOP_SLOT_CLIENT, p);
    }
    struct bucket **at = &p->buckets[key % BUCKETS];
    while (*at && (*at)->key != key)
        at = &(*at)->next;
    if (!*at && make && (*at = calloc(1, sizeof **at)) != NULL)
        (*at)->key = key;
    return *at;
}

static void release(void *p)
{
    free(p);
}

static void unlink_idle(struct upstream *u)
{
    *u->prev = u->next;
    if (u->next)
        u->next->prev = u->prev;
    u->prev = NULL;
    bucket_of(u->conn.loop, u->key, false)->n--;
    timer_stop(&u->idle);
    u->conn.io.on_ready = NULL;
}

void client_drop(struct upstream *u)
{
    if (u->prev)
        unlink_idle(u);
    if (u->in.stream)
        h2_close(u->in.stream);
    conn_close(&u->conn);
    loop_free_later(u->conn.loop, u, release);
}

/* Anything that arrives on an idle connection, data or end, means it is of no use; except what TLS says to
 * itself. */
static void idle_ready(struct io *io)
{
    if (!conn_is_quiet((struct conn *)(void *)io))
        client_drop((struct upstream *)(void *)io);
}

static void idle_expired(struct timer *t)
{
    client_drop((struct upstream *)(void *)((char *)t - offsetof(struct upstream, idle)));
}

void client_put(struct upstream *u)
{
    struct loop *l = u->conn.loop;
    if (u->in.stream) {                         /* the connection is shared, and stays */
        client_drop(u);
        return;
    }
    struct bucket *b = bucket_of(l, u->key, true);
    if (!b || b->n >= CLIENT_IDLE_MAX || h1_has_kept(&u->in) || !conn_is_quiet(&u->conn)) {
        client_drop(u);
        return;
    }
    u->next = b->idle;
    u->prev = &b->idle;
    if (u->next)
        u->next->prev = &u->next;
    b->idle = u;
    b->n++;
    u->conn.io.on_ready = idle_ready;
    u->idle.fire = idle_expired;
    timer_arm(l, &u->idle, loop_now(l) + CLIENT_IDLE_S * NS_PER_S);
}

/* ---- HTTP/2 ---- */

static void shared_gone(void *arg)
{
    struct shared *s = arg;
    timer_stop(&s->idle);
    *s->prev = s->next;
    if (s->next)
        s->next->prev = s->prev;
    conn_close(&s->conn);
    loop_free_later(s->conn.loop, s, release);
}

static void shared_expired(struct timer *t)
{
    struct shared *s = (struct shared *)(void *)((char *)t - offsetof(struct shared, idle));
    if (h2_n_streams(s->h2) == 0)
        h2_drain(s->h2);
}

static void shared_idle(void *arg)
{
    struct shared *s = arg;
    s->idle.fire = shared_expired;
    timer_arm(s->conn.loop, &s->idle, loop_now(s->conn.loop) + CLIENT_IDLE_S * NS_PER_S);
}

/* A connected conn becomes one that streams share. The conn is closed when it fails. */
static struct shared *shared_new(struct bucket *b, struct conn *c)
{
    struct shared *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->conn = *c;
    if (io_move(c->loop, &c->io, &s->conn.io) < 0) {
        free(s);
        return NULL;
    }
    c->ssl = NULL;                              /* all is the shared one's now */
    struct h2_owner owner = { s, NULL, shared_idle, shared_gone };
    s->h2 = h2_new(&s->conn, false, &owner);
    if (!s->h2) {
        conn_close(&s->conn);
        loop_free_later(c->loop, s, release);
        return NULL;
    }
    s->next = b->shared;
    s->prev = &b->shared;
    if (s->next)
        s->next->prev = &s->next;
    b->shared = s;
    return s;
}

static int stream_take(struct upstream *u, struct shared *s)
{
    struct h2_stream *stream = h2_open(s->h2);
    if (!stream)
        return -ENOMEM;
    timer_stop(&s->idle);
    h1_init(&u->in, &u->conn, H1_RESPONSES);
    u->in.stream = stream;
    h2_bind(u->in.stream, &u->conn.io);
    return 0;
}

static struct shared *shared_with_room(struct bucket *b)
{
    for (struct shared *s = b ? b->shared : NULL; s; s = s->next)
        if (h2_has_room(s->h2))
            return s;
    return NULL;
}

enum { DIAL_LOOK_MS = 2 };          /* how often who waits for another's dial looks whether it is done */

/* A burst of requests shall not dial once each: while somebody dials a peer that speaks HTTP/2, the others wait. */
static WAITS int dial_wait(const struct origin *o, struct bucket *b, uint64_t deadline)
{
    while ((b->is_h2 || o->http2 == HTTP2_KNOWN) && b->n_dialling >= CLIENT_DIALS_MAX && !shared_with_room(b)) {
        uint64_t now = clock_now();
        if (now >= deadline)
            return -ETIMEDOUT;
        int rc = fiber_sleep(now + DIAL_LOOK_MS * NS_PER_MS);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- getting one ---- */

static WAITS int dial(struct upstream *u, struct loop *l, const struct origin *o, uint64_t deadline, const char **why,
                      const char **detail)
{
    int rc = conn_dial(&u->conn, l, o->host, o->port, deadline);
    if (rc == -ENOENT || rc == -EAGAIN)
        *why = "dns";
    if (rc < 0 || !o->tls)
        return rc;
    *why = "tls";
    rc = tls_connect(&u->conn, o->tls, o->host, o->http2 != HTTP2_NEVER, deadline, detail);
    if (rc < 0)
        conn_close(&u->conn);
    return rc;
}

static WAITS int dial_h2(struct upstream *u, struct bucket *b, struct loop *l, const struct origin *o, uint64_t deadline,
                         const char **why, const char **detail)
{
    b->n_dialling++;
    int rc = dial(u, l, o, deadline, why, detail);
    b->n_dialling--;
    if (rc < 0)
        return rc;
    b->is_h2 = o->http2 == HTTP2_KNOWN || tls_speaks_h2(&u->conn);
    if (!b->is_h2)
        return 0;
    struct shared *s = shared_new(b, &u->conn);
    if (!s) {
        conn_close(&u->conn);
        return -ENOMEM;
    }
    rc = stream_take(u, s);
    h2_start(s->h2);
    return rc;
}

WAITS int client_get(struct loop *l, const struct origin *o, bool fresh, uint64_t deadline,
                     struct upstream **out, const char **why, const char **detail)
{
    *why = "connect";
    *detail = NULL;
    bool may_h2 = o->http2 != HTTP2_NEVER && l && (o->tls || o->http2 == HTTP2_KNOWN);
    struct bucket *b = fresh && !may_h2 ? NULL : bucket_of(l, o->key, may_h2);
    if (!fresh && b && b->idle) {
        struct upstream *u = b->idle;
        unlink_idle(u);
        u->is_reused = true;
        u->is_half_sent = false;
        *out = u;
        return 0;
    }
    struct upstream *u = calloc(1, sizeof *u);
    if (!u)
        return -ENOMEM;
    u->key = o->key;
    u->conn.io.fd = -1;
    u->conn.loop = l;
    int rc = 0;
    if (may_h2 && b) {
        if (!fresh)
            rc = dial_wait(o, b, deadline);
        struct shared *s = rc == 0 && !fresh ? shared_with_room(b) : NULL;
        u->is_reused = s != NULL;
        rc = rc < 0 ? rc : s ? stream_take(u, s) : dial_h2(u, b, l, o, deadline, why, detail);
    } else {
        rc = dial(u, l, o, deadline, why, detail);
    }
    if (rc < 0) {
        loop_free_later(l, u, release);
        return rc;
    }
    if (!u->in.stream)
        h1_init(&u->in, &u->conn, H1_RESPONSES);
    *out = u;
    return 0;
}

WAITS int client_send(struct upstream *u, struct iovec *v, int n, uint64_t deadline)
{
    if (!u->in.stream)
        return conn_send(&u->conn, v, n, deadline);
    str first = { v[0].iov_base, v[0].iov_len };
    long end = str_find(first, S("\r\n\r\n"));
    if (end < 0)
        return -EINVAL;
    size_t head = (size_t)end + 4, body = first.len - head;
    for (int i = 1; i < n; i++)
        body += v[i].iov_len;
    int rc = h2_write_head(u->in.stream, str_upto(first, head), body == 0);
    v[0] = (struct iovec){ (char *)v[0].iov_base + head, first.len - head };
    if (rc == 0)
        rc = h2_write(u->in.stream, v, n, deadline);
    if (rc == 0 && body)
        h2_end(u->in.stream);
    return rc;
}

void client_close_idle(struct loop *l)
{
    struct pool *p = loop_slot(l, LOOP_SLOT_CLIENT);
    for (unsigned i = 0; p && i < BUCKETS; i++) {
        for (struct bucket *b = p->buckets[i], *next; b; b = next) {
            next = b->next;
            while (b->idle)
                client_drop(b->idle);
            while (b->shared)
                h2_drop(b->shared->h2);
            free(b);
        }
        p->buckets[i] = NULL;
    }
    free(p);
    loop_slot_set(l, LOOP_SLOT_CLIENT, NULL);
}
