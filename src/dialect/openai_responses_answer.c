/* dialect/openai_responses_answer.c -- canonical answers and errors as the Responses API spells them.
 *
 * An answer repeats the request's parameters (the "echo"), which is made once and pasted into every event that carries the whole
 * response. Items and parts are written from plain structs, so the stream's writer says them in the same words. */
#include "dialect/openai_responses.h"

#include <stdio.h>

#include "base/hash.h"
#include "base/put.h"
#include "dialect/anthropic_parts.h"

str responses_id(char out[RESPONSES_ID_MAX], const char *prefix, const struct answer_context *c, uint32_t at)
{
    str request_id = c->response_id.len ? c->response_id : c->request_id;   /* the former is random, the latter the client's */
    int n = snprintf(out, RESPONSES_ID_MAX, "%s%016llx%016llx", prefix, (unsigned long long)hash_stable(request_id, at),
                     (unsigned long long)hash_stable(request_id, hash_mix(at + 1)));
    return (str){ out, (size_t)n };
}

str responses_response_id(const struct answer_context *c, str given, char out[RESPONSES_ID_MAX])
{
    return c->response_id.len ? c->response_id : str_starts(given, S("resp_")) ? given : responses_id(out, "resp_", c, ~0u);
}

const char *responses_incomplete(enum stop_reason stop, bool has_refusal)
{
    if (stop == STOP_LENGTH || stop == STOP_CONTEXT)
        return "max_output_tokens";
    return stop == STOP_FILTER || (stop == STOP_REFUSAL && !has_refusal) ? "content_filter" : NULL;
}

static void usage_write(const struct usage *u, struct json_writer *w)
{
    jw_begin(w, '{');
    put_int(w, S("input_tokens"), u->prompt_tokens);
    put_open(w, S("input_tokens_details"), '{');
    put_int(w, S("cached_tokens"), u->cached_tokens);
    put_int(w, S("cache_write_tokens"), u->cache_write_tokens);
    jw_end(w, '}');
    put_int(w, S("output_tokens"), u->completion_tokens);
    put_open(w, S("output_tokens_details"), '{');
    put_int(w, S("reasoning_tokens"), u->reasoning_tokens);
    jw_end(w, '}');
    put_int(w, S("total_tokens"), u->prompt_tokens + u->completion_tokens);
    jw_end(w, '}');
}

/* The API's own words for why a response failed; those that agents act on are in no schema. Another provider's code is not one
 * of them: its kind decides, and its message is kept. */
static str failure_code(const struct failure *f)
{
    static const char *const codes[FAILURE_KIND_N] = {
        [FAILURE_INVALID] = "invalid_prompt", [FAILURE_RATE_LIMIT] = "rate_limit_exceeded",
        [FAILURE_BILLING] = "insufficient_quota",
    };
    static const char *const words[] = {
        "server_error", "rate_limit_exceeded", "invalid_prompt", "bio_policy", "vector_store_timeout", "invalid_image",
        "invalid_image_format", "invalid_base64_image", "invalid_image_url", "image_too_large", "image_too_small",
        "image_parse_error", "image_content_policy_violation", "invalid_image_mode", "image_file_too_large",
        "unsupported_image_media_type", "empty_image_file", "failed_to_download_image", "image_file_not_found",
        "context_length_exceeded", "insufficient_quota", "usage_not_included", "server_is_overloaded", "slow_down",
    };
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (str_eq(f->code, str_of(words[i])))
            return f->code;
    return str_of(codes[f->kind] ? codes[f->kind] : "server_error");
}

