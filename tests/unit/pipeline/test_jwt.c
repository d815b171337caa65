/* Tokens: signatures of each kind are checked, and what has fooled such checks elsewhere does not fool this one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <cjose/cjose.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "provider/jwt_verify.h"

static struct arena *a;
static cjose_jwk_t *rsa, *rsa_other, *ec, *ec384;
static EVP_PKEY *ed;
static struct jwks *keys;
static char *rsa_public;

static str b64(const void *bytes, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const unsigned char *p = bytes;
    char *to = arena_alloc(a, n * 4 / 3 + 4);
    size_t at = 0;
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 0; i < n; i++) {
        bits = bits << 8 | p[i];
        for (have += 8; have >= 6; have -= 6)
            to[at++] = digits[bits >> (have - 6) & 63];
    }
    if (have)
        to[at++] = digits[bits << (6 - have) & 63];
    return (str){ to, at };
}

static str text64(const char *s)
{
    return b64(s, strlen(s));
}

static str sign(cjose_jwk_t *key, const char *alg, const char *kid, const char *payload)
{
    cjose_err err;
    cjose_header_t *h = cjose_header_new(&err);
    const char *out;
    cjose_header_set(h, CJOSE_HDR_ALG, alg, &err);
    if (kid)
        cjose_header_set(h, CJOSE_HDR_KID, kid, &err);
    cjose_jws_t *jws = cjose_jws_sign(key, h, (const uint8_t *)payload, strlen(payload), &err);
    assert_non_null(jws);
    assert_true(cjose_jws_export(jws, &out, &err));
    str token = arena_str(a, str_of(out));
    cjose_jws_release(jws);
    cjose_header_release(h);
    return token;
}

static str sign_ed(const char *header, const char *payload)
{
    unsigned char signature[64];
    size_t n = sizeof signature;
    str part = arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(text64(header)), STR_ARG(text64(payload)));
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(c, NULL, NULL, NULL, ed), 1);
    assert_int_equal(EVP_DigestSign(c, signature, &n, (const unsigned char *)part.ptr, part.len), 1);
    EVP_MD_CTX_free(c);
    return arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(part), STR_ARG(b64(signature, n)));
}

#define GOOD "{\"iss\":\"https://idp\",\"aud\":\"gateway\",\"sub\":\"ann\",\"exp\":2000,\"iat\":900,\"team\":\"red\"," \
             "\"groups\":[\"x\",\"y z\"],\"realm\":{\"roles\":\"admin, dev\"},\"https://e.com/t\":7}"

static str audience_items[] = { { "other", 5 }, { "gateway", 7 } };
static const struct strings audience = { audience_items, 2 };
static const struct strings any_algorithm;

static int check(str token, int64_t now, struct err *e)
{
    struct jwt t;
    const struct jwt_terms terms = { S("https://idp"), &audience, &any_algorithm, 60 };
    *e = (struct err){ 0 };
    return jwt_read(a, token, &t, e) < 0 ? JWT_BAD : jwt_check(a, &t, keys, &terms, now, e);
}

static void is_good(str token)
{
    struct err e;
    if (check(token, 1000, &e) != JWT_GOOD)
        fail_msg("refused: %s", e.text);
}

static void is_bad(str token, const char *why)
{
    struct err e;
    int rc = check(token, 1000, &e);
    if (rc == JWT_GOOD || !strstr(e.text, why))
        fail_msg("expected \"%s\", got %d \"%s\"", why, rc, e.text);
}

static int setup(void **state)
{
    (void)state;
    cjose_err err;
    struct err e = { 0 };
    unsigned char x[32];
    size_t n = sizeof x;
    a = arena_new();
    rsa = cjose_jwk_create_RSA_random(2048, (const uint8_t *)"\1\0\1", 3, &err);
    rsa_other = cjose_jwk_create_RSA_random(2048, (const uint8_t *)"\1\0\1", 3, &err);
    ec = cjose_jwk_create_EC_random(CJOSE_JWK_EC_P_256, &err);
    ec384 = cjose_jwk_create_EC_random(CJOSE_JWK_EC_P_384, &err);
    ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    assert_int_equal(EVP_PKEY_get_raw_public_key(ed, x, &n), 1);
    cjose_jwk_set_kid(rsa, "r1", 2, &err);
    cjose_jwk_set_kid(ec, "e1", 2, &err);
    cjose_jwk_set_kid(ec384, "e2", 2, &err);
    rsa_public = cjose_jwk_to_json(rsa, false, &err);
    char *one = cjose_jwk_to_json(ec, false, &err), *two = cjose_jwk_to_json(ec384, false, &err);
    str set = arena_printf(a, "{\"keys\":[%s,%s,%s,{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"d1\",\"x\":\"" STR_FMT "\"},"
                              "{\"kty\":\"oct\",\"kid\":\"secret\",\"k\":\"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0\"},{\"kty\":\"RSA\"},7]}",
                           rsa_public, one, two, STR_ARG(b64(x, n)));
    free(one);
    free(two);
    keys = jwks_parse(set, &e);
    assert_non_null(keys);
    assert_int_equal(jwks_count(keys), 4);          /* the secret and the broken ones are left out */
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(rsa_public);
    jwks_drop(keys);
    cjose_jwk_release(rsa);
    cjose_jwk_release(rsa_other);
    cjose_jwk_release(ec);
    cjose_jwk_release(ec384);
    EVP_PKEY_free(ed);
    arena_free(a);
    return 0;
}

