/* neural/tokenizer_post.c -- post-processors: what is put around texts, and offsets without their blanks.
 *
 * All of them are a template of special tokens and the places of the two texts; TemplateProcessing says it, others imply it. */
#include "neural/tokenizer_parts.h"

static const struct template_part single_default[] = { { .sequence = 'A' } };
static const struct template_part pair_default[] = { { .sequence = 'A' }, { .sequence = 'B', .type = 1 } };

/* The text without its margins, in characters of the original; a blank that the pre-tokeniser put in front is not one of them. */
static bool is_margin(uint32_t code)
{
    return code == 0x120 || unicode_flags()[code] & CODE_SPACE;     /* U+0120 is the blank of byte-level texts */
}

void post_trim(const struct post_processor *p, str original, str token, bool is_first, struct raw_token *one)
{
    size_t leading = 0, trailing = 0, at = 0;
    while (at < token.len && is_margin(utf8_next(token, &at)))
        leading++;
    for (at = token.len; at > 0 && is_margin(utf8_before(token, at)); trailing++)
        at = text_before(token, at);
    if (leading == 1 && (is_first || one->from == 0) && p->trims_after_prefix)
        leading = 0;                                                /* more than one cannot be the one put in front */
    for (at = one->from; leading > 0 && at < one->to; leading--)
        text_next(original, &at);
    if (at > one->from)
        one->from = at < one->to ? (uint32_t)at : one->to;
    for (at = one->to; trailing > 0 && at > 0; trailing--)
        at = text_before(original, at);
    if (trailing == 0)                                              /* else the text is shorter than its margin: left as it is */
        one->to = at > one->from ? (uint32_t)at : one->from;
}

/* ---- reading ---- */

static int special_ids(const struct place_in_file *f, jref ids, str where, struct template_part *part)
{
    const struct json *j = f->j;
    if (!json_is(j, ids, JSON_ARRAY))
        return part_error(f, where, "expected special_tokens with an array of ids each");
    size_t n = 0;
    JSON_EACH_ITEM(j, ids, item) {
        int64_t id;
        if (!json_int(j, item, &id) || id < 0 || id >= TOKEN_ID_MAX)
            return part_error(f, where, "the id of a special token is not one from 0 to %d", TOKEN_ID_MAX - 1);
        *PUSH(f->a, part->ids, n) = (int32_t)id;
    }
    part->n_ids = (uint32_t)n;
    return 0;
}

static int template_parse(const struct place_in_file *f, jref node, const char *which, str where, struct template *out)
{
    const struct json *j = f->j;
    jref list = json_get(j, node, str_of(which)), tokens = json_get(j, node, S("special_tokens"));
    if (!json_is(j, list, JSON_ARRAY))
        return part_error(f, where, "%s: expected an array", which);
    *out = (struct template){ 0 };
    JSON_EACH_ITEM(j, list, item) {
        jref special = json_is(j, item, JSON_OBJECT) ? json_get(j, item, S("SpecialToken")) : JSON_NONE;
        jref sequence = json_is(j, item, JSON_OBJECT) ? json_get(j, item, S("Sequence")) : JSON_NONE;
        jref what = special != JSON_NONE ? special : sequence;
        if (!json_is(j, what, JSON_OBJECT))
            return part_error(f, where, "%s: expected {\"SpecialToken\": ...} or {\"Sequence\": ...}", which);
        struct template_part part = { 0 };
        int64_t type;
        if (json_int(j, json_get(j, what, S("type_id")), &type) && type >= 0 && type < 256)
            part.type = (uint8_t)type;
        str id = part_str(f, what, S("id"));
        if (what == sequence) {
            if (!str_eq(id, S("A")) && !str_eq(id, S("B")))
                return part_error(f, where, "%s: there is no sequence \"" STR_FMT "\"", which, STR_ARG(id));
            part.sequence = id.ptr[0];
        } else {
            jref entry = json_is(j, tokens, JSON_OBJECT) ? json_get(j, tokens, id) : JSON_NONE;
            if (special_ids(f, json_is(j, entry, JSON_OBJECT) ? json_get(j, entry, S("ids")) : JSON_NONE, where, &part) < 0)
                return -1;
        }
        *PUSH(f->a, out->parts, out->n) = part;
    }
    return 0;
}

