/* tests/bench/service_bench.c -- latency and throughput of the encoder service, as a gateway sees it.
 *
 * Fibers of one loop ask for the embedding of texts that were never seen before; the encoder threads share the cores with
 * that loop. One line of JSON for each concurrency.
 *   service_bench --model DIR [--threads 2] [--tokens 500] [--seconds 5] [--window 256] [--concurrency 1,20]
 *                 [--precision int8] */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/rand.h"
#include "neural/service.h"
#include "runtime/loop.h"

enum { SAMPLES_MAX = 1 << 20 };

struct bench {
    struct loop *l;
    struct neural_model *model;
    unsigned n_running, words;
    uint64_t seed, until;
    uint64_t *samples; size_t n;
    size_t n_failed, n_windows;
};

static const char *const common[] = {
    "the", "of", "and", "to", "in", "is", "that", "for", "it", "as", "was", "with", "be", "by", "on", "not", "he", "this", "are",
    "or", "his", "from", "at", "which", "but", "have", "an", "had", "they", "you", "were", "their", "one", "all", "we", "can",
    "her", "has", "there", "been", "if", "more", "when", "will", "would", "who", "so", "no", "model", "network", "question",
    "answer", "water", "city",
};

static str text_make(struct bench *b, struct arena *a)
{
    size_t cap = b->words * 12, len = 0;
    char *text = arena_alloc(a, cap);
    for (unsigned i = 0; i < b->words; i++)
        len += (size_t)snprintf(text + len, cap - len, "%s ", common[rand_below(&b->seed, COUNT_OF(common))]);
    return (str){ text, len };
}

static void ask_on(void *arg)
{
    struct bench *b = arg;
    for (uint64_t started; (started = clock_now()) < b->until && b->n < SAMPLES_MAX;) {
        struct arena *a = arena_new();
        struct neural_ask ask = { .task = NEURAL_EMBED, .model = b->model, .text = text_make(b, a) };
        started = clock_now();
        bool ok = neural_run(&ask, 1, NEVER, a) == 1;
        b->samples[b->n++] = clock_now() - started;
        b->n_failed += !ok;
        b->n_windows += ask.n_windows;
        arena_free(a);
    }
    if (--b->n_running == 0)
        loop_stop(b->l);
}

static int by_value(const void *x, const void *y)
{
    uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
    return (a > b) - (a < b);
}

static double ms_at(const struct bench *b, double share)       /* samples are sorted */
{
    return (double)b->samples[(size_t)((double)(b->n - 1) * share)] / 1e6;
}

static double cpu_seconds(void)                 /* of all threads: what a busy machine does not blur */
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void run(struct bench *b, unsigned concurrency, double seconds)
{
    struct neural_counts before, after;
    b->n = b->n_failed = b->n_windows = 0;
    b->l = loop_new(0);
    b->n_running = concurrency;
    neural_count(&before);
    double cpu = cpu_seconds();
    uint64_t started = clock_now();
    b->until = started + (uint64_t)(seconds * 1e9);
    for (unsigned i = 0; i < concurrency; i++)
        fiber_go(b->l, "bench", ask_on, b);
    loop_run(b->l);
    loop_free(b->l);
    double took = (double)(clock_now() - started) / 1e9;
    neural_count(&after);
    cpu = cpu_seconds() - cpu;
    qsort(b->samples, b->n, sizeof *b->samples, by_value);
    double n = (double)b->n;
    printf("{\"concurrency\":%u,\"texts_per_s\":%.1f,\"best_ms\":%.2f,\"p50_ms\":%.2f,\"p95_ms\":%.2f,\"p99_ms\":%.2f,",
           concurrency, n / took, ms_at(b, 0), ms_at(b, .5), ms_at(b, .95), ms_at(b, .99));
    printf("\"texts\":%zu,\"failed\":%zu,\"tokens_a_text\":%.0f,\"windows_a_text\":%.1f,\"texts_a_forward\":%.2f,",
           b->n, b->n_failed, (double)(after.tokens - before.tokens) / n, (double)b->n_windows / n,
           n / (double)(after.forwards - before.forwards));
    printf("\"busy_threads\":%.2f,\"cpu_ms_a_text\":%.2f}\n", (double)(after.busy_ns - before.busy_ns) / 1e9 / took, cpu * 1e3 / n);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "model", 1, 0, 'm' }, { "threads", 1, 0, 't' }, { "tokens", 1, 0, 'n' },
                                             { "seconds", 1, 0, 's' }, { "window", 1, 0, 'w' }, { "concurrency", 1, 0, 'c' },
                                             { "precision", 1, 0, 'p' }, { 0, 0, 0, 0 } };
    const char *folder = NULL;
    str concurrency = S("1,20");
    double seconds = 5;
    struct neural_options service = { .threads = 2 };
    struct neural_model_options model = { .precision = PRECISION_N };
    struct bench b = { .words = 498, .seed = rand_system() };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
        switch (c) {
        case 'm': folder = optarg; break;
        case 't': service.threads = (unsigned)atoi(optarg); break;
        case 'n': b.words = (unsigned)atoi(optarg) - 2; break;
        case 's': seconds = atof(optarg); break;
        case 'w': model.window_tokens = (uint32_t)atoi(optarg); break;
        case 'c': concurrency = str_of(optarg); break;
        case 'p': precision_by_name(str_of(optarg), &model.precision); break;
        default: return 2;
        }
    struct err e = { .text = "" };
    b.samples = malloc(SAMPLES_MAX * sizeof *b.samples);
    if (!folder || !b.samples || kernel_use(ISA_N, &e) < 0 || neural_start(&service, &e) < 0 ||
        !(b.model = neural_model_open(folder, &model, &e))) {
        fprintf(stderr, "%s\n", folder ? e.text : "--model DIR is needed");
        return 2;
    }
    while (concurrency.len > 0) {
        int64_t n;
        if (str_int(str_cut(&concurrency, ','), &n) && n > 0)
            run(&b, (unsigned)n, seconds);
    }
    neural_model_release(b.model);
    neural_stop();
    free(b.samples);
    return 0;
}
