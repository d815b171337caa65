/* dialect/openai_responses_read.c -- requests, answers and errors of the Responses API as canonical ones.
 *
 * Items are read one by one; `builder` decides which turn each belongs to. Two things have no counterpart elsewhere. A namespace
 * of tools becomes plain tools called "namespace__tool", each with the namespace's head in its `rest`, so that the writers can
 * put it together again. A reasoning item is readable reasoning whose signature is its encrypted content, or sealed reasoning
 * when it has no text. */
#include "dialect/openai_responses.h"

#include "base/put.h"
#include "dialect/anthropic_parts.h"

#define NAMES(...) static const str names[] = { __VA_ARGS__ }

bool responses_is_item_type(str type)
{
    static const char *const types[] = {
        "web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call", "computer_call", "mcp_call",
        "mcp_list_tools", "mcp_approval_request", "local_shell_call", "shell_call", "apply_patch_call", "tool_search_call",
        "tool_search_output", "compaction", "program", "local_shell_call_output", "shell_call_output", "apply_patch_call_output",
        "program_output",
    };
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (str_eq(type, str_of(types[i])))
            return true;
    return false;
}

static int raw_of(const struct reading *f, const struct spot *at, jref n, enum json_kind kind, str *out)
{
    if (fields_kind(f, at, n, kind) < 0)
        return -1;
    *out = fields_raw(f, n);
    return 0;
}

static int count_of(const struct reading *f, const struct spot *at, jref n, int64_t *out)
{
    if (fields_int(f, at, n, out) < 0)
        return -1;
    return n != JSON_NONE && *out < 0 ? fields_fail(f, at, "must not be negative") : 0;
}

/* ---- parts of messages ---- */

static str type_of(const struct reading *f, jref object)
{
    jref n = json_get(f->j, object, S("type"));
    return n == JSON_NONE ? S("") : json_str(f->j, n, f->a);
}

/* "status": "completed" of an item that was an answer says nothing. */
static void drop_status(struct members *rest)
{
    size_t kept = 0;
    for (size_t i = 0; i < rest->n; i++)
        if (!str_eq(rest->items[i].key, S("status")) || !str_eq(rest->items[i].raw, S("\"completed\"")))
            rest->items[kept++] = rest->items[i];
    rest->n = kept;
}

static struct block other_block(const struct reading *f, jref value, str type)
{
    return (struct block){ .kind = BLOCK_OTHER, .raw = json_raw(f->j, value), .raw_type = type };
}

static int text_part(const struct reading *f, const struct spot *at, jref part, struct block *b)
{
    enum { TYPE, TEXT, REFUSAL, ANNOTATIONS, N };
    NAMES(S("type"), S("text"), S("refusal"), S("annotations"));
    jref v[N];
    fields_get(f, part, names, N, v, &b->rest, S(""));
    if (v[ANNOTATIONS] != JSON_NONE && json_kind(f->j, v[ANNOTATIONS]) == JSON_ARRAY && json_count(f->j, v[ANNOTATIONS]))
        b->citations = json_raw(f->j, v[ANNOTATIONS]);
    jref text = b->kind == BLOCK_REFUSAL && v[REFUSAL] != JSON_NONE ? v[REFUSAL] : v[TEXT];
    if (text == JSON_NONE)
        return fields_wrong(f, AT(at, b->kind == BLOCK_REFUSAL ? "refusal" : "text"), text, "a string");
    return fields_str(f, AT(at, "text"), text, &b->text);
}

static int image_part(const struct reading *f, const struct spot *at, jref part, struct block *b)
{
    enum { TYPE, URL, FILE_ID, DETAIL, N };
    NAMES(S("type"), S("image_url"), S("file_id"), S("detail"));
    jref v[N];
    str url = { 0 };
    b->kind = BLOCK_IMAGE;
    fields_get(f, part, names, N, v, &b->rest, S(""));
    if (v[URL] != JSON_NONE && json_kind(f->j, v[URL]) == JSON_OBJECT) {        /* chat's form */
        if (v[DETAIL] == JSON_NONE)
            v[DETAIL] = json_get(f->j, v[URL], S("detail"));
        v[URL] = json_get(f->j, v[URL], S("url"));
    }
    if (fields_str(f, AT(at, "image_url"), v[URL], &url) < 0 ||
        fields_str(f, AT(at, "file_id"), v[FILE_ID], &b->media.file_id) < 0 ||
        fields_str(f, AT(at, "detail"), v[DETAIL], &b->media.detail) < 0)
        return -1;
    if (url.len && !media_from_data_url(url, &b->media))
        b->media.url = url;
    if (!url.len && !b->media.file_id.len)
        return fields_wrong(f, AT(at, "image_url"), JSON_NONE, "a URL");
    return 0;
}

static int file_part(const struct reading *f, const struct spot *at, jref part, struct block *b)
{
    enum { TYPE, DATA, ID, URL, NAME, DETAIL, N };
    NAMES(S("type"), S("file_data"), S("file_id"), S("file_url"), S("filename"), S("detail"));
    jref v[N];
    str data = { 0 };
    b->kind = BLOCK_FILE;
    fields_get(f, part, names, N, v, &b->rest, S(""));
    if (fields_str(f, AT(at, "file_data"), v[DATA], &data) < 0 ||
        fields_str(f, AT(at, "file_id"), v[ID], &b->media.file_id) < 0 ||
        fields_str(f, AT(at, "file_url"), v[URL], &b->media.url) < 0 ||
        fields_str(f, AT(at, "filename"), v[NAME], &b->media.name) < 0 ||
        fields_str(f, AT(at, "detail"), v[DETAIL], &b->media.detail) < 0)
        return -1;
    if (data.len && !media_from_data_url(data, &b->media))
        b->media.data = data;
    if (!data.len && !b->media.file_id.len && !b->media.url.len)
        return fields_wrong(f, AT(at, "file_data"), JSON_NONE, "file_data, file_id or file_url");
    return 0;
}

