/* base/clock.h -- nanoseconds. `clock_now` is monotonic and for durations, `clock_wall` for people. */
#ifndef SBX_CLOCK_H
#define SBX_CLOCK_H

#include <stdint.h>

#include "base/str.h"

#define NS_PER_MS 1000000ull
#define NS_PER_S  1000000000ull

uint64_t clock_now(void);                       /* CLOCK_MONOTONIC */
uint64_t clock_wall(void);                      /* since 1970 */
size_t   clock_iso(uint64_t wall_ns, char out[32]); /* 2026-01-31T12:00:00.123Z; its length */

#endif
