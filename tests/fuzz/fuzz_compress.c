/* tests/fuzz/fuzz_compress.c -- any bytes as a long text: sentences lie in it, in order; what is kept fits and does not change when it
 * is shortened again; and scores are numbers. The first two bytes choose budget, first and last. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "signal/compress.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sentence all[SENTENCES_MAX];
    if (size < 2)
        return 0;
    struct compression c = {
        .textrank = .2, .position = .4, .tfidf = .35, .novelty = .05, .depth = .5,
        .max_tokens = 1 + data[0] % 64, .first = data[1] % 5, .last = data[1] / 16 % 5,
    };
    char *text = malloc(size - 1);                      /* to its last byte, so that a read behind it is seen */
    struct arena *a = arena_new();
    str s = { memcpy(text, data + 2, size - 2), size - 2 };
    size_t n = compress_split(&c, s, all);
    must(n <= SENTENCES_MAX && (n > 0) == (s.len > 0), "too many sentences, or none");
    const char *at = s.ptr;
    double always = 0;
    for (size_t i = 0; i < n; i++) {
        must(all[i].text.ptr >= at && all[i].text.len > 0 && all[i].text.len <= SENTENCE_BYTES, "sentences overlap, or are too long");
        at = all[i].text.ptr + all[i].text.len;
        if (i < (size_t)c.first || n - i <= (size_t)c.last)
            always += all[i].tokens;
    }
    must(at <= s.ptr + s.len && (n == 0 || c.last == 0 || at == s.ptr + s.len), "the last sentence is not the last");
    must(n == 0 || compress_score(&c, all, n, a), "no memory");
    for (size_t i = 0; i < n; i++)
        must(all[i].score >= 0 && all[i].score <= 1.000001 && all[i].novelty <= 1 && all[i].textrank <= 1, "a score is out of range");
    str got = compress_text(&c, s, a);
    must(got.ptr == s.ptr || compress_tokens(got, INFINITY) <= fmax((double)c.max_tokens, always) + 1e-6, "more than the budget");
    str again = compress_text(&c, got, a);
    must(always > (double)c.max_tokens || again.ptr == got.ptr, "it shrinks again");
    arena_free(a);
    free(text);
    return 0;
}
