/* dialect/openai_chat_reader.c -- chunks of Chat Completions as deltas.
 *
 * It forgives what compatible servers do (spec 04, 4.8): calls without index or id, whole calls in one piece, ids and roles
 * repeated, reasons that are "", usage in any chunk, a message where a delta belongs, no [DONE]. */
#include "base/hash.h"
#include "dialect/openai_chat_parts.h"
#include "dialect/ripple.h"

enum { CALLS_MAX = 1024, NAMELESS_MAX = 1 << 20 };      /* of one answer, beyond: an error; bytes before a call's name */

struct call {                           /* a tool call that is being filled in */
    int64_t index;                      /* the server's; -1 none */
    uint64_t id_hash;
    uint32_t block;                     /* ours */
    bool has_begun, is_closed, is_custom;
    struct buf early;                   /* arguments that came before the name */
    unsigned depth; bool in_string, after_escape, has_value;    /* where in its JSON it is */
};

struct chat_reader {
    struct arena *a;
    uint32_t next_block;
    uint32_t text, refusal, thought;    /* open blocks; NONE */
    struct call *calls; uint32_t n_calls;
    bool has_started;
    bool thought_is_plain;              /* the open thought's text comes as reasoning_content; items repeat it */
    size_t early_bytes;
    uint32_t followed;                  /* the call whose arguments came last, counted from 1; 0: an event brought none */
    struct ripple ripple;
};

#define NONE UINT32_MAX

struct chunk_reading {                  /* one event */
    struct chat_reader *s;
    const struct reading *f;
    const struct delta_sink *to;
};

void *openai_reader_new(struct arena *a)
{
    struct chat_reader *s = ARENA_NEW(a, struct chat_reader);
    *s = (struct chat_reader){ .a = a, .text = NONE, .refusal = NONE, .thought = NONE,
                               .ripple.padding = S(",\"obfuscation\":\"") };
    return s;
}

void openai_reader_free(void *reader)
{
    struct chat_reader *s = reader;
    for (uint32_t i = 0; i < s->n_calls; i++)
        buf_free(&s->calls[i].early);
    ripple_free(&s->ripple);
}

static void tell(const struct chunk_reading *x, const struct delta *d)
{
    x->to->take(x->to->arg, d);
}

static str member_text(const struct chunk_reading *x, jref object, str key)
{
    jref n = json_is(x->f->j, object, JSON_OBJECT) ? json_get(x->f->j, object, key) : JSON_NONE;
    return json_str(x->f->j, n, x->f->a);
}

static jref member(const struct chunk_reading *x, jref object, str key)
{
    return json_is(x->f->j, object, JSON_OBJECT) ? json_get(x->f->j, object, key) : JSON_NONE;
}

static void close_block(const struct chunk_reading *x, uint32_t *block)
{
    if (*block != NONE)
        tell(x, &(struct delta){ .kind = DELTA_CLOSE, .index = *block });
    if (block == &x->s->thought)
        x->s->thought_is_plain = false;
    *block = NONE;
}

/* Begins a block of text or reasoning unless it is the one that is open; the others end. */
static uint32_t ensure(const struct chunk_reading *x, uint32_t *which, const struct block *as)
{
    struct chat_reader *s = x->s;
    uint32_t *const all[] = { &s->text, &s->refusal, &s->thought };
    for (size_t i = 0; i < COUNT_OF(all); i++)
        if (all[i] != which)
            close_block(x, all[i]);
    if (*which == NONE) {
        *which = s->next_block++;
        tell(x, &(struct delta){ .kind = DELTA_BLOCK, .index = *which, .block = as });
    }
    return *which;
}

static void close_texts(const struct chunk_reading *x)
{
    close_block(x, &x->s->text);
    close_block(x, &x->s->refusal);
    close_block(x, &x->s->thought);
}

static void piece(const struct chunk_reading *x, uint32_t block, str text)
{
    if (text.len)
        tell(x, &(struct delta){ .kind = DELTA_PIECE, .index = block, .text = text });
}

static void take_text(const struct chunk_reading *x, enum block_kind kind, str text)
{
    struct chat_reader *s = x->s;
    const struct block as = { .kind = kind };
    uint32_t *which = kind == BLOCK_TEXT ? &s->text : kind == BLOCK_REFUSAL ? &s->refusal : &s->thought;
    if (text.len)
        piece(x, ensure(x, which, &as), text);
}

