/* The store of responses: owners, chains, pages, bounds, and a process that dies in the middle. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/responses.h"

static const int64_t NOW = 1700000000;
static struct arena *arena;
static char folder[64];

static struct response_store *open_store(const char *backend, const char *file, int64_t most, int64_t bytes, int64_t chain)
{
    char path[128];
    struct err e = { 0 };
    snprintf(path, sizeof path, "%s/%s", folder, file);
    struct response_store_conf c = { .backend = str_of(backend), .path = str_of(path), .ttl_s = 100, .max_responses = most,
                                     .max_bytes = bytes, .chain_bytes = chain };
    struct response_store *s = response_store_open(&c, &e);
    if (!s)
        print_message("%s\n", e.text);
    return s;
}

static int put_at(struct response_store *s, const char *owner, const char *id, const char *previous, const char *conversation,
                  int64_t now)
{
    struct stored_item items[2] = {
        { arena_printf(arena, "msg_in_%s", id), arena_printf(arena, "{\"id\":\"msg_in_%s\",\"said\":1}", id), false },
        { arena_printf(arena, "msg_out_%s", id), arena_printf(arena, "{\"id\":\"msg_out_%s\"}", id), true },
    };
    struct stored_response r = { .id = str_of(id), .owner = str_of(owner), .previous_id = str_of(previous),
                                 .conversation_id = str_of(conversation), .json = arena_printf(arena, "{\"id\":\"%s\"}", id),
                                 .items = { items, 2 } };
    return response_store_put(s, &r, now, NEVER, NULL);
}

static int put(struct response_store *s, const char *owner, const char *id, const char *previous)
{
    return put_at(s, owner, id, previous, "", NOW);
}

static int get(struct response_store *s, const char *owner, const char *id, int64_t now)
{
    struct stored_response out;
    return response_store_get(s, str_of(owner), str_of(id), now, arena, &out, NEVER, NULL);
}

static int chain(struct response_store *s, const char *owner, const char *id, struct stored_items *out)
{
    return response_store_chain(s, str_of(owner), str_of(id), NOW, arena, out, NEVER, NULL);
}

static void an_id_belongs_to_its_owner(void **state)
{
    struct stored_items items;
    struct response_store *s = open_store("sqlite", "owner.db", 0, 0, 0);
    str json;
    bool more;
    (void)state;
    assert_int_equal(put(s, "alice", "r1", ""), 0);
    assert_int_equal(get(s, "alice", "r1", NOW), 0);
    assert_int_equal(get(s, "bob", "r1", NOW), -ENOENT);
    assert_int_equal(get(s, "", "r1", NOW), -ENOENT);
    assert_int_equal(chain(s, "bob", "r1", &items), -ENOENT);
    assert_int_equal(response_store_delete(s, S("bob"), S("r1"), NOW, NEVER, NULL), -ENOENT);
    assert_int_equal(response_store_item(s, S("bob"), S("msg_in_r1"), NOW, arena, &json, NEVER, NULL), -ENOENT);
    assert_int_equal(response_store_page(s, S("bob"), S("r1"), &(struct stored_page){ .limit = 9 }, NOW, arena, &items, &more,
                                         NEVER, NULL),
                     -ENOENT);
    assert_int_equal(put(s, "bob", "r1", ""), -EEXIST);                 /* nor can it be taken over */
    assert_int_equal(put(s, "bob", "r2", "r1"), 0);
    assert_int_equal(chain(s, "bob", "r2", &items), -ENOENT);           /* nor walked through */
    assert_int_equal(response_store_delete(s, S("alice"), S("r1"), NOW, NEVER, NULL), 0);
    assert_int_equal(get(s, "alice", "r1", NOW), -ENOENT);
    assert_int_equal(response_store_item(s, S("alice"), S("msg_in_r1"), NOW, arena, &json, NEVER, NULL), -ENOENT);
    response_store_close(s);
}

