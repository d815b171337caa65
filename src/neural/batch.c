/* neural/batch.c -- the queue and the encoder threads.
 *
 * A thread takes what is waiting, at once, up to BATCH_TOKENS, windows it, packs the windows of all texts one behind the
 * other and runs one forward. When that was all that waited and nobody else is at work, it runs it with a gang: all cores
 * share the products of one batch. With more waiting, each thread takes its share and runs alone. So latency is best when
 * there is little to do, and throughput when there is much. A text of many windows goes through several batches and stands
 * in the queue again between them: it cannot hold up the short ones.
 *
 * Texts are tokenised here and not by the caller: 50 us of a thread that computes for milliseconds anyway, against 50 us in
 * which a loop serves nobody, and up to 10 ms for a text of 256 KB. */
#include "neural/job.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "runtime/loop.h"

enum {
    FLIGHT_BUCKETS = 4096,
    GANG_THREADS = 4,                   /* more do not gain on matrices of a few hundred columns */
    GANGS_MAX = 64,
    THREADS_MAX = GANGS_MAX * GANG_THREADS,
    QUEUE_TOKENS = 262144,              /* ~1 s of work of eight cores; beyond: -EAGAIN, the signal is unknown */
    CACHE_BYTES = 16 << 20,
    BYTES_A_TOKEN = 4,                  /* guess before tokenising */
    JOBS_KEPT = 64,                     /* for reuse, with their buffers */
    JOB_BYTES_KEPT = 16 * 1024,         /* larger buffers are not kept */
    WAITERS_KEPT = 256,
    NICE = 5,
};

struct waiter {
    struct waiter *next;                /* pool, or list of those to ring */
    unsigned holders;                   /* lock; the caller and the letter on its way */
    unsigned n_pending;                 /* lock; tickets not done */
    struct loop *loop;                  /* NULL: a plain thread */
    struct fiber *fiber;                /* loop only; NULL once it has left */
    bool is_rung;                       /* loop only */
    pthread_cond_t done;                /* plain thread; lock */
};

static pthread_mutex_t batch_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER, ready = PTHREAD_COND_INITIALIZER;
static pthread_mutex_t start_lock = PTHREAD_MUTEX_INITIALIZER;      /* neural_start and neural_stop */

static struct {                         /* batch_lock */
    bool is_running;
    struct worker *workers; unsigned n_threads, n_ready, n_busy;
    struct gang *gangs[GANGS_MAX]; unsigned n_gangs, gang_size;     /* the idle ones */
    struct job *first, *last;
    size_t n_tokens, tokens_max;
    struct job *flights[FLIGHT_BUCKETS];
    struct job *pool; unsigned n_pool;
    struct waiter *waiters; unsigned n_waiters;
    struct cache *cache;                /* stays until the next start: readers need no lock */
    int nice;
} q;

static atomic_uint_fast64_t counts[COUNT_KINDS];

void count_add(enum count_kind kind, uint64_t n)
{
    atomic_fetch_add_explicit(&counts[kind], n, memory_order_relaxed);
}

/* ---- what happens after the lock is given back ---- */

struct after { struct waiter *rung; struct job *spent; };

static void waiter_drop(struct waiter *w)       /* with the lock */
{
    if (--w->holders > 0)
        return;
    if (q.n_waiters < WAITERS_KEPT) {
        w->next = q.waiters;
        q.waiters = w;
        q.n_waiters++;
        return;
    }
    pthread_cond_destroy(&w->done);
    free(w);
}

static void letter_read(void *arg)              /* on the loop */
{
    struct waiter *w = arg;
    w->is_rung = true;
    if (w->fiber)
        fiber_wake(w->fiber);
    pthread_mutex_lock(&batch_lock);
    waiter_drop(w);
    pthread_mutex_unlock(&batch_lock);
}

static void job_clean(struct job *j)
{
    for (uint32_t i = 0; i < j->n_products; i++) {
        struct product *p = &j->products[i];
        answer_release(p->answer);
        head_version_release(p->head);
        span_join_free(&p->join);
    }
    answer_release(j->rows);
    neural_model_release(j->model);
    if (j->text_cap > JOB_BYTES_KEPT) {
        free(j->text);
        j->text = NULL;
        j->text_cap = 0;
    }
    if (j->windows.cap * (sizeof *j->windows.ids + sizeof *j->windows.bytes) > JOB_BYTES_KEPT)
        windows_free(&j->windows);
}

