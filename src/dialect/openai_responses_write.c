/* dialect/openai_responses_write.c -- canonical requests and answers as the Responses API spells them.
 *
 * A request of another dialect is stateless here: it is sent with `store: false`, and a model that reasons is asked for its
 * encrypted reasoning, so that the next turn can bring it back. An answer repeats the request's parameters (the "echo"), which is
 * made once and pasted into every event that carries the whole response. */
#include "dialect/openai_responses.h"

#include <stdio.h>

#include "base/hash.h"
#include "dialect/anthropic_parts.h"
#include "dialect/put.h"

enum {
    NAME_MAX_BYTES = 64,                /* of tools and call ids; OpenAI refuses longer ones */
    USER_MAX_BYTES = 64,
    TOKENS_MIN = 16,                    /* of max_output_tokens */
};

static bool is_own(const struct dialect_ops *d)
{
    return d == &dialect_openai_responses;
}

/* OpenAI's own opaque reasoning, or that of somebody else? Its tokens are Fernet (version byte 0x80, then a time stamp whose high
 * bytes are zero): all begin like this. A prompt that came in another dialect may hold unmarked data of any family. */
static bool is_fernet(str s)
{
    return str_starts(s, S("gAAAA"));
}

/* ---- tools ---- */

static str namespace_of(const struct tool *t)
{
    const struct member *m = rest_find(&t->rest, S("namespace"));
    return m && m->raw.len && m->raw.ptr[0] == '{' ? m->raw : S("");
}

static str namespace_name(struct arena *a, str head)
{
    struct json j;
    return head.len && json_parse(a, head, &j, NULL) == 0 ? json_str(&j, json_get(&j, 0, S("name")), a) : S("");
}

/* "space__name" -> "name" */
static str without_space(str name, str space)
{
    bool has = space.len && name.len > space.len + 2 && str_starts(name, space) && str_starts(str_from(name, space.len), S("__"));
    return has ? str_from(name, space.len + 2) : name;
}

static void rest_except(const struct members *rest, str except, str also, struct json_writer *w)
{
    for (size_t i = 0; i < rest->n; i++)
        if (!str_eq(rest->items[i].key, except) && !str_eq(rest->items[i].key, also))
            put_raw(w, rest->items[i].key, rest->items[i].raw);
}

/* Chat nests a grammar, this dialect does not. */
static void format_write(struct arena *a, str format, struct json_writer *w)
{
    struct json j;
    bool is_object = json_parse(a, format, &j, NULL) == 0 && json_is(&j, 0, JSON_OBJECT);
    jref grammar = is_object ? json_get(&j, 0, S("grammar")) : JSON_NONE;
    if (!is_object || !json_is(&j, grammar, JSON_OBJECT)) {
        put_raw(w, S("format"), format);
        return;
    }
    put_open(w, S("format"), '{');
    put_str(w, S("type"), S("grammar"));
    JSON_EACH_PAIR(&j, grammar, key, value)
        put_raw(w, json_str(&j, key, a), json_raw(&j, value));
    jw_end(w, '}');
}

struct tool_style { bool is_own, is_echo, lacks_strict; };

static void tool_write(struct arena *a, const struct tool *t, str name, struct tool_style style, struct json_writer *w)
{
    jw_begin(w, '{');
    put_str(w, S("type"), t->kind == TOOL_CUSTOM ? S("custom") : S("function"));
    put_str(w, S("name"), name);
    put_text(w, S("description"), t->description);
    if (t->kind == TOOL_CUSTOM) {
        if (t->format.len)
            format_write(a, t->format, w);
    } else {
        if (t->parameters.len)
            put_raw(w, S("parameters"), t->parameters);
        else if (style.is_echo)
            put_null(w, S("parameters"));
        else if (!style.is_own)
            put_raw(w, S("parameters"), S("{\"type\":\"object\",\"properties\":{}}"));
        if (!style.lacks_strict && t->strict >= 0)
            put_bool(w, S("strict"), t->strict);
        else if (style.is_echo)
            put_null(w, S("strict"));
        else if (!style.is_own && !style.lacks_strict)
            put_bool(w, S("strict"), false);            /* left out it means true here and false everywhere else */
    }
    if (style.is_own)
        rest_except(&t->rest, S("namespace"), S(""), w);
    jw_end(w, '}');
}

/* Tools that came out of one namespace go back into it. */
static uint32_t namespace_write(struct arena *a, const struct prompt *p, uint32_t at, struct tool_style style,
                                struct json_writer *w)
{
    str head = namespace_of(&p->tools[at]), space = namespace_name(a, head);
    jw_begin(w, '{');
    buf_str(w->out, str_from(str_upto(head, head.len - 1), 1));
    w->need_comma = head.len > 2;
    put_open(w, S("tools"), '[');
    for (; at < p->n_tools && str_eq(namespace_of(&p->tools[at]), head); at++)
        tool_write(a, &p->tools[at], without_space(p->tools[at].name, space), style, w);
    jw_end(w, ']');
    jw_end(w, '}');
    return at;
}

static bool is_web_search(str type)
{
    return str_starts(type, S("web_search")) || str_eq(type, S("googleSearch")) || str_eq(type, S("google_search"));
}

static void tools_write(const struct prompt *p, const struct target *to, struct translation *t, struct json_writer *w)
{
    struct tool_style style = { .is_own = is_own(p->dialect), .lacks_strict = to->lacks_strict };
    put_open(w, S("tools"), '[');
    for (uint32_t i = 0; i < p->n_tools; ) {
        const struct tool *tool = &p->tools[i];
        if (style.is_own && namespace_of(tool).len) {
            i = namespace_write(t->a, p, i, style, w);
            continue;
        }
        i++;
        if (tool->kind != TOOL_HOSTED) {
            tool_write(t->a, tool, translation_rename(t, tool->name, NAME_MAX_BYTES, "_-"), style, w);
        } else if (style.is_own) {
            jw_raw(w, tool->raw);
        } else if (is_web_search(tool->raw_type)) {
            jw_raw(w, S("{\"type\":\"web_search\"}"));
            translation_warn(t, arena_printf(t->a, "tools[%u]", i - 1), "approximated");
        } else {                                /* a tool that the client's own provider runs */
            translation_warn(t, arena_printf(t->a, "tools[%u]", i - 1), "dropped");
        }
    }
    jw_end(w, ']');
}

static const struct tool *tool_by_name(const struct prompt *p, str name)
{
    for (uint32_t i = 0; p && i < p->n_tools; i++)
        if (p->tools[i].kind != TOOL_HOSTED && str_eq(p->tools[i].name, name))
            return &p->tools[i];
    return NULL;
}

static void choice_tool(struct arena *a, const struct prompt *p, struct translation *t, str name, struct json_writer *w)
{
    const struct tool *tool = tool_by_name(p, name);
    str space = tool && is_own(p->dialect) ? namespace_name(a, namespace_of(tool)) : S("");
    jw_begin(w, '{');
    put_str(w, S("type"), tool && tool->kind == TOOL_CUSTOM ? S("custom") : S("function"));
    put_str(w, S("name"), space.len ? without_space(name, space) : t ? translation_rename(t, name, NAME_MAX_BYTES, "_-") : name);
    put_text(w, S("namespace"), space);
    jw_end(w, '}');
}

