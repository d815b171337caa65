/* provider/jwt_verify.c */
#include "provider/jwt_verify.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    KID_MAX = 512,
    LIST_MAX = 256,                 /* groups of one token; beyond: ignored */
    RSA_BYTES_MIN = 256, RSA_BYTES_MAX = 1024,      /* beyond: a signature would take milliseconds */
    EXPONENT_BYTES_MAX = 8,
    SIGNATURE_DER_MAX = 160,
};

enum kind { KIND_RSA, KIND_EC, KIND_OKP };

/* What an algorithm demands of a key (RFC 7518 3.1, RFC 8037 3.1). `part`: bytes of each half of a signature. */
static const struct algorithm {
    str name; enum kind kind; bool is_pss; const char *digest; str curve; unsigned part;
} algorithms[] = {
    { { "RS256", 5 }, KIND_RSA, false, "SHA256", { "", 0 }, 0 },
    { { "RS384", 5 }, KIND_RSA, false, "SHA384", { "", 0 }, 0 },
    { { "RS512", 5 }, KIND_RSA, false, "SHA512", { "", 0 }, 0 },
    { { "PS256", 5 }, KIND_RSA, true, "SHA256", { "", 0 }, 0 },
    { { "PS384", 5 }, KIND_RSA, true, "SHA384", { "", 0 }, 0 },
    { { "PS512", 5 }, KIND_RSA, true, "SHA512", { "", 0 }, 0 },
    { { "ES256", 5 }, KIND_EC, false, "SHA256", { "P-256", 5 }, 32 },
    { { "ES384", 5 }, KIND_EC, false, "SHA384", { "P-384", 5 }, 48 },
    { { "ES512", 5 }, KIND_EC, false, "SHA512", { "P-521", 5 }, 66 },
    { { "EdDSA", 5 }, KIND_OKP, false, NULL, { "Ed25519", 7 }, 32 },
};

struct verify_key {
    enum kind kind;
    str kid, alg, curve;            /* alg "": any of its kind */
    EVP_PKEY *key;
};

struct jwks { struct arena *a; struct verify_key keys[JWKS_KEYS_MAX]; unsigned n; atomic_uint refs; };

/* ---- base64url, RFC 4648 section 5, without padding ---- */

static int digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* False: a foreign character, an impossible length, or bits behind the last byte that are not zero (a second spelling). */
static bool decode(struct arena *a, str in, str *out)
{
    if (in.len % 4 == 1)
        return false;
    char *to = arena_try(a, in.len * 3 / 4 + 1);
    if (!to)
        return false;
    uint32_t bits = 0;
    unsigned n_bits = 0;
    size_t n = 0;
    for (size_t i = 0; i < in.len; i++) {
        int d = digit(in.ptr[i]);
        if (d < 0)
            return false;
        bits = bits << 6 | (uint32_t)d;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            to[n++] = (char)(bits >> n_bits & 0xff);
        }
    }
    *out = (str){ to, n };
    return (bits & ((1u << n_bits) - 1)) == 0;
}

/* ---- keys ---- */

static str member(struct arena *a, const struct json *j, jref object, str key)
{
    return json_str(j, json_get(j, object, key), a);
}

static EVP_PKEY *key_make(const char *type, OSSL_PARAM_BLD *b)
{
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(b);
    if (!c || !params || EVP_PKEY_fromdata_init(c) != 1 || EVP_PKEY_fromdata(c, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(c);
    return key;
}

static EVP_PKEY *rsa_import(struct arena *a, const struct json *j, jref item)
{
    str n, e;
    if (!decode(a, member(a, j, item, S("n")), &n) || !decode(a, member(a, j, item, S("e")), &e))
        return NULL;
    while (n.len && n.ptr[0] == 0)
        n = str_from(n, 1);
    if (n.len < RSA_BYTES_MIN || n.len > RSA_BYTES_MAX || e.len == 0 || e.len > EXPONENT_BYTES_MAX || !(e.ptr[e.len - 1] & 1)
        || !((unsigned char)n.ptr[0] & 0x80 || n.len > RSA_BYTES_MIN))
        return NULL;
    EVP_PKEY *key = NULL;
    OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
    BIGNUM *modulus = BN_bin2bn((const unsigned char *)n.ptr, (int)n.len, NULL);
    BIGNUM *exponent = BN_bin2bn((const unsigned char *)e.ptr, (int)e.len, NULL);
    if (b && modulus && exponent && !BN_is_one(exponent) && OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_N, modulus)
        && OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_E, exponent))
        key = key_make("RSA", b);
    BN_free(modulus);
    BN_free(exponent);
    OSSL_PARAM_BLD_free(b);
    return key;
}

