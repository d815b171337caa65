/* decide/need.c -- the list of what a request's units have asked for. A request asks a handful of questions: a list that is searched
 * from the front is all it takes. */
#include "decide/need.h"

static bool is_same_text(str a, str b)
{
    return a.len == b.len && (a.ptr == b.ptr || str_eq(a, b));
}

const struct need *need_find(const struct needs *list, const struct need_source *source, str text)
{
    for (uint32_t i = 0; list && i < list->n; i++) {
        if (list->items[i].source == source && is_same_text(list->items[i].text, text))
            return &list->items[i];
    }
    return NULL;
}

uint32_t need_ask(struct needs *list, const struct need_source *source, str text)
{
    const struct need *known = need_find(list, source, text);
    list->n_asked++;
    if (known)
        return (uint32_t)(known - list->items);
    *PUSH(list->a, list->items, list->n) = (struct need){ .source = source, .text = text };
    return list->n - 1;
}

bool need_shares_forward(const struct need *a, const struct need *b)
{
    return a->source->trunk && a->source->trunk == b->source->trunk && is_same_text(a->text, b->text);
}

float need_similarity(const struct need_source *s, float cosine)
{
    uint32_t n = s->n_knots;
    if (n < 2)
        return cosine;
    uint32_t i = 1;
    while (i < n - 1 && cosine > s->knot_from[i])
        i++;
    float width = s->knot_from[i] - s->knot_from[i - 1], height = s->knot_to[i] - s->knot_to[i - 1];
    return s->knot_to[i - 1] + (cosine - s->knot_from[i - 1]) / width * height;
}