/* Whose thought this is, if the items beside its text say it already. */
static void take_plain_thought(const struct chunk_reading *x, jref delta, str text)
{
    static const str lists[] = { S("thinking_blocks"), S("reasoning_details") };
    struct block as = { .kind = BLOCK_REASONING };
    if (!text.len)
        return;
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        struct block b;
        jref list = member(x, delta, lists[i]);
        if (json_is(x->f->j, list, JSON_ARRAY) && json_count(x->f->j, list) && openai_thought_read(x->f, list + 1, i == 1, &b)) {
            as.origin = b.origin;
            as.item_id = b.item_id;
        }
    }
    piece(x, ensure(x, &x->s->thought, &as), text);
    x->s->thought_is_plain = true;
}

static void whole_block(const struct chunk_reading *x, const struct block *b)
{
    uint32_t index = x->s->next_block++;
    close_texts(x);
    tell(x, &(struct delta){ .kind = DELTA_BLOCK, .index = index, .block = b });
    tell(x, &(struct delta){ .kind = DELTA_CLOSE, .index = index });
}

/* A signature belongs to the thought that is open, or to one that was never said. Text in these items repeats what came as
 * reasoning_content, unless nothing came there. */
static void take_thoughts(const struct chunk_reading *x, jref list, bool are_details)
{
    if (!json_is(x->f->j, list, JSON_ARRAY))
        return;
    JSON_EACH_ITEM(x->f->j, list, item) {
        struct block b;
        if (!openai_thought_read(x->f, item, are_details, &b))
            continue;
        if (b.kind == BLOCK_SEALED_REASONING) {
            b.raw = b.raw_type = S("");
            whole_block(x, &b);
            continue;
        }
        const struct block as = { .kind = BLOCK_REASONING, .origin = b.origin, .item_id = b.item_id };
        uint32_t block = ensure(x, &x->s->thought, &as);
        if (!x->s->thought_is_plain)
            piece(x, block, b.text);
        if (!b.signature.len)
            continue;
        tell(x, &(struct delta){ .kind = DELTA_SIGNATURE, .index = block, .text = b.signature });
        close_block(x, &x->s->thought);
    }
}

/* Content in parts: Mistral's thinking beside text. */
static void take_parts(const struct chunk_reading *x, jref list)
{
    JSON_EACH_ITEM(x->f->j, list, part) {
        str type = member_text(x, part, S("type"));
        if (str_eq(type, S("text"))) {
            take_text(x, BLOCK_TEXT, member_text(x, part, S("text")));
        } else if (str_eq(type, S("thinking"))) {
            jref thinking = member(x, part, S("thinking"));
            if (!json_is(x->f->j, thinking, JSON_ARRAY)) {
                take_text(x, BLOCK_REASONING, json_str(x->f->j, thinking, x->f->a));
                continue;
            }
            JSON_EACH_ITEM(x->f->j, thinking, one)
                take_text(x, BLOCK_REASONING, member_text(x, one, S("text")));
        }
    }
}

static void take_images(const struct chunk_reading *x, jref list)
{
    if (!json_is(x->f->j, list, JSON_ARRAY))
        return;
    JSON_EACH_ITEM(x->f->j, list, image) {
        jref inner = member(x, image, S("image_url"));
        str url = json_is(x->f->j, inner, JSON_STRING) ? json_str(x->f->j, inner, x->f->a) : member_text(x, inner, S("url"));
        struct block b = { .kind = BLOCK_IMAGE };
        if (!media_from_data_url(url, &b.media))
            b.media.url = url;
        if (url.len)
            whole_block(x, &b);
    }
}

/* ---- calls in pieces ---- */

/* Follows the braces of the arguments, so that a call is known to be complete when the next one begins. */
static void call_follow(struct call *c, str json)
{
    for (size_t i = 0; i < json.len; i++) {
        char ch = json.ptr[i];
        if (c->after_escape)
            c->after_escape = false;
        else if (c->in_string)
            c->after_escape = ch == '\\', c->in_string = ch != '"';
        else if (ch == '"')
            c->in_string = true;
        else if (ch == '{' || ch == '[')
            c->depth++, c->has_value = true;
        else if ((ch == '}' || ch == ']') && c->depth)
            c->depth--;
    }
}

static bool call_is_complete(const struct call *c)
{
    return c->has_value && c->depth == 0 && !c->in_string;
}

/* Which call a piece is of: by index, unless an id says that it is another one; without index, by id, else the last. */
static struct call *call_find(struct chat_reader *s, int64_t index, str id, bool has_name)
{
    uint64_t hash = id.len ? hash_str(id) : 0;
    for (uint32_t i = s->n_calls; i-- > 0; ) {
        struct call *c = &s->calls[i];
        bool is_same_id = !hash || !c->id_hash || c->id_hash == hash;
        if (index >= 0 && c->index >= 0 ? c->index == index && is_same_id : hash && c->id_hash == hash)
            return c;
    }
    bool is_new = hash || has_name || !s->n_calls || index >= 0;
    return is_new ? NULL : &s->calls[s->n_calls - 1];
}

