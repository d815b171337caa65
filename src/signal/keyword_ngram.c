/* signal/keyword_ngram.c -- keywords that share most of their n-grams with a word of the text
 * (spec 2.4.1, ngram).
 *
 * Similarity is that of the Rust crate ngrammatic with warp 2: with s shared grams out of a in
 * both, 1 - (1 - s/a)^2. The keywords of all rules that cut alike (letters of a gram, case) are
 * one corpus with a table from gram to the keywords that have it; a word is compared with all of
 * them by looking up its own few grams. */
#include "signal/keyword.h"

#include "base/utf8.h"

enum {
    ARITY_MIN = 2,
    ARITY_MAX = 16,                     /* the field's bound */
    FOUND_MAX = 10,                     /* keywords of a rule that one query may find, as in VSR */
};

struct posting { uint32_t keyword, count; };            /* keyword within the corpus */
struct gram { uint64_t hash; struct posting *postings; size_t n; };

struct entry {                          /* a keyword */
    uint32_t bit;                       /* its number in the group */
    uint32_t rule;
    uint32_t padded_len;                /* letters with the padding */
    double threshold;
};

struct corpus {
    unsigned arity;
    bool is_lower;
    struct entry *entries; size_t n;
    uint32_t longest;                   /* padded_len of all */
    double lowest;                      /* threshold of all */
    struct gram *grams; size_t n_grams;
    uint32_t *slots; size_t mask;       /* open addressing: gram + 1 */
};

struct ngram { struct corpus *corpora; size_t n; };

/* ---- grams ---- */

typedef void gram_visit(void *arg, uint64_t hash);

/* Visits the grams of the padded text; returns its padded length. */
static inline size_t grams_of(const struct corpus *c, str text, gram_visit *visit, void *arg)
{
    uint32_t window[ARITY_MAX];
    size_t pad = c->arity - 1, n = 0;
    for (size_t i = 0; i < c->arity; i++)
        window[i] = ' ';
    for (size_t at = 0, tail = 0; at < text.len || tail < pad;) {
        uint32_t code = ' ';
        if (at < text.len)
            code = utf8_next(text, &at);
        else
            tail++;
        memmove(window, window + 1, pad * sizeof *window);
        window[pad] = c->is_lower ? utf8_lower(code) : code;
        n++;
        uint64_t hash = 0;
        for (size_t i = 0; i < c->arity; i++)
            hash = (hash + window[i] + 1) * 0x9E3779B97F4A7C15u;
        visit(arg, hash ^ hash >> 29);
    }
    return n + pad;
}

static uint32_t *gram_slot(const struct corpus *c, uint64_t hash)
{
    size_t at = hash & c->mask;
    while (c->slots[at] && c->grams[c->slots[at] - 1].hash != hash)
        at = (at + 1) & c->mask;
    return &c->slots[at];
}

/* ---- the corpora ---- */

struct building { struct arena *a; struct corpus *corpus; uint32_t keyword; };

static void slots_grow(struct arena *a, struct corpus *c)
{
    if (c->slots && (c->n_grams + 1) * 4 <= c->mask + 1)
        return;
    size_t cap = c->slots ? (c->mask + 1) * 2 : 64;
    c->slots = ARENA_ARRAY(a, uint32_t, cap);
    c->mask = cap - 1;
    for (size_t i = 0; i < c->n_grams; i++)
        *gram_slot(c, c->grams[i].hash) = (uint32_t)i + 1;
}

static void building_visit(void *arg, uint64_t hash)
{
    struct building *b = arg;
    struct corpus *c = b->corpus;
    slots_grow(b->a, c);
    uint32_t *slot = gram_slot(c, hash);
    if (!*slot) {
        PUSH(b->a, c->grams, c->n_grams)->hash = hash;
        *slot = (uint32_t)c->n_grams;
    }
    struct gram *g = &c->grams[*slot - 1];
    if (g->n && g->postings[g->n - 1].keyword == b->keyword)
        g->postings[g->n - 1].count++;
    else
        *PUSH(b->a, g->postings, g->n) = (struct posting){ b->keyword, 1 };
}

static struct corpus *corpus_for(struct arena *a, struct ngram *m, const struct keyword_conf *conf)
{
    unsigned arity = conf->ngram_arity < ARITY_MIN ? ARITY_MIN
                   : conf->ngram_arity > ARITY_MAX ? ARITY_MAX : (unsigned)conf->ngram_arity;
    for (size_t i = 0; i < m->n; i++) {
        if (m->corpora[i].arity == arity && m->corpora[i].is_lower == !conf->case_sensitive)
            return &m->corpora[i];
    }
    struct corpus *c = PUSH(a, m->corpora, m->n);
    *c = (struct corpus){ .arity = arity, .is_lower = !conf->case_sensitive, .lowest = 1 };
    slots_grow(a, c);
    return c;
}

