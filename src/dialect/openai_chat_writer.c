/* dialect/openai_chat_writer.c -- deltas as chunks of Chat Completions, in the exact sequence of the original API.
 *
 * The role once, then content, calls whose later pieces carry neither id nor name, the reason in a chunk of its own, usage only
 * when it was asked for and then with an empty list of choices, [DONE]. What all chunks have in common is written once. */
#include "dialect/openai_chat_parts.h"
#include "dialect/openai_responses.h"

enum { THOUGHT_MAX = 8 << 20 };         /* of a thought whose signature is to come; beyond: its text is not repeated beside it */

struct chat_writer {
    const struct answer_context *c;
    struct buf head;                    /* {"id":...,"object":...,"created":...,"model":...,: of every chunk */
    struct buf tail;                    /* service_tier and system_fingerprint */
    bool has_started, has_failed, is_old;
    enum block_kind open;
    uint32_t n_calls;
    bool is_custom, unwraps;            /* of the open call; unwraps: its input is inside a function's arguments */
    bool has_arguments;                 /* some were sent */
    struct buf held;                    /* text of the open thought, or arguments that are unwrapped at their end */
    struct block thought;               /* origin and item of the open thought */
    int64_t n_characters, text_start;   /* of the message's text, for citations */
};

void *openai_writer_new(const struct answer_context *c)
{
    struct chat_writer *s = ARENA_NEW(c->a, struct chat_writer);
    s->c = c;
    s->is_old = openai_speaks_old_form(c->prompt);
    return s;
}

void openai_writer_free(void *writer)
{
    struct chat_writer *s = writer;
    buf_free(&s->head);
    buf_free(&s->tail);
    buf_free(&s->held);
}

static void head_make(struct chat_writer *s, const struct delta *d)
{
    struct json_writer w = { .out = &s->head }, tail = { .out = &s->tail, .need_comma = true };
    jw_begin(&w, '{');
    put_str(&w, S("id"), openai_answer_id(s->c, d->id));
    put_str(&w, S("object"), S("chat.completion.chunk"));
    put_int(&w, S("created"), d->created ? d->created : s->c->now);
    put_str(&w, S("model"), d->model.len ? d->model : s->c->model);
    bool is_own = s->c->from == &dialect_openai_chat;
    put_text(&tail, S("service_tier"), is_own ? d->service_tier : openai_service_tier(d->service_tier));
    put_text(&tail, S("system_fingerprint"), d->system_fingerprint);
    s->has_started = true;
}

static void choice_begin(const struct chat_writer *s, struct json_writer *w)
{
    buf_str(w->out, S("data: "));
    buf_str(w->out, buf_view(&s->head));
    buf_str(w->out, S(",\"choices\":[{\"index\":0,\"delta\":"));
}

static void choice_end(const struct chat_writer *s, struct json_writer *w, str logprobs, str finish)
{
    buf_str(w->out, S(",\"logprobs\":"));
    if (logprobs.len) {
        buf_str(w->out, S("{\"content\":"));
        buf_str(w->out, logprobs);
        buf_str(w->out, S(",\"refusal\":null}"));
    } else {
        buf_str(w->out, S("null"));
    }
    buf_str(w->out, S(",\"finish_reason\":"));
    if (finish.len)
        json_quote(w->out, finish);
    else
        buf_str(w->out, S("null"));
    buf_str(w->out, S("}]"));
    buf_str(w->out, buf_view(&s->tail));
    buf_str(w->out, s->c->includes_usage ? S(",\"usage\":null}\n\n") : S("}\n\n"));
}

/* A chunk whose delta has one member with a text. */
static void text_chunk(struct chat_writer *s, struct buf *out, str key, str text)
{
    struct json_writer w = { .out = out };
    choice_begin(s, &w);
    jw_begin(&w, '{');
    put_str(&w, key, text);
    jw_end(&w, '}');
    choice_end(s, &w, S(""), S(""));
}

static void start_chunk(struct chat_writer *s, struct buf *out)
{
    struct json_writer w = { .out = out };
    choice_begin(s, &w);
    buf_str(out, S("{\"role\":\"assistant\",\"content\":\"\"}"));
    choice_end(s, &w, S(""), S(""));
}

static void call_open(struct chat_writer *s, struct json_writer *w)
{
    jw_begin(w, '{');
    put_open(w, S("tool_calls"), '[');
    jw_begin(w, '{');
    put_int(w, S("index"), s->n_calls - 1);
}

static void call_shut(struct json_writer *w)
{
    jw_end(w, '}');
    jw_end(w, ']');
    jw_end(w, '}');
}

