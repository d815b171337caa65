/* dialect/gemini.c -- streams of generateContent, counting, model lists.
 *
 * Every chunk is a whole response with a piece of its text; a call comes whole in one. There is no last word: the stream ends
 * with the connection after a finishReason. */
#include "dialect/gemini.h"

#include "base/put.h"

/* ---- reading ---- */

struct reader {
    bool is_started, is_over, has_calls, has_stopped;
    bool is_open;                       /* a text or a thought */
    enum block_kind kind;
    uint32_t n;                         /* blocks so far; the open one is n - 1 */
    str id;
    struct arena *a;
};

struct chunk { struct reader *r; struct reading f; const struct delta_sink *to; };

static void *reader_new(struct arena *a)
{
    struct reader *r = ARENA_NEW(a, struct reader);
    r->a = a;
    return r;
}

static void emit(const struct chunk *c, struct delta d)
{
    c->to->take(c->to->arg, &d);
}

static void close_open(const struct chunk *c)
{
    if (c->r->is_open)
        emit(c, (struct delta){ .kind = DELTA_CLOSE, .index = c->r->n - 1 });
    c->r->is_open = false;
}

static void open_block(const struct chunk *c, const struct block *b)
{
    struct block head = *b;
    close_open(c);
    head.text = head.arguments = head.signature = S("");
    if (!head.origin.len)
        head.origin = S("gemini");
    emit(c, (struct delta){ .kind = DELTA_BLOCK, .index = c->r->n++, .block = &head });
}

static void piece(const struct chunk *c, enum delta_kind kind, str text)
{
    if (text.len)
        emit(c, (struct delta){ .kind = kind, .index = c->r->n - 1, .text = text });
}

static void part_read(const struct chunk *c, jref part)
{
    struct reader *r = c->r;
    struct block b = { 0 };
    if (!gemini_part_block(&c->f, part, &b))
        return;
    bool is_text = b.kind == BLOCK_TEXT || b.kind == BLOCK_REASONING;
    if (is_text && r->is_open && (b.kind == r->kind || !b.text.len)) {      /* a signature may come as a part of its own */
        piece(c, DELTA_PIECE, b.text);
        piece(c, DELTA_SIGNATURE, b.signature);
        return;
    }
    if (is_text && !b.text.len && !b.signature.len)
        return;
    if (b.kind == BLOCK_TOOL_CALL && !b.call_id.len)
        b.call_id = gemini_made_call_id(c->f.a, r->id.len ? r->id : json_raw(c->f.j, part), r->n);
    r->has_calls |= b.kind == BLOCK_TOOL_CALL;
    open_block(c, &b);
    piece(c, DELTA_PIECE, b.kind == BLOCK_TOOL_CALL ? b.arguments : b.text);
    piece(c, DELTA_SIGNATURE, b.signature);
    r->is_open = true;
    r->kind = b.kind;
    if (!is_text)
        close_open(c);
}

static void candidate_read(const struct chunk *c, jref n)
{
    enum { CONTENT, FINISH, LOGPROBS, GROUNDING, N };
    static const str names[] = { S("content"), S("finishReason"), S("logprobsResult"), S("groundingMetadata") };
    static const str parts_name[] = { S("parts") };
    const struct json *j = c->f.j;
    struct reader *r = c->r;
    jref v[N], parts = JSON_NONE;
    gemini_get(&c->f, n, names, N, v, NULL, S(""));
    if (json_is(j, v[CONTENT], JSON_OBJECT))
        gemini_get(&c->f, v[CONTENT], parts_name, 1, &parts, NULL, S(""));
    if (json_is(j, parts, JSON_ARRAY))
        JSON_EACH_ITEM(j, parts, part)
            part_read(c, part);
    if (r->is_open && r->kind == BLOCK_TEXT) {
        struct json list;
        piece(c, DELTA_LOGPROBS, gemini_logprobs(&c->f, v[LOGPROBS]));
        str citations = gemini_citations(&c->f, v[GROUNDING]);
        if (citations.len && json_parse(c->f.a, citations, &list, NULL) == 0)
            JSON_EACH_ITEM(&list, 0, item)
                piece(c, DELTA_CITATION, json_raw(&list, item));
    }
    str word = json_str(j, v[FINISH], c->f.a);
    enum stop_reason stop = gemini_stop(word, r->has_calls);
    if (stop == STOP_UNKNOWN)
        return;
    close_open(c);
    r->has_stopped = true;
    emit(c, (struct delta){ .kind = DELTA_STOP, .stop = stop, .stop_text = word });
}

