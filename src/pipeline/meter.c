/* pipeline/meter.c */
#include "pipeline/meter.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/hash.h"
#include "pipeline/budget.h"

enum { SHARDS = 64, CHAINS = 1024, SHARD_MAX = METERS_MAX / SHARDS, LOOKS_MAX = 64 /* at meters that may go, per miss */ };

/* Counts of the last `n` buckets. The sum is kept, so that asking is one addition. */
struct ring { uint64_t newest, width /* ns */; int64_t sum; uint32_t n; int64_t counts[]; };

struct purse {                      /* money of one period */
    int64_t start, end;             /* seconds; end 0: not yet in any period */
    int64_t spent, reserved;
    int64_t last_start, last_spent; /* the period before, should the clock go back */
    bool is_loaded;                 /* from the books: `end` is not known before its rule looks */
};

struct meter {
    struct meter *next;
    uint64_t hash;
    uint32_t n_holds;
    int64_t in_flight;
    struct ring *rings[GAUGE_N];    /* NULL: nothing was counted yet */
    struct purse purse;
    uint16_t name_len, text_len;
    char text[];                    /* rule's name, 0x1f, subject */
};

static struct shard {
    pthread_mutex_t lock;
    struct meter *chains[CHAINS];
    uint32_t n, hand;
} __attribute__((aligned(64))) shards[SHARDS] = { [0 ... SHARDS - 1] = { .lock = PTHREAD_MUTEX_INITIALIZER } };

/* ---- windows ---- */

static uint64_t bucket_ns(const struct limit_rule *rule)
{
    return rule->is_fixed ? rule->window_ns : rule->window_ns / (RING_BUCKETS - 1);
}

static void ring_turn(struct ring *r, uint64_t now)
{
    uint64_t bucket = now / r->width;
    if (bucket <= r->newest)                    /* loops read their clocks once a turn: a little late is fine */
        return;
    if (bucket - r->newest >= r->n) {
        memset(r->counts, 0, r->n * sizeof *r->counts);
        r->sum = 0;
        r->newest = bucket;
        return;
    }
    while (r->newest < bucket) {
        int64_t *oldest = &r->counts[++r->newest % r->n];
        r->sum -= *oldest;
        *oldest = 0;
    }
}

static struct ring *ring_of(struct meter *m, const struct limit_rule *rule, enum gauge g, uint64_t now)
{
    struct ring *r = m->rings[g];
    uint32_t n = rule->is_fixed ? 1 : RING_BUCKETS;
    uint64_t width = bucket_ns(rule);
    if (r && r->n == n && r->width == width) {
        ring_turn(r, now);
        return r;
    }
    free(r);                                    /* the rule of this name has become another kind */
    r = calloc(1, sizeof *r + n * sizeof *r->counts);
    if (r) {
        r->n = n;
        r->width = width;
        r->newest = now / width;
    }
    return m->rings[g] = r;
}

static void ring_add(struct ring *r, uint64_t bucket, int64_t v)
{
    if (bucket > r->newest)
        bucket = r->newest;
    if (r->newest - bucket >= r->n)             /* what it corrects has left the window already */
        return;
    r->counts[bucket % r->n] += v;
    r->sum += v;
}

/* Ns until `need` more fit. UINT64_MAX: they never do. */
static uint64_t ring_wait(const struct ring *r, int64_t need, int64_t most, uint64_t now)
{
    int64_t sum = r->sum;
    if (need > most)
        return UINT64_MAX;
    for (uint32_t i = 1; i <= r->n; i++) {
        if (sum + need <= most)
            return 0;
        uint64_t oldest = r->newest + i;        /* modulo n, the i-th oldest bucket: it leaves when bucket `oldest` begins */
        sum -= r->counts[oldest % r->n];
        if (sum + need <= most)
            return oldest * r->width > now ? oldest * r->width - now : 0;
    }
    return r->width * r->n;
}

static void gauge_look(const struct ring *r, const struct limit_rule *rule, enum gauge g, uint64_t now, struct gauge_view *v)
{
    uint64_t empty = (r->newest + r->n) * r->width;
    v->most = rule->most[g];
    v->left = rule->most[g] > r->sum ? rule->most[g] - r->sum : 0;
    v->reset_ns = r->sum > 0 && empty > now ? empty - now : 0;
}

