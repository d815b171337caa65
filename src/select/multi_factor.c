/* select/multi_factor.c -- a weighted sum of quality, latency, cost and load, behind service
 * level limits (spec 02, section 1.8).
 *
 * First the limits drop candidates; a figure nobody has measured drops none. Then every factor
 * is scaled to [0, 1] over the survivors, so that weights compare like with like: best 1, worst
 * 0, all equal 0.5, unknown 0. */
#include "select/rank.h"

#include <math.h>

struct weights { double quality, latency, cost, load; };
struct limits { double max_tpot_ms, max_ttft_ms, max_cost; int64_t max_in_flight; };

struct multi_factor_conf {
    struct weights weights;
    struct limits limits;
    int64_t latency_percentile;
    str on_no_candidates;
};

static const struct field weights_fields[] = {
    F(FIELD_FLOAT, struct weights, quality, "quality", NULL,
      "share of the card's quality_score; all four 0 or absent: 0.25 each"),
    F(FIELD_FLOAT, struct weights, latency, "latency", NULL,
      "share of time per output token, else time to first token; less is better"),
    F(FIELD_FLOAT, struct weights, cost, "cost", NULL,
      "share of the price per million prompt tokens; less is better"),
    F(FIELD_FLOAT, struct weights, load, "load", NULL,
      "share of requests in flight; less is better"),
};
static const struct fields weights_table = FIELDS(struct weights, weights_fields);

static const struct field limits_fields[] = {
    F(FIELD_FLOAT, struct limits, max_tpot_ms, "max_tpot_ms", "0",
      "drop candidates slower per output token; 0: no limit", .min = 0, .max = 1e9),
    F(FIELD_FLOAT, struct limits, max_ttft_ms, "max_ttft_ms", "0",
      "drop candidates slower to the first token; 0: no limit", .min = 0, .max = 1e9),
    F(FIELD_FLOAT, struct limits, max_cost, "max_cost_per_1m", "0",
      "drop candidates dearer per million prompt tokens; 0: no limit", .min = 0, .max = 1e9),
    F(FIELD_INT, struct limits, max_in_flight, "max_inflight", "0",
      "drop candidates with more requests in flight; 0: no limit", .min = 0, .max = 1e9),
};
static const struct fields limits_table = FIELDS(struct limits, limits_fields);

static const char *const no_candidates_names[] = { "cheapest", "first", "fail", NULL };

static const struct field multi_factor_fields[] = {
    F(FIELD_STRUCT, struct multi_factor_conf, weights, "weights", NULL,
      "what counts how much; negative counts as 0, the sum is scaled to 1",
      .sub = &weights_table),
    F(FIELD_STRUCT, struct multi_factor_conf, limits, "slo", NULL,
      "limits that drop candidates before they are compared", .sub = &limits_table),
    F(FIELD_INT, struct multi_factor_conf, latency_percentile, "latency_percentile", "95",
      "which percentile of measured latencies is compared", .min = 1, .max = 100),
    F(FIELD_ENUM, struct multi_factor_conf, on_no_candidates, "on_no_candidates", "cheapest",
      "what to do when the limits drop everybody", .names = no_candidates_names),
};

enum factor { QUALITY, LATENCY, COST, LOAD, FACTORS };

static double positive_or_nan(double v)
{
    return v > 0 ? v : (double)NAN;
}

static double latency_tpot(const struct candidate *c, double percentile)
{
    return c->latency ? c->latency->tpot_s(c->latency, percentile) : (double)NAN;
}

static double latency_ttft(const struct candidate *c, double percentile)
{
    return c->latency ? c->latency->ttft_s(c->latency, percentile) : (double)NAN;
}

/* A comparison with NAN is false: what nobody knows drops nobody. */
static bool is_beyond(const struct limits *l, const struct candidate *c, double percentile)
{
    return (l->max_tpot_ms > 0 && latency_tpot(c, percentile) * 1000 > l->max_tpot_ms) ||
           (l->max_ttft_ms > 0 && latency_ttft(c, percentile) * 1000 > l->max_ttft_ms) ||
           (l->max_cost > 0 && c->prompt_price > l->max_cost) ||
           (l->max_in_flight > 0 && (int64_t)c->in_flight > l->max_in_flight);
}

