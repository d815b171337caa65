/* decide/decide.c -- from signals to the winning decision, with as few signals as it takes.
 *
 * One routine, `settle`, brings everything between the signals and the rules up to date:
 * partitions, composers, top-k, scores, mappings. It works on whatever is known so far, with
 * ranges where something is missing; once all is known the ranges are points. Then every
 * decision has an outlook (no, maybe, certain; lowest and highest confidence), and the lazy loop
 * asks: is there a decision that certainly matches and ranks before every other that still may?
 * If not, it runs the cheapest unit that can change an outlook, and looks again. The eager mode
 * is the same with all units run first, so the two cannot disagree about what anything means. */
#include <assert.h>
#include <math.h>

#include "decide/engine.h"

static void scratch_clear(struct decide_scratch *s);

/* ---- what is still needed ---- */

static void need_signal(struct decide_scratch *s, uint32_t slot)
{
    if (!bit_is(s->done, slot))
        bit_put(s->need, slot, true);
}

static void need_slot(struct decide_scratch *s, uint32_t slot);

static void need_group(struct decide_scratch *s, const struct group *g, uint32_t slot)
{
    for (uint32_t i = 0; group_has(g, slot) && i < g->n; i++)
        need_slot(s, g->members[i]);
}

static void need_score(struct decide_scratch *s, uint32_t index)
{
    if (index == NO_INDEX || s->has_score[index])
        return;
    s->has_score[index] = true;
    const struct score *score = &s->p->scores[index];
    for (uint32_t i = 0; i < score->n_terms; i++) {
        const struct term *t = &score->terms[i];
        if (t->weight == 0)
            continue;
        if (t->score != NO_INDEX)
            need_score(s, t->score);
        else
            need_slot(s, t->slot);
    }
}

static void need_slot(struct decide_scratch *s, uint32_t slot)
{
    const struct policy *p = s->p;
    if (bit_is(s->seen, slot))
        return;
    bit_put(s->seen, slot, true);
    if (p->mapping_of[slot] != NO_INDEX) {
        need_score(s, p->mappings[p->mapping_of[slot]].score);
        return;
    }
    need_signal(s, slot);
    for (uint32_t i = 0; i < p->n_groups; i++)
        need_group(s, &p->groups[i], slot);
    for (uint32_t i = 0; i < p->n_cuts; i++)
        need_group(s, &p->cuts[i], slot);
    /* A composer saw its leaves before top-k cut some of them, so the planes cannot tell which of
     * them it still depends on: all. */
    if (p->composer_of[slot] != NO_INDEX && !bit_is(s->set, slot)) {
        uint32_t root = p->composers[p->composer_of[slot]].root;
        for (uint32_t n = root; n < p->nodes[root].next; n++) {
            if (p->nodes[n].kind == NODE_LEAF)
                need_slot(s, p->nodes[n].slot);
        }
    }
}

/* The leaves on which the tree's truth still depends, and with `weigh` its confidence. */
static void need_tree(struct decide_scratch *s, uint32_t at, bool weigh)
{
    const struct policy *p = s->p;
    const struct node *n = &p->nodes[at];
    if (n->kind == NODE_LEAF && !bit_is(s->set, n->bit)) {  /* most of a first look */
        need_slot(s, n->slot);
        return;
    }
    if (!weigh) {
        struct truth t = node_truth(p, s, at);
        for (uint32_t c = at + 1; c < n->next && t.lo != t.hi; c = p->nodes[c].next)
            need_tree(s, c, false);
        return;
    }
    struct outlook o = node_outlook(p, s, at);
    bool is_exact = o.confidence.lo == o.confidence.hi;
    if (o.lo == o.hi && (o.hi < 2 || is_exact))
        return;
    if (n->kind == NODE_LEAF) {
        need_slot(s, n->slot);
        return;
    }
    for (uint32_t c = at + 1; c < n->next; c = p->nodes[c].next) {
        if (n->kind == NODE_OR && o.lo == 2) {  /* only who might raise the maximum */
            struct outlook child = node_outlook(p, s, c);
            if (child.hi < 2 || child.confidence.hi <= o.confidence.lo)
                continue;
        }
        need_tree(s, c, n->kind != NODE_NOT);
    }
}

static void need_reach(struct decide_scratch *s, uint32_t i)
{
    for (uint32_t w = 0; w < s->p->slot_words; w++)
        s->need[w] |= s->p->choices[i].reach[w] & s->p->signals[w] & ~s->done[w];
}

