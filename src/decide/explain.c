/* decide/explain.c -- why a decision was made, for programs and for people.
 *
 * Reads what the last run left in its scratch and computes nothing new: what is shown is what
 * was decided by. After a lazy run, what nobody asked for is shown as open. */
#include <math.h>
#include <stdio.h>

#include "base/json.h"
#include "base/put.h"
#include "decide/engine.h"

enum state { STATE_OPEN, STATE_NO, STATE_UNKNOWN, STATE_YES };

static enum state slot_state(const struct decide_scratch *s, uint32_t slot)
{
    if (!bit_is(s->set, slot))
        return STATE_OPEN;
    if (!bit_is(s->known, slot))
        return STATE_UNKNOWN;
    return bit_is(s->yes, slot) ? STATE_YES : STATE_NO;
}

static enum state outlook_state(const struct outlook *o)
{
    return o->lo != o->hi ? STATE_OPEN : o->lo == 2 ? STATE_YES
                                     : o->lo == 1   ? STATE_UNKNOWN : STATE_NO;
}

static const char *why_unknown(const struct decide_scratch *s, uint32_t slot)
{
    const char *why = s->raw.why_unknown[slot];
    return why ? why : "no answer";
}

/* ---- JSON ---- */

/* Confidences come from floats: seven digits are all they have. */
static void jw_confidence(struct json_writer *w, double value)
{
    char digits[32];
    jw_raw(w, (str){ digits, (size_t)snprintf(digits, sizeof digits, "%.7g", value) });
}

static const char *node_type(const struct node *n)
{
    static const char *const names[] = {
        [RULE_LEAF] = "leaf", [RULE_AND] = "AND", [RULE_OR] = "OR", [RULE_NOT] = "NOT",
        [RULE_UNKNOWN] = "OR",
    };
    return n->rule ? names[n->rule->kind] : "AND";
}

static void bounds_json(const struct number_predicate *p, struct json_writer *w)
{
    const struct { const char *key; double v; } all[] = {
        { "gt", p->gt }, { "gte", p->gte }, { "lt", p->lt }, { "lte", p->lte },
    };
    jw_begin(w, '{');
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        if (!isnan(all[i].v))
            put_double(w, str_of(all[i].key), all[i].v);
    }
    jw_end(w, '}');
}

static void leaf_json(const struct decide_scratch *s, const struct node *n, enum state state,
                      struct json_writer *w)
{
    const struct rule *r = n->rule;
    put_str(w, S("signal_type"), r->type);
    put_str(w, S("signal_name"), r->name);
    if (r->label.len)
        put_str(w, S("label"), r->label);
    if (n->slot == NO_INDEX)
        return;
    if (r->has_predicate) {
        jw_key(w, S("predicate"));
        bounds_json(&r->predicate, w);
        if (!isnan(s->raw.value[n->slot]))
            put_double(w, S("value"), s->raw.value[n->slot]);
    }
    if (s->raw.detail[n->slot].len)
        put_str(w, S("detail"), s->raw.detail[n->slot]);
    if (state != STATE_OPEN && !bit_is(s->known, n->bit)) {
        put_bool(w, S("unknown"), true);
        put_str(w, S("unknown_reason"), str_of(why_unknown(s, n->slot)));
    }
}

static void node_json(const struct policy *p, const struct decide_scratch *s, uint32_t at,
                      struct json_writer *w)
{
    const struct node *n = &p->nodes[at];
    struct outlook o = node_outlook(p, s, at);
    enum state state = outlook_state(&o);
    jw_begin(w, '{');
    put_str(w, S("node_type"), str_of(node_type(n)));
    if (n->rule && n->rule->kind == RULE_LEAF)
        leaf_json(s, n, state, w);
    put_bool(w, S("matched"), state == STATE_YES);
    jw_key(w, S("confidence"));
    jw_confidence(w, state == STATE_YES ? o.confidence.lo : 0);
    if (state == STATE_OPEN)
        put_bool(w, S("not_evaluated"), true);
    if (n->next > at + 1) {
        put_open(w, S("children"), '[');
        for (uint32_t c = at + 1; c < n->next; c = p->nodes[c].next)
            node_json(p, s, c, w);
        jw_end(w, ']');
    }
    jw_end(w, '}');
}

