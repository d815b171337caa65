/* tests/fuzz/fuzz_head.c -- head files of strangers, and texts for their words. The input's first two bytes say how long the text at its
 * end is. Whatever opens must run and give probabilities. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "neural/head.h"
#include "neural/kernel.h"
#include "neural/passages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void head_try(const struct head *h, str text)
{
    static float vector[16384], words[HEAD_LABELS_MAX], out[HEAD_LABELS_MAX];
    for (uint32_t i = 0; i < h->dim; i++)
        vector[i] = .01f;
    head_ngrams(h, text, words);
    head_run(h, vector, words, out);
    for (uint32_t i = 0; i < h->n_labels; i++)
        if (out[i] < 0 || out[i] > 1)           /* NaN is what weights of 1e38 may give; no number is outside */
            abort();
    head_tokens(h, vector, 1, out);
    struct passages found = { .n = 0 };
    if (!passages_wanted(h, text.len))
        return;
    passages_add(&found, h, text, 0);
    passages_end(&found, h);
    for (uint32_t i = 0; i < found.n; i++)
        if (found.list[i].from >= found.list[i].to || found.list[i].to > text.len)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool is_ready;
    struct err e = { 0 };
    if (!is_ready)
        kernel_use(ISA_N, &e);
    is_ready = true;
    if (size < 2)
        return 0;
    size_t text = data[0] | (size_t)data[1] << 8, rest = size - 2;
    if (text > rest)
        text = rest;
    char path[64];
    int fd = memfd_create("head", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data + 2, rest - text) != (ssize_t)(rest - text))
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct head *h = head_open(path, &e);
    if (!h && !e.text[0])
        abort();
    if (h)
        head_try(h, (str){ (const char *)data + size - text, text });
    head_close(h);
    close(fd);
    return 0;
}