void responses_object_write(const struct responses_state *s, str echo, struct json_writer *w)
{
    jw_begin(w, '{');
    put_str(w, S("id"), s->id);
    put_str(w, S("object"), S("response"));
    put_int(w, S("created_at"), s->created);
    put_str(w, S("status"), str_of(s->status));
    jw_key(w, S("error"));
    if (s->failure) {
        jw_begin(w, '{');
        put_str(w, S("code"), failure_code(s->failure));
        put_str(w, S("message"), s->failure->message);
        jw_end(w, '}');
    } else {
        jw_null(w);
    }
    jw_key(w, S("incomplete_details"));
    if (s->incomplete_reason) {
        jw_begin(w, '{');
        put_str(w, S("reason"), str_of(s->incomplete_reason));
        jw_end(w, '}');
    } else {
        jw_null(w);
    }
    put_str(w, S("model"), s->model);
    put_open(w, S("output"), '[');
    if (s->output.len)
        jw_raw(w, s->output);
    jw_end(w, ']');
    jw_key(w, S("usage"));
    if (s->usage)
        usage_write(s->usage, w);
    else
        jw_null(w);
    if (s->service_tier.len)
        put_str(w, S("service_tier"), s->service_tier);
    if (echo.len)
        jw_raw(w, echo);
    jw_end(w, '}');
}

/* ---- the echo ---- */

/* What the provider says about itself wins over the request; what the client said to us does not leave its hands. */
enum echo_source { ECHO_PROVIDER, ECHO_CLIENT };

static const struct { str key; enum echo_source from; str otherwise; } echoes[] = {
    { S("background"), ECHO_CLIENT, S("false") }, { S("conversation"), ECHO_CLIENT, S("") },
    { S("instructions"), ECHO_CLIENT, S("null") },
    { S("max_output_tokens"), ECHO_PROVIDER, S("null") }, { S("max_tool_calls"), ECHO_PROVIDER, S("null") },
    { S("metadata"), ECHO_CLIENT, S("{}") }, { S("parallel_tool_calls"), ECHO_PROVIDER, S("true") },
    { S("previous_response_id"), ECHO_CLIENT, S("null") }, { S("prompt_cache_key"), ECHO_CLIENT, S("null") },
    { S("reasoning"), ECHO_PROVIDER, S("{\"effort\":null,\"summary\":null}") },
    { S("safety_identifier"), ECHO_CLIENT, S("null") },
    { S("store"), ECHO_CLIENT, S("true") }, { S("temperature"), ECHO_PROVIDER, S("null") },
    { S("text"), ECHO_PROVIDER, S("{\"format\":{\"type\":\"text\"}}") }, { S("tool_choice"), ECHO_CLIENT, S("\"auto\"") },
    { S("tools"), ECHO_CLIENT, S("[]") }, { S("top_logprobs"), ECHO_PROVIDER, S("0") }, { S("top_p"), ECHO_PROVIDER, S("null") },
    { S("truncation"), ECHO_PROVIDER, S("\"disabled\"") }, { S("user"), ECHO_CLIENT, S("null") },
};

/* `conversation` may be asked for by its id alone; it is told as an object. */
static str echo_value(const struct answer_context *c, str key, str raw)
{
    if (!str_eq(key, S("conversation")) || raw.ptr[0] != '"')
        return json_compact(c->a, raw);
    struct buf b = { 0 };
    struct json_writer w = { .out = &b };
    jw_begin(&w, '{');
    put_raw(&w, S("id"), raw);
    jw_end(&w, '}');
    return buf_to_arena(&b, c->a);
}

void responses_echo_write(const struct answer_context *c, const struct reply *r, struct buf *out)
{
    struct buf text = { 0 };
    struct json_writer w = { .out = &text };
    struct json told;
    if (c->prompt)
        responses_told_write(c, &w);
    bool has_told = c->prompt && json_parse(c->a, buf_view(&text), &told, NULL) == 0;
    const struct members *provider = r && responses_is_own(r->dialect) ? &r->rest : NULL;
    w = (struct json_writer){ .out = out };
    for (size_t i = 0; i < COUNT_OF(echoes); i++) {
        str key = echoes[i].key;
        const struct member *m = provider ? rest_find(provider, key) : NULL;
        jref said = has_told ? json_get(&told, 0, key) : JSON_NONE;
        str raw = m && (echoes[i].from == ECHO_PROVIDER || !c->prompt) ? m->raw
                : said != JSON_NONE ? json_raw(&told, said) : echoes[i].otherwise;
        if (raw.len)
            put_raw(&w, key, echo_value(c, key, raw));
    }
    for (size_t i = 0; provider && i < provider->n; i++) {
        bool is_known = false;
        for (size_t k = 0; k < COUNT_OF(echoes); k++)
            is_known |= str_eq(provider->items[i].key, echoes[k].key);
        if (!is_known)
            put_raw(&w, provider->items[i].key, json_compact(c->a, provider->items[i].raw));
    }
    buf_free(&text);
}

