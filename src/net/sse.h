/* net/sse.h -- server-sent events out of bytes, at any split (WHATWG HTML 9.2; spec 04, 4.1).
 *
 * The splitter finds where events end; it keeps nothing but its state, so a caller relays the bytes
 * themselves. Line ends LF, CRLF and CR; a byte order mark first is skipped. */
#ifndef SBX_SSE_H
#define SBX_SSE_H

#include "base/buf.h"

struct sse {
    uint8_t bom;                    /* bytes of a byte order mark seen at the start; 4: past the start */
    bool at_line_start, after_cr;
};

void sse_init(struct sse *s);
/* Length of the prefix of `bytes` that ends the present event (its empty line included), 0: none ends here. */
size_t sse_event_end(struct sse *s, str bytes);

/* The payload of one whole event: its data lines joined by LF. In place when there is one data line, else in
 * `joined`. `event` (may be NULL) gets the event name. Comments and ids are skipped. */
str sse_data(str event, struct buf *joined, str *name);

#endif
