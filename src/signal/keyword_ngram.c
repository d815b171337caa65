/* signal/keyword_ngram.c -- keywords that share most of their n-grams with a word of the text
 * (spec 2.4.1, ngram).
 *
 * Similarity is that of the Rust crate ngrammatic with warp 2: with s shared grams out of a in
 * both, 1 - (1 - s/a)^2. Each rule has a table from gram to the keywords that have it; a word is
 * compared with all of them by looking up its own few grams. */
#include "signal/keyword.h"

#include "base/utf8.h"

enum {
    ARITY_MIN = 2,
    ARITY_MAX = 16,                     /* the field's bound */
    FOUND_MAX = 10,                     /* keywords that one query may find, as in VSR */
};

struct posting { uint32_t keyword, count; };            /* keyword within the rule */
struct gram { uint64_t hash; struct posting *postings; size_t n; };

struct ngram_rule {
    unsigned arity;
    bool is_lower;
    double threshold;
    uint32_t first, n_keywords;
    uint32_t *padded_len;               /* [n_keywords] letters of the keyword with its padding */
    uint32_t longest;                   /* of them */
    struct gram *grams; size_t n_grams;
    uint32_t *slots; size_t mask;       /* open addressing: gram + 1 */
};

struct ngram { struct ngram_rule *rules; size_t n; };

/* ---- grams ---- */

typedef void gram_visit(void *arg, uint64_t hash);

/* Visits the grams of the padded text; returns its padded length. */
static size_t grams_of(const struct ngram_rule *r, str text, gram_visit *visit, void *arg)
{
    uint32_t window[ARITY_MAX];
    size_t pad = r->arity - 1, n = 0;
    for (size_t i = 0; i < r->arity; i++)
        window[i] = ' ';
    for (size_t at = 0, tail = 0; at < text.len || tail < pad;) {
        uint32_t code = ' ';
        if (at < text.len)
            code = utf8_next(text, &at);
        else
            tail++;
        window[n++ % r->arity] = r->is_lower ? utf8_lower(code) : code;
        uint64_t hash = 0;
        for (size_t i = 0; i < r->arity; i++)
            hash = (hash + window[(n + i) % r->arity] + 1) * 0x9E3779B97F4A7C15u;
        visit(arg, hash ^ hash >> 29);
    }
    return n + pad;
}

static uint32_t *gram_slot(const struct ngram_rule *r, uint64_t hash)
{
    size_t at = hash & r->mask;
    while (r->slots[at] && r->grams[r->slots[at] - 1].hash != hash)
        at = (at + 1) & r->mask;
    return &r->slots[at];
}

struct building { struct arena *a; struct ngram_rule *rule; uint32_t keyword; };

static void building_visit(void *arg, uint64_t hash)
{
    struct building *b = arg;
    struct gram *g = NULL;
    for (size_t i = 0; i < b->rule->n_grams && !g; i++) {
        if (b->rule->grams[i].hash == hash)
            g = &b->rule->grams[i];
    }
    if (!g) {
        g = PUSH(b->a, b->rule->grams, b->rule->n_grams);
        g->hash = hash;
    }
    if (g->n && g->postings[g->n - 1].keyword == b->keyword)
        g->postings[g->n - 1].count++;
    else
        *PUSH(b->a, g->postings, g->n) = (struct posting){ b->keyword, 1 };
}

static void rule_make(struct arena *a, const struct keyword_rule *from, struct ngram_rule *r)
{
    const struct keyword_conf *c = from->conf;
    *r = (struct ngram_rule){
        .arity = c->ngram_arity < ARITY_MIN ? ARITY_MIN
               : c->ngram_arity > ARITY_MAX ? ARITY_MAX : (unsigned)c->ngram_arity,
        .is_lower = !c->case_sensitive,
        .threshold = c->ngram_threshold,
        .first = from->first,
        .n_keywords = (uint32_t)c->keywords.n,
    };
    r->padded_len = ARENA_ARRAY(a, uint32_t, r->n_keywords);
    for (uint32_t k = 0; k < r->n_keywords; k++) {
        struct building b = { a, r, k };
        r->padded_len[k] = (uint32_t)grams_of(r, c->keywords.items[k], building_visit, &b);
        if (r->padded_len[k] > r->longest)
            r->longest = r->padded_len[k];
    }
    size_t cap = 16;
    while (cap < r->n_grams * 4)
        cap *= 2;
    r->slots = ARENA_ARRAY(a, uint32_t, cap);
    r->mask = cap - 1;
    for (size_t i = 0; i < r->n_grams; i++)
        *gram_slot(r, r->grams[i].hash) = (uint32_t)i + 1;
}

