/* dialect/openai_chat_write.c -- the canonical prompt as a Chat Completions request.
 *
 * Two kinds of prompts come here. One that was read by this dialect is written as it was: a turn is a message, unknown members
 * go back to their places. A foreign one is rebuilt: results of tools become messages of their own in front of what the user
 * says, consecutive turns of the assistant are joined when a call stands in the first, pictures in results follow as a user's
 * message, and what the format has no member for is a warning or a refusal. */
#include "dialect/openai_chat_parts.h"

#include "base/hash.h"

enum { TOOL_NAME_MAX = 64, USER_MAX = 64 };     /* OpenAI refuses longer ones */

struct writing {
    const struct prompt *p;
    const struct target *to;
    struct translation *t;
    struct arena *a;
    struct json_writer w;
    bool is_own;                        /* the prompt was read by this dialect */
    const struct block **pending; uint32_t n_pending;   /* pictures and files in results, for the next user's message */
};

/* ---- names and marks ---- */

static str name_of(struct writing *x, str name)
{
    return x->is_own ? name : translation_rename(x->t, name, TOOL_NAME_MAX, "_-");
}

static bool is_alnum_text(str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!((s.ptr[i] >= '0' && s.ptr[i] <= '9') || ((s.ptr[i] | 32) >= 'a' && (s.ptr[i] | 32) <= 'z')))
            return false;
    return true;
}

/* Mistral wants exactly nine letters and digits. The same id gives the same nine every time, for the sake of prompt caches. */
static str short_id(struct writing *x, str id, size_t n)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    if (id.len == n && is_alnum_text(id))
        return id;
    for (size_t i = 0; i < x->t->n_renames; i++)
        if (str_eq(x->t->renames[i].from, id))
            return x->t->renames[i].to;
    uint64_t hash = hash_stable(id, 0);
    char *to = arena_alloc(x->a, n);
    for (size_t i = 0; i < n; i++, hash /= 62)
        to[i] = digits[hash % 62];
    *PUSH(x->a, x->t->renames, x->t->n_renames) = (struct rename){ id, { to, n } };
    return (str){ to, n };
}

static str id_of(struct writing *x, str id)
{
    unsigned max = x->to->call_id_max;
    if (!max || (x->is_own && id.len <= max && max > 9))
        return id;
    return max <= 9 ? short_id(x, id, max) : translation_rename(x->t, id, max, "_-");
}

static void mark_write(struct writing *x, str mark)
{
    if (!mark.len)
        return;
    if (x->is_own || x->to->keeps_cache_control)
        put_raw(&x->w, S("cache_control"), mark);
    else
        translation_warn(x->t, S("cache_control"), "dropped");
}

static bool keeps_mark(const struct writing *x, str mark)
{
    return mark.len && (x->is_own || x->to->keeps_cache_control);
}

/* Members nobody knows: they go back home, or are told. */
static void rest_of(struct writing *x, const struct members *rest, str prefix, const str *nested, size_t n_nested)
{
    if (x->is_own)
        rest_write(&x->w, rest, prefix, nested, n_nested);
    else
        for (size_t i = 0; i < rest->n && !prefix.len; i++)
            translation_warn(x->t, rest->items[i].key, "dropped");
}

/* ---- reasoning ---- */

bool openai_thought_is_detail(const struct block *b, const struct dialect_ops *from)
{
    if (b->origin.len)
        return !str_eq(b->origin, S("anthropic")) && !str_starts(b->origin, S("bedrock"));
    if (from && from != &dialect_openai_chat)
        return !str_eq(str_of(from->name), S("anthropic")) && !str_starts(str_of(from->name), S("bedrock"));
    return b->item_id.len || b->summary.len;
}

static str format_of(const struct block *b, const struct dialect_ops *from)
{
    str origin = b->origin.len ? b->origin : from ? str_of(from->name) : S("");
    return str_eq(origin, S("gemini")) ? S("google-gemini-v1") : str_eq(origin, S("openai_chat")) ? S("")
                                       : S("openai-responses-v1");
}

void openai_thought_write(struct json_writer *w, const struct block *b, const struct dialect_ops *from)
{
    bool is_sealed = b->kind == BLOCK_SEALED_REASONING;
    jw_begin(w, '{');
    if (openai_thought_is_detail(b, from)) {
        put_str(w, S("type"), is_sealed ? S("reasoning.encrypted") : S("reasoning.text"));
        put_str(w, is_sealed ? S("data") : S("text"), is_sealed ? b->sealed : b->text);
        if (!is_sealed)
            put_text(w, S("signature"), b->signature);
        put_text(w, S("id"), b->item_id);
        put_text(w, S("format"), format_of(b, from));
    } else {
        put_str(w, S("type"), is_sealed ? S("redacted_thinking") : S("thinking"));
        put_str(w, is_sealed ? S("data") : S("thinking"), is_sealed ? b->sealed : b->text);
        if (!is_sealed)
            put_str(w, S("signature"), b->signature);
    }
    jw_end(w, '}');
}

static bool is_opaque(const struct block *b)
{
    return (b->kind == BLOCK_REASONING && b->signature.len) || b->kind == BLOCK_SEALED_REASONING;
}

bool openai_thoughts_write(struct json_writer *w, const struct block *blocks, uint32_t n, const struct dialect_ops *from,
                           bool are_details)
{
    bool has_begun = false;
    for (uint32_t i = 0; i < n; i++) {
        if (!is_opaque(&blocks[i]) || openai_thought_is_detail(&blocks[i], from) != are_details)
            continue;
        if (!has_begun)
            put_open(w, are_details ? S("reasoning_details") : S("thinking_blocks"), '[');
        has_begun = true;
        openai_thought_write(w, &blocks[i], from);
    }
    if (has_begun)
        jw_end(w, ']');
    return has_begun;
}