static void choice_write(struct arena *a, const struct prompt *p, struct translation *t, struct json_writer *w)
{
    static const char *const words[] = { [CHOICE_AUTO] = "auto", [CHOICE_NONE] = "none", [CHOICE_REQUIRED] = "required" };
    if (p->choice == CHOICE_TOOL && p->n_chosen) {
        choice_tool(a, p, t, p->chosen[0], w);
    } else if (p->n_chosen && p->choice != CHOICE_NONE) {
        jw_begin(w, '{');
        put_str(w, S("type"), S("allowed_tools"));
        put_str(w, S("mode"), p->choice == CHOICE_REQUIRED ? S("required") : S("auto"));
        put_open(w, S("tools"), '[');
        for (uint32_t i = 0; i < p->n_chosen; i++)
            choice_tool(a, p, t, p->chosen[i], w);
        jw_end(w, ']');
        jw_end(w, '}');
    } else {
        jw_str(w, str_of(p->choice == CHOICE_UNSET || p->choice == CHOICE_TOOL ? "auto" : words[p->choice]));
    }
}

static int choice_check(const struct prompt *p, struct translation *t)
{
    for (uint32_t i = 0; !is_own(p->dialect) && i < p->n_chosen; i++)
        if (!tool_by_name(p, p->chosen[i]))
            return translation_refuse(t, knob_name(p, KNOB_TOOL_CHOICE), "there is no tool called '" STR_FMT "'",
                                      STR_ARG(p->chosen[i]));
    return 0;
}

/* ---- input ---- */

struct input {
    const struct prompt *p;
    const struct target *to;
    struct translation *t;
    struct json_writer *w;
    bool is_own, has_warned_cache;
    uint32_t turn;
};

static str here(const struct input *in, uint32_t block)
{
    return block_place(in->p, in->t->a, in->turn, block);
}

/* What this dialect has no member for, in a block of another one. */
static void block_warn(struct input *in, const struct block *b)
{
    if (in->is_own)
        return;
    if (b->cache_control.len && !in->has_warned_cache) {
        translation_warn(in->t, S("cache_control"), "dropped");
        in->has_warned_cache = true;
    }
    for (size_t i = 0; i < b->rest.n; i++)
        translation_warn(in->t, b->rest.items[i].key, "dropped");
}

static void text_write(struct input *in, const struct block *b, bool is_answer)
{
    struct json_writer *w = in->w;
    jw_begin(w, '{');
    if (b->kind == BLOCK_REFUSAL) {
        put_str(w, S("type"), S("refusal"));
        put_str(w, S("refusal"), b->text);
    } else {
        put_str(w, S("type"), is_answer ? S("output_text") : S("input_text"));
        put_str(w, S("text"), b->text);
        if (in->is_own && is_answer && (b->citations.len || in->p->turns[in->turn].item_id.len))
            put_raw(w, S("annotations"), b->citations.len ? b->citations : S("[]"));
    }
    if (in->is_own)
        members_write(&b->rest, w);
    jw_end(w, '}');
}

static int media_lose(struct input *in, uint32_t at, const char *what)
{
    return translation_lose(in->t, in->to, here(in, at), what);
}

static bool knows_file_ids(const struct input *in)
{
    return in->is_own || strcmp(in->p->dialect->name, "openai_chat") == 0;
}

static int image_write(struct input *in, const struct block *b, uint32_t at)
{
    const struct media *m = &b->media;
    struct json_writer *w = in->w;
    if (m->file_id.len && !knows_file_ids(in))
        return media_lose(in, at, "a file that another provider holds");
    jw_begin(w, '{');
    put_str(w, S("type"), S("input_image"));
    if (m->data.len) {
        struct media known = *m;
        if (!known.media_type.len)
            known.media_type = media_sniff(m->data);
        put_str(w, S("image_url"), media_data_url(&known, in->t->a));
    }
    put_text(w, S("image_url"), m->url);
    put_text(w, S("file_id"), m->file_id);
    put_text(w, S("detail"), m->detail.len || in->is_own ? m->detail : S("auto"));
    if (in->is_own)
        members_write(&b->rest, w);
    jw_end(w, '}');
    return 0;
}

static int file_write(struct input *in, const struct block *b, uint32_t at)
{
    const struct media *m = &b->media;
    struct json_writer *w = in->w;
    if (m->file_id.len && !knows_file_ids(in))
        return media_lose(in, at, "a file that another provider holds");
    jw_begin(w, '{');
    if (m->text.len) {                          /* a document of plain text: there is no such part */
        str head = m->name.len ? arena_printf(in->t->a, STR_FMT ":\n", STR_ARG(m->name)) : S("");
        struct buf text = { 0 };
        buf_str(&text, head);
        buf_str(&text, m->text);
        put_str(w, S("type"), S("input_text"));
        put_str(w, S("text"), buf_to_arena(&text, in->t->a));
        jw_end(w, '}');
        translation_warn(in->t, here(in, at), "approximated");
        return 0;
    }
    put_str(w, S("type"), S("input_file"));
    if (m->data.len) {
        put_text(w, S("filename"), m->name.len || in->is_own ? m->name : str_ends(m->media_type, S("pdf")) ? S("document.pdf")
                                                                                                           : S("document"));
        put_str(w, S("file_data"), m->media_type.len ? media_data_url(m, in->t->a) : m->data);
    } else {
        put_text(w, S("filename"), in->is_own ? m->name : S(""));
    }
    put_text(w, S("file_url"), m->url);
    put_text(w, S("file_id"), m->file_id);
    put_text(w, S("detail"), m->detail);
    if (in->is_own)
        members_write(&b->rest, w);
    jw_end(w, '}');
    return 0;
}

static int audio_write(struct input *in, const struct block *b, uint32_t at)
{
    const struct media *m = &b->media;
    struct json_writer *w = in->w;
    str format = m->format.len ? m->format
               : str_ends(m->media_type, S("wav")) ? S("wav")
               : str_eq(m->media_type, S("audio/mpeg")) || str_ends(m->media_type, S("mp3")) ? S("mp3") : S("");
    if (!m->data.len || !format.len)
        return media_lose(in, at, "audio that is neither wav nor mp3");
    jw_begin(w, '{');
    put_str(w, S("type"), S("input_audio"));
    put_open(w, S("input_audio"), '{');
    put_str(w, S("data"), m->data);
    put_str(w, S("format"), format);
    jw_end(w, '}');
    if (in->is_own)
        members_write(&b->rest, w);
    jw_end(w, '}');
    return 0;
}

static int part_write(struct input *in, const struct block *b, uint32_t at, bool is_answer)
{
    block_warn(in, b);
    if (is_answer && (b->kind == BLOCK_IMAGE || b->kind == BLOCK_FILE || b->kind == BLOCK_AUDIO))
        return media_lose(in, at, "an image, audio or file in an answer of the model");
    switch (b->kind) {
    case BLOCK_TEXT:
    case BLOCK_REFUSAL:
        text_write(in, b, is_answer);
        return 0;
    case BLOCK_IMAGE: return image_write(in, b, at);
    case BLOCK_FILE:  return file_write(in, b, at);
    case BLOCK_AUDIO: return audio_write(in, b, at);
    default: break;
    }
    if (in->is_own) {
        jw_raw(in->w, b->raw);
        return 0;
    }
    if (in->p->turns[in->turn].role == ROLE_ASSISTANT) {        /* what another provider did for itself */
        translation_warn(in->t, here(in, at), "dropped");
        return 0;
    }
    char *what = arena_cstr(in->t->a, arena_printf(in->t->a, "a " STR_FMT " block", STR_ARG(b->raw_type)));
    return translation_lose(in->t, in->to, here(in, at), what);
}

