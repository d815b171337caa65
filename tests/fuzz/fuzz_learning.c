/* Learned state of others, journals and access lines: whatever they hold, the sums stay finite and chances are chances. */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/decisions.h"
#include "pipeline/learning_state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void sums_are_finite(const struct evidence *e)
{
    const struct cells *c = &e->cells;
    for (uint32_t i = 0; i < c->cap; i++)
        assert(isfinite(c->slots[i].n) && isfinite(c->slots[i].rest) && c->slots[i].n >= 0);
}

/* Whatever was read, every strategy makes chances of it. */
static void chances_are_chances(struct learning *l)
{
    struct arena *a = arena_new();
    struct offer offers[] = { { .model = S("a"), .expected = .6, .deviation = .1 }, { .model = S("b"), .expected = .5, .deviation = .2 } };
    struct bandit_rules rules = { .scale = .3, .floor = .1, .incumbent = UINT32_MAX };
    for (size_t i = 0; a && evidence_all[i]; i++) {
        struct chosen c;
        struct situation s = { .strategy = evidence_all[i], .query = { .kind = 1, .decision = 1 } };
        learning_choose(l, offers, 2, &rules, &s, a, &c);
        assert(c.at < 2 && c.chances[0] >= .05 - 1e-9 && fabs(c.chances[0] + c.chances[1] - 1) < 1e-9);
    }
    arena_free(a);
}

static void as_import(str text)
{
    struct err e = { 0 };
    struct learning *l = learning_new();
    if (learning_import(l, text, &e) == 0) {
        struct buf out = { 0 };
        sums_are_finite(&l->all);
        chances_are_chances(l);
        learning_show(l, &out);
        buf_free(&out);
    }
    learning_free(l);
}

/* The bytes as state.json and as journal.jsonl of a directory. */
static void as_files(str text)
{
    static char dir[64];
    char path[100];
    if (!dir[0])
        snprintf(dir, sizeof dir, "/tmp/fuzz_learning_%d", (int)getpid());
    static const char *const names[] = { "state.json", "journal.jsonl" };
    for (int i = 0; i < 2; i++) {
        struct err e = { 0 };
        struct learning *l = learning_new();
        learning_open(l, str_of(dir), &e);          /* makes the directory */
        learning_free(l);
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        FILE *f = fopen(path, "w");
        if (!f)
            return;
        fwrite(text.ptr, 1, text.len, f);
        fclose(f);
        l = learning_new();
        learning_open(l, str_of(dir), &e);
        sums_are_finite(&l->own);
        chances_are_chances(l);
        learning_free(l);
        static const char *const all[] = { "state.json", "journal.jsonl", "journal.old.jsonl", "state.json.unreadable" };
        for (int k = 0; k < 4; k++) {
            snprintf(path, sizeof path, "%s/%s", dir, all[k]);
            unlink(path);
        }
    }
    rmdir(dir);
}

static void as_access_line(str text)
{
    struct arena *a = arena_new();
    struct json j;
    struct json_error e;
    struct logged d;
    if (json_parse(a, text, &j, &e) == 0 && logged_read(a, &j, &d))
        logged_replays(&d);
    arena_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    str text = { (const char *)data, n };
    as_import(text);
    as_access_line(text);
    if (n > 0 && data[n - 1] == '\n')               /* files are slow: only some inputs */
        as_files(text);
    return 0;
}
