/* select/feature.c -- one pass over the bytes: words, pairs of words, and how words begin and end, are hashed and counted; cues are tallied.
 *
 * Words are runs of ASCII letters and digits, lower-cased; every other character that is neither ASCII nor white space is a word
 * of its own, so that Chinese needs no dictionary. The hash is FNV-1a, 64 bits: its state after a word is where the hash of the
 * pair "word next" goes on, so a pair costs no copy. Bit 63 is the sign, the lowest 16 bits the bucket.
 *
 * The first four letters of a longer word stand for what is common to its forms, the last three for what form it is; all n-grams of letters
 * would say little more and cost five times as much (docs/internals/selection.md). */
#include "select/feature.h"

#include <math.h>
#include <stdlib.h>

#include "base/utf8.h"

#define FNV_START 14695981039346656037ull
#define FNV_PRIME 1099511628211ull

struct counting {
    struct arena *a;
    uint64_t *hash;                     /* [room] by order of first appearance */
    uint16_t *count;
    uint16_t *slot;                     /* [2 * room] index + 1 */
    uint32_t n, room;                   /* room: a power of two */
};

/* By the lowest bits, which move with every byte. The last one hardly moves those above 17: words that differ in their ends would
 * stand in one row. */
static uint32_t slot_of(const struct counting *c, uint64_t hash)
{
    return (uint32_t)hash & (2 * c->room - 1);
}

static void counting_grow(struct counting *c, uint32_t room)
{
    const struct counting old = *c;
    const uint32_t slots = 2 * room;
    c->room = room;
    c->hash = ARENA_ARRAY(c->a, uint64_t, room);
    c->count = ARENA_ARRAY(c->a, uint16_t, room);
    c->slot = ARENA_ARRAY(c->a, uint16_t, slots);
    for (uint32_t i = 0; i < old.n; i++) {
        uint32_t at = slot_of(c, old.hash[i]);
        while (c->slot[at])
            at = (at + 1) & (slots - 1);
        c->slot[at] = (uint16_t)(i + 1);
        c->hash[i] = old.hash[i];
        c->count[i] = old.count[i];
    }
}

static void count_gram(struct counting *c, uint64_t hash)
{
    uint32_t at = slot_of(c, hash);
    for (; c->slot[at]; at = (at + 1) & (2 * c->room - 1)) {
        if (c->hash[c->slot[at] - 1] == hash) {
            c->count[c->slot[at] - 1] += c->count[c->slot[at] - 1] < UINT16_MAX;
            return;
        }
    }
    if (c->n == FEATURE_GRAMS_MAX)
        return;
    c->hash[c->n] = hash;
    c->count[c->n] = 1;
    c->slot[at] = (uint16_t)++c->n;
    if (c->n == c->room && c->room < FEATURE_GRAMS_MAX)
        counting_grow(c, 2 * c->room);
}

/* Kinds of bytes as bits. That of capitals is the very bit that makes them small. */
enum { WORD = 1, DIGIT = 2, HIGH = 4, CODE = 8, MATHS = 16, CAPITAL = 0x20 };

static const uint8_t byte_kind[256] = {
    ['a' ... 'z'] = WORD, ['A' ... 'Z'] = WORD | CAPITAL, ['0' ... '9'] = WORD | DIGIT, [0x80 ... 0xff] = HIGH,
    ['{'] = CODE, ['}'] = CODE, ['('] = CODE, [')'] = CODE, ['['] = CODE, [']'] = CODE, [';'] = CODE, ['<'] = CODE, ['>'] = CODE,
        ['_'] = CODE,
    ['='] = CODE | MATHS, ['\\'] = MATHS, ['$'] = MATHS, ['^'] = MATHS, ['+'] = MATHS, ['*'] = MATHS, ['/'] = MATHS,
};

struct tally { uint32_t bytes, lines, digits, letters, foreign, code, maths; bool has_choices; };

struct reading {
    struct counting grams, parts;
    struct tally tally;
    uint64_t before;                    /* hash of the previous word and a space; 0: none yet */
    uint32_t words;
};

enum { BEGINNING = 4, ENDING = 3 };    /* bytes of a word */

/* How a word of `bytes` begins and ends; last: its latest bytes. */
static void parts_end(struct reading *r, size_t bytes, uint64_t beginning, uint32_t last)
{
    if (bytes > BEGINNING)
        count_gram(&r->parts, (beginning ^ '*') * FNV_PRIME);
    if (bytes > ENDING) {
        uint64_t end = (FNV_START ^ '*') * FNV_PRIME;
        for (uint32_t shift = 8 * ENDING; shift; shift -= 8)
            end = (end ^ (last >> (shift - 8) & 0xff)) * FNV_PRIME;
        count_gram(&r->parts, end);
    }
}

static void word_end(struct reading *r, uint64_t word, uint64_t pair)
{
    if (r->before)
        count_gram(&r->grams, pair);
    count_gram(&r->grams, word);
    r->before = (word ^ ' ') * FNV_PRIME;
    r->words++;
}

static bool is_white(uint32_t code)     /* beyond ASCII */
{
    return code == 0x85 || code == 0xa0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 || code ==
        0x2029 ||
           code == 0x202f || code == 0x205f || code == 0x3000;
}

/* "A.", "(b)", "C:" at a line's start. */
static bool is_choice(const unsigned char *p, const unsigned char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '('))
        p++;
    return p + 1 < end && (*p | 0x20) >= 'a' && (*p | 0x20) <= 'e' && (p[1] == '.' || p[1] == ')' || p[1] == ':');
}