static void a_chain_is_told_oldest_first(void **state)
{
    struct stored_items items;
    struct response_store *s = open_store("memory", "", 0, 0, 0);
    (void)state;
    put(s, "a", "c1", "");
    put(s, "a", "c2", "c1");
    put(s, "a", "c3", "c2");
    assert_int_equal(chain(s, "a", "c3", &items), 0);
    assert_int_equal(items.n, 6);
    static const char *const expected[] = { "msg_in_c1", "msg_out_c1", "msg_in_c2", "msg_out_c2", "msg_in_c3", "msg_out_c3" };
    for (size_t i = 0; i < 6; i++) {
        assert_true(str_eq(items.items[i].id, str_of(expected[i])));
        assert_int_equal(items.items[i].is_output, i % 2);
    }
    response_store_delete(s, S("a"), S("c2"), NOW, NEVER, NULL);
    assert_int_equal(chain(s, "a", "c3", &items), -ENOENT);             /* a hole is not silence */
    put(s, "a", "x1", "x2");
    put(s, "a", "x2", "x1");
    assert_int_equal(chain(s, "a", "x1", &items), -ELOOP);
    response_store_close(s);
}

static void a_long_chain_has_bounds(void **state)
{
    struct stored_items items;
    struct response_store *s = open_store("memory", "", 0, 0, 200);
    char id[16], previous[16] = "";
    (void)state;
    for (int i = 0; i < 8; i++) {
        snprintf(id, sizeof id, "b%d", i);
        put(s, "a", id, previous);
        memcpy(previous, id, sizeof id);
    }
    assert_int_equal(chain(s, "a", "b1", &items), 0);
    assert_int_equal(chain(s, "a", "b7", &items), -E2BIG);
    response_store_close(s);
}

static void what_has_expired_is_gone(void **state)
{
    struct response_store *s = open_store("sqlite", "expiry.db", 0, 0, 0);
    (void)state;
    put(s, "a", "e1", "");
    assert_int_equal(get(s, "a", "e1", NOW + 99), 0);
    assert_int_equal(get(s, "a", "e1", NOW + 100), -ENOENT);
    assert_int_equal(put_at(s, "a", "e2", "", "", NOW + 200), 0);       /* sweeps e1 */
    assert_int_equal(get(s, "a", "e1", NOW), -ENOENT);
    response_store_close(s);
}

static void the_oldest_make_room(void **state)
{
    struct response_store *s = open_store("sqlite", "room.db", 3, 0, 0);
    char id[16];
    (void)state;
    for (int i = 0; i < 5; i++) {
        snprintf(id, sizeof id, "m%d", i);
        assert_int_equal(put(s, "a", id, ""), 0);
    }
    for (int i = 0; i < 5; i++) {
        snprintf(id, sizeof id, "m%d", i);
        assert_int_equal(get(s, "a", id, NOW), i < 2 ? -ENOENT : 0);
    }
    response_store_close(s);
    s = open_store("sqlite", "bytes.db", 0, 120, 0);
    put(s, "a", "m0", "");
    put(s, "a", "m1", "");
    put(s, "a", "m2", "");
    assert_int_equal(get(s, "a", "m0", NOW), -ENOENT);
    assert_int_equal(get(s, "a", "m2", NOW), 0);
    response_store_close(s);
}

