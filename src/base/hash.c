/* base/hash.c */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/hash.h"
#include "base/rand.h"

static uint64_t process_seed;

__attribute__((constructor)) static void seed_once(void)
{
    process_seed = rand_system();
}

uint64_t hash_str(str s)
{
    return XXH3_64bits_withSeed(s.ptr, s.len, process_seed);
}

uint64_t hash_stable(str s, uint64_t seed)
{
    return XXH3_64bits_withSeed(s.ptr, s.len, seed);
}

uint64_t hash_mix(uint64_t v)                   /* the finaliser of SplitMix64 */
{
    v += 0x9e3779b97f4a7c15u;
    v = (v ^ (v >> 30)) * 0xbf58476d1ce4e5b9u;
    v = (v ^ (v >> 27)) * 0x94d049bb133111ebu;
    return v ^ (v >> 31);
}