static int audio_part(const struct reading *f, const struct spot *at, jref part, struct block *b)
{
    enum { TYPE, AUDIO, N };
    NAMES(S("type"), S("input_audio"));
    enum { DATA, FORMAT, M };
    static const str inner[] = { S("data"), S("format") };
    jref v[N], w[M];
    const struct spot *here = AT(at, "input_audio");
    b->kind = BLOCK_AUDIO;
    fields_get(f, part, names, N, v, &b->rest, S(""));
    if (v[AUDIO] == JSON_NONE || json_kind(f->j, v[AUDIO]) != JSON_OBJECT)
        return fields_wrong(f, here, v[AUDIO], "an object");
    fields_get(f, v[AUDIO], inner, M, w, NULL, S(""));
    return fields_str(f, AT(here, "data"), w[DATA], &b->media.data) < 0 ? -1
         : fields_str(f, AT(here, "format"), w[FORMAT], &b->media.format);
}

static int part_read(const struct reading *f, const struct spot *at, jref part, struct block *b)
{
    static const struct part_type {
        const char *type; enum block_kind kind;
        int (*read)(const struct reading *f, const struct spot *at, jref part, struct block *b);
    } kinds[] = {
        { "input_text", BLOCK_TEXT, text_part }, { "output_text", BLOCK_TEXT, text_part }, { "text", BLOCK_TEXT, text_part },
        { "refusal", BLOCK_REFUSAL, text_part }, { "input_image", BLOCK_IMAGE, image_part },
        { "image_url", BLOCK_IMAGE, image_part },
        { "input_file", BLOCK_FILE, file_part }, { "input_audio", BLOCK_AUDIO, audio_part },
    };
    *b = (struct block){ 0 };
    if (json_kind(f->j, part) == JSON_STRING) {
        b->text = json_str(f->j, part, f->a);
        return 0;
    }
    if (json_kind(f->j, part) != JSON_OBJECT)
        return fields_wrong(f, at, part, "an object");
    str type = type_of(f, part);
    if (!type.len)
        return fields_wrong(f, AT(at, "type"), JSON_NONE, "a string");
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        if (!str_eq(type, str_of(kinds[i].type)))
            continue;
        b->kind = kinds[i].kind;
        return kinds[i].read(f, at, part, b);
    }
    *b = other_block(f, part, type);
    return 0;
}

/* A string or an array of parts. */
static int content_read(const struct reading *f, const struct spot *at, jref content, struct block **blocks, uint32_t *n)
{
    uint32_t i = 0;
    if (content == JSON_NONE)
        return 0;
    if (json_kind(f->j, content) == JSON_STRING) {
        struct block *b = PUSH(f->a, *blocks, *n);
        b->text = json_str(f->j, content, f->a);
        return 0;
    }
    if (json_kind(f->j, content) != JSON_ARRAY)
        return fields_wrong(f, at, content, "a string or an array");
    JSON_EACH_ITEM(f->j, content, part)
        if (part_read(f, AT_ITEM(at, i++), part, PUSH(f->a, *blocks, *n)) < 0)
            return -1;
    return 0;
}

/* ---- items ---- */

struct builder {
    const struct reading *f;
    struct turn *turns; uint32_t n;
    uint32_t first;                     /* turn that may still grow: those before were there */
    bool has_message, has_calls;        /* the last turn */
};

enum part_of_answer { PART_REASONING, PART_MESSAGE, PART_CALL };

/* The assistant's turn that the next part of an answer belongs to. */
static struct turn *answer_turn(struct builder *b, enum part_of_answer part)
{
    bool joins = b->n > b->first && b->turns[b->n - 1].role == ROLE_ASSISTANT &&
                 (part == PART_CALL || (!b->has_message && !b->has_calls));
    if (!joins) {
        PUSH(b->f->a, b->turns, b->n)->role = ROLE_ASSISTANT;
        b->has_message = b->has_calls = false;
    }
    b->has_message |= part == PART_MESSAGE;
    b->has_calls |= part == PART_CALL;
    return &b->turns[b->n - 1];
}

static struct block *answer_block(struct builder *b, enum part_of_answer part)
{
    struct turn *t = answer_turn(b, part);
    return PUSH(b->f->a, t->blocks, t->n);
}

static int message_read(struct builder *b, const struct spot *at, jref item)
{
    enum { TYPE, ROLE, CONTENT, ID, N };
    NAMES(S("type"), S("role"), S("content"), S("id"));
    static const struct { const char *name; enum role role; } roles[] = {
        { "user", ROLE_USER }, { "assistant", ROLE_ASSISTANT }, { "system", ROLE_SYSTEM }, { "developer", ROLE_DEVELOPER },
    };
    const struct reading *f = b->f;
    jref v[N];
    struct members rest = { 0 };
    str name = { 0 };
    fields_get(f, item, names, N, v, &rest, S(""));
    if (v[ROLE] == JSON_NONE)
        return fields_wrong(f, AT(at, "role"), v[ROLE], "a string");
    if (fields_str(f, AT(at, "role"), v[ROLE], &name) < 0)
        return -1;
    size_t i = 0;
    while (i < COUNT_OF(roles) && !str_eq(name, str_of(roles[i].name)))
        i++;
    if (i == COUNT_OF(roles))
        return fields_fail(f, AT(at, "role"), "expected user, assistant, system or developer");
    if (v[CONTENT] == JSON_NONE)
        return fields_wrong(f, AT(at, "content"), v[CONTENT], "a string or an array");
    struct turn *t;
    if (roles[i].role == ROLE_ASSISTANT) {
        t = answer_turn(b, PART_MESSAGE);
    } else {
        t = PUSH(f->a, b->turns, b->n);
        t->role = roles[i].role;
    }
    drop_status(&rest);
    t->rest = rest;
    return fields_str(f, AT(at, "id"), v[ID], &t->item_id) < 0 ? -1
           : content_read(f, AT(at, "content"), v[CONTENT], &t->blocks, &t->n);
}

