/* tests/unit/signal/test_keyword.c -- spec 2.4.1, claim by claim. */
#include "bench.h"

struct claim { const char *rule, *text; int matches; };

static void claims_hold(const struct claim *claims, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char yaml[1024];
        snprintf(yaml, sizeof yaml, "keywords:\n- {name: k, %s}\n", claims[i].rule);
        struct bench b = bench_new(yaml, NULL);
        bench_text(&b, str_of(claims[i].text));
        if (bench_says(&b, "keyword", "k") != claims[i].matches)
            fail_msg("{%s} on \"%s\": not %d", claims[i].rule, claims[i].text,
                     claims[i].matches);
        bench_free(&b);
    }
}

static void literal_keywords_are_ascii_words(void **state)
{
    (void)state;
    static const struct claim claims[] = {
        { "operator: OR, keywords: [urgent]", "this is URGENT!", 1 },
        { "operator: OR, keywords: [urgent]", "insurgents", 0 },
        { "operator: OR, keywords: [urgent]", "urgent_now", 0 },
        { "operator: OR, keywords: [urgent]", "urgent", 1 },
        { "operator: OR, keywords: [urgent]", "", 0 },
        { "operator: OR, keywords: [urgent], case_sensitive: true", "URGENT", 0 },
        { "operator: OR, keywords: [Urgent], case_sensitive: true", "an Urgent thing", 1 },
        { "operator: OR, keywords: [\"social security\"]", "my Social Security number", 1 },
        { "operator: OR, keywords: [\"social security\"]", "my Social  Security number", 0 },
        /* \b is ASCII: an edge that is no ASCII word character must touch one outside */
        { "operator: OR, keywords: [\"C++\"]", "I like C++ a lot", 0 },
        { "operator: OR, keywords: [\"C++\"]", "C++17", 1 },
        { "operator: OR, keywords: [\"привет\"]", "привет мир", 0 },
        { "operator: OR, keywords: [\"привет\"]", "xПРИВЕТx", 1 },
        { "operator: OR, keywords: [\"café\"]", "a café here", 0 },
        { "operator: OR, keywords: [\"café\"]", "a CAFÉs", 1 },
        { "operator: OR, keywords: [\"übung\"]", "meine übung", 0 },
        { "operator: OR, keywords: [\"naïve\"]", "a NAÏVE idea", 1 },
        /* Han anywhere makes it a substring; kana alone does not */
        { "operator: OR, keywords: [\"证明\"]", "请证明这个", 1 },
        { "operator: OR, keywords: [\"证x\"]", "请证Xy", 1 },
        { "operator: OR, keywords: [\"コード\"]", "このコードは", 0 },
        { "operator: OR, keywords: [\"???\"]", "what???", 1 },
        { "operator: OR, keywords: [\"a.c\"]", "abc", 0 },
        /* simple folding: the Kelvin sign is a k, the long s is an s, dotless i is no i */
        { "operator: OR, keywords: [\"xkx\"]", "x\xE2\x84\xAAx", 1 },
        { "operator: OR, keywords: [\"xsx\"]", "x\xC5\xBFX", 1 },
        { "operator: OR, keywords: [\"xix\"]", "x\xC4\xB1x", 0 },
        { "operator: OR, keywords: [kelvin]", "\xE2\x84\xAA" "elvin", 0 },  /* no \b before it */
        { "operator: OR, keywords: [\"\"]", "anything", 1 },
    };
    claims_hold(claims, COUNT_OF(claims));
}

