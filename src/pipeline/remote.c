/* pipeline/remote.c -- one POST, one JSON answer; a protocol is how the body is written and how the answer is read. */
#include "pipeline/remote.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/field.h"
#include "base/json.h"
#include "base/map.h"
#include "base/put.h"
#include "net/client.h"
#include "net/url.h"

enum {
    ANSWER_BYTES_MAX = 8 << 20, HEAD_BYTES_MAX = 64 << 10,
    TEXT_BYTES_MAX = 256 << 10,         /* of one request; a longer text is cut */
    LABELS_MAX = 64,
    DIM_MAX = 16384,
};

enum protocol { CLASSIFY, GUARD_CHAT, LABEL_CHAT, ROUTE_CHAT, EMBEDDINGS };

struct remote {
    enum protocol protocol;
    str name;
    struct origin origin;
    str host_header, path, auth_line;
    str model, system, prompt_template, parser;
    str *labels; uint32_t n_labels, n_positive;     /* guards: the positive labels come first, "benign" last */
    uint64_t timeout_ns;
    int64_t max_tokens;
    unsigned retries;
    uint32_t dim;
};

str remote_name(const struct remote *r)     { return r->name; }
uint32_t remote_dim(const struct remote *r) { return r->dim; }

str *remote_labels(const struct remote *r, uint32_t *n)
{
    *n = r->n_labels;
    return r->labels;
}

/* ---- configuration ---- */

static str text_of(const struct value *map, const char *key)
{
    const struct value *v = value_get(map, str_of(key));
    return v && v->kind == VALUE_SCALAR ? v->text : (str){ 0 };
}

static int64_t int_of(const struct value *map, const char *key, int64_t fallback)
{
    int64_t n;
    str s = text_of(map, key);
    return s.len && str_int(s, &n) && n > 0 ? n : fallback;
}

static void trouble(struct findings *out, const struct value *at, str path, const char *text, str what)
{
    finding_add(out, "bad-remote", SEVERITY_ERROR, at ? at->at : (struct place){ 0 }, path,
                S("write http://host:port or https://host/path"), "%s: '" STR_FMT "'", text, STR_ARG(what));
}

static void tls_done(void *ctx)
{
    tls_context_free(ctx);
}

/* Fills the origin of `base`; `tail` goes behind its path. */
static bool origin_set(struct arena *a, struct remote *r, str base, const char *tail, const struct value *at, struct findings *out)
{
    struct url u;
    if (!url_parse(base, &u)) {
        trouble(out, at, r->name, "this is no address", base);
        return false;
    }
    r->origin = (struct origin){ .host = arena_str(a, u.at.host), .port = u.at.port };
    if (u.is_https) {
        struct tls_paths files = { 0 };
        struct err e = { 0 };
        r->origin.tls = tls_client_context(&files, &e);
        if (!r->origin.tls) {
            trouble(out, at, r->name, e.text, base);
            return false;
        }
        arena_defer(a, tls_done, r->origin.tls);
    }
    r->origin.key = origin_key(r->origin.host, r->origin.port, u.is_https ? S("tls") : S(""));
    bool is_usual = u.at.port == (u.is_https ? 443 : 80);
    r->host_header = is_usual ? r->origin.host : arena_printf(a, STR_FMT ":%u", STR_ARG(u.at.host), u.at.port);
    bool has_tail = str_ends(u.path, str_of(tail));
    r->path = arena_printf(a, STR_FMT "%s", STR_ARG(u.path), has_tail ? "" : tail);
    return true;
}

static const struct value *external_find(const struct value *global, const char *role, str name)
{
    const struct value *list = value_path(global, "model_catalog.external");
    for (size_t i = 0; list && list->kind == VALUE_LIST && i < list->n_items; i++) {
        const struct value *e = list->items[i];
        if (name.len ? str_eq(text_of(e, "name"), name) : str_eq(text_of(e, "model_role"), str_of(role)))
            return e;
    }
    return NULL;
}

