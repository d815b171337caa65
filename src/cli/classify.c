/* cli/classify.c -- texts in, what a signal's model says of each out: one JSON line each, in the order of the lines.
 * Many lines are asked about at once, so that the encoder packs them. */
#include "pipeline/classify.h"

#include <stdlib.h>

#include "base/json.h"
#include "base/put.h"
#include "cli/cli.h"
#include "cli/rows.h"

static void line_write(const struct classification *c, struct buf *out)
{
    struct json_writer w = { .out = out };
    jw_begin(&w, '{');
    if (c->why) {
        put_str(&w, S("unknown"), str_of(c->why));
    } else {
        put_str(&w, S("label"), c->label);
        put_float(&w, S("score"), c->score);
        put_open(&w, S("scores"), '{');
        for (uint32_t i = 0; i < c->n_scores; i++)
            put_float(&w, c->scores[i].label, c->scores[i].score);
        jw_end(&w, '}');
        put_open(&w, S("spans"), '[');
        for (uint32_t i = 0; i < c->n_spans; i++) {
            jw_begin(&w, '{');
            put_int(&w, S("start"), c->spans[i].from);
            put_int(&w, S("end"), c->spans[i].to);
            put_str(&w, S("type"), c->spans[i].type);
            put_float(&w, S("score"), c->spans[i].score);
            jw_end(&w, '}');
        }
        jw_end(&w, ']');
    }
    jw_end(&w, '}');
    buf_char(out, '\n');
}

static int classify_all(struct models *m, str signal, const char *path)
{
    struct err why = { 0 };
    struct rows *rows = rows_open(path, &why);
    struct progress progress = progress_start("classifying");
    struct row *list = malloc(ROWS_AT_ONCE * sizeof *list);
    struct classification *said = malloc(ROWS_AT_ONCE * sizeof *said);
    int rc = !rows ? -1 : list && said ? 1 : err_set(&why, "no memory");
    uint64_t n = 0, unknown = 0;
    while (rc > 0) {
        struct arena *a = arena_new();
        const struct facts *facts[ROWS_AT_ONCE];
        struct buf out = { 0 };
        rc = rows_take(rows, a, list, &why);
        for (int i = 0; i < rc; i++)
            facts[i] = &list[i].facts;
        if (rc > 0)
            classify_many(m, signal, facts, (size_t)rc, NEVER, a, said);
        for (int i = 0; i < rc; i++) {
            line_write(&said[i], &out);
            unknown += said[i].why != NULL;
        }
        n += rc > 0 ? (uint64_t)rc : 0;
        if (rc > 0 && cli_put(stdout, buf_view(&out)) != 0)
            rc = -2;
        progress_show(&progress, rows_share(rows), n);
        buf_free(&out);
        arena_free(a);
    }
    free(list);
    free(said);
    progress_end(&progress);
    rows_close(rows);
    if (rc == -1)
        fprintf(stderr, "signalbox classify: %s\n", why.text);
    if (unknown)
        cli_models_tell(m, "classify");
    return rc < 0 ? CLI_USAGE : unknown ? CLI_FINDING : CLI_FINE;
}

int cli_classify(int argc, char **argv)
{
    struct cli_args args = cli_args_start("classify", argc, argv);
    const char *config = NULL, *file = NULL, *signal = NULL;
    for (int id; (id = cli_next(&args)) != CLI_END;) {
        switch (id) {
        case 'c': config = args.value; break;
        case 's': signal = args.value; break;
        case CLI_WORD:
            if (file)
                return cli_usage_error("classify", "one file at a time: '%s' is too much", args.value);
            file = args.value;
            break;
        default: return CLI_USAGE;
        }
    }
    if (!signal || !classify_knows(str_of(signal)))
        return cli_usage_error("classify", "--signal names one of %s%s%s", classify_names(), signal ? "; not " : "", signal ? signal : "");
    struct arena *a = arena_new();
    struct models *models = cli_models(a, config, "classify");
    int rc = models ? classify_all(models, str_of(signal), file ? file : "-") : CLI_USAGE;
    arena_free(a);
    return rc;
}
