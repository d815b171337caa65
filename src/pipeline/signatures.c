/* pipeline/signatures.c -- a ring of entries and a hash table of chains through it, under one lock that is held for a copy. */
#include "pipeline/signatures.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/hash.h"
#include "dialect/dialect.h"

enum { CHAINS = 1024 };

struct entry {                          /* lock */
    char *text;                         /* owner, call id, origin, signature, one after the other; NULL: free */
    uint32_t owner, call_id, origin, signature;     /* their lengths */
    int32_t next;                       /* in its chain; -1: the last */
    uint32_t chain;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry ring[SIGNATURES_MAX];           /* lock */
static int32_t chains[CHAINS];          /* lock; index + 1, 0: empty */
static uint32_t newest;                 /* lock */

static uint32_t chain_of(str owner, str call_id)
{
    return (uint32_t)(hash_mix(hash_str(owner) ^ hash_mix(hash_str(call_id))) % CHAINS);
}

static bool is_entry(const struct entry *e, str owner, str call_id)
{
    return str_eq((str){ e->text, e->owner }, owner) && str_eq((str){ e->text + e->owner, e->call_id }, call_id);
}

static struct entry *entry_find(str owner, str call_id)
{
    for (int32_t i = chains[chain_of(owner, call_id)] - 1; i >= 0; i = ring[i].next)
        if (is_entry(&ring[i], owner, call_id))
            return &ring[i];
    return NULL;
}

static void entry_drop(struct entry *e)
{
    int32_t at = (int32_t)(e - ring);
    if (!e->text)
        return;
    if (chains[e->chain] == at + 1) {
        chains[e->chain] = e->next + 1;
    } else {
        int32_t i = chains[e->chain] - 1;
        while (ring[i].next != at)
            i = ring[i].next;
        ring[i].next = e->next;
    }
    free(e->text);
    *e = (struct entry){ 0 };
}

static char *put(char *to, str s)
{
    if (s.len)
        memcpy(to, s.ptr, s.len);
    return to + s.len;
}

void signature_keep(str owner, str call_id, str origin, str signature)
{
    size_t size = owner.len + call_id.len + origin.len + signature.len;
    char *text = call_id.len && signature.len && size <= SIGNATURE_BYTES_MAX ? malloc(size) : NULL;
    if (!text)
        return;
    put(put(put(put(text, owner), call_id), origin), signature);
    pthread_mutex_lock(&lock);
    struct entry *old = entry_find(owner, call_id);
    if (old)
        entry_drop(old);
    newest = (newest + 1) % SIGNATURES_MAX;
    struct entry *e = &ring[newest];
    entry_drop(e);
    *e = (struct entry){ .text = text, .owner = (uint32_t)owner.len, .call_id = (uint32_t)call_id.len,
                         .origin = (uint32_t)origin.len, .signature = (uint32_t)signature.len,
                         .chain = chain_of(owner, call_id) };
    e->next = chains[e->chain] - 1;
    chains[e->chain] = (int32_t)newest + 1;
    pthread_mutex_unlock(&lock);
}

bool signature_find(str owner, str call_id, struct arena *a, str *origin, str *signature)
{
    pthread_mutex_lock(&lock);
    const struct entry *e = entry_find(owner, call_id);
    if (e) {
        const char *at = e->text + e->owner + e->call_id;
        *origin = arena_str(a, (str){ at, e->origin });
        *signature = arena_str(a, (str){ at + e->origin, e->signature });
    }
    pthread_mutex_unlock(&lock);
    return e != NULL;
}

void signature_watch(struct signature_watch *w, str owner, const struct delta *d, str origin)
{
    if (d->kind == DELTA_BLOCK) {
        bool fits = d->block->kind == BLOCK_TOOL_CALL && d->block->call_id.len <= sizeof w->text;
        w->call_id = fits ? (str){ w->text, d->block->call_id.len } : S("");
        w->index = d->index;
        if (w->call_id.len)
            memcpy(w->text, d->block->call_id.ptr, w->call_id.len);
    } else if (d->kind == DELTA_SIGNATURE && w->call_id.len && d->index == w->index) {
        signature_keep(owner, w->call_id, origin, d->text);
    }
}

void signatures_of_reply(str owner, const struct reply *r)
{
    for (uint32_t i = 0; i < r->n; i++) {
        const struct block *b = &r->blocks[i];
        if (b->kind == BLOCK_TOOL_CALL && b->signature.len)
            signature_keep(owner, b->call_id, b->origin.len ? b->origin : str_of(r->dialect ? r->dialect->name : ""),
                           b->signature);
    }
}

void signatures_fill(str owner, struct prompt *p, struct arena *a)
{
    for (uint32_t i = 0; i < p->n_turns; i++)
        for (uint32_t k = 0; k < p->turns[i].n; k++) {
            struct block *b = &p->turns[i].blocks[k];
            if (b->kind == BLOCK_TOOL_CALL && !b->signature.len && b->call_id.len)
                signature_find(owner, b->call_id, a, &b->origin, &b->signature);
        }
}
