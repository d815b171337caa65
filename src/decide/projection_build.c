/* decide/projection_build.c -- compiles scores and mappings into a list, dependencies first.
 *
 * Inputs may be outputs of mappings and other scores, so the list is found by a depth-first walk;
 * a circle is an error of the configuration. projection.c computes what is compiled here. */
#include <math.h>

#include "decide/builder.h"

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
void mappings_declare(struct policy_builder *b)
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

void scores_compile(struct policy_builder *b)
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

void projections_order(struct policy_builder *b)
{
    struct policy *p = b->p;
    uint8_t *state = arena_alloc(b->a, p->n_scores + p->n_mappings + 1);
    for (uint32_t i = 0; i < p->n_scores; i++)
        projection_visit(b, state, false, i);
    for (uint32_t i = 0; i < p->n_mappings; i++)
        projection_visit(b, state, true, i);
}
