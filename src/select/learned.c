/* select/learned.c -- `algorithm.type: learned`: picks by a table that `signalbox train selector` wrote. Ours.
 *
 * The table says what to expect of every model for this text: quality, cost, output tokens, seconds. Live facts overrule it where
 * they know better: prices come from the model cards, latency from what was measured. Then one price vector decides
 * (objective.h). A candidate that the table has never seen stands with the mean of all models and an honest deviation. */
#include "select/rank.h"

#include <math.h>

#include "select/kinds.h"
#include "select/objective.h"

struct uncertain { double threshold; str to; };

struct learned_conf {
    str table;
    struct objective objective;
    struct uncertain uncertain;         /* to "": off */
};

static const struct field objective_fields[] = {
    F(FIELD_FLOAT, struct objective, quality, "quality", "1", "weight of quality (0 to 1)", .min = 0, .max = 1e6),
    F(FIELD_FLOAT, struct objective, cost, "cost", "0", "quality that one USD is worth; 5: a cent is worth 0.05 of quality",
      .min = 0, .max = 1e9),
    F(FIELD_FLOAT, struct objective, latency, "latency", "0", "quality that one second is worth", .min = 0, .max = 1e6),
    F(FIELD_FLOAT, struct objective, energy, "energy", "0", "quality that one unit of energy is worth", .min = 0, .max = 1e9),
};
static const struct fields objective_table = FIELDS(struct objective, objective_fields);

static const struct field uncertain_fields[] = {
    F(FIELD_FLOAT, struct uncertain, threshold, "threshold", "0.6",
      "from which entropy of the kinds on a query counts as uncertain: 0 sure of one, 1 every kind alike", .min = 0, .max = 1,
      .flags = FIELD_EXTENSION),
    F(FIELD_STR, struct uncertain, to, "to", NULL, "the candidate that answers then", .flags = FIELD_REQUIRED | FIELD_EXTENSION),
};
static const struct fields uncertain_table = FIELDS(struct uncertain, uncertain_fields);

static const struct field learned_fields[] = {
    F(FIELD_STR, struct learned_conf, table, "table", NULL, "the file that `signalbox train selector` wrote", .flags =
      FIELD_REQUIRED),
    F(FIELD_STRUCT, struct learned_conf, objective, "weights", NULL, "what counts how much", .sub = &objective_table),
    F(FIELD_FLOAT, struct learned_conf, objective.tolerance, "tolerance", "0",
      "the cheapest of those that are at most this much worse than the best; 0: off", .min = 0, .max = 1),
    F(FIELD_FLOAT, struct learned_conf, objective.budget_usd, "budget_usd", "0",
      "models whose answer may cost more (nine in ten stay under) come last; 0: off", .min = 0, .max = 1e6),
    F(FIELD_FLOAT, struct learned_conf, objective.caution, "caution", "0",
      "counts quality at its mean minus this many deviations; keeps models with few outcomes from winning by luck", .min = 0,
          .max = 10),
    F(FIELD_STRUCT, struct learned_conf, uncertain, "uncertain", NULL,
      "sends queries whose kind the table is not sure of to one model; `signalbox compose --uncertain` reports what that does",
      .sub = &uncertain_table, .flags = FIELD_EXTENSION),
};

#define TOKENS_UNKNOWN 400              /* of an answer */
#define FAILURES_MOST 0.8               /* beyond, health checks take over */

/* Prices, latencies and failures of today instead of those of the recording. */
static void refresh(struct prediction *p, const struct candidate *c, const struct facts *f)
{
    double in_tokens = f ? (double)f->context_tokens : 0;
    if (!isnan(c->prompt_price) && !isnan(c->completion_price) && !isnan(p->out_tokens))
        p->cost_usd = (float)((in_tokens * c->prompt_price + (double)p->out_tokens * c->completion_price) / 1e6);
    else if (isnan(p->cost_usd) && !isnan(c->prompt_price))
        p->cost_usd = (float)(in_tokens * c->prompt_price / 1e6);
    double ttft = c->latency ? c->latency->ttft_s(c->latency, 50) : (double)NAN, tpot = c->latency
        ? c->latency->tpot_s(c->latency, 50) : (double)NAN;
    if (!isnan(tpot) && !isnan(p->out_tokens))
        p->latency_s = (float)((isnan(ttft) ? 0 : ttft) + tpot * (double)p->out_tokens);
    /* What fails is asked again, here or elsewhere: of so many attempts one is an answer. */
    double attempts = 1 / (1 - fmin(fmax(c->failures, 0), FAILURES_MOST));
    p->cost_usd *= (float)attempts;
    p->latency_s *= (float)attempts;
}

