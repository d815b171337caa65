/* select/automix.c -- quality less price, once, without a cascade (spec 02, section 1.5). Named after AutoMix (arXiv:2310.12963);
 * the cascade that checks an answer before it pays for a better one is the flow `confidence`.
 *
 * Every candidate is believed to verify with probability 0.7, as in VSR, where nothing ever updates that; outcomes change the
 * live learner's beliefs, not these. */
#include "select/rank.h"

#include <math.h>

struct automix_conf {
    double verification_threshold, cost_quality_tradeoff, discount_factor;
    int64_t max_escalations;
    bool cost_aware_routing;
};

static const struct field automix_fields[] = {
    F(FIELD_FLOAT, struct automix_conf, verification_threshold, "verification_threshold", "0.7",
      "self-verification at or above is trusted",
      .min = 0, .max = 1),
    F(FIELD_INT, struct automix_conf, max_escalations, "max_escalations", "2", "0: what a larger model would add does not count",
      .min = 0, .max = 100),
    F(FIELD_BOOL, struct automix_conf, cost_aware_routing, "cost_aware_routing", "true", "weigh the price against the quality"),
    F(FIELD_FLOAT, struct automix_conf, cost_quality_tradeoff, "cost_quality_tradeoff", "0.3", "weight of the cost", .min = 0,
      .max = 1),
    F(FIELD_FLOAT, struct automix_conf, discount_factor, "discount_factor", "0.95", "discount of later escalations", .min = 0,
      .max = 1),
    K(FIELD_BOOL, "use_logprob_verification", "true", "no effect, as in VSR", .flags = FIELD_IGNORED),
};

static const struct automix_conf defaults = { 0.7, 0.3, 0.95, 2, true };
static const double verified = 0.7;

static double quality_of(const struct candidate *c)
{
    return c->quality > 0 && c->quality <= 1 ? c->quality : 0.8;
}

static double price_of(const struct candidate *c)
{
    return c->prompt_price > 0 ? c->prompt_price : 0;
}

bool automix_values(const struct select_in *in, const void *conf, double *value)
{
    const struct automix_conf *c = conf ? conf : &defaults;
    double best = 0, weight = c->cost_quality_tradeoff > 0 ? c->cost_quality_tradeoff : 0.5;
    for (uint32_t i = 0; i < in->n; i++)
        best = fmax(best, quality_of(&in->candidates[i]));
    for (uint32_t i = 0; i < in->n; i++) {
        double quality = quality_of(&in->candidates[i]), price = price_of(&in->candidates[i]);
        value[i] = quality - (c->cost_aware_routing ? price / 10 * c->cost_quality_tradeoff : 0);
        if (verified < c->verification_threshold && c->max_escalations > 0)
            value[i] += (1 - verified) * c->discount_factor * (best - quality);
        if (c->cost_aware_routing)
            value[i] *= (verified >= c->verification_threshold ? 1.1 : 1) / (1 + price * weight);
    }
    return true;
}

static void automix_pick(const struct select_in *in, struct arena *a, struct pick *out)
{
    double *value = ARENA_ARRAY(a, double, in->n), *price = ARENA_ARRAY(a, double, in->n);
    pick_declared(in, a, out);
    automix_values(in, in->conf, value);
    for (uint32_t i = 0; i < in->n; i++) {
        price[i] = price_of(&in->candidates[i]);
        out->scores[i] = (float)value[i];
        value[i] = -value[i];
    }
    pick_sort(out, price, in->n);       /* among equals the cheaper */
    pick_sort(out, value, in->n);
    out->reason = "best_score";
    out->confidence = verified;
}

const struct select_ops select_automix = {
    .name = "automix", .block = "automix", .fields = FIELDS(struct automix_conf, automix_fields), .is_built = true, .pick =
        automix_pick,
};
