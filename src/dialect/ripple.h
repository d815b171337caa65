/* dialect/ripple.h -- a stream's next event, known by its last one.
 *
 * A provider's stream is hundreds of events that differ in one string: the few letters that the model has just said. An event
 * whose bytes are those of the last one but for the inside of that string is the same event with another text, so it is
 * compared, not parsed. Everything else is read as always, and is what the next one is compared with.
 *
 * Why this is exact: two JSON texts that are equal but for one string value are the same tree but for that value. So if the
 * last event was told as one PIECE, whose text was this value, and left the reader as it was, the next one would be told as
 * one PIECE, too. What a reader does with its state for every piece, it has to do for these as well. */
#ifndef SBX_DIALECT_RIPPLE_H
#define SBX_DIALECT_RIPPLE_H

#include "dialect/dialect.h"

struct ripple {
    str padding;                    /* `,"NAME":"` of a member that no reader looks at and whose string changes, too; "" none */
    struct buf known;               /* the last event */
    size_t text, text_end;          /* in it: the string's quotes, the opening and the closing one */
    size_t pad, pad_end;            /* of the padding: its opening quote, and behind its closing one; 0 none */
    size_t end;                     /* of its data; the event's name follows */
    bool is_known;
    uint32_t index;                 /* block */
};

/* One PIECE of block r->index: its decoded text, in the event or in `scratch`. False: the event must be read. */
bool ripple_next(struct ripple *r, const struct stream_event *e, struct arena *scratch, str *text);

/* Between a reader and its sink while it reads an event: what it was told as. */
struct ripple_watch {
    const struct delta_sink *to;
    struct delta_sink sink;
    uint32_t n, index; enum delta_kind kind; str text;  /* how many deltas, and the last one's */
};
const struct delta_sink *ripple_watch(struct ripple_watch *w, const struct delta_sink *to);
void ripple_learn(struct ripple *r, const struct stream_event *e, const struct ripple_watch *w);
void ripple_free(struct ripple *r);

#endif
