/* neural/window.c -- see window.h. One rule cuts tokens and bytes alike: as few windows as will do, all of the same size,
 * window i of n starting at i * (length - size) / (n - 1). */
#include "neural/window.h"

#include <stdlib.h>

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* How a length is cut: so few windows that each is at most `max` and neighbours share `overlap`, then as even as they come. */
struct cut { size_t length, size; uint32_t n; };

static struct cut cut_of(size_t length, size_t max, size_t overlap, uint32_t n_max)
{
    if (length <= max)
        return (struct cut){ length, length, 1 };
    size_t stride = max - overlap, n = (length - overlap + stride - 1) / stride;
    if (n > n_max)
        return (struct cut){ length, max, n_max };              /* with gaps */
    return (struct cut){ length, (length + (n - 1) * overlap + n - 1) / n, (uint32_t)n };
}

static size_t cut_start(const struct cut *c, uint32_t i)
{
    return c->n < 2 ? 0 : (c->length - c->size) * i / (c->n - 1);
}

static size_t character_start(str text, size_t at)      /* back to the start of a character; broken UTF-8: at most three bytes */
{
    for (unsigned i = 0; i < 3 && at > 0 && at < text.len && ((unsigned char)text.ptr[at] & 0xC0) == 0x80; i++)
        at--;
    return at;
}

uint32_t pieces_choose(str text, size_t whole, uint32_t bytes, uint32_t n_max, struct piece out[WINDOWS_MAX])
{
    if (text.len <= whole) {
        out[0] = (struct piece){ 0, (uint32_t)text.len };
        return 1;
    }
    struct cut c = cut_of(text.len, bytes, bytes / 16, n_max);
    for (uint32_t i = 0; i < c.n; i++) {
        size_t start = cut_start(&c, i), end = start + c.size < text.len ? start + c.size : text.len;
        start = character_start(text, start);
        end = character_start(text, end);
        out[i] = (struct piece){ (uint32_t)start, (uint32_t)(end - start) };
    }
    return c.n;
}

static uint32_t content_max(const struct window_rule *r)         /* tokens of the text itself in a window */
{
    return r->tokens - r->frame.n_before - r->n_prompt - r->frame.n_after;
}

void window_rule_make(struct window_rule *r, const struct tokenizer *t, uint32_t tokens, int32_t pad)
{
    *r = (struct window_rule){ .tokenizer = t, .frame = tokenizer_frame(t), .pad = pad, .tokens = tokens };
    r->overlap = min_u32(WINDOW_OVERLAP, content_max(r) / 4);
    r->n_max = min_u32(WINDOWS_MAX, tokens < TEXT_TOKENS_MAX ? TEXT_TOKENS_MAX / tokens : 1);
}

void window_rule_prompts(struct window_rule *r, const struct window_prompt *list, uint32_t n,
                         const struct window_prompt *by_default)
{
    r->prompts = list;
    r->n_prompts = n;
    r->prompt = by_default;
    for (uint32_t i = 0; i < n; i++)
        r->n_prompt = list[i].n > r->n_prompt ? list[i].n : r->n_prompt;
    r->overlap = min_u32(WINDOW_OVERLAP, content_max(r) / 4);
}

/* The prompt that stands in the text already, so that it is not read twice, or the default. */
static const struct window_prompt *prompt_of(const struct window_rule *r, str text, size_t *n_bytes)
{
    for (uint32_t i = 0; i < r->n_prompts; i++)
        if (r->prompts[i].text.len && str_starts(text, r->prompts[i].text)) {
            *n_bytes = r->prompts[i].text.len;
            return &r->prompts[i];
        }
    *n_bytes = 0;
    return r->prompt;
}

void windows_free(struct windows *w)
{
    free(w->ids);
    free(w->bytes);
    *w = (struct windows){ 0 };
}

static bool room_for(struct windows *w, size_t n)
{
    if (n <= w->cap)
        return true;
    size_t cap = w->cap ? w->cap : 512;
    while (cap < n)
        cap *= 2;
    int32_t *ids = realloc(w->ids, cap * sizeof *ids);
    if (ids)
        w->ids = ids;
    struct byte_range *bytes = ids ? realloc(w->bytes, cap * sizeof *bytes) : NULL;
    if (!bytes)
        return false;
    w->bytes = bytes;
    w->cap = (uint32_t)cap;
    return true;
}

