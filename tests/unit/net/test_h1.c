/* tests/unit/net/test_h1.c -- what is a message and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "wire.h"

#define HOST "Host: h\r\n"
#define POST "POST /p HTTP/1.1\r\n" HOST
#define OK "HTTP/1.1 200 OK\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"
#define FIVE "Content-Length: 5\r\n"

struct sample { str bytes; const char *digest; };
#define B(text) { "" text, sizeof(text) - 1 }

static const struct sample good_requests[] = {
    { B(""), "end" },
    { B("GET /a?b=c HTTP/1.1\r\n" HOST "\r\n"), "GET /a|b=c 1.1; end" },
    { B("GET / HTTP/1.1\r\n" HOST "X-E:\r\nY: \t a b \t\r\n\r\n"), "GET /| 1.1 X-E= Y=a b; end" },
    { B("GET / HTTP/1.1\r\n" HOST "X: \x80\xff\r\n\r\n"), "GET /| 1.1 X=\x80\xff; end" },
    { B("OPTIONS * HTTP/1.1\r\n" HOST "\r\n"), "OPTIONS *| 1.1; end" },
    { B("GET http://other:8/x?y HTTP/1.1\r\n" HOST "\r\n"), "GET /x|y 1.1; end" },
    { B("GET http://other HTTP/1.1\r\n" HOST "\r\n"), "GET /| 1.1; end" },
    { B("GET http://other?y HTTP/1.1\r\n" HOST "\r\n"), "GET /|y 1.1; end" },
    { B("GET / HTTP/1.0\r\n\r\n"), "GET /| 1.0 close; end" },
    { B("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), "GET /| 1.0 Connection=keep-alive; end" },
    { B("GET / HTTP/1.1\r\n" HOST "Connection: TE, Close\r\n\r\n"), "GET /| 1.1 Connection=TE, Close close; end" },
    { B("\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n"), "GET /| 1.1; end" },
    { B(POST FIVE "\r\nhello"), "POST /p| 1.1 Content-Length=5 [hello]; end" },
    { B(POST "Content-Length: 0\r\n\r\n"), "POST /p| 1.1 Content-Length=0; end" },
    { B(POST FIVE "Expect: 100-continue\r\n\r\nhello"),
      "POST /p| 1.1 Content-Length=5 Expect=100-continue expects [hello]; end" },
    { B(POST CHUNKED "\r\n5\r\nhello\r\n0\r\n\r\n"), "POST /p| 1.1 Transfer-Encoding=chunked [hello]; end" },
    { B(POST "transfer-encoding:CHUNKED\r\n\r\n0\r\n\r\n"), "POST /p| 1.1 transfer-encoding=CHUNKED; end" },
    { B(POST CHUNKED "\r\n5;a=b;c=\"d\"\r\nhello\r\n0003\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\nY: z\r\n\r\n"),
      "POST /p| 1.1 Transfer-Encoding=chunked [helloabc0123456789]; end" },
    { B(POST FIVE "\r\nhelloGET /2 HTTP/1.1\r\n" HOST "\r\n" POST CHUNKED "\r\n1\r\nx\r\n0\r\n\r\nGET /4 HTTP/1.1\r\n" HOST "\r\n"),
      "POST /p| 1.1 Content-Length=5 [hello]; GET /2| 1.1; POST /p| 1.1 Transfer-Encoding=chunked [x]; GET /4| 1.1; end" },
    { B("GET / HTTP/1.1\r\n" HOST "Upgrade: websocket\r\nConnection: upgrade\r\n\r\nGET /2 HTTP/1.1\r\n" HOST "\r\n"),
      "GET /| 1.1 Upgrade=websocket Connection=upgrade; GET /2| 1.1; end" },
    { B(POST "Upgrade: h2c\r\nConnection: upgrade\r\n" CHUNKED "\r\n1\r\nx\r\n0\r\n\r\nGET /2 HTTP/1.1\r\n" HOST "\r\n"),
      "POST /p| 1.1 Upgrade=h2c Connection=upgrade Transfer-Encoding=chunked [x]; GET /2| 1.1; end" },
};

/* The digest says how the answer begins: status and a word of the reason. */
static const struct sample bad_requests[] = {
    /* smuggling */
    { B(POST FIVE CHUNKED "\r\n0\r\n\r\n"), "400 " },
    { B(POST CHUNKED FIVE "\r\n0\r\n\r\n"), "400 " },
    { B(POST FIVE FIVE "\r\nhello"), "400 " },
    { B(POST FIVE "Content-Length: 6\r\n\r\nhello!"), "400 " },
    { B(POST "Content-Length: 5, 5\r\n\r\nhello"), "400 " },
    { B(POST "Content-Length: +5\r\n\r\nhello"), "400 " },
    { B(POST "Content-Length: -5\r\n\r\nhello"), "400 " },
    { B(POST "Content-Length: 0x5\r\n\r\nhello"), "400 " },
    { B(POST "Content-Length: 5 5\r\n\r\nhello"), "400 " },
    { B(POST "Content-Length:\r\n\r\nhello"), "400 " },
    { B(POST "Content-Length: 99999999999999999999\r\n\r\nhello"), "400 " },
    { B(POST "Content-Length: 9223372036854775808\r\n\r\nhello"), "400 " },
    { B(POST "Content-Length : 5\r\n\r\nhello"), "400 " },
    { B(POST "Content_Length: 5\r\nContent-Length\t: 5\r\n\r\nhello"), "400 " },
    { B(POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"), "400 " },
    { B(POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), "" },
    { B(POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"), "" },
    { B(POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), "501 " },
    { B(POST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"), "" },
    { B(POST "Transfer-Encoding: identity\r\n\r\n"), "" },
    { B(POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"), "" },
    { B(POST "Transfer-Encoding: \x0b" "chunked\r\n\r\n0\r\n\r\n"), "" },
    { B(POST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"), "400 a header line is folded" },
    { B(POST CHUNKED CHUNKED "\r\n0\r\n\r\n"), "" },
    { B(POST "Transfer-Encoding: gzip\r\n" CHUNKED "\r\n0\r\n\r\n"), "" },
    { B("POST / HTTP/1.0\r\n" CHUNKED "\r\n0\r\n\r\n"), "400 transfer-encoding in an HTTP/1.0 message" },
    /* lines */
    { B("GET / HTTP/1.1\n" HOST "\r\n"), "400 a line ends in a bare LF" },
    { B("GET / HTTP/1.1\r\nHost: h\n\r\n"), "400 a line ends in a bare LF" },
    { B("GET / HTTP/1.1\r\n" HOST "\n"), "400 a line ends in a bare LF" },
    { B("\nGET / HTTP/1.1\r\n" HOST "\r\n"), "400 " },
    { B("GET / HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n"), "400 a header line is folded" },
    { B("GET / HTTP/1.1\r\n" HOST "X: a\r\n\tb\r\n\r\n"), "400 a header line is folded" },
    { B("GET / HTTP/1.1\r\n Host: h\r\n\r\n"), "400 a header line is folded" },
    { B("GET / HTTP/1.1\r\n" HOST "X: a\rb\r\n\r\n"), "400 " },
    { B("GET / HTTP/1.1\r\n" HOST "X: a\r\r\n\r\n"), "400 " },
    { B("GET / HTTP/1.1\r" HOST "\r\n\r\n"), "400 " },
    { B("GET / HTTP/1.1\r\n" HOST "X: a\0b\r\n\r\n"), "400 " },
    { B("GET / HTTP/1.1\r\n" HOST "X\0: a\r\n\r\n"), "400 " },
    { B("GET / HTTP/1.1\r\n" HOST "X: \x01\r\n\r\n"), "400 " },
    { B("GET / HTTP/1.1\r\n" HOST "X: \x7f\r\n\r\n"), "400 " },
    { B("GET / HTTP/1.1\r\n" HOST "X : a\r\n\r\n"), "400 " },
    { B("GET / HTTP/1.1\r\n" HOST ": a\r\n\r\n"), "400 " },
    { B("GET / HTTP/1.1\r\n" HOST "X y: a\r\n\r\n"), "400 " },
    { B("GET / HTTP/1.1\r\n" HOST "X(y): a\r\n\r\n"), "400 " },
    { B("GET / HTTP/1.1\r\n" HOST "no colon\r\n\r\n"), "400 " },
    { B("GET / HTTP/1.1\r\n" HOST "X\xc3\xa9: a\r\n\r\n"), "400 " },
    /* the first line */
    { B("GET / HTTP/1.1\r\n\r\n"), "400 the host header is missing" },
    { B("GET / HTTP/1.1\r\n" HOST HOST "\r\n"), "400 more than one host header" },
    { B("GET / HTTP/1.1\r\n" HOST "host: evil\r\n\r\n"), "400 more than one host header" },
    { B("GET / HTTP/2.0\r\n" HOST "\r\n"), "505 " },
    { B("GET / HTTP/0.9\r\n" HOST "\r\n"), "505 " },
    { B("GET / HTTP/1.2\r\n" HOST "\r\n"), "505 " },
    { B("GET / HTTP/11.1\r\n" HOST "\r\n"), "" },
    { B("GET / http/1.1\r\n" HOST "\r\n"), "400 " },
    { B("GET /\r\n\r\n"), "" },
    { B("GET  / HTTP/1.1\r\n" HOST "\r\n"), "400 " },
    { B("GET /  HTTP/1.1\r\n" HOST "\r\n"), "400 " },
    { B("GET /a b HTTP/1.1\r\n" HOST "\r\n"), "400 " },
    { B("GET / HTTP/1.1 \r\n" HOST "\r\n"), "" },
    { B(" GET / HTTP/1.1\r\n" HOST "\r\n"), "400 " },
    { B("get / HTTP/1.1\r\n" HOST "\r\n"), "400 " },
    { B("FOO / HTTP/1.1\r\n" HOST "\r\n"), "400 " },
    { B("GET x HTTP/1.1\r\n" HOST "\r\n"), "400 " },
    { B("GET ftp://x/ HTTP/1.1\r\n" HOST "\r\n"), "400 the request target" },
    { B("CONNECT h:443 HTTP/1.1\r\n" HOST "\r\n"), "400 the request target" },
    { B("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "" },
    { B("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"), "400 " },
    { B("HTTP/1.1 200 OK\r\n\r\n"), "400 " },
    { B(POST FIVE "Expect: 200-ok\r\n\r\n"), "417 " },
};

static const struct sample bad_chunks[] = {                     /* the head is fine, the body is not */
    { B("\r\nx\r\n"), "400 " }, { B("x\r\nhello\r\n0\r\n\r\n"), "400 " }, { B("5 \r\nhello\r\n0\r\n\r\n"), "400 " },
    { B("-5\r\nhello\r\n0\r\n\r\n"), "400 " }, { B("0x5\r\nhello\r\n0\r\n\r\n"), "400 " }, { B("5\r\nhelloX\r\n0\r\n\r\n"), "400 " },
    { B("5\r\nhello0\r\n\r\n"), "400 " }, { B("5\nhello\r\n0\r\n\r\n"), "400 " }, { B("5\r\nhello\n0\r\n\r\n"), "400 " },
    { B("10000000000000000\r\nhello"), "400 " }, { B("fffffffffffffffff\r\nhello"), "400 " }, { B(";a=b\r\nhello"), "400 " },
    { B("5;a=\nb\r\nhello\r\n0\r\n\r\n"), "400 " }, { B("5;a\rb\r\nhello\r\n0\r\n\r\n"), "400 " },
    { B("5;\0\r\nhello\r\n0\r\n\r\n"), "400 " }, { B("0\r\nbad trailer\r\n\r\n"), "400 " },
    { B("0\r\nA: b\n\r\n"), "400 " }, { B("5\rhello\r\n0\r\n\r\n"), "400 " },
};

#define INTERIM "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
static const struct sample good_responses[] = {
    { B(OK FIVE "\r\nhello"), "200 OK Content-Length=5 [hello]; end" },
    { B(OK "Content-Length: 0\r\n\r\n"), "200 OK Content-Length=0; end" },
    { B("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"), "200  Content-Length=0; end" },
    { B(OK CHUNKED "\r\n5\r\nhello\r\n0\r\n\r\n"), "200 OK Transfer-Encoding=chunked [hello]; end" },
    { B(OK "\r\nuntil the end"), "200 OK [until the end]; end" },
    { B(OK "\r\n"), "200 OK; end" },
    { B("HTTP/1.0 200 OK\r\n\r\nuntil the end"), "200 OK close [until the end]; end" },
    { B("HTTP/1.1 204 No Content\r\n\r\n" OK FIVE "\r\nhello"), "204 No Content; 200 OK Content-Length=5 [hello]; end" },
    { B("HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n" OK FIVE "\r\nhello"),
      "304 Not Modified Content-Length=99; 200 OK Content-Length=5 [hello]; end" },
    { B(INTERIM OK FIVE "\r\nhello"), "100 Continue; 103 Early Hints Link=x; 200 OK Content-Length=5 [hello]; end" },
    { B(INTERIM OK CHUNKED "Connection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
      "100 Continue; 103 Early Hints Link=x; 200 OK Transfer-Encoding=chunked Connection=close close [abc]; end" },
    { B("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}"),
      "429 Too Many Requests Retry-After=1 Content-Length=2 [{}]; end" },
    { B("HTTP/1.1 503 Caf\xc3\xa9\r\nContent-Length: 1\r\n\r\nx"), "503 Caf\xc3\xa9 Content-Length=1 [x]; end" },
};
static const struct sample head_responses[] = {
    { B(OK FIVE "\r\n" OK CHUNKED "\r\n" OK "\r\n"), "200 OK Content-Length=5; 200 OK Transfer-Encoding=chunked; 200 OK; end" },
};
static const struct sample bad_responses[] = {
    { B(OK FIVE CHUNKED "\r\n0\r\n\r\n"), "400 " }, { B(OK FIVE "Content-Length: 6\r\n\r\nhello!"), "400 " },
    { B("HTTP/1.1 2000 OK\r\n\r\n"), "400 " }, { B("HTTP/1.1 20 OK\r\n\r\n"), "400 " }, { B("HTTP/1.1 abc\r\n\r\n"), "400 " },
    { B("HTTP/3.0 200 OK\r\n\r\n"), "505 " }, { B("ICY 200 OK\r\n\r\n"), "400 " }, { B(OK "X : y\r\n\r\n"), "400 " },
    { B("GET / HTTP/1.1\r\n\r\n"), "400 " }, { B("HTTP/1.1 200 OK\nContent-Length: 0\n\n"), "400 " },
    { B("HTTP/1.0 200 OK\r\n" CHUNKED "\r\n0\r\n\r\n"), "400 " }, { B(OK "Transfer-Encoding: gzip\r\n\r\nx"), "501 " },
    { B("HTTP/1.1 000 x\r\n\r\n"), "400 " }, { B("HTTP/1.1 099 x\r\n\r\n"), "400 " },
};

enum { WAYS = 4 };                  /* thread or fiber, whole bodies or pieces */
static struct wire way(enum h1_side side, int i)
{
    return (struct wire){ .side = side, .on_fibers = i & 1, .in_pieces = i & 2 };
}

static void check(const struct wire *w, str bytes, const char *digest, bool is_prefix)
{
    char *got = wire_digest(w, bytes);
    bool refused = (got[0] >= '4' && got[0] <= '5') && !strstr(got, ";");
    if (is_prefix ? strncmp(got, digest, strlen(digest)) != 0 || !refused : strcmp(got, digest) != 0)
        fail_msg("\n" STR_FMT "\ngives: %s\n   not: %s", STR_ARG(str_upto(bytes, 400)), got, digest);
    free(got);
}

static void messages_are_framed_as_sent(void **state)
{
    (void)state;
    for (int k = 0; k < WAYS; k++) {
        struct wire w = way(H1_REQUESTS, k);
        for (size_t i = 0; i < COUNT_OF(good_requests); i++)
            check(&w, good_requests[i].bytes, good_requests[i].digest, false);
        w.side = H1_RESPONSES;
        for (size_t i = 0; i < COUNT_OF(good_responses); i++)
            check(&w, good_responses[i].bytes, good_responses[i].digest, false);
        w.answers_head = true;
        for (size_t i = 0; i < COUNT_OF(head_responses); i++)
            check(&w, head_responses[i].bytes, head_responses[i].digest, false);
    }
}

static void ambiguous_and_malformed_heads_are_refused(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        struct wire w = way(H1_REQUESTS, k);
        for (size_t i = 0; i < COUNT_OF(bad_requests); i++)
            check(&w, bad_requests[i].bytes, bad_requests[i].digest, true);
        w.side = H1_RESPONSES;
        for (size_t i = 0; i < COUNT_OF(bad_responses); i++)
            check(&w, bad_responses[i].bytes, bad_responses[i].digest, true);
    }
}

static void malformed_chunks_are_refused(void **state)
{
    (void)state;
    for (int k = 0; k < WAYS; k++) {
        struct wire w = way(H1_REQUESTS, k);
        for (size_t i = 0; i < COUNT_OF(bad_chunks); i++) {
            struct buf b = { 0 };
            buf_str(&b, S(POST CHUNKED "\r\n"));
            buf_str(&b, bad_chunks[i].bytes);
            char *got = wire_digest(&w, buf_view(&b));
            if (!strstr(got, "; 400 "))
                fail_msg("\n" STR_FMT "\ngives: %s", STR_ARG(bad_chunks[i].bytes), got);
            free(got);
            buf_free(&b);
        }
    }
}

static void limits_are_kept(void **state)
{
    (void)state;
    struct wire w = { .side = H1_REQUESTS };
    struct buf b = { 0 };
    for (unsigned n = HEADERS_MAX - 1; n <= HEADERS_MAX + 1; n++) {     /* with Host */
        b.len = 0;
        buf_str(&b, S("GET / HTTP/1.1\r\n" HOST));
        for (unsigned i = 1; i < n; i++)
            buf_printf(&b, "X-%u: y\r\n", i);
        buf_str(&b, S("\r\n"));
        check(&w, buf_view(&b), n <= HEADERS_MAX ? "GET /| 1.1; end" : "431 more than 128 headers", false);
    }
    for (size_t n = WIRE_HEAD_MAX - 1; n <= WIRE_HEAD_MAX + 1; n++) {
        b.len = 0;
        buf_str(&b, S("GET /"));
        while (b.len < n - 22)
            buf_char(&b, 'a');
        buf_str(&b, S(" HTTP/1.1\r\n" HOST "\r\n"));
        assert_int_equal(b.len, n);
        char *got = wire_digest(&w, buf_view(&b));
        assert_memory_equal(got, n <= WIRE_HEAD_MAX ? "GET /aaa" : "431 the ", 8);
        free(got);
    }
    b.len = 0;                                  /* no end in sight */
    buf_str(&b, S("GET / HTTP/1.1\r\nX: "));
    while (b.len < 100000)
        buf_char(&b, 'a');
    check(&w, buf_view(&b), "431 the head is too large", false);
    check(&w, S(POST "Content-Length: 1048577\r\n\r\n"), "POST /p| 1.1 Content-Length=1048577; Message too long", false);
    b.len = 0;
    buf_str(&b, S(POST CHUNKED "\r\n"));
    while (b.len < WIRE_BODY_MAX + 65536) {
        buf_str(&b, S("400\r\n"));
        for (int i = 0; i < 1024; i++)
            buf_char(&b, 'a');
        buf_str(&b, S("\r\n"));
    }
    check(&w, buf_view(&b), "POST /p| 1.1 Transfer-Encoding=chunked; Message too long", false);
    buf_free(&b);
}

static void endless_chunk_extensions_and_trailers_are_refused(void **state)
{
    (void)state;
    static const str starts[] = { B(POST CHUNKED "\r\n5;"), B(POST CHUNKED "\r\n0\r\nX: ") };
    for (int k = 0; k < WAYS; k++) {
        for (size_t i = 0; i < COUNT_OF(starts); i++) {
            struct wire w = way(H1_REQUESTS, k);
            w.stays_open = true;
            struct buf b = { 0 };
            buf_str(&b, starts[i]);
            while (b.len < 128 * 1024)
                buf_char(&b, 'a');
            check(&w, buf_view(&b), "POST /p| 1.1 Transfer-Encoding=chunked; 400 chunk extensions or trailers are too long", false);
            buf_free(&b);
        }
    }
}

static void cut_everywhere(enum h1_side side, const struct sample *s, size_t n)
{
    for (int k = 0; k < WAYS; k++)
        for (size_t i = 0; i < n; i++) {
            struct wire w = way(side, k);
            w.n_cuts = 1;
            for (w.cuts[0] = 1; w.cuts[0] < s[i].bytes.len; w.cuts[0]++)
                check(&w, s[i].bytes, s[i].digest, false);
        }
}

static void the_cut_of_the_bytes_changes_nothing(void **state)
{
    (void)state;
    cut_everywhere(H1_REQUESTS, good_requests, COUNT_OF(good_requests));
    cut_everywhere(H1_RESPONSES, good_responses, COUNT_OF(good_responses));
}

static void malformed_heads_are_refused_at_any_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad_requests); i++) {
        struct wire w = { .side = H1_REQUESTS, .on_fibers = true, .n_cuts = 1 };
        for (w.cuts[0] = 1; w.cuts[0] < bad_requests[i].bytes.len; w.cuts[0] += 1 + (w.cuts[0] < 16))
            check(&w, bad_requests[i].bytes, bad_requests[i].digest, true);
    }
}

static void two_cuts_change_nothing_either(void **state)
{
    (void)state;
    static const size_t samples[] = { 17, 18 };         /* extensions and trailers; four in a row */
    for (size_t i = 0; i < COUNT_OF(samples); i++) {
        const struct sample *s = &good_requests[samples[i]];
        struct wire w = { .side = H1_REQUESTS, .on_fibers = true, .n_cuts = 2 };
        for (w.cuts[0] = 1; w.cuts[0] < s->bytes.len; w.cuts[0] += 3)
            for (w.cuts[1] = w.cuts[0] + 1; w.cuts[1] < s->bytes.len; w.cuts[1] += 2)
                check(&w, s->bytes, s->digest, false);
    }
}

/* A sender that stops early: whole messages before are read, the broken one is never taken for whole. */
static void a_stream_that_ends_early_is_noticed(void **state)
{
    (void)state;
    for (int k = 0; k < WAYS; k++) {
        for (size_t i = 0; i < COUNT_OF(good_requests); i++) {
            const struct sample *s = &good_requests[i];
            struct wire w = way(H1_REQUESTS, k);
            for (size_t n = 0; n < s->bytes.len; n++) {
                char *got = wire_digest(&w, str_upto(s->bytes, n));
                char *last = strrchr(got, ';'), *tail = last ? last + 2 : got;
                bool ok = strcmp(tail, "cut") == 0 || strcmp(tail, "end") == 0;
                size_t whole = (size_t)(tail - got);
                if (strcmp(tail, "cut") == 0 && last) { /* the head of the broken one may be there, its body not */
                    while (last > got && last[-1] != ';')
                        last--;
                    whole = (size_t)(last - got);
                }
                if (!ok || strncmp(got, s->digest, whole) != 0)
                    fail_msg("%zu bytes of\n" STR_FMT "\ngive: %s", n, STR_ARG(s->bytes), got);
                free(got);
            }
        }
        struct wire w = way(H1_RESPONSES, k);
        check(&w, S(OK FIVE "\r\nhell"), "200 OK Content-Length=5; cut", false);
        check(&w, S(OK CHUNKED "\r\n5\r\nhello\r\n"), "200 OK Transfer-Encoding=chunked; cut", false);
        check(&w, S(OK CHUNKED "\r\n5\r\nhello\r\n0\r\n"), "200 OK Transfer-Encoding=chunked; cut", false);
        check(&w, S(OK "Content-Le"), "cut", false);
        check(&w, S(INTERIM), "100 Continue; 103 Early Hints Link=x; end", false);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_framed_as_sent),
        cmocka_unit_test(ambiguous_and_malformed_heads_are_refused),
        cmocka_unit_test(malformed_chunks_are_refused),
        cmocka_unit_test(limits_are_kept),
        cmocka_unit_test(endless_chunk_extensions_and_trailers_are_refused),
        cmocka_unit_test(the_cut_of_the_bytes_changes_nothing),
        cmocka_unit_test(malformed_heads_are_refused_at_any_cut),
        cmocka_unit_test(two_cuts_change_nothing_either),
        cmocka_unit_test(a_stream_that_ends_early_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
