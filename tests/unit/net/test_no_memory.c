/* tests/unit/net/test_no_memory.c -- the n-th allocation fails, for every n: a code, no crash, no leak.
 *
 * malloc and its kin are replaced in this program, so it does nothing under a sanitizer, which does the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/map.h"
#include "party.h"
#include "wire.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
int main(void)
{
    puts("allocation failures are not injected under a sanitizer");
    return 0;
}
#else

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t k, size_t n);
extern void *__libc_realloc(void *p, size_t n);
extern void __libc_free(void *p);

static _Thread_local bool armed, for_good;      /* this one, or this one and all later ones */
static _Thread_local long until_failure;
static _Thread_local long n_live, n_failed;     /* of the thread under test */

static bool fails_now(void)
{
    if (!armed)
        return false;
    bool now = until_failure == 0 || (for_good && until_failure < 0);
    until_failure--;
    n_failed += now;
    return now;
}

void *malloc(size_t n)
{
    void *p = fails_now() ? NULL : __libc_malloc(n);
    n_live += p != NULL;
    return p;
}

void *calloc(size_t k, size_t n)
{
    void *p = fails_now() ? NULL : __libc_calloc(k, n);
    n_live += p != NULL;
    return p;
}

void *realloc(void *old, size_t n)
{
    void *p = fails_now() ? NULL : __libc_realloc(old, n);
    n_live += p != NULL && old == NULL;
    return p;
}

void free(void *p)
{
    n_live -= p != NULL;
    __libc_free(p);
}

void *mmap(void *at, size_t n, int protection, int flags, int fd, off_t from)
{
    if (fails_now())
        return MAP_FAILED;
    return (void *)syscall(SYS_mmap, at, n, protection, flags, fd, from);
}

/* Runs `what` with the n-th allocation failing, for n = 0, 1, ... until none fails. */
static void sweep(int (*what)(void *), void *arg)
{
    for (int k = 0; k < 2; k++) {
        what(arg);                              /* fills the caches that are meant to stay */
        for (long n = 0;; n++) {
            long before = n_live;
            until_failure = n;
            for_good = k;
            n_failed = 0;
            armed = true;
            int rc = what(arg);
            armed = false;
            if (n_live != before)
                fail_msg("allocation %ld%s: %ld blocks are left", n, k ? " and all later" : "", n_live - before);
            if (n_failed == 0) {
                assert_int_equal(rc, 0);
                break;
            }
            assert_true(n < 10000);
        }
    }
}

static int read_json(void *arg)
{
    const struct buf *b = arg;
    struct arena *a = arena_new();
    if (!a)
        return -ENOMEM;
    struct json j;
    struct json_error e;
    int rc = json_parse(a, buf_view(b), &j, &e);
    if (rc == 0) {
        struct json_edits edits = { .a = a };
        struct buf out = { 0 };
        json_edit_set(&edits, &j, 0, S("model"), S("\"x\""));
        json_edit_remove(&edits, &j, 0, S("k5"));
        json_str(&j, json_get(&j, 0, S("text")), a);
        json_edits_write(&edits, &j, &out);
        rc = out.is_failed || arena_exhausted(a) ? -ENOMEM : 0;
        buf_free(&out);
    }
    arena_free(a);
    return rc;
}

static void documents_without_memory_are_refused(void **state)
{
    (void)state;
    struct buf b = { 0 };
    buf_str(&b, S("{\"text\":\""));
    for (int i = 0; i < 5000; i++)
        buf_str(&b, S("some text\\n"));
    buf_char(&b, '"');
    for (int i = 0; i < 3000; i++)
        buf_printf(&b, ",\"k%d\":[%d]", i, i);
    buf_char(&b, '}');
    sweep(read_json, &b);
    buf_free(&b);
}