/* BertProcessing, RobertaProcessing: "cls": ["[CLS]", 101], "sep": ["[SEP]", 102]. */
static int ends_parse(const struct place_in_file *f, jref node, str where, bool is_roberta, struct post_processor *p)
{
    const struct json *j = f->j;
    static const char *const names[] = { "cls", "sep" };
    struct template_part ends[2] = { 0 };
    for (size_t i = 0; i < 2; i++) {
        jref pair = json_get(j, node, str_of(names[i]));
        int64_t id;
        if (!json_is(j, pair, JSON_ARRAY) || json_count(j, pair) != 2 || !json_int(j, j->nodes[pair + 1].next, &id) || id < 0 ||
            id >= TOKEN_ID_MAX)
            return part_error(f, where, "%s: expected a token and its number", names[i]);
        *PUSH(f->a, ends[i].ids, ends[i].n_ids) = (int32_t)id;
    }
    uint8_t second = is_roberta ? 0 : 1;
    struct template_part a = { .sequence = 'A' }, b = { .sequence = 'B', .type = second }, last = ends[1];
    last.type = second;
    p->single = p->pair = (struct template){ 0 };
    struct template_part single[] = { ends[0], a, ends[1] }, pair[] = { ends[0], a, ends[1], ends[1], b, last };
    for (size_t i = 0; i < COUNT_OF(single); i++)
        *PUSH(f->a, p->single.parts, p->single.n) = single[i];
    for (size_t i = 0; i < COUNT_OF(pair); i++) {
        if (i != 3 || is_roberta)                                   /* RoBERTa puts two between texts */
            *PUSH(f->a, p->pair.parts, p->pair.n) = pair[i];
    }
    return 0;
}

static int trim_parse(const struct place_in_file *f, jref node, struct post_processor *p)
{
    p->trims = part_bool(f, node, S("trim_offsets"), true);
    p->trims_after_prefix = part_bool(f, node, S("add_prefix_space"), true);
    return 0;
}

int post_processor_parse(const struct place_in_file *f, jref node, str where, struct post_processor *p, unsigned depth)
{
    const struct json *j = f->j;
    if (depth == 0) {
        p->single = (struct template){ ARENA_ARRAY(f->a, struct template_part, 1), 1 };
        p->pair = (struct template){ ARENA_ARRAY(f->a, struct template_part, 2), 2 };
        memcpy(p->single.parts, single_default, sizeof single_default);
        memcpy(p->pair.parts, pair_default, sizeof pair_default);
        if (node == JSON_NONE || json_is(j, node, JSON_NULL))
            return 0;
    }
    if (!json_is(j, node, JSON_OBJECT))
        return part_error(f, where, "expected an object");
    str type = part_str(f, node, S("type"));
    if (str_eq(type, S("Sequence"))) {
        jref list = json_get(j, node, S("processors"));
        if (!json_is(j, list, JSON_ARRAY) || depth == PARTS_DEPTH_MAX)
            return part_error(f, where, "expected an array of processors, in at most %d Sequences", PARTS_DEPTH_MAX);
        size_t i = 0;
        JSON_EACH_ITEM(j, list, item) {
            str place = arena_printf(f->a, STR_FMT ".processors[%zu]", STR_ARG(where), i++);
            if (post_processor_parse(f, item, place, p, depth + 1) < 0)
                return -1;
        }
        return 0;
    }
    if (str_eq(type, S("ByteLevel")))
        return trim_parse(f, node, p);
    bool is_template = str_eq(type, S("TemplateProcessing")), is_roberta = str_eq(type, S("RobertaProcessing"));
    if (!is_template && !is_roberta && !str_eq(type, S("BertProcessing")))
        return part_error(f, where, "post-processor type \"" STR_FMT "\" is not known", STR_ARG(type));
    if (p->has_template)
        return part_error(f, where, "a second template in a Sequence is not built");
    p->has_template = true;
    if (is_template)
        return template_parse(f, node, "single", where, &p->single) < 0 ? -1 : template_parse(f, node, "pair", where, &p->pair);
    return ends_parse(f, node, where, is_roberta, p) < 0 || (is_roberta && trim_parse(f, node, p) < 0) ? -1 : 0;
}
