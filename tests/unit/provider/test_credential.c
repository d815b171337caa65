/* Tokens are fetched once for all who wait, kept, renewed early; keys and signatures need nobody. The token server is a fiber
 * of this process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "../net/party.h"
#include "base/json.h"
#include "provider/credential.h"
#include "provider/jwt_sign.h"

struct scene {
    struct party p;
    const char *answer;                 /* of the token server: status line's end and body */
    unsigned n_asked, n_served_max, delay_ms;
    char asked[8192];                   /* the last request */
    struct credential *credential;
    int rc[8];
    struct buf lines[8];
    struct err e[8];
    uint64_t wait_ns;                   /* of each guest; 0: 5 s */
    unsigned n_guests, n_left;
    unsigned rounds;
};

static void scene_open(struct scene *s, const char *answer)
{
    memset(s, 0, sizeof *s);
    party_open(&s->p);
    s->answer = answer;
    s->n_served_max = 1;
    s->rounds = 1;
}

static void serve(void *arg)
{
    struct scene *s = arg;
    for (unsigned i = 0; i < s->n_served_max; i++) {
        struct conn c;
        size_t n = 0;
        party_accept(&s->p, &c);
        s->n_asked++;
        for (;;) {
            ssize_t more = conn_read(&c, s->asked + n, sizeof s->asked - 1 - n, NEVER);
            if (more <= 0)
                break;
            s->asked[n += (size_t)more] = 0;
            const char *end = strstr(s->asked, "\r\n\r\n"), *length = strstr(s->asked, "content-length: ");
            if (end && length && strlen(end + 4) >= strtoul(length + 16, NULL, 10))
                break;
        }
        if (s->delay_ms)
            party_nap(s->delay_ms);
        const char *body = strchr(s->answer, '|') + 1;
        char head[256];
        int len = snprintf(head, sizeof head, "HTTP/1.1 %.*s\r\ncontent-length: %zu\r\nconnection: close\r\n\r\n",
                           (int)(body - 1 - s->answer), s->answer, strlen(body));
        conn_write(&c, (str){ head, (size_t)len }, NEVER);
        conn_write(&c, str_of(body), NEVER);
        conn_close(&c);
    }
    party_leave(&s->p);
}

struct guest { struct scene *s; unsigned i; };

static void ask(void *arg)
{
    struct guest *g = arg;
    struct scene *s = g->s;
    struct signing signing = { .method = S("POST"), .host = S("h"), .path = S("/") };
    for (unsigned r = 0; r < s->rounds; r++) {
        s->lines[g->i].len = 0;
        s->rc[g->i] = credential_lines(s->credential, s->p.l, &signing, clock_now() + (s->wait_ns ? s->wait_ns : 5 * NS_PER_S),
                                       &s->lines[g->i], &s->e[g->i]);
    }
    buf_char(&s->lines[g->i], 0);
    if (s->rc[g->i] == -ETIMEDOUT)
        party_nap(2 * s->delay_ms);     /* the fetch goes on */
    party_leave(&s->p);
}

static void scene_run(struct scene *s, unsigned n_guests)
{
    static struct guest guests[8];
    if (s->n_served_max)
        party_go(&s->p, serve, s);
    for (unsigned i = 0; i < n_guests; i++) {
        guests[i] = (struct guest){ s, i };
        party_go(&s->p, ask, &guests[i]);
    }
    party_run(&s->p);
}

static void scene_close(struct scene *s)
{
    for (unsigned i = 0; i < 8; i++)
        buf_free(&s->lines[i]);
}

static struct credential *entra(const struct scene *s, const char *secret)
{
    char url[64];
    struct err e = { 0 };
    snprintf(url, sizeof url, "http://127.0.0.1:%u/token", s->p.port);
    struct credential_conf c = { .auth = AUTH_ENTRA, .client_id = S("app"), .client_secret = str_of(secret), .tenant_id = S("t"),
                                 .token_url = str_of(url) };
    struct credential *k = credential_get(&c, &e);
    if (!k)
        fail_msg("%s", e.text);
    return k;
}

