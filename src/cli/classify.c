/* cli/classify.c -- texts in, what a signal's model says of each out: one JSON line each, in the order of the lines. */
#include "pipeline/classify.h"

#include "base/json.h"
#include "cli/cli.h"
#include "cli/rows.h"

static void line_write(const struct classification *c, struct buf *out)
{
    struct json_writer w = { .out = out };
    jw_begin(&w, '{');
    if (c->why) {
        jw_key(&w, S("unknown"));
        jw_str(&w, str_of(c->why));
    } else {
        jw_key(&w, S("label"));
        jw_str(&w, c->label);
        jw_key(&w, S("score"));
        jw_float(&w, c->score);
        jw_key(&w, S("scores"));
        jw_begin(&w, '{');
        for (uint32_t i = 0; i < c->n_scores; i++) {
            jw_key(&w, c->scores[i].label);
            jw_float(&w, c->scores[i].score);
        }
        jw_end(&w, '}');
        jw_key(&w, S("spans"));
        jw_begin(&w, '[');
        for (uint32_t i = 0; i < c->n_spans; i++) {
            jw_begin(&w, '{');
            jw_key(&w, S("start"));
            jw_int(&w, c->spans[i].from);
            jw_key(&w, S("end"));
            jw_int(&w, c->spans[i].to);
            jw_key(&w, S("type"));
            jw_str(&w, c->spans[i].type);
            jw_key(&w, S("score"));
            jw_float(&w, c->spans[i].score);
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
    int rc = rows ? 1 : -1;
    uint64_t n = 0, unknown = 0;
    while (rc == 1) {
        struct arena *a = arena_new();
        struct row row;
        rc = rows_next(rows, a, &row, &why);
        if (rc == 1) {
            struct classification c;
            struct buf out = { 0 };
            classify(m, signal, &row.facts, NEVER, a, &c);
            line_write(&c, &out);
            unknown += c.why != NULL;
            rc = cli_put(stdout, buf_view(&out)) == 0 ? 1 : -2;
            buf_free(&out);
            progress_show(&progress, rows_share(rows), ++n);
        }
        arena_free(a);
    }
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
