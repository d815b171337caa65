/* pipeline/outcomes.c */
#include "pipeline/outcomes.h"

#include <stdlib.h>

#include "base/hash.h"
#include "select/judge.h"

const char *const outcome_sources[OUTCOME_SOURCES + 1] = { "implicit", "judge", "user", "operator", NULL };

static const uint32_t nobody = UINT32_MAX;

void memory_free(struct memory *m)
{
    free(m->ring);
    free(m->heads);
    *m = (struct memory){ 0 };
}

static uint64_t id_hash(str id)
{
    uint64_t h = hash_stable(id, 0x6f7574636f6d65);
    return h ? h : 1;
}

static bool is_it(const struct remembered *d, uint64_t h, str id)
{
    return d->id == h && (id.len > OUTCOME_ID_MAX || str_eq((str){ d->text, d->text_len }, id));
}

static uint32_t *head_of(const struct memory *m, uint64_t h)
{
    return &m->heads[h & (2 * (uint64_t)m->cap - 1)];
}

static bool grow(struct memory *m)
{
    uint32_t cap = m->cap ? m->cap * 2 : 256;
    struct remembered *ring = realloc(m->ring, cap * sizeof *ring);
    if (!ring)
        return false;
    m->ring = ring;
    uint32_t *heads = malloc(2 * (size_t)cap * sizeof *heads);
    if (!heads)
        return false;
    free(m->heads);
    m->heads = heads;
    m->cap = cap;
    for (uint32_t i = 0; i < 2 * cap; i++)
        heads[i] = nobody;
    for (uint32_t i = 0; i < m->n; i++) {
        uint32_t *head = head_of(m, ring[i].id);
        ring[i].next = *head;
        *head = i;
    }
    m->at = m->n;
    return true;
}

static void unlink_one(struct memory *m, uint32_t i)
{
    uint32_t *at = head_of(m, m->ring[i].id);
    while (*at != i)
        at = &m->ring[*at].next;
    *at = m->ring[i].next;
}

struct remembered *memory_add(struct memory *m, str id, struct remembered *lost)
{
    *lost = (struct remembered){ 0 };
    if (m->n == m->cap && m->cap < OUTCOMES_MAX && !grow(m) && !m->cap)
        return NULL;
    uint32_t i = m->at;
    struct remembered *d = &m->ring[i];
    if (m->n == m->cap) {
        *lost = *d;
        unlink_one(m, i);
    } else {
        m->n++;
    }
    m->at = (i + 1) % m->cap;
    *d = (struct remembered){ .id = id_hash(id), .text_len = (uint8_t)(id.len > OUTCOME_ID_MAX ? 0 : id.len) };
    memcpy(d->text, id.ptr, d->text_len);
    uint32_t *head = head_of(m, d->id);
    d->next = *head;
    *head = i;
    return d;
}

struct remembered *memory_find(const struct memory *m, str id)
{
    uint64_t h = id_hash(id);
    for (uint32_t i = m->cap ? *head_of(m, h) : nobody; i != nobody; i = m->ring[i].next)
        if (is_it(&m->ring[i], h, id))
            return &m->ring[i];
    return NULL;
}

/* A judge's words are drawn to one half by its errors, and only models that are chosen get any: taken as they are, they would make a
 * good model look worse than one that nobody asks. */
static struct verdict_said evidence_of(enum outcome_source source, struct verdict_said say)
{
    if (source == SOURCE_JUDGE)
        say.reward = (float)judge_unbiased((double)say.reward, (double)say.weight);
    return say;
}

enum outcome_news remembered_say(struct remembered *d, enum outcome_source source, struct verdict_said say,
                                 struct verdict_said *take, struct verdict_said *add)
{
    struct verdict_said *mine = &d->said[source], before = *mine, best = { 0 };
    *take = *add = (struct verdict_said){ 0 };
    if (before.weight == say.weight && (say.weight == 0 || before.reward == say.reward))
        return OUTCOME_REPEATED;
    *mine = say;
    for (int s = 0; s < OUTCOME_SOURCES; s++)
        if (d->said[s].weight > 0)
            best = evidence_of((enum outcome_source)s, d->said[s]);
    if (best.weight == d->counted.weight && (best.weight == 0 || best.reward == d->counted.reward))
        return OUTCOME_OVERRULED;
    *take = d->counted;
    *add = d->counted = best;
    return before.weight > 0 ? OUTCOME_CORRECTED : OUTCOME_NEW;
}
