/* Whatever the policy and whatever the signals say: stopping early changes nothing.
 *
 * Random policies over random signals are decided four ways: by the engine with everything
 * evaluated, by the engine lazily, by the engine from given signals, and by a naive evaluator
 * below that reads like spec 01, sections 3 and 4, with strings and recursion and no tricks.
 * SIGNALBOX_SEED=N reruns one case, SIGNALBOX_CASES=N sets how many are tried; a failing case is
 * shrunk and printed. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rand.h"
#include "decide/decide.h"

enum { SIGNALS_MAX = 24, UNITS_MAX = 8, COMPOSERS_MAX = 3 };
enum { NO, UNKNOWN, YES };

struct fact { str type, name; int state; double confidence, value; int unit; };

struct world {
    struct arena *a;
    uint64_t seed, random;
    struct profile profile;
    struct fact facts[SIGNALS_MAX]; uint32_t n_facts;
    uint32_t cost[UNITS_MAX]; uint32_t n_units;
    struct need_source source[UNITS_MAX];       /* of units that have their answers gathered: trunk set */
    unsigned n_gathers; bool has_unanswered;
    struct { uint32_t fact; struct rule *rule; } composers[COMPOSERS_MAX]; uint32_t n_composers;
    uint32_t top_k;
    bool obeys_wanted;
};

/* ---- random policies ---- */

static uint64_t below(struct world *w, uint64_t n)
{
    return rand_below(&w->random, n);
}

static bool chance(struct world *w, unsigned percent)
{
    return below(w, 100) < percent;
}

static const char *const types[] = {
    "keyword", "embedding", "domain", "structure", "kb", "complexity", "context", "jailbreak",
};

static str name_of(struct world *w, const char *what, uint64_t i)
{
    return arena_printf(w->a, "%s%d", what, (int)i);
}

static struct number_predicate random_predicate(struct world *w)
{
    struct number_predicate p = { NAN, NAN, NAN, NAN };
    double lo = ((double)below(w, 21) - 10) / 4, hi = lo + (double)below(w, 9) / 4;
    unsigned kind = (unsigned)below(w, 6);
    if (kind == 0 || kind == 4)
        p.gt = lo;
    if (kind == 1 || kind == 5)
        p.gte = lo;
    if (kind == 2 || kind == 5)
        p.lt = hi;
    if (kind == 3 || kind == 4)
        p.lte = hi;
    return p;
}

static str random_output(struct world *w)
{
    struct profile *p = &w->profile;
    if (p->n_mappings == 0)
        return S("nobody");
    struct mapping_conf *m = &p->mappings[below(w, p->n_mappings)];
    return m->outputs[below(w, m->n_outputs)].name;
}

static struct rule *random_rule(struct world *w, unsigned depth, bool is_composer)
{
    struct rule *r = ARENA_NEW(w->a, struct rule);
    unsigned kind = (unsigned)below(w, 10);
    if (depth == 0 || kind < 4) {
        r->kind = RULE_LEAF;
        struct fact *f = &w->facts[below(w, w->n_facts)];
        r->type = f->type;
        r->name = f->name;
        if (chance(w, 3))
            r->name = S("misspelt");
        if (!is_composer && chance(w, 25)) {
            r->type = S("projection");
            r->name = random_output(w);
        } else if (chance(w, 15)) {
            r->has_predicate = true;
            r->predicate = random_predicate(w);
            r->matches_on_error = !is_composer && chance(w, 30);
        }
        return r;
    }
    static const enum rule_kind kinds[] = { RULE_AND, RULE_OR, RULE_NOT, RULE_UNKNOWN };
    r->kind = kinds[below(w, is_composer ? 3 : 4)];
    r->n_children = r->kind == RULE_NOT && !chance(w, 10) ? 1 : below(w, 4);
    r->children = ARENA_ARRAY(w->a, struct rule *, r->n_children);
    for (size_t i = 0; i < r->n_children; i++)
        r->children[i] = random_rule(w, depth - 1, is_composer);
    return r;
}

static void random_facts(struct world *w, unsigned size)
{
    w->n_units = 1 + (uint32_t)below(w, UNITS_MAX);
    static const char trunks[2];
    for (uint32_t i = 0; i < w->n_units; i++)
        w->source[i].trunk = chance(w, 50) ? &trunks[below(w, 2)] : NULL;
    for (uint32_t i = 0; i < w->n_units; i++)
        w->cost[i] = (uint32_t)below(w, 5) * 15000;     /* some worth a look before them */
    w->n_facts = 2 + (uint32_t)below(w, size < SIGNALS_MAX - 2 ? size : SIGNALS_MAX - 2);
    for (uint32_t i = 0; i < w->n_facts; i++) {
        struct fact *f = &w->facts[i];
        f->type = str_of(types[below(w, COUNT_OF(types))]);
        f->name = name_of(w, "s", i);
        unsigned state = (unsigned)below(w, 10);
        f->state = state < 4 ? YES : state < 8 ? NO : UNKNOWN;
        f->unit = chance(w, 8) ? -1 : (int)below(w, w->n_units);
        f->confidence = f->value = NAN;
        if (f->state != UNKNOWN && f->unit >= 0) {
            if (f->state == YES && chance(w, 60))   /* few values, so that there are ties */
                f->confidence = (double)(float)((double)below(w, 6) / 5);
            if (chance(w, 50))
                f->value = ((double)below(w, 41) - 20) / 8;
        } else {
            f->state = UNKNOWN;
        }
    }
}

