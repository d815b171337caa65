/* base/json.c -- the tape parser, the splice editor and the writer.
 *
 * The parser is one pass over the bytes with an explicit stack of open containers. Long strings
 * are the bulk of a chat request, so the inside of strings is scanned 16 bytes at a time for the
 * four things that matter: the closing quote, a backslash, a control byte, a byte that is not
 * ASCII; and, where there are escapes, 32 at a time for those that are not plain. */
#include "base/json.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#if defined(__SSE2__)
#include <emmintrin.h>

#include "base/hex.h"
#include "base/utf8.h"
#endif

struct source {
    const unsigned char *base, *end;
    struct json_error *e;
};

static int fail(const struct source *s, const unsigned char *at, const char *what)
{
    if (s->e)
        *s->e = (struct json_error){ (size_t)(at - s->base), what };
    return -1;
}

static const unsigned char *fault(const struct source *s, const unsigned char *at, const char *what)
{
    fail(s, at, what);
    return NULL;
}

/* Length of the well-formed UTF-8 sequence at p (RFC 3629, table 3-7 of Unicode), 0: malformed. */
static unsigned utf8_sequence(const unsigned char *p, const unsigned char *end)
{
    size_t left = (size_t)(end - p);
    unsigned char c = p[0];
    if (c < 0xc2)
        return 0;
    if (c < 0xe0)
        return left >= 2 && (p[1] & 0xc0) == 0x80 ? 2 : 0;
    if (c < 0xf0) {
        if (left < 3 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80)
            return 0;
        if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f))
            return 0;
        return 3;
    }
    if (c < 0xf5) {
        if (left < 4 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80 || (p[3] & 0xc0) != 0x80)
            return 0;
        if ((c == 0xf0 && p[1] < 0x90) || (c == 0xf4 && p[1] > 0x8f))
            return 0;
        return 4;
    }
    return 0;
}

/* First byte from p on that is a quote, a backslash, a control or not ASCII. */
static inline const unsigned char *string_plain(const unsigned char *p, const unsigned char *end)
{
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(0x20);
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        /* signed compare: bytes 0x80..0xff are below 0x20 too */
        __m128i hit = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash)),
                                   _mm_cmplt_epi8(v, space));
        unsigned mask = (unsigned)_mm_movemask_epi8(hit);
        if (mask)
            return p + __builtin_ctz(mask);
        p += 16;
    }
#endif
    while (p < end && *p != '"' && *p != '\\' && *p >= 0x20 && *p < 0x80)
        p++;
    return p;
}

static int hex4(const unsigned char *p, const unsigned char *end)
{
    int v = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit((char)p[i]);
        if (digit < 0)
            return -1;
        v = v * 16 + digit;
    }
    return v;
}

/* The byte behind what string_plain stopped at and is no quote: an escape, a sequence of UTF-8. `start`: of the
 * string. */
static const unsigned char *string_odd(const struct source *s, const unsigned char *start, const unsigned char *p)
{
    if (p >= s->end)
        return fault(s, start, "this string is not closed");
    if (*p == '\\') {
        if (p + 1 >= s->end)
            return fault(s, start, "this string is not closed");
        switch (p[1]) {
        case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't':
            return p + 2;
        case 'u':
            if (hex4(p + 2, s->end) < 0)
                return fault(s, p, "\\u needs four hexadecimal digits");
            return p + 6;
        default:
            return fault(s, p, "unknown escape in a string");
        }
    }
    if (*p < 0x20)
        return fault(s, p, "a control character in a string must be escaped");
    unsigned n = utf8_sequence(p, s->end);
    return n ? p + n : fault(s, p, "invalid UTF-8 in a string");
}

#if defined(__SSE2__)
static inline uint32_t bits_of(__m128i low, __m128i high)
{
    return (uint32_t)_mm_movemask_epi8(low) | (uint32_t)_mm_movemask_epi8(high) << 16;
}

/* Whether the bytes are one of `letters`. */
static inline uint32_t are_among(__m128i low, __m128i high, const char *letters, int n)
{
    __m128i any_low = _mm_setzero_si128(), any_high = any_low;
    for (int i = 0; i < n; i++) {
        __m128i letter = _mm_set1_epi8(letters[i]);
        any_low = _mm_or_si128(any_low, _mm_cmpeq_epi8(low, letter));
        any_high = _mm_or_si128(any_high, _mm_cmpeq_epi8(high, letter));
    }
    return bits_of(any_low, any_high);
}
#endif

