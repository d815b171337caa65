/* decide/policy.c -- compiles a profile into slots, units, trees and flat programs.
 *
 * Order matters: first the signals declare their slots, then mappings declare theirs, and only
 * then names are resolved, so that a reference can be told from a declaration. A name that
 * nobody declared gets a slot that is known not to match; config/ has reported it. Everything
 * lives in the snapshot's arena and points into the profile. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "decide/engine.h"

struct composed { uint32_t slot; const struct rule *rule; };
struct cut_request { str type; uint32_t k; };

struct policy_builder {
    struct arena *a;
    const struct profile *profile;
    struct findings *findings;
    struct policy *p;
    struct map by_name;                 /* "type\x1fname" -> slot + 1 */
    str *type, *name;
    bool *is_declared, *is_hidden;
    uint32_t n_slots;
    bool is_declaring;
    struct signal_unit **units; uint32_t n_units;
    struct composed *composed; size_t n_composed;
    struct cut_request *cuts; size_t n_cuts;
    bool is_too_large;
};

/* ---- what signal makers call ---- */

static str slot_key(struct arena *a, str type, str name)
{
    char *key = arena_alloc(a, type.len + 1 + name.len);
    memcpy(key, type.ptr, type.len);
    key[type.len] = '\x1f';
    if (name.len)
        memcpy(key + type.len + 1, name.ptr, name.len);
    return (str){ key, type.len + 1 + name.len };
}

uint32_t policy_slot(struct policy_builder *b, str type, str name)
{
    str key = slot_key(b->a, type, name);
    uintptr_t found = (uintptr_t)map_get(&b->by_name, key);
    uint32_t slot = (uint32_t)found - 1;
    if (!found) {
        uint32_t n = b->n_slots;
        slot = n;
        uint32_t count = n;
        *PUSH(b->a, b->type, count) = arena_str(b->a, type);
        count = n;
        *PUSH(b->a, b->name, count) = arena_str(b->a, name);
        count = n;
        *PUSH(b->a, b->is_hidden, count) = false;
        *PUSH(b->a, b->is_declared, b->n_slots) = false;
        map_put(&b->by_name, key, (void *)(uintptr_t)(slot + 1));
    }
    b->is_declared[slot] |= b->is_declaring;
    return slot;
}

struct arena *policy_arena(struct policy_builder *b)
{
    return b->a;
}

struct findings *policy_findings(struct policy_builder *b)
{
    return b->findings;
}

struct signal_unit *policy_unit(struct policy_builder *b, str type, uint32_t cost_ns)
{
    struct signal_unit *u = ARENA_NEW(b->a, struct signal_unit);
    u->type = type;
    u->cost_ns = cost_ns;
    *PUSH(b->a, b->units, b->n_units) = u;
    return u;
}

void unit_fills(struct policy_builder *b, struct signal_unit *u, uint32_t slot)
{
    for (uint32_t i = 0; i < u->n_slots; i++) {
        if (u->slots[i] == slot)
            return;
    }
    *PUSH(b->a, u->slots, u->n_slots) = slot;
}

void policy_top_k(struct policy_builder *b, str type, uint32_t k)
{
    if (k)
        *PUSH(b->a, b->cuts, b->n_cuts) = (struct cut_request){ type, k };
}

void policy_hide(struct policy_builder *b, uint32_t slot)
{
    b->is_hidden[slot] = true;
}

/* ---- composers come as written ---- */

static str text_lower(struct arena *a, str s)
{
    char *to = arena_alloc(a, s.len);
    for (size_t i = 0; i < s.len; i++)
        to[i] = s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? (char)(s.ptr[i] | 0x20) : s.ptr[i];
    return (str){ to, s.len };
}

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

static struct rule *composer_rule(struct policy_builder *b, const struct value *v,
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
    if (str_ieq(operator, S("OR")))
        r->kind = RULE_OR;
    else if (str_ieq(operator, S("NOT")))
        r->kind = RULE_NOT;
    const struct value *list = value_get(v, S("conditions"));
    if (!list || list->kind != VALUE_LIST)
        return r;
    r->children = ARENA_ARRAY(b->a, struct rule *, list->n_items);
    for (size_t i = 0; i < list->n_items && depth <= RULE_DEPTH_MAX; i++)
        r->children[r->n_children++] = composer_rule(b, list->items[i], depth + 1);
    return r;
}

