/* store/ledger.c */
#include "store/ledger.h"

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/rand.h"
#include "store/sqlite.h"

/* ---- the file ---- */

enum { SPEND_ADD, CHARGE_ADD, BATCH_SEEN, CHARGES_ALL, RECORD_PUT, RECORD_REMOVE, RECORDS_ALL, PRUNE_SPEND, PRUNE_CHARGES,
       PRUNE_BATCHES };

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS spend(day INTEGER, key TEXT, user TEXT, team TEXT, project TEXT, model TEXT,"
    " requests INTEGER, prompt_tokens INTEGER, cached_tokens INTEGER, cache_write_tokens INTEGER, completion_tokens INTEGER,"
    " reasoning_tokens INTEGER, micro_usd INTEGER, PRIMARY KEY(day, key, user, team, project, model)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS charge(budget TEXT, subject TEXT, period_start INTEGER, micro_usd INTEGER,"
    " PRIMARY KEY(budget, subject, period_start)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS batch(writer INTEGER PRIMARY KEY, number INTEGER, at INTEGER);"
    "CREATE TABLE IF NOT EXISTS record(kind TEXT, id TEXT, body TEXT, PRIMARY KEY(kind, id)) WITHOUT ROWID;";

static const char *const statements[] = {
    [SPEND_ADD] =
        "INSERT INTO spend VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13) ON CONFLICT DO UPDATE SET"
        " requests=requests+excluded.requests, prompt_tokens=prompt_tokens+excluded.prompt_tokens,"
        " cached_tokens=cached_tokens+excluded.cached_tokens, cache_write_tokens=cache_write_tokens+excluded.cache_write_tokens,"
        " completion_tokens=completion_tokens+excluded.completion_tokens,"
        " reasoning_tokens=reasoning_tokens+excluded.reasoning_tokens, micro_usd=micro_usd+excluded.micro_usd",
    [CHARGE_ADD] = "INSERT INTO charge VALUES(?1,?2,?3,?4) ON CONFLICT DO UPDATE SET micro_usd=micro_usd+excluded.micro_usd",
    [BATCH_SEEN] = "INSERT INTO batch VALUES(?1,?2,?3) ON CONFLICT(writer) DO UPDATE SET number=excluded.number, at=excluded.at"
                   " WHERE excluded.number > batch.number",
    [CHARGES_ALL] = "SELECT budget, subject, period_start, micro_usd FROM charge WHERE period_start = 0 OR period_start >= ?1",
    [RECORD_PUT] = "INSERT INTO record VALUES(?1,?2,?3) ON CONFLICT DO UPDATE SET body=excluded.body",
    [RECORD_REMOVE] = "DELETE FROM record WHERE kind=?1 AND id=?2",
    [RECORDS_ALL] = "SELECT id, body FROM record WHERE kind=?1 ORDER BY id",
    [PRUNE_SPEND] = "DELETE FROM spend WHERE day < ?1",
    [PRUNE_CHARGES] = "DELETE FROM charge WHERE period_start <> 0 AND period_start < ?1",
    [PRUNE_BATCHES] = "DELETE FROM batch WHERE at < ?1",
};

static const struct sqlite_part part = { schema, statements, COUNT_OF(statements) };

/* ---- what waits to be written ---- */

struct spend_cell { struct ledger_entry sum; };
struct charge_cell { struct ledger_charge sum; };

struct batch {                      /* sums of a few milliseconds */
    struct arena *a;
    struct map spend, charges;      /* composed key -> cell */
    uint64_t number;                /* 0: not yet numbered */
};

struct ledger {
    struct sqlite *file;
    int64_t writer;                 /* random: this process, this opening */
    pthread_mutex_t lock;           /* pending, is_posted */
    struct batch *pending;          /* NULL: nothing */
    bool is_posted;                 /* the job waits or runs */
    struct sqlite_job job;
    struct batch *running;          /* the writer's: being applied, kept when its commit failed */
    uint64_t last_number;           /* writer's thread */
    atomic_ullong dropped;
};

#define LEDGER_OF(job_) ((struct ledger *)(void *)((char *)(job_) - offsetof(struct ledger, job)))

static void batch_free(struct batch *b)
{
    if (b)
        arena_free(b->a);
}

static struct batch *batch_new(void)
{
    struct arena *a = arena_new();
    if (!a)
        return NULL;
    struct batch *b = ARENA_NEW(a, struct batch);
    *b = (struct batch){ .a = a, .spend.a = a, .charges.a = a };
    return b;
}

/* Texts with their lengths in front, so that ("a", "bc") and ("ab", "c") differ. */
static size_t key_put(char *to, const str *texts, unsigned n, int64_t number)
{
    size_t at = sizeof number;
    memcpy(to, &number, sizeof number);
    for (unsigned i = 0; i < n; i++) {
        str s = str_upto(texts[i], LEDGER_TEXT_MAX);
        to[at++] = (char)(unsigned char)s.len;
        if (s.len)
            memcpy(to + at, s.ptr, s.len);
        at += s.len;
    }
    return at;
}

static void *cell_find(struct batch *b, struct map *m, str key, size_t size, bool *is_new)
{
    void *cell = map_get(m, key);
    *is_new = !cell;
    if (cell)
        return cell;
    if (b->spend.n + b->charges.n >= LEDGER_CELLS_MAX || arena_exhausted(b->a))
        return NULL;
    cell = arena_alloc(b->a, size);
    map_put(m, arena_str(b->a, key), cell);
    return cell;
}

static str keep(struct batch *b, str s)
{
    return arena_str(b->a, str_upto(s, LEDGER_TEXT_MAX));
}

static bool entry_add(struct batch *b, const struct ledger_entry *e)
{
    char key[8 + 5 * (LEDGER_TEXT_MAX + 1)];
    const str texts[] = { e->key, e->user, e->team, e->project, e->model };
    bool is_new;
    struct spend_cell *c = cell_find(b, &b->spend, (str){ key, key_put(key, texts, 5, e->day) }, sizeof *c, &is_new);
    if (!c)
        return false;
    if (is_new) {
        c->sum.day = e->day;
        c->sum.key = keep(b, e->key);
        c->sum.user = keep(b, e->user);
        c->sum.team = keep(b, e->team);
        c->sum.project = keep(b, e->project);
        c->sum.model = keep(b, e->model);
    }
    c->sum.requests += e->requests;
    c->sum.prompt_tokens += e->prompt_tokens;
    c->sum.cached_tokens += e->cached_tokens;
    c->sum.cache_write_tokens += e->cache_write_tokens;
    c->sum.completion_tokens += e->completion_tokens;
    c->sum.reasoning_tokens += e->reasoning_tokens;
    c->sum.micro_usd += e->micro_usd;
    return true;
}

static bool charge_add(struct batch *b, const struct ledger_charge *g)
{
    char key[8 + 2 * (LEDGER_TEXT_MAX + 1)];
    const str texts[] = { g->budget, g->subject };
    bool is_new;
    struct charge_cell *c = cell_find(b, &b->charges, (str){ key, key_put(key, texts, 2, g->period_start) }, sizeof *c, &is_new);
    if (!c)
        return false;
    if (is_new)
        c->sum = (struct ledger_charge){ keep(b, g->budget), keep(b, g->subject), g->period_start, 0 };
    c->sum.micro_usd += g->micro_usd;
    return true;
}

bool ledger_add(struct ledger *l, const struct ledger_entry *e, const struct ledger_charge *charges, unsigned n)
{
    bool ok = true;
    pthread_mutex_lock(&l->lock);
    if (!l->pending)
        l->pending = batch_new();
    if (l->pending) {
        ok = !e || entry_add(l->pending, e);
        for (unsigned i = 0; i < n; i++)
            ok &= charge_add(l->pending, &charges[i]);
    } else {
        ok = false;
    }
    if (!l->is_posted && l->pending)
        l->is_posted = sqlite_post(l->file, &l->job);
    pthread_mutex_unlock(&l->lock);
    if (!ok)
        atomic_fetch_add(&l->dropped, 1);
    return ok;
}

uint64_t ledger_dropped(const struct ledger *l)
{
    return atomic_load(&l->dropped);
}

/* ---- on the writer's thread ---- */

static int spend_write(struct sqlite_conn *c, const struct ledger_entry *e)
{
    sqlite3_stmt *st = sqlite_statement(c, &part, SPEND_ADD);
    if (!st)
        return -EIO;
    sqlite3_bind_int64(st, 1, e->day);
    sqlite_bind_str(st, 2, e->key);
    sqlite_bind_str(st, 3, e->user);
    sqlite_bind_str(st, 4, e->team);
    sqlite_bind_str(st, 5, e->project);
    sqlite_bind_str(st, 6, e->model);
    sqlite3_bind_int64(st, 7, e->requests);
    sqlite3_bind_int64(st, 8, e->prompt_tokens);
    sqlite3_bind_int64(st, 9, e->cached_tokens);
    sqlite3_bind_int64(st, 10, e->cache_write_tokens);
    sqlite3_bind_int64(st, 11, e->completion_tokens);
    sqlite3_bind_int64(st, 12, e->reasoning_tokens);
    sqlite3_bind_int64(st, 13, e->micro_usd);
    return sqlite_done(st) < 0 ? -EIO : 0;
}

static int charge_write(struct sqlite_conn *c, const struct ledger_charge *g)
{
    sqlite3_stmt *st = sqlite_statement(c, &part, CHARGE_ADD);
    if (!st)
        return -EIO;
    sqlite_bind_str(st, 1, g->budget);
    sqlite_bind_str(st, 2, g->subject);
    sqlite3_bind_int64(st, 3, g->period_start);
    sqlite3_bind_int64(st, 4, g->micro_usd);
    return sqlite_done(st) < 0 ? -EIO : 0;
}

static int batch_write(struct sqlite_conn *c, const struct ledger *l, const struct batch *b)
{
    sqlite3_stmt *st = sqlite_statement(c, &part, BATCH_SEEN);
    if (!st)
        return -EIO;
    sqlite3_bind_int64(st, 1, l->writer);
    sqlite3_bind_int64(st, 2, (int64_t)b->number);
    sqlite3_bind_int64(st, 3, (int64_t)(clock_wall() / NS_PER_S));
    if (sqlite3_step(st) != SQLITE_DONE)
        return -EIO;
    bool is_new = sqlite3_changes(sqlite3_db_handle(st)) > 0;
    sqlite3_reset(st);
    if (!is_new)
        return 0;                               /* an earlier try had been committed after all */
    int rc = 0;
    for (size_t i = 0; i < b->spend.n && rc == 0; i++)
        rc = spend_write(c, &((const struct spend_cell *)b->spend.entries[i].value)->sum);
    for (size_t i = 0; i < b->charges.n && rc == 0; i++)
        rc = charge_write(c, &((const struct charge_cell *)b->charges.entries[i].value)->sum);
    return rc;
}

static int job_run(struct sqlite_conn *c, struct sqlite_job *job)
{
    struct ledger *l = LEDGER_OF(job);
    if (!l->running) {
        pthread_mutex_lock(&l->lock);
        l->running = l->pending;
        l->pending = NULL;
        pthread_mutex_unlock(&l->lock);
        if (!l->running)
            return 0;
        l->running->number = ++l->last_number;
    }
    return batch_write(c, l, l->running);
}

static void job_done(struct sqlite_job *job, int rc)
{
    struct ledger *l = LEDGER_OF(job);
    if (rc == 0) {
        batch_free(l->running);
        l->running = NULL;
    }
    pthread_mutex_lock(&l->lock);
    /* A failed batch goes first in the next turn, under its number; that turn comes with the next request, so that a full
     * disk does not make a busy loop. */
    l->is_posted = rc == 0 && l->pending && sqlite_post(l->file, &l->job);
    pthread_mutex_unlock(&l->lock);
}

/* ---- waiting calls ---- */

struct call {                       /* a job somebody waits for */
    struct sqlite_job job;
    str kind, id, body;
    int64_t day;
    bool is_over;
    int rc;
    pthread_mutex_t lock;
    pthread_cond_t over;
};

static void call_done(struct sqlite_job *job, int rc)
{
    struct call *c = (struct call *)job;
    pthread_mutex_lock(&c->lock);
    c->rc = rc;
    c->is_over = true;
    pthread_cond_signal(&c->over);
    pthread_mutex_unlock(&c->lock);
}

static int call(struct ledger *l, struct call *c, int (*run)(struct sqlite_conn *, struct sqlite_job *))
{
    c->job.run = run;
    c->job.done = call_done;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->over, NULL);
    bool ok = sqlite_post(l->file, &c->job);
    pthread_mutex_lock(&c->lock);
    while (ok && !c->is_over)
        pthread_cond_wait(&c->over, &c->lock);
    pthread_mutex_unlock(&c->lock);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->over);
    return ok ? c->rc : -EIO;
}

