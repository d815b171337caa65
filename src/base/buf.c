/* base/buf.c */
#include "base/buf.h"

#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { HANDED_OVER = 4096 };            /* bytes from which on a buffer is kept by its arena, not copied */

bool buf_reserve(struct buf *b, size_t more)
{
    if (b->is_failed)
        return false;
    if (more <= b->cap - b->len)
        return true;
    size_t cap = b->cap ? b->cap : 256;
    while (cap - b->len < more) {
        if (cap > SIZE_MAX / 4) {
            b->is_failed = true;
            return false;
        }
        cap *= 2;
    }
    char *p = realloc(b->ptr, cap);
    if (!p) {
        b->is_failed = true;
        return false;
    }
    b->ptr = p;
    b->cap = cap;
    return true;
}

void buf_free(struct buf *b)
{
    free(b->ptr);
    *b = (struct buf){ 0 };
}

str buf_to_arena(struct buf *b, struct arena *a)
{
    if (b->is_failed)
        arena_fail(a);
    if (b->len >= HANDED_OVER && buf_reserve(b, 1)) {
        str whole = buf_view(b);
        b->ptr[b->len] = 0;
        arena_defer(a, free, b->ptr);
        *b = (struct buf){ 0 };
        return whole;
    }
    str s = arena_str(a, buf_view(b));
    buf_free(b);
    return s;
}

void buf_add(struct buf *b, const void *bytes, size_t n)
{
    if (n == 0 || !buf_reserve(b, n))
        return;
    memcpy(b->ptr + b->len, bytes, n);
    b->len += n;
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    for (size_t room = 128;; ) {
        if (!buf_reserve(b, room))
            return;
        va_start(args, format);
        int n = vsnprintf(b->ptr + b->len, b->cap - b->len, format, args);
        va_end(args);
        if (n < 0)
            return;
        if ((size_t)n < b->cap - b->len) {
            b->len += (size_t)n;
            return;
        }
        room = (size_t)n + 1;
    }
}

void buf_drop(struct buf *b, size_t n)
{
    if (n >= b->len) {
        b->len = 0;
        return;
    }
    memmove(b->ptr, b->ptr + n, b->len - n);
    b->len -= n;
}

void buf_u64(struct buf *b, uint64_t v)
{
    char text[20];
    size_t n = 0;
    do
        text[sizeof text - ++n] = (char)('0' + v % 10);
    while (v /= 10);
    buf_add(b, text + sizeof text - n, n);
}
