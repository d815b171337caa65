/* dialect/anthropic_read.c -- Messages requests and replies into the canonical form.
 *
 * The canonical form is Messages' own shape, so a reader is a table of members an object and a switch over block types.
 * What is unknown is kept: a member in `rest`, a block or tool of another type as BLOCK_OTHER or TOOL_HOSTED with its bytes. */
#include "dialect/anthropic.h"
#include "dialect/anthropic_parts.h"

/* ---- opaque data of others ---- */

#define WRAP_MARK "sbx1:"

str anthropic_wrap(struct arena *a, str origin, const char *role, str data)
{
    struct buf b = { 0 };
    buf_str(&b, S(WRAP_MARK));
    buf_str(&b, origin);
    buf_char(&b, ':');
    buf_str(&b, str_of(role));
    buf_char(&b, ':');
    buf_str(&b, data);
    return buf_to_arena(&b, a);
}

bool anthropic_unwrap(str wire, str *origin, str *role, str *data)
{
    if (!str_starts(wire, S(WRAP_MARK)))
        return false;
    str rest = str_from(wire, sizeof WRAP_MARK - 1);
    *origin = str_cut(&rest, ':');
    *role = str_cut(&rest, ':');
    *data = rest;
    return origin->len > 0;
}

bool anthropic_carries_wrap(str body)
{
    const str before = S("\"sb"), behind = S("x1:");    /* the rarest letter of WRAP_MARK is looked for: bodies are large */
    for (str rest = str_from(body, before.len); rest.len; rest = str_from(rest, 1)) {
        const char *x = memchr(rest.ptr, 'x', rest.len);
        if (!x)
            return false;
        rest = str_from(rest, (size_t)(x - rest.ptr));
        if (str_starts(rest, behind) && memcmp(x - before.len, before.ptr, before.len) == 0)
            return true;
    }
    return false;
}

/* ---- blocks ---- */

/* base64, url, file, text. 0: a source we do not know, the block stays raw. */
static int source_read(const struct reading *f, const struct spot *at, jref n, struct media *m, struct members *rest)
{
    enum { TYPE, MEDIA_TYPE, DATA, URL, FILE_ID, N };
    static const str names[N] = {
        [TYPE] = S("type"), [MEDIA_TYPE] = S("media_type"), [DATA] = S("data"), [URL] = S("url"), [FILE_ID] = S("file_id"),
    };
    jref v[N];
    str type = S("");
    fields_get(f, n, names, N, v, rest, S("source"));
    if (fields_need(f, AT(at, "type"), v[TYPE], JSON_STRING) < 0)
        return -1;
    type = json_str(f->j, v[TYPE], f->a);
    if (str_eq(type, S("base64")) || str_eq(type, S("text"))) {
        if (fields_str(f, AT(at, "media_type"), v[MEDIA_TYPE], &m->media_type) < 0 ||
            fields_need(f, AT(at, "data"), v[DATA], JSON_STRING) < 0)
            return -1;
        *(str_eq(type, S("text")) ? &m->text : &m->data) = json_str(f->j, v[DATA], f->a);
        return 1;
    }
    if (str_eq(type, S("url"))) {
        if (fields_need(f, AT(at, "url"), v[URL], JSON_STRING) < 0)
            return -1;
        m->url = json_str(f->j, v[URL], f->a);
        return 1;
    }
    if (str_eq(type, S("file"))) {
        if (fields_need(f, AT(at, "file_id"), v[FILE_ID], JSON_STRING) < 0)
            return -1;
        m->file_id = json_str(f->j, v[FILE_ID], f->a);
        return 1;
    }
    return 0;
}

static int blocks_read(const struct reading *f, const struct spot *at, jref n, struct block **out, uint32_t *n_out);

