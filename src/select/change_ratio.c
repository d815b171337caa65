/* select/change_ratio.c -- do the last k outcomes fit their predictions, for some k?
 *
 * For k = 4, 6, 9, 13 ... 213 the sum of the last k rewards is compared with the sum of what was expected of them: k kl(mean got,
 * mean expected) is the log likelihood ratio of Bernoulli outcomes, and bounds that of any reward in [0, 1]. Expectations are
 * moved towards what was got by two deviations of the prediction, so that a learner that is still learning raises no alarm. The
 * predictions of single queries differ; because kl is convex their mean is a safe stand-in. Costs two sums over the ring, some
 * 400 ns. */
#include "select/change.h"

#include <math.h>

static double relative_entropy(double p, double q)      /* of Bernoulli p to q */
{
    q = fmin(fmax(q, 1e-3), 1 - 1e-3);
    double v = 0;
    if (p > 0)
        v += p * log(p / q);
    if (p < 1)
        v += (1 - p) * log((1 - p) / (1 - q));
    return v;
}

static void push(struct change *c, double got, double expected, double doubt)
{
    c->got[c->at] = (float)got;
    c->expected[c->at] = (float)expected;
    c->doubt[c->at] = (float)doubt;
    c->at = (c->at + 1) % CHANGE_WINDOW;
    c->n += c->n < CHANGE_WINDOW;
}

struct change_found change_observe(struct change *c, double got, double expected, double doubt, double false_alarm)
{
    struct change_found best = { 0 };
    if (!isfinite(got) || !isfinite(expected))
        return best;
    push(c, fmin(1, fmax(0, got)), fmin(1, fmax(0, expected)), isfinite(doubt) && doubt > 0 ? doubt : 0);
    double bar = -log(false_alarm > 0 && false_alarm < 1 ? false_alarm : 1e-4), top = 0;
    double sum_got = 0, sum_expected = 0, sum_doubt = 0;
    uint32_t look = 4;
    for (uint32_t k = 1; k <= c->n; k++) {
        uint32_t i = (c->at + CHANGE_WINDOW - k) % CHANGE_WINDOW;
        sum_got += (double)c->got[i];
        sum_expected += (double)c->expected[i];
        sum_doubt += (double)c->doubt[i];
        if (k != look)
            continue;
        look += look / 2;
        double p = sum_got / k, q = sum_expected / k, slack = 2 * sum_doubt / k;
        double near = p < q ? fmax(p, q - slack) : fmin(p, q + slack);
        double v = k * relative_entropy(p, near) - .5 * log(k);   /* longer looks were tried more often */
        if (v > bar && v > top) {
            top = v;
            best = (struct change_found){ k, q, p };
        }
    }
    if (best.since)
        c->n = c->at = 0;
    return best;
}

int cusum_observe(struct cusum *c, double got, double expected, double slack, double limit)
{
    double rest = got - expected;
    if (!isfinite(rest))
        return 0;
    c->low = fmax(0, c->low - rest - slack);
    c->high = fmax(0, c->high + rest - slack);
    c->since_low = c->low > 0 ? c->since_low + 1 : 0;
    c->since_high = c->high > 0 ? c->since_high + 1 : 0;
    int found = c->low > limit ? -1 : c->high > limit ? 1 : 0;
    if (found)
        *c = (struct cusum){ 0 };
    return found;
}
