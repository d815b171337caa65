/* tests/fuzz/fuzz_pii.c -- any bytes: spans of personal data lie in the text, in order, without overlap, and do not depend on
 * how many are asked for. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "signal/pii_names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

static void check(const struct pii_span *spans, uint32_t n, size_t size, int may_overlap)
{
    for (uint32_t i = 0; i < n; i++) {
        must(spans[i].start < spans[i].end && spans[i].end <= size, "a span lies outside the text or is empty");
        must(spans[i].score >= PII_FLOOR && spans[i].score <= 1, "a score is out of range");
        must((unsigned)spans[i].type < PII_TYPES, "no such type");
        must(i == 0 || spans[i].start >= (may_overlap ? spans[i - 1].start : spans[i - 1].end), "spans are out of order");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pii_span all[1 << 16], few[3];
    float best[PII_TYPES], best_few[PII_TYPES];
    char *copy = malloc(size + 1);                      /* to its last byte, so that a read behind it is seen */
    char *text = copy + 1;
    memcpy(text, data, size);
    str s = { text, size };
    uint32_t n = pii_scan(s, all, 1 << 16, best), m = pii_scan(s, few, 3, best_few);
    check(all, n, size, 0);
    must(m == (n < 3 ? n : 3), "the first spans depend on the room");
    for (uint32_t i = 0; i < m; i++)
        must(few[i].start == all[i].start && few[i].end == all[i].end && few[i].type == all[i].type,
             "the first spans depend on the room");
    must(memcmp(best, best_few, sizeof best) == 0, "the best scores depend on the room");
    check(all, pii_names(s, all, 1 << 16, best), size, 0);
    check(all, pii_find(s, all, 1 << 16, best), size, 1);
    check(few, pii_find(s, few, 3, best_few), size, 1);
    free(copy);
    return 0;
}
