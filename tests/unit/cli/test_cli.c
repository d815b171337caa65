/* tests/unit/cli/test_cli.c -- the words of a command line, and the table that describes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/ask.h"
#include "cli/cli.h"
#include "pipeline/route.h"

static void parse(const char *command, const char *const *words, int n, char *ids, const char **values)
{
    char *argv[16];
    for (int i = 0; i < n; i++)
        argv[i] = (char *)(uintptr_t)words[i];
    struct cli_args a = cli_args_start(command, n, argv);
    int o, k = 0;
    while ((o = cli_next(&a)) != CLI_END && k < 15) {
        ids[k] = o == CLI_WORD ? 'W' : o == CLI_BAD ? '!' : (char)o;
        values[k++] = a.value;
        if (o == CLI_BAD)
            break;
    }
    ids[k] = '\0';
}

static void options_are_read_in_every_spelling(void **state)
{
    (void)state;
    static const struct { const char *words[8]; int n; const char *ids, *first; } cases[] = {
        { { "route", "-c", "f" }, 3, "c", "f" },
        { { "route", "-cf" }, 2, "c", "f" },
        { { "route", "--config", "f" }, 3, "c", "f" },
        { { "route", "--config=f" }, 2, "c", "f" },
        { { "route", "--config=" }, 2, "c", "" },
        { { "route", "-ec", "f", "hi" }, 4, "ecW", NULL },
        { { "route", "--json", "--", "--json" }, 4, "JW", NULL },
        { { "route", "-", "x" }, 3, "WW", "-" },
        { { "route" }, 1, "", NULL },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char ids[16];
        const char *values[16] = { NULL };
        parse("route", cases[i].words, cases[i].n, ids, values);
        assert_string_equal(ids, cases[i].ids);
        if (cases[i].first)
            assert_string_equal(values[0], cases[i].first);
    }
}

static void what_is_no_option_is_refused(void **state)
{
    (void)state;
    static const char *const bad[][3] = {
        { "route", "--confg", "f" }, { "route", "-z", "f" }, { "route", "x", "--config" }, { "route", "--json=1", "x" },
        { "route", "x", "-J" }, { "route", "--", NULL },
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        char ids[16];
        const char *values[16];
        parse("route", bad[i], bad[i][2] ? 3 : 2, ids, values);
        assert_int_equal(strchr(ids, '!') != NULL, i + 1 < COUNT_OF(bad));
    }
}

static void every_command_is_described(void **state)
{
    (void)state;
    for (const struct command *c = commands; c->name; c++) {
        assert_ptr_equal(command_find(str_of(c->name)), c);
        assert_non_null(c->run);
        assert_true(*c->summary && *c->examples && c->synopsis);
        assert_true(str_find(str_of(c->examples), str_of(c->name)) >= 0);
        for (const struct cli_option *o = c->options; o->id; o++) {
            assert_true((o->id >= 'a' && o->id <= 'z') || (o->id >= 'A' && o->id <= 'Z'));
            assert_true(*o->name && *o->help);
            for (const struct cli_option *p = o + 1; p->id; p++)
                assert_true(p->id != o->id && strcmp(p->name, o->name) != 0);
        }
    }
}

static int run(int n, const char *const *words)
{
    char *argv[8];
    for (int i = 0; i < n; i++)
        argv[i] = (char *)(uintptr_t)words[i];
    argv[n] = NULL;
    return cli_main(n, argv);
}

static void misuse_exits_with_2(void **state)
{
    (void)state;
    assert_int_equal(run(2, (const char *const[]){ "signalbox", "rout" }), CLI_USAGE);
    assert_int_equal(run(2, (const char *const[]){ "signalbox", "--nope" }), CLI_USAGE);
    assert_int_equal(run(3, (const char *const[]){ "signalbox", "version", "--jsn" }), CLI_USAGE);
    assert_int_equal(run(3, (const char *const[]){ "signalbox", "help", "nix" }), CLI_USAGE);
    assert_int_equal(run(4, (const char *const[]){ "signalbox", "check", "-c", "/does/not/exist" }), CLI_USAGE);
}

/* ---- requests that nobody sent ---- */

