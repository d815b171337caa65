/* tests/unit/base/test_yaml.c -- trees, places, and what must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/value.h"

struct fixture { struct arena *a; struct err e; };

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->a = arena_new();
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    arena_free(f->a);
    free(f);
    return 0;
}

static struct value *parse(struct fixture *f, const char *text)
{
    f->e = (struct err){ 0 };
    return yaml_parse(f->a, str_of(text), "test.yaml", &f->e);
}

/* YAML text -> the JSON it means; aliases, merges and scalars by the core schema. */
static void same_meaning_as_json(void **state)
{
    static const struct { const char *yaml, *json; } cases[] = {
        { "", "null" },
        { "a: 1", "{\"a\":1}" },
        { "{a: 1, b: [x, 'y', \"z\"]}", "{\"a\":1,\"b\":[\"x\",\"y\",\"z\"]}" },
        { "a: ~\nb: null\nc:\nd: ''", "{\"a\":null,\"b\":null,\"c\":null,\"d\":\"\"}" },
        { "a: true\nb: 'true'\nc: no\nd: False", "{\"a\":true,\"b\":\"true\",\"c\":\"no\",\"d\":false}" },
        { "a: .5\nb: +5\nc: 1.\nd: 1e3\ne: 007\nf: -0.25",
          "{\"a\":0.5,\"b\":5,\"c\":1,\"d\":1e3,\"e\":7,\"f\":-0.25}" },
        { "a: 1.2.3\nb: 5m\nc: '5'\nd: !!str 5", "{\"a\":\"1.2.3\",\"b\":\"5m\",\"c\":\"5\",\"d\":\"5\"}" },
        { "a: &x {k: 1}\nb: *x", "{\"a\":{\"k\":1},\"b\":{\"k\":1}}" },
        { "a: &x {k: 1, l: 2}\nb: {<<: *x, l: 3}", "{\"a\":{\"k\":1,\"l\":2},\"b\":{\"l\":3,\"k\":1}}" },
        { "a: &x {k: 1}\nb: &y {k: 2, m: 3}\nc: {<<: [*x, *y]}",
          "{\"a\":{\"k\":1},\"b\":{\"k\":2,\"m\":3},\"c\":{\"k\":1,\"m\":3}}" },
        { "a: |\n  one\n  two\n", "{\"a\":\"one\\ntwo\\n\"}" },
        { "a: >-\n  one\n  two\n", "{\"a\":\"one two\"}" },
        { "{\"a\": \"\\ud83d\\ude00 \\u00e9 \\/\", \"b\": [1, 2.5, null, true]}",
          "{\"a\":\"\xf0\x9f\x98\x80 \xc3\xa9 /\",\"b\":[1,2.5,null,true]}" },
        { "{\"a\":\"\\\\ud83d\\\\ude00\"}", "{\"a\":\"\\\\ud83d\\\\ude00\"}" },
        { "{\n\t\"tabs\": [\n\t\t1\n\t]\n}", "{\"tabs\":[1]}" },
        { "? a\n: 1", "{\"a\":1}" },
        { "\"<<\": 1", "{\"<<\":1}" },
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct value *v = parse(f, cases[i].yaml);
        struct buf b = { 0 };
        if (!v)
            fail_msg("%s: %s", cases[i].yaml, f->e.text);
        value_to_json(v, &b);
        buf_char(&b, 0);
        assert_string_equal(b.ptr, cases[i].json);
        buf_free(&b);
    }
}

static void errors_have_a_place(void **state)
{
    static const struct { const char *yaml; unsigned line, col; const char *says; } cases[] = {
        { "a: 1\nb: 2\na: 3", 3, 1, "twice (first in line 1)" },
        { "a: {x: 1, x: 2}", 1, 11, "twice" },
        { "a: [1, 2", 2, 1, "flow sequence" },
        { "a: *nobody", 1, 4, "no anchor" },
        { "[a, b]: 1", 1, 1, "a key must be a word" },
        { "a: 1\n---\nb: 2", 2, 1, "second document" },
        { "a:\n\t- b", 2, 1, "YAML" },
        { "a: {<<: 5}", 1, 5, "merges a map" },
        { "a: &x [*x]", 1, 8, "no anchor" },
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_null(parse(f, cases[i].yaml));
        if (!strstr(f->e.text, cases[i].says))
            fail_msg("%s: got \"%s\"", cases[i].yaml, f->e.text);
        if (f->e.at.line != cases[i].line || f->e.at.col != cases[i].col)
            fail_msg("%s: at %u:%u", cases[i].yaml, f->e.at.line, f->e.at.col);
        assert_string_equal(f->e.at.file, "test.yaml");
    }
}

static void keys_and_values_know_their_place(void **state)
{
    struct value *v = parse(*state, "a:\n  - name: x\n    other:  y\n");
    struct value *item = value_path(v, "a")->items[0];
    assert_int_equal(item->pairs[1].key_at.line, 3);
    assert_int_equal(item->pairs[1].key_at.col, 5);
    assert_int_equal(item->pairs[1].value->at.line, 3);
    assert_int_equal(item->pairs[1].value->at.col, 13);
}

