/* neural/cache.c -- a hash table and a list in order of last use, under one lock.
 *
 * A look-up is some hundred nanoseconds beside forwards of milliseconds, so one lock is plenty. The table has a fixed number
 * of buckets: what the bound can hold of small answers. */
#include "neural/cache.h"

#define XXH_INLINE_ALL
#include <pthread.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/hash.h"
#include "base/rand.h"

enum {
    ANSWER_USUAL = 1024,                /* bytes of a small one: fixes the number of buckets */
    SHARE_MAX = 8,                      /* an answer larger than 1/8 of the cache is not kept */
    MALLOC_BYTES = 16,                  /* what malloc adds to a block */
};

struct cache {
    pthread_mutex_t lock;               /* of all below */
    size_t bytes, bytes_max;
    struct answer *newest, *oldest;
    size_t mask;
    struct answer *buckets[];
};

/* ---- keys ---- */

static uint64_t seed;                   /* strangers cannot choose texts that collide */

__attribute__((constructor)) static void seed_once(void)
{
    seed = rand_system();
}

struct key key_of_text(str text)
{
    XXH128_hash_t h = XXH3_128bits_withSeed(text.ptr ? text.ptr : "", text.len, seed);
    return (struct key){ h.low64, h.high64 };
}

struct key key_mix(struct key k, uint64_t serial)
{
    return (struct key){ hash_mix(k.low ^ hash_mix(serial)), hash_mix(k.high + hash_mix(~serial)) };
}

/* ---- answers ---- */

struct answer *answer_new(uint32_t n_windows, uint32_t width, uint32_t n_spans)
{
    size_t values = (size_t)n_windows * width * sizeof(float), ranges = n_windows * sizeof(struct byte_range);
    size_t bytes = sizeof(struct answer) + values + ranges + n_spans * sizeof(struct neural_span);
    struct answer *r = malloc(bytes);
    if (!r)
        return NULL;
    char *at = (char *)(r + 1);
    *r = (struct answer){ .holders = 1, .n_windows = n_windows, .width = width, .n_spans = n_spans };
    r->bytes = bytes + MALLOC_BYTES;
    r->windows = (struct byte_range *)(void *)at;
    r->values = (float *)(void *)(at + ranges);
    r->spans = (struct neural_span *)(void *)(at + ranges + values);
    return r;
}

struct answer *answer_hold(struct answer *r)
{
    atomic_fetch_add_explicit(&r->holders, 1, memory_order_relaxed);
    return r;
}

void answer_release(struct answer *r)
{
    if (r && atomic_fetch_sub_explicit(&r->holders, 1, memory_order_acq_rel) == 1)
        free(r);
}

/* ---- the cache ---- */

struct cache *cache_new(size_t bytes_max)
{
    size_t n = 64;
    while (n < bytes_max / ANSWER_USUAL)
        n *= 2;
    struct cache *c = calloc(1, sizeof *c + n * sizeof(struct answer *));
    if (!c)
        return NULL;
    pthread_mutex_init(&c->lock, NULL);
    c->bytes_max = bytes_max;
    c->mask = n - 1;
    return c;
}

void cache_free(struct cache *c)
{
    if (!c)
        return;
    for (struct answer *r = c->newest, *older; r; r = older) {
        older = r->older;
        answer_release(r);
    }
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static void list_take(struct cache *c, struct answer *r)
{
    *(r->newer ? &r->newer->older : &c->newest) = r->older;
    *(r->older ? &r->older->newer : &c->oldest) = r->newer;
}

static void list_put(struct cache *c, struct answer *r)
{
    r->newer = NULL;
    r->older = c->newest;
    *(r->older ? &r->older->newer : &c->oldest) = r;
    c->newest = r;
}

static struct answer **place_of(struct cache *c, struct key key)    /* where it hangs, or the end of its chain */
{
    struct answer **at = &c->buckets[key.low & c->mask];
    while (*at && !key_eq((*at)->key, key))
        at = &(*at)->chain;
    return at;
}

static void drop(struct cache *c, struct answer *r)
{
    *place_of(c, r->key) = r->chain;
    list_take(c, r);
    c->bytes -= r->bytes;
    answer_release(r);
}

struct answer *cache_find(struct cache *c, struct key key)
{
    pthread_mutex_lock(&c->lock);
    struct answer *r = *place_of(c, key);
    if (r) {
        list_take(c, r);
        list_put(c, r);
        answer_hold(r);
    }
    pthread_mutex_unlock(&c->lock);
    return r;
}

void cache_put(struct cache *c, struct key key, struct answer *r)
{
    if (r->bytes > c->bytes_max / SHARE_MAX)
        return;
    pthread_mutex_lock(&c->lock);
    struct answer **at = place_of(c, key);
    if (!*at) {                                 /* else: two flights of the same text, both right */
        r->key = key;
        r->chain = NULL;
        *at = answer_hold(r);
        list_put(c, r);
        c->bytes += r->bytes;
        while (c->bytes > c->bytes_max)
            drop(c, c->oldest);
    }
    pthread_mutex_unlock(&c->lock);
}

size_t cache_bytes(struct cache *c)
{
    pthread_mutex_lock(&c->lock);
    size_t n = c->bytes;
    pthread_mutex_unlock(&c->lock);
    return n;
}
