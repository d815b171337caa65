/* pipeline/learning_request.h -- where a request meets what was learned: four lines in the story of a request.
 *
 *   snap_build       s->learning = learning_conf_build(s->a, s->config, out);
 *   snap_publish     learning_start(s);                         before it: opens the state, so that no request waits for that
 *   pick_models      if (learning_adapt(r) < 0) return -1;      after r->order is filled: evidence, then the session, may
 *                                                              put another model first; a spent budget refuses
 *   account_finish   learning_observe(r, cost);                 what we saw ourselves is an outcome, too
 *   access_line      a.selection = learning_log(r);
 *
 * All are cheap and do nothing when `global.router.learning` is off. */
#ifndef SBX_LEARNING_REQUEST_H
#define SBX_LEARNING_REQUEST_H

#include "pipeline/learning.h"
#include "pipeline/req.h"

enum learning_mode { LEARNING_APPLY, LEARNING_OBSERVE, LEARNING_BYPASS };   /* observe: decides and logs, changes nothing */
enum candidate_set { SET_DECISION, SET_TIER, SET_GLOBAL };

struct decision_learning {              /* decisions[].adaptations over the global keys */
    enum learning_mode adaptation, protection;
    enum candidate_set set;
    double margin, stability;
};

struct judge;
struct learner;

enum payer { PAYER_ALL, PAYER_KEY, PAYER_USER, PAYER_TEAM, PAYER_PROJECT };      /* who has a budget */

struct learning_conf {                  /* of a snapshot */
    bool adapts, protects;
    bool is_whole_session;
    str session_header, conversation_header;
    double idle_s, scale, floor;
    const struct evidence_ops *strategy;
    struct evidence_tuning tuning;
    uint32_t screen_top;
    int64_t turns_min;
    str state_dir;                      /* "": in memory only */
    /* a trained table that says what to expect; never changed, shared by all threads. NULL: cards say it */
    struct learner *table;
    struct judge *judge;                /* pipeline/judge.h; NULL: none */
    uint8_t *places;                    /* [n_kinds of the table] in a context */
    uint64_t checkpoint_ns;
    double budget_usd;                  /* a window; 0: none */
    uint64_t budget_window_ns; bool budget_slides; enum payer budget_per;
    int64_t output_tokens;              /* most of an answer whose request does not say */
    struct decision_learning **decisions;   /* [recipe][decision] */
};

/* NULL: learning is off. Opens the state directory of the process when there is one. */
struct learning_conf *learning_conf_build(struct arena *a, const struct config *c, struct findings *out);

void learning_start(const struct snap *s);      /* blocks for I/O, once a state directory; else the first request does it */

struct learned {                        /* what learning did to a request */
    struct chosen chosen;
    struct offer *offers;
    uint64_t kind, session, decision;
    const struct evidence_ops *strategy;
    str base, proposal, model;          /* of the selector, of the evidence, after the session */
    const char *action;                 /* "bypass", "observe", "keep_base", "propose_switch", "suppress_sampling" */
    struct session_choice session_choice;
    bool has_session;
    double value;                       /* reward believed of the model that was taken */
    int64_t *most, cheapest, reserved;  /* nano-USD: [n] that an answer can cost; of the cheapest; promised to this request */
    uint64_t purse;                     /* whose budget */
};

int  learning_adapt(struct req *r);              /* 0; -1: r->fail */
void learning_observe(struct req *r, double cost_usd);      /* NAN: unknown */
/* {"seed": ..., "arms": [...], ...}: all it takes to throw the die again, and the candidates' figures. In the request's arena; ""
 * when nothing was chosen. */
str  learning_log(struct req *r);
/* For whoever checks an answer against its output contract. */
void learning_answer_form(struct req *r, bool is_failed);

#endif
