/* base/rand.c */
#include "base/rand.h"

#include <sys/random.h>
#include <time.h>

#include "base/hash.h"

uint64_t rand_system(void)
{
    uint64_t v;
    if (getrandom(&v, sizeof v, 0) == sizeof v)
        return v;
    struct timespec t;                          /* a kernel without getrandom: seeds only */
    clock_gettime(CLOCK_MONOTONIC, &t);
    return hash_mix((uint64_t)t.tv_nsec ^ ((uint64_t)t.tv_sec << 32));
}

uint64_t rand_next(uint64_t *state)
{
    uint64_t v = *state;
    *state += 0x9e3779b97f4a7c15u;
    return hash_mix(v);
}

double rand_unit(uint64_t *state)
{
    return (double)(rand_next(state) >> 11) * 0x1p-53;
}

uint64_t rand_below(uint64_t *state, uint64_t n)
{
    return (uint64_t)(((unsigned __int128)rand_next(state) * n) >> 64);
}

void rand_shuffle(uint64_t *state, uint32_t *list, uint32_t n)
{
    for (uint32_t i = n; i > 1; i--) {
        uint32_t other = (uint32_t)rand_below(state, i), swap = list[i - 1];
        list[i - 1] = list[other];
        list[other] = swap;
    }
}
