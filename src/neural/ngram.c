/* neural/ngram.c -- words and pieces of words as hashed counts (Weinberger et al., "Feature hashing for large scale multitask learning",
 * ICML 2009, without the sign: weights are learned for each bucket).
 *
 * Text becomes code points (compatibility decomposition, full case folding, no accents, nothing invisible), code points become words,
 * words are made plain: digits alone are "0"; with is_normalised, single letters with one and the same separator between them are a
 * word again, symbols inside words are letters, look-alikes and digits in words of Latin letters are the letters they stand for. Then
 * every character n-gram of " word " and every word n-gram is hashed, and counted in a table of the buckets that the next text finds
 * empty again. */
#include "neural/ngram.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <utf8proc.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
    CODES_MAX = 2 * NGRAM_TEXT_MAX,     /* after decomposition; what is beyond is not read */
    WORDS_MAX = NGRAM_TEXT_MAX / 2,
    WORD_CODES_MAX = 24,                /* of a word; a longer one is cut */
    SPACED_MIN = 3,                     /* letters with separators between: at least so many make a word */
    GRAM_MAX = 16,
};

enum { CHARACTER_SEED = 0, WORD_SEED = 0x100 };     /* plus the length of the n-gram: so that kinds do not meet */

struct word { uint32_t from, to; };     /* in `plain` */

struct work {                           /* one a thread; 2 MB, made on first use */
    int32_t codes[CODES_MAX + 1]; uint32_t n_codes;
    int32_t plain[CODES_MAX + WORDS_MAX]; uint32_t n_plain;
    struct word words[WORDS_MAX]; uint32_t n_words;
    uint32_t *count; uint32_t buckets;  /* all 0 between texts */
};

/* ---- code points ---- */

/* Letters of other scripts and small capitals that look like Latin ones. */
static const struct { int32_t from; char to; } look_alikes[] = {
    { 0x0430, 'a' }, { 0x0435, 'e' }, { 0x043E, 'o' }, { 0x0440, 'p' }, { 0x0441, 'c' }, { 0x0443, 'y' }, { 0x0445, 'x' },
    { 0x0456, 'i' }, { 0x0458, 'j' }, { 0x0455, 's' }, { 0x0501, 'd' }, { 0x051B, 'q' }, { 0x051D, 'w' }, { 0x0432, 'b' },
    { 0x043A, 'k' }, { 0x043C, 'm' }, { 0x043D, 'h' }, { 0x0442, 't' }, { 0x0475, 'v' }, { 0x04BB, 'h' }, { 0x04CF, 'l' },
    { 0x0433, 'r' }, { 0x0437, 'e' }, { 0x0438, 'u' }, { 0x043F, 'n' }, { 0x03B1, 'a' }, { 0x03B5, 'e' }, { 0x03B9, 'i' },
    { 0x03BA, 'k' }, { 0x03BD, 'v' }, { 0x03BF, 'o' }, { 0x03C1, 'p' }, { 0x03C4, 't' }, { 0x03C5, 'u' }, { 0x03C7, 'x' },
    { 0x03B7, 'n' }, { 0x03B2, 'b' }, { 0x03C3, 'o' }, { 0x03C9, 'w' }, { 0x03B3, 'y' }, { 0x0131, 'i' }, { 0x0251, 'a' },
    { 0x0261, 'g' }, { 0x0269, 'i' }, { 0x028F, 'y' }, { 0x1D04, 'c' }, { 0x1D00, 'a' }, { 0x1D07, 'e' }, { 0x026A, 'i' },
    { 0x1D0F, 'o' }, { 0x0274, 'n' }, { 0x0280, 'r' }, { 0xA731, 's' }, { 0x1D1B, 't' }, { 0x1D1C, 'u' }, { 0x029F, 'l' },
    { 0x1D05, 'd' }, { 0x0262, 'g' }, { 0x029C, 'h' }, { 0x1D0A, 'j' }, { 0x1D0B, 'k' }, { 0x1D0D, 'm' }, { 0x1D18, 'p' },
    { 0x1D20, 'v' }, { 0x1D21, 'w' }, { 0x1D22, 'z' }, { 0x0299, 'b' }, { 0xA730, 'f' }, { 0x0180, 'b' }, { 0x0111, 'd' },
    { 0x0142, 'l' }, { 0x00F8, 'o' }, { 0x0127, 'h' }, { 0x0167, 't' }, { 0x0585, 'o' }, { 0x057D, 'u' }, { 0x0578, 'n' },
    { 0x0570, 'h' }, { 0x0566, 'q' },
};

