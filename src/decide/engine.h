/* decide/engine.h -- the compiled policy: made by policy.c, run by decide.c, ranked, explained.
 *
 * A *bit* is something a rule can test: one a slot, and behind them one for every distinct
 * numeric predicate on a slot. Per bit a run keeps three planes: `set` (its final state is
 * fixed), `yes`, `known` (set without known: unknown). Rules are tested on *literals*, twice as
 * many: bit b is literal b, "not b" is literal 64 * n_words + b, so that a NOT costs nothing and
 * every program is monotone. Monotone programs are run on a plane of what certainly holds and on
 * a plane of what may still hold, and the two answers bound the truth. */
#ifndef SBX_DECIDE_ENGINE_H
#define SBX_DECIDE_ENGINE_H

#include "decide/decide.h"

enum {
    RULE_DEPTH_MAX = 64,                /* beyond: finding rule-too-deep */
    RULE_NODES_MAX = 1 << 20,           /* of one profile; beyond: the same finding */
    PROJECTIONS_MAX = 1024,             /* scores and mappings of one profile; beyond: a finding */
};

#define NO_INDEX UINT32_MAX

/* ---- rules ---- */

enum node_kind { NODE_LEAF, NODE_AND, NODE_OR, NODE_NOT, NODE_TRUE, NODE_FALSE };

struct node {                           /* preorder: the first child is the next node */
    uint8_t kind;
    bool is_predicate;
    uint32_t bit, slot;                 /* leaf */
    uint32_t next;                      /* index behind the subtree */
    uint32_t n_children;
    const struct rule *rule;            /* NULL: unconditional decision */
};

/* One test of a flat program: literals of one word, all or any of them, and where to go. */
enum { GO_TRUE = -1, GO_FALSE = -2 };
struct step {
    uint64_t mask;
    uint32_t word;
    int32_t on_true, on_false;          /* step index or GO_... */
    bool is_all;
};

struct tree { uint32_t root; int32_t entry; };

struct atom {                           /* a predicate on a slot */
    uint32_t slot;
    bool matches_on_error;
    struct number_predicate predicate;
};

/* ---- what happens between signals and rules (spec 01, section 2.2, item 4) ---- */

enum group_kind { GROUP_EXCLUSIVE, GROUP_SOFTMAX, GROUP_TOP_K };

struct group {
    enum group_kind kind;
    uint32_t *members, n;
    uint32_t default_slot;              /* NO_INDEX: none */
    double temperature;
    uint32_t k;
};

struct composer { uint32_t slot; uint32_t root; const struct rule *rule; };

enum term_source { TERM_BINARY, TERM_CONFIDENCE, TERM_RAW, TERM_SCORE };

struct term {
    enum term_source source;
    double weight, match, miss;
    uint32_t slot, score;
};

struct score { const struct score_conf *conf; struct term *terms; uint32_t n_terms; };

struct mapping {
    const struct mapping_conf *conf;
    uint32_t score;                     /* NO_INDEX: its source does not exist */
    uint32_t *slots;                    /* [conf->n_outputs] */
    double slope;
    bool is_multi;
};

struct projection_step { bool is_mapping; uint32_t index; };

/* ---- decisions ---- */

/* Which scores of later revisions may be compared with each other (spec 01, section 0.2). */
enum score_kind { SCORE_NONE, SCORE_SIMILARITY, SCORE_PROBABILITY, SCORE_MIXED };

struct choice {
    const struct decision_conf *conf;
    struct tree tree;
    int64_t tier;                       /* as the revision sorts it */
    bool has_tier, is_catch_all;
    uint32_t name_rank;
    enum score_kind score_kind;
    uint64_t *reach;                    /* [slot words] every slot that can influence it */
};

struct policy {
    const struct profile *profile;
    uint32_t n_slots, n_bits;
    uint32_t slot_words, n_words;       /* of n_slots and of n_bits */
    str *type, *name;                   /* [n_slots] */
    uint32_t *unit_of;                  /* [n_slots] a unit that fills it; NO_INDEX: none */
    uint32_t *mapping_of;               /* [n_slots] a mapping's output; NO_INDEX */
    uint32_t *composer_of;              /* [n_slots] NO_INDEX */
    bool *is_used, *is_hidden;          /* [n_slots] */
    const char **why_absent;            /* [n_slots] why nothing can tell: "not-built"; NULL */
    uint64_t *undefined;                /* [slot_words] referred to but never declared: known no */
    uint64_t *unitless;                 /* [slot_words] declared, nobody fills it: unknown */
    uint64_t *signals;                  /* [slot_words] all but mapping outputs and undefined */

    struct signal_unit **units; uint32_t n_units;       /* cheapest first */
    uint64_t **unit_mask;               /* [n_units][slot_words] */

