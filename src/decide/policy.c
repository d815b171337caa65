/* decide/policy.c -- compiles a profile into slots, units, trees and flat programs.
 *
 * Order matters: first the signals declare their slots, then mappings declare theirs, and only
 * then names are resolved, so that a reference can be told from a declaration. A name that
 * nobody declared gets a slot that is known not to match; config/ has reported it. Everything
 * lives in the snapshot's arena and points into the profile. */
#include <assert.h>
#include <stdlib.h>

#include "decide/builder.h"

/* ---- what signal makers call ---- */

str slot_key(struct arena *a, str type, str name)
{
    char *key = arena_alloc(a, type.len + 1 + name.len);
    memcpy(key, type.ptr, type.len);
    key[type.len] = '\x1f';
    if (name.len)
        memcpy(key + type.len + 1, name.ptr, name.len);
    return (str){ key, type.len + 1 + name.len };
}

str text_lower(struct arena *a, str s)
{
    char *to = arena_alloc(a, s.len);
    for (size_t i = 0; i < s.len; i++)
        to[i] = s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? (char)(s.ptr[i] | 0x20) : s.ptr[i];
    return (str){ to, s.len };
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

void policy_compose(struct policy_builder *b, uint32_t slot, const struct value *tree)
{
    if (tree && tree->kind == VALUE_MAP)
        *PUSH(b->a, b->composed, b->n_composed) =
            (struct composed){ slot, composer_rule(b, tree, 0) };
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

/* Measured: a look at 7 decisions of 35 nodes takes 1 us. */
enum { LOOK_BASE_NS = 100, LOOK_NODE_NS = 25 };

/* ---- numbering ---- */

static uint32_t *indices(struct policy_builder *b, uint32_t n)
{
    uint32_t *all = ARENA_ARRAY(b->a, uint32_t, n);
    for (uint32_t i = 0; i < n; i++)
        all[i] = NO_INDEX;
    return all;
}

static uint64_t unit_cost(const struct signal_unit *u)
{
    return (uint64_t)u->cost_ns + u->shared_ns;
}

/* Cheapest first, as declared among equals. */
static void units_sort(struct signal_unit **units, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        struct signal_unit *moving = units[i];
        uint32_t at = i;
        for (; at > 0 && unit_cost(units[at - 1]) > unit_cost(moving); at--)
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
            bit_put(p->unit_mask[u], p->units[u]->slots[i], true);
            p->unit_of[p->units[u]->slots[i]] = u;
        }
    }
    for (uint32_t i = 0; i < p->n_mappings; i++) {
        for (size_t k = 0; k < p->mappings[i].conf->n_outputs; k++)
            p->mapping_of[p->mappings[i].slots[k]] = i;
    }
    for (uint32_t i = 0; i < p->n_composers; i++)
        p->composer_of[p->composers[i].slot] = i;
    for (uint32_t i = 0; i < n; i++) {
        if (!b->is_declared[i] && !p->is_hidden[i]) {
            bit_put(p->undefined, i, true);
        } else if (p->mapping_of[i] == NO_INDEX) {
            bit_put(p->signals, i, true);
            if (p->unit_of[i] == NO_INDEX) {
                bit_put(p->unitless, i, true);
                p->why_absent[i] = "not-built";
            }
        }
    }
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        if (p->nodes[i].is_predicate)
            p->nodes[i].bit += n;
    }
}

/* ---- decisions ---- */

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
    p->look_ns = LOOK_BASE_NS + LOOK_NODE_NS * p->n_nodes;
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
