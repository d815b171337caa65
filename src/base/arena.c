/* base/arena.c -- bump allocation in blocks of 16 KB, large blocks apart.
 *
 * Blocks of the standard size are cut from slabs that are mapped for them, whole pages each: what
 * is not used of a block is never touched and costs no memory, which is what a silent stream is
 * made of. They are kept on a free list per thread, so a request costs no malloc in steady state;
 * those of a thread that ends go to the others. The reserve is one static megabyte, handed out
 * block by block under a lock that only a failing system ever takes. */
#include "base/arena.h"
#include "base/sanitizer.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#if WITH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>
#define ROOT_REGION(p, n) __lsan_register_root_region(p, n)
#define POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n) ((void)0)
#define UNPOISON(p, n) ((void)0)
#define ROOT_REGION(p, n) ((void)0)
#endif

enum {
    BLOCK_BYTES = 16 * 1024,
    PAGE_BYTES = 4096,
    SLAB_BYTES = 64 * BLOCK_BYTES,
    WARM_MAX = 512,                             /* 8 MB a thread; beyond: the pages go back, the place to any thread */
    RESERVE_BLOCKS = 64,                        /* 64 requests may run out of memory at once */
    RESERVE_ALLOC_MAX = BLOCK_BYTES - 64,
};

struct block {
    struct block *next;
    size_t bytes;                               /* with this header */
    bool is_reserve, is_large;
};

struct deferred { struct deferred *next; void (*run)(void *); void *arg; };

struct arena {
    char *at, *end;
    struct block *blocks;
    struct deferred *deferred;
    size_t bytes;
    bool is_exhausted;
};

static _Thread_local struct block *kept;
static _Thread_local unsigned n_kept;
static _Thread_local char *slab_at, *slab_end;

static struct block *orphans;                   /* of threads that have ended; orphans_lock */
static pthread_mutex_t orphans_lock = PTHREAD_MUTEX_INITIALIZER;

static _Alignas(16) char reserve[RESERVE_BLOCKS][BLOCK_BYTES];
static bool reserve_taken[RESERVE_BLOCKS];
static pthread_mutex_t reserve_lock = PTHREAD_MUTEX_INITIALIZER;

static struct block *reserve_take(void)
{
    struct block *b = NULL;
    pthread_mutex_lock(&reserve_lock);
    for (size_t i = 0; i < RESERVE_BLOCKS && !b; i++) {
        if (!reserve_taken[i]) {
            reserve_taken[i] = true;
            b = (struct block *)(void *)reserve[i];
        }
    }
    pthread_mutex_unlock(&reserve_lock);
    if (!b) {
        fputs("signalbox: out of memory and the reserve is used up\n", stderr);
        abort();
    }
    b->bytes = BLOCK_BYTES;
    b->is_reserve = true;
    return b;
}

static void reserve_give(struct block *b)
{
    pthread_mutex_lock(&reserve_lock);
    reserve_taken[(size_t)((char *)b - reserve[0]) / BLOCK_BYTES] = false;
    pthread_mutex_unlock(&reserve_lock);
}

static struct block *slab_cut(void)
{
    if (slab_at == slab_end) {
        char *slab = mmap(NULL, SLAB_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (slab == MAP_FAILED)
            return NULL;
        ROOT_REGION(slab, SLAB_BYTES);
        slab_at = slab;
        slab_end = slab + SLAB_BYTES;
    }
    struct block *b = (struct block *)(void *)slab_at;
    slab_at += BLOCK_BYTES;
    return b;
}

static void orphan_give(struct block *b)
{
    pthread_mutex_lock(&orphans_lock);
    b->next = orphans;
    orphans = b;
    pthread_mutex_unlock(&orphans_lock);
}

static struct block *orphan_take(void)
{
    pthread_mutex_lock(&orphans_lock);
    struct block *b = orphans;
    if (b)
        orphans = b->next;
    pthread_mutex_unlock(&orphans_lock);
    return b;
}

/* Returns a block of the standard size, NULL when the system has no memory. */
static struct block *block_get(void)
{
    struct block *b = kept;
    if (b) {
        UNPOISON(b, BLOCK_BYTES);
        kept = b->next;
        n_kept--;
        return b;
    }
    b = orphan_take();
    if (!b)
        b = slab_cut();
    if (b)
        *b = (struct block){ .bytes = BLOCK_BYTES };
    return b;
}

static pthread_key_t thread_end;

static void kept_leave(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&orphans_lock);
    while (kept) {
        struct block *b = kept;
        UNPOISON(b, BLOCK_BYTES);
        kept = b->next;
        b->next = orphans;
        orphans = b;
    }
    pthread_mutex_unlock(&orphans_lock);
    n_kept = 0;
}

__attribute__((constructor)) static void thread_end_make(void)
{
    pthread_key_create(&thread_end, kept_leave);
}

static void block_put(struct block *b)
{
    UNPOISON(b, b->bytes);
    if (b->is_reserve) {
        reserve_give(b);
        return;
    }
    if (b->is_large) {
        free(b);
        return;
    }
    /* Beyond, whoever needs it: a configuration is built by one thread and freed by another, which would collect its blocks for ever. */
    if (n_kept >= WARM_MAX) {
        madvise((char *)b + PAGE_BYTES, BLOCK_BYTES - PAGE_BYTES, MADV_DONTNEED);
        orphan_give(b);
        return;
    }
    if (!kept)
        pthread_setspecific(thread_end, b);
    b->next = kept;
    kept = b;
    n_kept++;
    POISON(b + 1, BLOCK_BYTES - sizeof *b);
}

