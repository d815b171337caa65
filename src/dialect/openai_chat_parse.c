/* dialect/openai_chat_parse.c -- reads what policy may look at, skips the rest.
 *
 * Every object is walked once: a table names the members we know, `members` puts the node of
 * each into an array (the last of duplicates wins, as in every common parser), and the code
 * below then reads them by index. A subtree nobody asks for, such as a tool's schema, costs one
 * step: its size is in its node. */
#include "dialect/openai_chat_parse.h"

#include <stdarg.h>
#include <stdio.h>

struct reader {
    struct arena *a;
    const struct json *j;
    enum size_rule rule;
    struct chat *chat;
    struct err *e;
    uint32_t n_parts;
};

/* ---- members of an object ---- */

/* Nodes of the named members, JSON_NONE where absent or null. */
static void members(const struct json *j, jref object, const str *names, size_t n, jref *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = JSON_NONE;
    JSON_EACH_PAIR(j, object, key, value) {
        const struct json_node *k = &j->nodes[key];
        for (size_t i = 0; i < n; i++) {
            bool is_it = k->has_escape
                             ? json_key_is(j, key, names[i])
                             : k->len == names[i].len + 2 &&
                                   memcmp(j->text.ptr + k->at + 1, names[i].ptr, names[i].len) == 0;
            if (!is_it)
                continue;
            out[i] = json_kind(j, value) == JSON_NULL ? JSON_NONE : value;
            break;
        }
    }
}

/* The sentence for a value of the wrong type. JSON_NONE: it is missing. */
static int __attribute__((format(printf, 4, 5)))
wrong(struct reader *r, jref n, const char *expected, const char *path, ...)
{
    char at[160];
    va_list args;
    va_start(args, path);
    vsnprintf(at, sizeof at, path, args);
    va_end(args);
    if (n == JSON_NONE)
        return err_set(r->e, "%s: expected %s, but it is missing", at, expected);
    return err_set(r->e, "%s: expected %s, got %s", at, expected,
                   json_kind_name(json_kind(r->j, n)));
}

static bool is_kind_or_absent(struct reader *r, jref n, enum json_kind kind)
{
    return n == JSON_NONE || json_kind(r->j, n) == kind;
}

/* ---- sizes ---- */

static uint64_t size_as_go_marshals(str raw)
{
    uint64_t size = 0;
    bool in_string = false;
    for (size_t i = 0; i < raw.len; i++) {
        unsigned char c = (unsigned char)raw.ptr[i];
        if (!in_string) {
            in_string = c == '"';
            size += c != ' ' && c != '\t' && c != '\n' && c != '\r';
        } else if (c == '\\') {
            size += 2;                          /* valid JSON: something follows */
            i++;
        } else if (c == '<' || c == '>' || c == '&') {
            size += 6;
        } else if (c == 0xe2 && raw.len - i > 2 && (unsigned char)raw.ptr[i + 1] == 0x80 &&
                   ((unsigned char)raw.ptr[i + 2] & 0xfe) == 0xa8) {
            size += 6;                          /* U+2028, U+2029 */
            i += 2;
        } else {
            in_string = c != '"';
            size++;
        }
    }
    return size;
}

uint64_t json_size(str raw, enum size_rule rule)
{
    return rule == SIZES_AS_SENT ? raw.len : size_as_go_marshals(raw);
}

static uint64_t size_of(const struct reader *r, jref n)
{
    return n == JSON_NONE ? 0 : json_size(json_raw(r->j, n), r->rule);
}

/* ---- content ---- */

static void text_add(struct reader *r, struct message *m, jref n)
{
    str text = m->is_spelled ? json_raw(r->j, n) : json_str(r->j, n, r->a);
    m->texts[m->n_texts++] = text;
    m->text_bytes += text.len;
}

