/* neural/safetensors.c -- the safetensors format: eight bytes of length, a JSON header, the arrays.
 *
 * The header is {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [from, to]}, "__metadata__": {"key": "text"}}; offsets
 * count from the end of the header. Nothing in it is believed: type, shape and span must agree, spans must lie in the file and
 * must not overlap. (Format: the README of the safetensors project.) */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/json.h"
#include "neural/weights_file.h"

enum { HEADER_MAX = 100 << 20 };                /* bytes; as the reference reader has it */

struct span { size_t from, to; const struct tensor *tensor; };
struct reading { struct weights *w; const struct mapping *file; struct json j; size_t data_at; struct span *spans; size_t n; };

static int read_tensor(struct reading *r, str name, jref about, struct err *e);
static int check_overlap(struct reading *r, struct err *e);
static void read_metadata(struct weights *w, const struct json *j, jref object);
static int parse(struct weights *w, const struct mapping *file, str text, struct json *j, struct err *e);

int safetensors_read(struct weights *w, const struct mapping *file, struct err *e)
{
    uint64_t length;
    memcpy(&length, file->at, 8);
    if (length > HEADER_MAX || length > file->size - 8)
        return err_set(e, "%s: the header claims %llu bytes, which is more than %s", file->path, (unsigned long long)length,
                       length > HEADER_MAX ? "100 MB" : "the file has");
    struct reading r = { .w = w, .file = file, .data_at = 8 + (size_t)length };
    if (parse(w, file, (str){ (const char *)file->at + 8, (size_t)length }, &r.j, e) < 0)
        return -1;
    JSON_EACH_PAIR(&r.j, 0, key, value) {
        str name = json_str(&r.j, key, w->a);
        if (str_eq(name, S("__metadata__")))
            read_metadata(w, &r.j, value);
        else if (read_tensor(&r, name, value, e) < 0)
            return -1;
    }
    return check_overlap(&r, e);
}

static int parse(struct weights *w, const struct mapping *file, str text, struct json *j, struct err *e)
{
    struct json_error at;
    if (json_parse(w->a, text, j, &at) < 0)
        return err_set(e, "%s: the header is not JSON: %s at byte %zu", file->path, at.what, at.at);
    if (!json_is(j, 0, JSON_OBJECT))
        return err_set(e, "%s: the header is %s, not an object", file->path, json_kind_name(json_kind(j, 0)));
    return 0;
}

/* An array of whole numbers >= 0 into out[max]; how many, or -1. */
static int read_sizes(const struct json *j, jref array, size_t *out, unsigned max)
{
    unsigned n = 0;
    if (!json_is(j, array, JSON_ARRAY))
        return -1;
    JSON_EACH_ITEM(j, array, item) {
        int64_t v;
        if (n == max || !json_int(j, item, &v) || v < 0)
            return -1;
        out[n++] = (size_t)v;
    }
    return (int)n;
}

static bool read_dtype(str name, enum dtype *out)
{
    for (enum dtype t = DTYPE_F32; t <= DTYPE_BOOL; t++)
        if (str_eq(name, str_of(dtype_name(t)))) {
            *out = t;
            return true;
        }
    return false;
}

static int read_tensor(struct reading *r, str name, jref about, struct err *e)
{
    const struct json *j = &r->j;
    const char *path = r->file->path;
    if (!json_is(j, about, JSON_OBJECT))
        return err_set(e, "%s: tensor \"" STR_FMT "\" is described by %s", path, STR_ARG(name),
                       json_kind_name(json_kind(j, about)));
    struct tensor *t = ARENA_NEW(r->w->a, struct tensor);
    t->name = name;
    str dtype = json_str(j, json_get(j, about, S("dtype")), r->w->a);
    if (!read_dtype(dtype, &t->dtype))
        return err_set(e, "%s: tensor \"" STR_FMT "\" has type \"" STR_FMT "\", which is not read here", path, STR_ARG(name),
                       STR_ARG(dtype));
    int n_dims = read_sizes(j, json_get(j, about, S("shape")), t->dim, TENSOR_DIMS_MAX);
    if (n_dims < 0)
        return err_set(e, "%s: tensor \"" STR_FMT "\" has no shape of up to %d sizes", path, STR_ARG(name), TENSOR_DIMS_MAX);
    t->n_dims = (unsigned)n_dims;
    size_t at[2], have = r->file->size - r->data_at;
    if (read_sizes(j, json_get(j, about, S("data_offsets")), at, 2) != 2 || at[0] > at[1] || at[1] > have)
        return err_set(e, "%s: tensor \"" STR_FMT "\": data_offsets do not lie in the %zu bytes behind the header", path,
                       STR_ARG(name), have);
    t->data = r->file->at + r->data_at + at[0];
    if (at[0] < at[1])
        *PUSH(r->w->a, r->spans, r->n) = (struct span){ at[0], at[1], t };
    return weights_add(r->w, path, t, at[1] - at[0], e);
}

static int span_order(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    return x->from < y->from ? -1 : x->from > y->from;
}

static int check_overlap(struct reading *r, struct err *e)
{
    if (r->n)
        qsort(r->spans, r->n, sizeof *r->spans, span_order);
    for (size_t i = 1; i < r->n; i++)
        if (r->spans[i].from < r->spans[i - 1].to)
            return err_set(e, "%s: tensors \"" STR_FMT "\" and \"" STR_FMT "\" overlap", r->file->path,
                           STR_ARG(r->spans[i - 1].tensor->name), STR_ARG(r->spans[i].tensor->name));
    return 0;
}

