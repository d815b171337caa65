/* dialect/bedrock_read.c -- Converse requests and replies into the canonical form.
 *
 * Nobody's client speaks Converse to us; requests are read for mocks and for the proof that nothing is lost on the way there
 * and back. A content block is a union: an object with one member, whose name is its type. */
#include "dialect/bedrock_parts.h"

/* ---- formats ---- */

static const struct { enum block_kind kind; str format, media_type; } formats[] = {
    { BLOCK_IMAGE, S("png"), S("image/png") },
    { BLOCK_IMAGE, S("jpeg"), S("image/jpeg") },
    { BLOCK_IMAGE, S("gif"), S("image/gif") },
    { BLOCK_IMAGE, S("webp"), S("image/webp") },
    { BLOCK_IMAGE, S("jpeg"), S("image/jpg") },
    { BLOCK_FILE, S("pdf"), S("application/pdf") },
    { BLOCK_FILE, S("csv"), S("text/csv") },
    { BLOCK_FILE, S("txt"), S("text/plain") },
    { BLOCK_FILE, S("html"), S("text/html") },
    { BLOCK_FILE, S("md"), S("text/markdown") },
    { BLOCK_FILE, S("doc"), S("application/msword") },
    { BLOCK_FILE, S("docx"), S("application/vnd.openxmlformats-officedocument.wordprocessingml.document") },
    { BLOCK_FILE, S("xls"), S("application/vnd.ms-excel") },
    { BLOCK_FILE, S("xlsx"), S("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet") },
    { BLOCK_FILE, S("txt"), S("application/json") },
    { BLOCK_AUDIO, S("wav"), S("audio/wav") },
    { BLOCK_AUDIO, S("mp3"), S("audio/mpeg") },
    { BLOCK_AUDIO, S("flac"), S("audio/flac") },
    { BLOCK_AUDIO, S("opus"), S("audio/opus") },
    { BLOCK_AUDIO, S("ogg"), S("audio/ogg") },
    { BLOCK_AUDIO, S("aac"), S("audio/aac") },
    { BLOCK_AUDIO, S("mp3"), S("audio/mp3") },
};

str bedrock_media_type(enum block_kind kind, str format)
{
    for (size_t i = 0; i < COUNT_OF(formats); i++)
        if (formats[i].kind == kind && str_eq(formats[i].format, format))
            return formats[i].media_type;
    return S("");
}

str bedrock_format(enum block_kind kind, const struct media *m)
{
    long dot = -1;
    str type = m->media_type.len ? m->media_type : m->data.len ? media_sniff(m->data) : S("");
    for (size_t i = 0; i < COUNT_OF(formats); i++)
        if (formats[i].kind == kind &&
            (str_ieq(formats[i].media_type, type) || (m->format.len && str_eq(formats[i].format, m->format))))
            return formats[i].format;
    for (size_t i = m->name.len; i-- > 0 && dot < 0; )
        dot = m->name.ptr[i] == '.' ? (long)i : -1;
    for (size_t i = 0; dot >= 0 && i < COUNT_OF(formats); i++)
        if (formats[i].kind == kind && str_ieq(formats[i].format, str_from(m->name, (size_t)dot + 1)))
            return formats[i].format;
    return kind == BLOCK_FILE && str_starts(type, S("text/")) ? S("txt") : S("");
}

/* ---- content ---- */

static int source_read(const struct reading *f, const struct spot *at, jref n, struct media *m, struct members *rest)
{
    enum { BYTES, S3, TEXT, N };
    static const str names[N] = { [BYTES] = S("bytes"), [S3] = S("s3Location"), [TEXT] = S("text") };
    jref v[N];
    if (fields_need(f, at, n, JSON_OBJECT) < 0)
        return -1;
    fields_get(f, n, names, N, v, rest, S("source"));
    if (fields_str(f, AT(at, "bytes"), v[BYTES], &m->data) < 0 || fields_str(f, AT(at, "text"), v[TEXT], &m->text) < 0)
        return -1;
    if (v[S3] != JSON_NONE) {
        if (json_is(f->j, v[S3], JSON_OBJECT) && json_count(f->j, v[S3]) == 1)
            return fields_str(f, AT(AT(at, "s3Location"), "uri"), json_get(f->j, v[S3], S("uri")), &m->url);
        members_add(rest, f->a, S("source.s3Location"), json_raw(f->j, v[S3]));
    }
    return 0;
}