static void weights_scale(const struct weights *w, double share[FACTORS])
{
    share[QUALITY] = w->quality;
    share[LATENCY] = w->latency;
    share[COST] = w->cost;
    share[LOAD] = w->load;
    double sum = 0;
    for (int i = 0; i < FACTORS; i++)
        sum += share[i] = isfinite(share[i]) && share[i] > 0 ? share[i] : 0;
    for (int i = 0; i < FACTORS; i++)
        share[i] = sum > 0 ? share[i] / sum : 1.0 / FACTORS;
}

static void figures_of(const struct candidate *c, double percentile, double v[FACTORS])
{
    double tpot = latency_tpot(c, percentile);
    v[QUALITY] = positive_or_nan(c->quality);
    v[LATENCY] = isnan(tpot) ? latency_ttft(c, percentile) : tpot;
    v[COST] = positive_or_nan(c->prompt_price);
    v[LOAD] = c->in_flight;
}

/* score[i] += share * scaled figure, over candidates that are in. */
static void factor_add(enum factor f, double share, const double (*v)[FACTORS], const bool *is_in,
                       uint32_t n, double *score)
{
    double lo = INFINITY, hi = -INFINITY;
    for (uint32_t i = 0; i < n; i++) {
        if (is_in[i] && !isnan(v[i][f])) {
            lo = fmin(lo, v[i][f]);
            hi = fmax(hi, v[i][f]);
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        if (!is_in[i] || isnan(v[i][f]))
            continue;
        double scaled = hi > lo ? (v[i][f] - lo) / (hi - lo) : 0.5;
        if (f != QUALITY && hi > lo)
            scaled = 1 - scaled;
        score[i] += share * scaled;
    }
}

static void pick_nobody(const struct select_in *in, const struct multi_factor_conf *conf,
                        struct arena *a, struct pick *out)
{
    out->confidence = 0;
    out->reason = "first";
    if (str_eq(conf->on_no_candidates, S("fail"))) {
        out->fallback = "selector_invocation_failed";
    } else if (!str_eq(conf->on_no_candidates, S("first"))) {
        double *price = ARENA_ARRAY(a, double, in->n);
        for (uint32_t i = 0; i < in->n; i++) {
            price[i] = positive_or_nan(in->candidates[i].prompt_price);
            if (isnan(price[i]))
                price[i] = INFINITY;
        }
        pick_sort(out, price, in->n);
        out->reason = "cheapest";
    }
}

static void multi_factor_pick(const struct select_in *in, struct arena *a, struct pick *out)
{
    static const struct multi_factor_conf defaults = { .latency_percentile = 95 };
    const struct multi_factor_conf *conf = in->conf ? in->conf : &defaults;
    double percentile = (double)conf->latency_percentile;
    uint32_t n = in->n, n_in = 0;
    pick_declared(in, a, out);

    bool *is_in = ARENA_ARRAY(a, bool, n);
    double (*v)[FACTORS] = arena_alloc(a, n * sizeof *v);
    for (uint32_t i = 0; i < n; i++) {
        is_in[i] = !is_beyond(&conf->limits, &in->candidates[i], percentile);
        n_in += is_in[i];
        figures_of(&in->candidates[i], percentile, v[i]);
    }
    if (n_in == 0) {
        pick_nobody(in, conf, a, out);
        return;
    }

    double share[FACTORS];
    double *score = ARENA_ARRAY(a, double, n), *key = ARENA_ARRAY(a, double, n);
    weights_scale(&conf->weights, share);
    for (int f = 0; f < FACTORS; f++)
        factor_add((enum factor)f, share[f], (const double (*)[FACTORS])v, is_in, n, score);
    for (uint32_t i = 0; i < n; i++) {
        key[i] = is_in[i] ? -score[i] : (double)INFINITY;
        out->scores[i] = is_in[i] ? (float)score[i] : NAN;
    }
    pick_sort(out, key, n);
    out->reason = "best_score";
    out->confidence = 1;
    if (n_in > 1) {
        double best = score[out->order[0]], second = score[out->order[1]];
        out->confidence = best > 0 ? fmin(1, (best - second) / best + 0.5) : 0.5;
    }
}

const struct select_ops select_multi_factor = {
    .name = "multi_factor",
    .block = "multi_factor",
    .fields = FIELDS(struct multi_factor_conf, multi_factor_fields),
    .is_built = true,
    .pick = multi_factor_pick,
};
