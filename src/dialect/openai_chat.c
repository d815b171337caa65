/* dialect/openai_chat.c -- Chat Completions: whole answers and errors, and what both sides of its streams share.
 *
 * What reasoning has beside its text goes to the side fields that gateways agreed on; docs/internals/dialect-openai-chat.md has
 * the tables. */
#include "base/put.h"
#include "dialect/openai_chat_parts.h"
#include "dialect/openai_responses.h"

/* ---- what answers are made of ---- */

/* Clients that still declare `functions` are answered in that form. */
bool openai_speaks_old_form(const struct prompt *p)
{
    return p && p->n_tools && str_eq(p->tools[0].raw_type, S("functions"));
}

str openai_finish_name(enum stop_reason stop, bool is_old)
{
    switch (stop) {
    case STOP_LENGTH:
    case STOP_CONTEXT:
        return S("length");
    case STOP_TOOLS:
        return is_old ? S("function_call") : S("tool_calls");
    case STOP_FILTER:
    case STOP_REFUSAL:
        return S("content_filter");
    default:
        return S("stop");
    }
}

void openai_usage_write(struct json_writer *w, const struct usage *u)
{
    put_open(w, S("usage"), '{');
    put_int(w, S("prompt_tokens"), u->prompt_tokens);
    put_int(w, S("completion_tokens"), u->completion_tokens);
    put_int(w, S("total_tokens"), u->prompt_tokens + u->completion_tokens);
    put_open(w, S("prompt_tokens_details"), '{');
    put_int(w, S("cached_tokens"), u->cached_tokens);
    put_int(w, S("audio_tokens"), u->prompt_audio_tokens);
    if (u->cache_write_tokens)                      /* not OpenAI's: it writes for free */
        put_int(w, S("cache_write_tokens"), u->cache_write_tokens);
    jw_end(w, '}');
    put_open(w, S("completion_tokens_details"), '{');
    put_int(w, S("reasoning_tokens"), u->reasoning_tokens);
    put_int(w, S("audio_tokens"), u->completion_audio_tokens);
    put_int(w, S("accepted_prediction_tokens"), 0);
    put_int(w, S("rejected_prediction_tokens"), 0);
    jw_end(w, '}');
    jw_end(w, '}');
}

static const struct tool *tool_of(const struct prompt *p, str name)
{
    for (uint32_t i = 0; p && i < p->n_tools; i++)
        if (str_eq(p->tools[i].name, name))
            return &p->tools[i];
    return NULL;
}

/* A custom tool may have travelled as a function. */
bool openai_is_custom_call(const struct answer_context *c, const struct block *b, str name)
{
    const struct tool *t = tool_of(c->prompt, name);
    return b->is_custom || (t && t->kind == TOOL_CUSTOM);
}

/* One citation as {"type":"url_citation","url_citation":{...}}; offsets are characters of the message's text. False: it cites
 * no address, and this format cites nothing else. */
bool openai_citation_write(struct arena *a, str raw, int64_t from, int64_t to, struct json_writer *w)
{
    struct json j;
    if (json_parse(a, raw, &j, NULL) < 0 || !json_is(&j, 0, JSON_OBJECT))
        return false;
    if (json_get(&j, 0, S("url_citation")) != JSON_NONE) {      /* its own form */
        jw_raw(w, raw);
        return true;
    }
    str url = json_str(&j, json_get(&j, 0, S("url")), a);
    str title = json_str(&j, json_get(&j, 0, S("title")), a);
    if (!url.len)
        return false;
    json_int(&j, json_get(&j, 0, S("start_index")), &from);
    json_int(&j, json_get(&j, 0, S("end_index")), &to);
    jw_begin(w, '{');
    put_str(w, S("type"), S("url_citation"));
    put_open(w, S("url_citation"), '{');
    put_int(w, S("start_index"), from);
    put_int(w, S("end_index"), to);
    put_str(w, S("title"), title);
    put_str(w, S("url"), url);
    jw_end(w, '}');
    jw_end(w, '}');
    return true;
}

size_t openai_count_characters(str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
    return n;
}

/* ---- a whole answer ---- */

