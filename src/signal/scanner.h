/* signal/scanner.h -- every word and pattern that the signals of a policy look for, in one pass.
 *
 * Signals register what they look for while the policy is built and get a *feature*, a small
 * number; after scanner_seal nothing can be added. scan_text then reads a text once and says
 * for every feature whether, or how often, it occurs. Literal words of all types are states of
 * one automaton (base/automaton.h); a pattern that is only a choice of literals becomes such
 * words too; the other patterns run in RE2, but only when the automaton has seen a literal that
 * the pattern cannot match without, or, if it has none, when one RE2 set over all of them says
 * so.
 *
 * A scan is remembered per thread under the hash of its text, so that the units of one policy,
 * which run one by one, share it without knowing of each other. */
#ifndef SBX_SIGNAL_SCANNER_H
#define SBX_SIGNAL_SCANNER_H

#include "base/arena.h"
#include "base/err.h"

struct scanner;
struct scan;

enum { SCANNER_STATES_MAX = 1 << 22 };  /* bytes of all keywords, about; beyond: refused */
#define SCAN_NONE UINT32_MAX

enum scan_bounds {
    SCAN_ANYWHERE,                      /* a substring */
    SCAN_WORD,                          /* RE2's \b at both ends: ASCII word characters */
    SCAN_APART,                         /* no letter or digit of any script beside it, save CJK */
};

struct scanner *scanner_new(struct arena *a);       /* in a, with everything it compiles */

/* Each returns a feature; asking twice for the same gives the same. `fold`: case-insensitive by
 * Unicode simple folding, as RE2's (?i). Texts are copied. */
uint32_t scanner_word(struct scanner *s, str text, enum scan_bounds bounds, bool fold);
uint32_t scanner_word_count(struct scanner *s, str text, enum scan_bounds bounds, bool fold);
/* An RE2 pattern. SCAN_NONE and *e when it does not compile. */
uint32_t scanner_pattern(struct scanner *s, str pattern, bool fold, struct err *e);
uint32_t scanner_pattern_count(struct scanner *s, str pattern, bool fold, struct err *e);
/* All markers occur, in this order and without overlap. n >= 1, no marker empty. */
uint32_t scanner_sequence(struct scanner *s, const str *markers, size_t n, bool fold);

/* For tests and measurements, before sealing: memory of the RE2 set and of the automaton's rows. */
void scanner_tune(struct scanner *s, size_t set_bytes, size_t dense_bytes);
bool scanner_seal(struct scanner *s);               /* false: more than SCANNER_STATES_MAX */

/* Reads the text, or remembers. Valid until this thread's next call with another text, twice
 * (the last two scans are kept). */
const struct scan *scan_text(const struct scanner *s, str text);
bool scan_has(const struct scan *r, uint32_t feature);
const uint64_t *scan_bits(const struct scan *r);    /* bit f: feature f occurs */
/* Non-overlapping occurrences of a feature made by a _count function. `text` as scanned. */
uint64_t scan_count(const struct scan *r, uint32_t feature, str text);

/* What the scanner made of its features, for benchmarks and explanations. */
struct scanner_stats {
    uint32_t n_features, n_needles, n_states;
    uint32_t n_lowered;                 /* patterns that became words */
    uint32_t n_gated;                   /* patterns behind literals */
    uint32_t n_in_set;                  /* patterns in the RE2 set */
    size_t table_bytes;
};
struct scanner_stats scanner_stats(const struct scanner *s);

#endif