    struct node *nodes; uint32_t n_nodes;
    struct step *steps; uint32_t n_steps;
    struct atom *atoms; uint32_t n_atoms;
    struct group *groups; uint32_t n_groups;
    struct composer *composers; uint32_t n_composers;
    struct group *cuts; uint32_t n_cuts;                /* top_k, after the composers */
    struct score *scores; uint32_t n_scores;
    struct mapping *mappings; uint32_t n_mappings;
    struct projection_step *order; uint32_t n_order;    /* dependencies first */
    struct choice *choices; uint32_t n_choices;         /* in the order of the profile */
    bool is_ternary;                    /* REVISION_2026_09 */
    uint32_t look_ns;                   /* rough cost of a look at all decisions */
    bool any_tier;
};

struct range { double lo, hi; };

struct decide_scratch {
    const struct policy *p;
    struct sigset raw;                  /* what units said */
    struct sigset out;                  /* after post-steps; value, why, detail are those of raw */
    uint64_t *done;                     /* [slot_words] the unit has run, or there is none */
    uint64_t *set, *yes, *known;        /* [n_words]; out.yes and out.known are the first words */
    uint64_t *exact;                    /* [slot_words] the confidence is final too */
    struct range *score;                /* [n_scores] */
    bool *is_score_final;               /* [n_scores] every input is settled */
    uint64_t *must, *may;               /* [2 n_words] literals true for certain, possibly */
    uint64_t *must_known, *may_known;   /* ternary: the same for "at least unknown" */
    struct outlook *outlook;            /* [n_choices] */
    bool *has_run, *is_skipped;         /* [n_units] */
    bool *has_asked;                    /* [n_units] of an eager run: has waited for answers */
    bool *reads_short;                  /* [n_units] gets short_facts */
    struct facts short_facts;
    uint64_t *unit_ns;                  /* [n_units] */
    uint64_t *need, *wanted, *asked, *seen;     /* [slot_words] */
    bool *has_score;                    /* [n_scores] visited while collecting needs */
    const void *shared_done;            /* work of this kind is paid for */
    uint64_t text_bytes;
    uint64_t (*now)(void);
    struct needs needs;                 /* of this run */
    void (*gather)(void *arg, struct needs *needs); void *gather_arg;
};

/* Truth of a rule while signals are missing: 0 no, 1 unknown, 2 yes, as a range; and the
 * confidence it has in case it holds. */
struct outlook {
    uint8_t lo, hi;                     /* of the tree */
    bool is_certain, is_possible;       /* matching, with on_unknown */
    bool is_weighed;                    /* the confidence of a decision is computed on demand */
    struct range confidence;
};

/* Where one decision stands against another, both matching. */
enum standing { BEHIND = -1, OPEN = 0, AHEAD = 1 };

/* Whether the snapshot ranks by tier: some tiered decision matches. */
struct tiering { bool is_certain, is_possible; };

static inline bool bit_is(const uint64_t *set, uint32_t bit)
{
    return set[bit >> 6] >> (bit & 63) & 1;
}

static inline void bit_put(uint64_t *set, uint32_t bit, bool on)
{
    uint64_t mask = 1ull << (bit & 63);
    set[bit >> 6] = on ? set[bit >> 6] | mask : set[bit >> 6] & ~mask;
}

static inline bool group_has(const struct group *g, uint32_t slot)
{
    for (uint32_t i = 0; i < g->n; i++) {
        if (g->members[i] == slot)
            return true;
    }
    return false;
}

/* settle.c: the planes, then the literals. */
void settle(struct decide_scratch *s);
void literals_fill(struct decide_scratch *s);
void slot_is(struct decide_scratch *s, uint32_t slot, bool is_yes, bool is_known);
double confidence_of(const struct decide_scratch *s, uint32_t slot);
/* projection.c */
void score_compute(struct decide_scratch *s, uint32_t index);
void mapping_apply(struct decide_scratch *s, const struct mapping *m);
/* outlook.c */
void choice_truth(struct decide_scratch *s, uint32_t i, bool is_complete);
struct range choice_confidence(struct decide_scratch *s, uint32_t i);
/* rank.c */
struct tiering tiering_now(const struct decide_scratch *s);
int place_now(struct decide_scratch *s, uint32_t i, uint32_t k, struct tiering t);
int place_later(const struct policy *p, const struct choice *a, const struct choice *b);
bool is_confidence_next(const struct policy *p, const struct choice *a, const struct choice *b);
uint32_t pick_final(struct decide_scratch *s);

struct truth { uint8_t lo, hi; };       /* as in an outlook */
struct truth node_truth(const struct policy *p, const struct decide_scratch *s, uint32_t at);
struct outlook node_outlook(const struct policy *p, const struct decide_scratch *s, uint32_t n);
bool number_holds(const struct number_predicate *p, double v);
enum score_kind slot_score_kind(const struct policy *p, uint32_t slot);

#endif