enum {
    TYPE, TEXT, CACHE, CITATIONS, SOURCE, TITLE, ID, NAME, INPUT, USE_ID, CONTENT, IS_ERROR, THINKING, SIGNATURE, DATA, BLOCK_N
};
static const str block_names[BLOCK_N] = {
    [TYPE] = S("type"), [TEXT] = S("text"), [CACHE] = S("cache_control"), [CITATIONS] = S("citations"), [SOURCE] = S("source"),
    [TITLE] = S("title"), [ID] = S("id"), [NAME] = S("name"), [INPUT] = S("input"), [USE_ID] = S("tool_use_id"),
    [CONTENT] = S("content"), [IS_ERROR] = S("is_error"), [THINKING] = S("thinking"), [SIGNATURE] = S("signature"),
    [DATA] = S("data"),
};
static const struct { str type; enum block_kind kind; uint32_t known; } block_types[] = {
    { S("text"), BLOCK_TEXT, 1 << TEXT | 1 << CITATIONS },
    { S("image"), BLOCK_IMAGE, 1 << SOURCE },
    { S("document"), BLOCK_FILE, 1 << SOURCE | 1 << TITLE },
    { S("tool_use"), BLOCK_TOOL_CALL, 1 << ID | 1 << NAME | 1 << INPUT },
    { S("tool_result"), BLOCK_TOOL_RESULT, 1 << USE_ID | 1 << CONTENT | 1 << IS_ERROR },
    { S("thinking"), BLOCK_REASONING, 1 << THINKING | 1 << SIGNATURE },
    { S("redacted_thinking"), BLOCK_SEALED_REASONING, 1 << DATA },
};

static int other_read(const struct reading *f, jref n, str type, struct block *out)
{
    *out = (struct block){ .kind = BLOCK_OTHER, .raw = json_raw(f->j, n), .raw_type = type };
    return 0;
}

static int media_read(const struct reading *f, const struct spot *at, jref n, const jref *v, str type, struct block *out)
{
    if (fields_need(f, AT(at, "source"), v[SOURCE], JSON_OBJECT) < 0 ||
        fields_str(f, AT(at, "title"), v[TITLE], &out->media.name) < 0)
        return -1;
    int known = source_read(f, AT(at, "source"), v[SOURCE], &out->media, &out->rest);
    return known < 0 ? -1 : known ? 0 : other_read(f, n, type, out);
}

static int call_read(const struct reading *f, const struct spot *at, const jref *v, struct block *out)
{
    if (fields_need(f, AT(at, "id"), v[ID], JSON_STRING) < 0 || fields_need(f, AT(at, "name"), v[NAME], JSON_STRING) < 0 ||
        fields_kind(f, AT(at, "input"), v[INPUT], JSON_OBJECT) < 0)
        return -1;
    out->call_id = json_str(f->j, v[ID], f->a);
    out->name = json_str(f->j, v[NAME], f->a);
    out->arguments = v[INPUT] == JSON_NONE ? S("{}") : fields_compact(f, v[INPUT]);
    return 0;
}

static int result_read(const struct reading *f, const struct spot *at, const jref *v, struct block *out)
{
    if (fields_need(f, AT(at, "tool_use_id"), v[USE_ID], JSON_STRING) < 0 ||
        fields_bool(f, AT(at, "is_error"), v[IS_ERROR], &out->is_error) < 0)
        return -1;
    out->call_id = json_str(f->j, v[USE_ID], f->a);
    return blocks_read(f, AT(at, "content"), v[CONTENT], &out->content, &out->n_content);
}