static void every_kind_of_signature_is_checked(void **state)
{
    (void)state;
    static const struct { const char *alg, *kid; int key; } cases[] = {
        { "RS256", "r1", 0 }, { "RS384", "r1", 0 }, { "RS512", "r1", 0 }, { "PS256", "r1", 0 }, { "ES256", "e1", 1 }, { "ES384", "e2", 2 },
        { "RS256", NULL, 0 }, { "ES256", NULL, 1 },
    };
    cjose_jwk_t *const list[] = { rsa, ec, ec384 };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        str token = sign(list[cases[i].key], cases[i].alg, cases[i].kid, GOOD);
        is_good(token);
        char *bent = arena_cstr(a, token);          /* another payload under the same signature */
        char *dot = strchr(bent, '.');
        dot[3] = dot[3] == 'A' ? 'B' : 'A';
        struct err e;
        assert_int_not_equal(check(str_of(bent), 1000, &e), JWT_GOOD);
        bent = arena_cstr(a, token);
        dot = strrchr(bent, '.');
        dot[9] = dot[9] == 'A' ? 'B' : 'A';
        is_bad(str_of(bent), "signature is wrong");
    }
    is_good(sign_ed("{\"alg\":\"EdDSA\",\"kid\":\"d1\",\"typ\":\"JWT\"}", GOOD));
    str token = sign_ed("{\"alg\":\"EdDSA\",\"kid\":\"d1\"}", GOOD);
    char *bent = arena_cstr(a, token);
    char *dot = strrchr(bent, '.');
    dot[9] = dot[9] == 'A' ? 'B' : 'A';
    is_bad(str_of(bent), "signature is wrong");
    is_bad(sign(rsa_other, "RS256", "r1", GOOD), "signature is wrong");
}

static str forged(const char *header, str signature)
{
    return arena_printf(a, STR_FMT "." STR_FMT "." STR_FMT, STR_ARG(text64(header)), STR_ARG(text64(GOOD)), STR_ARG(signature));
}