void policy_compose(struct policy_builder *b, uint32_t slot, const struct value *tree)
{
    if (tree && tree->kind == VALUE_MAP)
        *PUSH(b->a, b->composed, b->n_composed) =
            (struct composed){ slot, composer_rule(b, tree, 0) };
}

/* ---- trees ---- */

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

static uint32_t tree_add(struct policy_builder *b, const struct rule *r)
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

static int32_t tree_emit(struct policy_builder *b, uint32_t at, bool is_negated, int32_t on_true,
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

/* ---- groups and composers ---- */

static uint32_t slot_existing(struct policy_builder *b, str name)
{
    static const str types[] = { S("domain"), S("embedding") };
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        uintptr_t found = (uintptr_t)map_get(&b->by_name, slot_key(b->a, types[i], name));
        if (found)
            return (uint32_t)found - 1;
    }
    return NO_INDEX;
}

static void group_members(struct policy_builder *b)
{
    struct policy *p = b->p;
    for (size_t i = 0; i < b->profile->n_partitions; i++) {
        const struct partition_conf *c = &b->profile->partitions[i];
        struct group g = {
            .kind = str_eq(c->semantics, S("softmax_exclusive")) ? GROUP_SOFTMAX
                                                                 : GROUP_EXCLUSIVE,
            .members = ARENA_ARRAY(b->a, uint32_t, c->members.n),
            .default_slot = slot_existing(b, c->default_member),
            .temperature = c->temperature > 0 ? c->temperature : 1,
        };
        for (size_t m = 0; m < c->members.n; m++) {
            uint32_t slot = slot_existing(b, c->members.items[m]);
            if (slot != NO_INDEX && b->is_declared[slot])
                g.members[g.n++] = slot;
        }
        if (g.n > 1)                            /* one existing member: nothing to exclude */
            *PUSH(b->a, p->groups, p->n_groups) = g;
    }
    for (size_t i = 0; i < b->n_cuts; i++) {
        struct group g = { .kind = GROUP_TOP_K, .default_slot = NO_INDEX, .k = b->cuts[i].k,
                           .members = ARENA_ARRAY(b->a, uint32_t, b->n_slots) };
        for (uint32_t slot = 0; slot < b->n_slots; slot++) {
            if (b->is_declared[slot] && str_eq(b->type[slot], b->cuts[i].type))
                g.members[g.n++] = slot;
        }
        if (g.n > g.k)                          /* else nothing can be cut */
            *PUSH(b->a, p->cuts, p->n_cuts) = g;
    }
}

/* Composers may look at these (spec 2.4.11); any other leaf never holds. */
static bool is_composable(str type)
{
    static const str types[] = {
        S("keyword"), S("embedding"), S("domain"), S("fact_check"), S("user_feedback"),
        S("reask"), S("preference"), S("language"), S("context"), S("structure"), S("modality"),
        S("kb"), S("conversation"),
    };
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (str_eq(type, types[i]))
            return true;
    }
    return false;
}

static void composers_add(struct policy_builder *b)
{
    for (size_t i = 0; i < b->n_composed; i++) {
        struct policy *p = b->p;
        uint32_t root = tree_add(b, b->composed[i].rule);
        for (uint32_t n = root; n < p->n_nodes; n++) {
            if (p->nodes[n].kind == NODE_LEAF && !is_composable(p->nodes[n].rule->type))
                p->nodes[n].kind = NODE_FALSE;
        }
        *PUSH(b->a, p->composers, p->n_composers) =
            (struct composer){ b->composed[i].slot, root, b->composed[i].rule };
    }
}

/* ---- projections ---- */

static uint32_t score_find(const struct policy_builder *b, str name)
{
    for (uint32_t i = 0; i < b->p->n_scores; i++) {
        if (str_eq(b->p->scores[i].conf->name, name))
            return i;
    }
    return NO_INDEX;
}