static int put_run(struct sqlite_conn *conn, struct sqlite_job *job)
{
    const struct call *c = (const struct call *)job;
    sqlite3_stmt *st = sqlite_statement(conn, &part, RECORD_PUT);
    if (!st)
        return -EIO;
    sqlite_bind_str(st, 1, c->kind);
    sqlite_bind_str(st, 2, c->id);
    sqlite_bind_str(st, 3, c->body);
    return sqlite_done(st) < 0 ? -EIO : 0;
}

int ledger_put(struct ledger *l, str kind, str id, str body)
{
    struct call c = { .kind = kind, .id = id, .body = body };
    return call(l, &c, put_run);
}

static int remove_run(struct sqlite_conn *conn, struct sqlite_job *job)
{
    const struct call *c = (const struct call *)job;
    sqlite3_stmt *st = sqlite_statement(conn, &part, RECORD_REMOVE);
    if (!st)
        return -EIO;
    sqlite_bind_str(st, 1, c->kind);
    sqlite_bind_str(st, 2, c->id);
    if (sqlite_done(st) < 0)
        return -EIO;
    return sqlite3_changes(sqlite3_db_handle(st)) ? 0 : -ENOENT;
}

int ledger_remove(struct ledger *l, str kind, str id)
{
    struct call c = { .kind = kind, .id = id };
    return call(l, &c, remove_run);
}

