/* tests/dialect/translate.c -- one translation on the command line, for the judges in Python.
 *
 *   translate FROM TO request|reply|stream|error [options] < file
 *
 * A file holds a request, an answer, or a stream of FROM; what TO says for it comes out. Streams are read as server-sent
 * events, those of bedrock and bedrock_invoke as frames of an event stream. Options: prompt=FILE (the request that the answer is
 * for, in the dialect TO), model=NAME, status=N (of an error), stream (requests: ask for a stream), drop, legacy_reasoning, plain.
 * Warnings and refusals go to standard error; a refusal exits with 3. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "dialect/dialect.h"
#include "net/sse.h"
#include "provider/event_stream.h"

static struct arena *a;
static const struct dialect_ops *from, *to;
static struct target target = { .model = { "model", 5 } };
static struct request_place place = { .model = { "model", 5 } };
static struct prompt prompt;
static int status = 400;
static struct answer_context context = { .request_id = { "0123456789abcdef", 16 }, .model = { "model", 5 }, .now = 1700000000,
                                         .prompt_tokens = 10, .includes_usage = true };

static str slurp(FILE *in)
{
    struct buf b = { 0 };
    char piece[65536];
    for (size_t n; (n = fread(piece, 1, sizeof piece, in)) > 0; )
        buf_add(&b, piece, n);
    return buf_to_arena(&b, a);
}

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(2);
}

static struct json *parse(str text)
{
    struct json *j = ARENA_NEW(a, struct json);
    struct json_error e;
    if (json_parse(a, text, j, &e) < 0)
        fail("json", e.what);
    return j;
}

static void print(struct buf *out)
{
    fwrite(out->ptr, 1, out->len, stdout);
    buf_free(out);
}

static int request(str text)
{
    struct err e = { 0 };
    struct buf out = { 0 };
    struct prompt p;
    struct translation t = { .a = a };
    if (from->request_read(a, parse(text), &place, &p, &e) < 0)
        fail("read", e.text);
    prompt_name_results(&p, a);
    int rc = to->request_write(&p, &target, &t, &out);
    for (size_t i = 0; i < t.n_warnings; i++)
        fprintf(stderr, "%s;" STR_FMT "\n", t.warnings[i].reason, STR_ARG(t.warnings[i].field));
    if (rc < 0) {
        fprintf(stderr, "refused " STR_FMT ": %s\n", STR_ARG(t.param), t.refusal.text);
        return 3;
    }
    print(&out);
    return 0;
}

static int reply(str text)
{
    struct err e = { 0 };
    struct buf out = { 0 };
    struct reply r;
    if (from->reply_read(a, parse(text), &r, &e) < 0)
        fail("read", e.text);
    to->reply_write(&r, &context, &out);
    print(&out);
    return 0;
}

static int error(str text)
{
    struct buf out = { 0 };
    struct failure f;
    if (!from->error_read(a, parse(text), status, &f))
        fail("read", "not an error of this dialect");
    to->error_write(&f, &out);
    fprintf(stderr, "status %d\n", to->error_status ? to->error_status(&f) : f.status);
    print(&out);
    return 0;
}

struct out { void *writer; struct buf bytes; };

static void take(void *arg, const struct delta *d)
{
    struct out *o = arg;
    to->writer_delta(o->writer, d, &o->bytes);
}

static void one_event(void *reader, const struct stream_event *event, struct order *order)
{
    struct arena *scratch = arena_new();
    struct delta_sink sink = { order_take, order };
    if (!order_is_over(order) && from->reader_event(reader, scratch, event, &sink) < 0) {
        struct failure f = { .status = 502, .kind = FAILURE_UPSTREAM, .message = S("not this dialect's stream") };
        order_take(order, &(struct delta){ .kind = DELTA_ERROR, .failure = &f });
    }
    arena_free(scratch);
}

static int stream(str bytes)
{
    struct out o = { .writer = to->writer_new(&context) };
    struct delta_sink sink = { take, &o };
    struct order *order = order_new(a, 1, &sink);
    void *reader = from->reader_new(a);
    if (str_starts(str_of(from->name), S("bedrock"))) {
        struct event_stream frames = { 0 };
        struct stream_event event;
        int rc;
        while ((rc = event_stream_next(&frames, &bytes, &event)) > 0)
            one_event(reader, &event, order);
        if (rc < 0)
            fail("frame", frames.why);
        event_stream_free(&frames);
    } else {
        struct sse sse;
        struct buf joined = { 0 };
        sse_init(&sse);
        for (size_t n; bytes.len && (n = sse_event_end(&sse, bytes)); bytes = str_from(bytes, n)) {
            struct stream_event event = { 0 };
            event.data = sse_data(str_upto(bytes, n), &joined, &event.name);
            if (event.data.len)
                one_event(reader, &event, order);
        }
        buf_free(&joined);
    }
    order_end(order, from->ends_without_word);
    print(&o.bytes);
    if (from->reader_free)
        from->reader_free(reader);
    if (to->writer_free)
        to->writer_free(o.writer);
    order_free(order);
    return 0;
}

static void option(const char *text)
{
    str value = str_of(text), key = str_cut(&value, '=');
    if (str_eq(key, S("prompt"))) {
        FILE *in = fopen(value.ptr, "rb");
        struct err e = { 0 };
        if (!in || to->request_read(a, parse(slurp(in)), &place, &prompt, &e) < 0)
            fail(text, e.text);
        fclose(in);
    } else if (str_eq(key, S("model"))) {
        target.model = place.model = context.model = value;
    } else if (str_eq(key, S("status"))) {
        status = atoi(value.ptr);
    } else if (str_eq(key, S("stream"))) {
        place.is_streaming = true;
    } else if (str_eq(key, S("drop"))) {
        target.drops_unsupported = true;
    } else if (str_eq(key, S("legacy_reasoning"))) {
        target.is_legacy_reasoning = true;
    } else if (str_eq(key, S("plain"))) {
        target.is_plain = target.lacks_strict = target.lacks_developer = target.lacks_custom_tools = target.max_tokens_is_old = true;
    } else {
        fail(text, "unknown option");
    }
}

int main(int argc, char **argv)
{
    static const struct { str name; int (*run)(str text); } modes[] = {
        { S("request"), request }, { S("reply"), reply }, { S("stream"), stream }, { S("error"), error },
    };
    a = arena_new();
    if (argc < 4 || !(from = dialect_by_name(str_of(argv[1]))) || !(to = dialect_by_name(str_of(argv[2]))))
        return fail("usage", "translate FROM TO request|reply|stream|error [options] < file");
    prompt = (struct prompt){ .dialect = to, .includes_usage = 1, .parallel_tool_calls = -1, .top_k = -1, .logprobs = -1,
                              .top_logprobs = -1, .schema_strict = -1, .temperature = 1, .top_p = 1 };
    context.a = a;
    context.prompt = &prompt;
    for (int i = 4; i < argc; i++)
        option(argv[i]);
    for (size_t i = 0; i < COUNT_OF(modes); i++)
        if (str_eq(modes[i].name, str_of(argv[3]))) {
            int rc = modes[i].run(slurp(stdin));
            arena_free(a);
            return rc;
        }
    return fail(argv[3], "not one of request, reply, stream, error");
}
