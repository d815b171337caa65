/* pipeline/key.c
 *
 * Read key_admit: what a client sends is one of the listener's keys, a virtual key (sbx-<id>-<secret>), or a token of an
 * issuer, tried in that order; anything else is nobody, and whether nobody may come in is the configuration's word. */
#include "pipeline/key.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/hex.h"
#include "base/json.h"
#include "base/map.h"
#include "base/put.h"
#include "front/server.h"
#include "pipeline/budget.h"
#include "pipeline/meter.h"
#include "pipeline/req.h"
#include "pipeline/snap.h"
#include "provider/jwks.h"
#include "store/ledger.h"

enum {
    PEPPER_MAX = 4096,
    SECRET_CHARS = 43,              /* of 62: 256 bits */
    ID_CHARS = 10,                  /* of ids made here */
    CHAINS = 1 << 14,
    KEYS_MAX = 1 << 20,             /* made at run time */
    TOKENS_KEPT = 2048,             /* verified ones, so that a signature is checked once and not for every request */
};

static const char PREFIX[] = "sbx-";

struct issuer {
    const struct issuer_conf *conf;
    struct jwt_terms terms;
    struct jwks *fixed;             /* of the configuration; NULL: source */
    struct jwks_source *source;
};

struct keyring {
    struct map keys;                /* id -> struct key */
    struct issuer *issuers; unsigned n_issuers;
    struct cidr *trusted; unsigned n_trusted;
    bool is_required;
    uint64_t id;                    /* unique: what was verified under another configuration does not count */
};

static str pepper;                  /* of the first configuration; process life */

/* ---- secrets ---- */

/* Looking an algorithm up by name takes OpenSSL 3 longer than hashing a key: once is enough. */
static const EVP_MD *sha256(void)
{
    static _Atomic(EVP_MD *) found;
    EVP_MD *md = atomic_load_explicit(&found, memory_order_acquire);
    if (!md) {
        EVP_MD *mine = EVP_MD_fetch(NULL, "SHA256", NULL);
        if (atomic_compare_exchange_strong(&found, &md, mine))
            md = mine;
        else
            EVP_MD_free(mine);
    }
    return md;
}

static void secret_hash(str secret, uint8_t out[KEY_HASH])
{
    unsigned n = KEY_HASH;
    const void *bytes = secret.len ? secret.ptr : "";
    memset(out, 0xff, KEY_HASH);                /* should OpenSSL fail: nobody's hash */
    if (pepper.len)
        HMAC(sha256(), pepper.ptr, (int)pepper.len, bytes, secret.len, out, &n);
    else
        EVP_Digest(bytes, secret.len, out, &n, sha256(), NULL);
}

static str hex_of(struct arena *a, const uint8_t hash[KEY_HASH])
{
    char *text = arena_alloc(a, 2 * KEY_HASH);
    hex_write(text, hash, KEY_HASH);
    return (str){ text, 2 * KEY_HASH };
}

/* Letters and digits from the kernel's chance; 62 does not divide 256, so large bytes are thrown away. */
static bool random_text(char *to, unsigned n)
{
    unsigned char bytes[64];
    for (unsigned i = 0; i < n; ) {
        if (RAND_bytes(bytes, sizeof bytes) != 1)
            return false;
        for (size_t k = 0; k < sizeof bytes && i < n; k++)
            if (bytes[k] < 248)
                to[i++] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[bytes[k] % 62];
    }
    to[n] = 0;
    return true;
}

/* "sbx-ann-s3cret" -> "ann", "s3cret". Ids have no dash. */
static bool key_split(str text, str *id, str *secret)
{
    if (!str_starts(text, S("sbx-")) || text.len > KEY_SECRET_MAX)
        return false;
    str rest = str_from(text, sizeof PREFIX - 1);
    long dash = str_chr(rest, '-');
    if (dash <= 0 || dash > KEY_ID_MAX)
        return false;
    *id = str_upto(rest, (size_t)dash);
    *secret = str_from(rest, (size_t)dash + 1);
    return secret->len > 0;
}

static int pepper_load(const struct config *c, struct err *e)
{
    static char bytes[PEPPER_MAX];
    char path[4096];
    if (c->tenancy.identity.pepper_file.len == 0 || pepper.len)
        return 0;
    snprintf(path, sizeof path, STR_FMT, STR_ARG(c->tenancy.identity.pepper_file));
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(bytes, 1, sizeof bytes, f) : 0;
    if (f)
        fclose(f);
    pepper = str_trim((str){ bytes, n });
    return pepper.len >= 16 ? 0 : err_set(e, "%s: a pepper is a file with at least 16 bytes", path);
}

/* ---- records ---- */

