/* select/session.h -- may a conversation change its model now?
 *
 * A switch costs what the new model's prompt cache does not hold, and breaks tool loops and provider-side state. So a
 * conversation stays on its model unless the other one promises more than staying is worth. Rules come in a fixed order, the
 * first that applies decides, and its name is the reason that is logged. The constants are VSR's (spec 02, 1.13; spec 03, 1.9).
 * Pure. */
#ifndef SBX_SELECT_SESSION_H
#define SBX_SELECT_SESSION_H

#include <stdbool.h>
#include <stdint.h>

struct session_rules {
    uint64_t idle_ns;               /* longer silence: the cache is cold, the session may switch freely */
    uint32_t turns_min;             /* turns on one model before it may be left */
    double margin;                  /* quality that a switch must gain in any case */
    double prefix_weight;           /* quality that a whole warm prefix is worth */
    double history_weight;          /* that many earlier switches are worth */
    double frontier_weight;         /* how much more a prefix counts on a dear model */
    double history_tokens;          /* tokens of history that count as all */
    double stability;               /* multiplies the three weights; 0: only the margin counts */
    bool locks_tools, locks_state, resets_on_drift, resets_on_idle, counts_turns_left;
    bool is_whole_session;          /* scope: session. Never leave the model before the idle time is over */
};

extern const struct session_rules session_defaults;

struct session_facts {              /* of one turn */
    bool has_previous;              /* the session had a turn, and its model is among those that can be chosen */
    bool is_same;                   /* the proposal is the model of the turn before */
    bool is_tool_loop;              /* a tool call of the last answer waits for its result */
    bool has_state;                 /* previous_response_id: the provider keeps the conversation */
    bool has_drifted;               /* another decision than on the turn before */
    bool is_frontier;               /* the present model is the dearest of the candidates */
    uint64_t silent_ns;             /* since the turn before */
    uint32_t turns, switches;       /* turns on the present model; switches so far */
    double history_tokens;          /* that the present model may have cached */
    double turns_left;              /* expected; 0: unknown */
    double gain;                    /* expected quality of the proposal less that of the present model */
    /* what a cached token saves, on the dearer of the two models, over the most it saves on any: 0..1 */
    double pressure;
    double warmth;                  /* 0..1: measured; NAN: from the history */
    bool is_failing;                /* the present model has failed this session: rescue */
};

enum session_verdict { SESSION_TAKE, SESSION_STAY };

struct session_choice {
    enum session_verdict verdict;
    /* "first_turn", "tool_loop", "provider_state", "drift", "idle", "same", "gain", "held", ... */
    const char *reason;
    double needed;                  /* gain that a switch needed; 0 where no rule asked */
};

struct session_choice session_choose(const struct session_rules *rules, const struct session_facts *f);
double session_warmth(const struct session_facts *f);       /* share of the prefix that the present model has cached, 0 .. .85 */

#endif