/* As they came, by the member they came from. */
static void own_thoughts_write(struct writing *x, const struct block *blocks, uint32_t n)
{
    static const str lists[] = { S("thinking_blocks"), S("reasoning_details") };
    for (uint32_t i = 0; i < n; i++)
        if (blocks[i].kind == BLOCK_REASONING && str_starts(blocks[i].raw_type, S("reasoning")) && !blocks[i].raw.len)
            put_str(&x->w, blocks[i].raw_type, blocks[i].text);
    for (size_t k = 0; k < COUNT_OF(lists); k++) {
        bool has_begun = false;
        for (uint32_t i = 0; i < n; i++) {
            if (!str_eq(blocks[i].raw_type, lists[k]))
                continue;
            if (!has_begun)
                put_open(&x->w, lists[k], '[');
            has_begun = true;
            jw_raw(&x->w, blocks[i].raw);
        }
        if (has_begun)
            jw_end(&x->w, ']');
    }
}

static void foreign_thoughts_write(struct writing *x, const struct block *blocks, uint32_t n, uint32_t turn)
{
    struct buf text = { 0 };
    bool has_items = false;
    for (uint32_t i = 0; i < n; i++) {
        const struct block *b = &blocks[i];
        if (b->kind != BLOCK_REASONING && b->kind != BLOCK_SEALED_REASONING)
            continue;
        if (is_opaque(b) && str_eq(b->origin, S("openai_chat")) && x->to->keeps_cache_control) {
            if (!has_items)             /* OpenRouter gets back what it gave */
                put_open(&x->w, S("reasoning_details"), '[');
            has_items = true;
            openai_thought_write(&x->w, b, x->p->dialect);
        } else if (b->kind == BLOCK_REASONING && x->to->wants_reasoning_content)
            buf_str(&text, b->text);
        else
            translation_warn(x->t, block_place(x->p, x->a, turn, i), "dropped");
    }
    if (has_items)
        jw_end(&x->w, ']');
    if (text.len)
        put_str(&x->w, S("reasoning_content"), buf_view(&text));
    if (text.is_failed)
        arena_fail(x->a);
    buf_free(&text);
}

/* ---- content ---- */

void openai_image_write(struct json_writer *w, const struct media *m, struct arena *a)
{
    jw_begin(w, '{');
    put_str(w, S("type"), S("image_url"));
    put_open(w, S("image_url"), '{');
    struct media named = *m;
    if (m->data.len && !m->media_type.len)
        named.media_type = media_sniff(m->data);
    put_str(w, S("url"), m->data.len ? media_data_url(&named, a) : m->url);
    put_text(w, S("detail"), m->detail);
    jw_end(w, '}');
    jw_end(w, '}');
}

static void text_part_write(struct writing *x, const struct block *b)
{
    jw_begin(&x->w, '{');
    put_str(&x->w, S("type"), S("text"));
    put_key(&x->w, S("text"));
    block_text_write(b, &x->w);
    mark_write(x, b->cache_control);
    rest_of(x, &b->rest, S(""), NULL, 0);
    jw_end(&x->w, '}');
}

static int image_part_write(struct writing *x, const struct block *b, str place)
{
    static const str nested[] = { S("image_url") };
    const struct media *m = &b->media;
    if (m->file_id.len && !m->data.len && !m->url.len)
        return translation_lose(x->t, x->to, place, "an image by its id");
    if (!x->is_own) {
        openai_image_write(&x->w, m, x->a);
        return 0;
    }
    jw_begin(&x->w, '{');
    put_str(&x->w, S("type"), S("image_url"));
    put_open(&x->w, S("image_url"), '{');
    put_str(&x->w, S("url"), m->data.len ? media_data_url(m, x->a) : m->url);
    put_text(&x->w, S("detail"), m->detail);
    rest_of(x, &b->rest, S("image_url"), NULL, 0);
    jw_end(&x->w, '}');
    mark_write(x, b->cache_control);
    rest_of(x, &b->rest, S(""), nested, COUNT_OF(nested));
    jw_end(&x->w, '}');
    return 0;
}

static str audio_format(const struct media *m)
{
    if (m->format.len)
        return m->format;
    if (str_eq(m->media_type, S("audio/mpeg")) || str_eq(m->media_type, S("audio/mp3")))
        return S("mp3");
    str type = str_starts(m->media_type, S("audio/")) ? str_from(m->media_type, 6) : S("wav");
    return str_starts(type, S("x-")) ? str_from(type, 2) : type;
}

static int audio_part_write(struct writing *x, const struct block *b, str place)
{
    static const str nested[] = { S("input_audio") };
    if (!b->media.data.len)
        return translation_lose(x->t, x->to, place, "audio that is not in the request itself");
    jw_begin(&x->w, '{');
    put_str(&x->w, S("type"), S("input_audio"));
    put_open(&x->w, S("input_audio"), '{');
    put_str(&x->w, S("data"), b->media.data);
    put_str(&x->w, S("format"), audio_format(&b->media));
    rest_of(x, &b->rest, S("input_audio"), NULL, 0);
    jw_end(&x->w, '}');
    mark_write(x, b->cache_control);
    rest_of(x, &b->rest, S(""), nested, COUNT_OF(nested));
    jw_end(&x->w, '}');
    return 0;
}

/* A document of plain text is said as text: every model reads that. */
static void document_text_write(struct writing *x, const struct media *m, str place)
{
    struct buf text = { 0 };
    if (m->name.len)
        buf_printf(&text, STR_FMT "\n\n", STR_ARG(m->name));
    buf_str(&text, m->text);
    jw_begin(&x->w, '{');
    put_str(&x->w, S("type"), S("text"));
    put_str(&x->w, S("text"), buf_view(&text));
    jw_end(&x->w, '}');
    if (text.is_failed)
        arena_fail(x->a);
    buf_free(&text);
    translation_warn(x->t, place, "approximated");
}

