/* pipeline/learning.h -- what the process has learned from outcomes, and where it is kept.
 *
 * One object of process life, found by snapshots by the names of models and decisions, so a reload loses nothing. What it holds
 * are sums (select/evidence.h), the memory of the last decisions (pipeline/outcomes.h) and sessions. Every change is first appended
 * to a journal and then done; the state file is written beside and renamed into place. So a killed process comes back with every
 * outcome it has acknowledged. Several instances exchange their sums: each keeps what the others sent last, by instance, so that
 * sending twice counts once.
 *
 * All functions take the lock for some microseconds and never wait while they hold it. */
#ifndef SBX_LEARNING_H
#define SBX_LEARNING_H

#include "base/buf.h"
#include "base/err.h"
#include "pipeline/outcomes.h"
#include "select/change.h"
#include "select/pacing.h"
#include "select/evidence.h"
#include "select/session.h"

enum {
    LEARNING_MODELS_MAX = 1024,         /* beyond: a model is used but not learned about */
    LEARNING_PEERS_MAX = 16,            /* instances whose sums are held; beyond: the import is refused */
    LEARNING_NAME_MAX = 256,
    LEARNING_ARMS_MAX = 256,            /* candidates of one decision that are considered; beyond: as the selector ordered them */
};

struct learning;

/* ---- choosing ---- */

struct offer {                          /* one candidate */
    str model;
    double expected, deviation;         /* quality by a table or the model's card, and how sure that is */
    double penalty;                     /* of price, latency: taken off the quality */
    double cost;                        /* USD, expected; NAN: unknown. For the log */
    double load, latency_s;             /* now; load 0 .. 1 */
    bool is_new;                        /* the table knows others and has no outcome of it */
    bool is_out;                        /* unhealthy, beyond the budget */
};

struct situation {                      /* of a request */
    const struct evidence_ops *strategy;        /* NULL: the default */
    uint32_t screen_top;                /* candidates that become arms, the others keep the floor's share; 0: all */
    struct evidence_query query;
    uint64_t seed, now_ns;
};

struct chosen {
    uint32_t at;                        /* index of the offer; UINT32_MAX: all are out */
    double propensity;
    struct arm *arms; double *chances;  /* [n], in the arena given: what the die was thrown over */
    struct evidence_question *asked;    /* [n] */
    struct evidence_query query;
    uint32_t n;
    uint64_t seed;
    struct bandit_rules rules;
};

struct arena;
void learning_choose(struct learning *l, const struct offer *offers, uint32_t n, const struct bandit_rules *rules,
                     const struct situation *s, struct arena *a, struct chosen *out);
void learning_context(const struct chosen *c, uint32_t at, float x[CONTEXT_N]);     /* for whoever remembers that arm `at` was taken */
/* How outcomes count from now on; what was counted stays. */
void learning_tune(struct learning *l, const struct evidence_tuning *t);

/* ---- outcomes ---- */

struct decided {
    str id, model;
    uint64_t kind, decision, session, now_s;
    double expected, mean, deviation, propensity, cost;
    uint32_t n_arms;                    /* candidates there were; 0: not known */
    const float *x;                     /* [CONTEXT_N]; NULL: not known */
};
void learning_remember(struct learning *l, const struct decided *d);

enum outcome_result { SAID_NEW, SAID_AGAIN, SAID_CORRECTED, SAID_OVERRULED, SAID_UNKNOWN, SAID_NO_ROOM };
/* reward 0 .. 1; weight 0 takes back what the source said. */
enum outcome_result learning_say(struct learning *l, str id, enum outcome_source source, double reward, double weight);
/* Which judge speaks from now on (a hash of what makes it one). Another than before: its error is measured anew. */
void learning_judge(struct learning *l, uint64_t judge);
double learning_judge_weight(struct learning *l);           /* what its next outcome counts: select/judge.h */
/* The request's own answer came from another model than the chosen one, which had failed. */
void learning_failed_over(struct learning *l, str id, str to_model, uint64_t now_s);
/* Whether an answer of the model had the form that was asked for; the clock is monotonic ns. */
void learning_form(struct learning *l, str model, bool is_failed, uint64_t now_ns);
bool learning_recall(struct learning *l, str id, struct remembered *out, char model[LEARNING_NAME_MAX]);    /* false: unknown */

/* ---- budgets ---- */

/* A purse is one payer's budget; its number is a hash of who pays. Money is nano-USD, times are nanoseconds since 1970. With a state
 * directory what was promised and spent is in the journal before it counts, so a killed process comes back with a purse as empty as
 * it was; what it had promised and not settled counts as spent. Payers beyond LEARNING_PURSES_MAX share purse 0. */
enum { LEARNING_PURSES_MAX = 4096 };

/* What the purse says of n candidates that may cost at most most[i]: may[i], and what a USD is worth in quality. */
double learning_pace(struct learning *l, uint64_t purse, const struct pacing_rules *rules, const int64_t *most, int64_t cheapest,
                     uint64_t now, uint32_t n, bool *may);
bool learning_promise(struct learning *l, uint64_t purse, int64_t most, uint64_t now);      /* false: it does not fit */
/* The request has ended; false: it cost more than was promised. */
bool learning_spend(struct learning *l, uint64_t purse, int64_t most, int64_t cost, int64_t cheapest, uint64_t now);

/* ---- sessions ---- */

struct session {
    uint64_t key;                       /* 0: free */
    uint64_t seen_s;
    uint64_t decision;                  /* hash of the name */
    uint32_t model, turns, switches, failures;
    float tokens;                       /* of the history, on the last turn */
    char last[OUTCOME_ID_MAX]; uint8_t last_len;
};

bool learning_session(struct learning *l, uint64_t key, struct session *out, char model[LEARNING_NAME_MAX]);  /* false: none */
void learning_session_turn(struct learning *l, uint64_t key, str model, uint64_t decision, double tokens, str id, uint64_t now_s);
void learning_session_failed(struct learning *l, uint64_t key);
/* Newest first, at most `limit`, as a JSON array: {"session", "model", "turns", "switches", "failures", "tokens", "seen"}. */
void learning_sessions_write(struct learning *l, size_t limit, struct buf *out);

/* ---- life ---- */

struct learning *learning_new(void);                        /* empty, in memory only. NULL: no memory */
void learning_free(struct learning *l);
struct learning *learning_process(void);                    /* the process's own; made on first use */
/* Keeps state in a directory from now on: loads what is there, then replays the journal. 0, or -1 and *e; then all goes on in
 * memory only. A second call with the same directory does nothing. */
int  learning_open(struct learning *l, str dir, struct err *e);
void learning_checkpoint(struct learning *l);               /* writes the state file, begins a new journal; blocks for I/O */
uint64_t learning_changes(struct learning *l);                /* models found changed so far */
/* from now on a thread of its own does that; again: at another pace */
void learning_keep(struct learning *l, uint64_t every_ns);

void learning_export(struct learning *l, struct buf *out);                      /* JSON: own sums only */
/* another instance's export. 0; 1: older than what is here; -1 and *e */
int  learning_import(struct learning *l, str json, struct err *e);
void learning_show(struct learning *l, struct buf *out);                        /* JSON for people: models, counts, beliefs */

#endif
