/* provider/credential.c -- keys at hand, signatures made here, tokens fetched from somebody else.
 *
 * A credential lives as long as the process and is found again by a digest of all that makes it, so a reload keeps the token
 * that it has. One fiber fetches; whoever needs the token meanwhile looks every few milliseconds, because the fetch may be
 * another loop's. The fetch is nobody's request: a client that hangs up ends its own waiting, not the fetch. */
#include "provider/credential.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/put.h"
#include "net/client.h"
#include "net/http.h"
#include "net/url.h"
#include "provider/jwt_sign.h"
#include "provider/sigv4.h"

enum {
    FETCH_TIMEOUT_S = 10,
    LOOK_MS = 5,
    EARLY_S = 60,                   /* a token is not used in its last minute */
    AGAIN_S = 2,                    /* after a failed fetch: so long everybody gets the same answer */
    ANSWER_MAX = 256 * 1024,
    TOKEN_MAX = 16 * 1024,          /* larger ones fit in no header */
    HEAD_MAX = 64 * 1024,
    LIFE_MAX_S = 24 * 3600,
};

enum source {
    SOURCE_LINE, SOURCE_NOTHING, SOURCE_SIGV4, SOURCE_SERVICE_ACCOUNT, SOURCE_REFRESH_TOKEN, SOURCE_CLIENT_CREDENTIALS
};

struct credential {
    struct credential *next;                        /* all_lock */
    unsigned char digest[SHA256_DIGEST_LENGTH];     /* of the configuration */
    struct arena *a;                                /* process life: what follows, except the token */
    enum source source;
    str line;                                       /* SOURCE_LINE: the whole header line, or "" */
    struct sigv4_keys keys; str region;
    str token_url; struct url at; struct origin origin;
    struct evp_pkey_st *key; str kid, account, scope;
    str client_id, client_secret, refresh_token;

    pthread_mutex_t lock;                           /* all below */
    char *token;                                    /* NULL: none yet */
    uint64_t expires_at, renew_at;                  /* monotonic */
    uint64_t retry_at;                              /* after a failure */
    uint64_t n_fetches;                             /* that have ended */
    bool is_fetching;
    char trouble[400];                              /* of the last fetch; "" : it went well */
};

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct credential *all;

/* ---- making one ---- */

static str environment(const char *name)
{
    return str_trim(str_of(getenv(name)));
}

static str first_of(str x, str y)
{
    return x.len ? x : y;
}

static void digest_of(const struct credential_conf *c, unsigned char out[SHA256_DIGEST_LENGTH])
{
    const str parts[] = { c->api_key, c->auth_header, c->auth_prefix, c->region, c->access_key_id, c->secret_access_key,
                          c->session_token, c->service_account, c->token_url, c->scope, c->tenant_id, c->client_id,
                          c->client_secret };
    SHA256_CTX ctx;
    unsigned auth = c->auth;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    SHA256_Init(&ctx);
    SHA256_Update(&ctx, &auth, sizeof auth);
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        SHA256_Update(&ctx, &parts[i].len, sizeof parts[i].len);
        SHA256_Update(&ctx, parts[i].ptr, parts[i].len);
    }
    SHA256_Final(out, &ctx);
#pragma GCC diagnostic pop
}

static bool is_line_safe(str s)                     /* what would end a header line stays out of it */
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < ' ' || s.ptr[i] == 0x7f)
            return false;
    return true;
}

static int line_make(struct credential *k, const struct credential_conf *c, str header, str prefix, struct err *e)
{
    k->source = SOURCE_LINE;
    if (c->auth_header.len) {
        header = c->auth_header;
        prefix = str_ieq(header, S("authorization")) ? S("Bearer ") : S("");
    }
    if (c->auth_prefix.len)
        prefix = arena_printf(k->a, STR_FMT " ", STR_ARG(str_trim(c->auth_prefix)));
    if (!is_line_safe(c->api_key))
        return err_set(e, "the key has a line break or control character in it");
    struct buf b = { 0 };
    buf_str(&b, header);
    buf_str(&b, S(": "));
    buf_str(&b, prefix);
    buf_str(&b, c->api_key);
    buf_str(&b, S("\r\n"));
    k->line = buf_to_arena(&b, k->a);
    return 0;
}

