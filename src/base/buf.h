/* base/buf.h -- a growing run of bytes, owned by whoever declared it.
 *
 * Zero-initialise, write, buf_free. A failed malloc sets `is_failed`, drops what follows and is
 * checked once at the end, like ferror. */
#ifndef SBX_BUF_H
#define SBX_BUF_H

#include "base/str.h"

struct buf { char *ptr; size_t len, cap; bool is_failed; };

bool  buf_reserve(struct buf *b, size_t more);      /* false: no memory */
void  buf_free(struct buf *b);                      /* empty and usable again */
void  buf_add(struct buf *b, const void *bytes, size_t n);
void  buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void  buf_drop(struct buf *b, size_t n);            /* the first n bytes */
void  buf_u64(struct buf *b, uint64_t v);           /* decimal */

static inline void buf_str(struct buf *b, str s)
{
    if (s.len && s.len <= b->cap - b->len && !b->is_failed) {
        memcpy(b->ptr + b->len, s.ptr, s.len);
        b->len += s.len;
        return;
    }
    buf_add(b, s.ptr, s.len);
}

static inline void buf_char(struct buf *b, char c)
{
    if (b->len < b->cap && !b->is_failed)
        b->ptr[b->len++] = c;
    else
        buf_add(b, &c, 1);
}

struct arena;
/* Moves the bytes into the arena, NUL-terminated, and frees the buffer. A failed buffer fails the arena. */
str buf_to_arena(struct buf *b, struct arena *a);

static inline str buf_view(const struct buf *b)
{
    return (str){ b->ptr, b->len };
}

#endif
