/* store/sqlite.c */
#include "store/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    FORMAT = 1,                     /* PRAGMA user_version */
    BUSY_STEP_MS = 10,
    BUSY_MS = 5000,                 /* another process (the command line) may hold the file for so long */
    SYNC_MS = 10,                   /* between two fsyncs */
    LOG_PAGES = 1000,               /* of the write-ahead log; beyond: it is folded into the file. SQLite's own default */
};

struct sqlite_conn {
    sqlite3 *db;
    struct { const struct sqlite_part *part; sqlite3_stmt *made[SQLITE_STATEMENTS_MAX]; } parts[SQLITE_PARTS_MAX];
    unsigned n_parts;
};

struct sqlite {
    char *path;                     /* "": in memory */
    unsigned n_users;               /* files_lock */
    struct sqlite *next;            /* files_lock */
    struct sqlite_conn write, read; /* in memory: `read` is unused, both go through `write` */
    struct sqlite_conn sync;        /* the syncer's; files only */
    pthread_mutex_t write_lock, read_lock;      /* of the connections */
    pthread_t thread, syncer;
    bool has_syncer;

    pthread_mutex_t lock;           /* all below */
    pthread_cond_t work, idle, dirt;
    bool is_dirty, is_over;         /* committed since the last fsync; the writer has ended */
    atomic_int log_pages;           /* told by the last commit */
    struct sqlite_job *first, **last;
    unsigned n_waiting;
    uint64_t n_posted, n_done;      /* jobs */
    bool is_stopping;
    int rc;                         /* of the last commit */
};

static pthread_mutex_t files_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sqlite *files;        /* files_lock */

/* Store code stands below the process log: it writes to standard error in the same spirit. */
static void complain(const struct sqlite_conn *c, const char *what)
{
    fprintf(stderr, "signalbox: state file: %s: %s\n", what, sqlite3_errmsg(c->db));
}

/* ---- a connection ---- */

static int conn_open(struct sqlite_conn *c, const char *path, struct err *e)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    const char *name = *path ? path : ":memory:";
    int rc = sqlite3_open_v2(name, &c->db, flags, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_busy_timeout(c->db, BUSY_MS);
    /* NORMAL: a commit is a write, which survives a kill; the syncer's fsync behind it makes it survive a power cut. The log is
     * folded into the file by the syncer, too, so that no disk ever holds the writer up. */
    static const char setup[] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;"
                                " PRAGMA trusted_schema=OFF; PRAGMA cache_size=-8192";
    /* Two that open a new file at once both want to change its mode: SQLite refuses one of them without waiting. */
    for (int waited = 0; rc == SQLITE_OK || (rc == SQLITE_BUSY && waited < BUSY_MS); waited += BUSY_STEP_MS) {
        rc = sqlite3_exec(c->db, setup, NULL, NULL, NULL);
        if (rc != SQLITE_BUSY)
            break;
        sqlite3_sleep(BUSY_STEP_MS);
    }
    if (rc == SQLITE_OK)
        return 0;
    err_set(e, "state file %s: %s", name, c->db ? sqlite3_errmsg(c->db) : sqlite3_errstr(rc));
    return -1;
}

static void conn_close(struct sqlite_conn *c)
{
    for (unsigned p = 0; p < c->n_parts; p++)
        for (unsigned i = 0; i < SQLITE_STATEMENTS_MAX; i++)
            sqlite3_finalize(c->parts[p].made[i]);
    sqlite3_close(c->db);
    *c = (struct sqlite_conn){ 0 };
}

