/* signal/langid_ref.c -- the detector's inner loops in plain C: the meaning of the other sets.
 *
 * An n-gram being known is a coin toss, so looking it up takes no branch on that. */
#include <string.h>

#include "signal/langid_kernels.h"

/* Four entries of 16 bits at a time: a lane of x that is zero borrows its top bit, and the
 * lowest such lane is exact. Little-endian. */
static void find_rows(const uint8_t *entries, uint32_t buckets, const uint64_t *hashes, size_t n,
                      struct langid_found *found)
{
    const uint64_t ones = 0x0001000100010001u, tops = 0x8000800080008000u;
    const uint64_t key_bits = ones * ((1u << LANGID_KEY_BITS) - 1);
    for (size_t k = 0; k < n; k++) {
        uint64_t bucket = langid_bucket(hashes[k], buckets), four[2], hit[2];
        memcpy(four, entries + bucket * sizeof four, sizeof four);
        for (unsigned i = 0; i < 2; i++) {
            uint64_t x = (four[i] & key_bits) ^ langid_key(hashes[k]) * ones;
            hit[i] = (x - ones) & ~x & tops;
        }
        unsigned upper = hit[0] == 0;
        unsigned lane = (unsigned)__builtin_ctzll(hit[upper] | (uint64_t)1 << 63) / 16;
        unsigned scale = (unsigned)(four[upper] >> (16 * lane + LANGID_KEY_BITS)) & 3;
        found->rows[scale][langid_found_count(found, scale)] =
            (uint32_t)(bucket * LANGID_WAYS + upper * 4 + lane);
        found->counts += (uint64_t)(hit[upper] != 0) << 16 * scale;
    }
}

static void add_rows(const uint8_t *table, size_t half, const uint32_t *rows, size_t n,
                     uint32_t *sums)
{
    for (size_t k = 0; k < n; k++) {
        const uint8_t *row = table + rows[k] * half;
        for (size_t i = 0; i < half; i++) {
            sums[i] += row[i] & 15u;
            sums[half + i] += row[i] >> 4;
        }
    }
}

const struct langid_kernels langid_kernels_ref = {
    .find_rows = find_rows,
    .add_rows  = add_rows,
};