static bool key_compile(struct arena *a, struct key_conf *c, struct key *k, struct err *e)
{
    k->conf = c;
    k->a = NULL;
    date_parse(c->expires, &k->expires);
    date_parse(c->created, &k->created);
    if (c->secret_sha256.len) {
        if (!hex_read(c->secret_sha256, k->hash, KEY_HASH))
            return err_set(e, "secret_sha256: 64 hex digits are needed") == 0;
    } else {
        str id, secret;
        bool is_whole = key_split(c->secret, &id, &secret) && str_eq(id, c->id);
        secret_hash(is_whole ? secret : c->secret, k->hash);
        if (c->secret.len == 0)                 /* an unset variable: nobody has this secret */
            memset(k->hash, 0, sizeof k->hash);
    }
    if (c->previous_sha256.len) {
        if (!hex_read(c->previous_sha256, k->previous, KEY_HASH))
            return err_set(e, "previous_sha256: 64 hex digits are needed") == 0;
        k->has_previous = date_parse(c->previous_until, &k->previous_until);
    }
    c->secret = S("");
    limit_rules_of_key(a, c, &k->rules, &k->n_rules);
    return true;
}

static void set_drop(void *set)
{
    jwks_drop(set);
}

struct keyring *keyring_build(struct arena *a, const struct config *c, struct findings *out)
{
    static atomic_ullong ids;
    const struct identity_conf *conf = &c->tenancy.identity;
    struct keyring *ring = ARENA_NEW(a, struct keyring);
    struct err e = { 0 };
    ring->keys.a = a;
    ring->id = atomic_fetch_add(&ids, 1) + 1;
    if (pepper_load(c, &e) < 0)
        finding_add(out, "unreadable", SEVERITY_ERROR, (struct place){ 0 }, S("global.identity.pepper_file"), S(""), "%s",
                    e.text);
    for (size_t i = 0; i < conf->n_keys; i++) {
        struct key *k = ARENA_NEW(a, struct key);
        struct key_conf *copy = ARENA_NEW(a, struct key_conf);
        *copy = conf->keys[i];
        e = (struct err){ 0 };
        if (!key_compile(a, copy, k, &e))
            finding_add(out, "bad-value", SEVERITY_ERROR, copy->at, arena_printf(a, "global.identity.keys[%zu]", i), S(""), "%s",
                        e.text);
        map_put(&ring->keys, copy->id, k);
    }
    ring->issuers = ARENA_ARRAY(a, struct issuer, conf->n_issuers);
    for (size_t i = 0; i < conf->n_issuers; i++) {
        const struct issuer_conf *from = &conf->issuers[i];
        struct issuer *to = &ring->issuers[ring->n_issuers++];
        e = (struct err){ 0 };
        *to = (struct issuer){ from, { from->issuer, &from->audience, &from->algorithms, (int64_t)(from->leeway_ns / NS_PER_S) },
                               NULL, NULL };
        if (from->jwks_url.len) {
            to->source = jwks_source_get(from->jwks_url, &e);
        } else {
            struct buf text = { 0 };
            if (from->jwks_file.len) {
                struct err why = { 0 };
                if (file_read(arena_cstr(a, from->jwks_file), JWKS_BYTES_MAX, &text, &why) < 0)
                    err_set(&e, "jwks_file cannot be read: %s", why.text);
            } else {
                buf_str(&text, from->jwks);
            }
            to->fixed = e.text[0] ? NULL : jwks_parse(buf_view(&text), &e);
            buf_free(&text);
            if (to->fixed)
                arena_defer(a, set_drop, to->fixed);
        }
        if (!to->fixed && !to->source)
            finding_add(out, "bad-value", SEVERITY_ERROR, from->at, arena_printf(a, "global.identity.issuers[%zu]", i), S(""),
                        "%s", e.text);
    }
    ring->trusted = ARENA_ARRAY(a, struct cidr, conf->trusted_peers.n);
    for (size_t i = 0; i < conf->trusted_peers.n; i++)
        ring->n_trusted += cidr_parse(conf->trusted_peers.items[i], &ring->trusted[ring->n_trusted]);
    ring->is_required = str_eq(conf->require_key, S("always"))
                        || (!str_eq(conf->require_key, S("never")) && (conf->n_keys || conf->n_issuers));
    return ring;
}

const struct map *keyring_map(const struct keyring *ring)
{
    return &ring->keys;
}

/* ---- keys made at run time ---- */

struct entry { struct entry *next; struct key *key; };

static pthread_rwlock_t table_lock = PTHREAD_RWLOCK_INITIALIZER;
static struct entry *table[CHAINS];             /* table_lock */
static atomic_uint n_made;
static pthread_mutex_t change_lock = PTHREAD_MUTEX_INITIALIZER;     /* one change at a time; never taken on a loop */

static void key_drop(void *arg)
{
    struct key *k = arg;
    if (atomic_fetch_sub(&k->refs, 1) == 1)
        arena_free(k->a);
}

static struct entry **place_of(str id)
{
    struct entry **at = &table[hash_str(id) % CHAINS];
    while (*at && !str_eq((*at)->key->conf->id, id))
        at = &(*at)->next;
    return at;
}

