/* signal/compress.h -- a long text as its most telling sentences, for signals to read instead of all of it.
 *
 * VSR's prompt compression (global.model_catalog.modules.prompt_compression). Off by default: our signals read whole texts in windows,
 * and what is left out is not looked at. Only what signals read is shortened, never what is sent. */
#ifndef SBX_SIGNAL_COMPRESS_H
#define SBX_SIGNAL_COMPRESS_H

#include "base/field.h"

enum {
    SENTENCES_MAX = 500,                /* looked at; of more, those at even distances */
    SENTENCE_BYTES = 1024,              /* a longer sentence counts as several */
    PRESERVED_MAX = 100,                /* sentences kept at either end whatever their score */
};

struct compression {
    bool enabled;
    str profile;
    int64_t max_tokens, min_length;
    struct strings skip_signals;        /* types that read everything */
    double textrank, position, tfidf, novelty;      /* weights */
    double depth;                       /* how much less the middle's position is worth */
    int64_t first, last;                /* kept whatever they score */
};

struct sentence {
    str text;                           /* with the white space behind it */
    double tokens;                      /* estimated */
    double textrank, position, tfidf, novelty, score;       /* each within 0 .. 1 */
};

/* The settings, with what the profile says where they are silent; in a. NULL: off. `global` may be NULL; findings at their places. */
const struct compression *compression_make(struct arena *a, const struct value *global, struct findings *out);

/* `text` itself when it is short enough (or memory is not), else its best sentences in their order, in a. At most max_tokens of
 * them, unless those that are always kept are more by themselves. Time does not grow with the text once it has SENTENCES_MAX
 * sentences. */
str compress_text(const struct compression *c, str text, struct arena *a);

/* 1.3 a word and 1.5 a character of scripts without spaces; stops counting beyond `enough`. */
double compress_tokens(str text, double enough);

/* The steps, for tests: at most SENTENCES_MAX sentences of the text, not overlapping, in order; then their scores. False: no memory. */
size_t compress_split(const struct compression *c, str text, struct sentence out[SENTENCES_MAX]);
bool compress_score(const struct compression *c, struct sentence *all, size_t n, struct arena *a);

#endif
