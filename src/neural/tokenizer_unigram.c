/* neural/tokenizer_unigram.c -- Unigram: of all ways to lay a word out in tokens, the one with the largest sum of scores.
 *
 * Viterbi from left to right: for each place the best score of a path that ends there and the place it came from. A character
 * that is no token of its own may be passed as unknown, at ten below the worst score of the vocabulary. Sums are made in the
 * order and precision of `tokenizers` (double), since ties and near ties are common. */
#include <math.h>

#include "neural/tokenizer_parts.h"

static const double unknown_penalty = 10.0;

static void path_reach(struct path_node *to, double score, size_t from, int32_t id)
{
    if (to->from == UINT32_MAX || score > to->score)
        *to = (struct path_node){ score, (uint32_t)from, id };
}

/* The piece of the best path between two places: a token, bytes, or unknown. */
static bool piece_of(const struct model *m, struct model_work *w, str word, size_t from, size_t to)
{
    str piece = { word.ptr + from, to - from };
    int32_t id = vocabulary_id(&m->vocabulary, piece);
    if (id >= 0)
        return piece_add(w, id, from, to);
    bool falls_back = m->has_byte_fallback;
    for (size_t i = 0; i < piece.len && falls_back; i++)
        falls_back = m->bytes[(unsigned char)piece.ptr[i]] >= 0;
    if (!falls_back)
        return m->unknown < 0 || piece_add(w, m->unknown, from, to);
    for (size_t i = 0; i < piece.len; i++) {
        if (!piece_add(w, m->bytes[(unsigned char)piece.ptr[i]], from, to))     /* each stands for the whole */
            return false;
    }
    return true;
}

static int unigram_run(const struct model *m, struct model_work *w, str word)
{
    w->path = work_room(w->w, w->path, &w->cap_path, word.len + 1, sizeof *w->path);
    if (!w->path) {
        w->cap_path = 0;
        return -1;
    }
    struct path_node *path = w->path;
    for (size_t i = 0; i <= word.len; i++)
        path[i] = (struct path_node){ 0, UINT32_MAX, -1 };
    for (size_t from = 0, next = 0; from < word.len; from = next) {
        double score = path[from].score;
        bool has_single = false;
        utf8_next(word, &next);
        uint32_t node = 0;
        for (size_t at = from; at < word.len;) {
            node = trie_step(&m->trie, node, (unsigned char)word.ptr[at++]);
            if (node == 0)
                break;
            int32_t id = m->trie.values[node];
            if (id < 0)
                continue;
            path_reach(path + at, m->scores[id] + score, from, id);
            has_single |= at == next;
        }
        if (!has_single)
            path_reach(path + next, m->unknown_score + score, from, m->unknown);
    }
    /* Backwards: mark the places the best path passes, so that it can be read forwards; unknown neighbours become one. */
    size_t end = word.len;
    while (end > 0) {
        size_t from = path[end].from, first = from;
        if (m->unknown >= 0 && path[end].id == m->unknown) {
            while (first > 0 && path[first].id == m->unknown)
                first = path[first].from;
        }
        path[first].score = (double)end;            /* scores are done with: where the piece that begins here ends */
        end = first;
    }
    for (size_t from = 0; from < word.len; from = end) {
        end = (size_t)path[from].score;
        if (!piece_of(m, w, word, from, end))
            return -1;
    }
    return 0;
}

int unigram_parse(const struct place_in_file *f, jref node, struct model *m)
{
    const struct json *j = f->j;
    jref list = json_get(j, node, S("vocab"));
    if (!json_is(j, list, JSON_ARRAY))
        return part_error(f, S("model.vocab"), "expected an array of pairs of a token and its score");
    uint32_t n = json_count(j, list), id = 0;
    size_t n_bytes = 0;
    if (n > TOKEN_ID_MAX)
        return part_error(f, S("model.vocab"), "more than %d tokens", TOKEN_ID_MAX);
    m->scores = arena_try(f->a, ((size_t)n + 1) * sizeof *m->scores);
    double worst = HUGE_VAL;
    JSON_EACH_ITEM(j, list, item) {
        bool is_pair = m->scores && json_is(j, item, JSON_ARRAY) && json_count(j, item) == 2 &&
                       json_is(j, item + 1, JSON_STRING) &&
                       json_double(j, j->nodes[item + 1].next, m->scores + id) && isfinite(m->scores[id]);
        if (!is_pair)
            return part_error(f, S("model.vocab"), "number %u is not a pair of a token and its score", id);
        n_bytes += j->nodes[item + 1].len;
        worst = m->scores[id] < worst ? m->scores[id] : worst;
        id++;
    }
    m->unknown_score = worst - unknown_penalty;
    struct arena *passing = arena_new();
    bool is_made = passing && vocabulary_make(&m->vocabulary, f->a, n, n_bytes, n) == 0;
    id = 0;
    JSON_EACH_ITEM(j, list, item) {
        if (is_made)
            vocabulary_add(&m->vocabulary, json_str(j, item + 1, passing), (int32_t)id++);
    }
    is_made = is_made && !arena_exhausted(passing);
    arena_free(passing);
    if (!is_made)
        return part_error(f, S("model.vocab"), "no memory for %u tokens, or too large", n);
    if (model_trie(f, m) < 0)
        return -1;
    int64_t unknown;
    jref unknown_ref = json_get(j, node, S("unk_id"));
    if (unknown_ref != JSON_NONE && !json_is(j, unknown_ref, JSON_NULL)) {
        if (!json_int(j, unknown_ref, &unknown) || unknown < 0 || unknown >= n)
            return part_error(f, S("model.unk_id"), "is not the number of a token");
        m->unknown = (int32_t)unknown;
    }
    m->has_byte_fallback = part_bool(f, node, S("byte_fallback"), false);
    model_bytes(m);
    m->run = unigram_run;
    return 0;
}
