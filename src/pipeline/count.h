/* pipeline/count.h -- what a decision and a pick add to the metrics (VSR's names: spec 02, 7.1). */
#ifndef SBX_COUNT_H
#define SBX_COUNT_H

#include "pipeline/req.h"

void count_cells(struct arena *a, struct recipe *r);    /* finds the cells of a policy, once per snapshot */

/* Whether this run's units shall be timed: one in sixteen is, two looks at the clock per unit being dearer than most units. */
bool count_times_units(const struct req *r);
void count_decision(const struct req *r, const struct decide_scratch *s, uint64_t ns);
void count_encoder(void);                       /* sets the encoder service's figures; before a scrape. Any thread. */
void count_pick(const struct req *r, uint64_t ns);
struct ask_answer;
void count_helper(const struct ask_answer *asked);
void count_plugin(const struct req *r, const char *type, int rc, uint64_t ns);

#endif