static void want_reach(struct decide_scratch *s, uint32_t i)
{
    for (uint32_t w = 0; w < s->p->slot_words; w++)
        s->wanted[w] |= s->p->choices[i].reach[w];
}

/* ---- the lazy loop ---- */

enum {
    CONTENDERS_MAX = 64,                /* compared pairwise; beyond: taken to be tied */
    LOOK_PER_SETTLING = 4,              /* looks it takes, on average, for one to settle the matter: a unit
                                         * cheaper than so many looks runs without another */
    COST_BYTES = 2048,                  /* the text that units state their cost for */
};

struct contest {
    enum decide_mode mode;
    struct tiering tiering;
    uint32_t leader;                    /* certain, and no certain one is ahead; NO_INDEX */
    uint32_t n;                         /* contenders: possible, and not behind the leader */
    uint32_t some[CONTENDERS_MAX];      /* the first of them */
};

static bool is_contender(struct decide_scratch *s, const struct contest *c, uint32_t i)
{
    return s->outlook[i].is_possible &&
           (c->leader == NO_INDEX || c->leader == i ||
            place_now(s, c->leader, i, c->tiering) != AHEAD);
}

static void contest_open(struct decide_scratch *s, struct contest *c)
{
    c->tiering = tiering_now(s);
    c->leader = NO_INDEX;
    c->n = 0;
    /* Being ahead is no total order while things are open, so one round may stop at somebody
     * whom an earlier one beats. Every change is a step up: it ends. */
    for (uint32_t before = NO_INDEX - 1; before != c->leader; ) {
        before = c->leader;
        for (uint32_t i = 0; i < s->p->n_choices; i++) {
            if (s->outlook[i].is_certain &&
                (c->leader == NO_INDEX || place_now(s, i, c->leader, c->tiering) == AHEAD))
                c->leader = i;
        }
    }
    for (uint32_t i = 0; i < s->p->n_choices; i++) {
        if (!is_contender(s, c, i))
            continue;
        if (c->n < CONTENDERS_MAX)
            c->some[c->n] = i;
        c->n++;
    }
}

static bool is_settled(struct decide_scratch *s, const struct contest *c)
{
    if (c->n == 0)
        return true;                            /* nobody can match any more */
    if (c->n > 1 || c->leader == NO_INDEX)
        return false;
    const struct outlook *o = &s->outlook[c->leader];
    if (o->lo != o->hi && s->p->choices[c->leader].conf->on_unknown == UNKNOWN_FAIL_REQUEST)
        return false;                           /* matched or failed? */
    struct range r = choice_confidence(s, c->leader);
    return c->mode == DECIDE_WINNER || r.lo == r.hi;
}

/* Whether the confidence of contender i can matter against another contender. */
static bool is_tied(struct decide_scratch *s, const struct contest *c, uint32_t i)
{
    const struct policy *p = s->p;
    if (c->n > CONTENDERS_MAX)
        return true;
    for (uint32_t k = 0; k < c->n; k++) {
        const struct choice *a = &p->choices[i], *b = &p->choices[c->some[k]];
        if (a == b)
            continue;
        if (p->is_ternary ? place_later(p, a, b) == OPEN
                          : (c->tiering.is_possible && a->tier == b->tier) ||
                                (!c->tiering.is_certain && is_confidence_next(p, a, b)))
            return true;
    }
    return false;
}

static void needs_clear(struct decide_scratch *s)
{
    size_t bytes = s->p->slot_words * sizeof *s->need;
    memset(s->need, 0, bytes);
    memset(s->seen, 0, bytes);
    memset(s->wanted, 0, bytes);
    memset(s->has_score, 0, s->p->n_scores);
}

static void contest_needs_only(struct decide_scratch *s, uint32_t winner)
{
    needs_clear(s);
    want_reach(s, winner);
    need_tree(s, s->p->choices[winner].tree.root, true);
}

/* Signals that can still change the outcome, into s->need; and into s->wanted all that can
 * influence a decision that is still of interest, for units that can leave out the others. */
