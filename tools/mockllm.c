/* tools/mockllm.c -- a fast fake language-model provider that misbehaves on request.
 *
 * It stands behind a gateway in benchmarks, where its own cost must not show, and in end-to-end
 * tests, where each request says by x-mock-* headers how it wants to be treated: late, slow, cut,
 * malformed, refused. One thread, one epoll, no locks; every struct here is owned by the loop.
 *
 * The one idea: an answer is complete before its first byte leaves. It is a string of bytes, a
 * list of pauses ("do not pass byte 212 for 20 ms") and perhaps a cut ("reset at byte 900"). The
 * builders know only JSON and HTTP, the sender knows only bytes and time, and the plain case is
 * one read and one write.
 *
 * The order of the file: buffers, JSON reader, the switches, connections and their clock, what a
 * request asks, the answers by endpoint, the books (/mock/...), HTTP in, HTTP out, main. */
#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNS_MAX = 65536,          /* beyond: new ones wait in the kernel's queue */
    HEAD_MAX = 64 << 10,        /* beyond: 431 */
    BODY_MAX = 256 << 20,       /* beyond: 413 */
    PIPELINE_MAX = 256 << 10,   /* read ahead while answering; beyond: the client waits */
    ANSWER_MAX = 512 << 20,     /* of /mock/requests; beyond: the list ends early */
    RING = 256,                 /* requests remembered */
    RING_BODY_MAX = 4 << 20,    /* of each; beyond: truncated, body_bytes tells the truth */
    KEYS = 4096,                /* x-mock-key values counted; beyond: 500 */
    DEPTH_MAX = 128,            /* of JSON; beyond: 400 */
    BUF_SMALL = 16 << 10,       /* size of a pooled buffer */
    READ_MAX = 1 << 20,         /* one read, so that a large upload does not starve the others */
    EVENTS_MAX = 256,
    CHOICES_MAX = 128,
    PROMPTS_MAX = 2048,
    CALLS_MAX = 32,
    RESULTS_MAX = 16,
    DRAIN_MS = 1000,            /* after our FIN, for the client to close */
    RESET_MS = 5,               /* before a reset, or the client may lose bytes it was sent */
    SLOW_READ_MS = 50,          /* how often a slow reader reads */
};

#define MS 1000000ull           /* in ns */

/* ---- Buffers and spans ------------------------------------------------------------------- */

struct span { const char *p; size_t n; };       /* never owned; p NULL: absent */
struct buf { char *data; size_t len, cap; };

#define S(text) ((struct span){ (text), sizeof(text) - 1 })

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    fputs("mockllm: ", stderr);
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(2);
}

/* Buffers of one size come and go with every request, so those are kept, newest first. */
static char *spare[1024];
static size_t n_spare;

static void buf_need(struct buf *b, size_t more)
{
    if (b->cap - b->len >= more)
        return;
    size_t cap = b->cap ? b->cap : BUF_SMALL;
    while (cap - b->len < more)
        cap *= 2;
    if (!b->data && cap == BUF_SMALL && n_spare)
        b->data = spare[--n_spare];
    else
        b->data = realloc(b->data, cap);
    if (!b->data)
        die("out of memory");
    b->cap = cap;
}

static void buf_give(struct buf *b)
{
    if (b->cap == BUF_SMALL && n_spare < sizeof spare / sizeof *spare)
        spare[n_spare++] = b->data;
    else
        free(b->data);
    *b = (struct buf){ 0 };
}

static void put(struct buf *b, const char *p, size_t n)
{
    buf_need(b, n);
    if (n)
        memcpy(b->data + b->len, p, n);
    b->len += n;
}

#define PUT(b, text) put(b, text, sizeof(text) - 1)

static void put_span(struct buf *b, struct span s)
{
    put(b, s.p, s.n);
}

static void put_text(struct buf *b, const char *text)
{
    put(b, text, strlen(text));
}

static void put_number(struct buf *b, uint64_t v)
{
    char digits[20];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + v % 10);
    while (v /= 10);
    put(b, digits + at, sizeof digits - at);
}

static void put_hex(struct buf *b, uint64_t v)
{
    char digits[16];
    size_t at = sizeof digits;
    do
        digits[--at] = "0123456789abcdef"[v & 15];
    while (v >>= 4);
    put(b, digits + at, sizeof digits - at);
}

/* The inside of a JSON string. Bytes from 128 up pass when `is_utf8`, else count as Latin-1. */
static void put_escaped(struct buf *b, struct span s, bool is_utf8)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char ch = (unsigned char)s.p[i];
        if (ch == '"' || ch == '\\') {
            char two[2] = { '\\', (char)ch };
            put(b, two, 2);
        } else if (ch < 0x20 || ch == 0x7f || (ch >= 0x80 && !is_utf8)) {
            char six[7];
            snprintf(six, sizeof six, "\\u%04x", ch);
            put(b, six, 6);
        } else {
            put(b, s.p + i, 1);
        }
    }
}

static void put_base64(struct buf *b, const unsigned char *p, size_t n)
{
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    buf_need(b, (n + 2) / 3 * 4);
    char *q = b->data + b->len;
    for (; n >= 3; n -= 3, p += 3) {
        uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
        *q++ = set[v >> 18];
        *q++ = set[v >> 12 & 63];
        *q++ = set[v >> 6 & 63];
        *q++ = set[v & 63];
    }
    if (n) {
        uint32_t v = (uint32_t)p[0] << 16 | (n == 2 ? (uint32_t)p[1] << 8 : 0);
        *q++ = set[v >> 18];
        *q++ = set[v >> 12 & 63];
        *q++ = n == 2 ? set[v >> 6 & 63] : '=';
        *q++ = '=';
    }
    b->len = (size_t)(q - b->data);
}

static bool span_is(struct span s, struct span t)
{
    return s.n == t.n && memcmp(s.p, t.p, t.n) == 0;
}

/* Not memcmp: header names differ in case only. */
static bool span_is_nocase(struct span s, struct span t)
{
    return s.n == t.n && strncasecmp(s.p, t.p, t.n) == 0;
}

static bool span_ends(struct span s, struct span tail)
{
    return s.n >= tail.n && memcmp(s.p + s.n - tail.n, tail.p, tail.n) == 0;
}

static struct span span_trim(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    return (struct span){ p, (size_t)(end - p) };
}

static bool span_number(struct span s, uint64_t *v)
{
    *v = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9' || *v > UINT64_MAX / 10 - 1)
            return false;
        *v = *v * 10 + (uint64_t)(s.p[i] - '0');
    }
    return s.n > 0;
}

/* A good enough mix for ids, keys and fake vectors; nothing here meets an enemy. */
static uint64_t mix(uint64_t h)
{
    h ^= h >> 32;
    h *= 0x9fb21c651e98df25ull;
    h ^= h >> 29;
    h *= 0xd6e8feb86659fd93ull;
    return h ^ h >> 32;
}

static uint64_t span_hash(struct span s)
{
    uint64_t h = s.n * 0x9e3779b97f4a7c15ull + 1, word;
    size_t i = 0;
    for (; i + 8 <= s.n; i += 8) {
        memcpy(&word, s.p + i, 8);
        h = (h ^ word) * 0x9fb21c651e98df25ull;
        h ^= h >> 31;
    }
    word = 0;
    if (i < s.n)
        memcpy(&word, s.p + i, s.n - i);
    return mix(h ^ word);
}

/* ---- JSON reader --------------------------------------------------------------------------
 *
 * No tree: a value is the span of its text. Skipping a value checks it, so whoever has walked a
 * whole object knows that all of it is well formed. Strings stay escaped, which is how they are
 * wanted: most go straight into another JSON string. */

static const char *json_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

/* p is behind the opening quote; the end of the string's inside, or NULL. */
static const char *json_string_end(const char *p, const char *end)
{
    const uint64_t ones = 0x0101010101010101ull, highs = ones << 7;
    for (;;) {
        /* Eight at a time while none is a quote, a backslash or a control character. */
        while (end - p >= 8) {
            uint64_t w, quote, slash;
            memcpy(&w, p, 8);
            quote = w ^ ones * '"';
            slash = w ^ ones * '\\';
            quote = (quote - ones) & ~quote;
            slash = (slash - ones) & ~slash;
            if ((quote | slash | ((w - ones * 0x20) & ~w)) & highs)
                break;
            p += 8;
        }
        if (p == end || (unsigned char)*p < 0x20)
            return NULL;
        if (*p == '"')
            return p;
        if (*p++ != '\\')
            continue;
        if (p == end || !strchr("\"\\/bfnrtu", *p) || !*p)
            return NULL;
        if (*p++ != 'u')
            continue;
        for (int i = 0; i < 4; i++, p++)
            if (p == end || !isxdigit((unsigned char)*p))
                return NULL;
    }
}

static const char *json_digits(const char *p, const char *end)
{
    const char *start = p;
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p == start ? NULL : p;
}

static const char *json_number_end(const char *p, const char *end)
{
    if (*p == '-')
        p++;
    bool is_zero = p < end && *p == '0';
    const char *first = p;
    if (!(p = json_digits(p, end)) || (is_zero && p != first + 1))
        return NULL;
    if (p < end && *p == '.' && !(p = json_digits(p + 1, end)))
        return NULL;
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        p = json_digits(p, end);
    }
    return p;
}

struct walk { const char *p, *end; char close; bool is_first, is_bad; int depth; };

static bool walk_next(struct walk *w, struct span *key, struct span *value);

/* p is at a value; behind it, or NULL when it is not well formed. */
static const char *json_skip(const char *p, const char *end, int depth)
{
    static const struct span words[] = { S("true"), S("false"), S("null") };
    if (p == end || depth > DEPTH_MAX)
        return NULL;
    if (*p == '"')
        return (p = json_string_end(p + 1, end)) ? p + 1 : NULL;
    if (*p == '{' || *p == '[') {
        struct walk w = { p + 1, end, *p == '{' ? '}' : ']', true, false, depth + 1 };
        struct span key, value;
        while (walk_next(&w, &key, &value))
            ;
        return w.is_bad ? NULL : w.p;
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if ((size_t)(end - p) >= words[i].n && !memcmp(p, words[i].p, words[i].n))
            return p + words[i].n;
    return *p == '-' || (*p >= '0' && *p <= '9') ? json_number_end(p, end) : NULL;
}

/* A walk over the members of an object or the items of an array; over nothing for other values. */
static struct walk walk_over(struct span v)
{
    struct walk w = { v.p, v.p, 0, true, false, 1 };
    if (v.p && v.n && (*v.p == '{' || *v.p == '[')) {
        w.close = *v.p == '{' ? '}' : ']';
        w.p = v.p + 1;
        w.end = v.p + v.n;
    }
    return w;
}

static bool walk_fail(struct walk *w)
{
    w->is_bad = true;
    return false;
}

/* After false: is_bad tells, and otherwise p is behind the closing bracket. */
static bool walk_next(struct walk *w, struct span *key, struct span *value)
{
    if (!w->close)
        return false;
    const char *p = json_space(w->p, w->end);
    if (p == w->end)
        return walk_fail(w);
    if (*p == w->close) {
        w->p = p + 1;
        return false;
    }
    if (!w->is_first) {
        if (*p != ',')
            return walk_fail(w);
        p = json_space(p + 1, w->end);
    }
    w->is_first = false;
    if (w->close == '}') {
        const char *tail;
        if (p == w->end || *p != '"' || !(tail = json_string_end(p + 1, w->end)))
            return walk_fail(w);
        *key = (struct span){ p + 1, (size_t)(tail - p - 1) };
        p = json_space(tail + 1, w->end);
        if (p == w->end || *p != ':')
            return walk_fail(w);
        p = json_space(p + 1, w->end);
    }
    const char *tail = json_skip(p, w->end, w->depth);
    if (!tail)
        return walk_fail(w);
    *value = (struct span){ p, (size_t)(tail - p) };
    w->p = tail;
    return true;
}

static struct span json_get(struct span object, struct span name)
{
    struct walk w = walk_over(object);
    struct span key, value;
    if (w.close == '}')
        while (walk_next(&w, &key, &value))
            if (span_is(key, name))
                return value;
    return (struct span){ 0 };
}

static bool json_is_string(struct span v)
{
    return v.n >= 2 && *v.p == '"';
}

/* The inside of a string, still escaped; absent for other values. */
static struct span json_text(struct span v)
{
    return json_is_string(v) ? (struct span){ v.p + 1, v.n - 2 } : (struct span){ 0 };
}

static bool json_is_true(struct span v)
{
    return v.n == 4 && *v.p == 't';
}

static long json_long(struct span v, long otherwise)
{
    uint64_t n;
    bool is_negative = v.n > 1 && *v.p == '-';
    if (is_negative)
        v = (struct span){ v.p + 1, v.n - 1 };
    if (!span_number(v, &n) || n >= 1u << 30)
        return otherwise;
    return is_negative ? -(long)n : (long)n;
}

static bool json_is_integer(struct span v)
{
    uint64_t n;
    return v.n && span_number(v, &n);
}

/* ---- The switches -------------------------------------------------------------------------
 *
 * What a request can ask for, one line each. They come, each overriding the one before, from
 * --default, from the body's `metadata` object (which most gateways pass on), from the query and
 * from the headers. */

enum malformed {
    WELL_FORMED, BAD_JSON_EVENT, NO_DONE, TRUNCATED_EVENT, NOT_SSE, BAD_CHUNK, BAD_LENGTH,
    TWO_LENGTHS, HUGE_HEADER, GARBAGE_HEAD, ERROR_EVENT, CRLF, CR, BOM, COMMENTS, IDS,
    MULTILINE_DATA,
};

static const char *const malformed_names[] = {
    "none", "bad-json-event", "no-done", "truncated-event", "not-sse", "bad-chunk", "bad-length",
    "two-lengths", "huge-header", "garbage-head", "error-event", "crlf", "cr", "bom", "comments",
    "ids", "multiline-data",
};

/* A place in the answer where something happens instead of its next byte. */
struct place { bool is_set, is_in_body, is_half; uint64_t at; };

struct usage { bool is_set; uint64_t prompt, completion, cached, reasoning; };

struct script {
    uint64_t delay_ms, first_byte_ms, gap_ms, chunk_gap_ms;
    uint64_t tokens, chunk_bytes, body_bytes, tool_calls;
    uint64_t status, retry_after, retry_after_ms, fail_first, storm_percent, slow_read_bps;
    bool has_retry_after, has_retry_after_ms, is_echo, no_keepalive;
    enum malformed malformed;
    struct place reset, close, hang;
    struct usage usage;
    char key[64], error_code[64];
};

enum knob_kind {
    KNOB_NUMBER, KNOB_FLAG, KNOB_TEXT, KNOB_PLACE, KNOB_HANG, KNOB_MALFORMED, KNOB_USAGE,
};

struct knob {
    const char *name;           /* behind "x-mock-" */
    enum knob_kind kind;
    size_t at, given_at;        /* given_at: a bool set beside it, or 0 */
    uint64_t max;
    const char *unit, *help;
};

#define AT(member) offsetof(struct script, member)
#define NUMBER(member, max) KNOB_NUMBER, AT(member), 0, max
#define FLAG(member) KNOB_FLAG, AT(member), 0, 0

static const struct knob knobs[] = {
    { "delay-ms",      NUMBER(delay_ms, 3600000), "MS", "wait before the head" },
    { "first-byte-ms", NUMBER(first_byte_ms, 3600000), "MS", "wait between head and body" },
    { "gap-ms",        NUMBER(gap_ms, 3600000), "MS", "wait between stream events" },
    { "tokens",        NUMBER(tokens, 1000000), "N", "content of N words, streamed as N chunks" },
    { "body-bytes",    NUMBER(body_bytes, 64 << 20), "N", "content padded to N bytes" },
    { "chunk-bytes",   NUMBER(chunk_bytes, 1 << 20), "N", "send in TCP writes of N bytes" },
    { "chunk-gap-ms",  NUMBER(chunk_gap_ms, 60000), "MS", "wait between those writes" },
    { "status",        NUMBER(status, 599), "CODE", "answer an error of that status" },
    { "error-code",    KNOB_TEXT, AT(error_code), 0, 0, "STR", "its error.code" },
    { "retry-after",   KNOB_NUMBER, AT(retry_after), AT(has_retry_after), 1 << 30, "S",
      "its retry-after" },
    { "retry-after-ms", KNOB_NUMBER, AT(retry_after_ms), AT(has_retry_after_ms), 1 << 30, "MS",
      "its retry-after-ms" },
    { "fail-first",    NUMBER(fail_first, 1 << 30), "N",
      "only the first N requests of the key fail, with x-mock-status or 503" },
    { "key",           KNOB_TEXT, AT(key), 0, 0, "K", "the key that fail-first counts by" },
    { "storm",         NUMBER(storm_percent, 100), "PERCENT", "so many get a 429, by chance" },
    { "reset-at-byte", KNOB_PLACE, AT(reset), 0, 0, "N", "reset the connection there" },
    { "close-at-byte", KNOB_PLACE, AT(close), 0, 0, "N", "end the connection there" },
    { "hang",          KNOB_HANG, AT(hang), 0, 0, "WHERE",
      "send nothing from there on, keep the connection" },
    { "malformed",     KNOB_MALFORMED, AT(malformed), 0, 0, "KIND", "break a rule (kinds below)" },
    { "slow-read-bps", NUMBER(slow_read_bps, 1 << 30), "N",
      "read the body at N bytes a second (not what came with the head)" },
    { "no-keepalive",  FLAG(no_keepalive), "", "connection: close" },
    { "echo",          FLAG(is_echo), "", "content = SHA-256 and length of the body received" },
    { "tool-calls",    NUMBER(tool_calls, CALLS_MAX), "N", "answer with N tool calls" },
    { "usage",         KNOB_USAGE, AT(usage), 0, 0, "P,C[,CACHED[,REASONING]]",
      "the token counts told" },
};

static bool knob_place(struct place *place, struct span v)
{
    *place = (struct place){ .is_set = true };
    if (v.n && *v.p == 'b') {
        place->is_in_body = true;
        v = (struct span){ v.p + 1, v.n - 1 };
    }
    return span_number(v, &place->at);
}

static bool knob_hang(struct place *place, struct span v)
{
    *place = (struct place){ .is_set = true };
    if (!v.n || span_is(v, S("head")) || span_is(v, S("true")))
        return true;
    if (span_is(v, S("1")))             /* a flag's yes and no, not a byte's number */
        return true;
    if (span_is(v, S("0")) || span_is(v, S("false"))) {
        place->is_set = false;
        return true;
    }
    if (span_is(v, S("body")))
        return place->is_in_body = true;
    if (span_is(v, S("mid")))
        return place->is_half = true;
    return knob_place(place, v);
}

static bool knob_usage(struct usage *usage, struct span v)
{
    uint64_t *slots[] = { &usage->prompt, &usage->completion, &usage->cached, &usage->reasoning };
    size_t n = 0;
    *usage = (struct usage){ .is_set = true };
    for (const char *p = v.p, *end = v.p + v.n; p <= end && n < 4; n++) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        if (!comma)
            comma = end;
        if (!span_number(span_trim(p, comma), slots[n]))
            return false;
        p = comma + 1;
    }
    return n >= 2;
}