static void job_free(struct job *j)
{
    free(j->text);
    free(j->products);
    windows_free(&j->windows);
    free(j);
}

static void unlock_after(struct after *a)
{
    pthread_mutex_unlock(&batch_lock);
    for (struct waiter *w = a->rung, *next; w; w = next) {
        next = w->next;
        while (!loop_post(w->loop, letter_read, w))
            sched_yield();                      /* no memory for a letter: somebody is waiting for it */
    }
    if (!a->spent)
        return;
    for (struct job *j = a->spent; j; j = j->next)
        job_clean(j);
    pthread_mutex_lock(&batch_lock);
    for (struct job *j = a->spent, *next; j; j = next) {
        next = j->next;
        if (q.n_pool == JOBS_KEPT) {
            job_free(j);
            continue;
        }
        j->next = q.pool;
        q.pool = j;
        q.n_pool++;
    }
    pthread_mutex_unlock(&batch_lock);
}

/* ---- jobs: table, queue, end; all with the lock ---- */

static struct job **flight_of(struct key key)
{
    struct job **at = &q.flights[key.low % FLIGHT_BUCKETS];
    while (*at && !key_eq((*at)->key, key))
        at = &(*at)->chain;
    return at;
}

static void flight_add(struct job *j)
{
    struct job **at = &q.flights[j->key.low % FLIGHT_BUCKETS];
    j->chain = *at;
    *at = j;
    j->is_flying = true;
}

static void flight_end(struct job *j)
{
    if (!j->is_flying)
        return;
    struct job **at = &q.flights[j->key.low % FLIGHT_BUCKETS];
    while (*at != j)
        at = &(*at)->chain;
    *at = j->chain;
    j->is_flying = false;
}

static void queue_put(struct job *j, bool in_front)
{
    j->before = in_front ? NULL : q.last;
    j->next = in_front ? q.first : NULL;
    *(j->before ? &j->before->next : &q.first) = j;
    *(j->next ? &j->next->before : &q.last) = j;
    j->state = JOB_QUEUED;
    q.n_tokens += j->n_tokens;
}

static void queue_take(struct job *j)
{
    *(j->before ? &j->before->next : &q.first) = j->next;
    *(j->next ? &j->next->before : &q.last) = j->before;
    q.n_tokens -= j->n_tokens;
}

static struct product *product_find(struct job *j, struct key key)
{
    for (uint32_t i = 0; i < j->n_products; i++)
        if (key_eq(j->products[i].key, key))
            return &j->products[i];
    return NULL;
}

static void ticket_take(struct ticket *t)
{
    *t->prev = t->next;
    if (t->next)
        t->next->prev = t->prev;
    t->job = NULL;
}

static void ticket_done(struct ticket *t, int status, struct answer *held, struct after *a)
{
    ticket_take(t);
    t->status = status == 0 && !held ? -ENOMEM : status;
    t->answer = held;
    struct waiter *w = t->waiter;
    if (--w->n_pending > 0)
        return;
    if (!w->loop) {
        pthread_cond_signal(&w->done);
        return;
    }
    w->holders++;
    w->next = a->rung;
    a->rung = w;
}

static void job_end(struct job *j, int status, struct after *a)     /* not in the queue any more */
{
    for (struct ticket *t = j->tickets, *next; t; t = next) {
        next = t->next;
        struct answer *r = status == 0 ? product_find(j, t->product)->answer : NULL;
        ticket_done(t, status, r ? answer_hold(r) : NULL, a);
    }
    flight_end(j);
    j->next = a->spent;
    a->spent = j;
}

/* ---- the caller's side ---- */

struct answer *batch_cached(struct key product)
{
    return q.cache ? cache_find(q.cache, product) : NULL;
}

void batch_enter(void)
{
    pthread_mutex_lock(&batch_lock);
}

