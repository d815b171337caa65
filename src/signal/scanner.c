/* signal/scanner.c
 *
 * A feature is answered by needles, by RE2, or always (an empty word). A needle is one literal in
 * the automaton with the conditions under which a hit counts; it belongs to one feature. A
 * pattern that needs one of some literals has a hidden feature for them, its gate. */
#include "signal/scanner.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/automaton.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/regex.h"
#include "base/utf8.h"
#include "signal/lower.h"

enum {
    SET_BYTES = 32 << 20,               /* of the RE2 set's program and automaton */
    DENSE_BYTES = 256 << 10,            /* of full rows; measured: more gains at most 5 % */
    NO_COUNTER = -1,
    NO_GATE = -1,
};

enum need { NEED_WORD_START = 1, NEED_WORD_END = 2, NEED_APART = 4, NEED_EXACT = 8 };

struct needle {
    str text;
    uint32_t feature;
    uint32_t step;                      /* of a sequence */
    unsigned needs;                     /* enum need */
};

enum answer { ANSWER_NEEDLES, ANSWER_SEQUENCE, ANSWER_REGEX, ANSWER_ALWAYS };

struct feature {
    enum answer answer;
    int32_t counter;                    /* into struct scan's counters, or NO_COUNTER */
    uint32_t n_steps;                   /* of a sequence */
    struct regex *regex;
    str pattern; bool fold;
    int64_t gate;                       /* feature without which it cannot match, or NO_GATE */
};

struct scanner {
    struct arena *a;
    uint64_t serial;                    /* unlike an address, never used twice */
    struct map known;                   /* description -> feature + 1 */
    struct feature *features; size_t n_features;
    struct needle *needles; size_t n_needles;
    size_t n_counters;
    const struct automaton *automaton;
    uint32_t *gated; size_t n_gated;            /* features of RE2 patterns with a gate */
    uint32_t *open; size_t n_open;              /* and without */
    uint32_t *always; size_t n_always;
    struct regex_set *set;              /* over `open`; NULL: ask them one by one */
    size_t set_bytes, dense_bytes;
    uint32_t n_lowered;
};

struct counter { uint32_t count; uint32_t step; size_t last_end; };

struct scan {
    uint64_t serial, hash;
    size_t len;
    const struct scanner *scanner;
    uint64_t *bits;                     /* [n_features / 64 + 1] */
    struct counter *counters;
    uint64_t *set_bits;
};

/* ---- what is looked for ---- */

struct scanner *scanner_new(struct arena *a)
{
    static _Atomic uint64_t serials;
    struct scanner *s = ARENA_NEW(a, struct scanner);
    s->a = a;
    s->serial = atomic_fetch_add(&serials, 1) + 1;
    s->known.a = a;
    s->set_bytes = SET_BYTES;
    s->dense_bytes = DENSE_BYTES;
    return s;
}

void scanner_tune(struct scanner *s, size_t set_bytes, size_t dense_bytes)
{
    s->set_bytes = set_bytes;
    s->dense_bytes = dense_bytes;
}

static uint32_t feature_new(struct scanner *s, enum answer answer, bool is_counted)
{
    *PUSH(s->a, s->features, s->n_features) = (struct feature){
        .answer = answer,
        .counter = is_counted ? (int32_t)s->n_counters : NO_COUNTER,
        .gate = NO_GATE,
    };
    s->n_counters += is_counted;
    return (uint32_t)s->n_features - 1;
}

/* Finds the feature that was asked for in the same words, or, when case does not count, in words
 * of other case. `kind` tells the questions apart. */
static bool feature_known(struct scanner *s, char kind, char bounds, bool fold, str text, str *key,
                          uint32_t *feature)
{
    bool is_word = kind == 'w' || kind == 'W';
    char *bytes = arena_alloc(s->a, text.len * 2 + 3);  /* folding adds a byte to two at most */
    size_t n = 3;
    bytes[0] = kind;
    bytes[1] = (char)('0' + bounds);
    bytes[2] = fold ? 'i' : 'c';
    for (size_t at = 0; at < text.len;) {
        size_t start = at;
        uint32_t code = utf8_next(text, &at);
        if (is_word && fold && (code != UTF8_BAD || at - start > 1)) {
            n += utf8_put(bytes + n, utf8_fold(code));
        } else {
            memcpy(bytes + n, text.ptr + start, at - start);
            n += at - start;
        }
    }
    *key = (str){ bytes, n };
    uintptr_t found = (uintptr_t)map_get(&s->known, *key);
    *feature = (uint32_t)(found - 1);
    return found != 0;
}