/* ---- items ---- */

str responses_unwrap(struct arena *a, str arguments)
{
    struct json j;
    if (json_parse(a, arguments, &j, NULL) < 0 || !json_is(&j, 0, JSON_OBJECT))
        return arguments;
    jref input = json_get(&j, 0, S("input"));
    return json_is(&j, input, JSON_STRING) ? json_str(&j, input, a) : arguments;
}

static void call_item(const struct responses_item *i, struct json_writer *w)
{
    put_str(w, S("type"), i->call.is_custom ? S("custom_tool_call") : S("function_call"));
    put_str(w, S("id"), i->id);
    put_str(w, S("call_id"), i->call_id);
    put_str(w, S("name"), i->call.name);
    put_text(w, S("namespace"), i->call.space);
    put_str(w, i->call.is_custom ? S("input") : S("arguments"), i->text);
    put_str(w, S("status"), str_of(i->status));
}

static void reasoning_item(const struct responses_item *i, struct json_writer *w)
{
    put_str(w, S("type"), S("reasoning"));
    put_str(w, S("id"), i->id);
    if (i->block->summary.len) {
        put_raw(w, S("summary"), i->block->summary);
    } else {
        put_open(w, S("summary"), '[');
        if (i->text.len) {
            jw_begin(w, '{');
            put_str(w, S("type"), S("summary_text"));
            put_str(w, S("text"), i->text);
            jw_end(w, '}');
        }
        jw_end(w, ']');
    }
    put_text(w, S("encrypted_content"), i->signature);
}

void responses_item_write(const struct responses_item *i, struct json_writer *w)
{
    if (i->block->kind == BLOCK_OTHER) {
        jw_raw(w, i->block->raw);
        return;
    }
    jw_begin(w, '{');
    if (i->block->kind == BLOCK_TOOL_CALL) {
        call_item(i, w);
    } else if (i->block->kind == BLOCK_IMAGE) {
        put_str(w, S("type"), S("image_generation_call"));
        put_str(w, S("id"), i->id);
        put_str(w, S("status"), str_of(i->status));
        put_str(w, S("result"), i->block->media.data);
    } else {
        reasoning_item(i, w);
    }
    if (i->rest)
        responses_rest_except(i->rest, S("status"), S("namespace"), w);
    jw_end(w, '}');
}

void responses_part_write(const struct responses_part *p, struct json_writer *w)
{
    jw_begin(w, '{');
    if (p->kind == BLOCK_REFUSAL) {
        put_str(w, S("type"), S("refusal"));
        put_str(w, S("refusal"), p->text);
    } else {
        put_str(w, S("type"), S("output_text"));
        put_str(w, S("text"), p->text);
        put_open(w, S("annotations"), '[');
        if (p->annotations.len)
            jw_raw(w, p->annotations);
        jw_end(w, ']');
        put_open(w, S("logprobs"), '[');
        if (p->logprobs.len)
            jw_raw(w, p->logprobs);
        jw_end(w, ']');
    }
    for (size_t i = 0; p->rest && i < p->rest->n; i++)
        if (!str_starts(p->rest->items[i].key, S("message.")))
            put_raw(w, p->rest->items[i].key, p->rest->items[i].raw);
    jw_end(w, '}');
}