void batch_go(void)
{
    if (q.first && q.n_busy < q.n_threads)
        pthread_cond_signal(&more);
    pthread_mutex_unlock(&batch_lock);
}

static struct job *job_get(void)
{
    struct job *j = q.pool;
    if (!j)
        return calloc(1, sizeof *j);
    q.pool = j->next;
    q.n_pool--;
    *j = (struct job){ .text = j->text, .text_cap = j->text_cap, .windows = j->windows, .products = j->products,
                       .cap_products = j->cap_products };
    return j;
}

static bool job_copy_text(struct job *j, str text)
{
    j->text_bytes = (uint32_t)text.len;
    const struct window_rule *r = j->model ? &j->model->rule : NULL;
    j->n_pieces = r ? pieces_choose(text, TEXT_WHOLE_MAX, r->tokens * TOKEN_BYTES, r->n_max, j->pieces)
                    : pieces_choose(text, WORDS_BYTES, WORDS_BYTES, WINDOWS_MAX, j->pieces);
    size_t bytes = 0;
    for (uint32_t i = 0; i < j->n_pieces; i++)
        bytes += j->pieces[i].len;
    if (bytes > j->text_cap || !j->text) {
        char *more_text = realloc(j->text, bytes + 1);
        if (!more_text)
            return false;
        j->text = more_text;
        j->text_cap = bytes + 1;
    }
    char *to = j->text;
    for (uint32_t i = 0; i < j->n_pieces; to += j->pieces[i++].len)
        if (j->pieces[i].len)
            memcpy(to, text.ptr + j->pieces[i].from, j->pieces[i].len);
    size_t most = r ? (size_t)r->tokens * r->n_max : SIZE_MAX;
    j->n_tokens = bytes / BYTES_A_TOKEN + 2;
    j->n_tokens = j->n_tokens < most ? j->n_tokens : most;
    return true;
}

static struct product *product_add(struct job *j, const struct wish *wish)
{
    if (j->n_products == j->cap_products) {
        uint32_t cap = j->cap_products ? 2 * j->cap_products : 4;
        struct product *grown = realloc(j->products, cap * sizeof *grown);
        if (!grown)
            return NULL;
        j->products = grown;
        j->cap_products = cap;
    }
    struct product *p = &j->products[j->n_products++];
    *p = (struct product){ .kind = wish->kind, .head = wish->head ? head_version_hold(wish->head) : NULL, .key = wish->product };
    j->needs_forward |= wish->kind == PRODUCT_SPANS || (wish->kind == PRODUCT_ROWS && !j->rows_known);
    return p;
}

static int job_start(const struct wish *wish, struct job **out)
{
    struct job *j = job_get();
    if (!j)
        return -ENOMEM;
    j->key = wish->key;
    j->model = wish->model ? neural_model_hold(wish->model) : NULL;
    j->rows = j->model ? cache_find(q.cache, wish->key) : NULL;
    j->rows_known = j->rows != NULL;
    j->needs_forward = j->model && !j->rows_known;
    int rc = job_copy_text(j, wish->text) && product_add(j, wish) ? 0 : -ENOMEM;
    if (rc == 0 && q.n_tokens + j->n_tokens > q.tokens_max && q.first)      /* one text always fits */
        rc = -EAGAIN;
    if (rc < 0) {
        struct after a = { .spent = j };
        unlock_after(&a);                       /* a held model may be the last */
        pthread_mutex_lock(&batch_lock);
        return rc;
    }
    struct job *other = *flight_of(wish->key);
    if (other)
        flight_end(other);                      /* too far to take up this product */
    flight_add(j);
    queue_put(j, false);
    *out = j;
    return 0;
}

static bool job_is_joinable(struct job *j, const struct wish *wish)
{
    if (product_find(j, wish->product))
        return true;
    return j->state == JOB_QUEUED && !j->is_begun && product_add(j, wish);
}

