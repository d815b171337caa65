/* plugin/tools.c -- which of the client's tools the model may see: all, some by name, none. */
#include "pipeline/body.h"
#include "plugin/conf.h"

static bool listed(const struct strings *list, str name)
{
    for (size_t i = 0; i < list->n; i++)
        if (str_ieq(list->items[i], name))
            return true;
    return false;
}

static void strip_history(struct req *r)
{
    const struct json *j = &r->json;
    jref messages = json_get(j, 0, S("messages"));
    uint32_t i = 0;
    if (!json_is(j, messages, JSON_ARRAY))
        return;
    if (!r->out.gone_messages)
        r->out.gone_messages = ARENA_ARRAY(r->a, bool, r->chat.n_messages);
    JSON_EACH_ITEM(j, messages, m) {
        str role = json_str(j, json_get(j, m, S("role")), r->a);
        jref calls = json_get(j, m, S("tool_calls"));
        bool is_result = str_eq(role, S("tool")) || str_eq(role, S("function"));
        if (is_result || (calls != JSON_NONE && json_str_bytes(j, json_get(j, m, S("content"))) == 0))
            r->out.gone_messages[i] = true;
        else if (calls != JSON_NONE)
            json_edit_remove(&r->out.edits, j, m, S("tool_calls"));
        i++;
    }
}

static void none(struct req *r, const struct tools_conf *c)
{
    static const str keys[] = {
        { "tools", 5 }, { "tool_choice", 11 }, { "functions", 9 }, { "function_call", 13 }, { "parallel_tool_calls", 19 },
    };
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        if (json_get(&r->json, 0, keys[i]) != JSON_NONE)
            body_remove(r, keys[i]);
    if (c->strip_tool_history)
        strip_history(r);
}

static void filter(struct req *r, const struct tools_conf *c)
{
    const struct json *j = &r->json;
    jref tools = json_get(j, 0, S("tools"));
    if (!json_is(j, tools, JSON_ARRAY))
        return;
    bool *gone = ARENA_ARRAY(r->a, bool, json_count(j, tools));
    uint32_t n = 0, kept = 0;
    JSON_EACH_ITEM(j, tools, t) {
        jref function = json_get(j, t, S("function"));
        str name = json_str(j, json_get(j, function == JSON_NONE ? t : function, S("name")), r->a);
        gone[n] = (c->allow_tools.n && !listed(&c->allow_tools, name)) || listed(&c->block_tools, name);
        kept += !gone[n++];
    }
    if (kept == n)
        return;
    if (kept == 0) {
        none(r, &(struct tools_conf){ 0 });
        return;
    }
    struct json_edits e = { .a = r->a };
    struct json sub;
    struct buf out = { 0 };
    if (json_parse(r->a, json_raw(j, tools), &sub, NULL) == 0) {
        json_edit_array(&e, &sub, 0, gone, S(""));
        json_edits_write(&e, &sub, &out);
        body_set(r, S("tools"), buf_to_arena(&out, r->a));
    }
    buf_free(&out);
    jref choice = json_get(j, 0, S("tool_choice"));     /* a choice of a tool that is gone would be refused upstream */
    str forced = json_str(j, json_get(j, json_get(j, choice, S("function")), S("name")), r->a);
    if (forced.len && ((c->allow_tools.n && !listed(&c->allow_tools, forced)) || listed(&c->block_tools, forced)))
        body_set(r, S("tool_choice"), S("\"auto\""));
}

static int on_send(struct req *r, const void *conf)
{
    const struct tools_conf *c = conf;
    if (!c->enabled || r->endpoint != ENDPOINT_CHAT)
        return PLUGIN_PASS;
    if (str_eq(c->mode, S("none")))
        none(r, c);
    else if (str_eq(c->mode, S("filtered")))
        filter(r, c);
    return PLUGIN_PASS;
}

const struct plugin_ops plugin_tools = {
    .type = "tools", .fields = PLUGIN_FIELDS(tools), .is_built = true, .check = tools_check, .on_send = on_send,
};
