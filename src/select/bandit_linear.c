/* select/bandit_linear.c -- ridge regression one row at a time: what LinUCB and a prior that all arms share stand on.
 *
 * Kept are sums of rows, nothing else: a row is taken back exactly, instances add up, and a state that was written and read again
 * gives the same bits. The inverse is made from the sums when somebody asks after a change (some microseconds for 24 numbers), not
 * carried along by Sherman and Morrison, whose rounding would depend on the order of what happened.
 *
 * Arms are disjoint but no strangers: their thetas are taken to be drawn around one that all have in common, which is estimated
 * from what each arm alone says. A new arm begins there (spec 05, 1.11; spec 06, A2). Mind the width: an untried arm is only tried
 * if width times |x| / sqrt(ridge) bridges the gap to a good mean (spec 05, 4.5), and Symphony's theoretical width makes the choice
 * almost random (spec 06, A2): 0.1 to 0.5 is what works. */
#include "select/bandit.h"

#include <assert.h>
#include <math.h>
#include <string.h>

void linear_start(struct linear *l, uint32_t d, double ridge)
{
    assert(d > 0 && d <= LINEAR_MAX && ridge > 0);
    memset(l, 0, sizeof *l);
    l->d = d;
    l->ridge = ridge;
}

void linear_add(struct linear *l, const double *x, double reward, double weight)
{
    double *row = l->rows;
    double size = 0;
    for (uint32_t i = 0; i < l->d; i++)
        size += x[i] * x[i];
    if (!isfinite(size) || !isfinite(reward) || !isfinite(weight))
        return;
    for (uint32_t i = 0; i < l->d; i++) {
        for (uint32_t k = 0; k <= i; k++)
            row[k] += weight * x[i] * x[k];
        row += i + 1;
        l->b[i] += weight * x[i] * reward;
    }
    l->count += weight;
    l->is_solved = false;
    if (l->count < 1e-9)                            /* all taken back: no rounding dust stays */
        linear_start(l, l->d, l->ridge);
}

/* Gauss-Jordan in place; a positive definite matrix [d, d] needs no pivots. False: it is none. */
static bool invert(double *a, uint32_t d)
{
    for (uint32_t c = 0; c < d; c++) {
        double pivot = a[c * d + c];
        if (!(pivot > 1e-12) || !isfinite(pivot))
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

static void inverse_of(const struct linear *l, double *out)
{
    const double *row = l->rows;
    for (uint32_t i = 0; i < l->d; row += ++i) {
        for (uint32_t k = 0; k <= i; k++)
            out[i * l->d + k] = out[k * l->d + i] = row[k];
        out[i * l->d + i] += l->ridge;
    }
}

static double dot(const double *x, const double *y, uint32_t d)
{
    double s = 0;
    for (uint32_t i = 0; i < d; i++)
        s += x[i] * y[i];
    return s;
}

static void times(const struct linear *l, const double *x, double *out)     /* out = A^-1 x */
{
    for (uint32_t i = 0; i < l->d; i++)
        out[i] = dot(l->inverse + i * l->d, x, l->d);
}

static void solve(struct linear *l)
{
    if (l->is_solved)
        return;
    inverse_of(l, l->inverse);
    if (!invert(l->inverse, l->d)) {                /* sums that no rows can have: as if there were none */
        linear_start(l, l->d, l->ridge);
        inverse_of(l, l->inverse);
        invert(l->inverse, l->d);
    }
    times(l, l->b, l->solved);
    l->is_solved = true;
}

struct belief linear_belief(struct linear *l, const double *x, const double *prior)
{
    double ax[LINEAR_MAX];
    solve(l);
    times(l, x, ax);
    double mean = dot(x, l->solved, l->d) + (prior ? l->ridge * dot(ax, prior, l->d) : 0);
    return (struct belief){ mean, sqrt(fmax(0, dot(x, ax, l->d))), l->count };
}

const double *linear_theta(struct linear *l)
{
    solve(l);
    return l->solved;
}

/* The arm's b / A is a look at the common theta through A^-1 rows, with the covariance that the arm's own theta and the noise of
 * its outcomes give it: its precision is ridge (I - ridge A^-1). */
void linear_witness(struct linear *common, struct linear *arm)
{
    double *row = common->rows;
    solve(arm);
    for (uint32_t i = 0; i < arm->d; row += ++i) {
        for (uint32_t k = 0; k <= i; k++)
            row[k] += arm->ridge * ((i == k) - arm->ridge * arm->inverse[i * arm->d + k]);
        common->b[i] += arm->ridge * arm->solved[i];
    }
    common->count++;
    common->is_solved = false;
}

void linear_merge(struct linear *to, const struct linear *from)
{
    for (uint32_t i = 0; i < LINEAR_TRIANGLE; i++)
        to->rows[i] += from->rows[i];
    for (uint32_t i = 0; i < LINEAR_MAX; i++)
        to->b[i] += from->b[i];
    to->count += from->count;
    to->is_solved = false;
}
