/* signal/pii_features.h -- what the tagger of names sees of a text.
 *
 * The tagger (pii_names.c) and the program that trains it (tools/pii/train_names.c) must cut a text into exactly the same
 * tokens and features, so the cutting lives here, once. Private to those two.
 *
 * A token is a word, with apostrophes and hyphens inside, a URL or @handle, or one other character. Its features are the words
 * around it, its shape ("Xx", "XX", "d"), its first and last letters, and which lists of names it stands in, alone and in
 * pairs, each hashed to a row of weights. */
#ifndef SBX_PII_FEATURES_H
#define SBX_PII_FEATURES_H

#include "base/utf8.h"

enum { NAMES_ROWS_LOG2 = 18, NAMES_LISTS_LOG2 = 18, NAMES_LABELS = 7, NAMES_FEATURES_MAX = 48 };

/* O, then B and I of each kind. */
enum name_label { NAME_O, NAME_B_PERSON, NAME_I_PERSON, NAME_B_ORGANIZATION, NAME_I_ORGANIZATION, NAME_B_PLACE, NAME_I_PLACE };

/* Lists, as bits of a token: given names, family names, whole places, words of places, countries and states, common words,
 * demonyms. */
enum { LIST_GIVEN = 1, LIST_FAMILY = 2, LIST_PLACE = 4, LIST_PLACE_PART = 8, LIST_COUNTRY = 16, LIST_COMMON = 32 };

/* The file pii_names.bin: this head, then int8 rows[1 << NAMES_ROWS_LOG2][8] and uint32 lists[1 << NAMES_LISTS_LOG2]: a hash
 * table of open addressing by the hash's low bits, a slot being the hash's upper 16 bits, a class of similar words (0: none)
 * and the lists, 8 bits each, or 0 when free. Little-endian. */
struct names_head {
    char magic[4];                          /* "PIIN" */
    uint32_t version, labels, rows_log2, lists_log2;
    float step;                             /* nats a unit of weight */
    float bias[8];
    float transition[8][8];                 /* from, to */
    uint8_t reserved[200];
};
_Static_assert(sizeof(struct names_head) == 512, "rows begin on a cache line");

struct names_token {
    uint32_t start, end;
    uint32_t word;                          /* hash of the folded word */
    uint32_t prefix[3], suffix[4];          /* hashes of its first 2..4 and last 1..4 letters */
    uint32_t shape;
    uint8_t lists, class;
    uint8_t is_word, is_capital, is_break;  /* is_break: begins a sentence or a line */
};

static inline uint32_t names_mix(uint32_t a, uint32_t b)
{
    uint64_t h = ((uint64_t)a << 32 | b) * 0x9E3779B97F4A7C15u;
    h ^= h >> 29;
    return (uint32_t)(h * 0xBF58476D1CE4E5B9u >> 32);
}

static inline uint32_t names_tag(uint32_t word)
{
    return word >> 16 ? word >> 16 : 1;
}

/* The word's class and lists, 0 if it is in none. */
static inline uint32_t names_lookup(const uint32_t *lists, uint32_t word)
{
    uint32_t mask = (1u << NAMES_LISTS_LOG2) - 1, tag = names_tag(word);
    for (uint32_t at = word & mask;; at = (at + 1) & mask) {
        if (lists[at] == 0 || lists[at] >> 16 == tag)
            return lists[at] & 0xFFFF;
    }
}

/* The next token at or after *at; *at moves behind it. False: the text has no more. */
static inline bool names_token(str text, size_t *at, const uint32_t *lists, struct names_token *t)
{
    enum { WORD_MAX = 48, LETTERS = 4 };    /* bytes of a word; a longer one is read as several */
    bool is_break = *at == 0;
    uint32_t code = 0;
    size_t next = *at;
    for (;; *at = next) {
        if (*at >= text.len)
            return false;
        next = *at;
        code = utf8_next(text, &next);
        if (code == '\n')
            is_break = true;
        else if (code > ' ' && code != 0xA0 && code != UTF8_BAD)
            break;
    }
    size_t end = *at, before = *at;
    while (before > 0 && text.ptr[before - 1] == ' ')
        before--;
    is_break |= before > 0 && strchr(".!?:\"", text.ptr[before - 1]) != NULL;
    *t = (struct names_token){ .start = (uint32_t)*at, .is_break = is_break };

    uint32_t hash = 0x811C9DC5, last[LETTERS] = { 0 }, n = 0, run = 0, runs = 0, shape = 0, kind = 0, uppers = 0;
    while (end < text.len && end - *at < WORD_MAX) {
        next = end;
        code = utf8_next(text, &next);
        bool is_inner = (code == '\'' || code == '-' || code == 0x2019) && n > 0 && next < text.len && code != UTF8_BAD;
        if (is_inner) {
            size_t after = next;
            uint32_t letter = utf8_next(text, &after);
            /* "Ann's": the s is not hers */
            bool is_last = after >= text.len || !utf8_is_alnum(utf8_next(text, &after));
            bool is_possessive = code != '-' && (letter | 32) == 's' && is_last;
            is_inner = utf8_is_letter(letter) && !is_possessive;
        }
        if (!is_inner && !(code < 0x80 ? utf8_ascii_alnum((unsigned char)code) : utf8_is_alnum(code)))
            break;
        uint32_t folded = code - 'A' < 26u ? code | 32 : code < 0x80 ? code : utf8_fold(code);
        uint32_t k = is_inner ? 4 : code - '0' < 10u ? 3 : folded != code ? 1 : 2;
        uppers += k == 1;
        if (k != kind) {
            shape = runs++ < 6 ? shape << 3 | k : shape;
            kind = k;
            run = 0;
        }
        run++;
        hash = names_mix(hash, folded);
        memmove(last + 1, last, sizeof last - sizeof *last);
        last[0] = folded;
        n++;
        if (n >= 2 && n <= 4)
            t->prefix[n - 2] = hash;
        end = next;
    }
    bool is_url = n > 0 && text.len - end >= 3 && memcmp(text.ptr + end, "://", 3) == 0;
    if (n == 0 || is_url) {                     /* a sign, or what is no word of the language */
        end = *at;
        code = utf8_next(text, &end);
        bool is_handle = code == '@';
        for (; end < text.len; end++) {
            unsigned char c = (unsigned char)text.ptr[end];
            if (is_url ? c <= ' ' : !is_handle || !(utf8_ascii_alnum(c) || c == '_'))
                break;
        }
        code = is_url ? 'u' : code;
        t->word = names_mix(is_url ? 2 : 1, code);
        t->shape = 0x1000 + (code < 0x80 ? code : 0x80);
        t->end = (uint32_t)end;
        *at = end;
        return true;
    }
    uint32_t suffix = 7;
    for (uint32_t i = 0; i < LETTERS && i < n; i++)
        t->suffix[i] = suffix = names_mix(suffix, last[i]);
    t->is_word = 1;
    t->is_capital = (uint8_t)(uppers > 0);
    t->word = hash;
    t->shape = shape << 3 | (n < 4 ? n : n < 8 ? 4 : 5);
    uint32_t known = names_lookup(lists, hash);
    t->lists = (uint8_t)known;
    t->class = (uint8_t)(known >> 8);
    t->end = (uint32_t)end;
    *at = end;
    return true;
}

