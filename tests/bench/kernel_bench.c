/* kernel_bench.c -- our matrix kernels beside oneDNN's, in one run, on one thread.
 *
 * Not part of the build: it wants Debian's libdnnl-dev.
 *   gcc -std=c17 -D_GNU_SOURCE -O3 -Isrc tests/bench/kernel_bench.c src/neural/kernel*.c src/base/{err,arena,str}.c \
 *       -ldnnl -lm -lpthread -o build/kernel_bench && build/kernel_bench [--quick]
 *
 * A line is one shape: best of many alternating runs, in GOP/s (2 m n k operations). Ours is the whole of what an encoder
 * pays: rows prepared (quantised), product, epilogue (dequantisation, bias, GELU where the encoder has it). oneDNN's int8 and
 * bf16 are the bare product into int32 or float with weights packed as it likes, and so is its f32. Its instruction set is
 * capped at AVX512_CORE_BF16: its AMX path faults under hypervisors that hide CPUID leaf 0x1D. */
#include "neural/kernel.h"

#include <dnnl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);          /* the machine may have other things to do */
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void *memory(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    if (!p)
        exit(2);
    return p;
}

static float *random_floats(size_t n)
{
    float *x = memory(n * sizeof *x);
    static uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(int32_t)state / 2147483648.0f;
    }
    return x;
}

/* ---- oneDNN ---- */

struct product { dnnl_primitive_t primitive; dnnl_stream_t stream; dnnl_exec_arg_t args[4]; int n_args; };

static dnnl_engine_t engine;

#define OK(call) \
    do { \
        dnnl_status_t status = (call); \
        if (status != dnnl_success) { \
            fprintf(stderr, "oneDNN: %d at line %d\n", status, __LINE__); \
            exit(2); \
        } \
    } while (0)

static dnnl_memory_t memory_of(const dnnl_memory_desc_t *d)
{
    dnnl_memory_t m;
    size_t bytes = dnnl_memory_desc_get_size(d);
    float *p = random_floats(bytes / 4 + 16);
    OK(dnnl_memory_create(&m, d, engine, p));
    return m;
}

static struct product product_new(enum precision precision, size_t m, size_t n, size_t k)
{
    static const dnnl_data_type_t a_type[] = { dnnl_f32, dnnl_bf16, dnnl_u8 }, b_type[] = { dnnl_f32, dnnl_bf16, dnnl_s8 },
                                  c_type[] = { dnnl_f32, dnnl_f32, dnnl_s32 };
    struct product p = { .n_args = 3 };
    dnnl_dims_t a = { (dnnl_dim_t)m, (dnnl_dim_t)k }, b = { (dnnl_dim_t)k, (dnnl_dim_t)n }, c = { (dnnl_dim_t)m, (dnnl_dim_t)n };
    dnnl_memory_desc_t ad, bd, cd;
    OK(dnnl_memory_desc_init_by_tag(&ad, 2, a, a_type[precision], dnnl_ab));
    OK(dnnl_memory_desc_init_by_tag(&bd, 2, b, b_type[precision], dnnl_format_tag_any));
    OK(dnnl_memory_desc_init_by_tag(&cd, 2, c, c_type[precision], dnnl_ab));
    dnnl_matmul_desc_t d;
    OK(dnnl_matmul_desc_init(&d, &ad, &bd, NULL, &cd));
    dnnl_primitive_desc_t pd;
    OK(dnnl_primitive_desc_create(&pd, &d, NULL, engine, NULL));
    OK(dnnl_primitive_create(&p.primitive, pd));
    OK(dnnl_stream_create(&p.stream, engine, dnnl_stream_default_flags));
    p.args[0] = (dnnl_exec_arg_t){ DNNL_ARG_SRC, memory_of(dnnl_primitive_desc_query_md(pd, dnnl_query_src_md, 0)) };
    p.args[1] = (dnnl_exec_arg_t){ DNNL_ARG_WEIGHTS, memory_of(dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0)) };
    p.args[2] = (dnnl_exec_arg_t){ DNNL_ARG_DST, memory_of(dnnl_primitive_desc_query_md(pd, dnnl_query_dst_md, 0)) };
    return p;
}

