/* tools/pii/pii_dump.c -- the spans of texts, for the scripts that measure them.
 *
 * Usage: pii_dump scan|names|find reads texts as a 32-bit little-endian length and the bytes; writes a line `START END SCORE
 * TYPE` a span and an empty line a text. */
#include <stdio.h>
#include <stdlib.h>

#include "signal/pii_names.h"

int main(int argc, char **argv)
{
    enum { SPANS_MAX = 1 << 14 };
    static struct pii_span spans[SPANS_MAX];
    char mode = argc > 1 ? argv[1][0] : 'f';
    uint32_t len;
    while (fread(&len, sizeof len, 1, stdin) == 1) {
        char *bytes = malloc(len + 1);
        if (!bytes || fread(bytes, 1, len, stdin) != len)
            return 2;
        str text = { bytes, len };
        uint32_t n = mode == 's' ? pii_scan(text, spans, SPANS_MAX, NULL) : mode == 'n' ? pii_names(text, spans, SPANS_MAX, NULL)
                                                                                       : pii_find(text, spans, SPANS_MAX, NULL);
        for (uint32_t i = 0; i < n; i++)
            printf("%u %u %.3f %s\n", spans[i].start, spans[i].end, (double)spans[i].score, pii_type_name(spans[i].type).ptr);
        printf("\n");
        free(bytes);
    }
    return 0;
}
