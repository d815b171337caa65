/* cli/decisions.h -- logged decisions: what a line of the access log says of a choice, and what outcomes files say came of it. */
#ifndef SBX_CLI_DECISIONS_H
#define SBX_CLI_DECISIONS_H

#include "base/err.h"
#include "base/json.h"
#include "base/map.h"
#include "select/evidence.h"

enum { DECISION_ARMS_MAX = 256 };

struct logged_arm { str model; struct arm arm; double expected, penalty, cost, chance; };   /* NAN: not logged */

struct logged {                         /* one decision; texts lie in the line's arena */
    str id, decision, recipe, model, algorithm, reason, base, proposal, action, session;
    str body;                           /* of the request, if it was captured */
    jref headers;                       /* in *json; JSON_NONE */
    uint64_t seed, kind, question;      /* question: hash of the text; 0: unknown */
    bool has_seed;
    struct bandit_rules rules;
    struct logged_arm *arms; uint32_t n_arms;
    bool has_chances;                   /* every arm has one */
    double propensity, cost, duration_ms, needed;
    int64_t status;
};

/* False: the line holds no decision with a model (or is malformed). */
bool logged_read(struct arena *a, const struct json *j, struct logged *out);
uint32_t logged_at(const struct logged *d, str model);      /* index of an arm; UINT32_MAX */

/* Whether arms, rules and seed give the logged proposal and its chance again, bit for bit. */
bool logged_replays(const struct logged *d);

/* Rewards by request id: JSON Lines of {"request_id", "reward" or "verdict"...}, or a journal of the learning. The last word
 * counts. 0, or -1 and *e. */
int rewards_read(struct arena *a, const char *path, struct map *out, struct err *e);    /* values: double * */

#endif
