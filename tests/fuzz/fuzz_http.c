/* tests/fuzz/fuzz_http.c -- the same bytes, whole on a thread and cut on fibers, are the same messages.
 *
 * The first two bytes choose the side, the way bodies are read and the place of the cut. */
#include "../unit/net/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 32 * 1024)
        return 0;
    str bytes = { (const char *)data + 2, size - 2 };
    struct wire w = { .side = data[0] & 1 ? H1_RESPONSES : H1_REQUESTS, .answers_head = data[0] & 2 };
    char *whole = wire_digest(&w, bytes);
    w.on_fibers = true;
    w.in_pieces = data[0] & 4;
    w.n_cuts = 1;
    w.cuts[0] = bytes.len * data[1] / 256;
    char *cut = wire_digest(&w, bytes);
    /* Which of two faults is met first may depend on the cut; that there is one may not. */
    char *x = strrchr(whole, ';'), *y = strrchr(cut, ';');
    size_t nx = x ? (size_t)(x - whole) : 0, ny = y ? (size_t)(y - cut) : 0;
    const char *tail_x = x ? x + 2 : whole, *tail_y = y ? y + 2 : cut;
    bool same = nx == ny && memcmp(whole, cut, nx) == 0 && (strcmp(tail_x, tail_y) == 0 || (*tail_x == '4' && *tail_y == '4')
                || (*tail_x == '5' && *tail_y == '4') || (*tail_x == '4' && *tail_y == '5'));
    if (!same) {
        fprintf(stderr, "whole: %s\ncut:   %s\n", whole, cut);
        abort();
    }
    free(whole);
    free(cut);
    return 0;
}
