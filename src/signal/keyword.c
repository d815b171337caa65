/* signal/keyword.c -- words and patterns in the text (spec 2.4.1).
 *
 * Literal keywords and patterns of all rules are features of the scanner: a rule is a choice of
 * bits of its result. Rules that compare loosely (bm25, ngram, fuzzy) have a unit a method,
 * which is run later because it costs more; they are in keyword_bm25.c, keyword_ngram.c and
 * keyword_fuzzy.c. */
#include "signal/keyword.h"

#include "base/utf8.h"
#include "signal/scanner.h"

static const char *const operators[] = { "AND", "OR", "NOR", NULL };
static const char *const methods[] = { "", "regex", "bm25", "ngram", NULL };

static const struct field keyword_table[] = {
    F(FIELD_ENUM, struct keyword_conf, op, "operator", NULL,
      "AND: all keywords hit; OR: any; NOR: none", .names = operators, .flags = FIELD_REQUIRED),
    F(FIELD_STRINGS, struct keyword_conf, keywords, "keywords", NULL,
      "words, or patterns with method regex", .flags = FIELD_REQUIRED),
    F(FIELD_BOOL, struct keyword_conf, case_sensitive, "case_sensitive", "false",
      "whether capital letters count"),
    F(FIELD_ENUM, struct keyword_conf, method, "method", "",
      "empty: as written; regex: RE2 patterns; bm25, ngram: alike enough", .names = methods),
    F(FIELD_BOOL, struct keyword_conf, fuzzy_match, "fuzzy_match", "false",
      "also accept words at a small edit distance; not with bm25 and ngram"),
    F(FIELD_INT, struct keyword_conf, fuzzy_threshold, "fuzzy_threshold", "0",
      "most letters to change; 0: 2", .min = 0, .max = 1000),
    F(FIELD_FLOAT, struct keyword_conf, bm25_threshold, "bm25_threshold", "0.1",
      "lowest BM25 score of a hit", .min = 0, .max = 1e9),
    F(FIELD_FLOAT, struct keyword_conf, ngram_threshold, "ngram_threshold", "0.4",
      "lowest similarity of a hit", .min = 0, .max = 1),
    F(FIELD_INT, struct keyword_conf, ngram_arity, "ngram_arity", "3",
      "letters of an n-gram, at least 2", .min = 0, .max = 16),
    F(FIELD_STR, struct keyword_conf, description, "description", NULL, "for people",
      .flags = FIELD_EXTENSION),
};

/* ---- rules as bits of a scan ---- */

enum op { OP_AND, OP_OR, OP_NOR };

struct mask { uint32_t word; uint64_t bits; };
struct term { uint32_t bit; str keyword; };     /* bit: feature, or keyword number in a group */

struct rule_code {
    uint32_t slot;
    enum op op;
    struct mask *masks; size_t n_masks;
    struct term *terms; size_t n_terms;
};

enum method { METHOD_SCAN, METHOD_FUZZY, METHOD_BM25, METHOD_NGRAM, METHOD_N };

struct group {                                  /* the rules of one method: one unit */
    const struct scanner *scanner;
    struct rule_code *rules; size_t n;
    uint32_t n_keywords;
    const void *model;                          /* struct bm25, ngram, fuzzy */
};

static bool rule_matches(const struct rule_code *r, const uint64_t *bits)
{
    bool any = false, all = true;
    for (size_t i = 0; i < r->n_masks; i++) {
        uint64_t found = bits[r->masks[i].word] & r->masks[i].bits;
        any |= found != 0;
        all &= found == r->masks[i].bits;
    }
    return r->op == OP_AND ? all : r->op == OP_OR ? any : !any;
}