/* Rows of the features of token i of n; before and after the window are empty tokens. Returns how many. */
static inline uint32_t names_features(const struct names_token *tokens, uint32_t n, uint32_t i, uint32_t rows[NAMES_FEATURES_MAX])
{
    static const struct names_token none = { .word = 0xFFFFFFFF, .shape = 0xFFFF };
    const struct names_token *t = &tokens[i];
    const struct names_token *b = i >= 1 ? t - 1 : &none, *bb = i >= 2 ? t - 2 : &none;
    const struct names_token *a = i + 1 < n ? t + 1 : &none, *aa = i + 2 < n ? t + 2 : &none;
    uint32_t count = 0, kind = 0;
#define FEATURE(value) rows[count++] = names_mix(++kind, (value)) >> (32 - NAMES_ROWS_LOG2)
    FEATURE(t->word);
    FEATURE(b->word);
    FEATURE(a->word);
    FEATURE(bb->word);
    FEATURE(aa->word);
    FEATURE(names_mix(b->word, t->word));
    FEATURE(names_mix(t->word, a->word));
    FEATURE(names_mix(bb->word, b->word));
    FEATURE(names_mix(a->word, aa->word));
    FEATURE(t->shape);
    FEATURE(b->shape << 16 ^ t->shape);
    FEATURE(t->shape << 16 ^ a->shape);
    FEATURE(names_mix(b->shape << 16 ^ t->shape, a->shape));
    FEATURE(names_mix(b->word, t->shape));
    FEATURE(names_mix(a->word, t->shape));
    FEATURE(names_mix(b->word, (uint32_t)t->lists << 8 | t->is_capital));
    FEATURE(names_mix(a->word, (uint32_t)t->lists << 8 | t->is_capital));
    FEATURE((uint32_t)t->lists << 8 | (uint32_t)t->is_capital << 1 | t->is_break);
    FEATURE((uint32_t)b->lists << 20 | (uint32_t)b->is_capital << 16 | (uint32_t)t->lists << 8 | t->is_capital);
    FEATURE((uint32_t)a->lists << 20 | (uint32_t)a->is_capital << 16 | (uint32_t)t->lists << 8 | t->is_capital);
    FEATURE(names_mix((uint32_t)b->lists << 16 | (uint32_t)t->lists << 8 | a->lists,
                      (uint32_t)b->is_capital << 2 | (uint32_t)t->is_capital << 1 | a->is_capital));
    FEATURE(names_mix(t->shape, (uint32_t)t->lists << 1 | t->is_break));
    FEATURE(names_mix((uint32_t)bb->is_capital << 4 | (uint32_t)b->is_capital << 3 | (uint32_t)t->is_capital << 2 |
                      (uint32_t)a->is_capital << 1 | aa->is_capital, t->is_break));
    FEATURE((uint32_t)t->class << 1 | t->is_capital);
    FEATURE((uint32_t)b->class << 1 | t->is_capital);
    FEATURE((uint32_t)a->class << 1 | t->is_capital);
    FEATURE((uint32_t)b->class << 16 | (uint32_t)t->class << 8 | t->is_capital);
    FEATURE((uint32_t)a->class << 16 | (uint32_t)t->class << 8 | t->is_capital);
    FEATURE(names_mix(t->shape, (uint32_t)b->class << 8 | a->class));
    if (t->is_word) {
        for (uint32_t k = 0; k < 3; k++)
            FEATURE(t->prefix[k]);
        for (uint32_t k = 0; k < 4; k++)
            FEATURE(t->suffix[k] ^ t->is_capital);
        FEATURE(names_mix(t->suffix[2], b->suffix[2]));
    }
#undef FEATURE
    return count;
}

#endif