static int prune_run(struct sqlite_conn *conn, struct sqlite_job *job)
{
    const struct call *c = (const struct call *)job;
    const struct { unsigned which; int64_t before; } what[] = {
        { PRUNE_SPEND, c->day }, { PRUNE_CHARGES, c->day * 86400 },
        { PRUNE_BATCHES, (int64_t)(clock_wall() / NS_PER_S) - 7 * 86400 },
    };
    for (size_t i = 0; i < COUNT_OF(what); i++) {
        sqlite3_stmt *st = sqlite_statement(conn, &part, what[i].which);
        if (!st)
            return -EIO;
        sqlite3_bind_int64(st, 1, what[i].before);
        sqlite_done(st);
    }
    return 0;
}

void ledger_prune(struct ledger *l, int64_t day)
{
    struct call c = { .day = day };
    call(l, &c, prune_run);
}

int ledger_sync(struct ledger *l)
{
    pthread_mutex_lock(&l->lock);
    if (!l->is_posted && (l->pending || l->running))
        l->is_posted = sqlite_post(l->file, &l->job);
    pthread_mutex_unlock(&l->lock);
    int rc = sqlite_sync(l->file);
    pthread_mutex_lock(&l->lock);               /* added while the job ran: it has been posted again */
    bool again = l->is_posted;
    pthread_mutex_unlock(&l->lock);
    return again ? sqlite_sync(l->file) : rc;
}

