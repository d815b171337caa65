/* select/bandit_choose.c -- from beliefs to chances, from chances to a choice.
 *
 * The chance that arm i is the best of independent normal beliefs is the mean, over points of its own belief, of the probability
 * that all others are below: sixteen points at the middles of equal shares, a table for the normal distribution, no libm. Errors
 * of that approximation do not matter: the result *is* the policy, not an estimate of one. Only arms that pass the screen are
 * worked out, so a pick among a hundred costs no more than one among sixteen. */
#include "select/bandit.h"

#include <assert.h>
#include <math.h>

#include "base/rand.h"

enum { POINTS = 16 };

static const double points[POINTS] = {          /* normal quantiles of 1/32, 3/32 ... 31/32 */
    -1.862732, -1.318011, -1.009990, -0.776422, -0.579132, -0.402250, -0.237202, -0.078412,
    0.078412, 0.237202, 0.402250, 0.579132, 0.776422, 1.009990, 1.318011, 1.862732,
};

static const double normal_below[65] = {        /* the normal distribution at 0, 1/16 ... 4 */
    0.500000, 0.524918, 0.549738, 0.574366, 0.598706, 0.622670, 0.646170, 0.669126, 0.691462, 0.713112, 0.734014, 0.754116,
        0.773373,
    0.791748, 0.809213, 0.825749, 0.841345, 0.855996, 0.869705, 0.882485, 0.894350, 0.905324, 0.915434, 0.924712, 0.933193,
        0.940915,
    0.947919, 0.954246, 0.959941, 0.965046, 0.969604, 0.973658, 0.977250, 0.980420, 0.983207, 0.985647, 0.987776, 0.989625,
        0.991226,
    0.992605, 0.993790, 0.994804, 0.995668, 0.996401, 0.997020, 0.997542, 0.997980, 0.998346, 0.998650, 0.998903, 0.999111,
        0.999282,
    0.999423, 0.999538, 0.999631, 0.999706, 0.999767, 0.999816, 0.999856, 0.999887, 0.999912, 0.999931, 0.999947, 0.999959,
        0.999968,
};

static double normal(double z)
{
    double at = fabs(z) * 16;
    if (!(at < 64))
        return z > 0 ? 1 - 1e-6 : 1e-6;
    int i = (int)at;
    double v = normal_below[i] + (at - i) * (normal_below[i + 1] - normal_below[i]);
    return z < 0 ? 1 - v : v;
}

double bandit_pending(double deviation, double count, uint32_t pending)
{
    return pending ? deviation * sqrt((count + 1) / (count + 1 + pending)) : deviation;
}

struct hope { double mean, deviation; uint32_t arm; };

/* Without those that three deviations do not lift to where one deviation drops the best mean: their chance is next to nothing,
 * their cost is not. */
static uint32_t thin(struct hope *in, uint32_t n)
{
    uint32_t best = 0, kept = 0;
    for (uint32_t i = 1; i < n; i++)
        best = in[i].mean > in[best].mean ? i : best;
    double bar = n ? in[best].mean - in[best].deviation : 0;
    for (uint32_t i = 0; i < n; i++)
        if (in[i].mean + 3 * in[i].deviation >= bar)
            in[kept++] = in[i];
    return kept;
}

/* The arms with the best optimistic value, best first. An arm that not even two deviations lift to the best mean less two of its
 * own stays out. */
static uint32_t screen(const struct bandit_rules *rules, const struct arm *arms, uint32_t n, struct hope *in)
{
    uint32_t most = rules->top && rules->top < BANDIT_TOP_MAX ? rules->top : BANDIT_TOP_MAX, kept = 0;
    double bar = -HUGE_VAL;
    if (rules->incumbent < n && !arms[rules->incumbent].is_out)
        bar = arms[rules->incumbent].mean + rules->margin;
    for (uint32_t i = 0; i < n; i++) {
        const struct arm *m = &arms[i];
        if (m->is_out || m->is_screened || isnan(m->mean))
            continue;
        double s = m->deviation > 0 ? rules->scale * bandit_pending(m->deviation, m->count, m->pending) : 0;
        if (i != rules->incumbent && m->mean + 2 * s < bar)
            continue;
        double key = m->mean + 2 * s;
        uint32_t at = kept < most ? kept++ : most;
        if (at == most && key <= in[most - 1].mean + 2 * in[most - 1].deviation)
            continue;
        if (at == most)
            at = most - 1;
        for (; at > 0 && in[at - 1].mean + 2 * in[at - 1].deviation < key; at--)
            in[at] = in[at - 1];
        in[at] = (struct hope){ m->mean, s, i };
    }
    return thin(in, kept);
}