/* p is at a backslash: steps over plain bytes and simple escapes, 32 at a time. Returns where to go on. Text with line
 * ends has an escape every few words; taking them one by one costs a mispredicted branch each. Which bytes are
 * escaped comes from one addition, whose carry runs through the backslashes (Langdale and Lemire 2019, 3.1.1). */
static const unsigned char *escapes_skip(const unsigned char *p, const unsigned char *end)
{
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(0x20);
    const uint32_t even = 0x55555555;
    uint32_t carry = 0;                         /* 1: the first byte of the block is escaped */
    for (; end - p >= 32; p += 32) {
        __m128i low = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i high = _mm_loadu_si128((const __m128i *)(const void *)(p + 16));
        uint32_t slashes = bits_of(_mm_cmpeq_epi8(low, slash), _mm_cmpeq_epi8(high, slash)) & ~carry;
        uint32_t follows = slashes << 1 | carry;
        uint64_t runs = (uint64_t)(slashes & ~even & ~follows) + slashes;
        uint32_t escaped = (even ^ (uint32_t)runs << 1) & follows;
        uint32_t odd = bits_of(_mm_cmplt_epi8(low, space), _mm_cmplt_epi8(high, space));
        uint32_t quotes = bits_of(_mm_cmpeq_epi8(low, quote), _mm_cmpeq_epi8(high, quote));
        uint32_t strange = escaped & ~(quotes | are_among(low, high, "n\\", 2));
        if (strange)
            strange &= ~are_among(low, high, "/bfrt", 5);
        uint32_t stop = (quotes & ~escaped) | odd | strange;
        if (stop) {
            unsigned i = (unsigned)__builtin_ctz(stop);
            return p + i - (escaped >> i & 1);  /* an escape of another kind: at its backslash */
        }
        carry = (uint32_t)(runs >> 32);
    }
    p -= carry;
#else
    (void)end;
#endif
    return p;
}

/* `start` is at the opening quote; returns the byte behind the closing one, or NULL. */
static inline const unsigned char *string_scan(const struct source *s, const unsigned char *start, struct json_node *node)
{
    const unsigned char *p = start + 1;
    uint8_t has_escape = 0, has_code = 0;
    while ((p = string_plain(p, s->end)) >= s->end || *p != '"') {
        if (p < s->end && *p == '\\') {
            has_escape = 1;
            const unsigned char *next = escapes_skip(p, s->end);
            if (next > p) {
                p = next;
                continue;
            }
            has_code |= p + 1 < s->end && p[1] == 'u';
        }
        p = string_odd(s, start, p);
        if (!p)
            return NULL;
    }
    node->at = (uint32_t)(start - s->base);
    node->len = (uint32_t)(p + 1 - start);
    node->kind = JSON_STRING;
    node->has_escape = has_escape;
    node->has_code = has_code;
    return p + 1;
}

static bool is_digit(const unsigned char *p, const unsigned char *end)
{
    return p < end && *p >= '0' && *p <= '9';
}

static const unsigned char *number_scan(const struct source *s, const unsigned char *p)
{
    if (*p == '-')
        p++;
    if (!is_digit(p, s->end))
        return fault(s, p, "expected a digit");
    if (*p == '0') {
        p++;
        if (is_digit(p, s->end))
            return fault(s, p, "a number must not begin with 0");
    } else {
        while (is_digit(p, s->end))
            p++;
    }
    if (p < s->end && *p == '.') {
        p++;
        if (!is_digit(p, s->end))
            return fault(s, p, "expected a digit after '.'");
        while (is_digit(p, s->end))
            p++;
    }
    if (p < s->end && (*p | 32) == 'e') {
        p++;
        if (p < s->end && (*p == '+' || *p == '-'))
            p++;
        if (!is_digit(p, s->end))
            return fault(s, p, "expected a digit in the exponent");
        while (is_digit(p, s->end))
            p++;
    }
    return p;
}

static const unsigned char *word_scan(const struct source *s, const unsigned char *p, str word)
{
    if ((size_t)(s->end - p) < word.len || memcmp(p, word.ptr, word.len) != 0)
        return fault(s, p, "expected a value");
    return p + word.len;
}

