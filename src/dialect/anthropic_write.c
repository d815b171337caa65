/* dialect/anthropic_write.c -- the canonical form as Messages requests and replies.
 *
 * A request that came as Messages goes out as it was: order, empty rest and odd values are the client's, Anthropic judges
 * them. One that came in another dialect is made acceptable: system turns move to the top, neighbours of one role merge with
 * tool results in front, blank texts vanish, and whatever the API is known to refuse is changed here with a warning, or
 * refused with the client's own name for it. */
#include "dialect/anthropic.h"
#include "dialect/anthropic_parts.h"

#include <math.h>

#include "base/put.h"
#include "base/utf8.h"

enum { NAME_MAX_BYTES = 128, CALL_ID_MAX = 256, BUDGET_MIN = 1024, DEFAULT_MAX_TOKENS = 4096 };

struct writing {
    struct json_writer w;
    const struct prompt *p;
    const struct target *to;
    struct translation *t;
    bool is_own;                    /* the prompt came as Messages */
    enum envelope envelope;
    bool thinks;                    /* `thinking` is sent and on */
    bool lifts_system;              /* system turns move to the top: the API there, or without its beta, takes no others */
    int64_t max_tokens;
};

bool anthropic_is_family(const struct dialect_ops *d)
{
    return d && (strcmp(d->name, "anthropic") == 0 || str_starts(str_of(d->name), S("bedrock")));
}

/* Chat Completions has no opaque reasoning of its own: what its messages carry is what an Anthropic model once answered.
 * OpenAI's encrypted content is a Fernet token, which starts with its version byte and a zero: "gAAAA". */
str anthropic_origin(const struct block *b, const struct dialect_ops *d)
{
    str opaque = b->kind == BLOCK_SEALED_REASONING ? b->sealed : b->signature;
    if (b->origin.len)
        return str_eq(b->origin, S("anthropic")) || str_starts(b->origin, S("bedrock")) ? S("") : b->origin;
    if (!d || anthropic_is_family(d) || strcmp(d->name, "openai_chat") == 0)
        return S("");
    if (strcmp(d->name, "openai_responses") == 0 && !str_starts(opaque, S("gAAAA")))
        return S("");
    return str_of(d->name);
}

/* ---- media ---- */

static void source_write(struct json_writer *w, str type, str media_type, str key, str value)
{
    put_str(w, S("type"), type);
    put_text(w, S("media_type"), media_type);
    put_str(w, key, value);
}

/* Where the media goes: an image or a document block, by what it is. False: Messages has no such content. */
static bool media_resolve(struct arena *a, const struct block *b, bool is_own, struct media *m, bool *is_image)
{
    struct media inner;
    *m = b->media;
    *is_image = b->kind == BLOCK_IMAGE;
    if (m->url.len && media_from_data_url(m->url, &inner)) {
        m->data = inner.data;
        m->media_type = inner.media_type.len ? inner.media_type : m->media_type;
        m->url = S("");
    }
    if (m->file_id.len)
        return is_own;
    if (!m->data.len)
        return m->url.len || m->text.len;
    if (!m->media_type.len)
        m->media_type = media_sniff(m->data);
    if (!m->media_type.len && str_ends(m->name, S(".pdf")))
        m->media_type = S("application/pdf");
    if (is_own)
        return true;
    if (str_starts(m->media_type, S("image/"))) {
        *is_image = true;
        return true;
    }
    *is_image = false;
    if (str_starts(m->media_type, S("text/")) || str_eq(m->media_type, S("application/json"))) {
        bool is_text = base64_read(a, m->data, &m->text) && utf8_is_valid(m->text);
        m->data = S("");
        return is_text;
    }
    return str_eq(m->media_type, S("application/pdf"));
}

static int media_write(struct writing *r, const struct block *b, str place)
{
    struct json_writer *w = &r->w;
    struct media m;
    bool is_image;
    if (!media_resolve(r->t->a, b, r->is_own, &m, &is_image))
        return translation_lose(r->t, r->to, place,
                                m.file_id.len ? "a file that another provider stores" : "a file of this type");
    jw_begin(w, '{');
    put_str(w, S("type"), is_image ? S("image") : S("document"));
    put_open(w, S("source"), '{');
    if (m.file_id.len)
        source_write(w, S("file"), S(""), S("file_id"), m.file_id);
    else if (m.url.len)
        source_write(w, S("url"), S(""), S("url"), m.url);
    else if (m.text.len || !m.data.len)
        source_write(w, S("text"), S("text/plain"), S("data"), m.text);
    else
        source_write(w, S("base64"), m.media_type, S("data"), m.data);
    if (r->is_own)
        rest_write(w, &b->rest, S("source"), NULL, 0);
    jw_end(w, '}');
    if (m.name.len && !is_image)
        put_str(w, S("title"), m.name);
    if (m.detail.len && !str_eq(m.detail, S("auto")))
        translation_warn(r->t, place, "approximated");
    return 1;                                   /* the object is left open for cache_control and rest */
}

/* ---- blocks of requests ---- */

static int blocks_write(struct writing *r, const struct block *blocks, uint32_t n, str place);

static int call_write(struct writing *r, const struct block *b, str place)
{
    struct json_writer *w = &r->w;
    str input;
    if (!arguments_as_object(r->t->a, b, &input))
        return refuse_at(r->t, place, "the arguments of the tool call are not a JSON object");
    jw_begin(w, '{');
    put_str(w, S("type"), S("tool_use"));
    put_str(w, S("id"), translation_rename(r->t, b->call_id, CALL_ID_MAX, "_-"));
    put_str(w, S("name"), translation_rename(r->t, b->name, NAME_MAX_BYTES, "_-"));
    put_given(w, S("input"), input);
    return 1;
}