static void random_partitions(struct world *w)
{
    struct profile *p = &w->profile;
    p->partitions = ARENA_ARRAY(w->a, struct partition_conf, 3);
    for (unsigned k = 0; k < 3; k++) {          /* the last two may overlap */
        str type = k ? S("domain") : S("embedding");
        struct partition_conf c = { .name = name_of(w, "partition", k), .temperature = .5 };
        c.semantics = chance(w, 50) ? S("exclusive") : S("softmax_exclusive");
        for (uint32_t i = 0; i < w->n_facts; i++) {
            if (str_eq(w->facts[i].type, type) && chance(w, 70))
                *PUSH(w->a, c.members.items, c.members.n) = w->facts[i].name;
        }
        if (c.members.n == 0 || chance(w, 30))
            continue;
        c.default_member = c.members.items[below(w, c.members.n)];
        p->partitions[p->n_partitions++] = c;
    }
}

/* Inputs refer to earlier scores and to outputs of mappings of earlier scores: no cycles. */
static void random_projections(struct world *w)
{
    struct profile *p = &w->profile;
    static const char *const sources[] = { "", "binary", "confidence", "raw" };
    size_t n = below(w, 4);
    p->scores = ARENA_ARRAY(w->a, struct score_conf, n);
    p->mappings = ARENA_ARRAY(w->a, struct mapping_conf, n);
    for (size_t i = 0; i < n; i++) {
        struct score_conf s = { .name = name_of(w, "score", i), .method = S("weighted_sum") };
        size_t inputs = 1 + below(w, 4);
        s.inputs = ARENA_ARRAY(w->a, struct score_input, inputs);
        for (; s.n_inputs < inputs; s.n_inputs++) {
            struct score_input *in = &s.inputs[s.n_inputs];
            struct fact *f = &w->facts[below(w, w->n_facts)];
            *in = (struct score_input){
                .type = f->type, .name = f->name, .weight = ((double)below(w, 9) - 4) / 4,
                .match = 1, .value_source = str_of(sources[below(w, 4)]),
            };
            if (chance(w, 20)) {
                in->match = .5;
                in->miss = -.25;
            }
            if (i && chance(w, 30)) {
                in->type = S("projection");
                in->name = chance(w, 50) ? p->scores[below(w, i)].name : random_output(w);
                if (str_starts(in->name, S("score")))
                    in->value_source = S("score");
            }
        }
        p->scores[p->n_scores++] = s;
        struct mapping_conf m = { .name = name_of(w, "mapping", i), .source = s.name,
                                  .slope = 1 + (double)below(w, 12) };
        m.method = chance(w, 30) ? S("multi_emit") : S("threshold_bands");
        size_t outputs = 1 + below(w, 3);
        m.outputs = ARENA_ARRAY(w->a, struct mapping_output, outputs);
        for (; m.n_outputs < outputs; m.n_outputs++)
            m.outputs[m.n_outputs] = (struct mapping_output){
                name_of(w, "band", i * 10 + m.n_outputs), random_predicate(w), { 0 },
            };
        p->mappings[p->n_mappings++] = m;
    }
}

static void random_world(struct world *w, struct arena *a, uint64_t seed, unsigned size)
{
    *w = (struct world){ .a = a, .seed = seed, .random = seed };
    struct profile *p = &w->profile;
    p->name = S("random");
    p->strategy = chance(w, 50) ? STRATEGY_PRIORITY : STRATEGY_CONFIDENCE;
    p->revision = chance(w, 50) ? REVISION_2026_08 : REVISION_2026_09;
    w->obeys_wanted = chance(w, 50);
    random_facts(w, size);
    if (chance(w, 40))
        random_partitions(w);
    if (chance(w, 60))
        random_projections(w);
    for (uint32_t i = 0; i < w->n_facts && w->n_composers < COMPOSERS_MAX; i++) {
        if (str_eq(w->facts[i].type, S("complexity")) && chance(w, 50)) {
            w->composers[w->n_composers].fact = i;
            w->composers[w->n_composers++].rule = random_rule(w, 2, true);
        }
    }
    w->top_k = chance(w, 40) ? 1 + (uint32_t)below(w, 2) : 0;
    size_t n = 1 + below(w, 1 + size / 3);
    bool with_tiers = chance(w, 50);
    p->decisions = ARENA_ARRAY(a, struct decision_conf, n);
    for (; p->n_decisions < n; p->n_decisions++) {
        struct decision_conf *d = &p->decisions[p->n_decisions];
        d->name = name_of(w, "decision", (p->n_decisions * 7) % n);
        d->priority = (int64_t)below(w, 3);
        d->tier = with_tiers ? (int64_t)below(w, 3) : 0;
        d->on_unknown = (enum on_unknown)below(w, 3);
        d->rules = chance(w, 8) ? NULL : random_rule(w, 3, false);
    }
}

/* ---- the engine's view ---- */

struct unit_state { struct world *w; int unit; const struct policy **policy; };

/* Texts are few and shared, so that needs of several units meet in one forward. */
static str text_of(const struct fact *f)
{
    return f->value < 0 ? S("one text") : S("another");
}

