/* dialect/bedrock_write.c -- the canonical form as Converse requests and replies.
 *
 * Converse is one format for many makers of models, and strict: roles alternate, contents are not empty, names fit a pattern,
 * old calls need a tool configuration. What it has no member for goes to the model itself in additionalModelRequestFields,
 * so the writer has to know whose model it is: by the id, since that is all a request has. */
#include "dialect/anthropic_parts.h"
#include "dialect/bedrock_parts.h"

#include <math.h>

#include "base/put.h"
#include "base/utf8.h"

enum { NAME_MAX_BYTES = 64, DOCUMENT_NAME_MAX = 200, METADATA_ENTRIES_MAX = 16 };

/* Whose model: the first match counts. An id that says nothing (an ARN of a profile) is taken for Claude, which most are. */
enum maker { MAKER_CLAUDE, MAKER_NOVA, MAKER_OPENAI, MAKER_MISTRAL, MAKER_OTHER };
static const struct { str mark; enum maker maker; } makers[] = {
    { S("claude"), MAKER_CLAUDE }, { S("anthropic."), MAKER_CLAUDE },
    { S("amazon.nova"), MAKER_NOVA }, { S("openai."), MAKER_OPENAI },
    { S("mistral."), MAKER_MISTRAL }, { S("amazon."), MAKER_OTHER }, { S("meta."), MAKER_OTHER }, { S("cohere."), MAKER_OTHER },
    { S("ai21."), MAKER_OTHER }, { S("deepseek."), MAKER_OTHER }, { S("qwen."), MAKER_OTHER }, { S("writer."), MAKER_OTHER },
    { S("google."), MAKER_OTHER }, { S("minimax."), MAKER_OTHER }, { S("moonshot."), MAKER_OTHER }, { S("nvidia."), MAKER_OTHER },
    { S("zai."), MAKER_OTHER },
};

struct writing {
    struct json_writer w;
    const struct prompt *p;
    const struct target *to;
    struct translation *t;
    bool is_own;                    /* the prompt came as Converse */
    enum maker maker;
    str *documents; uint32_t n_documents;       /* names given, all different */
};

static enum maker maker_of(str model)
{
    for (size_t i = 0; i < COUNT_OF(makers); i++)
        if (str_find(model, makers[i].mark) >= 0)
            return makers[i].maker;
    return MAKER_CLAUDE;
}

/* ---- blocks ---- */

/* Marks of other dialects are Anthropic's; Claude and Nova are those who keep caches. */
static void cache_point_write(struct writing *r, str mark, str place)
{
    struct json_writer *w = &r->w;
    if (!mark.len)
        return;
    if (r->maker != MAKER_CLAUDE && r->maker != MAKER_NOVA && !r->is_own) {
        translation_warn(r->t, arena_printf(r->t->a, STR_FMT ".cache_control", STR_ARG(place)), "dropped");
        return;
    }
    struct json j;
    jref ttl = JSON_NONE;
    if (json_parse(r->t->a, mark, &j, NULL) == 0 && json_is(&j, 0, JSON_OBJECT))
        ttl = json_get(&j, 0, S("ttl"));
    jw_begin(w, '{');
    put_open(w, S("cachePoint"), '{');
    put_str(w, S("type"), S("default"));
    if (ttl != JSON_NONE && json_is(&j, ttl, JSON_STRING))
        put_raw(w, S("ttl"), json_raw(&j, ttl));
    jw_end(w, '}');
    jw_end(w, '}');
}

/* Letters, digits, single spaces, hyphens, brackets; all different, since the model tells documents apart by them. */
static str document_name(struct writing *r, str name)
{
    char *out = arena_alloc(r->t->a, DOCUMENT_NAME_MAX + 16);
    size_t n = 0;
    long dot = -1;
    for (size_t i = name.len; i-- > 0 && dot < 0; )
        dot = name.ptr[i] == '.' ? (long)i : -1;
    for (size_t i = 0; i < (dot > 0 ? (size_t)dot : name.len) && n < DOCUMENT_NAME_MAX - 8; i++) {
        char c = name.ptr[i];
        if (!utf8_ascii_alnum((unsigned char)c) && !memchr("-()[]", c, 5))
            c = ' ';
        if (c != ' ' || (n && out[n - 1] != ' '))
            out[n++] = c;
    }
    while (n && out[n - 1] == ' ')
        n--;
    str whole = n ? (str){ out, n } : S("document"), unique = whole;
    for (uint32_t i = 0, next = 2; i < r->n_documents; i++) {
        if (!str_eq(r->documents[i], unique))
            continue;
        unique = arena_printf(r->t->a, STR_FMT " %u", STR_ARG(whole), next++);
        i = UINT32_MAX;                         /* from the start with the new name */
    }
    *PUSH(r->t->a, r->documents, r->n_documents) = unique;
    return unique;
}

