/* dialect/order.c -- deltas of untidy servers, put into the order that every writer may rely on.
 *
 * A model speaks one text at a time but may fill in several tool calls at once, and some clients read only one block after
 * the other. So one block is open and passes at once; others wait in buffers of their own and follow, in the order of their
 * beginning, when it is closed. Text and reasoning never wait: they end what was open. A text that goes on after that
 * becomes a new block; a tool call that does is an error, since its end has been told already.
 *
 * Blocks get new numbers, 0, 1, 2, in the order in which they come out. */
#include <stdlib.h>

#include "base/rand.h"
#include "dialect/canonical.h"

enum { BLOCKS_MAX = 8192 };             /* of one answer; beyond: the stream fails. Each costs a slot of 60 bytes */

enum slot_state { SLOT_WAITS, SLOT_OPEN, SLOT_CLOSED };

struct slot {
    uint32_t index;                     /* the reader's */
    uint32_t number;                    /* ours, once it came out */
    enum slot_state state;
    enum block_kind kind;
    bool is_complete;                   /* closed by the reader while it waited */
    struct block *block;                /* of one that waits: a copy */
    struct buf pieces;                  /* of one that waits: records of kind, length, text */
};

struct order {
    struct arena *a;
    struct delta_sink to;
    uint64_t seed;
    struct slot *slots; uint32_t n, cap;
    uint32_t open;                      /* slot; NONE */
    uint32_t first_waiting;             /* no slot before it waits */
    uint32_t next_number;
    size_t bytes_waiting, bytes_copied;
    bool has_started, is_over, has_stop;
    enum stop_reason stop;
    struct buf stop_text, stop_sequence;
    struct usage usage; bool has_usage;
    struct members stop_rest;
};

#define NONE UINT32_MAX

struct order *order_new(struct arena *a, uint64_t seed, const struct delta_sink *to)
{
    struct order *o = ARENA_NEW(a, struct order);
    *o = (struct order){ .a = a, .to = *to, .seed = seed, .open = NONE };
    return o;
}

void order_free(struct order *o)
{
    for (uint32_t i = 0; i < o->n; i++)
        buf_free(&o->slots[i].pieces);
    free(o->slots);
    buf_free(&o->stop_text);
    buf_free(&o->stop_sequence);
    o->slots = NULL;
    o->n = o->cap = 0;
    o->is_over = true;
}

bool order_is_over(const struct order *o)
{
    return o->is_over;
}

static void pass(struct order *o, const struct delta *d)
{
    o->to.take(o->to.arg, d);
}

static void fail(struct order *o, const char *message)
{
    struct failure f = { .status = 502, .kind = FAILURE_UPSTREAM, .code = S("upstream_stream_broken"),
                         .message = str_of(message) };
    if (o->is_over)
        return;
    o->is_over = true;
    pass(o, &(struct delta){ .kind = DELTA_ERROR, .failure = &f });
}

static void start(struct order *o, const struct delta *d)
{
    if (o->has_started)
        return;
    o->has_started = true;
    pass(o, d ? d : &(struct delta){ .kind = DELTA_START });
}

/* Sums so far: they only grow, and a server that tells the prompt's tokens first need not repeat them. */
static void usage_take(struct order *o, const struct usage *u)
{
    if (!u)
        return;
    struct usage *s = &o->usage;
    const struct { int64_t *to; int64_t from; } fields[] = {
        { &s->prompt_tokens, u->prompt_tokens }, { &s->completion_tokens, u->completion_tokens },
        { &s->cached_tokens, u->cached_tokens }, { &s->cache_write_tokens, u->cache_write_tokens },
        { &s->reasoning_tokens, u->reasoning_tokens }, { &s->prompt_audio_tokens, u->prompt_audio_tokens },
        { &s->completion_audio_tokens, u->completion_audio_tokens }, { &s->prompt_image_tokens, u->prompt_image_tokens },
        { &s->cache_write_1h_tokens, u->cache_write_1h_tokens },
    };
    for (size_t i = 0; i < COUNT_OF(fields); i++)
        if (fields[i].from)
            *fields[i].to = fields[i].from;
    s->is_known |= u->is_known;
    s->splits_cache_write |= u->splits_cache_write;
    o->has_usage = true;
}

/* ---- slots ---- */

static struct slot *slot_find(struct order *o, uint32_t index)
{
    if (o->open != NONE && o->slots[o->open].index == index)
        return &o->slots[o->open];
    for (uint32_t i = o->n; i-- > 0; )
        if (o->slots[i].index == index)
            return &o->slots[i];
    return NULL;
}