static void unit_ask(const void *state, const struct facts *f, const uint64_t *wanted, struct needs *needs)
{
    (void)f;
    const struct unit_state *u = state;
    for (uint32_t i = 0; i < u->w->n_facts; i++) {
        const struct fact *fact = &u->w->facts[i];
        uint32_t slot = (uint32_t)policy_slot_find(*u->policy, fact->type, fact->name);
        if (fact->unit == u->unit && (wanted[slot >> 6] >> (slot & 63) & 1))
            need_ask(needs, &u->w->source[u->unit], text_of(fact));
    }
}

static void gather(void *arg, struct needs *needs)
{
    struct world *w = arg;
    w->n_gathers++;
    for (uint32_t i = needs->n_gathered; i < needs->n; i++)
        needs->items[i].is_answered = true;
}

static void unit_answer(const void *state, const struct facts *f, const uint64_t *wanted,
                        struct arena *request, struct sigset *out)
{
    (void)request;
    const struct unit_state *u = state;
    for (uint32_t i = 0; i < u->w->n_facts; i++) {
        const struct fact *fact = &u->w->facts[i];
        if (fact->unit != u->unit)
            continue;
        uint32_t slot = (uint32_t)policy_slot_find(*u->policy, fact->type, fact->name);
        bool is_wanted = wanted[slot >> 6] >> (slot & 63) & 1;
        if (u->w->obeys_wanted && !is_wanted)
            continue;
        const struct need_source *source = &u->w->source[u->unit];
        if (source->trunk) {                    /* a unit knows what it asked for, and only that */
            const struct need *n = need_find(f->needs, source, text_of(fact));
            u->w->has_unanswered |= is_wanted && (!n || !n->is_answered);
            if (!n)
                continue;
        }
        if (fact->state != UNKNOWN)
            sig_set(out, slot, fact->state == YES);
        out->confidence[slot] = (float)fact->confidence;
        out->value[slot] = fact->value;
    }
}

static struct value *value_of_rule(struct arena *a, const struct rule *r)
{
    struct value *v = value_map(a);
    if (r->kind == RULE_LEAF) {
        value_set(a, v, S("type"), value_scalar(a, r->type));
        value_set(a, v, S("name"), value_scalar(a, r->name));
        if (r->has_predicate) {
            const struct { str key; double v; } bounds[] = {
                { S("gt"), r->predicate.gt }, { S("gte"), r->predicate.gte },
                { S("lt"), r->predicate.lt }, { S("lte"), r->predicate.lte },
            };
            struct value *p = value_map(a);
            for (size_t i = 0; i < COUNT_OF(bounds); i++) {
                if (!isnan(bounds[i].v))
                    value_set(a, p, bounds[i].key,
                              value_scalar(a, arena_printf(a, "%.17g", bounds[i].v)));
            }
            value_set(a, v, S("predicate"), p);
        }
        return v;
    }
    str operator = r->kind == RULE_OR ? S("OR") : r->kind == RULE_NOT ? S("NOT") : S("AND");
    value_set(a, v, S("operator"), value_scalar(a, operator));
    struct value *list = value_list(a);
    for (size_t i = 0; i < r->n_children; i++)
        value_append(a, list, value_of_rule(a, r->children[i]));
    value_set(a, v, S("conditions"), list);
    return v;
}

struct make_arg { struct world *w; const struct policy **policy; };

static int make(struct policy_builder *b, const struct profile *p, void *arg)
{
    (void)p;
    struct make_arg *m = arg;
    struct world *w = m->w;
    for (uint32_t u = 0; u < w->n_units; u++) {
        struct signal_unit *unit = policy_unit(b, name_of(w, "unit", u), w->cost[u]);
        struct unit_state *state = ARENA_NEW(w->a, struct unit_state);
        *state = (struct unit_state){ w, (int)u, m->policy };
        unit->state = state;
        unit->run = unit_answer;
        unit->ask = w->source[u].trunk ? unit_ask : NULL;
        for (uint32_t i = 0; i < w->n_facts; i++) {
            if (w->facts[i].unit == (int)u)
                unit_fills(b, unit, policy_slot(b, w->facts[i].type, w->facts[i].name));
        }
    }
    for (uint32_t i = 0; i < w->n_facts; i++)
        policy_slot(b, w->facts[i].type, w->facts[i].name);
    for (uint32_t i = 0; i < w->n_composers; i++) {
        struct fact *f = &w->facts[w->composers[i].fact];
        policy_compose(b, policy_slot(b, f->type, f->name),
                       value_of_rule(w->a, w->composers[i].rule));
    }
    policy_top_k(b, S("embedding"), w->top_k);
    return 0;
}

/* ---- the naive evaluator ---- */

struct naive {
    const struct world *w;
    struct fact facts[SIGNALS_MAX];
    bool is_ternary, in_composer;
};

struct answer { int state; double confidence; };
struct span { double lo, hi; };

static struct fact *fact_find(struct naive *n, str type, str name)
{
    for (uint32_t i = 0; i < n->w->n_facts; i++) {
        if (str_eq(n->facts[i].name, name) && str_eq(n->facts[i].type, type))
            return &n->facts[i];
    }
    return NULL;
}

static double clamped(double c)
{
    return isnan(c) || c > 1 ? 1 : c < 0 ? 0 : c;
}

