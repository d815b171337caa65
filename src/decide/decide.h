/* decide/decide.h -- from signals to the winning decision.
 *
 * policy_build compiles a profile into slots, units and flat programs; decide_run evaluates
 * it for one request. A *slot* is a (type, name) pair a rule can refer to; a *unit* computes
 * the slots of one signal type together, at a known cost. Lazy mode runs units from cheap to
 * dear and stops when the winner can no longer change; eager mode runs all and leaves
 * everything explained. Both always choose the same (tests/unit/decide, property test).
 *
 * Pure: no I/O, no clock, no chance; no allocation in steady state beyond the scratch that
 * decide_scratch_new makes once per fiber or thread (it is reset, not freed, per run). */
#ifndef SBX_DECIDE_H
#define SBX_DECIDE_H

#include "base/buf.h"
#include "base/map.h"
#include "decide/facts.h"
#include "decide/need.h"
#include "decide/policy.h"

/* What a signal found, per slot. Bits: yes => known. */
struct sigset {
    uint64_t *yes, *known;              /* [words] one bit a slot */
    float *confidence;                  /* [slots] NAN: none stored (counts as 1.0 when matched) */
    double *value;                      /* [slots] NAN: none */
    const char **why_unknown;           /* [slots] NULL, or a short reason: "not-built", "timeout" */
    str *detail;                        /* [slots] what matched, for people; may be empty */
    uint32_t n_slots, n_words;
};

static inline void sig_set(struct sigset *s, uint32_t slot, bool matched)
{
    s->known[slot >> 6] |= 1ull << (slot & 63);
    if (matched)
        s->yes[slot >> 6] |= 1ull << (slot & 63);
}

static inline bool sig_yes(const struct sigset *s, uint32_t slot)
{
    return s->yes[slot >> 6] >> (slot & 63) & 1;
}

static inline bool sig_known(const struct sigset *s, uint32_t slot)
{
    return s->known[slot >> 6] >> (slot & 63) & 1;
}

/* Computes the slots of one signal type. `wanted` has a bit for each slot somebody still asks
 * for; a unit may ignore it. What it leaves not known stays unknown. A unit that needs something
 * gathered says so in `ask`; `run` finds the answers in f->needs (need_find). */
struct signal_unit {
    str type;                           /* leaf type */
    uint32_t cost_ns;                   /* rough, for a 2 KB text; orders the units */
    const void *shared; uint32_t shared_ns;     /* work that several units need and the first one does, such as a
                                         * scan of the text: not in cost_ns; NULL: none */
    void *state;                        /* compiled rules; snapshot arena */
    void (*ask)(const void *state, const struct facts *f, const uint64_t *wanted,
                struct needs *needs);   /* NULL: needs nothing */
    void (*run)(const void *state, const struct facts *f, const uint64_t *wanted,
                struct arena *request, struct sigset *out);
    uint32_t *slots; uint32_t n_slots;  /* which it fills */
};

/* Given to signal makers at build time. */
struct policy;
struct policy_builder;
uint32_t policy_slot(struct policy_builder *b, str type, str name);  /* found or made */
struct arena *policy_arena(struct policy_builder *b);
struct signal_unit *policy_unit(struct policy_builder *b, str type, uint32_t cost_ns);
void unit_fills(struct policy_builder *b, struct signal_unit *u, uint32_t slot);
struct findings *policy_findings(struct policy_builder *b);
/* A composer: the slot only holds while this rule tree holds too (spec 01, section 2.4.11).
 * `tree` as written, {operator, conditions} or a leaf; a missing operator means AND. NULL: none. */
void policy_compose(struct policy_builder *b, uint32_t slot, const struct value *tree);
/* Of all slots of `type` that hold only the k most confident stay (ties by name); composers see
 * them before. For the embedding signal; 0: all. */
void policy_top_k(struct policy_builder *b, str type, uint32_t k);
/* Names under which a slot's detail, value or confidence is asked for but that no rule lists:
 * not shown among matched and unmatched signals. */
void policy_hide(struct policy_builder *b, uint32_t slot);

/* Compiles. `make_signals` (signal/signal.h) turns the profile's rules into units and slots.
 * NULL when findings got an error. The policy lives in a and points into the profile. */
struct policy *policy_build(struct arena *a, const struct profile *profile,
                            int (*make_signals)(struct policy_builder *b, const struct profile *p, void *arg),
                            void *arg, struct findings *out);

struct decide_scratch;
struct decide_scratch *decide_scratch_new(struct arena *a, const struct policy *p);

