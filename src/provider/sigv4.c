/* provider/sigv4.c */
#include "provider/sigv4.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "base/hex.h"
#include "net/http.h"

static void digest_hex(str bytes, char out[SIGV4_HEX])
{
    unsigned char hash[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)(bytes.len ? bytes.ptr : ""), bytes.len, hash);
    hex_write(out, hash, sizeof hash);
}

static void mac(const void *key, size_t n, str text, unsigned char out[SHA256_DIGEST_LENGTH])
{
    unsigned len = SHA256_DIGEST_LENGTH;
    HMAC(EVP_sha256(), key, (int)n, (const unsigned char *)text.ptr, text.len, out, &len);
}

void sigv4_date(uint64_t wall_s, char out[SIGV4_DATE + 1])
{
    time_t t = (time_t)wall_s;
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(out, SIGV4_DATE + 1, "%Y%m%dT%H%M%SZ", &tm);
}

/* ---- the canonical request ---- */

static int compare_pairs(const void *a, const void *b)
{
    str x = *(const str *)a, y = *(const str *)b;
    str name_x = str_cut(&x, '='), name_y = str_cut(&y, '=');
    int order = str_cmp(name_x, name_y);
    return order ? order : str_cmp(x, y);
}

/* Parameters sorted by name, then value; one without a value gets an empty one. */
static void query_write(str query, struct buf *out)
{
    enum { PAIRS_MAX = 64 };            /* our paths have one; beyond: unsorted, and so refused by AWS */
    str pairs[PAIRS_MAX];
    size_t n = 0;
    while (query.len && n < PAIRS_MAX) {
        str pair = str_cut(&query, '&');
        if (pair.len)
            pairs[n++] = pair;
    }
    qsort(pairs, n, sizeof *pairs, compare_pairs);
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_char(out, '&');
        buf_str(out, pairs[i]);
        if (str_chr(pairs[i], '=') < 0)
            buf_char(out, '=');
    }
}

/* Without white space at both ends, and one space for several. */
static void value_write(str value, struct buf *out)
{
    bool was_space = false;
    value = str_trim(value);
    for (size_t i = 0; i < value.len; i++) {
        bool is_space = value.ptr[i] == ' ' || value.ptr[i] == '\t';
        if (!is_space || !was_space)
            buf_char(out, is_space ? ' ' : value.ptr[i]);
        was_space = is_space;
    }
}

static void names_write(const struct sigv4_request *r, struct buf *out)
{
    for (size_t i = 0; i < r->n_headers; i++) {
        if (i)
            buf_char(out, ';');
        buf_str(out, r->headers[i].name);
    }
}

void sigv4_canonical(const struct sigv4_request *r, struct buf *out)
{
    char hash[SIGV4_HEX];
    digest_hex(r->body, hash);
    buf_str(out, r->method);
    buf_char(out, '\n');
    http_path_encode(r->path.len ? r->path : S("/"), "/", out);
    buf_char(out, '\n');
    query_write(r->query, out);
    buf_char(out, '\n');
    for (size_t i = 0; i < r->n_headers; i++) {
        buf_str(out, r->headers[i].name);
        buf_char(out, ':');
        value_write(r->headers[i].value, out);
        buf_char(out, '\n');
    }
    buf_char(out, '\n');
    names_write(r, out);
    buf_char(out, '\n');
    buf_add(out, hash, sizeof hash);
}

/* ---- the signature ---- */

/* HMAC(HMAC(HMAC(HMAC("AWS4" + secret, day), region), service), "aws4_request") */
static void key_derive(str secret, str day, str region, str service, unsigned char key[SHA256_DIGEST_LENGTH])
{
    struct buf first = { 0 };
    buf_str(&first, S("AWS4"));
    buf_str(&first, secret);
    if (first.is_failed)
        memset(key, 0, SHA256_DIGEST_LENGTH);   /* out of memory: a signature that AWS refuses */
    else
        mac(first.ptr, first.len, day, key);
    if (first.ptr)
        OPENSSL_cleanse(first.ptr, first.len);
    buf_free(&first);
    mac(key, SHA256_DIGEST_LENGTH, region, key);
    mac(key, SHA256_DIGEST_LENGTH, service, key);
    mac(key, SHA256_DIGEST_LENGTH, S("aws4_request"), key);
}

void sigv4_authorization(const struct sigv4_keys *k, const char *date, str region, str service, const struct sigv4_request *r,
                         struct buf *out)
{
    struct buf canonical = { 0 }, text = { 0 };
    unsigned char key[SHA256_DIGEST_LENGTH], signature[SHA256_DIGEST_LENGTH];
    char hash[SIGV4_HEX], hex[SIGV4_HEX];
    str day = { date, 8 };
    sigv4_canonical(r, &canonical);
    digest_hex(buf_view(&canonical), hash);
    buf_printf(&text, "AWS4-HMAC-SHA256\n%s\n" STR_FMT "/" STR_FMT "/" STR_FMT "/aws4_request\n", date, STR_ARG(day),
               STR_ARG(region), STR_ARG(service));
    buf_add(&text, hash, sizeof hash);
    key_derive(k->secret_access_key, day, region, service, key);
    mac(key, sizeof key, text.is_failed ? S("") : buf_view(&text), signature);
    hex_write(hex, signature, sizeof signature);
    buf_printf(out, "AWS4-HMAC-SHA256 Credential=" STR_FMT "/" STR_FMT "/" STR_FMT "/" STR_FMT "/aws4_request, SignedHeaders=",
               STR_ARG(k->access_key_id), STR_ARG(day), STR_ARG(region), STR_ARG(service));
    names_write(r, out);
    buf_str(out, S(", Signature="));
    buf_add(out, hex, sizeof hex);
    out->is_failed |= canonical.is_failed || text.is_failed;
    OPENSSL_cleanse(key, sizeof key);
    buf_free(&canonical);
    buf_free(&text);
}

/* eu-central-1, us-gov-west-1: words of letters, and a number at the end. */
static bool is_region(str s)
{
    unsigned hyphens = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        hyphens += c == '-';
        if (!(c == '-' || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')))
            return false;
    }
    return hyphens >= 2 && s.len <= 32 && s.ptr[s.len - 1] >= '0' && s.ptr[s.len - 1] <= '9' && s.ptr[0] >= 'a';
}

/* The label before amazonaws.com, or before vpce.amazonaws.com. */
str sigv4_region_of_host(str host)
{
    str rest = host, region = S("");
    if (str_find(host, S(".amazonaws.com")) < 0 && str_find(host, S(".api.aws")) < 0)
        return S("");
    while (rest.len) {
        str label = str_cut(&rest, '.');
        if (str_eq(label, S("amazonaws")) || str_eq(label, S("api")))
            break;
        if (label.len && is_region(label) && !str_starts(label, S("vpce-")))
            region = label;
    }
    return region;
}