static int result_write(struct writing *r, const struct block *b, str place)
{
    struct json_writer *w = &r->w;
    jw_begin(w, '{');
    put_str(w, S("type"), S("tool_result"));
    put_str(w, S("tool_use_id"), translation_rename(r->t, b->call_id, CALL_ID_MAX, "_-"));
    if (b->n_content) {
        jw_key(w, S("content"));
        if (blocks_write(r, b->content, b->n_content, place) < 0)
            return -1;
    }
    if (b->is_error) {
        put_bool(w, S("is_error"), true);
    }
    return 1;
}

static int reasoning_write(struct writing *r, const struct block *b, str place)
{
    struct json_writer *w = &r->w;
    bool is_sealed = b->kind == BLOCK_SEALED_REASONING;
    str opaque = is_sealed ? b->sealed : b->signature;
    if (!opaque.len || anthropic_origin(b, r->p->dialect).len) {    /* Anthropic takes no thought that it did not sign */
        translation_warn(r->t, place, "dropped");
        return 0;
    }
    jw_begin(w, '{');
    put_str(w, S("type"), is_sealed ? S("redacted_thinking") : S("thinking"));
    if (!is_sealed)
        put_str(w, S("thinking"), b->text);
    put_str(w, is_sealed ? S("data") : S("signature"), opaque);
    return 1;
}

/* 1: written; 0: dropped; -1: refused. */
static int block_write(struct writing *r, const struct block *b, str place)
{
    struct json_writer *w = &r->w;
    int rc = 1;
    if (block_is_blank(b))
        return 0;
    switch (b->kind) {
    case BLOCK_TEXT:
    case BLOCK_REFUSAL:
        jw_begin(w, '{');
        put_str(w, S("type"), S("text"));
        put_str(w, S("text"), b->text);
        if (r->is_own)
            put_given(w, S("citations"), b->citations);
        break;
    case BLOCK_IMAGE:
    case BLOCK_FILE: rc = media_write(r, b, place); break;
    case BLOCK_AUDIO: return translation_lose(r->t, r->to, place, "audio input");
    case BLOCK_TOOL_CALL: rc = call_write(r, b, place); break;
    case BLOCK_TOOL_RESULT: rc = result_write(r, b, place); break;
    case BLOCK_REASONING:
    case BLOCK_SEALED_REASONING: rc = reasoning_write(r, b, place); break;
    default:
        if (r->is_own) {
            jw_raw(w, b->raw);
            return 1;
        }
        translation_warn(r->t, place, "dropped");       /* a hosted tool's call or result: its provider's affair */
        return 0;
    }
    if (rc <= 0)
        return rc;
    if (b->signature.len && b->kind != BLOCK_REASONING)
        translation_warn(r->t, place, "dropped");
    put_given(w, S("cache_control"), b->cache_control);
    if (r->is_own)
        rest_write(w, &b->rest, S(""), &S("source"), 1);
    jw_end(w, '}');
    return 1;
}

/* A string when there is one plain text, as most clients write it. */
static int blocks_write(struct writing *r, const struct block *blocks, uint32_t n, str place)
{
    const struct block *only = NULL;
    uint32_t live = 0;
    for (uint32_t i = 0; i < n; i++)
        if (!block_is_blank(&blocks[i]))
            live++, only = &blocks[i];
    if (live == 0) {
        jw_str(&r->w, S(""));
        return 0;
    }
    if (live == 1 && only->kind == BLOCK_TEXT && !only->cache_control.len && !only->citations.len && !only->rest.n) {
        jw_str(&r->w, only->text);
        return 0;
    }
    jw_begin(&r->w, '[');
    for (uint32_t i = 0; i < n; i++)
        if (block_write(r, &blocks[i], place) < 0)
            return -1;
    jw_end(&r->w, ']');
    return 0;
}

/* ---- messages ---- */

static enum role wire_role(enum role role)
{
    return role == ROLE_ASSISTANT || role == ROLE_SYSTEM || role == ROLE_DEVELOPER ? role : ROLE_USER;
}

/* Blocks [from, to) of turns, results first or the others. Returns how many were written, -1. */
static int merged_write(struct writing *r, uint32_t from, uint32_t to, bool results)
{
    int written = 0;
    for (uint32_t i = from; i < to; i++) {
        const struct turn *turn = &r->p->turns[i];
        for (uint32_t k = 0; k < turn->n && !turn_is_system(turn); k++) {
            if ((turn->blocks[k].kind == BLOCK_TOOL_RESULT) != results || block_is_blank(&turn->blocks[k]))
                continue;
            int rc = block_write(r, &turn->blocks[k], block_place(r->p, r->t->a, i, k));
            if (rc < 0)
                return -1;
            written += rc;
        }
    }
    return written;
}

static bool is_plain_text(const struct turn *t)
{
    const struct block *only = NULL;
    for (uint32_t i = 0; i < t->n; i++) {
        if (block_is_blank(&t->blocks[i]))
            continue;
        if (only || t->blocks[i].kind != BLOCK_TEXT)
            return false;
        only = &t->blocks[i];
    }
    return only && !only->cache_control.len && !only->citations.len && !only->rest.n && !only->signature.len;
}

