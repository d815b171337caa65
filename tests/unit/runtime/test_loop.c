/* tests/unit/runtime/test_loop.c -- timers, letters, descriptors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/rand.h"
#include "runtime/loop.h"

static void stop_loop(void *l)
{
    loop_stop(l);
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

/* ---- timers ---- */

struct alarm {
    struct timer timer;
    struct loop *l;
    uint64_t due, fired_at;
    unsigned n_fired;
    struct alarm *stops, *arms;     /* what it does when it fires */
    unsigned *left;
};

static void ring(struct timer *t)
{
    struct alarm *a = (struct alarm *)(void *)t;
    a->n_fired++;
    a->fired_at = clock_now();
    if (a->stops)
        timer_stop(&a->stops->timer);
    if (a->arms)
        timer_arm(a->l, &a->arms->timer, a->arms->due);
    if (a->left && --*a->left == 0)
        loop_stop(a->l);
}

static void timers_are_never_early_and_hardly_late(void **state)
{
    (void)state;
    enum { N = 2000 };
    struct alarm *all = calloc(N, sizeof *all);
    struct loop *l = loop_new(0);
    uint64_t seed = 5, now = clock_now();
    unsigned left = N;
    for (int i = 0; i < N; i++) {
        all[i] = (struct alarm){ .timer.fire = ring, .l = l, .left = &left, .due = now + rand_below(&seed, 400 * NS_PER_MS) };
        timer_arm(l, &all[i].timer, now + rand_below(&seed, 400 * NS_PER_MS));
        timer_arm(l, &all[i].timer, all[i].due);        /* moves it */
    }
    loop_run(l);
    for (int i = 0; i < N; i++) {
        assert_int_equal(all[i].n_fired, 1);
        assert_true(all[i].fired_at >= all[i].due);
        assert_true(all[i].fired_at < all[i].due + NS_PER_S);   /* a busy machine */
    }
    loop_free(l);
    free(all);
}

static void a_timer_beyond_a_round_of_the_wheel_waits_its_time(void **state)
{
    (void)state;
    struct loop *l = loop_new(0);
    unsigned left = 2;
    uint64_t now = clock_now();
    struct alarm far = { .timer.fire = ring, .l = l, .left = &left, .due = now + 8300 * NS_PER_MS };  /* a round is 8.2 s */
    struct alarm near = { .timer.fire = ring, .l = l, .left = &left, .due = now + 108 * NS_PER_MS };  /* the same slot */
    timer_arm(l, &far.timer, far.due);
    timer_arm(l, &near.timer, near.due);
    loop_run(l);
    assert_true(near.n_fired == 1 && near.fired_at >= near.due && near.fired_at < near.due + 2 * NS_PER_S);
    assert_true(far.n_fired == 1 && far.fired_at >= far.due && far.fired_at < far.due + 2 * NS_PER_S);
    loop_free(l);
}

static void a_firing_timer_may_stop_and_arm_others(void **state)
{
    (void)state;
    struct loop *l = loop_new(0);
    unsigned left = 2;
    uint64_t due = clock_now() + 10 * NS_PER_MS;
    struct alarm victim = { .timer.fire = ring, .l = l, .due = due };
    struct alarm again = { .timer.fire = ring, .l = l, .left = &left, .due = due };        /* armed with a due time past */
    struct alarm first = { .timer.fire = ring, .l = l, .left = &left, .due = due, .stops = &victim, .arms = &again };
    struct alarm idle = { .timer.fire = ring, .l = l, .due = due };
    timer_arm(l, &victim.timer, due);           /* the list is last in, first out: `first` fires before it */
    timer_arm(l, &again.timer, due + NS_PER_S); /* moved by `first` */
    timer_arm(l, &first.timer, due);
    timer_arm(l, &idle.timer, due);
    timer_stop(&idle.timer);
    timer_stop(&idle.timer);
    loop_run(l);
    assert_int_equal(first.n_fired, 1);
    assert_int_equal(victim.n_fired, 0);
    assert_int_equal(again.n_fired, 1);
    assert_int_equal(idle.n_fired, 0);
    loop_free(l);
}

