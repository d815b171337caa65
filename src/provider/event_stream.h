/* provider/event_stream.h -- frames of application/vnd.amazon.eventstream out of bytes, at any split.
 *
 * Both checksums are verified, lengths are capped; a frame is given in place when it lies whole in the bytes, else joined. */
#ifndef SBX_PROVIDER_EVENT_STREAM_H
#define SBX_PROVIDER_EVENT_STREAM_H

#include "base/buf.h"
#include "dialect/dialect.h"

enum { FRAME_MAX = 16 << 20 };      /* beyond: the stream is broken (AWS: 16 MB payload) */

struct event_stream {
    struct buf partial;
    struct buf message;             /* of an error frame, whose text is in its headers: {"message":"..."} */
    const char *why;                /* after -1, a literal */
};

/* Takes the next frame off *bytes. 1: *out is filled (its spans live until the next call); 0: more bytes are needed;
 * -1: es->why: bad checksum, length, header. */
int event_stream_next(struct event_stream *es, str *bytes, struct stream_event *out);
void event_stream_free(struct event_stream *es);
/* Writes one frame, for mocks and tests: `type` goes to :event-type, or to :exception-type. */
void event_stream_write(struct buf *out, str type, bool is_exception, str payload);

#endif