int anthropic_block_read(const struct reading *f, const struct spot *at, jref n, struct block *out)
{
    *out = (struct block){ 0 };
    if (json_kind(f->j, n) != JSON_OBJECT)
        return fields_wrong(f, at, n, "an object");
    jref v[BLOCK_N], type = json_get(f->j, n, S("type"));
    if (fields_need(f, AT(at, "type"), type, JSON_STRING) < 0)
        return -1;
    str name = json_str(f->j, type, f->a);
    size_t k = 0;
    while (k < COUNT_OF(block_types) && !str_eq(name, block_types[k].type))
        k++;
    if (k == COUNT_OF(block_types))
        return other_read(f, n, name, out);
    out->kind = block_types[k].kind;
    /* names that this type does not have are unknown members */
    fields_get_of(f, n, block_names, BLOCK_N, 1 << TYPE | 1 << CACHE | block_types[k].known, v, &out->rest, S(""));
    out->cache_control = fields_raw(f, v[CACHE]);
    switch (out->kind) {
    case BLOCK_TEXT:
        if (fields_need(f, AT(at, "text"), v[TEXT], JSON_STRING) < 0)
            return -1;
        block_text_read(out, f->j, v[TEXT], f->a);
        out->citations = fields_raw(f, v[CITATIONS]);
        return 0;
    case BLOCK_IMAGE:
    case BLOCK_FILE: return media_read(f, at, n, v, name, out);
    case BLOCK_TOOL_CALL: return call_read(f, at, v, out);
    case BLOCK_TOOL_RESULT: return result_read(f, at, v, out);
    case BLOCK_REASONING:
        if (fields_need(f, AT(at, "thinking"), v[THINKING], JSON_STRING) < 0 ||
            fields_str(f, AT(at, "signature"), v[SIGNATURE], &out->signature) < 0)
            return -1;
        out->text = json_str(f->j, v[THINKING], f->a);
        return 0;
    default:
        if (fields_need(f, AT(at, "data"), v[DATA], JSON_STRING) < 0)
            return -1;
        out->sealed = json_str(f->j, v[DATA], f->a);
        return 0;
    }
}

/* Data of another family out of its envelope: into the block itself, or as the signature of a neighbour (true: the block is
 * used up). */
static bool unwrap(struct block *b, struct block *last, struct block *carry)
{
    str origin, role, data;
    str *wire = b->kind == BLOCK_REASONING ? &b->signature : &b->sealed;
    if ((b->kind != BLOCK_REASONING && b->kind != BLOCK_SEALED_REASONING) || !anthropic_unwrap(*wire, &origin, &role, &data))
        return false;
    if (str_eq(role, S("next")) || (str_eq(role, S("last")) && last)) {
        struct block *to = last && str_eq(role, S("last")) ? last : carry;
        to->origin = origin;
        to->signature = data;
        return true;
    }
    b->origin = origin;
    *wire = data;
    return false;
}

/* A string is one text block. */
static int blocks_read(const struct reading *f, const struct spot *at, jref n, struct block **out, uint32_t *n_out)
{
    if (n == JSON_NONE)
        return 0;
    if (json_kind(f->j, n) == JSON_STRING) {
        *out = ARENA_NEW(f->a, struct block);
        block_text_read(*out, f->j, n, f->a);
        *n_out = 1;
        return 0;
    }
    if (json_kind(f->j, n) != JSON_ARRAY)
        return fields_wrong(f, at, n, "a string or an array");
    uint32_t i = 0;
    struct block carry = { 0 }, *list = arena_try(f->a, json_count(f->j, n) * sizeof *list);
    if (!list)
        return fields_fail(f, at, "out of memory");
    JSON_EACH_ITEM(f->j, n, item) {
        struct block *b = &list[*n_out];
        if (anthropic_block_read(f, AT_ITEM(at, i++), item, b) < 0)
            return -1;
        if (unwrap(b, *n_out ? b - 1 : NULL, &carry))
            continue;
        if (carry.origin.len) {
            b->origin = carry.origin;
            b->signature = carry.signature;
            carry = (struct block){ 0 };
        }
        ++*n_out;
    }
    *out = list;
    return 0;
}

/* ---- messages ---- */

static int message_read(const struct reading *f, const struct spot *at, jref n, struct turn *out)
{
    enum { ROLE, CONTENT_, N };
    static const str names[N] = { [ROLE] = S("role"), [CONTENT_] = S("content") };
    static const struct { str name; enum role role; } roles[] = {
        { S("user"), ROLE_USER }, { S("assistant"), ROLE_ASSISTANT }, { S("system"), ROLE_SYSTEM },
    };
    jref v[N];
    *out = (struct turn){ 0 };
    if (json_kind(f->j, n) != JSON_OBJECT)
        return fields_wrong(f, at, n, "an object");
    fields_get(f, n, names, N, v, &out->rest, S(""));
    if (fields_need(f, AT(at, "role"), v[ROLE], JSON_STRING) < 0)
        return -1;
    if (v[CONTENT_] == JSON_NONE)
        return fields_wrong(f, AT(at, "content"), JSON_NONE, "a string or an array");
    str role = json_str(f->j, v[ROLE], f->a);
    size_t k = 0;
    while (k < COUNT_OF(roles) && !str_eq(roles[k].name, role))
        k++;
    if (k == COUNT_OF(roles))
        return fields_fail(f, AT(at, "role"), "expected \"user\", \"assistant\" or \"system\"");
    out->role = roles[k].role;
    return blocks_read(f, AT(at, "content"), v[CONTENT_], &out->blocks, &out->n);
}