static void contest_needs(struct decide_scratch *s, const struct contest *c)
{
    const struct policy *p = s->p;
    needs_clear(s);
    bool is_tiering_open = !p->is_ternary && c->tiering.is_certain != c->tiering.is_possible;
    bool is_pool_open = false;
    for (uint32_t i = 0; i < p->n_choices; i++) {
        if (!is_contender(s, c, i))
            continue;
        bool tied = is_tied(s, c, i);
        is_pool_open |= tied && p->is_ternary;
        want_reach(s, i);
        need_tree(s, p->choices[i].tree.root, tied || (c->n == 1 && c->mode != DECIDE_WINNER));
        if (tied && p->is_ternary)
            need_reach(s, i);
    }
    /* Decisions that cannot win, but decide by what the others are ranked. */
    for (uint32_t i = 0; i < p->n_choices && (is_tiering_open || is_pool_open); i++) {
        const struct outlook *o = &s->outlook[i];
        if (!o->is_possible || (is_tiering_open && !p->choices[i].has_tier))
            continue;
        want_reach(s, i);
        if (is_pool_open)
            need_reach(s, i);
        else
            need_tree(s, p->choices[i].tree.root, false);
    }
}

static bool unit_is_needed(const struct decide_scratch *s, uint32_t u)
{
    uint64_t hit = 0;
    for (uint32_t w = 0; w < s->p->slot_words; w++)
        hit |= s->p->unit_mask[u][w] & s->need[w];
    return hit != 0;
}

/* The cheapest unit from `first` on that has not run and fills something needed. */
static uint32_t unit_next(const struct decide_scratch *s, uint32_t first)
{
    for (uint32_t u = first; u < s->p->n_units; u++) {
        if (!s->has_run[u] && unit_is_needed(s, u))
            return u;
    }
    return NO_INDEX;
}

/* A slot is done when no unit is left that might fill it. */
static void done_update(struct decide_scratch *s)
{
    const struct policy *p = s->p;
    for (uint32_t w = 0; w < p->slot_words; w++) {
        uint64_t open = 0;
        for (uint32_t u = 0; u < p->n_units; u++)
            open |= s->has_run[u] ? 0 : p->unit_mask[u][w];
        s->done[w] = p->signals[w] & ~open;
    }
}

static const struct facts *unit_facts(const struct decide_scratch *s, uint32_t u, const struct facts *f)
{
    return s->reads_short[u] ? &s->short_facts : f;
}

static void unit_ask(struct decide_scratch *s, uint32_t u, const struct facts *f)
{
    const struct signal_unit *unit = s->p->units[u];
    for (uint32_t w = 0; w < s->p->slot_words; w++)
        s->asked[w] = s->wanted[w] & s->p->unit_mask[u][w];
    if (unit->ask)
        unit->ask(unit->state, unit_facts(s, u, f), s->asked, &s->needs);
}

/* Of the needs from `first` on, those that a forward already asked for answers too stay. */
static void needs_keep_free(struct needs *list, uint32_t asked, uint32_t first)
{
    uint32_t kept = first;
    for (uint32_t i = first; i < list->n; i++) {
        bool is_free = false;
        for (uint32_t k = list->n_gathered; k < asked && !is_free; k++)
            is_free = need_shares_forward(&list->items[k], &list->items[i]);
        if (is_free)
            list->items[kept++] = list->items[i];
    }
    list->n = kept;
}

static void needs_gather(struct decide_scratch *s)
{
    struct needs *list = &s->needs;
    if (list->n == list->n_gathered)
        return;
    if (s->gather)
        s->gather(s->gather_arg, list);
    for (uint32_t i = list->n_gathered; i < list->n; i++) {
        struct need *n = &list->items[i];
        if (!n->is_answered && !n->why)
            n->why = n->source->why_absent ? n->source->why_absent : "no-model";
    }
    list->n_gathered = list->n;
}

/* What unit u needs, and with it what other open units can have of the same forward passes. */
static void unit_gather(struct decide_scratch *s, uint32_t u, const struct facts *f)
{
    unit_ask(s, u, f);
    uint32_t asked = s->needs.n;
    for (uint32_t v = 0; v < s->p->n_units && asked > s->needs.n_gathered; v++) {
        if (v == u || s->has_run[v] || !s->p->units[v]->ask || !unit_is_needed(s, v))
            continue;
        uint32_t first = s->needs.n;
        unit_ask(s, v, f);
        needs_keep_free(&s->needs, asked, first);
    }
    needs_gather(s);
}

