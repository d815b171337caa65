/* neural/weights.c -- opens a model's weights, whatever their format, and reads elements as floats.
 *
 * The formats differ in their directory only: safetensors has JSON in front, ONNX has protobuf all over, 4-bit files have a
 * table. All readers end in the same list of names, shapes and places in the mapping. What an exporter did to an array
 * (quantised it, turned it round) is written beside it in struct tensor and undone where elements are read, in tensor_floats
 * alone. */
#include "neural/weights.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "neural/weights_file.h"

/* In a folder the first of these that exists. */
static const char *const folder_names[] = { "model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors",
                                            "model.onnx", "onnx/model.onnx", "model.q4" };

static int read_file(struct weights *w, const char *path, struct err *e);
static const char *in_folder(struct weights *w, const char *folder, struct err *e);

struct weights *weights_open(const char *path, struct err *e)
{
    struct arena *a = arena_new();
    if (!a) {
        err_set(e, "%s: no memory", path);
        return NULL;
    }
    struct weights *w = ARENA_NEW(a, struct weights);
    *w = (struct weights){ .a = a, .by_name.a = a };
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        path = in_folder(w, path, e);
    int rc = path ? read_file(w, path, e) : -1;
    if (rc == 0 && arena_exhausted(a))
        rc = err_set(e, "%s: no memory", path);
    if (rc < 0) {
        weights_close(w);
        return NULL;
    }
    return w;
}

void weights_forget(const struct weights *w)
{
    for (size_t i = 0; i < w->n_files; i++)
        madvise((void *)(uintptr_t)w->files[i]->at, w->files[i]->size, MADV_DONTNEED);
}

void weights_close(struct weights *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->n_files; i++)
        munmap((void *)(uintptr_t)w->files[i]->at, w->files[i]->size);
    arena_free(w->a);
}

static const char *in_folder(struct weights *w, const char *folder, struct err *e)
{
    for (size_t i = 0; i < COUNT_OF(folder_names); i++) {
        const char *path = arena_printf(w->a, "%s/%s", folder, folder_names[i]).ptr;
        if (access(path, F_OK) == 0)
            return path;
    }
    bool is_pickled = access(arena_printf(w->a, "%s/pytorch_model.bin", folder).ptr, F_OK) == 0;
    err_set(e, "%s: no weights: %s", folder,
            is_pickled ? "pytorch_model.bin is not read because loading it may run code; save the model as model.safetensors"
                       : "expected model.safetensors, model.safetensors.index.json, model.onnx or model.q4");
    return NULL;
}

/* safetensors begins with the length of a JSON object, an index is one, 4-bit files have a name, and protobuf is none of these. */
static int read_file(struct weights *w, const char *path, struct err *e)
{
    const struct mapping *file = weights_map(w, path, e);
    if (!file)
        return -1;
    if (file->at[0] == '{')
        return safetensors_read_index(w, file, e);
    if (file->size > 8 && file->at[8] == '{')
        return safetensors_read(w, file, e);
    if (memcmp(file->at, "E5S1", 4) == 0)
        return q4_read(w, file, e);
    return onnx_read(w, file, e);
}

struct mapping *weights_map(struct weights *w, const char *path, struct err *e)
{
    for (size_t i = 0; i < w->n_files; i++)
        if (strcmp(w->files[i]->path, path) == 0)
            return w->files[i];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) {
        err_set(e, "%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    void *at = MAP_FAILED;
    if (!S_ISREG(st.st_mode) || st.st_size < 8)
        err_set(e, "%s: %s", path, S_ISREG(st.st_mode) ? "too short for a model" : "not a regular file");
    else if ((at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0)) == MAP_FAILED)
        err_set(e, "%s: cannot map it: %s", path, strerror(errno));
    close(fd);
    if (at == MAP_FAILED)
        return NULL;
    struct mapping *m = ARENA_NEW(w->a, struct mapping);
    *m = (struct mapping){ .path = arena_cstr(w->a, str_of(path)), .at = at, .size = (size_t)st.st_size };
    *PUSH(w->a, w->files, w->n_files) = m;
    return m;
}