static int media_read(const struct reading *f, const struct spot *at, jref n, enum block_kind kind, struct block *out)
{
    enum { FORMAT, SOURCE, NAME, N };
    static const str names[N] = { [FORMAT] = S("format"), [SOURCE] = S("source"), [NAME] = S("name") };
    jref v[N];
    out->kind = kind;
    if (fields_need(f, at, n, JSON_OBJECT) < 0)
        return -1;
    fields_get(f, n, names, N, v, &out->rest, S(""));
    if (fields_str(f, AT(at, "format"), v[FORMAT], &out->media.format) < 0 ||
        fields_str(f, AT(at, "name"), v[NAME], &out->media.name) < 0 ||
        source_read(f, AT(at, "source"), v[SOURCE], &out->media, &out->rest) < 0)
        return -1;
    out->media.media_type = bedrock_media_type(kind, out->media.format);
    return 0;
}

static int blocks_read(const struct reading *f, const struct spot *at, jref n, struct block **out, uint32_t *n_out);

static int call_read(const struct reading *f, const struct spot *at, jref n, struct block *out)
{
    enum { ID, NAME, INPUT, N };
    static const str names[N] = { [ID] = S("toolUseId"), [NAME] = S("name"), [INPUT] = S("input") };
    jref v[N];
    out->kind = BLOCK_TOOL_CALL;
    if (fields_need(f, at, n, JSON_OBJECT) < 0)
        return -1;
    fields_get(f, n, names, N, v, &out->rest, S(""));
    if (fields_need(f, AT(at, "toolUseId"), v[ID], JSON_STRING) < 0 || fields_need(f, AT(at, "name"), v[NAME], JSON_STRING) < 0)
        return -1;
    out->call_id = json_str(f->j, v[ID], f->a);
    out->name = json_str(f->j, v[NAME], f->a);
    out->arguments = v[INPUT] == JSON_NONE ? S("{}") : fields_compact(f, v[INPUT]);
    return 0;
}

static int result_read(const struct reading *f, const struct spot *at, jref n, struct block *out)
{
    enum { ID, CONTENT, STATUS, N };
    static const str names[N] = { [ID] = S("toolUseId"), [CONTENT] = S("content"), [STATUS] = S("status") };
    jref v[N];
    str status = S("");
    out->kind = BLOCK_TOOL_RESULT;
    if (fields_need(f, at, n, JSON_OBJECT) < 0)
        return -1;
    fields_get(f, n, names, N, v, &out->rest, S(""));
    if (fields_need(f, AT(at, "toolUseId"), v[ID], JSON_STRING) < 0 || fields_str(f, AT(at, "status"), v[STATUS], &status) < 0)
        return -1;
    out->call_id = json_str(f->j, v[ID], f->a);
    out->is_error = str_eq(status, S("error"));
    if (status.len && !out->is_error)
        members_add(&out->rest, f->a, S("status"), json_raw(f->j, v[STATUS]));
    return blocks_read(f, AT(at, "content"), v[CONTENT], &out->content, &out->n_content);
}

static int reasoning_read(const struct reading *f, const struct spot *at, jref n, struct block *out)
{
    static const str names[] = { S("text"), S("signature") };
    jref v[2];
    if (fields_need(f, at, n, JSON_OBJECT) < 0)
        return -1;
    jref redacted = json_get(f->j, n, S("redactedContent")), text = json_get(f->j, n, S("reasoningText"));
    if (json_is(f->j, redacted, JSON_STRING)) {
        out->kind = BLOCK_SEALED_REASONING;
        out->sealed = json_str(f->j, redacted, f->a);
        return 0;
    }
    out->kind = BLOCK_REASONING;
    if (fields_need(f, AT(at, "reasoningText"), text, JSON_OBJECT) < 0)
        return -1;
    fields_get(f, text, names, 2, v, &out->rest, S(""));
    if (fields_str(f, AT(at, "text"), v[0], &out->text) < 0)
        return -1;
    return fields_str(f, AT(at, "signature"), v[1], &out->signature);
}

