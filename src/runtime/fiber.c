/* runtime/fiber.c -- stacks and switches.
 *
 * The switch is Boost.Context's jump_fcontext: 10 ns, callee-saved registers only. Stacks are mapped
 * with a guard page, kept on a free list per loop, and shared by nobody. */
#include "runtime/fiber.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/sanitizer.h"
#include "runtime/loop.h"

#if WITH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if WITH_TSAN
#include <sanitizer/tsan_interface.h>
#endif

typedef void *fcontext;
struct transfer { fcontext from; void *data; };
extern fcontext make_fcontext(void *stack_top, size_t bytes, void (*fn)(struct transfer));
extern struct transfer jump_fcontext(fcontext to, void *data);

enum {
    GUARD_BYTES = 4096,
    STACK_BYTES = WITH_ASAN || WITH_TSAN ? 256 * 1024 : 64 * 1024,  /* TLS handshake: 13 KB, the deepest */
    STACKS_KEPT = 1024,             /* a loop; beyond: unmapped */
};

enum fiber_state { FIBER_READY, FIBER_RUNNING, FIBER_PARKED };

struct fiber {                      /* lies at the top of its own stack */
    fcontext context;
    struct loop *loop;
    struct fiber *next;             /* ready list or free list */
    struct timer timer;
    uint64_t deadline;
    void (*fn)(void *);
    void *arg;
    const char *name;
    char *stack;                    /* lowest usable byte, above the guard */
    int wake_code;
    enum fiber_state state;
    bool is_cancelled, is_shielded, is_done;
    void *fake_stack;               /* ASan */
    void *tsan;
};

struct fiber_set {                  /* one per loop */
    struct fiber *ready, **ready_end;
    struct fiber *late, **late_end; /* of this turn, once the others have run */
    bool has_others;                /* somebody else still runs in this turn */
    struct fiber *free; unsigned n_free;
    fcontext main;
    const void *main_stack; size_t main_stack_bytes;    /* ASan */
    void *main_fake_stack;
    void *main_tsan;
};

static _Thread_local struct fiber *running;
static atomic_int n_stacks;

struct fiber *fiber_self(void)
{
    return running;
}

struct loop *fiber_loop(const struct fiber *f)
{
    return f->loop;
}

static struct fiber_set *set_of(struct loop *l)
{
    struct fiber_set **slot = loop_fibers(l);
    if (!*slot) {
        *slot = calloc(1, sizeof **slot);
        if (*slot) {
            (*slot)->ready_end = &(*slot)->ready;
            (*slot)->late_end = &(*slot)->late;
        }
    }
    return *slot;
}

/* ---- switching, with the sanitizers told about it ---- */

static void switch_to_fiber(struct fiber_set *set, struct fiber *f)
{
#if WITH_ASAN
    __sanitizer_start_switch_fiber(&set->main_fake_stack, f->stack, STACK_BYTES);
#endif
#if WITH_TSAN
    set->main_tsan = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(f->tsan, 0);
#endif
    (void)set;
    struct transfer t = jump_fcontext(f->context, f);
    f->context = t.from;
#if WITH_ASAN
    __sanitizer_finish_switch_fiber(set->main_fake_stack, NULL, NULL);
#endif
}

static void switch_to_loop(struct fiber *f)
{
    struct fiber_set *set = *loop_fibers(f->loop);
#if WITH_ASAN
    __sanitizer_start_switch_fiber(f->is_done ? NULL : &f->fake_stack, set->main_stack, set->main_stack_bytes);
#endif
#if WITH_TSAN
    __tsan_switch_to_fiber(set->main_tsan, 0);
#endif
    struct transfer t = jump_fcontext(set->main, NULL);
    set->main = t.from;
#if WITH_ASAN
    __sanitizer_finish_switch_fiber(f->fake_stack, &set->main_stack, &set->main_stack_bytes);
#endif
}

static void fiber_main(struct transfer t)
{
    struct fiber *f = t.data;
    struct fiber_set *set = *loop_fibers(f->loop);
    set->main = t.from;
#if WITH_ASAN
    __sanitizer_finish_switch_fiber(NULL, &set->main_stack, &set->main_stack_bytes);
#endif
    f->fn(f->arg);
    f->is_done = true;
    switch_to_loop(f);
    abort();                        /* a finished fiber is never resumed */
}

/* ---- stacks ---- */

static void timer_fired(struct timer *t)
{
    struct fiber *f = (struct fiber *)(void *)((char *)t - offsetof(struct fiber, timer));
    if (f->state != FIBER_PARKED)
        return;
    if (loop_now(f->loop) < f->deadline) {      /* armed for an earlier wait: go on sleeping */
        if (f->deadline != NEVER)
            timer_arm(f->loop, t, f->deadline);
        return;
    }
    f->wake_code = -ETIMEDOUT;
    fiber_wake(f);
}

