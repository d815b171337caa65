/* runtime/loop.h -- one thread, one epoll instance, its timers and its inbox.
 *
 * Descriptors are watched edge-triggered, once, for reading and writing; `struct io` remembers
 * what was reported and not yet used up. So a request costs no epoll_ctl and, since a short
 * read says "drained", no read that only returns EAGAIN. */
#ifndef SBX_LOOP_H
#define SBX_LOOP_H

#include <stddef.h>

#include "runtime/fiber.h"

enum { IO_IN = 1, IO_OUT = 2, IO_HUP = 4 };     /* HUP: the peer closed (at least) its sending side */

struct io {                         /* embedded in connections; loop only */
    int fd;
    uint8_t ready;                  /* reported and not used up */
    uint8_t waits_for;
    struct io_waiter *waiter;       /* parked in io_wait; a record on its stack */
    struct fiber *victim;           /* cancelled when the peer hangs up */
    void (*on_ready)(struct io *io);    /* while nobody waits: listeners and idle connections */
    bool on_out;                    /* on_ready is told of room to write, too */
};

struct timer {                      /* embedded; zero-initialise */
    struct timer *next, **prev;
    uint64_t due;
    void (*fire)(struct timer *t);
};

struct loop;

struct loop *loop_new(unsigned index);          /* NULL: errno says why */
void loop_run(struct loop *l);                  /* until loop_stop; the calling thread is the loop's */
void loop_stop(struct loop *l);                 /* any thread */
void loop_free(struct loop *l);
struct loop *loop_self(void);                   /* NULL on other threads */
unsigned loop_index(const struct loop *l);
uint64_t loop_now(const struct loop *l);        /* monotonic ns at the start of this turn */

/* Any thread: run fn(arg) on the loop's thread. False: no memory. */
bool loop_post(struct loop *l, void (*fn)(void *arg), void *arg);

int  io_open(struct loop *l, struct io *io, int fd);    /* starts watching; -errno */
int  io_move(struct loop *l, struct io *from, struct io *to);   /* watched at another address; nobody may be waiting; -errno */
void io_close(struct io *io);   /* closes the descriptor; a waiter gets -ECANCELED, shielded or not, and io may go */

/* Waits until one of `mask` may be done. Returns the bits, -ETIMEDOUT or -ECANCELED. Works on plain threads. */
WAITS int io_wait(struct io *io, int mask, uint64_t deadline);

void timer_arm(struct loop *l, struct timer *t, uint64_t due);  /* again: moves it */
void timer_stop(struct timer *t);

/* Frees at the end of the turn: events of this turn may still point at p. */
void loop_free_later(struct loop *l, void *p, void (*release)(void *p));

/* Per-loop scratch of 64 KB for reads that are used up before the next wait. */
enum { LOOP_SCRATCH = 64 * 1024 };
char *loop_scratch(struct loop *l);
void *loop_slot(struct loop *l, unsigned which);            /* per-loop pointers of other modules */
void  loop_slot_set(struct loop *l, unsigned which, void *p);
enum { LOOP_SLOT_CLIENT, LOOP_SLOT_SERVER, LOOP_SLOT_DNS, LOOP_SLOT_SNAP, LOOP_SLOTS };

/* fiber.c */
struct fiber_set **loop_fibers(struct loop *l);

#endif