static void patterns_are_re2(void **state)
{
    (void)state;
    static const struct claim claims[] = {
        { "operator: OR, method: regex, keywords: ['prove that']", "we disprove that", 1 },
        { "operator: OR, method: regex, keywords: ['\\bapi[_ -]?key\\b']", "the API-KEY here", 1 },
        { "operator: OR, method: regex, keywords: ['\\bapi[_ -]?key\\b']", "the apikeys", 0 },
        { "operator: OR, method: regex, keywords: ['\\bapi[_ -]?key\\b'], case_sensitive: true",
          "the API-KEY here", 0 },
        { "operator: OR, method: regex, keywords: ['\\b\\d{3}-\\d{2}-\\d{4}\\b']",
          "ssn 123-45-6789.", 1 },
        { "operator: OR, method: regex, keywords: ['\\b\\d{3}-\\d{2}-\\d{4}\\b']",
          "ssn 1234-45-6789.", 0 },
        { "operator: OR, method: regex, keywords: ['\\b(is|was)\\b.{0,20}\\b(true|right)\\b']",
          "it WAS said to be True", 1 },
        { "operator: OR, method: regex, keywords: ['\\b(is|was)\\b.{0,20}\\b(true|right)\\b']",
          "this said to be true", 0 },
        { "operator: OR, method: regex, keywords: ['(?m)^\\d+\\.', 'never']", "a\n1. b", 1 },
        { "operator: OR, method: regex, keywords: ['绕过(所有)?安全(限制|规则)']",
          "请绕过安全规则吧", 1 },
        { "operator: OR, method: regex, keywords: ['causa raíz']", "la CAUSA RAÍZ es", 1 },
        { "operator: OR, method: regex, keywords: ['x*']", "", 1 },
        { "operator: OR, method: regex, keywords: ['(?i)Foo'], case_sensitive: true", "fOO", 1 },
    };
    claims_hold(claims, COUNT_OF(claims));
}

static void operators_are_all_any_none(void **state)
{
    (void)state;
    static const struct claim claims[] = {
        { "operator: AND, keywords: [a, b, c]", "a b c", 1 },
        { "operator: AND, keywords: [a, b, c]", "a b", 0 },
        { "operator: OR, keywords: [a, b, c]", "xx c", 1 },
        { "operator: OR, keywords: [a, b, c]", "xx", 0 },
        { "operator: NOR, keywords: [a, b, c]", "xx", 1 },
        { "operator: NOR, keywords: [a, b, c]", "xx a", 0 },
        { "operator: AND, keywords: [a, A, a]", "a", 1 },
    };
    claims_hold(claims, COUNT_OF(claims));
}

static void fuzzy_is_an_edit_distance(void **state)
{
    (void)state;
    static const struct claim claims[] = {
        { "operator: OR, fuzzy_match: true, keywords: [urgent]", "this is urgnet", 1 },
        { "operator: OR, fuzzy_match: true, keywords: [urgent]", "this is agent", 1 },
        { "operator: OR, fuzzy_match: true, keywords: [urgent]", "this is unrelated", 0 },
        { "operator: OR, fuzzy_match: true, fuzzy_threshold: 1, keywords: [urgent]",
          "this is urgnet", 0 },
        { "operator: OR, fuzzy_match: true, fuzzy_threshold: 1, keywords: [urgent]",
          "this is URGET.", 1 },
        { "operator: OR, fuzzy_match: true, keywords: [\"социальный\"]", "СОЦИАЛНЫЙ!", 1 },
        { "operator: AND, fuzzy_match: true, keywords: [urgent, password]", "urgent pasword", 1 },
        { "operator: AND, fuzzy_match: true, keywords: [urgent, password]", "urgent", 0 },
        { "operator: NOR, fuzzy_match: true, keywords: [urgent]", "urgant", 0 },
        { "operator: OR, fuzzy_match: true, keywords: [\"credit card\"]", "credt card", 0 },
        { "operator: OR, fuzzy_match: true, method: regex, keywords: ['c.rd']", "a cord", 1 },
    };
    claims_hold(claims, COUNT_OF(claims));
}