static str namespaced(struct arena *a, str space, str name)
{
    return space.len ? arena_printf(a, STR_FMT "__" STR_FMT, STR_ARG(space), STR_ARG(name)) : name;
}

static int call_read(const struct reading *f, const struct spot *at, jref item, struct block *b)
{
    enum { TYPE, ID, CALL_ID, NAME, ARGUMENTS, INPUT, NAMESPACE, N };
    NAMES(S("type"), S("id"), S("call_id"), S("name"), S("arguments"), S("input"), S("namespace"));
    jref v[N];
    str space = { 0 };
    b->kind = BLOCK_TOOL_CALL;
    b->is_custom = str_eq(type_of(f, item), S("custom_tool_call"));
    fields_get(f, item, names, N, v, &b->rest, S(""));
    jref text = b->is_custom ? v[INPUT] : v[ARGUMENTS];
    drop_status(&b->rest);
    if (v[NAME] == JSON_NONE)
        return fields_wrong(f, AT(at, "name"), JSON_NONE, "a string");
    if (fields_str(f, AT(at, "id"), v[ID], &b->item_id) < 0 || fields_str(f, AT(at, "call_id"), v[CALL_ID], &b->call_id) < 0 ||
        fields_str(f, AT(at, "name"), v[NAME], &b->name) < 0 || fields_str(f, AT(at, "namespace"), v[NAMESPACE], &space) < 0)
        return -1;
    if (text != JSON_NONE && json_kind(f->j, text) == JSON_OBJECT)
        b->arguments = json_raw(f->j, text);
    else if (fields_str(f, AT(at, b->is_custom ? "input" : "arguments"), text, &b->arguments) < 0)
        return -1;
    if (!b->call_id.len)
        b->call_id = b->item_id;
    if (space.len) {
        b->name = namespaced(f->a, space, b->name);
        members_add(&b->rest, f->a, S("namespace"), json_raw(f->j, v[NAMESPACE]));
    }
    return 0;
}

static int output_read(struct builder *b, const struct spot *at, jref item)
{
    enum { TYPE, ID, CALL_ID, OUTPUT, N };
    NAMES(S("type"), S("id"), S("call_id"), S("output"));
    const struct reading *f = b->f;
    jref v[N];
    if (b->n == b->first || b->turns[b->n - 1].role != ROLE_TOOL)
        PUSH(f->a, b->turns, b->n)->role = ROLE_TOOL;
    struct turn *t = &b->turns[b->n - 1];
    struct block *o = PUSH(f->a, t->blocks, t->n);
    o->kind = BLOCK_TOOL_RESULT;
    o->is_custom = str_starts(type_of(f, item), S("custom"));
    fields_get(f, item, names, N, v, &o->rest, S(""));
    drop_status(&o->rest);
    if (v[CALL_ID] == JSON_NONE)
        return fields_wrong(f, AT(at, "call_id"), JSON_NONE, "a string");
    if (v[OUTPUT] == JSON_NONE)
        return fields_wrong(f, AT(at, "output"), JSON_NONE, "a string or an array");
    if (fields_str(f, AT(at, "id"), v[ID], &o->item_id) < 0 || fields_str(f, AT(at, "call_id"), v[CALL_ID], &o->call_id) < 0)
        return -1;
    if (json_kind(f->j, v[OUTPUT]) == JSON_OBJECT) {        /* seen from clients that return what the tool gave */
        PUSH(f->a, o->content, o->n_content)->text = json_raw(f->j, v[OUTPUT]);
        return 0;
    }
    return content_read(f, AT(at, "output"), v[OUTPUT], &o->content, &o->n_content);
}

str responses_parts_text(struct arena *a, const struct json *j, jref parts)
{
    struct buf b = { 0 };
    if (json_is(j, parts, JSON_ARRAY)) {
        JSON_EACH_ITEM(j, parts, part) {
            if (json_kind(j, part) != JSON_OBJECT)
                continue;
            str text = json_str(j, json_get(j, part, S("text")), a);
            if (b.len && text.len)
                buf_str(&b, S("\n\n"));
            buf_str(&b, text);
        }
    }
    return b.len ? buf_to_arena(&b, a) : S("");
}

static int reasoning_read(const struct reading *f, const struct spot *at, jref item, struct block *b)
{
    enum { TYPE, ID, SUMMARY, CONTENT, SEALED, N };
    NAMES(S("type"), S("id"), S("summary"), S("content"), S("encrypted_content"));
    jref v[N];
    str sealed = { 0 };
    fields_get(f, item, names, N, v, &b->rest, S(""));
    drop_status(&b->rest);
    if (fields_str(f, AT(at, "id"), v[ID], &b->item_id) < 0 ||
        raw_of(f, AT(at, "summary"), v[SUMMARY], JSON_ARRAY, &b->summary) < 0 ||
        fields_str(f, AT(at, "encrypted_content"), v[SEALED], &sealed) < 0)
        return -1;
    if (v[CONTENT] != JSON_NONE)
        members_add(&b->rest, f->a, S("content"), json_raw(f->j, v[CONTENT]));
    b->text = responses_parts_text(f->a, f->j, v[CONTENT]);
    if (!b->text.len)
        b->text = responses_parts_text(f->a, f->j, v[SUMMARY]);
    b->kind = b->text.len || !sealed.len ? BLOCK_REASONING : BLOCK_SEALED_REASONING;
    *(b->kind == BLOCK_REASONING ? &b->signature : &b->sealed) = sealed;
    return 0;
}