static int messages_read(const struct reading *f, jref n, struct prompt *out)
{
    uint32_t i = 0;
    if (fields_need(f, AT(NULL, "messages"), n, JSON_ARRAY) < 0)
        return -1;
    uint32_t count = json_count(f->j, n);
    out->turns = arena_try(f->a, (count + 1) * sizeof *out->turns);
    if (!out->turns)
        return fields_fail(f, AT(NULL, "messages"), "out of memory");
    JSON_EACH_ITEM(f->j, n, item) {
        if (message_read(f, AT_ITEM(AT(NULL, "messages"), i), item, &out->turns[i]) < 0)
            return -1;
        out->n_turns = ++i;
    }
    return 0;
}

/* ---- tools ---- */

static int tool_read(const struct reading *f, const struct spot *at, jref n, struct tool *out)
{
    enum { T_TYPE, T_NAME, T_DESCRIPTION, T_SCHEMA, T_STRICT, T_CACHE, N };
    static const str names[N] = {
        [T_TYPE] = S("type"), [T_NAME] = S("name"), [T_DESCRIPTION] = S("description"), [T_SCHEMA] = S("input_schema"),
        [T_STRICT] = S("strict"), [T_CACHE] = S("cache_control"),
    };
    jref v[N];
    str type = S("custom");
    *out = (struct tool){ .strict = -1 };
    if (json_kind(f->j, n) != JSON_OBJECT)
        return fields_wrong(f, at, n, "an object");
    fields_get(f, n, names, N, v, &out->rest, S(""));
    if (fields_str(f, AT(at, "type"), v[T_TYPE], &type) < 0 || fields_str(f, AT(at, "name"), v[T_NAME], &out->name) < 0)
        return -1;
    out->cache_control = fields_raw(f, v[T_CACHE]);
    if (!str_eq(type, S("custom"))) {
        out->kind = TOOL_HOSTED;
        out->raw = json_raw(f->j, n);
        out->raw_type = type;
        out->rest = (struct members){ 0 };
        return 0;
    }
    if (fields_need(f, AT(at, "name"), v[T_NAME], JSON_STRING) < 0 ||
        fields_str(f, AT(at, "description"), v[T_DESCRIPTION], &out->description) < 0 ||
        fields_kind(f, AT(at, "input_schema"), v[T_SCHEMA], JSON_OBJECT) < 0 ||
        fields_flag(f, AT(at, "strict"), v[T_STRICT], &out->strict) < 0)
        return -1;
    out->parameters = fields_raw(f, v[T_SCHEMA]);
    return 0;
}

static int tools_read(const struct reading *f, jref n, struct prompt *out)
{
    uint32_t i = 0;
    if (n == JSON_NONE)
        return 0;
    if (fields_need(f, AT(NULL, "tools"), n, JSON_ARRAY) < 0)
        return -1;
    out->tools = arena_try(f->a, (json_count(f->j, n) + 1) * sizeof *out->tools);
    if (!out->tools)
        return fields_fail(f, AT(NULL, "tools"), "out of memory");
    JSON_EACH_ITEM(f->j, n, item) {
        if (tool_read(f, AT_ITEM(AT(NULL, "tools"), i), item, &out->tools[i]) < 0)
            return -1;
        out->n_tools = ++i;
    }
    return 0;
}