static EVP_PKEY *ec_import(struct arena *a, const struct json *j, jref item, str curve)
{
    char point[1 + 2 * 66];
    str x, y;
    const struct algorithm *of = NULL;
    for (size_t i = 0; i < COUNT_OF(algorithms); i++)
        if (algorithms[i].kind == KIND_EC && str_eq(algorithms[i].curve, curve))
            of = &algorithms[i];
    if (!of || !decode(a, member(a, j, item, S("x")), &x) || !decode(a, member(a, j, item, S("y")), &y) || x.len != of->part
        || y.len != of->part)
        return NULL;
    point[0] = 4;                               /* uncompressed; OpenSSL checks that it is on the curve */
    memcpy(point + 1, x.ptr, x.len);
    memcpy(point + 1 + x.len, y.ptr, y.len);
    OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
    EVP_PKEY *key = NULL;
    if (b && OSSL_PARAM_BLD_push_utf8_string(b, OSSL_PKEY_PARAM_GROUP_NAME, curve.ptr, curve.len)
        && OSSL_PARAM_BLD_push_octet_string(b, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + x.len + y.len))
        key = key_make("EC", b);
    OSSL_PARAM_BLD_free(b);
    return key;
}

static EVP_PKEY *ed_import(struct arena *a, const struct json *j, jref item, str curve)
{
    str x;
    if (!str_eq(curve, S("Ed25519")) || !decode(a, member(a, j, item, S("x")), &x) || x.len != 32)
        return NULL;
    return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, (const unsigned char *)x.ptr, x.len);
}

static bool key_import(struct arena *a, const struct json *j, jref item, struct verify_key *k)
{
    if (!json_is(j, item, JSON_OBJECT))
        return false;
    str kty = member(a, j, item, S("kty")), use = member(a, j, item, S("use"));
    jref ops = json_get(j, item, S("key_ops"));
    if (use.len && !str_eq(use, S("sig")))
        return false;
    if (ops != JSON_NONE && json_is(j, ops, JSON_ARRAY)) {
        bool verifies = false;
        JSON_EACH_ITEM(j, ops, op)
            verifies |= str_eq(json_str(j, op, a), S("verify"));
        if (!verifies)
            return false;
    }
    *k = (struct verify_key){ .kid = member(a, j, item, S("kid")), .alg = member(a, j, item, S("alg")) };
    str curve = arena_str(a, member(a, j, item, S("crv")));
    if (k->kid.len > KID_MAX)
        return false;
    if (str_eq(kty, S("RSA"))) {
        k->kind = KIND_RSA;
        k->key = rsa_import(a, j, item);
    } else if (str_eq(kty, S("EC"))) {
        k->kind = KIND_EC;
        k->curve = curve;
        k->key = ec_import(a, j, item, curve);
    } else if (str_eq(kty, S("OKP"))) {
        k->kind = KIND_OKP;
        k->curve = curve;
        k->key = ed_import(a, j, item, curve);
    }                                           /* oct: a secret is no public key */
    return k->key != NULL;
}

