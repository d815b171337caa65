/* pipeline/route.h -- what every door calls: which recipe, which decision, which models in which order. */
#ifndef SBX_ROUTE_H
#define SBX_ROUTE_H

#include "pipeline/req.h"

/* r->snap, r->chat and r->head are there. Fills facts, recipe, decision, plan, pick, method and order. 0; -1: r->fail. Pure but
 * for live figures; waits when a signal needs a model (pipeline/models.h). */
WAITS int route_request(struct req *r);

/* All that a plan's selector may look at. `signals` and `policy` say the category; `models` (NULL: none) embeds the query and the
 * cards for selectors that compare them, within the deadline. In arena a. */
WAITS struct select_in route_select_in(struct arena *a, const struct plan *p, const struct facts *f, const struct policy *policy,
                                       const struct sigset *signals, struct models *models, uint64_t deadline, uint64_t now);

/* Candidates of a plan with their live figures, for selection. In arena a. */
struct candidate *route_candidates(struct arena *a, const struct plan *p, uint64_t now);

#endif
