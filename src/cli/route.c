/* cli/route.c -- one decision, told to a person or a program.
 *
 * The request goes through route_request, the function that the gateway calls. What --explain shows
 * comes from a second run that evaluates everything; both always choose the same. */
#include <math.h>
#include <unistd.h>

#include "admin/eval.h"
#include "base/clock.h"
#include "base/put.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "front/explain.h"
#include "pipeline/route.h"

struct wish {
    const char *config, *request, *model;
    struct strings headers;             /* "name:value" */
    str text; bool has_text;
    bool explain, json;
};

/* ---- for people ---- */

static void label(struct buf *out, const char *name)
{
    buf_printf(out, "%-10s ", name);
}

static void models_lines(const struct req *r, struct buf *out)
{
    label(out, "model");
    buf_printf(out, STR_FMT "\n", STR_ARG(r->n_order ? r->order[0]->name : S("none is called")));
    if (r->n_order < 2)
        return;
    label(out, "else");
    for (unsigned i = 1; i < r->n_order; i++)
        buf_printf(out, "%s" STR_FMT, i > 1 ? ", " : "", STR_ARG(r->order[i]->name));
    buf_char(out, '\n');
}

static void verdict_text(const struct req *r, struct buf *out)
{
    const struct decision *d = &r->decision;
    label(out, "decision");
    if (!r->recipe)
        buf_printf(out, "none: '" STR_FMT "' is a model's own name and passes through\n",
                   STR_ARG(r->chat.model));
    else if (!d->conf)
        buf_str(out, S("none matched, so the default model answers\n"));
    else
        buf_printf(out, STR_FMT " (priority %lld, confidence %.4f)\n", STR_ARG(d->conf->name),
                   (long long)d->conf->priority, d->confidence);
    models_lines(r, out);
    if (!r->recipe)
        return;
    if (d->conf) {
        label(out, "because");
        explain_because(r->recipe->policy, d, out);
        buf_char(out, '\n');
    }
    if (r->method) {
        label(out, "picked by");
        buf_printf(out, "%s%s%s\n", r->method, r->pick.reason ? ", " : "",
                   r->pick.reason ? r->pick.reason : "");
    }
    if (r->pick.fallback) {
        label(out, "fallback");
        buf_printf(out, "%s\n", r->pick.fallback);
    }
    label(out, "recipe");
    buf_printf(out, STR_FMT ", as model '" STR_FMT "'\n", STR_ARG(r->recipe->profile->name),
               STR_ARG(r->chat.model));
    label(out, "signals");
    buf_printf(out, "%u unit%s run, %u not needed\n", d->n_units_run,
               d->n_units_run == 1 ? "" : "s", d->n_units_avoided);
}

static void number(struct buf *out, double v, int width)
{
    if (isnan(v))
        buf_printf(out, " %*s", width, "-");
    else
        buf_printf(out, " %*.6g", width, v);
}

static void candidates_text(const struct req *r, struct buf *out)
{
    const struct plan *p = r->plan;
    struct candidate *list = route_candidates(r->a, p, clock_now());
    size_t width = 5;
    for (size_t i = 0; i < p->conf->n_refs; i++)
        width = list[i].model.len > width ? list[i].model.len : width;
    buf_printf(out,
               "\nCandidates (prices in USD per million tokens; times in seconds)\n"
               "  %-*s %8s %8s %8s %9s %9s %8s  %s\n", (int)width, "model", "prompt", "answer",
               "quality", "ttft p50", "tpot p50", "running", "state");
    for (size_t i = 0; i < p->conf->n_refs; i++) {
        const struct candidate *c = &list[i];
        bool known = p->candidates[i] != NULL;
        buf_printf(out, "  %-*.*s", (int)width, (int)c->model.len, c->model.ptr);
        number(out, c->prompt_price, 8);
        number(out, c->completion_price, 8);
        number(out, c->quality, 8);
        number(out, c->latency ? c->latency->ttft_s(c->latency, 50) : (double)NAN, 9);
        number(out, c->latency ? c->latency->tpot_s(c->latency, 50) : (double)NAN, 9);
        buf_printf(out, " %8u  %s%s", c->in_flight,
                   !known          ? "no provider"
                   : c->is_healthy ? "usable"
                                   : "no usable backend",
                   r->n_order && known && r->order[0] == p->candidates[i] ? ", chosen" : "");
        if (r->pick.scores && !isnan(r->pick.scores[i]))
            buf_printf(out, ", score %.4f", (double)r->pick.scores[i]);
        buf_char(out, '\n');
    }
}

static struct decision explained(const struct req *r, struct decide_scratch **scratch)
{
    *scratch = decide_scratch_new(r->a, r->recipe->policy);
    struct gatherer gatherer = { r->snap->signal_models, r->a, NEVER };
    decide_gather(*scratch, models_gather, &gatherer);
    decide_clock(*scratch, clock_now);
    return decide_run(r->recipe->policy, &r->facts, *scratch, r->a, DECIDE_EAGER, NULL);
}

static void explanation_text(const struct req *r, struct buf *out)
{
    struct decide_scratch *scratch;
    buf_char(out, '\n');
    struct decision d = explained(r, &scratch);
    decide_explain(r->recipe->policy, scratch, &d, cli_colour(stdout), out);
    if (r->plan && r->plan->conf->n_refs)
        candidates_text(r, out);
}

/* ---- for programs ---- */

static void jw_text(struct json_writer *w, const char *key, str value)
{
    jw_key(w, str_of(key));
    if (value.ptr)
        jw_str(w, value);
    else
        jw_null(w);
}

