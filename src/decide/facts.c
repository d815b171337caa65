/* decide/facts.c -- texts and counts that signals are computed from (spec 01, section 2.1).
 *
 * Nearly everything is a view of the client's bytes. Text is only copied where VSR defines a
 * text as several joined by spaces, and where a long one is sampled. */
#include "decide/facts.h"

#include <math.h>

#include "base/json.h"

enum {
    SAMPLE_RUNES = 2048,                /* longer texts are sampled for model-based signals */
    SAMPLE_HEAD = 682, SAMPLE_MIDDLE = 682, SAMPLE_TAIL = 684,

    IMAGE_TOKENS = 8192,                /* the token floor's prices, spec 2.4.9 */
    MESSAGE_TOKENS = 4, TOOL_CALL_TOKENS = 8, TOOL_RESULT_TOKENS = 8, TOOL_TOKENS = 8,
};

#define OMISSION "\n[... text omitted ...]\n"

static uint64_t add_saturating(uint64_t a, uint64_t b)
{
    uint64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

static uint64_t multiply_saturating(uint64_t a, uint64_t b)
{
    uint64_t product;
    return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

/* Texts joined by one space. A single one is returned as it is. */
static str text_join(struct arena *a, const str *texts, size_t n)
{
    if (n == 0)
        return S("");
    if (n == 1)
        return texts[0];
    size_t len = n - 1;
    for (size_t i = 0; i < n; i++)
        len += texts[i].len;
    char *to = arena_try(a, len);
    if (!to)
        return texts[0];                        /* the arena says exhausted; the request fails */
    char *at = to;
    for (size_t i = 0; i < n; i++) {
        if (i)
            *at++ = ' ';
        if (texts[i].len)
            memcpy(at, texts[i].ptr, texts[i].len);
        at += texts[i].len;
    }
    return (str){ to, len };
}

str message_part(const struct message *m, uint32_t i, struct arena *a)
{
    if (!m->is_spelled)
        return m->texts[i];
    str inside = { m->texts[i].ptr + 1, m->texts[i].len - 2 };
    return str_chr(inside, '\\') < 0 ? inside : json_string_text(inside, a);
}

str message_text(const struct message *m, struct arena *a)
{
    if (!m->is_spelled)
        return text_join(a, m->texts, m->n_texts);
    str *texts = arena_try(a, m->n_texts * sizeof *texts);
    for (uint32_t i = 0; texts && i < m->n_texts; i++)
        texts[i] = message_part(m, i, a);
    return text_join(a, texts, texts ? m->n_texts : 0);
}

/* ---- runes ---- */

static bool is_rune_start(char c)
{
    return ((unsigned char)c & 0xc0) != 0x80;
}

/* Runes of valid UTF-8: bytes that do not continue one. Eight bytes at a time; each byte of
 * `sum` counts at most 255 rounds. */
static size_t rune_count(str s)
{
    const uint64_t ones = 0x0101010101010101u;
    size_t continuations = 0, i = 0;
    while (s.len - i >= 8) {
        uint64_t sum = 0;
        for (int round = 0; round < 255 && s.len - i >= 8; round++, i += 8) {
            uint64_t v;
            memcpy(&v, s.ptr + i, 8);
            sum += (v >> 7) & ~(v >> 6) & ones;
        }
        uint64_t pairs = (sum & 0x00ff00ff00ff00ffu) + (sum >> 8 & 0x00ff00ff00ff00ffu);
        continuations += pairs * 0x0001000100010001u >> 48;
    }
    for (; i < s.len; i++)
        continuations += !is_rune_start(s.ptr[i]);
    return s.len - continuations;
}

/* Byte offset behind `n` runes from `at`. */
static size_t rune_forward(str s, size_t at, size_t n)
{
    for (; n && at < s.len; n--) {
        at++;
        while (at < s.len && !is_rune_start(s.ptr[at]))
            at++;
    }
    return at;
}

/* Byte offset `n` runes before the end. */
static size_t rune_backward(str s, size_t n)
{
    size_t at = s.len;
    for (; n && at > 0; n--) {
        at--;
        while (at > 0 && !is_rune_start(s.ptr[at]))
            at--;
    }
    return at;
}

str facts_sample(struct arena *a, str s)
{
    if (s.len <= SAMPLE_RUNES)
        return s;
    size_t runes = rune_count(s);
    if (runes <= SAMPLE_RUNES)
        return s;
    size_t head = rune_forward(s, 0, SAMPLE_HEAD);
    size_t middle = rune_forward(s, head, (runes - SAMPLE_MIDDLE) / 2 - SAMPLE_HEAD);
    size_t middle_end = rune_forward(s, middle, SAMPLE_MIDDLE);
    size_t tail = rune_backward(s, SAMPLE_TAIL);
    const str pieces[] = {
        { s.ptr, head }, S(OMISSION), { s.ptr + middle, middle_end - middle }, S(OMISSION),
        { s.ptr + tail, s.len - tail },
    };
    size_t len = 0;
    for (size_t i = 0; i < COUNT_OF(pieces); i++)
        len += pieces[i].len;
    char *to = arena_try(a, len), *at = to;
    if (!to)
        return str_upto(s, head);
    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        memcpy(at, pieces[i].ptr, pieces[i].len);
        at += pieces[i].len;
    }
    return (str){ to, len };
}

void facts_shorten(struct facts *f, struct arena *a)
{
    if (f->current_user.ptr == f->evaluation_text.ptr)
        f->current_user = f->shortened->text;
    f->evaluation_text = f->shortened->text;
    f->sampled_text = facts_sample(a, f->evaluation_text);
}

/* ---- the token floor ---- */

/* Of what is sent; the room for the answer comes on top. */
static uint64_t prompt_floor(const struct chat *c)
{
    uint64_t text = 0, images = 0, calls = 0, results = 0;
    uint64_t tokens = c->structured_bytes;
    for (uint32_t i = 0; i < c->n_messages; i++) {
        const struct message *m = &c->messages[i];
        text = add_saturating(text, m->text_bytes);
        tokens = add_saturating(tokens, m->structured_bytes);
        images += m->n_images;
        calls += m->n_tool_calls;
        results += m->role == ROLE_TOOL;
    }
    tokens = add_saturating(tokens, text / 4 + (text % 4 != 0));
    tokens = add_saturating(tokens, multiply_saturating(images, IMAGE_TOKENS));
    tokens = add_saturating(tokens, (uint64_t)c->n_messages * MESSAGE_TOKENS);
    tokens = add_saturating(tokens, calls * TOOL_CALL_TOKENS);
    tokens = add_saturating(tokens, results * TOOL_RESULT_TOKENS);
    return add_saturating(tokens, (uint64_t)c->n_tools * TOOL_TOKENS);
}

/* Of the context text: system, developer and assistant texts and the current user's, joined by
 * spaces. Only its length is needed, so it is never made. */
static uint64_t context_estimate(const struct facts *f)
{
    size_t bytes = f->n_non_users ? f->n_non_users - 1 : 0;
    for (uint32_t i = 0; i < f->n_non_users; i++)
        bytes += f->non_users[i].len;
    if (bytes && f->current_user.len)
        bytes++;
    bytes += f->current_user.len;
    double tokens = ceil((double)bytes / f->bytes_per_token);
    return tokens < 1e18 ? (uint64_t)tokens : UINT64_MAX;
}

/* ---- the messages ---- */

static bool is_tool_loop(const struct chat *c, uint32_t n_tool_calls, uint32_t n_results)
{
    if (c->n_messages == 0)
        return false;
    if (c->messages[c->n_messages - 1].role == ROLE_TOOL || n_tool_calls > n_results)
        return true;
    for (uint32_t i = c->n_messages; i-- > 1; ) {
        if (c->messages[i].role == ROLE_USER)
            return c->messages[i - 1].role == ROLE_TOOL;
    }
    return false;
}

static bool is_said(const struct message *m)
{
    for (uint32_t i = 0; i < m->n_texts; i++) {
        if (str_trim(m->texts[i]).len)
            return true;
    }
    return false;
}

/* Results that a model has yet to speak about. Calls alone do not end a cycle: some clients send each call of a turn with its
 * result behind it. What the assistant says at the very end is the beginning of the answer that is asked for. */
static uint32_t new_results(const struct chat *c)
{
    uint32_t n = 0, i = c->n_messages;
    while (i > 0 && c->messages[i - 1].role == ROLE_ASSISTANT)
        i--;
    for (; i > 0; i--) {
        const struct message *m = &c->messages[i - 1];
        if (m->role == ROLE_ASSISTANT && is_said(m))
            break;
        n += m->role == ROLE_TOOL;
    }
    return n;
}

/* The last non-empty user text becomes the current one, those before it the prior ones. */
static void user_text_add(struct facts *f, str raw)
{
    str text = str_trim(raw);
    if (text.len == 0)
        return;
    if (f->current_user.len)
        f->prior_users[f->n_prior_users++] = f->current_user;
    f->current_user = text;
    f->current_user_raw = raw;
}

void facts_build(struct facts *f, struct arena *a, const struct chat *chat)
{
    const struct facts given = *f;
    *f = (struct facts){
        .chat = chat, .user_id = given.user_id, .groups = given.groups,
        .n_groups = given.n_groups, .has_identity = given.has_identity, .now_ns = given.now_ns,
        .seed = given.seed,
        .bytes_per_token = given.bytes_per_token > 0 ? given.bytes_per_token : 4,
        .current_user = S(""), .current_user_raw = S(""),
    };
    /* A stranger chose the size. Without memory there are no texts, the arena says exhausted, and
     * the request is refused at the next stage. */
    str *texts = arena_try(a, 2 * (size_t)chat->n_messages * sizeof *texts);
    uint32_t n_messages = texts ? chat->n_messages : 0;
    f->prior_users = texts;
    f->non_users = texts + n_messages;
    for (uint32_t i = 0; i < n_messages; i++) {
        const struct message *m = &chat->messages[i];
        f->n_role[m->role]++;
        f->n_tool_calls += m->n_tool_calls;
        if (m->role == ROLE_TOOL || m->role == ROLE_OTHER)
            continue;
        str raw = message_text(m, a);
        if (m->role == ROLE_USER) {
            f->n_images += m->n_images;
            user_text_add(f, raw);
            continue;
        }
        str text = str_trim(raw);
        if (text.len) {
            f->non_users[f->n_non_users++] = text;
            f->has_assistant_reply |= m->role == ROLE_ASSISTANT;
        }
    }
    f->has_developer = f->n_role[ROLE_DEVELOPER] > 0;
    f->is_tool_loop_active = is_tool_loop(chat, f->n_tool_calls, f->n_role[ROLE_TOOL]);
    f->n_new_results = new_results(chat);
    f->evaluation_text = f->current_user.len || f->n_images
                             ? f->current_user
                             : text_join(a, f->non_users, f->n_non_users);
    f->sampled_text = facts_sample(a, f->evaluation_text);
    uint64_t estimate = context_estimate(f), sent = prompt_floor(chat), floor = add_saturating(sent, chat->output_reserve);
    f->context_tokens = estimate > floor ? estimate : floor;
    f->prompt_tokens = estimate > sent ? estimate : sent;
}
