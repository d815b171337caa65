/* select/off_policy.c */
#include "select/off_policy.h"

#include <math.h>
#include <stddef.h>

enum { EFFECTIVE_MIN = 30 };            /* below: an interval by the normal distribution means nothing */
static const double missing_max = .01;  /* of the new policy's choices may lie where the log is blind */

void ope_add(struct ope *o, const struct ope_event *e)
{
    if (!(e->propensity > 0) || !isfinite(e->reward) || !isfinite(e->target)) {
        o->unknown++;
        return;
    }
    double p = fmin(1, e->propensity), w = e->target / p, r = e->reward;
    o->n++;
    o->w += w;
    o->ww += w * w;
    o->wr += w * r;
    o->wwr += w * w * r;
    o->wwrr += w * w * r * r;
    o->r += r;
    o->rr += r * r;
    o->w_max = fmax(o->w_max, w);
    o->missing += isfinite(e->missing) ? e->missing : 0;
    if (!isfinite(e->predicted) || !isfinite(e->expected))
        return;
    double x = w * (r - e->predicted), z = e->expected + x;
    o->has_model = true;
    o->e += e->expected;
    o->wx += x;
    o->z += z;
    o->zz += z * z;
    o->dz += z - r;
    o->dzz += (z - r) * (z - r);
}

void ope_merge(struct ope *to, const struct ope *from)
{
    to->n += from->n;
    to->unknown += from->unknown;
    double *a[] = { &to->w, &to->ww, &to->wr, &to->wwr, &to->wwrr, &to->r, &to->rr, &to->z, &to->zz, &to->dz, &to->dzz,
                    &to->e, &to->wx, &to->missing };
    const double b[] = { from->w, from->ww, from->wr, from->wwr, from->wwrr, from->r, from->rr, from->z, from->zz, from->dz,
                         from->dzz,
                         from->e, from->wx, from->missing };
    for (unsigned i = 0; i < sizeof b / sizeof *b; i++)
        *a[i] += b[i];
    to->w_max = fmax(to->w_max, from->w_max);
    to->has_model = to->has_model || from->has_model;
}

static struct estimate mean_of(double sum, double squares, double n)
{
    double mean = sum / n, variance = (squares - sum * mean) / fmax(1, n - 1);
    return (struct estimate){ mean, sqrt(fmax(0, variance) / n) };
}

static const char *refusal(const struct ope *o, double effective)
{
    double n = (double)o->n;
    if (o->n == 0)
        return "no event has a propensity: the log was written by a policy without one (exploration floor 0, or an older version)";
    if (o->unknown > o->n)
        return "most events have no propensity";
    if (o->missing / n > missing_max)
        return "the new policy chooses models that the logged one could not have chosen: give them a share of exploration first";
    if (effective < EFFECTIVE_MIN)
        return "too few logged choices agree with the new policy (fewer than 30 effective events)";
    double w = o->w / n, error = sqrt(fmax(0, o->ww / n - w * w) / n);
    /* the mean weight is 1 when every choice of the new policy could have been logged */
    if (w + 4 * error < 1 - missing_max)
        return "the weights do not add up to the events: some choices of the new policy are never in the log";
    if (o->w_max > .25 * o->w)
        return "a single event carries a quarter of all weight";
    return NULL;
}

struct ope_report ope_close(const struct ope *o)
{
    double none = (double)NAN, n = (double)o->n;
    struct estimate unknown = { none, none };
    struct ope_report out = { .logged = unknown, .ips = unknown, .snips = unknown, .dr = unknown, .difference = unknown };
    out.effective = o->ww > 0 ? o->w * o->w / o->ww : 0;
    out.refused = refusal(o, out.effective);
    if (o->n < 2)
        return out;
    out.logged = mean_of(o->r, o->rr, n);
    out.ips = mean_of(o->wr, o->wwrr, n);
    if (o->w > 0) {
        double s = o->wr / o->w;
        double spread = o->wwrr - 2 * s * o->wwr + s * s * o->ww;
        out.snips = (struct estimate){ s, sqrt(fmax(0, spread)) / o->w };
        out.difference = (struct estimate){ s - out.logged.mean, hypot(out.snips.error, out.logged.error) };
    }
    if (o->has_model) {                         /* self-normalised: the correction is divided by the weights, not by the events */
        out.dr = mean_of(o->z, o->zz, n);
        if (o->w > 0)
            out.dr.mean = o->e / n + o->wx / o->w;
        out.difference = mean_of(o->dz, o->dzz, n);
    }
    return out;
}