void decide_trace_json(const struct policy *p, const struct decide_scratch *s,
                       struct json_writer *w)
{
    jw_begin(w, '[');
    for (uint32_t i = 0; i < p->n_choices; i++) {
        const struct choice *c = &p->choices[i];
        const struct outlook *o = &s->outlook[i];
        jw_begin(w, '{');
        put_str(w, S("decision_name"), c->conf->name);
        put_bool(w, S("matched"), o->is_certain);
        jw_key(w, S("confidence"));
        jw_confidence(w, o->lo == 2 ? node_outlook(p, s, c->tree.root).confidence.lo : 0);
        if (o->lo == 1 && o->hi == 1)
            put_bool(w, S("unknown"), true);
        put_int(w, S("priority"), c->conf->priority);
        put_int(w, S("tier"), c->conf->tier);
        jw_key(w, S("root_trace"));
        node_json(p, s, c->tree.root, w);
        jw_end(w, '}');
    }
    jw_end(w, ']');
}

/* The keys of matched_signals: the names of the types, but for four (spec 01, section 6.3). */
static str response_key(str type)
{
    static const str plurals[][2] = {
        { S("keyword"), S("keywords") },   { S("embedding"), S("embeddings") },
        { S("domain"), S("domains") },     { S("preference"), S("preferences") },
    };
    for (size_t i = 0; i < COUNT_OF(plurals); i++) {
        if (str_eq(type, plurals[i][0]))
            return plurals[i][1];
    }
    return type;
}

/* {"keywords": [...]}: the slots that `is_in` picks, by type in the order of their first one. */
static void slots_json(const struct policy *p, const struct decide_scratch *s,
                       bool (*is_in)(const struct policy *, const struct decide_scratch *,
                                     uint32_t),
                       bool used_only, struct json_writer *w)
{
    jw_begin(w, '{');
    for (uint32_t i = 0; i < p->n_slots; i++) {
        bool is_first = true;
        for (uint32_t k = 0; k < i && is_first; k++)
            is_first = !str_eq(p->type[k], p->type[i]);
        bool is_open = false;
        for (uint32_t k = i; k < p->n_slots && is_first; k++) {
            if (!str_eq(p->type[k], p->type[i]) || p->is_hidden[k] ||
                (used_only && !p->is_used[k]) || !is_in(p, s, k))
                continue;
            if (!is_open) {
                jw_key(w, response_key(p->type[i]));
                jw_begin(w, '[');
                is_open = true;
            }
            jw_str(w, p->name[k]);
        }
        if (is_open)
            jw_end(w, ']');
    }
    jw_end(w, '}');
}

static bool is_matched(const struct policy *p, const struct decide_scratch *s, uint32_t slot)
{
    (void)p;
    return slot_state(s, slot) == STATE_YES;
}

static bool is_unmatched(const struct policy *p, const struct decide_scratch *s, uint32_t slot)
{
    return slot_state(s, slot) == STATE_NO && !bit_is(p->undefined, slot);
}

static bool is_declared(const struct policy *p, const struct decide_scratch *s, uint32_t slot)
{
    (void)s;
    return !bit_is(p->undefined, slot);
}

void decide_signals_json(const struct policy *p, const struct decide_scratch *s, bool matched,
                         bool used_only, struct json_writer *w)
{
    slots_json(p, s, matched ? is_matched : is_unmatched, used_only, w);
}

void decide_used_json(const struct policy *p, const struct decide_scratch *s,
                      struct json_writer *w)
{
    slots_json(p, s, is_declared, true, w);
}

void decide_unknown_json(const struct policy *p, const struct decide_scratch *s,
                         struct json_writer *w)
{
    jw_begin(w, '[');
    for (uint32_t i = 0; i < p->n_slots; i++) {
        enum state state = slot_state(s, i);
        if (p->is_hidden[i] || (state != STATE_UNKNOWN && state != STATE_OPEN))
            continue;
        jw_begin(w, '{');
        put_str(w, S("type"), p->type[i]);
        put_str(w, S("name"), p->name[i]);
        put_str(w, S("reason"), str_of(state == STATE_OPEN ? "not evaluated" : why_unknown(s, i)));
        put_bool(w, S("used"), p->is_used[i]);
        jw_end(w, '}');
    }
    jw_end(w, ']');
}

