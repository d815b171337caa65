/* dialect/gemini_write.c -- canonical requests, answers and errors as generateContent spells them.
 *
 * Turns of one side become one content, because results of parallel calls must stand together. Models of the third generation
 * refuse a call without its thoughtSignature: one that was not made by Gemini gets the value that Google documents for it. Models
 * before 2.5 know no JSON Schema: theirs is cut down to the OpenAPI subset. */
#include <stdio.h>

#include "base/put.h"
#include "dialect/anthropic_parts.h"
#include "dialect/gemini.h"

enum {
    NAME_MAX_BYTES = 64,                /* of functions */
    STOPS_MAX = 5,
};

static const str no_signature = S("skip_thought_signature_validator");

static bool is_own(const struct dialect_ops *d)
{
    return d == &dialect_gemini;
}

/* ---- what a model knows ---- */

static bool model_has(str model, const char *part)
{
    return str_find(model, str_of(part)) >= 0;
}

static bool wants_signatures(str model)         /* the third generation on */
{
    return model_has(model, "gemini") && !model_has(model, "gemini-1") && !model_has(model, "gemini-2");
}

static bool knows_json_schema(str model)
{
    return !model_has(model, "gemini-1") && !model_has(model, "gemini-2.0");
}

static bool has_levels(str model)               /* thinkingLevel instead of thinkingBudget */
{
    return !model_has(model, "gemini-2");
}

/* ---- schemas for old models ---- */

enum { SCHEMA_DEPTH_MAX = 32, SCHEMA_BYTES_MAX = 1 << 20 };    /* references may repeat: beyond, an object of any kind */

struct schema { struct arena *a; const struct json *j; struct json_writer *w; };

static void openapi_write(const struct schema *s, jref n, unsigned depth);

static jref resolve(const struct schema *s, jref n)
{
    for (unsigned hops = 0; hops < 8 && json_is(s->j, n, JSON_OBJECT); hops++) {
        str ref = json_str(s->j, json_get(s->j, n, S("$ref")), s->a);
        if (!str_starts(ref, S("#/")))
            return n;
        jref at = 0;
        for (str rest = str_from(ref, 2); rest.len && json_is(s->j, at, JSON_OBJECT); ) {
            str step = str_cut(&rest, '/');
            at = json_get(s->j, at, step);
        }
        if (!json_is(s->j, at, JSON_OBJECT))
            return n;
        n = at;
    }
    return n;
}

/* ["string","null"] is a nullable string; more than one other type: any of them. */
static void type_write(const struct schema *s, jref type)
{
    uint32_t others = 0;
    bool is_nullable = false;
    if (json_kind(s->j, type) == JSON_STRING) {
        put_raw(s->w, S("type"), json_raw(s->j, type));
        return;
    }
    if (json_kind(s->j, type) != JSON_ARRAY)
        return;
    JSON_EACH_ITEM(s->j, type, item) {
        is_nullable |= str_eq(json_raw(s->j, item), S("\"null\""));
        others += !str_eq(json_raw(s->j, item), S("\"null\""));
    }
    if (others > 1)
        put_open(s->w, S("anyOf"), '[');
    JSON_EACH_ITEM(s->j, type, item) {
        if (str_eq(json_raw(s->j, item), S("\"null\"")))
            continue;
        if (others > 1)
            jw_begin(s->w, '{');
        put_raw(s->w, S("type"), json_raw(s->j, item));
        if (others > 1)
            jw_end(s->w, '}');
    }
    if (others > 1)
        jw_end(s->w, ']');
    if (is_nullable)
        put_bool(s->w, S("nullable"), true);
}

static void openapi_members(const struct schema *s, jref n, unsigned depth)
{
    static const char *const kept[] = { "format", "title", "description", "nullable", "enum", "maxItems", "minItems", "required",
                                        "maxProperties", "minProperties", "minimum", "maximum", "minLength", "maxLength",
                                        "pattern" };
    JSON_EACH_PAIR(s->j, n, key, value) {
        str name = json_str(s->j, key, s->a);
        if (str_eq(name, S("type"))) {
            type_write(s, value);
        } else if (str_eq(name, S("const"))) {
            put_open(s->w, S("enum"), '[');
            jw_raw(s->w, json_raw(s->j, value));
            jw_end(s->w, ']');
        } else if (str_eq(name, S("items")) && json_kind(s->j, value) == JSON_OBJECT) {
            jw_key(s->w, name);
            openapi_write(s, value, depth + 1);
        } else if (str_eq(name, S("properties")) && json_kind(s->j, value) == JSON_OBJECT) {
            put_open(s->w, name, '{');
            JSON_EACH_PAIR(s->j, value, property, schema) {
                jw_key(s->w, json_str(s->j, property, s->a));
                openapi_write(s, schema, depth + 1);
            }
            jw_end(s->w, '}');
        } else if ((str_eq(name, S("anyOf")) || str_eq(name, S("oneOf"))) && json_kind(s->j, value) == JSON_ARRAY) {
            put_open(s->w, S("anyOf"), '[');
            JSON_EACH_ITEM(s->j, value, item)
                openapi_write(s, item, depth + 1);
            jw_end(s->w, ']');
        } else if (str_eq(name, S("allOf")) && json_is(s->j, value, JSON_ARRAY)) {
            JSON_EACH_ITEM(s->j, value, item) {
                jref part = resolve(s, item);
                if (json_is(s->j, part, JSON_OBJECT) && depth < SCHEMA_DEPTH_MAX)
                    openapi_members(s, part, depth + 1);
            }
        } else {
            for (size_t i = 0; i < COUNT_OF(kept); i++)
                if (str_eq(name, str_of(kept[i])))
                    put_raw(s->w, name, json_raw(s->j, value));
        }
    }
}