static int cited_read(const struct reading *f, const struct spot *at, jref n, struct block *out)
{
    if (fields_need(f, at, n, JSON_OBJECT) < 0)
        return -1;
    jref content = json_get(f->j, n, S("content")), citations = json_get(f->j, n, S("citations"));
    struct buf text = { 0 };
    if (json_is(f->j, content, JSON_ARRAY)) {
        JSON_EACH_ITEM(f->j, content, item) {
            jref part = json_is(f->j, item, JSON_OBJECT) ? json_get(f->j, item, S("text")) : JSON_NONE;
            if (part != JSON_NONE)
                buf_str(&text, json_str(f->j, part, f->a));
        }
    }
    out->kind = BLOCK_TEXT;
    out->text = buf_to_arena(&text, f->a);
    out->citations = citations == JSON_NONE ? S("[]") : json_raw(f->j, citations);
    return 0;
}

static int block_read(const struct reading *f, const struct spot *at, jref n, struct block *out)
{
    *out = (struct block){ 0 };
    if (json_kind(f->j, n) != JSON_OBJECT)
        return fields_wrong(f, at, n, "an object");
    JSON_EACH_PAIR(f->j, n, key, value) {
        if (json_key_is(f->j, key, S("text")))
            return fields_str(f, AT(at, "text"), value, &out->text);
        if (json_key_is(f->j, key, S("json"))) {        /* of a tool's result: a text to others */
            out->text = fields_compact(f, value);
            out->raw = json_raw(f->j, value);
            return 0;
        }
        if (json_key_is(f->j, key, S("image")))
            return media_read(f, AT(at, "image"), value, BLOCK_IMAGE, out);
        if (json_key_is(f->j, key, S("document")))
            return media_read(f, AT(at, "document"), value, BLOCK_FILE, out);
        if (json_key_is(f->j, key, S("audio")))
            return media_read(f, AT(at, "audio"), value, BLOCK_AUDIO, out);
        if (json_key_is(f->j, key, S("toolUse")) && json_is(f->j, value, JSON_OBJECT) &&
            json_get(f->j, value, S("type")) == JSON_NONE)      /* with a type it is a server's tool */
            return call_read(f, AT(at, "toolUse"), value, out);
        if (json_key_is(f->j, key, S("toolResult")) && json_is(f->j, value, JSON_OBJECT) &&
            json_get(f->j, value, S("type")) == JSON_NONE)
            return result_read(f, AT(at, "toolResult"), value, out);
        if (json_key_is(f->j, key, S("reasoningContent")))
            return reasoning_read(f, AT(at, "reasoningContent"), value, out);
        if (json_key_is(f->j, key, S("citationsContent")))
            return cited_read(f, AT(at, "citationsContent"), value, out);
        *out = (struct block){ .kind = BLOCK_OTHER, .raw = json_raw(f->j, n), .raw_type = json_str(f->j, key, f->a) };
        return 0;
    }
    return fields_fail(f, at, "expected a member that says what it is");
}

/* {"cachePoint":{"type":"default"}}: the mark behind the block before. */
static bool is_cache_point(const struct reading *f, jref n, str *mark)
{
    jref point = json_is(f->j, n, JSON_OBJECT) ? json_get(f->j, n, S("cachePoint")) : JSON_NONE;
    if (!json_is(f->j, point, JSON_OBJECT))
        return false;
    jref ttl = json_get(f->j, point, S("ttl"));
    *mark = json_is(f->j, ttl, JSON_STRING)
                ? arena_printf(f->a, "{\"type\":\"ephemeral\",\"ttl\":" STR_FMT "}", STR_ARG(json_raw(f->j, ttl)))
                : S("{\"type\":\"ephemeral\"}");
    return true;
}