/* ---- reading ---- */

struct charges_read { int64_t from; void (*see)(void *, const struct ledger_charge *); void *arg; };

static int charges_run(struct sqlite_conn *conn, void *arg)
{
    const struct charges_read *r = arg;
    sqlite3_stmt *st = sqlite_statement(conn, &part, CHARGES_ALL);
    if (!st)
        return -EIO;
    sqlite3_bind_int64(st, 1, r->from);
    int rc;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct ledger_charge c = { sqlite_column_str(st, 0), sqlite_column_str(st, 1), sqlite3_column_int64(st, 2),
                                   sqlite3_column_int64(st, 3) };
        r->see(r->arg, &c);
    }
    sqlite3_reset(st);
    return rc == SQLITE_DONE ? 0 : -EIO;
}

int ledger_charges(struct ledger *l, int64_t from, void (*see)(void *arg, const struct ledger_charge *c), void *arg)
{
    struct charges_read r = { from, see, arg };
    return sqlite_read(l->file, charges_run, &r);
}

struct records_read { str kind; void (*see)(void *, str, str); void *arg; };

static int records_run(struct sqlite_conn *conn, void *arg)
{
    const struct records_read *r = arg;
    sqlite3_stmt *st = sqlite_statement(conn, &part, RECORDS_ALL);
    if (!st)
        return -EIO;
    sqlite_bind_str(st, 1, r->kind);
    int rc;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW)
        r->see(r->arg, sqlite_column_str(st, 0), sqlite_column_str(st, 1));
    sqlite3_reset(st);
    return rc == SQLITE_DONE ? 0 : -EIO;
}

int ledger_records(struct ledger *l, str kind, void (*see)(void *arg, str id, str body), void *arg)
{
    struct records_read r = { kind, see, arg };
    return sqlite_read(l->file, records_run, &r);
}

/* One statement for each grouping and filter would be a hundred: it is put together from these names, never from what a
 * stranger wrote. */
