/* tests/unit/net/events.h -- a reader of event streams as a relay is one: holds back what has no end yet. */
#ifndef EVENTS_H
#define EVENTS_H

#include "net/sse.h"

struct events {
    struct sse s;
    bool is_open;
    struct buf partial, joined;
    struct buf *digest;             /* "name|data|" and a length, an event with data a line */
    size_t bytes;                   /* of whole events */
};

static inline void events_one(struct events *e, str event)
{
    str name, data = sse_data(event, &e->joined, &name);
    e->bytes += event.len;
    if (data.len == 0 && name.len == 0)
        return;
    buf_str(e->digest, name);
    buf_char(e->digest, '|');
    buf_str(e->digest, data);
    buf_char(e->digest, '|');
    buf_u64(e->digest, data.len);
    buf_char(e->digest, '\n');
}

static inline void events_feed(struct events *e, str bytes)
{
    if (!e->is_open)
        sse_init(&e->s);
    e->is_open = true;
    while (bytes.len) {
        size_t n = sse_event_end(&e->s, bytes);
        if (n == 0) {
            buf_str(&e->partial, bytes);
            return;
        }
        buf_str(&e->partial, str_upto(bytes, n));
        bytes = str_from(bytes, n);
        events_one(e, buf_view(&e->partial));
        e->partial.len = 0;
    }
}

static inline void events_end(struct events *e)     /* what has no end is dropped, as the standard says */
{
    buf_free(&e->partial);
    buf_free(&e->joined);
}

#endif
