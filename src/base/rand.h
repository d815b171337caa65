/* base/rand.h -- chance as an input: a generator is 8 bytes of state that the caller owns. */
#ifndef SBX_RAND_H
#define SBX_RAND_H

#include <stddef.h>
#include <stdint.h>

uint64_t rand_system(void);                     /* from the kernel; for seeds and ids */
uint64_t rand_next(uint64_t *state);            /* SplitMix64 */
double   rand_unit(uint64_t *state);            /* [0, 1) */
uint64_t rand_below(uint64_t *state, uint64_t n); /* [0, n), n > 0 */
void     rand_shuffle(uint64_t *state, uint32_t *list, uint32_t n);     /* every order is as likely (Fisher and Yates) */

#endif