/* ---- money ---- */

/* A period that begins resets what was spent. A clock that goes back does not: the money is carried into the period it finds
 * itself in, so that no jump, and no jumping to and fro, gives an allowance twice for one period. */
static void purse_turn(struct purse *p, enum period period, int64_t wall)
{
    if (p->end && !p->is_loaded && wall >= p->start && wall < p->end)
        return;
    int64_t start = period_start(period, wall);
    bool is_new = !p->end && !p->is_loaded;
    if (is_new || start > p->start) {
        p->last_start = p->start;
        p->last_spent = p->spent;
        p->spent = 0;
    } else if (start < p->start && start == p->last_start) {
        p->spent += p->last_spent;
        p->last_spent = 0;
    }
    p->start = start;
    p->end = period_end(period, start);
    p->is_loaded = false;
}

/* ---- finding ---- */

static bool is_idle(struct meter *m, uint64_t now, int64_t wall)
{
    const struct purse *p = &m->purse;
    if (m->n_holds || (p->spent && (p->is_loaded || wall < p->end)))
        return false;
    for (int g = 0; g < GAUGE_N; g++)
        if (m->rings[g]) {
            ring_turn(m->rings[g], now);
            if (m->rings[g]->sum > 0)
                return false;
        }
    return true;
}

static void meter_free(struct meter *m)
{
    for (int g = 0; g < GAUGE_N; g++)
        free(m->rings[g]);
    free(m);
}

/* Throws one meter out that says nothing any more, if the shard is full. */
static bool make_room(struct shard *s, uint64_t now, int64_t wall)
{
    if (s->n < SHARD_MAX)
        return true;
    for (unsigned looks = 0, seen = 0; looks < LOOKS_MAX && seen < CHAINS; seen++)
        for (struct meter **at = &s->chains[s->hand++ % CHAINS]; *at; at = &(*at)->next, looks++)
            if (is_idle(*at, now, wall)) {
                struct meter *m = *at;
                *at = m->next;
                meter_free(m);
                s->n--;
                return true;
            }
    return false;
}

static size_t text_put(char to[], str name, str subject)
{
    memcpy(to, name.ptr, name.len);
    to[name.len] = 0x1f;
    if (subject.len)
        memcpy(to + name.len + 1, subject.ptr, subject.len);
    return name.len + 1 + subject.len;
}

static struct shard *shard_lock(uint64_t hash)
{
    struct shard *s = &shards[hash >> 58];
    static_assert(SHARDS == 64, "the hash's first six bits choose the shard");
    pthread_mutex_lock(&s->lock);
    return s;
}

/* The meter of (name, subject), its shard locked. NULL: not there, and no room or not asked to make it. */
static struct meter *find(const struct limit_rule *rule, str subject, const struct take *t, struct shard **shard)
{
    char text[2 * SUBJECT_MAX + 2];
    str name = str_upto(rule->name, SUBJECT_MAX);
    size_t n = text_put(text, name, str_upto(subject, SUBJECT_MAX));
    uint64_t hash = hash_str((str){ text, n });
    struct shard *s = *shard = shard_lock(hash);
    struct meter **chain = &s->chains[hash % CHAINS];
    for (struct meter *m = *chain; m; m = m->next)
        if (m->hash == hash && m->text_len == n && memcmp(m->text, text, n) == 0)
            return m;
    struct meter *m = make_room(s, t->now, t->wall) ? calloc(1, sizeof *m + n) : NULL;
    if (!m)
        return NULL;
    m->hash = hash;
    m->name_len = (uint16_t)name.len;
    m->text_len = (uint16_t)n;
    memcpy(m->text, text, n);
    m->next = *chain;
    *chain = m;
    s->n++;
    return m;
}

/* ---- taking ---- */

