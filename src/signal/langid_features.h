/* signal/langid_features.h -- what the language detector sees of a text.
 *
 * The detector and the program that trains its table (tools/langid/langid_train.c) must cut
 * text into exactly the same features, so the cutting lives here, once: code point to letter,
 * words to hashed n-grams, hashes to places in the table. Private to those two.
 *
 * A letter is a script and a number inside the script, already in lower case. Everything that
 * is not a letter, combining marks included, ends a word: the statistics the table was made
 * from were counted that way. */
#ifndef SBX_LANGID_FEATURES_H
#define SBX_LANGID_FEATURES_H

#include <stddef.h>
#include <stdint.h>

/* Scripts shared by several languages come first; they have a group in the table. */
enum langid_script {
    LANGID_LATIN,
    LANGID_CYRILLIC,
    LANGID_ARABIC,
    LANGID_DEVANAGARI,
    LANGID_HAN,
    LANGID_GROUPS,
    LANGID_KANA = LANGID_GROUPS,
    LANGID_HANGUL,
    LANGID_GREEK,
    LANGID_ARMENIAN,
    LANGID_HEBREW,
    LANGID_BENGALI,
    LANGID_GURMUKHI,
    LANGID_GUJARATI,
    LANGID_TAMIL,
    LANGID_TELUGU,
    LANGID_THAI,
    LANGID_GEORGIAN,
    LANGID_SCRIPTS,
    LANGID_NO_LETTER = LANGID_SCRIPTS,
};

struct langid_letter {
    uint16_t script;                /* enum langid_script */
    uint16_t number;                /* within the script, below 1 << number_bits, never 0 */
};

/* How the words of a group become n-grams. */
struct langid_shape {
    uint8_t number_bits;            /* order_max * number_bits + 4 <= 64 */
    uint8_t order_max;
    uint8_t has_bounds;             /* word edges are part of n-grams; whole words count */
};

static const struct langid_shape langid_shapes[LANGID_GROUPS] = {
    [LANGID_LATIN]      = {12, 5, 1},
    [LANGID_CYRILLIC]   = {12, 5, 1},
    [LANGID_ARABIC]     = {12, 5, 1},
    [LANGID_DEVANAGARI] = {12, 5, 1},
    [LANGID_HAN]        = {16, 2, 0},       /* no spaces to rely on */
};

/* The languages of a group, two letters each, in the order of their weights. */
static const char *const langid_group_codes[LANGID_GROUPS] = {
    [LANGID_LATIN]      = "afazbscacscydadeeneoeseteufifrgahrhuidisitlalgltlvmimsnbnlnnplptroskslsn"
                          "sosqstsvswtltntrtsvixhyozu",
    [LANGID_CYRILLIC]   = "bebgkkmkmnrusruk",
    [LANGID_ARABIC]     = "arfaur",
    [LANGID_DEVANAGARI] = "himr",
    [LANGID_HAN]        = "jazh",
};

#define LANGID_WORD_MAX 24          /* letters; a longer word is read as several */
#define LANGID_WORD_FEATURES ((LANGID_WORD_MAX + 2) * 5 + 1)
#define LANGID_BOUND 1u             /* the number that stands for a word edge */
#define LANGID_WHOLE_WORD 15u       /* tags a whole word where n-grams carry their order */

/* ---- letters ---- */

/* Capital letters above ASCII. STEP 0: lower = code + ADD; otherwise capitals and small letters
 * take turns and STEP tells whether the capitals are the even (2) or the odd (1) codes. */
struct langid_capitals {
    uint16_t first, last;
    uint8_t step, add;
};

static const struct langid_capitals langid_capitals[] = {
    {0x00C0, 0x00DE, 0, 32}, {0x0100, 0x0137, 2, 1},  {0x0139, 0x0148, 1, 1},
    {0x014A, 0x0177, 2, 1},  {0x0179, 0x017E, 1, 1},  {0x01A0, 0x01A5, 2, 1},
    {0x01AF, 0x01B0, 1, 1},  {0x01CD, 0x01DC, 1, 1},  {0x01DE, 0x01EF, 2, 1},
    {0x01F8, 0x021F, 2, 1},  {0x0222, 0x0233, 2, 1},  {0x0400, 0x040F, 0, 80},
    {0x0410, 0x042F, 0, 32}, {0x0460, 0x0481, 2, 1},  {0x048A, 0x04BF, 2, 1},
    {0x04C1, 0x04CE, 1, 1},  {0x04D0, 0x052F, 2, 1},  {0x1E00, 0x1E95, 2, 1},
    {0x1EA0, 0x1EFF, 2, 1},
};