static int token_place(struct credential *k, str url, struct err *e)
{
    k->token_url = arena_str(k->a, url);
    if (!url_parse(k->token_url, &k->at))
        return err_set(e, "the token's address \"" STR_FMT "\" is no http or https address", STR_ARG(str_upto(url, 200)));
    k->origin.host = k->at.at.host;
    k->origin.port = k->at.at.port;
    k->origin.key = origin_key(k->origin.host, k->origin.port, k->at.is_https ? S("token") : S(""));
    if (!k->at.is_https)
        return 0;
    k->origin.tls = tls_client_context(&(struct tls_paths){ 0 }, e);
    return k->origin.tls ? 0 : -1;
}

/* Nothing to prove it with is no fault of the file: keys may be set later, or come with each request. */
static int nothing(struct credential *k, const char *sentence)
{
    k->source = SOURCE_NOTHING;
    snprintf(k->trouble, sizeof k->trouble, "%s", sentence);
    return 0;
}

static int sigv4_make(struct credential *k, const struct credential_conf *c, struct err *e)
{
    k->source = SOURCE_SIGV4;
    bool is_configured = c->access_key_id.len > 0;  /* one's own id never goes with another's secret */
    k->keys.access_key_id = arena_str(k->a, is_configured ? c->access_key_id : environment("AWS_ACCESS_KEY_ID"));
    k->keys.secret_access_key = arena_str(k->a, is_configured ? c->secret_access_key : environment("AWS_SECRET_ACCESS_KEY"));
    k->keys.session_token = arena_str(k->a, is_configured ? c->session_token : environment("AWS_SESSION_TOKEN"));
    k->region = arena_str(k->a, first_of(c->region, first_of(environment("AWS_REGION"), environment("AWS_DEFAULT_REGION"))));
    if (!k->keys.access_key_id.len || !k->keys.secret_access_key.len)
        return nothing(k, "no AWS keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name other variables in "
                          "aws_access_key_id_env and aws_secret_access_key_env, or give a Bedrock API key in api_key_env");
    if (!is_line_safe(k->keys.access_key_id) || !is_line_safe(k->keys.session_token))
        return err_set(e, "an AWS key has a line break or control character in it");
    return 0;
}

/* The JSON file that Google hands out: a service account with a private key, or a user's refresh token. */
static int google_make(struct credential *k, const struct credential_conf *c, struct err *e)
{
    struct json j;
    struct json_error je;
    if (!c->service_account.len)
        return nothing(k, "no Google credentials: name a key file in service_account_file, or give a token in api_key_env");
    str text = arena_str(k->a, c->service_account);
    if (json_parse(k->a, text, &j, &je) < 0)
        return err_set(e, "the service account's file is not JSON: %s at byte %zu", je.what, je.at);
    if (!json_is(&j, 0, JSON_OBJECT))
        return err_set(e, "the service account's file holds no object");
    str type = json_str(&j, json_get(&j, 0, S("type")), k->a);
    k->client_id = json_str(&j, json_get(&j, 0, S("client_id")), k->a);
    k->client_secret = json_str(&j, json_get(&j, 0, S("client_secret")), k->a);
    k->refresh_token = json_str(&j, json_get(&j, 0, S("refresh_token")), k->a);
    k->account = json_str(&j, json_get(&j, 0, S("client_email")), k->a);
    k->kid = json_str(&j, json_get(&j, 0, S("private_key_id")), k->a);
    k->scope = arena_str(k->a, first_of(c->scope, S("https://www.googleapis.com/auth/cloud-platform")));
    str url = first_of(c->token_url, json_str(&j, json_get(&j, 0, S("token_uri")), k->a));
    if (token_place(k, first_of(url, S("https://oauth2.googleapis.com/token")), e) < 0)
        return -1;
    if (str_eq(type, S("authorized_user")) && k->refresh_token.len) {
        k->source = SOURCE_REFRESH_TOKEN;
        return 0;
    }
    k->source = SOURCE_SERVICE_ACCOUNT;
    if (type.len && !str_eq(type, S("service_account")))
        return err_set(e, "the service account's file is of type '" STR_FMT "'; service_account and authorized_user are known",
                       STR_ARG(str_upto(type, 80)));
    if (!k->account.len)
        return err_set(e, "the service account's file lacks client_email");
    k->key = jwt_key_read(json_str(&j, json_get(&j, 0, S("private_key")), k->a), e);
    return k->key ? 0 : -1;
}