static int file_part_write(struct writing *x, const struct block *b, str place)
{
    static const str nested[] = { S("file") };
    const struct media *m = &b->media;
    if (m->text.len) {
        document_text_write(x, m, place);
        return 0;
    }
    if (!x->is_own && !m->data.len)
        return translation_lose(x->t, x->to, place, m->url.len ? "a file by its URL" : "a file by its id");
    jw_begin(&x->w, '{');
    put_str(&x->w, S("type"), S("file"));
    put_open(&x->w, S("file"), '{');
    if (m->data.len)
        put_str(&x->w, S("file_data"), m->media_type.len ? media_data_url(m, x->a) : m->data);
    put_text(&x->w, S("file_id"), m->file_id);
    put_text(&x->w, S("file_url"), m->url);
    put_text(&x->w, S("filename"), m->name.len || x->is_own ? m->name : S("document.pdf"));    /* OpenAI wants one beside data */
    rest_of(x, &b->rest, S("file"), NULL, 0);
    jw_end(&x->w, '}');
    mark_write(x, b->cache_control);
    rest_of(x, &b->rest, S(""), nested, COUNT_OF(nested));
    jw_end(&x->w, '}');
    return 0;
}

static int part_write(struct writing *x, const struct block *b, str place)
{
    switch (b->kind) {
    case BLOCK_TEXT:
        if (b->text.len || x->is_own)
            text_part_write(x, b);
        return 0;
    case BLOCK_REFUSAL:
        jw_begin(&x->w, '{');
        put_str(&x->w, S("type"), S("refusal"));
        put_str(&x->w, S("refusal"), b->text);
        jw_end(&x->w, '}');
        return 0;
    case BLOCK_IMAGE:
        return image_part_write(x, b, place);
    case BLOCK_AUDIO:
        return audio_part_write(x, b, place);
    case BLOCK_FILE:
        return file_part_write(x, b, place);
    default:
        jw_raw(&x->w, b->raw);          /* as it came */
        return 0;
    }
}

static bool is_content(const struct writing *x, const struct block *b)
{
    switch (b->kind) {
    case BLOCK_TEXT:
        return b->text.len || x->is_own;
    case BLOCK_IMAGE:
        return !str_eq(b->raw_type, S("images"));
    case BLOCK_AUDIO:
    case BLOCK_FILE:
        return true;
    case BLOCK_REFUSAL:
        return x->is_own && !str_eq(b->raw_type, S("refusal"));
    case BLOCK_OTHER:
        return x->is_own;
    case BLOCK_REASONING:
    case BLOCK_SEALED_REASONING:
        return x->is_own && str_eq(b->raw_type, S("content"));
    default:
        return false;
    }
}

/* The one text there is; NULL: none, or several. */
static const struct block *only_text(const struct block *blocks, uint32_t n)
{
    const struct block *only = NULL;
    for (uint32_t i = 0; i < n; i++) {
        if (blocks[i].kind != BLOCK_TEXT || !blocks[i].text.len)
            continue;
        if (only)
            return NULL;
        only = &blocks[i];
    }
    return only;
}

/* Texts joined: consecutive ones directly, since pieces with citations are one text; others with an empty line between. */
static str texts_join(struct writing *x, const struct block *blocks, uint32_t n, bool with_lines)
{
    struct buf b = { 0 };
    uint32_t last = UINT32_MAX;
    for (uint32_t i = 0; i < n; i++) {
        if (blocks[i].kind != BLOCK_TEXT || !blocks[i].text.len)
            continue;
        if (last != UINT32_MAX && (with_lines || last + 1 != i))
            buf_str(&b, S("\n\n"));
        buf_str(&b, blocks[i].text);
        last = i;
    }
    return buf_to_arena(&b, x->a);
}

/* The member `content`: a string where it can be one, else parts. */
static int content_write(struct writing *x, const struct block *blocks, uint32_t n, uint32_t turn, bool has_calls)
{
    uint32_t content = 0, plain = 0, only = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!is_content(x, &blocks[i]))
            continue;
        content++;
        only = i;
        plain += blocks[i].kind == BLOCK_TEXT && !keeps_mark(x, blocks[i].cache_control) && (!x->is_own || !blocks[i].rest.n);
    }
    jw_key(&x->w, S("content"));
    if (!content) {
        if (has_calls || x->is_own)
            jw_null(&x->w);
        else
            jw_str(&x->w, S(""));
        return 0;
    }
    if (content == 1 && plain == 1) {
        if (blocks[only].cache_control.len && !keeps_mark(x, blocks[only].cache_control))
            mark_write(x, blocks[only].cache_control);      /* warns */
        block_text_write(&blocks[only], &x->w);
        return 0;
    }
    jw_begin(&x->w, '[');
    for (uint32_t i = 0; i < n; i++) {
        str place = blocks[i].kind == BLOCK_TEXT ? S("") : block_place(x->p, x->a, turn, i);    /* a text cannot fail */
        if (is_content(x, &blocks[i]) && part_write(x, &blocks[i], place) < 0)
            return -1;
    }
    jw_end(&x->w, ']');
    return 0;
}

/* ---- calls ---- */

static str custom_as_function(struct writing *x, str input)
{
    struct buf b = { 0 };
    buf_str(&b, S("{\"input\":"));
    json_quote(&b, input);
    buf_char(&b, '}');
    return buf_to_arena(&b, x->a);
}

static void call_write(struct writing *x, const struct block *b)
{
    static const str nested[] = { S("function"), S("custom") };
    bool is_custom = b->is_custom && !x->to->lacks_custom_tools;
    str arguments = b->arguments;
    if (b->is_custom && !is_custom)
        arguments = custom_as_function(x, b->arguments);
    else if (!is_custom && !x->is_own && text_is_blank(arguments))
        arguments = S("{}");
    jw_begin(&x->w, '{');
    put_str(&x->w, S("id"), id_of(x, b->call_id));
    put_str(&x->w, S("type"), is_custom ? S("custom") : S("function"));
    put_open(&x->w, is_custom ? S("custom") : S("function"), '{');
    put_str(&x->w, S("name"), name_of(x, b->name));
    put_str(&x->w, is_custom ? S("input") : S("arguments"), arguments);
    rest_of(x, &b->rest, is_custom ? S("custom") : S("function"), NULL, 0);
    jw_end(&x->w, '}');
    str origin = b->origin.len ? b->origin : str_of(x->p->dialect->name);
    bool keeps = x->is_own ? !rest_find(&b->rest, S("extra_content"))
                           : x->to->keeps_google_signatures && str_eq(origin, S("gemini"));
    if (b->signature.len && keeps)
        openai_signature_write(&x->w, b->signature);
    else if (b->signature.len && !x->is_own)
        translation_warn(x->t, S("thoughtSignature"), "dropped");
    rest_of(x, &b->rest, S(""), nested, COUNT_OF(nested));
    jw_end(&x->w, '}');
}

