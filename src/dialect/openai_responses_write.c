/* dialect/openai_responses_write.c -- canonical requests as the Responses API spells them.
 *
 * A request of another dialect is stateless here: it is sent with `store: false`, and a model that reasons is asked for its
 * encrypted reasoning, so that the next turn can bring it back. */
#include "dialect/openai_responses.h"

#include <stdio.h>

#include "base/hash.h"
#include "base/put.h"
#include "dialect/fields.h"

enum {
    NAME_MAX_BYTES = 64,                /* of tools and call ids; OpenAI refuses longer ones */
    USER_MAX_BYTES = 64,
    TOKENS_MIN = 16,                    /* of max_output_tokens */
};

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

void responses_rest_except(const struct members *rest, str except, str also, struct json_writer *w)
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
        responses_rest_except(&t->rest, S("namespace"), S(""), w);
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
    struct tool_style style = { .is_own = responses_is_own(p->dialect), .lacks_strict = to->lacks_strict };
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
    str space = tool && responses_is_own(p->dialect) ? namespace_name(a, namespace_of(tool)) : S("");
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
    for (uint32_t i = 0; !responses_is_own(p->dialect) && i < p->n_chosen; i++)
        if (!tool_by_name(p, p->chosen[i]))
            return translation_refuse(t, knob_name(p, KNOB_TOOL_CHOICE), "there is no tool called '" STR_FMT "'",
                                      STR_ARG(p->chosen[i]));
    return 0;
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
        str inside = responses_inside(b->summary);
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
    struct input in = { .p = p, .to = to, .t = t, .w = w, .is_own = responses_is_own(p->dialect) };
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
    bool has_rest = responses_is_own(p->dialect) && rest_has(&p->rest, S("reasoning"));
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
    bool own = responses_is_own(p->dialect), has_rest = own && rest_has(&p->rest, S("text"));
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

/* What requests say and answers repeat in the same words; t is NULL for an answer. */
static void settings_write(const struct prompt *p, int64_t max_tokens, bool lacks_schema, struct translation *t,
                           struct json_writer *w)
{
    put_positive(w, S("max_output_tokens"), max_tokens);
    put_number(w, S("temperature"), p->temperature);
    put_number(w, S("top_p"), p->top_p);
    if (p->top_logprobs >= 0)
        put_int(w, S("top_logprobs"), p->top_logprobs);
    reasoning_settings(p, t, w);
    text_settings(p, lacks_schema, w);
}

static void include_write(const struct prompt *p, struct json_writer *w)
{
    bool own = responses_is_own(p->dialect);
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
    bool is_known = responses_is_own(p->dialect);
    for (size_t i = 0; i < COUNT_OF(known); i++)
        is_known |= str_eq(p->service_tier, str_of(known[i]));
    if (is_known)
        put_str(w, S("service_tier"), p->service_tier);
    else
        translation_warn(t, knob_name(p, KNOB_SERVICE_TIER), "dropped");
}

static void user_write(const struct prompt *p, struct translation *t, struct json_writer *w)
{
    if (responses_is_own(p->dialect) || p->user.len <= USER_MAX_BYTES) {
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
    bool own = responses_is_own(p->dialect), is_chat = !own && strcmp(p->dialect->name, "openai_chat") == 0;
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
    settings_write(p, max_tokens, to->lacks_json_schema, t, w);
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

/* ---- what an answer repeats of it ---- */

/* As the client wrote them: no name is changed, and nothing that another dialect's provider runs is told. */
static void told_tools(struct arena *a, const struct prompt *p, struct json_writer *w)
{
    struct tool_style style = { .is_own = responses_is_own(p->dialect), .is_echo = true };
    put_open(w, S("tools"), '[');
    for (uint32_t i = 0; i < p->n_tools; ) {
        const struct tool *tool = &p->tools[i];
        if (style.is_own && namespace_of(tool).len) {
            i = namespace_write(a, p, i, style, w);
            continue;
        }
        i++;
        if (tool->kind != TOOL_HOSTED)
            tool_write(a, tool, tool->name, style, w);
        else if (style.is_own)
            jw_raw(w, tool->raw);
    }
    jw_end(w, ']');
}

static void told_instructions(const struct prompt *p, struct json_writer *w)
{
    struct buf text = { 0 };
    for (uint32_t i = 0; i < p->n_system; i++) {
        if (text.len)
            buf_str(&text, S("\n\n"));
        buf_str(&text, p->system[i].text);
    }
    put_text(w, S("instructions"), buf_view(&text));
    buf_free(&text);
}

void responses_told_write(const struct answer_context *c, struct json_writer *w)
{
    static const str nested[] = { S("reasoning"), S("text") };
    const struct prompt *p = c->prompt;
    bool own = responses_is_own(p->dialect);
    jw_begin(w, '{');
    if (own)
        told_instructions(p, w);
    put_given(w, S("metadata"), p->metadata);
    put_flag(w, S("parallel_tool_calls"), p->parallel_tool_calls);
    put_text(w, S("prompt_cache_key"), p->cache_key);
    put_text(w, S("user"), p->user);
    settings_write(p, p->max_tokens, false, NULL, w);
    if (p->choice != CHOICE_UNSET) {
        jw_key(w, S("tool_choice"));
        choice_write(c->a, p, NULL, w);
    }
    if (p->n_tools)
        told_tools(c->a, p, w);
    if (c->stored_previous_id.len)
        put_str(w, S("previous_response_id"), c->stored_previous_id);
    if (c->stored_conversation_id.len) {
        put_open(w, S("conversation"), '{');
        put_str(w, S("id"), c->stored_conversation_id);
        jw_end(w, '}');
    }
    if (own)
        rest_write(w, &p->rest, S(""), nested, COUNT_OF(nested));
    jw_end(w, '}');
}