/* {"type:name": number} of the slots that have one. */
void decide_numbers_json(const struct policy *p, const struct decide_scratch *s,
                         enum decide_numbers which, struct json_writer *w)
{
    char small[256];
    jw_begin(w, '{');
    for (uint32_t i = 0; i < p->n_slots; i++) {
        double v = which == NUMBERS_VALUE         ? s->raw.value[i]
                   : slot_state(s, i) == STATE_YES ? (double)s->out.confidence[i]
                                                   : (double)NAN;
        size_t n = p->type[i].len + 1 + p->name[i].len;
        if (!isfinite(v) || n > sizeof small)
            continue;
        memcpy(small, p->type[i].ptr, p->type[i].len);
        small[p->type[i].len] = ':';
        memcpy(small + p->type[i].len + 1, p->name[i].ptr, p->name[i].len);
        jw_key(w, (str){ small, n });
        if (which == NUMBERS_CONFIDENCE)
            jw_confidence(w, v);
        else
            jw_double(w, v);
    }
    jw_end(w, '}');
}

void decide_scores_json(const struct policy *p, const struct decide_scratch *s,
                        struct json_writer *w)
{
    jw_begin(w, '{');
    for (uint32_t i = 0; i < p->n_scores; i++) {
        jw_key(w, p->scores[i].conf->name);
        if (s->score[i].lo == s->score[i].hi)
            jw_double(w, s->score[i].lo);
        else
            jw_null(w);
    }
    jw_end(w, '}');
}

/* ---- text ---- */

struct page {
    const struct policy *p;
    const struct decide_scratch *s;
    struct buf *out;
    bool colour;
};

static void colour(const struct page *g, const char *code)
{
    if (g->colour)
        buf_printf(g->out, "\x1b[%sm", code);
}

static void mark(const struct page *g, enum state state)
{
    static const struct { const char *sign, *colour; } marks[] = {
        [STATE_OPEN] = { "\xc2\xb7", "2" }, [STATE_NO] = { "\xe2\x9c\x97", "31" },
        [STATE_UNKNOWN] = { "?", "33" }, [STATE_YES] = { "\xe2\x9c\x93", "32" },
    };
    colour(g, marks[state].colour);
    buf_str(g->out, str_of(marks[state].sign));
    colour(g, "0");
}

/* At most 60 bytes of a text that may hold anything: no control characters, no cut rune. */
static void text_short(const struct page *g, str s)
{
    enum { SHOWN = 60 };
    size_t n = s.len < SHOWN ? s.len : SHOWN;
    while (n < s.len && n > 0 && ((unsigned char)s.ptr[n] & 0xc0) == 0x80)
        n--;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        buf_char(g->out, c < 0x20 || c == 0x7f ? ' ' : (char)c);
    }
    if (n < s.len)
        buf_str(g->out, S("..."));
}

static void indent(const struct page *g, unsigned n)
{
    while (n--)
        buf_str(g->out, S("  "));
}

static void pad(const struct page *g, str s, unsigned width)
{
    text_short(g, s);
    for (size_t n = s.len; n < width; n++)
        buf_char(g->out, ' ');
}

static void slot_line(const struct page *g, uint32_t i)
{
    enum state state = slot_state(g->s, i);
    buf_str(g->out, S("  "));
    mark(g, state);
    buf_char(g->out, ' ');
    pad(g, g->p->type[i], 14);
    buf_char(g->out, ' ');
    pad(g, g->p->name[i], 32);
    if (state == STATE_YES && !isnan(g->s->out.confidence[i]))
        buf_printf(g->out, " confidence %.3g", (double)g->s->out.confidence[i]);
    if (!isnan(g->s->raw.value[i]))
        buf_printf(g->out, " value %.6g", g->s->raw.value[i]);
    if (g->s->raw.detail[i].len) {
        buf_str(g->out, S(" "));
        text_short(g, g->s->raw.detail[i]);
    }
    if (state == STATE_UNKNOWN || state == STATE_OPEN)
        buf_printf(g->out, " %s", state == STATE_OPEN ? "not evaluated" : why_unknown(g->s, i));
    if (!g->p->is_used[i])
        buf_str(g->out, S(" (no decision uses it)"));
    buf_char(g->out, '\n');
}

static void term_line(const struct page *g, const struct term *t)
{
    const struct policy *p = g->p;
    const struct decide_scratch *s = g->s;
    str name = t->score != NO_INDEX ? p->scores[t->score].conf->name : p->name[t->slot];
    str type = t->score != NO_INDEX ? S("score") : p->type[t->slot];
    double x = 0;
    bool is_known = true;
    if (t->score != NO_INDEX) {
        x = s->score[t->score].lo;
        is_known = x == s->score[t->score].hi;
    } else {
        enum state state = slot_state(s, t->slot);
        double c = (double)s->out.confidence[t->slot];
        is_known = state == STATE_YES || state == STATE_NO ||
                   (state == STATE_UNKNOWN && !p->is_ternary);
        x = t->source == TERM_BINARY ? (state == STATE_YES ? t->match : t->miss)
            : t->source == TERM_RAW  ? (isfinite(s->raw.value[t->slot]) ? s->raw.value[t->slot] : 0)
            : state != STATE_YES     ? 0
                                     : (c > 0 && c < 1 ? c : 1);
    }
    buf_str(g->out, S("      "));
    pad(g, type, 14);
    buf_char(g->out, ' ');
    pad(g, name, 30);
    if (is_known)
        buf_printf(g->out, " %+.6g x %.6g = %.6g\n", t->weight, x, t->weight * x + 0.0);
    else
        buf_printf(g->out, " %+.6g x ?\n", t->weight);
}

