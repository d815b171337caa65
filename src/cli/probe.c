/* cli/probe.c -- `probe`: which prompts of a recorded set to ask a new model, when only so many answers can be paid for.
 *
 * The choice is select/probe.c's; here it is told what the folder knows, and its answer becomes a list that somebody can work
 * through, and a table of what is thought of the model by now on each kind of query. */
#include <stdio.h>

#include "base/put.h"
#include "cli/cli.h"
#include "cli/outcomes.h"
#include "select/probe.h"

enum { COUNT = 100, COUNT_MAX = 100000, EXCERPT = 60 };

struct wish { const char *folder, *model, *out; int64_t count, seed; bool as_json; };

struct choice {
    struct arena *a;
    const struct wish *wish;
    struct outcomes o;
    struct newcomer w;
    uint32_t n_known, n, *rows;         /* chosen, most telling first */
    double *share;                      /* of the uncertainty, by row */
    double whole;                       /* their sum */
};

static int choose(struct choice *c, struct err *e)
{
    if (outcomes_read(&c->o, c->a, c->wish->folder, true, e) < 0)
        return -1;
    const struct recorded r = outcomes_recorded(&c->o);
    uint32_t model = c->wish->model ? outcomes_model(&c->o, str_of(c->wish->model)) : UINT32_MAX;
    uint32_t count = c->wish->count < c->o.n ? (uint32_t)c->wish->count : c->o.n;
    bool *is_known = ARENA_ARRAY(c->a, bool, c->o.n);
    c->rows = ARENA_ARRAY(c->a, uint32_t, count);
    c->share = ARENA_ARRAY(c->a, double, count);
    if (model != UINT32_MAX && c->o.n_models < 2)
        return err_set(e, "%s has no other model than %s: what prompts tell is learned from the outcomes of others", c->wish->folder,
                       c->wish->model);
    if (!newcomer_read(&c->w, &r, model, is_known, c->a))
        return err_set(e, "no memory");
    for (uint32_t i = 0; i < c->o.n; i++)
        c->n_known += is_known[i];
    if (c->n_known == c->o.n)
        return err_set(e, "every prompt of %s has an outcome of %s: nothing is left to ask", c->wish->folder, c->wish->model);
    c->n = probe_choose(&c->w, &r, is_known, count, PROBE_CHECKS, (uint64_t)c->wish->seed, c->rows, c->share);
    for (uint32_t i = 0; i < c->n && c->n != UINT32_MAX; i++)
        c->whole += c->share[i];
    return c->n == UINT32_MAX ? err_set(e, "no memory") : 0;
}

static void prompt_write(const struct choice *c, uint32_t i, struct json_writer *j)
{
    uint32_t row = c->rows[i];
    jw_begin(j, '{');
    put_str(j, S("qid"), c->o.qid[row]);
    put_str(j, S("task"), c->o.task[row]);
    put_str(j, S("text"), c->o.text[row]);
    put_double(j, S("share"), c->share[i]);
    jw_end(j, '}');
}

static int prompts_write(const struct choice *c, struct err *e)
{
    struct buf lines = { 0 };
    for (uint32_t i = 0; i < c->n; i++) {
        struct json_writer j = { .out = &lines };
        prompt_write(c, i, &j);
        buf_char(&lines, '\n');
    }
    int rc = lines.is_failed ? err_set(e, "no memory") : cli_write_whole(c->wish->out, buf_view(&lines), c->a, e);
    buf_free(&lines);
    return rc;
}

/* ---- what is thought of the model ---- */

struct kind_line { str name; uint32_t asked; struct guess guess; };

static struct kind_line *kinds_list(const struct choice *c)
{
    struct kind_line *k = ARENA_ARRAY(c->a, struct kind_line, c->w.n_kinds);
    for (uint32_t i = c->w.n; i-- > 0;)
        k[c->w.kind[i]].name = c->o.task[i];
    for (uint32_t i = 0; i < c->n; i++)
        k[c->w.kind[c->rows[i]]].asked++;
    for (uint32_t h = 0; h < c->w.n_kinds; h++) {
        k[h].guess = newcomer_kind(&c->w, h);
        if (c->o.n_tasks < 2)           /* kinds were made up by likeness, or there is one */
            k[h].name = arena_printf(c->a, "cluster %u", h + 1);
        else if (h == NEWCOMER_KINDS)
            k[h].name = S("(small kinds)");
    }
    return k;
}

