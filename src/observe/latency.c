/* observe/latency.c -- samples kept in order.
 *
 * A series is a ring (what to forget next) and the same values sorted. A new sample takes the place
 * of the forgotten one: two searches of ten steps and one memmove between the two places. So a
 * percentile is exact and costs an index, however often it is asked. */
#include "observe/latency.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/map.h"

#define ALPHA 0.3

enum { ROOM = 1024 };             /* a power of two, so that a search has a fixed number of steps */
static_assert(ROOM > (int)LATENCY_SAMPLES, "a search must end in the filling");

/* Seconds as the bits of a float: not negative, so they sort like integers. */
struct series {
    uint32_t sorted[ROOM];          /* [n], then UINT32_MAX */
    uint32_t ring[LATENCY_SAMPLES];
    uint32_t n, oldest;
    double average;                 /* exponential */
};

struct latency {
    pthread_mutex_t lock;           /* guards the series */
    struct series ttft, tpot;
    uint64_t n_answers;
    _Atomic int64_t in_flight;
    _Atomic uint32_t failures;      /* in 1 / FAILURE_ONE; a lost update among threads costs nothing */
};

enum { FAILURE_ONE = 1 << 20, FAILURE_MEMORY = 16 };

struct latency *latency_new(void)
{
    struct latency *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    pthread_mutex_init(&l->lock, NULL);
    memset(l->ttft.sorted, 0xff, sizeof l->ttft.sorted);
    memset(l->tpot.sorted, 0xff, sizeof l->tpot.sorted);
    return l;
}

struct latency *latency_of(str model)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct map by_name;
    pthread_mutex_lock(&lock);
    if (!by_name.a)
        by_name.a = arena_new();
    struct latency *l = by_name.a ? map_get(&by_name, model) : NULL;
    if (!l && by_name.a && (l = latency_new()) != NULL)
        map_put(&by_name, arena_str(by_name.a, model), l);
    pthread_mutex_unlock(&lock);
    return l;
}

static uint32_t bits_of(double v)
{
    float f = (float)v + 0.0f;                  /* + 0: no negative zero */
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static double value_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

/* One step of a search for the first value >= v: skips `step` values if all of them are smaller. A
 * mask instead of a branch, since nobody can guess the answer. */
static inline uint32_t skip(const uint32_t *sorted, uint32_t at, uint32_t step, uint32_t v)
{
    return at + (step & -(uint32_t)(sorted[at + step - 1] < v));
}

struct places { uint32_t from, to; };           /* of the value to forget and of the new one */

/* Four searches side by side: each alone would mostly wait for its own loads. */
static void places_find(const struct series *a, uint32_t new_a, struct places *in_a,
                        const struct series *b, uint32_t new_b, struct places *in_b)
{
    uint32_t old_a = a->ring[a->oldest], old_b = b->ring[b->oldest];
    *in_a = *in_b = (struct places){ 0, 0 };
    for (uint32_t step = ROOM / 2; step; step /= 2) {
        in_a->from = skip(a->sorted, in_a->from, step, old_a);
        in_b->from = skip(b->sorted, in_b->from, step, old_b);
        in_a->to = skip(a->sorted, in_a->to, step, new_a);
        in_b->to = skip(b->sorted, in_b->to, step, new_b);
    }
}

static bool is_sample(double v)
{
    return v >= 0 && v < 1e9;                   /* no NaN, no clock gone mad */
}

static void series_add(struct series *s, double sample, struct places at)
{
    uint32_t v = bits_of(sample);
    s->average = s->n ? ALPHA * sample + (1 - ALPHA) * s->average : sample;
    if (s->n < LATENCY_SAMPLES) {
        memmove(&s->sorted[at.to + 1], &s->sorted[at.to], (s->n - at.to) * sizeof v);
        s->ring[s->n++] = v;
    } else {
        if (at.to > at.from) {
            at.to--;
            memmove(&s->sorted[at.from], &s->sorted[at.from + 1], (at.to - at.from) * sizeof v);
        } else {
            memmove(&s->sorted[at.to + 1], &s->sorted[at.to], (at.from - at.to) * sizeof v);
        }
        s->ring[s->oldest] = v;
        s->oldest = s->oldest + 1 < LATENCY_SAMPLES ? s->oldest + 1 : 0;
    }
    s->sorted[at.to] = v;
}

static double series_percentile(const struct series *s, double percentile)
{
    if (s->n == 0)
        return (double)NAN;
    if (s->n < 3)
        return s->average;
    double rank = fmin(fmax(percentile, 0), 100) / 100 * (s->n - 1);
    uint32_t below = (uint32_t)rank;
    uint32_t above = below + 1 < s->n ? below + 1 : below;
    double from = value_of(s->sorted[below]), to = value_of(s->sorted[above]);
    return from + (to - from) * (rank - below);
}

void latency_record(struct latency *l, double ttft_s, double tpot_s)
{
    struct places ttft, tpot;
    pthread_mutex_lock(&l->lock);
    places_find(&l->ttft, bits_of(ttft_s), &ttft, &l->tpot, bits_of(tpot_s), &tpot);
    if (is_sample(ttft_s))
        series_add(&l->ttft, ttft_s, ttft);
    if (is_sample(tpot_s))
        series_add(&l->tpot, tpot_s, tpot);
    l->n_answers++;
    pthread_mutex_unlock(&l->lock);
}

static double ask(struct latency *l, const struct series *s, double percentile)
{
    pthread_mutex_lock(&l->lock);
    double v = series_percentile(s, percentile);
    pthread_mutex_unlock(&l->lock);
    return v;
}

static double ask_average(struct latency *l, const struct series *s)
{
    pthread_mutex_lock(&l->lock);
    double v = s->n ? s->average : (double)NAN;
    pthread_mutex_unlock(&l->lock);
    return v;
}

double latency_ttft(struct latency *l, double percentile)
{
    return ask(l, &l->ttft, percentile);
}

double latency_tpot(struct latency *l, double percentile)
{
    return ask(l, &l->tpot, percentile);
}

double latency_ttft_average(struct latency *l)
{
    return ask_average(l, &l->ttft);
}

double latency_tpot_average(struct latency *l)
{
    return ask_average(l, &l->tpot);
}

uint64_t latency_samples(struct latency *l)
{
    pthread_mutex_lock(&l->lock);
    uint64_t n = l->n_answers;
    pthread_mutex_unlock(&l->lock);
    return n;
}

void latency_begin(struct latency *l)
{
    atomic_fetch_add_explicit(&l->in_flight, 1, memory_order_relaxed);
}

void latency_end(struct latency *l)
{
    atomic_fetch_sub_explicit(&l->in_flight, 1, memory_order_relaxed);
}

uint32_t latency_in_flight(const struct latency *l)
{
    int64_t n = atomic_load_explicit(&l->in_flight, memory_order_relaxed);
    return n > 0 ? (uint32_t)n : 0;
}

void latency_tried(struct latency *l, bool is_failed)
{
    uint32_t was = atomic_load_explicit(&l->failures, memory_order_relaxed);
    if (was || is_failed)               /* as a rule nothing is written */
        atomic_store_explicit(&l->failures, was - was / FAILURE_MEMORY + (is_failed ? FAILURE_ONE / FAILURE_MEMORY : 0),
                              memory_order_relaxed);
}

double latency_failures(const struct latency *l)
{
    return (double)atomic_load_explicit(&l->failures, memory_order_relaxed) / FAILURE_ONE;
}