static inline uint32_t langid_lower(uint32_t code)
{
    if (code < 0x80)
        return code - 'A' < 26u ? code + 32 : code;
    if (code == 0x0130)                                 /* dotted I */
        return 'i';
    if (code == 0x0178)
        return 0x00FF;
    if (code == 0x018F)                                 /* schwa */
        return 0x0259;
    for (size_t i = 0; i < sizeof langid_capitals / sizeof *langid_capitals; i++) {
        const struct langid_capitals *c = &langid_capitals[i];
        if (code < c->first)
            break;
        if (code <= c->last)
            return code + (c->step == 0 || (code & 1) == (c->step & 1u) ? c->add : 0);
    }
    return code;
}

/* Ranges that are letters, ascending. The number of a letter is its lower-case code - BASE. */
struct langid_range {
    uint16_t first, last;
    uint16_t script;
    uint16_t base;
};

static const struct langid_range langid_ranges[] = {
    {0x0041, 0x005A, LANGID_LATIN, 0},           {0x0061, 0x007A, LANGID_LATIN, 0},
    {0x00C0, 0x00D6, LANGID_LATIN, 0},           {0x00D8, 0x00F6, LANGID_LATIN, 0},
    {0x00F8, 0x02AF, LANGID_LATIN, 0},           {0x0370, 0x0373, LANGID_GREEK, 0x300},
    {0x0376, 0x037D, LANGID_GREEK, 0x300},       {0x0386, 0x0386, LANGID_GREEK, 0x300},
    {0x0388, 0x03FF, LANGID_GREEK, 0x300},       {0x0400, 0x0481, LANGID_CYRILLIC, 0x300},
    {0x048A, 0x052F, LANGID_CYRILLIC, 0x300},    {0x0531, 0x0556, LANGID_ARMENIAN, 0x500},
    {0x0561, 0x0587, LANGID_ARMENIAN, 0x500},    {0x05D0, 0x05F2, LANGID_HEBREW, 0x500},
    {0x0620, 0x063F, LANGID_ARABIC, 0x500},      {0x0641, 0x064A, LANGID_ARABIC, 0x500},
    {0x066E, 0x066F, LANGID_ARABIC, 0x500},      {0x0671, 0x06D3, LANGID_ARABIC, 0x500},
    {0x06D5, 0x06D5, LANGID_ARABIC, 0x500},      {0x06EE, 0x06EF, LANGID_ARABIC, 0x500},
    {0x06FA, 0x06FF, LANGID_ARABIC, 0x500},      {0x0904, 0x0939, LANGID_DEVANAGARI, 0x800},
    {0x093D, 0x093D, LANGID_DEVANAGARI, 0x800},  {0x0950, 0x0950, LANGID_DEVANAGARI, 0x800},
    {0x0958, 0x0961, LANGID_DEVANAGARI, 0x800},  {0x0971, 0x097F, LANGID_DEVANAGARI, 0x800},
    {0x0980, 0x09FF, LANGID_BENGALI, 0x900},     {0x0A00, 0x0A7F, LANGID_GURMUKHI, 0x900},
    {0x0A80, 0x0AFF, LANGID_GUJARATI, 0x900},    {0x0B80, 0x0BFF, LANGID_TAMIL, 0xB00},
    {0x0C00, 0x0C7F, LANGID_TELUGU, 0xB00},      {0x0E01, 0x0E4E, LANGID_THAI, 0xD00},
    {0x10A0, 0x10FF, LANGID_GEORGIAN, 0x1000},   {0x1100, 0x11FF, LANGID_HANGUL, 0x1000},
    {0x1C90, 0x1CBF, LANGID_GEORGIAN, 0x1000},   {0x1E00, 0x1EFF, LANGID_LATIN, 0x1A00},
    {0x1F00, 0x1FFF, LANGID_GREEK, 0x1A00},      {0x3041, 0x3096, LANGID_KANA, 0x3000},
    {0x30A1, 0x30FA, LANGID_KANA, 0x3000},       {0x30FC, 0x30FE, LANGID_KANA, 0x3000},
    {0x3131, 0x318E, LANGID_HANGUL, 0x3000},     {0x3400, 0x4DBF, LANGID_HAN, 0x3000},
    {0x4E00, 0x9FFF, LANGID_HAN, 0x3000},        {0xAC00, 0xD7A3, LANGID_HANGUL, 0x3000},
    {0xF900, 0xFAFF, LANGID_HAN, 0x3000},        {0xFF66, 0xFF9D, LANGID_KANA, 0xF000},
};