static bool is_plain_word(str s)                    /* a tenant: an id or a domain */
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!((c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '-' || c == '.'))
            return false;
    }
    return s.len > 0;
}

static int entra_make(struct credential *k, const struct credential_conf *c, struct err *e)
{
    k->source = SOURCE_CLIENT_CREDENTIALS;
    k->client_id = arena_str(k->a, c->client_id);
    k->client_secret = arena_str(k->a, c->client_secret);
    k->scope = arena_str(k->a, first_of(c->scope, S("https://cognitiveservices.azure.com/.default")));
    if (!c->client_secret.len)
        return err_set(e, "client_id is given, but no client_secret_env that is set");
    if (!c->token_url.len && !is_plain_word(c->tenant_id))
        return err_set(e, "client_id is given, but no tenant_id");
    return token_place(k, first_of(c->token_url, arena_printf(k->a, "https://login.microsoftonline.com/" STR_FMT
                                                              "/oauth2/v2.0/token", STR_ARG(c->tenant_id))), e);
}

static int credential_make(struct credential *k, const struct credential_conf *c, struct err *e)
{
    struct credential_conf bearer = *c;
    switch (c->auth) {
    case AUTH_SIGV4:
        if (!c->api_key.len && !c->access_key_id.len)
            bearer.api_key = environment("AWS_BEARER_TOKEN_BEDROCK");
        return bearer.api_key.len ? line_make(k, &bearer, S("authorization"), S("Bearer "), e) : sigv4_make(k, c, e);
    case AUTH_GOOGLE:
        return c->api_key.len ? line_make(k, c, S("authorization"), S("Bearer "), e) : google_make(k, c, e);
    case AUTH_ENTRA:
        if (!c->api_key.len && c->client_id.len)
            return entra_make(k, c, e);
        if (!c->api_key.len)
            return nothing(k, "no Azure credentials: set api_key_env, or tenant_id, client_id and client_secret_env");
        return line_make(k, c, S("api-key"), S(""), e);
    case AUTH_HEADER:
        break;
    }
    return c->api_key.len ? line_make(k, c, S("authorization"), S("Bearer "), e) : 0;
}

static struct credential *credential_new(const struct credential_conf *c, struct err *e)
{
    struct credential *k = calloc(1, sizeof *k);
    if (!k || !(k->a = arena_new())) {
        free(k);
        err_set(e, "out of memory");
        return NULL;
    }
    if (credential_make(k, c, e) < 0 || arena_exhausted(k->a)) {
        err_set(e, "out of memory");                /* the first error is kept */
        if (k->key)
            jwt_key_free(k->key);
        if (k->origin.tls)
            tls_context_free(k->origin.tls);
        arena_free(k->a);
        free(k);
        return NULL;
    }
    pthread_mutex_init(&k->lock, NULL);
    return k;
}

struct credential *credential_get(const struct credential_conf *c, struct err *e)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    digest_of(c, digest);
    pthread_mutex_lock(&all_lock);
    struct credential *k = all;
    while (k && CRYPTO_memcmp(k->digest, digest, sizeof digest) != 0)
        k = k->next;
    if (!k && (k = credential_new(c, e)) != NULL) {
        memcpy(k->digest, digest, sizeof digest);
        k->next = all;
        all = k;
    }
    pthread_mutex_unlock(&all_lock);
    return k;
}

/* ---- fetching a token ---- */

static void form_add(struct buf *b, str key, str value)
{
    if (b->len)
        buf_char(b, '&');
    buf_str(b, key);
    buf_char(b, '=');
    http_path_encode(value, "", b);
}

