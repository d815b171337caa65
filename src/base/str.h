/* base/str.h -- strings are values with a length.
 *
 * A str is {pointer, length}: copied freely, never owned, not NUL-terminated. Whoever
 * made the bytes says how long they live. C strings exist only at the system boundary. */
#ifndef SBX_STR_H
#define SBX_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

typedef struct str { const char *ptr; size_t len; } str;

#define S(literal) ((str){ "" literal, sizeof(literal) - 1 })
#define STR_FMT "%.*s"                          /* printf: STR_FMT, STR_ARG(s) */
#define STR_ARG(s) (int)((s).len > 4096 ? 4096 : (s).len), (s).ptr ? (s).ptr : ""
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static inline str str_of(const char *c)
{
    return (str){ c, c ? strlen(c) : 0 };
}

static inline bool str_eq(str a, str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool str_ieq(str a, str b)        /* ASCII case only */
{
    return a.len == b.len && (a.len == 0 || strncasecmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool str_starts(str s, str prefix)
{
    return s.len >= prefix.len && memcmp(s.ptr, prefix.ptr, prefix.len) == 0;
}

static inline bool str_ends(str s, str suffix)
{
    return s.len >= suffix.len && memcmp(s.ptr + s.len - suffix.len, suffix.ptr, suffix.len) == 0;
}

static inline str str_from(str s, size_t at)    /* the rest from byte `at` on */
{
    return at >= s.len ? (str){ s.ptr + s.len, 0 } : (str){ s.ptr + at, s.len - at };
}

static inline str str_upto(str s, size_t n)     /* the first n bytes at most */
{
    return (str){ s.ptr, n < s.len ? n : s.len };
}

int  str_cmp(str a, str b);                     /* bytewise order, shorter first on a tie */
str  str_trim(str s);                           /* without ASCII white space at both ends */
long str_find(str s, str needle);               /* byte offset of the first hit, or -1 */
long str_chr(str s, char c);                    /* byte offset, or -1 */
str  str_cut(str *rest, char separator);        /* next piece; *rest moves behind the separator */
bool str_int(str s, int64_t *out);              /* whole text is a decimal integer that fits */
bool str_double(str s, double *out);            /* whole text is a finite decimal number */
uint64_t str_hex(str s);                        /* of its first 16 lower-case hexadecimal digits; others count as 0 */
unsigned str_distance(str a, str b, unsigned limit); /* Levenshtein over bytes; > limit: limit + 1 */

#endif
