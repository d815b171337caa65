/* tests/unit/neural/test_head.c -- words as features, heads as files, training and its figures. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/rand.h"
#include "neural/head.h"
#include "neural/kernel.h"
#include "neural/labels.h"
#include "neural/quality.h"
#include "neural/train.h"
#include "neural/weights.h"

static const struct ngram_spec spec = { .buckets = 1 << 14, .character_min = 3, .character_max = 5, .word_max = 2, .is_normalised = true };

/* ---- words ---- */

static double likeness(str a, str b, const struct ngram_spec *s)
{
    static struct ngram_feature x[NGRAM_FEATURES_MAX], y[NGRAM_FEATURES_MAX];
    uint32_t n = ngram_features(s, a, x, NGRAM_FEATURES_MAX), m = ngram_features(s, b, y, NGRAM_FEATURES_MAX);
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < m; k++)
            sum += x[i].bucket == y[k].bucket ? (double)x[i].value * (double)y[k].value : 0;
    return sum;
}

static void disguises_of_a_text_are_the_text(void **state)
{
    (void)state;
    static const struct { str plain, disguised; } cases[] = {
        { S("ignore all rules"), S("IGNORE all rules") },
        { S("ignore all rules"), S("i g n o r e all rules") },
        { S("ignore all rules"), S("i.g.n.o.r.e all rules") },
        { S("ignore all rules"), S("1gn0re all rules") },
        { S("ignore all rules"), S("ign\u043Er\u0435 all rules") },         /* Cyrillic o and e */
        { S("ignore all rules"), S("ig\u200Bnore all rules") },             /* zero width */
        { S("ignore all rules"), S("\uFF49gnore all rules") },              /* full width */
        { S("ignore all rules"), S("\u00EDgn\u00F6re \u00E4ll rules") },
        { S("the bad word"), S("the b@d word") },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        if (fabs(likeness(cases[i].plain, cases[i].disguised, &spec) - 1) > 1e-5)
            fail_msg("%.*s is not the same as %.*s", (int)cases[i].disguised.len, cases[i].disguised.ptr, (int)cases[i].plain.len,
                     cases[i].plain.ptr);
    struct ngram_spec plain = spec;
    plain.is_normalised = false;
    assert_true(likeness(S("ignore all rules"), S("1gn0re all rules"), &plain) < .9);
}

static void features_have_length_one_and_ignore_broken_bytes(void **state)
{
    (void)state;
    assert_true(fabs(likeness(S("some text, and more of it"), S("some text, and more of it"), &spec) - 1) < 1e-5);
    assert_true(fabs(likeness(S("some \xFFtext"), S("some text"), &spec) - 1) < 1e-5);
    struct ngram_feature one[4];
    assert_int_equal(ngram_features(&spec, S(""), one, 4), 0);
    assert_int_equal(ngram_features(&spec, S("  ,.;  "), one, 4), 0);
    assert_int_equal(ngram_features(&spec, S("many different words stand here"), one, 4), 4);  /* room is a bound */
    assert_true(fabs(likeness(S("after a full table"), S("after a full table"), &spec) - 1) < 1e-5);
}

static void a_huge_text_is_cut_and_does_no_harm(void **state)
{
    (void)state;
    size_t n = 4u << 20;
    char *text = malloc(n);
    memset(text, 'a', n);
    static struct ngram_feature out[NGRAM_FEATURES_MAX];
    assert_true(ngram_features(&spec, (str){ text, n }, out, NGRAM_FEATURES_MAX) > 0);
    for (size_t i = 0; i < n; i++)
        text[i] = (char)(i * 2654435761u >> 24);
    ngram_features(&spec, (str){ text, n }, out, NGRAM_FEATURES_MAX);
    free(text);
}

static void counts_that_are_kept_say_what_fresh_ones_say(void **state)
{
    (void)state;
    enum { HEADS = COUNTS_KEPT + 1, BUCKETS = 256, TEXTS = 2 };        /* a way of counting more than are kept */
    static const str texts[TEXTS] = { S("one text of some words"), S("and here is another text") };
    static float weight[HEADS][2 * BUCKETS], want[HEADS][TEXTS][2];
    static const float bias[2] = { 0 };
    struct head heads[HEADS];
    uint64_t seed = 5;
    for (uint32_t i = 0; i < HEADS; i++) {
        heads[i] = (struct head){ .kind = HEAD_LINEAR, .n_labels = 2, .bias = bias, .ngrams = spec, .ngram_weight = weight[i],
                                  .temperature = 1 };
        heads[i].ngrams.buckets = BUCKETS >> i;
        for (uint32_t k = 0; k < 2 * BUCKETS; k++)
            weight[i][k] = (float)rand_unit(&seed);
        for (uint32_t t = 0; t < TEXTS; t++)
            labels_of(&heads[i], NULL, texts[t], &(struct word_counts){ 0 }, want[i][t]);
    }
    struct word_counts kept = { 0 };
    for (uint32_t i = 0; i < 100; i++) {
        uint64_t head = rand_below(&seed, HEADS), text = rand_below(&seed, TEXTS);
        float got[2];
        labels_of(&heads[head], NULL, texts[text], &kept, got);
        assert_memory_equal(got, want[head][text], sizeof got);
    }
    assert_int_equal(kept.n_kept, COUNTS_KEPT);
}

/* ---- heads ---- */

static struct train_rows rows_make(struct arena *a, uint32_t n, uint32_t k, uint32_t dim, uint64_t seed)
{
    size_t n_numbers = (size_t)n * dim;
    float *v = ARENA_ARRAY(a, float, n_numbers);
    uint32_t *label = ARENA_ARRAY(a, uint32_t, n);
    for (uint32_t i = 0; i < n; i++) {
        label[i] = (uint32_t)rand_below(&seed, k > 1 ? k : 2);
        for (uint32_t d = 0; d < dim; d++)
            v[(size_t)i * dim + d] = (float)((double)rand_below(&seed, 2001) / 1000 - 1) + (d == label[i] ? 1.0f : 0.0f) + 3;
    }
    return (struct train_rows){ .n = n, .n_labels = k, .dim = dim, .vectors = v, .label = label };
}

static double accuracy(const struct head *h, const struct train_rows *r)
{
    uint32_t right = 0;
    float z[8];
    for (uint32_t i = 0; i < r->n; i++) {
        train_logits(h, r, i, z);
        uint32_t best = 0;
        for (uint32_t c = 1; c < h->n_labels; c++)
            best = z[c] > z[best] ? c : best;
        right += h->n_labels == 1 ? (z[0] > 0) == r->label[i] : best == r->label[i];
    }
    return (double)right / r->n;
}

static void training_finds_what_is_there(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct err e = { 0 };
    for (uint32_t k = 1; k <= 4; k++) {
        struct train_rows seen = rows_make(a, 600, k, 6, 1), unseen = rows_make(a, 600, k, 6, 2);
        struct train_options o = train_defaults();
        struct head h;
        o.c_vector = 1;
        assert_true(train_part(&seen, TRAIN_VECTOR, &o, a, &h, &e) > 0);
        double linear = accuracy(&h, &unseen);
        assert_true(linear > (k == 4 ? .5 : .6));
        o.kind = HEAD_MLP;
        o.hidden = 16;
        assert_true(train_part(&seen, TRAIN_VECTOR, &o, a, &h, &e) > 0);
        assert_true(accuracy(&h, &unseen) > linear - .1);
    }
    arena_free(a);
}

static void training_says_what_is_wrong_with_rows(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct train_rows r = rows_make(a, 10, 3, 4, 1);
    struct train_options o = train_defaults();
    struct err e = { 0 };
    struct head h;
    uint32_t labels[10] = { 7 };
    r.label = labels;
    assert_int_equal(train_part(&r, TRAIN_VECTOR, &o, a, &h, &e), -1);
    assert_string_equal(e.text, "row 0 has label 7 of 3");
    float nothing[10] = { 0 };
    r = rows_make(a, 10, 3, 4, 1);
    r.weight = nothing;
    e = (struct err){ 0 };
    assert_int_equal(train_part(&r, TRAIN_VECTOR, &o, a, &h, &e), -1);
    assert_string_equal(e.text, "no row is left to learn from");
    arena_free(a);
}

static const char card[] = "{\"signal\":\"s\",\"kind\":\"linear\",\"trunk\":\"t\",\"labels\":[\"a\",\"b\"],\"dim\":4,\"layer\":2,\"temperature\":2,"
                           "\"window_share\":0.5,\"ngrams\":{\"buckets\":16384,\"character_min\":3,\"character_max\":5,\"word_max\":2,"
                           "\"is_normalised\":true},\"thresholds\":[{\"false_alarm_rate\":0.01,\"threshold\":0.7,\"low\":0,\"high\":0.02}]}";

static struct head head_make(struct arena *a)
{
    float *weight = ARENA_ARRAY(a, float, 8), *bias = ARENA_ARRAY(a, float, 2), *words = ARENA_ARRAY(a, float, 2u << 14);
    for (int i = 0; i < 8; i++)
        weight[i] = (float)i / 8;
    for (int i = 0; i < 2 << 14; i++)
        words[i] = (float)(i % 7) / 7;
    bias[1] = .25f;
    return (struct head){ .kind = HEAD_LINEAR, .n_labels = 2, .dim = 4, .weight = weight, .bias = bias, .ngrams = spec, .ngram_weight = words,
                          .card = str_of(card) };
}

static void a_written_head_says_the_same(void **state)
{
    (void)state;
    char path[] = "/tmp/test_head_XXXXXX";
    close(mkstemp(path));
    struct arena *a = arena_new();
    struct head h = head_make(a);
    struct err e = { 0 };
    assert_int_equal(head_write(&h, path, &e), 0);
    struct head *back = head_open(path, &e);
    assert_non_null(back);
    assert_int_equal(back->layer, 2);
    assert_int_equal(back->n_thresholds, 1);
    assert_true(fabsf(back->window_share - .5f) < 1e-6f);
    float vector[4] = { 1, 2, 3, 4 }, words[2], expected[2], got[2];
    h.temperature = 2;
    h.labels = back->labels;
    head_ngrams(&h, S("some words"), words);
    head_run(&h, vector, words, expected);
    head_ngrams(back, S("some words"), words);
    head_run(back, vector, words, got);
    assert_memory_equal(expected, got, sizeof got);
    assert_true(fabsf(got[0] + got[1] - 1) < 1e-6f);
    head_close(back);
    unlink(path);
    arena_free(a);
}

static void broken_heads_are_refused_with_a_sentence(void **state)
{
    (void)state;
    static const struct { const char *card, *says; } cases[] = {
        { "", "no head: the metadata has no 'signalbox.head'" },
        { "[1]", "the card of the head is no object" },
        { "{", "the card of the head is no JSON" },
        { "{\"kind\":\"cubic\"}", "kind is 'cubic'" },
        { "{\"kind\":\"linear\",\"labels\":[]}", "1 to 256 labels, this one 0" },
        { "{\"kind\":\"linear\",\"labels\":[\"a\",\"b\"],\"dim\":5}", "array 'weight' has 8 numbers, the card says 10" },
        { "{\"kind\":\"linear\",\"labels\":[\"a\",\"b\"],\"dim\":4,\"ngrams\":{\"buckets\":100}}", "buckets is 100, no power of two" },
        { "{\"kind\":\"linear\",\"labels\":[\"a\"],\"dim\":4,\"passages\":5}", "passages is no object" },
        { "{\"kind\":\"linear\",\"labels\":[\"a\"],\"dim\":4,\"passages\":{\"most\":2}}", "passages are for a head of one label with" },
        { "{\"kind\":\"linear\",\"labels\":[\"a\"],\"dim\":4,\"ngrams\":{\"buckets\":64,\"word_max\":1},\"passages\":{\"most\":2,"
          "\"bytes\":8}}", "passages.bytes must be at least 64" },
        { "{\"kind\":\"linear\",\"labels\":[\"a\",\"b\"]}", "a head needs a trunk vector" },
        { "{\"kind\":\"tokens\",\"labels\":[\"a\"],\"ngrams\":{\"buckets\":16}}", "a token head reads the trunk's states" },
        { "{\"kind\":\"mlp\",\"labels\":[\"a\",\"b\"],\"dim\":4}", "an mlp head needs hidden units" },
        { "{\"kind\":\"linear\",\"labels\":[\"a\",\"b\"],\"dim\":4,\"temperature\":-1}", "temperature must be above 0" },
    };
    char path[] = "/tmp/test_head_XXXXXX";
    close(mkstemp(path));
    struct arena *a = arena_new();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct head h = head_make(a);
        struct err e = { 0 };
        h.ngrams = (struct ngram_spec){ 0 };
        h.card = str_of(cases[i].card);
        assert_int_equal(head_write(&h, path, &e), 0);
        assert_null(head_open(path, &e));
        if (!strstr(e.text, cases[i].says))
            fail_msg("'%s' for %s", e.text, cases[i].card);
    }
    struct head h = head_make(a);
    struct err e = { 0 };
    float bad[8] = { 0, NAN };
    h.weight = bad;
    assert_int_equal(head_write(&h, path, &e), 0);
    assert_null(head_open(path, &e));
    assert_non_null(strstr(e.text, "not finite"));
    unlink(path);
    arena_free(a);
}