static bool holds(const struct number_predicate *p, double v)
{
    if (!isnan(p->gt) && !(v > p->gt))
        return false;
    if (!isnan(p->gte) && !(v >= p->gte))
        return false;
    if (!isnan(p->lt) && !(v < p->lt))
        return false;
    return isnan(p->lte) || v <= p->lte;
}

static struct answer naive_output(struct naive *n, str name);

/* What a score can be, unknown inputs (later revision only) taken either way. */
static struct span naive_score(struct naive *n, const struct score_conf *s)
{
    struct span sum = { 0, 0 };
    const struct profile *p = &n->w->profile;
    for (size_t i = 0; i < s->n_inputs; i++) {
        const struct score_input *in = &s->inputs[i];
        double lo, hi;
        bool found = false;
        for (size_t k = 0; k < p->n_scores && str_eq(in->type, S("projection")); k++) {
            if (str_eq(p->scores[k].name, in->name)) {
                struct span up = naive_score(n, &p->scores[k]);
                lo = up.lo, hi = up.hi, found = true;
            }
        }
        if (!found) {
            struct answer x = { NO, NAN };
            double value = NAN;
            struct fact *f = fact_find(n, in->type, in->name);
            if (f)
                x = (struct answer){ f->state, f->confidence }, value = f->value;
            else if (str_eq(in->type, S("projection")))
                x = naive_output(n, in->name);
            bool is_open = x.state == UNKNOWN && n->is_ternary;
            if (str_eq(in->value_source, S("confidence"))) {
                lo = hi = 0;
                if (is_open)
                    hi = 1;
                else if (x.state == YES)
                    lo = hi = clamped(x.confidence) > 0 ? clamped(x.confidence) : 1;
            } else if (str_eq(in->value_source, S("raw"))) {
                lo = hi = isnan(value) ? 0 : value;
                if (is_open)
                    lo = -(double)INFINITY, hi = (double)INFINITY;
            } else {
                lo = hi = x.state == YES ? in->match : in->miss;
                if (is_open)
                    lo = fmin(in->match, in->miss), hi = fmax(in->match, in->miss);
            }
        }
        if (in->weight > 0)
            sum.lo += in->weight * lo, sum.hi += in->weight * hi;
        if (in->weight < 0)
            sum.lo += in->weight * hi, sum.hi += in->weight * lo;
    }
    return sum;
}

static double naive_band_confidence(const struct number_predicate *b, double slope, double v)
{
    double nearest = INFINITY;
    if (!isnan(b->gt))
        nearest = fmin(nearest, fabs(v - b->gt));
    if (!isnan(b->gte))
        nearest = fmin(nearest, fabs(v - b->gte));
    if (!isnan(b->lt))
        nearest = fmin(nearest, fabs(v - b->lt));
    if (!isnan(b->lte))
        nearest = fmin(nearest, fabs(v - b->lte));
    return (double)(float)(1 / (1 + exp(-slope * nearest)));
}

/* Tries the score at both ends and at every bound, beside and between: bands have no other
 * corners. */
static struct answer naive_output(struct naive *n, str name)
{
    const struct profile *p = &n->w->profile;
    for (size_t k = 0; k < p->n_mappings; k++) {
        const struct mapping_conf *m = &p->mappings[k];
        size_t mine = m->n_outputs;
        for (size_t i = 0; i < m->n_outputs; i++) {
            if (str_eq(m->outputs[i].name, name))
                mine = i;
        }
        const struct score_conf *s = NULL;
        for (size_t i = 0; i < p->n_scores; i++) {
            if (str_eq(p->scores[i].name, m->source))
                s = &p->scores[i];
        }
        if (mine == m->n_outputs || !s)
            continue;
        struct span r = naive_score(n, s);
        double points[64] = { r.lo, r.hi };
        size_t n_points = 2;
        for (size_t i = 0; i < m->n_outputs; i++) {
            const struct number_predicate *b = &m->outputs[i].bounds;
            const double bounds[] = { b->gt, b->gte, b->lt, b->lte };
            for (size_t x = 0; x < 4; x++) {
                for (int side = -1; side <= 1 && !isnan(bounds[x]); side++)
                    points[n_points++] = bounds[x] + side * 1e-9;
            }
        }
        bool any_yes = false, any_no = false;
        for (size_t x = 0; x < n_points; x++) {
            if (points[x] < r.lo || points[x] > r.hi)
                continue;
            bool is_mine = holds(&m->outputs[mine].bounds, points[x]);
            for (size_t i = 0; i < mine && !str_eq(m->method, S("multi_emit")); i++)
                is_mine &= !holds(&m->outputs[i].bounds, points[x]);
            any_yes |= is_mine;
            any_no |= !is_mine;
        }
        struct answer a = { any_yes && any_no ? UNKNOWN : any_yes ? YES : NO, NAN };
        if (a.state == YES)
            a.confidence = fmin(naive_band_confidence(&m->outputs[mine].bounds, m->slope, r.lo),
                                naive_band_confidence(&m->outputs[mine].bounds, m->slope, r.hi));
        return a;
    }
    return (struct answer){ NO, NAN };
}

static struct answer naive_rule(struct naive *n, const struct rule *r, bool is_root);