/* Chat nests the citation, Anthropic has no places in the text: the whole of it is cited. */
bool responses_citation_write(struct arena *a, str raw, int64_t text_bytes, struct json_writer *w)
{
    struct json j;
    if (json_parse(a, raw, &j, NULL) < 0 || !json_is(&j, 0, JSON_OBJECT))
        return false;
    jref nested = json_get(&j, 0, S("url_citation")), url = json_get(&j, 0, S("url"));
    str type = json_str(&j, json_get(&j, 0, S("type")), a);
    if (json_is(&j, nested, JSON_OBJECT)) {
        jw_begin(w, '{');
        put_str(w, S("type"), S("url_citation"));
        JSON_EACH_PAIR(&j, nested, key, value)
            put_raw(w, json_str(&j, key, a), json_raw(&j, value));
        jw_end(w, '}');
        return true;
    }
    if (str_eq(type, S("url_citation")) || str_eq(type, S("file_citation")) || str_eq(type, S("container_file_citation")) ||
        str_eq(type, S("file_path"))) {
        jw_raw(w, json_compact(a, raw));
        return true;
    }
    if (!json_is(&j, url, JSON_STRING))
        return false;
    jw_begin(w, '{');
    put_str(w, S("type"), S("url_citation"));
    put_int(w, S("start_index"), 0);
    put_int(w, S("end_index"), text_bytes);
    put_raw(w, S("url"), json_raw(&j, url));
    put_str(w, S("title"), json_str(&j, json_get(&j, 0, S("title")), a));
    jw_end(w, '}');
    return true;
}

/* A JSON array of citations as this dialect's, without the brackets. */
static str citations_of(struct arena *a, const struct block *b)
{
    struct buf out = { 0 };
    struct json_writer w = { .out = &out };
    struct json j;
    if (b->citations.len && json_parse(a, b->citations, &j, NULL) == 0 && json_is(&j, 0, JSON_ARRAY))
        JSON_EACH_ITEM(&j, 0, item)
            responses_citation_write(a, json_raw(&j, item), (int64_t)b->text.len, &w);
    return buf_to_arena(&out, a);
}

str responses_inside(str array)
{
    array = str_trim(array);
    return array.len >= 2 ? str_trim(str_from(str_upto(array, array.len - 1), 1)) : S("");
}

str responses_sealed(struct arena *a, const struct block *b, const struct dialect_ops *from)
{
    str data = b->kind == BLOCK_SEALED_REASONING ? b->sealed : b->signature;
    str origin = b->origin.len ? b->origin : str_of(from ? from->name : "");
    if (!data.len || !origin.len || str_eq(origin, str_of(dialect_openai_responses.name)))
        return data;
    return anthropic_wrap(a, origin,
                          b->kind == BLOCK_SEALED_REASONING ? "sealed" : b->kind == BLOCK_REASONING ? "thought" : "last", data);
}

bool responses_shows(const struct block *b)
{
    switch (b->kind) {
    case BLOCK_AUDIO: case BLOCK_FILE: case BLOCK_TOOL_RESULT: case BLOCK_KIND_N: return false;
    case BLOCK_IMAGE: return b->media.data.len > 0;
    case BLOCK_OTHER: return responses_is_item_type(b->raw_type);
    default: return true;
    }
}

/* ---- a whole answer ---- */

struct output {
    const struct reply *r;
    const struct answer_context *c;
    struct json_writer *w;
    uint32_t at;                        /* output_index of the next item */
    char id[RESPONSES_ID_MAX];
};

static str item_id(struct output *o, const struct block *b, const char *prefix)
{
    return b && b->item_id.len ? b->item_id : responses_id(o->id, prefix, o->c, o->at);
}

/* Signatures of a call or text of another family follow it as a reasoning item that clients give back. */
static void envelope_item(struct output *o, const struct block *b)
{
    static const struct block empty = { .kind = BLOCK_REASONING };
    str sealed = b->signature.len ? responses_sealed(o->c->a, b, o->r->dialect) : S("");
    if (!sealed.len || str_eq(sealed, b->signature))
        return;
    responses_item_write(&(struct responses_item){ .block = &empty, .id = item_id(o, NULL, "rs_"), .signature = sealed,
                                                   .status = "completed" }, o->w);
    o->at++;
}

