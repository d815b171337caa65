/* neural/tokenizer_normalizer.c -- the normalisers of tokenizer.json.
 *
 * Most of them ask of each character what becomes of it, so they are one loop with options (rewrite_characters), and
 * BertNormalizer is four of the options together. Only Unicode's normalisation forms look at neighbours. For them the loop
 * collects characters up to one that nothing before it can act on, and decomposes, orders and composes that stretch.
 *
 * `tokenizers` derives the place of a character from a count of changes: a new character says whether it was inserted (1: it
 * belongs where the one before came from), stands for the next old one (0), or for that and k more (-k). Order and composition
 * move the characters together with their counts, which is not always where one would look for them; to be identical, we count
 * along. */
#include <stdlib.h>

#include "neural/tokenizer_parts.h"

enum { ASCII_GONE = 0x80, GRAPHEME_BYTES = 6 };

/* ---- characters ---- */

static void put_rune(const struct step *s, struct work *w, uint32_t code, struct span span)
{
    if (s->flags[code] & s->drop)
        return;
    text_put(&w->out, s->lowers ? unicode_lower(code) : code, span);
    if (s->lowers && code == 0x130)
        text_put(&w->out, 0x307, span);
}

static void add_rune(struct work *w, uint32_t code, int32_t change)
{
    w->runes = work_room(w, w->runes, &w->cap_runes, w->n_runes + 1, sizeof *w->runes);
    if (!w->runes) {
        w->n_runes = w->cap_runes = 0;
        return;
    }
    w->runes[w->n_runes] = (struct rune){ code, change, unicode_class(code), (uint32_t)w->n_runes };
    w->n_runes++;
}

static int rune_order(const void *x, const void *y)
{
    const struct rune *a = x, *b = y;
    return a->class != b->class ? (a->class < b->class ? -1 : 1) : a->order < b->order ? -1 : a->order > b->order;
}

/* Canonical ordering: stretches of marks, by class. */
static void runes_order(struct rune *runes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t end = i;
        while (end < n && runes[end].class)
            end++;
        if (end - i > 1)
            qsort(runes + i, end - i, sizeof *runes, rune_order);
        if (end > i)
            i = end - 1;
    }
}

/* Canonical composition, in place; what remains. A composed character changes by the sum of its parts, less the one that is
 * gone. */
static size_t runes_compose(struct rune *runes, size_t n)
{
    size_t kept = 0, starter = SIZE_MAX;
    for (size_t i = 0; i < n; i++) {
        struct rune one = runes[i];
        if (starter != SIZE_MAX) {
            bool is_blocked = kept > starter + 1 && runes[kept - 1].class >= one.class;
            uint32_t composed = is_blocked ? 0 : unicode_compose(runes[starter].code, one.code);
            if (composed) {
                runes[starter].code = composed;
                runes[starter].change += one.change - 1;
                continue;
            }
        }
        if (one.class == 0)
            starter = kept;
        runes[kept++] = one;
    }
    return kept;
}

/* What has been collected goes out. */
static void sources_flush(const struct step *s, struct work *w)
{
    size_t n_sources = w->n_sources;
    w->n_sources = w->n_runes = 0;
    bool is_compatible = s->form == FORM_NFKD || s->form == FORM_NFKC;
    for (size_t i = 0; i < n_sources; i++) {
        uint32_t codes[DECOMPOSED_MAX];
        size_t n = unicode_decompose(w->sources[i].code, is_compatible, codes);
        for (size_t k = 0; k < n; k++)
            add_rune(w, codes[k], k > 0);
    }
    if (w->is_failed)
        return;
    runes_order(w->runes, w->n_runes);
    size_t n = w->n_runes, at = 0;
    if (s->form == FORM_NFC || s->form == FORM_NFKC)
        n = runes_compose(w->runes, n);
    for (size_t i = 0; i < n; i++) {
        struct rune *one = w->runes + i;
        size_t from = one->change > 0 && at > 0 ? at - 1 : at;
        put_rune(s, w, one->code, w->sources[from < n_sources ? from : n_sources - 1].span);
        if (one->change <= 0)
            at += 1 + (size_t)-one->change;
    }
}

