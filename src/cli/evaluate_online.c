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
 * it count (select/judge.h). One decision in twenty gets the operator's word, too, by which the judge is measured.
 *
 * With --newcomer nothing is known beforehand of the best model.
 *
 * Several strategies (--strategy a,b) serve the same streams; figures of the later ones come with their difference to the first,
 * paired by stream. */
#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/put.h"
#include "base/rand.h"
#include "cli/cli.h"
#include "cli/outcomes.h"
#include "cli/rows.h"
#include "pipeline/learning.h"

enum { RUNS_MAX = 100, SETTLE = 200, SPAN = 500, STRATEGIES_MAX = 8 };

struct online {                         /* what is asked */
    uint32_t warm, runs, delay;
    double scale, floor;
    double judge_error;                 /* NAN: outcomes are the truth */
    uint64_t seed;
    bool drifts, has_newcomer, as_json;
    const char *learner;
    const struct evidence_ops *strategies[STRATEGIES_MAX]; uint32_t n_strategies;
    uint32_t screen_top;
    struct evidence_tuning tuning;
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

/* The outcomes without those of one model; the caller frees them. NULL: no memory. */
static float *without(const struct outcomes *o, uint32_t model)
{
    float *quality = malloc((size_t)o->n * o->n_models * sizeof *quality);
    if (!quality)
        return NULL;
    memcpy(quality, o->quality, (size_t)o->n * o->n_models * sizeof *quality);
    for (uint32_t i = 0; i < o->n; i++)
        quality[(size_t)i * o->n_models + model] = NAN;
    return quality;
}

static struct learner *warm_up(const struct stream *s, const struct online *q, struct err *e)
{
    const char *name = q->learner;
    struct recorded r = outcomes_recorded(s->o);
    float *hidden = q->has_newcomer ? without(s->o, s->best) : NULL;
    r.rows = s->order;
    r.n_rows = s->warm;
    r.quality = hidden ? hidden : r.quality;
    struct learner *l = learner_new(name, &(struct learner_spec){ .shrink_kind = 60 });     /* few rows: trust kinds little */
    if (!l || learner_fit(l, &r, e) < 0) {
        if (!e->text[0])
            err_set(e, "no learner is called '%s'", name);
        learner_free(l);
        l = NULL;
    }
    free(hidden);
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

/* The situation of a query and what the table expects of each model. */
static struct situation situation_of(const struct stream *s, const struct learner *table, const uint8_t *places, uint32_t step,
                                     struct prediction *p, struct arena *a)
{
    struct features x = s->o->x[s->order[step]];
    struct situation at_hand = { .query = { .kind = CELL_ALL, .decision = 1 }, .seed = s->seed * 1000003 + step };
    float *kinds = ARENA_ARRAY(a, float, table->n_kinds);
    if (s->o->has_text)
        x.kind = S("");                 /* labels are for learning; a query of production has none */
    query_context_read(&at_hand.query.context, &x);
    learner_predict(table, &x, p, a);
    if (table->n_kinds && learner_kinds(table, &x, kinds, a)) {
        uint32_t top = 0;
        for (uint32_t k = 0; k < table->n_kinds; k++) {
            top = kinds[k] > kinds[top] ? k : top;
            at_hand.query.context.kinds[places[k]] += kinds[k];
        }
        at_hand.query.kind = top + 1;
    } else {
        at_hand.query.context.kinds[0] = 1;
    }
    return at_hand;
}

/* One run of the gateway's learner over the stream. */
static int serve(const struct stream *s, const struct online *q, const struct learner *table,
                 const struct evidence_ops *strategy, float *got, uint64_t *changes)
{
    const struct outcomes *o = s->o;
    struct learning *l = learning_new();
    struct waiting *late = calloc(q->delay + 1, sizeof *late);
    if (!l || !late) {
        learning_free(l);
        free(late);
        return -1;
    }
    struct bandit_rules rules = { .scale = q->scale, .floor = q->floor, .incumbent = UINT32_MAX };
    uint64_t chance = s->seed + 77;
    uint8_t places[LEARNER_KINDS_MAX];
    context_places(table->kinds, table->n_kinds, places);
    learning_tune(l, &q->tuning);
    for (uint32_t i = s->warm; i < s->n; i++) {
        struct arena *a = arena_new();
        struct prediction *p = ARENA_ARRAY(a, struct prediction, table->n_models);
        struct offer *offers = ARENA_ARRAY(a, struct offer, o->n_models);
        struct situation at_hand = situation_of(s, table, places, i, p, a);
        at_hand.strategy = strategy;
        at_hand.screen_top = q->screen_top;
        for (uint32_t m = 0; m < o->n_models; m++)
            offers[m] = (struct offer){ .model = o->models[m], .expected = (double)p[m].quality,
                                        .deviation = (double)p[m].deviation,
                                        .cost = (double)NAN, .is_new = !(p[m].count > 0) };
        struct chosen c;
        struct waiting *w = &late[i % (q->delay + 1)];
        learning_choose(l, offers, o->n_models, &rules, &at_hand, a, &c);
        got[i] = (float)reward(s, i, c.at);
        float context[CONTEXT_N];
        learning_context(&c, c.at, context);
        learning_remember(l, &(struct decided){
            .id = id_of(w, i), .model = o->models[c.at], .kind = at_hand.query.kind, .decision = at_hand.query.decision, .now_s = i,
            .expected = offers[c.at].expected, .mean = c.arms[c.at].mean, .deviation = c.arms[c.at].deviation,
            .propensity = c.propensity, .cost = (double)NAN, .n_arms = c.n, .x = context });
        w->reward = (double)got[i];
        if (i >= s->warm + q->delay) {
            struct waiting *come = &late[(i - q->delay) % (q->delay + 1)];
            outcome_say(l, q, &chance, come);
        }
        arena_free(a);
    }
    *changes = learning_changes(l);
    learning_free(l);
    free(late);
    return 0;
}

static void shuffle(uint32_t *order, uint32_t n, uint64_t seed)     /* Fisher and Yates */
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = (uint32_t)rand_below(&seed, i + 1);
        order[i] = order[k];
        order[k] = i;
    }
}

