/* select/objective.h -- from predictions to an order: quality, cost, latency and energy under one price vector.
 *
 * value = quality - price . (cost, latency, energy). Two other forms say the same in words a person has: "the cheapest that is at
 * most `tolerance` worse than the best", and "no dearer than `budget_usd`". Pure. */
#ifndef SBX_SELECT_OBJECTIVE_H
#define SBX_SELECT_OBJECTIVE_H

#include "select/learner.h"

struct objective {
    double quality;                     /* weight of quality; 0 in all four: 1 for quality alone */
    double cost;                        /* quality that one USD is worth: 0.05 quality for a cent is 5 */
    double latency;                     /* quality that one second is worth */
    double energy;                      /* quality that one unit of energy is worth */
    double tolerance;                   /* > 0: of those whose quality is at most this below the best, the cheapest */
    double budget_usd;                  /* > 0: those whose cost at the 90th percentile is beyond are last */
    double caution;                     /* quality counts minus this many deviations (lower confidence bound); 0: the mean */
};

/* value[i] of candidate i whose prediction is p[i] and energy is energy[i] (NULL: unknown counts as 0). An unknown cost or
 * latency counts as the worst known one. Returns the index of the best; ties: the cheaper, then the earlier. */
uint32_t objective_best(const struct objective *o, const struct prediction *p, const float *energy, uint32_t n, double *value);

#endif
