/* cli/ask.c -- requests out of files and words.
 *
 * The seed is a hash of the body, so that whoever asks twice is answered the same. */
#include "cli/ask.h"

#include "base/hash.h"

#include "dialect/openai_chat_parse.h"
#include "dialect/openai_text_parse.h"

str ask_body_of_text(struct arena *a, str text)
{
    struct buf out = { 0 };
    buf_str(&out, S("{\"messages\":[{\"role\":\"user\",\"content\":"));
    json_quote(&out, text);
    buf_str(&out, S("}]}"));
    str body = arena_str(a, buf_view(&out));
    buf_free(&out);
    return body;
}

void ask_header(struct req *r, str name, str value)
{
    struct http_head *h = &r->head;
    struct header *all = ARENA_ARRAY(r->a, struct header, h->n_headers + 1);
    if (h->n_headers)
        memcpy(all, h->headers, h->n_headers * sizeof *all);
    all[h->n_headers++] = (struct header){ name, value };
    h->headers = all;
}

static int parse(struct req *r, struct err *e)
{
    const struct json *j = &r->json;
    if (json_get(j, 0, S("messages")) == JSON_NONE && json_get(j, 0, S("text")) != JSON_NONE) {
        str text = ask_body_of_text(r->a, json_str(j, json_get(j, 0, S("text")), r->a));
        str model = json_str(j, json_get(j, 0, S("model")), r->a);
        r->body = text;
        json_parse(r->a, text, &r->json, NULL);
        r->endpoint = ENDPOINT_CHAT;
        int rc = openai_chat_parse_partial(r->a, &r->json, SIZES_AS_SENT, &r->chat, e);
        r->chat.model = model;
        return rc;
    }
    bool is_prompt = json_get(j, 0, S("prompt")) != JSON_NONE,
         is_input = json_get(j, 0, S("input")) != JSON_NONE;
    if (json_get(j, 0, S("messages")) != JSON_NONE) {
        r->endpoint = ENDPOINT_CHAT;
        return openai_chat_parse_partial(r->a, j, SIZES_AS_SENT, &r->chat, e);
    }
    if (!is_prompt && !is_input)
        return err_set(e, "none of messages, prompt, input, text is there");
    struct json whole = *j;
    if (json_get(j, 0, S("model")) == JSON_NONE) { /* these two parsers insist on a model */
        struct json_edits edits = { .a = r->a };
        struct buf out = { 0 };
        json_edit_set(&edits, j, 0, S("model"), S("\"\""));
        json_edits_write(&edits, j, &out);
        json_parse(r->a, arena_str(r->a, buf_view(&out)), &whole, NULL);
        buf_free(&out);
    }
    r->endpoint = is_prompt ? ENDPOINT_COMPLETIONS : ENDPOINT_EMBEDDINGS;
    return is_prompt ? openai_completions_parse(r->a, &whole, &r->chat, e)
                     : openai_embeddings_parse(r->a, &whole, &r->chat, e);
}

struct req *ask_new(struct arena *a, struct snap *s, str body, struct err *e)
{
    struct req *r = ARENA_NEW(a, struct req);
    struct json_error je;
    r->a = a;
    r->snap = s;
    r->body = body;
    r->facts.seed = hash_stable(body, 0) | 1;       /* 0 would mean: draw one */
    if (json_parse(a, body, &r->json, &je) < 0) {
        err_set(e, "malformed JSON: %s at byte %zu", je.what, je.at);
        return NULL;
    }
    if (!json_is(&r->json, 0, JSON_OBJECT)) {
        err_set(e, "a request is a JSON object, not %s", json_kind_name(json_kind(&r->json, 0)));
        return NULL;
    }
    if (parse(r, e) < 0)
        return NULL;
    if (r->chat.model.len == 0 && s->virtuals.n)
        r->chat.model = s->virtuals.entries[0].key;
    return r;
}
