/* cli/evaluate_online.c -- `evaluate online`: what learning while serving would have brought on recorded outcomes.
 *
 * A set's queries come in random order. The first ones (--warm) are known in full and train a table; of every later one only the
 * outcome of the model that was chosen is seen, --delay queries late. The learner is the gateway's own (pipeline/learning.h): the
 * same choices, sums, test for changes. It is compared with the best fixed model, known in hindsight over the whole set, and with
 * an epsilon-greedy learner that starts cold (1, times .98 a query, at least .01). With --drift the best model loses half of its
 * right answers at half-time, and "recovered" is how much of the way from the frozen policy to the best model after the change is
 * made 200 to 700 queries later.
 *
 * With --judge-error no outcome is sure: a judge tells it, who is wrong with that chance, and counts as much as the gateway would let
 * it count (select/judge.h). One decision in twenty gets the operator's word, too, by which the judge is measured. */
#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/put.h"
#include "base/rand.h"
#include "cli/cli.h"
#include "cli/outcomes.h"
#include "cli/rows.h"
#include "pipeline/learning.h"

enum { RUNS_MAX = 100, SETTLE = 200, SPAN = 500 };

struct online {                         /* what is asked */
    uint32_t warm, runs, delay;
    double scale, floor;
    double judge_error;                 /* NAN: outcomes are the truth */
    uint64_t seed;
    bool drifts, as_json;
    const char *learner;
};

struct stream { const struct outcomes *o; uint32_t *order; uint32_t n, warm, best; uint32_t half; uint64_t seed; bool drifts; };

enum figure { LAST_QUARTER, WHOLE, OVER_GREEDY, RECOVERED, CHANGES, FIGURES };
static const char *const figure_names[FIGURES] = { "last_quarter_to_best_fixed", "whole_to_best_fixed",
                                                   "whole_to_epsilon_greedy", "recovered", "changes" };

static double reward(const struct stream *s, uint32_t step, uint32_t model)
{
    uint32_t row = s->order[step];
    float q = s->o->quality[(size_t)row * s->o->n_models + model];
    uint64_t coin = s->seed ^ row * 0x9e3779b97f4a7c15u;
    if (s->drifts && step >= s->half && model == s->best && rand_unit(&coin) < .5)
        return 0;
    return isfinite(q) ? fmin(1, fmax(0, (double)q)) : 0;
}

static double mean_of(const struct stream *s, uint32_t from, uint32_t to, uint32_t model)
{
    double sum = 0;
    for (uint32_t i = from; i < to; i++)
        sum += reward(s, i, model);
    return to > from ? sum / (to - from) : (double)NAN;
}

static uint32_t best_of(const struct stream *s, uint32_t from, uint32_t to)
{
    uint32_t best = 0;
    double top = -1;
    for (uint32_t m = 0; m < s->o->n_models; m++) {
        double v = mean_of(s, from, to, m);
        if (v > top)
            top = v, best = m;
    }
    return best;
}

static double mean(const float *got, uint32_t from, uint32_t to)
{
    double sum = 0;
    for (uint32_t i = from; i < to; i++)
        sum += (double)got[i];
    return to > from ? sum / (to - from) : (double)NAN;
}

static void epsilon_greedy(const struct stream *s, float *got)
{
    uint32_t k = s->o->n_models;
    double *n = calloc(2 * (size_t)k, sizeof *n), *sum = n + k, epsilon = 1;
    uint64_t seed = s->seed + 1;
    for (uint32_t i = s->warm; n && i < s->n; i++, epsilon = fmax(.01, epsilon * .98)) {
        uint32_t m = 0;
        for (uint32_t c = 1; c < k; c++)
            if ((n[c] ? sum[c] / n[c] : 0) > (n[m] ? sum[m] / n[m] : 0))
                m = c;
        if (rand_unit(&seed) < epsilon)
            m = (uint32_t)rand_below(&seed, k);
        double r = reward(s, i, m);
        n[m]++, sum[m] += r;
        got[i] = (float)r;
    }
    free(n);
}

static struct learner *warm_up(const struct stream *s, const char *name, struct err *e)
{
    struct recorded r = outcomes_recorded(s->o);
    r.rows = s->order;
    r.n_rows = s->warm;
    struct learner *l = learner_new(name, &(struct learner_spec){ .shrink_kind = 60 });     /* few rows: trust kinds little */
    if (!l || learner_fit(l, &r, e) < 0) {
        if (!e->text[0])
            err_set(e, "no learner is called '%s'", name);
        learner_free(l);
        return NULL;
    }
    return l;
}

struct waiting { char id[24]; double reward; };

static str id_of(struct waiting *w, uint32_t i)
{
    return (str){ w->id, (size_t)snprintf(w->id, sizeof w->id, "q%u", i) };
}

static const double told_by_operator = .05;