/* An entry of model_catalog.external as the server to chat with. */
static bool external_set(struct arena *a, struct remote *r, const struct value *e, struct findings *out)
{
    const struct value *at = value_get(e, S("llm_endpoint"));
    str address = text_of(at, "address"), protocol = text_of(at, "protocol");
    str base = str_find(address, S("://")) >= 0 ? address
             : arena_printf(a, STR_FMT "://" STR_FMT ":%lld", STR_ARG(protocol.len ? protocol : S("http")), STR_ARG(address),
                            (long long)int_of(at, "port", str_eq(protocol, S("https")) ? 443 : 80));
    r->model = text_of(e, "llm_model_name");
    r->parser = text_of(e, "parser_type");
    r->prompt_template = text_of(at, "prompt_template");
    r->timeout_ns = (uint64_t)int_of(e, "llm_timeout_seconds", (int64_t)(r->timeout_ns / 1000000000)) * 1000000000;
    r->max_tokens = int_of(e, "max_tokens", r->max_tokens);
    str key = text_of(e, "access_key");
    if (key.len)
        r->auth_line = arena_printf(a, "authorization: Bearer " STR_FMT "\r\n", STR_ARG(key));
    return origin_set(a, r, base, "/v1/chat/completions", at ? at : e, out);
}

static void label_add(struct arena *a, struct remote *r, str label)
{
    if (label.len && r->n_labels < LABELS_MAX)
        *PUSH(a, r->labels, r->n_labels) = arena_str(a, label);
}

static void labels_of_guard(struct arena *a, struct remote *r, const struct value *options)
{
    const struct value *list = value_get(options, S("positive_labels"));
    for (size_t i = 0; list && list->kind == VALUE_LIST && i < list->n_items; i++)
        label_add(a, r, list->items[i]->text);
    if (r->n_labels == 0)
        label_add(a, r, S("jailbreak"));
    r->n_positive = r->n_labels;
    label_add(a, r, S("benign"));
}

static const struct remote *guard(struct arena *a, struct remote *r, const struct value *options, const struct value *global,
                                  struct findings *out)
{
    str protocol = text_of(options, "protocol"), endpoint = text_of(options, "endpoint");
    const struct value *external = external_find(global, "guardrail", (str){ 0 });
    if (!protocol.len && !str_eq(text_of(options, "use_vllm"), S("true")))
        return NULL;
    labels_of_guard(a, r, options);
    if (str_eq(protocol, S("http_classify"))) {
        r->protocol = CLASSIFY;
        return origin_set(a, r, endpoint, "/classify", options, out) ? r : NULL;
    }
    r->protocol = GUARD_CHAT;
    if (external && !endpoint.len)
        return external_set(a, r, external, out) ? r : NULL;
    if (external) {
        r->model = text_of(external, "llm_model_name");
        r->parser = text_of(external, "parser_type");
    }
    return origin_set(a, r, endpoint, "/v1/chat/completions", options, out) ? r : NULL;
}

static const struct remote *labeller(struct arena *a, struct remote *r, const struct value *options, const struct value *global,
                                     struct findings *out)
{
    if (!str_eq(text_of(options, "type"), S("llm")))
        return NULL;
    const struct value *external = external_find(global, "classification", text_of(options, "model"));
    const struct value *list = value_get(options, S("labels"));
    r->protocol = LABEL_CHAT;
    r->max_tokens = 128;
    if (!external) {
        trouble(out, options, r->name, "model_catalog.external has no such model of role classification", text_of(options, "model"));
        return NULL;
    }
    struct buf names = { 0 };
    for (size_t i = 0; list && list->kind == VALUE_LIST && i < list->n_items; i++) {
        label_add(a, r, list->items[i]->text);
        buf_printf(&names, "%s" STR_FMT, i ? ", " : "", STR_ARG(list->items[i]->text));
    }
    str all = buf_to_arena(&names, a);
    r->system = arena_printf(a, "Classify the user's text. " STR_FMT "\nLabels: " STR_FMT ".\nAnswer with one JSON object and nothing "
                             "else: {\"label\": one of the labels, \"rationale\": a short reason}.",
                             STR_ARG(text_of(options, "instructions")), STR_ARG(all));
    return external_set(a, r, external, out) ? r : NULL;
}