void openai_signature_write(struct json_writer *w, str signature)
{
    put_open(w, S("extra_content"), '{');
    put_open(w, S("google"), '{');
    put_str(w, S("thought_signature"), signature);
    jw_end(w, '}');
    jw_end(w, '}');
}

static void calls_write(struct writing *x, const struct block *blocks, uint32_t n)
{
    bool has_begun = false;
    for (uint32_t i = 0; i < n; i++) {
        if (blocks[i].kind != BLOCK_TOOL_CALL)
            continue;
        if (!has_begun)
            put_open(&x->w, S("tool_calls"), '[');
        has_begun = true;
        call_write(x, &blocks[i]);
    }
    if (has_begun)
        jw_end(&x->w, ']');
}

/* ---- messages ---- */

static void role_write(struct writing *x, const struct turn *t)
{
    if (t->role == ROLE_OTHER && x->is_own)     /* its name is in `rest` */
        return;
    bool is_old = t->role == ROLE_DEVELOPER && x->to->lacks_developer;
    enum role role = is_old ? ROLE_SYSTEM : t->role == ROLE_OTHER ? ROLE_USER : t->role;
    put_str(&x->w, S("role"), str_of(role_name(role)));
}

/* What a message carries beside role and content, from the blocks it was read into. */
static void own_extras_write(struct writing *x, const struct turn *t, const struct block *blocks, uint32_t n)
{
    bool has_images = false;
    for (uint32_t i = 0; i < n; i++) {
        const struct block *b = &blocks[i];
        if (b->kind == BLOCK_REFUSAL && str_eq(b->raw_type, S("refusal")))
            put_str(&x->w, S("refusal"), b->text);
        if (b->kind == BLOCK_TEXT)
            put_given(&x->w, S("annotations"), b->citations);
        if (b->kind == BLOCK_TEXT && b->signature.len && !rest_find(&t->rest, S("extra_content")))
            openai_signature_write(&x->w, b->signature);
    }
    for (uint32_t i = 0; i < n; i++) {
        if (!str_eq(blocks[i].raw_type, S("images")))
            continue;
        if (!has_images)
            put_open(&x->w, S("images"), '[');
        has_images = true;
        image_part_write(x, &blocks[i], S("images"));
    }
    if (has_images)
        jw_end(&x->w, ']');
}

/* The same of a foreign message: the refusal is said, the others are told to be lost. */
static void foreign_extras_write(struct writing *x, const struct block *blocks, uint32_t n, uint32_t at)
{
    struct buf refusal = { 0 };
    for (uint32_t i = 0; i < n; i++) {
        const struct block *b = &blocks[i];
        if (b->kind == BLOCK_REFUSAL)
            buf_str(&refusal, b->text);
        if (b->kind == BLOCK_OTHER)
            translation_warn(x->t, block_place(x->p, x->a, at, i), "dropped");
        if (b->citations.len)
            translation_warn(x->t, S("citations"), "dropped");
        if (b->kind == BLOCK_TEXT && b->signature.len)
            translation_warn(x->t, S("thoughtSignature"), "dropped");
        for (size_t k = 0; k < b->rest.n && b->kind == BLOCK_TEXT; k++)
            translation_warn(x->t, b->rest.items[k].key, "dropped");
    }
    put_text(&x->w, S("refusal"), buf_view(&refusal));
    if (refusal.is_failed)
        arena_fail(x->a);
    buf_free(&refusal);
}

static bool has_kind(const struct block *blocks, uint32_t n, enum block_kind kind)
{
    for (uint32_t i = 0; i < n; i++)
        if (blocks[i].kind == kind)
            return true;
    return false;
}

/* One message of these blocks, which are turn `at`'s (or a join of several, of which `at` is the first). */
static int message_write(struct writing *x, const struct turn *t, const struct block *blocks, uint32_t n, uint32_t at)
{
    bool has_calls = has_kind(blocks, n, BLOCK_TOOL_CALL);
    jw_begin(&x->w, '{');
    role_write(x, t);
    if (x->is_own)
        own_thoughts_write(x, blocks, n);
    else
        foreign_thoughts_write(x, blocks, n, at);
    if (t->role == ROLE_ASSISTANT && !x->is_own) {          /* text only, and many servers want a string */
        const struct block *only = only_text(blocks, n);
        str text = only ? only->text : texts_join(x, blocks, n, false);
        put_key(&x->w, S("content"));
        if (only)
            block_text_write(only, &x->w);
        else if (text.len || !has_calls)
            jw_str(&x->w, text);
        else
            jw_null(&x->w);
        for (uint32_t i = 0; i < n; i++)
            if (is_content(x, &blocks[i]) && blocks[i].kind != BLOCK_TEXT)
                translation_warn(x->t, block_place(x->p, x->a, at, i), "dropped");
            else if (blocks[i].kind == BLOCK_TEXT && blocks[i].cache_control.len)
                translation_warn(x->t, S("cache_control"), "dropped");
    } else if (content_write(x, blocks, n, at, has_calls) < 0) {
        return -1;
    }
    if (x->is_own)
        own_extras_write(x, t, blocks, n);
    else
        foreign_extras_write(x, blocks, n, at);
    calls_write(x, blocks, n);
    put_text(&x->w, S("name"), t->name);
    rest_of(x, &t->rest, S(""), NULL, 0);
    jw_end(&x->w, '}');
    return 0;
}

static str joined(struct writing *x, str first, str second)
{
    struct buf b = { 0 };
    buf_str(&b, first);
    buf_str(&b, second);
    return buf_to_arena(&b, x->a);
}

