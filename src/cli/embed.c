/* cli/embed.c -- texts in, vectors out: one JSON line each, in the order of the lines. Texts go to the encoder in batches. */
#include <stdlib.h>

#include "base/json.h"
#include "base/put.h"
#include "cli/cli.h"
#include "cli/rows.h"

struct embed { const struct need_source *source; uint32_t dim; uint64_t n; };

static bool batch_write(const struct embed *e, const str *texts, size_t n)
{
    float *vectors = malloc(n * e->dim * sizeof *vectors);
    const char *why = vectors ? models_embed(e->source, texts, n, e->dim, NEVER, vectors, NULL) : "no memory";
    struct buf out = { 0 };
    struct json_writer w = { .out = &out };
    for (size_t i = 0; i < n && !why; i++) {
        w.need_comma = false;
        jw_begin(&w, '{');
        put_open(&w, S("embedding"), '[');
        for (uint32_t d = 0; d < e->dim; d++)
            jw_float(&w, vectors[i * e->dim + d]);
        jw_end(&w, ']');
        jw_end(&w, '}');
        buf_char(&out, '\n');
    }
    bool ok = !why && cli_put(stdout, buf_view(&out)) == 0;
    if (why)
        fprintf(stderr, "signalbox embed: the encoder did not answer: %s\n", why);
    buf_free(&out);
    free(vectors);
    return ok;
}

static int embed_all(struct embed *e, const char *path)
{
    struct err why = { 0 };
    struct rows *rows = rows_open(path, &why);
    struct progress progress = progress_start("embedding");
    struct row *list = malloc(ROWS_AT_ONCE * sizeof *list);
    int rc = !rows ? -1 : list ? 1 : err_set(&why, "no memory");
    while (rc > 0) {
        struct arena *a = arena_new();
        str texts[ROWS_AT_ONCE];
        int n = rc = rows_take(rows, a, list, &why);
        for (int i = 0; i < n; i++)
            texts[i] = list[i].text;
        if (n > 0 && !batch_write(e, texts, (size_t)n))
            rc = -2;
        e->n += n > 0 ? (uint64_t)n : 0;
        progress_show(&progress, rows_share(rows), e->n);
        arena_free(a);
    }
    free(list);
    progress_end(&progress);
    rows_close(rows);
    if (rc == -1)
        fprintf(stderr, "signalbox embed: %s\n", why.text);
    return rc < 0 ? CLI_USAGE : CLI_FINE;
}

int cli_embed(int argc, char **argv)
{
    struct cli_args args = cli_args_start("embed", argc, argv);
    const char *config = NULL, *file = NULL, *model = "";
    int64_t dim = 0;
    for (int id; (id = cli_next(&args)) != CLI_END;) {
        switch (id) {
        case 'c': config = args.value; break;
        case 'm': model = args.value; break;
        case 'd':
            if (!str_int(str_of(args.value), &dim) || dim < 1)
                return cli_usage_error("embed", "--dimensions wants a whole number above 0, not '%s'", args.value);
            break;
        case CLI_WORD:
            if (file)
                return cli_usage_error("embed", "one file at a time: '%s' is too much", args.value);
            file = args.value;
            break;
        default: return CLI_USAGE;
        }
    }
    struct arena *a = arena_new();
    struct models *models = cli_models(a, config, "embed");
    if (!models) {
        arena_free(a);
        return CLI_USAGE;
    }
    struct embed e = { .source = models_source(models, NEED_EMBEDDING, "embedding", str_of(model)) };
    int rc = CLI_USAGE;
    if (e.source->why_absent)
        cli_models_tell(models, "embed");
    else if (dim > e.source->dim)
        rc = cli_usage_error("embed", "this model's vectors have %u numbers; --dimensions can only be less", e.source->dim);
    else {
        e.dim = dim ? (uint32_t)dim : e.source->dim;
        rc = embed_all(&e, file ? file : "-");
    }
    arena_free(a);
    return rc;
}
