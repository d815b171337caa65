/* decide/need.h -- what pure code wants of the outside world: an embedding, a label, spans of a text.
 *
 * A signal's unit says what it needs (ask), somebody who may wait gathers it (pipeline/gather.c: encoders of this process, or a remote
 * service), then the unit runs and reads the answers. So evaluation stays a function of its inputs. Needs of one request with the same
 * source and text are one need. */
#ifndef SBX_NEED_H
#define SBX_NEED_H

#include "base/arena.h"

enum need_kind {
    NEED_EMBEDDING,                     /* vectors of the text's windows, L2-normalised */
    NEED_LABELS,                        /* probabilities of a classifier's labels for each window */
    NEED_SPANS,                         /* labelled byte spans */
};

/* Who answers; made by whoever serves models (pipeline/models.c), lives as long as the snapshot. */
struct need_source {
    enum need_kind kind;
    str name;                           /* for people: "minilm/jailbreak" */
    const char *why_absent;             /* NULL: it is there; else a short reason: "no-model" */
    uint32_t cost_ns;                   /* rough, 128 tokens; orders the units */
    const void *trunk;                  /* sources with the same trunk share one forward; NULL: alone */
    str *labels; uint32_t n_labels;     /* LABELS, SPANS */
    float window_share;                 /* LABELS of a long text: share of the largest window, the rest of the mean */
    uint32_t dim;                       /* EMBEDDING */
    /* EMBEDDING: thresholds of v0.3 files are written for the cosines of the reference model. Increasing knots from this model's
     * cosine to that scale; n_knots 0: as it is. See need_similarity. */
    const float *knot_from, *knot_to; uint32_t n_knots;
};

struct need_span { uint32_t from, to; uint32_t label; float score; };  /* bytes of the text, end exclusive */

struct need {
    const struct need_source *source;
    str text;
    bool is_answered;                   /* false after gathering: `why` says why */
    const char *why;                    /* "timeout", "queue-full", "no-model", "remote-error"; literal */
    uint32_t n_windows;                 /* a long text is read in windows over its whole length */
    const float *values;                /* EMBEDDING: [n_windows][dim]; LABELS: [n_windows][n_labels] */
    const struct need_span *spans; uint32_t n_spans;
    uint32_t n_tokens;                  /* read for it, as far as known */
};

struct needs {
    struct arena *a;                    /* request */
    struct need *items; uint32_t n;     /* grows: keep indices, not pointers, while asking */
    uint32_t n_gathered;                /* items before it have been through gather */
    uint32_t n_asked;                   /* calls of need_ask, also for what was on the list */
};

uint32_t need_ask(struct needs *list, const struct need_source *source, str text);    /* index; found or added */
const struct need *need_find(const struct needs *list, const struct need_source *source, str text);  /* NULL: never asked */
bool need_shares_forward(const struct need *a, const struct need *b);   /* one pass of one trunk answers both */
float need_similarity(const struct need_source *s, float cosine);  /* on the scale that thresholds are written in */

#endif
