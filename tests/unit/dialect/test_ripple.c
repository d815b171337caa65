/* An event that is known by the last one is told as if it had been read: every stream through both paths gives the same
 * deltas. */
#include "talk.h"

#include "dialect/ripple.h"

static struct buf told;

static void take(void *arg, const struct delta *d)
{
    (void)arg;
    buf_printf(&told, "%d/%u/%d:", (int)d->kind, d->index, d->block ? (int)d->block->kind : -1);
    buf_str(&told, d->text);
    buf_str(&told, d->stop_text);
    buf_char(&told, '\n');
}

/* The deltas of a stream whose events are one a line. `is_slow`: a white space behind each second event keeps the reader
 * from knowing it by the last. */
static str tell(const struct dialect_ops *d, str text, bool is_slow)
{
    const struct delta_sink to = { take, NULL };
    void *reader = d->reader_new(a);
    int rc = 0;
    told.len = 0;
    for (unsigned i = 0; text.len && rc == 0; i++) {
        struct arena *scratch = arena_new();
        str line = str_cut(&text, '\n');
        if (is_slow && i % 2)
            line = arena_printf(a, "%.*s ", (int)line.len, line.ptr);
        rc = d->reader_event(reader, scratch, &(struct stream_event){ S(""), line, false }, &to);
        arena_free(scratch);
    }
    if (d->reader_free)
        d->reader_free(reader);
    buf_printf(&told, "%d", rc);
    return arena_str(a, buf_view(&told));
}

static void same_both_ways(const char *name, str text)
{
    const struct dialect_ops *d = dialect_by_name(str_of(name));
    str fast = tell(d, text, false), slow = tell(d, text, true);
    if (!str_eq(fast, slow))
        fail_msg("%s: " STR_FMT "\nknown: " STR_FMT "\nread: " STR_FMT, name, STR_ARG(text), STR_ARG(fast), STR_ARG(slow));
}

#define CHUNK(delta) "{\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{" delta "},\"finish_reason\":null}]}\n"
#define PADDED(text, pad) "{\"choices\":[{\"delta\":{\"content\":" text "}}],\"obfuscation\":" pad "}\n"
#define CALL(text) CHUNK("\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":" text "}}]")
#define TEXT_DELTA(text) "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":" text "}}\n"

static const struct { const char *dialect, *text; } streams[] = {
    { "openai_chat", CHUNK("\"role\":\"assistant\",\"content\":\"\"") CHUNK("\"content\":\"a\"") CHUNK("\"content\":\"b\"")
                     CHUNK("\"content\":\"c\\n\\u00e9\\\"\"") CHUNK("\"content\":\"\"") CHUNK("\"content\":\"d\"")
                     CHUNK("\"content\":\"e\"") CHUNK("\"content\":\"\\ud83d\\ude00\"") CHUNK("\"content\":\"\xe4\xb8\xad\"") },
    { "openai_chat", CHUNK("\"content\":\"a\"") CHUNK("\"content\":\"b\"") CHUNK("\"content\":\"bad \\x\"")
                     CHUNK("\"content\":\"c\"") },
    { "openai_chat", CHUNK("\"content\":\"a\"") CHUNK("\"content\":\"b\"") CHUNK("\"content\":\"\xff\"")
                     CHUNK("\"content\":\"c\"") },
    { "openai_chat", CHUNK("\"content\":\"a\"") CHUNK("\"content\":\"b\"")
                     CHUNK("\"content\":\"c\"},\"finish_reason\":\"stop\",\"x\":{\"y\":\"d\"") CHUNK("\"content\":\"e\"") },
    { "openai_chat", CHUNK("\"content\":\"a\"") CHUNK("\"content\":\"b\"") CHUNK("\"content\":[\"c\"]")
                     CHUNK("\"content\":null") },
    { "openai_chat", PADDED("\"a\"", "\"xyz\"") PADDED("\"b\"", "\"x\"") PADDED("\"c\"", "\"12345678\"") PADDED("\"d\"", "\"\"")
                     PADDED("\"e\"", "7") PADDED("\"f\"", "\"a\\\"b\"") PADDED("\"g\"", "\"x\"") },
    { "openai_chat", PADDED("\",\\\"obfuscation\\\":\\\"\"", "\"x\"") PADDED("\"b\"", "\"y\"") PADDED("\"c\"", "\"z\"") },
    { "openai_chat", CHUNK("\"reasoning_content\":\"a\"") CHUNK("\"reasoning_content\":\"b\"")
                     CHUNK("\"reasoning_content\":\"c\"")
                     CHUNK("\"content\":\"c\"") CHUNK("\"content\":\"d\"") CHUNK("\"reasoning_content\":\"b\"") },
    /* whether a call's arguments are complete is known from its pieces, however they came */
    { "openai_chat", CHUNK("\"tool_calls\":[{\"index\":0,\"id\":\"x\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]")
                     CALL("\"{\"") CALL("\"[1\"") CALL("\",2\"") CALL("\",3]}\"")
                     CHUNK("\"tool_calls\":[{\"index\":1,\"id\":\"y\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]") },
    { "openai_chat", CHUNK("\"tool_calls\":[{\"index\":0,\"id\":\"x\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]")
                     CHUNK("\"content\":\"}\",\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"\"}}]")
                     CHUNK("\"content\":\"{\",\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"\"}}]")
                     CHUNK("\"content\":\"{\",\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"\"}}]")
                     CALL("\"{}\"")
                     CHUNK("\"tool_calls\":[{\"index\":1,\"id\":\"y\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]") },
    { "anthropic", "{\"type\":\"message_start\",\"message\":{\"id\":\"m\"}}\n"
                   "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n"
                   TEXT_DELTA("\"a\"") TEXT_DELTA("\"b\"") TEXT_DELTA("\"c \\\\ d\"") TEXT_DELTA("\"\"") TEXT_DELTA("\"e\"")
                   TEXT_DELTA("\"f\"") TEXT_DELTA("7") TEXT_DELTA("\"g\"}},{{\"") TEXT_DELTA("\"h\"") },
    { "anthropic", "{\"type\":\"content_block_start\",\"index\":0,"
                   "\"content_block\":{\"type\":\"server_tool_use\",\"id\":\"s\"}}\n"
                   TEXT_DELTA("\"a\"") TEXT_DELTA("\"b\"") "{\"type\":\"content_block_stop\",\"index\":0}\n" TEXT_DELTA("\"c\"")
                   TEXT_DELTA("\"d\"") TEXT_DELTA("\"e\"") },
};

