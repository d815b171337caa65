/* plugin/fast_response.c -- answer at once, without a model: refusals, busy signs, canned help.
 *
 * The status is 200 as in VSR, unless `status_code` says otherwise: then it is an error object. */
#include "pipeline/relay.h"
#include "plugin/conf.h"

static WAITS int on_request(struct req *r, const void *conf)
{
    const struct fast_response_conf *c = conf;
    r->response_path = "fast_response";
    if (r->endpoint == ENDPOINT_EMBEDDINGS || (c->status_code && c->status_code != 200)) {
        int status = c->status_code && c->status_code != 200 ? (int)c->status_code : 400;
        req_fail(r, status, "invalid_request_error", "content_filter", "fast_response", STR_FMT, STR_ARG(c->message));
        return -1;
    }
    if (relay_own_answer(r, r->chat.model, c->message) < 0)
        r->is_client_gone = true;
    return PLUGIN_REPLY;
}

const struct plugin_ops plugin_fast_response = {
    .type = "fast_response", .fields = PLUGIN_FIELDS(fast_response), .is_built = true,
    .check = fast_response_check, .on_request = on_request,
};