const char *weights_sibling(struct weights *w, const char *beside, str name, struct err *e)
{
    bool is_inside = name.len && name.ptr[0] != '/' && !memchr(name.ptr, 0, name.len);
    for (str rest = name; rest.len;)
        is_inside &= !str_eq(str_cut(&rest, '/'), S(".."));
    if (!is_inside) {
        err_set(e, "%s: \"" STR_FMT "\" is not a file inside the model's folder", beside, STR_ARG(name));
        return NULL;
    }
    const char *slash = strrchr(beside, '/');
    str folder = slash ? (str){ beside, (size_t)(slash - beside) + 1 } : S("");
    return arena_printf(w->a, STR_FMT STR_FMT, STR_ARG(folder), STR_ARG(name)).ptr;
}

int tensor_count(struct tensor *t)
{
    t->n = 1;
    for (unsigned i = 0; i < t->n_dims; i++)
        if (__builtin_mul_overflow(t->n, t->dim[i], &t->n))
            return -1;
    return t->n > SIZE_MAX / 16 ? -1 : 0;
}

static size_t bytes_of(const struct tensor *t)
{
    return t->dtype == DTYPE_Q4 ? t->n / Q4_BLOCK * Q4_BLOCK_BYTES : t->n * dtype_size(t->dtype);
}

int weights_add(struct weights *w, const char *path, struct tensor *t, size_t bytes, struct err *e)
{
    if (tensor_count(t) < 0 || bytes_of(t) != bytes)
        return err_set(e, "%s: tensor \"" STR_FMT "\" has %zu bytes, which is not what its shape and type %s need", path,
                       STR_ARG(t->name), bytes, dtype_name(t->dtype));
    if (w->by_name.n >= TENSORS_MAX)
        return err_set(e, "%s: more than %d tensors", path, TENSORS_MAX);
    if (map_has(&w->by_name, t->name))
        return err_set(e, "%s: tensor \"" STR_FMT "\" is there twice", path, STR_ARG(t->name));
    map_put(&w->by_name, t->name, t);
    return 0;
}

const struct tensor *weights_find(const struct weights *w, str name)
{
    return map_get(&w->by_name, name);
}

size_t weights_n(const struct weights *w)
{
    return w->by_name.n;
}

const struct tensor *weights_at(const struct weights *w, size_t i)
{
    return w->by_name.entries[i].value;
}

str weights_metadata(const struct weights *w, str key)
{
    for (size_t i = 0; i < w->n_metadata; i++)
        if (str_eq(w->metadata[i][0], key))
            return w->metadata[i][1];
    return S("");
}

/* ---- elements ---- */

/* IEEE 754 binary16; the exponent is moved by a multiplication, so that subnormals come out right. */
static float half_float(uint16_t h)
{
    uint32_t bits = (uint32_t)(h & 0x7fff) << 13, sign = (uint32_t)(h & 0x8000) << 16;
    float f;
    memcpy(&f, &bits, 4);
    f *= 0x1p112f;
    memcpy(&bits, &f, 4);
    bits = ((h & 0x7c00) == 0x7c00 ? bits | 0x7f800000 : bits) | sign;
    memcpy(&f, &bits, 4);
    return f;
}