/* A random program of arms, moves and stops against a plain list: who should fire, fires, and nobody else. */
struct chaos { struct timer timer; struct loop *l; uint64_t due; bool is_armed, is_wrong; unsigned n_fired; };

static void chaos_fire(struct timer *t)
{
    struct chaos *c = (struct chaos *)(void *)t;
    c->is_wrong |= !c->is_armed || clock_now() < c->due;
    c->is_armed = false;
    c->n_fired++;
}

static void a_random_program_of_timers_holds(void **state)
{
    (void)state;
    enum { N = 500 };
    struct chaos *all = calloc(N, sizeof *all);
    struct loop *l = loop_new(0);
    uint64_t seed = 6, start = clock_now();
    for (int i = 0; i < 20000; i++) {
        struct chaos *c = &all[rand_below(&seed, N)];
        c->timer.fire = chaos_fire;
        c->is_armed = rand_below(&seed, 3) != 0;
        c->due = start + rand_below(&seed, 300 * NS_PER_MS);
        if (c->is_armed)
            timer_arm(l, &c->timer, c->due);
        else
            timer_stop(&c->timer);
    }
    unsigned left = 1;
    struct alarm end = { .timer.fire = ring, .l = l, .left = &left };
    timer_arm(l, &end.timer, start + 350 * NS_PER_MS);
    loop_run(l);
    for (int i = 0; i < N; i++)
        assert_true(!all[i].is_wrong && !all[i].is_armed);
    loop_free(l);
    free(all);
}

/* ---- letters ---- */

enum { SENDERS = 4, LETTERS = 20000 };
struct post_office { struct loop *l; unsigned next[SENDERS]; unsigned n; bool out_of_order; };
struct letter_of { struct post_office *o; unsigned sender, number; };

static void receive(void *arg)
{
    struct letter_of *m = arg;
    m->o->out_of_order |= m->o->next[m->sender]++ != m->number;
    if (++m->o->n == SENDERS * LETTERS)
        loop_stop(m->o->l);
    free(m);
}

struct sender { struct post_office *o; unsigned index; };
static void *send_letters(void *arg)
{
    struct sender *s = arg;
    for (unsigned i = 0; i < LETTERS; i++) {
        struct letter_of *m = malloc(sizeof *m);
        *m = (struct letter_of){ s->o, s->index, i };
        loop_post(s->o->l, receive, m);
    }
    return NULL;
}

static void letters_from_other_threads_all_come_and_in_order(void **state)
{
    (void)state;
    struct post_office o = { .l = loop_new(0) };
    pthread_t threads[SENDERS];
    struct sender s[SENDERS];
    for (unsigned i = 0; i < SENDERS; i++) {
        s[i] = (struct sender){ &o, i };
        pthread_create(&threads[i], NULL, send_letters, &s[i]);
    }
    loop_run(o.l);
    for (unsigned i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(o.n, SENDERS * LETTERS);
    assert_false(o.out_of_order);
    loop_free(o.l);
}

static void *stop_from_outside(void *l)
{
    usleep(20000);
    loop_stop(l);
    return NULL;
}

static void a_sleeping_loop_is_stopped_from_outside(void **state)
{
    (void)state;
    struct loop *l = loop_new(3);
    pthread_t t;
    pthread_create(&t, NULL, stop_from_outside, l);
    loop_run(l);
    pthread_join(t, NULL);
    assert_int_equal(loop_index(l), 3);
    assert_null(loop_self());
    loop_free(l);
}

static void what_dies_after_the_last_turn_is_released(void **state)
{
    (void)state;
    struct loop *l = loop_new(0);
    loop_post(l, stop_loop, l);
    loop_run(l);
    loop_free_later(l, malloc(100), free);      /* LeakSanitizer is the judge */
    loop_free(l);
}

/* ---- descriptors ---- */

struct pair {
    struct loop *l;
    struct io io;
    int fd, other;
    unsigned n_running;
    int rc[8];
    size_t bytes;
    struct fiber *reader;
};

static void pair_open(struct pair *p)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    *p = (struct pair){ .l = loop_new(0), .other = ends[1], .fd = ends[0] };
    assert_int_equal(io_open(p->l, &p->io, ends[0]), 0);
}

