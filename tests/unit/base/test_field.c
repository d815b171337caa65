/* tests/unit/base/test_field.c -- every type of key, its defaults, its bounds, its findings. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/field.h"

struct inner { str name; double weight; struct place at; uint64_t set; };

struct all {
    str text, word, open_word, secret;
    bool flag;
    int64_t number, bounded;
    double real, maybe;
    uint64_t duration, bytes;
    double count;
    struct strings strings;
    struct string_pairs pairs;
    struct inner inner;
    struct inner *list; size_t n_list;
    struct named_list named;
    const struct value *value;
    int64_t grouped;
    uint64_t set;
};

static const char *const words[] = { "red", "green", NULL };
static const char *const renamed[] = { "text", NULL };

static const struct field inner_keys[] = {
    F(FIELD_STR, struct inner, name, "name", NULL, "", .flags = FIELD_REQUIRED),
    F(FIELD_FLOAT, struct inner, weight, "weight", "1.5", ""),
    F(FIELD_VALUE, struct inner, at, FIELD_KEY_PLACE, NULL, NULL),
    F(FIELD_VALUE, struct inner, set, FIELD_KEY_SET, NULL, NULL),
};
static const struct fields inner = FIELDS(struct inner, inner_keys);

static const struct field named_keys[] = {
    F(FIELD_STR, struct inner, name, FIELD_KEY_NAME, NULL, NULL),
    F(FIELD_FLOAT, struct inner, weight, "weight", "2", ""),
};
static const struct fields named = FIELDS(struct inner, named_keys);

static const struct field group_keys[] = {
    F(FIELD_INT, struct all, grouped, "grouped", "7", ""),
};
static const struct fields group = FIELDS(struct all, group_keys);

static const struct field dark_keys[] = { K(FIELD_INT, "deep", NULL, "", .min = 0, .max = 9) };
static const struct fields dark = { dark_keys, COUNT_OF(dark_keys), 0 };

static const struct field all_keys[] = {
    F(FIELD_STR, struct all, text, "text", "hello", ""),
    F(FIELD_ENUM, struct all, word, "word", "red", "", .names = words),
    F(FIELD_ENUM, struct all, open_word, "open_word", NULL, "", .names = words, .flags = FIELD_OPEN),
    F(FIELD_SECRET, struct all, secret, "secret", NULL, ""),
    F(FIELD_BOOL, struct all, flag, "flag", "true", ""),
    F(FIELD_INT, struct all, number, "number", NULL, ""),
    F(FIELD_INT, struct all, bounded, "bounded", "3", "", .min = 1, .max = 10),
    F(FIELD_FLOAT, struct all, real, "real", NULL, "", .min = 0, .max = INFINITY),
    F(FIELD_FLOAT, struct all, maybe, "maybe", "nan", ""),
    F(FIELD_DURATION, struct all, duration, "duration", "1m30s", ""),
    F(FIELD_BYTES, struct all, bytes, "bytes", "64MiB", ""),
    F(FIELD_COUNT, struct all, count, "count", "32K", ""),
    F(FIELD_STRINGS, struct all, strings, "strings", "[a, b]", ""),
    F(FIELD_STRING_MAP, struct all, pairs, "pairs", NULL, ""),
    F(FIELD_STRUCT, struct all, inner, "inner", NULL, "", .sub = &inner),
    F(FIELD_LIST, struct all, list, "list", NULL, "", .sub = &inner),
    F(FIELD_MAP, struct all, named, "named", NULL, "", .sub = &named),
    F(FIELD_VALUE, struct all, value, "value", NULL, ""),
    GROUP("group", &group, ""),
    GROUP("dark", &dark, "", .flags = FIELD_NOT_BUILT),
    GROUP("guard", &dark, "", .flags = FIELD_NOT_BUILT | FIELD_GUARD),
    K(FIELD_STR, "old", NULL, "", .flags = FIELD_DEPRECATED, .names = renamed),
    F(FIELD_VALUE, struct all, set, FIELD_KEY_SET, NULL, NULL),
};
static const struct fields all = FIELDS(struct all, all_keys);

static struct arena *a;

static struct findings decode(const char *yaml, struct all *out, bool *is_ok)
{
    struct err e = { 0 };
    struct findings found = { .a = a };
    struct value *v = yaml_parse(a, str_of(yaml), "t.yaml", &e);
    assert_non_null(v);
    bool ok = field_decode(a, &all, v, S("top"), out, &found);
    if (is_ok)
        *is_ok = ok;
    return found;
}

static void defaults_hold_where_nothing_is_written(void **state)
{
    struct all x;
    struct findings found = decode("{}", &x, NULL);
    (void)state;
    assert_int_equal(found.n, 0);
    assert_true(str_eq(x.text, S("hello")) && str_eq(x.word, S("red")) && x.flag);
    assert_int_equal(x.bounded, 3);
    assert_true(isnan(x.maybe));
    assert_int_equal(x.duration, 90000000000);
    assert_int_equal(x.bytes, 64 << 20);
    assert_true(x.count == 32000);
    assert_int_equal(x.strings.n, 2);
    assert_true(x.inner.weight == 1.5);
    assert_int_equal(x.grouped, 7);
    assert_int_equal(x.set, 0);
    memset(&x, 0xff, sizeof x);
    assert_true(field_decode(a, &all, NULL, S(""), &x, NULL));
    assert_true(str_eq(x.text, S("hello")) && x.list == NULL && x.n_list == 0);
}

static void everything_is_read(void **state)
{
    struct all x;
    struct findings found = decode(
        "text: 1.10\nword: green\nsecret: s\nflag: off\nnumber: 0x1F\nbounded: 1_0\nreal: 1e3\n"
        "maybe: -2\nduration: 250ms\nbytes: 10k\ncount: 1.5M\nstrings: [x, 5, no]\n"
        "pairs: {k: v, n: 5}\ninner: {name: i}\nlist: [{name: p}, {name: q, weight: 3}]\n"
        "named: {first: {}, second: {weight: 4}}\nvalue: [1, {a: b}]\ngroup: {grouped: 9}\n",
        &x, NULL);
    (void)state;
    assert_int_equal(found.n, 0);
    assert_true(str_eq(x.text, S("1.10")) && str_eq(x.word, S("green")) && !x.flag);
    assert_int_equal(x.number, 31);
    assert_int_equal(x.bounded, 10);
    assert_true(x.real == 1000 && x.maybe == -2 && x.count == 1.5e6);
    assert_int_equal(x.duration, 250000000);
    assert_int_equal(x.bytes, 10000);
    assert_int_equal(x.strings.n, 3);
    assert_true(str_eq(x.strings.items[2], S("no")));
    assert_true(str_eq(x.pairs.items[1][1], S("5")));
    assert_true(str_eq(x.inner.name, S("i")) && x.inner.weight == 1.5 && x.inner.set == 1);
    assert_int_equal(x.n_list, 2);
    assert_true(x.list[0].weight == 1.5 && x.list[1].weight == 3);
    assert_int_equal(x.list[1].at.line, 15);
    assert_int_equal(x.list[1].at.col, 19);
    const struct inner *items = x.named.items;
    assert_true(str_eq(items[0].name, S("first")) && items[0].weight == 2 && items[1].weight == 4);
    assert_int_equal(x.value->kind, VALUE_LIST);
    assert_int_equal(x.grouped, 9);
    assert_int_equal(x.set & 3, 3);
}

static void each_mistake_has_its_name_place_and_hint(void **state)
{
    static const struct {
        const char *yaml, *name; enum severity severity; unsigned line, col; const char *path, *says;
    } cases[] = {
        { "texd: x", "unknown-key", SEVERITY_WARNING, 1, 1, "top.texd", "did you mean `text`?" },
        { "zzzzzz: x", "unknown-key", SEVERITY_WARNING, 1, 1, "top.zzzzzz", "" },
        { "inner: {name: n, wieght: 1}", "unknown-key", SEVERITY_WARNING, 1, 18, "top.inner.wieght",
          "did you mean `weight`?" },
        { "flag: maybe", "wrong-type", SEVERITY_ERROR, 1, 7, "top.flag", "true or false" },
        { "number: '5'", "wrong-type", SEVERITY_ERROR, 1, 9, "top.number", "remove the quotes" },
        { "number: 5.5", "wrong-type", SEVERITY_ERROR, 1, 9, "top.number", "whole number" },
        { "number: [1]", "wrong-type", SEVERITY_ERROR, 1, 9, "top.number", "not a list" },
        { "real: .inf", "wrong-type", SEVERITY_ERROR, 1, 7, "top.real", "a number" },
        { "text: {a: b}", "wrong-type", SEVERITY_ERROR, 1, 7, "top.text", "not a map" },
        { "strings: one", "wrong-type", SEVERITY_ERROR, 1, 10, "top.strings", "list of texts" },
        { "strings: [a, [b]]", "wrong-type", SEVERITY_ERROR, 1, 14, "top.strings[1]", "a list" },
        { "inner: 5", "wrong-type", SEVERITY_ERROR, 1, 8, "top.inner", "expected a map" },
        { "list: {}", "wrong-type", SEVERITY_ERROR, 1, 7, "top.list", "list of maps" },
        { "bounded: 11", "out-of-range", SEVERITY_ERROR, 1, 10, "top.bounded", "from 1 to 10" },
        { "real: -1", "out-of-range", SEVERITY_ERROR, 1, 7, "top.real", "at least 0" },
        { "word: gren", "bad-value", SEVERITY_ERROR, 1, 7, "top.word", "did you mean `green`?" },
        { "word: Red", "bad-value", SEVERITY_ERROR, 1, 7, "top.word", "red, green" },
        { "open_word: blue", "bad-value", SEVERITY_WARNING, 1, 12, "top.open_word", "red, green" },
        { "duration: 5 apples", "wrong-type", SEVERITY_ERROR, 1, 11, "top.duration", "1m30s" },
        { "list:\n  - weight: 1", "missing-key", SEVERITY_ERROR, 2, 5, "top.list[0].name", "missing" },
        { "dark: {deep: 1}", "not-built", SEVERITY_INFO, 1, 1, "top.dark", "not built" },
        { "guard: {deep: 1}", "not-built", SEVERITY_WARNING, 1, 1, "top.guard", "not built" },
        { "dark: {enabled: false, deep: 99}", "out-of-range", SEVERITY_ERROR, 1, 30, "top.dark.deep",
          "from 0 to 9" },
        { "old: x", "deprecated-key", SEVERITY_WARNING, 1, 1, "top.old", "write `text`" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct all x;
        bool ok;
        struct findings found = decode(cases[i].yaml, &x, &ok);
        const struct finding *hit = NULL;
        for (size_t k = 0; k < found.n; k++)
            if (!strcmp(found.items[k].name, cases[i].name))
                hit = &found.items[k];
        if (!hit)
            fail_msg("%s: no %s", cases[i].yaml, cases[i].name);
        assert_int_equal(hit->severity, cases[i].severity);
        assert_int_equal(ok, found.n_by_severity[SEVERITY_ERROR] == 0);
        assert_int_equal(hit->at.line, cases[i].line);
        assert_int_equal(hit->at.col, cases[i].col);
        assert_string_equal(hit->path.ptr, cases[i].path);
        if (!strstr(hit->text.ptr, cases[i].says) && !strstr(hit->hint.ptr, cases[i].says))
            fail_msg("%s: \"%s\" / \"%s\"", cases[i].yaml, hit->text.ptr, hit->hint.ptr);
    }
}

static void an_old_name_fills_the_new_key(void **state)
{
    struct all x;
    (void)state;
    decode("old: x", &x, NULL);
    assert_true(str_eq(x.text, S("x")));
    decode("old: x\ntext: y", &x, NULL);
    assert_true(str_eq(x.text, S("y")));
}

static void null_means_default(void **state)
{
    struct all x;
    (void)state;
    struct findings found = decode("text:\nbounded: ~\ninner:\nlist:\nstrings:", &x, NULL);
    assert_int_equal(found.n, 0);
    assert_true(str_eq(x.text, S("hello")) && x.bounded == 3 && x.inner.weight == 1.5);
    assert_int_equal(x.strings.n, 2);
}

static void durations_counts_and_sizes(void **state)
{
    static const struct { const char *text; bool ok; uint64_t ns; } durations[] = {
        { "1h2m3s", true, 3723000000000 }, { "1.5s", true, 1500000000 }, { "300ms", true, 300000000 },
        { "10us", true, 10000 }, { "7ns", true, 7 }, { "5", true, 5000000000 }, { "0", true, 0 },
        { "0.25", true, 250000000 }, { "", false, 0 }, { "s", false, 0 }, { "5x", false, 0 },
        { "-5s", false, 0 }, { "5s ", false, 0 }, { "1e30h", false, 0 }, { "400y", false, 0 },
        { "10000000h", false, 0 }, { "1..5s", false, 0 },
    };
    static const struct { const char *text; bool ok; double n; } counts[] = {
        { "800", true, 800 }, { "32K", true, 32000 }, { "1.5M", true, 1.5e6 }, { "2k", true, 2000 },
        { "x", false, 0 }, { "", false, 0 }, { "3G", false, 0 }, { "-1", false, 0 },
    };
    static const struct { const char *text; bool ok; uint64_t n; } sizes[] = {
        { "64MiB", true, 67108864 }, { "10k", true, 10000 }, { "1 GB", true, 1000000000 },
        { "5", true, 5 }, { "2Ti", true, 2199023255552 }, { "5 parsecs", false, 0 },
        { "99999999TiB", false, 0 },
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(durations); i++) {
        uint64_t ns = 0;
        if (duration_parse(str_of(durations[i].text), &ns) != durations[i].ok)
            fail_msg("%s", durations[i].text);
        if (durations[i].ok)
            assert_int_equal(ns, durations[i].ns);
    }
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        double n = 0;
        if (count_parse(str_of(counts[i].text), &n) != counts[i].ok)
            fail_msg("%s", counts[i].text);
        if (counts[i].ok)
            assert_true(n == counts[i].n);
    }
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        uint64_t n = 0;
        if (bytes_parse(str_of(sizes[i].text), &n) != sizes[i].ok)
            fail_msg("%s", sizes[i].text);
        if (sizes[i].ok)
            assert_int_equal(n, sizes[i].n);
    }
}

static int set_up(void **state)
{
    (void)state;
    a = arena_new();
    return !a;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(a);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_hold_where_nothing_is_written),
        cmocka_unit_test(everything_is_read),
        cmocka_unit_test(each_mistake_has_its_name_place_and_hint),
        cmocka_unit_test(an_old_name_fills_the_new_key),
        cmocka_unit_test(null_means_default),
        cmocka_unit_test(durations_counts_and_sizes),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