static void confusions_of_algorithm_are_refused(void **state)
{
    (void)state;
    cjose_err err;
    is_bad(forged("{\"alg\":\"none\"}", S("AA")), "not accepted");
    is_bad(forged("{\"alg\":\"None\",\"kid\":\"r1\"}", S("AA")), "not accepted");
    is_bad(forged("{\"alg\":\"\"}", S("AA")), "not accepted");
    is_bad(forged("{\"kid\":\"r1\"}", S("AA")), "not accepted");
    is_bad(forged("{\"alg\":[\"RS256\"],\"kid\":\"r1\"}", S("AA")), "not accepted");
    /* HMAC with the public key as its secret: the classic */
    cjose_jwk_t *oct = cjose_jwk_create_oct_spec((const uint8_t *)rsa_public, strlen(rsa_public), &err);
    is_bad(sign(oct, "HS256", "r1", GOOD), "not accepted");
    cjose_jwk_release(oct);
    oct = cjose_jwk_create_oct_spec((const uint8_t *)"secretsecretsecretsecret", 24, &err);
    is_bad(sign(oct, "HS256", "secret", GOOD), "not accepted");
    cjose_jwk_release(oct);
    /* the id of a key of another kind or curve */
    is_bad(sign(rsa, "RS256", "e1", GOOD), "no key");
    is_bad(sign(ec, "ES256", "e2", GOOD), "no key");
    is_bad(sign_ed("{\"alg\":\"RS256\",\"kid\":\"r1\"}", GOOD), "signature is wrong");
    is_bad(sign_ed("{\"alg\":\"EdDSA\",\"kid\":\"e1\"}", GOOD), "no key");
    /* a key in the header must not be believed */
    is_bad(forged(arena_cstr(a, arena_printf(a, "{\"alg\":\"RS256\",\"jwk\":%s}", rsa_public)), S("AAAA")), "signature is wrong");
    is_bad(forged("{\"alg\":\"RS256\",\"kid\":\"r1\",\"crit\":[\"x\"]}", S("AAAA")), "extension");
    is_bad(forged("{\"alg\":\"RS256\",\"kid\":\"r1\",\"b64\":false}", S("AAAA")), "extension");
    is_bad(forged("{\"alg\":\"none\",\"alg\":\"RS256\",\"kid\":\"r1\"}", S("AAAA")), "twice");
    is_bad(forged("{\"alg\":\"RS256\",\"kid\":\"r1\",\"typ\":\"dpop+jwt\"}", S("AAAA")), "type");
    /* an empty EC signature (all zero r and s) was good in some Java */
    char zeros[64] = { 0 };
    is_bad(forged("{\"alg\":\"ES256\",\"kid\":\"e1\"}", b64(zeros, 64)), "signature is wrong");
    is_bad(forged("{\"alg\":\"ES256\",\"kid\":\"e1\"}", S("AA")), "signature is wrong");
}

static void only_listed_algorithms_count(void **state)
{
    (void)state;
    str one[] = { S("ES256") };
    const struct strings list = { one, 1 };
    const struct jwt_terms terms = { S("https://idp"), &audience, &list, 0 };
    struct err e = { 0 };
    struct jwt t;
    assert_int_equal(jwt_read(a, sign(rsa, "RS256", "r1", GOOD), &t, &e), 0);
    assert_int_equal(jwt_check(a, &t, keys, &terms, 1000, &e), JWT_BAD);
    assert_int_equal(jwt_read(a, sign(ec, "ES256", "e1", GOOD), &t, &e), 0);
    assert_int_equal(jwt_check(a, &t, keys, &terms, 1000, &e), JWT_GOOD);
}

static void an_unknown_key_id_asks_for_new_keys(void **state)
{
    (void)state;
    struct err e;
    assert_int_equal(check(sign(rsa_other, "RS256", "r2", GOOD), 1000, &e), JWT_NO_KEY);
}

