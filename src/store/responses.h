/* store/responses.h -- answers that a client may come back to: responses and conversations of the Responses API.
 *
 * Everything belongs to an owner, a text that the caller chooses (a key, a user, a tenant): an id in another hand is an id that
 * does not exist. Ids are 128 random bits besides, but nothing relies on that. A response keeps its object, which is told again
 * as it was, and its items (what the request brought, what the model answered) one by one, so that a later request can take them
 * as history, name one of them, or page through them. A conversation is a list of items.
 *
 * A backend is a set of functions (response_store_ops); the one that is built is SQLite, in a file or in memory. */
#ifndef SBX_STORE_RESPONSES_H
#define SBX_STORE_RESPONSES_H

#include "base/err.h"
#include "runtime/fiber.h"

enum {
    STORED_HOPS_MAX = 1000,             /* of a chain of responses (VSR's bound); beyond: -ELOOP */
    STORED_ITEMS_MAX = 65536,           /* of a chain; beyond: -E2BIG */
    STORED_ID_MAX = 48,                 /* bytes of an id of ours */
    STORED_PAGE_MAX = 100,
};

struct response_store_conf {            /* services.response_api */
    str backend;                        /* memory, sqlite */
    str path;                           /* of the state file; memory: unused */
    int64_t ttl_s;                      /* 0: for ever */
    int64_t max_responses;              /* beyond: the oldest go; 0: no bound */
    int64_t max_bytes;                  /* the same for bytes of all responses */
    int64_t chain_bytes;                /* of one history; beyond: -E2BIG. 0: no bound */
};

struct stored_item { str id, json; bool is_output; };
struct stored_items { struct stored_item *items; size_t n; };

struct stored_response {
    str id, owner;
    str previous_id, conversation_id;   /* "" : none. A conversation gets the items, too */
    int64_t created, expires;           /* seconds since 1970; expires 0: by the store's ttl */
    str json;                           /* the response object */
    struct stored_items items;          /* on writing only */
};

struct stored_conversation { str id, owner, metadata; int64_t created; };   /* metadata: raw JSON object */

struct stored_page { str after; unsigned limit; bool is_descending, inputs_only; };

struct response_store;

/* NULL and a sentence in e: the file cannot be opened, is read-only, is no database; or the backend is unknown. */
struct response_store *response_store_open(const struct response_store_conf *c, struct err *e);
void response_store_close(struct response_store *s);        /* NULL is fine */

/* "resp_" and 32 hexadecimal digits of the system's randomness; conv_, msg_, ... alike. */
str  stored_id(char out[STORED_ID_MAX], const char *prefix);

/* All wait, at most until the deadline; on a plain thread they block. 0; -ENOENT: there is no such thing, or it is another
 * owner's, or it has expired; -EEXIST: another owner has this id; -ETIMEDOUT, -ECANCELED; -EAGAIN: too much waits; -EIO: *e says
 * what the file said (e may be NULL). Texts are in `a`. `now`: seconds since 1970. */
WAITS int response_store_put(struct response_store *s, const struct stored_response *r, int64_t now, uint64_t deadline,
                             struct err *e);
WAITS int response_store_get(struct response_store *s, str owner, str id, int64_t now, struct arena *a,
                             struct stored_response *out,
                             uint64_t deadline, struct err *e);
WAITS int response_store_delete(struct response_store *s, str owner, str id, int64_t now, uint64_t deadline, struct err *e);
/* The items of a response and of all before it, or of a conversation, oldest first. -ELOOP, -E2BIG: bounds. */
WAITS int response_store_chain(struct response_store *s, str owner, str id, int64_t now, struct arena *a,
                               struct stored_items *out,
                               uint64_t deadline, struct err *e);
/* One item by its id, the newest of that name. */
WAITS int response_store_item(struct response_store *s, str owner, str id, int64_t now, struct arena *a, str *json,
                              uint64_t deadline, struct err *e);
/* Items of a response or conversation, a page of them; -EINVAL: there is no item called `after`. */
WAITS int response_store_page(struct response_store *s, str owner, str parent, const struct stored_page *p, int64_t now,
                              struct arena *a, struct stored_items *out, bool *has_more, uint64_t deadline, struct err *e);

WAITS int conversation_put(struct response_store *s, const struct stored_conversation *c, int64_t now, uint64_t deadline,
                           struct err *e);                  /* makes it, or changes its metadata */
WAITS int conversation_get(struct response_store *s, str owner, str id, int64_t now, struct arena *a,
                           struct stored_conversation *out, uint64_t deadline, struct err *e);
WAITS int conversation_delete(struct response_store *s, str owner, str id, int64_t now, uint64_t deadline, struct err *e);
WAITS int conversation_append(struct response_store *s, str owner, str id, const struct stored_items *items, int64_t now,
                              uint64_t deadline, struct err *e);
WAITS int conversation_drop(struct response_store *s, str owner, str id, str item, int64_t now, uint64_t deadline, struct err *e);

/* ---- a backend ---- */

enum store_verb {
    STORE_PUT, STORE_GET, STORE_DELETE, STORE_CHAIN, STORE_ITEM, STORE_PAGE, STORE_CONVERSATION_PUT, STORE_CONVERSATION_GET,
    STORE_CONVERSATION_DELETE, STORE_APPEND, STORE_DROP, STORE_VERBS
};

struct store_call {                     /* one operation: its arguments and results, all in its own arena */
    enum store_verb verb;
    struct arena *a;
    str owner, id, item;
    int64_t now;
    struct stored_response response;
    struct stored_conversation conversation;
    struct stored_items items;
    struct stored_page page;
    bool has_more;
    str json;
    struct err err;
};

struct response_store_ops {
    const char *name;
    void *(*open)(const struct response_store_conf *c, struct err *e);
    void (*close)(void *backend);
    /* Runs the call. Takes the arena with it when it leaves early (-ETIMEDOUT, -ECANCELED, -EAGAIN): *is_gone. */
    WAITS int (*run)(void *backend, struct store_call *call, uint64_t deadline, bool *is_gone);
};

extern const struct response_store_ops response_store_sqlite;

#endif