static bool is_part(enum block_kind k)
{
    return k == BLOCK_TEXT || k == BLOCK_REFUSAL || k == BLOCK_IMAGE || k == BLOCK_AUDIO || k == BLOCK_FILE;
}

/* A hosted call is an item, another unknown value a part of a message. */
static bool is_part_block(const struct block *b, enum role role)
{
    return is_part(b->kind) || (b->kind == BLOCK_OTHER && role != ROLE_ASSISTANT && role != ROLE_TOOL);
}

static bool is_plain_text(const struct block *b)
{
    return b->kind == BLOCK_TEXT && !b->rest.n && !b->citations.len;
}

static int message_write(struct input *in, const struct turn *turn, uint32_t from, uint32_t to)
{
    static const str names[ROLE_N] = {
        [ROLE_SYSTEM] = S("system"), [ROLE_DEVELOPER] = S("developer"), [ROLE_ASSISTANT] = S("assistant"),
    };
    struct json_writer *w = in->w;
    str role = names[turn->role].len ? names[turn->role] : S("user");
    if (turn->role == ROLE_DEVELOPER && in->to->lacks_developer)
        role = S("system");
    jw_begin(w, '{');
    put_str(w, S("type"), S("message"));
    if (in->is_own && turn->item_id.len) {
        put_str(w, S("id"), turn->item_id);
        put_str(w, S("status"), S("completed"));
    } else if (turn->name.len) {
        translation_warn(in->t, S("name"), "dropped");
    }
    put_str(w, S("role"), role);
    jw_key(w, S("content"));
    if (to == from + 1 && is_plain_text(&turn->blocks[from]) && !(in->is_own && turn->item_id.len)) {
        block_warn(in, &turn->blocks[from]);
        jw_str(w, turn->blocks[from].text);
    } else {
        jw_begin(w, '[');
        for (uint32_t i = from; i < to; i++)
            if (part_write(in, &turn->blocks[i], i, turn->role == ROLE_ASSISTANT) < 0)
                return -1;
        jw_end(w, ']');
    }
    if (in->is_own)
        members_write(&turn->rest, w);
    jw_end(w, '}');
    return 0;
}

static str call_id(struct input *in, str id)
{
    return in->is_own ? id : translation_rename(in->t, id, in->to->call_id_max ? in->to->call_id_max : NAME_MAX_BYTES, "_-");
}

static void call_write(struct input *in, const struct block *b)
{
    struct json_writer *w = in->w;
    const struct member *space = in->is_own ? rest_find(&b->rest, S("namespace")) : NULL;
    struct json j;
    str name = b->name;
    if (space && json_parse(in->t->a, space->raw, &j, NULL) == 0)
        name = without_space(name, json_str(&j, 0, in->t->a));
    else if (!in->is_own)
        name = translation_rename(in->t, name, NAME_MAX_BYTES, "_-");
    if (!in->is_own && b->signature.len)
        translation_warn(in->t, S("signature"), "dropped");
    block_warn(in, b);
    jw_begin(w, '{');
    put_str(w, S("type"), b->is_custom ? S("custom_tool_call") : S("function_call"));
    if (in->is_own)
        put_text(w, S("id"), b->item_id);
    put_str(w, S("call_id"), call_id(in, b->call_id));
    put_str(w, S("name"), name);
    bool is_whole = b->arguments.len || b->is_custom || in->is_own;
    put_str(w, b->is_custom ? S("input") : S("arguments"), is_whole ? b->arguments : S("{}"));
    if (in->is_own)
        members_write(&b->rest, w);
    jw_end(w, '}');
}

static int result_write(struct input *in, const struct block *b, uint32_t at)
{
    struct json_writer *w = in->w;
    bool is_text = true;
    for (uint32_t i = 0; i < b->n_content; i++)
        is_text &= in->is_own ? b->n_content == 1 && is_plain_text(&b->content[i]) : b->content[i].kind == BLOCK_TEXT;
    block_warn(in, b);
    jw_begin(w, '{');
    put_str(w, S("type"), b->is_custom ? S("custom_tool_call_output") : S("function_call_output"));
    if (in->is_own)
        put_text(w, S("id"), b->item_id);
    put_str(w, S("call_id"), call_id(in, b->call_id));
    jw_key(w, S("output"));
    if (is_text) {
        struct buf text = { 0 };
        if (b->is_error)
            buf_str(&text, S("Error: "));       /* the format has no mark for it */
        for (uint32_t i = 0; i < b->n_content; i++) {
            if (i)
                buf_char(&text, '\n');
            buf_str(&text, b->content[i].text);
        }
        jw_str(w, buf_view(&text));
        buf_free(&text);
    } else {
        jw_begin(w, '[');
        if (b->is_error)
            jw_raw(w, S("{\"type\":\"input_text\",\"text\":\"Error:\"}"));
        for (uint32_t i = 0; i < b->n_content; i++)
            if (part_write(in, &b->content[i], at, false) < 0)
                return -1;
        jw_end(w, ']');
    }
    if (in->is_own)
        members_write(&b->rest, w);
    jw_end(w, '}');
    return 0;
}

/* Own reasoning goes back as it came. Of others, what OpenAI sealed goes back; thoughts in plain words only to servers that want
 * them. */
static void reasoning_write(struct input *in, const struct block *b)
{
    struct json_writer *w = in->w;
    str sealed = b->kind == BLOCK_SEALED_REASONING ? b->sealed : b->signature;
    bool is_from_here = b->origin.len ? str_eq(b->origin, str_of(dialect_openai_responses.name))
                                      : in->is_own || is_fernet(sealed);
    bool is_plain = b->text.len && in->to->wants_reasoning_content;
    if (!is_from_here)
        sealed = S("");
    bool is_known = in->is_own && is_from_here && (b->item_id.len || rest_find(&b->rest, S("content")));
    if (!sealed.len && !is_plain && !is_known) {
        translation_warn(in->t, S("reasoning"), "dropped");
        return;
    }
    jw_begin(w, '{');
    put_str(w, S("type"), S("reasoning"));
    if (in->is_own)
        put_text(w, S("id"), b->item_id);
    put_open(w, S("summary"), '[');
    if (b->summary.len) {
        str inside = str_trim(str_from(str_upto(b->summary, b->summary.len - 1), 1));
        if (inside.len)
            jw_raw(w, inside);
    } else if (sealed.len && b->text.len) {
        jw_begin(w, '{');
        put_str(w, S("type"), S("summary_text"));
        put_str(w, S("text"), b->text);
        jw_end(w, '}');
    }
    jw_end(w, ']');
    put_text(w, S("encrypted_content"), sealed);
    if (in->is_own && is_from_here) {
        members_write(&b->rest, w);
    } else if (!sealed.len) {
        put_open(w, S("content"), '[');
        jw_begin(w, '{');
        put_str(w, S("type"), S("reasoning_text"));
        put_str(w, S("text"), b->text);
        jw_end(w, '}');
        jw_end(w, ']');
    }
    jw_end(w, '}');
}

static int item_block_write(struct input *in, const struct block *b, uint32_t at)
{
    switch (b->kind) {
    case BLOCK_TOOL_CALL:
        call_write(in, b);
        return 0;
    case BLOCK_TOOL_RESULT:
        return result_write(in, b, at);
    case BLOCK_REASONING:
    case BLOCK_SEALED_REASONING:
        reasoning_write(in, b);
        return 0;
    default:
        return part_write(in, b, at, false);
    }
}