static struct call *call_add(const struct chunk_reading *x, int64_t index, str id)
{
    struct chat_reader *s = x->s;
    if (s->n_calls == CALLS_MAX)
        return NULL;
    close_texts(x);
    for (uint32_t i = 0; i < s->n_calls; i++) {
        struct call *c = &s->calls[i];
        if (c->has_begun && !c->is_closed && call_is_complete(c)) {
            c->is_closed = true;
            tell(x, &(struct delta){ .kind = DELTA_CLOSE, .index = c->block });
        }
    }
    struct call *c = PUSH(s->a, s->calls, s->n_calls);
    c->index = index;
    c->id_hash = id.len ? hash_str(id) : 0;
    return c;
}

static void call_begin(const struct chunk_reading *x, struct call *c, str id, str name, bool is_signed)
{
    const struct block b = { .kind = BLOCK_TOOL_CALL, .call_id = id, .name = name, .is_custom = c->is_custom,
                             .origin = is_signed ? S("gemini") : S("") };
    c->has_begun = true;
    c->block = x->s->next_block++;
    tell(x, &(struct delta){ .kind = DELTA_BLOCK, .index = c->block, .block = &b });
    piece(x, c->block, buf_view(&c->early));
    x->s->early_bytes -= c->early.len;
    buf_free(&c->early);
}

static int take_call(const struct chunk_reading *x, jref call, bool is_old)
{
    const struct reading *f = x->f;
    struct chat_reader *s = x->s;
    int64_t index = is_old ? 0 : -1;
    jref custom = is_old ? JSON_NONE : member(x, call, S("custom"));
    jref function = is_old ? call : json_is(f->j, custom, JSON_OBJECT) ? custom : member(x, call, S("function"));
    str id = is_old ? S("") : member_text(x, call, S("id")), name = member_text(x, function, S("name"));
    if (!is_old)
        json_int(f->j, member(x, call, S("index")), &index);
    struct call *c = call_find(s, index, id, name.len > 0);
    if (!c)
        c = call_add(x, index, id);
    if (!c)
        return err_set(f->e, "more than %d tool calls in one answer", CALLS_MAX);
    c->is_custom |= json_is(f->j, custom, JSON_OBJECT);
    jref given = member(x, function, c->is_custom ? S("input") : S("arguments"));
    str text = json_is(f->j, given, JSON_OBJECT) ? json_compact(f->a, json_raw(f->j, given)) : json_str(f->j, given, f->a);
    if (!c->has_begun && !name.len) {
        if (text.len > NAMELESS_MAX - s->early_bytes)
            return err_set(f->e, "a tool call without a name");
        buf_str(&c->early, text);
        s->early_bytes += text.len;
        return 0;
    }
    str signature = is_old ? S("") : openai_google_signature(f, member(x, call, S("extra_content")));
    if (!c->has_begun)
        call_begin(x, c, id, name, signature.len > 0);
    if (!c->is_custom) {
        call_follow(c, text);
        s->followed = text.len ? (uint32_t)(c - s->calls) + 1 : 0;
    }
    piece(x, c->block, text);
    if (signature.len)
        tell(x, &(struct delta){ .kind = DELTA_SIGNATURE, .index = c->block, .text = signature });
    return 0;
}

/* ---- events ---- */

static int take_delta(const struct chunk_reading *x, jref delta)
{
    const struct json *j = x->f->j;
    str thought = member_text(x, delta, S("reasoning_content"));
    if (!thought.len)
        thought = member_text(x, delta, S("reasoning"));
    take_plain_thought(x, delta, thought);
    take_thoughts(x, member(x, delta, S("thinking_blocks")), false);
    take_thoughts(x, member(x, delta, S("reasoning_details")), true);
    jref content = member(x, delta, S("content"));
    if (json_is(j, content, JSON_ARRAY))
        take_parts(x, content);
    else
        take_text(x, BLOCK_TEXT, json_str(j, content, x->f->a));
    take_text(x, BLOCK_REFUSAL, member_text(x, delta, S("refusal")));
    take_images(x, member(x, delta, S("images")));
    jref annotations = member(x, delta, S("annotations"));
    if (json_is(j, annotations, JSON_ARRAY) && x->s->text != NONE) {
        JSON_EACH_ITEM(j, annotations, one)
            tell(x, &(struct delta){ .kind = DELTA_CITATION, .index = x->s->text, .text = json_raw(j, one) });
    }
    jref calls = member(x, delta, S("tool_calls"));
    if (json_is(j, calls, JSON_ARRAY)) {
        JSON_EACH_ITEM(j, calls, call)
            if (take_call(x, call, false) < 0)
                return -1;
    }
    jref old = member(x, delta, S("function_call"));
    return json_is(j, old, JSON_OBJECT) ? take_call(x, old, true) : 0;
}

