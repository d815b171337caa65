/* cli/explain.c -- `explain REQUEST_ID`: why this model, from the line that the access log has of it.
 *
 * Every candidate with what was expected of it, what outcomes have added, what its price took off, and its chance; the runner-up
 * and the margin; and what would have been chosen at other prices. Nothing is decided anew but for the posterior over kinds of
 * query, which needs the captured request and the configuration's table. --verify throws the die again for every line of the log
 * and counts those that land as logged. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/put.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/decisions.h"
#include "pipeline/learning_request.h"
#include "select/learner.h"

/* ---- one decision ---- */

static uint32_t best_at(const struct logged *d, double factor)    /* at so many times the price; UINT32_MAX: nobody */
{
    uint32_t best = UINT32_MAX;
    double top = -HUGE_VAL;
    for (uint32_t i = 0; i < d->n_arms; i++) {
        const struct logged_arm *m = &d->arms[i];
        double v = m->arm.mean - (factor - 1) * (isnan(m->penalty) ? 0 : m->penalty);
        if (!m->arm.is_out && v > top)
            top = v, best = i;
    }
    return best;
}

static uint32_t runner_up(const struct logged *d, uint32_t chosen)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < d->n_arms; i++)
        if (i != chosen && !d->arms[i].arm.is_out && (best == UINT32_MAX || d->arms[i].arm.mean > d->arms[best].arm.mean))
            best = i;
    return best;
}

struct question { struct logged d; const struct learner *table; float *kinds; struct arena *a; };

/* The posterior over kinds, when there is a table and the request's text. */
static void kinds_find(struct question *q, struct snap *s)
{
    struct err e = { 0 };
    if (!s || !s->learning || !s->learning->table || q->d.body.len == 0)
        return;
    struct req *r = ask_new(q->a, s, q->d.body, &e);
    if (!r)
        return;
    struct features f;
    const struct learner *t = s->learning->table;
    facts_build(&r->facts, q->a, &r->chat);
    features_read(&f, q->a, r->facts.evaluation_text);
    float *p = ARENA_ARRAY(q->a, float, t->n_kinds);
    if (t->n_kinds && learner_kinds(t, &f, p, q->a)) {
        q->table = t;
        q->kinds = p;
    }
}

static void print_kinds(const struct question *q, struct buf *out)
{
    if (!q->kinds)
        return;
    buf_str(out, S("\nKind of query, and the table's cells for the chosen model\n"));
    bool *done = ARENA_ARRAY(q->a, bool, q->table->n_kinds);
    uint32_t model = learner_find(q->table, q->d.model);
    for (int k = 0; k < 4; k++) {
        uint32_t top = UINT32_MAX;
        for (uint32_t i = 0; i < q->table->n_kinds; i++)
            if (!done[i] && (top == UINT32_MAX || q->kinds[i] > q->kinds[top]))
                top = i;
        if (top == UINT32_MAX || q->kinds[top] < .01f)
            break;
        done[top] = true;
        struct prediction c;
        buf_printf(out, "  %5.1f %%  " STR_FMT, 100 * (double)q->kinds[top], STR_ARG(q->table->kinds[top]));
        if (model != UINT32_MAX && learner_cell(q->table, top, model, &c))
            buf_printf(out, "   quality %.3f of %.0f", (double)c.quality, (double)c.count);
        buf_char(out, '\n');
    }
}

static void print_arms(const struct logged *d, struct buf *out)
{
    buf_printf(out, "\n%-32s %9s %9s %6s %8s %8s %8s %8s\n", "candidate", "expected", "believed", "+-", "outcomes", "price",
               "value", "chance");
    for (uint32_t i = 0; i < d->n_arms; i++) {
        const struct logged_arm *m = &d->arms[i];
        double penalty = isnan(m->penalty) ? 0 : m->penalty;
        buf_printf(out, "%-32.*s %9.4f %9.4f %6.3f %8.1f %8.4f %8.4f %7.2f%% %s%s\n", (int)m->model.len, m->model.ptr,
                   m->expected, m->arm.mean + penalty,
                   m->arm.deviation, m->arm.count, penalty, m->arm.mean, 100 * m->chance, m->arm.is_out ? "out" : "",
                   str_eq(m->model, d->model) ? "<- chosen" : "");
    }
}