/* {"role":"tool",...}. Pictures in it wait for the user's next message: a tool's message holds text alone. */
static int result_write(struct writing *x, uint32_t turn, uint32_t at)
{
    const struct turn *t = &x->p->turns[turn];
    const struct block *b = &t->blocks[at];
    jw_begin(&x->w, '{');
    put_str(&x->w, S("role"), S("tool"));
    put_str(&x->w, S("tool_call_id"), id_of(x, b->call_id));
    if (x->is_own) {
        put_raw(&x->w, S("content"), b->raw.len ? b->raw : S("null"));
        if (!str_eq(b->raw_type, S("function")))
            put_text(&x->w, S("name"), t->name);
        mark_write(x, b->cache_control);
        rest_of(x, &t->rest, S(""), NULL, 0);
        jw_end(&x->w, '}');
        return 0;
    }
    const struct block *only = b->is_error ? NULL : only_text(b->content, b->n_content);
    str text = only ? only->text : texts_join(x, b->content, b->n_content, true);
    if (b->is_error)
        text = joined(x, S("Error: "), text);
    for (uint32_t i = 0; i < b->n_content; i++) {
        enum block_kind kind = b->content[i].kind;
        if (kind == BLOCK_IMAGE || kind == BLOCK_FILE || kind == BLOCK_AUDIO)
            *PUSH(x->a, x->pending, x->n_pending) = &b->content[i];
        else if (kind == BLOCK_OTHER)
            translation_warn(x->t, block_place(x->p, x->a, turn, at), "dropped");
    }
    put_key(&x->w, S("content"));
    if (only)
        block_text_write(only, &x->w);
    else
        jw_str(&x->w, text.len || !x->n_pending ? text : S("The result is in the next message."));
    if (b->cache_control.len)
        mark_write(x, b->cache_control);
    jw_end(&x->w, '}');
    return 0;
}

/* The user's message: first what came back from tools and could not stand there, then the user's own blocks. */
static int user_write(struct writing *x, const struct turn *t, const struct block *blocks, uint32_t n, uint32_t at)
{
    if (!x->n_pending)
        return n ? message_write(x, t, blocks, n, at) : 0;
    struct block *all = ARENA_ARRAY(x->a, struct block, x->n_pending + n);
    for (uint32_t i = 0; i < x->n_pending; i++)
        all[i] = *x->pending[i];
    if (n)
        memcpy(all + x->n_pending, blocks, n * sizeof *all);
    struct turn user = { .role = ROLE_USER, .name = t && t->role == ROLE_USER ? t->name : S("") };
    uint32_t count = x->n_pending + n;
    x->n_pending = 0;
    return message_write(x, &user, all, count, at);
}

/* A foreign turn of user or tool: its results, each a message, then the rest. */
static int turn_with_results_write(struct writing *x, uint32_t at)
{
    const struct turn *t = &x->p->turns[at];
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->n; i++)
        n += t->blocks[i].kind != BLOCK_TOOL_RESULT;
    struct block *others = n == 0 || n == t->n ? t->blocks : ARENA_ARRAY(x->a, struct block, n);
    n = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        if (t->blocks[i].kind == BLOCK_TOOL_RESULT) {
            if (result_write(x, at, i) < 0)
                return -1;
        } else if (others != t->blocks) {
            others[n++] = t->blocks[i];
        } else {
            n++;
        }
    }
    if (t->role == ROLE_USER)
        return user_write(x, t, others, n, at);
    return 0;                           /* a tool's turn: more results may follow */
}

/* Joins turn `at` with the assistant's turns behind it while calls stand in what is joined; *next is behind them. */
static int assistant_write(struct writing *x, uint32_t at, uint32_t *next)
{
    const struct turn *turns = x->p->turns;
    uint32_t end = at + 1, n = turns[at].n;
    bool has_calls = has_kind(turns[at].blocks, turns[at].n, BLOCK_TOOL_CALL);
    while (end < x->p->n_turns && turns[end].role == ROLE_ASSISTANT && has_calls)
        n += turns[end++].n;
    *next = end;
    if (end == at + 1)
        return message_write(x, &turns[at], turns[at].blocks, turns[at].n, at);
    struct block *all = ARENA_ARRAY(x->a, struct block, n);
    n = 0;
    for (uint32_t i = at; i < end; i++)
        for (uint32_t k = 0; k < turns[i].n; k++)
            all[n++] = turns[i].blocks[k];
    return message_write(x, &turns[at], all, n, at);
}

static int foreign_turns_write(struct writing *x)
{
    const struct prompt *p = x->p;
    for (uint32_t i = 0; i < p->n_turns; ) {
        const struct turn *t = &p->turns[i];
        int rc = 0;
        if (t->role == ROLE_USER || t->role == ROLE_TOOL) {
            rc = turn_with_results_write(x, i++);
        } else {
            if (x->n_pending && user_write(x, NULL, NULL, 0, i) < 0)
                return -1;
            rc = t->role == ROLE_ASSISTANT ? assistant_write(x, i, &i) : message_write(x, t, t->blocks, t->n, i);
            i += t->role != ROLE_ASSISTANT;
        }
        if (rc < 0)
            return -1;
    }
    if (p->n_turns && p->turns[p->n_turns - 1].role == ROLE_ASSISTANT)
        translation_warn(x->t, knob_name(p, KNOB_MESSAGES), "approximated");    /* the answer begins anew behind it */
    return x->n_pending ? user_write(x, NULL, NULL, 0, p->n_turns) : 0;
}

static int own_turns_write(struct writing *x)
{
    for (uint32_t i = 0; i < x->p->n_turns; i++) {
        const struct turn *t = &x->p->turns[i];
        bool is_result = t->role == ROLE_TOOL && t->n == 1 && t->blocks[0].kind == BLOCK_TOOL_RESULT;
        if ((is_result ? result_write(x, i, 0) : message_write(x, t, t->blocks, t->n, i)) < 0)
            return -1;
    }
    return 0;
}

