/* base/vector.h -- arithmetic of float vectors for pure code; a few hundred elements a call.
 *
 * Sums run in sixteen lanes in a fixed order, so that compilers turn the loops into vector instructions without being
 * allowed to reorder floats, and every build gives the same sum. Products of encoders are neural/kernel.h's. */
#ifndef SBX_VECTOR_H
#define SBX_VECTOR_H

#include <stdbool.h>
#include <stddef.h>

float vector_inner(const float *a, const float *b, size_t n);   /* dot product: of unit vectors the cosine */
void  vector_add(float *to, const float *from, size_t n);
bool  vector_unit(float *x, size_t n);                          /* to length 1; false: zero or not finite, x is left */

#endif