static int message_write(struct writing *r, uint32_t from, uint32_t to)
{
    const struct turn *first = &r->p->turns[from];
    struct json_writer *w = &r->w;
    size_t start = w->out->len;
    bool comma = w->need_comma;
    jw_begin(w, '{');
    put_str(w, S("role"), str_of(role_name(wire_role(first->role))));
    jw_key(w, S("content"));
    if (to == from + 1 && is_plain_text(first)) {
        uint32_t k = 0;
        while (block_is_blank(&first->blocks[k]))
            k++;
        jw_str(w, first->blocks[k].text);
    } else {
        int results = 0, others;
        jw_begin(w, '[');
        if (r->is_own) {                        /* as it stood, in its order */
            others = 0;
            for (uint32_t k = 0; k < first->n && others >= 0; k++) {
                int rc = block_write(r, &first->blocks[k], block_place(r->p, r->t->a, from, k));
                others = rc < 0 ? -1 : others + rc;
            }
        } else {
            results = merged_write(r, from, to, true);
            others = results < 0 ? -1 : merged_write(r, from, to, false);
        }
        if (others < 0)
            return -1;
        if (results + others == 0) {            /* everything in it was dropped: so is the message */
            w->out->len = start;
            w->need_comma = comma;
            return 0;
        }
        jw_end(w, ']');
    }
    if (r->is_own)
        rest_write(w, &first->rest, S(""), NULL, 0);
    jw_end(w, '}');
    return 0;
}

static int messages_write(struct writing *r)
{
    const struct prompt *p = r->p;
    struct json_writer *w = &r->w;
    put_open(w, S("messages"), '[');
    size_t start = w->out->len;
    for (uint32_t from = 0, to; from < p->n_turns; from = to) {
        to = from + 1;
        if ((r->lifts_system && turn_is_system(&p->turns[from])) || (!r->is_own && turn_is_blank(&p->turns[from])))
            continue;
        while (!r->is_own && to < p->n_turns &&
               (turn_is_system(&p->turns[to]) || turn_is_blank(&p->turns[to]) ||
                wire_role(p->turns[to].role) == wire_role(p->turns[from].role)))
            to++;
        if (message_write(r, from, to) < 0)
            return -1;
    }
    if (w->out->len == start && !r->is_own)
        return refuse_at(r->t, knob_name(p, KNOB_MESSAGES), "no message of the user or the assistant has content");
    jw_end(w, ']');
    return 0;
}

/* ---- system ---- */

/* The instruction that stands in for response_format, or "". json_object has no counterpart: Anthropic's schemas must
 * close their objects, so none of them means "any object". */
static str instruction_of(const struct writing *r)
{
    const struct prompt *p = r->p;
    if (p->output == OUTPUT_JSON_OBJECT || (p->output == OUTPUT_JSON_SCHEMA && r->to->lacks_json_schema))
        return output_instruction(r->t->a, p);
    return S("");
}

static int system_write(struct writing *r)
{
    const struct prompt *p = r->p;
    struct json_writer *w = &r->w;
    str extra = instruction_of(r);
    const struct block *only = NULL;
    uint32_t n = extra.len > 0;
    struct block added = { .text = extra };
    if (extra.len) {
        only = &added;
        translation_warn(r->t, knob_name(p, KNOB_OUTPUT), "approximated");
    }
    for (uint32_t i = 0; i < p->n_system; i++)
        if (!block_is_blank(&p->system[i]))
            n++, only = &p->system[i];
    for (uint32_t i = 0; i < p->n_turns && r->lifts_system; i++)
        for (uint32_t k = 0; turn_is_system(&p->turns[i]) && k < p->turns[i].n; k++)
            if (!block_is_blank(&p->turns[i].blocks[k]))
                n++, only = &p->turns[i].blocks[k];
    if (n == 0)
        return 0;
    jw_key(w, S("system"));
    if (n == 1 && only->kind == BLOCK_TEXT && !only->cache_control.len && !only->rest.n) {
        jw_str(w, only->text);
        return 0;
    }
    jw_begin(w, '[');
    for (uint32_t i = 0; i < p->n_system; i++)
        if (block_write(r, &p->system[i], knob_name(p, KNOB_SYSTEM)) < 0)
            return -1;
    for (uint32_t i = 0; i < p->n_turns && r->lifts_system; i++) {
        const struct turn *turn = &p->turns[i];
        for (uint32_t k = 0; turn_is_system(turn) && k < turn->n; k++) {
            str place = block_place(p, r->t->a, i, k);
            bool is_text = turn->blocks[k].kind == BLOCK_TEXT || turn->blocks[k].kind == BLOCK_REFUSAL;
            if (is_text ? block_write(r, &turn->blocks[k], place) < 0
                        : translation_lose(r->t, r->to, place, "a system message other than text") < 0)
                return -1;
        }
    }
    if (extra.len && block_write(r, &added, S("")) < 0)
        return -1;
    jw_end(w, ']');
    return 0;
}

/* ---- tools ---- */

/* Tools that Anthropic's own servers run. Those that the client runs (bash, text_editor, computer) work on Bedrock, too. */
static bool is_only_anthropics(str type)
{
    static const str starts[] = { S("web_search_"), S("web_fetch_"), S("code_execution_"), S("mcp_toolset") };
    for (size_t i = 0; i < COUNT_OF(starts); i++)
        if (str_starts(type, starts[i]))
            return true;
    return false;
}

