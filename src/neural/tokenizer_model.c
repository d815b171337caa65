/* neural/tokenizer_model.c -- what the three models share: the reading of vocabularies, and the list of pieces of a word. */
#include "neural/tokenizer_parts.h"

bool piece_add(struct model_work *w, int32_t id, size_t from, size_t to)
{
    struct pieces *p = &w->pieces;
    if (p->n == p->cap) {
        p->items = work_room(w->w, p->items, &p->cap, p->n + 1, sizeof *p->items);
        if (!p->items) {
            p->n = p->cap = 0;
            return false;
        }
    }
    p->items[p->n++] = (struct piece){ id, (uint32_t)from, (uint32_t)to };
    return true;
}

/* json_int for the one spelling that vocabularies have; it is asked half a million times. */
static bool token_number(const struct json *j, jref value, int64_t *out)
{
    str raw = json_raw(j, value);
    if (raw.len == 0 || raw.len > 8)
        return false;
    *out = 0;
    for (size_t i = 0; i < raw.len; i++) {
        if (raw.ptr[i] < '0' || raw.ptr[i] > '9')
            return false;
        *out = *out * 10 + (raw.ptr[i] - '0');
    }
    return *out < TOKEN_ID_MAX;
}

int model_vocabulary(const struct place_in_file *f, jref vocab, struct model *m)
{
    const struct json *j = f->j;
    if (!json_is(j, vocab, JSON_OBJECT))
        return part_error(f, S("model.vocab"), "expected an object of tokens and their numbers");
    size_t n = 0, n_bytes = 0;
    int64_t highest = -1, id = 0;
    JSON_EACH_PAIR(j, vocab, key, value) {
        if (!token_number(j, value, &id)) {
            str name = json_raw(j, key);
            return part_error(f, S("model.vocab"), "the number of " STR_FMT " is not one from 0 to %d", STR_ARG(name),
                              TOKEN_ID_MAX - 1);
        }
        highest = id > highest ? id : highest;
        n_bytes += j->nodes[key].len;
        n++;
    }
    if (vocabulary_make(&m->vocabulary, f->a, n, n_bytes, (uint32_t)(highest + 1)) < 0)
        return part_error(f, S("model.vocab"), "no memory for %zu tokens", n);
    struct arena *passing = arena_new();                            /* tokens with escapes */
    if (!passing)
        return part_error(f, S("model.vocab"), "no memory for %zu tokens", n);
    JSON_EACH_PAIR(j, vocab, key, value) {
        token_number(j, value, &id);
        vocabulary_add(&m->vocabulary, json_str(j, key, passing), (int32_t)id);
    }
    bool is_exhausted = arena_exhausted(passing);
    arena_free(passing);
    return is_exhausted ? part_error(f, S("model.vocab"), "no memory for %zu tokens", n) : 0;
}

int model_trie(const struct place_in_file *f, struct model *m)
{
    const struct vocabulary *v = &m->vocabulary;
    int rc = trie_make(&m->trie, f->a, v->n_bytes);
    for (uint32_t at = 0; at <= v->mask && rc == 0; at++) {
        const struct vocabulary_slot *slot = v->slots + at;
        if (slot->id >= 0)
            rc = trie_add(&m->trie, f->a, (str){ v->bytes + slot->at, slot->len }, slot->id);
    }
    return rc < 0 ? part_error(f, S("model.vocab"), "no memory, or too large, for a trie") : 0;
}

bool model_bytes(struct model *m)
{
    bool has_all = true;
    static const char hex[] = "0123456789ABCDEF";
    for (unsigned i = 0; i < 256; i++) {
        char name[] = { '<', '0', 'x', hex[i >> 4], hex[i & 15], '>' };
        m->bytes[i] = vocabulary_id(&m->vocabulary, (str){ name, sizeof name });
        has_all = has_all && m->bytes[i] >= 0;
    }
    return has_all;
}

static const struct {
    const char *type;
    int (*parse)(const struct place_in_file *f, jref node, struct model *m);
} models[] = {
    { "WordPiece", wordpiece_parse },
    { "BPE", bpe_parse },
    { "Unigram", unigram_parse },
};

int model_parse(const struct place_in_file *f, jref node, struct model *m)
{
    if (!json_is(f->j, node, JSON_OBJECT))
        return part_error(f, S("model"), "expected an object");
    str type = part_str(f, node, S("type"));
    if (type.len == 0) {                    /* old files: what has merges is BPE, scores make it Unigram */
        bool is_list = json_is(f->j, json_get(f->j, node, S("vocab")), JSON_ARRAY);
        type = json_get(f->j, node, S("merges")) != JSON_NONE ? S("BPE") : is_list ? S("Unigram") : S("WordPiece");
    }
    m->unknown = -1;
    for (size_t i = 0; i < COUNT_OF(models); i++) {
        if (str_eq(type, str_of(models[i].type)))
            return models[i].parse(f, node, m);
    }
    return part_error(f, S("model"), "model type \"" STR_FMT "\" is not known", STR_ARG(type));
}