static int media_write(struct writing *r, const struct block *b, str place)
{
    struct json_writer *w = &r->w;
    struct media m = b->media, inner;
    enum block_kind kind = b->kind;
    if (m.url.len && media_from_data_url(m.url, &inner)) {
        m.data = inner.data;
        m.media_type = inner.media_type.len ? inner.media_type : m.media_type;
        m.url = S("");
    }
    if (kind == BLOCK_IMAGE && (str_eq(m.media_type, S("application/pdf")) || str_starts(m.data, S("JVBERi"))))
        kind = BLOCK_FILE;
    if (m.file_id.len)
        return translation_lose(r->t, r->to, place, "a file that another provider stores");
    if (m.url.len && !str_starts(m.url, S("s3://")))
        return translation_lose(r->t, r->to, place, "a file by its URL");
    if (kind == BLOCK_FILE && m.text.len && !m.media_type.len)
        m.media_type = S("text/plain");
    str format = r->is_own && m.format.len ? m.format : bedrock_format(kind, &m);
    if (!format.len)
        return translation_lose(r->t, r->to, place, "a file of this type");
    jw_begin(w, '{');
    put_open(w, kind == BLOCK_IMAGE ? S("image") : kind == BLOCK_AUDIO ? S("audio") : S("document"), '{');
    put_str(w, S("format"), format);
    if (kind == BLOCK_FILE)
        put_str(w, S("name"), r->is_own ? m.name : document_name(r, m.name));
    put_open(w, S("source"), '{');
    if (m.url.len) {
        put_open(w, S("s3Location"), '{');
        put_str(w, S("uri"), m.url);
        jw_end(w, '}');
    } else if (m.text.len && r->is_own) {
        put_str(w, S("text"), m.text);
    } else if (m.text.len) {
        put_str(w, S("bytes"), base64_write(r->t->a, m.text));
    } else if (m.data.len || !r->is_own) {
        put_str(w, S("bytes"), m.data);
    }
    if (r->is_own)
        rest_write(w, &b->rest, S("source"), NULL, 0);
    jw_end(w, '}');
    if (r->is_own)
        rest_write(w, &b->rest, S(""), &S("source"), 1);
    jw_end(w, '}');
    jw_end(w, '}');
    if (m.detail.len && !str_eq(m.detail, S("auto")))
        translation_warn(r->t, place, "approximated");
    return 1;
}

static str call_id(struct writing *r, str id)
{
    return translation_rename(r->t, id, NAME_MAX_BYTES, "_.:-");
}

static str tool_name(struct writing *r, str name)
{
    return translation_rename(r->t, name, NAME_MAX_BYTES, "_-");
}

static int call_write(struct writing *r, const struct block *b, str place)
{
    struct json_writer *w = &r->w;
    str input;
    if (!arguments_as_object(r->t->a, b, &input)) {
        if (!r->is_own)
            return refuse_at(r->t, place, "the arguments of the tool call are not a JSON object");
        input = b->arguments;                   /* Converse's input is any JSON: it was read as such */
    }
    jw_begin(w, '{');
    put_open(w, S("toolUse"), '{');
    put_str(w, S("toolUseId"), call_id(r, b->call_id));
    put_str(w, S("name"), tool_name(r, b->name));
    put_raw(w, S("input"), input);
    if (r->is_own)
        rest_write(w, &b->rest, S(""), NULL, 0);
    jw_end(w, '}');
    jw_end(w, '}');
    return 1;
}

static int block_write(struct writing *r, const struct block *b, str place);

