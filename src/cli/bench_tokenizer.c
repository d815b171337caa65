/* cli/bench_tokenizer.c -- how long a text of N tokens takes from bytes to token numbers.
 *
 * Texts are made of the model's own vocabulary, which lists its words by how common they are: ranks are drawn log-uniformly, as
 * Zipf's law has it, and one word in eight is two glued together, which the model must take apart. No two texts are the same, and
 * together they hold more words than a scratch remembers. The median over all texts counts; `cold` is the same with a scratch
 * that has seen nothing. */
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/rand.h"
#include "cli/cli.h"
#include "neural/tokenizer.h"

enum { TEXTS = 256, ROUNDS_MAX = 64, TOKENS_MAX = 8192, WORD_MIN = 2, WORD_MAX = 24, SPAN_NS = 1000000000 };

struct result { double median_us, best_us, cold_us, bytes; uint32_t n; };

/* ---- texts ---- */

/* The letters of a token that begins a word; "" for pieces from inside words, numbers, signs and scripts without spaces. */
static str word_of(str token)
{
    static const char *const marks[] = { "\xc4\xa0" /* byte-level BPE's space */, "\xe2\x96\x81" /* SentencePiece's */ };
    for (size_t i = 0; i < COUNT_OF(marks); i++)
        if (str_starts(token, str_of(marks[i])))
            token = str_from(token, strlen(marks[i]));
    bool is_word = token.len >= WORD_MIN && token.len <= WORD_MAX;
    for (size_t i = 0; i < token.len && is_word; i++)
        is_word = (token.ptr[i] >= 'a' && token.ptr[i] <= 'z') || (token.ptr[i] >= 'A' && token.ptr[i] <= 'Z');
    return is_word ? token : S("");
}

static size_t words_find(const struct tokenizer *t, struct arena *a, str **out)
{
    uint32_t n = tokenizer_vocabulary(t);
    str *words = ARENA_ARRAY(a, str, n);
    size_t n_words = 0;
    for (uint32_t i = 0; i < n; i++) {
        str word = word_of(tokenizer_token(t, (int32_t)i));
        if (word.len)
            words[n_words++] = word;
    }
    *out = words;
    return n_words;
}

static str word_draw(const str *words, size_t n_words, uint64_t *seed)
{
    size_t rank = (size_t)exp(rand_unit(seed) * log((double)n_words));
    return words[rank < n_words ? rank : n_words - 1];
}

static bool text_make(const struct tokenizer *t, struct tokenizer_scratch *s, const str *words, size_t n_words, uint32_t n_tokens,
                      uint64_t *seed, struct arena *a, str *out)
{
    struct buf b = { 0 };
    struct tokens tokens = { 0 };
    bool ok = true;
    while (ok && tokens.n < n_tokens) {         /* a word is at least one token */
        for (uint32_t missing = n_tokens - tokens.n, i = 0; i < (missing + 1) / 2; i++) {
            buf_str(&b, word_draw(words, n_words, seed));
            if (rand_below(seed, 8) == 0)
                buf_str(&b, word_draw(words, n_words, seed));
            uint64_t sign = rand_below(seed, 24);
            buf_str(&b, sign == 0 ? S(". ") : sign == 1 ? S(", ") : S(" "));
        }
        ok = tokenizer_encode(t, buf_view(&b), (str){ 0 }, true, s, &tokens) == 0;
    }
    *out = arena_str(a, buf_view(&b));
    buf_free(&b);
    return ok;
}

/* ---- measuring ---- */

