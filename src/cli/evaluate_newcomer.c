/* cli/evaluate_newcomer.c -- `evaluate newcomer`: what a new model is worth after how many outcomes.
 *
 * The best model of a recorded set plays the newcomer: its outcomes are hidden from the training folds but for so many, of chosen
 * rows (select/probe.h) or of random ones. The empty cells of its column become what is to be expected of it (select/newcomer.h), the
 * table learns from all that and chooses on the fold. Five folds by question, ten draws; the difference to a pool
 * without the newcomer is paired, its standard error is over questions (not over draws). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/put.h"
#include "base/rand.h"
#include "cli/cli.h"
#include "cli/outcomes.h"
#include "cli/rows.h"
#include "select/kinds.h"
#include "select/objective.h"
#include "select/probe.h"

enum { FOLDS = 5, DRAWS = 10, STAGES = 6, BATCH = 10 };         /* BATCH: rows that are chosen before their outcomes are known */

static const uint32_t labelled[STAGES] = { 0, 10, 30, 100, 300, UINT32_MAX };

struct report { double score, difference, error; };

struct trial {
    const struct outcomes *o;
    bool is_random;
    double caution;
    uint64_t seed;
    const uint32_t *fold;
    double *sum[STAGES];                /* [n] score of the query at that stage, mean over draws */
};

/* The training rows of one fold. r.quality holds the truth; nothing reads the newcomer's column of it but column_show and outcome_tell. */
struct lesson {
    struct recorded r;
    uint32_t f, newcomer, n_kinds, *kind;
    struct newcomer_prior prior;
    bool *is_hidden;
    float *quality;                     /* what the table gets to see */
};

static uint32_t best_model(const struct outcomes *o, const uint32_t *fold, uint32_t without)
{
    uint32_t best = 0;
    double most = -1;
    for (uint32_t m = 0; m < o->n_models; m++) {
        double sum = 0, n = 0;
        for (uint32_t i = 0; i < o->n; i++) {
            float q = o->quality[(size_t)i * o->n_models + m];
            if (fold[i] != without && !isnan(q))
                sum += (double)q, n++;
        }
        if (n > 0 && sum / n > most)
            most = sum / n, best = m;
    }
    return best;
}

/* The table learns what the lesson shows and chooses for the fold's queries. */
static int fold_judge(struct trial *t, const struct lesson *l, uint32_t stage, double share, struct err *e)
{
    const struct outcomes *o = t->o;
    uint32_t k = o->n_models;
    struct recorded r = l->r;
    struct arena *a = arena_new();
    struct prediction *p = ARENA_ARRAY(a, struct prediction, k);
    double *value = ARENA_ARRAY(a, double, k);
    struct learner *learner = learner_new("table", NULL);
    struct objective objective = { .quality = 1 };
    r.quality = l->quality;
    r.cost_usd = NULL;
    int rc = learner ? learner_fit(learner, &r, e) : err_set(e, "no memory");
    struct arena *scratch = NULL;
    for (uint32_t i = 0, since = 0; i < o->n && rc == 0; i++) {
        if (t->fold[i] != l->f)
            continue;
        if (since++ % 64 == 0) {
            arena_free(scratch);
            scratch = arena_new();
        }
        struct features x = o->x[i];
        x.kind = o->has_text ? S("") : x.kind;
        learner_predict(learner, &x, p, scratch);
        for (uint32_t m = 0; m < k; m++)
            if (isnan(o->quality[(size_t)i * k + m]) || (m == l->newcomer && labelled[stage] == 0))
                p[m].score = -1;
        t->sum[stage][i] += share * (double)o->quality[(size_t)i * k + objective_best(&objective, p, NULL, k, value)];
    }
    arena_free(scratch);
    learner_free(learner);
    arena_free(a);
    return rc;
}

/* The newcomer's column of the training rows: what is known of it (NULL: nothing), and nothing else. */
static void column_show(const struct lesson *l, const bool *is_known)
{
    for (uint32_t i = 0; i < l->r.n_rows; i++) {
        size_t cell = (size_t)recorded_row(&l->r, i) * l->r.n_models + l->newcomer;
        l->quality[cell] = is_known && is_known[i] ? l->r.quality[cell] : NAN;
    }
}