static void a_conversation_grows_and_is_paged(void **state)
{
    struct stored_items items;
    struct stored_conversation c = { .id = S("conv_1"), .owner = S("a"), .metadata = S("{\"k\":\"v\"}") };
    struct response_store *s = open_store("sqlite", "conversation.db", 0, 0, 0);
    bool more;
    (void)state;
    assert_int_equal(conversation_put(s, &c, NOW, NEVER, NULL), 0);
    assert_int_equal(put_at(s, "a", "p1", "", "conv_1", NOW), 0);
    assert_int_equal(put_at(s, "a", "p2", "", "conv_1", NOW), 0);
    assert_int_equal(put_at(s, "b", "p3", "", "conv_1", NOW), -ENOENT);         /* not b's conversation: nothing is kept */
    assert_int_equal(get(s, "b", "p3", NOW), -ENOENT);
    assert_int_equal(chain(s, "a", "conv_1", &items), 0);
    assert_int_equal(items.n, 4);
    struct stored_page page = { .limit = 3 };
    assert_int_equal(response_store_page(s, S("a"), S("conv_1"), &page, NOW, arena, &items, &more, NEVER, NULL), 0);
    assert_int_equal(items.n, 3);
    assert_true(more);
    page.after = items.items[2].id;
    assert_int_equal(response_store_page(s, S("a"), S("conv_1"), &page, NOW, arena, &items, &more, NEVER, NULL), 0);
    assert_int_equal(items.n, 1);
    assert_false(more);
    assert_true(str_eq(items.items[0].id, S("msg_out_p2")));
    page = (struct stored_page){ .limit = 1, .is_descending = true, .inputs_only = true };
    assert_int_equal(response_store_page(s, S("a"), S("p1"), &page, NOW, arena, &items, &more, NEVER, NULL), 0);
    assert_true(str_eq(items.items[0].id, S("msg_in_p1")));
    assert_false(more);
    page.after = S("nothing");
    assert_int_equal(response_store_page(s, S("a"), S("p1"), &page, NOW, arena, &items, &more, NEVER, NULL), -EINVAL);
    assert_int_equal(conversation_drop(s, S("a"), S("conv_1"), S("msg_in_p1"), NOW, NEVER, NULL), 0);
    assert_int_equal(chain(s, "a", "conv_1", &items), 0);
    assert_int_equal(items.n, 3);
    assert_int_equal(conversation_get(s, S("a"), S("conv_1"), NOW, arena, &c, NEVER, NULL), 0);
    assert_true(str_eq(c.metadata, S("{\"k\":\"v\"}")));
    assert_int_equal(conversation_delete(s, S("b"), S("conv_1"), NOW, NEVER, NULL), -ENOENT);
    assert_int_equal(conversation_delete(s, S("a"), S("conv_1"), NOW, NEVER, NULL), 0);
    assert_int_equal(chain(s, "a", "conv_1", &items), -ENOENT);
    assert_int_equal(get(s, "a", "p1", NOW), 0);                                /* the responses stay */
    response_store_close(s);
}

static void a_file_keeps_what_it_was_given(void **state)
{
    struct stored_response out;
    struct response_store *s = open_store("sqlite", "keep.db", 0, 0, 0);
    (void)state;
    put(s, "a", "k1", "");
    response_store_close(s);
    s = open_store("sqlite", "keep.db", 0, 0, 0);
    assert_int_equal(response_store_get(s, S("a"), S("k1"), NOW, arena, &out, NEVER, NULL), 0);
    assert_true(str_eq(out.json, S("{\"id\":\"k1\"}")));
    response_store_close(s);
}

/* A writer tells what was acknowledged; killed at any moment, all of that and nothing half-done is in the file. */
static void a_killed_writer_has_lost_nothing_it_was_told(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        int told[2], acknowledged = -1, n;
        assert_int_equal(pipe(told), 0);
        pid_t child = fork();
        if (child == 0) {
            struct response_store *s = open_store("sqlite", "killed.db", 0, 0, 0);
            for (int i = 0; s; i++) {
                char id[32];
                snprintf(id, sizeof id, "k%d_%d", round, i);
                if (put(s, "a", id, "") < 0 || write(told[1], &i, sizeof i) < 0)
                    break;
            }
            _exit(1);
        }
        close(told[1]);
        while (read(told[0], &n, sizeof n) == sizeof n) {
            acknowledged = n;
            if (n == 7 + round)
                kill(child, SIGKILL);
        }
        close(told[0]);
        waitpid(child, NULL, 0);
        assert_true(acknowledged >= 7);
        struct response_store *s = open_store("sqlite", "killed.db", 0, 0, 0);
        for (int i = 0; i <= acknowledged + 1; i++) {
            struct stored_items items;
            char id[32];
            snprintf(id, sizeof id, "k%d_%d", round, i);
            int rc = chain(s, "a", id, &items);
            if (i <= acknowledged || rc == 0) {
                assert_int_equal(rc, 0);
                assert_int_equal(items.n, 2);
            }
        }
        response_store_close(s);
    }
}

