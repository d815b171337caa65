/* dialect/canonical.c -- what all dialects need of the canonical form: its view for policy, a reply as deltas, data URLs.
 *
 * Sizes are those of OpenAI's form, because the token floor is defined on it (spec 01, section 10, item 4): a request that
 * came in another dialect is measured as its translation would be, without making one. */
#include "dialect/canonical.h"

#include <math.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/map.h"
#include "base/put.h"
#include "dialect/openai_chat_parse.h"

/* ---- sizes of JSON that nobody writes ---- */

static inline uint64_t escape_size(unsigned char c)
{
    bool is_short = c == '"' || c == '\\' || c == '\n' || c == '\t' || c == '\r' || c == '\b' || c == '\f';
    return is_short ? 1 : c < 0x20 ? 5 : 0;
}

static uint64_t quoted_size(str s)
{
    uint64_t size = 2 + s.len;
    size_t i = 0;
#if defined(__SSE2__)
    /* 16 bytes a step: one more for a byte that needs an escape, four more if that has no letter */
    static const char letters[] = { '\n', '\t', '\r', '\b', '\f' };
    const __m128i one = _mm_set1_epi8(1), last_control = _mm_set1_epi8(0x1f), zero = _mm_setzero_si128();
    __m128i sums = zero;
    for (; s.len - i >= 16; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(s.ptr + i));
        __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, last_control), v), strange = control;
        __m128i odd = _mm_or_si128(control, _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
                                                         _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))));
        for (size_t k = 0; k < COUNT_OF(letters); k++)
            strange = _mm_andnot_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8(letters[k])), strange);
        __m128i more = _mm_add_epi8(_mm_and_si128(odd, one), _mm_and_si128(strange, _mm_set1_epi8(4)));
        sums = _mm_add_epi64(sums, _mm_sad_epu8(more, zero));
    }
    size += (uint64_t)_mm_cvtsi128_si64(sums) + (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(sums, sums));
#endif
    for (; i < s.len; i++)
        size += escape_size((unsigned char)s.ptr[i]);
    return size;
}

static uint64_t text_size(const struct block *b)
{
    str spelled = block_spelled(b);
    return spelled.len ? spelled.len : quoted_size(b->text);
}

/* An object starts at 2 bytes; a member adds its quoted key, a colon, its value and, behind another, a comma. */
static void add_member(uint64_t *object, size_t key, uint64_t value)
{
    *object += (*object > 2) + key + 3 + value;
}

static void add_text(uint64_t *object, str key, str text)
{
    if (text.len)
        add_member(object, key.len, quoted_size(text));
}

static void add_raw(uint64_t *object, str key, str raw)
{
    if (raw.len)
        add_member(object, key.len, raw.len);
}

static void add_flag(uint64_t *object, str key, int flag)
{
    if (flag >= 0)
        add_member(object, key.len, flag ? 4 : 5);
}

static void add_rest(uint64_t *object, const struct members *rest)
{
    for (size_t i = 0; i < rest->n; i++)
        add_raw(object, rest->items[i].key, rest->items[i].raw);
}

/* {"type":"function","function":{"name":"f","parameters":{...}}} */
static uint64_t tool_size(const struct tool *t)
{
    if (t->kind == TOOL_HOSTED)
        return t->raw.len;
    uint64_t inner = 2, outer = 2;
    add_text(&inner, S("name"), t->name);
    add_text(&inner, S("description"), t->description);
    add_raw(&inner, S("parameters"), t->parameters);
    add_raw(&inner, S("format"), t->format);
    add_flag(&inner, S("strict"), t->strict);
    if (str_eq(t->raw_type, S("functions"))) {      /* the older form is flat */
        add_rest(&inner, &t->rest);
        return inner;
    }
    str type = t->kind == TOOL_CUSTOM ? S("custom") : S("function");
    add_text(&outer, S("type"), type);
    add_member(&outer, type.len, inner);
    add_raw(&outer, S("cache_control"), t->cache_control);
    add_rest(&outer, &t->rest);
    return outer;
}

static bool is_custom_tool(const struct prompt *p, str name)
{
    for (uint32_t i = 0; i < p->n_tools; i++)
        if (p->tools[i].kind == TOOL_CUSTOM && str_eq(p->tools[i].name, name))
            return true;
    return false;
}

