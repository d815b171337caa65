/* tests/unit/runtime/test_offload.c -- one program: offload_stop at its end is final. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "runtime/loop.h"
#include "runtime/offload.h"

static atomic_int n_released, n_worked;

struct work { unsigned ms; int result; };

static void work(void *arg)
{
    struct work *w = arg;
    usleep(w->ms * 1000);
    w->result = 42;
    atomic_fetch_add(&n_worked, 1);
}

static void release(void *arg)
{
    atomic_fetch_add(&n_released, 1);
    free(arg);
}

static struct work *work_new(unsigned ms)
{
    struct work *w = calloc(1, sizeof *w);
    w->ms = ms;
    return w;
}

struct world { struct loop *l; int rc[4]; unsigned n_running; struct fiber *f; int n_done, n_full; };

static void leave(struct world *w)
{
    if (--w->n_running == 0)
        loop_stop(w->l);
}

static void three_ways(void *arg)
{
    struct world *w = arg;
    struct work *one = work_new(5), *two = work_new(60), *three = work_new(60);
    w->rc[0] = offload(work, one, release, NEVER);
    w->rc[3] = one->result;
    free(one);
    w->rc[1] = offload(work, two, release, clock_now() + 10 * NS_PER_MS);
    w->rc[2] = offload(work, three, release, NEVER);        /* cancelled */
    fiber_shield(true);
    while (atomic_load(&n_released) < 2)        /* the threads finish, the loop releases */
        fiber_sleep(clock_now() + 5 * NS_PER_MS);
    leave(w);
}

static void cancel_soon(void *arg)
{
    struct world *w = arg;
    fiber_sleep(clock_now() + 40 * NS_PER_MS);
    fiber_cancel(w->f);
    leave(w);
}

static void a_call_is_waited_for_timed_out_or_cancelled(void **state)
{
    (void)state;
    struct world w = { .l = loop_new(0), .n_running = 2 };
    w.f = fiber_go(w.l, "three ways", three_ways, &w);
    fiber_go(w.l, "cancel", cancel_soon, &w);
    loop_run(w.l);
    loop_free(w.l);
    assert_int_equal(w.rc[0], 0);
    assert_int_equal(w.rc[3], 42);
    assert_int_equal(w.rc[1], -ETIMEDOUT);
    assert_int_equal(w.rc[2], -ECANCELED);
    assert_int_equal(n_released, 2);
    assert_int_equal(n_worked, 3);
}

#if defined(__SANITIZE_THREAD__)
enum { CROWD = 200 };
#else
enum { CROWD = OFFLOAD_QUEUE_MAX + 200 };
#endif

static void one_of_many(void *arg)
{
    struct world *w = arg;
    struct work *job = work_new(1);
    int rc = offload(work, job, release, NEVER);
    w->n_done += rc == 0;
    w->n_full += rc == -EAGAIN;
    if (rc == 0)
        free(job);
    leave(w);
}

static void a_full_queue_refuses_and_forgets_nobody(void **state)
{
    (void)state;
    struct world w = { .l = loop_new(0), .n_running = CROWD };
    atomic_store(&n_released, 0);
    for (int i = 0; i < CROWD; i++)
        assert_non_null(fiber_go(w.l, "one of many", one_of_many, &w));
    loop_run(w.l);
    loop_free(w.l);
    assert_int_equal(w.n_done + w.n_full, CROWD);
    assert_int_equal(n_released, w.n_full);
    if ((int)CROWD > (int)OFFLOAD_QUEUE_MAX)
        assert_true(w.n_full > 0 && w.n_full <= CROWD - OFFLOAD_QUEUE_MAX);
}

static void on_a_plain_thread_the_call_is_made_at_once(void **state)
{
    (void)state;
    struct work w = { 0, 0 };
    assert_int_equal(offload(work, &w, release, NEVER), 0);
    assert_int_equal(w.result, 42);
}

static void refused_after_the_stop(void *arg)
{
    struct world *w = arg;
    w->rc[0] = offload(work, work_new(1), release, NEVER);
    leave(w);
}

static void after_the_stop_work_is_refused(void **state)
{
    (void)state;
    offload_stop();
    offload_stop();
    struct world w = { .l = loop_new(0), .n_running = 1 };
    fiber_go(w.l, "late", refused_after_the_stop, &w);
    loop_run(w.l);
    loop_free(w.l);
    assert_int_equal(w.rc[0], -EAGAIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_is_waited_for_timed_out_or_cancelled),
        cmocka_unit_test(a_full_queue_refuses_and_forgets_nobody),
        cmocka_unit_test(on_a_plain_thread_the_call_is_made_at_once),
        cmocka_unit_test(after_the_stop_work_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