static void unit_run(struct decide_scratch *s, uint32_t u, const struct facts *f,
                     struct arena *a)
{
    const struct signal_unit *unit = s->p->units[u];
    uint64_t start = s->now ? s->now() : 0;
    if (unit->ask)
        unit_gather(s, u, f);
    for (uint32_t w = 0; w < s->p->slot_words; w++)
        s->asked[w] = s->wanted[w] & s->p->unit_mask[u][w];
    unit->run(unit->state, unit_facts(s, u, f), s->asked, a, &s->raw);
    s->has_run[u] = true;
    if (unit->shared)
        s->shared_done = unit->shared;
    s->unit_ns[u] += s->now ? s->now() - start : 0;
}

/* All needs at once: one forward a trunk and text. Every unit that asked has waited for the answers. */
static void gather_for_all(struct decide_scratch *s, const struct facts *f)
{
    for (uint32_t u = 0; u < s->p->n_units; u++) {
        uint32_t before = s->needs.n_asked;
        if (!s->is_skipped[u])
            unit_ask(s, u, f);
        s->has_asked[u] = s->needs.n_asked != before;
    }
    uint64_t start = s->now ? s->now() : 0;
    needs_gather(s);
    uint64_t waited = s->now ? s->now() - start : 0;
    for (uint32_t u = 0; u < s->p->n_units; u++)
        s->unit_ns[u] += s->has_asked[u] ? waited : 0;
}

static void look(struct decide_scratch *s, bool is_complete)
{
    settle(s);
    literals_fill(s);
    for (uint32_t i = 0; i < s->p->n_choices; i++)
        choice_truth(s, i, is_complete);
}

static struct decision decision_of(struct decide_scratch *s, uint32_t winner)
{
    struct decision d = { .index = winner, .signals = &s->out };
    if (winner == NO_INDEX)
        return d;
    const struct choice *c = &s->p->choices[winner];
    struct range r = choice_confidence(s, winner);
    d.conf = c->conf;
    d.confidence = r.lo;
    d.confidence_max = r.hi;
    d.is_failed = s->p->is_ternary && s->outlook[winner].lo == 1 &&
                  c->conf->on_unknown == UNKNOWN_FAIL_REQUEST;
    return d;
}

/* Whether unit u costs less, on a text of this size and after what others have done, than finding out whether it is needed. */
static bool is_cheap(const struct decide_scratch *s, uint32_t u)
{
    const struct signal_unit *unit = s->p->units[u];
    uint64_t ns = unit->cost_ns + (unit->shared != s->shared_done ? unit->shared_ns : 0);
    return ns * (s->text_bytes + COST_BYTES / 8) <= (uint64_t)LOOK_PER_SETTLING * s->p->look_ns * COST_BYTES;
}

static void cheap_units_run(struct decide_scratch *s, const struct facts *f, struct arena *a)
{
    memset(s->wanted, 0xff, s->p->slot_words * sizeof *s->wanted);
    for (uint32_t u = 0; u < s->p->n_units; u++) {
        if (!s->has_run[u] && is_cheap(s, u))
            unit_run(s, u, f, a);
    }
    done_update(s);
}

static bool asks_nothing(struct decide_scratch *s, uint32_t u, const struct facts *f)
{
    uint32_t before = s->needs.n;
    unit_ask(s, u, f);
    bool is_free = s->needs.n == before;
    s->needs.n = before;
    return is_free;
}

/* The cheapest that is needed. But before it asks a model, what asks nothing for this request (there is no turn before it, the answer is
 * there already) has its turn: that may spare the question. */
static uint32_t unit_choose(struct decide_scratch *s, const struct facts *f)
{
    uint32_t first = unit_next(s, 0);
    if (first == NO_INDEX || !s->p->units[first]->ask)
        return first;
    for (uint32_t u = first; u != NO_INDEX; u = unit_next(s, u + 1)) {
        if (!s->p->units[u]->ask || asks_nothing(s, u, f))
            return u;
    }
    return first;
}

static uint32_t decide_lazily(struct decide_scratch *s, const struct facts *f, struct arena *a,
                              enum decide_mode mode)
{
    struct contest c = { .mode = mode };
    cheap_units_run(s, f, a);
    for (;;) {
        look(s, false);
        contest_open(s, &c);
        if (is_settled(s, &c))
            return c.n ? c.leader : NO_INDEX;
        contest_needs(s, &c);
        uint32_t u = unit_choose(s, f);
        if (u == NO_INDEX) {
            /* All that decides is known; the winner's confidence may still be missing. */
            uint32_t winner = pick_final(s);
            if (winner == NO_INDEX || mode == DECIDE_WINNER)
                return winner;
            contest_needs_only(s, winner);
            u = unit_choose(s, f);
            if (u == NO_INDEX)
                return winner;
        }
        unit_run(s, u, f, a);
        while ((u = unit_next(s, u + 1)) != NO_INDEX && is_cheap(s, u))
            unit_run(s, u, f, a);
        done_update(s);
    }
}

