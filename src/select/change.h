/* select/change.h -- has an arm become another one?
 *
 * A fixed discount pays 2 to 9 points when nothing drifts (spec 05, 4.6). So nothing is forgotten until a test says that the last
 * outcomes do not fit what was expected of them; then the arm's past goes, and what came after the change stays. Three tests: a
 * likelihood ratio over the last outcomes that also says when it happened, CUSUM for a stream without a memory, and a breaker
 * that drops an arm whose answers break their form within a handful of calls. Pure. */
#ifndef SBX_SELECT_CHANGE_H
#define SBX_SELECT_CHANGE_H

#include <stdbool.h>
#include <stdint.h>

/* ---- generalised likelihood ratio over the last outcomes ---- */

enum { CHANGE_WINDOW = 256 };       /* outcomes looked back upon; slower changes the learner follows by itself */

struct change {
    float got[CHANGE_WINDOW];       /* rewards, 0 .. 1; ring */
    float expected[CHANGE_WINDOW];  /* what was predicted when the choice was made */
    float doubt[CHANGE_WINDOW];     /* the prediction's deviation */
    uint32_t n, at;                 /* filled; next */
};

struct change_found {
    uint32_t since;                 /* outcomes since the change, the newest counted; 0: no change */
    double before, after;           /* expected and observed mean since then */
};

/* Takes one outcome. `false_alarm`: the chance per test that nothing changed (0: 1e-3 per CHANGE_WINDOW outcomes is a good value:
 * 1e-4). A found change empties the ring. */
struct change_found change_observe(struct change *c, double got, double expected, double doubt, double false_alarm);

/* ---- CUSUM (Page 1954), both ways, on got - expected ---- */

struct cusum { double low, high; uint32_t since_low, since_high; };

/* slack: drift that is let pass (half of the smallest change that matters, 0.05); limit: alarm level (0.05 and 4: an alarm in
 * some 10,000). -1: it became worse, 1: better, 0: neither. An alarm starts it afresh. */
int cusum_observe(struct cusum *c, double got, double expected, double slack, double limit);

/* ---- breaker: sequential probability ratio test (Wald 1945) of "fails half the time" against "fails rarely" ---- */

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };

struct breaker {
    double evidence;                /* log likelihood ratio, never below 0 */
    enum breaker_state state;
    uint32_t opened;                /* times in a row, for the back-off */
    uint64_t retry_at;              /* by the caller's clock */
    uint64_t calls, failures;
};

/* wait: first back-off; doubles up to 64 times */
void breaker_observe(struct breaker *b, bool failed, uint64_t now, uint64_t wait);
/* Whether the arm may be chosen now. One who asks after the back-off gets the trial call. */
bool breaker_allows(struct breaker *b, uint64_t now);

#endif
