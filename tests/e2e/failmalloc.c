/* failmalloc.c -- a library to preload: makes one chosen allocation fail.
 *
 * FAILMALLOC names a file of 8 bytes, mapped shared: the test writes a countdown there, and when it reaches zero the
 * allocation at hand returns NULL, once. Counts only what asks for it: every thread, every size. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static atomic_llong *countdown;
static void *(*real_malloc)(size_t);
static void *(*real_calloc)(size_t, size_t);
static void *(*real_realloc)(void *, size_t);

__attribute__((constructor)) static void open_countdown(void)
{
    real_malloc = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
    real_realloc = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
    real_calloc = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "calloc");
    const char *path = getenv("FAILMALLOC");
    int fd = path ? open(path, O_RDWR) : -1;
    if (fd < 0)
        return;
    void *p = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    countdown = p == MAP_FAILED ? NULL : p;
}

static int fails(void)
{
    return countdown && atomic_load_explicit(countdown, memory_order_relaxed) > 0
           && atomic_fetch_sub(countdown, 1) == 1;
}

void *malloc(size_t n)
{
    return fails() ? NULL : real_malloc ? real_malloc(n) : ((void *(*)(size_t))dlsym(RTLD_NEXT, "malloc"))(n);
}

/* The slabs of arenas and the stacks of fibers. The C library's own mappings do not come this way. */
void *mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset)
{
    static void *(*real_mmap)(void *, size_t, int, int, int, off_t);
    if (!real_mmap)
        real_mmap = (void *(*)(void *, size_t, int, int, int, off_t))dlsym(RTLD_NEXT, "mmap");
    return (flags & MAP_ANONYMOUS) && fails() ? MAP_FAILED : real_mmap(at, n, protection, flags, fd, offset);
}

void *realloc(void *p, size_t n)
{
    return fails() ? NULL : real_realloc ? real_realloc(p, n) : ((void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc"))(p, n);
}

void *calloc(size_t n, size_t size)             /* dlsym itself may ask before we know calloc */
{
    static _Alignas(16) char early[65536];
    static size_t used;
    if (!real_calloc) {
        size_t bytes = (n * size + 15) & ~(size_t)15;
        used += bytes;
        return used <= sizeof early ? early + used - bytes : NULL;
    }
    return fails() ? NULL : real_calloc(n, size);
}