static struct key *made_find(str id)            /* held; NULL */
{
    if (!atomic_load_explicit(&n_made, memory_order_relaxed))
        return NULL;
    pthread_rwlock_rdlock(&table_lock);
    struct entry *at = *place_of(id);
    struct key *k = at ? at->key : NULL;
    if (k)
        atomic_fetch_add(&k->refs, 1);
    pthread_rwlock_unlock(&table_lock);
    return k;
}

/* Puts a record in the place of the one with its id; k NULL: takes that one out. */
static bool made_set(str id, struct key *k)
{
    struct key *old = NULL;
    bool ok = true;
    pthread_rwlock_wrlock(&table_lock);
    struct entry **at = place_of(id), *had = *at;
    if (had) {
        old = had->key;
        if (k) {
            had->key = k;
        } else {
            *at = had->next;
            free(had);
            atomic_fetch_sub(&n_made, 1);
        }
    } else if (k) {
        struct entry *new = atomic_load(&n_made) < KEYS_MAX ? malloc(sizeof *new) : NULL;
        ok = new != NULL;
        if (ok) {
            *new = (struct entry){ NULL, k };
            *at = new;
            atomic_fetch_add(&n_made, 1);
        }
    }
    pthread_rwlock_unlock(&table_lock);
    if (old)
        key_drop(old);
    return ok;
}

/* A record from its JSON, as the ledger has it. Reference 1; NULL and *e. */
static struct key *key_read(str body, struct err *e)
{
    struct arena *a = arena_new();
    if (!a) {
        err_set(e, "out of memory");
        return NULL;
    }
    struct key *k = ARENA_NEW(a, struct key);
    struct key_conf *c = ARENA_NEW(a, struct key_conf);
    struct findings found = { .a = a };
    const struct value *v = yaml_parse(a, arena_str(a, body), "key", e);
    bool ok = v && v->kind == VALUE_MAP && field_decode(a, &key_fields, v, S(""), c, &found);
    for (size_t i = 0; i < found.n; i++)        /* a typo must not make a key without limits */
        if (found.items[i].severity != SEVERITY_INFO) {
            ok = false;
            err_set(e, "%s%s" STR_FMT, found.items[i].path.len ? arena_cstr(a, found.items[i].path) : "",
                    found.items[i].path.len ? ": " : "", STR_ARG(found.items[i].text));
        }
    if (v && !ok)
        err_set(e, "a key is an object");
    if (!ok || !key_conf_check(c, e) || !key_compile(a, c, k, e)) {
        arena_free(a);
        return NULL;
    }
    k->a = a;
    k->is_runtime = true;
    k->body = arena_str(a, body);
    atomic_init(&k->refs, 1);
    return k;
}

struct loading_keys { size_t bad; struct err first; };

static void key_load(void *arg, str id, str body)
{
    struct loading_keys *l = arg;
    struct err e = { 0 };
    struct key *k = key_read(body, &e);
    if (k && made_set(id, k))
        return;
    if (k)
        key_drop(k);
    l->bad++;
    err_set(&l->first, "key " STR_FMT " of the state file: %s", STR_ARG(str_upto(id, 80)), e.text[0] ? e.text : "no room");
}

int keys_load(struct err *e)
{
    struct loading_keys l = { 0 };
    if (ledger_records(books(), S("key"), key_load, &l) < 0)
        return err_set(e, "the state file could not be read");
    return l.bad ? err_set(e, "%s", l.first.text) : 0;
}

static str keep_body(struct arena *a, const struct value *v)
{
    struct buf json = { 0 };
    value_to_json(v, &json);
    return buf_to_arena(&json, a);
}

/* Checks, commits, swaps in. */
static int key_put(struct arena *a, const struct value *v, struct err *e)
{
    str body = keep_body(a, v);
    struct key *k = key_read(body, e);
    if (!k)
        return -1;
    if (ledger_put(books(), S("key"), k->conf->id, body) < 0) {
        key_drop(k);
        return err_set(e, "the state file could not be written");
    }
    if (made_set(k->conf->id, k))
        return 0;
    key_drop(k);
    return err_set(e, "more than %d keys", KEYS_MAX);
}

static struct value *quoted(struct arena *a, str text)
{
    struct value *v = value_scalar(a, text);
    v->is_quoted = true;
    return v;
}

static str now_text(struct arena *a, int64_t more_s)
{
    char time[32];
    size_t n = clock_iso(clock_wall() + (uint64_t)more_s * NS_PER_S, time);
    return arena_str(a, (str){ time, n });
}

static bool secret_make(str id, struct key_secret *out, uint8_t hash[KEY_HASH])
{
    char secret[SECRET_CHARS + 1];
    if (!random_text(secret, SECRET_CHARS))
        return false;
    snprintf(out->text, sizeof out->text, "%s" STR_FMT "-%s", PREFIX, STR_ARG(id), secret);
    secret_hash(str_of(secret), hash);
    OPENSSL_cleanse(secret, sizeof secret);
    return true;
}