static uint32_t feature_remember(struct scanner *s, str key, uint32_t feature)
{
    map_put(&s->known, key, (void *)((uintptr_t)feature + 1));
    return feature;
}

static void needle_add(struct scanner *s, uint32_t feature, uint32_t step, str text,
                       unsigned needs)
{
    *PUSH(s->a, s->needles, s->n_needles) =
        (struct needle){ arena_str(s->a, text), feature, step, needs };
}

static uint32_t word_feature(struct scanner *s, str text, enum scan_bounds bounds, bool fold,
                             bool is_counted)
{
    str key;
    uint32_t feature;
    if (feature_known(s, is_counted ? 'W' : 'w', (char)bounds, fold, text, &key, &feature))
        return feature;
    assert(!s->automaton);
    feature = feature_new(s, text.len ? ANSWER_NEEDLES : ANSWER_ALWAYS, is_counted);
    unsigned needs = fold ? 0 : NEED_EXACT;
    if (bounds == SCAN_WORD)
        needs |= NEED_WORD_START | NEED_WORD_END;
    if (bounds == SCAN_APART)
        needs |= NEED_APART;
    if (text.len)
        needle_add(s, feature, 0, text, needs);
    return feature_remember(s, key, feature);
}

uint32_t scanner_word(struct scanner *s, str text, enum scan_bounds bounds, bool fold)
{
    return word_feature(s, text, bounds, fold, false);
}

uint32_t scanner_word_count(struct scanner *s, str text, enum scan_bounds bounds, bool fold)
{
    return word_feature(s, text, bounds, fold, true);
}

uint32_t scanner_sequence(struct scanner *s, const str *markers, size_t n, bool fold)
{
    assert(!s->automaton);
    uint32_t feature = feature_new(s, ANSWER_SEQUENCE, true);
    s->features[feature].n_steps = (uint32_t)n;
    for (size_t i = 0; i < n; i++)
        needle_add(s, feature, (uint32_t)i, markers[i], fold ? 0 : NEED_EXACT);
    return feature;
}

static void literals_add(struct scanner *s, uint32_t feature, const struct literal *literals,
                         size_t n, bool fold)
{
    for (size_t i = 0; i < n; i++)
        needle_add(s, feature, 0, literals[i].text,
                   (fold ? 0 : NEED_EXACT) | (literals[i].word_start ? NEED_WORD_START : 0)
                   | (literals[i].word_end ? NEED_WORD_END : 0));
}

/* Counting by needles is right when at most one of them can begin at a place: there is one, or
 * all are single characters. */
static bool literals_can_count(const struct literal *literals, size_t n)
{
    for (size_t i = 0; n > 1 && i < n; i++) {
        if (utf8_count(literals[i].text) > 1)
            return false;
    }
    return true;
}

static uint32_t pattern_feature(struct scanner *s, str pattern, bool fold, bool is_counted,
                                struct err *e)
{
    str key;
    uint32_t feature;
    if (feature_known(s, is_counted ? 'P' : 'p', 0, fold, pattern, &key, &feature))
        return feature;
    assert(!s->automaton);
    struct regex *regex = regex_new(pattern, fold, e);
    if (!regex)
        return SCAN_NONE;

    struct arena *scratch = arena_new();
    struct literal *literals;
    size_t n;
    bool literal_fold = fold;
    enum lowered lowered = scratch
        ? lower_pattern(scratch, pattern, &literal_fold, &literals, &n) : LOWER_NONE;
    if (lowered == LOWER_EXACT && (!is_counted || literals_can_count(literals, n))) {
        feature = feature_new(s, ANSWER_NEEDLES, is_counted);
        literals_add(s, feature, literals, n, literal_fold);
        s->n_lowered++;
        regex_free(regex);
    } else {
        feature = feature_new(s, ANSWER_REGEX, false);
        s->features[feature].regex = regex;
        s->features[feature].pattern = arena_str(s->a, pattern);
        s->features[feature].fold = fold;
        arena_defer(s->a, (void (*)(void *))regex_free, regex);
        if (lowered != LOWER_NONE) {
            uint32_t gate = feature_new(s, ANSWER_NEEDLES, false);
            literals_add(s, gate, literals, n, literal_fold);
            s->features[feature].gate = gate;
        }
    }
    if (scratch)
        arena_free(scratch);
    return feature_remember(s, key, feature);
}

uint32_t scanner_pattern(struct scanner *s, str pattern, bool fold, struct err *e)
{
    return pattern_feature(s, pattern, fold, false, e);
}

uint32_t scanner_pattern_count(struct scanner *s, str pattern, bool fold, struct err *e)
{
    return pattern_feature(s, pattern, fold, true, e);
}

