/* observe/metrics.c -- shards of numbers, summed when somebody asks.
 *
 * A cell number is (family, slot). Every shard is one long array of doubles in its own mapping,
 * reserved once and touched by the page, so that a slot never moves and a cell needs no pointer. A
 * gauge that is set lives in the shared shard alone; everything else is added to in the writer's
 * shard. All values are doubles: integers stay exact to 2^53 and money needs no second kind of
 * cell.
 *
 * Label sets sit in one open hash table of pointers that only ever grows: inserted under a lock,
 * found without one. */
#include "observe/metrics.h"

#include <assert.h>
#include <ctype.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/utf8.h"
#include "observe/process.h"
#include "observe/window.h"

enum metric_type { COUNTER, GAUGE, HISTOGRAM };

enum {
    SLOT_BITS = 20, SLOTS = 1 << SLOT_BITS,    /* 8 MiB a shard, touched as used; beyond: "other" */
    TABLE = 1 << 17, SETS_MAX = TABLE / 2,      /* label sets of all families; beyond: "other" */
    BOUNDS_MAX = 26,                            /* three more than any set has: see stretch_of */
};

/* ---- the tables ---- */

#define UNBOUNDED(from) [from ... BOUNDS_MAX - 1] = (double)INFINITY

struct buckets { unsigned n; double bounds[BOUNDS_MAX]; };

enum { BUCKETS_NONE, BUCKETS_SECONDS, BUCKETS_FINE, BUCKETS_TOKENS, BUCKETS_SHARE, BUCKETS_MONEY };

static const struct buckets all_buckets[] = {
    [BUCKETS_NONE] = { 0, { UNBOUNDED(0) } },
    [BUCKETS_SECONDS] = { 16, { .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 30, 60, 120,
                                300, UNBOUNDED(16) } },
    [BUCKETS_FINE] = { 22, { 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, .001, .0025, .005, .01, .025,
                             .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, UNBOUNDED(22) } },
    [BUCKETS_TOKENS] = { 17, { 0, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384,
                               32768, 65536, 131072, 1048576, UNBOUNDED(17) } },
    [BUCKETS_SHARE] = { 13, { .01, .05, .1, .2, .3, .4, .5, .6, .7, .8, .9, .95, 1,
                              UNBOUNDED(13) } },
    [BUCKETS_MONEY] = { 13, { 1e-5, 1e-4, 2.5e-4, 5e-4, .001, .0025, .005, .01, .025, .1, .5, 1,
                              10, UNBOUNDED(13) } },
};

static const struct family {
    const char *name, *help;
    uint8_t type, buckets;
    const char *labels[METRIC_LABELS_MAX];
} families[METRIC_FAMILIES] = {
#define M(id, type_, buckets_, name_, help_, ...) \
    [METRIC_##id] = { .name = name_, .help = help_, .type = type_, .buckets = BUCKETS_##buckets_, \
                      .labels = { __VA_ARGS__ } },
#include "observe/metric_list.h"
#undef M
};

static_assert(METRIC_FAMILIES < 1 << (32 - SLOT_BITS), "the family must fit above the slot");

struct set {                        /* one label set; never changes once it is in the table */
    uint64_t hash;
    enum metric_id family;
    metric cell;
    str values[METRIC_LABELS_MAX];
    _Atomic(struct set *) next;     /* in the family, by first use */
};

static _Atomic(struct set *) table[TABLE];
static struct {
    pthread_mutex_t lock;           /* guards what is made, not what is read */
    struct arena *a;
    uint32_t next_slot, n_sets;
    uint32_t n_of[METRIC_FAMILIES];
    struct set *last[METRIC_FAMILIES];
    _Atomic(struct set *) first[METRIC_FAMILIES];
} registry = { .lock = PTHREAD_MUTEX_INITIALIZER, .next_slot = 1 };

typedef _Atomic uint64_t slot;      /* the bits of a double */