/* Members that only we write. */
static bool has_reserved(const struct value *body, struct err *e)
{
    static const str names[] = { { "secret", 6 }, { "secret_env", 10 }, { "secret_sha256", 13 }, { "previous_sha256", 15 },
                                 { "previous_until", 14 }, { "created", 7 } };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (value_get(body, names[i])) {
            err_set(e, STR_FMT ": is set by the gateway", STR_ARG(names[i]));
            return true;
        }
    return false;
}

static int create(struct arena *a, const struct value *body, struct key_secret *secret, struct err *e)
{
    uint8_t hash[KEY_HASH];
    char made[ID_CHARS + 1];
    if (!body || body->kind != VALUE_MAP)
        return err_set(e, "a key is an object; {} will do");
    if (has_reserved(body, e))
        return -1;
    struct value *v = value_map(a);
    const struct value *given = value_get(body, S("id"));
    str id = given ? given->text : S("");
    if (id.len == 0) {
        if (!random_text(made, ID_CHARS))
            return err_set(e, "no random numbers");
        id = arena_str(a, str_of(made));
    }
    struct key_conf probe = { .id = id };
    if (!key_conf_check(&probe, e))
        return -1;
    struct key *other = made_find(id);
    if (other) {
        key_drop(other);
        return -EEXIST;
    }
    for (size_t i = 0; i < body->n_pairs; i++)
        value_set(a, v, body->pairs[i].key, body->pairs[i].value);
    value_set(a, v, S("id"), quoted(a, id));
    value_set(a, v, S("created"), quoted(a, now_text(a, 0)));
    if (!secret_make(id, secret, hash))
        return err_set(e, "no random numbers");
    value_set(a, v, S("secret_sha256"), quoted(a, hex_of(a, hash)));
    return key_put(a, v, e);
}

/* The stored tree of a run-time key, to be changed; NULL: there is none. */
static struct value *stored(struct arena *a, str id)
{
    struct key *k = made_find(id);
    if (!k)
        return NULL;
    struct value *v = yaml_parse(a, arena_str(a, k->body), "key", NULL);
    key_drop(k);
    return v;
}

static struct value *without(struct arena *a, const struct value *map, str key)
{
    struct value *v = value_map(a);
    for (size_t i = 0; i < map->n_pairs; i++)
        if (!str_eq(map->pairs[i].key, key))
            value_set(a, v, map->pairs[i].key, map->pairs[i].value);
    return v;
}

/* RFC 7396: objects are merged, null takes a member away. */
static struct value *merged(struct arena *a, struct value *v, const struct value *patch)
{
    for (size_t i = 0; i < patch->n_pairs; i++) {
        str key = patch->pairs[i].key;
        struct value *to = patch->pairs[i].value, *old = value_get(v, key);
        if (to->kind == VALUE_NULL)
            v = without(a, v, key);
        else if (to->kind == VALUE_MAP && old && old->kind == VALUE_MAP)
            value_set(a, v, key, merged(a, old, to));
        else
            value_set(a, v, key, to);
    }
    return v;
}

static int change(struct arena *a, str id, const struct value *patch, struct err *e)
{
    struct value *v = stored(a, id);
    if (!v)
        return -ENOENT;
    if (!patch || patch->kind != VALUE_MAP)
        return err_set(e, "a change is an object with the members that change");
    const struct value *given = value_get(patch, S("id"));
    if (given && !str_eq(given->text, id))
        return err_set(e, "id: a key keeps its id");
    return has_reserved(patch, e) ? -1 : key_put(a, merged(a, v, patch), e);
}

static int rotate(struct arena *a, str id, uint64_t grace_ns, struct key_secret *secret, struct err *e)
{
    uint8_t hash[KEY_HASH];
    struct value *v = stored(a, id);
    if (!v)
        return -ENOENT;
    const struct value *old = value_get(v, S("secret_sha256"));
    v = without(a, without(a, v, S("previous_sha256")), S("previous_until"));
    if (grace_ns && old) {
        value_set(a, v, S("previous_sha256"), quoted(a, old->text));
        value_set(a, v, S("previous_until"), quoted(a, now_text(a, (int64_t)(grace_ns / NS_PER_S))));
    }
    if (!secret_make(id, secret, hash))
        return err_set(e, "no random numbers");
    value_set(a, v, S("secret_sha256"), quoted(a, hex_of(a, hash)));
    return key_put(a, v, e);
}

int keys_create(const struct value *body, struct key_secret *secret, struct err *e)
{
    struct arena *a = arena_new();
    if (!a)
        return err_set(e, "out of memory");
    pthread_mutex_lock(&change_lock);
    int rc = create(a, body, secret, e);
    pthread_mutex_unlock(&change_lock);
    arena_free(a);
    return rc;
}

int keys_change(str id, const struct value *patch, struct err *e)
{
    struct arena *a = arena_new();
    if (!a)
        return err_set(e, "out of memory");
    pthread_mutex_lock(&change_lock);
    int rc = change(a, id, patch, e);
    pthread_mutex_unlock(&change_lock);
    arena_free(a);
    return rc;
}

