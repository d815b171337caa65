/* signal/compress.c -- which sentences tell most of a text.
 *
 * A sentence's score is a weighted sum of four (spec 03, section 2.4): its TextRank, its place (the middle is worth least), how rare its
 * words are, and how unlike the text as a whole it is. Kept are the first and the last few, then the best until the budget is
 * spent, in their order.
 *
 * TextRank wants the likeness of all pairs. As the likeness is a cosine, the matrix of pairs is X * X' with a row of X a sentence (words
 * weighted by TF-IDF, length 1), and one step of the iteration is two passes over the words of all sentences: the matrix is never
 * made, and the time is that of the words whatever the number of sentences. */
#include "signal/compress.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/utf8.h"
#include "signal/signal.h"

/* ---- settings ---- */

enum { MAX_TOKENS_DEFAULT = 512 };

static const struct field compression_table[] = {
    F(FIELD_BOOL, struct compression, enabled, "enabled", "false", "shorten what signals read"),
    F(FIELD_STR, struct compression, profile, "profile", "default", "weights for a kind of text"),
    F(FIELD_INT, struct compression, max_tokens, "max_tokens", "0", "tokens that are kept; 0: 512"),
    F(FIELD_INT, struct compression, min_length, "min_length", "0", "bytes up to which a text stays as it is"),
    F(FIELD_STRINGS, struct compression, skip_signals, "skip_signals", "[jailbreak, pii]", "signals that read everything"),
    F(FIELD_FLOAT, struct compression, textrank, "textrank_weight", "-1", "centrality; negative: the profile's"),
    F(FIELD_FLOAT, struct compression, position, "position_weight", "-1", "place in the text"),
    F(FIELD_FLOAT, struct compression, tfidf, "tfidf_weight", "-1", "rare words"),
    F(FIELD_FLOAT, struct compression, novelty, "novelty_weight", "-1", "newness"),
    F(FIELD_FLOAT, struct compression, depth, "position_depth", "-1", "how far the middle is worth less"),
    F(FIELD_INT, struct compression, first, "preserve_first_n", "-1", "sentences kept at the start"),
    F(FIELD_INT, struct compression, last, "preserve_last_n", "-1", "sentences kept at the end"),
};
static const struct fields compression_fields = FIELDS(struct compression, compression_table);

static const struct profile_of {
    const char *name;
    double textrank, position, tfidf, novelty, depth;
    int64_t first, last;
} profiles[] = {
    { "default",    .20, .40, .35, .05, .5, 3, 2 },
    { "coding",     .15, .30, .40, .15, .6, 2, 4 },
    { "medical",    .20, .35, .30, .15, .5, 3, 2 },
    { "security",   .15, .30, .25, .30, .6, 2, 3 },
    { "multi_turn", .15, .25, .35, .10, .5, 2, 5 },
};

static void profile_apply(struct compression *c)
{
    const struct profile_of *p = &profiles[0];
    for (size_t i = 1; i < COUNT_OF(profiles); i++) {
        if (str_eq(c->profile, str_of(profiles[i].name)))
            p = &profiles[i];
    }
    const struct { double *to, from; } weights[] = {
        { &c->textrank, p->textrank }, { &c->position, p->position }, { &c->tfidf, p->tfidf }, { &c->novelty, p->novelty },
        { &c->depth, p->depth },
    };
    for (size_t i = 0; i < COUNT_OF(weights); i++) {
        if (*weights[i].to < 0)
            *weights[i].to = weights[i].from;
    }
    c->max_tokens = c->max_tokens > 0 ? c->max_tokens : MAX_TOKENS_DEFAULT;
    c->first = c->first < 0 ? p->first : c->first;
    c->last = c->last < 0 ? p->last : c->last;
}

static bool is_skipped(const struct compression *c, str type)
{
    for (size_t i = 0; i < c->skip_signals.n; i++) {
        if (str_eq(c->skip_signals.items[i], type))
            return true;
    }
    return false;
}

static void skips_check(const struct compression *c, const struct value *at, struct findings *out)
{
    str path = S("global.model_catalog.modules.prompt_compression.skip_signals");
    struct value *list = value_get(at, S("skip_signals"));
    struct place place = list ? list->at : at->at;
    for (size_t i = 0; i < c->skip_signals.n; i++) {
        if (!signal_by_type(c->skip_signals.items[i]))
            finding_add(out, "unknown-signal", SEVERITY_WARNING, place, path, S("types are written as in rules: keyword, domain, pii"),
                        "skip_signals: there is no signal type '" STR_FMT "'", STR_ARG(c->skip_signals.items[i]));
    }
    static const char *const guards[] = { "jailbreak", "pii" };
    for (size_t i = 0; i < COUNT_OF(guards); i++) {
        if (!is_skipped(c, str_of(guards[i])))
            finding_add(out, "shortened-guard", SEVERITY_WARNING, place, path,
                        S("what the middle of a long text says is the first to be left out: add it to skip_signals"),
                        "%s reads the shortened text", guards[i]);
    }
}

