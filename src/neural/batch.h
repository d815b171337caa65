/* neural/batch.h -- inside of the service: what is waiting to be computed, and the threads that compute it. Others use
 * service.h.
 *
 * A *job* is one text for one model. It makes *products*: the rows (pooled vector and own class probabilities of each
 * window), labels by a head, spans by a token head. Callers hang *tickets* on a job, one for each product they want; a job
 * without tickets is dropped wherever it is. Everything here that two threads see is under one lock, batch_lock. */
#ifndef SBX_BATCH_H
#define SBX_BATCH_H

#include "neural/cache.h"
#include "neural/model.h"

enum product_kind { PRODUCT_ROWS, PRODUCT_LABELS, PRODUCT_SPANS };

struct wish {                           /* one product of one text */
    enum product_kind kind;
    struct neural_model *model;         /* NULL: words alone */
    struct head_version *head;          /* NULL: rows, or the model's own token classifier */
    str text;
    struct key key;                     /* of (model, text) */
    struct key product;                 /* of the product; rows: the same */
};

struct waiter;                          /* who waits: a fiber, or a plain thread */

struct ticket {                         /* the caller's memory, until it leaves */
    struct ticket *next, **prev;        /* of the job's */
    struct job *job;                    /* NULL: not waiting, or done */
    struct waiter *waiter;
    struct key product;
    int status;                         /* once done */
    struct answer *answer;              /* status 0: held for the caller */
};

struct waiter *waiter_get(void);        /* of the running fiber or thread; NULL: no memory */

/* Hangs a ticket on the flight of this text, or starts one. Done at once when the cache has the answer by now or the queue
 * is full: then t->job is NULL. Call between batch_enter and batch_go. */
void batch_enter(void);
void batch_ask(const struct wish *wish, struct waiter *w, uint64_t deadline, struct ticket *t);
void batch_go(void);

/* Until all tickets of the waiter are done: 0; -ETIMEDOUT, -ECANCELED. */
WAITS int waiter_wait(struct waiter *w, uint64_t deadline);
/* Gives the waiter back; tickets that are not done get `status`, and jobs that nobody wants any more end. */
void waiter_leave(struct waiter *w, struct ticket *const *tickets, size_t n, int status);

struct answer *batch_cached(struct key product);        /* held; NULL */

enum count_kind { COUNT_FORWARDS, COUNT_TOKENS, COUNT_TEXTS, COUNT_HITS, COUNT_MISSES, COUNT_SHARED, COUNT_REFUSED, COUNT_EXPIRED,
                  COUNT_BUSY_NS, COUNT_KINDS };
void count_add(enum count_kind kind, uint64_t n);

#endif
