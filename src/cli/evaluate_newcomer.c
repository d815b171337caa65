/* cli/evaluate_newcomer.c -- `evaluate newcomer`: what a new model is worth after how many outcomes.
 *
 * The best model of a recorded set plays the newcomer: its outcomes are hidden from the training folds but for so many random
 * ones, and the table chooses on the fold by quality less `caution` deviations. Five folds by question, ten draws of the
 * outcomes; the difference to a pool without the newcomer is paired, its standard error is over folds and draws of questions (not
 * of draws alone). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/rand.h"
#include "cli/cli.h"
#include "cli/outcomes.h"
#include "cli/rows.h"
#include "select/objective.h"

enum { FOLDS = 5, DRAWS = 10, STAGES = 6 };

static const uint32_t labelled[STAGES] = { 0, 10, 30, 100, 300, UINT32_MAX };

struct newcomer { double score[STAGES], difference[STAGES], error[STAGES]; };

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

/* Scores on the fold's queries, by query: chosen[n]; NAN elsewhere. */
static int fold_run(const struct outcomes *o, const uint32_t *fold, uint32_t f, uint32_t known, double caution, uint64_t seed,
                    double *chosen, struct err *e)
{
    uint32_t newcomer = best_model(o, fold, f), k = o->n_models, n = 0;
    size_t cells = (size_t)o->n * k;
    struct recorded r = outcomes_recorded(o);
    float *quality = malloc(cells * sizeof *quality);
    uint32_t *rows = malloc(o->n * sizeof *rows);
    struct prediction *p = malloc(k * sizeof *p);
    double *value = malloc(k * sizeof *value);
    struct learner *l = learner_new("table", NULL);
    int rc = quality && rows && p && value && l ? 0 : err_set(e, "no memory");
    if (rc == 0) {
        memcpy(quality, o->quality, cells * sizeof *quality);
        for (uint32_t i = 0; i < o->n; i++)
            if (fold[i] != f)
                rows[n++] = i;
        for (uint32_t i = n; i > 1; i--) {              /* a shuffled copy of the order says whose outcomes are known */
            uint32_t other = (uint32_t)rand_below(&seed, i), swap = rows[i - 1];
            rows[i - 1] = rows[other];
            rows[other] = swap;
        }
        for (uint32_t i = known < n ? known : n; i < n; i++)
            quality[(size_t)rows[i] * k + newcomer] = NAN;
        r.quality = quality;
        r.cost_usd = NULL;
        r.rows = rows;
        r.n_rows = n;
        rc = learner_fit(l, &r, e);
    }
    struct arena *a = NULL;
    struct objective objective = { .quality = 1, .caution = caution };
    for (uint32_t i = 0, since = 0; i < o->n && rc == 0; i++) {
        if (fold[i] != f)
            continue;
        if (since++ % 64 == 0) {
            arena_free(a);
            a = arena_new();
        }
        struct features x = o->x[i];
        x.kind = o->has_text ? S("") : x.kind;
        learner_predict(l, &x, p, a);
        for (uint32_t m = 0; m < k; m++)
            if (isnan(o->quality[(size_t)i * k + m]) || (m == newcomer && known == 0))
                p[m].score = -1;
        chosen[i] = (double)o->quality[(size_t)i * k + objective_best(&objective, p, NULL, k, value)];
    }
    arena_free(a);
    learner_free(l);
    free(quality);
    free(rows);
    free(p);
    free(value);
    return rc;
}

