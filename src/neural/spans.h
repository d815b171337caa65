/* neural/spans.h -- labels of tokens become spans of text.
 *
 * Works on words, not tokens: the probabilities of a word's tokens are averaged, so that a name is not torn where the
 * tokenizer cut it. All of a type's labels (B-, I-, E-, S- ...) speak for the type; they only decide among themselves where
 * a span begins and ends. */
#ifndef SBX_SPANS_H
#define SBX_SPANS_H

#include "neural/cache.h"

enum span_role { ROLE_INSIDE, ROLE_BEGIN, ROLE_END, ROLE_SINGLE };
enum { TYPE_OUTSIDE = UINT32_MAX };

struct span_scheme {                            /* of the labels of one token classifier; read from their names */
    uint32_t n_labels, n_types;
    uint32_t *type;                             /* [n_labels], or TYPE_OUTSIDE */
    enum span_role *role;                       /* [n_labels] */
    uint32_t *label;                            /* [n_types] the first label of the type: a span's `label` */
};
void span_scheme_make(struct span_scheme *s, const str *labels, uint32_t n, struct arena *a);   /* labels are not kept */

struct span_join {                              /* state between the windows of one text */
    const struct span_scheme *scheme;
    double *word;                               /* [n_labels] sum over the tokens of the word that is being read */
    uint32_t word_tokens;
    struct byte_range word_bytes;
    bool word_begins, word_ends;                /* what its first and last token say: by B-, by E- or S- */
    bool is_open;                               /* list[n - 1] may grow */
    uint32_t open_type, open_words;
    struct neural_span *list; uint32_t n, cap;
    bool is_failed;                             /* no memory */
};
int  span_join_begin(struct span_join *j, const struct span_scheme *s);     /* -1: no memory */
/* The next tokens in text order; probabilities: [n][n_labels], each row sums to 1. `text`: the bytes that they lie in, which
 * begin at `shift` of the whole text. */
void span_join_add(struct span_join *j, str text, uint32_t shift, const struct byte_range *tokens, uint32_t n,
                   const float *probabilities);
void span_join_gap(struct span_join *j);        /* what follows is not the neighbour of what came before; also at the end */
void span_join_free(struct span_join *j);

#endif
