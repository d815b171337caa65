/* base/str.c -- the few string operations that are more than one line. */
#include "base/str.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

int str_cmp(str a, str b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
    if (c)
        return c;
    return a.len < b.len ? -1 : a.len > b.len;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

str str_trim(str s)
{
    while (s.len && is_space(s.ptr[0]))
        s.ptr++, s.len--;
    while (s.len && is_space(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

long str_find(str s, str needle)
{
    if (needle.len == 0)
        return 0;
    const char *hit = s.len ? memmem(s.ptr, s.len, needle.ptr, needle.len) : NULL;
    return hit ? hit - s.ptr : -1;
}

long str_chr(str s, char c)
{
    const char *hit = s.len ? memchr(s.ptr, c, s.len) : NULL;
    return hit ? hit - s.ptr : -1;
}

str str_cut(str *rest, char separator)
{
    long at = str_chr(*rest, separator);
    str piece = at < 0 ? *rest : str_upto(*rest, (size_t)at);
    *rest = at < 0 ? (str){ rest->len ? rest->ptr + rest->len : rest->ptr, 0 } : str_from(*rest, (size_t)at + 1);
    return piece;
}

bool str_int(str s, int64_t *out)
{
    char text[24];
    if (s.len == 0 || s.len >= sizeof text || is_space(s.ptr[0]))
        return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = 0;
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (errno || end != text + s.len)
        return false;
    *out = v;
    return true;
}

uint64_t str_hex(str s)
{
    uint64_t v = 0;
    for (size_t i = 0; i < s.len && i < 16; i++) {
        char c = s.ptr[i];
        v = v << 4 | (uint64_t)(c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 0);
    }
    return v;
}

bool str_double(str s, double *out)
{
    char text[64];
    if (s.len == 0 || s.len >= sizeof text || is_space(s.ptr[0]))
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!strchr("0123456789+-.eE", s.ptr[i]) || s.ptr[i] == 0)
            return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = 0;
    char *end;
    double v = strtod(text, &end);
    if (end != text + s.len || !isfinite(v))
        return false;
    *out = v;
    return true;
}

unsigned str_distance(str a, str b, unsigned limit)
{
    enum { LEN_MAX = 128 };                     /* names and words; longer ones differ anyway */
    if (a.len > b.len) {
        str t = a;
        a = b;
        b = t;
    }
    if (b.len - a.len > limit || b.len > LEN_MAX)
        return limit + 1;
    unsigned row[LEN_MAX + 1];
    for (size_t i = 0; i <= a.len; i++)
        row[i] = (unsigned)i;
    for (size_t j = 1; j <= b.len; j++) {
        unsigned diagonal = row[0], least = row[0] = (unsigned)j;
        for (size_t i = 1; i <= a.len; i++) {
            unsigned up = row[i];
            unsigned best = diagonal + (a.ptr[i - 1] != b.ptr[j - 1]);
            if (up + 1 < best)
                best = up + 1;
            if (row[i - 1] + 1 < best)
                best = row[i - 1] + 1;
            row[i] = best;
            diagonal = up;
            if (best < least)
                least = best;
        }
        if (least > limit)
            return limit + 1;
    }
    return row[a.len] > limit ? limit + 1 : row[a.len];
}
