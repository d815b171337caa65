/* What a text looks like to a learner: the same everywhere, bounded, and kept whole. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "select/feature.h"

static struct features read_text(struct arena *a, const char *text)
{
    struct features x;
    features_read(&x, a, str_of(text));
    return x;
}

/* FNV-1a of the lower-cased word or pair, as spec 05 section 4.0 defines it. */
static uint64_t hash_of(const char *gram)
{
    uint64_t h = 14695981039346656037ull;
    for (; *gram; gram++)
        h = (h ^ (unsigned char)*gram) * 1099511628211ull;
    return h;
}

static float value_of(const struct features *x, const char *gram)
{
    uint64_t h = hash_of(gram);
    float sum = 0;
    for (uint32_t i = 0; i < x->n; i++)
        if (x->grams[i].bucket == (h & (FEATURE_BUCKETS - 1)))
            sum += x->grams[i].value;
    return h >> 63 ? -sum : sum;
}

static void words_and_pairs_are_hashed_as_defined(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct features x = read_text(a, "The cat, the CAT; 42 dogs!");
    assert_int_equal(x.words, 6);
    assert_float_equal(value_of(&x, "cat"), 1.6931472f, 1e-6f);         /* twice: 1 + ln 2 */
    assert_float_equal(value_of(&x, "the cat"), 1.6931472f, 1e-6f);
    assert_float_equal(value_of(&x, "42 dogs"), 1, 1e-6f);
    assert_float_equal(value_of(&x, "dog"), 0, 1e-6f);
    arena_free(a);
}

static void every_chinese_character_is_a_word(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct features x = read_text(a, "吉芬商品　É");     /* with an ideographic space */
    assert_int_equal(x.words, 5);
    assert_float_equal(value_of(&x, "商 品"), 1, 1e-6f);
    assert_float_equal(value_of(&x, "é"), 1, 1e-6f);
    arena_free(a);
}

static void cues_tell_code_from_prose_and_questions_with_choices(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct features code = read_text(a, "int main() {\n    return a[0] == b_c;\n}\n"), prose =
        read_text(a, "Why is the sky blue?");
    struct features choices = read_text(a, "Which one?\nA. red\nB. green");
    assert_true(code.cues[CUE_CODE] > 5 * prose.cues[CUE_CODE] + 0.1f);
    assert_true(prose.cues[CUE_QUESTION] > 0.5f);
    assert_true(choices.cues[CUE_CHOICES] > 0.5f && prose.cues[CUE_CHOICES] < 0.5f);
    arena_free(a);
}

static void case_and_white_space_change_nothing_of_the_words(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct features x = read_text(a, "Solve for x: 2x + 3 = 7"), y = read_text(a, "  SOLVE   for\tX:  2X + 3\n= 7 ");
    assert_int_equal(x.n, y.n);
    assert_memory_equal(x.grams, y.grams, x.n * sizeof *x.grams);
    arena_free(a);
}

static void words_have_a_beginning_and_an_ending_in_common(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct features x = read_text(a, "Optimising optimal cat catsmeat");
    assert_int_equal(x.n_words, 7);             /* four words, three pairs */
    assert_int_equal(x.n, 7 + 2 + 3);           /* opti, cats; ing, mal, eat */
    struct features other = read_text(a, "optimism");
    assert_int_equal(other.n, 3);
    uint32_t shared = 0;
    for (uint32_t i = other.n_words; i < other.n; i++)
        for (uint32_t k = x.n_words; k < x.n; k++)
            if (other.grams[i].bucket == x.grams[k].bucket) {
                shared++;
                assert_true(fabsf(x.grams[k].value) > 1.5f);    /* it has been there twice */
            }
    assert_int_equal(shared, 1);
    arena_free(a);
}

static void long_and_broken_texts_stay_within_bounds(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    size_t n = 1 << 20;
    char *text = malloc(n);
    uint64_t seed = 1;
    for (size_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        text[i] = (char)(seed >> 56);
    }
    for (size_t len = 0; len < 300; len++) {
        struct features x;
        features_read(&x, a, (str){ text + 7 * len, len });
        assert_true(x.n <= FEATURE_GRAMS_MAX);
    }
    struct features x;
    features_read(&x, a, (str){ text, n });
    assert_true(x.n <= FEATURE_GRAMS_MAX && x.bytes == n);
    for (uint32_t i = 0; i < x.n; i++)
        assert_true(x.grams[i].bucket < FEATURE_BUCKETS);
    free(text);
    arena_free(a);
}

static void a_kept_copy_outlives_the_request(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct features x = read_text(a, "one two three");
    float vector[3] = { 1, 2, 3 };
    x.vector = vector;
    x.dim = 3;
    x.kind = S("counting");
    struct features *kept = features_keep(&x);
    uint32_t n = x.n;
    arena_free(a);
    assert_int_equal(kept->n, n);
    assert_float_equal(kept->vector[2], 3, 0);
    assert_true(str_eq(kept->kind, S("counting")));
    assert_float_equal(value_of(kept, "two three"), 1, 1e-6f);
    free(kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_and_pairs_are_hashed_as_defined),
        cmocka_unit_test(every_chinese_character_is_a_word),
        cmocka_unit_test(cues_tell_code_from_prose_and_questions_with_choices),
        cmocka_unit_test(case_and_white_space_change_nothing_of_the_words),
        cmocka_unit_test(words_have_a_beginning_and_an_ending_in_common),
        cmocka_unit_test(long_and_broken_texts_stay_within_bounds),
        cmocka_unit_test(a_kept_copy_outlives_the_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
