/* pipeline/learning_state.h -- the inside of struct learning; private to learning.c and learning_store.c. */
#ifndef SBX_LEARNING_STATE_H
#define SBX_LEARNING_STATE_H

#include <pthread.h>
#include <stdio.h>

#include "pipeline/learning.h"
#include "select/judge.h"

enum {
    SESSIONS_MAX = 50000,               /* as many as VSR keeps; the one not seen for longest of a few goes first */
    SESSION_WAYS = 8,
    INSTANCE_MAX = 40,
    PENDING_S = 600,                    /* an outcome that has not come after ten minutes is not waited for any more */
};

struct seen {                           /* one outcome, for the time after a change */
    uint64_t kind, decision;
    float reward, expected, propensity;
    uint32_t n_arms;
    float x[CONTEXT_N];
};

struct learned_model {
    str name;                           /* owned */
    uint32_t pending;
    uint64_t calls, outcomes, failures, changes;
    double reward;                      /* sum over outcomes, for people and the screen */
    double reputation;                  /* how far its last outcomes strayed from what was expected, averaged */
    struct change change;
    struct breaker breaker;
    struct seen recent[CHANGE_WINDOW]; uint32_t at, n_recent;
};

struct peer { char instance[INSTANCE_MAX]; uint64_t seq; struct evidence evidence; };

struct journal {                        /* fd -1: in memory only */
    int fd;
    char dir[512];
    uint64_t bytes;
    bool is_failing;                    /* told once */
    bool is_replaying;                  /* what is done now is in it already */
};

struct purse { uint64_t key; struct pacing of; };

enum { PURSE_SLOTS = 2 * LEARNING_PURSES_MAX };

struct learning {
    pthread_mutex_t lock;               /* guards all below; never held across I/O but for the append of one line */
    char instance[INSTANCE_MAX];
    struct learned_model **models; uint32_t n_models, last_model;   /* an index stays valid for ever; last: found last */
    struct evidence own, all;           /* all: with the peers' added; empty without any */
    struct evidence_tuning tuning;
    struct seen after[CHANGE_WINDOW];   /* scratch of a change; a fiber's stack is too small for it */
    struct peer peers[LEARNING_PEERS_MAX]; uint32_t n_peers;
    struct memory memory;
    struct purse **purses; uint32_t n_purses;   /* [PURSE_SLOTS] by key, open addressing; made on first use */
    struct session *sessions;           /* [SESSIONS_MAX rounded], made on first use */
    double answered;                    /* share of decisions whose outcome comes, slowly averaged; for pending ones */
    uint64_t seq;                       /* of the last event */
    uint64_t judge;                     /* which one is measured (a hash); 0: none so far */
    struct agreement agreement;         /* its word and the operator's on the same decisions */
    struct journal journal;
    pthread_t keeper;                   /* writes checkpoints */
    pthread_cond_t stops;
    uint64_t keep_ns;
    bool is_kept, is_stopping;
};

uint32_t learned_index(struct learning *l, str name);       /* found or made; UINT32_MAX: no room. Lock held, as below */
void learned_decide(struct learning *l, const struct decided *d);
enum outcome_result learned_say(struct learning *l, str id, enum outcome_source source, struct verdict_said say);
void learned_reset(struct learning *l, uint32_t model, const struct seen *after, uint32_t n);
void learned_judge(struct learning *l, uint64_t judge);     /* another one: nothing is known of its error */
void learned_sum(struct learning *l);                       /* sums up own and peers anew */

/* learning_store.c: a number above 0 of an object; else 0 */
uint64_t state_whole(const struct json *j, jref object, const char *key);

/* learning_purse.c; lock held */
struct purse *purse_at(struct learning *l, uint64_t key, uint64_t now);     /* found or made; NULL: no memory */
int64_t purse_money(uint64_t nano_usd);                     /* bounded, so that sums of a hostile file cannot overflow */
void purses_free(struct learning *l);
void purses_write(const struct learning *l, struct json_writer *w);
void purses_read(struct learning *l, const struct json *j, jref list, struct arena *a);
void purses_recover(struct learning *l);                    /* nobody is on the way any more */

/* learning_store.c: appends one event. */
void journal_promised(struct learning *l, uint64_t purse, const struct pacing_rules *rules, int64_t most, uint64_t now);
void journal_spent(struct learning *l, uint64_t purse, int64_t most, int64_t cost, int64_t cheapest, uint64_t now);
void journal_decided(struct learning *l, const struct decided *d);
void journal_said(struct learning *l, str id, enum outcome_source source, struct verdict_said say);
void journal_judge(struct learning *l, uint64_t judge);
void journal_reset(struct learning *l, uint32_t model, const struct seen *after, uint32_t n);

#endif
