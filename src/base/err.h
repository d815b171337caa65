/* base/err.h -- one sentence for the person who has to act on it, with its place.
 *
 * An `err` carries the first failure of an operation. `findings` collect everything that a
 * configuration has to say: each has a stable name, a severity, a place, a sentence and, where
 * there is one, a hint. */
#ifndef SBX_ERR_H
#define SBX_ERR_H

#include "base/arena.h"

struct place { const char *file; uint32_t line, col; };    /* line 0: no place; both from 1 */

struct err { struct place at; char text[512]; };           /* text "" while all is well */

/* Both return -1, so that `return err_set(e, ...)` reads well; the first error is kept. e may be
 * NULL. */
int err_set(struct err *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
int err_at(struct err *e, struct place at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

enum severity { SEVERITY_INFO, SEVERITY_WARNING, SEVERITY_ERROR };

struct finding {
    const char *name;               /* kebab-case, stable: "unknown-key", "not-built" */
    enum severity severity;
    struct place at;
    str path;                       /* "routing.signals.keywords[2].method" */
    str text;                       /* a sentence */
    str hint;                       /* what to do; may be empty */
};

struct findings {
    struct arena *a;                /* owns the texts */
    struct finding *items;
    size_t n;
    size_t n_by_severity[3];
};

void finding_add(struct findings *f, const char *name, enum severity severity, struct place at,
                 str path, str hint, const char *format, ...)
    __attribute__((format(printf, 7, 8)));

#endif
