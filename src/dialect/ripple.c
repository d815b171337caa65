/* dialect/ripple.c -- see ripple.h. */
#include "dialect/ripple.h"

enum { KNOWN_MAX = 4096 };              /* bytes of an event that is kept; larger ones are read as ever */

/* Steps over what the known event has in [from, to). */
static bool skip(const struct ripple *r, size_t from, size_t to, str *rest)
{
    str same = { r->known.ptr + from, to - from };
    if (!str_starts(*rest, same))
        return false;
    *rest = str_from(*rest, same.len);
    return true;
}

/* Steps over one string; *inside is what its quotes hold. */
static bool skip_string(str *rest, str *inside, bool *has_escape)
{
    size_t len = json_string_length(*rest, has_escape);
    if (len == 0)
        return false;
    *inside = (str){ rest->ptr + 1, len - 2 };
    *rest = str_from(*rest, len);
    return true;
}

bool ripple_next(struct ripple *r, const struct stream_event *e, struct arena *scratch, str *text)
{
    str rest = e->data, inside, padding;
    size_t at = r->text_end + 1;
    bool has_escape, is_odd;
    if (!r->is_known || !skip(r, 0, r->text, &rest) || !skip_string(&rest, &inside, &has_escape))
        return false;
    if (r->pad) {
        if (!skip(r, at, r->pad, &rest) || !skip_string(&rest, &padding, &is_odd))
            return false;
        at = r->pad_end;
    }
    if (!skip(r, at, r->end, &rest) || rest.len || !str_eq(e->name, str_from(buf_view(&r->known), r->end)))
        return false;
    *text = has_escape ? json_string_text(inside, scratch) : inside;
    return text->len > 0;               /* a piece that says nothing is not told */
}

static void take(void *arg, const struct delta *d)
{
    struct ripple_watch *w = arg;
    w->n++;
    w->kind = d->kind;
    w->index = d->index;
    w->text = d->text;
    w->to->take(w->to->arg, d);
}

const struct delta_sink *ripple_watch(struct ripple_watch *w, const struct delta_sink *to)
{
    *w = (struct ripple_watch){ .to = to, .sink = { take, w } };
    return &w->sink;
}

/* The text must be the whole inside of one string of the event, as it lies there: then nothing in it is escaped, and quotes
 * at both ends are the string's own. */
void ripple_learn(struct ripple *r, const struct stream_event *e, const struct ripple_watch *w)
{
    str data = e->data;
    size_t at = (size_t)((uintptr_t)w->text.ptr - (uintptr_t)data.ptr);
    r->is_known = false;
    if (w->n != 1 || w->kind != DELTA_PIECE || e->is_exception || data.len + e->name.len > KNOWN_MAX ||
        at == 0 || at >= data.len || w->text.len >= data.len - at)
        return;
    if (data.ptr[at - 1] != '"' || data.ptr[at + w->text.len] != '"')
        return;
    r->text = at - 1;
    r->text_end = at + w->text.len;
    r->index = w->index;
    /* A quote behind a comma begins a string, unless it ends one: then no letter could follow. So this finds a key. */
    long pad = r->padding.len ? str_find(str_from(data, r->text_end), r->padding) : -1;
    r->pad = pad < 0 ? 0 : r->text_end + (size_t)pad + r->padding.len - 1;
    bool has_escape;
    r->pad_end = pad < 0 ? 0 : r->pad + json_string_length(str_from(data, r->pad), &has_escape);
    r->known.len = 0;
    buf_str(&r->known, data);
    buf_str(&r->known, e->name);
    r->end = data.len;
    r->is_known = !r->known.is_failed;
}

void ripple_free(struct ripple *r)
{
    buf_free(&r->known);
    r->is_known = false;
}