static int content_part(struct reader *r, struct message *m, uint32_t i, jref part, uint32_t at)
{
    enum { TYPE, TEXT, IMAGE, REFUSAL, N };
    static const str names[N] = {
        [TYPE] = S("type"), [TEXT] = S("text"), [IMAGE] = S("image_url"),
        [REFUSAL] = S("refusal"),
    };
    if (json_kind(r->j, part) != JSON_OBJECT)
        return wrong(r, part, "an object", "messages[%u].content[%u]", i, at);
    jref v[N];
    members(r->j, part, names, N, v);
    if (!json_is(r->j, v[TYPE], JSON_STRING))
        return wrong(r, v[TYPE], "a string", "messages[%u].content[%u].type", i, at);
    str type = json_str(r->j, v[TYPE], r->a);
    if (str_eq(type, S("text"))) {
        if (!json_is(r->j, v[TEXT], JSON_STRING))
            return wrong(r, v[TEXT], "a string", "messages[%u].content[%u].text", i, at);
        text_add(r, m, v[TEXT]);
    } else if (str_eq(type, S("image_url")) || str_eq(type, S("input_image"))) {
        if (v[IMAGE] != JSON_NONE && json_kind(r->j, v[IMAGE]) != JSON_OBJECT &&
            json_kind(r->j, v[IMAGE]) != JSON_STRING)
            return wrong(r, v[IMAGE], "an object or a string",
                         "messages[%u].content[%u].image_url", i, at);
        m->n_images++;
    } else if (str_eq(type, S("refusal"))) {
        if (!is_kind_or_absent(r, v[REFUSAL], JSON_STRING))
            return wrong(r, v[REFUSAL], "a string", "messages[%u].content[%u].refusal", i, at);
        m->text_bytes += json_str_bytes(r->j, v[REFUSAL]);
    } else {
        m->structured_bytes += size_of(r, part);    /* input_audio, file, what comes next year */
    }
    return 0;
}

static int content_parts(struct reader *r, struct message *m, uint32_t i, jref n)
{
    if (json_kind(r->j, n) != JSON_ARRAY)
        return wrong(r, n, "a string or an array", "messages[%u].content", i);
    uint32_t parts = json_count(r->j, n), at = 0;
    if (parts > CHAT_PARTS_MAX - r->n_parts)
        return err_set(r->e, "messages[%u].content: more than %d parts in all", i,
                       CHAT_PARTS_MAX);
    r->n_parts += parts;
    m->texts = arena_try(r->a, parts * sizeof *m->texts);
    if (!m->texts)
        return err_set(r->e, "messages[%u].content: out of memory", i);
    JSON_EACH_ITEM(r->j, n, part)
        if (content_part(r, m, i, part, at++) < 0)
            return -1;
    return 0;
}

/* A tool's result is measured raw, whatever it holds. Its texts are no part of the talk: they stay as they came, for rules that
 * read results. */
static int content(struct reader *r, struct message *m, uint32_t i, jref n)
{
    if (n == JSON_NONE)
        return 0;
    uint64_t structured = m->structured_bytes, text = m->text_bytes;
    m->is_spelled = m->role == ROLE_TOOL;
    if (json_kind(r->j, n) == JSON_STRING) {
        m->texts = ARENA_NEW(r->a, str);
        text_add(r, m, n);
    } else if (content_parts(r, m, i, n) < 0) {
        return -1;
    }
    if (m->role == ROLE_TOOL) {
        m->structured_bytes = structured + size_of(r, n);
        m->text_bytes = text;
        m->n_images = 0;
    }
    return 0;
}

/* ---- tool calls ---- */

/* Where a call stands in its message; spelled out only when something is wrong with it. */
struct call_place {
    bool is_listed;                     /* in tool_calls, at `at`; else the older function_call */
    uint32_t at;
    str member;
};

static int wrong_call(struct reader *r, jref n, const char *expected, uint32_t i,
                      const struct call_place *p, const char *member)
{
    if (p->is_listed)
        return wrong(r, n, expected, "messages[%u].tool_calls[%u]." STR_FMT "%s", i, p->at,
                     STR_ARG(p->member), member);
    return wrong(r, n, expected, "messages[%u]." STR_FMT "%s", i, STR_ARG(p->member), member);
}