static enum verdict gauges_try(struct meter *m, const struct limit_rule *rule, const struct take *t, struct meter_view *view)
{
    enum verdict verdict = TAKE_OK;
    for (int g = 0; g < GAUGE_N; g++) {
        if (rule->most[g] <= 0)
            continue;
        struct ring *r = ring_of(m, rule, (enum gauge)g, t->now);
        if (!r)
            return TAKE_FULL;
        /* Answers that may be longer than a whole window are let in alone, and pay afterwards. */
        int64_t need = g == GAUGE_OUTPUT && t->tokens[g] > rule->most[g] ? rule->most[g] : t->tokens[g];
        uint64_t wait = ring_wait(r, need, rule->most[g], t->now);
        gauge_look(r, rule, (enum gauge)g, t->now, &view->gauges[g]);
        if (wait && (verdict == TAKE_OK || wait > view->wait_ns)) {
            view->wait_ns = wait;
            verdict = (enum verdict)(TAKE_REQUESTS + g);
        }
    }
    return verdict;
}

static enum verdict money_try(struct meter *m, const struct limit_rule *rule, const struct take *t, struct meter_view *view)
{
    if (!rule->has_money)
        return TAKE_OK;
    purse_turn(&m->purse, rule->period, t->wall);
    view->spent = m->purse.spent;
    view->reserved = m->purse.reserved;
    view->amount = rule->amount;
    view->period_start = m->purse.start;
    int64_t left = rule->amount - m->purse.spent - m->purse.reserved;
    /* What costs nothing may pass an empty purse; what costs something must fit. */
    return t->ignores_money || t->money <= 0 || t->money <= left ? TAKE_OK : TAKE_MONEY;
}

enum verdict meter_take(const struct limit_rule *rule, str subject, const struct take *t, struct hold *h, struct meter_view *view)
{
    struct shard *s;
    struct meter *m = find(rule, subject, t, &s);
    *view = (struct meter_view){ 0 };
    *h = (struct hold){ 0 };
    uint64_t bucket = t->now / bucket_ns(rule);
    enum verdict v = m ? gauges_try(m, rule, t, view) : TAKE_FULL;
    if (v == TAKE_OK && rule->concurrent > 0 && m->in_flight >= rule->concurrent) {
        v = TAKE_CONCURRENT;
        view->wait_ns = 1000000000ull;          /* nobody knows; a second is when it is worth asking */
    }
    if (v == TAKE_OK)
        v = money_try(m, rule, t, view);
    if (v == TAKE_OK) {
        *h = (struct hold){ .meter = m, .rule = rule, .bucket = bucket, .money = rule->has_money ? t->money : 0 };
        for (int g = 0; g < GAUGE_N; g++)
            if (rule->most[g] > 0) {
                h->tokens[g] = t->tokens[g];
                ring_add(m->rings[g], bucket, t->tokens[g]);
                view->gauges[g].left = view->gauges[g].left > t->tokens[g] ? view->gauges[g].left - t->tokens[g] : 0;
                if (!view->gauges[g].reset_ns)
                    view->gauges[g].reset_ns = rule->window_ns;
            }
        m->in_flight += rule->concurrent > 0;
        m->purse.reserved += h->money;
        m->n_holds++;
    }
    pthread_mutex_unlock(&s->lock);
    return v;
}

bool meter_extend(struct hold *h, int64_t money, bool is_forced)
{
    struct meter *m = h->meter;
    struct shard *s = shard_lock(m->hash);
    bool ok = is_forced || m->purse.spent + m->purse.reserved + money <= h->rule->amount;
    if (ok) {
        m->purse.reserved += money;
        h->money += money;
    }
    pthread_mutex_unlock(&s->lock);
    return ok;
}

static void hold_end(struct hold *h)
{
    h->meter->in_flight -= h->rule->concurrent > 0;
    h->meter->purse.reserved -= h->money;
    h->meter->n_holds--;
    assert(h->meter->purse.reserved >= 0 && h->meter->in_flight >= 0);
    h->meter = NULL;
}

void meter_undo(struct hold *h)
{
    struct meter *m = h->meter;
    if (!m)
        return;
    struct shard *s = shard_lock(m->hash);
    for (int g = 0; g < GAUGE_N; g++)
        if (h->tokens[g] && m->rings[g])
            ring_add(m->rings[g], h->bucket, -h->tokens[g]);
    hold_end(h);
    pthread_mutex_unlock(&s->lock);
}

