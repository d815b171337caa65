/* pipeline/account.h -- what a request has used, told once at its end: metrics, money, latency, log, trace. */
#ifndef SBX_ACCOUNT_H
#define SBX_ACCOUNT_H

#include "pipeline/req.h"

/* (P-R-W) prompt + R cached + W cache write + O completion, prices per million (spec 02, 7.3). NAN without prices. */
double account_cost(const struct model *m, const struct usage *u);
void account_finish(struct req *r);
void account_refused(const char *reason);       /* before there is a request */

#endif