/* What hit, for people. One keyword costs no memory; several are joined in the request's arena. */
static str rule_detail(const struct rule_code *r, const uint64_t *bits, const char *suffix,
                       struct arena *request)
{
    str first = { 0 };
    size_t n = 0, bytes = 0;
    for (size_t i = 0; i < r->n_terms; i++) {
        uint32_t bit = r->terms[i].bit;
        if (bits[bit >> 6] >> (bit & 63) & 1) {
            if (n++ == 0)
                first = r->terms[i].keyword;
            bytes += r->terms[i].keyword.len + strlen(suffix) + 2;
        }
    }
    if (n == 0 || (n == 1 && !*suffix))
        return first;
    char *out = arena_alloc(request, bytes);
    size_t len = 0;
    for (size_t i = 0; i < r->n_terms; i++) {
        uint32_t bit = r->terms[i].bit;
        if (!(bits[bit >> 6] >> (bit & 63) & 1))
            continue;
        if (len) {
            memcpy(out + len, ", ", 2);
            len += 2;
        }
        memcpy(out + len, r->terms[i].keyword.ptr, r->terms[i].keyword.len);
        len += r->terms[i].keyword.len;
        memcpy(out + len, suffix, strlen(suffix));
        len += strlen(suffix);
    }
    return (str){ out, len };
}

static void group_say(const struct group *g, const uint64_t *bits, const char *suffix,
                      struct arena *request, struct sigset *out)
{
    for (size_t i = 0; i < g->n; i++) {
        const struct rule_code *r = &g->rules[i];
        bool matched = rule_matches(r, bits);
        sig_set(out, r->slot, matched);
        if (matched)
            out->detail[r->slot] = rule_detail(r, bits, suffix, request);
    }
}

static void scan_run(const void *state, const struct facts *f, const uint64_t *wanted,
                     struct arena *request, struct sigset *out)
{
    (void)wanted;
    const struct group *g = state;
    group_say(g, scan_bits(scan_text(g->scanner, f->evaluation_text)), "", request, out);
}

static struct keyword_hits hits_new(const struct group *g, struct arena *request)
{
    return (struct keyword_hits){ ARENA_ARRAY(request, uint64_t, g->n_keywords / 64 + 1) };
}

static void bm25_run(const void *state, const struct facts *f, const uint64_t *wanted,
                     struct arena *request, struct sigset *out)
{
    (void)wanted;
    const struct group *g = state;
    struct keyword_hits hits = hits_new(g, request);
    bm25_hits(g->model, f->evaluation_text, request, &hits);
    group_say(g, hits.bits, "", request, out);
}

static void ngram_run(const void *state, const struct facts *f, const uint64_t *wanted,
                      struct arena *request, struct sigset *out)
{
    (void)wanted;
    const struct group *g = state;
    struct keyword_hits hits = hits_new(g, request);
    ngram_hits(g->model, f->evaluation_text, request, &hits);
    group_say(g, hits.bits, "", request, out);
}

/* A fuzzy keyword hits exactly, by the scanner, or nearly, by distance. Terms hold the features;
 * masks hold keyword numbers. */
struct fuzzy_group { struct group group; uint32_t *features; };

static void fuzzy_run(const void *state, const struct facts *f, const uint64_t *wanted,
                      struct arena *request, struct sigset *out)
{
    (void)wanted;
    const struct fuzzy_group *g = state;
    struct keyword_hits near = hits_new(&g->group, request), hits = hits_new(&g->group, request);
    const struct scan *scan = scan_text(g->group.scanner, f->evaluation_text);
    fuzzy_hits(g->group.model, f->evaluation_text, request, &near);
    for (uint32_t k = 0; k < g->group.n_keywords; k++) {
        if (scan_has(scan, g->features[k]))
            hit_set(&hits, k);
        else if (hit_is(&near, k))
            hit_set(&hits, k);
    }
    group_say(&g->group, hits.bits, "", request, out);
    for (size_t i = 0; i < g->group.n; i++) {
        const struct rule_code *r = &g->group.rules[i];
        bool is_exact = false;
        for (size_t k = 0; k < r->n_terms; k++)
            is_exact |= scan_has(scan, g->features[r->terms[k].bit]);
        if (sig_yes(out, r->slot) && !is_exact)
            out->detail[r->slot] = rule_detail(r, hits.bits, " (fuzzy)", request);
    }
}