static uint64_t choice_size(const struct prompt *p)
{
    static const str words[] = { [CHOICE_AUTO] = S("auto"), [CHOICE_NONE] = S("none"), [CHOICE_REQUIRED] = S("required") };
    uint64_t names = 2, inner = 2, outer = 2;
    if (p->choice == CHOICE_UNSET)
        return 0;
    if (p->choice != CHOICE_TOOL && !p->n_chosen)
        return quoted_size(words[p->choice]);
    for (uint32_t i = 0; i < p->n_chosen; i++) {
        uint64_t function = 2, tool = 2;
        str type = is_custom_tool(p, p->chosen[i]) ? S("custom") : S("function");
        add_text(&function, S("name"), p->chosen[i]);
        add_text(&tool, S("type"), type);
        add_member(&tool, type.len, function);
        if (p->choice == CHOICE_TOOL)
            return tool;
        names += (i > 0) + tool;
    }
    if (p->choice == CHOICE_TOOL)
        return 0;
    add_text(&inner, S("mode"), words[p->choice]);
    add_member(&inner, 5, names);
    add_text(&outer, S("type"), S("allowed_tools"));
    add_member(&outer, 13, inner);
    return outer;
}

static uint64_t output_size(const struct prompt *p)
{
    static const str words[] = { S(""), [OUTPUT_TEXT] = S("text"), [OUTPUT_JSON_OBJECT] = S("json_object"),
                                 [OUTPUT_JSON_SCHEMA] = S("json_schema") };
    uint64_t inner = 2, outer = 2;
    if (p->output == OUTPUT_UNSET)
        return 0;
    add_text(&outer, S("type"), words[p->output]);
    if (p->output != OUTPUT_JSON_SCHEMA)
        return outer;
    add_text(&inner, S("name"), p->schema_name);
    add_text(&inner, S("description"), p->schema_description);
    add_raw(&inner, S("schema"), p->schema);
    add_flag(&inner, S("strict"), p->schema_strict);
    add_member(&outer, 11, inner);
    return outer;
}

static uint64_t media_size(const struct block *b)
{
    uint64_t inner = 2, outer = 2;
    str type = b->kind == BLOCK_AUDIO ? S("input_audio") : b->kind == BLOCK_IMAGE ? S("image_url") : S("file");
    const struct media *m = &b->media;
    size_t prefix = m->data.len && b->kind != BLOCK_AUDIO ? m->media_type.len + sizeof "data:;base64," - 1 : 0;
    size_t content = m->data.len ? m->data.len + prefix : m->url.len ? m->url.len : m->text.len ? m->text.len : m->file_id.len;
    add_text(&outer, S("type"), type);
    add_member(&inner, b->kind == BLOCK_AUDIO ? 4 : b->kind == BLOCK_IMAGE ? 3 : m->file_id.len ? 7 : 9, content + 2);
    add_text(&inner, S("format"), m->format);
    add_text(&inner, S("detail"), m->detail);
    add_text(&inner, S("filename"), m->name);
    add_member(&outer, type.len, inner);
    add_rest(&outer, &b->rest);
    return outer;
}

/* Of a tool's result: a string, or an array of parts. */
static uint64_t content_size(const struct block *result)
{
    if (result->raw.len)
        return result->raw.len;
    if (result->n_content == 0)
        return 2;
    if (result->n_content == 1 && result->content[0].kind == BLOCK_TEXT)
        return text_size(&result->content[0]);
    uint64_t size = 2 + result->n_content - 1;
    for (uint32_t i = 0; i < result->n_content; i++) {
        const struct block *b = &result->content[i];
        uint64_t part = 2;
        if (b->kind == BLOCK_TEXT) {
            add_text(&part, S("type"), S("text"));
            add_member(&part, 4, text_size(b));
        } else {
            part = b->kind == BLOCK_OTHER ? b->raw.len : media_size(b);
        }
        size += part;
    }
    return size;
}

/* ---- the view of policy ---- */

static size_t role_size(const struct turn *t)
{
    for (size_t i = 0; i < t->rest.n; i++)
        if (str_eq(t->rest.items[i].key, S("role")))
            return t->rest.items[i].raw.len - 2;
    return strlen(role_name(t->role));
}

static void block_measure(struct message *m, const struct block *b)
{
    switch (b->kind) {
    case BLOCK_TEXT:
        m->texts[m->n_texts++] = b->text;
        m->text_bytes += b->text.len;
        break;
    case BLOCK_REFUSAL:
    case BLOCK_REASONING:
        m->text_bytes += b->text.len;
        break;
    case BLOCK_SEALED_REASONING:
        m->structured_bytes += b->sealed.len;
        break;
    case BLOCK_IMAGE:
        m->n_images++;
        break;
    case BLOCK_TOOL_CALL:
        m->text_bytes += b->name.len;
        m->structured_bytes += quoted_size(b->arguments);
        if (str_eq(b->raw_type, S("function_call")))    /* OpenAI's older form: neither id nor type */
            break;
        m->text_bytes += b->call_id.len + (b->is_custom ? 6 : 8);
        m->n_tool_calls++;
        break;
    case BLOCK_AUDIO:
    case BLOCK_FILE:
        m->structured_bytes += media_size(b);
        break;
    case BLOCK_OTHER:
        m->structured_bytes += b->raw.len;
        break;
    case BLOCK_TOOL_RESULT:
    case BLOCK_KIND_N:
        break;
    }
}

