/* cli/evaluate_policy.c -- `evaluate policy`: what another policy would have brought, from the log of this one.
 *
 * The log says which model was chosen, with which propensity, and (in an outcomes file or the learning's journal) what came of
 * it. The other policy is a configuration, which decides the captured requests again, or one of a few that need nothing but the
 * logged candidates: always:MODEL, greedy, uniform, explore:SCALE, price:FACTOR. Estimates are IPS, SNIPS and DR
 * (select/off_policy.h); the model of rewards for DR is the shrunken mean of (decision, model), plus what other events of the
 * same request say, each without the event itself. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/put.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/decisions.h"
#include "cli/rows.h"
#include "pipeline/learning_request.h"
#include "pipeline/route.h"
#include "select/gate.h"
#include "select/off_policy.h"

enum { SEEDS = 32, KEY_MAX = 1024 };

enum policy_form { BY_CONFIG, ALWAYS, GREEDY, UNIFORM, EXPLORE, PRICE };

struct policy_asked { enum policy_form form; str model; double number; struct snap *snap; };

enum metric { QUALITY, COST, LATENCY, METRICS };
static const struct { const char *name, *unit; } metric_names[METRICS] = { { "quality", "" }, { "cost", "USD" },
        { "latency", "s" } };

struct sums { double n, sum; };

struct kept {                           /* an event, between the two passes */
    uint32_t arm_of_cell;               /* index of (decision, model) */
    uint64_t question;                  /* hash of the request's text or id */
    double propensity, target, missing;
    double value[METRICS];
    uint32_t first_share, n_shares;     /* the new policy's chances: (cell, chance) */
};

struct share { uint32_t cell; double chance; };

struct study {
    struct arena *a;
    struct policy_asked policy;
    struct map rewards;
    bool has_rewards;
    struct kept *events; size_t n;
    struct share *shares; size_t n_shares;
    struct map cell_index; uint32_t n_cells;
    struct sums (*cells)[METRICS]; size_t cells_cap;
    uint64_t lines, decisions, undecided, without_reward;
    struct err trouble;
};

/* ---- the new policy's chances for one logged decision ---- */

static void chances_logged(const struct study *s, const struct logged *d, double *chance)
{
    struct arm arms[DECISION_ARMS_MAX];
    struct bandit_rules rules = { .scale = 0, .incumbent = UINT32_MAX };
    for (uint32_t i = 0; i < d->n_arms; i++) {
        arms[i] = d->arms[i].arm;
        if (s->policy.form == PRICE && d->arms[i].penalty > 0)
            arms[i].mean -= (s->policy.number - 1) * d->arms[i].penalty;
    }
    if (s->policy.form == EXPLORE)
        rules.scale = s->policy.number;
    if (s->policy.form == ALWAYS || s->policy.form == UNIFORM) {
        uint32_t open = 0;
        for (uint32_t i = 0; i < d->n_arms; i++)
            open += !arms[i].is_out;
        for (uint32_t i = 0; i < d->n_arms; i++)
            chance[i] = s->policy.form == ALWAYS ? str_eq(d->arms[i].model, s->policy.model) : arms[i].is_out ? 0 : 1.0 / open;
        return;
    }
    bandit_chances(&rules, arms, d->n_arms, chance);
}

static void headers_take(struct req *r, const struct json *j, jref headers)
{
    if (!json_is(j, headers, JSON_ARRAY))
        return;
    JSON_EACH_ITEM(j, headers, pair)
        if (json_is(j, pair, JSON_ARRAY) && json_count(j, pair) == 2)
            ask_header(r, json_str(j, pair + 1, r->a), json_str(j, pair + 2, r->a));
}

struct counted { str model; double chance; };

