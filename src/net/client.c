/* net/client.c */
#include "net/client.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"

enum { BUCKETS = 256 };

struct bucket { uint64_t key; struct upstream *idle; unsigned n; struct bucket *next; };
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

WAITS int client_get(struct loop *l, const struct origin *o, bool fresh, uint64_t deadline,
                     struct upstream **out, const char **why, const char **detail)
{
    *why = "connect";
    *detail = NULL;
    struct bucket *b = fresh ? NULL : bucket_of(l, o->key, false);
    if (b && b->idle) {
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
    int rc = conn_dial(&u->conn, l, o->host, o->port, deadline);
    if (rc < 0) {
        if (rc == -ENOENT || rc == -EAGAIN)
            *why = "dns";
        loop_free_later(l, u, release);
        return rc;
    }
    if (o->tls) {
        *why = "tls";
        rc = tls_connect(&u->conn, o->tls, o->host, deadline, detail);
        if (rc < 0) {
            client_drop(u);
            return rc;
        }
    }
    h1_init(&u->in, &u->conn, H1_RESPONSES);
    *out = u;
    return 0;
}

void client_close_idle(struct loop *l)
{
    struct pool *p = loop_slot(l, LOOP_SLOT_CLIENT);
    for (unsigned i = 0; p && i < BUCKETS; i++) {
        for (struct bucket *b = p->buckets[i], *next; b; b = next) {
            next = b->next;
            while (b->idle)
                client_drop(b->idle);
            free(b);
        }
        p->buckets[i] = NULL;
    }
    free(p);
    loop_slot_set(l, LOOP_SLOT_CLIENT, NULL);
}