static void many_requests_wait_for_one_fetch(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, "200 OK|{\"access_token\":\"TOK\",\"expires_in\":\"3599\",\"token_type\":\"Bearer\"}");
    s.credential = entra(&s, "p&w d");
    s.delay_ms = 30;
    s.rounds = 3;                       /* the later ones find it there */
    scene_run(&s, 8);
    assert_int_equal(s.n_asked, 1);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(s.rc[i], 0);
        assert_string_equal(s.lines[i].ptr, "authorization: Bearer TOK\r\n");
    }
    assert_non_null(strstr(s.asked, "POST /token HTTP/1.1\r\n"));
    assert_non_null(strstr(s.asked, "grant_type=client_credentials&client_id=app&client_secret=p%26w%20d&"
                                    "scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default"));
    scene_close(&s);
}

static void a_refusal_is_a_sentence_for_all_who_wait(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, "400 Bad Request|{\"error\":\"invalid_client\",\"error_description\":\"the secret is wrong\"}");
    s.credential = entra(&s, "wrong");
    s.rounds = 2;                       /* the second is answered from memory */
    scene_run(&s, 3);
    assert_int_equal(s.n_asked, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(s.rc[i], -1);
        assert_string_equal(s.e[i].text, "the token server answered with status 400: invalid_client: the secret is wrong");
        assert_int_equal(strlen(s.lines[i].ptr), 0);
    }
    scene_close(&s);
}

static void an_answer_that_would_break_the_header_is_refused(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, "200 OK|{\"access_token\":\"A\\r\\nx-evil: 1\",\"expires_in\":10}");
    s.credential = entra(&s, "header");
    scene_run(&s, 1);
    assert_int_equal(s.rc[0], -1);
    assert_string_equal(s.e[0].text, "the token server's answer has no access_token that could be sent");
    scene_close(&s);
}

static void a_deadline_ends_the_wait_and_not_the_fetch(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, "200 OK|{\"access_token\":\"LATE\",\"expires_in\":3600}");
    s.credential = entra(&s, "slow");
    s.delay_ms = 120;
    s.wait_ns = 20 * NS_PER_MS;
    scene_run(&s, 1);
    assert_int_equal(s.rc[0], -ETIMEDOUT);
    scene_close(&s);
}

static void a_token_of_less_than_a_minute_is_used_once(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, "200 OK|{\"access_token\":\"SHORT\",\"expires_in\":1}");     /* not good for a minute: fetched each time */
    s.credential = entra(&s, "short");
    s.n_served_max = 2;
    s.rounds = 2;
    scene_run(&s, 1);
    assert_int_equal(s.n_asked, 2);
    assert_string_equal(s.lines[0].ptr, "authorization: Bearer SHORT\r\n");
    scene_close(&s);
}

static void nobody_there_is_a_sentence(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, "");
    s.credential = entra(&s, "closed");
    s.n_served_max = 0;
    close(s.p.listener);
    s.p.listener = -1;
    scene_run(&s, 1);
    assert_int_equal(s.rc[0], -1);
    assert_string_equal(s.e[0].text, "no connection to the token server 127.0.0.1 (connect)");
    scene_close(&s);
}

/* ---- a service account ---- */

static size_t base64url_decode(const char *from, size_t n, unsigned char *to)
{
    unsigned value = 0, bits = 0;
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        value = value << 6 | (unsigned)(strchr(digits, from[i]) - digits);
        if ((bits += 6) >= 8) {
            bits -= 8;
            to[len++] = (unsigned char)(value >> bits);
        }
    }
    return len;
}

