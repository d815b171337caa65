/* tests/unit/base/test_arena.c -- arenas, and what lives in them: lists, maps, errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/map.h"
#include "base/rand.h"

struct piece { unsigned char *p; size_t n; unsigned char fill; };

/* Random sizes, each filled with its own byte: nothing overlaps, all is zeroed and aligned. */
static void use_an_arena(uint64_t seed)
{
    enum { N = 600 };
    static _Thread_local struct piece pieces[N];
    struct arena *a = arena_new();
    assert_non_null(a);
    for (int i = 0; i < N; i++) {
        size_t n = 1 + rand_below(&seed, rand_below(&seed, 20) ? 300 : 4096);
        bool is_large = rand_below(&seed, 40) == 0;
        if (is_large)
            n = 50000;
        unsigned char *p = is_large ? memset(arena_try(a, n), 0, n) : arena_alloc(a, n);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t k = 0; k < n; k++)
            if (p[k])
                abort();
        memset(p, i, n);
        pieces[i] = (struct piece){ p, n, (unsigned char)i };
    }
    for (int i = 0; i < N; i++)
        for (size_t k = 0; k < pieces[i].n; k++)
            if (pieces[i].p[k] != pieces[i].fill)
                abort();
    assert_false(arena_exhausted(a));
    assert_true(arena_bytes(a) > 16 * 1024);
    arena_free(a);
}

static void pieces_of_an_arena_are_zeroed_aligned_and_apart(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 60; seed++)
        use_an_arena(seed);
    arena_free(NULL);
}

static void *use_many_arenas(void *seed)
{
    for (uint64_t i = 0; i < 20; i++)
        use_an_arena((uint64_t)(uintptr_t)seed + i);
    return NULL;
}

static void threads_that_end_leave_no_memory_behind(void **state)
{
    (void)state;                                /* LeakSanitizer is the judge */
    for (int round = 0; round < 3; round++) {
        pthread_t t[4];
        for (uintptr_t i = 0; i < 4; i++)
            pthread_create(&t[i], NULL, use_many_arenas, (void *)(i * 100));
        for (int i = 0; i < 4; i++)
            pthread_join(t[i], NULL);
    }
}

static char order[8];
static void note(void *arg) { strcat(order, arg); }

static void what_is_deferred_runs_last_first(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    char one[] = "1", two[] = "2", three[] = "3";
    arena_defer(a, note, one);
    arena_defer(a, note, two);
    arena_defer(a, note, three);
    arena_free(a);
    assert_string_equal(order, "321");
}

static void texts_are_copied_with_their_zeros(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    str s = arena_str(a, S("a\0b"));
    assert_true(str_eq(s, S("a\0b")) && s.ptr[3] == 0);
    assert_string_equal(arena_cstr(a, (str){ 0 }), "");
    for (int n = 0; n < 2000; n += 7) {
        str p = arena_printf(a, "%*d", n, 5);
        assert_int_equal(p.len, n > 1 ? n : 1);
        assert_true(p.ptr[p.len - 1] == '5' && p.ptr[p.len] == 0);
    }
    assert_null(arena_try(a, SIZE_MAX - 100));
    assert_true(arena_exhausted(a));
    assert_true(str_eq(arena_str(a, S("c\0d")), S("c\0d")));     /* that one had room */
    arena_free(a);
}

static void lists_grow_and_keep_their_items(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct item { uint64_t x, zero; } *items = NULL;
    size_t n = 0;
    for (uint64_t i = 0; i < 5000; i++) {
        struct item *one = PUSH(a, items, n);
        assert_true(one->x == 0 && one->zero == 0);
        one->x = i;
    }
    assert_int_equal(n, 5000);
    for (uint64_t i = 0; i < n; i++)
        assert_true(items[i].x == i && items[i].zero == 0);
    arena_free(a);
}

static void a_map_finds_what_was_put_and_keeps_the_order(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct map m = { .a = a };
    assert_null(map_get(&m, S("x")));
    for (uintptr_t i = 0; i < 3000; i++)
        assert_true(map_put(&m, arena_printf(a, "key-%u", (unsigned)i), (void *)(i + 1)));
    for (uintptr_t i = 0; i < 3000; i += 3)
        assert_false(map_put(&m, arena_printf(a, "key-%u", (unsigned)i), (void *)(i + 7)));
    assert_int_equal(m.n, 3000);
    for (uintptr_t i = 0; i < 3000; i++) {
        str key = arena_printf(a, "key-%u", (unsigned)i);
        assert_ptr_equal(map_get(&m, key), (void *)(i + (i % 3 ? 1 : 7)));
        assert_true(str_eq(m.entries[i].key, key));
    }
    assert_false(map_has(&m, S("key-3000")));
    assert_true(map_put(&m, S(""), NULL) && map_has(&m, S("")));
    arena_free(a);
}

static void the_first_error_is_kept(void **state)
{
    (void)state;
    struct err e = { 0 };
    assert_int_equal(err_at(&e, (struct place){ "f.yaml", 3, 4 }, "first %d", 1), -1);
    assert_int_equal(err_set(&e, "second"), -1);
    assert_int_equal(err_set(NULL, "nobody listens"), -1);
    assert_string_equal(e.text, "first 1");
    assert_int_equal(e.at.line, 3);
    struct arena *a = arena_new();
    struct findings f = { .a = a };
    for (int i = 0; i < 20; i++)
        finding_add(&f, "odd", i % 2 ? SEVERITY_ERROR : SEVERITY_INFO, e.at, S("a.b"), S("hint"), "number %d", i);
    finding_add(NULL, "odd", SEVERITY_ERROR, e.at, S(""), S(""), "nobody listens");
    assert_true(f.n == 20 && f.n_by_severity[SEVERITY_ERROR] == 10 && str_eq(f.items[19].text, S("number 19")));
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_of_an_arena_are_zeroed_aligned_and_apart),
        cmocka_unit_test(threads_that_end_leave_no_memory_behind),
        cmocka_unit_test(what_is_deferred_runs_last_first),
        cmocka_unit_test(texts_are_copied_with_their_zeros),
        cmocka_unit_test(lists_grow_and_keep_their_items),
        cmocka_unit_test(a_map_finds_what_was_put_and_keeps_the_order),
        cmocka_unit_test(the_first_error_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
