/* cli/compose.c -- `compose`: which models to keep under a budget, when every kind of query goes to the best that is kept.
 *
 * What a model is worth on a kind comes from the table of kinds (learn_table.c), which models from select/compose.c. The figure of
 * that choice on the rows it was made from flatters; so the whole procedure is also done on folds: fit, choose, judge on rows that
 * neither has seen. There, three ways to send a query on: by the table as it would be served, by the map of its likeliest kind, by
 * the map of the kind it really has. */
#include <math.h>
#include <stdio.h>

#include "base/put.h"
#include "cli/cli.h"
#include "cli/outcomes.h"
#include "select/compose.h"
#include "select/kinds.h"

enum { FOLDS = 5, SIZES_MAX = 1 << 20 };

/* Ways to send a query on; BEST: always to the best single model that fits, which the others are compared with. */
enum way { SERVED, GUESSED, LABELLED, UNCERTAIN, BEST, WAYS };

static const struct { const char *key, *text; } ways[WAYS] = {
    [SERVED] = { "served", "by the table (what --out serves)" },
    [GUESSED] = { "guessed", "by the map, kind guessed from the words" },
    [LABELLED] = { "labelled", "by the map, kind known" },
    [UNCERTAIN] = { "uncertain", "by the table, uncertain queries apart" },
    [BEST] = { "best_single", "the best single model that fits" },
};

struct wish {
    const char *folder, *sizes, *out, *general;
    double budget, price, uncertain;    /* uncertain NAN: no such rule */
    uint64_t seed;
    bool as_json;
};

struct way_sums { double n, quality, squares, cost, costs, gain, gain_squares; };      /* gain: value above BEST's */

struct composer {
    struct arena *a;
    const struct wish *wish;
    struct outcomes o;
    double *size;                       /* [n_models] INFINITY: no size is known, so it is not to be had */
    uint32_t *fold;
    bool *is_chosen;                    /* of all rows */
    uint32_t n_chosen, *map;            /* [n_kinds] */
    struct compose problem;
    str *kinds;
    double value;                       /* on the rows it was chosen by */
    struct way_sums of[WAYS];
    double n_asked, n_uncertain;
};

/* ---- sizes ---- */

static int sizes_read(struct composer *c, struct err *e)
{
    str all;
    uint32_t line = 0, known = 0;
    if (!cli_read(c->a, c->wish->sizes, &all, e))
        return -1;
    c->size = ARENA_ARRAY(c->a, double, c->o.n_models);
    for (uint32_t m = 0; m < c->o.n_models; m++)
        c->size[m] = HUGE_VAL;
    while (all.len) {
        str rest = str_trim(str_cut(&all, '\n')), model = str_trim(str_cut(&rest, ','));
        double size;
        line++;
        if (model.len == 0 || (line == 1 && str_eq(model, S("model"))))
            continue;
        if (!str_double(str_trim(rest), &size) || size < 0)
            return err_set(e, "%s:%u: a line is MODEL,SIZE with a size of at least 0; '" STR_FMT "' is none", c->wish->sizes, line,
                           STR_ARG(str_trim(rest)));
        for (uint32_t m = 0; m < c->o.n_models; m++)
            if (str_eq(c->o.models[m], model)) {
                known += c->size[m] == HUGE_VAL;
                c->size[m] = size;
            }
    }
    return known ? 0 : err_set(e, "%s: it has the size of no model of %s", c->wish->sizes, c->wish->folder);
}

/* ---- one composition, from some rows ---- */

static double cost_at(const struct outcomes *o, uint32_t i, uint32_t m)
{
    return o->cost_usd ? (double)o->cost_usd[(size_t)i * o->n_models + m] : (double)NAN;
}

static double worth_of(const struct composer *c, const struct prediction *p)
{
    return (double)p->score - (isnan(p->cost_usd) ? 0 : c->wish->price * (double)p->cost_usd);
}

