/* tests/unit/base/test_json.c -- the tape parser, judged by tables and by yyjson. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "json_oracle.h"

static int parses(str text, struct json_error *e)
{
    struct arena *a = arena_new();
    struct json j;
    *e = (struct json_error){ 0, NULL };
    int rc = json_parse(a, text, &j, e);
    arena_free(a);
    return rc;
}

static void malformed_text_is_refused_with_its_place(void **state)
{
    (void)state;
    static const struct { str text; size_t at; const char *what; } cases[] = {
        { { "", 0 }, 0, "empty" },                      { { " \n\t ", 4 }, 4, "empty" },
        { { "{", 1 }, 0, "not closed" },                { { " [1", 3 }, 1, "not closed" },
        { { "[1,]", 4 }, 3, "expected a value" },       { { "[,1]", 4 }, 1, "expected a value" },
        { { "[1 2]", 5 }, 3, "expected ','" },          { { "{\"a\":1,}", 8 }, 7, "key" },
        { { "{\"a\" 1}", 7 }, 5, "':'" },               { { "{\"a\":}", 6 }, 5, "expected a value" },
        { { "{a:1}", 5 }, 1, "key" },                   { { "{\"a\":1 \"b\":2}", 13 }, 7, "expected ','" },
        { { "[1}", 3 }, 2, "expected ','" },            { { "{\"a\":1]", 7 }, 6, "expected ','" },
        { { "1 2", 3 }, 2, "behind the document" },     { { "{}x", 3 }, 2, "behind the document" },
        { { "[]]", 3 }, 2, "behind the document" },
        { { "01", 2 }, 1, "begin with 0" },             { { "-", 1 }, 1, "digit" },
        { { "-a", 2 }, 1, "digit" },                    { { "1.", 2 }, 2, "digit" },
        { { "1.e3", 4 }, 2, "digit" },                  { { "1e", 2 }, 2, "exponent" },
        { { "1e+", 3 }, 3, "exponent" },                { { "+1", 2 }, 0, "expected a value" },
        { { ".5", 2 }, 0, "expected a value" },         { { "0x10", 4 }, 1, "behind the document" },
        { { "NaN", 3 }, 0, "expected a value" },        { { "Infinity", 8 }, 0, "expected a value" },
        { { "tru", 3 }, 0, "expected a value" },        { { "nulL", 4 }, 0, "expected a value" },
        { { "truex", 5 }, 4, "behind the document" },   { { "'a'", 3 }, 0, "expected a value" },
        { { "\"a", 2 }, 0, "not closed" },              { { "\"a\\", 3 }, 0, "not closed" },
        { { "\"a\\\"", 4 }, 0, "not closed" },          { { "\"\\x\"", 4 }, 1, "unknown escape" },
        { { "\"\\u12g4\"", 8 }, 1, "hexadecimal" },     { { "\"\\u12\"", 6 }, 1, "hexadecimal" },
        { { "\"a\nb\"", 5 }, 2, "control" },            { { "\"a\0b\"", 5 }, 2, "control" },
        { { "\"\x1f\"", 3 }, 1, "control" },            { { "\"\xff\"", 3 }, 1, "UTF-8" },
        { { "\"\xc0\x80\"", 4 }, 1, "UTF-8" },          { { "\"\xe0\x80\x80\"", 5 }, 1, "UTF-8" },
        { { "\"\xed\xa0\x80\"", 5 }, 1, "UTF-8" },      { { "\"\xf4\x90\x80\x80\"", 6 }, 1, "UTF-8" },
        { { "\"\xf0\x9f\x98\"", 5 }, 1, "UTF-8" },      { { "\"\x80\"", 3 }, 1, "UTF-8" },
        { { "\xef\xbb\xbf{}", 5 }, 0, "expected a value" },     { { "[1]\0", 4 }, 3, "behind the document" },
        { { "/*c*/1", 6 }, 0, "expected a value" },     { { "\f1", 2 }, 0, "expected a value" },
        { { "\xc2\xa0" "1", 3 }, 0, "expected a value" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct json_error e;
        if (parses(cases[i].text, &e) != -1 || e.at != cases[i].at || !strstr(e.what, cases[i].what))
            fail_msg("[" STR_FMT "]: %s at %zu", STR_ARG(cases[i].text), e.what ? e.what : "accepted", e.at);
        assert_null(oracle_judges(cases[i].text));
    }
}