static void tool_write(struct writing *r, const struct tool *tool, uint32_t i)
{
    struct json_writer *w = &r->w;
    if (tool->kind == TOOL_HOSTED) {
        if (r->is_own && !(r->envelope == ENVELOPE_INVOKE && is_only_anthropics(tool->raw_type)))
            jw_raw(w, tool->raw);
        else
            translation_warn(r->t, arena_printf(r->t->a, "tools[%u]", i), "dropped");
        return;
    }
    str description = tool->description;
    if (tool->kind == TOOL_CUSTOM) {
        description = custom_tool_description(r->t->a, tool);
        if (tool->format.len)
            translation_warn(r->t, arena_printf(r->t->a, "tools[%u].format", i), "approximated");
    }
    jw_begin(w, '{');
    put_str(w, S("name"), translation_rename(r->t, tool->name, NAME_MAX_BYTES, "_-"));
    put_text(w, S("description"), description);
    if (tool->kind == TOOL_CUSTOM)
        put_given(w, S("input_schema"), CUSTOM_TOOL_SCHEMA);
    else if (r->is_own)
        put_given(w, S("input_schema"), tool->parameters);
    else
        put_given(w, S("input_schema"), schema_as_object(r->t->a, tool->parameters, false));
    if (r->is_own ? tool->strict >= 0 : tool->strict > 0 && !r->to->lacks_strict) {
        put_bool(w, S("strict"), tool->strict);
    }
    put_given(w, S("cache_control"), tool->cache_control);
    if (r->is_own)
        rest_write(w, &tool->rest, S(""), NULL, 0);
    jw_end(w, '}');
}

/* Old calls without definitions are refused, so those who sent none get what the history shows of them. */
static uint32_t placeholders_write(struct writing *r)
{
    const struct prompt *p = r->p;
    struct json_writer *w = &r->w;
    str *names = NULL;
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->n_turns; i++) {
        for (uint32_t k = 0; k < p->turns[i].n; k++) {
            const struct block *b = &p->turns[i].blocks[k];
            uint32_t known = 0;
            if (b->kind != BLOCK_TOOL_CALL)
                continue;
            while (known < n && !str_eq(names[known], b->name))
                known++;
            if (known < n)
                continue;
            *PUSH(r->t->a, names, n) = b->name;
            jw_begin(w, '{');
            put_str(w, S("name"), translation_rename(r->t, b->name, NAME_MAX_BYTES, "_-"));
            put_given(w, S("input_schema"), S("{\"type\":\"object\"}"));
            jw_end(w, '}');
        }
    }
    return n;
}

static void choice_write(struct writing *r, const char *type)
{
    const struct prompt *p = r->p;
    struct json_writer *w = &r->w;
    put_open(w, S("tool_choice"), '{');
    put_str(w, S("type"), str_of(type));
    if (p->choice == CHOICE_TOOL && p->n_chosen)
        put_str(w, S("name"), translation_rename(r->t, p->chosen[0], NAME_MAX_BYTES, "_-"));
    if (p->parallel_tool_calls == 0 || (r->is_own && p->parallel_tool_calls > 0)) {
        put_bool(w, S("disable_parallel_tool_use"), !p->parallel_tool_calls);
    }
    if (r->is_own)
        rest_write(w, &p->rest, S("tool_choice"), NULL, 0);
    jw_end(w, '}');
}

static int tools_write(struct writing *r)
{
    static const char *const types[] = {
        [CHOICE_AUTO] = "auto", [CHOICE_NONE] = "none", [CHOICE_REQUIRED] = "any", [CHOICE_TOOL] = "tool",
    };
    const struct prompt *p = r->p;
    struct json_writer *w = &r->w;
    bool is_found = false;
    size_t start = w->out->len;
    bool comma = w->need_comma;
    put_open(w, S("tools"), '[');
    size_t first = w->out->len;
    for (uint32_t i = 0; i < p->n_tools; i++) {
        if (!prompt_allows(p, p->tools[i].name))
            continue;
        tool_write(r, &p->tools[i], i);
        is_found |= p->n_chosen && p->tools[i].kind != TOOL_HOSTED && str_eq(p->tools[i].name, p->chosen[0]);
    }
    bool has_tools = w->out->len > first, is_placeholder = false;
    if (!has_tools && !r->is_own)
        is_placeholder = placeholders_write(r) > 0;
    jw_end(w, ']');
    if (!has_tools && !is_placeholder && (!r->is_own || p->n_tools == 0)) {
        w->out->len = start;
        w->need_comma = comma;
    }
    if (p->n_chosen && p->choice != CHOICE_TOOL)
        translation_warn(r->t, knob_name(p, KNOB_TOOL_CHOICE), "approximated");
    if (r->is_own) {
        if (p->choice != CHOICE_UNSET)
            choice_write(r, types[p->choice]);
        return 0;
    }
    if (p->choice == CHOICE_TOOL ? !is_found || !has_tools : p->choice == CHOICE_REQUIRED && !has_tools)
        return refuse_at(r->t, knob_name(p, KNOB_TOOL_CHOICE), "the forced tool is none of those that can be sent");
    if (is_placeholder)
        put_given(w, S("tool_choice"), S("{\"type\":\"none\"}"));
    else if (has_tools && p->choice == CHOICE_NONE)
        put_given(w, S("tool_choice"), S("{\"type\":\"none\"}"));
    else if (has_tools && p->choice != CHOICE_UNSET)
        choice_write(r, types[p->choice]);
    else if (has_tools && p->parallel_tool_calls == 0)
        choice_write(r, types[CHOICE_AUTO]);
    return 0;
}

/* ---- thinking ---- */

/* Efforts of all dialects: Anthropic's word, and tokens to think with for models that count them. */
static const struct { str effort, word; int64_t budget; } efforts[] = {
    { S("minimal"), S("low"), 1024 }, { S("low"), S("low"), 2048 }, { S("medium"), S("medium"), 8192 },
    { S("high"), S("high"), 16384 }, { S("xhigh"), S("xhigh"), 32768 }, { S("max"), S("max"), 49152 },
};

