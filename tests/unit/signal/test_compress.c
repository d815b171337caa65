/* A long text as its most telling sentences. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/rand.h"
#include "base/utf8.h"
#include "signal/compress.h"
#include "decide/decide.h"

static struct arena *a;

static const struct compression *conf(const char *keys)     /* below prompt_compression */
{
    struct err e = { 0 };
    struct findings found = { .a = a };
    str text = arena_printf(a, "model_catalog: {modules: {prompt_compression: {%s}}}", keys);
    const struct compression *c = compression_make(a, yaml_parse(a, text, "x", &e), &found);
    assert_int_equal(found.n, 0);
    return c;
}

static void assert_near(double got, double expected)
{
    if (!(fabs(got - expected) < 1e-4))
        fail_msg("%.6f, expected %.6f", got, expected);
}

static void assert_text(str got, const char *expected)
{
    assert_string_equal(arena_cstr(a, got), expected);
}

static void sentences_end_where_people_see_it(void **state)
{
    (void)state;
    static const struct { const char *text, *parts; } cases[] = {
        { "One. Two! Three? Four", "One. |Two! |Three? |Four" },
        { "pi is 3.14 and v1.2.3", "pi is 3.14 and v1.2.3" },
        { "He said \"no.\" She (left.) Ok", "He said \"no.\" |She (left.) |Ok" },
        { "a\n\n  b\nc", "a\n\n  |b\n|c" },
        { "今天下雨。明天呢？「好。」走", "今天下雨。|明天呢？|「好。」|走" },
        { "...", "..." },
        { "", "" },
    };
    const struct compression *c = conf("enabled: true");
    static struct sentence out[SENTENCES_MAX];
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf b = { 0 };
        size_t n = compress_split(c, str_of(cases[i].text), out);
        for (size_t k = 0; k < n; k++)
            buf_printf(&b, "%s" STR_FMT, k ? "|" : "", STR_ARG(out[k].text));
        assert_text(buf_view(&b), cases[i].parts);
        buf_free(&b);
    }
}

static void tokens_are_words_and_characters(void **state)
{
    (void)state;
    assert_near(compress_tokens(S("two words, not_three?"), INFINITY), 3 * 1.3);
    assert_near(compress_tokens(S("今天 ok。สวัสดี"), INFINITY), 2 * 1.5 + 1.3 + 6 * 1.5);
    assert_near(compress_tokens(S("... !!"), INFINITY), 0);
    assert_true(compress_tokens(S("a b c d e f"), 2) > 2);
    assert_near(compress_tokens(S("a b c d e f"), 2), 2 * 1.3);     /* stops there */
}

/* Worked out by hand: n = 3, idf = ln(1 + 3/sentences that have the word): red ln 4, blue and green ln 2.5. Likeness of 1 and 2 .2219,
 * of 2 and 3 .7071, of 1 and 3 0; the ranks solve rank = .05 + .85 * (likeness / its column's sum) * rank. */
static void scores_are_those_worked_out_by_hand(void **state)
{
    (void)state;
    static const double expected[3][5] = {              /* textrank, position, tfidf, novelty, score */
        { .305795, 1, 1, .445627, .833440 },
        { 1, .5, .745178, .124810, .667053 },
        { .749761, 1, .745178, .225480, .822038 },
    };
    static struct sentence out[SENTENCES_MAX];
    const struct compression *c = conf("enabled: true");
    size_t n = compress_split(c, S("Red red blue. Blue green. Green."), out);
    assert_int_equal(n, 3);
    assert_true(compress_score(c, out, n, a));
    for (size_t i = 0; i < 3; i++) {
        const double got[5] = { out[i].textrank, out[i].position, out[i].tfidf, out[i].novelty, out[i].score };
        for (size_t k = 0; k < 5; k++)
            assert_near(got[k], expected[i][k]);
    }
}

static str random_text(uint64_t *seed, size_t n_sentences, bool is_spaceless)
{
    struct buf b = { 0 };
    for (size_t i = 0; i < n_sentences; i++) {
        size_t words = 1 + rand_next(seed) % 12;
        for (size_t k = 0; k < words; k++) {
            char rune[UTF8_MAX];
            if (is_spaceless)
                buf_str(&b, (str){ rune, utf8_put(rune, 0x4e00 + (uint32_t)(rand_next(seed) % 40)) });
            else
                buf_printf(&b, "%sw%u", k ? " " : "", (unsigned)(rand_next(seed) % 60));
        }
        buf_str(&b, is_spaceless ? S("。") : S(". "));
    }
    str text = str_trim(arena_str(a, buf_view(&b)));
    buf_free(&b);
    return text;
}

