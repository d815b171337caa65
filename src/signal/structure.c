/* signal/structure.c -- countable properties of the text: matches of a pattern, words of a set,
 * markers in sequence, bytes (spec 2.4.10).
 *
 * Every rule has a value, which is stored whether it matches or not; the predicate, or "more
 * than 0" without one, makes it a match. */
#include "signal/rule.h"

#include <math.h>

#include "base/utf8.h"
#include "signal/scanner.h"

struct structure_source {
    str type, pattern;
    struct strings keywords;
    const struct value *sequences;      /* list of lists of markers */
    bool case_sensitive;
};
struct structure_feature { str type; struct structure_source source; };
struct structure_conf {
    str description;
    struct structure_feature feature;
    struct predicate_conf predicate;
    uint64_t set;
};

enum { KEY_PREDICATE = 1 };

static const char *const types[] = { "exists", "count", "density", "sequence", NULL };
static const char *const sources[] = { "regex", "keyword_set", "sequence", "text_bytes", NULL };

static const struct field source_table[] = {
    F(FIELD_ENUM, struct structure_source, type, "type", NULL, "what is looked for",
      .names = sources, .flags = FIELD_REQUIRED),
    F(FIELD_STR, struct structure_source, pattern, "pattern", NULL, "RE2 pattern, for type regex"),
    F(FIELD_STRINGS, struct structure_source, keywords, "keywords", NULL,
      "words, for type keyword_set"),
    F(FIELD_VALUE, struct structure_source, sequences, "sequences", NULL,
      "lists of two or more markers that follow each other, for type sequence"),
    F(FIELD_BOOL, struct structure_source, case_sensitive, "case_sensitive", "false",
      "whether capital letters count"),
};
static const struct fields source_fields = FIELDS(struct structure_source, source_table);

static const struct field feature_table[] = {
    F(FIELD_ENUM, struct structure_feature, type, "type", NULL,
      "exists, count, density (per word or CJK character) or sequence", .names = types,
      .flags = FIELD_REQUIRED),
    F(FIELD_STRUCT, struct structure_feature, source, "source", NULL, "what is looked for",
      .sub = &source_fields),
};
static const struct fields feature_fields = FIELDS(struct structure_feature, feature_table);

static const struct field structure_table[] = {
    F(FIELD_STRUCT, struct structure_conf, feature, "feature", NULL, "what is measured",
      .sub = &feature_fields),
    [KEY_PREDICATE] = F(FIELD_STRUCT, struct structure_conf, predicate, "predicate", NULL,
        "what the value must be; without one: above 0", .sub = &predicate_fields),
    F(FIELD_STR, struct structure_conf, description, "description", NULL, "for people"),
    { .key = FIELD_KEY_SET, .offset = offsetof(struct structure_conf, set) },
};

enum measure { MEASURE_EXISTS, MEASURE_COUNT, MEASURE_DENSITY };

struct rule_code {
    uint32_t slot;
    enum measure measure;
    bool is_text_bytes, has_predicate;
    struct number_predicate predicate;
    uint32_t *features; size_t n_features;      /* counts are summed */
};
struct maps { const uint8_t *alnum, *cjk; };    /* of utf8.h */

struct structure {
    const struct scanner *scanner;
    bool needs_scan, needs_units;
    struct maps maps;
    struct rule_code *rules; size_t n;
};

/* ---- what may be written ---- */

static bool sequence_is_good(const struct value *markers)
{
    if (markers->kind != VALUE_LIST || markers->n_items < 2)
        return false;
    for (size_t i = 0; i < markers->n_items; i++) {
        if (markers->items[i]->kind != VALUE_SCALAR || markers->items[i]->text.len == 0)
            return false;
    }
    return true;
}

static void sequences_check(const struct structure_conf *c, const struct signal_rule *rule,
                            struct findings *out)
{
    const struct value *v = c->feature.source.sequences;
    if (!v || v->kind != VALUE_LIST || v->n_items == 0) {
        rule_finding(rule, out, "bad-sequence", SEVERITY_ERROR, S("give lists of markers"),
                     "source type sequence needs sequences");
        return;
    }
    for (size_t i = 0; i < v->n_items; i++) {
        if (!sequence_is_good(v->items[i]))
            rule_finding(rule, out, "bad-sequence", SEVERITY_ERROR, S("such as [first, then]"),
                         "sequence %zu is no list of two or more markers", i + 1);
    }
}

static void structure_check(const struct signal_rule *rule, const struct profile *p,
                            struct findings *out)
{
    (void)p;
    const struct structure_conf *c = rule->conf;
    const struct structure_source *s = &c->feature.source;
    str type = c->feature.type;
    bool is_exists = str_eq(type, S("exists")), has_predicate = c->set >> KEY_PREDICATE & 1;