static void well_formed_text_is_read(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "0", "-0", "1e400", "1E-2", "0.10", "0e0", "\"\"", "[]", "{}", " [ ] ", "\t{\r}\n", "[[[]]]", "null", "true", "false",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\uD83D\\uDE00\"", "{\"\":0}", "{\"a\":1,\"a\":2}", "[0,-1,2.5e+3,\"x\",null]",
        "\"\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xf4\x8f\xbf\xbf\"", "\"0123456789abcde\"", "\"0123456789abcdef\"",
        "\"0123456789abcdef0123456789abcdef\"", "\"\x7f\"", "123456789012345678901234567890.12345678901234567890E-99",
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct json_error e;
        if (parses(str_of(cases[i]), &e) != 0)
            fail_msg("%s: %s at %zu", cases[i], e.what, e.at);
        const char *why = oracle_judges(str_of(cases[i]));
        if (why)
            fail_msg("%s: %s", cases[i], why);
    }
}

/* Each of the things that stop a scan, at each offset of a vector's width and beside its edges. */
static void strings_end_where_they_should_at_any_alignment(void **state)
{
    (void)state;
    static const str stops[] = {
        { "\\n", 2 }, { "\\u00e9", 6 }, { "\xc3\xa9", 2 }, { "\xf0\x9f\x98\x80", 4 }, { "\x1f", 1 }, { "\xff", 1 },
        { "\\q", 2 }, { "\"", 1 }, { "\\", 1 }, { "\xc3", 1 }, { "\x7f", 1 }, { "\\\\\\\"", 4 },
    };
    char text[128];
    for (size_t before = 0; before < 70; before++) {
        for (size_t s = 0; s < COUNT_OF(stops); s++) {
            for (size_t behind = 0; behind < 40; behind += 1 + behind / 4) {
                char *p = text;
                *p++ = '"';
                memset(p, 'a', before);
                p += before;
                memcpy(p, stops[s].ptr, stops[s].len);
                p += stops[s].len;
                memset(p, 'b', behind);
                p += behind;
                *p++ = '"';
                char *exact = malloc((size_t)(p - text));     /* so that ASan sees a read behind the end */
                memcpy(exact, text, (size_t)(p - text));
                const char *why = oracle_judges((str){ exact, (size_t)(p - text) });
                why = why ? why : oracle_judges((str){ exact, (size_t)(p - text) - 1 });
                free(exact);
                if (why)
                    fail_msg("%zu bytes, stop %zu, %zu bytes: %s", before, s, behind, why);
            }
        }
    }
}

/* Which of many backslashes escape and which are escaped, whatever vector they fall into. */
static void runs_of_backslashes_are_counted(void **state)
{
    (void)state;
    static const str behind[] = { { "\"", 1 }, { "n\"", 2 }, { "u00e9\"", 6 }, { "x\"", 2 }, { "\xc3\xa9\"", 3 } };
    char text[256];
    for (size_t before = 0; before < 40; before++) {
        for (size_t run = 1; run < 70; run++) {
            for (size_t i = 0; i < COUNT_OF(behind); i++) {
                char *p = text;
                *p++ = '"';
                for (size_t k = 0; k < before; k++)     /* plain bytes or escapes of two */
                    *p++ = i % 2 ? 'a' : k % 2 ? 'n' : k + 1 < before ? '\\' : 'a';
                memset(p, '\\', run);
                p += run;
                memcpy(p, behind[i].ptr, behind[i].len);
                p += behind[i].len;
                char *exact = malloc((size_t)(p - text));
                memcpy(exact, text, (size_t)(p - text));
                const char *why = oracle_judges((str){ exact, (size_t)(p - text) });
                free(exact);
                if (why)
                    fail_msg("%zu bytes, %zu backslashes, end %zu: %s", before, run, i, why);
            }
        }
    }
}

/* More nodes than the first guess, and many more behind a long string than it promised. */
static void a_dense_document_behind_a_long_string_is_read(void **state)
{
    (void)state;
    struct buf b = { 0 };
    for (int n = 0; n < 70000; n = n * 3 + 10) {
        b.len = 0;
        buf_str(&b, S("[\""));
        for (int i = 0; i < 20000; i++)
            buf_char(&b, 'a');
        buf_char(&b, '"');
        for (int i = 0; i < n; i++)
            buf_str(&b, i % 3 ? S(",[]") : S(",1"));
        buf_str(&b, S(",{\"\":0,\"\":0}]"));
        const char *why = oracle_judges(buf_view(&b));
        if (why)
            fail_msg("%d: %s", n, why);
    }
    buf_free(&b);
}