static void annotations_write(struct json_writer *w, const struct reply *r, struct arena *a)
{
    bool has_begun = false;
    int64_t at = 0;
    for (uint32_t i = 0; i < r->n; i++) {
        const struct block *b = &r->blocks[i];
        struct json j;
        if (b->kind != BLOCK_TEXT)
            continue;
        int64_t end = at + (int64_t)openai_count_characters(b->text);
        if (b->citations.len && json_parse(a, b->citations, &j, NULL) == 0 && json_is(&j, 0, JSON_ARRAY)) {
            JSON_EACH_ITEM(&j, 0, item) {
                struct buf one = { 0 };
                struct json_writer inner = { .out = &one };
                if (openai_citation_write(a, json_raw(&j, item), at, end, &inner)) {
                    if (!has_begun)
                        put_open(w, S("annotations"), '[');
                    has_begun = true;
                    jw_raw(w, buf_view(&one));
                }
                buf_free(&one);
            }
        }
        at = end;
    }
    if (has_begun)
        jw_end(w, ']');
}

void openai_call_head_write(struct json_writer *w, str name, str id, bool is_custom)
{
    put_str(w, S("id"), id);
    put_str(w, S("type"), is_custom ? S("custom") : S("function"));
    put_open(w, is_custom ? S("custom") : S("function"), '{');
    put_str(w, S("name"), name);
}

str openai_call_id(const struct answer_context *c, const struct block *b, uint32_t at)
{
    return b->call_id.len ? translation_name_back(c->translation, b->call_id)
                          : arena_printf(c->a, "call_" STR_FMT "_%u", STR_ARG(c->request_id), at);
}

static void call_write(struct json_writer *w, const struct answer_context *c, const struct block *b, uint32_t at)
{
    str name = translation_name_back(c->translation, b->name);
    bool is_custom = openai_is_custom_call(c, b, name);
    str arguments = is_custom && !b->is_custom ? responses_unwrap(c->a, b->arguments) : b->arguments;
    if (!is_custom && !arguments.len)
        arguments = S("{}");
    jw_begin(w, '{');
    openai_call_head_write(w, name, openai_call_id(c, b, at), is_custom);
    put_str(w, is_custom ? S("input") : S("arguments"), arguments);
    jw_end(w, '}');
    if (b->signature.len)
        openai_signature_write(w, b->signature);
    jw_end(w, '}');
}

static void calls_write(struct json_writer *w, const struct reply *r, const struct answer_context *c, bool is_old)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->n; i++) {
        const struct block *b = &r->blocks[i];
        if (b->kind != BLOCK_TOOL_CALL || (is_old && n))
            continue;
        if (is_old) {
            put_open(w, S("function_call"), '{');
            put_str(w, S("name"), translation_name_back(c->translation, b->name));
            put_str(w, S("arguments"), b->arguments.len ? b->arguments : S("{}"));
            jw_end(w, '}');
        } else {
            if (!n)
                put_open(w, S("tool_calls"), '[');
            call_write(w, c, b, i);
        }
        n++;
    }
    if (n && !is_old)
        jw_end(w, ']');
}

static void texts_write(struct json_writer *w, const struct reply *r, enum block_kind kind, str key, bool is_nullable)
{
    struct buf text = { 0 };
    bool is_there = false;
    for (uint32_t i = 0; i < r->n; i++)
        if (r->blocks[i].kind == kind) {
            buf_str(&text, r->blocks[i].text);
            is_there = true;
        }
    if (text.len || (is_there && is_nullable)) {
        put_str(w, key, buf_view(&text));
    } else if (is_nullable) {
        put_null(w, key);
    }
    w->out->is_failed |= text.is_failed;
    buf_free(&text);
}

static void images_write(struct json_writer *w, const struct reply *r, struct arena *a)
{
    bool has_begun = false;
    for (uint32_t i = 0; i < r->n; i++) {
        if (r->blocks[i].kind != BLOCK_IMAGE)
            continue;
        if (!has_begun)
            put_open(w, S("images"), '[');
        has_begun = true;
        openai_image_write(w, &r->blocks[i].media, a);
    }
    if (has_begun)
        jw_end(w, ']');
}

str openai_answer_id(const struct answer_context *c, str id)
{
    return id.len ? id : arena_printf(c->a, "chatcmpl-" STR_FMT, STR_ARG(c->request_id));
}

static void message_write(struct json_writer *w, const struct reply *r, const struct answer_context *c, bool is_old)
{
    put_open(w, S("message"), '{');
    put_str(w, S("role"), S("assistant"));
    texts_write(w, r, BLOCK_TEXT, S("content"), true);
    texts_write(w, r, BLOCK_REFUSAL, S("refusal"), true);
    texts_write(w, r, BLOCK_REASONING, S("reasoning_content"), false);
    openai_thoughts_write(w, r->blocks, r->n, r->dialect, false);
    openai_thoughts_write(w, r->blocks, r->n, r->dialect, true);
    calls_write(w, r, c, is_old);
    images_write(w, r, c->a);
    annotations_write(w, r, c->a);
    for (uint32_t i = 0; i < r->n; i++)
        if (r->blocks[i].kind == BLOCK_TEXT && r->blocks[i].signature.len) {
            openai_signature_write(w, r->blocks[i].signature);
            break;
        }
    jw_end(w, '}');
}

