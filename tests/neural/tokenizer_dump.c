/* tests/neural/tokenizer_dump.c -- encodes lines for tokenizer_oracle.py.
 *
 * usage: tokenizer_dump TOKENIZER.json [pair|bare|time] <LINES
 *
 * A line on stdin is the text in hexadecimal; a line of output has one "id:from:to:type:special" a token. `pair`: the second
 * half of the bytes is the second text; `bare`: without special tokens; `time`: how long each line takes, best of 200 rounds
 * (its words are remembered) and in the first (they are new). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "neural/tokenizer.h"

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static size_t unhex(char *line)
{
    size_t n = 0;
    unsigned byte;
    for (; line[2 * n] && line[2 * n + 1] && sscanf(line + 2 * n, "%2x", &byte) == 1; n++)
        line[n] = (char)byte;
    return n;
}

static void rate(const struct tokenizer *t, struct tokenizer_scratch *s, str text)
{
    struct tokens out = { 0 };
    double best = 1e18, first = 1e18;
    for (int round = 0; round < 200; round++) {
        double from = now_us();
        if (tokenizer_encode(t, text, (str){ 0 }, true, s, &out) < 0)
            return;
        double took = now_us() - from;
        best = took < best ? took : best;
        if (round == 0)
            first = took;
    }
    printf("%zu bytes, %u tokens, best %.1f us, %.1f us per 500 tokens; first %.1f us, %.1f us per 500 tokens\n", text.len, out.n,
           best, best * 500 / out.n, first, first * 500 / out.n);
}

int main(int argc, char **argv)
{
    struct err e = { 0 };
    double from = now_us();
    struct tokenizer *t = argc > 1 ? tokenizer_open(argv[1], &e) : NULL;
    if (!t) {
        fprintf(stderr, "%s\n", argc > 1 ? e.text : "usage: tokenizer_dump TOKENIZER.json [pair|bare|time] <LINES");
        return 2;
    }
    const char *mode = argc > 2 ? argv[2] : "";
    bool is_pair = strcmp(mode, "pair") == 0, is_time = strcmp(mode, "time") == 0;
    if (is_time)
        printf("loaded in %.1f ms\n", (now_us() - from) / 1000);
    struct tokenizer_scratch *s = tokenizer_scratch_new();
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    while ((len = getline(&line, &cap, stdin)) > 0) {
        line[len - 1] = 0;
        str a = { line, unhex(line) }, b = { NULL, 0 };
        if (is_time) {
            rate(t, s, a);
            continue;
        }
        if (is_pair) {
            b = str_from(a, a.len / 2);
            a = str_upto(a, a.len / 2);
        }
        struct tokens out;
        if (tokenizer_encode(t, a, b, strcmp(mode, "bare") != 0, s, &out) < 0) {
            puts("failed");
            continue;
        }
        for (uint32_t i = 0; i < out.n; i++)
            printf("%s%d:%u:%u:%u:%u", i ? " " : "", out.ids[i], out.from[i], out.to[i], out.types[i], out.is_special[i]);
        putchar('\n');
    }
    free(line);
    tokenizer_scratch_free(s);
    tokenizer_close(t);
    return 0;
}
