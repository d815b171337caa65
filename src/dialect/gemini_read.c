/* dialect/gemini_read.c -- requests, answers and errors of generateContent as canonical ones.
 *
 * Two things are missing on this wire and made here. Calls may have no ids: the n-th call of a conversation gets the same one in
 * every request, and a response without an id belongs to the first open call of its name. And schemas may be in Google's OpenAPI
 * subset ("STRING", nullable): they become JSON Schema. */
#include "dialect/gemini.h"

#include "base/hash.h"
#include "base/put.h"
#include "dialect/anthropic_parts.h"

#define NAMES(...) static const str names[] = { __VA_ARGS__ }

/* ---- proto JSON ---- */

/* "top_p" is "topP": an underscore stands for the capital behind it. */
static bool is_same_name(str key, str camel)
{
    size_t i = 0, k = 0;
    for (; i < key.len && k < camel.len; i++, k++) {
        char c = key.ptr[i];
        if (c == '_' && i + 1 < key.len && key.ptr[i + 1] >= 'a' && key.ptr[i + 1] <= 'z')
            c = (char)(key.ptr[++i] - 'a' + 'A');
        if (c != camel.ptr[k])
            return false;
    }
    return i == key.len && k == camel.len;
}

void gemini_get(const struct reading *f, jref object, const str *names, size_t n, jref *out, struct members *rest, str prefix)
{
    const struct json *j = f->j;
    for (size_t i = 0; i < n; i++)
        out[i] = JSON_NONE;
    JSON_EACH_PAIR(j, object, key, value) {
        str name = json_str(j, key, f->a);
        size_t i = 0;
        while (i < n && !is_same_name(name, names[i]))
            i++;
        if (i < n)
            out[i] = json_kind(j, value) == JSON_NULL ? JSON_NONE : value;
        else if (rest)
            members_add(rest, f->a, prefix.len ? arena_printf(f->a, STR_FMT "." STR_FMT, STR_ARG(prefix), STR_ARG(name)) : name,
                        json_raw(j, value));
    }
}

static jref member(const struct reading *f, jref object, str camel)
{
    jref found = JSON_NONE;
    if (json_is(f->j, object, JSON_OBJECT))
        gemini_get(f, object, &camel, 1, &found, NULL, S(""));
    return found;
}

static str text_of(const struct reading *f, jref object, str camel)
{
    return json_str(f->j, member(f, object, camel), f->a);
}

/* 64-bit integers stand in strings, small ones do not. */
static bool is_int(const struct reading *f, jref n, int64_t *out)
{
    return json_int(f->j, n, out) || (json_is(f->j, n, JSON_STRING) && str_int(json_str(f->j, n, f->a), out));
}

static int int_of(const struct reading *f, const struct spot *at, jref n, int64_t *out)
{
    return n == JSON_NONE || is_int(f, n, out) ? 0 : fields_wrong(f, at, n, "an integer");
}

static int count_of(const struct reading *f, const struct spot *at, jref n, int64_t *out)
{
    if (int_of(f, at, n, out) < 0)
        return -1;
    return n != JSON_NONE && *out < 0 ? fields_fail(f, at, "must not be negative") : 0;
}

static str lower(struct arena *a, str s)
{
    char *text = arena_cstr(a, s);
    for (size_t i = 0; i < s.len; i++)
        text[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] + 32) : text[i];
    return (str){ text, s.len };
}

/* ---- schemas ---- */

enum { SCHEMA_DEPTH_MAX = 32 };                 /* deeper ones stay as they are: a fiber's stack is small */

enum schema_part { PART_RAW, PART_TYPE, PART_SCHEMA, PART_MAP, PART_NUMBER, PART_EXAMPLE, PART_DROPPED };

static const struct { str google, json; enum schema_part part; } schema_parts[] = {
    { S("type"), S("type"), PART_TYPE }, { S("nullable"), S(""), PART_DROPPED }, { S("propertyOrdering"), S(""), PART_DROPPED },
    { S("properties"), S("properties"), PART_MAP }, { S("defs"), S("$defs"), PART_MAP }, { S("ref"), S("$ref"), PART_RAW },
    { S("anyOf"), S("anyOf"), PART_SCHEMA }, { S("items"), S("items"), PART_SCHEMA },
    { S("prefixItems"), S("prefixItems"), PART_SCHEMA }, { S("additionalProperties"), S("additionalProperties"), PART_SCHEMA },
    { S("maxItems"), S("maxItems"), PART_NUMBER }, { S("minItems"), S("minItems"), PART_NUMBER },
    { S("maxLength"), S("maxLength"), PART_NUMBER }, { S("minLength"), S("minLength"), PART_NUMBER },
    { S("maxProperties"), S("maxProperties"), PART_NUMBER }, { S("minProperties"), S("minProperties"), PART_NUMBER },
    { S("example"), S("examples"), PART_EXAMPLE },
};

static void schema_write(const struct reading *f, jref n, bool is_map, unsigned depth, struct json_writer *w);

static void schema_member(const struct reading *f, str name, jref value, bool is_nullable, unsigned depth, struct json_writer *w)
{
    size_t i = 0;
    while (i < COUNT_OF(schema_parts) && !is_same_name(name, schema_parts[i].google))
        i++;
    enum schema_part part = i < COUNT_OF(schema_parts) ? schema_parts[i].part : PART_RAW;
    if (part == PART_DROPPED)
        return;
    jw_key(w, i < COUNT_OF(schema_parts) ? schema_parts[i].json : name);
    if (part == PART_TYPE && json_kind(f->j, value) == JSON_STRING) {
        str type = lower(f->a, json_str(f->j, value, f->a));
        if (is_nullable)
            jw_begin(w, '[');
        jw_str(w, type);
        if (is_nullable) {
            jw_str(w, S("null"));
            jw_end(w, ']');
        }
    } else if (part == PART_SCHEMA || part == PART_MAP) {
        schema_write(f, value, part == PART_MAP, depth + 1, w);
    } else if (part == PART_NUMBER && json_kind(f->j, value) == JSON_STRING) {
        int64_t v = 0;
        is_int(f, value, &v);
        jw_int(w, v);
    } else {
        if (part == PART_EXAMPLE)
            jw_begin(w, '[');
        jw_raw(w, json_raw(f->j, value));
        if (part == PART_EXAMPLE)
            jw_end(w, ']');
    }
}

