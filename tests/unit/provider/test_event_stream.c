/* Frames come out of any cut of the bytes, and no damage goes unnoticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <zlib.h>

#include "provider/event_stream.h"

static struct buf wire;

static int begin(void **state)
{
    (void)state;
    event_stream_write(&wire, S("messageStart"), false, S("{\"role\":\"assistant\"}"));
    event_stream_write(&wire, S("contentBlockDelta"), false, S(""));
    event_stream_write(&wire, S("throttlingException"), true, S("{\"message\":\"slow\"}"));
    return 0;
}

static int finish(void **state)
{
    (void)state;
    buf_free(&wire);
    return 0;
}

/* "name data|name data|!name data|" of all frames; pieces of the lengths given, the last one again and again. */
static void read_in(const size_t *cuts, size_t n, str bytes, struct buf *seen, const char **why)
{
    struct event_stream es = { 0 };
    size_t at = 0, k = 0;
    int rc = 0;
    while (at < bytes.len && rc >= 0) {
        size_t piece = cuts[k < n ? k++ : n - 1];
        piece = piece && piece < bytes.len - at ? piece : bytes.len - at;
        char *copy = malloc(piece);             /* of its own, so that a sanitizer sees who looks beyond */
        memcpy(copy, bytes.ptr + at, piece);
        str left = { copy, piece };
        struct stream_event e;
        while ((rc = event_stream_next(&es, &left, &e)) > 0)
            buf_printf(seen, "%s%.*s %.*s|", e.is_exception ? "!" : "", STR_ARG(e.name), STR_ARG(e.data));
        assert_true(rc < 0 || left.len == 0);
        free(copy);
        at += piece;
    }
    if (why)
        *why = es.why;
    event_stream_free(&es);
}

#define EXPECTED "messageStart {\"role\":\"assistant\"}|contentBlockDelta |!throttlingException {\"message\":\"slow\"}|"

static void assert_seen(struct buf *seen, const char *expected)
{
    buf_char(seen, '\0');
    assert_string_equal(seen->ptr, expected);
    buf_free(seen);
}

static void frames_survive_every_cut(void **state)
{
    (void)state;
    for (size_t first = 1; first <= wire.len; first++) {
        for (size_t second = 1; second <= wire.len - first + 1; second += first % 7 + 1) {
            struct buf seen = { 0 };
            read_in((size_t[]){ first, second, 0 }, 3, buf_view(&wire), &seen, NULL);
            assert_seen(&seen, EXPECTED);
        }
    }
    struct buf seen = { 0 };
    read_in((size_t[]){ 1 }, 1, buf_view(&wire), &seen, NULL);
    assert_seen(&seen, EXPECTED);
}

static void every_flipped_bit_is_noticed(void **state)
{
    (void)state;
    for (size_t at = 0; at < wire.len; at++) {
        for (int bit = 0; bit < 8; bit++) {
            struct buf seen = { 0 }, copy = { 0 };
            const char *why = NULL;
            buf_str(&copy, buf_view(&wire));
            copy.ptr[at] = (char)(copy.ptr[at] ^ (1 << bit));
            read_in((size_t[]){ 0 }, 1, buf_view(&copy), &seen, &why);
            assert_non_null(why);
            buf_char(&seen, '\0');
            assert_memory_equal(seen.ptr, EXPECTED, strlen(seen.ptr));  /* what came before is right, the rest is silence */
            buf_free(&seen);
            buf_free(&copy);
        }
    }
}

static void put_u32(struct buf *b, uint32_t v)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        buf_char(b, (char)(v >> shift));
}

static void frame(struct buf *b, uint32_t total, uint32_t headers, const char *content, size_t n)
{
    size_t start = b->len;
    put_u32(b, total);
    put_u32(b, headers);
    put_u32(b, (uint32_t)crc32(0, (const unsigned char *)b->ptr + start, 8));
    buf_add(b, content, n);
    put_u32(b, (uint32_t)crc32(0, (const unsigned char *)b->ptr + start, (unsigned)(b->len - start)));
}

static void assert_why(struct buf *b, const char *expected)
{
    struct buf seen = { 0 };
    const char *why = NULL;
    read_in((size_t[]){ 0 }, 1, buf_view(b), &seen, &why);
    assert_non_null(why);
    assert_string_equal(why, expected);
    buf_free(&seen);
    b->len = 0;
}

