/* tests/fuzz/fuzz_jwt.c -- no bytes make a token or a key set that breaks the reader, and none is ever good: nobody here has the
 * private keys. The first byte chooses: a whole token, a header and a payload (cut at a zero byte) that are put into base64url, or
 * a key set. */
#include <stdlib.h>

#include "provider/jwt_verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char set[] =
    "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"e\",\"x\":\"UoJ94qwXQo9uTq-UmbJ4pf1-9MwlJ_tG-_ChHyWTP4U\",\"y\":\"QKXinn5r3lIfGDj7Zp"
    "LzElAR44UHjMcOHjgtgsVN1us\"},{\"kty\":\"RSA\",\"kid\":\"r\",\"n\":\"8tGBSQUih_XTQCykyUItp3BePa-YoIpSeT2A6OnuM3PLb0f2E2Z6XAhn0Yv--r"
    "iTi9XM91tBLdnutGhGI8lJyX6q7jTu9wPNV4GhY9_O7LiEm-0rjVirEeRSdfSxv1U1mX_kDOw9irZI5oxAgeGXqtT0OSIwzoWPYH-5F4gdnle43mrnUzOg"
    "AkxYLBBiWsOkUXhPVSXgFyFcy0Z3IdyYjZrgawt63d1Zn8RwUpSNPki3rVBLUNjXi4g-RDT5UaCmWGlw-UBegS7cNoDDQ0JdkZGCE4R_cGp-W0YRo7WIc7"
    "6WF0MvDgkV79v5ICt_qRuUccPvUOfNpvy8d_HYZujXxw\",\"e\":\"AQAB\"},{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"d\",\"x\":\"11qYAYKxCrfVS_7T"
    "yWQHOg7hcvPapiMlrwIaaPcHURo\"}]}";

static size_t base64url(char *to, str s)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t n = 0;
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 0; i < s.len; i++) {
        bits = bits << 8 | (unsigned char)s.ptr[i];
        for (have += 8; have >= 6; have -= 6)
            to[n++] = digits[bits >> (have - 6) & 63];
    }
    if (have)
        to[n++] = digits[bits << (6 - have) & 63];
    return n;
}

static void token_try(struct arena *a, const struct jwks *keys, str token)
{
    static str ours[] = { { "gateway", 7 } };
    static const struct strings audience = { ours, 1 }, algorithms;
    struct jwt t;
    struct err e = { 0 };
    if (jwt_read(a, token, &t, &e) < 0)
        return;
    const struct jwt_terms terms = { t.issuer, &audience, &algorithms, 60 };
    if (jwt_check(a, &t, keys, &terms, 1000, &e) == JWT_GOOD)
        abort();
    str *list = NULL;
    uint32_t n = 0;
    jwt_claim(a, &t, S("sub"));
    jwt_claim(a, &t, S("a.b.c"));
    jwt_claims(a, &t, S("groups"), &list, &n);
    jwt_expires(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct jwks *keys;
    struct err e = { 0 };
    if (!keys && !(keys = jwks_parse((str){ set, sizeof set - 1 }, &e)))
        abort();
    if (size == 0 || size > 32768)
        return 0;
    str bytes = { (const char *)data + 1, size - 1 };
    struct arena *a = arena_new();
    if (data[0] % 3 == 0) {
        jwt_looks_like(bytes);
        token_try(a, keys, bytes);
    } else if (data[0] % 3 == 1) {
        char *to = arena_alloc(a, 2 * size + 200);
        str payload = bytes, header = str_cut(&payload, 0);
        size_t n = base64url(to, header);
        to[n++] = '.';
        n += base64url(to + n, payload);
        to[n++] = '.';
        size_t signature = data[0] % 2 ? 86 : 4;       /* 64 bytes, or 3 */
        memset(to + n, 'A', signature);
        token_try(a, keys, (str){ to, n + signature });
    } else {
        jwks_drop(jwks_parse(bytes, &e));
    }
    arena_free(a);
    return 0;
}