static uint32_t message_item(struct output *o, uint32_t from, const char *last_status)
{
    const struct reply *r = o->r;
    uint32_t end = from;
    while (end < r->n && (r->blocks[end].kind == BLOCK_TEXT || r->blocks[end].kind == BLOCK_REFUSAL) &&
           (end == from || str_eq(r->blocks[end].item_id, r->blocks[from].item_id)))
        end++;
    jw_begin(o->w, '{');
    put_str(o->w, S("type"), S("message"));
    put_str(o->w, S("id"), item_id(o, &r->blocks[from], "msg_"));
    put_str(o->w, S("role"), S("assistant"));
    put_str(o->w, S("status"), str_of(end == r->n ? last_status : "completed"));
    put_open(o->w, S("content"), '[');
    bool has_logprobs = false;
    for (uint32_t i = from; i < end; i++) {
        const struct block *b = &r->blocks[i];
        struct responses_part part = { .kind = b->kind, .text = b->text, .annotations = citations_of(o->c->a, b),
                                       .rest = responses_is_own(r->dialect) ? &b->rest : NULL };
        bool is_first = true;
        for (uint32_t k = 0; k < i; k++)
            is_first &= r->blocks[k].kind != BLOCK_TEXT;
        if (b->kind == BLOCK_TEXT && is_first && !has_logprobs) {
            part.logprobs = responses_inside(r->logprobs);
            has_logprobs = true;
        }
        responses_part_write(&part, o->w);
    }
    jw_end(o->w, ']');
    for (size_t i = 0; responses_is_own(r->dialect) && i < r->blocks[from].rest.n; i++) {
        const struct member *m = &r->blocks[from].rest.items[i];
        if (str_starts(m->key, S("message.")))
            put_raw(o->w, str_from(m->key, sizeof "message." - 1), m->raw);
    }
    jw_end(o->w, '}');
    o->at++;
    for (uint32_t i = from; i < end; i++)
        envelope_item(o, &r->blocks[i]);
    return end;
}

static void block_item(struct output *o, const struct block *b, const char *status)
{
    struct arena *a = o->c->a;
    struct responses_item item = { .block = b, .status = status, .rest = responses_is_own(o->r->dialect) ? &b->rest : NULL,
                                   .text = b->text };
    const char *prefix = "rs_";
    if (b->kind == BLOCK_TOOL_CALL) {
        item.call = responses_call_of(o->c, b, a);
        item.call_id = responses_call_id(o->c, b, o->at);
        item.text = item.call.is_custom && !b->is_custom ? responses_unwrap(a, b->arguments)
                  : b->arguments.len || b->is_custom ? b->arguments : S("{}");
        prefix = item.call.is_custom ? "ctc_" : "fc_";
    } else if (b->kind == BLOCK_IMAGE) {
        prefix = "ig_";
    } else {
        item.signature = responses_sealed(a, b, o->r->dialect);
    }
    item.id = item_id(o, b, prefix);
    responses_item_write(&item, o->w);
    o->at++;
    if (b->kind == BLOCK_TOOL_CALL)
        envelope_item(o, b);
}

str responses_call_id(const struct answer_context *c, const struct block *b, uint32_t at)
{
    if (!b->call_id.len) {
        char *id = arena_alloc(c->a, RESPONSES_ID_MAX);
        return responses_id(id, "call_", c, at);
    }
    return c->translation ? translation_name_back(c->translation, b->call_id) : b->call_id;
}

