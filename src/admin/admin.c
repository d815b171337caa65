/* admin/admin.c -- the table of routes, who may use them, and the serving of one request. */
#include "admin/admin.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#include "admin/resources.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/put.h"
#include "observe/log.h"
#include "pipeline/snap.h"

enum {
    BODY_MAX = 16 << 20,            /* a configuration; an eval of a long prompt (VSR: 10 MiB) */
    HEAD_MAX = 64 * 1024,
    TIMEOUT_S = 60,
};

/* ---- answers ---- */

void admin_error_write(struct buf *out, const char *code, str message)
{
    char time[32];
    out->len = 0;
    struct json_writer w = { .out = out };
    jw_begin(&w, '{');
    put_open(&w, S("error"), '{');
    put_str(&w, S("code"), str_of(code));
    put_str(&w, S("message"), message);
    put_str(&w, S("timestamp"), (str){ time, clock_iso(clock_wall(), time) });
    jw_end(&w, '}');
    jw_end(&w, '}');
}

void admin_error(struct admin_req *r, int status, const char *code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    admin_error_write(&r->out, code, arena_vprintf(r->a, format, args));
    va_end(args);
    r->status = status;
}

static WAITS int reply(struct admin_req *r)
{
    struct buf head = { 0 };
    bool keep = r->client->keep_alive;
    buf_printf(&head, "HTTP/1.1 %d %s\r\ncontent-type: " STR_FMT "\r\ncontent-length: %zu\r\ncache-control: no-store\r\n"
                      "x-content-type-options: nosniff\r\n", r->status, http_reason(r->status),
               STR_ARG(r->type.len ? r->type : S("application/json")), r->out.len);
    str id = http_get(&r->head, S("x-request-id"));
    if (id.len && id.len <= 128)
        buf_printf(&head, "x-request-id: " STR_FMT "\r\n", STR_ARG(id));
    if (r->status == 401)
        buf_str(&head, S("www-authenticate: Bearer\r\n"));
    buf_str(&head, keep ? S("\r\n") : S("connection: close\r\n\r\n"));
    struct iovec v[2] = { { head.ptr, head.len }, { r->out.ptr, r->out.len } };
    bool is_head = str_eq(r->head.method, S("HEAD"));
    int rc = head.is_failed || r->out.is_failed ? -ENOMEM
           : conn_writev(&r->client->conn, v, is_head ? 1 : 2, clock_now() + TIMEOUT_S * NS_PER_S);
    buf_free(&head);
    return rc;
}

/* ---- who may ---- */

static bool is_loopback_name(str host)
{
    struct in_addr v4;
    char text[64];
    if (str_ieq(host, S("localhost")) || str_eq(host, S("::1")))
        return true;
    if (host.len >= sizeof text)
        return false;
    memcpy(text, host.ptr, host.len);
    text[host.len] = 0;
    return inet_pton(AF_INET, text, &v4) == 1 && (ntohl(v4.s_addr) >> 24) == 127;
}

/* The role of the caller's token; "" when there is none or it is wrong. Constant time per token. */
static str token_role(const struct admin_req *r, const struct management_conf *c)
{
    str given = http_get(&r->head, S("authorization"));
    str role = S("");
    if (!str_ieq(str_upto(given, 7), S("bearer ")))
        return role;
    given = str_trim(str_from(given, 7));
    for (size_t i = 0; i < c->n_tokens; i++) {
        char name[256];
        snprintf(name, sizeof name, STR_FMT, STR_ARG(c->tokens[i].env));
        const char *secret = getenv(name);
        if (secret && *secret && strlen(secret) == given.len && CRYPTO_memcmp(secret, given.ptr, given.len) == 0)
            role = c->tokens[i].role.len ? c->tokens[i].role : S("admin");
    }
    return role;
}

/* A role's list of permissions decides; without a list every role may do all, but `viewer` and `readonly` may not write. */
static bool role_may(const struct management_conf *c, str role, const struct admin_route *route)
{
    const struct value *list = c->roles ? value_get(c->roles, role) : NULL;
    const char *needs = route->permission ? route->permission : route->is_write ? "config.write" : NULL;
    if (!needs)
        return true;
    if (!c->roles)                              /* no roles defined: by their names */
        return !route->is_write || (!str_eq(role, S("viewer")) && !str_eq(role, S("readonly")));
    if (!list || list->kind != VALUE_LIST)
        return false;
    for (size_t i = 0; i < list->n_items; i++)
        if (str_eq(list->items[i]->text, S("*")) || str_eq(list->items[i]->text, str_of(needs)))
            return true;
    return false;
}

static bool allowed(struct admin_req *r, const struct admin_route *route)
{
    bool ok = true;
    snap_lock();
    const struct management_conf *c = &snap_present()->config->management;
    bool needs_token = str_eq(c->auth_mode, S("bearer"));
    str role = needs_token ? token_role(r, c) : S("admin");
    bool may = role.len && (!needs_token || role_may(c, role, route));
    snap_unlock();
    if (route->is_open)
        return true;
    if (needs_token && role.len == 0) {
        admin_error(r, 401, "UNAUTHORIZED", "this needs a bearer token (global.services.management_api.auth)");
        ok = false;
    } else if (!may) {
        admin_error(r, 403, "FORBIDDEN", "the token's role lacks %s", route->permission ? route->permission : "config.write");
        ok = false;
    } else if (!needs_token && route->is_write) {
        /* Without tokens only loopback may write, and a web page in the operator's browser must not: its requests
         * carry another host (DNS rebinding) or an origin. */
        struct endpoint host;
        str origin = http_get(&r->head, S("origin"));
        if (!endpoint_parse(http_get(&r->head, S("host")), 0, &host) || !is_loopback_name(host.host) || origin.len) {
            admin_error(r, 403, "FORBIDDEN", "changes without a token are taken from programs on this machine only");
            ok = false;
        }
    }
    return ok;
}

