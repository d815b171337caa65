/* neural/job.h -- inside of the service: a text on its way, shared by batch.c (who has it when) and work.c (what is done
 * with it). */
#ifndef SBX_JOB_H
#define SBX_JOB_H

#include "neural/batch.h"

enum {
    BATCH_JOBS = 256,                   /* texts of one batch at most */
    BATCH_WINDOWS = 512,
};

struct product {
    enum product_kind kind;
    struct head_version *head;          /* held */
    struct key key;
    struct answer *answer;              /* held, when the job ends */
    struct span_join join;              /* SPANS */
};

enum job_state { JOB_QUEUED, JOB_RUNNING };

struct job {                            /* queued: lock; running: its thread's, but for tickets and links */
    struct job *next, *before;          /* queue; or `next` alone: pool, list of the spent */
    struct job *chain;                  /* flights */
    struct key key;
    struct neural_model *model;         /* held; NULL: words alone */
    enum job_state state;
    bool is_flying;                     /* in the table: others may join */
    bool is_begun;                      /* windowed: no new products */
    struct batch *batch;                /* RUNNING */
    struct ticket *tickets;
    uint64_t deadline;                  /* the latest of all tickets */
    size_t n_tokens;                    /* a guess; once begun: what is left */
    uint32_t text_bytes;                /* of the whole text */
    char *text; size_t text_cap;        /* the pieces' bytes */
    struct piece pieces[WINDOWS_MAX]; uint32_t n_pieces;
    struct product *products; uint32_t n_products, cap_products;
    struct answer *rows;                /* held; with rows_known: complete from the start */
    bool rows_known, needs_forward;
    struct windows windows; uint32_t n_done;    /* windows that have been through a forward */
    int status;
};

struct batch {
    struct job *jobs[BATCH_JOBS]; uint32_t n;
    struct neural_model *model;
    struct gang *gang;                  /* NULL: alone */
    unsigned n_threads;                 /* that it occupies */
    unsigned n_wanted;                  /* lock; jobs with tickets */
    volatile bool stop;                 /* atomic builtins */
};

struct item { struct job *job; const struct window *window; };

struct worker {
    pthread_t thread;
    unsigned index;
    struct batch batch;
    struct encoder_scratch *encoder;
    struct tokenizer_scratch *tokenizer;
    int32_t *ids; uint32_t cap_ids;
    uint32_t starts[BATCH_WINDOWS + 1];
    struct item items[BATCH_WINDOWS];
    float *floats; size_t cap_floats;
    float *middle; size_t cap_middle;   /* states of the middle layer */
};

/* Computes one batch, without the lock. Each job ends it with a status below 0, or with more windows done: when that is all
 * of them, its products have their answers. */
void work_run(struct worker *w, struct cache *cache);
void worker_free(struct worker *w);

#endif