/* Adds the string or, as some servers write arguments, the object. */
static int arguments(struct reader *r, struct message *m, uint32_t i, jref n,
                     const struct call_place *p, const char *member)
{
    if (n != JSON_NONE && json_kind(r->j, n) != JSON_STRING && json_kind(r->j, n) != JSON_OBJECT)
        return wrong_call(r, n, "a string", i, p, member);
    m->structured_bytes += size_of(r, n);
    return 0;
}

static int function(struct reader *r, struct message *m, uint32_t i, jref n,
                    const struct call_place *p)
{
    enum { NAME, ARGUMENTS, INPUT, N };
    static const str names[N] = {
        [NAME] = S("name"), [ARGUMENTS] = S("arguments"), [INPUT] = S("input"),
    };
    if (n == JSON_NONE)
        return 0;
    if (json_kind(r->j, n) != JSON_OBJECT)
        return wrong_call(r, n, "an object", i, p, "");
    jref v[N];
    members(r->j, n, names, N, v);
    if (!is_kind_or_absent(r, v[NAME], JSON_STRING))
        return wrong_call(r, v[NAME], "a string", i, p, ".name");
    m->text_bytes += json_str_bytes(r->j, v[NAME]);
    if (arguments(r, m, i, v[ARGUMENTS], p, ".arguments") < 0)
        return -1;
    return arguments(r, m, i, v[INPUT], p, ".input");
}

static int tool_call(struct reader *r, struct message *m, uint32_t i, jref n, uint32_t at)
{
    enum { ID, TYPE, FUNCTION, CUSTOM, N };
    static const str names[N] = {
        [ID] = S("id"), [TYPE] = S("type"), [FUNCTION] = S("function"), [CUSTOM] = S("custom"),
    };
    if (json_kind(r->j, n) != JSON_OBJECT)
        return wrong(r, n, "an object", "messages[%u].tool_calls[%u]", i, at);
    jref v[N];
    members(r->j, n, names, N, v);
    for (int k = ID; k <= TYPE; k++) {
        if (!is_kind_or_absent(r, v[k], JSON_STRING))
            return wrong(r, v[k], "a string", "messages[%u].tool_calls[%u]." STR_FMT, i, at,
                         STR_ARG(names[k]));
        m->text_bytes += json_str_bytes(r->j, v[k]);
    }
    for (int k = FUNCTION; k <= CUSTOM; k++) {
        struct call_place place = { true, at, names[k] };
        if (function(r, m, i, v[k], &place) < 0)
            return -1;
    }
    m->n_tool_calls++;
    return 0;
}

/* ---- messages ---- */

static enum role role_of(str name)
{
    for (int role = 0; role < ROLE_OTHER; role++) {
        if (str_eq(name, str_of(role_name((enum role)role))))
            return (enum role)role;
    }
    return str_eq(name, S("function")) ? ROLE_TOOL : ROLE_OTHER;    /* the older spelling */
}

static int message(struct reader *r, uint32_t i, jref n)
{
    enum { ROLE, CONTENT, NAME, TOOL_CALL_ID, REFUSAL, REASONING, TOOL_CALLS, FUNCTION_CALL, N };
    static const str names[N] = {
        [ROLE] = S("role"), [CONTENT] = S("content"), [NAME] = S("name"),
        [TOOL_CALL_ID] = S("tool_call_id"), [REFUSAL] = S("refusal"),
        [REASONING] = S("reasoning_content"), [TOOL_CALLS] = S("tool_calls"),
        [FUNCTION_CALL] = S("function_call"),
    };
    struct message *m = &r->chat->messages[i];
    if (json_kind(r->j, n) != JSON_OBJECT)
        return wrong(r, n, "an object", "messages[%u]", i);
    jref v[N];
    members(r->j, n, names, N, v);
    if (!json_is(r->j, v[ROLE], JSON_STRING))
        return wrong(r, v[ROLE], "a string", "messages[%u].role", i);
    str role = json_str(r->j, v[ROLE], r->a);
    m->role = role_of(role);
    m->text_bytes = role.len;
    for (int k = NAME; k <= REASONING; k++) {
        if (!is_kind_or_absent(r, v[k], JSON_STRING))
            return wrong(r, v[k], "a string", "messages[%u]." STR_FMT, i, STR_ARG(names[k]));
        m->text_bytes += json_str_bytes(r->j, v[k]);
    }
    if (content(r, m, i, v[CONTENT]) < 0)
        return -1;
    if (!is_kind_or_absent(r, v[TOOL_CALLS], JSON_ARRAY))
        return wrong(r, v[TOOL_CALLS], "an array", "messages[%u].tool_calls", i);
    if (v[TOOL_CALLS] != JSON_NONE) {
        uint32_t at = 0;
        JSON_EACH_ITEM(r->j, v[TOOL_CALLS], call)
            if (tool_call(r, m, i, call, at++) < 0)
                return -1;
    }
    struct call_place place = { false, 0, names[FUNCTION_CALL] };
    return function(r, m, i, v[FUNCTION_CALL], &place);
}