int keys_rotate(str id, uint64_t grace_ns, struct key_secret *secret, struct err *e)
{
    struct arena *a = arena_new();
    if (!a)
        return err_set(e, "out of memory");
    pthread_mutex_lock(&change_lock);
    int rc = rotate(a, id, grace_ns, secret, e);
    pthread_mutex_unlock(&change_lock);
    arena_free(a);
    return rc;
}

int keys_delete(str id, struct err *e)
{
    pthread_mutex_lock(&change_lock);
    struct key *k = made_find(id);
    int rc = k ? ledger_remove(books(), S("key"), id) : -ENOENT;
    if (k)
        key_drop(k);
    if (rc == 0)
        made_set(id, NULL);
    else if (rc != -ENOENT)
        err_set(e, "the state file could not be written");
    pthread_mutex_unlock(&change_lock);
    return rc;
}

void keys_forget(void)
{
    for (size_t i = 0; i < CHAINS; i++)
        while (table[i])
            made_set(table[i]->key->conf->id, NULL);
}

/* ---- what clients send ---- */

static const str headers[] = { { "x-api-key", 9 }, { "api-key", 7 }, { "x-goog-api-key", 14 } };

bool key_is_header(str name)
{
    for (size_t i = 0; i < COUNT_OF(headers); i++)
        if (str_ieq(name, headers[i]))
            return true;
    return str_ieq(name, S("authorization"));
}

static str client_key(const struct req *r)
{
    str key = http_get(&r->head, S("authorization"));
    if (str_ieq(str_upto(key, 7), S("bearer ")))
        return str_trim(str_from(key, 7));
    for (size_t i = 0; i < COUNT_OF(headers); i++)
        if ((key = http_get(&r->head, headers[i])).len)
            return key;
    return r->head.query.len ? http_query_get(r->head.query, S("key"), r->a) : S("");
}