static void outcome_tell(const struct lesson *l, struct newcomer *w, uint32_t i)
{
    float q = l->r.quality[(size_t)recorded_row(&l->r, i) * l->r.n_models + l->newcomer];
    if (!isnan(q))
        newcomer_tell(w, i, (double)q);
}

/* One walk through the stages between nothing and all. */
static int draw_run(struct trial *t, const struct lesson *l, uint64_t seed, struct err *e)
{
    uint32_t n = l->r.n_rows, known = 0, batch[BATCH];
    struct arena *a = arena_new();
    struct newcomer w;
    bool *is_known = ARENA_ARRAY(a, bool, n);
    uint32_t *order = ARENA_ARRAY(a, uint32_t, n);
    int rc = newcomer_make(&w, &l->r, l->is_hidden, &l->prior, l->kind, l->n_kinds, a) ? 0 : err_set(e, "no memory");
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    if (t->is_random)
        rand_shuffle(&seed, order, n);
    for (uint32_t s = 1; s < STAGES - 1 && rc == 0; s++) {
        while (known < labelled[s] && known < n) {
            uint32_t wanted = labelled[s] - known < BATCH ? labelled[s] - known : BATCH;
            uint32_t got = t->is_random ? (n - known < wanted ? n - known : wanted)
                : probe_choose(&w, &l->r, is_known, wanted, PROBE_CHECKS, seed + known, batch, NULL);
            if (got == 0 || got == UINT32_MAX)
                break;
            for (uint32_t j = 0; j < got; j++) {
                uint32_t i = t->is_random ? order[known + j] : batch[j];
                is_known[i] = true;
                outcome_tell(l, &w, i);
            }
            known += got;
        }
        column_show(l, is_known);
        newcomer_fill(&w, &l->r, l->newcomer, t->caution, l->quality);
        rc = fold_judge(t, l, s, 1.0 / DRAWS, e);
    }
    arena_free(a);
    return rc;
}

static int fold_run(struct trial *t, uint32_t f, struct progress *bar, struct err *e)
{
    const struct outcomes *o = t->o;
    size_t cells = (size_t)o->n * o->n_models;
    struct arena *a = arena_new();
    struct lesson l = { .r = outcomes_recorded(o), .f = f, .newcomer = best_model(o, t->fold, f) };
    uint32_t *rows = ARENA_ARRAY(a, uint32_t, o->n);
    str *names = ARENA_ARRAY(a, str, LEARNER_KINDS_MAX);
    l.r.rows = rows;
    for (uint32_t i = 0; i < o->n; i++)
        if (t->fold[i] != f)
            rows[l.r.n_rows++] = i;
    l.kind = ARENA_ARRAY(a, uint32_t, o->n);
    l.is_hidden = ARENA_ARRAY(a, bool, o->n_models);
    l.is_hidden[l.newcomer] = true;
    l.n_kinds = kinds_name(&l.r, &(struct learner_spec){ .seed = t->seed }, true, l.kind, names, a);
    l.quality = malloc(cells * sizeof *l.quality);
    int rc = l.quality && l.n_kinds != UINT32_MAX ? 0 : err_set(e, "no memory");
    if (rc == 0) {
        l.prior = newcomer_prior(&l.r, l.is_hidden, l.kind, l.n_kinds);
        memcpy(l.quality, o->quality, cells * sizeof *l.quality);
        rc = fold_judge(t, &l, STAGES - 1, 1, e);
        column_show(&l, NULL);
    }
    rc = rc == 0 ? fold_judge(t, &l, 0, 1, e) : rc;
    for (uint32_t d = 0; d < DRAWS && rc == 0; d++) {
        rc = draw_run(t, &l, t->seed * 1000 + d * FOLDS + f, e);
        progress_show(bar, (f + (d + 1.0) / DRAWS) / FOLDS, f);
    }
    free(l.quality);
    arena_free(a);
    return rc;
}

/* Queries for which some stage has nobody with an outcome are left out at all of them. */
static struct report report_of(const struct trial *t, uint32_t stage)
{
    struct report r = { 0 };
    double n = 0, squares = 0;
    for (uint32_t i = 0; i < t->o->n; i++) {
        double whole = 0;
        for (uint32_t s = 0; s < STAGES; s++)
            whole += t->sum[s][i];
        if (isnan(whole))
            continue;
        double gain = t->sum[stage][i] - t->sum[0][i];
        r.score += t->sum[stage][i];
        r.difference += gain;
        squares += gain * gain;
        n++;
    }
    n = fmax(n, 1);
    r.score /= n;
    r.difference /= n;
    r.error = sqrt(fmax(squares / n - r.difference * r.difference, 0) / n);
    return r;
}