/* Results come before the other parts of their turn: the model's calls wait for them. */
static int turn_write(struct input *in, const struct turn *turn)
{
    for (uint32_t i = 0; turn->role == ROLE_USER && i < turn->n; i++)
        if (turn->blocks[i].kind == BLOCK_TOOL_RESULT && result_write(in, &turn->blocks[i], i) < 0)
            return -1;
    for (uint32_t i = 0, end; i < turn->n; i = end) {
        const struct block *b = &turn->blocks[i];
        end = i + 1;
        if (turn->role == ROLE_USER && b->kind == BLOCK_TOOL_RESULT)
            continue;
        if (!is_part_block(b, turn->role)) {
            if (item_block_write(in, b, i) < 0)
                return -1;
            continue;
        }
        while (end < turn->n && is_part_block(&turn->blocks[end], turn->role))
            end++;
        if (message_write(in, turn, i, end) < 0)
            return -1;
    }
    return 0;
}

static bool is_one_line(const struct prompt *p)
{
    const struct turn *t = p->n_turns == 1 ? &p->turns[0] : NULL;
    return t && t->role == ROLE_USER && t->n == 1 && is_plain_text(&t->blocks[0]) && !t->item_id.len && !t->rest.n &&
           !t->name.len;
}

static int input_write(const struct prompt *p, const struct target *to, struct translation *t, struct json_writer *w)
{
    struct input in = { .p = p, .to = to, .t = t, .w = w, .is_own = is_own(p->dialect) };
    if (is_one_line(p)) {
        block_warn(&in, &p->turns[0].blocks[0]);
        put_str(w, S("input"), p->turns[0].blocks[0].text);
        return 0;
    }
    put_open(w, S("input"), '[');
    for (; in.turn < p->n_turns; in.turn++)
        if (turn_write(&in, &p->turns[in.turn]) < 0)
            return -1;
    jw_end(w, ']');
    return 0;
}

static int instructions_write(const struct prompt *p, const struct target *to, struct translation *t, struct json_writer *w)
{
    struct buf text = { 0 };
    bool has_cache_mark = false;
    int rc = 0;
    for (uint32_t i = 0; i < p->n_system && rc == 0; i++) {
        const struct block *b = &p->system[i];
        has_cache_mark |= b->cache_control.len > 0;
        if (b->kind != BLOCK_TEXT) {
            rc = translation_lose(t, to, knob_name(p, KNOB_SYSTEM), "instructions other than text");
            continue;
        }
        if (text.len && b->text.len)
            buf_str(&text, S("\n\n"));
        buf_str(&text, b->text);
    }
    if (to->lacks_json_schema && p->output == OUTPUT_JSON_SCHEMA) {
        if (text.len)
            buf_str(&text, S("\n\n"));
        buf_str(&text, output_instruction(t->a, p));
    }
    if (has_cache_mark)
        translation_warn(t, S("cache_control"), "dropped");
    put_text(w, S("instructions"), buf_view(&text));
    buf_free(&text);
    return rc;
}

/* ---- settings ---- */

static str effort_of(const struct prompt *p)
{
    if (p->reasoning_effort.len)
        return p->reasoning_effort;
    if (p->reasoning == REASONING_OFF || p->reasoning_budget <= 0)
        return S("");
    return p->reasoning_budget <= 4096 ? S("low") : p->reasoning_budget <= 16384 ? S("medium") : S("high");
}

static void reasoning_settings(const struct prompt *p, struct translation *t, struct json_writer *w)
{
    str effort = effort_of(p);
    bool has_summary = p->reasoning_summary.len && !str_eq(p->reasoning_summary, S("none"));
    bool has_rest = is_own(p->dialect) && rest_has(&p->rest, S("reasoning"));
    if (t && p->reasoning_budget > 0 && !p->reasoning_effort.len)
        translation_warn(t, knob_name(p, KNOB_REASONING), "approximated");
    if (!effort.len && !has_summary && !has_rest)
        return;
    put_open(w, S("reasoning"), '{');
    put_text(w, S("effort"), effort);
    if (has_summary)
        put_str(w, S("summary"), p->reasoning_summary);
    if (has_rest)
        rest_write(w, &p->rest, S("reasoning"), NULL, 0);
    jw_end(w, '}');
}

static void text_settings(const struct prompt *p, bool lacks_schema, struct json_writer *w)
{
    bool own = is_own(p->dialect), has_rest = own && rest_has(&p->rest, S("text"));
    static const str nested[] = { S("text.format") };
    if (p->output == OUTPUT_UNSET && !p->verbosity.len && !has_rest)
        return;
    put_open(w, S("text"), '{');
    if (p->output != OUTPUT_UNSET) {
        bool is_schema = p->output == OUTPUT_JSON_SCHEMA && !lacks_schema;
        put_open(w, S("format"), '{');
        put_str(w, S("type"), is_schema ? S("json_schema") : p->output == OUTPUT_TEXT ? S("text") : S("json_object"));
        if (is_schema) {
            put_str(w, S("name"), p->schema_name.len ? p->schema_name : S("response"));
            put_text(w, S("description"), p->schema_description);
            put_raw(w, S("schema"), p->schema.len ? p->schema : S("{}"));
            put_flag(w, S("strict"), p->schema_strict);
        }
        if (own)
            rest_write(w, &p->rest, S("text.format"), NULL, 0);
        jw_end(w, '}');
    }
    put_text(w, S("verbosity"), p->verbosity);
    if (has_rest)
        rest_write(w, &p->rest, S("text"), nested, COUNT_OF(nested));
    jw_end(w, '}');
}

static void include_write(const struct prompt *p, struct json_writer *w)
{
    bool own = is_own(p->dialect);
    bool reasons = p->reasoning == REASONING_ON || p->reasoning == REASONING_ADAPTIVE;
    bool seals = p->wants_sealed_reasoning || (!own && reasons);
    const struct member *others = own ? rest_find(&p->rest, S("include")) : NULL;
    if (!seals && p->logprobs <= 0 && !others)
        return;
    put_open(w, S("include"), '[');
    if (seals)
        jw_str(w, S("reasoning.encrypted_content"));
    if (p->logprobs > 0)
        jw_str(w, S("message.output_text.logprobs"));
    if (others && others->raw.len > 2)
        jw_raw(w, str_from(str_upto(others->raw, others->raw.len - 1), 1));
    jw_end(w, ']');
}

static void tier_write(const struct prompt *p, struct translation *t, struct json_writer *w)
{
    static const char *const known[] = { "auto", "default", "flex", "scale", "priority", "fast", "ultrafast" };
    if (!p->service_tier.len)
        return;
    if (str_eq(p->service_tier, S("standard_only"))) {      /* Anthropic's word */
        put_str(w, S("service_tier"), S("default"));
        return;
    }
    bool is_known = is_own(p->dialect);
    for (size_t i = 0; i < COUNT_OF(known); i++)
        is_known |= str_eq(p->service_tier, str_of(known[i]));
    if (is_known)
        put_str(w, S("service_tier"), p->service_tier);
    else
        translation_warn(t, knob_name(p, KNOB_SERVICE_TIER), "dropped");
}

static void user_write(const struct prompt *p, struct translation *t, struct json_writer *w)
{
    if (is_own(p->dialect) || p->user.len <= USER_MAX_BYTES) {
        put_text(w, S("user"), p->user);
        return;
    }
    put_str(w, S("user"), arena_printf(t->a, "user_%016llx", (unsigned long long)hash_stable(p->user, 0)));
    translation_warn(t, knob_name(p, KNOB_USER), "approximated");
}