struct jwks *jwks_parse(str text, struct err *e)
{
    struct json j;
    struct json_error je;
    struct arena *a = arena_new();
    if (!a) {
        err_set(e, "out of memory");
        return NULL;
    }
    struct jwks *set = ARENA_NEW(a, struct jwks);
    set->a = a;
    atomic_init(&set->refs, 1);
    jref list = JSON_NONE;
    if (text.len > JWKS_BYTES_MAX)
        err_set(e, "a key set of more than %d bytes", JWKS_BYTES_MAX);
    else if (json_parse(a, arena_str(a, text), &j, &je) < 0)
        err_set(e, "the key set is no JSON: %s at byte %zu", je.what, je.at);
    else if (!json_is(&j, 0, JSON_OBJECT) || !json_is(&j, list = json_get(&j, 0, S("keys")), JSON_ARRAY))
        err_set(e, "the key set has no list \"keys\"");
    else
        JSON_EACH_ITEM(&j, list, item)
            if (set->n < JWKS_KEYS_MAX && key_import(a, &j, item, &set->keys[set->n]))
                set->n++;
    if (set->n == 0) {
        err_set(e, "the key set holds no key that can verify a signature (RSA from 2048 bits, P-256, P-384, P-521, Ed25519)");
        jwks_drop(set);
        return NULL;
    }
    return set;
}

struct jwks *jwks_hold(struct jwks *set)
{
    if (set)
        atomic_fetch_add(&set->refs, 1);
    return set;
}

void jwks_drop(struct jwks *set)
{
    if (!set || atomic_fetch_sub(&set->refs, 1) != 1)
        return;
    for (unsigned i = 0; i < set->n; i++)
        EVP_PKEY_free(set->keys[i].key);
    arena_free(set->a);
}

unsigned jwks_count(const struct jwks *set)
{
    return set ? set->n : 0;
}

/* ---- reading ---- */

bool jwt_looks_like(str text)
{
    long first = str_chr(text, '.');
    if (first <= 0 || !str_starts(text, S("ey")))       /* base64url of `{"` */
        return false;
    long second = str_chr(str_from(text, (size_t)first + 1), '.');
    return second > 0;
}

static int object_read(struct arena *a, str part, const char *what, struct json *out, struct err *e)
{
    str text;
    struct json_error je;
    if (!decode(a, part, &text))
        return err_set(e, "the token's %s is not base64url", what);
    if (json_parse(a, text, out, &je) < 0 || !json_is(out, 0, JSON_OBJECT))
        return err_set(e, "the token's %s is no JSON object", what);
    return 0;
}

/* A member that is there once: of two, libraries believe different ones. */
static bool once(const struct json *j, str key)
{
    return json_get(j, 0, key) == json_get_first(j, 0, key);
}

int jwt_read(struct arena *a, str token, struct jwt *out, struct err *e)
{
    struct json header;
    *out = (struct jwt){ 0 };
    if (token.len > JWT_BYTES_MAX)
        return err_set(e, "the token has more than %d bytes", JWT_BYTES_MAX);
    str rest = token, head = str_cut(&rest, '.'), payload = str_cut(&rest, '.');
    if (head.len == 0 || payload.len == 0 || rest.len == 0 || str_chr(rest, '.') >= 0)
        return err_set(e, "the token does not have three parts");
    out->signed_part = str_upto(token, head.len + 1 + payload.len);
    if (object_read(a, head, "header", &header, e) < 0 || object_read(a, payload, "payload", &out->claims, e) < 0)
        return -1;
    if (!decode(a, rest, &out->signature))
        return err_set(e, "the token's signature is not base64url");
    if (json_get(&header, 0, S("crit")) != JSON_NONE || json_get(&header, 0, S("zip")) != JSON_NONE
        || json_get(&header, 0, S("b64")) != JSON_NONE)
        return err_set(e, "the token's header demands an extension that is not known here");
    if (!once(&header, S("alg")) || !once(&header, S("kid")) || !once(&header, S("typ")))
        return err_set(e, "the token's header has a member twice");
    str typ = member(a, &header, 0, S("typ"));
    if (typ.len && !str_ieq(typ, S("JWT")) && !str_ieq(typ, S("at+jwt")) && !str_ieq(typ, S("application/at+jwt")))
        return err_set(e, "the token is of type \"" STR_FMT "\", not JWT", STR_ARG(str_upto(typ, 40)));
    out->alg = member(a, &header, 0, S("alg"));
    out->kid = member(a, &header, 0, S("kid"));
    if (out->kid.len > KID_MAX)
        return err_set(e, "the token's key id has more than %d bytes", KID_MAX);
    static const str single[] = { { "iss", 3 }, { "aud", 3 }, { "exp", 3 }, { "nbf", 3 }, { "sub", 3 } };
    for (size_t i = 0; i < COUNT_OF(single); i++)
        if (!once(&out->claims, single[i]))
            return err_set(e, "the token has the claim " STR_FMT " twice", STR_ARG(single[i]));
    out->issuer = member(a, &out->claims, 0, S("iss"));
    return 0;
}