/* A number or a word. */
static const unsigned char *scalar_scan(const struct source *s, const unsigned char *start, struct json_node *node)
{
    const unsigned char *p;
    switch (*start) {
    case 't': p = word_scan(s, start, S("true")); node->kind = JSON_TRUE; break;
    case 'f': p = word_scan(s, start, S("false")); node->kind = JSON_FALSE; break;
    case 'n': p = word_scan(s, start, S("null")); node->kind = JSON_NULL; break;
    case '-': case '0': case '1': case '2': case '3': case '4':
    case '5': case '6': case '7': case '8': case '9': p = number_scan(s, start); node->kind = JSON_NUMBER; break;
    default:  return fault(s, start, "expected a value");
    }
    node->at = (uint32_t)(start - s->base);
    node->len = (uint32_t)(p - start);
    node->has_escape = 0;
    return p;
}

static inline const unsigned char *space_skip(const unsigned char *p, const unsigned char *end)
{
    while (p < end && *p <= ' ' && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

/* What has been read tells how many nodes the rest will need: one growth, as a rule, and not a series of copies that
 * the arena would keep. */
static struct json_node *nodes_grow(struct arena *a, struct json_node *nodes, uint32_t n, uint32_t *cap, size_t read,
                                    size_t all)
{
    double guess = 1.1 * (double)n * (double)all / (double)(read + 1);
    double least = 1.5 * (double)*cap, most = (double)(all / 2 + 64 + JSON_DEPTH_MAX);  /* a node takes
        two bytes at least, but for an open bracket */
    double bigger = guess > least ? guess : least;
    if (most > JSON_NODES_MAX + 2)              /* that many, and no room for more */
        most = JSON_NODES_MAX + 2;
    *cap = (uint32_t)(bigger < most ? bigger : most);
    struct json_node *more = n < JSON_NODES_MAX ? arena_try(a, sizeof *more * (size_t)*cap) : NULL;
    if (more)
        memcpy(more, nodes, sizeof *more * n);
    return more;
}

/* The grammar as jumps: `value` reads one, `member` a key and its colon, `behind` decides by what follows a value.
 * Everything lives in registers; a step looks at its first byte and knows. */
int json_parse(struct arena *a, str text, struct json *out, struct json_error *e)
{
    const unsigned char *p = (const unsigned char *)text.ptr, *const end = p + text.len;
    const struct source s = { p, end, e };
    if (text.len >= UINT32_MAX)
        return fail(&s, p, "the document is larger than 4 GB");
    uint32_t n = 0, cap = (uint32_t)(text.len / 16 < JSON_NODES_MAX ? text.len / 16 : JSON_NODES_MAX - 64) + 64;
    struct json_node *nodes = arena_try(a, sizeof *nodes * (size_t)cap);
    if (!nodes)
        return fail(&s, p, "out of memory");

    uint32_t open[JSON_DEPTH_MAX];
    unsigned depth = 0;
    bool is_object = false;                     /* the innermost container */
    p = space_skip(p, end);
    if (p == end)
        return fail(&s, p, "the document is empty");

value:
    if (p >= end)
        return fail(&s, p, "expected a value, got the end");
    if (cap - n < 2 && !(nodes = nodes_grow(a, nodes, n, &cap, (size_t)(p - s.base), text.len)))    /* for a value, and the key behind it */
        return fail(&s, p, n < JSON_NODES_MAX ? "out of memory" : "more than four million values");
    if (*p == '{' || *p == '[') {
        if (depth == JSON_DEPTH_MAX)
            return fail(&s, p, "nested more than 256 deep");
        is_object = *p == '{';
        nodes[n] = (struct json_node){ .at = (uint32_t)(p - s.base), .kind = is_object ? JSON_OBJECT : JSON_ARRAY };
        open[depth++] = n++;
        p = space_skip(p + 1, end);
        if (p < end && *p == (is_object ? '}' : ']'))
            goto close;
        if (p >= end)
            goto behind;
        if (is_object)
            goto member;
        goto value;
    }
    p = *p == '"' ? string_scan(&s, p, &nodes[n]) : scalar_scan(&s, p, &nodes[n]);
    if (!p)
        return -1;
    n++;
    nodes[n - 1].next = n;

behind:
    if (depth == 0)
        goto done;
    p = space_skip(p, end);
    if (p >= end)
        return fail(&s, s.base + nodes[open[depth - 1]].at, is_object ? "this object is not closed" : "this array is not closed");
    if (*p == ',') {
        p = space_skip(p + 1, end);
        if (is_object)
            goto member;
        goto value;
    }
    if (*p != (is_object ? '}' : ']'))
        return fail(&s, p, is_object ? "expected ',' or '}'" : "expected ',' or ']'");
close:
    p++;
    struct json_node *top = &nodes[open[--depth]];
    top->len = (uint32_t)(p - s.base) - top->at;
    top->next = n;
    is_object = depth && nodes[open[depth - 1]].kind == JSON_OBJECT;
    goto behind;

member:
    if (p >= end || *p != '"')
        return fail(&s, p, "expected a key in double quotes");
    if (cap - n < 2 && !(nodes = nodes_grow(a, nodes, n, &cap, (size_t)(p - s.base), text.len)))
        return fail(&s, p, n < JSON_NODES_MAX ? "out of memory" : "more than four million values");
    p = string_scan(&s, p, &nodes[n]);
    if (!p)
        return -1;
    n++;
    nodes[n - 1].next = n;
    p = space_skip(p, end);
    if (p >= end || *p != ':')
        return fail(&s, p, "expected ':' after a key");
    p = space_skip(p + 1, end);
    goto value;

done:
    p = space_skip(p, end);
    if (p != end)
        return fail(&s, p, "unexpected text behind the document");
    arena_trim(a, nodes, sizeof *nodes * (size_t)cap, sizeof *nodes * (size_t)n);
    *out = (struct json){ text, nodes, n };
    return 0;
}

/* ---- reading ---- */

bool json_is(const struct json *j, jref n, enum json_kind kind)
{
    return n != JSON_NONE && json_kind(j, n) == kind;
}

/* Copies up to the next backslash, unless `to` is NULL, and returns how many bytes these are. `to` has room for as many bytes
 * as there are left. */
static inline size_t copy_to_slash(char *to, const char *p, const char *end)
{
    const char *start = p;
#if defined(__SSE2__)
    const __m128i slash = _mm_set1_epi8('\\');
    while (to && end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        _mm_storeu_si128((__m128i *)(void *)(to + (p - start)), v);
        unsigned hit = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, slash));
        if (hit)
            return (size_t)(p - start) + (unsigned)__builtin_ctz(hit);
        p += 16;
    }
#endif
    for (; p < end && *p != '\\'; p++)
        if (to)
            to[p - start] = *p;
    return (size_t)(p - start);
}

