/* dialect/fields.c */
#include "dialect/fields.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>

#include <openssl/evp.h>

#include "base/put.h"
#include "base/utf8.h"

/* ---- reading ---- */

/* json_key_is, and the lengths tell most names apart. */
static inline bool key_is(const struct json *j, jref key, str name)
{
    const struct json_node *node = &j->nodes[key];
    if (node->has_escape)
        return json_key_is(j, key, name);
    return node->len - 2 == name.len && memcmp(j->text.ptr + node->at + 1, name.ptr, name.len) == 0;
}

void fields_get(const struct reading *f, jref object, const str *names, size_t n, jref *out, struct members *rest, str prefix)
{
    fields_get_of(f, object, names, n, UINT64_MAX, out, rest, prefix);
}

void fields_get_of(const struct reading *f, jref object, const str *names, size_t n, uint64_t which, jref *out,
                   struct members *rest, str prefix)
{
    const struct json *j = f->j;
    for (size_t i = 0; i < n; i++)
        out[i] = JSON_NONE;
    JSON_EACH_PAIR(j, object, key, value) {
        size_t i = 0;
        while (i < n && !((which >> i & 1) && key_is(j, key, names[i])))
            i++;
        if (i < n) {
            out[i] = json_kind(j, value) == JSON_NULL ? JSON_NONE : value;
        } else if (rest) {
            str name = json_str(j, key, f->a);
            if (prefix.len) {
                char *whole = arena_alloc(f->a, prefix.len + 1 + name.len);
                memcpy(whole, prefix.ptr, prefix.len);
                whole[prefix.len] = '.';
                if (name.len)
                    memcpy(whole + prefix.len + 1, name.ptr, name.len);
                name = (str){ whole, prefix.len + 1 + name.len };
            }
            members_add(rest, f->a, name, json_raw(j, value));
        }
    }
}

static size_t spell(const struct spot *at, char *out, size_t room)
{
    if (!at)
        return 0;
    size_t n = spell(at->up, out, room);
    int more = at->key ? snprintf(out + n, room - n, "%s%s", n ? "." : "", at->key)
                       : snprintf(out + n, room - n, "[%u]", at->index);
    n += more > 0 ? (size_t)more : 0;
    return n < room ? n : room - 1;
}

int fields_fail(const struct reading *f, const struct spot *at, const char *what)
{
    char place[200] = "";
    spell(at, place, sizeof place);
    return err_set(f->e, "%s%s%s", place, place[0] ? ": " : "", what);
}

int fields_wrong(const struct reading *f, const struct spot *at, jref n, const char *expected)
{
    char what[160];
    if (n == JSON_NONE)
        snprintf(what, sizeof what, "expected %s, but it is missing", expected);
    else
        snprintf(what, sizeof what, "expected %s, got %s", expected, json_kind_name(json_kind(f->j, n)));
    return fields_fail(f, at, what);
}

int fields_kind(const struct reading *f, const struct spot *at, jref n, enum json_kind kind)
{
    return n == JSON_NONE || json_kind(f->j, n) == kind ? 0 : fields_wrong(f, at, n, json_kind_name(kind));
}

int fields_need(const struct reading *f, const struct spot *at, jref n, enum json_kind kind)
{
    return json_is(f->j, n, kind) ? 0 : fields_wrong(f, at, n, json_kind_name(kind));
}

int fields_str(const struct reading *f, const struct spot *at, jref n, str *out)
{
    if (fields_kind(f, at, n, JSON_STRING) < 0)
        return -1;
    if (n != JSON_NONE)
        *out = json_str(f->j, n, f->a);
    return 0;
}

int fields_int(const struct reading *f, const struct spot *at, jref n, int64_t *out)
{
    return n == JSON_NONE || json_int(f->j, n, out) ? 0 : fields_wrong(f, at, n, "an integer");
}

int fields_double(const struct reading *f, const struct spot *at, jref n, double *out)
{
    return n == JSON_NONE || json_double(f->j, n, out) ? 0 : fields_wrong(f, at, n, "a number");
}

