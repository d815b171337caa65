/* select/gate.h -- may the new policy go live?
 *
 * "Worse by delta" is a yes or no per request, so how often it happens is a binomial share and its upper bound is exact
 * (Clopper-Pearson 1934). Looking at that bound after every request and stopping when it pleases would void it: for that there is
 * a bet (Waudby-Smith and Ramdas 2024). A player who starts with 1 and bets against "the share is above alpha" cannot, if that is
 * true, ever reach 1 / risk with a chance above risk. When the bet's wealth gets there the gate opens, at any time, however often
 * one looked. Pure. */
#ifndef SBX_SELECT_GATE_H
#define SBX_SELECT_GATE_H

#include <stdbool.h>
#include <stdint.h>

/* The largest share under which k or fewer of n still have a chance of `risk`; and the smallest with k or more. */
double gate_upper(uint64_t k, uint64_t n, double risk);
double gate_lower(uint64_t k, uint64_t n, double risk);

/* Regularised incomplete beta function I_x(a, b), and the inverse in x. */
double beta_below(double x, double a, double b);
double beta_quantile(double p, double a, double b);

struct gate {                       /* anytime-valid: P(violation) <= alpha ? */
    double alpha, risk;
    double log_wealth;              /* of the mixture of bets */
    double bets[8];                 /* log wealth of each stake */
    uint64_t n, violations;
};

/* not known yet; at most alpha; above alpha (by the same kind of bet) */
enum gate_verdict { GATE_CLOSED, GATE_OPEN, GATE_SHUT };

void gate_start(struct gate *g, double alpha, double risk);
/* One request: was the new policy worse by more than delta (1), or not (0)? Between: a share, for judges that are unsure. */
enum gate_verdict gate_observe(struct gate *g, double violation);
double gate_bound(const struct gate *g);            /* upper confidence bound that holds at all times at once */

/* Fixed sequence: thresholds ordered from safe to bold before the data was seen, violations k[i] of n[i] routed. The last one
 * that passes, all before it passing too; n_thresholds: none. No correction needed, since the sequence stops at the first that
 * fails (Learn then Test, 2021). */
uint32_t gate_sequence(const uint64_t *k, const uint64_t *n, uint32_t n_thresholds, double alpha, double risk);

#endif
