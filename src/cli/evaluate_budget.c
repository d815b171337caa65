/* cli/evaluate_budget.c -- `evaluate budget`: quality under a budget that must hold, on recorded outcomes.
 *
 * Cross-validation as in `evaluate selection`; each held-out fold is a stream in random order and one window (or several, with
 * --window) whose budget is a share of what the best single model would cost. Three ways: dual pacing without a reserve, as it is
 * published; the same with the money that ours really spends; and the gateway's (select/pacing.h), where a request only begins
 * when the most it can cost fits. What an answer can cost at most is what the model's dearest answer of the training folds cost,
 * times 1.5; an answer beyond that is cut off there, as max_tokens does. Both start at the price that keeps the budget on the
 * training folds. */
#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/rand.h"
#include "cli/cli.h"
#include "cli/outcomes.h"
#include "cli/rows.h"
#include "select/pacing.h"

enum { FOLDS = 5, SHARES_MAX = 8 };

struct asked { double shares[SHARES_MAX]; uint32_t n_shares, window; bool slides, as_json; uint64_t seed; };

struct fold {                           /* one held-out fold as a stream */
    const struct outcomes *o;
    uint32_t *rows, n;                  /* in the stream's order */
    uint32_t *others, n_others;
    float *quality, *cost;              /* [n][models] predicted */
    double *most;                       /* [models] */
    double best_cost;                   /* mean of the best single model, training folds */
};

struct way { double quality, spent, over; uint32_t refused; };

enum figure { NAIVE_QUALITY, NAIVE_OVER, EQUAL_QUALITY, OURS_QUALITY, DIFFERENCE, EQUAL_DIFFERENCE, SPENT, OVER, REFUSED,
              FIGURES };

static double truth(const float *of, const struct fold *f, uint32_t i, uint32_t m)
{
    float v = of[(size_t)f->rows[i] * f->o->n_models + m];
    return isfinite(v) ? (double)v : 0;
}

static uint32_t best_at(const struct fold *f, uint32_t i, double price)
{
    uint32_t best = 0, k = f->o->n_models;
    double top = -HUGE_VAL;
    for (uint32_t m = 0; m < k; m++) {
        double v = (double)f->quality[(size_t)i * k + m] - price * (double)f->cost[(size_t)i * k + m];
        if (v > top)
            top = v, best = m;
    }
    return best;
}

/* The price at which the stream's predictions keep to `share` a query. */
static double price_for(const struct fold *f, double share)
{
    double lo = 0, hi = 1e7;
    for (int k = 0; k < 80; k++) {
        double price = lo > 0 ? sqrt(lo * hi) : hi / 1e3, sum = 0;
        for (uint32_t i = 0; i < f->n; i++)
            sum += (double)f->cost[(size_t)i * f->o->n_models + best_at(f, i, price)];
        if (sum / f->n > share)
            lo = price;
        else if (price < 1e-4)
            return 0;
        else
            hi = price;
    }
    return hi;
}

static struct way naive(const struct fold *f, double budget, double price)
{
    struct way w = { 0 };
    double share = budget / f->n, scale = .01 / share;
    for (uint32_t i = 0; i < f->n; i++) {
        uint32_t m = best_at(f, i, price);
        double cost = fmin(truth(f->o->cost_usd, f, i, m), f->most[m]);
        w.quality += truth(f->o->quality, f, i, m) / f->n;
        w.spent += cost;
        price = fmax(0, price + .02 * fmax(price, scale) * fmin(4, cost / share - 1));
    }
    w.over = w.spent / budget - 1;
    return w;
}

/* The same, told to spend so little that it really spends `money` at most: what it would be worth if it kept to a budget. */
static struct way naive_with(const struct fold *f, double money)
{
    double lo = 0, hi = money;
    struct way best = naive(f, money / 2, price_for(f, money / 2 / f->n));
    for (int i = 0; i < 12; i++) {
        double told = (lo + hi) / 2;
        struct way w = naive(f, told, price_for(f, told / f->n));
        if (w.spent > money) {
            hi = told;
        } else {
            lo = told;
            best = w;
        }
    }
    return best;
}

static int64_t nano(double usd)
{
    return (int64_t)(usd * 1e9 + .5);
}

