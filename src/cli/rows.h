/* cli/rows.h -- texts for signals, one a line: JSON Lines or plain lines, plain or gzip, a file or standard input.
 *
 * {"text": ...} or {"messages": [...]} (anything /api/v1/eval takes); a line that does not begin with '{' is a text itself. Labelled
 * data also has "label" (a number or a name), "source", "spans". */
#ifndef SBX_CLI_ROWS_H
#define SBX_CLI_ROWS_H

#include "admin/eval.h"
#include "pipeline/models.h"

enum { ROW_BYTES_MAX = 64 << 20 };      /* a longer line: an error that names it */

struct row {
    uint64_t line;                      /* from 1 */
    str raw;
    struct facts facts;                 /* of the text or the messages */
    struct chat chat;
    str text;                           /* the current user's */
    bool is_json;
    struct json json;                   /* is_json */
    str label, source;                  /* "" : none; a number's digits */
};

struct rows;
struct rows *rows_open(const char *path, struct err *e);        /* "-": standard input. NULL and *e */
/* The next row, in arena a, which the caller may reset between rows. 1, 0 at the end, -1 and *e ("file:line: ..."). Empty lines are
 * passed over. */
int rows_next(struct rows *r, struct arena *a, struct row *out, struct err *e);
/* The next rows, in arena a: as many as the encoders can be given at once. How many; 0 at the end; -1 and *e, told once the rows before
 * the bad one have been handed out. */
enum { ROWS_AT_ONCE = 256, ROWS_BYTES = 64 << 10 };             /* beyond so many bytes of text: the next time */
int rows_take(struct rows *r, struct arena *a, struct row out[ROWS_AT_ONCE], struct err *e);
double rows_share(const struct rows *r);                        /* read so far, 0..1; negative: unknown */
void rows_close(struct rows *r);

/* A progress bar on stderr when it is a terminal and the work has lasted two seconds; `share` < 0 shows the count alone. */
struct progress { const char *what; uint64_t started, shown; bool is_shown; };
struct progress progress_start(const char *what);
void progress_show(struct progress *p, double share, uint64_t n);
void progress_end(struct progress *p);

/* Models without a whole configuration: `config` NULL is the embedded default. NULL: it has been told why. */
struct models *cli_models(struct arena *a, const char *config, const char *command);
void cli_models_tell(const struct models *m, const char *command);     /* on stderr: why a model is not there */

#endif