/* False: there is no such switch or no such value. `name` is without x-mock-. */
static bool script_set(struct script *script, struct span name, struct span v)
{
    for (size_t i = 0; i < sizeof knobs / sizeof *knobs; i++) {
        const struct knob *k = &knobs[i];
        if (strlen(k->name) != name.n || strncasecmp(k->name, name.p, name.n))
            continue;
        void *slot = (char *)script + k->at;
        uint64_t number;
        switch (k->kind) {
        case KNOB_NUMBER:
            if (!span_number(v, &number) || number > k->max)
                return false;
            *(uint64_t *)slot = number;
            if (k->given_at)
                *(bool *)((char *)script + k->given_at) = true;
            return true;
        case KNOB_FLAG:
            *(bool *)slot = !span_is(v, S("0")) && !span_is_nocase(v, S("false"));
            return true;
        case KNOB_TEXT:
            if (v.n >= sizeof script->key)
                return false;
            memcpy(slot, v.p, v.n);
            ((char *)slot)[v.n] = 0;
            return true;
        case KNOB_PLACE:
            return knob_place(slot, v);
        case KNOB_HANG:
            return knob_hang(slot, v);
        case KNOB_USAGE:
            return knob_usage(slot, v);
        case KNOB_MALFORMED:
            for (size_t m = 0; m < sizeof malformed_names / sizeof *malformed_names; m++)
                if (strlen(malformed_names[m]) == v.n && !memcmp(malformed_names[m], v.p, v.n)) {
                    *(enum malformed *)slot = (enum malformed)m;
                    return true;
                }
            return false;
        }
    }
    return false;
}

/* ---- Connections and their clock ---------------------------------------------------------- */

enum state { IDLE_OR_HEAD, READING_BODY, ANSWERING, DRAINING };
enum chunked { CHUNK_SIZE, CHUNK_DATA, CHUNK_END, CHUNK_TRAILER };

/* Offsets count from the request's first byte: the buffer may move while the body comes in. */
struct request {
    uint32_t method_len, target_at, target_len, path_len;
    size_t head_len, body_len, raw_at;  /* raw_at: first byte not taken yet */
    uint64_t length, chunk_left;
    enum chunked chunked;
    bool is_get, is_head, is_http10, is_chunked, has_length, wants_continue, keep_alive;
    bool has_switches, is_counted;      /* counted: in the books; not /mock/... and /health */
    struct span bad_switch;             /* its name; good only while the buffer does not move */
    uint64_t serial;                    /* its number in the books, from 1 */
    struct script script;
};

struct pause { size_t at; uint64_t ms; };
enum cut { CUT_NONE, CUT_RESET, CUT_CLOSE, CUT_HANG };

struct conn {
    int fd;
    SSL *ssl;
    enum state state;
    uint32_t watched;                   /* epoll events asked for */
    bool is_shaking, is_waiting, is_resetting, is_hanging, wants_out, closes_after;
    struct buf in, out;
    size_t at;                          /* where the request starts in `in` */
    uint64_t read_budget;               /* of a slow reader: bytes that may be read now */
    struct request rq;

    size_t sent, head_len;              /* of the answer in `out` */
    struct pause *pauses;               /* by rising `at` */
    size_t n_pauses, cap_pauses, next_pause;
    enum cut cut;
    size_t cut_at;

    uint64_t paced_ns;                  /* when the last pause ended, or the answer began */
    uint64_t due_ns;
    size_t heap_at;                     /* in the timer heap, from 1; 0: no timer */
};

static struct {
    int epoll, listener, signals;
    bool is_accepting, is_deterministic, is_logging;
    SSL_CTX *tls;
    uint64_t now_ns, random, serial, seed;
    time_t unix_s;
    struct script defaults;
    const char *models;
    struct conn **conns;                /* by fd */
    size_t n_conns, conns_cap;
    uint64_t requests, closed_mid_response, aborted_uploads, in_flight, bytes_in, bytes_out;
} g;

static uint64_t clock_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static uint64_t random_next(void)
{
    g.random += 0x9e3779b97f4a7c15ull;
    return mix(g.random);
}

/* A binary heap by due_ns; slot 0 is unused so that heap_at 0 means "not in it". */
static struct conn *heap[CONNS_MAX + 1];
static size_t n_heap;

static void heap_put(struct conn *c, size_t i)
{
    heap[i] = c;
    c->heap_at = i;
}

static void heap_up(struct conn *c, size_t i)
{
    for (; i > 1 && heap[i / 2]->due_ns > c->due_ns; i /= 2)
        heap_put(heap[i / 2], i);
    heap_put(c, i);
}

static void heap_down(struct conn *c, size_t i)
{
    for (size_t child; (child = 2 * i) <= n_heap; i = child) {
        if (child < n_heap && heap[child + 1]->due_ns < heap[child]->due_ns)
            child++;
        if (heap[child]->due_ns >= c->due_ns)
            break;
        heap_put(heap[child], i);
    }
    heap_put(c, i);
}

static void timer_stop(struct conn *c)
{
    size_t i = c->heap_at;
    if (!i)
        return;
    struct conn *last = heap[n_heap--];
    c->heap_at = 0;
    if (last == c)
        return;
    if (i > 1 && heap[i / 2]->due_ns > last->due_ns)
        heap_up(last, i);
    else
        heap_down(last, i);
}

static void timer_start(struct conn *c, uint64_t due_ns)
{
    timer_stop(c);
    c->due_ns = due_ns;
    heap_up(c, ++n_heap);
}

static void watch(struct conn *c, uint32_t events)
{
    if (c->watched == events)
        return;
    c->watched = events;
    struct epoll_event ev = { .events = events, .data.ptr = c };
    if (epoll_ctl(g.epoll, EPOLL_CTL_MOD, c->fd, &ev) < 0)
        die("epoll_ctl: %s", strerror(errno));
}

static void accept_switch(bool is_on)
{
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = &g.listener };
    if (g.is_accepting != is_on)
        epoll_ctl(g.epoll, is_on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, g.listener, &ev);
    g.is_accepting = is_on;
}

static void books_abort(uint64_t serial);
static void books_keep(struct conn *c, bool is_aborted);

/* Whatever the reason: keep the books straight and forget the connection. */
static void conn_end(struct conn *c, bool is_client_gone)
{
    if (c->state == ANSWERING && c->rq.is_counted) {
        g.in_flight--;
        if (is_client_gone) {
            g.closed_mid_response++;
            books_abort(c->rq.serial);
        }
    }
    if (c->state == READING_BODY && c->rq.is_counted && is_client_gone) {
        g.aborted_uploads++;
        books_keep(c, true);
    }
    timer_stop(c);
    if (c->ssl)
        SSL_free(c->ssl);
    close(c->fd);
    g.conns[c->fd] = NULL;
    g.n_conns--;
    buf_give(&c->in);
    buf_give(&c->out);
    free(c->pauses);
    free(c);
    accept_switch(true);
}

/* ---- Answers: head and frame -------------------------------------------------------------- */

enum framing { BY_LENGTH, BY_CHUNKS, BY_CLOSE };

static const struct fault { unsigned status; struct span reason, type, code, message; } faults[] = {
    { 200, S("OK"), S(""), S(""), S("") },
    { 400, S("Bad Request"), S("invalid_request_error"), S("invalid_value"),
      S("The request is not valid.") },
    { 401, S("Unauthorized"), S("invalid_request_error"), S("invalid_api_key"),
      S("Incorrect API key provided.") },
    { 402, S("Payment Required"), S("insufficient_quota"), S("billing_not_active"),
      S("The account is not active.") },
    { 403, S("Forbidden"), S("invalid_request_error"), S("permission_denied"), S("Not allowed.") },
    { 404, S("Not Found"), S("invalid_request_error"), S("model_not_found"),
      S("The model or path does not exist.") },
    { 405, S("Method Not Allowed"), S("invalid_request_error"), S("method_not_allowed"),
      S("Wrong method.") },
    { 408, S("Request Timeout"), S("timeout"), S("timeout"), S("The request timed out.") },
    { 409, S("Conflict"), S("invalid_request_error"), S("conflict"), S("Try again.") },
    { 413, S("Content Too Large"), S("invalid_request_error"), S("request_too_large"),
      S("Too large.") },
    { 422, S("Unprocessable Content"), S("invalid_request_error"), S("unprocessable"),
      S("The request cannot be processed.") },
    { 429, S("Too Many Requests"), S("requests"), S("rate_limit_exceeded"),
      S("Rate limit reached for requests.") },
    { 431, S("Request Header Fields Too Large"), S("invalid_request_error"), S("head_too_large"),
      S("The head is too large.") },
    { 500, S("Internal Server Error"), S("server_error"), S("server_error"),
      S("The server had an error while processing the request.") },
    { 502, S("Bad Gateway"), S("server_error"), S("bad_gateway"), S("Bad gateway.") },
    { 503, S("Service Unavailable"), S("server_error"), S("overloaded"),
      S("The engine is currently overloaded, please try again later.") },
    { 504, S("Gateway Timeout"), S("timeout"), S("timeout"), S("The upstream timed out.") },
    { 529, S("Overloaded"), S("overloaded_error"), S("overloaded"), S("Overloaded.") },
};