/* One character on its way to the forms. */
static void put_source(const struct step *s, struct work *w, uint32_t code, struct span span)
{
    if (s->form == FORM_NONE) {
        put_rune(s, w, code, span);
        return;
    }
    bool acts = s->form >= FORM_NFKD ? code >= 0xA0 : s->flags[code] & CODE_CHANGES;
    if (!acts && w->n_sources)
        sources_flush(s, w);
    w->sources = work_room(w, w->sources, &w->cap_sources, w->n_sources + 1, sizeof *w->sources);
    if (!w->sources) {
        w->n_sources = w->cap_sources = 0;
        return;
    }
    w->sources[w->n_sources++] = (struct source){ code, span };
}

static uint32_t nmt_code(uint32_t code)             /* CODE_END: gone */
{
    if ((code >= 1 && code <= 8) || code == 0xB || (code >= 0xE && code <= 0x1F) || code == 0x7F || code == 0x8F || code == 0x9F)
        return CODE_END;
    switch (code) {
    case 0x9: case 0xA: case 0xC: case 0xD: case 0x1680: case 0x200B: case 0x200C: case 0x200D: case 0x200E: case 0x200F:
    case 0x2028: case 0x2029: case 0x2581: case 0xFEFF: case 0xFFFD:
        return ' ';
    default:
        return code;
    }
}

static void rewrite_characters(const struct step *s, struct work *w, const struct split *in)
{
    const struct span *spans = w->text.spans;
    str text = { w->text.bytes, in->to };
    bool composes = s->form == FORM_NFC || s->form == FORM_NFKC;
    text_reserve(&w->out, in->to - in->from);
    for (size_t at = in->from; at < in->to && !w->is_failed && !w->out.is_failed;) {
        unsigned char byte = (unsigned char)text.ptr[at];
        /* ASCII alone: nothing acts on it but a mark behind it, when composing */
        if (byte < 0x80 && (!composes || at + 1 == in->to || (unsigned char)text.ptr[at + 1] < 0x80) && w->out.n < w->out.cap) {
            if (w->n_sources)
                sources_flush(s, w);
            if (s->ascii[byte] != ASCII_GONE && w->out.n < w->out.cap) {
                w->out.bytes[w->out.n] = (char)s->ascii[byte];
                w->out.spans[w->out.n++] = spans[at];
            }
            at++;
            continue;
        }
        struct span span = spans[at];
        uint32_t code = utf8_next(text, &at);
        uint8_t flags = s->flags[code];
        if (s->cleans) {
            if (flags & CODE_CONTROL)
                continue;
            if (flags & CODE_SPACE)
                code = ' ';
        }
        if (s->cleans_nmt && (code = nmt_code(code)) == CODE_END)
            continue;
        bool is_spaced = s->spaces_chinese && flags & CODE_CHINESE;
        if (is_spaced)
            put_source(s, w, ' ', span);
        put_source(s, w, code, span);
        if (is_spaced)
            put_source(s, w, ' ', span);
    }
    if (w->n_sources)
        sources_flush(s, w);
}

/* What the loop above does to one ASCII character. */
static void ascii_fill(struct step *s)
{
    for (uint32_t code = 0; code < 0x80; code++) {
        uint8_t flags = s->flags[code];
        uint32_t to = s->cleans && flags & CODE_SPACE ? ' ' : s->cleans_nmt ? nmt_code(code) : code;
        if ((s->cleans && flags & CODE_CONTROL) || to == CODE_END || flags & s->drop)
            to = ASCII_GONE;
        s->ascii[code] = (uint8_t)(s->lowers ? unicode_lower(to) : to);
    }
}

/* ---- Strip ---- */

static void rewrite_strip(const struct step *s, struct work *w, const struct split *in)
{
    const uint8_t *flags = s->flags;
    size_t from = in->from, to = in->to;
    while (s->left && from < to) {
        size_t at = from;
        if (!(flags[utf8_next((str){ w->text.bytes, to }, &at)] & CODE_SPACE))
            break;
        from = at;
    }
    while (s->right && from < to) {
        size_t at = to - 1;
        while (at > from && ((unsigned char)w->text.bytes[at] & 0xC0) == 0x80)
            at--;
        size_t behind = at;
        if (!(flags[utf8_next((str){ w->text.bytes, to }, &behind)] & CODE_SPACE))
            break;
        to = at;
    }
    text_add(&w->out, w->text.bytes + from, w->text.spans + from, to - from);
}

/* ---- Precompiled: SentencePiece's map from texts to texts, a double array over bytes ---- */