static void nesting_is_limited_to_256(void **state)
{
    (void)state;
    char text[4 * JSON_DEPTH_MAX];
    for (int n = JSON_DEPTH_MAX - 1; n <= JSON_DEPTH_MAX + 1; n++) {
        memset(text, '[', (size_t)n);
        memset(text + n, ']', (size_t)n);
        struct json_error e;
        int rc = parses((str){ text, 2 * (size_t)n }, &e);
        assert_int_equal(rc, n <= JSON_DEPTH_MAX ? 0 : -1);
        if (rc < 0) {
            assert_string_equal(e.what, "nested more than 256 deep");
            assert_int_equal(e.at, JSON_DEPTH_MAX);
        }
    }
}

static void both_parsers_read_the_same_from_random_documents(void **state)
{
    (void)state;
    uint64_t seed = 1;
    struct buf b = { 0 };
    for (int i = 0; i < 4000; i++) {
        random_document(&b, &seed);
        const char *why = oracle_judges(buf_view(&b));
        if (why)
            fail_msg("%d: %s in " STR_FMT, i, why, STR_ARG(buf_view(&b)));
    }
    buf_free(&b);
}

/* One to three bytes changed, dropped or doubled: mostly wrong, and both must agree. */
static void both_parsers_judge_damaged_documents_alike(void **state)
{
    (void)state;
    static const char bytes[] = "{}[],:\"\\ue0123456789-+.EtrfalsnxX \n\x01\x7f\xc3\xa9\xed\xf0\xff\0";
    uint64_t seed = 2;
    struct buf b = { 0 };
    for (int i = 0; i < 40000; i++) {
        if (i % 4 == 0 || b.len < 2)
            do
                random_document(&b, &seed);
            while (b.len < 2 || b.len > 600);
        for (uint64_t k = 1 + rand_below(&seed, 3); k && b.len > 1; k--) {
            size_t at = rand_below(&seed, b.len);
            if (rand_below(&seed, 3)) {
                b.ptr[at] = bytes[rand_below(&seed, sizeof bytes)];
            } else {
                memmove(b.ptr + at, b.ptr + at + 1, b.len - at - 1);
                b.len--;
            }
        }
        const char *why = oracle_judges(buf_view(&b));
        if (why)
            fail_msg("%d: %s in " STR_FMT, i, why, STR_ARG(buf_view(&b)));
    }
    buf_free(&b);
}

static void every_prefix_of_a_document_is_refused_without_a_read_behind_it(void **state)
{
    (void)state;
    static const char text[] = "{\"a\\u00e9\":[1.5e-3,true,false,null,\"\xf0\x9f\x98\x80\\ud83d\\ude00\"],\"b\":{\"c\":-0}}";
    for (size_t n = 0; n < sizeof text - 1; n++) {
        char *exact = malloc(n + !n);
        memcpy(exact, text, n);
        struct json_error e;
        assert_int_equal(parses((str){ exact, n }, &e), -1);
        assert_null(oracle_judges((str){ exact, n }));
        free(exact);
    }
}

static void members_are_found_by_their_decoded_names(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct json j;
    str text = S("{\"a\":1,\"mo\\u0064el\":\"x\",\"a\":2,\"o\":{\"l\":[10,{\"k\":\"v\\n\"}]},\"\":3,\"n\\u0000l\":4}");
    assert_int_equal(json_parse(a, text, &j, NULL), 0);
    int64_t v;
    assert_true(json_int(&j, json_get(&j, 0, S("a")), &v) && v == 2);
    assert_true(json_int(&j, json_get_first(&j, 0, S("a")), &v) && v == 1);
    assert_true(json_int(&j, json_get(&j, 0, S("")), &v) && v == 3);
    assert_true(json_int(&j, json_get(&j, 0, S("n\0l")), &v) && v == 4);
    assert_int_equal(json_get(&j, 0, S("n")), JSON_NONE);
    assert_true(str_eq(json_str(&j, json_get(&j, 0, S("model")), a), S("x")));
    assert_true(str_eq(json_str(&j, json_path(&j, "o.l.1.k"), a), S("v\n")));
    assert_true(json_int(&j, json_path(&j, "o.l.0"), &v) && v == 10);
    assert_int_equal(json_path(&j, "o.l.2"), JSON_NONE);
    assert_int_equal(json_path(&j, "o.l.-1"), JSON_NONE);
    assert_int_equal(json_path(&j, "o.l.0.x"), JSON_NONE);
    assert_int_equal(json_get(&j, json_path(&j, "o.l"), S("k")), JSON_NONE);
    assert_int_equal(json_get(&j, JSON_NONE, S("k")), JSON_NONE);
    assert_int_equal(json_count(&j, 0), 6);
    assert_int_equal(json_str(&j, 0, a).len, 0);
    assert_int_equal(json_str(&j, JSON_NONE, a).len, 0);
    arena_free(a);
}