static const struct fault *fault_of(unsigned status)
{
    static const struct fault other = {
        0, S("Unnamed"), S("server_error"), S("mock_error"), S("As asked for."),
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        if (faults[i].status == status)
            return &faults[i];
    return &other;
}

static struct buf page;         /* the body being built; one at a time, like everything here */
static struct buf extra;        /* header lines of this answer only */

static void pause_here(struct conn *c, uint64_t ms)
{
    if (!ms)
        return;
    if (c->n_pauses == c->cap_pauses) {
        c->cap_pauses = c->cap_pauses ? 2 * c->cap_pauses : 16;
        c->pauses = realloc(c->pauses, c->cap_pauses * sizeof *c->pauses);
        if (!c->pauses)
            die("out of memory");
    }
    c->pauses[c->n_pauses++] = (struct pause){ c->out.len, ms };
}

static bool closes_by_fault(enum malformed m)
{
    return m == BAD_CHUNK || m == BAD_LENGTH || m == TWO_LENGTHS || m == GARBAGE_HEAD;
}

static void reply_head(struct conn *c, unsigned status, struct span type, enum framing framing,
                       size_t length)
{
    const struct script *s = &c->rq.script;
    struct buf *b = &c->out;
    bool says_close = !c->rq.keep_alive || s->no_keepalive || framing == BY_CLOSE;
    c->closes_after = says_close || closes_by_fault(s->malformed);
    pause_here(c, s->delay_ms);
    if (s->malformed == GARBAGE_HEAD) {
        PUT(b, "\x16\x03\x01 this is no HTTP \xff\xfe\r\n\r\n");
        goto out;
    }
    PUT(b, "HTTP/1.1 ");
    put_number(b, status);
    PUT(b, " ");
    put_span(b, fault_of(status)->reason);
    PUT(b, "\r\nserver: mockllm\r\ncontent-type: ");
    put_span(b, type);
    if (s->malformed == BAD_LENGTH || s->malformed == TWO_LENGTHS) {
        /* A stream does not know its length yet; any number that is too large will do. */
        if (framing != BY_LENGTH)
            length = 1 << 20;
        PUT(b, "\r\ncontent-length: ");
        put_number(b, length + (s->malformed == BAD_LENGTH ? 100 : 0));
        if (s->malformed == TWO_LENGTHS) {
            PUT(b, "\r\ncontent-length: ");
            put_number(b, length + 7);
        }
    } else if (framing == BY_LENGTH) {
        PUT(b, "\r\ncontent-length: ");
        put_number(b, length);
    } else if (framing == BY_CHUNKS) {
        PUT(b, "\r\ntransfer-encoding: chunked");
    }
    if (c->rq.is_counted) {
        PUT(b, "\r\nx-request-id: mock-");
        put_number(b, c->rq.serial);
        PUT(b, "\r\nopenai-processing-ms: ");
        put_number(b, s->delay_ms + s->first_byte_ms + 1);
        PUT(b, "\r\nopenai-version: 2020-10-01\r\nopenai-organization: mock-org\r\n"
               "x-ratelimit-limit-requests: 10000\r\nx-ratelimit-remaining-requests: 9999\r\n"
               "x-ratelimit-reset-requests: 6ms");
    }
    if (s->malformed == HUGE_HEADER) {
        PUT(b, "\r\nx-mock-huge: ");
        buf_need(b, 128 << 10);
        memset(b->data + b->len, 'h', 128 << 10);
        b->len += 128 << 10;
    }
    if (says_close)
        PUT(b, "\r\nconnection: close");
    else if (c->rq.is_http10)
        PUT(b, "\r\nconnection: keep-alive");
    PUT(b, "\r\n");
    put_span(b, (struct span){ extra.data, extra.len });
    PUT(b, "\r\n");
out:
    extra.len = 0;
    c->head_len = b->len;
    pause_here(c, s->first_byte_ms);
}

static void put_error(struct buf *b, struct span message, struct span type, struct span code)
{
    PUT(b, "{\"error\":{\"message\":\"");
    put_escaped(b, message, true);
    PUT(b, "\",\"type\":\"");
    put_span(b, type);
    PUT(b, "\",\"param\":null,\"code\":\"");
    put_escaped(b, code, true);
    PUT(b, "\"}}");
}

static const struct span html =
    S("<!doctype html><title>hello</title><p>This is not what you asked for.</p>\n");
static const struct span json_type = S("application/json");

/* Answers with `page`, after breaking it as the request asked. */
static void reply(struct conn *c, unsigned status)
{
    enum malformed m = c->rq.script.malformed;
    struct span type = json_type, whole;
    if (m == NOT_SSE) {
        type = S("text/html; charset=utf-8");
        page.len = 0;
        put_span(&page, html);
    } else if (m == ERROR_EVENT && status == 200) {
        page.len = 0;
        put_error(&page, fault_of(500)->message, fault_of(500)->type, fault_of(500)->code);
    } else if (m == BAD_JSON_EVENT && page.len) {
        page.data[page.len - 1] = ',';
    } else if (m == TRUNCATED_EVENT) {
        page.len /= 2;
    } else if (m == BOM) {
        PUT(&page, "\xef\xbb\xbf");
        memmove(page.data + 3, page.data, page.len - 3);
        memcpy(page.data, "\xef\xbb\xbf", 3);
    }
    if (status < 200 || status == 204 || status == 304)
        page.len = 0;                   /* these have no body */
    whole = (struct span){ page.data, page.len };
    reply_head(c, status, type, m == BAD_CHUNK ? BY_CHUNKS : BY_LENGTH, whole.n);
    if (c->rq.is_head)
        return;
    if (m == BAD_CHUNK)
        PUT(&c->out, "zz\r\n");
    put_span(&c->out, whole);
}

static void reply_error(struct conn *c, unsigned status, struct span message)
{
    const struct fault *f = fault_of(status);
    page.len = 0;
    put_error(&page, message.p ? message : f->message, f->type, f->code);
    reply(c, status);
}

/* The error that the request asked for. */
static void reply_scripted(struct conn *c, unsigned status)
{
    const struct script *s = &c->rq.script;
    const struct fault *f = fault_of(status);
    struct span code =
        s->error_code[0] ? (struct span){ s->error_code, strlen(s->error_code) } : f->code;
    if (s->has_retry_after) {
        PUT(&extra, "retry-after: ");
        put_number(&extra, s->retry_after);
        PUT(&extra, "\r\n");
    }
    if (s->has_retry_after_ms) {
        PUT(&extra, "retry-after-ms: ");
        put_number(&extra, s->retry_after_ms);
        PUT(&extra, "\r\n");
    }
    page.len = 0;
    put_error(&page, f->message, f->type, code);
    reply(c, status);
}

/* ---- Streams ------------------------------------------------------------------------------ */

enum { BREAK_AT = 2 };          /* the event that is broken when one is to be; there are always 3 */

static struct buf event;        /* the payload being built */
static struct buf lines;        /* the same as SSE lines */
static struct buf prefix;       /* what all payloads of this stream begin with */

struct stream {
    struct conn *c;
    enum framing framing;
    struct span suffix;         /* and end with */
    size_t n_events;
    bool is_over;               /* broken off: nothing more but the end of the frame */
};

static struct stream stream_begin(struct conn *c)
{
    enum malformed m = c->rq.script.malformed;
    struct stream st = { .c = c, .framing = c->rq.is_http10 ? BY_CLOSE : BY_CHUNKS };
    PUT(&extra, "cache-control: no-cache\r\n");
    reply_head(c, 200, S("text/event-stream; charset=utf-8"), st.framing, 0);
    if (m == BAD_LENGTH || m == TWO_LENGTHS)
        st.framing = BY_LENGTH;
    return st;
}

static void stream_frame(struct stream *st)
{
    struct buf *b = &st->c->out;
    if (st->framing == BY_CHUNKS) {
        if (st->c->rq.script.malformed == BAD_CHUNK && st->n_events == BREAK_AT) {
            PUT(b, "zz");
            st->is_over = true;
        } else {
            put_hex(b, lines.len);
        }
        PUT(b, "\r\n");
    }
    put(b, lines.data, lines.len);
    if (st->framing == BY_CHUNKS)
        PUT(b, "\r\n");
}

/* Sends `event`. */
static void stream_event(struct stream *st)
{
    enum malformed m = st->c->rq.script.malformed;
    struct span eol = m == CRLF ? S("\r\n") : m == CR ? S("\r") : S("\n");
    bool is_breaking = st->n_events == BREAK_AT;
    if (st->is_over)
        return;
    if (is_breaking && m == BAD_JSON_EVENT) {
        event.len = event.len * 2 / 3;
    } else if (is_breaking && m == ERROR_EVENT) {
        event.len = 0;
        put_error(&event, fault_of(500)->message, fault_of(500)->type, fault_of(500)->code);
        st->is_over = true;
    }
    lines.len = 0;
    if (m == BOM && !st->n_events)
        PUT(&lines, "\xef\xbb\xbf");
    if (m == COMMENTS)
        PUT(&lines, ": keep-alive\n\n:\n\n:data: not data\n");
    if (m == IDS) {
        PUT(&lines, "event: message\nretry: 1500\nid: ");
        put_number(&lines, st->n_events);
        PUT(&lines, "\nunknown: field\n");
    }
    PUT(&lines, "data: ");
    const char *rest = event.data;
    if (m == MULTILINE_DATA) {
        static const struct span members[] = { S(",\"object\":"), S(",\"choices\":") };
        for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
            const char *comma =
                memmem(rest, (size_t)(event.data + event.len - rest), members[i].p, members[i].n);
            if (!comma)
                continue;
            put(&lines, rest, (size_t)(comma + 1 - rest));
            put_span(&lines, eol);
            PUT(&lines, "data:");       /* no space: it is optional */
            rest = comma + 1;
        }
    }
    put(&lines, rest, (size_t)(event.data + event.len - rest));
    if (is_breaking && m == TRUNCATED_EVENT) {
        lines.len = lines.len * 2 / 3;
        st->is_over = true;
    } else {
        put_span(&lines, eol);
        put_span(&lines, eol);
    }
    if (st->n_events)
        pause_here(st->c, st->c->rq.script.gap_ms);
    stream_frame(st);
    st->n_events++;
}

static void event_open(void)
{
    event.len = 0;
    put(&event, prefix.data, prefix.len);
}

static void event_close(struct stream *st)
{
    put_span(&event, st->suffix);
    stream_event(st);
}

static void stream_end(struct stream *st)
{
    enum malformed m = st->c->rq.script.malformed;
    event.len = 0;
    PUT(&event, "[DONE]");
    if (m != NO_DONE)
        stream_event(st);
    if (st->framing == BY_CHUNKS && m != BAD_CHUNK)
        PUT(&st->c->out, "0\r\n\r\n");
}

/* ---- What a request asks ------------------------------------------------------------------ */

struct ask {
    struct span model, messages, tools, tool_choice, parallel_tool_calls, response_format;
    struct span input, prompt, encoding_format, dimensions, stream, stream_options, n;
    struct span max_tokens, max_completion_tokens, logprobs, top_logprobs, metadata;

    struct span last_role, last_content;        /* of the messages */
    struct span results[RESULTS_MAX];           /* contents of the tool messages that end them */
    size_t n_results, n_messages;
    size_t n_choices, top;
    bool is_stream, wants_usage;
};

#define MEMBER(name) { S(#name), offsetof(struct ask, name) }

static const struct { struct span name; size_t at; } ask_members[] = {
    MEMBER(model), MEMBER(messages), MEMBER(tools), MEMBER(tool_choice), MEMBER(response_format),
    MEMBER(input), MEMBER(prompt), MEMBER(encoding_format), MEMBER(stream), MEMBER(stream_options),
    MEMBER(n), MEMBER(max_tokens), MEMBER(max_completion_tokens), MEMBER(logprobs),
    MEMBER(top_logprobs), MEMBER(dimensions), MEMBER(parallel_tool_calls), MEMBER(metadata),
};

static struct span request_body(const struct conn *c)
{
    return (struct span){ c->in.data + c->at + c->rq.head_len, c->rq.body_len };
}

/* NULL, or what is wrong. The spans point into the body. */
static const char *ask_read(struct ask *ask, struct span body)
{
    struct span key, value, role, content;
    struct walk w;
    *ask = (struct ask){ 0 };
    const char *start = json_space(body.p, body.p + body.n);
    if (start == body.p + body.n || *start != '{')
        return "The body is not a JSON object.";
    w = walk_over((struct span){ start, (size_t)(body.p + body.n - start) });
    while (walk_next(&w, &key, &value))
        for (size_t i = 0; i < sizeof ask_members / sizeof *ask_members; i++)
            if (span_is(key, ask_members[i].name)) {
                *(struct span *)((char *)ask + ask_members[i].at) = value;
                break;
            }
    if (w.is_bad || json_space(w.p, w.end) != w.end)
        return "The body is not valid JSON.";

    for (w = walk_over(ask->messages); walk_next(&w, &key, &value); ask->n_messages++) {
        struct walk m = walk_over(value);
        role = content = (struct span){ 0 };
        while (walk_next(&m, &key, &value))
            if (span_is(key, S("role")))
                role = json_text(value);
            else if (span_is(key, S("content")))
                content = value;
        if (!role.p)
            return "A message has no role.";
        ask->last_role = role;
        ask->last_content = content;
        if (!span_is(role, S("tool")))
            ask->n_results = 0;
        else if (ask->n_results < RESULTS_MAX)
            ask->results[ask->n_results++] = content;
    }
    long n = json_long(ask->n, 1);
    if (n < 1 || n > CHOICES_MAX)
        return "n must be from 1 to 128.";
    ask->n_choices = (size_t)n;
    long top = json_long(ask->top_logprobs, 0);
    ask->top = top < 0 ? 0 : top > 20 ? 20 : (size_t)top;
    ask->is_stream = json_is_true(ask->stream);
    ask->wants_usage = json_is_true(json_get(ask->stream_options, S("include_usage")));
    return NULL;
}

/* A content is a string or a list of parts; the next text of it, escaped. */
static bool content_next(struct walk *w, struct span content, struct span *text)
{
    struct span key, part;
    if (json_is_string(content)) {
        *text = json_text(content);
        bool is_first = w->is_first;
        w->is_first = false;
        return is_first;
    }
    while (walk_next(w, &key, &part))
        if ((*text = json_text(json_get(part, S("text")))).p)
            return true;
    return false;
}

static bool content_says(struct span content, struct span word)
{
    struct walk w = walk_over(content);
    struct span text;
    while (content_next(&w, content, &text))
        for (size_t i = 0; i + word.n <= text.n; i++)
            if (span_is_nocase((struct span){ text.p + i, word.n }, word))
                return true;
    return false;
}

