/* tests/unit/runtime/test_fiber.c -- parking, waking, cancelling, in every order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "runtime/loop.h"

#if defined(__SANITIZE_THREAD__)
enum { MANY = 300 };                            /* TSan spends 850 KB a fiber */
#else
enum { MANY = 10000 };
#endif

struct world {
    struct loop *l;
    unsigned n_running, n_done, n_cancelled, n_timed_out, n_zero;
    struct fiber *fibers[MANY];
    int rc[8];
    uint64_t at[8];
};

static void leave(struct world *w)
{
    w->n_done++;
    if (--w->n_running == 0)
        loop_stop(w->l);
}

static struct fiber *go(struct world *w, void (*fn)(void *))
{
    struct fiber *f = fiber_go(w->l, "test", fn, w);
    assert_non_null(f);
    w->n_running++;
    return f;
}

static void run(struct world *w)
{
    loop_run(w->l);
    loop_free(w->l);
}

static void wake(void *f)
{
    fiber_wake(f);
}

static void yield(void)
{
    loop_post(loop_self(), wake, fiber_self());
    fiber_park(NEVER);
}

/* ---- many ---- */

static void park_for_ever(void *arg)
{
    struct world *w = arg;
    char deep[2000];
    memset(deep, (int)w->n_running, sizeof deep);
    int rc = fiber_park(NEVER);
    w->n_cancelled += rc == -ECANCELED;
    w->n_zero += rc == 0 && deep[1999] == deep[0];
    leave(w);
}

static void wake_half_cancel_half(void *arg)
{
    struct world *w = arg;
    yield();
    yield();
    for (int i = 0; i < MANY; i++)
        i % 2 ? fiber_wake(w->fibers[i]) : fiber_cancel(w->fibers[i]);
    leave(w);
}

static void ten_thousand_fibers_park_and_all_come_back(void **state)
{
    (void)state;
    struct world *w = calloc(1, sizeof *w);
    w->l = loop_new(0);
    for (int i = 0; i < MANY; i++)
        w->fibers[i] = go(w, park_for_ever);
    go(w, wake_half_cancel_half);
    run(w);
    assert_int_equal(w->n_done, MANY + 1);
    assert_int_equal(w->n_cancelled, MANY / 2);
    assert_int_equal(w->n_zero, MANY / 2);
    free(w);
}

#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
static void beyond_the_bound_a_fiber_is_refused_and_later_there_are_some_again(void **state)
{
    (void)state;
    struct world *w = calloc(1, sizeof *w);
    w->l = loop_new(0);
    struct fiber **all = calloc(FIBERS_MAX + 1, sizeof *all);
    unsigned n = 0;
    while (n <= FIBERS_MAX && (all[n] = fiber_go(w->l, "one of many", park_for_ever, w)) != NULL)
        n++;
    assert_true(n <= FIBERS_MAX && n > FIBERS_MAX / 2);
    w->n_running = n;
    for (unsigned i = 0; i < n; i++)
        fiber_cancel(all[i]);
    run(w);
    assert_int_equal(w->n_cancelled, n);
    w->l = loop_new(0);
    w->n_running = 0;
    fiber_cancel(go(w, park_for_ever));
    run(w);
    assert_int_equal(w->n_done, n + 1);
    free(all);
    free(w);
}
#endif

/* ---- cancel in every state ---- */

static void park_three_times(void *arg)
{
    struct world *w = arg;
    for (int i = 0; i < 3; i++)
        w->rc[i] = fiber_park(clock_now() + NS_PER_S);
    leave(w);
}

static void a_fiber_cancelled_before_its_first_turn_parks_no_more(void **state)
{
    (void)state;
    struct world w = { .l = loop_new(0) };
    fiber_cancel(go(&w, park_three_times));
    run(&w);
    for (int i = 0; i < 3; i++)
        assert_int_equal(w.rc[i], -ECANCELED);
}