/* RFC 7523: the account says who it is, for which service, for one hour. */
static int assertion_write(const struct credential *k, struct buf *out, struct err *e)
{
    struct buf claims = { 0 };
    struct json_writer w = { .out = &claims };
    int64_t now = (int64_t)(clock_wall() / NS_PER_S);
    jw_begin(&w, '{');
    put_str(&w, S("iss"), k->account);
    put_str(&w, S("scope"), k->scope);
    put_str(&w, S("aud"), k->token_url);
    put_int(&w, S("iat"), now);
    put_int(&w, S("exp"), now + 3600);
    jw_end(&w, '}');
    int rc = claims.is_failed ? err_set(e, "out of memory") : jwt_sign(k->key, k->kid, buf_view(&claims), out, e);
    buf_free(&claims);
    return rc;
}

static int form_make(const struct credential *k, struct buf *form, struct err *e)
{
    struct buf assertion = { 0 };
    int rc = 0;
    switch (k->source) {
    case SOURCE_SERVICE_ACCOUNT:
        rc = assertion_write(k, &assertion, e);
        form_add(form, S("grant_type"), S("urn:ietf:params:oauth:grant-type:jwt-bearer"));
        form_add(form, S("assertion"), buf_view(&assertion));
        break;
    case SOURCE_REFRESH_TOKEN:
        form_add(form, S("grant_type"), S("refresh_token"));
        form_add(form, S("client_id"), k->client_id);
        form_add(form, S("client_secret"), k->client_secret);
        form_add(form, S("refresh_token"), k->refresh_token);
        break;
    default:
        form_add(form, S("grant_type"), S("client_credentials"));
        form_add(form, S("client_id"), k->client_id);
        form_add(form, S("client_secret"), k->client_secret);
        form_add(form, S("scope"), k->scope);
        break;
    }
    buf_free(&assertion);
    return form->is_failed ? err_set(e, "out of memory") : rc;
}

struct token { str text; int64_t life_s; };

/* {"access_token":"...","expires_in":3599,"token_type":"Bearer"}, or {"error":"...","error_description":"..."} (RFC 6749, 5). */
static int answer_read(struct arena *a, int status, str body, struct token *out, struct err *e)
{
    struct json j;
    struct json_error je;
    bool is_object = json_parse(a, body, &j, &je) == 0 && json_is(&j, 0, JSON_OBJECT);
    if (status != 200 || !is_object) {
        str word = is_object ? json_str(&j, json_get(&j, 0, S("error")), a) : S("");
        str why = is_object ? json_str(&j, json_get(&j, 0, S("error_description")), a) : S("");
        return err_set(e, "the token server answered with status %d%s" STR_FMT "%s" STR_FMT, status, word.len ? ": " : "",
                       STR_ARG(str_upto(word, 80)), why.len ? ": " : "", STR_ARG(str_upto(why, 200)));
    }
    jref life = json_get(&j, 0, S("expires_in"));
    *out = (struct token){ .text = json_str(&j, json_get(&j, 0, S("access_token")), a), .life_s = 3600 };
    if (!json_int(&j, life, &out->life_s))
        str_int(json_str(&j, life, a), &out->life_s);       /* some say it as a string */
    if (out->life_s < 0 || out->life_s > LIFE_MAX_S)
        out->life_s = out->life_s < 0 ? 0 : LIFE_MAX_S;
    if (!out->text.len || out->text.len > TOKEN_MAX || !is_line_safe(out->text))
        return err_set(e, "the token server's answer has no access_token that could be sent");
    return 0;
}

