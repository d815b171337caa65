/* observe/window.c -- two rings of sums a model.
 *
 * A slot knows which stretch of time it holds; writing into a slot of an older stretch clears it
 * first, reading skips slots that are too old. So nothing has to run when nothing happens.
 * Percentiles come from buckets a factor of sqrt(2) wide, linear inside. */
#include "observe/window.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "observe/metrics.h"

enum {
    FINE_SLOTS = 91, FINE_S = 10,               /* 15 minutes and the slot being filled */
    COARSE_SLOTS = 289, COARSE_S = 300,         /* 24 hours and the slot being filled */
    BUCKETS = 44,                               /* from 1 ms: 2^22 ms, over an hour */
};

static const struct { const char *name; uint32_t seconds; } spans[] = {
    { "1m", 60 }, { "5m", 300 }, { "15m", 900 }, { "1h", 3600 }, { "24h", 86400 },
};

struct slot {
    uint64_t stretch;                         /* number of the stretch of time + 1; 0: never used */
    uint32_t n, n_errors;
    uint64_t prompt_tokens, completion_tokens;
    double latency_s;
    uint32_t buckets[BUCKETS];
};

struct gauges { metric mean, p50, p95, p99, requests, prompt, completion, errors; };

struct window {
    pthread_mutex_t lock;                       /* guards the slots */
    struct slot fine[FINE_SLOTS], coarse[COARSE_SLOTS];
    struct gauges gauges[COUNT_OF(spans)];
    str model;
    struct window *next;
};

static struct {
    pthread_mutex_t lock;                       /* guards the list */
    struct window *first;
    unsigned n;
} all = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void gauges_make(struct window *w)
{
    for (unsigned i = 0; i < COUNT_OF(spans); i++) {
        str span = str_of(spans[i].name);
        const str labels[] = { w->model, span };
        const str prompt[] = { w->model, S("prompt"), span };
        const str completion[] = { w->model, S("completion"), span };
        w->gauges[i] = (struct gauges){
            .mean = metric_cell(METRIC_WINDOW_LATENCY, labels),
            .p50 = metric_cell(METRIC_WINDOW_LATENCY_P50, labels),
            .p95 = metric_cell(METRIC_WINDOW_LATENCY_P95, labels),
            .p99 = metric_cell(METRIC_WINDOW_LATENCY_P99, labels),
            .requests = metric_cell(METRIC_WINDOW_REQUESTS, labels),
            .errors = metric_cell(METRIC_WINDOW_ERROR_RATE, labels),
            .prompt = metric_cell(METRIC_WINDOW_TOKENS, prompt),
            .completion = metric_cell(METRIC_WINDOW_TOKENS, completion),
        };
    }
}

static struct window *window_make(str model)
{
    struct window *w = calloc(1, sizeof *w);
    char *name = malloc(model.len + 1);
    if (!w || !name) {
        free(w);
        free(name);
        return NULL;
    }
    memcpy(name, model.ptr, model.len);
    w->model = (str){ name, model.len };
    pthread_mutex_init(&w->lock, NULL);
    gauges_make(w);
    return w;
}

struct window *window_of(str model)
{
    pthread_mutex_lock(&all.lock);
    struct window *w = all.first;
    while (w && !str_eq(w->model, model))
        w = w->next;
    if (!w && all.n < WINDOWS_MAX && (w = window_make(model)) != NULL) {
        w->next = all.first;
        all.first = w;
        all.n++;
    }
    pthread_mutex_unlock(&all.lock);
    return w;
}

static double bucket_end(unsigned i)            /* seconds */
{
    return 0.001 * exp2(0.5 * (i + 1));
}

static unsigned bucket_of(double seconds)
{
    if (!(seconds > 0.001))
        return 0;
    double i = 2 * log2(seconds * 1000);
    return i >= BUCKETS - 1 ? BUCKETS - 1 : (unsigned)i;
}