struct ngram *ngram_new(struct arena *a, const struct keyword_rule *rules, size_t n)
{
    struct ngram *m = ARENA_NEW(a, struct ngram);
    for (size_t i = 0; i < n; i++) {
        const struct keyword_conf *conf = rules[i].conf;
        struct corpus *c = corpus_for(a, m, conf);
        for (uint32_t k = 0; k < conf->keywords.n; k++) {
            struct building b = { a, c, (uint32_t)c->n };
            struct entry *e = PUSH(a, c->entries, c->n);
            *e = (struct entry){ rules[i].first + k, (uint32_t)i, 0, conf->ngram_threshold };
            e->padded_len = (uint32_t)grams_of(c, conf->keywords.items[k], building_visit, &b);
            if (e->padded_len > c->longest)
                c->longest = e->padded_len;
            if (e->threshold < c->lowest)
                c->lowest = e->threshold;
        }
    }
    return m;
}

/* ---- queries ---- */

struct found { uint32_t keyword; double similarity; };

struct query {
    const struct corpus *corpus;
    uint32_t *counts;                   /* [n_grams] of the query, zero between queries */
    uint32_t *touched; size_t n_touched;
    uint32_t *shared;                   /* [n] by keyword, zero between queries */
    struct found *found; size_t n_found;        /* [n] */
};

static void query_visit(void *arg, uint64_t hash)
{
    struct query *q = arg;
    uint32_t gram = *gram_slot(q->corpus, hash);
    if (gram && q->counts[gram - 1]++ == 0)
        q->touched[q->n_touched++] = gram - 1;
}

static double similarity(const struct corpus *c, size_t len_a, size_t len_b, double shared)
{
    double all = (double)(len_a + len_b) - 2.0 * c->arity + 2 - shared;
    double rest = all - shared;
    return all > 0 ? (all * all - rest * rest) / (all * all) : 0;
}

/* Of each rule the best FOUND_MAX count; the first ones where they tie. */
static void found_take(const struct query *q, struct keyword_hits *out)
{
    const struct entry *entries = q->corpus->entries;
    for (size_t i = 0; i < q->n_found; i++) {
        const struct found *f = &q->found[i];
        size_t better = 0;
        for (size_t k = 0; k < q->n_found && q->n_found > FOUND_MAX; k++) {
            const struct found *other = &q->found[k];
            better += entries[other->keyword].rule == entries[f->keyword].rule
                   && (other->similarity > f->similarity
                       || (other->similarity >= f->similarity && other->keyword < f->keyword));
        }
        if (better < FOUND_MAX)
            hit_set(out, entries[f->keyword].bit);
    }
}

static void query_run(struct query *q, str text, struct keyword_hits *out)
{
    const struct corpus *c = q->corpus;
    q->n_touched = q->n_found = 0;
    size_t len = grams_of(c, text, query_visit, q);
    for (size_t i = 0; i < q->n_touched; i++) {
        const struct gram *g = &c->grams[q->touched[i]];
        uint32_t count = q->counts[q->touched[i]];
        for (size_t k = 0; k < g->n; k++) {
            uint32_t keyword = g->postings[k].keyword;
            if (q->shared[keyword] == 0)
                q->found[q->n_found++].keyword = keyword;
            q->shared[keyword] += count < g->postings[k].count ? count : g->postings[k].count;
        }
        q->counts[q->touched[i]] = 0;
    }
    size_t n = q->n_found;
    q->n_found = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t keyword = q->found[i].keyword;
        double s = similarity(c, len, c->entries[keyword].padded_len, q->shared[keyword]);
        q->shared[keyword] = 0;
        if (s >= c->entries[keyword].threshold)
            q->found[q->n_found++] = (struct found){ keyword, s };
    }
    found_take(q, out);
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
static bool may_be_like(const struct corpus *c, size_t len)
{
    size_t shorter = len < c->longest ? len : c->longest;
    return len <= c->longest
        || similarity(c, len, c->longest, (double)(shorter - (c->arity - 1))) >= c->lowest;
}

void ngram_hits(const struct ngram *m, str text, struct arena *request, struct keyword_hits *out)
{
    for (size_t i = 0; i < m->n; i++) {
        const struct corpus *c = &m->corpora[i];
        struct query q = {
            .corpus = c,
            .counts = ARENA_ARRAY(request, uint32_t, c->n_grams),
            .touched = ARENA_ARRAY(request, uint32_t, c->n_grams),
            .shared = ARENA_ARRAY(request, uint32_t, c->n),
            .found = ARENA_ARRAY(request, struct found, c->n),
        };
        for (size_t at = 0; at < text.len;) {
            str word = next_word(text, &at);
            if (word.len)
                query_run(&q, word, out);
        }
        if (text.len && may_be_like(c, utf8_count(text) + 2 * (size_t)(c->arity - 1)))
            query_run(&q, text, out);
    }
}
