/* pipeline/learning_purse.c -- budgets of those who pay, one purse each, that outlive the process.
 *
 * What a purse holds is select/pacing.h's business; here it is found by who pays, written down before it changes, and read back.
 * A purse in which nothing was spent for a whole window is as good as none: it goes when room is wanted. */
#include "pipeline/learning_state.h"

#include <math.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/hex.h"
#include "base/put.h"

#define MONEY_MAX ((int64_t)1e15)       /* nano-USD: a million dollars */

int64_t purse_money(uint64_t nano_usd)
{
    return nano_usd < (uint64_t)MONEY_MAX ? (int64_t)nano_usd : MONEY_MAX;
}

static struct purse **slot_of(struct purse **slots, uint64_t key)       /* the key's, or the free one where it would be */
{
    uint64_t at = hash_mix(key);
    while (slots[at % PURSE_SLOTS] && slots[at % PURSE_SLOTS]->key != key)
        at++;
    return &slots[at % PURSE_SLOTS];
}

static bool is_idle(struct purse *p, uint64_t now)
{
    return p->key && pacing_left(&p->of, now) == p->of.rules.budget;
}

/* Only when the table is full, which costs a walk over all of it. */
static void idle_drop(struct learning *l, uint64_t now)
{
    struct purse **kept = calloc(PURSE_SLOTS, sizeof *kept);
    for (uint32_t i = 0; kept && i < PURSE_SLOTS; i++) {
        struct purse *p = l->purses[i];
        if (p && is_idle(p, now)) {
            free(p);
            l->n_purses--;
        } else if (p) {
            *slot_of(kept, p->key) = p;
        }
    }
    if (kept) {
        free(l->purses);
        l->purses = kept;
    }
}

struct purse *purse_at(struct learning *l, uint64_t key, uint64_t now)
{
    l->purses = l->purses ? l->purses : calloc(PURSE_SLOTS, sizeof(struct purse *));
    if (!l->purses)
        return NULL;
    struct purse **at = slot_of(l->purses, key);
    if (!*at && l->n_purses >= LEARNING_PURSES_MAX) {
        idle_drop(l, now);
        at = slot_of(l->purses, l->n_purses >= LEARNING_PURSES_MAX ? 0 : key);
    }
    if (!*at && (*at = calloc(1, sizeof **at)) != NULL) {
        (*at)->key = l->n_purses >= LEARNING_PURSES_MAX ? 0 : key;
        l->n_purses++;
    }
    return *at;
}

void purses_free(struct learning *l)
{
    for (uint32_t i = 0; l->purses && i < PURSE_SLOTS; i++)
        free(l->purses[i]);
    free(l->purses);
    l->purses = NULL;
    l->n_purses = 0;
}

/* ---- asked by requests ---- */

double learning_pace(struct learning *l, uint64_t purse, const struct pacing_rules *rules, const int64_t *most, int64_t cheapest,
                     uint64_t now, uint32_t n, bool *may)
{
    pthread_mutex_lock(&l->lock);
    struct purse *p = purse_at(l, purse, now);
    if (p)
        pacing_rule(&p->of, rules, now);
    for (uint32_t i = 0; i < n; i++)
        may[i] = p && pacing_admits(&p->of, most[i], cheapest, now);
    double price = p ? pacing_price(&p->of) : 0;
    pthread_mutex_unlock(&l->lock);
    return price;
}

bool learning_promise(struct learning *l, uint64_t purse, int64_t most, uint64_t now)
{
    pthread_mutex_lock(&l->lock);
    struct purse *p = purse_at(l, purse, now);
    bool ok = p && most >= 0 && most <= pacing_left(&p->of, now);
    l->seq += ok;
    if (ok)
        journal_promised(l, purse, &p->of.rules, most, now);
    ok = p && pacing_reserve(&p->of, most, now);        /* counts the refused ones, too */
    pthread_mutex_unlock(&l->lock);
    return ok;
}

