/* tests/neural/encode.c -- runs an encoder on token numbers from stdin, for encoder_oracle.py.
 *
 *   encode MODEL [--precision f32|bf16|int8] [--isa NAME] [--adapter FOLDER] [--exit LAYER] [--threads N] [--repeat N]
 *
 * In: one text a line, numbers with spaces between. Out: one line of JSON about the model, then floats as they lie in memory:
 * hidden states of all tokens, the pooled vector of each text and, if the model has a head, the logits of each. With --repeat the
 * forward is timed instead: the line says the median and the least microseconds, and the least of processor time, which a busy
 * machine disturbs less. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/buf.h"
#include "base/json.h"
#include "neural/encoder.h"

struct input { int32_t *ids; uint32_t *starts; uint32_t n_ids, n_texts; };

static void read_input(struct arena *a, struct input *in)
{
    char *line = NULL;
    size_t size = 0;
    *PUSH(a, in->starts, in->n_texts) = 0;
    while (getline(&line, &size, stdin) > 0) {
        char *at = line, *end;
        for (long v; v = strtol(at, &end, 10), end != at; at = end)
            *PUSH(a, in->ids, in->n_ids) = (int32_t)v;
        *PUSH(a, in->starts, in->n_texts) = in->n_ids;
    }
    in->n_texts--;
    free(line);
}

static void describe(const struct encoder *e)
{
    struct buf out = { 0 };
    struct json_writer w = { .out = &out };
    jw_begin(&w, '{');
    jw_key(&w, S("architecture")), jw_str(&w, str_of(e->shape.architecture));
    jw_key(&w, S("hidden")), jw_int(&w, e->shape.hidden);
    jw_key(&w, S("positions")), jw_int(&w, e->shape.positions);
    jw_key(&w, S("bytes_packed")), jw_int(&w, (int64_t)e->bytes_packed);
    jw_key(&w, S("isa")), jw_str(&w, str_of(isa_name(kernel_isa())));
    jw_key(&w, S("pooling")), jw_int(&w, e->shape.pooling);
    jw_key(&w, S("is_token_head")), jw_bool(&w, e->shape.is_token_head);
    jw_key(&w, S("labels"));
    jw_begin(&w, '[');
    for (uint32_t i = 0; i < e->shape.n_labels; i++)
        jw_str(&w, e->shape.labels[i]);
    jw_end(&w, ']');
    jw_end(&w, '}');
    buf_char(&out, '\n');
    fwrite(out.ptr, 1, out.len, stdout);
    buf_free(&out);
}

static double now_us(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void measure(const struct encoder *e, const struct encoder_batch *b, struct encoder_scratch *s, struct gang *g, size_t n)
{
    double *us = calloc(2 * n, sizeof *us), *cpu = us + n;
    if (!us)
        return;
    for (size_t i = 0; i < n; i++) {
        us[i] = now_us(CLOCK_MONOTONIC), cpu[i] = now_us(CLOCK_PROCESS_CPUTIME_ID);
        encoder_forward(e, b, s, g, NULL);
        us[i] = now_us(CLOCK_MONOTONIC) - us[i], cpu[i] = now_us(CLOCK_PROCESS_CPUTIME_ID) - cpu[i];
    }
    qsort(us, n, sizeof *us, by_value);
    qsort(cpu, n, sizeof *cpu, by_value);
    printf("{\"isa\": \"%s\", \"precision\": \"%s\", \"tokens\": %u, \"us_median\": %.0f, \"us_least\": %.0f, "
           "\"cpu_us_median\": %.0f, \"cpu_us_least\": %.0f}\n",
           isa_name(kernel_isa()), precision_name(e->precision), b->starts[b->n_texts], us[n / 2], us[0], cpu[n / 2], cpu[0]);
    free(us);
}

static int fail(const char *what)
{
    fprintf(stderr, "encode: %s\n", what);
    return 1;
}

int main(int argc, char **argv)
{
    struct encoder_options o = { 0 };
    enum isa isa = ISA_N;
    unsigned threads = 1;
    size_t repeat = 0;
    for (int i = 2; i + 1 < argc; i += 2) {
        str key = str_of(argv[i]), value = str_of(argv[i + 1]);
        if (str_eq(key, S("--precision")) && !precision_by_name(value, &o.precision))
            return fail("no such precision");
        if (str_eq(key, S("--isa")) && !isa_by_name(value, &isa))
            return fail("no such instruction set");
        if (str_eq(key, S("--adapter")))
            o.adapter = value.ptr;
        if (str_eq(key, S("--exit")))
            o.exit_layer = (uint32_t)atoi(value.ptr);
        if (str_eq(key, S("--threads")))
            threads = (unsigned)atoi(value.ptr);
        if (str_eq(key, S("--repeat")))
            repeat = (size_t)atoi(value.ptr);
    }
    struct err err = { 0 };
    if (argc < 2 || kernel_use(isa, &err) < 0)
        return fail(argc < 2 ? "which model?" : err.text);
    struct encoder *e = encoder_open(argv[1], &o, &err);
    if (!e)
        return fail(err.text);
    struct arena *a = arena_new();
    struct gang *g = threads > 1 ? gang_new(threads) : NULL;
    struct encoder_scratch *s = encoder_scratch_new();
    struct input in = { 0 };
    read_input(a, &in);
    struct encoder_batch b = { .ids = in.ids, .starts = in.starts, .n_texts = in.n_texts };
    const float *hidden = encoder_forward(e, &b, s, g, NULL);
    if (!hidden)
        return fail("the forward failed: too many tokens, or a number outside the vocabulary");
    if (repeat) {
        measure(e, &b, s, g, repeat);
    } else {
        uint32_t width = e->shape.hidden, n_labels = e->shape.n_labels;
        float *out = arena_alloc(a, ((size_t)in.n_ids * (n_labels + 1) + width) * sizeof *out);
        describe(e);
        fwrite(hidden, sizeof *hidden * width, in.n_ids, stdout);
        for (uint32_t i = 0; i < in.n_texts; i++) {
            encoder_pool(&e->shape, e->shape.pooling, hidden, &b, i, out);
            fwrite(out, sizeof *out, width, stdout);
        }
        for (uint32_t i = 0; i < in.n_texts && n_labels; i++) {
            encoder_classify(e, hidden, &b, i, out);
            fwrite(out, sizeof *out * n_labels, e->shape.is_token_head ? in.starts[i + 1] - in.starts[i] : 1, stdout);
        }
    }
    encoder_scratch_free(s);
    gang_free(g);
    encoder_close(e);
    arena_free(a);
    return 0;
}
