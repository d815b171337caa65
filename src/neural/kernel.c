/* neural/kernel.c -- packs matrices, and picks the instruction set that multiplies them.
 *
 * Everything public ends in a call through the chosen `struct kernel_set`. The choice is made once a process; whoever does
 * not call kernel_use gets the best set at the first use. Packing is the same for every set but for split float32 (see
 * kernel_set.h). */
#include "neural/kernel_set.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/huge.h"

static const struct kernel_set *const sets[ISA_N] = {
    [ISA_PLAIN]  = &kernel_plain,
#ifdef __x86_64__
    [ISA_AVX2]   = &kernel_avx2,
    [ISA_AVX512] = &kernel_avx512,
    [ISA_AMX]    = &kernel_amx,
#endif
};

static const char *const isa_names[ISA_N] = { "plain", "avx2", "avx512", "amx" };
static const char *const precision_names[PRECISION_N] = { "f32", "bf16", "int8" };

static _Atomic(const struct kernel_set *) chosen;

/* ---- the choice ---- */

const char *isa_name(enum isa i)
{
    return i < ISA_N ? isa_names[i] : "none";
}

const char *precision_name(enum precision p)
{
    return p < PRECISION_N ? precision_names[p] : "none";
}

static bool by_name(const char *const *names, unsigned n, str name, unsigned *out)
{
    for (unsigned i = 0; i < n; i++)
        if (str_ieq(name, str_of(names[i]))) {
            *out = i;
            return true;
        }
    return false;
}

bool precision_by_name(str name, enum precision *out)
{
    unsigned i = 0;
    bool found = by_name(precision_names, PRECISION_N, name, &i);
    if (found)
        *out = (enum precision)i;
    return found;
}

bool isa_by_name(str name, enum isa *out)
{
    unsigned i = 0;
    bool found = by_name(isa_names, ISA_N, name, &i);
    if (found)
        *out = (enum isa)i;
    return found;
}

static bool there[ISA_N];

static void ask_all(void)
{
    for (unsigned i = 0; i < ISA_N; i++)            /* in order: each set needs the ones before it */
        there[i] = sets[i] && (i == ISA_PLAIN || there[i - 1]) && sets[i]->is_there();
}

bool isa_is_there(enum isa i)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, ask_all);
    return i < ISA_N && there[i];
}

static enum isa best_isa(void)
{
    unsigned i = ISA_N - 1;
    while (!isa_is_there((enum isa)i))
        i--;
    return (enum isa)i;
}

int kernel_use(enum isa i, struct err *e)
{
    const char *name = getenv("SBX_ISA");
    if (i == ISA_N) {
        i = best_isa();
        if (name && *name && !isa_by_name(str_of(name), &i))
            return err_set(e, "SBX_ISA: unknown instruction set \"%s\"; there are plain, avx2, avx512, amx", name);
    }
    if (!isa_is_there(i))
        return err_set(e, "instruction set %s: not available on this machine; the best here is %s", isa_name(i),
                       isa_name(best_isa()));
    atomic_store(&chosen, sets[i]);
    return 0;
}

static const struct kernel_set *kernel(void)
{
    const struct kernel_set *k = atomic_load_explicit(&chosen, memory_order_acquire);
    if (__builtin_expect(!k, 0)) {
        if (kernel_use(ISA_N, NULL) < 0)            /* SBX_ISA asks for what is not here; kernel_use says so to who asks */
            kernel_use(best_isa(), NULL);
        k = atomic_load(&chosen);
    }
    return k;
}

enum isa kernel_isa(void)
{
    return kernel()->isa;
}

enum precision kernel_best_precision(void)
{
    return kernel()->best;
}

/* ---- packing ---- */

/* Where row `row` of the weight as given goes: its channel in packed order. */
static size_t packed_channel(const struct matrix *m, size_t row)
{
    if (!m->is_gated)
        return row;
    size_t half = m->n / 2, j = row < half ? row : row - half;
    return j / PANEL * PAIR + j % PANEL + (row < half ? 0 : PANEL);
}