/* Decodes the inside of a string literal; `to` has room for raw.len bytes, or is NULL to count. An
 * unpaired surrogate becomes U+FFFD, as Go and Python's strict readers do. */
static size_t string_decode(str raw, char *to)
{
    const char *p = raw.ptr, *end = p + raw.len;
    size_t n = 0;
    char scratch[4];
    while (p < end) {
        size_t plain = copy_to_slash(to ? to + n : NULL, p, end);
        const char *slash = p + plain;
        n += plain;
        if (slash == end)
            break;
        p = slash + 2;
        char c = slash[1];
        if (c != 'u') {
            static const char meaning[128] = {
                ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t',
                ['"'] = '"', ['\\'] = '\\', ['/'] = '/',
            };
            if (to)
                to[n] = meaning[c & 127];
            n++;
            continue;
        }
        const unsigned char *u = (const unsigned char *)p, *uend = (const unsigned char *)end;
        uint32_t code = (uint32_t)hex4(u, uend);
        p += 4;
        if (code >= 0xd800 && code < 0xe000) {
            int low = end - p >= 6 && p[0] == '\\' && p[1] == 'u' ? hex4(u + 6, uend) : -1;
            if (code < 0xdc00 && low >= 0xdc00 && low < 0xe000) {
                code = 0x10000 + ((code - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
                p += 6;
            } else {
                code = 0xfffd;
            }
        }
        n += utf8_put(to ? to + n : scratch, code);
    }
    return n;
}

static str string_inside(const struct json *j, jref n)
{
    return (str){ j->text.ptr + j->nodes[n].at + 1, j->nodes[n].len - 2 };
}

size_t json_string_length(str text, bool *has_escape)
{
    const unsigned char *p = (const unsigned char *)text.ptr;
    const struct source s = { p, p + text.len, NULL };
    struct json_node node;
    if (text.len >= UINT32_MAX || text.len < 2 || *p != '"' || !string_scan(&s, p, &node))
        return 0;
    *has_escape = node.has_escape != 0;
    return node.len;
}

str json_string_text(str inside, struct arena *a)
{
    char *to = arena_try(a, inside.len + 1);
    if (!to)
        return S("");                           /* the arena says exhausted; the request fails */
    size_t len = string_decode(inside, to);
    to[len] = 0;
    return (str){ to, len };
}

str json_str(const struct json *j, jref n, struct arena *a)
{
    if (!json_is(j, n, JSON_STRING))
        return S("");
    str raw = string_inside(j, n);
    return j->nodes[n].has_escape ? json_string_text(raw, a) : raw;
}

size_t json_str_bytes(const struct json *j, jref n)
{
    if (!json_is(j, n, JSON_STRING))
        return 0;
    str raw = string_inside(j, n);
    return j->nodes[n].has_escape ? string_decode(raw, NULL) : raw.len;
}

/* Bytes of the escape that raw begins with, both halves of a surrogate pair; 0 at the end. */
static size_t escape_length(str raw)
{
    if (raw.len == 0)
        return 0;
    if (raw.ptr[1] != 'u')
        return 2;
    const unsigned char *p = (const unsigned char *)raw.ptr, *end = p + raw.len;
    int high = hex4(p + 2, end), low = raw.len >= 12 && p[6] == '\\' && p[7] == 'u' ? hex4(p + 8, end) : -1;
    return high >= 0xd800 && high < 0xdc00 && low >= 0xdc00 && low < 0xe000 ? 12 : 6;
}

bool json_key_is(const struct json *j, jref key, str name)
{
    str raw = string_inside(j, key);
    if (!j->nodes[key].has_escape)
        return str_eq(raw, name);
    while (raw.len) {                           /* escapes one by one: a name may have any length */
        long slash = str_chr(raw, '\\');
        size_t plain = slash < 0 ? raw.len : (size_t)slash;
        if (!str_starts(name, str_upto(raw, plain)))
            return false;
        raw = str_from(raw, plain);
        name = str_from(name, plain);
        char decoded[4];
        size_t spelled = escape_length(raw);
        str text = { decoded, string_decode(str_upto(raw, spelled), decoded) };
        if (!str_starts(name, text))
            return false;
        raw = str_from(raw, spelled);
        name = str_from(name, text.len);
    }
    return name.len == 0;
}

jref json_get(const struct json *j, jref object, str key)
{
    jref found = JSON_NONE;
    if (!json_is(j, object, JSON_OBJECT))
        return JSON_NONE;
    JSON_EACH_PAIR(j, object, k, v)
        if (json_key_is(j, k, key))
            found = v;
    return found;
}

jref json_get_first(const struct json *j, jref object, str key)
{
    if (!json_is(j, object, JSON_OBJECT))
        return JSON_NONE;
    JSON_EACH_PAIR(j, object, k, v)
        if (json_key_is(j, k, key))
            return v;
    return JSON_NONE;
}

jref json_path(const struct json *j, const char *dotted)
{
    jref at = j->n ? 0 : JSON_NONE;
    str rest = str_of(dotted);
    while (rest.len && at != JSON_NONE) {
        str step = str_cut(&rest, '.');
        int64_t index;
        if (json_is(j, at, JSON_ARRAY) && str_int(step, &index)) {
            jref found = JSON_NONE;
            JSON_EACH_ITEM(j, at, item)
                if (index-- == 0) {
                    found = item;
                    break;
                }
            at = found;
        } else {
            at = json_get(j, at, step);
        }
    }
    return at;
}

bool json_double(const struct json *j, jref n, double *out)
{
    if (!json_is(j, n, JSON_NUMBER))
        return false;
    str raw = json_raw(j, n);
    char text[128];
    if (raw.len >= sizeof text)
        return false;
    memcpy(text, raw.ptr, raw.len);
    text[raw.len] = 0;
    *out = strtod(text, NULL);
    return isfinite(*out);
}

bool json_int(const struct json *j, jref n, int64_t *out)
{
    double v;
    if (!json_is(j, n, JSON_NUMBER))
        return false;
    if (str_int(json_raw(j, n), out))
        return true;
    if (!json_double(j, n, &v) || v != floor(v) || fabs(v) > 0x1p53)
        return false;
    *out = (int64_t)v;
    return true;
}

bool json_bool(const struct json *j, jref n, bool fallback)
{
    if (json_is(j, n, JSON_TRUE))
        return true;
    return json_is(j, n, JSON_FALSE) ? false : fallback;
}

uint32_t json_count(const struct json *j, jref n)
{
    uint32_t count = 0;
    if (json_is(j, n, JSON_ARRAY)) {
        JSON_EACH_ITEM(j, n, item)
            count++;
    } else if (json_is(j, n, JSON_OBJECT)) {
        JSON_EACH_PAIR(j, n, k, v)
            count++;
    }
    return count;
}

const char *json_kind_name(enum json_kind kind)
{
    static const char *const names[] = {
        "null", "false", "true", "a number", "a string", "an array", "an object",
    };
    return names[kind];
}

/* ---- editing ---- */

static void edit_add(struct json_edits *e, uint32_t at, uint32_t len, str with)
{
    uint32_t order = (uint32_t)e->n;
    *PUSH(e->a, e->items, e->n) = (struct json_edit){ at, len, with, order };
}

void json_edit_replace(struct json_edits *e, const struct json *j, jref value, str raw)
{
    edit_add(e, j->nodes[value].at, j->nodes[value].len, raw);
}

/* One walk over the children of a container: `is_gone` says which go. A run of removed children takes the
 * commas behind it, or, at the end, the one before it. */
struct removal { uint32_t kept_end, run_from, n_kept; bool in_run; };

static void removal_step(struct json_edits *e, struct removal *r, uint32_t from, uint32_t to, bool is_gone)
{
    if (is_gone) {
        if (!r->in_run)
            r->run_from = from;
        r->in_run = true;
        return;
    }
    if (r->in_run)
        edit_add(e, r->run_from, from - r->run_from, S(""));
    r->in_run = false;
    r->kept_end = to;
    r->n_kept++;
}

static void removal_end(struct json_edits *e, const struct removal *r, const struct json_node *container)
{
    uint32_t end = container->at + container->len - 1;
    if (!r->in_run)
        return;
    uint32_t from = r->kept_end ? r->kept_end : r->run_from;
    edit_add(e, from, end - from, S(""));
}

void json_edit_object(struct json_edits *e, const struct json *j, jref object,
                      const struct json_change *changes, size_t n)
{
    bool *found = ARENA_ARRAY(e->a, bool, n);
    struct removal r = { 0 };
    JSON_EACH_PAIR(j, object, k, v) {
        size_t i = 0;
        while (i < n && !json_key_is(j, k, changes[i].key))
            i++;
        removal_step(e, &r, j->nodes[k].at, j->nodes[v].at + j->nodes[v].len, i < n && changes[i].removes);
        if (i == n)
            continue;
        found[i] = true;
        if (!changes[i].removes)
            json_edit_replace(e, j, v, changes[i].raw);
    }
    removal_end(e, &r, &j->nodes[object]);
    struct buf text = { 0 };
    for (size_t i = 0; i < n; i++) {
        bool is_repeated = false;               /* the first of equal keys counts, as above */
        for (size_t k = 0; k < i; k++)
            is_repeated |= str_eq(changes[k].key, changes[i].key);
        if (found[i] || changes[i].removes || is_repeated)
            continue;
        if (text.len)
            buf_char(&text, ',');
        json_quote(&text, changes[i].key);
        buf_char(&text, ':');
        buf_str(&text, changes[i].raw);
    }
    if (text.len || text.is_failed) {
        if (r.n_kept)
            buf_char(&text, ',');
        edit_add(e, j->nodes[object].at + 1, 0, buf_to_arena(&text, e->a));
    }
    buf_free(&text);
}

void json_edit_set(struct json_edits *e, const struct json *j, jref object, str key, str raw)
{
    struct json_change change = { key, raw, false };
    json_edit_object(e, j, object, &change, 1);
}

void json_edit_remove(struct json_edits *e, const struct json *j, jref object, str key)
{
    struct json_change change = { key, S(""), true };
    json_edit_object(e, j, object, &change, 1);
}

void json_edit_array(struct json_edits *e, const struct json *j, jref array, const bool *gone, str front)
{
    struct removal r = { 0 };
    uint32_t i = 0;
    JSON_EACH_ITEM(j, array, item) {
        removal_step(e, &r, j->nodes[item].at, j->nodes[item].at + j->nodes[item].len, gone && gone[i]);
        i++;
    }
    removal_end(e, &r, &j->nodes[array]);
    if (front.len == 0)
        return;
    edit_add(e, j->nodes[array].at + 1, 0, front);
    if (r.n_kept)                               /* the same place: inserts keep the order of their calls */
        edit_add(e, j->nodes[array].at + 1, 0, S(","));
}

static int edit_order(const void *x, const void *y)
{
    const struct json_edit *a = x, *b = y;
    if (a->at != b->at)
        return a->at < b->at ? -1 : 1;
    if ((a->len == 0) != (b->len == 0))
        return a->len == 0 ? -1 : 1;            /* insert before what is replaced at the same place */
    return a->order < b->order ? -1 : a->order > b->order;
}

size_t json_edits_size(const struct json_edits *e, const struct json *j)
{
    size_t n = j->text.len;
    for (size_t i = 0; i < e->n; i++)
        n = n - e->items[i].len + e->items[i].with.len;
    return n;
}

void json_edits_pieces(struct json_edits *e, const struct json *j,
                       void (*out)(void *arg, str piece), void *arg)
{
    if (e->n > 1)
        qsort(e->items, e->n, sizeof *e->items, edit_order);
    size_t at = 0;
    for (size_t i = 0; i < e->n; i++) {
        const struct json_edit *one = &e->items[i];
        assert(one->at >= at);                  /* edits must not overlap */
        if (one->at > at)
            out(arg, (str){ j->text.ptr + at, one->at - at });
        if (one->with.len)
            out(arg, one->with);
        at = one->at + one->len;
    }
    if (at < j->text.len)
        out(arg, (str){ j->text.ptr + at, j->text.len - at });
}

static void piece_to_buf(void *arg, str piece)
{
    buf_str(arg, piece);
}

void json_edits_write(struct json_edits *e, const struct json *j, struct buf *out)
{
    buf_reserve(out, json_edits_size(e, j));
    json_edits_pieces(e, j, piece_to_buf, out);
}

/* ---- writing ---- */

enum { QUOTE_ROOM = 32 };              /* a step of plain_copy, an escape and the closing quote */

/* Copies what may stand in a string as it is, 16 bytes at a time: `to` has room for all that is left and QUOTE_ROOM. Returns
 * how many bytes these were. */
static inline size_t plain_copy(char *to, const unsigned char *p, const unsigned char *end, bool escape_html)
{
    const unsigned char *start = p;
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(0x20);
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        _mm_storeu_si128((__m128i *)(void *)(to + (p - start)), v);
        /* signed compare: bytes 0x80..0xff are below 0x20 too */
        __m128i hit = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash)),
                                   _mm_cmplt_epi8(v, space));
        if (escape_html)
            hit = _mm_or_si128(_mm_or_si128(hit, _mm_cmpeq_epi8(v, _mm_set1_epi8('&'))),
                               _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('<')), _mm_cmpeq_epi8(v, _mm_set1_epi8('>'))));
        unsigned mask = (unsigned)_mm_movemask_epi8(hit);
        if (mask)
            return (size_t)(p - start) + (unsigned)__builtin_ctz(mask);
        p += 16;
    }