/* The table of those rows, and which models to keep by it. NULL: *e. */
static struct learner *table_make(struct composer *c, const uint32_t *rows, uint32_t n, struct compose *out, bool *is_chosen,
                                  struct err *e)
{
    struct recorded r = outcomes_recorded(&c->o);
    struct learner *l = learner_new("table", NULL);
    r.rows = rows;
    r.n_rows = n;
    if (!l || learner_fit(l, &r, e) < 0) {
        learner_free(l);
        return NULL;
    }
    uint32_t k_all = l->n_kinds ? l->n_kinds : 1;
    size_t cells = (size_t)k_all * c->o.n_models;
    double *worth = ARENA_ARRAY(c->a, double, cells), *frequency = ARENA_ARRAY(c->a, double, k_all), bytes = 0;
    float *share = ARENA_ARRAY(c->a, float, k_all);
    struct prediction *p = ARENA_ARRAY(c->a, struct prediction, c->o.n_models);
    for (uint32_t i = 0; i < n; i++) {
        struct arena *a = arena_new();
        bytes += (double)c->o.x[rows[i]].bytes / n;
        if (learner_kinds(l, &c->o.x[rows[i]], share, a))
            for (uint32_t k = 0; k < k_all; k++)
                frequency[k] += (double)share[k] / n;
        arena_free(a);
    }
    for (uint32_t k = 0; k < k_all; k++) {
        struct features x = { .kind = l->n_kinds ? l->kinds[k] : S(""), .bytes = (uint32_t)bytes };
        learner_predict(l, &x, p, c->a);
        for (uint32_t m = 0; m < c->o.n_models; m++)
            worth[(size_t)k * c->o.n_models + m] = worth_of(c, &p[m]);
    }
    *out = (struct compose){ .n_models = c->o.n_models, .n_kinds = k_all, .worth = worth, .frequency = frequency, .size = c->size,
                             .budget = c->wish->budget };
    if (compose_solve(out, is_chosen) > 0)
        return l;
    err_set(e, "no model fits: the smallest is larger than the budget of %g", c->wish->budget);
    learner_free(l);
    return NULL;
}

/* ---- judging on rows not seen ---- */

/* The chosen model of the greatest worth that has a score for row i; UINT32_MAX: none has. */
static uint32_t best_for(const struct composer *c, uint32_t i, const struct prediction *p, const bool *is_chosen)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t m = 0; m < c->o.n_models; m++)
        if (is_chosen[m] && !isnan(c->o.quality[(size_t)i * c->o.n_models + m]) && (best == UINT32_MAX || worth_of(c, &p[m]) >
            worth_of(c, &p[best])))
            best = m;
    return best;
}

static double value_at(const struct composer *c, uint32_t i, uint32_t m)
{
    double cost = cost_at(&c->o, i, m);
    return (double)c->o.quality[(size_t)i * c->o.n_models + m] - (isnan(cost) ? 0 : c->wish->price * cost);
}

static void way_add(struct composer *c, enum way way, uint32_t i, uint32_t m, uint32_t best)
{
    struct way_sums *s = &c->of[way];
    double q = (double)c->o.quality[(size_t)i * c->o.n_models + m], cost = cost_at(&c->o, i, m);
    double gain = value_at(c, i, m) - value_at(c, i, best);
    s->n++, s->quality += q, s->squares += q * q, s->gain += gain, s->gain_squares += gain * gain;
    if (!isnan(cost))
        s->cost += cost, s->costs++;
}

static void row_judge(struct composer *c, const struct learner *l, const struct compose *problem, const bool *is_chosen, uint32_t best,
                      uint32_t general, uint32_t i, struct arena *a)
{
    const float *row = c->o.quality + (size_t)i * c->o.n_models;
    struct features x = c->o.x[i];
    struct prediction *p = ARENA_ARRAY(a, struct prediction, c->o.n_models);
    float *share = ARENA_ARRAY(a, float, problem->n_kinds);
    uint32_t likeliest = 0, labelled = learner_kind(l, x.kind), to[WAYS];
    x.kind = c->o.has_text ? S("") : x.kind;
    learner_predict(l, &x, p, a);
    if (learner_kinds(l, &x, share, a))
        for (uint32_t k = 1; k < l->n_kinds; k++)
            likeliest = share[k] > share[likeliest] ? k : likeliest;
    bool is_uncertain = kinds_entropy(share, l->n_kinds) > c->wish->uncertain;     /* false when there is no such rule */
    to[SERVED] = best_for(c, i, p, is_chosen);
    to[GUESSED] = compose_best(problem, is_chosen, likeliest);
    to[LABELLED] = labelled == UINT32_MAX ? to[GUESSED] : compose_best(problem, is_chosen, labelled);
    to[UNCERTAIN] = is_uncertain ? general : to[SERVED];
    to[BEST] = best;
    for (uint32_t way = 0; way < WAYS; way++)
        if (to[way] == UINT32_MAX || isnan(row[to[way]]))
            return;                     /* a gap in the record: the row is left out, for all ways alike */
    for (uint32_t way = 0; way < WAYS; way++)
        way_add(c, way, i, to[way], best);
    c->n_asked++;
    c->n_uncertain += is_uncertain;
}