/* Decides the captured request under the new configuration. A policy that throws dice is asked with several seeds. */
static uint32_t chances_decided(struct study *s, struct arena *a, const struct json *j, const struct logged *d,
                                struct counted *out)
{
    uint32_t n = 0, seeds = 1;
    for (uint32_t k = 0; k < seeds; k++) {
        struct err e = { 0 };
        struct req *r = ask_new(a, s->policy.snap, d->body, &e);
        if (!r) {
            s->trouble = e;
            return 0;
        }
        r->facts.seed ^= hash_mix(k) & ~(uint64_t)1;
        headers_take(r, j, d->headers);
        if (route_request(r) < 0 || r->n_order == 0)
            return 0;
        if (k == 0 && r->pick.order && r->pick.propensity < 1 - 1e-9)
            seeds = SEEDS;
        str model = r->learned ? r->learned->model : r->order[0]->name;
        uint32_t i = 0;
        while (i < n && !str_eq(out[i].model, model))
            i++;
        if (i == n && n < DECISION_ARMS_MAX)
            out[n++] = (struct counted){ model, 0 };
        if (i < n)
            out[i].chance += 1;
    }
    for (uint32_t i = 0; i < n; i++)
        out[i].chance /= seeds;
    return n;
}

/* ---- reading ---- */

static uint32_t cell_of(struct study *s, const struct logged *d, str model)
{
    char key[KEY_MAX];
    int len = snprintf(key, sizeof key, STR_FMT "\t" STR_FMT, STR_ARG(d->decision), STR_ARG(model));
    str k = { key, (size_t)(len < KEY_MAX ? len : KEY_MAX - 1) };
    uintptr_t at = (uintptr_t)map_get(&s->cell_index, k);
    if (at)
        return (uint32_t)at - 1;
    map_put(&s->cell_index, arena_str(s->a, k), (void *)((uintptr_t)s->n_cells + 1));
    if (s->n_cells == s->cells_cap) {
        size_t cap = s->cells_cap ? s->cells_cap * 2 : 64;
        struct sums (*more)[METRICS] = arena_alloc(s->a, cap * sizeof *more);
        if (s->n_cells)
            memcpy(more, s->cells, s->n_cells * sizeof *more);
        s->cells = more;
        s->cells_cap = cap;
    }
    return s->n_cells++;
}

static void share_add(struct study *s, struct kept *k, uint32_t cell, double chance)
{
    if (chance <= 0)
        return;
    *PUSH(s->a, s->shares, s->n_shares) = (struct share){ cell, chance };
    k->n_shares++;
}

static bool reward_find(const struct study *s, const struct logged *d, double *out)
{
    const double *r = map_get(&s->rewards, d->id);
    *out = r ? *r : (double)NAN;
    return r != NULL;
}

static void line_take(struct study *s, struct arena *a, str line)
{
    struct json j;
    struct json_error je;
    struct logged d;
    double chance[DECISION_ARMS_MAX];
    if (json_parse(a, line, &j, &je) < 0 || !logged_read(a, &j, &d))
        return;
    s->decisions++;
    struct kept k = { .propensity = d.propensity, .first_share = (uint32_t)s->n_shares };
    if (!reward_find(s, &d, &k.value[QUALITY])) {
        s->without_reward++;
        if (s->has_rewards)                     /* quality is asked for: an event without it says nothing */
            return;
        k.value[QUALITY] = d.status >= 200 && d.status < 400 ? 1 : 0;
    }
    k.value[COST] = d.cost;
    k.value[LATENCY] = d.duration_ms / 1000;
    k.arm_of_cell = cell_of(s, &d, d.model);
    k.question = d.question ? d.question : hash_stable(d.body.len ? d.body : d.id, 0);
    if (s->policy.form == BY_CONFIG) {
        struct counted *c = ARENA_ARRAY(a, struct counted, DECISION_ARMS_MAX);
        uint32_t n = d.body.len ? chances_decided(s, a, &j, &d, c) : 0;
        if (n == 0) {
            s->undecided++;
            return;
        }
        for (uint32_t i = 0; i < n; i++) {
            uint32_t at = logged_at(&d, c[i].model);
            bool is_logged = str_eq(c[i].model, d.model);
            k.target += is_logged ? c[i].chance : 0;
            if (!is_logged && d.n_arms && (at == UINT32_MAX || !(d.arms[at].chance > 0)))
                k.missing += c[i].chance;
            share_add(s, &k, cell_of(s, &d, c[i].model), c[i].chance);
        }
    } else {
        if (d.n_arms == 0) {
            s->undecided++;
            return;
        }
        chances_logged(s, &d, chance);
        for (uint32_t i = 0; i < d.n_arms; i++) {
            k.target += str_eq(d.arms[i].model, d.model) ? chance[i] : 0;
            if (d.has_chances && d.arms[i].chance <= 0)
                k.missing += chance[i];
            share_add(s, &k, cell_of(s, &d, d.arms[i].model), chance[i]);
        }
        if (s->policy.form == ALWAYS && k.n_shares == 0)
            k.missing = 1;                      /* the model is not among the candidates */
    }
    *PUSH(s->a, s->events, s->n) = k;
}