/* Members of chat requests that mean the same here. */
static bool is_shared_with_chat(str key)
{
    static const char *const names[] = { "store", "safety_identifier", "prompt_cache_retention", "prompt_cache_options",
                                         "moderation" };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (str_eq(key, str_of(names[i])))
            return true;
    return false;
}

/* What a prompt of another dialect asks for and this one cannot say. */
static int losses(const struct prompt *p, const struct target *to, struct translation *t)
{
    bool is_chat = strcmp(p->dialect->name, "openai_chat") == 0;
    struct prompt left = *p;                    /* prompt_lose_foreign's losses, less those that are none here */
    left.logprobs = -1;
    left.top_logprobs = -1;
    left.verbosity = left.cache_key = S("");
    left.rest = (struct members){ 0 };
    for (size_t i = 0; i < p->rest.n; i++)
        if (!is_chat || !is_shared_with_chat(p->rest.items[i].key))
            members_add(&left.rest, t->a, p->rest.items[i].key, p->rest.items[i].raw);
    if (prompt_lose_foreign(&left, to, t) < 0)
        return -1;
    if (p->n_stops && translation_lose(t, to, knob_name(p, KNOB_STOP), "stop sequences") < 0)
        return -1;
    if (p->top_k >= 0)
        translation_warn(t, knob_name(p, KNOB_TOP_K), "dropped");
    return choice_check(p, t);
}

int responses_request_write(const struct prompt *p, const struct target *to, struct translation *t, struct buf *out)
{
    struct json_writer writer = { .out = out }, *w = &writer;
    bool own = is_own(p->dialect), is_chat = !own && strcmp(p->dialect->name, "openai_chat") == 0;
    int64_t max_tokens = p->max_tokens;
    if (!own && losses(p, to, t) < 0)
        return -1;
    if (!own && max_tokens > 0 && max_tokens < TOKENS_MIN) {
        max_tokens = TOKENS_MIN;
        translation_warn(t, knob_name(p, KNOB_MAX_TOKENS), "clamped");
    }
    jw_begin(w, '{');
    put_str(w, S("model"), to->model.len ? to->model : p->model);
    if (instructions_write(p, to, t, w) < 0 || ((p->n_turns || !own) && input_write(p, to, t, w) < 0))
        return -1;
    if (p->n_tools)
        tools_write(p, to, t, w);
    if (p->choice != CHOICE_UNSET && (own || p->n_tools)) {
        jw_key(w, S("tool_choice"));
        choice_write(t->a, p, t, w);
    }
    if (!to->lacks_parallel && (own || p->n_tools))
        put_flag(w, S("parallel_tool_calls"), p->parallel_tool_calls);
    put_positive(w, S("max_output_tokens"), max_tokens);
    put_number(w, S("temperature"), p->temperature);
    put_number(w, S("top_p"), p->top_p);
    if (p->top_logprobs >= 0)
        put_int(w, S("top_logprobs"), p->top_logprobs);
    reasoning_settings(p, t, w);
    text_settings(p, to->lacks_json_schema, w);
    include_write(p, w);
    user_write(p, t, w);
    put_text(w, S("prompt_cache_key"), p->cache_key);
    tier_write(p, t, w);
    if (own || is_chat)
        put_given(w, S("metadata"), p->metadata);
    else if (p->metadata.len)
        translation_warn(t, knob_name(p, KNOB_METADATA), "dropped");
    if (p->is_streaming)
        put_bool(w, S("stream"), true);
    if (!own && !(is_chat && rest_find(&p->rest, S("store"))))
        put_bool(w, S("store"), false);
    static const str nested[] = { S("reasoning"), S("text") };
    struct members rest = { 0 };
    for (size_t i = 0; i < p->rest.n; i++) {
        const struct member *m = &p->rest.items[i];
        if (own ? !str_eq(m->key, S("include")) : is_chat && is_shared_with_chat(m->key))
            members_add(&rest, t->a, m->key, m->raw);
    }
    rest_write(w, &rest, S(""), nested, COUNT_OF(nested));
    jw_end(w, '}');
    return 0;
}

bool responses_carries_foreign(str body)
{
    return str_find(body, S("\"sbx1:")) >= 0;
}

/* ---- answers ---- */

str responses_id(char out[RESPONSES_ID_MAX], const char *prefix, const struct answer_context *c, uint32_t at)
{
    str request_id = c->response_id.len ? c->response_id : c->request_id;   /* the former is random, the latter the client's */
    int n = snprintf(out, RESPONSES_ID_MAX, "%s%016llx%016llx", prefix, (unsigned long long)hash_stable(request_id, at),
                     (unsigned long long)hash_stable(request_id, hash_mix(at + 1)));
    return (str){ out, (size_t)n };
}

str responses_response_id(const struct answer_context *c, str given, char out[RESPONSES_ID_MAX])
{
    return c->response_id.len ? c->response_id : str_starts(given, S("resp_")) ? given : responses_id(out, "resp_", c, ~0u);
}

const char *responses_incomplete(enum stop_reason stop, bool has_refusal)
{
    if (stop == STOP_LENGTH || stop == STOP_CONTEXT)
        return "max_output_tokens";
    return stop == STOP_FILTER || (stop == STOP_REFUSAL && !has_refusal) ? "content_filter" : NULL;
}

static void usage_write(const struct usage *u, struct json_writer *w)
{
    jw_begin(w, '{');
    put_int(w, S("input_tokens"), u->prompt_tokens);
    put_open(w, S("input_tokens_details"), '{');
    put_int(w, S("cached_tokens"), u->cached_tokens);
    put_int(w, S("cache_write_tokens"), u->cache_write_tokens);
    jw_end(w, '}');
    put_int(w, S("output_tokens"), u->completion_tokens);
    put_open(w, S("output_tokens_details"), '{');
    put_int(w, S("reasoning_tokens"), u->reasoning_tokens);
    jw_end(w, '}');
    put_int(w, S("total_tokens"), u->prompt_tokens + u->completion_tokens);
    jw_end(w, '}');
}

/* The API's own words for why a response failed; those that agents act on are in no schema. Another provider's code is not one
 * of them: its kind decides, and its message is kept. */
static str failure_code(const struct failure *f)
{
    static const char *const codes[FAILURE_KIND_N] = {
        [FAILURE_INVALID] = "invalid_prompt", [FAILURE_RATE_LIMIT] = "rate_limit_exceeded",
        [FAILURE_BILLING] = "insufficient_quota",
    };
    static const char *const words[] = {
        "server_error", "rate_limit_exceeded", "invalid_prompt", "bio_policy", "vector_store_timeout", "invalid_image",
        "invalid_image_format", "invalid_base64_image", "invalid_image_url", "image_too_large", "image_too_small",
        "image_parse_error", "image_content_policy_violation", "invalid_image_mode", "image_file_too_large",
        "unsupported_image_media_type", "empty_image_file", "failed_to_download_image", "image_file_not_found",
        "context_length_exceeded", "insufficient_quota", "usage_not_included", "server_is_overloaded", "slow_down",
    };
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (str_eq(f->code, str_of(words[i])))
            return f->code;
    return str_of(codes[f->kind] ? codes[f->kind] : "server_error");
}