/* The model whose mean value over all kinds is best: among all that fit, or among the chosen. */
static uint32_t single_best(const struct compose *c, const bool *is_chosen)
{
    uint32_t best = UINT32_MAX;
    double most = -HUGE_VAL;
    for (uint32_t m = 0; m < c->n_models; m++) {
        double sum = 0;
        for (uint32_t k = 0; k < c->n_kinds; k++)
            sum += c->frequency[k] * c->worth[(size_t)k * c->n_models + m];
        if ((is_chosen ? is_chosen[m] : c->size[m] <= c->budget) && sum > most)
            most = sum, best = m;
    }
    return best;
}

static uint32_t general_find(const struct composer *c)
{
    return c->wish->general ? outcomes_model(&c->o, str_of(c->wish->general)) : UINT32_MAX;
}

static int folds_judge(struct composer *c, struct err *e)
{
    uint32_t *rows = ARENA_ARRAY(c->a, uint32_t, c->o.n);
    bool *is_chosen = ARENA_ARRAY(c->a, bool, c->o.n_models);
    for (uint32_t f = 0; f < FOLDS; f++) {
        struct compose problem;
        uint32_t n = 0, general = general_find(c);
        for (uint32_t i = 0; i < c->o.n; i++)
            if (c->fold[i] != f)
                rows[n++] = i;
        struct learner *l = table_make(c, rows, n, &problem, is_chosen, e);
        if (!l)
            return -1;
        general = general == UINT32_MAX ? single_best(&problem, is_chosen) : general;
        for (uint32_t i = 0; i < c->o.n; i++) {
            if (c->fold[i] != f)
                continue;
            struct arena *a = arena_new();
            row_judge(c, l, &problem, is_chosen, single_best(&problem, NULL), general, i, a);
            arena_free(a);
        }
        learner_free(l);
    }
    return c->n_asked > 0 ? 0 : err_set(e, "no row has scores of all models that were chosen");
}

/* ---- the whole ---- */

/* A table of the chosen models alone. */
static int table_write(struct composer *c, struct err *e)
{
    struct recorded r = outcomes_recorded(&c->o);
    float *to[4] = { 0 };
    const float *from[] = { r.quality, r.cost_usd, r.out_tokens, r.latency_s };
    str *models = ARENA_ARRAY(c->a, str, c->n_chosen);
    size_t cells = (size_t)r.n * c->n_chosen;
    uint32_t n = 0;
    for (uint32_t t = 0; t < COUNT_OF(to); t++)
        to[t] = from[t] ? ARENA_ARRAY(c->a, float, cells) : NULL;
    for (uint32_t m = 0; m < r.n_models; m++) {
        if (!c->is_chosen[m])
            continue;
        for (uint32_t t = 0; t < COUNT_OF(to); t++)
            for (uint32_t i = 0; i < r.n && to[t]; i++)
                to[t][(size_t)i * c->n_chosen + n] = from[t][(size_t)i * r.n_models + m];
        models[n++] = r.models[m];
    }
    r.models = models;
    r.n_models = n;
    r.quality = to[0], r.cost_usd = to[1], r.out_tokens = to[2], r.latency_s = to[3];
    struct learner *l = learner_new("table", NULL);
    struct buf bytes = { 0 };
    int rc = l ? learner_fit(l, &r, e) : err_set(e, "no memory");
    if (rc == 0) {
        learner_save(l, &bytes);
        rc = bytes.is_failed ? err_set(e, "no memory for the table") : cli_write_whole(c->wish->out, buf_view(&bytes), c->a, e);
    }
    buf_free(&bytes);
    learner_free(l);
    return rc;
}