static void pack_channel(struct matrix *m, size_t c, const float *row)
{
    const unsigned format = matrix_format(m);
    const size_t group = group_of(format);
    uint8_t *out = (uint8_t *)m->packed + c / PANEL * panel_bytes(format, m->k) + c % PANEL * 4;
    if (m->precision == PRECISION_INT8) {
        float max = 0;
        for (size_t j = 0; j < m->k; j++)
            max = fmaxf(max, fabsf(row[j]));
        float inverse = 127 / max;
        if (!(inverse < INFINITY))                  /* all zero, or denormal */
            inverse = 0;
        m->scale[c] = max / 127;
        for (size_t j = 0; j < m->k; j++) {
            long q = lrintf(row[j] * inverse);
            q = q > 127 ? 127 : q < -127 ? -127 : q;
            ((int8_t *)out)[j / group * TILE_ROW_BYTES + j % group] = (int8_t)q;
            m->sum[c] += (float)q;
        }
    } else if (m->precision == PRECISION_BF16) {
        for (size_t j = 0; j < m->k; j++)
            ((uint16_t *)(void *)(out + j / group * TILE_ROW_BYTES))[j % group] = bf16_of(row[j]);
    } else if (m->is_split) {
        for (size_t j = 0; j < m->k; j++) {
            uint8_t *tile = out + j / 32 * 2 * TILE_BYTES + j % 32 / group * TILE_ROW_BYTES;
            uint16_t high = bf16_of(row[j]);
            ((uint16_t *)(void *)tile)[j % group] = high;
            ((uint16_t *)(void *)(tile + TILE_BYTES))[j % group] = bf16_of(row[j] - float_of(high));
        }
    } else {
        for (size_t j = 0; j < m->k; j++)
            *(float *)(void *)(out + j * TILE_ROW_BYTES) = row[j];
    }
}

static void *zeroed(size_t bytes)
{
    bytes = round_up(bytes ? bytes : 1, 64);
    void *p = aligned_alloc(64, bytes);
    if (p)
        memset(p, 0, bytes);
    return p;
}

/* Packed weights lie together in huge pages: with few rows a product is as fast as its weights arrive, and from 8 MB on small
 * pages halve that (measured 15 against 29 GB/s), because they are more than the second-level TLB holds. A chunk is filled
 * from the front and unmapped with its last matrix; it is aligned to its size, so that a matrix finds it. */
enum { CHUNK_BYTES = 8 << 20 };

struct chunk { size_t bytes, used, live; };         /* live: matrices in it */

static pthread_mutex_t chunk_lock = PTHREAD_MUTEX_INITIALIZER;
static struct chunk *open_chunk;                    /* under chunk_lock, as are all chunks */