static int refused(struct req *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int refused(struct req *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    str text = arena_vprintf(r->a, format, args);
    va_end(args);
    return req_fail(r, 401, "invalid_request_error", "invalid_api_key", "api_key", STR_FMT, STR_ARG(text));
}

/* ---- virtual keys ---- */

static void caller_of_key(struct req *r, struct caller *c, struct key *k)
{
    const struct key_conf *conf = k->conf;
    *c = (struct caller){ .kind = CALLER_KEY, .key_id = conf->id, .user = conf->owner, .team = conf->team,
                          .project = conf->project, .role = conf->role, .models = &conf->models,
                          .entrypoints = &conf->entrypoints, .key = k };
    size_t n = conf->groups.n + (conf->role.len > 0);
    c->groups = ARENA_ARRAY(r->a, str, n);
    for (size_t i = 0; i < conf->groups.n; i++)
        c->groups[c->n_groups++] = conf->groups.items[i];
    if (conf->role.len)
        c->groups[c->n_groups++] = conf->role;
    r->caller = c;
}

static int key_check(struct req *r, struct caller *c, str text)
{
    static const uint8_t nobody[KEY_HASH];
    str id = S(""), secret = S("");
    bool is_key = key_split(text, &id, &secret);
    struct key *own = is_key ? map_get(&r->snap->keyring->keys, id) : NULL;     /* the file's word counts first */
    struct key *made = is_key && !own ? made_find(id) : NULL, *k = own ? own : made;
    int64_t now = (int64_t)(clock_wall() / NS_PER_S);
    uint8_t hash[KEY_HASH];
    if (made)
        arena_defer(r->a, key_drop, made);
    /* An unknown id costs what a known one does. */
    secret_hash(str_upto(secret, KEY_SECRET_MAX), hash);
    bool is_new = CRYPTO_memcmp(hash, k ? k->hash : nobody, KEY_HASH) == 0;
    bool is_old = CRYPTO_memcmp(hash, k ? k->previous : nobody, KEY_HASH) == 0 && k && k->has_previous && now < k->previous_until;
    if (!k || (!is_new && !is_old))
        return refused(r, "the API key is not known");
    if (k->conf->is_disabled)
        return refused(r, "the API key '" STR_FMT "' is disabled", STR_ARG(k->conf->id));
    if (k->expires && now >= k->expires)
        return refused(r, "the API key '" STR_FMT "' has expired", STR_ARG(k->conf->id));
    if (atomic_load_explicit(&k->used_at, memory_order_relaxed) != now)
        atomic_store_explicit(&k->used_at, now, memory_order_relaxed);
    caller_of_key(r, c, k);
    return 0;
}

/* ---- tokens ---- */

/* What was verified once, by the token's hash. One malloc each; its place decides what it replaces. */
struct verified {
    uint8_t hash[32];
    uint64_t ring;
    int64_t expires;
    unsigned issuer;
    uint32_t n_groups;
    str user, team, project, role;
    str *groups;
};

static pthread_mutex_t verified_lock = PTHREAD_MUTEX_INITIALIZER;
static struct verified *verified[TOKENS_KEPT];  /* verified_lock */

static str put(char **to, str s)
{
    str copy = { *to, s.len };
    if (s.len)
        memcpy(*to, s.ptr, s.len);
    *to += s.len;
    return copy;
}

static void verified_keep(const uint8_t hash[32], const struct keyring *ring, unsigned issuer, int64_t expires,
                          const struct caller *c)
{
    size_t bytes = sizeof(struct verified) + c->n_groups * sizeof(str) + c->user.len + c->team.len + c->project.len + c->role.len;
    for (uint32_t i = 0; i < c->n_groups; i++)
        bytes += c->groups[i].len;
    struct verified *v = malloc(bytes);
    if (!v)
        return;
    *v = (struct verified){ .ring = ring->id, .expires = expires, .issuer = issuer, .n_groups = c->n_groups,
                            .groups = (str *)(void *)(v + 1) };
    memcpy(v->hash, hash, sizeof v->hash);
    char *to = (char *)(v->groups + c->n_groups);
    for (uint32_t i = 0; i < c->n_groups; i++)
        v->groups[i] = put(&to, c->groups[i]);
    v->user = put(&to, c->user);
    v->team = put(&to, c->team);
    v->project = put(&to, c->project);
    v->role = put(&to, c->role);
    uint32_t place;
    memcpy(&place, hash, sizeof place);
    pthread_mutex_lock(&verified_lock);
    struct verified *old = verified[place % TOKENS_KEPT];
    verified[place % TOKENS_KEPT] = v;
    pthread_mutex_unlock(&verified_lock);
    free(old);
}

static bool verified_find(struct arena *a, const uint8_t hash[32], const struct keyring *ring, int64_t now, struct caller *c,
                          unsigned *issuer)
{
    uint32_t place;
    memcpy(&place, hash, sizeof place);
    pthread_mutex_lock(&verified_lock);
    const struct verified *v = verified[place % TOKENS_KEPT];
    bool is_hit = v && v->ring == ring->id && now < v->expires && memcmp(v->hash, hash, sizeof v->hash) == 0;
    if (is_hit) {
        *issuer = v->issuer;
        c->user = arena_str(a, v->user);
        c->team = arena_str(a, v->team);
        c->project = arena_str(a, v->project);
        c->role = arena_str(a, v->role);
        c->groups = ARENA_ARRAY(a, str, v->n_groups);
        for (c->n_groups = 0; c->n_groups < v->n_groups; c->n_groups++)
            c->groups[c->n_groups] = arena_str(a, v->groups[c->n_groups]);
    }
    pthread_mutex_unlock(&verified_lock);
    return is_hit;
}

static WAITS int token_verify(struct req *r, const struct jwt *t, const struct issuer *of, int64_t now, struct err *e)
{
    if (of->fixed)
        return jwt_check(r->a, t, of->fixed, &of->terms, now, e);
    struct jwks *set = jwks_present(of->source, r->loop, of->conf->refresh_ns);
    int rc = set ? jwt_check(r->a, t, set, &of->terms, now, e) : JWT_NO_KEY;
    jwks_drop(set);
    if (rc != JWT_NO_KEY)
        return rc;
    if (jwks_renew(of->source, r->loop, r->deadline ? r->deadline : NEVER)) {
        *e = (struct err){ 0 };
        struct jwks *newer = jwks_present(of->source, r->loop, of->conf->refresh_ns);
        rc = jwt_check(r->a, t, newer, &of->terms, now, e);
        jwks_drop(newer);
        return rc;
    }
    if (set)
        return rc;
    str why = jwks_trouble(of->source, r->a);
    req_fail(r, 503, "server_error", "issuer_unavailable", "issuer",
             "the keys of issuer '" STR_FMT "' could not be fetched%s" STR_FMT, STR_ARG(of->conf->issuer), why.len ? ": " : "",
             STR_ARG(why));
    r->fail.retry_after_ns = JWKS_AGAIN_S * NS_PER_S;
    return JWT_BAD;
}

static WAITS int token_check(struct req *r, struct caller *c, str text)
{
    const struct keyring *ring = r->snap->keyring;
    struct jwt t;
    struct err e = { 0 };
    int64_t now = (int64_t)(clock_wall() / NS_PER_S);
    uint8_t hash[32];
    unsigned i = 0;
    if (text.len > JWT_BYTES_MAX)
        return refused(r, "the token has more than %d bytes", JWT_BYTES_MAX);
    EVP_Digest(text.ptr, text.len, hash, NULL, sha256(), NULL);
    *c = (struct caller){ .kind = CALLER_TOKEN };
    if (!verified_find(r->a, hash, ring, now, c, &i)) {
        if (jwt_read(r->a, text, &t, &e) < 0)
            return refused(r, "%s", e.text);
        while (i < ring->n_issuers && !str_eq(ring->issuers[i].conf->issuer, t.issuer))
            i++;
        if (i == ring->n_issuers)
            return refused(r, "the token's issuer is not one that is accepted here");
        if (token_verify(r, &t, &ring->issuers[i], now, &e) != JWT_GOOD)
            return r->fail.status ? -1 : refused(r, "%s", e.text);
        const struct claims_conf *names = &ring->issuers[i].conf->claims;
        c->user = jwt_claim(r->a, &t, names->owner);
        c->team = jwt_claim(r->a, &t, names->team);
        c->project = jwt_claim(r->a, &t, names->project);
        c->role = jwt_claim(r->a, &t, names->role);
        jwt_claims(r->a, &t, names->groups, &c->groups, &c->n_groups);
        if (c->role.len)
            *PUSH(r->a, c->groups, c->n_groups) = c->role;
        verified_keep(hash, ring, i, jwt_expires(&t) + ring->issuers[i].terms.leeway_s, c);
    }
    c->models = &ring->issuers[i].conf->models;
    c->entrypoints = &ring->issuers[i].conf->entrypoints;
    r->caller = c;
    return 0;
}

/* ---- admission ---- */

/* The listener's own keys, as the configuration that opened or last changed it says. Constant time per key. */
static bool is_listed(const struct key_list *keys, str key)
{
    bool ok = false;
    for (size_t i = 0; i < keys->n; i++)
        ok |= key.len > 0 && key.len == keys->items[i].len && CRYPTO_memcmp(key.ptr, keys->items[i].ptr, key.len) == 0;
    return ok;
}

WAITS int key_admit(struct req *r)
{
    static struct caller anonymous = { .kind = CALLER_ANONYMOUS }, listed = { .kind = CALLER_LISTENER_KEY };   /* never written */
    const struct keyring *ring = r->snap->keyring;
    const struct key_list *keys = r->client ? r->client->listener->keys : NULL;
    str text = client_key(r);
    r->caller = &anonymous;
    if (keys && is_listed(keys, text)) {
        r->caller = &listed;
        return 0;
    }
    if (str_starts(text, S("sbx-")))
        return key_check(r, ARENA_NEW(r->a, struct caller), text);
    if (ring->n_issuers && jwt_looks_like(text))
        return token_check(r, ARENA_NEW(r->a, struct caller), text);
    if (keys)
        return refused(r, text.len ? "the API key is not one of this listener's" : "this listener needs an API key");
    if (ring->is_required)
        return refused(r, text.len ? "the API key is not known" : "an API key is needed: authorization: Bearer sbx-...");
    return 0;
}

/* ---- identity headers ---- */

static bool peer_is_trusted(const struct req *r)
{
    const struct keyring *ring = r->snap->keyring;
    uint8_t address[16] = { [10] = 0xff, [11] = 0xff };
    char host[64];
    struct endpoint peer;
    /* Nobody was declared: all are believed, as VSR does. The command line speaks for itself. */
    if (ring->n_trusted == 0 || !r->client)
        return true;
    if (!endpoint_parse((str){ r->client->peer, r->client->peer_len }, 0, &peer) || peer.host.len >= sizeof host)
        return false;
    memcpy(host, peer.host.ptr, peer.host.len);
    host[peer.host.len] = 0;
    if (inet_pton(AF_INET, host, address + 12) != 1 && inet_pton(AF_INET6, host, address) != 1)
        return false;
    for (unsigned i = 0; i < ring->n_trusted; i++)
        if (cidr_has(&ring->trusted[i], address))
            return true;
    return false;
}

void key_identity(struct req *r)
{
    const struct config *c = r->snap->config;
    struct facts *f = &r->facts;
    const struct caller *caller = r->caller;
    str user = str_trim(http_get(&r->head, c->user_id_header)), groups = http_get(&r->head, c->user_groups_header);
    str team = str_trim(http_get(&r->head, c->tenancy.identity.team_header));
    bool is_named = caller && caller->user.len > 0;     /* by a key or a token */
    bool speaks_for_others = (user.len || groups.len || team.len) && peer_is_trusted(r)
                             && (!is_named || r->snap->keyring->n_trusted);
    if (!speaks_for_others) {
        f->user_id = caller ? caller->user : S("");
        f->groups = caller ? caller->groups : NULL;
        f->n_groups = caller ? caller->n_groups : 0;
        f->has_identity = f->user_id.len > 0;
        return;
    }
    f->user_id = user.len || !caller ? user : caller->user;
    f->has_identity = f->user_id.len > 0;
    while (groups.len) {
        str one = str_trim(str_cut(&groups, ','));
        if (one.len)
            *PUSH(r->a, f->groups, f->n_groups) = one;
    }
    if (team.len && caller) {                   /* its limits and budgets count, too */
        struct caller *own = ARENA_NEW(r->a, struct caller);
        *own = *caller;
        own->team = team;
        own->is_trusted_peer = true;
        r->caller = own;
    }
}

/* ---- what a key may use ---- */

static bool any_matches(const struct strings *globs, str name)
{
    for (size_t i = 0; i < globs->n; i++)
        if (limit_glob(globs->items[i], name))
            return true;
    return false;
}

int key_permits(struct req *r)
{
    static const struct strings all;
    const struct caller *c = r->caller;
    const struct strings *models = c && c->models ? c->models : &all, *names = c && c->entrypoints ? c->entrypoints : &all;
    if (models->n == 0 && names->n == 0)
        return 0;
    bool may_ask = r->recipe ? names->n == 0 || any_matches(names, r->chat.model)
                             : models->n ? any_matches(models, r->chat.model) : false;
    if (!may_ask)
        return req_fail(r, 403, "permission_error", "model_not_allowed", "key_models",
                        "this API key may not use the model '" STR_FMT "'", STR_ARG(r->chat.model));
    unsigned n = 0, had = r->n_order;
    for (unsigned i = 0; models->n && i < r->n_order; i++) {
        if (!any_matches(models, r->order[i]->name))
            continue;
        r->order[n] = r->order[i];
        if (r->refs)
            r->refs[n] = r->refs[i];
        n++;
    }
    if (models->n)
        r->n_order = n;
    return had == 0 || r->n_order ? 0
         : req_fail(r, 403, "permission_error", "model_not_allowed", "key_models",
                    "'" STR_FMT "' leads to models that this API key may not use", STR_ARG(r->chat.model));
}

/* ---- telling ---- */

static void list_member(struct json_writer *w, const char *key, const struct strings *list)
{
    if (list->n)
        put_strs(w, str_of(key), list->items, list->n);
}

static void time_member(struct json_writer *w, const char *key, int64_t seconds)
{
    char time[32];
    if (seconds <= 0)
        return;
    size_t n = clock_iso((uint64_t)seconds * NS_PER_S, time);
    put_str(w, str_of(key), (str){ time, n });
}

static void spent_see(void *arg, str subject, int64_t spent, int64_t reserved)
{
    struct json_writer *w = arg;
    (void)subject;
    put_double(w, S("spent_usd"), (double)spent / 1e6);
    put_double(w, S("reserved_usd"), (double)reserved / 1e6);
}

static void limits_member(struct json_writer *w, const struct key *k)
{
    const struct rate_conf *c = &k->conf->limits;
    const struct { const char *key; int64_t value; } rates[] = {
        { "requests_per_minute", c->requests_per_minute }, { "tokens_per_minute", c->tokens_per_minute },
        { "input_tokens_per_minute", c->input_tokens_per_minute }, { "output_tokens_per_minute", c->output_tokens_per_minute },
        { "concurrent", c->concurrent },
    };
    put_open(w, S("limits"), '{');
    for (size_t i = 0; i < COUNT_OF(rates); i++)
        if (rates[i].value)
            put_int(w, str_of(rates[i].key), rates[i].value);
    jw_end(w, '}');
    for (unsigned i = 0; i < k->n_rules; i++) {
        const struct limit_rule *rule = &k->rules[i];
        if (!rule->has_money)
            continue;
        put_open(w, S("budget"), '{');
        put_double(w, S("amount_usd"), (double)rule->amount / 1e6);
        put_text(w, S("period"), str_of(period_name(rule->period)));
        put_text(w, S("on_budget"), rule->reroutes ? S("reroute") : S("refuse"));
        put_bool(w, S("hard"), rule->is_hard);
        meters_money(rule, (int64_t)(clock_wall() / NS_PER_S), spent_see, w);
        jw_end(w, '}');
    }
}

static void key_write(const struct key *k, struct json_writer *w)
{
    const struct key_conf *c = k->conf;
    jw_begin(w, '{');
    put_text(w, S("id"), c->id);
    put_text(w, S("source"), k->is_runtime ? S("api") : S("configuration"));
    put_text(w, S("description"), c->description);
    put_text(w, S("owner"), c->owner);
    put_text(w, S("team"), c->team);
    put_text(w, S("project"), c->project);
    put_text(w, S("role"), c->role);
    list_member(w, "groups", &c->groups);
    list_member(w, "models", &c->models);
    list_member(w, "entrypoints", &c->entrypoints);
    time_member(w, "created", k->created);
    time_member(w, "expires", k->expires);
    time_member(w, "previous_until", k->has_previous ? k->previous_until : 0);
    time_member(w, "last_used", atomic_load(&k->used_at));
    put_bool(w, S("disabled"), c->is_disabled);
    limits_member(w, k);
    jw_end(w, '}');
}

bool keys_write(str id, const struct snap *s, struct json_writer *w)
{
    const struct keyring *ring = s ? s->keyring : NULL;
    bool is_found = id.len == 0;
    for (size_t i = 0; ring && i < ring->keys.n; i++)
        if (id.len == 0 || str_eq(id, ring->keys.entries[i].key)) {
            key_write(ring->keys.entries[i].value, w);
            is_found = true;
        }
    if (id.len) {
        struct key *k = is_found ? NULL : made_find(id);
        if (k) {
            key_write(k, w);
            key_drop(k);
        }
        return is_found || k;
    }
    pthread_rwlock_rdlock(&table_lock);
    for (size_t i = 0; i < CHAINS; i++)
        for (const struct entry *at = table[i]; at; at = at->next)
            key_write(at->key, w);
    pthread_rwlock_unlock(&table_lock);
    return true;
}