/* ---- how rules become bits ---- */

/* A literal keyword is a word if it has a letter, digit or underscore and nothing of Han script;
 * else it may be anywhere. RE2's \b knows only ASCII: "é" at an edge never is one. */
static bool keyword_is_word(str keyword)
{
    bool is_word = false;
    for (size_t at = 0; at < keyword.len;) {
        uint32_t code = utf8_next(keyword, &at);
        if (utf8_is_han(code))
            return false;
        is_word |= code == '_' || utf8_is_alnum(code);
    }
    return is_word;
}

static bool is_ascii_word(unsigned char byte)
{
    return byte == '_' || (byte < 0x80 && utf8_ascii_alnum(byte));
}

static void keyword_check(const struct signal_rule *rule, const struct profile *p,
                          struct findings *out)
{
    (void)p;
    const struct keyword_conf *c = rule->conf;
    if (c->keywords.n == 0)
        rule_finding(rule, out, "no-keywords", SEVERITY_WARNING, S("add keywords"),
                     "keyword rule has no keywords");
    if (c->fuzzy_match && c->fuzzy_threshold > 8)
        rule_finding(rule, out, "wide-fuzzy-threshold", SEVERITY_WARNING,
                     S("it is a number of letters, not a percentage; 2 is usual"),
                     "fuzzy_threshold %lld lets nearly every word hit",
                     (long long)c->fuzzy_threshold);
    if (c->fuzzy_match && (str_eq(c->method, S("bm25")) || str_eq(c->method, S("ngram"))))
        rule_finding(rule, out, "no-effect", SEVERITY_WARNING, S("remove fuzzy_match"),
                     "fuzzy_match has no effect with method " STR_FMT, STR_ARG(c->method));
    for (size_t i = 0; c->method.len == 0 && i < c->keywords.n; i++) {
        str k = c->keywords.items[i];
        if (keyword_is_word(k) && (!is_ascii_word((unsigned char)k.ptr[0])
                                   || !is_ascii_word((unsigned char)k.ptr[k.len - 1])))
            rule_finding(rule, out, "unreachable-literal", SEVERITY_WARNING,
                         S("use method: regex, which adds no word boundaries"),
                         "\"" STR_FMT "\" must touch an ASCII letter or digit outside, because "
                         "word boundaries are ASCII", STR_ARG(k));
    }
}

static uint32_t keyword_feature(struct signal_build *b, const struct signal_rule *rule,
                                const struct keyword_conf *c, str keyword)
{
    if (!str_eq(c->method, S("regex")))
        return scanner_word(b->scanner, keyword,
                            keyword_is_word(keyword) ? SCAN_WORD : SCAN_ANYWHERE,
                            !c->case_sensitive);
    struct err e = { 0 };
    uint32_t feature = scanner_pattern(b->scanner, keyword, !c->case_sensitive, &e);
    if (feature == SCAN_NONE)
        rule_finding(rule, b->findings, "bad-pattern", SEVERITY_ERROR, S("patterns are RE2"),
                     "%s", e.text);
    return feature;
}

static void term_add(struct arena *a, struct rule_code *r, uint32_t bit, str keyword)
{
    r->terms[r->n_terms++] = (struct term){ bit, keyword };
    for (size_t i = 0; i < r->n_masks; i++) {
        if (r->masks[i].word == bit >> 6) {
            r->masks[i].bits |= 1ull << (bit & 63);
            return;
        }
    }
    *PUSH(a, r->masks, r->n_masks) = (struct mask){ bit >> 6, 1ull << (bit & 63) };
}

