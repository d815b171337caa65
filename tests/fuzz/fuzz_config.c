/* tests/fuzz/fuzz_config.c -- any bytes as a configuration.
 *
 * They are parsed, expanded with a made-up environment, decoded, checked; what loads is dumped, and
 * the dump must be YAML again. No file is touched.
 *
 *   clang-14 -g -O1 -fsanitize=fuzzer,address,undefined -Isrc ... tests/fuzz/fuzz_config.c
 *   ./fuzz_config -dict=tests/fuzz/config.dict tests/fuzz/corpus/config */
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *fuzz_env(const char *name)
{
    return strlen(name) % 3 == 0 ? "$A ${B}: {x: [1]}" : strlen(name) % 3 == 1 ? "" : NULL;
}

static void dump_reads_back(struct arena *a, const struct config *c)
{
    struct buf b = { 0 };
    struct err e = { 0 };
    config_dump_yaml(c, &b);
    if (!yaml_parse(a, buf_view(&b), "dump", &e)) {
        fprintf(stderr, "%u:%u: %s\n" STR_FMT, e.at.line, e.at.col, e.text, STR_ARG(buf_view(&b)));
        abort();
    }
    buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new();
    struct findings found = { .a = a };
    str text = { (const char *)data, size };
    struct config *c = config_load(a, text, "fuzz.yaml", fuzz_env, size % 2, &found);
    if (c)
        dump_reads_back(a, c);
    else if (found.n_by_severity[SEVERITY_ERROR] == 0)
        abort();
    arena_free(a);
    return 0;
}
