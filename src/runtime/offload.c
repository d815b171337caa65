/* runtime/offload.c -- a queue, a lock, three threads started on first use. */
#include "runtime/offload.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "runtime/loop.h"

struct job {
    struct job *next;
    void (*fn)(void *);
    void *arg;
    void (*release)(void *);
    struct loop *loop;
    struct fiber *fiber;            /* loop thread only; NULL once the waiter has left */
    bool is_done;                   /* loop thread only */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static struct job *head, **tail = &head;        /* lock */
static unsigned n_queued, n_threads;            /* lock */
static bool is_stopping;                        /* lock */
static pthread_t threads[OFFLOAD_THREADS];

static void job_done(void *arg)                 /* on the loop */
{
    struct job *j = arg;
    j->is_done = true;
    if (j->fiber) {
        fiber_wake(j->fiber);
        return;
    }
    j->release(j->arg);
    free(j);
}

static void *worker(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&lock);
    for (;;) {
        while (!head && !is_stopping)
            pthread_cond_wait(&more, &lock);
        if (!head)
            break;
        struct job *j = head;
        head = j->next;
        if (!head)
            tail = &head;
        n_queued--;
        pthread_mutex_unlock(&lock);
        j->fn(j->arg);
        while (!loop_post(j->loop, job_done, j))
            ;                                   /* no memory for a letter: somebody is waiting for it */
        pthread_mutex_lock(&lock);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

static bool job_queue(struct job *j)
{
    pthread_mutex_lock(&lock);
    bool ok = n_queued < OFFLOAD_QUEUE_MAX && !is_stopping;
    if (ok && n_threads < OFFLOAD_THREADS && pthread_create(&threads[n_threads], NULL, worker, NULL) == 0)
        n_threads++;
    ok = ok && n_threads > 0;
    if (ok) {
        *tail = j;
        tail = &j->next;
        n_queued++;
        pthread_cond_signal(&more);
    }
    pthread_mutex_unlock(&lock);
    return ok;
}

WAITS int offload(void (*fn)(void *arg), void *arg, void (*release)(void *arg), uint64_t deadline)
{
    struct fiber *f = fiber_self();
    if (!f) {
        fn(arg);
        return 0;
    }
    struct job *j = malloc(sizeof *j);
    if (j)
        *j = (struct job){ .fn = fn, .arg = arg, .release = release, .loop = fiber_loop(f), .fiber = f };
    if (!j || !job_queue(j)) {
        free(j);
        release(arg);
        return -EAGAIN;
    }
    int rc = 0;
    while (!j->is_done && rc >= 0)
        rc = fiber_park(deadline);
    if (j->is_done) {
        free(j);
        return 0;
    }
    j->fiber = NULL;                            /* job_done releases */
    return rc;
}

void offload_stop(void)
{
    pthread_mutex_lock(&lock);
    is_stopping = true;
    pthread_cond_broadcast(&more);
    unsigned n = n_threads;
    n_threads = 0;
    pthread_mutex_unlock(&lock);
    for (unsigned i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}