static void an_alias_is_a_copy(void **state)
{
    struct fixture *f = *state;
    struct value *v = parse(f, "a: &x {list: [1, 2, 3, 4, 5]}\nb: *x");
    struct value *first = value_path(v, "a.list"), *second = value_path(v, "b.list");
    for (int i = 0; i < 20; i++)
        value_append(f->a, second, value_scalar(f->a, S("more")));
    assert_int_equal(first->n_items, 5);
    assert_int_equal(second->n_items, 25);
    value_set(f->a, value_path(v, "b"), S("new"), value_scalar(f->a, S("1")));
    assert_null(value_path(v, "a.new"));
}

/* "billion laughs": 2^40 values in 600 bytes */
static void alias_bombs_are_refused(void **state)
{
    struct fixture *f = *state;
    struct buf b = { 0 };
    buf_str(&b, S("a0: &a0 [x, x]\n"));
    for (int i = 1; i < 40; i++)
        buf_printf(&b, "a%d: &a%d [*a%d, *a%d]\n", i, i, i - 1, i - 1);
    buf_char(&b, 0);
    assert_null(parse(f, b.ptr));
    assert_non_null(strstr(f->e.text, "more than 1000000 values"));
    buf_free(&b);
}

static void depth_is_bounded(void **state)
{
    struct fixture *f = *state;
    struct buf b = { 0 };
    for (int i = 0; i < 100000; i++)
        buf_char(&b, '[');
    buf_char(&b, 0);
    assert_null(parse(f, b.ptr));
    assert_non_null(strstr(f->e.text, "deeper than 128"));
    buf_free(&b);
    /* each anchor adds to the depth of the one before */
    buf_str(&b, S("a0: &a0 "));
    for (int i = 0; i < 50; i++)
        buf_char(&b, '[');
    for (int i = 0; i < 50; i++)
        buf_char(&b, ']');
    for (int n = 1; n < 9; n++) {
        buf_printf(&b, "\na%d: &a%d ", n, n);
        for (int i = 0; i < 50; i++)
            buf_char(&b, '[');
        buf_printf(&b, "*a%d", n - 1);
        for (int i = 0; i < 50; i++)
            buf_char(&b, ']');
    }
    buf_char(&b, 0);
    assert_null(parse(f, b.ptr));
    assert_non_null(strstr(f->e.text, "through aliases"));
    buf_free(&b);
}

static bool is_same(const struct value *x, const struct value *y)
{
    bool same = x->kind == y->kind && x->n_items == y->n_items && x->n_pairs == y->n_pairs &&
                (x->kind != VALUE_SCALAR || str_eq(x->text, y->text));
    for (size_t i = 0; same && i < x->n_items; i++)
        same = is_same(x->items[i], y->items[i]);
    for (size_t i = 0; same && i < x->n_pairs; i++)
        same = str_eq(x->pairs[i].key, y->pairs[i].key) &&
               is_same(x->pairs[i].value, y->pairs[i].value);
    return same;
}

static void printed_yaml_reads_back(void **state)
{
    static const char *const texts[] = {
        "plain", "with: colon", "- dash", "# hash", "a #b", "true", "No", "123", "1.10", "", " lead",
        "trail ", "line\nbreak", "tab\there", "quote\"s", "back\\slash", "\x01\x7f", "{flow}",
        "[flow]", "*star", "&and", "!bang", "%percent", "@at", "`tick", "colon:", "---", "...", "~",
        "caf\xc3\xa9", "\xe4\xb8\xad\xe6\x96\x87", "\xf0\x9f\x98\x80", "\xc2\x85", "\xe2\x80\xa8",
        "\xef\xbb\xbf", "=", "<<", "?", "? x", "a: b: c", "it's", "0x1F", "-1", "-", "$VAR",
    };
    struct fixture *f = *state;
    struct value *root = value_map(f->a), *list = value_list(f->a), *nested = value_list(f->a);
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct value *v = value_scalar(f->a, str_of(texts[i]));
        v->is_quoted = true;
        value_append(f->a, list, v);
        value_set(f->a, root, str_of(texts[i]), v);
    }
    value_append(f->a, nested, list);
    value_append(f->a, nested, value_map(f->a));
    value_append(f->a, nested, value_list(f->a));
    value_set(f->a, root, S("list"), nested);
    struct buf b = { 0 };
    value_to_yaml(root, &b, 0);
    buf_char(&b, 0);
    struct value *again = parse(f, b.ptr);
    if (!again)
        fail_msg("%u:%u %s in\n%s", f->e.at.line, f->e.at.col, f->e.text, b.ptr);
    assert_true(is_same(root, again));
    buf_free(&b);
}

static void large_maps_find_duplicates_fast(void **state)
{
    struct fixture *f = *state;
    struct buf b = { 0 };
    for (int i = 0; i < 50000; i++)
        buf_printf(&b, "key%d: %d\n", i, i);
    buf_str(&b, S("key7: again\n"));
    buf_char(&b, 0);
    assert_null(parse(f, b.ptr));
    assert_int_equal(f->e.at.line, 50001);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(same_meaning_as_json, set_up, tear_down),
        cmocka_unit_test_setup_teardown(errors_have_a_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keys_and_values_know_their_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_alias_is_a_copy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(alias_bombs_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(depth_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(printed_yaml_reads_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(large_maps_find_duplicates_fast, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
