/* signal/keyword_bm25.c -- keywords as tiny documents, the text as the query (spec 2.4.1, bm25).
 *
 * Each rule is a corpus of its own: its keywords are the documents. What a token of the text
 * adds to a keyword is known beforehand, idf times document weight, so all rules share one
 * dictionary from token to such postings, and a text is read once. */
#include "signal/keyword.h"

#include <math.h>

#include "base/map.h"
#include "base/stem.h"
#include "base/text.h"
#include "base/utf8.h"

#define K1 1.2
#define B 0.75

struct posting { uint32_t keyword; float weight; };
struct entry { struct posting *postings; size_t n; };

struct bm25 {
    struct map dictionary;              /* token -> struct entry */
    uint64_t *starts;                   /* one bit for each pair of first letters of a token */
    float *thresholds;                  /* [n_keywords] */
    uint32_t n_keywords;
};

/* ---- tokens ---- */

struct tokens { str text; size_t at; char word[STEM_MAX + 2]; const uint64_t *starts; };

static bool is_ascii(str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.ptr[i] >= 0x80)
            return false;
    }
    return true;
}

static str ascii_of(struct arena *a, str s)
{
    if (is_ascii(s))
        return s;
    char *out = arena_try(a, s.len * (ASCII_MAX / 2) + ASCII_MAX);
    size_t n = 0;
    for (size_t at = 0; out && at < s.len;)
        n += text_ascii(utf8_next(s, &at), out + n);
    return (str){ out, n };
}

enum { STARTS = 128 * 128 };            /* pairs of ASCII characters */

static unsigned start_of(char first, char second)
{
    return (unsigned)(first & 127) << 7 | (unsigned)(second & 127);
}

static char lower(char c)
{
    return (unsigned)c - 'A' < 26u ? (char)(c + 32) : c;
}

/* Whether a token may begin like this. The stem of a word begins like the word, but for y and i
 * ("tying", "tie") and for stems of one letter, which have a bit for every second one. */
static bool starts_like(const uint64_t *starts, str word)
{
    unsigned start = start_of(lower(word.ptr[0]), word.len > 1 ? lower(word.ptr[1]) : '\0');
    return starts[start >> 6] >> (start & 63) & 1;
}

static bool tokens_next(struct tokens *t, str *token)
{
    for (;;) {
        str word = text_word(t->text, &t->at);
        if (word.len == 0)
            return false;
        if (t->starts && !starts_like(t->starts, word))
            continue;
        size_t n = word.len < STEM_MAX ? word.len : STEM_MAX;
        for (size_t i = 0; i < n; i++)
            t->word[i] = lower(word.ptr[i]);
        *token = (str){ t->word, n };
        if (stop_english(*token))
            continue;
        token->len = stem_english(t->word, n);
        if (token->len)
            return true;
    }
}

/* ---- the corpus ---- */

struct document { str *tokens; size_t n; };

static size_t occurrences(const struct document *d, str token)
{
    size_t n = 0;
    for (size_t i = 0; i < d->n; i++)
        n += str_eq(d->tokens[i], token);
    return n;
}

static void start_mark(struct bm25 *m, str token)
{
    for (unsigned second = 0; second < 128; second++) {
        bool is_y = token.len > 1 && strchr("iy", token.ptr[1]);
        bool likes = token.len == 1 || (unsigned)token.ptr[1] == second
                  || (is_y && (second == 'y' || second == 'i'));
        unsigned start = start_of(token.ptr[0], (char)second);
        if (likes)
            m->starts[start >> 6] |= 1ull << (start & 63);
    }
}

static void corpus_add(struct bm25 *m, const struct document *docs, size_t n, uint32_t first)
{
    struct arena *a = m->dictionary.a;
    double total = 0;
    for (size_t i = 0; i < n; i++)
        total += (double)docs[i].n;
    double mean = total > 0 ? total / (double)n : 256;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < docs[i].n; k++) {
            str token = docs[i].tokens[k];
            bool is_again = false;
            for (size_t before = 0; before < k; before++)
                is_again |= str_eq(docs[i].tokens[before], token);
            if (is_again)
                continue;
            double tf = (double)occurrences(&docs[i], token), with = 0;
            for (size_t d = 0; d < n; d++)
                with += occurrences(&docs[d], token) > 0;
            double idf = log(1 + ((double)n - with + 0.5) / (with + 0.5));
            double weight = tf * (K1 + 1)
                          / (tf + K1 * (1 - B + B * (double)docs[i].n / mean));
            struct entry *entry = map_get(&m->dictionary, token);
            if (!entry) {
                entry = ARENA_NEW(a, struct entry);
                map_put(&m->dictionary, token, entry);
                start_mark(m, token);
            }
            *PUSH(a, entry->postings, entry->n) =
                (struct posting){ first + (uint32_t)i, (float)(idf * weight) };
        }
    }
}

struct bm25 *bm25_new(struct arena *a, const struct keyword_rule *rules, size_t n)
{
    struct bm25 *m = ARENA_NEW(a, struct bm25);
    m->dictionary.a = a;
    m->starts = ARENA_ARRAY(a, uint64_t, STARTS / 64);
    for (size_t i = 0; i < n; i++)
        m->n_keywords += (uint32_t)rules[i].conf->keywords.n;
    m->thresholds = ARENA_ARRAY(a, float, m->n_keywords);
    for (size_t i = 0; i < n; i++) {
        const struct strings *keywords = &rules[i].conf->keywords;
        struct document *docs = ARENA_ARRAY(a, struct document, keywords->n);
        for (size_t k = 0; k < keywords->n; k++) {
            struct tokens t = { .text = ascii_of(a, keywords->items[k]) };
            str token;
            while (tokens_next(&t, &token))
                *PUSH(a, docs[k].tokens, docs[k].n) = arena_str(a, token);
            m->thresholds[rules[i].first + k] = (float)rules[i].conf->bm25_threshold;
        }
        corpus_add(m, docs, keywords->n, rules[i].first);
    }
    return m;
}

void bm25_hits(const struct bm25 *m, str text, struct arena *request, struct keyword_hits *out)
{
    float *scores = ARENA_ARRAY(request, float, m->n_keywords);
    struct tokens t = { .text = ascii_of(request, text), .starts = m->starts };
    str token;
    while (tokens_next(&t, &token)) {
        const struct entry *entry = map_get(&m->dictionary, token);
        for (size_t i = 0; entry && i < entry->n; i++)
            scores[entry->postings[i].keyword] += entry->postings[i].weight;
    }
    for (uint32_t k = 0; k < m->n_keywords; k++) {
        if (scores[k] >= m->thresholds[k])
            hit_set(out, k);
    }
}