static void read_metadata(struct weights *w, const struct json *j, jref object)
{
    if (!json_is(j, object, JSON_OBJECT))
        return;
    JSON_EACH_PAIR(j, object, key, value) {
        str *pair = *PUSH(w->a, w->metadata, w->n_metadata);
        pair[0] = json_str(j, key, w->a);
        pair[1] = json_str(j, value, w->a);
    }
}

/* {"weight_map": {"name": "model-00001-of-00002.safetensors"}}: every file that is named, once; then every name must be there. */
int safetensors_read_index(struct weights *w, const struct mapping *file, struct err *e)
{
    struct json j;
    if (parse(w, file, (str){ (const char *)file->at, file->size }, &j, e) < 0)
        return -1;
    jref files = json_get(&j, 0, S("weight_map"));
    if (!json_is(&j, files, JSON_OBJECT))
        return err_set(e, "%s: no \"weight_map\"", file->path);
    struct map seen = { .a = w->a };
    JSON_EACH_PAIR(&j, files, key, value) {
        str name = json_str(&j, value, w->a);
        if (!map_put(&seen, name, NULL))
            continue;
        const char *path = weights_sibling(w, file->path, name, e);
        const struct mapping *shard = path ? weights_map(w, path, e) : NULL;
        if (!shard || safetensors_read(w, shard, e) < 0)
            return -1;
    }
    JSON_EACH_PAIR(&j, files, key, value) {
        str name = json_str(&j, key, w->a);
        if (!weights_find(w, name))
            return err_set(e, "%s: tensor \"" STR_FMT "\" is in none of the files", file->path, STR_ARG(name));
    }
    return 0;
}

/* ---- writing ---- */

static void write_header(struct buf *out, const struct tensor_out *list, const size_t *counts, size_t n,
                         const struct string_pairs *metadata);
static int write_all(int fd, const void *bytes, size_t n);
static int write_arrays(int fd, const struct buf *header, const struct tensor_out *list, const size_t *counts, size_t n);
static int sync_folder(const char *path);

int weights_write(const char *path, const struct tensor_out *list, size_t n, const struct string_pairs *metadata, struct err *e)
{
    struct arena *a = arena_new();
    if (!a)
        return err_set(e, "%s: no memory", path);
    size_t *counts = ARENA_ARRAY(a, size_t, n);
    for (size_t i = 0; i < n; i++) {
        struct tensor t = { .n_dims = list[i].n_dims };
        memcpy(t.dim, list[i].dim, sizeof t.dim);
        if (tensor_count(&t) < 0) {
            arena_free(a);
            return err_set(e, "%s: tensor \"" STR_FMT "\" is too large", path, STR_ARG(list[i].name));
        }
        counts[i] = t.n;
    }
    struct buf header = { 0 };
    write_header(&header, list, counts, n, metadata);
    const char *beside = arena_printf(a, "%s.%ld.part", path, (long)getpid()).ptr;
    int rc = -1, fd = header.is_failed ? -1 : open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd >= 0) {
        rc = write_arrays(fd, &header, list, counts, n);
        if (close(fd) < 0 || rc < 0 || rename(beside, path) < 0 || sync_folder(path) < 0)
            rc = -1;
    }
    if (rc < 0) {
        err_set(e, "%s: cannot write: %s", path, strerror(header.is_failed ? ENOMEM : errno));
        if (fd >= 0)
            unlink(beside);
    }
    buf_free(&header);
    arena_free(a);
    return rc;
}

static void write_header(struct buf *out, const struct tensor_out *list, const size_t *counts, size_t n,
                         const struct string_pairs *metadata)
{
    struct json_writer w = { .out = out };
    uint64_t length = 0;
    buf_add(out, &length, 8);
    jw_begin(&w, '{');
    if (metadata && metadata->n) {
        jw_key(&w, S("__metadata__"));
        jw_begin(&w, '{');
        for (size_t i = 0; i < metadata->n; i++) {
            jw_key(&w, metadata->items[i][0]);
            jw_str(&w, metadata->items[i][1]);
        }
        jw_end(&w, '}');
    }
    for (size_t i = 0, at = 0; i < n; i++) {
        jw_key(&w, list[i].name);
        jw_begin(&w, '{');
        jw_key(&w, S("dtype"));
        jw_str(&w, S("F32"));
        jw_key(&w, S("shape"));
        jw_begin(&w, '[');
        for (unsigned d = 0; d < list[i].n_dims; d++)
            jw_int(&w, (int64_t)list[i].dim[d]);
        jw_end(&w, ']');
        jw_key(&w, S("data_offsets"));
        jw_begin(&w, '[');
        jw_int(&w, (int64_t)at);
        at += counts[i] * sizeof(float);
        jw_int(&w, (int64_t)at);
        jw_end(&w, ']');
        jw_end(&w, '}');
    }
    jw_end(&w, '}');
    while (out->len % 64 && !out->is_failed)    /* so that the arrays are aligned in the mapping */
        buf_char(out, ' ');
    length = out->len - 8;
    if (!out->is_failed)
        memcpy(out->ptr, &length, 8);
}

static int write_arrays(int fd, const struct buf *header, const struct tensor_out *list, const size_t *counts, size_t n)
{
    if (write_all(fd, header->ptr, header->len) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (write_all(fd, list[i].data, counts[i] * sizeof(float)) < 0)
            return -1;
    return fsync(fd);
}

static int write_all(int fd, const void *bytes, size_t n)
{
    const char *at = bytes;
    while (n) {
        ssize_t wrote = write(fd, at, n);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return -1;
        at += wrote, n -= (size_t)wrote;
    }
    return 0;
}

static int sync_folder(const char *path)        /* so that the new name survives a crash */
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    if (slash && (size_t)(slash - path) >= sizeof folder)
        return -1;
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : fsync(fd);
    if (fd >= 0)
        close(fd);
    return rc;
}