/* ---- checking ---- */

static const struct algorithm *algorithm_of(const struct jwt *t, const struct jwt_terms *terms)
{
    bool ok = !terms->algorithms || terms->algorithms->n == 0;
    for (size_t i = 0; !ok && i < terms->algorithms->n; i++)
        ok = str_eq(terms->algorithms->items[i], t->alg);
    for (size_t i = 0; ok && i < COUNT_OF(algorithms); i++)
        if (str_eq(algorithms[i].name, t->alg))
            return &algorithms[i];
    return NULL;
}

/* JWS writes an elliptic-curve signature as two numbers side by side (RFC 7518 3.4), OpenSSL wants DER. 0: not of that length. */
static size_t ec_der(const struct algorithm *alg, str raw, unsigned char to[SIGNATURE_DER_MAX])
{
    if (raw.len != 2 * alg->part)
        return 0;
    const unsigned char *bytes = (const unsigned char *)raw.ptr;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(bytes, (int)alg->part, NULL), *s = BN_bin2bn(bytes + alg->part, (int)alg->part, NULL);
    unsigned char *end = to;
    int n = 0;
    if (sig && r && s && ECDSA_SIG_set0(sig, r, s)) {
        r = s = NULL;                           /* sig's now */
        n = i2d_ECDSA_SIG(sig, NULL) <= SIGNATURE_DER_MAX ? i2d_ECDSA_SIG(sig, &end) : 0;
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(sig);
    return n > 0 ? (size_t)n : 0;
}

static bool is_signed(const struct jwt *t, const struct verify_key *k, const struct algorithm *alg)
{
    unsigned char der[SIGNATURE_DER_MAX];
    const unsigned char *signature = (const unsigned char *)t->signature.ptr;
    size_t n = t->signature.len;
    if (k->kind == KIND_EC) {
        n = ec_der(alg, t->signature, der);
        signature = der;
    }
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    EVP_PKEY_CTX *of = NULL;
    bool ok = n > 0 && c && EVP_DigestVerifyInit_ex(c, &of, alg->digest, NULL, NULL, k->key, NULL) == 1;
    if (ok && alg->is_pss)                      /* salt as long as the digest: RFC 7518 3.5 */
        ok = EVP_PKEY_CTX_set_rsa_padding(of, RSA_PKCS1_PSS_PADDING) == 1
             && EVP_PKEY_CTX_set_rsa_pss_saltlen(of, RSA_PSS_SALTLEN_DIGEST) == 1;
    ok = ok && EVP_DigestVerify(c, signature, n, (const unsigned char *)t->signed_part.ptr, t->signed_part.len) == 1;
    EVP_MD_CTX_free(c);
    return ok;
}

/* The keys that the token may mean: of its id, or, when it names none, all that fit the algorithm. */
static int signature_check(const struct jwt *t, const struct jwks *keys, const struct algorithm *alg, struct err *e)
{
    bool is_known = false;
    for (unsigned i = 0; keys && i < keys->n; i++) {
        const struct verify_key *k = &keys->keys[i];
        if (t->kid.len && !str_eq(k->kid, t->kid))
            continue;
        if (k->kind != alg->kind || !str_eq(k->curve, alg->curve) || (k->alg.len && !str_eq(k->alg, t->alg)))
            continue;
        is_known = true;
        if (is_signed(t, k, alg))
            return JWT_GOOD;
    }
    if (is_known) {
        err_set(e, "the token's signature is wrong");
        return JWT_BAD;
    }
    err_set(e, "the issuer has no key \"" STR_FMT "\" for " STR_FMT, STR_ARG(str_upto(t->kid, 80)), STR_ARG(alg->name));
    return JWT_NO_KEY;
}

/* NumericDate: an integer or a decimal fraction (RFC 7519 section 2). */
static bool date(const struct json *j, const char *claim, int64_t *out)
{
    double v;
    jref at = json_get(j, 0, str_of(claim));
    if (at == JSON_NONE || !json_double(j, at, &v) || !(v >= 0 && v < 1e13))
        return false;
    *out = (int64_t)v;
    return true;
}

int64_t jwt_expires(const struct jwt *t)
{
    int64_t at = 0;
    date(&t->claims, "exp", &at);
    return at;
}

static bool is_for(struct arena *a, const struct json *j, const struct strings *audience)
{
    jref aud = json_get(j, 0, S("aud"));
    if (aud == JSON_NONE)
        return false;
    for (size_t i = 0; i < audience->n; i++) {
        if (json_is(j, aud, JSON_STRING) && str_eq(json_str(j, aud, a), audience->items[i]))
            return true;
        if (json_is(j, aud, JSON_ARRAY))
            JSON_EACH_ITEM(j, aud, item)
                if (str_eq(json_str(j, item, a), audience->items[i]))
                    return true;
    }
    return false;
}

int jwt_check(struct arena *a, const struct jwt *t, const struct jwks *keys, const struct jwt_terms *terms, int64_t now,
              struct err *e)
{
    int64_t at;
    const struct algorithm *alg = algorithm_of(t, terms);
    if (!alg)
        return err_set(e, "the token's algorithm \"" STR_FMT "\" is not accepted", STR_ARG(str_upto(t->alg, 40)));
    if (!str_eq(t->issuer, terms->issuer))
        return err_set(e, "the token is of another issuer");
    int rc = signature_check(t, keys, alg, e);
    if (rc != JWT_GOOD)
        return rc;
    if (!is_for(a, &t->claims, terms->audience))
        return err_set(e, "the token is for another audience");
    if (!date(&t->claims, "exp", &at))
        return err_set(e, "the token has no expiry");
    if (now >= at + terms->leeway_s)
        return err_set(e, "the token has expired");
    if (json_get(&t->claims, 0, S("nbf")) != JSON_NONE && (!date(&t->claims, "nbf", &at) || now < at - terms->leeway_s))
        return err_set(e, "the token is not good yet");
    if (date(&t->claims, "iat", &at) && now < at - terms->leeway_s)
        return err_set(e, "the token was issued in the future");
    return JWT_GOOD;
}

/* ---- claims ---- */

static jref claim_find(const struct json *j, str dotted)
{
    jref whole = json_get(j, 0, dotted), at = 0;        /* "https://example.com/team" is one name */
    if (whole != JSON_NONE)
        return whole;
    while (dotted.len && at != JSON_NONE && json_is(j, at, JSON_OBJECT))
        at = json_get(j, at, str_cut(&dotted, '.'));
    return dotted.len || at == 0 ? JSON_NONE : at;
}

str jwt_claim(struct arena *a, const struct jwt *t, str dotted)
{
    jref at = dotted.len ? claim_find(&t->claims, dotted) : JSON_NONE;
    if (at == JSON_NONE)
        return S("");
    return json_is(&t->claims, at, JSON_NUMBER) ? json_raw(&t->claims, at) : json_str(&t->claims, at, a);
}

void jwt_claims(struct arena *a, const struct jwt *t, str dotted, str **list, uint32_t *n)
{
    jref at = dotted.len ? claim_find(&t->claims, dotted) : JSON_NONE;
    if (at == JSON_NONE)
        return;
    if (json_is(&t->claims, at, JSON_ARRAY)) {
        JSON_EACH_ITEM(&t->claims, at, item) {
            str one = json_str(&t->claims, item, a);
            if (one.len && *n < LIST_MAX)
                *PUSH(a, *list, *n) = one;
        }
        return;
    }
    str rest = json_str(&t->claims, at, a);
    while (rest.len && *n < LIST_MAX) {
        size_t end = 0;
        while (end < rest.len && rest.ptr[end] != ',' && rest.ptr[end] != ' ')
            end++;
        if (end)
            *PUSH(a, *list, *n) = str_upto(rest, end);
        rest = str_from(rest, end + 1);
    }
}
