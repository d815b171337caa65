/* pipeline/session.c */
#include "pipeline/session.h"

static str from_headers(const struct req *r)
{
    static const str names[] = {
        { "x-session-id", 12 }, { "x-claude-code-session-id", 24 }, { "session-id", 10 }, { "session_id", 10 },
        { "x-conversation-id", 17 },
    };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        str s = str_trim(http_get(&r->head, names[i]));
        if (s.len)
            return s;
    }
    return S("");
}

/* Anthropic's agents put a JSON object, or user_HASH_account_ID_session_ID, into metadata.user_id. */
static str from_user_id(struct req *r, str user)
{
    static const str mark = { "_session_", 9 };
    struct json j;
    long at = str_find(user, mark);
    if (at >= 0)
        return str_from(user, (size_t)at + mark.len);
    if (user.len && user.ptr[0] == '{' && json_parse(r->a, user, &j, NULL) == 0 && json_is(&j, 0, JSON_OBJECT))
        return json_str(&j, json_get(&j, 0, S("session_id")), r->a);
    return S("");
}

static str from_body(struct req *r)
{
    static const char *const paths[] = { "prompt_cache_key", "conversation", "conversation.id", "previous_response_id" };
    if (r->json.n == 0 || !json_is(&r->json, 0, JSON_OBJECT))
        return S("");
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        str s = json_str(&r->json, json_path(&r->json, paths[i]), r->a);
        if (s.len)
            return s;
    }
    return from_user_id(r, json_str(&r->json, json_path(&r->json, "metadata.user_id"), r->a));
}

str session_id(struct req *r)
{
    if (!r->has_session_id) {
        str s = from_headers(r);
        r->session_id = str_upto(s.len ? s : from_body(r), SESSION_ID_MAX);
        r->has_session_id = r->json.n > 0;      /* before the body is there it may still turn up */
    }
    return r->session_id;
}