    if (str_eq(s->type, S("sequence")) != str_eq(type, S("sequence")))
        rule_finding(rule, out, "bad-source", SEVERITY_ERROR,
                     S("use type sequence for both, or for neither"),
                     "feature type " STR_FMT " does not go with source type " STR_FMT,
                     STR_ARG(type), STR_ARG(s->type));
    else if (str_eq(s->type, S("sequence")))
        sequences_check(c, rule, out);
    if (str_eq(s->type, S("text_bytes")) && !str_eq(type, S("count")))
        rule_finding(rule, out, "bad-source", SEVERITY_ERROR, S("use feature type count"),
                     "source type text_bytes needs feature type count");
    if (str_eq(s->type, S("regex")) && s->pattern.len == 0)
        rule_finding(rule, out, "missing-key", SEVERITY_ERROR, S("give pattern"),
                     "source type regex needs a pattern");
    if (str_eq(s->type, S("keyword_set")) && s->keywords.n == 0)
        rule_finding(rule, out, "missing-key", SEVERITY_ERROR, S("give keywords"),
                     "source type keyword_set needs keywords");
    if (is_exists && has_predicate)
        rule_finding(rule, out, "bad-predicate", SEVERITY_ERROR, S("use type count"),
                     "feature type exists takes no predicate");
    else if (has_predicate)
        predicate_check(&c->predicate, rule, out);
}

/* ---- what is found ---- */

#define EACH(byte) (0x0101010101010101ull * (byte))

/* The top bit of each byte that is a letter or digit, eight ASCII bytes at once: adding 0x80 - x
 * to a byte below 0x80 sets its top bit iff it is x or more, and never carries. */
static uint64_t ascii_parts(uint64_t word)
{
    uint64_t lower = word | EACH(0x20);
    uint64_t letters = (lower + EACH(0x80 - 'a')) & ~(lower + EACH(0x80 - 'z' - 1));
    uint64_t digits = (word + EACH(0x80 - '0')) & ~(word + EACH(0x80 - '9' - 1));
    return (letters | digits) & EACH(0x80);
}

static bool bit_in(const uint8_t *map, uint32_t code)
{
    return map[code / 8] >> (code & 7) & 1;
}

/* The measure of density: a CJK character is a unit, any other run of letters and digits is one. */
static uint64_t structure_units(struct maps maps, str text)
{
    const unsigned char *p = (const unsigned char *)text.ptr;
    uint64_t units = 0;
    bool in_run = false;
    for (size_t at = 0; at < text.len;) {
        uint64_t word;
        if (p[at] < 0x80 && at + sizeof word <= text.len) {
            memcpy(&word, p + at, sizeof word);
            if (!(word & EACH(0x80))) {
                uint64_t parts = ascii_parts(word);
                uint64_t before = parts << 8 | (uint64_t)in_run << 7;   /* little-endian */
                units += (unsigned)__builtin_popcountll(parts & ~before);
                in_run = parts >> 63;
                at += sizeof word;
                continue;
            }
        }
        uint32_t code;
        if (p[at] - 0xC2u < 0x1E && at + 1 < text.len && (p[at + 1] & 0xC0) == 0x80) {
            code = (p[at] & 31u) << 6 | (p[at + 1] & 63u);
            at += 2;
        } else {
            code = utf8_next(text, &at);
        }
        bool is_bmp = code < 0x10000;
        bool is_cjk = is_bmp ? bit_in(maps.cjk, code) : utf8_is_cjk(code);
        bool is_part = !is_cjk && (is_bmp ? bit_in(maps.alnum, code) : utf8_is_alnum(code));
        units += is_cjk | (is_part & !in_run);
        in_run = is_part;
    }
    return units;
}

static double structure_value(const struct rule_code *r, const struct scan *scan,
                              const struct facts *f, uint64_t units)
{
    if (r->is_text_bytes)
        return (double)f->current_user_raw.len;
    uint64_t count = 0;
    for (size_t i = 0; i < r->n_features; i++) {
        if (r->measure != MEASURE_EXISTS)
            count += scan_count(scan, r->features[i], f->evaluation_text);
        else if (scan_has(scan, r->features[i]))
            return 1;
    }
    if (r->measure == MEASURE_DENSITY)
        return units ? (double)count / (double)units : 0;
    return (double)count;
}

static void structure_run(const void *state, const struct facts *f, const uint64_t *wanted,
                          struct arena *request, struct sigset *out)
{
    (void)wanted, (void)request;
    const struct structure *s = state;
    const struct scan *scan = s->needs_scan ? scan_text(s->scanner, f->evaluation_text) : NULL;
    uint64_t units = s->needs_units ? structure_units(s->maps, f->evaluation_text) : 0;
    for (size_t i = 0; i < s->n; i++) {
        const struct rule_code *r = &s->rules[i];
        double value = structure_value(r, scan, f, units);
        bool matched = r->has_predicate ? predicate_holds(&r->predicate, value) : value > 0;
        double confidence = !matched ? (double)NAN
                          : r->has_predicate ? predicate_confidence(&r->predicate, value) : 1;
        rule_says(out, r->slot, matched, confidence, value);
    }
}