static int result_write(struct writing *r, const struct block *b, str place)
{
    struct json_writer *w = &r->w;
    int written = 0;
    jw_begin(w, '{');
    put_open(w, S("toolResult"), '{');
    put_str(w, S("toolUseId"), call_id(r, b->call_id));
    put_open(w, S("content"), '[');
    for (uint32_t i = 0; i < b->n_content; i++) {
        int rc = block_write(r, &b->content[i], place);
        if (rc < 0)
            return -1;
        written += rc;
    }
    if (written == 0 && !r->is_own)
        jw_raw(w, S("{\"text\":\"(empty)\"}"));     /* Converse takes neither an empty text nor none */
    jw_end(w, ']');
    if (b->is_error)
        put_str(w, S("status"), S("error"));
    if (r->is_own)
        rest_write(w, &b->rest, S(""), NULL, 0);
    jw_end(w, '}');
    jw_end(w, '}');
    return 1;
}

static int reasoning_write(struct writing *r, const struct block *b, str place)
{
    struct json_writer *w = &r->w;
    bool is_sealed = b->kind == BLOCK_SEALED_REASONING;
    str opaque = is_sealed ? b->sealed : b->signature;
    if (!r->is_own && (!opaque.len || anthropic_origin(b, r->p->dialect).len || r->maker != MAKER_CLAUDE)) {
        translation_warn(r->t, place, "dropped");
        return 0;
    }
    jw_begin(w, '{');
    put_open(w, S("reasoningContent"), '{');
    if (is_sealed) {
        put_str(w, S("redactedContent"), opaque);
    } else {
        put_open(w, S("reasoningText"), '{');
        put_str(w, S("text"), b->text);
        if (opaque.len)
            put_str(w, S("signature"), opaque);
        if (r->is_own)
            rest_write(w, &b->rest, S(""), NULL, 0);
        jw_end(w, '}');
    }
    jw_end(w, '}');
    jw_end(w, '}');
    return 1;
}

static void text_write(struct json_writer *w, const struct block *b, bool is_own)
{
    jw_begin(w, '{');
    if (is_own && b->raw.len) {
        put_raw(w, S("json"), b->raw);
    } else if (is_own && b->citations.len) {
        put_open(w, S("citationsContent"), '{');
        put_open(w, S("content"), '[');
        jw_begin(w, '{');
        put_str(w, S("text"), b->text);
        jw_end(w, '}');
        jw_end(w, ']');
        put_raw(w, S("citations"), b->citations);
        jw_end(w, '}');
    } else {
        put_str(w, S("text"), b->text);
    }
    jw_end(w, '}');
}

/* 1: written; 0: dropped; -1: refused. */
static int block_write(struct writing *r, const struct block *b, str place)
{
    int rc = 1;
    if (block_is_blank(b))
        return 0;
    switch (b->kind) {
    case BLOCK_TEXT:
    case BLOCK_REFUSAL: text_write(&r->w, b, r->is_own); break;
    case BLOCK_IMAGE:
    case BLOCK_AUDIO:
    case BLOCK_FILE: rc = media_write(r, b, place); break;
    case BLOCK_TOOL_CALL: rc = call_write(r, b, place); break;
    case BLOCK_TOOL_RESULT: rc = result_write(r, b, place); break;
    case BLOCK_REASONING:
    case BLOCK_SEALED_REASONING: rc = reasoning_write(r, b, place); break;
    default:
        if (r->is_own) {
            jw_raw(&r->w, b->raw);
            return 1;
        }
        translation_warn(r->t, place, "dropped");
        return 0;
    }
    if (rc <= 0)
        return rc;
    if (b->signature.len && b->kind != BLOCK_REASONING)
        translation_warn(r->t, place, "dropped");
    cache_point_write(r, b->cache_control, place);
    return 1;
}

/* ---- messages and system ---- */

static str role_of(const struct turn *t)
{
    return t->role == ROLE_ASSISTANT ? S("assistant") : turn_is_system(t) ? S("system") : S("user");
}

static int merged_write(struct writing *r, uint32_t from, uint32_t to, int results)     /* 1: results, 0: others, -1: all */
{
    int written = 0;
    for (uint32_t i = from; i < to; i++) {
        const struct turn *turn = &r->p->turns[i];
        for (uint32_t k = 0; k < turn->n && (r->is_own || !turn_is_system(turn)); k++) {
            if (results >= 0 && (turn->blocks[k].kind == BLOCK_TOOL_RESULT) != results)
                continue;
            int rc = block_write(r, &turn->blocks[k], block_place(r->p, r->t->a, i, k));
            if (rc < 0)
                return -1;
            written += rc;
        }
    }
    return written;
}

