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

/* ---- the same on the canonical form ---- */

static void prompt_strip_history(struct prompt *p)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->n_turns; i++) {
        struct turn *t = &p->turns[i];
        uint32_t kept = 0;
        for (uint32_t k = 0; k < t->n; k++)
            if (t->blocks[k].kind != BLOCK_TOOL_CALL && t->blocks[k].kind != BLOCK_TOOL_RESULT)
                t->blocks[kept++] = t->blocks[k];
        bool was_only_tools = kept == 0 && t->n > 0;
        t->n = kept;
        if (!was_only_tools)
            p->turns[n++] = *t;
    }
    p->n_turns = n;
}

static void prompt_none(struct prompt *p, bool strips_history)
{
    p->n_tools = 0;
    p->choice = CHOICE_UNSET;
    p->n_chosen = 0;
    p->parallel_tool_calls = -1;
    if (strips_history)
        prompt_strip_history(p);
}

static bool is_kept(const struct tools_conf *c, str name)
{
    return (c->allow_tools.n == 0 || listed(&c->allow_tools, name)) && !listed(&c->block_tools, name);
}

static void prompt_filter(struct prompt *p, const struct tools_conf *c)
{
    uint32_t n = 0, chosen = 0;
    for (uint32_t i = 0; i < p->n_tools; i++)
        if (is_kept(c, p->tools[i].name.len ? p->tools[i].name : p->tools[i].raw_type))
            p->tools[n++] = p->tools[i];
    p->n_tools = n;
    for (uint32_t i = 0; i < p->n_chosen; i++)
        if (is_kept(c, p->chosen[i]))
            p->chosen[chosen++] = p->chosen[i];
    if (chosen < p->n_chosen && chosen == 0)
        p->choice = CHOICE_AUTO;                /* a choice of a tool that is gone would be refused upstream */
    p->n_chosen = chosen;
    if (n == 0)
        prompt_none(p, false);
}

static int on_send(struct req *r, const void *conf)
{
    const struct tools_conf *c = conf;
    if (!c->enabled || r->endpoint != ENDPOINT_CHAT)
        return PLUGIN_PASS;
    bool is_none = str_eq(c->mode, S("none")), is_filtered = str_eq(c->mode, S("filtered"));
    if (req_is_foreign(r)) {
        if (is_none)
            prompt_none(r->prompt, c->strip_tool_history);
        else if (is_filtered)
            prompt_filter(r->prompt, c);
        r->is_prompt_changed |= is_none || is_filtered;
        return PLUGIN_PASS;
    }
    if (is_none)
        none(r, c);
    else if (is_filtered)
        filter(r, c);
    return PLUGIN_PASS;
}

const struct plugin_ops plugin_tools = {
    .type = "tools", .fields = PLUGIN_FIELDS(tools), .is_built = true, .check = tools_check, .on_send = on_send,
};