static void print_counterfactuals(const struct logged *d, uint32_t chosen, struct buf *out)
{
    static const double factors[] = { 0, .25, .5, 2, 4, 10 };
    uint32_t now = best_at(d, 1), second = runner_up(d, chosen);
    if (second != UINT32_MAX && chosen != UINT32_MAX)
        buf_printf(out, "\nRunner-up: " STR_FMT ", %.4f %s\n", STR_ARG(d->arms[second].model),
                   fabs(d->arms[chosen].arm.mean - d->arms[second].arm.mean),
                       d->arms[chosen].arm.mean >= d->arms[second].arm.mean ? "behind" : "ahead");
    for (size_t i = 0; i < COUNT_OF(factors); i++) {
        uint32_t at = best_at(d, factors[i]);
        if (at != UINT32_MAX && at != now)
            buf_printf(out, "At %g times the weight of price: " STR_FMT "\n", factors[i], STR_ARG(d->arms[at].model));
    }
}

static void print_text(const struct question *q, struct buf *out)
{
    const struct logged *d = &q->d;
    uint32_t chosen = logged_at(d, d->model);
    buf_printf(out, STR_FMT ": " STR_FMT, STR_ARG(d->id), STR_ARG(d->model));
    if (d->decision.len)
        buf_printf(out, ", decision " STR_FMT, STR_ARG(d->decision));
    buf_printf(out, "\nchosen by " STR_FMT " (" STR_FMT ")", STR_ARG(d->algorithm.len ? d->algorithm : S("-")),
               STR_ARG(d->reason.len ? d->reason : S("-")));
    if (!isnan(d->propensity))
        buf_printf(out, ", propensity %.4f", d->propensity);
    buf_char(out, '\n');
    if (d->action.len)
        buf_printf(out, "the selector said " STR_FMT ", the evidence " STR_FMT " (" STR_FMT ")\n", STR_ARG(d->base),
                   STR_ARG(d->proposal),
                   STR_ARG(d->action));
    if (d->session.len)
        buf_printf(out, "the conversation: " STR_FMT "%s\n", STR_ARG(d->session), d->needed > 0 ? ", a switch needs a gain" : "");
    if (d->needed > 0)
        buf_printf(out, "  of %.3f\n", d->needed);
    if (d->n_arms)
        print_arms(d, out);
    print_kinds(q, out);
    if (d->n_arms) {
        print_counterfactuals(d, chosen, out);
        buf_printf(out, "%s\n", logged_replays(d) ? "The die lands the same when it is thrown again."
                   : "The die does NOT land as it was logged.");
    }
}

static void print_json(const struct question *q, struct buf *out)
{
    const struct logged *d = &q->d;
    struct json_writer w = { .out = out };
    uint32_t chosen = logged_at(d, d->model), second = runner_up(d, chosen);
    jw_begin(&w, '{');
    const struct { const char *key; str v; } texts[] = {
        { "request_id", d->id }, { "decision", d->decision }, { "model", d->model }, { "algorithm", d->algorithm },
            { "reason", d->reason },
        { "base", d->base }, { "proposal", d->proposal }, { "action", d->action }, { "session", d->session },
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        jw_key(&w, str_of(texts[i].key)), jw_str(&w, texts[i].v);
    jw_key(&w, S("propensity")), jw_double(&w, d->propensity);
    jw_key(&w, S("replays")), jw_bool(&w, logged_replays(d));
    put_open(&w, S("candidates"), '[');
    for (uint32_t i = 0; i < d->n_arms; i++) {
        const struct logged_arm *m = &d->arms[i];
        jw_begin(&w, '{');
        jw_key(&w, S("model")), jw_str(&w, m->model);
        jw_key(&w, S("expected")), jw_double(&w, m->expected);
        jw_key(&w, S("value")), jw_double(&w, m->arm.mean);
        jw_key(&w, S("deviation")), jw_double(&w, m->arm.deviation);
        jw_key(&w, S("outcomes")), jw_double(&w, m->arm.count);
        jw_key(&w, S("penalty")), jw_double(&w, m->penalty);
        jw_key(&w, S("chance")), jw_double(&w, m->chance);
        jw_key(&w, S("out")), jw_bool(&w, m->arm.is_out);
        jw_end(&w, '}');
    }
    jw_end(&w, ']');
    put_open(&w, S("kinds"), '{');
    for (uint32_t i = 0; q->kinds && i < q->table->n_kinds; i++)
        if (q->kinds[i] >= .01f)
            jw_key(&w, q->table->kinds[i]), jw_float(&w, q->kinds[i]);
    jw_end(&w, '}');
    jw_key(&w, S("runner_up"));
    if (second != UINT32_MAX)
        jw_str(&w, d->arms[second].model);
    else
        jw_null(&w);
    jw_key(&w, S("at_twice_the_price"));
    uint32_t twice = best_at(d, 2);
    if (twice != UINT32_MAX)
        jw_str(&w, d->arms[twice].model);
    else
        jw_null(&w);
    jw_end(&w, '}');
    buf_char(out, '\n');
}

/* ---- the log ---- */

struct search { str id; bool verifies; uint64_t thrown, same, other; struct question *found; };

/* The last line of the request: a request id may come again. */
static void line_take(struct search *s, str line, struct arena *keep)
{
    struct arena *a = arena_new();
    struct json j;
    struct json_error e;
    struct logged d;
    if (a && (s->verifies || str_find(line, s->id) >= 0) && json_parse(a, line, &j, &e) == 0 && logged_read(a, &j, &d)) {
        if (s->verifies && d.n_arms) {
            bool same = logged_replays(&d);
            s->thrown++;
            s->same += same;
        } else if (s->verifies) {
            s->other++;
        }
        if (s->id.len && str_eq(d.id, s->id)) {
            struct json kept;
            s->found->a = keep;
            if (json_parse(keep, arena_str(keep, line), &kept, &e) == 0)
                logged_read(keep, &kept, &s->found->d);
        }
    }
    arena_free(a);
}

static bool log_search(struct search *s, const char *path, struct arena *keep)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    if (!f) {
        fprintf(stderr, "signalbox explain: %s: %s\n", path, strerror(errno));
        return false;
    }
    while ((n = getline(&line, &cap, f)) > 0)
        line_take(s, str_trim((str){ line, (size_t)n }), keep);
    free(line);
    if (f != stdin)
        fclose(f);
    return true;
}