static int messages_write(struct writing *r)
{
    const struct prompt *p = r->p;
    struct json_writer *w = &r->w;
    str last = S("");
    put_open(w, S("messages"), '[');
    for (uint32_t from = 0, to; from < p->n_turns; from = to) {
        const struct turn *first = &p->turns[from];
        to = from + 1;
        if (!r->is_own && (turn_is_system(first) || turn_is_blank(first)))
            continue;
        while (!r->is_own && to < p->n_turns &&
               (turn_is_system(&p->turns[to]) || turn_is_blank(&p->turns[to]) || str_eq(role_of(&p->turns[to]), role_of(first))))
            to++;
        if (!r->is_own && !last.len && first->role == ROLE_ASSISTANT)
            return refuse_at(r->t, knob_name(p, KNOB_MESSAGES), "this model's conversations start with the user");
        size_t start = w->out->len;
        bool comma = w->need_comma;
        jw_begin(w, '{');
        put_str(w, S("role"), role_of(first));
        put_open(w, S("content"), '[');
        int written = r->is_own ? merged_write(r, from, to, -1) : merged_write(r, from, to, 1);
        int others = written < 0 || r->is_own ? 0 : merged_write(r, from, to, 0);
        if (written < 0 || others < 0)
            return -1;
        if (written + others == 0 && !r->is_own) {  /* all of it was dropped; what follows has the other role */
            w->out->len = start;
            w->need_comma = comma;
            continue;
        }
        last = role_of(first);
        jw_end(w, ']');
        if (r->is_own)
            rest_write(w, &first->rest, S(""), NULL, 0);
        jw_end(w, '}');
    }
    jw_end(w, ']');
    if (!last.len && !r->is_own)
        return refuse_at(r->t, knob_name(p, KNOB_MESSAGES), "no message of the user or the assistant has content");
    return 0;
}

static int system_text_write(struct writing *r, const struct block *b, str place)
{
    bool is_text = b->kind == BLOCK_TEXT || b->kind == BLOCK_REFUSAL || r->is_own;
    if (!is_text)
        return translation_lose(r->t, r->to, place, "a system message other than text");
    return block_write(r, b, place) < 0 ? -1 : 0;
}

static int system_write(struct writing *r)
{
    const struct prompt *p = r->p;
    struct json_writer *w = &r->w;
    size_t start = w->out->len;
    bool comma = w->need_comma;
    put_open(w, S("system"), '[');
    size_t first = w->out->len;
    for (uint32_t i = 0; i < p->n_system; i++)
        if (system_text_write(r, &p->system[i], knob_name(p, KNOB_SYSTEM)) < 0)
            return -1;
    for (uint32_t i = 0; i < p->n_turns && !r->is_own; i++)
        for (uint32_t k = 0; turn_is_system(&p->turns[i]) && k < p->turns[i].n; k++)
            if (system_text_write(r, &p->turns[i].blocks[k], block_place(p, r->t->a, i, k)) < 0)
                return -1;
    if (p->output == OUTPUT_JSON_OBJECT || (p->output == OUTPUT_JSON_SCHEMA && r->to->lacks_json_schema)) {
        struct block instruction = { .text = output_instruction(r->t->a, p) };
        block_write(r, &instruction, S(""));
        translation_warn(r->t, knob_name(p, KNOB_OUTPUT), "approximated");
    }
    if (w->out->len == first && !r->is_own) {
        w->out->len = start;
        w->need_comma = comma;
        return 0;
    }
    jw_end(w, ']');
    if (w->out->len == first + 1 && p->n_system == 0) {
        w->out->len = start;
        w->need_comma = comma;
    }
    return 0;
}

/* ---- tools ---- */

