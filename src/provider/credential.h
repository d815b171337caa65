/* provider/credential.h -- proves to a provider who we are: a key, a signature, or a token that has to be fetched.
 *
 * One credential per backend configuration, process life, found again across reloads by its key. Tokens are fetched once for
 * all who wait (single flight per loop), kept until a minute before they end, renewed in the background from half their
 * life on. Secrets are never logged. */
#ifndef SBX_PROVIDER_CREDENTIAL_H
#define SBX_PROVIDER_CREDENTIAL_H

#include "provider/provider.h"
#include "runtime/loop.h"

struct credential_conf {            /* of backend_refs[]; "" not given */
    enum auth_kind auth;
    str api_key;                    /* wins over everything: sent in auth_header with auth_prefix */
    str auth_header, auth_prefix;
    str region;                     /* SigV4; "" : taken from the host: bedrock-runtime.REGION.amazonaws.com */
    str access_key_id, secret_access_key, session_token;    /* SigV4; "" : AWS_* of the environment */
    str service_account;            /* Google: JSON text of the key file */
    str token_url;                  /* override of the OAuth endpoint, for tests and private clouds */
    str scope;
    str tenant_id, client_id, client_secret;                /* Entra */
};

struct credential;
/* NULL and a sentence in e: malformed key file, missing secret. Takes a reference by key; copies what it keeps. */
struct credential *credential_get(const struct credential_conf *c, struct err *e);

struct signing {                    /* what is signed; SigV4 alone looks at it */
    str method, host, path, query;  /* as on the wire: escaped once */
    str body;
    uint64_t wall_ns;               /* now */
};

/* Appends the header lines ("authorization: ...\r\n", "x-amz-date: ...\r\n"). 0; -1 with e (token refused, network);
 * -ETIMEDOUT, -ECANCELED. Waits only when a token has to be fetched. */
WAITS int credential_lines(struct credential *c, struct loop *l, const struct signing *s, uint64_t deadline, struct buf *out,
                           struct err *e);

#endif