const struct compression *compression_make(struct arena *a, const struct value *global, struct findings *out)
{
    const struct value *v = global ? value_path(value_get(global, S("model_catalog")), "modules.prompt_compression") : NULL;
    struct compression *c = ARENA_NEW(a, struct compression);
    if (!v)
        return NULL;
    field_decode(a, &compression_fields, v, S(""), c, NULL);    /* the loader has reported what is wrong in `global` */
    if (!c->enabled)
        return NULL;
    profile_apply(c);
    skips_check(c, v, out);
    return c;
}

/* ---- characters ---- */

/* A character is a word of its own in scripts that put no spaces between words. */
static bool is_spaceless(uint32_t code)
{
    return utf8_is_cjk(code) || (code >= 0x0e00 && code <= 0x0eff) /* Thai, Lao */
           || (code >= 0x1000 && code <= 0x109f) /* Burmese */ || (code >= 0x1780 && code <= 0x17ff) /* Khmer */;
}

static bool is_space(uint32_t code)
{
    return code == ' ' || (code >= '\t' && code <= '\r');
}

/* Everything else beyond ASCII but punctuation and spaces: letters with their marks, also those of no alphabet. */
static bool is_word_part(uint32_t code)
{
    if (code < 0x80)
        return utf8_ascii_alnum((unsigned char)code) || code == '_';
    return code > 0xbf && !(code >= 0x2000 && code <= 0x206f) && !(code >= 0x3000 && code <= 0x303f)
           && !(code >= 0xff00 && code <= 0xff0f) && !(code >= 0xff1a && code <= 0xff20);
}

/* Behind which a sentence ends at once, and behind which only if a space follows. */
static bool ends_here(uint32_t code)
{
    return code == '\n' || code == 0x3002 || code == 0xff01 || code == 0xff1f || code == 0xff61 /* 。！？｡ */
           || code == 0x0964 || code == 0x061f || code == 0x06d4 /* danda; Arabic */;
}

static bool ends_before_space(uint32_t code)
{
    return code == '.' || code == '!' || code == '?' || code == 0x2026;
}

static bool closes(uint32_t code)                       /* what may stand between a full stop and the space */
{
    return code == '"' || code == '\'' || code == ')' || code == ']' || code == 0x2019 || code == 0x201d || code == 0x300d
           || code == 0x300f || code == 0xff09;
}

/* ---- words ---- */

enum word_kind { WORD_NONE, WORD_LETTERS, WORD_CHARACTER };

/* The next word from *at on: a run of letters and digits, or one character of a script without spaces. `fold`: hashed without case. */
struct word { enum word_kind kind; uint64_t hash; uint32_t code; };

static struct word word_next(str text, size_t *at)
{
    struct word w = { WORD_NONE, 0, 0 };
    while (*at < text.len) {
        size_t next = *at;
        uint32_t code = utf8_next(text, &next);
        bool is_alone = is_spaceless(code);
        if (w.kind == WORD_LETTERS && (is_alone || !is_word_part(code)))
            return w;
        *at = next;
        if (is_alone)
            return (struct word){ WORD_CHARACTER, hash_mix(code), code };
        if (!is_word_part(code))
            continue;
        w.kind = WORD_LETTERS;
        w.hash = hash_mix(w.hash ^ utf8_fold(code));
    }
    return w;
}

double compress_tokens(str text, double enough)
{
    double tokens = 0;
    for (size_t at = 0; at < text.len && tokens <= enough; ) {
        enum word_kind kind = word_next(text, &at).kind;
        tokens += kind == WORD_LETTERS ? 1.3 : kind == WORD_CHARACTER ? 1.5 : 0;
    }
    return tokens;
}

/* ---- sentences ---- */

static size_t rune_start(str text, size_t at)
{
    while (at < text.len && ((unsigned char)text.ptr[at] & 0xc0) == 0x80)
        at++;
    return at;
}

/* Behind the sentence that `at` lies in and the white space behind that, SENTENCE_BYTES on at the latest: then behind the last space,
 * else between two characters. */
