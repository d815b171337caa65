/* base/regex.h -- RE2 behind C: one pattern, or a set of patterns matched together.
 *
 * Linear time whatever the pattern; syntax and meaning are RE2's (and Go's). Text is UTF-8;
 * broken bytes match nothing but "any byte". All functions may be called by many threads on one
 * compiled object. */
#ifndef SBX_REGEX_H
#define SBX_REGEX_H

#include "base/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct regex;
struct regex_set;

enum {
    REGEX_GROUPS_MAX = 32,              /* capture groups that can be asked for */
    REGEX_MEMORY = 8 << 20,             /* bytes of program and automaton of one pattern */
};

/* Compiled, or NULL and *e. The caller frees; regex_in frees with the arena. `fold`: (?i). */
struct regex *regex_new(str pattern, bool fold, struct err *e);
struct regex *regex_in(struct arena *a, str pattern, bool fold, struct err *e);
void regex_free(struct regex *r);

bool     regex_has(const struct regex *r, str text);    /* a match somewhere */
bool     regex_is(const struct regex *r, str text);     /* the whole text is a match */
/* The leftmost match that starts at or after `from`; groups[0] is the match, groups[i] the i-th
 * group, ptr NULL if it took no part. n may be 0. */
bool     regex_find(const struct regex *r, str text, size_t from, str *groups, size_t n);
size_t   regex_groups(const struct regex *r);           /* without the whole match */
uint64_t regex_count(const struct regex *r, str text);  /* non-overlapping matches, as Go counts */

/* Patterns are numbered in the order of regex_set_add. */
struct regex_set *regex_set_new(size_t memory_bytes);
void regex_set_free(struct regex_set *s);
int  regex_set_add(struct regex_set *s, str pattern, bool fold, struct err *e);  /* number or -1 */
bool regex_set_compile(struct regex_set *s);            /* false: no memory */
/* Sets bit i of `bits` for every pattern i that matches somewhere. 1: some do; 0: none;
 * -1: memory ran out, ask the patterns one by one. */
int  regex_set_match(const struct regex_set *s, str text, uint64_t *bits);

#ifdef __cplusplus
}
#endif

#endif
