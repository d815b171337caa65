/* neural/tokenizer_added.c -- added tokens: [CLS], <mask>, <|endoftext|>, runs of blanks.
 *
 * They are looked for before anything else, leftmost and longest. A trie walked from every byte that some token begins with does
 * that; in most texts no byte qualifies. Which white space a token swallows (lstrip, rstrip) is decided after it is found. */
#include "neural/tokenizer_parts.h"

/* The longest token at `at`; -1: none. */
static int32_t added_at(const struct added_tokens *a, str text, size_t at, size_t *end)
{
    int32_t found = -1;
    for (uint32_t node = 0; at < text.len;) {
        node = trie_step(&a->trie, node, (unsigned char)text.ptr[at++]);
        if (node == 0)
            break;
        if (a->trie.values[node] >= 0) {
            found = a->trie.values[node];
            *end = at;
        }
    }
    return found;
}

static bool is_word(const struct added_tokens *a, str text, size_t at)
{
    size_t end = at, from, to;
    utf8_next(text, &end);
    str one = { text.ptr + at, end - at };
    return pattern_find(a->word, one, 0, &from, &to);
}

static size_t character_before(str text, size_t at)
{
    do
        at--;
    while (at > 0 && ((unsigned char)text.ptr[at] & 0xC0) == 0x80);
    return at;
}

static void cut_one(const struct added_tokens *a, struct work *w, const struct split *in)
{
    str text = { w->text.bytes + in->from, in->to - in->from };
    const struct span *spans = w->text.spans + in->from;
    const uint8_t *flags = unicode_flags();
    size_t done = 0;
    for (size_t at = 0; at < text.len;) {
        size_t end = at;
        int32_t index = a->begins[(unsigned char)text.ptr[at]] ? added_at(a, text, at, &end) : -1;
        if (index < 0) {
            at++;
            continue;
        }
        const struct added *one = a->items + index;
        size_t from = at, to = end;
        at = end;
        if (one->is_single_word && ((from > 0 && is_word(a, text, character_before(text, from))) ||
                                    (to < text.len && is_word(a, text, to))))
            continue;
        while (one->strips_left && from > done) {
            size_t before = character_before(text, from), behind = before;
            if (!(flags[utf8_next(text, &behind)] & CODE_SPACE))
                break;
            from = before;
        }
        while (one->strips_right && to < text.len) {
            size_t next = to;
            if (!(flags[utf8_next(text, &next)] & CODE_SPACE))
                break;
            to = next;
        }
        if (from > done)
            splits_add(&w->cuts, (struct split){ in->from + (uint32_t)done, in->from + (uint32_t)from, spans[done].from, -1 });
        splits_add(&w->cuts, (struct split){ in->from + (uint32_t)from, in->from + (uint32_t)to, spans[from].from, one->id });
        done = to;
    }
    if (done < text.len)
        splits_add(&w->cuts, (struct split){ in->from + (uint32_t)done, in->to, spans[done].from, -1 });
}

void added_cut(const struct added_tokens *a, struct work *w)
{
    w->cuts.n = 0;
    for (size_t i = 0; i < w->splits.n; i++) {
        struct split *in = w->splits.items + i;
        if (in->id >= 0)
            splits_add(&w->cuts, *in);
        else if (a->n)
            cut_one(a, w, in);
        else
            splits_add(&w->cuts, (struct split){ in->from, in->to, w->text.spans[in->from].from, -1 });
    }
    struct splits splits = w->splits;
    w->splits = w->cuts;
    w->cuts = splits;
    w->is_failed = w->is_failed || w->splits.is_failed || w->cuts.is_failed;
}

/* ---- reading ---- */

/* What the normaliser makes of a token. */
static str normalized_content(const struct place_in_file *f, const struct steps *normalizer, str content)
{
    struct work w = { .text.most = text_limit(content.len), .out.most = text_limit(content.len) };
    struct span nowhere = { 0, 0 };
    for (size_t at = 0; at < content.len;)
        text_put(&w.text, utf8_next(content, &at), nowhere);
    if (content.len)
        splits_add(&w.splits, (struct split){ 0, (uint32_t)w.text.n, 0, -1 });
    steps_run(normalizer, &w);
    str out = arena_str(f->a, w.splits.n ? (str){ w.text.bytes, w.text.n } : S(""));
    work_free(&w);
    return out;
}

static int tries_make(const struct place_in_file *f, struct added_tokens *a)
{
    size_t n_bytes = 0;
    for (size_t i = 0; i < a->n; i++)
        n_bytes += a->items[i].content.len;
    bool is_made = trie_make(&a->trie, f->a, n_bytes) == 0;
    for (size_t i = 0; i < a->n && is_made; i++) {
        str content = a->items[i].content;
        if (content.len == 0)
            continue;
        is_made = trie_add(&a->trie, f->a, content, (int32_t)i) == 0;
        a->begins[(unsigned char)content.ptr[0]] = true;
        if (a->items[i].is_single_word && !a->word) {
            a->word = pattern_new(f->a, S("[" RUST_WORD "]"), f->e);
            is_made = is_made && a->word;
        }
    }
    return is_made ? 0 : part_error(f, S("added_tokens"), "no memory, or too large");
}

int added_parse(const struct place_in_file *f, jref list, const struct vocabulary *v, const struct steps *normalizer,
                struct added_tokens *raw, struct added_tokens *normalized)
{
    const struct json *j = f->j;
    if (list != JSON_NONE && !json_is(j, list, JSON_ARRAY) && !json_is(j, list, JSON_NULL))
        return part_error(f, S("added_tokens"), "expected an array");
    bool has_list = list != JSON_NONE && json_is(j, list, JSON_ARRAY);
    for (jref item = list + 1; has_list && item < j->nodes[list].next; item = j->nodes[item].next) {
        int64_t id;
        str content = json_is(j, item, JSON_OBJECT) ? part_str(f, item, S("content")) : S("");
        if (content.len == 0 || !json_int(j, json_get(j, item, S("id")), &id) || id < 0 || id >= TOKEN_ID_MAX)
            return part_error(f, S("added_tokens"), "expected objects with content and an id from 0 to %d", TOKEN_ID_MAX - 1);
        int32_t known = vocabulary_id(v, content);
        struct added one = {
            .content = content, .id = known >= 0 ? known : (int32_t)id,
            .is_single_word = part_bool(f, item, S("single_word"), false), .strips_left = part_bool(f, item, S("lstrip"), false),
            .strips_right = part_bool(f, item, S("rstrip"), false),
        };
        bool is_normalized = part_bool(f, item, S("normalized"), !part_bool(f, item, S("special"), false));
        if (is_normalized && normalizer->n)
            one.content = normalized_content(f, normalizer, content);
        struct added_tokens *to = is_normalized ? normalized : raw;
        *PUSH(f->a, to->items, to->n) = one;
    }
    return tries_make(f, raw) < 0 || tries_make(f, normalized) < 0 ? -1 : 0;
}