static int verified(const struct search *s, bool as_json)
{
    struct buf out = { 0 };
    buf_printf(&out, as_json ? "{\"learned\":%llu,\"replayed\":%llu,\"others\":%llu}\n"
                             : "%llu learned decisions, %llu replay bit for bit; %llu without learning\n",
               (unsigned long long)s->thrown, (unsigned long long)s->same, (unsigned long long)s->other);
    int put = cli_put(stdout, buf_view(&out));
    buf_free(&out);
    return put ? put : s->same == s->thrown ? CLI_FINE : CLI_FINDING;
}

int cli_explain(int argc, char **argv)
{
    struct cli_args args = cli_args_start("explain", argc, argv);
    const char *config = NULL, *log = NULL;
    struct search s = { 0 };
    bool as_json = false;
    for (int id; (id = cli_next(&args)) != CLI_END;) {
        switch (id) {
        case 'c': config = args.value; break;
        case 'l': log = args.value; break;
        case 'V': s.verifies = true; break;
        case 'J': as_json = true; break;
        case CLI_WORD: s.id = str_of(args.value); break;
        default: return CLI_USAGE;
        }
    }
    if (!s.id.len && !s.verifies)
        return cli_usage_error("explain", "which request? Its id is in the answer's x-request-id header");
    struct arena *a = arena_new();
    struct question q = { .a = a };
    struct snap *snap = a && (config || !log) ? cli_snap(a, config, SEVERITY_ERROR) : NULL;
    int rc = CLI_USAGE;
    s.found = &q;
    if (!log && snap) {                         /* the configuration's own log */
        str own = snap->config->observability.access_log;
        if (own.len && !str_eq(own, S("off")) && !str_eq(own, S("stderr")) && !str_eq(own, S("stdout")))
            log = arena_cstr(a, own);
    }
    if (!log)
        cli_usage_error("explain", "which log? --log FILE, or a configuration whose access_log is a file");
    else if (log_search(&s, log, a)) {
        struct buf out = { 0 };
        if (s.verifies) {
            rc = verified(&s, as_json);
        } else if (!q.d.id.len) {
            fprintf(stderr, "signalbox explain: %s has no decision of request '" STR_FMT "'\n", log, STR_ARG(s.id));
            rc = CLI_FINDING;
        } else {
            kinds_find(&q, snap);
            if (as_json)
                print_json(&q, &out);
            else
                print_text(&q, &out);
            rc = cli_put(stdout, buf_view(&out));
        }
        buf_free(&out);
    }
    snap_free(snap);
    arena_free(a);
    return rc;
}