static bool is_skipped(str type, const char *const *skip_types)
{
    for (; skip_types && *skip_types; skip_types++) {
        if (str_eq(type, str_of(*skip_types)))
            return true;
    }
    return false;
}

/* Which units read a shortened text in place of the whole one, and the facts that they get. */
static void short_readers_find(struct decide_scratch *s, const struct facts *f, struct arena *a)
{
    const struct shortened *of = f->shortened;
    memset(s->reads_short, of != NULL, s->p->n_units * sizeof *s->reads_short);
    if (!of)
        return;
    s->short_facts = *f;
    facts_shorten(&s->short_facts, a);
    for (uint32_t u = 0; u < s->p->n_units; u++) {
        for (size_t i = 0; i < of->n_whole_types; i++)
            s->reads_short[u] &= !str_eq(s->p->units[u]->type, of->whole_types[i]);
    }
}

struct decision decide_run(const struct policy *p, const struct facts *f,
                           struct decide_scratch *s, struct arena *a, enum decide_mode mode,
                           const char *const *skip_types)
{
    assert(s->p == p);
    scratch_clear(s);
    struct facts with_needs = *f;
    with_needs.needs = &s->needs;
    f = &with_needs;
    s->needs = (struct needs){ .a = a };
    short_readers_find(s, f, a);
    s->shared_done = NULL;
    s->text_bytes = f->evaluation_text.len;
    bool *skipped = s->is_skipped;
    for (uint32_t u = 0; u < p->n_units; u++) {
        s->unit_ns[u] = 0;
        skipped[u] = s->has_run[u] = is_skipped(p->units[u]->type, skip_types);
        for (uint32_t i = 0; i < p->units[u]->n_slots && skipped[u]; i++)
            s->raw.why_unknown[p->units[u]->slots[i]] = "skipped";
    }
    done_update(s);
    uint32_t winner;
    if (mode == DECIDE_EAGER) {
        memset(s->wanted, 0xff, p->slot_words * sizeof *s->wanted);
        gather_for_all(s, f);
        for (uint32_t u = 0; u < p->n_units; u++) {
            if (!skipped[u])
                unit_run(s, u, f, a);
        }
        done_update(s);
        look(s, true);
        winner = pick_final(s);
    } else {
        winner = decide_lazily(s, f, a, mode);
    }
    struct decision d = decision_of(s, winner);
    for (uint32_t u = 0; u < p->n_units; u++) {
        d.n_units_run += s->has_run[u] && !skipped[u];
        d.n_units_avoided += !s->has_run[u];
        d.n_calls += p->units[u]->ask && s->has_run[u] && !skipped[u];
        d.n_calls_avoided += p->units[u]->ask && !s->has_run[u];
    }
    return d;
}

static bool settles_without(struct decide_scratch *s, struct contest *c)
{
    done_update(s);
    look(s, false);
    contest_open(s, c);
    return is_settled(s, c);
}

uint32_t decide_enough(struct decide_scratch *s, bool *is_enough)
{
    const struct policy *p = s->p;
    struct contest c = { .mode = DECIDE_WINNER };
    uint32_t n = 0;
    for (uint32_t u = p->n_units; u-- > 0; ) {
        bool is_call = p->units[u]->ask && s->has_run[u] && !s->is_skipped[u];
        s->has_run[u] &= !is_call;
        is_enough[u] = is_call && !settles_without(s, &c);
        s->has_run[u] |= is_enough[u];
        n += is_enough[u];
    }
    for (uint32_t u = 0; u < p->n_units; u++)
        s->has_run[u] = true;
    done_update(s);
    look(s, true);
    return n;
}

struct decision decide_given(const struct policy *p, struct decide_scratch *s)
{
    assert(s->p == p);
    memcpy(s->done, p->signals, p->slot_words * sizeof *s->done);
    look(s, true);
    return decision_of(s, pick_final(s));
}

