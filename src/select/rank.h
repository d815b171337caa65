/* select/rank.h -- what selectors share: the declared order, and sorting by a key. */
#ifndef SBX_SELECT_RANK_H
#define SBX_SELECT_RANK_H

#include "select/select.h"

/* The candidates as declared, none scored, chosen with certainty. */
void pick_declared(const struct select_in *in, struct arena *a, struct pick *out);

/* Sorts p->order by key[candidate] ascending; equals keep their order. No NAN among the keys. */
void pick_sort(struct pick *p, const double *key, uint32_t n);

#endif