static void call_chunk(struct chat_writer *s, struct buf *out, const struct block *b)
{
    struct json_writer w = { .out = out };
    str name = translation_name_back(s->c->translation, b->name);
    s->is_custom = openai_is_custom_call(s->c, b, name);
    s->unwraps = s->is_custom && !b->is_custom;
    s->has_arguments = false;
    s->held.len = 0;
    s->n_calls++;
    choice_begin(s, &w);
    if (s->is_old) {
        jw_begin(&w, '{');
        put_open(&w, S("function_call"), '{');
        put_str(&w, S("name"), name);
        put_str(&w, S("arguments"), S(""));
        jw_end(&w, '}');
        jw_end(&w, '}');
    } else {
        call_open(s, &w);
        openai_call_head_write(&w, name, openai_call_id(s->c, b, s->n_calls), s->is_custom);
        put_str(&w, s->is_custom ? S("input") : S("arguments"), S(""));
        jw_end(&w, '}');
        if (b->signature.len)
            openai_signature_write(&w, b->signature);
        call_shut(&w);
    }
    choice_end(s, &w, S(""), S(""));
}

static void call_piece_chunk(struct chat_writer *s, struct buf *out, str text)
{
    struct json_writer w = { .out = out };
    s->has_arguments = true;
    choice_begin(s, &w);
    if (s->is_old) {
        jw_begin(&w, '{');
        put_open(&w, S("function_call"), '{');
        put_str(&w, S("arguments"), text);
        jw_end(&w, '}');
        jw_end(&w, '}');
    } else {
        call_open(s, &w);
        put_open(&w, s->is_custom ? S("custom") : S("function"), '{');
        put_str(&w, s->is_custom ? S("input") : S("arguments"), text);
        jw_end(&w, '}');
        call_shut(&w);
    }
    choice_end(s, &w, S(""), S(""));
}

/* A chunk with one item of thinking_blocks or reasoning_details. The text stands in it once more, whole: a client that keeps
 * the items has all that it must send back. */
static void thought_chunk(struct chat_writer *s, struct buf *out, const struct block *b)
{
    struct json_writer w = { .out = out };
    choice_begin(s, &w);
    jw_begin(&w, '{');
    put_open(&w, openai_thought_is_detail(b, s->c->from) ? S("reasoning_details") : S("thinking_blocks"), '[');
    openai_thought_write(&w, b, s->c->from);
    jw_end(&w, ']');
    jw_end(&w, '}');
    choice_end(s, &w, S(""), S(""));
}

static void image_chunk(struct chat_writer *s, struct buf *out, const struct block *b)
{
    struct arena *a = arena_new();                  /* for the data URL */
    struct json_writer w = { .out = out };
    if (!a) {
        out->is_failed = true;
        return;
    }
    choice_begin(s, &w);
    jw_begin(&w, '{');
    put_open(&w, S("images"), '[');
    openai_image_write(&w, &b->media, a);
    jw_end(&w, ']');
    jw_end(&w, '}');
    choice_end(s, &w, S(""), S(""));
    out->is_failed |= arena_exhausted(a);
    arena_free(a);
}

static void block_chunk(struct chat_writer *s, struct buf *out, const struct block *b)
{
    s->open = b->kind;
    s->held.len = 0;
    s->text_start = s->n_characters;
    if (b->kind == BLOCK_TOOL_CALL && !(s->is_old && s->n_calls)) {
        call_chunk(s, out, b);
    } else if (b->kind == BLOCK_TOOL_CALL) {
        s->open = BLOCK_OTHER;                      /* the older form has room for one */
    } else if (b->kind == BLOCK_SEALED_REASONING) {
        thought_chunk(s, out, b);
    } else if (b->kind == BLOCK_IMAGE) {
        image_chunk(s, out, b);
    } else if (b->kind == BLOCK_REASONING) {
        s->thought = (struct block){ .kind = BLOCK_REASONING };
        s->thought.origin = b->origin.len ? arena_str(s->c->a, b->origin) : S("");
        s->thought.item_id = b->item_id.len ? arena_str(s->c->a, b->item_id) : S("");
    }
}

static void piece_chunk(struct chat_writer *s, struct buf *out, str text)
{
    switch (s->open) {
    case BLOCK_TEXT:
        s->n_characters += (int64_t)openai_count_characters(text);
        text_chunk(s, out, S("content"), text);
        break;
    case BLOCK_REFUSAL:
        text_chunk(s, out, S("refusal"), text);
        break;
    case BLOCK_REASONING:
        text_chunk(s, out, S("reasoning_content"), text);
        if (s->held.len + text.len <= THOUGHT_MAX)
            buf_str(&s->held, text);
        break;
    case BLOCK_TOOL_CALL:
        if (s->unwraps && s->held.len + text.len <= THOUGHT_MAX)
            buf_str(&s->held, text);
        else
            call_piece_chunk(s, out, text);
        break;
    default:
        break;
    }
}