static const struct remote *chooser(struct arena *a, struct remote *r, const struct value *options, const struct value *global,
                                    struct findings *out)
{
    const struct value *external = external_find(global, "preference", (str){ 0 });
    const struct value *routes = value_get(options, S("routes"));
    if (!external || !routes)
        return NULL;
    r->protocol = ROUTE_CHAT;
    r->max_tokens = 1000;
    r->timeout_ns = 30000000000ull;
    struct buf list = { 0 };
    value_to_json(routes, &list);
    for (size_t i = 0; i < routes->n_items; i++)
        label_add(a, r, text_of(routes->items[i], "name"));
    str all = buf_to_arena(&list, a);
    r->system = arena_printf(a, "Choose the route whose description fits the user's text best.\nRoutes: " STR_FMT "\nAnswer with one "
                             "JSON object and nothing else: {\"route\": name of the route, or \"other\" if none fits}.", STR_ARG(all));
    return external_set(a, r, external, out) ? r : NULL;
}

const struct remote *remote_classifier(struct arena *a, const char *role, str model, const struct value *options,
                                       const struct value *global, struct findings *out)
{
    struct remote *r = ARENA_NEW(a, struct remote);
    *r = (struct remote){ .name = arena_printf(a, "remote %s", role), .timeout_ns = 5000000000ull, .max_tokens = 64 };
    (void)model;
    return strcmp(role, "jailbreak") == 0 ? guard(a, r, options, global, out)
         : strcmp(role, "classifier") == 0 ? labeller(a, r, options, global, out)
         : strcmp(role, "preference") == 0 ? chooser(a, r, options, global, out) : NULL;
}

const struct remote *remote_embedding(struct arena *a, const struct value *endpoint, struct findings *out)
{
    struct remote *r = ARENA_NEW(a, struct remote);
    *r = (struct remote){ .protocol = EMBEDDINGS, .name = S("remote embedding") };
    r->timeout_ns = (uint64_t)int_of(endpoint, "timeout_seconds", 10) * 1000000000;
    r->retries = (unsigned)int_of(endpoint, "max_retries", 0);
    r->model = text_of(endpoint, "model");
    r->dim = (uint32_t)int_of(endpoint, "dimensions", 0);
    if (r->dim == 0 || r->dim > DIM_MAX) {
        trouble(out, endpoint, S("global.model_catalog.embeddings.semantic.endpoint.dimensions"),
                "say how long its vectors are, 1 to 16384", text_of(endpoint, "dimensions"));
        return NULL;
    }
    str variable = text_of(endpoint, "api_key_env");
    const char *key = variable.len ? getenv(arena_cstr(a, variable)) : NULL;
    if (key)
        r->auth_line = arena_printf(a, "authorization: Bearer %s\r\n", key);
    return origin_set(a, r, text_of(endpoint, "base_url"), "/embeddings", endpoint, out) ? r : NULL;
}

/* ---- writing ---- */

/* The template with the text in place of {prompt}, {text} or %s; the text alone without one. */
static str prompt_of(struct arena *a, const struct remote *r, str text)
{
    static const char *const holes[] = { "{prompt}", "{text}", "%s" };
    for (size_t i = 0; i < COUNT_OF(holes) && r->prompt_template.len; i++) {
        long at = str_find(r->prompt_template, str_of(holes[i]));
        if (at < 0)
            continue;
        struct buf b = { 0 };
        buf_str(&b, str_upto(r->prompt_template, (size_t)at));
        buf_str(&b, text);
        buf_str(&b, str_from(r->prompt_template, (size_t)at + strlen(holes[i])));
        return buf_to_arena(&b, a);
    }
    return text;
}

static void message(struct json_writer *w, str role, str content)
{
    jw_begin(w, '{');
    put_str(w, S("role"), role);
    put_str(w, S("content"), content);
    jw_end(w, '}');
}

static str body_of(struct arena *a, const struct remote *r, str text)
{
    struct buf b = { 0 };
    struct json_writer w = { .out = &b };
    text = str_upto(text, TEXT_BYTES_MAX);
    jw_begin(&w, '{');
    if (r->protocol == CLASSIFY) {
        put_str(&w, S("inputs"), text);
    } else if (r->protocol == EMBEDDINGS) {
        put_str(&w, S("model"), r->model);
        put_str(&w, S("input"), text);
    } else {
        put_str(&w, S("model"), r->model);
        put_open(&w, S("messages"), '[');
        if (r->system.len)
            message(&w, S("system"), r->system);
        message(&w, S("user"), prompt_of(a, r, text));
        jw_end(&w, ']');
        put_int(&w, S("temperature"), 0);
        put_int(&w, S("max_tokens"), r->max_tokens);
    }
    jw_end(&w, '}');
    return buf_to_arena(&b, a);
}

