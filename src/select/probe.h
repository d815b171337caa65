/* select/probe.h -- of which rows to ask a new model, when only so many answers can be paid for. */
#ifndef SBX_SELECT_PROBE_H
#define SBX_SELECT_PROBE_H

#include "select/newcomer.h"

enum {
    PROBE_CANDIDATES = 4096,            /* rows that are weighed against each other; beyond: a random part of them */
    PROBE_CHECKS = 3,                   /* every third row is a random one: see probe.c */
};

/* Chooses up to `count` rows whose outcomes would tell most of the newcomer, most telling first: chosen[count], and share[count], of
 * the uncertainty that matters the part that each takes away after those before it (NULL: not wanted). Rows with is_known[w->n] are
 * not chosen, nor two rows of one question. Every checks-th is drawn by chance; 0: none. How many were chosen: fewer when the rows are used up; UINT32_MAX: no memory. */
uint32_t probe_choose(const struct newcomer *w, const struct recorded *r, const bool *is_known, uint32_t count, uint32_t checks,
                      uint64_t seed, uint32_t *chosen, double *share);
/* How much it matters to know the newcomer's mean on each kind: weight[w->n_kinds], sums to 1. */
void probe_weigh(const struct newcomer *w, double *weight);
/* The part of the uncertainty that outcomes of these rows would take away together, whatever they are. */
double probe_share(const struct newcomer *w, const uint32_t *rows, uint32_t n);

#endif