enum decide_mode {
    DECIDE_LAZY,                        /* until the winner and its confidence are settled */
    DECIDE_EAGER,                       /* everything, for explanations */
    DECIDE_WINNER,                      /* until the winner is; its confidence may stay a range */
};

struct decision {
    const struct decision_conf *conf;   /* NULL: none matched -> default model */
    uint32_t index;                     /* in profile->decisions */
    double confidence;
    double confidence_max;              /* differs with DECIDE_WINNER only: it is at most this */
    bool is_failed;                     /* on_unknown: fail_request -> 503 */
    uint32_t n_units_run, n_units_avoided;
    uint32_t n_calls, n_calls_avoided;  /* of models: units that ask, run and not run */
    const struct sigset *signals;       /* in the scratch, valid until its next run */
};

/* Runs the policy. In eager mode everything is evaluated for decide_explain. `a` is the
 * request's arena. `units_off`: bit per signal type to skip, e.g. authz on the eval path; NULL. */
struct decision decide_run(const struct policy *p, const struct facts *f, struct decide_scratch *s,
                           struct arena *a, enum decide_mode mode, const char *const *skip_types);

/* Tests and benchmarks: decide with the signals already filled in (scratch's sigset). */
struct sigset *decide_sigset(struct decide_scratch *s);         /* cleared by decide_run, not by this */
struct decision decide_given(const struct policy *p, struct decide_scratch *s);

/* Who answers needs: called with those from needs->n_gathered on, may wait. NULL (the default): they stay
 * unanswered, "no-model". */
void decide_gather(struct decide_scratch *s, void (*gather)(void *arg, struct needs *needs), void *arg);

/* Lets runs be timed unit by unit; NULL (the default): no clock is asked. */
void decide_clock(struct decide_scratch *s, uint64_t (*now)(void));

/* After an eager run: marks [n_units] calls of models that settle the winner by themselves, with all that costs no call. Calls are left out
 * one by one, the dearest first, where the rest still settles it: what who knew the answers beforehand would have to ask, so about the
 * least that any order of asking can do with. How many; the scratch is as before. */
uint32_t decide_enough(struct decide_scratch *s, bool *is_enough);

enum unit_fate { UNIT_AVOIDED, UNIT_RUN, UNIT_SKIPPED };
uint32_t policy_n_units(const struct policy *p);                /* in the order of their cost */
const struct signal_unit *policy_unit_at(const struct policy *p, uint32_t unit);
/* What the last run did with a unit, and its nanoseconds (may be NULL): with its wait for models. */
enum unit_fate decide_unit_fate(const struct decide_scratch *s, uint32_t unit, uint64_t *ns);

const struct profile *policy_profile(const struct policy *p);
uint32_t policy_n_slots(const struct policy *p);
str policy_slot_type(const struct policy *p, uint32_t slot);
str policy_slot_name(const struct policy *p, uint32_t slot);
bool policy_slot_is_used(const struct policy *p, uint32_t slot); /* reachable from some decision */
int64_t policy_slot_find(const struct policy *p, str type, str name);   /* -1: none */

/* After an eager run: one entry per decision with its tree, as spec 01 section 4.4. */
struct json_writer;
void decide_trace_json(const struct policy *p, const struct decide_scratch *s, struct json_writer *w);
/* {"keywords": [...], ...} by response key; matched: names that hold, else those known not to. */
void decide_signals_json(const struct policy *p, const struct decide_scratch *s, bool matched,
                         bool used_only, struct json_writer *w);
void decide_scores_json(const struct policy *p, const struct decide_scratch *s, struct json_writer *w);
/* Names that some decision can depend on, whatever they said; by response key. */
void decide_used_json(const struct policy *p, const struct decide_scratch *s,
                      struct json_writer *w);
/* [{type, name, reason, used}]: signals without an answer. */
void decide_unknown_json(const struct policy *p, const struct decide_scratch *s,
                         struct json_writer *w);
/* {"type:name": number}: confidences of what matched, or raw values. */
enum decide_numbers { NUMBERS_CONFIDENCE, NUMBERS_VALUE };
void decide_numbers_json(const struct policy *p, const struct decide_scratch *s,
                         enum decide_numbers which, struct json_writer *w);
/* The same for a person: signals, projections, every decision's tree with marks. */
void decide_explain(const struct policy *p, const struct decide_scratch *s,
                    const struct decision *d, bool colour, struct buf *out);

#endif