static uint32_t unit_at(const struct step *s, uint32_t i)           /* an index out of bounds finds a unit that fits nothing */
{
    if (i >= s->n_units)
        return 0x80000000u;
    const unsigned char *p = (const unsigned char *)s->units + 4 * (size_t)i;
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t unit_offset(uint32_t unit)
{
    return (unit >> 10) << ((unit & 1u << 9) >> 6);
}

/* What the *shortest* prefix of `text` that the map knows becomes: so does the library that is our standard. */
static bool precompiled_find(const struct step *s, str text, str *out)
{
    uint32_t at = unit_offset(unit_at(s, 0));
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.ptr[i];
        if (byte == 0)
            return false;
        at ^= byte;
        uint32_t unit = unit_at(s, at);
        if ((unit & (0x80000000u | 0xFF)) != byte)
            return false;
        at ^= unit_offset(unit);
        if (unit >> 8 & 1) {
            size_t from = unit_at(s, at) & 0x7FFFFFFFu;
            if (from > s->replacements.len)
                return false;
            *out = str_from(s->replacements, from);
            out->len = strnlen(out->ptr, out->len);
            return true;
        }
    }
    return false;
}

/* The changes counted as the head of the file says. The last character is held back, since what is dropped behind it counts
 * there. */
struct counting { uint32_t code; int32_t change; bool is_held; size_t at; };

static void counting_flush(struct work *w, const struct split *in, struct counting *c)
{
    if (!c->is_held)
        return;
    c->is_held = false;
    str text = { w->text.bytes, in->to };
    size_t from = c->change > 0 ? c->at - 1 : c->at;
    bool is_before_all = c->change > 0 && c->at == in->from;
    struct span span = { in->origin, in->origin };
    text_put(&w->out, c->code, is_before_all ? span : w->text.spans[from < in->to ? from : in->to - 1]);
    for (int32_t i = c->change; i <= 0 && c->at < in->to; i++)
        utf8_next(text, &c->at);
}

static void counting_put(struct work *w, const struct split *in, struct counting *c, str old, str new)
{
    size_t n_old = utf8_count(old), n_new = utf8_count(new), i = 0;
    for (size_t at = 0; at < new.len; i++) {
        counting_flush(w, in, c);
        c->code = utf8_next(new, &at);
        c->change = i >= n_old;
        c->is_held = true;
    }
    if (n_new < n_old && c->is_held)
        c->change -= (int32_t)(n_old - n_new);
}

static void rewrite_precompiled(const struct step *s, struct work *w, const struct split *in)
{
    str text = { w->text.bytes + in->from, in->to - in->from }, new;
    struct counting counting = { .at = in->from };
    for (size_t at = 0; at < text.len;) {
        size_t end = unicode_grapheme(text, at);
        str whole = { text.ptr + at, end - at };
        if (whole.len < GRAPHEME_BYTES && precompiled_find(s, whole, &new)) {
            counting_put(w, in, &counting, whole, new);
            at = end;
        }
        while (at < end) {
            size_t from = at;
            utf8_next(text, &at);
            str one = { text.ptr + from, at - from };
            counting_put(w, in, &counting, one, precompiled_find(s, one, &new) ? new : one);
        }
    }
    counting_flush(w, in, &counting);
}

/* Base64 with or without padding; -1: not that. */
static long base64_decode(str text, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    long n = 0;
    while (text.len && text.ptr[text.len - 1] == '=')
        text.len--;
    for (size_t i = 0; i < text.len; i++) {
        const char *digit = text.ptr[i] ? strchr(digits, text.ptr[i]) : NULL;
        if (!digit)
            return -1;
        bits = bits << 6 | (uint32_t)(digit - digits);
        if (i % 4)
            out[n++] = (char)(bits >> (6 - 2 * (i % 4)));
    }
    return n;
}

static int precompiled_parse(const struct place_in_file *f, jref node, str where, struct step *s)
{
    str text = json_str(f->j, json_get(f->j, node, S("precompiled_charsmap")), f->a);
    char *bytes = arena_try(f->a, text.len + 1);
    if (!bytes)
        return part_error(f, where, "no memory");
    long n = base64_decode(text, bytes);
    if (n < 4)
        return part_error(f, where, "precompiled_charsmap: expected base64 of a character map");
    const unsigned char *size = (const unsigned char *)bytes;
    size_t n_trie = (size_t)size[0] | (size_t)size[1] << 8 | (size_t)size[2] << 16 | (size_t)size[3] << 24;
    if (n_trie > (size_t)n - 4)
        return part_error(f, where, "precompiled_charsmap: says that its trie has %zu bytes, but has %ld in all", n_trie, n);
    s->units = bytes + 4;
    s->n_units = (uint32_t)(n_trie / 4);
    s->replacements = (str){ bytes + 4 + n_trie, (size_t)n - 4 - n_trie };
    if (!utf8_is_valid(s->replacements))
        return part_error(f, where, "precompiled_charsmap: its texts are not UTF-8");
    return 0;
}