static int blocks_read(const struct reading *f, const struct spot *at, jref n, struct block **out, uint32_t *n_out)
{
    uint32_t i = 0;
    str mark;
    if (n == JSON_NONE)
        return 0;
    if (fields_need(f, at, n, JSON_ARRAY) < 0)
        return -1;
    *out = arena_try(f->a, (json_count(f->j, n) + 1) * sizeof **out);
    if (!*out)
        return fields_fail(f, at, "out of memory");
    JSON_EACH_ITEM(f->j, n, item) {
        if (*n_out && !(*out)[*n_out - 1].cache_control.len && is_cache_point(f, item, &mark))
            (*out)[*n_out - 1].cache_control = mark;
        else if (block_read(f, AT_ITEM(at, i), item, &(*out)[(*n_out)++]) < 0)
            return -1;
        i++;
    }
    return 0;
}

/* ---- requests ---- */

static int messages_read(const struct reading *f, jref n, struct prompt *out)
{
    static const str names[] = { S("role"), S("content") };
    static const struct { str name; enum role role; } roles[] = {
        { S("user"), ROLE_USER }, { S("assistant"), ROLE_ASSISTANT }, { S("system"), ROLE_SYSTEM },
    };
    uint32_t i = 0;
    if (n == JSON_NONE)
        return 0;                               /* a managed prompt brings its own */
    if (fields_need(f, AT(NULL, "messages"), n, JSON_ARRAY) < 0)
        return -1;
    out->turns = arena_try(f->a, (json_count(f->j, n) + 1) * sizeof *out->turns);
    if (!out->turns)
        return fields_fail(f, AT(NULL, "messages"), "out of memory");
    JSON_EACH_ITEM(f->j, n, item) {
        const struct spot *at = AT_ITEM(AT(NULL, "messages"), i);
        struct turn *turn = &out->turns[i];
        jref v[2];
        str role = S("");
        *turn = (struct turn){ 0 };
        if (json_kind(f->j, item) != JSON_OBJECT)
            return fields_wrong(f, at, item, "an object");
        fields_get(f, item, names, 2, v, &turn->rest, S(""));
        if (fields_str(f, AT(at, "role"), v[0], &role) < 0)
            return -1;
        size_t k = 0;
        while (k < COUNT_OF(roles) && !str_eq(roles[k].name, role))
            k++;
        if (k == COUNT_OF(roles))
            return fields_fail(f, AT(at, "role"), "expected \"user\", \"assistant\" or \"system\"");
        turn->role = roles[k].role;
        if (blocks_read(f, AT(at, "content"), v[1], &turn->blocks, &turn->n) < 0)
            return -1;
        out->n_turns = ++i;
    }
    return 0;
}

static int tool_read(const struct reading *f, const struct spot *at, jref n, struct tool *out)
{
    enum { NAME, DESCRIPTION, SCHEMA, STRICT, N };
    static const str names[N] = {
        [NAME] = S("name"), [DESCRIPTION] = S("description"), [SCHEMA] = S("inputSchema"), [STRICT] = S("strict"),
    };
    jref v[N], spec = json_get(f->j, n, S("toolSpec"));
    if (!json_is(f->j, spec, JSON_OBJECT)) {
        *out = (struct tool){ .kind = TOOL_HOSTED, .strict = -1, .raw = json_raw(f->j, n) };
        JSON_EACH_PAIR(f->j, n, key, value) {
            (void)value;
            out->raw_type = json_str(f->j, key, f->a);
        }
        return 0;
    }
    *out = (struct tool){ .strict = -1 };
    fields_get(f, spec, names, N, v, &out->rest, S(""));
    if (fields_need(f, AT(at, "name"), v[NAME], JSON_STRING) < 0 ||
        fields_str(f, AT(at, "description"), v[DESCRIPTION], &out->description) < 0 ||
        fields_flag(f, AT(at, "strict"), v[STRICT], &out->strict) < 0)
        return -1;
    out->name = json_str(f->j, v[NAME], f->a);
    jref schema = json_is(f->j, v[SCHEMA], JSON_OBJECT) ? json_get(f->j, v[SCHEMA], S("json")) : JSON_NONE;
    out->parameters = fields_raw(f, schema);
    return 0;
}

