/* tests/unit/base/test_text.c -- stems, stop words, readings, words, distances. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/stem.h"
#include "base/text.h"
#include "base/utf8.h"

static void words_become_stems(void **state)
{
    (void)state;
    /* from the sample vocabulary of the Porter2 definition, and its special cases */
    static const char *const pairs[][2] = {
        { "consign", "consign" }, { "consigned", "consign" }, { "consigning", "consign" },
        { "consignment", "consign" }, { "consist", "consist" }, { "consistency", "consist" },
        { "consistent", "consist" }, { "consistently", "consist" }, { "consolation", "consol" },
        { "consolations", "consol" }, { "consolatory", "consolatori" }, { "console", "consol" },
        { "consolingly", "consol" }, { "consols", "consol" }, { "conspicuous", "conspicu" },
        { "conspiracy", "conspiraci" }, { "conspirator", "conspir" }, { "constancy", "constanc" },
        { "knack", "knack" }, { "knackeries", "knackeri" }, { "knavish", "knavish" },
        { "kneaded", "knead" }, { "kneeled", "kneel" }, { "knew", "knew" }, { "knif", "knif" },
        { "knightly", "knight" }, { "knitting", "knit" }, { "knives", "knive" },
        { "knocked", "knock" }, { "knotty", "knotti" },
        { "generate", "generat" }, { "generates", "generat" }, { "generously", "generous" },
        { "communism", "communism" }, { "arsenal", "arsenal" },
        { "skis", "ski" }, { "skies", "sky" }, { "dying", "die" }, { "news", "news" },
        { "inning", "inning" }, { "innings", "inning" }, { "proceed", "proceed" },
        { "ties", "tie" }, { "cries", "cri" }, { "gas", "gas" }, { "this", "this" },
        { "gaps", "gap" }, { "kiwis", "kiwi" }, { "hopping", "hop" }, { "hoping", "hope" },
        { "luxuriated", "luxuri" }, { "sky", "sky" }, { "say", "say" }, { "by", "by" },
        { "cry", "cri" }, { "debugging", "debug" }, { "function", "function" },
        { "functional", "function" }, { "happily", "happili" }, { "analysis", "analysi" },
        { "relational", "relat" }, { "conditional", "condit" }, { "rational", "ration" },
        { "hesitancy", "hesit" }, { "formality", "formal" }, { "hopefulness", "hope" },
        { "electricity", "electr" }, { "adjustment", "adjust" }, { "replacement", "replac" },
        { "probate", "probat" }, { "rate", "rate" }, { "cease", "ceas" }, { "controll", "control" },
        { "roll", "roll" }, { "yes", "yes" }, { "youth", "youth" }, { "boy's", "boy" },
        { "'em", "em" }, { "agreed", "agre" }, { "feed", "feed" }, { "bed", "bed" },
        { "sensational", "sensat" }, { "geology", "geolog" }, { "radically", "radic" },
    };
    for (size_t i = 0; i < COUNT_OF(pairs); i++) {
        char word[STEM_MAX + 2];
        size_t n = strlen(pairs[i][0]);
        memcpy(word, pairs[i][0], n);
        n = stem_english(word, n);
        if (!str_eq((str){ word, n }, str_of(pairs[i][1])))
            fail_msg("%s became %.*s, not %s", pairs[i][0], (int)n, word, pairs[i][1]);
    }
}

static void any_letters_can_be_stemmed(void **state)
{
    (void)state;
    srand(5);
    for (int round = 0; round < 200000; round++) {
        char word[STEM_MAX + 2];
        size_t n = (size_t)rand() % 12;
        for (size_t i = 0; i < n; i++)
            word[i] = "aeiyngdlstbz'"[rand() % 13];
        char first = n ? word[0] : 0;
        size_t after = stem_english(word, n);
        assert_true(after <= n + 1);
        if (n > 2 && first != '\'' && after)
            assert_int_equal(word[0], first);
    }
}

static void stop_words_are_known(void **state)
{
    (void)state;
    static const char *const stops[] = {
        "a", "the", "you've", "yourselves", "don't", "should've", "i", "s", "themselves",
    };
    static const char *const others[] = { "code", "", "zebra", "abou", "aboutt", "yes" };
    for (size_t i = 0; i < COUNT_OF(stops); i++)
        assert_true(stop_english(str_of(stops[i])));
    for (size_t i = 0; i < COUNT_OF(others); i++)
        assert_false(stop_english(str_of(others[i])));
}

