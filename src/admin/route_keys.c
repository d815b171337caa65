/* admin/route_keys.c -- /api/v1/keys: virtual keys. A secret is shown once, by the call that makes it. */
#include <errno.h>

#include "admin/resources.h"
#include "admin/tenancy.h"
#include "base/clock.h"
#include "base/field.h"
#include "base/json.h"
#include "base/put.h"
#include "pipeline/key.h"
#include "pipeline/snap.h"

enum { GRACE_MAX_DAYS = 365 };

static void failed(struct tenancy_call *c, str id, int rc, const struct err *e)
{
    if (rc == -ENOENT) {
        bool is_configured = c->snap && map_has(&((const struct map *)keyring_map(c->snap->keyring))[0], id);
        tenancy_error(c, is_configured ? 409 : 404, is_configured ? "CONFIGURED" : "NOT_FOUND",
                      is_configured ? "the key '" STR_FMT "' is in the configuration file: change it there"
                                    : "there is no key '" STR_FMT "'", STR_ARG(id));
    } else if (rc == -EEXIST) {
        tenancy_error(c, 409, "EXISTS", "a key '" STR_FMT "' exists already", STR_ARG(id));
    } else {
        tenancy_error(c, 400, "INVALID_INPUT", "%s", e->text);
    }
}

static void one(struct tenancy_call *c, str id, const char *secret)
{
    struct json_writer w = { .out = c->out };
    jw_begin(&w, '{');
    if (secret)
        put_str(&w, S("key"), str_of(secret));
    jw_key(&w, S("record"));
    if (!keys_write(id, c->snap, &w))
        jw_null(&w);
    jw_end(&w, '}');
}

static void create(struct tenancy_call *c)
{
    struct key_secret secret;
    struct err e = { 0 };
    const struct value *body = tenancy_body(c);
    if (!body)
        return;
    const struct value *given = value_get(body, S("id"));
    str id = given ? given->text : S("");
    int rc = c->snap && map_has(keyring_map(c->snap->keyring), id) ? -EEXIST : keys_create(body, &secret, &e);
    if (rc < 0) {
        failed(c, id, rc, &e);
        return;
    }
    str text = str_from(str_of(secret.text), 4);        /* behind "sbx-" */
    id = arena_str(c->a, str_cut(&text, '-'));
    c->status = 201;
    one(c, id, secret.text);
}

static void rotate(struct tenancy_call *c, str id)
{
    struct key_secret secret;
    struct err e = { 0 };
    uint64_t grace = 0;
    const struct value *body = tenancy_body(c);
    if (!body)
        return;
    const struct value *given = value_get(body, S("grace"));
    if (given && (!duration_parse(given->text, &grace) || grace > (uint64_t)GRACE_MAX_DAYS * 86400 * NS_PER_S)) {
        tenancy_error(c, 400, "INVALID_INPUT", "grace: a duration like 24h, at most %d days", GRACE_MAX_DAYS);
        return;
    }
    int rc = keys_rotate(id, grace, &secret, &e);
    if (rc < 0) {
        failed(c, id, rc, &e);
        return;
    }
    one(c, id, secret.text);
}

static void change(struct tenancy_call *c, str id)
{
    struct err e = { 0 };
    const struct value *body = tenancy_body(c);
    int rc = body ? keys_change(id, body, &e) : 0;
    if (!body)
        return;
    if (rc < 0) {
        failed(c, id, rc, &e);
        return;
    }
    one(c, id, NULL);
}

static void delete(struct tenancy_call *c, str id)
{
    struct err e = { 0 };
    int rc = keys_delete(id, &e);
    if (rc < 0) {
        failed(c, id, rc, &e);
        return;
    }
    buf_str(c->out, S("{\"deleted\":true}"));
}

static void list(struct tenancy_call *c, str id)
{
    struct json_writer w = { .out = c->out };
    if (id.len == 0) {
        jw_begin(&w, '{');
        put_open(&w, S("keys"), '[');
    }
    if (!keys_write(id, c->snap, &w))
        failed(c, id, -ENOENT, NULL);
    if (id.len == 0) {
        jw_end(&w, ']');
        jw_end(&w, '}');
    }
}

void keys_answer(struct tenancy_call *c)
{
    str rest = str_from(c->path, sizeof "/api/v1/keys" - 1);
    rest = str_starts(rest, S("/")) ? str_from(rest, 1) : rest;
    str id = tenancy_part(c->a, &rest), verb = tenancy_part(c->a, &rest);
    if (verb.len && !(str_eq(verb, S("rotate")) && str_eq(c->method, S("POST"))))
        tenancy_error(c, 404, "NOT_FOUND", "a key has POST .../rotate");
    else if (verb.len)
        rotate(c, id);
    else if (str_eq(c->method, S("GET")))
        list(c, id);
    else if (str_eq(c->method, S("POST")) && id.len == 0)
        create(c);
    else if (str_eq(c->method, S("PATCH")) && id.len)
        change(c, id);
    else if (str_eq(c->method, S("DELETE")) && id.len)
        delete(c, id);
    else
        tenancy_error(c, 405, "METHOD_NOT_ALLOWED", "keys take GET, POST, PATCH and DELETE");
}

WAITS void admin_keys(struct admin_req *r)
{
    tenancy_serve(r, keys_answer);
}