static int tools_read(const struct reading *f, jref n, struct prompt *out)
{
    static const str names[] = { S("tools"), S("toolChoice") };
    const struct spot *at = AT(NULL, "toolConfig");
    jref v[2];
    str mark;
    uint32_t i = 0;
    if (n == JSON_NONE)
        return 0;
    if (fields_need(f, at, n, JSON_OBJECT) < 0)
        return -1;
    fields_get(f, n, names, 2, v, &out->rest, S("toolConfig"));
    if (fields_need(f, AT(at, "tools"), v[0], JSON_ARRAY) < 0)
        return -1;
    out->tools = arena_try(f->a, (json_count(f->j, v[0]) + 1) * sizeof *out->tools);
    if (!out->tools)
        return fields_fail(f, at, "out of memory");
    JSON_EACH_ITEM(f->j, v[0], item) {
        const struct spot *here = AT_ITEM(AT(at, "tools"), i++);
        if (json_kind(f->j, item) != JSON_OBJECT)
            return fields_wrong(f, here, item, "an object");
        if (out->n_tools && is_cache_point(f, item, &mark))
            out->tools[out->n_tools - 1].cache_control = mark;
        else if (tool_read(f, here, item, &out->tools[out->n_tools++]) < 0)
            return -1;
    }
    if (v[1] == JSON_NONE)
        return 0;
    if (fields_need(f, AT(at, "toolChoice"), v[1], JSON_OBJECT) < 0)
        return -1;
    jref tool = json_get(f->j, v[1], S("tool"));
    if (json_is(f->j, tool, JSON_OBJECT)) {
        out->choice = CHOICE_TOOL;
        out->chosen = ARENA_NEW(f->a, str);
        out->n_chosen = 1;
        return fields_str(f, AT(AT(at, "toolChoice"), "tool"), json_get(f->j, tool, S("name")), &out->chosen[0]);
    }
    out->choice = json_get(f->j, v[1], S("any")) != JSON_NONE ? CHOICE_REQUIRED : CHOICE_AUTO;
    return 0;
}

static int inference_read(const struct reading *f, jref n, struct prompt *out)
{
    enum { MAX, TEMPERATURE, TOP_P, STOPS, N };
    static const str names[N] = {
        [MAX] = S("maxTokens"), [TEMPERATURE] = S("temperature"), [TOP_P] = S("topP"), [STOPS] = S("stopSequences"),
    };
    const struct spot *at = AT(NULL, "inferenceConfig");
    jref v[N];
    if (n == JSON_NONE)
        return 0;
    if (fields_need(f, at, n, JSON_OBJECT) < 0)
        return -1;
    fields_get(f, n, names, N, v, &out->rest, S("inferenceConfig"));
    if (fields_int(f, AT(at, "maxTokens"), v[MAX], &out->max_tokens) < 0 ||
        fields_double(f, AT(at, "temperature"), v[TEMPERATURE], &out->temperature) < 0 ||
        fields_double(f, AT(at, "topP"), v[TOP_P], &out->top_p) < 0)
        return -1;
    if (v[STOPS] == JSON_NONE)
        return 0;
    if (fields_need(f, AT(at, "stopSequences"), v[STOPS], JSON_ARRAY) < 0)
        return -1;
    JSON_EACH_ITEM(f->j, v[STOPS], item) {
        if (fields_need(f, AT_ITEM(AT(at, "stopSequences"), out->n_stops), item, JSON_STRING) < 0)
            return -1;
        *PUSH(f->a, out->stops, out->n_stops) = json_str(f->j, item, f->a);
    }
    return 0;
}