static size_t sentence_end(str text, size_t at)
{
    size_t most = text.len - at > SENTENCE_BYTES ? at + SENTENCE_BYTES : text.len, last_space = 0;
    bool may_end = false, has_ended = false;
    while (at < most) {
        size_t next = at;
        uint32_t code = utf8_next(text, &next);
        bool space = is_space(code);
        if (has_ended && !space && !(closes(code) && !last_space))
            return at;
        if (next > most)
            break;
        has_ended |= ends_here(code) || (may_end && space);
        may_end = ends_before_space(code) || (may_end && closes(code));
        last_space = space ? next : has_ended ? 0 : last_space;
        at = next;
    }
    return most == text.len || has_ended || !last_space ? at : last_space;
}

static void sentence_take(struct sentence *to, str text, size_t from, size_t end)
{
    str s = { text.ptr + from, end - from };
    *to = (struct sentence){ .text = s, .tokens = compress_tokens(s, INFINITY) };
}

/* The last `last` sentences from `from` on, into out. Where they begin. */
static size_t tail_take(str text, size_t from, size_t last, struct sentence *out)
{
    size_t starts[PRESERVED_MAX + 1], n = 0, room = (last + 1) * SENTENCE_BYTES;
    size_t at = text.len - from > room ? rune_start(text, text.len - room) : from;
    for (; at < text.len; at = sentence_end(text, at))
        starts[n++ % (last + 1)] = at;
    size_t begin = text.len;
    for (size_t i = 0, end = text.len; i < last && i < n; i++, end = begin) {
        begin = starts[(n - 1 - i) % (last + 1)];
        sentence_take(&out[last - 1 - i], text, begin, end);
    }
    return begin;
}

size_t compress_split(const struct compression *c, str text, struct sentence out[SENTENCES_MAX])
{
    assert(c->first <= PRESERVED_MAX && c->last <= PRESERVED_MAX);      /* the table's bounds */
    size_t n = 0, at = 0;
    for (size_t end; n < SENTENCES_MAX && at < text.len; at = end) {
        end = sentence_end(text, at);
        sentence_take(&out[n++], text, at, end);
    }
    if (at >= text.len)
        return n;
    /* There are more. Places at even distances, and the sentence that begins next after each: so no text takes longer than this one. */
    size_t last = (size_t)c->last, slots = SENTENCES_MAX - (size_t)c->first - last;
    n = (size_t)c->first;
    at = n ? (size_t)(out[n - 1].text.ptr - text.ptr) + out[n - 1].text.len : 0;
    struct sentence tail[PRESERVED_MAX];
    size_t to = tail_take(text, at, last, tail), from = at;
    for (size_t i = 0; i < slots && at < to; i++) {
        size_t place = from + (size_t)((double)(to - from) * (double)i / (double)slots);
        if (place > at)
            at = sentence_end(text, rune_start(text, place));
        if (at >= to)
            break;
        size_t end = sentence_end(text, at);
        end = end < to ? end : to;
        sentence_take(&out[n++], text, at, end);
        at = end;
    }
    memcpy(out + n, tail, last * sizeof *tail);
    return n + last;
}

/* ---- words of sentences, as a sparse matrix ---- */

struct entry { uint32_t term; float weight; };          /* of one sentence; first how often, then TF-IDF, then to length 1 */
struct term { uint64_t hash; uint32_t sentences, last, entry; };    /* `last`: sentence + 1 that had it last, as this entry */

struct matrix {
    size_t n, n_terms;
    uint32_t *row;                                      /* [n + 1] entries of sentence i: row[i] .. row[i + 1] */
    struct entry *entries;
    struct term *terms;
    uint32_t *table; size_t mask;                       /* hash -> term + 1 */
    double *of_terms;                                   /* [n_terms] scratch of products */
};

static bool matrix_alloc(struct matrix *m, const struct sentence *all, size_t n, struct arena *a)
{
    size_t most = 1, slots = 64;
    for (size_t i = 0; i < n; i++)
        most += all[i].text.len / 2 + 1;                /* a word has a byte and one between it and the next; a character has three */
    while (slots < 2 * most)
        slots *= 2;
    *m = (struct matrix){
        .n = n, .mask = slots - 1, .row = arena_try(a, (n + 1) * sizeof *m->row),
        .entries = arena_try(a, most * sizeof *m->entries), .terms = arena_try(a, most * sizeof *m->terms),
        .table = arena_try(a, slots * sizeof *m->table), .of_terms = arena_try(a, most * sizeof *m->of_terms),
    };
    if (!m->row || !m->entries || !m->terms || !m->table || !m->of_terms)
        return false;
    memset(m->table, 0, slots * sizeof *m->table);
    return true;
}