static void cancel_itself_and_park(void *arg)
{
    struct world *w = arg;
    fiber_cancel(fiber_self());
    w->rc[0] = fiber_is_cancelled(fiber_self());
    w->rc[1] = fiber_park(NEVER);
    w->rc[2] = fiber_sleep(clock_now() + NS_PER_MS);
    leave(w);
}

static void a_running_fiber_may_cancel_itself(void **state)
{
    (void)state;
    struct world w = { .l = loop_new(0) };
    go(&w, cancel_itself_and_park);
    run(&w);
    assert_true(w.rc[0]);
    assert_int_equal(w.rc[1], -ECANCELED);
    assert_int_equal(w.rc[2], -ECANCELED);
}

static void wake_then_cancel(void *arg)
{
    struct world *w = arg;
    yield();
    fiber_wake(w->fibers[0]);
    fiber_cancel(w->fibers[0]);                 /* ready, not yet running */
    fiber_cancel(w->fibers[0]);
    fiber_wake(w->fibers[0]);
    leave(w);
}

static void a_cancel_of_a_ready_fiber_is_not_lost(void **state)
{
    (void)state;
    struct world w = { .l = loop_new(0) };
    w.fibers[0] = go(&w, park_three_times);
    go(&w, wake_then_cancel);
    run(&w);
    assert_int_equal(w.rc[0], -ECANCELED);
    assert_int_equal(w.rc[1], -ECANCELED);
}

static void clean_up_in_a_shield(void *arg)
{
    struct world *w = arg;
    w->rc[0] = fiber_park(NEVER);
    fiber_shield(true);
    uint64_t start = clock_now();
    w->rc[1] = fiber_park(start + 20 * NS_PER_MS);
    w->at[0] = clock_now() - start;
    w->rc[2] = fiber_sleep(clock_now() + NS_PER_MS);
    fiber_shield(false);
    w->rc[3] = fiber_park(NEVER);
    leave(w);
}

static void cancel_twice(void *arg)
{
    struct world *w = arg;
    yield();
    fiber_cancel(w->fibers[0]);
    yield();
    fiber_cancel(w->fibers[0]);
    leave(w);
}

static void a_cancelled_fiber_waits_again_behind_a_shield(void **state)
{
    (void)state;
    struct world w = { .l = loop_new(0) };
    w.fibers[0] = go(&w, clean_up_in_a_shield);
    go(&w, cancel_twice);
    run(&w);
    assert_int_equal(w.rc[0], -ECANCELED);
    assert_int_equal(w.rc[1], -ETIMEDOUT);
    assert_true(w.at[0] >= 20 * NS_PER_MS);
    assert_int_equal(w.rc[2], 0);
    assert_int_equal(w.rc[3], -ECANCELED);
}

/* ---- waking ---- */

static void park_after_being_woken(void *arg)
{
    struct world *w = arg;
    fiber_wake(fiber_self());                   /* running: no effect, says the header */
    w->rc[0] = fiber_park(clock_now() + 10 * NS_PER_MS);
    leave(w);
}

static void a_wake_before_the_park_has_no_effect(void **state)
{
    (void)state;
    struct world w = { .l = loop_new(0) };
    go(&w, park_after_being_woken);
    run(&w);
    assert_int_equal(w.rc[0], -ETIMEDOUT);
}

static void wait_with_deadlines(void *arg)
{
    struct world *w = arg;
    uint64_t start = clock_now();
    w->rc[0] = fiber_park(start + 10 * NS_PER_S);       /* woken: its timer stays armed, far away */
    w->rc[1] = fiber_park(start + 30 * NS_PER_MS);      /* must move the timer forward */
    w->at[1] = clock_now() - start;
    w->rc[2] = fiber_park(clock_now() + 5 * NS_PER_MS);
    uint64_t then = clock_now();
    w->rc[3] = fiber_park(then + 40 * NS_PER_MS);
    w->at[3] = clock_now() - then;
    w->rc[4] = fiber_park(0);                           /* long past */
    leave(w);
}