static void openapi_write(const struct schema *s, jref n, unsigned depth)
{
    jw_begin(s->w, '{');
    n = resolve(s, n);
    if (json_is(s->j, n, JSON_OBJECT) && depth < SCHEMA_DEPTH_MAX && s->w->out->len < SCHEMA_BYTES_MAX)
        openapi_members(s, n, depth);
    jw_end(s->w, '}');
}

static str openapi_schema(struct arena *a, str schema)
{
    struct json j;
    struct buf b = { 0 };
    struct json_writer w = { .out = &b };
    if (json_parse(a, schema, &j, NULL) < 0)
        return S("{}");
    openapi_write(&(struct schema){ a, &j, &w }, 0, 0);
    return buf_to_arena(&b, a);
}

/* ---- opaque data ---- */

/* An envelope (anthropic_parts.h) is no base64, but this field has to be. */
str gemini_signature(struct arena *a, const struct block *b, const struct dialect_ops *from)
{
    bool is_sealed = b->kind == BLOCK_SEALED_REASONING;
    str data = is_sealed ? b->sealed : b->signature;
    str origin = b->origin.len ? b->origin : str_of(from ? from->name : "gemini");
    if (!data.len || (str_eq(origin, S("gemini")) && !is_sealed))
        return data;
    return base64_write(a, anthropic_wrap(a, origin, is_sealed ? "sealed" : "thought", data));
}

/* ---- requests: parts ---- */

struct request {
    const struct prompt *p;
    const struct target *to;
    struct translation *t;
    struct json_writer *w;
    bool is_own, has_warned_cache;
    bool has_call;                      /* the present content has one */
    uint32_t turn;
};

static str here(const struct request *r, uint32_t block)
{
    return block_place(r->p, r->t->a, r->turn, block);
}

/* A signature that Gemini made: it came on its own wire, or with its name on it. */
static str own_signature(const struct request *r, const struct block *b)
{
    bool is_from_here = b->origin.len ? str_eq(b->origin, S("gemini")) : r->is_own;
    if (!is_from_here && b->signature.len && b->kind != BLOCK_REASONING)
        translation_warn(r->t, S("signature"), "dropped");
    return is_from_here ? b->signature : S("");
}

static void rest_of(struct request *r, const struct block *b, str prefix)
{
    static const str nested[] = { S("functionCall"), S("functionResponse") };
    if (r->is_own) {
        rest_write(r->w, &b->rest, prefix, nested, prefix.len ? 0 : COUNT_OF(nested));
        return;
    }
    for (size_t i = 0; i < b->rest.n && !prefix.len; i++)
        translation_warn(r->t, b->rest.items[i].key, "dropped");
    if (b->cache_control.len && !prefix.len && !r->has_warned_cache) {
        translation_warn(r->t, S("cache_control"), "dropped");
        r->has_warned_cache = true;
    }
}

static void text_part(struct request *r, const struct block *b, bool is_thought)
{
    str signature = own_signature(r, b);
    if (!b->text.len && !signature.len && !r->is_own)
        return;
    jw_begin(r->w, '{');
    put_str(r->w, S("text"), b->text);
    if (is_thought)
        put_bool(r->w, S("thought"), true);
    put_text(r->w, S("thoughtSignature"), signature);
    rest_of(r, b, S(""));
    jw_end(r->w, '}');
}

static str media_type(const struct block *b)
{
    static const struct { const char *end, *type; } ends[] = {
        { ".png", "image/png" }, { ".jpg", "image/jpeg" }, { ".jpeg", "image/jpeg" }, { ".gif", "image/gif" },
        { ".webp", "image/webp" },
        { ".pdf", "application/pdf" }, { ".txt", "text/plain" }, { ".mp3", "audio/mp3" }, { ".wav", "audio/wav" },
        { ".mp4", "video/mp4" },
    };
    const struct media *m = &b->media;
    str path = m->url.len ? m->url : S("");
    if (m->media_type.len)
        return m->media_type;
    if (b->kind == BLOCK_AUDIO && m->format.len)
        return str_eq(m->format, S("mp3")) ? S("audio/mp3") : S("audio/wav");
    if (m->data.len && media_sniff(m->data).len)
        return media_sniff(m->data);
    path = str_cut(&path, '?');
    for (size_t i = 0; i < COUNT_OF(ends); i++)
        if (str_ends(path, str_of(ends[i].end)) || str_ends(m->name, str_of(ends[i].end)))
            return str_of(ends[i].type);
    return b->kind == BLOCK_IMAGE ? S("image/jpeg") : b->kind == BLOCK_AUDIO ? S("audio/wav") : S("application/pdf");
}