static uint32_t count_messages(const struct turn *t)
{
    uint32_t results = 0;
    for (uint32_t i = 0; i < t->n; i++)
        results += t->blocks[i].kind == BLOCK_TOOL_RESULT;
    return results + (results < t->n || t->n == 0);
}

static struct message *message_of_blocks(struct message *m, struct arena *a, enum role role, size_t role_bytes, str name,
                                         const struct block *blocks, uint32_t n)
{
    *m = (struct message){ .role = role, .text_bytes = role_bytes + name.len, .texts = ARENA_ARRAY(a, str, n) };
    for (uint32_t i = 0; i < n; i++)
        block_measure(m, &blocks[i]);
    return m + 1;
}

/* Also of what has no text in other dialects' terms: a document given as text, a hit of a search that only its dialect knows. */
static str result_part_text(const struct block *b)
{
    switch (b->kind) {
    case BLOCK_TEXT:  return b->text;
    case BLOCK_FILE:  return b->media.text;
    case BLOCK_OTHER: return b->raw;
    default:          return S("");
    }
}

/* A tool's result is measured raw, whatever it holds: its texts are no part of the talk, they are there for rules that read
 * results. */
static struct message *message_of_result(struct message *m, struct arena *a, const struct turn *t, const struct block *b)
{
    bool is_old = str_eq(b->raw_type, S("function"));   /* role "function": no id */
    *m = (struct message){ .role = ROLE_TOOL, .structured_bytes = content_size(b), .texts = ARENA_ARRAY(a, str, b->n_content) };
    for (uint32_t i = 0; i < b->n_content; i++) {
        str text = result_part_text(&b->content[i]);
        if (text.len || b->content[i].kind == BLOCK_TEXT)
            m->texts[m->n_texts++] = text;
    }
    m->text_bytes = (is_old ? 8 : 4) + t->name.len + (is_old ? 0 : b->call_id.len);
    return m + 1;
}

static void chat_metadata(struct arena *a, str raw, struct chat *out)
{
    struct json j;
    struct json_error e;
    if (!raw.len || json_parse(a, raw, &j, &e) < 0 || !json_is(&j, 0, JSON_OBJECT))
        return;
    out->metadata = arena_alloc(a, METADATA_MAX * sizeof *out->metadata);
    JSON_EACH_PAIR(&j, 0, key, value) {
        if (out->n_metadata == METADATA_MAX)
            break;
        if (!json_is(&j, value, JSON_STRING) || json_str_bytes(&j, key) > METADATA_KEY_MAX ||
            json_str_bytes(&j, value) > METADATA_VALUE_MAX)
            continue;
        out->metadata[out->n_metadata].key = json_str(&j, key, a);
        out->metadata[out->n_metadata++].value = json_str(&j, value, a);
    }
}

void prompt_chat(struct arena *a, const struct prompt *p, struct chat *out)
{
    *out = (struct chat){
        .model = p->model, .user = p->user, .is_streaming = p->is_streaming, .n_tools = p->n_tools,
        .has_response_format = p->output != OUTPUT_UNSET, .output_reserve = p->max_tokens > 0 ? (uint64_t)p->max_tokens : 0,
    };
    size_t n = p->n_system > 0;
    for (uint32_t i = 0; i < p->n_turns; i++)
        n += count_messages(&p->turns[i]);
    struct message *m = out->messages = arena_try(a, (n + 1) * sizeof *m);
    if (!m)
        return;                                     /* the arena says exhausted; the request fails */
    if (p->n_system)
        m = message_of_blocks(m, a, ROLE_SYSTEM, 6, S(""), p->system, p->n_system);
    for (uint32_t i = 0; i < p->n_turns; i++) {
        const struct turn *t = &p->turns[i];
        uint32_t results = 0;
        for (uint32_t k = 0; k < t->n; k++) {
            if (t->blocks[k].kind != BLOCK_TOOL_RESULT)
                continue;
            m = message_of_result(m, a, t, &t->blocks[k]);
            results++;
        }
        if (results < t->n || t->n == 0)
            m = message_of_blocks(m, a, t->role, role_size(t), t->name, t->blocks, t->n);
    }
    out->n_messages = (uint32_t)(m - out->messages);
    uint64_t functions = 0, tools = 0;              /* of their arrays: 2 brackets and commas */
    for (uint32_t i = 0; i < p->n_tools; i++) {
        uint64_t *list = str_eq(p->tools[i].raw_type, S("functions")) ? &functions : &tools;
        *list += (*list ? 1 : 2) + tool_size(&p->tools[i]);
    }
    out->structured_bytes = functions + tools + choice_size(p) + output_size(p);
    chat_metadata(a, p->metadata, out);
}