static struct way ours(const struct fold *f, const struct asked *q, double budget, double price)
{
    enum { TICK = 1000 };
    uint32_t k = f->o->n_models, window = q->window && q->window < f->n ? q->window : f->n;
    struct way w = { .over = -1 };
    struct pacing p;
    double part = budget * window / f->n, *spent = calloc(f->n + 1, sizeof *spent);
    pacing_start(&p, &(struct pacing_rules){ .budget = nano(part), .window = (uint64_t)window * TICK, .is_sliding = q->slides,
                                             .step = .01,
                                             .price_start = price, .requests = window }, 0);
    uint32_t cheapest = 0;
    for (uint32_t m = 1; m < k; m++)
        cheapest = f->most[m] < f->most[cheapest] ? m : cheapest;
    for (uint32_t i = 0; spent && i < f->n; i++) {
        uint64_t now = (uint64_t)i * TICK;
        uint32_t best = UINT32_MAX;
        double top = -HUGE_VAL, mu = pacing_price(&p), least = HUGE_VAL, cost = 0;
        for (uint32_t m = 0; m < k; m++) {
            double c = (double)f->cost[(size_t)i * k + m], v = (double)f->quality[(size_t)i * k + m] - mu * c;
            least = fmin(least, c);
            if (v > top && pacing_admits(&p, nano(f->most[m]), nano(f->most[cheapest]), now))
                top = v, best = m;
        }
        if (best == UINT32_MAX || !pacing_reserve(&p, nano(f->most[best]), now)) {
            w.refused++;
        } else {
            cost = fmin(truth(f->o->cost_usd, f, i, best), f->most[best]);
            w.quality += truth(f->o->quality, f, i, best) / f->n;
            pacing_settle(&p, nano(f->most[best]), nano(cost), nano(least), now);
        }
        spent[i + 1] = spent[i] + cost;
    }
    w.spent = spent ? spent[f->n] : 0;
    for (uint32_t i = 0; spent && i + window <= f->n; i += q->slides ? 1 : window)
        w.over = fmax(w.over, (spent[i + window] - spent[i]) / part - 1);
    free(spent);
    return w;
}

/* Fits the table on the other folds, predicts this one. */
static int fold_make(struct fold *f, const struct outcomes *o, const uint32_t *dealt, uint32_t which, uint64_t seed,
                     struct arena *a, struct err *e)
{
    uint32_t k = o->n_models;
    *f = (struct fold){
        .o = o, .rows = ARENA_ARRAY(a, uint32_t, o->n), .others = ARENA_ARRAY(a, uint32_t, o->n), .most = ARENA_ARRAY(a, double, k),
    };
    for (uint32_t i = 0; i < o->n; i++)
        if (dealt[i] == which) {
            uint32_t at = (uint32_t)rand_below(&seed, f->n + 1);
            f->rows[f->n] = f->rows[at];
            f->rows[at] = i;
            f->n++;
        } else {
            f->others[f->n_others++] = i;
        }
    size_t cells = (size_t)f->n * k;
    double *sum = ARENA_ARRAY(a, double, k), *cost = ARENA_ARRAY(a, double, k);
    uint32_t best = 0;
    for (uint32_t r = 0; r < f->n_others; r++)
        for (uint32_t m = 0; m < k; m++) {
            size_t at = (size_t)f->others[r] * k + m;
            sum[m] += isfinite(o->quality[at]) ? (double)o->quality[at] : 0;
            if (isfinite(o->cost_usd[at])) {
                cost[m] += (double)o->cost_usd[at];
                f->most[m] = fmax(f->most[m], 1.5 * (double)o->cost_usd[at]);
            }
        }
    for (uint32_t m = 1; m < k; m++)
        best = sum[m] > sum[best] ? m : best;
    f->best_cost = cost[best] / f->n_others;
    struct learner *l = learner_new("table", NULL);
    struct recorded rec = outcomes_recorded(o);
    rec.rows = f->others;
    rec.n_rows = f->n_others;
    f->quality = ARENA_ARRAY(a, float, cells);
    f->cost = ARENA_ARRAY(a, float, cells);
    int rc = l ? learner_fit(l, &rec, e) : err_set(e, "no memory");
    for (uint32_t i = 0; rc == 0 && i < f->n; i++) {
        struct arena *once = arena_new();
        struct features x = o->x[f->rows[i]];
        struct prediction *p = ARENA_ARRAY(once, struct prediction, l->n_models);
        if (o->has_text)
            x.kind = S("");
        learner_predict(l, &x, p, once);
        for (uint32_t m = 0; m < k; m++) {
            f->quality[(size_t)i * k + m] = p[m].quality;
            f->cost[(size_t)i * k + m] = isfinite(p[m].cost_usd) ? p[m].cost_usd : (float)(cost[m] / f->n_others);
        }
        arena_free(once);
    }
    learner_free(l);
    return rc;
}

static void judge(const struct fold *f, const struct asked *q, double share, double out[FIGURES])
{
    double budget = share * f->best_cost * f->n, price = price_for(f, budget / f->n);
    struct way a = naive(f, budget, price), c = ours(f, q, budget, price), b = naive_with(f, c.spent);
    out[NAIVE_QUALITY] = a.quality;
    out[NAIVE_OVER] = a.over;
    out[EQUAL_QUALITY] = b.quality;
    out[OURS_QUALITY] = c.quality;
    out[DIFFERENCE] = c.quality - a.quality;
    out[EQUAL_DIFFERENCE] = c.quality - b.quality;
    out[SPENT] = c.spent / budget;
    out[OVER] = c.over;
    out[REFUSED] = (double)c.refused / f->n;
}

