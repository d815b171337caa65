/* tests/unit/net/test_sse.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "events.h"

struct sample { str bytes; const char *digest; };
#define B(text) { "" text, sizeof(text) - 1 }

static const struct sample samples[] = {
    { B("data: a\n\ndata: b\n\n"), "|a|1\n|b|1\n" },
    { B("data: a\r\n\r\ndata: b\r\n\r\n"), "|a|1\n|b|1\n" },
    { B("data: a\r\rdata: b\r\r"), "|a|1\n|b|1\n" },
    { B("data: a\r\n\ndata: b\n\r\ndata: c\r\r\ndata: d\n\r"), "|a|1\n|b|1\n|c|1\n|d|1\n" },
    { B("\xef\xbb\xbf" "data: a\n\ndata: b\n\n"), "|a|1\n|b|1\n" },
    { B("data: a\r\n\r\n\xef\xbb\xbf" "data: b\n\n"), "|a|1\n|b|1\n" },
    { B("\xef\xbb" "data: a\n\ndata: b\n\n"), "|b|1\n" },
    { B("\xef\n\ndata: b\n\n"), "|b|1\n" },
    { B(": OPENROUTER PROCESSING\n\n:\n\ndata: a\n: between\ndata: b\n\n"), "|a\nb|3\n" },
    { B("event: message_start\ndata: {\"type\":\"message_start\"}\n\nevent: ping\ndata: {\"type\": \"ping\"}\n\n"),
      "message_start|{\"type\":\"message_start\"}|24\nping|{\"type\": \"ping\"}|16\n" },
    { B("data:a\ndata: b\ndata:  c\ndata\ndata:\n\n"), "|a\nb\n c\n\n|8\n" },
    { B("id: 1\nretry: 5\ndata: x\nother: y\ndatax: z\n\n"), "|x|1\n" },
    { B("\n\n\ndata: a\n\n\n\ndata: b\n\n"), "|a|1\n|b|1\n" },
    { B("data: {\"choices\":[]}\n\ndata: [DONE]\n\n"), "|{\"choices\":[]}|14\n|[DONE]|6\n" },
    { B("data: unfinished\n"), "" }, { B("data: a\n\ndata: unfinished"), "|a|1\n" },
    { B("data: a:b: c\n\n"), "|a:b: c|6\n" },
    { B("event: e\r\ndata: caf\xc3\xa9\r\n\r\n"), "e|caf\xc3\xa9|5\n" },
};

static void check(const struct sample *s, const size_t *cuts, size_t n_cuts)
{
    struct buf digest = { 0 };
    struct events e = { .digest = &digest };
    size_t at = 0;
    for (size_t i = 0; i <= n_cuts; i++) {
        size_t to = i < n_cuts ? cuts[i] : s->bytes.len;
        char *exact = malloc(to - at + 1);      /* a read behind the piece is seen by ASan */
        memcpy(exact, s->bytes.ptr + at, to - at);
        events_feed(&e, (str){ exact, to - at });
        free(exact);
        at = to;
    }
    events_end(&e);
    buf_char(&digest, 0);
    if (strcmp(digest.ptr, s->digest) != 0)
        fail_msg("\n" STR_FMT "\ncut at %zu: %s\nnot: %s", STR_ARG(s->bytes), n_cuts ? cuts[0] : 0, digest.ptr, s->digest);
    buf_free(&digest);
}

static void events_are_read_at_any_pair_of_cuts(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(samples); i++) {
        size_t cuts[2];
        for (cuts[0] = 0; cuts[0] <= samples[i].bytes.len; cuts[0]++)
            for (cuts[1] = cuts[0]; cuts[1] <= samples[i].bytes.len; cuts[1]++)
                check(&samples[i], cuts, 2);
    }
}

static void an_event_of_a_megabyte_is_found_in_small_reads(void **state)
{
    (void)state;
    struct buf b = { 0 }, digest = { 0 };
    buf_str(&b, S("data: "));
    while (b.len < 6 + ((size_t)1 << 20))
        buf_char(&b, (char)('a' + b.len % 26));
    buf_str(&b, S("\n\ndata: [DONE]\n\n"));
    for (size_t step = 4096; step < 80000; step += 20011) {
        struct events e = { .digest = &digest };
        digest.len = 0;
        for (size_t at = 0; at < b.len; at += step)
            events_feed(&e, str_upto(str_from(buf_view(&b), at), step));
        assert_int_equal(e.bytes, b.len);
        assert_int_equal(digest.len, 1 + (1 << 20) + 1 + 7 + 1 + 10);
        events_end(&e);
    }
    buf_free(&b);
    buf_free(&digest);
}

static void what_is_relayed_are_all_the_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(samples); i++) {
        struct buf digest = { 0 };
        struct events e = { .digest = &digest };
        events_feed(&e, samples[i].bytes);
        assert_int_equal(e.bytes + e.partial.len, samples[i].bytes.len);
        events_end(&e);
        buf_free(&digest);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_read_at_any_pair_of_cuts),
        cmocka_unit_test(an_event_of_a_megabyte_is_found_in_small_reads),
        cmocka_unit_test(what_is_relayed_are_all_the_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
