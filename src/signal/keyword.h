/* signal/keyword.h -- what the keyword methods share: the rule as written, and one interface.
 *
 * keyword.c splits the rules by how their keywords are compared and gives each group a unit;
 * a method says which keywords of a rule hit, keyword.c applies AND, OR and NOR. */
#ifndef SBX_SIGNAL_KEYWORD_H
#define SBX_SIGNAL_KEYWORD_H

#include "signal/rule.h"

struct keyword_conf {
    str description, op, method;
    struct strings keywords;
    bool case_sensitive, fuzzy_match;
    int64_t fuzzy_threshold, ngram_arity;
    double bm25_threshold, ngram_threshold;
};

struct keyword_rule {
    const struct keyword_conf *conf;
    uint32_t first;                     /* number of its first keyword among those of the group */
};

/* hits: one bit a keyword of the group, cleared by the caller. */
struct keyword_hits { uint64_t *bits; };

static inline void hit_set(struct keyword_hits *h, uint32_t keyword)
{
    h->bits[keyword >> 6] |= 1ull << (keyword & 63);
}

static inline bool hit_is(const struct keyword_hits *h, uint32_t keyword)
{
    return h->bits[keyword >> 6] >> (keyword & 63) & 1;
}

struct bm25;
struct bm25 *bm25_new(struct arena *a, const struct keyword_rule *rules, size_t n);
void bm25_hits(const struct bm25 *m, str text, struct arena *request, struct keyword_hits *out);

struct ngram;
struct ngram *ngram_new(struct arena *a, const struct keyword_rule *rules, size_t n);
void ngram_hits(const struct ngram *m, str text, struct arena *request, struct keyword_hits *out);

struct fuzzy;
struct fuzzy *fuzzy_new(struct arena *a, const struct keyword_rule *rules, size_t n);
void fuzzy_hits(const struct fuzzy *m, str text, struct arena *request, struct keyword_hits *out);

#endif