/* One system message: a string, or parts if marks are kept; with the instruction that stands for a schema. */
static void system_write(struct writing *x, str instruction)
{
    const struct prompt *p = x->p;
    bool has_marks = false;
    if (!p->n_system && !instruction.len)
        return;
    for (uint32_t i = 0; i < p->n_system; i++) {
        has_marks |= keeps_mark(x, p->system[i].cache_control);
        if (p->system[i].kind != BLOCK_TEXT)
            translation_warn(x->t, knob_name(p, KNOB_SYSTEM), "dropped");
        else if (p->system[i].cache_control.len && !has_marks)
            translation_warn(x->t, S("cache_control"), "dropped");
    }
    jw_begin(&x->w, '{');
    put_str(&x->w, S("role"), S("system"));
    jw_key(&x->w, S("content"));
    if (has_marks) {
        jw_begin(&x->w, '[');
        for (uint32_t i = 0; i < p->n_system; i++)
            if (p->system[i].kind == BLOCK_TEXT && p->system[i].text.len)
                text_part_write(x, &p->system[i]);
        if (instruction.len)
            text_part_write(x, &(struct block){ .kind = BLOCK_TEXT, .text = instruction });
        jw_end(&x->w, ']');
    } else {
        const struct block *only = instruction.len ? NULL : only_text(p->system, p->n_system);
        str text = only ? only->text : texts_join(x, p->system, p->n_system, true);
        if (text.len && instruction.len)
            text = joined(x, joined(x, text, S("\n\n")), instruction);
        if (only)
            block_text_write(only, &x->w);
        else
            jw_str(&x->w, text.len ? text : instruction);
    }
    jw_end(&x->w, '}');
}

/* ---- tools ---- */

static void function_write(struct writing *x, const struct tool *t, str member)
{
    bool is_custom = t->kind == TOOL_CUSTOM && !x->to->lacks_custom_tools;
    put_open(&x->w, member, '{');
    put_str(&x->w, S("name"), name_of(x, t->name));
    if (t->kind == TOOL_CUSTOM && !is_custom) {
        put_text(&x->w, S("description"), custom_tool_description(x->a, t));
        put_raw(&x->w, S("parameters"), CUSTOM_TOOL_SCHEMA);
    } else {
        put_text(&x->w, S("description"), t->description);
        if (is_custom)
            put_given(&x->w, S("format"), t->format);
        else if (t->parameters.len || !x->is_own)
            put_raw(&x->w, S("parameters"),
                    t->parameters.len ? t->parameters : S("{\"type\":\"object\",\"properties\":{}}"));
        if (t->strict >= 0 && !x->to->lacks_strict)
            put_bool(&x->w, S("strict"), t->strict);
        else if (t->strict > 0)
            translation_warn(x->t, S("strict"), "dropped");
    }
    rest_of(x, &t->rest, member, NULL, 0);
    jw_end(&x->w, '}');
}

static bool is_chosen(const struct prompt *p, str name)
{
    for (uint32_t i = 0; i < p->n_chosen; i++)
        if (str_eq(p->chosen[i], name))
            return true;
    return false;
}

/* Servers without allowed_tools are told of the allowed ones only. */
static bool narrows(const struct writing *x)
{
    return x->p->n_chosen > 0 && x->p->choice != CHOICE_TOOL && x->to->is_plain;
}

static bool tool_is_sent(struct writing *x, const struct tool *t)
{
    if (t->kind == TOOL_HOSTED && !x->is_own)
        return false;
    return !narrows(x) || t->kind == TOOL_HOSTED || is_chosen(x->p, t->name);
}

static uint32_t tools_write(struct writing *x)
{
    static const str nested[] = { S("function"), S("custom") };
    uint32_t n = 0;
    for (uint32_t i = 0; i < x->p->n_tools; i++) {
        const struct tool *t = &x->p->tools[i];
        if (!tool_is_sent(x, t)) {
            if (t->kind == TOOL_HOSTED)
                translation_warn(x->t, arena_printf(x->a, "tools[%u]", i), "dropped");
            continue;
        }
        if (n++ == 0)
            put_open(&x->w, S("tools"), '[');
        if (t->kind == TOOL_HOSTED) {
            jw_raw(&x->w, t->raw);
            continue;
        }
        str type = t->kind == TOOL_CUSTOM && !x->to->lacks_custom_tools ? S("custom") : S("function");
        jw_begin(&x->w, '{');
        put_str(&x->w, S("type"), type);
        function_write(x, t, type);
        mark_write(x, t->cache_control);
        rest_of(x, &t->rest, S(""), nested, COUNT_OF(nested));
        jw_end(&x->w, '}');
    }
    if (n)
        jw_end(&x->w, ']');
    return n;
}

static const struct tool *tool_named(const struct prompt *p, str name)
{
    for (uint32_t i = 0; i < p->n_tools; i++)
        if (p->tools[i].kind != TOOL_HOSTED && str_eq(p->tools[i].name, name))
            return &p->tools[i];
    return NULL;
}

static int choice_tool_write(struct writing *x, str name)
{
    const struct tool *t = tool_named(x->p, name);
    if (!t)
        return translation_refuse(x->t, knob_name(x->p, KNOB_TOOL_CHOICE), STR_FMT ": there is no tool '" STR_FMT "'",
                                  STR_ARG(knob_name(x->p, KNOB_TOOL_CHOICE)), STR_ARG(name));
    str type = t->kind == TOOL_CUSTOM && !x->to->lacks_custom_tools ? S("custom") : S("function");
    jw_begin(&x->w, '{');
    put_str(&x->w, S("type"), type);
    put_open(&x->w, type, '{');
    put_str(&x->w, S("name"), name_of(x, name));
    jw_end(&x->w, '}');
    jw_end(&x->w, '}');
    return 0;
}

static int choice_write(struct writing *x)
{
    static const str words[] = { [CHOICE_AUTO] = S("auto"), [CHOICE_NONE] = S("none"), [CHOICE_REQUIRED] = S("required") };
    const struct prompt *p = x->p;
    if (p->choice == CHOICE_UNSET)
        return 0;
    jw_key(&x->w, S("tool_choice"));
    if (p->choice == CHOICE_TOOL)
        return choice_tool_write(x, p->n_chosen ? p->chosen[0] : S(""));
    if (!p->n_chosen || narrows(x)) {
        jw_str(&x->w, words[p->choice]);
        return 0;
    }
    jw_begin(&x->w, '{');
    put_str(&x->w, S("type"), S("allowed_tools"));
    put_open(&x->w, S("allowed_tools"), '{');
    put_str(&x->w, S("mode"), words[p->choice]);
    put_open(&x->w, S("tools"), '[');
    for (uint32_t i = 0; i < p->n_chosen; i++)
        if (choice_tool_write(x, p->chosen[i]) < 0)
            return -1;
    jw_end(&x->w, ']');
    jw_end(&x->w, '}');
    jw_end(&x->w, '}');
    return 0;
}