static int media_part(struct request *r, const struct block *b, uint32_t at)
{
    const struct media *m = &b->media;
    struct json_writer *w = r->w;
    if (m->text.len) {
        struct block text = { .text = m->name.len ? arena_printf(r->t->a, STR_FMT ":\n", STR_ARG(m->name)) : S("") };
        struct buf whole = { 0 };
        buf_str(&whole, text.text);
        buf_str(&whole, m->text);
        text.text = buf_to_arena(&whole, r->t->a);
        text_part(r, &text, false);
        translation_warn(r->t, here(r, at), "approximated");
        return 0;
    }
    if (m->file_id.len && !r->is_own)
        return translation_lose(r->t, r->to, here(r, at), "a file that another provider holds");
    jw_begin(w, '{');
    if (m->data.len) {
        put_open(w, S("inlineData"), '{');
        put_str(w, S("mimeType"), media_type(b));
        put_str(w, S("data"), m->data);
    } else {
        put_open(w, S("fileData"), '{');
        if (!r->is_own || m->media_type.len)
            put_str(w, S("mimeType"), media_type(b));
        put_str(w, S("fileUri"), m->file_id.len ? m->file_id : m->url);
    }
    if (r->is_own)
        put_text(w, S("displayName"), m->name);
    jw_end(w, '}');
    put_text(w, S("thoughtSignature"), own_signature(r, b));
    rest_of(r, b, S(""));
    jw_end(w, '}');
    return 0;
}

static bool is_made_id(str id)
{
    return str_starts(id, S("call_gemini_"));
}

static int call_part(struct request *r, const struct block *b, uint32_t at)
{
    struct json_writer *w = r->w;
    str arguments, signature = own_signature(r, b);
    if (!arguments_as_object(r->t->a, b, &arguments))
        return translation_refuse(r->t, here(r, at), "the arguments of the call of '" STR_FMT "' are not a JSON object",
                                  STR_ARG(b->name));
    if (!signature.len && !r->is_own && !r->has_call && wants_signatures(r->to->model))
        signature = no_signature;
    r->has_call = true;
    jw_begin(w, '{');
    put_open(w, S("functionCall"), '{');
    if (!is_made_id(b->call_id))
        put_text(w, S("id"), b->call_id);
    put_str(w, S("name"), r->is_own ? b->name : translation_rename(r->t, b->name, NAME_MAX_BYTES, "_-.:"));
    put_raw(w, S("args"), arguments);
    rest_of(r, b, S("functionCall"));
    jw_end(w, '}');
    put_text(w, S("thoughtSignature"), signature);
    rest_of(r, b, S(""));
    jw_end(w, '}');
    return 0;
}

static str call_name(const struct request *r, const struct block *result)
{
    if (result->name.len)
        return result->name;
    for (uint32_t i = 0; i < r->p->n_turns; i++)
        for (uint32_t k = 0; k < r->p->turns[i].n; k++) {
            const struct block *b = &r->p->turns[i].blocks[k];
            if (b->kind == BLOCK_TOOL_CALL && str_eq(b->call_id, result->call_id))
                return b->name;
        }
    return S("");
}

static int part_write(struct request *r, const struct block *b, uint32_t at);

/* Its text as the object that is wanted: itself, or {"output": text}. */
static void response_write(struct request *r, const struct block *b)
{
    struct buf text = { 0 };
    for (uint32_t i = 0; i < b->n_content; i++) {
        if (b->content[i].kind != BLOCK_TEXT)
            continue;
        if (text.len)
            buf_char(&text, '\n');
        buf_str(&text, b->content[i].text);
    }
    str whole = buf_to_arena(&text, r->t->a);
    jw_key(r->w, S("response"));
    if (!b->is_error && json_is_object_text(r->t->a, whole)) {
        jw_raw(r->w, str_trim(whole));
        return;
    }
    jw_begin(r->w, '{');
    put_str(r->w, b->is_error ? S("error") : S("output"), whole);
    jw_end(r->w, '}');
}