static enum method method_of(const struct keyword_conf *c)
{
    if (str_eq(c->method, S("bm25")))
        return METHOD_BM25;
    if (str_eq(c->method, S("ngram")))
        return METHOD_NGRAM;
    return c->fuzzy_match ? METHOD_FUZZY : METHOD_SCAN;
}

static const struct {
    uint32_t cost_ns;
    bool needs_scan;
    void (*run)(const void *state, const struct facts *f, const uint64_t *wanted,
                struct arena *request, struct sigset *out);
} method_table[METHOD_N] = {
    [METHOD_SCAN]  = { 100, true, scan_run },
    [METHOD_BM25]  = { 27000, false, bm25_run },
    [METHOD_NGRAM] = { 25000, false, ngram_run },
    [METHOD_FUZZY] = { 10000, true, fuzzy_run },
};

static const void *method_model(enum method method, struct arena *a,
                                const struct keyword_rule *rules, size_t n)
{
    switch (method) {
    case METHOD_BM25:  return bm25_new(a, rules, n);
    case METHOD_NGRAM: return ngram_new(a, rules, n);
    case METHOD_FUZZY: return fuzzy_new(a, rules, n);
    default:           return NULL;
    }
}

static void group_make(struct signal_build *b, enum method method,
                       const struct signal_rule *const *rules, size_t n)
{
    struct fuzzy_group *g = ARENA_NEW(b->a, struct fuzzy_group);
    struct signal_unit *u = policy_unit(b->policy, S("keyword"), method_table[method].cost_ns);
    struct keyword_rule *conf = ARENA_ARRAY(b->a, struct keyword_rule, n);
    size_t n_features = 0;
    g->group.scanner = b->scanner;
    g->group.rules = ARENA_ARRAY(b->a, struct rule_code, n);
    for (size_t i = 0; i < n; i++) {
        const struct keyword_conf *c = rules[i]->conf;
        struct rule_code *r = &g->group.rules[g->group.n];
        conf[g->group.n++] = (struct keyword_rule){ c, g->group.n_keywords };
        r->slot = rule_slot(b, u, S("keyword"), rules[i]->name);
        r->op = str_eq(c->op, S("AND")) ? OP_AND : str_eq(c->op, S("OR")) ? OP_OR : OP_NOR;
        r->terms = ARENA_ARRAY(b->a, struct term, c->keywords.n);
        for (size_t k = 0; k < c->keywords.n; k++) {
            str keyword = c->keywords.items[k];
            uint32_t bit = g->group.n_keywords++;
            if (method == METHOD_SCAN || method == METHOD_FUZZY) {
                uint32_t feature = keyword_feature(b, rules[i], c, keyword);
                if (feature == SCAN_NONE)
                    feature = 0;                /* the policy is refused anyway */
                *PUSH(b->a, g->features, n_features) = feature;
                bit = method == METHOD_SCAN ? feature : bit;
            }
            term_add(b->a, r, bit, keyword);
        }
    }
    g->group.model = method_model(method, b->a, conf, n);
    if (method_table[method].needs_scan)
        rule_scans(u, b->scanner);
    u->state = g;                               /* starts with its struct group */
    u->run = method_table[method].run;
}

static void keyword_make(struct signal_build *b, const struct signal_rule *const *rules, size_t n)
{
    const struct signal_rule **some = ARENA_ARRAY(b->a, const struct signal_rule *, n);
    for (enum method m = 0; m < METHOD_N; m++) {
        size_t n_some = 0;
        for (size_t i = 0; i < n; i++) {
            if (method_of(rules[i]->conf) == m)
                some[n_some++] = rules[i];
        }
        if (n_some)
            group_make(b, m, some, n_some);
    }
}

const struct signal_ops signal_keyword = {
    .type = "keyword",
    .collection = "keywords",
    .response_key = "keywords",
    .header = "x-vsr-matched-keywords",
    .fields = FIELDS(struct keyword_conf, keyword_table),
    .check = keyword_check,
    .make = keyword_make,
};