static int take_choice(const struct chunk_reading *x, jref choice)
{
    const struct json *j = x->f->j;
    int64_t index = 0;
    json_int(j, member(x, choice, S("index")), &index);
    if (index != 0)
        return 0;                       /* requests for several answers are not translated */
    jref delta = member(x, choice, S("delta"));
    if (!json_is(j, delta, JSON_OBJECT))
        delta = member(x, choice, S("message"));
    if (json_is(j, delta, JSON_OBJECT) && take_delta(x, delta) < 0)
        return -1;
    jref tokens = member(x, member(x, choice, S("logprobs")), S("content"));
    if (json_is(j, tokens, JSON_ARRAY) && json_count(j, tokens) && x->s->text != NONE)
        tell(x, &(struct delta){ .kind = DELTA_LOGPROBS, .index = x->s->text, .text = json_raw(j, tokens) });
    str word = member_text(x, choice, S("finish_reason"));
    enum stop_reason stop = openai_stop_read(word);
    if (stop == STOP_UNKNOWN)
        return 0;
    if (stop == STOP_END && x->s->n_calls)
        stop = STOP_TOOLS;              /* forced calls end with "stop", and so do untidy servers */
    tell(x, &(struct delta){ .kind = DELTA_STOP, .stop = stop, .stop_text = word });
    return 0;
}

static void take_usage(const struct chunk_reading *x, jref n)
{
    struct usage u;
    if (!json_is(x->f->j, n, JSON_OBJECT))
        return;
    openai_usage_read(x->f->j, n, &u);
    tell(x, &(struct delta){ .kind = DELTA_USAGE, .usage = &u });
}

static int event_read(struct chat_reader *s, struct arena *scratch, const struct stream_event *e, const struct delta_sink *to)
{
    struct json j;
    struct json_error je;
    struct failure failure;
    struct err why = { 0 };
    const struct reading f = { .a = scratch, .j = &j, .e = &why };
    const struct chunk_reading x = { .s = s, .f = &f, .to = to };
    str data = str_trim(e->data);
    if (!data.len)
        return 0;
    if (str_starts(data, S("[DONE]"))) {
        tell(&x, &(struct delta){ .kind = DELTA_END });
        return 0;
    }
    if (json_parse(scratch, data, &j, &je) < 0 || !json_is(&j, 0, JSON_OBJECT))
        return -1;
    jref choices = json_get(&j, 0, S("choices"));
    bool is_error = json_get(&j, 0, S("error")) != JSON_NONE && !json_is(&j, json_get(&j, 0, S("error")), JSON_NULL);
    if ((is_error || str_eq(e->name, S("error"))) && openai_error_read(scratch, &j, 502, &failure)) {
        tell(&x, &(struct delta){ .kind = DELTA_ERROR, .failure = &failure });
        return 0;
    }
    bool has_choice = json_is(&j, choices, JSON_ARRAY) && json_count(&j, choices);
    if (!s->has_started && has_choice) {            /* Azure's first chunk has no choices and no names */
        s->has_started = true;
        struct delta start = { .kind = DELTA_START, .id = member_text(&x, 0, S("id")), .model = member_text(&x, 0, S("model")),
                               .service_tier = member_text(&x, 0, S("service_tier")),
                               .system_fingerprint = member_text(&x, 0, S("system_fingerprint")) };
        json_int(&j, json_get(&j, 0, S("created")), &start.created);
        tell(&x, &start);
    }
    if (has_choice) {
        JSON_EACH_ITEM(&j, choices, choice)
            if (take_choice(&x, choice) < 0)
                return -1;
    }
    take_usage(&x, member(&x, json_get(&j, 0, S("x_groq")), S("usage")));
    take_usage(&x, json_get(&j, 0, S("usage")));
    return 0;
}

int openai_reader_event(void *reader, struct arena *scratch, const struct stream_event *e, const struct delta_sink *to)
{
    struct chat_reader *s = reader;
    struct ripple_watch w;
    str text;
    if (ripple_next(&s->ripple, e, scratch, &text)) {
        if (s->followed)
            call_follow(&s->calls[s->followed - 1], text);
        to->take(to->arg, &(struct delta){ .kind = DELTA_PIECE, .index = s->ripple.index, .text = text });
        return 0;
    }
    s->followed = 0;
    int rc = event_read(s, scratch, e, ripple_watch(&w, to));
    ripple_learn(&s->ripple, e, &w);
    return rc;
}
