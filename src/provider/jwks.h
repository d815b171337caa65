/* provider/jwks.h -- the keys of an identity provider, fetched when they are needed and kept while it is away.
 *
 * Process life, found again by URL across reloads. A set older than `refresh` is used and renewed behind the request's back; a
 * key id that is not in it asks for a fetch now, at most once in JWKS_AGAIN_S, so that made-up ids cannot make us a load on the
 * provider. */
#ifndef SBX_JWKS_H
#define SBX_JWKS_H

#include "provider/jwt_verify.h"
#include "runtime/loop.h"

enum { JWKS_AGAIN_S = 10, JWKS_TIMEOUT_S = 10, JWKS_WAIT_MS = 3000 /* of a request, for the first set or a new key */ };

struct jwks_source;
struct jwks_source *jwks_source_get(str url, struct err *e);        /* NULL: the URL cannot be fetched */

/* The present set, held; NULL: none yet. Starts a fetch on this loop when it is time. */
struct jwks *jwks_present(struct jwks_source *s, struct loop *l, uint64_t refresh_ns);
/* A key was missing: fetches unless that was done a moment ago, waits for it. True: there is another set now. */
WAITS bool jwks_renew(struct jwks_source *s, struct loop *l, uint64_t deadline);
str jwks_trouble(struct jwks_source *s, struct arena *a);           /* of the last fetch; "" : none */

#endif