static void known_events_are_told_like_read_ones(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(streams); i++)
        same_both_ways(streams[i].dialect, str_of(streams[i].text));
}

/* Each byte of a known stream replaced by others that mean something. */
static void a_changed_byte_is_never_overlooked(void **state)
{
    static const char bytes[] = "\"\\{}[],:x1 \x01\xc3";
    (void)state;
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        size_t len = strlen(streams[i].text);
        for (size_t at = 0; at < len; at++)
            for (size_t k = 0; k + 1 < sizeof bytes; k++) {
                arena_free(a);
                a = arena_new();
                char *text = arena_cstr(a, str_of(streams[i].text));
                text[at] = bytes[k];
                same_both_ways(streams[i].dialect, (str){ text, len });
            }
    }
}

/* The point of it: three of these four are not parsed. */
static void the_same_event_with_another_text_is_known(void **state)
{
    (void)state;
    struct ripple r = { .padding = S(",\"pad\":\"") };
    struct ripple_watch w;
    struct stream_event e = { S("n"), S("{\"t\":\"one\",\"pad\":\"xx\"}"), false };
    const struct delta_sink to = { take, NULL };
    str text;
    assert_false(ripple_next(&r, &e, a, &text));
    const struct delta_sink *sink = ripple_watch(&w, &to);
    sink->take(sink->arg, &(struct delta){ .kind = DELTA_PIECE, .index = 3, .text = { e.data.ptr + 6, 3 } });
    ripple_learn(&r, &e, &w);
    e.data = S("{\"t\":\"two\\n\",\"pad\":\"yyyy\"}");
    assert_true(ripple_next(&r, &e, a, &text));
    assert_text(text, "two\n");
    assert_int_equal(r.index, 3);
    static const char *const others[] = {
        "{\"t\":\"two\",\"pad\":\"y\"} ", "{\"t\":\"two\",\"pad\":7}", "{\"t\":\"two\",\"pod\":\"y\"}", "{\"t\":\"two\"}",
        "{\"t\":\"tw",
        "{\"t\":\"\",\"pad\":\"y\"}", "{\"t\":null,\"pad\":\"y\"}", "", "{\"u\":\"two\",\"pad\":\"y\"}",
        "{\"t\":\"a\",\"pad\":\"y",
    };
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        e.data = str_of(others[i]);
        assert_false(ripple_next(&r, &e, a, &text));
    }
    e.data = S("{\"t\":\"three\",\"pad\":\"\"}");
    assert_true(ripple_next(&r, &e, a, &text));
    assert_text(text, "three");
    e.name = S("m");
    assert_false(ripple_next(&r, &e, a, &text));
    ripple_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(known_events_are_told_like_read_ones, talk_begin, talk_end),
        cmocka_unit_test_setup_teardown(a_changed_byte_is_never_overlooked, talk_begin, talk_end),
        cmocka_unit_test_setup_teardown(the_same_event_with_another_text_is_known, talk_begin, talk_end),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    buf_free(&told);
    return rc;
}
