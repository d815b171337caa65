/* neural/gang.c -- a few threads that share one forward.
 *
 * A call is one `struct work` in the gang: a counter from which every thread takes the next part until there is none, and a
 * count of parts that are done. The leader announces a call by raising `call`, the only word helpers watch: they spin on it
 * for a short time, because in a forward the next call is microseconds away, and then sleep on it as a futex. So does the
 * leader while it waits for the last part of another thread. On a machine whose cores are busy a helper that does not get to
 * run costs the leader nothing: it takes the parts itself. */
#include "neural/gang.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SPIN_NS = 30 * 1000, GANG_MAX = 64 };

struct gang {
    _Alignas(64) _Atomic uint32_t call;             /* number of the current call; helpers watch it */
    _Atomic uint32_t sleepers;                      /* helpers asleep on `call` */
    _Atomic bool is_ending;

    /* The call. Written by the leader before `next` is opened; `next` carries the call's number in its upper half, so that a
     * helper which comes late takes nothing of the wrong call. */
    void (*_Atomic part)(void *arg, size_t i);
    void *_Atomic arg;
    _Atomic uint32_t n;

    _Alignas(64) _Atomic uint64_t next;             /* call << 32 | first part nobody has taken */
    _Alignas(64) _Atomic uint32_t done;             /* parts; the leader watches it */
    _Atomic uint32_t leader_sleeps;

    unsigned size;                                  /* with the leader */
    pthread_t threads[GANG_MAX];
};

static void futex_wait(_Atomic uint32_t *word, uint32_t while_it_is)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, while_it_is, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int n)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void relax(void)
{
#ifdef __x86_64__
    __builtin_ia32_pause();
#endif
}

/* True: the word has changed. False: it has not for SPIN_NS. */
static bool spin_while(_Atomic uint32_t *word, uint32_t it_is)
{
    uint64_t end = 0;
    do {
        for (int i = 0; i < 32; i++) {
            if (atomic_load_explicit(word, memory_order_acquire) != it_is)
                return true;
            relax();
        }
        if (!end)
            end = now_ns() + SPIN_NS;
    } while (now_ns() < end);
    return false;
}

/* Takes parts of call `call` until none is left. */
static void work(struct gang *g, uint32_t call)
{
    for (uint64_t next = atomic_load(&g->next);;) {
        uint32_t i = (uint32_t)next, n = atomic_load(&g->n);
        void (*part)(void *, size_t) = atomic_load(&g->part);
        void *arg = atomic_load(&g->arg);
        if ((uint32_t)(next >> 32) != call || i >= n)
            return;
        if (!atomic_compare_exchange_weak(&g->next, &next, next + 1))
            continue;                               /* next is fresh again; what was read above may be of another call */
        part(arg, i);
        if (atomic_fetch_add(&g->done, 1) + 1 == n && atomic_load(&g->leader_sleeps))
            futex_wake(&g->done, 1);
        next = atomic_load(&g->next);
    }
}

static void *helper(void *arg)
{
    struct gang *g = arg;
    for (uint32_t seen = 0;;) {
        if (!spin_while(&g->call, seen)) {
            atomic_fetch_add(&g->sleepers, 1);
            while (atomic_load(&g->call) == seen)
                futex_wait(&g->call, seen);
            atomic_fetch_sub(&g->sleepers, 1);
        }
        seen = atomic_load(&g->call);
        if (atomic_load(&g->is_ending))
            return NULL;
        work(g, seen);
    }
}

static void announce(struct gang *g)
{
    atomic_fetch_add(&g->call, 1);
    if (atomic_load(&g->sleepers))
        futex_wake(&g->call, GANG_MAX);
}

void gang_run(struct gang *g, size_t n, void (*part)(void *arg, size_t i), void *arg)
{
    if (!g || g->size == 1 || n < 2 || n > UINT32_MAX) {
        for (size_t i = 0; i < n; i++)
            part(arg, i);
        return;
    }
    uint32_t call = atomic_load(&g->call) + 1;
    atomic_store(&g->next, (uint64_t)call << 32 | UINT32_MAX);  /* shut: late helpers of the last call find nothing */
    atomic_store(&g->part, part);
    atomic_store(&g->arg, arg);
    atomic_store(&g->n, (uint32_t)n);
    atomic_store(&g->done, 0);
    atomic_store(&g->next, (uint64_t)call << 32);               /* open */
    announce(g);
    work(g, call);
    for (uint32_t done; (done = atomic_load(&g->done)) < n;) {
        if (spin_while(&g->done, done))
            continue;
        atomic_store(&g->leader_sleeps, 1);
        done = atomic_load(&g->done);
        if (done < n)
            futex_wait(&g->done, done);
        atomic_store(&g->leader_sleeps, 0);
    }
}

unsigned gang_size(const struct gang *g)
{
    return g ? g->size : 1;
}

struct gang *gang_new(unsigned size)
{
    struct gang *g = aligned_alloc(64, sizeof *g);
    if (!g)
        return NULL;
    *g = (struct gang){ .size = 1 };
    while (g->size < size && g->size < GANG_MAX && pthread_create(&g->threads[g->size], NULL, helper, g) == 0)
        g->size++;
    return g;
}

void gang_free(struct gang *g)
{
    if (!g)
        return;
    atomic_store(&g->is_ending, true);
    announce(g);
    for (unsigned i = 1; i < g->size; i++)
        pthread_join(g->threads[i], NULL);
    free(g);
}