static bool log_read(struct study *s, FILE *f)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    struct progress bar = progress_start("reading");
    while ((n = getline(&line, &cap, f)) > 0) {
        struct arena *a = arena_new();
        if (!a)
            break;
        s->lines++;
        line_take(s, a, str_trim((str){ line, (size_t)n }));
        arena_free(a);
        progress_show(&bar, -1, s->lines);
    }
    progress_end(&bar);
    free(line);
    return !ferror(f);
}

/* ---- estimating ---- */

struct question { double n, rest; };

/* Mean of a cell without one event, shrunken towards the mean of all. */
static double cell_mean(const struct sums *c, const struct sums *all, double without, bool is_mine)
{
    double n = c->n - is_mine, sum = c->sum - (is_mine ? without : 0);
    double overall = all->n - is_mine > 0 ? (all->sum - (is_mine ? without : 0)) / (all->n - is_mine) : 0;
    return (sum + 3 * overall) / (n + 3);
}

static int question_order(const void *x, const void *y)
{
    const struct kept *a = *(const struct kept *const *)x, *b = *(const struct kept *const *)y;
    return a->question < b->question ? -1 : a->question > b->question;
}

/* Events of one question stand together: its difficulty is what the others' rewards stray from their cells, shrunken by three. */
static void estimate(struct study *s, enum metric m, struct ope *out)
{
    struct sums all = { 0 };
    struct kept **order = ARENA_ARRAY(s->a, struct kept *, s->n);
    for (size_t i = 0; i < s->n; i++)
        order[i] = &s->events[i];
    if (s->n)
        qsort(order, s->n, sizeof *order, question_order);
    for (size_t i = 0; i < s->n; i++) {
        double v = s->events[i].value[m];
        if (isnan(v))
            continue;
        struct sums *c = &s->cells[s->events[i].arm_of_cell][m];
        c->n++, c->sum += v;
        all.n++, all.sum += v;
    }
    for (size_t from = 0, to; from < s->n; from = to) {
        struct question q = { 0 };
        for (to = from; to < s->n && order[to]->question == order[from]->question; to++) {
            double v = order[to]->value[m];
            if (isnan(v))
                continue;
            q.n++;
            q.rest += v - cell_mean(&s->cells[order[to]->arm_of_cell][m], &all, v, true);
        }
        for (size_t i = from; i < to; i++) {
            const struct kept *k = order[i];
            double v = k->value[m];
            if (isnan(v))
                continue;
            double mine = cell_mean(&s->cells[k->arm_of_cell][m], &all, v, true);
            double hard = (q.rest - (v - mine)) / (q.n - 1 + 3), expected = 0;
            for (uint32_t c = 0; c < k->n_shares; c++) {
                const struct share *sh = &s->shares[k->first_share + c];
                expected += sh->chance * (cell_mean(&s->cells[sh->cell][m], &all, v, sh->cell == k->arm_of_cell) + hard);
            }
            ope_add(out, &(struct ope_event){ .propensity = k->propensity, .target = k->target, .reward = v, .predicted = mine
                                              + hard,
                                              .expected = expected, .missing = k->missing });
        }
    }
}

/* ---- the report ---- */

struct gate_asked { double delta, alpha; };

/* One-sided, by the normal distribution: quality is not worse by delta, but for a chance of alpha. */
static bool gate_opens(const struct ope_report *r, const struct gate_asked *g, double *bound)
{
    double lo = 0, hi = 8;
    for (int i = 0; i < 60; i++) {              /* quantile of the normal distribution by bisection */
        double z = (lo + hi) / 2;
        if (.5 * erfc(z / M_SQRT2) > g->alpha)
            lo = z;
        else
            hi = z;
    }
    *bound = r->difference.mean - lo * r->difference.error;
    return !r->refused && *bound > -g->delta;
}

