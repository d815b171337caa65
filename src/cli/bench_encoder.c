/* cli/bench_encoder.c -- what one forward of an encoder costs on this machine.
 *
 * Random token numbers: an encoder does not care what they mean. A batch is B texts of N tokens, packed. Forwards run until a second or
 * MEASURES_MAX are over; the median counts, so that a busy neighbour adds little, and the best is shown beside it. */
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/rand.h"
#include "cli/cli.h"
#include "neural/encoder.h"

enum { MEASURES_MAX = 2000, MEASURES_MIN = 5, WARM = 2, SPAN_NS = 1000000000 };

struct wish { const char *model; int64_t tokens, batch, threads; enum precision precision; bool as_json, is_mixed; };

static int by_number(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

struct measured { double median_us, best_us; uint32_t n, n_tokens; };

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
    for (uint64_t from = clock_now(); ok && n < MEASURES_MAX && (n < MEASURES_MIN || clock_now() - from < SPAN_NS); n++) {
        uint64_t start = clock_now();
        ok = encoder_forward(e, &b, s, g, NULL) != NULL;
        times[n] = (double)(clock_now() - start) / 1000;
    }
    qsort(times, n, sizeof *times, by_number);
    *out = (struct measured){ .n = n, .n_tokens = at };
    if (ok) {
        out->median_us = times[n / 2];
        out->best_us = times[0];
    }
    gang_free(g);
    encoder_scratch_free(s);
    arena_free(a);
    return ok;
}

static void report(const struct wish *w, const struct encoder *e, const struct measured *m)
{
    const struct encoder_shape *s = &e->shape;
    double matrices = s->layers * (4.0 * s->hidden * s->hidden + (strcmp(s->architecture, "modernbert") == 0 ? 3.0 : 2.0) * s->hidden * s->intermediate);
    double gops = 2 * matrices * m->n_tokens / m->median_us / 1000;
    if (!w->as_json) {
        printf("%s, %s, %s: %lld x %lld tokens%s, %lld thread%s\n  median %.0f us a forward (best %.0f, %u forwards), "
               "%.0f GOP/s in matrix products, %.0f tokens/s\n",
               s->architecture, precision_name(w->precision), isa_name(kernel_isa()), (long long)w->batch, (long long)w->tokens,
               w->is_mixed ? " at most" : "", (long long)w->threads, w->threads == 1 ? "" : "s", m->median_us, m->best_us, m->n, gops,
               m->n_tokens / m->median_us * 1e6);
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
        return cli_usage_error("bench", "%lld tokens in one batch; at most %d", (long long)(w.batch * w.tokens), ENCODER_TOKENS_MAX);
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
    if (ok && !(ok = measure(encoder, &w, &m)))
        err_set(&e, "no memory");
    if (ok)
        report(&w, encoder, &m);
    else
        fprintf(stderr, "signalbox bench: %s\n", e.text);
    encoder_close(encoder);
    arena_free(a);
    return ok ? CLI_FINE : CLI_USAGE;
}