static struct chunk *chunk_new(size_t bytes)
{
    uint8_t *p = mmap(NULL, bytes + CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    size_t before = round_up((uintptr_t)p, CHUNK_BYTES) - (uintptr_t)p;
    if (before)
        munmap(p, before);
    munmap(p + before + bytes, CHUNK_BYTES - before);
    madvise(p + before, bytes, MADV_HUGEPAGE);      /* where there are none, small ones do */
    struct chunk *c = (struct chunk *)(void *)(p + before);
    *c = (struct chunk){ .bytes = bytes, .used = 64 };
    return c;
}

/* Zeroed, aligned to 64; NULL: no memory. */
static void *weights_take(size_t bytes)
{
    bytes = round_up(bytes ? bytes : 1, 64);
    pthread_mutex_lock(&chunk_lock);
    struct chunk *c = open_chunk;
    if (!c || c->used + bytes > c->bytes) {
        c = chunk_new(round_up(bytes + 64 > CHUNK_BYTES ? bytes + 64 : CHUNK_BYTES, HUGE_BYTES));
        if (c && bytes <= CHUNK_BYTES / 2)          /* a large one leaves the open chunk to the small ones */
            open_chunk = c;
    }
    void *p = NULL;
    if (c) {
        p = (uint8_t *)c + c->used;
        c->used += bytes;
        c->live++;
    }
    pthread_mutex_unlock(&chunk_lock);
    return p;
}

static void weights_give(void *p)
{
    if (!p)
        return;
    struct chunk *c = (struct chunk *)(void *)((uint8_t *)p - (uintptr_t)p % CHUNK_BYTES);
    pthread_mutex_lock(&chunk_lock);
    if (--c->live == 0) {
        if (c == open_chunk)
            open_chunk = NULL;
        munmap(c, c->bytes);
    }
    pthread_mutex_unlock(&chunk_lock);
}

static int pack(struct matrix *m, const struct kernel_set *set, enum precision precision, const float *weight, const float *bias,
                uint32_t n, uint32_t k, bool is_gated)
{
    assert(!is_gated || n % 2 == 0);
    *m = (struct matrix){ .precision = precision, .n = n, .k = k, .is_gated = is_gated,
                          .is_split = precision == PRECISION_F32 && set->splits_f32 };
    size_t channels = round_up(result_columns(m), pair_columns(m)) / pair_columns(m) * PAIR;
    m->bytes = channels / PANEL * panel_bytes(matrix_format(m), k);
    m->packed = weights_take(m->bytes);
    m->bias = zeroed(channels * sizeof *m->bias);
    if (precision == PRECISION_INT8) {
        m->scale = zeroed(channels * sizeof *m->scale);
        m->sum = zeroed(channels * sizeof *m->sum);
    }
    if (!m->packed || !m->bias || (precision == PRECISION_INT8 && (!m->scale || !m->sum))) {
        matrix_free(m);
        return -1;
    }
    for (size_t row = 0; row < n; row++) {
        size_t c = packed_channel(m, row);
        pack_channel(m, c, weight + row * k);
        if (bias)
            m->bias[c] = bias[row];
    }
    return 0;
}

int matrix_pack(struct matrix *m, enum precision precision, const float *weight, const float *bias, uint32_t n, uint32_t k,
                bool is_gated)
{
    return pack(m, kernel(), precision, weight, bias, n, k, is_gated);
}

void matrix_free(struct matrix *m)
{
    weights_give(m->packed);
    free(m->scale);
    free(m->sum);
    free(m->bias);
    *m = (struct matrix){ 0 };
}

/* ---- weights ahead of their use ---- */

_Thread_local struct ahead kernel_ahead;

/* Where the pairs of panels for columns from .. to lie. */
static struct ahead place_of(const struct matrix *w, size_t from, size_t to)
{
    const size_t columns = pair_columns(w), bytes = 2 * panel_bytes(matrix_format(w), w->k);
    const uintptr_t packed = (uintptr_t)w->packed;
    return (struct ahead){ packed + from / columns * bytes, packed + (to + columns - 1) / columns * bytes };
}

void kernel_ahead_in(const struct matrix *w, size_t from, size_t to)
{
    const struct ahead here = place_of(w, from, to);
    const size_t pair = 2 * panel_bytes(matrix_format(w), w->k);
    if (kernel_ahead.at < here.at + pair || kernel_ahead.at > here.end)     /* not what was expected */
        kernel_ahead.at = here.at + pair;
    kernel_ahead.end = here.end;
}

/* Threads that share products get about the same part of each. */
void kernel_ahead_of(const struct matrix *w, size_t from, size_t to, size_t bytes_max)
{
    kernel_ahead = (struct ahead){ 0 };
    if (!w->next)
        return;
    const size_t columns = result_columns(w), next = result_columns(w->next);
    kernel_ahead = place_of(w->next, next * from / columns, next * to / columns);
    kernel_ahead.end = least(kernel_ahead.end, kernel_ahead.at + bytes_max);
}

/* ---- products ---- */

static void rows_place(struct rows *r, void *scratch)
{
    r->packed = scratch;
    r->scale = (float *)(void *)((uint8_t *)scratch + round_up(r->m, TILE_ROWS) / TILE_ROWS * block_bytes(rows_format(r), r->k));
    r->zero = r->scale + r->m;
}

size_t rows_bytes(enum precision precision, size_t m, size_t k)
{
    const struct rows r = { .precision = precision, .is_split = precision == PRECISION_F32 && kernel()->splits_f32 };
    const size_t blocks = round_up(m, TILE_ROWS) / TILE_ROWS;
    return blocks * block_bytes(rows_format(&r), k) + (precision == PRECISION_INT8 ? round_up(2 * m * sizeof(float), 64) : 0);
}

void rows_prepare(struct rows *r, enum precision precision, const float *x, size_t stride, size_t m, size_t k, void *scratch)
{
    *r = (struct rows){ .precision = precision, .m = (uint32_t)m, .k = (uint32_t)k, .f32 = x, .stride = stride,
                        .is_split = precision == PRECISION_F32 && kernel()->splits_f32 };
    if (rows_format(r) == PRECISION_F32)
        return;
    assert((uintptr_t)scratch % 64 == 0);
    rows_place(r, scratch);
    kernel()->prepare(r);
}

void matrix_product(const struct matrix *w, const struct rows *x, size_t from, size_t to, float *y, size_t y_stride,
                    const struct epilogue *e)
{
    static const struct epilogue none;
    assert(matrix_format(w) == rows_format(x) && w->k == x->k);
    assert(from % KERNEL_COLUMNS == 0 && to <= result_columns(w));
    if (from < to && x->m)
        kernel()->product(w, x, from, to, y, y_stride, e ? e : &none);
}

/* ---- the loops around them ---- */

void layer_norm(const float *x, size_t m, size_t n, const float *gain, const float *bias, float epsilon, float *y)
{
    kernel()->loops->layer_norm(x, m, n, gain, bias, epsilon, y);
}

void layer_norm_add(float *x, const float *residual, size_t m, size_t n, const float *gain, const float *bias, float epsilon,
                    float *y)
{
    kernel()->loops->layer_norm_add(x, residual, m, n, gain, bias, epsilon, y);
}

void softmax(float *x, size_t n)
{
    if (n)
        kernel()->loops->softmax(x, n);
}

float vector_dot(const float *a, const float *b, size_t n)
{
    return kernel()->loops->dot(a, b, n);
}

void vector_normalise(float *x, size_t n)
{
    float square = kernel()->loops->dot(x, x, n);
    if (square > 0)
        kernel()->loops->scale(x, n, 1 / sqrtf(square));
}

void vector_mean(const float *rows, size_t m, size_t n, size_t stride, float *out)
{
    kernel()->loops->mean(rows, m, n, stride, out);
}

size_t attention_bytes(size_t t, size_t d)
{
    return round_up(kernel()->attention_bytes(t, d), 64);
}

void attention(enum precision precision, const float *q, const float *k, const float *v, size_t stride, size_t t, size_t d,
               size_t head_from, size_t head_to, float scale, size_t window, const float *bias, float *out, size_t out_stride,
               void *scratch)
{
    if (t)
        kernel()->attention(precision, q, k, v, stride, t, d, head_from, head_to, scale, window, bias, out, out_stride, scratch);
}

void rotate(float *x, size_t stride, size_t t, size_t heads, size_t d, const uint32_t *positions, const float *table)
{
    kernel()->loops->rotate(x, stride, t, heads, d, positions, table);
}

/* ---- self-check ---- */

static float noise(uint32_t *state)                 /* -1 .. 1 */
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(int32_t)*state / 2147483648.0f;
}