static int by_number(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static bool timed(const struct tokenizer *t, struct tokenizer_scratch *s, str text, double *us)
{
    struct tokens tokens;
    uint64_t start = clock_now();
    bool ok = s && tokenizer_encode(t, text, (str){ 0 }, true, s, &tokens) == 0;
    *us = (double)(clock_now() - start) / 1000;
    return ok;
}

static bool measure(const struct tokenizer *t, const str *texts, struct result *r)
{
    static double times[TEXTS * ROUNDS_MAX], cold[TEXTS];
    bool ok = true;
    for (size_t i = 0; i < TEXTS && ok; i++) {
        struct tokenizer_scratch *fresh = tokenizer_scratch_new();
        ok = timed(t, fresh, texts[i], &cold[i]);
        tokenizer_scratch_free(fresh);
        r->bytes += (double)(double)texts[i].len / TEXTS;
    }
    struct tokenizer_scratch *s = tokenizer_scratch_new();
    for (uint64_t from = clock_now(), round = 0; ok && round < ROUNDS_MAX && clock_now() - from < SPAN_NS; round++)
        for (size_t i = 0; i < TEXTS && ok; i++)
            ok = timed(t, s, texts[i], &times[r->n++]);
    tokenizer_scratch_free(s);
    qsort(times, r->n, sizeof *times, by_number);
    qsort(cold, TEXTS, sizeof *cold, by_number);
    r->median_us = times[r->n / 2];
    r->best_us = times[0];
    r->cold_us = cold[TEXTS / 2];
    return ok;
}

static void report(int64_t tokens, const struct result *r, bool as_json)
{
    if (!as_json) {
        printf("%lld tokens, %.0f bytes: median %.1f us (best %.1f; %.1f with a scratch that has seen nothing), %u texts\n",
               (long long)tokens, r->bytes, r->median_us, r->best_us, r->cold_us, r->n);
        return;
    }
    struct buf out = { 0 };
    struct json_writer j = { .out = &out };
    jw_begin(&j, '{');
    jw_key(&j, S("tokens")), jw_int(&j, tokens);
    jw_key(&j, S("bytes")), jw_double(&j, floor(r->bytes));
    jw_key(&j, S("us_per_text")), jw_double(&j, r->median_us);
    jw_key(&j, S("best_us")), jw_double(&j, r->best_us);
    jw_key(&j, S("cold_us")), jw_double(&j, r->cold_us);
    jw_key(&j, S("texts")), jw_int(&j, r->n);
    jw_end(&j, '}');
    buf_char(&out, '\n');
    cli_put(stdout, buf_view(&out));
    buf_free(&out);
}

static bool bench(const struct tokenizer *t, const char *file, uint32_t n_tokens, struct arena *a, struct result *r,
                  struct err *e)
{
    str *texts = ARENA_ARRAY(a, str, TEXTS);
    str *words;
    size_t n_words = words_find(t, a, &words);
    uint64_t seed = 1;
    if (n_words == 0) {
        err_set(e, "%s: no token of its vocabulary is a word in Latin letters", file);
        return false;
    }
    struct tokenizer_scratch *s = tokenizer_scratch_new();
    bool ok = s != NULL;
    for (size_t i = 0; i < TEXTS && ok; i++)
        ok = text_make(t, s, words, n_words, n_tokens, &seed, a, &texts[i]);
    tokenizer_scratch_free(s);
    if (!ok || !measure(t, texts, r)) {
        err_set(e, "no memory");
        return false;
    }
    return true;
}

int bench_tokenizer(int argc, char **argv)
{
    struct cli_args args = cli_args_start("bench", argc, argv);
    const char *model = NULL;
    int64_t n_tokens = 500;
    bool as_json = false;
    for (int id; (id = cli_next(&args)) != CLI_END;) {
        switch (id) {
        case 'j': as_json = true; break;
        case 'm': model = args.value; break;
        case 't':
            if (!str_int(str_of(args.value), &n_tokens) || n_tokens < 1 || n_tokens > TOKENS_MAX)
                return cli_usage_error("bench", "--tokens wants a whole number from 1 to %d, not '%s'", TOKENS_MAX, args.value);
            break;
        case CLI_BAD: return CLI_USAGE;
        default: return cli_usage_error("bench", "bench tokenizer has no such option or word");
        }
    }
    struct arena *a = arena_new();
    struct err e = { 0 };
    struct result r = { 0 };
    struct tokenizer *t = NULL;
    str file = model ? arena_printf(a, "%s/tokenizer.json", model)
                     : models_resource(a, S("models/all-minilm-l6-v2/tokenizer.json"));
    if (file.len == 0)
        err_set(&e, "the bundled tokenizer is not there: `tools/deps` fetches it, or name a folder with --model");
    else
        t = tokenizer_open(file.ptr, &e);
    bool ok = t && bench(t, file.ptr, (uint32_t)n_tokens, a, &r, &e);
    if (ok)
        report(n_tokens, &r, as_json);
    else
        fprintf(stderr, "signalbox bench: %s\n", e.text);
    tokenizer_close(t);
    arena_free(a);
    return ok ? CLI_FINE : CLI_USAGE;
}