/* Mappings declare their outputs as slots before anything refers to them. Without a score and
 * a mapping nothing is evaluated (spec 3.3). */
static void mappings_declare(struct policy_builder *b)
{
    const struct profile *c = b->profile;
    struct policy *p = b->p;
    if (c->n_scores == 0 || c->n_mappings == 0)
        return;
    if (c->n_scores + c->n_mappings > PROJECTIONS_MAX) {
        finding_add(b->findings, "too-many-projections", SEVERITY_ERROR, c->at, S(""), S(""),
                    "a profile may have %d scores and mappings", PROJECTIONS_MAX);
        return;
    }
    p->scores = ARENA_ARRAY(b->a, struct score, c->n_scores);
    for (size_t i = 0; i < c->n_scores; i++)
        p->scores[p->n_scores++].conf = &c->scores[i];
    p->mappings = ARENA_ARRAY(b->a, struct mapping, c->n_mappings);
    for (size_t i = 0; i < c->n_mappings; i++) {
        const struct mapping_conf *m = &c->mappings[i];
        uint32_t *slots = ARENA_ARRAY(b->a, uint32_t, m->n_outputs);
        for (size_t k = 0; k < m->n_outputs; k++)
            slots[k] = policy_slot(b, S("projection"), m->outputs[k].name);
        p->mappings[p->n_mappings++] = (struct mapping){
            .conf = m, .score = score_find(b, m->source), .slots = slots,
            .slope = m->slope > 0 ? m->slope : 12,
            .is_multi = str_eq(m->method, S("multi_emit")),
        };
    }
}

static enum term_source source_of(str name)
{
    return str_eq(name, S("confidence")) ? TERM_CONFIDENCE
           : str_eq(name, S("raw"))      ? TERM_RAW
           : str_eq(name, S("score"))    ? TERM_SCORE
                                         : TERM_BINARY;
}

static struct term term_of(struct policy_builder *b, const struct score_input *in)
{
    struct term t = { .source = source_of(in->value_source), .weight = in->weight,
                      .match = in->match, .miss = in->miss, .score = NO_INDEX };
    if (!isfinite(t.weight))
        t.weight = 0;
    if (str_ieq(in->type, S("kb_metric"))) {
        t.source = TERM_RAW;
        t.slot = policy_slot(b, S("kb_metric"), arena_printf(b->a, STR_FMT ":" STR_FMT,
                                                             STR_ARG(in->kb),
                                                             STR_ARG(in->metric)));
        b->is_hidden[t.slot] = true;
        return t;
    }
    str type = text_lower(b->a, in->type);
    bool is_projection = str_eq(type, S("projection"));
    if (is_projection) {
        uintptr_t output = (uintptr_t)map_get(&b->by_name, slot_key(b->a, type, in->name));
        t.score = score_find(b, in->name);
        if (output && (t.source != TERM_SCORE || t.score == NO_INDEX))
            t.score = NO_INDEX;
        if (t.score != NO_INDEX) {
            t.source = TERM_SCORE;
            return t;
        }
    }
    /* VSR appends authz when projections are done, so there it never counts (spec 2.2). */
    bool never = str_eq(type, S("authz")) && !b->p->is_ternary;
    t.slot = policy_slot(b, never ? S("never") : type, never ? S("authz") : in->name);
    if (never)
        b->is_hidden[t.slot] = true;
    if (t.source == TERM_SCORE)
        t.source = TERM_RAW;
    return t;
}

static void scores_compile(struct policy_builder *b)
{
    for (uint32_t i = 0; i < b->p->n_scores; i++) {
        struct score *s = &b->p->scores[i];
        s->terms = ARENA_ARRAY(b->a, struct term, s->conf->n_inputs);
        for (size_t k = 0; k < s->conf->n_inputs; k++)
            s->terms[s->n_terms++] = term_of(b, &s->conf->inputs[k]);
    }
}

/* Depth-first: what a projection is computed from comes before it. `state`: 0 new, 1 on the
 * way, 2 done; scores first, then mappings. */
