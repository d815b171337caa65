/* pipeline/ask.c -- a request inside the process: made here, sent by attempt.c, read whole. */
#include "pipeline/ask.h"

#include <errno.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/put.h"
#include "dialect/openai_chat_parse.h"
#include "pipeline/account.h"
#include "pipeline/attempt.h"
#include "pipeline/key.h"
#include "pipeline/limit.h"
#include "runtime/loop.h"

enum { WHOLE_CALL_S = 600 };            /* a question without a time of its own */

/* Names of models that think unless they are told not to: VSR looks at the name, too. A configured family says it better. */
static bool thinks_by_name(const struct model *m)
{
    str name = m->backends[0].upstream_model;
    for (size_t i = 0; i + 3 <= name.len; i++)
        if (str_ieq((str){ name.ptr + i, 3 }, S("qwq")) || (i + 4 <= name.len && str_ieq((str){ name.ptr + i, 4 }, S("qwen"))))
            return true;
    return false;
}

static void message_write(struct json_writer *w, const char *role, str text)
{
    jw_begin(w, '{');
    put_str(w, S("role"), str_of(role));
    put_str(w, S("content"), text);
    jw_end(w, '}');
}

static str body_write(struct arena *a, const struct select_question *q, const struct model *m)
{
    struct buf body = { 0 };
    struct json_writer w = { .out = &body };
    jw_begin(&w, '{');
    put_str(&w, S("model"), q->model);
    put_open(&w, S("messages"), '[');
    message_write(&w, "system", q->system);
    message_write(&w, "user", q->text);
    jw_end(&w, ']');
    put_int(&w, S("temperature"), 0);
    put_int(&w, S("max_completion_tokens"), q->tokens);
    if (q->wants_json) {
        put_raw(&w, S("response_format"), S("{\"type\":\"json_object\"}"));
    }
    if (!m->family && m->backends[0].dialect == &dialect_openai_chat && thinks_by_name(m)) {
        put_raw(&w, S("chat_template_kwargs"), S("{\"enable_thinking\":false}"));
    }
    jw_end(&w, '}');
    return buf_to_arena(&body, a);
}

/* Of the client's headers only those that bring the caller's own keys for providers. */
static void keys_take(struct req *r, const struct req *of)
{
    const struct config *c = r->snap->config;
    r->head.headers = ARENA_ARRAY(r->a, struct header, c->n_key_headers);
    for (size_t i = 0; i < c->n_key_headers; i++) {
        str key = http_get(&of->head, c->key_headers[i].header);
        if (key.len)
            r->head.headers[r->head.n_headers++] = (struct header){ c->key_headers[i].header, key };
    }
}

/* What the operator has configured needs no permission of the caller's. */
static struct caller *payer_of(struct arena *a, const struct caller *c)
{
    if (!c)
        return NULL;
    struct caller *own = ARENA_NEW(a, struct caller);
    *own = *c;
    own->models = own->entrypoints = NULL;
    return own;
}

static struct req *call_new(struct arena *a, struct snap *s, const struct select_question *q, const struct asking_for *by,
                            const struct model *m)
{
    struct req *r = ARENA_NEW(a, struct req), *of = by->of;
    struct model_ref *ref = ARENA_NEW(a, struct model_ref);
    struct err e;
    uint64_t now = clock_now();
    r->a = r->out.edits.a = a;
    r->snap = s;
    r->loop = loop_self();
    r->endpoint = ENDPOINT_CHAT;
    r->dialect = &dialect_openai_chat;
    r->response_path = "upstream";
    r->body = body_write(a, q, m);
    if (json_parse(a, r->body, &r->json, NULL) < 0 || openai_chat_parse(a, &r->json, SIZES_AS_SENT, &r->chat, &e) < 0)
        return NULL;                            /* no memory: we wrote it ourselves */
    facts_build(&r->facts, a, &r->chat);
    r->facts.now_ns = clock_wall();
    r->facts.seed = hash_mix(by->seed + 1);
    r->caller = payer_of(a, of ? of->caller : by->payer);
    r->request_id = S("");
    if (of) {
        r->is_inner = true;
        r->trace = of->trace;
        r->request_id = of->request_id;
        r->facts.user_id = of->facts.user_id;
        r->facts.groups = of->facts.groups;
        r->facts.n_groups = of->facts.n_groups;
        keys_take(r, of);
    }
    *ref = (struct model_ref){ .model = m->name, .lora_name = str_eq(q->model, m->name) ? S("") : q->model };
    r->order = ARENA_ARRAY(a, const struct model *, 1);
    r->refs = ARENA_ARRAY(a, const struct model_ref *, 1);
    r->order[0] = m;
    r->refs[0] = ref;
    r->n_order = 1;
    r->t.start = r->t.head = r->t.body = r->t.parsed = r->t.routed = now;
    r->deadline = deadline_min(of && of->deadline ? of->deadline : now + WHOLE_CALL_S * NS_PER_S, now, q->timeout_ns);
    return r;
}