static inline struct langid_letter langid_letter(uint32_t code)
{
    if (code < 0x80) {
        uint32_t lower = code | 32;
        if (lower - 'a' < 26u)
            return (struct langid_letter){LANGID_LATIN, (uint16_t)lower};
        return (struct langid_letter){LANGID_NO_LETTER, 0};
    }
    size_t low = 0, high = sizeof langid_ranges / sizeof *langid_ranges;
    while (low < high) {                                /* the first range that ends at or after */
        size_t middle = (low + high) / 2;
        if (langid_ranges[middle].last < code)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == sizeof langid_ranges / sizeof *langid_ranges || code < langid_ranges[low].first)
        return (struct langid_letter){LANGID_NO_LETTER, 0};
    const struct langid_range *r = &langid_ranges[low];
    uint32_t lower = r->script <= LANGID_CYRILLIC ? langid_lower(code) : code;
    uint32_t base = lower < 0x80 ? 0 : r->base;         /* dotted I leaves its range */
    return (struct langid_letter){r->script, (uint16_t)(lower - base)};
}

/* One code point at TEXT, which has LEN > 0 bytes. Bytes that are not UTF-8 come out one by one
 * as U+FFFD, which is no letter. Returns the bytes used. */
static inline size_t langid_decode(const unsigned char *text, size_t len, uint32_t *code)
{
    unsigned char lead = text[0];
    if (lead < 0x80) {
        *code = lead;
        return 1;
    }
    size_t more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
    *code = 0xFFFD;
    if (lead < 0xC2 || lead > 0xF4 || more >= len)
        return 1;
    uint32_t value = lead & (0x3Fu >> more);
    for (size_t i = 1; i <= more; i++) {
        if ((text[i] & 0xC0) != 0x80)
            return 1;
        value = value << 6 | (text[i] & 0x3Fu);
    }
    *code = value;
    return more + 1;
}

/* ---- features ---- */

static inline uint64_t langid_hash(uint64_t gram, unsigned order)
{
    uint64_t h = (gram | (uint64_t)order << 60) * 0x9E3779B97F4A7C15u;
    h ^= h >> 32;
    h *= 0xD6E8FEB86659FD93u;
    return h ^ h >> 32;
}

/* The features of one word of N letters, 1 <= N <= LANGID_WORD_MAX, as hashes into OUT, which
 * has room for LANGID_WORD_FEATURES. Returns how many. */
static inline size_t langid_word_features(struct langid_shape shape, const uint16_t *numbers,
                                          size_t n, uint64_t *out)
{
    uint64_t masks[8];
    for (unsigned order = 1; order <= shape.order_max; order++)
        masks[order] = ((uint64_t)1 << order * shape.number_bits) - 1;

    size_t count = 0, length = 0;
    uint64_t recent = 0, whole = 0;
    if (shape.has_bounds) {
        recent = LANGID_BOUND;
        length = 1;
    }
    for (size_t i = 0; i < n; i++) {
        recent = recent << shape.number_bits | numbers[i];
        whole = (whole + numbers[i]) * 0x9FB21C651E98DF25u;
        whole ^= whole >> 29;
        length++;
        unsigned top = length < shape.order_max ? (unsigned)length : shape.order_max;
        for (unsigned order = 1; order <= top; order++)
            out[count++] = langid_hash(recent & masks[order], order);
    }
    if (!shape.has_bounds)
        return count;
    recent = recent << shape.number_bits | LANGID_BOUND;
    length++;
    unsigned top = length < shape.order_max ? (unsigned)length : shape.order_max;
    for (unsigned order = 2; order <= top; order++)
        out[count++] = langid_hash(recent & masks[order], order);
    if (length > shape.order_max)                       /* shorter ones are an n-gram already */
        out[count++] = langid_hash(whole >> 4, LANGID_WHOLE_WORD);
    return count;
}

/* ---- the table ----
 *
 * A set-associative hash table: a bucket has 8 entries of 16 bits (0: free), and each entry has a
 * row of 4-bit weights, one per language of the group, packed two a byte: language i in the low
 * half of byte i for i < half, in the high half of byte i - half otherwise. A hash picks the
 * bucket with its upper half and the key with its low bits; the top bits of an entry tell the
 * step of its row. */

#define LANGID_WAYS 8
#define LANGID_KEY_BITS 14          /* one miss in 2000 finds a stranger's row: harmless */
#define LANGID_SCALES 4

static inline uint32_t langid_bucket(uint64_t hash, uint32_t buckets)
{
    return (uint32_t)((hash >> 32) * buckets >> 32);
}

static inline uint16_t langid_key(uint64_t hash)
{
    uint16_t key = hash & ((1u << LANGID_KEY_BITS) - 1);
    return key ? key : 1;
}

#endif