static void projection_visit(struct policy_builder *b, uint8_t *state, bool is_mapping,
                             uint32_t index)
{
    struct policy *p = b->p;
    uint8_t *mine = &state[index + (is_mapping ? p->n_scores : 0)];
    if (*mine == 2)
        return;
    if (*mine == 1) {
        struct place at = is_mapping ? p->mappings[index].conf->at : p->scores[index].conf->at;
        str name = is_mapping ? p->mappings[index].conf->name : p->scores[index].conf->name;
        finding_add(b->findings, "projection-cycle", SEVERITY_ERROR, at, S(""),
                    S("remove one of the inputs that close the circle"),
                    "projection \"" STR_FMT "\" is computed from itself", STR_ARG(name));
        return;
    }
    *mine = 1;
    if (is_mapping) {
        if (p->mappings[index].score != NO_INDEX)
            projection_visit(b, state, false, p->mappings[index].score);
    } else {
        for (uint32_t i = 0; i < p->scores[index].n_terms; i++) {
            const struct term *t = &p->scores[index].terms[i];
            if (t->score != NO_INDEX)
                projection_visit(b, state, false, t->score);
            else if (p->mapping_of[t->slot] != NO_INDEX)
                projection_visit(b, state, true, p->mapping_of[t->slot]);
        }
    }
    *mine = 2;
    *PUSH(b->a, p->order, p->n_order) = (struct projection_step){ is_mapping, index };
}

static void projections_order(struct policy_builder *b)
{
    struct policy *p = b->p;
    uint8_t *state = arena_alloc(b->a, p->n_scores + p->n_mappings + 1);
    for (uint32_t i = 0; i < p->n_scores; i++)
        projection_visit(b, state, false, i);
    for (uint32_t i = 0; i < p->n_mappings; i++)
        projection_visit(b, state, true, i);
}

/* ---- numbering ---- */

static uint64_t *words(struct policy_builder *b, uint32_t n)
{
    return ARENA_ARRAY(b->a, uint64_t, n);
}

static void bit_on(uint64_t *set, uint32_t bit)
{
    set[bit >> 6] |= 1ull << (bit & 63);
}

static uint32_t *indices(struct policy_builder *b, uint32_t n)
{
    uint32_t *all = ARENA_ARRAY(b->a, uint32_t, n);
    for (uint32_t i = 0; i < n; i++)
        all[i] = NO_INDEX;
    return all;
}

/* Cheapest first, as declared among equals. */
static void units_sort(struct signal_unit **units, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        struct signal_unit *moving = units[i];
        uint32_t at = i;
        for (; at > 0 && units[at - 1]->cost_ns > moving->cost_ns; at--)
            units[at] = units[at - 1];
        units[at] = moving;
    }
}

static void slots_number(struct policy_builder *b)
{
    struct policy *p = b->p;
    uint32_t n = b->n_slots;
    p->n_slots = n;
    p->n_bits = n + p->n_atoms;
    p->slot_words = (n + 63) / 64 ? (n + 63) / 64 : 1;
    p->n_words = (p->n_bits + 63) / 64 ? (p->n_bits + 63) / 64 : 1;
    p->type = b->type;
    p->name = b->name;
    p->is_hidden = b->is_hidden ? b->is_hidden : ARENA_ARRAY(b->a, bool, 1);
    p->is_used = ARENA_ARRAY(b->a, bool, n);
    p->why_absent = ARENA_ARRAY(b->a, const char *, n);
    p->unit_of = indices(b, n);
    p->mapping_of = indices(b, n);
    p->group_of = indices(b, n);
    p->composer_of = indices(b, n);
    p->undefined = words(b, p->slot_words);
    p->unitless = words(b, p->slot_words);
    p->signals = words(b, p->slot_words);
    p->units = b->units;
    p->n_units = b->n_units;
    units_sort(p->units, p->n_units);
    p->unit_mask = ARENA_ARRAY(b->a, uint64_t *, p->n_units);
    for (uint32_t u = 0; u < p->n_units; u++) {
        p->unit_mask[u] = words(b, p->slot_words);
        for (uint32_t i = 0; i < p->units[u]->n_slots; i++) {
            bit_on(p->unit_mask[u], p->units[u]->slots[i]);
            p->unit_of[p->units[u]->slots[i]] = u;
        }
    }
    for (uint32_t i = 0; i < p->n_mappings; i++) {
        for (size_t k = 0; k < p->mappings[i].conf->n_outputs; k++)
            p->mapping_of[p->mappings[i].slots[k]] = i;
    }
    for (uint32_t i = 0; i < p->n_groups; i++) {
        for (uint32_t k = 0; k < p->groups[i].n; k++)
            p->group_of[p->groups[i].members[k]] = i;
    }
    for (uint32_t i = 0; i < p->n_composers; i++)
        p->composer_of[p->composers[i].slot] = i;
    for (uint32_t i = 0; i < n; i++) {
        if (!b->is_declared[i] && !p->is_hidden[i]) {
            bit_on(p->undefined, i);
        } else if (p->mapping_of[i] == NO_INDEX) {
            bit_on(p->signals, i);
            if (p->unit_of[i] == NO_INDEX) {
                bit_on(p->unitless, i);
                p->why_absent[i] = "not-built";
            }
        }
    }
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        if (p->nodes[i].is_predicate)
            p->nodes[i].bit += n;
    }
}