static void print_share(const struct asked *q, double share, double (*all)[FIGURES], struct buf *out)
{
    double mean[FIGURES] = { 0 }, error[FIGURES] = { 0 }, over = -1;
    for (int k = 0; k < FIGURES; k++) {
        for (int f = 0; f < FOLDS; f++)
            mean[k] += all[f][k] / FOLDS;
        for (int f = 0; f < FOLDS; f++)
            error[k] += (all[f][k] - mean[k]) * (all[f][k] - mean[k]) / (FOLDS - 1) / FOLDS;
        error[k] = sqrt(error[k]);
    }
    for (int f = 0; f < FOLDS; f++)
        over = fmax(over, all[f][OVER]);
    if (q->as_json)
        buf_printf(out, "{\"budget\":%g,\"quality\":%.5f,\"difference\":%.5f,\"standard_error\":%.5f,\"difference_at_equal_money\":%.5f,"
                        "\"equal_money_standard_error\":%.5f,\"spent\":%.4f,\"most_over\":%.5f,\"refused\":%.5f,\"naive_quality\":%.5f,"
                        "\"naive_over\":%.4f}\n", share, mean[OURS_QUALITY], mean[DIFFERENCE], error[DIFFERENCE],
                            mean[EQUAL_DIFFERENCE],
                   error[EQUAL_DIFFERENCE], mean[SPENT], over, mean[REFUSED], mean[NAIVE_QUALITY], mean[NAIVE_OVER]);
    else
        buf_printf(out, "  %5.2f   %.4f  %+5.1f %%    %.4f  %+.4f +- %.4f   %+.4f +- %.4f   %5.1f %%   %+6.2f %%  %6.2f %%\n",
                   share, mean[NAIVE_QUALITY],
                   100 * mean[NAIVE_OVER], mean[OURS_QUALITY], mean[DIFFERENCE], error[DIFFERENCE], mean[EQUAL_DIFFERENCE],
                       error[EQUAL_DIFFERENCE],
                   100 * mean[SPENT], 100 * over, 100 * mean[REFUSED]);
}

static int evaluate(struct arena *a, const struct outcomes *o, const struct asked *q, struct err *e)
{
    static double all[SHARES_MAX][FOLDS][FIGURES];
    uint32_t *dealt = ARENA_ARRAY(a, uint32_t, o->n);
    struct progress bar = progress_start("pacing");
    outcomes_deal(o, FOLDS, q->seed, dealt);
    for (uint32_t f = 0; f < FOLDS; f++) {
        struct arena *of_fold = arena_new();
        struct fold fold;
        int rc = of_fold ? fold_make(&fold, o, dealt, f, q->seed + f, of_fold, e) : err_set(e, "no memory");
        for (uint32_t s = 0; rc == 0 && s < q->n_shares; s++)
            judge(&fold, q, q->shares[s], all[s][f]);
        arena_free(of_fold);
        if (rc < 0)
            return rc;
        progress_show(&bar, (f + 1.0) / FOLDS, f + 1);
    }
    progress_end(&bar);
    struct buf out = { 0 };
    if (!q->as_json)
        buf_printf(&out, STR_FMT ": %u queries, %u models; budgets in shares of the best single model's cost\n"
                         "  share   without reserve   ours    difference           at equal money       spent     most over  refused\n",
                   STR_ARG(o->name), o->n, o->n_models);
    for (uint32_t s = 0; s < q->n_shares; s++)
        print_share(q, q->shares[s], all[s], &out);
    int put = cli_put(stdout, buf_view(&out));
    buf_free(&out);
    return put;
}

int cli_evaluate_budget(int argc, char **argv)
{
    struct cli_args args = cli_args_start("evaluate", argc, argv);
    struct asked q = { .shares = { .1, .25, .5 }, .n_shares = 3, .seed = 1 };
    const char *folder = NULL;
    int64_t v;
    for (int id; (id = cli_next(&args)) != CLI_END;) {
        switch (id) {
        case 'S':
            if (!str_int(str_of(args.value), &v))
                return cli_usage_error("evaluate", "--seed is a number");
            q.seed = (uint64_t)v;
            break;
        case 'W':
            if (!str_int(str_of(args.value), &v) || v < 2 || v > INT32_MAX)
                return cli_usage_error("evaluate", "--window is a number of queries, from 2");
            q.window = (uint32_t)v;
            break;
        case 'L': q.slides = true; break;
        case 'j': q.as_json = true; break;
        case CLI_WORD: folder = args.value; break;
        default: return CLI_USAGE;
        }
    }
    if (!folder)
        return cli_usage_error("evaluate", "budget: which folder of recorded outcomes?");
    struct arena *a = arena_new();
    struct outcomes o = { 0 };
    struct err e = { 0 };
    int rc = a ? outcomes_read(&o, a, folder, false, &e) : err_set(&e, "no memory");
    if (rc == 0 && !o.cost_usd)
        rc = err_set(&e, "%s: there are no costs", folder);
    if (rc == 0)
        rc = evaluate(a, &o, &q, &e);
    if (rc < 0)
        fprintf(stderr, "signalbox evaluate budget: %s\n", e.text);
    arena_free(a);
    return rc < 0 ? CLI_USAGE : rc;
}
