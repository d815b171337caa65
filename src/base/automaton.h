/* base/automaton.h -- finds all of many words in one pass over a text (Aho and Corasick, 1975).
 *
 * The time is that of the text, however many words there are. Words are found regardless of case
 * (Unicode simple folding); who cares about case compares the bytes at the hit, which is told in
 * positions of the original text. Text that is not UTF-8 is searched byte by byte. */
#ifndef SBX_AUTOMATON_H
#define SBX_AUTOMATON_H

#include "base/arena.h"
#include "base/buf.h"

struct automaton;
struct automaton_builder;

struct automaton_builder *automaton_builder_new(struct arena *a, size_t states_max);
/* A word gets the number of its call, from 0. Empty words are never found. False: too many
 * states; the word is not in. */
bool automaton_add(struct automaton_builder *b, str word);
/* The automaton, in `a`; the builder's arena may go afterwards. `dense_bytes`: how much may be
 * spent on full transition rows, which are faster; the other states have a list and a failure
 * link. */
const struct automaton *automaton_build(struct automaton_builder *b, struct arena *a,
                                        size_t dense_bytes);

/* Called for each occurrence, by rising end, long words before their endings. */
typedef void automaton_hit(void *arg, uint32_t word, size_t start, size_t end);
/* `scratch` is memory to reuse, needed only where letters change their length when folded. */
void automaton_scan(const struct automaton *m, str text, struct buf *scratch, automaton_hit *hit,
                    void *arg);

uint32_t automaton_states(const struct automaton *m);
size_t automaton_bytes(const struct automaton *m);      /* of its tables */

#endif