static int32_t look_alike(int32_t c)
{
    for (size_t i = 0; i < COUNT_OF(look_alikes); i++)
        if (look_alikes[i].from == c)
            return look_alikes[i].to;
    return c;
}

static int32_t leet(int32_t c)          /* what a digit or symbol stands for inside a word */
{
    static const char from[] = "01345789462@$|!+(", to[] = "oieastbgagzaslitc";
    const char *at = c > 0 && c < 128 ? strchr(from, c) : NULL;
    return at ? to[at - from] : c == 0x20AC ? 'e' : c;
}

static bool is_ascii_letter(int32_t c)
{
    return (uint32_t)c - 'a' < 26u;
}

static bool is_letter(int32_t c)
{
    if (c < 128)
        return is_ascii_letter(c);
    utf8proc_category_t k = utf8proc_category(c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

static bool is_word(int32_t c)          /* letters, marks, numbers */
{
    if (c < 128)
        return is_ascii_letter(c) || (uint32_t)c - '0' < 10u;
    utf8proc_category_t k = utf8proc_category(c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_NO;
}

static bool is_money_letter(int32_t c)  /* begins words of leet writers, too */
{
    return c == '@' || c == '$' || c == 0x20AC;
}

static bool is_symbol_letter(int32_t c)
{
    return is_money_letter(c) || c == '|' || c == '!' || c == '+';
}

static void codes_read(struct work *w, str text, bool is_normalised)
{
    enum { TAG_FIRST = 0xE0020, TAG_LAST = 0xE007E, TAG_BASE = 0xE0000, ACCENT_FIRST = 0x300, ACCENT_LAST = 0x36F };
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)text.ptr;
    size_t n = text.len < NGRAM_TEXT_MAX ? text.len : NGRAM_TEXT_MAX;
    uint32_t m = 0;
    for (size_t at = 0; at < n && m < CODES_MAX;) {
        if (bytes[at] < 128) {
            int32_t c = bytes[at++];
            w->codes[m++] = (uint32_t)c - 'A' < 26u ? c + 32 : c;
            continue;
        }
        int32_t c, parts[64];
        int boundary = 0;
        utf8proc_ssize_t took = utf8proc_iterate(bytes + at, (utf8proc_ssize_t)(n - at), &c);
        if (took <= 0) {                        /* a broken byte is nothing */
            at++;
            continue;
        }
        at += (size_t)took;
        if (is_normalised && c >= TAG_FIRST && c <= TAG_LAST)   /* invisible twins of ASCII */
            c -= TAG_BASE;
        utf8proc_ssize_t got = utf8proc_decompose_char(c, parts, COUNT_OF(parts), UTF8PROC_DECOMPOSE | UTF8PROC_CASEFOLD |
                                                       UTF8PROC_IGNORE | UTF8PROC_COMPAT, &boundary);
        for (utf8proc_ssize_t i = 0; i < got && i < (utf8proc_ssize_t)COUNT_OF(parts) && m < CODES_MAX; i++)
            if (parts[i] < ACCENT_FIRST || parts[i] > ACCENT_LAST)
                w->codes[m++] = parts[i];
    }
    w->codes[m] = 0;
    w->n_codes = m;
}

static int32_t code_at(const struct work *w, uint32_t i)        /* 0 beyond both ends; i may have wrapped below 0 */
{
    return i < w->n_codes ? w->codes[i] : 0;
}

/* ---- words ---- */

static void put(struct work *w, int32_t c)
{
    if (w->n_plain < COUNT_OF(w->plain))
        w->plain[w->n_plain++] = c;
}

/* "i g n o r e", "i.g.n.o.r.e": the place behind it, or `at` when there is no such thing. */
static uint32_t spaced_word(struct work *w, uint32_t at)
{
    int32_t between = code_at(w, at + 1);
    uint32_t last = at, n = 0, from = w->n_plain;
    bool has_letter = false;
    if (is_word(code_at(w, at - 1)) || !between || is_word(between) || between == '\'' || between == '@' || between == '$')
        return at;
    while (is_word(code_at(w, last))) {
        n++;
        if (code_at(w, last + 1) != between || !is_word(code_at(w, last + 2)) || is_word(code_at(w, last + 3)))
            break;
        last += 2;
    }
    for (uint32_t i = at; i <= last && n >= SPACED_MIN; i += 2) {
        has_letter |= is_letter(w->codes[i]);
        put(w, w->codes[i]);
    }
    if (has_letter)
        return last + 1;
    w->n_plain = from;
    return at;
}

static bool is_apostrophe(const struct work *w, uint32_t at)    /* inside a word: left out */
{
    int32_t c = w->codes[at];
    return (c == '\'' || c == 0x2019 || c == 0x2BC) && is_letter(code_at(w, at - 1)) && is_letter(code_at(w, at + 1));
}

static bool is_symbol_in_word(const struct work *w, uint32_t from, uint32_t at)
{
    int32_t c = w->codes[at], right = code_at(w, at + 1);
    return is_symbol_letter(c) && ((at > from && is_word(code_at(w, at - 1)) && is_word(right)) || (is_money_letter(c) && is_letter(right)));
}

static uint32_t usual_word(struct work *w, uint32_t at, bool is_normalised, bool *has_symbol)
{
    uint32_t from = at;
    for (; at < w->n_codes; at++) {
        if (at > from && is_apostrophe(w, at))
            continue;
        if (!is_word(w->codes[at])) {
            if (!is_normalised || !is_symbol_in_word(w, from, at))
                break;
            *has_symbol = true;
        }
        put(w, w->codes[at]);
    }
    return at;
}

static void word_make_plain(struct work *w, uint32_t from, bool is_normalised, bool has_symbol)
{
    bool has_letter = false, has_latin = false, has_digit = false;
    for (uint32_t i = from; i < w->n_plain; i++) {
        has_letter |= is_letter(w->plain[i]);
        has_latin |= is_ascii_letter(w->plain[i]);
        has_digit |= (uint32_t)w->plain[i] - '0' < 10u;
    }
    if (!has_letter) {
        w->n_plain = from;
        put(w, '0');
        return;
    }
    for (uint32_t i = from; i < w->n_plain && is_normalised && has_latin; i++) {
        w->plain[i] = look_alike(w->plain[i]);
        if (has_digit || has_symbol)
            w->plain[i] = leet(w->plain[i]);
    }
}

static void words_find(struct work *w, bool is_normalised)
{
    w->n_words = w->n_plain = 0;
    for (uint32_t at = 0; at < w->n_codes && w->n_words < WORDS_MAX;) {
        int32_t c = w->codes[at];
        if (!is_word(c) && !(is_normalised && is_money_letter(c) && is_letter(code_at(w, at + 1)))) {
            at++;
            continue;
        }
        uint32_t from = w->n_plain, next = is_normalised ? spaced_word(w, at) : at;
        bool has_symbol = false;
        if (next == at)
            next = usual_word(w, at, is_normalised, &has_symbol);
        word_make_plain(w, from, is_normalised, has_symbol);
        w->words[w->n_words++] = (struct word){ from, w->n_plain };
        at = next;
    }
}

/* ---- counting ---- */

struct tally { struct work *w; struct ngram_feature *out; uint32_t n, max; };

static void count_bytes(struct tally *t, const char *bytes, size_t n, uint64_t seed)
{
    uint32_t bucket = (uint32_t)XXH3_64bits_withSeed(bytes, n, seed) & (t->w->buckets - 1);
    if (t->w->count[bucket]++ == 0) {
        if (t->n < t->max)
            t->out[t->n++].bucket = bucket;
        else
            t->w->count[bucket] = 0;            /* no room: it must be empty again */
    }
}

/* The UTF-8 bytes of `word` with a space on both sides; at[i] is where code i begins, at[n] the end. Returns the number of codes. */
static uint32_t spell(const struct work *w, const struct word *word, char *bytes, uint16_t *at)
{
    uint32_t n = word->to - word->from, length = 0;
    n = n < WORD_CODES_MAX ? n : WORD_CODES_MAX;
    for (uint32_t i = 0; i < n + 2; i++) {
        int32_t c = i == 0 || i == n + 1 ? ' ' : w->plain[word->from + i - 1];
        at[i] = (uint16_t)length;
        if (c < 128)
            bytes[length++] = (char)c;
        else
            length += (uint32_t)utf8proc_encode_char(c, (utf8proc_uint8_t *)bytes + length);
    }
    at[n + 2] = (uint16_t)length;
    return n + 2;
}

static void characters_count(struct tally *t, const struct ngram_spec *spec, const struct word *word)
{
    char bytes[4 * (WORD_CODES_MAX + 2)];
    uint16_t at[WORD_CODES_MAX + 3];
    uint32_t n = spell(t->w, word, bytes, at);
    for (uint32_t k = spec->character_min; k <= spec->character_max && k <= GRAM_MAX; k++)
        for (uint32_t i = 0; i + k <= n; i++)
            count_bytes(t, bytes + at[i], (size_t)(at[i + k] - at[i]), CHARACTER_SEED + k);
}

static void words_count(struct tally *t, const struct ngram_spec *spec, uint32_t first)
{
    char bytes[8 * (4 * (WORD_CODES_MAX + 2) + 1)];
    uint16_t at[WORD_CODES_MAX + 3];
    size_t length = 0;
    for (uint32_t k = 1; k <= spec->word_max && k <= 8 && first + k <= t->w->n_words; k++) {
        char one[4 * (WORD_CODES_MAX + 2)];
        uint32_t n = spell(t->w, &t->w->words[first + k - 1], one, at);
        if (k > 1)
            bytes[length++] = ' ';
        memcpy(bytes + length, one + 1, (size_t)at[n - 1] - 1);
        length += (size_t)at[n - 1] - 1;
        count_bytes(t, bytes, length, WORD_SEED + k);
    }
}

static pthread_key_t work_key;
static pthread_once_t work_once = PTHREAD_ONCE_INIT;

static void work_free(void *work)               /* when its thread ends */
{
    free(((struct work *)work)->count);
    free(work);
}

static void work_key_make(void)
{
    pthread_key_create(&work_key, work_free);
}

static struct work *work_of_thread(uint32_t buckets)
{
    pthread_once(&work_once, work_key_make);
    struct work *w = pthread_getspecific(work_key);
    if (!w && (w = calloc(1, sizeof *w)))
        pthread_setspecific(work_key, w);
    if (w && w->buckets < buckets) {
        uint32_t *more = calloc(buckets, sizeof *more);
        if (!more)
            return NULL;
        free(w->count);
        w->count = more;
        w->buckets = buckets;
    }
    return w;
}

uint32_t ngram_features(const struct ngram_spec *spec, str text, struct ngram_feature *out, uint32_t max)
{
    struct work *w = spec->buckets ? work_of_thread(spec->buckets) : NULL;
    if (!w)
        return 0;
    uint32_t kept = w->buckets;
    w->buckets = spec->buckets;                 /* a table made for more is used in part */
    codes_read(w, text, spec->is_normalised);
    words_find(w, spec->is_normalised);
    struct tally t = { .w = w, .out = out, .max = max };
    for (uint32_t i = 0; i < w->n_words; i++) {
        if (spec->character_max)
            characters_count(&t, spec, &w->words[i]);
        if (spec->word_max)
            words_count(&t, spec, i);
    }
    double squares = 0;
    for (uint32_t i = 0; i < t.n; i++) {
        uint32_t *count = &w->count[out[i].bucket];
        out[i].value = *count == 1 ? 1 : 1 + logf((float)*count);
        *count = 0;
        squares += (double)out[i].value * (double)out[i].value;
    }
    float scale = squares > 0 ? (float)(1 / sqrt(squares)) : 0;
    for (uint32_t i = 0; i < t.n; i++)
        out[i].value *= scale;
    w->buckets = kept;
    return t.n;
}
