/* tests/unit/net/party.h -- a loop, fibers that meet on it, and a real listener on the loopback. */
#ifndef PARTY_H
#define PARTY_H

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/client.h"
#include "net/dns.h"

struct party {
    struct loop *l;
    unsigned n_running;
    int listener;
    struct io door;                 /* of the listener; one fiber at a time waits at it */
    uint16_t port;
};

static inline void party_open(struct party *p)
{
    struct err e = { 0 };
    signal(SIGPIPE, SIG_IGN);                   /* as the process does: OpenSSL writes without MSG_NOSIGNAL */
    *p = (struct party){ .l = loop_new(0) };
    p->listener = sock_listen(S("127.0.0.1"), 0, false, &e);
    if (p->listener < 0 || io_open(p->l, &p->door, p->listener) < 0)
        abort();
    p->port = sock_port(p->listener);
}

static inline void party_go(struct party *p, void (*fn)(void *), void *arg)
{
    p->n_running++;
    if (!fiber_go(p->l, "guest", fn, arg))
        abort();
}

static inline void party_leave(struct party *p)
{
    if (--p->n_running == 0)
        loop_stop(p->l);
}

static inline void party_run(struct party *p)
{
    loop_run(p->l);
    client_close_idle(p->l);
    dns_close(p->l);
    if (p->listener >= 0)
        close(p->listener);
    loop_free(p->l);
}

/* The next connection of the listener, as a fiber sees it. */
static inline void party_accept(struct party *p, struct conn *c)
{
    *c = (struct conn){ .loop = p->l };
    int fd;
    while ((fd = accept4(p->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) < 0) {
        p->door.ready = 0;
        io_wait(&p->door, IO_IN, NEVER);
    }
    io_open(p->l, &c->io, fd);
}

static inline void party_nap(unsigned ms)
{
    fiber_sleep(clock_now() + ms * NS_PER_MS);
}

#endif
