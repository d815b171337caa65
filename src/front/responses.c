/* front/responses.c */
#include "front/responses.h"

#include <errno.h>
#include <openssl/sha.h>
#include <pthread.h>

#include "base/clock.h"
#include "base/hex.h"
#include "base/put.h"
#include "dialect/openai_responses.h"
#include "front/gateway.h"
#include "observe/log.h"
#include "pipeline/key.h"
#include "pipeline/relay.h"
#include "pipeline/translate.h"

enum {
    STORE_WAIT_MS = 5000,
    RETRY_MS = 15, RETRIES = 6,         /* a client may be faster than the commit of an answer that was passed on as it came */
    STORES_MAX = 8,                     /* different configurations of a process's life; beyond: the store is off */
    PAGE_DEFAULT = 20,                  /* OpenAI's */
};

/* ---- the store ---- */

/* VSR's default is Redis, which is not built: the state file then, where there is one, else memory. */
static struct response_store_conf store_conf(const struct snap *s)
{
    const struct response_api_conf *k = &s->config->response_api;
    str path = k->path.len ? k->path : s->config->tenancy.state.path;
    return (struct response_store_conf){
        .backend = !str_eq(k->backend, S("redis")) ? k->backend : path.len ? S("sqlite") : S("memory"), .path = path,
        .ttl_s = k->ttl_s, .max_responses = k->max_responses, .max_bytes = (int64_t)k->max_bytes,
        .chain_bytes = (int64_t)s->config->limits.decoded_body_bytes,
    };
}

static bool same_conf(const struct response_store_conf *a, const struct response_store_conf *b)
{
    return str_eq(a->backend, b->backend) && str_eq(a->path, b->path) && a->ttl_s == b->ttl_s &&
           a->max_responses == b->max_responses && a->max_bytes == b->max_bytes && a->chain_bytes == b->chain_bytes;
}

