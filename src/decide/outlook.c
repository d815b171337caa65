/* decide/outlook.c -- what is certain and what is possible of a rule and of a decision.
 *
 * Truth comes from the flat programs, run on the plane of what must hold and on that of what may.
 * Confidence (spec 01, section 4.2) needs the shape of the tree, so it walks the nodes; it is
 * only asked for where a ranking reaches it, and for the winner. */
#include <math.h>

#include "decide/engine.h"

static bool program_run(const struct policy *p, int32_t at, const uint64_t *literals)
{
    while (at >= 0) {
        const struct step *step = &p->steps[at];
        uint64_t hit = literals[step->word] & step->mask;
        at = (step->is_all ? hit == step->mask : hit != 0) ? step->on_true : step->on_false;
    }
    return at == GO_TRUE;
}

static struct truth leaf_truth(const struct policy *p, const struct decide_scratch *s,
                               const struct node *n)
{
    if (!bit_is(s->set, n->bit))
        return (struct truth){ 0, 2 };
    bool is_known = bit_is(s->known, n->bit);
    uint8_t state = is_known && bit_is(s->yes, n->bit) ? 2 : is_known || !p->is_ternary ? 0 : 1;
    return (struct truth){ state, state };
}

/* What node_outlook says of truth, for those who do not ask for confidence: an order cheaper. */
struct truth node_truth(const struct policy *p, const struct decide_scratch *s, uint32_t at)
{
    const struct node *n = &p->nodes[at];
    struct truth t = { 2, 2 };
    switch ((enum node_kind)n->kind) {
    case NODE_LEAF:
        return leaf_truth(p, s, n);
    case NODE_TRUE:
        return t;
    case NODE_FALSE:
        return (struct truth){ 0, 0 };
    case NODE_NOT:
        t = node_truth(p, s, at + 1);
        return (struct truth){ (uint8_t)(2 - t.hi), (uint8_t)(2 - t.lo) };
    case NODE_AND:
        for (uint32_t c = at + 1; c < n->next && t.hi > 0; c = p->nodes[c].next) {
            struct truth child = node_truth(p, s, c);
            t.lo = child.lo < t.lo ? child.lo : t.lo;
            t.hi = child.hi < t.hi ? child.hi : t.hi;
        }
        return t;
    case NODE_OR:
        t = (struct truth){ 0, 0 };
        for (uint32_t c = at + 1; c < n->next && t.lo < 2; c = p->nodes[c].next) {
            struct truth child = node_truth(p, s, c);
            t.lo = child.lo > t.lo ? child.lo : t.lo;
            t.hi = child.hi > t.hi ? child.hi : t.hi;
        }
        return t;
    }
    return t;
}

static struct outlook leaf_outlook(const struct policy *p, const struct decide_scratch *s,
                                   const struct node *n)
{
    if (!bit_is(s->set, n->bit))
        return (struct outlook){ .lo = 0, .hi = 2,
                                 .confidence = { n->is_predicate ? 1 : 0, 1 } };
    struct truth t = leaf_truth(p, s, n);
    struct outlook o = { .lo = t.lo, .hi = t.hi, .confidence = { 1, 1 } };
    if (t.lo == 2 && !n->is_predicate) {
        double c = confidence_of(s, n->slot);
        bool is_exact = bit_is(s->exact, n->slot);
        o.confidence = is_exact ? (struct range){ c, c } : (struct range){ 0, 1 };
    }
    return o;
}

/* Of an OR that holds: the most confident branch that holds. */
static void or_add(struct outlook *o, const struct outlook *child, bool *any_certain)
{
    o->lo = child->lo > o->lo ? child->lo : o->lo;
    o->hi = child->hi > o->hi ? child->hi : o->hi;
    if (child->hi < 2)
        return;
    if (child->lo == 2) {
        o->confidence.lo = *any_certain ? fmax(o->confidence.lo, child->confidence.lo)
                                        : child->confidence.lo;
        *any_certain = true;
    } else if (!*any_certain) {
        o->confidence.lo = fmin(o->confidence.lo, child->confidence.lo);
    }
    o->confidence.hi = fmax(o->confidence.hi, child->confidence.hi);
}

struct outlook node_outlook(const struct policy *p, const struct decide_scratch *s, uint32_t at)
{
    const struct node *n = &p->nodes[at];
    struct outlook o = { .lo = 2, .hi = 2, .confidence = { 0, 0 } };
    bool any_certain = false;
    switch ((enum node_kind)n->kind) {
    case NODE_LEAF:
        return leaf_outlook(p, s, n);
    case NODE_TRUE:
        return o;
    case NODE_FALSE:
        o.lo = o.hi = 0;
        return o;
    case NODE_NOT: {
        struct outlook child = node_outlook(p, s, at + 1);
        o.lo = 2 - child.hi;
        o.hi = 2 - child.lo;
        o.confidence = (struct range){ 1, 1 };
        return o;
    }
    case NODE_AND:
        for (uint32_t c = at + 1; c < n->next; c = p->nodes[c].next) {
            struct outlook child = node_outlook(p, s, c);
            o.lo = child.lo < o.lo ? child.lo : o.lo;
            o.hi = child.hi < o.hi ? child.hi : o.hi;
            o.confidence.lo += child.confidence.lo;
            o.confidence.hi += child.confidence.hi;
        }
        o.confidence.lo /= n->n_children;
        o.confidence.hi /= n->n_children;
        return o;
    case NODE_OR:
        o = (struct outlook){ .confidence = { 1, 0 } };
        for (uint32_t c = at + 1; c < n->next; c = p->nodes[c].next) {
            struct outlook child = node_outlook(p, s, c);
            or_add(&o, &child, &any_certain);
        }
        return o;
    }
    return o;
}

void choice_truth(struct decide_scratch *s, uint32_t i, bool is_complete)
{
    const struct policy *p = s->p;
    const struct choice *c = &p->choices[i];
    struct outlook *o = &s->outlook[i];
    bool counts_unknown = p->is_ternary && c->conf->on_unknown != UNKNOWN_NO_MATCH;
    int32_t entry = c->tree.entry;
    o->is_weighed = false;
    o->lo = program_run(p, entry, s->must) ? 2 : 0;
    if (p->is_ternary && o->lo == 0)
        o->lo = program_run(p, entry, s->must_known);
    o->hi = o->lo;
    if (!is_complete && o->lo < 2) {
        o->hi = program_run(p, entry, s->may) ? 2 : 0;
        if (p->is_ternary && o->hi == 0)
            o->hi = program_run(p, entry, s->may_known);
    }
    o->is_certain = o->lo == 2 || (counts_unknown && o->lo == 1);
    o->is_possible = o->hi == 2 || (counts_unknown && o->hi == 1);
}

/* The confidence in case the decision matches; 0 if only because unknown counts as a match. */
struct range choice_confidence(struct decide_scratch *s, uint32_t i)
{
    struct outlook *o = &s->outlook[i];
    if (!o->is_weighed) {
        o->confidence = o->hi == 2 ? node_outlook(s->p, s, s->p->choices[i].tree.root).confidence
                                   : (struct range){ 0, 0 };
        if (o->lo < 2 && s->p->is_ternary && s->p->choices[i].conf->on_unknown != UNKNOWN_NO_MATCH)
            o->confidence.lo = 0;
        o->is_weighed = true;
    }
    return o->confidence;
}

