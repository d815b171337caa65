/* pipeline/meter.h -- counters of one rule and one subject: tokens in a window, requests at once, money of a period.
 *
 * A meter is found by its rule's name and its subject in a table of shards and changed under its shard's lock, some fifty
 * nanoseconds; nothing waits there. Who takes gets a hold, and gives it back with the truth. A held meter stays; one that says
 * nothing any more may be thrown out to make room. */
#ifndef SBX_METER_H
#define SBX_METER_H

#include "pipeline/limit.h"

enum {
    METERS_MAX = 1 << 17,           /* all together, 60 MB at most; beyond, when none can go: TAKE_FULL */
    SUBJECT_MAX = 200,              /* bytes; longer ones end in a hash */
    RING_BUCKETS = 16,              /* of a sliding window: 15 whole ones and the one that runs */
};

struct meter;

enum verdict { TAKE_OK, TAKE_REQUESTS, TAKE_INPUT, TAKE_OUTPUT, TAKE_TOKENS, TAKE_CONCURRENT, TAKE_MONEY, TAKE_FULL };

struct take {                       /* what a request may need */
    int64_t tokens[GAUGE_N];        /* GAUGE_REQUESTS: 1 */
    int64_t money;                  /* micro-USD */
    bool ignores_money;             /* a soft budget: never refused for money */
    uint64_t now;                   /* monotonic ns */
    int64_t wall;                   /* seconds since 1970 */
};

struct hold {
    struct meter *meter;            /* NULL: nothing is held */
    const struct limit_rule *rule;
    uint64_t bucket;                /* of the windows, when it was taken */
    int64_t tokens[GAUGE_N], money;
};

struct gauge_view { int64_t most, left; uint64_t reset_ns; };   /* most 0: not limited */
struct meter_view {
    struct gauge_view gauges[GAUGE_N];
    uint64_t wait_ns;               /* refused: when there would be room; UINT64_MAX: never, it asks for more than the whole */
    int64_t spent, reserved, amount, period_start;
};

/* All of it or nothing. *view is filled either way. */
enum verdict meter_take(const struct limit_rule *rule, str subject, const struct take *t, struct hold *h,
                        struct meter_view *view);
bool meter_extend(struct hold *h, int64_t money, bool is_forced);   /* holds so much more; false: it is not there */
void meter_undo(struct hold *h);                /* as if it had never been taken */
/* Puts the truth in the hold's place and ends it. *period_start: the period that the money was charged to. */
void meter_settle(struct hold *h, const struct take *truth, int64_t *period_start);
/* The truth without a hold. False: no room for another meter. */
bool meter_charge(const struct limit_rule *rule, str subject, const struct take *truth, int64_t *period_start);
/* From the books, at start: what was spent in the period that began then; older ones give way. */
bool meter_load(str rule_name, str subject, int64_t start, int64_t spent);
/* What the money of a rule is at: every subject, of the period `wall` lies in. `see` must call nothing in here. */
void meters_money(const struct limit_rule *rule, int64_t wall,
                  void (*see)(void *arg, str subject, int64_t spent, int64_t reserved), void *arg);
size_t meters_count(void);
void meters_forget(void);                       /* tests: nothing may be held */

#endif
