/* provider/event_stream.c -- application/vnd.amazon.eventstream.
 *
 *     u32 length of all, u32 length of the headers, u32 CRC of these 8 bytes, headers, payload, u32 CRC of all before; big-endian
 *     header: u8 length, name, u8 type, value. Type 7, a string: u16 length, bytes
 *
 * The length is believed only when its checksum holds, so a broken stream is noticed after 12 bytes and never makes us wait
 * for, or keep, what a flipped bit asks for. A frame that lies whole in the caller's bytes costs no copy; else just its own
 * bytes are gathered in `partial`, and dropped by the call after. Format: the AWS SDKs' event stream documentation, checked
 * against botocore's parser in both directions (tests/dialect/event_stream_check.py). */
#include "provider/event_stream.h"

#include <assert.h>
#include <zlib.h>

#include "base/json.h"
#include "base/put.h"

enum {
    PRELUDE = 12,
    TRAILER = 4,
    HEADERS_MAX = 128 << 10,        /* as in the SDKs */
    PARTIAL_KEPT_MAX = 64 << 10,    /* a larger buffer is given back after its frame */
};

static uint32_t get_u32(const char *p)
{
    const unsigned char *b = (const unsigned char *)p;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static uint32_t checksum(const char *p, size_t n)
{
    return (uint32_t)crc32(0, (const unsigned char *)p, (unsigned)n);
}

static int broken(struct event_stream *es, const char *why)
{
    es->why = why;
    return -1;
}

/* Checks the first 12 bytes. The frame's length; 0: es->why. */
static size_t frame_length(struct event_stream *es, const char *p)
{
    uint32_t total = get_u32(p), headers = get_u32(p + 4);
    if (get_u32(p + 8) != checksum(p, 8))
        es->why = "a frame's length fails its checksum";
    else if (total > FRAME_MAX)
        es->why = "a frame is longer than 16 MB";
    else if (headers > HEADERS_MAX || total < PRELUDE + TRAILER + headers)
        es->why = "a frame's headers are longer than the frame or 128 KB";
    else
        return total;
    return 0;
}

/* ---- headers ---- */

enum { MESSAGE_TYPE, EVENT_TYPE, EXCEPTION_TYPE, ERROR_CODE, ERROR_MESSAGE, NAMES_N };
static const str names[NAMES_N] = {
    [MESSAGE_TYPE] = S(":message-type"), [EVENT_TYPE] = S(":event-type"), [EXCEPTION_TYPE] = S(":exception-type"),
    [ERROR_CODE] = S(":error-code"), [ERROR_MESSAGE] = S(":error-message"),
};

enum { TYPE_BYTES = 6, TYPE_STRING = 7 };
/* true, false, byte, short, integer, long, bytes, string, timestamp, uuid. -1: a u16 length stands before it */
static const int sizes[] = { 0, 0, 1, 2, 4, 8, -1, -1, 8, 16 };

static bool headers_read(str rest, str values[NAMES_N])
{
    while (rest.len) {
        size_t n = (unsigned char)rest.ptr[0];
        if (n == 0 || rest.len < n + 2)
            return false;
        str name = { rest.ptr + 1, n };
        unsigned type = (unsigned char)rest.ptr[n + 1];
        rest = str_from(rest, n + 2);
        if (type >= COUNT_OF(sizes))
            return false;
        size_t size = (size_t)sizes[type];
        if (sizes[type] < 0) {
            if (rest.len < 2)
                return false;
            size = (size_t)(unsigned char)rest.ptr[0] << 8 | (unsigned char)rest.ptr[1];
            rest = str_from(rest, 2);
        }
        if (rest.len < size)
            return false;
        for (size_t i = 0; i < NAMES_N && type == TYPE_STRING; i++)
            if (str_eq(name, names[i]))
                values[i] = str_upto(rest, size);
        rest = str_from(rest, size);
    }
    return true;
}

/* p: a whole frame whose prelude is fine. */
static int frame_read(struct event_stream *es, const char *p, size_t total, struct stream_event *out)
{
    size_t headers = get_u32(p + 4);
    str v[NAMES_N] = { 0 };
    if (get_u32(p + total - TRAILER) != checksum(p, total - TRAILER))
        return broken(es, "a frame fails its checksum");
    if (!headers_read((str){ p + PRELUDE, headers }, v))
        return broken(es, "a frame's headers are malformed");
    *out = (struct stream_event){
        .name = v[EVENT_TYPE], .data = { p + PRELUDE + headers, total - PRELUDE - TRAILER - headers },
    };
    if (str_eq(v[MESSAGE_TYPE], S("exception")) || v[EXCEPTION_TYPE].len) {
        out->name = v[EXCEPTION_TYPE];
        out->is_exception = true;
    } else if (str_eq(v[MESSAGE_TYPE], S("error")) || v[ERROR_CODE].len) {
        struct json_writer w = { .out = &es->message };
        es->message.len = 0;
        jw_begin(&w, '{');
        put_str(&w, S("message"), v[ERROR_MESSAGE]);
        jw_end(&w, '}');
        *out = (struct stream_event){ .name = v[ERROR_CODE], .data = buf_view(&es->message), .is_exception = true };
    }
    return 1;
}

/* ---- bytes to frames ---- */

/* Moves bytes over until `partial` holds n. False: there are not enough yet. */
static bool gather(struct event_stream *es, str *bytes, size_t n)
{
    if (es->partial.len < n) {
        size_t more = n - es->partial.len < bytes->len ? n - es->partial.len : bytes->len;
        buf_add(&es->partial, bytes->ptr, more);
        *bytes = str_from(*bytes, more);
    }
    return es->partial.len >= n;
}

int event_stream_next(struct event_stream *es, str *bytes, struct stream_event *out)
{
    struct buf *b = &es->partial;
    size_t total;
    if (es->why)
        return -1;
    if (b->len >= PRELUDE && b->len == get_u32(b->ptr)) {      /* the frame of the call before */
        b->len = 0;
        if (b->cap > PARTIAL_KEPT_MAX)
            buf_free(b);
    }
    if (b->len == 0 && bytes->len >= PRELUDE) {
        const char *p = bytes->ptr;
        total = frame_length(es, p);
        if (total == 0)
            return -1;
        if (bytes->len >= total) {
            *bytes = str_from(*bytes, total);
            return frame_read(es, p, total, out);
        }
    }
    if (!gather(es, bytes, PRELUDE))
        return b->is_failed ? broken(es, "out of memory") : 0;
    total = frame_length(es, b->ptr);
    if (total == 0)
        return -1;
    if (!gather(es, bytes, total))
        return b->is_failed ? broken(es, "out of memory") : 0;
    return frame_read(es, b->ptr, total, out);
}

void event_stream_free(struct event_stream *es)
{
    buf_free(&es->partial);
    buf_free(&es->message);
}

/* ---- frames to bytes ---- */

static void put_u32(struct buf *out, uint32_t v)
{
    const unsigned char b[4] = { (unsigned char)(v >> 24), (unsigned char)(v >> 16), (unsigned char)(v >> 8), (unsigned char)v };
    buf_add(out, b, sizeof b);
}

static void put_header(struct buf *out, str name, str value)
{
    assert(name.len < 256);
    value = str_upto(value, UINT16_MAX);
    buf_char(out, (char)name.len);
    buf_str(out, name);
    buf_char(out, TYPE_STRING);
    buf_char(out, (char)(value.len >> 8));
    buf_char(out, (char)value.len);
    buf_str(out, value);
}

void event_stream_write(struct buf *out, str type, bool is_exception, str payload)
{
    struct buf headers = { 0 };
    size_t start = out->len;
    put_header(&headers, is_exception ? names[EXCEPTION_TYPE] : names[EVENT_TYPE], type);
    put_header(&headers, S(":content-type"), S("application/json"));
    put_header(&headers, names[MESSAGE_TYPE], is_exception ? S("exception") : S("event"));
    put_u32(out, (uint32_t)(PRELUDE + headers.len + payload.len + TRAILER));
    put_u32(out, (uint32_t)headers.len);
    if (!out->is_failed)
        put_u32(out, checksum(out->ptr + start, 8));
    buf_str(out, buf_view(&headers));
    buf_str(out, payload);
    if (!out->is_failed)
        put_u32(out, checksum(out->ptr + start, out->len - start));
    buf_free(&headers);
}
