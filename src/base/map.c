/* base/map.c */
#include "base/map.h"

#include "base/hash.h"

static uint32_t *map_slot(const struct map *m, str key, uint64_t hash)
{
    size_t at = hash & (m->cap - 1);
    while (m->slots[at]) {
        const struct map_entry *e = &m->entries[m->slots[at] - 1];
        if (e->hash == hash && str_eq(e->key, key))
            break;
        at = (at + 1) & (m->cap - 1);
    }
    return &m->slots[at];
}

static struct map_entry *map_find(const struct map *m, str key)
{
    if (m->n == 0)
        return NULL;
    uint32_t slot = *map_slot(m, key, hash_str(key));
    return slot ? &m->entries[slot - 1] : NULL;
}

void *map_get(const struct map *m, str key)
{
    struct map_entry *e = map_find(m, key);
    return e ? e->value : NULL;
}

bool map_has(const struct map *m, str key)
{
    return map_find(m, key) != NULL;
}

bool map_put(struct map *m, str key, void *value)
{
    if (m->n * 2 >= m->cap) {
        m->cap = m->cap ? m->cap * 2 : 16;
        m->slots = ARENA_ARRAY(m->a, uint32_t, m->cap);
        for (size_t i = 0; i < m->n; i++)
            *map_slot(m, m->entries[i].key, m->entries[i].hash) = (uint32_t)i + 1;
    }
    uint64_t hash = hash_str(key);
    uint32_t *slot = map_slot(m, key, hash);
    if (*slot) {
        m->entries[*slot - 1].value = value;
        return false;
    }
    struct map_entry *e = PUSH(m->a, m->entries, m->n);
    *e = (struct map_entry){ key, value, hash };
    *slot = (uint32_t)m->n;
    return true;
}