/* Opaque data of another family stands in an envelope (anthropic_parts.h) as encrypted content: of this item, or, with the role
 * "last", of the block before it, whose signature it is. */
static int reasoning_item(struct builder *b, const struct spot *at, jref item)
{
    struct block block = { 0 };
    str origin, role, data;
    if (reasoning_read(b->f, at, item, &block) < 0)
        return -1;
    str *wire = block.kind == BLOCK_REASONING ? &block.signature : &block.sealed;
    if (anthropic_unwrap(*wire, &origin, &role, &data)) {
        struct turn *last = b->n > b->first ? &b->turns[b->n - 1] : NULL;
        struct block *to = last && last->role == ROLE_ASSISTANT && last->n ? &last->blocks[last->n - 1] : NULL;
        if (str_eq(role, S("last"))) {
            if (to) {
                to->origin = origin;
                to->signature = data;
            }
            return 0;
        }
        block.origin = origin;
        *wire = data;
    }
    *answer_block(b, PART_REASONING) = block;
    return 0;
}

static int item_read(struct builder *b, const struct spot *at, jref item)
{
    const struct reading *f = b->f;
    if (json_kind(f->j, item) == JSON_STRING) {             /* lenient: a list of texts */
        struct turn *t = PUSH(f->a, b->turns, b->n);
        t->role = ROLE_USER;
        PUSH(f->a, t->blocks, t->n)->text = json_str(f->j, item, f->a);
        return 0;
    }
    if (json_kind(f->j, item) != JSON_OBJECT)
        return fields_wrong(f, at, item, "an object");
    str type = type_of(f, item);
    bool has_role = json_get(f->j, item, S("role")) != JSON_NONE;
    if (str_eq(type, S("message")) || (!type.len && has_role))
        return message_read(b, at, item);
    if (str_eq(type, S("function_call")) || str_eq(type, S("custom_tool_call")))
        return call_read(f, at, item, answer_block(b, PART_CALL));
    if (str_eq(type, S("function_call_output")) || str_eq(type, S("custom_tool_call_output")))
        return output_read(b, at, item);
    if (str_eq(type, S("reasoning")))
        return reasoning_item(b, at, item);
    if (!type.len && json_get(f->j, item, S("id")) == JSON_NONE)
        return fields_wrong(f, AT(at, "type"), JSON_NONE, "a string");
    *answer_block(b, PART_CALL) = other_block(f, item, type.len ? type : S("item_reference"));
    return 0;
}

int responses_items_read(struct arena *a, const struct json *j, jref items, const char *where, struct turn **turns, uint32_t *n,
                         struct err *e)
{
    struct reading f = { .a = a, .j = j, .e = e };
    struct builder b = { .f = &f, .turns = *turns, .n = *n, .first = *n };
    uint32_t i = 0;
    if (json_count(j, items) > RESPONSES_ITEMS_MAX)
        return err_set(e, "%s: more than %d items", where, RESPONSES_ITEMS_MAX);
    JSON_EACH_ITEM(j, items, item)
        if (item_read(&b, AT_ITEM(AT(NULL, where), i++), item) < 0)
            return -1;
    *turns = b.turns;
    *n = b.n;
    return 0;
}

/* ---- tools ---- */

static int function_read(const struct reading *f, const struct spot *at, jref tool, bool is_custom, struct tool *out)
{
    enum { TYPE, NAME, DESCRIPTION, PARAMETERS, STRICT, FORMAT, N };
    NAMES(S("type"), S("name"), S("description"), S("parameters"), S("strict"), S("format"));
    jref v[N];
    jref nested = json_get(f->j, tool, is_custom ? S("custom") : S("function"));
    if (json_is(f->j, nested, JSON_OBJECT))                 /* chat's form */
        tool = nested;
    out->kind = is_custom ? TOOL_CUSTOM : TOOL_FUNCTION;
    fields_get(f, tool, names, N, v, &out->rest, S(""));
    if (v[NAME] == JSON_NONE)
        return fields_wrong(f, AT(at, "name"), JSON_NONE, "a string");
    if (fields_str(f, AT(at, "name"), v[NAME], &out->name) < 0 ||
        fields_str(f, AT(at, "description"), v[DESCRIPTION], &out->description) < 0 ||
        raw_of(f, AT(at, "parameters"), v[PARAMETERS], JSON_OBJECT, &out->parameters) < 0 ||
        fields_flag(f, AT(at, "strict"), v[STRICT], &out->strict) < 0)
        return -1;
    return raw_of(f, AT(at, "format"), v[FORMAT], JSON_OBJECT, &out->format);
}

/* {"type":"namespace","name":...} without its tools */
static str namespace_head(const struct reading *f, jref tool)
{
    struct buf b = { 0 };
    struct json_writer w = { .out = &b };
    jw_begin(&w, '{');
    JSON_EACH_PAIR(f->j, tool, key, value)
        if (!json_key_is(f->j, key, S("tools")))
            put_raw(&w, json_str(f->j, key, f->a), json_raw(f->j, value));
    jw_end(&w, '}');
    return buf_to_arena(&b, f->a);
}

static bool is_plain_tool(const struct reading *f, jref tool)
{
    if (json_kind(f->j, tool) != JSON_OBJECT)
        return false;
    str type = type_of(f, tool);
    return str_eq(type, S("function")) || str_eq(type, S("custom"));
}