static void piece_read(struct reading *r, str text)
{
    const unsigned char *p = (const unsigned char *)text.ptr, *end = p + text.len;
    struct tally *t = &r->tally;
    t->bytes += (uint32_t)text.len;
    t->has_choices |= is_choice(p, end);
    while (p < end) {
        uint8_t kind = byte_kind[*p];
        if (kind & WORD) {
            const unsigned char *start = p;
            uint64_t word = FNV_START, pair = r->before, beginning = 0;
            uint32_t digits = 0, last = 0;
            do {
                uint64_t b = *p | (kind & CAPITAL);
                beginning = p - start == BEGINNING ? word : beginning;
                last = last << 8 | (uint32_t)b;
                word = (word ^ b) * FNV_PRIME;
                pair = (pair ^ b) * FNV_PRIME;
                digits += kind & DIGIT;
                kind = ++p < end ? byte_kind[*p] : 0;
            } while (kind & WORD);
            digits /= DIGIT;
            t->digits += digits;
            t->letters += (uint32_t)(p - start) - digits;
            parts_end(r, (size_t)(p - start), beginning, last);
            word_end(r, word, pair);
        } else if (kind & HIGH) {
            size_t bytes = 0;
            uint32_t code = utf8_decode((str){ (const char *)p, (size_t)(end - p) }, &bytes);
            t->foreign += (uint32_t)bytes;
            p += bytes;
            if (!is_white(code)) {
                char lower[UTF8_MAX];
                size_t n = utf8_put(lower, utf8_lower(code));
                uint64_t word = FNV_START, pair = r->before;
                for (size_t i = 0; i < n; i++) {
                    word = (word ^ (unsigned char)lower[i]) * FNV_PRIME;
                    pair = (pair ^ (unsigned char)lower[i]) * FNV_PRIME;
                }
                word_end(r, word, pair);
            }
        } else {
            if (*p == '\n') {
                t->lines++;
                t->has_choices |= is_choice(p + 1, end);
                t->code += p + 2 < end && (p[1] == '\t' || (p[1] == ' ' && p[2] == ' '));
            }
            t->code += (kind & CODE) != 0;
            t->maths += (kind & MATHS) != 0;
            p++;
        }
    }
}

static double log_of(uint32_t count)    /* 1 + ln count; most counts are small */
{
    static const double small[] = { 0, 1, 1.6931471805599454, 2.0986122886681098, 2.386294361119891, 2.6094379124341005,
                                    2.791759469228055, 2.9459101490553135, 3.0794415416798357 };
    return count < COUNT_OF(small) ? small[count] : 1 + log(count);
}

static void grams_write(const struct counting *c, uint32_t n, struct gram *out)
{
    for (uint32_t i = 0; i < n; i++) {
        float value = (float)log_of(c->count[i]);
        out[i] = (struct gram){ (uint32_t)c->hash[i] & (FEATURE_BUCKETS - 1), c->hash[i] >> 63 ? -value : value };
    }
}

void features_read(struct features *f, struct arena *a, str text)
{
    *f = (struct features){ .bytes = (uint32_t)(text.len < UINT32_MAX ? text.len : UINT32_MAX), .kind = S("") };
    str head = text, tail = S("");
    if (text.len > FEATURE_TEXT_MAX) {
        head = str_upto(text, FEATURE_TEXT_MAX / 2);
        tail = str_from(text, text.len - FEATURE_TEXT_MAX / 2);
    }
    struct reading r = { .grams = { .a = a }, .parts = { .a = a } };
    uint32_t room = 32;
    while (room < FEATURE_GRAMS_MAX && room < (head.len + tail.len) * 3 / 8)    /* a word of five letters and a space: two in six bytes */
        room *= 2;
    counting_grow(&r.grams, room);
    counting_grow(&r.parts, room / 2);
    piece_read(&r, head);
    piece_read(&r, tail);

    f->n_words = r.grams.n;
    f->n = r.grams.n + r.parts.n < FEATURE_GRAMS_MAX ? r.grams.n + r.parts.n : FEATURE_GRAMS_MAX;
    struct gram *grams = ARENA_ARRAY(a, struct gram, f->n);
    grams_write(&r.grams, f->n_words, grams);
    grams_write(&r.parts, f->n - f->n_words, grams + f->n_words);
    f->grams = grams;
    f->words = r.words;

    const struct tally *t = &r.tally;
    str end = str_trim(tail.len ? tail : head);
    float share = t->bytes ? 1.0f / (float)t->bytes : 0;
    f->cues[CUE_LENGTH] = (float)log1p((double)text.len) / 10;
    f->cues[CUE_LINES] = (float)log1p(t->lines) / 5;
    f->cues[CUE_DIGIT] = share * (float)t->digits;
    f->cues[CUE_WORD] = r.words ? (float)(t->letters + t->digits) / (float)r.words / 10 : 0;
    f->cues[CUE_FOREIGN] = share * (float)t->foreign;
    f->cues[CUE_CODE] = share * (float)t->code;
    f->cues[CUE_MATHS] = share * (float)t->maths;
    f->cues[CUE_QUESTION] = end.len && end.ptr[end.len - 1] == '?';
    f->cues[CUE_CHOICES] = t->has_choices;
}

struct features *features_keep(const struct features *f)
{
    size_t grams = f->n * sizeof *f->grams, vector = f->dim * sizeof *f->vector;
    struct features *kept = malloc(sizeof *kept + grams + vector + f->kind.len);
    if (!kept)
        return NULL;
    *kept = *f;
    char *at = (char *)(kept + 1);
    if (grams)
        kept->grams = memcpy(at, f->grams, grams);
    if (vector)
        kept->vector = memcpy(at + grams, f->vector, vector);
    kept->kind = (str){ at + grams + vector, f->kind.len };
    if (f->kind.len)
        memcpy(at + grams + vector, f->kind.ptr, f->kind.len);
    return kept;
}