int fields_flag(const struct reading *f, const struct spot *at, jref n, int *out)
{
    if (n == JSON_NONE)
        return 0;
    if (json_kind(f->j, n) != JSON_TRUE && json_kind(f->j, n) != JSON_FALSE)
        return fields_wrong(f, at, n, "a boolean");
    *out = json_kind(f->j, n) == JSON_TRUE;
    return 0;
}

int fields_bool(const struct reading *f, const struct spot *at, jref n, bool *out)
{
    int value = *out;
    if (fields_flag(f, at, n, &value) < 0)
        return -1;
    *out = value;
    return 0;
}

str fields_raw(const struct reading *f, jref n)
{
    return n == JSON_NONE ? S("") : json_raw(f->j, n);
}

str fields_compact(const struct reading *f, jref n)
{
    return n == JSON_NONE ? S("") : json_compact(f->a, json_raw(f->j, n));
}

/* ---- rest ---- */

static bool is_below(str key, str prefix)
{
    return key.len > prefix.len && str_starts(key, prefix) && key.ptr[prefix.len] == '.';
}

void rest_write(struct json_writer *w, const struct members *rest, str prefix, const str *nested, size_t n_nested)
{
    for (size_t i = 0; i < rest->n; i++) {
        const struct member *m = &rest->items[i];
        if (prefix.len ? !is_below(m->key, prefix) : false)
            continue;
        size_t k = 0;
        while (k < n_nested && !is_below(m->key, nested[k]))
            k++;
        if (k < n_nested)
            continue;
        jw_key(w, prefix.len ? str_from(m->key, prefix.len + 1) : m->key);
        jw_raw(w, m->raw);
    }
}

bool rest_has(const struct members *rest, str prefix)
{
    for (size_t i = 0; i < rest->n; i++)
        if (is_below(rest->items[i].key, prefix))
            return true;
    return false;
}

const struct member *rest_find(const struct members *rest, str key)
{
    for (size_t i = rest->n; i-- > 0; )
        if (str_eq(rest->items[i].key, key))
            return &rest->items[i];
    return NULL;
}

/* ---- events ---- */

struct json_writer event_begin(str name, struct buf *out)
{
    struct json_writer w = { .out = out };
    buf_str(out, S("event: "));
    buf_str(out, name);
    buf_str(out, S("\ndata: "));
    jw_begin(&w, '{');
    return w;
}

void event_end(struct json_writer *w)
{
    jw_end(w, '}');
    buf_str(w->out, S("\n\n"));
}

/* ---- names of losses ---- */

enum { CHAT, RESPONSES, MESSAGES, GEMINI, CONVERSE, NAMES_N };