static int reader_event(void *reader, struct arena *scratch, const struct stream_event *event, const struct delta_sink *to)
{
    enum { CANDIDATES, FEEDBACK, USAGE, ID, MODEL, N };
    static const str names[] = { S("candidates"), S("promptFeedback"), S("usageMetadata"), S("responseId"), S("modelVersion") };
    static const str reason_name[] = { S("blockReason") };
    struct reader *r = reader;
    struct json j;
    struct failure failure;
    struct usage usage;
    jref v[N], reason = JSON_NONE;
    if (r->is_over || !event->data.len || str_starts(event->data, S("[DONE]")))
        return 0;
    if (json_parse(scratch, event->data, &j, NULL) < 0)
        return -1;
    struct chunk c = { .r = r, .f = { .a = scratch, .j = &j }, .to = to };
    if (gemini_error_read(scratch, &j, 0, &failure)) {
        r->is_over = true;
        emit(&c, (struct delta){ .kind = DELTA_ERROR, .failure = &failure });
        return 0;
    }
    if (!json_is(&j, 0, JSON_OBJECT))
        return -1;
    gemini_get(&c.f, 0, names, N, v, NULL, S(""));
    if (!r->is_started) {
        r->is_started = true;
        str id = json_str(&j, v[ID], scratch);
        r->id = id.len ? arena_str(r->a, id) : S("");
        bool has_usage = gemini_usage_read(&c.f, v[USAGE], &usage);
        emit(&c, (struct delta){ .kind = DELTA_START, .id = id, .model = json_str(&j, v[MODEL], scratch),
                                 .usage = has_usage ? &usage : NULL });
    }
    if (json_is(&j, v[CANDIDATES], JSON_ARRAY) && json_count(&j, v[CANDIDATES]) && json_is(&j, v[CANDIDATES] + 1, JSON_OBJECT))
        candidate_read(&c, v[CANDIDATES] + 1);
    if (json_is(&j, v[FEEDBACK], JSON_OBJECT))
        gemini_get(&c.f, v[FEEDBACK], reason_name, 1, &reason, NULL, S(""));
    if (json_is(&j, reason, JSON_STRING) && !r->has_stopped) {
        close_open(&c);
        r->has_stopped = true;
        emit(&c, (struct delta){ .kind = DELTA_STOP, .stop = STOP_FILTER, .stop_text = json_str(&j, reason, scratch) });
    }
    if (gemini_usage_read(&c.f, v[USAGE], &usage))
        emit(&c, (struct delta){ .kind = DELTA_USAGE, .usage = &usage });
    return 0;
}

/* ---- writing ---- */

enum { ARGUMENTS_BYTES_MAX = 16 << 20 };    /* of one call, collected because it is told whole; beyond: the stream fails */

struct writer {
    const struct answer_context *c;
    str id, model;
    struct block block;                 /* the open one */
    bool is_open, is_over;
    struct buf arguments;
    struct usage usage;
    enum stop_reason stop;
};

static void *writer_new(const struct answer_context *c)
{
    struct writer *w = ARENA_NEW(c->a, struct writer);
    w->c = c;
    w->id = c->request_id;
    w->model = c->model;
    return w;
}

