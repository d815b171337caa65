/* Untidy streams come out in order: one open block at a time, nothing lost, nothing invented. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "dialect/dialect.h"

static struct arena *a;
static struct order *o;
static struct buf seen;                 /* what came out, one word a delta */

static void take(void *arg, const struct delta *d)
{
    static const char *const kinds[] = { "text", "refusal", "image", "audio", "file", "tool", "result", "think", "sealed",
                                         "other" };
    (void)arg;
    if (seen.len)
        buf_char(&seen, ' ');
    switch (d->kind) {
    case DELTA_START:
        buf_printf(&seen, "start");
        break;
    case DELTA_BLOCK:
        buf_printf(&seen, "%u:%s", d->index, kinds[d->block->kind]);
        if (d->block->kind == BLOCK_TOOL_CALL)
            buf_printf(&seen, "(%.*s)", STR_ARG(d->block->call_id));
        break;
    case DELTA_PIECE:
        buf_printf(&seen, "%u+%.*s", d->index, STR_ARG(d->text));
        break;
    case DELTA_SIGNATURE:
        buf_printf(&seen, "%u!%.*s", d->index, STR_ARG(d->text));
        break;
    case DELTA_CITATION:
        buf_printf(&seen, "%u@%.*s", d->index, STR_ARG(d->text));
        break;
    case DELTA_LOGPROBS:
        buf_printf(&seen, "%u~%.*s", d->index, STR_ARG(d->text));
        break;
    case DELTA_CLOSE:
        buf_printf(&seen, "/%u", d->index);
        break;
    case DELTA_STOP:
        buf_printf(&seen, "stop%d(%d,%d)", d->stop, d->usage ? (int)d->usage->prompt_tokens : -1,
                   d->usage ? (int)d->usage->completion_tokens : -1);
        break;
    case DELTA_USAGE:
        buf_printf(&seen, "usage");
        break;
    case DELTA_PING:
        buf_printf(&seen, "ping");
        break;
    case DELTA_ERROR:
        buf_printf(&seen, "error(%.*s)", STR_ARG(d->failure->message));
        break;
    case DELTA_END:
        buf_printf(&seen, "end");
        break;
    }
}

static const struct delta_sink sink = { take, NULL };

static int begin(void **state)
{
    (void)state;
    a = arena_new();
    o = order_new(a, 1, &sink);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    order_free(o);
    arena_free(a);
    buf_free(&seen);
    return 0;
}

static void give(struct delta d)
{
    order_take(o, &d);
}

static void block(uint32_t index, enum block_kind kind, const char *id)
{
    struct block b = { .kind = kind, .call_id = str_of(id), .name = S("f") };
    give((struct delta){ .kind = DELTA_BLOCK, .index = index, .block = &b });
}

static void piece(uint32_t index, const char *text)
{
    give((struct delta){ .kind = DELTA_PIECE, .index = index, .text = str_of(text) });
}

static void shut(uint32_t index)
{
    give((struct delta){ .kind = DELTA_CLOSE, .index = index });
}

static void stop(enum stop_reason why)
{
    give((struct delta){ .kind = DELTA_STOP, .stop = why });
}

static void usage(int64_t prompt, int64_t completion)
{
    struct usage u = { .prompt_tokens = prompt, .completion_tokens = completion, .is_known = true };
    give((struct delta){ .kind = DELTA_USAGE, .usage = &u });
}

static void end(void)
{
    give((struct delta){ .kind = DELTA_END });
}

static void assert_seen(const char *expected)
{
    buf_char(&seen, 0);
    assert_string_equal(seen.ptr, expected);
}

static void a_tidy_stream_passes(void **state)
{
    (void)state;
    give((struct delta){ .kind = DELTA_START });
    block(7, BLOCK_TEXT, "");
    piece(7, "a");
    give((struct delta){ .kind = DELTA_LOGPROBS, .index = 7, .text = S("[]") });
    give((struct delta){ .kind = DELTA_CITATION, .index = 7, .text = S("{}") });
    shut(7);
    stop(STOP_END);
    usage(3, 1);
    end();
    assert_seen("start 0:text 0+a 0~[] 0@{} /0 stop1(3,1) end");
    assert_true(order_is_over(o));
}