static void product_run(struct product *p)
{
    OK(dnnl_primitive_execute(p->primitive, p->stream, p->n_args, p->args));
    OK(dnnl_stream_wait(p->stream));
}

/* ---- ours ---- */

struct shape { size_t n, k; bool is_gated; enum activation activation; const char *name; };

static const struct shape shapes[] = {
    { 1152, 384,  false, ACTIVATION_NONE, "MiniLM query, key, value" },
    { 384,  384,  false, ACTIVATION_NONE, "MiniLM out" },
    { 1536, 384,  false, ACTIVATION_GELU, "MiniLM up, GELU" },
    { 384,  1536, false, ACTIVATION_NONE, "MiniLM down" },
    { 2304, 768,  false, ACTIVATION_NONE, "base query, key, value" },
    { 3072, 768,  false, ACTIVATION_GELU, "base up, GELU" },
    { 768,  3072, false, ACTIVATION_NONE, "base down" },
    { 2304, 768,  true,  ACTIVATION_GELU, "ModernBERT up, gated GELU" },
};

static const size_t tokens[] = { 1, 4, 16, 128, 512 };

static void measure(const struct shape *s, size_t m, enum precision precision, double seconds)
{
    struct matrix w;
    float *weight = random_floats(s->n * s->k), *bias = random_floats(s->n), *x = random_floats(m * s->k);
    size_t columns = s->is_gated ? s->n / 2 : s->n;
    float *y = random_floats(m * columns);
    void *scratch = memory(rows_bytes(precision, m, s->k) + 64);
    matrix_pack(&w, precision, weight, bias, (uint32_t)s->n, (uint32_t)s->k, s->is_gated);
    struct product theirs = product_new(precision, m, s->n, s->k);
    const struct epilogue e = { .activation = s->activation };
    double ours_best = 1e9, product_best = 1e9, theirs_best = 1e9;
    for (double end = now() + seconds; now() < end;) {
        struct rows r;
        for (int i = 0; i < 4; i++) {
            double t0 = now();
            rows_prepare(&r, precision, x, s->k, m, s->k, scratch);
            double t1 = now();
            matrix_product(&w, &r, 0, columns, y, columns, &e);
            double t2 = now();
            ours_best = fmin(ours_best, t2 - t0);
            product_best = fmin(product_best, t2 - t1);
        }
        for (int i = 0; i < 4; i++) {
            double t0 = now();
            product_run(&theirs);
            theirs_best = fmin(theirs_best, now() - t0);
        }
    }
    double work = 2.0 * (double)m * (double)s->n * (double)s->k / 1e9;
    printf("%-26s %4zu x %4zu x %4zu  %-5s ours %7.0f (product alone %7.0f)  oneDNN %7.0f  ratio %.2f\n", s->name, m, s->n, s->k,
           precision_name(precision), work / ours_best, work / product_best, work / theirs_best, theirs_best / ours_best);
    fflush(stdout);
    matrix_free(&w);
    free(weight), free(bias), free(x), free(y), free(scratch);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 && strcmp(argv[1], "--quick") == 0 ? 0.03 : 0.3;
    struct err e = { 0 };
    if (!getenv("OMP_NUM_THREADS")) {               /* read before main: begin again */
        setenv("DNNL_MAX_CPU_ISA", "AVX512_CORE_BF16", 1);
        setenv("OMP_NUM_THREADS", "1", 1);
        execv("/proc/self/exe", argv);
    }
    if (kernel_use(ISA_N, &e) < 0 || kernel_self_check(&e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        return 2;
    }
    OK(dnnl_engine_create(&engine, dnnl_cpu, 0));
    printf("instruction set %s, one thread, GOP/s\n", isa_name(kernel_isa()));
    for (unsigned p = 0; p < PRECISION_N; p++)
        for (size_t t = 0; t < COUNT_OF(tokens); t++)
            for (size_t i = 0; i < COUNT_OF(shapes); i++)
                measure(&shapes[i], tokens[t], (enum precision)p, seconds);
    return 0;
}