/* ---- What the model says ------------------------------------------------------------------
 *
 * A text, cut into the pieces that a stream sends one by one (a piece counts as a token), or some
 * tool calls. Texts are kept escaped, ready to stand between quotes. */

static const char sentence[] =
    "The mock model is glad to answer: here is one fixed sentence that every request gets.";

struct call { struct span name; size_t at, n; };        /* arguments: place in `text`, escaped */

static struct buf text;                 /* the text, or the arguments of all calls */
static size_t *piece_ends, n_pieces, cap_pieces;        /* of the text */

struct answer {
    struct call calls[CALLS_MAX];
    size_t n_calls;
    const char *finish;
    struct usage usage;
};

static void piece_end(size_t at)
{
    if (n_pieces == cap_pieces) {
        cap_pieces = cap_pieces ? 2 * cap_pieces : 256;
        piece_ends = realloc(piece_ends, cap_pieces * sizeof *piece_ends);
        if (!piece_ends)
            die("out of memory");
    }
    piece_ends[n_pieces++] = at;
}

static struct span piece(size_t i)
{
    size_t start = i ? piece_ends[i - 1] : 0;
    return (struct span){ text.data + start, piece_ends[i] - start };
}

/* The length of what may not be cut: an escape (both halves of a pair), a UTF-8 sequence. */
static size_t unit_length(const char *p, const char *end)
{
    size_t n = 1, left = (size_t)(end - p);
    if (*p == '\\' && left > 1 && p[1] == 'u')
        n = left >= 12 && (p[2] | 32) == 'd' && strchr("89abAB", p[3]) ? 12 : 6;
    else if (*p == '\\')
        n = 2;
    else
        while (n < left && ((unsigned char)p[n] & 0xc0) == 0x80)
            n++;
    return n < left ? n : left;
}

/* Where the piece that starts at p ends: before a space, and in long words after 16 bytes or so. */
static const char *piece_after(const char *p, const char *end)
{
    const char *start = p;
    do
        p += unit_length(p, end);
    while (p < end && *p != ' ' && p - start < 16);
    return p;
}

static void pieces_cut(void)
{
    const char *p = text.data, *end = text.data + text.len;
    do
        piece_end((size_t)((p = p < end ? piece_after(p, end) : end) - text.data));
    while (p < end);
}

/* Words of the sentence, over and over: `tokens` of them, or `bytes` bytes in equal pieces. */
static void say_much(size_t tokens, size_t bytes)
{
    size_t length = sizeof sentence - 1;
    if (bytes) {
        size_t count = tokens ? tokens : bytes / 6 > 100000 ? 100000 : bytes / 6 + 1;
        if (count > bytes)
            count = bytes;
        buf_need(&text, bytes);
        for (size_t i = 0; i < bytes; i += length + 1) {
            memcpy(text.data + i, sentence, bytes - i < length ? bytes - i : length);
            if (i + length < bytes)
                text.data[i + length] = ' ';
        }
        text.len = bytes;
        for (size_t i = 1; i <= count; i++)
            piece_end((size_t)((uint64_t)bytes * i / count));
        return;
    }
    for (const char *p = sentence; tokens; tokens--) {
        const char *space = strchr(p + 1, ' ');
        size_t n = space ? (size_t)(space - p) : strlen(p);
        if (p == sentence && text.len)
            PUT(&text, " ");
        put(&text, p, n);
        piece_end(text.len);
        p = space ? space : sentence;
    }
}

/* Puts a value that satisfies a simple schema. `root` is where $ref starts. */
static void put_instance(struct buf *b, struct span schema, struct span root, int depth)
{
    static const struct span firsts[] = { S("anyOf"), S("oneOf"), S("allOf") };
    struct span key, value, v;
    struct walk w;
    if (depth > 16) {
        PUT(b, "null");
        return;
    }
    if ((v = json_get(schema, S("const"))).p) {
        put_span(b, v);
        return;
    }
    w = walk_over(json_get(schema, S("enum")));
    if (walk_next(&w, &key, &value)) {
        put_span(b, value);
        return;
    }
    if ((v = json_text(json_get(schema, S("$ref")))).n && *v.p == '#') {
        struct span target = root;
        for (const char *p = v.p + 1, *end = v.p + v.n; p < end;) {
            const char *slash = memchr(p + 1, '/', (size_t)(end - p - 1));
            slash = slash ? slash : end;
            target = json_get(target, (struct span){ p + 1, (size_t)(slash - p - 1) });
            p = slash;
        }
        put_instance(b, target, root, depth + 1);
        return;
    }
    for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++) {
        w = walk_over(json_get(schema, firsts[i]));
        if (walk_next(&w, &key, &value)) {
            put_instance(b, value, root, depth + 1);
            return;
        }
    }
    v = json_get(schema, S("type"));
    w = walk_over(v);
    while (walk_next(&w, &key, &value))
        if (!span_is(v = value, S("\"null\"")))
            break;
    v = json_text(v);
    struct span properties = json_get(schema, S("properties"));
    if (span_is(v, S("object")) || properties.p) {
        bool is_first = true;
        PUT(b, "{");
        for (w = walk_over(properties); walk_next(&w, &key, &value); is_first = false) {
            if (!is_first)
                PUT(b, ",");
            PUT(b, "\"");
            put_span(b, key);
            PUT(b, "\":");
            put_instance(b, value, root, depth + 1);
        }
        PUT(b, "}");
    } else if (span_is(v, S("array"))) {
        long n = json_long(json_get(schema, S("minItems")), 1);
        PUT(b, "[");
        for (long i = 0; i < (n < 1 ? 1 : n > 16 ? 16 : n); i++) {
            if (i)
                PUT(b, ",");
            put_instance(b, json_get(schema, S("items")), root, depth + 1);
        }
        PUT(b, "]");
    } else if (span_is(v, S("integer")) || span_is(v, S("number"))) {
        long low = json_long(json_get(schema, S("minimum")), 1);
        long high = json_long(json_get(schema, S("maximum")), 1 << 30);
        long number = low > 1 ? low : high < 1 ? high : 1;
        if (number < 0)
            PUT(b, "-");
        put_number(b, (uint64_t)labs(number));
    } else if (span_is(v, S("boolean"))) {
        PUT(b, "true");
    } else if (span_is(v, S("null"))) {
        PUT(b, "null");
    } else {
        PUT(b, "\"text\"");
    }
}

static struct buf draft;                /* plain JSON, before it is escaped into the text */

static void say_json(struct span schema)
{
    draft.len = 0;
    if (schema.p)
        put_instance(&draft, schema, schema, 0);
    else
        PUT(&draft, "{\"answer\":\"text\",\"count\":1,\"ok\":true}");
    put_escaped(&text, (struct span){ draft.data, draft.len }, true);
}

static void say_digest(struct conn *c)
{
    unsigned char digest[32];
    char hex[65];
    struct span body = request_body(c);
    EVP_Digest(body.p, body.n, digest, NULL, EVP_sha256(), NULL);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    put_text(&text, hex);
    PUT(&text, " ");
    put_number(&text, body.n);
    PUT(&extra, "x-mock-body-sha256: ");
    put_text(&extra, hex);
    PUT(&extra, "\r\n");
}

/* How many calls, and to the function of which name first (absent: the first tool's). */
static size_t calls_wanted(const struct conn *c, const struct ask *ask, struct span *name)
{
    struct span choice = ask->tool_choice, key, value;
    struct walk w = walk_over(ask->tools);
    if (c->rq.script.tool_calls)
        return c->rq.script.tool_calls;
    if (!walk_next(&w, &key, &value) || span_is(json_text(choice), S("none")) ||
        !span_is(ask->last_role, S("user")))
        return 0;
    *name = json_text(json_get(json_get(choice, S("function")), S("name")));
    if (!name->p && !span_is(json_text(choice), S("required")) &&
        !content_says(ask->last_content, S("tool")))
        return 0;
    bool is_serial = ask->parallel_tool_calls.n == 5 && *ask->parallel_tool_calls.p == 'f';
    return content_says(ask->last_content, S("parallel")) && !is_serial ? 2 : 1;
}

/* The tool of that name, or else the last one. */
static struct span tool_named(struct span tools, struct span name)
{
    struct walk w = walk_over(tools);
    struct span key, tool = { 0 };
    while (walk_next(&w, &key, &tool))
        if (span_is(json_text(json_get(json_get(tool, S("function")), S("name"))), name))
            break;
    return tool;
}

static void say_calls(struct answer *a, const struct ask *ask, size_t n, struct span wanted)
{
    struct span key, tool = { 0 };
    struct walk w = walk_over(ask->tools);
    for (a->n_calls = 0; a->n_calls < n; a->n_calls++) {
        struct call *call = &a->calls[a->n_calls];
        if (!walk_next(&w, &key, &tool)) {      /* more calls than tools: start over */
            w = walk_over(ask->tools);
            walk_next(&w, &key, &tool);
        }
        if (wanted.p)
            tool = tool_named(ask->tools, wanted);
        struct span function = json_get(tool, S("function"));
        struct span name = json_text(json_get(function, S("name")));
        struct span parameters = json_get(function, S("parameters"));
        call->name = name.p ? name : S("mock_tool");
        draft.len = 0;
        if (walk_over(parameters).close == '}')
            put_instance(&draft, parameters, parameters, 0);
        if (!draft.len || *draft.data != '{') {
            draft.len = 0;
            PUT(&draft, "{}");
        }
        call->at = text.len;
        put_escaped(&text, (struct span){ draft.data, draft.len }, true);
        call->n = text.len - call->at;
    }
}

/* Decides what to say and counts it. */
static void answer_make(struct answer *a, struct conn *c, const struct ask *ask)
{
    const struct script *s = &c->rq.script;
    struct span name = { 0 }, said, type = json_text(json_get(ask->response_format, S("type")));
    size_t n_calls = calls_wanted(c, ask, &name);
    a->n_calls = 0;
    a->finish = "stop";
    text.len = n_pieces = 0;
    if (s->is_echo) {
        say_digest(c);
    } else if (n_calls) {
        say_calls(a, ask, n_calls, name);
        a->finish = "tool_calls";
    } else if (s->tokens || s->body_bytes) {
        say_much(s->tokens, s->body_bytes);
    } else if (ask->n_results) {
        PUT(&text, "The tool said:");
        for (size_t i = 0; i < ask->n_results; i++) {
            struct walk w = walk_over(ask->results[i]);
            while (content_next(&w, ask->results[i], &said)) {
                PUT(&text, " ");
                put_span(&text, said);
            }
        }
    } else if (span_is(type, S("json_schema"))) {
        say_json(json_get(json_get(ask->response_format, S("json_schema")), S("schema")));
    } else if (span_is(type, S("json_object"))) {
        say_json((struct span){ 0 });
    } else {
        PUT(&text, sentence);
    }
    if (!n_pieces)
        pieces_cut();

    long limit = json_long(ask->max_completion_tokens, json_long(ask->max_tokens, 0));
    if (limit > 0 && !a->n_calls && (size_t)limit < n_pieces) {
        n_pieces = (size_t)limit;
        text.len = piece_ends[n_pieces - 1];
        a->finish = "length";
    }
    a->usage = s->usage;
    if (!s->usage.is_set) {
        a->usage.prompt = c->rq.body_len / 4 + 1;
        a->usage.completion = n_pieces * ask->n_choices;
    }
}

/* ---- Answers by endpoint ------------------------------------------------------------------ */