/* Only what we write ourselves is understood; anything else stays as it is. */
static void output_read(const struct reading *f, jref n, struct prompt *out)
{
    static const str names[] = { S("textFormat"), S("effort") };
    jref v[2];
    if (!json_is(f->j, n, JSON_OBJECT)) {
        if (n != JSON_NONE)
            members_add(&out->rest, f->a, S("outputConfig"), json_raw(f->j, n));
        return;
    }
    fields_get(f, n, names, 2, v, &out->rest, S("outputConfig"));
    out->reasoning_effort = json_is(f->j, v[1], JSON_STRING) ? json_str(f->j, v[1], f->a) : S("");
    if (!json_is(f->j, v[0], JSON_OBJECT))
        return;
    jref structure = json_get(f->j, v[0], S("structure"));
    jref schema = json_is(f->j, structure, JSON_OBJECT) ? json_get(f->j, structure, S("jsonSchema")) : JSON_NONE;
    jref text = json_is(f->j, schema, JSON_OBJECT) ? json_get(f->j, schema, S("schema")) : JSON_NONE;
    if (!json_is(f->j, text, JSON_STRING) || !json_is_object_text(f->a, json_str(f->j, text, f->a))) {
        members_add(&out->rest, f->a, S("outputConfig.textFormat"), json_raw(f->j, v[0]));
        return;
    }
    jref name = json_get(f->j, schema, S("name")), description = json_get(f->j, schema, S("description"));
    out->output = OUTPUT_JSON_SCHEMA;
    out->schema = json_str(f->j, text, f->a);
    out->schema_name = json_is(f->j, name, JSON_STRING) ? json_str(f->j, name, f->a) : S("");
    out->schema_description = json_is(f->j, description, JSON_STRING) ? json_str(f->j, description, f->a) : S("");
}

int bedrock_request_read(struct arena *a, const struct json *j, const struct request_place *at, struct prompt *out,
                         struct err *e)
{
    enum { MESSAGES, SYSTEM, INFERENCE, TOOLS, OUTPUT, TIER, METADATA, N };
    static const str names[N] = {
        [MESSAGES] = S("messages"), [SYSTEM] = S("system"), [INFERENCE] = S("inferenceConfig"), [TOOLS] = S("toolConfig"),
        [OUTPUT] = S("outputConfig"), [TIER] = S("serviceTier"), [METADATA] = S("requestMetadata"),
    };
    *out = prompt_new(&dialect_bedrock);
    out->model = at->model;
    out->is_streaming = at->is_streaming;
    const struct reading f = { a, j, e };
    jref v[N];
    if (!json_is(j, 0, JSON_OBJECT))
        return fields_wrong(&f, NULL, 0, "an object");
    fields_get(&f, 0, names, N, v, &out->rest, S(""));
    if (blocks_read(&f, AT(NULL, "system"), v[SYSTEM], &out->system, &out->n_system) < 0 ||
        inference_read(&f, v[INFERENCE], out) < 0 || tools_read(&f, v[TOOLS], out) < 0 || messages_read(&f, v[MESSAGES], out) < 0)
        return -1;
    output_read(&f, v[OUTPUT], out);
    if (json_is(j, v[TIER], JSON_OBJECT) &&
        fields_str(&f, AT(NULL, "serviceTier"), json_get(j, v[TIER], S("type")), &out->service_tier) < 0)
        return -1;
    out->metadata = fields_raw(&f, v[METADATA]);
    return 0;
}

/* ---- replies ---- */

static const struct { str name; enum stop_reason stop; } stops[] = {
    { S("end_turn"), STOP_END }, { S("stop_sequence"), STOP_SEQUENCE }, { S("max_tokens"), STOP_LENGTH },
    { S("model_context_window_exceeded"), STOP_CONTEXT }, { S("tool_use"), STOP_TOOLS }, { S("content_filtered"), STOP_FILTER },
    { S("guardrail_intervened"), STOP_FILTER }, { S("malformed_tool_use"), STOP_MALFORMED },
    { S("malformed_model_output"), STOP_MALFORMED }, { S("content_filtered"), STOP_REFUSAL }, { S("end_turn"), STOP_PAUSE },
};