static int result_part(struct request *r, const struct block *b, uint32_t at)
{
    struct json_writer *w = r->w;
    str name = call_name(r, b);
    bool has_media = false;
    if (!name.len)
        return translation_refuse(r->t, here(r, at),
                                  "there is no call with the id '" STR_FMT "' that this could be the result of",
                                  STR_ARG(b->call_id));
    for (uint32_t i = 0; i < b->n_content; i++)
        has_media |= b->content[i].kind != BLOCK_TEXT;
    jw_begin(w, '{');
    put_open(w, S("functionResponse"), '{');
    if (!is_made_id(b->call_id))
        put_text(w, S("id"), b->call_id);
    put_str(w, S("name"), r->is_own ? name : translation_rename(r->t, name, NAME_MAX_BYTES, "_-.:"));
    response_write(r, b);
    if (has_media && r->is_own) {
        put_open(w, S("parts"), '[');
        for (uint32_t i = 0; i < b->n_content; i++)
            if (b->content[i].kind != BLOCK_TEXT && part_write(r, &b->content[i], at) < 0)
                return -1;
        jw_end(w, ']');
    }
    rest_of(r, b, S("functionResponse"));
    jw_end(w, '}');
    rest_of(r, b, S(""));
    jw_end(w, '}');
    /* behind the response: all models read it there */
    for (uint32_t i = 0; has_media && !r->is_own && i < b->n_content; i++)
        if (b->content[i].kind != BLOCK_TEXT && part_write(r, &b->content[i], at) < 0)
            return -1;
    return 0;
}

static int reasoning_part(struct request *r, const struct block *b)
{
    bool is_from_here = b->origin.len ? str_eq(b->origin, S("gemini")) : r->is_own;
    if (!is_from_here || b->kind == BLOCK_SEALED_REASONING) {
        translation_warn(r->t, S("reasoning"), "dropped");
        return 0;
    }
    text_part(r, b, true);
    return 0;
}

static int part_write(struct request *r, const struct block *b, uint32_t at)
{
    switch (b->kind) {
    case BLOCK_TEXT:
    case BLOCK_REFUSAL:
        text_part(r, b, false);
        return 0;
    case BLOCK_IMAGE:
    case BLOCK_AUDIO:
    case BLOCK_FILE:
        return media_part(r, b, at);
    case BLOCK_TOOL_CALL:
        return call_part(r, b, at);
    case BLOCK_TOOL_RESULT:
        return result_part(r, b, at);
    case BLOCK_REASONING:
    case BLOCK_SEALED_REASONING:
        return reasoning_part(r, b);
    default:
        break;
    }
    if (r->is_own) {
        jw_raw(r->w, b->raw);
        return 0;
    }
    if (r->turn < r->p->n_turns && r->p->turns[r->turn].role == ROLE_ASSISTANT) {    /* what another provider did for itself */
        translation_warn(r->t, here(r, at), "dropped");
        return 0;
    }
    char *what = arena_cstr(r->t->a, arena_printf(r->t->a, "a " STR_FMT " block", STR_ARG(b->raw_type)));
    return translation_lose(r->t, r->to, here(r, at), what);
}

/* ---- requests: contents ---- */

static bool is_system(const struct turn *t)
{
    return t->role == ROLE_SYSTEM || t->role == ROLE_DEVELOPER;
}

static int system_write(struct request *r)
{
    const struct prompt *p = r->p;
    bool needs_line = p->output == OUTPUT_JSON_SCHEMA && r->to->lacks_json_schema, has_any = p->n_system > 0 || needs_line;
    for (uint32_t i = 0; i < p->n_turns; i++)
        has_any |= is_system(&p->turns[i]);
    if (!has_any)
        return 0;
    put_open(r->w, S("systemInstruction"), '{');
    put_open(r->w, S("parts"), '[');
    for (uint32_t i = 0; i < p->n_system; i++)
        if (part_write(r, &p->system[i], i) < 0)
            return -1;
    for (r->turn = 0; r->turn < p->n_turns; r->turn++) {
        const struct turn *t = &p->turns[r->turn];
        for (uint32_t k = 0; is_system(t) && k < t->n; k++)
            if (part_write(r, &t->blocks[k], k) < 0)
                return -1;
    }
    if (needs_line)
        text_part(r, &(struct block){ .text = output_instruction(r->t->a, p) }, false);
    jw_end(r->w, ']');
    jw_end(r->w, '}');
    return 0;
}

static int contents_write(struct request *r)
{
    const struct prompt *p = r->p;
    put_open(r->w, S("contents"), '[');
    for (r->turn = 0; r->turn < p->n_turns; ) {
        const struct turn *first = &p->turns[r->turn];
        bool is_model = first->role == ROLE_ASSISTANT;
        if (is_system(first)) {
            r->turn++;
            continue;
        }
        size_t before = r->w->out->len;
        bool needed_comma = r->w->need_comma;
        jw_begin(r->w, '{');
        put_str(r->w, S("role"), is_model ? S("model") : S("user"));
        put_open(r->w, S("parts"), '[');
        size_t empty = r->w->out->len;
        r->has_call = false;
        while (r->turn < p->n_turns) {
            const struct turn *t = &p->turns[r->turn];
            if (!is_system(t) && (t->role == ROLE_ASSISTANT) != is_model)
                break;
            for (uint32_t k = 0; !is_system(t) && k < t->n; k++)
                if (part_write(r, &t->blocks[k], k) < 0)
                    return -1;
            if (!is_system(t) && !r->is_own && t->name.len)
                translation_warn(r->t, S("name"), "dropped");
            r->turn++;
            if (r->is_own)
                break;                  /* its own contents stay apart */
        }
        bool is_empty = r->w->out->len == empty && !r->is_own;
        jw_end(r->w, ']');
        if (r->is_own)
            members_write(&first->rest, r->w);
        jw_end(r->w, '}');
        if (is_empty) {                 /* nothing of it could be said: the API refuses contents without parts */
            r->w->out->len = before;
            r->w->need_comma = needed_comma;
        }
    }
    jw_end(r->w, ']');
    return 0;
}