struct ngram *ngram_new(struct arena *a, const struct keyword_rule *rules, size_t n)
{
    struct ngram *m = ARENA_NEW(a, struct ngram);
    m->rules = ARENA_ARRAY(a, struct ngram_rule, n);
    for (size_t i = 0; i < n; i++)
        rule_make(a, &rules[i], &m->rules[m->n++]);
    return m;
}

/* ---- queries ---- */

struct query {
    const struct ngram_rule *rule;
    uint32_t *counts;                   /* [n_grams] of the query, zero between queries */
    uint32_t *touched; size_t n_touched;
    uint32_t *shared;                   /* [n_keywords], zero between queries */
};

static void query_visit(void *arg, uint64_t hash)
{
    struct query *q = arg;
    uint32_t gram = *gram_slot(q->rule, hash);
    if (gram && q->counts[gram - 1]++ == 0)
        q->touched[q->n_touched++] = gram - 1;
}

static double similarity(const struct ngram_rule *r, size_t len_a, size_t len_b, double shared)
{
    double all = (double)(len_a + len_b) - 2.0 * r->arity + 2 - shared;
    double rest = all - shared;
    return all > 0 ? (all * all - rest * rest) / (all * all) : 0;
}

struct found { uint32_t keyword; double similarity; };

static void found_add(struct found *best, size_t *n, struct found f)
{
    size_t at = *n;
    while (at > 0 && best[at - 1].similarity < f.similarity)
        at--;
    if (at == FOUND_MAX)
        return;
    if (*n < FOUND_MAX)
        ++*n;
    memmove(best + at + 1, best + at, (*n - at - 1) * sizeof *best);
    best[at] = f;
}

static void query_run(struct query *q, str text, struct keyword_hits *out)
{
    const struct ngram_rule *r = q->rule;
    struct found best[FOUND_MAX];
    size_t n_best = 0;
    q->n_touched = 0;
    size_t len = grams_of(r, text, query_visit, q);
    for (size_t i = 0; i < q->n_touched; i++) {
        const struct gram *g = &r->grams[q->touched[i]];
        uint32_t count = q->counts[q->touched[i]];
        for (size_t k = 0; k < g->n; k++)
            q->shared[g->postings[k].keyword] +=
                count < g->postings[k].count ? count : g->postings[k].count;
        q->counts[q->touched[i]] = 0;
    }
    for (size_t i = 0; i < q->n_touched; i++) {
        const struct gram *g = &r->grams[q->touched[i]];
        for (size_t k = 0; k < g->n; k++) {
            uint32_t keyword = g->postings[k].keyword;
            if (q->shared[keyword] == 0)
                continue;               /* seen under an earlier gram */
            double s = similarity(r, len, r->padded_len[keyword], q->shared[keyword]);
            q->shared[keyword] = 0;
            if (s >= r->threshold)
                found_add(best, &n_best, (struct found){ keyword, s });
        }
    }
    for (size_t i = 0; i < n_best; i++)
        hit_set(out, r->first + best[i].keyword);
}

static bool is_part(uint32_t code)
{
    return code == '_' || code == '-' || utf8_is_alnum(code);
}

static str next_word(str text, size_t *at)
{
    size_t start = *at;
    while (*at < text.len) {
        size_t before = *at;
        bool part = is_part(utf8_next(text, at));
        if (!part && before > start)
            return (str){ text.ptr + start, before - start };
        if (!part)
            start = *at;
    }
    return (str){ text.ptr + start, *at - start };
}

/* The whole text can only be like a keyword when it is not much longer. */
static bool may_be_like(const struct ngram_rule *r, size_t len)
{
    size_t shorter = len < r->longest ? len : r->longest;
    return similarity(r, len, r->longest, (double)(shorter - (r->arity - 1))) >= r->threshold
        || len <= r->longest;
}

void ngram_hits(const struct ngram *m, str text, struct arena *request, struct keyword_hits *out)
{
    for (size_t i = 0; i < m->n; i++) {
        const struct ngram_rule *r = &m->rules[i];
        struct query q = {
            .rule = r,
            .counts = ARENA_ARRAY(request, uint32_t, r->n_grams),
            .touched = ARENA_ARRAY(request, uint32_t, r->n_grams),
            .shared = ARENA_ARRAY(request, uint32_t, r->n_keywords),
        };
        for (size_t at = 0; at < text.len;) {
            str word = next_word(text, &at);
            if (word.len)
                query_run(&q, word, out);
        }
        if (text.len && may_be_like(r, utf8_count(text) + 2 * (size_t)(r->arity - 1)))
            query_run(&q, text, out);
    }
}