/* ---- what can influence what ----
 *
 * Twice: `with_groups` also counts the members of a partition that a slot competes with, which
 * matters for when the slot is settled, not for whether it is used. */

struct reach {
    const struct policy *p;
    bool with_groups;
    uint64_t **score;                   /* [n_scores] finished in the order of projections */
};

static void reach_slot(const struct reach *r, uint32_t slot, uint64_t *out);

static void reach_group(const struct reach *r, const struct group *g, uint64_t *out)
{
    for (uint32_t i = 0; i < g->n; i++)
        reach_slot(r, g->members[i], out);
}

static void reach_tree(const struct reach *r, uint32_t root, uint64_t *out)
{
    for (uint32_t n = root; n < r->p->nodes[root].next; n++) {
        if (r->p->nodes[n].kind == NODE_LEAF)
            reach_slot(r, r->p->nodes[n].slot, out);
    }
}

static void reach_score(const struct reach *r, uint32_t score, uint64_t *out)
{
    for (uint32_t w = 0; w < r->p->slot_words; w++)
        out[w] |= r->score[score][w];
}

static void reach_slot(const struct reach *r, uint32_t slot, uint64_t *out)
{
    const struct policy *p = r->p;
    if (bit_is(out, slot))
        return;
    bit_on(out, slot);
    if (p->composer_of[slot] != NO_INDEX)
        reach_tree(r, p->composers[p->composer_of[slot]].root, out);
    if (r->with_groups && p->group_of[slot] != NO_INDEX)
        reach_group(r, &p->groups[p->group_of[slot]], out);
    for (uint32_t c = 0; r->with_groups && c < p->n_cuts; c++) {
        if (str_eq(p->type[slot], p->type[p->cuts[c].members[0]]))
            reach_group(r, &p->cuts[c], out);
    }
    if (p->mapping_of[slot] != NO_INDEX && p->mappings[p->mapping_of[slot]].score != NO_INDEX)
        reach_score(r, p->mappings[p->mapping_of[slot]].score, out);
}

static struct reach reach_make(struct policy_builder *b, bool with_groups)
{
    const struct policy *p = b->p;
    struct reach r = { p, with_groups, ARENA_ARRAY(b->a, uint64_t *, p->n_scores) };
    for (uint32_t i = 0; i < p->n_order; i++) {
        if (p->order[i].is_mapping)
            continue;
        const struct score *s = &p->scores[p->order[i].index];
        uint64_t *out = r.score[p->order[i].index] = words(b, p->slot_words);
        for (uint32_t k = 0; k < s->n_terms; k++) {
            if (s->terms[k].score != NO_INDEX)
                reach_score(&r, s->terms[k].score, out);
            else
                reach_slot(&r, s->terms[k].slot, out);
        }
    }
    return r;
}