static void interleaved_tools_come_one_after_the_other(void **state)
{
    (void)state;
    block(0, BLOCK_TOOL_CALL, "x");
    block(1, BLOCK_TOOL_CALL, "y");
    piece(0, "{");
    piece(1, "[");
    piece(0, "}");
    piece(1, "]");
    stop(STOP_TOOLS);
    end();
    assert_seen("start 0:tool(x) 0+{ 0+} /0 1:tool(y) 1+[ 1+] /1 stop5(-1,-1) end");
}

static void a_closed_tool_lets_the_next_one_out_at_once(void **state)
{
    (void)state;
    block(0, BLOCK_TOOL_CALL, "x");
    block(1, BLOCK_TOOL_CALL, "y");
    block(2, BLOCK_TOOL_CALL, "z");
    piece(2, "3");
    piece(1, "2");
    shut(1);
    shut(0);
    piece(2, "4");
    assert_seen("start 0:tool(x) /0 1:tool(y) 1+2 /1 2:tool(z) 2+3 2+4");
}

static void text_ends_what_was_open(void **state)
{
    (void)state;
    block(0, BLOCK_REASONING, "");
    piece(0, "hm");
    give((struct delta){ .kind = DELTA_SIGNATURE, .index = 0, .text = S("sig") });
    block(1, BLOCK_TEXT, "");
    piece(1, "a");
    block(2, BLOCK_TOOL_CALL, "x");
    block(3, BLOCK_TOOL_CALL, "y");
    piece(3, "{}");
    block(4, BLOCK_TEXT, "");
    piece(4, "b");
    stop(STOP_END);
    end();
    assert_seen("start 0:think 0+hm 0!sig /0 1:text 1+a /1 2:tool(x) /2 3:tool(y) 3+{} /3 4:text 4+b /4 stop1(-1,-1) end");
}

static void a_text_that_goes_on_becomes_a_new_block(void **state)
{
    (void)state;
    block(0, BLOCK_TEXT, "");
    piece(0, "a");
    block(1, BLOCK_REASONING, "");
    piece(1, "t");
    piece(0, "b");
    stop(STOP_END);
    end();
    assert_seen("start 0:text 0+a /0 1:think 1+t /1 2:text 2+b /2 stop1(-1,-1) end");
}

static void a_call_that_goes_on_after_its_end_is_an_error(void **state)
{
    (void)state;
    block(0, BLOCK_TOOL_CALL, "x");
    block(1, BLOCK_TEXT, "");
    piece(0, "{");
    end();
    assert_seen("start 0:tool(x) /0 1:text error(the provider's stream continues a tool call that had ended)");
}

static void usage_may_stand_anywhere(void **state)
{
    (void)state;
    struct usage early = { .prompt_tokens = 9 };
    give((struct delta){ .kind = DELTA_START, .usage = &early });
    usage(0, 1);
    stop(STOP_LENGTH);
    usage(0, 5);
    end();
    assert_seen("start stop3(9,5) end");
}

static void an_end_of_bytes_is_an_end_only_after_a_stop(void **state)
{
    (void)state;
    block(0, BLOCK_TEXT, "");
    piece(0, "a");
    stop(STOP_END);
    order_end(o, true);
    order_end(o, true);
    assert_seen("start 0:text 0+a /0 stop1(-1,-1) end");
}

static void a_stream_without_a_stop_broke_off(void **state)
{
    (void)state;
    block(0, BLOCK_TEXT, "");
    order_end(o, true);
    assert_seen("start 0:text error(the provider's stream broke off)");
}

static void a_stream_without_its_last_word_broke_off(void **state)
{
    (void)state;
    stop(STOP_END);
    order_end(o, false);
    assert_seen("error(the provider's stream broke off)");
}

static void errors_and_pings_pass_at_once(void **state)
{
    (void)state;
    struct failure f = { .message = S("overloaded") };
    block(0, BLOCK_TOOL_CALL, "x");
    block(1, BLOCK_TOOL_CALL, "y");
    piece(1, "{");
    give((struct delta){ .kind = DELTA_PING });
    give((struct delta){ .kind = DELTA_ERROR, .failure = &f });
    piece(0, "late");
    order_end(o, true);
    assert_seen("start 0:tool(x) ping error(overloaded)");
}

