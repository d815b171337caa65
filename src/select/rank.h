/* select/rank.h -- what selectors share: the declared order, and sorting by a key. */
#ifndef SBX_SELECT_RANK_H
#define SBX_SELECT_RANK_H

#include "select/select.h"

/* The candidates as declared, none scored, chosen with certainty. */
void pick_declared(const struct select_in *in, struct arena *a, struct pick *out);

/* Sorts p->order by key[candidate] ascending; equals keep their order. No NAN among the keys. */
void pick_sort(struct pick *p, const double *key, uint32_t n);

/* Moves candidate k to the front; the others keep their order. */
void pick_first(struct pick *p, uint32_t k, uint32_t n);

/* The scores of router_dc and automix by candidate, as hybrid needs them. False: this component has nothing to say. conf NULL:
 * defaults. */
bool router_dc_scores(const struct select_in *in, const void *conf, double *score);
bool automix_values(const struct select_in *in, const void *conf, double *value);

#endif
