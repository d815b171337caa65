/* select/latency_aware.c -- the candidate that was fastest lately (spec 02, section 1.7).
 *
 * Each configured metric is divided by the best candidate's, so that seconds to the first
 * token and milliseconds per token weigh the same; the mean ratio decides. VSR never tries a
 * candidate without observations while another has some, so one that starts late stays
 * unknown for ever. `explore` repairs that: this share of requests goes to the unobserved,
 * evenly. It is 0 by default, as VSR behaves; the chance of the pick is recorded either way. */
#include "select/rank.h"

#include <math.h>

#include "base/rand.h"

struct latency_conf {
    int64_t tpot_percentile, ttft_percentile;   /* 0: not given */
    str description;
    double explore;
};

static const struct field latency_fields[] = {
    F(FIELD_INT, struct latency_conf, tpot_percentile, "tpot_percentile", "0",
      "percentile of time per output token to compare; 0: not compared", .min = 0, .max = 100),
    F(FIELD_INT, struct latency_conf, ttft_percentile, "ttft_percentile", "0",
      "percentile of time to first token to compare; 0: not compared", .min = 0, .max = 100),
    F(FIELD_STR, struct latency_conf, description, "description", NULL, "a note for people"),
    F(FIELD_FLOAT, struct latency_conf, explore, "explore", "0",
      "share of requests for candidates without observations", .min = 0, .max = 1,
      .flags = FIELD_EXTENSION),
};

/* Asks every candidate for one metric; who has no figure is out. */
static void metric_ask(const struct select_in *in, double percentile, bool is_tpot, double *v,
                       bool *is_out)
{
    for (uint32_t i = 0; i < in->n; i++) {
        const struct latency_view *view = in->candidates[i].latency;
        v[i] = !view ? (double)NAN : is_tpot ? view->tpot_s(view, percentile)
                                     : view->ttft_s(view, percentile);
        is_out[i] |= !(v[i] > 0);
    }
}

static double metric_best(const double *v, const bool *is_out, uint32_t n)
{
    double best = INFINITY;
    for (uint32_t i = 0; i < n; i++) {
        if (!is_out[i])
            best = fmin(best, v[i]);
    }
    return best;
}

/* Moves the candidate at place `at` of the order to the front. */
static void order_to_front(struct pick *p, uint32_t at)
{
    uint32_t chosen = p->order[at];
    for (; at > 0; at--)
        p->order[at] = p->order[at - 1];
    p->order[0] = chosen;
}

/* With chance `explore` the front place goes to one of the n_out unobserved, which are the tail
 * of the order. */
static void pick_explore(const struct select_in *in, double explore, uint32_t n_out,
                         struct pick *out)
{
    uint64_t state = in->seed;
    double each = explore / n_out;
    bool is_front_unobserved = n_out == in->n;
    out->propensity = 1 - explore + (is_front_unobserved ? each : 0);
    if (rand_unit(&state) >= explore)
        return;
    uint32_t at = in->n - n_out + (uint32_t)rand_below(&state, n_out);
    if (at > 0) {
        out->propensity = each;
        order_to_front(out, at);
    }
    out->reason = "explore";
    out->confidence = 0;
}

static void latency_aware_pick(const struct select_in *in, struct arena *a, struct pick *out)
{
    const struct latency_conf *conf = in->conf;
    uint32_t n = in->n, n_out = 0, n_metrics = 0;
    pick_declared(in, a, out);
    if (!conf || (conf->tpot_percentile <= 0 && conf->ttft_percentile <= 0)) {
        out->confidence = 0;
        out->fallback = "no_percentile";
        return;
    }

    const int64_t percentile[2] = { conf->ttft_percentile, conf->tpot_percentile };
    double *v[2], *ratio = ARENA_ARRAY(a, double, n);
    bool *is_out = ARENA_ARRAY(a, bool, n);
    for (int m = 0; m < 2; m++) {
        v[m] = ARENA_ARRAY(a, double, n);
        if (percentile[m] > 0)
            metric_ask(in, (double)percentile[m], m == 1, v[m], is_out);
    }
    for (int m = 0; m < 2; m++) {               /* the best of those in both metrics */
        if (percentile[m] <= 0)
            continue;
        double best = metric_best(v[m], is_out, n);
        n_metrics++;
        for (uint32_t i = 0; i < n; i++)
            ratio[i] += is_out[i] ? 0 : v[m][i] / best;
    }
    for (uint32_t i = 0; i < n; i++) {
        n_out += is_out[i];
        ratio[i] = is_out[i] ? (double)INFINITY : ratio[i] / n_metrics;
        out->scores[i] = is_out[i] ? NAN : (float)(1 / ratio[i]);   /* 1: fastest in everything */
    }
    pick_sort(out, ratio, n);
    if (n_out == n) {
        out->confidence = 0;
        out->reason = "no_data";
    } else {
        out->reason = "fastest";
        out->confidence = 1;
        if (n - n_out > 1) {
            double best = ratio[out->order[0]], second = ratio[out->order[1]];
            out->confidence = (second - best) / second;
        }
    }
    if (conf->explore > 0 && n_out > 0)
        pick_explore(in, conf->explore, n_out, out);
}

const struct select_ops select_latency_aware = {
    .name = "latency_aware",
    .block = "latency_aware",
    .fields = FIELDS(struct latency_conf, latency_fields),
    .is_built = true,
    .pick = latency_aware_pick,
};