/* The same by the definition, over all pairs. Words are `wNN`, so counting them needs no reader. */
static void textrank_is_that_of_all_pairs(void **state)
{
    (void)state;
    enum { N = 40, WORDS = 60 };
    static struct sentence out[SENTENCES_MAX];
    const struct compression *c = conf("enabled: true");
    for (uint64_t seed = 1; seed <= 20; seed++) {
        static double x[N][WORDS], s[N][N];
        double df[WORDS] = { 0 }, rank[N], next[N], most = 0;
        uint64_t chance = seed;
        size_t n = compress_split(c, random_text(&chance, N, false), out);
        assert_int_equal(n, N);
        assert_true(compress_score(c, out, n, a));
        memset(x, 0, sizeof x);
        for (size_t i = 0; i < N; i++) {
            str rest = out[i].text;
            while (rest.len) {
                str word = str_cut(&rest, ' ');
                if (word.len)
                    x[i][atoi(word.ptr + 1)]++;
            }
            for (size_t w = 0; w < WORDS; w++)
                df[w] += x[i][w] > 0;
        }
        for (size_t i = 0; i < N; i++) {
            double squares = 0;
            for (size_t w = 0; w < WORDS; w++) {
                x[i][w] *= df[w] > 0 ? log(1 + N / df[w]) : 0;
                squares += x[i][w] * x[i][w];
            }
            for (size_t w = 0; w < WORDS; w++)
                x[i][w] /= sqrt(squares);
            rank[i] = 1. / N;
        }
        for (size_t i = 0; i < N; i++) {
            for (size_t k = 0; k < N; k++) {
                s[i][k] = 0;
                for (size_t w = 0; w < WORDS && i != k; w++)
                    s[i][k] += x[i][w] * x[k][w];
            }
        }
        for (int round = 0; round < 200; round++) {
            for (size_t i = 0; i < N; i++) {
                next[i] = .15 / N;
                for (size_t k = 0; k < N; k++) {
                    double sum = 0;
                    for (size_t m = 0; m < N; m++)
                        sum += s[m][k];
                    next[i] += sum > 0 ? .85 * s[i][k] / sum * rank[k] : 0;
                }
            }
            memcpy(rank, next, sizeof rank);
        }
        for (size_t i = 0; i < N; i++)
            most = fmax(most, rank[i]);
        for (size_t i = 0; i < N; i++)
            assert_true(fabs(out[i].textrank - rank[i] / most) < 5e-3);     /* it stops at a change of 1e-5 of ranks of 1/40 */
    }
}

/* What is kept are pieces of the text in its order; the budget holds; the ends stay; once short, always the same. */
static void properties_hold_for_any_text(void **state)
{
    (void)state;
    const struct compression *c = conf("enabled: true, max_tokens: 120, preserve_first_n: 2, preserve_last_n: 1");
    static struct sentence all[SENTENCES_MAX];
    for (uint64_t seed = 1; seed <= 60; seed++) {
        uint64_t chance = seed;
        str text = random_text(&chance, 5 + rand_next(&chance) % 700, seed % 2);
        str got = compress_text(c, text, a);
        size_t n = compress_split(c, text, all), at = 0;
        assert_true(n <= SENTENCES_MAX);
        if (compress_tokens(text, INFINITY) <= 120) {
            assert_ptr_equal(got.ptr, text.ptr);
            continue;
        }
        assert_true(compress_tokens(got, INFINITY) <= 120.001);
        assert_true(got.len < text.len);
        assert_true(str_starts(got, all[0].text));
        assert_true(str_starts(str_from(got, all[0].text.len), all[1].text));
        assert_true(str_ends(got, str_trim(all[n - 1].text)));
        for (size_t i = 0; i < n && at < got.len; i++) {        /* greedy: each piece is some later sentence */
            str s = str_trim(all[i].text);
            if (str_starts(str_from(got, at), s))
                at += s.len;
            while (at < got.len && got.ptr[at] == ' ')
                at++;
        }
        assert_int_equal(at, got.len);
        assert_ptr_equal(compress_text(c, got, a).ptr, got.ptr);
    }
}

static void the_middle_goes_first_and_what_is_rare_stays(void **state)
{
    (void)state;
    const struct compression *c = conf("enabled: true, max_tokens: 40, preserve_first_n: 1, preserve_last_n: 1");
    struct buf b = { 0 };
    buf_str(&b, S("Please read the log. "));
    for (int i = 0; i < 30; i++)
        buf_str(&b, i == 25 ? S("Disk sda failed. ") : S("The server is fine. "));
    buf_str(&b, S("What is wrong?"));
    str got = compress_text(c, buf_view(&b), a);
    assert_true(str_starts(got, S("Please read the log. ")));
    assert_true(str_ends(got, S("What is wrong?")));
    assert_true(str_find(got, S("Disk sda failed.")) >= 0);
    buf_free(&b);
}

