/* What the policy gets to know of a request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "decide/facts.h"

static struct arena *a;

struct said { enum role role; const char *text; unsigned images, calls; };

static struct facts facts_of(const struct said *s, uint32_t n)
{
    struct chat *c = ARENA_NEW(a, struct chat);
    struct facts f = { .seed = 5 };
    c->messages = ARENA_ARRAY(a, struct message, n);
    c->n_messages = n;
    for (uint32_t i = 0; i < n; i++) {
        struct message *m = &c->messages[i];
        *m = (struct message){ .role = s[i].role, .n_images = s[i].images,
                               .n_tool_calls = s[i].calls };
        if (!s[i].text)
            continue;
        m->texts = ARENA_NEW(a, str);
        m->texts[0] = str_of(s[i].text);
        m->n_texts = 1;
        m->text_bytes = strlen(s[i].text);
    }
    facts_build(&f, a, c);
    return f;
}
#define SAYS(who, what, ...) { .role = ROLE_##who, .text = what, __VA_ARGS__ }
#define FACTS(...) \
    facts_of((const struct said[]){ __VA_ARGS__ }, COUNT_OF(((const struct said[]){ __VA_ARGS__ })))

static void assert_text(str got, const char *expected)
{
    assert_string_equal(arena_cstr(a, got), expected);
}

static void the_last_user_text_is_current(void **state)
{
    (void)state;
    struct facts f = FACTS(SAYS(SYSTEM, " be brief "), SAYS(USER, "first"),
                           SAYS(ASSISTANT, "answer"), SAYS(USER, " second\n"),
                           SAYS(USER, "  "), SAYS(TOOL, NULL), SAYS(OTHER, "x"));
    assert_text(f.current_user, "second");
    assert_text(f.current_user_raw, " second\n");
    assert_int_equal(f.n_prior_users, 1);
    assert_text(f.prior_users[0], "first");
    assert_int_equal(f.n_non_users, 2);
    assert_text(f.non_users[0], "be brief");
    assert_text(f.evaluation_text, "second");
    assert_true(f.has_assistant_reply);
    assert_false(f.has_developer);
    assert_int_equal(f.n_role[ROLE_USER], 3);
    assert_int_equal(f.seed, 5);
}

static void without_a_user_the_others_are_evaluated(void **state)
{
    (void)state;
    assert_text(FACTS(SAYS(SYSTEM, "one"), SAYS(DEVELOPER, "two"),
                      SAYS(TOOL, "three")).evaluation_text, "one two");
    assert_text(FACTS(SAYS(SYSTEM, "one"), SAYS(USER, NULL, .images = 1)).evaluation_text,
                "");
}

static void several_parts_are_joined_by_a_space(void **state)
{
    (void)state;
    str parts[] = { S("a"), S("b c"), S("") };
    struct message m = { .role = ROLE_USER, .texts = parts, .n_texts = 3 };
    struct chat c = { .messages = &m, .n_messages = 1 };
    struct facts f = { 0 };
    facts_build(&f, a, &c);
    assert_text(f.current_user_raw, "a b c ");
    assert_text(f.current_user, "a b c");
}

static void a_tool_loop_is_active(void **state)
{
    (void)state;
    assert_false(FACTS(SAYS(USER, "x")).is_tool_loop_active);
    assert_true(FACTS(SAYS(USER, "x"), SAYS(ASSISTANT, NULL, .calls = 1),
                      SAYS(TOOL, NULL)).is_tool_loop_active);
    assert_true(FACTS(SAYS(ASSISTANT, NULL, .calls = 1), SAYS(TOOL, NULL),
                      SAYS(USER, "and?")).is_tool_loop_active);
    assert_true(FACTS(SAYS(USER, "x"), SAYS(ASSISTANT, NULL, .calls = 2),
                      SAYS(TOOL, NULL), SAYS(ASSISTANT, "y")).is_tool_loop_active);
    assert_false(FACTS(SAYS(ASSISTANT, NULL, .calls = 1), SAYS(TOOL, NULL),
                       SAYS(ASSISTANT, "done"), SAYS(USER, "thanks")).is_tool_loop_active);
    assert_false(FACTS(SAYS(TOOL, NULL), SAYS(USER, "a"),
                       SAYS(USER, "b")).is_tool_loop_active);
}

/* Every price of spec 01, section 2.4.9, once. */
static void results_are_new_until_the_assistant_has_spoken(void **state)
{
    (void)state;
    assert_int_equal(FACTS(SAYS(USER, "x")).n_new_results, 0);
    assert_int_equal(FACTS(SAYS(USER, "x"), SAYS(ASSISTANT, NULL, .calls = 2), SAYS(TOOL, "a"), SAYS(TOOL, "b")).n_new_results, 2);
    assert_int_equal(FACTS(SAYS(USER, "x"), SAYS(ASSISTANT, NULL, .calls = 1), SAYS(TOOL, "a"), SAYS(ASSISTANT, "done"),
                           SAYS(USER, "and?"), SAYS(ASSISTANT, "I look.", .calls = 1), SAYS(TOOL, "b")).n_new_results, 1);
    /* a call alone says nothing about what came before */
    assert_int_equal(FACTS(SAYS(USER, "x"), SAYS(ASSISTANT, NULL, .calls = 1), SAYS(TOOL, "a"),
                           SAYS(ASSISTANT, " ", .calls = 1), SAYS(TOOL, "b")).n_new_results, 2);
    /* what the user says behind a result, or the beginning of an answer, does not hide it */
    assert_int_equal(FACTS(SAYS(USER, "x"), SAYS(ASSISTANT, NULL, .calls = 1), SAYS(TOOL, "a"), SAYS(USER, "go on")).n_new_results, 1);
    assert_int_equal(FACTS(SAYS(USER, "x"), SAYS(ASSISTANT, NULL, .calls = 1), SAYS(TOOL, "a"), SAYS(ASSISTANT, "{")).n_new_results, 1);
    assert_int_equal(FACTS(SAYS(USER, "x"), SAYS(TOOL, "a"), SAYS(ASSISTANT, "no"), SAYS(USER, "y")).n_new_results, 0);
}

