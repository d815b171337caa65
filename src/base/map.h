/* base/map.h -- from text to pointer: open addressing in an arena, in insertion order for loops. */
#ifndef SBX_MAP_H
#define SBX_MAP_H

#include "base/arena.h"

struct map_entry { str key; void *value; uint64_t hash; };

struct map {                        /* zero-initialise, set `a` */
    struct arena *a;
    struct map_entry *entries;      /* [n], in insertion order; removal is not offered */
    uint32_t *slots;                /* [cap], entry index + 1 */
    size_t n, cap;
};

void *map_get(const struct map *m, str key);                /* NULL: absent */
bool  map_has(const struct map *m, str key);
bool  map_put(struct map *m, str key, void *value);         /* true: new; else replaced. Key not copied */

#endif
