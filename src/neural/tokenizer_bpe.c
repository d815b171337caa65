/* neural/tokenizer_bpe.c -- byte pair encoding: of all neighbours that may merge, those of the lowest rank do, the leftmost
 * first.
 *
 * A heap holds what could merge. Merging two symbols makes two new pairs with their neighbours and leaves the old ones in the
 * heap, where they are recognised when they come up: the symbols at their place are no longer the ones they were made of.
 *
 * SentencePiece-like files (Gemma) do not cut texts into words: the "word" is the whole text. But where no merge reaches over
 * the beginning of a "▁", which the list of merges shows at load, cutting there changes nothing, and words are short and known
 * again. */
#include "neural/tokenizer_parts.h"

static inline uint32_t merge_home(const struct model *m, uint64_t key)
{
    return (uint32_t)((key * 0x9E3779B97F4A7C15u) >> 32) & m->merges_mask;
}

static const struct merge_slot *merge_find(const struct model *m, int32_t left, int32_t right)  /* NULL: they do not merge */
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    for (uint32_t at = merge_home(m, key);; at = (at + 1) & m->merges_mask) {
        const struct merge_slot *slot = m->merges + at;
        if (slot->id < 0)
            return NULL;
        if (slot->key == key)
            return slot;
    }
}

/* ---- the heap ---- */

static void heap_push(struct model_work *w, struct merge_try one)
{
    if (w->n_heap == w->cap_heap) {
        w->heap = work_room(w->w, w->heap, &w->cap_heap, w->n_heap + 1, sizeof *w->heap);
        if (!w->heap) {
            w->n_heap = w->cap_heap = 0;
            return;
        }
    }
    size_t at = w->n_heap++;
    for (; at > 0 && w->heap[(at - 1) / 2].order > one.order; at = (at - 1) / 2)
        w->heap[at] = w->heap[(at - 1) / 2];
    w->heap[at] = one;
}

static struct merge_try heap_pop(struct model_work *w)
{
    struct merge_try top = w->heap[0], last = w->heap[--w->n_heap];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < w->n_heap; at = child) {
        if (child + 1 < w->n_heap && w->heap[child + 1].order < w->heap[child].order)
            child++;
        if (w->heap[child].order >= last.order)
            break;
        w->heap[at] = w->heap[child];
    }
    w->heap[at] = last;
    return top;
}

static void try_pair(const struct model *m, struct model_work *w, int32_t left, int32_t right)
{
    if (left < 0 || right < 0)
        return;
    struct symbol *a = w->symbols + left, *b = w->symbols + right;
    const struct merge_slot *slot = merge_find(m, a->id, b->id);
    if (slot)
        heap_push(w, (struct merge_try){ (uint64_t)slot->rank << 32 | (uint32_t)left, a->id, b->id, slot->id });
}

/* ---- a word ---- */

static void symbol_add(struct model_work *w, size_t *n, int32_t id, size_t len)
{
    if (*n == w->cap_symbols) {
        w->symbols = work_room(w->w, w->symbols, &w->cap_symbols, *n + 1, sizeof *w->symbols);
        if (!w->symbols) {
            *n = w->cap_symbols = 0;
            return;
        }
    }
    w->symbols[*n] = (struct symbol){ id, (uint32_t)len, (int32_t)*n - 1, (int32_t)*n + 1 };
    ++*n;
}

/* The number of one character of the word, spelled with prefix or suffix where the model has them. */
static int32_t character_id(const struct model *m, str word, size_t from, size_t to, uint32_t code)
{
    if (m->prefix.len == 0 && m->suffix.len == 0) {
        if (code < COUNT_OF(m->short_ids))
            return m->short_ids[code];
        return vocabulary_id(&m->vocabulary, (str){ word.ptr + from, to - from });
    }
    char spelled[256];
    size_t n = 0;
    if (from > 0) {
        memcpy(spelled, m->prefix.ptr, m->prefix.len);
        n = m->prefix.len;
    }
    memcpy(spelled + n, word.ptr + from, to - from);
    n += to - from;
    if (to == word.len) {
        memcpy(spelled + n, m->suffix.ptr, m->suffix.len);
        n += m->suffix.len;
    }
    return vocabulary_id(&m->vocabulary, (str){ spelled, n });
}

static bool fall_back(const struct model *m, struct model_work *w, size_t *n, str character)
{
    for (size_t i = 0; i < character.len; i++) {
        if (m->bytes[(unsigned char)character.ptr[i]] < 0)
            return false;
    }
    for (size_t i = 0; i < character.len; i++)
        symbol_add(w, n, m->bytes[(unsigned char)character.ptr[i]], 1);
    return true;
}