static const char *const knob_names[KNOB_COUNT][NAMES_N] = {
    [KNOB_N] = { "n", "n", "n", "generationConfig.candidateCount", "n" },
    [KNOB_SEED] = { "seed", "seed", "seed", "generationConfig.seed", "seed" },
    [KNOB_LOGPROBS] = { "logprobs", "include", "logprobs", "generationConfig.responseLogprobs", "logprobs" },
    [KNOB_TOP_LOGPROBS] = { "top_logprobs", "top_logprobs", "top_logprobs", "generationConfig.logprobs", "top_logprobs" },
    [KNOB_PRESENCE] = { "presence_penalty", "presence_penalty", "presence_penalty", "generationConfig.presencePenalty",
                        "presence_penalty" },
    [KNOB_FREQUENCY] = { "frequency_penalty", "frequency_penalty", "frequency_penalty", "generationConfig.frequencyPenalty",
                         "frequency_penalty" },
    [KNOB_TEMPERATURE] = { "temperature", "temperature", "temperature", "generationConfig.temperature",
                           "inferenceConfig.temperature" },
    [KNOB_TOP_P] = { "top_p", "top_p", "top_p", "generationConfig.topP", "inferenceConfig.topP" },
    [KNOB_TOP_K] = { "top_k", "top_k", "top_k", "generationConfig.topK", "additionalModelRequestFields.top_k" },
    [KNOB_STOP] = { "stop", "stop", "stop_sequences", "generationConfig.stopSequences", "inferenceConfig.stopSequences" },
    [KNOB_MAX_TOKENS] = { "max_completion_tokens", "max_output_tokens", "max_tokens", "generationConfig.maxOutputTokens",
                          "inferenceConfig.maxTokens" },
    [KNOB_REASONING] = { "reasoning_effort", "reasoning", "thinking", "generationConfig.thinkingConfig",
                         "additionalModelRequestFields.thinking" },
    [KNOB_OUTPUT] = { "response_format", "text.format", "output_config.format", "generationConfig.responseMimeType",
                      "outputConfig" },
    [KNOB_VERBOSITY] = { "verbosity", "text.verbosity", "verbosity", "verbosity", "verbosity" },
    [KNOB_USER] = { "user", "user", "metadata.user_id", "labels", "requestMetadata" },
    [KNOB_CACHE_KEY] = { "prompt_cache_key", "prompt_cache_key", "prompt_cache_key", "cachedContent", "prompt_cache_key" },
    [KNOB_SERVICE_TIER] = { "service_tier", "service_tier", "service_tier", "service_tier", "serviceTier" },
    [KNOB_METADATA] = { "metadata", "metadata", "metadata", "labels", "requestMetadata" },
    [KNOB_TOOL_CHOICE] = { "tool_choice", "tool_choice", "tool_choice", "toolConfig.functionCallingConfig",
                           "toolConfig.toolChoice" },
    [KNOB_PARALLEL] = { "parallel_tool_calls", "parallel_tool_calls", "tool_choice.disable_parallel_tool_use",
                        "parallel_tool_calls", "parallel_tool_calls" },
    [KNOB_SYSTEM] = { "messages", "instructions", "system", "systemInstruction", "system" },
    [KNOB_MESSAGES] = { "messages", "input", "messages", "contents", "messages" },
};

static int naming_of(const struct prompt *p)
{
    static const struct { const char *dialect; int naming; } table[] = {
        { "openai_responses", RESPONSES }, { "anthropic", MESSAGES }, { "bedrock_invoke", MESSAGES }, { "gemini", GEMINI },
        { "bedrock", CONVERSE },
    };
    for (size_t i = 0; p->dialect && i < COUNT_OF(table); i++)
        if (strcmp(p->dialect->name, table[i].dialect) == 0)
            return table[i].naming;
    return CHAT;
}

str knob_name(const struct prompt *p, enum knob k)
{
    return str_of(knob_names[k][naming_of(p)]);
}

str block_place(const struct prompt *p, struct arena *a, uint32_t turn, uint32_t block)
{
    switch (naming_of(p)) {
    case RESPONSES: return S("input");          /* its items are not our turns */
    case GEMINI: return arena_printf(a, "contents[%u].parts[%u]", turn, block);
    default: break;
    }
    if (turn < p->n_turns && block < p->turns[turn].n && naming_of(p) == CHAT) {
        const struct block *b = &p->turns[turn].blocks[block];
        uint32_t calls = 0;
        for (uint32_t i = 0; i < block; i++)
            calls += p->turns[turn].blocks[i].kind == BLOCK_TOOL_CALL;
        if (b->kind == BLOCK_TOOL_CALL)
            return arena_printf(a, "messages[%u].tool_calls[%u].%s", turn, calls,
                                b->is_custom ? "custom.input" : "function.arguments");
        if (b->kind == BLOCK_REASONING || b->kind == BLOCK_SEALED_REASONING)
            return arena_printf(a, "messages[%u].reasoning_content", turn);
        if (b->kind == BLOCK_TOOL_RESULT)
            return arena_printf(a, "messages[%u].content", turn);
    }
    return arena_printf(a, "messages[%u].content[%u]", turn, block);
}

/* Members of OpenAI's requests without a field in `prompt` that change the answer. `harmless`: the values that do not. */
static const struct { str key; const char *what; str harmless[2]; } semantic[] = {
    { S("logit_bias"), "logit_bias", { S("{}"), S("null") } },
    { S("modalities"), "output other than text", { S("[\"text\"]"), S("null") } },
    { S("audio"), "audio output", { S("null"), S("{}") } },
    { S("web_search_options"), "web search", { S("null"), S("null") } },
};