void responses_object_write(const struct responses_state *s, str echo, struct json_writer *w)
{
    jw_begin(w, '{');
    put_str(w, S("id"), s->id);
    put_str(w, S("object"), S("response"));
    put_int(w, S("created_at"), s->created);
    put_str(w, S("status"), str_of(s->status));
    jw_key(w, S("error"));
    if (s->failure) {
        jw_begin(w, '{');
        put_str(w, S("code"), failure_code(s->failure));
        put_str(w, S("message"), s->failure->message);
        jw_end(w, '}');
    } else {
        jw_null(w);
    }
    jw_key(w, S("incomplete_details"));
    if (s->incomplete_reason) {
        jw_begin(w, '{');
        put_str(w, S("reason"), str_of(s->incomplete_reason));
        jw_end(w, '}');
    } else {
        jw_null(w);
    }
    put_str(w, S("model"), s->model);
    put_open(w, S("output"), '[');
    if (s->output.len)
        jw_raw(w, s->output);
    jw_end(w, ']');
    jw_key(w, S("usage"));
    if (s->usage)
        usage_write(s->usage, w);
    else
        jw_null(w);
    if (s->service_tier.len)
        put_str(w, S("service_tier"), s->service_tier);
    if (echo.len)
        jw_raw(w, echo);
    jw_end(w, '}');
}

/* What the provider says about itself wins over the request; what the client said to us does not leave its hands. */
enum echo_source { ECHO_PROVIDER, ECHO_CLIENT };

static const struct { str key; enum echo_source from; str otherwise; } echoes[] = {
    { S("background"), ECHO_CLIENT, S("false") }, { S("conversation"), ECHO_CLIENT, S("") },
    { S("instructions"), ECHO_CLIENT, S("null") },
    { S("max_output_tokens"), ECHO_PROVIDER, S("null") }, { S("max_tool_calls"), ECHO_PROVIDER, S("null") },
    { S("metadata"), ECHO_CLIENT, S("{}") }, { S("parallel_tool_calls"), ECHO_PROVIDER, S("true") },
    { S("previous_response_id"), ECHO_CLIENT, S("null") }, { S("prompt_cache_key"), ECHO_CLIENT, S("null") },
    { S("reasoning"), ECHO_PROVIDER, S("{\"effort\":null,\"summary\":null}") },
    { S("safety_identifier"), ECHO_CLIENT, S("null") },
    { S("store"), ECHO_CLIENT, S("true") }, { S("temperature"), ECHO_PROVIDER, S("null") },
    { S("text"), ECHO_PROVIDER, S("{\"format\":{\"type\":\"text\"}}") }, { S("tool_choice"), ECHO_CLIENT, S("\"auto\"") },
    { S("tools"), ECHO_CLIENT, S("[]") }, { S("top_logprobs"), ECHO_PROVIDER, S("0") }, { S("top_p"), ECHO_PROVIDER, S("null") },
    { S("truncation"), ECHO_PROVIDER, S("\"disabled\"") }, { S("user"), ECHO_CLIENT, S("null") },
};

/* {"key":value} of the canonical fields that the request gave; the writers of requests know how. */
static void told_write(const struct answer_context *c, struct json_writer *w)
{
    const struct prompt *p = c->prompt;
    struct buf text = { 0 };
    jw_begin(w, '{');
    if (p->n_system && is_own(p->dialect))
        for (uint32_t i = 0; i < p->n_system; i++) {
            if (text.len)
                buf_str(&text, S("\n\n"));
            buf_str(&text, p->system[i].text);
        }
    put_text(w, S("instructions"), buf_view(&text));
    buf_free(&text);
    put_positive(w, S("max_output_tokens"), p->max_tokens);
    put_given(w, S("metadata"), p->metadata);
    put_flag(w, S("parallel_tool_calls"), p->parallel_tool_calls);
    put_text(w, S("prompt_cache_key"), p->cache_key);
    put_text(w, S("user"), p->user);
    put_number(w, S("temperature"), p->temperature);
    put_number(w, S("top_p"), p->top_p);
    if (p->top_logprobs >= 0)
        put_int(w, S("top_logprobs"), p->top_logprobs);
    reasoning_settings(p, NULL, w);
    text_settings(p, false, w);
    if (p->choice != CHOICE_UNSET) {
        jw_key(w, S("tool_choice"));
        choice_write(c->a, p, NULL, w);
    }
    if (p->n_tools) {
        struct tool_style style = { .is_own = is_own(p->dialect), .is_echo = true };
        put_open(w, S("tools"), '[');
        for (uint32_t i = 0; i < p->n_tools; )
            if (style.is_own && namespace_of(&p->tools[i]).len)
                i = namespace_write(c->a, p, i, style, w);
            else if (p->tools[i].kind != TOOL_HOSTED)
                tool_write(c->a, &p->tools[i], p->tools[i].name, style, w), i++;
            else if (is_own(p->dialect))
                jw_raw(w, p->tools[i++].raw);
            else
                i++;
        jw_end(w, ']');
    }
    if (c->stored_previous_id.len)
        put_str(w, S("previous_response_id"), c->stored_previous_id);
    if (c->stored_conversation_id.len) {
        put_open(w, S("conversation"), '{');
        put_str(w, S("id"), c->stored_conversation_id);
        jw_end(w, '}');
    }
    if (is_own(p->dialect)) {
        static const str nested[] = { S("reasoning"), S("text") };
        rest_write(w, &p->rest, S(""), nested, COUNT_OF(nested));
    }
    jw_end(w, '}');
}

/* `conversation` may be asked for by its id alone; it is told as an object. */
static str echo_value(const struct answer_context *c, str key, str raw)
{
    if (!str_eq(key, S("conversation")) || raw.ptr[0] != '"')
        return json_compact(c->a, raw);
    struct buf b = { 0 };
    struct json_writer w = { .out = &b };
    jw_begin(&w, '{');
    put_raw(&w, S("id"), raw);
    jw_end(&w, '}');
    return buf_to_arena(&b, c->a);
}

void responses_echo_write(const struct answer_context *c, const struct reply *r, struct buf *out)
{
    struct buf text = { 0 };
    struct json_writer w = { .out = &text };
    struct json told;
    if (c->prompt)
        told_write(c, &w);
    bool has_told = c->prompt && json_parse(c->a, buf_view(&text), &told, NULL) == 0;
    const struct members *provider = r && is_own(r->dialect) ? &r->rest : NULL;
    w = (struct json_writer){ .out = out };
    for (size_t i = 0; i < COUNT_OF(echoes); i++) {
        str key = echoes[i].key;
        const struct member *m = provider ? rest_find(provider, key) : NULL;
        jref said = has_told ? json_get(&told, 0, key) : JSON_NONE;
        str raw = m && (echoes[i].from == ECHO_PROVIDER || !c->prompt) ? m->raw
                : said != JSON_NONE ? json_raw(&told, said) : echoes[i].otherwise;
        if (raw.len)
            put_raw(&w, key, echo_value(c, key, raw));
    }
    for (size_t i = 0; provider && i < provider->n; i++) {
        bool is_known = false;
        for (size_t k = 0; k < COUNT_OF(echoes); k++)
            is_known |= str_eq(provider->items[i].key, echoes[k].key);
        if (!is_known)
            put_raw(&w, provider->items[i].key, json_compact(c->a, provider->items[i].raw));
    }
    buf_free(&text);
}

struct responses_call responses_call_of(const struct answer_context *c, const struct block *b, struct arena *a)
{
    str name = c->translation ? translation_name_back(c->translation, b->name) : b->name;
    struct responses_call call = { .name = name, .is_custom = b->is_custom };
    const struct tool *t = tool_by_name(c->prompt, name);
    const struct member *m = rest_find(&b->rest, S("namespace"));
    struct json j;
    if (t) {
        call.is_custom |= t->kind == TOOL_CUSTOM;
        call.space = namespace_name(a, namespace_of(t));
    } else if (m && json_parse(a, m->raw, &j, NULL) == 0) {
        call.space = json_str(&j, 0, a);
    }
    call.name = without_space(name, call.space);
    return call;
}

