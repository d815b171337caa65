/* base/hex.c */
#include "base/hex.h"

char *hex_write(char *to, const void *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *from = bytes;
    for (size_t i = 0; i < n; i++) {
        *to++ = digits[from[i] >> 4];
        *to++ = digits[from[i] & 15];
    }
    return to;
}

bool hex_read(str text, void *bytes, size_t n)
{
    unsigned char *to = bytes;
    if (text.len != 2 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        int high = hex_digit(text.ptr[2 * i]), low = hex_digit(text.ptr[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        to[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

bool hex_u64(str text, uint64_t *out)
{
    uint64_t v = 0;
    bool ok = text.len >= 1 && text.len <= 16;
    for (size_t i = 0; ok && i < text.len; i++) {
        int digit = hex_digit(text.ptr[i]);
        ok = digit >= 0;
        v = v << 4 | ((unsigned)digit & 15);
    }
    *out = ok ? v : 0;
    return ok;
}