static void a_service_account_says_who_it_is_with_its_signature(void **state)
{
    (void)state;
    struct scene s;
    struct arena *a = arena_new();
    struct err e = { 0 };
    struct buf file = { 0 };
    struct json_writer w = { .out = &file };
    char url[64], *pem;
    EVP_PKEY *key = EVP_RSA_gen(2048);
    BIO *bio = BIO_new(BIO_s_mem());
    scene_open(&s, "200 OK|{\"access_token\":\"ya29.x\",\"expires_in\":3599}");
    snprintf(url, sizeof url, "http://127.0.0.1:%u/token", s.p.port);
    PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    long pem_len = BIO_get_mem_data(bio, &pem);
    jw_begin(&w, '{');
    const struct { const char *key; str value; } members[] = {
        { "type", S("service_account") }, { "client_email", S("me@p.iam.gserviceaccount.com") }, { "private_key_id", S("kid1") },
        { "private_key", { pem, (size_t)pem_len } }, { "token_uri", str_of(url) },
    };
    for (size_t i = 0; i < COUNT_OF(members); i++) {
        jw_key(&w, str_of(members[i].key));
        jw_str(&w, members[i].value);
    }
    jw_end(&w, '}');
    struct credential_conf c = { .auth = AUTH_GOOGLE, .service_account = buf_view(&file) };
    s.credential = credential_get(&c, &e);
    assert_string_equal(e.text, "");
    assert_ptr_equal(credential_get(&c, &e), s.credential);     /* the same again */
    scene_run(&s, 2);
    assert_int_equal(s.n_asked, 1);
    assert_string_equal(s.lines[1].ptr, "authorization: Bearer ya29.x\r\n");

    const char *token = strstr(s.asked, "assertion=") + 10;
    assert_non_null(strstr(s.asked, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&"));
    const char *dot = strchr(token, '.'), *last = strrchr(token, '.');
    unsigned char signature[512], claims[1024];
    size_t n = base64url_decode(last + 1, strlen(last + 1), signature);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key), 1);
    assert_int_equal(EVP_DigestVerify(ctx, signature, n, (const unsigned char *)token, (size_t)(last - token)), 1);
    EVP_MD_CTX_free(ctx);
    n = base64url_decode(dot + 1, (size_t)(last - dot - 1), claims);
    struct json j;
    struct json_error je;
    int64_t iat, exp;
    assert_int_equal(json_parse(a, (str){ (char *)claims, n }, &j, &je), 0);
    assert_true(str_eq(json_str(&j, json_path(&j, "iss"), a), S("me@p.iam.gserviceaccount.com")));
    assert_true(str_eq(json_str(&j, json_path(&j, "aud"), a), str_of(url)));
    assert_true(str_eq(json_str(&j, json_path(&j, "scope"), a), S("https://www.googleapis.com/auth/cloud-platform")));
    assert_true(json_int(&j, json_path(&j, "iat"), &iat) && json_int(&j, json_path(&j, "exp"), &exp) && exp - iat == 3600);
    BIO_free(bio);
    EVP_PKEY_free(key);
    buf_free(&file);
    arena_free(a);
    scene_close(&s);
}

static void broken_key_files_are_refused_with_a_sentence(void **state)
{
    (void)state;
    static const struct { const char *text, *sentence; } table[] = {
        { "{", "the service account's file is not JSON: " },
        { "[]", "the service account's file holds no object" },
        { "{\"type\":\"external_account\"}", "the service account's file is of type 'external_account'; service_account and " },
        { "{\"type\":\"service_account\"}", "the service account's file lacks client_email" },
        { "{\"client_email\":\"a\",\"private_key\":\"x\"}", "the private key is no PEM key without passphrase" },
        { "{\"client_email\":\"a\",\"token_uri\":\"ftp://x\"}", "the token's address \"ftp://x\" is no http or https address" },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct err e = { 0 };
        struct credential_conf c = { .auth = AUTH_GOOGLE, .service_account = str_of(table[i].text) };
        assert_null(credential_get(&c, &e));
        if (strncmp(e.text, table[i].sentence, strlen(table[i].sentence)) != 0)
            fail_msg("%s: %s", table[i].text, e.text);
    }
    struct err e = { 0 };
    struct credential_conf c = { .auth = AUTH_ENTRA, .client_id = S("app"), .tenant_id = S("a/b"), .client_secret = S("s") };
    assert_null(credential_get(&c, &e));
    assert_string_equal(e.text, "client_id is given, but no tenant_id");
}