static void writer_free(void *writer)
{
    struct writer *w = writer;
    buf_free(&w->arguments);
}

static str keep(struct writer *w, str s)
{
    return s.len ? arena_str(w->c->a, s) : S("");
}

/* One chunk; b NULL: the last one. */
static void chunk_write(struct writer *w, const struct block *b, struct buf *out)
{
    struct json_writer j = { .out = out };
    buf_str(out, S("data: "));
    jw_begin(&j, '{');
    put_open(&j, S("candidates"), '[');
    jw_begin(&j, '{');
    put_open(&j, S("content"), '{');
    put_open(&j, S("parts"), '[');
    if (b)
        gemini_part_write(b, w->c, w->c->from, &j);
    else
        jw_raw(&j, S("{\"text\":\"\"}"));
    jw_end(&j, ']');
    put_str(&j, S("role"), S("model"));
    jw_end(&j, '}');
    if (!b)
        put_str(&j, S("finishReason"), str_of(gemini_finish(w->stop)));
    put_int(&j, S("index"), 0);
    jw_end(&j, '}');
    jw_end(&j, ']');
    if (!b) {
        jw_key(&j, S("usageMetadata"));
        gemini_usage_write(&w->usage, &j);
    }
    put_str(&j, S("modelVersion"), w->model);
    put_str(&j, S("responseId"), w->id);
    jw_end(&j, '}');
    buf_str(out, S("\r\n\r\n"));
}

static void write_failure(struct writer *w, const struct failure *f, struct buf *out)
{
    w->is_over = true;
    buf_str(out, S("data: "));
    gemini_error_write(f, out);
    buf_str(out, S("\r\n\r\n"));
}

static void write_block(struct writer *w, const struct block *b, struct buf *out)
{
    w->block = (struct block){ .kind = b->kind, .is_custom = b->is_custom, .call_id = keep(w, b->call_id),
                               .name = keep(w, b->name),
                               .origin = keep(w, b->origin) };
    w->is_open = true;
    w->arguments.len = 0;
    bool is_piecewise = b->kind == BLOCK_TEXT || b->kind == BLOCK_REFUSAL || b->kind == BLOCK_REASONING ||
        b->kind == BLOCK_TOOL_CALL;
    bool has_part = b->media.data.len || b->kind == BLOCK_SEALED_REASONING ||
                    (b->kind == BLOCK_OTHER && w->c->from == &dialect_gemini);
    if (!is_piecewise && has_part)
        chunk_write(w, b, out);
}

static void write_piece(struct writer *w, str text, struct buf *out)
{
    static const struct failure too_long = { .status = 502, .kind = FAILURE_UPSTREAM,
                                             .message = S("the arguments of a call are too long") };
    if (!w->is_open || !text.len)
        return;
    if (w->block.kind != BLOCK_TOOL_CALL) {
        struct block b = { .kind = w->block.kind, .text = text };
        chunk_write(w, &b, out);
        return;
    }
    buf_str(&w->arguments, text);
    if (w->arguments.len > ARGUMENTS_BYTES_MAX)
        write_failure(w, &too_long, out);
}

static void write_signature(struct writer *w, str text, struct buf *out)
{
    if (!w->is_open)
        return;
    if (w->block.kind == BLOCK_TOOL_CALL) {
        w->block.signature = keep(w, text);
        return;
    }
    struct block b = w->block;
    b.signature = text;
    chunk_write(w, &b, out);
}

static void write_close(struct writer *w, struct buf *out)
{
    if (w->is_open && w->block.kind == BLOCK_TOOL_CALL) {
        w->block.arguments = buf_view(&w->arguments);
        chunk_write(w, &w->block, out);
    }
    w->is_open = false;
}

