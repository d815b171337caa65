/* cli/bench.c -- picks a measurement; each is a file of its own. */
#include "cli/cli.h"

static const struct { const char *name; int (*run)(int argc, char **argv); } benches[] = {
    { "decide", bench_decide },
    { "signals", bench_signals },
    { "encoder", bench_encoder },
    { "tokenizer", bench_tokenizer },
    { "select", bench_select },
};

int cli_bench(int argc, char **argv)
{
    if (argc < 2 || argv[1][0] == '-')
        return cli_usage_error("bench", "say what to measure: decide, signals, encoder, tokenizer or select");
    for (size_t i = 0; i < COUNT_OF(benches); i++)
        if (strcmp(argv[1], benches[i].name) == 0)
            return benches[i].run(argc - 1, argv + 1);
    return cli_usage_error("bench", "nothing to measure is called '%s'; there is: decide, signals, encoder, tokenizer, select", argv[1]);
}