static int choice_read(const struct reading *f, jref n, struct prompt *out)
{
    enum { C_TYPE, C_NAME, C_DISABLE, N };
    static const str names[N] = {
        [C_TYPE] = S("type"), [C_NAME] = S("name"), [C_DISABLE] = S("disable_parallel_tool_use"),
    };
    static const struct { str name; enum tool_choice choice; } choices[] = {
        { S("auto"), CHOICE_AUTO }, { S("any"), CHOICE_REQUIRED }, { S("tool"), CHOICE_TOOL }, { S("none"), CHOICE_NONE },
    };
    const struct spot *at = AT(NULL, "tool_choice");
    jref v[N];
    int disables = -1;
    if (n == JSON_NONE)
        return 0;
    if (fields_need(f, at, n, JSON_OBJECT) < 0)
        return -1;
    fields_get(f, n, names, N, v, &out->rest, S("tool_choice"));
    if (fields_need(f, AT(at, "type"), v[C_TYPE], JSON_STRING) < 0 ||
        fields_flag(f, AT(at, "disable_parallel_tool_use"), v[C_DISABLE], &disables) < 0)
        return -1;
    str type = json_str(f->j, v[C_TYPE], f->a);
    size_t k = 0;
    while (k < COUNT_OF(choices) && !str_eq(choices[k].name, type))
        k++;
    if (k == COUNT_OF(choices))
        return fields_fail(f, AT(at, "type"), "expected \"auto\", \"any\", \"tool\" or \"none\"");
    out->choice = choices[k].choice;
    if (disables >= 0)
        out->parallel_tool_calls = !disables;
    if (out->choice != CHOICE_TOOL)
        return 0;
    if (fields_need(f, AT(at, "name"), v[C_NAME], JSON_STRING) < 0)
        return -1;
    out->chosen = ARENA_NEW(f->a, str);
    out->chosen[0] = json_str(f->j, v[C_NAME], f->a);
    out->n_chosen = 1;
    return 0;
}

/* ---- the rest of a request ---- */

static int thinking_read(const struct reading *f, jref n, struct prompt *out)
{
    enum { H_TYPE, H_BUDGET, H_DISPLAY, N };
    static const str names[N] = { [H_TYPE] = S("type"), [H_BUDGET] = S("budget_tokens"), [H_DISPLAY] = S("display") };
    static const struct { str name; enum reasoning_mode mode; } modes[] = {
        { S("enabled"), REASONING_ON }, { S("adaptive"), REASONING_ADAPTIVE }, { S("disabled"), REASONING_OFF },
    };
    const struct spot *at = AT(NULL, "thinking");
    jref v[N];
    str display = S("");
    if (n == JSON_NONE)
        return 0;
    if (fields_need(f, at, n, JSON_OBJECT) < 0)
        return -1;
    fields_get(f, n, names, N, v, &out->rest, S("thinking"));
    if (fields_need(f, AT(at, "type"), v[H_TYPE], JSON_STRING) < 0 ||
        fields_int(f, AT(at, "budget_tokens"), v[H_BUDGET], &out->reasoning_budget) < 0 ||
        fields_str(f, AT(at, "display"), v[H_DISPLAY], &display) < 0)
        return -1;
    str type = json_str(f->j, v[H_TYPE], f->a);
    size_t k = 0;
    while (k < COUNT_OF(modes) && !str_eq(modes[k].name, type))
        k++;
    if (k == COUNT_OF(modes))
        return fields_fail(f, AT(at, "type"), "expected \"enabled\", \"adaptive\" or \"disabled\"");
    out->reasoning = modes[k].mode;
    if (out->reasoning_budget < 0)
        return fields_fail(f, AT(at, "budget_tokens"), "must not be negative");
    if (str_eq(display, S("omitted")))
        out->reasoning_summary = S("none");
    else if (str_eq(display, S("summarized")))
        out->reasoning_summary = S("auto");
    else if (display.len)
        members_add(&out->rest, f->a, S("thinking.display"), json_raw(f->j, v[H_DISPLAY]));
    return 0;
}

/* {type: json_schema, schema}; another type stays as it came. */
static int format_read(const struct reading *f, const struct spot *at, jref n, str rest_key, struct prompt *out)
{
    if (n == JSON_NONE)
        return 0;
    if (fields_need(f, at, n, JSON_OBJECT) < 0)
        return -1;
    jref type = json_get(f->j, n, S("type")), schema = json_get(f->j, n, S("schema"));
    if (json_count(f->j, n) != 2 || !str_eq(json_str(f->j, type, f->a), S("json_schema")) ||
        !json_is(f->j, schema, JSON_OBJECT)) {
        members_add(&out->rest, f->a, rest_key, json_raw(f->j, n));
        return 0;
    }
    out->output = OUTPUT_JSON_SCHEMA;
    out->schema = json_raw(f->j, schema);
    return 0;
}

