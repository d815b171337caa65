/* A gang runs every part once, however parts, sizes and calls are mixed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "neural/gang.h"

enum { PARTS_MAX = 200 };

struct tally {
    _Atomic unsigned runs[PARTS_MAX];
    unsigned plain[PARTS_MAX];                      /* not atomic: gang_run orders the parts' writes before its return */
    unsigned call;
};

static void count(void *arg, size_t i)
{
    struct tally *t = arg;
    atomic_fetch_add(&t->runs[i], 1);
    t->plain[i] = t->call;
}

static void count_slowly(void *arg, size_t i)
{
    count(arg, i);
    if (i % 3 == 0)
        usleep(200);
}

static void run_calls(struct gang *g, unsigned calls, void (*part)(void *, size_t), useconds_t pause)
{
    static struct tally t;
    memset(&t, 0, sizeof t);
    unsigned expected[PARTS_MAX] = { 0 };
    for (unsigned c = 0; c < calls; c++) {
        size_t n = c * 7 % PARTS_MAX;
        t.call = c;
        gang_run(g, n, part, &t);
        for (size_t i = 0; i < n; i++) {
            expected[i]++;
            assert_int_equal(atomic_load(&t.runs[i]), expected[i]);
            assert_int_equal(t.plain[i], c);
        }
        if (pause && c % 8 == 0)
            usleep(pause);                          /* helpers fall asleep */
    }
    for (size_t i = 0; i < PARTS_MAX; i++)
        assert_int_equal(atomic_load(&t.runs[i]), expected[i]);
}

static void every_part_runs_once(void **state)
{
    (void)state;
    static const unsigned sizes[] = { 1, 2, 3, 8 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct gang *g = gang_new(sizes[i]);
        assert_non_null(g);
        assert_int_equal(gang_size(g), sizes[i]);
        run_calls(g, 2000, count, 0);
        run_calls(g, 60, count_slowly, 0);
        run_calls(g, 200, count, 300);
        gang_free(g);
    }
}

static void no_gang_is_a_gang_of_one(void **state)
{
    (void)state;
    assert_int_equal(gang_size(NULL), 1);
    run_calls(NULL, 100, count, 0);
    gang_free(NULL);
}

static void gangs_may_come_and_go(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        struct gang *g = gang_new(3);
        assert_non_null(g);
        if (i % 2)
            run_calls(g, 5, count, 0);
        gang_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_part_runs_once),
        cmocka_unit_test(no_gang_is_a_gang_of_one),
        cmocka_unit_test(gangs_may_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