static void lengths_that_cannot_be_are_refused_at_once(void **state)
{
    struct buf b = { 0 };
    (void)state;
    frame(&b, FRAME_MAX + 1, 0, "", 0);
    assert_why(&b, "a frame is longer than 16 MB");
    frame(&b, 15, 0, "", 0);
    assert_why(&b, "a frame's headers are longer than the frame or 128 KB");
    frame(&b, 40, 25, "", 0);
    assert_why(&b, "a frame's headers are longer than the frame or 128 KB");
    frame(&b, 1 << 20, 200000, "", 0);
    assert_why(&b, "a frame's headers are longer than the frame or 128 KB");
    frame(&b, UINT32_MAX, UINT32_MAX, "", 0);
    assert_why(&b, "a frame is longer than 16 MB");
    buf_free(&b);
}

static void malformed_headers_are_refused(void **state)
{
    static const struct { const char *bytes; uint32_t n; } cases[] = {
        { "\0", 1 }, { "\x05" "ab", 3 },
        { "\x01" "a", 2 }, { "\x01" "a\x0a", 3 }, { "\x01" "a\x07", 3 }, { "\x01" "a\x07\0\x02x", 6 },
        { "\x01" "a\x04xx", 5 },
    };
    struct buf b = { 0 };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        frame(&b, 16 + cases[i].n, cases[i].n, cases[i].bytes, cases[i].n);
        assert_why(&b, "a frame's headers are malformed");
    }
    buf_free(&b);
}

/* true, false, byte, short, int, long, bytes, timestamp, uuid before the one that counts. */
static void headers_of_all_types_are_stepped_over(void **state)
{
    static const char headers[] =
        "\x01" "a\0" "\x01" "b\x01" "\x01" "c\x02x" "\x01" "d\x03xx" "\x01" "e\x04xxxx" "\x01" "f\x05xxxxxxxx"
        "\x01" "g\x06\0\x02xx"
        "\x01" "h\x08xxxxxxxx" "\x01" "i\x09xxxxxxxxxxxxxxxx" "\x0b:event-type\x07\0\x01y";
    struct buf b = { 0 }, seen = { 0 };
    (void)state;
    frame(&b, 16 + sizeof headers - 1, sizeof headers - 1, headers, sizeof headers - 1);
    read_in((size_t[]){ 0 }, 1, buf_view(&b), &seen, NULL);
    assert_seen(&seen, "y |");
    buf_free(&b);
}

static void an_error_frame_has_its_text_in_the_headers(void **state)
{
    static const char headers[] =
        "\x0d:message-type\x07\0\x05" "error" "\x0b:error-code\x07\0\x04" "Oops" "\x0e:error-message\x07\0\x05" "it \"b";
    struct buf b = { 0 }, seen = { 0 };
    (void)state;
    frame(&b, 16 + sizeof headers - 1, sizeof headers - 1, headers, sizeof headers - 1);
    read_in((size_t[]){ 3 }, 1, buf_view(&b), &seen, NULL);
    assert_seen(&seen, "!Oops {\"message\":\"it \\\"b\"}|");
    buf_free(&b);
}

static void a_megabyte_is_one_frame(void **state)
{
    struct buf b = { 0 }, payload = { 0 };
    struct event_stream es = { 0 };
    struct stream_event e;
    (void)state;
    for (int i = 0; i < 1 << 20; i++)
        buf_char(&payload, (char)('a' + i % 26));
    event_stream_write(&b, S("chunk"), false, buf_view(&payload));
    int frames = 0;
    for (size_t at = 0; at < b.len; at += 1400) {
        str left = str_upto(str_from(buf_view(&b), at), 1400);
        while (event_stream_next(&es, &left, &e) > 0) {
            frames++;
            assert_true(str_eq(e.data, buf_view(&payload)));
        }
    }
    assert_int_equal(frames, 1);
    str nothing = S("");
    assert_int_equal(event_stream_next(&es, &nothing, &e), 0);
    assert_int_equal(es.partial.cap, 0);        /* a large buffer is not kept */
    event_stream_free(&es);
    buf_free(&b);
    buf_free(&payload);
}

#define CLAIM(f) cmocka_unit_test_setup_teardown(f, begin, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(frames_survive_every_cut), CLAIM(every_flipped_bit_is_noticed), CLAIM(lengths_that_cannot_be_are_refused_at_once),
        CLAIM(malformed_headers_are_refused), CLAIM(headers_of_all_types_are_stepped_over),
        CLAIM(an_error_frame_has_its_text_in_the_headers), CLAIM(a_megabyte_is_one_frame),
    };
    return cmocka_run_group_tests_name("provider/event_stream", tests, NULL, NULL);
}
