/* select/objective.c -- the arithmetic of choosing: one pass for the ranges, one for the values, one for the best. */
#include "select/objective.h"

#include <math.h>

struct range { double worst_cost, worst_seconds, best_quality; };

static double quality_of(const struct objective *o, const struct prediction *p)
{
    return (double)p->score - o->caution * (double)p->deviation;
}

static struct range range_of(const struct objective *o, const struct prediction *p, uint32_t n)
{
    struct range r = { 0, 0, -INFINITY };
    for (uint32_t i = 0; i < n; i++) {
        r.worst_cost = isnan(p[i].cost_usd) ? r.worst_cost : fmax(r.worst_cost, (double)p[i].cost_usd);
        r.worst_seconds = isnan(p[i].latency_s) ? r.worst_seconds : fmax(r.worst_seconds, (double)p[i].latency_s);
        r.best_quality = fmax(r.best_quality, quality_of(o, &p[i]));
    }
    return r;
}

static double or_worst(float v, double worst)
{
    return isnan(v) ? worst : (double)v;
}

uint32_t objective_best(const struct objective *o, const struct prediction *p, const float *energy, uint32_t n, double *value)
{
    struct range r = range_of(o, p, n);
    double w = o->quality == 0 && o->cost == 0 && o->latency == 0 && o->energy == 0 ? 1 : o->quality;
    uint32_t best = 0;
    for (uint32_t i = 0; i < n; i++) {
        double cost = or_worst(p[i].cost_usd, r.worst_cost), quality = quality_of(o, &p[i]);
        value[i] = w * quality - o->cost * cost - o->latency * or_worst(p[i].latency_s, r.worst_seconds) -
                   (energy && !isnan(energy[i]) ? o->energy * (double)energy[i] : 0);
        if (o->tolerance > 0)           /* good enough: 1 less what it costs in shares of the dearest; not: what it has */
            value[i] = quality >= r.best_quality - o->tolerance ? 2 - (r.worst_cost > 0 ? cost / r.worst_cost : 0) : quality;
        double spread = isnan(p[i].out_tokens) || isnan(p[i].out_tokens_90) || p[i].out_tokens <= 0 ? 1
            : (double)(p[i].out_tokens_90 / p[i].out_tokens);
        if (o->budget_usd > 0 && cost * fmax(spread, 1) > o->budget_usd)
            value[i] -= 1e6 * (1 + cost);       /* behind all that are not; among themselves the cheapest first */
        double before = or_worst(p[best].cost_usd, r.worst_cost);
        if (value[i] > value[best] || (value[i] == value[best] && cost < before))
            best = i;
    }
    return best;
}
