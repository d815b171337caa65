/* admin/eval.h -- the question and the answer of POST /api/v1/eval (spec 01, section 6.3).
 *
 * Only parsing and rendering, from plain inputs: the HTTP resource and the command line both
 * fill in what they know. */
#ifndef SBX_ADMIN_EVAL_H
#define SBX_ADMIN_EVAL_H

#include "base/err.h"
#include "base/json.h"
#include "decide/decide.h"
#include "select/select.h"

#define EVAL_INVALID_INPUT "INVALID_INPUT"              /* 400: whatever eval_parse refuses */
#define EVAL_INVALID_MODEL "INVALID_ROUTING_MODEL"      /* 400: the caller's, for unknown models */

struct eval_request {
    str text;                           /* for original_text: the text, else the current user's */
    bool is_text;                       /* {"text": ...}: behaves as one user message */
    struct chat chat;                   /* chat.model may be empty */
};

/* Reads {text | messages, model?, tools?, ...}. Texts point into body and a; raw JSON is measured
 * as Go's json.Marshal would write it, as VSR does here. Returns 0, or -1 and a sentence in e. */
int eval_parse(struct arena *a, str body, struct eval_request *out, struct err *e);

struct eval_in {
    str original_text, requested_model;
    str recipe;                         /* "default" for the top-level routing */
    const struct policy *policy;
    const struct decide_scratch *scratch;       /* after an eager run */
    const struct decision *decision;
    const struct facts *facts;
    const struct select_ops *selector;  /* of the decision; NULL: static */
    const struct pick *pick;            /* over decision->conf->refs; NULL: nothing was picked */
    const char *method;                 /* what select_run reported; NULL */
    str default_model;                  /* for no decision or one without models; may be empty */
    bool with_trace;                    /* ?trace=true */
    /* The same request decided lazily: tells what the data plane spares. NULL: not shown. */
    const struct decision *lazy;
    const struct decide_scratch *lazy_scratch;
    const bool *is_enough;              /* [policy_n_units] decide_enough; NULL: not asked */
};

void eval_render(const struct eval_in *in, struct buf *out);

#endif