static slot *shared_slots;          /* written once, before the first cell is handed out */
static _Atomic(slot *) loop_slots[METRIC_SHARDS_MAX];
static _Thread_local slot *own_slots;   /* NULL: this thread uses the shared shard */

/* ---- updating ---- */

static inline double as_double(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static inline uint64_t as_bits(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static inline uint32_t slot_of(metric cell)
{
    return cell & (SLOTS - 1);
}

static inline const struct family *family_of(metric cell)
{
    return &families[cell >> SLOT_BITS];
}

static inline void slot_add(uint32_t at, double v)
{
    if (own_slots) {                /* nobody else writes here */
        uint64_t bits = atomic_load_explicit(&own_slots[at], memory_order_relaxed);
        atomic_store_explicit(&own_slots[at], as_bits(as_double(bits) + v), memory_order_relaxed);
        return;
    }
    uint64_t bits = atomic_load_explicit(&shared_slots[at], memory_order_relaxed);
    uint64_t sum;
    do
        sum = as_bits(as_double(bits) + v);
    while (!atomic_compare_exchange_weak_explicit(&shared_slots[at], &bits, sum,
                                                  memory_order_relaxed, memory_order_relaxed));
}

/* Which bucket? The exponent and two bits of the mantissa lead to where at most three bounds are
 * left to compare: no search, no branch. */
enum { STRETCH_FROM = (1023 - 17) * 4, STRETCHES = 39 * 4 };    /* 2^-17 to 2^22, four an octave */

static uint8_t starts[COUNT_OF(all_buckets)][STRETCHES];        /* bounds below the stretch */

static inline unsigned stretch_of(double v)
{
    int64_t i = ((int64_t)as_bits(v) >> 50) - STRETCH_FROM;
    return i < 0 ? 0 : i < STRETCHES ? (unsigned)i : STRETCHES - 1;
}

static double stretch_start(unsigned i)
{
    return as_double((uint64_t)(i + STRETCH_FROM) << 50);
}

static void starts_make(void)
{
    for (unsigned set = 0; set < COUNT_OF(all_buckets); set++) {
        const struct buckets *b = &all_buckets[set];
        for (unsigned i = 0; i < STRETCHES; i++) {
            double from = i ? stretch_start(i) : -(double)INFINITY;
            double to = i + 1 < STRETCHES ? stretch_start(i + 1) : (double)INFINITY;
            unsigned below = 0, inside = 0;
            for (unsigned k = 0; k < b->n; k++) {
                below += b->bounds[k] < from;
                inside += b->bounds[k] >= from && b->bounds[k] < to;
            }
            assert(inside <= 3 && b->n + 3 <= BOUNDS_MAX);
            starts[set][i] = (uint8_t)below;
        }
    }
}

void metric_add(metric cell, uint64_t n)
{
    if (cell)
        slot_add(slot_of(cell), (double)n);
}

void metric_add_double(metric cell, double v)
{
    if (cell && !isnan(v) && (v >= 0 || family_of(cell)->type == GAUGE))
        slot_add(slot_of(cell), v);
}

void metric_set(metric cell, double v)
{
    if (cell)
        atomic_store_explicit(&shared_slots[slot_of(cell)], as_bits(v), memory_order_relaxed);
}

void metric_observe(metric cell, double v)
{
    if (!cell || isnan(v))
        return;
    const struct buckets *b = &all_buckets[family_of(cell)->buckets];
    assert(b->n > 0);
    const double *bounds = b->bounds;
    unsigned i = starts[family_of(cell)->buckets][stretch_of(v)];
    i += (bounds[i] < v) + (bounds[i + 1] < v) + (bounds[i + 2] < v);
    slot_add(slot_of(cell) + i, 1);
    slot_add(slot_of(cell) + b->n + 1, v);
}

static slot *slots_map(void)
{
    void *p = mmap(NULL, SLOTS * sizeof(slot), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void metrics_thread(unsigned shard)
{
    own_slots = NULL;
    if (shard >= METRIC_SHARDS_MAX)
        return;
    pthread_mutex_lock(&registry.lock);
    slot *s = atomic_load_explicit(&loop_slots[shard], memory_order_relaxed);
    if (!s) {
        s = slots_map();            /* no memory: the shared shard does */
        atomic_store_explicit(&loop_slots[shard], s, memory_order_release);
    }
    pthread_mutex_unlock(&registry.lock);
    own_slots = s;
}

static double slot_sum(uint32_t at)
{
    double sum = as_double(atomic_load_explicit(&shared_slots[at], memory_order_relaxed));
    for (unsigned i = 0; i < METRIC_SHARDS_MAX; i++) {
        slot *s = atomic_load_explicit(&loop_slots[i], memory_order_acquire);
        if (s)
            sum += as_double(atomic_load_explicit(&s[at], memory_order_relaxed));
    }
    return sum;
}

/* ---- label sets ---- */

static unsigned label_count(const struct family *f)
{
    unsigned n = 0;
    while (n < METRIC_LABELS_MAX && f->labels[n])
        n++;
    return n;
}

static unsigned cell_slots(const struct family *f)
{
    return f->type == HISTOGRAM ? all_buckets[f->buckets].n + 2 : 1;   /* + the rest, + the sum */
}

/* A value as it is kept: of bounded length and valid UTF-8, else scrapers refuse the whole page. */
static str value_clean(str v, char room[METRIC_VALUE_MAX])
{
    v = str_upto(v, METRIC_VALUE_MAX);
    bool is_ascii = true;
    for (size_t i = 0; i < v.len; i++)
        is_ascii &= (unsigned char)v.ptr[i] < 0x80 && v.ptr[i] != 0;
    if (is_ascii)
        return v;
    memcpy(room, v.ptr, v.len);
    for (size_t i = 0, from; i < v.len; ) {
        from = i;
        uint32_t code = utf8_next(v, &i);
        if (code == 0 || (code == UTF8_BAD && i == from + 1))
            room[from] = '?';
    }
    return (str){ room, v.len };
}

static bool set_is(const struct set *s, uint64_t hash, enum metric_id family, const str *values,
                   unsigned n)
{
    if (s->hash != hash || s->family != family)
        return false;
    for (unsigned i = 0; i < n; i++)
        if (!str_eq(s->values[i], values[i]))
            return false;
    return true;
}

/* The set, or NULL and *at is the free place where it belongs. */
static struct set *set_find(uint64_t hash, enum metric_id family, const str *values, unsigned n,
                            size_t *at)
{
    for (size_t i = hash % TABLE;; i = (i + 1) % TABLE) {
        struct set *s = atomic_load_explicit(&table[i], memory_order_acquire);
        if (!s) {
            *at = i;
            return NULL;
        }
        if (set_is(s, hash, family, values, n))
            return s;
    }
}

static uint64_t set_hash(enum metric_id family, const str *values, unsigned n)
{
    uint64_t h = hash_mix((uint64_t)family);
    for (unsigned i = 0; i < n; i++)
        h = hash_mix(h ^ hash_str(values[i]));
    return h;
}

/* Lock held. Returns NULL when a bound is reached; the "other" set may exceed its family's. */
static struct set *set_make(enum metric_id family, const str *values, bool is_other)
{
    const struct family *f = &families[family];
    unsigned n = label_count(f), need = cell_slots(f);
    uint64_t hash = set_hash(family, values, n);
    size_t at;
    struct set *s = set_find(hash, family, values, n, &at);
    if (s)
        return s;
    /* The last slots are for the "other" of every family. */
    uint32_t kept_back = is_other ? 0 : METRIC_FAMILIES * (BOUNDS_MAX + 2);
    bool is_full = registry.n_of[family] >= METRIC_SETS_MAX || registry.n_sets >= SETS_MAX;
    if ((is_full && !is_other) || registry.next_slot + need + kept_back > SLOTS)
        return NULL;
    s = ARENA_NEW(registry.a, struct set);
    s->hash = hash;
    s->family = family;
    s->cell = (metric)family << SLOT_BITS | registry.next_slot;
    for (unsigned i = 0; i < n; i++)
        s->values[i] = arena_str(registry.a, values[i]);
    registry.next_slot += need;
    registry.n_sets++;
    registry.n_of[family]++;
    atomic_store_explicit(&table[at], s, memory_order_release);
    if (registry.last[family])
        atomic_store_explicit(&registry.last[family]->next, s, memory_order_release);
    else
        atomic_store_explicit(&registry.first[family], s, memory_order_release);
    registry.last[family] = s;
    return s;
}

static void registry_make(void)
{
    starts_make();
    shared_slots = slots_map();
    registry.a = arena_new();
    if (!shared_slots || !registry.a)
        return;
    pthread_mutex_lock(&registry.lock);
    for (enum metric_id id = METRIC_NONE + 1; id < METRIC_FAMILIES; id++)
        if (label_count(&families[id]) == 0)    /* these are shown from the start, as zero */
            set_make(id, NULL, false);
    pthread_mutex_unlock(&registry.lock);
}

static bool registry_is_there(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, registry_make);
    return shared_slots && registry.a;
}

metric metric_cell(enum metric_id family, const str *values)
{
    assert(family > METRIC_NONE && family < METRIC_FAMILIES);
    if (!registry_is_there())
        return 0;
    char room[METRIC_LABELS_MAX][METRIC_VALUE_MAX];
    str clean[METRIC_LABELS_MAX];
    unsigned n = label_count(&families[family]);
    for (unsigned i = 0; i < n; i++)
        clean[i] = value_clean(values[i], room[i]);
    size_t at;
    struct set *s = set_find(set_hash(family, clean, n), family, clean, n, &at);
    if (s)
        return s->cell;
    pthread_mutex_lock(&registry.lock);
    s = set_make(family, clean, false);
    bool is_full = !s;
    if (is_full) {
        static const str other[METRIC_LABELS_MAX] = {
            { "other", 5 }, { "other", 5 }, { "other", 5 }, { "other", 5 },
        };
        s = set_make(family, other, true);
    }
    pthread_mutex_unlock(&registry.lock);
    if (is_full)
        metric_add(metric_cell(METRIC_LABELS_DROPPED, NULL), 1);
    return s ? s->cell : 0;
}

/* ---- reading ---- */

double metric_value(metric cell)
{
    if (!cell)
        return 0;
    double v = 0;
    unsigned n = family_of(cell)->type == HISTOGRAM ? cell_slots(family_of(cell)) - 1 : 1;
    for (unsigned i = 0; i < n; i++)
        v += slot_sum(slot_of(cell) + i);
    return v;
}

double metric_sum(metric cell)
{
    return cell ? slot_sum(slot_of(cell) + cell_slots(family_of(cell)) - 1) : 0;
}

double metric_quantile(metric cell, double q)
{
    double counts[BOUNDS_MAX + 1], total = 0, below = 0;
    if (!cell || family_of(cell)->type != HISTOGRAM)
        return (double)NAN;
    const struct buckets *b = &all_buckets[family_of(cell)->buckets];
    for (unsigned i = 0; i <= b->n; i++)
        total += counts[i] = slot_sum(slot_of(cell) + i);
    if (total == 0)
        return (double)NAN;
    double rank = q * total;
    for (unsigned i = 0; i < b->n; i++) {
        if (below + counts[i] >= rank && counts[i] > 0) {
            double from = i ? b->bounds[i - 1] : 0;
            return from + (b->bounds[i] - from) * fmax(rank - below, 0) / counts[i];
        }
        below += counts[i];
    }
    return b->bounds[b->n - 1];                 /* as Prometheus: the highest finite bound */
}

static void write_number(struct buf *out, double v, bool canonical_float)
{
    char text[40];
    if (isnan(v) || isinf(v)) {
        buf_str(out, isnan(v) ? S("NaN") : v > 0 ? S("+Inf") : S("-Inf"));
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    if (v == floor(v) && fabs(v) < 0x1p53)
        snprintf(text, sizeof text, "%.0f", v);
    buf_str(out, str_of(text));
    if (canonical_float && !strpbrk(text, ".e"))
        buf_str(out, S(".0"));
}

static void write_escaped(struct buf *out, str s, bool is_label)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\n')
            buf_str(out, S("\\n"));
        else if (s.ptr[i] == '\\' || (is_label && s.ptr[i] == '"'))
            buf_add(out, (char[2]){ '\\', s.ptr[i] }, 2);
        else
            buf_char(out, s.ptr[i]);
    }
}

/* name{labels} value; `le` is NULL but in buckets. */
static void write_sample(struct buf *out, const struct set *s, const char *suffix,
                         const double *le, double v, bool openmetrics)
{
    const struct family *f = &families[s->family];
    unsigned n = label_count(f);
    buf_str(out, str_of(f->name));
    buf_str(out, str_of(suffix));
    if (n || le)
        buf_char(out, '{');
    for (unsigned i = 0; i < n; i++) {
        if (i)
            buf_char(out, ',');
        buf_str(out, str_of(f->labels[i]));
        buf_str(out, S("=\""));
        write_escaped(out, s->values[i], true);
        buf_char(out, '"');
    }
    if (le) {
        buf_str(out, n ? S(",le=\"") : S("le=\""));
        write_number(out, *le, openmetrics && isfinite(*le));
        buf_char(out, '"');
    }
    if (n || le)
        buf_char(out, '}');
    buf_char(out, ' ');
    write_number(out, v, false);
    buf_char(out, '\n');
}

static void write_set(struct buf *out, const struct set *s, bool openmetrics)
{
    const struct family *f = &families[s->family];
    uint32_t at = slot_of(s->cell);
    if (f->type != HISTOGRAM) {
        write_sample(out, s, "", NULL, slot_sum(at), openmetrics);
        return;
    }
    const struct buckets *b = &all_buckets[f->buckets];
    double below = 0;
    for (unsigned i = 0; i <= b->n; i++) {
        double bound = i < b->n ? b->bounds[i] : (double)INFINITY;
        below += slot_sum(at + i);
        write_sample(out, s, "_bucket", &bound, below, openmetrics);
    }
    write_sample(out, s, "_sum", NULL, slot_sum(at + b->n + 1), openmetrics);
    write_sample(out, s, "_count", NULL, below, openmetrics);
}

static void write_family(struct buf *out, enum metric_id id, bool openmetrics)
{
    static const char *const types[] = { "counter", "gauge", "histogram" };
    const struct family *f = &families[id];
    struct set *s = atomic_load_explicit(&registry.first[id], memory_order_acquire);
    if (!s)
        return;
    str name = str_of(f->name);
    const char *type = types[f->type];
    if (openmetrics && f->type == COUNTER) {    /* there the family's name lacks the suffix */
        if (str_ends(name, S("_total")))
            name.len -= 6;
        else
            type = "unknown";
    }
    buf_str(out, S("# HELP "));
    buf_str(out, name);
    buf_char(out, ' ');
    write_escaped(out, str_of(f->help), false);
    buf_str(out, S("\n# TYPE "));
    buf_str(out, name);
    buf_char(out, ' ');
    buf_str(out, str_of(type));
    buf_char(out, '\n');
    for (; s; s = atomic_load_explicit(&s->next, memory_order_acquire))
        write_set(out, s, openmetrics);
}

void metrics_write(struct buf *out, bool openmetrics)
{
    if (!registry_is_there())
        return;
    windows_publish(clock_now());
    process_publish();
    for (enum metric_id id = METRIC_NONE + 1; id < METRIC_FAMILIES; id++)
        write_family(out, id, openmetrics);
    if (openmetrics)
        buf_str(out, S("# EOF\n"));
}