static void term_count(struct matrix *m, uint32_t sentence, uint32_t *n_entries, uint64_t hash)
{
    size_t at = hash & m->mask;
    while (m->table[at] && m->terms[m->table[at] - 1].hash != hash)
        at = (at + 1) & m->mask;
    if (!m->table[at]) {
        m->terms[m->n_terms++] = (struct term){ .hash = hash };
        m->table[at] = (uint32_t)m->n_terms;
    }
    struct term *t = &m->terms[m->table[at] - 1];
    if (t->last != sentence + 1) {
        t->last = sentence + 1;
        t->sentences++;
        t->entry = (*n_entries)++;
        m->entries[t->entry] = (struct entry){ m->table[at] - 1, 0 };
    }
    m->entries[t->entry].weight++;
}

/* Words by their hash; characters of scripts without spaces by pairs of neighbours, one without a neighbour by itself. */
static void matrix_count(struct matrix *m, const struct sentence *all)
{
    uint32_t n_entries = 0;
    for (uint32_t i = 0; i < m->n; i++) {
        str text = all[i].text;
        m->row[i] = n_entries;
        struct word before = { 0 };
        bool is_paired = false;
        for (size_t at = 0; ; ) {
            size_t end = at;
            struct word w = word_next(text, &at);
            bool is_near = w.kind == WORD_CHARACTER && before.kind == WORD_CHARACTER && at - end <= UTF8_MAX;
            if (before.kind == WORD_CHARACTER && !is_near && !is_paired)
                term_count(m, i, &n_entries, before.hash);
            if (is_near)
                term_count(m, i, &n_entries, hash_mix(before.hash + w.code));
            else if (w.kind == WORD_LETTERS)
                term_count(m, i, &n_entries, w.hash);
            if (w.kind == WORD_NONE)
                break;
            is_paired = is_near;
            before = w;
        }
    }
    m->row[m->n] = n_entries;
}

/* The rarity of a sentence's words, their mean; and its row to length 1. */
static double row_weigh(struct matrix *m, size_t i)
{
    double words = 0, sum = 0, squares = 0;
    for (uint32_t k = m->row[i]; k < m->row[i + 1]; k++) {
        struct entry *e = &m->entries[k];
        double weight = (double)e->weight * log(1 + (double)m->n / m->terms[e->term].sentences);
        words += (double)e->weight;
        sum += weight;
        squares += weight * weight;
        e->weight = (float)weight;
    }
    float scale = squares > 0 ? (float)(1 / sqrt(squares)) : 0;
    for (uint32_t k = m->row[i]; k < m->row[i + 1]; k++)
        m->entries[k].weight *= scale;
    return words > 0 ? sum / words : 0;
}

static double row_dot(const struct matrix *m, size_t i, const double *of_terms)
{
    double sum = 0;
    for (uint32_t k = m->row[i]; k < m->row[i + 1]; k++)
        sum += (double)m->entries[k].weight * of_terms[m->entries[k].term];
    return sum;
}

/* of_terms = sum over sentences of u[i] times its row; u NULL: 1 each. */
static void rows_add(struct matrix *m, const double *u)
{
    memset(m->of_terms, 0, m->n_terms * sizeof *m->of_terms);
    for (size_t i = 0; i < m->n; i++) {
        for (uint32_t k = m->row[i]; k < m->row[i + 1]; k++)
            m->of_terms[m->entries[k].term] += (u ? u[i] : 1) * (double)m->entries[k].weight;
    }
}

/* ---- scores ---- */

enum { RANK_ROUNDS = 100 };
#define RANK_DAMPING .85
#define RANK_CLOSE 1e-5

/* rank[i] = (1 - d) / n + d * sum over j != i of likeness(i, j) / likenesses(j) * rank[j]. `likeness[i]`: the sum of i's to all others. */
static void rank_iterate(struct matrix *m, const double *likeness, double *rank, double *u)
{
    double n = (double)m->n, change = 1;
    for (size_t i = 0; i < m->n; i++)
        rank[i] = 1 / n;
    for (int round = 0; round < RANK_ROUNDS && change > RANK_CLOSE; round++) {
        for (size_t i = 0; i < m->n; i++)
            u[i] = likeness[i] > 1e-9 ? rank[i] / likeness[i] : 0;
        rows_add(m, u);
        change = 0;
        for (size_t i = 0; i < m->n; i++) {
            bool is_empty = m->row[i] == m->row[i + 1];
            double others = is_empty ? 0 : fmax(row_dot(m, i, m->of_terms) - u[i], 0);     /* without itself: its likeness is 1 */
            double now = (1 - RANK_DAMPING) / n + RANK_DAMPING * others;
            change = fmax(change, fabs(now - rank[i]));
            rank[i] = now;
        }
    }
}