str responses_unwrap(struct arena *a, str arguments)
{
    struct json j;
    if (json_parse(a, arguments, &j, NULL) < 0 || !json_is(&j, 0, JSON_OBJECT))
        return arguments;
    jref input = json_get(&j, 0, S("input"));
    return json_is(&j, input, JSON_STRING) ? json_str(&j, input, a) : arguments;
}

static void call_item(const struct responses_item *i, struct json_writer *w)
{
    put_str(w, S("type"), i->call.is_custom ? S("custom_tool_call") : S("function_call"));
    put_str(w, S("id"), i->id);
    put_str(w, S("call_id"), i->call_id);
    put_str(w, S("name"), i->call.name);
    put_text(w, S("namespace"), i->call.space);
    put_str(w, i->call.is_custom ? S("input") : S("arguments"), i->text);
    put_str(w, S("status"), str_of(i->status));
}

static void reasoning_item(const struct responses_item *i, struct json_writer *w)
{
    put_str(w, S("type"), S("reasoning"));
    put_str(w, S("id"), i->id);
    if (i->block->summary.len) {
        put_raw(w, S("summary"), i->block->summary);
    } else {
        put_open(w, S("summary"), '[');
        if (i->text.len) {
            jw_begin(w, '{');
            put_str(w, S("type"), S("summary_text"));
            put_str(w, S("text"), i->text);
            jw_end(w, '}');
        }
        jw_end(w, ']');
    }
    put_text(w, S("encrypted_content"), i->signature);
}

void responses_item_write(const struct responses_item *i, struct json_writer *w)
{
    if (i->block->kind == BLOCK_OTHER) {
        jw_raw(w, i->block->raw);
        return;
    }
    jw_begin(w, '{');
    if (i->block->kind == BLOCK_TOOL_CALL) {
        call_item(i, w);
    } else if (i->block->kind == BLOCK_IMAGE) {
        put_str(w, S("type"), S("image_generation_call"));
        put_str(w, S("id"), i->id);
        put_str(w, S("status"), str_of(i->status));
        put_str(w, S("result"), i->block->media.data);
    } else {
        reasoning_item(i, w);
    }
    if (i->rest)
        rest_except(i->rest, S("status"), S("namespace"), w);
    jw_end(w, '}');
}

void responses_part_write(const struct responses_part *p, struct json_writer *w)
{
    jw_begin(w, '{');
    if (p->kind == BLOCK_REFUSAL) {
        put_str(w, S("type"), S("refusal"));
        put_str(w, S("refusal"), p->text);
    } else {
        put_str(w, S("type"), S("output_text"));
        put_str(w, S("text"), p->text);
        put_open(w, S("annotations"), '[');
        if (p->annotations.len)
            jw_raw(w, p->annotations);
        jw_end(w, ']');
        put_open(w, S("logprobs"), '[');
        if (p->logprobs.len)
            jw_raw(w, p->logprobs);
        jw_end(w, ']');
    }
    for (size_t i = 0; p->rest && i < p->rest->n; i++)
        if (!str_starts(p->rest->items[i].key, S("message.")))
            put_raw(w, p->rest->items[i].key, p->rest->items[i].raw);
    jw_end(w, '}');
}

/* Chat nests the citation, Anthropic has no places in the text: the whole of it is cited. */
bool responses_citation_write(struct arena *a, str raw, int64_t text_bytes, struct json_writer *w)
{
    struct json j;
    if (json_parse(a, raw, &j, NULL) < 0 || !json_is(&j, 0, JSON_OBJECT))
        return false;
    jref nested = json_get(&j, 0, S("url_citation")), url = json_get(&j, 0, S("url"));
    str type = json_str(&j, json_get(&j, 0, S("type")), a);
    if (json_is(&j, nested, JSON_OBJECT)) {
        jw_begin(w, '{');
        put_str(w, S("type"), S("url_citation"));
        JSON_EACH_PAIR(&j, nested, key, value)
            put_raw(w, json_str(&j, key, a), json_raw(&j, value));
        jw_end(w, '}');
        return true;
    }
    if (str_eq(type, S("url_citation")) || str_eq(type, S("file_citation")) || str_eq(type, S("container_file_citation")) ||
        str_eq(type, S("file_path"))) {
        jw_raw(w, json_compact(a, raw));
        return true;
    }
    if (!json_is(&j, url, JSON_STRING))
        return false;
    jw_begin(w, '{');
    put_str(w, S("type"), S("url_citation"));
    put_int(w, S("start_index"), 0);
    put_int(w, S("end_index"), text_bytes);
    put_raw(w, S("url"), json_raw(&j, url));
    put_str(w, S("title"), json_str(&j, json_get(&j, 0, S("title")), a));
    jw_end(w, '}');
    return true;
}

/* A JSON array of citations as this dialect's, without the brackets. */
static str citations_of(struct arena *a, const struct block *b)
{
    struct buf out = { 0 };
    struct json_writer w = { .out = &out };
    struct json j;
    if (b->citations.len && json_parse(a, b->citations, &j, NULL) == 0 && json_is(&j, 0, JSON_ARRAY))
        JSON_EACH_ITEM(&j, 0, item)
            responses_citation_write(a, json_raw(&j, item), (int64_t)b->text.len, &w);
    return buf_to_arena(&out, a);
}

static str without_brackets(str array)
{
    array = str_trim(array);
    return array.len >= 2 ? str_trim(str_from(str_upto(array, array.len - 1), 1)) : S("");
}

str responses_sealed(struct arena *a, const struct block *b, const struct dialect_ops *from)
{
    str data = b->kind == BLOCK_SEALED_REASONING ? b->sealed : b->signature;
    str origin = b->origin.len ? b->origin : str_of(from ? from->name : "");
    if (!data.len || !origin.len || str_eq(origin, str_of(dialect_openai_responses.name)))
        return data;
    return anthropic_wrap(a, origin,
                          b->kind == BLOCK_SEALED_REASONING ? "sealed" : b->kind == BLOCK_REASONING ? "thought" : "last", data);
}

bool responses_shows(const struct block *b)
{
    switch (b->kind) {
    case BLOCK_AUDIO: case BLOCK_FILE: case BLOCK_TOOL_RESULT: case BLOCK_KIND_N: return false;
    case BLOCK_IMAGE: return b->media.data.len > 0;
    case BLOCK_OTHER: return responses_is_item_type(b->raw_type);
    default: return true;
    }
}

struct output {                         /* of a whole reply */
    const struct reply *r;
    const struct answer_context *c;
    struct json_writer *w;
    uint32_t at;                        /* output_index of the next item */
    char id[RESPONSES_ID_MAX];
};

static str item_id(struct output *o, const struct block *b, const char *prefix)
{
    return b && b->item_id.len ? b->item_id : responses_id(o->id, prefix, o->c, o->at);
}

/* Signatures of a call or text of another family follow it as a reasoning item that clients give back. */
static void envelope_item(struct output *o, const struct block *b)
{
    static const struct block empty = { .kind = BLOCK_REASONING };
    str sealed = b->signature.len ? responses_sealed(o->c->a, b, o->r->dialect) : S("");
    if (!sealed.len || str_eq(sealed, b->signature))
        return;
    responses_item_write(&(struct responses_item){ .block = &empty, .id = item_id(o, NULL, "rs_"), .signature = sealed,
                                                   .status = "completed" }, o->w);
    o->at++;
}

