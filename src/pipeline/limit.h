/* pipeline/limit.h -- how fast and for how much money: limits that are never overrun by more than what is in flight.
 *
 * One idea carries rates and money: a request takes what it may need before it starts (a reservation, from estimates), and
 * when it is over, the truth takes the reservation's place. A rule says whom it counts together (`per`); each such subject has a
 * meter, found by hash in a sharded table, changed under its shard's lock. The rules that match a request are few; a request
 * that no rule matches pays for looking at the rules. */
#ifndef SBX_LIMIT_H
#define SBX_LIMIT_H

#include "config/config.h"

struct req;
struct usage;
struct buf;
struct caller;
struct snap;

enum period { PERIOD_MINUTE, PERIOD_HOUR, PERIOD_DAY, PERIOD_WEEK, PERIOD_MONTH, PERIOD_TOTAL, PERIOD_N };
enum { PER_KEY = 1, PER_USER = 2, PER_TEAM = 4, PER_PROJECT = 8, PER_MODEL = 16 };
enum gauge { GAUGE_REQUESTS, GAUGE_INPUT, GAUGE_OUTPUT, GAUGE_TOKENS, GAUGE_N };    /* windows of a meter */

struct limit_rule {
    str name;                           /* unique: live state is found by it across reloads and restarts */
    struct match_conf match;
    unsigned per;                       /* PER_ bits */
    int64_t most[GAUGE_N];              /* in a window; 0: not limited */
    int64_t concurrent;
    uint64_t window_ns;
    bool is_fixed;                      /* VSR's windows; else sliding */
    bool has_money, is_hard, reroutes, reserves_expected;
    int64_t amount;                     /* micro-USD */
    enum period period;
    struct strings reroute_to;
};

struct limit_rules { struct limit_rule *items; unsigned n; };

/* Compiles quotas, budgets and services.ratelimit of a configuration, with findings. */
struct limit_rules *limit_build(struct arena *a, const struct config *c, struct findings *out);
/* Compiles one budget, or a key's own limits (name "key:<id>"). 0, or -1 and *e. */
int  limit_rule_of_budget(struct arena *a, const struct budget_conf *c, struct limit_rule *out, struct err *e);
void limit_rules_of_key(struct arena *a, const struct key_conf *c, struct limit_rule **rules, unsigned *n);

/* After routing, before plugins: r->order is known. May take models out of r->order or put cheaper ones first (on_budget:
 * reroute). 0, or fails 403 / 429 with retry-after or x-should-retry. Does not wait. Twice for one request: a flow's further
 * calls reserve anew. */
int  limit_admit(struct req *r);
/* At the end, once for each admit: the truth, and the books. `usage` NULL or cost NAN: nothing was used. A request that dies
 * without it gives its reservation back with its arena. */
void limit_settle(struct req *r, const struct usage *u, double cost);
/* x-ratelimit-* (and anthropic-ratelimit-* for Messages clients) of the caller's limits: header lines. Cheap when there are
 * none. `is_anthropic`: the client speaks Messages. */
void limit_headers(const struct req *r, bool is_anthropic, struct buf *out);
bool limit_glob(str pattern, str text);         /* * and ? */
bool limit_has_headers(const struct req *r);    /* the provider's own x-ratelimit-* are then left out */

#endif