void prompt_name_results(struct prompt *p, struct arena *a)
{
    struct map calls = { .a = a };                  /* by id; the latest call of an id counts */
    for (uint32_t i = 0; i < p->n_turns; i++)
        for (uint32_t k = 0; k < p->turns[i].n; k++) {
            struct block *b = &p->turns[i].blocks[k];
            if (b->kind == BLOCK_TOOL_CALL && b->call_id.len) {
                map_put(&calls, b->call_id, b);
            } else if (b->kind == BLOCK_TOOL_RESULT && !b->name.len) {
                const struct block *call = map_get(&calls, b->call_id);
                b->name = call ? call->name : S("");
                b->is_custom |= call && call->is_custom;
            }
        }
}

/* ---- a whole reply as deltas ---- */

static void emit_citations(struct arena *a, const struct block *b, struct delta *d, const struct delta_sink *to)
{
    struct json j;
    struct json_error e;
    if (!b->citations.len || json_parse(a, b->citations, &j, &e) < 0 || !json_is(&j, 0, JSON_ARRAY))
        return;
    d->kind = DELTA_CITATION;
    JSON_EACH_ITEM(&j, 0, item) {
        d->text = json_raw(&j, item);
        to->take(to->arg, d);
    }
}

static void emit_block(struct arena *a, const struct reply *r, uint32_t i, bool has_logprobs, const struct delta_sink *to)
{
    const struct block *b = &r->blocks[i];
    struct block head = *b;
    struct delta d = { .kind = DELTA_BLOCK, .index = i, .block = &head };
    str piece = b->kind == BLOCK_TOOL_CALL ? b->arguments : b->text;
    head.text = head.arguments = head.signature = head.citations = S("");
    to->take(to->arg, &d);
    d.block = NULL;
    d.kind = DELTA_PIECE;
    d.text = piece;
    if (piece.len)
        to->take(to->arg, &d);
    emit_citations(a, b, &d, to);
    d.kind = DELTA_LOGPROBS;
    d.text = r->logprobs;
    if (has_logprobs)
        to->take(to->arg, &d);
    d.kind = DELTA_SIGNATURE;
    d.text = b->signature;
    if (b->signature.len)
        to->take(to->arg, &d);
    d = (struct delta){ .kind = DELTA_CLOSE, .index = i };
    to->take(to->arg, &d);
}

void reply_emit(const struct reply *r, const struct delta_sink *to)
{
    struct arena *a = arena_new();                  /* for the tapes of citations */
    struct delta start = { .kind = DELTA_START, .id = r->id, .model = r->model, .created = r->created,
                           .service_tier = r->service_tier, .system_fingerprint = r->system_fingerprint, .usage = &r->usage,
                           .rest = r->rest };
    to->take(to->arg, &start);
    bool has_logprobs = r->logprobs.len > 0;
    for (uint32_t i = 0; a && i < r->n; i++) {
        bool is_first_text = has_logprobs && r->blocks[i].kind == BLOCK_TEXT;
        emit_block(a, r, i, is_first_text, to);
        has_logprobs &= !is_first_text;
    }
    struct failure no_memory = { .status = 500, .kind = FAILURE_SERVER, .message = S("out of memory") };
    struct delta stop = { .kind = DELTA_STOP, .stop = r->stop, .stop_text = r->stop_text, .stop_sequence = r->stop_sequence,
                          .usage = &r->usage };
    struct delta end = { .kind = a ? DELTA_END : DELTA_ERROR, .failure = a ? NULL : &no_memory };
    if (a)
        to->take(to->arg, &stop);
    to->take(to->arg, &end);
    arena_free(a);
}

/* ---- errors ---- */