static int output_read(const struct reading *f, jref n, struct prompt *out)
{
    enum { O_EFFORT, O_FORMAT, N };
    static const str names[N] = { [O_EFFORT] = S("effort"), [O_FORMAT] = S("format") };
    const struct spot *at = AT(NULL, "output_config");
    jref v[N];
    if (n == JSON_NONE)
        return 0;
    if (fields_need(f, at, n, JSON_OBJECT) < 0)
        return -1;
    fields_get(f, n, names, N, v, &out->rest, S("output_config"));
    if (fields_str(f, AT(at, "effort"), v[O_EFFORT], &out->reasoning_effort) < 0)
        return -1;
    return format_read(f, AT(at, "format"), v[O_FORMAT], S("output_config.format"), out);
}

static int metadata_read(const struct reading *f, jref n, struct prompt *out)
{
    static const str names[] = { S("user_id") };
    const struct spot *at = AT(NULL, "metadata");
    jref v[1];
    if (n == JSON_NONE)
        return 0;
    if (fields_need(f, at, n, JSON_OBJECT) < 0)
        return -1;
    fields_get(f, n, names, 1, v, &out->rest, S("metadata"));
    return fields_str(f, AT(at, "user_id"), v[0], &out->user);
}

static int stops_read(const struct reading *f, jref n, struct prompt *out)
{
    const struct spot *at = AT(NULL, "stop_sequences");
    if (n == JSON_NONE)
        return 0;
    if (fields_need(f, at, n, JSON_ARRAY) < 0)
        return -1;
    uint32_t count = json_count(f->j, n), i = 0;
    out->stops = arena_try(f->a, (count + 1) * sizeof *out->stops);
    if (!out->stops)
        return fields_fail(f, at, "out of memory");
    JSON_EACH_ITEM(f->j, n, item) {
        if (fields_need(f, AT_ITEM(at, i), item, JSON_STRING) < 0)
            return -1;
        out->stops[i++] = json_str(f->j, item, f->a);
    }
    out->n_stops = count;
    return 0;
}

static int system_read(const struct reading *f, jref n, struct prompt *out)
{
    const struct spot *at = AT(NULL, "system");
    if (blocks_read(f, at, n, &out->system, &out->n_system) < 0)
        return -1;
    for (uint32_t i = 0; i < out->n_system; i++)
        if (out->system[i].kind != BLOCK_TEXT && out->system[i].kind != BLOCK_OTHER)
            return fields_fail(f, AT_ITEM(at, i), "expected a text block");
    return 0;
}

