/* net/tls.h -- the only file that knows OpenSSL's names besides conn.c.
 *
 * A context is made once per configuration and shared by all loops; OpenSSL counts its references.
 * TLS 1.2 at least. Clients verify chain and host name unless told otherwise. */
#ifndef SBX_TLS_H
#define SBX_TLS_H

#include "net/conn.h"

struct ssl_ctx_st;

/* `files` names PEM files; "" where not wanted. NULL and *e on failure. */
struct tls_paths { str certificate, key, ca; bool verify_client; bool insecure; };
struct ssl_ctx_st *tls_server_context(const struct tls_paths *files, struct err *e);
struct ssl_ctx_st *tls_client_context(const struct tls_paths *files, struct err *e);
void tls_context_free(struct ssl_ctx_st *ctx);
struct ssl_ctx_st *tls_context_ref(struct ssl_ctx_st *ctx);

/* Handshakes on an open connection. 0 or a negative code; `why` (may be NULL) gets a sentence. */
WAITS int tls_accept(struct conn *c, struct ssl_ctx_st *ctx, uint64_t deadline);
WAITS int tls_connect(struct conn *c, struct ssl_ctx_st *ctx, str host, bool offers_h2, uint64_t deadline, const char **why);
bool tls_speaks_h2(const struct conn *c);       /* by ALPN, after the handshake */

#endif
