/* Frames out of any bytes in any pieces: the same as in one piece; what comes out goes in again. The first byte of the input is
 * the size of pieces; bit 7 asks for checksums to be made right, without which little would get past them. */
#include <assert.h>
#include <stdlib.h>
#include <zlib.h>

#include "provider/event_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_u32(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(v >> (24 - 8 * i));
}

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void mend(uint8_t *bytes, size_t size)
{
    for (size_t at = 0; size - at >= 16; ) {
        uint32_t total = get_u32(bytes + at);
        put_u32(bytes + at + 8, (uint32_t)crc32(0, bytes + at, 8));
        if (total < 16 || total > size - at)
            return;
        put_u32(bytes + at + total - 4, (uint32_t)crc32(0, bytes + at, total - 4));
        at += total;
    }
}

/* All frames as text; a frame that can be written must be read back. */
static void read_all(const uint8_t *bytes, size_t size, size_t piece, struct buf *seen)
{
    struct event_stream es = { 0 };
    struct stream_event e;
    int rc = 0;
    for (size_t at = 0; at < size && rc >= 0; at += piece) {
        size_t n = piece < size - at ? piece : size - at;
        char *copy = malloc(n);
        memcpy(copy, bytes + at, n);
        str left = { copy, n };
        while ((rc = event_stream_next(&es, &left, &e)) > 0) {
            struct event_stream again = { 0 };
            struct stream_event f;
            struct buf frame = { 0 };
            buf_printf(seen, "%d ", e.is_exception);
            buf_str(seen, e.name);
            buf_char(seen, '|');
            buf_str(seen, e.data);
            event_stream_write(&frame, e.name, e.is_exception, e.data);
            str view = buf_view(&frame);
            assert(event_stream_next(&again, &view, &f) == 1 && view.len == 0);
            assert(str_eq(f.name, e.name) && str_eq(f.data, e.data) && f.is_exception == e.is_exception);
            event_stream_free(&again);
            buf_free(&frame);
        }
        free(copy);
    }
    buf_printf(seen, "%s", es.why ? es.why : "");
    event_stream_free(&es);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    uint8_t *bytes = malloc(size - 1);
    struct buf whole = { 0 }, pieces = { 0 };
    memcpy(bytes, data + 1, size - 1);
    if (data[0] & 0x80)
        mend(bytes, size - 1);
    read_all(bytes, size - 1, size - 1, &whole);
    read_all(bytes, size - 1, (data[0] & 0x7f) + 1u, &pieces);
    assert(str_eq(buf_view(&whole), buf_view(&pieces)));
    buf_free(&whole);
    buf_free(&pieces);
    free(bytes);
    return 0;
}