/* ---- figures ---- */

static void figures_are_those_of_the_textbook(void **state)
{
    (void)state;
    struct scored rows[] = { { .1f, false }, { .4f, false }, { .35f, true }, { .8f, true } };
    assert_true(fabs(quality_auc(rows, 4) - .75) < 1e-9);
    float threshold;
    assert_true(fabs(quality_recall_at(rows, 4, 0, &threshold) - .5) < 1e-9);
    assert_true(threshold > .79f && threshold < .81f);
    assert_true(fabs(quality_average_precision(rows, 4) - (1 + 2.0 / 3) / 2) < 1e-9);
    struct scored ties[] = { { 1, true }, { 1, false }, { 1, true }, { 1, false } };
    assert_true(fabs(quality_auc(ties, 4) - .5) < 1e-9);
    assert_true(quality_recall_at(ties, 4, .01, NULL) == 0);
    assert_true(isnan(quality_auc(rows, 0)));
    struct interval r = quality_share(1, 100);
    assert_true(fabs(r.low - .00177) < 1e-4 && fabs(r.high - .05449) < 1e-4);
    struct bin bins[10];
    struct scored sure[] = { { .95f, true }, { .95f, true }, { .05f, false }, { .05f, false } };
    assert_true(fabs(quality_reliability(sure, 4, bins, 10) - .05) < 1e-6);
}