static void logprobs_write(struct json_writer *w, str tokens)
{
    jw_key(w, S("logprobs"));
    if (!tokens.len) {
        jw_null(w);
        return;
    }
    jw_begin(w, '{');
    put_raw(w, S("content"), tokens);
    put_null(w, S("refusal"));
    jw_end(w, '}');
}

static void reply_write(const struct reply *r, const struct answer_context *c, struct buf *out)
{
    struct json_writer w = { .out = out };
    bool is_old = openai_speaks_old_form(c->prompt);
    jw_begin(&w, '{');
    put_str(&w, S("id"), openai_answer_id(c, r->id));
    put_str(&w, S("object"), S("chat.completion"));
    put_int(&w, S("created"), r->created ? r->created : c->now);
    put_str(&w, S("model"), r->model.len ? r->model : c->model);
    put_open(&w, S("choices"), '[');
    jw_begin(&w, '{');
    put_int(&w, S("index"), 0);
    message_write(&w, r, c, is_old);
    logprobs_write(&w, r->logprobs);
    put_str(&w, S("finish_reason"), openai_finish_name(r->stop, is_old));
    jw_end(&w, '}');
    jw_end(&w, ']');
    openai_usage_write(&w, &r->usage);
    put_text(&w, S("service_tier"), r->dialect == &dialect_openai_chat ? r->service_tier : openai_service_tier(r->service_tier));
    put_text(&w, S("system_fingerprint"), r->system_fingerprint);
    if (r->dialect == &dialect_openai_chat)
        members_write(&r->rest, &w);
    jw_end(&w, '}');
}

/* ---- errors ---- */

static str scalar_text(struct arena *a, const struct json *j, jref n)      /* codes come as numbers, too */
{
    if (json_is(j, n, JSON_STRING))
        return json_str(j, n, a);
    return json_is(j, n, JSON_NUMBER) ? json_raw(j, n) : S("");
}

/* FastAPI's {"detail": "..."} or {"detail": [{"loc": ["body", "n"], "msg": "..."}]}. */
static bool detail_read(struct arena *a, const struct json *j, jref detail, struct failure *out)
{
    if (json_is(j, detail, JSON_STRING)) {
        out->message = json_str(j, detail, a);
        return true;
    }
    if (!json_is(j, detail, JSON_ARRAY) || json_count(j, detail) == 0 || !json_is(j, detail + 1, JSON_OBJECT))
        return false;
    jref first = detail + 1, where = json_get(j, first, S("loc"));
    out->message = json_str(j, json_get(j, first, S("msg")), a);
    struct buf path = { 0 };
    if (json_is(j, where, JSON_ARRAY)) {
        JSON_EACH_ITEM(j, where, step) {
            str name = scalar_text(a, j, step);
            if (path.len == 0 && str_eq(name, S("body")))
                continue;
            buf_printf(&path, json_is(j, step, JSON_NUMBER) ? "[" STR_FMT "]" : path.len ? "." STR_FMT : STR_FMT, STR_ARG(name));
        }
    }
    out->param = buf_to_arena(&path, a);
    return out->message.len > 0;
}

