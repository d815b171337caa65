/* pipeline/ask.h -- one question of our own to a model of the configuration.
 *
 * It does not pass through routing, so nothing that routing asks can ask again. What it costs is counted like any call: the model's
 * metrics, the rates, budgets and books of whoever it is made for. */
#ifndef SBX_PIPELINE_ASK_H
#define SBX_PIPELINE_ASK_H

#include "pipeline/req.h"

enum { ASK_ANSWER_MAX = 1 << 20 };      /* bytes of an answer's body; beyond: "malformed" */

/* heard.why: "timeout", "cancelled", "unreachable", "refused" (its dialect cannot say the question), "status", "malformed", "empty",
 * "budget", "no-model". */
struct ask_answer {
    str model;                          /* whoever was asked */
    struct heard heard;
    struct usage usage;
    double cost;                        /* in the model's currency; NAN: not known */
    uint64_t took_ns;
};

/* For `of`: its caller pays, its deadline holds, its provider keys are used; or for `payer` alone. Everything lives in `a`. Waits at
 * most for the question's timeout, and not at all when a budget does not allow it. On a fiber only. */
struct asking_for { struct req *of; struct caller *payer; uint64_t seed; };
WAITS void ask_model(struct arena *a, struct snap *s, const struct select_question *q, const struct asking_for *by,
                     struct ask_answer *out);

/* The model of that name, if questions can be put to it; else NULL: there is none, it only embeds, it is built in. */
const struct model *ask_finds(const struct snap *s, str name);

#endif
