/* neural/hidden.c -- see hidden.h. Candidates are runs of the characters of a code; each run is decoded once, and kept when it reads like
 * writing: valid UTF-8 without control characters, mostly letters, more than a word. */
#include "neural/hidden.h"

#include "base/hex.h"
#include "base/utf8.h"

enum {
    SENTENCE_LEAST = 12,                /* bytes, decoded */
    BASE64_LEAST = 16,                  /* characters of that many */
    ESCAPES_LEAST = 2,                  /* percent signs that make a word an encoded one */
    LETTERS_OF_TEN = 8,                 /* letters and spaces among ten characters of writing */
};

struct decoding { char bytes[HIDDEN_BYTES]; size_t n; };

static void put(struct decoding *d, unsigned byte)
{
    if (d->n < HIDDEN_BYTES)
        d->bytes[d->n++] = (char)byte;
}

/* Its value in either alphabet of RFC 4648, or -1. */
static int base64_digit(char c)
{
    if ((unsigned)(c - 'A') < 26u)
        return c - 'A';
    if ((unsigned)(c - 'a') < 26u)
        return c - 'a' + 26;
    if ((unsigned)(c - '0') < 10u)
        return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

/* The readers: each takes a run that begins at `at`, returns what is behind it, and decodes what it took. */

static size_t base64_run(str text, size_t at, struct decoding *d)
{
    uint32_t bits = 0;
    int digit;
    size_t from = at;
    for (; at < text.len && (digit = base64_digit(text.ptr[at])) >= 0; at++) {
        bits = bits << 6 | (uint32_t)digit;
        if ((at - from) % 4 != 0)               /* 6 new bits complete a byte but for the first of four */
            put(d, bits >> (6 - 2 * ((at - from) % 4)) & 0xFF);
    }
    if (at - from < BASE64_LEAST)
        d->n = 0;
    return at;
}

static bool hex_byte(str text, size_t at, unsigned *byte)
{
    int high = at + 1 < text.len ? hex_digit(text.ptr[at]) : -1, low = high >= 0 ? hex_digit(text.ptr[at + 1]) : -1;
    *byte = (unsigned)(high * 16 + low);
    return high >= 0 && low >= 0;
}

/* "69676e", "69 67 6e", "69:67:6e", "\x69\x67\x6e", "0x69, 0x67, 0x6e" */
static size_t hex_run(str text, size_t at, struct decoding *d)
{
    size_t end = at;
    for (unsigned byte; ; at = end) {
        while (at < text.len && at - end < 2 && memchr(" -:,", text.ptr[at], 4))
            at++;
        if (at + 1 < text.len && (text.ptr[at] == '\\' || text.ptr[at] == '0') && text.ptr[at + 1] == 'x')
            at += 2;
        if (!hex_byte(text, at, &byte))
            return end;
        put(d, byte);
        end = at + 2;
    }
}

/* A word with escapes, with the rest of it. */
static size_t percent_run(str text, size_t at, struct decoding *d)
{
    size_t n = 0;
    for (unsigned byte; at < text.len && (unsigned char)text.ptr[at] > ' '; ) {
        bool is_escape = text.ptr[at] == '%' && hex_byte(text, at + 1, &byte);
        put(d, is_escape ? byte : text.ptr[at] == '+' ? ' ' : (unsigned char)text.ptr[at]);
        at += is_escape ? 3 : 1;
        n += is_escape;
    }
    if (n < ESCAPES_LEAST)
        d->n = 0;
    return at;
}

static bool is_writing(str s)
{
    size_t n = 0, letters = 0, gaps = 0;
    for (size_t at = 0; at < s.len; n++) {
        uint32_t code = utf8_decode(s, &at);
        bool is_space = code == ' ' || code == '\n' || code == '\t' || code == '\r';
        if ((code < ' ' && !is_space) || code == 0x7F)
            return false;
        gaps += is_space || utf8_is_han(code);
        letters += is_space || utf8_is_letter(code);
    }
    return s.len >= SENTENCE_LEAST && gaps > 0 && letters * 10 >= n * LETTERS_OF_TEN;
}

/* Cut to whole characters; "" when it is none. */
static str writing_of(const struct decoding *d)
{
    str s = { d->bytes, d->n };
    for (unsigned i = 0; i < UTF8_MAX && s.len == HIDDEN_BYTES - i && !utf8_is_valid(s); i++)
        s.len--;
    return utf8_is_valid(s) && is_writing(s) ? s : (str){ 0 };
}

static bool starts_word(str text, size_t at)
{
    return at == 0 || base64_digit(text.ptr[at - 1]) < 0;
}

uint32_t hidden_find(str text, struct arena *a, str out[HIDDEN_MAX])
{
    static size_t (*const readers[])(str, size_t, struct decoding *) = { hex_run, percent_run, base64_run };
    uint32_t n = 0;
    text.len = text.len < HIDDEN_LOOKED_AT ? text.len : HIDDEN_LOOKED_AT;
    size_t tried[COUNT_OF(readers)] = { 0 };    /* behind what each has read */
    for (size_t at = 0; at < text.len && n < HIDDEN_MAX; at++) {
        size_t next = at;
        for (size_t i = 0; i < COUNT_OF(readers) && next == at; i++) {
            struct decoding d;
            d.n = 0;
            if (at < tried[i] || (unsigned char)text.ptr[at] <= ' ' || !starts_word(text, at))
                continue;
            tried[i] = readers[i](text, at, &d);
            str found = writing_of(&d);
            if (found.len) {
                out[n++] = arena_str(a, found);
                next = tried[i];
            }
        }
        at = next > at ? next - 1 : at;
    }
    return n;
}