static void choice_json(const struct choice *c, const struct kind_line *k)
{
    struct buf text = { 0 };
    struct json_writer j = { .out = &text };
    jw_begin(&j, '{');
    put_or_null(&j, S("model"), c->wish->model ? str_of(c->wish->model) : S(""));
    put_int(&j, S("known"), c->n_known);
    put_double(&j, S("share"), c->whole);
    put_open(&j, S("prompts"), '[');
    for (uint32_t i = 0; i < c->n; i++)
        prompt_write(c, i, &j);
    jw_end(&j, ']');
    put_open(&j, S("kinds"), '[');
    for (uint32_t h = 0; h < c->w.n_kinds; h++) {
        if (!(c->w.of[h].share > 0))
            continue;
        jw_begin(&j, '{');
        put_str(&j, S("kind"), k[h].name);
        put_double(&j, S("share_of_queries"), c->w.of[h].share);
        put_int(&j, S("prompts"), k[h].asked);
        put_double(&j, S("expected"), k[h].guess.mean);
        put_double(&j, S("deviation"), k[h].guess.deviation);
        put_double(&j, S("best_other"), c->w.of[h].best);
        jw_end(&j, '}');
    }
    jw_end(&j, ']');
    jw_end(&j, '}');
    buf_char(&text, '\n');
    cli_put(stdout, buf_view(&text));
    buf_free(&text);
}

/* The beginning of a prompt on one line. */
static str excerpt(struct arena *a, str text)
{
    size_t n = text.len;
    if (n > EXCERPT)
        for (n = EXCERPT; n > 0 && ((unsigned char)text.ptr[n] & 0xc0) == 0x80;)
            n--;
    char *line = arena_cstr(a, str_upto(text, n));
    for (size_t i = 0; i < n; i++)
        line[i] = (unsigned char)line[i] < ' ' ? ' ' : line[i];
    return (str){ line, n };
}

static void choice_print(const struct choice *c, const struct kind_line *k)
{
    const char *name = c->wish->model ? c->wish->model : "the new model", *column = c->wish->model ? c->wish->model : "NAME";
    printf("    share  prompt\n");
    for (uint32_t i = 0; i < c->n; i++) {
        uint32_t row = c->rows[i];
        printf("  %5.1f %%  " STR_FMT "  " STR_FMT "  " STR_FMT "\n", 100 * c->share[i], STR_ARG(c->o.qid[row]), STR_ARG(c->o.task[row]),
               STR_ARG(excerpt(c->a, c->o.text[row])));
    }
    printf("%u of %u prompts; %u outcomes of %s are known. Those of these would take away %.0f %% of what is uncertain about it.\n\n", c->n,
           c->o.n, c->n_known, name, 100 * c->whole);
    printf("  %-24s %8s %8s %18s %12s\n", "kind", "queries", "prompts", "expected", "best other");
    for (uint32_t h = 0; h < c->w.n_kinds; h++)
        if (c->w.of[h].share > 0)
            printf("  %-24.*s %6.1f %% %8u %9.3f (%6.3f) %12.3f\n", (int)k[h].name.len, k[h].name.ptr, 100 * c->w.of[h].share,
                   k[h].asked, k[h].guess.mean, k[h].guess.deviation, c->w.of[h].best);
    printf("\nWrite their outcomes into the column '%s' of %s/scores.csv. Then there are more to choose, or a table to make:\n"
           "  signalbox probe %s --model %s\n"
           "  signalbox train selector %s --newcomer %s --out FILE\n",
           column, c->wish->folder, c->wish->folder, column, c->wish->folder, column);
}

int cli_probe(int argc, char **argv)
{
    struct cli_args args = cli_args_start("probe", argc, argv);
    struct wish w = { .count = COUNT, .seed = 1 };
    for (int id; (id = cli_next(&args)) != CLI_END;) {
        switch (id) {
        case 'n':
            if (!str_int(str_of(args.value), &w.count) || w.count < 1 || w.count > COUNT_MAX)
                return cli_usage_error("probe", "--count is a number of prompts, from 1 to %d", COUNT_MAX);
            break;
        case 'S':
            if (!str_int(str_of(args.value), &w.seed) || w.seed < 0)
                return cli_usage_error("probe", "--seed is a whole number");
            break;
        case 'm': w.model = args.value; break;
        case 'o': w.out = args.value; break;
        case 'J': w.as_json = true; break;
        case CLI_WORD:
            if (w.folder)
                return cli_usage_error("probe", "one folder at a time; what is '%s'?", args.value);
            w.folder = args.value;
            break;
        default: return CLI_USAGE;
        }
    }
    if (!w.folder)
        return cli_usage_error("probe", "a folder of recorded outcomes is needed: signalbox probe DIR");
    struct choice c = { .a = arena_new(), .wish = &w };
    struct err e = { 0 };
    int rc = choose(&c, &e);
    if (rc == 0 && w.out)
        rc = prompts_write(&c, &e);
    if (rc < 0)
        fprintf(stderr, "signalbox probe: %s\n", e.text);
    else if (w.as_json)
        choice_json(&c, kinds_list(&c));
    else
        choice_print(&c, kinds_list(&c));
    arena_free(c.a);
    return rc < 0 ? CLI_USAGE : CLI_FINE;
}