static int effort_of(str effort)
{
    for (size_t i = 0; i < COUNT_OF(efforts); i++)
        if (str_eq(efforts[i].effort, effort))
            return (int)i;
    return -1;
}

static int effort_for_budget(int64_t budget)
{
    int i = 1;
    while (i + 1 < (int)COUNT_OF(efforts) && efforts[i].budget < budget)
        i++;
    return i;
}

/* Does the running tool loop hold calls that no thought precedes? Models with a budget refuse to think on top of them. */
static bool loop_lacks_thought(const struct prompt *p)
{
    for (uint32_t i = p->n_turns; i-- > 0; ) {
        const struct turn *turn = &p->turns[i];
        bool has_result = false, has_call = false, has_thought = false;
        for (uint32_t k = 0; k < turn->n; k++) {
            const struct block *b = &turn->blocks[k];
            has_result |= b->kind == BLOCK_TOOL_RESULT;
            has_call |= b->kind == BLOCK_TOOL_CALL;
            has_thought |= ((b->kind == BLOCK_REASONING && b->signature.len) || b->kind == BLOCK_SEALED_REASONING) &&
                           !anthropic_origin(b, p->dialect).len;
        }
        if (turn->role == ROLE_ASSISTANT)
            return has_call && !has_thought;
        if (!has_result && !turn_is_system(turn))
            return false;
    }
    return false;
}

/* A budget within max_tokens. One that we chose leaves a quarter for the answer. 0: there is no room. */
static int64_t budget_within(int64_t max_tokens, int64_t budget, bool is_ours)
{
    int64_t most = is_ours ? max_tokens / 4 * 3 : max_tokens - 1;
    if (most < BUDGET_MIN)
        most = max_tokens - 1;
    if (budget < BUDGET_MIN)
        budget = BUDGET_MIN;
    if (budget > most)
        budget = most;
    return budget < BUDGET_MIN ? 0 : budget;
}

struct thinking anthropic_thinking(const struct prompt *p, const struct target *to, struct translation *t, bool is_own,
                                   int64_t max_tokens)
{
    str knob = knob_name(p, KNOB_REASONING);
    int level = effort_of(p->reasoning_effort);
    bool is_off = p->reasoning == REASONING_OFF || str_eq(p->reasoning_effort, S("none"));
    bool is_wanted = p->reasoning == REASONING_ON || p->reasoning == REASONING_ADAPTIVE || level >= 0;
    if (is_own && !(to->is_legacy_reasoning && (p->reasoning == REASONING_ADAPTIVE || p->reasoning_effort.len))) {
        static const char *const types[] = { NULL, "disabled", "enabled", "adaptive" };
        return (struct thinking){ types[p->reasoning], p->reasoning_budget, p->reasoning_effort };
    }
    if (is_own && p->reasoning != REASONING_ADAPTIVE) {      /* an older model: effort alone is nothing to it */
        static const char *const types[] = { NULL, "disabled", "enabled", NULL };
        translation_warn(t, S("output_config.effort"), "dropped");
        return (struct thinking){ types[p->reasoning], p->reasoning_budget, S("") };
    }
    if (is_off)
        return (struct thinking){ .type = "disabled" };
    if (!is_wanted) {
        if (p->reasoning_effort.len)
            translation_warn(t, knob, "dropped");            /* a word we do not know */
        return (struct thinking){ 0 };
    }
    if (!is_own && (p->choice == CHOICE_REQUIRED || p->choice == CHOICE_TOOL)) {     /* the API takes one of the two */
        translation_warn(t, knob, "dropped");
        return (struct thinking){ 0 };
    }
    if (!to->is_legacy_reasoning) {
        if (level < 0 && p->reasoning_budget > 0) {
            level = effort_for_budget(p->reasoning_budget);
            translation_warn(t, knob, "approximated");
        } else if (level == 0) {
            translation_warn(t, knob, "clamped");
        }
        return (struct thinking){ .type = "adaptive", .effort = level >= 0 ? efforts[level].word : S("") };
    }
    bool is_ours = p->reasoning_budget <= 0;
    int64_t budget = budget_within(max_tokens, is_ours ? efforts[level >= 0 ? level : 3].budget : p->reasoning_budget, is_ours);
    if (budget == 0 || (!is_own && loop_lacks_thought(p))) {
        translation_warn(t, knob, "dropped");
        return (struct thinking){ 0 };
    }
    if (is_own)
        translation_warn(t, knob, "approximated");
    else if (!is_ours && budget != p->reasoning_budget)
        translation_warn(t, knob, "clamped");
    return (struct thinking){ .type = "enabled", .budget = budget };
}

void anthropic_thinking_write(struct json_writer *w, const struct thinking *k, const struct prompt *p, bool is_own)
{
    if (!k->type)
        return;
    put_open(w, S("thinking"), '{');
    put_str(w, S("type"), str_of(k->type));
    if (k->budget > 0 && strcmp(k->type, "enabled") == 0)
        put_int(w, S("budget_tokens"), k->budget);
    if (p->reasoning_summary.len && strcmp(k->type, "disabled") != 0)
        put_str(w, S("display"), str_eq(p->reasoning_summary, S("none")) ? S("omitted") : S("summarized"));
    if (is_own)
        rest_write(w, &p->rest, S("thinking"), NULL, 0);
    jw_end(w, '}');
}

