/* select/change_breaker.c -- an arm that breaks its form is out after a handful of calls, and comes back by a trial.
 *
 * Each failure is ln(.5/.1) for "fails half the time" against "fails one time in ten", each success ln(.5/.9). Past ln(1000) the
 * arm is out: five failures in a row, or some six calls of an arm that fails 86 % of them (the prompt-mode variant of bfcl); an
 * arm that fails one time in ten is practically never dropped. The evidence never goes below 0, so a long good past does not
 * delay the alarm. */
#include "select/change.h"

#include <math.h>

static const double per_failure = 1.6094379, per_success = -0.5877867, limit = 6.9077553;

enum { BACKOFF_MAX = 6 };

void breaker_observe(struct breaker *b, bool failed, uint64_t now, uint64_t wait)
{
    b->calls++;
    b->failures += failed;
    if (b->state == BREAKER_HALF_OPEN && !failed) {     /* the trial went well: on parole, half of the evidence stays */
        b->state = BREAKER_CLOSED;
        b->evidence = limit / 2;
        return;
    }
    b->evidence = fmin(limit + 1, fmax(0, b->evidence + (failed ? per_failure : per_success)));
    if (b->state == BREAKER_CLOSED && b->evidence == 0)
        b->opened = 0;
    if (b->state == BREAKER_HALF_OPEN || (b->state == BREAKER_CLOSED && b->evidence > limit)) {
        b->state = BREAKER_OPEN;
        b->retry_at = now + (wait << (b->opened < BACKOFF_MAX ? b->opened : BACKOFF_MAX));
        b->opened++;
    }
}

bool breaker_allows(struct breaker *b, uint64_t now)
{
    if (b->state == BREAKER_CLOSED)
        return true;
    if (now < b->retry_at)
        return false;
    b->state = BREAKER_HALF_OPEN;
    /* about a minute of nanoseconds for the trial's outcome, then another one */
    b->retry_at = now + ((uint64_t)1 << 36);
    return true;
}