#endif
    for (; p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\'; p++) {
        if (escape_html && (*p == '<' || *p == '>' || *p == '&'))
            break;
        to[p - start] = (char)*p;
    }
    return (size_t)(p - start);
}

/* What plain_copy stopped at: an escape of at most six bytes, a sequence of UTF-8. Moves *from behind it, returns what is
 * behind the written. */
static char *odd_quote(char *to, const unsigned char **from, const unsigned char *end, bool escape_html)
{
    static const char hex[] = "0123456789abcdef";
    static const char letters[128] = { ['"'] = '"', ['\\'] = '\\', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't' };
    const unsigned char *p = *from;
    unsigned char c = *p;
    unsigned n = c < 0x80 ? 1 : utf8_sequence(p, end);
    *from += n ? n : 1;
    if (c < 0x80 && letters[c]) {
        to[0] = '\\';
        to[1] = letters[c];
        return to + 2;
    }
    if (c < 0x80) {
        memcpy(to, "\\u00", 4);
        to[4] = hex[c >> 4];
        to[5] = hex[c & 15];
        return to + 6;
    }
    if (n == 0) {
        memcpy(to, "\xef\xbf\xbd", 3);
        return to + 3;
    }
    if (escape_html && n == 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] | 1) == 0xa9) {
        memcpy(to, p[2] == 0xa8 ? "\\u2028" : "\\u2029", 6);
        return to + 6;
    }
    for (unsigned i = 0; i < n; i++)
        to[i] = (char)p[i];
    return to + n;
}