struct sigset *decide_sigset(struct decide_scratch *s)
{
    return &s->raw;
}

/* ---- scratch ---- */

static void scratch_clear(struct decide_scratch *s)
{
    const struct policy *p = s->p;
    memset(s->raw.yes, 0, p->slot_words * sizeof *s->raw.yes);
    memset(s->raw.known, 0, p->slot_words * sizeof *s->raw.known);
    for (uint32_t i = 0; i < p->n_slots; i++) {
        s->raw.confidence[i] = NAN;
        s->raw.value[i] = NAN;
    }
    memcpy(s->raw.why_unknown, p->why_absent, p->n_slots * sizeof *s->raw.why_unknown);
    memset(s->raw.detail, 0, p->n_slots * sizeof *s->raw.detail);
}

struct decide_scratch *decide_scratch_new(struct arena *a, const struct policy *p)
{
    struct decide_scratch *s = ARENA_NEW(a, struct decide_scratch);
    uint32_t n = p->n_slots, n_literal_words = 2 * p->n_words;
    s->p = p;
    s->raw = (struct sigset){
        .yes = ARENA_ARRAY(a, uint64_t, p->slot_words),
        .known = ARENA_ARRAY(a, uint64_t, p->slot_words),
        .confidence = ARENA_ARRAY(a, float, n),
        .value = ARENA_ARRAY(a, double, n),
        .why_unknown = ARENA_ARRAY(a, const char *, n),
        .detail = ARENA_ARRAY(a, str, n),
        .n_slots = n,
        .n_words = p->slot_words,
    };
    s->done = ARENA_ARRAY(a, uint64_t, p->slot_words);
    s->set = ARENA_ARRAY(a, uint64_t, p->n_words);
    s->yes = ARENA_ARRAY(a, uint64_t, p->n_words);
    s->known = ARENA_ARRAY(a, uint64_t, p->n_words);
    s->exact = ARENA_ARRAY(a, uint64_t, p->slot_words);
    s->out = s->raw;
    s->out.yes = s->yes;
    s->out.known = s->known;
    s->out.confidence = ARENA_ARRAY(a, float, n);
    s->score = ARENA_ARRAY(a, struct range, p->n_scores);
    s->is_score_final = ARENA_ARRAY(a, bool, p->n_scores);
    s->must = ARENA_ARRAY(a, uint64_t, n_literal_words);
    s->may = ARENA_ARRAY(a, uint64_t, n_literal_words);
    s->must_known = ARENA_ARRAY(a, uint64_t, n_literal_words);
    s->may_known = ARENA_ARRAY(a, uint64_t, n_literal_words);
    s->outlook = ARENA_ARRAY(a, struct outlook, p->n_choices);
    s->has_run = ARENA_ARRAY(a, bool, p->n_units);
    s->is_skipped = ARENA_ARRAY(a, bool, p->n_units);
    s->has_asked = ARENA_ARRAY(a, bool, p->n_units);
    s->reads_short = ARENA_ARRAY(a, bool, p->n_units);
    s->unit_ns = ARENA_ARRAY(a, uint64_t, p->n_units);
    s->need = ARENA_ARRAY(a, uint64_t, p->slot_words);
    s->wanted = ARENA_ARRAY(a, uint64_t, p->slot_words);
    s->asked = ARENA_ARRAY(a, uint64_t, p->slot_words);
    s->seen = ARENA_ARRAY(a, uint64_t, p->slot_words);
    s->has_score = ARENA_ARRAY(a, bool, p->n_scores);
    scratch_clear(s);
    return s;
}

void decide_gather(struct decide_scratch *s, void (*gather)(void *arg, struct needs *needs), void *arg)
{
    s->gather = gather;
    s->gather_arg = arg;
}

void decide_clock(struct decide_scratch *s, uint64_t (*now)(void))
{
    s->now = now;
}

uint32_t policy_n_units(const struct policy *p)
{
    return p->n_units;
}

const struct signal_unit *policy_unit_at(const struct policy *p, uint32_t unit)
{
    return p->units[unit];
}

enum unit_fate decide_unit_fate(const struct decide_scratch *s, uint32_t unit, uint64_t *ns)
{
    if (ns)
        *ns = s->unit_ns[unit];
    return s->is_skipped[unit] ? UNIT_SKIPPED : s->has_run[unit] ? UNIT_RUN : UNIT_AVOIDED;
}