/* out[n_strategies], of one stream. */
static int run(const struct outcomes *o, const struct online *q, uint32_t number, double (*out)[FIGURES], struct err *e)
{
    struct stream s = { .o = o, .n = o->n, .seed = q->seed + number };
    s.order = malloc(o->n * sizeof *s.order);
    float *ours = calloc(o->n, sizeof *ours), *greedy = calloc(o->n, sizeof *greedy);
    struct learner *table = NULL;
    int rc = -1;
    if (!s.order || !ours || !greedy) {
        err_set(e, "no memory");
        goto out;
    }
    shuffle(s.order, o->n, s.seed);
    s.warm = q->warm < o->n / 2 ? q->warm : o->n / 2;
    s.half = s.warm + (o->n - s.warm) / 2;
    s.best = best_of(&s, 0, s.n);
    s.drifts = q->drifts;
    table = warm_up(&s, q, e);
    if (!table)
        goto out;
    epsilon_greedy(&s, greedy);
    uint32_t last = s.n - (s.n - s.warm) / 4, from = s.half + SETTLE, to = from + SPAN < s.n ? from + SPAN : s.n;
    uint32_t after = s.drifts ? best_of(&s, s.half, s.n) : s.best;
    double frozen = from < to ? mean_of(&s, from, to, s.best) : (double)NAN, top = from < to ? mean_of(&s, from, to, after)
        : (double)NAN;
    for (uint32_t k = 0; k < q->n_strategies; k++) {
        uint64_t changes = 0;
        if (serve(&s, q, table, q->strategies[k], ours, &changes) < 0) {
            err_set(e, "no memory");
            goto out;
        }
        out[k][LAST_QUARTER] = mean(ours, last, s.n) - mean_of(&s, last, s.n, after);
        out[k][WHOLE] = mean(ours, s.warm, s.n) - mean_of(&s, s.warm, s.n, s.best);
        out[k][OVER_GREEDY] = mean(ours, s.warm, s.n) - mean(greedy, s.warm, s.n);
        out[k][RECOVERED] = s.drifts ? (mean(ours, from, to) - frozen) / (top - frozen) : (double)NAN;
        out[k][CHANGES] = (double)changes;
    }
    rc = 0;
out:
    learner_free(table);
    free(s.order);
    free(ours);
    free(greedy);
    return rc;
}

struct summary { double mean, error, least; };

