/* tests/unit/base/test_automaton.c -- against a search that tries every word at every place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/automaton.h"
#include "base/utf8.h"

struct hits { struct hit { uint32_t word; size_t start, end; } *items; size_t n; struct arena *a; };

static void collect(void *arg, uint32_t word, size_t start, size_t end)
{
    struct hits *h = arg;
    *PUSH(h->a, h->items, h->n) = (struct hit){ word, start, end };
}

static uint32_t next_folded(str s, size_t *at)
{
    size_t start = *at;
    uint32_t code = utf8_next(s, at);
    return code == UTF8_BAD && *at - start == 1 ? 0x110000u + (unsigned char)s.ptr[start]
                                                : utf8_fold(code);
}

/* Where the word ends if it occurs at `at`; 0: it does not. */
static size_t naive_match(str text, size_t at, str word)
{
    for (size_t k = 0; k < word.len;) {
        if (at >= text.len || next_folded(text, &at) != next_folded(word, &k))
            return 0;
    }
    return at;
}

static const char *const letters[] = {
    "a", "b", "A", "B", "k", "K", "\xE2\x84\xAA", "s", "\xC5\xBF", "\xC3\xA9", "\xC3\x89",
    "\xD0\xB6", "\xD0\x96", "\xE4\xB8\xAD", "\xE4\xB8\xAE", "\xF0\x90\x90\x80",
    "\xF0\x90\x90\xA8", "\xC8\xBA", "\xE2\xB1\xA5", "\xE1\xBA\x9E", "\xC3\x9F", "\xC3", " ",
    "\xE2\x80\x94", "\xF0\x9F",
};

static str random_text(struct arena *a, size_t n, size_t n_letters)
{
    char *text = arena_alloc(a, n * 4 + 1);
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        const char *l = letters[(size_t)rand() % n_letters];
        memcpy(text + len, l, strlen(l));
        len += strlen(l);
    }
    return (str){ text, len };
}

/* Broken bytes merge with their neighbours into other letters, so words have none. */
static bool has_broken(str s)
{
    return !utf8_is_valid(s);
}

static void random_words_are_found_where_they_are(void **state)
{
    (void)state;
    srand(1);
    for (int round = 0; round < 3000; round++) {
        struct arena *a = arena_new();
        struct buf scratch = { 0 };
        size_t n_letters = round % 3 == 0 ? 4 : COUNT_OF(letters), n_words = 1 + (size_t)rand() % 12;
        struct automaton_builder *b = automaton_builder_new(a, 100000);
        str words[16];
        for (size_t i = 0; i < n_words; i++) {
            do
                words[i] = random_text(a, 1 + (size_t)rand() % 5, n_letters);
            while (has_broken(words[i]));
            assert_true(automaton_add(b, words[i]));
        }
        const struct automaton *m = automaton_build(b, a, round % 2 ? 0 : 1 << 16);
        str text = random_text(a, (size_t)rand() % 60, n_letters);
        struct hits h = { .a = a };
        automaton_scan(m, text, &scratch, collect, &h);

        size_t expected = 0;
        for (size_t at = 0; at < text.len; at++) {
            for (uint32_t w = 0; w < n_words; w++) {
                if (((unsigned char)text.ptr[at] & 0xC0) == 0x80)
                    continue;
                size_t end = naive_match(text, at, words[w]);
                if (!end)
                    continue;
                expected++;
                bool is_told = false;
                for (size_t i = 0; i < h.n; i++)
                    is_told |= h.items[i].word == w && h.items[i].start == at
                            && h.items[i].end == end;
                if (!is_told)
                    fail_msg("round %d: word %u at %zu is missed", round, w, at);
            }
        }
        if (h.n != expected)
            fail_msg("round %d: %zu hits for %zu", round, h.n, expected);
        for (size_t i = 1; i < h.n; i++)
            assert_true(h.items[i - 1].end <= h.items[i].end);
        buf_free(&scratch);
        arena_free(a);
    }
}

static void too_many_states_are_refused(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct automaton_builder *b = automaton_builder_new(a, 20);
    assert_true(automaton_add(b, S("abc")));
    assert_false(automaton_add(b, S("a very long word indeed")));
    assert_true(automaton_add(b, S("")));
    struct buf scratch = { 0 };
    struct hits h = { .a = a };
    const struct automaton *m = automaton_build(b, a, 4096);
    automaton_scan(m, S("xabcABC"), &scratch, collect, &h);
    assert_int_equal(h.n, 2);
    automaton_scan(m, (str){ NULL, 0 }, &scratch, collect, &h);
    assert_int_equal(h.n, 2);
    buf_free(&scratch);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_words_are_found_where_they_are),
        cmocka_unit_test(too_many_states_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