static void missing_ids_are_made(void **state)
{
    (void)state;
    block(0, BLOCK_TOOL_CALL, "");
    assert_int_equal(seen.len, strlen("start 0:tool(call_) ") - 1 + 24);
    assert_memory_equal(seen.ptr, "start 0:tool(call_", 18);
}

static void what_waits_is_bounded(void **state)
{
    (void)state;
    static char much[1 << 20];
    memset(much, 'x', sizeof much - 1);
    block(0, BLOCK_TOOL_CALL, "x");
    block(1, BLOCK_TOOL_CALL, "y");
    for (int i = 0; i < 20 && !order_is_over(o); i++)
        piece(1, much);
    assert_seen("start 0:tool(x) error(the provider's stream mixes more tool calls than can be put in order)");
}

static void blocks_are_bounded(void **state)
{
    (void)state;
    uint32_t i = 0;
    for (; i < 100000 && !order_is_over(o); i++) {
        block(i, BLOCK_TEXT, "");
        shut(i);
        seen.len = 0;
    }
    assert_int_equal(i, 8193);
}

static void a_reply_survives_its_deltas(void **state)
{
    (void)state;
    struct block blocks[] = {
        { .kind = BLOCK_REASONING, .text = S("hm"), .signature = S("sig") },
        { .kind = BLOCK_TEXT, .text = S("hello"), .citations = S("[{\"a\":1},{\"b\":2}]") },
        { .kind = BLOCK_TOOL_CALL, .call_id = S("x"), .name = S("f"), .arguments = S("{\"a\":1}") },
    };
    struct reply r = { .id = S("id"), .model = S("m"), .created = 5, .blocks = blocks, .n = 3, .stop = STOP_TOOLS,
                       .logprobs = S("[1,2]"), .usage = { .prompt_tokens = 3, .completion_tokens = 4, .is_known = true } }, back;
    struct collector *c = collector_new(a, NULL);
    struct failure f;
    struct delta_sink to = { collector_take, c };
    struct order *ordered = order_new(a, 1, &to);
    struct delta_sink through = { order_take, ordered };
    reply_emit(&r, &through);
    assert_int_equal(collector_reply(c, &back, &f), 0);
    assert_int_equal(back.n, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(back.blocks[i].kind, blocks[i].kind);
        assert_true(str_eq(back.blocks[i].text, blocks[i].text) && str_eq(back.blocks[i].signature, blocks[i].signature) &&
                    str_eq(back.blocks[i].citations, blocks[i].citations) &&
                    str_eq(back.blocks[i].arguments, blocks[i].arguments));
    }
    assert_true(str_eq(back.logprobs, r.logprobs) && str_eq(back.id, r.id) && back.stop == STOP_TOOLS);
    assert_int_equal(back.usage.completion_tokens, 4);
    collector_free(c);
    order_free(ordered);
}

static void a_broken_stream_is_no_reply(void **state)
{
    (void)state;
    struct collector *c = collector_new(a, NULL);
    struct reply back;
    struct failure f, said = { .status = 503, .kind = FAILURE_OVERLOADED, .message = S("later") };
    struct delta error = { .kind = DELTA_ERROR, .failure = &said };
    assert_int_equal(collector_reply(c, &back, &f), -1);
    assert_true(str_eq(f.message, S("the provider's stream broke off")));
    c = collector_new(a, NULL);
    collector_take(c, &error);
    assert_int_equal(collector_reply(c, &back, &f), -1);
    assert_int_equal(f.status, 503);
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_tidy_stream_passes), T(interleaved_tools_come_one_after_the_other), T(a_closed_tool_lets_the_next_one_out_at_once),
        T(text_ends_what_was_open), T(a_text_that_goes_on_becomes_a_new_block), T(a_call_that_goes_on_after_its_end_is_an_error),
        T(usage_may_stand_anywhere), T(an_end_of_bytes_is_an_end_only_after_a_stop), T(a_stream_without_a_stop_broke_off),
        T(a_stream_without_its_last_word_broke_off), T(errors_and_pings_pass_at_once), T(missing_ids_are_made),
        T(what_waits_is_bounded), T(blocks_are_bounded), T(a_reply_survives_its_deltas), T(a_broken_stream_is_no_reply),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