/* The symbols a word begins with. What is unknown waits, so that it can grow; what falls back on bytes overtakes it, as there. */
static size_t word_symbols(const struct model *m, struct model_work *w, str word)
{
    size_t n = 0, n_unknown = 0;                    /* bytes of the unknown that waits */
    for (size_t at = 0; at < word.len;) {
        size_t from = at;
        uint32_t code = utf8_next(word, &at);
        int32_t id = character_id(m, word, from, at, code);
        if (id >= 0) {
            if (n_unknown)
                symbol_add(w, &n, m->unknown, n_unknown);
            n_unknown = 0;
            symbol_add(w, &n, id, at - from);
            continue;
        }
        if (m->has_byte_fallback && fall_back(m, w, &n, (str){ word.ptr + from, at - from }))
            continue;
        if (m->unknown < 0)
            continue;
        if (n_unknown && !m->fuses_unknown) {
            symbol_add(w, &n, m->unknown, n_unknown);
            n_unknown = 0;
        }
        n_unknown += at - from;
    }
    if (n_unknown)
        symbol_add(w, &n, m->unknown, n_unknown);
    if (n)
        w->symbols[n - 1].after = -1;
    return n;
}

static int bpe_run(const struct model *m, struct model_work *w, str word)
{
    if (m->ignores_merges) {
        int32_t id = vocabulary_id(&m->vocabulary, word);
        if (id >= 0)
            return piece_add(w, id, 0, word.len) ? 0 : -1;
    }
    size_t n = word_symbols(m, w, word);
    w->n_heap = 0;
    for (size_t i = 0; i + 1 < n; i++)
        try_pair(m, w, (int32_t)i, (int32_t)i + 1);
    while (w->n_heap && !w->w->is_failed) {
        struct merge_try best = heap_pop(w);
        struct symbol *left = w->symbols + (uint32_t)best.order;
        if (left->len == 0 || left->id != best.left || left->after < 0)
            continue;
        struct symbol *right = w->symbols + left->after;
        if (right->id != best.right)
            continue;
        left->id = best.made;
        left->len += right->len;
        left->after = right->after;
        right->len = 0;                             /* is no more */
        if (left->after >= 0)
            w->symbols[left->after].before = (int32_t)(uint32_t)best.order;
        try_pair(m, w, left->before, (int32_t)(uint32_t)best.order);
        try_pair(m, w, (int32_t)(uint32_t)best.order, left->after);
    }
    size_t from = 0;
    for (size_t i = 0; i < n && !w->w->is_failed; i++) {
        if (w->symbols[i].len == 0)
            continue;
        piece_add(w, w->symbols[i].id, from, from + w->symbols[i].len);
        from += w->symbols[i].len;
    }
    return w->w->is_failed ? -1 : 0;
}

/* ---- reading ---- */

/* One merge: "a b" or ["a", "b"]. */
static bool merge_parts(const struct place_in_file *f, jref item, struct arena *passing, str *a, str *b)
{
    const struct json *j = f->j;
    if (json_is(j, item, JSON_STRING)) {
        str both = json_str(j, item, passing);
        long space = str_chr(both, ' ');
        if (space < 0)
            return false;
        *a = str_upto(both, (size_t)space);
        *b = str_from(both, (size_t)space + 1);
        return str_chr(*b, ' ') < 0;
    }
    if (!json_is(j, item, JSON_ARRAY) || json_count(j, item) != 2)
        return false;
    jref second = j->nodes[item + 1].next;
    if (!json_is(j, item + 1, JSON_STRING) || !json_is(j, second, JSON_STRING))
        return false;
    *a = json_str(j, item + 1, passing);
    *b = json_str(j, second, passing);
    return true;
}

static void merge_add(struct model *m, int32_t left, int32_t right, int32_t made, uint32_t rank)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    uint32_t at = merge_home(m, key);
    while (m->merges[at].id >= 0 && m->merges[at].key != key)
        at = (at + 1) & m->merges_mask;
    m->merges[at] = (struct merge_slot){ key, rank, made };         /* the last of equals counts */
}

/* Half a million merges of tokens scattered over tens of megabytes: done by the batch, so that memory answers many at a time. */
struct merge_batch {
    struct { str part[3]; uint32_t seek[3]; } items[32];            /* left, right, what they make */
    size_t n, n_bytes;
    char bytes[16 << 10];                                           /* of what they make */
    uint32_t rank;                                                  /* of the first */
};

static int batch_finish(const struct place_in_file *f, struct model *m, struct merge_batch *b)
{
    for (size_t i = 0; i < b->n; i++, b->rank++) {
        int32_t id[3];
        for (size_t k = 0; k < 3; k++) {
            id[k] = vocabulary_found(&m->vocabulary, b->items[i].part[k], b->items[i].seek[k]);
            if (id[k] < 0)
                return part_error(f, S("model.merges"), "number %u needs \"" STR_FMT "\", which is not in the vocabulary",
                                  b->rank, STR_ARG(b->items[i].part[k]));
        }
        merge_add(m, id[0], id[1], id[2], b->rank);
    }
    b->n = b->n_bytes = 0;
    return 0;
}