static void results_are_no_part_of_other_texts(void **state)
{
    (void)state;
    struct facts f = FACTS(SAYS(USER, "x"), SAYS(ASSISTANT, NULL, .calls = 1), SAYS(TOOL, "a"));
    assert_text(f.evaluation_text, "x");
    assert_int_equal(f.n_non_users, 0);
    assert_int_equal(f.n_prior_users, 0);
    assert_text(FACTS(SAYS(TOOL, "a")).evaluation_text, "");
}

static void spelled_texts_are_decoded_when_they_are_read(void **state)
{
    (void)state;
    str texts[] = { S("\"plain\""), S("\"two\\nlines \\u00e9\""), S("\"\"") };
    struct message m = { .role = ROLE_TOOL, .texts = texts, .n_texts = 1, .is_spelled = true };
    assert_ptr_equal(message_text(&m, a).ptr, texts[0].ptr + 1);        /* where it lies */
    m.n_texts = 3;
    assert_text(message_text(&m, a), "plain two\nlines \303\251 ");
    m.n_texts = 0;
    assert_text(message_text(&m, a), "");
}

static void the_floor_is_exact(void **state)
{
    (void)state;
    struct message m[] = {
        { .role = ROLE_USER, .text_bytes = 9, .n_images = 2 },
        { .role = ROLE_ASSISTANT, .text_bytes = 4, .n_tool_calls = 3, .structured_bytes = 50 },
        { .role = ROLE_TOOL, .structured_bytes = 7 },
    };
    struct chat c = { .messages = m, .n_messages = 3, .n_tools = 2, .structured_bytes = 1000,
                      .output_reserve = 500 };
    struct facts f = { 0 };
    facts_build(&f, a, &c);
    uint64_t floor = 4 /* ceil(13 / 4) */ + 50 + 7 + 1000 + 2 * 8192 + 3 * 4 + 3 * 8 + 8 + 2 * 8 + 500;
    assert_int_equal(f.context_tokens, floor);
    assert_int_equal(f.prompt_tokens, floor - 500);     /* what is sent, without the room for the answer */
    m[0].structured_bytes = UINT64_MAX - 3;
    facts_build(&f, a, &c);
    assert_true(f.context_tokens == UINT64_MAX);
}