struct response_store *responses_store(const struct snap *s, struct err *e)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct { struct response_store_conf conf; struct response_store *store; } stores[STORES_MAX];
    static unsigned n;
    static struct arena *texts;
    if (!s->config->response_api.is_enabled)
        return NULL;
    struct response_store_conf conf = store_conf(s);
    struct response_store *found = NULL;
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < n && !found; i++)
        if (same_conf(&stores[i].conf, &conf))
            found = stores[i].store;
    if (!found && n == STORES_MAX) {
        err_set(e, "services.response_api has changed too often in this process's life");
    } else if (!found && (found = response_store_open(&conf, e)) != NULL) {
        if (!texts)
            texts = arena_new();
        conf.backend = texts ? arena_str(texts, conf.backend) : S("");
        conf.path = texts ? arena_str(texts, conf.path) : S("");
        stores[n].conf = conf;
        stores[n++].store = found;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static int64_t now_s(void)
{
    return (int64_t)(clock_wall() / NS_PER_S);
}

static uint64_t store_deadline(const struct req *r)
{
    return deadline_min(r->deadline ? r->deadline : NEVER, clock_now(), STORE_WAIT_MS * NS_PER_MS);
}

static str joined(struct arena *a, str front, str rest)
{
    struct buf b = { 0 };
    buf_str(&b, front);
    buf_str(&b, rest);
    return buf_to_arena(&b, a);
}

str responses_owner(struct req *r)
{
    static const str headers[] = { S("authorization"), S("x-api-key"), S("api-key"), S("x-goog-api-key") };
    const struct caller *c = r->caller;
    if (c && c->key_id.len)
        return joined(r->a, S("key/"), c->key_id);
    if (c && c->user.len)
        return joined(r->a, S("user/"), c->user);
    for (size_t i = 0; c && c->kind == CALLER_LISTENER_KEY && i < COUNT_OF(headers); i++) {
        str key = http_get(&r->head, headers[i]);
        unsigned char hash[SHA256_DIGEST_LENGTH];
        if (!key.len)
            continue;
        SHA256((const unsigned char *)key.ptr, key.len, hash);
        char owner[16];
        hex_write(owner, hash, sizeof owner / 2);
        return joined(r->a, S("listener/"), (str){ owner, sizeof owner });
    }
    return S("");
}

/* ---- refusals ---- */

static int bad(struct req *r, const char *param, const char *code, const char *what)
{
    req_fail(r, 400, "invalid_request_error", code, "shape", "%s: %s", param, what);
    r->fail.param = str_of(param);
    return -1;
}

static int missing(struct req *r, const char *code, const char *what, str id)
{
    id = str_upto(id, 100);
    return req_fail(r, 404, "invalid_request_error", code, "not_found", "%s with id '" STR_FMT "' not found", what, STR_ARG(id));
}

/* What a store's code means to the client. */
static int store_fail(struct req *r, int rc, const struct err *e, const char *code, const char *what, str id)
{
    switch (rc) {
    case -ENOENT:
        return missing(r, code, what, id);
    case -EINVAL:
        return bad(r, "after", "invalid_value", "there is no such item");
    case -ELOOP:
        return bad(r, "previous_response_id", "invalid_value", "the chain of responses has more than 1000 links, or a cycle");
    case -E2BIG:
        return bad(r, "previous_response_id", "context_length_exceeded", "the stored history is too long");
    case -ECANCELED:
        r->is_client_gone = true;
        return req_fail(r, 503, "server_error", "cancelled", "cancelled", "the request was cancelled");
    default:
        return req_fail(r, 503, "server_error", "store_unavailable", "store", "the store of responses did not answer: %s",
                        e->text[0] ? e->text : rc == -ETIMEDOUT ? "timeout" : "busy");
    }
}

static struct response_store *store_of(struct req *r)
{
    struct err e = { 0 };
    struct response_store *s = responses_store(r->snap, &e);
    if (!s)
        req_fail(r, e.text[0] ? 503 : 400, e.text[0] ? "server_error" : "invalid_request_error", "store_unavailable", "store",
                 "%s",
                 e.text[0] ? e.text : "nothing is stored here: services.response_api.enabled is false");
    return s;
}

/* ---- items ---- */

static const char *item_prefix(str type)
{
    static const struct { const char *type, *prefix; } table[] = {
        { "message", "msg_" }, { "function_call", "fc_" }, { "function_call_output", "fco_" }, { "custom_tool_call", "ctc_" },
        { "custom_tool_call_output", "ctco_" }, { "reasoning", "rs_" },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (str_eq(type, str_of(table[i].type)))
            return table[i].prefix;
    return "item_";
}

static void message_write(struct arena *a, const struct json *j, jref item, struct json_writer *w)
{
    bool is_answer = str_eq(json_str(j, json_get(j, item, S("role")), a), S("assistant"));
    put_str(w, S("type"), S("message"));
    put_str(w, S("status"), S("completed"));
    JSON_EACH_PAIR(j, item, key, value) {
        str name = json_str(j, key, a);
        if (str_eq(name, S("id")) || str_eq(name, S("type")) || str_eq(name, S("status")))
            continue;
        if (!str_eq(name, S("content")) || json_kind(j, value) != JSON_STRING) {
            put_raw(w, name, json_compact(a, json_raw(j, value)));
            continue;
        }
        put_open(w, name, '[');
        jw_begin(w, '{');
        put_str(w, S("type"), is_answer ? S("output_text") : S("input_text"));
        put_raw(w, S("text"), json_raw(j, value));
        if (is_answer)
            put_raw(w, S("annotations"), S("[]"));
        jw_end(w, '}');
        jw_end(w, ']');
    }
}

/* An item as it is kept: with an id, and a message in its long form. */
static struct stored_item item_of(struct arena *a, const struct json *j, jref item)
{
    struct buf b = { 0 };
    struct json_writer w = { .out = &b };
    char made[STORED_ID_MAX];
    str type = json_str(j, json_get(j, item, S("type")), a), id = json_str(j, json_get(j, item, S("id")), a);
    if (!type.len)
        type = S("message");
    if (!id.len)
        id = arena_str(a, stored_id(made, item_prefix(type)));
    jw_begin(&w, '{');
    put_str(&w, S("id"), id);
    if (str_eq(type, S("message"))) {
        message_write(a, j, item, &w);
    } else {
        bool lacks_status = !json_is(j, json_get(j, item, S("status")), JSON_STRING);
        JSON_EACH_PAIR(j, item, key, value)
            if (!json_key_is(j, key, S("id")) && !(lacks_status && json_key_is(j, key, S("status"))))
                put_raw(&w, json_str(j, key, a), json_compact(a, json_raw(j, value)));
        if (lacks_status && (str_ends(type, S("_call")) || str_ends(type, S("_call_output"))))
            put_str(&w, S("status"), S("completed"));       /* lists of items must have it, requests need not */
    }
    jw_end(&w, '}');
    return (struct stored_item){ .id = id, .json = buf_to_arena(&b, a) };
}

static struct stored_items items_of(struct arena *a, const struct json *j, jref items)
{
    struct stored_items out = { 0 };
    if (json_is(j, items, JSON_STRING)) {
        struct buf b = { 0 };
        struct json message;
        buf_str(&b, S("{\"type\":\"message\",\"role\":\"user\",\"content\":"));
        buf_str(&b, json_raw(j, items));
        buf_char(&b, '}');
        if (json_parse(a, buf_to_arena(&b, a), &message, NULL) == 0)
            *PUSH(a, out.items, out.n) = item_of(a, &message, 0);
    } else if (json_is(j, items, JSON_ARRAY)) {
        JSON_EACH_ITEM(j, items, item)
            if (json_kind(j, item) == JSON_OBJECT)
                *PUSH(a, out.items, out.n) = item_of(a, j, item);
    }
    return out;
}

/* ---- before: history ---- */

static bool is_reference(const struct json *j, jref item, struct arena *a)
{
    if (json_kind(j, item) != JSON_OBJECT)
        return false;
    str type = json_str(j, json_get(j, item, S("type")), a);
    bool is_typed = type.len || json_get(j, item, S("role")) != JSON_NONE;
    return str_eq(type, S("item_reference")) || (!is_typed && json_get(j, item, S("id")) != JSON_NONE);
}

static bool has_references(const struct json *j, jref input, struct arena *a)
{
    if (json_is(j, input, JSON_ARRAY))
        JSON_EACH_ITEM(j, input, item)
            if (is_reference(j, item, a))
                return true;
    return false;
}

/* A string member of the request, or the `id` of an object: conversation may be either. */
static str id_member(const struct req *r, str key)
{
    jref n = json_get(&r->json, 0, key);
    if (json_is(&r->json, n, JSON_OBJECT))
        n = json_get(&r->json, n, S("id"));
    return json_is(&r->json, n, JSON_STRING) ? json_str(&r->json, n, r->a) : S("");
}

static void add_json(struct buf *b, str json)
{
    if (b->len > 1)
        buf_char(b, ',');
    buf_str(b, json);
}

/* Ids of stored items mean nothing to a provider that did not give them, and nothing is lost without them. */
static void forget_ids(struct turn *turns, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        turns[i].item_id = S("");
        for (uint32_t k = 0; k < turns[i].n; k++)
            turns[i].blocks[k].item_id = S("");
    }
}

static WAITS bool pause_before_retry(void)
{
    return fiber_self() && fiber_sleep(clock_now() + RETRY_MS * NS_PER_MS) == 0;
}

static WAITS int response_find(struct req *r, struct response_store *s, str id, struct stored_response *out, struct err *e)
{
    int rc = -ENOENT;
    for (int i = 0; rc == -ENOENT && i < RETRIES && (i == 0 || pause_before_retry()); i++)
        rc = response_store_get(s, responses_owner(r), id, now_s(), r->a, out, store_deadline(r), e);
    return rc;
}

static WAITS int chain_load(struct req *r, const struct exchange *x, struct stored_items *out)
{
    struct err e = { 0 };
    bool is_conversation = x->conversation_id.len > 0;
    str id = is_conversation ? x->conversation_id : x->previous_id;
    int rc = -ENOENT;
    for (int i = 0; rc == -ENOENT && i < RETRIES && (i == 0 || pause_before_retry()); i++)
        rc = response_store_chain(x->store, x->owner, id, now_s(), r->a, out, store_deadline(r), &e);
    if (rc == 0)
        return 0;
    store_fail(r, rc, &e, is_conversation ? "conversation_not_found" : "previous_response_not_found",
               is_conversation ? "Conversation" : "Previous response", id);
    if (rc == -ENOENT)
        r->fail.param = is_conversation ? S("conversation") : S("previous_response_id");
    return -1;
}

/* All items of the new prompt: the history's, then the request's with its references filled in. */
static WAITS int items_join(struct req *r, const struct exchange *x, const struct stored_items *history, str *out)
{
    const struct json *j = &r->json;
    jref input = json_get(j, 0, S("input"));
    struct buf all = { 0 };
    int rc = 0;
    buf_char(&all, '[');
    for (size_t i = 0; i < history->n; i++)
        add_json(&all, history->items[i].json);
    if (json_is(j, input, JSON_STRING)) {
        add_json(&all, S("{\"role\":\"user\",\"content\":"));
        buf_str(&all, json_raw(j, input));
        buf_char(&all, '}');
    } else if (json_is(j, input, JSON_ARRAY)) {
        JSON_EACH_ITEM(j, input, item) {
            str json = json_raw(j, item);
            struct err e = { 0 };
            if (is_reference(j, item, r->a)) {
                str id = json_str(j, json_get(j, item, S("id")), r->a);
                rc = response_store_item(x->store, x->owner, id, now_s(), r->a, &json, store_deadline(r), &e);
                if (rc < 0) {
                    rc = store_fail(r, rc, &e, "item_not_found", "Item", id);
                    r->fail.param = S("input");
                    break;
                }
            }
            add_json(&all, json);
        }
    }
    buf_char(&all, ']');
    *out = buf_to_arena(&all, r->a);
    return rc;
}

static WAITS int history_load(struct req *r, const struct exchange *x)
{
    struct stored_items history = { 0 };
    struct json j;
    struct err e = { 0 };
    struct prompt *p = r->prompt;
    struct turn *turns = NULL;
    uint32_t n = 0;
    str all;
    if ((x->previous_id.len || x->conversation_id.len) && chain_load(r, x, &history) < 0)
        return -1;
    if (items_join(r, x, &history, &all) < 0)
        return -1;
    if (arena_exhausted(r->a) || json_parse(r->a, all, &j, NULL) < 0)
        return req_fail(r, 503, "overloaded_error", "overloaded", "memory", "no memory for the stored history; try again");
    if (responses_items_read(r->a, &j, 0, "input", &turns, &n, &e) < 0)
        return req_fail(r, 400, "invalid_request_error", "invalid_value", "shape", "%s", e.text);
    forget_ids(turns, n);
    p->turns = turns;
    p->n_turns = n;
    size_t kept = 0;
    for (size_t i = 0; i < p->rest.n; i++)
        if (!str_eq(p->rest.items[i].key, S("previous_response_id")) && !str_eq(p->rest.items[i].key, S("conversation")))
            p->rest.items[kept++] = p->rest.items[i];
    p->rest.n = kept;
    if (p->reasoning == REASONING_ON || p->reasoning == REASONING_ADAPTIVE)
        p->wants_sealed_reasoning = true;               /* the next turn may go to a provider that does not know this one */
    r->is_prompt_changed = true;
    prompt_chat(r->a, p, &r->chat);                     /* policy looks at all of it */
    return 0;
}

static WAITS void responses_keep(struct req *r, const struct reply *reply);

WAITS int responses_load(struct req *r)
{
    const struct json *j = &r->json;
    struct exchange *x = ARENA_NEW(r->a, struct exchange);
    struct err e = { 0 };
    jref store = json_get(j, 0, S("store"));
    bool wants_store = !json_is(j, store, JSON_FALSE);
    char id[STORED_ID_MAX];
    *x = (struct exchange){ .previous_id = id_member(r, S("previous_response_id")),
                            .conversation_id = id_member(r, S("conversation")) };
    bool needs_store = x->previous_id.len || x->conversation_id.len || has_references(j, json_get(j, 0, S("input")), r->a);
    if (json_bool(j, json_get(j, 0, S("background")), false))
        return bad(r, "background", "unsupported_parameter", "answers are not made in the background here");
    if (x->previous_id.len && x->conversation_id.len)
        return bad(r, "previous_response_id", "invalid_value", "cannot be used together with conversation");
    if (!needs_store && !wants_store)
        return 0;
    x->store = needs_store ? store_of(r) : responses_store(r->snap, &e);
    if (!x->store)
        return needs_store ? -1 : 0;
    x->owner = responses_owner(r);
    if (needs_store && history_load(r, x) < 0)
        return -1;
    r->exchange = x;
    r->on_context = responses_context;
    if (!wants_store)
        return 0;
    x->id = arena_str(r->a, stored_id(id, "resp_"));
    x->items = items_of(r->a, j, json_get(j, 0, S("input")));
    r->on_reply = responses_keep;
    return 0;
}

void responses_context(const struct req *r, struct answer_context *c)
{
    const struct exchange *x = r->exchange;
    if (!x)
        return;
    c->response_id = x->id;
    c->stored_previous_id = x->previous_id;
    c->stored_conversation_id = x->conversation_id;
}

/* ---- after: what is kept ---- */

/* An answer that was passed on as it came has the provider's id. */
static WAITS void responses_keep(struct req *r, const struct reply *reply)
{
    const struct exchange *x = r->exchange;
    struct answer_context c = *translate_context(r);
    bool is_passed_on = r->backend && r->backend->dialect == r->dialect && str_starts(reply->id, S("resp_"));
    struct buf body = { 0 };
    struct json j;
    struct err e = { 0 };
    responses_context(r, &c);
    if (is_passed_on)
        c.response_id = S("");
    if (is_passed_on && reply->raw.len)         /* what is asked for again is what was told */
        buf_str(&body, reply->raw);
    else
        responses_reply_write(reply, &c, &body);
    struct stored_response s = {
        .id = is_passed_on ? reply->id : x->id, .owner = x->owner, .previous_id = x->previous_id,
        .conversation_id = x->conversation_id, .json = buf_to_arena(&body, r->a), .items = x->items,
    };
    if (arena_exhausted(r->a) || json_parse(r->a, s.json, &j, NULL) < 0)
        return;
    jref output = json_get(&j, 0, S("output"));
    if (json_is(&j, output, JSON_ARRAY))
        JSON_EACH_ITEM(&j, output, item)
            *PUSH(r->a, s.items.items, s.items.n) = (struct stored_item){
                .id = json_str(&j, json_get(&j, item, S("id")), r->a), .json = json_raw(&j, item), .is_output = true };
    int rc = response_store_put(x->store, &s, now_s(), clock_now() + STORE_WAIT_MS * NS_PER_MS, &e);
    if (rc < 0 && rc != -ECANCELED)
        log_warn("response_not_stored", "response " STR_FMT ": %s", STR_ARG(s.id), e.text[0] ? e.text : strerror(-rc));
}

/* ---- doors ---- */

static WAITS int answer(struct req *r, struct buf *body)
{
    int rc = relay_own(r, 200, S("application/json"), buf_view(body));
    buf_free(body);
    return rc;
}

struct door_path { str id, list, item; };    /* PREFIX ID[/LIST[/ITEM]]; id "" : leads nowhere */

static struct door_path door_path_of(const struct req *r, str prefix)
{
    str rest = str_from(r->head.path, prefix.len), parts[3];
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        parts[i] = http_path_decode(str_cut(&rest, '/'), r->a);
    return (struct door_path){ rest.len ? S("") : parts[0], parts[1], parts[2] };
}

static WAITS int no_path(struct req *r)
{
    req_fail(r, 404, "invalid_request_error", "unknown_url", "path", "there is no " STR_FMT " " STR_FMT, STR_ARG(r->head.method),
             STR_ARG(r->head.path));
    return relay_fail(r);
}

/* The store, and where in it the path leads; `list` is what the one below an id is called. NULL: refused, the handler returns *rc. */
static WAITS struct response_store *store_enter(struct req *r, str prefix, str list, struct door_path *at, int *rc)
{
    struct response_store *s = store_of(r);
    *at = door_path_of(r, prefix);
    if (s && at->id.len && (!at->list.len || str_eq(at->list, list)))
        return s;
    *rc = s ? no_path(r) : relay_fail(r);
    return NULL;
}

static WAITS int fail_serve(struct req *r, int rc, const struct err *e, const char *what, str id)
{
    store_fail(r, rc, e, NULL, what, id);
    return r->is_client_gone ? -1 : relay_fail(r);
}

static WAITS int list_write(struct req *r, const struct stored_items *items, bool has_more)
{
    struct buf out = { 0 };
    struct json_writer w = { .out = &out };
    jw_begin(&w, '{');
    put_str(&w, S("object"), S("list"));
    put_open(&w, S("data"), '[');
    for (size_t i = 0; i < items->n; i++)
        jw_raw(&w, items->items[i].json);
    jw_end(&w, ']');
    put_or_null(&w, S("first_id"), items->n ? items->items[0].id : S(""));
    put_or_null(&w, S("last_id"), items->n ? items->items[items->n - 1].id : S(""));
    put_bool(&w, S("has_more"), has_more);
    jw_end(&w, '}');
    return answer(r, &out);
}

/* ?limit=1..100&order=asc|desc&after=ID */
static WAITS int list_serve(struct req *r, struct response_store *s, str id, bool inputs_only, const char *what)
{
    struct err e = { 0 };
    struct stored_items items = { 0 };
    bool has_more = false;
    int64_t limit = PAGE_DEFAULT;
    str text = http_query_get(r->head.query, S("limit"), r->a), order = http_query_get(r->head.query, S("order"), r->a);
    if (text.len && (!str_int(text, &limit) || limit < 1 || limit > STORED_PAGE_MAX)) {
        bad(r, "limit", "invalid_value", "expected a number from 1 to 100");
        return relay_fail(r);
    }
    if (order.len && !str_eq(order, S("asc")) && !str_eq(order, S("desc"))) {
        bad(r, "order", "invalid_value", "expected asc or desc");
        return relay_fail(r);
    }
    struct stored_page page = { .after = http_query_get(r->head.query, S("after"), r->a), .limit = (unsigned)limit,
                                .is_descending = !str_eq(order, S("asc")), .inputs_only = inputs_only };
    int rc = response_store_page(s, responses_owner(r), id, &page, now_s(), r->a, &items, &has_more, store_deadline(r), &e);
    return rc < 0 ? fail_serve(r, rc, &e, what, id) : list_write(r, &items, has_more);
}

WAITS int responses_serve_get(struct req *r)
{
    struct err e = { 0 };
    struct stored_response found;
    struct door_path at;
    int rc;
    struct response_store *s = store_enter(r, S("/v1/responses/"), S("input_items"), &at, &rc);
    if (!s)
        return rc;
    if (at.item.len)
        return no_path(r);
    if (at.list.len)
        return list_serve(r, s, at.id, true, "Response");
    if (str_eq(http_query_get(r->head.query, S("stream"), r->a), S("true"))) {
        bad(r, "stream", "unsupported_parameter", "a stored response is not streamed again");
        return relay_fail(r);
    }
    rc = response_find(r, s, at.id, &found, &e);
    return rc < 0 ? fail_serve(r, rc, &e, "Response", at.id) : relay_own(r, 200, S("application/json"), found.json);
}

static WAITS int deleted(struct req *r, str id, str object)
{
    struct buf out = { 0 };
    struct json_writer w = { .out = &out };
    jw_begin(&w, '{');
    put_str(&w, S("id"), id);
    put_str(&w, S("object"), object);
    put_bool(&w, S("deleted"), true);
    jw_end(&w, '}');
    return answer(r, &out);
}

WAITS int responses_serve_delete(struct req *r)
{
    struct err e = { 0 };
    struct door_path at;
    int rc;
    struct response_store *s = store_enter(r, S("/v1/responses/"), S(""), &at, &rc);
    if (!s)
        return rc;
    rc = response_store_delete(s, responses_owner(r), at.id, now_s(), store_deadline(r), &e);
    return rc < 0 ? fail_serve(r, rc, &e, "Response", at.id) : deleted(r, at.id, S("response"));
}

/* Only answers that are made in the background can be cancelled, and none is. */
WAITS int responses_serve_post(struct req *r)
{
    struct err e = { 0 };
    struct stored_response found;
    struct door_path at = door_path_of(r, S("/v1/responses/"));
    int rc = 0;
    if ((r->head.is_chunked || r->head.content_length > 0) && !gateway_json(r, &rc))
        return rc;
    if (!at.id.len || !str_eq(at.list, S("cancel")) || at.item.len)
        return no_path(r);
    struct response_store *s = store_of(r);
    if (!s)
        return relay_fail(r);
    rc = response_find(r, s, at.id, &found, &e);
    if (rc < 0)
        return fail_serve(r, rc, &e, "Response", at.id);
    req_fail(r, 400, "invalid_request_error", "response_not_cancellable", "shape",
             "only responses that are made in the background can be cancelled; this one is finished");
    return relay_fail(r);
}

static WAITS int conversation_tell(struct req *r, const struct stored_conversation *c)
{
    struct buf out = { 0 };
    struct json_writer w = { .out = &out };
    jw_begin(&w, '{');
    put_str(&w, S("id"), c->id);
    put_str(&w, S("object"), S("conversation"));
    put_int(&w, S("created_at"), c->created);
    put_raw(&w, S("metadata"), c->metadata.len ? c->metadata : S("{}"));
    jw_end(&w, '}');
    return answer(r, &out);
}

/* The request's metadata; false: it is no object. */
static bool metadata_of(struct req *r, str *out)
{
    jref n = json_get(&r->json, 0, S("metadata"));
    if (n != JSON_NONE && json_kind(&r->json, n) != JSON_NULL && json_kind(&r->json, n) != JSON_OBJECT) {
        bad(r, "metadata", "invalid_value", "expected an object");
        return false;
    }
    *out = json_is(&r->json, n, JSON_OBJECT) ? json_compact(r->a, json_raw(&r->json, n)) : S("{}");
    return true;
}

WAITS int conversations_serve_create(struct req *r)
{
    struct err e = { 0 };
    char id[STORED_ID_MAX];
    int rc = 0;
    if (!gateway_json(r, &rc))
        return rc;
    struct stored_conversation c = { .id = stored_id(id, "conv_"), .owner = responses_owner(r), .created = now_s() };
    struct response_store *s = store_of(r);
    if (!s || !metadata_of(r, &c.metadata))
        return relay_fail(r);
    struct stored_items items = items_of(r->a, &r->json, json_get(&r->json, 0, S("items")));
    rc = conversation_put(s, &c, now_s(), store_deadline(r), &e);
    if (rc == 0 && items.n)
        rc = conversation_append(s, c.owner, c.id, &items, now_s(), store_deadline(r), &e);
    return rc < 0 ? fail_serve(r, rc, &e, "Conversation", c.id) : conversation_tell(r, &c);
}

static WAITS int item_tell(struct req *r, struct response_store *s, str conversation, str item)
{
    struct err e = { 0 };
    struct stored_conversation c;
    str json;
    int rc = conversation_get(s, responses_owner(r), conversation, now_s(), r->a, &c, store_deadline(r), &e);
    if (rc == 0)
        rc = response_store_item(s, responses_owner(r), item, now_s(), r->a, &json, store_deadline(r), &e);
    return rc < 0 ? fail_serve(r, rc, &e, "Item", item) : relay_own(r, 200, S("application/json"), json);
}

WAITS int conversations_serve_get(struct req *r)
{
    struct err e = { 0 };
    struct stored_conversation c;
    struct door_path at;
    int rc;
    struct response_store *s = store_enter(r, S("/v1/conversations/"), S("items"), &at, &rc);
    if (!s)
        return rc;
    if (at.item.len)
        return item_tell(r, s, at.id, at.item);
    if (at.list.len)
        return list_serve(r, s, at.id, false, "Conversation");
    rc = conversation_get(s, responses_owner(r), at.id, now_s(), r->a, &c, store_deadline(r), &e);
    return rc < 0 ? fail_serve(r, rc, &e, "Conversation", at.id) : conversation_tell(r, &c);
}

WAITS int conversations_serve_post(struct req *r)
{
    struct err e = { 0 };
    struct stored_conversation c;
    struct door_path at;
    int rc = 0;
    if (!gateway_json(r, &rc))
        return rc;
    struct response_store *s = store_enter(r, S("/v1/conversations/"), S("items"), &at, &rc);
    if (!s)
        return rc;
    if (at.item.len)
        return no_path(r);
    str owner = responses_owner(r);
    if (at.list.len) {
        struct stored_items items = items_of(r->a, &r->json, json_get(&r->json, 0, S("items")));
        if (!items.n) {
            bad(r, "items", "invalid_value", "expected an array of items");
            return relay_fail(r);
        }
        rc = conversation_append(s, owner, at.id, &items, now_s(), store_deadline(r), &e);
        return rc < 0 ? fail_serve(r, rc, &e, "Conversation", at.id) : list_write(r, &items, false);
    }
    rc = conversation_get(s, owner, at.id, now_s(), r->a, &c, store_deadline(r), &e);
    if (rc < 0)
        return fail_serve(r, rc, &e, "Conversation", at.id);
    if (!metadata_of(r, &c.metadata))
        return relay_fail(r);
    rc = conversation_put(s, &c, now_s(), store_deadline(r), &e);
    return rc < 0 ? fail_serve(r, rc, &e, "Conversation", at.id) : conversation_tell(r, &c);
}

WAITS int conversations_serve_delete(struct req *r)
{
    struct err e = { 0 };
    struct stored_conversation c;
    struct door_path at;
    int rc;
    struct response_store *s = store_enter(r, S("/v1/conversations/"), S("items"), &at, &rc);
    if (!s)
        return rc;
    if (at.list.len && !at.item.len)
        return no_path(r);
    str owner = responses_owner(r);
    if (!at.list.len) {
        rc = conversation_delete(s, owner, at.id, now_s(), store_deadline(r), &e);
        return rc < 0 ? fail_serve(r, rc, &e, "Conversation", at.id) : deleted(r, at.id, S("conversation.deleted"));
    }
    rc = conversation_drop(s, owner, at.id, at.item, now_s(), store_deadline(r), &e);
    if (rc == 0)
        rc = conversation_get(s, owner, at.id, now_s(), r->a, &c, store_deadline(r), &e);
    return rc < 0 ? fail_serve(r, rc, &e, "Item", at.item) : conversation_tell(r, &c);
}
