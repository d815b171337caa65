/* neural/tokenizer_wordpiece.c -- WordPiece: from the left, the longest token that fits, again and again.
 *
 * Tokens that continue a word are spelled with a prefix ("##"). In the trie that prefix leads to a node of its own, so the
 * longest continuation is a walk from there, without spelling anything. A word that does not come out whole is one unknown
 * token. */
#include "neural/tokenizer_parts.h"

static int wordpiece_run(const struct model *m, struct model_work *w, str word)
{
    size_t before = w->pieces.n;
    bool is_bad = word.len > m->chars_max && utf8_count(word) > m->chars_max;
    int32_t whole = is_bad ? -1 : vocabulary_id(&m->vocabulary, word);     /* most words; two cache lines, not one a letter */
    if (whole >= 0)
        return piece_add(w, whole, 0, word.len) ? 0 : -1;
    for (size_t from = 0; from < word.len && !is_bad;) {
        uint32_t node = from ? m->continuing : 0;
        size_t end = from;
        int32_t id = -1;
        for (size_t at = from; at < word.len && node != UINT32_MAX;) {
            node = trie_step(&m->trie, node, (unsigned char)word.ptr[at++]);
            if (node == 0)
                break;
            if (m->trie.values[node] >= 0) {
                id = m->trie.values[node];
                end = at;
            }
        }
        if (id < 0) {
            is_bad = true;
            break;
        }
        if (!piece_add(w, id, from, end))
            return -1;
        from = end;
    }
    if (is_bad) {
        w->pieces.n = before;
        return piece_add(w, m->unknown, 0, word.len) ? 0 : -1;
    }
    return 0;
}

int wordpiece_parse(const struct place_in_file *f, jref node, struct model *m)
{
    const struct json *j = f->j;
    if (model_vocabulary(f, json_get(j, node, S("vocab")), m) < 0)
        return -1;
    str unknown = part_str(f, node, S("unk_token")), prefix = S("##");
    if (json_is(j, json_get(j, node, S("continuing_subword_prefix")), JSON_STRING))
        prefix = part_str(f, node, S("continuing_subword_prefix"));
    int64_t chars_max = 100;
    jref limit = json_get(j, node, S("max_input_chars_per_word"));
    if (limit != JSON_NONE && (!json_int(j, limit, &chars_max) || chars_max < 0))
        return part_error(f, S("model.max_input_chars_per_word"), "expected a number of characters");
    m->chars_max = (size_t)chars_max;
    m->unknown = vocabulary_id(&m->vocabulary, unknown.len ? unknown : S("[UNK]"));
    if (m->unknown < 0)
        return part_error(f, S("model.unk_token"), "\"" STR_FMT "\" is not in the vocabulary", STR_ARG(unknown));

    if (model_trie(f, m) < 0)
        return -1;
    m->run = wordpiece_run;
    uint32_t at = 0;
    for (size_t i = 0; i < prefix.len && (at || i == 0); i++)
        at = trie_step(&m->trie, at, (unsigned char)prefix.ptr[i]);
    m->continuing = at || prefix.len == 0 ? at : UINT32_MAX;
    return 0;
}
