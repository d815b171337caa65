/* tests/fuzz/fuzz_hidden.c -- codes in the texts of strangers. What is found is writing, no longer than it may be, and lies in the arena. */
#include <stdlib.h>

#include "base/utf8.h"
#include "neural/hidden.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new();
    char *text = malloc(size ? size : 1);        /* of exactly that size: what is read beyond is seen */
    memcpy(text, data, size);
    str found[HIDDEN_MAX];
    uint32_t n = hidden_find((str){ text, size }, a, found);
    free(text);
    if (n > HIDDEN_MAX)
        abort();
    for (uint32_t i = 0; i < n; i++)
        if (found[i].len == 0 || found[i].len > HIDDEN_BYTES || found[i].len >= size || !utf8_is_valid(found[i]))
            abort();
    arena_free(a);
    return 0;
}