static void arena_open(struct arena *a, struct block *b)
{
    b->next = a->blocks;
    a->blocks = b;
    a->bytes += b->bytes;
    a->at = (char *)(b + 1);
    a->at += -(uintptr_t)a->at & 15;
    a->end = (char *)b + b->bytes;
}

struct arena *arena_new(void)
{
    struct block *b = block_get();
    if (!b)
        return NULL;
    struct arena first = { 0 };
    arena_open(&first, b);
    struct arena *a = (struct arena *)(void *)first.at;
    first.at += (sizeof *a + 15) & ~(size_t)15;
    *a = first;
    return a;
}

void arena_free(struct arena *a)
{
    if (!a)
        return;
    for (struct deferred *d = a->deferred; d; d = d->next)
        d->run(d->arg);
    for (struct block *b = a->blocks, *next; b; b = next) {
        next = b->next;
        block_put(b);
    }
}

/* A block of its own for `n` bytes, linked behind the open one so that the rest of that stays in
 * use. */
static void *arena_large(struct arena *a, size_t n)
{
    if (n > SIZE_MAX / 2)
        return NULL;
    struct block *b = malloc(sizeof *b + 16 + n);
    if (!b)
        return NULL;
    *b = (struct block){ .next = a->blocks->next, .bytes = sizeof *b + 16 + n, .is_large = true };
    a->blocks->next = b;
    a->bytes += b->bytes;
    char *p = (char *)(b + 1);
    return p + (-(uintptr_t)p & 15);
}

static void *arena_bump(struct arena *a, size_t n)
{
    n = (n + 15) & ~(size_t)15;
    if ((size_t)(a->end - a->at) < n)
        return NULL;
    void *p = a->at;
    a->at += n;
    return p;
}

void *arena_try(struct arena *a, size_t n)
{
    if (n == 0)
        n = 1;
    if (n > SIZE_MAX / 2) {
        a->is_exhausted = true;
        return NULL;
    }
    void *p = arena_bump(a, n);
    if (p)
        return p;
    if (n > BLOCK_BYTES / 4) {
        p = arena_large(a, n);
    } else {
        struct block *b = block_get();
        if (b) {
            arena_open(a, b);
            p = arena_bump(a, n);
        }
    }
    if (!p)
        a->is_exhausted = true;
    return p;
}

void *arena_alloc(struct arena *a, size_t n)
{
    void *p = arena_try(a, n);
    if (!p) {
        if (n > RESERVE_ALLOC_MAX) {
            fputs("signalbox: out of memory\n", stderr);
            abort();                            /* sizes of strangers go through arena_try */
        }
        arena_open(a, reserve_take());
        p = arena_bump(a, n);
    }
    return memset(p, 0, n);
}

void arena_trim(struct arena *a, void *p, size_t had, size_t keep)
{
    had = (had + 15) & ~(size_t)15;
    keep = (keep + 15) & ~(size_t)15;
    if ((char *)p + had == a->at && keep < had)
        a->at = (char *)p + keep;
}

bool arena_exhausted(const struct arena *a)
{
    return a->is_exhausted;
}

void arena_fail(struct arena *a)
{
    a->is_exhausted = true;
}

size_t arena_bytes(const struct arena *a)
{
    return a->bytes;
}

char *arena_cstr(struct arena *a, str s)
{
    return (char *)(uintptr_t)arena_str(a, s).ptr;
}

str arena_str(struct arena *a, str s)
{
    char *p = arena_try(a, s.len + 1);
    if (!p)
        return (str){ arena_alloc(a, 1), 0 };   /* empty, and the arena says exhausted */
    if (s.len)
        memcpy(p, s.ptr, s.len);
    p[s.len] = 0;
    return (str){ p, s.len };
}

str arena_vprintf(struct arena *a, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    char small[512];
    int n = vsnprintf(small, sizeof small, format, args);
    if (n < 0)
        n = 0;
    str out;
    if ((size_t)n < sizeof small) {
        out = arena_str(a, (str){ small, (size_t)n });
    } else {
        char *p = arena_try(a, (size_t)n + 1);
        out = p ? (str){ p, (size_t)vsnprintf(p, (size_t)n + 1, format, again) } : S("");
    }
    va_end(again);
    return out;
}

str arena_printf(struct arena *a, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    str s = arena_vprintf(a, format, args);
    va_end(args);
    return s;
}

void arena_defer(struct arena *a, void (*run)(void *), void *arg)
{
    struct deferred *d = ARENA_NEW(a, struct deferred);
    *d = (struct deferred){ a->deferred, run, arg };
    a->deferred = d;
}

void *arena_push(struct arena *a, void *items, size_t n, size_t item_size)
{
    if (n == 0 || (n >= 4 && (n & (n - 1)) == 0)) {
        size_t room = n ? 2 * n : 4;
        void *bigger = arena_alloc(a, room * item_size);
        if (n)
            memcpy(bigger, items, n * item_size);
        return bigger;
    }
    memset((char *)items + n * item_size, 0, item_size);
    return items;
}