/* `is_map`: the keys of n are the user's names, its values schemas. */
static void schema_write(const struct reading *f, jref n, bool is_map, unsigned depth, struct json_writer *w)
{
    if (depth == SCHEMA_DEPTH_MAX || (json_kind(f->j, n) != JSON_OBJECT && json_kind(f->j, n) != JSON_ARRAY)) {
        jw_raw(w, json_raw(f->j, n));
    } else if (json_kind(f->j, n) == JSON_ARRAY) {
        jw_begin(w, '[');
        JSON_EACH_ITEM(f->j, n, item)
            schema_write(f, item, false, depth + 1, w);
        jw_end(w, ']');
    } else {
        bool is_nullable = !is_map && json_bool(f->j, json_get(f->j, n, S("nullable")), false);
        jw_begin(w, '{');
        JSON_EACH_PAIR(f->j, n, key, value) {
            str name = json_str(f->j, key, f->a);
            if (is_map) {
                jw_key(w, name);
                schema_write(f, value, false, depth + 1, w);
            } else {
                schema_member(f, name, value, is_nullable, depth, w);
            }
        }
        jw_end(w, '}');
    }
}

static str json_schema(const struct reading *f, jref openapi)
{
    struct buf b = { 0 };
    struct json_writer w = { .out = &b };
    schema_write(f, openapi, false, 0, &w);
    return buf_to_arena(&b, f->a);
}

/* ---- parts ---- */

struct call { str id, name; bool is_answered; };

struct contents {                       /* of one request */
    const struct reading *f;
    struct call *calls; uint32_t n_calls;
};

str gemini_made_call_id(struct arena *a, str response_id, uint32_t at)
{
    return arena_printf(a, "call_%016llx%u", (unsigned long long)hash_stable(response_id, 0), at);
}

/* Base64 of an envelope of another family (anthropic_parts.h), or our own. */
static void signature_read(struct arena *a, str wire, struct block *b)
{
    str bytes, origin, role, data;
    b->signature = wire;
    if (base64_read(a, wire, &bytes) && anthropic_unwrap(bytes, &origin, &role, &data)) {
        b->origin = origin;
        b->signature = data;
        if (str_eq(role, S("sealed"))) {
            b->kind = BLOCK_SEALED_REASONING;
            b->signature = S("");
            b->sealed = data;
        }
    }
}

static bool is_file_of_google(str uri)
{
    return str_find(uri, S("generativelanguage.googleapis.com/")) >= 0 && str_find(uri, S("/files/")) >= 0;
}

static int media_read(const struct reading *f, const struct spot *at, jref n, bool is_inline, struct block *b)
{
    enum { MIME, DATA, URI, NAME, N };
    NAMES(S("mimeType"), S("data"), S("fileUri"), S("displayName"));
    jref v[N];
    str uri = { 0 };
    if (json_kind(f->j, n) != JSON_OBJECT)
        return fields_wrong(f, at, n, "an object");
    gemini_get(f, n, names, N, v, NULL, S(""));
    if (fields_str(f, AT(at, "mimeType"), v[MIME], &b->media.media_type) < 0 ||
        fields_str(f, AT(at, "data"), v[DATA], &b->media.data) < 0 || fields_str(f, AT(at, "fileUri"), v[URI], &uri) < 0 ||
        fields_str(f, AT(at, "displayName"), v[NAME], &b->media.name) < 0)
        return -1;
    if (is_inline ? v[DATA] == JSON_NONE : v[URI] == JSON_NONE)
        return fields_wrong(f, AT(at, is_inline ? "data" : "fileUri"), JSON_NONE, "a string");
    b->media.data = base64_standard(f->a, b->media.data);       /* Google's own clients write the alphabet of URLs */
    *(is_file_of_google(uri) ? &b->media.file_id : &b->media.url) = uri;
    b->kind = str_starts(b->media.media_type, S("image/")) ? BLOCK_IMAGE
            : str_starts(b->media.media_type, S("audio/")) ? BLOCK_AUDIO : BLOCK_FILE;
    return 0;
}

static int call_read(const struct reading *f, const struct spot *at, jref n, struct block *b)
{
    enum { ID, NAME, ARGS, N };
    NAMES(S("id"), S("name"), S("args"));
    jref v[N];
    if (json_kind(f->j, n) != JSON_OBJECT)
        return fields_wrong(f, at, n, "an object");
    b->kind = BLOCK_TOOL_CALL;
    gemini_get(f, n, names, N, v, &b->rest, S("functionCall"));
    if (v[NAME] == JSON_NONE)
        return fields_wrong(f, AT(at, "name"), JSON_NONE, "a string");
    if (fields_str(f, AT(at, "id"), v[ID], &b->call_id) < 0 || fields_str(f, AT(at, "name"), v[NAME], &b->name) < 0 ||
        fields_kind(f, AT(at, "args"), v[ARGS], JSON_OBJECT) < 0)
        return -1;
    b->arguments = v[ARGS] == JSON_NONE ? S("{}") : fields_compact(f, v[ARGS]);
    return 0;
}

static int part_read(const struct reading *f, const struct spot *at, jref part, struct block *b);

