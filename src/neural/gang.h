/* neural/gang.h -- a few threads that share one forward.
 *
 * A gang's leader calls gang_run again and again in one forward, microseconds apart: the helpers spin for a short while between calls
 * before they sleep. A gang of one, or NULL, runs everything right here. */
#ifndef SBX_GANG_H
#define SBX_GANG_H

#include <stddef.h>

struct gang;

/* Runs part(arg, i) for i in 0 .. n, spread over the gang; returns when all are done. Only the leader calls it. */
void gang_run(struct gang *g, size_t n, void (*part)(void *arg, size_t i), void *arg);
unsigned gang_size(const struct gang *g);           /* threads, with the leader; NULL: 1 */

struct gang *gang_new(unsigned size);               /* size - 1 helper threads; NULL: no memory */
void gang_free(struct gang *g);

#endif
