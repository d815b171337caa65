/* dialect/openai_chat_read.c -- requests and answers of Chat Completions, as the canonical form.
 *
 * A message of a request and the message of an answer are the same object; one function reads both. What compatible servers
 * and gateways have added to it is read, too: reasoning_content, reasoning, thinking_blocks, reasoning_details and
 * extra_content. raw_type of a reasoning block is the member it came from, and raw its item, so that the writer puts it
 * back as it was. Members of nested objects that nobody knows go to `rest` under a dotted name ("function.examples"). */
#include "dialect/openai_chat_parts.h"

#include "dialect/openai_chat_parse.h"

struct blocks { struct arena *a; struct block *items; uint32_t n; };

static struct block *block_add(struct blocks *b, enum block_kind kind)
{
    struct block *one = PUSH(b->a, b->items, b->n);
    one->kind = kind;
    return one;
}

/* A number of things: an integer that is not negative. */
static int fields_count(const struct reading *r, const struct spot *at, jref n, int64_t *out)
{
    int64_t v = 0;
    if (fields_int(r, at, n, &v) < 0)
        return -1;
    if (n != JSON_NONE)
        *out = v;
    return v < 0 ? fields_fail(r, at, "must not be negative") : 0;
}

static int object_raw(const struct reading *r, const struct spot *at, jref n, str *out)
{
    *out = fields_raw(r, n);
    return fields_kind(r, at, n, JSON_OBJECT);
}

static str text_of(const struct reading *r, jref object, str key)
{
    jref n = json_is(r->j, object, JSON_OBJECT) ? json_get(r->j, object, key) : JSON_NONE;
    return json_str(r->j, n, r->a);
}

/* ---- reasoning ---- */