/* ---- one exchange ---- */

/* On a plain thread there is no loop and no pool: the connection is made for this one exchange. */
static WAITS int dial_alone(const struct origin *o, uint64_t deadline, struct upstream **out)
{
    const char *detail;
    struct upstream *u = calloc(1, sizeof *u);
    if (!u)
        return -ENOMEM;
    u->conn.io.fd = -1;
    int rc = conn_dial(&u->conn, NULL, o->host, o->port, deadline);
    if (rc == 0 && o->tls && (rc = tls_connect(&u->conn, o->tls, o->host, false, deadline, &detail)) < 0)
        conn_close(&u->conn);
    if (rc < 0) {
        free(u);
        return rc;
    }
    h1_init(&u->in, &u->conn, H1_RESPONSES);
    *out = u;
    return 0;
}

static void hang_up(struct loop *l, struct upstream *u, bool is_kept)
{
    if (!l) {
        conn_close(&u->conn);
        free(u);
    } else if (is_kept) {
        client_put(u);
    } else {
        client_drop(u);
    }
}

/* 0 with *status and *body, or a negative code. A kept connection that died is replaced once. */
static WAITS int exchange(struct loop *l, const struct remote *r, str request, struct arena *a, uint64_t deadline, int *status,
                          str *body)
{
    str head = arena_printf(a, "POST " STR_FMT " HTTP/1.1\r\nhost: " STR_FMT "\r\nuser-agent: signalbox\r\naccept: application/json\r\n"
                            "content-type: application/json\r\n" STR_FMT "content-length: %zu\r\n\r\n", STR_ARG(r->path),
                            STR_ARG(r->host_header), STR_ARG(r->auth_line), request.len);
    for (bool fresh = false;; fresh = true) {
        struct upstream *u;
        const char *why, *detail;
        int rc = l ? client_get(l, &r->origin, fresh, deadline, &u, &why, &detail) : dial_alone(&r->origin, deadline, &u);
        if (rc < 0)
            return rc;
        bool was_kept = u->is_reused;
        struct iovec v[2] = { { (void *)(uintptr_t)head.ptr, head.len }, { (void *)(uintptr_t)request.ptr, request.len } };
        struct http_head answer;
        rc = conn_writev(&u->conn, v, 2, deadline);
        if (rc == 0)
            rc = h1_read_head(&u->in, a, HEAD_BYTES_MAX, &answer, deadline, false) == 1 ? 0 : -EPIPE;
        if (rc == 0)
            rc = h1_read_body(&u->in, a, &answer, ANSWER_BYTES_MAX, body, deadline);
        *status = rc == 0 ? answer.status : 0;
        hang_up(l, u, rc == 0 && answer.keep_alive);
        if (rc == 0 || !was_kept || fresh || clock_now() >= deadline)
            return rc == -EPIPE && clock_now() >= deadline ? -ETIMEDOUT : rc;
    }
}

/* ---- reading ---- */

static void one_hot(struct need *n, const struct remote *r, uint32_t label, float share, struct arena *a)
{
    float *values = ARENA_ARRAY(a, float, r->n_labels);
    values[label] = share;
    if (r->n_positive && label < r->n_positive)
        values[r->n_labels - 1] = 1 - share;
    n->values = values;
    n->n_windows = 1;
    n->is_answered = true;
}

static uint32_t label_index(const struct remote *r, str label)
{
    for (uint32_t i = 0; i < r->n_labels; i++)
        if (str_ieq(r->labels[i], str_trim(label)))
            return i;
    return UINT32_MAX;
}