/* The provider's own word first: a quota that is used up comes as 429 and is no reason to try again. */
static enum failure_kind kind_of(int status, const struct failure *f)
{
    static const struct { str code; enum failure_kind kind; } table[] = {
        { S("insufficient_quota"), FAILURE_BILLING }, { S("billing_hard_limit_reached"), FAILURE_BILLING },
        { S("invalid_api_key"), FAILURE_AUTH }, { S("model_not_found"), FAILURE_NOT_FOUND },
        { S("DeploymentNotFound"), FAILURE_NOT_FOUND }, { S("rate_limit_exceeded"), FAILURE_RATE_LIMIT },
        { S("rate_limit_error"), FAILURE_RATE_LIMIT }, { S("overloaded_error"), FAILURE_OVERLOADED },
        { S("server_error"), FAILURE_SERVER }, { S("invalid_request_error"), FAILURE_INVALID },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (str_eq(f->code, table[i].code) || (status >= 500 && str_eq(f->type, table[i].code)))
            return table[i].kind;
    return failure_kind_of_status(status);
}

/* Where nothing but the error's own words says what it is: in a stream. */
static int status_of(enum failure_kind kind)
{
    switch (kind) {
    case FAILURE_RATE_LIMIT:
    case FAILURE_BILLING:
        return 429;
    case FAILURE_OVERLOADED:
        return 503;
    case FAILURE_INVALID:
        return 400;
    case FAILURE_SERVER:
        return 500;
    default:
        return 502;
    }
}

bool openai_error_read(struct arena *a, const struct json *j, int status, struct failure *out)
{
    jref root = 0;
    *out = (struct failure){ .status = status };
    if (json_is(j, 0, JSON_ARRAY) && json_count(j, 0))      /* Google's shim wraps it */
        root = 1;
    if (!json_is(j, root, JSON_OBJECT))
        return false;
    jref error = json_get(j, root, S("error"));
    if (json_is(j, error, JSON_STRING)) {                   /* Ollama, TGI */
        out->message = json_str(j, error, a);
        out->type = json_str(j, json_get(j, root, S("error_type")), a);
    } else {
        jref from = json_is(j, error, JSON_OBJECT) ? error : root;
        out->message = json_str(j, json_get(j, from, S("message")), a);
        out->type = json_str(j, json_get(j, from, S("type")), a);
        out->code = scalar_text(a, j, json_get(j, from, S("code")));
        out->param = json_str(j, json_get(j, from, S("param")), a);
        jref inner = json_get(j, from, S("innererror"));    /* Azure: ResponsibleAIPolicyViolation */
        if (json_is(j, inner, JSON_OBJECT) && str_eq(out->code, S("")))
            out->code = json_str(j, json_get(j, inner, S("code")), a);
        if (!out->type.len)
            out->type = json_str(j, json_get(j, from, S("status")), a);     /* Google: INVALID_ARGUMENT */
        if (from == root && !out->message.len && !detail_read(a, j, json_get(j, root, S("detail")), out) &&
            !json_is(j, error, JSON_OBJECT))
            return false;
    }
    int64_t code;
    if (status == 502 && str_int(out->code, &code) && code >= 400 && code < 600)
        out->status = (int)code;                            /* in a stream: the code is all there is */
    out->request_id = json_str(j, json_get(j, root, S("request_id")), a);
    out->kind = kind_of(out->status, out);
    if (status == 502 && out->status == 502)
        out->status = status_of(out->kind);
    return true;
}

void openai_error_write(const struct failure *f, struct buf *out)
{
    static const char *const types[FAILURE_KIND_N] = {
        [FAILURE_INVALID] = "invalid_request_error", [FAILURE_AUTH] = "authentication_error",
        [FAILURE_BILLING] = "insufficient_quota", [FAILURE_PERMISSION] = "permission_error",
        [FAILURE_NOT_FOUND] = "invalid_request_error", [FAILURE_CONFLICT] = "conflict_error",
        [FAILURE_TOO_LARGE] = "invalid_request_error", [FAILURE_RATE_LIMIT] = "rate_limit_error",
        [FAILURE_SERVER] = "server_error", [FAILURE_UPSTREAM] = "upstream_error", [FAILURE_OVERLOADED] = "overloaded_error",
        [FAILURE_TIMEOUT] = "timeout_error",
    };
    struct json_writer w = { .out = out };
    jw_begin(&w, '{');
    put_open(&w, S("error"), '{');
    put_str(&w, S("message"), f->message.len ? f->message : S("the provider gave no reason"));
    put_str(&w, S("type"), f->type.len ? f->type : str_of(types[f->kind < FAILURE_KIND_N ? f->kind : FAILURE_SERVER]));
    put_or_null(&w, S("param"), f->param);
    put_or_null(&w, S("code"), f->code);
    jw_end(&w, '}');
    jw_end(&w, '}');
}

const struct dialect_ops dialect_openai_chat = {
    .name = "openai_chat",
    .label = "openai",
    .ends_without_word = true,          /* the reason is a word: compatible servers leave out [DONE] */
    .request_read = openai_chat_request_read,
    .request_write = openai_chat_request_write,
    .reply_read = openai_chat_reply_read,
    .reply_write = reply_write,
    .reader_new = openai_reader_new,
    .reader_event = openai_reader_event,
    .reader_free = openai_reader_free,
    .writer_new = openai_writer_new,
    .writer_delta = openai_writer_delta,
    .writer_free = openai_writer_free,
    .error_read = openai_error_read,
    .error_write = openai_error_write,
};