static void wake_one(void *arg)
{
    struct world *w = arg;
    yield();
    fiber_wake(w->fibers[0]);
    leave(w);
}

static void deadlines_are_kept_though_timers_are_left_armed(void **state)
{
    (void)state;
    struct world w = { .l = loop_new(0) };
    w.fibers[0] = go(&w, wait_with_deadlines);
    go(&w, wake_one);
    uint64_t start = clock_now();
    run(&w);
    assert_int_equal(w.rc[0], 0);
    for (int i = 1; i <= 4; i++)
        assert_int_equal(w.rc[i], -ETIMEDOUT);
    assert_true(w.at[1] >= 30 * NS_PER_MS && w.at[3] >= 40 * NS_PER_MS);
    assert_true(clock_now() - start < 5 * NS_PER_S);
}

static void park_until_woken(void *arg)
{
    struct world *w = arg;
    uint64_t start = clock_now();
    w->rc[0] = fiber_park(start + 12 * NS_PER_MS);
    w->rc[1] = fiber_park(NEVER);               /* an old timer must not end this */
    w->at[1] = clock_now() - start;
    leave(w);
}

static void wake_early_and_late(void *arg)
{
    struct world *w = arg;
    yield();
    fiber_wake(w->fibers[0]);
    fiber_sleep(clock_now() + 50 * NS_PER_MS);
    fiber_wake(w->fibers[0]);
    leave(w);
}

static void a_timer_of_an_earlier_wait_ends_no_later_one(void **state)
{
    (void)state;
    struct world w = { .l = loop_new(0) };
    w.fibers[0] = go(&w, park_until_woken);
    go(&w, wake_early_and_late);
    run(&w);
    assert_int_equal(w.rc[0], 0);
    assert_int_equal(w.rc[1], 0);
    assert_true(w.at[1] >= 50 * NS_PER_MS);
}

static void trim_the_other(void *arg)
{
    struct world *w = arg;
    yield();
    fiber_trim(w->fibers[0]);
    fiber_trim(fiber_self());                   /* running: nothing happens */
    fiber_wake(w->fibers[0]);
    leave(w);
}

static void a_trimmed_stack_still_holds_its_frames(void **state)
{
    (void)state;
    struct world w = { .l = loop_new(0) };
    w.fibers[0] = go(&w, park_for_ever);
    go(&w, trim_the_other);
    run(&w);
    assert_int_equal(w.n_zero, 1);
}

static void use_much_stack(void *arg)
{
    volatile char big[40 * 1024];
    for (size_t i = 0; i < sizeof big; i += 512)
        big[i] = 1;
    leave(arg);
}

static void forty_kilobytes_of_stack_are_there(void **state)
{
    (void)state;
    struct world w = { .l = loop_new(0) };
    for (int i = 0; i < 20; i++)
        go(&w, use_much_stack);
    run(&w);
    assert_int_equal(w.n_done, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_thousand_fibers_park_and_all_come_back),
        cmocka_unit_test(a_fiber_cancelled_before_its_first_turn_parks_no_more),
        cmocka_unit_test(a_running_fiber_may_cancel_itself),
        cmocka_unit_test(a_cancel_of_a_ready_fiber_is_not_lost),
        cmocka_unit_test(a_cancelled_fiber_waits_again_behind_a_shield),
        cmocka_unit_test(a_wake_before_the_park_has_no_effect),
        cmocka_unit_test(deadlines_are_kept_though_timers_are_left_armed),
        cmocka_unit_test(a_timer_of_an_earlier_wait_ends_no_later_one),
        cmocka_unit_test(a_trimmed_stack_still_holds_its_frames),
        cmocka_unit_test(forty_kilobytes_of_stack_are_there),
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
        cmocka_unit_test(beyond_the_bound_a_fiber_is_refused_and_later_there_are_some_again),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