static void the_estimate_follows_the_calibrated_ratio(void **state)
{
    (void)state;
    str text = arena_printf(a, "%4000d", 7), other = arena_printf(a, "x%2000d", 7);
    struct message m[] = { { .role = ROLE_SYSTEM, .texts = &other, .n_texts = 1 },
                           { .role = ROLE_USER, .texts = &text, .n_texts = 1 } };
    struct chat c = { .messages = m, .n_messages = 2 };
    struct facts f = { .bytes_per_token = 2.5 };
    facts_build(&f, a, &c);                     /* 2001 + a space + 1 (the rest is trimmed away) */
    assert_int_equal(f.context_tokens, 802);
    f.bytes_per_token = 0;
    facts_build(&f, a, &c);
    assert_int_equal(f.context_tokens, 501);
}

static size_t runes(str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
    return n;
}

static void long_texts_are_sampled_by_runes(void **state)
{
    (void)state;
    static const char *const letters[] = { "x", "\xc3\xa4", "\xe8\xaf\x81", "\xf0\x9f\x98\x80" };
    for (size_t l = 0; l < COUNT_OF(letters); l++) {
        for (unsigned n = 2047; n < 6000; n += 1 + n / 7 % 997) {
            struct buf b = { 0 };
            for (unsigned i = 0; i < n; i++)
                buf_printf(&b, "%s", i == n / 2 ? "M" : i == 0 ? "H" : i == n - 1 ? "T" : letters[l]);
            str sampled = facts_sample(a, buf_view(&b));
            if (n <= 2048) {
                assert_ptr_equal(sampled.ptr, b.ptr);
                assert_int_equal(sampled.len, b.len);
            } else {
                str note = S("\n[... text omitted ...]\n");
                assert_int_equal(runes(sampled), 682 + 682 + 684 + 2 * note.len);
                assert_int_equal(sampled.ptr[0], 'H');
                assert_int_equal(sampled.ptr[sampled.len - 1], 'T');
                assert_true(str_find(sampled, S("M")) > 0);
                long first = str_find(sampled, note);
                assert_int_equal(runes(str_upto(sampled, (size_t)first)), 682);
                long second = str_find(str_from(sampled, (size_t)first + note.len), note);
                assert_int_equal(runes(str_upto(str_from(sampled, (size_t)first + note.len),
                                                (size_t)second)), 682);
            }
            buf_free(&b);
        }
    }
}

static void a_large_request_costs_microseconds(void **state)
{
    (void)state;
    struct message m[21];
    str texts[21];
    for (int i = 0; i < 21; i++) {
        texts[i] = arena_printf(a, "%*d", i ? 400 : 60000, i);
        for (size_t k = 0; k < texts[i].len; k++)
            if (texts[i].ptr[k] == ' ')
                memset((char *)(uintptr_t)texts[i].ptr + k, 'a', 1);
        m[i] = (struct message){ .role = i == 0 ? ROLE_SYSTEM : i % 2 ? ROLE_USER : ROLE_ASSISTANT,
                                 .texts = &texts[i], .n_texts = 1, .text_bytes = texts[i].len };
    }
    struct chat c = { .messages = m, .n_messages = 21, .n_tools = 24, .structured_bytes = 8000 };
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 100; i++) {
        struct arena *one = arena_new();
        struct facts f = { 0 };
        uint64_t start = clock_now();
        facts_build(&f, one, &c);
        uint64_t ns = clock_now() - start;
        best = ns < best ? ns : best;
        arena_free(one);
    }
    print_message("facts of 76 KB in 21 messages: %.2f us\n", (double)best / 1000);
}

static int open_arena(void **state)
{
    (void)state;
    a = arena_new();
    return 0;
}

static int close_arena(void **state)
{
    (void)state;
    arena_free(a);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_user_text_is_current),
        cmocka_unit_test(without_a_user_the_others_are_evaluated),
        cmocka_unit_test(several_parts_are_joined_by_a_space),
        cmocka_unit_test(a_tool_loop_is_active),
        cmocka_unit_test(results_are_new_until_the_assistant_has_spoken),
        cmocka_unit_test(results_are_no_part_of_other_texts),
        cmocka_unit_test(spelled_texts_are_decoded_when_they_are_read),
        cmocka_unit_test(the_floor_is_exact),
        cmocka_unit_test(the_estimate_follows_the_calibrated_ratio),
        cmocka_unit_test(long_texts_are_sampled_by_runes),
        cmocka_unit_test(a_large_request_costs_microseconds),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