static int64_t charge(struct meter *m, const struct limit_rule *rule, const struct take *truth)
{
    if (!rule->has_money)
        return 0;
    purse_turn(&m->purse, rule->period, truth->wall);
    m->purse.spent += truth->money;
    return m->purse.start;
}

void meter_settle(struct hold *h, const struct take *truth, int64_t *period_start_out)
{
    struct meter *m = h->meter;
    if (!m)
        return;
    const struct limit_rule *rule = h->rule;
    uint64_t bucket = truth->now / bucket_ns(rule);
    struct shard *s = shard_lock(m->hash);
    for (int g = 0; g < GAUGE_N; g++) {
        struct ring *r = rule->most[g] > 0 ? m->rings[g] : NULL;
        int64_t more = truth->tokens[g] - h->tokens[g];
        if (!r || !more)
            continue;
        ring_turn(r, truth->now);
        ring_add(r, more < 0 ? h->bucket : bucket, more);       /* too much is given back where it was taken */
    }
    *period_start_out = charge(m, rule, truth);
    hold_end(h);
    pthread_mutex_unlock(&s->lock);
}

bool meter_charge(const struct limit_rule *rule, str subject, const struct take *truth, int64_t *period_start_out)
{
    struct shard *s;
    struct meter *m = find(rule, subject, truth, &s);
    uint64_t bucket = truth->now / bucket_ns(rule);
    for (int g = 0; m && g < GAUGE_N; g++) {
        struct ring *r = rule->most[g] > 0 && truth->tokens[g] ? ring_of(m, rule, (enum gauge)g, truth->now) : NULL;
        if (r)
            ring_add(r, bucket, truth->tokens[g]);
    }
    if (m)
        *period_start_out = charge(m, rule, truth);
    pthread_mutex_unlock(&s->lock);
    return m != NULL;
}

bool meter_load(str rule_name, str subject, int64_t start, int64_t spent)
{
    const struct limit_rule rule = { .name = rule_name };
    const struct take t = { .wall = start };
    struct shard *s;
    struct meter *m = find(&rule, subject, &t, &s);
    struct purse *p = m ? &m->purse : NULL;
    if (p && start > p->start)
        *p = (struct purse){ .start = start, .spent = spent, .reserved = p->reserved, .last_start = p->start,
                             .last_spent = p->spent, .is_loaded = true };
    else if (p && start == p->start)
        *p = (struct purse){ .start = start, .spent = p->spent + spent, .reserved = p->reserved, .is_loaded = true };
    pthread_mutex_unlock(&s->lock);
    return m != NULL;
}

void meters_money(const struct limit_rule *rule, int64_t wall,
                  void (*see)(void *arg, str subject, int64_t spent, int64_t reserved), void *arg)
{
    str name = str_upto(rule->name, SUBJECT_MAX);
    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_lock(&shards[i].lock);
        for (int c = 0; c < CHAINS; c++)
            for (struct meter *m = shards[i].chains[c]; m; m = m->next)
                if (str_eq((str){ m->text, m->name_len }, name)) {
                    purse_turn(&m->purse, rule->period, wall);
                    see(arg, (str){ m->text + m->name_len + 1, (size_t)(m->text_len - m->name_len - 1) }, m->purse.spent,
                        m->purse.reserved);
                }
        pthread_mutex_unlock(&shards[i].lock);
    }
}

size_t meters_count(void)
{
    size_t n = 0;
    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_lock(&shards[i].lock);
        n += shards[i].n;
        pthread_mutex_unlock(&shards[i].lock);
    }
    return n;
}

void meters_forget(void)
{
    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_lock(&shards[i].lock);
        for (int c = 0; c < CHAINS; c++)
            for (struct meter *m = shards[i].chains[c], *next; m; m = next) {
                next = m->next;
                meter_free(m);
            }
        memset(shards[i].chains, 0, sizeof shards[i].chains);
        shards[i].n = 0;
        pthread_mutex_unlock(&shards[i].lock);
    }
}