bool compress_score(const struct compression *c, struct sentence *all, size_t n, struct arena *a)
{
    struct matrix m;
    double *likeness = arena_try(a, 3 * n * sizeof *likeness), *rank = likeness + n;
    if (!likeness || !matrix_alloc(&m, all, n, a))
        return false;
    matrix_count(&m, all);
    for (size_t i = 0; i < n; i++)
        all[i].tfidf = row_weigh(&m, i);
    rows_add(&m, NULL);
    double squares = 0;
    for (size_t t = 0; t < m.n_terms; t++)
        squares += m.of_terms[t] * m.of_terms[t];
    for (size_t i = 0; i < n; i++) {
        double to_all = row_dot(&m, i, m.of_terms);
        bool is_empty = m.row[i] == m.row[i + 1];
        likeness[i] = is_empty ? 0 : fmax(to_all - 1, 0);
        all[i].novelty = is_empty ? 0 : fmax(1 - to_all / sqrt(squares), 0);
    }
    rank_iterate(&m, likeness, rank, rank + n);
    double rank_most = 0, tfidf_most = 0;
    for (size_t i = 0; i < n; i++) {
        rank_most = fmax(rank_most, rank[i]);
        tfidf_most = fmax(tfidf_most, all[i].tfidf);
    }
    for (size_t i = 0; i < n; i++) {
        struct sentence *s = &all[i];
        s->textrank = rank_most > 0 ? rank[i] / rank_most : 0;
        s->tfidf = tfidf_most > 0 ? s->tfidf / tfidf_most : 0;
        s->position = n > 1 ? 1 - c->depth * sin(M_PI * (double)i / (double)(n - 1)) : 1;
        s->score = c->textrank * s->textrank + c->position * s->position + c->tfidf * s->tfidf + c->novelty * s->novelty;
    }
    return true;
}

/* ---- the choice ---- */

static int by_score(const void *x, const void *y)       /* the best first; of equals the earlier */
{
    const struct sentence *a = *(const struct sentence *const *)x, *b = *(const struct sentence *const *)y;
    return a->score > b->score ? -1 : a->score < b->score ? 1 : a < b ? -1 : a > b;
}

static void sentences_choose(const struct compression *c, const struct sentence *all, size_t n, bool *is_kept)
{
    const struct sentence *order[SENTENCES_MAX];
    size_t n_open = 0;
    double left = (double)c->max_tokens;
    for (size_t i = 0; i < n; i++) {
        is_kept[i] = i < (size_t)c->first || n - i <= (size_t)c->last;
        if (is_kept[i])
            left -= all[i].tokens;
        else
            order[n_open++] = &all[i];
    }
    qsort(order, n_open, sizeof *order, by_score);
    for (size_t i = 0; i < n_open; i++) {
        if (order[i]->tokens > left)
            continue;                                   /* a shorter one may still fit */
        is_kept[order[i] - all] = true;
        left -= order[i]->tokens;
    }
}

static str sentences_join(const struct sentence *all, size_t n, const bool *is_kept, struct arena *a, str text)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++)
        len += is_kept[i] ? all[i].text.len + 1 : 0;
    char *to = arena_try(a, len + 1), *at = to;
    if (!to)
        return text;
    const char *behind = NULL;                          /* the last one that was kept */
    for (size_t i = 0; i < n; i++) {
        if (!is_kept[i])
            continue;
        if (behind && behind != all[i].text.ptr && !is_space((unsigned char)at[-1]))
            *at++ = ' ';
        memcpy(at, all[i].text.ptr, all[i].text.len);
        at += all[i].text.len;
        behind = all[i].text.ptr + all[i].text.len;
    }
    return str_trim((str){ to, (size_t)(at - to) });
}

str compress_text(const struct compression *c, str text, struct arena *a)
{
    if (text.len <= (size_t)c->min_length || compress_tokens(text, (double)c->max_tokens) <= (double)c->max_tokens)
        return text;
    struct sentence *all = arena_try(a, SENTENCES_MAX * sizeof *all);
    if (!all)
        return text;
    size_t n = compress_split(c, text, all);
    if (!compress_score(c, all, n, a))
        return text;
    bool is_kept[SENTENCES_MAX];
    sentences_choose(c, all, n, is_kept);
    return sentences_join(all, n, is_kept, a, text);
}