int anthropic_prompt_read(struct arena *a, const struct json *j, enum body_kind kind, struct prompt *out, struct err *e)
{
    enum {
        MODEL, MAX_TOKENS, MESSAGES, SYSTEM, TOOLS, TOOL_CHOICE, THINKING_, OUTPUT_CONFIG, OUTPUT_FORMAT, STOPS, STREAM,
        TEMPERATURE, TOP_P, TOP_K, METADATA, SERVICE_TIER, N
    };
    static const str names[N] = {
        [MODEL] = S("model"), [MAX_TOKENS] = S("max_tokens"), [MESSAGES] = S("messages"), [SYSTEM] = S("system"),
        [TOOLS] = S("tools"), [TOOL_CHOICE] = S("tool_choice"), [THINKING_] = S("thinking"),
        [OUTPUT_CONFIG] = S("output_config"), [OUTPUT_FORMAT] = S("output_format"), [STOPS] = S("stop_sequences"),
        [STREAM] = S("stream"), [TEMPERATURE] = S("temperature"), [TOP_P] = S("top_p"), [TOP_K] = S("top_k"),
        [METADATA] = S("metadata"), [SERVICE_TIER] = S("service_tier"),
    };
    *out = prompt_new(&dialect_anthropic);
    const struct reading f = { a, j, e };
    jref v[N];
    if (!json_is(j, 0, JSON_OBJECT))
        return fields_wrong(&f, NULL, 0, "an object");
    fields_get(&f, 0, names, N, v, &out->rest, S(""));
    if (fields_str(&f, AT(NULL, "model"), v[MODEL], &out->model) < 0)
        return -1;
    if (v[MODEL] == JSON_NONE && kind != BODY_INVOKE)
        return fields_wrong(&f, AT(NULL, "model"), JSON_NONE, "a string");
    if (v[MAX_TOKENS] == JSON_NONE && kind != BODY_COUNT)
        return fields_wrong(&f, AT(NULL, "max_tokens"), JSON_NONE, "an integer");
    if (fields_int(&f, AT(NULL, "max_tokens"), v[MAX_TOKENS], &out->max_tokens) < 0)
        return -1;
    if (out->max_tokens < 0)
        return fields_fail(&f, AT(NULL, "max_tokens"), "must not be negative");
    if (v[MAX_TOKENS] != JSON_NONE && out->max_tokens == 0)     /* fills the prompt cache, no answer: nobody else's idea */
        members_add(&out->rest, a, S("max_tokens"), S("0"));
    if (fields_bool(&f, AT(NULL, "stream"), v[STREAM], &out->is_streaming) < 0 ||
        fields_double(&f, AT(NULL, "temperature"), v[TEMPERATURE], &out->temperature) < 0 ||
        fields_double(&f, AT(NULL, "top_p"), v[TOP_P], &out->top_p) < 0 ||
        fields_int(&f, AT(NULL, "top_k"), v[TOP_K], &out->top_k) < 0 ||
        fields_str(&f, AT(NULL, "service_tier"), v[SERVICE_TIER], &out->service_tier) < 0)
        return -1;
    if (stops_read(&f, v[STOPS], out) < 0 || metadata_read(&f, v[METADATA], out) < 0 ||
        thinking_read(&f, v[THINKING_], out) < 0 || output_read(&f, v[OUTPUT_CONFIG], out) < 0)
        return -1;
    if (out->output == OUTPUT_UNSET &&
        format_read(&f, AT(NULL, "output_format"), v[OUTPUT_FORMAT], S("output_format"), out) < 0)
        return -1;
    return system_read(&f, v[SYSTEM], out) < 0 || tools_read(&f, v[TOOLS], out) < 0 ||
                   choice_read(&f, v[TOOL_CHOICE], out) < 0 || messages_read(&f, v[MESSAGES], out) < 0
               ? -1 : 0;
}

int anthropic_request_read(struct arena *a, const struct json *j, const struct request_place *at, struct prompt *out,
                           struct err *e)
{
    (void)at;                                   /* the body says everything */
    return anthropic_prompt_read(a, j, BODY_MESSAGES, out, e);
}

int anthropic_count_read(struct arena *a, const struct json *j, const struct request_place *at, struct prompt *out, struct err *e)
{
    (void)at;
    return anthropic_prompt_read(a, j, BODY_COUNT, out, e);
}

/* ---- replies ---- */

static const struct { str name; enum stop_reason stop; } stops[] = {
    { S("end_turn"), STOP_END }, { S("stop_sequence"), STOP_SEQUENCE }, { S("max_tokens"), STOP_LENGTH },
    { S("model_context_window_exceeded"), STOP_CONTEXT }, { S("tool_use"), STOP_TOOLS }, { S("refusal"), STOP_REFUSAL },
    { S("pause_turn"), STOP_PAUSE },
};

enum stop_reason anthropic_stop_read(str word)
{
    for (size_t i = 0; i < COUNT_OF(stops); i++)
        if (str_eq(stops[i].name, word))
            return stops[i].stop;
    return word.len ? STOP_END : STOP_UNKNOWN;
}

str anthropic_stop_name(enum stop_reason stop)
{
    if (stop == STOP_FILTER)
        stop = STOP_REFUSAL;
    for (size_t i = 0; i < COUNT_OF(stops); i++)
        if (stops[i].stop == stop)
            return stops[i].name;
    return S("");
}