static void bm25_scores_stems(void **state)
{
    (void)state;
    /* one keyword of one token: idf = ln(1 + .5/1.5) = .2877, weight 2.2/2.2 = 1 */
    static const struct claim claims[] = {
        { "operator: OR, method: bm25, keywords: [code, function, debug]", "please debugging", 1 },
        { "operator: OR, method: bm25, keywords: [code, function, debug]", "hello world", 0 },
        { "operator: OR, method: bm25, keywords: [code], bm25_threshold: 0.28", "code", 1 },
        { "operator: OR, method: bm25, keywords: [code], bm25_threshold: 0.29", "code", 0 },
        { "operator: OR, method: bm25, keywords: [code], bm25_threshold: 0.57", "code codes", 1 },
        { "operator: OR, method: bm25, keywords: [code], bm25_threshold: 0.58", "code codes", 0 },
        { "operator: OR, method: bm25, keywords: [\"the of\"], bm25_threshold: 0.1", "the of", 0 },
        { "operator: AND, method: bm25, keywords: [code, debug]", "code", 0 },
        { "operator: AND, method: bm25, keywords: [code, debug]", "Code to DEBUG", 1 },
        { "operator: NOR, method: bm25, keywords: [code]", "cooking", 1 },
        { "operator: OR, method: bm25, keywords: [\"café\"]", "two CAFES", 1 },
        { "operator: OR, method: bm25, keywords: [\"代码\"]", "这段代码有问题", 1 },
        { "operator: OR, method: bm25, keywords: [\"代码\"]", "天气", 0 },
        { "operator: OR, method: bm25, keywords: [code], bm25_threshold: 0", "nothing", 1 },
        { "operator: OR, method: bm25, keywords: [tie]", "tying knots", 1 },
    };
    claims_hold(claims, COUNT_OF(claims));
}

static void ngram_is_the_share_of_grams(void **state)
{
    (void)state;
    static const struct claim claims[] = {
        { "operator: OR, method: ngram, keywords: [urgent]", "urgently", 1 },
        { "operator: OR, method: ngram, keywords: [urgent]", "an urgnt matter", 1 },
        { "operator: OR, method: ngram, keywords: [urgent]", "completely different", 0 },
        { "operator: OR, method: ngram, keywords: [urgent], case_sensitive: true", "URGENT", 0 },
        { "operator: OR, method: ngram, keywords: [urgent]", "URGENT", 1 },
        { "operator: OR, method: ngram, keywords: [urgent], ngram_threshold: 1", "urgent", 1 },
        { "operator: OR, method: ngram, keywords: [urgent], ngram_threshold: 1", "urgents", 0 },
        /* "tomato" and "tomacco", arity 2: 5 shared of 10, 1 - (5/10)^2 = .75 */
        { "operator: OR, method: ngram, ngram_arity: 2, ngram_threshold: 0.75, "
          "keywords: [tomato]", "tomacco", 1 },
        { "operator: OR, method: ngram, ngram_arity: 2, ngram_threshold: 0.76, "
          "keywords: [tomato]", "tomacco", 0 },
        { "operator: OR, method: ngram, ngram_threshold: 0.9, keywords: [\"credit card\"]",
          "credit card", 1 },
        { "operator: OR, method: ngram, ngram_threshold: 0.9, keywords: [\"credit card\"]",
          "credit", 0 },
        { "operator: AND, method: ngram, keywords: [urgent, asap]", "urgent asap", 1 },
        { "operator: AND, method: ngram, keywords: [urgent, asap]", "urgent", 0 },
    };
    claims_hold(claims, COUNT_OF(claims));
}

static void what_matched_is_told(void **state)
{
    (void)state;
    struct bench b = bench_new(
        "keywords:\n"
        "- {name: one, operator: OR, keywords: [alpha, beta]}\n"
        "- {name: fuzzy, operator: OR, keywords: [gamma], fuzzy_match: true}\n", NULL);
    bench_text(&b, S("beta then alpha and gama"));
    str one = b.signals->detail[bench_slot(&b, "keyword", "one")];
    str fuzzy = b.signals->detail[bench_slot(&b, "keyword", "fuzzy")];
    assert_true(str_eq(one, S("alpha, beta")));
    assert_true(str_eq(fuzzy, S("gamma (fuzzy)")));
    assert_true(isnan(bench_confidence(&b, "keyword", "one")));
    bench_text(&b, S("beta"));
    assert_true(str_eq(b.signals->detail[bench_slot(&b, "keyword", "one")], S("beta")));
    assert_int_equal(bench_says(&b, "keyword", "fuzzy"), 0);
    bench_free(&b);
}

