/* signal/keyword_fuzzy.c -- keywords that a word of the text becomes by changing few letters
 * (spec 2.4.1, fuzzy).
 *
 * The threshold is an edit distance. Two cheap bounds spare nearly all comparisons: lengths
 * differ by at most the distance, and an edit changes at most two of the letters that occur. */
#include "signal/keyword.h"

#include "base/text.h"
#include "base/utf8.h"

enum { THRESHOLD_DEFAULT = 2, WORD_MAX = 255 };     /* letters; longer words hit nothing */

struct spelling { uint32_t *codes; size_t n; uint64_t letters; unsigned limit; };
struct fuzzy { struct spelling *keywords; uint32_t n; };

static uint64_t letters_of(const uint32_t *codes, size_t n)
{
    uint64_t letters = 0;
    for (size_t i = 0; i < n; i++)
        letters |= 1ull << (codes[i] & 63);
    return letters;
}

struct fuzzy *fuzzy_new(struct arena *a, const struct keyword_rule *rules, size_t n)
{
    struct fuzzy *m = ARENA_NEW(a, struct fuzzy);
    for (size_t i = 0; i < n; i++)
        m->n += (uint32_t)rules[i].conf->keywords.n;
    m->keywords = ARENA_ARRAY(a, struct spelling, m->n);
    for (size_t i = 0; i < n; i++) {
        const struct keyword_conf *c = rules[i].conf;
        for (size_t k = 0; k < c->keywords.n; k++) {
            struct spelling *s = &m->keywords[rules[i].first + k];
            s->codes = text_codes(a, c->keywords.items[k], true, &s->n);
            s->letters = letters_of(s->codes, s->n);
            s->limit = c->fuzzy_threshold ? (unsigned)c->fuzzy_threshold : THRESHOLD_DEFAULT;
        }
    }
    return m;
}

static void word_compare(const struct fuzzy *m, const uint32_t *word, size_t n,
                         struct keyword_hits *out)
{
    uint64_t letters = letters_of(word, n);
    for (uint32_t k = 0; k < m->n; k++) {
        const struct spelling *s = &m->keywords[k];
        size_t apart = s->n > n ? s->n - n : n - s->n;
        if (apart > s->limit
            || (unsigned)__builtin_popcountll(letters ^ s->letters) > 2 * s->limit
            || hit_is(out, k))
            continue;
        if (text_distance(word, n, s->codes, s->n, s->limit) <= s->limit)
            hit_set(out, k);
    }
}

void fuzzy_hits(const struct fuzzy *m, str text, struct arena *request, struct keyword_hits *out)
{
    (void)request;
    uint32_t word[WORD_MAX];
    size_t n = 0;
    for (size_t at = 0; at <= text.len;) {
        uint32_t code = ' ';
        if (at < text.len)
            code = utf8_next(text, &at);
        else
            at++;
        if (utf8_is_alnum(code)) {
            if (n < WORD_MAX)
                word[n] = utf8_lower(code);
            n++;
            continue;
        }
        if (n > 0 && n <= WORD_MAX)
            word_compare(m, word, n, out);
        n = 0;
    }
}
