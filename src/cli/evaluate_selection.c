/* cli/evaluate_selection.c -- `evaluate selection`: what each policy would have scored and cost on recorded outcomes.
 *
 * Cross-validation: a learner is fitted on the other folds and predicts the fold, question by question; so every number is of
 * queries the learner has not seen. Predictions are made once; everything else (score, cost at every price of quality, hull,
 * calibration) is arithmetic on them. Definitions: w in {0} and 60 logarithmic steps from 1e-2 to 1e6; argmax of quality - w *
 * cost; the hull of those points; AIQ is the hull's area over the pool's range of mean costs. The best single model is chosen on
 * the training folds. Standard errors of differences are paired; those of AIQ and saving are a jackknife over 20 groups of
 * questions. Cascades ask several models: a judge is simulated that errs with a given chance, by one coin a (question, model) or,
 * since judges that do not understand a question err on every answer, a question. A greater error is the same mistakes and more. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/put.h"
#include "base/rand.h"
#include "cli/cli.h"
#include "cli/outcomes.h"
#include "cli/report.h"
#include "cli/rows.h"
#include "select/cascade.h"
#include "select/frontier.h"

enum { FOLDS_MAX = 64, POLICIES_MAX = 32, STEPS = 61, GROUPS = 20, BINS = 10, THREADS_MAX = 64, SHARES = 11 };

enum policy_kind { BY_LEARNER, BY_LABEL, RANDOM, ORACLE, FIRST, CASCADE, CHAIN };

static const struct policy {
    const char *name;
    enum policy_kind kind;
    const char *learner;
    bool is_default;
    const char *about;
} policies[] = {
    { "oracle", ORACLE, NULL, true, "the best model of every query, in hindsight" },
    { "random", RANDOM, NULL, true, "every model alike" },
    { "static", FIRST, NULL, true, "the first model of the table" },
    { "mean", BY_LEARNER, "mean", true, "the best single model of the training folds; at a price, the best of its hull" },
    { "label", BY_LABEL, "table", false, "the table with the true kind of query: what a perfect classifier would give" },
    { "table", BY_LEARNER, "table", true, "kind of query by its words, shrunken mean of each model on that kind" },
    { "clusters", BY_LEARNER, "clusters", false, "the same on clusters of queries instead of their labels" },
    { "knn", BY_LEARNER, "knn", true, "mean of the 100 most alike queries" },
    { "factor", BY_LEARNER, "factor", true, "a linear map of the words times a vector of each model" },
    { "pilots", BY_LEARNER, "pilots", false, "the nearest mean of queries that a model served best (RouterRetriever)" },
    { "pilots_mean", BY_LEARNER, "pilots_mean", false, "the same by the average of a model's means" },
    { "gates", BY_LEARNER, "gates", false, "one vector a model against a fixed background (Dynamic Routing Between Experts)" },
    { "vsr_knn", BY_LEARNER, "vsr_knn", false, "5 nearest queries vote for their best model (VSR, LLMRouter)" },
    { "vsr_kmeans", BY_LEARNER, "vsr_kmeans", false, "8 clusters, the best model of each (VSR)" },
    { "vsr_svm", BY_LEARNER, "vsr_svm", false, "one against all on the best model (VSR, LLMRouter)" },
    { "vsr_mlp", BY_LEARNER, "vsr_mlp", false, "hidden layer, softmax on the best model (VSR, LLMRouter)" },
    { "avengers", BY_LEARNER, "avengers", false, "64 clusters, mean quality of each model (Avengers)" },
    { "routellm_mf", BY_LEARNER, "routellm_mf", false, "low rank, Bradley-Terry on pairs (RouteLLM)" },
    { "embedllm", BY_LEARNER, "embedllm", false, "low rank, cross-entropy on every outcome (EmbedLLM)" },
    { "routerdc", BY_LEARNER, "routerdc", false, "low rank, contrast of good and bad models (RouterDC)" },
    { "learned", BY_LEARNER, "blend", true, "the mix of table and factor that chose best on held-out queries (train selector)" },
    { "cascade", CASCADE, "blend", false, "asks one model after another until a judge accepts: the best order by those predictions" },
    { "chain", CHAIN, NULL, false, "the same in one order: every model that is better and dearer than the one before" },
};

struct result {                         /* of one policy */
    const struct policy *policy;
    const struct result *twin;          /* an earlier one whose predictions are these; NULL: none */
    float *quality, *cost;              /* [n][n_models] predictions; NULL: no predictions (random, oracle, first) */
    float *chance;                      /* the same as quality, calibrated */
    double score, difference, difference_error, cost_mean, saving, saving_error, aiq, aiq_error;
    double calibration, brier;          /* NAN: no predictions */
    double apgr, apgr_error;            /* two models; NAN: not */
    struct point hull[STEPS]; size_t n_hull;
    double seconds;
    uint32_t asked_again, chosen_again; /* of texts with noise: how often the same model was chosen */
    uint32_t *choice;                   /* [n] by quality alone */
};

struct evaluation {
    struct arena *a;
    struct outcomes o;
    struct features *noisy;             /* [n] every NOISE_EVERY-th row as somebody else would have typed it; bytes 0: not asked again */
    uint32_t n_folds, *fold, *best;     /* best[n_folds]: of the training folds */
    struct result results[POLICIES_MAX]; uint32_t n_results;
    double *model_cost, *model_score;   /* [n_models] means */
    double low, high;                   /* range of model_cost */
    struct point singles[LEARNER_MODELS_MAX]; size_t n_singles;
    double singles_aiq, best_score, best_cost;
    uint32_t **chain, *n_chain;         /* [n_folds] models of the training folds' Pareto chain, by rising cost */
    double judge_error, judge_cost;
    bool judge_repeats;                 /* it errs on a question, whoever answered */
    struct err err;
};

/* ---- predictions: one job a (policy, fold) ---- */

struct job { uint32_t result, fold, asked_again, chosen_again; };

struct crew {
    struct evaluation *ev;
    struct job jobs[POLICIES_MAX * FOLDS_MAX];
    uint32_t n;
    _Atomic uint32_t next, done;
    pthread_mutex_t lock;               /* guards ev->err and the results' seconds */
};

enum { NOISE_EVERY = 5 };               /* which rows are asked about a second time, with noise */

/* The text as somebody else would have typed it: every eighth letter in the other case, every tenth space doubled, and in every
 * sixtieth place two letters swapped. */
