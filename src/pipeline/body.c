/* pipeline/body.c */
#include "pipeline/body.h"

static struct json_change *change_of(struct outgoing *o, struct arena *a, str key)
{
    for (size_t i = 0; i < o->n_changes; i++)
        if (str_eq(o->changes[i].key, key))
            return &o->changes[i];
    struct json_change *c = PUSH(a, o->changes, o->n_changes);
    c->key = key;
    return c;
}

static void change_set(struct outgoing *o, struct arena *a, str key, str raw)
{
    *change_of(o, a, key) = (struct json_change){ key, raw, false };
}

static void change_remove(struct outgoing *o, struct arena *a, str key)
{
    *change_of(o, a, key) = (struct json_change){ key, S(""), true };
}

void body_set(struct req *r, str key, str raw)
{
    change_set(&r->out, r->a, key, raw);
}

void body_set_text(struct req *r, str key, str text)
{
    body_set(r, key, json_quoted(r->a, text));
}

void body_remove(struct req *r, str key)
{
    change_remove(&r->out, r->a, key);
}

str body_get(const struct req *r, str key)
{
    for (size_t i = 0; i < r->out.n_changes; i++)
        if (str_eq(r->out.changes[i].key, key))
            return r->out.changes[i].removes ? (str){ 0 } : r->out.changes[i].raw;
    jref v = json_get(&r->json, 0, key);
    return v == JSON_NONE ? (str){ 0 } : json_raw(&r->json, v);
}

void body_ask_usage(struct req *r)
{
    jref options = json_get(&r->json, 0, S("stream_options"));
    if (json_is(&r->json, options, JSON_OBJECT)) {
        if (json_bool(&r->json, json_get(&r->json, options, S("include_usage")), false))
            return;
        struct json sub;                        /* the client's object with one member more */
        struct json_edits e = { .a = r->a };
        struct buf text = { 0 };
        if (json_parse(r->a, json_raw(&r->json, options), &sub, NULL) < 0)
            return;
        json_edit_set(&e, &sub, 0, S("include_usage"), S("true"));
        json_edits_write(&e, &sub, &text);
        body_set(r, S("stream_options"), buf_to_arena(&text, r->a));
        buf_free(&text);
    } else {
        body_set(r, S("stream_options"), S("{\"include_usage\":true}"));
    }
    r->out.adds_usage = true;
}

/* ---- reasoning mode: spec 02, 3.3 ---- */

static bool is_known_effort(str s)
{
    return str_eq(s, S("minimal")) || str_eq(s, S("low")) || str_eq(s, S("medium")) || str_eq(s, S("high"))
           || str_eq(s, S("none")) || str_eq(s, S("xhigh"));
}

/* chat_template_kwargs of the client, with one member more. */
static str template_kwargs(struct req *r, str key, str raw)
{
    struct json sub;
    struct json_edits e = { .a = r->a };
    struct buf text = { 0 };
    str have = body_get(r, S("chat_template_kwargs"));
    if (!have.ptr || json_parse(r->a, have, &sub, NULL) < 0 || !json_is(&sub, 0, JSON_OBJECT)) {
        have = S("{}");
        json_parse(r->a, have, &sub, NULL);
    }
    json_edit_set(&e, &sub, 0, key, raw);
    json_edits_write(&e, &sub, &text);
    return buf_to_arena(&text, r->a);
}

static void reasoning_changes(struct req *r, const struct backend *b, struct outgoing *o)
{
    const struct reasoning_family *family = b->model->family;
    if (!r->ref || !family || r->endpoint != ENDPOINT_CHAT)
        return;
    bool on = r->ref->use_reasoning;
    str asked = json_str(&r->json, json_get(&r->json, 0, S("reasoning_effort")), r->a);
    if (str_eq(family->type, S("chat_template_kwargs"))) {
        change_remove(o, r->a, S("reasoning_effort"));
        str raw = template_kwargs(r, family->parameter, on ? S("true") : S("false"));
        change_set(o, r->a, S("chat_template_kwargs"), raw);
        return;
    }
    str effort = r->ref->reasoning_effort.len ? r->ref->reasoning_effort
               : r->snap->config->default_reasoning_effort.len ? r->snap->config->default_reasoning_effort : S("medium");
    if (!on)
        effort = is_known_effort(asked) ? asked : S("low");
    bool nested = str_eq(family->type, S("reasoning_effort")) && b->provider == &provider_vllm;
    if (nested) {
        change_remove(o, r->a, S("reasoning_effort"));
        str raw = template_kwargs(r, S("reasoning_effort"), json_quoted(r->a, effort));
        change_set(o, r->a, S("chat_template_kwargs"), raw);
    } else {
        change_set(o, r->a, S("reasoning_effort"), json_quoted(r->a, effort));
    }
}

struct json_edits body_edits(struct req *r, const struct backend *b)
{
    struct outgoing o = { 0 };                  /* a copy: names and families differ from attempt to attempt */
    struct json_edits e = { .a = r->a };
    for (size_t i = 0; i < r->out.edits.n; i++)
        *PUSH(r->a, e.items, e.n) = r->out.edits.items[i];
    for (size_t i = 0; i < r->out.n_changes; i++)
        *PUSH(r->a, o.changes, o.n_changes) = r->out.changes[i];
    str name = r->ref && r->ref->lora_name.len ? r->ref->lora_name : b->upstream_model;
    if (!r->ref && !str_eq(r->chat.model, b->model->name) && !r->recipe)
        name = r->chat.model;                   /* a LoRA asked for by its own name */
    if (b->target.anthropic_version.len && b->dialect == r->dialect) {          /* Vertex: the model is in the URL */
        change_remove(&o, r->a, S("model"));
        change_set(&o, r->a, S("anthropic_version"), json_quoted(r->a, b->target.anthropic_version));
    } else if (!str_eq(name, r->chat.model) && !r->place.model.len)
        change_set(&o, r->a, S("model"), json_quoted(r->a, name));
    reasoning_changes(r, b, &o);
    jref messages = json_get(&r->json, 0, S("messages"));
    if (json_is(&r->json, messages, JSON_ARRAY) && (r->out.gone_messages || r->out.front_message.len))
        json_edit_array(&e, &r->json, messages, r->out.gone_messages, r->out.front_message);
    if (o.n_changes)
        json_edit_object(&e, &r->json, 0, o.changes, o.n_changes);
    return e;
}