static bool is_near(const float *a, const float *b, size_t n, float tolerance)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(a[i] - b[i]) <= tolerance))
            return false;
    return true;
}

enum { CHECK_M = 21, CHECK_N = 100, CHECK_K = 72, CHECK_D = 24 };   /* odd enough to meet every edge */

struct check {
    float x[CHECK_M * CHECK_K], weight[CHECK_N * CHECK_K], bias[CHECK_N];
    float got[CHECK_M * CHECK_N], want[CHECK_M * CHECK_N];
    _Alignas(64) uint8_t scratch[1 << 18];
};

static int check_product(struct check *c, const struct kernel_set *k, enum precision p, bool is_gated, struct err *e)
{
    const struct kernel_set *const both[] = { &kernel_plain, k };
    size_t columns = is_gated ? CHECK_N / 2 : CHECK_N;
    for (int i = 0; i < 2; i++) {
        float *y = i ? c->got : c->want;
        struct matrix w;
        if (pack(&w, both[i], p, c->weight, c->bias, CHECK_N, CHECK_K, is_gated) < 0)
            return err_set(e, "self-check of the matrix kernels: out of memory");
        struct rows r = { .precision = p, .m = CHECK_M, .k = CHECK_K, .f32 = c->x, .stride = CHECK_K, .is_split = w.is_split };
        rows_place(&r, c->scratch);
        memset(c->scratch, 0, sizeof c->scratch);
        memset(y, 0, CHECK_M * CHECK_N * sizeof *y);
        if (rows_format(&r) != PRECISION_F32)
            both[i]->prepare(&r);
        both[i]->product(&w, &r, 0, columns, y, CHECK_N, &(struct epilogue){ .activation = ACTIVATION_GELU, .residual = c->weight,
                                                                             .residual_stride = CHECK_K + 1 });
        matrix_free(&w);
    }
    static const float tolerance[PRECISION_N] = { 1e-4f, 1e-2f, 1e-2f };
    if (!is_near(c->got, c->want, CHECK_M * CHECK_N, tolerance[p]))
        return err_set(e, "self-check of the matrix kernels: %s products in %s are wrong on this machine; set SBX_ISA to "
                       "another set", isa_name(k->isa), precision_name(p));
    return 0;
}

