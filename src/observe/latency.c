/* observe/latency.c -- samples kept in order.
 *
 * A series is a ring (what to forget next) and the same values sorted. A new sample takes the place
 * of the forgotten one: two searches of ten steps and one memmove between the two places. So a percentile
 * is exact and costs an index, however often it is asked. */
#include "observe/latency.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/map.h"

#define ALPHA 0.3

struct series {
    float sorted[LATENCY_SAMPLES];
    float ring[LATENCY_SAMPLES];
    uint32_t n, oldest;
    double average;                 /* exponential */
};

struct latency {
    pthread_mutex_t lock;           /* guards the series */
    struct series ttft, tpot;
    uint64_t n_answers;
    _Atomic int64_t in_flight;
};

struct latency *latency_new(void)
{
    struct latency *l = calloc(1, sizeof *l);
    if (l)
        pthread_mutex_init(&l->lock, NULL);
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

/* Index of the first value >= v; without branches, since the answer cannot be guessed. */
static uint32_t place_of(const float *sorted, uint32_t n, float v)
{
    const float *at = sorted;
    while (n > 1) {
        uint32_t half = n / 2;
        at += at[half - 1] < v ? half : 0;
        n -= half;
    }
    return (uint32_t)(at - sorted) + (n == 1 && *at < v);
}

static void series_add(struct series *s, double sample)
{
    if (!(sample >= 0) || isinf(sample))
        return;
    float v = (float)sample;
    s->average = s->n ? ALPHA * sample + (1 - ALPHA) * s->average : sample;
    uint32_t to = place_of(s->sorted, s->n, v);
    if (s->n < LATENCY_SAMPLES) {
        memmove(&s->sorted[to + 1], &s->sorted[to], (s->n - to) * sizeof v);
        s->ring[s->n++] = v;
    } else {
        uint32_t from = place_of(s->sorted, s->n, s->ring[s->oldest]);
        if (to > from) {
            to--;
            memmove(&s->sorted[from], &s->sorted[from + 1], (to - from) * sizeof v);
        } else {
            memmove(&s->sorted[to + 1], &s->sorted[to], (from - to) * sizeof v);
        }
        s->ring[s->oldest] = v;
        s->oldest = (s->oldest + 1) % LATENCY_SAMPLES;
    }
    s->sorted[to] = v;
}

static double series_percentile(const struct series *s, double percentile)
{
    if (s->n == 0)
        return NAN;
    if (s->n < 3)
        return s->average;
    double rank = fmin(fmax(percentile, 0), 100) / 100 * (s->n - 1);
    uint32_t below = (uint32_t)rank;
    uint32_t above = below + 1 < s->n ? below + 1 : below;
    double from = (double)s->sorted[below], to = (double)s->sorted[above];
    return from + (to - from) * (rank - below);
}

void latency_record(struct latency *l, double ttft_s, double tpot_s)
{
    pthread_mutex_lock(&l->lock);
    series_add(&l->ttft, ttft_s);
    series_add(&l->tpot, tpot_s);
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