static const char config[] =
    "version: v0.3\n"
    "providers:\n"
    "  defaults: {default_model: small}\n"
    "  models:\n"
    "    - {name: small, backend_refs: [{endpoint: \"127.0.0.1:1\"}]}\n"
    "    - {name: big, backend_refs: [{endpoint: \"127.0.0.1:2\"}]}\n"
    "routing:\n"
    "  modelCards: [{name: small}, {name: big}]\n"
    "  signals:\n"
    "    keywords: [{name: proof, operator: OR, keywords: [prove]}]\n"
    "  decisions:\n"
    "    - name: hard\n"
    "      priority: 10\n"
    "      rules: {operator: OR, conditions: [{type: keyword, name: proof}]}\n"
    "      modelRefs: [{model: big}]\n"
    "    - {name: rest, priority: 1, modelRefs: [{model: small}]}\n";

static void bodies_of_all_forms_are_decided(void **state)
{
    (void)state;
    static const struct { const char *body, *decision, *model; } cases[] = {
        { "{\"messages\":[{\"role\":\"user\",\"content\":\"prove it\"}]}", "hard", "big" },
        { "{\"text\":\"prove it\"}", "hard", "big" },
        { "{\"text\":\"hello\",\"model\":\"auto\"}", "rest", "small" },
        { "{\"prompt\":\"prove it\"}", "hard", "big" },
        { "{\"input\":[\"a\",\"prove b\"],\"model\":\"auto\"}", "hard", "big" },
        { "{\"model\":\"big\",\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}", NULL, "big" },
    };
    struct arena *a = arena_new();
    struct findings f = { .a = a };
    struct snap *s = snap_build(str_of(config), "test.yaml", false, &f);
    assert_non_null(s);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err e = { 0 };
        struct req *r = ask_new(a, s, str_of(cases[i].body), &e);
        assert_non_null(r);
        assert_int_equal(route_request(r), 0);
        assert_true(cases[i].decision ? str_eq(r->decision.conf->name, str_of(cases[i].decision)) : !r->decision.conf);
        assert_true(str_eq(r->order[0]->name, str_of(cases[i].model)));
    }
    static const char *const bad[] = { "", "[]", "{", "{}", "{\"messages\":3}", "{\"prompt\":{}}" };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct err e = { 0 };
        assert_null(ask_new(a, s, str_of(bad[i]), &e));
        assert_true(e.text[0]);
    }
    snap_free(s);
    arena_free(a);
}

/* ---- replay ---- */

static char *file_make(const char *text)
{
    static char paths[4][64];
    static int n;
    char *path = paths[n++ % 4];
    strcpy(path, "/tmp/signalbox-test-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return path;
}

static void replay_finds_what_changes(void **state)
{
    (void)state;
    const char *log =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"prove it\"}]}\n"
        "\n"
        "{\"ts\":\"x\",\"model\":\"small\",\"decision\":\"rest\",\"headers\":[[\"a\",\"b\"]],\"request\":{\"model\":\"auto\",\"messages\":"
        "[{\"role\":\"user\",\"content\":\"prove it\"}]}}\n"
        "{\"ts\":\"x\",\"model\":\"small\",\"decision\":\"rest\"}\n"
        "not json\n";
    const char *unchanged = "{\"body\":{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]},\"decision\":\"rest\",\"model\":\"small\"}\n";
    char *c = file_make(config), *l = file_make(log), *u = file_make(unchanged);
    assert_int_equal(run(5, (const char *const[]){ "signalbox", "replay", "-c", c, l }), CLI_FINDING);
    assert_int_equal(run(5, (const char *const[]){ "signalbox", "replay", "-c", c, u }), CLI_FINE);
    assert_int_equal(run(7, (const char *const[]){ "signalbox", "replay", "-c", c, "--against", c, l }), CLI_FINE);
    assert_int_equal(run(5, (const char *const[]){ "signalbox", "replay", "-c", c, "/does/not/exist" }), CLI_USAGE);
    unlink(c);
    unlink(l);
    unlink(u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_read_in_every_spelling),
        cmocka_unit_test(what_is_no_option_is_refused),
        cmocka_unit_test(every_command_is_described),
        cmocka_unit_test(misuse_exits_with_2),
        cmocka_unit_test(bodies_of_all_forms_are_decided),
        cmocka_unit_test(replay_finds_what_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
