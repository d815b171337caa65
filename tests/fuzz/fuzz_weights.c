/* tests/fuzz/fuzz_weights.c -- model files of strangers: safetensors, shard indices, ONNX graphs. Whatever opens must be readable
 * to the last element, whole and in parts, and must be found under its name. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "neural/weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ELEMENTS_MAX = 1 << 16 };                /* read of one tensor; a transposed scalar can claim to be many */

static void read_tensor(const struct weights *w, const struct tensor *t)
{
    float chunk[97];
    size_t at;
    if (!weights_find(w, t->name))
        abort();
    for (size_t from = 0; from < t->n && from < ELEMENTS_MAX; from += COUNT_OF(chunk))
        tensor_floats(t, from, t->n - from < COUNT_OF(chunk) ? t->n - from : COUNT_OF(chunk), chunk);
    if (t->n)
        tensor_floats(t, t->n - 1, 1, chunk);
    if (t->n < ELEMENTS_MAX && !tensor_is_finite(t, &at) && at >= t->n)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    int fd = memfd_create("model", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct err e = { 0 };
    struct weights *w = weights_open(path, &e);
    if (!w && !e.text[0])
        abort();
    for (size_t i = 0; w && i < weights_n(w); i++)
        read_tensor(w, weights_at(w, i));
    weights_close(w);
    close(fd);
    return 0;
}
