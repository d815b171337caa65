/* signal/langid_kernels.h -- the two inner loops of the language detector, one set per
 * instruction set. All sets give the same bits. Private to langid*.c and their tests. */
#ifndef SBX_LANGID_KERNELS_H
#define SBX_LANGID_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "signal/langid_features.h"

#define LANGID_BATCH_MAX 1024       /* rows in a list; 15 * 1024 fits sums of 16 bits */

/* Rows found but not added yet, by the step of their weights. One place more than rows: the
 * kernels write a row first and then decide whether it counts. */
struct langid_found {
    uint32_t rows[LANGID_SCALES][LANGID_BATCH_MAX + 1];
    uint64_t counts;                /* 16 bits per list, so that they stay in a register */
};

static inline size_t langid_found_count(const struct langid_found *found, unsigned scale)
{
    return found->counts >> 16 * scale & 0xFFFF;
}

struct langid_kernels {
    /* Looks up N hashes among ENTRIES, [buckets][LANGID_WAYS], and appends the rows of those
     * that are there to the lists, which must have room for N more. */
    void (*find_rows)(const uint8_t *entries, uint32_t buckets, const uint64_t *hashes, size_t n,
                      struct langid_found *found);

    /* Adds N rows of 4-bit weights. Row r starts at TABLE + r * HALF; the low half of its byte i
     * goes to sums[i], the high half to sums[HALF + i]. HALF <= 32, N <= LANGID_BATCH_MAX.
     * 32 bytes may be read from the start of any row. */
    void (*add_rows)(const uint8_t *table, size_t half, const uint32_t *rows, size_t n,
                     uint32_t *sums);
};

extern const struct langid_kernels langid_kernels_ref;
#ifdef __x86_64__
extern const struct langid_kernels langid_kernels_avx2;     /* needs AVX2, BMI1 and BMI2 */
#endif

#endif