static struct answer naive_leaf(struct naive *n, const struct rule *r)
{
    struct answer x = { NO, NAN };
    double value = NAN;
    if (n->in_composer && (str_eq(r->type, S("complexity")) || str_eq(r->type, S("jailbreak"))))
        return x;                               /* composers cannot see these */
    if (str_eq(r->type, S("projection"))) {
        x = naive_output(n, r->name);
    } else {
        struct fact *f = fact_find(n, r->type, r->name);
        if (f)
            x = (struct answer){ f->state, f->confidence }, value = f->value;
    }
    if (r->has_predicate) {
        value = isnan(value) ? x.confidence : value;
        if (!isnan(value))
            return (struct answer){ holds(&r->predicate, value) ? YES : NO, 1 };
        if (x.state != UNKNOWN)
            return (struct answer){ NO, 1 };
        return (struct answer){ r->matches_on_error ? YES : n->is_ternary ? UNKNOWN : NO, 1 };
    }
    if (x.state == UNKNOWN && !n->is_ternary)
        x.state = NO;
    x.confidence = clamped(x.confidence);
    return x;
}

static struct answer naive_rule(struct naive *n, const struct rule *r, bool is_root)
{
    if (!r || (is_root && r->kind == RULE_UNKNOWN && r->n_children == 0))
        return (struct answer){ YES, 0 };
    struct answer a;
    switch (r->kind) {
    case RULE_LEAF:
        return naive_leaf(n, r);
    case RULE_NOT:
        if (r->n_children != 1)
            return (struct answer){ NO, 0 };
        return (struct answer){ YES - naive_rule(n, r->children[0], false).state, 1 };
    case RULE_AND:
        a = (struct answer){ YES, 0 };
        for (size_t i = 0; i < r->n_children; i++) {
            struct answer child = naive_rule(n, r->children[i], false);
            a.state = child.state < a.state ? child.state : a.state;
            a.confidence += child.confidence;
        }
        if (r->n_children)
            a.confidence /= (double)r->n_children;
        return a;
    default:
        a = (struct answer){ NO, 0 };
        for (size_t i = 0; i < r->n_children; i++) {
            struct answer child = naive_rule(n, r->children[i], false);
            a.state = child.state > a.state ? child.state : a.state;
            if (child.state == YES && child.confidence > a.confidence)
                a.confidence = child.confidence;
        }
        return a;
    }
}

static double or_zero(double c)
{
    return isnan(c) ? 0 : c;
}

static void naive_partitions(struct naive *n)
{
    const struct profile *p = &n->w->profile;
    for (size_t k = 0; k < p->n_partitions; k++) {
        const struct partition_conf *c = &p->partitions[k];
        struct fact *members[SIGNALS_MAX], *best = NULL;
        size_t count = 0;
        bool any_unknown = false;
        for (size_t i = 0; i < c->members.n; i++) {
            struct fact *f = fact_find(n, S("domain"), c->members.items[i]);
            f = f ? f : fact_find(n, S("embedding"), c->members.items[i]);
            if (f)
                members[count++] = f;
        }
        if (count < 2)
            continue;
        for (size_t i = 0; i < count; i++) {
            any_unknown |= members[i]->state == UNKNOWN;
            if (members[i]->state == YES &&
                (!best || or_zero(members[i]->confidence) > or_zero(best->confidence)))
                best = members[i];
        }
        if (!best) {
            struct fact *f = fact_find(n, S("domain"), c->default_member);
            f = f ? f : fact_find(n, S("embedding"), c->default_member);
            if (f && !(any_unknown && n->is_ternary))
                f->state = YES, f->confidence = NAN;
            continue;
        }
        double sum = 0;
        for (size_t i = 0; i < count; i++) {
            if (members[i]->state == YES)
                sum += exp((or_zero(members[i]->confidence) - or_zero(best->confidence)) /
                           c->temperature);
        }
        for (size_t i = 0; i < count; i++) {
            if (members[i] != best && (members[i]->state == YES || n->is_ternary))
                members[i]->state = NO;
        }
        if (str_eq(c->semantics, S("softmax_exclusive")))
            best->confidence = (double)(float)(1 / sum);
    }
}

static void naive_post_steps(struct naive *n)
{
    naive_partitions(n);
    int levels[COMPOSERS_MAX];
    n->in_composer = true;
    for (uint32_t i = 0; i < n->w->n_composers; i++)
        levels[i] = naive_rule(n, n->w->composers[i].rule, true).state;
    n->in_composer = false;
    for (uint32_t i = 0; i < n->w->n_composers; i++) {
        struct fact *f = &n->facts[n->w->composers[i].fact];
        f->state = levels[i] < f->state ? levels[i] : f->state;
    }
    bool drop[SIGNALS_MAX] = { false };
    for (uint32_t i = 0; i < n->w->n_facts && n->w->top_k; i++) {
        struct fact *f = &n->facts[i];
        uint32_t better = 0;
        for (uint32_t k = 0; k < n->w->n_facts; k++) {
            struct fact *g = &n->facts[k];
            if (!str_eq(g->type, S("embedding")) || g->state != YES)
                continue;
            double x = or_zero(g->confidence), y = or_zero(f->confidence);
            better += x > y || (x == y && str_cmp(g->name, f->name) < 0);
        }
        drop[i] = str_eq(f->type, S("embedding")) && f->state == YES && better >= n->w->top_k;
    }
    for (uint32_t i = 0; i < n->w->n_facts; i++) {
        if (drop[i])
            n->facts[i].state = NO, n->facts[i].confidence = NAN;
    }
}

