/* neural/tokenizer_vocabulary.c -- token to number and back, and a trie over bytes.
 *
 * Both are open-addressing tables built once and then only read. A trie node is nothing but a number: the table maps (parent,
 * byte) to the child, so a step costs one probe, usually one cache line, and building 250,000 tokens needs no sorting. */
#include <assert.h>

#include "base/hash.h"
#include "neural/tokenizer_parts.h"

static unsigned log2_of_double(size_t n)            /* of a power of two that is at least 2 n */
{
    unsigned bits = 4;
    while (((size_t)1 << bits) < 2 * n)
        bits++;
    return bits;
}

int vocabulary_make(struct vocabulary *v, struct arena *a, size_t n_tokens, size_t n_bytes, uint32_t n_ids)
{
    size_t n_slots = (size_t)1 << log2_of_double(n_tokens);
    if (n_slots > UINT32_MAX / 2 || n_bytes > UINT32_MAX)
        return -1;
    *v = (struct vocabulary){ .mask = (uint32_t)n_slots - 1, .n_ids = n_ids };
    v->slots = arena_try(a, n_slots * sizeof *v->slots);
    v->bytes = arena_try(a, n_bytes + 1);
    v->tokens = arena_try(a, ((size_t)n_ids + 1) * sizeof *v->tokens);
    if (!v->slots || !v->bytes || !v->tokens)
        return -1;
    for (size_t i = 0; i < n_slots; i++)
        v->slots[i] = (struct vocabulary_slot){ .id = -1 };
    memset(v->tokens, 0, ((size_t)n_ids + 1) * sizeof *v->tokens);
    return 0;
}

static struct vocabulary_slot *vocabulary_find(const struct vocabulary *v, str token, uint32_t hash)
{
    for (uint32_t at = hash & v->mask;; at = (at + 1) & v->mask) {
        struct vocabulary_slot *slot = v->slots + at;
        if (slot->id < 0)
            return slot;
        if (slot->hash == hash && slot->len == token.len && memcmp(v->bytes + slot->at, token.ptr, token.len) == 0)
            return slot;
    }
}

void vocabulary_add(struct vocabulary *v, str token, int32_t id)
{
    assert(id >= 0 && (uint32_t)id < v->n_ids);
    uint32_t hash = (uint32_t)hash_str(token);
    struct vocabulary_slot *slot = vocabulary_find(v, token, hash);
    if (slot->id < 0) {
        memcpy(v->bytes + v->n_bytes, token.ptr, token.len);
        *slot = (struct vocabulary_slot){ hash, id, (uint32_t)v->n_bytes, (uint32_t)token.len };
        v->n_bytes += token.len;
        v->n++;
    }
    slot->id = id;
    v->tokens[id] = (str){ v->bytes + slot->at, slot->len };
}

uint32_t vocabulary_seek(const struct vocabulary *v, str token)
{
    uint32_t hash = (uint32_t)hash_str(token);
    __builtin_prefetch(v->slots + (hash & v->mask));
    return hash;
}

int32_t vocabulary_found(const struct vocabulary *v, str token, uint32_t hash)
{
    return vocabulary_find(v, token, hash)->id;
}

int32_t vocabulary_id(const struct vocabulary *v, str token)
{
    return vocabulary_find(v, token, (uint32_t)hash_str(token))->id;
}

/* ---- the trie ---- */

enum { TRIE_BITS_MAX = 25 };        /* node numbers have 24 bits; beyond: 256 MB, which is no vocabulary */

/* Room for twice as many slots as nodes. */
static int trie_resize(struct trie *t, struct arena *a, unsigned bits)
{
    struct trie larger = { .n_nodes = t->n_nodes, .cap_nodes = 1u << (bits - 1), .shift = 32 - bits };
    larger.slots = bits <= TRIE_BITS_MAX ? arena_try(a, sizeof *larger.slots << bits) : NULL;
    larger.values = larger.slots ? arena_try(a, sizeof *larger.values * larger.cap_nodes) : NULL;
    if (!larger.values)
        return -1;
    memset(larger.slots, 0, sizeof *larger.slots << bits);
    if (t->slots) {
        memcpy(larger.values, t->values, t->n_nodes * sizeof *t->values);
        for (size_t at = 0; at <= UINT32_MAX >> t->shift; at++) {
            if (t->slots[at].child)
                *trie_slot(&larger, t->slots[at].key) = t->slots[at];
        }
    }
    *t = larger;
    return 0;
}

int trie_make(struct trie *t, struct arena *a, size_t n_bytes)
{
    *t = (struct trie){ .n_nodes = 1 };
    if (trie_resize(t, a, log2_of_double(n_bytes / 2)) < 0)         /* tokens share about two thirds of their bytes */
        return -1;
    t->values[0] = -1;
    return 0;
}

int trie_add(struct trie *t, struct arena *a, str key, int32_t value)
{
    uint32_t node = 0;
    for (size_t i = 0; i < key.len; i++) {
        uint32_t step = node << 8 | (unsigned char)key.ptr[i];
        struct trie_slot *slot = trie_slot(t, step);
        if (slot->child == 0) {
            if (t->n_nodes == t->cap_nodes) {
                if (trie_resize(t, a, 33 - t->shift) < 0)
                    return -1;
                slot = trie_slot(t, step);
            }
            t->values[t->n_nodes] = -1;
            *slot = (struct trie_slot){ step, t->n_nodes++ };
        }
        node = slot->child;
    }
    if (t->values[node] < 0)
        t->values[node] = value;
    return 0;
}