static int tool_settings_write(struct writing *x)
{
    const struct prompt *p = x->p;
    if (!tools_write(x)) {
        if (p->choice == CHOICE_TOOL || p->choice == CHOICE_REQUIRED)
            return translation_lose(x->t, x->to, knob_name(p, KNOB_TOOL_CHOICE), "a call of a tool that is not there");
        return 0;
    }
    if (choice_write(x) < 0)
        return -1;
    if (p->parallel_tool_calls >= 0 && !x->to->lacks_parallel)
        put_bool(&x->w, S("parallel_tool_calls"), p->parallel_tool_calls);
    else if (p->parallel_tool_calls == 0)
        translation_warn(x->t, knob_name(p, KNOB_PARALLEL), "dropped");
    return 0;
}

/* ---- settings ---- */

static bool takes_effort(const struct writing *x)
{
    static const str names[] = { S("o1"), S("o3"), S("o4"), S("gpt-5"), S("gpt-6"), S("gpt-oss"), S("codex") };
    if (!x->to->knows_effort_by_name)
        return true;
    long slash = str_chr(x->to->model, '/');        /* "openai/gpt-5" */
    str name = str_from(x->to->model, (size_t)(slash + 1));
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (str_starts(name, names[i]))
            return true;
    return false;
}

/* Words of the others, where this format has fewer: compatible servers know low, medium and high. */
static str effort_of(struct writing *x, str effort)
{
    bool is_high = str_eq(effort, S("max")) || str_eq(effort, S("xhigh"));
    bool is_openai = x->is_own || str_starts(str_of(x->p->dialect->name), S("openai"));
    if ((is_high && (!is_openai || x->to->is_plain)) || (!x->is_own && str_eq(effort, S("max"))))
        return S("high");
    if (str_eq(effort, S("minimal")) && x->to->is_plain && !x->is_own)
        return S("low");
    return effort;
}

static str effort_of_budget(int64_t tokens)
{
    return tokens <= 2048 ? S("low") : tokens <= 8192 ? S("medium") : S("high");
}

static void effort_write(struct writing *x)
{
    const struct prompt *p = x->p;
    str effort = p->reasoning_effort;
    if (x->is_own) {
        put_text(&x->w, S("reasoning_effort"), effort);
        return;
    }
    if (!effort.len && (p->reasoning == REASONING_ON || p->reasoning == REASONING_ADAPTIVE) && p->reasoning_budget > 0)
        effort = effort_of_budget(p->reasoning_budget);
    if (p->reasoning == REASONING_OFF && !str_starts(x->to->model, S("gpt-5.")))
        effort = S("");                             /* older models refuse "none", and most do not think unasked */
    if (!effort.len)
        return;
    if (!takes_effort(x)) {
        translation_warn(x->t, knob_name(p, KNOB_REASONING), "dropped");
        return;
    }
    str word = effort_of(x, effort);
    if (!str_eq(word, p->reasoning_effort))
        translation_warn(x->t, knob_name(p, KNOB_REASONING), "approximated");
    put_str(&x->w, S("reasoning_effort"), word);
}

static str schema_instruction(struct writing *x)
{
    const struct prompt *p = x->p;
    if (p->output != OUTPUT_JSON_SCHEMA || !x->to->lacks_json_schema)
        return S("");
    translation_warn(x->t, knob_name(p, KNOB_OUTPUT), "approximated");
    return output_instruction(x->a, p);
}

static void output_write(struct writing *x)
{
    const struct prompt *p = x->p;
    static const str nested[] = { S("response_format.json_schema") };
    static const str words[] = { S(""), [OUTPUT_TEXT] = S("text"), [OUTPUT_JSON_OBJECT] = S("json_object"),
                                 [OUTPUT_JSON_SCHEMA] = S("json_schema") };
    bool is_schema = p->output == OUTPUT_JSON_SCHEMA && !x->to->lacks_json_schema;
    if (p->output == OUTPUT_UNSET)
        return;
    put_open(&x->w, S("response_format"), '{');
    put_str(&x->w, S("type"), p->output == OUTPUT_JSON_SCHEMA && !is_schema ? S("json_object") : words[p->output]);
    if (is_schema) {
        put_open(&x->w, S("json_schema"), '{');
        put_str(&x->w, S("name"), p->schema_name.len ? p->schema_name : S("answer"));
        put_text(&x->w, S("description"), p->schema_description);
        put_given(&x->w, S("schema"), p->schema);
        if (p->schema_strict >= 0)
            put_bool(&x->w, S("strict"), p->schema_strict);
        rest_of(x, &p->rest, S("response_format.json_schema"), NULL, 0);
        jw_end(&x->w, '}');
    }
    rest_of(x, &p->rest, S("response_format"), nested, COUNT_OF(nested));
    jw_end(&x->w, '}');
}

static int stops_write(struct writing *x)
{
    const struct prompt *p = x->p;
    uint32_t n = p->n_stops;
    if (x->to->stops_max && n > x->to->stops_max) {
        if (translation_lose(x->t, x->to, knob_name(p, KNOB_STOP), "so many stop sequences") < 0)
            return -1;
        n = x->to->stops_max;
    }
    if (!n)
        return 0;
    put_strs(&x->w, S("stop"), p->stops, n);
    return 0;
}

/* OpenAI takes 64 bytes; Claude Code sends more. A digest names the same user. */
static void user_id_write(struct writing *x)
{
    str user = x->p->user;
    if (!x->is_own && user.len > USER_MAX) {
        user = arena_printf(x->a, "user-%016llx%016llx", (unsigned long long)hash_stable(user, 1),
                            (unsigned long long)hash_stable(user, 2));
        translation_warn(x->t, knob_name(x->p, KNOB_USER), "approximated");
    }
    put_text(&x->w, S("user"), user);
}

