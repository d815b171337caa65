/* signal/langid_avx2.c -- the detector's inner loops for AVX2 and BMI: a bucket is one compare,
 * a row is one load. */
#include "signal/langid_kernels.h"

#ifdef __x86_64__
#include <immintrin.h>

#define TARGET __attribute__((target("avx2,bmi,bmi2")))

TARGET static void find_rows(const uint8_t *entries, uint32_t buckets, const uint64_t *hashes,
                             size_t n, struct langid_found *found)
{
    const __m128i key_bits = _mm_set1_epi16((1 << LANGID_KEY_BITS) - 1);
    uint64_t counts = found->counts;
    for (size_t k = 0; k < n; k++) {
        uint64_t bucket = langid_bucket(hashes[k], buckets);
        const uint8_t *at = entries + bucket * sizeof(__m128i);
        __m128i keys = _mm_and_si128(_mm_loadu_si128((const __m128i *)at), key_bits);
        __m128i same = _mm_cmpeq_epi16(keys, _mm_set1_epi16((short)langid_key(hashes[k])));
        unsigned mask = (unsigned)_mm_movemask_epi8(same);
        unsigned byte = (unsigned)__builtin_ctz(mask | 1u << 14);      /* 2 * the way */
        unsigned scale = at[byte + 1] >> (LANGID_KEY_BITS - 8);
        found->rows[scale][counts >> 16 * scale & 0xFFFF] =
            (uint32_t)(bucket * LANGID_WAYS + byte / 2);
        counts += (uint64_t)(mask != 0) << 16 * scale;
    }
    found->counts = counts;
}

/* The weights are at most 15, so 17 rows add up in bytes before they must move to 16 bits. */
#define ROWS_IN_BYTES 17

TARGET static void add_rows(const uint8_t *table, size_t half, const uint32_t *rows, size_t n,
                            uint32_t *sums)
{
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i zero = _mm256_setzero_si256();
    __m256i wide[4] = {zero, zero, zero, zero};     /* 16 bits; order as unpack leaves it */

    for (size_t i = 0; i < n;) {
        size_t end = n - i > ROWS_IN_BYTES ? i + ROWS_IN_BYTES : n;
        __m256i low = zero, high = zero;
        for (; i < end; i++) {
            __m256i row = _mm256_loadu_si256((const __m256i *)(table + rows[i] * half));
            low = _mm256_add_epi8(low, _mm256_and_si256(row, nibble));
            high = _mm256_add_epi8(high, _mm256_and_si256(_mm256_srli_epi16(row, 4), nibble));
        }
        wide[0] = _mm256_add_epi16(wide[0], _mm256_unpacklo_epi8(low, zero));
        wide[1] = _mm256_add_epi16(wide[1], _mm256_unpackhi_epi8(low, zero));
        wide[2] = _mm256_add_epi16(wide[2], _mm256_unpacklo_epi8(high, zero));
        wide[3] = _mm256_add_epi16(wide[3], _mm256_unpackhi_epi8(high, zero));
    }

    uint16_t lanes[4][16];
    for (int k = 0; k < 4; k++)
        _mm256_storeu_si256((__m256i *)lanes[k], wide[k]);
    for (size_t i = 0; i < half; i++) {             /* where unpack put byte i */
        size_t which = i / 8 % 2, at = i / 16 * 8 + i % 8;
        sums[i] += lanes[which][at];
        sums[half + i] += lanes[2 + which][at];
    }
}

const struct langid_kernels langid_kernels_avx2 = {
    .find_rows = find_rows,
    .add_rows  = add_rows,
};
#endif