static void signature_chunk(struct chat_writer *s, struct buf *out, str signature)
{
    struct json_writer w = { .out = out };
    if (s->open == BLOCK_REASONING) {
        s->thought.text = buf_view(&s->held);
        s->thought.signature = signature;
        thought_chunk(s, out, &s->thought);
        return;
    }
    choice_begin(s, &w);
    if (s->open == BLOCK_TOOL_CALL && !s->is_old) {
        call_open(s, &w);
        put_open(&w, s->is_custom ? S("custom") : S("function"), '{');      /* clients look into it unasked */
        put_str(&w, s->is_custom ? S("input") : S("arguments"), S(""));
        jw_end(&w, '}');
        openai_signature_write(&w, signature);
        call_shut(&w);
    } else {
        jw_begin(&w, '{');
        openai_signature_write(&w, signature);
        jw_end(&w, '}');
    }
    choice_end(s, &w, S(""), S(""));
}

static void citation_chunk(struct chat_writer *s, struct buf *out, str raw)
{
    struct arena *a = arena_new();
    struct buf one = { 0 };
    struct json_writer inner = { .out = &one }, w = { .out = out };
    if (a && openai_citation_write(a, raw, s->text_start, s->n_characters, &inner)) {
        choice_begin(s, &w);
        jw_begin(&w, '{');
        put_open(&w, S("annotations"), '[');
        jw_raw(&w, buf_view(&one));
        jw_end(&w, ']');
        jw_end(&w, '}');
        choice_end(s, &w, S(""), S(""));
    }
    out->is_failed |= !a || one.is_failed;
    buf_free(&one);
    arena_free(a);
}

static void logprobs_chunk(struct chat_writer *s, struct buf *out, str tokens)
{
    struct json_writer w = { .out = out };
    choice_begin(s, &w);
    buf_str(out, S("{\"content\":\"\"}"));
    choice_end(s, &w, tokens, S(""));
}

static void close_chunk(struct chat_writer *s, struct buf *out)
{
    if (s->open == BLOCK_TOOL_CALL && s->unwraps && s->held.len) {
        struct arena *a = arena_new();
        if (a)
            call_piece_chunk(s, out, responses_unwrap(a, buf_view(&s->held)));
        out->is_failed |= !a;
        arena_free(a);
    }
    if (s->open == BLOCK_TOOL_CALL && !s->is_custom && !s->has_arguments)
        call_piece_chunk(s, out, S("{}"));          /* clients parse what they have joined */
    s->held.len = 0;
    s->unwraps = false;
    s->open = BLOCK_OTHER;
}


static void stop_chunks(struct chat_writer *s, struct buf *out, const struct delta *d)
{
    static const struct usage nothing;
    static const struct failure malformed = { .status = 502, .kind = FAILURE_UPSTREAM, .code = S("malformed_tool_call"),
                                              .message = S("the model's tool call could not be read") };
    struct json_writer w = { .out = out };
    if (d->stop == STOP_MALFORMED) {                /* an error, not a reason to stop */
        s->has_failed = true;
        openai_writer_delta(s, &(struct delta){ .kind = DELTA_ERROR, .failure = &malformed }, out);
        return;
    }
    choice_begin(s, &w);
    buf_str(out, S("{}"));
    choice_end(s, &w, S(""), openai_finish_name(d->stop, s->is_old));
    if (!s->c->includes_usage)
        return;
    buf_str(out, S("data: "));
    buf_str(out, buf_view(&s->head));
    buf_str(out, S(",\"choices\":[]"));
    buf_str(out, buf_view(&s->tail));
    w.need_comma = true;
    openai_usage_write(&w, d->usage ? d->usage : &nothing);
    buf_str(out, S("}\n\n"));
}

void openai_writer_delta(void *writer, const struct delta *d, struct buf *out)
{
    struct chat_writer *s = writer;
    if (d->kind != DELTA_PING && d->kind != DELTA_ERROR && !s->has_started) {
        head_make(s, d);
        start_chunk(s, out);
    }
    switch (d->kind) {
    case DELTA_START:
    case DELTA_USAGE:
        break;
    case DELTA_BLOCK:
        block_chunk(s, out, d->block);
        break;
    case DELTA_PIECE:
        piece_chunk(s, out, d->text);
        break;
    case DELTA_SIGNATURE:
        signature_chunk(s, out, d->text);
        break;
    case DELTA_CITATION:
        citation_chunk(s, out, d->text);
        break;
    case DELTA_LOGPROBS:
        logprobs_chunk(s, out, d->text);
        break;
    case DELTA_CLOSE:
        close_chunk(s, out);
        break;
    case DELTA_STOP:
        stop_chunks(s, out, d);
        break;
    case DELTA_PING:
        buf_str(out, S(": ping\n\n"));
        break;
    case DELTA_ERROR:
        buf_str(out, S("data: "));
        openai_error_write(d->failure, out);
        buf_str(out, S("\n\n"));
        break;
    case DELTA_END:
        if (!s->has_failed)
            buf_str(out, S("data: [DONE]\n\n"));
        break;
    }
    out->is_failed |= s->head.is_failed || s->tail.is_failed || s->held.is_failed;
}