/* ---- requests: tools ---- */

static void function_write(struct request *r, const struct tool *t)
{
    struct json_writer *w = r->w;
    bool is_custom = t->kind == TOOL_CUSTOM;
    str schema = is_custom ? CUSTOM_TOOL_SCHEMA : t->parameters;
    jw_begin(w, '{');
    put_str(w, S("name"), r->is_own ? t->name : translation_rename(r->t, t->name, NAME_MAX_BYTES, "_-.:"));
    put_text(w, S("description"), is_custom ? custom_tool_description(r->t->a, t) : t->description);
    if (r->is_own && t->raw.len)
        put_raw(w, S("parameters"), t->raw);
    else if (schema.len && knows_json_schema(r->to->model))
        put_raw(w, S("parametersJsonSchema"), schema);
    else if (schema.len)
        put_raw(w, S("parameters"), openapi_schema(r->t->a, schema));
    if (r->is_own)
        members_write(&t->rest, w);
    jw_end(w, '}');
    for (size_t i = 0; !r->is_own && i < t->rest.n; i++)
        translation_warn(r->t, t->rest.items[i].key, "dropped");
    if (t->cache_control.len && !r->has_warned_cache) {
        translation_warn(r->t, S("cache_control"), "dropped");
        r->has_warned_cache = true;
    }
}

/* All functions in one list; tools that Google runs beside it. Of others' hosted tools only a web search, and only alone: Gemini
 * refuses it together with functions. */
static void tools_write(struct request *r)
{
    const struct prompt *p = r->p;
    uint32_t n_functions = 0;
    for (uint32_t i = 0; i < p->n_tools; i++)
        n_functions += p->tools[i].kind != TOOL_HOSTED;
    put_open(r->w, S("tools"), '[');
    if (n_functions) {
        jw_begin(r->w, '{');
        put_open(r->w, S("functionDeclarations"), '[');
        for (uint32_t i = 0; i < p->n_tools; i++)
            if (p->tools[i].kind != TOOL_HOSTED)
                function_write(r, &p->tools[i]);
        jw_end(r->w, ']');
        jw_end(r->w, '}');
    }
    for (uint32_t i = 0; i < p->n_tools; i++) {
        const struct tool *t = &p->tools[i];
        if (t->kind != TOOL_HOSTED)
            continue;
        bool is_search = !r->is_own && str_starts(t->raw_type, S("web_search")) && !n_functions;
        if (r->is_own)
            jw_raw(r->w, t->raw);
        else if (is_search)
            jw_raw(r->w, S("{\"googleSearch\":{}}"));
        if (!r->is_own)
            translation_warn(r->t, arena_printf(r->t->a, "tools[%u]", i), is_search ? "approximated" : "dropped");
    }
    jw_end(r->w, ']');
}

static int choice_write(struct request *r)
{
    const struct prompt *p = r->p;
    struct json_writer *w = r->w;
    const struct member *mode = r->is_own ? rest_find(&p->rest, S("toolConfig.functionCallingConfig.mode")) : NULL;
    bool has_rest = r->is_own && rest_has(&p->rest, S("toolConfig"));
    static const str nested[] = { S("toolConfig.functionCallingConfig") };
    if (p->choice == CHOICE_UNSET && !has_rest)
        return 0;
    for (uint32_t i = 0; !r->is_own && i < p->n_chosen; i++) {
        bool is_there = false;
        for (uint32_t k = 0; k < p->n_tools; k++)
            is_there |= p->tools[k].kind != TOOL_HOSTED && str_eq(p->tools[k].name, p->chosen[i]);
        if (!is_there)
            return translation_refuse(r->t, knob_name(p, KNOB_TOOL_CHOICE), "there is no tool called '" STR_FMT "'",
                                      STR_ARG(p->chosen[i]));
    }
    put_open(w, S("toolConfig"), '{');
    if (p->choice != CHOICE_UNSET) {
        bool names = p->n_chosen > 0 && p->choice != CHOICE_NONE;
        put_open(w, S("functionCallingConfig"), '{');
        if (!mode)
            put_str(w, S("mode"), p->choice == CHOICE_NONE ? S("NONE") : p->choice != CHOICE_AUTO ? S("ANY")
                                : names ? S("VALIDATED") : S("AUTO"));
        if (names) {
            put_open(w, S("allowedFunctionNames"), '[');
            for (uint32_t i = 0; i < p->n_chosen; i++)
                jw_str(w, r->is_own ? p->chosen[i] : translation_rename(r->t, p->chosen[i], NAME_MAX_BYTES, "_-.:"));
            jw_end(w, ']');
        }
        if (r->is_own)
            rest_write(w, &p->rest, S("toolConfig.functionCallingConfig"), NULL, 0);
        jw_end(w, '}');
    }
    if (has_rest)
        rest_write(w, &p->rest, S("toolConfig"), nested, COUNT_OF(nested));
    jw_end(w, '}');
    return 0;
}

