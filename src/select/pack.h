/* select/pack.h -- numbers to bytes and back, for learners' state: little-endian as the machine has it, every read checked.
 *
 * A reader that ran past the end gives zeros and remembers it, so that loading reads straight and asks once at the end. */
#ifndef SBX_SELECT_PACK_H
#define SBX_SELECT_PACK_H

#include <stdlib.h>

#include "base/buf.h"
#include "base/huge.h"

struct unpack { str rest; bool is_bad; };

static inline void pack_u32(struct buf *out, uint32_t v) { buf_add(out, &v, sizeof v); }
static inline void pack_u64(struct buf *out, uint64_t v) { buf_add(out, &v, sizeof v); }
static inline void pack_double(struct buf *out, double v) { buf_add(out, &v, sizeof v); }
static inline void pack_str(struct buf *out, str s) { pack_u32(out, (uint32_t)s.len), buf_str(out, s); }

static inline bool unpack_bytes(struct unpack *u, void *to, size_t n)
{
    if (n == 0)
        return !u->is_bad;              /* `to` may be NULL then */
    if (u->is_bad || u->rest.len < n) {
        u->is_bad = true;
        memset(to, 0, n);
        return false;
    }
    memcpy(to, u->rest.ptr, n);
    u->rest = str_from(u->rest, n);
    return true;
}

static inline uint32_t unpack_u32(struct unpack *u) { uint32_t v; unpack_bytes(u, &v, sizeof v); return v; }
static inline uint64_t unpack_u64(struct unpack *u) { uint64_t v; unpack_bytes(u, &v, sizeof v); return v; }
static inline double unpack_double(struct unpack *u) { double v; unpack_bytes(u, &v, sizeof v); return v; }

static inline str unpack_str(struct unpack *u)  /* points into the bytes */
{
    uint32_t n = unpack_u32(u);
    if (u->is_bad || u->rest.len < n) {
        u->is_bad = true;
        return S("");
    }
    str s = str_upto(u->rest, n);
    u->rest = str_from(u->rest, n);
    return s;
}

/* A count that must not be above `max`, of items of which each takes `bytes` of what is left: a lie costs no memory. */
static inline uint32_t unpack_count(struct unpack *u, uint32_t max, size_t bytes)
{
    uint32_t n = unpack_u32(u);
    if (n > max || (bytes && n > u->rest.len / bytes)) {
        u->is_bad = true;
        return 0;
    }
    return n;
}

/* An array of n items in its own memory. NULL: is_bad, or n is 0, or no memory (is_bad as well). */
static inline void *unpack_array(struct unpack *u, size_t n, size_t bytes)
{
    if (u->is_bad || n == 0)
        return NULL;
    void *p = n <= u->rest.len / bytes ? huge_alloc(n * bytes) : NULL;
    if (!p)
        u->is_bad = true;
    else
        unpack_bytes(u, p, n * bytes);
    return p;
}

/* A table that is mostly zeros: how many are not, and each with its place. */
static inline void pack_sparse(struct buf *out, const double *v, uint32_t n)
{
    uint32_t some = 0;
    for (uint32_t i = 0; i < n; i++)
        some += v[i] != 0;
    pack_u32(out, some);
    for (uint32_t i = 0; i < n; i++)
        if (v[i] != 0)
            pack_u32(out, i), pack_double(out, v[i]);
}

/* Into v[n], which is zero; each between low and high, or the bytes are bad. */
static inline bool unpack_sparse(struct unpack *u, double *v, uint32_t n, double low, double high)
{
    uint32_t some = unpack_count(u, n, sizeof(uint32_t) + sizeof(double));
    for (uint32_t k = 0; k < some && !u->is_bad; k++) {
        uint32_t i = unpack_u32(u);
        double x = unpack_double(u);
        if (i < n && x >= low && x <= high)
            v[i] = x;
        else
            u->is_bad = true;
    }
    return !u->is_bad;
}

#endif
