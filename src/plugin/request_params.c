/* plugin/request_params.c -- caps and strips request parameters. `max_tokens_limit` caps both spellings. */
#include <math.h>

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

/* ---- the same on the canonical form ---- */

/* A parameter by its name in OpenAI's or the client's own dialect. */
static void prompt_unset(struct prompt *p, str name)
{
    struct { const char *name; double *number; } numbers[] = {
        { "temperature", &p->temperature }, { "top_p", &p->top_p }, { "topP", &p->top_p },
        { "presence_penalty", &p->presence_penalty }, { "presencePenalty", &p->presence_penalty },
        { "frequency_penalty", &p->frequency_penalty }, { "frequencyPenalty", &p->frequency_penalty },
    };
    struct { const char *name; str *text; } texts[] = {
        { "user", &p->user }, { "metadata", &p->metadata }, { "service_tier", &p->service_tier }, { "verbosity", &p->verbosity },
        { "reasoning_effort", &p->reasoning_effort }, { "prompt_cache_key", &p->cache_key },
    };
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        if (str_eq(name, str_of(numbers[i].name)))
            *numbers[i].number = (double)NAN;
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        if (str_eq(name, str_of(texts[i].name)))
            *texts[i].text = S("");
    if (str_eq(name, S("top_k")) || str_eq(name, S("topK")))
        p->top_k = -1;
    if (str_eq(name, S("seed")))
        p->has_seed = false;
    if (str_eq(name, S("stop")) || str_eq(name, S("stop_sequences")) || str_eq(name, S("stopSequences")))
        p->n_stops = 0;
    if (str_eq(name, S("n")) || str_eq(name, S("candidateCount")))
        p->n_answers = 0;
    if (str_eq(name, S("max_tokens")) || str_eq(name, S("max_completion_tokens")) || str_eq(name, S("max_output_tokens"))
        || str_eq(name, S("maxOutputTokens")))
        p->max_tokens = 0;
    if (str_eq(name, S("logprobs")))
        p->logprobs = -1;
    if (str_eq(name, S("top_logprobs")))
        p->top_logprobs = -1;
    if (str_eq(name, S("tools")))
        p->n_tools = 0;
    if (str_eq(name, S("tool_choice")) || str_eq(name, S("tools")))
        p->choice = CHOICE_UNSET;
    if (str_eq(name, S("parallel_tool_calls")))
        p->parallel_tool_calls = -1;
    if (str_eq(name, S("response_format")))
        p->output = OUTPUT_UNSET;
    if (str_eq(name, S("reasoning")) || str_eq(name, S("thinking"))) {
        p->reasoning = REASONING_UNSET;
        p->reasoning_effort = S("");
        p->reasoning_budget = 0;
    }
    size_t kept = 0;
    for (size_t i = 0; i < p->rest.n; i++)
        if (!str_eq(p->rest.items[i].key, name))
            p->rest.items[kept++] = p->rest.items[i];
    p->rest.n = kept;
}

static void prompt_limit(struct req *r, const struct request_params_conf *c)
{
    struct prompt *p = r->prompt;
    if (c->max_tokens_limit > 0 && p->max_tokens > c->max_tokens_limit) {
        p->max_tokens = c->max_tokens_limit;
        r->is_prompt_changed = true;
    }
    if (c->max_n > 0 && p->n_answers > c->max_n) {
        p->n_answers = c->max_n;
        r->is_prompt_changed = true;
    }
    for (size_t i = 0; i < c->blocked_params.n; i++)
        prompt_unset(p, c->blocked_params.items[i]);
    r->is_prompt_changed |= c->blocked_params.n > 0;
    if (c->strip_unknown && p->rest.n) {
        p->rest.n = 0;
        r->is_prompt_changed = true;
    }
}

static int on_send(struct req *r, const void *conf)
{
    const struct request_params_conf *c = conf;
    if (req_is_foreign(r)) {
        prompt_limit(r, c);
        return PLUGIN_PASS;
    }
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