/* {"output": "text"} and {"error": "text"} are what the writers make of a text; another object is its own text. */
static void result_text(const struct reading *f, jref response, struct block *b)
{
    static const str keys[] = { S("output"), S("error") };
    struct block *text = PUSH(f->a, b->content, b->n_content);
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        jref only = json_count(f->j, response) == 1 ? json_get(f->j, response, keys[i]) : JSON_NONE;
        if (!json_is(f->j, only, JSON_STRING))
            continue;
        text->text = json_str(f->j, only, f->a);
        b->is_error = i == 1;
        return;
    }
    text->text = fields_compact(f, response);
}

static int result_read(const struct reading *f, const struct spot *at, jref n, struct block *b)
{
    enum { ID, NAME, RESPONSE, PARTS, N };
    NAMES(S("id"), S("name"), S("response"), S("parts"));
    jref v[N];
    uint32_t i = 0;
    if (json_kind(f->j, n) != JSON_OBJECT)
        return fields_wrong(f, at, n, "an object");
    b->kind = BLOCK_TOOL_RESULT;
    gemini_get(f, n, names, N, v, &b->rest, S("functionResponse"));
    if (fields_str(f, AT(at, "id"), v[ID], &b->call_id) < 0 || fields_str(f, AT(at, "name"), v[NAME], &b->name) < 0 ||
        fields_kind(f, AT(at, "response"), v[RESPONSE], JSON_OBJECT) < 0 ||
        fields_kind(f, AT(at, "parts"), v[PARTS], JSON_ARRAY) < 0)
        return -1;
    if (v[RESPONSE] != JSON_NONE)
        result_text(f, v[RESPONSE], b);
    if (v[PARTS] != JSON_NONE)
        JSON_EACH_ITEM(f->j, v[PARTS], part)
            if (part_read(f, AT_ITEM(AT(at, "parts"), i++), part, PUSH(f->a, b->content, b->n_content)) < 0)
                return -1;
    return 0;
}

enum part_field { P_TEXT, P_INLINE, P_FILE, P_CALL, P_RESULT, P_THOUGHT, P_SIGNATURE, P_N };
static const str part_names[P_N] = {
    [P_TEXT] = S("text"), [P_INLINE] = S("inlineData"), [P_FILE] = S("fileData"), [P_CALL] = S("functionCall"),
    [P_RESULT] = S("functionResponse"), [P_THOUGHT] = S("thought"), [P_SIGNATURE] = S("thoughtSignature"),
};

static int part_read(const struct reading *f, const struct spot *at, jref part, struct block *b)
{
    jref v[P_N];
    str signature = { 0 };
    int is_thought = 0;
    *b = (struct block){ 0 };
    if (json_kind(f->j, part) == JSON_STRING) {
        b->text = json_str(f->j, part, f->a);
        return 0;
    }
    if (json_kind(f->j, part) != JSON_OBJECT)
        return fields_wrong(f, at, part, "an object");
    gemini_get(f, part, part_names, P_N, v, &b->rest, S(""));
    if (fields_flag(f, AT(at, "thought"), v[P_THOUGHT], &is_thought) < 0 ||
        fields_str(f, AT(at, "thoughtSignature"), v[P_SIGNATURE], &signature) < 0)
        return -1;
    int rc = 0;
    if (v[P_CALL] != JSON_NONE) {
        rc = call_read(f, AT(at, "functionCall"), v[P_CALL], b);
    } else if (v[P_RESULT] != JSON_NONE) {
        rc = result_read(f, AT(at, "functionResponse"), v[P_RESULT], b);
    } else if (v[P_INLINE] != JSON_NONE) {
        rc = media_read(f, AT(at, "inlineData"), v[P_INLINE], true, b);
    } else if (v[P_FILE] != JSON_NONE) {
        rc = media_read(f, AT(at, "fileData"), v[P_FILE], false, b);
    } else if (v[P_TEXT] != JSON_NONE || signature.len || !b->rest.n) {
        b->kind = is_thought ? BLOCK_REASONING : BLOCK_TEXT;
        rc = fields_str(f, AT(at, "text"), v[P_TEXT], &b->text);
    } else {                            /* code that ran, server-side calls, ... */
        str type = b->rest.items[0].key;
        *b = (struct block){ .kind = BLOCK_OTHER, .raw = json_raw(f->j, part), .raw_type = type };
        return 0;
    }
    if (rc == 0 && signature.len)
        signature_read(f->a, signature, b);
    return rc;
}

/* ---- contents ---- */

/* Calls get ids, results the id and the name of their call. */
static void pair_calls(struct contents *c, struct block *b)
{
    struct arena *a = c->f->a;
    if (b->kind == BLOCK_TOOL_CALL) {
        if (!b->call_id.len)
            b->call_id = arena_printf(a, "call_gemini_%u", c->n_calls);
        *PUSH(a, c->calls, c->n_calls) = (struct call){ .id = b->call_id, .name = b->name };
        return;
    }
    for (uint32_t i = 0; i < c->n_calls; i++) {
        struct call *call = &c->calls[i];
        if (b->call_id.len ? !str_eq(call->id, b->call_id) : call->is_answered || !str_eq(call->name, b->name))
            continue;
        call->is_answered = true;
        b->call_id = call->id;
        if (!b->name.len)
            b->name = call->name;
        return;
    }
    if (!b->call_id.len)
        b->call_id = arena_printf(a, "call_gemini_%s" STR_FMT, b->name.len ? "" : "unknown", STR_ARG(b->name));
}

