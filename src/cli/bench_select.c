/* cli/bench_select.c -- `bench select`: how long a pick takes from the text to the order, and how much it leaves behind.
 *
 * A made-up pool and made-up rows of 14 kinds of query: words drawn from a vocabulary with a long tail, part of it the kind's
 * own. Texts of 1 KB (and 2 KB for features alone), none of which the table has seen. Each pick is timed alone, because a
 * percentile is what matters. */
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/json.h"
#include "base/rand.h"
#include "cli/cli.h"
#include "select/learner.h"
#include "select/objective.h"

enum { ROWS = 2500, KINDS = 14, TEXTS = 256, PICKS = 4000, CANDIDATES_MAX = 1000, WORDS = 20000, OWN = 600 };

/* Time of this thread on a processor: who else uses the machine is no property of a pick. */
static uint64_t cpu_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static str text_make(struct arena *a, uint32_t kind, size_t bytes, uint64_t *seed)
{
    char *text = arena_alloc(a, bytes + 16);
    size_t n = 0;
    while (n < bytes) {
        /* Zipf by inversion: rank ~ exp(u ln WORDS). */
        uint32_t word = (uint32_t)exp(rand_unit(seed) * log(WORDS));
        if (rand_unit(seed) < 0.3)
            word = WORDS + kind * OWN + (uint32_t)rand_below(seed, OWN);
        for (uint32_t w = word + 26; w && n < bytes; w /= 26)
            text[n++] = (char)('a' + w % 26);
        text[n++] = ' ';
    }
    return (str){ text, n < bytes ? n : bytes };
}

struct figure { double median_ns, p99_ns; };

static int by_size(const void *x, const void *y)
{
    uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
    return a < b ? -1 : a > b;
}

static struct figure figure_of(uint64_t *ns, uint32_t n)
{
    qsort(ns, n, sizeof *ns, by_size);
    return (struct figure){ (double)ns[n / 2], (double)ns[(uint64_t)n * 99 / 100] };
}

static void told(const char *what, struct figure f, double heap_bytes, struct json_writer *j)
{
    if (!j) {
        printf("  %-34s median %7.1f us   p99 %7.1f us   heap %+.0f bytes a pick\n", what, f.median_ns / 1e3, f.p99_ns / 1e3,
               heap_bytes);
        return;
    }
    jw_begin(j, '{');
    jw_key(j, S("what")), jw_str(j, str_of(what));
    jw_key(j, S("median_ns")), jw_double(j, f.median_ns);
    jw_key(j, S("p99_ns")), jw_double(j, f.p99_ns);
    jw_key(j, S("heap_bytes")), jw_double(j, heap_bytes);
    jw_end(j, '}');
}

static void bench_features(size_t bytes, struct arena *a, struct json_writer *j)
{
    static uint64_t ns[PICKS];
    uint64_t seed = 7;
    str texts[TEXTS];
    char what[64];
    for (uint32_t i = 0; i < TEXTS; i++)
        texts[i] = text_make(a, i % KINDS, bytes, &seed);
    size_t before = mallinfo2().uordblks;
    for (uint32_t i = 0; i < PICKS; i++) {
        struct arena *scratch = arena_new();
        struct features x;
        uint64_t from = cpu_now();
        features_read(&x, scratch, texts[i % TEXTS]);
        ns[i] = cpu_now() - from;
        arena_free(scratch);
    }
    snprintf(what, sizeof what, "features of %zu bytes", bytes);
    told(what, figure_of(ns, PICKS), ((double)mallinfo2().uordblks - (double)before) / PICKS, j);
}