static int check_attention(struct check *c, const struct kernel_set *k, enum precision p, size_t window, struct err *e)
{
    const struct kernel_set *const both[] = { &kernel_plain, k };
    const size_t stride = 3 * CHECK_D;              /* query, key, value side by side */
    for (int i = 0; i < 2; i++)
        both[i]->attention(p, c->x, c->x + CHECK_D, c->x + 2 * CHECK_D, stride, CHECK_M, CHECK_D, 0, 1, 0.2f, window, NULL,
                           i ? c->got : c->want, CHECK_D, c->scratch);
    if (!is_near(c->got, c->want, CHECK_M * CHECK_D, p == PRECISION_F32 ? 1e-4f : 2e-2f))
        return err_set(e, "self-check of the matrix kernels: %s attention in %s is wrong on this machine; set SBX_ISA to "
                       "another set", isa_name(k->isa), precision_name(p));
    return 0;
}

int kernel_self_check(struct err *e)
{
    const struct kernel_set *k = kernel();
    struct check *c = zeroed(sizeof *c);
    if (!c)
        return err_set(e, "self-check of the matrix kernels: out of memory");
    assert(k->attention_bytes(CHECK_M, CHECK_D) <= sizeof c->scratch);
    uint32_t state = 1;
    for (size_t i = 0; i < COUNT_OF(c->x); i++)
        c->x[i] = noise(&state);
    for (size_t i = 0; i < COUNT_OF(c->weight); i++)
        c->weight[i] = noise(&state) / 4;
    for (size_t i = 0; i < COUNT_OF(c->bias); i++)
        c->bias[i] = noise(&state);

    int status = 0;
    for (unsigned p = 0; p < PRECISION_N && status == 0; p++) {
        status = check_product(c, k, (enum precision)p, false, e);
        if (status == 0)
            status = check_product(c, k, (enum precision)p, true, e);
        if (status == 0)
            status = check_attention(c, k, (enum precision)p, 0, e);
        if (status == 0)
            status = check_attention(c, k, (enum precision)p, 3, e);
    }
    if (status == 0) {
        kernel_plain.loops->layer_norm(c->x, CHECK_M, CHECK_K, c->weight, c->bias, 1e-5f, c->want);
        k->loops->layer_norm(c->x, CHECK_M, CHECK_K, c->weight, c->bias, 1e-5f, c->got);
        if (!is_near(c->got, c->want, CHECK_M * CHECK_K, 1e-4f))
            status = err_set(e, "self-check of the matrix kernels: %s norms are wrong on this machine; set SBX_ISA to "
                             "another set", isa_name(k->isa));
    }
    free(c);
    return status;
}