static int newcomer_run(const struct outcomes *o, double caution, uint64_t seed, struct newcomer *out, struct err *e)
{
    struct arena *a = arena_new();
    uint32_t *fold = ARENA_ARRAY(a, uint32_t, o->n);
    double *without = ARENA_ARRAY(a, double, o->n), *sum = ARENA_ARRAY(a, double, o->n), *chosen = ARENA_ARRAY(a, double, o->n);
    struct progress bar = progress_start("stages");
    int rc = 0;
    outcomes_deal(o, FOLDS, seed, fold);
    for (uint32_t s = 0; s < STAGES && rc == 0; s++) {
        uint32_t draws = labelled[s] == 0 || labelled[s] == UINT32_MAX ? 1 : DRAWS;
        memset(sum, 0, o->n * sizeof *sum);
        for (uint32_t d = 0; d < draws && rc == 0; d++) {
            for (uint32_t f = 0; f < FOLDS && rc == 0; f++)
                rc = fold_run(o, fold, f, labelled[s], caution, seed * 1000 + d * FOLDS + f, chosen, e);
            for (uint32_t i = 0; i < o->n; i++)
                sum[i] += chosen[i] / draws;
        }
        double difference = 0, squares = 0, score = 0;
        for (uint32_t i = 0; i < o->n; i++) {
            without[i] = s == 0 ? sum[i] : without[i];
            score += sum[i] / o->n;
            difference += (sum[i] - without[i]) / o->n;
            squares += (sum[i] - without[i]) * (sum[i] - without[i]) / o->n;
        }
        out->score[s] = score;
        out->difference[s] = difference;
        out->error[s] = sqrt(fmax(squares - difference * difference, 0) / o->n);
        progress_show(&bar, (s + 1.0) / STAGES, s + 1);
    }
    progress_end(&bar);
    arena_free(a);
    return rc;
}

int cli_evaluate_newcomer(int argc, char **argv)
{
    struct cli_args args = cli_args_start("evaluate", argc, argv);
    const char *folder = NULL;
    bool as_json = false;
    double caution = 0.5;
    int64_t seed = 1;
    for (int id; (id = cli_next(&args)) != CLI_END;) {
        switch (id) {
        case 'j': as_json = true; break;
        case 'S':
            if (!str_int(str_of(args.value), &seed) || seed < 0)
                return cli_usage_error("evaluate", "--seed is a whole number");
            break;
        case 'K':
            if (!str_double(str_of(args.value), &caution) || caution < 0)
                return cli_usage_error("evaluate", "--caution is a number of deviations");
            break;
        case CLI_WORD: folder = args.value; break;
        default: return id == CLI_BAD ? CLI_USAGE : cli_usage_error("evaluate",
                                                                    "newcomer takes DIR, --caution, --seed and --json");
        }
    }
    if (!folder)
        return cli_usage_error("evaluate", "a folder of recorded outcomes is needed: signalbox evaluate newcomer DIR");
    struct arena *a = arena_new();
    struct outcomes o;
    struct err e = { 0 };
    struct newcomer result;
    int rc = outcomes_read(&o, a, folder, true, &e);
    if (rc == 0 && (o.n < 10 * FOLDS || o.n_models < 2))
        rc = err_set(&e, "at least %d queries and two models are needed", 10 * FOLDS);
    if (rc == 0)
        rc = newcomer_run(&o, caution, (uint64_t)seed, &result, &e);
    struct buf text = { 0 };
    struct json_writer j = { .out = &text };
    if (rc == 0)
        jw_begin(&j, '[');
    for (uint32_t s = 0; s < STAGES && rc == 0; s++) {
        if (!as_json) {
            char label[16];
            snprintf(label, sizeof label, labelled[s] == UINT32_MAX ? "all" : "%u", labelled[s]);
            printf("  %4s outcomes of the newcomer: score %.4f, against a pool without it %+.4f (%.4f)\n", label,
                   result.score[s], result.difference[s],
                   result.error[s]);
            continue;
        }
        jw_begin(&j, '{');
        jw_key(&j, S("outcomes")), jw_double(&j, labelled[s] == UINT32_MAX ? (double)NAN : labelled[s]);
        jw_key(&j, S("score")), jw_double(&j, result.score[s]);
        jw_key(&j, S("difference")), jw_double(&j, result.difference[s]);
        jw_key(&j, S("standard_error")), jw_double(&j, result.error[s]);
        jw_end(&j, '}');
    }
    if (rc == 0)
        jw_end(&j, ']');
    buf_char(&text, '\n');
    if (rc == 0 && as_json)
        cli_put(stdout, buf_view(&text));
    buf_free(&text);
    if (rc < 0)
        fprintf(stderr, "signalbox evaluate newcomer: %s\n", e.text);
    arena_free(a);
    return rc < 0 ? CLI_USAGE : CLI_FINE;
}