/* Members that OpenAI added over the years: of no use to a server that refuses what it does not know. */
static void newer_write(struct writing *x)
{
    const struct prompt *p = x->p;
    bool is_openai = x->is_own || str_starts(str_of(p->dialect->name), S("openai"));
    const struct { str key, text, raw; enum knob knob; bool is_known_here; } table[] = {
        { S("verbosity"), p->verbosity, S(""), KNOB_VERBOSITY, is_openai },
        { S("prompt_cache_key"), p->cache_key, S(""), KNOB_CACHE_KEY, is_openai },
        { S("service_tier"), p->service_tier, S(""), KNOB_SERVICE_TIER, is_openai },
        { S("metadata"), S(""), p->metadata, KNOB_METADATA, x->is_own },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        if (!table[i].text.len && !table[i].raw.len)
            continue;
        if (!table[i].is_known_here || (x->to->is_plain && !x->is_own))
            translation_warn(x->t, knob_name(p, table[i].knob), "dropped");
        else if (table[i].raw.len)
            put_raw(&x->w, table[i].key, table[i].raw);
        else
            put_str(&x->w, table[i].key, table[i].text);
    }
}

static int settings_write(struct writing *x)
{
    const struct prompt *p = x->p;
    if (p->max_tokens > 0)
        put_int(&x->w, x->to->max_tokens_is_old ? S("max_tokens") : S("max_completion_tokens"), p->max_tokens);
    put_number(&x->w, S("temperature"), p->temperature);
    put_number(&x->w, S("top_p"), p->top_p);
    put_number(&x->w, S("presence_penalty"), p->presence_penalty);
    put_number(&x->w, S("frequency_penalty"), p->frequency_penalty);
    if (p->top_k >= 0 && !x->is_own && !x->to->takes_top_k)
        translation_warn(x->t, knob_name(p, KNOB_TOP_K), "dropped");
    else if (p->top_k != -1)
        put_int(&x->w, S("top_k"), p->top_k);
    if (p->has_seed)
        put_int(&x->w, S("seed"), p->seed);
    if (p->n_answers > 1 && !x->is_own && translation_lose(x->t, x->to, knob_name(p, KNOB_N), "more than one answer") < 0)
        return -1;
    if (p->n_answers && x->is_own)
        put_int(&x->w, S("n"), p->n_answers);
    if (p->logprobs >= 0 || (!x->is_own && p->top_logprobs > 0))
        put_bool(&x->w, S("logprobs"), p->logprobs != 0);
    if (p->top_logprobs >= 0)
        put_int(&x->w, S("top_logprobs"), p->top_logprobs);
    if (stops_write(x) < 0)
        return -1;
    output_write(x);
    effort_write(x);
    user_id_write(x);
    newer_write(x);
    return 0;
}

/* A translated stream always asks for its usage: the gateway counts, whatever the client wanted. */
static void stream_write(struct writing *x)
{
    const struct prompt *p = x->p;
    if (!p->is_streaming)
        return;
    put_bool(&x->w, S("stream"), true);
    bool has_rest = x->is_own && rest_has(&p->rest, S("stream_options"));
    int usage = x->is_own ? p->includes_usage : 1;
    if (x->to->lacks_stream_options || (usage < 0 && !has_rest))
        return;
    put_open(&x->w, S("stream_options"), '{');
    if (usage >= 0)
        put_bool(&x->w, S("include_usage"), usage);
    rest_of(x, &p->rest, S("stream_options"), NULL, 0);
    jw_end(&x->w, '}');
}

/* Members of other dialects' requests that change the answer and have no place here. */
static int foreign_rest_lose(struct writing *x)
{
    static const struct { str key; const char *what; str harmless; } table[] = {
        { S("cachedContent"), "a stored prompt", S("") },
        { S("generationConfig.responseModalities"), "an answer in other forms than text", S("[\"TEXT\"]") },
        { S("generationConfig.speechConfig"), "speech", S("") },
        { S("container"), "a container", S("") }, { S("mcp_servers"), "servers of tools", S("[]") },
        { S("prompt"), "a stored prompt", S("") }, { S("background"), "an answer in the background", S("false") },
        { S("guardrailConfig"), "a guardrail", S("") }, { S("promptVariables"), "a stored prompt", S("") },
    };
    const struct members *rest = &x->p->rest;
    for (size_t i = 0; i < rest->n; i++) {
        size_t k = 0;
        while (k < COUNT_OF(table) && !str_eq(table[k].key, rest->items[i].key))
            k++;
        str raw = json_compact(x->a, rest->items[i].raw);
        if (k == COUNT_OF(table) || str_eq(raw, table[k].harmless))
            translation_warn(x->t, rest->items[i].key, "dropped");
        else if (translation_lose(x->t, x->to, rest->items[i].key, table[k].what) < 0)
            return -1;
    }
    return 0;
}

int openai_chat_request_write(const struct prompt *p, const struct target *to, struct translation *t, struct buf *out)
{
    static const str nested[] = { S("stream_options"), S("response_format") };
    struct writing x = { .p = p, .to = to, .t = t, .a = t->a, .w = { .out = out }, .is_own = p->dialect == &dialect_openai_chat };
    jw_begin(&x.w, '{');
    put_str(&x.w, S("model"), to->model);
    put_open(&x.w, S("messages"), '[');
    system_write(&x, schema_instruction(&x));
    if ((x.is_own ? own_turns_write(&x) : foreign_turns_write(&x)) < 0)
        return -1;
    jw_end(&x.w, ']');
    if (tool_settings_write(&x) < 0 || settings_write(&x) < 0)
        return -1;
    stream_write(&x);
    if (x.is_own)
        rest_write(&x.w, &p->rest, S(""), nested, COUNT_OF(nested));
    else if (foreign_rest_lose(&x) < 0)
        return -1;
    jw_end(&x.w, '}');
    return t->refusal.text[0] ? -1 : 0;
}
