/* select/session.c */
#include "select/session.h"

#include <math.h>

const struct session_rules session_defaults = {
    .idle_ns = 300 * (uint64_t)1000000000, .turns_min = 1, .margin = .05, .prefix_weight = .20, .history_weight = .04,
    .frontier_weight = 1.6, .history_tokens = 16000, .stability = 1, .locks_tools = true, .locks_state = true,
    .resets_on_drift = true, .resets_on_idle = true, .counts_turns_left = true,
};

static double clamp(double v, double hi)
{
    return v > 0 ? fmin(v, hi) : 0;
}

double session_warmth(const struct session_facts *f)
{
    if (isfinite(f->warmth))
        return clamp(f->warmth, .85);
    double base = fmax(.5, fmin(.72, f->history_tokens / 48000));
    return clamp(base + .12 * f->is_tool_loop + .08 * f->has_state + .06 * f->is_frontier, .85);
}

/* What a switch must gain: the margin, the warm prefix that is lost, and a little for every switch there was. */
static double gain_needed(const struct session_rules *r, const struct session_facts *f)
{
    double mass = clamp(f->history_tokens / r->history_tokens, 1);
    if (r->counts_turns_left)                   /* the prefix will be used so many times more */
        mass = fmax(mass, clamp(f->turns_left / 8, 1));
    double dear = 1 + r->frontier_weight * clamp(f->pressure, 1);
    return r->margin + r->stability * (r->prefix_weight * mass * session_warmth(f) * dear
                                       + r->history_weight * fmin(f->switches / 8.0, 1));
}

struct session_choice session_choose(const struct session_rules *r, const struct session_facts *f)
{
    bool is_idle = r->idle_ns && f->silent_ns > r->idle_ns;
    const struct { bool holds; enum session_verdict verdict; const char *reason; } rules[] = {
        { !f->has_previous, SESSION_TAKE, "first_turn" },
        { f->is_same, SESSION_STAY, "same" },
        { r->locks_tools && f->is_tool_loop, SESSION_STAY, "tool_loop" },
        { r->locks_state && f->has_state, SESSION_STAY, "provider_state" },
        { f->is_failing, SESSION_TAKE, "rescue" },
        { r->resets_on_idle && is_idle, SESSION_TAKE, "idle" },
        { r->is_whole_session, SESSION_STAY, "whole_session" },
        { r->resets_on_drift && f->has_drifted, SESSION_TAKE, "drift" },
        { f->turns < r->turns_min, SESSION_STAY, "too_soon" },
    };
    for (unsigned i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i].holds)
            return (struct session_choice){ rules[i].verdict, rules[i].reason, 0 };
    double needed = gain_needed(r, f);
    bool takes = f->gain > needed;
    return (struct session_choice){ takes ? SESSION_TAKE : SESSION_STAY, takes ? "gain" : "held", needed };
}