static struct slot *slot_for(struct slot *ring, unsigned n_slots, uint64_t stretch)
{
    struct slot *s = &ring[stretch % n_slots];
    if (s->stretch != stretch + 1)
        *s = (struct slot){ .stretch = stretch + 1 };
    return s;
}

void window_record(struct window *w, uint64_t now, double latency_s, uint64_t prompt_tokens,
                   uint64_t completion_tokens, bool is_error)
{
    if (!w)
        return;
    uint64_t second = now / NS_PER_S;
    pthread_mutex_lock(&w->lock);
    struct slot *both[] = {
        slot_for(w->fine, FINE_SLOTS, second / FINE_S),
        slot_for(w->coarse, COARSE_SLOTS, second / COARSE_S),
    };
    for (unsigned i = 0; i < COUNT_OF(both); i++) {
        both[i]->n++;
        both[i]->n_errors += is_error;
        both[i]->prompt_tokens += prompt_tokens;
        both[i]->completion_tokens += completion_tokens;
        both[i]->latency_s += latency_s > 0 ? latency_s : 0;
        both[i]->buckets[bucket_of(latency_s)]++;
    }
    pthread_mutex_unlock(&w->lock);
}

static void ring_sum(const struct slot *ring, unsigned n_slots, uint64_t stretch, unsigned n,
                     struct slot *sum)
{
    for (unsigned i = 0; i < n_slots; i++) {
        const struct slot *s = &ring[i];
        if (s->stretch == 0 || s->stretch - 1 > stretch || s->stretch - 1 + n <= stretch)
            continue;
        sum->n += s->n;
        sum->n_errors += s->n_errors;
        sum->prompt_tokens += s->prompt_tokens;
        sum->completion_tokens += s->completion_tokens;
        sum->latency_s += s->latency_s;
        for (unsigned k = 0; k < BUCKETS; k++)
            sum->buckets[k] += s->buckets[k];
    }
}

static double quantile(const struct slot *s, double q)
{
    double rank = q * s->n, below = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        if (s->buckets[i] > 0 && below + s->buckets[i] >= rank) {
            double from = i ? bucket_end(i - 1) : 0;
            return from + (bucket_end(i) - from) * (rank - below) / s->buckets[i];
        }
        below += s->buckets[i];
    }
    return (double)NAN;             /* an empty window has no latency, not one of zero */
}

static void window_publish(struct window *w, uint64_t second)
{
    for (unsigned i = 0; i < COUNT_OF(spans); i++) {
        const struct gauges *g = &w->gauges[i];
        struct slot sum = { 0 };
        pthread_mutex_lock(&w->lock);
        if (spans[i].seconds <= (FINE_SLOTS - 1) * FINE_S)
            ring_sum(w->fine, FINE_SLOTS, second / FINE_S, spans[i].seconds / FINE_S, &sum);
        else
            ring_sum(w->coarse, COARSE_SLOTS, second / COARSE_S, spans[i].seconds / COARSE_S, &sum);
        pthread_mutex_unlock(&w->lock);
        metric_set(g->mean, sum.n ? sum.latency_s / sum.n : (double)NAN);
        metric_set(g->p50, quantile(&sum, .50));
        metric_set(g->p95, quantile(&sum, .95));
        metric_set(g->p99, quantile(&sum, .99));
        metric_set(g->requests, sum.n);
        metric_set(g->prompt, (double)sum.prompt_tokens);
        metric_set(g->completion, (double)sum.completion_tokens);
        metric_set(g->errors, sum.n ? (double)sum.n_errors / sum.n : (double)NAN);
    }
}

void windows_publish(uint64_t now)
{
    pthread_mutex_lock(&all.lock);
    struct window *first = all.first;           /* the list only grows at its head */
    pthread_mutex_unlock(&all.lock);
    for (struct window *w = first; w; w = w->next)
        window_publish(w, now / NS_PER_S);
}
