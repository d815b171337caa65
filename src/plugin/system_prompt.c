/* plugin/system_prompt.c -- the decision's system prompt instead of, or in front of, the client's.
 *
 * Only messages[0] with role system counts (spec 02, 3.4); without one a system message is put first. */
#include "pipeline/body.h"
#include "plugin/conf.h"

/* The text of a content: a string, or its text parts joined by one space. */
static str content_text(const struct json *j, jref content, struct arena *a)
{
    if (json_is(j, content, JSON_STRING))
        return json_str(j, content, a);
    struct buf b = { 0 };
    if (json_is(j, content, JSON_ARRAY)) {
        JSON_EACH_ITEM(j, content, part) {
            str text = json_str(j, json_get(j, part, S("text")), a);
            if (b.len && text.len)
                buf_char(&b, ' ');
            buf_str(&b, text);
        }
    }
    return buf_to_arena(&b, a);
}

/* The same on the canonical form: its instructions are blocks outside the turns. */
static void prompt_set(struct req *r, const struct system_prompt_conf *c)
{
    struct prompt *p = r->prompt;
    bool is_insert = str_eq(c->mode, S("insert"));
    uint32_t n = is_insert ? p->n_system + 1 : 1;
    struct block *blocks = ARENA_ARRAY(r->a, struct block, n);
    blocks[0] = (struct block){ .kind = BLOCK_TEXT, .text = c->system_prompt };
    if (is_insert && p->n_system)
        memcpy(blocks + 1, p->system, p->n_system * sizeof *blocks);
    p->system = blocks;
    p->n_system = n;
    r->is_prompt_changed = true;
}

static int on_send(struct req *r, const void *conf)
{
    const struct system_prompt_conf *c = conf;
    if (!c->enabled || c->system_prompt.len == 0 || r->endpoint != ENDPOINT_CHAT)
        return PLUGIN_PASS;
    if (req_is_foreign(r)) {
        prompt_set(r, c);
        r->injected_system_prompt = true;
        return PLUGIN_PASS;
    }
    const struct json *j = &r->json;
    jref messages = json_get(j, 0, S("messages"));
    if (!json_is(j, messages, JSON_ARRAY))
        return PLUGIN_PASS;
    jref first = json_count(j, messages) ? messages + 1 : JSON_NONE;
    bool is_system = first != JSON_NONE && str_eq(json_str(j, json_get(j, first, S("role")), r->a), S("system"));
    if (is_system) {
        str text = c->system_prompt;
        jref content = json_get(j, first, S("content"));
        if (str_eq(c->mode, S("insert"))) {
            str old = content_text(j, content, r->a);
            text = arena_printf(r->a, "%.*s\n\n%.*s", (int)text.len, text.ptr, (int)old.len, old.ptr);
        }
        json_edit_set(&r->out.edits, j, first, S("content"), json_quoted(r->a, text));
    } else {
        str q = json_quoted(r->a, c->system_prompt);
        r->out.front_message = arena_printf(r->a, "{\"role\":\"system\",\"content\":%.*s}", (int)q.len, q.ptr);
    }
    r->injected_system_prompt = true;
    return PLUGIN_PASS;
}

const struct plugin_ops plugin_system_prompt = {
    .type = "system_prompt", .fields = PLUGIN_FIELDS(system_prompt), .is_built = true,
    .check = system_prompt_check, .on_send = on_send,
};
