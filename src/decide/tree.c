/* decide/tree.c -- rules as nodes, and as flat programs.
 *
 * Nodes keep the shape of the rule, for confidence and for explanations. Programs only answer
 * yes or no: a few tests of whole words of literals with jumps between them, no recursion. */
#include <math.h>

#include "decide/builder.h"

static struct node *node_add(struct policy_builder *b, uint32_t *index)
{
    *index = b->p->n_nodes;
    struct node *n = PUSH(b->a, b->p->nodes, b->p->n_nodes);
    n->bit = n->slot = NO_INDEX;
    return n;
}

static uint32_t slot_refer(struct policy_builder *b, const struct rule *r)
{
    if (r->label.len) {
        uintptr_t found = (uintptr_t)map_get(
            &b->by_name, slot_key(b->a, r->type, arena_printf(b->a, STR_FMT ":" STR_FMT,
                                                              STR_ARG(r->name),
                                                              STR_ARG(r->label))));
        if (found)
            return (uint32_t)found - 1;
    }
    return policy_slot(b, r->type, r->name);
}

static bool number_same(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

static uint32_t atom_index(struct policy_builder *b, const struct atom *wanted)
{
    const struct number_predicate *x = &wanted->predicate;
    for (uint32_t i = 0; i < b->p->n_atoms; i++) {
        const struct atom *have = &b->p->atoms[i];
        const struct number_predicate *y = &have->predicate;
        if (have->slot == wanted->slot && have->matches_on_error == wanted->matches_on_error &&
            number_same(x->gt, y->gt) && number_same(x->gte, y->gte) &&
            number_same(x->lt, y->lt) && number_same(x->lte, y->lte))
            return i;
    }
    *PUSH(b->a, b->p->atoms, b->p->n_atoms) = *wanted;
    return b->p->n_atoms - 1;
}

static enum node_kind node_kind_of(const struct rule *r, bool is_root)
{
    switch (r->kind) {
    case RULE_LEAF:
        return NODE_LEAF;
    case RULE_AND:
        return r->n_children ? NODE_AND : NODE_TRUE;
    case RULE_NOT:
        return r->n_children == 1 ? NODE_NOT : NODE_FALSE;  /* other arity: never (spec 4.2) */
    case RULE_UNKNOWN:
        if (is_root && r->n_children == 0)
            return NODE_TRUE;                   /* `rules: {}` is as good as none */
        break;
    case RULE_OR:
        break;
    }
    return r->n_children ? NODE_OR : NODE_FALSE;
}

/* Adds the nodes of one rule; the predicate's bit is its atom index until bits are numbered. */
static void tree_nodes(struct policy_builder *b, const struct rule *r, unsigned depth)
{
    uint32_t at;
    struct node *n = node_add(b, &at);
    if (depth > RULE_DEPTH_MAX || b->p->n_nodes > RULE_NODES_MAX) {
        if (!b->is_too_large)
            finding_add(b->findings, "rule-too-deep", SEVERITY_ERROR, r->at, S(""),
                        S("split the decision"),
                        "rules may nest %d levels deep and have %d conditions in a profile",
                        RULE_DEPTH_MAX, RULE_NODES_MAX);
        b->is_too_large = true;
        n->kind = NODE_FALSE;
        n->next = b->p->n_nodes;
        return;
    }
    n->kind = (uint8_t)node_kind_of(r, depth == 0);
    n->rule = r;
    if (n->kind == NODE_LEAF) {
        n->slot = slot_refer(b, r);
        n->bit = n->slot;
        if (r->has_predicate) {
            struct atom atom = { n->slot, r->matches_on_error, r->predicate };
            n->is_predicate = true;
            n->bit = atom_index(b, &atom);
        }
    } else {
        n->n_children = (uint32_t)r->n_children;
        bool is_constant = n->kind == NODE_TRUE || n->kind == NODE_FALSE;
        for (size_t i = 0; i < r->n_children && !is_constant; i++)
            tree_nodes(b, r->children[i], depth + 1);
        if (is_constant)
            b->p->nodes[at].n_children = 0;
    }
    b->p->nodes[at].next = b->p->n_nodes;
}

uint32_t tree_add(struct policy_builder *b, const struct rule *r)
{
    uint32_t root = b->p->n_nodes;
    if (r) {
        tree_nodes(b, r, 0);
    } else {
        uint32_t at;
        struct node *n = node_add(b, &at);
        n->kind = NODE_TRUE;
        n->next = at + 1;
    }
    return root;
}

/* ---- flat programs ----
 *
 * Written backwards: when a test is emitted, the places it may go to are already there. A NOT
 * swaps AND with OR and a literal with its opposite. Of a conjunction or disjunction, leaves
 * whose literals share a word become one test, and leaves are tested before subtrees. */

static int32_t step_add(struct policy_builder *b, struct step s)
{
    *PUSH(b->a, b->p->steps, b->p->n_steps) = s;
    return (int32_t)b->p->n_steps - 1;
}

/* The node behind NOTs and whether their number is odd. */
static uint32_t node_strip(const struct policy *p, uint32_t n, bool *is_negated)
{
    while (p->nodes[n].kind == NODE_NOT) {
        *is_negated = !*is_negated;
        n++;
    }
    return n;
}

static uint32_t literal_of(const struct policy *p, uint32_t bit, bool is_negated)
{
    return bit + (is_negated ? 64 * p->n_words : 0);
}

int32_t tree_emit(struct policy_builder *b, uint32_t at, bool is_negated, int32_t on_true,
                         int32_t on_false)
{
    const struct policy *p = b->p;
    at = node_strip(p, at, &is_negated);
    const struct node n = p->nodes[at];
    if (n.kind == NODE_TRUE || n.kind == NODE_FALSE)
        return (n.kind == NODE_TRUE) != is_negated ? on_true : on_false;
    if (n.kind == NODE_LEAF) {
        uint32_t literal = literal_of(p, n.bit, is_negated);
        return step_add(b, (struct step){ 1ull << (literal & 63), literal >> 6, on_true, on_false,
                                          true });
    }
    bool is_all = (n.kind == NODE_AND) != is_negated;
    int32_t entry = is_all ? on_true : on_false;

    uint32_t *children = ARENA_ARRAY(b->a, uint32_t, n.n_children);
    uint32_t *literals = ARENA_ARRAY(b->a, uint32_t, n.n_children);
    uint32_t n_subtrees = 0, n_literals = 0;
    for (uint32_t child = at + 1; child < n.next; child = p->nodes[child].next) {
        bool is_child_negated = is_negated;
        uint32_t inner = node_strip(p, child, &is_child_negated);
        if (p->nodes[inner].kind == NODE_LEAF)
            literals[n_literals++] = literal_of(p, p->nodes[inner].bit, is_child_negated);
        else
            children[n_subtrees++] = child;
    }
    while (n_subtrees--)
        entry = tree_emit(b, children[n_subtrees], is_negated, is_all ? entry : on_true,
                          is_all ? on_false : entry);
    for (uint32_t i = 0; i < n_literals; i++) {
        if (literals[i] == NO_INDEX)
            continue;
        struct step s = { .word = literals[i] >> 6, .is_all = is_all };
        for (uint32_t k = i; k < n_literals; k++) {
            if (literals[k] != NO_INDEX && literals[k] >> 6 == s.word) {
                s.mask |= 1ull << (literals[k] & 63);
                literals[k] = NO_INDEX;
            }
        }
        s.on_true = is_all ? entry : on_true;
        s.on_false = is_all ? on_false : entry;
        entry = step_add(b, s);
    }
    return entry;
}

/* ---- composers come as written ---- */

static str text_of(const struct value *map, str key)
{
    const struct value *v = value_get(map, key);
    return v && v->kind == VALUE_SCALAR ? v->text : S("");
}

static double number_of(const struct value *map, str key)
{
    double v;
    return str_double(text_of(map, key), &v) ? v : (double)NAN;
}

struct rule *composer_rule(struct policy_builder *b, const struct value *v,
                                  unsigned depth)
{
    struct rule *r = ARENA_NEW(b->a, struct rule);
    r->at = v->at;
    r->kind = RULE_AND;
    r->type = text_lower(b->a, text_of(v, S("type")));
    r->name = text_of(v, S("name"));
    r->label = text_of(v, S("label"));
    if (r->type.len) {
        const struct value *predicate = value_get(v, S("predicate"));
        r->kind = RULE_LEAF;
        r->has_predicate = predicate && predicate->kind == VALUE_MAP;
        if (r->has_predicate)
            r->predicate = (struct number_predicate){
                number_of(predicate, S("gt")), number_of(predicate, S("gte")),
                number_of(predicate, S("lt")), number_of(predicate, S("lte")),
            };
        return r;
    }
    str operator = text_of(v, S("operator"));
    if (operator.len && !str_ieq(operator, S("AND")))
        r->kind = str_ieq(operator, S("NOT")) ? RULE_NOT : RULE_OR;    /* misspelt: as OR */
    const struct value *list = value_get(v, S("conditions"));
    if (!list || list->kind != VALUE_LIST)
        return r;
    r->children = ARENA_ARRAY(b->a, struct rule *, list->n_items);
    for (size_t i = 0; i < list->n_items && depth <= RULE_DEPTH_MAX; i++)
        r->children[r->n_children++] = composer_rule(b, list->items[i], depth + 1);
    return r;
}

/* ---- evidence ---- */

/* Scores of one kind may be compared; a leaf that carries none is policy, not evidence. The
 * confidences of complexity and jailbreak are margins of no known scale. */
enum score_kind slot_score_kind(const struct policy *p, uint32_t slot)
{
    static const struct { str type; enum score_kind kind; } kinds[] = {
        { S("embedding"), SCORE_SIMILARITY },   { S("kb"), SCORE_SIMILARITY },
        { S("reask"), SCORE_SIMILARITY },       { S("preference"), SCORE_SIMILARITY },
        { S("domain"), SCORE_PROBABILITY },     { S("modality"), SCORE_PROBABILITY },
        { S("complexity"), SCORE_MIXED },       { S("jailbreak"), SCORE_MIXED },
    };
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        if (str_eq(p->type[slot], kinds[i].type))
            return kinds[i].kind;
    }
    return SCORE_NONE;
}

enum score_kind tree_score_kind(const struct policy *p, uint32_t root)
{
    enum score_kind all = SCORE_NONE;
    for (uint32_t n = root; n < p->nodes[root].next; n++) {
        if (p->nodes[n].kind == NODE_NOT) {
            n = p->nodes[n].next - 1;           /* what must not hold is no evidence */
            continue;
        }
        if (p->nodes[n].kind != NODE_LEAF || p->nodes[n].is_predicate)
            continue;
        enum score_kind kind = slot_score_kind(p, p->nodes[n].slot);
        if (kind != SCORE_NONE)
            all = all == SCORE_NONE || all == kind ? kind : SCORE_MIXED;
    }
    return all;
}
