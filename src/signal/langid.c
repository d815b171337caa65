/* signal/langid.c -- statistical language identification.
 *
 * The script decides first. Most scripts belong to one language here and need nothing more. The
 * five that do not (Latin, Cyrillic, Arabic, Devanagari, Han) have a table: n-grams of 1 to 5
 * letters, word edges included, and whole words, each with one 4-bit weight per language. The
 * language with the largest sum wins, and because the weights are those of a logistic
 * regression, a softmax over the sums is the confidence.
 *
 * One probe costs a few nanoseconds and most n-grams of a text tell little new after the first
 * thousand letters. So a long text is read in three samples, and the cost is the same for 2 KB
 * and for 200 MB.
 *
 * The table is data made by tools/langid and linked in as it is: no start-up work, clean pages
 * shared between processes. */
#include "signal/langid.h"

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "signal/langid_features.h"
#include "signal/langid_kernels.h"

#define SAMPLE_BYTES 160            /* each; the first one is twice as long */
#define WHOLE_BYTES (4 * SAMPLE_BYTES)  /* up to here everything is read */
#define LETTERS_MAX (WHOLE_BYTES + 4)   /* one more for the end of each sample */
#define SEARCH_BYTES 65536          /* where the first letter must be if the samples have none */
#define LANGS_MAX 64

/* ---- the table ---- */

__asm__(".pushsection .rodata\n"
        ".balign 64\n"
        "langid_table:\n"
        ".incbin \"signal/langid_table.bin\"\n"
        ".popsection\n");

extern const uint8_t langid_table[] __attribute__((visibility("hidden")));

/* Little-endian, as is every machine we build for. */
struct group_head {
    uint32_t langs;
    uint32_t buckets;
    uint32_t bytes;                 /* of the whole group, head included, a multiple of 64 */
    float steps[LANGID_SCALES];     /* nats per unit of weight */
    uint8_t reserved[36];
};

static_assert(sizeof(struct group_head) == 64, "a head fills one cache line");

struct group {
    const struct group_head *head;
    const uint8_t *entries;         /* uint16_t [buckets][LANGID_WAYS] */
    const uint8_t *rows;            /* [buckets][LANGID_WAYS][half] */
    size_t half;                    /* bytes in a row */
};

static const char script_codes[LANGID_SCRIPTS][3] = {
    [LANGID_KANA] = "ja",     [LANGID_HANGUL] = "ko",   [LANGID_GREEK] = "el",
    [LANGID_ARMENIAN] = "hy", [LANGID_HEBREW] = "he",   [LANGID_BENGALI] = "bn",
    [LANGID_GURMUKHI] = "pa", [LANGID_GUJARATI] = "gu", [LANGID_TAMIL] = "ta",
    [LANGID_TELUGU] = "te",   [LANGID_THAI] = "th",     [LANGID_GEORGIAN] = "ka",
};

static const char *const all_codes[] = {
    "af", "ar", "az", "be", "bg", "bn", "bs", "ca", "cs", "cy", "da", "de", "el", "en", "eo",
    "es", "et", "eu", "fa", "fi", "fr", "ga", "gu", "he", "hi", "hr", "hu", "hy", "id", "is",
    "it", "ja", "ka", "kk", "ko", "la", "lg", "lt", "lv", "mi", "mk", "mn", "mr", "ms", "nb",
    "nl", "nn", "pa", "pl", "pt", "ro", "ru", "sk", "sl", "sn", "so", "sq", "sr", "st", "sv",
    "sw", "ta", "te", "th", "tl", "tn", "tr", "ts", "uk", "ur", "vi", "xh", "yo", "zh", "zu",
};

size_t langid_codes(const char *const **codes)
{
    *codes = all_codes;
    return sizeof all_codes / sizeof *all_codes;
}

static struct group group_at(enum langid_script script)
{
    const uint8_t *at = langid_table;
    for (int g = 0; g < (int)script; g++)
        at += ((const struct group_head *)(const void *)at)->bytes;
    struct group group = {.head = (const void *)at, .entries = at + sizeof(struct group_head)};
    group.rows = group.entries + (size_t)group.head->buckets * LANGID_WAYS * sizeof(uint16_t);
    group.half = (group.head->langs + 1) / 2;
    assert(group.head->langs <= LANGS_MAX);
    return group;
}

/* ---- reading ---- */

struct letters {
    struct langid_letter at[LETTERS_MAX];
    size_t count;
    uint32_t per_script[LANGID_SCRIPTS + 1];
};

/* Appends TEXT, then a word end. Several signs in a row that are no letters count as one. */
static void read_sample(struct letters *letters, const unsigned char *text, size_t len)
{
    const struct langid_letter end = {LANGID_NO_LETTER, 0};
    for (size_t i = 0; i < len;) {
        uint32_t code;
        i += langid_decode(text + i, len - i, &code);
        struct langid_letter l = langid_letter(code);
        if (l.script != LANGID_NO_LETTER) {
            letters->at[letters->count++] = l;
            letters->per_script[l.script]++;
        } else if (letters->count && letters->at[letters->count - 1].script != LANGID_NO_LETTER) {
            letters->at[letters->count++] = end;
        }
    }
    letters->at[letters->count++] = end;
}

/* The first place at or after AT where a word can begin: an ASCII byte that is not a letter. Text
 * without any such byte nearby is cut between two characters. */
static size_t word_start(const unsigned char *text, size_t at, size_t len)
{
    size_t limit = len - at > 64 ? at + 64 : len, i = at;
    while (i < limit && (text[i] >= 0x80 || (text[i] | 32u) - 'a' < 26))
        i++;
    if (i < limit)
        return i;
    for (i = at; i < limit && (text[i] & 0xC0) == 0x80;)
        i++;
    return i;
}

