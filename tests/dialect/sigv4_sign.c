/* tests/dialect/sigv4_sign.c -- signs what standard input says, for tests/dialect/sigv4_check.py.
 *
 * A request is ten lines: access key id, secret, session token, date, region, method, host, path, query, hex of the body. One
 * line of authorization comes out for each. */
#include <stdio.h>
#include <stdlib.h>

#include "provider/sigv4.h"

int main(void)
{
    char *line[10] = { NULL };
    size_t room[10] = { 0 };
    for (;;) {
        str f[10];
        for (size_t i = 0; i < 10; i++) {
            ssize_t n = getline(&line[i], &room[i], stdin);
            if (n < 0)
                goto end;
            f[i] = (str){ line[i], (size_t)n - 1 };
        }
        struct buf body = { 0 }, out = { 0 };
        for (size_t i = 0; i + 1 < f[9].len; i += 2) {
            char hex[3] = { f[9].ptr[i], f[9].ptr[i + 1], 0 };
            buf_char(&body, (char)strtoul(hex, NULL, 16));
        }
        line[3][f[3].len] = 0;
        const struct sigv4_header headers[] = { { S("host"), f[6] }, { S("x-amz-date"), f[3] }, { S("x-amz-security-token"), f[2] } };
        struct sigv4_request r = { f[5], f[7], f[8], headers, f[2].len ? 3 : 2, buf_view(&body) };
        sigv4_authorization(&(struct sigv4_keys){ f[0], f[1], f[2] }, line[3], f[4], S("bedrock"), &r, &out);
        printf(STR_FMT "\n", STR_ARG(buf_view(&out)));
        buf_free(&body);
        buf_free(&out);
    }
end:
    for (size_t i = 0; i < 10; i++)
        free(line[i]);
    return 0;
}
