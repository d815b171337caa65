/* pipeline/route.h -- what every door calls: which recipe, which decision, which models in which order. */
#ifndef SBX_ROUTE_H
#define SBX_ROUTE_H

#include "pipeline/req.h"

/* r->snap, r->chat and r->head are there. Fills facts, recipe, decision, plan, pick, method and order. 0; -1: r->fail. Pure but
 * for live figures; waits when a signal needs a model (pipeline/models.h). */
WAITS int route_request(struct req *r);

/* Candidates of a plan with their live figures, for selection. In arena a. */
struct candidate *route_candidates(struct arena *a, const struct plan *p, uint64_t now);

#endif