static void estimate_json(struct json_writer *w, const char *key, struct estimate e)
{
    put_open(w, str_of(key), '{');
    jw_key(w, S("mean")), jw_double(w, e.mean);
    jw_key(w, S("standard_error")), jw_double(w, e.error);
    jw_key(w, S("low")), jw_double(w, e.mean - 1.96 * e.error);
    jw_key(w, S("high")), jw_double(w, e.mean + 1.96 * e.error);
    jw_end(w, '}');
}

static void report_json(const struct study *s, const struct ope_report *r, const struct gate_asked *g, struct buf *out)
{
    struct json_writer w = { .out = out };
    jw_begin(&w, '{');
    jw_key(&w, S("lines")), jw_int(&w, (int64_t)s->lines);
    jw_key(&w, S("decisions")), jw_int(&w, (int64_t)s->decisions);
    jw_key(&w, S("used")), jw_int(&w, (int64_t)s->n);
    jw_key(&w, S("without_reward")), jw_int(&w, (int64_t)s->without_reward);
    jw_key(&w, S("undecided")), jw_int(&w, (int64_t)s->undecided);
    for (int m = 0; m < METRICS; m++) {
        if (isnan(r[m].snips.mean) && m != QUALITY)
            continue;
        put_open(&w, str_of(metric_names[m].name), '{');
        estimate_json(&w, "logged", r[m].logged);
        estimate_json(&w, "ips", r[m].ips);
        estimate_json(&w, "snips", r[m].snips);
        estimate_json(&w, "dr", r[m].dr);
        estimate_json(&w, "difference", r[m].difference);
        jw_key(&w, S("effective_events")), jw_double(&w, r[m].effective);
        jw_key(&w, S("refused"));
        if (r[m].refused)
            jw_str(&w, str_of(r[m].refused));
        else
            jw_null(&w);
        jw_end(&w, '}');
    }
    double bound;
    bool opens = gate_opens(&r[QUALITY], g, &bound);
    put_open(&w, S("gate"), '{');
    jw_key(&w, S("delta")), jw_double(&w, g->delta);
    jw_key(&w, S("alpha")), jw_double(&w, g->alpha);
    jw_key(&w, S("lower_bound")), jw_double(&w, bound);
    jw_key(&w, S("open")), jw_bool(&w, opens);
    jw_end(&w, '}');
    jw_end(&w, '}');
    buf_char(out, '\n');
}

static void report_text(const struct study *s, const struct ope_report *r, const struct gate_asked *g, struct buf *out)
{
    buf_printf(out, "%llu decisions in %llu lines, %zu used", (unsigned long long)s->decisions, (unsigned long long)s->lines,
               s->n);
    if (s->has_rewards && s->without_reward)
        buf_printf(out, ", %llu without an outcome", (unsigned long long)s->without_reward);
    if (s->undecided)
        buf_printf(out, ", %llu that the new policy could not decide (no captured request, or no candidates logged)",
                   (unsigned long long)s->undecided);
    buf_printf(out, "\n%s\n%-10s %10s   %-20s %-20s %-20s %s\n", s->has_rewards ? ""
               : "no outcomes were given: quality is the share of answers without an error\n",
               "", "logged", "IPS", "SNIPS", "DR (95 %)", "difference (95 %)");
    for (int m = 0; m < METRICS; m++) {
        if (isnan(r[m].snips.mean))
            continue;
        char cell[4][40];
        const struct estimate e[4] = { r[m].ips, r[m].snips, r[m].dr, r[m].difference };
        for (int i = 0; i < 4; i++)
            snprintf(cell[i], sizeof cell[i], i == 3 ? "%+.4g +- %.2g" : "%.4g +- %.2g", e[i].mean,
                     (i < 2 ? 1 : 1.96) * e[i].error);
        buf_printf(out, "%-10s %10.4g   %-20s %-20s %-20s %s %s\n", metric_names[m].name, r[m].logged.mean, cell[0], cell[1],
                   cell[2], cell[3],
                   metric_names[m].unit);
        if (r[m].refused)
            buf_printf(out, "           refused: %s\n", r[m].refused);
    }
    double bound;
    bool opens = gate_opens(&r[QUALITY], g, &bound);
    buf_printf(out, "\n%.0f effective events. Gate %s: the difference is above %+.4f but for a chance of %g; above %+g is asked.\n", r[QUALITY].effective,
               opens ? "open" : "closed", bound, g->alpha, -g->delta);
}