static void bad_files_are_sentences(void **state)
{
    struct err e = { 0 };
    char path[128];
    (void)state;
    struct response_store_conf c = { .backend = S("sqlite"), .path = S("/nonexistent/folder/state.db") };
    assert_null(response_store_open(&c, &e));
    assert_true(strstr(e.text, "/nonexistent/folder/state.db") != NULL);
    snprintf(path, sizeof path, "%s/garbage.db", folder);
    FILE *f = fopen(path, "w");
    for (int i = 0; i < 2000; i++)
        fputs("this is no database. ", f);
    fclose(f);
    e = (struct err){ 0 };
    c.path = str_of(path);
    assert_null(response_store_open(&c, &e));
    assert_true(strlen(e.text) > 20);
    c.backend = S("milvus");
    e = (struct err){ 0 };
    assert_null(response_store_open(&c, &e));
    assert_true(strstr(e.text, "milvus") != NULL);
    c = (struct response_store_conf){ .backend = S("sqlite") };
    e = (struct err){ 0 };
    assert_null(response_store_open(&c, &e));
    assert_true(strstr(e.text, "path") != NULL);
}

/* A disk that is full: the file may not grow beyond what a limit allows. */
static void a_full_disk_is_a_sentence(void **state)
{
    int told[2];
    char text[600] = "";
    (void)state;
    assert_int_equal(pipe(told), 0);
    pid_t child = fork();
    if (child == 0) {
        struct err e = { 0 };
        signal(SIGXFSZ, SIG_IGN);
        struct response_store *s = open_store("sqlite", "full.db", 0, 0, 0);
        struct rlimit limit = { 1 << 20, 1 << 20 };
        setrlimit(RLIMIT_FSIZE, &limit);
        char *big = malloc(300000);
        memset(big, 'x', 300000);
        int rc = 0;
        for (int i = 0; i < 20 && rc == 0; i++) {
            char id[16];
            snprintf(id, sizeof id, "f%d", i);
            struct stored_response r = { .id = str_of(id), .owner = S("a"), .json = { big, 300000 } };
            rc = response_store_put(s, &r, NOW, NEVER, &e);
        }
        dprintf(told[1], "%d %s", rc, e.text);
        _exit(0);
    }
    close(told[1]);
    ssize_t n = read(told[0], text, sizeof text - 1);
    close(told[0]);
    waitpid(child, NULL, 0);
    assert_true(n > 0);
    assert_int_equal(atoi(text), -EIO);
    assert_true(strstr(text, "state file") != NULL);
}

static void ids_are_random(void **state)
{
    char a[STORED_ID_MAX], b[STORED_ID_MAX];
    (void)state;
    str one = stored_id(a, "resp_"), two = stored_id(b, "resp_");
    assert_int_equal(one.len, 5 + 32);
    assert_false(str_eq(one, two));
}

static int setup(void **state)
{
    (void)state;
    arena = arena_new();
    snprintf(folder, sizeof folder, "/tmp/test_responses.%d", getpid());
    return mkdir(folder, 0700);
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    arena_free(arena);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_writer_has_lost_nothing_it_was_told),     /* forks: before this process has threads */
        cmocka_unit_test(a_full_disk_is_a_sentence),
        cmocka_unit_test(an_id_belongs_to_its_owner),
        cmocka_unit_test(a_chain_is_told_oldest_first),
        cmocka_unit_test(a_long_chain_has_bounds),
        cmocka_unit_test(what_has_expired_is_gone),
        cmocka_unit_test(the_oldest_make_room),
        cmocka_unit_test(a_conversation_grows_and_is_paged),
        cmocka_unit_test(a_file_keeps_what_it_was_given),
        cmocka_unit_test(bad_files_are_sentences),
        cmocka_unit_test(ids_are_random),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