/* ---- decisions ---- */

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

static enum score_kind tree_score_kind(const struct policy *p, uint32_t root)
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

static int name_order(const void *x, const void *y)
{
    const struct choice *const *a = x, *const *b = y;
    int order = str_cmp((*a)->conf->name, (*b)->conf->name);
    return order ? order : *a < *b ? -1 : *a > *b;
}

static void choices_add(struct policy_builder *b)
{
    const struct profile *c = b->profile;
    struct policy *p = b->p;
    p->choices = ARENA_ARRAY(b->a, struct choice, c->n_decisions);
    for (size_t i = 0; i < c->n_decisions; i++)
        p->choices[p->n_choices++] = (struct choice){
            .conf = &c->decisions[i], .tree.root = tree_add(b, c->decisions[i].rules),
        };
}

static void choices_finish(struct policy_builder *b)
{
    struct policy *p = b->p;
    struct reach wide = reach_make(b, true), narrow = reach_make(b, false);
    struct choice **by_name = ARENA_ARRAY(b->a, struct choice *, p->n_choices);
    for (uint32_t i = 0; i < p->n_choices; i++) {
        struct choice *c = &p->choices[i];
        by_name[i] = c;
        c->tree.entry = tree_emit(b, c->tree.root, false, GO_TRUE, GO_FALSE);
        c->is_catch_all = p->nodes[c->tree.root].kind == NODE_TRUE;
        c->has_tier = c->conf->tier > 0;
        /* Snapshot: an unset tier is 0 and so comes before tier 1. Later: behind all set ones. */
        c->tier = p->is_ternary && !c->has_tier ? INT64_MAX : c->conf->tier;
        p->any_tier |= c->has_tier;
        c->score_kind = tree_score_kind(p, c->tree.root);
        c->reach = words(b, p->slot_words);
        uint64_t *used = words(b, p->slot_words);
        reach_tree(&wide, c->tree.root, c->reach);
        reach_tree(&narrow, c->tree.root, used);
        for (uint32_t slot = 0; slot < p->n_slots; slot++)
            p->is_used[slot] |= bit_is(used, slot);
    }
    qsort(by_name, p->n_choices, sizeof *by_name, name_order);
    for (uint32_t i = 0; i < p->n_choices; i++)
        by_name[i]->name_rank = i;
}

struct policy *policy_build(struct arena *a, const struct profile *profile,
                            int (*make_signals)(struct policy_builder *b, const struct profile *p,
                                                void *arg),
                            void *arg, struct findings *out)
{
    struct policy *p = ARENA_NEW(a, struct policy);
    size_t errors = out->n_by_severity[SEVERITY_ERROR];
    struct policy_builder b = {
        .a = a, .profile = profile, .findings = out, .p = p, .by_name = { .a = a },
        .is_declaring = true,
    };
    p->profile = profile;
    p->is_ternary = profile->revision == REVISION_2026_09;
    if (make_signals && make_signals(&b, profile, arg) < 0)
        return NULL;
    mappings_declare(&b);
    b.is_declaring = false;
    group_members(&b);
    composers_add(&b);
    choices_add(&b);
    scores_compile(&b);
    slots_number(&b);
    projections_order(&b);
    if (out->n_by_severity[SEVERITY_ERROR] > errors)
        return NULL;
    choices_finish(&b);
    return p;
}

/* ---- questions ---- */

const struct profile *policy_profile(const struct policy *p)
{
    return p->profile;
}

uint32_t policy_n_slots(const struct policy *p)
{
    return p->n_slots;
}

str policy_slot_type(const struct policy *p, uint32_t slot)
{
    return p->type[slot];
}

str policy_slot_name(const struct policy *p, uint32_t slot)
{
    return p->name[slot];
}

bool policy_slot_is_used(const struct policy *p, uint32_t slot)
{
    return p->is_used[slot];
}

int64_t policy_slot_find(const struct policy *p, str type, str name)
{
    for (uint32_t i = 0; i < p->n_slots; i++) {
        if (str_eq(p->name[i], name) && str_eq(p->type[i], type))
            return i;
    }
    return -1;
}