/* ---- nobody is asked ---- */

static void lines_of(const struct credential_conf *c, const struct signing *s, const char *expected)
{
    struct err e = { 0 };
    struct buf out = { 0 };
    struct credential *k = credential_get(c, &e);
    assert_non_null(k);
    int rc = credential_lines(k, NULL, s, NEVER, &out, &e);
    buf_char(&out, 0);
    assert_string_equal(rc < 0 ? e.text : out.ptr, expected);
    buf_free(&out);
}

static void keys_go_into_their_header(void **state)
{
    (void)state;
    struct signing s = { 0 };
    lines_of(&(struct credential_conf){ .auth = AUTH_ENTRA, .api_key = S("k") }, &s, "api-key: k\r\n");
    lines_of(&(struct credential_conf){ .auth = AUTH_ENTRA, .api_key = S("k"), .auth_header = S("x-key") }, &s, "x-key: k\r\n");
    lines_of(&(struct credential_conf){ .auth = AUTH_SIGV4, .api_key = S("k") }, &s, "authorization: Bearer k\r\n");
    lines_of(&(struct credential_conf){ .auth = AUTH_GOOGLE, .api_key = S("k"), .auth_prefix = S("Key") }, &s,
             "authorization: Key k\r\n");
    lines_of(&(struct credential_conf){ .auth = AUTH_HEADER }, &s, "");
    lines_of(&(struct credential_conf){ .auth = AUTH_ENTRA }, &s,
             "no Azure credentials: set api_key_env, or tenant_id, client_id and client_secret_env");
}

static void bedrock_requests_are_signed_for_the_region_of_the_host(void **state)
{
    (void)state;
    struct credential_conf c = { .auth = AUTH_SIGV4, .region = S("us-west-2"), .access_key_id = S("AKIDEXAMPLE"),
                                 .secret_access_key = S("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
                                 .session_token = S("TOKEN") };
    struct signing s = { S("POST"), S("bedrock-runtime.us-east-1.amazonaws.com"), S("/model/m%3A0/converse"), S(""), S("{}"),
                         1440938160ull * NS_PER_S };
    struct err e = { 0 };
    struct buf out = { 0 };
    assert_int_equal(credential_lines(credential_get(&c, &e), NULL, &s, NEVER, &out, &e), 0);
    buf_char(&out, 0);
    assert_non_null(strstr(out.ptr, "x-amz-date: 20150830T123600Z\r\nx-amz-security-token: TOKEN\r\n"
                                    "authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/bedrock/aws4_request, "
                                    "SignedHeaders=host;x-amz-date;x-amz-security-token, Signature="));
    out.len = 0;
    s.host = S("localhost:8080");
    assert_int_equal(credential_lines(credential_get(&c, &e), NULL, &s, NEVER, &out, &e), 0);
    buf_char(&out, 0);
    assert_non_null(strstr(out.ptr, "/us-west-2/bedrock/"));
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_requests_wait_for_one_fetch), cmocka_unit_test(a_refusal_is_a_sentence_for_all_who_wait),
        cmocka_unit_test(an_answer_that_would_break_the_header_is_refused),
        cmocka_unit_test(a_deadline_ends_the_wait_and_not_the_fetch),
        cmocka_unit_test(a_token_of_less_than_a_minute_is_used_once), cmocka_unit_test(nobody_there_is_a_sentence),
        cmocka_unit_test(a_service_account_says_who_it_is_with_its_signature),
        cmocka_unit_test(broken_key_files_are_refused_with_a_sentence), cmocka_unit_test(keys_go_into_their_header),
        cmocka_unit_test(bedrock_requests_are_signed_for_the_region_of_the_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