static int compose_run(struct composer *c, struct err *e)
{
    const struct wish *w = c->wish;
    if (outcomes_read(&c->o, c->a, w->folder, w->price <= 0, e) < 0 || sizes_read(c, e) < 0)
        return -1;
    if (c->o.n < 2 * FOLDS)
        return err_set(e, "%u queries are too few for %d folds", c->o.n, FOLDS);
    if (w->price > 0 && !c->o.cost_usd)
        return err_set(e, "--price needs costs.csv in %s", w->folder);
    if (w->general && general_find(c) == UINT32_MAX)
        return err_set(e, "--general: %s has no model '%s'", w->folder, w->general);
    uint32_t *rows = ARENA_ARRAY(c->a, uint32_t, c->o.n);
    for (uint32_t i = 0; i < c->o.n; i++)
        rows[i] = i;
    c->fold = ARENA_ARRAY(c->a, uint32_t, c->o.n);
    c->is_chosen = ARENA_ARRAY(c->a, bool, c->o.n_models);
    outcomes_deal(&c->o, FOLDS, w->seed, c->fold);
    struct learner *l = table_make(c, rows, c->o.n, &c->problem, c->is_chosen, e);
    if (!l)
        return -1;
    c->map = ARENA_ARRAY(c->a, uint32_t, c->problem.n_kinds);
    c->kinds = ARENA_ARRAY(c->a, str, c->problem.n_kinds);
    for (uint32_t k = 0; k < c->problem.n_kinds; k++) {
        c->map[k] = compose_best(&c->problem, c->is_chosen, k);
        c->kinds[k] = l->n_kinds ? arena_str(c->a, l->kinds[k]) : S("all");
    }
    learner_free(l);
    for (uint32_t m = 0; m < c->o.n_models; m++)
        c->n_chosen += c->is_chosen[m];
    c->value = compose_value(&c->problem, c->is_chosen);
    return folds_judge(c, e) < 0 || (w->out && table_write(c, e) < 0) ? -1 : 0;
}

static bool is_told(const struct composer *c, uint32_t way)
{
    return way != UNCERTAIN || !isnan(c->wish->uncertain);
}

static double error_of(double sum, double squares, double n)    /* of the mean */
{
    return sqrt(fmax(squares / n - sum / n * (sum / n), 0) / n);
}

static uint32_t fitting_n(const struct composer *c)
{
    uint32_t n = 0;
    for (uint32_t m = 0; m < c->o.n_models; m++)
        n += c->size[m] <= c->wish->budget;
    return n;
}

static void table_print(const struct composer *c)
{
    const struct compose *p = &c->problem;
    uint32_t without = 0;
    printf(STR_FMT ": %u queries, %u models, %u kinds; a budget of %g", STR_ARG(c->o.name), c->o.n, c->o.n_models, p->n_kinds, p->budget);
    printf(c->wish->price > 0 ? ", a USD is worth %g of quality\n" : "\n", c->wish->price);
    for (uint32_t m = 0; m < c->o.n_models; m++)
        without += c->size[m] == HUGE_VAL;
    if (without)
        printf("%u models are left out: %s has no size of them\n", without, c->wish->sizes);
    printf("keep %u models, %g together (%s):\n", c->n_chosen, compose_size(p, c->is_chosen),
           fitting_n(c) <= COMPOSE_EXACT_MAX ? "no choice is better" : "found greedily");
    for (uint32_t m = 0; m < c->o.n_models; m++)
        if (c->is_chosen[m])
            printf("  %10g  " STR_FMT "\n", c->size[m], STR_ARG(c->o.models[m]));
    printf("%7s  %8s  kind -> model\n", "share", "expected");
    for (uint32_t k = 0; k < p->n_kinds; k++)
        printf("%6.1f%%  %8.4f  " STR_FMT " -> " STR_FMT "\n", 100 * p->frequency[k], p->worth[(size_t)k * p->n_models + c->map[k]],
               STR_ARG(c->kinds[k]), STR_ARG(c->o.models[c->map[k]]));
    printf("expected %.4f on the rows it was chosen by; on others (%d folds by question):\n", c->value, FOLDS);
    printf("  %-42s %16s %10s %18s\n", "", "score (SE)", "cost", "gain (SE)");
    for (uint32_t way = 0; way < WAYS; way++) {
        const struct way_sums *s = &c->of[way];
        char cost[32] = "-";
        if (!is_told(c, way))
            continue;
        if (s->costs > 0)
            snprintf(cost, sizeof cost, "%.3g", s->cost / s->costs);
        printf("  %-42s %7.4f (%.4f) %10s %+9.4f (%.4f)\n", ways[way].text, s->quality / s->n, error_of(s->quality, s->squares, s->n), cost,
               s->gain / s->n, error_of(s->gain, s->gain_squares, s->n));
    }
    if (is_told(c, UNCERTAIN))
        printf("uncertain: %.1f%% of queries, whose kinds have an entropy above %g, go to %s\n", 100 * c->n_uncertain / c->n_asked,
               c->wish->uncertain, c->wish->general ? c->wish->general : "the best single one that is kept");
    if (c->wish->out)
        printf("serve it with   algorithm: {type: learned, learned: {table: %s}}\n", c->wish->out);
}