static struct fiber *fiber_new(struct loop *l, struct fiber_set *set)
{
    struct fiber *f = set->free;
    if (f) {
        set->free = f->next;
        set->n_free--;
    } else {
        if (atomic_fetch_add(&n_stacks, 1) >= FIBERS_MAX) {
            atomic_fetch_sub(&n_stacks, 1);
            return NULL;
        }
        char *map = mmap(NULL, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
        if (map == MAP_FAILED) {
            atomic_fetch_sub(&n_stacks, 1);
            return NULL;
        }
        mprotect(map, GUARD_BYTES, PROT_NONE);
        size_t head = (sizeof *f + 63) & ~(size_t)63;
        f = (struct fiber *)(void *)(map + GUARD_BYTES + STACK_BYTES - head);
        f->stack = map + GUARD_BYTES;
    }
    char *stack = f->stack;
    *f = (struct fiber){ .loop = l, .stack = stack, .timer.fire = timer_fired };
    f->context = make_fcontext(f, (size_t)((char *)f - stack), fiber_main);
#if WITH_TSAN
    f->tsan = __tsan_create_fiber(0);
#endif
    return f;
}

static void fiber_release(struct fiber_set *set, struct fiber *f)
{
    timer_stop(&f->timer);
#if WITH_TSAN
    __tsan_destroy_fiber(f->tsan);
#endif
#if WITH_ASAN
    __asan_unpoison_memory_region(f->stack, (size_t)((char *)f - f->stack));
#endif
    if (set->n_free >= STACKS_KEPT) {
        char *map = f->stack - GUARD_BYTES;
        munmap(map, GUARD_BYTES + STACK_BYTES);
        atomic_fetch_sub(&n_stacks, 1);
        return;
    }
    f->next = set->free;
    set->free = f;
    set->n_free++;
}

/* ---- the public verbs ---- */

static void ready_put(struct fiber_set *set, struct fiber *f)
{
    f->state = FIBER_READY;
    f->next = NULL;
    *set->ready_end = f;
    set->ready_end = &f->next;
}

struct fiber *fiber_go(struct loop *l, const char *name, void (*fn)(void *arg), void *arg)
{
    struct fiber_set *set = set_of(l);
    struct fiber *f = set ? fiber_new(l, set) : NULL;
    if (!f)
        return NULL;
    f->name = name;
    f->fn = fn;
    f->arg = arg;
    ready_put(set, f);
    return f;
}

int fiber_park(uint64_t deadline)
{
    struct fiber *f = running;
    assert(f);
    if (f->is_cancelled && !f->is_shielded)
        return -ECANCELED;
    f->deadline = deadline;
    f->wake_code = 0;
    /* A timer armed for an earlier wait is left where it is: it finds out when it fires. */
    if (deadline != NEVER && (!f->timer.prev || f->timer.due > deadline))
        timer_arm(f->loop, &f->timer, deadline);
    f->state = FIBER_PARKED;
    running = NULL;
    switch_to_loop(f);
    running = f;
    f->state = FIBER_RUNNING;
    if (f->is_cancelled && !f->is_shielded)
        return -ECANCELED;
    return f->wake_code;
}

void fiber_wake(struct fiber *f)
{
    if (f->state == FIBER_PARKED)
        ready_put(*loop_fibers(f->loop), f);
}

void fiber_cancel(struct fiber *f)
{
    if (f->is_cancelled)
        return;
    f->is_cancelled = true;
    if (!f->is_shielded)
        fiber_wake(f);
}

bool fiber_is_cancelled(const struct fiber *f)
{
    return f && f->is_cancelled;
}

void fiber_shield(bool on)
{
    if (running)
        running->is_shielded = on;
}

int fiber_sleep(uint64_t deadline)
{
    int rc;
    do
        rc = fiber_park(deadline);
    while (rc == 0);
    return rc == -ETIMEDOUT ? 0 : rc;
}

void fiber_late(void)
{
    struct fiber *f = running;
    struct fiber_set *set = f ? *loop_fibers(f->loop) : NULL;
    if (!set || !set->has_others)
        return;
    f->state = FIBER_READY;
    f->next = NULL;
    *set->late_end = f;
    set->late_end = &f->next;
    running = NULL;
    switch_to_loop(f);
    running = f;
    f->state = FIBER_RUNNING;
}

void fiber_yield(void)
{
    struct fiber *f = running;
    if (!f)
        return;
    ready_put(*loop_fibers(f->loop), f);
    running = NULL;
    switch_to_loop(f);
    running = f;
    f->state = FIBER_RUNNING;
}

void fiber_trim(struct fiber *f)
{
    if (f->state != FIBER_PARKED || WITH_ASAN || WITH_TSAN)
        return;
    uintptr_t top = (uintptr_t)f->context & ~(uintptr_t)4095;     /* the context lies at the stack's depth */
    if (top > (uintptr_t)f->stack + 4096)
        madvise(f->stack, top - (uintptr_t)f->stack, MADV_DONTNEED);
}

static void list_run(struct fiber_set *set, struct fiber *f)
{
    while (f) {
        struct fiber *next = f->next;
        set->has_others = next || set->late;
        running = f;
        f->state = FIBER_RUNNING;
        switch_to_fiber(set, f);
        running = NULL;
        if (f->is_done)
            fiber_release(set, f);
        f = next;
    }
}

void fiber_run_ready(struct loop *l)
{
    struct fiber_set *set = *loop_fibers(l);
    if (!set)
        return;
    /* Those made ready by what runs here wait for the next turn, so that I/O gets its share. */
    struct fiber *f = set->ready;
    set->ready = NULL;
    set->ready_end = &set->ready;
    list_run(set, f);
    while ((f = set->late) != NULL) {           /* a fiber goes late a few times at most: once a write */
        set->late = NULL;
        set->late_end = &set->late;
        list_run(set, f);
    }
}

bool fiber_any_ready(const struct fiber_set *set)
{
    return set->ready != NULL;
}

void fiber_set_free(struct fiber_set *set)
{
    while (set && set->free) {
        struct fiber *f = set->free;
        set->free = f->next;
        munmap(f->stack - GUARD_BYTES, GUARD_BYTES + STACK_BYTES);
        atomic_fetch_sub(&n_stacks, 1);
    }
    free(set);
}
