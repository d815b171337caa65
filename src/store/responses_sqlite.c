/* store/responses_sqlite.c -- responses and conversations in the state file, or in a database in memory.
 *
 * Writing goes to the file's writer thread and waits for the commit that it shares with others; reading, and writing in memory,
 * where a commit costs nothing, goes to an offload thread. What has expired is missing at once and deleted a little at a time, by
 * whoever writes. */
#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "runtime/loop.h"
#include "runtime/offload.h"
#include "store/responses.h"
#include "store/sqlite.h"

enum {
    SWEEP_ROWS = 32,                    /* expired ones deleted by one writing */
    COUNT_EVERY = 256,                  /* writings between two counts of everything: other processes write, too */
};

enum {
    RESPONSE_PUT, RESPONSE_GET, RESPONSE_LINK, RESPONSE_DELETE, RESPONSE_OWNED, RESPONSE_SWEEP, RESPONSE_OLDEST, RESPONSE_COUNT,
    CONVERSATION_PUT, CONVERSATION_GET, CONVERSATION_DELETE, CONVERSATION_TOUCH, CONVERSATION_SWEEP,
    ITEM_PUT, ITEM_LAST, ITEM_SEQ, ITEM_ALL, ITEM_UP, ITEM_DOWN, ITEM_GET, ITEM_DELETE, ITEMS_DELETE,
    CHANGE_BEGIN, CHANGE_UNDO, CHANGE_END,
};

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS response(n INTEGER PRIMARY KEY, id TEXT UNIQUE, owner TEXT, previous TEXT, conversation TEXT,"
    " created INTEGER, expires INTEGER, bytes INTEGER, body TEXT);"
    "CREATE INDEX IF NOT EXISTS response_expires ON response(expires);"
    "CREATE TABLE IF NOT EXISTS conversation(id TEXT PRIMARY KEY, owner TEXT, created INTEGER, expires INTEGER, metadata TEXT);"
    "CREATE TABLE IF NOT EXISTS item(parent TEXT, seq INTEGER, id TEXT, owner TEXT, is_output INTEGER, body TEXT,"
    " PRIMARY KEY(parent, seq));"
    "CREATE INDEX IF NOT EXISTS item_id ON item(id);"
    "CREATE TRIGGER IF NOT EXISTS response_gone AFTER DELETE ON response BEGIN DELETE FROM item WHERE parent=old.id; END;"
    "CREATE TRIGGER IF NOT EXISTS conversation_gone AFTER DELETE ON conversation"
    " BEGIN DELETE FROM item WHERE parent=old.id; END;";

#define ALIVE "(expires=0 OR expires>"
static const char *const statements[] = {
    [RESPONSE_PUT] = "INSERT INTO response(id,owner,previous,conversation,created,expires,bytes,body)"
                     " VALUES(?1,?2,?3,?4,?5,?6,?7,?8) ON CONFLICT(id) DO UPDATE"
                     " SET previous=excluded.previous, conversation=excluded.conversation,"
                     " created=excluded.created, expires=excluded.expires, bytes=excluded.bytes, body=excluded.body"
                     " WHERE owner=excluded.owner",
    [RESPONSE_GET] = "SELECT previous, conversation, created, expires, body FROM response"
                     " WHERE id=?1 AND owner=?2 AND " ALIVE "?3)",
    [RESPONSE_LINK] = "SELECT previous FROM response WHERE id=?1 AND owner=?2 AND " ALIVE "?3)",
    [RESPONSE_DELETE] = "DELETE FROM response WHERE id=?1 AND owner=?2 AND " ALIVE "?3)",
    [RESPONSE_OWNED] = "SELECT 1 FROM response WHERE id=?1 AND owner=?2 AND " ALIVE "?3) UNION ALL"
                       " SELECT 1 FROM conversation WHERE id=?1 AND owner=?2 AND " ALIVE "?3)",
    [RESPONSE_SWEEP] = "DELETE FROM response WHERE n IN (SELECT n FROM response WHERE expires>0 AND expires<=?1 LIMIT ?2)",
    [RESPONSE_OLDEST] = "SELECT id, owner, bytes FROM response ORDER BY n LIMIT 1",
    [RESPONSE_COUNT] = "SELECT count(*), coalesce(sum(bytes),0) FROM response",
    [CONVERSATION_PUT] = "INSERT INTO conversation VALUES(?1,?2,?3,?4,?5) ON CONFLICT(id) DO UPDATE"
                         " SET metadata=excluded.metadata, expires=excluded.expires WHERE owner=excluded.owner",
    [CONVERSATION_GET] = "SELECT created, metadata FROM conversation WHERE id=?1 AND owner=?2 AND " ALIVE "?3)",
    [CONVERSATION_DELETE] = "DELETE FROM conversation WHERE id=?1 AND owner=?2 AND " ALIVE "?3)",
    [CONVERSATION_TOUCH] = "UPDATE conversation SET expires=?4 WHERE id=?1 AND owner=?2 AND " ALIVE "?3)",
    [CONVERSATION_SWEEP] = "DELETE FROM conversation WHERE id IN"
                           " (SELECT id FROM conversation WHERE expires>0 AND expires<=?1 LIMIT ?2)",
    [ITEM_PUT] = "INSERT INTO item VALUES(?1,?2,?3,?4,?5,?6)",
    [ITEM_LAST] = "SELECT coalesce(max(seq),-1) FROM item WHERE parent=?1",
    [ITEM_SEQ] = "SELECT seq FROM item WHERE parent=?1 AND id=?2",
    [ITEM_ALL] = "SELECT id, is_output, body FROM item WHERE parent=?1 ORDER BY seq",
    [ITEM_UP] = "SELECT id, is_output, body FROM item WHERE parent=?1 AND seq>?2 AND is_output<=?3 ORDER BY seq LIMIT ?4",
    [ITEM_DOWN] = "SELECT id, is_output, body FROM item WHERE parent=?1 AND seq<?2 AND is_output<=?3 ORDER BY seq DESC LIMIT ?4",
    [ITEM_GET] = "SELECT body, parent FROM item WHERE id=?1 AND owner=?2 ORDER BY rowid DESC",
    [ITEM_DELETE] = "DELETE FROM item WHERE parent=?1 AND id=?2",
    [ITEMS_DELETE] = "DELETE FROM item WHERE parent=?1",
    [CHANGE_BEGIN] = "SAVEPOINT change", [CHANGE_UNDO] = "ROLLBACK TO change", [CHANGE_END] = "RELEASE change",
};
#undef ALIVE

static const struct sqlite_part part = { schema, statements, COUNT_OF(statements) };

struct backend {
    struct sqlite *file;
    int64_t ttl_s, max_responses, max_bytes, chain_bytes;
    atomic_uint holders;                /* the store and every call on its way */
    int64_t n, bytes;                   /* whose turn it is to write: responses in the file, as far as we know */
    unsigned until_count;               /* the same: writings until they are counted again */
};

struct op {                             /* a call on its way */
    struct sqlite_job job;
    struct backend *b;
    struct store_call *call;
    struct loop *loop;                  /* NULL: a plain thread waits */
    struct fiber *fiber;                /* loop thread only; NULL once the waiter has left */
    bool is_done;                       /* loop thread, or under plain_lock */
    int rc;
};

static pthread_mutex_t plain_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t plain_done = PTHREAD_COND_INITIALIZER;

#define OP_OF(job_) ((struct op *)(void *)((char *)(job_) - offsetof(struct op, job)))

/* ---- statements ---- */

struct run { struct backend *b; struct sqlite_conn *conn; struct store_call *c; };

static int broken(const struct run *r, sqlite3_stmt *st)
{
    if (st) {
        err_set(&r->c->err, "the state file could not be used: %s", sqlite3_errmsg(sqlite3_db_handle(st)));
        sqlite3_reset(st);
    } else {
        err_set(&r->c->err, "the state file could not be used");
    }
    return -EIO;
}

static sqlite3_stmt *prepared(const struct run *r, unsigned which, str one, str two)
{
    sqlite3_stmt *st = sqlite_statement(r->conn, &part, which);
    if (!st)
        return NULL;
    sqlite_bind_str(st, 1, one);
    if (sqlite3_bind_parameter_count(st) >= 2)
        sqlite_bind_str(st, 2, two);
    return st;
}

/* A statement about an id of an owner at a time. */
static sqlite3_stmt *about(const struct run *r, unsigned which, str id)
{
    sqlite3_stmt *st = prepared(r, which, id, r->c->owner);
    if (st)
        sqlite3_bind_int64(st, 3, r->c->now);
    return st;
}

/* Steps a statement that changes: the number of rows, or -EIO. */
static int change(const struct run *r, sqlite3_stmt *st)
{
    if (!st || sqlite3_step(st) != SQLITE_DONE)
        return broken(r, st);
    int n = sqlite3_changes(sqlite3_db_handle(st));
    sqlite3_reset(st);
    return n;
}

/* Steps a statement that finds one row: 1, 0, or -EIO. The row stays until the statement is reset. */
static int find(const struct run *r, sqlite3_stmt *st)
{
    int rc = st ? sqlite3_step(st) : SQLITE_ERROR;
    return rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : broken(r, st);
}

static str column(const struct run *r, sqlite3_stmt *st, int at)
{
    return arena_str(r->c->a, sqlite_column_str(st, at));
}

/* ---- reading ---- */

static int is_owned(const struct run *r, str id)
{
    sqlite3_stmt *st = about(r, RESPONSE_OWNED, id);
    int rc = find(r, st);
    if (rc >= 0)
        sqlite3_reset(st);
    return rc == 0 ? -ENOENT : rc < 0 ? rc : 0;
}

static int run_get(const struct run *r)
{
    struct stored_response *out = &r->c->response;
    sqlite3_stmt *st = about(r, RESPONSE_GET, r->c->id);
    int rc = find(r, st);
    if (rc == 1) {
        *out = (struct stored_response){ .id = r->c->id, .owner = r->c->owner, .previous_id = column(r, st, 0),
                                         .conversation_id = column(r, st, 1), .created = sqlite3_column_int64(st, 2),
                                         .expires = sqlite3_column_int64(st, 3), .json = column(r, st, 4) };
        sqlite3_reset(st);
    }
    return rc == 0 ? -ENOENT : rc < 0 ? rc : 0;
}

/* Adds the rows of a statement to the call's items, at most `most`. */
static int take_items(const struct run *r, sqlite3_stmt *st, size_t most, int64_t *bytes)
{
    struct stored_items *items = &r->c->items;
    int rc;
    while ((rc = find(r, st)) == 1) {
        struct stored_item item = { .id = column(r, st, 0), .is_output = sqlite3_column_int(st, 1) };
        *bytes += sqlite3_column_bytes(st, 2);
        if (items->n == most || (r->b->chain_bytes && *bytes > r->b->chain_bytes)) {
            sqlite3_reset(st);
            return -E2BIG;
        }
        item.json = column(r, st, 2);
        *PUSH(r->c->a, items->items, items->n) = item;
    }
    if (rc == 0)
        sqlite3_reset(st);
    return rc;
}

static int run_chain(const struct run *r)
{
    str *ids = NULL;
    size_t n = 0;
    int64_t bytes = 0;
    int rc;
    for (str id = r->c->id; id.len; ) {
        sqlite3_stmt *st = about(r, RESPONSE_LINK, id);
        if ((rc = find(r, st)) < 0)
            return rc;
        if (rc == 0 && (n || (rc = is_owned(r, id)) < 0))           /* a conversation is a chain of one */
            return n ? -ENOENT : rc;
        if (n > STORED_HOPS_MAX) {
            sqlite3_reset(st);
            return -ELOOP;
        }
        *PUSH(r->c->a, ids, n) = id;
        id = rc == 1 ? column(r, st, 0) : S("");
        sqlite3_reset(st);
    }
    while (n-- > 0)
        if ((rc = take_items(r, prepared(r, ITEM_ALL, ids[n], S("")), STORED_ITEMS_MAX, &bytes)) < 0)
            return rc;
    return 0;
}

/* The newest item of that name whose parent still lives. */
static int run_item(const struct run *r)
{
    sqlite3_stmt *st = prepared(r, ITEM_GET, r->c->id, r->c->owner);
    int rc;
    while ((rc = find(r, st)) == 1) {
        str parent = column(r, st, 1), body = column(r, st, 0);
        int owned = is_owned(r, parent);
        if (owned == -ENOENT)
            continue;
        sqlite3_reset(st);
        r->c->json = body;
        return owned;
    }
    if (rc == 0)
        sqlite3_reset(st);
    return rc == 0 ? -ENOENT : rc;
}

static int run_page(const struct run *r)
{
    const struct stored_page *p = &r->c->page;
    int64_t from = p->is_descending ? INT64_MAX : -1, bytes = 0;
    int rc = is_owned(r, r->c->id);
    if (rc < 0)
        return rc;
    if (p->after.len) {
        sqlite3_stmt *st = prepared(r, ITEM_SEQ, r->c->id, p->after);
        if ((rc = find(r, st)) <= 0)
            return rc == 0 ? -EINVAL : rc;
        from = sqlite3_column_int64(st, 0);
        sqlite3_reset(st);
    }
    sqlite3_stmt *st = prepared(r, p->is_descending ? ITEM_DOWN : ITEM_UP, r->c->id, S(""));
    if (!st)
        return broken(r, st);
    unsigned limit = p->limit && p->limit <= STORED_PAGE_MAX ? p->limit : STORED_PAGE_MAX;
    sqlite3_bind_int64(st, 2, from);
    sqlite3_bind_int(st, 3, p->inputs_only ? 0 : 1);
    sqlite3_bind_int64(st, 4, (int64_t)limit + 1);
    if ((rc = take_items(r, st, (size_t)limit + 1, &bytes)) < 0)
        return rc;
    r->c->has_more = r->c->items.n > limit;
    if (r->c->has_more)
        r->c->items.n = limit;
    return 0;
}

static int run_conversation_get(const struct run *r)
{
    sqlite3_stmt *st = about(r, CONVERSATION_GET, r->c->id);
    int rc = find(r, st);
    if (rc == 1) {
        r->c->conversation = (struct stored_conversation){ .id = r->c->id, .owner = r->c->owner,
                                                           .created = sqlite3_column_int64(st, 0), .metadata = column(r, st, 1) };
        sqlite3_reset(st);
    }
    return rc == 0 ? -ENOENT : rc < 0 ? rc : 0;
}

/* ---- writing ---- */

static int64_t expiry(const struct run *r)
{
    return r->b->ttl_s > 0 ? r->c->now + r->b->ttl_s : 0;
}

static int add_items(const struct run *r, str parent, int64_t seq)
{
    for (size_t i = 0; i < r->c->items.n; i++, seq++) {
        const struct stored_item *item = &r->c->items.items[i];
        sqlite3_stmt *st = prepared(r, ITEM_PUT, parent, S(""));
        if (!st)
            return broken(r, st);
        sqlite3_bind_int64(st, 2, seq);
        sqlite_bind_str(st, 3, item->id);
        sqlite_bind_str(st, 4, r->c->owner);
        sqlite3_bind_int(st, 5, item->is_output);
        sqlite_bind_str(st, 6, item->json);
        int rc = change(r, st);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Behind the items of a conversation, which lives on for it. */
static int append_items(const struct run *r, str conversation)
{
    sqlite3_stmt *st = about(r, CONVERSATION_TOUCH, conversation);
    if (!st)
        return broken(r, st);
    sqlite3_bind_int64(st, 4, expiry(r));
    int rc = change(r, st);
    if (rc <= 0)
        return rc == 0 ? -ENOENT : rc;
    st = prepared(r, ITEM_LAST, conversation, S(""));
    if ((rc = find(r, st)) < 0)
        return rc;
    int64_t last = sqlite3_column_int64(st, 0);
    sqlite3_reset(st);
    return add_items(r, conversation, last + 1);
}

static int count_all(const struct run *r)
{
    sqlite3_stmt *st = sqlite_statement(r->conn, &part, RESPONSE_COUNT);
    int rc = find(r, st);
    if (rc < 0)
        return rc;
    r->b->n = sqlite3_column_int64(st, 0);
    r->b->bytes = sqlite3_column_int64(st, 1);
    r->b->until_count = COUNT_EVERY;
    sqlite3_reset(st);
    return 0;
}

static int sweep(const struct run *r)
{
    static const unsigned which[] = { RESPONSE_SWEEP, CONVERSATION_SWEEP };
    for (size_t i = 0; i < COUNT_OF(which); i++) {
        sqlite3_stmt *st = sqlite_statement(r->conn, &part, which[i]);
        if (!st)
            return broken(r, st);
        sqlite3_bind_int64(st, 1, r->c->now);
        sqlite3_bind_int(st, 2, SWEEP_ROWS);
        int n = change(r, st);
        if (n < 0)
            return n;
        if (i == 0 && n > 0)
            r->b->until_count = 0;
    }
    return 0;
}

/* The oldest make room. The newest stays, however large. */
static int make_room(const struct run *r)
{
    struct backend *b = r->b;
    if (b->until_count == 0 || --b->until_count == 0) {
        int rc = count_all(r);
        if (rc < 0)
            return rc;
    }
    while (b->n > 1 && ((b->max_responses > 0 && b->n > b->max_responses) || (b->max_bytes > 0 && b->bytes > b->max_bytes))) {
        sqlite3_stmt *oldest = sqlite_statement(r->conn, &part, RESPONSE_OLDEST);
        int rc = find(r, oldest);
        if (rc <= 0)
            return rc;
        str id = column(r, oldest, 0), owner = column(r, oldest, 1);
        b->bytes -= sqlite3_column_int64(oldest, 2);
        b->n--;
        sqlite3_reset(oldest);
        sqlite3_stmt *st = prepared(r, RESPONSE_DELETE, id, owner);
        if (!st)
            return broken(r, st);
        sqlite3_bind_int64(st, 3, 0);
        if ((rc = change(r, st)) < 0)
            return rc;
        if (rc == 0)
            return count_all(r);
    }
    return 0;
}

static int run_put(const struct run *r)
{
    const struct stored_response *v = &r->c->response;
    int64_t bytes = (int64_t)v->json.len;
    for (size_t i = 0; i < r->c->items.n; i++)
        bytes += (int64_t)r->c->items.items[i].json.len;
    sqlite3_stmt *st = prepared(r, RESPONSE_PUT, r->c->id, r->c->owner);
    if (!st)
        return broken(r, st);
    sqlite_bind_str(st, 3, v->previous_id);
    sqlite_bind_str(st, 4, v->conversation_id);
    sqlite3_bind_int64(st, 5, v->created ? v->created : r->c->now);
    sqlite3_bind_int64(st, 6, v->expires ? v->expires : expiry(r));
    sqlite3_bind_int64(st, 7, bytes);
    sqlite_bind_str(st, 8, v->json);
    int rc = change(r, st);
    if (rc <= 0)
        return rc == 0 ? -EEXIST : rc;
    if ((rc = change(r, prepared(r, ITEMS_DELETE, r->c->id, S("")))) < 0 || (rc = add_items(r, r->c->id, 0)) < 0)
        return rc;
    if (v->conversation_id.len && (rc = append_items(r, v->conversation_id)) < 0)
        return rc;
    r->b->n++;
    r->b->bytes += bytes;
    if ((rc = sweep(r)) < 0)
        return rc;
    return make_room(r);
}

static int run_delete(const struct run *r)
{
    int rc = change(r, about(r, RESPONSE_DELETE, r->c->id));
    r->b->until_count = 0;
    return rc == 0 ? -ENOENT : rc < 0 ? rc : 0;
}

static int run_conversation_put(const struct run *r)
{
    const struct stored_conversation *v = &r->c->conversation;
    sqlite3_stmt *st = prepared(r, CONVERSATION_PUT, r->c->id, r->c->owner);
    if (!st)
        return broken(r, st);
    sqlite3_bind_int64(st, 3, v->created ? v->created : r->c->now);
    sqlite3_bind_int64(st, 4, expiry(r));
    sqlite_bind_str(st, 5, v->metadata.len ? v->metadata : S("{}"));
    int rc = change(r, st);
    return rc == 0 ? -EEXIST : rc < 0 ? rc : sweep(r);
}

static int run_conversation_delete(const struct run *r)
{
    int rc = change(r, about(r, CONVERSATION_DELETE, r->c->id));
    return rc == 0 ? -ENOENT : rc < 0 ? rc : 0;
}

static int run_append(const struct run *r)
{
    return append_items(r, r->c->id);
}

static int run_drop(const struct run *r)
{
    sqlite3_stmt *st = about(r, CONVERSATION_GET, r->c->id);
    int rc = find(r, st);
    if (rc <= 0)
        return rc == 0 ? -ENOENT : rc;
    sqlite3_reset(st);
    rc = change(r, prepared(r, ITEM_DELETE, r->c->id, r->c->item));
    return rc == 0 ? -ENOENT : rc < 0 ? rc : 0;
}

static const struct { bool writes; int (*run)(const struct run *r); } verbs[STORE_VERBS] = {
    [STORE_PUT] = { true, run_put }, [STORE_GET] = { false, run_get }, [STORE_DELETE] = { true, run_delete },
    [STORE_CHAIN] = { false, run_chain }, [STORE_ITEM] = { false, run_item }, [STORE_PAGE] = { false, run_page },
    [STORE_CONVERSATION_PUT] = { true, run_conversation_put }, [STORE_CONVERSATION_GET] = { false, run_conversation_get },
    [STORE_CONVERSATION_DELETE] = { true, run_conversation_delete }, [STORE_APPEND] = { true, run_append },
    [STORE_DROP] = { true, run_drop },
};

/* ---- waiting ---- */

static void backend_release(struct backend *b)
{
    if (atomic_fetch_sub(&b->holders, 1) > 1)
        return;
    sqlite_close(b->file);
    free(b);
}

static void op_end(struct op *o)                /* never on the writer's thread, which this may end */
{
    backend_release(o->b);
    free(o);
}

static void op_free(void *op)
{
    struct op *o = op;
    arena_free(o->call->a);
    op_end(o);
}

static void op_over(void *op)                   /* on the loop, or under plain_lock */
{
    struct op *o = op;
    o->is_done = true;
    if (!o->loop)
        return;
    if (o->fiber)
        fiber_wake(o->fiber);
    else
        op_free(o);
}

static int job_run(struct sqlite_conn *c, struct sqlite_job *job)
{
    struct op *o = OP_OF(job);
    struct run r = { o->b, c, o->call };
    int rc = verbs[o->call->verb].run(&r);
    if (rc < 0 && verbs[o->call->verb].writes)
        o->b->until_count = 0;                  /* what it had counted is undone */
    return rc;
}

static void job_done(struct sqlite_job *job, int rc)
{
    struct op *o = OP_OF(job);
    o->rc = rc;
    if (rc == -EIO) {
        err_set(&o->call->err, "the state file could not be written: the disk is full or the file is read-only");
        o->b->until_count = 0;
    }
    if (o->loop) {
        while (!loop_post(o->loop, op_over, o))
            ;                                   /* no memory for a letter: somebody is waiting for it */
        return;
    }
    pthread_mutex_lock(&plain_lock);
    op_over(o);
    pthread_cond_broadcast(&plain_done);
    pthread_mutex_unlock(&plain_lock);
}

static WAITS int write_wait(struct op *o, uint64_t deadline, bool *is_gone)
{
    int rc = 0;
    if (!sqlite_post(o->b->file, &o->job)) {
        op_end(o);
        return -EAGAIN;
    }
    if (!o->loop) {
        pthread_mutex_lock(&plain_lock);
        while (!o->is_done)
            pthread_cond_wait(&plain_done, &plain_lock);
        pthread_mutex_unlock(&plain_lock);
    }
    while (o->loop && !o->is_done && rc >= 0)
        rc = fiber_park(deadline);
    if (!o->is_done) {
        o->fiber = NULL;                        /* op_over frees */
        *is_gone = true;
        return rc;
    }
    rc = o->rc;
    op_end(o);
    return rc;
}

static int run_on(struct sqlite_conn *c, void *op)
{
    struct op *o = op;
    struct run r = { o->b, c, o->call };
    bool writes = verbs[o->call->verb].writes;
    if (writes && change(&r, sqlite_statement(c, &part, CHANGE_BEGIN)) < 0)
        return -EIO;
    int rc = job_run(c, &o->job);
    if (writes && rc < 0)
        change(&r, sqlite_statement(c, &part, CHANGE_UNDO));
    if (writes && change(&r, sqlite_statement(c, &part, CHANGE_END)) < 0)
        return -EIO;
    return rc;
}

static void run_offloaded(void *op)
{
    struct op *o = op;
    o->rc = sqlite_read(o->b->file, run_on, o);
}

static WAITS int backend_run(void *backend, struct store_call *call, uint64_t deadline, bool *is_gone)
{
    struct fiber *f = fiber_self();
    struct op *o = malloc(sizeof *o);
    if (!o)
        return -ENOMEM;
    *o = (struct op){ .b = backend, .call = call, .fiber = f, .loop = f ? fiber_loop(f) : NULL,
                      .job = { .run = job_run, .done = job_done } };
    atomic_fetch_add(&o->b->holders, 1);
    if (verbs[call->verb].writes && !sqlite_is_memory(o->b->file))
        return write_wait(o, deadline, is_gone);
    int rc = offload(run_offloaded, o, op_free, deadline);
    if (rc < 0) {
        *is_gone = true;
        return rc;
    }
    rc = o->rc;
    op_end(o);
    return rc;
}

/* ---- life ---- */

static void *backend_open(const struct response_store_conf *c, struct err *e)
{
    bool is_memory = str_eq(c->backend, S("memory"));
    if (!is_memory && !c->path.len) {
        err_set(e, "store_backend sqlite needs the path of a state file");
        return NULL;
    }
    struct backend *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    *b = (struct backend){ .file = sqlite_open(is_memory ? S("") : c->path, e), .ttl_s = c->ttl_s,
                           .max_responses = c->max_responses,
                           .holders = 1, .max_bytes = c->max_bytes, .chain_bytes = c->chain_bytes };
    if (b->file && sqlite_add(b->file, &part, e) == 0)
        return b;
    sqlite_close(b->file);
    free(b);
    return NULL;
}

static void backend_close(void *backend)
{
    backend_release(backend);
}

const struct response_store_ops response_store_sqlite = {
    .name = "sqlite", .open = backend_open, .close = backend_close, .run = backend_run,
};