/* ---- naive ranking ---- */

struct matched { const struct decision_conf *d; struct answer a; bool is_real; double real; };

static const char *kind_of(str type)
{
    if (str_eq(type, S("embedding")) || str_eq(type, S("kb")))
        return "similarity";
    if (str_eq(type, S("domain")))
        return "probability";
    return str_eq(type, S("complexity")) || str_eq(type, S("jailbreak")) ? "mixed" : NULL;
}

static void kinds_collect(const struct rule *r, bool kinds[3])
{
    if (!r || r->kind == RULE_NOT)
        return;
    const char *kind = r->kind == RULE_LEAF && !r->has_predicate ? kind_of(r->type) : NULL;
    if (kind)
        kinds[kind[0] == 's' ? 0 : kind[0] == 'p' ? 1 : 2] = true;
    for (size_t i = 0; i < r->n_children; i++)
        kinds_collect(r->children[i], kinds);
}

static bool real_score(struct naive *n, const struct rule *r, double *score)
{
    if (!r || r->kind == RULE_NOT)
        return false;
    if (r->kind == RULE_LEAF) {
        struct fact *f = fact_find(n, r->type, r->name);
        if (r->has_predicate || !f || isnan(f->confidence) || f->state != YES)
            return false;
        *score = clamped(f->confidence);
        const char *kind = kind_of(r->type);
        return kind && kind[0] != 'm';
    }
    double sum = 0, best = -1;
    int count = 0;
    for (size_t i = 0; i < r->n_children; i++) {
        double one;
        if (naive_rule(n, r->children[i], false).state == YES &&
            real_score(n, r->children[i], &one))
            sum += one, best = fmax(best, one), count++;
    }
    if (count)
        *score = r->kind == RULE_AND ? sum / count : best;
    return count > 0;
}

static bool is_catch_all(const struct decision_conf *d)
{
    return !d->rules || (d->rules->n_children == 0 &&
                         (d->rules->kind == RULE_AND || d->rules->kind == RULE_UNKNOWN));
}

static const struct matched *naive_pick(struct naive *n, struct matched *m, size_t count)
{
    const struct profile *p = &n->w->profile;
    bool any_tier = false;
    for (size_t i = 0; i < count; i++)
        any_tier |= m[i].d->tier > 0;
    bool by_tier = any_tier || n->is_ternary;
    bool confidence_first = n->is_ternary ? p->strategy == STRATEGY_CONFIDENCE
                                          : any_tier || p->strategy == STRATEGY_CONFIDENCE;

    /* Later revision: only the best tier and class stay, and confidence must be comparable. */
    size_t pool = 0;
    bool comparable = true, seen[3] = { false };
    int64_t best_tier = INT64_MAX;
    bool best_catch_all = true;
    for (size_t i = 0; i < count && n->is_ternary; i++) {
        int64_t tier = m[i].d->tier > 0 ? m[i].d->tier : INT64_MAX;
        bool catch_all = is_catch_all(m[i].d);
        if (tier < best_tier || (tier == best_tier && catch_all < best_catch_all))
            best_tier = tier, best_catch_all = catch_all;
    }
    for (size_t i = 0; i < count && n->is_ternary; i++) {
        int64_t tier = m[i].d->tier > 0 ? m[i].d->tier : INT64_MAX;
        if (tier != best_tier || is_catch_all(m[i].d) != best_catch_all)
            continue;
        kinds_collect(m[i].d->rules, seen);
        comparable &= m[i].is_real;
        m[pool++] = m[i];
    }
    comparable &= seen[0] + seen[1] + seen[2] == 1 && !seen[2];
    count = n->is_ternary ? pool : count;

    const struct matched *best = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct matched *x = &m[i];
        if (!best) {
            best = x;
            continue;
        }
        double tier = by_tier && !n->is_ternary ? (double)(best->d->tier - x->d->tier) : 0;
        double confidence = n->is_ternary ? (comparable ? x->real - best->real : 0)
                                          : x->a.confidence - best->a.confidence;
        double priority = (double)(x->d->priority - best->d->priority);
        double keys[] = { tier, confidence_first ? confidence : priority,
                          confidence_first ? priority : confidence,
                          -(double)str_cmp(x->d->name, best->d->name) };
        for (size_t k = 0; k < COUNT_OF(keys); k++) {
            if (keys[k] != 0) {
                best = keys[k] > 0 ? x : best;
                break;
            }
        }
    }
    return best;
}

static struct decision naive_decide(const struct world *w)
{
    struct naive n = { .w = w, .is_ternary = w->profile.revision == REVISION_2026_09 };
    memcpy(n.facts, w->facts, sizeof n.facts);
    naive_post_steps(&n);
    struct matched m[64];
    size_t count = 0;
    for (size_t i = 0; i < w->profile.n_decisions; i++) {
        const struct decision_conf *d = &w->profile.decisions[i];
        struct matched x = { .d = d, .a = naive_rule(&n, d->rules, true) };
        if (x.a.state == YES)
            x.is_real = real_score(&n, d->rules, &x.real);
        if (x.a.state == UNKNOWN)
            x.a.confidence = 0;
        if (x.a.state == YES || (x.a.state == UNKNOWN && d->on_unknown != UNKNOWN_NO_MATCH))
            m[count++] = x;
    }
    const struct matched *best = naive_pick(&n, m, count);
    struct decision d = { 0 };
    if (best) {
        d.conf = best->d;
        d.confidence = best->a.confidence;
        d.is_failed = best->a.state == UNKNOWN && best->d->on_unknown == UNKNOWN_FAIL_REQUEST;
    }
    return d;
}