static str noisy(struct arena *a, str text, uint64_t seed)
{
    char *out = arena_alloc(a, 2 * text.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i], next = i + 1 < text.len ? text.ptr[i + 1] : 0;
        bool is_letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z', is_next = (next | 0x20) >= 'a' && (next | 0x20) <= 'z';
        uint64_t die = rand_next(&seed);
        if (is_letter && is_next && die % 60 == 0) {
            out[n++] = next;
            out[n++] = c;
            i++;
            continue;
        }
        out[n++] = is_letter && die % 8 == 1 ? (char)(c ^ 0x20) : c;
        if (c == ' ' && die % 10 == 0)
            out[n++] = ' ';
    }
    return (str){ out, n };
}

static void noisy_read(struct evaluation *ev, str *text)        /* text[n]: what was typed */
{
    const struct outcomes *o = &ev->o;
    ev->noisy = ARENA_ARRAY(ev->a, struct features, o->n);
    for (uint32_t i = 0; i < o->n; i += NOISE_EVERY) {
        text[i] = noisy(ev->a, o->text[i], o->query[i]);
        if (text[i].len)
            features_read(&ev->noisy[i], ev->a, text[i]);
    }
}

/* Vectors of an encoder for all rows, and for the noisy ones. False: it has been told why. */
static bool vectors_read(struct evaluation *ev, const str *noisy_text, const char *config)
{
    struct outcomes *o = &ev->o;
    size_t room = 2 * (size_t)o->n;
    str *text = ARENA_ARRAY(ev->a, str, room);
    struct features **x = ARENA_ARRAY(ev->a, struct features *, room);
    uint32_t n = 0, dim;
    for (uint32_t i = 0; i < o->n; i++) {
        text[n] = o->text[i];
        x[n++] = &o->x[i];
        if (ev->noisy[i].bytes)
            text[n] = noisy_text[i], x[n++] = &ev->noisy[i];
    }
    const float *v = outcomes_vectors(ev->a, text, n, config, "evaluate", &dim);
    for (uint32_t i = 0; v && i < n; i++)
        x[i]->vector = v + (size_t)i * dim, x[i]->dim = dim;
    return v != NULL;
}

static uint32_t best_score(const struct prediction *p, const float *quality, uint32_t n)       /* among those that answered */
{
    uint32_t best = UINT32_MAX;
    for (uint32_t m = 0; m < n; m++)
        if (!isnan(quality[m]) && (best == UINT32_MAX || p[m].score > p[best].score))
            best = m;
    return best;
}

static int job_run(struct evaluation *ev, struct job *job, struct err *e)
{
    struct result *r = &ev->results[job->result];
    const struct outcomes *o = &ev->o;
    struct recorded rows = outcomes_recorded(o);
    uint32_t *train = malloc(o->n * sizeof *train), n = 0, k = o->n_models;
    struct learner *l = learner_new(r->policy->learner, NULL);
    int rc = train && l ? 0 : err_set(e, "no memory");
    for (uint32_t i = 0; i < o->n && rc == 0; i++)
        if (ev->fold[i] != job->fold)
            train[n++] = i;
    rows.rows = train;
    rows.n_rows = n;
    if (rc == 0)
        rc = learner_fit(l, &rows, e);
    struct prediction *p = malloc(k * sizeof *p);
    struct arena *a = NULL;
    for (uint32_t i = 0, since = 0; i < o->n && rc == 0 && p; i++) {
        if (ev->fold[i] != job->fold)
            continue;
        if (since++ % 64 == 0) {
            arena_free(a);
            a = arena_new();
        }
        struct features x = o->x[i];
        x.kind = r->policy->kind == BY_LABEL || !o->has_text ? x.kind : S("");
        learner_predict(l, &x, p, a);
        for (uint32_t m = 0; m < k; m++) {
            r->quality[(size_t)i * k + m] = p[m].score;
            r->chance[(size_t)i * k + m] = p[m].quality;
            r->cost[(size_t)i * k + m] = p[m].cost_usd;
        }
        if (ev->noisy[i].bytes && x.kind.len == 0) {
            const float *quality = o->quality + (size_t)i * k;
            uint32_t before = best_score(p, quality, k);
            learner_predict(l, &ev->noisy[i], p, a);
            job->asked_again++;
            job->chosen_again += best_score(p, quality, k) == before;
        }
    }
    arena_free(a);
    free(p);
    learner_free(l);
    free(train);
    return rc;
}

static void *crew_work(void *arg)
{
    struct crew *c = arg;
    for (uint32_t at; (at = atomic_fetch_add(&c->next, 1)) < c->n;) {
        struct err e = { 0 };
        uint64_t from = clock_now();
        int rc = job_run(c->ev, &c->jobs[at], &e);
        pthread_mutex_lock(&c->lock);
        struct result *r = &c->ev->results[c->jobs[at].result];
        r->seconds += (double)(clock_now() - from) / 1e9;
        r->asked_again += c->jobs[at].asked_again;
        r->chosen_again += c->jobs[at].chosen_again;
        if (rc < 0 && !c->ev->err.text[0])
            c->ev->err = e;
        pthread_mutex_unlock(&c->lock);
        atomic_fetch_add(&c->done, 1);
    }
    return NULL;
}

