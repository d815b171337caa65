/* runtime/loop.c -- epoll, a timer wheel, an inbox.
 *
 * A turn: wait for events, note them and make fibers ready, run due timers, run the ready fibers,
 * free what died. Timers hang in a wheel of 2048 slots of 4 ms; those further away than one round
 * stay in their slot until their time comes. */
#include "runtime/loop.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    EVENTS_MAX = 256,
    WHEEL_SLOTS = 2048,
    TICK_NS = 4000000,
    DEAD_FIRST = 64,                /* deaths a turn that need no memory */
};

struct letter { struct letter *next; void (*fn)(void *); void *arg; };
struct dead { void *p; void (*release)(void *); };
struct io_waiter { struct fiber *fiber; bool is_closed; };     /* outlives the io: it is on the waiter's stack */

struct loop {
    int epoll, wake;
    unsigned index;
    uint64_t now, tick;             /* tick: last one whose slot was visited */
    struct fiber_set *fibers;
    struct timer *wheel[WHEEL_SLOTS];
    uint64_t occupied[WHEEL_SLOTS / 64];
    unsigned n_timers;
    struct dead *dead; size_t n_dead, cap_dead;
    void *slots[LOOP_SLOTS];
    _Atomic(struct letter *) inbox; /* newest first; any thread pushes */
    atomic_bool is_stopped;
    char *scratch;
};

static _Thread_local struct loop *self;

struct loop *loop_self(void)
{
    return self;
}

unsigned loop_index(const struct loop *l)
{
    return l->index;
}

uint64_t loop_now(const struct loop *l)
{
    return l->now;
}

char *loop_scratch(struct loop *l)
{
    return l->scratch;
}

void *loop_slot(struct loop *l, unsigned which)
{
    return l->slots[which];
}

void loop_slot_set(struct loop *l, unsigned which, void *p)
{
    l->slots[which] = p;
}

struct fiber_set **loop_fibers(struct loop *l)
{
    return &l->fibers;
}

struct loop *loop_new(unsigned index)
{
    struct loop *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->index = index;
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    l->scratch = malloc(LOOP_SCRATCH);
    l->dead = malloc(DEAD_FIRST * sizeof *l->dead);
    l->cap_dead = DEAD_FIRST;
    l->now = clock_now();
    l->tick = l->now / TICK_NS;
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = NULL };
    if (l->epoll < 0 || l->wake < 0 || !l->scratch || !l->dead || epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->wake, &ev) < 0) {
        loop_free(l);
        return NULL;
    }
    return l;
}

void loop_free(struct loop *l)
{
    if (l->epoll >= 0)
        close(l->epoll);
    if (l->wake >= 0)
        close(l->wake);
    for (struct letter *m = atomic_exchange(&l->inbox, NULL), *next; m; m = next) {
        next = m->next;
        free(m);
    }
    for (size_t i = 0; i < l->n_dead; i++)      /* died after the last turn */
        l->dead[i].release(l->dead[i].p);
    free(l->dead);
    fiber_set_free(l->fibers);
    free(l->scratch);
    free(l);
}

bool loop_post(struct loop *l, void (*fn)(void *arg), void *arg)
{
    struct letter *m = malloc(sizeof *m);
    if (!m)
        return false;
    *m = (struct letter){ NULL, fn, arg };
    struct letter *head = atomic_load_explicit(&l->inbox, memory_order_relaxed);
    do
        m->next = head;
    while (!atomic_compare_exchange_weak(&l->inbox, &head, m));
    if (!head) {                                /* somebody else has already rung otherwise */
        uint64_t one = 1;
        (void)!write(l->wake, &one, sizeof one);
    }
    return true;
}

void loop_stop(struct loop *l)
{
    atomic_store(&l->is_stopped, true);
    uint64_t one = 1;
    (void)!write(l->wake, &one, sizeof one);
}

static void inbox_read(struct loop *l)
{
    uint64_t count;
    (void)!read(l->wake, &count, sizeof count);
    struct letter *m = atomic_exchange(&l->inbox, NULL), *oldest = NULL;
    while (m) {                                 /* turn the order round */
        struct letter *next = m->next;
        m->next = oldest;
        oldest = m;
        m = next;
    }
    while (oldest) {
        struct letter *next = oldest->next;
        oldest->fn(oldest->arg);
        free(oldest);
        oldest = next;
    }
}

/* ---- timers ---- */

void timer_stop(struct timer *t)
{
    if (!t->prev)
        return;
    *t->prev = t->next;
    if (t->next)
        t->next->prev = t->prev;
    t->prev = NULL;
    t->next = NULL;
}

static void wheel_put(struct loop *l, struct timer *t)
{
    uint64_t tick = t->due / TICK_NS + 1;       /* never early */
    if (tick <= l->tick)
        tick = l->tick + 1;
    unsigned slot = tick % WHEEL_SLOTS;
    t->next = l->wheel[slot];
    t->prev = &l->wheel[slot];
    if (t->next)
        t->next->prev = &t->next;
    l->wheel[slot] = t;
    l->occupied[slot / 64] |= 1ull << (slot % 64);
}

void timer_arm(struct loop *l, struct timer *t, uint64_t due)
{
    timer_stop(t);
    t->due = due;
    wheel_put(l, t);
}

