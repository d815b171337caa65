/* store/responses.c -- the door to the backends: each operation becomes a call with an arena of its own, so that a backend may go
 * on with it after the caller has lost patience. Results come over by tying that arena to the caller's. */
#include "store/responses.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rand.h"

struct response_store { const struct response_store_ops *ops; void *backend; };

struct response_store *response_store_open(const struct response_store_conf *c, struct err *e)
{
    static const struct { const char *name; const struct response_store_ops *ops; } backends[] = {
        { "memory", &response_store_sqlite }, { "sqlite", &response_store_sqlite },
    };
    for (size_t i = 0; i < COUNT_OF(backends); i++) {
        if (!str_eq(c->backend, str_of(backends[i].name)))
            continue;
        struct response_store *s = malloc(sizeof *s);
        if (s)
            *s = (struct response_store){ .ops = backends[i].ops, .backend = backends[i].ops->open(c, e) };
        if (s && s->backend)
            return s;
        free(s);
        err_set(e, "no memory for the store of responses");
        return NULL;
    }
    err_set(e, "store_backend: memory and sqlite are built, '" STR_FMT "' is not", STR_ARG(c->backend));
    return NULL;
}

void response_store_close(struct response_store *s)
{
    if (!s)
        return;
    s->ops->close(s->backend);
    free(s);
}

str stored_id(char out[STORED_ID_MAX], const char *prefix)
{
    int n = snprintf(out, STORED_ID_MAX, "%s%016llx%016llx", prefix, (unsigned long long)rand_system(),
                     (unsigned long long)rand_system());
    return (str){ out, (size_t)n };
}

/* ---- calls ---- */

static struct store_call *call_new(enum store_verb verb, str owner, str id, int64_t now)
{
    struct arena *a = arena_new();
    if (!a)
        return NULL;
    struct store_call *c = ARENA_NEW(a, struct store_call);
    *c = (struct store_call){ .verb = verb, .a = a, .owner = arena_str(a, owner), .id = arena_str(a, id), .now = now };
    return c;
}

static void free_arena(void *a)
{
    arena_free(a);
}

/* Runs the call; its results then live as long as `a`, which may be NULL. */
static WAITS int call_run(struct response_store *s, struct store_call *c, struct arena *a, uint64_t deadline, struct err *e)
{
    bool is_gone = false;
    if (arena_exhausted(c->a)) {
        arena_free(c->a);
        return -ENOMEM;
    }
    int rc = s->ops->run(s->backend, c, deadline, &is_gone);
    if (is_gone)
        return rc;
    if (rc < 0 && e && c->err.text[0])
        *e = c->err;
    if (rc < 0 || !a)
        arena_free(c->a);
    else
        arena_defer(a, free_arena, c->a);
    return rc;
}

static struct stored_items items_copy(struct arena *a, const struct stored_items *from)
{
    struct stored_items to = { .items = ARENA_ARRAY(a, struct stored_item, from->n), .n = from->n };
    for (size_t i = 0; i < from->n; i++)
        to.items[i] = (struct stored_item){ arena_str(a, from->items[i].id), arena_str(a, from->items[i].json),
                                            from->items[i].is_output };
    return to;
}

WAITS int response_store_put(struct response_store *s, const struct stored_response *r, int64_t now, uint64_t deadline,
                             struct err *e)
{
    struct store_call *c = call_new(STORE_PUT, r->owner, r->id, now);
    if (!c)
        return -ENOMEM;
    c->response = *r;
    c->response.previous_id = arena_str(c->a, r->previous_id);
    c->response.conversation_id = arena_str(c->a, r->conversation_id);
    c->response.json = arena_str(c->a, r->json);
    c->items = items_copy(c->a, &r->items);
    return call_run(s, c, NULL, deadline, e);
}

/* The simple ones differ in what they hand back; it is read before the arena could go. */
#define RUN(verb_, owner_, id_, ...) \
    struct store_call *c = call_new(verb_, owner_, id_, now); \
    if (!c) \
        return -ENOMEM; \
    __VA_ARGS__

WAITS int response_store_get(struct response_store *s, str owner, str id, int64_t now, struct arena *a,
                             struct stored_response *out,
                             uint64_t deadline, struct err *e)
{
    RUN(STORE_GET, owner, id);
    int rc = call_run(s, c, a, deadline, e);
    if (rc == 0)
        *out = c->response;
    return rc;
}

WAITS int response_store_delete(struct response_store *s, str owner, str id, int64_t now, uint64_t deadline, struct err *e)
{
    RUN(STORE_DELETE, owner, id);
    return call_run(s, c, NULL, deadline, e);
}

WAITS int response_store_chain(struct response_store *s, str owner, str id, int64_t now, struct arena *a,
                               struct stored_items *out,
                               uint64_t deadline, struct err *e)
{
    RUN(STORE_CHAIN, owner, id);
    int rc = call_run(s, c, a, deadline, e);
    if (rc == 0)
        *out = c->items;
    return rc;
}

WAITS int response_store_item(struct response_store *s, str owner, str id, int64_t now, struct arena *a, str *json,
                              uint64_t deadline, struct err *e)
{
    RUN(STORE_ITEM, owner, id);
    int rc = call_run(s, c, a, deadline, e);
    if (rc == 0)
        *json = c->json;
    return rc;
}

WAITS int response_store_page(struct response_store *s, str owner, str parent, const struct stored_page *p, int64_t now,
                              struct arena *a, struct stored_items *out, bool *has_more, uint64_t deadline, struct err *e)
{
    RUN(STORE_PAGE, owner, parent, c->page = *p; c->page.after = arena_str(c->a, p->after));
    int rc = call_run(s, c, a, deadline, e);
    if (rc == 0) {
        *out = c->items;
        *has_more = c->has_more;
    }
    return rc;
}

WAITS int conversation_put(struct response_store *s, const struct stored_conversation *v, int64_t now, uint64_t deadline,
                           struct err *e)
{
    RUN(STORE_CONVERSATION_PUT, v->owner, v->id, c->conversation = *v; c->conversation.metadata = arena_str(c->a, v->metadata));
    return call_run(s, c, NULL, deadline, e);
}

WAITS int conversation_get(struct response_store *s, str owner, str id, int64_t now, struct arena *a,
                           struct stored_conversation *out, uint64_t deadline, struct err *e)
{
    RUN(STORE_CONVERSATION_GET, owner, id);
    int rc = call_run(s, c, a, deadline, e);
    if (rc == 0)
        *out = c->conversation;
    return rc;
}

WAITS int conversation_delete(struct response_store *s, str owner, str id, int64_t now, uint64_t deadline, struct err *e)
{
    RUN(STORE_CONVERSATION_DELETE, owner, id);
    return call_run(s, c, NULL, deadline, e);
}

WAITS int conversation_append(struct response_store *s, str owner, str id, const struct stored_items *items, int64_t now,
                              uint64_t deadline, struct err *e)
{
    RUN(STORE_APPEND, owner, id, c->items = items_copy(c->a, items));
    return call_run(s, c, NULL, deadline, e);
}

WAITS int conversation_drop(struct response_store *s, str owner, str id, str item, int64_t now, uint64_t deadline, struct err *e)
{
    RUN(STORE_DROP, owner, id, c->item = arena_str(c->a, item));
    return call_run(s, c, NULL, deadline, e);
}
