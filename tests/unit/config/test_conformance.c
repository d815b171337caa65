/* tests/unit/config/test_conformance.c -- every sample of VSR loads without an error.
 *
 * The samples are not in this repository; without the folder next to it (or $SIGNALBOX_SHARED) the
 * tests are skipped. */
#include <dirent.h>
#include <sys/stat.h>
#include <time.h>

#include "config_test.h"

static char shared[512];

static str slurp(struct arena *a, const char *path)
{
    struct buf b = { 0 };
    char chunk[4096];
    FILE *f = fopen(path, "rb");
    size_t n;
    if (!f)
        fail_msg("%s: cannot be read", path);
    while ((n = fread(chunk, 1, sizeof chunk, f)) > 0)
        buf_add(&b, chunk, n);
    fclose(f);
    str s = arena_str(a, buf_view(&b));
    buf_free(&b);
    return s;
}

static void add_indented(struct buf *b, str text, const char *indent)
{
    while (text.len) {
        str line = str_cut(&text, '\n');
        buf_printf(b, "%s" STR_FMT "\n", indent, STR_ARG(line));
    }
}

/* A fragment under its right parent: a whole `routing` stays, the others become the first decision. */
static void wrap(str text, struct buf *b)
{
    static const char decision[] =
        "routing:\n  decisions:\n    - name: d\n      modelRefs: [{model: a}, {model: b}]\n";
    str rest = text;
    while (str_starts(rest, S("#")))
        str_cut(&rest, '\n');
    if (str_starts(rest, S("algorithm:")) || str_starts(rest, S("plugins:"))) {
        buf_str(b, str_of(decision));
        add_indented(b, rest, "      ");
    } else if (str_starts(rest, S("plugin:"))) {
        str_cut(&rest, '\n');
        buf_str(b, str_of(decision));
        buf_str(b, S("      plugins:\n        -\n"));
        add_indented(b, rest, "          ");
    } else {
        buf_str(b, text);
    }
}

static size_t n_loaded;

static void check_file(const char *path, bool is_fragment)
{
    struct loaded l = { .a = arena_new() };
    struct buf b = { 0 };
    str text = slurp(l.a, path);
    l.found.a = l.a;
    if (is_fragment) {
        wrap(text, &b);
        text = buf_view(&b);
    }
    l.config = config_load(l.a, text, path, test_env, false, &l.found);
    if (!l.config) {
        show(&l);
        fail_msg("%s does not load", path);
    }
    n_loaded++;
    buf_free(&b);
    arena_free(l.a);
}

static void walk(const char *folder, const char *only, bool is_fragment)
{
    DIR *d = opendir(folder);
    struct dirent *e;
    if (!d)
        return;
    while ((e = readdir(d))) {
        char path[1024];
        struct stat st;
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
            walk(path, only, is_fragment);
        else if (only ? !strcmp(e->d_name, only) : str_ends(str_of(e->d_name), S(".yaml")))
            check_file(path, is_fragment);
    }
    closedir(d);
}

static void the_suites_load(void **state)
{
    char path[600];
    (void)state;
    if (!shared[0])
        skip();
    snprintf(path, sizeof path, "%s/suites", shared);
    n_loaded = 0;
    walk(path, "config.yaml", false);
    assert_true(n_loaded >= 6);
}

static void the_reference_loads_fast(void **state)
{
    char path[600];
    (void)state;
    if (!shared[0])
        skip();
    snprintf(path, sizeof path, "%s/configs/reference.yaml", shared);
    struct timespec t0, t1;
    clock_gettime(CLOCK_MONOTONIC, &t0);
    check_file(path, false);
    clock_gettime(CLOCK_MONOTONIC, &t1);
    print_message("reference.yaml: %.1f ms\n", (double)(t1.tv_sec - t0.tv_sec) * 1e3 +
                                               (double)(t1.tv_nsec - t0.tv_nsec) / 1e6);
}

static void the_fragments_load(void **state)
{
    char path[600];
    (void)state;
    if (!shared[0])
        skip();
    snprintf(path, sizeof path, "%s/configs/fragments", shared);
    n_loaded = 0;
    walk(path, NULL, true);
    print_message("%zu fragments\n", n_loaded);
    assert_true(n_loaded >= 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_suites_load),
        cmocka_unit_test(the_reference_loads_fast),
        cmocka_unit_test(the_fragments_load),
    };
    const char *folder = getenv("SIGNALBOX_SHARED");
    struct stat st;
    snprintf(shared, sizeof shared, "%s/conformance", folder && *folder ? folder : "../shared");
    if (stat(shared, &st) != 0) {
        print_message("%s is not here: skipped\n", shared);
        shared[0] = 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