enum failure_kind failure_kind_of_status(int status)
{
    static const struct { int status; enum failure_kind kind; } table[] = {
        { 401, FAILURE_AUTH },       { 402, FAILURE_BILLING },  { 403, FAILURE_PERMISSION }, { 404, FAILURE_NOT_FOUND },
        { 408, FAILURE_TIMEOUT },    { 409, FAILURE_CONFLICT }, { 413, FAILURE_TOO_LARGE },  { 429, FAILURE_RATE_LIMIT },
        { 502, FAILURE_UPSTREAM },   { 503, FAILURE_OVERLOADED }, { 504, FAILURE_TIMEOUT },  { 529, FAILURE_OVERLOADED },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (table[i].status == status)
            return table[i].kind;
    return status >= 500 ? FAILURE_SERVER : FAILURE_INVALID;
}

/* ---- helpers of dialects ---- */

void block_text_read(struct block *b, const struct json *j, jref n, struct arena *a)
{
    b->text = json_str(j, n, a);
    if (!json_is(j, n, JSON_STRING) || !j->nodes[n].has_escape || j->nodes[n].has_code || !b->text.len)
        return;                         /* without an escape there is nothing to gain */
    b->spelled = json_raw(j, n);
    b->spelled_text = b->text;
}

void block_text_write(const struct block *b, struct json_writer *w)
{
    str spelled = block_spelled(b);
    if (spelled.len)
        jw_raw(w, spelled);
    else
        jw_str(w, b->text);
}

bool usage_count_read(const struct json *j, jref n, int64_t *out)
{
    int64_t v;
    if (!json_int(j, n, &v) || v < 0 || v > USAGE_TOKENS_MAX)
        return false;
    *out = v;
    return true;
}

struct prompt prompt_new(const struct dialect_ops *d)
{
    return (struct prompt){
        .dialect = d, .includes_usage = 1, .parallel_tool_calls = -1, .temperature = (double)NAN, .top_p = (double)NAN, .top_k = -1,
        .presence_penalty = (double)NAN, .frequency_penalty = (double)NAN, .logprobs = -1, .top_logprobs = -1, .schema_strict = -1,
    };
}

void members_add(struct members *m, struct arena *a, str key, str raw)
{
    *PUSH(a, m->items, m->n) = (struct member){ key, raw };
}

void members_write(const struct members *m, struct json_writer *w)
{
    for (size_t i = 0; i < m->n; i++)
        put_raw(w, m->items[i].key, m->items[i].raw);
}

/* RFC 2397; only base64, since nobody sends models anything else. Parameters of the type (charset) are left out. */
bool media_from_data_url(str url, struct media *out)
{
    if (url.len < 5 || !str_ieq(str_upto(url, 5), S("data:")))
        return false;
    long comma = str_chr(str_upto(url, 512), ',');
    if (comma < 0)
        return false;
    str head = { url.ptr + 5, (size_t)comma - 5 };
    if (head.len < 7 || !str_ieq(str_from(head, head.len - 7), S(";base64")))
        return false;
    out->media_type = str_cut(&head, ';');
    out->data = str_from(url, (size_t)comma + 1);
    return true;
}

str media_data_url(const struct media *m, struct arena *a)
{
    str type = m->media_type.len ? m->media_type : S("application/octet-stream");
    const str pieces[] = { S("data:"), type, S(";base64,"), m->data };
    size_t len = 0;
    for (size_t i = 0; i < COUNT_OF(pieces); i++)
        len += pieces[i].len;
    char *to = arena_try(a, len + 1), *at = to;
    if (!to)
        return S("");
    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        if (pieces[i].len)
            memcpy(at, pieces[i].ptr, pieces[i].len);
        at += pieces[i].len;
    }
    *at = 0;
    return (str){ to, len };
}

str json_compact(struct arena *a, str raw)
{
    char *to = NULL;
    size_t len = 0;
    bool in_string = false;
    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.ptr[i];
        bool is_space = !in_string && (c == ' ' || c == '\t' || c == '\n' || c == '\r');
        if (is_space && !to) {                      /* the first one: a copy begins */
            to = arena_try(a, raw.len + 1);
            if (!to)
                return raw;
            memcpy(to, raw.ptr, i);
            len = i;
        }
        if (is_space)
            continue;
        if (to)
            to[len++] = c;
        if (in_string && c == '\\' && i + 1 < raw.len) {
            i++;
            if (to)
                to[len++] = raw.ptr[i];
        } else if (c == '"') {
            in_string = !in_string;
        }
    }
    if (to)
        to[len] = 0;
    return to ? (str){ to, len } : raw;
}

bool json_is_object_text(struct arena *a, str text)
{
    struct json j;
    struct json_error e;
    return text.len && json_parse(a, text, &j, &e) == 0 && json_is(&j, 0, JSON_OBJECT);
}