static void tool_write(struct writing *r, const struct tool *tool, uint32_t i)
{
    struct json_writer *w = &r->w;
    str place = arena_printf(r->t->a, "tools[%u]", i), description = tool->description;
    if (tool->kind == TOOL_HOSTED) {
        if (r->is_own)
            jw_raw(w, tool->raw);
        else
            translation_warn(r->t, place, "dropped");
        return;
    }
    if (tool->kind == TOOL_CUSTOM) {
        description = custom_tool_description(r->t->a, tool);
        if (tool->format.len)
            translation_warn(r->t, arena_printf(r->t->a, "tools[%u].format", i), "approximated");
    }
    jw_begin(w, '{');
    put_open(w, S("toolSpec"), '{');
    put_str(w, S("name"), tool_name(r, tool->name));
    put_text(w, S("description"), description);
    put_open(w, S("inputSchema"), '{');
    if (tool->kind == TOOL_CUSTOM)
        put_raw(w, S("json"), CUSTOM_TOOL_SCHEMA);
    else
        put_raw(w, S("json"), r->is_own && tool->parameters.len ? tool->parameters
                              : schema_as_object(r->t->a, tool->parameters, false));
    jw_end(w, '}');
    if (r->is_own ? tool->strict >= 0 : tool->strict > 0 && !r->to->lacks_strict) {
        put_bool(w, S("strict"), tool->strict);
    }
    if (r->is_own)
        rest_write(w, &tool->rest, S(""), NULL, 0);
    jw_end(w, '}');
    jw_end(w, '}');
    cache_point_write(r, tool->cache_control, place);
}

static bool has_tool_blocks(const struct prompt *p)
{
    for (uint32_t i = 0; i < p->n_turns; i++)
        for (uint32_t k = 0; k < p->turns[i].n; k++)
            if (p->turns[i].blocks[k].kind == BLOCK_TOOL_CALL || p->turns[i].blocks[k].kind == BLOCK_TOOL_RESULT)
                return true;
    return false;
}

/* There is no choice `none`: the tools are left out. Old calls need some tool all the same, so one that does nothing stands
 * there. */
static int tools_write(struct writing *r)
{
    const struct prompt *p = r->p;
    struct json_writer *w = &r->w;
    size_t start = w->out->len;
    bool comma = w->need_comma, is_found = false, has_tools;
    put_open(w, S("toolConfig"), '{');
    put_open(w, S("tools"), '[');
    size_t first = w->out->len;
    for (uint32_t i = 0; i < p->n_tools && p->choice != CHOICE_NONE; i++) {
        if (!prompt_allows(p, p->tools[i].name))
            continue;
        tool_write(r, &p->tools[i], i);
        is_found |= p->n_chosen && p->tools[i].kind != TOOL_HOSTED && str_eq(p->tools[i].name, p->chosen[0]);
    }
    has_tools = w->out->len > first;
    if (!has_tools && !r->is_own && has_tool_blocks(p))
        jw_raw(w, S("{\"toolSpec\":{\"name\":\"unavailable\",\"description\":\"No tool can be called now.\","
                    "\"inputSchema\":{\"json\":{\"type\":\"object\"}}}}"));
    if (w->out->len == first && !(r->is_own && rest_has(&p->rest, S("toolConfig")))) {
        w->out->len = start;
        w->need_comma = comma;
        start = SIZE_MAX;
    } else {
        jw_end(w, ']');
    }
    if (p->n_chosen && p->choice != CHOICE_TOOL)
        translation_warn(r->t, knob_name(p, KNOB_TOOL_CHOICE), "approximated");
    if (!r->is_own && (p->choice == CHOICE_TOOL ? !is_found : p->choice == CHOICE_REQUIRED && !has_tools))
        return refuse_at(r->t, knob_name(p, KNOB_TOOL_CHOICE), "the forced tool is none of those that can be sent");
    if (p->parallel_tool_calls == 0 && has_tools)
        translation_warn(r->t, knob_name(p, KNOB_PARALLEL), "dropped");
    if (start == SIZE_MAX)
        return 0;
    if (has_tools && (p->choice == CHOICE_REQUIRED || p->choice == CHOICE_TOOL || p->choice == CHOICE_AUTO)) {
        put_open(w, S("toolChoice"), '{');
        put_open(w, p->choice == CHOICE_REQUIRED ? S("any") : p->choice == CHOICE_TOOL ? S("tool") : S("auto"), '{');
        if (p->choice == CHOICE_TOOL)
            put_str(w, S("name"), tool_name(r, p->chosen[0]));
        jw_end(w, '}');
        jw_end(w, '}');
    }
    if (r->is_own)
        rest_write(w, &p->rest, S("toolConfig"), NULL, 0);
    jw_end(w, '}');
    return 0;
}

/* ---- settings ---- */

