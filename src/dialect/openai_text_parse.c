/* dialect/openai_text_parse.c */
#include "dialect/openai_text_parse.h"

static int text_parse(struct arena *a, const struct json *j, str key, struct chat *out, struct err *e)
{
    *out = (struct chat){ 0 };
    if (!json_is(j, 0, JSON_OBJECT))
        return err_set(e, "expected an object, got %s", json_kind_name(json_kind(j, 0)));
    jref model = json_get(j, 0, S("model"));
    if (model == JSON_NONE)
        return err_set(e, "model: field is required");
    if (!json_is(j, model, JSON_STRING))
        return err_set(e, "model: expected a string, got %s", json_kind_name(json_kind(j, model)));
    out->model = json_str(j, model, a);
    out->is_streaming = json_bool(j, json_get(j, 0, S("stream")), false);
    out->user = json_str(j, json_get(j, 0, S("user")), a);
    int64_t reserve;
    if (json_int(j, json_get(j, 0, S("max_tokens")), &reserve) && reserve > 0)
        out->output_reserve = (uint64_t)reserve;

    jref input = json_get(j, 0, key);
    if (input == JSON_NONE)
        return err_set(e, STR_FMT ": field is required", STR_ARG(key));
    struct message *m = out->messages = ARENA_NEW(a, struct message);
    out->n_messages = 1;
    m->role = ROLE_USER;
    if (json_is(j, input, JSON_STRING)) {
        *PUSH(a, m->texts, m->n_texts) = json_str(j, input, a);
    } else if (json_is(j, input, JSON_ARRAY)) {
        JSON_EACH_ITEM(j, input, item) {
            if (json_is(j, item, JSON_STRING))
                *PUSH(a, m->texts, m->n_texts) = json_str(j, item, a);
            else                                /* token ids: nothing to read, but they count */
                m->structured_bytes += json_raw(j, item).len;
        }
    } else {
        return err_set(e, STR_FMT ": expected a string or an array, got %s", STR_ARG(key),
                       json_kind_name(json_kind(j, input)));
    }
    for (uint32_t i = 0; i < m->n_texts; i++)
        m->text_bytes += m->texts[i].len;
    return 0;
}

int openai_completions_parse(struct arena *a, const struct json *j, struct chat *out, struct err *e)
{
    return text_parse(a, j, S("prompt"), out, e);
}

int openai_embeddings_parse(struct arena *a, const struct json *j, struct chat *out, struct err *e)
{
    return text_parse(a, j, S("input"), out, e);
}