static int newcomer_run(struct trial *t, struct report out[STAGES], struct err *e)
{
    const struct outcomes *o = t->o;
    struct arena *a = arena_new();
    uint32_t *fold = ARENA_ARRAY(a, uint32_t, o->n);
    struct progress bar = progress_start("folds");
    int rc = 0;
    outcomes_deal(o, FOLDS, t->seed, fold);
    t->fold = fold;
    for (uint32_t s = 0; s < STAGES; s++)
        t->sum[s] = ARENA_ARRAY(a, double, o->n);
    for (uint32_t f = 0; f < FOLDS && rc == 0; f++)
        rc = fold_run(t, f, &bar, e);
    for (uint32_t s = 0; s < STAGES; s++)
        out[s] = report_of(t, s);
    progress_end(&bar);
    arena_free(a);
    return rc;
}

static void report_print(const struct report r[STAGES], bool as_json)
{
    struct buf text = { 0 };
    struct json_writer j = { .out = &text };
    jw_begin(&j, '[');
    for (uint32_t s = 0; s < STAGES; s++) {
        if (!as_json) {
            char label[16];
            snprintf(label, sizeof label, labelled[s] == UINT32_MAX ? "all" : "%u", labelled[s]);
            printf("  %4s outcomes of the newcomer: score %.4f, against a pool without it %+.4f (%.4f)\n", label, r[s].score,
                   r[s].difference, r[s].error);
        }
        jw_begin(&j, '{');
        put_double(&j, S("outcomes"), labelled[s] == UINT32_MAX ? (double)NAN : labelled[s]);
        put_double(&j, S("score"), r[s].score);
        put_double(&j, S("difference"), r[s].difference);
        put_double(&j, S("standard_error"), r[s].error);
        jw_end(&j, '}');
    }
    jw_end(&j, ']');
    buf_char(&text, '\n');
    if (as_json)
        cli_put(stdout, buf_view(&text));
    buf_free(&text);
}

int cli_evaluate_newcomer(int argc, char **argv)
{
    struct cli_args args = cli_args_start("evaluate", argc, argv);
    const char *folder = NULL;
    bool as_json = false;
    struct trial t = { .caution = NEWCOMER_CAUTION };
    int64_t seed = 1;
    for (int id; (id = cli_next(&args)) != CLI_END;) {
        switch (id) {
        case 'j': as_json = true; break;
        case 'S':
            if (!str_int(str_of(args.value), &seed) || seed < 0)
                return cli_usage_error("evaluate", "--seed is a whole number");
            break;
        case 'K':
            if (!str_double(str_of(args.value), &t.caution) || t.caution < 0)
                return cli_usage_error("evaluate", "--caution is a number of deviations");
            break;
        case 'B':
            t.is_random = strcmp(args.value, "random") == 0;
            if (!t.is_random && strcmp(args.value, "active") != 0)
                return cli_usage_error("evaluate", "--probes is active or random, not '%s'", args.value);
            break;
        case CLI_WORD: folder = args.value; break;
        default: return id == CLI_BAD ? CLI_USAGE : cli_usage_error("evaluate",
                                                                    "newcomer takes DIR, --probes, --caution, --seed and --json");
        }
    }
    if (!folder)
        return cli_usage_error("evaluate", "a folder of recorded outcomes is needed: signalbox evaluate newcomer DIR");
    struct arena *a = arena_new();
    struct outcomes o;
    struct err e = { 0 };
    struct report result[STAGES];
    t.o = &o;
    t.seed = (uint64_t)seed;
    int rc = outcomes_read(&o, a, folder, true, &e);
    if (rc == 0 && (o.n < 10 * FOLDS || o.n_models < 2))
        rc = err_set(&e, "at least %d queries and two models are needed", 10 * FOLDS);
    if (rc == 0)
        rc = newcomer_run(&t, result, &e);
    if (rc == 0)
        report_print(result, as_json);
    else
        fprintf(stderr, "signalbox evaluate newcomer: %s\n", e.text);
    arena_free(a);
    return rc < 0 ? CLI_USAGE : CLI_FINE;
}
