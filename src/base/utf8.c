/* base/utf8.c
 *
 * Classes and cases come from utf8proc. Folding is asked for every letter of a text, so the
 * fact that most blocks of 64 code points have no case at all is kept as a bit map. */
#include "base/utf8.h"

#include <pthread.h>
#include <utf8proc.h>

uint32_t utf8_decode(str s, size_t *at)
{
    const unsigned char *p = (const unsigned char *)s.ptr + *at;
    size_t left = s.len - *at;
    ++*at;
    if (p[0] < 0x80)
        return p[0];
    size_t more = p[0] >= 0xF0 ? 3 : p[0] >= 0xE0 ? 2 : 1;
    if (p[0] < 0xC2 || p[0] > 0xF4 || more >= left)
        return UTF8_BAD;
    uint32_t code = p[0] & (0x3Fu >> more);
    for (size_t i = 1; i <= more; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return UTF8_BAD;
        code = code << 6 | (p[i] & 0x3Fu);
    }
    static const uint32_t smallest[] = { 0, 0x80, 0x800, 0x10000 };
    if (code < smallest[more] || code > 0x10FFFF || code - 0xD800 < 0x800)
        return UTF8_BAD;
    *at += more;
    return code;
}

uint32_t utf8_before(str s, size_t at)
{
    size_t start = at - 1;
    while (start > 0 && at - start < UTF8_MAX && ((unsigned char)s.ptr[start] & 0xC0) == 0x80)
        start--;
    size_t end = start;
    uint32_t code = utf8_decode(str_upto(s, at), &end);
    return end == at ? code : UTF8_BAD;
}

size_t utf8_put(char out[UTF8_MAX], uint32_t code)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

size_t utf8_count(str s)
{
    size_t n = 0;
    for (size_t at = 0; at < s.len; n++)
        utf8_next(s, &at);
    return n;
}

bool utf8_is_valid(str s)
{
    for (size_t at = 0; at < s.len;) {
        size_t start = at;
        if (utf8_next(s, &at) == UTF8_BAD && at - start == 1)
            return false;                       /* U+FFFD itself takes three bytes */
    }
    return true;
}

/* ---- cases ---- */

enum { FOLD_END = 0x1F000, PAGE = 64 };         /* nothing beyond has cases */

static uint8_t page_folds[FOLD_END / PAGE];
static pthread_once_t page_once = PTHREAD_ONCE_INIT;

/* The dotted capital and dotless small I have only full or Turkic foldings: alone in RE2. */
uint32_t utf8_fold(uint32_t code)
{
    if (code < 0x80)
        return code - 'A' < 26u ? code + 32 : code;
    if (code >= FOLD_END || code == 0x130 || code == 0x131)
        return code;
    return (uint32_t)utf8proc_tolower(utf8proc_toupper((utf8proc_int32_t)code));
}

uint32_t utf8_lower(uint32_t code)
{
    if (code < 0x80)
        return code - 'A' < 26u ? code + 32 : code;
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
}

static void page_fill(void)
{
    for (uint32_t code = 0; code < FOLD_END; code++) {
        if (utf8_fold(code) != code)
            page_folds[code / PAGE] = 1;
    }
}

bool utf8_page_folds(uint32_t code)
{
    pthread_once(&page_once, page_fill);
    return code < FOLD_END && page_folds[code / PAGE];
}

/* ---- classes ---- */

struct range { uint32_t first, last; };