static int predict_all(struct evaluation *ev, uint32_t n_threads)
{
    static struct crew crew = { .lock = PTHREAD_MUTEX_INITIALIZER };
    crew.ev = ev;
    for (uint32_t r = ev->n_results; r-- > 0;)          /* the dear ones come last in the list, so first here */
        if (ev->results[r].quality && !ev->results[r].twin)
            for (uint32_t f = 0; f < ev->n_folds; f++)
                crew.jobs[crew.n++] = (struct job){ .result = r, .fold = f };
    pthread_t threads[THREADS_MAX];
    uint32_t started = 0;
    struct progress bar = progress_start("folds");
    while (started < n_threads && started < crew.n && pthread_create(&threads[started], NULL, crew_work, &crew) == 0)
        started++;
    if (started == 0)
        crew_work(&crew);
    for (uint32_t done; (done = atomic_load(&crew.done)) < crew.n;) {
        progress_show(&bar, (double)done / crew.n, done);
        usleep(20000);
    }
    for (uint32_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    progress_end(&bar);
    return ev->err.text[0] ? -1 : 0;
}

/* ---- arithmetic on predictions ---- */

static uint32_t cheapest_first(const struct evaluation *ev, uint32_t i, uint32_t best, double value, double best_value,
                               uint32_t m)
{
    (void)i;
    if (value != best_value)
        return value > best_value ? m : best;
    return ev->model_cost && ev->model_cost[m] < ev->model_cost[best] ? m : best;
}

/* The model that quality - w cost chooses among those that answered query i. */
static uint32_t choose(const struct evaluation *ev, const struct result *r, uint32_t i, double w)
{
    const struct outcomes *o = &ev->o;
    uint32_t best = UINT32_MAX;
    double best_value = -INFINITY;
    for (uint32_t m = 0; m < o->n_models; m++) {
        size_t at = (size_t)i * o->n_models + m;
        if (isnan(o->quality[at]))
            continue;
        double cost = w > 0 ? (double)r->cost[at] : 0, value = (double)r->quality[at] -
            (w > 0 ? w * (isnan(cost) ? ev->model_cost[m] : cost) : 0);
        if (best == UINT32_MAX)
            best = m, best_value = value;
        else if ((best = cheapest_first(ev, i, best, value, best_value, m)) == m)
            best_value = value;
    }
    return best;
}

static double cost_at(const struct evaluation *ev, uint32_t i, uint32_t m)
{
    if (!ev->o.cost_usd)
        return 0;
    float c = ev->o.cost_usd[(size_t)i * ev->o.n_models + m];
    return isnan(c) ? ev->model_cost[m] : (double)c;
}

/* The model that all of the other folds were best with; where it has no score, the mean of the row stands in. */
static double best_at(const struct evaluation *ev, uint32_t i)
{
    const struct outcomes *o = &ev->o;
    const float *row = o->quality + (size_t)i * o->n_models;
    uint32_t b = ev->best[ev->fold[i]];
    if (!isnan(row[b]))
        return (double)row[b];
    double sum = 0, n = 0;
    for (uint32_t m = 0; m < o->n_models; m++)
        if (!isnan(row[m]))
            sum += (double)row[m], n++;
    return n ? sum / n : 0;
}

/* Does the judge accept what model m answered to query i? */
static bool is_accepted(const struct evaluation *ev, uint32_t i, uint32_t m)
{
    uint64_t coin = hash_mix(ev->o.query[i] ^ hash_mix(ev->judge_repeats ? 0 : m + 1));
    bool is_right = ev->o.quality[(size_t)i * ev->o.n_models + m] >= 0.5f, is_mistaken = rand_unit(&coin) < ev->judge_error;
    return is_right != is_mistaken;
}

/* What answers a query: the model whose answer is given, and what all that were asked cost. */
struct played { double quality, cost; uint32_t model; };

/* Asks the first n_judged of `order` until one is accepted; else `last` answers, who is asked now if he was not among them. */
static struct played played_down(const struct evaluation *ev, uint32_t i, const uint32_t *order, uint32_t n_judged, uint32_t last)
{
    struct played p = { .model = last };
    bool is_asked = false;
    for (uint32_t k = 0; k < n_judged; k++) {
        p.cost += cost_at(ev, i, order[k]) + ev->judge_cost;
        is_asked |= order[k] == last;
        if (is_accepted(ev, i, order[k])) {
            p.model = order[k];
            is_asked = true;
            break;
        }
    }
    p.cost += is_asked ? 0 : cost_at(ev, i, last);
    p.quality = (double)ev->o.quality[(size_t)i * ev->o.n_models + p.model];
    return p;
}

static struct played play_cascade(const struct evaluation *ev, const struct result *r, uint32_t i, double w)
{
    static _Thread_local struct cascade_model models[LEARNER_MODELS_MAX];
    static _Thread_local struct cascade plan;
    uint32_t n = 0, at[LEARNER_MODELS_MAX];
    for (uint32_t m = 0; m < ev->o.n_models; m++) {
        size_t cell = (size_t)i * ev->o.n_models + m;
        if (isnan(ev->o.quality[cell]))
            continue;
        double cost = !ev->o.cost_usd ? 0 : isnan(r->cost[cell]) ? ev->model_cost[m] : (double)r->cost[cell];
        models[n] = (struct cascade_model){ (double)r->chance[cell], cost };
        at[n++] = m;
    }
    if (n == 0)
        return (struct played){ .model = UINT32_MAX };
    cascade_plan(models, n, &(struct cascade_terms){ w, ev->judge_error, ev->judge_cost }, &plan);
    for (uint32_t k = 0; k < plan.n; k++)
        plan.order[k] = at[plan.order[k]];
    return played_down(ev, i, plan.order, plan.n_judged, at[plan.last]);
}

static struct played play_chain(const struct evaluation *ev, uint32_t i)
{
    uint32_t order[LEARNER_MODELS_MAX], n = 0, f = ev->fold[i];
    for (uint32_t k = 0; k < ev->n_chain[f]; k++)
        if (!isnan(ev->o.quality[(size_t)i * ev->o.n_models + ev->chain[f][k]]))
            order[n++] = ev->chain[f][k];
    return n ? played_down(ev, i, order, n - 1, order[n - 1]) : (struct played){ .model = UINT32_MAX };
}

static struct played play_all(const struct evaluation *ev, uint32_t i)         /* the mean over models */
{
    const float *row = ev->o.quality + (size_t)i * ev->o.n_models;
    struct played p = { .model = UINT32_MAX };
    double n = 0;
    for (uint32_t m = 0; m < ev->o.n_models; m++)
        if (!isnan(row[m]))
            p.quality += (double)row[m], p.cost += cost_at(ev, i, m), p.model = m, n++;
    p.quality /= n, p.cost /= n;
    return p;
}

/* Query i by a policy, where a USD is worth w of quality. model UINT32_MAX: nobody has an answer. */
static struct played play(const struct evaluation *ev, const struct result *r, uint32_t i, double w)
{
    switch (r->policy->kind) {
    case RANDOM: return play_all(ev, i);
    case CASCADE: return play_cascade(ev, r, i, w);
    case CHAIN: return play_chain(ev, i);
    case BY_LEARNER: case BY_LABEL: case ORACLE: case FIRST: break;
    }
    uint32_t m = r->quality ? choose(ev, r, i, w) : r->choice[i];
    if (m == UINT32_MAX)
        return (struct played){ .model = m };
    return (struct played){ (double)ev->o.quality[(size_t)i * ev->o.n_models + m], cost_at(ev, i, m), m };
}

static double step_price(uint32_t s)    /* w of step s: 0, then 1e-2 to 1e6 */
{
    return s == 0 ? 0 : pow(10, -2 + 8.0 * (s - 1) / (STEPS - 2));
}

static uint32_t group_of(const struct evaluation *ev, uint32_t i)
{
    return (uint32_t)(hash_mix(ev->o.query[i]) % GROUPS);
}

struct sums { double cost[STEPS], quality[STEPS], best, best_cost, n; };

static void figures_of(const struct evaluation *ev, const struct sums *s, uint32_t n_steps, struct point *hull, size_t *n_hull,
                       double *aiq, double *saving)
{
    for (uint32_t k = 0; k < n_steps; k++)
        hull[k] = (struct point){ s->cost[k] / s->n, s->quality[k] / s->n };
    *n_hull = frontier_hull(hull, n_steps);
    *aiq = frontier_area(hull, *n_hull, ev->low, ev->high);
    *saving = 1 - frontier_cost(hull, *n_hull, s->best / s->n) / (s->best_cost / s->n);
}

/* Score, cost and, where costs are known, the frontier with its jackknife. */
static void result_frontier(struct evaluation *ev, struct result *r)
{
    const struct outcomes *o = &ev->o;
    uint32_t n_steps = o->cost_usd && r->quality ? STEPS : 1;
    struct sums *groups = calloc(GROUPS, sizeof *groups), all = { 0 };
    double squares = 0, difference = 0;
    for (uint32_t i = 0; i < o->n && groups; i++) {
        struct sums *g = &groups[group_of(ev, i)];
        double best = best_at(ev, i);
        g->n++;
        g->best += best;
        g->best_cost += cost_at(ev, i, ev->best[ev->fold[i]]);
        for (uint32_t s = 0; s < n_steps; s++) {
            struct played p = play(ev, r, i, step_price(s));
            double q = p.model == UINT32_MAX ? best : p.quality;
            if (s == 0) {
                difference += q - best;
                squares += (q - best) * (q - best);
                r->choice[i] = p.model;
            }
            g->quality[s] += q;
            g->cost[s] += p.cost;
        }
    }
    for (uint32_t g = 0; g < GROUPS && groups; g++)
        for (size_t k = 0; k < sizeof all / sizeof(double); k++)
            ((double *)&all)[k] += ((const double *)&groups[g])[k];
    r->score = all.quality[0] / all.n;
    r->cost_mean = o->cost_usd ? all.cost[0] / all.n : (double)NAN;
    r->difference = difference / all.n;
    r->difference_error = sqrt(fmax(squares / all.n - r->difference * r->difference, 0) / all.n);
    r->aiq = r->saving = r->aiq_error = r->saving_error = (double)NAN;
    if (n_steps == STEPS) {
        figures_of(ev, &all, STEPS, r->hull, &r->n_hull, &r->aiq, &r->saving);
        double a[2] = { 0 }, b[2] = { 0 };
        for (uint32_t g = 0; g < GROUPS; g++) {
            struct sums rest = all;
            struct point hull[STEPS];
            size_t n_hull;
            double aiq, saving;
            for (size_t k = 0; k < sizeof rest / sizeof(double); k++)
                ((double *)&rest)[k] -= ((const double *)&groups[g])[k];
            figures_of(ev, &rest, STEPS, hull, &n_hull, &aiq, &saving);
            a[0] += aiq, a[1] += aiq * aiq;
            saving = isnan(saving) ? 0 : saving;
            b[0] += saving, b[1] += saving * saving;
        }
        r->aiq_error = sqrt(fmax(a[1] - a[0] * a[0] / GROUPS, 0) * (GROUPS - 1) / GROUPS);
        r->saving_error = sqrt(fmax(b[1] - b[0] * b[0] / GROUPS, 0) * (GROUPS - 1) / GROUPS);
    }
    free(groups);
}

/* How far predictions lie from what happened: over all cells, ten bins of the prediction. */
static void result_calibration(const struct evaluation *ev, struct result *r)
{
    double n[BINS] = { 0 }, said[BINS] = { 0 }, was[BINS] = { 0 }, squares = 0, cells = 0;
    for (size_t i = 0; i < (size_t)ev->o.n * ev->o.n_models; i++) {
        double q = (double)r->chance[i], y = (double)ev->o.quality[i];
        if (isnan(y))
            continue;
        int b = q >= 1 ? BINS - 1 : q > 0 ? (int)(q * BINS) : 0;
        n[b]++, said[b] += q, was[b] += y;
        squares += (q - y) * (q - y);
        cells++;
    }
    r->brier = squares / cells;
    r->calibration = 0;
    for (int b = 0; b < BINS; b++)
        r->calibration += fabs(said[b] - was[b]) / cells;
}

struct ranked { float key; uint32_t row; };

static int by_key(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return x->key > y->key ? -1 : x->key < y->key ? 1 : x->row < y->row ? -1 : x->row > y->row;
}

/* RouteLLM's protocol for two models: PGR at eleven shares of the strong one, trapezoid; the mean over folds, on queries whose
 * task starts with `prefix`. */
static double apgr_of(const struct evaluation *ev, const struct result *r, uint32_t strong, str prefix, double *error)
{
    const struct outcomes *o = &ev->o;
    struct ranked *rows = malloc(o->n * sizeof *rows);
    double sum = 0, squares = 0, folds = 0;
    for (uint32_t f = 0; f < ev->n_folds && rows; f++) {
        uint32_t n = 0;
        for (uint32_t i = 0; i < o->n; i++)
            if (ev->fold[i] == f && str_starts(o->task[i], prefix) && !isnan(o->quality[2 * i]) && !isnan(o->quality[2 * i + 1]))
                rows[n++] = (struct ranked){ r->quality[2 * i + strong] - r->quality[2 * i + !strong], i };
        qsort(rows, n, sizeof *rows, by_key);
        double gained = 0, whole = 0, area = 0, before = 0;
        for (uint32_t i = 0; i < n; i++)
            whole += (double)(o->quality[2 * rows[i].row + strong] - o->quality[2 * rows[i].row + !strong]);
        for (uint32_t s = 1, i = 0; s < SHARES && whole > 0; s++) {
            for (; i < (uint32_t)lround((double)n * s / (SHARES - 1)); i++)
                gained += (double)(o->quality[2 * rows[i].row + strong] - o->quality[2 * rows[i].row + !strong]);
            area += (before + gained / whole) / 2 / (SHARES - 1);
            before = gained / whole;
        }
        if (whole > 0)
            sum += area, squares += area * area, folds++;
    }
    free(rows);
    *error = folds > 1 ? sqrt(fmax(squares - sum * sum / folds, 0) / (folds - 1) / folds) : (double)NAN;
    return folds ? sum / folds : (double)NAN;
}

/* Every model that is better than all cheaper ones, by rising cost. Returns how many; out[n]. */
static uint32_t chain_of(const double *score, const double *cost, uint32_t n, uint32_t *out)
{
    uint32_t kept = 0;
    double above = -INFINITY;
    for (;;) {
        uint32_t next = UINT32_MAX;     /* the cheapest of those that are better than the last */
        for (uint32_t m = 0; m < n; m++)
            if (score[m] > above && (next == UINT32_MAX || cost[m] < cost[next] || (cost[m] <= cost[next] && score[m] > score[next])))
                next = m;
        if (next == UINT32_MAX)
            return kept;
        out[kept++] = next;
        above = score[next];
    }
}

static int pool_prepare(struct evaluation *ev)
{
    const struct outcomes *o = &ev->o;
    uint32_t k = o->n_models;
    ev->model_score = ARENA_ARRAY(ev->a, double, k);
    ev->model_cost = o->cost_usd ? ARENA_ARRAY(ev->a, double, k) : NULL;
    ev->best = ARENA_ARRAY(ev->a, uint32_t, ev->n_folds);
    ev->chain = ARENA_ARRAY(ev->a, uint32_t *, ev->n_folds);
    ev->n_chain = ARENA_ARRAY(ev->a, uint32_t, ev->n_folds);
    double *fold_score = ARENA_ARRAY(ev->a, double, k), *fold_cost = ARENA_ARRAY(ev->a, double, k);
    for (uint32_t f = 0; f <= ev->n_folds; f++) {       /* the last round: all rows */
        double best = -INFINITY;
        for (uint32_t m = 0; m < k; m++) {
            double sum = 0, n = 0, cost = 0, costs = 0;
            for (uint32_t i = 0; i < o->n; i++) {
                size_t at = (size_t)i * k + m;
                if (ev->fold[i] == f)
                    continue;
                if (!isnan(o->quality[at]))
                    sum += (double)o->quality[at], n++;
                if (o->cost_usd && !isnan(o->cost_usd[at]))
                    cost += (double)o->cost_usd[at], costs++;
            }
            fold_score[m] = n ? sum / n : -1;
            fold_cost[m] = costs ? cost / costs : 0;
            if (f < ev->n_folds && n && sum / n > best)
                best = sum / n, ev->best[f] = m;
            if (f == ev->n_folds) {
                ev->model_score[m] = n ? sum / n : 0;
                if (o->cost_usd)
                    ev->model_cost[m] = costs ? cost / costs : 0;
            }
        }
        if (f < ev->n_folds) {
            ev->chain[f] = ARENA_ARRAY(ev->a, uint32_t, k);
            ev->n_chain[f] = chain_of(fold_score, fold_cost, k, ev->chain[f]);
        }
    }
    ev->low = INFINITY, ev->high = -INFINITY;
    for (uint32_t m = 0; m < k && o->cost_usd; m++) {
        ev->low = fmin(ev->low, ev->model_cost[m]);
        ev->high = fmax(ev->high, ev->model_cost[m]);
        ev->singles[ev->n_singles++] = (struct point){ ev->model_cost[m], ev->model_score[m] };
    }
    ev->n_singles = frontier_hull(ev->singles, ev->n_singles);
    ev->singles_aiq = o->cost_usd ? frontier_area(ev->singles, ev->n_singles, ev->low, ev->high) : (double)NAN;
    for (uint32_t i = 0; i < o->n; i++) {
        ev->best_score += best_at(ev, i) / o->n;
        ev->best_cost += cost_at(ev, i, ev->best[ev->fold[i]]) / o->n;
    }
    return 0;
}

static bool is_one_model(const struct result *r)       /* what is asked follows from predictions alone, and it is one */
{
    return r->policy->kind == BY_LEARNER || r->policy->kind == BY_LABEL;
}

static void results_compute(struct evaluation *ev)
{
    const struct outcomes *o = &ev->o;
    for (uint32_t k = 0; k < ev->n_results; k++) {
        struct result *r = &ev->results[k];
        r->calibration = r->brier = r->apgr = r->apgr_error = (double)NAN;
        for (uint32_t i = 0; i < o->n && !r->quality; i++) {
            const float *row = o->quality + (size_t)i * o->n_models;
            uint32_t best = UINT32_MAX;
            for (uint32_t m = 0; m < o->n_models; m++)
                if (!isnan(row[m]) && (best == UINT32_MAX || (r->policy->kind == ORACLE && (row[m] > row[best] ||
                                       (row[m] >= row[best] && cost_at(ev, i, m) < cost_at(ev, i, best))))))
                    best = m;
            r->choice[i] = best;
        }
        result_frontier(ev, r);
        if (is_one_model(r))
            result_calibration(ev, r);
        if (is_one_model(r) && o->n_models == 2)
            r->apgr = apgr_of(ev, r, ev->model_score[1] > ev->model_score[0], S(""), &r->apgr_error);
    }
}

/* ---- telling ---- */

/* "+0.0321 (0.0047)", right-aligned; error NAN: none. */
static void number_put(double v, double error, int digits, const char *unit, bool has_sign, int width)
{
    char text[64] = "-";
    if (!isnan(v) && isnan(error))
        snprintf(text, sizeof text, has_sign ? "%+.*f%s" : "%.*f%s", digits, v, unit);
    else if (!isnan(v))
        snprintf(text, sizeof text, has_sign ? "%+.*f%s (%.*f)" : "%.*f%s (%.*f)", digits, v, unit, digits, error);
    printf(" %*s", width, text);
}

/* The groups of tasks that have a name of their own in front of a slash ("mmlu/law"), and tasks without one. */
static uint32_t groups_list(const struct evaluation *ev, str *out, uint32_t max)
{
    uint32_t n = 0;
    for (uint32_t t = 0; t < ev->o.n_tasks && n < max; t++) {
        str rest = ev->o.tasks[t], head = str_cut(&rest, '/');
        uint32_t i = 0;
        while (i < n && !str_eq(out[i], head))
            i++;
        if (i == n)
            out[n++] = head;
    }
    return n < max ? n : 0;
}

static void table_print(const struct evaluation *ev)
{
    const struct outcomes *o = &ev->o;
    printf(STR_FMT ": %u queries, %u models, %u tasks; %u folds by question\n", STR_ARG(o->name), o->n, o->n_models, o->n_tasks,
           ev->n_folds);
    if (o->n_dropped)
        printf("%u models are left out: their costs are not known\n", o->n_dropped);
    for (uint32_t i = 0; i < o->n_constant; i++)
        printf(STR_FMT " is left out: it gives everything the same answer, whatever its scores\n", STR_ARG(o->constant[i]));
    printf("best single model " STR_FMT ": score %.4f", STR_ARG(o->models[ev->best[0]]), ev->best_score);
    if (o->cost_usd)
        printf(", cost %.3g USD; hull of single models: AIQ %.4f", ev->best_cost, ev->singles_aiq);
    for (uint32_t k = 0; k < ev->n_results; k++)
        if (ev->results[k].policy->kind == CASCADE || ev->results[k].policy->kind == CHAIN) {
            printf("\nthe judge of cascades is mistaken with chance %g%s and costs %g USD", ev->judge_error,
                   ev->judge_repeats ? " (about a question, whoever answered)" : "", ev->judge_cost);
            break;
        }
    printf("\n  %-11s %7s %18s %10s %14s %16s %7s %7s %6s", "policy", "score", "difference (SE)", "cost", "saving (SE)",
           "AIQ (SE)", "ECE", "Brier",
           "stable");
    printf(o->n_models == 2 ? " %14s\n" : "\n", "APGR (SE)");
    for (uint32_t k = 0; k < ev->n_results; k++) {
        const struct result *r = &ev->results[k];
        printf("  %-11s", r->policy->name);
        number_put(r->score, (double)NAN, 4, "", false, 7);
        number_put(r->difference, r->difference_error, 4, "", true, 18);
        if (isnan(r->cost_mean))
            printf(" %10s", "-");
        else
            printf(" %10.3g", r->cost_mean);
        number_put(100 * r->saving, 100 * r->saving_error, 1, "%", false, 14);
        number_put(r->aiq, r->aiq_error, 4, "", false, 16);
        number_put(r->calibration, (double)NAN, 4, "", false, 7);
        number_put(r->brier, (double)NAN, 4, "", false, 7);
        number_put(r->asked_again ? 100.0 * r->chosen_again / r->asked_again : (double)NAN, (double)NAN, 1, "%", false, 6);
        if (o->n_models == 2)
            number_put(r->apgr, r->apgr_error, 3, "", false, 14);
        printf("\n");
    }
    str groups[16];
    uint32_t n = o->n_models == 2 ? groups_list(ev, groups, 16) : 0;
    for (uint32_t g = 0; g < n && n > 1; g++) {
        printf("  APGR on " STR_FMT ":", STR_ARG(groups[g]));
        for (uint32_t k = 0; k < ev->n_results; k++) {
            double error, v = is_one_model(&ev->results[k]) ? apgr_of(ev, &ev->results[k], ev->model_score[1] > ev->model_score[0],
                                                               groups[g], &error) : (double)NAN;
            if (!isnan(v))
                printf(" %s %.3f (%.3f)", ev->results[k].policy->name, v, error);
        }
        printf("\n");
    }
}

static void points_json(struct json_writer *j, const char *key, const struct point *p, size_t n)
{
    put_open(j, str_of(key), '[');
    for (size_t i = 0; i < n; i++) {
        jw_begin(j, '[');
        jw_double(j, p[i].cost);
        jw_double(j, p[i].quality);
        jw_end(j, ']');
    }
    jw_end(j, ']');
}

static void json_print(const struct evaluation *ev)
{
    const struct outcomes *o = &ev->o;
    struct buf out = { 0 };
    struct json_writer j = { .out = &out };
    jw_begin(&j, '{');
    put_str(&j, S("set"), o->name);
    put_int(&j, S("queries"), o->n);
    put_int(&j, S("models"), o->n_models);
    put_int(&j, S("folds"), ev->n_folds);
    put_double(&j, S("judge_error"), ev->judge_error);
    put_double(&j, S("judge_cost"), ev->judge_cost);
    put_bool(&j, S("judge_repeats"), ev->judge_repeats);
    put_strs(&j, S("left_out"), o->dropped, o->n_dropped);
    put_strs(&j, S("left_out_constant"), o->constant, o->n_constant);
    put_open(&j, S("best_single"), '{');
    put_str(&j, S("model"), o->models[ev->best[0]]);
    put_double(&j, S("score"), ev->best_score);
    put_double(&j, S("cost"), o->cost_usd ? ev->best_cost : (double)NAN);
    put_double(&j, S("hull_aiq"), ev->singles_aiq);
    points_json(&j, "hull", ev->singles, ev->n_singles);
    jw_end(&j, '}');
    put_open(&j, S("policies"), '{');
    str groups[16];
    uint32_t n_groups = o->n_models == 2 ? groups_list(ev, groups, 16) : 0;
    for (uint32_t k = 0; k < ev->n_results; k++) {
        const struct result *r = &ev->results[k];
        put_open(&j, str_of(r->policy->name), '{');
        const struct { const char *key; double value; } figures[] = {
            { "score", r->score }, { "difference", r->difference }, { "standard_error", r->difference_error },
                { "cost", r->cost_mean },
            { "saving_at_best_single", r->saving }, { "saving_standard_error", r->saving_error }, { "aiq", r->aiq },
            { "aiq_standard_error", r->aiq_error }, { "ece", r->calibration }, { "brier", r->brier }, { "apgr", r->apgr },
            { "apgr_standard_error", r->apgr_error }, { "same_under_noise", r->asked_again
                                                        ? (double)r->chosen_again / r->asked_again : (double)NAN },
                                                            { "seconds", r->seconds },
        };
        for (size_t i = 0; i < COUNT_OF(figures); i++)
            put_double(&j, str_of(figures[i].key), figures[i].value);
        points_json(&j, "hull", r->hull, r->n_hull);
        if (n_groups > 1 && is_one_model(r)) {
            put_open(&j, S("apgr_by_task"), '{');
            for (uint32_t g = 0; g < n_groups; g++) {
                double error, v = apgr_of(ev, r, ev->model_score[1] > ev->model_score[0], groups[g], &error);
                put_open(&j, groups[g], '{');
                put_double(&j, S("apgr"), v);
                put_double(&j, S("standard_error"), error);
                jw_end(&j, '}');
            }
            jw_end(&j, '}');
        }
        jw_end(&j, '}');
    }
    jw_end(&j, '}');
    jw_end(&j, '}');
    buf_char(&out, '\n');
    cli_put(stdout, buf_view(&out));
    buf_free(&out);
}

/* ---- the picture: quality against cost, which is logarithmic: pools span a factor of a thousand ---- */

struct frame { double low, high, bottom, top; };        /* log10 of USD a query; quality */

static float frame_x(const struct frame *f, double cost)
{
    double at = (log10(fmax(cost, 1e-12)) - f->low) / (f->high - f->low);
    return (float)fmin(fmax(at, 0), 1);
}

static float frame_y(const struct frame *f, double quality)
{
    return (float)fmin(fmax((quality - f->bottom) / (f->top - f->bottom), 0), 1);
}

static void line_draw(struct buf *out, const struct frame *f, const struct point *p, size_t n, const char *name)
{
    float x[LEARNER_MODELS_MAX + STEPS], y[LEARNER_MODELS_MAX + STEPS];
    for (size_t i = 0; i < n; i++)
        x[i] = frame_x(f, p[i].cost), y[i] = frame_y(f, p[i].quality);
    if (n)
        report_line(out, x, y, n, name);
}

static void picture_draw(struct buf *out, const struct evaluation *ev)
{
    const struct outcomes *o = &ev->o;
    struct frame f = { log10(fmax(ev->low, 1e-12)), log10(fmax(ev->high, 1e-12)), 1, 0 };
    for (size_t i = 0; i < ev->n_singles; i++)
        f.bottom = fmin(f.bottom, ev->singles[i].quality), f.top = fmax(f.top, ev->singles[i].quality);
    for (uint32_t k = 0; k < ev->n_results; k++) {
        const struct result *r = &ev->results[k];
        f.top = fmax(f.top, r->score);
        if (r->cost_mean > 0)
            f.low = fmin(f.low, log10(r->cost_mean));
        if (r->n_hull && r->hull[0].cost > 0)
            f.low = fmin(f.low, log10(r->hull[0].cost));
    }
    f.top += 0.02, f.bottom -= 0.02;
    f.high = f.high > f.low ? f.high : f.low + 1;
    report_svg_begin(out);
    report_axes(out, "USD a query (logarithmic)", "quality", (struct report_range){ f.low, f.high, true },
                (struct report_range){ f.bottom, f.top, false });
    char hint[256];
    for (uint32_t m = 0; m < o->n_models; m++) {
        snprintf(hint, sizeof hint, "%.*s: %.4f at %.3g USD", (int)(o->models[m].len < 128 ? o->models[m].len : 128),
                 o->models[m].ptr, ev->model_score[m],
                 ev->model_cost[m]);
        if (ev->model_score[m] >= f.bottom)
            report_dot(out, frame_x(&f, ev->model_cost[m]), frame_y(&f, ev->model_score[m]), "#9ca3af", hint);
    }
    line_draw(out, &f, ev->singles, ev->n_singles, "hull of single models");
    for (uint32_t k = 0; k < ev->n_results; k++) {
        const struct result *r = &ev->results[k];
        if (r->n_hull && (r->policy->kind == BY_LEARNER || r->policy->kind == CASCADE) && !str_eq(str_of(r->policy->name), S("mean")))
            line_draw(out, &f, r->hull, r->n_hull, r->policy->name);
        else if (!r->quality && r->cost_mean > 0 && r->score >= f.bottom)
            report_mark(out, frame_x(&f, r->cost_mean), frame_y(&f, r->score), r->policy->name);
    }
    report_svg_end(out);
}

static void percent_cell(struct buf *page, double v, double error)
{
    if (isnan(v))
        report_cell(page, "-");
    else
        report_cell(page, "%.1f %% ± %.1f", 100 * v, 100 * error);
}

static int page_write(const struct evaluation *ev, const char *path, struct err *e)
{
    static const char *const heads[] = { "policy", "score", "difference to the best single model", "USD a query",
                                         "saved at its quality", "AIQ", "ECE",
                                         "Brier", "what it does", NULL };
    static const char *const model_heads[] = { "model", "score", "USD a query", NULL };
    const struct outcomes *o = &ev->o;
    struct buf page = { 0 };
    report_begin(&page, arena_printf(ev->a, "Selection on " STR_FMT, STR_ARG(o->name)));
    report_text(&page, "%u queries, %u models, %u folds by question: every figure is of queries that the policy had not seen. "
                "Best single model: %.*s, "
                "%.4f. Standard errors: paired for differences, a jackknife over questions for savings and AIQ.", o->n,
                    o->n_models, ev->n_folds,
                (int)o->models[ev->best[0]].len, o->models[ev->best[0]].ptr, ev->best_score);
    if (o->cost_usd)
        picture_draw(&page, ev);
    report_table_begin(&page, heads);
    for (uint32_t k = 0; k < ev->n_results; k++) {
        const struct result *r = &ev->results[k];
        report_row_begin(&page);
        report_cell(&page, "%s", r->policy->name);
        report_cell(&page, "%.4f", r->score);
        report_cell(&page, "%+.4f ± %.4f", r->difference, r->difference_error);
        report_cell(&page, isnan(r->cost_mean) ? "-" : "%.3g", r->cost_mean);
        percent_cell(&page, r->saving, r->saving_error);
        report_cell(&page, isnan(r->aiq) ? "-" : "%.4f ± %.4f", r->aiq, r->aiq_error);
        report_cell(&page, isnan(r->calibration) ? "-" : "%.4f", r->calibration);
        report_cell(&page, isnan(r->brier) ? "-" : "%.4f", r->brier);
        report_cell(&page, "%s", r->policy->about);
        report_row_end(&page);
    }
    report_table_end(&page);
    report_table_begin(&page, model_heads);
    for (uint32_t m = 0; m < o->n_models; m++) {
        report_row_begin(&page);
        report_cell(&page, "%.*s", (int)(o->models[m].len < 128 ? o->models[m].len : 128), o->models[m].ptr);
        report_cell(&page, "%.4f", ev->model_score[m]);
        report_cell(&page, o->cost_usd ? "%.3g" : "-", o->cost_usd ? ev->model_cost[m] : 0.0);
        report_row_end(&page);
    }
    report_table_end(&page);
    int rc = report_end(&page, path, e);
    buf_free(&page);
    return rc;
}

static int svg_write(const struct evaluation *ev, const char *path, struct err *e)
{
    struct buf out = { 0 };
    if (!ev->o.cost_usd)
        return err_set(e, "a picture of quality against cost needs costs.csv");
    picture_draw(&out, ev);
    int rc = report_write(&out, path, e);
    buf_free(&out);
    return rc;
}

/* ---- the command ---- */

struct wish {
    const char *folder, *html, *svg, *policies, *config;
    uint32_t n_folds, n_threads;
    uint64_t seed;
    double judge_error, judge_cost;
    bool judge_repeats, as_json, encodes;
};

static bool policies_choose(struct evaluation *ev, const char *list)
{
    bool is_all = list && strcmp(list, "all") == 0;
    str rest = str_of(list && !is_all ? list : "");
    for (size_t i = 0; i < COUNT_OF(policies) && (!list || is_all); i++)
        if ((is_all || policies[i].is_default) && (!policies[i].learner || learner_by_name(str_of(policies[i].learner))))
            ev->results[ev->n_results++].policy = &policies[i];
    while (rest.len) {
        str name = str_trim(str_cut(&rest, ','));
        size_t i = 0;
        while (i < COUNT_OF(policies) && !str_eq(name, str_of(policies[i].name)))
            i++;
        if (i == COUNT_OF(policies) || ev->n_results == POLICIES_MAX) {
            fprintf(stderr, "signalbox evaluate selection: no policy is called '" STR_FMT "'; there is:", STR_ARG(name));
            for (i = 0; i < COUNT_OF(policies); i++)
                fprintf(stderr, " %s", policies[i].name);
            fprintf(stderr, "\n");
            return false;
        }
        ev->results[ev->n_results++].policy = &policies[i];
    }
    return ev->n_results > 0;
}

static int evaluation_run(struct evaluation *ev, const struct wish *w, struct err *e)
{
    if (outcomes_read(&ev->o, ev->a, w->folder, false, e) < 0)
        return -1;
    const struct outcomes *o = &ev->o;
    ev->n_folds = w->n_folds;
    ev->judge_error = w->judge_error;
    ev->judge_cost = w->judge_cost;
    ev->judge_repeats = w->judge_repeats;
    ev->fold = ARENA_ARRAY(ev->a, uint32_t, o->n);
    outcomes_deal(o, w->n_folds, w->seed, ev->fold);
    if (o->n < 2 * w->n_folds)
        return err_set(e, "%u queries are too few for %u folds", o->n, w->n_folds);
    str *noisy_text = ARENA_ARRAY(ev->a, str, o->n);
    noisy_read(ev, noisy_text);
    if (w->encodes && !vectors_read(ev, noisy_text, w->config))
        return -1;
    size_t cells = (size_t)o->n * o->n_models;
    for (uint32_t k = 0; k < ev->n_results; k++) {
        struct result *r = &ev->results[k];
        r->choice = ARENA_ARRAY(ev->a, uint32_t, o->n);
        for (uint32_t j = 0; j < k && r->policy->learner && !r->twin; j++)
            if (ev->results[j].policy->learner == r->policy->learner && (ev->results[j].policy->kind == BY_LABEL) ==
                (r->policy->kind == BY_LABEL))
                r->twin = &ev->results[j];
        if (r->twin) {
            r->quality = r->twin->quality, r->chance = r->twin->chance, r->cost = r->twin->cost;
        } else if (r->policy->learner) {
            r->quality = arena_try(ev->a, cells * sizeof(float));
            r->cost = arena_try(ev->a, cells * sizeof(float));
            r->chance = arena_try(ev->a, cells * sizeof(float));
            if (!r->quality || !r->cost || !r->chance)
                return err_set(e, "no memory for the predictions of %s", r->policy->name);
        }
    }
    pool_prepare(ev);
    if (predict_all(ev, w->n_threads) < 0) {
        *e = ev->err;
        return -1;
    }
    results_compute(ev);
    return 0;
}

int cli_evaluate_selection(int argc, char **argv)
{
    struct cli_args args = cli_args_start("evaluate", argc, argv);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct wish w = { .n_folds = 5, .seed = 1, .n_threads = cores > 1 ? (uint32_t)(cores < THREADS_MAX ? cores : THREADS_MAX)
                      : 1 };
    int64_t v = 0;
    for (int id; (id = cli_next(&args)) != CLI_END;) {
        switch (id) {
        case 'j': w.as_json = true; break;
        case 'H': w.html = args.value; break;
        case 'V': w.svg = args.value; break;
        case 'p': w.policies = args.value; break;
        case 'c': w.config = args.value; break;
        case 'E': w.encodes = true; break;
        case 'f':
            if (!str_int(str_of(args.value), &v) || v < 2 || v > FOLDS_MAX)
                return cli_usage_error("evaluate", "--folds is a number from 2 to %d", FOLDS_MAX);
            w.n_folds = (uint32_t)v;
            break;
        case 'S':
            if (!str_int(str_of(args.value), &v) || v < 0)
                return cli_usage_error("evaluate", "--seed is a whole number");
            w.seed = (uint64_t)v;
            break;
        case 'T':
            if (!str_int(str_of(args.value), &v) || v < 1 || v > THREADS_MAX)
                return cli_usage_error("evaluate", "--threads is a number from 1 to %d", THREADS_MAX);
            w.n_threads = (uint32_t)v;
            break;
        case 'J':
            if (!str_double(str_of(args.value), &w.judge_error) || w.judge_error < 0 || w.judge_error > 0.5)
                return cli_usage_error("evaluate", "--judge-error is a chance from 0 to 0.5");
            break;
        case 'Q': w.judge_repeats = true; break;
        case 'C':
            if (!str_double(str_of(args.value), &w.judge_cost) || w.judge_cost < 0)
                return cli_usage_error("evaluate", "--judge-cost is USD of one judgement, not below 0");
            break;
        case CLI_WORD:
            if (w.folder)
                return cli_usage_error("evaluate", "one folder at a time; what is '%s'?", args.value);
            w.folder = args.value;
            break;
        default: return CLI_USAGE;
        }
    }
    if (!w.folder)
        return cli_usage_error("evaluate", "a folder of recorded outcomes is needed: signalbox evaluate selection DIR");
    struct evaluation *ev = calloc(1, sizeof *ev);
    struct err e = { 0 };
    int rc = CLI_USAGE;
    if (ev && (ev->a = arena_new()) && policies_choose(ev, w.policies)) {
        rc = evaluation_run(ev, &w, &e) < 0 ? CLI_USAGE : CLI_FINE;
        if (rc == CLI_FINE && w.as_json)
            json_print(ev);
        else if (rc == CLI_FINE)
            table_print(ev);
        if (rc == CLI_FINE && ((w.html && page_write(ev, w.html, &e) < 0) || (w.svg && svg_write(ev, w.svg, &e) < 0)))
            rc = CLI_USAGE;
    }
    if (e.text[0])
        fprintf(stderr, "signalbox evaluate selection: %s\n", e.text);
    if (ev)
        arena_free(ev->a);
    free(ev);
    return rc;
}