static int lose_member(const struct prompt *p, const struct member *m, const struct target *to, struct translation *t)
{
    if (str_eq(m->raw, S("null")))
        return 0;
    for (size_t i = 0; i < COUNT_OF(semantic) && naming_of(p) <= RESPONSES; i++) {
        if (!str_eq(m->key, semantic[i].key))
            continue;
        str raw = json_compact(t->a, m->raw);
        if (str_eq(raw, semantic[i].harmless[0]) || str_eq(raw, semantic[i].harmless[1]))
            return 0;
        return translation_lose(t, to, m->key, semantic[i].what);
    }
    translation_warn(t, m->key, "dropped");
    return 0;
}

int prompt_lose_foreign(const struct prompt *p, const struct target *to, struct translation *t)
{
    const struct { bool is_lost; enum knob knob; const char *what; } table[] = {
        { p->n_answers > 1, KNOB_N, "more than one answer" },
        { p->has_seed, KNOB_SEED, "a seed" },
        { p->logprobs > 0, KNOB_LOGPROBS, "log probabilities" },
        { p->logprobs <= 0 && p->top_logprobs > 0, KNOB_TOP_LOGPROBS, "log probabilities" },
        { isfinite(p->presence_penalty) && p->presence_penalty != 0, KNOB_PRESENCE, "a presence penalty" },
        { isfinite(p->frequency_penalty) && p->frequency_penalty != 0, KNOB_FREQUENCY, "a frequency penalty" },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (table[i].is_lost && translation_lose(t, to, knob_name(p, table[i].knob), table[i].what) < 0)
            return -1;
    for (size_t i = 0; i < p->rest.n; i++)
        if (lose_member(p, &p->rest.items[i], to, t) < 0)
            return -1;
    if (p->verbosity.len)
        translation_warn(t, knob_name(p, KNOB_VERBOSITY), "dropped");
    if (p->cache_key.len)
        translation_warn(t, knob_name(p, KNOB_CACHE_KEY), "dropped");
    return 0;
}

void stop_sequences_write(struct json_writer *w, str key, const struct prompt *p, bool is_own, struct translation *t)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->n_stops; i++) {
        if (!is_own && text_is_blank(p->stops[i])) {
            translation_warn(t, knob_name(p, KNOB_STOP), "dropped");
            continue;
        }
        if (n++ == 0)
            put_open(w, key, '[');
        jw_str(w, p->stops[i]);
    }
    if (n)
        jw_end(w, ']');
}

int refuse_at(struct translation *t, str place, const char *what)
{
    return translation_refuse(t, place, STR_FMT ": %s", STR_ARG(place), what);
}

/* ---- turns ---- */

bool turn_is_system(const struct turn *t)
{
    return t->role == ROLE_SYSTEM || t->role == ROLE_DEVELOPER;
}

bool block_is_blank(const struct block *b)
{
    return (b->kind == BLOCK_TEXT || b->kind == BLOCK_REFUSAL) && text_is_blank(b->text);
}

bool turn_is_blank(const struct turn *t)
{
    for (uint32_t i = 0; i < t->n; i++)
        if (!block_is_blank(&t->blocks[i]))
            return false;
    return true;
}

bool prompt_allows(const struct prompt *p, str tool)
{
    if (p->choice == CHOICE_TOOL || p->n_chosen == 0)
        return true;
    for (uint32_t i = 0; i < p->n_chosen; i++)
        if (str_eq(p->chosen[i], tool))
            return true;
    return false;
}

/* ---- tools ---- */

static bool is_name_char(char c, const char *also)
{
    return utf8_ascii_alnum((unsigned char)c) || (c && strchr(also, c));
}

static bool is_taken(const struct translation *t, str to)
{
    for (size_t i = 0; i < t->n_renames; i++)
        if (str_eq(t->renames[i].to, to))
            return true;
    return false;
}