/* ---- requests: settings ---- */

/* Google's own mapping of efforts for its OpenAI door; a model that cannot be told not to think is told to think little. */
static const struct { str effort; int64_t budget; str level; } efforts[] = {
    { S("none"), 0, S("MINIMAL") }, { S("minimal"), 1024, S("MINIMAL") }, { S("low"), 1024, S("LOW") },
    { S("medium"), 8192, S("MEDIUM") }, { S("high"), 24576, S("HIGH") }, { S("xhigh"), 24576, S("HIGH") },
    { S("max"), 24576, S("HIGH") },
};

static void thinking_write(struct request *r)
{
    const struct prompt *p = r->p;
    struct json_writer *w = r->w;
    bool has_rest = r->is_own && rest_has(&p->rest, S("generationConfig.thinkingConfig"));
    bool is_off = p->reasoning == REASONING_OFF, is_pro = model_has(r->to->model, "-pro");
    str effort = is_off && !p->reasoning_effort.len ? S("none") : p->reasoning_effort;
    bool reasons = p->reasoning == REASONING_ON || p->reasoning == REASONING_ADAPTIVE;
    bool shows = p->reasoning_summary.len ? !str_eq(p->reasoning_summary, S("none")) : reasons && !r->is_own &&
                 strcmp(p->dialect->name, "openai_responses") != 0;
    bool has_budget = p->reasoning_budget != 0 || (r->is_own && is_off);
    if (p->reasoning == REASONING_UNSET && !effort.len && !p->reasoning_summary.len && !has_rest)
        return;
    put_open(w, S("thinkingConfig"), '{');
    if (has_budget) {
        put_int(w, S("thinkingBudget"), p->reasoning_budget);
    } else {
        for (size_t i = 0; i < COUNT_OF(efforts); i++) {
            if (!str_eq(effort, efforts[i].effort))
                continue;
            bool is_pro_off = is_pro && (i <= 1);
            if (r->is_own && !str_eq(effort, S("none"))) {
                break;
            } else if (has_levels(r->to->model)) {
                put_str(w, S("thinkingLevel"), is_pro_off ? S("LOW") : efforts[i].level);
            } else {
                put_int(w, S("thinkingBudget"), is_pro_off && i == 0 ? 128 : efforts[i].budget);
            }
            if (i == 0 || i > 4)
                translation_warn(r->t, knob_name(p, KNOB_REASONING), "approximated");
        }
        if (r->is_own && effort.len && !str_eq(effort, S("none"))) {
            char *level = arena_cstr(r->t->a, effort);
            for (size_t i = 0; i < effort.len; i++)
                level[i] = level[i] >= 'a' && level[i] <= 'z' ? (char)(level[i] - 32) : level[i];
            put_str(w, S("thinkingLevel"), (str){ level, effort.len });
        }
    }
    if (r->is_own ? p->reasoning_summary.len > 0 : shows)
        put_bool(w, S("includeThoughts"), shows);
    if (has_rest)
        rest_write(w, &p->rest, S("generationConfig.thinkingConfig"), NULL, 0);
    jw_end(w, '}');
}

static void output_write(struct request *r)
{
    const struct prompt *p = r->p;
    if (p->output == OUTPUT_UNSET || (p->output == OUTPUT_TEXT && !r->is_own))
        return;
    put_str(r->w, S("responseMimeType"), p->output == OUTPUT_TEXT ? S("text/plain") : S("application/json"));
    if (p->output != OUTPUT_JSON_SCHEMA || !p->schema.len || r->to->lacks_json_schema)
        return;
    if (knows_json_schema(r->to->model))
        put_raw(r->w, S("responseJsonSchema"), p->schema);
    else
        put_raw(r->w, S("responseSchema"), openapi_schema(r->t->a, p->schema));
}

