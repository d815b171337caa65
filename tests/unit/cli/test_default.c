/* tests/unit/cli/test_default.c -- the embedded configuration, whoever answers. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "front/default.h"
#include "front/explain.h"
#include "net/conn.h"
#include "pipeline/snap.h"

struct loaded { struct arena *a; struct snap *s; };

static struct loaded load(void)
{
    struct loaded l = { .a = arena_new() };
    struct buf text = { 0 };
    default_config_write(&text);
    struct findings f = { .a = l.a };
    l.s = snap_build(buf_view(&text), "default", false, &f);
    for (size_t i = 0; i < f.n; i++)
        print_error("%u:%u " STR_FMT "\n", f.items[i].at.line, f.items[i].at.col, STR_ARG(f.items[i].text));
    assert_non_null(l.s);
    assert_int_equal(f.n_by_severity[SEVERITY_WARNING], 0);
    buf_free(&text);
    return l;
}

static void unload(struct loaded l)
{
    snap_free(l.s);
    arena_free(l.a);
}

static void clear(void)
{
    static const char *const names[] = { "OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "SIGNALBOX_FAST_MODEL",
                                         "SIGNALBOX_BALANCED_MODEL", "SIGNALBOX_STRONG_MODEL", "SIGNALBOX_LONG_MODEL" };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        unsetenv(names[i]);
}

static const struct backend *backend(struct loaded l, const char *model)
{
    const struct model *m = map_get(&l.s->models, str_of(model));
    assert_non_null(m);
    assert_int_equal(m->n_backends, 1);
    return &m->backends[0];
}

static void a_key_makes_the_public_api_answer(void **state)
{
    (void)state;
    clear();
    setenv("OPENAI_API_KEY", "sk-$test", 1);
    setenv("SIGNALBOX_STRONG_MODEL", "some$model", 1);
    struct loaded l = load();
    assert_true(str_eq(backend(l, "fast")->origin.host, S("api.openai.com")));
    assert_true(str_eq(backend(l, "fast")->auth_line, S("authorization: Bearer sk-$test\r\n")));
    assert_true(str_eq(backend(l, "strong")->upstream_model, S("some$model")));
    assert_non_null(map_get(&l.s->models, S("some$model")));
    assert_non_null(map_get(&l.s->models, S("text-embedding-3-small")));
    assert_ptr_equal(backend(l, EXPLAIN_MODEL)->provider, &provider_explain);
    assert_true(((const struct model *)map_get(&l.s->models, S("fast")))->conf->pricing.is_set);
    unload(l);
}

/* ---- a server on this machine ---- */

struct server { int fd; const char *body; pthread_t thread; };

static void *serve(void *arg)
{
    struct server *s = arg;
    int fd;
    while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
        char in[4096], out[4096];
        int n = snprintf(out, sizeof out, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                         "content-length: %zu\r\n\r\n%s", strlen(s->body), s->body);
        if (read(fd, in, sizeof in) > 0)
            send(fd, out, (size_t)n, MSG_NOSIGNAL);     /* who asked may not have waited */
        close(fd);
    }
    return NULL;
}

static struct server server_start(const char *body)
{
    struct server s = { .body = body };
    struct err e = { 0 };
    s.fd = sock_listen(S("127.0.0.1"), 0, false, &e);
    assert_true(s.fd >= 0);
    fcntl(s.fd, F_SETFL, 0);                    /* our accept waits; else the thread could end before anybody came */
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u/v1/", sock_port(s.fd));
    setenv("OPENAI_BASE_URL", url, 1);
    return s;
}

static void server_end(struct server *s)
{
    shutdown(s->fd, SHUT_RDWR);                 /* ends the accept */
    pthread_join(s->thread, NULL);
    close(s->fd);
}

/* A busy machine may take longer than the probe waits: then the guess is taken, and we ask again. */
static struct loaded load_once_asked(void)
{
    for (int i = 0; i < 50; i++) {
        struct loaded l = load();
        if (!str_eq(backend(l, "fast")->upstream_model, S("gpt-4.1-nano")))
            return l;
        unload(l);
    }
    return load();
}

static void a_plain_server_is_asked_what_it_has(void **state)
{
    (void)state;
    clear();
    struct server s = server_start("{\"object\":\"list\",\"data\":[{\"id\":\"nomic-embed-text\"},{\"id\":\"qwen2.5:7b\"},"
                                   "{\"id\":\"Mixtral-8x22B-Instruct\"},{\"id\":\"smollm:135m\"},{\"id\":\"llama3.2:3b-q4\"}]}");
    pthread_create(&s.thread, NULL, serve, &s);
    struct loaded l = load_once_asked();
    assert_true(str_eq(backend(l, "fast")->upstream_model, S("smollm:135m")));
    assert_true(str_eq(backend(l, "balanced")->upstream_model, S("qwen2.5:7b")));
    assert_true(str_eq(backend(l, "strong")->upstream_model, S("Mixtral-8x22B-Instruct")));
    assert_true(str_eq(backend(l, "strong")->base_path, S("/v1")));
    assert_true(backend(l, "strong")->auth_line.len == 0);
    assert_non_null(map_get(&l.s->models, S("qwen2.5:7b")));
    server_end(&s);
    unload(l);
}

static void a_silent_server_does_not_hold_us_up(void **state)
{
    (void)state;
    clear();
    struct server s = server_start("");         /* nobody accepts */
    struct loaded l = load();
    assert_true(str_eq(backend(l, "fast")->upstream_model, S("gpt-4.1-nano")));
    close(s.fd);
    unload(l);
}

static void we_do_not_become_our_own_provider(void **state)
{
    (void)state;
    clear();
    setenv("OPENAI_API_KEY", "unused", 1);
    setenv("OPENAI_BASE_URL", "http://localhost:8899/v1", 1);
    struct loaded l = load();
    assert_true(!str_eq(backend(l, "fast")->origin.host, S("localhost")));
    unload(l);
    struct server s = server_start("{\"data\":[{\"id\":\"auto\",\"owned_by\":\"signalbox\"}]}");
    uint16_t port = sock_port(s.fd);
    pthread_create(&s.thread, NULL, serve, &s);
    l = load_once_asked();
    assert_true(backend(l, "fast")->origin.port != port);
    server_end(&s);
    unload(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_makes_the_public_api_answer),
        cmocka_unit_test(a_plain_server_is_asked_what_it_has),
        cmocka_unit_test(a_silent_server_does_not_hold_us_up),
        cmocka_unit_test(we_do_not_become_our_own_provider),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