static double unless_lost(struct writing *r, enum knob knob, double v, double least, bool thinks)
{
    if (!isfinite(v) || r->is_own)
        return v;
    if (thinks && v < least) {
        translation_warn(r->t, knob_name(r->p, knob), "dropped");
        return (double)NAN;
    }
    if (v > 1) {
        translation_warn(r->t, knob_name(r->p, knob), "clamped");
        return 1;
    }
    return v;
}

static void inference_write(struct writing *r, bool thinks)
{
    const struct prompt *p = r->p;
    struct json_writer *w = &r->w;
    int64_t max_tokens = p->max_tokens > 0 ? p->max_tokens : r->to->default_max_tokens;
    double temperature = unless_lost(r, KNOB_TEMPERATURE, p->temperature, 1, thinks);
    double top_p = unless_lost(r, KNOB_TOP_P, p->top_p, 0.95, thinks);
    size_t start = w->out->len;
    bool comma = w->need_comma;
    put_open(w, S("inferenceConfig"), '{');
    size_t first = w->out->len;
    if (max_tokens > 0)
        put_int(w, S("maxTokens"), max_tokens);
    put_number(w, S("temperature"), temperature);
    put_number(w, S("topP"), top_p);
    stop_sequences_write(w, S("stopSequences"), p, r->is_own, r->t);
    if (r->is_own)
        rest_write(w, &p->rest, S("inferenceConfig"), NULL, 0);
    if (w->out->len == first) {
        w->out->len = start;
        w->need_comma = comma;
        return;
    }
    jw_end(w, '}');
}

/* What the model itself is told: thinking, top_k, betas. */
static void model_fields_write(struct writing *r, const struct thinking *thinking, bool thinks)
{
    const struct prompt *p = r->p;
    struct json_writer *w = &r->w;
    str effort = p->reasoning_effort, top_k_name = S("");
    bool wants_reasoning = effort.len || p->reasoning == REASONING_ON || p->reasoning == REASONING_ADAPTIVE;
    size_t start = w->out->len;
    bool comma = w->need_comma;
    if (r->is_own)
        return;                                 /* they are in rest, as they came */
    put_open(w, S("additionalModelRequestFields"), '{');
    size_t first = w->out->len;
    if (r->maker == MAKER_CLAUDE) {
        anthropic_thinking_write(w, thinking, p, strcmp(p->dialect->name, "anthropic") == 0);
        anthropic_betas_write(w, r->to, r->t);
        top_k_name = S("top_k");
    } else if (r->maker == MAKER_OPENAI && effort.len && !str_eq(effort, S("none"))) {
        bool is_known = str_eq(effort, S("low")) || str_eq(effort, S("medium")) || str_eq(effort, S("high"));
        put_str(w, S("reasoning_effort"), is_known ? effort : str_eq(effort, S("minimal")) ? S("low") : S("high"));
        if (!is_known)
            translation_warn(r->t, knob_name(p, KNOB_REASONING), "clamped");
    } else if (r->maker == MAKER_NOVA && wants_reasoning && !str_eq(effort, S("none"))) {
        put_open(w, S("reasoningConfig"), '{');
        put_str(w, S("type"), S("enabled"));
        put_str(w, S("maxReasoningEffort"), str_eq(effort, S("low")) || str_eq(effort, S("minimal")) ? S("low")
                                        : str_eq(effort, S("high")) || str_eq(effort, S("xhigh")) || str_eq(effort, S("max"))
                                            ? S("high") : S("medium"));
        jw_end(w, '}');
    } else if (wants_reasoning && !str_eq(effort, S("none"))) {
        translation_warn(r->t, knob_name(p, KNOB_REASONING), "dropped");
    }
    if (r->maker == MAKER_MISTRAL)
        top_k_name = S("top_k");
    if (p->top_k >= 0 && r->maker == MAKER_NOVA) {
        put_open(w, S("inferenceConfig"), '{');
        put_int(w, S("topK"), p->top_k);
        jw_end(w, '}');
    } else if (p->top_k >= 0 && top_k_name.len && !thinks) {
        put_int(w, top_k_name, p->top_k);
    } else if (p->top_k >= 0) {
        translation_warn(r->t, knob_name(p, KNOB_TOP_K), "dropped");
    }
    if (w->out->len == first) {
        w->out->len = start;
        w->need_comma = comma;
        return;
    }
    jw_end(w, '}');
}

