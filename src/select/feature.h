/* select/feature.h -- what a query looks like to a learner: hashed words and parts of words, a few cues, and a vector if somebody has one.
 *
 * No model is asked: a text of 2 KB takes some ten microseconds. Everything is a pure function of the bytes, the same on every
 * machine, so that a learner trained on one serves on another and a decision can be replayed. */
#ifndef SBX_SELECT_FEATURE_H
#define SBX_SELECT_FEATURE_H

#include "base/arena.h"

enum {
    FEATURE_BUCKETS = 1 << 16,
    FEATURE_TEXT_MAX = 16 << 10,        /* bytes that are looked at; beyond: the first and the last half of that */
    FEATURE_GRAMS_MAX = 4096,           /* distinct grams; beyond: later ones are not counted */
};

/* Shares are of all bytes of the text, so that a long text and a short one compare. */
enum feature_cue {
    CUE_LENGTH,                         /* ln(1 + bytes) / 10 */
    CUE_LINES,                          /* ln(1 + line ends) / 5 */
    CUE_DIGIT, CUE_FOREIGN,             /* shares: digits, bytes >= 0x80. Not capitals: how people type must not choose the model
                                         * */
    CUE_WORD,                           /* mean length of words in ASCII / 10 */
    CUE_CODE,                           /* share of { } ( ) [ ] ; = < > _ and of line starts that are indented */
    CUE_MATHS,                          /* share of \ $ ^ + * / and = */
    CUE_QUESTION,                       /* 1: ends with a question mark */
    CUE_CHOICES,                        /* 1: offers lettered answers, "A." or "A)" at a line's start */
    FEATURE_CUES,
};

struct gram { uint32_t bucket; float value; };  /* value: sign of the hash times (1 + ln count) */

struct features {
    /* Each gram once, by first appearance: n_words words and pairs of words, then parts of words, which tell the kind of a query and
     * cost the others more than they tell. Two may share a bucket. */
    const struct gram *grams; uint32_t n, n_words;
    float cues[FEATURE_CUES];
    uint32_t bytes, words;
    const float *vector; uint32_t dim;  /* an encoder's, of length 1; NULL: none. Set by the caller */
    str kind;                           /* the kind of query, if the caller knows it (a label of recorded data); "": to be
                                         * predicted. Set by the caller */
};

/* Fills *f from a text; grams lie in the arena. vector and kind are left empty. */
void features_read(struct features *f, struct arena *a, str text);

/* A copy in one block, for an outcome that comes later; the caller frees it with free(). NULL: no memory. */
struct features *features_keep(const struct features *f);

#endif
