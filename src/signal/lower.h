/* signal/lower.h -- what can be said of a pattern by literals alone.
 *
 * Many patterns in policies are a choice of literals in disguise: `\bapi[_ -]?key\b` is four
 * words. Such a pattern matches somewhere in a text exactly when one of its words does, so the
 * automaton can answer for it. Of the others one can often name literals of which one must be
 * there: `\bbearer\s+\S+` cannot match without "bearer".
 *
 * Reads the common core of RE2's syntax and gives up on everything else; the pattern must be one
 * that RE2 accepts. A property test holds it against RE2. */
#ifndef SBX_SIGNAL_LOWER_H
#define SBX_SIGNAL_LOWER_H

#include "base/arena.h"

struct literal {
    str text;                           /* not empty */
    bool word_start, word_end;          /* \b there, RE2's meaning */
};

enum lowered { LOWER_NONE, LOWER_EXACT, LOWER_NEEDS };

/* LOWER_EXACT: a text has a match iff it has one of the literals; LOWER_NEEDS: only if. In `a`.
 * *fold: whether the literals are to be taken case-insensitively; in: outside flags, out: with
 * the flags that the pattern begins with. */
enum lowered lower_pattern(struct arena *a, str pattern, bool *fold, struct literal **out,
                           size_t *n);

#endif
