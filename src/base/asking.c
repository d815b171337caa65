/* base/asking.c */
#include "base/asking.h"

#include <stdio.h>

#include "base/rand.h"

static bool is_in(const char *mark, const str *texts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_find(texts[i], (str){ mark, ASKING_MARK }) >= 0)
            return true;
    return false;
}

void asking_mark(uint64_t seed, const str *texts, size_t n, char mark[ASKING_MARK + 1])
{
    do
        snprintf(mark, ASKING_MARK + 1, "%016llx", (unsigned long long)rand_next(&seed));
    while (is_in(mark, texts, n));
}

static bool is_inside(char c)                   /* a byte that no character of UTF-8 begins with */
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

str asking_cut(struct arena *a, str text, size_t most)
{
    if (text.len <= most)
        return text;
    size_t head = most / 3 * 2, tail = text.len - most / 3;
    while (head > 0 && is_inside(text.ptr[head]))
        head--;
    while (tail < text.len && is_inside(text.ptr[tail]))
        tail++;
    struct buf b = { 0 };
    buf_str(&b, str_upto(text, head));
    buf_printf(&b, "\n[... %zu bytes are left out here ...]\n", tail - head);
    buf_str(&b, str_from(text, tail));
    return buf_to_arena(&b, a);
}

void asking_quote(struct buf *out, const char *what, const char *mark, str text)
{
    buf_printf(out, "<<<%s %s>>>\n", what, mark);
    buf_str(out, text);
    buf_printf(out, "\n<<<end of %s %s>>>\n", what, mark);
}

str asking_bare(str answer)
{
    static const str think = { "<think>", 7 }, thought = { "</think>", 8 }, fence = { "```", 3 };
    str s = str_trim(answer);
    if (str_starts(s, think)) {
        long end = str_find(s, thought);
        s = end < 0 ? S("") : str_trim(str_from(s, (size_t)end + thought.len));
    }
    if (s.len > 2 * fence.len && str_starts(s, fence) && str_ends(s, fence)) {
        long line = str_chr(s, '\n');           /* the rest of the first line names a language */
        size_t from = line < 0 ? fence.len : (size_t)line;
        str inside = from < s.len - fence.len ? (str){ s.ptr + from, s.len - fence.len - from } : S("");
        if (str_find(inside, fence) < 0)        /* else there are several blocks, and not one around all */
            s = str_trim(inside);
    }
    return s;
}
