/* base/utf8.h -- code points in and out of UTF-8, and what the rest of the program asks of them.
 *
 * Broken bytes come out one by one as U+FFFD, as in Go. Case folding is Unicode's simple folding
 * (CaseFolding.txt, status C and S), the one behind (?i) in RE2; a test compares the two. */
#ifndef SBX_UTF8_H
#define SBX_UTF8_H

#include "base/str.h"

#define UTF8_BAD 0xFFFDu
enum { UTF8_MAX = 4 };                          /* bytes of one code point */

uint32_t utf8_decode(str s, size_t *at);        /* *at < s.len, moves behind; any byte */
uint32_t utf8_before(str s, size_t at);         /* the code point that ends at 0 < at <= s.len */
size_t   utf8_put(char out[UTF8_MAX], uint32_t code);   /* bytes written */
size_t   utf8_count(str s);                     /* code points, broken bytes one each */
bool     utf8_is_valid(str s);

uint32_t utf8_fold(uint32_t code);              /* one representative of all cases: mostly small */
uint32_t utf8_lower(uint32_t code);             /* simple lower case */
bool utf8_page_folds(uint32_t code);            /* false: nothing in code's block of 64 folds */
bool utf8_is_letter(uint32_t code);             /* L* */
bool utf8_is_alnum(uint32_t code);              /* L* or Nd */
bool utf8_is_han(uint32_t code);                /* script Han */
bool utf8_is_cjk(uint32_t code);                /* Han, Hiragana, Katakana, Hangul */

/* utf8_is_alnum and utf8_is_cjk as bit maps over the BMP, for loops over whole texts:
 * map[code / 8] >> (code & 7) & 1. */
const uint8_t *utf8_alnum_map(void);
const uint8_t *utf8_cjk_map(void);

static inline bool utf8_ascii_alnum(unsigned char c)
{
    return (unsigned)(c | 32) - 'a' < 26u || (unsigned)c - '0' < 10u;
}

static inline uint32_t utf8_next(str s, size_t *at)
{
    unsigned char byte = (unsigned char)s.ptr[*at];
    if (byte < 0x80) {
        ++*at;
        return byte;
    }
    return utf8_decode(s, at);
}

#endif