static void a_long_name_is_found_however_it_is_spelled(void **state)
{
    (void)state;
    char name[301], text[2000];
    size_t n = 0;
    text[n++] = '{', text[n++] = '"';
    for (int i = 0; i < 300; i++) {
        name[i] = (char)('a' + i % 26);
        n += (size_t)sprintf(text + n, "\\u%04x", name[i]);
    }
    name[300] = 0;
    n += (size_t)sprintf(text + n, "\":1}");
    struct arena *a = arena_new();
    struct json j;
    assert_int_equal(json_parse(a, (str){ text, n }, &j, NULL), 0);
    assert_int_equal(json_get(&j, 0, (str){ name, 300 }), 2);
    assert_int_equal(json_get(&j, 0, (str){ name, 299 }), JSON_NONE);
    name[299] ^= 1;
    assert_int_equal(json_get(&j, 0, (str){ name, 300 }), JSON_NONE);
    arena_free(a);
}

static void unpaired_surrogates_become_replacement_characters(void **state)
{
    (void)state;
    static const struct { str raw, text; } cases[] = {
        { { "\"\\ud800\"", 8 }, { "\xef\xbf\xbd", 3 } },
        { { "\"\\udc00\"", 8 }, { "\xef\xbf\xbd", 3 } },
        { { "\"\\ud83dx\"", 9 }, { "\xef\xbf\xbdx", 4 } },
        { { "\"\\ud83d\\n\"", 10 }, { "\xef\xbf\xbd\n", 4 } },
        { { "\"\\ud83d\\u0041\"", 14 }, { "\xef\xbf\xbd" "A", 4 } },
        { { "\"\\ud83d\\ud83d\\ude00\"", 20 }, { "\xef\xbf\xbd\xf0\x9f\x98\x80", 7 } },
        { { "\"\\ude00\\ud83d\"", 14 }, { "\xef\xbf\xbd\xef\xbf\xbd", 6 } },
        { { "\"\\uDBFF\\uDFFF\"", 14 }, { "\xf4\x8f\xbf\xbf", 4 } },
    };
    struct arena *a = arena_new();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct json j;
        assert_int_equal(json_parse(a, cases[i].raw, &j, NULL), 0);
        assert_true(str_eq(json_str(&j, 0, a), cases[i].text));
        assert_int_equal(json_str_bytes(&j, 0), cases[i].text.len);
    }
    arena_free(a);
}

static void numbers_are_read_when_they_fit(void **state)
{
    (void)state;
    static const struct { const char *raw; bool is_int; int64_t i; bool is_double; double d; } cases[] = {
        { "0", true, 0, true, 0 },              { "-0", true, 0, true, -0.0 },
        { "42", true, 42, true, 42 },           { "1e3", true, 1000, true, 1000 },
        { "1.0", true, 1, true, 1 },            { "1.5", false, 0, true, 1.5 },
        { "9223372036854775807", true, INT64_MAX, true, 0x1p63 },
        { "-9223372036854775808", true, INT64_MIN, true, -0x1p63 },
        { "9223372036854775808", false, 0, true, 0x1p63 },
        { "1e400", false, 0, false, 0 },        { "1e-400", true, 0, true, 0 },
        { "123456789012345678901234567890", false, 0, true, 123456789012345678901234567890.0 },
        { "true", false, 0, false, 0 },         { "\"1\"", false, 0, false, 0 },
    };
    struct arena *a = arena_new();
    for (size_t k = 0; k < COUNT_OF(cases); k++) {
        struct json j;
        int64_t i;
        double d;
        assert_int_equal(json_parse(a, str_of(cases[k].raw), &j, NULL), 0);
        if (json_int(&j, 0, &i) != cases[k].is_int || (cases[k].is_int && i != cases[k].i))
            fail_msg("%s as an integer", cases[k].raw);
        if (json_double(&j, 0, &d) != cases[k].is_double || (cases[k].is_double && memcmp(&d, &cases[k].d, sizeof d) != 0))
            fail_msg("%s as a double", cases[k].raw);
    }
    arena_free(a);
}