static void pair_go(struct pair *p, void (*fn)(void *))
{
    p->n_running++;
    struct fiber *f = fiber_go(p->l, "pair", fn, p);
    if (!p->reader)
        p->reader = f;
}

static void pair_leave(struct pair *p)
{
    if (--p->n_running == 0)
        loop_stop(p->l);
}

static void pair_run(struct pair *p)
{
    loop_run(p->l);
    if (p->io.fd >= 0)
        io_close(&p->io);
    if (p->other >= 0)
        close(p->other);
    loop_free(p->l);
}

static void wait_for_input(void *arg)
{
    struct pair *p = arg;
    p->rc[0] = io_wait(&p->io, IO_IN, clock_now() + 10 * NS_PER_MS);
    p->rc[1] = io_wait(&p->io, IO_OUT, NEVER);
    p->rc[2] = io_wait(&p->io, IO_IN, clock_now() + 5 * NS_PER_S);
    pair_leave(p);
}

static void write_later(void *arg)
{
    struct pair *p = arg;
    fiber_sleep(clock_now() + 40 * NS_PER_MS);
    p->bytes = (size_t)write(p->other, "x", 1);
    pair_leave(p);
}

static void a_wait_ends_at_its_deadline_or_with_data(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p);
    pair_go(&p, wait_for_input);
    pair_go(&p, write_later);
    pair_run(&p);
    assert_int_equal(p.rc[0], -ETIMEDOUT);
    assert_int_equal(p.rc[1], IO_OUT);
    assert_int_equal(p.rc[2], IO_IN);
}

static void wait_for_ever(void *arg)
{
    struct pair *p = arg;
    p->rc[0] = io_wait(&p->io, IO_IN, NEVER);
    p->rc[1] = fiber_is_cancelled(fiber_self());
    pair_leave(p);
}

static void wait_shielded(void *arg)
{
    struct pair *p = arg;
    fiber_cancel(fiber_self());
    fiber_shield(true);
    p->rc[0] = io_wait(&p->io, IO_IN, clock_now() + 20 * NS_PER_S);
    pair_leave(p);
}

static void close_it(void *arg)
{
    struct pair *p = arg;
    yield();
    yield();
    io_close(&p->io);
    pair_leave(p);
}

static void closing_a_descriptor_ends_the_wait_on_it(void **state)
{
    (void)state;
    void (*const waiters[])(void *) = { wait_for_ever, wait_shielded };
    for (int i = 0; i < 2; i++) {
        struct pair p;
        uint64_t start = clock_now();
        pair_open(&p);
        pair_go(&p, waiters[i]);
        pair_go(&p, close_it);
        pair_run(&p);
        assert_int_equal(p.rc[0], -ECANCELED);
        assert_true(clock_now() - start < 5 * NS_PER_S);
    }
}

struct heap_io { struct io io; struct pair *p; };

static void wait_on_what_goes_away(void *arg)
{
    struct heap_io *h = arg;
    struct pair *p = h->p;
    p->rc[0] = io_wait(&h->io, IO_IN, NEVER);
    pair_leave(p);
}

static void close_and_free(void *arg)
{
    struct heap_io *h = arg;
    struct pair *p = h->p;
    yield();
    yield();
    io_close(&h->io);
    loop_free_later(p->l, h, free);
    pair_leave(p);
}