static WAITS const char *reply_read(struct req *r, struct answer *answer, str *text)
{
    str body;
    struct json j;
    struct reply reply = { 0 };
    struct err e;
    struct buf all = { 0 };
    int rc = h1_read_body(&answer->up->in, r->a, &answer->head, ASK_ANSWER_MAX, &body,
                          deadline_min(r->attempt_deadline, clock_now(), r->model->idle_ns));
    if (rc < 0) {
        if (rc != -ECANCELED && rc != -EMSGSIZE)
            backend_failed(r->backend, clock_now());
        return rc == -ETIMEDOUT ? "timeout" : rc == -ECANCELED ? "cancelled" : rc == -EMSGSIZE ? "malformed" : "unreachable";
    }
    answer->body_is_read = true;
    r->relayed_bytes = body.len;
    if (json_parse(r->a, body, &j, NULL) < 0 || r->backend->dialect->reply_read(r->a, &j, &reply, &e) < 0)
        return "malformed";
    r->usage = reply.usage;
    for (uint32_t i = 0; i < reply.n; i++)
        if (reply.blocks[i].kind == BLOCK_TEXT)
            buf_str(&all, reply.blocks[i].text);
    *text = buf_to_arena(&all, r->a);
    return text->len ? NULL : "empty";
}

static WAITS const char *call_run(struct req *r, str *text)
{
    struct answer answer;
    int rc = attempt_run(r, &answer);
    if (rc < 0)
        return rc == -ECANCELED ? "cancelled" : r->fail.status == 504 ? "timeout" : r->fail.status == 400 ? "refused" : "unreachable";
    r->status = answer.head.status;
    const char *why = answer.head.status == 200 ? reply_read(r, &answer, text) : "status";
    attempt_finish(r, &answer, answer.body_is_read);
    return why;
}

const struct model *ask_finds(const struct snap *s, str name)
{
    const struct model *m = map_get(&s->models, name);
    return m && m->n_backends && !m->encoder && m->backends[0].provider != &provider_explain ? m : NULL;
}

WAITS void ask_model(struct arena *a, struct snap *s, const struct select_question *q, const struct asking_for *by,
                     struct ask_answer *out)
{
    uint64_t from = clock_now();
    const struct model *m = ask_finds(s, q->model);
    *out = (struct ask_answer){ .model = q->model, .heard.why = "no-model", .cost = (double)NAN };
    struct req *r = m ? call_new(a, s, q, by, m) : NULL;
    if (!r)
        return;
    /* A budget that would let a cheaper model answer instead (on_budget: reroute) refuses: the question was for this one. */
    if (limit_admit(r) < 0 || r->n_order == 0 || r->order[0] != m) {
        limit_settle(r, NULL, (double)NAN);
        out->heard.why = "budget";
        return;
    }
    r->n_order = 1;
    out->heard.why = call_run(r, &out->heard.text);
    r->is_client_gone = fiber_is_cancelled(fiber_self());
    r->t.end = clock_now();
    out->cost = account_call(r);
    out->usage = r->usage;
    out->took_ns = r->t.end - from;
    buf_free(&r->out.headers);
}
