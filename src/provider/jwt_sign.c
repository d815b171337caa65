/* provider/jwt_sign.c */
#include "provider/jwt_sign.h"

#include <limits.h>
#include <stdlib.h>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/json.h"
#include "base/put.h"

enum { RSA_BITS_MIN = 2048 };

/* No passphrase: a key that wants one is refused instead of asking at a terminal. */
static int no_passphrase(char *out, int room, int is_writing, void *arg)
{
    (void)out, (void)room, (void)is_writing, (void)arg;
    return -1;
}

struct evp_pkey_st *jwt_key_read(str pem, struct err *e)
{
    BIO *bio = pem.len && pem.len < INT_MAX ? BIO_new_mem_buf(pem.ptr, (int)pem.len) : NULL;
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    BIO_free(bio);
    if (!key) {
        err_set(e, "the private key is no PEM key without passphrase");
        return NULL;
    }
    if (EVP_PKEY_base_id(key) != EVP_PKEY_RSA || EVP_PKEY_bits(key) < RSA_BITS_MIN) {
        err_set(e, "the private key must be an RSA key of %d bits or more", RSA_BITS_MIN);
        EVP_PKEY_free(key);
        return NULL;
    }
    return key;
}

void jwt_key_free(struct evp_pkey_st *key)
{
    EVP_PKEY_free(key);
}

/* RFC 4648, 5, without padding. */
static void base64url_write(str bytes, struct buf *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t n = bytes.len - i < 3 ? bytes.len - i : 3;
        uint32_t v = 0;
        for (size_t k = 0; k < 3; k++)
            v = v << 8 | (k < n ? (unsigned char)bytes.ptr[i + k] : 0u);
        for (size_t k = 0; k <= n; k++)
            buf_char(out, digits[v >> (18 - 6 * k) & 63]);
    }
}

static int sign(EVP_PKEY *key, str text, unsigned char *to, size_t *n)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int ok = ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
             EVP_DigestSign(ctx, to, n, (const unsigned char *)text.ptr, text.len) == 1;
    EVP_MD_CTX_free(ctx);
    return ok ? 0 : -1;
}

int jwt_sign(struct evp_pkey_st *key, str kid, str claims, struct buf *out, struct err *e)
{
    struct buf header = { 0 }, text = { 0 };
    struct json_writer w = { .out = &header };
    unsigned char signature[1024];              /* RSA of 8192 bits */
    size_t n = sizeof signature;
    jw_begin(&w, '{');
    put_str(&w, S("alg"), S("RS256"));
    if (kid.len)
        put_str(&w, S("kid"), kid);
    put_str(&w, S("typ"), S("JWT"));
    jw_end(&w, '}');
    base64url_write(buf_view(&header), &text);
    buf_char(&text, '.');
    base64url_write(claims, &text);
    int rc = header.is_failed || text.is_failed || EVP_PKEY_size(key) > (int)sizeof signature ? -1
             : sign(key, buf_view(&text), signature, &n);
    if (rc == 0) {
        buf_str(out, buf_view(&text));
        buf_char(out, '.');
        base64url_write((str){ (const char *)signature, n }, out);
    } else {
        err_set(e, "the token could not be signed");
    }
    buf_free(&header);
    buf_free(&text);
    return rc;
}