static void json_print(const struct composer *c)
{
    const struct compose *p = &c->problem;
    struct buf out = { 0 };
    struct json_writer j = { .out = &out };
    jw_begin(&j, '{');
    put_str(&j, S("set"), c->o.name);
    put_int(&j, S("queries"), c->o.n);
    put_double(&j, S("budget"), p->budget);
    put_double(&j, S("price"), c->wish->price);
    put_double(&j, S("size"), compose_size(p, c->is_chosen));
    put_bool(&j, S("is_exact"), fitting_n(c) <= COMPOSE_EXACT_MAX);
    put_open(&j, S("models"), '[');
    for (uint32_t m = 0; m < c->o.n_models; m++)
        if (c->is_chosen[m])
            jw_str(&j, c->o.models[m]);
    jw_end(&j, ']');
    put_open(&j, S("map"), '{');
    for (uint32_t k = 0; k < p->n_kinds; k++)
        put_str(&j, c->kinds[k], c->o.models[c->map[k]]);
    jw_end(&j, '}');
    put_double(&j, S("expected"), c->value);
    put_open(&j, S("judged"), '{');
    for (uint32_t way = 0; way < WAYS; way++) {
        const struct way_sums *s = &c->of[way];
        if (!is_told(c, way))
            continue;
        put_open(&j, str_of(ways[way].key), '{');
        put_double(&j, S("score"), s->quality / s->n);
        put_double(&j, S("score_standard_error"), error_of(s->quality, s->squares, s->n));
        put_double(&j, S("cost"), s->costs > 0 ? s->cost / s->costs : (double)NAN);
        put_double(&j, S("gain"), s->gain / s->n);
        put_double(&j, S("gain_standard_error"), error_of(s->gain, s->gain_squares, s->n));
        jw_end(&j, '}');
    }
    jw_end(&j, '}');
    put_double(&j, S("uncertain_share"), is_told(c, UNCERTAIN) ? c->n_uncertain / c->n_asked : (double)NAN);
    jw_end(&j, '}');
    buf_char(&out, '\n');
    cli_put(stdout, buf_view(&out));
    buf_free(&out);
}

int cli_compose(int argc, char **argv)
{
    struct cli_args args = cli_args_start("compose", argc, argv);
    struct wish w = { .budget = -1, .uncertain = (double)NAN, .seed = 1 };
    int64_t seed;
    for (int id; (id = cli_next(&args)) != CLI_END;) {
        switch (id) {
        case 's': w.sizes = args.value; break;
        case 'o': w.out = args.value; break;
        case 'g': w.general = args.value; break;
        case 'J': w.as_json = true; break;
        case 'b':
            if (!str_double(str_of(args.value), &w.budget) || w.budget < 0)
                return cli_usage_error("compose", "--budget is a number of at least 0, in the unit of the sizes");
            break;
        case 'p':
            if (!str_double(str_of(args.value), &w.price) || w.price < 0)
                return cli_usage_error("compose", "--price is quality that one USD is worth, not below 0");
            break;
        case 'u':
            if (!str_double(str_of(args.value), &w.uncertain) || w.uncertain < 0 || w.uncertain > 1)
                return cli_usage_error("compose", "--uncertain is an entropy from 0 (sure) to 1 (every kind alike)");
            break;
        case 'S':
            if (!str_int(str_of(args.value), &seed) || seed < 0)
                return cli_usage_error("compose", "--seed is a whole number");
            w.seed = (uint64_t)seed;
            break;
        case CLI_WORD:
            if (w.folder)
                return cli_usage_error("compose", "one folder at a time; what is '%s'?", args.value);
            w.folder = args.value;
            break;
        default: return CLI_USAGE;
        }
    }
    if (!w.folder || !w.sizes || w.budget < 0)
        return cli_usage_error("compose", "which outcomes, how large the models are and how much there is: "
                               "signalbox compose DIR --sizes FILE --budget N");
    struct composer c = { .a = arena_new(), .wish = &w };
    struct err e = { 0 };
    int rc = c.a ? compose_run(&c, &e) : err_set(&e, "no memory");
    if (rc < 0)
        fprintf(stderr, "signalbox compose: %s\n", e.text);
    else if (w.as_json)
        json_print(&c);
    else
        table_print(&c);
    arena_free(c.a);
    return rc < 0 ? CLI_USAGE : CLI_FINE;
}