static void claims_must_be_ours_and_in_time(void **state)
{
    (void)state;
    static const struct { const char *payload, *why; } cases[] = {
        { "{\"iss\":\"https://evil\",\"aud\":\"gateway\",\"exp\":2000}", "issuer" },
        { "{\"iss\":\"https://idp/\",\"aud\":\"gateway\",\"exp\":2000}", "issuer" },
        { "{\"aud\":\"gateway\",\"exp\":2000}", "issuer" },
        { "{\"iss\":\"https://idp\",\"aud\":\"somebody\",\"exp\":2000}", "audience" },
        { "{\"iss\":\"https://idp\",\"exp\":2000}", "audience" },
        { "{\"iss\":\"https://idp\",\"aud\":{\"gateway\":1},\"exp\":2000}", "audience" },
        { "{\"iss\":\"https://idp\",\"aud\":[\"a\",\"b\"],\"exp\":2000}", "audience" },
        { "{\"iss\":\"https://idp\",\"aud\":\"gateway\"}", "no expiry" },
        { "{\"iss\":\"https://idp\",\"aud\":\"gateway\",\"exp\":\"2000\"}", "no expiry" },
        { "{\"iss\":\"https://idp\",\"aud\":\"gateway\",\"exp\":1e400}", "no expiry" },
        { "{\"iss\":\"https://idp\",\"aud\":\"gateway\",\"exp\":940}", "expired" },
        { "{\"iss\":\"https://idp\",\"aud\":\"gateway\",\"exp\":-1}", "no expiry" },
        { "{\"iss\":\"https://idp\",\"aud\":\"gateway\",\"exp\":2000,\"nbf\":1061}", "not good yet" },
        { "{\"iss\":\"https://idp\",\"aud\":\"gateway\",\"exp\":2000,\"nbf\":\"x\"}", "not good yet" },
        { "{\"iss\":\"https://idp\",\"aud\":\"gateway\",\"exp\":2000,\"iat\":1061}", "future" },
        { "{\"iss\":\"https://idp\",\"aud\":\"gateway\",\"exp\":1,\"exp\":2000}", "twice" },
        { "[]", "no JSON object" },
        { "{", "no JSON object" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        is_bad(sign(ec, "ES256", "e1", cases[i].payload), cases[i].why);
    is_good(sign(ec, "ES256", "e1", "{\"iss\":\"https://idp\",\"aud\":[\"a\",\"gateway\"],\"exp\":941.5,\"nbf\":1060,\"iat\":1060}"));
}

static void shapes_that_are_no_token_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = { "", ".", "..", "a.b", "a.b.c.d", "e30.e30.", ".e30.AA", "e30..AA", "e30=.e30.AA", "e30.e30.A",
                                       "e3 0.e30.AA", "e30.e30.AB+/", "ew.e30.AA", "bnVsbA.bnVsbA.AA", "e31.e30.AA" };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct err e;
        assert_int_not_equal(check(str_of(bad[i]), 1000, &e), JWT_GOOD);
    }
    struct buf huge = { 0 };
    for (int i = 0; i < JWT_BYTES_MAX + 1; i++)
        buf_char(&huge, 'a');
    is_bad(buf_view(&huge), "bytes");
    buf_free(&huge);
    assert_true(jwt_looks_like(S("eyJhbGciOiJub25lIn0.e30.")));
    assert_false(jwt_looks_like(S("sk-eyJ.a.b")));
    assert_false(jwt_looks_like(S("eyJ.a")));
}

static void claims_are_found_by_path(void **state)
{
    (void)state;
    struct jwt t;
    struct err e = { 0 };
    str *list = NULL;
    uint32_t n = 0;
    assert_int_equal(jwt_read(a, sign(ec, "ES256", "e1", GOOD), &t, &e), 0);
    assert_true(str_eq(jwt_claim(a, &t, S("sub")), S("ann")));
    assert_true(str_eq(jwt_claim(a, &t, S("realm.roles")), S("admin, dev")));
    assert_true(str_eq(jwt_claim(a, &t, S("https://e.com/t")), S("7")));
    assert_int_equal(jwt_claim(a, &t, S("realm.nothing.more")).len, 0);
    assert_int_equal(jwt_claim(a, &t, S("")).len, 0);
    jwt_claims(a, &t, S("groups"), &list, &n);
    assert_int_equal(n, 2);
    assert_true(str_eq(list[1], S("y z")));
    jwt_claims(a, &t, S("realm.roles"), &list, &n);
    assert_int_equal(n, 4);
    assert_true(str_eq(list[2], S("admin")) && str_eq(list[3], S("dev")));
}

static void bad_key_sets_are_told(void **state)
{
    (void)state;
    static const char *const bad[] = { "", "{}", "[]", "{\"keys\":{}}", "{\"keys\":[]}", "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}",
                                       "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}]}",
                                       "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAA\",\"y\":\"AAAA\"}]}" };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct err e = { 0 };
        struct jwks *set = jwks_parse(str_of(bad[i]), &e);
        if (set || !e.text[0])
            fail_msg("%s was taken for a key set", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_signature_is_checked),
        cmocka_unit_test(confusions_of_algorithm_are_refused),
        cmocka_unit_test(only_listed_algorithms_count),
        cmocka_unit_test(an_unknown_key_id_asks_for_new_keys),
        cmocka_unit_test(claims_must_be_ours_and_in_time),
        cmocka_unit_test(shapes_that_are_no_token_are_refused),
        cmocka_unit_test(claims_are_found_by_path),
        cmocka_unit_test(bad_key_sets_are_told),
    };
    return cmocka_run_group_tests_name("provider/jwt", tests, setup, teardown);
}
