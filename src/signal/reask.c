/* signal/reask.c -- the user asks the same again, by embeddings of the turns (spec 2.4.6).
 *
 * The streak is the number of earlier user turns in a row, the most recent first, that are like the present one. A rule
 * holds when its streak is long enough, and of the rules that hold only those that look back furthest stay. */
#include "signal/neural.h"

#include <math.h>

#include "base/vector.h"

struct reask_conf { str description; double threshold; int64_t lookback_turns; };

static const struct field reask_table[] = {
    F(FIELD_STR, struct reask_conf, description, "description", NULL, "for people"),
    F(FIELD_FLOAT, struct reask_conf, threshold, "threshold", "0.8",
      "lowest similarity of two turns that counts as the same question", .min = 0, .max = 1),
    F(FIELD_INT, struct reask_conf, lookback_turns, "lookback_turns", "1",
      "how many earlier turns in a row must be alike", .min = 1, .max = 1000),
};

enum { TURNS_MAX = 64 };                /* counted at least, more if a rule looks further back; longer streaks say no more */

struct rule_code { uint32_t slot, lookback; double threshold; };
struct reask { const struct need_source *source; struct rule_code *rules; size_t n; uint32_t turns; };

static uint32_t turns_of(const struct reask *r, const struct facts *f)
{
    return f->n_prior_users < r->turns ? f->n_prior_users : r->turns;
}

static str turn_at(const struct facts *f, uint32_t back)        /* 0: the turn before this one */
{
    return f->prior_users[f->n_prior_users - 1 - back];
}

static void reask_ask(const void *state, const struct facts *f, const uint64_t *wanted, struct needs *needs)
{
    (void)wanted;
    const struct reask *r = state;
    uint32_t n = turns_of(r, f);
    if (n == 0)
        return;
    need_ask(needs, r->source, f->current_user);
    for (uint32_t i = 0; i < n; i++)
        need_ask(needs, r->source, turn_at(f, i));
}

/* Similarities of the present turn to the n before it, the most recent first; NAN and *why where there is no answer. */
static const float *similarities(const struct reask *r, const struct facts *f, uint32_t n, struct arena *request,
                                 const char **why)
{
    float *all = ARENA_ARRAY(request, float, n);
    const float *now = n ? neural_vector(f, r->source, f->current_user, request, why) : NULL;
    for (uint32_t i = 0; i < n; i++) {
        const float *then = now ? neural_vector(f, r->source, turn_at(f, i), request, why) : NULL;
        all[i] = then ? need_similarity(r->source, vector_inner(now, then, r->source->dim)) : NAN;
    }
    return all;
}

/* The rule's streak as its value; and whether the rule holds, as far as turns without an answer let one say. */
static bool rule_run(const struct rule_code *c, const float *similarity, uint32_t n, const char *why, struct sigset *out)
{
    uint32_t streak = 0;
    while (streak < n && (double)similarity[streak] >= c->threshold)
        streak++;
    if (streak < c->lookback && streak < n && isnan(similarity[streak])) {
        neural_unknown(out, c->slot, why);
        return false;
    }
    rule_value(out, c->slot, streak);
    return streak >= c->lookback;
}

static void reask_run(const void *state, const struct facts *f, const uint64_t *wanted, struct arena *request, struct sigset *out)
{
    (void)wanted;
    const struct reask *r = state;
    uint32_t n = turns_of(r, f), furthest = 0;
    const char *why = NULL;
    const float *similarity = similarities(r, f, n, request, &why);
    for (size_t i = 0; i < r->n; i++) {
        if (rule_run(&r->rules[i], similarity, n, why, out) && r->rules[i].lookback > furthest)
            furthest = r->rules[i].lookback;
    }
    for (size_t i = 0; i < r->n && furthest; i++) {
        const struct rule_code *c = &r->rules[i];
        double streak = out->value[c->slot], least = 1;
        if (c->lookback != furthest || !(streak >= furthest))
            continue;
        for (uint32_t k = 0; k < furthest; k++)
            least = fmin(least, (double)similarity[k]);
        rule_says(out, c->slot, true, least, streak);
        out->detail[c->slot] = arena_printf(request, "%g turns alike, similarity %.2f", streak, least);
    }
}

static void reask_make(struct signal_build *b, const struct signal_rule *const *rules, size_t n)
{
    struct reask *r = ARENA_NEW(b->a, struct reask);
    *r = (struct reask){ neural_embedding_source(b), ARENA_ARRAY(b->a, struct rule_code, n), n, TURNS_MAX };
    struct signal_unit *u = neural_unit(b, "reask", r->source, 2);     /* earlier turns are mostly remembered */
    for (size_t i = 0; i < n; i++) {
        const struct reask_conf *c = rules[i]->conf;
        uint32_t lookback = c->lookback_turns > 1 ? (uint32_t)c->lookback_turns : 1;
        r->rules[i] = (struct rule_code){ rule_slot(b, u, S("reask"), rules[i]->name), lookback, c->threshold };
        r->turns = lookback > r->turns ? lookback : r->turns;
    }
    const char *why = neural_why_absent(r->source);
    u->state = r;
    u->ask = reask_ask;
    u->run = reask_run;
    if (why)
        neural_absent(b, u, why);
}

const struct signal_ops signal_reask = {
    .type = "reask",
    .collection = "reasks",
    .response_key = "reask",
    .header = "x-vsr-matched-reask",
    .fields = FIELDS(struct reask_conf, reask_table),
    .make = reask_make,
};