/* Of n beliefs: the chance of each to be the best. */
static void best_chances(const struct hope *in, uint32_t n, double *chance)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        chance[i] = 0;
        for (int k = 0; k < POINTS; k++) {
            double v = in[i].mean + in[i].deviation * points[k], p = 1;
            for (uint32_t j = 0; j < n && p > 1e-7; j++) {
                if (j == i)
                    continue;
                double gap = v - in[j].mean;
                if (in[j].deviation > 0)
                    p *= normal(gap / in[j].deviation);
                else                                /* ties of sure arms go to the earlier, which is the better screened one */
                    p *= gap > 0 || (gap == 0 && i < j);
            }
            chance[i] += p;
        }
        sum += chance[i];
    }
    for (uint32_t i = 0; i < n; i++)
        chance[i] = sum > 0 ? chance[i] / sum : i == 0;
}

/* Greed takes the largest share; else the share is the chance. Returns the sum. */
static double share_chances(const struct bandit_rules *rules, const struct arm *arms, uint32_t n, double *chance)
{
    uint32_t best = UINT32_MAX;
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        bool counts = !arms[i].is_out && !arms[i].is_screened && arms[i].share > 0 && isfinite(arms[i].share);
        chance[i] = counts ? arms[i].share : 0;
        sum += chance[i];
        if (counts && (best == UINT32_MAX || arms[i].share > arms[best].share))
            best = i;
    }
    if (rules->scale > 0 || best == UINT32_MAX)
        return sum;
    for (uint32_t i = 0; i < n; i++)
        chance[i] = i == best;
    return 1;
}

static double belief_chances(const struct bandit_rules *rules, const struct arm *arms, uint32_t n, double *chance)
{
    struct hope in[BANDIT_TOP_MAX];
    double of[BANDIT_TOP_MAX];
    uint32_t kept = screen(rules, arms, n, in);
    best_chances(in, kept, of);
    for (uint32_t i = 0; i < n; i++)
        chance[i] = 0;
    for (uint32_t i = 0; i < kept; i++)
        chance[in[i].arm] = of[i];
    return kept > 0;
}

void bandit_chances(const struct bandit_rules *rules, const struct arm *arms, uint32_t n, double *chance)
{
    double sum = rules->by_share ? share_chances(rules, arms, n, chance) : belief_chances(rules, arms, n, chance);
    double even = !(sum > 0) ? 1 : rules->floor > 0 ? rules->floor : 0;     /* nothing is believed of anybody: evenly */
    uint32_t open = 0;
    for (uint32_t i = 0; i < n; i++)
        open += !arms[i].is_out;
    for (uint32_t i = 0; i < n; i++)
        chance[i] = sum > 0 ? (1 - even) * (chance[i] / sum) : 0;
    for (uint32_t i = 0; i < n && open; i++)
        if (!arms[i].is_out)
            chance[i] += even / open;
}

uint32_t bandit_throw(const double *chance, uint32_t n, uint64_t seed)
{
    double u = rand_unit(&seed);
    uint32_t last = UINT32_MAX;
    for (uint32_t i = 0; i < n; i++) {
        if (!(chance[i] > 0))
            continue;
        last = i;
        u -= chance[i];
        if (u < 0)
            return i;
    }
    return last;
}

static const double of_likeness = .50, of_success = .35, of_stability = .15;
static const double of_load = .4, of_latency = .4, of_available = .2, latency_most_ms = 2000;

static double standing(const struct screened *c)
{
    double load = fmin(1, fmax(0, c->load)), late = fmin(1, fmax(0, c->latency_ms / latency_most_ms));
    double stability = of_load * (1 - load) + of_latency * (1 - late) + of_available * c->is_available;
    return of_likeness * c->likeness + of_success * c->success + of_stability * stability;
}

void bandit_screen(const struct screened *c, uint32_t n, uint32_t top, struct arm *arms)
{
    double score[BANDIT_TOP_MAX];
    uint32_t kept[BANDIT_TOP_MAX], n_kept = 0;
    top = top < BANDIT_TOP_MAX ? top : BANDIT_TOP_MAX;
    if (top == 0 || n <= top)
        return;
    for (uint32_t i = 0; i < n; i++) {
        arms[i].is_screened = true;
        double s = standing(&c[i]);
        uint32_t at = n_kept < top ? n_kept++ : top;
        if (arms[i].is_out || (at == top && s <= score[top - 1])) {
            n_kept -= arms[i].is_out && at < top;
            continue;
        }
        if (at == top)
            at = top - 1;
        for (; at > 0 && score[at - 1] < s; at--) {
            score[at] = score[at - 1];
            kept[at] = kept[at - 1];
        }
        score[at] = s;
        kept[at] = i;
    }
    for (uint32_t i = 0; i < n_kept; i++)
        arms[kept[i]].is_screened = false;
}