void batch_ask(const struct wish *wish, struct waiter *w, uint64_t deadline, struct ticket *t)
{
    struct job *j = *flight_of(wish->key);
    t->job = NULL;
    t->answer = NULL;
    t->status = 0;
    if (!q.is_running) {
        t->status = -ECANCELED;
        return;
    }
    if (j && job_is_joinable(j, wish)) {
        count_add(COUNT_SHARED, 1);
        if (j->state == JOB_RUNNING && !j->tickets)
            j->batch->n_wanted++;
    } else if ((t->answer = cache_find(q.cache, wish->product)) != NULL) {  /* landed since the caller looked */
        count_add(COUNT_HITS, 1);
        return;
    } else if ((t->status = job_start(wish, &j)) < 0) {
        return;
    }
    if (!j->tickets || deadline > j->deadline)
        j->deadline = deadline;
    *t = (struct ticket){ .next = j->tickets, .prev = &j->tickets, .job = j, .waiter = w, .product = wish->product };
    if (t->next)
        t->next->prev = &t->next;
    j->tickets = t;
    w->n_pending++;
}

struct waiter *waiter_get(void)
{
    struct fiber *f = fiber_self();
    pthread_mutex_lock(&batch_lock);
    struct waiter *w = q.waiters;
    if (w) {
        q.waiters = w->next;
        q.n_waiters--;
    }
    pthread_mutex_unlock(&batch_lock);
    if (!w) {
        w = calloc(1, sizeof *w);
        if (!w)
            return NULL;
        pthread_condattr_t monotonic;
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&w->done, &monotonic);
        pthread_condattr_destroy(&monotonic);
    }
    w->next = NULL;
    w->holders = 1;
    w->n_pending = 0;
    w->fiber = f;
    w->loop = f ? fiber_loop(f) : NULL;
    w->is_rung = false;
    return w;
}

WAITS int waiter_wait(struct waiter *w, uint64_t deadline)
{
    int rc = 0;
    if (w->fiber) {
        while (!w->is_rung && rc >= 0)
            rc = fiber_park(deadline);
        return w->is_rung ? 0 : rc;
    }
    pthread_mutex_lock(&batch_lock);
    struct timespec until = { (time_t)(deadline / NS_PER_S), (long)(deadline % NS_PER_S) };
    while (w->n_pending > 0 && rc == 0)
        rc = deadline == NEVER ? -pthread_cond_wait(&w->done, &batch_lock)
                               : -pthread_cond_timedwait(&w->done, &batch_lock, &until);
    rc = w->n_pending > 0 ? rc : 0;
    pthread_mutex_unlock(&batch_lock);
    return rc;
}

/* The job's last ticket is gone. */
static void job_unwanted(struct job *j, struct after *a)
{
    if (j->state == JOB_QUEUED) {
        queue_take(j);
        job_end(j, -ECANCELED, a);
        return;
    }
    struct batch *b = j->batch;                 /* the others of the batch still want it: so does the cache */
    if (--b->n_wanted > 0)
        return;
    __atomic_store_n(&b->stop, true, __ATOMIC_RELAXED);
    for (uint32_t i = 0; i < b->n; i++)
        flight_end(b->jobs[i]);                 /* nobody shall join what is being thrown away */
}

void waiter_leave(struct waiter *w, struct ticket *const *tickets, size_t n, int status)
{
    struct after a = { 0 };
    w->fiber = NULL;
    pthread_mutex_lock(&batch_lock);
    for (size_t i = 0; i < n; i++) {
        struct job *j = tickets[i]->job;
        if (!j)
            continue;
        ticket_take(tickets[i]);
        tickets[i]->status = status;
        if (!j->tickets)
            job_unwanted(j, &a);
    }
    waiter_drop(w);
    unlock_after(&a);
}

/* ---- taking a batch; with the lock ---- */

static bool job_joins(const struct batch *b, const struct job *j, size_t tokens, size_t budget)
{
    return b->n < BATCH_JOBS && j->model == b->model && (b->n == 0 || tokens + j->n_tokens <= budget);
}