static int messages(struct reader *r, jref n)
{
    uint32_t count = json_count(r->j, n), i = 0;
    if (count > CHAT_MESSAGES_MAX)
        return err_set(r->e, "messages: %u of them, at most %d are read", count,
                       CHAT_MESSAGES_MAX);
    r->chat->messages = arena_try(r->a, count * sizeof *r->chat->messages);
    if (!r->chat->messages)
        return err_set(r->e, "messages: out of memory");
    memset(r->chat->messages, 0, count * sizeof *r->chat->messages);
    r->chat->n_messages = count;
    JSON_EACH_ITEM(r->j, n, one)
        if (message(r, i++, one) < 0)
            return -1;
    return 0;
}

/* ---- the rest of the body ---- */

enum {
    MODEL, MESSAGES, TOOLS, FUNCTIONS, TOOL_CHOICE, FUNCTION_CALL, RESPONSE_FORMAT,
    MAX_COMPLETION_TOKENS, MAX_TOKENS, STREAM, METADATA, USER, BODY_N
};
static const str body_names[BODY_N] = {
    [MODEL] = S("model"), [MESSAGES] = S("messages"), [TOOLS] = S("tools"),
    [FUNCTIONS] = S("functions"), [TOOL_CHOICE] = S("tool_choice"),
    [FUNCTION_CALL] = S("function_call"), [RESPONSE_FORMAT] = S("response_format"),
    [MAX_COMPLETION_TOKENS] = S("max_completion_tokens"), [MAX_TOKENS] = S("max_tokens"),
    [STREAM] = S("stream"), [METADATA] = S("metadata"), [USER] = S("user"),
};

static int tools(struct reader *r, jref n, const char *where)
{
    if (!is_kind_or_absent(r, n, JSON_ARRAY))
        return wrong(r, n, "an array", "%s", where);
    if (n == JSON_NONE)
        return 0;
    uint32_t at = 0;
    JSON_EACH_ITEM(r->j, n, tool) {
        if (json_kind(r->j, tool) != JSON_OBJECT)
            return wrong(r, tool, "an object", "%s[%u]", where, at);
        at++;
    }
    r->chat->n_tools += at;
    r->chat->structured_bytes += size_of(r, n);
    return 0;
}

static int token_limit(struct reader *r, jref n, str name)
{
    int64_t v;
    if (n == JSON_NONE)
        return 0;
    if (!json_int(r->j, n, &v))
        return wrong(r, n, "an integer", STR_FMT, STR_ARG(name));
    if (v < 0)
        return err_set(r->e, STR_FMT ": must not be negative", STR_ARG(name));
    r->chat->output_reserve = (uint64_t)v;
    return 0;
}

static int metadata(struct reader *r, jref n)
{
    if (n == JSON_NONE)
        return 0;
    if (json_kind(r->j, n) != JSON_OBJECT)
        return wrong(r, n, "an object", "metadata");
    struct chat *c = r->chat;
    c->metadata = arena_alloc(r->a, METADATA_MAX * sizeof *c->metadata);
    JSON_EACH_PAIR(r->j, n, key, value) {
        if (c->n_metadata == METADATA_MAX)
            break;
        if (json_kind(r->j, value) != JSON_STRING ||
            json_str_bytes(r->j, key) > METADATA_KEY_MAX ||
            json_str_bytes(r->j, value) > METADATA_VALUE_MAX)
            continue;
        c->metadata[c->n_metadata].key = json_str(r->j, key, r->a);
        c->metadata[c->n_metadata++].value = json_str(r->j, value, r->a);
    }
    return 0;
}