static void output_write(struct writing *r, str effort)
{
    const struct prompt *p = r->p;
    struct json_writer *w = &r->w;
    bool has_schema = p->output == OUTPUT_JSON_SCHEMA && !r->to->lacks_json_schema;
    bool has_rest = r->is_own && rest_has(&p->rest, S("output_config"));
    if (!effort.len && !has_schema && !has_rest)
        return;
    put_open(w, S("output_config"), '{');
    put_text(w, S("effort"), effort);
    if (has_schema) {
        put_open(w, S("format"), '{');
        put_str(w, S("type"), S("json_schema"));
        put_given(w, S("schema"), r->is_own ? p->schema : schema_as_object(r->t->a, p->schema, true));
        jw_end(w, '}');
    }
    if (has_rest)
        rest_write(w, &p->rest, S("output_config"), NULL, 0);
    jw_end(w, '}');
}

/* ---- sampling and the rest ---- */

static void sampling_write(struct writing *r)
{
    const struct prompt *p = r->p;
    struct json_writer *w = &r->w;
    double temperature = p->temperature, top_p = p->top_p;
    int64_t top_k = p->top_k;
    if (!r->is_own && temperature > 1) {
        temperature = 1;
        translation_warn(r->t, knob_name(p, KNOB_TEMPERATURE), "clamped");
    }
    if (!r->is_own && r->thinks) {              /* a thinking model samples at temperature 1, from most of the mass */
        if (isfinite(temperature) && temperature < 1) {
            temperature = (double)NAN;
            translation_warn(r->t, knob_name(p, KNOB_TEMPERATURE), "dropped");
        }
        if (isfinite(top_p) && top_p < 0.95) {
            top_p = (double)NAN;
            translation_warn(r->t, knob_name(p, KNOB_TOP_P), "dropped");
        }
        if (top_k >= 0) {
            top_k = -1;
            translation_warn(r->t, knob_name(p, KNOB_TOP_K), "dropped");
        }
    }
    put_number(w, S("temperature"), temperature);
    put_number(w, S("top_p"), top_p);
    if (top_k >= 0)
        put_int(w, S("top_k"), top_k);
    stop_sequences_write(w, S("stop_sequences"), p, r->is_own, r->t);
}

static void account_write(struct writing *r)
{
    static const struct { str from, to; } tiers[] = {
        { S("auto"), S("auto") }, { S("standard_only"), S("standard_only") }, { S("default"), S("standard_only") },
    };
    const struct prompt *p = r->p;
    struct json_writer *w = &r->w;
    bool has_rest = r->is_own && rest_has(&p->rest, S("metadata"));
    if (p->user.len || has_rest) {
        put_open(w, S("metadata"), '{');
        if (p->user.len)
            put_str(w, S("user_id"), p->user);
        if (has_rest)
            rest_write(w, &p->rest, S("metadata"), NULL, 0);
        jw_end(w, '}');
    }
    if (p->metadata.len && !str_eq(p->metadata, S("{}")))
        translation_warn(r->t, knob_name(p, KNOB_METADATA), "dropped");
    if (!p->service_tier.len || r->envelope == ENVELOPE_INVOKE || r->to->anthropic_version.len) {
        if (p->service_tier.len)
            translation_warn(r->t, knob_name(p, KNOB_SERVICE_TIER), "dropped");
        return;
    }
    for (size_t i = 0; i < COUNT_OF(tiers); i++) {
        if (str_eq(tiers[i].from, p->service_tier)) {
            put_str(w, S("service_tier"), tiers[i].to);
            return;
        }
    }
    if (r->is_own)
        put_str(w, S("service_tier"), p->service_tier);
    else
        translation_warn(r->t, knob_name(p, KNOB_SERVICE_TIER), "dropped");
}

/* Members that only Anthropic's own API knows, always or without a beta; Bedrock and Vertex refuse what they do not know. */
static const struct { str key, beta; } own_api_only[] = {
    { S("container"), S("") }, { S("mcp_servers"), S("") }, { S("inference_geo"), S("") }, { S("speed"), S("") },
    { S("diagnostics"), S("") }, { S("user_profile_id"), S("") }, { S("workspace_id"), S("") },
    { S("context_management"), S("context-management-") },
};

static bool is_known_there(const struct target *to, str key)
{
    for (size_t i = 0; i < COUNT_OF(own_api_only); i++)
        if (str_eq(own_api_only[i].key, key))
            return own_api_only[i].beta.len && str_find(to->anthropic_betas, own_api_only[i].beta) >= 0;
    return true;
}

static void own_rest_write(struct writing *r)
{
    static const str nested[] = { S("thinking"), S("output_config"), S("tool_choice"), S("metadata") };
    struct members kept = { 0 };
    for (size_t i = 0; i < r->p->rest.n; i++) {
        const struct member *m = &r->p->rest.items[i];
        if (r->to->anthropic_version.len && !is_known_there(r->to, m->key))
            translation_warn(r->t, m->key, "dropped");
        else if (!str_eq(m->key, S("max_tokens")))
            members_add(&kept, r->t->a, m->key, m->raw);
    }
    rest_write(&r->w, &kept, S(""), nested, COUNT_OF(nested));
}

/* Betas that Bedrock knows (its user guide, Anthropic Claude Messages API); it refuses a request that names another. */
static const str bedrock_betas[] = {
    S("computer-use-2024-10-22"), S("computer-use-2025-01-24"), S("computer-use-2025-11-24"),
    S("token-efficient-tools-2025-02-19"), S("interleaved-thinking-2025-05-14"), S("output-128k-2025-02-19"),
    S("dev-full-thinking-2025-05-14"), S("context-1m-2025-08-07"), S("context-management-2025-06-27"), S("effort-2025-11-24"),
    S("tool-search-tool-2025-10-19"), S("tool-examples-2025-10-29"), S("fine-grained-tool-streaming-2025-05-14"),
    S("compact-2026-01-12"),
};