static int version_check(struct sqlite_conn *c, const char *path, struct err *e)
{
    sqlite3_stmt *st = NULL;
    int version = -1;
    if (sqlite3_prepare_v2(c->db, "PRAGMA user_version", -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
        version = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    if (version < 0)
        return err_set(e, "state file %s: %s", path, sqlite3_errmsg(c->db));
    if (version > FORMAT)
        return err_set(e, "state file %s has format %d, this build knows up to %d: a newer signalbox wrote it", path, version,
                       FORMAT);
    char set[64];
    snprintf(set, sizeof set, "PRAGMA user_version=%d", FORMAT);
    if (version < FORMAT && sqlite3_exec(c->db, set, NULL, NULL, NULL) != SQLITE_OK)
        return err_set(e, "state file %s: %s", path, sqlite3_errmsg(c->db));
    return 0;
}

struct sqlite3_stmt *sqlite_statement(struct sqlite_conn *c, const struct sqlite_part *part, unsigned which)
{
    unsigned p = 0;
    while (p < c->n_parts && c->parts[p].part != part)
        p++;
    if (p == c->n_parts) {
        if (p == SQLITE_PARTS_MAX)
            return NULL;
        c->parts[c->n_parts++].part = part;
    }
    if (which >= part->n_statements || which >= SQLITE_STATEMENTS_MAX)
        return NULL;
    sqlite3_stmt **st = &c->parts[p].made[which];
    if (!*st && sqlite3_prepare_v3(c->db, part->statements[which], -1, SQLITE_PREPARE_PERSISTENT, st, NULL) != SQLITE_OK) {
        complain(c, part->statements[which]);
        return NULL;
    }
    sqlite3_reset(*st);
    sqlite3_clear_bindings(*st);
    return *st;
}

void sqlite_bind_str(struct sqlite3_stmt *st, int at, str s)
{
    sqlite3_bind_text64(st, at, s.ptr ? s.ptr : "", s.len, SQLITE_STATIC, SQLITE_UTF8);
}

void sqlite_bind_bytes(struct sqlite3_stmt *st, int at, const void *bytes, size_t n)
{
    sqlite3_bind_blob64(st, at, n ? bytes : "", n, SQLITE_STATIC);
}

str sqlite_column_str(struct sqlite3_stmt *st, int at)
{
    const void *p = sqlite3_column_blob(st, at);        /* text without conversion; before the count, as the manual says */
    int n = sqlite3_column_bytes(st, at);
    return p && n > 0 ? (str){ p, (size_t)n } : S("");
}

int sqlite_done(struct sqlite3_stmt *st)
{
    if (!st)
        return -1;
    int rc = sqlite3_step(st);
    if (rc != SQLITE_DONE && rc != SQLITE_ROW)
        fprintf(stderr, "signalbox: state file: %s\n", sqlite3_errmsg(sqlite3_db_handle(st)));
    sqlite3_reset(st);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : -1;
}

/* ---- the writer ---- */

static bool exec(struct sqlite_conn *c, const char *sql)
{
    if (sqlite3_exec(c->db, sql, NULL, NULL, NULL) == SQLITE_OK)
        return true;
    complain(c, sql);
    return false;
}

static int batch_run(struct sqlite *s, struct sqlite_job *list)
{
    struct sqlite_conn *c = &s->write;
    pthread_mutex_lock(&s->write_lock);
    bool ok = exec(c, "BEGIN IMMEDIATE");
    for (struct sqlite_job *j = list; ok && j; j = j->next) {
        ok = exec(c, "SAVEPOINT job");
        j->rc = ok ? j->run(c, j) : -EIO;
        if (ok)
            ok = exec(c, j->rc < 0 ? "ROLLBACK TO job; RELEASE job" : "RELEASE job");
    }
    ok = ok && exec(c, "COMMIT");
    if (!ok && !sqlite3_get_autocommit(c->db))
        exec(c, "ROLLBACK");
    pthread_mutex_unlock(&s->write_lock);
    return ok ? 0 : -EIO;
}

static void *writer(void *arg)
{
    struct sqlite *s = arg;
    uint64_t next = 0;                          /* not before this is a commit due */
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (!s->first && !s->is_stopping)
            pthread_cond_wait(&s->work, &s->lock);
        if (!s->first)
            break;
        uint64_t now = clock_now();
        if (now < next && !s->is_stopping) {    /* let a group gather */
            pthread_mutex_unlock(&s->lock);
            struct timespec t = { 0, (long)(next - now) };
            nanosleep(&t, NULL);
            pthread_mutex_lock(&s->lock);
        }
        next = clock_now() + SQLITE_GROUP_MS * NS_PER_MS;
        struct sqlite_job *list = s->first;
        s->first = NULL;
        s->last = &s->first;
        s->n_waiting = 0;
        pthread_mutex_unlock(&s->lock);
        int rc = batch_run(s, list);
        uint64_t n = 0;
        for (struct sqlite_job *j = list, *after; j; j = after, n++) {
            after = j->next;
            j->done(j, rc < 0 ? rc : j->rc);
        }
        pthread_mutex_lock(&s->lock);
        s->rc = rc;
        s->n_done += n;
        s->is_dirty = true;
        pthread_cond_signal(&s->dirt);
        pthread_cond_broadcast(&s->idle);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- the syncer ---- */

static void log_sync(struct sqlite *s, const char *log)
{
    /* SQLite locks the file and its index, not the log: closing this descriptor lets go of nothing. */
    int fd = open(log, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    fdatasync(fd);
    close(fd);
    if (atomic_exchange(&s->log_pages, 0) > LOG_PAGES)          /* passive: neither waits for the writer nor makes it wait */
        sqlite3_wal_checkpoint_v2(s->sync.db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

static int log_grew(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct sqlite *s = arg;
    (void)db, (void)name;
    atomic_store(&s->log_pages, pages);
    return SQLITE_OK;
}

static void *syncer(void *arg)
{
    struct sqlite *s = arg;
    char log[PATH_MAX + 8];
    snprintf(log, sizeof log, "%s-wal", s->path);
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (!s->is_dirty && !s->is_over)
            pthread_cond_wait(&s->dirt, &s->lock);
        if (!s->is_dirty)
            break;
        s->is_dirty = false;
        pthread_mutex_unlock(&s->lock);
        log_sync(s, log);
        struct timespec t = { 0, SYNC_MS * (long)NS_PER_MS };
        nanosleep(&t, NULL);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

bool sqlite_post(struct sqlite *s, struct sqlite_job *job)
{
    pthread_mutex_lock(&s->lock);
    bool ok = s->n_waiting < SQLITE_QUEUE_MAX && !s->is_stopping;
    if (ok) {
        job->next = NULL;
        *s->last = job;
        s->last = &job->next;
        s->n_posted++;
        if (s->n_waiting++ == 0)
            pthread_cond_signal(&s->work);
    }
    pthread_mutex_unlock(&s->lock);
    return ok;
}

int sqlite_sync(struct sqlite *s)
{
    pthread_mutex_lock(&s->lock);
    uint64_t until = s->n_posted;
    while (s->n_done < until)
        pthread_cond_wait(&s->idle, &s->lock);
    int rc = s->rc;
    pthread_mutex_unlock(&s->lock);
    return rc;
}

int sqlite_read(struct sqlite *s, int (*run)(struct sqlite_conn *c, void *arg), void *arg)
{
    bool shares = sqlite_is_memory(s);
    pthread_mutex_t *lock = shares ? &s->write_lock : &s->read_lock;
    pthread_mutex_lock(lock);
    int rc = run(shares ? &s->write : &s->read, arg);
    pthread_mutex_unlock(lock);
    return rc;
}

/* ---- files ---- */

bool sqlite_is_memory(const struct sqlite *s)
{
    return s->path[0] == 0;
}

int sqlite_add(struct sqlite *s, const struct sqlite_part *part, struct err *e)
{
    char *why = NULL;
    pthread_mutex_lock(&s->write_lock);
    int rc = sqlite3_exec(s->write.db, part->schema, NULL, NULL, &why);
    if (rc != SQLITE_OK)
        err_set(e, "state file %s: %s", s->path, why ? why : sqlite3_errstr(rc));
    sqlite3_free(why);
    pthread_mutex_unlock(&s->write_lock);
    return rc == SQLITE_OK ? 0 : -1;
}

static void file_free(struct sqlite *s)
{
    conn_close(&s->sync);
    conn_close(&s->read);
    conn_close(&s->write);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->write_lock);
    pthread_mutex_destroy(&s->read_lock);
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->idle);
    pthread_cond_destroy(&s->dirt);
    free(s->path);
    free(s);
}

static int file_start(struct sqlite *s, struct err *e)
{
    if (s->path[0]) {                           /* SQLite would make it readable to all; it holds hashes of keys */
        int fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
            return err_set(e, "state file %s: %s", s->path, strerror(errno));
        close(fd);
    }
    if (conn_open(&s->write, s->path, e) < 0 || version_check(&s->write, s->path, e) < 0)
        return -1;
    if (s->path[0] && (conn_open(&s->read, s->path, e) < 0 || conn_open(&s->sync, s->path, e) < 0))
        return -1;
    sqlite3_wal_hook(s->write.db, log_grew, s);                 /* in place of SQLite's own checkpoints */
    if (pthread_create(&s->thread, NULL, writer, s) != 0)
        return err_set(e, "state file: no thread for its writer");
    s->has_syncer = s->path[0] && pthread_create(&s->syncer, NULL, syncer, s) == 0;
    return 0;
}

struct sqlite *sqlite_open(str path, struct err *e)
{
    pthread_mutex_lock(&files_lock);
    struct sqlite *s = files;
    while (s && !str_eq(str_of(s->path), path))
        s = s->next;
    if (s) {
        s->n_users++;
    } else if ((s = calloc(1, sizeof *s)) == NULL || (s->path = strndup(path.len ? path.ptr : "", path.len)) == NULL) {
        free(s);
        s = NULL;
        err_set(e, "out of memory");
    } else {
        s->n_users = 1;
        s->last = &s->first;
        pthread_mutex_init(&s->lock, NULL);
        pthread_mutex_init(&s->write_lock, NULL);
        pthread_mutex_init(&s->read_lock, NULL);
        pthread_cond_init(&s->work, NULL);
        pthread_cond_init(&s->idle, NULL);
        pthread_cond_init(&s->dirt, NULL);
        if (file_start(s, e) < 0) {
            file_free(s);
            s = NULL;
        } else {
            s->next = files;
            files = s;
        }
    }
    pthread_mutex_unlock(&files_lock);
    return s;
}

void sqlite_close(struct sqlite *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&files_lock);
    bool is_last = --s->n_users == 0;
    for (struct sqlite **p = &files; is_last && *p; p = &(*p)->next)
        if (*p == s) {
            *p = s->next;
            break;
        }
    pthread_mutex_unlock(&files_lock);
    if (!is_last)
        return;
    pthread_mutex_lock(&s->lock);
    s->is_stopping = true;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    pthread_mutex_lock(&s->lock);
    s->is_over = true;
    pthread_cond_signal(&s->dirt);
    pthread_mutex_unlock(&s->lock);
    if (s->has_syncer)
        pthread_join(s->syncer, NULL);
    file_free(s);
}