/* 0; -1: no answer on a connection that may have been closed meanwhile, or any other failure, told in e. */
static WAITS int fetch(const struct credential *k, struct loop *l, struct arena *a, struct token *out, struct err *e)
{
    const char *why = NULL, *detail = NULL;
    struct buf form = { 0 }, request = { 0 };
    struct upstream *u = NULL;
    struct http_head head;
    str body;
    uint64_t deadline = clock_now() + FETCH_TIMEOUT_S * NS_PER_S;
    int rc = form_make(k, &form, e);
    buf_printf(&request, "POST " STR_FMT " HTTP/1.1\r\nhost: " STR_FMT, STR_ARG(k->at.path.len ? k->at.path : S("/")),
               STR_ARG(k->origin.host));
    if (k->origin.port != (k->at.is_https ? 443 : 80))
        buf_printf(&request, ":%u", k->origin.port);
    buf_printf(&request, "\r\ncontent-type: application/x-www-form-urlencoded\r\naccept: application/json\r\n"
                         "user-agent: signalbox\r\ncontent-length: %zu\r\nconnection: close\r\n\r\n", form.len);
    buf_str(&request, buf_view(&form));
    if (rc == 0 && request.is_failed)
        rc = err_set(e, "out of memory");
    if (rc == 0 && client_get(l, &k->origin, true, deadline, &u, &why, &detail) < 0)
        rc = err_set(e, "no connection to the token server " STR_FMT " (%s%s%s)", STR_ARG(k->origin.host), why ? why : "?",
                     detail ? ": " : "", detail ? detail : "");
    if (rc == 0) {
        if (conn_write(&u->conn, buf_view(&request), deadline) < 0 ||
            h1_read_head(&u->in, a, HEAD_MAX, &head, deadline, false) != 1 ||
            h1_read_body(&u->in, a, &head, ANSWER_MAX, &body, deadline) < 0)
            rc = err_set(e, "no whole answer from the token server " STR_FMT, STR_ARG(k->origin.host));
        else
            rc = answer_read(a, head.status, body, out, e);
        client_drop(u);
    }
    if (form.ptr)
        OPENSSL_cleanse(form.ptr, form.len);
    if (request.ptr)
        OPENSSL_cleanse(request.ptr, request.len);
    buf_free(&form);
    buf_free(&request);
    return rc;
}

static WAITS void fetch_and_keep(struct credential *k, struct loop *l)
{
    struct arena *a = arena_new();
    struct token t = { 0 };
    struct err e = { 0 };
    int rc = a ? fetch(k, l, a, &t, &e) : err_set(&e, "out of memory");
    char *text = rc == 0 ? strndup(t.text.ptr, t.text.len) : NULL;
    uint64_t now = clock_now();
    pthread_mutex_lock(&k->lock);
    if (text) {
        free(k->token);
        k->token = text;
        k->expires_at = now + (uint64_t)t.life_s * NS_PER_S;
        k->renew_at = now + (uint64_t)t.life_s * NS_PER_S / 2;
        k->retry_at = 0;
        k->trouble[0] = 0;
    } else {
        snprintf(k->trouble, sizeof k->trouble, "%.*s", (int)sizeof k->trouble - 1, e.text[0] ? e.text : "out of memory");
        k->retry_at = now + AGAIN_S * NS_PER_S;
    }
    k->is_fetching = false;
    k->n_fetches++;
    pthread_mutex_unlock(&k->lock);
    arena_free(a);
}

struct job { struct credential *credential; struct loop *loop; };

static void fetch_fiber(void *arg)
{
    struct job job = *(struct job *)arg;
    free(arg);
    fetch_and_keep(job.credential, job.loop);
}

/* k->lock held; false: nothing was started (it is running already, failed a moment ago, or there is no fiber left). */
static bool fetch_start(struct credential *k, struct loop *l)
{
    if (k->is_fetching || clock_now() < k->retry_at)
        return false;
    struct job *job = malloc(sizeof *job);
    if (!job)
        return false;
    *job = (struct job){ k, l };
    k->is_fetching = true;
    if (fiber_go(l, "token", fetch_fiber, job))
        return true;
    k->is_fetching = false;
    free(job);
    return false;
}

/* k->lock held. */
static bool has_token(const struct credential *k)
{
    return k->token && clock_now() + EARLY_S * NS_PER_S < k->expires_at;
}

/* A server that hands out tokens of less than a minute: the fresh one is used all the same. */
static bool has_fresh_token(const struct credential *k)
{
    return k->token && k->trouble[0] == 0 && clock_now() < k->expires_at;
}

