/* base/text.h -- likeness of texts: edit distance, ASCII readings, words. */
#ifndef SBX_TEXT_H
#define SBX_TEXT_H

#include "base/arena.h"

/* Levenshtein distance of code points; limit + 1 when it is above the limit. */
unsigned text_distance(const uint32_t *a, size_t na, const uint32_t *b, size_t nb, unsigned limit);

/* Code points of s, lower-cased if asked. In a. */
uint32_t *text_codes(struct arena *a, str s, bool lower, size_t *n);

enum { ASCII_MAX = 12 };                /* bytes that one code point may become */

/* An ASCII reading of a code point: é -> e, ж -> zh, か -> ka, 가 -> ga, — -> --. A character of
 * Han script becomes a word of its own and letters of scripts without a table keep their number,
 * so that equal stays equal. What is no letter, digit or punctuation becomes "[?]". */
size_t text_ascii(uint32_t code, char out[ASCII_MAX]);

/* The next word of ASCII text by the rules of UAX #29, as far as ASCII goes: letters, digits and
 * underscores, joined by one ' . : between letters and one ' . , ; between digits. Empty at the
 * end. */
str text_word(str text, size_t *at);

#endif
