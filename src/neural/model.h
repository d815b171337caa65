/* neural/model.h -- inside of the service: trunks and heads as their users share them. Others use service.h. */
#ifndef SBX_MODEL_H
#define SBX_MODEL_H

#include <pthread.h>

#include "neural/service.h"
#include "neural/spans.h"
#include "neural/window.h"

struct neural_model {
    struct neural_model *next;          /* registry; these six under its lock */
    unsigned holders;
    enum { MODEL_OPENING, MODEL_OPEN, MODEL_BROKEN } state;
    char *folder, *adapter;             /* real path; NULL: not in the registry, none */
    struct neural_model_options options;
    struct err why;                     /* BROKEN, for those who waited */

    uint64_t serial;                    /* in keys: never used twice */
    struct encoder *encoder;
    struct tokenizer *tokenizer;
    struct arena *a;
    struct window_rule rule;
    uint32_t dim;                       /* of vectors handed out */
    uint32_t n_middle;                  /* of those of the middle layer; 0: there is none */
    uint32_t n_labels;                  /* of its own sequence classifier, else 0 */
    struct span_scheme spans;           /* of its own token classifier; n_labels 0: has none */
};

/* A row of an answer: the vector, the middle layer's, the own classes. */
static inline uint32_t neural_model_width(const struct neural_model *m)
{
    return m->dim + m->n_middle + m->n_labels;
}

/* Where head h finds its vector in a row; -1: it does not fit this model. */
static inline int64_t neural_model_vector_at(const struct neural_model *m, const struct head *h)
{
    bool is_middle = h->layer != 0 && h->layer != m->encoder->shape.exit_layer;
    if (is_middle)
        return m->n_middle && h->layer == m->options.middle_layer && h->dim == m->n_middle ? (int64_t)m->dim : -1;
    return h->dim == m->dim ? 0 : -1;
}

/* From parts that become the model's; not shared. NULL and *e: the parts are closed. Tests bring their own encoder here. */
struct neural_model *neural_model_make(struct encoder *encoder, struct tokenizer *tokenizer, const struct neural_model_options *o,
                                       struct err *e);

/* One content of a head file. All versions of a head have the same labels and shape. */
struct head_version {
    struct head_version *older;
    unsigned holders;                   /* atomic builtins */
    uint64_t serial;
    struct head *head;
    struct arena *a;
    struct span_scheme spans;           /* HEAD_TOKENS */
};
struct neural_head;
struct head_version *head_version_now(const struct neural_head *h);     /* good until the head is released */
struct head_version *head_version_hold(struct head_version *v);         /* ... and longer */
void head_version_release(struct head_version *v);      /* NULL is fine */

#endif