static void output_write(struct writing *r, str effort)
{
    const struct prompt *p = r->p;
    struct json_writer *w = &r->w;
    bool has_schema = p->output == OUTPUT_JSON_SCHEMA && !r->to->lacks_json_schema;
    bool has_rest = r->is_own && rest_has(&p->rest, S("outputConfig"));
    if (!has_schema && !effort.len && !has_rest)
        return;
    put_open(w, S("outputConfig"), '{');
    if (has_schema) {
        str schema = r->is_own ? p->schema : schema_as_object(r->t->a, p->schema, true);
        put_open(w, S("textFormat"), '{');
        put_str(w, S("type"), S("json_schema"));
        put_open(w, S("structure"), '{');
        put_open(w, S("jsonSchema"), '{');
        put_str(w, S("schema"), schema);            /* a text, not an object */
        if (p->schema_name.len)
            put_str(w, S("name"), p->schema_name);
        if (p->schema_description.len)
            put_str(w, S("description"), p->schema_description);
        jw_end(w, '}');
        jw_end(w, '}');
        jw_end(w, '}');
    }
    put_text(w, S("effort"), effort);
    if (has_rest)
        rest_write(w, &p->rest, S("outputConfig"), NULL, 0);
    jw_end(w, '}');
}

/* OpenAI's metadata is what requestMetadata is: up to 16 texts. */
static bool is_request_metadata(struct arena *a, str raw)
{
    struct json j;
    if (json_parse(a, raw, &j, NULL) < 0 || !json_is(&j, 0, JSON_OBJECT))
        return false;
    uint32_t n = json_count(&j, 0);
    JSON_EACH_PAIR(&j, 0, key, value) {
        (void)key;
        if (json_kind(&j, value) != JSON_STRING)
            return false;
    }
    return n > 0 && n <= METADATA_ENTRIES_MAX;
}

static void account_write(struct writing *r)
{
    static const struct { str from, to; } tiers[] = {
        { S("auto"), S("") }, { S("default"), S("default") }, { S("standard_only"), S("default") }, { S("flex"), S("flex") },
        { S("priority"), S("priority") }, { S("reserved"), S("reserved") },
    };
    const struct prompt *p = r->p;
    struct json_writer *w = &r->w;
    if (p->metadata.len && (r->is_own || is_request_metadata(r->t->a, p->metadata)))
        put_raw(w, S("requestMetadata"), p->metadata);
    else if (p->metadata.len && !str_eq(p->metadata, S("{}")))
        translation_warn(r->t, knob_name(p, KNOB_METADATA), "dropped");
    if (p->user.len)
        translation_warn(r->t, knob_name(p, KNOB_USER), "dropped");
    if (!p->service_tier.len)
        return;
    size_t i = 0;
    while (i < COUNT_OF(tiers) && !str_eq(tiers[i].from, p->service_tier))
        i++;
    if (i == COUNT_OF(tiers) && !r->is_own) {
        translation_warn(r->t, knob_name(p, KNOB_SERVICE_TIER), "dropped");
    } else if (r->is_own || tiers[i].to.len) {
        put_open(w, S("serviceTier"), '{');
        put_str(w, S("type"), r->is_own ? p->service_tier : tiers[i].to);
        jw_end(w, '}');
    }
}

int bedrock_request_write(const struct prompt *p, const struct target *to, struct translation *t, struct buf *out)
{
    static const str nested[] = { S("inferenceConfig"), S("toolConfig"), S("outputConfig") };
    struct writing r = {
        .w = { .out = out }, .p = p, .to = to, .t = t, .is_own = p->dialect == &dialect_bedrock, .maker = maker_of(to->model),
    };
    struct json_writer *w = &r.w;
    struct thinking thinking = { 0 };
    bool is_messages = strcmp(p->dialect->name, "anthropic") == 0;     /* a client who says what Claude shall think is believed */
    if (!r.is_own && prompt_lose_foreign(p, to, t) < 0)
        return -1;
    if (r.is_own)
        thinking.effort = p->reasoning_effort;
    else if (r.maker == MAKER_CLAUDE)
        thinking = anthropic_thinking(p, to, t, is_messages, p->max_tokens > 0 ? p->max_tokens
                                                       : to->default_max_tokens > 0 ? to->default_max_tokens : 32000);
    bool thinks = thinking.type && strcmp(thinking.type, "disabled") != 0;
    jw_begin(w, '{');
    if (system_write(&r) < 0 || tools_write(&r) < 0 || messages_write(&r) < 0)
        return -1;
    inference_write(&r, thinks);
    model_fields_write(&r, &thinking, thinks);
    output_write(&r, thinking.effort);
    account_write(&r);
    if (r.is_own)
        rest_write(w, &p->rest, S(""), nested, COUNT_OF(nested));
    jw_end(w, '}');
    return 0;
}