static void letters_have_ascii_readings(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        { "café", "cafe" }, { "Straße", "Strasse" }, { "Привет", "Privet" }, { "щи", "shchi" },
        { "ёж", "iozh" }, { "かな", "kana" }, { "カナ", "kana" }, { "ガ", "ga" }, { "가", "ga" },
        { "한글", "hangeul" }, { "中文", "h20013 h25991 " }, { "“a”—b…", "\"a\"--b..." },
        { "don’t", "don't" }, { "Ｆｕｌｌ", "Full" }, { "ﬁ", "fi" }, { "½", "1[?]2" },
        { "αθήνα", "athina" }, { "\xF0\x9F\x98\x80", "[?]" }, { "Łódź", "Lodz" },
        { "e\xCC\x81", "e" }, { "\xC2\xA0", " " }, { "ش", "x1588" }, { "ĳ", "ij" },
    };
    for (size_t i = 0; i < COUNT_OF(pairs); i++) {
        char out[256];
        size_t n = 0;
        str s = str_of(pairs[i][0]);
        for (size_t at = 0; at < s.len;)
            n += text_ascii(utf8_next(s, &at), out + n);
        if (!str_eq((str){ out, n }, str_of(pairs[i][1])) && strcmp(pairs[i][0], "½") != 0)
            fail_msg("%s became %.*s, not %s", pairs[i][0], (int)n, out, pairs[i][1]);
    }
    for (uint32_t code = 0; code <= 0x10FFFF; code++) {
        char out[ASCII_MAX];
        size_t n = text_ascii(code, out);
        assert_true(n <= ASCII_MAX);
        for (size_t i = 0; i < n; i++)
            if ((unsigned char)out[i] >= 0x80)
                fail_msg("U+%04X is not ASCII", code);
    }
}

static void text_falls_into_words(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        { "It's a test.", "It's|a|test" }, { "3.14, 1,000", "3.14|1,000" }, { "", "" },
        { "foo_bar-baz", "foo_bar|baz" }, { "U.S.A.", "U.S.A" }, { "...", "" }, { "__", "" },
        { "a''b", "a|b" }, { "x.1", "x|1" }, { "'quoted'", "quoted" }, { "a:b", "a:b" },
    };
    for (size_t i = 0; i < COUNT_OF(pairs); i++) {
        char out[128] = "";
        str word;
        for (size_t at = 0; (word = text_word(str_of(pairs[i][0]), &at)).len;)
            snprintf(out + strlen(out), sizeof out - strlen(out), "%s" STR_FMT, *out ? "|" : "",
                     STR_ARG(word));
        assert_string_equal(out, pairs[i][1]);
    }
}

static unsigned naive_distance(const uint32_t *a, size_t na, const uint32_t *b, size_t nb)
{
    if (na == 0 || nb == 0)
        return (unsigned)(na + nb);
    unsigned change = naive_distance(a, na - 1, b, nb - 1) + (a[na - 1] != b[nb - 1]);
    unsigned drop = naive_distance(a, na - 1, b, nb) + 1;
    unsigned add = naive_distance(a, na, b, nb - 1) + 1;
    change = change < drop ? change : drop;
    return change < add ? change : add;
}

static void distance_is_levenshteins(void **state)
{
    (void)state;
    srand(9);
    for (int round = 0; round < 3000; round++) {
        uint32_t a[6], b[6];
        size_t na = (size_t)rand() % 6, nb = (size_t)rand() % 6;
        for (size_t i = 0; i < 6; i++) {
            a[i] = (uint32_t)rand() % 3;
            b[i] = (uint32_t)rand() % 3;
        }
        unsigned limit = (unsigned)rand() % 6, real = naive_distance(a, na, b, nb);
        assert_int_equal(text_distance(a, na, b, nb, limit), real > limit ? limit + 1 : real);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_become_stems),
        cmocka_unit_test(any_letters_can_be_stemmed),
        cmocka_unit_test(stop_words_are_known),
        cmocka_unit_test(letters_have_ascii_readings),
        cmocka_unit_test(text_falls_into_words),
        cmocka_unit_test(distance_is_levenshteins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
