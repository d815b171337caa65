/* base/stem.h -- English words to their stems: Porter2, and the words too common to count. */
#ifndef SBX_STEM_H
#define SBX_STEM_H

#include "base/str.h"

enum { STEM_MAX = 64 };                 /* longer words are left alone */

/* Stems a lower-case ASCII word in place (one byte of room behind it is needed). Returns the new
 * length, at most len + 1. http://snowball.tartarus.org/algorithms/english/stemmer.html */
size_t stem_english(char *word, size_t len);
bool   stop_english(str word);          /* lower case; the list of NLTK */

#endif
