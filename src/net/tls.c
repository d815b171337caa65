/* net/tls.c */
#include "net/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>

enum { NAME_MAX_BYTES = 256, PATH_MAX_BYTES = 4096 };

static const char *openssl_reason(void)
{
    unsigned long code = ERR_peek_last_error();
    const char *text = code ? ERR_reason_error_string(code) : NULL;
    return text ? text : "unknown reason";
}

static const char *path_of(str s, char to[PATH_MAX_BYTES])
{
    snprintf(to, PATH_MAX_BYTES, STR_FMT, STR_ARG(s));
    return to;
}

static bool load_identity(SSL_CTX *ctx, const struct tls_paths *f, struct err *e)
{
    char path[PATH_MAX_BYTES];
    if (f->certificate.len == 0)
        return true;
    if (SSL_CTX_use_certificate_chain_file(ctx, path_of(f->certificate, path)) != 1) {
        err_set(e, "certificate %s: %s", path, openssl_reason());
        return false;
    }
    str key = f->key.len ? f->key : f->certificate;
    if (SSL_CTX_use_PrivateKey_file(ctx, path_of(key, path), SSL_FILETYPE_PEM) != 1
        || SSL_CTX_check_private_key(ctx) != 1) {
        err_set(e, "private key %s: %s", path, openssl_reason());
        return false;
    }
    return true;
}

static SSL_CTX *context_new(const SSL_METHOD *method, const struct tls_paths *f, struct err *e)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    if (!ctx) {
        err_set(e, "TLS: %s", openssl_reason());
        return NULL;
    }
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                          | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    if (load_identity(ctx, f, e))
        return ctx;
    ERR_clear_error();
    SSL_CTX_free(ctx);
    return NULL;
}

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                        const unsigned char *in, unsigned in_len, void *unused)
{
    static const unsigned char ours[] = "\x02h2\x08http/1.1";
    (void)ssl;
    (void)unused;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof ours - 1, in, in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

struct ssl_ctx_st *tls_server_context(const struct tls_paths *files, struct err *e)
{
    char path[PATH_MAX_BYTES];
    SSL_CTX *ctx = context_new(TLS_server_method(), files, e);
    if (!ctx)
        return NULL;
    SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"signalbox", 9);
    if (files->ca.len) {
        if (SSL_CTX_load_verify_locations(ctx, path_of(files->ca, path), NULL) != 1) {
            err_set(e, "client CA %s: %s", path, openssl_reason());
            ERR_clear_error();
            SSL_CTX_free(ctx);
            return NULL;
        }
        SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(path));
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (files->verify_client ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
    }
    return ctx;
}

struct ssl_ctx_st *tls_client_context(const struct tls_paths *files, struct err *e)
{
    char path[PATH_MAX_BYTES];
    SSL_CTX *ctx = context_new(TLS_client_method(), files, e);
    if (!ctx)
        return NULL;
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT);
    if (files->insecure)
        return ctx;
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    int ok = files->ca.len ? SSL_CTX_load_verify_locations(ctx, path_of(files->ca, path), NULL)
                           : SSL_CTX_set_default_verify_paths(ctx);
    if (ok != 1) {
        err_set(e, "CA file %s: %s", files->ca.len ? path : "(system)", openssl_reason());
        ERR_clear_error();
        SSL_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

void tls_context_free(struct ssl_ctx_st *ctx)
{
    SSL_CTX_free(ctx);
}

struct ssl_ctx_st *tls_context_ref(struct ssl_ctx_st *ctx)
{
    if (ctx)
        SSL_CTX_up_ref(ctx);
    return ctx;
}

static WAITS int handshake(struct conn *c, uint64_t deadline)
{
    for (;;) {
        ERR_clear_error();
        int rc = SSL_do_handshake(c->ssl);
        if (rc == 1)
            return 0;
        int wait_for;
        switch (SSL_get_error(c->ssl, rc)) {
        case SSL_ERROR_WANT_READ:  wait_for = IO_IN; break;
        case SSL_ERROR_WANT_WRITE: wait_for = IO_OUT; break;
        case SSL_ERROR_SYSCALL:    return errno ? -errno : -ECONNRESET;
        default:                   return -EPROTO;
        }
        if (!(wait_for == IO_IN && (c->io.ready & IO_HUP)))
            c->io.ready &= (uint8_t)~wait_for;
        else if (c->io.ready & IO_HUP) {        /* the peer is gone and wants nothing more */
            char byte;
            if (recv(c->io.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0)
                return -ECONNRESET;
        }
        rc = io_wait(&c->io, wait_for, deadline);
        if (rc < 0)
            return rc;
    }
}

bool tls_speaks_h2(const struct conn *c)
{
    const unsigned char *name;
    unsigned len = 0;
    if (c->ssl)
        SSL_get0_alpn_selected(c->ssl, &name, &len);
    return len == 2 && memcmp(name, "h2", 2) == 0;
}

WAITS int tls_accept(struct conn *c, struct ssl_ctx_st *ctx, uint64_t deadline)
{
    c->ssl = SSL_new(ctx);
    if (!c->ssl || SSL_set_fd(c->ssl, c->io.fd) != 1)
        return -ENOMEM;
    SSL_set_accept_state(c->ssl);
    return handshake(c, deadline);
}

WAITS int tls_connect(struct conn *c, struct ssl_ctx_st *ctx, str host, bool offers_h2, uint64_t deadline, const char **why)
{
    char name[NAME_MAX_BYTES];
    struct in6_addr ip;
    if (host.len >= sizeof name)
        return -EINVAL;
    memcpy(name, host.ptr, host.len);
    name[host.len] = 0;
    c->ssl = SSL_new(ctx);
    if (!c->ssl || SSL_set_fd(c->ssl, c->io.fd) != 1)
        return -ENOMEM;
    if (inet_pton(AF_INET, name, &ip) == 1 || inet_pton(AF_INET6, name, &ip) == 1) {
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(c->ssl), name);
    } else {
        SSL_set_tlsext_host_name(c->ssl, name);
        SSL_set1_host(c->ssl, name);
    }
    SSL_set_alpn_protos(c->ssl, (const unsigned char *)"\x02h2\x08http/1.1" + (offers_h2 ? 0 : 3), offers_h2 ? 12 : 9);
    SSL_set_connect_state(c->ssl);
    int rc = handshake(c, deadline);
    if (rc < 0 && why) {
        long verify = SSL_get_verify_result(c->ssl);
        *why = verify != X509_V_OK ? X509_verify_cert_error_string(verify)
             : rc == -EPROTO ? openssl_reason() : strerror(-rc);
    }
    ERR_clear_error();
    return rc;
}