/* `format` of an item of reasoning_details says who made it; the names are OpenRouter's. */
static str origin_of_format(str format)
{
    static const struct { str prefix, origin; } table[] = {
        { S("anthropic"), S("anthropic") }, { S("openai-responses"), S("openai_responses") },
        { S("xai-responses"), S("openai_responses") }, { S("google-gemini"), S("gemini") }, { S("bedrock"), S("bedrock") },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (str_starts(format, table[i].prefix))
            return table[i].origin;
    return S("");
}

bool openai_thought_read(const struct reading *r, jref item, bool is_detail, struct block *out)
{
    if (!json_is(r->j, item, JSON_OBJECT))
        return false;
    str type = text_of(r, item, S("type"));
    *out = (struct block){ .raw = json_raw(r->j, item), .raw_type = is_detail ? S("reasoning_details") : S("thinking_blocks") };
    out->origin = is_detail ? origin_of_format(text_of(r, item, S("format"))) : S("anthropic");
    out->item_id = is_detail ? text_of(r, item, S("id")) : S("");
    if (str_eq(type, S("thinking")) || str_eq(type, S("reasoning.text"))) {
        out->kind = BLOCK_REASONING;
        out->text = text_of(r, item, is_detail ? S("text") : S("thinking"));
        out->signature = text_of(r, item, S("signature"));
        return out->text.len || out->signature.len;
    }
    if (str_eq(type, S("redacted_thinking")) || str_eq(type, S("reasoning.encrypted"))) {
        out->kind = BLOCK_SEALED_REASONING;
        out->sealed = text_of(r, item, S("data"));
        return out->sealed.len > 0;
    }
    out->kind = BLOCK_REASONING;
    out->text = text_of(r, item, S("summary"));
    return str_eq(type, S("reasoning.summary")) && out->text.len;
}

str openai_google_signature(const struct reading *r, jref extra_content)
{
    jref google = json_is(r->j, extra_content, JSON_OBJECT) ? json_get(r->j, extra_content, S("google")) : JSON_NONE;
    return text_of(r, google, S("thought_signature"));
}

enum {
    ROLE, CONTENT, NAME, TOOL_CALL_ID, REFUSAL, TOOL_CALLS, FUNCTION_CALL, REASONING_CONTENT, REASONING, THINKING_BLOCKS,
    REASONING_DETAILS, ANNOTATIONS, EXTRA_CONTENT, CACHE_CONTROL, IMAGES, MESSAGE_N
};
static const str message_names[MESSAGE_N] = {
    [ROLE] = S("role"), [CONTENT] = S("content"), [NAME] = S("name"), [TOOL_CALL_ID] = S("tool_call_id"),
    [REFUSAL] = S("refusal"), [TOOL_CALLS] = S("tool_calls"), [FUNCTION_CALL] = S("function_call"),
    [REASONING_CONTENT] = S("reasoning_content"), [REASONING] = S("reasoning"), [THINKING_BLOCKS] = S("thinking_blocks"),
    [REASONING_DETAILS] = S("reasoning_details"), [ANNOTATIONS] = S("annotations"), [EXTRA_CONTENT] = S("extra_content"),
    [CACHE_CONTROL] = S("cache_control"), [IMAGES] = S("images"),
};

/* The richest form counts; the plain text beside it says the same again. */
static int thoughts_read(const struct reading *r, const struct spot *at, const jref v[MESSAGE_N], struct blocks *out)
{
    bool has_text = false;
    for (int k = THINKING_BLOCKS; k <= REASONING_DETAILS && !out->n; k++) {
        if (!json_is(r->j, v[k], JSON_ARRAY))
            continue;
        JSON_EACH_ITEM(r->j, v[k], item) {
            struct block b;
            if (!openai_thought_read(r, item, k == REASONING_DETAILS, &b))
                continue;
            has_text |= b.text.len > 0;
            *PUSH(out->a, out->items, out->n) = b;
        }
    }
    str text = S("");
    if (fields_str(r, AT(at, "reasoning_content"), v[REASONING_CONTENT], &text) < 0)
        return -1;
    str name = text.len ? S("reasoning_content") : S("reasoning");
    if (!text.len)
        text = json_str(r->j, v[REASONING], r->a);
    if (has_text || !text.len)
        return 0;
    block_add(out, BLOCK_REASONING);
    for (uint32_t i = out->n - 1; i > 0; i--)       /* sealed ones follow what can be read */
        out->items[i] = out->items[i - 1];
    out->items[0] = (struct block){ .kind = BLOCK_REASONING, .text = text, .raw_type = name };
    return 0;
}

/* ---- content ---- */

static int image_read(const struct reading *r, const struct spot *at, jref n, struct block *out)
{
    enum { URL, DETAIL, N };
    static const str names[N] = { [URL] = S("url"), [DETAIL] = S("detail") };
    const struct spot *here = AT(at, "image_url");
    str url = S("");
    out->kind = BLOCK_IMAGE;
    if (n == JSON_NONE)
        return fields_wrong(r, here, n, "an object or a string");
    if (json_kind(r->j, n) == JSON_STRING) {
        url = json_str(r->j, n, r->a);
    } else if (json_kind(r->j, n) == JSON_OBJECT) {
        jref v[N];
        fields_get(r, n, names, N, v, &out->rest, S("image_url"));
        if (fields_str(r, AT(here, "url"), v[URL], &url) < 0 ||
            fields_str(r, AT(here, "detail"), v[DETAIL], &out->media.detail) < 0)
            return -1;
    } else {
        return fields_wrong(r, here, n, "an object or a string");
    }
    if (!media_from_data_url(url, &out->media))
        out->media.url = url;
    else if (str_eq(out->media.media_type, S("application/pdf")))
        out->kind = BLOCK_FILE;                     /* what some clients do for want of a file part */
    return 0;
}

static int audio_read(const struct reading *r, const struct spot *at, jref n, struct block *out)
{
    enum { DATA, FORMAT, N };
    static const str names[N] = { [DATA] = S("data"), [FORMAT] = S("format") };
    const struct spot *here = AT(at, "input_audio");
    jref v[N];
    if (!json_is(r->j, n, JSON_OBJECT))
        return fields_wrong(r, here, n, "an object");
    fields_get(r, n, names, N, v, &out->rest, S("input_audio"));
    out->kind = BLOCK_AUDIO;
    str data = S("");
    if (fields_str(r, AT(here, "data"), v[DATA], &data) < 0 ||
        fields_str(r, AT(here, "format"), v[FORMAT], &out->media.format) < 0)
        return -1;
    if (!media_from_data_url(data, &out->media))
        out->media.data = data;
    if (!out->media.media_type.len && out->media.format.len)
        out->media.media_type = str_eq(out->media.format, S("mp3"))
                                    ? S("audio/mpeg") : arena_printf(r->a, "audio/" STR_FMT, STR_ARG(out->media.format));
    return 0;
}

static int file_read(const struct reading *r, const struct spot *at, jref n, struct block *out)
{
    enum { DATA, ID, FILENAME, URL, FORMAT, N };
    static const str names[N] = { [DATA] = S("file_data"), [ID] = S("file_id"), [FILENAME] = S("filename"), [URL] = S("file_url"),
                                  [FORMAT] = S("format") };
    const struct spot *here = AT(at, "file");
    struct media *m = &out->media;
    jref v[N];
    str data = S(""), format = S("");
    if (!json_is(r->j, n, JSON_OBJECT))
        return fields_wrong(r, here, n, "an object");
    fields_get(r, n, names, N, v, &out->rest, S("file"));
    out->kind = BLOCK_FILE;
    if (fields_str(r, AT(here, "file_data"), v[DATA], &data) < 0 || fields_str(r, AT(here, "file_id"), v[ID], &m->file_id) < 0 ||
        fields_str(r, AT(here, "filename"), v[FILENAME], &m->name) < 0 ||
        fields_str(r, AT(here, "file_url"), v[URL], &m->url) < 0 ||
        fields_str(r, AT(here, "format"), v[FORMAT], &format) < 0)
        return -1;
    if (!media_from_data_url(data, m))
        m->data = data;
    if (format.len)
        m->media_type = format;
    if (!m->media_type.len && (str_ends(m->name, S(".pdf")) || str_starts(m->data, S("JVBERi0"))))  /* %PDF- in base64 */
        m->media_type = S("application/pdf");
    if (str_starts(m->media_type, S("image/")))
        out->kind = BLOCK_IMAGE;
    return 0;
}

/* Mistral says thinking as a list of text parts, others as a string. */
static str thinking_text(const struct reading *r, jref n)
{
    if (!json_is(r->j, n, JSON_ARRAY))
        return json_str(r->j, n, r->a);
    struct buf b = { 0 };
    JSON_EACH_ITEM(r->j, n, item)
        buf_str(&b, text_of(r, item, S("text")));
    return buf_to_arena(&b, r->a);
}

static int part_read(const struct reading *r, const struct spot *at, jref n, struct block *out)
{
    enum { TYPE, TEXT, IMAGE, AUDIO, FILE_, REFUSED, MARK, THINKING, SIGNATURE, DATA, N };
    static const str names[N] = {
        [TYPE] = S("type"), [TEXT] = S("text"), [IMAGE] = S("image_url"), [AUDIO] = S("input_audio"), [FILE_] = S("file"),
        [REFUSED] = S("refusal"), [MARK] = S("cache_control"), [THINKING] = S("thinking"), [SIGNATURE] = S("signature"),
        [DATA] = S("data"),
    };
    jref v[N];
    if (json_kind(r->j, n) != JSON_OBJECT)
        return fields_wrong(r, at, n, "an object");
    *out = (struct block){ 0 };
    fields_get(r, n, names, N, v, &out->rest, S(""));
    if (!json_is(r->j, v[TYPE], JSON_STRING))
        return fields_wrong(r, AT(at, "type"), v[TYPE], "a string");
    str type = json_str(r->j, v[TYPE], r->a);
    out->cache_control = fields_raw(r, v[MARK]);
    if (str_eq(type, S("text")) || str_eq(type, S("input_text")) || str_eq(type, S("output_text"))) {
        out->kind = BLOCK_TEXT;
        if (v[TEXT] == JSON_NONE)
            return fields_wrong(r, AT(at, "text"), v[TEXT], "a string");
        return fields_str(r, AT(at, "text"), v[TEXT], &out->text);
    }
    if (str_eq(type, S("image_url")) || (str_eq(type, S("input_image")) && v[IMAGE] != JSON_NONE))
        return image_read(r, at, v[IMAGE], out);
    if (str_eq(type, S("input_audio")))
        return audio_read(r, at, v[AUDIO], out);
    if (str_eq(type, S("file")))
        return file_read(r, at, v[FILE_], out);
    if (str_eq(type, S("refusal"))) {
        out->kind = BLOCK_REFUSAL;
        return fields_str(r, AT(at, "refusal"), v[REFUSED], &out->text);
    }
    if (str_eq(type, S("thinking")) || str_eq(type, S("redacted_thinking"))) {
        out->kind = str_eq(type, S("thinking")) ? BLOCK_REASONING : BLOCK_SEALED_REASONING;
        out->text = thinking_text(r, v[THINKING]);
        out->signature = json_str(r->j, v[SIGNATURE], r->a);
        out->sealed = json_str(r->j, v[DATA], r->a);
        out->origin = S("anthropic");
        out->raw = json_raw(r->j, n);
        out->raw_type = S("content");
        out->rest = (struct members){ 0 };
        return 0;
    }
    *out = (struct block){ .kind = BLOCK_OTHER, .raw = json_raw(r->j, n), .raw_type = type };
    return 0;
}

static int content_read(const struct reading *r, const struct spot *at, jref n, struct blocks *out)
{
    const struct spot *here = AT(at, "content");
    uint32_t i = 0;
    if (n == JSON_NONE)
        return 0;
    if (json_kind(r->j, n) == JSON_STRING) {
        block_add(out, BLOCK_TEXT)->text = json_str(r->j, n, r->a);
        return 0;
    }
    if (json_kind(r->j, n) != JSON_ARRAY)
        return fields_wrong(r, here, n, "a string or an array");
    if (json_count(r->j, n) > CHAT_PARTS_MAX)
        return fields_fail(r, here, "more than 262144 parts");
    JSON_EACH_ITEM(r->j, n, part) {
        struct block b;
        if (part_read(r, AT_ITEM(here, i++), part, &b) < 0)
            return -1;
        *PUSH(out->a, out->items, out->n) = b;
    }
    return 0;
}

/* ---- tool calls ---- */

/* The string or, as some servers write arguments, the object. */
static int arguments_read(const struct reading *r, const struct spot *at, const char *key, jref n, str *out)
{
    if (n != JSON_NONE && json_kind(r->j, n) == JSON_OBJECT) {
        *out = json_compact(r->a, json_raw(r->j, n));
        return 0;
    }
    return fields_str(r, AT(at, key), n, out);
}

static int function_read(const struct reading *r, const struct spot *at, const char *member, jref n, struct block *out)
{
    enum { NAME_, ARGUMENTS, INPUT, N };
    static const str names[N] = { [NAME_] = S("name"), [ARGUMENTS] = S("arguments"), [INPUT] = S("input") };
    const struct spot *here = AT(at, member);
    jref v[N];
    if (json_kind(r->j, n) != JSON_OBJECT)
        return fields_wrong(r, here, n, "an object");
    fields_get(r, n, names, N, v, &out->rest, str_of(member));
    if (fields_str(r, AT(here, "name"), v[NAME_], &out->name) < 0)
        return -1;
    return out->is_custom ? arguments_read(r, here, "input", v[INPUT], &out->arguments)
                          : arguments_read(r, here, "arguments", v[ARGUMENTS], &out->arguments);
}

/* Only what extra_content says beyond the signature has to be kept raw. */
static void extra_content_keep(const struct reading *r, jref extra, str signature, struct members *rest)
{
    if (extra == JSON_NONE)
        return;
    bool is_plain = signature.len && json_count(r->j, extra) == 1 && json_count(r->j, json_get(r->j, extra, S("google"))) == 1;
    if (!is_plain)
        members_add(rest, r->a, S("extra_content"), json_raw(r->j, extra));
}

static int call_read(const struct reading *r, const struct spot *at, jref n, struct block *out)
{
    enum { ID, TYPE, FUNCTION, CUSTOM, EXTRA, N };
    static const str names[N] = { [ID] = S("id"), [TYPE] = S("type"), [FUNCTION] = S("function"), [CUSTOM] = S("custom"),
                                  [EXTRA] = S("extra_content") };
    jref v[N];
    str type = S("");
    if (json_kind(r->j, n) != JSON_OBJECT)
        return fields_wrong(r, at, n, "an object");
    *out = (struct block){ .kind = BLOCK_TOOL_CALL };
    fields_get(r, n, names, N, v, &out->rest, S(""));
    if (fields_str(r, AT(at, "id"), v[ID], &out->call_id) < 0 || fields_str(r, AT(at, "type"), v[TYPE], &type) < 0)
        return -1;
    out->signature = openai_google_signature(r, v[EXTRA]);
    if (out->signature.len)
        out->origin = S("gemini");
    extra_content_keep(r, v[EXTRA], out->signature, &out->rest);
    out->is_custom = v[CUSTOM] != JSON_NONE;
    jref called = out->is_custom ? v[CUSTOM] : v[FUNCTION];
    if (called == JSON_NONE)
        return fields_wrong(r, AT(at, "function"), called, "an object");
    return function_read(r, at, out->is_custom ? "custom" : "function", called, out);
}

static int calls_read(const struct reading *r, const struct spot *at, jref n, struct blocks *out)
{
    const struct spot *here = AT(at, "tool_calls");
    uint32_t i = 0;
    if (n == JSON_NONE)
        return 0;
    if (json_kind(r->j, n) != JSON_ARRAY)
        return fields_wrong(r, here, n, "an array");
    JSON_EACH_ITEM(r->j, n, call) {
        struct block b;
        if (call_read(r, AT_ITEM(here, i++), call, &b) < 0)
            return -1;
        *PUSH(out->a, out->items, out->n) = b;
    }
    return 0;
}

/* ---- a message ---- */

static enum role role_of(str name)
{
    for (int role = 0; role < ROLE_OTHER; role++)
        if (str_eq(name, str_of(role_name((enum role)role))))
            return (enum role)role;
    return str_eq(name, S("function")) ? ROLE_TOOL : ROLE_OTHER;    /* the older spelling */
}

/* A tool's message holds one block, the result; `raw` is its content as it came. */
static int result_read(const struct reading *r, const struct spot *at, const jref v[MESSAGE_N], bool is_old, struct turn *out)
{
    struct blocks content = { .a = r->a };
    struct block *b = ARENA_NEW(r->a, struct block);
    *b = (struct block){ .kind = BLOCK_TOOL_RESULT, .raw = fields_raw(r, v[CONTENT]),
                         .cache_control = fields_raw(r, v[CACHE_CONTROL]),
                         .raw_type = is_old ? S("function") : S(""), .name = is_old ? out->name : S("") };
    if (fields_str(r, AT(at, "tool_call_id"), v[TOOL_CALL_ID], &b->call_id) < 0 || content_read(r, at, v[CONTENT], &content) < 0)
        return -1;
    b->content = content.items;
    b->n_content = content.n;
    out->blocks = b;
    out->n = 1;
    return 0;
}

/* What belongs to the message as a whole in OpenAI's form belongs to a block in ours. */
static void spread(const struct reading *r, const jref v[MESSAGE_N], uint32_t first_content, struct blocks *out, struct turn *t)
{
    str signature = openai_google_signature(r, v[EXTRA_CONTENT]);
    struct block *text = NULL;
    for (uint32_t i = first_content; i < out->n && !text; i++)
        if (out->items[i].kind == BLOCK_TEXT)
            text = &out->items[i];
    if (signature.len && text) {
        text->signature = signature;
        text->origin = S("gemini");
    }
    extra_content_keep(r, v[EXTRA_CONTENT], text ? signature : S(""), &t->rest);
    if (json_is(r->j, v[ANNOTATIONS], JSON_ARRAY) && json_count(r->j, v[ANNOTATIONS]) && text)
        text->citations = json_raw(r->j, v[ANNOTATIONS]);
    if (v[CACHE_CONTROL] != JSON_NONE && out->n)
        out->items[out->n - 1].cache_control = json_raw(r->j, v[CACHE_CONTROL]);
}

int openai_message_read(const struct reading *r, const struct spot *at, jref n, struct turn *out)
{
    jref v[MESSAGE_N];
    if (json_kind(r->j, n) != JSON_OBJECT)
        return fields_wrong(r, at, n, "an object");
    *out = (struct turn){ 0 };
    fields_get(r, n, message_names, MESSAGE_N, v, &out->rest, S(""));
    if (!json_is(r->j, v[ROLE], JSON_STRING))
        return fields_wrong(r, AT(at, "role"), v[ROLE], "a string");
    str role = json_str(r->j, v[ROLE], r->a), refusal = S("");
    out->role = role_of(role);
    if (out->role == ROLE_OTHER)
        members_add(&out->rest, r->a, S("role"), json_raw(r->j, v[ROLE]));
    if (fields_str(r, AT(at, "name"), v[NAME], &out->name) < 0)
        return -1;
    if (out->role == ROLE_TOOL)
        return result_read(r, at, v, str_eq(role, S("function")), out);
    struct blocks blocks = { .a = r->a };
    if (thoughts_read(r, at, v, &blocks) < 0)
        return -1;
    uint32_t first_content = blocks.n;
    if (content_read(r, at, v[CONTENT], &blocks) < 0 || fields_str(r, AT(at, "refusal"), v[REFUSAL], &refusal) < 0)
        return -1;
    if (refusal.len)
        *block_add(&blocks, BLOCK_REFUSAL) = (struct block){ .kind = BLOCK_REFUSAL, .text = refusal, .raw_type = S("refusal") };
    uint32_t i = 0;
    if (json_is(r->j, v[IMAGES], JSON_ARRAY)) {     /* generated ones: [{"type":"image_url","image_url":{"url":...}}] */
        JSON_EACH_ITEM(r->j, v[IMAGES], image) {
            struct block b;
            if (part_read(r, AT_ITEM(AT(at, "images"), i++), image, &b) < 0)
                return -1;
            b.raw_type = S("images");
            *PUSH(blocks.a, blocks.items, blocks.n) = b;
        }
    }
    spread(r, v, first_content, &blocks, out);
    if (calls_read(r, at, v[TOOL_CALLS], &blocks) < 0)
        return -1;
    if (v[FUNCTION_CALL] != JSON_NONE) {
        struct block *b = block_add(&blocks, BLOCK_TOOL_CALL);
        b->raw_type = S("function_call");
        if (function_read(r, at, "function_call", v[FUNCTION_CALL], b) < 0)
            return -1;
    }
    out->blocks = blocks.items;
    out->n = blocks.n;
    return 0;
}

/* The older form has no ids: a function's result belongs to the latest call. */
static void old_calls_number(struct arena *a, struct prompt *p)
{
    str id = S("");
    for (uint32_t i = 0; i < p->n_turns; i++)
        for (uint32_t k = 0; k < p->turns[i].n; k++) {
            struct block *b = &p->turns[i].blocks[k];
            if (str_eq(b->raw_type, S("function_call")) && b->kind == BLOCK_TOOL_CALL)
                b->call_id = id = arena_printf(a, "call_function_%u", i);
            else if (b->kind == BLOCK_TOOL_RESULT && str_eq(b->raw_type, S("function")) && !b->call_id.len)
                b->call_id = id;
        }
}

static int messages_read(const struct reading *r, jref n, struct prompt *p)
{
    uint32_t count = json_count(r->j, n);
    if (count > CHAT_MESSAGES_MAX)
        return err_set(r->e, "messages: %u of them, at most %d are read", count, CHAT_MESSAGES_MAX);
    p->turns = ARENA_ARRAY(r->a, struct turn, count);
    JSON_EACH_ITEM(r->j, n, one) {
        const struct spot *at = AT_ITEM(AT(NULL, "messages"), p->n_turns);
        if (openai_message_read(r, at, one, &p->turns[p->n_turns++]) < 0)
            return -1;
    }
    old_calls_number(r->a, p);
    prompt_name_results(p, r->a);
    return 0;
}

/* ---- tools ---- */

static int function_tool_read(const struct reading *r, const struct spot *at, const char *member, jref n, struct tool *out)
{
    enum { NAME_, DESCRIPTION, PARAMETERS, STRICT, FORMAT, N };
    static const str names[N] = { [NAME_] = S("name"), [DESCRIPTION] = S("description"), [PARAMETERS] = S("parameters"),
                                  [STRICT] = S("strict"), [FORMAT] = S("format") };
    const struct spot *here = AT(at, member);
    const struct spot *place = member ? here : at;
    jref v[N];
    if (!json_is(r->j, n, JSON_OBJECT))
        return fields_wrong(r, place, n, "an object");
    fields_get(r, n, names, N, v, &out->rest, str_of(member));
    if (v[NAME_] == JSON_NONE)
        return fields_wrong(r, AT(place, "name"), v[NAME_], "a string");
    if (fields_str(r, AT(place, "name"), v[NAME_], &out->name) < 0 ||
        fields_str(r, AT(place, "description"), v[DESCRIPTION], &out->description) < 0 ||
        object_raw(r, AT(place, "parameters"), v[PARAMETERS], &out->parameters) < 0 ||
        fields_flag(r, AT(place, "strict"), v[STRICT], &out->strict) < 0)
        return -1;
    out->format = out->kind == TOOL_CUSTOM ? fields_raw(r, v[FORMAT]) : S("");
    return 0;
}

static int tool_read(const struct reading *r, const struct spot *at, jref n, struct tool *out)
{
    enum { TYPE, FUNCTION, CUSTOM, MARK, N };
    static const str names[N] = { [TYPE] = S("type"), [FUNCTION] = S("function"), [CUSTOM] = S("custom"),
                                  [MARK] = S("cache_control") };
    jref v[N];
    str type = S("function");
    if (json_kind(r->j, n) != JSON_OBJECT)
        return fields_wrong(r, at, n, "an object");
    *out = (struct tool){ .strict = -1 };
    fields_get(r, n, names, N, v, &out->rest, S(""));
    if (fields_str(r, AT(at, "type"), v[TYPE], &type) < 0)
        return -1;
    out->cache_control = fields_raw(r, v[MARK]);
    if (str_eq(type, S("function")))
        return function_tool_read(r, at, "function", v[FUNCTION], out);
    if (str_eq(type, S("custom"))) {
        out->kind = TOOL_CUSTOM;
        return function_tool_read(r, at, "custom", v[CUSTOM], out);
    }
    *out = (struct tool){ .kind = TOOL_HOSTED, .strict = -1, .raw = json_raw(r->j, n), .raw_type = type };
    return 0;
}

/* raw_type "functions" marks tools of the older form: their calls are answered in it. */
static int tools_read(const struct reading *r, jref n, bool is_old, struct prompt *p)
{
    const struct spot *list = AT(NULL, is_old ? "functions" : "tools");
    uint32_t i = 0;
    if (n == JSON_NONE)
        return 0;
    if (json_kind(r->j, n) != JSON_ARRAY)
        return fields_wrong(r, list, n, "an array");
    JSON_EACH_ITEM(r->j, n, one) {
        struct tool t = { .strict = -1, .raw_type = is_old ? S("functions") : S("") };
        const struct spot *at = AT_ITEM(list, i++);
        if ((is_old ? function_tool_read(r, at, NULL, one, &t) : tool_read(r, at, one, &t)) < 0)
            return -1;
        *PUSH(r->a, p->tools, p->n_tools) = t;
    }
    return 0;
}

static enum tool_choice choice_of(str word)
{
    static const struct { str word; enum tool_choice choice; } table[] = {
        { S("auto"), CHOICE_AUTO }, { S("none"), CHOICE_NONE }, { S("required"), CHOICE_REQUIRED },
        { S("any"), CHOICE_REQUIRED },              /* Mistral's word */
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (str_eq(word, table[i].word))
            return table[i].choice;
    return CHOICE_UNSET;
}

static void choose(const struct reading *r, struct prompt *p, str name)
{
    if (name.len)
        *PUSH(r->a, p->chosen, p->n_chosen) = name;
}

static str name_in(const struct reading *r, jref object)    /* of {"function":{"name":...}}, {"custom":...} or {"name":...} */
{
    static const str keys[] = { S("function"), S("custom") };
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        jref inner = json_is(r->j, object, JSON_OBJECT) ? json_get(r->j, object, keys[i]) : JSON_NONE;
        if (inner != JSON_NONE)
            return text_of(r, inner, S("name"));
    }
    return text_of(r, object, S("name"));
}

static int choice_read(const struct reading *r, const char *member, jref n, struct prompt *p)
{
    const struct spot *at = AT(NULL, member);
    if (n == JSON_NONE || p->choice != CHOICE_UNSET)
        return 0;
    if (json_kind(r->j, n) == JSON_STRING) {
        p->choice = choice_of(json_str(r->j, n, r->a));
        return p->choice == CHOICE_UNSET ? err_set(r->e, "%s: expected auto, none, required or an object", member) : 0;
    }
    if (json_kind(r->j, n) != JSON_OBJECT)
        return fields_wrong(r, at, n, "a string or an object");
    if (!str_eq(text_of(r, n, S("type")), S("allowed_tools"))) {
        p->choice = CHOICE_TOOL;
        choose(r, p, name_in(r, n));
        return p->n_chosen ? 0 : err_set(r->e, "%s: expected the name of a tool, but it is missing", member);
    }
    jref allowed = json_get(r->j, n, S("allowed_tools"));
    jref list = json_is(r->j, allowed, JSON_OBJECT) ? json_get(r->j, allowed, S("tools")) : JSON_NONE;
    p->choice = choice_of(text_of(r, allowed, S("mode")));
    if (p->choice == CHOICE_UNSET)
        p->choice = CHOICE_AUTO;
    if (!json_is(r->j, list, JSON_ARRAY))
        return fields_wrong(r, AT(at, "allowed_tools.tools"), list, "an array");
    JSON_EACH_ITEM(r->j, list, item)
        choose(r, p, name_in(r, item));
    return 0;
}

/* ---- settings ---- */

enum {
    MODEL, MESSAGES, STREAM, STREAM_OPTIONS, MAX_COMPLETION_TOKENS, MAX_TOKENS, ANSWERS, TEMPERATURE, TOP_P, TOP_K, SEED,
    PRESENCE, FREQUENCY, STOP, LOGPROBS, TOP_LOGPROBS, EFFORT, RESPONSE_FORMAT, VERBOSITY, USER, CACHE_KEY, TIER, METADATA,
    TOOLS, FUNCTIONS, TOOL_CHOICE, BODY_FUNCTION_CALL, PARALLEL, THINKING, BODY_N
};
static const str body_names[BODY_N] = {
    [MODEL] = S("model"), [MESSAGES] = S("messages"), [STREAM] = S("stream"), [STREAM_OPTIONS] = S("stream_options"),
    [MAX_COMPLETION_TOKENS] = S("max_completion_tokens"), [MAX_TOKENS] = S("max_tokens"), [ANSWERS] = S("n"),
    [TEMPERATURE] = S("temperature"), [TOP_P] = S("top_p"), [TOP_K] = S("top_k"), [SEED] = S("seed"),
    [PRESENCE] = S("presence_penalty"), [FREQUENCY] = S("frequency_penalty"), [STOP] = S("stop"), [LOGPROBS] = S("logprobs"),
    [TOP_LOGPROBS] = S("top_logprobs"), [EFFORT] = S("reasoning_effort"), [RESPONSE_FORMAT] = S("response_format"),
    [VERBOSITY] = S("verbosity"), [USER] = S("user"), [CACHE_KEY] = S("prompt_cache_key"), [TIER] = S("service_tier"),
    [METADATA] = S("metadata"), [TOOLS] = S("tools"), [FUNCTIONS] = S("functions"), [TOOL_CHOICE] = S("tool_choice"),
    [BODY_FUNCTION_CALL] = S("function_call"), [PARALLEL] = S("parallel_tool_calls"), [THINKING] = S("thinking"),
};

static int stream_read(const struct reading *r, const jref v[BODY_N], struct prompt *p)
{
    enum { USAGE, N };
    static const str names[N] = { [USAGE] = S("include_usage") };
    const struct spot *at = AT(NULL, "stream_options");
    int stream = 0;
    jref o[N];
    if (fields_flag(r, AT(NULL, "stream"), v[STREAM], &stream) < 0)
        return -1;
    p->is_streaming = stream;
    if (v[STREAM_OPTIONS] == JSON_NONE)
        return 0;
    if (json_kind(r->j, v[STREAM_OPTIONS]) != JSON_OBJECT)
        return fields_wrong(r, at, v[STREAM_OPTIONS], "an object");
    fields_get(r, v[STREAM_OPTIONS], names, N, o, &p->rest, S("stream_options"));
    return fields_flag(r, AT(at, "include_usage"), o[USAGE], &p->includes_usage);
}

static int stops_read(const struct reading *r, jref n, struct prompt *p)
{
    if (n != JSON_NONE && json_kind(r->j, n) == JSON_STRING) {
        *PUSH(r->a, p->stops, p->n_stops) = json_str(r->j, n, r->a);
        return 0;
    }
    if (fields_kind(r, AT(NULL, "stop"), n, JSON_ARRAY) < 0)
        return -1;
    if (n == JSON_NONE)
        return 0;
    JSON_EACH_ITEM(r->j, n, item) {
        const struct spot *at = AT_ITEM(AT(NULL, "stop"), p->n_stops);
        if (fields_need(r, at, item, JSON_STRING) < 0)
            return -1;
        *PUSH(r->a, p->stops, p->n_stops) = json_str(r->j, item, r->a);
    }
    return 0;
}

static int output_read(const struct reading *r, jref n, struct prompt *p)
{
    enum { TYPE, SCHEMA, N };
    enum { NAME_, BODY, STRICT, DESCRIPTION, SCHEMA_N };
    static const str names[N] = { [TYPE] = S("type"), [SCHEMA] = S("json_schema") };
    static const str schema_names[SCHEMA_N] = { [NAME_] = S("name"), [BODY] = S("schema"), [STRICT] = S("strict"),
                                                [DESCRIPTION] = S("description") };
    const struct spot *at = AT(NULL, "response_format"), *inside = AT(at, "json_schema");
    struct members rest = { 0 };
    jref v[N], s[SCHEMA_N];
    str type = S("");
    if (n == JSON_NONE)
        return 0;
    if (json_kind(r->j, n) != JSON_OBJECT)
        return fields_wrong(r, at, n, "an object");
    fields_get(r, n, names, N, v, &rest, S("response_format"));
    if (fields_str(r, AT(at, "type"), v[TYPE], &type) < 0)
        return -1;
    p->output = str_eq(type, S("text")) ? OUTPUT_TEXT : str_eq(type, S("json_object")) ? OUTPUT_JSON_OBJECT :
                str_eq(type, S("json_schema")) ? OUTPUT_JSON_SCHEMA : OUTPUT_UNSET;
    if (p->output == OUTPUT_UNSET) {                /* a server's own: grammars and the like */
        members_add(&p->rest, r->a, S("response_format"), json_raw(r->j, n));
        return 0;
    }
    for (size_t i = 0; i < rest.n; i++)
        members_add(&p->rest, r->a, rest.items[i].key, rest.items[i].raw);
    if (p->output != OUTPUT_JSON_SCHEMA)
        return 0;
    if (!json_is(r->j, v[SCHEMA], JSON_OBJECT))
        return fields_wrong(r, inside, v[SCHEMA], "an object");
    fields_get(r, v[SCHEMA], schema_names, SCHEMA_N, s, &p->rest, S("response_format.json_schema"));
    if (fields_str(r, AT(inside, "name"), s[NAME_], &p->schema_name) < 0 ||
        fields_str(r, AT(inside, "description"), s[DESCRIPTION], &p->schema_description) < 0 ||
        object_raw(r, AT(inside, "schema"), s[BODY], &p->schema) < 0)
        return -1;
    return fields_flag(r, AT(inside, "strict"), s[STRICT], &p->schema_strict);
}

/* `thinking` is what several servers and gateways took over from Anthropic: {"type":"enabled","budget_tokens":N}. */
static int reasoning_read(const struct reading *r, const jref v[BODY_N], struct prompt *p)
{
    if (fields_str(r, AT(NULL, "reasoning_effort"), v[EFFORT], &p->reasoning_effort) < 0)
        return -1;
    if (p->reasoning_effort.len)
        p->reasoning = str_eq(p->reasoning_effort, S("none")) ? REASONING_OFF : REASONING_ON;
    if (v[THINKING] == JSON_NONE)
        return 0;
    members_add(&p->rest, r->a, S("thinking"), json_raw(r->j, v[THINKING]));
    str type = text_of(r, v[THINKING], S("type"));
    if (str_eq(type, S("enabled")) || str_eq(type, S("adaptive")))
        p->reasoning = str_eq(type, S("enabled")) ? REASONING_ON : REASONING_ADAPTIVE;
    else if (str_eq(type, S("disabled")))
        p->reasoning = REASONING_OFF;
    jref budget = json_is(r->j, v[THINKING], JSON_OBJECT) ? json_get(r->j, v[THINKING], S("budget_tokens")) : JSON_NONE;
    int64_t tokens;
    if (json_int(r->j, budget, &tokens) && tokens > 0)
        p->reasoning_budget = tokens;
    return 0;
}

static int numbers_read(const struct reading *r, const jref v[BODY_N], struct prompt *p)
{
    static const struct { int member; size_t at; } doubles[] = {
        { TEMPERATURE, offsetof(struct prompt, temperature) }, { TOP_P, offsetof(struct prompt, top_p) },
        { PRESENCE, offsetof(struct prompt, presence_penalty) }, { FREQUENCY, offsetof(struct prompt, frequency_penalty) },
    };
    for (size_t i = 0; i < COUNT_OF(doubles); i++)
        if (fields_double(r, AT(NULL, body_names[doubles[i].member].ptr), v[doubles[i].member],
                        (double *)(void *)((char *)p + doubles[i].at)) < 0)
            return -1;
    int64_t old = 0;
    if (fields_count(r, AT(NULL, "max_tokens"), v[MAX_TOKENS], &old) < 0 ||
        fields_count(r, AT(NULL, "max_completion_tokens"), v[MAX_COMPLETION_TOKENS], &p->max_tokens) < 0 ||
        fields_count(r, AT(NULL, "n"), v[ANSWERS], &p->n_answers) < 0 ||
        fields_count(r, AT(NULL, "top_logprobs"), v[TOP_LOGPROBS], &p->top_logprobs) < 0)
        return -1;
    if (!p->max_tokens)
        p->max_tokens = old;
    if (v[TOP_K] != JSON_NONE && !json_int(r->j, v[TOP_K], &p->top_k))      /* -1 is vLLM's word for all */
        return fields_wrong(r, AT(NULL, "top_k"), v[TOP_K], "an integer");
    p->has_seed = v[SEED] != JSON_NONE;
    if (p->has_seed && !json_int(r->j, v[SEED], &p->seed))
        return fields_wrong(r, AT(NULL, "seed"), v[SEED], "an integer");
    return 0;
}

static int settings_read(const struct reading *r, const jref v[BODY_N], struct prompt *p)
{
    static const struct { int member; size_t at; } texts[] = {
        { MODEL, offsetof(struct prompt, model) }, { VERBOSITY, offsetof(struct prompt, verbosity) },
        { USER, offsetof(struct prompt, user) }, { CACHE_KEY, offsetof(struct prompt, cache_key) },
        { TIER, offsetof(struct prompt, service_tier) },
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        str *to = (str *)(void *)((char *)p + texts[i].at);
        if (fields_str(r, AT(NULL, body_names[texts[i].member].ptr), v[texts[i].member], to) < 0)
            return -1;
    }
    if (numbers_read(r, v, p) < 0 || stream_read(r, v, p) < 0 || stops_read(r, v[STOP], p) < 0 ||
        reasoning_read(r, v, p) < 0 || output_read(r, v[RESPONSE_FORMAT], p) < 0 ||
        fields_flag(r, AT(NULL, "logprobs"), v[LOGPROBS], &p->logprobs) < 0 ||
        fields_flag(r, AT(NULL, "parallel_tool_calls"), v[PARALLEL], &p->parallel_tool_calls) < 0 ||
        object_raw(r, AT(NULL, "metadata"), v[METADATA], &p->metadata) < 0)
        return -1;
    return 0;
}

int openai_chat_request_read(struct arena *a, const struct json *j, const struct request_place *at, struct prompt *out,
                             struct err *e)
{
    const struct reading r = { .a = a, .j = j, .e = e };
    (void)at;                                       /* all is in the body */
    *out = prompt_new(&dialect_openai_chat);
    out->includes_usage = -1;
    if (!json_is(j, 0, JSON_OBJECT))
        return err_set(e, "malformed JSON body: expected an object, got %s", json_kind_name(json_kind(j, 0)));
    jref v[BODY_N];
    fields_get(&r, 0, body_names, BODY_N, v, &out->rest, S(""));
    if (v[MESSAGES] == JSON_NONE)
        return err_set(e, "messages field is required");
    if (json_kind(j, v[MESSAGES]) != JSON_ARRAY)
        return err_set(e, "messages field must be an array, got %s", json_kind_name(json_kind(j, v[MESSAGES])));
    if (settings_read(&r, v, out) < 0)
        return -1;
    if (str_trim(out->model).len == 0)
        return err_set(e, "model field is required");
    if (tools_read(&r, v[TOOLS], false, out) < 0 || tools_read(&r, v[FUNCTIONS], true, out) < 0 ||
        choice_read(&r, "tool_choice", v[TOOL_CHOICE], out) < 0 ||
        choice_read(&r, "function_call", v[BODY_FUNCTION_CALL], out) < 0)
        return -1;
    return messages_read(&r, v[MESSAGES], out);
}

/* ---- answers ---- */

enum stop_reason openai_stop_read(str word)
{
    static const struct { str word; enum stop_reason stop; } table[] = {
        { S("stop"), STOP_END }, { S("length"), STOP_LENGTH }, { S("tool_calls"), STOP_TOOLS },
        { S("function_call"), STOP_TOOLS }, { S("content_filter"), STOP_FILTER },
        { S("model_length"), STOP_CONTEXT },        /* Mistral */
        { S("tool_use"), STOP_TOOLS }, { S("max_tokens"), STOP_LENGTH }, { S("end_turn"), STOP_END }, { S("eos"), STOP_END },
        { S("stop_sequence"), STOP_SEQUENCE }, { S("safety"), STOP_FILTER }, { S("refusal"), STOP_REFUSAL },
        { S("MALFORMED_FUNCTION_CALL"), STOP_MALFORMED },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (str_eq(word, table[i].word))
            return table[i].stop;
    return word.len ? STOP_END : STOP_UNKNOWN;
}

void openai_usage_read(const struct json *j, jref usage, struct usage *out)
{
    /* Deeper ones first: a server that gives both gives the same number twice. The last four are DeepSeek's, Moonshot's and
     * what gateways in front of Anthropic add. */
    static const struct { str object, key; size_t at; } table[] = {
        { S(""), S("prompt_tokens"), offsetof(struct usage, prompt_tokens) },
        { S(""), S("completion_tokens"), offsetof(struct usage, completion_tokens) },
        { S("prompt_tokens_details"), S("cached_tokens"), offsetof(struct usage, cached_tokens) },
        { S("prompt_tokens_details"), S("cache_write_tokens"), offsetof(struct usage, cache_write_tokens) },
        { S("prompt_tokens_details"), S("cache_creation_tokens"), offsetof(struct usage, cache_write_tokens) },
        { S("prompt_tokens_details"), S("audio_tokens"), offsetof(struct usage, prompt_audio_tokens) },
        { S("prompt_tokens_details"), S("image_tokens"), offsetof(struct usage, prompt_image_tokens) },
        { S("completion_tokens_details"), S("reasoning_tokens"), offsetof(struct usage, reasoning_tokens) },
        { S("completion_tokens_details"), S("audio_tokens"), offsetof(struct usage, completion_audio_tokens) },
        { S(""), S("cached_tokens"), offsetof(struct usage, cached_tokens) },
        { S(""), S("prompt_cache_hit_tokens"), offsetof(struct usage, cached_tokens) },
        { S(""), S("cache_read_input_tokens"), offsetof(struct usage, cached_tokens) },
        { S(""), S("cache_creation_input_tokens"), offsetof(struct usage, cache_write_tokens) },
    };
    *out = (struct usage){ 0 };
    if (!json_is(j, usage, JSON_OBJECT))
        return;
    out->is_known = json_get(j, usage, S("prompt_tokens")) != JSON_NONE;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        jref object = table[i].object.len ? json_get(j, usage, table[i].object) : usage;
        jref n = json_is(j, object, JSON_OBJECT) ? json_get(j, object, table[i].key) : JSON_NONE;
        int64_t *to = (int64_t *)(void *)((char *)out + table[i].at), v;
        if (*to == 0 && usage_count_read(j, n, &v))
            *to = v;
    }
}

static bool has_call(const struct reply *r)
{
    for (uint32_t i = 0; i < r->n; i++)
        if (r->blocks[i].kind == BLOCK_TOOL_CALL)
            return true;
    return false;
}

static int choice_of_reply(const struct reading *r, jref choice, struct reply *out)
{
    const struct spot *at = AT_ITEM(AT(NULL, "choices"), 0), *message = AT(at, "message");
    struct turn t;
    if (!json_is(r->j, choice, JSON_OBJECT))
        return fields_wrong(r, at, choice, "an object");
    jref said = json_get(r->j, choice, S("message"));
    if (!json_is(r->j, said, JSON_OBJECT))
        return fields_wrong(r, message, said, "an object");
    if (openai_message_read(r, message, said, &t) < 0)
        return -1;
    out->blocks = t.blocks;
    out->n = t.n;
    out->stop_text = json_str(r->j, json_get(r->j, choice, S("finish_reason")), r->a);
    out->stop = openai_stop_read(out->stop_text);
    if (out->stop == STOP_END || out->stop == STOP_UNKNOWN)     /* forced calls end with "stop", and so do untidy servers */
        out->stop = has_call(out) ? STOP_TOOLS : STOP_END;
    jref logprobs = json_get(r->j, choice, S("logprobs"));
    jref tokens = json_is(r->j, logprobs, JSON_OBJECT) ? json_get(r->j, logprobs, S("content")) : JSON_NONE;
    if (json_is(r->j, tokens, JSON_ARRAY))
        out->logprobs = json_raw(r->j, tokens);
    return 0;
}

int openai_chat_reply_read(struct arena *a, const struct json *j, struct reply *out, struct err *e)
{
    enum { ID, OBJECT, CREATED, MODEL_, CHOICES, USAGE, TIER_, FINGERPRINT, N };
    static const str names[N] = {
        [ID] = S("id"), [OBJECT] = S("object"), [CREATED] = S("created"), [MODEL_] = S("model"), [CHOICES] = S("choices"),
        [USAGE] = S("usage"), [TIER_] = S("service_tier"), [FINGERPRINT] = S("system_fingerprint"),
    };
    const struct reading r = { .a = a, .j = j, .e = e };
    jref v[N];
    *out = (struct reply){ .dialect = &dialect_openai_chat };
    if (!json_is(j, 0, JSON_OBJECT))
        return err_set(e, "the answer: expected an object, got %s", json_kind_name(json_kind(j, 0)));
    fields_get(&r, 0, names, N, v, &out->rest, S(""));
    jref error = json_get(j, 0, S("error"));
    if (error != JSON_NONE && json_kind(j, error) != JSON_NULL) {       /* with status 200 */
        str why = json_is(j, error, JSON_STRING) ? json_str(j, error, a) : text_of(&r, error, S("message"));
        return err_set(e, "the provider answered with an error: " STR_FMT, STR_ARG(str_upto(why, 300)));
    }
    if (!json_is(j, v[CHOICES], JSON_ARRAY) || json_count(j, v[CHOICES]) == 0)
        return err_set(e, "choices: expected an array with one item at least");
    out->id = json_str(j, v[ID], a);
    out->model = json_str(j, v[MODEL_], a);
    out->service_tier = json_str(j, v[TIER_], a);
    out->system_fingerprint = json_str(j, v[FINGERPRINT], a);
    json_int(j, v[CREATED], &out->created);
    openai_usage_read(j, v[USAGE], &out->usage);
    return choice_of_reply(&r, v[CHOICES] + 1, out);
}
