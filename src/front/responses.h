/* front/responses.h -- the state of the Responses API: what a request refers to is found, what it brings about is kept.
 *
 * `responses_load` stands between reading a request and routing it: stored history goes in front of the prompt's turns, so that
 * every provider can answer, whoever answered before. `responses_keep` is the request's on_reply. The rest are doors. */
#ifndef SBX_FRONT_RESPONSES_H
#define SBX_FRONT_RESPONSES_H

#include "pipeline/req.h"
#include "store/responses.h"

struct exchange {                   /* a request of the Responses API; r->exchange */
    struct response_store *store;
    str owner, id;                  /* the id that a translated answer gets */
    str previous_id, conversation_id;
    struct stored_items items;      /* what the request brought, each with an id */
};

/* The store that the configuration asks for, opened at first use, process life. NULL: it is off, or *e says why it cannot be
 * opened. */
struct response_store *responses_store(const struct snap *s, struct err *e);

/* Whose things these are: a key's, a user's, or those of whoever shows the same listener key. In r's arena. */
str responses_owner(struct req *r);

/* After request_read: 0, or -1 and r->fail. Changes r->prompt (then r->is_prompt_changed is set), sets r->exchange and
 * r->on_reply when the answer is to be stored. */
WAITS int responses_load(struct req *r);
void responses_context(const struct req *r, struct answer_context *c);      /* the exchange's ids */

/* Doors. Prefixes: "/v1/responses/", "/v1/conversations/"; they answer unknown paths with 404. */
WAITS int responses_serve_get(struct req *r);           /* GET {id}, {id}/input_items */
WAITS int responses_serve_delete(struct req *r);        /* DELETE {id} */
WAITS int responses_serve_post(struct req *r);          /* POST {id}/cancel */
WAITS int conversations_serve_create(struct req *r);    /* POST /v1/conversations */
WAITS int conversations_serve_get(struct req *r);       /* GET {id}, {id}/items, {id}/items/{item} */
WAITS int conversations_serve_post(struct req *r);      /* POST {id} (metadata), {id}/items */
WAITS int conversations_serve_delete(struct req *r);    /* DELETE {id}, {id}/items/{item} */

#endif
