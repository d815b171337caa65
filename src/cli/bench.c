/* cli/bench.c -- picks a measurement; each is a file of its own. */
#include "cli/bench.h"

static const struct { const char *name; int (*run)(int argc, char **argv); } benches[] = {
    { "decide", bench_decide },
    { "signals", bench_signals },
    { "encoder", bench_encoder },
    { "tokenizer", bench_tokenizer },
    { "select", bench_select },
};

int bench_profiles(int argc, char **argv, int (*tell)(const struct config *c, size_t profile, struct bench_report *r))
{
    struct arena *a = arena_new();
    struct cli_args args = cli_args_start("bench", argc, argv);
    struct buf out = { 0 };
    struct bench_report r = { .w = { .out = &out } };
    struct findings findings = { .a = a };
    const char *path = NULL, *file;
    str text;
    int rc = CLI_USAGE;
    for (int o; (o = cli_next(&args)) != CLI_END; ) {
        if (o == 'c')
            path = args.value;
        else if (o == 'j')
            r.is_json = true;
        else if (o == CLI_WORD)
            cli_usage_error("bench", "`bench %s` takes no '%s'", argv[0], args.value);
        if (o == CLI_BAD || o == CLI_WORD)
            goto end;
    }
    if (!cli_config_text(a, path, &text, &file))
        goto end;
    const struct config *c = config_load(a, text, file, NULL, false, &findings);
    if (!c) {
        cli_findings(stderr, &findings, SEVERITY_ERROR);
        goto end;
    }
    rc = CLI_FINE;
    if (r.is_json)
        jw_begin(&r.w, '[');
    for (size_t i = 0; i < c->n_profiles && rc == CLI_FINE; i++)
        rc = tell(c, i, &r);
    if (r.is_json) {
        jw_end(&r.w, ']');
        buf_char(&out, '\n');
    }
    if (rc == CLI_FINE)
        rc = cli_put(stdout, buf_view(&out));
end:
    buf_free(&out);
    arena_free(a);
    return rc;
}

int cli_bench(int argc, char **argv)
{
    if (argc < 2 || argv[1][0] == '-')
        return cli_usage_error("bench", "say what to measure: decide, signals, encoder, tokenizer or select");
    for (size_t i = 0; i < COUNT_OF(benches); i++)
        if (strcmp(argv[1], benches[i].name) == 0)
            return benches[i].run(argc - 1, argv + 1);
    return cli_usage_error("bench", "nothing to measure is called '%s'; there is: decide, signals, encoder, tokenizer, select", argv[1]);
}