/* [{label, score}], or that in another list. Scores must add up to 1. */
static void classify_read(struct need *n, const struct remote *r, const struct json *j, struct arena *a)
{
    jref list = 0;
    if (json_is(j, list, JSON_ARRAY) && json_count(j, list) == 1 && json_is(j, list + 1, JSON_ARRAY))
        list++;
    if (!json_is(j, list, JSON_ARRAY))
        return;
    float *values = ARENA_ARRAY(a, float, r->n_labels);
    double sum = 0, score;
    JSON_EACH_ITEM(j, list, item) {
        if (!json_is(j, item, JSON_OBJECT) || !json_double(j, json_get(j, item, S("score")), &score) || !(score >= 0))
            return;
        uint32_t at = label_index(r, json_str(j, json_get(j, item, S("label")), a));
        values[at < r->n_labels ? at : r->n_labels - 1] += (float)score;    /* whatever is not positive is benign */
        sum += score;
    }
    n->values = values;
    n->n_windows = 1;
    n->is_answered = fabs(sum - 1) <= 0.02;
}

static void embedding_read(struct need *n, const struct remote *r, const struct json *j, struct arena *a)
{
    jref vector = json_path(j, "data.0.embedding");
    if (!json_is(j, vector, JSON_ARRAY) || json_count(j, vector) < r->dim)
        return;
    float *values = ARENA_ARRAY(a, float, r->dim);
    double v, sum = 0;
    uint32_t i = 0;
    JSON_EACH_ITEM(j, vector, item) {
        if (i == r->dim)
            break;
        if (!json_double(j, item, &v) || !isfinite(v))
            return;
        values[i++] = (float)v;
        sum += v * v;
    }
    for (i = 0; i < r->dim && sum > 0; i++)
        values[i] /= (float)sqrt(sum);
    n->values = values;
    n->n_windows = 1;
    n->is_answered = true;
}

/* The first {...} of a model's prose. */
static bool object_in(str text, struct arena *a, struct json *out)
{
    struct json_error e;
    long from = str_chr(text, '{');
    size_t to = text.len;
    while (to > 0 && text.ptr[to - 1] != '}')
        to--;
    return from >= 0 && to > (size_t)from && json_parse(a, (str){ text.ptr + from, to - (size_t)from }, out, &e) == 0
           && json_is(out, 0, JSON_OBJECT);
}

/* How likely a guard's words say "unsafe": 0, 1, between for "controversial"; negative: they say nothing. */
static float verdict_of(str words, struct arena *a)
{
    static const struct { const char *word; float risk; } table[] = {
        { "unsafe", 1 }, { "not safe", 1 }, { "controversial", .5f }, { "no jailbreak", 0 }, { "not a jailbreak", 0 },
        { "jailbreak", 1 }, { "injection", 1 }, { "malicious", 1 }, { "benign", 0 }, { "safe", 0 }, { "yes", 1 }, { "true", 1 },
        { "no", 0 }, { "false", 0 }, { "1", 1 }, { "0", 0 },
    };
    char *lower = arena_cstr(a, str_upto(words, 512));
    for (char *c = lower; *c; c++)
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
    for (const char *at = lower; *at; at++) {           /* the word that stands first; the table has longer ones first */
        if (at > lower && isalnum((unsigned char)at[-1]))
            continue;
        for (size_t i = 0; i < COUNT_OF(table); i++) {
            size_t n = strlen(table[i].word);
            if (strncmp(at, table[i].word, n) == 0 && !isalnum((unsigned char)at[n]))
                return table[i].risk;
        }
    }
    return -1;
}

static void guard_read(struct need *n, const struct remote *r, str words, struct arena *a)
{
    static const char *const keys[] = { "is_jailbreak", "jailbreak", "label", "safety", "verdict", "risk", "unsafe" };
    struct json j;
    float risk = -1;
    if (!str_eq(r->parser, S("simple")) && object_in(words, a, &j)) {
        for (size_t i = 0; i < COUNT_OF(keys) && risk < 0; i++) {
            jref v = json_get(&j, 0, str_of(keys[i]));
            double number;
            if (json_is(&j, v, JSON_TRUE) || json_is(&j, v, JSON_FALSE))
                risk = json_is(&j, v, JSON_TRUE);
            else if (json_is(&j, v, JSON_NUMBER) && json_double(&j, v, &number) && number >= 0 && number <= 1)
                risk = (float)number;
            else if (json_is(&j, v, JSON_STRING))
                risk = verdict_of(json_str(&j, v, a), a);
        }
    } else {
        risk = verdict_of(words, a);
    }
    if (risk >= 0)
        one_hot(n, r, 0, risk, a);
}