/* Waits until the fetch that is running, or one that this call starts, has ended. 0 or a wait's code. */
static WAITS int fetch_wait(struct credential *k, struct loop *l, uint64_t deadline)
{
    pthread_mutex_lock(&k->lock);
    uint64_t before = k->n_fetches;
    if (!fiber_self() && !k->is_fetching && clock_now() >= k->retry_at) {      /* a plain thread does it itself */
        k->is_fetching = true;
        pthread_mutex_unlock(&k->lock);
        fetch_and_keep(k, l);
        return 0;
    }
    if (fiber_self())
        fetch_start(k, l);
    bool waits = k->is_fetching;
    pthread_mutex_unlock(&k->lock);
    while (waits) {
        if (clock_now() >= deadline)
            return -ETIMEDOUT;
        int rc = fiber_sleep(clock_now() + LOOK_MS * NS_PER_MS);
        if (rc < 0)
            return rc;
        pthread_mutex_lock(&k->lock);
        waits = k->is_fetching && k->n_fetches == before;
        pthread_mutex_unlock(&k->lock);
    }
    return 0;
}

static bool token_line(struct credential *k, struct buf *out)
{
    buf_str(out, S("authorization: Bearer "));
    buf_str(out, str_of(k->token));
    buf_str(out, S("\r\n"));
    return true;
}

static WAITS int token_lines(struct credential *k, struct loop *l, uint64_t deadline, struct buf *out, struct err *e)
{
    pthread_mutex_lock(&k->lock);
    bool has = has_token(k) && token_line(k, out);
    if (has && clock_now() >= k->renew_at && fiber_self())
        fetch_start(k, l);                          /* behind the request's back */
    pthread_mutex_unlock(&k->lock);
    if (has)
        return 0;
    int rc = fetch_wait(k, l, deadline);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&k->lock);
    has = (has_token(k) || has_fresh_token(k)) && token_line(k, out);
    if (!has)
        err_set(e, "%s", k->trouble[0] ? k->trouble : "no token could be fetched");
    pthread_mutex_unlock(&k->lock);
    return has ? 0 : -1;
}

/* ---- signing ---- */

static int sigv4_lines(const struct credential *k, const struct signing *s, struct buf *out, struct err *e)
{
    char date[SIGV4_DATE + 1];
    sigv4_date(s->wall_ns / NS_PER_S, date);
    str region = first_of(sigv4_region_of_host(s->host), k->region);   /* the one that answers, not the one that was meant */
    if (!region.len)
        return err_set(e, "the AWS region is unknown: set region, or a host like bedrock-runtime.us-east-1.amazonaws.com");
    struct sigv4_header headers[] = {
        { S("host"), s->host }, { S("x-amz-date"), { date, SIGV4_DATE } }, { S("x-amz-security-token"), k->keys.session_token },
    };
    struct sigv4_request r = { .method = s->method, .path = s->path, .query = s->query, .headers = headers,
                               .n_headers = k->keys.session_token.len ? 3 : 2, .body = s->body };
    buf_printf(out, "x-amz-date: %s\r\n", date);
    if (k->keys.session_token.len) {
        buf_str(out, S("x-amz-security-token: "));
        buf_str(out, k->keys.session_token);
        buf_str(out, S("\r\n"));
    }
    buf_str(out, S("authorization: "));
    sigv4_authorization(&k->keys, date, region, S("bedrock"), &r, out);
    buf_str(out, S("\r\n"));
    return 0;
}

WAITS int credential_lines(struct credential *c, struct loop *l, const struct signing *s, uint64_t deadline, struct buf *out,
                           struct err *e)
{
    switch (c->source) {
    case SOURCE_LINE:
        buf_str(out, c->line);
        return 0;
    case SOURCE_NOTHING:
        return err_set(e, "%s", c->trouble);
    case SOURCE_SIGV4:
        return sigv4_lines(c, s, out, e);
    default:
        return token_lines(c, l, deadline, out, e);
    }
}