/* client_drop does this in the middle of an exchange. */
static void a_connection_dropped_by_another_fiber_is_not_touched_by_its_waiter(void **state)
{
    (void)state;
    struct pair p;
    int ends[2];
    pair_open(&p);
    struct heap_io *h = calloc(1, sizeof *h);
    h->p = &p;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    io_open(p.l, &h->io, ends[0]);
    p.n_running = 2;
    fiber_go(p.l, "waiter", wait_on_what_goes_away, h);
    fiber_go(p.l, "closer", close_and_free, h);
    pair_run(&p);
    assert_int_equal(p.rc[0], -ECANCELED);
    close(ends[1]);
}

static void sleep_as_victim(void *arg)
{
    struct pair *p = arg;
    p->io.victim = fiber_self();
    p->rc[0] = fiber_sleep(clock_now() + 20 * NS_PER_S);
    p->rc[1] = fiber_park(NEVER);
    pair_leave(p);
}

static void hang_up(void *arg)
{
    struct pair *p = arg;
    yield();
    (void)!write(p->other, "late data", 9);
    yield();
    p->rc[2] = fiber_is_cancelled(p->reader);   /* data alone cancels nobody */
    close(p->other);
    p->other = -1;
    pair_leave(p);
}

static void a_peer_that_hangs_up_cancels_the_victim(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p);
    pair_go(&p, sleep_as_victim);
    pair_go(&p, hang_up);
    pair_run(&p);
    assert_int_equal(p.rc[0], -ECANCELED);
    assert_int_equal(p.rc[1], -ECANCELED);
    assert_false(p.rc[2]);
}

static void on_ready_count(struct io *io)
{
    struct pair *p = (struct pair *)(void *)((char *)io - offsetof(struct pair, io));
    p->rc[3]++;
}

static void write_twice(void *arg)
{
    struct pair *p = arg;
    p->io.on_ready = on_ready_count;
    yield();
    yield();
    p->rc[4] = p->rc[3];                        /* the first report of "writable" is not news */
    (void)!write(p->other, "x", 1);
    yield();
    yield();
    p->rc[5] = p->rc[3];
    (void)!write(p->other, "x", 1);
    yield();
    yield();
    pair_leave(p);
}

static void an_idle_descriptor_reports_each_arrival(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p);
    pair_go(&p, write_twice);
    pair_run(&p);
    assert_int_equal(p.rc[4], 0);
    assert_int_equal(p.rc[5], 1);
    assert_int_equal(p.rc[3], 2);
}

static void on_a_plain_thread_the_same_waits_poll(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    struct io io = { .fd = ends[0] };
    uint64_t start = clock_now();
    assert_int_equal(io_wait(&io, IO_IN, start + 30 * NS_PER_MS), -ETIMEDOUT);
    assert_true(clock_now() - start >= 30 * NS_PER_MS);
    assert_int_equal(io_wait(&io, IO_OUT, NEVER), IO_OUT);
    (void)!write(ends[1], "x", 1);
    assert_int_equal(io_wait(&io, IO_IN, NEVER), IO_IN);
    close(ends[1]);
    assert_int_equal(io_wait(&io, IO_IN, NEVER), IO_IN);
    close(ends[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_are_never_early_and_hardly_late),
        cmocka_unit_test(a_timer_beyond_a_round_of_the_wheel_waits_its_time),
        cmocka_unit_test(a_firing_timer_may_stop_and_arm_others),
        cmocka_unit_test(a_random_program_of_timers_holds),
        cmocka_unit_test(letters_from_other_threads_all_come_and_in_order),
        cmocka_unit_test(a_sleeping_loop_is_stopped_from_outside),
        cmocka_unit_test(what_dies_after_the_last_turn_is_released),
        cmocka_unit_test(a_wait_ends_at_its_deadline_or_with_data),
        cmocka_unit_test(closing_a_descriptor_ends_the_wait_on_it),
        cmocka_unit_test(a_connection_dropped_by_another_fiber_is_not_touched_by_its_waiter),
        cmocka_unit_test(a_peer_that_hangs_up_cancels_the_victim),
        cmocka_unit_test(an_idle_descriptor_reports_each_arrival),
        cmocka_unit_test(on_a_plain_thread_the_same_waits_poll),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