bool learning_spend(struct learning *l, uint64_t purse, int64_t most, int64_t cost, int64_t cheapest, uint64_t now)
{
    pthread_mutex_lock(&l->lock);
    struct purse *p = purse_at(l, purse, now);
    l->seq += p != NULL;
    if (p)
        journal_spent(l, purse, most, cost, cheapest, now);
    bool ok = !p || pacing_settle(&p->of, most, cost, cheapest, now);
    pthread_mutex_unlock(&l->lock);
    return ok;
}

/* ---- the state ---- */

void purses_write(const struct learning *l, struct json_writer *w)
{
    put_open(w, S("purses"), '[');
    for (uint32_t i = 0; l->purses && i < PURSE_SLOTS; i++) {
        if (!l->purses[i])
            continue;
        const struct pacing *p = &l->purses[i]->of;
        jw_begin(w, '{');
        put_hex(w, S("purse"), l->purses[i]->key);
        put_int(w, S("budget"), p->rules.budget);
        put_int(w, S("window"), (int64_t)p->rules.window);
        put_bool(w, S("sliding"), p->rules.is_sliding);
        put_int(w, S("began"), (int64_t)p->began);
        put_int(w, S("part"), (int64_t)p->part);
        put_int(w, S("promised"), p->promised);
        put_int(w, S("least"), p->least);
        put_double(w, S("price"), p->price);
        put_double(w, S("rate"), p->rate);
        put_open(w, S("parts"), '[');
        for (int k = 0; k <= PACING_SLOTS; k++) {
            jw_int(w, p->parts[k].spent);
            jw_int(w, (int64_t)p->parts[k].begun);
        }
        jw_end(w, ']');
        jw_end(w, '}');
    }
    jw_end(w, ']');
}

static double positive(const struct json *j, jref object, str key)
{
    double v;
    return json_double(j, json_get(j, object, key), &v) && isfinite(v) && v > 0 ? v : 0;
}

/* A state from before there were purses has none; one that makes no sense is left out. */
void purses_read(struct learning *l, const struct json *j, jref list, struct arena *a)
{
    if (!json_is(j, list, JSON_ARRAY))
        return;
    JSON_EACH_ITEM(j, list, item) {
        jref parts = json_is(j, item, JSON_OBJECT) ? json_get(j, item, S("parts")) : JSON_NONE;
        if (!json_is(j, parts, JSON_ARRAY) || json_count(j, parts) != 2 * (PACING_SLOTS + 1) || state_whole(j, item, "window") == 0)
            continue;
        struct purse *to = purse_at(l, hex_or_zero(json_str(j, json_get(j, item, S("purse")), a)), 0);
        if (!to)
            return;
        struct pacing *p = &to->of;
        *p = (struct pacing){
            .rules = { .budget = purse_money(state_whole(j, item, "budget")), .window = state_whole(j, item, "window"),
                       .is_sliding = json_bool(j, json_get(j, item, S("sliding")), false), .step = PACING_STEP },
            .began = state_whole(j, item, "began"), .part = state_whole(j, item, "part"),
            .promised = purse_money(state_whole(j, item, "promised")), .least = purse_money(state_whole(j, item, "least")),
            .price = positive(j, item, S("price")), .rate = positive(j, item, S("rate")),
        };
        int k = 0;
        JSON_EACH_ITEM(j, parts, number) {
            int64_t v = 0;
            v = json_int(j, number, &v) && v > 0 ? purse_money((uint64_t)v) : 0;
            if (k % 2 == 0)
                p->parts[k / 2].spent = v;
            else
                p->parts[k / 2].begun = (uint64_t)v;
            k++;
        }
    }
}

void purses_recover(struct learning *l)
{
    for (uint32_t i = 0; l->purses && i < PURSE_SLOTS; i++)
        if (l->purses[i])
            pacing_recover(&l->purses[i]->of);
}