static void outcome_say(struct learning *l, const struct online *q, uint64_t *chance, const struct waiting *come)
{
    str id = str_of(come->id);
    bool is_judged = isfinite(q->judge_error);
    if (is_judged) {
        bool is_wrong = rand_unit(chance) < q->judge_error;
        learning_say(l, id, SOURCE_JUDGE, is_wrong ? 1 - come->reward : come->reward, learning_judge_weight(l));
    }
    if (!is_judged || rand_unit(chance) < told_by_operator)
        learning_say(l, id, SOURCE_OPERATOR, come->reward, 1);
}

/* One run of the gateway's learner over the stream. */
static int serve(const struct stream *s, const struct online *q, float *got, uint64_t *changes, struct err *e)
{
    const struct outcomes *o = s->o;
    struct learner *table = warm_up(s, q->learner, e);
    struct learning *l = learning_new();
    struct waiting *late = calloc(q->delay + 1, sizeof *late);
    if (!table || !l || !late) {
        learner_free(table);
        learning_free(l);
        free(late);
        return -1;
    }
    struct bandit_rules rules = { .scale = q->scale, .floor = q->floor, .incumbent = UINT32_MAX };
    uint64_t chance = s->seed + 77;
    for (uint32_t i = s->warm; i < s->n; i++) {
        struct arena *a = arena_new();
        struct features x = o->x[s->order[i]];
        if (o->has_text)
            x.kind = S("");             /* labels are for learning; a query of production has none */
        struct prediction *p = ARENA_ARRAY(a, struct prediction, table->n_models);
        struct offer *offers = ARENA_ARRAY(a, struct offer, o->n_models);
        float *kinds = ARENA_ARRAY(a, float, table->n_kinds);
        uint64_t kind = CELL_ALL;
        learner_predict(table, &x, p, a);
        if (table->n_kinds && learner_kinds(table, &x, kinds, a)) {
            uint32_t top = 0;
            for (uint32_t k = 1; k < table->n_kinds; k++)
                top = kinds[k] > kinds[top] ? k : top;
            kind = top + 1;
        }
        for (uint32_t m = 0; m < o->n_models; m++)
            offers[m] = (struct offer){ .model = o->models[m], .expected = (double)p[m].quality,
                                        .deviation = (double)p[m].deviation,
                                        .cost = (double)NAN };
        struct chosen c;
        struct waiting *w = &late[i % (q->delay + 1)];
        learning_choose(l, offers, o->n_models, &rules, kind, s->seed * 1000003 + i, 0, a, &c);
        got[i] = (float)reward(s, i, c.at);
        learning_remember(l, &(struct decided){ .id = id_of(w, i), .model = o->models[c.at], .kind = kind, .now_s = i,
                                                .expected = offers[c.at].expected, .mean = c.arms[c.at].mean,
                                                .deviation = c.arms[c.at].deviation, .propensity = c.propensity,
                                                    .cost = (double)NAN });
        w->reward = (double)got[i];
        if (i >= s->warm + q->delay) {
            struct waiting *come = &late[(i - q->delay) % (q->delay + 1)];
            outcome_say(l, q, &chance, come);
        }
        arena_free(a);
    }
    *changes = learning_changes(l);
    learner_free(table);
    learning_free(l);
    free(late);
    return 0;
}

static int run(const struct outcomes *o, const struct online *q, uint32_t number, double out[FIGURES], struct err *e)
{
    struct stream s = { .o = o, .n = o->n, .seed = q->seed + number, .drifts = q->drifts };
    uint64_t seed = s.seed, changes = 0;
    s.order = malloc(o->n * sizeof *s.order);
    float *ours = calloc(o->n, sizeof *ours), *greedy = calloc(o->n, sizeof *greedy);
    int rc = -1;
    if (!s.order || !ours || !greedy) {
        err_set(e, "no memory");
        goto out;
    }
    for (uint32_t i = 0; i < o->n; i++) {       /* Fisher and Yates */
        uint32_t k = (uint32_t)rand_below(&seed, i + 1);
        s.order[i] = s.order[k];
        s.order[k] = i;
    }
    s.warm = q->warm < o->n / 2 ? q->warm : o->n / 2;
    s.half = s.warm + (o->n - s.warm) / 2;
    s.drifts = false;
    s.best = best_of(&s, 0, s.n);
    s.drifts = q->drifts;
    if (serve(&s, q, ours, &changes, e) < 0)
        goto out;
    epsilon_greedy(&s, greedy);
    uint32_t last = s.n - (s.n - s.warm) / 4, from = s.half + SETTLE, to = from + SPAN < s.n ? from + SPAN : s.n;
    uint32_t after = s.drifts ? best_of(&s, s.half, s.n) : s.best;
    double frozen = from < to ? mean_of(&s, from, to, s.best) : (double)NAN, top = from < to ? mean_of(&s, from, to, after)
        : (double)NAN;
    out[LAST_QUARTER] = mean(ours, last, s.n) - mean_of(&s, last, s.n, after);
    out[WHOLE] = mean(ours, s.warm, s.n) - mean_of(&s, s.warm, s.n, s.best);
    out[OVER_GREEDY] = mean(ours, s.warm, s.n) - mean(greedy, s.warm, s.n);
    out[RECOVERED] = s.drifts ? (mean(ours, from, to) - frozen) / (top - frozen) : (double)NAN;
    out[CHANGES] = (double)changes;
    rc = 0;
out:
    free(s.order);
    free(ours);
    free(greedy);
    return rc;
}

