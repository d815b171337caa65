/* select/gate.c -- binomial bounds by the incomplete beta function, and bets. */
#include "select/gate.h"

#include <math.h>

/* Continued fraction by Lentz's rule (Abramowitz and Stegun 26.5.8). */
static double fraction(double x, double a, double b)
{
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < 1e-300 ? 1e-300 : d);
    double f = d;
    for (int m = 1; m < 400; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        double steps[2] = { even, odd }, change = 1;
        for (int i = 0; i < 2; i++) {
            d = 1 + steps[i] * d;
            c = 1 + steps[i] / c;
            d = 1 / (fabs(d) < 1e-300 ? 1e-300 : d);
            c = fabs(c) < 1e-300 ? 1e-300 : c;
            change = c * d;
            f *= change;
        }
        if (fabs(change - 1) < 1e-14)
            break;
    }
    return f;
}

double beta_below(double x, double a, double b)
{
    if (!(x > 0))
        return 0;
    if (!(x < 1))
        return 1;
    double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x));
    return x < (a + 1) / (a + b + 2) ? front * fraction(x, a, b) / a : 1 - front * fraction(1 - x, b, a) / b;
}

double beta_quantile(double p, double a, double b)
{
    double lo = 0, hi = 1;
    for (int i = 0; i < 60; i++) {                  /* bisection: called by tools, not by requests */
        double mid = (lo + hi) / 2;
        if (beta_below(mid, a, b) < p)
            lo = mid;
        else
            hi = mid;
    }
    return (lo + hi) / 2;
}

double gate_upper(uint64_t k, uint64_t n, double risk)
{
    return n == 0 || k >= n ? 1 : beta_quantile(1 - risk, (double)k + 1, (double)(n - k));
}

double gate_lower(uint64_t k, uint64_t n, double risk)
{
    return n == 0 || k == 0 ? 0 : beta_quantile(risk, (double)k, (double)(n - k) + 1);
}

void gate_start(struct gate *g, double alpha, double risk)
{
    *g = (struct gate){ .alpha = alpha, .risk = risk };
}

enum { STAKES = 4 };

/* Half of the stakes bet that the share is below alpha, half that it is above; a stake s of at most 1/(1 - alpha) keeps wealth
 * positive. Wealth of a mixture is the mean of wealths, so no stake needs to be the right one. */
enum gate_verdict gate_observe(struct gate *g, double violation)
{
    static const double shares[STAKES] = { .02, .1, .3, .8 };
    double v = fmin(1, fmax(0, violation)), below = 0, above = 0;
    for (int i = 0; i < STAKES; i++) {
        double down = shares[i] / fmax(1e-9, 1 - g->alpha), up = shares[i] / fmax(1e-9, g->alpha);
        g->bets[i] += log(fmax(1e-12, 1 + down * (g->alpha - v)));
        g->bets[STAKES + i] += log(fmax(1e-12, 1 + up * (v - g->alpha)));
        below += exp(fmin(600, g->bets[i])) / STAKES;
        above += exp(fmin(600, g->bets[STAKES + i])) / STAKES;
    }
    g->n++;
    g->violations += v >= .5;
    g->log_wealth = log(fmax(1e-300, below));
    return below >= 1 / g->risk ? GATE_OPEN : above >= 1 / g->risk ? GATE_SHUT : GATE_CLOSED;
}

/* A union bound over all looks: the 2^(j - 1) looks from n = 2^(j - 1) on share 6 / (pi j)^2 of the risk. Valid at all times at
 * once; wider than the bound of one look by a factor that grows with the root of log n. */
double gate_bound(const struct gate *g)
{
    if (g->n == 0)
        return 1;
    double j = floor(log2((double)g->n)) + 1;
    return gate_upper(g->violations, g->n, g->risk * 6 / (M_PI * M_PI * j * j) / exp2(j - 1));
}

uint32_t gate_sequence(const uint64_t *k, const uint64_t *n, uint32_t n_thresholds, double alpha, double risk)
{
    uint32_t passed = n_thresholds;
    for (uint32_t i = 0; i < n_thresholds && gate_upper(k[i], n[i], risk) <= alpha; i++)
        passed = i;
    return passed;
}
