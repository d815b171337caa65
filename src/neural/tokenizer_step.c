/* neural/tokenizer_step.c -- runs the list of steps that a tokenizer.json describes, and what normalisers and pre-tokenisers
 * share.
 *
 * A rewriting step copies the whole text, split by split, into the other of two buffers; a cutting step replaces the list of
 * splits. Splits that are added tokens already pass through untouched. What becomes empty disappears. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "neural/tokenizer_parts.h"

void steps_run(const struct steps *steps, struct work *w)
{
    for (size_t i = 0; i < steps->n && !w->is_failed; i++) {
        const struct step *s = steps->items + i;
        w->out.n = w->cuts.n = 0;
        for (size_t k = 0; k < w->splits.n; k++) {
            struct split in = w->splits.items[k];
            if (s->cut) {
                if (in.id >= 0)
                    splits_add(&w->cuts, in);
                else
                    s->cut(s, w, &in);
                continue;
            }
            struct split out = { .from = (uint32_t)w->out.n, .origin = in.origin, .id = in.id };
            if (in.id >= 0)
                text_add(&w->out, w->text.bytes + in.from, w->text.spans + in.from, in.to - in.from);
            else
                s->rewrite(s, w, &in);
            out.to = (uint32_t)w->out.n;
            if (out.to > out.from)
                splits_add(&w->cuts, out);
        }
        struct splits splits = w->splits;
        w->splits = w->cuts;
        w->cuts = splits;
        if (s->rewrite) {
            struct text text = w->text;
            w->text = w->out;
            w->out = text;
        }
        w->is_failed = w->is_failed || w->text.is_failed || w->splits.is_failed;
    }
}

/* ---- what grows ---- */

bool text_reserve(struct text *t, size_t more)
{
    if (more <= t->cap - t->n)
        return true;
    size_t cap = t->n + more + (t->n + more) / 2 + 256;
    if (t->is_failed || more > t->most || t->n + more > t->most)
        goto failed;
    char *bytes = realloc(t->bytes, cap);
    if (!bytes)
        goto failed;
    t->bytes = bytes;
    struct span *spans = realloc(t->spans, cap * sizeof *spans);
    if (!spans)
        goto failed;
    t->spans = spans;
    t->cap = cap;
    return true;
failed:
    t->is_failed = true;
    return false;
}

void text_free(struct text *t)
{
    free(t->bytes);
    free(t->spans);
    *t = (struct text){ 0 };
}

void text_add(struct text *t, const char *bytes, const struct span *spans, size_t n)
{
    if (n == 0 || !text_reserve(t, n))
        return;
    memcpy(t->bytes + t->n, bytes, n);
    memcpy(t->spans + t->n, spans, n * sizeof *spans);
    t->n += n;
}

void splits_add(struct splits *s, struct split one)
{
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 256;
        struct split *items = s->is_failed ? NULL : realloc(s->items, cap * sizeof *items);
        if (!items) {
            s->is_failed = true;
            return;
        }
        s->items = items;
        s->cap = cap;
    }
    s->items[s->n++] = one;
}

void *work_room(struct work *w, void *items, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap)
        return items;
    size_t more = need + need / 2 + 64;
    void *grown = w->is_failed ? NULL : realloc(items, more * size);
    if (!grown) {
        w->is_failed = true;
        return NULL;
    }
    *cap = more;
    return grown;
}

void work_free(struct work *w)
{
    text_free(&w->text);
    text_free(&w->out);
    free(w->splits.items);
    free(w->cuts.items);
    free(w->sources);
    free(w->runes);
    *w = (struct work){ 0 };
}

uint32_t text_next(str s, size_t *at)
{
    const unsigned char *p = (const unsigned char *)s.ptr + *at;
    size_t left = s.len - *at, need = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2, n = 1;
    ++*at;
    if (p[0] < 0x80)
        return p[0];
    if (p[0] < 0xC2 || p[0] > 0xF4)
        return UTF8_BAD;
    unsigned char low = p[0] == 0xE0 ? 0xA0 : p[0] == 0xF0 ? 0x90 : 0x80;       /* what the second byte may be */
    unsigned char high = p[0] == 0xED ? 0x9F : p[0] == 0xF4 ? 0x8F : 0xBF;
    uint32_t code = p[0] & (0xFFu >> (need + 1));
    while (n < need && n < left && p[n] >= low && p[n] <= high) {
        code = code << 6 | (p[n++] & 0x3F);
        low = 0x80;
        high = 0xBF;
    }
    *at += n - 1;
    return n == need ? code : UTF8_BAD;
}

size_t text_before(str s, size_t at)
{
    for (size_t n = 2; n <= UTF8_MAX && n <= at; n++) {
        size_t from = at - n, end = from;
        if (((unsigned char)s.ptr[from + 1] & 0xC0) != 0x80)
            break;
        text_next(str_upto(s, at), &end);
        if ((unsigned char)s.ptr[from] >= 0xC2 && end == at)    /* a leading byte always begins a character */
            return from;
    }
    return at - 1;
}

/* ---- rewrites that both families have ---- */