static int settings(struct reader *r, const jref v[BODY_N])
{
    struct chat *c = r->chat;
    if (!is_kind_or_absent(r, v[MODEL], JSON_STRING))
        return wrong(r, v[MODEL], "a string", "model");
    c->model = json_str(r->j, v[MODEL], r->a);
    if (v[STREAM] != JSON_NONE && json_kind(r->j, v[STREAM]) != JSON_TRUE &&
        json_kind(r->j, v[STREAM]) != JSON_FALSE)
        return wrong(r, v[STREAM], "a boolean", "stream");
    c->is_streaming = v[STREAM] != JSON_NONE && json_kind(r->j, v[STREAM]) == JSON_TRUE;
    if (!is_kind_or_absent(r, v[USER], JSON_STRING))
        return wrong(r, v[USER], "a string", "user");
    c->user = json_str(r->j, v[USER], r->a);
    if (!is_kind_or_absent(r, v[RESPONSE_FORMAT], JSON_OBJECT))
        return wrong(r, v[RESPONSE_FORMAT], "an object", "response_format");
    c->has_response_format = v[RESPONSE_FORMAT] != JSON_NONE;
    for (int k = TOOL_CHOICE; k <= FUNCTION_CALL; k++) {
        if (v[k] != JSON_NONE && json_kind(r->j, v[k]) != JSON_STRING &&
            json_kind(r->j, v[k]) != JSON_OBJECT)
            return wrong(r, v[k], "a string or an object", STR_FMT, STR_ARG(body_names[k]));
    }
    for (int k = TOOL_CHOICE; k <= RESPONSE_FORMAT; k++)
        c->structured_bytes += size_of(r, v[k]);
    if (token_limit(r, v[MAX_TOKENS], body_names[MAX_TOKENS]) < 0)
        return -1;
    return token_limit(r, v[MAX_COMPLETION_TOKENS], body_names[MAX_COMPLETION_TOKENS]);
}

static int chat_parse(struct arena *a, const struct json *j, enum size_rule rule,
                      bool is_whole, struct chat *out, struct err *e)
{
    *out = (struct chat){ 0 };
    struct reader r = { .a = a, .j = j, .rule = rule, .chat = out, .e = e };
    if (!json_is(j, 0, JSON_OBJECT))
        return err_set(e, "malformed JSON body: expected an object, got %s",
                       json_kind_name(json_kind(j, 0)));
    jref v[BODY_N];
    members(j, 0, body_names, BODY_N, v);
    if (is_whole && v[MESSAGES] == JSON_NONE)
        return err_set(e, "messages field is required");
    if (!is_kind_or_absent(&r, v[MESSAGES], JSON_ARRAY))
        return err_set(e, "messages field must be an array, got %s",
                       json_kind_name(json_kind(j, v[MESSAGES])));
    if (settings(&r, v) < 0)
        return -1;
    if (is_whole && str_trim(out->model).len == 0)
        return err_set(e, "model field is required");
    if (tools(&r, v[TOOLS], "tools") < 0 || tools(&r, v[FUNCTIONS], "functions") < 0 ||
        metadata(&r, v[METADATA]) < 0)
        return -1;
    return v[MESSAGES] == JSON_NONE ? 0 : messages(&r, v[MESSAGES]);
}

int openai_chat_parse(struct arena *a, const struct json *j, enum size_rule rule,
                      struct chat *out, struct err *e)
{
    return chat_parse(a, j, rule, true, out, e);
}

int openai_chat_parse_partial(struct arena *a, const struct json *j, enum size_rule rule,
                              struct chat *out, struct err *e)
{
    return chat_parse(a, j, rule, false, out, e);
}