static int fill_an_arena(void *arg)
{
    (void)arg;
    struct arena *a = arena_new();
    if (!a)
        return -ENOMEM;
    char *last = NULL;
    for (int i = 0; i < 30; i++) {
        char *p = arena_alloc(a, 3000);         /* never NULL: the reserve */
        for (int k = 0; k < 3000; k++)
            assert_int_equal(p[k], 0);
        memset(p, i, 3000);
        assert_true(!last || last[2999] == i - 1);
        last = p;
        char *big = arena_try(a, 100000);       /* may be NULL */
        if (big)
            memset(big, 1, 100000);
        str s = arena_str(a, S("a\0b"));
        assert_true(s.len == 3 || (s.len == 0 && arena_exhausted(a)));
    }
    struct map m = { .a = a };
    for (uintptr_t i = 0; i < 100; i++) {
        str key = arena_printf(a, "key %d", (int)i);
        map_put(&m, key, (void *)(i + 1));
    }
    int rc = arena_exhausted(a) ? -ENOMEM : 0;
    arena_free(a);
    return rc;
}

static void an_arena_lives_on_its_reserve(void **state)
{
    (void)state;
    sweep(fill_an_arena, NULL);
}

static str message;

static int read_message(void *arg)
{
    (void)arg;
    bool was = armed;
    armed = false;
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) < 0)
        abort();
    for (size_t at = 0; at < message.len; ) {   /* it fits into the socket */
        ssize_t put = write(ends[1], message.ptr + at, message.len - at);
        if (put <= 0)
            abort();
        at += (size_t)put;
    }
    close(ends[1]);
    armed = was;
    struct conn c = { .io.fd = ends[0] };
    struct h1 h;
    struct http_head head;
    str body;
    struct arena *a = arena_new();
    int rc = -ENOMEM;
    if (a) {
        h1_init(&h, &c, H1_REQUESTS);
        rc = h1_read_head(&h, a, 16384, &head, NEVER, false);
        if (rc == 1)
            rc = h1_read_body(&h, a, &head, 1 << 20, &body, NEVER);
        if (rc == 0 && h1_has_kept(&h) != (message.ptr[message.len - 1] == '!'))
            rc = -EBADMSG;                      /* a pipelined byte must not get lost */
    }
    close(ends[0]);
    arena_free(a);
    if (rc != 0 && rc != -ENOMEM)
        fail_msg("rc %d", rc);
    return rc;
}

static void messages_without_memory_are_refused(void **state)
{
    (void)state;
    struct buf b = { 0 };
    buf_str(&b, S("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\nX: "));
    for (int i = 0; i < 9000; i++)
        buf_char(&b, 'x');
    buf_str(&b, S("\r\n\r\n"));
    for (int i = 0; i < 60000; i++)
        buf_char(&b, 'x');
    message = buf_view(&b);
    sweep(read_message, NULL);
    b.len = 0;
    buf_str(&b, S("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"));
    for (int i = 0; i < 50; i++)
        buf_str(&b, S("a\r\n0123456789\r\n14\r\n01234567890123456789\r\n"));
    buf_str(&b, S("0\r\n\r\n!"));
    message = buf_view(&b);
    sweep(read_message, NULL);
    buf_free(&b);
}

static struct party *party;
static int client_rc;

static void borrow_and_put(void *arg)
{
    struct origin o = { .host = S("127.0.0.1"), .port = party->port, .key = 9 };
    struct upstream *u;
    const char *why = NULL, *detail = NULL;
    (void)arg;
    client_rc = client_get(party->l, &o, false, clock_now() + NS_PER_S, &u, &why, &detail);
    if (client_rc == 0)
        client_put(u);                          /* or drops it, when there is no memory for a place in the pool */
    else if (!why || client_rc != -ENOMEM)
        client_rc = -EBADMSG;
    loop_stop(party->l);
}

static int use_the_client(void *arg)
{
    (void)arg;
    struct party p;
    bool was = armed;
    armed = false;
    party_open(&p);
    party = &p;
    client_rc = -ENOMEM;
    armed = was;
    struct fiber *f = fiber_go(p.l, "client", borrow_and_put, NULL);
    if (f)
        loop_run(p.l);
    armed = false;
    client_close_idle(p.l);
    dns_close(p.l);
    close(p.listener);
    loop_free(p.l);
    armed = was;
    if (client_rc != 0 && client_rc != -ENOMEM)
        fail_msg("rc %d", client_rc);
    return client_rc;
}

static void the_client_without_memory_says_so(void **state)
{
    (void)state;
    sweep(use_the_client, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_without_memory_are_refused),
        cmocka_unit_test(an_arena_lives_on_its_reserve),
        cmocka_unit_test(messages_without_memory_are_refused),
        cmocka_unit_test(the_client_without_memory_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
