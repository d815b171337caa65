/* base/huge.c */
#include "base/huge.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void *huge_alloc(size_t bytes)
{
    if (bytes < HUGE_BYTES / 2)
        return malloc(bytes ? bytes : 1);
    if (bytes > SIZE_MAX / 2)
        return NULL;
    bytes = (bytes + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
    void *p = aligned_alloc(HUGE_BYTES, bytes);
    if (p)
        madvise(p, bytes, MADV_HUGEPAGE);       /* where there are none, small ones do */
    return p;
}

void *huge_calloc(size_t n, size_t bytes)
{
    if (bytes && n > SIZE_MAX / 2 / bytes)
        return NULL;
    void *p = huge_alloc(n * bytes);
    return p ? memset(p, 0, n * bytes) : NULL;
}
