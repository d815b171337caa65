/* pipeline/health.h -- active health checks: one fiber per backend that has a health_check_path. */
#ifndef SBX_HEALTH_H
#define SBX_HEALTH_H

#include "pipeline/snap.h"

enum { HEALTH_DOWN_AFTER = 3 };     /* failed checks in a row; one good one brings it back */

/* On the loop's thread: starts the checks of its present snapshot. They end by themselves when it is replaced. */
void health_start(struct loop *l);

#endif