static struct slot *slot_add(struct order *o, const struct delta *d)
{
    if (o->n == BLOCKS_MAX) {
        fail(o, "the provider's answer has too many blocks");
        return NULL;
    }
    if (o->n == o->cap) {
        uint32_t cap = o->cap ? o->cap * 2 : 8;
        struct slot *more = realloc(o->slots, cap * sizeof *more);
        if (!more) {
            fail(o, "out of memory");
            return NULL;
        }
        o->slots = more;
        o->cap = cap;
    }
    struct slot *s = &o->slots[o->n++];
    *s = (struct slot){ .index = d->index, .kind = d->block ? d->block->kind : BLOCK_TEXT };
    return s;
}

static bool is_text(enum block_kind kind)
{
    return kind == BLOCK_TEXT || kind == BLOCK_REFUSAL || kind == BLOCK_REASONING || kind == BLOCK_SEALED_REASONING;
}

/* ---- what comes out ---- */

static str call_id_make(struct order *o)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    char id[5 + 24] = "call_";
    for (size_t i = 5; i < sizeof id; i++)
        id[i] = digits[rand_below(&o->seed, 62)];
    return arena_str(o->a, (str){ id, sizeof id });
}

static void slot_begin(struct order *o, struct slot *s, const struct block *block, const struct members *rest)
{
    struct block named = *block;
    if (named.kind == BLOCK_TOOL_CALL && !named.call_id.len)
        named.call_id = call_id_make(o);
    s->state = SLOT_OPEN;
    s->number = o->next_number++;
    o->open = (uint32_t)(s - o->slots);
    start(o, NULL);
    struct delta d = { .kind = DELTA_BLOCK, .index = s->number, .block = &named };
    if (rest)
        d.rest = *rest;
    pass(o, &d);
}

static void close_open(struct order *o, const struct delta *d)
{
    if (o->open == NONE)
        return;
    struct slot *s = &o->slots[o->open];
    struct delta close = d ? *d : (struct delta){ .kind = DELTA_CLOSE };
    close.index = s->number;
    s->state = SLOT_CLOSED;
    o->open = NONE;
    pass(o, &close);
}

static void replay(struct order *o, struct slot *s)
{
    str rest = buf_view(&s->pieces);
    while (rest.len) {
        uint32_t head[2];
        memcpy(head, rest.ptr, sizeof head);
        struct delta d = { .kind = (enum delta_kind)head[0], .index = s->number, .text = { rest.ptr + sizeof head, head[1] } };
        pass(o, &d);
        rest = str_from(rest, sizeof head + head[1]);
    }
    o->bytes_waiting -= s->pieces.len;
    buf_free(&s->pieces);
}

/* Lets those that wait follow, until one is still being written. `all`: that one ends, too. */
static void release(struct order *o, bool all)
{
    for (; o->open == NONE && o->first_waiting < o->n; o->first_waiting++) {
        struct slot *s = &o->slots[o->first_waiting];
        if (s->state != SLOT_WAITS)
            continue;
        slot_begin(o, s, s->block, NULL);
        replay(o, s);
        if (s->is_complete || all)
            close_open(o, NULL);
    }
}

static void close_all(struct order *o)
{
    close_open(o, NULL);
    release(o, true);
}

/* ---- what comes in ---- */

static void wait_record(struct order *o, struct slot *s, const struct delta *d)
{
    uint32_t head[2] = { (uint32_t)d->kind, (uint32_t)d->text.len };
    size_t more = sizeof head + d->text.len;
    if (more > ORDER_BYTES_MAX - o->bytes_waiting) {
        fail(o, "the provider's stream mixes more tool calls than can be put in order");
        return;
    }
    buf_add(&s->pieces, head, sizeof head);
    buf_str(&s->pieces, d->text);
    o->bytes_waiting += more;
    if (s->pieces.is_failed)
        fail(o, "out of memory");
}

/* Everything in it that lies in the reader's memory. */
static struct block *block_copy(struct order *o, const struct block *b)
{
    struct block *c = ARENA_NEW(o->a, struct block);
    *c = *b;
    str *const texts[] = {
        &c->text, &c->media.media_type, &c->media.data, &c->media.url, &c->media.file_id, &c->media.text, &c->media.name,
        &c->media.detail, &c->media.format, &c->call_id, &c->name, &c->arguments, &c->signature, &c->sealed, &c->summary,
        &c->item_id, &c->origin, &c->cache_control, &c->citations, &c->raw, &c->raw_type,
    };
    size_t bytes = sizeof *c;
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        bytes += texts[i]->len;
    for (size_t i = 0; i < b->rest.n; i++)
        bytes += b->rest.items[i].key.len + b->rest.items[i].raw.len;
    if (bytes > ORDER_BYTES_MAX - o->bytes_copied) {
        fail(o, "the provider's stream mixes more tool calls than can be put in order");
        return NULL;
    }
    o->bytes_copied += bytes;
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        *texts[i] = texts[i]->len ? arena_str(o->a, *texts[i]) : S("");
    c->rest = (struct members){ 0 };
    for (size_t i = 0; i < b->rest.n; i++)
        members_add(&c->rest, o->a, arena_str(o->a, b->rest.items[i].key), arena_str(o->a, b->rest.items[i].raw));
    c->content = NULL;                  /* tool results are not streamed */
    c->n_content = 0;
    return c;
}