struct prediction select_stranger(const struct prediction *all, uint32_t n, const struct candidate *c, const struct facts *f)
{
    double in = f ? (double)f->context_tokens : 0, each = (double)learner_stranger(all, n, (double)NAN).out_tokens;
    return learner_stranger(all, n, (in * c->prompt_price + (isnan(each) ? TOKENS_UNKNOWN : each) * c->completion_price) / 1e6);
}

/* The candidate for queries of which the table does not know the kind; UINT32_MAX: there is none, or the table is sure, or has no
 * kinds. */
static uint32_t uncertain_to(const struct uncertain *u, const struct learner *l, const struct features *x, const struct select_in *in,
                             struct arena *a)
{
    uint32_t k = 0;
    while (k < in->n && !(u->to.len && str_eq(in->candidates[k].model, u->to)))
        k++;
    if (k == in->n)
        return UINT32_MAX;
    float *share = ARENA_ARRAY(a, float, l->n_kinds);
    return learner_kinds(l, x, share, a) && kinds_entropy(share, l->n_kinds) > u->threshold ? k : UINT32_MAX;
}

static void learned_pick(const struct select_in *in, struct arena *a, struct pick *out)
{
    const struct learned_conf *conf = in->conf;
    const struct learner *l = in->trained;
    pick_declared(in, a, out);
    if (!l || !conf) {
        out->confidence = 0;
        out->fallback = "no-table";
        return;
    }
    struct features *x = ARENA_NEW(a, struct features);
    features_read(x, a, in->facts ? in->facts->evaluation_text : S(""));
    x->vector = in->embedding;
    x->dim = in->embedding ? in->dim : 0;
    out->features = x;
    struct prediction *all = ARENA_ARRAY(a, struct prediction, l->n_models), *p = ARENA_ARRAY(a, struct prediction, in->n);
    float *energy = ARENA_ARRAY(a, float, in->n);
    learner_predict(l, x, all, a);
    for (uint32_t i = 0; i < in->n; i++) {
        uint32_t m = learner_find(l, in->candidates[i].model);
        p[i] = m == UINT32_MAX ? select_stranger(all, l->n_models, &in->candidates[i], in->facts) : all[m];
        refresh(&p[i], &in->candidates[i], in->facts);
        energy[i] = (float)in->candidates[i].energy;
    }
    double *value = ARENA_ARRAY(a, double, in->n);
    uint32_t best = objective_best(&conf->objective, p, energy, in->n, value);
    for (uint32_t i = 0; i < in->n; i++) {
        out->scores[i] = (float)value[i];
        value[i] = i == best ? -HUGE_VAL : -value[i];
    }
    pick_sort(out, value, in->n);
    out->reason = "learned";
    /* How sure: the chance that the best is really better than the runner-up, were both beliefs normal. */
    const struct prediction *first = &p[out->order[0]], *second = &p[out->order[1]];
    double spread = sqrt((double)(first->deviation * first->deviation + second->deviation * second->deviation));
    double lead = (double)(out->scores[out->order[0]] - out->scores[out->order[1]]);
    out->confidence = spread > 0 ? 0.5 * erfc(-lead / spread / sqrt(2)) : 1;
    uint32_t general = uncertain_to(&conf->uncertain, l, x, in, a);
    if (general != UINT32_MAX) {
        pick_first(out, general, in->n);
        out->reason = "uncertain";
    }
}

static void learned_check(const void *conf, const struct decision_conf *d, str path, struct findings *out)
{
    const struct learned_conf *c = conf;
    for (size_t i = 0; i < d->n_refs; i++)
        if (c->uncertain.to.len == 0 || str_eq(d->refs[i].model, c->uncertain.to))
            return;
    if (c->uncertain.to.len)
        finding_add(out, "undefined-reference", SEVERITY_ERROR, d->algorithm.at, path, S("name one of its modelRefs"),
                    "learned.uncertain.to names `" STR_FMT "`, which is no candidate of this decision", STR_ARG(c->uncertain.to));
}

static void learned_free(void *l)
{
    learner_free(l);
}

static const void *learned_load(struct arena *a, str bytes, struct err *e)
{
    struct learner *l = learner_load(bytes, e);
    if (l)
        arena_defer(a, learned_free, l);
    return l;
}

static bool learned_reads_embedding(const void *trained)
{
    return trained && ((const struct learner *)trained)->vector_dim > 0;
}

const struct select_ops select_learned = {
    .name = "learned", .block = "learned", .fields = FIELDS(struct learned_conf, learned_fields), .is_built = true,
    .check = learned_check, .pick = learned_pick, .load = learned_load, .file_key = "algorithm.learned.table",
    .reads_embedding = learned_reads_embedding,
};
