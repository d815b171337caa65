/* neural/tokenizer_pre_tokenizer.c -- the pre-tokenisers of tokenizer.json.
 *
 * A cut walks over what matches and what lies between; what happens to either is the behaviour (struct cutter). Pre-tokenisers
 * that also change the text (ByteLevel, Metaspace) are several steps: their parts are rewrites that normalisers know too. */
#include "neural/tokenizer_parts.h"

/* ---- behaviours ---- */

struct cutter { struct work *w; const struct step *s; struct split held; bool is_held, was_match; };

static void cutter_flush(struct cutter *c)
{
    if (c->is_held && c->held.to > c->held.from) {
        c->held.origin = c->w->text.spans[c->held.from].from;
        splits_add(&c->w->cuts, c->held);
    }
    c->is_held = false;
}

/* The next piece of the split, a match or what lies between two. */
static void cutter_piece(struct cutter *c, size_t from, size_t to, bool is_match)
{
    is_match ^= c->s->is_inverted;
    bool joins = false;
    switch (c->s->behaviour) {
    case REMOVED: case ISOLATED: break;
    case CONTIGUOUS: joins = is_match == c->was_match; break;
    case MERGED_WITH_PREVIOUS: joins = is_match && !c->was_match; break;
    case MERGED_WITH_NEXT: joins = !is_match && c->was_match; break;
    }
    c->was_match = is_match;
    if (joins && c->is_held) {
        c->held.to = (uint32_t)to;
        return;
    }
    cutter_flush(c);
    c->held = (struct split){ .from = (uint32_t)from, .to = (uint32_t)to, .id = -1 };
    c->is_held = !(is_match && c->s->behaviour == REMOVED);
}

static void cut_pattern(const struct step *s, struct work *w, const struct split *in)
{
    struct cutter c = { .w = w, .s = s };
    str text = { w->text.bytes + in->from, in->to - in->from };
    struct matches matches = { 0 };
    size_t done = 0, start, end;
    while (step_match(s, text, &matches, &start, &end)) {
        if (start > done)
            cutter_piece(&c, in->from + done, in->from + start, false);
        cutter_piece(&c, in->from + start, in->from + end, true);
        done = end;
    }
    if (done < text.len)
        cutter_piece(&c, in->from + done, in->to, false);
    cutter_flush(&c);
}

static void cut_flag(const struct step *s, struct work *w, const struct split *in)
{
    struct cutter c = { .w = w, .s = s };
    str text = { w->text.bytes, in->to };
    size_t done = in->from;
    for (size_t at = in->from; at < in->to;) {
        size_t here = at;
        if (!(s->flags[utf8_next(text, &at)] & s->cut_flag))
            continue;
        if (here > done)
            cutter_piece(&c, done, here, false);
        cutter_piece(&c, here, at, true);
        done = at;
    }
    if (done < in->to)
        cutter_piece(&c, done, in->to, false);
    cutter_flush(&c);
}

/* BertPreTokenizer: white space goes, then punctuation stands alone. Both at once, as it is the path of every BERT. */
static void cut_bert(const struct step *s, struct work *w, const struct split *in)
{
    str text = { w->text.bytes, in->to };
    const struct span *spans = w->text.spans;
    size_t done = in->from;
    for (size_t at = in->from; at < in->to;) {
        size_t here = at;
        uint8_t flags = s->flags[utf8_next(text, &at)] & (CODE_SPACE | CODE_PUNCTUATION);
        if (!flags)
            continue;
        if (here > done)
            splits_add(&w->cuts, (struct split){ (uint32_t)done, (uint32_t)here, spans[done].from, -1 });
        if (!(flags & CODE_SPACE))
            splits_add(&w->cuts, (struct split){ (uint32_t)here, (uint32_t)at, spans[here].from, -1 });
        done = at;
    }
    if (done < in->to)
        splits_add(&w->cuts, (struct split){ (uint32_t)done, in->to, spans[done].from, -1 });
}

/* ---- reading ---- */

static int behaviour_parse(const struct place_in_file *f, jref node, str where, struct step *s)
{
    static const char *const names[] = {
        [REMOVED] = "Removed", [ISOLATED] = "Isolated", [CONTIGUOUS] = "Contiguous",
        [MERGED_WITH_PREVIOUS] = "MergedWithPrevious", [MERGED_WITH_NEXT] = "MergedWithNext",
    };
    str name = part_str(f, node, S("behavior"));
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (str_eq(name, str_of(names[i]))) {
            s->behaviour = (enum behaviour)i;
            return 0;
        }
    }
    return part_error(f, where, "behavior \"" STR_FMT "\" is not known", STR_ARG(name));
}

static struct step *step_add(const struct place_in_file *f, struct steps *out, struct step one)
{
    struct step *s = PUSH(f->a, out->items, out->n);
    *s = one;
    s->flags = unicode_flags();
    return s;
}

static int bert_parse(const struct place_in_file *f, jref node, str where, struct steps *out)
{
    (void)node, (void)where;
    step_add(f, out, (struct step){ .cut = cut_bert });
    return 0;
}

static int white_parse(const struct place_in_file *f, jref node, str where, struct steps *out)
{
    (void)node, (void)where;
    step_add(f, out, (struct step){ .cut = cut_flag, .cut_flag = CODE_SPACE, .behaviour = REMOVED });
    return 0;
}

static int digits_parse(const struct place_in_file *f, jref node, str where, struct steps *out)
{
    (void)where;
    step_add(f, out, (struct step){ .cut = cut_flag, .cut_flag = CODE_NUMERIC,
                                    .behaviour = part_bool(f, node, S("individual_digits"), false) ? ISOLATED : CONTIGUOUS });
    return 0;
}