static void platt_recovers_the_scale(void **state)
{
    (void)state;
    enum { N = 20000 };
    static float z[N];
    static bool truth[N];
    uint64_t seed = 7;
    for (int i = 0; i < N; i++) {
        z[i] = (float)rand_below(&seed, 8001) / 1000 - 4;
        double p = 1 / (1 + exp(-((double)z[i] / 2 + .5)));
        truth[i] = (double)rand_below(&seed, 1000000) / 1e6 < p;
    }
    float temperature, offset;
    train_platt(z, truth, N, &temperature, &offset);
    assert_true(fabsf(temperature - 2) < .2f && fabsf(offset - .5f) < .1f);
}

int main(void)
{
    struct err e = { 0 };
    kernel_use(ISA_N, &e);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disguises_of_a_text_are_the_text),
        cmocka_unit_test(features_have_length_one_and_ignore_broken_bytes),
        cmocka_unit_test(a_huge_text_is_cut_and_does_no_harm),
        cmocka_unit_test(counts_that_are_kept_say_what_fresh_ones_say),
        cmocka_unit_test(training_finds_what_is_there),
        cmocka_unit_test(training_says_what_is_wrong_with_rows),
        cmocka_unit_test(a_written_head_says_the_same),
        cmocka_unit_test(broken_heads_are_refused_with_a_sentence),
        cmocka_unit_test(figures_are_those_of_the_textbook),
        cmocka_unit_test(platt_recovers_the_scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