static void put(struct windows *w, int32_t id, uint32_t from, uint32_t to)
{
    w->ids[w->n_tokens] = id;
    w->bytes[w->n_tokens++] = (struct byte_range){ from, to };
}

/* Tokens from .. to of t become a window. `shift`: where the tokenised bytes begin in the text. */
static bool window_add(struct windows *w, const struct window_rule *r, const struct window_prompt *prompt, const struct tokens *t,
                       uint32_t from, uint32_t to, uint32_t shift)
{
    const struct tokenizer_frame *f = &r->frame;
    if (!room_for(w, (size_t)w->n_tokens + f->n_before + r->n_prompt + (to - from) + f->n_after + 1))
        return false;
    struct window *v = &w->list[w->n++];
    *v = (struct window){ .at = w->n_tokens };
    for (unsigned i = 0; i < f->n_before; i++)
        put(w, f->before[i], 0, 0);
    for (uint32_t i = 0; prompt && i < prompt->n; i++)
        put(w, prompt->ids[i], 0, 0);
    v->own_from = w->n_tokens;
    for (uint32_t i = from; i < to; i++)
        put(w, t->ids[i], shift + t->from[i], shift + t->to[i]);
    v->own_to = w->n_tokens;
    for (unsigned i = 0; i < f->n_after; i++)
        put(w, f->after[i], 0, 0);
    if (w->n_tokens == v->at)
        put(w, r->pad, 0, 0);
    v->n = w->n_tokens - v->at;
    v->bytes = (struct byte_range){ shift, shift };
    if (from < to)
        v->bytes = (struct byte_range){ shift + t->from[from], shift + t->to[to - 1] };
    return true;
}

static int by_tokens(struct windows *w, const struct window_rule *r, const struct window_prompt *prompt, const struct tokens *t,
                     uint32_t shift)
{
    struct cut c = cut_of(t->n, content_max(r), r->overlap, r->n_max);
    uint32_t size = (uint32_t)c.size, before = 0;
    for (uint32_t i = 0; i < c.n; i++) {
        uint32_t start = (uint32_t)cut_start(&c, i);
        if (!window_add(w, r, prompt, t, start, start + size, shift))
            return -1;
        uint32_t shared = i && before + size > start ? before + size - start : 0;
        if (shared) {                           /* each of the two gets the half on its side */
            w->list[i - 1].own_to -= shared - shared / 2;
            w->list[i].own_from += shared / 2;
        }
        w->list[i].follows = i && before + size >= start;
        before = start;
    }
    return 0;
}

int windows_make(struct windows *w, const struct window_rule *r, const char *copy, const struct piece *pieces, uint32_t n_pieces,
                 size_t text_bytes, struct tokenizer_scratch *s)
{
    static const str no_pair = { NULL, 0 };
    size_t skipped;
    const struct window_prompt *prompt = prompt_of(r, (str){ copy, n_pieces ? pieces[0].len : 0 }, &skipped);
    w->n = w->n_tokens = 0;
    for (uint32_t i = 0; i < n_pieces; copy += pieces[i++].len) {
        struct tokens t;
        size_t skip = i ? 0 : skipped;
        if (tokenizer_encode(r->tokenizer, str_from((str){ copy, pieces[i].len }, skip), no_pair, false, s, &t) < 0)
            return -1;
        uint32_t shift = pieces[i].from + (uint32_t)skip;
        if (n_pieces == 1) {
            if (by_tokens(w, r, prompt, &t, shift) < 0)
                return -1;
            continue;
        }
        uint32_t size = min_u32(content_max(r), t.n), start = i + 1 < n_pieces ? 0 : t.n - size;    /* the last one reads to the end */
        if (!window_add(w, r, prompt, &t, start, start + size, shift))
            return -1;
    }
    w->list[0].bytes.from = 0;                  /* what has no token there belongs to the edge windows all the same */
    w->list[w->n - 1].bytes.to = (uint32_t)text_bytes;
    return 0;
}