static void put_usage(struct buf *b, const struct usage *u)
{
    PUT(b, "{\"prompt_tokens\":");
    put_number(b, u->prompt);
    PUT(b, ",\"completion_tokens\":");
    put_number(b, u->completion);
    PUT(b, ",\"total_tokens\":");
    put_number(b, u->prompt + u->completion);
    PUT(b, ",\"prompt_tokens_details\":{\"cached_tokens\":");
    put_number(b, u->cached);
    PUT(b, ",\"audio_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":");
    put_number(b, u->reasoning);
    PUT(b, ",\"audio_tokens\":0,\"accepted_prediction_tokens\":0,"
           "\"rejected_prediction_tokens\":0}}");
}

/* What makes one answer differ from the next: of the body when deterministic, else of chance. */
static uint64_t reply_seed(struct conn *c)
{
    return g.is_deterministic ? span_hash(request_body(c)) : mix(g.seed + c->rq.serial);
}

static void put_id(struct buf *b, struct span kind, uint64_t seed, uint64_t which)
{
    static const char set[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    char id[24];
    uint64_t v = mix(seed + which * 0x9e3779b97f4a7c15ull);
    for (size_t i = 0; i < sizeof id; i++, v /= 62) {
        if (i == 10 || i == 20)
            v = mix(v + seed + i);
        id[i] = set[v % 62];
    }
    put_span(b, kind);
    put(b, id, sizeof id);
}

/* {"id":…,"object":…,"created":…,"model":… ; the fingerprint, too, is a matter of the seed. */
static void put_opening(struct buf *b, struct span kind, struct span object, uint64_t seed,
                        struct span model)
{
    PUT(b, "{\"id\":\"");
    put_id(b, kind, seed, 0);
    PUT(b, "\",\"object\":\"");
    put_span(b, object);
    PUT(b, "\",\"created\":");
    put_number(b, g.is_deterministic ? 1700000000 + seed % 10000000 : (uint64_t)g.unix_s);
    PUT(b, ",\"model\":\"");
    put_span(b, model);
    PUT(b, "\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_");
    put_hex(b, (g.is_deterministic ? seed : g.seed) >> 24 | 1ull << 39);
    PUT(b, "\"");
}

/* A made-up logprob, the same for the same token. */
static void put_logprob_number(struct buf *b, struct span token, size_t rank)
{
    char number[16];
    snprintf(number, sizeof number, "-%u.%04u", (unsigned)rank,
             (unsigned)(span_hash(token) % 10000));
    put_text(b, number);
}

static void put_token(struct buf *b, struct span token, size_t rank)
{
    PUT(b, "{\"token\":\"");
    put_span(b, token);
    for (size_t i = 0; i < rank; i++)   /* an alternative, made different by its length */
        PUT(b, "_");
    PUT(b, "\",\"logprob\":");
    put_logprob_number(b, token, rank);
    if (memchr(token.p, '\\', token.n)) {
        PUT(b, ",\"bytes\":null");
        return;
    }
    PUT(b, ",\"bytes\":[");
    for (size_t i = 0; i < token.n + rank; i++) {
        if (i)
            PUT(b, ",");
        put_number(b, i < token.n ? (unsigned char)token.p[i] : '_');
    }
    PUT(b, "]");
}

/* Of the pieces from..to, or null when not asked for. */
static void put_logprobs(struct buf *b, const struct ask *ask, size_t from, size_t to)
{
    if (!json_is_true(ask->logprobs)) {
        PUT(b, "null");
        return;
    }
    PUT(b, "{\"content\":[");
    for (size_t i = from; i < to; i++) {
        if (i > from)
            PUT(b, ",");
        put_token(b, piece(i), 0);
        PUT(b, ",\"top_logprobs\":[");
        for (size_t rank = 0; rank < ask->top; rank++) {
            if (rank)
                PUT(b, ",");
            put_token(b, piece(i), rank);
            PUT(b, "}");
        }
        PUT(b, "]}");
    }
    PUT(b, "],\"refusal\":null}");
}

static void put_call_head(struct buf *b, uint64_t seed, size_t choice, size_t i)
{
    PUT(b, "\"id\":\"");
    put_id(b, S("call_"), seed, 1 + choice * CALLS_MAX + i);
    PUT(b, "\",\"type\":\"function\",\"function\":{\"name\":\"");
}

static void chat_whole(struct conn *c, const struct ask *ask, const struct answer *a)
{
    uint64_t seed = reply_seed(c);
    page.len = 0;
    put_opening(&page, S("chatcmpl-"), S("chat.completion"), seed, json_text(ask->model));
    PUT(&page, ",\"choices\":[");
    for (size_t i = 0; i < ask->n_choices; i++) {
        PUT(&page, "{\"index\":");
        put_number(&page, i);
        PUT(&page, ",\"message\":{\"role\":\"assistant\",\"content\":");
        if (a->n_calls) {
            PUT(&page, "null,\"tool_calls\":[");
            for (size_t k = 0; k < a->n_calls; k++) {
                const struct call *call = &a->calls[k];
                put_text(&page, k ? ",{" : "{");
                put_call_head(&page, seed, i, k);
                put_span(&page, call->name);
                PUT(&page, "\",\"arguments\":\"");
                put(&page, text.data + call->at, call->n);
                PUT(&page, "\"}}");
            }
            PUT(&page, "]");
        } else {
            PUT(&page, "\"");
            put(&page, text.data, text.len);
            PUT(&page, "\"");
        }
        PUT(&page, ",\"refusal\":null,\"annotations\":[]},\"logprobs\":");
        put_logprobs(&page, ask, 0, a->n_calls ? 0 : n_pieces);
        PUT(&page, ",\"finish_reason\":\"");
        put_text(&page, a->finish);
        put_text(&page, i + 1 < ask->n_choices ? "\"}," : "\"}");
    }
    PUT(&page, "],\"usage\":");
    put_usage(&page, &a->usage);
    PUT(&page, "}");
    reply(c, 200);
}

/* One choice of one chunk, up to the inside of its delta. */
static void delta_open(size_t choice)
{
    event_open();
    PUT(&event, "{\"index\":");
    put_number(&event, choice);
    PUT(&event, ",\"delta\":{");
}

static void delta_close(struct stream *st, const struct ask *ask, size_t from, size_t to)
{
    PUT(&event, "},\"logprobs\":");
    put_logprobs(&event, ask, from, to);
    PUT(&event, ",\"finish_reason\":null}");
    event_close(st);
}

static void stream_call(struct stream *st, const struct ask *ask, uint64_t seed, size_t choice,
                        size_t i, const struct call *call)
{
    delta_open(choice);
    PUT(&event, "\"tool_calls\":[{\"index\":");
    put_number(&event, i);
    PUT(&event, ",");
    put_call_head(&event, seed, choice, i);
    put_span(&event, call->name);
    PUT(&event, "\",\"arguments\":\"\"}}]");
    delta_close(st, ask, 0, 0);
    const char *end = text.data + call->at + call->n;
    for (const char *p = text.data + call->at, *q; p < end; p = q) {
        q = piece_after(p, end);
        delta_open(choice);
        PUT(&event, "\"tool_calls\":[{\"index\":");
        put_number(&event, i);
        PUT(&event, ",\"function\":{\"arguments\":\"");
        put(&event, p, (size_t)(q - p));
        PUT(&event, "\"}}]");
        delta_close(st, ask, 0, 0);
    }
}

/* The usage chunk: no choices in it, and only for those who asked. */
static void stream_usage(struct stream *st, const struct ask *ask, const struct usage *usage)
{
    if (!ask->wants_usage)
        return;
    event_open();
    PUT(&event, "],\"usage\":");
    put_usage(&event, usage);
    PUT(&event, "}");
    stream_event(st);
}

static void chat_stream(struct conn *c, const struct ask *ask, const struct answer *a)
{
    uint64_t seed = reply_seed(c);
    struct stream st = stream_begin(c);
    st.suffix = ask->wants_usage ? S("],\"usage\":null}") : S("]}");
    prefix.len = 0;
    put_opening(&prefix, S("chatcmpl-"), S("chat.completion.chunk"), seed, json_text(ask->model));
    PUT(&prefix, ",\"choices\":[");
    for (size_t i = 0; i < ask->n_choices; i++) {
        delta_open(i);
        PUT(&event, "\"role\":\"assistant\",\"content\":");
        put_text(&event, a->n_calls ? "null,\"refusal\":null" : "\"\",\"refusal\":null");
        delta_close(&st, ask, 0, 0);
    }
    for (size_t i = 0; i < ask->n_choices; i++)
        for (size_t k = 0; k < a->n_calls; k++)
            stream_call(&st, ask, seed, i, k, &a->calls[k]);
    for (size_t k = 0; k < n_pieces && !a->n_calls; k++)
        for (size_t i = 0; i < ask->n_choices; i++) {
            delta_open(i);
            PUT(&event, "\"content\":\"");
            put_span(&event, piece(k));
            PUT(&event, "\"");
            delta_close(&st, ask, k, k + 1);
        }
    for (size_t i = 0; i < ask->n_choices; i++) {
        delta_open(i);
        PUT(&event, "},\"logprobs\":null,\"finish_reason\":\"");
        put_text(&event, a->finish);
        PUT(&event, "\"}");
        event_close(&st);
    }
    stream_usage(&st, ask, &a->usage);
    stream_end(&st);
}

static void answer_chat(struct conn *c, struct ask *ask)
{
    struct answer a;
    if (!ask->n_messages) {
        reply_error(c, 400, S("messages: expected a list of at least one message"));
        return;
    }
    answer_make(&a, c, ask);
    if (ask->is_stream && c->rq.script.malformed != NOT_SSE)
        chat_stream(c, ask, &a);
    else
        chat_whole(c, ask, &a);
}

/* The old completions: `logprobs` is a number, and a list of prompts gives a list of choices. */
static void put_old_logprobs(struct buf *b, const struct ask *ask, size_t from, size_t to)
{
    static const struct span keys[] = {
        S("{\"tokens\":["), S("],\"token_logprobs\":["), S("],\"top_logprobs\":["),
        S("],\"text_offset\":["),
    };
    if (!json_is_integer(ask->logprobs)) {
        PUT(b, "null");
        return;
    }
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        put_span(b, keys[k]);
        for (size_t i = from; i < to; i++) {
            if (i > from)
                PUT(b, ",");
            if (k == 0 || k == 2) {
                put_text(b, k == 0 ? "\"" : "{\"");
                put_span(b, piece(i));
                put_text(b, k == 0 ? "\"" : "\":");
            }
            if (k == 1 || k == 2)
                put_logprob_number(b, piece(i), 0);
            if (k == 2)
                PUT(b, "}");
            if (k == 3)
                put_number(b, i ? piece_ends[i - 1] : 0);
        }
    }
    PUT(b, "]}");
}

static void put_old_choice(struct buf *b, const struct ask *ask, size_t choice, size_t from,
                           size_t to, const char *finish)
{
    PUT(b, "{\"text\":\"");
    for (size_t i = from; i < to; i++)
        put_span(b, piece(i));
    PUT(b, "\",\"index\":");
    put_number(b, choice);
    PUT(b, ",\"logprobs\":");
    put_old_logprobs(b, ask, from, to);
    PUT(b, ",\"finish_reason\":");
    if (finish)
        PUT(b, "\"");
    put_text(b, finish ? finish : "null");
    put_text(b, finish ? "\"}" : "}");
}

static void answer_completions(struct conn *c, struct ask *ask)
{
    struct answer a;
    struct span key, value;
    struct walk w = walk_over(ask->prompt);
    size_t n_prompts = 0;
    while (walk_next(&w, &key, &value) && n_prompts < PROMPTS_MAX)
        n_prompts += json_is_string(value) || *value.p == '[';
    ask->n_choices *= n_prompts ? n_prompts : 1;
    ask->tools = ask->response_format = (struct span){ 0 };
    answer_make(&a, c, ask);
    if (a.n_calls) {                    /* x-mock-tool-calls says nothing here */
        a.n_calls = 0;
        a.finish = "stop";
    }
    uint64_t seed = reply_seed(c);
    if (!ask->is_stream || c->rq.script.malformed == NOT_SSE) {
        page.len = 0;
        put_opening(&page, S("cmpl-"), S("text_completion"), seed, json_text(ask->model));
        PUT(&page, ",\"choices\":[");
        for (size_t i = 0; i < ask->n_choices; i++) {
            if (i)
                PUT(&page, ",");
            put_old_choice(&page, ask, i, 0, n_pieces, a.finish);
        }
        PUT(&page, "],\"usage\":");
        put_usage(&page, &a.usage);
        PUT(&page, "}");
        reply(c, 200);
        return;
    }
    struct stream st = stream_begin(c);
    st.suffix = ask->wants_usage ? S("],\"usage\":null}") : S("]}");
    prefix.len = 0;
    put_opening(&prefix, S("cmpl-"), S("text_completion"), seed, json_text(ask->model));
    PUT(&prefix, ",\"choices\":[");
    for (size_t k = 0; k <= n_pieces; k++)
        for (size_t i = 0; i < ask->n_choices; i++) {
            event_open();
            put_old_choice(&event, ask, i, k, k < n_pieces ? k + 1 : k,
                           k < n_pieces ? NULL : a.finish);
            event_close(&st);
        }
    stream_usage(&st, ask, &a.usage);
    stream_end(&st);
}

/* Newton's; saves linking the mathematics library for one call. */
static double square_root(double v)
{
    double root = v > 1 ? v : 1;
    for (double next; (next = (root + v / root) / 2) < root;)
        root = next;
    return root;
}

/* A unit vector that only the input's text decides, in steps of 1e-8 so that both encodings tell
 * the same numbers. */
static void put_vector(struct buf *b, struct span input, size_t n, bool is_base64)
{
    static double raw[16384];
    static float rounded[16384];
    uint64_t h = span_hash(input);
    double squares = 0;
    assert(n && n <= sizeof raw / sizeof *raw);
    for (size_t i = 0; i < n; i++) {
        h = h * 6364136223846793005ull + 1442695040888963407ull;
        raw[i] = (double)(int32_t)(h >> 32);
        squares += raw[i] * raw[i];
    }
    double scale = squares > 0 ? 1e8 / square_root(squares) : 0;
    if (is_base64) {
        for (size_t i = 0; i < n; i++)
            rounded[i] = (float)((double)(long)(raw[i] * scale) / 1e8);
        PUT(b, "\"");
        put_base64(b, (const unsigned char *)rounded, n * sizeof *rounded);
        PUT(b, "\"");
        return;
    }
    PUT(b, "[");
    for (size_t i = 0; i < n; i++) {
        char number[16], *p = number;
        long v = (long)(raw[i] * scale);
        unsigned long u = (unsigned long)labs(v);
        if (i)
            *p++ = ',';
        if (v < 0)
            *p++ = '-';
        *p++ = (char)('0' + u / 100000000);
        *p++ = '.';
        u %= 100000000;
        for (size_t k = 8; k--; u /= 10)
            p[k] = (char)('0' + u % 10);
        put(b, number, (size_t)(p + 8 - number));
    }
    PUT(b, "]");
}

static void answer_embeddings(struct conn *c, struct ask *ask)
{
    struct span key, value, first = { 0 };
    struct walk w = walk_over(ask->input);
    bool has_first = walk_next(&w, &key, &first);
    bool is_base64 = span_is(json_text(ask->encoding_format), S("base64"));
    long n = json_long(ask->dimensions, 1536);
    size_t index = 0;
    if (!json_is_string(ask->input) && !has_first) {
        reply_error(c, 400, S("input: expected a string or a list that is not empty"));
        return;
    }
    if (n < 1 || n > 16384) {
        reply_error(c, 400, S("dimensions: expected 1 to 16384"));
        return;
    }
    page.len = 0;
    PUT(&page, "{\"object\":\"list\",\"data\":[");
    /* A list of numbers is one input, already cut into tokens. */
    bool is_batch = has_first && (json_is_string(first) || *first.p == '[');
    for (w = walk_over(ask->input); !is_batch ? index < 1 : walk_next(&w, &key, &value); index++) {
        if (index)
            PUT(&page, ",");
        PUT(&page, "{\"object\":\"embedding\",\"index\":");
        put_number(&page, index);
        PUT(&page, ",\"embedding\":");
        put_vector(&page, is_batch ? value : ask->input, (size_t)n, is_base64);
        PUT(&page, "}");
    }
    PUT(&page, "],\"model\":\"");
    put_span(&page, json_text(ask->model));
    uint64_t prompt = c->rq.script.usage.is_set ? c->rq.script.usage.prompt : ask->input.n / 4 + 1;
    PUT(&page, "\",\"usage\":{\"prompt_tokens\":");
    put_number(&page, prompt);
    PUT(&page, ",\"total_tokens\":");
    put_number(&page, prompt);
    PUT(&page, "}}");
    reply(c, 200);
}

static void answer_models(struct conn *c, struct ask *ask)
{
    (void)ask;
    page.len = 0;
    PUT(&page, "{\"object\":\"list\",\"data\":[");
    for (const char *p = g.models; *p;) {
        size_t n = strcspn(p, ",");
        PUT(&page, "{\"id\":\"");
        put_escaped(&page, (struct span){ p, n }, true);
        PUT(&page, "\",\"object\":\"model\",\"created\":1700000000,\"owned_by\":\"mock-org\"}");
        p += n;
        if (*p) {
            PUT(&page, ",");
            p++;
        }
    }
    PUT(&page, "]}");
    reply(c, 200);
}

static void answer_health(struct conn *c, struct ask *ask)
{
    (void)ask;
    page.len = 0;
    PUT(&page, "{\"status\":\"ok\"}");
    reply(c, 200);
}

/* ---- The books: what came in, for tests to look at ----------------------------------------- */

struct record {
    uint64_t serial;                    /* 0: none */
    struct buf head, body;
    size_t body_bytes;                  /* as received; body may hold less */
    uint32_t method_len, target_at, target_len;
    bool is_aborted;
};

static struct record ring[RING];        /* by serial */

static void keep(struct buf *b, const char *p, size_t n)
{
    if (b->cap > n + (64 << 10))        /* do not hold megabytes for a small one */
        buf_give(b);
    b->len = 0;
    put(b, p, n);
}

static void books_keep(struct conn *c, bool is_aborted)
{
    struct request *rq = &c->rq;
    struct record *r = &ring[rq->serial % RING];
    const char *head = c->in.data + c->at;
    if (r->serial > rq->serial)
        return;
    r->serial = rq->serial;
    r->method_len = rq->method_len;
    r->target_at = rq->target_at;
    r->target_len = rq->target_len;
    r->is_aborted = is_aborted;
    r->body_bytes = rq->body_len;
    keep(&r->head, head, rq->head_len);
    keep(&r->body, head + rq->head_len,
         rq->body_len < RING_BODY_MAX ? rq->body_len : RING_BODY_MAX);
}

static void books_abort(uint64_t serial)
{
    if (ring[serial % RING].serial == serial)
        ring[serial % RING].is_aborted = true;
}

static void put_quoted(struct buf *b, struct span s)
{
    PUT(b, "\"");
    put_escaped(b, s, false);
    PUT(b, "\"");
}

static void put_record(struct buf *b, const struct record *r)
{
    const char *p = r->head.data, *end = p + r->head.len - 2;   /* before the empty line */
    PUT(b, "{\"seq\":");
    put_number(b, r->serial);
    PUT(b, ",\"method\":");
    put_quoted(b, (struct span){ p, r->method_len });
    PUT(b, ",\"path\":");
    put_quoted(b, (struct span){ p + r->target_at, r->target_len });
    PUT(b, ",\"headers\":[");
    p = (const char *)memchr(p, '\n', r->head.len) + 1;
    for (bool is_first = true; p < end; is_first = false) {
        const char *eol = memchr(p, '\r', (size_t)(end - p));
        const char *colon = memchr(p, ':', (size_t)(eol - p));
        if (!is_first)
            PUT(b, ",");
        PUT(b, "[");
        put_quoted(b, (struct span){ p, (size_t)(colon - p) });
        PUT(b, ",");
        put_quoted(b, span_trim(colon + 1, eol));
        PUT(b, "]");
        p = eol + 2;
    }
    PUT(b, "],\"body_bytes\":");
    put_number(b, r->body_bytes);
    PUT(b, ",\"body_base64\":\"");
    put_base64(b, (const unsigned char *)r->body.data, r->body.len);
    put_text(b, r->is_aborted ? "\",\"aborted\":true}" : "\",\"aborted\":false}");
}

static struct span query_get(const struct conn *c, struct span name);

static void answer_requests(struct conn *c, struct ask *ask)
{
    (void)ask;
    uint64_t n;
    if (!span_number(query_get(c, S("n")), &n))
        n = 10;
    uint64_t from = g.serial > RING ? g.serial - RING + 1 : 1;
    size_t there = 0;
    for (uint64_t i = from; i <= g.serial; i++)
        there += ring[i % RING].serial == i;
    page.len = 0;
    PUT(&page, "{\"requests\":[");
    for (uint64_t i = from; i <= g.serial && page.len < ANSWER_MAX; i++) {
        if (ring[i % RING].serial != i || there-- > n)
            continue;
        if (page.data[page.len - 1] != '[')
            PUT(&page, ",");
        put_record(&page, &ring[i % RING]);
    }
    PUT(&page, "]}");
    reply(c, 200);
}

static void answer_last(struct conn *c, struct ask *ask)
{
    (void)ask;
    uint64_t i = g.serial, from = g.serial > RING ? g.serial - RING : 0;
    while (i > from && ring[i % RING].serial != i)
        i--;
    page.len = 0;
    if (i > from)
        put_record(&page, &ring[i % RING]);
    else
        PUT(&page, "null");
    reply(c, 200);
}

static void answer_stats(struct conn *c, struct ask *ask)
{
    (void)ask;
    const struct { struct span name; uint64_t v; } items[] = {
        { S("{\"requests\":"), g.requests },
        { S(",\"open_connections\":"), g.n_conns },
        { S(",\"client_closed_mid_response\":"), g.closed_mid_response },
        { S(",\"aborted_uploads\":"), g.aborted_uploads },
        { S(",\"in_flight\":"), g.in_flight },
        { S(",\"bytes_in\":"), g.bytes_in },
        { S(",\"bytes_out\":"), g.bytes_out },
    };
    page.len = 0;
    for (size_t i = 0; i < sizeof items / sizeof *items; i++) {
        put_span(&page, items[i].name);
        put_number(&page, items[i].v);
    }
    PUT(&page, "}");
    reply(c, 200);
}

/* Counts how often each x-mock-key failed. */
static struct { uint64_t hash, count; } keys[KEYS];

/* The how manyeth request of this key this is, from 1; 0: too many keys. */
static uint64_t key_count(const char *name)
{
    uint64_t hash = span_hash((struct span){ name, strlen(name) }) | 1;
    for (size_t i = 0; i < KEYS; i++) {
        size_t at = (hash + i) % KEYS;
        if (keys[at].hash && keys[at].hash != hash)
            continue;
        keys[at].hash = hash;
        return ++keys[at].count;
    }
    return 0;
}

/* Open connections and what is in flight stay; request numbers go on, so ids stay unique. */
static void answer_reset(struct conn *c, struct ask *ask)
{
    (void)ask;
    for (size_t i = 0; i < RING; i++) {
        buf_give(&ring[i].head);
        buf_give(&ring[i].body);
        ring[i] = (struct record){ 0 };
    }
    memset(keys, 0, sizeof keys);
    g.requests = g.closed_mid_response = g.aborted_uploads = g.bytes_in = g.bytes_out = 0;
    g.random = g.seed;
    page.len = 0;
    PUT(&page, "{\"ok\":true}");
    reply(c, 200);
}

/* ---- HTTP in ------------------------------------------------------------------------------ */

enum progress { MOVED, HUNGRY, BLOCKED, GONE };

struct route {
    struct span path;
    bool is_exact, is_post, has_json;   /* exact: the whole path; otherwise its end */
    void (*answer)(struct conn *c, struct ask *ask);
};

/* The exact ones are ours and stay out of the books; the others are the provider's. */
static const struct route routes[] = {
    { S("/chat/completions"), false, true,  true,  answer_chat },
    { S("/completions"),      false, true,  true,  answer_completions },
    { S("/embeddings"),       false, true,  true,  answer_embeddings },
    { S("/models"),           false, false, false, answer_models },
    { S("/health"),           true,  false, false, answer_health },
    { S("/"),                 true,  false, false, answer_health },
    { S("/mock/stats"),       true,  false, false, answer_stats },
    { S("/mock/requests"),    true,  false, false, answer_requests },
    { S("/mock/last"),        true,  false, false, answer_last },
    { S("/mock/reset"),       true,  true,  false, answer_reset },
};

static struct span request_path(const struct conn *c)
{
    struct span s = { c->in.data + c->at + c->rq.target_at, c->rq.path_len };
    /* The absolute form, as a proxy would get it. */
    static const struct span schemes[] = { S("http://"), S("https://") };
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (s.n > schemes[i].n && !memcmp(s.p, schemes[i].p, schemes[i].n)) {
            const char *slash = memchr(s.p + schemes[i].n, '/', s.n - schemes[i].n);
            return slash ? (struct span){ slash, (size_t)(s.p + s.n - slash) } : S("/");
        }
    return s;
}

static const struct route *route_of(struct span path)
{
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if (routes[i].is_exact ? span_is(path, routes[i].path) : span_ends(path, routes[i].path))
            return &routes[i];
    return NULL;
}

/* The next name=value of a query, still encoded. */
static bool query_next(struct span *query, struct span *name, struct span *value)
{
    if (!query->n)
        return false;
    const char *end = memchr(query->p, '&', query->n);
    size_t n = end ? (size_t)(end - query->p) : query->n;
    const char *equals = memchr(query->p, '=', n);
    *name = (struct span){ query->p, equals ? (size_t)(equals - query->p) : n };
    *value = equals ? (struct span){ equals + 1, n - name->n - 1 } : S("");
    n += end != NULL;
    *query = (struct span){ query->p + n, query->n - n };
    return true;
}

static struct span request_query(const struct conn *c)
{
    const struct request *rq = &c->rq;
    size_t skip = rq->path_len + (size_t)(rq->path_len < rq->target_len);
    return (struct span){ c->in.data + c->at + rq->target_at + skip, rq->target_len - skip };
}

static struct span query_get(const struct conn *c, struct span name)
{
    struct span query = request_query(c), key, value;
    while (query_next(&query, &key, &value))
        if (span_is(key, name))
            return value;
    return (struct span){ 0 };
}

static int hex_digit(int ch)
{
    return isdigit(ch) ? ch - '0' : isxdigit(ch) ? (ch | 32) - 'a' + 10 : -1;
}

static struct span percent_decode(struct span s, char *room, size_t room_bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n && n < room_bytes; i++) {
        char ch = s.p[i] == '+' ? ' ' : s.p[i];
        if (ch == '%' && i + 2 < s.n && hex_digit(s.p[i + 1]) >= 0 && hex_digit(s.p[i + 2]) >= 0) {
            ch = (char)(hex_digit(s.p[i + 1]) << 4 | hex_digit(s.p[i + 2]));
            i += 2;
        }
        room[n++] = ch;
    }
    return (struct span){ room, n };
}