static uint32_t message_item(struct output *o, uint32_t from, const char *last_status)
{
    const struct reply *r = o->r;
    uint32_t end = from;
    while (end < r->n && (r->blocks[end].kind == BLOCK_TEXT || r->blocks[end].kind == BLOCK_REFUSAL) &&
           (end == from || str_eq(r->blocks[end].item_id, r->blocks[from].item_id)))
        end++;
    jw_begin(o->w, '{');
    put_str(o->w, S("type"), S("message"));
    put_str(o->w, S("id"), item_id(o, &r->blocks[from], "msg_"));
    put_str(o->w, S("role"), S("assistant"));
    put_str(o->w, S("status"), str_of(end == r->n ? last_status : "completed"));
    put_open(o->w, S("content"), '[');
    bool has_logprobs = false;
    for (uint32_t i = from; i < end; i++) {
        const struct block *b = &r->blocks[i];
        struct responses_part part = { .kind = b->kind, .text = b->text, .annotations = citations_of(o->c->a, b),
                                       .rest = is_own(r->dialect) ? &b->rest : NULL };
        bool is_first = true;
        for (uint32_t k = 0; k < i; k++)
            is_first &= r->blocks[k].kind != BLOCK_TEXT;
        if (b->kind == BLOCK_TEXT && is_first && !has_logprobs) {
            part.logprobs = without_brackets(r->logprobs);
            has_logprobs = true;
        }
        responses_part_write(&part, o->w);
    }
    jw_end(o->w, ']');
    for (size_t i = 0; is_own(r->dialect) && i < r->blocks[from].rest.n; i++) {
        const struct member *m = &r->blocks[from].rest.items[i];
        if (str_starts(m->key, S("message.")))
            put_raw(o->w, str_from(m->key, sizeof "message." - 1), m->raw);
    }
    jw_end(o->w, '}');
    o->at++;
    for (uint32_t i = from; i < end; i++)
        envelope_item(o, &r->blocks[i]);
    return end;
}

static void block_item(struct output *o, const struct block *b, const char *status)
{
    struct arena *a = o->c->a;
    struct responses_item item = { .block = b, .status = status, .rest = is_own(o->r->dialect) ? &b->rest : NULL,
                                   .text = b->text };
    const char *prefix = "rs_";
    if (b->kind == BLOCK_TOOL_CALL) {
        item.call = responses_call_of(o->c, b, a);
        item.call_id = responses_call_id(o->c, b, o->at);
        item.text = item.call.is_custom && !b->is_custom ? responses_unwrap(a, b->arguments)
                  : b->arguments.len || b->is_custom ? b->arguments : S("{}");
        prefix = item.call.is_custom ? "ctc_" : "fc_";
    } else if (b->kind == BLOCK_IMAGE) {
        prefix = "ig_";
    } else {
        item.signature = responses_sealed(a, b, o->r->dialect);
    }
    item.id = item_id(o, b, prefix);
    responses_item_write(&item, o->w);
    o->at++;
    if (b->kind == BLOCK_TOOL_CALL)
        envelope_item(o, b);
}

str responses_call_id(const struct answer_context *c, const struct block *b, uint32_t at)
{
    if (!b->call_id.len) {
        char *id = arena_alloc(c->a, RESPONSES_ID_MAX);
        return responses_id(id, "call_", c, at);
    }
    return c->translation ? translation_name_back(c->translation, b->call_id) : b->call_id;
}

str responses_output_items(const struct reply *r, const struct answer_context *c)
{
    struct buf out = { 0 };
    struct json_writer w = { .out = &out };
    struct output o = { .r = r, .c = c, .w = &w };
    const char *last_status = responses_incomplete(r->stop, true) ? "incomplete" : "completed";
    for (uint32_t i = 0; i < r->n; ) {
        const struct block *b = &r->blocks[i];
        if (b->kind == BLOCK_TEXT || b->kind == BLOCK_REFUSAL) {
            i = message_item(&o, i, last_status);
            continue;
        }
        if (responses_shows(b))
            block_item(&o, b, i + 1 == r->n ? last_status : "completed");
        i++;
    }
    return buf_to_arena(&out, c->a);
}

void responses_reply_write(const struct reply *r, const struct answer_context *c, struct buf *out)
{
    char id[RESPONSES_ID_MAX];
    bool has_refusal = false;
    for (uint32_t i = 0; i < r->n; i++)
        has_refusal |= r->blocks[i].kind == BLOCK_REFUSAL;
    const char *reason = responses_incomplete(r->stop, has_refusal);
    struct failure malformed = { .kind = FAILURE_SERVER, .message = S("the model's answer could not be read by its provider") };
    bool is_failed = r->stop == STOP_MALFORMED;
    const struct usage *u = &r->usage;
    struct responses_state s = {
        .id = responses_response_id(c, r->id, id),
        .model = r->model.len ? r->model : c->model, .created = r->created ? r->created : c->now,
        .service_tier = is_own(r->dialect) ? r->service_tier : openai_service_tier(r->service_tier),
        .status = is_failed ? "failed" : reason ? "incomplete" : "completed", .incomplete_reason = is_failed ? NULL : reason,
        .failure = is_failed ? &malformed : NULL, .output = responses_output_items(r, c),
        .usage = u->is_known || u->prompt_tokens || u->completion_tokens ? u : NULL,
    };
    struct buf echo = { 0 };
    struct json_writer w = { .out = out };
    responses_echo_write(c, r, &echo);
    responses_object_write(&s, buf_view(&echo), &w);
    buf_free(&echo);
}

/* ---- errors ---- */

void responses_error_write(const struct failure *f, struct buf *out)
{
    static const struct { const char *type, *code; } words[FAILURE_KIND_N] = {
        [FAILURE_INVALID] = { "invalid_request_error", NULL }, [FAILURE_AUTH] = { "invalid_request_error", "invalid_api_key" },
        [FAILURE_BILLING] = { "insufficient_quota", "insufficient_quota" }, [FAILURE_PERMISSION] = { "permission_error", NULL },
        [FAILURE_NOT_FOUND] = { "invalid_request_error", NULL }, [FAILURE_CONFLICT] = { "invalid_request_error", NULL },
        [FAILURE_TOO_LARGE] = { "invalid_request_error", "request_too_large" },
        [FAILURE_RATE_LIMIT] = { "rate_limit_error", "rate_limit_exceeded" }, [FAILURE_SERVER] = { "server_error", NULL },
        [FAILURE_UPSTREAM] = { "server_error", NULL }, [FAILURE_OVERLOADED] = { "overloaded_error", NULL },
        [FAILURE_TIMEOUT] = { "timeout_error", NULL },
    };
    struct json_writer w = { .out = out };
    bool keeps_type = str_ends(f->type, S("_error")) || str_eq(f->type, S("insufficient_quota"));
    str code = f->code.len ? f->code : str_of(words[f->kind].code);
    jw_begin(&w, '{');
    put_open(&w, S("error"), '{');
    put_str(&w, S("message"), f->message);
    put_str(&w, S("type"), keeps_type ? f->type : str_of(words[f->kind].type));
    jw_key(&w, S("param"));
    f->param.len ? jw_str(&w, f->param) : jw_null(&w);
    jw_key(&w, S("code"));
    code.len ? jw_str(&w, code) : jw_null(&w);
    jw_end(&w, '}');
    jw_end(&w, '}');
}