static void read_at(struct letters *letters, const unsigned char *text, size_t len, size_t at)
{
    at = word_start(text, at, len);
    read_sample(letters, text + at, len - at > SAMPLE_BYTES ? SAMPLE_BYTES : len - at);
}

static void read_text(struct letters *letters, const unsigned char *text, size_t len)
{
    letters->count = 0;
    memset(letters->per_script, 0, sizeof letters->per_script);
    if (len <= WHOLE_BYTES) {
        read_sample(letters, text, len);
        return;
    }
    read_sample(letters, text, 2 * SAMPLE_BYTES);
    read_at(letters, text, len, len / 2);
    read_at(letters, text, len, len - SAMPLE_BYTES);
    if (letters->count > 3)                             /* more than the three ends */
        return;

    size_t limit = len < SEARCH_BYTES ? len : SEARCH_BYTES;   /* nothing but signs so far */
    for (size_t i = 2 * SAMPLE_BYTES; i < limit;) {
        uint32_t code;
        size_t used = langid_decode(text + i, len - i, &code);
        if (langid_letter(code).script != LANGID_NO_LETTER) {
            letters->count = 0;
            read_sample(letters, text + i, len - i > WHOLE_BYTES / 2 ? WHOLE_BYTES / 2 : len - i);
            return;
        }
        i += used;
    }
}

/* ---- deciding ---- */

/* The script that most of the text is in. Latin counts half: names and code are in Latin letters
 * in a text of any language. A sign of Chinese, Japanese or Korean is worth three letters. */
static enum langid_script main_script(const uint32_t *per_script, float *share)
{
    uint32_t weights[LANGID_SCRIPTS], total = 0;
    for (int s = 0; s < LANGID_SCRIPTS; s++) {
        int is_dense = s == LANGID_HAN || s == LANGID_KANA || s == LANGID_HANGUL;
        weights[s] = per_script[s] * (s == LANGID_LATIN ? 1 : is_dense ? 6 : 2);
        total += weights[s];
    }
    /* Kana are only Japanese. A few may be a quoted name in a Chinese text. */
    if (weights[LANGID_KANA] * 8 > weights[LANGID_HAN]) {
        weights[LANGID_KANA] += weights[LANGID_HAN];
        weights[LANGID_HAN] = 0;
    }
    int best = 0;
    for (int s = 1; s < LANGID_SCRIPTS; s++)
        best = weights[s] > weights[best] ? s : best;
    *share = total ? (float)weights[best] / (float)total : 0;
    return weights[best] ? (enum langid_script)best : LANGID_NO_LETTER;
}

struct sums {
    uint32_t at[LANGID_SCALES][LANGS_MAX];
};

static void add_found(const struct group *group, const struct langid_kernels *kernels,
                      struct langid_found *found, struct sums *sums)
{
    for (unsigned scale = 0; scale < LANGID_SCALES; scale++)
        kernels->add_rows(group->rows, group->half, found->rows[scale],
                          langid_found_count(found, scale), sums->at[scale]);
    found->counts = 0;
}

/* Adds the weights of all words in the group's script to SUMS. */
static void add_words(const struct group *group, enum langid_script script,
                      const struct langid_kernels *kernels, const struct letters *letters,
                      struct sums *sums)
{
    uint16_t word[LANGID_WORD_MAX];
    uint64_t hashes[LANGID_WORD_FEATURES];
    struct langid_found found;
    size_t length = 0, room = LANGID_BATCH_MAX;

    found.counts = 0;
    for (size_t i = 0; i < letters->count; i++) {
        int is_ours = letters->at[i].script == script;
        if (is_ours)
            word[length++] = letters->at[i].number;
        if (length == 0 || (is_ours && length < LANGID_WORD_MAX))
            continue;
        size_t n = langid_word_features(langid_shapes[script], word, length, hashes);
        length = 0;
        if (n > room) {                                 /* one list might run full */
            add_found(group, kernels, &found, sums);
            room = LANGID_BATCH_MAX;
        }
        room -= n;
        kernels->find_rows(group->entries, group->head->buckets, hashes, n, &found);
    }
    add_found(group, kernels, &found, sums);
}

static struct langid answer(const char *code, float confidence)
{
    return (struct langid){{code[0], code[1], 0}, confidence};
}

static struct langid detect_with(const struct langid_kernels *kernels, const char *text, size_t len)
{
    struct letters letters;
    float share;
    read_text(&letters, (const unsigned char *)text, len);
    enum langid_script script = main_script(letters.per_script, &share);
    if (script == LANGID_NO_LETTER)
        return (struct langid){"", 0};
    if (script >= LANGID_GROUPS)
        return answer(script_codes[script], share);

    struct group group = group_at(script);
    struct sums sums = {0};
    add_words(&group, script, kernels, &letters, &sums);

    float scores[LANGS_MAX];
    uint32_t langs = group.head->langs, best = 0;
    for (uint32_t l = 0; l < langs; l++) {
        scores[l] = 0;
        for (int scale = 0; scale < LANGID_SCALES; scale++)
            scores[l] += group.head->steps[scale] * (float)sums.at[scale][l];
        best = scores[l] > scores[best] ? l : best;
    }
    float total = 0;
    for (uint32_t l = 0; l < langs; l++)
        total += expf(scores[l] - scores[best]);
    return answer(langid_group_codes[script] + 2 * best, share / total);
}

struct langid langid_detect(const char *text, size_t len)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2"))
        return detect_with(&langid_kernels_avx2, text, len);
#endif
    return detect_with(&langid_kernels_ref, text, len);
}