static int tool_read(const struct reading *f, const struct spot *at, jref tool, struct prompt *p)
{
    if (json_kind(f->j, tool) != JSON_OBJECT)
        return fields_wrong(f, at, tool, "an object");
    str type = type_of(f, tool);
    if (!type.len)
        return fields_wrong(f, AT(at, "type"), JSON_NONE, "a string");
    jref inner = str_eq(type, S("namespace")) ? json_get(f->j, tool, S("tools")) : JSON_NONE;
    bool opens = json_is(f->j, inner, JSON_ARRAY) && json_count(f->j, inner) > 0;
    if (opens)
        JSON_EACH_ITEM(f->j, inner, item)
            opens &= is_plain_tool(f, item);
    if (opens) {
        str space = json_str(f->j, json_get(f->j, tool, S("name")), f->a), head = namespace_head(f, tool);
        uint32_t i = 0;
        JSON_EACH_ITEM(f->j, inner, item) {
            struct tool *t = PUSH(f->a, p->tools, p->n_tools);
            t->strict = -1;
            if (function_read(f, AT_ITEM(AT(at, "tools"), i++), item, str_eq(type_of(f, item), S("custom")), t) < 0)
                return -1;
            t->name = namespaced(f->a, space, t->name);
            members_add(&t->rest, f->a, S("namespace"), head);
        }
        return 0;
    }
    struct tool *t = PUSH(f->a, p->tools, p->n_tools);
    t->strict = -1;
    if (is_plain_tool(f, tool))
        return function_read(f, at, tool, str_eq(type, S("custom")), t);
    t->kind = TOOL_HOSTED;
    t->raw = json_raw(f->j, tool);
    t->raw_type = type;
    t->name = json_str(f->j, json_get(f->j, tool, S("name")), f->a);
    return 0;
}

static int tools_read(const struct reading *f, jref tools, struct prompt *p)
{
    uint32_t i = 0;
    if (fields_kind(f, AT(NULL, "tools"), tools, JSON_ARRAY) < 0)
        return -1;
    if (tools != JSON_NONE)
        JSON_EACH_ITEM(f->j, tools, tool)
            if (tool_read(f, AT_ITEM(AT(NULL, "tools"), i++), tool, p) < 0)
                return -1;
    return 0;
}

/* The name in {"type":"function","name":...}; "" when it is another kind of tool. */
static str choice_name(const struct reading *f, jref choice)
{
    if (json_kind(f->j, choice) != JSON_OBJECT || !is_plain_tool(f, choice))
        return S("");
    jref nested = json_get(f->j, choice, type_of(f, choice));
    jref from = json_is(f->j, nested, JSON_OBJECT) ? nested : choice;
    str space = json_str(f->j, json_get(f->j, choice, S("namespace")), f->a);
    return namespaced(f->a, space, json_str(f->j, json_get(f->j, from, S("name")), f->a));
}

static int choice_read(const struct reading *f, jref choice, struct prompt *p)
{
    static const struct { const char *word; enum tool_choice choice; } words[] = {
        { "auto", CHOICE_AUTO }, { "none", CHOICE_NONE }, { "required", CHOICE_REQUIRED },
    };
    if (choice == JSON_NONE)
        return 0;
    if (json_kind(f->j, choice) == JSON_STRING) {
        str word = json_str(f->j, choice, f->a);
        for (size_t i = 0; i < COUNT_OF(words); i++)
            if (str_eq(word, str_of(words[i].word)))
                p->choice = words[i].choice;
        return p->choice != CHOICE_UNSET ? 0
               : fields_fail(f, AT(NULL, "tool_choice"), "expected auto, none, required or an object");
    }
    if (json_kind(f->j, choice) != JSON_OBJECT)
        return fields_wrong(f, AT(NULL, "tool_choice"), choice, "a string or an object");
    if (str_eq(type_of(f, choice), S("allowed_tools"))) {
        jref tools = json_get(f->j, choice, S("tools"));
        bool all = json_is(f->j, tools, JSON_ARRAY);
        p->chosen = ARENA_ARRAY(f->a, str, all ? json_count(f->j, tools) : 0);
        if (all)
            JSON_EACH_ITEM(f->j, tools, tool) {
                str name = choice_name(f, tool);
                all &= name.len > 0;
                p->chosen[p->n_chosen++] = name;
            }
        str mode = json_str(f->j, json_get(f->j, choice, S("mode")), f->a);
        if (all && p->n_chosen) {
            p->choice = str_eq(mode, S("required")) ? CHOICE_REQUIRED : CHOICE_AUTO;
            return 0;
        }
        p->n_chosen = 0;
    } else if (choice_name(f, choice).len) {
        p->choice = CHOICE_TOOL;
        p->chosen = ARENA_NEW(f->a, str);
        p->chosen[p->n_chosen++] = choice_name(f, choice);
        return 0;
    }
    members_add(&p->rest, f->a, S("tool_choice"), json_raw(f->j, choice));      /* a hosted tool: only this dialect can say it */
    return 0;
}

/* ---- requests ---- */

static int reasoning_settings(const struct reading *f, jref n, struct prompt *p)
{
    enum { EFFORT, SUMMARY, OLD_SUMMARY, N };
    NAMES(S("effort"), S("summary"), S("generate_summary"));
    const struct spot *at = AT(NULL, "reasoning");
    jref v[N];
    if (n == JSON_NONE)
        return 0;
    if (json_kind(f->j, n) != JSON_OBJECT)
        return fields_wrong(f, at, n, "an object");
    fields_get(f, n, names, N, v, &p->rest, S("reasoning"));
    if (fields_str(f, AT(at, "effort"), v[EFFORT], &p->reasoning_effort) < 0 ||
        fields_str(f, AT(at, "summary"), v[SUMMARY] != JSON_NONE ? v[SUMMARY] : v[OLD_SUMMARY], &p->reasoning_summary) < 0)
        return -1;
    if (p->reasoning_effort.len)
        p->reasoning = str_eq(p->reasoning_effort, S("none")) ? REASONING_OFF : REASONING_ON;
    return 0;
}