/* Of a figure, or of its difference to another strategy's on the same streams. */
static struct summary summary_of(double (*all)[STRATEGIES_MAX][FIGURES], uint32_t n, uint32_t strategy, uint32_t than, enum figure f)
{
    struct summary s = { 0, 0, HUGE_VAL };
    double v[RUNS_MAX];
    for (uint32_t i = 0; i < n; i++) {
        v[i] = all[i][strategy][f] - (than == UINT32_MAX ? 0 : all[i][than][f]);
        s.mean += v[i] / n;
        s.least = fmin(s.least, v[i]);
    }
    for (uint32_t i = 0; i < n; i++)
        s.error += (v[i] - s.mean) * (v[i] - s.mean);
    s.error = n > 1 ? sqrt(s.error / (n - 1) / n) : (double)NAN;
    return s;
}

static void summary_write(struct json_writer *w, const char *key, struct summary s)
{
    put_open(w, str_of(key), '{');
    put_double(w, S("mean"), s.mean);
    put_double(w, S("standard_error"), s.error);
    put_double(w, S("least"), s.least);
    jw_end(w, '}');
}

/* One strategy: a line of JSON, or a block of text. */
static void strategy_print(const struct outcomes *o, const struct online *q, double (*all)[STRATEGIES_MAX][FIGURES], uint32_t k,
                           struct buf *out)
{
    struct json_writer w = { .out = out };
    const char *name = q->strategies[k]->name;
    if (q->as_json) {
        jw_begin(&w, '{');
        put_str(&w, S("set"), o->name);
        put_str(&w, S("strategy"), str_of(name));
        put_int(&w, S("runs"), q->runs);
    } else {
        buf_printf(out, " %s\n", name);
    }
    for (int f = 0; f < FIGURES; f++) {
        if (f == RECOVERED && !q->drifts)
            continue;
        struct summary s = summary_of(all, q->runs, k, UINT32_MAX, (enum figure)f);
        struct summary d = summary_of(all, q->runs, k, 0, (enum figure)f);
        if (q->as_json) {
            char key[64];
            summary_write(&w, figure_names[f], s);
            snprintf(key, sizeof key, "%s_difference", figure_names[f]);
            if (k)
                summary_write(&w, key, d);
            continue;
        }
        buf_printf(out, "  %-28s %+.4f +- %.4f   least %+.4f", figure_names[f], s.mean, s.error, s.least);
        if (k)
            buf_printf(out, "   to %s %+.4f +- %.4f", q->strategies[0]->name, d.mean, d.error);
        buf_char(out, '\n');
    }
    if (q->as_json) {
        jw_end(&w, '}');
        buf_char(out, '\n');
    }
}

static void print(const struct outcomes *o, const struct online *q, double (*all)[STRATEGIES_MAX][FIGURES])
{
    struct buf out = { 0 };
    uint32_t warm = q->warm < o->n / 2 ? q->warm : o->n / 2;
    if (!q->as_json)
        buf_printf(&out, STR_FMT ": %u queries, %u models, %u known beforehand, outcomes %u late, %u runs\n", STR_ARG(o->name),
                   o->n, o->n_models,
                   warm, q->delay, q->runs);
    for (uint32_t k = 0; k < q->n_strategies; k++)
        strategy_print(o, q, all, k, &out);
    cli_put(stdout, buf_view(&out));
    buf_free(&out);
}

static bool strategies_read(const char *text, struct online *q)
{
    str rest = str_of(text);
    q->n_strategies = 0;
    while (rest.len) {
        const struct evidence_ops *ops = evidence_by_name(str_cut(&rest, ','));
        if (!ops || q->n_strategies == STRATEGIES_MAX)
            return false;
        q->strategies[q->n_strategies++] = ops;
    }
    return q->n_strategies > 0;
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
    struct online q = { .warm = 500, .runs = 3, .scale = .3, .floor = .01, .judge_error = (double)NAN, .seed = 1, .learner = "table",
                        .strategies = { evidence_all[0] }, .n_strategies = 1, .tuning = { .rate = .1, .share = .005 } };
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
        case 'N': q.has_newcomer = true; break;
        case 'Y':
            if (!strategies_read(args.value, &q))
                return cli_usage_error("evaluate", "--strategy is a list of thompson, linucb and fixed_share, with commas between");
            break;
        case 'o': ok = whole(args.value, 0, BANDIT_TOP_MAX, &q.screen_top); break;
        case 'R': ok = str_double(str_of(args.value), &q.tuning.rate) && q.tuning.rate >= 0 && q.tuning.rate <= 1; break;
        case 'U': ok = str_double(str_of(args.value), &q.tuning.share) && q.tuning.share >= 0 && q.tuning.share <= 1; break;
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
    static double all[RUNS_MAX][STRATEGIES_MAX][FIGURES];
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
