/* select/weighted.c -- shares of traffic by modelRefs[].weight. Ours; VSR has no such type.
 *
 * A draw without replacement: the first place goes to a candidate with a chance in proportion
 * to its weight, the next place likewise among the rest, so that a retry is spread as fairly
 * as the first attempt. Weight 0 is last resort. No weight at all: equal shares. */
#include "select/rank.h"

#include <math.h>

#include "base/rand.h"

static double weight_of(const struct candidate *c)
{
    double w = c->ref ? c->ref->weight : 0;
    return isfinite(w) && w > 0 ? w : 0;
}

static void weighted_pick(const struct select_in *in, struct arena *a, struct pick *out)
{
    pick_declared(in, a, out);
    out->reason = "weighted";
    double *weight = ARENA_ARRAY(a, double, in->n);
    double sum = 0;
    for (uint32_t i = 0; i < in->n; i++)
        sum += weight[i] = weight_of(&in->candidates[i]);
    bool is_uniform = !(sum > 0) || !isfinite(sum);
    if (is_uniform) {
        sum = in->n;
        for (uint32_t i = 0; i < in->n; i++)
            weight[i] = 1;
    }
    for (uint32_t i = 0; i < in->n; i++)
        out->scores[i] = (float)(weight[i] / sum);

    uint64_t state = in->seed;
    for (uint32_t place = 0; place + 1 < in->n && sum > 0; place++) {
        double left = rand_unit(&state) * sum;
        uint32_t at = in->n;
        for (uint32_t i = place; i < in->n; i++) {
            if (weight[out->order[i]] <= 0)
                continue;
            at = i;                             /* the last one with weight takes rounding's rest */
            left -= weight[out->order[i]];
            if (left < 0)
                break;
        }
        if (at == in->n)
            break;                              /* only weight 0 is left: declared order */
        uint32_t chosen = out->order[at];
        for (; at > place; at--)
            out->order[at] = out->order[at - 1];
        out->order[place] = chosen;
        sum -= weight[chosen];
    }
    out->propensity = out->confidence = (double)out->scores[out->order[0]];
}

const struct select_ops select_weighted = {
    .name = "weighted", .fields = FIELDS_NONE, .is_built = true, .pick = weighted_pick,
};