static int format_read(const struct reading *f, const struct spot *at, jref n, struct prompt *p)
{
    enum { TYPE, NAME, SCHEMA, DESCRIPTION, STRICT, N };
    NAMES(S("type"), S("name"), S("schema"), S("description"), S("strict"));
    jref v[N];
    str type = { 0 };
    if (n == JSON_NONE)
        return 0;
    if (json_kind(f->j, n) != JSON_OBJECT)
        return fields_wrong(f, at, n, "an object");
    fields_get(f, n, names, N, v, &p->rest, S("text.format"));
    if (fields_str(f, AT(at, "type"), v[TYPE], &type) < 0)
        return -1;
    p->output = str_eq(type, S("text")) ? OUTPUT_TEXT
              : str_eq(type, S("json_object")) ? OUTPUT_JSON_OBJECT
              : str_eq(type, S("json_schema")) ? OUTPUT_JSON_SCHEMA : OUTPUT_UNSET;
    if (p->output == OUTPUT_UNSET)
        return fields_fail(f, AT(at, "type"), "expected text, json_object or json_schema");
    if (p->output == OUTPUT_JSON_SCHEMA && v[SCHEMA] == JSON_NONE)
        return fields_wrong(f, AT(at, "schema"), JSON_NONE, "an object");
    return fields_str(f, AT(at, "name"), v[NAME], &p->schema_name) < 0 ||
           fields_str(f, AT(at, "description"), v[DESCRIPTION], &p->schema_description) < 0 ||
           raw_of(f, AT(at, "schema"), v[SCHEMA], JSON_OBJECT, &p->schema) < 0
               ? -1 : fields_flag(f, AT(at, "strict"), v[STRICT], &p->schema_strict);
}

static int text_settings(const struct reading *f, jref n, struct prompt *p)
{
    enum { FORMAT, VERBOSITY, N };
    NAMES(S("format"), S("verbosity"));
    const struct spot *at = AT(NULL, "text");
    jref v[N];
    if (n == JSON_NONE)
        return 0;
    if (json_kind(f->j, n) != JSON_OBJECT)
        return fields_wrong(f, at, n, "an object");
    fields_get(f, n, names, N, v, &p->rest, S("text"));
    return fields_str(f, AT(at, "verbosity"), v[VERBOSITY], &p->verbosity) < 0 ? -1
           : format_read(f, AT(at, "format"), v[FORMAT], p);
}

static int include_read(const struct reading *f, jref n, struct prompt *p)
{
    struct buf others = { 0 };
    struct json_writer w = { .out = &others };
    uint32_t i = 0, n_others = 0;
    if (fields_kind(f, AT(NULL, "include"), n, JSON_ARRAY) < 0)
        return -1;
    if (n == JSON_NONE)
        return 0;
    jw_begin(&w, '[');
    JSON_EACH_ITEM(f->j, n, item) {
        str wanted = json_str(f->j, item, f->a);
        if (json_kind(f->j, item) != JSON_STRING) {
            buf_free(&others);
            return fields_wrong(f, AT_ITEM(AT(NULL, "include"), i), item, "a string");
        }
        if (str_eq(wanted, S("reasoning.encrypted_content")))
            p->wants_sealed_reasoning = true;
        else if (str_eq(wanted, S("message.output_text.logprobs")))
            p->logprobs = 1;
        else
            jw_str(&w, wanted), n_others++;
        i++;
    }
    jw_end(&w, ']');
    str list = buf_to_arena(&others, f->a);
    if (n_others)
        members_add(&p->rest, f->a, S("include"), list);
    return 0;
}

static int input_read(const struct reading *f, jref input, struct prompt *p)
{
    if (input == JSON_NONE)
        return 0;                                           /* a conversation or a prompt template may be all there is */
    if (json_kind(f->j, input) == JSON_STRING) {
        struct turn *t = PUSH(f->a, p->turns, p->n_turns);
        t->role = ROLE_USER;
        PUSH(f->a, t->blocks, t->n)->text = json_str(f->j, input, f->a);
        return 0;
    }
    if (json_kind(f->j, input) != JSON_ARRAY)
        return fields_wrong(f, AT(NULL, "input"), input, "a string or an array");
    return responses_items_read(f->a, f->j, input, "input", &p->turns, &p->n_turns, f->e);
}

int responses_request_read(struct arena *a, const struct json *j, const struct request_place *at, struct prompt *out,
                           struct err *e)
{
    enum { MODEL, INPUT, INSTRUCTIONS, STREAM, TOOLS, CHOICE, PARALLEL, MAX, TEMPERATURE, TOP_P, TOP_LOGPROBS, REASONING, TEXT,
           INCLUDE, USER, CACHE_KEY, TIER, METADATA, N };
    NAMES(S("model"), S("input"), S("instructions"), S("stream"), S("tools"), S("tool_choice"), S("parallel_tool_calls"),
          S("max_output_tokens"), S("temperature"), S("top_p"), S("top_logprobs"), S("reasoning"), S("text"), S("include"),
          S("user"), S("prompt_cache_key"), S("service_tier"), S("metadata"));
    struct reading f = { .a = a, .j = j, .e = e };
    str instructions = { 0 };
    int is_streaming = at && at->is_streaming;
    jref v[N];
    *out = prompt_new(&dialect_openai_responses);
    if (!json_is(j, 0, JSON_OBJECT))
        return err_set(e, "malformed JSON body: expected an object, got %s", json_kind_name(json_kind(j, 0)));
    fields_get(&f, 0, names, N, v, &out->rest, S(""));
    if (fields_str(&f, AT(NULL, "model"), v[MODEL], &out->model) < 0 ||
        fields_flag(&f, AT(NULL, "stream"), v[STREAM], &is_streaming) < 0 ||
        fields_str(&f, AT(NULL, "instructions"), v[INSTRUCTIONS], &instructions) < 0 ||
        fields_flag(&f, AT(NULL, "parallel_tool_calls"), v[PARALLEL], &out->parallel_tool_calls) < 0 ||
        count_of(&f, AT(NULL, "max_output_tokens"), v[MAX], &out->max_tokens) < 0 ||
        fields_double(&f, AT(NULL, "temperature"), v[TEMPERATURE], &out->temperature) < 0 ||
        fields_double(&f, AT(NULL, "top_p"), v[TOP_P], &out->top_p) < 0 ||
        count_of(&f, AT(NULL, "top_logprobs"), v[TOP_LOGPROBS], &out->top_logprobs) < 0 ||
        fields_str(&f, AT(NULL, "user"), v[USER], &out->user) < 0 ||
        fields_str(&f, AT(NULL, "prompt_cache_key"), v[CACHE_KEY], &out->cache_key) < 0 ||
        fields_str(&f, AT(NULL, "service_tier"), v[TIER], &out->service_tier) < 0 ||
        raw_of(&f, AT(NULL, "metadata"), v[METADATA], JSON_OBJECT, &out->metadata) < 0)
        return -1;
    out->is_streaming = is_streaming;
    if (!out->model.len && at)
        out->model = at->model;
    if (instructions.len)
        PUSH(a, out->system, out->n_system)->text = instructions;
    if (input_read(&f, v[INPUT], out) < 0 || tools_read(&f, v[TOOLS], out) < 0 || choice_read(&f, v[CHOICE], out) < 0 ||
        reasoning_settings(&f, v[REASONING], out) < 0 || text_settings(&f, v[TEXT], out) < 0)
        return -1;
    return include_read(&f, v[INCLUDE], out);
}