static const struct span switch_prefix = S("x-mock-");

static void switch_set(struct conn *c, struct span name, struct span value)
{
    struct span head = { name.p, switch_prefix.n };
    if (name.n <= head.n || !span_is_nocase(head, switch_prefix))
        return;
    if (!script_set(&c->rq.script, (struct span){ name.p + head.n, name.n - head.n }, value))
        c->rq.bad_switch = name;
}

/* The switches of the query, then those of the headers. */
static void switches_of_head(struct conn *c)
{
    struct span query = request_query(c), name, value;
    char room[256];
    while (query_next(&query, &name, &value))
        switch_set(c, name, percent_decode(value, room, sizeof room));
    const char *p = c->in.data + c->at, *end = p + c->rq.head_len - 2;
    for (p = (const char *)memchr(p, '\n', c->rq.head_len) + 1; p < end;) {
        const char *eol = memchr(p, '\r', (size_t)(end - p));
        const char *colon = memchr(p, ':', (size_t)(eol - p));
        switch_set(c, (struct span){ p, (size_t)(colon - p) }, span_trim(colon + 1, eol));
        p = eol + 2;
    }
}

static void answer_begin(struct conn *c)
{
    c->state = ANSWERING;
    c->out.len = c->sent = c->n_pauses = c->next_pause = 0;
    c->cut = CUT_NONE;
    c->is_waiting = c->is_resetting = c->is_hanging = c->wants_out = false;
    c->paced_ns = g.now_ns;
    extra.len = 0;
}

/* The request cannot be read any further: say so and close. */
static enum progress refuse(struct conn *c, unsigned status, struct span message)
{
    c->rq = (struct request){ .raw_at = c->in.len - c->at };
    answer_begin(c);
    reply_error(c, status, message);
    return MOVED;
}

static bool has_token(struct span list, struct span token)
{
    for (const char *p = list.p, *end = p + list.n; p < end;) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        if (!comma)
            comma = end;
        if (span_is_nocase(span_trim(p, comma), token))
            return true;
        p = comma + 1;
    }
    return false;
}

/* NULL, or what is wrong with the header line. */
static const char *take_header(struct request *rq, struct span name, struct span value)
{
    uint64_t length;
    switch (name.n) {
    case 6:
        if (span_is_nocase(name, S("expect")))
            rq->wants_continue = span_is_nocase(value, S("100-continue"));
        break;
    case 10:
        if (!span_is_nocase(name, S("connection")))
            break;
        if (has_token(value, S("close")))
            rq->keep_alive = false;
        else if (has_token(value, S("keep-alive")))
            rq->keep_alive = true;
        break;
    case 14:
        if (!span_is_nocase(name, S("content-length")))
            break;
        if (!span_number(value, &length) || (rq->has_length && length != rq->length))
            return "bad content-length";
        rq->has_length = true;
        rq->length = length;
        break;
    case 17:
        if (!span_is_nocase(name, S("transfer-encoding")))
            break;
        if (rq->is_chunked || !span_is_nocase(value, S("chunked")))
            return "transfer-encoding: only chunked is understood";
        rq->is_chunked = true;
        break;
    }
    if (name.n > 7 && (*name.p | 32) == 'x' && (name.p[2] | 32) == 'm')
        rq->has_switches = true;
    return NULL;
}

/* NULL, or what is wrong with the head that starts at `head` and is rq->head_len long. */
static const char *parse_head(struct request *rq, const char *head)
{
    const char *eol = memchr(head, '\r', rq->head_len), *end = head + rq->head_len - 2;
    const char *space = memchr(head, ' ', (size_t)(eol - head));
    if (!space || space == head || eol - space < 11 || memcmp(eol - 9, " HTTP/1.", 8) ||
        eol[-1] < '0' || eol[-1] > '1')
        return "the request line is not METHOD TARGET HTTP/1.x";
    rq->method_len = (uint32_t)(space - head);
    rq->target_at = rq->method_len + 1;
    rq->target_len = (uint32_t)(eol - 9 - space - 1);
    const char *query = memchr(space + 1, '?', rq->target_len);
    rq->path_len = query ? (uint32_t)(query - space - 1) : rq->target_len;
    rq->has_switches = query != NULL;
    rq->is_http10 = eol[-1] == '0';
    rq->keep_alive = !rq->is_http10;
    struct span method = { head, rq->method_len };
    rq->is_head = span_is(method, S("HEAD"));
    rq->is_get = rq->is_head || span_is(method, S("GET"));
    if (memchr(space + 1, ' ', rq->target_len) || memchr(head, '\n', (size_t)(eol - head)))
        return "the target has a space";
    for (const char *p = eol; p < end;) {
        if (p[1] != '\n')
            return "a carriage return without a line feed";
        if ((p += 2) == end)
            break;
        eol = memchr(p, '\r', (size_t)(end - p));
        const char *colon = memchr(p, ':', (size_t)(eol - p));
        if (!colon || colon == p || memchr(p, '\n', (size_t)(eol - p)))
            return "a header line is not NAME: VALUE";
        if (*p == ' ' || *p == '\t' || colon[-1] == ' ' || colon[-1] == '\t')
            return "space around a header's name";
        const char *wrong =
            take_header(rq, (struct span){ p, (size_t)(colon - p) }, span_trim(colon + 1, eol));
        if (wrong)
            return wrong;
        p = eol;
    }
    return rq->is_chunked && rq->has_length ? "content-length beside transfer-encoding" : NULL;
}