static str split_text(const struct work *w, const struct split *in)
{
    return (str){ w->text.bytes + in->from, in->to - in->from };
}

/* What is put before the text belongs to its first character. */
void rewrite_prepend(const struct step *s, struct work *w, const struct split *in)
{
    str text = split_text(w, in);
    bool is_wanted = s->when == PREPEND_ALWAYS || (s->when == PREPEND_FIRST && in->origin == 0);
    if (is_wanted && !(s->unless_there && str_starts(text, s->content))) {
        for (size_t at = 0; at < s->content.len;)
            text_put(&w->out, utf8_next(s->content, &at), w->text.spans[in->from]);
    }
    text_add(&w->out, text.ptr, w->text.spans + in->from, text.len);
}

/* What replaces a match belongs to the last character before its end; `tokenizers` counts it as inserted there. */
void rewrite_replace(const struct step *s, struct work *w, const struct split *in)
{
    str text = split_text(w, in);
    const struct span *spans = w->text.spans + in->from;
    size_t done = 0, start, end;
    struct matches matches = { 0 };
    while (step_match(s, text, &matches, &start, &end)) {
        text_add(&w->out, text.ptr + done, spans + done, start - done);
        struct span span = end ? spans[end - 1] : (struct span){ in->origin, in->origin };
        for (size_t at = 0; at < s->content.len;)
            text_put(&w->out, utf8_next(s->content, &at), span);
        done = end;
        if (w->out.is_failed)
            return;
    }
    text_add(&w->out, text.ptr + done, spans + done, text.len - done);
}

/* GPT-2's alphabet: a printable byte of Latin-1 is its own character, the others follow from U+0100 on. */
static uint32_t byte_character(unsigned byte)
{
    if (byte <= 0x20)
        return 0x100 + byte;
    if (byte >= 0x7F && byte <= 0xA0)
        return 0x121 + byte - 0x7F;
    return byte == 0xAD ? 0x143 : byte;
}

void rewrite_bytes(const struct step *s, struct work *w, const struct split *in)
{
    (void)s;
    struct text *out = &w->out;
    if (!text_reserve(out, 2 * (size_t)(in->to - in->from)))
        return;
    const unsigned char *bytes = (const unsigned char *)w->text.bytes;
    for (uint32_t i = in->from; i < in->to; i++) {
        unsigned byte = bytes[i];
        struct span span = w->text.spans[i];
        if (byte - 0x21u < 0x5E) {
            out->bytes[out->n] = (char)byte;
            out->spans[out->n++] = span;
        } else {
            uint32_t code = byte_character(byte);
            out->bytes[out->n] = (char)(0xC0 | code >> 6);
            out->spans[out->n++] = span;
            out->bytes[out->n] = (char)(0x80 | (code & 0x3F));
            out->spans[out->n++] = span;
        }
    }
}

/* ---- patterns ---- */

bool step_match(const struct step *s, str text, struct matches *m, size_t *start, size_t *end)
{
    if (!s->regex) {
        long at = s->literal.len && m->from < text.len ? str_find(str_from(text, m->from), s->literal) : -1;
        *start = m->from + (size_t)at;
        *end = m->from = *start + s->literal.len;
        return at >= 0;
    }
    while (m->from <= text.len && pattern_find(s->regex, text, m->from, start, end)) {
        bool is_new = *end > *start || !m->has_last || m->last_end != *end;     /* an empty match right behind a match is none */
        if (is_new) {
            m->from = m->last_end = *end;
            m->has_last = true;
            return true;
        }
        if (m->from == text.len)
            return false;
        utf8_next(text, &m->from);
    }
    return false;
}

int step_pattern(const struct place_in_file *f, jref node, str where, struct step *out)
{
    const struct json *j = f->j;
    jref literal = json_is(j, node, JSON_OBJECT) ? json_get(j, node, S("String")) : JSON_NONE;
    jref regex = json_is(j, node, JSON_OBJECT) ? json_get(j, node, S("Regex")) : JSON_NONE;
    if (json_is(j, literal, JSON_STRING)) {
        out->literal = arena_str(f->a, json_str(j, literal, f->a));
        return 0;
    }
    if (!json_is(j, regex, JSON_STRING))
        return part_error(f, where, "expected {\"String\": ...} or {\"Regex\": ...}");
    struct err e = { 0 };
    out->regex = pattern_new(f->a, json_str(j, regex, f->a), &e);
    return out->regex ? 0 : part_error(f, where, "%s", e.text);
}

/* ---- reading ---- */

int part_error(const struct place_in_file *f, str where, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return err_set(f->e, "%s: %.*s: %s", f->file, (int)where.len, where.ptr, text);
}

bool part_bool(const struct place_in_file *f, jref node, str key, bool fallback)
{
    jref value = json_get(f->j, node, key);
    return value == JSON_NONE ? fallback : json_bool(f->j, value, fallback);
}

str part_str(const struct place_in_file *f, jref node, str key)
{
    jref value = json_get(f->j, node, key);
    return value == JSON_NONE ? S("") : arena_str(f->a, json_str(f->j, value, f->a));
}
