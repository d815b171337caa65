/* runtime/fiber.h -- code that waits reads as if it blocked.
 *
 * A fiber is a stack and a place to go on. It runs on one loop for its whole life, parks when
 * it must wait, and is woken by the loop with a reason: 0 (what it waited for is there),
 * -ETIMEDOUT or -ECANCELED. The same waiting code runs on a plain thread, where io_wait is poll(2):
 * fiber_self() is NULL there. */
#ifndef SBX_FIBER_H
#define SBX_FIBER_H

#include <stdbool.h>
#include <stdint.h>

#define WAITS                       /* this function may park; hold no lock when calling it */
#define NEVER UINT64_MAX            /* a deadline that does not come */

struct fiber;
struct loop;

struct fiber *fiber_self(void);     /* NULL: a plain thread */
struct loop  *fiber_loop(const struct fiber *f);

/* Starts fn(arg) on its own stack at the loop's next turn of the ready list. NULL: no stack left (the
 * process-wide bound FIBERS_MAX, or no memory); the caller refuses the work. Loop thread only. */
struct fiber *fiber_go(struct loop *l, const char *name, void (*fn)(void *arg), void *arg);

/* Parks until fiber_wake, the deadline (monotonic ns) or a cancel. Returns 0, -ETIMEDOUT, -ECANCELED. */
WAITS int fiber_park(uint64_t deadline);
void fiber_wake(struct fiber *f);   /* loop thread only; no effect when not parked */

/* Cancels: the present and every later park returns -ECANCELED, until fiber_shield(true). */
void fiber_cancel(struct fiber *f);
bool fiber_is_cancelled(const struct fiber *f);
void fiber_shield(bool on);         /* the running fiber cleans up: parks work although cancelled */

WAITS int fiber_sleep(uint64_t deadline);   /* 0 at the deadline; -ECANCELED */

/* Lets the other fibers of this turn go first. Called before a write, so that the writes of a turn leave back to back:
 * the peers are woken once and not once for each (measured: a quarter of the CPU of a busy gateway). */
WAITS void fiber_late(void);

/* Goes on at the loop's next turn: other fibers, timers and I/O have theirs before. */
WAITS void fiber_yield(void);

/* Gives the pages of the parked stack below its depth back to the system; for long waits. */
void fiber_trim(struct fiber *f);

enum { FIBERS_MAX = 16000 };        /* each guarded stack is two mappings of the kernel's 65,530 */

/* loop.c only */
struct fiber_set;
void fiber_run_ready(struct loop *l);
bool fiber_any_ready(const struct fiber_set *set);
void fiber_set_free(struct fiber_set *set);

#endif