static void a_sentence_without_end_counts_as_several(void **state)
{
    (void)state;
    const struct compression *c = conf("enabled: true, max_tokens: 512");
    struct buf b = { 0 };
    for (int i = 0; i < 20000; i++)
        buf_printf(&b, "word%d ", i % 500);
    str got = compress_text(c, str_trim(buf_view(&b)), a);
    assert_true(got.len <= 6 * SENTENCE_BYTES);
    assert_true(str_starts(got, S("word0 word1 ")));
    b.len = 0;
    for (int i = 0; i < 20000; i++)
        buf_str(&b, S("字"));
    got = compress_text(c, buf_view(&b), a);
    assert_true(utf8_is_valid(got));
    assert_true(got.len <= 6 * SENTENCE_BYTES);
    buf_free(&b);
}

static void ten_megabytes_are_looked_at_in_places(void **state)
{
    (void)state;
    const struct compression *c = conf("enabled: true, max_tokens: 512");
    static struct sentence all[SENTENCES_MAX];
    struct buf b = { 0 };
    for (int i = 0; b.len < 10 << 20; i++)
        buf_printf(&b, "Line %d says %d times nothing.\n", i, (int)((unsigned)i * 7919u % 1000));
    str text = str_trim(buf_view(&b));
    size_t n = compress_split(c, text, all);
    assert_int_equal(n, SENTENCES_MAX);
    for (size_t i = 0; i < n; i++) {
        size_t at = (size_t)(all[i].text.ptr - text.ptr);
        assert_true(at == 0 || text.ptr[at - 1] == '\n');       /* whole sentences */
        assert_true(i == 0 || all[i].text.ptr >= all[i - 1].text.ptr + all[i - 1].text.len);
        if (i >= 3 && i < n - 2)                                /* evenly: each about where its number says */
            assert_true(fabs((double)at / (double)text.len - (double)(i - 3) / (SENTENCES_MAX - 5)) < .01);
    }
    str got = compress_text(c, text, a);
    assert_true(compress_tokens(got, INFINITY) <= 512);
    assert_true(str_starts(got, S("Line 0 says 0 times nothing.\nLine 1 says ")));
    buf_free(&b);
}

static void profiles_weigh_and_keys_overrule_them(void **state)
{
    (void)state;
    assert_null(conf("enabled: false"));
    assert_null(compression_make(a, NULL, NULL));
    const struct compression *c = conf("enabled: true");
    assert_int_equal(c->max_tokens, 512);
    assert_true(c->position == .40 && c->depth == .5 && c->first == 3 && c->last == 2);
    c = conf("enabled: true, profile: coding, position_weight: 0, preserve_last_n: 0, max_tokens: 90");
    assert_int_equal(c->max_tokens, 90);
    assert_true(c->textrank == .15 && c->position == 0 && c->tfidf == .40 && c->novelty == .15 && c->depth == .6);
    assert_true(c->first == 2 && c->last == 0);
}

static void a_guard_that_reads_less_is_a_finding(void **state)
{
    (void)state;
    static const struct { const char *keys; size_t n; const char *names[2]; } cases[] = {
        { "enabled: true, skip_signals: [jailbreak, pii, domain]", 0, { 0 } },
        { "enabled: true, skip_signals: [jailbreak]", 1, { "shortened-guard" } },
        { "enabled: true, skip_signals: [jailbreak, pii, keywords]", 1, { "unknown-signal" } },
        { "enabled: true, skip_signals: []", 2, { "shortened-guard", "shortened-guard" } },
        { "enabled: false, skip_signals: []", 0, { 0 } },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err e = { 0 };
        struct findings found = { .a = a };
        str text = arena_printf(a, "model_catalog: {modules: {prompt_compression: {%s}}}", cases[i].keys);
        compression_make(a, yaml_parse(a, text, "x", &e), &found);
        assert_int_equal(found.n, cases[i].n);
        for (size_t k = 0; k < found.n; k++) {
            assert_string_equal(found.items[k].name, cases[i].names[k]);
            assert_int_equal(found.items[k].at.line, 1);
        }
    }
}

static int begin(void **state)
{
    (void)state;
    a = arena_new();
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_free(a);
    return 0;
}

#define CLAIM(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(sentences_end_where_people_see_it),
        CLAIM(tokens_are_words_and_characters),
        CLAIM(scores_are_those_worked_out_by_hand),
        CLAIM(textrank_is_that_of_all_pairs),
        CLAIM(properties_hold_for_any_text),
        CLAIM(the_middle_goes_first_and_what_is_rare_stays),
        CLAIM(a_sentence_without_end_counts_as_several),
        CLAIM(ten_megabytes_are_looked_at_in_places),
        CLAIM(profiles_weigh_and_keys_overrule_them),
        CLAIM(a_guard_that_reads_less_is_a_finding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