str responses_output_items(const struct reply *r, const struct answer_context *c)
{
    struct buf out = { 0 };
    struct json_writer w = { .out = &out };
    struct output o = { .r = r, .c = c, .w = &w };
    const char *last_status = responses_incomplete(r->stop, true) ? "incomplete" : "completed";
    for (uint32_t i = 0; i < r->n; ) {
        const struct block *b = &r->blocks[i];
        if (b->kind == BLOCK_TEXT || b->kind == BLOCK_REFUSAL) {
            i = message_item(&o, i, last_status);
            continue;
        }
        if (responses_shows(b))
            block_item(&o, b, i + 1 == r->n ? last_status : "completed");
        i++;
    }
    return buf_to_arena(&out, c->a);
}

void responses_reply_write(const struct reply *r, const struct answer_context *c, struct buf *out)
{
    char id[RESPONSES_ID_MAX];
    bool has_refusal = false;
    for (uint32_t i = 0; i < r->n; i++)
        has_refusal |= r->blocks[i].kind == BLOCK_REFUSAL;
    const char *reason = responses_incomplete(r->stop, has_refusal);
    struct failure malformed = { .kind = FAILURE_SERVER, .message = S("the model's answer could not be read by its provider") };
    bool is_failed = r->stop == STOP_MALFORMED;
    const struct usage *u = &r->usage;
    struct responses_state s = {
        .id = responses_response_id(c, r->id, id),
        .model = r->model.len ? r->model : c->model, .created = r->created ? r->created : c->now,
        .service_tier = responses_is_own(r->dialect) ? r->service_tier : openai_service_tier(r->service_tier),
        .status = is_failed ? "failed" : reason ? "incomplete" : "completed", .incomplete_reason = is_failed ? NULL : reason,
        .failure = is_failed ? &malformed : NULL, .output = responses_output_items(r, c),
        .usage = u->is_known || u->prompt_tokens || u->completion_tokens ? u : NULL,
    };
    struct buf echo = { 0 };
    struct json_writer w = { .out = out };
    responses_echo_write(c, r, &echo);
    responses_object_write(&s, buf_view(&echo), &w);
    buf_free(&echo);
}

/* ---- counts and errors ---- */

/* {"object":"response.input_tokens","input_tokens":14} */
void responses_count_write(int64_t tokens, struct buf *out)
{
    struct json_writer w = { .out = out };
    jw_begin(&w, '{');
    put_str(&w, S("object"), S("response.input_tokens"));
    put_int(&w, S("input_tokens"), tokens);
    jw_end(&w, '}');
}

void responses_error_write(const struct failure *f, struct buf *out)
{
    static const struct { const char *type, *code; } words[FAILURE_KIND_N] = {
        [FAILURE_INVALID] = { "invalid_request_error", NULL }, [FAILURE_AUTH] = { "invalid_request_error", "invalid_api_key" },
        [FAILURE_BILLING] = { "insufficient_quota", "insufficient_quota" }, [FAILURE_PERMISSION] = { "permission_error", NULL },
        [FAILURE_NOT_FOUND] = { "invalid_request_error", NULL }, [FAILURE_CONFLICT] = { "invalid_request_error", NULL },
        [FAILURE_TOO_LARGE] = { "invalid_request_error", "request_too_large" },
        [FAILURE_RATE_LIMIT] = { "rate_limit_error", "rate_limit_exceeded" }, [FAILURE_SERVER] = { "server_error", NULL },
        [FAILURE_UPSTREAM] = { "server_error", NULL }, [FAILURE_OVERLOADED] = { "overloaded_error", NULL },
        [FAILURE_TIMEOUT] = { "timeout_error", NULL },
    };
    struct json_writer w = { .out = out };
    bool keeps_type = str_ends(f->type, S("_error")) || str_eq(f->type, S("insufficient_quota"));
    str code = f->code.len ? f->code : str_of(words[f->kind].code);
    jw_begin(&w, '{');
    put_open(&w, S("error"), '{');
    put_str(&w, S("message"), f->message);
    put_str(&w, S("type"), keeps_type ? f->type : str_of(words[f->kind].type));
    put_or_null(&w, S("param"), f->param);
    put_or_null(&w, S("code"), code);
    jw_end(&w, '}');
    jw_end(&w, '}');
}
