/* select/bandit_linear.c -- ridge regression one row at a time: what LinUCB, PILOT's prior and Symphony's shared model stand on.
 *
 * Only the inverse of A is kept. Sherman-Morrison adds a row in O(d^2) and takes it back the same way, so late corrections are
 * exact up to rounding. The prior is a vector that is regressed on, not zero: a new arm begins with what is believed of its
 * family (spec 05, 1.11). Mind the width: an untried arm is only tried if width times |x| / sqrt(ridge) bridges the gap to a good
 * mean (spec 05, 4.5), and Symphony's theoretical width makes the choice almost random (spec 06, A2): 0.1 to 0.5 is what
 * works. */
#include "select/bandit.h"

#include <assert.h>
#include <math.h>
#include <string.h>

void linear_start(struct linear *l, uint32_t d, double ridge, const double *prior)
{
    assert(d > 0 && d <= LINEAR_MAX && ridge > 0);
    memset(l, 0, sizeof *l);
    l->d = d;
    l->ridge = ridge;
    for (uint32_t i = 0; i < d; i++) {
        l->inverse[i * d + i] = 1 / ridge;
        l->prior[i] = prior ? prior[i] : 0;
    }
}

static double times(const struct linear *l, const double *x, double *out)   /* out = A^-1 x; returns x' A^-1 x */
{
    double q = 0;
    for (uint32_t i = 0; i < l->d; i++) {
        const double *row = l->inverse + i * l->d;
        double s = 0;
        for (uint32_t k = 0; k < l->d; k++)
            s += row[k] * x[k];
        out[i] = s;
        q += x[i] * s;
    }
    return q;
}

static double dot(const double *x, const double *y, uint32_t d)
{
    double s = 0;
    for (uint32_t i = 0; i < d; i++)
        s += x[i] * y[i];
    return s;
}

void linear_add(struct linear *l, const double *x, double reward, double weight)
{
    double ax[LINEAR_MAX], q = times(l, x, ax), under = 1 + weight * q;
    if (!isfinite(q) || !isfinite(reward) || under <= 1e-9)     /* takes back what was never added: nothing to do */
        return;
    for (uint32_t i = 0; i < l->d; i++)
        for (uint32_t k = 0; k <= i; k++) {                     /* symmetric by construction, not by luck */
            double v = l->inverse[i * l->d + k] - weight * ax[i] * ax[k] / under;
            l->inverse[i * l->d + k] = l->inverse[k * l->d + i] = v;
        }
    double rest = reward - dot(x, l->prior, l->d);
    for (uint32_t i = 0; i < l->d; i++)
        l->b[i] += weight * rest * x[i];
    l->count += weight;
}

double linear_mean(const struct linear *l, const double *x)
{
    double ax[LINEAR_MAX];
    times(l, x, ax);
    return dot(x, l->prior, l->d) + dot(ax, l->b, l->d);
}

double linear_deviation(const struct linear *l, const double *x)
{
    double ax[LINEAR_MAX];
    return sqrt(fmax(0, times(l, x, ax)));
}

/* Gauss-Jordan in place; a positive definite matrix [d, d] needs no pivots. False: it is none (any more). */
static bool invert(double *a, uint32_t d)
{
    for (uint32_t c = 0; c < d; c++) {
        double pivot = a[c * d + c];
        if (!(pivot > 1e-12))
            return false;
        a[c * d + c] = 1;
        for (uint32_t k = 0; k < d; k++)
            a[c * d + k] /= pivot;
        for (uint32_t r = 0; r < d; r++) {
            double f = a[r * d + c];
            if (r == c || f == 0)
                continue;
            a[r * d + c] = 0;
            for (uint32_t k = 0; k < d; k++)
                a[r * d + k] -= f * a[c * d + k];
        }
    }
    return true;
}

/* The sum of rows is A - ridge I: that fades, the prior does not. Two inversions, so not for every row: for a change. */
void linear_fade(struct linear *l, double keep)
{
    uint32_t d = l->d;
    bool ok = keep > 0 && invert(l->inverse, d);
    for (uint32_t i = 0; ok && i < d; i++) {
        for (uint32_t k = 0; k < d; k++)
            l->inverse[i * d + k] *= keep;
        l->inverse[i * d + i] += (1 - keep) * l->ridge;
        l->b[i] *= keep;
    }
    if (ok && invert(l->inverse, d)) {
        l->count *= keep;
        return;
    }
    double prior[LINEAR_MAX];
    memcpy(prior, l->prior, sizeof prior);
    linear_start(l, d, l->ridge, prior);
}