static void projections_text(const struct page *g)
{
    const struct policy *p = g->p;
    for (uint32_t k = 0; k < p->n_order; k++) {
        if (!p->order[k].is_mapping) {
            const struct score *score = &p->scores[p->order[k].index];
            struct range r = g->s->score[p->order[k].index];
            buf_str(g->out, S("  "));
            text_short(g, score->conf->name);
            if (r.lo == r.hi)
                buf_printf(g->out, " = %.6g\n", r.lo);
            else
                buf_printf(g->out, " between %.6g and %.6g\n", r.lo, r.hi);
            for (uint32_t i = 0; i < score->n_terms; i++)
                term_line(g, &score->terms[i]);
            continue;
        }
        const struct mapping *m = &p->mappings[p->order[k].index];
        for (size_t i = 0; i < m->conf->n_outputs; i++) {
            const struct number_predicate *b = &m->conf->outputs[i].bounds;
            const struct { const char *sign; double v; } bounds[] = {
                { ">", b->gt }, { ">=", b->gte }, { "<", b->lt }, { "<=", b->lte },
            };
            buf_str(g->out, S("    "));
            mark(g, slot_state(g->s, m->slots[i]));
            buf_char(g->out, ' ');
            pad(g, m->conf->outputs[i].name, 32);
            text_short(g, m->conf->source);
            for (size_t x = 0; x < COUNT_OF(bounds); x++) {
                if (!isnan(bounds[x].v))
                    buf_printf(g->out, " %s %.6g", bounds[x].sign, bounds[x].v);
            }
            if (!isnan(g->s->out.confidence[m->slots[i]]))
                buf_printf(g->out, "   confidence %.3g",
                           (double)g->s->out.confidence[m->slots[i]]);
            buf_char(g->out, '\n');
        }
    }
}

static void tree_text(const struct page *g, uint32_t at, unsigned depth)
{
    const struct node *n = &g->p->nodes[at];
    struct outlook o = node_outlook(g->p, g->s, at);
    enum state state = outlook_state(&o);
    indent(g, depth);
    mark(g, state);
    buf_char(g->out, ' ');
    if (n->rule && n->rule->kind == RULE_LEAF) {
        text_short(g, n->rule->type);
        buf_char(g->out, ' ');
        text_short(g, n->rule->name);
        if (n->rule->label.len) {
            buf_char(g->out, ':');
            text_short(g, n->rule->label);
        }
        const struct number_predicate *b = &n->rule->predicate;
        const struct { const char *sign; double v; } bounds[] = {
            { ">", b->gt }, { ">=", b->gte }, { "<", b->lt }, { "<=", b->lte },
        };
        for (size_t x = 0; x < COUNT_OF(bounds) && n->rule->has_predicate; x++) {
            if (!isnan(bounds[x].v))
                buf_printf(g->out, " %s %.6g", bounds[x].sign, bounds[x].v);
        }
        if (n->slot != NO_INDEX && bit_is(g->p->undefined, n->slot))
            buf_str(g->out, S("   (nothing has this name)"));
        else if (n->slot != NO_INDEX && slot_state(g->s, n->slot) == STATE_UNKNOWN)
            buf_printf(g->out, "   (unknown: %s)", why_unknown(g->s, n->slot));
    } else if (!n->rule) {
        buf_str(g->out, S("always"));
    } else {
        buf_str(g->out, str_of(node_type(n)));
        if (n->kind == NODE_TRUE)
            buf_str(g->out, S(" of nothing: always"));
        if (n->kind == NODE_FALSE)
            buf_str(g->out, S(" of nothing: never"));
    }
    if (state == STATE_YES)
        buf_printf(g->out, "   %.3g", o.confidence.lo);
    buf_char(g->out, '\n');
    for (uint32_t c = at + 1; c < n->next; c = g->p->nodes[c].next)
        tree_text(g, c, depth + 1);
}

