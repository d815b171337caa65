/* neural/passages.c -- see passages.h. A text is cut behind sentences and at line ends; short ones stay together, what is too long is cut
 * between words. Passages do not overlap, so that every word is counted once. */
#include "neural/passages.h"

#include <math.h>

enum { SENTENCE_LEAST = 50 };           /* bytes: in fewer words chance speaks louder than sense */

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* A sentence may end behind byte i: at a line's end, at a stop before a space, at a full-width stop. */
static bool sentence_ends(str text, size_t i)
{
    char c = text.ptr[i];
    if (c == '\n')
        return true;
    if (c == '.' || c == '!' || c == '?')
        return i + 1 == text.len || is_space(text.ptr[i + 1]) || text.ptr[i + 1] == '"';
    return i >= 2 && (memcmp(text.ptr + i - 2, "\xE3\x80\x82", 3) == 0 ||       /* ideographic full stop */
                      memcmp(text.ptr + i - 2, "\xEF\xBC\x81", 3) == 0 || memcmp(text.ptr + i - 2, "\xEF\xBC\x9F", 3) == 0);
}

/* Where a passage that has no end of its own is cut: behind the last space of its latter half, else between characters. */
static size_t word_end(str text, size_t from, size_t to)
{
    for (size_t at = to; at > from + (to - from) / 2; at--)
        if (is_space(text.ptr[at - 1]))
            return at;
    for (unsigned i = 0; i < 3 && ((unsigned char)text.ptr[to] & 0xC0) == 0x80; i++)
        to--;
    return to;
}

/* Behind the sentence that begins at `from`, with its spaces; 0: it is longer than `most`. */
static size_t sentence_end(str text, size_t from, size_t most)
{
    size_t at = from;
    while (at < text.len && !sentence_ends(text, at))
        if (++at - from >= most && at < text.len)
            return 0;
    for (at += at < text.len; at < text.len && at - from < most && is_space(text.ptr[at]); at++)
        ;
    return at;
}

/* A sentence by itself; short ones together, but never with one that can stand alone. */
static size_t passage_end(str text, size_t from, size_t most)
{
    size_t to = sentence_end(text, from, most);
    if (to == 0)
        return word_end(text, from, from + most);
    while (to - from < SENTENCE_LEAST && to < text.len) {
        size_t next = sentence_end(text, to, SENTENCE_LEAST);
        if (next == 0)
            break;
        to = next;
    }
    return to;
}

/* Into the list of the best so far, which is short. */
static void keep(struct passages *found, uint32_t most, struct neural_span one)
{
    uint32_t at = found->n;
    while (at > 0 && found->list[at - 1].score < one.score)
        at--;
    if (at == most)
        return;
    found->n += found->n < most;
    memmove(found->list + at + 1, found->list + at, (found->n - 1 - at) * sizeof *found->list);
    found->list[at] = one;
}

bool passages_wanted(const struct head *h, size_t text_bytes)
{
    return h->passages.most > 0 && text_bytes >= h->passages.from;
}

void passages_add(struct passages *found, const struct head *h, str piece, uint32_t shift)
{
    const struct head_passages *p = &h->passages;
    for (size_t from = 0, to; from < piece.len; from = to) {
        float words;
        to = passage_end(piece, from, p->bytes);
        head_ngrams(h, (str){ piece.ptr + from, to - from }, &words);
        found->n_seen++;
        if (words / h->temperature >= p->bar)
            keep(found, p->most, (struct neural_span){ shift + (uint32_t)from, shift + (uint32_t)to, 0, words });
    }
}

void passages_end(struct passages *found, const struct head *h)
{
    if (found->n_seen == 1)                     /* the text itself */
        found->n = 0;
    for (uint32_t i = 0; i < found->n; i++)
        found->list[i].score = h->passages.slope * logf((float)found->n_seen);
}

float passage_probability(const struct head_passages *p, float probability, float lowered)
{
    const float least = 1e-7f;          /* what a float tells from 0 and from 1 */
    float q = fminf(fmaxf(probability, least), 1 - least);
    return 1 / (1 + expf(-((logf(q / (1 - q)) - lowered) / p->temperature + p->offset)));
}
