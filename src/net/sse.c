/* net/sse.c */
#include "net/sse.h"

void sse_init(struct sse *s)
{
    *s = (struct sse){ .at_line_start = true };
}

size_t sse_event_end(struct sse *s, str bytes)
{
    static const unsigned char bom[3] = { 0xef, 0xbb, 0xbf };
    size_t i = 0;
    while (s->bom < 3 && i < bytes.len) {
        if ((unsigned char)bytes.ptr[i] != bom[s->bom]) {
            s->at_line_start = s->bom == 0;     /* half a mark is text */
            s->bom = 4;
            break;
        }
        s->bom++;
        i++;
    }
    if (s->bom == 3)
        s->bom = 4;
    while (i < bytes.len) {
        char c = bytes.ptr[i];
        if (s->after_cr) {
            s->after_cr = false;
            if (c == '\n') {                    /* second half of CRLF: the line has ended already */
                i++;
                continue;
            }
        }
        if (c == '\n' || c == '\r') {
            s->after_cr = c == '\r';
            i++;
            if (s->at_line_start) {
                if (s->after_cr && i < bytes.len && bytes.ptr[i] == '\n') {
                    s->after_cr = false;        /* keep CRLF together when both are here */
                    i++;
                }
                return i;
            }
            s->at_line_start = true;
            continue;
        }
        s->at_line_start = false;
        const char *p = bytes.ptr + i, *end = bytes.ptr + bytes.len;
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        const char *stop = lf ? lf : end;
        const char *cr = memchr(p, '\r', (size_t)(stop - p));
        i = (size_t)((cr ? cr : stop) - bytes.ptr);
    }
    return 0;
}

static str line_cut(str *rest)
{
    const char *lf = memchr(rest->ptr, '\n', rest->len);
    size_t n = lf ? (size_t)(lf - rest->ptr) : rest->len;
    const char *cr = memchr(rest->ptr, '\r', n);
    n = cr ? (size_t)(cr - rest->ptr) : n;
    str line = str_upto(*rest, n);
    if (n + 1 < rest->len && rest->ptr[n] == '\r' && rest->ptr[n + 1] == '\n')
        n++;
    *rest = str_from(*rest, n + 1);
    return line;
}

str sse_data(str event, struct buf *joined, str *name)
{
    str only = S("");
    unsigned n = 0;
    if (name)
        *name = S("");
    bool is_first = true;                       /* line with text: a byte order mark may stand before it */
    while (event.len) {
        str line = line_cut(&event);
        if (is_first && str_starts(line, S("\xef\xbb\xbf")))
            line = str_from(line, 3);
        is_first = is_first && line.len == 0;
        str value = line;
        str field = str_cut(&value, ':');
        if (value.len && value.ptr[0] == ' ')
            value = str_from(value, 1);
        if (name && str_eq(field, S("event")))
            *name = value;
        if (!str_eq(field, S("data")))
            continue;
        if (n == 0) {
            only = value;
        } else if (joined) {
            if (n == 1) {
                joined->len = 0;
                buf_str(joined, only);
            }
            buf_char(joined, '\n');
            buf_str(joined, value);
        }
        n++;
    }
    return n > 1 && joined ? buf_view(joined) : only;
}