/* Where to write, with room for `left` bytes and QUOTE_ROOM; NULL: no memory. */
static inline char *quote_room(struct buf *out, char *to, size_t left)
{
    if ((size_t)(out->ptr + out->cap - to) >= left + QUOTE_ROOM)
        return to;
    out->len = (size_t)(to - out->ptr);
    return buf_reserve(out, left + QUOTE_ROOM) ? out->ptr + out->len : NULL;
}

static inline void quote(struct buf *out, str s, bool escape_html)
{
    const unsigned char *p = (const unsigned char *)(s.ptr ? s.ptr : ""), *end = p + s.len;
    if ((out->is_failed || out->cap - out->len < s.len + 1 + QUOTE_ROOM) && !buf_reserve(out, s.len + 1 + QUOTE_ROOM))
        return;
    char *to = out->ptr + out->len;
    *to++ = '"';
    while (p < end) {
        size_t plain = plain_copy(to, p, end, escape_html);
        p += plain;
        to += plain;
        if (p == end)
            break;
        to = odd_quote(to, &p, end, escape_html);
        if (!(to = quote_room(out, to, (size_t)(end - p))))
            return;
    }
    *to++ = '"';
    out->len = (size_t)(to - out->ptr);
}

void json_quote(struct buf *out, str s)
{
    quote(out, s, false);
}