static void writer_delta(void *writer, const struct delta *d, struct buf *out)
{
    struct writer *w = writer;
    if (w->is_over)
        return;
    switch (d->kind) {
    case DELTA_START:
        if (d->id.len)
            w->id = keep(w, d->id);
        if (d->model.len)
            w->model = keep(w, d->model);
        if (d->usage)
            w->usage = *d->usage;
        break;
    case DELTA_BLOCK:     write_close(w, out); write_block(w, d->block, out); break;
    case DELTA_PIECE:     write_piece(w, d->text, out); break;
    case DELTA_SIGNATURE: write_signature(w, d->text, out); break;
    case DELTA_CLOSE:     write_close(w, out); break;
    case DELTA_STOP:
        w->stop = d->stop;
        if (d->usage)
            w->usage = *d->usage;
        break;
    case DELTA_USAGE:
        if (d->usage)
            w->usage = *d->usage;
        break;
    case DELTA_ERROR:     write_failure(w, d->failure, out); break;
    case DELTA_END:
        write_close(w, out);
        chunk_write(w, NULL, out);
        w->is_over = true;
        break;
    case DELTA_CITATION: case DELTA_LOGPROBS: case DELTA_PING: break;
    }
}

/* ---- around it ---- */

static bool carries_foreign(str body)
{
    return str_find(body, S("\"c2J4MT")) >= 0;         /* base64 of "sbx1" */
}

/* {"totalTokens": N, ...} */
static void count_write(int64_t tokens, struct buf *out)
{
    struct json_writer w = { .out = out };
    jw_begin(&w, '{');
    put_int(&w, S("totalTokens"), tokens);
    put_open(&w, S("promptTokensDetails"), '[');
    jw_begin(&w, '{');
    put_str(&w, S("modality"), S("TEXT"));
    put_int(&w, S("tokenCount"), tokens);
    jw_end(&w, '}');
    jw_end(&w, ']');
    jw_end(&w, '}');
}

static void model_write(const struct gemini_model *m, struct json_writer *w)
{
    static const char *const methods[] = { "generateContent", "streamGenerateContent", "countTokens" };
    jw_begin(w, '{');
    jw_key(w, S("name"));
    buf_str(w->out, S("\"models/"));
    struct buf name = { 0 };
    json_quote(&name, m->name);
    buf_str(w->out, str_from(buf_view(&name), 1));
    buf_free(&name);
    w->need_comma = true;
    put_str(w, S("version"), S("001"));
    put_str(w, S("displayName"), m->name);
    put_text(w, S("description"), m->description);
    put_positive(w, S("inputTokenLimit"), m->context_tokens);
    put_positive(w, S("outputTokenLimit"), m->output_tokens);
    put_open(w, S("supportedGenerationMethods"), '[');
    for (size_t i = 0; i < COUNT_OF(methods); i++)
        jw_str(w, str_of(methods[i]));
    jw_end(w, ']');
    jw_end(w, '}');
}

void gemini_model_write(const struct gemini_model *m, struct buf *out)
{
    struct json_writer w = { .out = out };
    model_write(m, &w);
}

void gemini_models_write(const struct gemini_model *models, size_t n, struct buf *out)
{
    struct json_writer w = { .out = out };
    jw_begin(&w, '{');
    put_open(&w, S("models"), '[');
    for (size_t i = 0; i < n; i++)
        model_write(&models[i], &w);
    jw_end(&w, ']');
    jw_end(&w, '}');
}

const struct dialect_ops dialect_gemini = {
    .name = "gemini", .label = "gemini", .ends_without_word = true, .is_crlf = true,
    .request_read = gemini_request_read, .request_write = gemini_request_write,
    .reply_read = gemini_reply_read, .reply_write = gemini_reply_write,
    .reader_new = reader_new, .reader_event = reader_event,
    .writer_new = writer_new, .writer_delta = writer_delta, .writer_free = writer_free,
    .error_read = gemini_error_read, .error_write = gemini_error_write,
    .carries_foreign = carries_foreign, .count_read = gemini_count_read, .count_write = count_write,
};
