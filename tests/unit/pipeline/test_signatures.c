/* Signatures of calls are found again by their owner, newest first, within bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pipeline/signatures.h"

static void a_signature_belongs_to_owner_and_call(void **state)
{
    struct arena *a = arena_new();
    str origin, signature;
    (void)state;
    signature_keep(S("o"), S("c1"), S("gemini"), S("one"));
    signature_keep(S("o"), S("c1"), S("gemini"), S("two"));
    assert_true(signature_find(S("o"), S("c1"), a, &origin, &signature));
    assert_true(str_eq(signature, S("two")) && str_eq(origin, S("gemini")));
    assert_false(signature_find(S("p"), S("c1"), a, &origin, &signature));
    assert_false(signature_find(S("oc"), S("1"), a, &origin, &signature));
    arena_free(a);
}

static void the_oldest_are_forgotten(void **state)
{
    struct arena *a = arena_new();
    str origin, signature;
    (void)state;
    for (int i = 0; i < 3 * SIGNATURES_MAX; i++)
        signature_keep(S("o"), arena_printf(a, "k%d", i), S("gemini"), arena_printf(a, "s%d", i));
    for (int i = 0; i < 3 * SIGNATURES_MAX; i += 7) {
        bool found = signature_find(S("o"), arena_printf(a, "k%d", i), a, &origin, &signature);
        assert_int_equal(found, i >= 2 * SIGNATURES_MAX);
        if (found)
            assert_true(str_eq(signature, arena_printf(a, "s%d", i)));
    }
    arena_free(a);
}

static void a_stream_and_the_next_request_meet(void **state)
{
    struct arena *a = arena_new();
    struct signature_watch w = { 0 };
    struct block call = { .kind = BLOCK_TOOL_CALL, .call_id = S("c9") };
    struct block sent[] = { { .kind = BLOCK_TEXT }, { .kind = BLOCK_TOOL_CALL, .call_id = S("c9") },
                            { .kind = BLOCK_TOOL_CALL, .call_id = S("c8"), .signature = S("own") } };
    struct turn turn = { .role = ROLE_ASSISTANT, .blocks = sent, .n = 3 };
    struct prompt p = { .turns = &turn, .n_turns = 1 };
    (void)state;
    signature_watch(&w, S("o"), &(struct delta){ .kind = DELTA_BLOCK, .index = 4, .block = &call }, S("gemini"));
    signature_watch(&w, S("o"), &(struct delta){ .kind = DELTA_SIGNATURE, .index = 4, .text = S("QUJD") }, S("gemini"));
    signatures_fill(S("o"), &p, a);
    assert_true(str_eq(sent[1].signature, S("QUJD")) && str_eq(sent[1].origin, S("gemini")));
    assert_true(str_eq(sent[2].signature, S("own")));
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signature_belongs_to_owner_and_call), cmocka_unit_test(the_oldest_are_forgotten),
        cmocka_unit_test(a_stream_and_the_next_request_meet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
