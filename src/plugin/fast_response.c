/* plugin/fast_response.c -- answer at once, without a model: refusals, busy signs, canned help.
 *
 * The status is 200 as in VSR, unless `status_code` says otherwise: then it is an error object. */
#include <stdio.h>

#include "base/clock.h"
#include "pipeline/relay.h"
#include "plugin/conf.h"

static void chunk(struct req *r, struct buf *out, const char *delta_key, str text, const char *finish)
{
    struct buf json = { 0 };
    struct json_writer w = { .out = &json };
    jw_begin(&w, '{');
    jw_key(&w, S("id"));
    jw_str(&w, r->response_id);
    jw_key(&w, S("object"));
    jw_str(&w, S("chat.completion.chunk"));
    jw_key(&w, S("created"));
    jw_int(&w, (int64_t)(clock_wall() / NS_PER_S));
    jw_key(&w, S("model"));
    jw_str(&w, r->chat.model);
    jw_key(&w, S("choices"));
    jw_begin(&w, '[');
    jw_begin(&w, '{');
    jw_key(&w, S("index"));
    jw_int(&w, 0);
    jw_key(&w, S("delta"));
    jw_begin(&w, '{');
    if (delta_key) {
        if (strcmp(delta_key, "role") == 0) {
            jw_key(&w, S("role"));
            jw_str(&w, S("assistant"));
        }
        jw_key(&w, S("content"));
        jw_str(&w, text);
    }
    jw_end(&w, '}');
    jw_key(&w, S("finish_reason"));
    if (finish)
        jw_str(&w, str_of(finish));
    else
        jw_null(&w);
    jw_end(&w, '}');
    jw_end(&w, ']');
    jw_end(&w, '}');
    buf_str(out, S("data: "));
    buf_str(out, buf_view(&json));
    buf_str(out, S("\n\n"));
    buf_free(&json);
}

static WAITS int reply_stream(struct req *r, str message)
{
    struct buf events = { 0 };
    chunk(r, &events, "role", S(""), NULL);
    chunk(r, &events, "content", message, NULL);
    chunk(r, &events, NULL, S(""), "stop");
    buf_str(&events, S("data: [DONE]\n\n"));
    int rc = relay_own_stream(r, buf_view(&events));
    buf_free(&events);
    return rc;
}

static WAITS int reply_whole(struct req *r, str message)
{
    struct buf out = { 0 };
    struct json_writer w = { .out = &out };
    bool is_chat = r->endpoint == ENDPOINT_CHAT;
    jw_begin(&w, '{');
    jw_key(&w, S("id"));
    jw_str(&w, r->response_id);
    jw_key(&w, S("object"));
    jw_str(&w, is_chat ? S("chat.completion") : S("text_completion"));
    jw_key(&w, S("created"));
    jw_int(&w, (int64_t)(clock_wall() / NS_PER_S));
    jw_key(&w, S("model"));
    jw_str(&w, r->chat.model);
    jw_key(&w, S("choices"));
    jw_begin(&w, '[');
    jw_begin(&w, '{');
    jw_key(&w, S("index"));
    jw_int(&w, 0);
    if (is_chat) {
        jw_key(&w, S("message"));
        jw_begin(&w, '{');
        jw_key(&w, S("role"));
        jw_str(&w, S("assistant"));
        jw_key(&w, S("content"));
        jw_str(&w, message);
        jw_key(&w, S("refusal"));
        jw_null(&w);
        jw_end(&w, '}');
    } else {
        jw_key(&w, S("text"));
        jw_str(&w, message);
    }
    jw_key(&w, S("logprobs"));
    jw_null(&w);
    jw_key(&w, S("finish_reason"));
    jw_str(&w, S("stop"));
    jw_end(&w, '}');
    jw_end(&w, ']');
    jw_key(&w, S("usage"));
    jw_begin(&w, '{');
    jw_key(&w, S("prompt_tokens"));
    jw_int(&w, 0);
    jw_key(&w, S("completion_tokens"));
    jw_int(&w, 0);
    jw_key(&w, S("total_tokens"));
    jw_int(&w, 0);
    jw_end(&w, '}');
    jw_end(&w, '}');
    int rc = relay_own(r, 200, S("application/json"), buf_view(&out));
    buf_free(&out);
    return rc;
}

static WAITS int on_request(struct req *r, const void *conf)
{
    const struct fast_response_conf *c = conf;
    r->response_path = "fast_response";
    r->finish_reason = S("stop");
    if (r->endpoint == ENDPOINT_EMBEDDINGS || (c->status_code && c->status_code != 200)) {
        int status = c->status_code && c->status_code != 200 ? (int)c->status_code : 400;
        req_fail(r, status, "invalid_request_error", "content_filter", "fast_response", STR_FMT, STR_ARG(c->message));
        return -1;
    }
    r->response_id = arena_printf(r->a, "chatcmpl-" STR_FMT, STR_ARG(r->request_id));
    int rc = r->chat.is_streaming && r->endpoint == ENDPOINT_CHAT ? reply_stream(r, c->message) : reply_whole(r, c->message);
    if (rc < 0)
        r->is_client_gone = true;
    return PLUGIN_REPLY;
}

const struct plugin_ops plugin_fast_response = {
    .type = "fast_response", .fields = PLUGIN_FIELDS(fast_response), .is_built = true,
    .check = fast_response_check, .on_request = on_request,
};
