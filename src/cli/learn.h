/* cli/learn.h -- labelled rows in memory, as `train`, `calibrate` and `evaluate` need them. */
#ifndef SBX_CLI_LEARN_H
#define SBX_CLI_LEARN_H

#include "cli/rows.h"
#include "neural/train.h"
#include "pipeline/classify.h"

enum { LEARN_ROWS_MAX = 4 << 20 };

struct learn_row { str text; uint32_t label, source; float weight; };  /* label: index in labels; source: in sources; weight: 0: not given */

struct learn {
    struct arena *a;
    struct learn_row *rows; uint32_t n;
    str *labels; uint32_t n_labels;     /* names as in the data, in order of first appearance; sorted when they are all numbers */
    str *sources; uint32_t n_sources;   /* "" when the data names none */
    str positive;                       /* given by the caller: the name of what is looked for; may be empty */
    /* Labels are 0 and 1 (or false and true), or two of which one is `positive`: label is 1 for that one, n_labels 2. */
    bool is_binary;
    bool has_weights;                   /* some row states its own */
};

/* Reads `n` files; rows without a label are an error, rows of sources in `without` (NULL-terminated; may be NULL) are left out.
 * 0, or -1 and *e. */
int learn_read(struct learn *l, const char *const *files, size_t n, const char *const *without, struct err *e);

/* The trunk's vectors of all rows [n][dim] (malloc'ed; the caller frees), with a progress bar. NULL: it has been told why. */
float *learn_vectors(const struct learn *l, const struct need_source *source, const char *command);

/* The same of any texts [n]. */
float *texts_vectors(const str *texts, uint32_t n, const struct need_source *source, const char *command);

/* Their hashed words: features (malloc'ed) and starts [n + 1]. False: no memory. */
bool learn_words(const struct learn *l, const struct ngram_spec *spec, struct ngram_feature **features, uint64_t **starts);

/* What a positive answer of a signal is called in the signal's own vocabulary; "" for signals with several classes. */
str learn_positive(str signal);
/* How likely label 1 is by a classification: the positive label's probability; of feedback all that is not "satisfied"; of spans the
 * surest; else the first label's. */
float learn_score(const struct classification *c, str positive);

#endif
