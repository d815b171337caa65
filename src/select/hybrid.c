/* select/hybrid.c -- a weighted mean of other selectors' scores (spec 02, section 1.6). The name is HybridLLM's
 * (arXiv:2404.14618), the idea is not.
 *
 * Components: recorded comparisons (Elo), router_dc, automix, each scaled to [0, 1], weights renormalised over those that have
 * something to say; then a factor for cheap candidates. VSR's Elo ratings never move (its K is 0), so they are 0.5 for all; what
 * replaces them here is what the live learner knows, outside of this file. */
#include "select/rank.h"

#include <math.h>

struct hybrid_conf { double experience, router_dc, automix, cost; bool normalize_scores; };

static const struct field hybrid_fields[] = {
    F(FIELD_FLOAT, struct hybrid_conf, experience, "experience_weight", "0.3", "weight of recorded comparisons", .min = 0, .max =
      1000),
    F(FIELD_FLOAT, struct hybrid_conf, router_dc, "router_dc_weight", "0.3", "weight of the similarity to model cards", .min = 0,
      .max = 1000),
    F(FIELD_FLOAT, struct hybrid_conf, automix, "automix_weight", "0.2", "weight of the automix value", .min = 0, .max = 1000),
    F(FIELD_FLOAT, struct hybrid_conf, cost, "cost_weight", "0.2", "weight of the price", .min = 0, .max = 1000),
    K(FIELD_FLOAT, "quality_gap_threshold", "0.1", "no effect, as in VSR", .flags = FIELD_IGNORED),
    F(FIELD_BOOL, struct hybrid_conf, normalize_scores, "normalize_scores", "true",
      "scale every component to [0, 1] before adding"),
};

static const struct hybrid_conf defaults = { 0.3, 0.3, 0.2, 0.2, true };

static bool uniform(const struct select_in *in, const void *conf, double *score)
{
    (void)conf;
    for (uint32_t i = 0; i < in->n; i++)
        score[i] = 0.5;
    return true;
}

static uint32_t scale(double *v, uint32_t n, bool is_wanted)    /* returns the index of the best */
{
    double low = HUGE_VAL, high = -HUGE_VAL;
    uint32_t best = 0;
    for (uint32_t i = 0; i < n; i++) {
        best = v[i] > v[best] ? i : best;
        low = fmin(low, v[i]);
        high = fmax(high, v[i]);
    }
    for (uint32_t i = 0; i < n && is_wanted; i++)
        v[i] = high > low ? (v[i] - low) / (high - low) : 0.5;
    return best;
}

static void hybrid_pick(const struct select_in *in, struct arena *a, struct pick *out)
{
    const struct hybrid_conf *c = in->conf ? in->conf : &defaults;
    const struct { double weight; bool (*scores)(const struct select_in *, const void *, double *); double confidence;
                   } parts[] = {
        { c->experience, uniform, 0.5 }, { c->router_dc, router_dc_scores, 0.9 }, { c->automix, automix_values, 0.7 },
    };
    enum { PARTS = COUNT_OF(parts) };
    uint32_t n = in->n, favourite[PARTS], n_parts = 0, agree = 0;
    double *sum = ARENA_ARRAY(a, double, n), *v = ARENA_ARRAY(a, double, n), *price = ARENA_ARRAY(a, double, n), whole = 0,
        sure = 0;
    pick_declared(in, a, out);
    for (uint32_t k = 0; k < PARTS; k++) {
        if (parts[k].weight <= 0 || !parts[k].scores(in, NULL, v))
            continue;
        favourite[n_parts++] = scale(v, n, c->normalize_scores);
        for (uint32_t i = 0; i < n; i++)
            sum[i] += parts[k].weight * v[i];
        whole += parts[k].weight;
        sure += parts[k].confidence;
    }
    if (n_parts == 0) {
        out->confidence = 0;
        out->fallback = "selector_unavailable";
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        price[i] = in->candidates[i].prompt_price > 0 ? in->candidates[i].prompt_price : 0;
    scale(price, n, true);
    for (uint32_t i = 0; i < n; i++) {
        /* The context's cost weight is 0.5 unless automix says otherwise, which it cannot in a decision of this type. */
        sum[i] = sum[i] / whole * (1 + (1 - price[i]) * 0.5 * c->cost);
        out->scores[i] = (float)sum[i];
        v[i] = -sum[i];
    }
    pick_sort(out, v, n);
    for (uint32_t k = 0; k < n_parts; k++)
        agree += favourite[k] == out->order[0];
    out->reason = "best_score";
    out->confidence = ((double)agree / n_parts + sure / n_parts) / 2;
}

const struct select_ops select_hybrid = {
    .name = "hybrid", .block = "hybrid", .fields = FIELDS(struct hybrid_conf, hybrid_fields), .is_built = true, .pick =
        hybrid_pick,
    .reads_embedding = select_always,
};
