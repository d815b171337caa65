/* tests/unit/runtime/test_late.c -- fibers that let the others of their turn go first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "runtime/loop.h"

enum { RUNNERS = 3 };

static char story[64];
static unsigned n_running;

static void tell(char c)
{
    size_t n = strlen(story);
    story[n] = c;
    story[n + 1] = 0;
}

static void end(void)
{
    if (--n_running == 0)
        loop_stop(fiber_loop(fiber_self()));
}

static void works_writes_accounts(void *name)
{
    char c = *(char *)name;
    tell(c);
    fiber_late();
    tell((char)(c - 'a' + 'A'));
    fiber_late();
    tell((char)(c - 'a' + '1'));
    end();
}

static void run(void (*fn)(void *), unsigned n)
{
    static char names[] = "abc";
    struct loop *l = loop_new(0);
    story[0] = 0;
    n_running = n;
    for (unsigned i = 0; i < n; i++)
        assert_non_null(fiber_go(l, "test", fn, &names[i]));
    loop_run(l);
    loop_free(l);
}

static void writes_of_a_turn_follow_each_other(void **state)
{
    (void)state;
    run(works_writes_accounts, RUNNERS);
    assert_string_equal(story, "abcABC123");
}

static void a_lone_fiber_does_not_wait(void **state)
{
    (void)state;
    run(works_writes_accounts, 1);
    assert_string_equal(story, "aA1");
}

static void is_cancelled_while_late(void *name)
{
    static struct fiber *victim;
    if (*(char *)name == 'a') {
        victim = fiber_self();
        fiber_late();                           /* the cancel finds it neither parked nor running */
        tell(fiber_is_cancelled(fiber_self()) ? 'y' : 'n');
        tell(fiber_park(clock_now() + NS_PER_S) == -125 ? 'C' : '?');   /* ECANCELED */
    } else {
        fiber_cancel(victim);
        tell('k');
    }
    end();
}

static void a_cancel_reaches_a_late_fiber_at_its_next_park(void **state)
{
    (void)state;
    run(is_cancelled_while_late, 2);
    assert_string_equal(story, "kyC");
}

static void a_plain_thread_goes_on(void **state)
{
    (void)state;
    fiber_late();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_of_a_turn_follow_each_other),
        cmocka_unit_test(a_lone_fiber_does_not_wait),
        cmocka_unit_test(a_cancel_reaches_a_late_fiber_at_its_next_park),
        cmocka_unit_test(a_plain_thread_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
