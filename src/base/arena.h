/* base/arena.h -- memory that dies together.
 *
 * A request, an attempt, a snapshot each own one arena; nothing in it is freed by hand.
 * Small allocations never fail: when malloc does, the arena falls back on a reserve made at
 * start-up and remembers it (arena_exhausted), so that code in the middle needs no error
 * path and the request is refused at the next stage. Large blocks whose size a stranger
 * chooses go through arena_try and may be NULL. */
#ifndef SBX_ARENA_H
#define SBX_ARENA_H

#include <stdarg.h>

#include "base/str.h"

struct arena;

struct arena *arena_new(void);                         /* NULL: no memory */
void  arena_free(struct arena *a);                     /* NULL is fine */
void *arena_alloc(struct arena *a, size_t n);          /* zeroed, aligned to 16; never NULL */
void *arena_try(struct arena *a, size_t n);            /* not zeroed; NULL: no memory */
void  arena_trim(struct arena *a, void *p, size_t had, size_t keep);   /* the newest allocation shrinks, if it is p */
bool  arena_exhausted(const struct arena *a);          /* malloc has failed since arena_new */
void  arena_fail(struct arena *a);                     /* a buffer on its way into the arena ran out of memory */
size_t arena_bytes(const struct arena *a);             /* held from malloc */
str   arena_str(struct arena *a, str s);               /* copy, NUL-terminated behind the end */
char *arena_cstr(struct arena *a, str s);
str   arena_printf(struct arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
str   arena_vprintf(struct arena *a, const char *format, va_list args);
void  arena_defer(struct arena *a, void (*run)(void *), void *arg); /* at arena_free, last first */

/* A growing array inside an arena: returns room for element n of `items` (n is the present
 * count), doubling when n is a power of two. Old storage stays in the arena. */
void *arena_push(struct arena *a, void *items, size_t n, size_t item_size);
#define ARENA_NEW(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, n) ((type *)arena_alloc((a), sizeof(type) * ((n) ? (n) : 1)))
/* PUSH(a, list, count) -> pointer to a new zeroed last element of `list` */
#define PUSH(a, list, count) \
    ((list) = arena_push((a), (list), (count), sizeof *(list)), (count)++, &(list)[(count) - 1])

#endif