/* ---- the comparison ---- */

static const char *name_text(struct arena *a, const struct decision *d)
{
    return d->conf ? arena_cstr(a, d->conf->name) : "none";
}

static bool same(struct arena *a, const char *what, const struct decision *x,
                 const struct decision *y, bool exactly, char *why, size_t room)
{
    bool ok = x->conf == y->conf && x->is_failed == y->is_failed;
    if (ok && exactly)
        ok = x->confidence == y->confidence || fabs(x->confidence - y->confidence) < 1e-12;
    else if (ok)
        ok = x->confidence <= y->confidence && y->confidence <= x->confidence_max;
    if (!ok)
        snprintf(why, room, "%s says %s (%.9g..%.9g%s), expected %s (%.9g%s)", what,
                 name_text(a, x), x->confidence, x->confidence_max,
                 x->is_failed ? ", failed" : "", name_text(a, y), y->confidence,
                 y->is_failed ? ", failed" : "");
    return ok;
}

static struct { unsigned long cases, run, avoided, winner_avoided, none, calls, winner_calls, enough; } tally;

/* True when all agree. */
static bool check(struct world *w, char *why, size_t room)
{
    struct findings findings = { .a = w->a };
    const struct policy *p = NULL;
    struct make_arg arg = { w, &p };
    p = policy_build(w->a, &w->profile, make, &arg, &findings);
    if (!p) {
        snprintf(why, room, "policy_build: " STR_FMT, STR_ARG(findings.items[0].text));
        return false;
    }
    struct facts f = { 0 };
    struct decide_scratch *s = decide_scratch_new(w->a, p);
    decide_gather(s, gather, w);
    struct decision expected = naive_decide(w);
    struct decision eager = decide_run(p, &f, s, w->a, DECIDE_EAGER, NULL);
    if (w->n_gathers > 1 || eager.n_calls_avoided > 0) {
        snprintf(why, room, "eager: %u gathers, %u calls avoided", w->n_gathers, eager.n_calls_avoided);
        return false;
    }
    bool *is_enough = ARENA_ARRAY(w->a, bool, policy_n_units(p));
    uint32_t n_enough = decide_enough(s, is_enough);
    if (n_enough > eager.n_calls) {
        snprintf(why, room, "more calls are enough than there are");
        return false;
    }
    struct decision given = decide_given(p, s);
    struct decision again = decide_given(p, s);
    struct decision lazy = decide_run(p, &f, s, w->a, DECIDE_LAZY, NULL);
    struct decision winner = decide_run(p, &f, s, w->a, DECIDE_WINNER, NULL);
    if (w->has_unanswered || lazy.n_calls > eager.n_calls || winner.n_calls > eager.n_calls) {
        snprintf(why, room, "a unit ran without its answers, or lazy asked more than eager");
        return false;
    }
    tally.cases++;
    tally.run += lazy.n_units_run;
    tally.avoided += lazy.n_units_avoided;
    tally.winner_avoided += winner.n_units_avoided;
    tally.calls += lazy.n_calls;
    tally.winner_calls += winner.n_calls;
    tally.enough += n_enough;
    tally.none += !eager.conf;
    return same(w->a, "eager", &eager, &expected, true, why, room) &&
           same(w->a, "given", &given, &eager, true, why, room) &&
           same(w->a, "given again", &again, &eager, true, why, room) &&
           same(w->a, "lazy", &lazy, &eager, true, why, room) &&
           same(w->a, "winner only", &winner, &eager, false, why, room);
}

static void rule_print(const struct rule *r)
{
    static const char *const operators[] = { "", "AND", "OR", "NOT", "?" };
    if (!r) {
        printf("always");
    } else if (r->kind == RULE_LEAF) {
        printf(STR_FMT ":" STR_FMT, STR_ARG(r->type), STR_ARG(r->name));
        if (r->has_predicate)
            printf("{gt %g gte %g lt %g lte %g%s}", r->predicate.gt, r->predicate.gte,
                   r->predicate.lt, r->predicate.lte, r->matches_on_error ? " on_error" : "");
    } else {
        printf("%s(", operators[r->kind]);
        for (size_t i = 0; i < r->n_children; i++) {
            if (i)
                printf(", ");
            rule_print(r->children[i]);
        }
        printf(")");
    }
}