static float brain_float(uint16_t h)            /* bfloat16: the upper half of a float */
{
    uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

/* Elements `step` apart. Data need not be aligned, so each goes through memcpy; compilers make loads of it. */
#define READ(type, convert) \
    for (size_t i = 0; i < n; i++) { \
        type v; \
        memcpy(&v, from + i * step * sizeof v, sizeof v); \
        out[i] = convert(v); \
    } \
    break

static void read_elements(enum dtype dtype, const uint8_t *from, size_t step, size_t n, float *out)
{
    switch (dtype) {
    case DTYPE_F32:
        if (step == 1) {
            memcpy(out, from, n * sizeof *out);
            break;
        }
        READ(float, );
    case DTYPE_F16: READ(uint16_t, half_float);
    case DTYPE_BF16: READ(uint16_t, brain_float);
    case DTYPE_F64: READ(double, (float));
    case DTYPE_I8: READ(int8_t, );
    case DTYPE_U8: READ(uint8_t, );
    case DTYPE_I32: READ(int32_t, (float));
    case DTYPE_I64: READ(int64_t, (float));
    case DTYPE_BOOL: READ(uint8_t, !!);
    case DTYPE_Q4: case DTYPE_U4: break;        /* read_blocks, read_halves */
    }
}

static void read_halves(const uint8_t *data, size_t from, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (float)(data[(from + i) / 2] >> (from + i) % 2 * 4 & 15);
}

static float block_scale(const uint8_t *block)
{
    uint16_t half;
    memcpy(&half, block, sizeof half);
    return half_float(half);
}

/* Elements from .. from + n of Q4, block by block. */
static void read_blocks(const uint8_t *data, size_t from, size_t n, float *out)
{
    while (n) {
        const uint8_t *block = data + from / Q4_BLOCK * Q4_BLOCK_BYTES;
        float scale = block_scale(block), all[Q4_BLOCK];
        size_t first = from % Q4_BLOCK, take = n < Q4_BLOCK - first ? n : Q4_BLOCK - first;
        for (size_t i = 0; i < Q4_BLOCK / 2; i++) {
            all[i] = (float)((block[2 + i] & 15) - 8) * scale;
            all[i + Q4_BLOCK / 2] = (float)((block[2 + i] >> 4) - 8) * scale;
        }
        memcpy(out, all + first, take * sizeof *out);
        from += take, out += take, n -= take;
    }
}

/* Neighbours, as they are. */
static void read_run(const struct tensor *t, size_t from, size_t n, float *out)
{
    if (t->dtype == DTYPE_U4)
        read_halves(t->data, from, n, out);
    else
        read_elements(t->dtype, (const uint8_t *)t->data + from * dtype_size(t->dtype), 1, n, out);
}

static void dequantise(const struct tensor *t, size_t row, size_t column, size_t n, float *out)
{
    const size_t blocks = t->scale_block ? t->dim[1] / t->scale_block : 0;      /* a row */
    for (size_t i = 0; i < n; i++) {
        size_t s = blocks ? row * blocks + (column + i) / t->scale_block : t->n_scales == 1 ? 0 : t->scale_axis == 0 ? row : column + i;
        out[i] = (out[i] - (t->zero ? t->zero[s] : 0)) * t->scale[s];
    }
}

void tensor_floats(const struct tensor *t, size_t from, size_t n, float *out)
{
    assert(from <= t->n && n <= t->n - from);
    const uint8_t *data = t->data;
    size_t bytes = dtype_size(t->dtype);
    if (t->dtype == DTYPE_Q4) {
        read_blocks(data, from, n, out);
        return;
    }
    if (!t->is_transposed && !t->scale) {
        read_run(t, from, n, out);
        return;
    }
    size_t rows = t->n_dims ? t->dim[0] : 1, columns = rows ? t->n / rows : 0;
    while (n) {                                 /* the part of one row */
        size_t row = from / columns, column = from % columns, take = n < columns - column ? n : columns - column;
        if (t->is_transposed)
            read_elements(t->dtype, data + (column * rows + row) * bytes, rows, take, out);
        else
            read_run(t, from, take, out);
        if (t->scale)
            dequantise(t, row, column, take, out);
        from += take, out += take, n -= take;
    }
}

bool tensor_is_finite(const struct tensor *t, size_t *at)
{
    float chunk[1024];
    if (t->dtype == DTYPE_Q4) {                 /* a block is as finite as its scale */
        const uint8_t *data = t->data;
        for (*at = 0; *at < t->n && isfinite(block_scale(data + *at / Q4_BLOCK * Q4_BLOCK_BYTES));)
            *at += Q4_BLOCK;
        return *at >= t->n;
    }
    for (size_t from = 0; from < t->n; from += COUNT_OF(chunk)) {
        size_t n = t->n - from < COUNT_OF(chunk) ? t->n - from : COUNT_OF(chunk);
        tensor_floats(t, from, n, chunk);
        float sum = 0;                          /* 0 * x is NaN when x is not finite, and stays */
        for (size_t i = 0; i < n; i++)
            sum += 0 * chunk[i];
        if (sum == 0)
            continue;
        for (*at = from; isfinite(chunk[*at - from]);)
            ++*at;
        return false;
    }
    return true;
}

static const struct { const char *name; size_t bytes; } dtypes[] = {
    [DTYPE_F32] = { "F32", 4 }, [DTYPE_F16] = { "F16", 2 }, [DTYPE_BF16] = { "BF16", 2 }, [DTYPE_F64] = { "F64", 8 },
    [DTYPE_I8] = { "I8", 1 },   [DTYPE_U8] = { "U8", 1 },   [DTYPE_I32] = { "I32", 4 },   [DTYPE_I64] = { "I64", 8 },
    [DTYPE_BOOL] = { "BOOL", 1 }, [DTYPE_Q4] = { "Q4", 0 },   [DTYPE_U4] = { "U4", 0 },
};

size_t dtype_size(enum dtype t)
{
    return dtypes[t].bytes;
}

const char *dtype_name(enum dtype t)            /* as safetensors spells it */
{
    return dtypes[t].name;
}