static const struct { unsigned bit; const char *name; } columns[] = {
    { LEDGER_DAY, "day" }, { LEDGER_KEY, "key" }, { LEDGER_USER, "user" }, { LEDGER_TEAM, "team" },
    { LEDGER_PROJECT, "project" }, { LEDGER_MODEL, "model" },
};

struct spend_read { const struct ledger_query *q; void (*see)(void *, const struct ledger_entry *); void *arg; };

static void spend_sql(const struct ledger_query *q, char *sql, size_t size)
{
    size_t at = (size_t)snprintf(sql, size, "SELECT ");
    for (size_t i = 0; i < COUNT_OF(columns); i++)
        at += (size_t)snprintf(sql + at, size - at, "%s,", q->group_by & columns[i].bit ? columns[i].name : i ? "''" : "0");
    at += (size_t)snprintf(sql + at, size - at,
        "sum(requests),sum(prompt_tokens),sum(cached_tokens),sum(cache_write_tokens),sum(completion_tokens),"
        "sum(reasoning_tokens),sum(micro_usd) AS cost FROM spend WHERE (?1=0 OR day>=?1) AND (?2=0 OR day<=?2)"
        " AND (?3='' OR key=?3) AND (?4='' OR user=?4) AND (?5='' OR team=?5) AND (?6='' OR project=?6)"
        " AND (?7='' OR model=?7)");
    const char *between = " GROUP BY ";
    for (size_t i = 0; i < COUNT_OF(columns); i++)
        if (q->group_by & columns[i].bit) {
            at += (size_t)snprintf(sql + at, size - at, "%s%s", between, columns[i].name);
            between = ",";
        }
    snprintf(sql + at, size - at, " HAVING count(*)>0 ORDER BY %scost DESC LIMIT ?8", q->group_by & LEDGER_DAY ? "day," : "");
}

static int spend_run(struct sqlite_conn *conn, void *arg)
{
    const struct spend_read *r = arg;
    const struct ledger_query *q = r->q;
    char sql[1024];
    spend_sql(q, sql, sizeof sql);
    sqlite3 *db = sqlite3_db_handle(sqlite_statement(conn, &part, RECORDS_ALL));
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK)
        return -EIO;
    const str filters[] = { q->key, q->user, q->team, q->project, q->model };
    sqlite3_bind_int64(st, 1, q->from);
    sqlite3_bind_int64(st, 2, q->to);
    for (int i = 0; i < 5; i++)
        sqlite_bind_str(st, 3 + i, filters[i]);
    sqlite3_bind_int64(st, 8, q->limit > 0 ? q->limit : 10000);
    int rc;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct ledger_entry e = {
            .day = sqlite3_column_int64(st, 0), .key = sqlite_column_str(st, 1), .user = sqlite_column_str(st, 2),
            .team = sqlite_column_str(st, 3), .project = sqlite_column_str(st, 4), .model = sqlite_column_str(st, 5),
            .requests = sqlite3_column_int64(st, 6), .prompt_tokens = sqlite3_column_int64(st, 7),
            .cached_tokens = sqlite3_column_int64(st, 8), .cache_write_tokens = sqlite3_column_int64(st, 9),
            .completion_tokens = sqlite3_column_int64(st, 10), .reasoning_tokens = sqlite3_column_int64(st, 11),
            .micro_usd = sqlite3_column_int64(st, 12),
        };
        r->see(r->arg, &e);
    }
    sqlite3_finalize(st);
    return rc == SQLITE_DONE ? 0 : -EIO;
}

int ledger_spend(struct ledger *l, const struct ledger_query *q, void (*see)(void *arg, const struct ledger_entry *e),
                 void *arg)
{
    struct spend_read r = { q, see, arg };
    return sqlite_read(l->file, spend_run, &r);
}

/* ---- opening ---- */

struct ledger *ledger_open(str path, struct err *e)
{
    struct ledger *l = calloc(1, sizeof *l);
    if (!l) {
        err_set(e, "out of memory");
        return NULL;
    }
    l->file = sqlite_open(path, e);
    if (!l->file || sqlite_add(l->file, &part, e) < 0) {
        sqlite_close(l->file);
        free(l);
        return NULL;
    }
    l->writer = (int64_t)(rand_system() >> 1);
    l->job.run = job_run;
    l->job.done = job_done;
    pthread_mutex_init(&l->lock, NULL);
    return l;
}

void ledger_close(struct ledger *l)
{
    if (!l)
        return;
    ledger_sync(l);
    sqlite_close(l->file);
    batch_free(l->running);
    batch_free(l->pending);
    pthread_mutex_destroy(&l->lock);
    free(l);
}