/* ---- replies, for mocks ---- */

void bedrock_usage_write(struct json_writer *w, const struct usage *u)
{
    int64_t fresh = u->prompt_tokens - u->cached_tokens - u->cache_write_tokens;
    jw_begin(w, '{');
    put_int(w, S("inputTokens"), fresh > 0 ? fresh : 0);
    put_int(w, S("outputTokens"), u->completion_tokens);
    put_int(w, S("totalTokens"), u->prompt_tokens + u->completion_tokens);
    if (u->cached_tokens || u->cache_write_tokens) {
        put_int(w, S("cacheReadInputTokens"), u->cached_tokens);
        put_int(w, S("cacheWriteInputTokens"), u->cache_write_tokens);
    }
    jw_end(w, '}');
}

static void reply_block_write(struct json_writer *w, const struct block *b, const struct answer_context *c, bool is_own)
{
    str input;
    switch (b->kind) {
    case BLOCK_TEXT:
    case BLOCK_REFUSAL: text_write(w, b, is_own); break;
    case BLOCK_TOOL_CALL:
        jw_begin(w, '{');
        put_open(w, S("toolUse"), '{');
        put_str(w, S("toolUseId"), b->call_id);
        put_str(w, S("name"), c->translation ? translation_name_back(c->translation, b->name) : b->name);
        if (arguments_as_object(c->a, b, &input)) {
            put_raw(w, S("input"), input);
        } else {
            put_open(w, S("input"), '{');
            put_str(w, S("raw_arguments"), b->arguments);
            jw_end(w, '}');
        }
        jw_end(w, '}');
        jw_end(w, '}');
        break;
    case BLOCK_REASONING:
    case BLOCK_SEALED_REASONING:
        jw_begin(w, '{');
        put_open(w, S("reasoningContent"), '{');
        if (b->kind == BLOCK_SEALED_REASONING) {
            put_str(w, S("redactedContent"), b->sealed);
        } else {
            put_open(w, S("reasoningText"), '{');
            put_str(w, S("text"), b->text);
            if (b->signature.len)
                put_str(w, S("signature"), b->signature);
            jw_end(w, '}');
        }
        jw_end(w, '}');
        jw_end(w, '}');
        break;
    default:
        if (is_own && b->raw.len)
            jw_raw(w, b->raw);
        break;
    }
}

void bedrock_reply_write(const struct reply *r, const struct answer_context *c, struct buf *out)
{
    struct json_writer w = { .out = out };
    bool is_own = r->dialect == &dialect_bedrock;
    jw_begin(&w, '{');
    put_open(&w, S("output"), '{');
    put_open(&w, S("message"), '{');
    put_str(&w, S("role"), S("assistant"));
    put_open(&w, S("content"), '[');
    for (uint32_t i = 0; i < r->n; i++)
        if (is_own || r->blocks[i].text.len || (r->blocks[i].kind != BLOCK_TEXT && r->blocks[i].kind != BLOCK_REFUSAL))
            reply_block_write(&w, &r->blocks[i], c, is_own);
    jw_end(&w, ']');
    jw_end(&w, '}');
    jw_end(&w, '}');
    put_str(&w, S("stopReason"), is_own && r->stop_text.len ? r->stop_text : bedrock_stop_name(r->stop));
    jw_key(&w, S("usage"));
    bedrock_usage_write(&w, &r->usage);
    if (!is_own || !rest_find(&r->rest, S("metrics")))
        put_raw(&w, S("metrics"), S("{\"latencyMs\":0}"));
    if (is_own && r->service_tier.len) {
        put_open(&w, S("serviceTier"), '{');
        put_str(&w, S("type"), r->service_tier);
        jw_end(&w, '}');
    }
    if (is_own)
        rest_write(&w, &r->rest, S(""), NULL, 0);
    jw_end(&w, '}');
}