/* Long names keep their end too: that is where generated ones differ. FNV-1a of the whole tells the rest apart. */
str translation_rename(struct translation *t, str from, size_t max, const char *also)
{
    bool is_fine = from.len > 0 && from.len <= max;
    for (size_t i = 0; i < from.len && is_fine; i++)
        is_fine = is_name_char(from.ptr[i], also);
    if (is_fine && !is_taken(t, from))
        return from;
    for (size_t i = 0; i < t->n_renames; i++)
        if (str_eq(t->renames[i].from, from))
            return t->renames[i].to;
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < from.len; i++)
        hash = (hash ^ (unsigned char)from.ptr[i]) * 16777619u;
    size_t keep = max - 9 < from.len ? max - 9 : from.len;
    char *name = arena_alloc(t->a, keep + 10);
    for (size_t i = 0; i < keep; i++)
        name[i] = is_name_char(from.ptr[i], also) ? from.ptr[i] : '_';
    do
        snprintf(name + keep, 10, "_%08x", hash++);
    while (is_taken(t, (str){ name, keep + 9 }));
    str to = { name, keep + 9 };
    *PUSH(t->a, t->renames, t->n_renames) = (struct rename){ from, to };
    return to;
}

bool arguments_as_object(struct arena *a, const struct block *call, str *out)
{
    if (call->is_custom) {
        struct buf b = { 0 };
        buf_str(&b, S("{\"input\":"));
        json_quote(&b, call->arguments);
        buf_char(&b, '}');
        *out = buf_to_arena(&b, a);
        return true;
    }
    if (text_is_blank(call->arguments)) {
        *out = S("{}");
        return true;
    }
    if (!json_is_object_text(a, call->arguments))
        return false;
    *out = str_trim(call->arguments);
    return true;
}

/* A JSON Schema's members whose values are data, not schemas. */
static bool is_data_key(const struct json *j, jref key)
{
    static const str names[] = { S("enum"), S("const"), S("default"), S("examples") };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (json_key_is(j, key, names[i]))
            return true;
    return false;
}

static bool is_map_key(const struct json *j, jref key)
{
    static const str names[] = { S("properties"), S("patternProperties"), S("$defs"), S("definitions") };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (json_key_is(j, key, names[i]))
            return true;
    return false;
}

enum { SCHEMA_DEPTH_MAX = 64 };                 /* a fiber's stack is small; deeper objects stay as they are */

/* `is_map`: the keys of n are names of the user's, its values schemas. */
static void close_objects(struct json_edits *edits, const struct json *j, jref n, bool is_map, unsigned depth)
{
    if (depth == SCHEMA_DEPTH_MAX)
        return;
    if (json_kind(j, n) == JSON_ARRAY) {
        JSON_EACH_ITEM(j, n, item)
            close_objects(edits, j, item, false, depth + 1);
    } else if (json_kind(j, n) == JSON_OBJECT) {
        jref type = is_map ? JSON_NONE : json_get(j, n, S("type"));
        if (type != JSON_NONE && str_eq(json_raw(j, type), S("\"object\"")) &&
            json_get(j, n, S("additionalProperties")) == JSON_NONE)
            json_edit_set(edits, j, n, S("additionalProperties"), S("false"));
        JSON_EACH_PAIR(j, n, key, value)
            if (is_map || !is_data_key(j, key))
                close_objects(edits, j, value, !is_map && is_map_key(j, key), depth + 1);
    }
}

str schema_as_object(struct arena *a, str schema, bool closes)
{
    struct json j;
    if (!schema.len || json_parse(a, schema, &j, NULL) < 0 || !json_is(&j, 0, JSON_OBJECT))
        return S("{\"type\":\"object\"}");
    struct json_edits edits = { .a = a };
    bool has_type = json_get(&j, 0, S("type")) != JSON_NONE;
    if (has_type && !closes)
        return schema;
    if (!has_type && json_count(&j, 0) == 0)
        return closes ? S("{\"type\":\"object\",\"additionalProperties\":false}") : S("{\"type\":\"object\"}");
    if (closes)
        close_objects(&edits, &j, 0, false, 0);
    else
        json_edit_set(&edits, &j, 0, S("type"), S("\"object\""));
    struct buf b = { 0 };
    json_edits_write(&edits, &j, &b);
    return buf_to_arena(&b, a);
}