void anthropic_betas_write(struct json_writer *w, const struct target *to, struct translation *t)
{
    str list = to->anthropic_betas;
    uint32_t n = 0;
    while (list.len) {
        str beta = str_trim(str_cut(&list, ','));
        size_t k = 0;
        while (k < COUNT_OF(bedrock_betas) && !str_eq(bedrock_betas[k], beta))
            k++;
        if (k == COUNT_OF(bedrock_betas)) {
            if (beta.len)
                translation_warn(t, arena_printf(t->a, "anthropic-beta: " STR_FMT, STR_ARG(beta)), "dropped");
            continue;
        }
        if (n++ == 0) {
            put_open(w, S("anthropic_beta"), '[');
        }
        jw_str(w, beta);
    }
    if (n)
        jw_end(w, ']');
}

int anthropic_request_write_as(const struct prompt *p, const struct target *to, struct translation *t, enum envelope envelope,
                               struct buf *out)
{
    struct writing r = {
        .w = { .out = out }, .p = p, .to = to, .t = t, .is_own = p->dialect == &dialect_anthropic, .envelope = envelope,
        .max_tokens = p->max_tokens,
    };
    r.lifts_system = !r.is_own || envelope == ENVELOPE_INVOKE;
    struct json_writer *w = &r.w;
    const struct member *none = r.is_own ? rest_find(&p->rest, S("max_tokens")) : NULL;
    if (r.max_tokens <= 0 && !none)
        r.max_tokens = to->default_max_tokens > 0 ? to->default_max_tokens : DEFAULT_MAX_TOKENS;
    if (!r.is_own && prompt_lose_foreign(p, to, t) < 0)
        return -1;
    jw_begin(w, '{');
    if (to->anthropic_version.len)
        put_str(w, S("anthropic_version"), to->anthropic_version);
    else
        put_str(w, S("model"), to->model);
    if (envelope == ENVELOPE_INVOKE)
        anthropic_betas_write(w, to, t);
    struct thinking thinking = anthropic_thinking(p, to, t, r.is_own, r.max_tokens);
    r.thinks = thinking.type && strcmp(thinking.type, "disabled") != 0;
    put_int(w, S("max_tokens"), r.max_tokens);
    if (system_write(&r) < 0 || tools_write(&r) < 0 || messages_write(&r) < 0)
        return -1;
    anthropic_thinking_write(w, &thinking, p, r.is_own);
    output_write(&r, thinking.effort);
    sampling_write(&r);
    account_write(&r);
    if (p->is_streaming && envelope != ENVELOPE_INVOKE) {
        put_bool(w, S("stream"), true);
    }
    if (r.is_own)
        own_rest_write(&r);
    jw_end(w, '}');
    return 0;
}

/* ---- answers ---- */

void anthropic_usage_write(struct json_writer *w, const struct usage *u, str service_tier, const struct members *rest)
{
    int64_t fresh = u->prompt_tokens - u->cached_tokens - u->cache_write_tokens;
    jw_begin(w, '{');
    put_int(w, S("input_tokens"), fresh > 0 ? fresh : 0);
    put_int(w, S("cache_creation_input_tokens"), u->cache_write_tokens);
    put_int(w, S("cache_read_input_tokens"), u->cached_tokens);
    if (u->cache_write_tokens > 0 || u->splits_cache_write) {
        int64_t hour = u->cache_write_1h_tokens < u->cache_write_tokens ? u->cache_write_1h_tokens : u->cache_write_tokens;
        put_open(w, S("cache_creation"), '{');
        put_int(w, S("ephemeral_5m_input_tokens"), u->cache_write_tokens - hour);
        put_int(w, S("ephemeral_1h_input_tokens"), hour);
        jw_end(w, '}');
    }
    put_int(w, S("output_tokens"), u->completion_tokens);
    if (u->reasoning_tokens > 0) {
        put_open(w, S("output_tokens_details"), '{');
        put_int(w, S("thinking_tokens"), u->reasoning_tokens);
        jw_end(w, '}');
    }
    if ((rest && service_tier.len) || str_eq(service_tier, S("standard")) || str_eq(service_tier, S("priority")) ||
        str_eq(service_tier, S("batch")))
        put_str(w, S("service_tier"), service_tier);
    else if (str_eq(service_tier, S("default")))
        put_str(w, S("service_tier"), S("standard"));
    if (rest)
        rest_write(w, rest, S("usage"), NULL, 0);
    jw_end(w, '}');
}

/* Sealed reasoning of others in Anthropic's own place for such things. */
static str opaque_of(const struct block *b, const struct answer_context *c, const struct dialect_ops *from)
{
    str origin = anthropic_origin(b, from);
    str opaque = b->kind == BLOCK_SEALED_REASONING ? b->sealed : b->signature;
    if (!origin.len || !opaque.len)
        return opaque;
    return anthropic_wrap(c->a, origin, b->kind == BLOCK_SEALED_REASONING ? "sealed" : "thought", opaque);
}

static void input_write(struct json_writer *w, const struct block *b, const struct answer_context *c)
{
    str input;
    jw_key(w, S("input"));
    if (arguments_as_object(c->a, b, &input)) {
        jw_raw(w, input);
        return;
    }
    jw_begin(w, '{');                           /* cut off by max_tokens, or never JSON: what there is, told as such */
    put_str(w, S("raw_arguments"), b->arguments);
    jw_end(w, '}');
}