static void batch_fill(struct batch *b, size_t budget, struct after *a)
{
    uint64_t now = clock_now();
    size_t tokens = 0;
    b->n = b->n_wanted = 0;
    for (struct job *j = q.first, *next; j && tokens < budget; j = next) {
        next = j->next;
        if (j->deadline <= now) {
            queue_take(j);
            job_end(j, -ETIMEDOUT, a);
            continue;
        }
        if (b->n == 0)
            b->model = j->model;
        if (!job_joins(b, j, tokens, budget))
            continue;
        queue_take(j);
        tokens += j->n_tokens;
        j->state = JOB_RUNNING;
        j->batch = b;
        j->status = 0;
        b->jobs[b->n++] = j;
        b->n_wanted++;
    }
}

/* Waits for work. False: the service stops. */
static bool batch_take(struct batch *b, struct after *a)
{
    while (q.is_running && (!q.first || q.n_busy >= q.n_threads))
        pthread_cond_wait(&more, &batch_lock);
    if (!q.is_running)
        return false;
    bool may_gang = q.n_gangs > 0 && q.n_busy + q.gang_size <= q.n_threads;
    size_t share = q.n_tokens / (q.n_threads - q.n_busy) + 1;
    size_t budget = share > BATCH_TOKENS || (may_gang && q.n_tokens <= BATCH_TOKENS) ? BATCH_TOKENS : share;
    batch_fill(b, budget, a);
    __atomic_store_n(&b->stop, false, __ATOMIC_RELAXED);
    b->gang = may_gang && !q.first && b->n > 0 && b->model ? q.gangs[--q.n_gangs] : NULL;
    b->n_threads = b->gang ? q.gang_size : 1;
    q.n_busy += b->n_threads;
    if (q.first && q.n_busy < q.n_threads)
        pthread_cond_signal(&more);
    return true;
}

static void batch_done(struct batch *b, struct after *a)
{
    q.n_busy -= b->n_threads;
    if (b->gang)
        q.gangs[q.n_gangs++] = b->gang;
    bool is_stopped = __atomic_load_n(&b->stop, __ATOMIC_RELAXED);
    for (uint32_t i = b->n; i-- > 0;) {         /* last first: those that found no room go back to the front in their order */
        struct job *j = b->jobs[i];
        bool is_whole = j->n_done == j->windows.n;
        if (j->status == 0 && !is_whole && (is_stopped || !q.is_running || !j->tickets))
            j->status = -ECANCELED;
        if (j->status < 0 || is_whole)
            job_end(j, j->status, a);
        else
            queue_put(j, j->n_done == 0);
    }
    if (b->n_threads > 1 && q.first)            /* those who waited for the gang's cores */
        pthread_cond_broadcast(&more);
    b->n = 0;
}

/* ---- threads ---- */

static void *worker_run(void *arg)
{
    struct worker *w = arg;
    char name[16];
    snprintf(name, sizeof name, "encoder-%u", w->index);
    pthread_setname_np(pthread_self(), name);
    if (q.nice)
        setpriority(PRIO_PROCESS, 0, q.nice);   /* Linux: of this thread, and of those that it starts */
    bool leads = q.gang_size > 1 && w->index % q.gang_size == 0 && w->index + q.gang_size <= q.n_threads;
    struct gang *gang = leads ? gang_new(q.gang_size) : NULL;
    pthread_mutex_lock(&batch_lock);
    if (gang)
        q.gangs[q.n_gangs++] = gang;
    q.n_ready++;
    pthread_cond_signal(&ready);
    for (;;) {
        struct after a = { 0 };
        bool goes_on = batch_take(&w->batch, &a);
        unlock_after(&a);
        if (!goes_on)
            return NULL;
        work_run(w, q.cache);
        a = (struct after){ 0 };
        pthread_mutex_lock(&batch_lock);
        batch_done(&w->batch, &a);
        unlock_after(&a);
        pthread_mutex_lock(&batch_lock);
    }
}

/* ---- start and stop ---- */

static unsigned or_half_the_cores(unsigned n, unsigned cores)
{
    return n ? n : cores > 1 ? cores / 2 : 1;
}