enum stop_reason bedrock_stop_read(str word)
{
    for (size_t i = 0; i < COUNT_OF(stops); i++)
        if (str_eq(stops[i].name, word))
            return stops[i].stop;
    return word.len ? STOP_END : STOP_UNKNOWN;
}

str bedrock_stop_name(enum stop_reason stop)
{
    for (size_t i = 0; i < COUNT_OF(stops); i++)
        if (stops[i].stop == stop)
            return stops[i].name;
    return S("end_turn");
}

static int64_t count_of(const struct reading *f, jref n)
{
    int64_t v;
    return n != JSON_NONE && json_int(f->j, n, &v) && v > 0 && v <= USAGE_TOKENS_MAX ? v : 0;
}

/* inputTokens leave the cache out, ours include it. */
void bedrock_usage_read(const struct reading *f, jref n, struct usage *u)
{
    if (!json_is(f->j, n, JSON_OBJECT))
        return;
    *u = (struct usage){
        .completion_tokens = count_of(f, json_get(f->j, n, S("outputTokens"))),
        .cached_tokens = count_of(f, json_get(f->j, n, S("cacheReadInputTokens"))),
        .cache_write_tokens = count_of(f, json_get(f->j, n, S("cacheWriteInputTokens"))),
        .is_known = true,
    };
    u->prompt_tokens = count_of(f, json_get(f->j, n, S("inputTokens"))) + u->cached_tokens + u->cache_write_tokens;
    jref details = json_get(f->j, n, S("cacheDetails"));
    if (!json_is(f->j, details, JSON_ARRAY))
        return;
    JSON_EACH_ITEM(f->j, details, item)
        if (json_is(f->j, item, JSON_OBJECT) && str_eq(fields_raw(f, json_get(f->j, item, S("ttl"))), S("\"1h\"")))
            u->cache_write_1h_tokens = count_of(f, json_get(f->j, item, S("inputTokens")));
}

int bedrock_reply_read(struct arena *a, const struct json *j, struct reply *out, struct err *e)
{
    enum { OUTPUT, STOP, USAGE, TIER, N };
    static const str names[N] = {
        [OUTPUT] = S("output"), [STOP] = S("stopReason"), [USAGE] = S("usage"), [TIER] = S("serviceTier"),
    };
    const struct reading f = { a, j, e };
    const struct spot *at = AT(AT(NULL, "output"), "message");
    jref v[N];
    *out = (struct reply){ .dialect = &dialect_bedrock };
    if (!json_is(j, 0, JSON_OBJECT))
        return fields_wrong(&f, NULL, 0, "an object");
    fields_get(&f, 0, names, N, v, &out->rest, S(""));
    if (v[OUTPUT] == JSON_NONE && v[STOP] == JSON_NONE)
        return fields_fail(&f, AT(NULL, "stopReason"), "expected a string, but it is missing");
    if (fields_str(&f, AT(NULL, "stopReason"), v[STOP], &out->stop_text) < 0)
        return -1;
    out->stop = bedrock_stop_read(out->stop_text);
    if (json_is(j, v[TIER], JSON_OBJECT) &&
        fields_str(&f, AT(NULL, "serviceTier"), json_get(j, v[TIER], S("type")), &out->service_tier) < 0)
        return -1;
    bedrock_usage_read(&f, v[USAGE], &out->usage);
    jref message = json_is(j, v[OUTPUT], JSON_OBJECT) ? json_get(j, v[OUTPUT], S("message")) : JSON_NONE;
    if (!json_is(j, message, JSON_OBJECT))
        return 0;                               /* 200 without an output happens: an empty answer */
    return blocks_read(&f, AT(at, "content"), json_get(j, message, S("content")), &out->blocks, &out->n);
}