str json_quoted(struct arena *a, str s)
{
    struct buf b = { 0 };
    json_quote(&b, s);
    return buf_to_arena(&b, a);
}

static void comma(struct json_writer *w)
{
    if (w->need_comma)
        buf_char(w->out, ',');
    w->need_comma = true;
}

void jw_begin(struct json_writer *w, char bracket)
{
    comma(w);
    buf_char(w->out, bracket);
    w->need_comma = false;
}

void jw_end(struct json_writer *w, char bracket)
{
    buf_char(w->out, bracket);
    w->need_comma = true;
}

void jw_key(struct json_writer *w, str key)
{
    comma(w);
    quote(w->out, key, w->escape_html);
    buf_char(w->out, ':');
    w->need_comma = false;
}

void jw_str(struct json_writer *w, str s)
{
    comma(w);
    quote(w->out, s, w->escape_html);
}

void jw_int(struct json_writer *w, int64_t v)
{
    comma(w);
    if (v < 0)
        buf_char(w->out, '-');
    buf_u64(w->out, v < 0 ? -(uint64_t)v : (uint64_t)v);
}

void jw_hex(struct json_writer *w, uint64_t v)
{
    char digits[17];
    jw_str(w, (str){ digits, (size_t)snprintf(digits, sizeof digits, "%llx", (unsigned long long)v) });
}

void jw_float(struct json_writer *w, float v)
{
    comma(w);
    char text[24];
    int n = 0;
    for (int digits = 6; digits <= 9 && isfinite(v); digits++) {
        n = snprintf(text, sizeof text, "%.*g", digits, (double)v);
        if (strtof(text, NULL) == v)
            break;
    }
    buf_str(w->out, n ? (str){ text, (size_t)n } : S("null"));
}

void jw_double(struct json_writer *w, double v)
{
    comma(w);
    if (!isfinite(v)) {
        buf_str(w->out, S("null"));
        return;
    }
    char text[32];
    int n = 0;
    for (int digits = 6; digits <= 17; digits += digits == 6 ? 9 : 1) {   /* 6, 15, 16, 17 */
        n = snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    buf_add(w->out, text, (size_t)n);
}

void jw_bool(struct json_writer *w, bool v)
{
    comma(w);
    buf_str(w->out, v ? S("true") : S("false"));
}

void jw_null(struct json_writer *w)
{
    comma(w);
    buf_str(w->out, S("null"));
}

void jw_raw(struct json_writer *w, str raw)
{
    comma(w);
    buf_str(w->out, raw);
}