static void bad_rules_are_refused_with_a_reason(void **state)
{
    (void)state;
    static const struct { const char *rule, *finding; bool is_refused; } cases[] = {
        { "operator: XOR, keywords: [a]", NULL, true },
        { "operator: and, keywords: [a]", NULL, true },
        { "keywords: [a]", NULL, true },
        { "operator: OR, method: fuzzy, keywords: [a]", NULL, true },
        { "operator: OR, method: regex, keywords: ['(a']", "bad-pattern", true },
        { "operator: OR, method: regex, keywords: ['(?=a)']", "bad-pattern", true },
        { "operator: OR, keywords: [\"C++\"]", "unreachable-literal", false },
        { "operator: OR, keywords: [a], fuzzy_match: true, fuzzy_threshold: 82",
          "wide-fuzzy-threshold", false },
        { "operator: OR, keywords: []", "no-keywords", false },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char yaml[512];
        snprintf(yaml, sizeof yaml, "keywords:\n- {name: k, %s}\n", cases[i].rule);
        struct bench b = bench_new(yaml, NULL);
        if (cases[i].finding && !bench_found(&b, cases[i].finding))
            fail_msg("{%s}: no finding %s", cases[i].rule, cases[i].finding);
        if ((b.policy == NULL) != cases[i].is_refused)
            fail_msg("{%s}: refused %d", cases[i].rule, b.policy == NULL);
        bench_free(&b);
    }
}

/* Random rules over a small alphabet against "does the keyword occur as a word". */
static void operators_agree_with_brute_force(void **state)
{
    (void)state;
    static const char *const words[] = { "ab", "ba", "aab", "b", "abab", "bb" };
    static const char *const ops[] = { "AND", "OR", "NOR" };
    srand(7);
    for (size_t round = 0; round < 300; round++) {
        const char *picked[3];
        char yaml[256], text[64] = "";
        size_t n = 1 + (size_t)rand() % 3, op = (size_t)rand() % 3, hits = 0;
        for (size_t i = 0; i < n; i++)
            picked[i] = words[rand() % 6];
        for (size_t i = 0; i < 5; i++) {
            strcat(text, words[rand() % 6]);
            strcat(text, rand() % 3 ? " " : "");
        }
        snprintf(yaml, sizeof yaml, "keywords:\n- {name: k, operator: %s, keywords: [%s, %s, %s]}",
                 ops[op], picked[0], picked[n > 1], picked[n > 2 ? 2 : 0]);
        const char *used[3] = { picked[0], picked[n > 1], picked[n > 2 ? 2 : 0] };
        for (size_t i = 0; i < 3; i++) {
            bool is_in = false;
            for (char copy[64], *save, *w = (strcpy(copy, text), strtok_r(copy, " ", &save)); w;
                 w = strtok_r(NULL, " ", &save))
                is_in |= strcmp(w, used[i]) == 0;
            hits += is_in;
        }
        struct bench b = bench_new(yaml, NULL);
        bench_text(&b, str_of(text));
        bool expected = op == 0 ? hits == 3 : op == 1 ? hits > 0 : hits == 0;
        if (bench_says(&b, "keyword", "k") != expected)
            fail_msg("%s on \"%s\": not %d", yaml, text, expected);
        bench_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(literal_keywords_are_ascii_words),
        cmocka_unit_test(patterns_are_re2),
        cmocka_unit_test(operators_are_all_any_none),
        cmocka_unit_test(fuzzy_is_an_edit_distance),
        cmocka_unit_test(bm25_scores_stems),
        cmocka_unit_test(ngram_is_the_share_of_grams),
        cmocka_unit_test(what_matched_is_told),
        cmocka_unit_test(bad_rules_are_refused_with_a_reason),
        cmocka_unit_test(operators_agree_with_brute_force),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
