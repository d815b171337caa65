/* plugin/request_params.c -- caps and strips request parameters. `max_tokens_limit` caps both spellings. */
#include "pipeline/body.h"
#include "plugin/conf.h"

static void cap(struct req *r, str key, int64_t limit)
{
    int64_t v;
    jref n = json_get(&r->json, 0, key);
    if (limit <= 0 || n == JSON_NONE || json_is(&r->json, n, JSON_NULL))
        return;
    if (!json_int(&r->json, n, &v))
        body_remove(r, key);                    /* not an integer: VSR removes it */
    else if (v > limit)
        body_set(r, key, arena_printf(r->a, "%lld", (long long)limit));
}

/* Top-level fields that `strip_unknown` leaves: spec 02, 3.6, and the newer spellings of two of them. */
static bool is_known(str key)
{
    static const str names[] = {
        { "model", 5 }, { "messages", 8 }, { "frequency_penalty", 17 }, { "logit_bias", 10 }, { "logprobs", 8 },
        { "max_tokens", 10 }, { "n", 1 }, { "presence_penalty", 16 }, { "response_format", 15 }, { "seed", 4 },
        { "stop", 4 }, { "stream", 6 }, { "temperature", 11 }, { "top_logprobs", 12 }, { "top_p", 5 },
        { "tools", 5 }, { "tool_choice", 11 }, { "user", 4 }, { "reasoning_effort", 16 },
    };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (str_eq(key, names[i]))
            return true;
    return false;
}

static int on_send(struct req *r, const void *conf)
{
    const struct request_params_conf *c = conf;
    const struct json *j = &r->json;
    cap(r, S("max_tokens"), c->max_tokens_limit);
    cap(r, S("max_completion_tokens"), c->max_tokens_limit);
    cap(r, S("n"), c->max_n);
    for (size_t i = 0; i < c->blocked_params.n; i++)
        body_remove(r, c->blocked_params.items[i]);
    if (c->strip_unknown) {
        JSON_EACH_PAIR(j, 0, k, v) {
            jref key = k;
            str name = json_str(j, key, r->a);
            if (!is_known(name))
                body_remove(r, name);
        }
    }
    return PLUGIN_PASS;
}

const struct plugin_ops plugin_request_params = {
    .type = "request_params", .fields = PLUGIN_FIELDS(request_params), .is_built = true,
    .on_send = on_send,
};