static void world_print(const struct world *w)
{
    static const char *const states[] = { "no", "unknown", "yes" };
    const struct profile *p = &w->profile;
    printf("revision %s, strategy %s, top_k %u, %s\n", p->revision ? "2026-09" : "2026-08",
           p->strategy ? "confidence" : "priority", w->top_k,
           w->obeys_wanted ? "units obey wanted" : "units compute all");
    for (uint32_t i = 0; i < w->n_facts; i++) {
        const struct fact *f = &w->facts[i];
        printf("  " STR_FMT ":" STR_FMT " %s confidence %g value %g unit %d cost %u\n",
               STR_ARG(f->type), STR_ARG(f->name), states[f->state], f->confidence, f->value,
               f->unit, f->unit < 0 ? 0 : w->cost[f->unit]);
    }
    for (uint32_t i = 0; i < w->n_composers; i++) {
        printf("  composer of " STR_FMT ": ", STR_ARG(w->facts[w->composers[i].fact].name));
        rule_print(w->composers[i].rule);
        printf("\n");
    }
    for (size_t i = 0; i < p->n_partitions; i++) {
        printf("  partition " STR_FMT " default " STR_FMT ":", STR_ARG(p->partitions[i].semantics),
               STR_ARG(p->partitions[i].default_member));
        for (size_t k = 0; k < p->partitions[i].members.n; k++)
            printf(" " STR_FMT, STR_ARG(p->partitions[i].members.items[k]));
        printf("\n");
    }
    for (size_t i = 0; i < p->n_mappings; i++) {
        printf("  " STR_FMT " =", STR_ARG(p->scores[i].name));
        for (size_t k = 0; k < p->scores[i].n_inputs; k++) {
            const struct score_input *in = &p->scores[i].inputs[k];
            printf(" %+g*" STR_FMT "(" STR_FMT " %g/%g)", in->weight, STR_ARG(in->name),
                   STR_ARG(in->value_source), in->match, in->miss);
        }
        printf(" -> " STR_FMT " slope %g", STR_ARG(p->mappings[i].method), p->mappings[i].slope);
        for (size_t k = 0; k < p->mappings[i].n_outputs; k++) {
            const struct mapping_output *o = &p->mappings[i].outputs[k];
            printf(" " STR_FMT "{gt %g gte %g lt %g lte %g}", STR_ARG(o->name), o->bounds.gt,
                   o->bounds.gte, o->bounds.lt, o->bounds.lte);
        }
        printf("\n");
    }
    for (size_t i = 0; i < p->n_decisions; i++) {
        const struct decision_conf *d = &p->decisions[i];
        printf("  " STR_FMT " tier %d priority %d on_unknown %d: ", STR_ARG(d->name),
               (int)d->tier, (int)d->priority, (int)d->on_unknown);
        rule_print(d->rules);
        printf("\n");
    }
}

/* Drops decisions, partitions and composers, and puts conditions in the place of their
 * operators, as long as it still fails. */
static bool shrink_rule(struct world *w, struct rule **at, char *why, size_t room)
{
    struct rule *r = *at;
    for (size_t i = 0; r && i < r->n_children; i++) {
        *at = r->children[i];
        if (!check(w, why, room))
            return true;
        *at = r;
        if (shrink_rule(w, &r->children[i], why, room))
            return true;
    }
    return false;
}

static bool shrink_step(struct world *w, char *why, size_t room)
{
    struct profile *p = &w->profile;
    for (size_t i = 0; i < p->n_decisions; i++) {
        struct decision_conf *old = p->decisions;
        p->decisions = ARENA_ARRAY(w->a, struct decision_conf, p->n_decisions);
        memcpy(p->decisions, old, i * sizeof *old);
        memcpy(p->decisions + i, old + i + 1, (p->n_decisions - i - 1) * sizeof *old);
        p->n_decisions--;
        if (!check(w, why, room))
            return true;
        p->n_decisions++;
        p->decisions = old;
    }
    if (p->n_partitions && p->n_partitions--) {
        if (!check(w, why, room))
            return true;
        p->n_partitions++;
    }
    if (w->n_composers && w->n_composers--) {
        if (!check(w, why, room))
            return true;
        w->n_composers++;
    }
    for (size_t i = 0; i < p->n_decisions; i++) {
        if (shrink_rule(w, &p->decisions[i].rules, why, room))
            return true;
    }
    return false;
}

static unsigned long env_number(const char *name, unsigned long otherwise)
{
    const char *text = getenv(name);
    return text ? strtoul(text, NULL, 10) : otherwise;
}

static void stopping_early_changes_nothing(void **state)
{
    (void)state;
    unsigned long only = env_number("SIGNALBOX_SEED", 0);
    unsigned long cases = env_number("SIGNALBOX_CASES", 50000);
    for (unsigned long seed = only ? only : 1; seed <= (only ? only : cases); seed++) {
        struct arena *a = arena_new();
        struct world w;
        char why[512] = "";
        random_world(&w, a, seed, 2 + (unsigned)(seed % 28));
        if (!check(&w, why, sizeof why)) {
            printf("seed %lu: %s\n", seed, why);
            for (int i = 0; i < 200 && shrink_step(&w, why, sizeof why); i++)
                ;
            check(&w, why, sizeof why);
            printf("shrunk: %s\n", why);
            world_print(&w);
            fail_msg("seed %lu: %s", seed, why);
        }
        arena_free(a);
    }
    printf("%lu policies, %lu without a match; lazily %lu units run, %lu avoided (%lu when only "
           "the winner counts); %lu calls (%lu; %lu would be enough with hindsight)\n", tally.cases, tally.none, tally.run, tally.avoided,
           tally.winner_avoided, tally.calls, tally.winner_calls, tally.enough);
    /* In sum: of one policy the two may take different ways, and the longer one may be luckier. */
    assert_true(tally.enough <= tally.winner_calls && tally.winner_calls <= tally.calls);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(stopping_early_changes_nothing) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