/* Ends and frees what there is of the threads. */
static void workers_end(unsigned n)
{
    pthread_mutex_lock(&batch_lock);
    struct after a = { 0 };
    q.is_running = false;
    while (q.first) {
        struct job *j = q.first;
        queue_take(j);
        job_end(j, -ECANCELED, &a);
    }
    for (unsigned i = 0; i < n; i++)
        __atomic_store_n(&q.workers[i].batch.stop, true, __ATOMIC_RELAXED);
    pthread_cond_broadcast(&more);
    unlock_after(&a);
    for (unsigned i = 0; i < n; i++)
        pthread_join(q.workers[i].thread, NULL);
    while (q.n_gangs > 0)
        gang_free(q.gangs[--q.n_gangs]);
    for (unsigned i = 0; i < q.n_threads; i++)
        worker_free(&q.workers[i]);
    free(q.workers);
    pthread_mutex_lock(&batch_lock);
    q.workers = NULL;
    q.n_threads = 0;
    for (struct job *j = q.pool, *next; j; j = next) {
        next = j->next;
        job_free(j);
    }
    q.pool = NULL;
    q.n_pool = 0;
    pthread_mutex_unlock(&batch_lock);
}

static bool worker_make(struct worker *w, unsigned index)
{
    w->index = index;
    w->encoder = encoder_scratch_new();
    w->tokenizer = tokenizer_scratch_new();
    return w->encoder && w->tokenizer && pthread_create(&w->thread, NULL, worker_run, w) == 0;
}

static int service_start(const struct neural_options *o, struct err *e)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned cores = online > 1 ? (unsigned)online : 1, n = o->threads ? o->threads : cores;
    n = n < THREADS_MAX ? n : THREADS_MAX;
    struct worker *workers = calloc(n, sizeof *workers);
    struct cache *cache = cache_new(o->cache_bytes ? o->cache_bytes : CACHE_BYTES);
    if (!cache || !workers) {
        cache_free(cache);
        free(workers);
        return err_set(e, "encoder threads: no memory");
    }
    pthread_mutex_lock(&batch_lock);
    cache_free(q.cache);
    q.cache = cache;
    q.workers = workers;
    q.n_threads = n;
    q.n_ready = q.n_busy = 0;
    q.gang_size = n < GANG_THREADS ? n : GANG_THREADS;
    q.tokens_max = o->queue_tokens ? o->queue_tokens : QUEUE_TOKENS;
    q.nice = n + or_half_the_cores(o->loops, cores) > cores ? NICE : 0;
    q.is_running = true;
    pthread_mutex_unlock(&batch_lock);
    for (unsigned i = 0; i < n; i++)
        if (!worker_make(&workers[i], i)) {
            workers_end(i);
            return err_set(e, "cannot start encoder thread %u of %u", i + 1, n);
        }
    pthread_mutex_lock(&batch_lock);
    while (q.n_ready < n)                       /* the first text shall find the gangs there */
        pthread_cond_wait(&ready, &batch_lock);
    pthread_mutex_unlock(&batch_lock);
    return 0;
}

int neural_start(const struct neural_options *o, struct err *e)
{
    pthread_mutex_lock(&start_lock);
    int rc = q.workers ? 0 : service_start(o, e);
    pthread_mutex_unlock(&start_lock);
    return rc;
}

void neural_stop(void)
{
    pthread_mutex_lock(&start_lock);
    if (q.workers)
        workers_end(q.n_threads);
    pthread_mutex_unlock(&start_lock);
}

void neural_count(struct neural_counts *out)
{
    uint64_t v[COUNT_KINDS];
    for (unsigned i = 0; i < COUNT_KINDS; i++)
        v[i] = atomic_load_explicit(&counts[i], memory_order_relaxed);
    pthread_mutex_lock(&batch_lock);
    *out = (struct neural_counts){
        .forwards = v[COUNT_FORWARDS], .tokens = v[COUNT_TOKENS], .texts = v[COUNT_TEXTS], .cache_hits = v[COUNT_HITS],
        .cache_misses = v[COUNT_MISSES], .shared = v[COUNT_SHARED], .refused = v[COUNT_REFUSED], .expired = v[COUNT_EXPIRED],
        .busy_ns = v[COUNT_BUSY_NS], .queue_tokens = q.n_tokens, .cache_bytes = q.cache ? cache_bytes(q.cache) : 0,
    };
    pthread_mutex_unlock(&batch_lock);
}