/* Negative: -EAGAIN or another -errno; 0: the other side has ended. */
static ssize_t conn_recv(struct conn *c, char *p, size_t n)
{
    ssize_t got;
    if (c->ssl) {
        ERR_clear_error();
        got = SSL_read(c->ssl, p, n > INT32_MAX ? INT32_MAX : (int)n);
        if (got <= 0)
            switch (SSL_get_error(c->ssl, (int)got)) {
            case SSL_ERROR_WANT_READ: case SSL_ERROR_WANT_WRITE: return -EAGAIN;
            case SSL_ERROR_ZERO_RETURN: return 0;
            default: return -EPROTO;
            }
    } else if ((got = recv(c->fd, p, n, 0)) < 0) {
        return errno == EWOULDBLOCK || errno == EINTR ? -EAGAIN : -errno;
    }
    g.bytes_in += (uint64_t)got;
    return got;
}

static ssize_t conn_send(struct conn *c, const char *p, size_t n)
{
    ssize_t sent;
    if (c->ssl) {
        ERR_clear_error();
        sent = SSL_write(c->ssl, p, n > INT32_MAX ? INT32_MAX : (int)n);
        if (sent <= 0)
            switch (SSL_get_error(c->ssl, (int)sent)) {
            case SSL_ERROR_WANT_READ: case SSL_ERROR_WANT_WRITE: return -EAGAIN;
            default: return -EPROTO;
            }
    } else if ((sent = send(c->fd, p, n, MSG_NOSIGNAL)) < 0) {
        return errno == EWOULDBLOCK || errno == EINTR ? -EAGAIN : -errno;
    }
    g.bytes_out += (uint64_t)sent;
    return sent;
}

static enum progress take_head(struct conn *c)
{
    while (c->at < c->in.len && (c->in.data[c->at] == '\r' || c->in.data[c->at] == '\n'))
        c->at++;
    size_t have = c->in.len - c->at;
    if (!have) {
        c->in.len = c->at = 0;
        return HUNGRY;
    }
    const char *head = c->in.data + c->at;
    const char *end = memmem(head, have < HEAD_MAX ? have : HEAD_MAX, "\r\n\r\n", 4);
    if (!end)
        return have < HEAD_MAX ? HUNGRY : refuse(c, 431, (struct span){ 0 });
    c->rq = (struct request){ .head_len = (size_t)(end - head) + 4 };
    const char *wrong = parse_head(&c->rq, head);
    if (wrong)
        return refuse(c, 400, (struct span){ wrong, strlen(wrong) });
    if (c->rq.length > BODY_MAX)
        return refuse(c, 413, (struct span){ 0 });
    const struct route *route = route_of(request_path(c));
    c->rq.is_counted = !route || !route->is_exact;
    c->rq.raw_at = c->rq.head_len;
    if (c->rq.is_counted) {
        c->rq.serial = ++g.serial;
        g.requests++;
        c->rq.script = g.defaults;
        if (c->rq.has_switches)
            switches_of_head(c);
    }
    c->read_budget = 0;
    if (c->rq.script.slow_read_bps) {
        int bytes = 4096;               /* or the kernel would take megabytes for us */
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    }
    c->state = READING_BODY;
    return MOVED;
}

/* Takes what has come of a chunked body, in place. 1: all, 0: more must come, -1: it is wrong. */
static int take_chunks(struct conn *c)
{
    struct request *rq = &c->rq;
    char *base = c->in.data + c->at;
    size_t have = c->in.len - c->at;
    while (rq->raw_at < have) {
        if (rq->chunked == CHUNK_DATA) {
            size_t n = have - rq->raw_at;
            if (n > rq->chunk_left)
                n = (size_t)rq->chunk_left;
            memmove(base + rq->head_len + rq->body_len, base + rq->raw_at, n);
            rq->body_len += n;
            rq->raw_at += n;
            rq->chunk_left -= n;
            if (!rq->chunk_left)
                rq->chunked = CHUNK_END;
            continue;
        }
        const char *p = base + rq->raw_at, *eol = memchr(p, '\n', have - rq->raw_at);
        if (!eol)
            return have - rq->raw_at > 4096 ? -1 : 0;
        if (eol == p || eol[-1] != '\r')
            return -1;
        rq->raw_at += (size_t)(eol + 1 - p);
        if (rq->chunked == CHUNK_END) {
            if (eol != p + 1)
                return -1;
            rq->chunked = CHUNK_SIZE;
        } else if (rq->chunked == CHUNK_TRAILER) {
            if (eol == p + 1)
                return 1;
        } else {
            int digit, n = 0;
            for (rq->chunk_left = 0; (digit = hex_digit((unsigned char)*p)) >= 0 && n < 8; p++, n++)
                rq->chunk_left = rq->chunk_left << 4 | (uint64_t)digit;
            if (!n || (*p != '\r' && *p != ';' && *p != ' '))
                return -1;
            rq->chunked = rq->chunk_left ? CHUNK_DATA : CHUNK_TRAILER;
        }
    }
    return 0;
}

static void answer(struct conn *c);

static enum progress take_body(struct conn *c)
{
    struct request *rq = &c->rq;
    size_t have = c->in.len - c->at;
    bool is_whole;
    if (rq->is_chunked) {
        int rc = take_chunks(c);
        if (rc < 0)
            return refuse(c, 400, S("The chunked body is not well formed."));
        if (rq->body_len > BODY_MAX)
            return refuse(c, 413, (struct span){ 0 });
        is_whole = rc;
    } else {
        is_whole = have - rq->head_len >= rq->length;
        rq->body_len = is_whole ? (size_t)rq->length : have - rq->head_len;
        rq->raw_at = rq->head_len + rq->body_len;
    }
    if (!is_whole) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        if (rq->wants_continue && !rq->is_http10 && !rq->body_len)
            conn_send(c, go_on, sizeof go_on - 1);
        rq->wants_continue = false;
        if (rq->script.slow_read_bps && !c->read_budget) {
            timer_start(c, g.now_ns + SLOW_READ_MS * MS);
            return BLOCKED;
        }
        return HUNGRY;
    }
    if (rq->is_counted)
        g.in_flight++;
    answer(c);
    return MOVED;
}

/* The failure this request is to get, or 0. */
static unsigned status_wanted(const struct script *s)
{
    if (s->fail_first) {
        uint64_t nth = key_count(s->key);
        if (!nth)
            return 500;
        return nth <= s->fail_first ? s->status ? (unsigned)s->status : 503 : 0;
    }
    if (s->status && s->status != 200)
        return (unsigned)s->status;
    return s->storm_percent && random_next() % 100 < s->storm_percent ? 429 : 0;
}

/* Switches inside the body rank below those of the head, which are therefore set again. */
static void switches_of_body(struct conn *c, struct span metadata)
{
    struct walk w = walk_over(metadata);
    struct span key, value;
    bool is_any = false;
    while (walk_next(&w, &key, &value)) {
        struct span plain = json_text(value);
        if (key.n <= switch_prefix.n || memcmp(key.p, switch_prefix.p, switch_prefix.n))
            continue;
        if (!is_any)
            c->rq.script = g.defaults;
        is_any = true;
        switch_set(c, key, plain.p ? plain : value);
    }
    if (is_any && c->rq.has_switches)
        switches_of_head(c);
}

static void place_cut(struct conn *c, enum cut kind, const struct place *place)
{
    if (!place->is_set)
        return;
    uint64_t at = place->at + (place->is_in_body || place->is_half ? c->head_len : 0);
    if (place->is_half)
        at += (c->out.len - c->head_len) / 2;
    if (at > c->out.len || (c->cut != CUT_NONE && at >= c->cut_at))
        return;
    c->cut = kind;
    c->cut_at = (size_t)at;
}

/* The request is whole: builds its answer. */
static void answer(struct conn *c)
{
    static struct ask ask;
    struct span path = request_path(c);
    const struct route *route = route_of(path);
    const struct script *s = &c->rq.script;
    const char *wrong = NULL;
    unsigned status;
    if (c->rq.is_counted)
        books_keep(c, false);
    answer_begin(c);
    c->rq.bad_switch = (struct span){ 0 };
    if (c->rq.is_counted && c->rq.has_switches)
        switches_of_head(c);            /* again: the buffer may have moved under bad_switch */
    if (route && route->has_json && !c->rq.is_get) {
        wrong = ask_read(&ask, request_body(c));
        if (!wrong && !json_text(ask.model).p)
            wrong = "you must provide a model parameter";
        if (!wrong)
            switches_of_body(c, ask.metadata);
    }
    if (c->rq.bad_switch.p) {
        draft.len = 0;
        put_span(&draft, c->rq.bad_switch);
        PUT(&draft, ": no such switch, or not with this value");
        reply_error(c, 400, (struct span){ draft.data, draft.len });
    } else if (c->rq.is_counted && (status = status_wanted(s))) {
        reply_scripted(c, status);
    } else if (!route) {
        reply_error(c, 404, (struct span){ 0 });
    } else if (route->is_post == c->rq.is_get) {
        reply_error(c, 405, (struct span){ 0 });
    } else if (wrong) {
        reply_error(c, 400, (struct span){ wrong, strlen(wrong) });
    } else {
        route->answer(c, &ask);
    }
    place_cut(c, CUT_RESET, &s->reset);
    place_cut(c, CUT_CLOSE, &s->close);
    place_cut(c, CUT_HANG, &s->hang);
    if (g.is_logging)
        fprintf(stderr, "%llu %.*s %.*s, %zu bytes, answered with %zu\n",
                (unsigned long long)c->rq.serial, (int)c->rq.method_len, c->in.data + c->at,
                (int)path.n, path.p, c->rq.body_len, c->out.len);
}

/* ---- HTTP out, and the life of a connection ------------------------------------------------ */

static void in_flight_end(struct conn *c)
{
    if (c->rq.is_counted)
        g.in_flight--;
}

/* Our side is over; the client's last bytes are read so that it is not reset. */
static enum progress drain(struct conn *c, bool is_clean)
{
    in_flight_end(c);
    c->state = DRAINING;
    if (c->ssl && is_clean)
        SSL_shutdown(c->ssl);
    shutdown(c->fd, SHUT_WR);
    timer_start(c, g.now_ns + DRAIN_MS * MS);
    return HUNGRY;
}

static enum progress cut_now(struct conn *c)
{
    struct linger hard = { .l_onoff = 1, .l_linger = 0 };
    switch (c->cut) {
    case CUT_HANG:
        c->is_hanging = true;
        return BLOCKED;
    case CUT_CLOSE:
        return drain(c, false);
    case CUT_RESET:
    case CUT_NONE:
        break;
    }
    if (c->sent && !c->is_resetting) {
        c->is_resetting = c->is_waiting = true;
        timer_start(c, g.now_ns + RESET_MS * MS);
        return BLOCKED;
    }
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    conn_end(c, false);
    return GONE;
}

static void pause_begin(struct conn *c, uint64_t ms)
{
    /* Pace by the clock, not by when we woke, unless the client made us late. */
    if (g.now_ns - c->paced_ns > 5 * MS)
        c->paced_ns = g.now_ns;
    c->paced_ns += ms * MS;
    c->is_waiting = true;
    timer_start(c, c->paced_ns);
}

static enum progress answer_done(struct conn *c)
{
    buf_give(&c->out);
    if (c->cap_pauses > 4096) {
        free(c->pauses);
        c->pauses = NULL;
        c->cap_pauses = 0;
    }
    if (c->closes_after)
        return drain(c, true);
    in_flight_end(c);
    c->state = IDLE_OR_HEAD;
    c->at += c->rq.raw_at;
    if (c->at == c->in.len) {
        c->at = 0;
        buf_give(&c->in);
    }
    return MOVED;
}

static enum progress send_answer(struct conn *c)
{
    while (!c->is_waiting && !c->is_hanging) {
        const struct pause *pause = c->next_pause < c->n_pauses ? &c->pauses[c->next_pause] : NULL;
        size_t stop = pause ? pause->at : c->out.len;
        if (c->cut != CUT_NONE && c->cut_at < stop)
            stop = c->cut_at;
        if (c->sent == stop) {
            if (pause && pause->at == stop) {
                c->next_pause++;
                pause_begin(c, pause->ms);
                continue;
            }
            if (c->cut != CUT_NONE && c->cut_at == stop)
                return cut_now(c);
            return answer_done(c);
        }
        size_t n = stop - c->sent, limit = c->rq.script.chunk_bytes;
        ssize_t sent = conn_send(c, c->out.data + c->sent, limit && n > limit ? limit : n);
        if (sent == -EAGAIN) {
            c->wants_out = true;
            return BLOCKED;
        }
        if (sent < 0) {
            conn_end(c, true);
            return GONE;
        }
        c->wants_out = false;
        c->sent += (size_t)sent;
        if (limit && c->sent < stop) {  /* at least one turn, so that the writes stay apart */
            c->is_waiting = true;
            timer_start(c, g.now_ns + c->rq.script.chunk_gap_ms * MS + 1);
        }
    }
    return BLOCKED;
}