/* ---- the writer ---- */

static void what_is_written_reads_back(void **state)
{
    (void)state;
    uint64_t seed = 3;
    struct arena *a = arena_new();
    for (int i = 0; i < 3000; i++) {
        struct buf b = { 0 };
        char bytes[64];
        size_t n = rand_below(&seed, sizeof bytes);
        bool is_utf8 = true;
        for (size_t k = 0; k < n; k++) {
            bytes[k] = (char)(i % 2 ? rand_below(&seed, 256) : rand_below(&seed, 128));
            is_utf8 &= (signed char)bytes[k] >= 0;
        }
        struct json_writer w = { .out = &b, .escape_html = i % 3 == 0 };
        jw_begin(&w, '{');
        jw_key(&w, (str){ bytes, n });
        jw_begin(&w, '[');
        jw_str(&w, (str){ bytes, n });
        jw_int(&w, INT64_MIN + (int64_t)rand_below(&seed, 3));
        jw_double(&w, 0.0 / 1.0);
        jw_bool(&w, true);
        jw_null(&w);
        jw_raw(&w, S("{}"));
        jw_end(&w, ']');
        jw_end(&w, '}');
        struct json j;
        assert_int_equal(json_parse(a, buf_view(&b), &j, NULL), 0);
        assert_null(oracle_judges(buf_view(&b)));
        if (is_utf8)
            assert_true(str_eq(json_str(&j, 1, a), (str){ bytes, n }) && str_eq(json_str(&j, 3, a), (str){ bytes, n }));
        if (i % 3 == 0)
            assert_true(str_chr(buf_view(&b), '<') < 0 && str_chr(buf_view(&b), '&') < 0);
        assert_int_equal(json_count(&j, 2), 6);
        buf_free(&b);
    }
    arena_free(a);
}

static void doubles_survive_writing(void **state)
{
    (void)state;
    uint64_t seed = 4;
    for (int i = 0; i < 20000; i++) {
        union { uint64_t bits; double v; } d = { rand_next(&seed) };
        if (i % 2)
            d.v = (double)(int64_t)rand_below(&seed, 100000) / 1000;
        struct buf b = { 0 };
        struct json_writer w = { .out = &b };
        jw_double(&w, d.v);
        buf_char(&b, 0);
        const char *why = oracle_judges((str){ b.ptr, b.len - 1 });
        if (why)
            fail_msg("%s is no JSON", b.ptr);
        if (d.v - d.v == 0) {
            assert_true(strtod(b.ptr, NULL) == d.v);
            if (i % 2)
                assert_true(b.len < 9);         /* 12.345, not 12.345000000000001 */
        }
        buf_free(&b);
    }
}

/* Brackets that nobody closes are one byte a node: 240 of them wrote past the tape. */
static void a_body_of_open_brackets_stays_within_its_tape(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 300; n++) {
        char text[400];
        struct json j;
        memset(text, '[', n);
        memset(text + n, ' ', sizeof text - n);
        for (size_t pad = 0; pad < 60; pad += 13) {
            struct arena *a = arena_new();
            char *copy = malloc(n + pad);
            memcpy(copy, text, n + pad);
            assert_int_equal(json_parse(a, (str){ copy, n + pad }, &j, NULL), -1);
            free(copy);
            arena_free(a);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_of_open_brackets_stays_within_its_tape),
        cmocka_unit_test(malformed_text_is_refused_with_its_place),
        cmocka_unit_test(well_formed_text_is_read),
        cmocka_unit_test(strings_end_where_they_should_at_any_alignment),
        cmocka_unit_test(runs_of_backslashes_are_counted),
        cmocka_unit_test(a_dense_document_behind_a_long_string_is_read),
        cmocka_unit_test(nesting_is_limited_to_256),
        cmocka_unit_test(both_parsers_read_the_same_from_random_documents),
        cmocka_unit_test(both_parsers_judge_damaged_documents_alike),
        cmocka_unit_test(every_prefix_of_a_document_is_refused_without_a_read_behind_it),
        cmocka_unit_test(members_are_found_by_their_decoded_names),
        cmocka_unit_test(a_long_name_is_found_however_it_is_spelled),
        cmocka_unit_test(unpaired_surrogates_become_replacement_characters),
        cmocka_unit_test(numbers_are_read_when_they_fit),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(doubles_survive_writing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