/* Why choice i, which matches, came after the winner. The keys are those of the ranking. */
static void lost_text(const struct page *g, uint32_t i, uint32_t winner)
{
    const struct policy *p = g->p;
    const struct choice *c = &p->choices[i], *best = &p->choices[winner];
    bool by_tier = p->is_ternary;
    for (uint32_t k = 0; k < p->n_choices; k++)
        by_tier |= p->choices[k].has_tier && g->s->outlook[k].is_certain;
    bool confidence_first =
        p->profile->strategy == STRATEGY_CONFIDENCE || (by_tier && !p->is_ternary);
    double mine = node_outlook(p, g->s, c->tree.root).confidence.lo;
    double theirs = node_outlook(p, g->s, best->tree.root).confidence.lo;
    buf_str(g->out, S("      matches too, but "));
    if (by_tier && c->tier != best->tier)
        buf_printf(g->out, c->has_tier || !p->is_ternary ? "tier %lld comes after tier %lld"
                                                         : "it has no tier (%lld), the winner %lld",
                   (long long)c->conf->tier, (long long)best->conf->tier);
    else if (p->is_ternary && c->is_catch_all && !best->is_catch_all)
        buf_str(g->out, S("catch-alls come last"));
    else if (confidence_first && mine != theirs)
        buf_printf(g->out, "confidence %.3g is not %.3g", mine, theirs);
    else if (c->conf->priority != best->conf->priority)
        buf_printf(g->out, "priority %lld is lower than %lld", (long long)c->conf->priority,
                   (long long)best->conf->priority);
    else if (mine != theirs)
        buf_printf(g->out, "confidence %.3g is not %.3g", mine, theirs);
    else
        buf_str(g->out, S("its name comes later"));
    buf_char(g->out, '\n');
}

static void decision_text(const struct page *g, uint32_t i, const struct decision *d)
{
    const struct choice *c = &g->p->choices[i];
    const struct outlook *o = &g->s->outlook[i];
    bool is_winner = d->conf == c->conf;
    buf_str(g->out, S("  "));
    mark(g, o->is_certain ? STATE_YES : outlook_state(o));
    buf_char(g->out, ' ');
    colour(g, is_winner ? "1" : "0");
    text_short(g, c->conf->name);
    colour(g, "0");
    buf_printf(g->out, "   priority %lld", (long long)c->conf->priority);
    if (c->has_tier)
        buf_printf(g->out, ", tier %lld", (long long)c->conf->tier);
    if (o->lo == 1 && o->hi == 1)
        buf_str(g->out, S(", unknown"));
    if (is_winner)
        buf_printf(g->out, ", confidence %.4g   <- %s", d->confidence,
                   d->is_failed ? "unknown, so the request fails" : "wins");
    buf_char(g->out, '\n');
    tree_text(g, c->tree.root, 3);
    if (o->is_certain && d->conf && !is_winner)
        lost_text(g, i, d->index);
}

static void units_text(const struct page *g)
{
    static const char *const fates[] = { "avoided", "run", "skipped" };
    for (uint32_t u = 0; u < g->p->n_units; u++) {
        uint64_t ns;
        enum unit_fate fate = decide_unit_fate(g->s, u, &ns);
        buf_str(g->out, S("  "));
        pad(g, g->p->units[u]->type, 16);
        buf_str(g->out, str_of(fates[fate]));
        if (ns)
            buf_printf(g->out, "   %.1f us", (double)ns / 1000);
        buf_char(g->out, '\n');
    }
}

void decide_explain(const struct policy *p, const struct decide_scratch *s,
                    const struct decision *d, bool is_coloured, struct buf *out)
{
    const struct page g = { p, s, out, is_coloured };
    buf_str(out, S("signals\n"));
    for (uint32_t i = 0; i < p->n_slots; i++) {
        if (!p->is_hidden[i] && p->mapping_of[i] == NO_INDEX && !bit_is(p->undefined, i))
            slot_line(&g, i);
    }
    if (p->n_order) {
        buf_str(out, S("projections\n"));
        projections_text(&g);
    }
    buf_str(out, S("decisions\n"));
    for (uint32_t i = 0; i < p->n_choices; i++)
        decision_text(&g, i, d);
    if (!d->conf)
        buf_str(out, S("  none matches: the default model answers\n"));
    if (d->n_units_avoided || d->n_units_run) {
        buf_str(out, S("work\n"));
        units_text(&g);
    }
}
