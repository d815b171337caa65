/* base/hash.h -- XXH3, seeded once per process so that strangers cannot choose collisions. */
#ifndef SBX_HASH_H
#define SBX_HASH_H

#include "base/str.h"

uint64_t hash_str(str s);                       /* seeded: not for files or the wire */
uint64_t hash_stable(str s, uint64_t seed);     /* the same on every machine */
uint64_t hash_mix(uint64_t v);                  /* a good bijection of 64 bits */

#endif