static int merges_parse(const struct place_in_file *f, jref list, struct arena *passing, struct model *m)
{
    const struct json *j = f->j;
    if (!json_is(j, list, JSON_ARRAY))
        return part_error(f, S("model.merges"), "expected an array of pairs");
    size_t n = json_count(j, list), n_slots = 16;
    while (n_slots < 2 * n)
        n_slots *= 2;
    m->merges = arena_try(f->a, n_slots * sizeof *m->merges);
    struct merge_batch *batch = arena_try(passing, sizeof *batch);
    if (!m->merges || !batch)
        return part_error(f, S("model.merges"), "no memory for %zu merges", n);
    m->merges_mask = (uint32_t)n_slots - 1;
    memset(m->merges, 0xFF, n_slots * sizeof *m->merges);           /* id -1: free */
    batch->n = batch->n_bytes = batch->rank = 0;
    JSON_EACH_ITEM(j, list, item) {
        str a, b, made;
        if (!merge_parts(f, item, passing, &a, &b))
            return part_error(f, S("model.merges"), "number %zu is not a pair of tokens", batch->rank + batch->n);
        str tail = str_starts(b, m->prefix) ? str_from(b, m->prefix.len) : b;
        made = (str){ batch->bytes + batch->n_bytes, a.len + tail.len };
        if (batch->n == COUNT_OF(batch->items) || made.len > sizeof batch->bytes - batch->n_bytes) {
            if (batch_finish(f, m, batch) < 0)
                return -1;
            made.ptr = batch->bytes;
        }
        if (made.len > sizeof batch->bytes)
            return part_error(f, S("model.merges"), "number %u makes a token of %zu bytes, more than %zu", batch->rank, made.len,
                              sizeof batch->bytes);
        memcpy(batch->bytes + batch->n_bytes, a.ptr, a.len);
        memcpy(batch->bytes + batch->n_bytes + a.len, tail.ptr, tail.len);
        batch->n_bytes += made.len;
        if (str_starts(b, S(SPACE_MARK)) && !str_ends(a, S(SPACE_MARK)))
            m->cuts_at_space = false;
        str parts[3] = { a, b, made };
        for (size_t k = 0; k < 3; k++) {
            batch->items[batch->n].part[k] = parts[k];
            batch->items[batch->n].seek[k] = vocabulary_seek(&m->vocabulary, parts[k]);
        }
        batch->n++;
    }
    return batch_finish(f, m, batch);
}

int bpe_parse(const struct place_in_file *f, jref node, struct model *m)
{
    const struct json *j = f->j;
    if (model_vocabulary(f, json_get(j, node, S("vocab")), m) < 0)
        return -1;
    m->prefix = part_str(f, node, S("continuing_subword_prefix"));
    m->suffix = part_str(f, node, S("end_of_word_suffix"));
    m->has_byte_fallback = part_bool(f, node, S("byte_fallback"), false);
    m->ignores_merges = part_bool(f, node, S("ignore_merges"), false);
    m->fuses_unknown = part_bool(f, node, S("fuse_unk"), false);
    if (m->prefix.len + m->suffix.len > 200)
        return part_error(f, S("model"), "continuing_subword_prefix and end_of_word_suffix are longer than 200 bytes together");
    if (json_is(j, json_get(j, node, S("unk_token")), JSON_STRING)) {
        str unknown = part_str(f, node, S("unk_token"));
        m->unknown = vocabulary_id(&m->vocabulary, unknown);
        if (m->unknown < 0)
            return part_error(f, S("model.unk_token"), "\"" STR_FMT "\" is not in the vocabulary", STR_ARG(unknown));
    }
    for (uint32_t code = 0; code < COUNT_OF(m->short_ids); code++) {
        char bytes[UTF8_MAX];
        m->short_ids[code] = vocabulary_id(&m->vocabulary, (str){ bytes, utf8_put(bytes, code) });
    }
    bool has_bytes = model_bytes(m), is_plain = m->prefix.len == 0 && m->suffix.len == 0 && !m->ignores_merges;
    bool drops = m->unknown < 0 && !(m->has_byte_fallback && has_bytes);        /* then offsets shift to the end of the word */
    m->cuts_at_space = is_plain && !drops && vocabulary_id(&m->vocabulary, S(SPACE_MARK)) >= 0;    /* if the merges agree */
    m->run = bpe_run;
    struct arena *passing = arena_new();
    if (!passing)
        return part_error(f, S("model.merges"), "no memory");
    int rc = merges_parse(f, json_get(j, node, S("merges")), passing, m);
    if (rc == 0 && arena_exhausted(passing))
        rc = part_error(f, S("model.merges"), "no memory");
    arena_free(passing);
    return rc;
}