/* Scripts.txt of Unicode 15; the order is that of code points. */
static const struct range han[] = {
    { 0x2E80, 0x2E99 },   { 0x2E9B, 0x2EF3 },   { 0x2F00, 0x2FD5 },   { 0x3005, 0x3005 },
    { 0x3007, 0x3007 },   { 0x3021, 0x3029 },   { 0x3038, 0x303B },   { 0x3400, 0x4DBF },
    { 0x4E00, 0x9FFF },   { 0xF900, 0xFA6D },   { 0xFA70, 0xFAD9 },   { 0x16FE2, 0x16FE3 },
    { 0x16FF0, 0x16FF1 }, { 0x20000, 0x2A6DF }, { 0x2A700, 0x2B739 }, { 0x2B740, 0x2B81D },
    { 0x2B820, 0x2CEA1 }, { 0x2CEB0, 0x2EBE0 }, { 0x2F800, 0x2FA1D }, { 0x30000, 0x3134A },
    { 0x31350, 0x323AF },
};
static const struct range kana_hangul[] = {
    { 0x1100, 0x11FF },   { 0x302E, 0x302F },   { 0x3041, 0x3096 },   { 0x309D, 0x309F },
    { 0x30A1, 0x30FA },   { 0x30FD, 0x30FF },   { 0x3131, 0x318E },   { 0x31F0, 0x321E },
    { 0x3260, 0x327E },   { 0x32D0, 0x32FE },   { 0x3300, 0x3357 },   { 0xA960, 0xA97C },
    { 0xAC00, 0xD7A3 },   { 0xD7B0, 0xD7C6 },   { 0xD7CB, 0xD7FB },   { 0xFF66, 0xFF6F },
    { 0xFF71, 0xFF9D },   { 0xFFA0, 0xFFBE },   { 0xFFC2, 0xFFC7 },   { 0xFFCA, 0xFFCF },
    { 0xFFD2, 0xFFD7 },   { 0xFFDA, 0xFFDC },   { 0x1AFF0, 0x1AFFE }, { 0x1B000, 0x1B122 },
    { 0x1B132, 0x1B132 }, { 0x1B150, 0x1B152 }, { 0x1B155, 0x1B155 }, { 0x1B164, 0x1B167 },
    { 0x1F200, 0x1F200 },
};

/* Every letter of a text is asked for: bit maps of the two classes over the BMP, made once. */
static uint8_t alnum_map[0x10000 / 8], cjk_map[0x10000 / 8];
static pthread_once_t map_once = PTHREAD_ONCE_INIT;

static bool range_has(const struct range *ranges, size_t n, uint32_t code)
{
    size_t low = 0;
    while (n > 1) {
        size_t half = n / 2;
        if (ranges[low + half].first <= code)
            low += half;
        n -= half;
    }
    return code >= ranges[low].first && code <= ranges[low].last;
}

bool utf8_is_letter(uint32_t code)
{
    if (code < 0x80)
        return (code | 32) - 'a' < 26u;
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)code);
    return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}

static bool is_alnum(uint32_t code)
{
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)code);
    return (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO)
        || c == UTF8PROC_CATEGORY_ND;
}

static bool is_cjk(uint32_t code)
{
    return range_has(han, COUNT_OF(han), code)
        || range_has(kana_hangul, COUNT_OF(kana_hangul), code);
}

static void map_fill(void)
{
    for (uint32_t code = 0; code < 0x10000; code++) {
        alnum_map[code / 8] |= (uint8_t)(is_alnum(code) << (code & 7));
        cjk_map[code / 8] |= (uint8_t)(is_cjk(code) << (code & 7));
    }
}

bool utf8_is_alnum(uint32_t code)
{
    if (code < 0x80)
        return utf8_ascii_alnum((unsigned char)code);
    if (code >= 0x10000)
        return is_alnum(code);
    pthread_once(&map_once, map_fill);
    return alnum_map[code / 8] >> (code & 7) & 1;
}

bool utf8_is_han(uint32_t code)
{
    return code >= 0x2E80 && range_has(han, COUNT_OF(han), code);
}

bool utf8_is_cjk(uint32_t code)
{
    if (code < 0x1100)
        return false;
    if (code >= 0x10000)
        return is_cjk(code);
    pthread_once(&map_once, map_fill);
    return cjk_map[code / 8] >> (code & 7) & 1;
}

const uint8_t *utf8_alnum_map(void)
{
    pthread_once(&map_once, map_fill);
    return alnum_map;
}

const uint8_t *utf8_cjk_map(void)
{
    pthread_once(&map_once, map_fill);
    return cjk_map;
}