/* An array of parts, or one part alone, or a text. */
static int parts_read(struct contents *c, const struct spot *at, jref parts, struct block **blocks, uint32_t *n)
{
    const struct reading *f = c->f;
    uint32_t i = 0;
    if (parts == JSON_NONE)
        return 0;
    if (json_kind(f->j, parts) != JSON_ARRAY)
        return part_read(f, at, parts, PUSH(f->a, *blocks, *n));
    if (json_count(f->j, parts) > GEMINI_PARTS_MAX)
        return fields_fail(f, at, "too many parts");
    JSON_EACH_ITEM(f->j, parts, part) {
        struct block *b = PUSH(f->a, *blocks, *n);
        if (part_read(f, AT_ITEM(at, i++), part, b) < 0)
            return -1;
        if (b->kind == BLOCK_TOOL_CALL || b->kind == BLOCK_TOOL_RESULT)
            pair_calls(c, b);
    }
    return 0;
}

static int content_read(struct contents *c, const struct spot *at, jref content, struct prompt *p)
{
    enum { ROLE, PARTS, N };
    NAMES(S("role"), S("parts"));
    const struct reading *f = c->f;
    jref v[N];
    str role = { 0 };
    struct turn *t = PUSH(f->a, p->turns, p->n_turns);
    t->role = ROLE_USER;
    if (json_kind(f->j, content) == JSON_STRING) {
        PUSH(f->a, t->blocks, t->n)->text = json_str(f->j, content, f->a);
        return 0;
    }
    if (json_kind(f->j, content) != JSON_OBJECT)
        return fields_wrong(f, at, content, "an object");
    gemini_get(f, content, names, N, v, &t->rest, S(""));
    if (fields_str(f, AT(at, "role"), v[ROLE], &role) < 0)
        return -1;
    if (str_eq(role, S("model")) || str_eq(role, S("assistant")))
        t->role = ROLE_ASSISTANT;
    else if (str_eq(role, S("system")))
        t->role = ROLE_SYSTEM;
    else if (role.len && !str_eq(role, S("user")) && !str_eq(role, S("function")) && !str_eq(role, S("tool")))
        return fields_fail(f, AT(at, "role"), "expected user or model");
    return parts_read(c, AT(at, "parts"), v[PARTS], &t->blocks, &t->n);
}

static int contents_read(const struct reading *f, jref n, struct prompt *p)
{
    struct contents c = { .f = f };
    uint32_t i = 0;
    if (n == JSON_NONE)
        return 0;
    if (json_kind(f->j, n) != JSON_ARRAY)
        return content_read(&c, AT(NULL, "contents"), n, p);
    if (json_count(f->j, n) > GEMINI_PARTS_MAX)
        return fields_fail(f, AT(NULL, "contents"), "too many contents");
    JSON_EACH_ITEM(f->j, n, content)
        if (content_read(&c, AT_ITEM(AT(NULL, "contents"), i++), content, p) < 0)
            return -1;
    return 0;
}

/* A Content, its parts alone, or a text. */
static int system_read(const struct reading *f, jref n, struct prompt *p)
{
    struct contents c = { .f = f };
    const struct spot *at = AT(NULL, "systemInstruction");
    jref parts = json_is(f->j, n, JSON_OBJECT) ? member(f, n, S("parts")) : JSON_NONE;
    return parts_read(&c, parts != JSON_NONE ? AT(at, "parts") : at, parts != JSON_NONE ? parts : n, &p->system, &p->n_system);
}

/* ---- tools ---- */

static int function_read(const struct reading *f, const struct spot *at, jref n, struct prompt *p)
{
    enum { NAME, DESCRIPTION, PARAMETERS, SCHEMA, N };
    NAMES(S("name"), S("description"), S("parameters"), S("parametersJsonSchema"));
    jref v[N];
    if (json_kind(f->j, n) != JSON_OBJECT)
        return fields_wrong(f, at, n, "an object");
    struct tool *t = PUSH(f->a, p->tools, p->n_tools);
    t->strict = -1;
    gemini_get(f, n, names, N, v, &t->rest, S(""));
    if (v[NAME] == JSON_NONE)
        return fields_wrong(f, AT(at, "name"), JSON_NONE, "a string");
    if (fields_str(f, AT(at, "name"), v[NAME], &t->name) < 0 ||
        fields_str(f, AT(at, "description"), v[DESCRIPTION], &t->description) < 0 ||
        fields_kind(f, AT(at, "parameters"), v[PARAMETERS], JSON_OBJECT) < 0)
        return -1;
    if (v[SCHEMA] != JSON_NONE) {
        t->parameters = json_raw(f->j, v[SCHEMA]);
    } else if (v[PARAMETERS] != JSON_NONE) {
        t->parameters = json_schema(f, v[PARAMETERS]);
        t->raw = json_raw(f->j, v[PARAMETERS]);             /* goes back as it came */
    }
    return 0;
}

static int tools_read(const struct reading *f, jref n, struct prompt *p)
{
    uint32_t at = 0;
    if (fields_kind(f, AT(NULL, "tools"), n, JSON_ARRAY) < 0)
        return -1;
    if (n == JSON_NONE)
        return 0;
    JSON_EACH_ITEM(f->j, n, tool) {
        const struct spot *here = AT_ITEM(AT(NULL, "tools"), at++);
        if (json_kind(f->j, tool) != JSON_OBJECT)
            return fields_wrong(f, here, tool, "an object");
        JSON_EACH_PAIR(f->j, tool, key, value) {
            str name = json_str(f->j, key, f->a);
            uint32_t i = 0;
            if (json_kind(f->j, value) == JSON_NULL)
                continue;
            if (!is_same_name(name, S("functionDeclarations"))) {
                struct buf raw = { 0 };
                struct json_writer w = { .out = &raw };
                jw_begin(&w, '{');
                put_raw(&w, name, json_raw(f->j, value));
                jw_end(&w, '}');
                *PUSH(f->a, p->tools, p->n_tools) = (struct tool){ .kind = TOOL_HOSTED, .strict = -1, .raw_type = name,
                                                                   .raw = buf_to_arena(&raw, f->a) };
                continue;
            }
            if (fields_kind(f, AT(here, "functionDeclarations"), value, JSON_ARRAY) < 0)
                return -1;
            JSON_EACH_ITEM(f->j, value, function)
                if (function_read(f, AT_ITEM(AT(here, "functionDeclarations"), i++), function, p) < 0)
                    return -1;
        }
    }
    return 0;
}