/* Messages' input_tokens leave the cache out, ours include it. */
void anthropic_usage_read(const struct reading *f, jref n, struct usage *u, str *service_tier, struct members *rest)
{
    enum { INPUT_, OUTPUT_, READ, WRITE, CREATION, DETAILS, TIER, N };
    static const str names[N] = {
        [INPUT_] = S("input_tokens"), [OUTPUT_] = S("output_tokens"), [READ] = S("cache_read_input_tokens"),
        [WRITE] = S("cache_creation_input_tokens"), [CREATION] = S("cache_creation"), [DETAILS] = S("output_tokens_details"),
        [TIER] = S("service_tier"),
    };
    jref v[N];
    if (!json_is(f->j, n, JSON_OBJECT))
        return;
    fields_get(f, n, names, N, v, rest, S("usage"));
    int64_t fresh = u->prompt_tokens - u->cached_tokens - u->cache_write_tokens;
    const struct { jref at; int64_t *to; } counts[] = {
        { v[INPUT_], &fresh }, { v[OUTPUT_], &u->completion_tokens }, { v[READ], &u->cached_tokens },
        { v[WRITE], &u->cache_write_tokens },
        { v[CREATION] == JSON_NONE || !json_is(f->j, v[CREATION], JSON_OBJECT)
              ? JSON_NONE : json_get(f->j, v[CREATION], S("ephemeral_1h_input_tokens")), &u->cache_write_1h_tokens },
        { v[DETAILS] == JSON_NONE || !json_is(f->j, v[DETAILS], JSON_OBJECT)
              ? JSON_NONE : json_get(f->j, v[DETAILS], S("thinking_tokens")), &u->reasoning_tokens },
    };
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        int64_t value;
        if (counts[i].at != JSON_NONE && json_int(f->j, counts[i].at, &value) && value >= 0 && value <= USAGE_TOKENS_MAX)
            *counts[i].to = value;
    }
    u->prompt_tokens = fresh + u->cached_tokens + u->cache_write_tokens;
    u->is_known = true;
    u->splits_cache_write |= json_is(f->j, v[CREATION], JSON_OBJECT);
    if (service_tier && json_is(f->j, v[TIER], JSON_STRING))
        *service_tier = json_str(f->j, v[TIER], f->a);
    else if (rest && v[TIER] != JSON_NONE)      /* the end of a stream says it again */
        members_add(rest, f->a, S("usage.service_tier"), json_raw(f->j, v[TIER]));
}

int anthropic_reply_read(struct arena *a, const struct json *j, struct reply *out, struct err *e)
{
    enum { R_ID, R_TYPE, R_ROLE, R_MODEL, R_CONTENT, R_STOP, R_SEQUENCE, R_USAGE, N };
    static const str names[N] = {
        [R_ID] = S("id"), [R_TYPE] = S("type"), [R_ROLE] = S("role"), [R_MODEL] = S("model"), [R_CONTENT] = S("content"),
        [R_STOP] = S("stop_reason"), [R_SEQUENCE] = S("stop_sequence"), [R_USAGE] = S("usage"),
    };
    const struct reading f = { a, j, e };
    jref v[N];
    *out = (struct reply){ .dialect = &dialect_anthropic };
    if (!json_is(j, 0, JSON_OBJECT))
        return fields_wrong(&f, NULL, 0, "an object");
    fields_get(&f, 0, names, N, v, &out->rest, S(""));
    if (v[R_CONTENT] == JSON_NONE)
        return fields_wrong(&f, AT(NULL, "content"), JSON_NONE, "an array");
    if (fields_str(&f, AT(NULL, "id"), v[R_ID], &out->id) < 0 ||
        fields_str(&f, AT(NULL, "model"), v[R_MODEL], &out->model) < 0 ||
        fields_str(&f, AT(NULL, "stop_reason"), v[R_STOP], &out->stop_text) < 0 ||
        fields_str(&f, AT(NULL, "stop_sequence"), v[R_SEQUENCE], &out->stop_sequence) < 0 ||
        blocks_read(&f, AT(NULL, "content"), v[R_CONTENT], &out->blocks, &out->n) < 0)
        return -1;
    out->stop = anthropic_stop_read(out->stop_text);
    if (v[R_USAGE] != JSON_NONE)
        anthropic_usage_read(&f, v[R_USAGE], &out->usage, &out->service_tier, &out->rest);
    return 0;
}