void anthropic_block_write(struct json_writer *w, const struct block *b, const struct answer_context *c,
                           const struct dialect_ops *from, bool is_start)
{
    bool is_own = from == &dialect_anthropic;
    if (b->kind == BLOCK_OTHER) {
        jw_raw(w, b->raw);
        return;
    }
    jw_begin(w, '{');
    switch (b->kind) {
    case BLOCK_TOOL_CALL:
        put_str(w, S("type"), S("tool_use"));
        put_str(w, S("id"), c->translation ? translation_name_back(c->translation, b->call_id) : b->call_id);
        put_str(w, S("name"), c->translation ? translation_name_back(c->translation, b->name) : b->name);
        if (is_start)
            put_given(w, S("input"), S("{}"));
        else
            input_write(w, b, c);
        break;
    case BLOCK_REASONING:
        put_str(w, S("type"), S("thinking"));
        put_str(w, S("thinking"), is_start ? S("") : b->text);
        put_str(w, S("signature"), is_start ? S("") : opaque_of(b, c, from));
        break;
    case BLOCK_SEALED_REASONING:
        put_str(w, S("type"), S("redacted_thinking"));
        put_str(w, S("data"), opaque_of(b, c, from));
        break;
    case BLOCK_IMAGE:
    case BLOCK_AUDIO:
    case BLOCK_FILE: {                          /* answers hold none: say so instead of hiding it */
        const char *what = b->kind == BLOCK_IMAGE ? "image" : b->kind == BLOCK_AUDIO ? "audio" : "file";
        put_str(w, S("type"), S("text"));
        put_str(w, S("text"), is_start ? S("")
                              : arena_printf(c->a, "[%s in the answer: the Messages API has no place for it]", what));
        break;
    }
    default:
        put_str(w, S("type"), S("text"));
        put_str(w, S("text"), is_start ? S("") : b->text);
        if (is_own)
            put_given(w, S("citations"), is_start && b->citations.len ? S("[]") : b->citations);
        break;
    }
    if (is_own)
        rest_write(w, &b->rest, S(""), &S("source"), 1);
    jw_end(w, '}');
}

static void signature_write(struct json_writer *w, const struct block *b, const struct answer_context *c,
                            const struct dialect_ops *from)
{
    str origin = anthropic_origin(b, from);
    if (!b->signature.len || !origin.len || b->kind == BLOCK_REASONING || b->kind == BLOCK_SEALED_REASONING)
        return;
    struct block envelope = { .kind = BLOCK_SEALED_REASONING, .sealed = anthropic_wrap(c->a, origin, "next", b->signature) };
    anthropic_block_write(w, &envelope, c, &dialect_anthropic, false);
}

/* The stop reason a Messages client must see: calls say tool_use, refusals say refusal, whatever the provider said. */
static str stop_of(const struct reply *r)
{
    bool has_call = false, has_refusal = false;
    for (uint32_t i = 0; i < r->n; i++) {
        has_call |= r->blocks[i].kind == BLOCK_TOOL_CALL;
        has_refusal |= r->blocks[i].kind == BLOCK_REFUSAL;
    }
    bool is_end = r->stop == STOP_END || r->stop == STOP_UNKNOWN || r->stop == STOP_MALFORMED;
    if (is_end && has_call)
        return S("tool_use");
    if (is_end && has_refusal)
        return S("refusal");
    str name = anthropic_stop_name(r->stop);
    return name.len ? name : S("end_turn");
}

void anthropic_reply_write(const struct reply *r, const struct answer_context *c, struct buf *out)
{
    static const str nested[] = { S("usage") };
    struct json_writer w = { .out = out };
    bool is_own = r->dialect == &dialect_anthropic;
    struct usage estimate = { .prompt_tokens = c->prompt_tokens };
    jw_begin(&w, '{');
    put_str(&w, S("id"), r->id.len ? r->id : arena_printf(c->a, "msg_" STR_FMT, STR_ARG(c->request_id)));
    put_str(&w, S("type"), S("message"));
    put_str(&w, S("role"), S("assistant"));
    put_str(&w, S("model"), r->model.len ? r->model : c->model);
    put_open(&w, S("content"), '[');
    for (uint32_t i = 0; i < r->n; i++) {
        const struct block *b = &r->blocks[i];
        if ((b->kind == BLOCK_TEXT || b->kind == BLOCK_REFUSAL) && !b->text.len && !is_own)
            continue;
        if (b->kind == BLOCK_OTHER && !is_own)
            continue;                           /* the provider ran it; its result is in the text */
        signature_write(&w, b, c, r->dialect);
        anthropic_block_write(&w, b, c, r->dialect, false);
    }
    jw_end(&w, ']');
    jw_key(&w, S("stop_reason"));
    if (is_own && r->stop_text.len)
        jw_str(&w, r->stop_text);
    else
        jw_str(&w, stop_of(r));
    jw_key(&w, S("stop_sequence"));
    if (r->stop_sequence.len)
        jw_str(&w, r->stop_sequence);
    else
        jw_null(&w);
    jw_key(&w, S("usage"));
    anthropic_usage_write(&w, r->usage.prompt_tokens || r->usage.completion_tokens || r->usage.is_known ? &r->usage : &estimate,
                          r->service_tier, is_own ? &r->rest : NULL);
    if (is_own)
        rest_write(&w, &r->rest, S(""), nested, 1);
    jw_end(&w, '}');
}