static void generation_write(struct request *r)
{
    const struct prompt *p = r->p;
    struct json_writer *w = r->w;
    static const str nested[] = { S("generationConfig.thinkingConfig") };
    size_t before = w->out->len;
    bool needed_comma = w->need_comma;
    put_open(w, S("generationConfig"), '{');
    size_t empty = w->out->len;
    put_number(w, S("temperature"), p->temperature);
    put_number(w, S("topP"), p->top_p);
    if (p->top_k >= 0)
        put_int(w, S("topK"), p->top_k);
    if (r->is_own)
        put_positive(w, S("candidateCount"), p->n_answers);
    put_positive(w, S("maxOutputTokens"), p->max_tokens);
    if (p->n_stops)
        put_strs(w, S("stopSequences"), p->stops, r->is_own || p->n_stops < STOPS_MAX ? p->n_stops : STOPS_MAX);
    if (p->has_seed)
        put_int(w, S("seed"), p->seed);
    put_number(w, S("presencePenalty"), p->presence_penalty);
    put_number(w, S("frequencyPenalty"), p->frequency_penalty);
    put_flag(w, S("responseLogprobs"), p->logprobs > 0 || r->is_own ? p->logprobs : -1);
    if (p->top_logprobs > 0 && (p->logprobs > 0 || r->is_own))
        put_int(w, S("logprobs"), p->top_logprobs);
    output_write(r);
    thinking_write(r);
    if (r->is_own)
        rest_write(w, &p->rest, S("generationConfig"), nested, COUNT_OF(nested));
    if (w->out->len == empty) {
        w->out->len = before;
        w->need_comma = needed_comma;
        return;
    }
    jw_end(w, '}');
}

static int losses(struct request *r)
{
    const struct prompt *p = r->p;
    struct prompt left = *p;                    /* prompt_lose_foreign's losses, less those that are none here */
    left.has_seed = false;
    left.logprobs = -1;
    left.top_logprobs = -1;
    left.presence_penalty = left.frequency_penalty = (double)NAN;
    if (prompt_lose_foreign(&left, r->to, r->t) < 0)
        return -1;
    if (p->n_stops > STOPS_MAX && translation_lose(r->t, r->to, knob_name(p, KNOB_STOP), "more than five stop sequences") < 0)
        return -1;
    static const struct { enum knob knob; size_t at; } texts[] = {
        { KNOB_USER, offsetof(struct prompt, user) }, { KNOB_SERVICE_TIER, offsetof(struct prompt, service_tier) },
        { KNOB_METADATA, offsetof(struct prompt, metadata) },
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        const str *given = (const str *)(const void *)((const char *)p + texts[i].at);
        if (given->len)
            translation_warn(r->t, knob_name(p, texts[i].knob), "dropped");
    }
    if (p->parallel_tool_calls == 0)
        translation_warn(r->t, knob_name(p, KNOB_PARALLEL), "dropped");
    return 0;
}

int gemini_request_write(const struct prompt *p, const struct target *to, struct translation *t, struct buf *out)
{
    struct json_writer w = { .out = out };
    struct request r = { .p = p, .to = to, .t = t, .w = &w, .is_own = is_own(p->dialect) };
    static const str nested[] = { S("toolConfig"), S("generationConfig") };
    if (!r.is_own && losses(&r) < 0)
        return -1;
    jw_begin(&w, '{');
    if (system_write(&r) < 0 || contents_write(&r) < 0)
        return -1;
    if (p->n_tools)
        tools_write(&r);
    if ((p->n_tools || r.is_own) && choice_write(&r) < 0)
        return -1;
    generation_write(&r);
    if (r.is_own) {
        put_given(&w, S("labels"), p->metadata);
        rest_write(&w, &p->rest, S(""), nested, COUNT_OF(nested));
    }
    jw_end(&w, '}');
    return 0;
}

/* ---- answers ---- */

const char *gemini_finish(enum stop_reason stop)
{
    switch (stop) {
    case STOP_LENGTH: case STOP_CONTEXT: return "MAX_TOKENS";
    case STOP_FILTER: case STOP_REFUSAL: return "SAFETY";
    case STOP_MALFORMED: return "MALFORMED_FUNCTION_CALL";
    default: return "STOP";
    }
}

void gemini_usage_write(const struct usage *u, struct json_writer *w)
{
    jw_begin(w, '{');
    put_int(w, S("promptTokenCount"), u->prompt_tokens);
    put_int(w, S("candidatesTokenCount"),
            u->completion_tokens > u->reasoning_tokens ? u->completion_tokens - u->reasoning_tokens : 0);
    put_int(w, S("totalTokenCount"), u->prompt_tokens + u->completion_tokens);
    put_positive(w, S("cachedContentTokenCount"), u->cached_tokens);
    put_positive(w, S("thoughtsTokenCount"), u->reasoning_tokens);
    jw_end(w, '}');
}

/* Arguments that were cut off are no object: they are told as what they are. */
static str args_object(struct arena *a, const struct block *b)
{
    str object;
    if (arguments_as_object(a, b, &object))
        return object;
    struct buf raw = { 0 };
    struct json_writer w = { .out = &raw };
    jw_begin(&w, '{');
    put_str(&w, S("_raw_arguments"), b->arguments);
    jw_end(&w, '}');
    return buf_to_arena(&raw, a);
}