static void timers_run(struct loop *l)
{
    uint64_t upto = l->now / TICK_NS;
    if (upto - l->tick > WHEEL_SLOTS)           /* asleep for longer than a round: visit each slot once */
        l->tick = upto - WHEEL_SLOTS;
    while (l->tick < upto) {
        unsigned slot = ++l->tick % WHEEL_SLOTS;
        if (!(l->occupied[slot / 64] >> (slot % 64) & 1))
            continue;
        struct timer *list = l->wheel[slot];
        l->wheel[slot] = NULL;
        l->occupied[slot / 64] &= ~(1ull << (slot % 64));
        while (list) {
            struct timer *t = list;
            list = t->next;
            if (list)
                list->prev = &list;             /* a fired timer may stop others of this list */
            t->prev = NULL;
            t->next = NULL;
            if (t->due > l->now)
                wheel_put(l, t);                /* another round */
            else
                t->fire(t);
        }
    }
}

/* Milliseconds until the next occupied slot, -1: none. */
static int timers_wait(const struct loop *l)
{
    for (unsigned i = 1; i <= WHEEL_SLOTS; ) {
        unsigned slot = (unsigned)((l->tick + i) % WHEEL_SLOTS);
        uint64_t word = l->occupied[slot / 64] >> (slot % 64);
        if (word) {
            uint64_t tick = l->tick + i + (unsigned)__builtin_ctzll(word);
            uint64_t at = tick * TICK_NS;
            return at <= l->now ? 0 : (int)((at - l->now + NS_PER_MS - 1) / NS_PER_MS);
        }
        i += 64 - slot % 64;
    }
    return -1;
}

/* ---- descriptors ---- */

int io_open(struct loop *l, struct io *io, int fd)
{
    io->fd = fd;
    io->ready = 0;
    struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = io };
    return epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

int io_move(struct loop *l, struct io *from, struct io *to)
{
    int fd = from->fd;
    struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = to };
    if (epoll_ctl(l->epoll, EPOLL_CTL_MOD, fd, &ev) < 0)
        return -errno;
    *from = (struct io){ .fd = -1 };
    to->fd = fd;
    return 0;
}

void io_close(struct io *io)
{
    if (io->fd >= 0)
        close(io->fd);                          /* leaves the epoll set with it */
    io->fd = -1;
    io->ready = IO_HUP;
    io->victim = NULL;
    io->on_ready = NULL;
    if (io->waiter) {
        io->waiter->is_closed = true;
        fiber_wake(io->waiter->fiber);
        io->waiter = NULL;
    }
}

static int wait_on_thread(struct io *io, int mask, uint64_t deadline)
{
    struct pollfd p = { .fd = io->fd };
    if (mask & IO_IN)
        p.events |= POLLIN;
    if (mask & IO_OUT)
        p.events |= POLLOUT;
    for (;;) {
        uint64_t now = clock_now();
        if (deadline != NEVER && now >= deadline)
            return -ETIMEDOUT;
        uint64_t ms = deadline == NEVER ? 1000 : (deadline - now) / NS_PER_MS + 1;
        int n = poll(&p, 1, ms > 1000 ? 1000 : (int)ms);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0) {
            int bits = 0;
            if (p.revents & (POLLIN | POLLHUP | POLLERR))
                bits |= IO_IN;
            if (p.revents & (POLLOUT | POLLHUP | POLLERR))
                bits |= IO_OUT;
            io->ready |= (uint8_t)bits;
            return bits & mask ? bits & mask : mask;
        }
    }
}

int io_wait(struct io *io, int mask, uint64_t deadline)
{
    struct fiber *f = fiber_self();
    if (!f)
        return wait_on_thread(io, mask, deadline);
    while (!(io->ready & mask)) {
        if (io->fd < 0)
            return -ECANCELED;
        struct io_waiter w = { f, false };
        io->waiter = &w;
        io->waits_for = (uint8_t)mask;
        int rc = fiber_park(deadline);
        if (w.is_closed)                        /* and perhaps freed */
            return -ECANCELED;
        io->waiter = NULL;
        if (rc < 0)
            return rc;
    }
    return io->ready & mask;
}

static void io_event(struct io *io, uint32_t events)
{
    uint8_t bits = 0;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        bits |= IO_IN;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        bits |= IO_OUT;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        bits |= IO_HUP;
    io->ready |= bits;
    if ((bits & IO_HUP) && io->victim)
        fiber_cancel(io->victim);
    if (io->waiter) {
        if (io->ready & io->waits_for)
            fiber_wake(io->waiter->fiber);
    } else if (io->on_ready && (bits & (IO_IN | IO_HUP) || (io->on_out && (bits & IO_OUT)))) {
        io->on_ready(io);
    }
}

void loop_free_later(struct loop *l, void *p, void (*release)(void *p))
{
    if (l->n_dead == l->cap_dead) {
        size_t cap = 2 * l->cap_dead;
        struct dead *more = realloc(l->dead, cap * sizeof *more);
        if (!more)
            return;                             /* leaks p rather than frees it too early */
        l->dead = more;
        l->cap_dead = cap;
    }
    l->dead[l->n_dead++] = (struct dead){ p, release };
}

static bool has_ready(struct loop *l)
{
    return l->fibers && fiber_any_ready(l->fibers);
}

void loop_run(struct loop *l)
{
    struct epoll_event events[EVENTS_MAX];
    self = l;
    while (!atomic_load_explicit(&l->is_stopped, memory_order_relaxed)) {
        int ms = has_ready(l) ? 0 : timers_wait(l);
        int n = epoll_wait(l->epoll, events, EVENTS_MAX, ms);
        l->now = clock_now();
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr)
                io_event(events[i].data.ptr, events[i].events);
            else
                inbox_read(l);
        }
        timers_run(l);
        fiber_run_ready(l);
        for (size_t i = 0; i < l->n_dead; i++)
            l->dead[i].release(l->dead[i].p);
        l->n_dead = 0;
    }
    self = NULL;
}
