/* provider/jwt_sign.h -- JSON Web Tokens signed with RS256 (RFC 7515, 7518), for service accounts. */
#ifndef SBX_JWT_SIGN_H
#define SBX_JWT_SIGN_H

#include "base/buf.h"
#include "base/err.h"

struct evp_pkey_st;

/* A private RSA key in PEM. NULL and a sentence in e. */
struct evp_pkey_st *jwt_key_read(str pem, struct err *e);
void jwt_key_free(struct evp_pkey_st *key);
/* header.claims.signature; `kid` may be "". 0 or -1 with e. */
int jwt_sign(struct evp_pkey_st *key, str kid, str claims, struct buf *out, struct err *e);

#endif
