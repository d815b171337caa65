/* store/ledger.h -- what was spent, by whom, on what: kept in the state file, a few milliseconds behind.
 *
 * Adding is a hash look-up under a lock: amounts are summed in memory, and the file's writer takes the sums every
 * SQLITE_GROUP_MS and adds them to the rows in one transaction. So the cost in SQLite grows with the number of
 * different rows, not of requests, and a killed process loses the last few milliseconds.
 *
 * Exactly once: each batch of sums has a number, committed together with it (table batch). A batch whose commit failed, or
 * of which nobody knows, is applied again under the same number and does nothing when it had been. Sums are added, not
 * written over, so two processes may share a file for a while (a restart that drains). */
#ifndef SBX_LEDGER_H
#define SBX_LEDGER_H

#include "base/err.h"

struct ledger;

enum {
    LEDGER_TEXT_MAX = 200,          /* bytes of a key, user, team ... that are kept */
    LEDGER_CELLS_MAX = 1 << 18,     /* different rows in one batch; beyond: dropped and counted. 40 MB */
    LEDGER_CHARGES_MAX = 16,        /* budgets that one request may touch */
};

struct ledger_entry {               /* one request, or a sum of them */
    int64_t day;                    /* since 1970-01-01, UTC */
    str key, user, team, project, model;
    int64_t requests, prompt_tokens, cached_tokens, cache_write_tokens, completion_tokens, reasoning_tokens;
    int64_t micro_usd;
};

struct ledger_charge { str budget, subject; int64_t period_start, micro_usd; };     /* seconds since 1970 */

/* path "": memory. NULL and *e. Blocks, as everything here but ledger_add does. */
struct ledger *ledger_open(str path, struct err *e);
void ledger_close(struct ledger *l);            /* commits what is pending */
int  ledger_sync(struct ledger *l);             /* all that was added before is committed: 0; -EIO */

/* Any thread, does not wait. False: dropped (too many different rows, no memory). */
bool ledger_add(struct ledger *l, const struct ledger_entry *e, const struct ledger_charge *charges, unsigned n);
uint64_t ledger_dropped(const struct ledger *l);

/* Budgets' sums of periods that began at or after `from`. */
int  ledger_charges(struct ledger *l, int64_t from, void (*see)(void *arg, const struct ledger_charge *c), void *arg);
/* Forgets days and periods before `day`. */
void ledger_prune(struct ledger *l, int64_t day);

enum ledger_column { LEDGER_KEY = 1, LEDGER_USER = 2, LEDGER_TEAM = 4, LEDGER_PROJECT = 8, LEDGER_MODEL = 16, LEDGER_DAY = 32 };
struct ledger_query {
    unsigned group_by;              /* LEDGER_ bits; columns that are not grouped come out empty */
    int64_t from, to;               /* days, both included; 0: open */
    str key, user, team, project, model;        /* "" : all */
    int64_t limit;                  /* rows; 0: 10,000 */
};
/* Sums, dearest first (by day: in order). Texts live during the call. 0; -EIO. */
int  ledger_spend(struct ledger *l, const struct ledger_query *q, void (*see)(void *arg, const struct ledger_entry *e),
                  void *arg);

/* Small records by kind and id: keys, budgets. `body` is JSON. */
int  ledger_put(struct ledger *l, str kind, str id, str body);      /* 0 when committed; -EIO */
int  ledger_remove(struct ledger *l, str kind, str id);             /* 0; -ENOENT; -EIO */
int  ledger_records(struct ledger *l, str kind, void (*see)(void *arg, str id, str body), void *arg);

#endif