/* ---- sealing ---- */

static void set_free(void *set)
{
    regex_set_free(set);
}

/* One matcher for the patterns that nothing announces. A single one needs none. */
static void set_make(struct scanner *s)
{
    if (s->n_open < 2)
        return;
    struct regex_set *set = regex_set_new(s->set_bytes);
    bool is_good = set != NULL;
    for (size_t i = 0; is_good && i < s->n_open; i++) {
        const struct feature *f = &s->features[s->open[i]];
        is_good = regex_set_add(set, f->pattern, f->fold, NULL) == (int)i;
    }
    if (!is_good || !regex_set_compile(set)) {
        regex_set_free(set);
        return;
    }
    s->set = set;
    arena_defer(s->a, set_free, set);
}

bool scanner_seal(struct scanner *s)
{
    assert(!s->automaton);
    struct arena *scratch = arena_new();
    if (!scratch)
        return false;
    struct automaton_builder *b = automaton_builder_new(scratch, SCANNER_STATES_MAX);
    bool is_good = true;
    for (size_t i = 0; is_good && i < s->n_needles; i++)
        is_good = automaton_add(b, s->needles[i].text);
    if (is_good)
        s->automaton = automaton_build(b, s->a, s->dense_bytes);
    arena_free(scratch);

    for (uint32_t f = 0; f < s->n_features; f++) {
        const struct feature *feature = &s->features[f];
        if (feature->answer == ANSWER_ALWAYS)
            *PUSH(s->a, s->always, s->n_always) = f;
        else if (feature->answer == ANSWER_REGEX && feature->gate != NO_GATE)
            *PUSH(s->a, s->gated, s->n_gated) = f;
        else if (feature->answer == ANSWER_REGEX)
            *PUSH(s->a, s->open, s->n_open) = f;
    }
    set_make(s);
    return is_good;
}

struct scanner_stats scanner_stats(const struct scanner *s)
{
    return (struct scanner_stats){
        .n_features = (uint32_t)s->n_features,
        .n_needles = (uint32_t)s->n_needles,
        .n_states = s->automaton ? automaton_states(s->automaton) : 0,
        .n_lowered = s->n_lowered,
        .n_gated = (uint32_t)s->n_gated,
        .n_in_set = s->set ? (uint32_t)s->n_open : 0,
        .table_bytes = s->automaton ? automaton_bytes(s->automaton) : 0,
    };
}

/* ---- reading ---- */

static inline bool is_word_byte(unsigned char c)
{
    return c == '_' || utf8_ascii_alnum(c);
}

static bool is_boundary(str text, size_t at)
{
    bool before = at > 0 && is_word_byte((unsigned char)text.ptr[at - 1]);
    bool behind = at < text.len && is_word_byte((unsigned char)text.ptr[at]);
    return before != behind;
}

static bool is_apart(str text, size_t start, size_t end)
{
    if (start > 0) {
        uint32_t before = utf8_before(text, start);
        if (utf8_is_alnum(before) && !utf8_is_cjk(before))
            return false;
    }
    if (end < text.len) {
        uint32_t behind = utf8_next(text, &end);
        if (utf8_is_alnum(behind) && !utf8_is_cjk(behind))
            return false;
    }
    return true;
}

static bool needle_holds(const struct needle *n, str text, size_t start, size_t end)
{
    if (n->needs & NEED_EXACT
        && (end - start != n->text.len || memcmp(text.ptr + start, n->text.ptr, n->text.len) != 0))
        return false;
    if (n->needs & NEED_WORD_START && !is_boundary(text, start))
        return false;
    if (n->needs & NEED_WORD_END && !is_boundary(text, end))
        return false;
    return !(n->needs & NEED_APART) || is_apart(text, start, end);
}

static inline void bit_set(struct scan *r, uint32_t feature)
{
    r->bits[feature >> 6] |= 1ull << (feature & 63);
}

struct pass { struct scan *scan; str text; };

static void needle_hit(void *arg, uint32_t word, size_t start, size_t end)
{
    struct pass *p = arg;
    struct scan *r = p->scan;
    const struct needle *n = &r->scanner->needles[word];
    const struct feature *f = &r->scanner->features[n->feature];
    if (f->counter == NO_COUNTER) {
        if (!scan_has(r, n->feature) && needle_holds(n, p->text, start, end))
            bit_set(r, n->feature);
        return;
    }
    struct counter *c = &r->counters[f->counter];
    if (start < c->last_end || c->step != n->step || !needle_holds(n, p->text, start, end))
        return;
    c->last_end = end;
    if (f->answer == ANSWER_SEQUENCE) {
        if (++c->step == f->n_steps)
            bit_set(r, n->feature);
        return;
    }
    c->count++;
    bit_set(r, n->feature);
}