static void label_read(struct need *n, const struct remote *r, str words, struct arena *a)
{
    struct json j;
    if (!object_in(words, a, &j))
        return;
    str label = json_str(&j, json_get(&j, 0, r->protocol == ROUTE_CHAT ? S("route") : S("label")), a);
    uint32_t at = label_index(r, label);
    if (at < r->n_labels) {
        one_hot(n, r, at, 1, a);
    } else if (r->protocol == ROUTE_CHAT) {     /* none fits: an answer, not a failure */
        n->values = ARENA_ARRAY(a, float, r->n_labels);
        n->n_windows = 1;
        n->is_answered = true;
    }
}

static void answer_read(struct need *n, const struct remote *r, str body, struct arena *a)
{
    struct json j;
    struct json_error e;
    n->why = "remote-answer";
    if (json_parse(a, body, &j, &e) < 0)
        return;
    str words = json_str(&j, json_path(&j, "choices.0.message.content"), a);
    switch (r->protocol) {
    case CLASSIFY:   classify_read(n, r, &j, a); break;
    case EMBEDDINGS: embedding_read(n, r, &j, a); break;
    case GUARD_CHAT: guard_read(n, r, words, a); break;
    case LABEL_CHAT:
    case ROUTE_CHAT: label_read(n, r, words, a); break;
    }
    if (n->is_answered)
        n->why = NULL;
}

/* ---- several at once ---- */

struct call { struct remote_flight *flight; const struct remote *remote; struct need *need; struct fiber *fiber; };

struct remote_flight {
    struct arena *a;
    struct loop *loop;
    struct fiber *owner;
    uint64_t deadline;
    struct call *calls; uint32_t n, n_running;
};

static WAITS void call_run(struct call *c)
{
    const struct remote *r = c->remote;
    struct remote_flight *f = c->flight;
    uint64_t now = clock_now(), deadline = f->deadline - now > r->timeout_ns && f->deadline > now ? now + r->timeout_ns : f->deadline;
    str request = body_of(f->a, r, c->need->text), body;
    int status = 0, rc = -EPIPE;
    for (unsigned tries = 0; tries <= r->retries; tries++) {
        rc = exchange(f->loop, r, request, f->a, deadline, &status, &body);
        if (rc == -ETIMEDOUT || rc == -ECANCELED || (rc == 0 && status < 500 && status != 429))
            break;
    }
    if (rc < 0)
        c->need->why = rc == -ETIMEDOUT ? "remote-timeout" : rc == -ECANCELED ? "cancelled" : "remote-refused";
    else if (status != 200)
        c->need->why = "remote-status";
    else
        answer_read(c->need, r, body, f->a);
}

static void call_fiber(void *arg)
{
    struct call *c = arg;
    call_run(c);
    c->fiber = NULL;
    c->flight->n_running--;
    fiber_wake(c->flight->owner);
}

struct remote_flight *remote_begin(const struct remote_ask *asks, uint32_t n, uint64_t deadline, struct arena *a)
{
    struct remote_flight *f = ARENA_NEW(a, struct remote_flight);
    *f = (struct remote_flight){ .a = a, .owner = fiber_self(), .deadline = deadline, .calls = ARENA_ARRAY(a, struct call, n), .n = n };
    f->loop = f->owner ? fiber_loop(f->owner) : NULL;
    for (uint32_t i = 0; i < n; i++) {
        struct call *c = &f->calls[i];
        *c = (struct call){ f, asks[i].remote, asks[i].need, NULL };
        c->fiber = f->loop ? fiber_go(f->loop, "remote signal", call_fiber, c) : NULL;
        if (c->fiber)
            f->n_running++;
        else if (f->loop)
            c->need->why = "queue-full";
    }
    return f;
}

/* Children live in the request's arena and under its snapshot: none may outlive this call. */
WAITS void remote_finish(struct remote_flight *f)
{
    for (uint32_t i = 0; i < f->n && !f->loop; i++)
        call_run(&f->calls[i]);
    while (f->n_running) {
        if (fiber_park(NEVER) == -ECANCELED) {
            for (uint32_t i = 0; i < f->n; i++)
                if (f->calls[i].fiber)
                    fiber_cancel(f->calls[i].fiber);
            fiber_shield(true);
            while (f->n_running)
                fiber_park(NEVER);
            fiber_shield(false);
        }
    }
}