str custom_tool_description(struct arena *a, const struct tool *tool)
{
    if (!tool->format.len)
        return tool->description;
    struct buf b = { 0 };
    buf_str(&b, tool->description);
    buf_str(&b, tool->description.len ? S("\n\nFormat of `input`: ") : S("Format of `input`: "));
    buf_str(&b, json_compact(a, tool->format));
    return buf_to_arena(&b, a);
}

/* Base64 of the formats' magic numbers. */
str media_sniff(str base64)
{
    static const struct { str start, type; } table[] = {
        { S("/9j/"), S("image/jpeg") }, { S("iVBORw0KGgo"), S("image/png") }, { S("R0lGOD"), S("image/gif") },
        { S("UklGR"), S("image/webp") }, { S("JVBERi"), S("application/pdf") },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (str_starts(base64, table[i].start))
            return table[i].type;
    return S("");
}

bool text_is_blank(str s)
{
    return s.len == 0 || str_trim(s).len == 0;
}

str output_instruction(struct arena *a, const struct prompt *p)
{
    if (p->output == OUTPUT_JSON_OBJECT || !p->schema.len)
        return S("Answer with one JSON object and nothing else: no prose, no code fence.");
    struct buf b = { 0 };
    buf_str(&b, S("Answer with one JSON value that conforms to this JSON Schema and nothing else, no prose, no code fence: "));
    buf_str(&b, json_compact(a, p->schema));
    return buf_to_arena(&b, a);
}

str openai_service_tier(str tier)
{
    static const char *const own[] = { "auto", "default", "flex", "scale", "priority", "fast", "ultrafast" };
    for (size_t i = 0; i < COUNT_OF(own); i++)
        if (str_eq(tier, str_of(own[i])))
            return tier;
    return str_eq(tier, S("standard")) ? S("default") : S("");      /* Anthropic's word */
}

static char base64_digit(char c)
{
    return c == '-' ? '+' : c == '_' ? '/' : c;
}

str base64_standard(struct arena *a, str text)
{
    bool is_padded = text.len % 4 == 0 || text.ptr[text.len - 1] == '=' || str_chr(text, '\n') >= 0;
    if (is_padded && str_chr(text, '-') < 0 && str_chr(text, '_') < 0)
        return text;
    size_t pad = is_padded ? 0 : 4 - text.len % 4;
    char *to = arena_try(a, text.len + pad);
    if (!to)
        return text;
    for (size_t i = 0; i < text.len; i++)
        to[i] = base64_digit(text.ptr[i]);
    memset(to + text.len, '=', pad);
    return (str){ to, text.len + pad };
}

bool base64_read(struct arena *a, str text, str *out)
{
    if (text.len > INT_MAX / 2)
        return false;
    unsigned char *packed = arena_try(a, text.len + 4), *bytes = arena_try(a, text.len + 4);
    size_t n = 0, pad = 0;
    if (!packed || !bytes)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (!memchr(" \t\r\n", text.ptr[i], 4))
            packed[n++] = (unsigned char)base64_digit(text.ptr[i]);
    while (n && pad < 2 && packed[n - 1] == '=')
        n--, pad++;
    if (n % 4 == 1)
        return false;
    pad = (4 - n % 4) % 4;
    memset(packed + n, '=', pad);
    if (n + pad && EVP_DecodeBlock(bytes, packed, (int)(n + pad)) < 0)
        return false;
    *out = (str){ (char *)bytes, (n + pad) / 4 * 3 - pad };
    return true;
}

str base64_write(struct arena *a, str bytes)
{
    if (bytes.len == 0 || bytes.len > INT_MAX / 2)
        return S("");
    char *text = arena_alloc(a, (bytes.len + 2) / 3 * 4 + 1);
    EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)bytes.ptr, (int)bytes.len);
    return (str){ text, (bytes.len + 2) / 3 * 4 };
}