static int punctuation_parse(const struct place_in_file *f, jref node, str where, struct steps *out)
{
    struct step *s = step_add(f, out, (struct step){ .cut = cut_flag, .cut_flag = CODE_PUNCTUATION, .behaviour = ISOLATED });
    return json_get(f->j, node, S("behavior")) == JSON_NONE ? 0 : behaviour_parse(f, node, where, s);
}

static int regex_add(const struct place_in_file *f, str where, struct steps *out, str source, struct step one)
{
    struct err e = { 0 };
    one.cut = cut_pattern;
    one.regex = pattern_new(f->a, source, &e);
    if (!one.regex)
        return part_error(f, where, "%s", e.text);
    step_add(f, out, one);
    return 0;
}

static int word_parse(const struct place_in_file *f, jref node, str where, struct steps *out)
{
    (void)node;
    return regex_add(f, where, out, S("[" RUST_WORD "]+|[^" RUST_WORD "\\s]+"),
                     (struct step){ .behaviour = REMOVED, .is_inverted = true });
}

static int split_parse(const struct place_in_file *f, jref node, str where, struct steps *out)
{
    struct step *s = step_add(f, out, (struct step){ .cut = cut_pattern, .is_inverted = part_bool(f, node, S("invert"), false) });
    if (behaviour_parse(f, node, where, s) < 0)
        return -1;
    return step_pattern(f, json_get(f->j, node, S("pattern")), where, s);
}

static int delimiter_parse(const struct place_in_file *f, jref node, str where, struct steps *out)
{
    str delimiter = part_str(f, node, S("delimiter"));
    if (delimiter.len == 0)
        return part_error(f, where, "delimiter: expected a character");
    step_add(f, out, (struct step){ .cut = cut_pattern, .literal = delimiter, .behaviour = REMOVED });
    return 0;
}

static int bytes_parse(const struct place_in_file *f, jref node, str where, struct steps *out)
{
    static const char gpt2[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
    if (part_bool(f, node, S("add_prefix_space"), true))
        step_add(f, out, (struct step){ .rewrite = rewrite_prepend, .when = PREPEND_ALWAYS, .unless_there = true,
                                        .content = S(" ") });
    if (part_bool(f, node, S("use_regex"), true) &&
        regex_add(f, where, out, str_of(gpt2), (struct step){ .behaviour = ISOLATED }) < 0)
        return -1;
    step_add(f, out, (struct step){ .rewrite = rewrite_bytes });
    return 0;
}

static int metaspace_parse(const struct place_in_file *f, jref node, str where, struct steps *out)
{
    static const char *const schemes[] = { [PREPEND_ALWAYS] = "always", [PREPEND_FIRST] = "first", [PREPEND_NEVER] = "never" };
    str mark = part_str(f, node, S("replacement")), scheme = part_str(f, node, S("prepend_scheme"));
    if (mark.len == 0)
        return part_error(f, where, "replacement: expected a character");
    enum prepend when = PREPEND_ALWAYS;
    bool is_known = scheme.len == 0;
    for (size_t i = 0; i < COUNT_OF(schemes) && !is_known; i++) {
        is_known = str_eq(scheme, str_of(schemes[i]));
        when = (enum prepend)i;
    }
    if (!is_known)
        return part_error(f, where, "prepend_scheme \"" STR_FMT "\" is not known", STR_ARG(scheme));
    if (!part_bool(f, node, S("add_prefix_space"), true))       /* how files said it before there was a scheme */
        when = PREPEND_NEVER;
    step_add(f, out, (struct step){ .rewrite = rewrite_replace, .literal = S(" "), .content = mark });
    if (when != PREPEND_NEVER)
        step_add(f, out, (struct step){ .rewrite = rewrite_prepend, .when = when, .unless_there = true, .content = mark });
    if (part_bool(f, node, S("split"), true))
        step_add(f, out, (struct step){ .cut = cut_pattern, .literal = mark, .behaviour = MERGED_WITH_NEXT });
    return 0;
}

static const struct {
    const char *type;
    int (*parse)(const struct place_in_file *f, jref node, str where, struct steps *out);
} pre_tokenizers[] = {
    { "BertPreTokenizer", bert_parse },
    { "WhitespaceSplit", white_parse },
    { "Whitespace", word_parse },
    { "Digits", digits_parse },
    { "Punctuation", punctuation_parse },
    { "Split", split_parse },
    { "CharDelimiterSplit", delimiter_parse },
    { "ByteLevel", bytes_parse },
    { "Metaspace", metaspace_parse },
};

int pre_tokenizer_parse(const struct place_in_file *f, jref node, str where, struct steps *out, unsigned depth)
{
    const struct json *j = f->j;
    if (!json_is(j, node, JSON_OBJECT))
        return part_error(f, where, "expected an object");
    str type = part_str(f, node, S("type"));
    if (str_eq(type, S("Sequence"))) {
        jref list = json_get(j, node, S("pretokenizers"));
        if (!json_is(j, list, JSON_ARRAY) || depth == PARTS_DEPTH_MAX)
            return part_error(f, where, "expected an array of pretokenizers, in at most %d Sequences", PARTS_DEPTH_MAX);
        size_t i = 0;
        JSON_EACH_ITEM(j, list, item) {
            str place = arena_printf(f->a, STR_FMT ".pretokenizers[%zu]", STR_ARG(where), i++);
            if (pre_tokenizer_parse(f, item, place, out, depth + 1) < 0)
                return -1;
        }
        return 0;
    }
    for (size_t i = 0; i < COUNT_OF(pre_tokenizers); i++) {
        if (str_eq(type, str_of(pre_tokenizers[i].type)))
            return pre_tokenizers[i].parse(f, node, where, out);
    }
    return part_error(f, where, "pre-tokenizer type \"" STR_FMT "\" is not known", STR_ARG(type));
}
