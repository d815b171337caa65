/* tests/fuzz/fuzz_sse.c -- events do not depend on where the bytes were cut. The first byte chooses the step. */
#include "../unit/net/events.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    str bytes = { (const char *)data + 1, size - 1 };
    size_t step = 1 + data[0] % 64;
    struct buf whole = { 0 }, cut = { 0 };
    struct events e = { .digest = &whole };
    events_feed(&e, bytes);
    events_end(&e);
    e = (struct events){ .digest = &cut };
    for (size_t at = 0; at < bytes.len; at += step)
        events_feed(&e, str_upto(str_from(bytes, at), step));
    events_end(&e);
    if (!str_eq(buf_view(&whole), buf_view(&cut)))
        abort();
    buf_free(&whole);
    buf_free(&cut);
    return 0;
}