/* ---- serving ---- */

static const struct admin_route *route_find(struct admin_req *r)
{
    const struct admin_route *other = NULL;
    for (const struct admin_route *t = admin_routes; t->handle; t++) {
        if (t->is_prefix ? !str_starts(r->head.path, t->path) : !str_eq(r->head.path, t->path))
            continue;
        if (str_eq(t->method, r->head.method) || (str_eq(t->method, S("GET")) && str_eq(r->head.method, S("HEAD"))))
            return t;
        other = t;
    }
    if (other)
        admin_error(r, 405, "METHOD_NOT_ALLOWED", STR_FMT " takes " STR_FMT, STR_ARG(other->path), STR_ARG(other->method));
    else
        admin_error(r, 404, "NOT_FOUND", "no such path: " STR_FMT " (GET /api/v1 lists them)", STR_ARG(r->head.path));
    return NULL;
}

static WAITS int receive(struct admin_req *r, uint64_t deadline)
{
    struct h1 *in = &r->client->in;
    if (r->head.content_length > BODY_MAX) {
        admin_error(r, 413, "TOO_LARGE", "the body is larger than %d MiB", BODY_MAX >> 20);
        r->client->keep_alive = false;
        return -1;
    }
    if (r->head.expects_continue)
        conn_write(&r->client->conn, S("HTTP/1.1 100 Continue\r\n\r\n"), deadline);
    int rc = h1_read_body(in, r->a, &r->head, BODY_MAX, &r->body, deadline);
    if (rc == 0)
        return 0;
    r->client->keep_alive = false;
    if (rc == -EMSGSIZE)
        admin_error(r, 413, "TOO_LARGE", "the body is larger than %d MiB", BODY_MAX >> 20);
    else
        admin_error(r, 400, "BAD_REQUEST", "the body could not be read");
    return -1;
}

static WAITS int admin_serve(struct client *c)
{
    struct admin_req r = { .a = arena_new(), .client = c, .status = 200 };
    uint64_t deadline = clock_now() + TIMEOUT_S * NS_PER_S;
    if (!r.a)
        return -1;
    c->keep_alive = true;
    int rc = h1_read_head(&c->in, r.a, HEAD_MAX, &r.head, deadline, false);
    arena_free(c->kept_arena);
    c->kept_arena = NULL;
    if (rc == -EBADMSG) {
        c->keep_alive = false;
        admin_error(&r, c->in.status, "BAD_REQUEST", "%s", c->in.why);
        reply(&r);
    }
    if (rc == 1) {
        c->keep_alive = r.head.keep_alive && !server_is_draining();
        const struct admin_route *route = route_find(&r);
        if (receive(&r, deadline) == 0 && route && allowed(&r, route))
            route->handle(&r);
        rc = reply(&r);
    } else {
        rc = -1;
    }
    bool keep = client_keep_rest(c) && rc == 0 && c->keep_alive && c->in.is_complete;
    buf_free(&r.out);
    arena_free(r.a);
    return keep ? 0 : -1;
}

/* ---- start ---- */

struct start { struct loop *loop; int fd; };

static void start_on_loop(void *arg)
{
    struct start *s = arg;
    server_listen(s->loop, s->fd, NULL, 0, admin_serve);
    free(s);
}

static int listen_at(struct loop *l, str host, uint16_t port, struct err *e)
{
    int fd = sock_listen(host, port, false, e);
    struct start *s = fd >= 0 ? malloc(sizeof *s) : NULL;
    if (!s)
        return -1;
    *s = (struct start){ l, fd };
    fprintf(stderr, "signalbox: management on http://" STR_FMT ":%u\n", STR_ARG(host), sock_port(fd));
    return loop_post(l, start_on_loop, s) ? 0 : -1;
}

int admin_start(struct loop *l, const char *override, struct err *e)
{
    snap_lock();
    const struct config *c = snap_present()->config;
    const struct management_conf *m = &c->management;
    struct endpoint at = { .host = m->bind_address, .port = (uint16_t)m->port };
    if (at.host.len == 0)
        at.host = S("127.0.0.1");
    bool has_token = str_eq(m->auth_mode, S("bearer")) && m->n_tokens > 0;
    bool ok = !override || endpoint_parse(str_of(override), 8080, &at);
    int64_t metrics_port = c->observability.metrics_enabled ? c->observability.metrics_port : 0;
    snap_unlock();
    if (!ok)
        return err_set(e, "--admin '%s' is not host:port", override);
    if (!is_loopback_name(at.host) && !has_token)
        return err_set(e, "management on " STR_FMT " needs a token: set global.services.management_api.auth "
                          "{mode: bearer, tokens: [{env: NAME, role: admin}]}, or bind it to 127.0.0.1", STR_ARG(at.host));
    if (listen_at(l, at.host, at.port, e) < 0)
        return -1;
    if (metrics_port > 0 && metrics_port != at.port)
        return listen_at(l, at.host, (uint16_t)metrics_port, e);
    return 0;
}
