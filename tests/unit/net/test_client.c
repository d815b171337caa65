/* tests/unit/net/test_client.c -- connections: dialling, pooling, reading and writing at the edge. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "party.h"

/* ---- addresses ---- */

static void endpoints_are_read_as_written(void **state)
{
    (void)state;
    static const struct { const char *text; bool ok; const char *host; uint16_t port; } cases[] = {
        { "h:80", true, "h", 80 },          { "h", true, "h", 7 },          { "[::1]:80", true, "::1", 80 },
        { "[::1]", true, "::1", 7 },        { "1.2.3.4:65535", true, "1.2.3.4", 65535 },
        { "h:0", true, "h", 0 },            { "h:65536", false, "", 0 },    { "h:-1", false, "", 0 },
        { "h:", false, "", 0 },             { ":80", false, "", 0 },        { "", false, "", 0 },
        { "[::1", false, "", 0 },           { "[::1]80", false, "", 0 },    { "[::1]:", false, "", 0 },
        { "h:80x", false, "", 0 },          { "[]:80", false, "", 0 },  
        { "::1:80", false, "", 0 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct endpoint e;
        bool ok = endpoint_parse(str_of(cases[i].text), 7, &e);
        if (ok != cases[i].ok || (ok && (!str_eq(e.host, str_of(cases[i].host)) || e.port != cases[i].port)))
            fail_msg("%s", cases[i].text);
    }
}

static void a_port_in_use_is_named_with_advice(void **state)
{
    (void)state;
    struct err e = { 0 };
    int one = sock_listen(S("127.0.0.1"), 0, false, &e);
    assert_true(one >= 0);
    assert_int_equal(sock_listen(S("127.0.0.1"), sock_port(one), false, &e), -EADDRINUSE);
    assert_non_null(strstr(e.text, "another program uses this port"));
    close(one);
}

/* ---- one connection, two fibers ---- */

struct talk {
    struct party p;
    struct origin origin;
    int rc[16];
    size_t bytes, reads;
    bool reused[4];
    unsigned n_accepted;
    struct upstream *u;
};

static void talk_open(struct talk *t)
{
    memset(t, 0, sizeof *t);
    party_open(&t->p);
    t->origin = (struct origin){ .host = S("127.0.0.1"), .port = t->p.port, .key = origin_key(S("127.0.0.1"), t->p.port, S("")) };
}

static int borrow(struct talk *t, bool fresh, struct upstream **u)
{
    const char *why, *detail;
    return client_get(t->p.l, &t->origin, fresh, clock_now() + 5 * NS_PER_S, u, &why, &detail);
}

enum { BIG = 6 * 1024 * 1024 };

static void send_big(void *arg)
{
    struct talk *t = arg;
    struct upstream *u;
    t->rc[0] = borrow(t, true, &u);
    char *bytes = malloc(BIG);
    for (size_t i = 0; i < BIG; i++)
        bytes[i] = (char)(i * 31 >> 8);
    struct iovec v[3] = { { bytes, 1000 }, { bytes + 1000, 0 }, { bytes + 1000, BIG - 1000 } };
    t->rc[1] = conn_writev(&u->conn, v, 3, NEVER);
    shutdown(u->conn.io.fd, SHUT_WR);
    char c;
    t->rc[2] = (int)conn_read(&u->conn, &c, 1, NEVER);
    client_drop(u);
    free(bytes);
    party_leave(&t->p);
}

static void read_slowly(void *arg)
{
    struct talk *t = arg;
    struct conn c;
    party_accept(&t->p, &c);
    char piece[50000];
    ssize_t n;
    party_nap(20);                              /* the writer meets a full socket */
    while ((n = conn_read(&c, piece, 1 + t->reads * 977 % sizeof piece, NEVER)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            t->rc[3] += piece[i] != (char)((t->bytes + (size_t)i) * 31 >> 8);
        t->bytes += (size_t)n;
        if (t->reads++ % 64 == 0)
            party_nap(1);
    }
    t->rc[4] = (int)n;
    conn_close(&c);
    party_leave(&t->p);
}

static void a_slow_reader_stops_the_writer_and_loses_nothing(void **state)
{
    (void)state;
    struct talk t;
    talk_open(&t);
    party_go(&t.p, send_big, &t);
    party_go(&t.p, read_slowly, &t);
    party_run(&t.p);
    assert_int_equal(t.rc[0], 0);
    assert_int_equal(t.rc[1], 0);
    assert_int_equal(t.rc[2], 0);               /* the end of the stream */
    assert_int_equal(t.rc[3], 0);
    assert_int_equal(t.rc[4], 0);
    assert_int_equal(t.bytes, BIG);
}

static void write_to_nobody(void *arg)
{
    struct talk *t = arg;
    struct upstream *u;
    t->rc[0] = borrow(t, true, &u);
    char *bytes = calloc(1, BIG);
    t->rc[1] = conn_write(&u->conn, (str){ bytes, BIG }, clock_now() + 30 * NS_PER_MS);
    client_drop(u);
    free(bytes);
    party_leave(&t->p);
}

static void a_reader_that_takes_nothing_times_the_writer_out(void **state)
{
    (void)state;
    struct talk t;
    talk_open(&t);
    party_go(&t.p, write_to_nobody, &t);        /* the kernel accepts, nobody reads */
    party_run(&t.p);
    assert_int_equal(t.rc[0], 0);
    assert_int_equal(t.rc[1], -ETIMEDOUT);
}

/* The peer's last bytes and its end arrive together, before anybody has looked. */
static void say_and_leave(void *arg)
{
    struct talk *t = arg;
    struct conn c;
    party_accept(&t->p, &c);
    conn_write(&c, S("last words"), NEVER);
    conn_close(&c);
    party_leave(&t->p);
}

static void listen_late(void *arg)
{
    struct talk *t = arg;
    struct upstream *u;
    char to[4];
    t->rc[0] = borrow(t, true, &u);
    party_nap(30);
    ssize_t n;
    while ((n = conn_read(&u->conn, to, sizeof to, NEVER)) > 0)
        t->bytes += (size_t)n;
    t->rc[1] = (int)n;
    t->rc[2] = (int)conn_read(&u->conn, to, sizeof to, NEVER);      /* the end stays the end */
    client_drop(u);
    party_leave(&t->p);
}

static void data_and_end_together_are_both_read(void **state)
{
    (void)state;
    struct talk t;
    talk_open(&t);
    party_go(&t.p, listen_late, &t);
    party_go(&t.p, say_and_leave, &t);
    party_run(&t.p);
    assert_int_equal(t.bytes, 10);
    assert_int_equal(t.rc[1], 0);
    assert_int_equal(t.rc[2], 0);
}

static void dial_nowhere(void *arg)
{
    struct talk *t = arg;
    struct upstream *u;
    const char *why = NULL, *detail = NULL;
    t->rc[0] = client_get(t->p.l, &t->origin, false, clock_now() + NS_PER_S, &u, &why, &detail);
    t->rc[1] = why && strcmp(why, "connect") == 0;
    struct origin nameless = { .host = S("no-such-host.invalid"), .port = 80, .key = 1 };
    t->rc[2] = client_get(t->p.l, &nameless, false, clock_now() + 20 * NS_PER_S, &u, &why, &detail);
    t->rc[3] = why && strcmp(why, "dns") == 0;
    uint64_t start = clock_now();
    t->rc[4] = client_get(t->p.l, &nameless, false, clock_now() + 20 * NS_PER_S, &u, &why, &detail);
    t->rc[5] = clock_now() - start < 100 * NS_PER_MS;       /* kept for 5 s */
    party_leave(&t->p);
}

static void failures_say_in_which_phase(void **state)
{
    (void)state;
    struct talk t;
    talk_open(&t);
    close(t.p.listener);
    t.p.listener = -1;
    party_go(&t.p, dial_nowhere, &t);
    party_run(&t.p);
    assert_int_equal(t.rc[0], -ECONNREFUSED);
    assert_true(t.rc[1]);
    assert_true(t.rc[2] == -ENOENT || t.rc[2] == -EAGAIN);
    assert_true(t.rc[3] && t.rc[4] == t.rc[2] && t.rc[5]);
}

static void resolve_localhost(void *arg)
{
    struct talk *t = arg;
    struct dns_answer a;
    t->rc[0] = dns_resolve(t->p.l, S("localhost"), clock_now() + 10 * NS_PER_S, &a);
    t->rc[1] = a.n > 0;
    t->rc[2] = dns_resolve(t->p.l, S("localhost"), clock_now() + 10 * NS_PER_S, &a);
    t->rc[3] = a.n > 0;
    t->rc[4] = dns_resolve(t->p.l, S("::1"), 0, &a) == 0 && a.addresses[0].address.ss_family == AF_INET6;
    t->rc[5] = dns_resolve(t->p.l, S(""), NEVER, &a);
    party_leave(&t->p);
}

static void names_are_resolved_off_the_loop_and_kept(void **state)
{
    (void)state;
    struct talk t;
    talk_open(&t);
    party_go(&t.p, resolve_localhost, &t);
    party_run(&t.p);
    assert_int_equal(t.rc[0], 0);
    assert_true(t.rc[1] && t.rc[2] == 0 && t.rc[3] && t.rc[4]);
    assert_int_equal(t.rc[5], -ENOENT);
}

/* ---- the pool ---- */

#define ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

struct service { struct talk *t; const char *answer; bool closes_after; unsigned answers; struct service *next; };

/* Answers `answers` requests on each of the connections it gets, one after the other. */
static void serve(void *arg)
{
    struct service *s = arg;
    struct conn c;
    party_accept(&s->t->p, &c);
    s->t->n_accepted++;
    if (s->next)                                /* takes the connection after this one */
        party_go(&s->t->p, serve, s->next);
    struct h1 in;
    h1_init(&in, &c, H1_REQUESTS);
    struct arena *a = arena_new();
    struct http_head head;
    for (unsigned i = 0; i < s->answers && h1_read_head(&in, a, 8192, &head, NEVER, false) == 1; i++)
        conn_write(&c, str_of(s->answer), NEVER);
    if (!s->closes_after) {
        char byte;
        conn_read(&c, &byte, 1, NEVER);         /* until the client leaves */
    }
    conn_close(&c);
    arena_free(a);
    party_leave(&s->t->p);
}

/* One exchange; the body's text or a code goes to *rc: 0 when it is "ok". */
static void exchange(struct talk *t, unsigned i, bool puts)
{
    struct upstream *u;
    struct arena *a = arena_new();
    struct http_head head;
    str body;
    t->rc[i] = borrow(t, false, &u);
    if (t->rc[i] == 0) {
        t->reused[i] = u->is_reused;
        int rc = conn_write(&u->conn, S("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), NEVER);
        if (rc == 0)
            rc = h1_read_head(&u->in, a, 8192, &head, NEVER, false);
        if (rc == 1)
            rc = h1_read_body(&u->in, a, &head, 8192, &body, NEVER);
        t->rc[i] = rc == 0 && !str_eq(body, S("ok")) ? -EBADMSG : rc;
        if (rc == 0 && puts)
            client_put(u);
        else
            client_drop(u);
    }
    arena_free(a);
}

static void two_exchanges(void *arg)
{
    struct talk *t = arg;
    exchange(t, 0, true);
    exchange(t, 1, true);
    party_nap(20);
    exchange(t, 2, true);
    client_close_idle(t->p.l);
    party_leave(&t->p);
}

static void a_connection_is_used_again(void **state)
{
    (void)state;
    struct talk t;
    talk_open(&t);
    struct service s = { &t, ANSWER, false, 9, NULL };
    party_go(&t.p, two_exchanges, &t);
    party_go(&t.p, serve, &s);
    party_run(&t.p);
    assert_true(t.rc[0] == 0 && t.rc[1] == 0 && t.rc[2] == 0);
    assert_true(!t.reused[0] && t.reused[1] && t.reused[2]);
    assert_int_equal(t.n_accepted, 1);
}

static void a_connection_closed_while_idle_is_not_handed_out(void **state)
{
    (void)state;
    struct talk t;
    talk_open(&t);
    struct service s2 = { &t, ANSWER, false, 9, NULL }, s = { &t, ANSWER, true, 2, &s2 };
    party_go(&t.p, two_exchanges, &t);
    party_go(&t.p, serve, &s);                  /* closes after the second answer */
    party_run(&t.p);
    assert_true(t.rc[0] == 0 && t.rc[1] == 0 && t.rc[2] == 0);
    assert_true(t.reused[1] && !t.reused[2]);
    assert_int_equal(t.n_accepted, 2);
}

/* "HTTP/1.1 500 ..." behind the answer would otherwise be taken for the next one's. */
static void stray_bytes_behind_an_answer_are_not_the_next_answer(void **state)
{
    (void)state;
    static const char *const strays[] = {
        ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstrays", ANSWER "\r\n", ANSWER "x",
    };
    for (size_t i = 0; i < COUNT_OF(strays); i++) {
        struct talk t;
        talk_open(&t);
        struct service s3 = { &t, strays[i], false, 9, NULL }, s2 = s3, s = s3;
        s.next = &s2;
        s2.next = &s3;
        party_go(&t.p, serve, &s);
        party_go(&t.p, two_exchanges, &t);
        party_run(&t.p);
        assert_true(t.rc[0] == 0 && t.rc[1] == 0 && t.rc[2] == 0);
        assert_true(!t.reused[1] && !t.reused[2]);
    }
}

/* The stray bytes are in the socket already but were not read with the answer. */
static void read_exactly_then_put(void *arg)
{
    struct talk *t = arg;
    struct upstream *u;
    char answer[sizeof ANSWER - 1];
    size_t n = 0;
    t->rc[0] = borrow(t, false, &u);
    conn_write(&u->conn, S("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), NEVER);
    party_nap(30);
    while (n < sizeof answer) {
        ssize_t got = conn_read(&u->conn, answer + n, sizeof answer - n, NEVER);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    t->rc[1] = n == sizeof answer;
    client_put(u);
    exchange(t, 2, true);
    client_close_idle(t->p.l);
    party_leave(&t->p);
}

static void stray_bytes_still_in_the_socket_are_not_the_next_answer(void **state)
{
    (void)state;
    struct talk t;
    talk_open(&t);
    struct service s2 = { &t, ANSWER "x", false, 9, NULL }, s = s2;
    s.next = &s2;
    party_go(&t.p, serve, &s);
    party_go(&t.p, read_exactly_then_put, &t);
    party_run(&t.p);
    assert_true(t.rc[1] && t.rc[2] == 0 && !t.reused[2]);
}

static void put_after_the_end(void *arg)
{
    struct talk *t = arg;
    struct upstream *u;
    struct arena *a = arena_new();
    struct http_head head;
    str body;
    t->rc[0] = borrow(t, false, &u);
    conn_write(&u->conn, S("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), NEVER);
    t->rc[1] = h1_read_head(&u->in, a, 8192, &head, NEVER, false);
    t->rc[2] = h1_read_body(&u->in, a, &head, 8192, &body, NEVER);
    t->rc[3] = str_eq(body, S("until close"));
    client_put(u);
    t->rc[4] = borrow(t, false, &u);
    t->reused[0] = u->is_reused;
    client_drop(u);
    arena_free(a);
    party_leave(&t->p);
}

static void an_answer_that_ended_with_its_connection_leaves_none_in_the_pool(void **state)
{
    (void)state;
    struct talk t;
    talk_open(&t);
    struct service s = { &t, "HTTP/1.1 200 OK\r\n\r\nuntil close", true, 1, NULL };
    party_go(&t.p, serve, &s);
    party_go(&t.p, put_after_the_end, &t);
    party_run(&t.p);
    assert_true(t.rc[1] == 1 && t.rc[2] == 0 && t.rc[3] && t.rc[4] == 0);
    assert_false(t.reused[0]);
}

static void expire_soon(void *arg)
{
    struct talk *t = arg;
    struct upstream *u;
    t->rc[0] = borrow(t, false, &u);
    client_put(u);
    timer_arm(t->p.l, &u->idle, loop_now(t->p.l) + 10 * NS_PER_MS);     /* instead of 55 s */
    party_nap(60);
    t->rc[1] = borrow(t, false, &u);
    t->reused[1] = u->is_reused;
    client_put(u);
    t->rc[2] = borrow(t, true, &u);             /* fresh: never an idle one */
    t->reused[2] = u->is_reused;
    client_drop(u);
    party_leave(&t->p);
}

static void an_idle_connection_expires(void **state)
{
    (void)state;
    struct talk t;
    talk_open(&t);
    party_go(&t.p, expire_soon, &t);
    party_run(&t.p);
    assert_true(t.rc[0] == 0 && t.rc[1] == 0 && t.rc[2] == 0);
    assert_true(!t.reused[1] && !t.reused[2]);
}

static void wait_for_an_answer(void *arg)
{
    struct talk *t = arg;
    t->rc[0] = borrow(t, false, &t->u);
    char c;
    t->rc[1] = (int)conn_read(&t->u->conn, &c, 1, NEVER);
    party_leave(&t->p);
}

static void drop_it(void *arg)
{
    struct talk *t = arg;
    party_nap(20);
    client_drop(t->u);
    party_leave(&t->p);
}

static void dropping_a_connection_ends_the_exchange_on_it(void **state)
{
    (void)state;
    struct talk t;
    talk_open(&t);
    party_go(&t.p, wait_for_an_answer, &t);
    party_go(&t.p, drop_it, &t);
    party_run(&t.p);
    assert_int_equal(t.rc[1], -ECANCELED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endpoints_are_read_as_written),
        cmocka_unit_test(a_port_in_use_is_named_with_advice),
        cmocka_unit_test(a_slow_reader_stops_the_writer_and_loses_nothing),
        cmocka_unit_test(a_reader_that_takes_nothing_times_the_writer_out),
        cmocka_unit_test(data_and_end_together_are_both_read),
        cmocka_unit_test(failures_say_in_which_phase),
        cmocka_unit_test(names_are_resolved_off_the_loop_and_kept),
        cmocka_unit_test(a_connection_is_used_again),
        cmocka_unit_test(a_connection_closed_while_idle_is_not_handed_out),
        cmocka_unit_test(stray_bytes_behind_an_answer_are_not_the_next_answer),
        cmocka_unit_test(stray_bytes_still_in_the_socket_are_not_the_next_answer),
        cmocka_unit_test(an_answer_that_ended_with_its_connection_leaves_none_in_the_pool),
        cmocka_unit_test(an_idle_connection_expires),
        cmocka_unit_test(dropping_a_connection_ends_the_exchange_on_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
