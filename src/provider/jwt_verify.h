/* provider/jwt_verify.h -- is this JSON Web Token (RFC 7519) signed by one of these keys, for us, and still good?
 *
 * Pure: bytes in, verdict out; keys are fetched elsewhere (jwks.h). The signatures are OpenSSL's; everything that attackers
 * have used against such checks is decided before: the algorithm must be asymmetric, be allowed, and belong to the kind and curve
 * of the very key (no `none`, no HMAC over a public key), `crit` and compression are refused, parts are strict base64url, members
 * that matter stand there once, and nothing larger than JWT_BYTES_MAX is looked at. (cjose, which would do both steps, ends the
 * process by an assertion when a key lacks its exponent; the tests use it as a second opinion.) */
#ifndef SBX_JWT_VERIFY_H
#define SBX_JWT_VERIFY_H

#include "base/err.h"
#include "base/field.h"
#include "base/json.h"

enum {
    JWT_BYTES_MAX = 16 * 1024,      /* larger than any header may be that carries one */
    JWKS_BYTES_MAX = 1 << 20,
    JWKS_KEYS_MAX = 64,             /* beyond: ignored */
};

struct jwks;
/* A JWK Set (RFC 7517), with one reference. Keys that are not for signatures, symmetric, weak (RSA below 2048 bits) or broken
 * are left out. NULL and *e: no JSON, or no key that could verify anything. */
struct jwks *jwks_parse(str text, struct err *e);
struct jwks *jwks_hold(struct jwks *set);
void jwks_drop(struct jwks *set);   /* NULL is fine */
unsigned jwks_count(const struct jwks *set);

struct jwt {                        /* as read; nothing in it is to be believed before jwt_check */
    str signed_part;                /* header '.' payload, as sent */
    str signature;                  /* decoded */
    str alg, kid, issuer;
    struct json claims;
};

bool jwt_looks_like(str text);      /* three parts with dots between, the first begins like a JSON object */
/* 0, or -1 and *e. Texts lie in the arena. */
int  jwt_read(struct arena *a, str token, struct jwt *out, struct err *e);

struct jwt_terms {
    str issuer;
    const struct strings *audience;     /* one must be in `aud` */
    const struct strings *algorithms;   /* empty: every asymmetric one known here */
    int64_t leeway_s;
};

enum { JWT_GOOD = 0, JWT_BAD = -1, JWT_NO_KEY = -2 /* no key of that id: a new one may have been published */ };
int jwt_check(struct arena *a, const struct jwt *t, const struct jwks *keys, const struct jwt_terms *terms, int64_t now,
              struct err *e);
int64_t jwt_expires(const struct jwt *t);           /* seconds since 1970 */

/* "realm_access.roles": a text (numbers as written), "" when it is not there. */
str  jwt_claim(struct arena *a, const struct jwt *t, str dotted);
/* A list of texts, or one text cut at commas and spaces. */
void jwt_claims(struct arena *a, const struct jwt *t, str dotted, str **list, uint32_t *n);

#endif