/* ---- the command ---- */

static bool policy_read(struct study *s, const char *text)
{
    static const struct { const char *word; enum policy_form form; bool is_number; } forms[] = {
        { "always:", ALWAYS, false }, { "explore:", EXPLORE, true }, { "price:", PRICE, true },
    };
    str t = str_of(text);
    s->policy.form = BY_CONFIG;
    if (str_eq(t, S("greedy")) || str_eq(t, S("uniform"))) {
        s->policy.form = str_eq(t, S("greedy")) ? GREEDY : UNIFORM;
        return true;
    }
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        str word = str_of(forms[i].word);
        if (!str_starts(t, word))
            continue;
        s->policy.form = forms[i].form;
        s->policy.model = str_from(t, word.len);
        return !forms[i].is_number || (str_double(s->policy.model, &s->policy.number) && s->policy.number >= 0);
    }
    s->policy.snap = cli_snap(s->a, text, SEVERITY_ERROR);
    return s->policy.snap != NULL;
}

static int study(struct study *s, const char *log, const struct gate_asked *g, bool as_json)
{
    FILE *f = strcmp(log, "-") == 0 ? stdin : fopen(log, "re");
    bool ok = f && log_read(s, f);
    if (!ok)
        fprintf(stderr, "signalbox evaluate policy: %s: %s\n", log, strerror(errno));
    if (f && f != stdin)
        fclose(f);
    if (!ok)
        return CLI_USAGE;
    struct ope sums[METRICS] = { { 0 } };
    struct ope_report r[METRICS];
    struct buf out = { 0 };
    double bound;
    for (int m = 0; m < METRICS; m++) {
        estimate(s, (enum metric)m, &sums[m]);
        r[m] = ope_close(&sums[m]);
    }
    if (as_json)
        report_json(s, r, g, &out);
    else
        report_text(s, r, g, &out);
    int put = cli_put(stdout, buf_view(&out));
    buf_free(&out);
    return put ? put : gate_opens(&r[QUALITY], g, &bound) ? CLI_FINE : CLI_FINDING;
}

int cli_evaluate_policy(int argc, char **argv)
{
    struct cli_args args = cli_args_start("evaluate", argc, argv);
    struct study s = { .a = arena_new() };
    struct gate_asked g = { .delta = .01, .alpha = .05 };
    const char *log = NULL, *policy = NULL;
    struct err e = { 0 };
    bool as_json = false, ok = true;
    if (!s.a)
        return CLI_USAGE;
    s.rewards.a = s.cell_index.a = s.a;
    for (int id; ok && (id = cli_next(&args)) != CLI_END;) {
        switch (id) {
        case 'P': policy = args.value; break;
        case 'O':
            s.has_rewards = true;
            if (rewards_read(s.a, args.value, &s.rewards, &e) < 0) {
                fprintf(stderr, "signalbox evaluate policy: %s\n", e.text);
                ok = false;
            }
            break;
        case 'e': ok = str_double(str_of(args.value), &g.delta) && g.delta >= 0; break;
        case 'a': ok = str_double(str_of(args.value), &g.alpha) && g.alpha > 0 && g.alpha < 1; break;
        case 'j': as_json = true; break;
        case CLI_WORD: log = args.value; break;
        default: ok = false;
        }
    }
    int rc = CLI_USAGE;
    if (ok && (!log || !policy))
        rc = cli_usage_error("evaluate", "policy: say --policy (a configuration, always:MODEL, greedy, uniform, explore:SCALE, price:FACTOR) and a LOG");
    else if (ok && policy_read(&s, policy))
        rc = study(&s, log, &g, as_json);
    snap_free(s.policy.snap);
    arena_free(s.a);
    return rc;
}
