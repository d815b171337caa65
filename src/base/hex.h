/* base/hex.h -- bytes as hexadecimal digits. Written in lower case, read in either. */
#ifndef SBX_HEX_H
#define SBX_HEX_H

#include "base/str.h"

static inline int hex_digit(char c)             /* its value, or -1 */
{
    int lower = c | 0x20;
    return c >= '0' && c <= '9' ? c - '0' : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

char *hex_write(char *to, const void *bytes, size_t n);     /* 2 * n digits, no NUL; returns what is behind them */
bool  hex_read(str text, void *bytes, size_t n);            /* false: not 2 * n digits and nothing else */
bool  hex_u64(str text, uint64_t *out);                     /* false and 0: not 1 to 16 digits */

static inline uint64_t hex_or_zero(str text)
{
    uint64_t v;
    hex_u64(text, &v);
    return v;
}

#endif