static int choice_read(const struct reading *f, jref n, struct prompt *p)
{
    enum { CALLING, N };
    NAMES(S("functionCallingConfig"));
    enum { MODE, ALLOWED, M };
    static const str inner[] = { S("mode"), S("allowedFunctionNames") };
    const struct spot *at = AT(AT(NULL, "toolConfig"), "functionCallingConfig");
    jref v[N], w[M];
    str mode = { 0 };
    if (fields_kind(f, at->up, n, JSON_OBJECT) < 0)
        return -1;
    if (n == JSON_NONE)
        return 0;
    gemini_get(f, n, names, N, v, &p->rest, S("toolConfig"));
    if (fields_kind(f, at, v[CALLING], JSON_OBJECT) < 0)
        return -1;
    if (v[CALLING] == JSON_NONE)
        return 0;
    gemini_get(f, v[CALLING], inner, M, w, &p->rest, S("toolConfig.functionCallingConfig"));
    if (fields_str(f, AT(at, "mode"), w[MODE], &mode) < 0 ||
        fields_kind(f, AT(at, "allowedFunctionNames"), w[ALLOWED], JSON_ARRAY) < 0)
        return -1;
    if (w[ALLOWED] != JSON_NONE) {
        p->chosen = ARENA_ARRAY(f->a, str, json_count(f->j, w[ALLOWED]));
        JSON_EACH_ITEM(f->j, w[ALLOWED], name)
            p->chosen[p->n_chosen++] = json_str(f->j, name, f->a);
    }
    mode = lower(f->a, mode);
    p->choice = str_eq(mode, S("any")) ? p->n_chosen == 1 ? CHOICE_TOOL : CHOICE_REQUIRED
              : str_eq(mode, S("none")) ? CHOICE_NONE
              : str_eq(mode, S("auto")) || str_eq(mode, S("validated")) ? CHOICE_AUTO : CHOICE_UNSET;
    if (str_eq(mode, S("validated")))
        members_add(&p->rest, f->a, S("toolConfig.functionCallingConfig.mode"), S("\"VALIDATED\""));
    return 0;
}

/* ---- settings ---- */

static int thinking_read(const struct reading *f, jref n, struct prompt *p)
{
    enum { INCLUDE, BUDGET, LEVEL, N };
    NAMES(S("includeThoughts"), S("thinkingBudget"), S("thinkingLevel"));
    const struct spot *at = AT(AT(NULL, "generationConfig"), "thinkingConfig");
    jref v[N];
    int includes = -1;
    int64_t budget = 0;
    str level = { 0 };
    if (fields_kind(f, at, n, JSON_OBJECT) < 0)
        return -1;
    if (n == JSON_NONE)
        return 0;
    gemini_get(f, n, names, N, v, &p->rest, S("generationConfig.thinkingConfig"));
    if (fields_flag(f, AT(at, "includeThoughts"), v[INCLUDE], &includes) < 0 ||
        int_of(f, AT(at, "thinkingBudget"), v[BUDGET], &budget) < 0 ||
        fields_str(f, AT(at, "thinkingLevel"), v[LEVEL], &level) < 0)
        return -1;
    if (includes >= 0)
        p->reasoning_summary = includes ? S("auto") : S("none");
    if (v[BUDGET] != JSON_NONE) {
        p->reasoning = budget > 0 ? REASONING_ON : budget < 0 ? REASONING_ADAPTIVE : REASONING_OFF;
        p->reasoning_budget = budget < 0 ? -1 : budget;
    }
    if (level.len && !str_eq(level, S("THINKING_LEVEL_UNSPECIFIED"))) {
        p->reasoning = REASONING_ON;
        p->reasoning_effort = lower(f->a, level);
    }
    return 0;
}

static int output_read(const struct reading *f, const struct spot *at, jref mime_at, jref openapi, jref schema, struct prompt *p)
{
    str mime = { 0 };
    if (fields_str(f, AT(at, "responseMimeType"), mime_at, &mime) < 0 ||
        fields_kind(f, AT(at, "responseSchema"), openapi, JSON_OBJECT) < 0)
        return -1;
    bool is_json = str_eq(mime, S("application/json"));
    if (str_eq(mime, S("text/plain")))
        p->output = OUTPUT_TEXT;
    else if (mime.len && !is_json)
        members_add(&p->rest, f->a, S("generationConfig.responseMimeType"), json_raw(f->j, mime_at));
    if (schema != JSON_NONE || openapi != JSON_NONE) {
        p->output = OUTPUT_JSON_SCHEMA;
        p->schema = schema != JSON_NONE ? json_raw(f->j, schema) : json_schema(f, openapi);
    } else if (is_json) {
        p->output = OUTPUT_JSON_OBJECT;
    }
    return 0;
}