/* ---- reading ---- */

static int bert_parse(const struct place_in_file *f, jref node, str where, struct step *s)
{
    (void)where;
    s->cleans = part_bool(f, node, S("clean_text"), true);
    s->spaces_chinese = part_bool(f, node, S("handle_chinese_chars"), true);
    s->lowers = part_bool(f, node, S("lowercase"), true);
    if (part_bool(f, node, S("strip_accents"), s->lowers)) {
        s->form = FORM_NFD;
        s->drop = CODE_NONSPACING;
    }
    return 0;
}

static int replace_parse(const struct place_in_file *f, jref node, str where, struct step *s)
{
    s->content = part_str(f, node, S("content"));
    return step_pattern(f, json_get(f->j, node, S("pattern")), where, s);
}

static int strip_parse(const struct place_in_file *f, jref node, str where, struct step *s)
{
    (void)where;
    s->left = part_bool(f, node, S("strip_left"), true);
    s->right = part_bool(f, node, S("strip_right"), true);
    return 0;
}

static int prepend_parse(const struct place_in_file *f, jref node, str where, struct step *s)
{
    (void)where;
    s->content = part_str(f, node, S("prepend"));
    return 0;
}

static const struct {
    const char *type;
    struct step step;
    int (*parse)(const struct place_in_file *f, jref node, str where, struct step *s);
} normalizers[] = {
    { "BertNormalizer", { .rewrite = rewrite_characters }, bert_parse },
    { "NFC", { .rewrite = rewrite_characters, .form = FORM_NFC }, NULL },
    { "NFD", { .rewrite = rewrite_characters, .form = FORM_NFD }, NULL },
    { "NFKC", { .rewrite = rewrite_characters, .form = FORM_NFKC }, NULL },
    { "NFKD", { .rewrite = rewrite_characters, .form = FORM_NFKD }, NULL },
    { "Lowercase", { .rewrite = rewrite_characters, .lowers = true }, NULL },
    { "StripAccents", { .rewrite = rewrite_characters, .drop = CODE_COMBINING }, NULL },
    { "Nmt", { .rewrite = rewrite_characters, .cleans_nmt = true }, NULL },
    { "Strip", { .rewrite = rewrite_strip }, strip_parse },
    { "Replace", { .rewrite = rewrite_replace }, replace_parse },
    { "Prepend", { .rewrite = rewrite_prepend, .when = PREPEND_ALWAYS }, prepend_parse },
    { "Precompiled", { .rewrite = rewrite_precompiled }, precompiled_parse },
    { "ByteLevel", { .rewrite = rewrite_bytes }, NULL },
};

int normalizer_parse(const struct place_in_file *f, jref node, str where, struct steps *out, unsigned depth)
{
    const struct json *j = f->j;
    if (!json_is(j, node, JSON_OBJECT))
        return part_error(f, where, "expected an object");
    str type = part_str(f, node, S("type"));
    if (str_eq(type, S("Sequence"))) {
        jref list = json_get(j, node, S("normalizers"));
        if (!json_is(j, list, JSON_ARRAY) || depth == PARTS_DEPTH_MAX)
            return part_error(f, where, "expected an array of normalizers, in at most %d Sequences", PARTS_DEPTH_MAX);
        size_t i = 0;
        JSON_EACH_ITEM(j, list, item) {
            str place = arena_printf(f->a, STR_FMT ".normalizers[%zu]", STR_ARG(where), i++);
            if (normalizer_parse(f, item, place, out, depth + 1) < 0)
                return -1;
        }
        return 0;
    }
    for (size_t i = 0; i < COUNT_OF(normalizers); i++) {
        if (!str_eq(type, str_of(normalizers[i].type)))
            continue;
        struct step *s = PUSH(f->a, out->items, out->n);
        *s = normalizers[i].step;
        s->flags = unicode_flags();
        if (normalizers[i].parse && normalizers[i].parse(f, node, where, s) < 0)
            return -1;
        ascii_fill(s);
        return 0;
    }
    return part_error(f, where, "normalizer type \"" STR_FMT "\" is not known", STR_ARG(type));
}