void gemini_part_write(const struct block *b, const struct answer_context *c, const struct dialect_ops *from,
                       struct json_writer *w)
{
    str signature = gemini_signature(c->a, b, from);
    bool own = is_own(from);
    switch (b->kind) {
    case BLOCK_AUDIO: case BLOCK_IMAGE: case BLOCK_FILE:
        if (!b->media.data.len)
            return;
        break;
    case BLOCK_OTHER:
        if (own)
            jw_raw(w, json_compact(c->a, b->raw));
        return;
    case BLOCK_TOOL_RESULT: case BLOCK_KIND_N:
        return;
    default: break;
    }
    jw_begin(w, '{');
    if (b->kind == BLOCK_TOOL_CALL) {
        const struct translation *t = c->translation;
        put_open(w, S("functionCall"), '{');
        put_text(w, S("id"), t ? translation_name_back(t, b->call_id) : b->call_id);
        put_str(w, S("name"), t ? translation_name_back(t, b->name) : b->name);
        put_raw(w, S("args"), json_compact(c->a, args_object(c->a, b)));
        if (own)
            rest_write(w, &b->rest, S("functionCall"), NULL, 0);
        jw_end(w, '}');
    } else if (b->media.data.len) {
        put_open(w, S("inlineData"), '{');
        put_str(w, S("mimeType"), media_type(b));
        put_str(w, S("data"), b->media.data);
        jw_end(w, '}');
    } else {
        put_str(w, S("text"), b->text);
        if (b->kind == BLOCK_REASONING || b->kind == BLOCK_SEALED_REASONING)
            put_bool(w, S("thought"), true);
    }
    put_text(w, S("thoughtSignature"), signature);
    if (own) {
        static const str nested[] = { S("functionCall"), S("functionResponse") };
        rest_write(w, &b->rest, S(""), nested, COUNT_OF(nested));
    }
    jw_end(w, '}');
}

void gemini_reply_write(const struct reply *r, const struct answer_context *c, struct buf *out)
{
    struct json_writer writer = { .out = out }, *w = &writer;
    bool own = is_own(r->dialect), is_blocked = own && !r->n && r->stop == STOP_FILTER &&
        rest_find(&r->rest, S("promptFeedback"));
    static const str nested[] = { S("candidate") };
    jw_begin(w, '{');
    if (!is_blocked) {
        put_open(w, S("candidates"), '[');
        jw_begin(w, '{');
        put_open(w, S("content"), '{');
        put_open(w, S("parts"), '[');
        for (uint32_t i = 0; i < r->n; i++)
            gemini_part_write(&r->blocks[i], c, r->dialect, w);
        jw_end(w, ']');
        put_str(w, S("role"), S("model"));
        jw_end(w, '}');
        put_str(w, S("finishReason"), own && r->stop_text.len ? r->stop_text : str_of(gemini_finish(r->stop)));
        put_int(w, S("index"), 0);
        if (own)
            rest_write(w, &r->rest, S("candidate"), NULL, 0);
        jw_end(w, '}');
        jw_end(w, ']');
    }
    if (r->usage.is_known || r->usage.prompt_tokens || r->usage.completion_tokens) {
        jw_key(w, S("usageMetadata"));
        gemini_usage_write(&r->usage, w);
    }
    put_str(w, S("modelVersion"), r->model.len ? r->model : c->model);
    put_str(w, S("responseId"), r->id.len ? r->id : c->request_id);
    if (own)
        rest_write(w, &r->rest, S(""), nested, COUNT_OF(nested));
    jw_end(w, '}');
}

/* ---- errors ---- */

void gemini_error_write(const struct failure *f, struct buf *out)
{
    static const char *const words[FAILURE_KIND_N] = {
        [FAILURE_INVALID] = "INVALID_ARGUMENT", [FAILURE_AUTH] = "UNAUTHENTICATED", [FAILURE_BILLING] = "FAILED_PRECONDITION",
        [FAILURE_PERMISSION] = "PERMISSION_DENIED", [FAILURE_NOT_FOUND] = "NOT_FOUND", [FAILURE_CONFLICT] = "ABORTED",
        [FAILURE_TOO_LARGE] = "INVALID_ARGUMENT", [FAILURE_RATE_LIMIT] = "RESOURCE_EXHAUSTED", [FAILURE_SERVER] = "INTERNAL",
        [FAILURE_UPSTREAM] = "UNAVAILABLE", [FAILURE_OVERLOADED] = "UNAVAILABLE", [FAILURE_TIMEOUT] = "DEADLINE_EXCEEDED",
    };
    struct json_writer w = { .out = out };
    jw_begin(&w, '{');
    put_open(&w, S("error"), '{');
    put_int(&w, S("code"), f->status);
    put_str(&w, S("message"), f->message);
    put_str(&w, S("status"), str_of(words[f->kind]));
    jw_end(&w, '}');
    jw_end(&w, '}');
}