static void patterns_run(struct scan *r, str text)
{
    const struct scanner *s = r->scanner;
    for (size_t i = 0; i < s->n_gated; i++) {
        const struct feature *f = &s->features[s->gated[i]];
        if (scan_has(r, (uint32_t)f->gate) && regex_has(f->regex, text))
            bit_set(r, s->gated[i]);
    }
    int found = -1;
    if (s->set) {
        memset(r->set_bits, 0, (s->n_open / 64 + 1) * sizeof *r->set_bits);
        found = regex_set_match(s->set, text, r->set_bits);
    }
    for (size_t i = 0; found != 0 && i < s->n_open; i++) {
        bool matched = found > 0 ? r->set_bits[i >> 6] >> (i & 63) & 1
                                 : regex_has(s->features[s->open[i]].regex, text);
        if (matched)
            bit_set(r, s->open[i]);
    }
}

/* What a thread remembers: the evaluation text and the sampled text of one request. */
enum { SCANS_KEPT = 2 };

struct kept {
    struct scan scans[SCANS_KEPT];
    struct arena *arenas[SCANS_KEPT];
    unsigned turn;
    struct buf scratch;
};

static _Thread_local struct kept *kept;
static pthread_key_t kept_key;
static pthread_once_t kept_once = PTHREAD_ONCE_INIT;

static void kept_free(void *arg)
{
    struct kept *k = arg;
    for (size_t i = 0; i < SCANS_KEPT; i++)
        arena_free(k->arenas[i]);
    buf_free(&k->scratch);
    free(k);
}

static void kept_init(void)
{
    pthread_key_create(&kept_key, kept_free);
}

static struct kept *kept_get(void)
{
    if (!kept) {
        pthread_once(&kept_once, kept_init);
        kept = calloc(1, sizeof *kept);
        if (!kept)
            abort();                    /* a few hundred bytes a thread, at its first text */
        pthread_setspecific(kept_key, kept);
    }
    return kept;
}

/* Room for the results of s in place i; kept from scan to scan while the scanner stays. */
static struct scan *kept_place(struct kept *k, unsigned i, const struct scanner *s)
{
    struct scan *r = &k->scans[i];
    if (r->serial != s->serial) {
        arena_free(k->arenas[i]);
        k->arenas[i] = arena_new();
        if (!k->arenas[i])
            abort();
        *r = (struct scan){ .serial = s->serial, .scanner = s };
        r->bits = ARENA_ARRAY(k->arenas[i], uint64_t, s->n_features / 64 + 1);
        r->counters = ARENA_ARRAY(k->arenas[i], struct counter, s->n_counters);
        r->set_bits = ARENA_ARRAY(k->arenas[i], uint64_t, s->n_open / 64 + 1);
        return r;
    }
    memset(r->bits, 0, (s->n_features / 64 + 1) * sizeof *r->bits);
    memset(r->counters, 0, s->n_counters * sizeof *r->counters);
    return r;
}

const struct scan *scan_text(const struct scanner *s, str text)
{
    assert(s->automaton);
    struct kept *k = kept_get();
    uint64_t hash = hash_str(text);
    for (unsigned i = 0; i < SCANS_KEPT; i++) {
        struct scan *r = &k->scans[i];
        if (r->serial == s->serial && r->hash == hash && r->len == text.len) {
            k->turn = (i + 1) % SCANS_KEPT;
            return r;
        }
    }
    struct scan *r = kept_place(k, k->turn, s);
    k->turn = (k->turn + 1) % SCANS_KEPT;
    r->hash = hash;
    r->len = text.len;
    struct pass pass = { r, text };
    automaton_scan(s->automaton, text, &k->scratch, needle_hit, &pass);
    for (size_t i = 0; i < s->n_always; i++)
        bit_set(r, s->always[i]);
    patterns_run(r, text);
    return r;
}

bool scan_has(const struct scan *r, uint32_t feature)
{
    return r->bits[feature >> 6] >> (feature & 63) & 1;
}

const uint64_t *scan_bits(const struct scan *r)
{
    return r->bits;
}

uint64_t scan_count(const struct scan *r, uint32_t feature, str text)
{
    const struct feature *f = &r->scanner->features[feature];
    if (!scan_has(r, feature))
        return 0;
    if (f->answer == ANSWER_REGEX)
        return regex_count(f->regex, text);
    return f->counter == NO_COUNTER ? 1 : r->counters[f->counter].count;
}