struct summary { double mean, error, least; };

static struct summary summary_of(double (*all)[FIGURES], uint32_t n, enum figure f)
{
    struct summary s = { 0, 0, HUGE_VAL };
    for (uint32_t i = 0; i < n; i++) {
        s.mean += all[i][f] / n;
        s.least = fmin(s.least, all[i][f]);
    }
    for (uint32_t i = 0; i < n; i++)
        s.error += (all[i][f] - s.mean) * (all[i][f] - s.mean);
    s.error = n > 1 ? sqrt(s.error / (n - 1) / n) : (double)NAN;
    return s;
}

static void print(const struct outcomes *o, const struct online *q, double (*all)[FIGURES])
{
    struct buf out = { 0 };
    struct json_writer w = { .out = &out };
    uint32_t warm = q->warm < o->n / 2 ? q->warm : o->n / 2;
    if (!q->as_json)
        buf_printf(&out, STR_FMT ": %u queries, %u models, %u known beforehand, outcomes %u late, %u runs\n", STR_ARG(o->name),
                   o->n, o->n_models,
                   warm, q->delay, q->runs);
    else
        jw_begin(&w, '{'), jw_key(&w, S("set")), jw_str(&w, o->name), jw_key(&w, S("runs")), jw_int(&w, q->runs);
    for (int f = 0; f < FIGURES; f++) {
        if (f == RECOVERED && !q->drifts)
            continue;
        struct summary s = summary_of(all, q->runs, (enum figure)f);
        if (q->as_json) {
            put_open(&w, str_of(figure_names[f]), '{');
            jw_key(&w, S("mean")), jw_double(&w, s.mean);
            jw_key(&w, S("standard_error")), jw_double(&w, s.error);
            jw_key(&w, S("least")), jw_double(&w, s.least);
            jw_end(&w, '}');
        } else {
            buf_printf(&out, "  %-28s %+.4f +- %.4f   least %+.4f\n", figure_names[f], s.mean, s.error, s.least);
        }
    }
    if (q->as_json) {
        jw_end(&w, '}');
        buf_char(&out, '\n');
    }
    cli_put(stdout, buf_view(&out));
    buf_free(&out);
}

static bool whole(const char *text, int64_t least, int64_t most, uint32_t *out)
{
    int64_t v;
    bool ok = str_int(str_of(text), &v) && v >= least && v <= most;
    *out = ok ? (uint32_t)v : *out;
    return ok;
}

int cli_evaluate_online(int argc, char **argv)
{
    struct cli_args args = cli_args_start("evaluate", argc, argv);
    struct online q = { .warm = 500, .runs = 3, .scale = .3, .floor = .01, .judge_error = (double)NAN, .seed = 1, .learner = "table" };
    const char *folder = NULL;
    uint32_t seed = 1;
    bool ok = true;
    for (int id; (id = cli_next(&args)) != CLI_END;) {
        switch (id) {
        case 'w': ok = whole(args.value, 2, 1000000, &q.warm); break;
        case 'r': ok = whole(args.value, 1, RUNS_MAX, &q.runs); break;
        case 'y': ok = whole(args.value, 0, 100000, &q.delay); break;
        case 'S': ok = whole(args.value, 0, INT32_MAX, &seed); break;
        case 'x': ok = str_double(str_of(args.value), &q.scale) && q.scale >= 0; break;
        case 'F': ok = str_double(str_of(args.value), &q.floor) && q.floor >= 0 && q.floor <= 1; break;
        case 'J': ok = str_double(str_of(args.value), &q.judge_error) && q.judge_error >= 0 && q.judge_error <= 1; break;
        case 'D': q.drifts = true; break;
        case 'j': q.as_json = true; break;
        case 'p': q.learner = args.value; break;
        case CLI_WORD: folder = args.value; break;
        default: return CLI_USAGE;
        }
        if (!ok)
            return cli_usage_error("evaluate", "'%s' is not a number in range", args.value);
    }
    if (!folder)
        return cli_usage_error("evaluate", "online: which folder of recorded outcomes?");
    q.seed = seed;
    struct outcomes o = { 0 };
    struct err e = { 0 };
    struct arena *a = arena_new();
    double all[RUNS_MAX][FIGURES];
    int rc = a ? outcomes_read(&o, a, folder, true, &e) : -1;
    struct progress bar = progress_start("serving");
    for (uint32_t i = 0; rc == 0 && i < q.runs; i++) {
        rc = run(&o, &q, i, all[i], &e);
        progress_show(&bar, (i + 1.0) / q.runs, i + 1);
    }
    progress_end(&bar);
    if (rc == 0)
        print(&o, &q, all);
    else
        fprintf(stderr, "signalbox evaluate online: %s\n", e.text[0] ? e.text : "no memory");
    arena_free(a);
    return rc == 0 ? CLI_FINE : CLI_USAGE;
}
