/* tests/unit/neural/test_service_spans.c -- labels of tokens into spans of text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "neural/spans.h"

static str labels_bio[] = { { "O", 1 }, { "B-PER", 5 }, { "I-PER", 5 }, { "B-LOC", 5 }, { "I-LOC", 5 } };
static str labels_bioes[] = { { "O", 1 }, { "B-PER", 5 }, { "I-PER", 5 }, { "E-PER", 5 }, { "S-PER", 5 } };
static str labels_io[] = { { "O", 1 }, { "PER", 3 }, { "LOC", 3 } };

enum { TOKENS_MAX = 32 };

/* Tokens as the text shows them: '|' cuts inside a word, spaces between words. `said`: one digit a token, its label. Returns
 * "from-to:type" of each span. */
static const char *join(const str *labels, uint32_t n_labels, const char *marked, const char *said, int gap_before)
{
    static char out[512];
    char text[256];
    struct byte_range tokens[TOKENS_MAX];
    float p[TOKENS_MAX * 8] = { 0 };
    uint32_t n = 0, len = 0;
    bool open = false;
    for (const char *c = marked; *c; c++) {
        if (*c == '|' || *c == ' ') {
            open = false;
        } else if (!open) {
            tokens[n++] = (struct byte_range){ len, len };
            open = true;
        }
        if (*c != '|')
            text[len++] = *c;
        if (open)
            tokens[n - 1].to = len;
    }
    assert_int_equal(n, strlen(said));
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < n_labels; k++)
            p[i * n_labels + k] = (uint32_t)(said[i] - '0') == k ? .8f : .2f / (float)(n_labels - 1);
    struct arena *a = arena_new();
    struct span_scheme scheme;
    span_scheme_make(&scheme, labels, n_labels, a);
    struct span_join j;
    assert_int_equal(span_join_begin(&j, &scheme), 0);
    for (uint32_t i = 0; i < n; i++) {                                  /* one by one, as if windows ended everywhere */
        if ((int)i == gap_before)
            span_join_gap(&j);
        span_join_add(&j, (str){ text, len }, 0, tokens + i, 1, p + i * n_labels);
    }
    span_join_gap(&j);
    char *at = out;
    *at = 0;
    for (uint32_t i = 0; i < j.n; i++)
        at += sprintf(at, "%s%u-%u:" STR_FMT, i ? " " : "", j.list[i].from, j.list[i].to, STR_ARG(labels[j.list[i].label]));
    span_join_free(&j);
    arena_free(a);
    return out;
}

#define BIO(marked, said) join(labels_bio, 5, marked, said, -1)
#define BIOES(marked, said) join(labels_bioes, 5, marked, said, -1)
#define IO(marked, said) join(labels_io, 3, marked, said, -1)

static void words_of_one_type_are_one_span(void **state)
{
    (void)state;
    assert_string_equal(BIO("Ann Lee of Rome", "1203"), "0-7:B-PER 11-15:B-LOC");
    assert_string_equal(IO("Ann Lee of Rome", "1102"), "0-7:PER 11-15:LOC");
    assert_string_equal(BIOES("Ann May Lee met Bob", "12304"), "0-11:B-PER 16-19:B-PER");
}

static void a_new_begin_is_a_new_span(void **state)
{
    (void)state;
    assert_string_equal(BIO("Ann Bob", "11"), "0-3:B-PER 4-7:B-PER");
    assert_string_equal(BIO("Ann Rome", "14"), "0-3:B-PER 4-8:B-LOC");
    assert_string_equal(BIOES("Ann Bob", "34"), "0-3:B-PER 4-7:B-PER");
}

static void a_span_may_begin_without_its_begin(void **state)
{
    (void)state;
    assert_string_equal(BIO("met Lee", "02"), "4-7:B-PER");
}

static void a_word_is_not_torn_where_the_tokenizer_cut_it(void **state)
{
    (void)state;
    assert_string_equal(BIO("Jo|han|sson went", "1220"), "0-9:B-PER");
    assert_string_equal(BIO("Jo|han|sson went", "1120"), "0-9:B-PER");    /* B- inside a word begins nothing */
    assert_string_equal(BIO("Jo|han|sson went", "1020"), "0-9:B-PER");    /* most of the word says so */
    assert_string_equal(BIO("Jo|han|sson went", "0010"), "");
}

static void punctuation_is_its_own_word_and_han_tokens_are_too(void **state)
{
    (void)state;
    assert_string_equal(BIO("Lee|, so", "100"), "0-3:B-PER");
    assert_string_equal(BIO("Ann|-|Lee", "122"), "0-7:B-PER");
    assert_string_equal(BIO("\xe6\x9d\x8e|\xe6\x98\x8e|\xe5\x9c\xa8", "120"), "0-6:B-PER");
}

static void a_gap_ends_what_is_open(void **state)
{
    (void)state;
    assert_string_equal(join(labels_bio, 5, "Ann Lee", "12", 1), "0-3:B-PER 4-7:B-PER");
}

static void the_score_is_the_mean_over_words_of_the_type_s_share(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct span_scheme scheme;
    span_scheme_make(&scheme, labels_bio, 5, a);
    struct span_join j;
    span_join_begin(&j, &scheme);
    struct byte_range tokens[] = { { 0, 3 }, { 4, 7 } };
    float p[] = { .1f, .6f, .3f, 0, 0, .5f, 0, .5f, 0, 0 };
    p[5] = .3f, p[7] = .7f;
    span_join_add(&j, S("Ann Lee"), 0, tokens, 2, p);
    span_join_gap(&j);
    assert_int_equal(j.n, 1);
    assert_true(j.list[0].score > .799f && j.list[0].score < .801f);
    span_join_free(&j);
    arena_free(a);
}

static void a_token_s_own_spaces_are_not_of_the_span(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct span_scheme scheme;
    span_scheme_make(&scheme, labels_io, 3, a);
    struct span_join j;
    span_join_begin(&j, &scheme);
    struct byte_range tokens[] = { { 100, 103 }, { 103, 107 }, { 107, 108 } };      /* "met", " Lee", " " of a piece at 100 */
    float p[] = { 1, 0, 0, 0, 1, 0, 0, 1, 0 };
    span_join_add(&j, S("met Lee "), 100, tokens, 3, p);
    span_join_gap(&j);
    assert_int_equal(j.n, 1);
    assert_int_equal(j.list[0].from, 104);
    assert_int_equal(j.list[0].to, 107);
    span_join_free(&j);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_of_one_type_are_one_span),
        cmocka_unit_test(a_new_begin_is_a_new_span),
        cmocka_unit_test(a_span_may_begin_without_its_begin),
        cmocka_unit_test(a_word_is_not_torn_where_the_tokenizer_cut_it),
        cmocka_unit_test(punctuation_is_its_own_word_and_han_tokens_are_too),
        cmocka_unit_test(a_gap_ends_what_is_open),
        cmocka_unit_test(the_score_is_the_mean_over_words_of_the_type_s_share),
        cmocka_unit_test(a_token_s_own_spaces_are_not_of_the_span),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