static int generation_read(const struct reading *f, jref n, struct prompt *p)
{
    enum { TEMPERATURE, TOP_P, TOP_K, ANSWERS, MAX, STOPS, SEED, PRESENCE, FREQUENCY, MIME, OPENAPI, SCHEMA, OLD_SCHEMA, LOGPROBS,
           TOP_LOGPROBS, THINKING, N };
    NAMES(S("temperature"), S("topP"), S("topK"), S("candidateCount"), S("maxOutputTokens"), S("stopSequences"), S("seed"),
          S("presencePenalty"), S("frequencyPenalty"), S("responseMimeType"), S("responseSchema"), S("responseJsonSchema"),
          S("_responseJsonSchema"), S("responseLogprobs"), S("logprobs"), S("thinkingConfig"));
    const struct spot *at = AT(NULL, "generationConfig");
    jref v[N];
    uint32_t i = 0;
    if (fields_kind(f, at, n, JSON_OBJECT) < 0)
        return -1;
    if (n == JSON_NONE)
        return 0;
    gemini_get(f, n, names, N, v, &p->rest, S("generationConfig"));
    if (fields_double(f, AT(at, "temperature"), v[TEMPERATURE], &p->temperature) < 0 ||
        fields_double(f, AT(at, "topP"), v[TOP_P], &p->top_p) < 0 || count_of(f, AT(at, "topK"), v[TOP_K], &p->top_k) < 0 ||
        count_of(f, AT(at, "candidateCount"), v[ANSWERS], &p->n_answers) < 0 ||
        count_of(f, AT(at, "maxOutputTokens"), v[MAX], &p->max_tokens) < 0 || int_of(f, AT(at, "seed"), v[SEED], &p->seed) < 0 ||
        fields_double(f, AT(at, "presencePenalty"), v[PRESENCE], &p->presence_penalty) < 0 ||
        fields_double(f, AT(at, "frequencyPenalty"), v[FREQUENCY], &p->frequency_penalty) < 0 ||
        fields_flag(f, AT(at, "responseLogprobs"), v[LOGPROBS], &p->logprobs) < 0 ||
        count_of(f, AT(at, "logprobs"), v[TOP_LOGPROBS], &p->top_logprobs) < 0 ||
        fields_kind(f, AT(at, "stopSequences"), v[STOPS], JSON_ARRAY) < 0)
        return -1;
    p->has_seed = v[SEED] != JSON_NONE;
    if (v[STOPS] != JSON_NONE) {
        p->stops = ARENA_ARRAY(f->a, str, json_count(f->j, v[STOPS]));
        JSON_EACH_ITEM(f->j, v[STOPS], stop) {
            if (json_kind(f->j, stop) != JSON_STRING)
                return fields_wrong(f, AT_ITEM(AT(at, "stopSequences"), i), stop, "a string");
            p->stops[p->n_stops++] = json_str(f->j, stop, f->a);
            i++;
        }
    }
    if (thinking_read(f, v[THINKING], p) < 0)
        return -1;
    return output_read(f, at, v[MIME], v[OPENAPI], v[SCHEMA] != JSON_NONE ? v[SCHEMA] : v[OLD_SCHEMA], p);
}

static int request_read(const struct reading *f, jref n, const struct request_place *at, struct prompt *out)
{
    enum { MODEL, CONTENTS, SYSTEM, TOOLS, CHOICE, CONFIG, LABELS, N };
    NAMES(S("model"), S("contents"), S("systemInstruction"), S("tools"), S("toolConfig"), S("generationConfig"), S("labels"));
    jref v[N];
    *out = prompt_new(&dialect_gemini);
    if (!json_is(f->j, n, JSON_OBJECT))
        return err_set(f->e, "malformed JSON body: expected an object");
    gemini_get(f, n, names, N, v, &out->rest, S(""));
    if (fields_str(f, AT(NULL, "model"), v[MODEL], &out->model) < 0 ||
        fields_kind(f, AT(NULL, "labels"), v[LABELS], JSON_OBJECT) < 0)
        return -1;
    if (str_starts(out->model, S("models/")))
        out->model = str_from(out->model, sizeof "models/" - 1);
    if (at && at->model.len)
        out->model = at->model;
    out->is_streaming = at && at->is_streaming;
    out->metadata = fields_raw(f, v[LABELS]);
    if (contents_read(f, v[CONTENTS], out) < 0 || (v[SYSTEM] != JSON_NONE && system_read(f, v[SYSTEM], out) < 0) ||
        tools_read(f, v[TOOLS], out) < 0 || choice_read(f, v[CHOICE], out) < 0)
        return -1;
    return generation_read(f, v[CONFIG], out);
}

int gemini_request_read(struct arena *a, const struct json *j, const struct request_place *at, struct prompt *out, struct err *e)
{
    struct reading f = { .a = a, .j = j, .e = e };
    if (request_read(&f, 0, at, out) < 0)
        return -1;
    return out->n_turns ? 0 : err_set(e, "contents: expected at least one content");
}

int gemini_count_read(struct arena *a, const struct json *j, const struct request_place *at, struct prompt *out, struct err *e)
{
    struct reading f = { .a = a, .j = j, .e = e };
    jref whole = json_is(j, 0, JSON_OBJECT) ? member(&f, 0, S("generateContentRequest")) : JSON_NONE;
    return request_read(&f, json_is(j, whole, JSON_OBJECT) ? whole : 0, at, out);
}

/* ---- answers ---- */

bool gemini_part_block(const struct reading *f, jref part, struct block *out)
{
    struct err quiet = { 0 };
    struct reading own = { .a = f->a, .j = f->j, .e = &quiet };
    if (!json_is(f->j, part, JSON_OBJECT) || part_read(&own, NULL, part, out) < 0)
        return false;
    return out->kind != BLOCK_TOOL_RESULT;
}