/* ---- answers ---- */

struct block responses_item_block(struct arena *a, const struct json *j, jref item)
{
    struct err quiet = { 0 };
    struct reading f = { .a = a, .j = j, .e = &quiet };
    struct block b = { .kind = BLOCK_KIND_N };
    if (!json_is(j, item, JSON_OBJECT))
        return b;
    str type = type_of(&f, item);
    if (str_eq(type, S("message")))
        return b;
    b.kind = BLOCK_OTHER;
    if (str_eq(type, S("function_call")) || str_eq(type, S("custom_tool_call")))
        call_read(&f, NULL, item, &b);
    else if (str_eq(type, S("reasoning")))
        reasoning_read(&f, NULL, item, &b);
    else
        b = other_block(&f, item, type);
    return b;
}

struct block responses_part_block(struct arena *a, const struct json *j, jref part)
{
    struct err quiet = { 0 };
    struct reading f = { .a = a, .j = j, .e = &quiet };
    struct block b = { 0 };
    if (json_is(j, part, JSON_OBJECT) && part_read(&f, NULL, part, &b) < 0 && b.kind != BLOCK_TEXT && b.kind != BLOCK_REFUSAL)
        b = other_block(&f, part, type_of(&f, part));
    return b;
}

void responses_usage_read(const struct json *j, jref n, struct usage *u)
{
    if (!json_is(j, n, JSON_OBJECT))
        return;
    jref in = json_get(j, n, S("input_tokens_details")), out = json_get(j, n, S("output_tokens_details"));
    u->is_known |= usage_count_read(j, json_get(j, n, S("input_tokens")), &u->prompt_tokens);
    u->is_known |= usage_count_read(j, json_get(j, n, S("output_tokens")), &u->completion_tokens);
    if (json_is(j, in, JSON_OBJECT)) {
        usage_count_read(j, json_get(j, in, S("cached_tokens")), &u->cached_tokens);
        usage_count_read(j, json_get(j, in, S("cache_write_tokens")), &u->cache_write_tokens);
        usage_count_read(j, json_get(j, in, S("audio_tokens")), &u->prompt_audio_tokens);
    }
    if (json_is(j, out, JSON_OBJECT)) {
        usage_count_read(j, json_get(j, out, S("reasoning_tokens")), &u->reasoning_tokens);
        usage_count_read(j, json_get(j, out, S("audio_tokens")), &u->completion_audio_tokens);
    }
}

enum stop_reason responses_stop(const struct json *j, jref response, bool has_calls, struct arena *a, str *word)
{
    jref details = json_get(j, response, S("incomplete_details"));
    str status = json_str(j, json_get(j, response, S("status")), a);
    str reason = json_is(j, details, JSON_OBJECT) ? json_str(j, json_get(j, details, S("reason")), a) : S("");
    *word = reason.len ? reason : status;
    if (str_eq(status, S("incomplete")) || reason.len)
        return str_eq(reason, S("content_filter")) ? STOP_FILTER : STOP_LENGTH;
    return has_calls ? STOP_TOOLS : STOP_END;
}

void responses_message_rest(struct arena *a, const struct json *j, jref item, struct members *rest)
{
    enum { TYPE, ROLE, CONTENT, ID, STATUS, N };
    NAMES(S("type"), S("role"), S("content"), S("id"), S("status"));
    struct reading f = { .a = a, .j = j };
    struct members all = { 0 };
    jref v[N];
    fields_get(&f, item, names, N, v, &all, S(""));
    for (size_t i = 0; i < all.n; i++)
        members_add(rest, a, arena_printf(a, "message." STR_FMT, STR_ARG(all.items[i].key)), all.items[i].raw);
}

/* A message's parts are blocks. What else it has goes to the first one's rest. */
static void message_blocks(struct arena *a, const struct json *j, jref item, struct reply *out)
{
    jref content = json_get(j, item, S("content"));
    struct members rest = { 0 };
    if (!json_is(j, content, JSON_ARRAY))
        return;
    responses_message_rest(a, j, item, &rest);
    JSON_EACH_ITEM(j, content, part) {
        struct block *b = PUSH(a, out->blocks, out->n);
        struct block full = responses_part_block(a, j, part);
        *b = full;
        b->item_id = json_str(j, json_get(j, item, S("id")), a);
        b->rest = rest;
        rest = (struct members){ 0 };
        for (size_t i = 0; i < full.rest.n; i++) {
            const struct member *m = &full.rest.items[i];
            if (!str_eq(m->key, S("logprobs")))
                members_add(&b->rest, a, m->key, m->raw);
            else if (b->kind == BLOCK_TEXT && !out->logprobs.len && m->raw.len > 2 && m->raw.ptr[0] == '[')
                out->logprobs = m->raw;
        }
    }
}