static void take_block(struct order *o, const struct delta *d)
{
    static const struct block text = { .kind = BLOCK_TEXT };
    if (slot_find(o, d->index))
        return;                         /* told twice */
    struct slot *s = slot_add(o, d);
    if (!s)
        return;
    bool ends_others = is_text(s->kind) || (o->open != NONE && is_text(o->slots[o->open].kind));
    if (o->open != NONE && !ends_others) {
        s->block = block_copy(o, d->block ? d->block : &text);
        return;
    }
    if (o->open != NONE) {
        s->state = SLOT_CLOSED;         /* it is not one of those that close_all lets out */
        close_all(o);
    }
    slot_begin(o, s, d->block ? d->block : &text, &d->rest);
}

static void take_piece(struct order *o, const struct delta *d)
{
    struct slot *s = slot_find(o, d->index);
    if (!s) {
        fail(o, "the provider's stream continues a block that never began");
        return;
    }
    if (s->state == SLOT_WAITS) {
        wait_record(o, s, d);
        return;
    }
    if (s->state == SLOT_CLOSED) {
        if (!is_text(s->kind)) {
            fail(o, "the provider's stream continues a tool call that had ended");
            return;
        }
        struct block again = { .kind = s->kind };
        close_all(o);
        slot_begin(o, s, &again, NULL);
    }
    struct delta out = *d;
    out.index = s->number;
    pass(o, &out);
}

static void take_close(struct order *o, const struct delta *d)
{
    struct slot *s = slot_find(o, d->index);
    if (s && s->state == SLOT_WAITS)
        s->is_complete = true;
    if (!s || s->state != SLOT_OPEN)
        return;
    close_open(o, d);
    release(o, false);
}

static void take_stop_rest(struct order *o, const struct members *rest)
{
    o->stop_rest.n = 0;
    for (size_t i = 0; i < rest->n; i++) {
        const struct member *m = &rest->items[i];
        size_t bytes = sizeof *m + m->key.len + m->raw.len;
        if (bytes > ORDER_BYTES_MAX - o->bytes_copied)
            return;
        o->bytes_copied += bytes;
        members_add(&o->stop_rest, o->a, arena_str(o->a, m->key), arena_str(o->a, m->raw));
    }
}

static void take_stop(struct order *o, const struct delta *d)
{
    usage_take(o, d->usage);
    if (o->has_stop && d->stop == STOP_UNKNOWN)
        return;
    o->has_stop = true;
    o->stop = d->stop;
    o->stop_text.len = o->stop_sequence.len = 0;
    buf_str(&o->stop_text, d->stop_text);
    buf_str(&o->stop_sequence, d->stop_sequence);
    take_stop_rest(o, &d->rest);
}

static void finish(struct order *o)
{
    if (!o->has_stop) {
        fail(o, "the provider's stream broke off");
        return;
    }
    start(o, NULL);
    close_all(o);
    o->is_over = true;
    pass(o, &(struct delta){ .kind = DELTA_STOP, .stop = o->stop, .stop_text = buf_view(&o->stop_text),
                             .stop_sequence = buf_view(&o->stop_sequence), .usage = o->has_usage ? &o->usage : NULL,
                             .rest = o->stop_rest });
    pass(o, &(struct delta){ .kind = DELTA_END });
}

void order_take(void *order, const struct delta *d)
{
    struct order *o = order;
    if (o->is_over)
        return;
    switch (d->kind) {
    case DELTA_START:
        usage_take(o, d->usage);
        start(o, d);
        break;
    case DELTA_BLOCK:
        take_block(o, d);
        break;
    case DELTA_PIECE:
    case DELTA_SIGNATURE:
    case DELTA_CITATION:
    case DELTA_LOGPROBS:
        take_piece(o, d);
        break;
    case DELTA_CLOSE:
        take_close(o, d);
        break;
    case DELTA_STOP:
        take_stop(o, d);
        break;
    case DELTA_USAGE:
        usage_take(o, d->usage);
        break;
    case DELTA_PING:
        pass(o, d);
        break;
    case DELTA_ERROR:
        o->is_over = true;
        pass(o, d);
        break;
    case DELTA_END:
        finish(o);
        break;
    }
}

void order_end(struct order *o, bool ends_without_word)
{
    if (o->is_over)
        return;
    if (ends_without_word)
        finish(o);
    else
        fail(o, "the provider's stream broke off");
}
