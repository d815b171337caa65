/* neural/cache.h -- answers that may be asked for again, bounded in bytes.
 *
 * An answer is one block of memory, written by whoever computes it and never changed after it is kept. It is counted: the
 * cache holds it, and so does everybody who is reading, so that dropping it from the cache takes nothing away from a reader. */
#ifndef SBX_CACHE_H
#define SBX_CACHE_H

#include <stdatomic.h>

#include "neural/service.h"

struct key { uint64_t low, high; };     /* 128 bits of hash name a text, a (model, text) or a (model, head, text) */

struct byte_range { uint32_t from, to; };

struct answer {
    struct answer *chain;               /* these three and `key`: cache.c, under its lock */
    struct answer *newer, *older;
    struct key key;
    atomic_uint holders;
    uint32_t n_windows, width;
    uint32_t n_tokens;                  /* that were read for it; 0: none */
    struct byte_range *windows;         /* [n_windows], where they lie in the text */
    float *values;                      /* [n_windows][width] */
    struct neural_span *spans; uint32_t n_spans;
    size_t bytes;                       /* of the whole block */
};

struct key key_of_text(str text);
struct key key_mix(struct key k, uint64_t serial);      /* the key of this text for that model or head */
static inline bool key_eq(struct key a, struct key b)
{
    return a.low == b.low && a.high == b.high;
}

/* One holder: the caller. Contents are not set. NULL: no memory. */
struct answer *answer_new(uint32_t n_windows, uint32_t width, uint32_t n_spans);
struct answer *answer_hold(struct answer *r);
void answer_release(struct answer *r);          /* NULL is fine */

struct cache;
struct cache *cache_new(size_t bytes_max);      /* NULL: no memory */
void   cache_free(struct cache *c);
struct answer *cache_find(struct cache *c, struct key key);                 /* held for the caller; NULL: miss */
void   cache_put(struct cache *c, struct key key, struct answer *r);        /* holds it; drops what was used longest ago */
size_t cache_bytes(struct cache *c);

#endif