/* ---- how it is compiled ---- */

static void feature_add(struct signal_build *b, struct rule_code *r, uint32_t feature)
{
    for (size_t i = 0; i < r->n_features; i++) {
        if (r->features[i] == feature)          /* a set: "json" and "JSON" count once */
            return;
    }
    *PUSH(b->a, r->features, r->n_features) = feature;
}

static bool has_cjk(str text)
{
    for (size_t at = 0; at < text.len;) {
        if (utf8_is_cjk(utf8_next(text, &at)))
            return true;
    }
    return false;
}

static void compile_pattern(struct signal_build *b, const struct signal_rule *rule,
                            const struct structure_source *s, struct rule_code *r)
{
    struct err e = { 0 };
    uint32_t feature = r->measure == MEASURE_EXISTS
        ? scanner_pattern(b->scanner, s->pattern, !s->case_sensitive, &e)
        : scanner_pattern_count(b->scanner, s->pattern, !s->case_sensitive, &e);
    if (feature == SCAN_NONE)
        rule_finding(rule, b->findings, "bad-pattern", SEVERITY_ERROR, S("patterns are RE2"),
                     "%s", e.text);
    else
        feature_add(b, r, feature);
}

static void compile_words(struct signal_build *b, const struct structure_source *s,
                          struct rule_code *r)
{
    for (size_t i = 0; i < s->keywords.n; i++) {
        str word = s->keywords.items[i];
        if (word.len == 0)
            continue;
        enum scan_bounds bounds = has_cjk(word) ? SCAN_ANYWHERE : SCAN_APART;
        feature_add(b, r, r->measure == MEASURE_EXISTS
            ? scanner_word(b->scanner, word, bounds, !s->case_sensitive)
            : scanner_word_count(b->scanner, word, bounds, !s->case_sensitive));
    }
}

static void compile_sequences(struct signal_build *b, const struct structure_source *s,
                              struct rule_code *r)
{
    const struct value *v = s->sequences;
    for (size_t i = 0; v && v->kind == VALUE_LIST && i < v->n_items; i++) {
        if (!sequence_is_good(v->items[i]))
            continue;                           /* structure_check has said so */
        str *markers = ARENA_ARRAY(b->a, str, v->items[i]->n_items);
        for (size_t k = 0; k < v->items[i]->n_items; k++)
            markers[k] = v->items[i]->items[k]->text;
        feature_add(b, r, scanner_sequence(b->scanner, markers, v->items[i]->n_items,
                                           !s->case_sensitive));
    }
}

static void structure_compile(struct signal_build *b, const struct signal_rule *rule,
                              struct rule_code *r)
{
    const struct structure_conf *c = rule->conf;
    const struct structure_source *s = &c->feature.source;
    r->has_predicate = c->set >> KEY_PREDICATE & 1;
    r->predicate = predicate_of(&c->predicate);
    r->is_text_bytes = str_eq(s->type, S("text_bytes"));
    r->measure = str_eq(c->feature.type, S("count")) ? MEASURE_COUNT
               : str_eq(c->feature.type, S("density")) ? MEASURE_DENSITY : MEASURE_EXISTS;
    if (str_eq(s->type, S("regex")))
        compile_pattern(b, rule, s, r);
    else if (str_eq(s->type, S("keyword_set")))
        compile_words(b, s, r);
    else if (str_eq(s->type, S("sequence")))
        compile_sequences(b, s, r);
}

static void structure_make(struct signal_build *b, const struct signal_rule *const *rules,
                           size_t n)
{
    struct structure *s = ARENA_NEW(b->a, struct structure);
    struct signal_unit *u = policy_unit(b->policy, S("structure"), 30);
    s->scanner = b->scanner;
    s->maps = (struct maps){ utf8_alnum_map(), utf8_cjk_map() };
    s->rules = ARENA_ARRAY(b->a, struct rule_code, n);
    for (size_t i = 0; i < n; i++) {
        struct rule_code *r = &s->rules[s->n++];
        r->slot = rule_slot(b, u, S("structure"), rules[i]->name);
        structure_compile(b, rules[i], r);
        s->needs_scan |= r->n_features > 0;
        s->needs_units |= r->measure == MEASURE_DENSITY;
    }
    if (s->needs_scan) {
        u->cost_ns = s->needs_units ? 1100 : 300;
        rule_scans(u, b->scanner);
    }
    u->state = s;
    u->run = structure_run;
}

const struct signal_ops signal_structure = {
    .type = "structure",
    .collection = "structure",
    .response_key = "structure",
    .header = "x-vsr-matched-structure",
    .fields = FIELDS(struct structure_conf, structure_table),
    .check = structure_check,
    .make = structure_make,
};
