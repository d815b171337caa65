/* store/sqlite.h -- one state file, one writer that commits for many.
 *
 * Whoever has something to keep posts a job and goes on; a thread of the file takes all jobs that wait, runs them in one
 * transaction and commits, at most once in SQLITE_GROUP_MS. So a thousand writers cost one commit, and a killed process loses
 * what was posted in the last few milliseconds and nothing else. A second thread follows with fsync, so that a power cut loses
 * little more and a slow disk holds nobody up. Reads see what is committed, on a connection of their own.
 *
 * Jobs and reads use sqlite3's own calls (#include <sqlite3.h>) on statements that are prepared once. Nothing here
 * may run on a loop's thread but sqlite_post: reads belong on `offload`. */
#ifndef SBX_SQLITE_H
#define SBX_SQLITE_H

#include "base/err.h"

struct sqlite;                      /* an open file and its writer thread */
struct sqlite_conn;                 /* one connection, with its prepared statements */
struct sqlite3_stmt;

enum {
    SQLITE_GROUP_MS = 10,           /* between two commits; the first after a pause is at once */
    SQLITE_QUEUE_MAX = 65536,       /* jobs that wait; beyond: sqlite_post refuses */
    SQLITE_PARTS_MAX = 8,           /* modules that keep something in one file */
    SQLITE_STATEMENTS_MAX = 32,     /* of a module */
};

struct sqlite_part {                /* what one module keeps: its tables and statements. Static, lives for ever */
    const char *schema;             /* harmless when run again: CREATE TABLE IF NOT EXISTS ...; */
    const char *const *statements;  /* prepared at first use */
    unsigned n_statements;
};

/* Opens or makes a file (mode 0600) and starts its writer; opening it twice gives the same one, counted. path "": in memory, gone
 * with the process. NULL and *e: unreadable, not a database, written by a newer version. */
struct sqlite *sqlite_open(str path, struct err *e);
void sqlite_close(struct sqlite *s);                /* the last one out waits for what was posted. NULL is fine */
int  sqlite_add(struct sqlite *s, const struct sqlite_part *part, struct err *e);   /* makes its tables; 0 or -1. Again: 0 */
bool sqlite_is_memory(const struct sqlite *s);

/* Statement `which` of the part, reset, nothing bound; NULL: it could not be prepared (has been logged). */
struct sqlite3_stmt *sqlite_statement(struct sqlite_conn *c, const struct sqlite_part *part, unsigned which);
void sqlite_bind_str(struct sqlite3_stmt *st, int at, str s);  /* from 1; not copied: s lives until the statement has run */
void sqlite_bind_bytes(struct sqlite3_stmt *st, int at, const void *bytes, size_t n);
str  sqlite_column_str(struct sqlite3_stmt *st, int at);       /* from 0; until the next step or reset */
int  sqlite_done(struct sqlite3_stmt *st);          /* steps what returns no rows, resets it: 0, or -1 (has been logged) */

/* A piece of writing, embedded in what it writes. `run` on the writer's thread within the transaction: 0; negative: its
 * changes alone are undone. `done` after the commit, on the same thread, with run's result or -EIO when the whole commit
 * failed: the job is its maker's again. */
struct sqlite_job {
    struct sqlite_job *next;
    int  (*run)(struct sqlite_conn *c, struct sqlite_job *job);
    void (*done)(struct sqlite_job *job, int rc);
    int rc;                         /* the writer's */
};
bool sqlite_post(struct sqlite *s, struct sqlite_job *job);    /* any thread, does not wait. False: too much waits */
int  sqlite_sync(struct sqlite *s);                 /* blocks until all that was posted before is committed; 0, -EIO */

/* Runs `run` on the reading connection, on the calling thread, one at a time: its result. */
int  sqlite_read(struct sqlite *s, int (*run)(struct sqlite_conn *c, void *arg), void *arg);

#endif
