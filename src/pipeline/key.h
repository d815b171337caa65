/* pipeline/key.h -- who is asking: virtual keys, tokens of an identity provider, headers of a trusted proxy.
 *
 * Keys come from the configuration and from the management API. What is kept of a secret is its SHA-256 (HMAC-SHA-256 when
 * there is a pepper file); a secret is long and random, so a slow hash would buy nothing. A record never changes: a change
 * makes a new one and swaps it in; requests hold the one that they came in with. */
#ifndef SBX_KEY_H
#define SBX_KEY_H

#include <stdatomic.h>

#include "base/map.h"
#include "config/config.h"
#include "pipeline/limit.h"
#include "runtime/fiber.h"

struct req;
struct snap;

enum { KEY_SECRET_MAX = 512, KEY_ID_MAX = 64, KEY_HASH = 32 };

enum caller_kind { CALLER_ANONYMOUS, CALLER_LISTENER_KEY, CALLER_KEY, CALLER_TOKEN };

struct key {                            /* immutable but for `refs` and `used_at` */
    const struct key_conf *conf;        /* secrets removed */
    struct arena *a;                    /* of a record made at run time; NULL: the snapshot's */
    uint8_t hash[KEY_HASH], previous[KEY_HASH];
    bool has_previous, is_runtime;
    str body;                           /* run time: its JSON, as the ledger has it */
    int64_t previous_until, expires, created;       /* seconds since 1970; 0: never, unknown */
    struct limit_rule *rules; unsigned n_rules;     /* its own limits and budget */
    atomic_uint refs;
    _Atomic int64_t used_at;            /* seconds since 1970; 0: not since the start */
};

struct caller {
    enum caller_kind kind;
    str key_id;                         /* "" none; a token's: "iss:sub" is not a key, so also "" */
    str user, team, project, role;
    str *groups; uint32_t n_groups;
    const struct strings *models, *entrypoints;     /* globs; NULL or empty: all */
    const struct key *key;              /* NULL: none; held until the request's arena goes */
    bool is_trusted_peer;
};

/* After the head: sets r->caller (never NULL then), or fails 401 / 503. Listener keys as before. Waits only when an issuer's
 * keys have to be fetched. */
WAITS int key_admit(struct req *r);
/* A header by which clients send their key: authorization, x-api-key, api-key, x-goog-api-key. Never forwarded. */
bool key_is_header(str name);
/* Instead of route.c's identity_read: facts.user_id, groups, has_identity, from the caller or, where the peer may vouch for
 * others, from the identity headers. Works without a caller (command line). */
void key_identity(struct req *r);
/* After routing: may this caller use what it asked for? Takes models that its key excludes out of r->order. 0, or fails
 * 403. Called by limit_admit. */
int key_permits(struct req *r);

/* ---- the set of keys ---- */

struct keyring;                         /* of a snapshot: configured keys, issuers, trusted peers */
struct keyring *keyring_build(struct arena *a, const struct config *c, struct findings *out);
const struct map *keyring_map(const struct keyring *ring);      /* id -> struct key, of the configuration */

/* Keys made at run time: process life. Every change is committed before these return; they block (offload). */
struct key_secret { char text[KEY_ID_MAX + 80]; };  /* "sbx-<id>-<secret>", shown once */
int  keys_load(struct err *e);                      /* from the ledger */
void keys_forget(void);                             /* tests: nobody may hold one */
/* body: a map of key_fields. 0; -1: *e; -EEXIST. The secret goes to *secret. */
int  keys_create(const struct value *body, struct key_secret *secret, struct err *e);
int  keys_change(str id, const struct value *patch, struct err *e);     /* -ENOENT: not a run-time key */
int  keys_rotate(str id, uint64_t grace_ns, struct key_secret *secret, struct err *e);
int  keys_delete(str id, struct err *e);
/* One key, or all when id is "", as JSON objects in an array, without secrets. False: no such key. */
struct json_writer;
bool keys_write(str id, const struct snap *s, struct json_writer *w);

#endif
