/* select/pacing.h -- a budget that is spent evenly and never overspent.
 *
 * Two things that are usually one. The *pace* is a price on money: it rises while we spend faster than the window allows and
 * falls while we spend slower, so the dear models are kept for the queries that gain most (dual ascent). The *ledger* is a
 * promise: a request may only begin when what is spent, plus what is promised to others, plus the most that it can cost itself,
 * stays within the budget. So the sum never passes the budget, however wrong the pace is. Between the two stands the reserve: of
 * a dear model's request we ask that enough is left for the requests that are still to come in the window to be served by the
 * cheapest.
 *
 * Money is whole nano-USD: it adds up exactly, and a refund is what was reserved. Pure; the clock is an input. Not locked. */
#ifndef SBX_SELECT_PACING_H
#define SBX_SELECT_PACING_H

#include <stdbool.h>
#include <stdint.h>

#define PACING_STEP 0.01            /* of the price, as served */

enum { PACING_SLOTS = 32 };         /* parts of a sliding window; a part is the resolution at which old money comes free */

struct pacing_rules {
    int64_t budget;                 /* nano-USD a window */
    uint64_t window;                /* length by the caller's clock: ns, or requests */
    bool is_sliding;                /* any window of that length; else windows that begin at multiples of it */
    double step;                    /* of the price: 0.02 */
    double price_start;             /* quality that one USD is worth, from a trained table; 0: not known */
    double requests;                /* expected of a window until one is over; 0: not known */
};

struct pacing {
    struct pacing_rules rules;
    struct { int64_t spent; uint64_t begun; } parts[PACING_SLOTS + 1];  /* money and requests by part of the window; a ring */
    uint64_t part;                  /* number of the part that is on */
    int64_t promised;               /* reserved, not yet settled */
    double price;                   /* quality per USD, the dual variable */
    double rate;                    /* requests of a whole window, learned from windows that are over; 0: none is */
    uint64_t began;                 /* time when it was started */
    int64_t least;                  /* cost of the cheapest way to serve a request, average, nano-USD */
    uint64_t refused;               /* requests nobody could afford */
};

void pacing_start(struct pacing *p, const struct pacing_rules *rules, uint64_t now);
/* Goes on under other rules; starts afresh if it never started or the window is another one. */
void pacing_rule(struct pacing *p, const struct pacing_rules *rules, uint64_t now);
/* Whatever is promised will not be settled any more: it counts as spent. */
void pacing_recover(struct pacing *p);

/* What one may still spend at `now`: the budget less spent and promised. */
int64_t pacing_left(struct pacing *p, uint64_t now);

/* Quality that a USD is worth now; to be taken off a candidate's expected quality times its expected cost. */
double pacing_price(const struct pacing *p);

/* May a request begin that is expected to cost `expected` and at most `most`? `cheapest` is the most that its cheapest candidate
 * can cost: the cheapest itself only has to fit, any other must leave the reserve. */
bool pacing_admits(struct pacing *p, int64_t most, int64_t cheapest, uint64_t now);

/* The request begins: `most` is promised. False: it does not fit (then nothing is). Called once a request, before it is sent. */
bool pacing_reserve(struct pacing *p, int64_t most, uint64_t now);
/* The request has ended at a cost of `cost`; `most` is what was reserved. Moves the price. Returns false when the cost was above
 * the reservation: the caller's bound was wrong (the excess is counted and taken from what is left). */
bool pacing_settle(struct pacing *p, int64_t most, int64_t cost, int64_t cheapest, uint64_t now);

#endif