/* Reads once. False: the connection is gone. *may_read: whether there can be more. */
static bool fill(struct conn *c, bool *may_read)
{
    if (c->state == DRAINING)
        c->in.len = c->at = 0;
    if (c->at && c->in.len == c->in.cap) {
        memmove(c->in.data, c->in.data + c->at, c->in.len - c->at);
        c->in.len -= c->at;
        c->at = 0;
    }
    size_t room = 1;
    if (c->state == READING_BODY && c->rq.length > c->rq.body_len)
        room = (size_t)c->rq.length - c->rq.body_len;
    buf_need(&c->in, room);
    room = c->in.cap - c->in.len;
    if (room > READ_MAX)
        room = READ_MAX;
    bool is_slow = c->state == READING_BODY && c->rq.script.slow_read_bps;
    if (is_slow && room > c->read_budget)
        room = (size_t)c->read_budget;
    ssize_t n = conn_recv(c, c->in.data + c->in.len, room);
    if (n == -EAGAIN) {
        *may_read = false;
        if (!c->in.len)
            buf_give(&c->in);
        return true;
    }
    if (n <= 0) {
        conn_end(c, true);
        return false;
    }
    c->in.len += (size_t)n;
    if (is_slow)
        c->read_budget -= (uint64_t)n;
    if (!c->ssl && (size_t)n < room)
        *may_read = false;
    return true;
}

/* Does all that the bytes at hand and the clock allow. */
static void conn_run(struct conn *c, bool may_read)
{
    for (;;) {
        enum progress p = c->state == IDLE_OR_HEAD ? take_head(c)
                        : c->state == READING_BODY ? take_body(c)
                        : c->state == ANSWERING    ? send_answer(c)
                                                   : HUNGRY;
        if (p == GONE)
            return;
        if (p == MOVED)
            continue;
        /* While answering we read only to learn of the client's end, and no more than that. */
        bool has_room = p == HUNGRY ||
                        (c->state == ANSWERING && c->in.len - c->at < c->rq.raw_at + PIPELINE_MAX);
        if (has_room && (may_read || (c->ssl && SSL_pending(c->ssl) > 0 && p == HUNGRY))) {
            may_read = true;
            if (!fill(c, &may_read))
                return;
            continue;
        }
        uint32_t events = has_room ? EPOLLIN : 0;
        if (p == HUNGRY || c->state == ANSWERING)
            events |= EPOLLRDHUP;
        if (c->wants_out && c->state == ANSWERING)
            events |= EPOLLOUT;
        watch(c, events);
        return;
    }
}

static void conn_timer(struct conn *c)
{
    if (c->state == DRAINING) {
        conn_end(c, false);
        return;
    }
    if (c->state == READING_BODY)
        c->read_budget += c->rq.script.slow_read_bps * SLOW_READ_MS / 1000 + 1;
    c->is_waiting = false;
    conn_run(c, c->state == READING_BODY);
}

static void conn_shake(struct conn *c)
{
    ERR_clear_error();
    int rc = SSL_accept(c->ssl);
    if (rc == 1) {
        c->is_shaking = false;
        conn_run(c, true);
        return;
    }
    switch (SSL_get_error(c->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        watch(c, EPOLLIN | EPOLLRDHUP);
        return;
    case SSL_ERROR_WANT_WRITE:
        watch(c, EPOLLOUT | EPOLLRDHUP);
        return;
    default:
        conn_end(c, true);
    }
}

static void conn_event(struct conn *c, uint32_t events)
{
    if (c->is_shaking) {
        conn_shake(c);
        return;
    }
    bool is_over = events & (EPOLLERR | EPOLLHUP);
    if (c->state == ANSWERING && (events & EPOLLRDHUP))
        is_over = true;
    if (is_over && !(events & EPOLLIN && c->state != ANSWERING)) {
        conn_end(c, c->state != DRAINING);
        return;
    }
    if (events & EPOLLOUT)
        c->wants_out = false;
    conn_run(c, events & EPOLLIN);
}

static void conns_accept(void)
{
    for (int i = 0; i < 64; i++) {
        if (g.n_conns >= CONNS_MAX) {
            accept_switch(false);
            return;
        }
        int fd = accept4(g.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if ((errno == EMFILE || errno == ENFILE) && g.n_conns)
                accept_switch(false);   /* until one of ours ends */
            return;
        }
        struct conn *c = (size_t)fd < g.conns_cap ? calloc(1, sizeof *c) : NULL;
        if (!c) {
            close(fd);
            continue;
        }
        c->fd = fd;
        c->watched = EPOLLIN | EPOLLRDHUP;
        struct epoll_event ev = { .events = c->watched, .data.ptr = c };
        if (g.tls) {
            c->ssl = SSL_new(g.tls);
            if (!c->ssl || !SSL_set_fd(c->ssl, fd))
                die("no memory for TLS");
            SSL_set_accept_state(c->ssl);
            c->is_shaking = true;
        }
        g.conns[fd] = c;
        g.n_conns++;
        if (epoll_ctl(g.epoll, EPOLL_CTL_ADD, fd, &ev) < 0)
            conn_end(c, false);
    }
}

/* ---- Main --------------------------------------------------------------------------------- */

static void turn(void)
{
    struct epoll_event events[EVENTS_MAX];
    struct timespec wait, *until = NULL;
    if (n_heap) {
        uint64_t now = clock_ns(CLOCK_MONOTONIC), due = heap[1]->due_ns;
        uint64_t left = due > now ? due - now : 0;
        wait = (struct timespec){ (time_t)(left / 1000000000u), (long)(left % 1000000000u) };
        until = &wait;
    }
    int n = epoll_pwait2(g.epoll, events, EVENTS_MAX, until, NULL);
    if (n < 0 && errno != EINTR)
        die("epoll_pwait2: %s", strerror(errno));
    g.now_ns = clock_ns(CLOCK_MONOTONIC);
    g.unix_s = time(NULL);
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr == &g.signals)
            exit(0);
        if (events[i].data.ptr == &g.listener)
            conns_accept();
        else
            conn_event(events[i].data.ptr, events[i].events);
    }
    while (n_heap && heap[1]->due_ns <= g.now_ns) {
        struct conn *c = heap[1];
        timer_stop(c);
        conn_timer(c);
    }
}

/* HOST:PORT or [HOST]:PORT, numbers only. Says what it got, port 0 being for any. */
static void listen_on(const char *where)
{
    char host[64], shown[INET6_ADDRSTRLEN];
    const char *colon = strrchr(where, ':');
    uint64_t port;
    if (!colon || !span_number((struct span){ colon + 1, strlen(colon + 1) }, &port) ||
        port > 65535 || (size_t)(colon - where) >= sizeof host)
        die("--listen %s: expected HOST:PORT", where);
    size_t n = (size_t)(colon - where);
    if (n > 1 && where[0] == '[' && colon[-1] == ']')
        snprintf(host, sizeof host, "%.*s", (int)n - 2, where + 1);
    else
        snprintf(host, sizeof host, "%.*s", (int)n, where);
    union { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; } address = { 0 };
    socklen_t length;
    if (inet_pton(AF_INET, host, &address.v4.sin_addr) == 1) {
        address.v4.sin_family = AF_INET;
        address.v4.sin_port = htons((uint16_t)port);
        length = sizeof address.v4;
    } else if (inet_pton(AF_INET6, host, &address.v6.sin6_addr) == 1) {
        address.v6.sin6_family = AF_INET6;
        address.v6.sin6_port = htons((uint16_t)port);
        length = sizeof address.v6;
    } else {
        die("--listen %s: the host must be an address", where);
    }
    int on = 1, fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);   /* accepted ones inherit it */
    if (bind(fd, &address.any, length) < 0 || listen(fd, 4096) < 0)
        die("--listen %s: %s", where, strerror(errno));
    getsockname(fd, &address.any, &length);
    bool is_v6 = address.any.sa_family == AF_INET6;
    if (is_v6)
        inet_ntop(AF_INET6, &address.v6.sin6_addr, shown, sizeof shown);
    else
        inet_ntop(AF_INET, &address.v4.sin_addr, shown, sizeof shown);
    printf("listening %s%s%s:%u\n", is_v6 ? "[" : "", shown, is_v6 ? "]" : "",
           ntohs(is_v6 ? address.v6.sin6_port : address.v4.sin_port));
    fflush(stdout);
    g.listener = fd;
    accept_switch(true);
}

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *in, unsigned in_len, void *arg)
{
    (void)ssl, (void)arg;
    for (unsigned i = 0; i + 8 < in_len; i += in[i] + 1u)
        if (in[i] == 8 && !memcmp(in + i + 1, "http/1.1", 8)) {
            *out = in + i + 1;
            *out_len = 8;
            return SSL_TLSEXT_ERR_OK;
        }
    return SSL_TLSEXT_ERR_NOACK;
}

static void tls_setup(const char *cert, const char *key)
{
    g.tls = SSL_CTX_new(TLS_server_method());
    if (!g.tls || SSL_CTX_use_certificate_chain_file(g.tls, cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(g.tls, key, SSL_FILETYPE_PEM) != 1)
        die("TLS: %s", ERR_reason_error_string(ERR_get_error()));
    SSL_CTX_set_min_proto_version(g.tls, TLS1_2_VERSION);
    SSL_CTX_set_mode(g.tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                            SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_alpn_select_cb(g.tls, choose_alpn, NULL);
}

static void system_setup(void)
{
    struct rlimit files;
    sigset_t stops;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < CONNS_MAX + 64 ? files.rlim_max : CONNS_MAX + 64;
    setrlimit(RLIMIT_NOFILE, &files);
    g.conns_cap = CONNS_MAX + 1024;
    g.conns = calloc(g.conns_cap, sizeof *g.conns);
    g.epoll = epoll_create1(EPOLL_CLOEXEC);
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    sigprocmask(SIG_BLOCK, &stops, NULL);
    signal(SIGPIPE, SIG_IGN);           /* TLS writes have no MSG_NOSIGNAL */
    g.signals = signalfd(-1, &stops, SFD_NONBLOCK | SFD_CLOEXEC);
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = &g.signals };
    if (!g.conns || g.epoll < 0 || g.signals < 0 ||
        epoll_ctl(g.epoll, EPOLL_CTL_ADD, g.signals, &ev) < 0)
        die("setup: %s", strerror(errno));
}

static void help(void)
{
    puts("mockllm -- a fast fake language-model provider that misbehaves on request\n"
         "\n"
         "  --listen HOST:PORT      where to serve (127.0.0.1:8898); port 0 takes any free one.\n"
         "                          The first line on stdout is `listening HOST:PORT`.\n"
         "  --tls-cert F --tls-key F   serve HTTPS with these PEM files\n"
         "  --deterministic         id, created and system_fingerprint depend on the body alone\n"
         "  --models A,B            what GET /v1/models lists\n"
         "  --default \"x-mock-S=V\"  a switch for all requests (may be repeated)\n"
         "  --log                   one line on stderr for each request\n"
         "\n"
         "Endpoints (before the provider's any prefix will do):\n"
         "  POST .../chat/completions, .../completions, .../embeddings; GET .../models, /health\n"
         "  GET /mock/stats, /mock/requests?n=K, /mock/last; POST /mock/reset\n"
         "\n"
         "When a request has tools, a user message that says \"tool\" is answered by a tool call\n"
         "(by two, when it also says \"parallel\"). A tool message is answered by a text that\n"
         "quotes it, a response_format by JSON that satisfies simple schemas.\n"
         "\n"
         "Switches, as request header, query parameter or member of the body's metadata object;\n"
         "headers win over the query, that over the body, that over --default:\n");
    for (size_t i = 0; i < sizeof knobs / sizeof *knobs; i++) {
        char left[64];
        snprintf(left, sizeof left, "x-mock-%s %s", knobs[i].name, knobs[i].unit);
        printf("  %-38s %s\n", left, knobs[i].help);
    }
    puts("\nN of reset-at-byte and close-at-byte counts the answer's bytes from its first; bN\n"
         "counts from the first of its body. WHERE is head (or 1), body, mid, N or bN. Before a\n"
         "reset the client gets 5 ms to read what it was sent. KIND is one of:");
    for (size_t i = 1; i < sizeof malformed_names / sizeof *malformed_names; i++)
        printf("%s%s", i % 6 == 1 ? "\n  " : ", ", malformed_names[i]);
    puts("\n\nEvents are broken at the third of the stream. A client that ends its side while an\n"
         "answer is not all sent counts as gone (client_closed_mid_response).");
}

static void set_default(const char *text_given)
{
    const char *equals = strchr(text_given, '=');
    size_t skip = strncasecmp(text_given, switch_prefix.p, switch_prefix.n) ? 0 : switch_prefix.n;
    if (!equals ||
        !script_set(&g.defaults,
                    (struct span){ text_given + skip, (size_t)(equals - text_given) - skip },
                    (struct span){ equals + 1, strlen(equals + 1) }))
        die("--default %s: no such switch or value; see --help", text_given);
}

int main(int argc, char **argv)
{
    const char *listen_at = "127.0.0.1:8898", *cert = NULL, *key = NULL, *default_switch = NULL;
    g.models = "mock-small,mock-large,gpt-4o-mini,text-embedding-3-small";
    const struct { const char *name; const char **value; bool *is_on; } flags[] = {
        { "--listen", &listen_at, NULL },
        { "--tls-cert", &cert, NULL },
        { "--tls-key", &key, NULL },
        { "--models", &g.models, NULL },
        { "--default", &default_switch, NULL },
        { "--deterministic", NULL, &g.is_deterministic },
        { "--log", NULL, &g.is_logging },
    };
    for (int i = 1; i < argc; i++) {
        size_t k = 0, n = strcspn(argv[i], "=");
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            help();
            return 0;
        }
        while (k < sizeof flags / sizeof *flags &&
               (strlen(flags[k].name) != n || memcmp(flags[k].name, argv[i], n)))
            k++;
        if (k == sizeof flags / sizeof *flags)
            die("%s: unknown; see --help", argv[i]);
        if (flags[k].is_on) {
            *flags[k].is_on = true;
            continue;
        }
        if (!argv[i][n] && i + 1 == argc)
            die("%s: needs a value", argv[i]);
        *flags[k].value = argv[i][n] ? argv[i] + n + 1 : argv[++i];
        if (flags[k].value == &default_switch)
            set_default(default_switch);
    }
    if (!cert != !key)
        die("--tls-cert and --tls-key go together");
    if (cert)
        tls_setup(cert, key);
    g.seed = g.is_deterministic ? 1 : mix(clock_ns(CLOCK_REALTIME) ^ (uint64_t)getpid() << 40);
    g.random = g.seed;
    g.now_ns = clock_ns(CLOCK_MONOTONIC);
    system_setup();
    listen_on(listen_at);
    for (;;)
        turn();
}
