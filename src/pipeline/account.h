/* pipeline/account.h -- what a request has used, told once at its end: metrics, money, latency, log, trace. */
#ifndef SBX_ACCOUNT_H
#define SBX_ACCOUNT_H

#include "pipeline/req.h"

void account_finish(struct req *r);
/* The same for one call to a model: its metrics, the books. What it cost, in the model's currency; NAN: not known. */
double account_call(struct req *r);
void account_refused(const char *reason);       /* before there is a request */

#endif