/* The management API's answer to the same question: programs need to know only one form. */
static void verdict_json(const struct req *r, bool with_trace, struct buf *out)
{
    struct decide_scratch *scratch;
    struct decision d = explained(r, &scratch);
    struct eval_in in = {
        .original_text = r->facts.current_user,
        .requested_model = r->chat.model,
        .recipe = r->recipe->profile->name,
        .policy = r->recipe->policy,
        .scratch = scratch,
        .decision = &d,
        .facts = &r->facts,
        .selector = r->plan ? r->plan->selector : NULL,
        .pick = r->pick.order ? &r->pick : NULL,
        .method = r->method,
        .default_model = r->snap->config->default_model,
        .with_trace = with_trace,
    };
    eval_render(&in, out);
    buf_char(out, '\n');
}

static void passthrough_json(const struct req *r, struct buf *out)
{
    struct json_writer w = { .out = out };
    jw_begin(&w, '{');
    jw_text(&w, "original_text", r->facts.current_user);
    jw_text(&w, "requested_model", r->chat.model);
    jw_text(&w, "routing_decision", S(""));
    put_open(&w, S("recommended_models"), '[');
    jw_str(&w, r->order[0]->name);
    jw_end(&w, ']');
    jw_text(&w, "selected_model", r->order[0]->name);
    jw_text(&w, "selection_status", S("passthrough"));
    jw_end(&w, '}');
    buf_char(out, '\n');
}

static void failure_json(const struct req *r, struct buf *out)
{
    struct json_writer w = { .out = out };
    jw_begin(&w, '{');
    put_open(&w, S("error"), '{');
    put_int(&w, S("status"), r->fail.status);
    jw_text(&w, "code", str_of(r->fail.code));
    jw_text(&w, "message", r->fail.message);
    jw_end(&w, '}');
    jw_end(&w, '}');
    buf_char(out, '\n');
}

/* ---- the command ---- */

static int words_read(struct arena *a, int argc, char **argv, struct wish *w)
{
    struct cli_args args = cli_args_start("route", argc, argv);
    struct buf text = { 0 };
    int o;
    while ((o = cli_next(&args)) != CLI_END) {
        str value = str_of(args.value);
        switch (o) {
        case 'c': w->config = args.value; break;
        case 'r': w->request = args.value; break;
        case 'm': w->model = args.value; break;
        case 'e': w->explain = true; break;
        case 'J': w->json = true; break;
        case 'H':
            if (str_chr(value, ':') < 1)
                return cli_usage_error("route", "--header %s: write NAME:VALUE", args.value);
            *PUSH(a, w->headers.items, w->headers.n) = value;
            break;
        case CLI_WORD:                          /* words without quotes around them are one text */
            if (w->has_text)
                buf_char(&text, ' ');
            buf_str(&text, value);
            w->has_text = true;
            break;
        default:
            return CLI_USAGE;
        }
    }
    w->text = arena_str(a, buf_view(&text));
    buf_free(&text);
    if (w->has_text && w->request)
        return cli_usage_error("route", "give a TEXT or --request, not both");
    return 0;
}

static bool body_get_ready(struct arena *a, const struct wish *w, str *body)
{
    struct err e = { 0 };
    if (w->has_text) {
        *body = ask_body_of_text(a, w->text);
        return true;
    }
    if (!w->request && isatty(STDIN_FILENO)) {
        cli_usage_error("route",
                        "say what to route: a text, --request FILE, or text on standard input");
        return false;
    }
    if (!cli_read(a, w->request ? w->request : "-", body, &e)) {
        fprintf(stderr, "signalbox route: %s\n", e.text);
        return false;
    }
    if (!w->request)
        *body = ask_body_of_text(a, str_trim(*body));
    return true;
}

static int route(struct arena *a, struct snap *s, const struct wish *w, str body)
{
    struct err e = { 0 };
    struct req *r = ask_new(a, s, body, &e);
    if (!r) {
        fprintf(stderr, "signalbox route: %s: %s\n", w->request ? w->request : "text", e.text);
        return CLI_USAGE;
    }
    if (w->model)
        r->chat.model = str_of(w->model);
    for (size_t i = 0; i < w->headers.n; i++) {
        str value = w->headers.items[i], name = str_cut(&value, ':');
        ask_header(r, str_trim(name), str_trim(value));
    }
    struct buf out = { 0 };
    int rc = route_request(r) < 0 ? CLI_FINDING : CLI_FINE;
    if (rc == CLI_FINE && w->json && !r->recipe)
        passthrough_json(r, &out);
    else if (rc == CLI_FINE && w->json)
        verdict_json(r, w->explain, &out);
    else if (rc == CLI_FINE)
        verdict_text(r, &out);
    else if (w->json)
        failure_json(r, &out);
    else
        fprintf(stderr,
                "signalbox route: the gateway would refuse this with status %d: " STR_FMT "\n",
                r->fail.status, STR_ARG(r->fail.message));
    if (rc == CLI_FINE && w->explain && !w->json && r->recipe)
        explanation_text(r, &out);
    int put = cli_put(stdout, buf_view(&out));
    buf_free(&out);
    return put ? put : rc;
}

int cli_route(int argc, char **argv)
{
    struct arena *a = arena_new();
    struct wish w = { 0 };
    str body;
    int rc = words_read(a, argc, argv, &w);
    if (rc == 0) {
        struct snap *s = body_get_ready(a, &w, &body) ? cli_snap(a, w.config, SEVERITY_ERROR)
                                                      : NULL;
        rc = s ? route(a, s, &w, body) : CLI_USAGE;
        snap_free(s);
    }
    arena_free(a);
    return rc;
}
