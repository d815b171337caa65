/* dialect/collector.c -- a whole answer out of ordered deltas. Texts grow in buffers and move to the arena at the end. */
#include "dialect/dialect.h"

enum { COLLECTOR_BYTES_MAX = 64 << 20 };    /* of one answer; beyond: it fails. No model writes that much */

struct growing {                        /* a block and what came in pieces of it */
    struct block block;
    struct buf text, citations;
    struct growing *next;
};

struct collector {
    struct arena *a;
    struct reply reply;
    struct growing *first, *last; uint32_t n;
    struct buf logprobs;
    size_t bytes;
    bool is_complete;
    struct failure failure; bool has_failed;
};

struct collector *collector_new(struct arena *a, const struct dialect_ops *from)
{
    struct collector *c = ARENA_NEW(a, struct collector);
    c->a = a;
    c->reply.dialect = from;
    return c;
}

void collector_free(struct collector *c)
{
    for (struct growing *g = c->first; g; g = g->next) {
        buf_free(&g->text);
        buf_free(&g->citations);
    }
    buf_free(&c->logprobs);
}

static str keep(struct collector *c, str s)
{
    return s.len ? arena_str(c->a, s) : S("");
}

static void keep_rest(struct collector *c, struct members *to, const struct members *from)
{
    const struct members old = *from;   /* may be *to */
    *to = (struct members){ 0 };
    for (size_t i = 0; i < old.n; i++)
        members_add(to, c->a, keep(c, old.items[i].key), keep(c, old.items[i].raw));
}

static size_t members_bytes(const struct members *m)
{
    size_t bytes = 0;
    for (size_t i = 0; i < m->n; i++)
        bytes += m->items[i].key.len + m->items[i].raw.len;
    return bytes;
}

static void fail(struct collector *c, const char *message)
{
    if (!c->has_failed)
        c->failure = (struct failure){ .status = 502, .kind = FAILURE_UPSTREAM, .message = str_of(message) };
    c->has_failed = true;
}

static void take_block(struct collector *c, const struct delta *d)
{
    static const struct block text = { .kind = BLOCK_TEXT };
    struct growing *g = ARENA_NEW(c->a, struct growing);
    struct block *b = &g->block;
    *b = d->block ? *d->block : text;
    str *const texts[] = {
        &b->media.media_type, &b->media.data, &b->media.url, &b->media.file_id, &b->media.text, &b->media.name,
        &b->media.detail, &b->media.format, &b->call_id, &b->name, &b->signature, &b->sealed, &b->summary, &b->item_id,
        &b->origin, &b->cache_control, &b->raw, &b->raw_type,
    };
    c->bytes += sizeof *g + b->text.len + b->arguments.len + members_bytes(&b->rest);
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        c->bytes += texts[i]->len;
    if (c->bytes > COLLECTOR_BYTES_MAX) {
        fail(c, "the provider's answer is too long");
        return;
    }
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        *texts[i] = keep(c, *texts[i]);
    keep_rest(c, &b->rest, &b->rest);
    buf_str(&g->text, b->text);         /* a reader that gave a piece already */
    buf_str(&g->text, b->arguments);
    *(c->last ? &c->last->next : &c->first) = g;
    c->last = g;
    c->n++;
}

static void append_item(struct buf *list, str item)
{
    buf_char(list, list->len ? ',' : '[');
    buf_str(list, item);
}

static void take_piece(struct collector *c, const struct delta *d)
{
    struct growing *g = c->last;        /* ordered: pieces are those of the last block */
    c->bytes += d->text.len;
    if (c->bytes > COLLECTOR_BYTES_MAX)
        fail(c, "the provider's answer is too long");
    if (c->has_failed || !g)
        return;
    if (d->kind == DELTA_PIECE) {
        buf_str(&g->text, d->text);
    } else if (d->kind == DELTA_SIGNATURE) {
        g->block.signature = keep(c, d->text);
    } else if (d->kind == DELTA_CITATION) {
        append_item(&g->citations, d->text);
    } else {                            /* an array's items join the others */
        str inside = str_trim(d->text);
        inside = inside.len >= 2 ? str_trim((str){ inside.ptr + 1, inside.len - 2 }) : S("");
        if (inside.len)
            append_item(&c->logprobs, inside);
    }
}

static void take_failure(struct collector *c, const struct failure *f)
{
    if (c->has_failed)
        return;
    c->has_failed = true;
    c->failure = *f;
    str *const texts[] = { &c->failure.type, &c->failure.code, &c->failure.param, &c->failure.message, &c->failure.request_id };
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        *texts[i] = keep(c, *texts[i]);
}

void collector_take(void *collector, const struct delta *d)
{
    struct collector *c = collector;
    struct reply *r = &c->reply;
    switch (d->kind) {
    case DELTA_START:
        r->id = keep(c, d->id);
        r->model = keep(c, d->model);
        r->created = d->created;
        r->service_tier = keep(c, d->service_tier);
        r->system_fingerprint = keep(c, d->system_fingerprint);
        keep_rest(c, &r->rest, &d->rest);
        if (d->usage)
            r->usage = *d->usage;
        break;
    case DELTA_BLOCK:
        take_block(c, d);
        break;
    case DELTA_PIECE:
    case DELTA_SIGNATURE:
    case DELTA_CITATION:
    case DELTA_LOGPROBS:
        take_piece(c, d);
        break;
    case DELTA_CLOSE:
    case DELTA_PING:
        break;
    case DELTA_STOP:
        r->stop = d->stop;
        r->stop_text = keep(c, d->stop_text);
        r->stop_sequence = keep(c, d->stop_sequence);
        if (d->usage)
            r->usage = *d->usage;
        break;
    case DELTA_USAGE:
        if (d->usage)
            r->usage = *d->usage;
        break;
    case DELTA_ERROR:
        take_failure(c, d->failure);
        break;
    case DELTA_END:
        c->is_complete = true;
        break;
    }
}

int collector_reply(struct collector *c, struct reply *out, struct failure *f)
{
    if (!c->is_complete)
        fail(c, "the provider's stream broke off");
    struct reply *r = &c->reply;
    r->blocks = c->has_failed ? NULL : ARENA_ARRAY(c->a, struct block, c->n);
    r->n = 0;
    for (struct growing *g = c->first; g && !c->has_failed; g = g->next) {
        str text = buf_to_arena(&g->text, c->a);
        if (g->block.kind == BLOCK_TOOL_CALL)
            g->block.arguments = text;
        else
            g->block.text = text;
        if (g->citations.len) {
            buf_char(&g->citations, ']');
            g->block.citations = buf_to_arena(&g->citations, c->a);
        }
        r->blocks[r->n++] = g->block;
    }
    if (c->logprobs.len) {
        buf_char(&c->logprobs, ']');
        r->logprobs = buf_to_arena(&c->logprobs, c->a);
    }
    if (arena_exhausted(c->a))
        fail(c, "out of memory");
    *out = *r;
    *f = c->failure;
    return c->has_failed ? -1 : 0;
}