enum { R_ID, R_OBJECT, R_CREATED, R_MODEL, R_STATUS, R_ERROR, R_DETAILS, R_OUTPUT, R_USAGE, R_TIER, R_TEXT, R_DONE, R_N };
static const str response_names[R_N] = {
    [R_ID] = S("id"), [R_OBJECT] = S("object"), [R_CREATED] = S("created_at"), [R_MODEL] = S("model"), [R_STATUS] = S("status"),
    [R_ERROR] = S("error"), [R_DETAILS] = S("incomplete_details"), [R_OUTPUT] = S("output"), [R_USAGE] = S("usage"),
    [R_TIER] = S("service_tier"), [R_TEXT] = S("output_text"), [R_DONE] = S("completed_at"),
};

void responses_rest(struct arena *a, const struct json *j, jref response, struct members *rest)
{
    struct reading f = { .a = a, .j = j };
    jref v[R_N];
    fields_get(&f, response, response_names, R_N, v, rest, S(""));
}

int responses_reply_read(struct arena *a, const struct json *j, struct reply *out, struct err *e)
{
    struct reading f = { .a = a, .j = j, .e = e };
    jref v[R_N];
    double created = 0;
    bool has_calls = false;
    *out = (struct reply){ .dialect = &dialect_openai_responses };
    if (!json_is(j, 0, JSON_OBJECT))
        return err_set(e, "expected an object, got %s", json_kind_name(json_kind(j, 0)));
    fields_get(&f, 0, response_names, R_N, v, &out->rest, S(""));
    str status = json_str(j, v[R_STATUS], a);
    if (str_eq(status, S("failed")) || str_eq(status, S("cancelled"))) {
        struct failure why;
        responses_failure_read(a, j, v[R_ERROR], 502, &why);
        str message = str_upto(why.message, 300);
        return err_set(e, "the response's status is " STR_FMT ": " STR_FMT, STR_ARG(status), STR_ARG(message));
    }
    if (!json_is(j, v[R_OUTPUT], JSON_ARRAY))
        return fields_wrong(&f, AT(NULL, "output"), v[R_OUTPUT], "an array");
    if (str_eq(status, S("queued")) || str_eq(status, S("in_progress")))
        return err_set(e, "the response is not finished: its status is " STR_FMT, STR_ARG(status));
    if (json_count(j, v[R_OUTPUT]) > RESPONSES_ITEMS_MAX)
        return err_set(e, "output: more than %d items", RESPONSES_ITEMS_MAX);
    out->id = json_str(j, v[R_ID], a);
    out->model = json_str(j, v[R_MODEL], a);
    out->service_tier = json_str(j, v[R_TIER], a);
    if (json_double(j, v[R_CREATED], &created) && created > 0 && created < 1e12)
        out->created = (int64_t)created;
    JSON_EACH_ITEM(j, v[R_OUTPUT], item) {
        struct block b = responses_item_block(a, j, item);
        if (b.kind == BLOCK_KIND_N)
            message_blocks(a, j, item, out);
        else
            *PUSH(a, out->blocks, out->n) = b;
        has_calls |= b.kind == BLOCK_TOOL_CALL;
    }
    responses_usage_read(j, v[R_USAGE], &out->usage);
    out->stop = responses_stop(j, 0, has_calls, a, &out->stop_text);
    return 0;
}

/* ---- errors ---- */

void responses_failure_read(struct arena *a, const struct json *j, jref n, int status, struct failure *f)
{
    static const struct { const char *code; int status; } codes[] = {       /* streams give no status */
        { "rate_limit_exceeded", 429 }, { "insufficient_quota", 429 }, { "server_error", 500 }, { "server_is_overloaded", 503 },
        { "slow_down", 503 }, { "context_length_exceeded", 400 }, { "invalid_prompt", 400 }, { "invalid_api_key", 401 },
        { "model_not_found", 404 }, { "previous_response_not_found", 404 },
    };
    *f = (struct failure){ 0 };
    if (json_is(j, n, JSON_STRING)) {
        f->message = json_str(j, n, a);
    } else if (json_is(j, n, JSON_OBJECT)) {
        jref code = json_get(j, n, S("code"));
        f->message = json_str(j, json_get(j, n, S("message")), a);
        f->type = json_str(j, json_get(j, n, S("type")), a);
        f->param = json_str(j, json_get(j, n, S("param")), a);
        f->code = json_is(j, code, JSON_STRING) ? json_str(j, code, a)
                : json_is(j, code, JSON_NUMBER) ? json_raw(j, code) : S("");
    }
    for (size_t i = 0; !status && i < COUNT_OF(codes); i++)
        if (str_eq(f->code, str_of(codes[i].code)))
            status = codes[i].status;
    if (!status)
        status = str_eq(f->type, S("invalid_request_error")) ? 400 : 500;
    f->status = status;
    f->kind = str_eq(f->code, S("insufficient_quota")) ? FAILURE_BILLING : failure_kind_of_status(status);
    if (!f->message.len)
        f->message = S("the provider gave no reason");
}

bool responses_error_read(struct arena *a, const struct json *j, int status, struct failure *out)
{
    jref error = json_is(j, 0, JSON_OBJECT) ? json_get(j, 0, S("error")) : JSON_NONE;
    if (!json_is(j, error, JSON_OBJECT) && !json_is(j, error, JSON_STRING))
        return false;
    responses_failure_read(a, j, error, status, out);
    return true;
}
