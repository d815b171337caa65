/* select/compose.h -- which models to keep under a budget, when every kind of query goes to one of them. */
#ifndef SBX_SELECT_COMPOSE_H
#define SBX_SELECT_COMPOSE_H

#include <stdbool.h>
#include <stdint.h>

enum { COMPOSE_EXACT_MAX = 20 };        /* models that a search decides among; beyond: greedily, with exchanges */

struct compose {
    uint32_t n_models, n_kinds;         /* at least one of each */
    const double *worth;                /* [n_kinds][n_models] of a model on a kind: its score less its price */
    const double *frequency;            /* [n_kinds] share of queries, >= 0 */
    const double *size;                 /* [n_models] memory, or what it costs to keep; >= 0; INFINITY: not to be had */
    double budget;
};

/* The subset of at most the budget's size that maximises the sum over kinds of frequency times the best worth: is_chosen[n_models].
 * Of equals the smallest. Returns how many; 0: none fits, or no memory. */
uint32_t compose_solve(const struct compose *c, bool *is_chosen);
uint32_t compose_exact(const struct compose *c, bool *is_chosen);      /* by branch and bound, whatever n_models is */
uint32_t compose_greedy(const struct compose *c, bool *is_chosen);

double compose_value(const struct compose *c, const bool *is_chosen);
double compose_size(const struct compose *c, const bool *is_chosen);
uint32_t compose_best(const struct compose *c, const bool *is_chosen, uint32_t kind);  /* the chosen one for a kind; UINT32_MAX: none */

#endif
