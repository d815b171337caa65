/* admin/resources.h -- the resources of the management API; the table is at the end of resources.c. */
#ifndef SBX_ADMIN_RESOURCES_H
#define SBX_ADMIN_RESOURCES_H

#include "admin/admin.h"

extern const struct admin_route admin_routes[];     /* ends with a NULL handle */

WAITS void admin_eval(struct admin_req *r);         /* admin/route_eval.c */

/* admin/route_outcomes.c */
void admin_outcomes(struct admin_req *r);
void admin_outcome_get(struct admin_req *r);
void admin_sessions(struct admin_req *r);
void admin_learning(struct admin_req *r);
void admin_learning_export(struct admin_req *r);
void admin_learning_merge(struct admin_req *r);

/* admin/route_keys.c, route_budgets.c, route_spend.c */
WAITS void admin_keys(struct admin_req *r);
WAITS void admin_budgets(struct admin_req *r);
WAITS void admin_spend(struct admin_req *r);

/* admin/route_classify.c */
WAITS void admin_intent(struct admin_req *r);
WAITS void admin_pii(struct admin_req *r);
WAITS void admin_security(struct admin_req *r);
WAITS void admin_fact_check(struct admin_req *r);
WAITS void admin_feedback(struct admin_req *r);
WAITS void admin_combined(struct admin_req *r);
WAITS void admin_batch(struct admin_req *r);
WAITS void admin_embeddings(struct admin_req *r);
WAITS void admin_similarity(struct admin_req *r);
WAITS void admin_similarity_batch(struct admin_req *r);
WAITS void admin_nli(struct admin_req *r);

#endif