enum stop_reason gemini_stop(str word, bool has_calls)
{
    static const struct { str word; enum stop_reason stop; } table[] = {
        { S("STOP"), STOP_END }, { S("MAX_TOKENS"), STOP_LENGTH }, { S("FINISH_REASON_UNSPECIFIED"), STOP_UNKNOWN },
        { S("MALFORMED_FUNCTION_CALL"), STOP_MALFORMED }, { S("UNEXPECTED_TOOL_CALL"), STOP_MALFORMED },
        { S("TOO_MANY_TOOL_CALLS"), STOP_MALFORMED }, { S("MISSING_THOUGHT_SIGNATURE"), STOP_MALFORMED },
        { S("MALFORMED_RESPONSE"), STOP_MALFORMED }, { S("OTHER"), STOP_MALFORMED }, { S("IMAGE_OTHER"), STOP_MALFORMED },
        { S("NO_IMAGE"), STOP_MALFORMED },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (str_eq(word, table[i].word))
            return table[i].stop == STOP_END && has_calls ? STOP_TOOLS : table[i].stop;
    return word.len ? STOP_FILTER : STOP_UNKNOWN;           /* SAFETY, RECITATION, BLOCKLIST, SPII, ...: a filter said so */
}

static int64_t modality(const struct reading *f, jref details, str name)
{
    int64_t sum = 0;
    if (json_is(f->j, details, JSON_ARRAY))
        JSON_EACH_ITEM(f->j, details, item) {
            int64_t v;
            if (json_is(f->j, item, JSON_OBJECT) && str_eq(text_of(f, item, S("modality")), name) &&
                is_int(f, member(f, item, S("tokenCount")), &v) && v > 0 && v <= USAGE_TOKENS_MAX)
                sum += v;
        }
    return sum;
}

bool gemini_usage_read(const struct reading *f, jref n, struct usage *u)
{
    enum { PROMPT, CACHED, ANSWER, THOUGHTS, TOOLS, PROMPT_DETAILS, ANSWER_DETAILS, N };
    NAMES(S("promptTokenCount"), S("cachedContentTokenCount"), S("candidatesTokenCount"), S("thoughtsTokenCount"),
          S("toolUsePromptTokenCount"), S("promptTokensDetails"), S("candidatesTokensDetails"));
    jref v[N];
    int64_t count[N] = { 0 };
    if (!json_is(f->j, n, JSON_OBJECT))
        return false;
    gemini_get(f, n, names, N, v, NULL, S(""));
    for (int i = PROMPT; i <= TOOLS; i++)
        if (!is_int(f, v[i], &count[i]) || count[i] < 0 || count[i] > USAGE_TOKENS_MAX)
            count[i] = 0;
    *u = (struct usage){
        .prompt_tokens = count[PROMPT] + count[TOOLS], .completion_tokens = count[ANSWER] + count[THOUGHTS],
        .cached_tokens = count[CACHED], .reasoning_tokens = count[THOUGHTS], .is_known = true,
        .prompt_audio_tokens = modality(f, v[PROMPT_DETAILS], S("AUDIO")),
        .prompt_image_tokens = modality(f, v[PROMPT_DETAILS], S("IMAGE")),
        .completion_audio_tokens = modality(f, v[ANSWER_DETAILS], S("AUDIO")),
    };
    return true;
}

static void token_write(const struct reading *f, jref n, struct json_writer *w)
{
    double p = 0;
    str token = text_of(f, n, S("token"));
    json_double(f->j, member(f, n, S("logProbability")), &p);
    put_str(w, S("token"), token);
    put_open(w, S("bytes"), '[');
    for (size_t i = 0; i < token.len; i++)
        jw_int(w, (unsigned char)token.ptr[i]);
    jw_end(w, ']');
    put_number(w, S("logprob"), p);
}

str gemini_logprobs(const struct reading *f, jref result)
{
    struct buf b = { 0 };
    struct json_writer w = { .out = &b };
    jref chosen = member(f, result, S("chosenCandidates")), tops = member(f, result, S("topCandidates"));
    if (!json_is(f->j, chosen, JSON_ARRAY) || !json_count(f->j, chosen))
        return S("");
    jref top = json_is(f->j, tops, JSON_ARRAY) ? tops + 1 : JSON_NONE;
    jw_begin(&w, '[');
    JSON_EACH_ITEM(f->j, chosen, item) {
        if (json_kind(f->j, item) != JSON_OBJECT)
            continue;
        jw_begin(&w, '{');
        token_write(f, item, &w);
        put_open(&w, S("top_logprobs"), '[');
        if (top != JSON_NONE && top < f->j->nodes[tops].next) {
            jref list = member(f, top, S("candidates"));
            if (json_is(f->j, list, JSON_ARRAY))
                JSON_EACH_ITEM(f->j, list, one) {
                    jw_begin(&w, '{');
                    token_write(f, one, &w);
                    jw_end(&w, '}');
                }
            top = f->j->nodes[top].next;
        }
        jw_end(&w, ']');
        jw_end(&w, '}');
    }
    jw_end(&w, ']');
    return buf_to_arena(&b, f->a);
}

str gemini_citations(const struct reading *f, jref grounding)
{
    struct buf b = { 0 };
    struct json_writer w = { .out = &b };
    jref chunks = member(f, grounding, S("groundingChunks")), supports = member(f, grounding, S("groundingSupports"));
    if (!json_is(f->j, chunks, JSON_ARRAY) || !json_is(f->j, supports, JSON_ARRAY))
        return S("");
    uint32_t n = json_count(f->j, chunks), at = 0;
    jref *chunk = ARENA_ARRAY(f->a, jref, n);
    JSON_EACH_ITEM(f->j, chunks, item)
        chunk[at++] = item;
    JSON_EACH_ITEM(f->j, supports, support) {
        jref segment = member(f, support, S("segment")), list = member(f, support, S("groundingChunkIndices"));
        int64_t from = 0, to = 0, index;
        is_int(f, member(f, segment, S("startIndex")), &from);
        is_int(f, member(f, segment, S("endIndex")), &to);
        if (!json_is(f->j, list, JSON_ARRAY))
            continue;
        JSON_EACH_ITEM(f->j, list, i) {
            if (!is_int(f, i, &index) || index < 0 || index >= n)
                continue;
            jref web = member(f, chunk[index], S("web"));
            if (!json_is(f->j, web, JSON_OBJECT))
                continue;
            if (!b.len)
                jw_begin(&w, '[');
            jw_begin(&w, '{');
            put_str(&w, S("type"), S("url_citation"));
            put_str(&w, S("url"), text_of(f, web, S("uri")));
            put_str(&w, S("title"), text_of(f, web, S("title")));
            put_int(&w, S("start_index"), from);
            put_int(&w, S("end_index"), to);
            jw_end(&w, '}');
        }
    }
    if (b.len)
        jw_end(&w, ']');
    return b.len ? buf_to_arena(&b, f->a) : S("");
}

/* A part that is only a signature belongs to the one before it. */
static bool joins_last(const struct block *b, const struct reply *r)
{
    struct block *last = r->n ? &r->blocks[r->n - 1] : NULL;
    if (!last || b->kind != BLOCK_TEXT || b->text.len || !b->signature.len || last->signature.len)
        return false;
    last->signature = b->signature;
    last->origin = b->origin;
    return true;
}

static void candidate_read(const struct reading *f, jref n, struct reply *out)
{
    enum { CONTENT, FINISH, LOGPROBS, INDEX, N };
    NAMES(S("content"), S("finishReason"), S("logprobsResult"), S("index"));
    jref v[N];
    bool has_calls = false;
    struct members rest = { 0 };
    gemini_get(f, n, names, N, v, &rest, S("candidate"));
    for (size_t i = 0; i < rest.n; i++)
        members_add(&out->rest, f->a, rest.items[i].key, rest.items[i].raw);
    jref parts = member(f, v[CONTENT], S("parts"));
    if (json_is(f->j, parts, JSON_ARRAY))
        JSON_EACH_ITEM(f->j, parts, part) {
            struct block b = { 0 };
            if (out->n == GEMINI_PARTS_MAX || !gemini_part_block(f, part, &b) || joins_last(&b, out))
                continue;
            if (b.kind == BLOCK_TOOL_CALL && !b.call_id.len)
                b.call_id = gemini_made_call_id(f->a, out->id.len ? out->id : json_raw(f->j, n), out->n);
            has_calls |= b.kind == BLOCK_TOOL_CALL;
            *PUSH(f->a, out->blocks, out->n) = b;
        }
    str citations = gemini_citations(f, member(f, n, S("groundingMetadata")));
    for (uint32_t i = out->n; citations.len && i-- > 0; )
        if (out->blocks[i].kind == BLOCK_TEXT) {
            out->blocks[i].citations = citations;
            break;
        }
    out->logprobs = gemini_logprobs(f, v[LOGPROBS]);
    out->stop_text = json_str(f->j, v[FINISH], f->a);
    out->stop = gemini_stop(out->stop_text, has_calls);
}

int gemini_reply_read(struct arena *a, const struct json *j, struct reply *out, struct err *e)
{
    enum { CANDIDATES, USAGE, ID, MODEL, N };
    NAMES(S("candidates"), S("usageMetadata"), S("responseId"), S("modelVersion"));
    struct reading f = { .a = a, .j = j, .e = e };
    jref v[N];
    *out = (struct reply){ .dialect = &dialect_gemini };
    if (!json_is(j, 0, JSON_OBJECT))
        return err_set(e, "expected an object, got %s", json_kind_name(json_kind(j, 0)));
    gemini_get(&f, 0, names, N, v, &out->rest, S(""));
    out->id = json_str(j, v[ID], a);
    out->model = json_str(j, v[MODEL], a);
    gemini_usage_read(&f, v[USAGE], &out->usage);
    jref feedback = member(&f, 0, S("promptFeedback"));
    str blocked = text_of(&f, feedback, S("blockReason"));
    bool has_candidate = json_is(j, v[CANDIDATES], JSON_ARRAY) && json_count(j, v[CANDIDATES]) &&
        json_is(j, v[CANDIDATES] + 1, JSON_OBJECT);
    if (has_candidate) {
        candidate_read(&f, v[CANDIDATES] + 1, out);
    } else if (blocked.len) {
        out->stop = STOP_FILTER;
        out->stop_text = blocked;
    } else {
        return fields_wrong(&f, AT(NULL, "candidates"), v[CANDIDATES], "an array with a candidate");
    }
    return 0;
}

/* ---- errors ---- */

/* A bad key is an invalid argument to Google; its details say better. */
static bool is_bad_key(const struct reading *f, jref details)
{
    if (json_is(f->j, details, JSON_ARRAY))
        JSON_EACH_ITEM(f->j, details, item)
            if (json_is(f->j, item, JSON_OBJECT) && str_starts(text_of(f, item, S("reason")), S("API_KEY_")))
                return true;
    return false;
}

bool gemini_error_read(struct arena *a, const struct json *j, int status, struct failure *out)
{
    struct reading f = { .a = a, .j = j };
    jref whole = json_is(j, 0, JSON_ARRAY) && json_count(j, 0) ? 1 : 0;
    jref error = json_is(j, whole, JSON_OBJECT) ? json_get(j, whole, S("error")) : JSON_NONE;
    int64_t code = 0;
    if (!json_is(j, error, JSON_OBJECT))
        return false;
    json_int(j, json_get(j, error, S("code")), &code);
    if (status < 400 && code >= 400 && code < 600)
        status = (int)code;
    if (status < 400)
        status = 500;
    if (is_bad_key(&f, json_get(j, error, S("details"))))
        status = 401;
    *out = (struct failure){ .status = status, .kind = failure_kind_of_status(status), .type = text_of(&f, error, S("status")),
                             .message = text_of(&f, error, S("message")) };
    if (!out->message.len)
        out->message = S("the provider gave no reason");
    return true;
}