static int bench_learner(const char *name, uint32_t n_models, uint32_t picks, struct arena *a, struct json_writer *j, struct err *e)
{
    static uint64_t ns[PICKS];
    static const char *const kind_names[KINDS] = { "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n" };
    uint64_t seed = 3;
    struct features *x = ARENA_ARRAY(a, struct features, ROWS);
    size_t cells = (size_t)ROWS * n_models;
    float *quality = ARENA_ARRAY(a, float, cells), *cost = ARENA_ARRAY(a, float, cells);
    str *models = ARENA_ARRAY(a, str, n_models), texts[TEXTS];
    for (uint32_t m = 0; m < n_models; m++)
        models[m] = arena_printf(a, "model-%u", m);
    for (uint32_t i = 0; i < ROWS; i++) {
        uint32_t kind = i % KINDS;
        features_read(&x[i], a, text_make(a, kind, 200 + rand_below(&seed, 1000), &seed));
        x[i].kind = str_of(kind_names[kind]);
        for (uint32_t m = 0; m < n_models; m++) {
            double p = 0.3 + 0.4 * m / n_models + 0.2 * ((kind * 7 + m * 3) % 5 - 2) / 2;
            quality[(size_t)i * n_models + m] = rand_unit(&seed) < p;
            cost[(size_t)i * n_models + m] = (float)(1e-5 * (1 + m));
        }
    }
    struct recorded r = { .x = x, .n = ROWS, .models = models, .n_models = n_models, .quality = quality, .cost_usd = cost };
    struct learner *l = learner_new(name, NULL);
    int rc = l ? learner_fit(l, &r, e) : err_set(e, "no memory");
    for (uint32_t i = 0; i < TEXTS; i++)
        texts[i] = text_make(a, i % KINDS, 1024, &seed);
    struct objective o = { .quality = 1, .cost = 20 };
    size_t before = mallinfo2().uordblks;
    uint64_t chosen = 0;
    for (uint32_t i = 0; i < picks && rc == 0; i++) {
        struct arena *scratch = arena_new();
        struct features q;
        uint64_t from = cpu_now();
        features_read(&q, scratch, texts[i % TEXTS]);
        struct prediction *p = ARENA_ARRAY(scratch, struct prediction, n_models);
        learner_predict(l, &q, p, scratch);
        chosen += objective_best(&o, p, NULL, n_models, ARENA_ARRAY(scratch, double, n_models));
        ns[i] = cpu_now() - from;
        arena_free(scratch);
    }
    if (rc == 0) {
        char what[64];
        snprintf(what, sizeof what, "%s, %u candidates, 1 KB%s", name, n_models, chosen ? "" : " ");
        told(what, figure_of(ns, picks), ((double)mallinfo2().uordblks - (double)before) / picks, j);
    }
    learner_free(l);
    return rc;
}

static bool is_listed(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

int bench_select(int argc, char **argv)
{
    static const char *const names[] = { "mean", "table", "factor", "knn", "blend" };
    static const uint32_t pools[] = { 9, 28, 100 };
    struct cli_args args = cli_args_start("bench", argc, argv);
    const char *only = NULL;                    /* this learner and no features by themselves */
    int64_t candidates = 0, picks = PICKS;      /* 0: each of the pools */
    bool as_json = false, ok = true;
    for (int id; ok && (id = cli_next(&args)) != CLI_END;) {
        switch (id) {
        case 'j': as_json = true; break;
        case 'l': only = args.value; ok = is_listed(names, COUNT_OF(names), only); break;
        case 'C': ok = str_int(str_of(args.value), &candidates) && candidates > 0 && candidates <= CANDIDATES_MAX; break;
        case 'N': ok = str_int(str_of(args.value), &picks) && picks > 0 && picks <= PICKS; break;
        case CLI_BAD: return CLI_USAGE;
        default: return cli_usage_error("bench", "bench select has no such option or word");
        }
        if (!ok)
            return cli_usage_error("bench", "'%s' does not fit that option", args.value);
    }
    struct buf text = { 0 };
    struct json_writer j = { .out = &text }, *to = as_json ? &j : NULL;
    struct err e = { 0 };
    int rc = 0;
    if (to)
        jw_begin(to, '[');
    static const size_t lengths[] = { 1024, 2048 };
    for (size_t i = 0; i < COUNT_OF(lengths) && !only; i++) {
        struct arena *a = arena_new();
        bench_features(lengths[i], a, to);
        arena_free(a);
    }
    for (size_t i = 0; i < COUNT_OF(names) && rc == 0; i++)
        for (size_t k = 0; k < (candidates ? 1 : COUNT_OF(pools)) && rc == 0 && (!only || strcmp(only, names[i]) == 0); k++) {
            struct arena *a = arena_new();
            rc = bench_learner(names[i], candidates ? (uint32_t)candidates : pools[k], (uint32_t)picks, a, to, &e);
            arena_free(a);
        }
    if (to) {
        jw_end(to, ']');
        buf_char(&text, '\n');
        cli_put(stdout, buf_view(&text));
        buf_free(&text);
    }
    if (rc < 0)
        fprintf(stderr, "signalbox bench select: %s\n", e.text);
    return rc < 0 ? CLI_USAGE : CLI_FINE;
}
