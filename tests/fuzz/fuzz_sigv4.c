/* tests/fuzz/fuzz_sigv4.c -- the canonical request of any path, query and value: no line of it comes from a value, and the
 * order of parameters does not matter. Parts are lines. */
#include <stdlib.h>

#include "provider/sigv4.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    str rest = { (const char *)data, size };
    str path = str_cut(&rest, '\n'), query = str_cut(&rest, '\n'), value = str_cut(&rest, '\n'), host = str_cut(&rest, '\n');
    const struct sigv4_header headers[] = { { S("host"), host }, { S("x-amz-date"), value } };
    struct sigv4_request r = { S("POST"), path, query, headers, 2, rest };
    struct sigv4_keys keys = { S("id"), host, value };
    struct buf canonical = { 0 }, again = { 0 }, turned = { 0 }, line = { 0 };
    sigv4_canonical(&r, &canonical);
    size_t lines = 0;
    for (size_t i = 0; i < canonical.len; i++)
        lines += canonical.ptr[i] == '\n';
    if (lines != 7)
        abort();
    for (str left = query; left.len; ) {            /* the parameters from the last to the first */
        str pair = str_cut(&left, '&');
        struct buf before = turned;
        turned = (struct buf){ 0 };
        buf_str(&turned, pair);
        buf_str(&turned, before.len ? S("&") : S(""));
        buf_str(&turned, buf_view(&before));
        buf_free(&before);
    }
    size_t n = 1;
    for (size_t i = 0; i < query.len; i++)
        n += query.ptr[i] == '&';
    r.query = buf_view(&turned);
    sigv4_canonical(&r, &again);
    if (n <= 64 && !str_eq(buf_view(&canonical), buf_view(&again)))
        abort();
    sigv4_authorization(&keys, "20150830T123600Z", sigv4_region_of_host(host), S("bedrock"), &r, &line);
    if (line.is_failed || !line.len)
        abort();
    buf_free(&canonical);
    buf_free(&again);
    buf_free(&turned);
    buf_free(&line);
    return 0;
}
