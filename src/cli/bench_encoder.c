/* cli/bench_encoder.c -- what one forward of an encoder costs on this machine.
 *
 * Random token numbers: an encoder does not care what they mean. A batch is B texts of N tokens, packed. Forwards run until a
 * second or MEASURES_MAX are over; the median counts, so that a busy neighbour adds little, and the best is shown beside it.
 *
 * --kernel asks how much of the best forward the kernels alone would need: each product of the model's shapes, on as many rows at
 * a time as suits it best, and attention, run again and again on warm operands. What is missing to 1 is embedding, norms,
 * preparing of rows, and weights that come from farther away. All of it is on one thread and counted in its CPU time: a short run
 * would find a gap between busy neighbours, a long one would not, and the share would be wrong. */
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/rand.h"
#include "cli/cli.h"
#include "neural/encoder.h"

enum { MEASURES_MAX = 2000, MEASURES_MIN = 5, WARM = 2, SPAN_NS = 1000000000, ALONE_NS = 50000000 };

struct wish { const char *model; int64_t tokens, batch, threads; enum precision precision; bool as_json, is_mixed, asks_kernel; };

static int by_number(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

struct measured {
    double median_us, best_us;
    uint32_t n, n_tokens;
    double best_cpu_us;                         /* of the calling thread */
    double products_us, attention_us;           /* --kernel: of the kernels alone, CPU time; else 0 */
};

static uint64_t cpu_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static void keep_best(double *best_us, uint64_t from)
{
    double us = (double)(cpu_now() - from) / 1000;
    *best_us = *best_us > 0 && *best_us < us ? *best_us : us;
}

static bool measure(const struct encoder *e, const struct wish *w, struct measured *out)
{
    static double times[MEASURES_MAX];
    uint64_t seed = 1;
    uint32_t n_texts = (uint32_t)w->batch, at = 0;
    struct arena *a = arena_new();
    uint32_t *starts = ARENA_ARRAY(a, uint32_t, n_texts + 1);
    for (uint32_t i = 0; i < n_texts; i++) {
        starts[i] = at;                         /* --mixed: 1/16 .. 1 of the length, evenly spread */
        at += w->is_mixed && n_texts > 1 ? (uint32_t)(w->tokens * (1 + 15 * i / (n_texts - 1)) / 16) : (uint32_t)w->tokens;
    }
    starts[n_texts] = at;
    int32_t *ids = ARENA_ARRAY(a, int32_t, at);
    for (uint32_t i = 0; i < at; i++)
        ids[i] = (int32_t)rand_below(&seed, e->shape.vocabulary);
    struct encoder_batch b = { .ids = ids, .starts = starts, .n_texts = n_texts };
    struct encoder_scratch *s = encoder_scratch_new();
    struct gang *g = w->threads > 1 ? gang_new((unsigned)w->threads) : NULL;
    bool ok = s && (w->threads == 1 || g);
    for (int i = 0; ok && i < WARM; i++)
        ok = encoder_forward(e, &b, s, g, NULL) != NULL;
    uint32_t n = 0;
    double best_cpu_us = 0;
    for (uint64_t from = clock_now(); ok && n < MEASURES_MAX && (n < MEASURES_MIN || clock_now() - from < SPAN_NS); n++) {
        uint64_t start = clock_now(), cpu_start = cpu_now();
        ok = encoder_forward(e, &b, s, g, NULL) != NULL;
        keep_best(&best_cpu_us, cpu_start);
        times[n] = (double)(clock_now() - start) / 1000;
    }
    qsort(times, n, sizeof *times, by_number);
    *out = (struct measured){ .n = n, .n_tokens = at, .best_cpu_us = best_cpu_us };
    if (ok) {
        out->median_us = times[n / 2];
        out->best_us = times[0];
    }
    gang_free(g);
    encoder_scratch_free(s);
    arena_free(a);
    return ok;
}

/* ---- the kernels alone ---- */

static float *floats_random(struct arena *a, size_t n)
{
    uint64_t seed = 1;
    char *raw = arena_alloc(a, n * sizeof(float) + 64);
    float *x = (float *)(void *)(raw + (64 - (uintptr_t)raw % 64) % 64);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(rand_unit(&seed) - 0.5);
    return x;
}

/* Best time for all `m` rows of one product, in us; 0: no memory. */
static double product_alone(enum precision precision, uint32_t n, uint32_t k, bool is_gated, enum activation activation, size_t m)
{
    static const size_t panels[] = { 32, 64, 128, 256, 512 };
    struct arena *a = arena_new();
    struct matrix w;
    struct rows x;
    size_t columns = is_gated ? n / 2 : n;
    const struct epilogue e = { .activation = activation };
    float *rows = floats_random(a, m * k), *y = floats_random(a, m * columns);
    char *scratch = arena_alloc(a, rows_bytes(precision, m, k) + 64);
    scratch += (64 - (uintptr_t)scratch % 64) % 64;
    double best = 0;
    if (matrix_pack(&w, precision, floats_random(a, (size_t)n * k), NULL, n, k, is_gated) == 0) {
        for (size_t i = 0; i < COUNT_OF(panels); i++) {
            size_t panel = panels[i] < m ? panels[i] : m;
            double panel_best = 0;
            rows_prepare(&x, precision, rows, k, panel, k, scratch);
            for (uint64_t from = clock_now(); clock_now() - from < ALONE_NS;) {
                uint64_t start = cpu_now();
                matrix_product(&w, &x, 0, columns, y, columns, &e);
                keep_best(&panel_best, start);
            }
            panel_best *= (double)m / (double)panel;
            best = best > 0 && best < panel_best ? best : panel_best;
            if (panel == m)
                break;
        }
        matrix_free(&w);
    }
    arena_free(a);
    return best;
}

static double attention_alone(const struct encoder_shape *s, enum precision precision, size_t t)
{
    struct arena *a = arena_new();
    size_t width = s->hidden, d = width / s->heads;
    float *qkv = floats_random(a, t * 3 * width), *out = floats_random(a, t * width);
    char *scratch = arena_alloc(a, attention_bytes(t, d) + 64);
    scratch += (64 - (uintptr_t)scratch % 64) % 64;
    double best = 0;
    for (uint64_t from = clock_now(); clock_now() - from < 4 * ALONE_NS;) {
        uint64_t start = cpu_now();
        attention(precision, qkv, qkv + width, qkv + 2 * width, 3 * width, t, d, 0, s->heads, 1 / sqrtf((float)d), 0, NULL, out,
                  width, scratch);
        keep_best(&best, start);
    }
    arena_free(a);
    return best;
}

static bool kernels_alone(const struct encoder *e, const struct wish *w, struct measured *out)
{
    const struct encoder_shape *s = &e->shape;
    uint32_t h = s->hidden, i = s->intermediate;
    bool is_gated = strcmp(s->architecture, "modernbert") == 0;
    const struct { uint32_t n, k; bool is_gated; enum activation activation; } products[] = {
        { 3 * h, h, false, ACTIVATION_NONE }, { h, h, false, ACTIVATION_NONE },
        { is_gated ? 2 * i : i, h, is_gated, ACTIVATION_GELU }, { h, i, false, ACTIVATION_NONE },
    };
    for (size_t p = 0; p < COUNT_OF(products); p++) {
        double us = product_alone(w->precision, products[p].n, products[p].k, products[p].is_gated, products[p].activation,
                                  (size_t)w->tokens);
        if (us <= 0)
            return false;
        out->products_us += us * s->exit_layer;
    }
    out->attention_us = attention_alone(s, w->precision, (size_t)w->tokens) * s->exit_layer;
    return true;
}

static void report(const struct wish *w, const struct encoder *e, const struct measured *m)
{
    const struct encoder_shape *s = &e->shape;
    double dense = (strcmp(s->architecture, "modernbert") == 0 ? 3.0 : 2.0) * s->hidden * s->intermediate;
    double matrices = s->layers * (4.0 * s->hidden * s->hidden + dense);
    double work = 2 * matrices * m->n_tokens / 1000, gops = work / m->median_us;
    if (!w->as_json) {
        printf("%s, %s, %s: %lld x %lld tokens%s, %lld thread%s\n  median %.0f us a forward (best %.0f, %u forwards), "
               "%.0f GOP/s in matrix products, %.0f tokens/s\n",
               s->architecture, precision_name(w->precision), isa_name(kernel_isa()), (long long)w->batch, (long long)w->tokens,
               w->is_mixed ? " at most" : "", (long long)w->threads, w->threads == 1 ? "" : "s", m->median_us, m->best_us, m->n,
               gops, m->n_tokens / m->median_us * 1e6);
        if (w->asks_kernel)
            printf("  kernels alone: products %.0f us (%.0f GOP/s), attention %.0f us; %.2f of the best forward\n",
                   m->products_us, work / m->products_us, m->attention_us, (m->products_us + m->attention_us) / m->best_cpu_us);
        return;
    }
    struct buf out = { 0 };
    struct json_writer j = { .out = &out };
    jw_begin(&j, '{');
    jw_key(&j, S("architecture")), jw_str(&j, str_of(s->architecture));
    jw_key(&j, S("precision")), jw_str(&j, str_of(precision_name(w->precision)));
    jw_key(&j, S("isa")), jw_str(&j, str_of(isa_name(kernel_isa())));
    jw_key(&j, S("tokens")), jw_int(&j, w->tokens);
    jw_key(&j, S("batch")), jw_int(&j, w->batch);
    jw_key(&j, S("threads")), jw_int(&j, w->threads);
    jw_key(&j, S("us_per_forward")), jw_double(&j, m->median_us);
    jw_key(&j, S("best_us")), jw_double(&j, m->best_us);
    jw_key(&j, S("forwards")), jw_int(&j, m->n);
    jw_key(&j, S("tokens_per_second")), jw_double(&j, floor(m->n_tokens / m->median_us * 1e6));
    jw_key(&j, S("gop_per_second")), jw_double(&j, floor(gops));
    if (w->asks_kernel) {
        jw_key(&j, S("best_cpu_us")), jw_double(&j, m->best_cpu_us);
        jw_key(&j, S("kernel_products_us")), jw_double(&j, m->products_us);
        jw_key(&j, S("kernel_attention_us")), jw_double(&j, m->attention_us);
        jw_key(&j, S("kernel_gop_per_second")), jw_double(&j, floor(work / m->products_us));
        jw_key(&j, S("kernel_share")), jw_double(&j, (m->products_us + m->attention_us) / m->best_cpu_us);
    }
    jw_key(&j, S("packed_bytes")), jw_int(&j, (int64_t)e->bytes_packed);
    jw_end(&j, '}');
    buf_char(&out, '\n');
    cli_put(stdout, buf_view(&out));
    buf_free(&out);
}

int bench_encoder(int argc, char **argv)
{
    struct wish w = { .tokens = 128, .batch = 1, .threads = 1, .precision = PRECISION_N };
    struct cli_args args = cli_args_start("bench", argc, argv);
    struct err e = { 0 };
    bool ok = true;
    for (int id; ok && (id = cli_next(&args)) != CLI_END;) {
        str v = str_of(args.value);
        switch (id) {
        case 'j': w.as_json = true; break;
        case 'm': w.model = args.value; break;
        case 'X': w.is_mixed = true; break;
        case 'K': w.asks_kernel = true; break;
        case 't': ok = str_int(v, &w.tokens) && w.tokens > 0 && w.tokens <= ENCODER_TOKENS_MAX; break;
        case 'b': ok = str_int(v, &w.batch) && w.batch > 0 && w.batch <= 4096; break;
        case 'T': ok = str_int(v, &w.threads) && w.threads > 0 && w.threads <= 256; break;
        case 'p': ok = precision_by_name(v, &w.precision); break;
        case CLI_BAD: return CLI_USAGE;
        default: return cli_usage_error("bench", "bench encoder has no such option or word");
        }
        if (!ok)
            return cli_usage_error("bench", "'" STR_FMT "' does not fit that option", STR_ARG(v));
    }
    if (w.batch * w.tokens > ENCODER_TOKENS_MAX)
        return cli_usage_error("bench", "%lld tokens in one batch; at most %d", (long long)(w.batch * w.tokens),
                               ENCODER_TOKENS_MAX);
    if (w.asks_kernel && (w.batch > 1 || w.threads > 1))
        return cli_usage_error("bench", "--kernel is for one text and one thread");
    struct arena *a = arena_new();
    str folder = w.model ? str_of(w.model) : models_resource(a, S("models/all-minilm-l6-v2"));
    struct encoder *encoder = NULL;
    struct measured m;
    ok = kernel_use(ISA_N, &e) == 0;
    if (ok && w.precision == PRECISION_N)
        w.precision = kernel_best_precision();
    struct encoder_options o = { .precision = w.precision };
    if (ok && folder.len == 0)
        ok = err_set(&e, "the bundled encoder is not there: `tools/deps` fetches it, or name a folder with --model") == 0;
    ok = ok && (encoder = encoder_open(folder.ptr, &o, &e)) != NULL;
    if (ok && w.tokens > encoder->shape.positions)
        ok = err_set(&e, "this model reads texts of at most %u tokens", encoder->shape.positions) == 0;
    if (ok && !(ok = measure(encoder, &w, &m) && (!w.asks_kernel || kernels_alone(encoder, &w, &m))))
        err_set(&e, "no memory");
    if (ok)
        report(&w, encoder, &m);
    else
        fprintf(stderr, "signalbox bench: %s\n", e.text);
    encoder_close(encoder);
    arena_free(a);
    return ok ? CLI_FINE : CLI_USAGE;
}
